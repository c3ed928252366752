/* Burrows-Wheeler blocks: long repeats out, sort, mixed bit coder.
 *
 *   one byte: 1 when repeats were taken out, else 0; when 1: varints literals_n, tokens_n, then the
 *   tokens; varint row of the whole text; a varint start for each chain of the inverse but the last;
 *   the coded symbols.
 *
 * M. Burrows, D. Wheeler, "A block-sorting lossless data compression algorithm", 1994. Sorting is
 * libdivsufsort's. The inverse is a walk through memory, so a big block is walked by eight
 * chains at once and their waiting times overlap. */
#include <divsufsort.h>

#include "artefacts/file/codec.h"
#include "kernels/predict/predict.h"

enum {
    CHAINS = 8,
    CHAINS_FROM = 1 << 20,
    CHAIN_GRAIN = 4096, /* chains begin at multiples of it */
    TOKENS_SHARE = 64,  /* repeats pay when their list is at most this part of what they remove */
    TRY_BOTH_MAX = 1 << 20,
    SORT_MEMORY = 257 * 1024, /* buckets inside libdivsufsort, which takes them from malloc and frees them */
    SORT_SHARE = 3,           /* of the time of encoding */
    ASK_EVERY = 1 << 20,      /* rows between questions whether to stop; the sort itself cannot be asked */
    HEAD_MAX = 1 + (3 + CHAINS) * PITH_VARINT_MAX
};
#define BWT_MAX ((size_t)1 << 30)
#define PACKED_MAX ((size_t)1 << 24) /* up to here an index and a symbol share 32 bits */

static unsigned n_chains(size_t n) { return n < CHAINS_FROM ? 1 : CHAINS; }

/* Chain k of the inverse writes [chain_begin(k), chain_begin(k + 1)), last byte first. */
static size_t chain_begin(size_t n, unsigned k) {
    unsigned chains = n_chains(n);
    return k == chains ? n : (size_t)((uint64_t)n * k / chains) & ~(size_t)(CHAIN_GRAIN - 1);
}

/* The sorted matrix has n + 1 rows, row 0 being the end mark alone. Its last column without the
 * end mark goes to symbols[n]; the end mark stands in row *whole, that of the whole text. starts[k]
 * is the index in symbols of the row of the text from chain_begin(k + 1) on; the last one's is 0. */
static pith_status sort_rows(pith_ctx *ctx, const uint8_t *src, size_t n, uint8_t *symbols, size_t *whole,
                             uint32_t *starts) {
    int32_t *order = pith_alloc(ctx, n * sizeof *order);
    if (!order) return pith_alloc_status(ctx);
    if (divsufsort(src, order, (int32_t)n) != 0) {
        pith_free(ctx, order);
        return pith_fail(ctx, PITH_E_MEMORY, "no memory to sort %llu bytes", (unsigned long long)n);
    }
    unsigned chains = n_chains(n);
    starts[chains - 1] = 0;
    size_t out = 0;
    bool stop = false;
    symbols[out++] = src[n - 1];
    for (size_t i = 0; i < n && !stop; i++) {
        size_t at = (size_t)order[i];
        if (PITH_UNLIKELY(i % ASK_EVERY == 0)) stop = pith_step(ctx, 0);
        if (PITH_UNLIKELY(at % CHAIN_GRAIN == 0)) {
            for (unsigned k = 0; k + 1 < chains; k++)
                if (at == chain_begin(n, k + 1)) starts[k] = (uint32_t)out;
            if (at == 0) {
                *whole = i + 1;
                continue;
            }
        }
        symbols[out++] = src[at - 1];
    }
    pith_free(ctx, order);
    return stop ? file_cancelled(ctx) : PITH_OK;
}

/* next[i]: index in symbols of the row that stands one byte further left in the text. True when to stop. */
static bool link_rows(pith_ctx *ctx, const uint8_t *symbols, size_t n, size_t whole, uint32_t *next) {
    bool packed = n <= PACKED_MAX;
    uint32_t place[256] = {0};
    for (size_t i = 0; i < n; i++) place[symbols[i]]++;
    uint32_t sum = 1;
    for (unsigned c = 0; c < 256; c++) {
        uint32_t count = place[c];
        place[c] = sum;
        sum += count;
    }
    bool stop = false;
    for (size_t from = 0; from < n && !stop; from += ASK_EVERY) {
        size_t to = PITH_MIN(n, from + ASK_EVERY);
        for (size_t i = from; i < to; i++) {
            uint32_t c = symbols[i], row = place[c]++;
            row -= row >= whole; /* past or at the row without a symbol: the index stays below n */
            next[i] = packed ? row << 8 | c : row;
        }
        stop = pith_step(ctx, 0);
    }
    return stop;
}

