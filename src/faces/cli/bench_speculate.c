/* `pith bench speculate`: what drafts are worth. Requests that repeat and edit what was there before,
 * and fresh prose; answered one token at a time, with drafts from suffix trees, and with a draft
 * model if there is one. The answers must be the same. (Oliaro et al., "SuffixDecoding", 2024.) */
#include <math.h>
#include <string.h>
#include <time.h>

#include "faces/cli/bench_lm.h"
#include "kernels/predict/predict.h"
#include "lm/generate/generate.h"
#include "lm/ruler/ruler.h"

static const char speculate_help[] =
    "Usage: pith bench speculate [OPTIONS] [FILE...]\n"
    "\n"
    "Answers requests with and without drafts and compares: log lines, edits of code, questions\n"
    "like earlier ones (repeats), passages of fresh prose, and passages of each FILE (sampled).\n"
    "Claims of S039: the same tokens always; at least 3 tokens a step on repeats and 1.05 on\n"
    "prose; at most 20 microseconds a token for the trees.\n"
    "\n"
    "      --requests=N    requests of a kind (default 8)\n"
    "      --tokens=N      tokens of an answer (default 64)\n"
    "      --draft=MODEL   a draft model too\n"
    "      --draft-max=N   tokens drafted at once (default 16)\n"
    "      --seed=N        of the sampled answers and of what is made up (default 1)\n" LM_COMMON_HELP;

/* Tokens of the passes that are timed, to tell what a draft must bring to pay. */
static const unsigned pass_sizes[] = {1, 2, 4, 8, 16};

enum { PASS_SIZES = 5 };
enum { REQUESTS_MOST = 64, WORKLOADS_MOST = 16, METHODS = 3, PROMPT_MOST = 4096 };

typedef struct workload {
    char name[40];
    bool repeats, sampled;
    token_list prompts[REQUESTS_MOST];
} workload;

typedef struct result {
    generate_stats sum;
    double seconds; /* of the processor, after the first tokens */
    bool same;      /* as without drafts */
} result;

typedef struct speculation {
    lm_options common;
    uint64_t n_requests, n_tokens, draft_max, seed;
    const char *draft;
    pith_ctx *ctx;
    lm_model *m, *draft_model;
    workload *work; /* [WORKLOADS_MOST] */
    size_t n_work;
    result results[WORKLOADS_MOST][METHODS];
    token_list answers; /* of one workload without drafts, one behind the other */
    double first;       /* processor seconds at the first token of an answer */
    double update_us;   /* of both trees, per token */
    double pass_ms[PASS_SIZES];
} speculation;

static const char *const method_names[METHODS] = {"none", "suffix", "model"};

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- requests ---- */

static uint32_t next_random(uint64_t *state, uint32_t n) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % n;
}

static void write_log(char *text, size_t size, uint64_t seed) {
    static const char *const what[] = {"INFO dfs.DataNode: Receiving block blk_%u src: /10.251.%u.%u",
                                       "INFO dfs.DataNode: PacketResponder 1 for block blk_%u terminating",
                                       "INFO dfs.FSNamesystem: addStoredBlock: blockMap updated: blk_%u"};
    size_t n = 0;
    uint32_t block = 100 + next_random(&seed, 800), minute = next_random(&seed, 60);
    for (unsigned line = 0; line < 12 && n < size; line++) {
        n += (size_t)snprintf(text + n, size - n, "081109 10%02u%02u ", minute, line * 4 + next_random(&seed, 4));
        if (n >= size) break;
        unsigned kind = line % 3; /* the same block goes through the same steps */
        if (kind == 0) block++;
        if (kind == 0)
            n += (size_t)snprintf(text + n, size - n, what[0], block, next_random(&seed, 256), next_random(&seed, 256));
        else
            n += (size_t)snprintf(text + n, size - n, kind == 1 ? what[1] : what[2], block);
        if (n < size) n += (size_t)snprintf(text + n, size - n, "\n");
    }
}

static void write_edit(char *text, size_t size, uint64_t seed) {
    static const char *const names[] = {"count", "total", "index", "width", "limit", "first", "value", "score"};
    const char *name = names[next_random(&seed, 8)];
    size_t n = 0;
    for (unsigned version = 1; version <= 3 && n < size; version++) {
        n +=
            (size_t)snprintf(text + n, size - n, "version %u:\nint %s_of(const int *list, int n) {\n    int %s = %u;\n",
                             version, name, name, next_random(&seed, 10));
        if (version < 3 && n < size)
            n += (size_t)snprintf(text + n, size - n,
                                  "    for (int i = 0; i < n; i++) %s += list[i];\n    return %s;\n}\n\n", name, name);
    }
}

