/* How the loss of a net bends at its weight matrices: means over a text of x x^T of what a matrix reads and of g g^T of
 * the gradients by what it gives, from one pass forward and backward. Their product G (x) A stands for the Fisher
 * information of the matrix (K-FAC: Martens and Grosse 2015). */
#ifndef MODEL_CURVATURE_H
#define MODEL_CURVATURE_H

#include "lm/train/train.h"

typedef struct curvature_matrix {
    char name[72]; /* GGUF's */
    int expert;    /* -1: a plain matrix */
    size_t n_in, n_out;
    bool ones;         /* a has one column more, of ones: the matrix has a bias */
    uint64_t n_tokens; /* that went through it */
    float *a, *g;      /* packed means (math/dense); NULL when not wanted */
    float *h;          /* [n_in] means of x^2 */
} curvature_matrix;

typedef struct curvature {
    curvature_matrix *at;
    size_t n;
    uint64_t n_tokens;
    double nats; /* mean loss of the text */
} curvature;

enum { CURVATURE_INPUTS = 1, CURVATURE_OUTPUTS = 2 };
typedef struct curvature_options {
    unsigned grams;                   /* of the above; h comes in any case */
    bool (*wanted)(const char *name); /* which matrices; NULL: those of the layers */
    bool sample;                      /* gradients for tokens drawn from the net instead of those that came */
    uint64_t seed;
} curvature_options;

/* tokens[n_windows][n_ctx]. Memory: the sums are doubles while they are gathered. */
pith_status curvature_new(pith_ctx *ctx, train_net *net, const uint32_t *tokens, size_t n_windows, size_t n_ctx,
                          const curvature_options *options, curvature **out);
void curvature_free(pith_ctx *ctx, curvature *c);
/* NULL: no token went through it. */
const curvature_matrix *curvature_find(const curvature *c, const char *name, int expert);

#endif
