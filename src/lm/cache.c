/* The plain store of keys and values, and softmax attention over it:
 *     out = sum over k <= p of softmax_k(q.key_k / sqrt(head_dim)) * value_k
 *
 * The order of every sum is fixed by positions alone: q.key adds over channels in order, the
 * softmax has the 16 lanes of math.h over positions, values are added in order of position. So
 * neither tiles nor threads nor the cut into batches show in the result. Keys lie transposed in
 * tiles of 64 positions, [head_dim][64], and values as [position][head_dim]: both products are
 * the matrix product of math.h. Where they lie and in what type is lm/cache_store.h. */
#include <math.h>

#include "lm/cache_store.h"
#include "math/math.h"

#define TILE CACHE_TILE /* keys in a tile */
#define VALUE_RUN 128   /* values added at a time, so that they stay near */
#define SMALL 32768     /* products that are not worth waking anybody */
#define ROWS_AT_ONCE 32 /* query rows (tokens times heads of a group) of one part */

typedef struct plain_cache {
    lm_cache base;
    cache_shape shape;
    cache_store keys, values;
    size_t rows, score_stride; /* score_stride: positions of a sequence, whole tiles */
    float *scratch;            /* [n_members][scratch_floats] */
    size_t scratch_floats;
} plain_cache;

/* How the heads of a layer are worked through. */
typedef struct layer_heads {
    size_t heads, keys, group; /* query heads of a key head */
    size_t tokens_at_once, rows;
} layer_heads;

static layer_heads heads_of(const cache_shape *s, uint32_t layer) {
    layer_heads l = {.heads = s->layer_heads ? s->layer_heads[layer] : s->n_heads,
                     .keys = s->layer_kv_heads ? s->layer_kv_heads[layer] : s->n_kv_heads};
    l.group = l.heads / l.keys;
    l.tokens_at_once = PITH_MAX((size_t)1, ROWS_AT_ONCE / l.group);
    l.rows = l.tokens_at_once * l.group;
    return l;
}

typedef struct attend_job {
    plain_cache *c;
    uint32_t layer;
    layer_heads heads;
    const cache_queries *spans;
    size_t n_spans;
    const cache_watch *watch;
} attend_job;

/* All sizes; false when they are past any memory. */
static bool plan(plain_cache *c, const cache_shape *s, lm_cache_type type, uint64_t *bytes) {
    uint64_t floats, scratch;
    *c = (plain_cache){.shape = *s};
    if (s->n_ctx > UINT32_MAX - TILE || !cache_store_plan(s, type.keys, true, &c->keys) ||
        !cache_store_plan(s, type.values, false, &c->values))
        return false;
    for (uint32_t layer = 0; layer < s->n_layers; layer++) c->rows = PITH_MAX(c->rows, heads_of(s, layer).rows);
    c->score_stride = ((size_t)s->n_ctx + TILE - 1) / TILE * TILE;
    floats =
        (uint64_t)c->rows * (2 * (uint64_t)s->head_dim + c->score_stride) + cache_store_room(s->head_dim, VALUE_RUN);
    c->scratch_floats = (size_t)floats;
    return !__builtin_mul_overflow(floats, 4 * (uint64_t)s->n_members, &scratch) &&
           !__builtin_add_overflow(scratch + sizeof *c, c->keys.bytes + c->values.bytes, bytes) &&
           *bytes <= SIZE_MAX / 2;
}

bool plain_cache_bytes(const cache_shape *shape, lm_cache_type type, uint64_t *bytes) {
    plain_cache c;
    return plan(&c, shape, type, bytes);
}

static pith_status plain_append(lm_cache *base, const cache_rows *rows) {
    plain_cache *c = (plain_cache *)base;
    size_t heads = heads_of(&c->shape, rows->layer).keys, n = heads * c->shape.head_dim;
    for (size_t t = 0; t < rows->n; t++) {
        cache_store_put(&c->keys, rows->sequence, rows->layer, rows->first + t, rows->keys + t * n, heads);
        cache_store_put(&c->values, rows->sequence, rows->layer, rows->first + t, rows->values + t * n, heads);
    }
    return PITH_OK;
}

