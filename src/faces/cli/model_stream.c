/* Converting one tensor's elements on the way to a file: decode, move, encode, in batches of rows
 * on all threads, so that memory does not grow with the tensor. */
#include <math.h>

#include "faces/cli/model.h"

#define PIECE_ELEMENTS ((uint64_t)1 << 16) /* of one thread's share; a multiple of every block */
#define COPY_BYTES ((size_t)4 << 20)

typedef struct stream {
    pith_ctx *ctx;
    const model_tensor *t;
    const tensor_type_info *from, *to;
    uint64_t piece;       /* elements of one job: whole rows where rows move */
    uint64_t first_piece; /* of this batch */
    float *floats;        /* [jobs][piece] */
    float *strip;         /* [jobs][columns of the source], to pick from while transposing */
    uint8_t *bytes;       /* [jobs][piece_bytes] */
    uint64_t piece_bytes, strip_elements;
} stream;

static const uint8_t *source_at(const stream *s, uint64_t element) {
    return s->t->from->data + element / s->from->block * s->from->block_bytes;
}

/* Row `row` of the interleaved matrix: pair i of a head is elements i and i + half of the source. */
static uint64_t interleaved_row(const stream *s, uint64_t row, uint64_t rows) {
    uint64_t head = rows / s->t->n_heads, half = head / 2, in_head = row % head;
    return row - in_head + (in_head & 1) * half + in_head / 2;
}

/* Rows first.. of the transposed matrix: columns of the source. */
static void transpose(const stream *s, size_t job, uint64_t first, uint64_t n_rows, float *out) {
    const uint64_t in_columns = s->t->from->ne[0], in_rows = s->t->from->ne[1];
    float *strip = s->strip + job * s->strip_elements;
    /* The blocks that hold columns first .. first + n_rows - 1 of a source row. */
    uint64_t start = first / s->from->block * s->from->block;
    uint64_t end = (first + n_rows + s->from->block - 1) / s->from->block * s->from->block;
    for (uint64_t r = 0; r < in_rows; r++) {
        blocks_decode(s->t->from->type, source_at(s, r * in_columns + start), strip, (size_t)(end - start));
        for (uint64_t c = 0; c < n_rows; c++) out[c * in_rows + r] = strip[first - start + c];
    }
}

static pith_status not_finite(const stream *s, const char *what, uint64_t element) {
    meta_string name = s->t->from->name;
    return pith_fail(s->ctx, PITH_E_CHECK, "%.*s: %s no finite number at element %llu",
                     (int)PITH_MIN(name.size, (size_t)80), name.data ? name.data : "", what,
                     (unsigned long long)element);
}

/* Plain floats hand NaN and infinity on. Blocks cannot: one would cost a whole block its values. */
static pith_status check_piece(const stream *s, const float *in, const uint8_t *out, uint64_t first, uint64_t n) {
    size_t bad, element = s->to->block_bytes / s->to->block;
    bool fits = blocks_valid(s->to->type, out, (size_t)(n / s->to->block), &bad);
    if (s->to->block == 1) {
        for (uint64_t i = fits ? n : bad; i < n; i++)
            if (isfinite(in[i]) && !blocks_valid(s->to->type, out + i * element, 1, &bad))
                return not_finite(s, "rounding leaves", first + i);
        return PITH_OK;
    }
    for (uint64_t i = 0; i < n; i++)
        if (!isfinite(in[i])) return not_finite(s, "there is", first + i);
    return fits ? PITH_OK : not_finite(s, "rounding leaves", first + bad * s->to->block);
}

static pith_status convert_piece(void *arg, size_t job) {
    const stream *s = arg;
    const model_tensor *t = s->t;
    uint64_t first = (s->first_piece + job) * s->piece, n = PITH_MIN(s->piece, t->to.n_elements - first);
    float *out = s->floats + job * s->piece;
    uint64_t columns = t->to.n_dims > 1 ? t->to.ne[0] : 1, rows = t->to.n_elements / columns;
    if (t->move == MODEL_INTERLEAVE) {
        for (uint64_t i = 0; i < n; i += columns)
            blocks_decode(t->from->type, source_at(s, interleaved_row(s, (first + i) / columns, rows) * columns), out + i,
                          (size_t)columns);
    } else if (t->move == MODEL_TRANSPOSE) {
        transpose(s, job, first / columns, n / columns, out);
    } else {
        blocks_decode(t->from->type, source_at(s, first), out, (size_t)n);
        if (t->move == MODEL_NEGATE_EXP)
            for (uint64_t i = 0; i < n; i++) out[i] = -expf(out[i]);
    }
    /* Refusals were asked for when the plan was made. */
    blocks_encode(t->to.type, out, s->bytes + job * s->piece_bytes, (size_t)n);
    return check_piece(s, out, s->bytes + job * s->piece_bytes, first, n);
}

