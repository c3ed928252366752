/* Scores of hidden neurons in the space of the outputs. */
#include "artefacts/model/curvature_neurons.h"

#include <math.h>
#include <stdio.h>

#include "math/dense/dense.h"

const char *const heapr_rule_names[N_HEAPR_RULES] = {"sums", "means", "wanda", "magnitude", "frequency"};

enum { DOWN, GATE, UP };

/* The matrix of a group in the net: rows and columns of one expert. */
static float *matrix(train_net *net, uint32_t layer, int expert, int which, size_t n_experts, size_t *rows,
                     size_t *cols) {
    static const char *const names[][2] = {{"ffn_down.weight", "ffn_down_exps.weight"},
                                           {"ffn_gate.weight", "ffn_gate_exps.weight"},
                                           {"ffn_up.weight", "ffn_up_exps.weight"}};
    char name[72];
    snprintf(name, sizeof name, "blk.%u.%s", (unsigned)layer, names[which][expert >= 0]);
    float *w = train_net_tensor(net, name, rows, cols);
    if (!w || expert < 0) return w;
    *rows /= n_experts;
    return w + (size_t)expert * *rows * *cols;
}

/* Experts of a layer: 0 for a dense block, SIZE_MAX when there is no such layer. */
static size_t experts_of(train_net *net, uint32_t layer) {
    char name[72];
    size_t rows = 0;
    snprintf(name, sizeof name, "blk.%u.ffn_gate_inp.weight", (unsigned)layer);
    if (train_net_tensor(net, name, &rows, NULL)) return rows;
    snprintf(name, sizeof name, "blk.%u.ffn_down.weight", (unsigned)layer);
    return train_net_tensor(net, name, NULL, NULL) ? 0 : SIZE_MAX;
}

pith_status heapr_list_new(pith_ctx *ctx, train_net *net, heapr_list **out) {
    size_t n_groups = 0, n_experts;
    *out = NULL;
    for (uint32_t l = 0; (n_experts = experts_of(net, l)) != SIZE_MAX; l++) n_groups += PITH_MAX(n_experts, (size_t)1);
    if (n_groups == 0) return pith_fail(ctx, PITH_E_UNSUPPORTED, "the net has no gated feed-forward blocks");
    heapr_list *list = pith_zalloc(ctx, sizeof *list);
    if (list) list->at = pith_zalloc(ctx, n_groups * sizeof *list->at);
    if (!list || !list->at) {
        heapr_list_free(ctx, list);
        return pith_alloc_status(ctx);
    }
    for (uint32_t l = 0; (n_experts = experts_of(net, l)) != SIZE_MAX; l++)
        for (size_t e = 0; e < PITH_MAX(n_experts, (size_t)1); e++) {
            heapr_group *g = &list->at[list->n_groups++];
            *g = (heapr_group){.layer = l, .expert = n_experts ? (int)e : -1, .first = list->n};
            if (!matrix(net, l, g->expert, DOWN, PITH_MAX(n_experts, (size_t)1), &list->n_embd, &g->n)) {
                heapr_list_free(ctx, list);
                return pith_fail(ctx, PITH_E_UNSUPPORTED, "layer %u has no down projection", (unsigned)l);
            }
            list->n += g->n;
        }
    *out = list;
    return PITH_OK;
}

void heapr_list_free(pith_ctx *ctx, heapr_list *l) {
    if (!l) return;
    pith_free(ctx, l->at);
    pith_free(ctx, l);
}

static bool is_down(const char *name) {
    return strncmp(name, "blk.", 4) == 0 && (strstr(name, ".ffn_down.weight") || strstr(name, ".ffn_down_exps.weight"));
}

pith_status heapr_curvature(pith_ctx *ctx, train_net *net, const uint32_t *tokens, size_t n_windows, size_t n_ctx,
                            curvature **out) {
    const curvature_options o = {.grams = CURVATURE_OUTPUTS, .wanted = is_down};
    return curvature_new(ctx, net, tokens, n_windows, n_ctx, &o, out);
}

/* ---- scores ------------------------------------------------------------------------------------------- */

/* scores[n] = w_k^T M w_k of the columns of down[n_embd][n]. */
static pith_status in_output_space(pith_ctx *ctx, const float *down, size_t n_embd, size_t n, const float *packed,
                                   double *scores) {
    float *m = pith_alloc(ctx, n_embd * n_embd * sizeof *m), *mw = pith_alloc(ctx, n_embd * n * sizeof *mw);
    pith_status status = m && mw ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        dense_unpack(packed, n_embd, m);
        dense_gemm(false, false, n_embd, n, n_embd, 1, m, n_embd, down, n, 0, mw, n);
        for (size_t i = 0; i < n_embd; i++)
            for (size_t k = 0; k < n; k++) scores[k] += (double)down[i * n + k] * mw[i * n + k];
    }
    pith_free(ctx, m);
    pith_free(ctx, mw);
    return status;
}

static void column_squares(const float *w, size_t rows, size_t n, double *sums) {
    for (size_t i = 0; i < rows; i++)
        for (size_t k = 0; k < n; k++) sums[k] += (double)w[i * n + k] * w[i * n + k];
}

