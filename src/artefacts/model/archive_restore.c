/* Decoding all tensors of a model archive in an order, a batch of pieces at a time on all threads, where memory is
 * bounded by some pieces per thread; and with that the whole file as it was. */
#include "artefacts/model/archive_parts.h"

/* ---- tensors in order --------------------------------------------------------------------------------------------- */

/* A piece in the order of the flow. */
typedef struct decoded {
    size_t piece;
    size_t tensor;  /* as whose bytes it goes; another than the piece's for tensors that are the same */
    size_t bytes_n;
    bool begins;
    uint8_t *bytes;
    repr_parts parts;
} decoded;

typedef struct streaming {
    pith_ctx *ctx;
    model_archive *a;
    const archive_wish *wish;
    const archive_flow *flow;
    size_t at, piece; /* the next to be taken: piece of tensor order[at] */
    decoded *batch;
    size_t n, most;
    _Atomic size_t failed; /* number of the first piece that failed, 0 when none */
} streaming;

static size_t bytes_of(const streaming *s, const archive_tensor *t, const archive_piece *p, size_t tensor) {
    if (t->mode != ARCHIVE_CODED) return (size_t)p->raw_n;
    if (s->flow->only_check) return 0;
    const tensor_type_info *type = tensor_type_of(archive_written_type(&s->a->index, s->wish, tensor));
    return (size_t)(archive_piece_elements(t, p) / type->block * type->block_bytes);
}

/* The next pieces, as many as memory and threads suggest. */
static void take_batch(streaming *s) {
    const archive_index *x = &s->a->index;
    uint64_t used = pith_memory_used(s->ctx), limit = pith_ctx_memory(s->ctx), sum = 0;
    uint64_t room = limit > used ? (limit - used) / 4 * 3 : 0;
    for (s->n = 0; s->n < s->most && s->at < s->flow->n;) {
        size_t tensor = s->flow->order ? s->flow->order[s->at] : s->at;
        const archive_tensor *t = archive_stored(x, tensor);
        if (s->piece == t->n_pieces) { /* also tensors without elements */
            if (t->n_pieces == 0) s->batch[s->n++] = (decoded){.piece = SIZE_MAX, .tensor = tensor, .begins = true};
            s->at++;
            s->piece = 0;
            continue;
        }
        const archive_piece *p = &x->pieces[t->first_piece + s->piece];
        sum += (t->mode == ARCHIVE_CODED ? 3 : 2) * p->raw_n;
        if (s->n && sum > room) return;
        s->batch[s->n++] = (decoded){.piece = t->first_piece + s->piece,
                                     .tensor = tensor,
                                     .begins = s->piece == 0,
                                     .bytes_n = bytes_of(s, t, p, tensor)};
        s->piece++;
    }
}

static pith_status decode_piece(void *arg, size_t i) {
    streaming *s = arg;
    decoded *one = &s->batch[i];
    const archive_index *x = &s->a->index;
    if (one->piece == SIZE_MAX) return PITH_OK;
    if (pith_cancelled(s->ctx)) return pith_fail(s->ctx, PITH_E_CANCELLED, "cancelled");
    const archive_piece *p = &x->pieces[one->piece];
    bool coded = x->tensors[p->tensor].mode == ARCHIVE_CODED;
    /* A tensor stored once counts once. */
    repr_parts *parts = s->wish->parts && one->tensor == p->tensor ? &one->parts : NULL;
    unsigned levels = s->wish->levels ? s->wish->levels[p->tensor] : 0;
    pith_status status = PITH_OK;
    if (one->bytes_n || !coded) {
        one->bytes = pith_alloc(s->ctx, one->bytes_n);
        if (!one->bytes) status = pith_alloc_status(s->ctx);
    }
    if (!status && coded)
        status = archive_coded_as(s->ctx, s->a, p, levels, parts, archive_written_type(x, s->wish, one->tensor),
                                  one->bytes);
    else if (!status)
        status = archive_exact(s->ctx, s->a, p, one->bytes);
    return archive_note_failure(&s->failed, one->piece, status);
}

