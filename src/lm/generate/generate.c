/* Generation: the prompt in batches, then passes that evaluate the last token together with a draft of
 * those to follow; tokens are chosen from the logits of one after the other until a choice is
 * not the draft's. What was evaluated for nothing is dropped from the cache. */
#include <math.h>

#include "kernels/predict/predict.h"
#include "lm/generate/parts.h"

struct generator {
    pith_ctx *ctx;
    const lm_model *m;
    generate_options o; /* defaults filled in */
    lm_session *session;
    sampler *sampler;
    text_stream *text;
    drafter *drafter;
    token_list ends;    /* tokens after which no text follows */
    logit_bias *biases; /* the user's, and those that keep end tokens out */
    token_list history; /* the session holds the first lm_length() of them */
    lm_token *batch;    /* [max_batch] */
    uint32_t *draft;    /* [max_draft] */
    token_list *out;
    generate_stats stats;
    bool done;
};

const char *generate_end_name(generate_end end) {
    static const char *const names[] = {"length", "token", "string", "context", "cancelled"};
    return (unsigned)end < PITH_COUNT(names) ? names[end] : "";
}

/* ---- set-up ---- */

/* The end tokens that models of today have beside tokenizer.ggml.eos_token_id, as llama.cpp knows them. */
static bool is_end_name(const char *entry, size_t size) {
    static const char *const names[] = {"<|im_end|>", "<|eot_id|>",    "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>",
                                        "<|end|>",    "<end_of_turn>", "<|eot|>",    "<EOT>",         "<EOS>"};
    for (size_t i = 0; i < PITH_COUNT(names); i++)
        if (strlen(names[i]) == size && memcmp(names[i], entry, size) == 0) return true;
    return false;
}

static pith_status find_ends(generator *g) {
    enum { CONTROL = 3, USER = 4 };
    const tokenizer *t = lm_tokenizer(g->m);
    if (!t) return PITH_OK;
    uint32_t n_vocab = PITH_MIN(tokenizer_about(t)->n_vocab, lm_about(g->m)->n_vocab), eos = tokenizer_about(t)->eos;
    for (uint32_t i = 0; i < n_vocab; i++) {
        size_t size;
        float score;
        int kind;
        const char *entry = tokenizer_entry(t, i, &size, &score, &kind);
        if (i != eos && ((kind != CONTROL && kind != USER) || !is_end_name(entry, size))) continue;
        pith_status status = token_list_append(g->ctx, &g->ends, &i, 1);
        if (status) return status;
    }
    return PITH_OK;
}

static pith_status set_biases(generator *g) {
    sampling *how = &g->o.how;
    if (!g->o.ignore_end || g->ends.n == 0) return PITH_OK;
    if (how->n_biases > SIZE_MAX / sizeof *g->biases - g->ends.n)
        return pith_fail(g->ctx, PITH_E_ARGUMENT, "%zu biases", how->n_biases);
    g->biases = pith_alloc(g->ctx, (how->n_biases + g->ends.n) * sizeof *g->biases);
    if (!g->biases) return pith_alloc_status(g->ctx);
    if (how->n_biases) memcpy(g->biases, how->biases, how->n_biases * sizeof *g->biases);
    for (size_t i = 0; i < g->ends.n; i++) g->biases[how->n_biases + i] = (logit_bias){g->ends.id[i], -INFINITY};
    how->biases = g->biases;
    how->n_biases += g->ends.n;
    return PITH_OK;
}

static pith_status set_defaults(generator *g) {
    generate_options *o = &g->o;
    if (!o->n_ctx) o->n_ctx = lm_about(g->m)->n_ctx_train;
    if (!o->max_batch) o->max_batch = 512;
    if (!o->max_draft) o->max_draft = 16;
    if (o->draft_min_p == 0) o->draft_min_p = o->draft == DRAFT_MODEL ? 0.5f : 0.1f;
    if (o->draft_factor == 0) o->draft_factor = 1;
    if (!o->past_tokens) o->past_tokens = 65536;
    if ((unsigned)o->draft > DRAFT_MODEL || o->max_draft > SUFFIX_DRAFT_MOST || !(o->draft_min_p >= 0) ||
        !(o->draft_factor >= 0 && o->draft_factor < 1e6f) || !(o->draft_offset >= 0 && o->draft_offset < 1e6f))
        return pith_fail(g->ctx, PITH_E_ARGUMENT, "drafts of at most %u tokens, of %d at most, from probability %g on",
                         o->max_draft, SUFFIX_DRAFT_MOST, (double)o->draft_min_p);
    o->n_ctx = PITH_MAX(o->n_ctx, 1u);
    o->max_batch = PITH_MAX(PITH_MIN(o->max_batch, o->n_ctx), o->max_draft + 1);
    return PITH_OK;
}

