/* What published systems claim about the order of codes, held against the table of `pith bench model`: at equal bytes,
 * and only where the difference is more than two standard errors of it, paired by token. */
#include <math.h>
#include <string.h>

#include "faces/cli/bench_model.h"

const char *const bench_verdicts[] = {"not tried", "holds", "refuted", "no difference"};

uint64_t bench_bytes_of(const bench_result *r) { return r->trial.bytes + r->trial.other_bytes; }

#define TOLERANCE 1.001 /* bytes that count as equal */

static double bits_of(const bench_result *r) { return model_trial_bits(&r->trial); }

static const bench_result *find(const bench_models *b, const char *name) {
    for (unsigned i = 0; i < b->n; i++)
        if (b->results[i].done && strcmp(b->results[i].code.name, name) == 0) return &b->results[i];
    return NULL;
}

/* A point between two codes: ln KL = (1 - share) ln KL_low + share ln KL_high. */
typedef struct between {
    const bench_result *low, *high; /* by bytes; the same when there is but one */
    double share, kl;
} between;

static double mean_of(const bench_result *r) { return r->score.c.kl.mean; }

static between point_of(const bench_result *low, const bench_result *high, double share) {
    between p = {low, high, share, exp((1 - share) * log(mean_of(low)) + share * log(mean_of(high)))};
    return p;
}

/* KL of one token there, to first order: its mean is p->kl. */
static double token_of(const between *p, size_t i) {
    return p->kl * ((1 - p->share) * p->low->kl[i] / mean_of(p->low) + p->share * p->high->kl[i] / mean_of(p->high));
}

/* The best that codes make of so many bytes: the least KL of all pairs with these bytes between them, or when none takes
 * less, of the one with the fewest. False when all take less. */
static bool at_bytes(const bench_models *b, const char *const *names, size_t most, uint64_t bytes, between *out) {
    double least = INFINITY;
    uint64_t fewest = UINT64_MAX;
    for (size_t i = 0; i < most && names[i]; i++) {
        const bench_result *r = find(b, names[i]);
        if (r) fewest = PITH_MIN(fewest, bench_bytes_of(r));
    }
    bool any_low = fewest <= bytes;
    for (size_t i = 0; i < most && names[i]; i++)
        for (size_t k = 0; k < most && names[k]; k++) {
            const bench_result *high = find(b, names[i]), *low = any_low ? find(b, names[k]) : high;
            if (!low || !high || !(mean_of(low) > 0) || !(mean_of(high) > 0)) continue;
            double from = (double)bench_bytes_of(low), to = (double)bench_bytes_of(high);
            if (to * TOLERANCE < (double)bytes || from > (double)PITH_MAX(bytes, fewest)) continue;
            between p = point_of(low, high, to > from ? ((double)bytes - from) / (to - from) : 0);
            if (!(p.kl < least)) continue;
            *out = p;
            least = p.kl;
        }
    return isfinite(least);
}

bench_verdict bench_judge_claim(const bench_models *b, const bench_claim *c, char *found, size_t size) {
    const bench_result *better = find(b, c->better);
    between p = {NULL, NULL, 0, 0};
    found[0] = 0;
    if (!better || !at_bytes(b, c->worse, PITH_COUNT(c->worse), bench_bytes_of(better), &p)) return BENCH_UNTRIED;
    double mean = 0, squares = 0, n = (double)b->positions;
    for (size_t i = 0; i < b->positions; i++) {
        double d = c->factor * token_of(&p, i) - better->kl[i];
        mean += d / n;
        squares += d * d / n;
    }
    double error = sqrt(fmax(squares - mean * mean, 0) / fmax(n - 1, 1));
    bool between_two = p.low != p.high;
    snprintf(found, size, "%s %.5f at %.3f bits, %s%s%s %.5f; difference %.5f +- %.5f", c->better, mean_of(better),
             bits_of(better), p.low->code.name, between_two ? " to " : "", between_two ? p.high->code.name : "", p.kl,
             mean, error);
    double same = 1e-9 * p.kl; /* two rows of one code: nothing but rounding is between them */
    return fabs(mean) <= fmax(2 * error, same) ? BENCH_EQUAL : mean > 0 ? BENCH_HOLDS : BENCH_REFUTED;
}

/* Bytes at which a group's curve has this KL. Past an end of the curve that end's; *past says on which side of the
 * truth that is: 1, more bytes than it takes; -1, fewer. False without a curve. */
static bool curve_bytes(const bench_models *b, const char *group, double kl, double *bytes, int *past) {
    const bench_result *low = NULL, *high = NULL; /* the largest KL below, the smallest above */
    for (unsigned i = 0; i < b->n; i++) {
        const bench_result *r = &b->results[i];
        if (!r->done || strcmp(r->code.group, group) != 0 || !(mean_of(r) > 0)) continue;
        if (mean_of(r) <= kl && (!low || mean_of(r) > mean_of(low))) low = r;
        if (mean_of(r) >= kl && (!high || mean_of(r) < mean_of(high))) high = r;
    }
    *past = !high - !low;
    if (!low || !high) {
        if (low || high) *bytes = (double)bench_bytes_of(low ? low : high);
        return low || high;
    }
    double a = log(mean_of(low)), c = log(mean_of(high));
    double share = c > a ? (log(kl) - a) / (c - a) : 0;
    *bytes = (double)bench_bytes_of(low) + share * ((double)bench_bytes_of(high) - (double)bench_bytes_of(low));
    return true;
}

bench_verdict bench_judge_saving(const bench_models *b, const bench_saving *s, double *part) {
    const bench_result *r = find(b, s->name);
    double bytes;
    int past;
    *part = 0;
    if (!r || !(mean_of(r) > 0) || !curve_bytes(b, s->group, mean_of(r), &bytes, &past)) return BENCH_UNTRIED;
    *part = bytes / (double)bench_bytes_of(r);
    if ((past > 0 && *part > s->part) || (past < 0 && *part <= s->part)) return BENCH_UNTRIED;
    return *part <= s->part ? BENCH_HOLDS : BENCH_REFUTED;
}
