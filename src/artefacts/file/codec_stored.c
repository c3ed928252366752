/* The two simplest blocks: the bytes as they are, and one short pattern over and over. */
#include "artefacts/file/codec.h"

static pith_status no_arguments(pith_ctx *ctx, const file_args *args) {
    return args->n == 0 ? PITH_OK : pith_fail(ctx, PITH_E_FORMAT, "stored and run take no arguments");
}

static uint64_t no_memory(const file_args *args, size_t raw_n, bool decoding) {
    (void)args, (void)raw_n, (void)decoding;
    return 0;
}

static uint32_t cost_copy(const file_args *args) {
    (void)args;
    return 1;
}

static pith_status stored_encode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                                 size_t cap, size_t *out_n) {
    (void)ctx, (void)args;
    *out_n = n <= cap ? n : SIZE_MAX;
    if (n && n <= cap) memcpy(dst, src, n);
    return PITH_OK;
}

static pith_status stored_decode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                                 size_t raw_n) {
    (void)args;
    if (n != raw_n) return pith_fail(ctx, PITH_E_FORMAT, "a stored block has the wrong size");
    if (n) memcpy(dst, src, n);
    return PITH_OK;
}

/* Longest pattern, so that looking for one costs little on any input. */
enum { PATTERN_MAX = 64 };

static pith_status run_encode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                              size_t cap, size_t *out_n) {
    (void)ctx, (void)args;
    *out_n = SIZE_MAX;
    for (size_t period = 1; period <= PITH_MIN(PITH_MIN((size_t)PATTERN_MAX, cap), n); period++) {
        if (memcmp(src, src + period, n - period) != 0) continue;
        memcpy(dst, src, period);
        *out_n = period;
        break;
    }
    return PITH_OK;
}

static pith_status run_decode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                              size_t raw_n) {
    (void)args;
    if (n < 1 || n > PATTERN_MAX || n > raw_n)
        return pith_fail(ctx, PITH_E_FORMAT, "the pattern of a run block has the wrong size");
    memcpy(dst, src, n);
    for (size_t have = n; have < raw_n;) {
        size_t more = PITH_MIN(have, raw_n - have);
        memcpy(dst + have, dst, more);
        have += more;
    }
    return PITH_OK;
}

const file_codec file_codec_stored = {
    .id = 0,
    .name = "stored",
    .encode = stored_encode,
    .decode = stored_decode,
    .check = no_arguments,
    .memory = no_memory,
    .cost = cost_copy,
};

const file_codec file_codec_run = {
    .id = 1,
    .name = "run",
    .encode = run_encode,
    .decode = run_decode,
    .check = no_arguments,
    .memory = no_memory,
    .cost = cost_copy,
};
