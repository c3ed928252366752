/* Gathering of curvature: the backward pass shows every matrix its inputs and the gradients by its outputs. */
#include "artefacts/model/curvature.h"

#include <stdio.h>

#include "math/dense/dense.h"

typedef struct sums {
    double *a, *g, *h;
} sums;

typedef struct gathering {
    pith_ctx *ctx;
    train_net *net;
    const curvature_options *o;
    curvature *c;
    sums *sums; /* [capacity], beside c->at */
    size_t capacity;
    pith_status status;
} gathering;

static bool of_a_layer(const char *name) { return strncmp(name, "blk.", 4) == 0; }

const curvature_matrix *curvature_find(const curvature *c, const char *name, int expert) {
    for (size_t i = 0; i < c->n; i++)
        if (c->at[i].expert == expert && strcmp(c->at[i].name, name) == 0) return &c->at[i];
    return NULL;
}

/* "blk.0.attn_q.weight" has a bias when there is a tensor blk.0.attn_q.bias. */
static bool has_bias(train_net *net, const char *name) {
    char bias[72];
    const char *dot = strrchr(name, '.');
    if (!dot) return false;
    int n = snprintf(bias, sizeof bias, "%.*s.bias", (int)(dot - name), name);
    return n > 0 && n < (int)sizeof bias && train_net_tensor(net, bias, NULL, NULL) != NULL;
}

static pith_status grow(gathering *g) {
    size_t capacity = g->capacity ? 2 * g->capacity : 64;
    curvature_matrix *at = pith_zalloc(g->ctx, capacity * sizeof *at);
    sums *s = pith_zalloc(g->ctx, capacity * sizeof *s);
    if (!at || !s) {
        pith_free(g->ctx, at);
        pith_free(g->ctx, s);
        return pith_alloc_status(g->ctx);
    }
    if (g->c->n) {
        memcpy(at, g->c->at, g->c->n * sizeof *at);
        memcpy(s, g->sums, g->c->n * sizeof *s);
    }
    pith_free(g->ctx, g->c->at);
    pith_free(g->ctx, g->sums);
    g->c->at = at;
    g->sums = s;
    g->capacity = capacity;
    return PITH_OK;
}

static pith_status add_matrix(gathering *g, const char *name, int expert, size_t n_in, size_t n_out, size_t *index) {
    if (g->c->n == g->capacity) {
        pith_status status = grow(g);
        if (status) return status;
    }
    *index = g->c->n++; /* what it holds is freed from here on */
    curvature_matrix *m = &g->c->at[*index];
    sums *s = &g->sums[*index];
    *m = (curvature_matrix){.expert = expert, .n_in = n_in, .n_out = n_out, .ones = has_bias(g->net, name)};
    *s = (sums){0};
    if (snprintf(m->name, sizeof m->name, "%s", name) >= (int)sizeof m->name)
        return pith_fail(g->ctx, PITH_E_LIMIT, "curvature: the tensor's name %s is too long", name);
    s->h = pith_zalloc(g->ctx, n_in * sizeof *s->h);
    if (g->o->grams & CURVATURE_INPUTS) s->a = pith_zalloc(g->ctx, DENSE_PACKED(n_in + m->ones) * sizeof *s->a);
    if (g->o->grams & CURVATURE_OUTPUTS) s->g = pith_zalloc(g->ctx, DENSE_PACKED(n_out) * sizeof *s->g);
    bool good = s->h && (s->a || !(g->o->grams & CURVATURE_INPUTS)) && (s->g || !(g->o->grams & CURVATURE_OUTPUTS));
    return good ? PITH_OK : pith_alloc_status(g->ctx);
}

/* x with a column of ones behind it. */
static pith_status add_with_ones(pith_ctx *ctx, double *gram, const float *x, size_t n_rows, size_t n) {
    float *wider = pith_alloc(ctx, n_rows * (n + 1) * sizeof *wider);
    if (!wider) return pith_alloc_status(ctx);
    for (size_t i = 0; i < n_rows; i++) {
        memcpy(wider + i * (n + 1), x + i * n, n * sizeof *x);
        wider[i * (n + 1) + n] = 1;
    }
    pith_status status = dense_gram_add(ctx, gram, wider, n_rows, n + 1);
    pith_free(ctx, wider);
    return status;
}

