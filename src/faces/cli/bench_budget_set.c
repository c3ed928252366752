/* Opening what the experiments on budgets work with. */
#include <unistd.h>

#include "artefacts/artefacts.h"
#include "faces/cli/bench_budget.h"

/* Through a file that is gone at once. */
static int gather(experiment *e, budget_bench *b, size_t bytes) {
    const char *folder = getenv("TMPDIR");
    char path[4096], part[4104];
    if (snprintf(path, sizeof path, "%s/pith-stats-%ld", folder && *folder ? folder : "/tmp", (long)getpid()) >=
        (int)sizeof path)
        return cli_error("%s: TMPDIR is too long", e->name);
    model_stats_text text = {.name = "calibration", .data = b->calibration_text.data, .size = bytes};
    model_stats_options o = {.n_threads = e->o.n_threads, .restart = true};
    model_stats_result r;
    exp_step(e, "calibrating");
    pith_status status = model_stats_gather(e->ctx, b->m, &text, 1, &o, path, &r);
    if (!status) status = model_stats_open(e->ctx, path, &b->stats);
    unlink(path);
    snprintf(part, sizeof part, "%s.part", path);
    unlink(part);
    return status ? exp_failed(e) : CLI_OK;
}

static pith_status open_rulers(experiment *e, budget_bench *b, size_t skip, bool search) {
    lm_model *m;
    model_ruler_options o = {.n_ctx = e->o.n_ctx ? e->o.n_ctx : 256, .n_chunks = (size_t)b->chunks, .n_threads = e->o.n_threads};
    pith_status status = model_overlay_open(e->ctx, b->overlay, &m);
    if (status) return status;
    exp_step(e, "the model as it is");
    status = model_ruler_new(e->ctx, m, b->judge_text.data, b->judge_text.size, &o, &b->judge);
    if (!status && search)
        status = model_ruler_new(e->ctx, m, b->calibration_text.data + skip, b->calibration_text.size - skip, &o, &b->search);
    if (!status && (!model_ruler_forget_base(b->judge) || (search && !model_ruler_forget_base(b->search))))
        status = pith_fail(e->ctx, PITH_E_LIMIT, "the model's answers do not fit the memory limit: less text, or -M");
    lm_close(e->ctx, m);
    return status;
}

static pith_status open_overlay(experiment *e, budget_bench *b) {
    bool *replace = pith_alloc(e->ctx, b->base->n_tensors * sizeof *replace);
    if (!replace) return pith_alloc_status(e->ctx);
    for (size_t i = 0; i < b->base->n_tensors; i++) replace[i] = model_overlay_takes(&b->base->tensors[i]);
    pith_status status = model_overlay_new(e->ctx, b->base, replace, false, &b->overlay);
    pith_free(e->ctx, replace);
    return status;
}

int budget_bench_open(experiment *e, budget_bench *b, bool search) {
    artefacts_register();
    int result = lm_open_named(e->ctx, lm_model_path(b->model ? b->model : "default"), &b->m);
    if (result == CLI_OK) result = exp_read(e, b->calibration, "tests/data/lcet10.txt", 0, &b->calibration_text);
    if (result == CLI_OK) result = exp_read(e, b->text, "tests/data/alice29.txt", 0, &b->judge_text);
    if (result != CLI_OK) return result;
    b->base = lm_file(b->m);
    size_t bytes = PITH_MIN((size_t)b->bytes, b->calibration_text.size);
    result = gather(e, b, bytes);
    if (result != CLI_OK) return result;
    if (model_stats_saw(b->stats, b->judge_text.data, b->judge_text.size))
        return cli_error("%s: calibrated on the very text to judge by; name another one", e->name);
    if (open_overlay(e, b) != PITH_OK || open_rulers(e, b, bytes, search) != PITH_OK) return exp_failed(e);
    exp_note(e, "%s; calibrated on %zu bytes of %s%s, judged on %zu positions of %s; perplexity %.2f",
             b->model ? b->model : "pith-mini", bytes, b->calibration ? b->calibration : "lcet10.txt",
             search ? ", searches on what follows" : "", model_ruler_tokens(b->judge), b->text ? b->text : "alice29.txt",
             model_ruler_perplexity(b->judge));
    return CLI_OK;
}

void budget_bench_close(experiment *e, budget_bench *b) {
    model_stats_close(e->ctx, b->stats);
    model_ruler_free(e->ctx, b->search);
    model_ruler_free(e->ctx, b->judge);
    model_overlay_free(e->ctx, b->overlay);
    pith_buffer_free(e->ctx, &b->calibration_text);
    pith_buffer_free(e->ctx, &b->judge_text);
    lm_close(e->ctx, b->m);
}

int budget_bench_kl(experiment *e, budget_bench *b, const model_ruler *r, double *kl) {
    lm_model *m;
    pith_status status = model_overlay_open(e->ctx, b->overlay, &m);
    if (!status) {
        status = model_ruler_kl(e->ctx, r, m, 0, kl);
        lm_close(e->ctx, m);
    }
    return status ? exp_failed(e) : CLI_OK;
}

int budget_bench_recipe(experiment *e, budget_bench *b, const char *recipe, double *kl, model_trial *trial) {
    pith_recipe *r;
    model_trial t;
    exp_step(e, recipe);
    pith_status status = pith_recipe_parse(e->ctx, "model", recipe, strlen(recipe), &r);
    if (status) return exp_failed(e);
    status = model_try_recipe(e->ctx, b->base, r, b->stats, b->overlay, trial ? trial : &t);
    pith_recipe_free(e->ctx, r);
    return status ? exp_failed(e) : budget_bench_kl(e, b, b->judge, kl);
}

int budget_bench_reset(experiment *e, budget_bench *b) {
    for (size_t i = 0; i < b->base->n_tensors; i++)
        if (model_overlay_takes(&b->base->tensors[i]) && model_overlay_reset(e->ctx, b->overlay, i) != PITH_OK)
            return exp_failed(e);
    return CLI_OK;
}

size_t budget_bench_tensor(const budget_bench *b, unsigned layer, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "blk.%u.%s.weight", layer, name);
    const tensor_view *t = tensor_find(b->base, full);
    return t ? (size_t)(t - b->base->tensors) : SIZE_MAX;
}
