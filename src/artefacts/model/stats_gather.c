/* Gathering statistics: the model reads the text chunk by chunk, a probe sees the inputs of its matrices. The first
 * look is at a few tokens, to learn which matrices there are and which of them read the same input. Then the text is
 * read as often as it takes to sum up all Gram matrices in the memory there is. */
#include <math.h>

#include "artefacts/model/stats_gather.h"

#define LOOK_TOKENS 16u
#define PIECE 65536u /* elements of a Gram matrix written at once */
#define RESERVE ((uint64_t)4 << 20)
#define PER_THREAD ((uint64_t)1 << 18) /* a tile of dense_gram_add */

/* ---- the first look ---- */

typedef struct looker {
    pith_ctx *ctx;
    stats_plan *plan;
    uint32_t n_experts;
    pith_status status;
    uint64_t last_hash;
    uint32_t last_owner;
} looker;

static bool is_known(const stats_plan *p, const char *tensor) {
    for (uint32_t i = p->n; i-- > 0;)
        if (strcmp(p->at[i].name, tensor) == 0) return true;
    return false;
}

static bool has_room(looker *l, const char *tensor) {
    const stats_plan *p = l->plan;
    if (l->status) return false;
    if (p->n_calls < STATS_MAX_CALLS && p->n < STATS_MAX_CALLS && strlen(tensor) < sizeof p->at->name) return true;
    l->status = pith_fail(l->ctx, PITH_E_LIMIT, "more than %u matrices, or too long a name", STATS_MAX_CALLS);
    return false;
}

static void add_matrix(looker *l, const char *tensor, uint32_t parts, size_t n, size_t n_cols, const float *x) {
    stats_plan *p = l->plan;
    uint64_t hash = pith_hash64(x, n * n_cols * sizeof *x) ^ n_cols;
    bool empty = true; /* zeros say nothing about who else reads them */
    for (size_t i = 0; i < n * n_cols && empty; i++) empty = x[i] == 0;
    stats_input *in = &p->at[p->n];
    memcpy(in->name, tensor, strlen(tensor) + 1);
    in->cols = (uint32_t)n_cols;
    in->parts = parts;
    bool shares = p->n && !empty && hash == l->last_hash && p->at[l->last_owner].parts == parts;
    in->owner = shares ? l->last_owner : p->n;
    l->last_hash = hash;
    l->last_owner = in->owner;
    p->n++;
}

static void look_at_input(void *opaque, const char *tensor, size_t n, size_t n_cols, const float *x) {
    looker *l = opaque;
    stats_plan *p = l->plan;
    if (!has_room(l, tensor)) return;
    bool known = is_known(p, tensor); /* parts of one tensor, such as joint queries, keys and values */
    p->calls[p->n_calls++] = known ? UINT32_MAX : p->n;
    if (!known) add_matrix(l, tensor, 1, n, n_cols, x);
}

static void look_at_expert(void *opaque, const char *tensor, uint32_t expert, size_t n, size_t n_cols, const float *x) {
    looker *l = opaque;
    (void)expert;
    if (!is_known(l->plan, tensor) && has_room(l, tensor)) add_matrix(l, tensor, l->n_experts, n, n_cols, x);
}

static void look_at_hidden(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, const float *h) {
    looker *l = opaque;
    (void)sequence, (void)first, (void)n, (void)h;
    l->plan->last_layer = PITH_MAX(l->plan->last_layer, layer);
}

static pith_status look(gatherer *g) {
    g->plan.at = pith_alloc(g->ctx, STATS_MAX_CALLS * sizeof *g->plan.at);
    g->plan.calls = g->plan.at ? pith_alloc(g->ctx, STATS_MAX_CALLS * sizeof *g->plan.calls) : NULL;
    if (!g->plan.calls) return pith_alloc_status(g->ctx);
    looker l = {.ctx = g->ctx, .plan = &g->plan, .n_experts = lm_about(g->model)->n_experts};
    lm_probe probe = {
        .opaque = &l, .input = look_at_input, .expert_input = look_at_expert, .hidden = look_at_hidden};
    lm_token tokens[LOOK_TOKENS];
    uint32_t n = PITH_MIN(LOOK_TOKENS, g->batch);
    for (uint32_t i = 0; i < n; i++)
        tokens[i] = (lm_token){.id = gather_token(g, g->chunks.tokens, i), .want_logits = !g->options->no_output};
    lm_set_probe(g->session, &probe);
    pith_status status = lm_eval(g->session, tokens, n);
    lm_set_probe(g->session, NULL);
    if (!status) status = l.status;
    if (!status && !g->plan.n)
        status = pith_fail(g->ctx, PITH_E_UNSUPPORTED, "the model multiplies with no matrix that can be watched");
    return status;
}

