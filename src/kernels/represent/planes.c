/* Exact codes of floats: exponents are far from uniform, signs and mantissas nearly uniform (M. Hershcovitch et al.,
 * "ZipNN", arXiv:2411.05239; T. Zhang et al., "DFloat11", arXiv:2504.11651). Elements are split into planes of bytes, and
 * each plane of a piece of 256 KiB takes the smallest way of pack_bytes.c. Against a base (Z. Su et al., "ZipLLM",
 * arXiv:2505.06252) it is the exclusive or of the bits that is split, or the difference of places in the order of numbers,
 * or the elements themselves, chosen for each piece by a sample.
 *
 * Mantissas are only nearly uniform: weights thin out away from zero, so that of the numbers with one exponent more are
 * below the middle than above. Floats with eight bits of exponent are therefore also split one or two bits lower: the
 * lowest bits of the exponent and the highest of the mantissa are one symbol.
 *
 * A code is: a byte, 0 for plain bytes, which follow, or 1; the sizes of all pieces, 4 bytes each; the pieces. A piece is
 * a byte, its way (0 elements, 1 exclusive or, 2 differences, 3 and 4 elements split one and two bits lower), the planes,
 * and the bytes that make no whole element. */
#include <math.h>

#include "kernels/represent/planes.h"
#include "formats/blocks/blocks.h"
#include "kernels/represent/pack_parts.h"

enum { PLAIN_BYTES, PIECES };
enum { ELEMENTS, EXCLUSIVE, DIFFERENCE, ONE_LOWER, TWO_LOWER, N_WAYS };

#define SMALLEST 48         /* bytes that are worth planes */
#define PIECES_OF_A_JOB 8   /* at least, so that jobs share their memory among them */
#define SAMPLE_ELEMENTS 8192
#define PIECES_ALIKE 8 /* without a base, so many pieces are split as the first of them likes it */

typedef struct shape {
    unsigned width; /* bytes of an element */
    bool floats;
    bool wide; /* floats of 16 or 32 bits, eight of them the exponent */
} shape;

static shape shape_of(uint32_t type) {
    switch (type) {
    case TENSOR_BF16: return (shape){2, true, true};
    case TENSOR_F16: return (shape){2, true, false};
    case TENSOR_F32: return (shape){4, true, true};
    case TENSOR_F64: return (shape){8, true, false};
    case TENSOR_I16:
    case TENSOR_U16: return (shape){2, false, false};
    case TENSOR_I32:
    case TENSOR_U32: return (shape){4, false, false};
    case TENSOR_I64:
    case TENSOR_U64: return (shape){8, false, false};
    default: return (shape){1, false, false};
    }
}

static const planes_ops *ops(void) {
#ifndef PITH_NO_X86
    if (pith_cpu_best() >= PITH_CPU_AVX512) return &planes_ops_avx512;
    if (pith_cpu_best() >= PITH_CPU_AVX2) return &planes_ops_avx2;
#endif
    return &planes_ops_scalar;
}

/* One code being made or read. */
typedef struct planes_job {
    pith_ctx *ctx;
    shape shape;
    const uint8_t *src, *base; /* src: encoding only; base may be NULL */
    uint8_t *dst;              /* decoding: the wanted bytes */
    size_t bytes, first, end;  /* of all elements; decoding: those wanted */
    size_t n_pieces, first_piece, per_job;
    pith_buffer *out; /* encoding: of each job */
    uint32_t *sizes;  /* encoding: of each piece */
    const uint8_t *table, *coded; /* decoding: sizes, and the first piece of all */
    const uint64_t *starts;       /* decoding: where the jobs' first pieces begin in `coded` */
} planes_job;

static size_t piece_bytes(const planes_job *j, size_t piece) {
    return PITH_MIN(PLANES_PIECE, j->bytes - piece * PLANES_PIECE);
}

static void planes_at(const planes_job *j, uint8_t *room, size_t n, uint8_t *planes[PLANES_MOST]) {
    for (unsigned k = 0; k < j->shape.width; k++) planes[k] = room + k * n;
}

