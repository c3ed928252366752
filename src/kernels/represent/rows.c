/* Tables whose rows are not alike: embeddings, of which few rows do most of the work.
 *
 *   hash(ratio, parts)       rows share those of a smaller table by their numbers' hashes: one of them (Weinberger et
 *                            al. 2009), the sum of two (Svenstrup et al. 2017), or the product of the remainder's and
 *                            the quotient's row (Shi et al. 2020); the table is the one nearest to the matrix
 *   bands(part, often, rare) rows that count most by one chain, the others by another: mixed dimensions (Ginart et al.
 *                            2019), codebooks of several sizes, rows of their own for what is frequent
 * What a row counts is said by the statistics (outputs); where they do not, its length says which count most. */
#include <math.h>
#include <stdlib.h>

#include "kernels/represent/chain.h"
#include "kernels/represent/vectors.h"

/* ---- hash -------------------------------------------------------------------------------------------- */

enum { HASH_ONE, HASH_SUM, HASH_PRODUCT };
enum { ROUNDS = 12 };

/* A row takes one of the entries before `half`, and one of those from `half` on where there are any. */
typedef struct hash_shape {
    int parts;
    size_t rows, cols, n, half;
    uint64_t seed;
} hash_shape;

/* The number of remainders: the most that leave room for their quotients, or as few entries as there can be. */
static size_t remainders_of(size_t rows, size_t most) {
    size_t least = (size_t)ceil(sqrt((double)rows));
    for (size_t a = PITH_MIN(most, rows); a > least; a--)
        if (a + (rows + a - 1) / a <= most) return a;
    return least;
}

static pith_status shape_of(const repr_job *job, const repr_matrix *w, hash_shape *s) {
    *s = (hash_shape){.parts = (int)job->args->value[HASH_PARTS], .rows = w->rows, .cols = w->cols, .seed = job->seed};
    if (w->rows > UINT32_MAX) return pith_fail(job->ctx, PITH_E_LIMIT, "hash: %zu rows are 2^32 or more", w->rows);
    double n = floor(job->args->value[HASH_RATIO] * (double)w->rows);
    s->n = s->half = n < 1 ? 1 : (size_t)n;
    if (s->parts == HASH_SUM) {
        s->n = PITH_MAX(s->n, 2u);
        s->half = (s->n + 1) / 2;
    } else if (s->parts == HASH_PRODUCT) {
        s->half = remainders_of(w->rows, s->n);
        s->n = s->half + (w->rows + s->half - 1) / s->half;
    }
    return PITH_OK;
}

static size_t entry_of(const hash_shape *s, size_t row, unsigned part) {
    if (s->parts == HASH_PRODUCT) return part ? s->half + row / s->half : row % s->half;
    size_t from = part ? s->half : 0, n = part ? s->n - s->half : s->half;
    return from + (size_t)(chain_seed(chain_seed(s->seed, part), (unsigned)row) % n);
}

static pith_status hash_decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    hash_shape s;
    float *table = NULL;
    pith_status status = shape_of(job, w, &s);
    if (status) return status;
    if (!job->args->branch[HASH_TABLE]) {
        status = vectors_take(job->ctx, in, s.n * s.cols, "the rows of hash", &table);
    } else {
        table = pith_alloc(job->ctx, s.n * s.cols * sizeof *table);
        status = table ? repr_branch_decode(job, HASH_TABLE, in, &(repr_matrix){table, s.n, s.cols})
                       : pith_alloc_status(job->ctx);
    }
    for (size_t i = 0; i < s.rows && !status; i++) {
        float *to = w->data + i * s.cols;
        memcpy(to, table + entry_of(&s, i, 0) * s.cols, s.cols * sizeof *to);
        if (s.parts == HASH_ONE) continue;
        const float *other = table + entry_of(&s, i, 1) * s.cols;
        for (size_t d = 0; d < s.cols; d++) to[d] = s.parts == HASH_SUM ? to[d] + other[d] : to[d] * other[d];
    }
    pith_free(job->ctx, table);
    return status;
}