static pith_status set_up(generator *g) {
    pith_status status = set_defaults(g);
    if (!status) status = find_ends(g);
    if (!status) status = set_biases(g);
    if (status) return status;
    generate_options *o = &g->o;
    /* A recurrent model goes back to a copy made before the draft. */
    const lm_session_options session = {.n_ctx = o->n_ctx,
                                        .n_sequences = lm_about(g->m)->recurrent && o->draft != DRAFT_NONE ? 2 : 1,
                                        .max_batch = o->max_batch,
                                        .max_logits = o->draft == DRAFT_NONE ? 1 : o->max_draft + 1,
                                        .cache = o->cache,
                                        .n_threads = o->n_threads};
    status = lm_session_new(g->ctx, g->m, &session, &g->session);
    if (!status) status = sampler_new(g->ctx, &o->how, lm_about(g->m)->n_vocab, &g->sampler);
    if (!status) status = text_stream_new(g->ctx, o->stops, o->n_stops, o->any_bytes, o->on_text, o->opaque, &g->text);
    if (!status) status = drafter_new(g->ctx, o, g->m, &g->drafter);
    if (status) return status;
    g->batch = pith_alloc(g->ctx, o->max_batch * sizeof *g->batch);
    g->draft = g->batch ? pith_alloc(g->ctx, o->max_draft * sizeof *g->draft) : NULL;
    return g->draft ? PITH_OK : pith_alloc_status(g->ctx);
}

pith_status generator_new(pith_ctx *ctx, const lm_model *m, const generate_options *options, generator **out) {
    *out = NULL;
    generator *g = pith_zalloc(ctx, sizeof *g);
    if (!g) return pith_alloc_status(ctx);
    g->ctx = ctx;
    g->m = m;
    g->o = *options;
    pith_status status = set_up(g);
    if (status) {
        generator_free(g);
        return status;
    }
    *out = g;
    return PITH_OK;
}

void generator_free(generator *g) {
    if (!g) return;
    pith_ctx *ctx = g->ctx;
    lm_session_free(g->session);
    sampler_free(ctx, g->sampler);
    text_stream_free(ctx, g->text);
    drafter_free(g->drafter);
    token_list_free(ctx, &g->ends);
    token_list_free(ctx, &g->history);
    pith_free(ctx, g->biases);
    pith_free(ctx, g->batch);
    pith_free(ctx, g->draft);
    pith_free(ctx, g);
}

void generator_remember(generator *g, const uint32_t *ids, size_t n) { drafter_remember(g->drafter, ids, n); }
void generator_forget(generator *g) { drafter_forget(g->drafter); }

/* ---- a run ---- */

static void finish(generator *g, generate_end end) {
    g->stats.end = end;
    g->done = true;
}

static bool among(const uint32_t *ids, size_t n, uint32_t id) {
    for (size_t i = 0; i < n; i++)
        if (ids[i] == id) return true;
    return false;
}

/* The text takes one more token. */
static pith_status deliver(generator *g, uint32_t id) {
    const generate_options *o = &g->o;
    pith_status status = token_list_append(g->ctx, &g->history, &id, 1);
    if (!status && g->out) status = token_list_append(g->ctx, g->out, &id, 1);
    if (status) return status;
    drafter_add(g->drafter, id);
    g->stats.n_tokens++;
    if (o->on_token && !o->on_token(o->opaque, id)) {
        finish(g, GENERATE_CANCELLED);
        return PITH_OK;
    }
    if (among(o->stop_tokens, o->n_stop_tokens, id) || (!o->ignore_end && among(g->ends.id, g->ends.n, id))) {
        finish(g, GENERATE_TOKEN);
        return PITH_OK;
    }
    const tokenizer *t = lm_tokenizer(g->m);
    size_t size = 0, stop = SIZE_MAX;
    const uint8_t *piece = t && id < tokenizer_about(t)->n_vocab ? tokenizer_piece(t, id, false, &size) : NULL;
    status = text_stream_put(g->text, piece, piece ? size : 0, &stop);
    if (status == PITH_E_CANCELLED) {
        finish(g, GENERATE_CANCELLED);
        return PITH_OK;
    }
    if (status) return status;
    if (stop != SIZE_MAX) {
        g->stats.stop = stop;
        finish(g, GENERATE_STRING);
    } else if (g->stats.n_tokens == o->max_tokens) {
        finish(g, GENERATE_LENGTH);
    } else if (g->history.n >= o->n_ctx) {
        finish(g, GENERATE_CONTEXT);
    }
    return PITH_OK;
}

