/* What attention asks of a store of keys and values: take those of new tokens, answer queries,
 * forget, copy. The plain store keeps all of them as floats; another one (compressed, with
 * entries dropped per head or merged and weighted) answers the same calls. */
#ifndef LM_CACHE_H
#define LM_CACHE_H

#include "lm/lm.h"

typedef struct cache_shape {
    const lm_model *model; /* whose keys: model.h turns raw ones by position */
    uint32_t n_layers, n_sequences, n_ctx, n_heads, n_kv_heads, head_dim;
    unsigned n_members; /* of the team that will attend */
    const uint32_t *layer_heads, *layer_kv_heads; /* [n_layers] where layers differ (the two above are the most); NULL */
} cache_shape;

/* Keys and values of tokens at positions [first, first + n) of one sequence, [n][n_kv_heads][head_dim] of the layer. */
typedef struct cache_rows {
    uint32_t layer, sequence, first;
    size_t n;
    const float *keys, *raw_keys; /* after and before RoPE; the latter NULL unless wants_raw_keys */
    const float *values;
} cache_rows;

/* Queries of such tokens, after RoPE, and where the answers go: [n][n_heads][head_dim] each.
 * The query at position p sees the entries of positions 0..p. */
typedef struct cache_queries {
    uint32_t sequence, first;
    size_t n;
    const float *q;
    float *out;
} cache_queries;

/* Who wants to see weights after softmax: called on the caller's thread, one row at a time. */
typedef struct cache_watch {
    void *opaque;
    void (*row)(void *opaque, uint32_t layer, uint32_t head, uint32_t sequence, uint32_t position,
                const float *weights);
} cache_watch;

typedef struct lm_cache lm_cache;
typedef struct cache_ops {
    const char *name;
    /* Rows come in order of position, those of a batch before its queries. */
    pith_status (*append)(lm_cache *c, const cache_rows *rows);
    /* watch NULL: nobody. All spans are of one layer and different sequences. */
    pith_status (*attend)(lm_cache *c, uint32_t layer, const cache_queries *spans, size_t n_spans, pith_team *team,
                          const cache_watch *watch);
    pith_status (*truncate)(lm_cache *c, uint32_t sequence, uint32_t length);
    pith_status (*copy)(lm_cache *c, uint32_t from, uint32_t to, uint32_t length);
    uint64_t (*bytes)(const lm_cache *c); /* that are there for keys and values, scratch not counted */
    void (*free)(pith_ctx *ctx, lm_cache *c);
} cache_ops;
struct lm_cache {
    const cache_ops *ops;
    bool wants_raw_keys;
};

/* Makes the store of a new session instead of the plain one (lm_session_options.maker). */
struct lm_cache_maker {
    void *opaque;
    pith_status (*make)(void *opaque, pith_ctx *ctx, const cache_shape *shape, lm_cache **out);
};

/* What the caches of a model's sessions look like but for sizes that the session chooses (session.c). */
cache_shape cache_shape_of(const lm_model *m);
/* Whether rows of that shape can be kept in these types; if not, PITH_E_ARGUMENT with the reason (cache_store.c). */
pith_status cache_type_fits(pith_ctx *ctx, const cache_shape *shape, lm_cache_type type);
/* The plain store, of a type that fits. Its size in bytes first, false when it is past any memory. */
bool plain_cache_bytes(const cache_shape *shape, lm_cache_type type, uint64_t *bytes);
pith_status plain_cache_new(pith_ctx *ctx, const cache_shape *shape, lm_cache_type type, lm_cache **out);

#endif