static pith_status hand_out(streaming *s) {
    pith_status status = s->n == 1 ? decode_piece(s, 0) : pith_parallel(s->ctx, s->n, decode_piece, s);
    if (status && s->failed) status = archive_blame(s->ctx, &s->a->index, s->failed - 1, status);
    for (size_t i = 0; i < s->n; i++) {
        decoded *one = &s->batch[i];
        if (!status) status = s->flow->take(s->flow->opaque, one->tensor, one->begins, one->bytes, one->bytes_n);
        for (size_t k = 0; s->wish->parts && k < one->parts.n; k++)
            repr_parts_add(s->wish->parts, one->parts.list[k].stage, one->parts.list[k].kind, one->parts.list[k].bytes);
        pith_free(s->ctx, one->bytes);
    }
    return status;
}

pith_status archive_stream(pith_ctx *ctx, model_archive *a, const archive_wish *wish, const archive_flow *flow) {
    streaming s = {.ctx = ctx, .a = a, .wish = wish, .flow = flow};
    s.most = pith_ctx_threads(ctx) == 1 ? 1 : 2 * (size_t)pith_ctx_threads(ctx);
    s.batch = pith_alloc(ctx, s.most * sizeof *s.batch);
    pith_status status = s.batch ? PITH_OK : pith_alloc_status(ctx);
    while (!status && s.at < flow->n) {
        take_batch(&s);
        if (s.n) status = hand_out(&s);
    }
    pith_free(ctx, s.batch);
    return status;
}

/* ---- the whole file ------------------------------------------------------------------------------------------------ */

typedef struct restoring {
    pith_ctx *ctx;
    const archive_index *x;
    tensor_write_fn write;
    void *opaque;
    uint8_t *rest;
    uint64_t rest_at, done;
    pith_hash *hash;
} restoring;

static pith_status put(restoring *r, const uint8_t *data, uint64_t n) {
    if (!n) return PITH_OK;
    pith_hash_update(r->hash, data, (size_t)n);
    r->done += n;
    return r->write ? r->write(r->opaque, data, (size_t)n) : PITH_OK;
}

static pith_status take(void *opaque, size_t tensor, bool begins, const uint8_t *bytes, size_t n) {
    restoring *r = opaque;
    const archive_tensor *t = &r->x->tensors[tensor];
    pith_status status = PITH_OK;
    if (begins) {
        status = put(r, r->rest + r->rest_at, t->gap);
        r->rest_at += t->gap;
    }
    if (!status) status = put(r, bytes, n);
    return status ? status : pith_tick(r->ctx, r->done, r->x->original_n);
}

static pith_status restore(restoring *r, model_archive *a, const archive_wish *wish) {
    const archive_flow flow = {.n = r->x->n_tensors, .only_check = !r->write, .take = take, .opaque = r};
    pith_status status = archive_rest(r->ctx, a, r->rest);
    if (!status) status = archive_stream(r->ctx, a, wish, &flow);
    if (!status) status = put(r, r->rest + r->rest_at, r->x->rest_n - r->rest_at);
    if (!status && !r->x->lossy && pith_hash_value(r->hash) != r->x->original_hash)
        status = pith_fail(r->ctx, PITH_E_CHECK, "the restored file does not match its check value");
    return status;
}

pith_status archive_restore(pith_ctx *ctx, model_archive *a, const archive_wish *wish, tensor_write_fn write,
                            void *opaque) {
    archive_wish as_it_was = wish ? *wish : (archive_wish){0};
    as_it_was.type = NULL;
    restoring r = {.ctx = ctx, .x = &a->index, .write = write, .opaque = opaque};
    r.rest = pith_alloc(ctx, (size_t)a->index.rest_n + 1);
    r.hash = pith_hash_new(ctx);
    pith_status status = r.rest && r.hash ? restore(&r, a, &as_it_was) : pith_alloc_status(ctx);
    pith_hash_free(ctx, r.hash);
    pith_free(ctx, r.rest);
    return status;
}
