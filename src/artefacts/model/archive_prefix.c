/* A model from a prefix of its stacks: how many levels of each so many bytes hold. */
#include "artefacts/model/archive_parts.h"

typedef struct stack {
    size_t tensor;
    unsigned n;                      /* levels */
    uint64_t bytes[REPR_MAX_LEVELS]; /* of each, all matrices of the tensor */
} stack;

static pith_status measure(pith_ctx *ctx, const model_archive *a, size_t tensor, stack *s) {
    const archive_tensor *t = &a->index.tensors[tensor];
    *s = (stack){.tensor = tensor};
    pith_status status = PITH_OK;
    for (size_t k = 0; k < t->n_pieces && !status; k++) {
        const archive_piece *p = &a->index.pieces[t->first_piece + k];
        const repr_chain *chain = p->rule != ARCHIVE_NO_RULE ? a->chains[p->rule] : NULL;
        if (!chain || !repr_levels(chain)) continue;
        s->n = PITH_MAX(s->n, repr_levels(chain));
        const repr_reader in = {.p = a->data + p->offset, .end = a->data + p->offset + p->coded_n};
        status = repr_level_bytes(ctx, chain, in, s->bytes);
        if (status) status = archive_blame(ctx, &a->index, t->first_piece + k, status);
    }
    return status;
}

static void choose(const stack *stacks, size_t n, uint64_t bytes, unsigned most, uint16_t *levels,
                   archive_prefix_info *info) {
    for (unsigned level = 1; level < info->of; level++)
        for (size_t i = 0; i < n; i++) {
            const stack *s = &stacks[i];
            bool next = level < s->n && levels[s->tensor] == level && (!most || level < most);
            if (!next || s->bytes[level] > bytes - info->bytes) continue;
            info->bytes += s->bytes[level];
            levels[s->tensor]++;
        }
    for (size_t i = 0; i < n; i++) {
        unsigned chosen = levels[stacks[i].tensor];
        info->fewest = i ? PITH_MIN(info->fewest, chosen) : chosen;
        info->most = PITH_MAX(info->most, chosen);
    }
}

pith_status archive_prefix(pith_ctx *ctx, model_archive *a, uint64_t bytes, unsigned most, uint16_t *levels,
                           archive_prefix_info *info) {
    const archive_index *x = &a->index;
    *info = (archive_prefix_info){.whole = a->size, .least = a->size};
    memset(levels, 0, x->n_tensors * sizeof *levels);
    stack *stacks = pith_alloc(ctx, (x->n_tensors + 1) * sizeof *stacks);
    if (!stacks) return pith_alloc_status(ctx);
    pith_status status = PITH_OK;
    for (size_t i = 0; i < x->n_tensors && !status; i++) {
        if (x->tensors[i].mode != ARCHIVE_CODED) continue;
        stack *s = &stacks[info->stacks];
        status = measure(ctx, a, i, s);
        if (!s->n) continue;
        info->stacks++;
        for (unsigned l = 1; l < s->n; l++) info->least -= s->bytes[l];
        info->of = PITH_MAX(info->of, s->n);
        levels[i] = 1;
    }
    info->bytes = info->least;
    if (!status && info->least > bytes)
        status = pith_fail(ctx, PITH_E_ARGUMENT, "the first levels and all that is exact take %llu bytes",
                           (unsigned long long)info->least);
    if (!status) choose(stacks, (size_t)info->stacks, bytes, most, levels, info);
    pith_free(ctx, stacks);
    return status;
}
