/* pith bench cuts: whole units taken out of a model (neurons, heads, layers, channels, ranks), by the method and by the
 * axis, at equal numbers of parameters: divergence, perplexity, and the speed of what is left. */
#include "base/sink.h"
#include "faces/cli/bench_cuts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char cuts_help[] =
    "Usage: pith bench cuts [OPTIONS]\n\n"
    "Takes neurons, heads, layers and channels out of a model by several methods, at equal numbers of parameters, and\n"
    "says how far what is left is from the model (KL, perplexity) and how fast it is (one thread, processor time).\n"
    "Statistics come from the beginning of a text, the judgement from its end.\n\n"
    "      --text=FILE     the text (default tests/data/lcet10.txt)\n"
    "      --bytes=N       of it that calibrate (default 49152)\n"
    "      --judge=N       bytes at its end that are judged (default 12288)\n"
    "      --seed=N        of random choices (default 1)\n"
    "      --model=FILE    the language model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench cuts\n"
    "  pith bench cuts --model=model.gguf --text=news.txt\n";

double cuts_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static double attention_parameters(const cut_shape *s) {
    return 2.0 * s->n_layers * s->n_embd * s->head_dim * (s->n_heads + s->n_kv_heads);
}
double cuts_ff_parameters(const cut_shape *s) { return 3.0 * s->n_layers * s->n_embd * s->n_ff; }
double cuts_layer_parameters(const cut_shape *s) { return attention_parameters(s) + cuts_ff_parameters(s); }

void cuts_row(experiment *e, const cuts *c, const char *label, const cuts_result *r) {
    EXP_ROW(e, label, 100 * r->parameters / (double)lm_about(c->m)->n_parameters, r->kl, r->ratio, r->speed);
}

static int measure(experiment *e, cuts *c, const lm_model *m, bool timed, cuts_result *out) {
    model_score score;
    double before = 0, after = 0;
    pith_status status = model_ruler_measure(e->ctx, c->ruler, m, &score);
    out->kl = score.c.kl.mean;
    out->ratio = score.c.ratio;
    out->speed = NAN;
    if (!status && timed) status = prune_speed_of(e->ctx, c->m, m, &before, &after);
    if (!status && timed) out->speed = before / after;
    return status ? exp_failed(e) : CLI_OK;
}

int cuts_judge(experiment *e, cuts *c, const cut_plan *plan, double pairs, bool timed, cuts_result *out) {
    pith_buffer bytes = {0};
    pith_sink to = {e->ctx, &bytes};
    tensor_file *file = NULL;
    lm_model *m = NULL;
    model_cut *cut = NULL;
    model_overlay *overlay = NULL;
    pith_status status = model_cut_new(e->ctx, lm_file(c->m), plan, &cut);
    if (!status) status = pith_buffer_reserve(e->ctx, &bytes, model_cut_size(cut).tensor_bytes);
    if (!status) status = model_cut_write(e->ctx, cut, pith_sink_write, &to);
    if (!status) status = tensor_file_open_memory(e->ctx, bytes.data, bytes.size, &file);
    if (!status && pairs > 0) {
        status = model_overlay_new(e->ctx, file, NULL, false, &overlay);
        if (!status) status = cuts_thin(e, c, file, overlay, pairs);
        if (!status) status = model_overlay_open(e->ctx, overlay, &m);
    } else if (!status) {
        status = lm_open_file(e->ctx, file, &m);
    }
    int result = status ? exp_failed(e) : measure(e, c, m, timed, out);
    if (cut) out->parameters = (double)model_cut_size(cut).n_parameters;
    if (pairs > 0) out->parameters -= (1 - pairs) * attention_parameters(&c->shape);
    lm_close(e->ctx, m);
    model_overlay_free(e->ctx, overlay);
    if (file) tensor_file_close(e->ctx, file);
    model_cut_free(e->ctx, cut);
    pith_buffer_free(e->ctx, &bytes);
    return result;
}

