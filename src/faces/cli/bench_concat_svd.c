/* pith bench concat-svd: matrices of a model that share a dimension, coded with a basis each, one basis for all, or one
 * for each cluster that a greedy merge finds; and how good the bounds and the estimator are by which a joint error is
 * known without a joint decomposition (S337). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "faces/cli/bench_cuts.h"
#include "kernels/allocate/allocate.h"
#include "math/dense/dense.h"

static const char concat_help[] =
    "Usage: pith bench concat-svd [OPTIONS]\n\n"
    "Takes the matrices of a model's layers, all turned so that their rows are the width of the stream, and counts\n"
    "the bytes of low-rank codes within an error: a basis for each, one for all, one for each cluster. Beside that,\n"
    "over pairs of matrices, how far above the true joint error two bounds lie, and how near a growing decomposition\n"
    "is.\n\n"
    "      --tolerance=X   relative Frobenius error (default 0.1)\n"
    "      --pairs=N       pairs of matrices for the bounds (default 24)\n"
    "      --model=FILE    the model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench concat-svd\n"
    "  pith bench concat-svd --tolerance=0.3 --model=model.gguf\n";

typedef struct concat {
    const char *model;
    double tolerance;
    uint64_t pairs;
    lm_model *m;
    size_t rows, n;
    alloc_matrix *matrices;
} concat;

/* Matrices that write to the stream have its width as rows, those that read it as columns. */
static pith_status take(experiment *e, concat *c, const tensor_view *t) {
    bool reads = t->ne[0] == c->rows;
    size_t cols = (size_t)(reads ? t->ne[1] : t->ne[0]);
    float *w = pith_alloc(e->ctx, c->rows * cols * sizeof *w), *turned = pith_alloc(e->ctx, c->rows * cols * sizeof *w);
    if (!w || !turned) {
        pith_free(e->ctx, w);
        pith_free(e->ctx, turned);
        return pith_alloc_status(e->ctx);
    }
    blocks_decode(t->type, t->data, w, t->n_elements);
    for (size_t i = 0; i < c->rows; i++)
        for (size_t j = 0; j < cols; j++) turned[i * cols + j] = reads ? w[j * c->rows + i] : w[i * cols + j];
    pith_free(e->ctx, w);
    c->matrices[c->n++] = (alloc_matrix){turned, cols};
    return PITH_OK;
}

static pith_status take_all(experiment *e, concat *c) {
    const tensor_file *f = lm_file(c->m);
    pith_status status = PITH_OK;
    c->rows = lm_about(c->m)->n_embd;
    c->matrices = pith_zalloc(e->ctx, f->n_tensors * sizeof *c->matrices);
    if (!c->matrices) return pith_alloc_status(e->ctx);
    for (size_t i = 0; i < f->n_tensors && !status; i++) {
        const tensor_view *t = &f->tensors[i];
        bool fits = t->n_dims == 2 && model_overlay_takes(t) && (t->ne[0] == c->rows || t->ne[1] == c->rows);
        if (fits && t->name.size > 4 && memcmp(t->name.data, "blk.", 4) == 0) status = take(e, c, t);
    }
    if (!status && c->n < 2) status = pith_fail(e->ctx, PITH_E_ARGUMENT, "the model has no layers of matrices");
    return status;
}

/* ---- bounds ------------------------------------------------------------------------------------------------ */

/* Squares of singular values, descending; vectors [rows][rows] may be NULL. */
static pith_status spectrum(experiment *e, const float *w, size_t rows, size_t cols, const float *also, size_t more,
                            double *values, float *vectors) {
    float *gram = pith_alloc(e->ctx, rows * rows * sizeof *gram), *q = pith_alloc(e->ctx, rows * rows * sizeof *q);
    float *found = pith_alloc(e->ctx, rows * sizeof *found);
    pith_status status = gram && q && found ? PITH_OK : pith_alloc_status(e->ctx);
    if (!status) {
        dense_gemm(false, true, rows, rows, cols, 1, w, cols, w, cols, 0, gram, rows);
        if (also) dense_gemm(false, true, rows, rows, more, 1, also, more, also, more, 1, gram, rows);
        status = dense_eigen(e->ctx, gram, rows, q, found);
    }
    for (size_t i = 0; i < rows && !status; i++) {
        values[i] = found[rows - 1 - i] > 0 ? (double)found[rows - 1 - i] : 0;
        for (size_t k = 0; vectors && k < rows; k++) vectors[k * rows + i] = q[k * rows + rows - 1 - i];
    }
    pith_free(e->ctx, gram);
    pith_free(e->ctx, q);
    pith_free(e->ctx, found);
    return status;
}