uint32_t gather_token(const gatherer *g, const uint32_t *chunk, uint32_t at) {
    return at == 0 && g->start != TOKEN_NONE ? g->start : chunk[at];
}

/* ---- a pass over the text ---- */

/* Sums of one part of a matrix. */
static void add_sums(gatherer *g, const stats_input *in, uint32_t part, size_t n, const float *x) {
    size_t cols = in->cols;
    double *sum = g->sums + in->sums_at + part * cols, *sum2 = sum + in->parts * cols;
    for (size_t r = 0; r < n; r++)
        for (size_t j = 0; j < cols; j++) {
            double v = (double)x[r * cols + j];
            sum[j] += v;
            sum2[j] += v * v;
        }
    g->counts[in->counts_at + part] += n;
}

static void take_expert(void *opaque, const char *tensor, uint32_t expert, size_t n, size_t n_cols, const float *x) {
    gatherer *g = opaque;
    if (g->status || !g->sums) return;
    uint32_t i = g->at_expert, tried = 0;
    while (tried < g->plan.n && strcmp(g->plan.at[i].name, tensor) != 0) {
        i = i + 1 < g->plan.n ? i + 1 : 0;
        tried++;
    }
    const stats_input *in = &g->plan.at[i];
    if (tried == g->plan.n || expert >= in->parts || in->cols != n_cols) {
        g->status = pith_fail(g->ctx, PITH_E_INTERNAL, "the model asks for an expert that was not there before");
        return;
    }
    g->at_expert = i;
    if (in->owner == i) add_sums(g, in, expert, n, x);
}

static void take_input(void *opaque, const char *tensor, size_t n, size_t n_cols, const float *x) {
    gatherer *g = opaque;
    if (g->status) return;
    uint32_t i = g->call < g->plan.n_calls ? g->plan.calls[g->call] : UINT32_MAX - 1;
    g->call++;
    if (i == UINT32_MAX) return;
    if (i >= g->plan.n || strcmp(g->plan.at[i].name, tensor) != 0 || g->plan.at[i].cols != n_cols) {
        g->status = pith_fail(g->ctx, PITH_E_INTERNAL, "the model asks for its matrices in another order than before");
        return;
    }
    const stats_input *in = &g->plan.at[i];
    if (in->owner != i) return;
    if (g->sums) add_sums(g, in, 0, n, x);
    if (in->gram && g->grams[in->gram - 1]) {
        g->seen[in->gram - 1] += n;
        g->status = dense_gram_add(g->ctx, g->grams[in->gram - 1], x, n, n_cols);
    }
}

/* Cosines of what goes into one layer and into the next. */
static void take_hidden(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, const float *h) {
    gatherer *g = opaque;
    (void)sequence, (void)first;
    size_t width = lm_about(g->model)->n_embd;
    if (!g->before || layer > g->plan.last_layer || n > g->batch) return;
    for (size_t r = 0; layer && r < n; r++) {
        double xx = 0, yy = 0, xy = 0;
        const float *x = g->before + r * width, *y = h + r * width;
        for (size_t j = 0; j < width; j++) {
            xx += (double)x[j] * (double)x[j];
            yy += (double)y[j] * (double)y[j];
            xy += (double)x[j] * (double)y[j];
        }
        g->cosines[layer - 1] += xx > 0 && yy > 0 ? xy / (sqrt(xx) * sqrt(yy)) : 0;
    }
    if (!layer) g->rows += n;
    memcpy(g->before, h, n * width * sizeof *h);
}

/* A squared error e^2 in the logit of a token costs p (1 - p) e^2 / 2 nats; rows of the embedding are read as often as
 * the token is met. */
static void take_prediction(gatherer *g, const float *logits, uint32_t token) {
    uint32_t n = lm_about(g->model)->n_vocab;
    float most = logits[0];
    double sum = 0;
    for (uint32_t v = 1; v < n; v++) most = logits[v] > most ? logits[v] : most;
    for (uint32_t v = 0; v < n; v++) sum += (double)(g->odds[v] = expf(logits[v] - most));
    for (uint32_t v = 0; v < n; v++) {
        double p = (double)g->odds[v] / sum;
        g->use[v] += p * (1 - p);
    }
    if (token < n) g->use[n + token] += 1;
}

