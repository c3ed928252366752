/* A cut as planned: every tensor that stays, with its rows and columns. Private to model. */
#ifndef MODEL_CUT_PARTS_H
#define MODEL_CUT_PARTS_H

#include "artefacts/model/cut.h"

enum { CUT_WHOLE, CUT_CHANNELS, CUT_NEURONS, CUT_QUERIES, CUT_KEYS };

typedef struct cut_tensor {
    const tensor_view *from;
    char name[80];
    tensor_type type;
    cut_list cols, rows; /* of elements */
    uint64_t ne[2], row_bytes;
    bool edited;
    uint32_t merged; /* each row of weights, or element of a bias, is the mean of so many a head apart; 0: as it is */
} cut_tensor;

struct model_cut {
    const tensor_file *file;
    cut_plan plan;
    const char *arch;
    cut_shape from, to;
    cut_list *queries, *keys; /* [layers of the input] rows; owned */
    uint32_t *ff, *heads, *kv_heads; /* [layers of the result], in one block */
    bool ff_differ, heads_differ;
    cut_tensor *tensors;
    size_t n_tensors;
    cut_size size;
};

#endif