/* A few tokens of one span against one head of keys. */
static void attend_tile(const attend_job *job, const cache_queries *span, size_t head, size_t first, size_t n,
                        float *room) {
    plain_cache *c = job->c;
    const exact_ops *ops = exact();
    size_t d = c->shape.head_dim, n_heads = job->heads.heads, group = job->heads.group, stride = c->score_stride;
    size_t rows = n * group, key_stride;
    size_t seen = span->first + first + 1; /* keys that the first token sees; each later one sees one more */
    float *q = room, *out = q + c->rows * d, *wide = out + c->rows * d, *scores = wide + cache_store_room(d, VALUE_RUN);
    float scale = 1.0f / sqrtf((float)d);
    for (size_t r = 0; r < rows; r++) {
        const float *from = span->q + ((first + r / group) * n_heads + head * group + r % group) * d;
        for (size_t i = 0; i < d; i++) q[r * d + i] = from[i] * scale;
    }
    size_t n_keys = seen + n - 1;
    for (size_t k = 0; k < n_keys; k += TILE) {
        size_t width = PITH_MIN((size_t)TILE, n_keys - k);
        const float *keys = cache_store_keys(&c->keys, span->sequence, job->layer, head, k, width, wide, &key_stride);
        for (size_t r = 0; r < rows; r++) memset(scores + r * stride + k, 0, width * sizeof(float));
        ops->matmul(scores + k, stride, q, d, 1, keys, key_stride, rows, width, d);
    }
    for (size_t r = 0; r < rows; r++) {
        float *row = scores + r * stride;
        ops->softmax(row, row, seen + r / group);
        if (job->watch)
            job->watch->row(job->watch->opaque, job->layer, (uint32_t)(head * group + r % group), span->sequence,
                            (uint32_t)(span->first + first + r / group), row);
    }
    memset(out, 0, rows * d * sizeof *out);
    for (size_t k = 0; k < n_keys; k += VALUE_RUN) {
        size_t run = PITH_MIN((size_t)VALUE_RUN, n_keys - k), common = seen > k ? PITH_MIN(run, seen - k) : 0;
        const float *values = cache_store_values(&c->values, span->sequence, job->layer, head, k, run, wide);
        if (common) ops->matmul(out, d, scores + k, stride, 1, values, d, rows, d, common);
        for (size_t t = 1; t < n; t++) { /* what the first token does not see */
            size_t own = PITH_MIN(run, seen + t > k ? seen + t - k : 0);
            if (own > common)
                ops->matmul(out + t * group * d, d, scores + t * group * stride + k + common, stride, 1,
                            values + common * d, d, group, d, own - common);
        }
    }
    for (size_t r = 0; r < rows; r++)
        memcpy(span->out + ((first + r / group) * n_heads + head * group + r % group) * d, out + r * d,
               d * sizeof *out);
}

static size_t tiles_of(const attend_job *job, const cache_queries *span) {
    return (span->n + job->heads.tokens_at_once - 1) / job->heads.tokens_at_once;
}

static void attend_part(void *arg, size_t part, unsigned member) {
    const attend_job *job = arg;
    plain_cache *c = job->c;
    size_t heads = job->heads.keys, head = part % heads, tile = part / heads, s = 0;
    while (tile >= tiles_of(job, &job->spans[s])) tile -= tiles_of(job, &job->spans[s++]);
    const cache_queries *span = &job->spans[s];
    size_t first = tile * job->heads.tokens_at_once;
    attend_tile(job, span, head, first, PITH_MIN(job->heads.tokens_at_once, span->n - first),
                c->scratch + member * c->scratch_floats);
}

static pith_status plain_attend(lm_cache *base, uint32_t layer, const cache_queries *spans, size_t n_spans,
                                pith_team *team, const cache_watch *watch) {
    plain_cache *c = (plain_cache *)base;
    attend_job job = {c, layer, heads_of(&c->shape, layer), spans, n_spans, watch};
    size_t n_parts = 0, work = 0;
    for (size_t s = 0; s < n_spans; s++) {
        n_parts += tiles_of(&job, &spans[s]) * job.heads.keys;
        work += spans[s].n * (spans[s].first + spans[s].n) * job.heads.heads * c->shape.head_dim;
    }
    if (!watch && work >= SMALL) {
        pith_team_run(team, attend_part, &job, n_parts);
        return PITH_OK;
    }
    for (size_t i = 0; i < n_parts; i++) attend_part(&job, i, 0);
    return PITH_OK;
}

static pith_status plain_truncate(lm_cache *base, uint32_t sequence, uint32_t length) {
    (void)base, (void)sequence, (void)length; /* positions past the length are never read */
    return PITH_OK;
}

static pith_status plain_copy(lm_cache *base, uint32_t from, uint32_t to, uint32_t length) {
    plain_cache *c = (plain_cache *)base;
    cache_store_copy(&c->keys, from, to, length);
    cache_store_copy(&c->values, from, to, length);
    return PITH_OK;
}

static uint64_t plain_bytes(const lm_cache *base) {
    const plain_cache *c = (const plain_cache *)base;
    return c->keys.bytes + c->values.bytes;
}

static void plain_free(pith_ctx *ctx, lm_cache *base) {
    plain_cache *c = (plain_cache *)base;
    pith_free(ctx, c->keys.data);
    pith_free(ctx, c->values.data);
    pith_free(ctx, c->scratch);
    pith_free(ctx, c);
}

pith_status plain_cache_new(pith_ctx *ctx, const cache_shape *shape, lm_cache_type type, lm_cache **out) {
    static const cache_ops ops = {"plain",    plain_append, plain_attend, plain_truncate,
                                  plain_copy, plain_bytes,  plain_free};
    *out = NULL;
    uint64_t bytes;
    pith_status status = cache_type_fits(ctx, shape, type);
    if (status) return status;
    plain_cache *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    if (!plan(c, shape, type, &bytes)) {
        pith_free(ctx, c);
        return pith_fail(ctx, PITH_E_LIMIT, "a cache of that size is past any memory");
    }
    c->base.ops = &ops;
    c->keys.data = pith_zalloc(ctx, (size_t)c->keys.bytes);
    c->values.data = c->keys.data ? pith_zalloc(ctx, (size_t)c->values.bytes) : NULL;
    c->scratch = c->values.data ? pith_alloc(ctx, c->scratch_floats * sizeof(float) * shape->n_members) : NULL;
    if (!c->scratch) {
        plain_free(ctx, &c->base);
        return pith_alloc_status(ctx);
    }
    *out = &c->base;
    return PITH_OK;
}
