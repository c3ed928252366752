/* pith bench context-tasks: what few bits do to understanding what stands in the context, task by task (Y. Zhu et al.,
 * Can Large Language Models Understand Context?, 2024), and how many answers flip behind an accuracy that stays
 * (A. Dutta et al., Accuracy Is Not All You Need, 2024). */
#include <math.h>
#include <string.h>

#include "artefacts/artefacts.h"
#include "faces/cli/bench_context.h"

static const char context_help[] =
    "Usage: pith bench context-tasks [OPTIONS]\n\n"
    "Rounds the weights of a model's layers to 8, 4, 3 and 2 bits, plainly and by error feedback, and asks it\n"
    "multiple-choice questions about a text in front of them:\n"
    "  lookup       which of four numbers belongs to a key\n"
    "  coreference  who \"she\" or \"he\" is, of four people\n"
    "  slots        what was wished for last, after changes\n"
    "  told         a fact about one of four made-up people (16 choices)\n"
    "  cloze        which words go on in the text (the built-in one or --text)\n" CONTEXT_TEACH_HELP
    "Accuracy and flips (answers that went from right to wrong or back) of each code, then what is left of each task.\n\n"
    "  -n N, --count=N     questions of each task (default 64)\n"
    "      --wide          more codes: other groups, 5 bits, zeros\n"
    "      --seed=N        of the questions (default 11)\n" CONTEXT_TEACH_OPTIONS
    "      --text=FILE     its first half calibrates and teaches, its second is judged (default: the built-in text)\n"
    "      --model=FILE    the language model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench context-tasks\n"
    "  pith bench context-tasks -n 200 --wide --save=taught.gguf\n"
    "  pith bench context-tasks --steps=0 --model=taught.gguf --seed=77 -n 200\n";

const char *const context_names[CONTEXT_TASKS] = {"lookup", "coreference", "slots", "told", "cloze"};
static const double chance[CONTEXT_TASKS] = {0.25, 0.25, 0.25, 1.0 / RULER_FACT_VALUES, 0.25};

#define G32 "group=32"
static const taught_code codes[] = {
    {"as it is", NULL, false, 32},
    {"q8_0", "gguf(q8_0)", false, 8},
    {"RTN, 4 bits", "q(4, " G32 ")", false, 4},
    {"GPTQ, 4 bits", "q(4, " G32 ") @ obs", true, 4},
    {"RTN, 3 bits", "q(3, " G32 ")", false, 3},
    {"GPTQ, 3 bits", "q(3, " G32 ") @ obs", true, 3},
    {"RTN, 2 bits", "q(2, " G32 ")", false, 2},
    {"GPTQ, 2 bits", "q(2, " G32 ") @ obs", true, 2},
    /* --wide */
    {"RTN, 5 bits", "q(5, " G32 ")", false, 5},
    {"RTN, 4 bits, rows", "q(4, group=0)", false, 4},
    {"RTN, 3 bits, groups of 16", "q(3, group=16)", false, 3},
    {"GPTQ, 3 bits, groups of 16", "q(3, group=16) @ obs", true, 3},
    {"GPTQ, 3 bits, groups of 128", "q(3, group=128) @ obs", true, 3},
    {"magnitude, 30 % zeros", "prune(30%, score=magnitude)", false, 0.3},
    {"Wanda, 40 % zeros", "prune(40%, score=wanda)", true, 0.4},
    {"SparseGPT, 40 % zeros", "sparse(60%) @ obs", true, 0.4},
    {"SparseGPT, 50 % zeros", "sparse(50%) @ obs", true, 0.5},
};
enum { AS_IS, Q8, RTN4, GPTQ4, RTN3, GPTQ3, RTN2, GPTQ2, NARROW, ALL = PITH_COUNT(codes) };

typedef struct outcome {
    double bits, kl, ratio;
    ruler_flips f[CONTEXT_TASKS];
} outcome;

typedef struct context_run {
    context_set set;
    taught_bed bed;
    model_ruler *ruler;
    uint32_t *base; /* [CONTEXT_TASKS][count] what the model itself chooses */
    uint32_t *chosen;
    outcome out[ALL];
    unsigned n_codes;
} context_run;

/* ---- questions ---- */

int context_ask(experiment *e, const context_set *s, const lm_model *m, uint32_t *chosen, double *accuracy) {
    for (unsigned t = 0; t < CONTEXT_TASKS; t++) {
        size_t right;
        if (taught_ask(e, m, &s->items[t], chosen + t * s->count, &right) != CLI_OK) return CLI_FAIL;
        if (accuracy) accuracy[t] = (double)right / (double)s->count;
    }
    return CLI_OK;
}

/* Fresh items for the same tasks, under another seed. */
int context_items(experiment *e, unsigned task, size_t n, uint64_t seed, const pith_buffer *text, ruler_items *out) {
    ruler_facts facts = {0};
    pith_status status;
    if (task < RULER_PATTERNS) {
        status = ruler_pattern_items(e->ctx, (ruler_pattern)task, n, seed, out);
    } else if (task == CONTEXT_TOLD) {
        status = ruler_facts_make(e->ctx, n, seed, &facts);
        if (!status) status = ruler_facts_items(e->ctx, &facts, 4, seed, out);
        ruler_facts_free(e->ctx, &facts);
    } else {
        status = ruler_cloze(e->ctx, (const char *)text->data + text->size / 2, text->size - text->size / 2, n, 0, 0,
                             seed, out);
    }
    return status ? exp_failed(e) : CLI_OK;
}

