/* Decoding the pieces of a model archive: one by one, of one tensor in parallel, and the whole file in its order,
 * where memory is bounded by some pieces per thread. */
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
static pith_status exact_piece(pith_ctx *ctx, const model_archive *a, const archive_piece *p, uint8_t *dst) {
    tensor_type type = p->tensor == ARCHIVE_REST ? TENSOR_U8 : a->index.tensors[p->tensor].type;
    pith_status status =
        archive_piece_decode(ctx, type, p->coding, a->data + p->offset, (size_t)p->coded_n, dst, (size_t)p->raw_n);
    if (!status && pith_hash64(dst, (size_t)p->raw_n) != p->hash)
        status = pith_fail(ctx, PITH_E_CHECK, "does not match its check value");
    return status;
}

/* One coded matrix into dst[rows][cols]. A prefix of levels has no hash to be held against. */
static pith_status coded_piece(pith_ctx *ctx, const model_archive *a, const archive_piece *p, unsigned levels,
                               repr_parts *parts, float *dst) {
    const archive_tensor *t = &a->index.tensors[p->tensor];
    const repr_chain *chain = a->chains[t->rule];
    repr_reader in = {.p = a->data + p->offset, .end = a->data + p->offset + p->coded_n};
    repr_matrix w = {.data = dst, .rows = (size_t)t->ne[1], .cols = (size_t)t->ne[0]};
    bool whole = !levels || levels >= repr_levels(chain);
    pith_status status =
        parts ? repr_decode_parts(ctx, chain, &in, parts, &w) : repr_decode(ctx, chain, &in, whole ? 0 : levels, &w);
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
static pith_status note_failure(_Atomic size_t *failed, size_t piece, pith_status status) {
    size_t none = 0;
    if (status) atomic_compare_exchange_strong(failed, &none, piece + 1);
    return status;
}

static pith_status check_encoder(pith_ctx *ctx, tensor_type type) {
    const tensor_type_info *info = tensor_type_of(type);
    float zeros[256] = {0};
    uint8_t bytes[4096];
    if (info->block <= PITH_COUNT(zeros) && info->block_bytes <= sizeof bytes && blocks_encode(type, zeros, bytes, info->block))
        return PITH_OK;
    return pith_fail(ctx, PITH_E_UNSUPPORTED, "was %s, which is not written; another type must be asked for", info->name);
}

/* An exact piece as floats. */
static pith_status exact_as_floats(pith_ctx *ctx, const model_archive *a, const archive_piece *p, float *dst) {
    tensor_type type = a->index.tensors[p->tensor].type;
    const tensor_type_info *info = tensor_type_of(type);
    uint8_t *bytes = pith_alloc(ctx, (size_t)p->raw_n);
    if (!bytes) return pith_alloc_status(ctx);
    pith_status status = exact_piece(ctx, a, p, bytes);
    if (!status) blocks_decode(type, bytes, dst, (size_t)(p->raw_n / info->block_bytes * info->block));
    pith_free(ctx, bytes);
    return status;
}

/* A coded piece in the type of the original. */
static pith_status coded_as_bytes(pith_ctx *ctx, const model_archive *a, const archive_piece *p, unsigned levels,
                                  uint8_t *dst) {
    tensor_type type = a->index.tensors[p->tensor].type;
    size_t n = (size_t)(p->raw_n / sizeof(float));
    pith_status status = check_encoder(ctx, type);
    if (status) return status;
    float *floats = pith_alloc(ctx, n * sizeof *floats);
    if (!floats) return pith_alloc_status(ctx);
    status = coded_piece(ctx, a, p, levels, NULL, floats);
    if (!status) blocks_encode(type, floats, dst, n);
    pith_free(ctx, floats);
    return status;
}

static pith_status read_piece(void *arg, size_t i) {
    reading *r = arg;
    size_t number = r->t->first_piece + i;
    const archive_piece *p = &r->a->index.pieces[number];
    const tensor_type_info *type = tensor_type_of(r->t->type);
    bool coded = r->t->mode == ARCHIVE_CODED;
    uint64_t first = coded ? p->at * (p->raw_n / sizeof(float)) : p->at / type->block_bytes * type->block; /* element */
    uint8_t *bytes = r->bytes ? r->bytes + first / type->block * type->block_bytes : NULL;
    pith_status status;
    if (pith_cancelled(r->ctx))
        status = pith_fail(r->ctx, PITH_E_CANCELLED, "cancelled");
    else if (bytes)
        status = coded ? coded_as_bytes(r->ctx, r->a, p, r->levels, bytes) : exact_piece(r->ctx, r->a, p, bytes);
    else if (coded)
        status = coded_piece(r->ctx, r->a, p, r->levels, NULL, r->floats + first);
    else
        status = exact_as_floats(r->ctx, r->a, p, r->floats + first);
    return note_failure(&r->failed, number, status);
}

static pith_status read_tensor(pith_ctx *ctx, model_archive *a, size_t i, unsigned levels, float *floats,
                               uint8_t *bytes) {
    const archive_tensor *t = &a->index.tensors[i];
    if (t->mode == ARCHIVE_SAME) t = &a->index.tensors[t->like];
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
        status = exact_piece(ctx, a, p, out + p->at);
        if (status) return say_where(ctx, a, i + 1, status);
    }
    return status;
}