/* Keeps what the session shares with the new prompt, evaluates the rest of it. */
static pith_status take_prompt(generator *g, const uint32_t *prompt, size_t n) {
    size_t same = 0, length = lm_length(g->session, 0);
    while (same < length && same + 1 < n && g->history.id[same] == prompt[same]) same++;
    if (same < length && lm_about(g->m)->recurrent) same = 0;
    pith_status status = lm_truncate(g->session, 0, (uint32_t)same);
    g->history.n = 0;
    if (!status) status = token_list_append(g->ctx, &g->history, prompt, n);
    if (status) return status;
    drafter_start(g->drafter, prompt, n);
    while (same < n && !status) {
        size_t k = PITH_MIN(n - same, g->o.max_batch);
        for (size_t i = 0; i < k; i++) g->batch[i] = (lm_token){prompt[same + i], 0, same + i + 1 == n};
        status = lm_eval(g->session, g->batch, k);
        same += k;
        if (!status && pith_tick(g->ctx, same, n)) status = PITH_E_CANCELLED;
    }
    return status;
}

/* Drops what was evaluated behind the first `kept` tokens of the last batch. */
static pith_status go_back(generator *g, size_t before, size_t kept, size_t evaluated) {
    if (kept == evaluated) return PITH_OK;
    if (!lm_about(g->m)->recurrent) return lm_truncate(g->session, 0, (uint32_t)(before + kept));
    pith_status status = lm_copy(g->session, 1, 0);
    for (size_t i = 0; i < kept; i++) g->batch[i].want_logits = false;
    return status ? status : lm_eval(g->session, g->batch, kept);
}

/* One pass: the last token and a draft of what follows. */
static pith_status pass(generator *g) {
    const generate_options *o = &g->o;
    size_t n = g->history.n, n_draft = 0, accepted = 0;
    size_t most = PITH_MIN(o->max_draft, o->n_ctx - n - 1); /* n < n_ctx, else it were over */
    if (o->max_tokens) most = PITH_MIN(most, o->max_tokens - g->stats.n_tokens - 1);
    pith_status status = drafter_propose(g->drafter, g->sampler, g->history.id, n, most, g->draft, &n_draft);
    if (status) return status;
    for (size_t i = 0; i < n_draft; i++) /* what was remembered may be of another vocabulary */
        if (g->draft[i] >= lm_about(g->m)->n_vocab) n_draft = i;
    if (n_draft && lm_about(g->m)->recurrent) status = lm_copy(g->session, 0, 1);
    if (status) return status;
    g->batch[0] = (lm_token){g->history.id[n - 1], 0, true};
    for (size_t i = 0; i < n_draft; i++) g->batch[1 + i] = (lm_token){g->draft[i], 0, true};
    status = lm_eval(g->session, g->batch, 1 + n_draft);
    if (status) return status;
    g->stats.n_steps++;
    g->stats.n_drafted += n_draft;
    for (size_t i = 0; !status && !g->done; i++) {
        uint32_t id = sampler_choose(g->sampler, lm_logits(g->session, i), g->history.id, g->history.n);
        status = deliver(g, id);
        if (i == n_draft || id != g->draft[i]) break;
        accepted++;
    }
    g->stats.n_accepted += accepted;
    pith_status back = go_back(g, n - 1, 1 + accepted, 1 + n_draft);
    return status ? status : back;
}

pith_status generator_run(generator *g, const uint32_t *prompt, size_t n, token_list *out, generate_stats *stats) {
    memset(stats, 0, sizeof *stats);
    if (n == 0) return pith_fail(g->ctx, PITH_E_ARGUMENT, "a prompt needs at least one token");
    if (n >= g->o.n_ctx)
        return pith_fail(g->ctx, PITH_E_LIMIT, "the prompt has %zu tokens, the context holds %u", n, g->o.n_ctx);
    g->stats = (generate_stats){.n_prompt = n, .stop = SIZE_MAX};
    g->out = out;
    g->done = false;
    text_stream_clear(g->text);
    pith_status status = take_prompt(g, prompt, n);
    if (!status) status = deliver(g, sampler_choose(g->sampler, lm_logits(g->session, 0), g->history.id, n));
    while (!status && !g->done) {
        status = pass(g);
        if (!status && !g->done && pith_tick(g->ctx, g->stats.n_tokens, g->o.max_tokens)) status = PITH_E_CANCELLED;
    }
    if (status == PITH_E_CANCELLED) g->stats.end = GENERATE_CANCELLED;
    pith_status end = text_stream_end(g->text);
    if (end == PITH_E_CANCELLED)
        g->stats.end = GENERATE_CANCELLED;
    else if (!status)
        status = end;
    drafter_finish(g->drafter, g->history.id, g->history.n, n);
    g->out = NULL;
    *stats = g->stats;
    return status;
}
