/* A cache of a test's own that leaves the keeping to the library's plain one: what such caches share. The struct of the
 * test begins with over_plain. */
#ifndef TEST_LM_OVER_PLAIN_H
#define TEST_LM_OVER_PLAIN_H

#include "lm/cache.h"

typedef struct over_plain {
    lm_cache base;
    lm_cache *plain;
} over_plain;

static pith_status over_attend(lm_cache *c, uint32_t layer, const cache_queries *spans, size_t n_spans,
                               pith_team *team, const cache_watch *watch) {
    lm_cache *plain = ((over_plain *)c)->plain;
    return plain->ops->attend(plain, layer, spans, n_spans, team, watch);
}
static pith_status over_copy(lm_cache *c, uint32_t from, uint32_t to, uint32_t length) {
    lm_cache *plain = ((over_plain *)c)->plain;
    return plain->ops->copy(plain, from, to, length);
}
static uint64_t over_bytes(const lm_cache *c) {
    const lm_cache *plain = ((const over_plain *)c)->plain;
    return plain->ops->bytes(plain);
}
static void over_free(pith_ctx *used, lm_cache *c) {
    lm_cache *plain = ((over_plain *)c)->plain;
    plain->ops->free(used, plain);
    pith_free(used, c);
}

#endif