/* ---- codes ---- */

static int try_code(experiment *e, context_run *r, unsigned i) {
    outcome *o = &r->out[i];
    lm_model *coded = NULL;
    model_score score;
    if (taught_bed_try(&r->bed, &codes[i], &coded, &o->bits) != CLI_OK) return CLI_FAIL;
    uint32_t *chosen = i == AS_IS ? r->base : r->chosen;
    int result = context_ask(e, &r->set, coded, chosen, NULL);
    if (result == CLI_OK && model_ruler_measure(e->ctx, r->ruler, coded, &score) != PITH_OK) result = exp_failed(e);
    lm_close(e->ctx, coded);
    if (result != CLI_OK) return result;
    o->kl = score.c.kl.mean, o->ratio = score.c.ratio;
    for (unsigned t = 0; t < CONTEXT_TASKS; t++)
        ruler_flips_of(&r->set.items[t], r->base + t * r->set.count, chosen + t * r->set.count, &o->f[t]);
    double a[CONTEXT_TASKS];
    for (unsigned t = 0; t < CONTEXT_TASKS; t++) a[t] = o->f[t].accuracy;
    EXP_ROW(e, codes[i].name, o->bits, o->kl, o->ratio, a[0], a[1], a[2], a[3], a[4]);
    return CLI_OK;
}

/* What is left of what the task is above guessing. */
static double left(const context_run *r, unsigned code, unsigned task) {
    const ruler_flips *f = &r->out[code].f[task];
    return (f->accuracy - chance[task]) / (f->accuracy_base - chance[task]);
}

/* Tasks at which the model is better than guessing, by four standard errors of guessing. */
static bool can(const context_run *r, unsigned task) {
    double error = sqrt(chance[task] * (1 - chance[task]) / (double)r->set.count);
    return r->out[AS_IS].f[task].accuracy > chance[task] + 4 * error;
}

static void sensitivity(experiment *e, const context_run *r) {
    exp_table(e, "Left of what each task is above guessing (1: all)",
              "code|lookup.3|coreference.3|slots.3|told.3|cloze.3");
    for (unsigned i = Q8; i < r->n_codes; i++) {
        double v[CONTEXT_TASKS];
        for (unsigned t = 0; t < CONTEXT_TASKS; t++) v[t] = can(r, t) ? left(r, i, t) : NAN;
        exp_row(e, codes[i].name, v);
    }
    exp_table(e, "Flips: answers that went from right to wrong or back",
              "code|lookup.3|coreference.3|slots.3|told.3|cloze.3");
    for (unsigned i = Q8; i < r->n_codes; i++) {
        double v[CONTEXT_TASKS];
        for (unsigned t = 0; t < CONTEXT_TASKS; t++) v[t] = r->out[i].f[t].flips;
        exp_row(e, codes[i].name, v);
    }
}

/* "3 bits lower scores, to varying degrees": every task the model can do loses, and the largest loss is apart from the
 * smallest by more than two standard errors of their difference. */
static void claim_bits(experiment *e, const context_run *r, unsigned code) {
    char said[200] = "";
    double least = INFINITY, most = -INFINITY, error2 = 0;
    unsigned n = 0, lower = 0;
    for (unsigned t = 0; t < CONTEXT_TASKS; t++) {
        if (!can(r, t)) continue;
        const ruler_flips *f = &r->out[code].f[t];
        double lost = f->accuracy_base - f->accuracy, scale = f->accuracy_base - chance[t];
        size_t used = strlen(said);
        snprintf(said + used, sizeof said - used, "%s%s %+.1f %%", n ? ", " : "", context_names[t], -100 * lost);
        lower += lost > 0;
        n++;
        least = PITH_MIN(least, lost / scale), most = PITH_MAX(most, lost / scale);
        /* variance of a mean of paired differences that are -1, 0, 1 */
        error2 = PITH_MAX(error2, (f->flips - lost * lost) / (double)r->set.count / (scale * scale));
    }
    exp_claim(e, n > 1 && lower == n && most - least > 2 * sqrt(2 * error2),
              "%s lowers every task the model can do, to varying degrees: %s", codes[code].name, n ? said : "none");
}

