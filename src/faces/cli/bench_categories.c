/* pith bench categories: every class of methods that make a model smaller, in one sweep over one model (Park, Choi, Lee,
 * Kang 2024, A Comprehensive Survey of Compression Algorithms for Language Models: pruning, quantisation, distillation,
 * low rank, sharing, architecture), and whether they are of low cost: no training, a size that can be asked for, a report
 * of what was lost. */
#include <math.h>
#include <string.h>

#include "faces/cli/bench_categories.h"

static const char categories_help[] =
    "Usage: pith bench categories [OPTIONS]\n\n"
    "Makes a model smaller by two recipes and more of each class (pith methods --by-category) and says of each: bytes,\n"
    "bits for each parameter of the model, work of a token, divergence (KL) and perplexity on text that neither\n"
    "calibrates nor teaches, processor seconds, and whether it took data and gradients. Students learn from the model's\n"
    "answers (distillation), and once, to compare, from the text alone.\n\n"
    "      --class=NAME    one class alone: pruning, quantisation, low-rank, sharing, architecture, distillation\n"
    "      --steps=N       of each student, of 512 tokens (default 32)\n"
    "      --rate=X        of their steps (default 0.0003)\n"
    "      --mix=A         share of the teacher in the loss (default 0.9)\n"
    "      --temperature=T (default 1)\n"
    "      --text=FILE     the text (default tests/data/lcet10.txt)\n"
    "      --bytes=N       of it that calibrate (default 49152); students learn from all but its end\n"
    "      --judge=N       bytes at its end that are judged (default 12288)\n"
    "      --seed=N        of the order of lessons (default 1)\n"
    "      --model=FILE    a llama model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench categories\n"
    "  pith bench categories --class=distillation --steps=160\n";

enum { WINDOW = 128, BATCH = 4 };

static bool is_asked(const categories *k, unsigned category) {
    char name[16];
    snprintf(name, sizeof name, "%s", pith_category_names[category]);
    for (char *p = name; *p; p++)
        if (*p == ' ') *p = '-';
    return !k->only || strcmp(k->only, name) == 0;
}

static unsigned bit_of(pith_category category) { return (unsigned)__builtin_ctz(category); }

/* category 0: to compare with, no recipe of a class. */
static void show(experiment *e, categories *k, pith_category category, const char *label, const made *m) {
    if (category) {
        unsigned i = bit_of(category);
        k->n[i]++;
        k->n_smaller[i] += m->bytes < 0.99 * k->base_bytes || m->work < 0.99 * k->base_work;
        k->n_plain += !m->gradients;
    }
    EXP_ROW(e, label, m->bytes / 1000, 8 * m->bytes / (double)lm_about(k->c.m)->n_parameters,
            100 * m->work / k->base_work, m->kl, m->ratio, m->seconds, m->data, m->gradients);
}

static int by_recipe(experiment *e, categories *k, pith_category category, const char *label, const char *recipe,
                     bool informed, made *out) {
    int result = categories_recipe(e, k, lm_file(k->c.m), recipe, informed, out);
    if (result == CLI_OK) show(e, k, category, label, out);
    return result;
}

/* A model as it stands. */
static int as_it_is(experiment *e, categories *k, const lm_model *m, made *out) {
    out->bytes = categories_bytes(lm_file(m));
    out->work = categories_work(m);
    return categories_judge(e, k, m, out);
}

static prune_request fewer_neurons(const categories *k, double share) {
    return (prune_request){.method = PRUNE_ZIPLM, .keep.n_ff = (uint32_t)(share * k->c.shape.n_ff)};
}

/* ---- the classes ---- */

static int pruning(experiment *e, categories *k) {
    made m = {0};
    student s = {0};
    int result = by_recipe(e, k, PITH_PRUNING, "half of the weights, Wanda",
                           "blk.*.weight -> prune(sparsity=50%, score=wanda, per=row)", true, &m);
    if (result != CLI_OK) return result;
    prune_request request = fewer_neurons(k, 0.7);
    m = (made){.data = true, .seconds = model_cpu_seconds()};
    result = categories_prune(e, k, &request, &s);
    m.seconds = model_cpu_seconds() - m.seconds;
    if (result == CLI_OK) result = as_it_is(e, k, s.m, &m);
    if (result == CLI_OK) show(e, k, PITH_PRUNING, "70 % of neurons, structured OBS", &m);
    categories_close(e, &s);
    return result;
}

static int quantisation(experiment *e, categories *k) {
    made m = {0};
    int result = by_recipe(e, k, PITH_QUANTISATION, "4 bits, rounded", "blk.*.weight -> q(4, group=32)", false, &m);
    if (result == CLI_OK)
        result = by_recipe(e, k, PITH_QUANTISATION, "3 bits, error feedback", "blk.*.weight -> q(3, group=32) @ obs", true,
                           &m);
    return result;
}

