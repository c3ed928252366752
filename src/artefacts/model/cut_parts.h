/* A cut as planned: every tensor that stays, with its rows and columns. Private to model. */
#ifndef MODEL_CUT_PARTS_H
#define MODEL_CUT_PARTS_H

#include "artefacts/model/cut.h"

enum { CUT_WHOLE, CUT_CHANNELS, CUT_NEURONS, CUT_QUERIES, CUT_KEYS, CUT_EXPERTS };

typedef struct cut_tensor {
    const tensor_view *from;
    char name[80];
    tensor_type type;
    cut_list cols, rows; /* of elements; of a stack those of its first matrix */
    const cut_list *stack; /* neurons of each old matrix; NULL: the same rows and columns of all */
    cut_list experts;      /* matrices of a stack that stay */
    uint8_t cols_are, rows_are;
    uint64_t ne[3], row_bytes; /* ne[2]: matrices */
    bool edited;
    uint32_t merged; /* each row of weights, or element of a bias, is the mean of so many a head apart; 0: as it is */
} cut_tensor;

/* The old number of matrix m. */
static inline uint64_t cut_matrix(const cut_tensor *t, uint64_t m) { return t->experts.at ? t->experts.at[m] : m; }
/* What stays of old matrix m. */
static inline cut_list cut_cols(const cut_tensor *t, uint64_t m) {
    return t->stack && t->cols_are == CUT_NEURONS ? t->stack[m] : t->cols;
}
static inline cut_list cut_rows(const cut_tensor *t, uint64_t m) {
    return t->stack && t->rows_are == CUT_NEURONS ? t->stack[m] : t->rows;
}

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
