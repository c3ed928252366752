/* Arithmetic coding of a plane with probabilities that adapt (the idea of context modelling for coefficients: X. Wu,
 * "ECECOW", 1997; of mixing: M. Mahoney, "Adaptive weighing of context models for lossless data compression", 2005).
 *
 * A decision's probability is squash(sum of w_k stretch(p_k)) over four contexts and more; counters go towards what happened by
 * 1 / (times seen + 1.5), the weights of the node downhill in coding cost. Alphabets above 256 go down the plain tree of
 * their bits, a counter in each node.
 *
 * A code is: its size in bytes; [first, last, kind, width, centre (2), mean as a number] of alphabets up to 256 with more
 * than one symbol in use, or [symbol, symbol]; the stream of the range coder. */
#include "kernels/represent/adaptive.h"
#include "kernels/represent/adaptive_contexts.h"
#include "kernels/represent/pack_parts.h"
#include "kernels/represent/rans.h"

#define MEAN_MOST ((uint32_t)256 << 16)

static const adaptive_ops *ops(void) {
#ifndef PITH_NO_X86
    if (pith_cpu_best() >= PITH_CPU_AVX512) return &adaptive_ops_avx512;
    if (pith_cpu_best() >= PITH_CPU_AVX2) return &adaptive_ops_avx2;
#endif
    return &adaptive_ops_scalar;
}

/* ---- large alphabets ---- */

typedef struct wide {
    uint32_t *counters; /* [2^bits] */
    int32_t rate[1024];
    unsigned bits;
} wide;

static pith_status wide_init(pith_ctx *ctx, wide *w, uint32_t alphabet) {
    for (w->bits = 1; (uint32_t)1 << w->bits < alphabet;) w->bits++;
    size_t n = (size_t)1 << w->bits;
    w->counters = pith_alloc(ctx, n * sizeof *w->counters);
    if (!w->counters) return pith_alloc_status(ctx);
    for (size_t i = 0; i < n; i++) w->counters[i] = (uint32_t)1 << 31;
    adaptive_rates(w->rate);
    return PITH_OK;
}

/* One of the coders is NULL. */
PITH_INLINE unsigned wide_code(wide *w, rc_enc *to, rc_dec *from, unsigned symbol) {
    unsigned node = 1;
    for (unsigned k = w->bits; k-- > 0;) {
        unsigned p = w->counters[node] >> 16, bit = symbol >> k & 1;
        p = PITH_MIN(PITH_MAX(p, 16u), 65520u);
        if (to) rc_enc_bit(to, p, bit);
        else bit = rc_dec_bit(from, p);
        w->counters[node] = adaptive_counted(w->counters[node], bit, w->rate);
        node = 2 * node + bit;
    }
    return node - (1u << w->bits);
}

/* ---- streams ---- */

static void count_codes(const repr_plane *plane, uint32_t count[ADAPTIVE_SYMBOLS]) {
    memset(count, 0, ADAPTIVE_SYMBOLS * sizeof *count);
    for (size_t i = 0; i < plane->n; i++) count[plane->codes[i]]++;
}

/* false: one symbol alone. */
static bool make_head(const repr_plane *plane, adaptive_head *h) {
    uint32_t count[ADAPTIVE_SYMBOLS];
    rans_table t;
    count_codes(plane, count);
    for (t.first = 0; !count[t.first];) t.first++;
    for (t.last = 255; !count[t.last];) t.last--;
    h->first = (uint8_t)t.first;
    h->last = (uint8_t)t.last;
    if (t.first == t.last) return false;
    unsigned kind, centre16, width;
    rans_table_fit_curve(count, plane->n, &t, &kind, &centre16, &width);
    h->kind = (uint8_t)kind;
    h->centre16 = (uint16_t)centre16;
    h->width = (uint8_t)width;
    uint64_t sum = 0;
    int64_t centre = (centre16 + 8u) / 16;
    for (unsigned s = t.first; s <= t.last; s++) sum += (uint64_t)(s > centre ? s - centre : centre - s) * count[s];
    h->mean = (uint32_t)PITH_MAX((sum << 12) / plane->n << 4, 1024u);
    return true;
}

static pith_status put_head(pith_ctx *ctx, const adaptive_head *h, bool many, pith_buffer *out) {
    uint8_t bytes[6] = {h->first, h->last, h->kind, h->width, (uint8_t)h->centre16, (uint8_t)(h->centre16 >> 8)};
    pith_status status = pith_buffer_append(ctx, out, bytes, many ? 6 : 2);
    return status || !many ? status : repr_put_number(ctx, out, h->mean);
}

static bool take_head(repr_reader *in, adaptive_head *h, uint32_t alphabet) {
    const uint8_t *ends = repr_take(in, 2), *rest;
    uint64_t mean;
    if (!ends || ends[0] > ends[1] || ends[1] >= alphabet) return false;
    *h = (adaptive_head){.first = ends[0], .last = ends[1]};
    if (ends[0] == ends[1]) return true;
    if (!(rest = repr_take(in, 4)) || !repr_take_number(in, MEAN_MOST, &mean) || mean < 1024) return false;
    h->kind = rest[0];
    h->width = rest[1];
    h->centre16 = load16(rest + 2);
    h->mean = (uint32_t)mean;
    return rans_table_is_curve(h->kind, h->centre16);
}