/* The entries of one part by weighted least squares, those of the other being as they are. sums[n][2 cols] is room. */
static void fit_part(const hash_shape *s, const repr_matrix *w, const float *counts, unsigned part, double *sums,
                     float *table) {
    size_t from = part ? s->half : 0, to = part ? s->n : s->half, cols = s->cols;
    memset(sums, 0, s->n * 2 * cols * sizeof *sums);
    for (size_t i = 0; i < s->rows; i++) {
        const float *x = w->data + i * cols,
                    *other = s->parts == HASH_ONE ? table : table + entry_of(s, i, 1 - part) * cols;
        double *sum = sums + entry_of(s, i, part) * 2 * cols, count = counts ? (double)counts[i] : 1;
        for (size_t d = 0; d < cols; d++) {
            double f = s->parts == HASH_PRODUCT ? (double)other[d] : 1;
            double y = s->parts == HASH_SUM ? (double)x[d] - (double)other[d] : (double)x[d];
            sum[d] += count * f * y;
            sum[cols + d] += count * f * f;
        }
    }
    for (size_t e = from; e < to; e++)
        for (size_t d = 0; d < cols; d++) {
            double top = sums[e * 2 * cols + d], below = sums[e * 2 * cols + cols + d];
            table[e * cols + d] = below > 0 ? (float)(top / below) : 0;
        }
}

static pith_status hash_encode(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored) {
    pith_ctx *ctx = job->ctx;
    hash_shape s;
    size_t start = out->size;
    pith_status status = shape_of(job, w, &s);
    if (!status) status = vectors_check(job, w);
    if (status) return status;
    const repr_stats *stats = job->stats;
    const float *counts = stats->outputs && stats->n_outputs == w->rows ? stats->outputs : NULL;
    float *table = pith_alloc(ctx, s.n * s.cols * sizeof *table), *back = NULL;
    double *sums = pith_alloc(ctx, s.n * 2 * s.cols * sizeof *sums);
    status = table && sums ? PITH_OK : pith_alloc_status(ctx);
    for (size_t i = 0; i < s.n * s.cols && !status; i++) table[i] = s.parts == HASH_PRODUCT ? 1 : 0;
    for (unsigned round = 0; round < (s.parts == HASH_ONE ? 1 : ROUNDS) && !status; round++)
        for (unsigned part = 0; part < (s.parts == HASH_ONE ? 1u : 2u); part++)
            fit_part(&s, w, counts, part, sums, table);
    if (!status && job->args->branch[HASH_TABLE]) {
        repr_job inner = *job; /* the table has other rows */
        repr_stats of_inputs = {.h = stats->h, .gram = stats->gram, .n_tokens = stats->n_tokens};
        inner.stats = &of_inputs;
        back = pith_alloc(ctx, s.n * s.cols * sizeof *back);
        status = back ? repr_branch_encode(&inner, HASH_TABLE, &(repr_matrix){table, s.n, s.cols}, out, back)
                      : pith_alloc_status(ctx);
    } else if (!status) {
        status = vectors_put(ctx, out, table, s.n * s.cols);
    }
    pith_free(ctx, table);
    pith_free(ctx, back);
    pith_free(ctx, sums);
    return status ? status : vectors_restore(job, hash_decode, out, start, w, restored);
}

const repr_ops hash_ops = {.kind = REPR_CODER, .encode = hash_encode, .decode = hash_decode};

/* ---- bands ------------------------------------------------------------------------------------------- */

static size_t often_rows(const repr_job *job, size_t rows) {
    double n = nearbyint(job->args->value[BANDS_PART] * (double)rows);
    return n < (double)rows ? (size_t)n : rows;
}

/* The rows of a band, one behind the other, or back to where they belong. */
static void gather(const repr_matrix *w, const uint16_t *often, uint16_t band, float *to) {
    for (size_t i = 0; i < w->rows; i++) {
        if (often[i] != band) continue;
        memcpy(to, w->data + i * w->cols, w->cols * sizeof *to);
        to += w->cols;
    }
}

static void scatter(const float *from, const uint16_t *often, uint16_t band, repr_matrix *w) {
    for (size_t i = 0; i < w->rows; i++) {
        if (often[i] != band) continue;
        memcpy(w->data + i * w->cols, from, w->cols * sizeof *from);
        from += w->cols;
    }
}

typedef struct ranked {
    double worth;
    size_t row;
} ranked;

static int by_worth(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->worth != y->worth) return x->worth > y->worth ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static pith_status choose(const repr_job *job, const repr_matrix *w, size_t n, uint16_t *often) {
    const repr_stats *stats = job->stats;
    bool counted = stats->outputs && stats->n_outputs == w->rows;
    ranked *order = pith_alloc(job->ctx, w->rows * sizeof *order);
    if (!order) return pith_alloc_status(job->ctx);
    for (size_t i = 0; i < w->rows; i++) {
        double sum = 0;
        for (size_t d = 0; d < w->cols && !counted; d++)
            sum += (double)w->data[i * w->cols + d] * (double)w->data[i * w->cols + d];
        order[i] = (ranked){counted ? (double)stats->outputs[i] : sum, i};
    }
    qsort(order, w->rows, sizeof *order, by_worth);
    for (size_t i = 0; i < w->rows; i++) often[order[i].row] = i < n;
    pith_free(job->ctx, order);
    return PITH_OK;
}

