/* Arrays of numbers: differences of neighbours, then byte planes.
 *
 * Arguments: width in bytes (2, 4 or 8); what a number becomes; distance in numbers to the one it is
 * compared with (channels); bytes before the first number; 1 for big-endian. Output: the bytes before
 * the first number, the planes from the lowest byte to the highest, the bytes behind the last
 * number. What is not given is chosen by the order-0 entropy of the planes on a sample:
 * A number becomes itself; its difference to the one before, small negative ones folded among the positive ones;
 * the difference to a straight line through the two before; exclusive or with the one before. */
#include "artefacts/file/codec.h"
#include "artefacts/file/detect.h"

enum { OP_ANY, OP_PLAIN, OP_DELTA, OP_LINE, OP_XOR, N_OPS };
enum { A_WIDTH, A_OP, A_DISTANCE, A_SKIP, A_BIG, N_ARGS };
enum { DISTANCE_MAX = 256, SAMPLES = 16, SAMPLE_SHARE = 32, SAMPLE_MIN = 2048, SAMPLE_MAX = 8192 };

PITH_INLINE uint64_t number_load(const uint8_t *p, unsigned width, bool big) {
    uint64_t v = width == 8 ? load64(p) : width == 4 ? load32(p) : load16(p);
    return big ? __builtin_bswap64(v) >> (64 - 8 * width) : v;
}

PITH_INLINE void number_store(uint8_t *p, unsigned width, bool big, uint64_t v) {
    for (unsigned k = 0; k < width; k++) p[big ? width - 1 - k : k] = (uint8_t)(v >> 8 * k);
}

/* Signed order to 0, -1, 1, -2, 2, ... within `width` bytes. */
PITH_INLINE uint64_t fold(uint64_t v, unsigned width) {
    unsigned unused = 64 - 8 * width;
    int64_t s = (int64_t)(v << unused) >> unused;
    return ((uint64_t)s << 1 ^ (uint64_t)(s >> 63)) << unused >> unused;
}

PITH_INLINE uint64_t unfold(uint64_t v) { return v >> 1 ^ (0 - (v & 1)); }

/* What stands for v after the numbers a and, before that, b. */
PITH_INLINE uint64_t residual(unsigned op, unsigned width, uint64_t v, uint64_t a, uint64_t b) {
    switch (op) {
    case OP_DELTA: return fold(v - a, width);
    case OP_LINE: return fold(v - 2 * a + b, width);
    case OP_XOR: return v ^ a;
    default: return v;
    }
}

PITH_INLINE uint64_t restore(unsigned op, uint64_t r, uint64_t a, uint64_t b) {
    switch (op) {
    case OP_DELTA: return unfold(r) + a;
    case OP_LINE: return unfold(r) + 2 * a - b;
    case OP_XOR: return r ^ a;
    default: return r;
    }
}

/* Bytes of each sample of a block of n. */
static size_t sample_size(size_t n) {
    size_t share = PITH_MIN(n / SAMPLE_SHARE, (size_t)SAMPLE_MAX);
    return PITH_MIN(PITH_MAX(share, (size_t)SAMPLE_MIN), n);
}

/* Where sample i of n bytes begins, at a multiple of `unit`; the number of samples in *count. */
static size_t sample_at(size_t n, size_t unit, size_t i, size_t *count) {
    size_t sample = sample_size(n), at = (n - sample) / (SAMPLES - 1) * i;
    *count = n > SAMPLES * sample ? SAMPLES : PITH_MIN(1 + n / sample, (size_t)SAMPLES);
    return at - at % unit;
}

