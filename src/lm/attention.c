/* The attention block: queries, keys and values, their turning by position, the cache's answer,
 * the output projection. Grouped, shared or one key head per query head: the cache knows. */
#include "lm/session.h"

static size_t attention_room(const lm_model *m) { return 2 * m->dim[DIM_Q] + 3 * m->dim[DIM_KV]; }

typedef struct turn_job {
    const lm_session *s;
    const size_t *dim; /* of the layer */
    float *q, *k;
} turn_job;

static void turn(void *arg, size_t first, size_t n) {
    const turn_job *j = arg;
    const lm_model *m = j->s->m;
    for (size_t r = first; r < first + n; r++) {
        const float *angles = j->s->rope + r * m->dim[DIM_ROPE];
        rope_turn(m, angles, j->q + r * j->dim[DIM_Q], j->dim[DIM_HEADS]);
        rope_turn(m, angles, j->k + r * j->dim[DIM_KV], j->dim[DIM_KV_HEADS]);
    }
}

static pith_status attention_run(lm_session *s, uint32_t layer) {
    const lm_model *m = s->m;
    const lm_weight *w = m->layers[layer].w;
    const lm_probe *probe = s->probe;
    const size_t *dim = m->layers[layer].dim;
    size_t n = s->n_rows, n_q = dim[DIM_Q], n_kv = dim[DIM_KV];
    float *q = s->room, *out = q + n * n_q, *k = out + n * n_q, *v = k + n * n_kv, *raw = NULL;
    products(s, s->h, m->dim[DIM_EMBD], n, (product[]){{&w[L_Q], q}, {&w[L_K], k}, {&w[L_V], v}}, 3);
    add_bias(&w[L_Q_BIAS], q, n, n_q);
    add_bias(&w[L_K_BIAS], k, n, n_kv);
    add_bias(&w[L_V_BIAS], v, n, n_kv);
    if (probe && probe->keys)
        for (size_t i = 0; i < s->n_spans; i++)
            probe->keys(probe->opaque, layer, s->spans[i].sequence, s->spans[i].first, s->spans[i].n,
                        k + s->spans[i].row * n_kv, v + s->spans[i].row * n_kv);
    if (s->cache->wants_raw_keys) {
        raw = v + n * n_kv;
        memcpy(raw, k, n * n_kv * sizeof *k);
    }
    if (m->rope != ROPE_NONE) in_pieces(s, n, 2 * (n_q + n_kv), turn, &(turn_job){s, dim, q, k});
    for (size_t i = 0; i < s->n_spans; i++) {
        const lm_span *span = &s->spans[i];
        size_t at = span->row * n_kv;
        if (probe && probe->queries)
            probe->queries(probe->opaque, layer, span->sequence, span->first, span->n, q + span->row * n_q);
        pith_status status = s->cache->ops->append(s->cache, &(cache_rows){layer, span->sequence, span->first, span->n,
                                                                           k + at, raw ? raw + at : NULL, v + at});
        if (status) return status;
        s->queries[i] =
            (cache_queries){span->sequence, span->first, span->n, q + span->row * n_q, out + span->row * n_q};
    }
    cache_watch watch = {probe ? probe->opaque : NULL, probe ? probe->attention : NULL};
    pith_status status =
        s->cache->ops->attend(s->cache, layer, s->queries, s->n_spans, s->team, watch.row ? &watch : NULL);
    if (status) return status;
    products(s, out, n_q, n, &(product){&w[L_O], s->y}, 1);
    add_bias(&w[L_O_BIAS], s->y, n, m->dim[DIM_EMBD]);
    return PITH_OK;
}

const block_ops attention_block = {.room = attention_room, .run = attention_run};
