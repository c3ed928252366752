/* pith bench facts: what a compressed model still knows, against what it still reads. A model is taught made-up facts;
 * pruned and rounded ones are asked for them with nothing in front, and with the fact in front (A. Jaiswal et al.,
 * Compressing LLMs: The Truth is Rarely Pure and Never Simple, 2024). */
#include <math.h>
#include <string.h>

#include "artefacts/artefacts.h"
#include "faces/cli/bench_taught.h"

static const char facts_help[] =
    "Usage: pith bench facts [OPTIONS]\n\n"
    "Teaches a model made-up facts (and to read others that stand in front of the question, and text), then makes zeros\n"
    "of its layers' weights or rounds them, and measures\n"
    "  closed    facts it was taught, asked for with nothing in front (16 choices)\n"
    "  open      the same facts, each standing among four in front of the question\n"
    "  new       facts it was never taught, standing there in the same way\n"
    "  PPL       perplexity on text\n"
    "and from which part of zeros on each is worse by 5 %. Published: knowledge goes first, reading last.\n\n"
    "      --facts=N       that are taught (default 256)\n"
    "  -n N, --count=N     of them that are asked for, and as many new ones (default 96)\n"
    "      --steps=N       of teaching; 0: --model was taught these facts already (default 100)\n"
    "      --save=FILE     where the taught model goes, to be named with --model and --steps=0\n"
    "      --seed=N        of the facts (default 5)\n"
    "      --text=FILE     its first half calibrates and teaches, its second is judged (default: the built-in text)\n"
    "      --model=FILE    the language model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench facts\n"
    "  pith bench facts --facts=1024 --steps=600 --save=taught.gguf\n"
    "  pith bench facts --facts=1024 --steps=0 --model=taught.gguf -n 1024\n";

#define WINDOW 96
#define GIVEN 4
#define ROUNDS 8 /* of the facts through their windows before these come again */
enum { CLOSED, OPEN, NEW, ASKED };
static const double chance = 1.0 / RULER_FACT_VALUES;

#define GRID 7 /* parts of zeros */
static const double grid[GRID] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7};
enum { MAGNITUDE, WANDA, SPARSEGPT, PRUNERS };
static const char *const pruners[PRUNERS] = {"magnitude", "Wanda", "SparseGPT"};
static const char *const pruner_recipes[PRUNERS] = {"prune(%g, score=magnitude)", "prune(%g, score=wanda)",
                                                    "sparse(%g) @ obs"};
static const taught_code more[] = {
    {"magnitude, 2:4", "prune(pattern=2:4, score=magnitude)", false, 0.5},
    {"Wanda, 2:4", "prune(pattern=2:4, score=wanda)", true, 0.5},
    {"SparseGPT, 2:4", "sparse(pattern=2:4) @ obs", true, 0.5},
    {"RTN, 8 bits", "q(8, group=32)", false, 8},
    {"GPTQ, 8 bits", "q(8, group=32) @ obs", true, 8},
    {"RTN, 4 bits", "q(4, group=32)", false, 4},
    {"GPTQ, 4 bits", "q(4, group=32) @ obs", true, 4},
    {"RTN, 3 bits", "q(3, group=32)", false, 3},
    {"GPTQ, 3 bits", "q(3, group=32) @ obs", true, 3},
    {"RTN, 2 bits", "q(2, group=32)", false, 2},
    {"GPTQ, 2 bits", "q(2, group=32) @ obs", true, 2},
};

typedef struct outcome {
    double right[ASKED], ratio; /* shares; perplexity over that of the model */
} outcome;

typedef struct facts_run {
    uint64_t n_facts, count, steps, seed;
    const char *model, *file, *save;
    pith_buffer text;
    ruler_facts taught, fresh;
    ruler_items items[ASKED];
    uint32_t *chosen;
    lm_model *opened, *m;
    taught_bed bed;
    model_ruler *ruler;
    outcome base, zeros[PRUNERS][GRID], other[PITH_COUNT(more)];
} facts_run;

/* ---- teaching ---- */

/* The first `n` of a list as a list of its own: borrows. */
static ruler_facts first_of(const ruler_facts *facts, uint64_t n) {
    return (ruler_facts){.at = facts->at, .n = (size_t)PITH_MIN((uint64_t)facts->n, n)};
}

