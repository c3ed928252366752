/* Splitting a dense block y = D a(x) into experts over a text: neurons whose activations go together share an expert;
 * expert e's share of the output, y_e . y / |y|^2, is what the router is fitted to; the weighted sum of the chosen
 * experts is scaled, and the down projections fitted anew by ridge regression, to give y again. */
#include <math.h>
#include <stdio.h>

#include "artefacts/model/experts_parts.h"
#include "math/dense/dense.h"

#define CLUSTER_TOKENS 4096u /* that tell what fires together */

typedef struct splitter {
    pith_ctx *ctx;
    experts_split *s;
    size_t n_tokens, seen;
    /* of the layer at hand */
    char gate[32], down[32];
    float *x, *a, *y; /* [n_tokens] of [n_embd] what gate and up read, [n_ff] what down reads, [n_embd] what it gives */
    float *d;         /* [n_embd][n_ff] */
    float *scores;    /* [n_tokens][n_experts] */
    float *room;      /* [n_tokens][n_embd] */
    float *square;    /* [max(n_ff, n_embd)]^2 */
    uint64_t done, total;
    size_t x_seen, a_seen;
} splitter;

const tensor_view *experts_tensor(const tensor_file *f, uint32_t layer, const char *name) {
    char full[64];
    snprintf(full, sizeof full, "blk.%u.%s", (unsigned)layer, name);
    return tensor_find(f, full);
}

/* ---- what the block does ---- */

static void take(float *to, size_t *seen, size_t n_tokens, const float *x, size_t n, size_t width) {
    n = PITH_MIN(n, n_tokens - *seen);
    memcpy(to + *seen * width, x, n * width * sizeof *x);
    *seen += n;
}

static void on_input(void *opaque, const char *tensor, size_t n, size_t n_cols, const float *x) {
    splitter *p = opaque;
    if (strcmp(tensor, p->gate) == 0) take(p->x, &p->x_seen, p->n_tokens, x, n, n_cols);
    if (strcmp(tensor, p->down) == 0) take(p->a, &p->a_seen, p->n_tokens, x, n, n_cols);
}

static pith_status watch(splitter *p, lm_session *session, const uint32_t *tokens, lm_token *batch, uint32_t n_ctx) {
    pith_status status = PITH_OK;
    p->x_seen = p->a_seen = 0;
    for (size_t at = 0; at < p->n_tokens && !status; at += n_ctx) {
        size_t n = PITH_MIN((size_t)n_ctx, p->n_tokens - at);
        for (size_t i = 0; i < n; i++) batch[i] = (lm_token){.id = tokens[at + i]};
        status = lm_truncate(session, 0, 0);
        if (!status) status = lm_eval(session, batch, n);
        p->done += n;
        if (!status) status = pith_tick(p->ctx, p->done, p->total);
    }
    return status;
}

/* ---- fits ---- */

/* Neurons that fire together: products of their activations' sizes, each of norm 1. */
static pith_status cluster(splitter *p, split_block *b) {
    size_t ff = p->s->n_ff, n = PITH_MIN(p->n_tokens, (size_t)CLUSTER_TOKENS);
    float *sizes = pith_alloc(p->ctx, n * ff * sizeof *sizes), *norm = pith_zalloc(p->ctx, ff * sizeof *norm);
    pith_status status = sizes && norm ? PITH_OK : pith_alloc_status(p->ctx);
    if (!status) {
        for (size_t i = 0; i < n * ff; i++) {
            sizes[i] = fabsf(p->a[i]);
            norm[i % ff] += sizes[i] * sizes[i];
        }
        for (size_t i = 0; i < n * ff; i++) sizes[i] /= norm[i % ff] > 0 ? sqrtf(norm[i % ff]) : 1;
        dense_gemm(true, false, ff, ff, n, 1, sizes, ff, sizes, ff, 0, p->square, ff);
        status = experts_cluster(p->ctx, p->square, ff, p->s->o.n_experts, b->order);
    }
    pith_free(p->ctx, sizes);
    pith_free(p->ctx, norm);
    return status;
}