pith_status archive_parts(pith_ctx *ctx, model_archive *a, size_t i, repr_parts *parts) {
    const archive_tensor *t = &a->index.tensors[i];
    if (t->mode != ARCHIVE_CODED) return PITH_OK;
    float *floats = pith_alloc(ctx, (size_t)a->index.pieces[t->first_piece].raw_n);
    pith_status status = floats ? PITH_OK : pith_alloc_status(ctx);
    for (size_t k = 0; k < t->n_pieces && !status; k++) {
        const archive_piece *p = &a->index.pieces[t->first_piece + k];
        status = coded_piece(ctx, a, p, 0, parts, floats);
        if (status) status = say_where(ctx, a, t->first_piece + k + 1, status);
    }
    pith_free(ctx, floats);
    return status;
}

/* ---- the whole file ------------------------------------------------------------------------------------------------ */

/* A piece in the order of the original. */
typedef struct restored {
    size_t piece;
    size_t tensor;  /* as whose bytes it is written; another than the piece's for tensors that are the same */
    size_t bytes_n;
    uint8_t *bytes;
} restored;

typedef struct restoring {
    pith_ctx *ctx;
    model_archive *a;
    unsigned levels;
    tensor_write_fn write;
    void *opaque;
    uint8_t *rest;
    uint64_t rest_at, done;
    pith_hash *hash;
    size_t tensor, piece; /* the next to be taken: piece of tensor */
    restored *batch;
    size_t n, most;
    _Atomic size_t failed; /* as in reading */
} restoring;

static pith_status put(restoring *r, const uint8_t *data, uint64_t n) {
    if (!n) return PITH_OK;
    pith_hash_update(r->hash, data, (size_t)n);
    r->done += n;
    return r->write ? r->write(r->opaque, data, (size_t)n) : PITH_OK;
}

static size_t bytes_of(const archive_tensor *t, const archive_piece *p) {
    if (t->mode != ARCHIVE_CODED) return (size_t)p->raw_n;
    const tensor_type_info *type = tensor_type_of(t->type);
    return (size_t)(p->raw_n / sizeof(float) / type->block * type->block_bytes);
}