/* The bytes of every chain from the from-th to before the to-th, counted from its end, from 1. */
static void walk_chains(const uint8_t *symbols, const uint32_t *next, bool packed, const size_t *end, size_t from,
                        size_t to, uint32_t *at, uint8_t *dst) {
    uint32_t row[CHAINS];
    memcpy(row, at, sizeof row);
    if (packed) {
        for (size_t j = from; j < to; j++) {
            for (unsigned k = 0; k < CHAINS; k++) {
                uint32_t v = next[row[k]];
                dst[end[k] - j] = (uint8_t)v;
                row[k] = v >> 8;
            }
        }
    } else {
        for (size_t j = from; j < to; j++) {
            for (unsigned k = 0; k < CHAINS; k++) {
                dst[end[k] - j] = symbols[row[k]];
                row[k] = next[row[k]];
            }
        }
    }
    memcpy(at, row, sizeof row);
}

/* True when to stop. */
static bool walk_rows(pith_ctx *ctx, const uint8_t *symbols, const uint32_t *next, size_t n, const uint32_t *starts,
                      uint8_t *dst) {
    bool packed = n <= PACKED_MAX, stop = false;
    unsigned chains = n_chains(n);
    uint32_t at[CHAINS] = {0};
    size_t end[CHAINS], shortest = n;
    for (unsigned k = 0; k < chains; k++) {
        at[k] = starts[k];
        end[k] = chain_begin(n, k + 1);
        shortest = PITH_MIN(shortest, end[k] - chain_begin(n, k));
    }
    if (chains < CHAINS) shortest = 0;
    for (size_t j = 1; j <= shortest && !stop; j += ASK_EVERY / CHAINS) {
        walk_chains(symbols, next, packed, end, j, PITH_MIN(shortest + 1, j + ASK_EVERY / CHAINS), at, dst);
        stop = pith_step(ctx, 0);
    }
    for (unsigned k = 0; k < chains; k++) {
        size_t begin = chain_begin(n, k);
        for (size_t j = end[k] - shortest; j > begin; j--) {
            dst[j - 1] = symbols[at[k]];
            at[k] = packed ? next[at[k]] >> 8 : next[at[k]];
        }
    }
    return stop;
}

/* Head, tokens and coded symbols of literals[n] into dst; *out_n = SIZE_MAX when they do not fit. */
static pith_status encode_rows(pith_ctx *ctx, const uint8_t *literals, size_t n, uint8_t *dst, size_t cap, size_t at,
                               size_t *out_n) {
    uint8_t *symbols = pith_alloc(ctx, n);
    if (!symbols) return pith_alloc_status(ctx);
    size_t whole = 0;
    uint32_t starts[CHAINS];
    pith_status status = sort_rows(ctx, literals, n, symbols, &whole, starts);
    if (!status && pith_step(ctx, n / SORT_SHARE)) status = file_cancelled(ctx);
    if (!status) {
        uint8_t head[HEAD_MAX];
        size_t head_n = pith_varint_put(head, whole);
        for (unsigned k = 0; k + 1 < n_chains(n); k++) head_n += pith_varint_put(head + head_n, starts[k]);
        if (head_n > cap - at) {
            *out_n = SIZE_MAX;
        } else {
            memcpy(dst + at, head, head_n);
            at += head_n;
            status = bwt_coder_encode(ctx, symbols, n, dst + at, cap - at, out_n);
            if (!status && pith_step(ctx, 0)) status = file_cancelled(ctx);
            if (!status && *out_n != SIZE_MAX) *out_n += at;
        }
    }
    pith_free(ctx, symbols);
    return status;
}

/* With repeats of at least min_length taken out, when that looks worth it; else *out_n stays SIZE_MAX. */
static pith_status encode_repeats(pith_ctx *ctx, uint32_t min_length, const uint8_t *src, size_t n, uint8_t *dst,
                                  size_t cap, size_t *out_n) {
    size_t literals_n, tokens_n, tokens_cap = n / TOKENS_SHARE + 16;
    uint8_t *literals = pith_alloc(ctx, n + tokens_cap);
    if (!literals) return pith_alloc_status(ctx);
    uint8_t *tokens = literals + n;
    pith_status status = lzp_encode(ctx, min_length, src, n, literals, &literals_n, tokens, tokens_cap, &tokens_n);
    if (!status && tokens_n != SIZE_MAX && (n - literals_n) / TOKENS_SHARE > tokens_n + 8) {
        uint8_t head[1 + 2 * PITH_VARINT_MAX] = {1};
        size_t head_n = 1 + pith_varint_put(head + 1, literals_n);
        head_n += pith_varint_put(head + head_n, tokens_n);
        if (cap >= head_n && cap - head_n >= tokens_n) {
            memcpy(dst, head, head_n);
            memcpy(dst + head_n, tokens, tokens_n);
            status = encode_rows(ctx, literals, literals_n, dst, cap, head_n + tokens_n, out_n);
        }
    }
    pith_free(ctx, literals);
    return status;
}

