/* Decoding the pieces of a model archive, one by one or of one tensor in parallel, into floats or into the bytes of a
 * type. */
#include "artefacts/model/archive_parts.h"

#include <stdio.h>

pith_status archive_blame(pith_ctx *ctx, const archive_index *x, size_t piece, pith_status status) {
    char name[64] = "the head", why[400];
    if (status == PITH_E_CANCELLED) return status;
    if (x->pieces[piece].tensor != ARCHIVE_REST) {
        const meta_string *n = &x->tensors[x->pieces[piece].tensor].name;
        size_t size = PITH_MIN(n->size, sizeof name - 1);
        for (size_t i = 0; i < size; i++) name[i] = n->data[i] >= ' ' && n->data[i] <= '~' ? n->data[i] : '?';
        name[size] = 0;
    }
    snprintf(why, sizeof why, "%s", pith_error(ctx));
    pith_begin(ctx);
    return pith_fail(ctx, status, "%s: %s", name, why);
}

/* `piece` counts from 1, 0: none. */
static pith_status say_where(pith_ctx *ctx, const model_archive *a, size_t piece, pith_status status) {
    return piece ? archive_blame(ctx, &a->index, piece - 1, status) : status;
}

/* One exact piece into dst[raw_n]. */
pith_status archive_exact(pith_ctx *ctx, const model_archive *a, const archive_piece *p, uint8_t *dst) {
    tensor_type type = p->tensor == ARCHIVE_REST ? TENSOR_U8 : a->index.tensors[p->tensor].type;
    pith_status status =
        archive_piece_decode(ctx, type, p->coding, a->data + p->offset, (size_t)p->coded_n, dst, (size_t)p->raw_n);
    if (!status && pith_hash64(dst, (size_t)p->raw_n) != p->hash)
        status = pith_fail(ctx, PITH_E_CHECK, "does not match its check value");
    return status;
}

/* One coded matrix into dst[rows][cols]. A prefix of levels has no hash to be held against. */
pith_status archive_coded(pith_ctx *ctx, const model_archive *a, const archive_piece *p, unsigned levels,
                          repr_parts *parts, float *dst) {
    const archive_tensor *t = &a->index.tensors[p->tensor];
    const repr_chain *chain = a->chains[p->rule];
    repr_reader in = {.p = a->data + p->offset, .end = a->data + p->offset + p->coded_n};
    repr_matrix w = {.data = dst, .rows = (size_t)t->ne[1], .cols = (size_t)t->ne[0]};
    bool whole = !levels || levels >= repr_levels(chain);
    pith_status status = parts && whole ? repr_decode_parts(ctx, chain, &in, parts, &w)
                                        : repr_decode(ctx, chain, &in, whole ? 0 : levels, &w);
    if (!status && in.p != in.end) status = pith_fail(ctx, PITH_E_FORMAT, "bytes after the code of a matrix");
    if (!status && whole && pith_hash64(dst, (size_t)p->raw_n) != p->hash)
        status = pith_fail(ctx, PITH_E_CHECK, "does not match its check value");
    return status;
}

/* ---- one tensor ------------------------------------------------------------------------------------------------ */

typedef struct reading {
    pith_ctx *ctx;
    const model_archive *a;
    const archive_tensor *t; /* with pieces */
    unsigned levels;
    float *floats; /* all of the tensor, as one of the two */
    uint8_t *bytes;
    _Atomic size_t failed; /* number of the first piece that failed, 0 when none */
} reading;

/* As it comes: the name belongs to the message that the session keeps. */
pith_status archive_note_failure(_Atomic size_t *failed, size_t piece, pith_status status) {
    size_t none = 0;
    if (status) atomic_compare_exchange_strong(failed, &none, piece + 1);
    return status;
}

bool archive_writes(tensor_type type) {
    const tensor_type_info *info = tensor_type_of(type);
    float zeros[256] = {0};
    uint8_t bytes[4096];
    return info && info->block <= PITH_COUNT(zeros) && info->block_bytes <= sizeof bytes &&
           blocks_encode(type, zeros, bytes, info->block);
}

const tensor_type_info *archive_unwritten(const model_archive *a) {
    for (size_t i = 0; i < a->index.n_tensors; i++) {
        const archive_tensor *t = &a->index.tensors[i];
        if (t->mode == ARCHIVE_CODED && !archive_writes(t->type)) return tensor_type_of(t->type);
    }
    return NULL;
}

tensor_type archive_written_type(const archive_index *x, const archive_wish *wish, size_t i) {
    const archive_tensor *t = archive_stored(x, i);
    if (t->mode != ARCHIVE_CODED || !wish->type) return t->type;
    return t->ne[0] % wish->type->block ? TENSOR_F16 : wish->type->type;
}

