/* pith bench prune-tasks: pruning judged on more than one kind of text, and what the text does that it is calibrated
 * on, by Jensen-Shannon divergence (Evaluating the Impact of Compression Techniques on Task-Specific Performance of
 * Large Language Models, 2024). */
#include <string.h>
#include <unistd.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/model.h"
#include "faces/cli/bench_predict.h"

static const char prune_tasks_help[] =
    "Usage: pith bench prune-tasks [OPTIONS]\n\n"
    "Prunes the matrices of a model's layers by magnitude, by Wanda and by SparseGPT, the last two calibrated on text\n"
    "A, on text B and on both in equal parts, and says how far each is from the model itself on both kinds of text:\n"
    "divergence (KL), Jensen-Shannon divergence (JS), perplexity. Of each text the end is judged, the rest calibrates.\n\n"
    "      --a=FILE        first kind of text (default tests/data/lcet10.txt)\n"
    "      --b=FILE        second kind (default: C sources of pith)\n"
    "      --bytes=N       of each that calibrate (default 49152)\n"
    "      --judge=N       bytes at the end of each that are judged (default 16384)\n"
    "      --sparsity=X    part of the weights that becomes zero (default 0.5)\n"
    "      --model=FILE    the language model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench prune-tasks\n"
    "  pith bench prune-tasks --model=model.gguf --a=news.txt --b=code.txt --sparsity=0.6\n";

enum { A, B, MIX, KINDS };
static const char *const kind_names[KINDS] = {"A", "B", "A and B"};
static const char *const default_b[] = {"src/artefacts/file/decoder.c", "src/kernels/predict/suffix_tree.c",
                                        "src/artefacts/file/archive.c", "src/base/recipe.c",
                                        "src/artefacts/file/frame.c"};

typedef struct prune_tasks {
    const char *file[2], *model;
    uint64_t bytes, judge;
    double sparsity;
    lm_model *m;
    pith_buffer text[2];
    model_stats *stats[KINDS];
    model_overlay *overlay;
    model_ruler *ruler[2];
} prune_tasks;

/* KL, JS, perplexity over the base's, on both texts. */
typedef struct harm {
    double kl[2], js[2], ratio[2];
} harm;

static int read_texts(experiment *e, prune_tasks *p) {
    int result = exp_read(e, p->file[A], "tests/data/lcet10.txt", 0, &p->text[A]);
    if (p->file[B]) return result == CLI_OK ? exp_read(e, p->file[B], NULL, 0, &p->text[B]) : result;
    for (size_t i = 0; i < PITH_COUNT(default_b) && result == CLI_OK; i++) {
        pith_buffer one = {0};
        result = exp_read(e, NULL, default_b[i], 0, &one);
        if (result == CLI_OK && pith_buffer_append(e->ctx, &p->text[B], one.data, one.size)) result = exp_failed(e);
        pith_buffer_free(e->ctx, &one);
    }
    return result;
}

/* Statistics over `bytes` of A, of B, or of half as much of each; through a file that is gone at once. */
static int calibrate(experiment *e, prune_tasks *p, int kind) {
    model_stats_text texts[2];
    size_t n = 0, share = (size_t)(kind == MIX ? p->bytes / 2 : p->bytes);
    for (int k = A; k <= B; k++)
        if (kind == k || kind == MIX)
            texts[n++] = (model_stats_text){.name = kind_names[k], .data = p->text[k].data,
                                            .size = PITH_MIN(share, p->text[k].size - (size_t)p->judge)};
    const char *folder = getenv("TMPDIR");
    char path[4096], part[4104];
    if (snprintf(path, sizeof path, "%s/pith-stats-%ld-%d", folder && *folder ? folder : "/tmp", (long)getpid(), kind) >=
        (int)sizeof path)
        return cli_error("%s: TMPDIR is too long", e->name);
    model_stats_options o = {.n_threads = e->o.n_threads, .no_output = true, .restart = true};
    model_stats_result r;
    exp_step(e, "calibrating");
    pith_status status = model_stats_gather(e->ctx, p->m, texts, n, &o, path, &r);
    if (!status) status = model_stats_open(e->ctx, path, &p->stats[kind]);
    unlink(path);
    snprintf(part, sizeof part, "%s.part", path);
    unlink(part);
    return status ? exp_failed(e) : CLI_OK;
}

static int open_rulers(experiment *e, prune_tasks *p) {
    for (int k = A; k <= B; k++) {
        model_ruler_options o = {.n_threads = e->o.n_threads, .n_ctx = 256};
        const uint8_t *at = p->text[k].data + p->text[k].size - (size_t)p->judge;
        if (model_ruler_new(e->ctx, p->m, at, (size_t)p->judge, &o, &p->ruler[k]) != PITH_OK) return exp_failed(e);
    }
    return model_overlay_new(e->ctx, lm_file(p->m), NULL, false, &p->overlay) == PITH_OK ? CLI_OK : exp_failed(e);
}