static void on_linear(void *opaque, const char *name, int expert, const float *x, const float *g, size_t n_rows,
                      size_t n_in, size_t n_out) {
    gathering *w = opaque;
    if (w->status || n_rows == 0 || !(w->o->wanted ? w->o->wanted(name) : of_a_layer(name))) return;
    const curvature_matrix *found = curvature_find(w->c, name, expert);
    size_t index = found ? (size_t)(found - w->c->at) : 0;
    if (!found && (w->status = add_matrix(w, name, expert, n_in, n_out, &index)) != PITH_OK) return;
    curvature_matrix *m = &w->c->at[index];
    sums *s = &w->sums[index];
    m->n_tokens += n_rows;
    for (size_t i = 0; i < n_rows; i++)
        for (size_t j = 0; j < n_in; j++) s->h[j] += (double)x[i * n_in + j] * x[i * n_in + j];
    if (s->a) w->status = (m->ones ? add_with_ones : dense_gram_add)(w->ctx, s->a, x, n_rows, n_in);
    if (s->g && !w->status) w->status = dense_gram_add(w->ctx, s->g, g, n_rows, n_out);
}

static pith_status mean(pith_ctx *ctx, const double *from, size_t n, uint64_t n_tokens, float **out) {
    if (!from) return PITH_OK;
    *out = pith_alloc(ctx, n * sizeof **out);
    if (!*out) return pith_alloc_status(ctx);
    for (size_t i = 0; i < n; i++) (*out)[i] = (float)(from[i] / (double)n_tokens);
    return PITH_OK;
}

static pith_status settle(gathering *g) {
    pith_status status = PITH_OK;
    for (size_t i = 0; i < g->c->n && !status; i++) {
        curvature_matrix *m = &g->c->at[i];
        sums *s = &g->sums[i];
        status = mean(g->ctx, s->h, m->n_in, m->n_tokens, &m->h);
        if (!status) status = mean(g->ctx, s->a, DENSE_PACKED(m->n_in + m->ones), m->n_tokens, &m->a);
        if (!status) status = mean(g->ctx, s->g, DENSE_PACKED(m->n_out), m->n_tokens, &m->g);
        pith_free(g->ctx, s->a);
        pith_free(g->ctx, s->g);
        s->a = s->g = NULL;
    }
    return status;
}

pith_status curvature_new(pith_ctx *ctx, train_net *net, const uint32_t *tokens, size_t n_windows, size_t n_ctx,
                          const curvature_options *options, curvature **out) {
    *out = NULL;
    curvature *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    gathering g = {.ctx = ctx, .net = net, .o = options, .c = c};
    const train_hooks hooks = {.opaque = &g, .linear = on_linear, .sample = options->sample, .seed = options->seed};
    pith_status status = train_pass(ctx, net, tokens, n_windows, n_ctx, &hooks, false, &c->nats);
    if (!status) status = g.status;
    c->n_tokens = (uint64_t)n_windows * n_ctx;
    if (!status) status = settle(&g);
    for (size_t i = 0; i < c->n; i++) {
        pith_free(ctx, g.sums[i].a);
        pith_free(ctx, g.sums[i].g);
        pith_free(ctx, g.sums[i].h);
    }
    pith_free(ctx, g.sums);
    if (status)
        curvature_free(ctx, c);
    else
        *out = c;
    return status;
}

void curvature_free(pith_ctx *ctx, curvature *c) {
    if (!c) return;
    for (size_t i = 0; i < c->n; i++) {
        pith_free(ctx, c->at[i].a);
        pith_free(ctx, c->at[i].g);
        pith_free(ctx, c->at[i].h);
    }
    pith_free(ctx, c->at);
    pith_free(ctx, c);
}