static pith_status read_chunk(gatherer *g, const uint32_t *chunk, bool want_logits) {
    uint32_t n_ctx = g->chunks.n_ctx, n_vocab = lm_about(g->model)->n_vocab;
    pith_status status = lm_truncate(g->session, 0, 0);
    for (uint32_t at = 0, n; at < n_ctx && !status; at += n) {
        n = PITH_MIN(g->batch, n_ctx - at);
        for (uint32_t i = 0; i < n; i++)
            g->tokens[i] = (lm_token){.id = gather_token(g, chunk, at + i), .want_logits = want_logits};
        g->call = 0;
        status = lm_eval(g->session, g->tokens, n);
        if (!status) status = g->status;
        for (uint32_t i = 0; i < n && g->use && g->sums && want_logits && !status; i++)
            take_prediction(g, lm_logits(g->session, i), g->tokens[i].id);
        for (uint32_t i = 0; i < n && at + i + 1 < n_ctx && g->sums && want_logits && !status; i++) {
            g->nats += lm_bits(lm_logits(g->session, i), n_vocab, chunk[at + i + 1]) * 0.69314718055994531;
            g->scored++;
        }
    }
    return status;
}

static pith_status read_text(gatherer *g) {
    bool want_logits = !g->options->no_output && (g->sums || g->grams_of_output);
    lm_probe probe = {.opaque = g,
                      .input = take_input,
                      .expert_input = take_expert,
                      .hidden = g->before ? take_hidden : NULL};
    lm_set_probe(g->session, &probe);
    pith_status status = PITH_OK;
    for (size_t c = 0; c < g->chunks.n_chunks && !status; c++) {
        status = read_chunk(g, g->chunks.tokens + c * g->chunks.n_ctx, want_logits);
        g->done += g->chunks.n_ctx;
        if (!status) status = pith_tick(g->ctx, g->done, PITH_MAX(g->total, g->done));
    }
    lm_set_probe(g->session, NULL);
    return status;
}

/* ---- what a pass leaves ---- */

static pith_status put_number(gatherer *g, double v, const char *name) {
    float f = (float)v;
    if (!isfinite(f))
        return pith_fail(g->ctx, PITH_E_CHECK, "the inputs of %s are not finite, or too large for sums", name);
    uint8_t bytes[4];
    uint32_t bits;
    memcpy(&bits, &f, 4);
    store32(bytes, bits);
    return pith_buffer_append(g->ctx, &g->small, bytes, 4);
}

/* In the order of stats_head_make. */
static pith_status put_small(gatherer *g) {
    pith_status status = PITH_OK;
    for (uint32_t l = 0; l < g->plan.last_layer && !status; l++)
        status = put_number(g, 1 - g->cosines[l] / (double)PITH_MAX(g->rows, 1u), "a layer");
    if (!status) status = put_number(g, g->scored ? g->nats / (double)g->scored : 0, "the output");
    if (!status) status = put_number(g, (double)g->scored, "the output");
    double read = (double)g->chunks.n_chunks * g->chunks.n_ctx;
    for (uint32_t v = 0; g->use && v < 2 * lm_about(g->model)->n_vocab && !status; v++)
        status = put_number(g, g->use[v] / read, "the output");
    for (uint32_t i = 0; i < g->plan.n && !status; i++) {
        const stats_input *in = &g->plan.at[i], *owner = &g->plan.at[in->owner];
        size_t n = (size_t)in->parts * in->cols;
        const double *sum = g->sums + owner->sums_at, *sum2 = sum + n;
        for (size_t j = 0; j < n && !status; j++) status = put_number(g, sum2[j], in->name);
        for (uint32_t e = 0; e < in->parts && !status; e++)
            status = put_number(g, (double)g->counts[owner->counts_at + e], in->name);
        for (size_t j = 0; j < n && !status; j++) status = put_number(g, sum[j], in->name);
    }
    if (!status) status = stats_out_put(g->out, 0, g->small.data, g->small.size);
    pith_buffer_free(g->ctx, &g->small);
    if (!status) stats_out_done(g->out, 0);
    return status;
}

