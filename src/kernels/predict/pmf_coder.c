/* Symbols of a large alphabet under a distribution that comes as floats.
 *
 * Each probability becomes the whole number 1 + floor(p * 2^30), by one exact multiplication and
 * a truncation, so equal floats give equal numbers everywhere. A symbol is then coded by the
 * decisions on the way down the binary tree of numbers, most significant bit first; the probability
 * of a decision is a quotient of sums rounded to 16 bits. Against a single interval of 2^16 parts
 * this keeps rare symbols of large alphabets cheap: nothing is wasted on a floor per symbol. */
#include "kernels/predict/predict.h"
#include "kernels/predict/rc.h"

#define MAX_SYMBOLS ((size_t)1 << 24)
#define SCALE 1073741824.0f /* 2^30 */

struct pmf_coder {
    size_t n;
    size_t top;     /* the power of two that holds all symbols */
    uint64_t *upto; /* [n + 1] sum of the numbers of all lower symbols */
    rc_enc enc;
    rc_dec dec;
};

uint64_t pmf_coder_memory(size_t n_symbols) { return sizeof(pmf_coder) + 8 * ((uint64_t)n_symbols + 1); }

pith_status pmf_coder_new(pith_ctx *ctx, size_t n_symbols, pmf_coder **out) {
    *out = NULL;
    if (n_symbols < 1 || n_symbols > MAX_SYMBOLS)
        return pith_fail(ctx, PITH_E_ARGUMENT, "an alphabet of %zu symbols; 1 to %zu can be coded", n_symbols, MAX_SYMBOLS);
    pmf_coder *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    c->n = n_symbols;
    for (c->top = 1; c->top < n_symbols;) c->top *= 2;
    c->upto = pith_zalloc(ctx, (n_symbols + 1) * sizeof *c->upto);
    if (!c->upto) {
        pith_status status = pith_alloc_status(ctx);
        pith_free(ctx, c);
        return status;
    }
    for (size_t i = 0; i < n_symbols; i++) c->upto[i + 1] = i + 1; /* all alike until a distribution is set */
    *out = c;
    return PITH_OK;
}

void pmf_coder_free(pith_ctx *ctx, pmf_coder *c) {
    if (!c) return;
    pith_free(ctx, c->upto);
    pith_free(ctx, c);
}

void pmf_coder_set(pmf_coder *c, const float *p) {
    uint64_t sum = 0;
    for (size_t i = 0; i < c->n; i++) {
        /* written so that a NaN counts as 0; 1 at most, so that no sum can overflow */
        float q = p[i] > 0 ? PITH_MIN(p[i], 1.0f) * SCALE : 0;
        sum += 1 + (uint64_t)(uint32_t)q;
        c->upto[i + 1] = sum;
    }
}

/* Probability that a symbol of [low, low + 2 half) is in its upper half; the half is not empty. */
static unsigned upper(const pmf_coder *c, size_t low, size_t half) {
    size_t end = PITH_MIN(low + 2 * half, c->n);
    uint64_t all = c->upto[end] - c->upto[low], up = c->upto[end] - c->upto[low + half];
    /* all < 2^24 * (2^30 + 1): shifted by 16 it may pass 64 bits */
    while (all >> 47) all >>= 1, up >>= 1;
    uint64_t p16 = ((up << 16) + all / 2) / all;
    return (unsigned)PITH_MIN(PITH_MAX(p16, 1u), 65535u);
}

void pmf_coder_encode(pmf_coder *c, uint8_t *dst, size_t cap) { rc_enc_init(&c->enc, dst, cap); }

void pmf_coder_put(pmf_coder *c, uint32_t symbol) {
    size_t low = 0;
    for (size_t half = c->top / 2; half; half /= 2) {
        if (low + half >= c->n) continue; /* nothing up there */
        unsigned bit = symbol >= low + half;
        rc_enc_bit(&c->enc, upper(c, low, half), bit);
        if (bit) low += half;
    }
}

void pmf_coder_put_bit(pmf_coder *c, unsigned p16, unsigned bit) { rc_enc_bit(&c->enc, p16, bit); }

size_t pmf_coder_finish(pmf_coder *c) { return rc_enc_finish(&c->enc); }

void pmf_coder_decode(pmf_coder *c, const uint8_t *src, size_t n) { rc_dec_init(&c->dec, src, n); }

uint32_t pmf_coder_get(pmf_coder *c) {
    size_t low = 0;
    for (size_t half = c->top / 2; half; half /= 2) {
        if (low + half >= c->n) continue;
        if (rc_dec_bit(&c->dec, upper(c, low, half))) low += half;
    }
    return (uint32_t)low;
}

unsigned pmf_coder_get_bit(pmf_coder *c, unsigned p16) { return rc_dec_bit(&c->dec, p16); }

bool pmf_coder_end(const pmf_coder *c) { return rc_dec_ok(&c->dec); }