/* Runs the coder over the plane; *size is SIZE_MAX when `cap` was not enough. */
static pith_status encode_stream(pith_ctx *ctx, const repr_plane *plane, const adaptive_head *head,
                                 adaptive_before before, uint8_t *dst, size_t cap, size_t *size) {
    rc_enc c;
    rc_enc_init(&c, dst, cap);
    if (plane->alphabet > ADAPTIVE_SYMBOLS) {
        wide w;
        pith_status status = wide_init(ctx, &w, plane->alphabet);
        if (status) return status;
        for (size_t i = 0; i < plane->n; i++) wide_code(&w, &c, NULL, plane->codes[i]);
        pith_free(ctx, w.counters);
    } else {
        adaptive_model *m = pith_alloc(ctx, sizeof *m);
        if (!m) return pith_alloc_status(ctx);
        pith_status status = adaptive_model_init(ctx, m, head, before, plane->n, plane->row);
        if (!status) {
            ops()->encode(m, &c, plane->codes, plane->n);
            adaptive_model_free(ctx, m);
        }
        pith_free(ctx, m);
        if (status) return status;
    }
    *size = rc_enc_finish(&c);
    return PITH_OK;
}

pith_status adaptive_encode(pith_ctx *ctx, const repr_plane *plane, adaptive_before before, pith_buffer *out) {
    adaptive_head head = {0};
    bool wide_alphabet = plane->alphabet > ADAPTIVE_SYMBOLS, many = wide_alphabet || make_head(plane, &head);
    pith_status status = wide_alphabet ? PITH_OK : put_head(ctx, &head, many, out);
    if (status || !many) return status;
    size_t size = SIZE_MAX;
    uint8_t *stream = NULL;
    /* what adapts badly may grow: a decision costs 11 bits at most, a code has 16 of them */
    for (size_t cap = 2 * plane->n + 64; !status && size == SIZE_MAX; cap *= 4) {
        pith_free(ctx, stream);
        stream = pith_alloc(ctx, cap);
        status = stream ? encode_stream(ctx, plane, &head, before, stream, cap, &size) : pith_alloc_status(ctx);
    }
    if (!status) status = repr_put_number(ctx, out, size);
    if (!status) status = pith_buffer_append(ctx, out, stream, size);
    pith_free(ctx, stream);
    return status;
}

static pith_status decode_stream(pith_ctx *ctx, const adaptive_head *head, adaptive_before before, rc_dec *c,
                                 uint16_t *codes, size_t n, size_t row, uint32_t alphabet) {
    if (alphabet > ADAPTIVE_SYMBOLS) {
        wide w;
        pith_status status = wide_init(ctx, &w, alphabet);
        if (status) return status;
        bool good = true;
        for (size_t i = 0; i < n; i++) {
            codes[i] = (uint16_t)wide_code(&w, NULL, c, 0);
            good &= codes[i] < alphabet;
        }
        pith_free(ctx, w.counters);
        return good ? PITH_OK : pith_fail(ctx, PITH_E_FORMAT, "a code is past the end of its alphabet");
    }
    adaptive_model *m = pith_alloc(ctx, sizeof *m);
    if (!m) return pith_alloc_status(ctx);
    pith_status status = adaptive_model_init(ctx, m, head, before, n, row);
    if (!status) {
        ops()->decode(m, c, codes, n);
        adaptive_model_free(ctx, m);
    }
    pith_free(ctx, m);
    return status;
}

pith_status adaptive_decode(pith_ctx *ctx, repr_reader *in, adaptive_before before, uint16_t *codes, size_t n, size_t row,
                            uint32_t alphabet) {
    adaptive_head head = {0};
    if (alphabet <= ADAPTIVE_SYMBOLS && !take_head(in, &head, alphabet))
        return pith_fail(ctx, PITH_E_FORMAT, "the head of adaptive codes is wrong");
    if (alphabet <= ADAPTIVE_SYMBOLS && head.first == head.last) {
        for (size_t i = 0; i < n; i++) codes[i] = head.first;
        return PITH_OK;
    }
    uint64_t size;
    bool whole = repr_take_number(in, SIZE_MAX, &size);
    const uint8_t *stream = whole ? repr_take(in, (size_t)size) : NULL;
    if (!stream) return pith_fail(ctx, PITH_E_FORMAT, "adaptive codes are cut off");
    rc_dec c;
    rc_dec_init(&c, stream, (size_t)size);
    pith_status status = decode_stream(ctx, &head, before, &c, codes, n, row, alphabet);
    if (!status && !rc_dec_ok(&c)) status = pith_fail(ctx, PITH_E_FORMAT, "adaptive codes end before their bytes do");
    return status;
}
