/* A model file in memory as its tensors and the rest (head, padding, gaps). Private to this folder. */
#ifndef MODEL_LAYOUT_H
#define MODEL_LAYOUT_H

#include "formats/tensors/tensors.h"

typedef struct model_layout {
    const uint8_t *data;
    size_t size;
    tensor_file *file;
    const tensor_view **views; /* with bytes of their own in the file, in the order of these */
    size_t n_views;
    uint8_t *rest; /* all else, in order */
    size_t rest_n;
} model_layout;

/* data[size] must outlive it. */
pith_status model_layout_open(pith_ctx *ctx, const uint8_t *data, size_t size, model_layout *l);
void model_layout_free(pith_ctx *ctx, model_layout *l);
/* Bytes between view i (n_views: the end) and what stands before it. */
size_t model_layout_gap(const model_layout *l, size_t i);

#endif