static pith_status cancelled(pith_ctx *ctx) { return pith_fail(ctx, PITH_E_CANCELLED, "cancelled"); }

static bool is_way(const planes_job *j, unsigned way) {
    return way == ELEMENTS || (way < ONE_LOWER && j->base) || (way >= ONE_LOWER && way < N_WAYS && j->shape.wide);
}

/* The bit where the highest plane begins. */
static unsigned cut_of(const planes_job *j, unsigned way) {
    if (!j->shape.floats || way == DIFFERENCE) return 8;
    return way == ONE_LOWER ? 6 : way == TWO_LOWER ? 5 : 7;
}

/* ---- encoding ---- */

/* Splits n elements one of the ways; `differences` has room for them. */
static void split_way(const planes_job *j, unsigned way, const uint8_t *src, const uint8_t *base, size_t n,
                      uint8_t *differences, uint8_t *const *planes) {
    unsigned width = j->shape.width;
    const planes_ops *fn = ops();
    if (way == EXCLUSIVE) fn->exclusive(src, base, n * width, differences);
    if (way == DIFFERENCE) fn->subtract(src, base, n, width, j->shape.floats, differences);
    fn->split(way == EXCLUSIVE || way == DIFFERENCE ? differences : src, n, width, cut_of(j, way), planes);
}

/* Bits that n symbols take which are like those counted, their table too. */
static double plane_bits(const uint32_t count[256], size_t n_sample, size_t n) {
    unsigned n_symbols = 0;
    for (unsigned s = 0; s < 256; s++) n_symbols += count[s] > 0;
    /* a sample shows too little of what is rare: G. A. Miller, "Note on the bias of information estimates", 1955 */
    double each = pack_entropy(count, 256, n_sample) / (double)n_sample + (n_symbols - 1) * (0.5 / M_LN2) / (double)n_sample;
    return each > 7.9 ? 8 * (double)n : each * (double)n + 8 * n_symbols;
}

/* The way whose planes take the least, by a sample from the middle. */
static unsigned choose_way(const planes_job *j, const uint8_t *src, const uint8_t *base, size_t n, uint8_t *room) {
    unsigned width = j->shape.width, best = ELEMENTS;
    double best_bits = 0;
    uint8_t *planes[PLANES_MOST];
    size_t n_sample = PITH_MIN(n, SAMPLE_ELEMENTS), at = (n - n_sample) / 2 * width;
    if (!n || (!j->base && !j->shape.wide)) return ELEMENTS;
    planes_at(j, room, n_sample, planes);
    for (unsigned way = 0; way < N_WAYS; way++) {
        double bits = 0;
        if (!is_way(j, way)) continue;
        split_way(j, way, src + at, base ? base + at : NULL, n_sample, room + PLANES_PIECE, planes);
        for (unsigned k = 0; k < width; k++) {
            uint32_t count[256];
            pack_count(planes[k], n_sample, count);
            bits += plane_bits(count, n_sample, n);
        }
        if (way == 0 || bits < best_bits) best = way, best_bits = bits;
    }
    return best;
}

/* Of a piece, by itself: the same whatever jobs there are. */
static unsigned way_of_piece(const planes_job *j, size_t piece, uint8_t *room) {
    size_t at = piece * PLANES_PIECE;
    return choose_way(j, j->src + at, j->base ? j->base + at : NULL, piece_bytes(j, piece) / j->shape.width, room);
}

/* room: 2 * PLANES_PIECE bytes */
static pith_status encode_piece(const planes_job *j, pack_zstd *z, size_t piece, unsigned way, uint8_t *room,
                                pith_buffer *out) {
    size_t at = piece * PLANES_PIECE, size = piece_bytes(j, piece), n = size / j->shape.width, begin = out->size;
    uint8_t *planes[PLANES_MOST];
    const uint8_t *base = j->base ? j->base + at : NULL;
    planes_at(j, room, n, planes);
    split_way(j, way, j->src + at, base, n, room + PLANES_PIECE, planes);
    uint8_t kind = (uint8_t)way;
    pith_status status = pith_buffer_append(j->ctx, out, &kind, 1);
    bool with_zstd = j->base || !j->shape.floats || pack_repeats(planes[1], n);
    for (unsigned k = 0; k < j->shape.width && !status; k++)
        status = pack_bytes_put(z, planes[k], n, with_zstd, out);
    size_t whole = n * j->shape.width;
    if (!status) status = pith_buffer_append(j->ctx, out, j->src + at + whole, size - whole);
    j->sizes[piece] = (uint32_t)(out->size - begin);
    return status;
}

