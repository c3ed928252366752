/* Length-limited Huffman codes: lengths by package-merge (L. L. Larmore, D. S. Hirschberg, "A fast algorithm for optimal
 * length-limited Huffman codes", JACM 37(3), 1990), canonical codes, least significant bit first.
 *
 * A code is: the first and the last symbol; a nibble for each symbol between them, its length, 0 where it does not occur,
 * 15 and a nibble k for k + 2 symbols that do not occur; then one stream, to its end, of fewer than STREAMS_FROM
 * symbols; else the sizes of eight, three bytes each, and the streams. Symbol i is in stream i mod 8. */
#include "kernels/represent/huffman.h"

#define STREAMS_FROM 2048
#define RUN 15
#define RUN_LEAST 2
#define RUN_MOST 17

static const huffman_ops *ops(void) {
#ifndef PITH_NO_X86
    if (pith_cpu_best() >= PITH_CPU_AVX2) return &huffman_ops_avx2;
#endif
    return &huffman_ops_scalar;
}

/* ---- lengths ---- */

uint64_t huffman_lengths(const uint32_t count[256], uint8_t length[256]) {
    uint8_t order[256];
    unsigned m = 0;
    memset(length, 0, 256);
    for (unsigned s = 0; s < 256; s++)
        if (count[s]) order[m++] = (uint8_t)s;
    if (m < 2) return 0;
    for (unsigned i = 1; i < m; i++) { /* by count, then by symbol */
        uint8_t s = order[i];
        unsigned j = i;
        for (; j > 0 && count[order[j - 1]] > count[s]; j--) order[j] = order[j - 1];
        order[j] = s;
    }
    /* From the deepest level up: pairs of the level below and the symbols themselves, merged by weight. */
    uint64_t weight[2][512];
    uint8_t is_leaf[HUFFMAN_BITS][512];
    unsigned n_below = 0;
    for (unsigned level = 0; level < HUFFMAN_BITS; level++) {
        const uint64_t *below = weight[(level + 1) & 1];
        uint64_t *here = weight[level & 1];
        unsigned leaf = 0, pair = 0, n = 0;
        while (leaf < m || 2 * pair + 1 < n_below) {
            uint64_t paired = 2 * pair + 1 < n_below ? below[2 * pair] + below[2 * pair + 1] : UINT64_MAX;
            bool take = leaf < m && count[order[leaf]] <= paired;
            here[n] = take ? count[order[leaf++]] : paired;
            pair += !take;
            is_leaf[level][n++] = take;
        }
        n_below = n;
    }
    unsigned n_taken = 2 * m - 2;
    for (unsigned level = HUFFMAN_BITS; level-- > 0;) {
        unsigned leaves = 0;
        for (unsigned i = 0; i < n_taken; i++) leaves += is_leaf[level][i];
        for (unsigned i = 0; i < leaves; i++) length[order[i]]++;
        n_taken = 2 * (n_taken - leaves);
    }
    uint64_t bits = 0;
    for (unsigned s = 0; s < 256; s++) bits += (uint64_t)count[s] * length[s];
    return bits;
}

/* Canonical codes, bit-reversed: code | length << 16. The lengths make a complete code. */
static void codes_of(const uint8_t length[256], uint32_t codes[256]) {
    unsigned of_length[HUFFMAN_BITS + 1] = {0}, next[HUFFMAN_BITS + 2] = {0};
    for (unsigned s = 0; s < 256; s++) of_length[length[s]]++;
    of_length[0] = 0;
    for (unsigned l = 1; l <= HUFFMAN_BITS; l++) next[l + 1] = (next[l] + of_length[l]) << 1;
    for (unsigned s = 0; s < 256; s++) {
        unsigned l = length[s], code = l ? next[l]++ : 0, reversed = 0;
        for (unsigned i = 0; i < l; i++) reversed |= (code >> i & 1) << (l - 1 - i);
        codes[s] = reversed | l << 16;
    }
}

/* ---- the table of lengths ---- */