/* Columns of rows[n][n_ff] into the order of the experts. */
static pith_status arrange(splitter *p, const split_block *b, float *rows, size_t n) {
    size_t ff = p->s->n_ff;
    float *row = pith_alloc(p->ctx, ff * sizeof *row);
    if (!row) return pith_alloc_status(p->ctx);
    for (size_t i = 0; i < n; i++, rows += ff) {
        for (size_t k = 0; k < ff; k++) row[k] = rows[b->order[k]];
        memcpy(rows, row, ff * sizeof *row);
    }
    pith_free(p->ctx, row);
    return PITH_OK;
}

static double dot(const float *x, const float *y, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

/* scores = share of the output that each expert has, around their mean. */
static void shares(splitter *p) {
    size_t d = p->s->n_embd, ff = p->s->n_ff, size = p->s->size, n_experts = p->s->o.n_experts;
    for (size_t e = 0; e < n_experts; e++) {
        dense_gemm(false, true, p->n_tokens, d, size, 1, p->a + e * size, ff, p->d + e * size, ff, 0, p->room, d);
        for (size_t t = 0; t < p->n_tokens; t++) {
            double whole = dot(p->y + t * d, p->y + t * d, d);
            p->scores[t * n_experts + e] =
                whole > 0 ? (float)(dot(p->room + t * d, p->y + t * d, d) / whole - 1 / (double)n_experts) : 0;
        }
    }
}

/* Ridge regression of the scores on x; then scores are what the router says, with the deviation asked for. */
static pith_status fit_router(splitter *p, split_block *b, double ridge) {
    size_t d = p->s->n_embd, n_experts = p->s->o.n_experts, n = p->n_tokens;
    float *w = pith_alloc(p->ctx, d * n_experts * sizeof *w);
    if (!w) return pith_alloc_status(p->ctx);
    dense_gemm(true, false, d, d, n, 1 / (float)n, p->x, d, p->x, d, 0, p->square, d);
    dense_gemm(true, false, d, n_experts, n, 1 / (float)n, p->x, d, p->scores, n_experts, 0, w, n_experts);
    pith_status status = dense_solve(p->ctx, p->square, d, ridge, w, n_experts);
    if (!status) {
        dense_gemm(false, false, n, n_experts, d, 1, p->x, d, w, n_experts, 0, p->scores, n_experts);
        double square = dot(p->scores, p->scores, n * n_experts) / (double)(n * n_experts);
        /* scores of 0 would leave the choice to rounding alone; nearly equal weights keep it */
        double alike = p->s->o.n_used == n_experts ? 0 : 1e-3;
        double sharp = p->s->o.sharpness > 0 ? p->s->o.sharpness : alike;
        float factor = (float)(sharp / sqrt(square > 0 ? square : 1));
        for (size_t i = 0; i < n * n_experts; i++) p->scores[i] *= factor;
        for (size_t e = 0; e < n_experts; e++)
            for (size_t j = 0; j < d; j++) b->router[e * d + j] = w[j * n_experts + e] * factor;
    }
    pith_free(p->ctx, w);
    return status;
}

/* Scores become the weights of the chosen experts, zero for all others, as the runtime has it. */
static void route(splitter *p, experts_block_report *report) {
    size_t n_experts = p->s->o.n_experts, busiest = 0;
    for (size_t t = 0; t < p->n_tokens; t++) {
        float *w = p->scores + t * n_experts, top = -INFINITY, sum = 0;
        bool chosen[512] = {false};
        for (uint32_t k = 0; k < p->s->o.n_used; k++) {
            size_t best = SIZE_MAX;
            for (size_t e = 0; e < n_experts; e++)
                if (!chosen[e] && (best == SIZE_MAX || w[e] > w[best])) best = e;
            chosen[best] = true;
            top = PITH_MAX(top, w[best]);
        }
        for (size_t e = 0; e < n_experts; e++) sum += w[e] = chosen[e] ? expf(w[e] - top) : 0;
        for (size_t e = 0; e < n_experts; e++) w[e] /= sum;
    }
    for (size_t e = 0; e < n_experts; e++) {
        size_t tokens = 0;
        for (size_t t = 0; t < p->n_tokens; t++) tokens += p->scores[t * n_experts + e] > 0;
        busiest = PITH_MAX(busiest, tokens);
    }
    report->balance = (double)busiest / ((double)p->n_tokens * p->s->o.n_used);
}

/* The weighted activations, in place of a; y is left with what they do not explain. */
static void fit_scale(splitter *p, split_block *b) {
    size_t d = p->s->n_embd, ff = p->s->n_ff, n = p->n_tokens;
    for (size_t t = 0; t < n; t++)
        for (size_t k = 0; k < ff; k++) p->a[t * ff + k] *= p->scores[t * p->s->o.n_experts + k / p->s->size];
    dense_gemm(false, true, n, d, ff, 1, p->a, ff, p->d, ff, 0, p->room, d);
    double whole = dot(p->y, p->y, n * d), own = dot(p->room, p->room, n * d), both = dot(p->room, p->y, n * d);
    b->report.scale = own > 0 ? both / own : 1;
    b->report.scaled = whole > 0 && own > 0 ? both * both / own / whole : 0;
    b->report.fitted = b->report.scaled;
    float scale = (float)b->report.scale;
    if (p->s->o.n_used == p->s->o.n_experts && p->s->o.sharpness == 0) scale = (float)p->s->o.n_experts;
    for (size_t i = 0; i < n * d; i++) p->y[i] -= scale * p->room[i];
    for (size_t i = 0; i < d * ff; i++) b->down[i] = scale * p->d[i];
}

static pith_status fit_down(splitter *p, split_block *b, double ridge) {
    size_t d = p->s->n_embd, ff = p->s->n_ff, n = p->n_tokens;
    double left = dot(p->y, p->y, n * d), whole = b->report.scaled < 1 ? left / (1 - b->report.scaled) : 0;
    float *more = pith_alloc(p->ctx, ff * d * sizeof *more);
    if (!more) return pith_alloc_status(p->ctx);
    dense_gemm(true, false, ff, ff, n, 1 / (float)n, p->a, ff, p->a, ff, 0, p->square, ff);
    dense_gemm(true, false, ff, d, n, 1 / (float)n, p->a, ff, p->y, d, 0, more, d);
    pith_status status = dense_solve(p->ctx, p->square, ff, ridge, more, d);
    if (!status) {
        dense_gemm(false, false, n, d, ff, -1, p->a, ff, more, d, 1, p->y, d);
        if (whole > 0) b->report.fitted = 1 - dot(p->y, p->y, n * d) / whole;
        for (size_t r = 0; r < d; r++)
            for (size_t k = 0; k < ff; k++) b->down[r * ff + k] += more[k * d + r];
    }
    pith_free(p->ctx, more);
    return status;
}

/* ---- layers ---- */

static pith_status split_block_of(splitter *p, uint32_t layer) {
    experts_split *s = p->s;
    split_block *b = &s->blocks[layer];
    size_t d = s->n_embd, ff = s->n_ff;
    double ridge = s->o.ridge > 0 ? s->o.ridge : 0.01;
    const tensor_view *down = experts_tensor(s->file, layer, "ffn_down.weight");
    b->order = pith_alloc(p->ctx, ff * sizeof *b->order);
    b->router = pith_alloc(p->ctx, s->o.n_experts * d * sizeof *b->router);
    b->down = pith_alloc(p->ctx, d * ff * sizeof *b->down);
    if (!b->order || !b->router || !b->down) return pith_alloc_status(p->ctx);
    blocks_decode(down->type, down->data, p->d, d * ff);
    dense_gemm(false, true, p->n_tokens, d, ff, 1, p->a, ff, p->d, ff, 0, p->y, d);
    pith_status status = cluster(p, b);
    if (!status) status = arrange(p, b, p->a, p->n_tokens);
    if (!status) status = arrange(p, b, p->d, d);
    if (status) return status;
    shares(p);
    status = fit_router(p, b, ridge);
    if (status) return status;
    route(p, &b->report);
    fit_scale(p, b);
    return s->o.keep_down ? PITH_OK : fit_down(p, b, ridge);
}

static pith_status check(pith_ctx *ctx, const experts_split *s, size_t n) {
    const lm_shape *shape = lm_about(s->m);
    if (strcmp(shape->architecture, "llama") != 0 || shape->n_experts)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "only dense models of architecture llama can be split, this is %s%s",
                         shape->architecture, shape->n_experts ? " with experts" : "");
    if (s->o.n_experts < 2 || s->o.n_experts > 512 || s->n_ff % s->o.n_experts)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%zu neurons cannot be split into %u experts", s->n_ff, s->o.n_experts);
    if (!s->o.n_used || s->o.n_used > s->o.n_experts)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%u of %u experts cannot be used", s->o.n_used, s->o.n_experts);
    if (!(s->o.sharpness >= 0) || !(s->o.sharpness <= 100) || !(s->o.ridge >= 0) || !(s->o.ridge <= 1))
        return pith_fail(ctx, PITH_E_ARGUMENT, "sharpness is 0 to 100, ridge 0 to 1");
    if (n < 64) return pith_fail(ctx, PITH_E_ARGUMENT, "%zu tokens do not tell what fires together", n);
    return PITH_OK;
}