int cuts_prune(experiment *e, cuts *c, const prune_request *request, double pairs, bool timed, cuts_result *out) {
    prune_plan *plan = NULL;
    exp_step(e, prune_method_names[request->method]);
    if (prune_plan_new(e->ctx, lm_file(c->m), request, c->stats, &plan) != PITH_OK) return exp_failed(e);
    int result = cuts_judge(e, c, prune_cut(plan), pairs, timed, out);
    prune_plan_free(e->ctx, plan);
    return result;
}

int cuts_recipe(experiment *e, cuts *c, const char *text, cuts_result *out) {
    pith_recipe *recipe = NULL;
    lm_model *m = NULL;
    model_trial trial;
    exp_step(e, text);
    pith_status status = PITH_OK;
    if (!c->overlay) status = model_overlay_new(e->ctx, lm_file(c->m), NULL, false, &c->overlay);
    if (!status) status = pith_recipe_parse(e->ctx, "model", text, strlen(text), &recipe);
    if (!status) status = model_try_recipe(e->ctx, lm_file(c->m), recipe, c->gathered, c->overlay, &trial);
    if (!status) status = model_overlay_open(e->ctx, c->overlay, &m);
    int result = status ? exp_failed(e) : measure(e, c, m, false, out);
    if (!status) out->bits = 8 * (double)trial.bytes / (double)trial.weights;
    lm_close(e->ctx, m);
    pith_recipe_free(e->ctx, recipe);
    return result;
}

/* ---- getting ready -------------------------------------------------------------------------------------- */

/* Through a file that is gone at once. */
static int gather(experiment *e, cuts *c) {
    const char *folder = getenv("TMPDIR");
    char path[4096], part[4104];
    const model_stats_text text = {
        .name = "text", .data = c->text.data, .size = PITH_MIN((size_t)c->bytes, c->text.size - (size_t)c->judge)};
    const model_stats_options o = {.n_threads = e->o.n_threads, .no_output = true, .restart = true};
    model_stats_result r;
    if (snprintf(path, sizeof path, "%s/pith-cuts-%ld", folder && *folder ? folder : "/tmp", (long)getpid()) >=
        (int)sizeof path)
        return cli_error("%s: TMPDIR is too long", e->name);
    exp_step(e, "calibrating");
    pith_status status = model_stats_gather(e->ctx, c->m, &text, 1, &o, path, &r);
    if (!status) status = model_stats_open(e->ctx, path, &c->gathered);
    unlink(path);
    snprintf(part, sizeof part, "%s.part", path);
    unlink(part);
    token_list tokens = {0};
    if (!status) status = ruler_tokens(e->ctx, c->m, text.data, text.size, &tokens);
    if (!status) status = prune_stats_new(e->ctx, c->m, tokens.id, tokens.n, 0, 3, &c->stats);
    token_list_free(e->ctx, &tokens);
    return status ? exp_failed(e) : CLI_OK;
}

int cuts_open(experiment *e, cuts *c) {
    int result = lm_open_named(e->ctx, lm_model_path(c->model ? c->model : "default"), &c->m);
    if (result == CLI_OK && !c->text.size) result = exp_read(e, c->text_path, "tests/data/lcet10.txt", 0, &c->text);
    if (result == CLI_OK && c->text.size < 2 * c->judge)
        result = cli_error("%s: the text has %zu bytes; it takes twice --judge", e->name, c->text.size);
    if (result == CLI_OK && cut_shape_of(e->ctx, lm_file(c->m), &c->shape) != PITH_OK) result = exp_failed(e);
    if (result == CLI_OK) result = gather(e, c);
    const model_ruler_options o = {.n_threads = e->o.n_threads, .n_ctx = 256};
    if (result == CLI_OK && model_ruler_new(e->ctx, c->m, c->text.data + c->text.size - c->judge, (size_t)c->judge, &o,
                                            &c->ruler) != PITH_OK)
        result = exp_failed(e);
    if (result == CLI_OK && model_ruler_new(e->ctx, c->m, c->text.data, (size_t)c->judge, &o, &c->own_ruler) != PITH_OK)
        result = exp_failed(e);
    return result;
}