typedef struct nibbles {
    uint8_t *p;
    size_t n; /* nibbles */
} nibbles;

static void put_nibble(nibbles *w, unsigned v) {
    if (w->n & 1)
        w->p[w->n / 2] |= (uint8_t)(v << 4);
    else
        w->p[w->n / 2] = (uint8_t)v;
    w->n++;
}

/* At most 2 + 128 bytes. */
static size_t put_lengths(const uint8_t length[256], uint8_t *dst) {
    unsigned first = 0, last = 255;
    while (!length[first]) first++;
    while (!length[last]) last--;
    dst[0] = (uint8_t)first;
    dst[1] = (uint8_t)last;
    nibbles w = {dst + 2, 0};
    for (unsigned s = first; s <= last;) {
        unsigned run = 0;
        while (run < RUN_MOST && !length[s + run]) run++;
        if (run < RUN_LEAST) {
            put_nibble(&w, length[s++]);
        } else {
            put_nibble(&w, RUN);
            put_nibble(&w, run - RUN_LEAST);
            s += run;
        }
    }
    return 2 + (w.n + 1) / 2;
}

static bool take_nibble(const repr_reader *r, size_t *at, unsigned *v) {
    if (*at / 2 >= (size_t)(r->end - r->p)) return false;
    *v = *at & 1 ? r->p[*at / 2] >> 4 : r->p[*at / 2] & 15;
    ++*at;
    return true;
}

/* Complete codes only: the sum of 2^-length is 1. */
static bool take_lengths(repr_reader *r, uint8_t length[256]) {
    if (r->end - r->p < 2) return false;
    unsigned first = r->p[0], last = r->p[1], sum = 0;
    r->p += 2;
    memset(length, 0, 256);
    size_t at = 0;
    for (unsigned s = first; s <= last;) {
        unsigned v, run;
        if (!take_nibble(r, &at, &v)) return false;
        if (v == RUN) {
            if (!take_nibble(r, &at, &run)) return false;
            s += run + RUN_LEAST;
            if (s > last) return false;
            continue;
        }
        if (v > HUFFMAN_BITS) return false;
        length[s++] = (uint8_t)v;
        if (v) sum += (unsigned)HUFFMAN_TABLE >> v;
    }
    r->p += (at + 1) / 2;
    return sum == HUFFMAN_TABLE;
}

/* ---- encoding ---- */

size_t huffman_bound(size_t n, uint64_t bits) {
    (void)n;
    return (size_t)(bits / 8) + 2 + 128 + 3 * HUFFMAN_LANES + HUFFMAN_LANES + 8;
}

pith_status huffman_encode(pith_ctx *ctx, const uint8_t *src, size_t n, const uint8_t length[256], pith_buffer *out) {
    const huffman_ops *fn = ops();
    size_t sizes = n < STREAMS_FROM ? 0 : 3 * HUFFMAN_LANES;
    pith_status status = pith_buffer_reserve(ctx, out, 2 + 128 + sizes + (n * HUFFMAN_BITS + 7) / 8 + HUFFMAN_LANES + 8);
    if (status) return status;
    uint32_t codes[256];
    codes_of(length, codes);
    uint8_t *at = out->data + out->size, *p;
    at += put_lengths(length, at);
    p = at + sizes;
    if (!sizes) p = fn->stream(codes, src, n, 1, p);
    for (unsigned s = 0; sizes && s < HUFFMAN_LANES; s++) {
        uint8_t *end = fn->stream(codes, src + s, n - s, HUFFMAN_LANES, p);
        size_t size = (size_t)(end - p);
        store16(at + 3 * s, (uint16_t)size);
        at[3 * s + 2] = (uint8_t)(size >> 16);
        p = end;
    }
    out->size = (size_t)(p - out->data);
    return PITH_OK;
}

/* ---- decoding ---- */