/* Counts the bytes of each plane of the numbers in p[n]; gives back how many numbers. */
static uint32_t tally(const file_args *args, const uint8_t *p, size_t n, uint32_t (*counts)[256]) {
    unsigned width = args->v[A_WIDTH], op = args->v[A_OP];
    bool big = args->v[A_BIG];
    size_t count = n / width, distance = args->v[A_DISTANCE];
    if (count <= 2 * distance) return 0;
    for (size_t i = 2 * distance; i < count; i++) {
        uint64_t v = number_load(p + i * width, width, big), a = number_load(p + (i - distance) * width, width, big);
        uint64_t b = number_load(p + (i - 2 * distance) * width, width, big);
        uint64_t r = residual(op, width, v, a, b);
        for (unsigned k = 0; k < width; k++) counts[k][(uint8_t)(r >> 8 * k)]++;
    }
    return (uint32_t)(count - 2 * distance);
}

typedef struct search {
    const uint8_t *src;
    size_t n;
    uint64_t best_bits; /* per byte, in 1/65536ths */
    file_args best;
} search;

static void consider(search *s, const file_args *args) {
    uint32_t counts[8][256] = {{0}}, total = 0, width = args->v[A_WIDTH];
    size_t skip = args->v[A_SKIP], n = s->n - skip, n_samples = 1;
    for (size_t i = 0; i < n_samples; i++) {
        size_t at = sample_at(n, 840 * (size_t)width, i, &n_samples); /* any number of channels divides it */
        total += tally(args, s->src + skip + at, sample_size(n), counts);
    }
    if (!total) return;
    uint64_t bits = 0;
    for (unsigned k = 0; k < width; k++) bits += detect_entropy(counts[k], total);
    bits /= (uint64_t)total * width;
    if (bits < s->best_bits) {
        s->best_bits = bits;
        s->best = *args;
    }
}

/* Order-0 cost of the samples as plain bytes, in the same unit, to beat. */
static uint64_t plain_cost(const uint8_t *src, size_t n) {
    uint32_t counts[256] = {0}, total = 0;
    size_t n_samples = 1;
    for (size_t i = 0; i < n_samples; i++) {
        const uint8_t *p = src + sample_at(n, 1, i, &n_samples);
        for (size_t j = 0; j < sample_size(n); j++) counts[p[j]]++;
        total += (uint32_t)sample_size(n);
    }
    return detect_entropy(counts, total) / total;
}

/* `given`: what the caller has fixed, zeros where it has not. */
static void search_all(search *s, const uint32_t *given, uint32_t record) {
    for (uint32_t width = 2; width <= 8; width *= 2) {
        if (given[A_WIDTH] && given[A_WIDTH] != width) continue;
        uint32_t channels = record % width == 0 ? PITH_MIN(record / width, (uint32_t)DISTANCE_MAX) : 0;
        uint32_t distances[5] = {1, 2, 3, 4, channels > 4 ? channels : 1};
        for (uint32_t i = 0; i < 2 * (N_OPS - 1) * 5; i++) {
            uint32_t op = OP_PLAIN + i / 2 % (N_OPS - 1), distance = distances[i / 2 / (N_OPS - 1)];
            if (given[A_DISTANCE]) distance = given[A_DISTANCE];
            bool repeated = i / 2 / (N_OPS - 1) > 0 && (op == OP_PLAIN || given[A_DISTANCE] || distance == 1);
            if (repeated || (given[A_OP] && given[A_OP] != op)) continue;
            file_args args = {.n = N_ARGS, .v = {width, op, distance, 0, i & 1}};
            consider(s, &args);
        }
    }
    /* the numbers may not begin at a multiple of their width */
    file_args args = s->best;
    for (uint32_t skip = 1; args.n && skip < args.v[A_WIDTH]; skip++) {
        args.v[A_SKIP] = skip;
        consider(s, &args);
    }
}

static void transform(const file_args *args, const uint8_t *src, size_t n, uint8_t *dst) {
    unsigned width = args->v[A_WIDTH], op = args->v[A_OP];
    bool big = args->v[A_BIG];
    size_t distance = args->v[A_DISTANCE], skip = args->v[A_SKIP], count = (n - skip) / width;
    memcpy(dst, src, skip);
    const uint8_t *in = src + skip;
    uint8_t *planes = dst + skip;
    for (size_t i = 0; i < count; i++) {
        uint64_t v = number_load(in + i * width, width, big);
        uint64_t a = i >= distance ? number_load(in + (i - distance) * width, width, big) : 0;
        uint64_t b = i >= 2 * distance ? number_load(in + (i - 2 * distance) * width, width, big) : 0;
        uint64_t r = residual(op, width, v, a, b);
        for (unsigned k = 0; k < width; k++) planes[k * count + i] = (uint8_t)(r >> 8 * k);
    }
    size_t done = skip + count * width;
    memcpy(dst + done, src + done, n - done);
}

