/* Shots of removal: costs of all rows and columns, one threshold, updates. */
#include "artefacts/model/curvature_matrices.h"

#include <math.h>
#include <stdio.h>

#include "kernels/select/select.h"

const char *const surgeon_method_names[N_SURGEON_METHODS] = {"magnitude", "lobd", "kobd", "inputs", "surgeon"};

static const struct {
    unsigned factors;
    kronecker_rule rule;
} methods[N_SURGEON_METHODS] = {{0, KRONECKER_DIAGONAL},
                                {CURVATURE_INPUTS, KRONECKER_DIAGONAL},
                                {CURVATURE_INPUTS | CURVATURE_OUTPUTS, KRONECKER_BLOCK},
                                {CURVATURE_INPUTS, KRONECKER_OBS},
                                {CURVATURE_INPUTS | CURVATURE_OUTPUTS, KRONECKER_OBS}};

typedef struct patient {
    const char *name;
    int expert;
    size_t rows, cols; /* cols: with the bias */
    float *w, *bias;   /* in the net; bias may be NULL */
    double *by_row, *by_col;
    uint8_t *row_gone, *col_gone; /* before the shot at work */
    uint8_t *row_goes, *col_goes; /* and after it */
    const curvature_matrix *c;    /* NULL: no token went through it */
    double predicted;
} patient;

typedef struct surgery {
    pith_ctx *ctx;
    train_net *net;
    surgeon_options o;
    patient *at;
    select_units *units;
    size_t n;
} surgery;

/* ---- the matrices ------------------------------------------------------------------------------------- */

/* Matrices of the layers: all but vectors and the router of a mixture. */
static bool is_wanted(const char *name) {
    static const char *const kinds[] = {
        ".attn_q.weight", ".attn_k.weight",   ".attn_v.weight",        ".attn_output.weight", ".ffn_gate.weight",
        ".ffn_up.weight", ".ffn_down.weight", ".ffn_gate_exps.weight", ".ffn_up_exps.weight", ".ffn_down_exps.weight"};
    size_t n = strlen(name);
    for (size_t i = 0; i < PITH_COUNT(kinds) && strncmp(name, "blk.", 4) == 0; i++) {
        size_t k = strlen(kinds[i]);
        if (n > k && strcmp(name + n - k, kinds[i]) == 0) return true;
    }
    return false;
}

/* Experts one below the other in this tensor, as many as the router has rows; 1 in a plain one. */
static size_t experts_of(train_net *net, const char *name) {
    char router[72];
    size_t rows = 1;
    const char *exps = strstr(name, "_exps.weight");
    unsigned layer;
    if (!exps || sscanf(name, "blk.%9u.", &layer) != 1) return 1;
    snprintf(router, sizeof router, "blk.%u.ffn_gate_inp.weight", layer);
    return train_net_tensor(net, router, &rows, NULL) && rows ? rows : 1;
}

static pith_status make_room(pith_ctx *ctx, patient *p) {
    p->by_row = pith_zalloc(ctx, p->rows * sizeof *p->by_row);
    p->by_col = pith_zalloc(ctx, p->cols * sizeof *p->by_col);
    p->row_gone = pith_zalloc(ctx, p->rows);
    p->row_goes = pith_zalloc(ctx, p->rows);
    p->col_gone = pith_zalloc(ctx, p->cols);
    p->col_goes = pith_zalloc(ctx, p->cols);
    bool good = p->by_row && p->by_col && p->row_gone && p->row_goes && p->col_gone && p->col_goes;
    return good ? PITH_OK : pith_alloc_status(ctx);
}

static pith_status add_tensor(surgery *s, const char *name) {
    char bias[72];
    size_t rows, cols, n_experts = experts_of(s->net, name), n = strlen(name) - strlen("weight");
    float *w = train_net_tensor(s->net, name, &rows, &cols), *b = NULL;
    if (n_experts == 1 && n + sizeof "bias" <= sizeof bias) {
        snprintf(bias, sizeof bias, "%.*sbias", (int)n, name);
        b = train_net_tensor(s->net, bias, NULL, NULL);
    }
    rows /= n_experts;
    for (size_t e = 0; e < n_experts; e++) {
        patient *p = &s->at[s->n];
        *p = (patient){.name = name, .expert = n_experts > 1 ? (int)e : -1, .rows = rows, .cols = cols + (b != NULL)};
        p->w = w + e * rows * cols;
        p->bias = b;
        pith_status status = make_room(s->ctx, p);
        s->units[s->n++] = (select_units){p->rows, p->cols, b != NULL, p->by_row, p->by_col, p->row_goes, p->col_goes};
        if (status) return status;
    }
    return PITH_OK;
}

