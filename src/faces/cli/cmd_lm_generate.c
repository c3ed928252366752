/* pith lm generate: a model continues a prompt. Names of options and their defaults are those of
 * llama.cpp's completion where it has them. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "faces/cli/cmd_lm.h"
#include "lm/generate/generate.h"

static const char generate_help[] =
    "Usage: pith lm generate [OPTIONS] [PROMPT]\n"
    "\n"
    "Continues PROMPT, the text of a file (-f) or of standard input, and prints as it goes.\n"
    "\n"
    "  -f FILE, --file=FILE       the prompt, without one line feed at its end\n"
    "  -n#, --n-predict=#         tokens (default: until an end token or the context is full)\n"
    "      --stop=TEXT            end before TEXT; may be given several times\n"
    "      --ignore-eos           never choose an end token\n"
    "      --raw                  no start token in front\n"
    "      --no-display-prompt    print the answer alone\n"
    "\n"
    "Choice, in this order:\n"
    "      --logit-bias=ID+B      add B to the logit of a token, ID-B takes away; several times\n"
    "      --repeat-penalty=X     1 is none (default 1); also --frequency-penalty=X and\n"
    "      --presence-penalty=X   (default 0), over the last\n"
    "      --repeat-last-n=N      tokens (default 64)\n"
    "      --top-k=N              the N most probable (default 40; 0: all)\n"
    "      --typical=P            locally typical mass (default 1: off)\n"
    "      --top-p=P              the most probable up to mass P (default 0.95; 1: off)\n"
    "      --min-p=P              those at least P times as probable as the best (default 0.05)\n"
    "      --temp=T               temperature (default 0.8; 0 is greedy)\n"
    "      --greedy               always the most probable token\n"
    "  -s#, --seed=#              same seed, same text (default: a random one, told by --stats)\n"
    "\n"
    "Drafts change the speed, never the text:\n"
    "      --speculate=HOW        none (default), suffix: what followed the same tokens before,\n"
    "                             draft: a smaller model\n"
    "      --draft=MODEL          the smaller model, of the same vocabulary\n"
    "      --draft-max=N          tokens drafted at once (default 16, at most 64)\n"
    "      --draft-p-min=P        end a draft below this probability (suffix 0.1, model 0.5)\n"
    "\n"
    "      --stats                tokens per second, tokens per step, seed on standard error\n"
    "\n" LM_CACHE_HELP LM_COMMON_HELP "\nExamples:\n"
    "  pith lm generate \"Once upon a time\" -n 64\n"
    "  pith lm generate --model=model.gguf --greedy --stop=END -f question.txt --stats\n";

enum { STOPS_MOST = 64, BIASES_MOST = 1024 };

typedef struct task {
    lm_options common;
    lm_cache_choice cache;
    const char *file, *draft, *speculate;
    bool ignore_eos, raw, no_prompt, greedy, stats;
    uint64_t n_predict, top_k, repeat_last, seed, draft_max;
    double temp, top_p, min_p, typical, repeat, frequency, presence, draft_p_min;
    byte_string stops[STOPS_MOST];
    logit_bias biases[BIASES_MOST];
    size_t n_stops, n_biases;
    /* at work */
    pith_ctx *ctx;
    pith_buffer prompt, text; /* text with --json */
    token_list ids, answer;
    bool line_open;
    double started[2], first[2], ended[2]; /* seconds: processor, wall */
} task;

/* ---- the command line ---- */

static int add_bias(task *t, const char *text) {
    char *end, *number_end;
    unsigned long id = strtoul(text, &end, 10);
    double bias = end > text && (*end == '+' || *end == '-') ? strtod(end, &number_end) : 0;
    if (end == text || (*end != '+' && *end != '-') || number_end == end || *number_end || id > UINT32_MAX)
        return cli_error("generate: --logit-bias: a token's id, a sign and a number, not '%s'", text);
    if (t->n_biases == BIASES_MOST) return cli_error("generate: more than %d biases", BIASES_MOST);
    t->biases[t->n_biases++] = (logit_bias){(uint32_t)id, (float)bias};
    return CLI_OK;
}

static int add_stop(task *t, const char *text) {
    if (!*text) return cli_error("generate: --stop wants a text");
    if (t->n_stops == STOPS_MOST) return cli_error("generate: more than %d stop strings", STOPS_MOST);
    t->stops[t->n_stops++] = (byte_string){text, strlen(text)};
    return CLI_OK;
}

