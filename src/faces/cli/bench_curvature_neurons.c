/* pith bench heapr: hidden neurons of all experts of a mixture ranked in the space of the outputs, against whole
 * experts by frequency, weights, and activations (HEAPr, 2025); and on the dense model, what the score says of one
 * neuron against what its removal does. */
#include <math.h>
#include <stdio.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/model.h"
#include "faces/cli/bench_moe.h"

static const char heapr_help[] =
    "Usage: pith bench heapr [OPTIONS]\n\n"
    "Takes 20 and 40 % of the neurons of a mixture of experts away: whole experts by the tokens they get, neurons by\n"
    "their weights, by weights and activations (Wanda), and by the curvature of the loss at the experts' outputs. A dense\n"
    "model is first split into a mixture (pith model split --help). Then, on the dense model, the score of single neurons\n"
    "beside the divergence that their removal makes. As many of every expert is what makes a GGUF smaller (pith model\n"
    "prune --method=heapr); the others leave zeros.\n\n"
    "      --experts=N     of each block (default 8)\n"
    "      --used=N        a token is sent to (default 2)\n"
    "      --steps=N       of training of the mixture after splitting, on the calibrating text (default 0)\n"
    "      --singles=N     single neurons of the dense model that are tried (default 8; 0: none)\n"
    "      --text=FILE     the text (default tests/data/lcet10.txt)\n"
    "      --bytes=N       of it that split and calibrate (default 12288)\n"
    "      --judge=N       bytes at its end that are judged (default 12288)\n"
    "      --model=FILE    a dense llama model or a mixture (default: the built-in pith-mini)\n" EXP_HELP
    "\nExamples:\n"
    "  pith bench heapr\n"
    "  pith bench heapr --experts=16 --used=4 --bytes=200000\n";

typedef struct heapr_bench {
    const char *model, *text_path;
    uint64_t n_experts, n_used, steps, singles, bytes, judge;
    lm_model *dense, *m; /* dense: NULL when the model is a mixture as it is */
    pith_buffer text;
    moe_split mixture; /* m, when it is made here */
} heapr_bench;

enum { WINDOW = 256 };

/* A net with its text, its list of neurons and their curvature; the model that judges what is left of it. */
typedef struct subject {
    train_net *net;
    float *weights;
    uint32_t *tokens;
    size_t n_windows;
    heapr_list *list;
    curvature *c;
    double *scores;
    uint8_t *gone;
    model_ruler *ruler;
} subject;

static void close_subject(experiment *e, subject *s) {
    model_ruler_free(e->ctx, s->ruler);
    curvature_free(e->ctx, s->c);
    heapr_list_free(e->ctx, s->list);
    pith_free(e->ctx, s->scores);
    pith_free(e->ctx, s->gone);
    pith_free(e->ctx, s->tokens);
    pith_free(e->ctx, s->weights);
    train_net_free(s->net);
}

static size_t calibrating(const heapr_bench *b) { return PITH_MIN((size_t)b->bytes, b->text.size - (size_t)b->judge); }

/* ---- the mixture --------------------------------------------------------------------------------------- */

static pith_status split(experiment *e, heapr_bench *b) {
    token_list tokens = {0};
    const experts_options o = {.n_experts = (uint32_t)b->n_experts, .n_used = (uint32_t)b->n_used, .sharpness = 1};
    b->dense = b->m;
    exp_step(e, "splitting");
    pith_status status = ruler_tokens(e->ctx, b->dense, b->text.data, calibrating(b), &tokens);
    if (!status) status = moe_split_open(e->ctx, b->dense, &tokens, &o, &b->mixture);
    b->m = b->mixture.m;
    token_list_free(e->ctx, &tokens);
    return status;
}

