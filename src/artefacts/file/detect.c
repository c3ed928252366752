/* Cheap statistics of a block, over a few samples spread through it. */
#include "artefacts/file/detect.h"

#include "artefacts/file/codec.h"

/* A share of the block, so that looking costs little beside the fastest coder. */
enum { SAMPLES = 4, SAMPLE_SHARE = 32, SAMPLE_MIN = 2048, SAMPLE_MAX = 32768, COMPARED = 4096 };
#define PIECE_UNIT ((size_t)5040) /* divided by most lengths of records */
#define PIECE (6 * PIECE_UNIT)

uint32_t detect_log2(uint32_t x) {
    uint32_t top = 31u - (uint32_t)__builtin_clz(x), bits = 0;
    uint64_t y = (uint64_t)x << (31 - top); /* in [2^31, 2^32) */
    for (int i = 0; i < 16; i++) {
        y = (y * y) >> 31;
        bits <<= 1;
        if (y >> 32) {
            y >>= 1;
            bits |= 1;
        }
    }
    return top << 16 | bits;
}

uint64_t detect_entropy(const uint32_t *counts, uint32_t total) {
    if (!total) return 0;
    uint64_t bits = (uint64_t)total * detect_log2(total);
    for (int c = 0; c < 256; c++)
        if (counts[c]) bits -= (uint64_t)counts[c] * detect_log2(counts[c]);
    /* an adaptive code pays about half the logarithm of the total to learn each count */
    for (int c = 0; c < 256; c++)
        if (counts[c]) bits += detect_log2(total) / 2;
    return bits;
}

typedef struct tally {
    uint32_t counts[256], bytes, calls, code_bytes;
} tally;

static void tally_calls(const uint8_t *p, size_t n, tally *t) {
    for (size_t i = 0; i + 5 <= n; i++) {
        bool call = (p[i] & 0xFE) == 0xE8, jump = p[i] == 0x0F && (p[i + 1] & 0xF0) == 0x80 && i + 6 <= n;
        if (!call && !jump) continue;
        const uint8_t *displacement = p + i + (call ? 1 : 2);
        t->code_bytes++;
        t->calls += (displacement[3] == 0 || displacement[3] == 0xFF) && displacement[2] != displacement[3] + 1u;
    }
}

static void tally_sample(const uint8_t *p, size_t n, tally *t) {
    for (size_t i = 0; i < n; i++) t->counts[p[i]]++;
    t->bytes += (uint32_t)n;
    tally_calls(p, n, t);
}

uint32_t detect_distance(const uint8_t *src, size_t n) {
    if (n < 2 * DETECT_DISTANCE_MAX) return 0;
    uint32_t same[DETECT_DISTANCE_MAX + 1] = {0}, compared = 0, best = 0;
    uint64_t sum = 0;
    /* bytes inside runs are equal at every distance and say nothing */
    for (size_t k = 1; k <= SAMPLES; k++) {
        size_t from = DETECT_DISTANCE_MAX + (n - DETECT_DISTANCE_MAX) / (SAMPLES + 1) * k,
               to = PITH_MIN(n, from + COMPARED);
        for (unsigned d = 2; d <= DETECT_DISTANCE_MAX; d++) {
            uint32_t count = 0;
            for (size_t i = from; i < to; i++) count += (src[i] == src[i - d]) & (src[i] != src[i - 1]);
            same[d] += count;
        }
        for (size_t i = from; i < to; i++) compared += src[i] != src[i - 1];
    }
    for (unsigned d = 2; d <= DETECT_DISTANCE_MAX; d++) {
        sum += same[d];
        best = PITH_MAX(best, same[d]);
    }
    uint32_t mean = (uint32_t)(sum / DETECT_DISTANCE_MAX);
    /* stands out: a quarter above the mean and by at least three in a hundred of all bytes */
    if (best == mean || best < mean + mean / 4 || best - mean < compared / 33) return 0;
    /* the shortest that is nearly as good, up to three standard deviations of chance: one record,
     * not several */
    uint32_t deviation = 0;
    while (deviation * deviation < best) deviation++;
    uint32_t enough = PITH_MAX(best - PITH_MIN(best, (best - mean) / 8 + 3 * deviation), mean + (best - mean) / 2);
    unsigned d = 2;
    while (same[d] < enough) d++;
    return d;
}

