/* The table of a budget, for the files that fill it. Private to model. */
#ifndef ARTEFACTS_MODEL_BUDGET_PARTS_H
#define ARTEFACTS_MODEL_BUDGET_PARTS_H

#include "artefacts/model/budget.h"

struct model_variants {
    const tensor_file *base;
    const model_stats *stats;
    uint32_t n_units, n_levels;
    model_unit *units;
    model_variant *at;      /* [units][levels] */
    float **kept;           /* [units][levels] elements of the tensor; NULL: not kept */
    char **texts;           /* [levels] */
    pith_recipe **recipes;  /* [levels] */
    repr_chain **chains;    /* [levels] */
    uint64_t weights, other_weights, other_bytes;
};

static inline const tensor_view *variants_view(const model_variants *v, uint32_t unit) {
    return &v->base->tensors[v->units[unit].tensor];
}

#endif