typedef struct ratios {
    double weyl, beyond, estimate; /* worst of bound / truth (relative errors), worst |estimate / truth - 1| */
    double weyl_sum, beyond_sum, estimate_sum;
    unsigned n, below; /* below: bounds that were lower than the truth */
} ratios;

/* squared error at r by the growing decomposition: all the energy but its first r values. */
static pith_status growing(experiment *e, const concat *c, const alloc_matrix *a, const alloc_matrix *b, size_t r,
                           double all, double *error) {
    dense_growing *g;
    pith_status status = dense_growing_new(e->ctx, c->rows, PITH_MIN(r + r / 4 + 8, c->rows), &g);
    if (status) return status;
    status = dense_growing_add(e->ctx, g, a->data, a->cols, a->cols);
    if (!status) status = dense_growing_add(e->ctx, g, b->data, b->cols, b->cols);
    *error = all;
    for (size_t i = 0; i < r && i < dense_growing_rank(g) && !status; i++) {
        double s = dense_growing_values(g)[i];
        *error -= s * s;
    }
    dense_growing_free(e->ctx, g);
    return status;
}

static void note_ratio(ratios *t, double truth, double weyl, double beyond, double estimate) {
    double a = sqrt(weyl / truth), b = sqrt(beyond / truth), off = fabs(sqrt(fmax(estimate, 0) / truth) - 1);
    t->weyl = fmax(t->weyl, a), t->beyond = fmax(t->beyond, b), t->estimate = fmax(t->estimate, off);
    t->weyl_sum += a, t->beyond_sum += b, t->estimate_sum += off;
    t->n++;
    t->below += a < 1 - 1e-4 || b < 1 - 1e-4;
}

static pith_status look_at_pair(experiment *e, const concat *c, const alloc_matrix *a, const alloc_matrix *b,
                                ratios *at) {
    size_t n = c->rows;
    static const double shares[] = {0.25, 0.5, 0.75};
    double *la = pith_alloc(e->ctx, 4 * n * sizeof *la), *lb = la + n, *joint = lb + n, *beyond = joint + n, all = 0;
    float *u = pith_alloc(e->ctx, n * n * sizeof *u), *x = pith_alloc(e->ctx, n * b->cols * sizeof *x);
    float *left = pith_alloc(e->ctx, n * b->cols * sizeof *left);
    pith_status status = la && u && x && left ? PITH_OK : pith_alloc_status(e->ctx);
    if (!status) status = spectrum(e, a->data, n, a->cols, NULL, 0, la, u);
    if (!status) status = spectrum(e, b->data, n, b->cols, NULL, 0, lb, NULL);
    if (!status) status = spectrum(e, a->data, n, a->cols, b->data, b->cols, joint, NULL);
    for (size_t i = 0; i < n && !status; i++) all += joint[i];
    for (size_t s = 0; s < PITH_COUNT(shares) && !status; s++) {
        size_t r = (size_t)(shares[s] * (double)n), p = r / 2;
        double truth = 0, estimate;
        for (size_t i = r; i < n; i++) truth += joint[i];
        /* B - U U^T B */
        memcpy(left, b->data, n * b->cols * sizeof *left);
        dense_gemm(true, false, p, b->cols, n, 1, u, n, b->data, b->cols, 0, x, b->cols);
        dense_gemm(false, false, n, b->cols, p, -1, u, n, x, b->cols, 1, left, b->cols);
        status = spectrum(e, left, n, b->cols, NULL, 0, beyond, NULL);
        if (!status) status = growing(e, c, a, b, r, all, &estimate);
        if (!status && truth > 1e-6 * all)
            note_ratio(&at[s], truth, alloc_basis_weyl(la, lb, n, r), alloc_basis_beyond(la, beyond, n, p, r),
                       estimate);
    }
    pith_free(e->ctx, la);
    pith_free(e->ctx, u);
    pith_free(e->ctx, x);
    pith_free(e->ctx, left);
    return status;
}