static pith_status put_gram(gatherer *g, uint32_t k, const stats_input *in) {
    size_t n = (size_t)in->cols * (in->cols + 1) / 2;
    uint8_t *piece = pith_alloc(g->ctx, PIECE * 4);
    if (!piece) return pith_alloc_status(g->ctx);
    pith_status status = PITH_OK;
    double scale = 1.0 / (double)PITH_MAX(g->seen[k], 1u);
    for (size_t at = 0; at < n && !status; at += PIECE) {
        size_t m = PITH_MIN((size_t)PIECE, n - at);
        for (size_t i = 0; i < m && !status; i++) {
            float f = (float)(g->grams[k][at + i] * scale);
            uint32_t bits;
            memcpy(&bits, &f, 4);
            store32(piece + 4 * i, bits);
            if (!isfinite(f))
                status =
                    pith_fail(g->ctx, PITH_E_CHECK, "the inputs of %s are not finite, or too large for sums", in->name);
        }
        if (!status) status = stats_out_put(g->out, 1 + k, piece, m * 4);
    }
    pith_free(g->ctx, piece);
    if (!status) stats_out_done(g->out, 1 + k);
    return status;
}

/* ---- passes ---- */

static uint64_t small_bytes(const gatherer *g) {
    uint64_t bytes = (uint64_t)g->batch * lm_about(g->model)->n_embd * sizeof(float);
    if (!g->options->no_output) bytes += (uint64_t)lm_about(g->model)->n_vocab * (2 * sizeof(double) + sizeof(float));
    for (uint32_t i = 0; i < g->plan.n; i++)
        bytes += (uint64_t)g->plan.at[i].cols * g->plan.at[i].parts * 4 * sizeof(double);
    return bytes;
}

static uint64_t gram_bytes(const stats_input *in) { return (uint64_t)in->cols * (in->cols + 1) / 2 * sizeof(double); }

/* Memory for Gram matrices in a pass: what the session has left, but for the sums of the first pass and what adds one
 * batch up. */
static uint64_t budget(const gatherer *g) {
    uint64_t used = pith_memory_used(g->ctx) + RESERVE + PER_THREAD * pith_ctx_threads(g->ctx),
             limit = pith_ctx_memory(g->ctx);
    if (!g->sums) used += small_bytes(g);
    return limit > used ? limit - used : 0;
}

static pith_status take_grams(gatherer *g) {
    uint64_t left = budget(g);
    uint32_t taken = 0;
    g->grams_of_output = false;
    for (uint32_t i = 0; i < g->plan.n; i++) {
        const stats_input *in = &g->plan.at[i];
        uint32_t k = in->gram - 1;
        if (!in->gram || in->owner != i || stats_out_has(g->out, 1 + k)) continue;
        if (gram_bytes(in) > left) break; /* in order, so that a group is of neighbours */
        g->grams[k] = pith_zalloc(g->ctx, (size_t)gram_bytes(in));
        if (!g->grams[k]) return pith_alloc_status(g->ctx);
        g->seen[k] = 0;
        left -= gram_bytes(in);
        taken++;
        g->grams_of_output |= i + 1 == g->plan.n;
    }
    if (!taken && !g->sums)
        return pith_fail(g->ctx, PITH_E_LIMIT, "no memory is left for a Gram matrix, of the limit of %llu bytes",
                         (unsigned long long)pith_ctx_memory(g->ctx));
    return PITH_OK;
}

static void drop_grams(gatherer *g) {
    for (uint32_t k = 0; g->grams && k < g->plan.n_grams; k++) {
        pith_free(g->ctx, g->grams[k]);
        g->grams[k] = NULL;
    }
}

static pith_status start_sums(gatherer *g) {
    size_t n = 0, n_counts = 0;
    for (uint32_t i = 0; i < g->plan.n; i++) {
        stats_input *in = &g->plan.at[i];
        if (in->owner != i) continue;
        in->sums_at = n;
        in->counts_at = n_counts;
        n += 2 * (size_t)in->cols * in->parts;
        n_counts += in->parts;
    }
    g->counts = pith_zalloc(g->ctx, n_counts * sizeof *g->counts);
    g->cosines = g->counts ? pith_zalloc(g->ctx, (g->plan.last_layer + 1) * sizeof *g->cosines) : NULL;
    g->before = g->cosines ? pith_alloc(g->ctx, (size_t)g->batch * lm_about(g->model)->n_embd * sizeof(float)) : NULL;
    g->sums = g->before ? pith_zalloc(g->ctx, n * sizeof *g->sums) : NULL;
    if (g->sums && !g->options->no_output) {
        uint32_t n_vocab = lm_about(g->model)->n_vocab;
        g->use = pith_zalloc(g->ctx, 2 * (size_t)n_vocab * sizeof *g->use);
        g->odds = g->use ? pith_alloc(g->ctx, n_vocab * sizeof *g->odds) : NULL;
        if (!g->odds) return pith_alloc_status(g->ctx);
    }
    return g->sums ? PITH_OK : pith_alloc_status(g->ctx);
}