static pith_status encode_job(void *arg, size_t i) {
    const planes_job *j = arg;
    uint8_t *room = pith_alloc(j->ctx, 2 * PLANES_PIECE);
    if (!room) return pith_alloc_status(j->ctx);
    pack_zstd z = {.ctx = j->ctx};
    pith_status status = PITH_OK;
    size_t first = i * j->per_job, end = PITH_MIN(first + j->per_job, j->n_pieces);
    unsigned way = ELEMENTS;
    for (size_t piece = first; piece < end && !status; piece++) {
        size_t like = j->base ? piece : piece / PIECES_ALIKE * PIECES_ALIKE;
        if (piece == first || piece == like) way = way_of_piece(j, like, room);
        status = pith_cancelled(j->ctx) ? cancelled(j->ctx) : encode_piece(j, &z, piece, way, room, &j->out[i]);
    }
    pack_zstd_close(&z);
    pith_free(j->ctx, room);
    return status;
}

/* Cuts pieces into jobs; gives their number. */
static size_t share_pieces(planes_job *j, size_t n_pieces) {
    size_t n_threads = pith_threads_free(j->ctx), n_jobs = n_threads == 1 ? 1 : n_pieces / PIECES_OF_A_JOB;
    n_jobs = PITH_MAX(PITH_MIN(n_jobs, 4 * n_threads), 1);
    j->per_job = (n_pieces + n_jobs - 1) / n_jobs;
    return j->per_job ? (n_pieces + j->per_job - 1) / j->per_job : 0;
}

static pith_status put_plain(pith_ctx *ctx, const uint8_t *src, size_t bytes, pith_buffer *out) {
    uint8_t kind = PLAIN_BYTES;
    pith_status status = pith_buffer_append(ctx, out, &kind, 1);
    return status ? status : pith_buffer_append(ctx, out, src, bytes);
}

/* One job: straight into *out, whose first sizes are filled in afterwards. */
static pith_status encode_alone(planes_job *j, pith_buffer *out) {
    uint8_t kind = PIECES;
    size_t begin = out->size;
    pith_status status = pith_buffer_append(j->ctx, out, &kind, 1);
    if (!status) status = pith_buffer_reserve(j->ctx, out, 4 * j->n_pieces);
    if (status) return status;
    out->size += 4 * j->n_pieces;
    j->out = out;
    status = encode_job(j, 0);
    for (size_t i = 0; i < j->n_pieces && !status; i++) store32(out->data + begin + 1 + 4 * i, j->sizes[i]);
    if (status || out->size - begin <= j->bytes) return status;
    out->size = begin;
    return put_plain(j->ctx, j->src, j->bytes, out);
}

/* Many: each into a buffer of its own, then these behind each other. */
static pith_status encode_together(planes_job *j, size_t n_jobs, pith_buffer *out) {
    pith_ctx *ctx = j->ctx;
    uint8_t kind = PIECES;
    size_t total = 1 + 4 * j->n_pieces;
    pith_buffer *parts = j->out = pith_zalloc(ctx, n_jobs * sizeof *parts);
    if (!parts) return pith_alloc_status(ctx);
    pith_status status = pith_parallel(ctx, n_jobs, encode_job, j);
    for (size_t i = 0; i < n_jobs; i++) total += parts[i].size;
    bool pays = total <= j->bytes;
    if (!status && !pays) status = put_plain(ctx, j->src, j->bytes, out);
    if (!status && pays) status = pith_buffer_reserve(ctx, out, total);
    if (!status && pays) status = pith_buffer_append(ctx, out, &kind, 1);
    for (size_t i = 0; i < j->n_pieces && !status && pays; i++, out->size += 4)
        store32(out->data + out->size, j->sizes[i]);
    for (size_t i = 0; i < n_jobs; i++) {
        if (!status && pays) status = pith_buffer_append(ctx, out, parts[i].data, parts[i].size);
        pith_buffer_free(ctx, &parts[i]);
    }
    pith_free(ctx, parts);
    return status;
}

