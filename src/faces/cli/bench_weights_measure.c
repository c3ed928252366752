/* The coders that `pith bench weights` compares, with processor time of this process. */
#include <lzma.h>
#include <math.h>
#include <time.h>
#include <zstd.h>

#include "faces/cli/bench_weights.h"
#include "kernels/represent/represent.h"
#include "lm/matmul/matmul.h"

#define RUNS_MOST 7
#define SECONDS_ENOUGH 0.6
#define BAND_BYTES ((size_t)1 << 18) /* decoded at a time: what stays in the second cache */

const char *const weights_coder_names[WEIGHTS_CODERS] = {"pith", "zstd -3", "zstd -19", "xz -9e"};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- ours and theirs ---- */

static pith_status own_encode(pith_ctx *ctx, const weights_data *w, pith_buffer *out) {
    pith_status status = PITH_OK;
    for (size_t i = 0; i < w->n_parts && !status; i++)
        status = repr_floats_encode(ctx, w->parts[i].type, w->data + w->parts[i].at, w->parts[i].bytes, out);
    return status;
}

static pith_status own_decode(pith_ctx *ctx, const weights_data *w, const pith_buffer *code, uint8_t *dst) {
    repr_reader in = {code->data, code->data + code->size};
    pith_status status = PITH_OK;
    for (size_t i = 0; i < w->n_parts && !status; i++)
        status = repr_floats_decode(ctx, w->parts[i].type, &in, dst + w->parts[i].at, w->parts[i].bytes);
    return status;
}

static pith_status zstd_encode(pith_ctx *ctx, const weights_data *w, int level, pith_buffer *out) {
    size_t bound = ZSTD_compressBound(w->bytes);
    pith_status status = pith_buffer_reserve(ctx, out, bound);
    if (status) return status;
    size_t n = ZSTD_compress(out->data, bound, w->data, w->bytes, level);
    if (ZSTD_isError(n)) return pith_fail(ctx, PITH_E_INTERNAL, "zstd: %s", ZSTD_getErrorName(n));
    out->size = n;
    return PITH_OK;
}

static pith_status zstd_decode(pith_ctx *ctx, const weights_data *w, const pith_buffer *code, uint8_t *dst) {
    size_t n = ZSTD_decompress(dst, w->bytes, code->data, code->size);
    return n == w->bytes ? PITH_OK : pith_fail(ctx, PITH_E_CHECK, "zstd gave back other bytes");
}

static pith_status xz_encode(pith_ctx *ctx, const weights_data *w, pith_buffer *out) {
    size_t bound = lzma_stream_buffer_bound(w->bytes);
    pith_status status = pith_buffer_reserve(ctx, out, bound);
    if (status) return status;
    lzma_ret r = lzma_easy_buffer_encode(9 | LZMA_PRESET_EXTREME, LZMA_CHECK_CRC64, NULL, w->data, w->bytes, out->data,
                                         &out->size, bound);
    return r == LZMA_OK ? PITH_OK : pith_fail(ctx, PITH_E_INTERNAL, "liblzma failed with code %d", (int)r);
}

static pith_status xz_decode(pith_ctx *ctx, const weights_data *w, const pith_buffer *code, uint8_t *dst) {
    uint64_t memory = UINT64_MAX;
    size_t from = 0, to = 0;
    lzma_ret r = lzma_stream_buffer_decode(&memory, 0, NULL, code->data, &from, code->size, dst, &to, w->bytes);
    return r == LZMA_OK && to == w->bytes ? PITH_OK : pith_fail(ctx, PITH_E_CHECK, "xz gave back other bytes");
}

static pith_status encode(pith_ctx *ctx, const weights_data *w, weights_coder coder, pith_buffer *out) {
    out->size = 0;
    switch (coder) {
    case WEIGHTS_OWN: return own_encode(ctx, w, out);
    case WEIGHTS_ZSTD_3: return zstd_encode(ctx, w, 3, out);
    case WEIGHTS_ZSTD_19: return zstd_encode(ctx, w, 19, out);
    default: return xz_encode(ctx, w, out);
    }
}