static void claim_flips(experiment *e, const context_run *r) {
    unsigned tried = 0, found = 0, best_code = 0, best_task = 0;
    double best = 0;
    for (unsigned i = Q8; i < r->n_codes; i++)
        for (unsigned t = 0; t < CONTEXT_TASKS; t++) {
            if (!can(r, t)) continue;
            const ruler_flips *f = &r->out[i].f[t];
            tried++;
            if (fabs(f->accuracy - f->accuracy_base) >= 0.01 || f->flips <= 0.05) continue;
            found++;
            if (f->flips > best) best = f->flips, best_code = i, best_task = t;
        }
    const ruler_flips *f = &r->out[best_code].f[best_task];
    if (found)
        exp_claim(e, true,
                  "accuracy can stay within 1 %% while over 5 %% of the answers flip: %u of %u pairs of code and task, "
                  "such as %s on %s, %+.1f %% and %.1f %%",
                  found, tried, codes[best_code].name, context_names[best_task], 100 * (f->accuracy - f->accuracy_base),
                  100 * f->flips);
    else
        exp_claim(e, false, "accuracy can stay within 1 %% while over 5 %% of the answers flip (none of %u pairs)",
                  tried);
}

static int run_codes(experiment *e, context_run *r) {
    char title[120];
    snprintf(title, sizeof title, "Accuracy on %zu questions of each task; bits of a weight of the layers",
             r->set.count);
    exp_table(e, title, "code|bits.2|KL.4|PPL ratio.3|lookup.3|coreference.3|slots.3|told.3|cloze.3");
    for (unsigned i = 0; i < r->n_codes; i++)
        if (try_code(e, r, i) != CLI_OK) return CLI_FAIL;
    sensitivity(e, r);
    for (unsigned t = 0; t < CONTEXT_TASKS; t++)
        if (!can(r, t))
            exp_note(e, "%s: the model does no better than guessing, so the task says nothing", context_names[t]);
    claim_bits(e, r, RTN3);
    claim_bits(e, r, GPTQ3);
    double rtn = 0, gptq = 0;
    for (unsigned t = 0; t < CONTEXT_TASKS; t++) {
        if (!can(r, t)) continue;
        rtn += r->out[RTN3].f[t].accuracy, gptq += r->out[GPTQ3].f[t].accuracy;
    }
    exp_claim(e, gptq > rtn, "error feedback keeps more than plain rounding at 3 bits (sum of accuracies %.3f, %.3f)",
              gptq, rtn);
    claim_flips(e, r);
    return CLI_OK;
}

/* ---- the run ---- */

static int context_run_all(experiment *e, void *own) {
    context_run *r = own;
    context_set *s = &r->set;
    lm_model *opened = NULL;
    artefacts_register();
    r->n_codes = s->wide ? ALL : NARROW;
    int result = lm_open_named(e->ctx, lm_model_path(s->model ? s->model : "default"), &opened);
    if (result == CLI_OK) result = lm_text_or_default(e->ctx, s->file, &s->text);
    for (unsigned t = 0; t < CONTEXT_TASKS && result == CLI_OK; t++)
        result = context_items(e, t, s->count, s->seed, &s->text, &s->items[t]);
    size_t bytes = CONTEXT_TASKS * s->count * sizeof *r->base;
    if (result == CLI_OK && !((r->base = pith_alloc(e->ctx, bytes)) && (r->chosen = pith_alloc(e->ctx, bytes)))) {
        pith_alloc_status(e->ctx);
        result = exp_failed(e);
    }
    pith_buffer calibration = {0};
    if (result == CLI_OK) result = context_prepare(e, s, opened, r->chosen, &calibration);
    if (result == CLI_OK) result = taught_bed_open(e, s->m, calibration.data, calibration.size, &r->bed);
    if (result == CLI_OK) {
        const uint8_t *judged = s->text.data + s->text.size / 2;
        model_ruler_options o = {.n_ctx = 256, .n_chunks = 16, .n_threads = e->o.n_threads};
        exp_step(e, "reading the text");
        if (model_ruler_new(e->ctx, s->m, judged, s->text.size - s->text.size / 2, &o, &r->ruler) != PITH_OK)
            result = exp_failed(e);
    }
    if (result == CLI_OK) result = run_codes(e, r);
    pith_buffer_free(e->ctx, &calibration);
    model_ruler_free(e->ctx, r->ruler);
    taught_bed_close(&r->bed);
    context_forget(e, s, opened);
    for (unsigned t = 0; t < CONTEXT_TASKS; t++) ruler_items_free(e->ctx, &s->items[t]);
    pith_free(e->ctx, r->base);
    pith_free(e->ctx, r->chosen);
    pith_buffer_free(e->ctx, &s->text);
    lm_close(e->ctx, opened);
    return result;
}

int bench_context(int argc, char **argv) {
    context_run r = {.set = {.count = 64, .seed = 11, .steps = CONTEXT_STEPS}};
    const lm_option extra[] = {{"count", 'n', LM_NUMBER, &r.set.count, 4, RULER_MAX_FACTS},
                               {"wide", 0, LM_FLAG, &r.set.wide, 0, 0},
                               {"seed", 0, LM_NUMBER, &r.set.seed, 0, UINT32_MAX},
                               {"steps", 0, LM_NUMBER, &r.set.steps, 0, 1 << 20},
                               {"save", 0, LM_TEXT, &r.set.save, 0, 0},
                               {"text", 0, LM_TEXT, &r.set.file, 0, 0},
                               {"model", 0, LM_TEXT, &r.set.model, 0, 0}};
    return exp_main(argc, argv, context_help, extra, PITH_COUNT(extra), 0, context_run_all, &r);
}
