/* Rows and columns taken out of all weight matrices of a net by how the loss bends there, over several shots, with what
 * stays made to stand in for what goes (van der Ouderaa et al. 2023, The LLM Surgeon). Which rows and columns of a
 * matrix go depends on no other matrix, so the shapes stay and what is gone is zeros.
 *
 *   magnitude  sums of squares of the weights
 *   lobd       with the mean squares of the inputs (local optimal brain damage)
 *   kobd       with both factors of the curvature, nothing else changes
 *   inputs     the rest makes up for it, by the inputs alone (G = identity): optimal brain surgeon layer by layer
 *   surgeon    the same by both factors
 * One threshold for all matrices. */
#ifndef MODEL_CURVATURE_MATRICES_H
#define MODEL_CURVATURE_MATRICES_H

#include "artefacts/model/curvature.h"

typedef enum surgeon_method {
    SURGEON_MAGNITUDE,
    SURGEON_LOBD,
    SURGEON_KOBD,
    SURGEON_INPUTS,
    SURGEON_FULL,
    N_SURGEON_METHODS
} surgeon_method;
extern const char *const surgeon_method_names[N_SURGEON_METHODS];

typedef struct surgeon_options {
    surgeon_method method;
    double share;   /* of the parameters of the layers' matrices that go, 0 to 1 */
    unsigned shots; /* the share grows in equal steps, the curvature is taken anew before each; 0: 5 */
    double damp;    /* of both factors, of their mean diagonals; 0: 0.01 */
} surgeon_options;

typedef struct surgeon_result {
    uint64_t n_parameters, n_gone; /* of the matrices; what is zeros in the end */
    uint64_t n_rows, n_cols;       /* that are gone */
    double predicted;              /* nats a token that the quadratic form says it costs; NAN without both factors */
    double nats;                   /* mean loss of the text before the last shot */
} surgeon_result;

/* Changes the net's weights. `first`: the curvature of the net as it is, with what the method needs, or NULL. */
pith_status surgeon_prune(pith_ctx *ctx, train_net *net, const uint32_t *tokens, size_t n_windows, size_t n_ctx,
                          const surgeon_options *options, const curvature *first, surgeon_result *out);

#endif