static pith_status decode(pith_ctx *ctx, const weights_data *w, weights_coder coder, const pith_buffer *code,
                          uint8_t *dst) {
    switch (coder) {
    case WEIGHTS_OWN: return own_decode(ctx, w, code, dst);
    case WEIGHTS_XZ_9E: return xz_decode(ctx, w, code, dst);
    default: return zstd_decode(ctx, w, code, dst);
    }
}

pith_status weights_measure(pith_ctx *ctx, const weights_data *w, weights_coder coder, weights_figures *out) {
    pith_buffer code = {0};
    uint8_t *back = pith_zalloc(ctx, PITH_MAX(w->bytes, 1));
    pith_status status = back ? PITH_OK : pith_alloc_status(ctx);
    *out = (weights_figures){.encode_seconds = INFINITY, .decode_seconds = INFINITY};
    double spent = 0;
    for (int run = 0; run < RUNS_MOST && spent < SECONDS_ENOUGH && !status; run++) {
        double begin = now();
        status = encode(ctx, w, coder, &code);
        double took = now() - begin;
        out->encode_seconds = fmin(out->encode_seconds, took);
        spent += took;
    }
    out->bytes = code.size;
    spent = 0;
    for (int run = 0; run < RUNS_MOST && spent < SECONDS_ENOUGH && !status; run++) {
        double begin = now();
        status = decode(ctx, w, coder, &code, back);
        double took = now() - begin;
        out->decode_seconds = fmin(out->decode_seconds, took);
        spent += took;
    }
    if (!status && w->bytes && memcmp(back, w->data, w->bytes) != 0)
        status = pith_fail(ctx, PITH_E_CHECK, "%s gave back other bytes", weights_coder_names[coder]);
    pith_free(ctx, back);
    pith_buffer_free(ctx, &code);
    return status;
}

/* ---- the limit ---- */

static unsigned exponent_at(tensor_type type, const uint8_t *p, size_t i) {
    if (type == TENSOR_F32) return load32(p + 4 * i) >> 23 & 0xFF;
    unsigned v = load16(p + 2 * i);
    return type == TENSOR_F16 ? v >> 10 & 0x1F : v >> 7 & 0xFF;
}

double weights_exponent_limit(const weights_data *w) {
    double bits = 0;
    for (size_t k = 0; k < w->n_parts; k++) {
        const weights_part *t = &w->parts[k];
        size_t width = t->type == TENSOR_F32 ? 4 : 2, n = t->bytes / width, count[256] = {0};
        for (size_t i = 0; i < n; i++) count[exponent_at(t->type, w->data + t->at, i)]++;
        for (unsigned s = 0; s < 256; s++)
            if (count[s]) bits -= (double)count[s] * log2((double)count[s] / (double)n);
        bits += (double)n * (double)(8 * width - (t->type == TENSOR_F16 ? 5 : 8));
    }
    return bits / 8;
}

/* ---- products ---- */

typedef struct multiplier {
    pith_ctx *ctx;
    const weights_data *w;
    lm_activations *a;
    float *x, *plain, *coded; /* as long as the longest row, and column */
    uint8_t *band;
    pith_buffer *codes; /* of each matrix, bands behind each other */
} multiplier;

static bool is_matrix(const weights_part *t) { return t->cols && t->bytes > 2 * t->cols; }

static size_t rows_of(const weights_part *t) { return t->bytes / (2 * t->cols); }

static size_t band_rows(const weights_part *t) {
    size_t rows = BAND_BYTES / (2 * t->cols) / MATMUL_ROW_TILE * MATMUL_ROW_TILE;
    return PITH_MAX(rows, (size_t)MATMUL_ROW_TILE);
}

static pith_status code_bands(multiplier *m, const weights_part *t, pith_buffer *out) {
    pith_status status = PITH_OK;
    size_t rows = rows_of(t), step = band_rows(t);
    for (size_t r = 0; r < rows && !status; r += step)
        status = repr_floats_encode(m->ctx, TENSOR_BF16, m->w->data + t->at + r * 2 * t->cols,
                                    PITH_MIN(step, rows - r) * 2 * t->cols, out);
    return status;
}

