/* Queries with keys, and values with the output projection, made thinner together (S055: MoDeGPT, Lin et al. 2024).
 *
 * Rotation mixes the two dimensions of a rotary pair, so pairs stay or go: score sum over the query heads of
 * E|q_pair|^2 E|k_pair|^2, which no rotation changes. For values let S S^T = H of the inputs and M = O V S, the output
 * projections of all query heads of a key head one above the other: M = U s V'^T cut to rank r gives
 * O' = U s, V' = V'^T S^-1, the least squared error of outputs (heads weighed alike). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faces/cli/bench_cuts.h"
#include "math/dense/dense.h"

typedef struct thinning {
    pith_ctx *ctx;
    const tensor_file *file;
    model_overlay *overlay;
    uint32_t d, dim, n_heads, n_keys, per, keep; /* keep: dimensions of dim */
    bool interleaved;
    size_t index[4];
    float *w[4]; /* queries, keys, values, output */
} thinning;

static const char *const names[] = {"attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight"};
enum { Q, K, V, O };

bool cuts_can_thin(const cuts *c) {
    const tensor_file *f = lm_file(c->m);
    return tensor_find(f, "blk.0.attn_q.weight") && tensor_find(f, "blk.0.attn_v.weight") &&
           !tensor_find(f, "blk.0.attn_v.bias") && !tensor_find(f, "blk.0.attn_q.bias");
}

static pith_status load(thinning *t, uint32_t layer, int i) {
    char full[64];
    snprintf(full, sizeof full, "blk.%u.%s", (unsigned)layer, names[i]);
    const tensor_view *view = tensor_find(t->file, full);
    uint64_t want = (uint64_t)t->d * t->dim * (i == Q || i == O ? t->n_heads : t->n_keys);
    if (!view || view->n_elements != want)
        return pith_fail(t->ctx, PITH_E_UNSUPPORTED, "tensor %s is not as wide as its heads", full);
    t->index[i] = (size_t)(view - t->file->tensors);
    t->w[i] = pith_alloc(t->ctx, want * sizeof(float));
    if (!t->w[i]) return pith_alloc_status(t->ctx);
    blocks_decode(view->type, view->data, t->w[i], want);
    return PITH_OK;
}

/* E y_i^2 of y = W x for a head's rows. */
static void energies(const thinning *t, const float *w, const float *h, float *work, double *out) {
    dense_gemm(false, false, t->dim, t->d, t->d, 1, w, t->d, h, t->d, 0, work, t->d);
    for (uint32_t i = 0; i < t->dim; i++) {
        out[i] = 0;
        for (uint32_t j = 0; j < t->d; j++) out[i] += (double)w[i * t->d + j] * work[i * t->d + j];
    }
}

static void thin_pairs(thinning *t, uint32_t key, const float *h, float *work, double *e) {
    uint32_t pairs = t->dim / 2, left = t->keep / 2;
    double *of_keys = e, *of_query = e + t->dim, *score = e + 2 * t->dim;
    float *k = t->w[K] + (size_t)key * t->dim * t->d, *q = t->w[Q] + (size_t)key * t->per * t->dim * t->d;
    energies(t, k, h, work, of_keys);
    for (uint32_t p = 0; p < pairs; p++) score[p] = 0;
    for (uint32_t i = 0; i < t->per; i++) {
        energies(t, q + (size_t)i * t->dim * t->d, h, work, of_query);
        for (uint32_t p = 0; p < pairs; p++) {
            uint32_t a = t->interleaved ? 2 * p : p, b = t->interleaved ? 2 * p + 1 : p + pairs;
            score[p] += (of_query[a] + of_query[b]) * (of_keys[a] + of_keys[b]);
        }
    }
    for (uint32_t gone = pairs; gone > left; gone--) {
        uint32_t least = pairs;
        for (uint32_t p = 0; p < pairs; p++)
            if (score[p] >= 0 && (least == pairs || score[p] < score[least])) least = p;
        if (least == pairs) return;
        score[least] = -1;
        uint32_t rows[] = {t->interleaved ? 2 * least : least, t->interleaved ? 2 * least + 1 : least + pairs};
        for (int r = 0; r < 2; r++) {
            memset(k + (size_t)rows[r] * t->d, 0, t->d * sizeof *k);
            for (uint32_t i = 0; i < t->per; i++)
                memset(q + ((size_t)i * t->dim + rows[r]) * t->d, 0, t->d * sizeof *q);
        }
    }
}

typedef struct space {
    float *a, *b, *m, *u, *s, *vt, *v; /* V S, O, M and its parts, V' */
} space;

