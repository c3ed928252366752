/* Code lengths of many pairs, and distances from them. A job is one prior with a stretch of texts;
 * each takes one of as many coders as there are threads. */
#include <pthread.h>

#include "lm/distance/parts.h"

/* ---- a pool of coders ---- */

typedef struct pool {
    pith_ctx *ctx;
    codelen_options options;
    pthread_mutex_t lock;
    codelen **idle; /* [n_threads] a stack */
    size_t n_idle;
} pool;

static pith_status pool_take(pool *p, codelen **c) {
    *c = NULL;
    pthread_mutex_lock(&p->lock);
    if (p->n_idle) *c = p->idle[--p->n_idle];
    pthread_mutex_unlock(&p->lock);
    return *c ? PITH_OK : codelen_new(p->ctx, &p->options, c);
}

static void pool_put(pool *p, codelen *c) {
    pthread_mutex_lock(&p->lock);
    p->idle[p->n_idle++] = c;
    pthread_mutex_unlock(&p->lock);
}

static pith_status pool_open(pool *p, pith_ctx *ctx, const codelen_options *options, size_t max_bytes) {
    *p = (pool){.ctx = ctx, .options = *options};
    p->options.max_bytes = max_bytes;
    p->idle = pith_alloc(ctx, pith_ctx_threads(ctx) * sizeof *p->idle);
    if (!p->idle) return pith_alloc_status(ctx);
    if (pthread_mutex_init(&p->lock, NULL) != 0) {
        pith_free(ctx, p->idle);
        return pith_fail(ctx, PITH_E_MEMORY, "no memory for a lock");
    }
    return PITH_OK;
}

static void pool_close(pool *p) {
    while (p->n_idle) codelen_free(p->idle[--p->n_idle]);
    pthread_mutex_destroy(&p->lock);
    pith_free(p->ctx, p->idle);
}

/* ---- pairs ---- */

typedef struct pairs {
    pool coders;
    const distance_text *priors, *texts; /* priors NULL: one job row without prior */
    size_t n_texts, stretch, n_stretches;
    bool joint;
    double *bits;
} pairs;

/* a, a line feed where it does not end with one, and b (NULL: nothing). */
static pith_status join(pith_ctx *ctx, const distance_text *a, const distance_text *b, pith_buffer *out) {
    out->size = 0;
    pith_status status = pith_buffer_append(ctx, out, a->data, a->n);
    if (!status && a->n && a->data[a->n - 1] != '\n') status = pith_buffer_append(ctx, out, "\n", 1);
    if (!status && b) status = pith_buffer_append(ctx, out, b->data, b->n);
    return status;
}

static pith_status do_stretch(void *arg, size_t job) {
    pairs *p = arg;
    pith_ctx *ctx = p->coders.ctx;
    size_t i = job / p->n_stretches, first = job % p->n_stretches * p->stretch;
    size_t end = PITH_MIN(first + p->stretch, p->n_texts);
    if (pith_cancelled(ctx)) return PITH_E_CANCELLED;
    codelen *c;
    pith_buffer text = {0};
    pith_status status = pool_take(&p->coders, &c);
    if (status) return status;
    if (p->priors && !p->joint) status = join(ctx, &p->priors[i], NULL, &text);
    if (!status) status = codelen_prime(c, text.data, text.size);
    for (size_t j = first; j < end && !status; j++) {
        const distance_text *t = &p->texts[j];
        double *bits = &p->bits[i * p->n_texts + j];
        if (pith_cancelled(ctx)) status = PITH_E_CANCELLED;
        if (!status && p->joint) status = join(ctx, &p->priors[i], t, &text);
        if (!status)
            status = p->joint ? codelen_bits(c, text.data, text.size, bits) : codelen_bits(c, t->data, t->n, bits);
    }
    pool_put(&p->coders, c);
    pith_buffer_free(ctx, &text);
    return status;
}

static size_t longest(const distance_text *t, size_t n) {
    size_t most = 0;
    for (size_t i = 0; t && i < n; i++) most = PITH_MAX(most, t[i].n);
    return most;
}

static pith_status measure_pairs(pith_ctx *ctx, const codelen_options *options, const distance_text *priors,
                                 size_t n_priors, const distance_text *texts, size_t n_texts, bool joint,
                                 double *bits) {
    if (n_priors == 0 || n_texts == 0) return PITH_OK;
    size_t a = longest(priors, n_priors), b = longest(texts, n_texts);
    if (a > SIZE_MAX / 4 || b > SIZE_MAX / 4) return pith_fail(ctx, PITH_E_LIMIT, "a text of %zu bytes is too long", a);
    pairs p = {.priors = priors, .texts = texts, .n_texts = n_texts, .joint = joint, .bits = bits};
    /* few priors: their texts are shared out, though each share reads the prior again */
    size_t threads = pith_ctx_threads(ctx), shares = n_priors >= threads ? 1 : PITH_MIN(threads, n_texts);
    p.stretch = (n_texts + shares - 1) / shares;
    p.n_stretches = (n_texts + p.stretch - 1) / p.stretch;
    pith_status status = pool_open(&p.coders, ctx, options, a + b + 1);
    if (status) return status;
    status = pith_parallel(ctx, n_priors * p.n_stretches, do_stretch, &p);
    pool_close(&p.coders);
    return status;
}

