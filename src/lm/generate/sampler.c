/* From logits to one token: penalties and cuts, then an exponential race.
 *
 * With independent r_i uniform in (0, 1), argmin -ln(r_i) / p_i is i with probability p_i. The r_i
 * are a hash of (seed, place, i), not a stream, so that a choice does not depend on which other
 * places were looked at before: drafts change nothing. Sums are made in a fixed order. */
#include <math.h>

#include "lm/generate/generate.h"
#include "math/math.h"

typedef struct candidate {
    uint32_t id;
    float logit;
    float weight; /* in proportion to its probability, 1 for the best */
    float shift;  /* of the typical cut: distance of its surprise from the mean */
} candidate;

struct sampler {
    sampling how;
    size_t n_vocab;
    candidate *list; /* [n_vocab]; of `n` that are left */
    size_t n;
    bool sorted;      /* best first */
    float *buffer;    /* [n_vocab] */
    uint32_t *counts; /* [n_vocab] in the window; zero between calls */
    choice *choices;  /* [n_vocab], made when first asked for */
    pith_ctx *ctx;
};

sampling sampling_defaults(void) {
    return (sampling){.repeat_penalty = 1,
                      .penalty_window = 64,
                      .top_k = 40,
                      .typical = 1,
                      .top_p = 0.95f,
                      .min_p = 0.05f,
                      .temperature = 0.8f};
}

static pith_status check(pith_ctx *ctx, const sampling *h, size_t n_vocab) {
    const struct {
        const char *name;
        float value, low, high;
    } settings[] = {{"temperature", h->temperature, 0, 1e6f},
                    {"top-p", h->top_p, 0, 1},
                    {"min-p", h->min_p, 0, 1},
                    {"typical", h->typical, 0, 1},
                    {"repeat penalty", h->repeat_penalty, 1e-3f, 1e3f},
                    {"frequency penalty", h->frequency_penalty, -1e3f, 1e3f},
                    {"presence penalty", h->presence_penalty, -1e3f, 1e3f}};
    for (size_t i = 0; i < PITH_COUNT(settings); i++)
        if (!(settings[i].value >= settings[i].low && settings[i].value <= settings[i].high))
            return pith_fail(ctx, PITH_E_ARGUMENT, "%s %g: from %g to %g", settings[i].name, (double)settings[i].value,
                             (double)settings[i].low, (double)settings[i].high);
    for (size_t i = 0; i < h->n_biases; i++)
        if (h->biases[i].id >= n_vocab || isnan(h->biases[i].bias))
            return pith_fail(ctx, PITH_E_ARGUMENT, "bias %zu: token %u of %zu by %g", i, h->biases[i].id, n_vocab,
                             (double)h->biases[i].bias);
    return PITH_OK;
}

pith_status sampler_new(pith_ctx *ctx, const sampling *how, size_t n_vocab, sampler **out) {
    *out = NULL;
    pith_status status = check(ctx, how, n_vocab);
    if (status) return status;
    if (n_vocab == 0 || n_vocab > UINT32_MAX)
        return pith_fail(ctx, PITH_E_ARGUMENT, "a vocabulary of %zu tokens", n_vocab);
    sampler *s = pith_zalloc(ctx, sizeof *s);
    if (!s) return pith_alloc_status(ctx);
    s->ctx = ctx;
    s->how = *how;
    s->n_vocab = n_vocab;
    s->list = pith_alloc(ctx, n_vocab * sizeof *s->list);
    s->buffer = s->list ? pith_alloc(ctx, n_vocab * sizeof *s->buffer) : NULL;
    s->counts = s->buffer ? pith_zalloc(ctx, n_vocab * sizeof *s->counts) : NULL;
    s->choices = s->counts ? pith_alloc(ctx, n_vocab * sizeof *s->choices) : NULL;
    if (!s->choices) {
        status = pith_alloc_status(ctx);
        sampler_free(ctx, s);
        return status;
    }
    *out = s;
    return PITH_OK;
}

void sampler_free(pith_ctx *ctx, sampler *s) {
    if (!s) return;
    pith_free(ctx, s->list);
    pith_free(ctx, s->buffer);
    pith_free(ctx, s->counts);
    pith_free(ctx, s->choices);
    pith_free(ctx, s);
}

