/* Codes for the layers of a model that was taught, and the questions put to what they leave. */
#include <string.h>
#include <unistd.h>

#include "artefacts/artefacts.h"
#include "faces/cli/bench_taught.h"

/* Through a file that is gone at once. */
static int calibrate(experiment *e, const lm_model *m, const void *text, size_t size, model_stats **out) {
    const char *folder = getenv("TMPDIR");
    char path[4096], part[4104];
    if (snprintf(path, sizeof path, "%s/pith-taught-%ld", folder && *folder ? folder : "/tmp", (long)getpid()) >=
        (int)sizeof path)
        return cli_error("%s: TMPDIR is too long", e->name);
    model_stats_text t = {.name = "taught", .data = text, .size = size};
    model_stats_options o = {.n_ctx = PITH_MIN(256u, lm_about(m)->n_ctx_train),
                             .n_threads = e->o.n_threads,
                             .no_output = true,
                             .restart = true};
    model_stats_result r;
    exp_step(e, "calibrating");
    pith_status status = model_stats_gather(e->ctx, m, &t, 1, &o, path, &r);
    if (!status) status = model_stats_open(e->ctx, path, out);
    unlink(path);
    snprintf(part, sizeof part, "%s.part", path);
    unlink(part);
    return status ? exp_failed(e) : CLI_OK;
}

int taught_bed_open(experiment *e, const lm_model *base, const void *text, size_t size, taught_bed *b) {
    *b = (taught_bed){.e = e, .base = base};
    int result = calibrate(e, base, text, size, &b->stats);
    if (result == CLI_OK && model_overlay_new(e->ctx, lm_file(base), NULL, false, &b->overlay) != PITH_OK)
        result = exp_failed(e);
    return result;
}

void taught_bed_close(taught_bed *b) {
    if (!b->e) return;
    model_overlay_free(b->e->ctx, b->overlay);
    model_stats_close(b->e->ctx, b->stats);
    *b = (taught_bed){0};
}

int taught_bed_try(taught_bed *b, const taught_code *code, lm_model **coded, double *bits) {
    experiment *e = b->e;
    const tensor_file *f = lm_file(b->base);
    model_trial trial;
    pith_status status = PITH_OK;
    *coded = NULL;
    *bits = 32;
    exp_step(e, code->name);
    if (!code->recipe) {
        for (size_t i = 0; i < f->n_tensors && !status; i++)
            if (model_overlay_takes(&f->tensors[i])) status = model_overlay_reset(e->ctx, b->overlay, i);
    } else {
        char text[200];
        pith_recipe *recipe = NULL;
        int n = snprintf(text, sizeof text, "blk.*.weight -> %s", code->recipe);
        status = pith_recipe_parse(e->ctx, "model", text, (size_t)n, &recipe);
        if (!status) status = model_try_recipe(e->ctx, f, recipe, code->informed ? b->stats : NULL, b->overlay, &trial);
        pith_recipe_free(e->ctx, recipe);
        if (!status) *bits = 8 * (double)trial.bytes / (double)trial.weights;
    }
    if (!status) status = model_overlay_open(e->ctx, b->overlay, coded);
    return status ? exp_failed(e) : CLI_OK;
}

int taught_ask(experiment *e, const lm_model *m, const ruler_items *items, uint32_t *chosen, size_t *right) {
    ruler_choice_options o = {.n_threads = e->o.n_threads};
    if (ruler_choose(e->ctx, m, items, &o, chosen, NULL) != PITH_OK) return exp_failed(e);
    *right = 0;
    for (size_t i = 0; i < items->n; i++) *right += chosen[i] == items->at[i].answer;
    return CLI_OK;
}