static int bounds(experiment *e, const concat *c) {
    ratios at[3] = {0};
    static const char *const labels[] = {"a quarter of full rank", "half", "three quarters"};
    uint64_t random = 7;
    unsigned below = 0;
    double worst = 0;
    exp_step(e, "bounds");
    for (uint64_t i = 0; i < c->pairs; i++) {
        size_t a = (size_t)(cuts_random(&random) * (double)c->n),
               b = (size_t)(cuts_random(&random) * (double)(c->n - 1));
        b += b >= a;
        if (look_at_pair(e, c, &c->matrices[a], &c->matrices[b], at) != PITH_OK) return exp_failed(e);
    }
    exp_table(e, "Joint error of two matrices: bound over truth, and how far the estimate is off",
              "rank|Weyl mean.3|Weyl worst.3|beyond mean.3|worst.3|estimate %.2f|worst %.2f|below.0");
    for (int s = 0; s < 3; s++) {
        const ratios *t = &at[s];
        double n = t->n;
        EXP_ROW(e, labels[s], t->weyl_sum / n, t->weyl, t->beyond_sum / n, t->beyond, 100 * t->estimate_sum / n,
                100 * t->estimate, t->below);
        below += t->below;
        worst = fmax(worst, t->estimate);
    }
    exp_claim(e, below == 0, "no bound lies below the true error (%u of %u do)", below,
              2 * (at[0].n + at[1].n + at[2].n));
    exp_claim(e, worst <= 0.05, "the growing decomposition is within 5 %% of the true error: worst %.2f %%",
              100 * worst);
    return CLI_OK;
}

/* ---- bytes ------------------------------------------------------------------------------------------------- */

static int share(experiment *e, const concat *c, double tolerance, alloc_sharing *out) {
    char label[64];
    double raw = 0;
    uint32_t *cluster = pith_alloc(e->ctx, c->n * sizeof *cluster);
    pith_status status = cluster ? PITH_OK : pith_alloc_status(e->ctx);
    exp_step(e, "clustering");
    if (!status) status = alloc_share(e->ctx, c->matrices, c->n, c->rows, tolerance, 0, cluster, out);
    for (size_t i = 0; i < c->n; i++) raw += 2.0 * (double)c->rows * (double)c->matrices[i].cols;
    if (!status) {
        snprintf(label, sizeof label, "%.0f %%", 100 * tolerance);
        EXP_ROW(e, label, raw, (double)out->alone, (double)out->together, (double)out->shared, out->n_clusters,
                out->n_tried);
    }
    pith_free(e->ctx, cluster);
    return status ? exp_failed(e) : CLI_OK;
}

static int concat_run(experiment *e, void *own) {
    concat *c = own;
    alloc_sharing s[3] = {0};
    const double tolerances[] = {c->tolerance, 0.3, 0.5};
    if (!(c->tolerance > 0 && c->tolerance < 1)) return cli_error("%s: --tolerance is between 0 and 1", e->name);
    int result = lm_open_named(e->ctx, lm_model_path(c->model ? c->model : "default"), &c->m);
    if (result == CLI_OK && take_all(e, c) != PITH_OK) result = exp_failed(e);
    if (result == CLI_OK) result = bounds(e, c);
    if (result == CLI_OK)
        exp_table(e, "Bytes within a relative error (halves; a matrix that rank does not help stays as it is)",
                  "error|as it is.0|a basis each.0|one for all.0|clusters.0|of them.0|pairs tried.0");
    for (size_t i = 0; i < PITH_COUNT(tolerances) && result == CLI_OK; i++) {
        if (i && tolerances[i] <= c->tolerance) continue;
        result = share(e, c, tolerances[i], &s[i]);
        if (result == CLI_OK)
            exp_claim(e, s[i].shared < s[i].alone && s[i].shared < s[i].together,
                      "at %.0f %% clusters take fewer bytes than a basis each and than one for all: %.0f, %.0f, %.0f",
                      100 * tolerances[i], (double)s[i].shared, (double)s[i].alone, (double)s[i].together);
    }
    for (size_t i = 0; i < c->n; i++) pith_free(e->ctx, (void *)(uintptr_t)c->matrices[i].data);
    pith_free(e->ctx, c->matrices);
    lm_close(e->ctx, c->m);
    return result;
}

int bench_concat_svd(int argc, char **argv) {
    concat c = {.tolerance = 0.1, .pairs = 24};
    const lm_option extra[] = {{"tolerance", 0, LM_REAL, &c.tolerance, 0, 0},
                               {"pairs", 0, LM_NUMBER, &c.pairs, 1, 10000},
                               {"model", 0, LM_TEXT, &c.model, 0, 0}};
    return exp_main(argc, argv, concat_help, extra, PITH_COUNT(extra), 0, concat_run, &c);
}