static int make_items(experiment *e, facts_run *r) {
    pith_status status = ruler_facts_make(e->ctx, (size_t)r->n_facts, r->seed, &r->taught);
    if (!status) status = ruler_facts_make(e->ctx, (size_t)r->count, r->seed + 1, &r->fresh);
    if (status) return exp_failed(e);
    ruler_facts asked = first_of(&r->taught, r->count);
    status = ruler_facts_items(e->ctx, &asked, 0, r->seed, &r->items[CLOSED]);
    if (!status) status = ruler_facts_items(e->ctx, &asked, GIVEN, r->seed, &r->items[OPEN]);
    if (!status) status = ruler_facts_items(e->ctx, &r->fresh, GIVEN, r->seed, &r->items[NEW]);
    size_t most = (size_t)PITH_MAX(r->count, 1u);
    if (!status && !(r->chosen = pith_alloc(e->ctx, most * sizeof *r->chosen))) status = pith_alloc_status(e->ctx);
    return status ? exp_failed(e) : CLI_OK;
}

/* Taught facts, alone; new ones to be read; text. */
static int make_lessons(experiment *e, const facts_run *r, lessons kinds[3]) {
    ruler_items alone = {0}, given = {0};
    ruler_facts others = {0};
    kinds[0] = (lessons){.n_ctx = WINDOW, .share = 16};
    kinds[1] = (lessons){.n_ctx = WINDOW, .share = 12};
    kinds[2] = (lessons){.n_ctx = WINDOW, .share = 4};
    uint32_t *order = pith_alloc(e->ctx, r->taught.n * sizeof *order);
    uint64_t seed = r->seed;
    /* the same items in other orders: borrows */
    ruler_items mixed = {.at = pith_alloc(e->ctx, r->taught.n * sizeof *mixed.at), .n = r->taught.n};
    pith_status status = order && mixed.at ? PITH_OK : pith_alloc_status(e->ctx);
    for (size_t i = 0; i < r->taught.n && !status; i++) order[i] = (uint32_t)i;
    if (!status) status = ruler_facts_items(e->ctx, &r->taught, 0, r->seed, &alone);
    if (!status) status = ruler_facts_make(e->ctx, 4096, r->seed + 2, &others);
    if (!status) status = ruler_facts_items(e->ctx, &others, GIVEN, r->seed + 2, &given);
    int result = status ? exp_failed(e) : CLI_OK;
    /* round after round, so that a window holds other facts each time */
    for (unsigned round = 0; round < ROUNDS && result == CLI_OK; round++) {
        taught_shuffle(order, alone.n, &seed);
        for (size_t i = 0; i < alone.n; i++) mixed.at[i] = alone.at[order[i]];
        result = lessons_of_items(e, r->opened, &mixed, &kinds[0]);
    }
    if (result == CLI_OK) result = lessons_of_items(e, r->opened, &given, &kinds[1]);
    if (result == CLI_OK) result = lessons_of_text(e, r->opened, r->text.data, r->text.size / 2, 8, &kinds[2]);
    ruler_items_free(e->ctx, &alone);
    ruler_items_free(e->ctx, &given);
    ruler_facts_free(e->ctx, &others);
    pith_free(e->ctx, mixed.at);
    pith_free(e->ctx, order);
    return result;
}

static int teach_facts(experiment *e, facts_run *r) {
    train_net *net = NULL;
    lessons kinds[3] = {{0}};
    teaching t = {.steps = r->steps, .rate = 1e-3, .decay = 0.01, .seed = r->seed};
    r->m = r->opened;
    if (!r->steps) return CLI_OK;
    int result = make_lessons(e, r, kinds);
    if (result == CLI_OK && train_net_open(e->ctx, r->opened, &net) != PITH_OK) result = exp_failed(e);
    if (result == CLI_OK) result = teach(e, net, kinds, PITH_COUNT(kinds), &t);
    if (result == CLI_OK && r->save) result = taught_save(e, net, r->save);
    if (result == CLI_OK && train_net_model(e->ctx, net, TENSOR_F32, &r->m) != PITH_OK) result = exp_failed(e);
    train_net_free(net);
    for (unsigned k = 0; k < PITH_COUNT(kinds); k++) lessons_free(e->ctx, &kinds[k]);
    if (result == CLI_OK)
        exp_note(e, "%zu facts taught in %llu steps of %u windows of %u tokens, %.0f processor seconds", r->taught.n,
                 (unsigned long long)r->steps, kinds[0].share + kinds[1].share + kinds[2].share, WINDOW, t.seconds);
    return result;
}

/* ---- measuring ---- */