static int low_rank(experiment *e, categories *k) {
    made m = {0};
    int result = by_recipe(e, k, PITH_LOW_RANK, "80 %, components of outputs",
                           "blk.*.weight -> lowrank(ratio=0.8, white=eig)", true, &m);
    if (result == CLI_OK)
        result = by_recipe(e, k, PITH_LOW_RANK, "3 bits and a correction of rank 8",
                           "blk.*.weight -> sum(q(3, group=32), lowrank(rank=8, white=eig))", true, &m);
    return result;
}

/* Layers in pairs, each pair one set of weights. */
static int share_layers(experiment *e, categories *k) {
    made before = {.seconds = NAN}, after = {.data = true, .gradients = true};
    student s = {0}, untaught = {0};
    uint64_t steps = k->steps;
    double seconds;
    uint32_t n = lm_about(k->c.m)->n_layers, *like = pith_alloc(e->ctx, n * sizeof *like);
    if (!like) return exp_failed(e);
    for (uint32_t i = 0; i < n; i++) like[i] = i - i % 2;
    k->steps = 0;
    int result = categories_teach(e, k, k->c.m, like, false, false, &untaught, &seconds);
    k->steps = steps;
    if (result == CLI_OK) result = as_it_is(e, k, untaught.m, &before);
    if (result == CLI_OK) show(e, k, 0, "(pairs of layers, means, untaught)", &before);
    if (result == CLI_OK) result = categories_teach(e, k, k->c.m, like, true, false, &s, &after.seconds);
    if (result == CLI_OK) result = as_it_is(e, k, s.m, &after);
    if (result == CLI_OK) {
        show(e, k, PITH_SHARING, "pairs of layers, taught", &after);
        exp_claim(e, after.kl < before.kl, "layers that share come nearer by being taught: KL %.3f, untaught %.3f",
                  after.kl, before.kl);
    }
    categories_close(e, &s);
    categories_close(e, &untaught);
    pith_free(e->ctx, like);
    return result;
}

static int sharing(experiment *e, categories *k) {
    made m = {0};
    int result = by_recipe(e, k, PITH_SHARING, "embeddings, rows by hashes",
                           "token_embd.weight -> hash(ratio=0.5, parts=sum)", false, &m);
    return result == CLI_OK ? share_layers(e, k) : result;
}

static int architecture(experiment *e, categories *k) {
    made m = {.data = true, .seconds = model_cpu_seconds()}, cut = {.seconds = NAN},
         after = {.data = true, .gradients = true};
    student s = {0}, taught = {0};
    int result = categories_split(e, k, 8, 4, &s);
    m.seconds = model_cpu_seconds() - m.seconds;
    if (result == CLI_OK) result = as_it_is(e, k, s.m, &m);
    if (result == CLI_OK) show(e, k, PITH_ARCHITECTURE, "4 of 8 experts instead of all", &m);
    categories_close(e, &s);
    const cut_plan one_key = {.shared_keys = 1};
    if (result == CLI_OK && k->c.shape.n_kv_heads < 2) {
        exp_note(e, "the model has one key head already: none are merged");
        return CLI_OK;
    }
    if (result == CLI_OK) result = categories_cut(e, k, &one_key, &s);
    if (result == CLI_OK) result = as_it_is(e, k, s.m, &cut);
    if (result == CLI_OK) show(e, k, 0, "(one key head for all, untaught)", &cut);
    if (result == CLI_OK) result = categories_teach(e, k, s.m, NULL, true, false, &taught, &after.seconds);
    if (result == CLI_OK) result = as_it_is(e, k, taught.m, &after);
    if (result == CLI_OK) {
        show(e, k, PITH_ARCHITECTURE, "one key head for all, taught", &after);
        exp_note(e, "One key head: its cache takes %.0f %% of the model's", 100.0 / k->c.shape.n_kv_heads);
    }
    categories_close(e, &taught);
    categories_close(e, &s);
    return result;
}