static pith_status encode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst, size_t cap,
                          size_t *out_n) {
    *out_n = SIZE_MAX;
    if (n > BWT_MAX) return pith_fail(ctx, PITH_E_LIMIT, "a BWT block has at most %zu bytes", BWT_MAX);
    if (n == 0) {
        *out_n = 0;
        return PITH_OK;
    }
    uint32_t min_length = args->v[0];
    pith_status status = PITH_OK;
    if (min_length && n > 2 * (size_t)min_length) status = encode_repeats(ctx, min_length, src, n, dst, cap, out_n);
    /* a small block is cheap to do again without, and is where the guess is wrong most often */
    if (status || cap < 1 || (*out_n != SIZE_MAX && n > TRY_BOTH_MAX)) return status;
    size_t with_n = *out_n;
    if (with_n == SIZE_MAX) {
        dst[0] = 0;
        return encode_rows(ctx, src, n, dst, cap, 1, out_n);
    }
    uint8_t *without = pith_alloc(ctx, with_n);
    if (!without) return pith_alloc_status(ctx);
    without[0] = 0;
    status = encode_rows(ctx, src, n, without, with_n, 1, out_n);
    if (!status && *out_n < with_n)
        memcpy(dst, without, *out_n);
    else
        *out_n = with_n;
    pith_free(ctx, without);
    return status;
}

static pith_status malformed(pith_ctx *ctx) {
    return pith_fail(ctx, PITH_E_FORMAT, "the head of a BWT block is malformed");
}

/* Head and coded symbols src[n] to exactly literals_n >= 1 bytes. */
static pith_status decode_rows(pith_ctx *ctx, const uint8_t *src, size_t n, uint8_t *literals, size_t literals_n) {
    uint32_t starts[CHAINS] = {0};
    uint64_t whole, v;
    size_t at = pith_varint_get(src, n, &whole);
    if (!at || whole < 1 || whole > literals_n) return malformed(ctx);
    for (unsigned k = 0; k + 1 < n_chains(literals_n); k++) {
        size_t step = pith_varint_get(src + at, n - at, &v);
        if (!step || v >= literals_n) return malformed(ctx);
        starts[k] = (uint32_t)v;
        at += step;
    }
    uint8_t *symbols = pith_alloc(ctx, literals_n);
    if (!symbols) return pith_alloc_status(ctx);
    pith_status status = bwt_coder_decode(ctx, src + at, n - at, symbols, literals_n);
    if (!status) {
        uint32_t *next = pith_alloc(ctx, literals_n * sizeof *next);
        if (next) {
            if (link_rows(ctx, symbols, literals_n, (size_t)whole, next) ||
                walk_rows(ctx, symbols, next, literals_n, starts, literals))
                status = file_cancelled(ctx);
        } else {
            status = pith_alloc_status(ctx);
        }
        pith_free(ctx, next);
    }
    pith_free(ctx, symbols);
    return status;
}

static pith_status decode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                          size_t raw_n) {
    if (raw_n > BWT_MAX) return pith_fail(ctx, PITH_E_FORMAT, "a BWT block has at most %zu bytes", BWT_MAX);
    if (raw_n == 0) return n ? malformed(ctx) : PITH_OK;
    if (n < 1 || src[0] > 1) return malformed(ctx);
    if (src[0] == 0) return decode_rows(ctx, src + 1, n - 1, dst, raw_n);

    uint64_t literals_n, tokens_n;
    size_t at = 1, step = pith_varint_get(src + at, n - at, &literals_n);
    if (!step || literals_n < 1 || literals_n > raw_n || args->v[0] == 0) return malformed(ctx);
    at += step;
    step = pith_varint_get(src + at, n - at, &tokens_n);
    at += step;
    if (!step || tokens_n > n - at) return malformed(ctx);
    const uint8_t *tokens = src + at;
    at += (size_t)tokens_n;
    uint8_t *literals = pith_alloc(ctx, (size_t)literals_n);
    if (!literals) return pith_alloc_status(ctx);
    pith_status status = decode_rows(ctx, src + at, n - at, literals, (size_t)literals_n);
    if (!status)
        status = lzp_decode(ctx, args->v[0], literals, (size_t)literals_n, tokens, (size_t)tokens_n, dst, raw_n);
    pith_free(ctx, literals);
    return status;
}

static pith_status check(pith_ctx *ctx, const file_args *args) {
    if (args->n == 1 && (args->v[0] == 0 || (args->v[0] >= 32 && args->v[0] <= 65536))) return PITH_OK;
    return pith_fail(ctx, PITH_E_FORMAT, "bwt takes one argument, 0 or 32 to 65536");
}

static uint64_t memory(const file_args *args, size_t raw_n, bool decoding) {
    /* the second attempt at a small block holds the result of the first, not its literals */
    uint64_t n = raw_n, literals = args->v[0] ? n + n / TOKENS_SHARE + 16 : 0;
    uint64_t rows = 5 * n + (decoding ? 0 : SORT_MEMORY);
    uint64_t coding = n + bwt_coder_memory(), repeats = args->v[0] ? lzp_memory(raw_n) : 0;
    return literals + PITH_MAX(PITH_MAX(rows, coding), repeats);
}

static uint32_t cost(const file_args *args) {
    (void)args;
    return 150;
}

static uint32_t encode_cost(const file_args *args) {
    (void)args;
    return 250;
}

const file_codec file_codec_bwt = {
    .id = 4,
    .name = "bwt",
    .encode = encode,
    .decode = decode,
    .check = check,
    .memory = memory,
    .cost = cost,
    .encode_cost = encode_cost,
};