/* What is left of the streams, by loads that do not pass the end; the streams must end where their symbols do. */
static bool decode_rest(const uint16_t *table, huffman_lanes *lanes, unsigned n_lanes, const uint64_t *size,
                        const uint8_t *end, uint8_t *dst, size_t n, size_t first) {
    for (size_t i = first; i < n; i++) {
        unsigned s = (unsigned)(i & (n_lanes - 1));
        const uint8_t *p = lanes->base[s] + PITH_MIN(lanes->bit[s] >> 3, size[s]);
        uint8_t near_end[8] = {0};
        size_t left = (size_t)(end - p);
        if (left < 8) {
            memcpy(near_end, p, left);
            p = near_end;
        }
        unsigned entry = table[load64(p) >> (lanes->bit[s] & 7) & (HUFFMAN_TABLE - 1)];
        dst[i] = (uint8_t)(entry >> 8);
        lanes->bit[s] += entry & 255;
    }
    for (unsigned s = 0; s < n_lanes; s++)
        if ((lanes->bit[s] + 7) / 8 != size[s]) return false;
    return true;
}

static void table_of(const uint8_t length[256], uint16_t *table) {
    uint32_t codes[256];
    codes_of(length, codes);
    for (unsigned s = 0; s < 256; s++) {
        size_t step = (size_t)1 << length[s];
        if (!length[s]) continue;
        for (size_t i = codes[s] & 0xFFFF; i < HUFFMAN_TABLE; i += step) table[i] = (uint16_t)(length[s] | s << 8);
    }
}

bool huffman_decode(repr_reader *in, uint8_t *dst, size_t n) {
    uint8_t length[256];
    uint16_t table[HUFFMAN_TABLE];
    huffman_lanes lanes = {0};
    uint64_t size[HUFFMAN_LANES] = {0};
    if (n < 2 || n > HUFFMAN_MOST || !take_lengths(in, length)) return false;
    table_of(length, table);
    if (n < STREAMS_FROM) {
        /* one stream, whose end its symbols show */
        lanes.base[0] = in->p;
        uint64_t most = (uint64_t)(in->end - in->p);
        for (size_t i = 0; i < n; i++) {
            const uint8_t *p = in->p + PITH_MIN(lanes.bit[0] >> 3, most);
            uint32_t window = 0;
            for (unsigned k = 0; k < 3 && p + k < in->end; k++) window |= (uint32_t)p[k] << 8 * k;
            unsigned entry = table[window >> (lanes.bit[0] & 7) & (HUFFMAN_TABLE - 1)];
            dst[i] = (uint8_t)(entry >> 8);
            lanes.bit[0] += entry & 255;
            if (lanes.bit[0] > 8 * most) return false;
        }
        in->p += (lanes.bit[0] + 7) / 8;
        return true;
    }
    const uint8_t *sizes = repr_take(in, 3 * HUFFMAN_LANES);
    if (!sizes) return false;
    for (unsigned s = 0; s < HUFFMAN_LANES; s++) {
        size[s] = load16(sizes + 3 * s) | (uint64_t)sizes[3 * s + 2] << 16;
        lanes.base[s] = repr_take(in, size[s]);
        if (!lanes.base[s]) return false;
    }
    const uint8_t *end = in->p;
    size_t done = 0;
    for (;;) {
        /* as many rounds as no stream of longest codes could take past the end */
        uint64_t n_rounds = (n - done) / HUFFMAN_ROUND;
        for (unsigned s = 0; s < HUFFMAN_LANES; s++) {
            uint64_t room = (uint64_t)(end - lanes.base[s]) * 8;
            uint64_t free_bits = room > lanes.bit[s] + 64 ? room - lanes.bit[s] - 64 : 0;
            n_rounds = PITH_MIN(n_rounds, free_bits / (HUFFMAN_PER_LOAD * HUFFMAN_BITS));
        }
        if (!n_rounds) break;
        ops()->rounds(table, &lanes, dst + done, n_rounds);
        done += n_rounds * HUFFMAN_ROUND;
    }
    return decode_rest(table, &lanes, HUFFMAN_LANES, size, end, dst, n, done);
}