/* Fewer layers, then the same steps with the teacher and without. */
static int mend_pruned(experiment *e, categories *k) {
    made was = {.data = true, .seconds = NAN}, by[2];
    student s = {0};
    prune_request request = {.method = PRUNE_MINITRON, .keep.n_layers = PITH_MAX(k->c.shape.n_layers * 2 / 3, 1u)};
    int result = categories_prune(e, k, &request, &s);
    if (result == CLI_OK) result = as_it_is(e, k, s.m, &was);
    if (result == CLI_OK) show(e, k, 0, "(two thirds of layers, untaught)", &was);
    for (int plain = 1; plain >= 0 && result == CLI_OK; plain--) {
        student t = {0};
        by[plain] = (made){.data = true, .gradients = true};
        result = categories_teach(e, k, s.m, NULL, !plain, false, &t, &by[plain].seconds);
        if (result == CLI_OK) result = as_it_is(e, k, t.m, &by[plain]);
        if (result == CLI_OK)
            show(e, k, plain ? 0 : PITH_DISTILLATION,
                 plain ? "(two thirds of layers, text alone)" : "two thirds of layers, taught", &by[plain]);
        categories_close(e, &t);
    }
    categories_close(e, &s);
    if (result != CLI_OK) return result;
    exp_claim(e, by[0].kl < was.kl, "a pruned model taught by the whole one is nearer to it: KL %.4f, untaught %.4f",
              by[0].kl, was.kl);
    exp_claim(e, by[0].kl < by[1].kl, "nearer than after as many steps on the text alone: KL %.4f, %.4f", by[0].kl,
              by[1].kl);
    exp_claim(e, by[0].ratio < by[1].ratio, "and of lower perplexity: %.3f and %.3f times the model's", by[0].ratio,
              by[1].ratio);
    return CLI_OK;
}

/* 2 bits, learnt through the rounding. */
static int mend_rounded(experiment *e, categories *k) {
    static const char recipe[] = "blk.*.weight -> q(2, group=32)", fed[] = "blk.*.weight -> q(2, group=32) @ obs";
    made was, obs, now;
    student s = {0};
    double seconds = 0;
    if (pith_recipe_parse(e->ctx, "model", recipe, strlen(recipe), &k->code) != PITH_OK) return exp_failed(e);
    int result = by_recipe(e, k, 0, "(2 bits, rounded)", recipe, false, &was);
    if (result == CLI_OK) result = by_recipe(e, k, 0, "(2 bits, error feedback)", fed, true, &obs);
    if (result == CLI_OK) result = categories_teach(e, k, k->c.m, NULL, true, true, &s, &seconds);
    if (result == CLI_OK) result = categories_recipe(e, k, lm_file(s.m), recipe, false, &now);
    if (result == CLI_OK) {
        now.seconds += seconds;
        now.data = now.gradients = true;
        show(e, k, PITH_DISTILLATION, "2 bits, taught through rounding", &now);
        exp_claim(e, now.kl < was.kl, "2 bits taught through the rounding are nearer than rounded: KL %.3f, %.3f", now.kl,
                  was.kl);
        exp_claim(e, now.kl < obs.kl, "and nearer than by error feedback: %.3f", obs.kl);
    }
    categories_close(e, &s);
    return result;
}

static int distillation(experiment *e, categories *k) {
    int result = mend_pruned(e, k);
    return result == CLI_OK ? mend_rounded(e, k) : result;
}

/* ---- a size that is asked for ---- */

/* Part of the bytes of the layers' matrices. */
static int got_by_rank(experiment *e, categories *k, double share, double *got) {
    char text[80];
    made m;
    double whole = 0;
    const tensor_file *f = lm_file(k->c.m);
    for (size_t i = 0; i < f->n_tensors; i++)
        if (model_overlay_takes(&f->tensors[i]) && f->tensors[i].name.size > 4 &&
            memcmp(f->tensors[i].name.data, "blk.", 4) == 0)
            whole += (double)f->tensors[i].bytes;
    snprintf(text, sizeof text, "blk.*.weight -> lowrank(ratio=%.4f)", share);
    int result = categories_recipe(e, k, f, text, false, &m);
    *got = 1 - (k->base_bytes - m.bytes) / whole;
    return result;
}

/* Part of the feed-forward blocks. */
static int got_by_neurons(experiment *e, categories *k, double share, double *got) {
    student s = {0};
    prune_request request = fewer_neurons(k, share);
    request.method = PRUNE_MAGNITUDE;
    int result = categories_prune(e, k, &request, &s);
    if (result == CLI_OK) *got = 1 - (k->base_work - categories_work(s.m)) / cuts_ff_parameters(&k->c.shape);
    categories_close(e, &s);
    return result;
}

static int asked(experiment *e, categories *k) {
    static const double shares[] = {0.6, 0.3};
    static const struct {
        const char *label;
        int (*get)(experiment *e, categories *k, double share, double *got);
    } knobs[] = {{"lowrank(ratio), of layers", got_by_rank}, {"--neurons, of feed-forward blocks", got_by_neurons}};
    unsigned near = 0, n = 0;
    int result = CLI_OK;
    exp_table(e, "What is asked for and what is got, per cent (of bits: pith model allocate --bpw)",
              "knob|asked.1|got.1|asked.1|got.1");
    for (size_t i = 0; i < PITH_COUNT(knobs) && result == CLI_OK; i++) {
        double got[2] = {0, 0};
        for (int s = 0; s < 2 && result == CLI_OK; s++, n++) {
            result = knobs[i].get(e, k, shares[s], &got[s]);
            near += fabs(got[s] / shares[s] - 1) <= 0.05;
        }
        if (result == CLI_OK)
            EXP_ROW(e, knobs[i].label, 100 * shares[0], 100 * got[0], 100 * shares[1], 100 * got[1]);
    }
    if (result == CLI_OK)
        exp_claim(e, near == n, "sizes come within 5 %% of what is asked for in %u of %u", near, n);
    return result;
}