/* Steps of AdamW over the calibrating windows, 4 at a time. */
static pith_status train(experiment *e, const heapr_bench *b, subject *s) {
    pith_status status = PITH_OK;
    size_t each = PITH_MIN(s->n_windows, (size_t)4);
    for (uint64_t t = 1; t <= b->steps && !status; t++) {
        char what[64];
        double nats;
        size_t first = (size_t)(t * each) % (s->n_windows - each + 1);
        const train_step_options o = {.rate = train_rate_at(t, PITH_MAX(b->steps / 10, (uint64_t)1), b->steps, 3e-4)};
        status = train_pass(e->ctx, s->net, s->tokens + first * WINDOW, each, WINDOW, NULL, true, &nats);
        if (!status) status = train_step(e->ctx, s->net, &o, NULL);
        snprintf(what, sizeof what, "training, step %llu: %.3f nats", (unsigned long long)t, nats);
        exp_step(e, what);
    }
    return status;
}

/* The base that is judged against is the net as it is now. `own`: over the calibrating text instead of the end. */
static pith_status open_subject(experiment *e, heapr_bench *b, const lm_model *m, bool own, subject *s) {
    const model_ruler_options o = {.n_threads = e->o.n_threads, .n_ctx = WINDOW};
    lm_model *base = NULL;
    size_t size = own ? PITH_MIN(calibrating(b), (size_t)b->judge) : (size_t)b->judge;
    pith_status status = train_net_open(e->ctx, m, &s->net);
    if (!status)
        status = train_windows(e->ctx, s->net, b->text.data, calibrating(b), WINDOW, &s->tokens, &s->n_windows);
    if (!status && s->n_windows == 0) status = pith_fail(e->ctx, PITH_E_ARGUMENT, "the text does not fill one window");
    if (!status && !own) status = train(e, b, s);
    if (!status) status = heapr_list_new(e->ctx, s->net, &s->list);
    if (status) return status;
    s->weights = pith_alloc(e->ctx, train_n_weights(s->net) * sizeof *s->weights);
    s->scores = pith_alloc(e->ctx, s->list->n * sizeof *s->scores);
    s->gone = pith_alloc(e->ctx, s->list->n);
    if (!s->weights || !s->scores || !s->gone) return pith_alloc_status(e->ctx);
    train_net_save(s->net, s->weights);
    exp_step(e, "curvature");
    status = heapr_curvature(e->ctx, s->net, s->tokens, s->n_windows, WINDOW, &s->c);
    exp_step(e, "measuring the model");
    if (!status) status = train_net_model(e->ctx, s->net, TENSOR_F32, &base);
    if (!status)
        status = model_ruler_new(e->ctx, base, b->text.data + (own ? 0 : b->text.size - size), size, &o, &s->ruler);
    if (!status && !model_ruler_forget_base(s->ruler))
        status = pith_fail(e->ctx, PITH_E_LIMIT, "the model's logits do not fit into memory: --judge");
    if (base) train_model_close(e->ctx, base);
    return status;
}

static pith_status judge(experiment *e, subject *s, model_score *score) {
    lm_model *left = NULL;
    heapr_remove(s->net, s->list, s->gone);
    pith_status status = train_net_model(e->ctx, s->net, TENSOR_F32, &left);
    if (!status) status = model_ruler_measure(e->ctx, s->ruler, left, score);
    if (left) train_model_close(e->ctx, left);
    train_net_restore(s->net, s->weights);
    return status;
}

/* ---- neurons of a mixture ------------------------------------------------------------------------------ */

static size_t empty_experts(const heapr_list *l, const uint8_t *gone) {
    size_t n = 0;
    for (size_t i = 0; i < l->n_groups; i++) {
        size_t left = 0;
        for (size_t k = 0; k < l->at[i].n; k++) left += !gone[l->at[i].first + k];
        n += left == 0;
    }
    return n;
}

enum { EACH = N_HEAPR_RULES, N_ROWS }; /* by HEAPR_SUMS, as many of every expert */