void cuts_close(experiment *e, cuts *c) {
    model_overlay_free(e->ctx, c->overlay);
    prune_stats_free(e->ctx, c->stats);
    model_stats_close(e->ctx, c->gathered);
    model_ruler_free(e->ctx, c->ruler);
    model_ruler_free(e->ctx, c->own_ruler);
    pith_buffer_free(e->ctx, &c->text);
    lm_close(e->ctx, c->m);
}

/* ---- by method ------------------------------------------------------------------------------------------- */

/* One shape, all methods; kl[N_PRUNE_METHODS]. */
static int by_method(experiment *e, cuts *c, const char *what, cut_shape keep, double *kl) {
    char label[80];
    int result = CLI_OK;
    for (int m = 0; m < N_PRUNE_METHODS && result == CLI_OK; m++) {
        cuts_result r = {0};
        prune_request request = {.method = (prune_method)m, .keep = keep, .seed = c->seed};
        result = cuts_prune(e, c, &request, 0, m == PRUNE_MAGNITUDE, &r);
        kl[m] = r.kl;
        snprintf(label, sizeof label, "%s, %s", what, prune_method_names[m]);
        if (result == CLI_OK) cuts_row(e, c, label, &r);
    }
    return result;
}

static int methods(experiment *e, cuts *c) {
    double n[N_PRUNE_METHODS], h[N_PRUNE_METHODS];
    exp_table(e, "By method (speed: once for each shape, over the model's own)", "what stays, chosen by" CUTS_COLUMNS);
    int result = by_method(e, c, "75 % of neurons", (cut_shape){.n_ff = c->shape.n_ff * 3 / 4}, n);
    if (result == CLI_OK)
        result = by_method(e, c, "half of heads", (cut_shape){.n_heads = PITH_MAX(c->shape.n_heads / 2, 1u)}, h);
    if (result != CLI_OK) return result;
    exp_claim(e, n[PRUNE_MINITRON] < n[PRUNE_MAGNITUDE] && n[PRUNE_MAGNITUDE] < n[PRUNE_RANDOM],
              "S312: neurons by activations < by weights < at random: KL %.4f, %.4f, %.4f", n[PRUNE_MINITRON],
              n[PRUNE_MAGNITUDE], n[PRUNE_RANDOM]);
    exp_claim(e, h[PRUNE_MINITRON] < h[PRUNE_MAGNITUDE], "S312: heads by activations < by weights: KL %.4f, %.4f",
              h[PRUNE_MINITRON], h[PRUNE_MAGNITUDE]);
    return CLI_OK;
}

/* ---- by axis ---------------------------------------------------------------------------------------------- */

/* One layer less, and of each other axis as many units as have its parameters. */
static int axes(experiment *e, cuts *c) {
    const cut_shape *s = &c->shape;
    double gone = cuts_layer_parameters(s) / s->n_layers, of_width = (double)lm_about(c->m)->n_parameters / s->n_embd;
    double of_neuron = cuts_ff_parameters(s) / s->n_ff, best = 0;
    const struct {
        const char *name;
        cut_shape keep;
    } rows[] = {{"depth: one layer less", {.n_layers = s->n_layers - 1}},
                {"neurons", {.n_ff = s->n_ff - (uint32_t)(gone / of_neuron + 0.5)}},
                {"width of the stream", {.n_embd = s->n_embd - (uint32_t)(gone / of_width + 0.5)}}};
    cuts_result r[3] = {0};
    if (s->n_layers < 2 || gone / of_neuron > s->n_ff - 1) return CLI_OK;
    exp_table(e, "By axis, as many parameters as a layer has gone (minitron's scores)", "what goes" CUTS_COLUMNS);
    for (int i = 0; i < 3; i++) {
        prune_request request = {.method = PRUNE_MINITRON, .keep = rows[i].keep};
        if (cuts_prune(e, c, &request, 0, true, &r[i]) != CLI_OK) return CLI_FAIL;
        cuts_row(e, c, rows[i].name, &r[i]);
    }
    best = PITH_MIN(r[1].kl, r[2].kl);
    exp_claim(e, best < r[0].kl, "S312: width before depth: KL %.4f against %.4f", best, r[0].kl);
    return CLI_OK;
}

/* ---- coupled pairs (S055) --------------------------------------------------------------------------------- */