static pith_status encode(pith_ctx *ctx, uint32_t type, const uint8_t *src, const uint8_t *base, size_t bytes,
                          pith_buffer *out) {
    if (bytes < SMALLEST) return put_plain(ctx, src, bytes, out);
    planes_job j = {.ctx = ctx, .shape = shape_of(type), .src = src, .base = base, .bytes = bytes};
    j.n_pieces = (bytes - 1) / PLANES_PIECE + 1;
    size_t n_jobs = share_pieces(&j, j.n_pieces);
    j.sizes = pith_alloc(ctx, j.n_pieces * sizeof *j.sizes);
    if (!j.sizes) return pith_alloc_status(ctx);
    pith_status status = n_jobs == 1 ? encode_alone(&j, out) : encode_together(&j, n_jobs, out);
    pith_free(ctx, j.sizes);
    return status;
}

/* ---- decoding ---- */

static pith_status decode_planes(const planes_job *j, pack_zstd *z, size_t piece, uint8_t *room, repr_reader *in,
                                 uint8_t *dst) {
    pith_ctx *ctx = j->ctx;
    size_t at = piece * PLANES_PIECE, size = piece_bytes(j, piece), n = size / j->shape.width;
    unsigned width = j->shape.width;
    const uint8_t *way = repr_take(in, 1), *planes[PLANES_MOST], *rest;
    if (!way || !is_way(j, *way))
        return pith_fail(ctx, PITH_E_FORMAT, "piece %zu of exact floats is of an unknown kind", piece);
    for (unsigned k = 0; k < width; k++) {
        pith_status status = pack_bytes_take(z, in, room + k * n, n, &planes[k]);
        if (status) return status;
    }
    if (!(rest = repr_take(in, size - n * width)) || in->p != in->end)
        return pith_fail(ctx, PITH_E_FORMAT, "piece %zu of exact floats does not end where it should", piece);
    ops()->merge(planes, n, width, cut_of(j, *way), dst);
    if (*way == EXCLUSIVE) ops()->exclusive(dst, j->base + at, n * width, dst);
    if (*way == DIFFERENCE) ops()->add(dst, j->base + at, n, width, j->shape.floats, dst);
    if (size > n * width) memcpy(dst + n * width, rest, size - n * width);
    return PITH_OK;
}

/* room: 2 * PLANES_PIECE bytes. Pieces that are wanted in part are decoded whole, beside the planes. */
static pith_status decode_piece(const planes_job *j, pack_zstd *z, size_t piece, uint8_t *room, repr_reader *in) {
    size_t begin = piece * PLANES_PIECE, end = begin + piece_bytes(j, piece);
    if (begin >= j->first && end <= j->end) return decode_planes(j, z, piece, room, in, j->dst + (begin - j->first));
    uint8_t *whole = room + PLANES_PIECE;
    pith_status status = decode_planes(j, z, piece, room, in, whole);
    size_t from = PITH_MAX(begin, j->first), to = PITH_MIN(end, j->end);
    if (!status && to > from) memcpy(j->dst + (from - j->first), whole + (from - begin), to - from);
    return status;
}