/* ---- the whole ---- */

static int sweep(experiment *e, categories *k) {
    static int (*const classes[PITH_N_CATEGORIES])(experiment *, categories *) = {
        pruning, quantisation, distillation, low_rank, sharing, architecture};
    static const unsigned order[] = {0, 1, 3, 4, 5, 2};
    int result = CLI_OK;
    char title[160];
    made whole = {.seconds = NAN};
    snprintf(title, sizeof title,
             "Six classes; students: %llu steps of %d tokens, rate %g, mix %g, temperature %g; in brackets: to compare",
             (unsigned long long)k->steps, WINDOW * BATCH, k->rate, k->mix, k->temperature);
    exp_table(e, title, "recipe|KB.0|bits.2|work %.0f|KL.4|PPL ratio.3|seconds.1|data.0|gradients.0");
    result = as_it_is(e, k, k->c.m, &whole);
    if (result == CLI_OK) show(e, k, 0, "(the model)", &whole);
    for (unsigned i = 0; i < PITH_COUNT(order) && result == CLI_OK; i++)
        if (is_asked(k, order[i])) result = classes[order[i]](e, k);
    return result;
}

static int classes_run(experiment *e, void *own) {
    categories *k = own;
    bool known = false;
    unsigned two = 0, n_asked = 0, all = 0;
    for (unsigned i = 0; i < PITH_N_CATEGORIES; i++) known |= is_asked(k, i);
    if (!known) return cli_error("categories: no class '%s'; --help lists them", k->only);
    if (!(k->rate > 0) || !(k->mix > 0 && k->mix <= 1) || !(k->temperature > 0 && k->temperature <= 100))
        return cli_error("categories: --rate is positive, --mix up to 1, --temperature up to 100");
    artefacts_register();
    int result = cuts_open(e, &k->c);
    k->lessons = (lessons){.n_ctx = WINDOW, .share = BATCH};
    if (result == CLI_OK) {
        k->base_bytes = categories_bytes(lm_file(k->c.m));
        k->base_work = categories_work(k->c.m);
        result = lessons_of_text(e, k->c.m, k->c.text.data, k->c.text.size - (size_t)k->c.judge, 1, &k->lessons);
    }
    if (result == CLI_OK) result = sweep(e, k);
    if (result == CLI_OK && !k->only) result = asked(e, k);
    for (unsigned i = 0; i < PITH_N_CATEGORIES; i++) {
        n_asked += is_asked(k, i);
        two += k->n_smaller[i] >= 2;
        all += k->n[i];
    }
    if (result == CLI_OK)
        exp_claim(e, two == n_asked,
                  "%u of %u classes have two recipes that run and take fewer bytes or less work; %u of %u recipes take no "
                  "training",
                  two, n_asked, k->n_plain, all);
    pith_recipe_free(e->ctx, k->code);
    lessons_free(e->ctx, &k->lessons);
    cuts_close(e, &k->c);
    return result;
}

int bench_categories(int argc, char **argv) {
    categories k = {.c = {.bytes = 49152, .judge = 12288, .seed = 1},
                    .steps = 32,
                    .rate = 3e-4,
                    .mix = 0.9,
                    .temperature = 1};
    const lm_option extra[] = {{"class", 0, LM_TEXT, &k.only, 0, 0},
                               {"steps", 0, LM_NUMBER, &k.steps, 1, 1u << 20},
                               {"rate", 0, LM_REAL, &k.rate, 0, 0},
                               {"mix", 0, LM_REAL, &k.mix, 0, 0},
                               {"temperature", 0, LM_REAL, &k.temperature, 0, 0},
                               {"text", 0, LM_TEXT, &k.c.text_path, 0, 0},
                               {"bytes", 0, LM_NUMBER, &k.c.bytes, 4096, 1 << 26},
                               {"judge", 0, LM_NUMBER, &k.c.judge, 2048, 1 << 26},
                               {"seed", 0, LM_NUMBER, &k.c.seed, 0, UINT64_MAX},
                               {"model", 0, LM_TEXT, &k.c.model, 0, 0}};
    return exp_main(argc, argv, categories_help, extra, PITH_COUNT(extra), 0, classes_run, &k);
}