static int coupled(experiment *e, cuts *c) {
    const cut_shape *s = &c->shape;
    double layers = cuts_layer_parameters(s), ff = cuts_ff_parameters(s), whole = (double)lm_about(c->m)->n_parameters;
    cut_shape three = {.n_ff = s->n_ff * 3 / 4}, alone = {.n_ff = (uint32_t)(s->n_ff * (1 - 0.25 * layers / ff))};
    cuts_result all = {0}, neurons = {0}, plain = {0}, white = {0}, r = {0};
    prune_request request = {.method = PRUNE_MODEGPT, .keep = three};
    if (!cuts_can_thin(c)) {
        exp_note(e, "the table of coupled pairs is left out: biases of queries or values");
        return CLI_OK;
    }
    exp_table(e, "A quarter of the layers' parameters gone (S055)", "what is made smaller, how" CUTS_COLUMNS);
    if (cuts_prune(e, c, &request, 0.75, false, &all) != CLI_OK) return CLI_FAIL;
    cuts_row(e, c, "all three pairs, modegpt", &all);
    request.keep = alone;
    if (cuts_prune(e, c, &request, 0, true, &neurons) != CLI_OK) return CLI_FAIL;
    cuts_row(e, c, "neurons, modegpt", &neurons);
    request.method = PRUNE_MAGNITUDE;
    if (cuts_prune(e, c, &request, 0, true, &plain) != CLI_OK) return CLI_FAIL;
    cuts_row(e, c, "neurons, magnitude", &plain);
    static const char *const recipes[][2] = {
        {"each matrix, whitened SVD", "blk.*.weight -> lowrank(ratio=0.75, white=eig)"},
        {"each matrix, SVD", "blk.*.weight -> lowrank(ratio=0.75, white=none)"}};
    for (int i = 0; i < 2; i++) {
        if (cuts_recipe(e, c, recipes[i][1], &r) != CLI_OK) return CLI_FAIL;
        r.parameters = whole - 0.25 * layers;
        cuts_row(e, c, recipes[i][0], &r);
        if (i == 0) white = r;
    }
    exp_claim(e, all.kl < white.kl && white.kl < plain.kl,
              "S055: modegpt on all pairs < whitened SVD of each matrix < neurons by magnitude: KL %.4f, %.4f, %.4f",
              all.kl, white.kl, plain.kl);
    exp_claim(e, neurons.kl < white.kl && neurons.kl < plain.kl && neurons.speed > 1,
              "S055: its neurons alone below both (KL %.4f), dense and %.2f times as fast", neurons.kl, neurons.speed);
    return CLI_OK;
}

/* ---- a wanted speed (S289) -------------------------------------------------------------------------------- */

/* The same share of neurons and of heads, with as many parameters in all as `like` has. */
static cut_shape even(const cut_shape *s, cut_shape like) {
    double per_key = attention_parameters(s) / s->n_kv_heads, per_neuron = cuts_ff_parameters(s) / s->n_ff;
    double attention = 2.0 * s->n_layers * s->n_embd * s->head_dim * (like.n_heads + like.n_kv_heads);
    double left = attention + like.n_ff * per_neuron, share = left / cuts_layer_parameters(s);
    uint32_t keys = PITH_MAX((uint32_t)(share * s->n_kv_heads + 0.5), 1u);
    if (keys == s->n_kv_heads && keys > 1) keys--;
    double neurons = (left - keys * per_key) / per_neuron;
    return (cut_shape){.n_kv_heads = keys,
                       .n_heads = keys * (s->n_heads / s->n_kv_heads),
                       .n_ff = (uint32_t)fmax(1, fmin(neurons + 0.5, s->n_ff))};
}

/* What so many heads save, measured on a cut of which it does not matter what it keeps. */
static int time_heads(experiment *e, cuts *c, cut_shape heads, double own, double *saved) {
    cuts_result r = {0};
    prune_request request = {.method = PRUNE_RANDOM, .keep = heads};
    *saved = 0;
    if (heads.n_heads == c->shape.n_heads) return CLI_OK;
    int result = cuts_prune(e, c, &request, 0, true, &r);
    *saved = own * (1 - 1 / r.speed);
    return result;
}

