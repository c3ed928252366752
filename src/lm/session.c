/* Sessions: what is allocated once, and how a batch of tokens becomes rows. */
#include "lm/session.h"

#define MOST_SEQUENCES (1u << 16)
#define MOST_BATCH (1u << 20)
#define MOST_CTX (1u << 24)

static size_t room_floats_of(const lm_model *m) {
    const block_ops *mixer = mixer_of(m), *ffn = ffn_of(m);
    return PITH_MAX(mixer->room(m), ffn ? ffn->room(m) : 0);
}

static size_t widest(const lm_model *m) {
    static const uint8_t inputs[] = {DIM_EMBD, DIM_FF, DIM_Q, DIM_INNER, DIM_RANK};
    size_t most = 0;
    for (size_t i = 0; i < PITH_COUNT(inputs); i++) most = PITH_MAX(most, m->dim[inputs[i]]);
    return most;
}

/* One array of the session: where its address goes, how many elements of how many bytes. */
typedef struct array {
    void *place;
    uint64_t n, size;
} array;

/* Adds up the arrays with care, holds the sum against the limit, then allocates them. */
static pith_status allocate(lm_session *s, const array *arrays, size_t n, uint64_t cache_bytes) {
    uint64_t total = cache_bytes;
    bool over = false;
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes;
        over |=
            __builtin_mul_overflow(arrays[i].n, arrays[i].size, &bytes) || __builtin_add_overflow(total, bytes, &total);
    }
    uint64_t used = pith_memory_used(s->ctx), limit = pith_ctx_memory(s->ctx);
    if (over || total > limit || used > limit - total)
        return pith_fail(s->ctx, PITH_E_LIMIT,
                         "%u sequences of %u tokens in batches of %u need %llu bytes of memory, the limit is %llu of "
                         "which %llu are used",
                         s->n_sequences, s->n_ctx, s->max_batch, over ? UINT64_MAX : (unsigned long long)total,
                         (unsigned long long)limit, (unsigned long long)used);
    for (size_t i = 0; i < n; i++) {
        if (arrays[i].n == 0 || arrays[i].size == 0) continue;
        void *block = pith_zalloc(s->ctx, (size_t)(arrays[i].n * arrays[i].size));
        if (!block) return pith_alloc_status(s->ctx);
        memcpy(arrays[i].place, &block, sizeof block);
    }
    return PITH_OK;
}

static void start_state(lm_session *s, uint32_t sequence) {
    const lm_model *m = s->m;
    const block_ops *mixer = mixer_of(m), *ffn = ffn_of(m);
    for (uint32_t layer = 0; s->state && layer < m->dim[DIM_LAYERS]; layer++) {
        float *state = state_at(s, sequence, layer);
        memset(state, 0, s->state_floats * sizeof *state);
        if (mixer->start) mixer->start(m, state);
        if (ffn && ffn->start) ffn->start(m, state + mixer->state(m));
    }
}

cache_shape cache_shape_of(const lm_model *m) {
    const size_t *d = m->dim;
    return (cache_shape){.model = m,
                         .n_layers = (uint32_t)d[DIM_LAYERS],
                         .n_heads = (uint32_t)d[DIM_HEADS],
                         .n_kv_heads = (uint32_t)d[DIM_KV_HEADS],
                         .head_dim = (uint32_t)d[DIM_HEAD],
                         .layer_heads = m->shape.layer_heads,
                         .layer_kv_heads = m->shape.layer_kv_heads};
}

pith_status lm_set_cache(pith_ctx *ctx, lm_model *m, lm_cache_type type) {
    if (m->arch->mixer != MIX_ATTENTION)
        return pith_fail(ctx, PITH_E_ARGUMENT, "a %s model keeps no keys and values", m->arch->name);
    const cache_shape shape = cache_shape_of(m);
    pith_status status = cache_type_fits(ctx, &shape, type);
    if (!status) m->cache = type;
    return status;
}

lm_cache_type lm_cache_of(const lm_model *m) { return m->cache; }

