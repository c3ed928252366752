/* Fixed-width records: columns first, each as it is or as differences to the record before.
 *
 * Argument: record length d. Output: a bitmap of d bits (1: differences), then each column c =
 * bytes c, c + d, c + 2d, ... A column takes differences when their order-0 entropy is lower. */
#include "artefacts/file/codec.h"
#include "artefacts/file/detect.h"

enum { RECORD_MAX = DETECT_DISTANCE_MAX };

static bool differences_pay(const uint8_t *src, size_t n, size_t d, size_t c) {
    uint32_t plain[256] = {0}, different[256] = {0}, total = 0;
    uint8_t before = 0;
    for (size_t i = c; i < n; i += d) {
        plain[src[i]]++;
        different[(uint8_t)(src[i] - before)]++;
        before = src[i];
        total++;
    }
    /* an eighth less: plain bytes keep what later stages can see besides */
    uint64_t cost = detect_entropy(plain, total);
    return detect_entropy(different, total) < cost - cost / 8;
}

/* Columns of src[n] to dst[n]; which of them are differences to bits. */
static void transform(const uint8_t *src, size_t n, size_t d, uint8_t *bits, uint8_t *dst) {
    memset(bits, 0, (d + 7) / 8);
    for (size_t c = 0; c < d; c++) {
        uint8_t mask = 0, before = 0;
        if (differences_pay(src, n, d, c)) {
            bits[c / 8] |= (uint8_t)(1u << c % 8);
            mask = 0xFF;
        }
        for (size_t i = c; i < n; i += d) {
            *dst++ = (uint8_t)(src[i] - (before & mask));
            before = src[i];
        }
    }
}

static pith_status forward(pith_ctx *ctx, file_args *args, const uint8_t *src, size_t n, pith_buffer *dst, bool *pays) {
    *pays = false;
    size_t d = args->n ? args->v[0] : 0;
    if (!d) {
        detect_result look;
        detect_block(src, n, &look);
        if (look.text_permille <= 950 && look.entropy_millibits <= 7900) d = detect_distance(src, n);
    }
    if (d < 2 || n < 4 * d) return PITH_OK;
    size_t map = (d + 7) / 8;
    pith_status status = pith_buffer_reserve(ctx, dst, n + map);
    if (status) return status;
    size_t part = PITH_MIN(n, (size_t)DETECT_TRIAL);
    const uint8_t *middle = src + (n - part) / 2 / d * d;
    bool spoils;
    transform(middle, part, d, dst->data, dst->data + map);
    status = detect_spoils(ctx, middle, dst->data + map, part, &spoils);
    if (status || spoils) return status;
    transform(src, n, d, dst->data, dst->data + map);
    dst->size = n + map;
    args->n = 1;
    args->v[0] = (uint32_t)d;
    *pays = true;
    return PITH_OK;
}

static pith_status inverse(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                           size_t raw_n) {
    size_t d = args->v[0], map = (d + 7) / 8;
    if (n < map || n - map != raw_n) return pith_fail(ctx, PITH_E_FORMAT, "a block of records has the wrong size");
    const uint8_t *bits = src, *in = src + map;
    for (size_t c = 0; c < d; c++) {
        uint8_t mask = bits[c / 8] >> c % 8 & 1 ? 0xFF : 0, before = 0;
        for (size_t i = c; i < raw_n; i += d) dst[i] = before = (uint8_t)(*in++ + (before & mask));
    }
    return PITH_OK;
}

static pith_status check(pith_ctx *ctx, const file_args *args) {
    if (args->n == 1 && args->v[0] >= 2 && args->v[0] <= RECORD_MAX) return PITH_OK;
    return pith_fail(ctx, PITH_E_FORMAT, "record takes one argument, a length of 2 to %d", RECORD_MAX);
}

static uint64_t memory(const file_args *args, size_t raw_n) {
    (void)args, (void)raw_n;
    return 0;
}

const file_front file_front_record = {
    .id = 3,
    .name = "record",
    .forward = forward,
    .inverse = inverse,
    .check = check,
    .memory = memory,
};