static bool is_text(unsigned c) {
    return (c >= 0x20 && c < 0x7F) || c == '\n' || c == '\r' || c == '\t' || (c >= 0x80 && c < 0xF5 && c != 0xC0);
}

static void judge_bytes(const tally *t, detect_result *out) {
    uint64_t text = 0, letters = 0, capitals = 0;
    for (unsigned c = 0; c < 256; c++) {
        bool capital = c >= 'A' && c <= 'Z', small = c >= 'a' && c <= 'z';
        text += is_text(c) ? t->counts[c] : 0;
        letters += capital || small ? t->counts[c] : 0;
        capitals += capital ? t->counts[c] : 0;
    }
    out->text_permille = (uint32_t)(text * 1000 / t->bytes);
    out->letters_permille = (uint32_t)(letters * 1000 / t->bytes);
    out->capitals_permille = letters ? (uint32_t)(capitals * 1000 / letters) : 0;
    out->entropy_millibits = (uint32_t)((detect_entropy(t->counts, t->bytes) / t->bytes * 1000) >> 16);
    /* in code most E8 and E9 are calls and jumps; elsewhere one in 64 looks like one by chance */
    bool code = t->calls >= 8 && t->calls * 4 > t->code_bytes && (uint64_t)t->calls * 1000 > t->bytes;
    out->x86_calls = code ? (uint32_t)((uint64_t)t->calls * 65536 / t->bytes) : 0;
}

pith_status detect_sample_take(pith_ctx *ctx, const uint8_t *raw, size_t n, size_t most, detect_sample *sample) {
    *sample = (detect_sample){raw, n, NULL};
    if (n <= most) return PITH_OK;
    size_t pieces = PITH_MAX(most / PIECE, 2);
    sample->own = pith_alloc(ctx, pieces * PIECE);
    if (!sample->own) return pith_alloc_status(ctx);
    for (size_t i = 0; i < pieces; i++)
        memcpy(sample->own + i * PIECE, raw + (n - PIECE) / (pieces - 1) * i / PIECE_UNIT * PIECE_UNIT, PIECE);
    sample->data = sample->own;
    sample->n = pieces * PIECE;
    return PITH_OK;
}

void detect_sample_free(pith_ctx *ctx, detect_sample *sample) {
    pith_free(ctx, sample->own);
    *sample = (detect_sample){0};
}

pith_status detect_spoils(pith_ctx *ctx, const uint8_t *before, const uint8_t *after, size_t n, bool *spoils) {
    *spoils = false;
    static const file_args fastest = {1, {1}};
    uint8_t *out = pith_alloc(ctx, PITH_MAX(n, 1));
    if (!out) return pith_alloc_status(ctx);
    size_t a = 0, b = 0;
    pith_status status = file_codec_zstd.encode(ctx, &fastest, before, n, out, n, &a);
    if (!status) status = file_codec_zstd.encode(ctx, &fastest, after, n, out, n, &b);
    pith_free(ctx, out);
    a = PITH_MIN(a, n); /* what does not shrink is stored */
    b = PITH_MIN(b, n);
    *spoils = !status && b > a + a / 8;
    return status;
}

void detect_block(const uint8_t *src, size_t n, detect_result *out) {
    *out = (detect_result){0};
    if (!n) return;
    tally t = {0};
    size_t sample = PITH_MIN(PITH_MAX(n / SAMPLE_SHARE, (size_t)SAMPLE_MIN), (size_t)SAMPLE_MAX);
    if (n <= SAMPLES * sample) {
        tally_sample(src, n, &t);
    } else {
        for (size_t i = 0; i < SAMPLES; i++) tally_sample(src + (n - sample) / (SAMPLES - 1) * i, sample, &t);
    }
    judge_bytes(&t, out);
}