static pith_status fill(lm_session *s, lm_cache_type cache, const struct lm_cache_maker *maker) {
    const lm_model *m = s->m;
    const size_t *d = m->dim;
    cache_shape shape = cache_shape_of(m);
    shape.n_sequences = s->n_sequences;
    shape.n_ctx = s->n_ctx;
    shape.n_members = pith_team_size(s->team);
    bool attends = m->arch->mixer == MIX_ATTENTION;
    uint64_t cache_bytes = 0, rows = s->max_batch;
    if (attends && !maker && !plain_cache_bytes(&shape, cache, &cache_bytes)) cache_bytes = UINT64_MAX;
    s->state_floats = state_floats_of(m);
    s->room_floats = room_floats_of(m);
    const array arrays[] = {
        {&s->length, s->n_sequences, sizeof *s->length},
        {&s->cursor, s->n_sequences, sizeof *s->cursor},
        {&s->state, (uint64_t)s->n_sequences * d[DIM_LAYERS], s->state_floats * sizeof(float)},
        {&s->spans, rows, sizeof *s->spans},
        {&s->queries, rows, sizeof *s->queries},
        {&s->ids, rows, sizeof *s->ids},
        {&s->positions, rows, sizeof *s->positions},
        {&s->logit_row, s->max_logits, sizeof *s->logit_row},
        {&s->x, rows, d[DIM_EMBD] * sizeof(float)},
        {&s->h, rows, d[DIM_EMBD] * sizeof(float)},
        {&s->y, rows, d[DIM_EMBD] * sizeof(float)},
        {&s->room, rows, s->room_floats * sizeof(float)},
        {&s->rope, rows * (d[DIM_ROPE] != 0), d[DIM_ROPE] * sizeof(float)},
        {&s->hidden, s->max_logits, d[DIM_EMBD] * sizeof(float)},
        {&s->logits, s->max_logits, d[DIM_VOCAB] * sizeof(float)},
    };
    pith_status status = allocate(s, arrays, PITH_COUNT(arrays), cache_bytes);
    if (!status) status = matmul_activations_new(s->ctx, s->max_batch, widest(m), &s->activations);
    if (!status && attends)
        status = maker ? maker->make(maker->opaque, s->ctx, &shape, &s->cache)
                       : plain_cache_new(s->ctx, &shape, cache, &s->cache);
    for (uint32_t i = 0; !status && i < s->n_sequences; i++) start_state(s, i);
    return status;
}

pith_status lm_session_new(pith_ctx *ctx, const lm_model *m, const lm_session_options *options, lm_session **out) {
    *out = NULL;
    lm_session_options o = options ? *options : (lm_session_options){0};
    if (!o.n_ctx) o.n_ctx = (uint32_t)m->dim[DIM_CTX];
    if (!o.n_sequences) o.n_sequences = 1;
    if (!o.max_batch) o.max_batch = 512;
    if (!o.max_logits) o.max_logits = o.max_batch;
    if (o.n_ctx > MOST_CTX || o.n_sequences > MOST_SEQUENCES || o.max_batch > MOST_BATCH || o.max_logits > o.max_batch)
        return pith_fail(ctx, PITH_E_ARGUMENT,
                         "a session may have %u tokens per sequence, %u sequences, batches of %u and logits for each "
                         "token of a batch",
                         MOST_CTX, MOST_SEQUENCES, MOST_BATCH);
    if (m->w[W_POSITION].matrix.data && o.n_ctx > m->dim[DIM_CTX])
        return pith_fail(ctx, PITH_E_ARGUMENT, "this model knows %zu positions, %u were asked for", m->dim[DIM_CTX],
                         o.n_ctx);
    if (m->arch->mixer == MIX_ATTENTION && !o.maker) {
        const cache_shape shape = cache_shape_of(m);
        pith_status fits = cache_type_fits(ctx, &shape, o.cache);
        if (fits) return fits;
    }
    lm_session *s = pith_zalloc(ctx, sizeof *s);
    if (!s) return pith_alloc_status(ctx);
    s->ctx = ctx;
    s->m = m;
    s->n_ctx = o.n_ctx;
    s->n_sequences = o.n_sequences;
    s->max_batch = o.max_batch;
    s->max_logits = o.max_logits;
    pith_status status = pith_team_new(ctx, o.n_threads ? o.n_threads : pith_ctx_threads(ctx), &s->team);
    if (!status) status = fill(s, o.cache, o.maker);
    if (status) {
        lm_session_free(s);
        return status;
    }
    *out = s;
    return PITH_OK;
}

void lm_session_free(lm_session *s) {
    if (!s) return;
    pith_ctx *ctx = s->ctx;
    if (s->cache) s->cache->ops->free(ctx, s->cache);
    if (s->activations) matmul_activations_free(ctx, s->activations);
    pith_team_free(ctx, s->team);
    void *arrays[] = {s->length, s->cursor, s->state, s->spans, s->queries, s->ids,    s->positions, s->logit_row,
                      s->x,      s->h,      s->y,     s->room,  s->rope,    s->hidden, s->logits};
    for (size_t i = 0; i < PITH_COUNT(arrays); i++) pith_free(ctx, arrays[i]);
    pith_free(ctx, s);
}

/* Everything that may be wrong with a batch, before anything changes. Leaves in cursor[] how
 * many tokens each sequence gets. */