static pith_status find_patients(surgery *s) {
    size_t n = 0;
    for (size_t i = 0; i < train_n_tensors(s->net); i++)
        if (is_wanted(train_tensor_name(s->net, i))) n += experts_of(s->net, train_tensor_name(s->net, i));
    s->at = pith_zalloc(s->ctx, n * sizeof *s->at + 1);
    s->units = pith_zalloc(s->ctx, n * sizeof *s->units + 1);
    pith_status status = s->at && s->units ? PITH_OK : pith_alloc_status(s->ctx);
    for (size_t i = 0; i < train_n_tensors(s->net) && !status; i++)
        if (is_wanted(train_tensor_name(s->net, i))) status = add_tensor(s, train_tensor_name(s->net, i));
    return status;
}

/* ---- a shot ---------------------------------------------------------------------------------------------- */

/* Weights with the bias as the last column, and back. */
static void put_weights(const patient *p, float *w) {
    size_t cols = p->cols - (p->bias != NULL);
    for (size_t i = 0; i < p->rows; i++) {
        memcpy(w + i * p->cols, p->w + i * cols, cols * sizeof *w);
        if (p->bias) w[i * p->cols + cols] = p->bias[i];
    }
}
static void take_weights(patient *p, const float *w) {
    size_t cols = p->cols - (p->bias != NULL);
    for (size_t i = 0; i < p->rows; i++) {
        memcpy(p->w + i * cols, w + i * p->cols, cols * sizeof *w);
        if (p->bias) p->bias[i] = w[i * p->cols + cols];
    }
}

static pith_status bend(const surgery *s, const patient *p, select_kronecker **k) {
    unsigned factors = methods[s->o.method].factors;
    const float *a = factors & CURVATURE_INPUTS ? p->c->a : NULL, *g = factors & CURVATURE_OUTPUTS ? p->c->g : NULL;
    return select_kronecker_new(s->ctx, a, g, p->rows, p->cols, s->o.damp, s->o.damp, p->row_gone, p->col_gone, k);
}

static pith_status cost_job(void *arg, size_t i) {
    surgery *s = arg;
    patient *p = &s->at[i];
    if (methods[s->o.method].factors && !p->c) { /* no token came: nothing is lost with it */
        memset(p->by_row, 0, p->rows * sizeof *p->by_row);
        memset(p->by_col, 0, p->cols * sizeof *p->by_col);
        return PITH_OK;
    }
    select_kronecker *k = NULL;
    float *w = pith_alloc(s->ctx, p->rows * p->cols * sizeof *w);
    pith_status status = w ? bend(s, p, &k) : pith_alloc_status(s->ctx);
    if (!status) {
        put_weights(p, w);
        status = select_kronecker_costs(s->ctx, k, methods[s->o.method].rule, w, p->by_row, p->by_col);
    }
    select_kronecker_free(s->ctx, k);
    pith_free(s->ctx, w);
    return status;
}

static void make_zero(const patient *p, float *w) {
    for (size_t i = 0; i < p->rows; i++)
        for (size_t j = 0; j < p->cols; j++)
            if (p->row_goes[i] || p->col_goes[j]) w[i * p->cols + j] = 0;
}

static pith_status remove_job(void *arg, size_t i) {
    surgery *s = arg;
    patient *p = &s->at[i];
    if (memcmp(p->row_goes, p->row_gone, p->rows) == 0 && memcmp(p->col_goes, p->col_gone, p->cols) == 0)
        return PITH_OK;
    size_t n = p->rows * p->cols;
    select_kronecker *k = NULL;
    float *from = pith_alloc(s->ctx, n * sizeof *from), *w = pith_alloc(s->ctx, n * sizeof *w);
    pith_status status = from && w ? PITH_OK : pith_alloc_status(s->ctx);
    if (!status) {
        put_weights(p, from);
        memcpy(w, from, n * sizeof *w);
        make_zero(p, w);
    }
    if (!status && p->c && methods[s->o.method].factors) {
        double loss;
        status = bend(s, p, &k);
        if (!status && methods[s->o.method].rule == KRONECKER_OBS) {
            memcpy(w, from, n * sizeof *w);
            status = select_kronecker_remove(s->ctx, k, p->row_goes, p->col_goes, w);
        }
        if (!status) status = select_kronecker_loss(s->ctx, k, from, w, &loss);
        if (!status) p->predicted += loss;
    }
    if (!status) {
        take_weights(p, w);
        memcpy(p->row_gone, p->row_goes, p->rows);
        memcpy(p->col_gone, p->col_goes, p->cols);
    }
    select_kronecker_free(s->ctx, k);
    pith_free(s->ctx, from);
    pith_free(s->ctx, w);
    return status;
}