static int by_rule(experiment *e, subject *s, double share, double *kl) {
    static const char *const labels[N_ROWS] = {"HEAPr, sums over all tokens", "HEAPr, means of each expert",
                                               "Wanda",  "magnitude", "whole experts by frequency",
                                               "HEAPr, as many of every expert"};
    size_t n_groups = (size_t)(share * (double)s->list->n_groups + 0.5);
    size_t n_gone = (size_t)((double)s->list->n * (double)n_groups / (double)s->list->n_groups + 0.5);
    char label[64];
    for (int rule = 0; rule < N_ROWS; rule++) {
        model_score score;
        snprintf(label, sizeof label, "%.0f %%, %s", 100 * share, labels[rule]);
        exp_step(e, label);
        size_t each = n_gone / s->list->n_groups, n = rule == EACH ? each * s->list->n_groups : n_gone;
        heapr_rule by = rule == EACH ? HEAPR_SUMS : (heapr_rule)rule;
        pith_status status = heapr_scores(e->ctx, s->net, s->list, s->c, by, s->scores);
        if (!status)
            status = rule == EACH ? heapr_choose_each(e->ctx, s->list, s->scores, each, s->gone)
                                  : heapr_choose(e->ctx, s->list, s->scores, n_gone, s->gone);
        if (!status) status = judge(e, s, &score);
        if (status) return exp_failed(e);
        kl[rule] = score.c.kl.mean;
        EXP_ROW(e, label, 100 * (double)n / (double)s->list->n, (double)empty_experts(s->list, s->gone),
                score.c.kl.mean, score.c.ratio, 100 * score.c.same_top);
    }
    return CLI_OK;
}

static int mixture(experiment *e, heapr_bench *b) {
    static const double shares[] = {0.2, 0.4};
    subject s = {0};
    double kl[PITH_COUNT(shares)][N_ROWS];
    int result = open_subject(e, b, b->m, false, &s) ? exp_failed(e) : CLI_OK;
    if (result == CLI_OK) {
        exp_note(e, "perplexity of the mixture %.3f", model_ruler_perplexity(s.ruler));
        exp_table(e, "Neurons of the experts gone", "share, chosen by|% gone.2|empty.0|KL.4|PPL ratio.3|same top %.2");
    }
    for (size_t i = 0; i < PITH_COUNT(shares) && result == CLI_OK; i++) result = by_rule(e, &s, shares[i], kl[i]);
    for (size_t i = 0; i < PITH_COUNT(shares) && result == CLI_OK; i++) {
        const double *k = kl[i];
        exp_claim(e,
                  k[HEAPR_MEANS] < k[HEAPR_WANDA] && k[HEAPR_MEANS] < k[HEAPR_MAGNITUDE] &&
                      k[HEAPR_MEANS] < k[HEAPR_FREQUENCY],
                  "at %.0f %% HEAPr as published is nearest: KL %.4f; Wanda %.4f, magnitude %.4f, whole experts %.4f",
                  100 * shares[i], k[HEAPR_MEANS], k[HEAPR_WANDA], k[HEAPR_MAGNITUDE], k[HEAPR_FREQUENCY]);
        exp_claim(e, k[HEAPR_SUMS] < k[HEAPR_MEANS], "at %.0f %% weighing by the tokens that come helps: KL %.4f",
                  100 * shares[i], k[HEAPR_SUMS]);
        exp_claim(e, k[EACH] < k[HEAPR_FREQUENCY],
                  "at %.0f %% as many of every expert, so that tensors shrink, is nearer than whole experts: KL %.4f, zeros "
                  "anywhere %.4f", 100 * shares[i], k[EACH], k[HEAPR_SUMS]);
    }
    close_subject(e, &s);
    return result;
}

/* ---- one neuron of the dense model ---------------------------------------------------------------------- */