static pith_status split_all(splitter *p, const uint32_t *tokens) {
    experts_split *s = p->s;
    size_t d = s->n_embd, ff = s->n_ff, n = p->n_tokens, side = PITH_MAX(ff, d);
    uint32_t n_ctx = PITH_MIN(s->o.n_ctx ? s->o.n_ctx : 512, lm_about(s->m)->n_ctx_train);
    struct {
        float **place;
        size_t n;
    } arrays[] = {
        {&p->x, n * d},    {&p->a, n * ff},          {&p->y, n * d}, {&p->d, d * ff}, {&p->scores, n * s->o.n_experts},
        {&p->room, n * d}, {&p->square, side * side}};
    lm_session *session = NULL;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < PITH_COUNT(arrays) && !status; i++)
        if (!(*arrays[i].place = pith_alloc(p->ctx, arrays[i].n * sizeof(float)))) status = pith_alloc_status(p->ctx);
    lm_token *batch = status ? NULL : pith_alloc(p->ctx, n_ctx * sizeof *batch);
    if (!status && !batch) status = pith_alloc_status(p->ctx);
    lm_session_options options = {.n_ctx = n_ctx, .max_batch = n_ctx, .max_logits = 1};
    if (!status) status = lm_session_new(p->ctx, s->m, &options, &session);
    lm_probe probe = {.opaque = p, .input = on_input};
    if (!status) lm_set_probe(session, &probe);
    p->total = (uint64_t)n * s->n_layers;
    for (uint32_t l = 0; l < s->n_layers && !status; l++) {
        snprintf(p->gate, sizeof p->gate, "blk.%u.ffn_gate.weight", (unsigned)l);
        snprintf(p->down, sizeof p->down, "blk.%u.ffn_down.weight", (unsigned)l);
        status = watch(p, session, tokens, batch, n_ctx);
        if (!status) status = split_block_of(p, l);
    }
    lm_session_free(session);
    pith_free(p->ctx, batch);
    for (size_t i = 0; i < PITH_COUNT(arrays); i++) pith_free(p->ctx, *arrays[i].place);
    return status;
}