#define MOST_HEADS 12
typedef struct head_row {
    cut_shape keep;
    double saved; /* seconds a token */
} head_row;

/* Half of the heads at least, in every way that keeps key heads even. */
static int head_table(experiment *e, cuts *c, double own, head_row *rows, size_t *n) {
    const cut_shape *s = &c->shape;
    char label[64];
    *n = 0;
    for (uint32_t keys = s->n_kv_heads; keys > 0; keys--)
        for (uint32_t per = s->n_heads / s->n_kv_heads; per > 0; per--) {
            if (2 * keys * per < s->n_heads || *n == MOST_HEADS) continue;
            head_row *r = &rows[(*n)++];
            r->keep = (cut_shape){.n_heads = keys * per, .n_kv_heads = keys};
            if (time_heads(e, c, r->keep, own, &r->saved) != CLI_OK) return CLI_FAIL;
            snprintf(label, sizeof label, "%u heads of %u key heads", (unsigned)r->keep.n_heads, (unsigned)keys);
            EXP_ROW(e, label, 1e3 * (own - r->saved), NAN);
        }
    return CLI_OK;
}

/* Of all shapes that the table holds to be fast enough the one nearest to the model on the text that calibrates. */
static int search_shape(experiment *e, cuts *c, const prune_speed *table, const head_row *rows, size_t n, double asked,
                        cut_shape *best) {
    double least = INFINITY;
    model_ruler *judge = c->ruler;
    int result = CLI_OK;
    c->ruler = c->own_ruler;
    *best = (cut_shape){0};
    for (size_t i = 0; i < n && result == CLI_OK; i++) {
        cuts_result r = {0};
        prune_request request = {.method = PRUNE_MODEGPT, .keep = rows[i].keep};
        request.keep.n_ff = prune_speed_neurons(table, table->own / asked + rows[i].saved);
        if (request.keep.n_ff == 0) continue;
        result = cuts_prune(e, c, &request, 0, false, &r);
        if (result == CLI_OK && r.kl < least) least = r.kl, *best = request.keep;
    }
    c->ruler = judge;
    return result;
}

/* Twice measured as it would be, and the neurons corrected by what is amiss: savings do not quite add up. */
static int correct_shape(experiment *e, cuts *c, const prune_speed *table, double asked, cut_shape *keep) {
    for (int i = 0; i < 2 && keep->n_ff; i++) {
        cuts_result r = {0};
        prune_request request = {.method = PRUNE_RANDOM, .keep = *keep};
        if (cuts_prune(e, c, &request, 0, true, &r) != CLI_OK) return CLI_FAIL;
        double amiss = table->own * (1 / r.speed - 1 / asked) / table->per_neuron, n = keep->n_ff - amiss;
        if (fabs(r.speed / asked - 1) < 0.03) break;
        keep->n_ff = (uint32_t)fmin(fmax(n, 32), c->shape.n_ff) / 32 * 32;
    }
    return CLI_OK;
}