/* Spread over all layers and over the order of scores. */
static int singles(experiment *e, heapr_bench *b) {
    subject s = {0};
    size_t n = (size_t)b->singles;
    double *said = pith_alloc(e->ctx, n * sizeof *said), *done = pith_alloc(e->ctx, n * sizeof *done), rho = 0;
    double sum_said = 0, sum_done = 0, dot = 0, squares_said = 0, squares_done = 0;
    if (!said || !done) return exp_failed(e);
    pith_status status = open_subject(e, b, b->dense ? b->dense : b->m, true, &s);
    const curvature_options drawn = {.grams = CURVATURE_OUTPUTS, .sample = true, .seed = 1};
    curvature *fisher = NULL;
    if (!status) status = curvature_new(e->ctx, s.net, s.tokens, s.n_windows, WINDOW, &drawn, &fisher);
    if (!status) status = heapr_scores(e->ctx, s.net, s.list, fisher, HEAPR_SUMS, s.scores);
    for (size_t i = 0; i < n && !status; i++) {
        model_score score;
        size_t at = (size_t)(((double)i + 0.5) / (double)n * (double)s.list->n);
        memset(s.gone, 0, s.list->n);
        s.gone[at] = 1;
        exp_step(e, "single neurons");
        status = judge(e, &s, &score);
        if (status) break;
        said[i] = s.scores[at];
        done[i] = score.c.kl.mean;
        sum_said += said[i], sum_done += done[i];
        dot += said[i] * done[i];
        squares_said += said[i] * said[i], squares_done += done[i] * done[i];
    }
    if (!status) status = ruler_spearman(e->ctx, said, done, n, &rho);
    if (!status) {
        exp_table(e, "Single neurons of the dense model: the score by drawn tokens, and the divergence without them",
                  "neurons|score 1e-6.3|KL 1e-6.3|score/KL.3|cosine.3|Spearman.3");
        char label[64];
        snprintf(label, sizeof label, "%zu over all layers, means", n);
        EXP_ROW(e, label, 1e6 * sum_said / (double)n, 1e6 * sum_done / (double)n, sum_said / sum_done,
                dot / sqrt(squares_said * squares_done), rho);
        exp_claim(e, rho > 0.8, "the score of a neuron orders what its removal does: rank correlation %.3f", rho);
    }
    curvature_free(e->ctx, fisher);
    close_subject(e, &s);
    pith_free(e->ctx, said);
    pith_free(e->ctx, done);
    return status ? exp_failed(e) : CLI_OK;
}

static int heapr_run(experiment *e, void *own) {
    heapr_bench *b = own;
    artefacts_register();
    int result = lm_open_named(e->ctx, lm_model_path(b->model ? b->model : "default"), &b->m);
    if (result == CLI_OK) result = exp_read(e, b->text_path, "tests/data/lcet10.txt", 0, &b->text);
    if (result == CLI_OK && b->text.size < 2 * b->judge)
        result = cli_error("%s: the text has %zu bytes; it takes twice --judge", e->name, b->text.size);
    bool dense = result == CLI_OK && !lm_about(b->m)->n_experts;
    if (dense && split(e, b)) result = exp_failed(e);
    if (result == CLI_OK) result = mixture(e, b);
    if (result == CLI_OK && dense && b->singles > 1) result = singles(e, b);
    lm_close(e->ctx, b->dense ? b->dense : b->m);
    moe_split_close(e->ctx, &b->mixture);
    pith_buffer_free(e->ctx, &b->text);
    return result;
}

int bench_heapr(int argc, char **argv) {
    heapr_bench b = {.n_experts = 8, .n_used = 2, .singles = 8, .bytes = 12288, .judge = 12288};
    const lm_option extra[] = {
        {"experts", 0, LM_NUMBER, &b.n_experts, 2, 512},  {"used", 0, LM_NUMBER, &b.n_used, 1, 512},
        {"steps", 0, LM_NUMBER, &b.steps, 0, 1u << 20},   {"singles", 0, LM_NUMBER, &b.singles, 0, 1u << 16},
        {"text", 0, LM_TEXT, &b.text_path, 0, 0},         {"bytes", 0, LM_NUMBER, &b.bytes, 4096, 1 << 28},
        {"judge", 0, LM_NUMBER, &b.judge, 2048, 1 << 26}, {"model", 0, LM_TEXT, &b.model, 0, 0}};
    return exp_main(argc, argv, heapr_help, extra, PITH_COUNT(extra), 0, heapr_run, &b);
}
