/* Every expert of a mixture encoded and decoded by a recipe of its own, with the statistics of its own tokens. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "artefacts/model/experts.h"
#include "math/dense/dense.h"

static const char *const stacks[] = {"ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight"};

typedef struct try_job {
    pith_ctx *ctx;
    const tensor_file *file;
    const lm_shape *shape;
    const experts_stats *stats;
    repr_chain **chains;
    const uint32_t *choice;
    model_overlay *overlay;
    experts_code *codes;
} try_job;

/* tr(W H W^T), h_j or 1 on the diagonal where there is no more. */
static pith_status energy(pith_ctx *ctx, const float *w, size_t rows, size_t cols, const repr_stats *stats,
                          double *out) {
    *out = 0;
    if (!stats->gram) {
        for (size_t i = 0; i < rows * cols; i++)
            *out += (stats->h ? (double)stats->h[i % cols] : 1) * (double)w[i] * (double)w[i];
        return PITH_OK;
    }
    float *h = pith_alloc(ctx, cols * cols * sizeof *h), *wh = pith_alloc(ctx, rows * cols * sizeof *wh);
    if (h && wh) {
        dense_unpack(stats->gram, cols, h);
        dense_gemm(false, false, rows, cols, cols, 1, w, cols, h, cols, 0, wh, cols);
        for (size_t i = 0; i < rows * cols; i++) *out += (double)wh[i] * (double)w[i];
    }
    pith_status status = h && wh ? PITH_OK : pith_alloc_status(ctx);
    pith_free(ctx, h);
    pith_free(ctx, wh);
    return status;
}

static double thread_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Decodes what was written, which must give what the encoder said. */
static pith_status decode_again(const try_job *j, const repr_chain *chain, const pith_buffer *coded,
                                const float *restored, size_t rows, size_t cols, double *seconds) {
    size_t bytes = rows * cols * sizeof(float);
    float *back = pith_alloc(j->ctx, bytes);
    if (!back) return pith_alloc_status(j->ctx);
    repr_reader in = {coded->data, coded->data + coded->size};
    double before = thread_seconds();
    pith_status status = repr_decode(j->ctx, chain, &in, 0, &(repr_matrix){back, rows, cols});
    *seconds += thread_seconds() - before;
    if (!status && (in.p != in.end || memcmp(back, restored, bytes) != 0))
        status = pith_fail(j->ctx, PITH_E_INTERNAL, "the decoder does not give what the encoder said");
    pith_free(j->ctx, back);
    return status;
}

static double plogp(uint64_t n, uint64_t of) { return n ? -(double)n * log2((double)n / (double)of) : 0; }

static pith_status measure(const try_job *j, float *w, const float *restored, size_t rows, size_t cols,
                           const repr_stats *stats, experts_code *code) {
    size_t n = rows * cols;
    uint64_t below = 0, above = 0;
    double e;
    pith_status status = energy(j->ctx, w, rows, cols, stats, &e);
    if (status) return status;
    code->energy += e;
    for (size_t i = 0; i < n; i++) {
        below += restored[i] < 0;
        above += restored[i] > 0;
        w[i] -= restored[i];
    }
    code->weights += n;
    code->below += below;
    code->above += above;
    code->zeros += n - below - above;
    code->entropy += plogp(below, n) + plogp(above, n) + plogp(n - below - above, n);
    status = energy(j->ctx, w, rows, cols, stats, &e);
    code->loss += e;
    return status;
}

static pith_status code_matrix(const try_job *j, size_t tensor, uint32_t expert, const repr_stats *stats,
                               const repr_chain *chain, experts_code *code) {
    const tensor_view *t = &j->file->tensors[tensor];
    size_t rows = (size_t)t->ne[1], cols = (size_t)t->ne[0], n = rows * cols;
    uint64_t before = 0;
    if (!tensor_type_bytes(t->type, (uint64_t)expert * n, &before))
        return pith_fail(j->ctx, PITH_E_UNSUPPORTED, "an expert is no whole number of blocks");
    float *w = pith_alloc(j->ctx, 2 * n * sizeof *w), *restored = w ? w + n : NULL;
    pith_buffer out = {0};
    if (!w) return pith_alloc_status(j->ctx);
    blocks_decode(t->type, t->data + before, w, n);
    pith_status status = repr_encode(j->ctx, chain, &(repr_matrix){w, rows, cols}, stats, &out, restored);
    if (!status && j->overlay)
        status = model_overlay_put(j->ctx, j->overlay, tensor, (uint64_t)expert * n, restored, n);
    code->bytes += out.size;
    if (!status) status = decode_again(j, chain, &out, restored, rows, cols, &code->decode_seconds);
    if (!status) status = measure(j, w, restored, rows, cols, stats, code);
    pith_buffer_free(j->ctx, &out);
    pith_free(j->ctx, w);
    return status;
}

static pith_status code_expert(void *arg, size_t i) {
    const try_job *j = arg;
    uint32_t layer = (uint32_t)(i / j->shape->n_experts), expert = (uint32_t)(i % j->shape->n_experts);
    const experts_seen *seen = j->stats ? experts_stats_at(j->stats, layer, expert) : NULL;
    const repr_chain *chain = j->chains[j->choice ? j->choice[i] : 0];
    pith_status status = PITH_OK;
    j->codes[i] = (experts_code){0};
    for (size_t k = 0; k < PITH_COUNT(stacks) && !status; k++) {
        char name[64];
        repr_stats none = {0};
        snprintf(name, sizeof name, "blk.%u.%s", (unsigned)layer, stacks[k]);
        const tensor_view *t = tensor_find(j->file, name);
        if (!t) return pith_fail(j->ctx, PITH_E_FORMAT, "tensor %s is missing", name);
        status = code_matrix(j, (size_t)(t - j->file->tensors), expert,
                             !seen   ? &none
                             : k < 2 ? &seen->in
                                     : &seen->mid,
                             chain, &j->codes[i]);
    }
    if (!status && pith_step(j->ctx, 1)) status = PITH_E_CANCELLED;
    return status;
}

pith_status experts_try(pith_ctx *ctx, const lm_model *base, const experts_stats *stats,
                        const pith_recipe *const *recipes, const uint32_t *choice, model_overlay *o,
                        experts_code *codes) {
    const lm_shape *shape = lm_about(base);
    size_t all = (size_t)shape->n_layers * shape->n_experts, n_chains = 1;
    if (!all) return pith_fail(ctx, PITH_E_UNSUPPORTED, "the model is no mixture of experts");
    for (size_t i = 0; choice && i < all; i++) n_chains = PITH_MAX(n_chains, (size_t)choice[i] + 1);
    try_job j = {.ctx = ctx,
                 .file = lm_file(base),
                 .shape = shape,
                 .stats = stats,
                 .choice = choice,
                 .overlay = o,
                 .codes = codes};
    pith_status status = PITH_OK;
    j.chains = pith_zalloc(ctx, n_chains * sizeof *j.chains);
    if (!j.chains) status = pith_alloc_status(ctx);
    for (size_t i = 0; i < n_chains && !status; i++) status = repr_chain_new(ctx, &recipes[i]->rules[0], &j.chains[i]);
    for (size_t i = 0; o && i < j.file->n_tensors && !status; i++)
        if (model_overlay_takes(&j.file->tensors[i])) status = model_overlay_reset(ctx, o, i);
    if (!status) status = pith_parallel(ctx, all, code_expert, &j);
    for (size_t i = 0; j.chains && i < n_chains; i++) repr_chain_free(ctx, j.chains[i]);
    pith_free(ctx, j.chains);
    return status;
}