static void multiply_plain(multiplier *m, const weights_part *t, float *y) {
    lm_matrix matrix = {TENSOR_BF16, rows_of(t), t->cols, 2 * t->cols, m->w->data + t->at};
    matmul_prepare(m->a, TENSOR_BF16, m->x, t->cols, 1, t->cols);
    matmul_rows(&matrix, m->a, y, matrix.n_rows, 0, matrix.n_rows);
}

static pith_status multiply_coded(multiplier *m, const weights_part *t, const pith_buffer *code, float *y) {
    repr_reader in = {code->data, code->data + code->size};
    pith_status status = PITH_OK;
    size_t rows = rows_of(t), step = band_rows(t);
    matmul_prepare(m->a, TENSOR_BF16, m->x, t->cols, 1, t->cols);
    for (size_t r = 0; r < rows && !status; r += step) {
        size_t n = PITH_MIN(step, rows - r);
        lm_matrix matrix = {TENSOR_BF16, n, t->cols, 2 * t->cols, m->band};
        status = repr_floats_decode(m->ctx, TENSOR_BF16, &in, m->band, n * 2 * t->cols);
        if (!status) matmul_rows(&matrix, m->a, y + r, rows, 0, n);
    }
    return status;
}

/* Both ways over all matrices, the fastest of some rounds each. */
static pith_status multiply_all(multiplier *m, weights_products *out) {
    pith_status status = PITH_OK;
    for (int run = 0; run < RUNS_MOST && !status; run++) {
        double plain = 0, coded = 0;
        for (size_t i = 0; i < m->w->n_parts && !status; i++) {
            const weights_part *t = &m->w->parts[i];
            if (!is_matrix(t)) continue;
            double begin = now();
            multiply_plain(m, t, m->plain);
            double middle = now();
            status = multiply_coded(m, t, &m->codes[i], m->coded);
            plain += middle - begin;
            coded += now() - middle;
            if (!status && memcmp(m->plain, m->coded, rows_of(t) * sizeof(float)) != 0)
                status = pith_fail(m->ctx, PITH_E_CHECK, "products of decoded weights differ");
        }
        out->plain_seconds = fmin(out->plain_seconds, plain);
        out->coded_seconds = fmin(out->coded_seconds, coded);
    }
    return status;
}

pith_status weights_multiply(pith_ctx *ctx, const weights_data *w, weights_products *out) {
    multiplier m = {.ctx = ctx, .w = w};
    size_t cols = 1, rows = 1, band = 1;
    *out = (weights_products){.plain_seconds = INFINITY, .coded_seconds = INFINITY};
    for (size_t i = 0; i < w->n_parts; i++) {
        const weights_part *t = &w->parts[i];
        if (!is_matrix(t)) continue;
        cols = PITH_MAX(cols, t->cols);
        rows = PITH_MAX(rows, rows_of(t));
        band = PITH_MAX(band, band_rows(t) * 2 * t->cols);
    }
    m.x = pith_alloc(ctx, cols * sizeof *m.x);
    m.plain = pith_alloc(ctx, rows * sizeof *m.plain);
    m.coded = pith_alloc(ctx, rows * sizeof *m.coded);
    m.band = pith_alloc(ctx, band);
    m.codes = pith_zalloc(ctx, PITH_MAX(w->n_parts, (size_t)1) * sizeof *m.codes);
    pith_status status = m.x && m.plain && m.coded && m.band && m.codes ? PITH_OK : pith_alloc_status(ctx);
    if (!status) status = matmul_activations_new(ctx, 1, cols, &m.a);
    for (size_t i = 0; i < cols && !status; i++) m.x[i] = (float)((double)(i * 37 % 101) / 50 - 1);
    for (size_t i = 0; i < w->n_parts && !status; i++) {
        if (!is_matrix(&w->parts[i])) continue;
        status = code_bands(&m, &w->parts[i], &m.codes[i]);
        out->plain_bytes += w->parts[i].bytes;
        out->coded_bytes += m.codes[i].size;
    }
    if (!status) status = multiply_all(&m, out);
    for (size_t i = 0; m.codes && i < w->n_parts; i++) pith_buffer_free(ctx, &m.codes[i]);
    void *owned[] = {m.x, m.plain, m.coded, m.band, m.codes};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(ctx, owned[i]);
    matmul_activations_free(ctx, m.a);
    return status;
}
