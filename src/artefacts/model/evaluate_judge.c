/* A judge holds one copy of the model. It is read once as it is, then what codes make of its matrices takes their
 * place, time and again. */
#include "artefacts/model/evaluate.h"

struct model_judge {
    const tensor_file *base;
    model_overlay *overlay;
    model_ruler *ruler;
    bool halves;
};

static bool holds_floats(const tensor_view *t) {
    bool integers = (t->type >= TENSOR_I8 && t->type <= TENSOR_I64) || (t->type >= TENSOR_U8 && t->type <= TENSOR_BOOL);
    return !integers && t->n_elements > 0;
}

/* Whether the model fits as floats, with room for sessions and encoders. */
static bool floats_fit(pith_ctx *ctx, const tensor_file *base, const bool *replace) {
    uint64_t used = pith_memory_used(ctx), limit = pith_ctx_memory(ctx), left = limit > used ? limit - used : 0;
    return model_overlay_bytes(base, replace, false) <= left / 3;
}

static pith_status read_base(pith_ctx *ctx, model_judge *j, const void *text, size_t size,
                             const model_ruler_options *options) {
    lm_model *m;
    pith_status status = model_overlay_open(ctx, j->overlay, &m);
    if (status) return status;
    status = model_ruler_new(ctx, m, text, size, options, &j->ruler);
    if (!status && !model_ruler_forget_base(j->ruler))
        status = pith_fail(ctx, PITH_E_LIMIT,
                           "%zu positions of %u logits do not fit the memory limit: less text, or more memory",
                           model_ruler_tokens(j->ruler), lm_about(m)->n_vocab);
    lm_close(ctx, m);
    return status;
}

pith_status model_judge_new(pith_ctx *ctx, const tensor_file *base, const void *text, size_t size,
                            const model_ruler_options *options, model_judge **out) {
    *out = NULL;
    model_judge *j = pith_zalloc(ctx, sizeof *j);
    bool *replace = j ? pith_alloc(ctx, PITH_MAX(base->n_tensors, 1u) * sizeof *replace) : NULL;
    pith_status status = replace ? PITH_OK : pith_alloc_status(ctx);
    for (size_t i = 0; i < base->n_tensors && !status; i++) replace[i] = holds_floats(&base->tensors[i]);
    if (!status) {
        j->base = base;
        j->halves = !floats_fit(ctx, base, replace);
        status = model_overlay_new(ctx, base, replace, j->halves, &j->overlay);
    }
    if (!status) status = read_base(ctx, j, text, size, options);
    pith_free(ctx, replace);
    if (status)
        model_judge_free(ctx, j);
    else
        *out = j;
    return status;
}

void model_judge_free(pith_ctx *ctx, model_judge *j) {
    if (!j) return;
    model_ruler_free(ctx, j->ruler);
    model_overlay_free(ctx, j->overlay);
    pith_free(ctx, j);
}

model_overlay *model_judge_overlay(model_judge *j) { return j->overlay; }
const model_ruler *model_judge_ruler(const model_judge *j) { return j->ruler; }
bool model_judge_halves(const model_judge *j) { return j->halves; }

pith_status model_judge_score(pith_ctx *ctx, model_judge *j, model_score *out) {
    return model_judge_score_rows(ctx, j, out, NULL);
}

pith_status model_judge_score_rows(pith_ctx *ctx, model_judge *j, model_score *out, double *kl) {
    lm_model *m;
    *out = (model_score){0};
    pith_status status = model_overlay_open(ctx, j->overlay, &m);
    if (status) return status;
    status = model_ruler_measure_rows(ctx, j->ruler, m, out, kl);
    lm_close(ctx, m);
    return status;
}