static pith_status decode_job(void *arg, size_t i) {
    const planes_job *j = arg;
    size_t piece = j->first_piece + i * j->per_job, end = PITH_MIN(piece + j->per_job, j->first_piece + j->n_pieces);
    uint8_t *room = pith_alloc(j->ctx, 2 * PLANES_PIECE);
    if (!room) return pith_alloc_status(j->ctx);
    const uint8_t *p = j->coded + j->starts[i];
    pack_zstd z = {.ctx = j->ctx};
    pith_status status = PITH_OK;
    for (; piece < end && !status; piece++) {
        uint32_t size = load32(j->table + 4 * piece);
        repr_reader in = {p, p + size};
        status = pith_cancelled(j->ctx) ? cancelled(j->ctx) : decode_piece(j, &z, piece, room, &in);
        p += size;
    }
    pack_zstd_close(&z);
    pith_free(j->ctx, room);
    return status;
}

pith_status planes_decode_range(pith_ctx *ctx, uint32_t type, repr_reader *in, const uint8_t *base, size_t bytes,
                                size_t first, size_t n, uint8_t *dst) {
    if (first > bytes || n > bytes - first)
        return pith_fail(ctx, PITH_E_ARGUMENT, "bytes %zu to %zu of a tensor of %zu", first, first + n, bytes);
    const uint8_t *kind = repr_take(in, 1), *plain;
    if (!kind || *kind > PIECES) return pith_fail(ctx, PITH_E_FORMAT, "exact floats of an unknown kind");
    if (*kind == PLAIN_BYTES) {
        if (!(plain = repr_take(in, bytes)))
            return pith_fail(ctx, PITH_E_FORMAT, "%zu bytes of a tensor are cut off", bytes);
        if (n) memcpy(dst, plain + first, n);
        return PITH_OK;
    }
    planes_job j = {.ctx = ctx, .shape = shape_of(type), .base = base, .dst = dst, .bytes = bytes};
    size_t n_all = bytes ? (bytes - 1) / PLANES_PIECE + 1 : 0;
    j.table = n_all <= SIZE_MAX / 4 ? repr_take(in, 4 * n_all) : NULL;
    if (!j.table) return pith_fail(ctx, PITH_E_FORMAT, "the sizes of %zu pieces are cut off", n_all);
    j.coded = in->p;
    j.first = first;
    j.end = first + n;
    j.first_piece = first / PLANES_PIECE;
    j.n_pieces = n ? (first + n - 1) / PLANES_PIECE + 1 - j.first_piece : 0;
    size_t n_jobs = share_pieces(&j, j.n_pieces);
    uint64_t *starts = pith_alloc(ctx, (n_jobs + 1) * sizeof *starts), total = 0;
    if (!starts) return pith_alloc_status(ctx);
    for (size_t i = 0; i < n_all; i++) {
        size_t since = i - j.first_piece;
        if (i >= j.first_piece && since < j.n_pieces && since % j.per_job == 0) starts[since / j.per_job] = total;
        total += load32(j.table + 4 * i);
    }
    j.starts = starts;
    pith_status status = PITH_OK;
    if (total > SIZE_MAX || !repr_take(in, (size_t)total))
        status = pith_fail(ctx, PITH_E_FORMAT, "pieces of exact floats are cut off");
    else if (n_jobs)
        status = n_jobs == 1 ? decode_job(&j, 0) : pith_parallel(ctx, n_jobs, decode_job, &j);
    pith_free(ctx, starts);
    return status;
}

/* ---- the door ---- */

pith_status repr_floats_encode(pith_ctx *ctx, uint32_t type, const uint8_t *src, size_t bytes, pith_buffer *out) {
    return encode(ctx, type, src, NULL, bytes, out);
}

pith_status repr_floats_decode(pith_ctx *ctx, uint32_t type, repr_reader *in, uint8_t *dst, size_t bytes) {
    return planes_decode_range(ctx, type, in, NULL, bytes, 0, bytes, dst);
}

pith_status repr_delta_encode(pith_ctx *ctx, uint32_t type, const uint8_t *src, const uint8_t *base, size_t bytes,
                              pith_buffer *out) {
    return encode(ctx, type, src, base, bytes, out);
}

pith_status repr_delta_decode(pith_ctx *ctx, uint32_t type, repr_reader *in, const uint8_t *base, uint8_t *dst,
                              size_t bytes) {
    return planes_decode_range(ctx, type, in, base, bytes, 0, bytes, dst);
}