static int measure(experiment *e, facts_run *r, const lm_model *m, outcome *o) {
    model_score score;
    for (unsigned k = 0; k < ASKED; k++) {
        size_t right;
        if (taught_ask(e, m, &r->items[k], r->chosen, &right) != CLI_OK) return CLI_FAIL;
        o->right[k] = (double)right / (double)r->items[k].n;
    }
    if (model_ruler_measure(e->ctx, r->ruler, m, &score) != PITH_OK) return exp_failed(e);
    o->ratio = score.c.ratio;
    return CLI_OK;
}

static int try_code(experiment *e, facts_run *r, const taught_code *code, outcome *o) {
    lm_model *coded = NULL;
    double bits;
    if (taught_bed_try(&r->bed, code, &coded, &bits) != CLI_OK) return CLI_FAIL;
    int result = measure(e, r, coded, o);
    lm_close(e->ctx, coded);
    if (result == CLI_OK) EXP_ROW(e, code->name, o->right[CLOSED], o->right[OPEN], o->right[NEW], o->ratio, bits);
    return result;
}

static int run_codes(experiment *e, facts_run *r) {
    static const taught_code as_is = {"as it is", NULL, false, 0};
    char title[120], recipe[64], name[64];
    snprintf(title, sizeof title, "%zu facts of %zu, as many new ones; bits of a weight of the layers",
             r->items[CLOSED].n, r->taught.n);
    exp_table(e, title, "code|closed.3|open.3|new.3|PPL ratio.3|bits.2");
    if (try_code(e, r, &as_is, &r->base) != CLI_OK) return CLI_FAIL;
    for (unsigned p = 0; p < PRUNERS; p++)
        for (unsigned g = 0; g < GRID; g++) {
            /* sparse says what it keeps */
            snprintf(recipe, sizeof recipe, pruner_recipes[p], p == SPARSEGPT ? 1 - grid[g] : grid[g]);
            snprintf(name, sizeof name, "%s, %.0f %% zeros", pruners[p], 100 * grid[g]);
            taught_code code = {name, recipe, p != MAGNITUDE, grid[g]};
            if (try_code(e, r, &code, &r->zeros[p][g]) != CLI_OK) return CLI_FAIL;
        }
    for (unsigned i = 0; i < PITH_COUNT(more); i++)
        if (try_code(e, r, &more[i], &r->other[i]) != CLI_OK) return CLI_FAIL;
    return CLI_OK;
}

/* ---- claims ---- */

enum { ON_PPL = ASKED, MEASURES };

/* What is left, 1 at first: of what an accuracy is above guessing, or 1 / ratio. */
static double left(const facts_run *r, const outcome *o, unsigned k) {
    return k == ON_PPL ? 1 / o->ratio : (o->right[k] - chance) / (r->base.right[k] - chance);
}

/* The part of zeros at which 5 % is lost for good, between the points of the grid on a line; above the grid: 1. */
static double onset(const facts_run *r, unsigned pruner, unsigned k) {
    double before = 1, at = 0;
    for (unsigned g = GRID; g > 0; g--) {
        double now = left(r, &r->zeros[pruner][g - 1], k);
        if (now >= 0.95) {
            if (g == GRID) return 1;
            before = now, at = grid[g - 1];
            break;
        }
    }
    unsigned next = 0;
    while (next < GRID && grid[next] <= at) next++;
    double after = left(r, &r->zeros[pruner][next], k);
    return at + (grid[next] - at) * (before - 0.95) / (before - after);
}

static void claims(experiment *e, const facts_run *r) {
    double at[PRUNERS][MEASURES];
    exp_table(e, "Part of zeros from which on 5 % is lost (1: not at 70 % either)",
              "pruned by|closed.3|open.3|new.3|PPL.3");
    for (unsigned p = 0; p < PRUNERS; p++) {
        for (unsigned k = 0; k < MEASURES; k++) at[p][k] = onset(r, p, k);
        exp_row(e, pruners[p], at[p]);
    }
    for (unsigned p = 0; p < PRUNERS; p++)
        exp_claim(
            e, at[p][CLOSED] < at[p][OPEN] && at[p][CLOSED] < at[p][ON_PPL] && at[p][OPEN] > at[p][ON_PPL],
            "%s: what was taught goes first (from %.0f %% zeros), then perplexity (%.0f %%), reading last (%.0f %%)",
            pruners[p], 100 * at[p][CLOSED], 100 * at[p][ON_PPL], 100 * at[p][OPEN]);
    /* the same order in each other code by which anything is lost */
    for (unsigned i = 0; i < PITH_COUNT(more); i++) {
        const outcome *o = &r->other[i];
        double v[MEASURES], least = 1;
        for (unsigned k = 0; k < MEASURES; k++) {
            v[k] = left(r, o, k);
            least = PITH_MIN(least, v[k]);
        }
        if (least >= 0.95) {
            exp_note(e, "%s loses less than 5 %% of anything", more[i].name);
            continue;
        }
        exp_claim(e, v[CLOSED] < v[OPEN] && v[CLOSED] < v[ON_PPL] && v[OPEN] > v[ON_PPL],
                  "%s: left of what was taught %.2f, of perplexity %.2f, of reading %.2f", more[i].name, v[CLOSED],
                  v[ON_PPL], v[OPEN]);
    }
}