pith_status experts_split_new(pith_ctx *ctx, const lm_model *m, const uint32_t *tokens, size_t n,
                              const experts_options *options, experts_split **out) {
    *out = NULL;
    experts_split *s = pith_zalloc(ctx, sizeof *s);
    if (!s) return pith_alloc_status(ctx);
    const lm_shape *shape = lm_about(m);
    *s = (experts_split){.m = m,
                         .file = lm_file(m),
                         .o = *options,
                         .n_embd = shape->n_embd,
                         .n_ff = shape->n_ff,
                         .n_layers = shape->n_layers};
    pith_status status = check(ctx, s, n);
    if (!status) {
        s->size = s->n_ff / s->o.n_experts;
        s->blocks = pith_zalloc(ctx, s->n_layers * sizeof *s->blocks);
        if (!s->blocks) status = pith_alloc_status(ctx);
    }
    splitter p = {.ctx = ctx, .s = s, .n_tokens = n};
    if (!status) status = split_all(&p, tokens);
    if (status)
        experts_split_free(ctx, s);
    else
        *out = s;
    return status;
}

void experts_split_free(pith_ctx *ctx, experts_split *s) {
    if (!s) return;
    for (size_t l = 0; s->blocks && l < s->n_layers; l++) {
        pith_free(ctx, s->blocks[l].order);
        pith_free(ctx, s->blocks[l].router);
        pith_free(ctx, s->blocks[l].down);
    }
    pith_free(ctx, s->blocks);
    pith_free(ctx, s);
}

const experts_block_report *experts_split_report(const experts_split *s, uint32_t layer) {
    return layer < s->n_layers ? &s->blocks[layer].report : NULL;
}
