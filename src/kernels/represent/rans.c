/* rANS streams: table; then the 4-byte states with which decoding begins, 1, 4 or 32 by the number of symbols; the
 * number of words; the words. Symbol i belongs to state i mod lanes; decoding ends with all states at 2^15. */
#include "kernels/represent/rans.h"

#define LANES_4_FROM 512
#define LANES_32_FROM 16384

static const rans_ops *ops(void) {
#ifndef PITH_NO_X86
    if (pith_cpu_best() >= PITH_CPU_AVX512) return &rans_ops_avx512;
    if (pith_cpu_best() >= PITH_CPU_AVX2) return &rans_ops_avx2;
#endif
    return &rans_ops_scalar;
}

static unsigned lanes_for(size_t n) { return n < LANES_4_FROM ? 1 : n < LANES_32_FROM ? 4 : RANS_LANES; }

static void coder_of(const rans_table *t, rans_coder *c) {
    uint32_t start = 0;
    for (unsigned s = 0; s < 256; s++) {
        uint32_t f = t->freq[s], shift = 0;
        while (f > 1u << shift) shift++;
        /* of frequency 1 the quotient comes out as x - 1, which the offset makes good */
        uint32_t inverse = f <= 1 ? UINT32_MAX : (uint32_t)((((uint64_t)1 << (shift + 31)) + f - 1) / f);
        uint32_t offset = f == 1 ? start + RANS_TOTAL - 1 : start;
        c->rest[s] = f | offset << 12 | (shift ? shift - 1 : 0) << 25;
        c->inverse[s] = inverse;
        start += f;
    }
}

/* Backwards from the end p, which has 32 bytes of room below all it could need; gives the first word. */
static uint8_t *code(const rans_coder *c, const uint8_t *src, size_t n, unsigned lanes, uint32_t *states, uint8_t *p) {
    size_t rounds = lanes == RANS_LANES ? n / RANS_LANES : 0, i = n;
    while (i > rounds * RANS_LANES) {
        i--;
        states[i & (lanes - 1)] = rans_put(c, src[i], states[i & (lanes - 1)], &p);
    }
    return rounds ? ops()->encode(c, states, src, rounds, p) : p;
}

pith_status rans_encode(pith_ctx *ctx, const uint8_t *src, size_t n, const uint32_t count[256], pith_buffer *out) {
    rans_table t;
    rans_coder coder;
    uint32_t states[RANS_LANES];
    unsigned lanes = lanes_for(n);
    size_t most = 2 * n + 4 * lanes + RANS_TABLE_BYTES + PITH_VARINT_MAX + 32, n_table = 0;
    pith_status status = pith_buffer_reserve(ctx, out, most);
    if (status) return status;
    uint8_t *at = out->data + out->size;
    rans_table_fit(count, n, &t, at, &n_table);
    at += n_table;
    coder_of(&t, &coder);
    for (unsigned s = 0; s < lanes; s++) states[s] = RANS_LOW;
    uint8_t *end = out->data + out->size + most, *first = code(&coder, src, n, lanes, states, end);
    for (unsigned s = 0; s < lanes; s++, at += 4) store32(at, states[s]);
    at += pith_varint_put(at, (uint64_t)(end - first) / 2);
    memmove(at, first, (size_t)(end - first));
    out->size = (size_t)(at - out->data) + (size_t)(end - first);
    return PITH_OK;
}

static void decode_table(const rans_table *t, uint32_t table[RANS_TOTAL]) {
    uint32_t start = 0;
    for (unsigned s = t->first; s <= t->last; s++) {
        uint32_t f = t->freq[s];
        for (uint32_t k = 0; k < f; k++) table[start + k] = f | k << 12 | s << 24;
        start += f;
    }
}

bool rans_decode(repr_reader *in, uint8_t *dst, size_t n) {
    rans_table t;
    uint32_t table[RANS_TOTAL], states[RANS_LANES];
    unsigned lanes = lanes_for(n);
    uint64_t n_words;
    if (n < 2 || n > RANS_MOST || !rans_table_take(in, &t)) return false;
    const uint8_t *first = repr_take(in, 4 * lanes);
    if (!first) return false;
    for (unsigned s = 0; s < lanes; s++) {
        states[s] = load32(first + 4 * s);
        if (states[s] < RANS_LOW || states[s] >> 31) return false;
    }
    if (!repr_take_number(in, n, &n_words)) return false;
    const uint8_t *p = repr_take(in, (size_t)(2 * n_words)), *end = in->p;
    if (!p) return false;
    decode_table(&t, table);
    size_t i = 0;
    while (lanes == RANS_LANES) {
        size_t room = (size_t)(end - p), n_rounds = room > 32 ? (room - 32) / (2 * RANS_LANES) : 0;
        n_rounds = PITH_MIN(n_rounds, (n - i) / RANS_LANES);
        if (!n_rounds) break;
        p = ops()->decode(table, states, p, dst + i, n_rounds);
        i += n_rounds * RANS_LANES;
    }
    for (; i < n; i++) {
        uint32_t x = states[i & (lanes - 1)], e = table[x & (RANS_TOTAL - 1)];
        x = (e & 0xFFF) * (x >> RANS_BITS) + (e >> 12 & 0xFFF);
        dst[i] = (uint8_t)(e >> 24);
        if (x < RANS_LOW) {
            if (p == end) return false;
            x = x << 16 | load16(p);
            p += 2;
        }
        states[i & (lanes - 1)] = x;
    }
    for (unsigned s = 0; s < lanes; s++)
        if (states[s] != RANS_LOW) return false;
    return p == end;
}