pith_status distance_lengths(pith_ctx *ctx, const codelen_options *options, const distance_text *priors,
                             size_t n_priors, const distance_text *texts, size_t n_texts, double *bits) {
    return measure_pairs(ctx, options, priors, priors ? n_priors : 1, texts, n_texts, false, bits);
}

/* Coders that predict: C(ab) = K(a) + K(b | a) exactly, so a is read once for all b. */
static bool is_chain(codelen_kind kind) { return kind != CODELEN_ZSTD && kind != CODELEN_LZMA; }

pith_status distance_joint(pith_ctx *ctx, const codelen_options *options, const distance_text *a, size_t n_a,
                           const distance_text *b, size_t n_b, double *bits) {
    if (!is_chain(options->kind)) return measure_pairs(ctx, options, a, n_a, b, n_b, true, bits);
    double *own = pith_alloc(ctx, PITH_MAX(n_a, (size_t)1) * sizeof *own);
    if (!own) return pith_alloc_status(ctx);
    pith_status status = distance_lengths(ctx, options, NULL, 1, a, n_a, own);
    if (!status) status = distance_lengths(ctx, options, a, n_a, b, n_b, bits);
    for (size_t i = 0; i < n_a && !status; i++)
        for (size_t j = 0; j < n_b; j++) bits[i * n_b + j] += own[i];
    pith_free(ctx, own);
    return status;
}

/* ---- distances ---- */

static const char *const kinds[] = {"ncd", "max", "sum", "min"};

const char *distance_name(distance_kind kind) { return kinds[kind]; }

bool distance_named(const char *name, distance_kind *kind) {
    for (unsigned i = 0; i < PITH_COUNT(kinds); i++)
        if (strcmp(name, kinds[i]) == 0) {
            *kind = (distance_kind)i;
            return true;
        }
    return false;
}

double distance_of(distance_kind kind, const distance_parts *p) {
    double small = PITH_MIN(p->x, p->y), big = PITH_MAX(p->x, p->y), above = 0, below = big;
    switch (kind) {
    case DISTANCE_NCD: above = p->joint - small; break;
    case DISTANCE_MAX: above = PITH_MAX(p->x_of_y, p->y_of_x); break;
    case DISTANCE_SUM: above = p->x_of_y + p->y_of_x, below = p->x + p->y; break;
    case DISTANCE_MIN: above = PITH_MIN(p->x_of_y, p->y_of_x), below = small; break;
    }
    return below > 0 ? above / below : 0;
}

pith_status distance_matrix(pith_ctx *ctx, const codelen_options *options, distance_kind kind, const distance_text *a,
                            size_t n_a, const distance_text *b, size_t n_b, double *d) {
    bool itself = !b;
    if (itself) b = a, n_b = n_a;
    if (n_a == 0 || n_b == 0) return PITH_OK;
    if (n_b > SIZE_MAX / 16 / n_a) return pith_fail(ctx, PITH_E_LIMIT, "%zu by %zu texts are too many", n_a, n_b);
    size_t n = n_a * n_b;
    double *mem = pith_alloc(ctx, (n_a + n_b + n) * sizeof *mem);
    if (!mem) return pith_alloc_status(ctx);
    double *x = mem, *y = mem + n_a, *back = y + n_b; /* back[j][i] = K(a[i] | b[j]) */
    pith_status status = distance_lengths(ctx, options, NULL, 1, a, n_a, x);
    if (!status && !itself) status = distance_lengths(ctx, options, NULL, 1, b, n_b, y);
    if (itself) memcpy(y, x, n_a * sizeof *x);
    if (!status && kind == DISTANCE_NCD) {
        status = distance_joint(ctx, options, a, n_a, b, n_b, d);
    } else if (!status) {
        status = distance_lengths(ctx, options, a, n_a, b, n_b, d);
        if (itself)
            memcpy(back, d, n * sizeof *d);
        else if (!status)
            status = distance_lengths(ctx, options, b, n_b, a, n_a, back);
    }
    for (size_t i = 0; i < n_a && !status; i++)
        for (size_t j = 0; j < n_b; j++) {
            double *at = &d[i * n_b + j];
            distance_parts parts = {.x = x[i], .y = y[j]};
            if (kind == DISTANCE_NCD)
                parts.joint = *at;
            else
                parts.y_of_x = *at, parts.x_of_y = back[j * n_a + i];
            *at = distance_of(kind, &parts);
        }
    pith_free(ctx, mem);
    return status;
}