/* ---- order ---- */

PITH_INLINE bool before(const candidate *a, const candidate *b) {
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static int by_logit(const void *a, const void *b) { return before(a, b) ? -1 : 1; }

static int by_shift(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->shift != y->shift) return x->shift < y->shift ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* Restores the heap of n below i: `first` true keeps the best on top, else the worst. */
static void sift(candidate *heap, size_t n, size_t i, bool best_on_top) {
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) return;
        if (child + 1 < n && before(&heap[child + 1], &heap[child]) == best_on_top) child++;
        if (before(&heap[child], &heap[i]) != best_on_top) return;
        candidate c = heap[i];
        heap[i] = heap[child];
        heap[child] = c;
        i = child;
    }
}

static void make_heap(candidate *heap, size_t n, bool best_on_top) {
    for (size_t i = n / 2; i-- > 0;) sift(heap, n, i, best_on_top);
}

/* ---- steps ---- */

static void load(sampler *s, const float *logits, const uint32_t *history, size_t n) {
    const sampling *h = &s->how;
    for (size_t i = 0; i < s->n_vocab; i++)
        s->list[i] = (candidate){(uint32_t)i, isnan(logits[i]) ? -INFINITY : logits[i], 0, 0};
    for (size_t i = 0; i < h->n_biases; i++) s->list[h->biases[i].id].logit += h->biases[i].bias;
    s->n = s->n_vocab;
    s->sorted = false;
    if (h->repeat_penalty == 1 && h->frequency_penalty == 0 && h->presence_penalty == 0) return;
    size_t first = n > h->penalty_window ? n - h->penalty_window : 0;
    for (size_t i = first; i < n; i++)
        if (history[i] < s->n_vocab) s->counts[history[i]]++;
    for (size_t i = first; i < n; i++) {
        if (history[i] >= s->n_vocab || s->counts[history[i]] == 0) continue;
        candidate *c = &s->list[history[i]];
        c->logit = c->logit <= 0 ? c->logit * h->repeat_penalty : c->logit / h->repeat_penalty;
        c->logit = c->logit - ((float)s->counts[c->id] * h->frequency_penalty + h->presence_penalty);
        s->counts[c->id] = 0;
    }
}

static float best_logit(const sampler *s) {
    float best = s->list[0].logit;
    for (size_t i = 1; i < s->n && !s->sorted; i++) best = PITH_MAX(best, s->list[i].logit);
    return best;
}

/* Sets the weights of what is left and gives their sum, in order of the list. */
static double weigh(sampler *s) {
    float best = best_logit(s);
    for (size_t i = 0; i < s->n; i++) s->buffer[i] = s->list[i].logit == best ? 0 : s->list[i].logit - best;
    exact()->exp(s->buffer, s->buffer, s->n);
    double sum = 0;
    for (size_t i = 0; i < s->n; i++) {
        s->list[i].weight = s->buffer[i];
        sum = sum + (double)s->buffer[i];
    }
    return sum;
}

static void cut_top_k(sampler *s, size_t k) {
    if (k == 0 || k >= s->n) return;
    make_heap(s->list, k, false);
    for (size_t i = k; i < s->n; i++)
        if (before(&s->list[i], &s->list[0])) {
            s->list[0] = s->list[i];
            sift(s->list, k, 0, false);
        }
    s->n = k;
    qsort(s->list, s->n, sizeof *s->list, by_logit);
    s->sorted = true;
}

static void cut_typical(sampler *s, float mass) {
    if (mass >= 1) return;
    double sum = weigh(s), log_sum = real_log(sum), entropy = 0, total = 0;
    float best = best_logit(s);
    for (size_t i = 0; i < s->n; i++) {
        const candidate *c = &s->list[i];
        if (c->weight > 0) entropy = entropy + (double)c->weight / sum * (log_sum - ((double)c->logit - (double)best));
    }
    for (size_t i = 0; i < s->n; i++) {
        candidate *c = &s->list[i];
        c->shift = c->weight > 0 ? (float)fabs(log_sum - ((double)c->logit - (double)best) - entropy) : INFINITY;
    }
    qsort(s->list, s->n, sizeof *s->list, by_shift);
    size_t kept = 0;
    while (kept < s->n && total <= (double)mass * sum) total = total + (double)s->list[kept++].weight;
    s->n = kept;
    s->sorted = false;
}