static pith_status thin_values(thinning *t, uint32_t key, const float *s, const float *inverse, space *x) {
    size_t d = t->d, dim = t->dim, r = t->keep, tall = d * t->per, heads = (size_t)t->n_heads * dim;
    float *v = t->w[V] + key * dim * d, *o = t->w[O] + key * t->per * dim;
    dense_gemm(false, false, dim, d, d, 1, v, d, s, d, 0, x->a, d);
    for (size_t h = 0; h < t->per; h++)
        for (size_t i = 0; i < d; i++) memcpy(x->b + (h * d + i) * dim, o + i * heads + h * dim, dim * sizeof *o);
    dense_gemm(false, false, tall, d, dim, 1, x->b, dim, x->a, d, 0, x->m, d);
    pith_status status = dense_svd(t->ctx, x->m, tall, d, r, x->u, x->s, x->vt);
    if (status) return status;
    dense_gemm(false, false, r, d, d, 1, x->vt, d, inverse, d, 0, v, d);
    memset(v + r * d, 0, (dim - r) * d * sizeof *v);
    for (size_t h = 0; h < t->per; h++)
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < dim; j++)
                o[i * heads + h * dim + j] = j < r ? x->u[(h * d + i) * r + j] * x->s[j] : 0;
    return PITH_OK;
}

static pith_status thin_layer(thinning *t, const repr_stats *stats, uint32_t layer) {
    pith_ctx *ctx = t->ctx;
    size_t d = t->d, tall = d * t->per;
    pith_status status = PITH_OK;
    for (int i = Q; i <= O && !status; i++) status = load(t, layer, i);
    float *h = pith_alloc(ctx, d * d * sizeof *h), *s = pith_alloc(ctx, d * d * sizeof *s);
    float *inverse = pith_alloc(ctx, d * d * sizeof *inverse), *work = pith_alloc(ctx, t->dim * d * sizeof *work);
    double *e = pith_alloc(ctx, 3 * t->dim * sizeof *e);
    space x = {.a = pith_alloc(ctx, t->dim * d * sizeof(float)),
               .b = pith_alloc(ctx, tall * t->dim * sizeof(float)),
               .m = pith_alloc(ctx, tall * d * sizeof(float)),
               .u = pith_alloc(ctx, tall * t->keep * sizeof(float)),
               .s = pith_alloc(ctx, t->keep * sizeof(float)),
               .vt = pith_alloc(ctx, t->keep * d * sizeof(float))};
    if (!status && !(h && s && inverse && work && e && x.a && x.b && x.m && x.u && x.s && x.vt))
        status = pith_alloc_status(ctx);
    if (!status) {
        dense_unpack(stats->gram, d, h);
        status = dense_whiten(ctx, stats->gram, d, s, inverse);
    }
    for (uint32_t k = 0; k < t->n_keys && !status; k++) {
        thin_pairs(t, k, h, work, e);
        status = thin_values(t, k, s, inverse, &x);
    }
    for (int i = Q; i <= O && !status; i++)
        status = model_overlay_put(ctx, t->overlay, t->index[i], 0, t->w[i],
                                   d * t->dim * (i == Q || i == O ? t->n_heads : t->n_keys));
    void *const owned[] = {h, s, inverse, work, e, x.a, x.b, x.m, x.u, x.s, x.vt, t->w[Q], t->w[K], t->w[V], t->w[O]};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(ctx, owned[i]);
    memset(t->w, 0, sizeof t->w);
    return status;
}

pith_status cuts_thin(experiment *e, const cuts *c, const tensor_file *file, model_overlay *overlay, double keep) {
    const cut_shape *s = &c->shape;
    uint32_t kept = (uint32_t)(keep * s->head_dim / 2 + 0.5) * 2;
    thinning t = {.ctx = e->ctx,
                  .file = file,
                  .overlay = overlay,
                  .d = s->n_embd,
                  .dim = s->head_dim,
                  .n_heads = s->n_heads,
                  .n_keys = s->n_kv_heads,
                  .per = s->n_heads / s->n_kv_heads,
                  .keep = PITH_MAX(kept, 2u),
                  .interleaved = strcmp(lm_about(c->m)->architecture, "llama") == 0};
    pith_status status = PITH_OK;
    for (uint32_t l = 0; l < s->n_layers && !status; l++) {
        char full[64];
        repr_stats stats;
        snprintf(full, sizeof full, "blk.%u.attn_q.weight", (unsigned)l);
        status = model_stats_find(e->ctx, c->gathered, full, 0, t.d, &stats);
        if (!status && !stats.gram) status = pith_fail(e->ctx, PITH_E_ARGUMENT, "no Gram matrix of %s", full);
        if (!status) status = thin_layer(&t, &stats, l);
    }
    return status;
}