static pith_status check_batch(lm_session *s, const lm_token *tokens, size_t n) {
    if (n > s->max_batch)
        return pith_fail(s->ctx, PITH_E_ARGUMENT, "%zu tokens in a batch of at most %u", n, s->max_batch);
    memset(s->cursor, 0, s->n_sequences * sizeof *s->cursor);
    size_t n_logits = 0;
    for (size_t i = 0; i < n; i++) {
        if (tokens[i].id >= s->m->dim[DIM_VOCAB])
            return pith_fail(s->ctx, PITH_E_ARGUMENT, "token %zu has id %u, the vocabulary %zu entries", i,
                             tokens[i].id, s->m->dim[DIM_VOCAB]);
        if (tokens[i].sequence >= s->n_sequences)
            return pith_fail(s->ctx, PITH_E_ARGUMENT, "token %zu is of sequence %u of %u", i, tokens[i].sequence,
                             s->n_sequences);
        s->cursor[tokens[i].sequence]++;
        n_logits += tokens[i].want_logits;
    }
    if (n_logits > s->max_logits)
        return pith_fail(s->ctx, PITH_E_ARGUMENT, "logits of %zu tokens, at most %u were foreseen", n_logits,
                         s->max_logits);
    for (uint32_t q = 0; q < s->n_sequences; q++) {
        uint32_t most = s->cache ? s->n_ctx : UINT32_MAX; /* a recurrent model has no end */
        if (s->cursor[q] > most - s->length[q])
            return pith_fail(s->ctx, PITH_E_LIMIT, "sequence %u holds %u of %u tokens, %u more do not fit", q,
                             s->length[q], most, s->cursor[q]);
    }
    s->n_logits = n_logits;
    return PITH_OK;
}

/* Rows by sequence, in each by position; cursor[] becomes the next row of a sequence. */
static void lay_out(lm_session *s, const lm_token *tokens, size_t n) {
    size_t row = 0, logit = 0;
    s->n_spans = 0;
    for (uint32_t q = 0; q < s->n_sequences; q++) {
        uint32_t count = s->cursor[q];
        s->cursor[q] = (uint32_t)row;
        if (!count) continue;
        s->spans[s->n_spans++] = (lm_span){q, s->length[q], row, count};
        row += count;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t at = s->cursor[tokens[i].sequence]++;
        s->ids[at] = tokens[i].id;
        if (tokens[i].want_logits) s->logit_row[logit++] = at;
    }
    for (size_t i = 0; i < s->n_spans; i++)
        for (size_t t = 0; t < s->spans[i].n; t++) s->positions[s->spans[i].row + t] = s->spans[i].first + (uint32_t)t;
    s->n_rows = n;
}

pith_status lm_eval(lm_session *s, const lm_token *tokens, size_t n) {
    pith_status status = check_batch(s, tokens, n);
    if (status || n == 0) return status;
    lay_out(s, tokens, n);
    status = forward(s);
    if (status) return status;
    for (size_t i = 0; i < s->n_spans; i++) s->length[s->spans[i].sequence] += (uint32_t)s->spans[i].n;
    return PITH_OK;
}

const float *lm_logits(const lm_session *s, size_t i) {
    return i < s->n_logits ? s->logits + i * s->m->dim[DIM_VOCAB] : NULL;
}

const float *lm_hidden(const lm_session *s, size_t i) {
    return i < s->n_logits ? s->hidden + i * s->m->dim[DIM_EMBD] : NULL;
}

uint32_t lm_length(const lm_session *s, uint32_t sequence) {
    return sequence < s->n_sequences ? s->length[sequence] : 0;
}

uint64_t lm_cache_bytes(const lm_session *s) { return s->cache ? s->cache->ops->bytes(s->cache) : 0; }

pith_status lm_truncate(lm_session *s, uint32_t sequence, uint32_t length) {
    if (sequence >= s->n_sequences || length > s->length[sequence])
        return pith_fail(s->ctx, PITH_E_ARGUMENT, "sequence %u has no position %u to end at", sequence, length);
    if (length == s->length[sequence]) return PITH_OK;
    pith_status status = PITH_OK;
    if (s->cache)
        status = s->cache->ops->truncate(s->cache, sequence, length);
    else if (length)
        status = pith_fail(s->ctx, PITH_E_UNSUPPORTED,
                           "a recurrent model cannot forget single tokens: go to 0, or to a copy made before");
    else
        start_state(s, sequence);
    if (!status) s->length[sequence] = length;
    return status;
}

pith_status lm_copy(lm_session *s, uint32_t from, uint32_t to) {
    if (from >= s->n_sequences || to >= s->n_sequences)
        return pith_fail(s->ctx, PITH_E_ARGUMENT, "no sequence %u, there are %u", PITH_MAX(from, to), s->n_sequences);
    if (from == to) return PITH_OK;
    if (s->cache) {
        pith_status status = s->cache->ops->copy(s->cache, from, to, s->length[from]);
        if (status) return status;
    } else if (s->state) {
        memcpy(state_at(s, to, 0), state_at(s, from, 0), s->m->dim[DIM_LAYERS] * s->state_floats * sizeof *s->state);
    }
    s->length[to] = s->length[from];
    return PITH_OK;
}

void lm_set_probe(lm_session *s, const lm_probe *probe) { s->probe = probe; }