static void write_question(char *text, size_t size, uint64_t seed) {
    static const char *const subjects[] = {"package", "program", "library", "kernel"};
    static const char *const verbs[] = {"install", "remove", "configure", "update"};
    /* The same few questions come again and again. */
    const char *subject = subjects[next_random(&seed, 2)], *verb = verbs[next_random(&seed, 2)];
    snprintf(text, size, "This section describes the %s. To %s the %s, run", subject, verb, subject);
}

static int add_prompt(speculation *s, workload *w, size_t i, const char *text, size_t size) {
    const tokenizer *t = lm_tokenizer(s->m);
    unsigned flags = tokenizer_about(t)->add_bos && tokenizer_about(t)->bos != TOKEN_NONE ? TOKENIZE_BOS : 0;
    if (tokenizer_encode(s->ctx, t, text, size, flags, &w->prompts[i]) != PITH_OK) return lm_failed(s->ctx, NULL);
    uint32_t room = lm_about(s->m)->n_ctx_train;
    if (s->common.n_ctx) room = s->common.n_ctx;
    if (w->prompts[i].n == 0 || w->prompts[i].n + s->n_tokens > room)
        return cli_error("speculate: a request of %zu tokens and its answer of %llu, the context holds %u",
                         w->prompts[i].n, (unsigned long long)s->n_tokens, room);
    return CLI_OK;
}

static int add_made_up(speculation *s, const char *name, void (*write)(char *, size_t, uint64_t)) {
    workload *w = &s->work[s->n_work++];
    snprintf(w->name, sizeof w->name, "%s", name);
    w->repeats = true;
    for (size_t i = 0; i < s->n_requests; i++) {
        char text[PROMPT_MOST];
        uint64_t seed = s->seed * 1000 + i;
        next_random(&seed, 2);
        write(text, sizeof text, seed);
        if (add_prompt(s, w, i, text, strlen(text)) != CLI_OK) return CLI_FAIL;
    }
    return CLI_OK;
}

/* Passages from all over the text, each about 300 bytes up to the end of a word. */
static int add_passages(speculation *s, const char *name, const char *text, size_t size, bool sampled) {
    if (s->n_work == WORKLOADS_MOST) return cli_error("speculate: too many files");
    if (size < 64) return cli_error("%s: too short for passages", name);
    workload *w = &s->work[s->n_work++];
    const char *last = strrchr(name, '/');
    snprintf(w->name, sizeof w->name, "%s", last ? last + 1 : name);
    w->sampled = sampled;
    for (size_t i = 0; i < s->n_requests; i++) {
        size_t length = PITH_MIN((size_t)300, size / 2), from = (size - length) / s->n_requests * i, to = from + length;
        while (from < to && from > 0 && text[from - 1] != ' ' && text[from - 1] != '\n') from++;
        while (to > from + 1 && text[to] != ' ' && text[to] != '\n') to--;
        if (add_prompt(s, w, i, text + from, to - from) != CLI_OK) return CLI_FAIL;
    }
    return CLI_OK;
}

static int make_work(speculation *s) {
    if (add_made_up(s, "log lines", write_log) != CLI_OK || add_made_up(s, "edits of code", write_edit) != CLI_OK ||
        add_made_up(s, "questions again", write_question) != CLI_OK)
        return CLI_FAIL;
    size_t size;
    const char *prose = ruler_filler(&size);
    if (add_passages(s, "prose", prose, size, true) != CLI_OK ||
        add_passages(s, "prose, greedy", prose, size, false) != CLI_OK)
        return CLI_FAIL;
    for (size_t i = 0; i < s->common.n_names; i++) {
        pith_buffer text = {0};
        int done = lm_read_text(s->ctx, s->common.names[i], &text);
        if (done == CLI_OK) done = add_passages(s, s->common.names[i], (const char *)text.data, text.size, true);
        pith_buffer_free(s->ctx, &text);
        if (done != CLI_OK) return CLI_FAIL;
    }
    return CLI_OK;
}

/* ---- answers ---- */

static bool note_first(void *opaque, uint32_t id) {
    speculation *s = opaque;
    (void)id;
    if (s->first == 0) s->first = cpu_seconds();
    return cli_stop_signal() == 0;
}