static pith_status copy(pith_ctx *ctx, const model_tensor *t, tensor_write_fn write, void *opaque) {
    pith_status status = PITH_OK;
    (void)ctx;
    for (uint64_t at = 0; at < t->from->bytes && !status; at += COPY_BYTES)
        status = write(opaque, t->from->data + at, (size_t)PITH_MIN((uint64_t)COPY_BYTES, t->from->bytes - at));
    return status;
}

static pith_status run(pith_ctx *ctx, stream *s, size_t n_jobs, tensor_write_fn write, void *opaque) {
    uint64_t n_pieces = (s->t->to.n_elements + s->piece - 1) / s->piece, left = s->t->to.bytes;
    pith_status status = PITH_OK;
    for (s->first_piece = 0; s->first_piece < n_pieces && !status; s->first_piece += n_jobs) {
        size_t n = (size_t)PITH_MIN((uint64_t)n_jobs, n_pieces - s->first_piece);
        status = n == 1 ? convert_piece(s, 0) : pith_parallel(ctx, n, convert_piece, s);
        for (size_t i = 0; i < n && !status; i++) {
            uint64_t bytes = PITH_MIN(s->piece_bytes, left);
            status = write(opaque, s->bytes + i * s->piece_bytes, (size_t)bytes);
            left -= bytes;
        }
    }
    return status;
}

pith_status model_stream(pith_ctx *ctx, const model_tensor *t, tensor_write_fn write, void *opaque) {
    if (t->move == MODEL_KEEP && t->from->type == t->to.type) return copy(ctx, t, write, opaque);
    stream s = {.ctx = ctx, .t = t, .from = tensor_type_of(t->from->type), .to = tensor_type_of(t->to.type)};
    uint64_t columns = t->to.n_dims > 1 ? t->to.ne[0] : 1;
    s.piece = PIECE_ELEMENTS;
    if (t->move != MODEL_KEEP && t->move != MODEL_NEGATE_EXP)
        s.piece = PITH_MAX(PIECE_ELEMENTS / PITH_MAX(columns, (uint64_t)1), (uint64_t)1) * PITH_MAX(columns, (uint64_t)1);
    s.piece = PITH_MIN(s.piece, PITH_MAX(t->to.n_elements, (uint64_t)1));
    if (t->move == MODEL_TRANSPOSE) s.strip_elements = s.piece / columns + 2 * (uint64_t)s.from->block;
    if (t->to.n_elements == 0) return PITH_OK;
    if (!tensor_type_bytes(t->to.type, s.piece, &s.piece_bytes))
        return pith_fail(ctx, PITH_E_INTERNAL, "a piece of %llu elements is no whole number of blocks",
                         (unsigned long long)s.piece);
    size_t n_jobs = 2 * (size_t)pith_ctx_threads(ctx);
    n_jobs = (size_t)PITH_MIN((uint64_t)n_jobs, (t->to.n_elements + s.piece - 1) / s.piece);
    s.floats = pith_alloc(ctx, n_jobs * s.piece * sizeof *s.floats);
    s.bytes = s.floats ? pith_alloc(ctx, n_jobs * s.piece_bytes) : NULL;
    s.strip = s.bytes ? pith_alloc(ctx, n_jobs * s.strip_elements * sizeof *s.strip + 1) : NULL;
    pith_status status = s.strip ? run(ctx, &s, n_jobs, write, opaque) : pith_alloc_status(ctx);
    pith_free(ctx, s.strip);
    pith_free(ctx, s.bytes);
    pith_free(ctx, s.floats);
    return status;
}