static int speeds(experiment *e, cuts *c) {
    static const double asked[] = {1.5, 2};
    const prune_request none = {0};
    prune_speed table;
    head_row rows[MOST_HEADS];
    size_t n;
    char label[64];
    exp_step(e, "timing");
    if (prune_speed_measure(e->ctx, c->m, &none, &table) != PITH_OK) return exp_failed(e);
    exp_table(e, "Milliseconds a token (S289's latency table)", "neurons, heads|ms.4|by the line.4");
    for (size_t i = 0; i < table.n; i++) {
        snprintf(label, sizeof label, "%u neurons", (unsigned)table.n_ff[i]);
        EXP_ROW(e, label, 1e3 * table.seconds[i], 1e3 * (table.fixed + table.per_neuron * table.n_ff[i]));
    }
    if (head_table(e, c, table.own, rows, &n) != CLI_OK) return CLI_FAIL;
    exp_table(e, "A wanted speed (S289), all by ziplm", "what stays" CUTS_COLUMNS);
    for (size_t i = 0; i < PITH_COUNT(asked); i++) {
        prune_request request = {.method = PRUNE_ZIPLM};
        cuts_result aware = {0}, blind = {0};
        if (search_shape(e, c, &table, rows, n, asked[i], &request.keep) != CLI_OK) return CLI_FAIL;
        if (request.keep.n_ff == 0) {
            exp_claim(e, false, "S289: %.1f times as fast by fewer neurons and heads", asked[i]);
            continue;
        }
        if (correct_shape(e, c, &table, asked[i], &request.keep) != CLI_OK) return CLI_FAIL;
        if (cuts_prune(e, c, &request, 0, true, &aware) != CLI_OK) return CLI_FAIL;
        snprintf(label, sizeof label, "%.1f asked: %u neurons, %u/%u heads", asked[i], (unsigned)request.keep.n_ff,
                 (unsigned)request.keep.n_heads, (unsigned)request.keep.n_kv_heads);
        cuts_row(e, c, label, &aware);
        request.keep = even(&c->shape, request.keep);
        if (cuts_prune(e, c, &request, 0, true, &blind) != CLI_OK) return CLI_FAIL;
        snprintf(label, sizeof label, "blind: %u neurons, %u/%u heads", (unsigned)request.keep.n_ff,
                 (unsigned)request.keep.n_heads, (unsigned)request.keep.n_kv_heads);
        cuts_row(e, c, label, &blind);
        exp_claim(e, fabs(aware.speed / asked[i] - 1) <= 0.1 && aware.kl < blind.kl,
                  "S289: asked for %.1f times the speed, %.2f; KL %.4f, of an even cut with as many parameters %.4f",
                  asked[i], aware.speed, aware.kl, blind.kl);
    }
    return CLI_OK;
}

/* ---- forty per cent (S031) ---------------------------------------------------------------------------------- */

static int forty(experiment *e, cuts *c) {
    const cut_shape *s = &c->shape;
    double whole = (double)lm_about(c->m)->n_parameters, gone = 0.4 * whole / cuts_ff_parameters(s);
    cuts_result r[2] = {0};
    static const prune_method by[] = {PRUNE_ZIPLM, PRUNE_MAGNITUDE};
    if (gone > 0.95) return CLI_OK;
    exp_table(e, "Forty per cent of all parameters gone, as neurons (S031)", "chosen by" CUTS_COLUMNS);
    for (int i = 0; i < 2; i++) {
        prune_request request = {.method = by[i], .keep = {.n_ff = (uint32_t)(s->n_ff * (1 - gone))}};
        if (cuts_prune(e, c, &request, 0, i == 0, &r[i]) != CLI_OK) return CLI_FAIL;
        cuts_row(e, c, prune_method_names[by[i]], &r[i]);
    }
    exp_claim(e, r[0].speed >= 1.25 && r[0].kl < r[1].kl,
              "S031: 40 %% smaller is %.2f times as fast, KL %.4f (magnitude %.4f), nothing trained again", r[0].speed,
              r[0].kl, r[1].kl);
    return CLI_OK;
}

static int cuts_run(experiment *e, void *own) {
    cuts *c = own;
    artefacts_register();
    int result = cuts_open(e, c);
    if (result == CLI_OK) result = methods(e, c);
    if (result == CLI_OK) result = axes(e, c);
    if (result == CLI_OK) result = coupled(e, c);
    if (result == CLI_OK) result = speeds(e, c);
    if (result == CLI_OK) result = forty(e, c);
    if (result == CLI_OK) result = cuts_policy(e, c);
    cuts_close(e, c);
    return result;
}

int bench_cuts(int argc, char **argv) {
    cuts c = {.bytes = 49152, .judge = 12288, .seed = 1};
    const lm_option extra[] = {{"text", 0, LM_TEXT, &c.text_path, 0, 0},
                               {"bytes", 0, LM_NUMBER, &c.bytes, 4096, 1 << 26},
                               {"judge", 0, LM_NUMBER, &c.judge, 2048, 1 << 26},
                               {"seed", 0, LM_NUMBER, &c.seed, 0, UINT64_MAX},
                               {"model", 0, LM_TEXT, &c.model, 0, 0}};
    return exp_main(argc, argv, cuts_help, extra, PITH_COUNT(extra), 0, cuts_run, &c);
}