/* ---- the run ---- */

static int make_calibration(experiment *e, facts_run *r, pith_buffer *out) {
    ruler_items given = {0};
    ruler_facts others = {0};
    ruler_facts some = first_of(&r->taught, 256);
    pith_status status = ruler_facts_text(e->ctx, &some, r->seed, out);
    if (!status) status = ruler_facts_make(e->ctx, 96, r->seed + 3, &others);
    if (!status) status = ruler_facts_items(e->ctx, &others, GIVEN, r->seed + 3, &given);
    if (!status) status = ruler_items_text(e->ctx, &given, out);
    if (!status) status = pith_buffer_append(e->ctx, out, r->text.data, PITH_MIN(r->text.size / 2, (size_t)16384));
    ruler_items_free(e->ctx, &given);
    ruler_facts_free(e->ctx, &others);
    return status ? exp_failed(e) : CLI_OK;
}

static int prepare(experiment *e, facts_run *r) {
    pith_buffer calibration = {0};
    int result = lm_open_named(e->ctx, lm_model_path(r->model ? r->model : "default"), &r->opened);
    if (result == CLI_OK) result = lm_text_or_default(e->ctx, r->file, &r->text);
    if (result == CLI_OK) result = make_items(e, r);
    if (result == CLI_OK) result = teach_facts(e, r);
    if (result == CLI_OK) result = make_calibration(e, r, &calibration);
    if (result == CLI_OK) result = taught_bed_open(e, r->m, calibration.data, calibration.size, &r->bed);
    pith_buffer_free(e->ctx, &calibration);
    if (result != CLI_OK) return result;
    const uint8_t *judged = r->text.data + r->text.size / 2;
    model_ruler_options o = {.n_ctx = 256, .n_chunks = 12, .n_threads = e->o.n_threads};
    exp_step(e, "reading the text");
    return model_ruler_new(e->ctx, r->m, judged, r->text.size - r->text.size / 2, &o, &r->ruler) == PITH_OK
               ? CLI_OK
               : exp_failed(e);
}

static int facts_run_all(experiment *e, void *own) {
    facts_run *r = own;
    artefacts_register();
    int result = prepare(e, r);
    if (result == CLI_OK) result = run_codes(e, r);
    if (result == CLI_OK) claims(e, r);
    model_ruler_free(e->ctx, r->ruler);
    taught_bed_close(&r->bed);
    if (r->m && r->m != r->opened) train_model_close(e->ctx, r->m);
    for (unsigned k = 0; k < ASKED; k++) ruler_items_free(e->ctx, &r->items[k]);
    ruler_facts_free(e->ctx, &r->taught);
    ruler_facts_free(e->ctx, &r->fresh);
    pith_free(e->ctx, r->chosen);
    pith_buffer_free(e->ctx, &r->text);
    lm_close(e->ctx, r->opened);
    return result;
}

int bench_facts(int argc, char **argv) {
    facts_run r = {.n_facts = 256, .count = 96, .steps = 100, .seed = 5};
    const lm_option extra[] = {{"facts", 0, LM_NUMBER, &r.n_facts, 8, RULER_MAX_FACTS},
                               {"count", 'n', LM_NUMBER, &r.count, 8, RULER_MAX_FACTS},
                               {"steps", 0, LM_NUMBER, &r.steps, 0, 1 << 20},
                               {"save", 0, LM_TEXT, &r.save, 0, 0},
                               {"seed", 0, LM_NUMBER, &r.seed, 0, UINT32_MAX},
                               {"text", 0, LM_TEXT, &r.file, 0, 0},
                               {"model", 0, LM_TEXT, &r.model, 0, 0}};
    return exp_main(argc, argv, facts_help, extra, PITH_COUNT(extra), 0, facts_run_all, &r);
}