static void drop_sums(gatherer *g) {
    pith_free(g->ctx, g->sums);
    pith_free(g->ctx, g->before);
    pith_free(g->ctx, g->cosines);
    pith_free(g->ctx, g->counts);
    pith_free(g->ctx, g->use);
    pith_free(g->ctx, g->odds);
    g->use = NULL;
    g->odds = NULL;
    g->sums = g->cosines = NULL;
    g->before = NULL;
    g->counts = NULL;
}

static bool complete(const gatherer *g) {
    bool all = stats_out_has(g->out, 0);
    for (uint32_t k = 0; k < g->plan.n_grams; k++) all &= stats_out_has(g->out, 1 + k);
    return all;
}

static pith_status one_pass(gatherer *g) {
    pith_status status = stats_out_has(g->out, 0) ? PITH_OK : start_sums(g);
    if (!status) status = take_grams(g);
    if (!status) status = read_text(g);
    if (!status && g->sums) status = put_small(g);
    for (uint32_t i = 0; i < g->plan.n && !status; i++) {
        const stats_input *in = &g->plan.at[i];
        if (in->owner == i && in->gram && g->grams[in->gram - 1]) status = put_gram(g, in->gram - 1, in);
    }
    if (!status) status = stats_out_sign(g->out);
    drop_grams(g);
    drop_sums(g);
    return status;
}

/* Tokens that all passes to come will read: progress has to know. And whether they can be made at all. */
static pith_status plan_passes(gatherer *g) {
    uint64_t in_pass = 0, each = budget(g), passes = 1;
    for (uint32_t i = 0; i < g->plan.n; i++) {
        const stats_input *in = &g->plan.at[i];
        if (!in->gram || in->owner != i || stats_out_has(g->out, in->gram)) continue;
        uint64_t bytes = gram_bytes(in);
        if (bytes > each)
            return pith_fail(g->ctx, PITH_E_LIMIT,
                             "the Gram matrix of %s takes %llu bytes, the memory limit leaves %llu for it", in->name,
                             (unsigned long long)bytes, (unsigned long long)each);
        passes += in_pass + bytes > each;
        in_pass = in_pass + bytes > each ? bytes : in_pass + bytes;
    }
    g->total = passes * g->chunks.n_chunks * g->chunks.n_ctx;
    return PITH_OK;
}

pith_status stats_run(gatherer *g, const char *path, model_stats_result *result) {
    pith_buffer head = {0};
    stats_place *places = NULL;
    size_t n_places = 0;
    pith_status status = look(g);
    if (!status) status = stats_head_make(g, &head, &places, &n_places);
    if (!status && !(g->grams = pith_zalloc(g->ctx, PITH_MAX(g->plan.n_grams, 1u) * sizeof *g->grams)))
        status = pith_alloc_status(g->ctx);
    if (!status && !(g->seen = pith_zalloc(g->ctx, PITH_MAX(g->plan.n_grams, 1u) * sizeof *g->seen)))
        status = pith_alloc_status(g->ctx);
    if (!status)
        status =
            stats_out_open(g->ctx, path, &head, places, n_places, g->plan.n_grams + 1, g->options->restart, &g->out);
    pith_buffer_free(g->ctx, &head);
    for (uint32_t k = 0; k < g->plan.n_grams && !status; k++) result->grams_found += stats_out_has(g->out, 1 + k);
    if (!status) status = plan_passes(g);
    while (!status && !complete(g)) {
        status = one_pass(g);
        result->passes++;
    }
    if (!status) status = stats_out_finish(g->out);
    result->n_matrices = g->plan.n;
    result->n_grams = g->plan.n_grams;
    result->bytes = g->out ? stats_out_bytes(g->out) : 0;
    result->nats = g->scored ? g->nats / (double)g->scored : 0;
    stats_out_close(g->out);
    pith_free(g->ctx, places);
    pith_free(g->ctx, g->grams);
    pith_free(g->ctx, g->seen);
    pith_free(g->ctx, g->plan.at);
    pith_free(g->ctx, g->plan.calls);
    return status;
}