/* The next pieces, as many as memory and threads suggest. */
static void take_batch(restoring *r) {
    const archive_index *x = &r->a->index;
    uint64_t used = pith_memory_used(r->ctx), limit = pith_ctx_memory(r->ctx), sum = 0;
    uint64_t room = limit > used ? (limit - used) / 4 * 3 : 0;
    for (r->n = 0; r->n < r->most && r->tensor < x->n_tensors;) {
        const archive_tensor *t = &x->tensors[r->tensor];
        if (t->mode == ARCHIVE_SAME) t = &x->tensors[t->like];
        if (r->piece == t->n_pieces) { /* also tensors without elements */
            if (t->n_pieces == 0 && r->n) break;
            if (t->n_pieces == 0) r->batch[r->n++] = (restored){.piece = SIZE_MAX, .tensor = r->tensor};
            r->tensor++;
            r->piece = 0;
            continue;
        }
        const archive_piece *p = &x->pieces[t->first_piece + r->piece];
        sum += (t->mode == ARCHIVE_CODED ? 4 : 3) * p->raw_n;
        if (r->n && sum > room) return;
        r->batch[r->n++] = (restored){.piece = t->first_piece + r->piece, .tensor = r->tensor, .bytes_n = bytes_of(t, p)};
        r->piece++;
    }
}

static pith_status restore_piece(void *arg, size_t i) {
    restoring *r = arg;
    restored *one = &r->batch[i];
    if (one->piece == SIZE_MAX) return PITH_OK;
    if (pith_cancelled(r->ctx)) return pith_fail(r->ctx, PITH_E_CANCELLED, "cancelled");
    const archive_piece *p = &r->a->index.pieces[one->piece];
    bool coded = r->a->index.tensors[p->tensor].mode == ARCHIVE_CODED;
    one->bytes = pith_alloc(r->ctx, one->bytes_n);
    pith_status status;
    if (!one->bytes)
        status = pith_alloc_status(r->ctx);
    else if (coded)
        status = coded_as_bytes(r->ctx, r->a, p, r->levels, one->bytes);
    else
        status = exact_piece(r->ctx, r->a, p, one->bytes);
    return note_failure(&r->failed, one->piece, status);
}

static pith_status restore_batch(restoring *r) {
    const archive_index *x = &r->a->index;
    pith_status status = r->n == 1 ? restore_piece(r, 0) : pith_parallel(r->ctx, r->n, restore_piece, r);
    if (status) status = say_where(r->ctx, r->a, r->failed, status);
    for (size_t i = 0; i < r->n; i++) {
        const restored *one = &r->batch[i];
        const archive_tensor *t = &x->tensors[one->tensor];
        bool begins = one->piece == SIZE_MAX || x->pieces[one->piece].at == 0;
        if (!status && begins) {
            status = put(r, r->rest + r->rest_at, t->gap);
            r->rest_at += t->gap;
        }
        if (!status) status = put(r, one->bytes, one->bytes_n);
        pith_free(r->ctx, one->bytes);
    }
    return status ? status : pith_tick(r->ctx, r->done, x->original_n);
}

static pith_status restore(restoring *r) {
    const archive_index *x = &r->a->index;
    pith_status status = archive_rest(r->ctx, r->a, r->rest);
    for (; !status;) {
        take_batch(r);
        if (!r->n && r->tensor == x->n_tensors) break;
        if (r->n) status = restore_batch(r);
    }
    if (!status) status = put(r, r->rest + r->rest_at, x->rest_n - r->rest_at);
    if (!status && !x->lossy && pith_hash_value(r->hash) != x->original_hash)
        status = pith_fail(r->ctx, PITH_E_CHECK, "the restored file does not match its check value");
    return status;
}

pith_status archive_restore(pith_ctx *ctx, model_archive *a, unsigned levels, tensor_write_fn write, void *opaque) {
    restoring r = {.ctx = ctx, .a = a, .levels = levels, .write = write, .opaque = opaque};
    r.most = pith_ctx_threads(ctx) == 1 ? 1 : 2 * (size_t)pith_ctx_threads(ctx);
    r.rest = pith_alloc(ctx, (size_t)a->index.rest_n + 1);
    r.batch = pith_alloc(ctx, r.most * sizeof *r.batch);
    r.hash = pith_hash_new(ctx);
    pith_status status = r.rest && r.batch && r.hash ? restore(&r) : pith_alloc_status(ctx);
    pith_hash_free(ctx, r.hash);
    pith_free(ctx, r.batch);
    pith_free(ctx, r.rest);
    return status;
}