static int judge(experiment *e, prune_tasks *p, const char *name, const char *pattern, int kind, harm *h) {
    char text[160], label[64];
    pith_recipe *recipe = NULL;
    lm_model *pruned = NULL;
    model_trial trial;
    int n = snprintf(text, sizeof text, pattern, p->sparsity);
    snprintf(label, sizeof label, kind == KINDS ? "%s" : "%s, %s", name, kind == KINDS ? "" : kind_names[kind]);
    exp_step(e, label);
    pith_status status = pith_recipe_parse(e->ctx, "model", text, (size_t)n, &recipe);
    if (!status)
        status = model_try_recipe(e->ctx, lm_file(p->m), recipe, kind == KINDS ? NULL : p->stats[kind], p->overlay, &trial);
    if (!status) status = model_overlay_open(e->ctx, p->overlay, &pruned);
    for (int k = A; k <= B && !status; k++) {
        model_score score;
        status = model_ruler_measure(e->ctx, p->ruler[k], pruned, &score);
        h->kl[k] = score.c.kl.mean, h->js[k] = score.c.js.mean, h->ratio[k] = score.c.ratio;
    }
    lm_close(e->ctx, pruned);
    pith_recipe_free(e->ctx, recipe);
    if (status) return exp_failed(e);
    EXP_ROW(e, label, h->kl[A], h->kl[B], h->js[A], h->js[B], h->ratio[A], h->ratio[B],
            8 * (double)trial.bytes / (double)trial.weights);
    return CLI_OK;
}

static void claims(experiment *e, const harm by[2][KINDS]) {
    static const char *const names[] = {"Wanda", "SparseGPT"};
    for (int m = 0; m < 2; m++) {
        const harm *h = by[m];
        /* what the right text saves beside the wrong one, on each */
        double a = 1 - h[A].js[A] / h[B].js[A], b = 1 - h[B].js[B] / h[A].js[B];
        exp_claim(e, a >= 0.03 && b >= 0.03,
                  "%s: calibrated on the kind it is judged on, JS is at least 3 %% lower than on the other kind: "
                  "A %.1f %%, B %.1f %%",
                  names[m], 100 * a, 100 * b);
    }
    exp_claim(e, by[1][MIX].js[A] < by[0][MIX].js[A] && by[1][MIX].js[B] < by[0][MIX].js[B],
              "SparseGPT nearer than Wanda: JS %.4f, %.4f", by[1][MIX].js[A], by[1][MIX].js[B]);
}

static int prune_tasks_run(experiment *e, void *own) {
    prune_tasks *p = own;
    char title[128];
    harm magnitude, by[2][KINDS];
    if (!(p->sparsity > 0 && p->sparsity < 1)) return cli_error("prune-tasks: --sparsity is between 0 and 1");
    artefacts_register();
    int result = lm_open_named(e->ctx, lm_model_path(p->model ? p->model : "default"), &p->m);
    if (result == CLI_OK) result = read_texts(e, p);
    for (int k = A; k <= B && result == CLI_OK; k++)
        if (p->text[k].size < 2 * p->judge)
            result = cli_error("prune-tasks: text %s has %zu bytes; it takes twice --judge", kind_names[k], p->text[k].size);
    if (result == CLI_OK) result = open_rulers(e, p);
    for (int k = A; k < KINDS && result == CLI_OK; k++) result = calibrate(e, p, k);
    if (result == CLI_OK) {
        snprintf(title, sizeof title, "%.0f %% of the layers' weights made zero; judged on A and on B",
                 100 * p->sparsity);
        exp_table(e, title, "pruned by, calibrated on|KL A.4|KL B.4|JS A.4|JS B.4|PPL ratio A.3|PPL ratio B.3|bits.2");
        result = judge(e, p, "magnitude", "blk.*.weight -> prune(sparsity=%.6f, score=magnitude, per=matrix)", KINDS,
                       &magnitude);
    }
    for (int k = A; k < KINDS && result == CLI_OK; k++)
        result = judge(e, p, "Wanda", "blk.*.weight -> prune(sparsity=%.6f, score=wanda, per=row)", k, &by[0][k]);
    for (int k = A; k < KINDS && result == CLI_OK; k++) {
        double sparsity = p->sparsity;
        p->sparsity = 1 - sparsity; /* sparse says what it keeps */
        result = judge(e, p, "SparseGPT", "blk.*.weight -> sparse(keep=%.6f) @ obs", k, &by[1][k]);
        p->sparsity = sparsity;
    }
    if (result == CLI_OK) claims(e, by);
    for (int k = A; k < KINDS; k++) model_stats_close(e->ctx, p->stats[k]);
    for (int k = A; k <= B; k++) {
        model_ruler_free(e->ctx, p->ruler[k]);
        pith_buffer_free(e->ctx, &p->text[k]);
    }
    model_overlay_free(e->ctx, p->overlay);
    lm_close(e->ctx, p->m);
    return result;
}

int bench_prune_tasks(int argc, char **argv) {
    prune_tasks p = {.bytes = 49152, .judge = 16384, .sparsity = 0.5};
    const lm_option extra[] = {{"a", 0, LM_TEXT, &p.file[A], 0, 0},
                               {"b", 0, LM_TEXT, &p.file[B], 0, 0},
                               {"bytes", 0, LM_NUMBER, &p.bytes, 4096, 1 << 26},
                               {"judge", 0, LM_NUMBER, &p.judge, 2048, 1 << 26},
                               {"sparsity", 0, LM_REAL, &p.sparsity, 0, 0},
                               {"model", 0, LM_TEXT, &p.model, 0, 0}};
    return exp_main(argc, argv, prune_tasks_help, extra, PITH_COUNT(extra), 0, prune_tasks_run, &p);
}