static pith_status answer_all(speculation *s, const workload *w, unsigned method, result *r) {
    generate_options o = {.how = sampling_defaults(),
                          .max_tokens = (uint32_t)s->n_tokens,
                          .n_ctx = s->common.n_ctx,
                          .n_threads = s->common.n_threads,
                          .cache = LM_CACHE_F16,
                          .ignore_end = true,
                          .draft = (draft_kind)method,
                          .draft_model = s->draft_model,
                          .max_draft = (uint32_t)s->draft_max,
                          .on_token = note_first,
                          .opaque = s};
    if (!o.n_ctx) o.n_ctx = PITH_MIN(lm_about(s->m)->n_ctx_train, 4096u);
    o.how.seed = s->seed;
    if (!w->sampled) o.how.temperature = 0;
    generator *g;
    pith_status status = generator_new(s->ctx, s->m, &o, &g);
    if (status) return status;
    size_t at = 0;
    r->same = true;
    if (method == DRAFT_NONE) s->answers.n = 0;
    for (size_t i = 0; i < s->n_requests && !status; i++) {
        token_list got = {0};
        generate_stats stats;
        s->first = 0;
        status = generator_run(g, w->prompts[i].id, w->prompts[i].n, &got, &stats);
        r->seconds += cpu_seconds() - s->first;
        if (!status && stats.end == GENERATE_CANCELLED) status = PITH_E_CANCELLED;
        r->sum.n_tokens += stats.n_tokens - (stats.n_tokens > 0);
        r->sum.n_steps += stats.n_steps;
        r->sum.n_drafted += stats.n_drafted;
        r->sum.n_accepted += stats.n_accepted;
        if (!status && method == DRAFT_NONE)
            status = token_list_append(s->ctx, &s->answers, got.id, got.n);
        else if (!status)
            r->same &= at + got.n <= s->answers.n && memcmp(s->answers.id + at, got.id, got.n * sizeof *got.id) == 0;
        at += got.n;
        token_list_free(s->ctx, &got);
    }
    r->same &= at == s->answers.n;
    generator_free(g);
    return status;
}

/* The work of the trees alone, over what was just answered: every token into the tree of its text, a
 * draft from both, the finished text into the other. */
static pith_status time_trees(speculation *s, const workload *w, double *seconds, uint64_t *tokens) {
    suffix_tree *text = NULL, *past = NULL;
    const suffix_rule rule = {.max_tokens = (unsigned)s->draft_max, .factor = 1, .min_probability = 0.1f};
    token_list all = {0};
    suffix_draft draft;
    pith_status status = suffix_tree_new(s->ctx, 64, 8192, &text);
    if (!status) status = suffix_tree_new(s->ctx, 64, 65536, &past);
    for (size_t i = 0; i < s->n_requests && !status; i++) {
        const token_list *p = &w->prompts[i];
        size_t share = s->answers.n / s->n_requests;
        all.n = 0;
        status = token_list_append(s->ctx, &all, p->id, p->n);
        if (!status) status = token_list_append(s->ctx, &all, s->answers.id + i * share, share);
        if (status) break;
        suffix_tree_clear(text);
        double start = cpu_seconds();
        for (size_t k = 0; k < all.n; k++) {
            suffix_tree_append(text, all.id[k]);
            suffix_tree_draft(text, NULL, 0, &rule, &draft);
            size_t context = PITH_MIN(k + 1, (size_t)64);
            suffix_tree_draft(past, all.id + k + 1 - context, context, &rule, &draft);
        }
        for (size_t k = 0; k < all.n; k++) suffix_tree_append(past, all.id[k]);
        suffix_tree_end(past);
        *seconds += cpu_seconds() - start;
        *tokens += all.n;
    }
    suffix_tree_free(s->ctx, text);
    suffix_tree_free(s->ctx, past);
    token_list_free(s->ctx, &all);
    return status;
}

/* Processor time of passes of several tokens behind a short text, the best of a few. */
static pith_status time_passes(speculation *s) {
    enum { BEFORE = 32, RUNS = 5 };
    lm_token batch[BEFORE];
    lm_session *session;
    const lm_session_options o = {
        .n_ctx = 2 * BEFORE, .max_batch = BEFORE, .n_threads = s->common.n_threads, .cache = LM_CACHE_F16};
    pith_status status = lm_session_new(s->ctx, s->m, &o, &session);
    if (status) return status;
    for (unsigned i = 0; i < BEFORE; i++) batch[i] = (lm_token){i * 7 % lm_about(s->m)->n_vocab, 0, true};
    status = lm_eval(session, batch, BEFORE);
    bool recurrent = lm_about(s->m)->recurrent; /* these need not go back: their passes cost the same anywhere */
    for (unsigned i = 0; i < PASS_SIZES && !status; i++)
        for (unsigned run = 0; run < RUNS && !status; run++) {
            double start = cpu_seconds();
            status = lm_eval(session, batch, pass_sizes[i]);
            double ms = (cpu_seconds() - start) * 1e3;
            if (run == 0 || ms < s->pass_ms[i]) s->pass_ms[i] = ms;
            if (!status && !recurrent) status = lm_truncate(session, 0, BEFORE);
        }
    lm_session_free(session);
    return status;
}