/* An exact piece as floats. */
static pith_status exact_as_floats(pith_ctx *ctx, const model_archive *a, const archive_piece *p, float *dst) {
    tensor_type type = a->index.tensors[p->tensor].type;
    const tensor_type_info *info = tensor_type_of(type);
    uint8_t *bytes = pith_alloc(ctx, (size_t)p->raw_n);
    if (!bytes) return pith_alloc_status(ctx);
    pith_status status = archive_exact(ctx, a, p, bytes);
    if (!status) blocks_decode(type, bytes, dst, (size_t)(p->raw_n / info->block_bytes * info->block));
    pith_free(ctx, bytes);
    return status;
}

pith_status archive_coded_as(pith_ctx *ctx, const model_archive *a, const archive_piece *p, unsigned levels,
                             repr_parts *parts, tensor_type type, uint8_t *dst) {
    const archive_tensor *t = &a->index.tensors[p->tensor];
    size_t n = (size_t)archive_piece_elements(t, p), bad;
    const tensor_type_info *info = tensor_type_of(type);
    bool exact = p->rule == ARCHIVE_NO_RULE;
    if (exact && dst && type == t->type) return archive_exact(ctx, a, p, dst);
    if (dst && !archive_writes(type))
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "was %s, which is not written; another type must be asked for",
                         info->name);
    float *floats = pith_alloc(ctx, n * sizeof *floats);
    if (!floats) return pith_alloc_status(ctx);
    pith_status status =
        exact ? exact_as_floats(ctx, a, p, floats) : archive_coded(ctx, a, p, levels, parts, floats);
    if (!status && dst) {
        blocks_encode(type, floats, dst, n);
        if (!blocks_valid(type, dst, n / info->block, &bad))
            status = pith_fail(ctx, PITH_E_CHECK, "has a weight too large for %s", info->name);
    }
    pith_free(ctx, floats);
    return status;
}

static pith_status read_piece(void *arg, size_t i) {
    reading *r = arg;
    size_t number = r->t->first_piece + i;
    const archive_piece *p = &r->a->index.pieces[number];
    const tensor_type_info *type = tensor_type_of(r->t->type);
    bool coded = p->rule != ARCHIVE_NO_RULE;
    uint64_t first = coded ? p->at * (p->raw_n / sizeof(float)) : p->at / type->block_bytes * type->block; /* element */
    uint8_t *bytes = r->bytes ? r->bytes + first / type->block * type->block_bytes : NULL;
    pith_status status;
    if (pith_cancelled(r->ctx))
        status = pith_fail(r->ctx, PITH_E_CANCELLED, "cancelled");
    else if (bytes)
        status = coded ? archive_coded_as(r->ctx, r->a, p, r->levels, NULL, r->t->type, bytes) : archive_exact(r->ctx, r->a, p, bytes);
    else if (coded)
        status = archive_coded(r->ctx, r->a, p, r->levels, NULL, r->floats + first);
    else
        status = exact_as_floats(r->ctx, r->a, p, r->floats + first);
    return archive_note_failure(&r->failed, number, status);
}

static pith_status read_tensor(pith_ctx *ctx, model_archive *a, size_t i, unsigned levels, float *floats,
                               uint8_t *bytes) {
    const archive_tensor *t = archive_stored(&a->index, i);
    reading r = {.ctx = ctx, .a = a, .t = t, .levels = levels, .floats = floats, .bytes = bytes};
    pith_status status =
        t->n_pieces == 1 ? read_piece(&r, 0) : pith_parallel(ctx, t->n_pieces, read_piece, &r);
    return status ? say_where(ctx, a, r.failed, status) : PITH_OK;
}

pith_status archive_floats(pith_ctx *ctx, model_archive *a, size_t i, unsigned levels, float *out) {
    return read_tensor(ctx, a, i, levels, out, NULL);
}

pith_status archive_tensor_bytes(pith_ctx *ctx, model_archive *a, size_t i, unsigned levels, uint8_t *out) {
    return read_tensor(ctx, a, i, levels, NULL, out);
}

pith_status archive_rest(pith_ctx *ctx, model_archive *a, uint8_t *out) {
    pith_status status = PITH_OK;
    for (size_t i = 0; i < a->index.n_rest_pieces && !status; i++) {
        const archive_piece *p = &a->index.pieces[i];
        status = archive_exact(ctx, a, p, out + p->at);
        if (status) return say_where(ctx, a, i + 1, status);
    }
    return status;
}

pith_status archive_parts(pith_ctx *ctx, model_archive *a, size_t i, repr_parts *parts) {
    const archive_tensor *t = &a->index.tensors[i];
    if (t->mode != ARCHIVE_CODED) return PITH_OK;
    float *floats = pith_alloc(ctx, (size_t)(t->ne[0] * t->ne[1] * sizeof *floats));
    pith_status status = floats ? PITH_OK : pith_alloc_status(ctx);
    for (size_t k = 0; k < t->n_pieces && !status; k++) {
        const archive_piece *p = &a->index.pieces[t->first_piece + k];
        if (p->rule == ARCHIVE_NO_RULE) continue;
        status = archive_coded(ctx, a, p, 0, parts, floats);
        if (status) status = say_where(ctx, a, t->first_piece + k + 1, status);
    }
    pith_free(ctx, floats);
    return status;
}
