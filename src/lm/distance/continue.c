/* Any coder as a generator: the next byte from the code lengths of what would be with each of the 256
 * (G. Deletang et al., Language modeling is compression, 2024, section 3.4). */
#include <math.h>

#include "lm/distance/distance.h"

static double uniform(uint64_t *state) { /* SplitMix64, in [0, 1) */
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (double)((z ^ z >> 31) >> 11) / 9007199254740992.0;
}

static uint8_t draw(const double bits[256], double temperature, uint64_t *state) {
    double low = bits[0], weight[256], sum = 0;
    unsigned best = 0;
    for (unsigned b = 1; b < 256; b++)
        if (bits[b] < low) low = bits[b], best = b;
    if (temperature <= 0) return (uint8_t)best;
    for (unsigned b = 0; b < 256; b++) sum += weight[b] = exp2((low - bits[b]) / temperature);
    double at = uniform(state) * sum;
    for (unsigned b = 0; b < 256; b++)
        if ((at -= weight[b]) < 0) return (uint8_t)b;
    return (uint8_t)best;
}

pith_status codelen_continue(pith_ctx *ctx, const codelen_options *options, const uint8_t *prompt, size_t prompt_n,
                             size_t n, double temperature, uint64_t seed, pith_buffer *out) {
    /* the text is what is coded, without prior: x and each x b */
    codelen_options o = *options;
    if (prompt_n > SIZE_MAX / 4 || n > SIZE_MAX / 4) return pith_fail(ctx, PITH_E_LIMIT, "the text is too long");
    o.max_bytes = prompt_n + n + 1;
    bool chain = o.kind == CODELEN_CM || o.kind == CODELEN_CM_LARGE || o.kind == CODELEN_SSM;
    codelen *c;
    pith_buffer text = {0};
    pith_status status = codelen_new(ctx, &o, &c);
    if (status) return status;
    status = pith_buffer_append(ctx, &text, prompt, prompt_n);
    for (size_t i = 0; i < n && !status; i++) {
        double bits[256];
        if (pith_cancelled(ctx)) status = PITH_E_CANCELLED;
        /* a predictor reads x once: C(x b) - C(x) = K(b | x) */
        if (!status && chain) status = codelen_prime(c, text.data, text.size);
        if (!status) status = pith_buffer_append(ctx, &text, "", 1);
        for (unsigned b = 0; b < 256 && !status; b++) {
            uint8_t *last = &text.data[text.size - 1];
            *last = (uint8_t)b;
            status = chain ? codelen_bits(c, last, 1, &bits[b]) : codelen_bits(c, text.data, text.size, &bits[b]);
        }
        if (!status) text.data[text.size - 1] = draw(bits, temperature, &seed);
    }
    if (!status) status = pith_buffer_append(ctx, out, text.data + prompt_n, n);
    codelen_free(c);
    pith_buffer_free(ctx, &text);
    return status;
}