static pith_status score_group(pith_ctx *ctx, train_net *net, const heapr_list *l, const heapr_group *g,
                               const curvature *c, heapr_rule rule, double *scores) {
    char name[72];
    size_t n_experts = PITH_MAX(experts_of(net, g->layer), (size_t)1), rows, cols;
    const float *down = matrix(net, g->layer, g->expert, DOWN, n_experts, &rows, &cols);
    snprintf(name, sizeof name, "blk.%u.ffn_down%s.weight", (unsigned)g->layer, g->expert >= 0 ? "_exps" : "");
    const curvature_matrix *m = c ? curvature_find(c, name, g->expert) : NULL;
    pith_status status = PITH_OK;
    memset(scores, 0, g->n * sizeof *scores);
    if (rule == HEAPR_MAGNITUDE) {
        column_squares(down, l->n_embd, g->n, scores);
        for (int which = GATE; which <= UP; which++) {
            const float *w = matrix(net, g->layer, g->expert, which, n_experts, &rows, &cols);
            for (size_t k = 0; w && k < g->n; k++)
                for (size_t j = 0; j < cols; j++) scores[k] += (double)w[k * cols + j] * w[k * cols + j];
        }
        return PITH_OK;
    }
    if (!m) {
        for (size_t k = 0; k < g->n; k++) scores[k] = -1;
        return PITH_OK;
    }
    if (m->n_in != g->n || m->n_out != l->n_embd || (!m->g && rule <= HEAPR_MEANS))
        return pith_fail(ctx, PITH_E_ARGUMENT, "the curvature of %s is another's", name);
    double share = (double)m->n_tokens / (double)c->n_tokens;
    switch (rule) {
    case HEAPR_SUMS:
    case HEAPR_MEANS: status = in_output_space(ctx, down, l->n_embd, g->n, m->g, scores); break;
    case HEAPR_WANDA: column_squares(down, l->n_embd, g->n, scores); break;
    default:
        for (size_t k = 0; k < g->n; k++) scores[k] = share;
        return PITH_OK;
    }
    for (size_t k = 0; k < g->n; k++) scores[k] *= 0.5 * (double)m->h[k] * (rule == HEAPR_SUMS ? share : 1);
    return status;
}

pith_status heapr_scores(pith_ctx *ctx, train_net *net, const heapr_list *l, const curvature *c, heapr_rule rule,
                         double *scores) {
    pith_status status = PITH_OK;
    if (!c && rule != HEAPR_MAGNITUDE) return pith_fail(ctx, PITH_E_ARGUMENT, "scores by a text need its curvature");
    for (size_t i = 0; i < l->n_groups && !status; i++)
        status = score_group(ctx, net, l, &l->at[i], c, rule, scores + l->at[i].first);
    return status;
}

/* ---- removal ------------------------------------------------------------------------------------------ */

typedef struct ranked {
    double score;
    size_t index;
} ranked;

static int lowest_first(const void *x, const void *y) {
    const ranked *a = x, *b = y;
    if (a->score != b->score) return a->score < b->score ? -1 : 1;
    return (a->index < b->index) - (a->index > b->index);
}

pith_status heapr_choose(pith_ctx *ctx, const heapr_list *l, const double *scores, size_t n_gone, uint8_t *gone) {
    if (n_gone > l->n) return pith_fail(ctx, PITH_E_ARGUMENT, "%zu of %zu neurons", n_gone, l->n);
    ranked *all = pith_alloc(ctx, l->n * sizeof *all);
    bool good = true;
    if (!all) return pith_alloc_status(ctx);
    for (size_t i = 0; i < l->n; i++) {
        all[i] = (ranked){scores[i], i};
        good = good && !isnan(scores[i]);
    }
    memset(gone, 0, l->n);
    if (good) qsort(all, l->n, sizeof *all, lowest_first);
    for (size_t i = 0; i < n_gone && good; i++) gone[all[i].index] = 1;
    pith_free(ctx, all);
    return good ? PITH_OK : pith_fail(ctx, PITH_E_ARGUMENT, "selection: a score that is no number");
}

pith_status heapr_choose_each(pith_ctx *ctx, const heapr_list *l, const double *scores, size_t n_gone, uint8_t *gone) {
    pith_status status = PITH_OK;
    for (size_t i = 0; i < l->n_groups && !status; i++) {
        const heapr_group *g = &l->at[i];
        const heapr_list one = {.n_groups = 1, .n = g->n};
        status = heapr_choose(ctx, &one, scores + g->first, n_gone, gone + g->first);
    }
    return status;
}

void heapr_remove(train_net *net, const heapr_list *l, const uint8_t *gone) {
    for (size_t i = 0; i < l->n_groups; i++) {
        const heapr_group *g = &l->at[i];
        size_t n_experts = PITH_MAX(experts_of(net, g->layer), (size_t)1), rows, cols;
        for (int which = DOWN; which <= UP; which++) {
            float *w = matrix(net, g->layer, g->expert, which, n_experts, &rows, &cols);
            for (size_t r = 0; w && r < rows; r++)
                for (size_t c = 0; c < cols; c++)
                    if (gone[g->first + (which == DOWN ? c : r)]) w[r * cols + c] = 0;
        }
    }
}

void heapr_find_idle(train_net *net, const heapr_list *l, uint8_t *gone) {
    for (size_t i = 0; i < l->n_groups; i++) {
        const heapr_group *g = &l->at[i];
        size_t n_experts = PITH_MAX(experts_of(net, g->layer), (size_t)1), rows, cols;
        memset(gone + g->first, 0, g->n);
        for (int which = DOWN; which <= UP; which++) {
            const float *w = matrix(net, g->layer, g->expert, which, n_experts, &rows, &cols);
            for (size_t k = 0; w && k < g->n; k++) {
                bool idle = true;
                if (which == DOWN)
                    for (size_t r = 0; r < rows && idle; r++) idle = w[r * cols + k] == 0;
                else
                    for (size_t c = 0; c < cols && idle; c++) idle = w[k * cols + c] == 0;
                gone[g->first + k] |= idle;
            }
        }
    }
}