/* Takes what may be given several times out of the arguments; `rest` gets the others. */
static int take_lists(task *t, char **argv, char **rest, int *n_rest) {
    static const struct {
        const char *name;
        int (*add)(task *, const char *);
    } lists[] = {{"--stop", add_stop}, {"--logit-bias", add_bias}};
    bool only_names = false;
    *n_rest = 0;
    for (int i = 0; argv[i]; i++) {
        only_names |= strcmp(argv[i], "--") == 0;
        bool taken = false;
        for (unsigned k = 0; k < sizeof lists / sizeof *lists && !only_names && !taken; k++) {
            size_t n = strlen(lists[k].name);
            if (strncmp(argv[i], lists[k].name, n) != 0 || (argv[i][n] && argv[i][n] != '=')) continue;
            const char *value = argv[i][n] ? argv[i] + n + 1 : argv[++i];
            if (!value) return cli_error("generate: %s wants a value", lists[k].name);
            if (lists[k].add(t, value) != CLI_OK) return CLI_FAIL;
            taken = true;
        }
        if (!taken) rest[(*n_rest)++] = argv[i];
    }
    rest[*n_rest] = NULL;
    return CLI_OK;
}

static int parse(task *t, int argc, char **argv) {
    const sampling d = sampling_defaults();
    t->temp = (double)d.temperature, t->top_p = 0.95, t->min_p = 0.05, t->typical = t->repeat = 1;
    t->temp = 0.8;
    t->top_k = d.top_k, t->repeat_last = d.penalty_window, t->seed = UINT64_MAX;
    const lm_option options[] = {{"file", 'f', LM_TEXT, &t->file, 0, 0},
                                 {"n-predict", 'n', LM_NUMBER, &t->n_predict, 1, UINT32_MAX},
                                 {"ignore-eos", 0, LM_FLAG, &t->ignore_eos, 0, 0},
                                 {"raw", 0, LM_FLAG, &t->raw, 0, 0},
                                 {"no-display-prompt", 0, LM_FLAG, &t->no_prompt, 0, 0},
                                 {"repeat-penalty", 0, LM_REAL, &t->repeat, 0, 0},
                                 {"frequency-penalty", 0, LM_REAL, &t->frequency, 0, 0},
                                 {"presence-penalty", 0, LM_REAL, &t->presence, 0, 0},
                                 {"repeat-last-n", 0, LM_NUMBER, &t->repeat_last, 0, UINT32_MAX},
                                 {"top-k", 0, LM_NUMBER, &t->top_k, 0, UINT32_MAX},
                                 {"typical", 0, LM_REAL, &t->typical, 0, 0},
                                 {"top-p", 0, LM_REAL, &t->top_p, 0, 0},
                                 {"min-p", 0, LM_REAL, &t->min_p, 0, 0},
                                 {"temp", 0, LM_REAL, &t->temp, 0, 0},
                                 {"greedy", 0, LM_FLAG, &t->greedy, 0, 0},
                                 {"seed", 's', LM_NUMBER, &t->seed, 0, (uint64_t)1 << 53},
                                 {"speculate", 0, LM_TEXT, &t->speculate, 0, 0},
                                 {"draft", 0, LM_TEXT, &t->draft, 0, 0},
                                 {"draft-max", 0, LM_NUMBER, &t->draft_max, 1, 64},
                                 {"draft-p-min", 0, LM_REAL, &t->draft_p_min, 0, 0},
                                 {"stats", 0, LM_FLAG, &t->stats, 0, 0},
                                 LM_CACHE_OPTIONS(t->cache)};
    char **rest = calloc((size_t)argc + 1, sizeof *rest);
    if (!rest) return cli_error("out of memory");
    int n_rest, result = take_lists(t, argv, rest, &n_rest);
    if (result == CLI_OK)
        result = lm_options_parse(&t->common, n_rest, rest, options, sizeof options / sizeof *options, 1);
    free(rest);
    if (result != CLI_OK || t->common.help) return result;
    if (t->common.n_names && t->file) return cli_error("generate: a prompt and a file with one: which?");
    if (!t->speculate) t->speculate = t->draft ? "draft" : "none";
    if (strcmp(t->speculate, "none") != 0 && strcmp(t->speculate, "suffix") != 0 && strcmp(t->speculate, "draft") != 0)
        return cli_error("generate: --speculate: none, suffix or draft, not '%s'", t->speculate);
    if (strcmp(t->speculate, "draft") == 0 && !t->draft) return cli_error("generate: which draft model? --draft=MODEL");
    return CLI_OK;
}

/* ---- text and time ---- */

static void note_time(double at[2]) {
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    at[0] = (double)cpu.tv_sec + 1e-9 * (double)cpu.tv_nsec;
    at[1] = cli_now();
}

static bool show_text(void *opaque, const char *text, size_t size) {
    task *t = opaque;
    if (t->common.json) return pith_buffer_append(t->ctx, &t->text, text, size) == PITH_OK;
    t->line_open = text[size - 1] != '\n';
    if (fwrite(text, 1, size, stdout) == size && fflush(stdout) == 0) return true;
    if (errno == EPIPE) cli_pipe_closed();
    return false;
}