static int run_all(speculation *s) {
    lm_progress progress;
    double seconds = 0;
    uint64_t tokens = 0;
    pith_status status = PITH_OK;
    lm_progress_start(&progress, s->ctx, "speculate", "tokens");
    for (size_t i = 0; i < s->n_work && !status; i++) {
        progress.line.verb = s->work[i].name;
        for (unsigned method = 0; method < METHODS && !status; method++)
            if (method != DRAFT_MODEL || s->draft_model)
                status = answer_all(s, &s->work[i], method, &s->results[i][method]);
        if (!status) status = time_trees(s, &s->work[i], &seconds, &tokens);
    }
    if (!status) status = time_passes(s);
    lm_progress_clear(&progress, s->ctx);
    if (status) return cli_stop_signal() ? CLI_FAIL : lm_failed(s->ctx, NULL);
    s->update_us = tokens ? seconds / (double)tokens * 1e6 : 0;
    return CLI_OK;
}

/* ---- the report ---- */

static double per(double a, double b) { return b > 0 ? a / b : 0; }
static double tokens_per_step(const result *r) { return per((double)r->sum.n_tokens, (double)r->sum.n_steps); }
static double speed(const result *r) { return per((double)r->sum.n_tokens, r->seconds); }

/* Over all workloads of the kind, by suffixes. */
static double steps_of(const speculation *s, bool repeats) {
    uint64_t tokens = 0, steps = 0;
    for (size_t i = 0; i < s->n_work; i++) {
        if (s->work[i].repeats != repeats || (!repeats && !s->work[i].sampled)) continue;
        tokens += s->results[i][DRAFT_SUFFIX].sum.n_tokens;
        steps += s->results[i][DRAFT_SUFFIX].sum.n_steps;
    }
    return per((double)tokens, (double)steps);
}

static int report_json(const speculation *s, bool same, double repeats, double prose) {
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_work; i++)
        for (unsigned k = 0; k < METHODS; k++) {
            const result *r = &s->results[i][k];
            if (k == DRAFT_MODEL && !s->draft_model) continue;
            json_array_append_new(list, json_pack("{s:o,s:s,s:b,s:b,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:b}", "workload",
                                                  cli_json_text(s->work[i].name), "drafts", method_names[k], "repeats",
                                                  (int)s->work[i].repeats, "sampled", (int)s->work[i].sampled, "tokens",
                                                  (json_int_t)r->sum.n_tokens, "steps", (json_int_t)r->sum.n_steps,
                                                  "drafted", (json_int_t)r->sum.n_drafted, "accepted",
                                                  (json_int_t)r->sum.n_accepted, "tokens_per_step", tokens_per_step(r),
                                                  "tokens_per_cpu_second", speed(r), "speed_ratio",
                                                  per(speed(r), speed(&s->results[i][0])), "identical", (int)r->same));
        }
    json_t *passes = json_array();
    for (unsigned i = 0; i < PASS_SIZES; i++)
        json_array_append_new(passes,
                              json_pack("{s:i,s:f}", "tokens", (int)pass_sizes[i], "cpu_milliseconds", s->pass_ms[i]));
    return cli_json_print(stdout,
                          json_pack("{s:o,s:o,s:o,s:b,s:f,s:f,s:f,s:b}", "model",
                                    cli_json_text(lm_model_label(s->common.model)), "rows", list, "passes", passes,
                                    "identical", (int)same, "tokens_per_step_repeats", repeats, "tokens_per_step_prose",
                                    prose, "update_microseconds", s->update_us, "holds",
                                    (int)(same && repeats >= 3 && prose >= 1.05 && s->update_us <= 20)),
                          JSON_INDENT(1));
}

