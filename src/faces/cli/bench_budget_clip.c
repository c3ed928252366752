/* pith bench pd-quant: the range of a quantiser chosen by its weights' error, by its outputs' error, or by what the
 * whole network answers (PD-Quant: Post-Training Quantization Based on Prediction Difference Metric, CVPR 2023). The
 * paper's correction of activations towards batch-norm statistics has no counterpart: RMS norms keep no running ones. */
#include <math.h>

#include "faces/cli/bench_budget.h"

static const char pd_quant_help[] =
    "Usage: pith bench pd-quant [OPTIONS]\n\n"
    "Rounds every matrix of a model's layers to few bits in groups of 32 whose range is cut to a part of what it is:\n"
    "one part for each matrix, out of 20, chosen by the error of the weights, by the error of the outputs on the\n"
    "calibration text, or by the divergence of the whole network's answers there with the matrices before it rounded\n"
    "and those behind it as they are. Then judges each on another text.\n\n"
    "      --bits=LIST     such as 2,3 (default 2)\n"
    "      --search=N      chunks that the divergence is searched on (default 1)\n" BUDGET_BENCH_HELP "\nExample:\n"
    "  pith bench pd-quant --bits=2,3 --search=4\n";

#define GRID 20
#define GROUP 32

typedef struct pd_quant {
    budget_bench b;
    const char *bits;
    uint64_t search;
} pd_quant;

enum { NONE, BY_WEIGHTS, BY_OUTPUTS, BY_KL, BY_RULES };
static const char *const rule_names[BY_RULES] = {"not cut", "weights' error", "outputs' error", "KL of the answers"};

/* One matrix, rounded at every part of the range. */
typedef struct clipped {
    size_t tensor, n;
    float *w, *restored[GRID]; /* restored[GRID - 1]: the whole range */
    repr_error error[GRID];
} clipped;

typedef struct clip_job {
    pith_ctx *ctx;
    const budget_bench *b;
    const repr_chain *chain;
    const repr_stats *stats;
    clipped *m;
} clip_job;

static double part_of(size_t i) { return 0.525 + 0.025 * (double)i; } /* to 1 */

static pith_status round_one(void *arg, size_t i) {
    const clip_job *j = arg;
    const tensor_view *t = &j->b->base->tensors[j->m->tensor];
    repr_matrix w = {j->m->w, (size_t)t->ne[1], (size_t)t->ne[0]}, cut = w;
    pith_buffer code = {0};
    cut.data = pith_alloc(j->ctx, j->m->n * sizeof *cut.data);
    if (!cut.data) return pith_alloc_status(j->ctx);
    for (size_t r = 0; r < w.rows; r++)
        for (size_t c = 0; c < w.cols; c += GROUP) {
            const float *from = w.data + r * w.cols + c;
            float *to = cut.data + r * w.cols + c, low = from[0], high = from[0];
            size_t n = PITH_MIN((size_t)GROUP, w.cols - c);
            for (size_t k = 1; k < n; k++) low = fminf(low, from[k]), high = fmaxf(high, from[k]);
            for (size_t k = 0; k < n; k++) to[k] = fminf(fmaxf(from[k], low * (float)part_of(i)), high * (float)part_of(i));
        }
    pith_status status = repr_encode(j->ctx, j->chain, &cut, NULL, &code, j->m->restored[i]);
    if (!status) status = repr_measure(j->ctx, &w, j->m->restored[i], j->stats, &j->m->error[i]);
    pith_buffer_free(j->ctx, &code);
    pith_free(j->ctx, cut.data);
    return status;
}

static size_t least(const clipped *m, bool outputs) {
    size_t best = GRID - 1;
    for (size_t i = 0; i < GRID; i++) {
        double a = outputs ? m->error[i].outputs : m->error[i].weights;
        if (a < (outputs ? m->error[best].outputs : m->error[best].weights)) best = i;
    }
    return best;
}