static void cut_top_p(sampler *s, float mass) {
    if (mass >= 1) return;
    double wanted = weigh(s) * (double)mass, total = 0;
    size_t kept = 0;
    if (s->sorted) {
        do total = total + (double)s->list[kept++].weight;
        while (kept < s->n && total < wanted);
    } else {
        /* The best leave the heap one by one, to the end of the list, which is then turned round. */
        make_heap(s->list, s->n, true);
        do {
            candidate c = s->list[0];
            s->list[0] = s->list[s->n - 1 - kept];
            s->list[s->n - 1 - kept] = c;
            kept++;
            sift(s->list, s->n - kept, 0, true);
            total = total + (double)c.weight;
        } while (kept < s->n && total < wanted);
        memmove(s->list, s->list + s->n - kept, kept * sizeof *s->list);
        for (size_t i = 0; i < kept / 2; i++) {
            candidate c = s->list[i];
            s->list[i] = s->list[kept - 1 - i];
            s->list[kept - 1 - i] = c;
        }
        s->sorted = true;
    }
    s->n = kept;
}

static void cut_min_p(sampler *s, float p) {
    if (p <= 0) return;
    float least = best_logit(s) + (float)real_log((double)p);
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->list[i].logit >= least) s->list[kept++] = s->list[i];
    s->n = kept ? kept : 1;
}

static void only_best(sampler *s) {
    candidate best = s->list[0];
    for (size_t i = 1; i < s->n; i++)
        if (before(&s->list[i], &best)) best = s->list[i];
    s->list[0] = best;
    s->list[0].weight = 1;
    s->n = 1;
}

/* Leaves what may be chosen, weighed. */
static double narrow(sampler *s, const float *logits, const uint32_t *history, size_t n) {
    const sampling *h = &s->how;
    load(s, logits, history, n);
    if (h->temperature == 0) { /* no cut takes the best away, but the typical one */
        if (h->typical < 1) {
            cut_top_k(s, h->top_k);
            cut_typical(s, h->typical);
        }
        only_best(s);
        return 1;
    }
    cut_top_k(s, h->top_k);
    cut_typical(s, h->typical);
    cut_top_p(s, h->top_p);
    cut_min_p(s, h->min_p);
    for (size_t i = 0; i < s->n; i++) s->list[i].logit = s->list[i].logit / h->temperature;
    return weigh(s);
}

/* ---- the choice ---- */

/* The finaliser of SplitMix64 (Steele, Lea and Flood, 2014). */
PITH_INLINE uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

uint32_t sampler_choose(sampler *s, const float *logits, const uint32_t *history, size_t n) {
    narrow(s, logits, history, n);
    if (s->n == 1) return s->list[0].id;
    const uint64_t odd = 0x9E3779B97F4A7C15u;
    uint64_t place = mix(mix(s->how.seed + odd) + odd * ((uint64_t)n + 1));
    uint32_t chosen = s->list[0].id;
    double first = INFINITY;
    for (size_t i = 0; i < s->n; i++) {
        const candidate *c = &s->list[i];
        /* 1 - r in (0, 1), so that the smallest times are the finest; -ln(r) is above 1 - r. */
        double rest = ((double)(mix(place + odd * ((uint64_t)c->id + 1)) >> 12) + 0.5) * 0x1p-52;
        if (!(c->weight > 0) || rest > first * (double)c->weight) continue;
        double time = -real_log(1 - rest) / (double)c->weight;
        if (time < first || (time == first && c->id < chosen)) {
            first = time;
            chosen = c->id;
        }
    }
    return chosen;
}

const choice *sampler_choices(sampler *s, const float *logits, const uint32_t *history, size_t n, size_t *n_choices) {
    double sum = narrow(s, logits, history, n);
    for (size_t i = 0; i < s->n; i++) s->choices[i] = (choice){s->list[i].id, (double)s->list[i].weight / sum};
    *n_choices = s->n;
    return s->choices;
}