static pith_status forward(pith_ctx *ctx, file_args *args, const uint8_t *src, size_t n, pith_buffer *dst, bool *pays) {
    *pays = false;
    if (n < 1024) return PITH_OK;
    detect_result look;
    detect_block(src, n, &look);
    /* text, and what is compressed already, are no arrays; numbers have equal bytes at their distance */
    uint32_t record = look.text_permille > 950 || look.entropy_millibits > 7900 ? 0 : detect_distance(src, n);
    if (!record && !args->n) return PITH_OK;
    search s = {.src = src, .n = n, .best_bits = UINT64_MAX};
    uint32_t given[3] = {0};
    memcpy(given, args->v, sizeof given[0] * PITH_MIN(args->n, 3u));
    uint64_t plain = plain_cost(src, n);
    search_all(&s, given, record);
    if (!s.best.n || s.best_bits > plain - plain / 64) return PITH_OK;
    pith_status status = pith_buffer_reserve(ctx, dst, n);
    if (status) return status;
    size_t part = PITH_MIN(n, (size_t)DETECT_TRIAL), from = (n - part) / 2;
    bool spoils;
    transform(&s.best, src + from - from % 8, part, dst->data);
    status = detect_spoils(ctx, src + from - from % 8, dst->data, part, &spoils);
    if (status || spoils) return status;
    *args = s.best;
    transform(args, src, n, dst->data);
    dst->size = n;
    *pays = true;
    return PITH_OK;
}

static pith_status inverse(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                           size_t raw_n) {
    unsigned width = args->v[A_WIDTH], op = args->v[A_OP];
    bool big = args->v[A_BIG];
    size_t distance = args->v[A_DISTANCE], skip = args->v[A_SKIP];
    if (n != raw_n || n < skip) return pith_fail(ctx, PITH_E_FORMAT, "a block of numbers has the wrong size");
    size_t count = (n - skip) / width;
    memcpy(dst, src, skip);
    const uint8_t *planes = src + skip;
    uint8_t *out = dst + skip;
    for (size_t i = 0; i < count; i++) {
        uint64_t a = i >= distance ? number_load(out + (i - distance) * width, width, big) : 0;
        uint64_t b = i >= 2 * distance ? number_load(out + (i - 2 * distance) * width, width, big) : 0;
        uint64_t r = 0;
        for (unsigned k = 0; k < width; k++) r |= (uint64_t)planes[k * count + i] << 8 * k;
        number_store(out + i * width, width, big, restore(op, r, a, b));
    }
    size_t done = skip + count * width;
    memcpy(dst + done, src + done, n - done);
    return PITH_OK;
}

static pith_status check(pith_ctx *ctx, const file_args *args) {
    const uint32_t *v = args->v;
    if (args->n == N_ARGS && (v[A_WIDTH] == 2 || v[A_WIDTH] == 4 || v[A_WIDTH] == 8) && v[A_OP] >= 1 &&
        v[A_OP] < N_OPS && v[A_DISTANCE] >= 1 && v[A_DISTANCE] <= DISTANCE_MAX && v[A_SKIP] < v[A_WIDTH] &&
        v[A_BIG] <= 1)
        return PITH_OK;
    return pith_fail(ctx, PITH_E_FORMAT, "the arguments of a block of numbers are out of range");
}

static uint64_t memory(const file_args *args, size_t raw_n) {
    (void)args, (void)raw_n;
    return 0;
}

const file_front file_front_array = {
    .id = 4,
    .name = "array",
    .forward = forward,
    .inverse = inverse,
    .check = check,
    .memory = memory,
};