static bool note_token(void *opaque, uint32_t id) {
    task *t = opaque;
    (void)id;
    if (t->first[1] == 0) note_time(t->first);
    return cli_stop_signal() == 0;
}

static int stop_when_asked(void *opaque, uint64_t done, uint64_t total) {
    (void)opaque, (void)done, (void)total;
    return cli_stop_signal() != 0;
}

static int read_prompt(task *t, const lm_model *m) {
    const tokenizer *words = lm_tokenizer(m);
    if (!words) return lm_without_words(t->ctx, t->common.model);
    if (t->common.n_names) {
        const char *text = t->common.names[0];
        if (pith_buffer_append(t->ctx, &t->prompt, text, strlen(text)) != PITH_OK) return lm_failed(t->ctx, NULL);
    } else {
        if (!t->file && isatty(STDIN_FILENO)) return cli_error("generate: which prompt? Give one, or -f FILE");
        if (lm_read_text(t->ctx, t->file ? t->file : "-", &t->prompt) != CLI_OK) return CLI_FAIL;
        if (t->prompt.size && t->prompt.data[t->prompt.size - 1] == '\n') t->prompt.size--;
    }
    const tokenizer_info *about = tokenizer_about(words);
    unsigned flags = TOKENIZE_SPECIAL | TOKENIZE_MARKS;
    if (about->bos != TOKEN_NONE && !t->raw && about->add_bos) flags |= TOKENIZE_BOS;
    if (tokenizer_encode(t->ctx, words, t->prompt.data, t->prompt.size, flags, &t->ids) != PITH_OK)
        return lm_failed(t->ctx, NULL);
    if (t->ids.n == 0) return cli_error("generate: an empty prompt, and the model has no start token");
    return CLI_OK;
}

/* ---- what came of it ---- */

static double rate(double n, double seconds) { return seconds > 0 ? n / seconds : 0; }

static void print_stats(const task *t, const generate_stats *s) {
    double steps = (double)PITH_MAX(s->n_steps, 1u), later = s->n_tokens ? (double)s->n_tokens - 1 : 0;
    fprintf(stderr, "prompt    %6llu tokens, %.1f a second (%.1f a processor second)\n",
            (unsigned long long)s->n_prompt, rate((double)s->n_prompt, t->first[1] - t->started[1]),
            rate((double)s->n_prompt, t->first[0] - t->started[0]));
    fprintf(stderr, "answer    %6llu tokens, %.1f a second (%.1f a processor second), ended by %s\n",
            (unsigned long long)s->n_tokens, rate(later, t->ended[1] - t->first[1]),
            rate(later, t->ended[0] - t->first[0]), generate_end_name(s->end));
    fprintf(stderr, "steps     %6llu, %.2f tokens each; %llu drafted, %llu accepted\n", (unsigned long long)s->n_steps,
            later / steps, (unsigned long long)s->n_drafted, (unsigned long long)s->n_accepted);
    if (!t->greedy && t->temp > 0) fprintf(stderr, "seed      %6llu\n", (unsigned long long)t->seed);
}

/* The buffer as JSON text; bytes that are no UTF-8 as '?'. */
static json_t *json_of(task *t, pith_buffer *b) {
    if (pith_buffer_append(t->ctx, b, "", 1) != PITH_OK) return NULL;
    json_t *text = json_stringn((const char *)b->data, b->size - 1);
    return text ? text : cli_json_text((const char *)b->data);
}

static int print_json(task *t, const generate_stats *s) {
    json_t *ids = json_array();
    for (size_t i = 0; i < t->answer.n; i++) json_array_append_new(ids, json_integer(t->answer.id[i]));
    json_t *all =
        json_pack("{s:o,s:o,s:o,s:o,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:f}", "model",
                  cli_json_text(lm_model_label(t->common.model)), "prompt", json_of(t, &t->prompt), "text",
                  json_of(t, &t->text), "ids", ids, "end", generate_end_name(s->end), "seed", (json_int_t)t->seed,
                  "prompt_tokens", (json_int_t)s->n_prompt, "tokens", (json_int_t)s->n_tokens, "steps",
                  (json_int_t)s->n_steps, "drafted", (json_int_t)s->n_drafted, "accepted", (json_int_t)s->n_accepted,
                  "prompt_seconds", t->first[1] - t->started[1], "prompt_cpu_seconds", t->first[0] - t->started[0],
                  "answer_seconds", t->ended[1] - t->first[1], "answer_cpu_seconds", t->ended[0] - t->first[0]);
    if (all && s->end == GENERATE_STRING) json_object_set_new(all, "stop", cli_json_text(t->stops[s->stop].data));
    return cli_json_print(stdout, all, JSON_INDENT(1));
}

