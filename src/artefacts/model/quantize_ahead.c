/* Error feedback into GGUF blocks, a few matrices at once. */
#include "artefacts/model/quantize_ahead.h"

#include "kernels/represent/represent.h"

typedef struct ahead_slot {
    size_t tensor;   /* of the plan */
    uint8_t *blocks; /* NULL: empty */
} ahead_slot;

struct quantize_ahead {
    pith_ctx *ctx;
    const quantize_plan *plan;
    ahead_slot *slots;
    size_t n_slots;
};

bool quantize_is_ahead(const quantize_plan *plan, const quantize_tensor *q) {
    static const tensor_type types[] = {TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q5_0, TENSOR_Q5_1, TENSOR_Q8_0, TENSOR_IQ4_NL,
                                        TENSOR_Q2_K, TENSOR_Q3_K, TENSOR_Q4_K, TENSOR_Q5_K, TENSOR_Q6_K};
    if (plan->options.method != QUANTIZE_GPTQ || q->type == q->from->type || q->from->n_elements == 0) return false;
    /* Of stacks only diagonals are gathered. */
    if (!q->importance || !q->importance->has_gram || q->from->ne[2] > 1) return false;
    for (unsigned i = 0; i < PITH_COUNT(types); i++)
        if (types[i] == q->type) return true;
    return false;
}

pith_status quantize_ahead_new(pith_ctx *ctx, const quantize_plan *plan, quantize_ahead **out) {
    quantize_ahead *a = pith_zalloc(ctx, sizeof *a);
    *out = a;
    if (!a) return pith_alloc_status(ctx);
    a->ctx = ctx;
    a->plan = plan;
    a->n_slots = PITH_MAX(pith_ctx_threads(ctx), 1u);
    a->slots = pith_zalloc(ctx, a->n_slots * sizeof *a->slots);
    return a->slots ? PITH_OK : pith_alloc_status(ctx);
}

static void empty_slots(pith_ctx *ctx, quantize_ahead *a) {
    for (size_t k = 0; a->slots && k < a->n_slots; k++) {
        pith_free(ctx, a->slots[k].blocks);
        a->slots[k].blocks = NULL;
    }
}

void quantize_ahead_free(pith_ctx *ctx, quantize_ahead *a) {
    if (!a) return;
    empty_slots(ctx, a);
    pith_free(ctx, a->slots);
    pith_free(ctx, a);
}

static pith_status encode_slot(void *arg, size_t k) {
    quantize_ahead *a = arg;
    ahead_slot *slot = &a->slots[k];
    const quantize_tensor *q = &a->plan->list[slot->tensor];
    const tensor_view *t = q->from;
    const size_t columns = (size_t)t->ne[0], rows = (size_t)(t->n_elements / t->ne[0]);
    const tensor_type_info *from = tensor_type_of(t->type);
    repr_stats stats;
    size_t bad;
    if (pith_cancelled(a->ctx)) return PITH_E_CANCELLED;
    if (!blocks_valid(t->type, t->data, (size_t)(t->n_elements / from->block), &bad))
        return pith_fail(a->ctx, PITH_E_CHECK, "%s: there is no finite number at element %zu", q->importance->name,
                         bad * from->block);
    pith_status status = model_stats_find(a->ctx, a->plan->options.stats, q->importance->name, 0, columns, &stats);
    if (status) return status;
    repr_matrix w = {.data = pith_alloc(a->ctx, rows * columns * sizeof(float)), .rows = rows, .cols = columns};
    if (w.data) slot->blocks = pith_alloc(a->ctx, (size_t)q->bytes);
    if (!slot->blocks) {
        pith_free(a->ctx, w.data);
        return pith_alloc_status(a->ctx);
    }
    blocks_decode(t->type, t->data, w.data, rows * columns);
    status = repr_gguf_blocks(a->ctx, (uint32_t)q->type, &w, &stats, slot->blocks);
    pith_free(a->ctx, w.data);
    return status;
}

pith_status quantize_ahead_get(pith_ctx *ctx, quantize_ahead *a, size_t i, const uint8_t **blocks) {
    *blocks = NULL;
    if (!quantize_is_ahead(a->plan, &a->plan->list[i])) return PITH_OK;
    for (size_t k = 0; k < a->n_slots; k++)
        if (a->slots[k].blocks && a->slots[k].tensor == i) {
            *blocks = a->slots[k].blocks;
            return PITH_OK;
        }
    empty_slots(ctx, a);
    size_t n = 0;
    for (size_t t = i; t < a->plan->n && n < a->n_slots; t++)
        if (quantize_is_ahead(a->plan, &a->plan->list[t])) a->slots[n++].tensor = t;
    pith_status status = pith_parallel(ctx, n, encode_slot, a);
    if (!status) *blocks = a->slots[0].blocks;
    return status;
}
