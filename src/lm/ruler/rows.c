/* Two distributions over one vocabulary, position by position and summed up, as
 * llama-perplexity --kl-divergence counts them; Jensen-Shannon divergence besides. */
#include <math.h>

#include "lm/ruler/ruler.h"
#include "math/math.h"

ruler_side ruler_side_of(const float *logits, size_t n_vocab) {
    float top = logits[0];
    for (size_t i = 1; i < n_vocab; i++) top = logits[i] > top ? logits[i] : top;
    double sum = 0;
    for (size_t i = 0; i < n_vocab; i++) sum += real_exp((double)logits[i] - (double)top);
    return (ruler_side){logits, (double)top + real_log(sum)};
}

void ruler_compare_row(ruler_side base, ruler_side other, size_t n_vocab, uint32_t token, double floor,
                       ruler_row *out) {
    double kl = 0, js = 0;
    bool numbers = isfinite(base.shift) && isfinite(other.shift); /* else the sums skip what is none, and look fine */
    for (size_t i = 0; i < n_vocab; i++) {
        double lp = (double)base.x[i] - base.shift, lq = (double)other.x[i] - other.shift;
        double p = real_exp(lp), q = real_exp(lq), middle = (p + q) / 2;
        if (lp > floor && p > 0) kl += p * (lp - lq);
        /* p == q adds nothing, and saying so keeps equal models at exactly 0 */
        if (p != q && middle > 0) {
            double lm = real_log(middle);
            js += (p > 0 ? p * (lp - lm) : 0) + (q > 0 ? q * (lq - lm) : 0);
        }
    }
    *out = (ruler_row){.nll_base = base.shift - (double)base.x[token],
                       .nll = other.shift - (double)other.x[token],
                       .kl = numbers ? kl : NAN,
                       .js = !numbers ? NAN : js > 0 ? js / 2 : 0,
                       .same_top = lm_argmax(base.x, n_vocab) == lm_argmax(other.x, n_vocab)};
}

/* ---- all positions ---- */

typedef struct row_sums {
    ruler_mean nll, nll_base, delta, delta_squared;
    double both;
    size_t same;
} row_sums;

static void sum_rows(const ruler_row *rows, size_t n, row_sums *s) {
    for (size_t i = 0; i < n; i++) {
        const ruler_row *r = &rows[i];
        double delta = real_exp(-r->nll) - real_exp(-r->nll_base);
        ruler_mean_add(&s->nll, r->nll);
        ruler_mean_add(&s->nll_base, r->nll_base);
        ruler_mean_add(&s->delta, delta);
        ruler_mean_add(&s->delta_squared, delta * delta);
        s->both += r->nll * r->nll_base;
        s->same += r->same_top;
    }
}

pith_status ruler_compare_rows(pith_ctx *ctx, const ruler_row *rows, size_t n, ruler_comparison *out) {
    *out = (ruler_comparison){.n = n};
    if (!n) return pith_fail(ctx, PITH_E_ARGUMENT, "nothing was compared");
    if (n > SIZE_MAX / sizeof(double)) return pith_fail(ctx, PITH_E_LIMIT, "too many positions");
    double *values = pith_alloc(ctx, n * sizeof *values);
    if (!values) return pith_alloc_status(ctx);
    row_sums s = {0};
    sum_rows(rows, n, &s);
    double count = (double)n, mean = ruler_mean_of(&s.nll), mean_base = ruler_mean_of(&s.nll_base);
    double error = ruler_error_of(&s.nll), error_base = ruler_error_of(&s.nll_base);
    double covariance = n > 1 ? (s.both / count - mean * mean_base) / (count - 1) : 0;
    double variance = error * error + error_base * error_base - 2 * covariance;
    out->perplexity = real_exp(mean);
    out->perplexity_error = out->perplexity * error;
    out->perplexity_base = real_exp(mean_base);
    out->perplexity_base_error = out->perplexity_base * error_base;
    out->correlation = error > 0 && error_base > 0 ? covariance / (error * error_base) : 0;
    out->log_ratio = mean - mean_base;
    out->log_ratio_error = variance > 0 ? sqrt(variance) : 0;
    out->ratio = real_exp(out->log_ratio);
    out->ratio_error = out->ratio * out->log_ratio_error;
    for (size_t i = 0; i < n; i++) values[i] = rows[i].kl;
    ruler_spread_of(values, n, &out->kl);
    for (size_t i = 0; i < n; i++) values[i] = rows[i].js;
    ruler_spread_of(values, n, &out->js);
    out->same_top = (double)s.same / count;
    out->same_top_error = n > 1 ? sqrt(out->same_top * (1 - out->same_top) / (count - 1)) : 0;
    out->delta_p = ruler_mean_of(&s.delta);
    out->delta_p_error = ruler_error_of(&s.delta);
    out->rms_delta_p = sqrt(ruler_mean_of(&s.delta_squared));
    if (out->rms_delta_p > 0) out->rms_delta_p_error = 0.5 / out->rms_delta_p * ruler_error_of(&s.delta_squared);
    pith_free(ctx, values);
    return PITH_OK;
}