static int work(task *t, const lm_model *m, const lm_model *draft) {
    generate_options o = {.how = {.repeat_penalty = (float)t->repeat,
                                  .frequency_penalty = (float)t->frequency,
                                  .presence_penalty = (float)t->presence,
                                  .penalty_window = (uint32_t)t->repeat_last,
                                  .top_k = (uint32_t)t->top_k,
                                  .typical = (float)t->typical,
                                  .top_p = (float)t->top_p,
                                  .min_p = (float)t->min_p,
                                  .temperature = t->greedy ? 0 : (float)t->temp,
                                  .seed = t->seed,
                                  .biases = t->biases,
                                  .n_biases = t->n_biases},
                          .max_tokens = (uint32_t)t->n_predict,
                          .n_ctx = t->common.n_ctx,
                          .n_threads = t->common.n_threads,
                          .cache = lm_cache_of(m),
                          .stops = t->stops,
                          .n_stops = t->n_stops,
                          .ignore_end = t->ignore_eos,
                          .draft = draft                                 ? DRAFT_MODEL
                                   : strcmp(t->speculate, "suffix") == 0 ? DRAFT_SUFFIX
                                                                         : DRAFT_NONE,
                          .draft_model = draft,
                          .max_draft = (uint32_t)t->draft_max,
                          .draft_min_p = (float)t->draft_p_min,
                          .past_tokens = 128, /* one text, no past */
                          .on_text = show_text,
                          .on_token = note_token,
                          .opaque = t};
    /* No more room than prompt and answer can need. */
    uint64_t most = (uint64_t)t->ids.n + t->n_predict;
    if (!o.n_ctx) o.n_ctx = lm_about(m)->n_ctx_train;
    if (t->n_predict && most < o.n_ctx) o.n_ctx = (uint32_t)PITH_MAX(most, 2u);
    generator *g;
    if (generator_new(t->ctx, m, &o, &g) != PITH_OK) return lm_failed(t->ctx, NULL);
    /* Only now: neither the options nor the room for the prompt can be refused any more. */
    if (!t->common.json && !t->no_prompt && t->prompt.size && (!o.n_ctx || t->ids.n < o.n_ctx))
        show_text(t, (const char *)t->prompt.data, t->prompt.size);
    generate_stats stats;
    note_time(t->started);
    pith_status status = generator_run(g, t->ids.id, t->ids.n, &t->answer, &stats);
    note_time(t->ended);
    if (t->first[1] == 0) memcpy(t->first, t->ended, sizeof t->first);
    generator_free(g);
    if (t->line_open && !t->common.json) putchar('\n');
    if (status && status != PITH_E_CANCELLED) return lm_failed(t->ctx, NULL);
    int result = t->common.json ? print_json(t, &stats) : CLI_OK;
    fflush(stdout);
    if (t->stats) print_stats(t, &stats);
    return stats.end == GENERATE_CANCELLED ? CLI_FAIL : result;
}

int lm_generate_main(int argc, char **argv) {
    task *t = calloc(1, sizeof *t);
    if (!t) return cli_error("out of memory");
    int result = parse(t, argc, argv);
    if (result == CLI_OK && t->common.help) {
        result = cli_help(generate_help);
    } else if (result == CLI_OK) {
        uint32_t random = 0;
        if (t->seed == UINT64_MAX) {
            if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random) random = (uint32_t)time(NULL);
            t->seed = random;
        }
        lm_model *m = NULL, *draft = NULL;
        t->ctx = lm_session_of(&t->common);
        result = t->ctx ? lm_open_named(t->ctx, t->common.model, &m) : CLI_FAIL;
        if (result == CLI_OK) result = lm_cache_choose(&t->cache, "generate", t->ctx, m);
        if (result == CLI_OK && t->draft && strcmp(t->speculate, "draft") == 0)
            result = lm_open_named(t->ctx, lm_model_path(t->draft), &draft);
        cli_defer_signals(true);
        if (result == CLI_OK) pith_ctx_set_progress(t->ctx, stop_when_asked, NULL);
        if (result == CLI_OK) result = read_prompt(t, m);
        if (result == CLI_OK) result = work(t, m, draft);
        cli_defer_signals(false);
        if (t->ctx) {
            pith_buffer_free(t->ctx, &t->prompt);
            pith_buffer_free(t->ctx, &t->text);
            token_list_free(t->ctx, &t->ids);
            token_list_free(t->ctx, &t->answer);
            if (draft) lm_close(t->ctx, draft);
            if (m) lm_close(t->ctx, m);
        }
        pith_ctx_free(t->ctx);
    }
    lm_options_free(&t->common);
    free(t);
    return result;
}