static pith_status clipped_new(experiment *e, const budget_bench *b, size_t tensor, clipped *m) {
    const tensor_view *t = &b->base->tensors[tensor];
    *m = (clipped){.tensor = tensor, .n = (size_t)t->n_elements};
    m->w = pith_alloc(e->ctx, m->n * sizeof *m->w);
    if (!m->w) return pith_alloc_status(e->ctx);
    blocks_decode(t->type, t->data, m->w, m->n);
    for (size_t i = 0; i < GRID; i++)
        if (!(m->restored[i] = pith_alloc(e->ctx, m->n * sizeof(float)))) return pith_alloc_status(e->ctx);
    return PITH_OK;
}

static void clipped_free(experiment *e, clipped *m) {
    for (size_t i = 0; i < GRID; i++) pith_free(e->ctx, m->restored[i]);
    pith_free(e->ctx, m->w);
}

/* The overlay holds those before m rounded as they were chosen by KL; leaves m so too. */
static pith_status by_answers(experiment *e, pd_quant *p, const clipped *m, size_t *best) {
    double least_kl = INFINITY;
    pith_status status = PITH_OK;
    for (size_t i = GRID; i-- > 0 && !status;) {
        lm_model *changed;
        double kl = 0;
        status = model_overlay_put(e->ctx, p->b.overlay, m->tensor, 0, m->restored[i], m->n);
        if (!status) status = model_overlay_open(e->ctx, p->b.overlay, &changed);
        if (status) break;
        status = model_ruler_kl(e->ctx, p->b.search, changed, (size_t)p->search, &kl);
        lm_close(e->ctx, changed);
        if (kl >= least_kl) continue;
        least_kl = kl;
        *best = i;
    }
    return status ? status : model_overlay_put(e->ctx, p->b.overlay, m->tensor, 0, m->restored[*best], m->n);
}

static bool in_layers(const budget_bench *b, size_t i) {
    const tensor_view *t = &b->base->tensors[i];
    return model_overlay_takes(t) && t->n_dims == 2 && t->name.size > 4 && memcmp(t->name.data, "blk.", 4) == 0;
}

static pith_status stats_of(experiment *e, const budget_bench *b, size_t tensor, repr_stats *out) {
    const tensor_view *t = &b->base->tensors[tensor];
    char name[96];
    snprintf(name, sizeof name, "%.*s", (int)PITH_MIN(t->name.size, sizeof name - 1), t->name.data);
    return model_stats_find(e->ctx, b->stats, name, 0, (size_t)t->ne[0], out);
}

/* All matrices in the order of the file; choice[rule][matrix]. */
static pith_status choose_all(experiment *e, pd_quant *p, const repr_chain *chain, clipped *all, size_t n,
                              size_t *const *choice) {
    pith_status status = PITH_OK;
    for (size_t i = 0, at = 0; i < p->b.base->n_tensors && at < n && !status; i++) {
        repr_stats stats;
        char what[64];
        if (!in_layers(&p->b, i)) continue;
        snprintf(what, sizeof what, "matrix %zu of %zu", at + 1, n);
        exp_step(e, what);
        clipped *m = &all[at];
        clip_job job = {e->ctx, &p->b, chain, &stats, m};
        status = clipped_new(e, &p->b, i, m);
        if (!status) status = stats_of(e, &p->b, i, &stats);
        if (!status) status = pith_parallel(e->ctx, GRID, round_one, &job);
        choice[NONE][at] = GRID - 1;
        choice[BY_WEIGHTS][at] = least(m, false);
        choice[BY_OUTPUTS][at] = least(m, true);
        if (!status) status = by_answers(e, p, m, &choice[BY_KL][at]);
        at++;
    }
    return status;
}

static int judge(experiment *e, pd_quant *p, const clipped *all, size_t n, const size_t *choice, const char *name, double *kl) {
    double error = 0, outputs = 0, part = 0, searched;
    for (size_t i = 0; i < n; i++) {
        const clipped *m = &all[i];
        if (model_overlay_put(e->ctx, p->b.overlay, m->tensor, 0, m->restored[choice[i]], m->n) != PITH_OK)
            return exp_failed(e);
        error += m->error[choice[i]].weights / (double)n;
        outputs += m->error[choice[i]].outputs / (double)n;
        part += part_of(choice[i]) / (double)n;
    }
    int result = budget_bench_kl(e, &p->b, p->b.search, &searched);
    if (result == CLI_OK) result = budget_bench_kl(e, &p->b, p->b.judge, kl);
    if (result == CLI_OK) EXP_ROW(e, name, part, error, outputs, searched, *kl);
    return result;
}