static pith_status shoot(surgery *s, const curvature *c, uint64_t target, uint64_t *gone) {
    for (size_t i = 0; i < s->n; i++) {
        patient *p = &s->at[i];
        p->c = c ? curvature_find(c, p->name, p->expert) : NULL;
        unsigned needs = methods[s->o.method].factors;
        if (p->c && (p->c->n_out != p->rows || p->c->n_in + p->c->ones != p->cols ||
                     ((needs & CURVATURE_INPUTS) && !p->c->a) || ((needs & CURVATURE_OUTPUTS) && !p->c->g)))
            return pith_fail(s->ctx, PITH_E_ARGUMENT, "surgeon: the curvature of %s is another's", p->name);
    }
    pith_status status = pith_parallel(s->ctx, s->n, cost_job, s);
    if (!status) status = select_units_cut(s->ctx, s->units, s->n, target, gone);
    return status ? status : pith_parallel(s->ctx, s->n, remove_job, s);
}

static void sum_up(const surgery *s, surgeon_result *out) {
    unsigned factors = methods[s->o.method].factors;
    out->predicted = factors == (CURVATURE_INPUTS | CURVATURE_OUTPUTS) ? 0 : NAN;
    for (size_t i = 0; i < s->n; i++) {
        out->predicted += s->at[i].predicted;
        for (size_t r = 0; r < s->at[i].rows; r++) out->n_rows += s->at[i].row_gone[r];
        for (size_t j = 0; j < s->at[i].cols; j++) out->n_cols += s->at[i].col_gone[j];
    }
}

static pith_status operate(surgery *s, const uint32_t *tokens, size_t n_windows, size_t n_ctx, const curvature *first,
                           surgeon_result *out) {
    unsigned needs = methods[s->o.method].factors;
    const curvature_options what = {.grams = needs, .wanted = is_wanted};
    pith_status status = find_patients(s);
    for (size_t i = 0; i < s->n; i++)
        out->n_parameters += (uint64_t)s->at[i].rows * (s->at[i].cols - (s->at[i].bias != NULL));
    for (unsigned shot = 1; shot <= s->o.shots && !status; shot++) {
        curvature *own = NULL;
        const curvature *c = shot == 1 ? first : NULL;
        uint64_t target = (uint64_t)(s->o.share * (double)out->n_parameters * shot / s->o.shots);
        if (needs && !c) status = curvature_new(s->ctx, s->net, tokens, n_windows, n_ctx, &what, &own);
        if (own) c = own;
        if (c) out->nats = c->nats;
        if (!status) status = shoot(s, c, target, &out->n_gone);
        curvature_free(s->ctx, own);
        for (size_t i = 0; i < s->n; i++) s->at[i].c = NULL;
    }
    return status;
}

pith_status surgeon_prune(pith_ctx *ctx, train_net *net, const uint32_t *tokens, size_t n_windows, size_t n_ctx,
                          const surgeon_options *options, const curvature *first, surgeon_result *out) {
    surgery s = {.ctx = ctx, .net = net, .o = *options};
    *out = (surgeon_result){.nats = NAN};
    if (!s.o.shots) s.o.shots = 5;
    if (!(s.o.damp > 0)) s.o.damp = 0.01;
    if (s.o.method >= N_SURGEON_METHODS || !(s.o.share >= 0 && s.o.share <= 1))
        return pith_fail(ctx, PITH_E_ARGUMENT, "surgeon: a share of %g, expected 0 to 1", s.o.share);
    pith_status status = operate(&s, tokens, n_windows, n_ctx, first, out);
    if (!status) sum_up(&s, out);
    for (size_t i = 0; i < s.n; i++) {
        patient *p = &s.at[i];
        void *const owned[] = {p->by_row, p->by_col, p->row_gone, p->row_goes, p->col_gone, p->col_goes};
        for (size_t j = 0; j < PITH_COUNT(owned); j++) pith_free(ctx, owned[j]);
    }
    pith_free(ctx, s.at);
    pith_free(ctx, s.units);
    return status;
}