static int report(const speculation *s) {
    bool same = true;
    for (size_t i = 0; i < s->n_work; i++)
        for (unsigned k = 1; k < METHODS; k++) same &= s->results[i][k].same || (k == DRAFT_MODEL && !s->draft_model);
    double repeats = steps_of(s, true), prose = steps_of(s, false);
    if (s->common.json) {
        if (report_json(s, same, repeats, prose) != CLI_OK) return CLI_FAIL;
        return same ? CLI_OK : CLI_FAIL;
    }
    printf("%s, %llu requests of a kind, answers of %llu tokens\n", lm_model_label(s->common.model),
           (unsigned long long)s->n_requests, (unsigned long long)s->n_tokens);
    printf("%-20s %-7s %7s %6s %9s %8s %9s %6s %5s\n", "workload", "drafts", "tokens", "steps", "per step", "accepted",
           "per cpu s", "ratio", "same");
    for (size_t i = 0; i < s->n_work; i++)
        for (unsigned k = 0; k < METHODS; k++) {
            const result *r = &s->results[i][k];
            if (k == DRAFT_MODEL && !s->draft_model) continue;
            printf("%-20s %-7s %7llu %6llu %9.2f %6.1f %% %9.1f %6.2f %5s\n", k ? "" : s->work[i].name, method_names[k],
                   (unsigned long long)r->sum.n_tokens, (unsigned long long)r->sum.n_steps, tokens_per_step(r),
                   100 * per((double)r->sum.n_accepted, (double)r->sum.n_drafted), speed(r),
                   per(speed(r), speed(&s->results[i][0])), r->same ? "yes" : "NO");
        }
    printf("a pass of");
    for (unsigned i = 1; i < PASS_SIZES; i++)
        printf("%s %u", i == 1 ? "" : i + 1 == PASS_SIZES ? " or" : ",", pass_sizes[i]);
    printf(" tokens costs");
    for (unsigned i = 1; i < PASS_SIZES; i++)
        printf("%s %.1f", i == 1 ? "" : i + 1 == PASS_SIZES ? " or" : ",", per(s->pass_ms[i], s->pass_ms[0]));
    printf(" times one of a single token (%.3f ms): drafts pay where tokens per step are more\n", s->pass_ms[0]);
    printf("S039: same tokens %s; %.2f tokens a step on repeats (3: %s), %.2f on sampled prose (1.05: %s); "
           "%.2f us a token for the trees (20: %s)\n",
           same ? "always" : "NOT always", repeats, repeats >= 3 ? "holds" : "does not hold", prose,
           prose >= 1.05 ? "holds" : "does not hold", s->update_us, s->update_us <= 20 ? "holds" : "does not hold");
    return same ? CLI_OK : CLI_FAIL;
}

static int work(speculation *s) {
    s->ctx = lm_session_of(&s->common);
    if (!s->ctx || lm_open_named(s->ctx, s->common.model, &s->m) != CLI_OK) return CLI_FAIL;
    if (s->draft && lm_open_named(s->ctx, lm_model_path(s->draft), &s->draft_model) != CLI_OK) return CLI_FAIL;
    if (!lm_tokenizer(s->m)) return lm_without_words(s->ctx, s->common.model);
    s->work = calloc(WORKLOADS_MOST, sizeof *s->work);
    if (!s->work) return cli_error("out of memory");
    if (make_work(s) != CLI_OK || run_all(s) != CLI_OK) return CLI_FAIL;
    return report(s);
}

int bench_speculate(int argc, char **argv) {
    speculation *s = calloc(1, sizeof *s);
    if (!s) return cli_error("out of memory");
    s->n_requests = 8, s->n_tokens = 64, s->draft_max = 16, s->seed = 1;
    const lm_option options[] = {{"requests", 0, LM_NUMBER, &s->n_requests, 1, REQUESTS_MOST},
                                 {"tokens", 'n', LM_NUMBER, &s->n_tokens, 2, 4096},
                                 {"draft", 0, LM_TEXT, &s->draft, 0, 0},
                                 {"draft-max", 0, LM_NUMBER, &s->draft_max, 1, 64},
                                 {"seed", 0, LM_NUMBER, &s->seed, 0, UINT32_MAX}};
    int done = lm_options_parse(&s->common, argc, argv, options, sizeof options / sizeof *options, WORKLOADS_MOST - 5);
    if (done == CLI_OK && s->common.help)
        done = cli_help(speculate_help);
    else if (done == CLI_OK) {
        cli_defer_signals(true);
        done = work(s);
        cli_defer_signals(false);
        for (size_t i = 0; s->work && i < s->n_work; i++)
            for (size_t k = 0; k < REQUESTS_MOST; k++) token_list_free(s->ctx, &s->work[i].prompts[k]);
        free(s->work);
        if (s->ctx) token_list_free(s->ctx, &s->answers);
        if (s->draft_model) lm_close(s->ctx, s->draft_model);
        if (s->m) lm_close(s->ctx, s->m);
        pith_ctx_free(s->ctx);
    }
    lm_options_free(&s->common);
    free(s);
    return cli_finish(done);
}