static int at_bits(experiment *e, pd_quant *p, unsigned bits) {
    char recipe[64], title[100];
    size_t n = 0, *choice[BY_RULES] = {NULL};
    double kl[BY_RULES];
    pith_recipe *r = NULL;
    repr_chain *chain = NULL;
    for (size_t i = 0; i < p->b.base->n_tensors; i++) n += in_layers(&p->b, i);
    if (!n) return cli_error("pd-quant: the model has no layers of matrices");
    snprintf(recipe, sizeof recipe, "q(%u, group=%d)", bits, GROUP);
    clipped *all = pith_zalloc(e->ctx, n * sizeof *all);
    pith_status status = all ? PITH_OK : pith_alloc_status(e->ctx);
    for (int k = 0; k < BY_RULES && !status; k++)
        if (!(choice[k] = pith_zalloc(e->ctx, n * sizeof *choice[k]))) status = pith_alloc_status(e->ctx);
    if (!status) status = pith_recipe_parse(e->ctx, "model", recipe, strlen(recipe), &r);
    if (!status) status = repr_chain_new(e->ctx, r->rules, &chain);
    if (!status) status = choose_all(e, p, chain, all, n, choice);
    int result = status ? exp_failed(e) : CLI_OK;
    if (result == CLI_OK) {
        snprintf(title, sizeof title, "%s, range cut by", recipe);
        exp_table(e, title, "chosen by|part of range.3|weights' error.4|outputs' error.4|KL search.4|KL held out.4");
    }
    for (int k = 0; k < BY_RULES && result == CLI_OK; k++) result = judge(e, p, all, n, choice[k], rule_names[k], &kl[k]);
    if (result == CLI_OK)
        exp_claim(e, kl[BY_KL] < kl[BY_WEIGHTS] && kl[BY_KL] < kl[BY_OUTPUTS],
                  "%u bits: ranges by the answers diverge least: %.4f; by outputs %.4f, by weights %.4f, uncut %.4f", bits,
                  kl[BY_KL], kl[BY_OUTPUTS], kl[BY_WEIGHTS], kl[NONE]);
    if (result == CLI_OK) result = budget_bench_reset(e, &p->b);
    for (size_t i = 0; all && i < n; i++) clipped_free(e, &all[i]);
    for (int k = 0; k < BY_RULES; k++) pith_free(e->ctx, choice[k]);
    pith_free(e->ctx, all);
    repr_chain_free(e->ctx, chain);
    pith_recipe_free(e->ctx, r);
    return result;
}

static int pd_quant_run(experiment *e, void *own) {
    pd_quant *p = own;
    int result = budget_bench_open(e, &p->b, true);
    for (const char *at = p->bits; *at && result == CLI_OK; at += strcspn(at, ","), at += *at == ',') {
        if (*at < '1' || *at > '8' || strcspn(at, ",") != 1) {
            result = cli_error("pd-quant: --bits is a list of 1 to 8, not '%s'", p->bits);
            break;
        }
        result = at_bits(e, p, (unsigned)(*at - '0'));
    }
    budget_bench_close(e, &p->b);
    return result;
}

int bench_pd_quant(int argc, char **argv) {
    pd_quant p = {.b = {BUDGET_BENCH_DEFAULTS}, .bits = "2", .search = 1};
    const lm_option extra[] = {BUDGET_BENCH_OPTIONS(p.b),
                               {"bits", 0, LM_TEXT, &p.bits, 0, 0},
                               {"search", 0, LM_NUMBER, &p.search, 1, 1 << 20}};
    return exp_main(argc, argv, pd_quant_help, extra, PITH_COUNT(extra), 0, pd_quant_run, &p);
}
