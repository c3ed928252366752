/* The plain store of keys and values, and softmax attention over it:
 *     out = sum over k <= p of softmax_k(q.key_k / sqrt(head_dim)) * value_k
 *
 * The order of every sum is fixed by positions alone: q.key adds over channels in order, the
 * softmax has the 16 lanes of math.h over positions, values are added in order of position. So
 * neither tiles nor threads nor the cut into batches show in the result. Keys lie transposed in
 * tiles of 64 positions, [head_dim][64], and values as [position][head_dim]: both products are
 * the matrix product of math.h. */
#include <math.h>

#include "lm/cache.h"
#include "math/math.h"

#define TILE 64         /* keys in a tile */
#define VALUE_RUN 128   /* values added at a time, so that they stay near */
#define SMALL 32768     /* products that are not worth waking anybody */
#define ROWS_AT_ONCE 32 /* query rows (tokens times heads of a group) of one part */

typedef struct plain_cache {
    lm_cache base;
    cache_shape shape;
    lm_cache_type type;
    size_t n_slots;     /* positions of a sequence, a multiple of TILE */
    size_t head_floats; /* of the keys of one head of one sequence and layer: n_slots * head_dim; values as many */
    size_t rows, score_stride;
    uint8_t *keys, *values; /* [sequence][layer][n_kv_heads][head_floats] */
    float *scratch;         /* [n_members][scratch_floats] */
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

static size_t element_bytes(lm_cache_type type) { return type == LM_CACHE_F16 ? 2 : 4; }

static void sizes(plain_cache *c) {
    const cache_shape *s = &c->shape;
    c->n_slots = ((size_t)s->n_ctx + TILE - 1) / TILE * TILE;
    c->head_floats = c->n_slots * s->head_dim;
    for (uint32_t layer = 0; layer < s->n_layers; layer++) c->rows = PITH_MAX(c->rows, heads_of(s, layer).rows);
    c->score_stride = c->n_slots;
    c->scratch_floats = c->rows * (2 * s->head_dim + c->score_stride) + VALUE_RUN * s->head_dim;
}

bool plain_cache_bytes(const cache_shape *shape, lm_cache_type type, uint64_t *bytes) {
    plain_cache c = {.shape = *shape};
    if (shape->n_ctx > UINT32_MAX - TILE) return false;
    sizes(&c);
    uint64_t heads = (uint64_t)shape->n_layers * shape->n_kv_heads, stored, scratch;
    return !__builtin_mul_overflow(heads * shape->n_sequences, (uint64_t)c.head_floats, &stored) &&
           !__builtin_mul_overflow(stored, 2 * element_bytes(type), &stored) &&
           !__builtin_mul_overflow((uint64_t)c.scratch_floats, 4 * (uint64_t)shape->n_members, &scratch) &&
           !__builtin_add_overflow(stored, scratch + sizeof c, bytes) && *bytes <= SIZE_MAX / 2;
}

static size_t head_at(const plain_cache *c, uint32_t sequence, uint32_t layer, size_t head) {
    const cache_shape *s = &c->shape;
    return (((size_t)sequence * s->n_layers + layer) * s->n_kv_heads + head) * c->head_floats;
}

static pith_status plain_append(lm_cache *base, const cache_rows *rows) {
    plain_cache *c = (plain_cache *)base;
    size_t d = c->shape.head_dim, heads = heads_of(&c->shape, rows->layer).keys;
    for (size_t t = 0; t < rows->n; t++) {
        size_t at = rows->first + t, tile = at / TILE * TILE * d, lane = at % TILE;
        for (size_t h = 0; h < heads; h++) {
            const float *k = rows->keys + (t * heads + h) * d, *v = rows->values + (t * heads + h) * d;
            size_t head = head_at(c, rows->sequence, rows->layer, h);
            if (c->type == LM_CACHE_F16) {
                uint16_t *to_k = (uint16_t *)(void *)c->keys + head + tile + lane;
                uint16_t *to_v = (uint16_t *)(void *)c->values + head + at * d;
                for (size_t i = 0; i < d; i++) to_k[i * TILE] = float_to_half(k[i]);
                for (size_t i = 0; i < d; i++) to_v[i] = float_to_half(v[i]);
            } else {
                float *to_k = (float *)(void *)c->keys + head + tile + lane;
                for (size_t i = 0; i < d; i++) to_k[i * TILE] = k[i];
                memcpy((float *)(void *)c->values + head + at * d, v, d * sizeof *v);
            }
        }
    }
    return PITH_OK;
}

/* n floats of a head's keys or values from element `at`, widened into room where they are halves */
static const float *floats_at(const plain_cache *c, const uint8_t *store, size_t at, size_t n, float *room) {
    if (c->type == LM_CACHE_F32) return (const float *)(const void *)store + at;
    exact()->widen(room, (const uint16_t *)(const void *)store + at, n);
    return room;
}

/* A few tokens of one span against one head of keys. */
static void attend_tile(const attend_job *job, const cache_queries *span, size_t head, size_t first, size_t n,
                        float *room) {
    plain_cache *c = job->c;
    const exact_ops *ops = exact();
    size_t d = c->shape.head_dim, n_heads = job->heads.heads, group = job->heads.group, stride = c->score_stride;
    size_t rows = n * group, store = head_at(c, span->sequence, job->layer, head);
    size_t seen = span->first + first + 1; /* keys that the first token sees; each later one sees one more */
    float *q = room, *out = q + c->rows * d, *wide = out + c->rows * d, *scores = wide + VALUE_RUN * d;
    float scale = 1.0f / sqrtf((float)d);
    for (size_t r = 0; r < rows; r++) {
        const float *from = span->q + ((first + r / group) * n_heads + head * group + r % group) * d;
        for (size_t i = 0; i < d; i++) q[r * d + i] = from[i] * scale;
    }
    size_t n_keys = seen + n - 1;
    for (size_t k = 0; k < n_keys; k += TILE) {
        size_t width = PITH_MIN((size_t)TILE, n_keys - k);
        const float *keys = floats_at(c, c->keys, store + k * d, TILE * d, wide);
        for (size_t r = 0; r < rows; r++) memset(scores + r * stride + k, 0, width * sizeof(float));
        ops->matmul(scores + k, stride, q, d, 1, keys, TILE, rows, width, d);
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
        const float *values = floats_at(c, c->values, store + k * d, run * d, wide);
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
    size_t size = element_bytes(c->type), used = ((size_t)length + TILE - 1) / TILE * TILE * c->shape.head_dim * size;
    for (uint32_t layer = 0; layer < c->shape.n_layers; layer++) {
        for (size_t h = 0; h < c->shape.n_kv_heads; h++) {
            size_t source = head_at(c, from, layer, h) * size, target = head_at(c, to, layer, h) * size;
            memcpy(c->keys + target, c->keys + source, used);
            memcpy(c->values + target, c->values + source, used);
        }
    }
    return PITH_OK;
}

static void plain_free(pith_ctx *ctx, lm_cache *base) {
    plain_cache *c = (plain_cache *)base;
    pith_free(ctx, c->keys);
    pith_free(ctx, c->values);
    pith_free(ctx, c->scratch);
    pith_free(ctx, c);
}

pith_status plain_cache_new(pith_ctx *ctx, const cache_shape *shape, lm_cache_type type, lm_cache **out) {
    static const cache_ops ops = {"plain", plain_append, plain_attend, plain_truncate, plain_copy, plain_free};
    *out = NULL;
    uint64_t bytes;
    if (!plain_cache_bytes(shape, type, &bytes))
        return pith_fail(ctx, PITH_E_LIMIT, "a cache of that size is past any memory");
    plain_cache *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    c->base.ops = &ops;
    c->shape = *shape;
    c->type = type;
    sizes(c);
    size_t stored = c->head_floats * element_bytes(type) * shape->n_layers * shape->n_kv_heads * shape->n_sequences;
    c->keys = pith_zalloc(ctx, stored);
    c->values = c->keys ? pith_zalloc(ctx, stored) : NULL;
    c->scratch = c->values ? pith_alloc(ctx, c->scratch_floats * sizeof(float) * shape->n_members) : NULL;
    if (!c->scratch) {
        plain_free(ctx, &c->base);
        return pith_alloc_status(ctx);
    }
    *out = &c->base;
    return PITH_OK;
}
