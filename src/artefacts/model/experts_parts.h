/* A split model before it is written. Private. */
#ifndef MODEL_EXPERTS_PARTS_H
#define MODEL_EXPERTS_PARTS_H

#include "artefacts/model/experts.h"

typedef struct split_block {
    uint32_t *order; /* [n_ff] neurons of the dense block, expert after expert */
    float *router;   /* [n_experts][n_embd] */
    float *down;     /* [n_embd][n_ff] columns in that order */
    experts_block_report report;
} split_block;

struct experts_split {
    const lm_model *m;
    const tensor_file *file;
    experts_options o;
    size_t n_embd, n_ff, n_layers, size; /* size: neurons of an expert */
    split_block *blocks;
};

/* "blk.LAYER.NAME"; NULL when there is none. */
const tensor_view *experts_tensor(const tensor_file *f, uint32_t layer, const char *name);

/* Equal clusters of n items by their products gram[n][n]: order[n] lists the items cluster after cluster. */
pith_status experts_cluster(pith_ctx *ctx, const float *gram, size_t n, size_t n_clusters, uint32_t *order);

#endif