/* One band with the counts of its rows. `room` and `back` hold as many rows. */
static pith_status encode_band(const repr_job *job, const repr_matrix *w, const uint16_t *often, unsigned param,
                               size_t n, float *room, float *back, pith_buffer *out, float *restored) {
    const repr_stats *stats = job->stats;
    bool counted = stats->outputs && stats->n_outputs == w->rows;
    float *counts = counted ? pith_alloc(job->ctx, n * sizeof *counts) : NULL;
    if (counted && !counts) return pith_alloc_status(job->ctx);
    repr_stats own = *stats;
    own.outputs = counts;
    own.n_outputs = counted ? n : 0;
    repr_job inner = *job;
    inner.stats = &own;
    uint16_t band = param == BANDS_OFTEN;
    for (size_t i = 0, k = 0; i < w->rows && counted; i++)
        if (often[i] == band) counts[k++] = stats->outputs[i];
    gather(w, often, band, room);
    pith_status status = repr_branch_encode(&inner, param, &(repr_matrix){room, n, w->cols}, out, back);
    if (!status) scatter(back, often, band, &(repr_matrix){restored, w->rows, w->cols});
    pith_free(job->ctx, counts);
    return status;
}

static pith_status bands_encode(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored) {
    pith_ctx *ctx = job->ctx;
    size_t n = often_rows(job, w->rows), most = PITH_MAX(n, w->rows - n) * w->cols;
    uint16_t *often = pith_alloc(ctx, w->rows * sizeof *often);
    float *room = pith_alloc(ctx, most * sizeof *room), *back = pith_alloc(ctx, most * sizeof *back);
    pith_status status = often && room && back ? choose(job, w, n, often) : pith_alloc_status(ctx);
    if (!status && n && n < w->rows) status = repr_pack(job, &(repr_plane){often, w->rows, w->rows, 2}, out);
    if (!status && n) status = encode_band(job, w, often, BANDS_OFTEN, n, room, back, out, restored);
    if (!status && n < w->rows) status = encode_band(job, w, often, BANDS_RARE, w->rows - n, room, back, out, restored);
    pith_free(ctx, often);
    pith_free(ctx, room);
    pith_free(ctx, back);
    return status;
}

static pith_status decode_band(const repr_job *job, const uint16_t *often, unsigned param, size_t n, float *room,
                               repr_reader *in, repr_matrix *w) {
    pith_status status = repr_branch_decode(job, param, in, &(repr_matrix){room, n, w->cols});
    if (!status) scatter(room, often, param == BANDS_OFTEN, w);
    return status;
}

static pith_status bands_decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    size_t n = often_rows(job, w->rows), found = 0;
    uint16_t *often = pith_alloc(ctx, w->rows * sizeof *often);
    float *room = pith_alloc(ctx, PITH_MAX(n, w->rows - n) * w->cols * sizeof *room);
    pith_status status = often && room ? PITH_OK : pith_alloc_status(ctx);
    for (size_t i = 0; i < w->rows && !status; i++) often[i] = n > 0;
    if (!status && n && n < w->rows) status = repr_unpack(job, in, often, w->rows, w->rows, 2);
    for (size_t i = 0; i < w->rows && !status; i++) found += often[i];
    if (!status && found != n) status = pith_fail(ctx, PITH_E_FORMAT, "bands marks %zu rows of %zu", found, n);
    if (!status && n) status = decode_band(job, often, BANDS_OFTEN, n, room, in, w);
    if (!status && n < w->rows) status = decode_band(job, often, BANDS_RARE, w->rows - n, room, in, w);
    pith_free(ctx, often);
    pith_free(ctx, room);
    return status;
}

const repr_ops bands_ops = {.kind = REPR_CODER, .encode = bands_encode, .decode = bands_decode, .is_branch = true};

const pith_param bands_params[BANDS_PARAMS] = {
    {.name = "part",
     .type = PITH_P_REAL,
     .min = 0,
     .max = 1,
     .def = 0.1,
     .doc = "of the rows that the first chain codes"},
    {.name = "often", .type = PITH_P_RECIPE, .def = PITH_REQUIRED, .doc = "codes the rows that count most"},
    {.name = "rare", .type = PITH_P_RECIPE, .def = PITH_REQUIRED, .doc = "codes the others"},
};
