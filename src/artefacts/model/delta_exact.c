/* Exact deltas. The body: the rest, as the base's or coded; the number of tensors; for each its gap, a tensor of the
 * base or 0 with type and length, and whether it equals that tensor, or its pieces. A piece is its coding, the length
 * of its code, and the code. In a series, floats may be coded by levels instead. */
#include "artefacts/model/series_parts.h"

enum { SAME, PIECES, LEVELS };

/* ---- writing ---- */

static pith_status put_bytes(delta_sink *out, const pith_buffer *b) { return delta_sink_put(out, b->data, b->size); }

static pith_status put_pieces(delta_pair *p, uint32_t type, bool rest, const uint8_t *src, const uint8_t *base,
                              size_t n, bool *uses_base, delta_sink *out) {
    pith_ctx *ctx = p->ctx;
    size_t step = (size_t)archive_piece_bytes((tensor_type)type);
    pith_buffer code = {0}, head = {0};
    pith_status status = PITH_OK;
    *uses_base = false;
    for (size_t at = 0; at < n && !status; at += step) {
        unsigned coding;
        size_t size = PITH_MIN(step, n - at);
        code.size = head.size = 0;
        status = difference_encode(ctx, type, rest, src + at, base ? base + at : NULL, size, &coding, &code);
        uint8_t first = (uint8_t)coding;
        *uses_base = *uses_base || difference_has_base(coding);
        if (!status) status = pith_buffer_append(ctx, &head, &first, 1);
        if (!status) status = repr_put_number(ctx, &head, code.size);
        if (!status) status = put_bytes(out, &head);
        if (!status) status = put_bytes(out, &code);
        if (!status && !rest) status = pith_tick(ctx, (uint64_t)(src + at - p->fine.data) + size, p->fine.size);
    }
    pith_buffer_free(ctx, &code);
    pith_buffer_free(ctx, &head);
    return status;
}

static pith_status put_kind(delta_sink *out, unsigned kind) {
    uint8_t byte = (uint8_t)kind;
    return delta_sink_put(out, &byte, 1);
}

static pith_status put_tensor(delta_pair *p, size_t i, delta_sink *out) {
    const tensor_view *v = p->fine.views[i];
    size_t k = delta_find(&p->base, v->name);
    const tensor_view *like = k < p->base.n_views ? p->base.views[k] : NULL;
    if (like && (like->type != v->type || like->bytes != v->bytes)) like = NULL;
    pith_buffer head = {0};
    pith_status status = repr_put_number(p->ctx, &head, model_layout_gap(&p->fine, i));
    if (!status) status = repr_put_number(p->ctx, &head, like ? k + 1 : 0);
    if (!status && !like) status = repr_put_number(p->ctx, &head, v->type);
    if (!status && !like) status = repr_put_number(p->ctx, &head, v->bytes);
    if (!status) status = put_bytes(out, &head);
    pith_buffer_free(p->ctx, &head);
    if (status) return status;
    if (like && memcmp(like->data, v->data, (size_t)v->bytes) == 0) {
        p->report->same++;
        status = put_kind(out, SAME);
        return status || !p->series ? status : series_skip(p->ctx, p->series, v->type, v->n_elements);
    }
    if (like && p->series && series_is_float(v->type)) {
        p->report->differences++;
        status = put_kind(out, LEVELS);
        return status ? status : series_encode(p->ctx, p->series, &p->base, k, v, out);
    }
    bool uses_base;
    status = put_kind(out, PIECES);
    if (!status)
        status = put_pieces(p, v->type, false, v->data, like ? like->data : NULL, (size_t)v->bytes, &uses_base, out);
    if (!status) ++*(uses_base ? &p->report->differences : &p->report->plain);
    if (!status && p->series) status = series_skip(p->ctx, p->series, v->type, v->n_elements);
    return status;
}

pith_status delta_exact_encode(delta_pair *p, delta_sink *out) {
    const model_layout *b = &p->base, *f = &p->fine;
    bool same = b->rest_n == f->rest_n && memcmp(b->rest, f->rest, b->rest_n) == 0, ignored;
    pith_buffer head = {0};
    pith_status status = put_kind(out, same ? SAME : PIECES);
    if (!status && !same) status = repr_put_number(p->ctx, &head, f->rest_n);
    if (!status && !same) status = put_bytes(out, &head);
    if (!status && !same) status = put_pieces(p, TENSOR_U8, true, f->rest, NULL, f->rest_n, &ignored, out);
    head.size = 0;
    if (!status) status = repr_put_number(p->ctx, &head, f->n_views);
    if (!status) status = put_bytes(out, &head);
    pith_buffer_free(p->ctx, &head);
    p->report->tensors = f->n_views;
    for (size_t i = 0; i < f->n_views && !status; i++) status = put_tensor(p, i, out);
    return status;
}

/* ---- reading ---- */

typedef struct reader {
    pith_ctx *ctx;
    const model_layout *base;
    series_coder *series;
    repr_reader *in;
    delta_sink *out;
    uint8_t *piece; /* room for one */
} reader;

static pith_status malformed(reader *r) { return pith_fail(r->ctx, PITH_E_FORMAT, "the delta is malformed"); }

/* The next of n bytes of a type into r->piece; base: where it begins in the base, or NULL. */
static pith_status take_piece(reader *r, uint32_t type, const uint8_t *base, size_t n) {
    const uint8_t *coding = repr_take(r->in, 1), *code;
    uint64_t code_n;
    if (!coding || *coding >= DIFFERENCE_CODINGS || !repr_take_number(r->in, n, &code_n) ||
        !(code = repr_take(r->in, (size_t)code_n)))
        return malformed(r);
    return difference_decode(r->ctx, type, *coding, code, (size_t)code_n, base, r->piece, n);
}

static pith_status take_rest(reader *r, pith_buffer *rest) {
    const uint8_t *kind = repr_take(r->in, 1);
    uint64_t n;
    if (!kind || *kind > PIECES) return malformed(r);
    if (*kind == SAME) return pith_buffer_append(r->ctx, rest, r->base->rest, r->base->rest_n);
    if (!repr_take_number(r->in, r->out->most, &n)) return malformed(r);
    pith_status status = PITH_OK;
    while (n && !status) {
        size_t size = (size_t)PITH_MIN(n, ARCHIVE_PIECE_BYTES);
        status = take_piece(r, TENSOR_U8, NULL, size);
        if (!status) status = pith_buffer_append(r->ctx, rest, r->piece, size);
        n -= size;
    }
    return status;
}

static pith_status take_tensor(reader *r) {
    uint64_t like, type, bytes;
    const tensor_view *v = NULL;
    if (!repr_take_number(r->in, r->base->n_views, &like)) return malformed(r);
    if (like) {
        v = r->base->views[like - 1];
        type = v->type;
        bytes = v->bytes;
    } else if (!repr_take_number(r->in, UINT32_MAX, &type) || !tensor_type_of((uint32_t)type) ||
               !repr_take_number(r->in, r->out->most - r->out->bytes, &bytes)) {
        return malformed(r);
    }
    const uint8_t *kind = repr_take(r->in, 1);
    if (!kind || *kind > LEVELS || (*kind != PIECES && !v)) return malformed(r);
    if (*kind == LEVELS && (!r->series || !series_is_float((uint32_t)type))) return malformed(r);
    if (*kind == LEVELS) return series_decode(r->ctx, r->series, r->base, like - 1, r->in, r->out);
    uint64_t step = archive_piece_bytes((tensor_type)type);
    pith_status status = PITH_OK;
    for (uint64_t at = 0; at < bytes && !status; at += step) {
        size_t n = (size_t)PITH_MIN(step, bytes - at);
        if (*kind == PIECES) status = take_piece(r, (uint32_t)type, v ? v->data + at : NULL, n);
        if (!status) status = delta_sink_put(r->out, *kind == SAME ? v->data + at : r->piece, n);
        if (!status) status = pith_tick(r->ctx, r->out->bytes, r->out->most);
    }
    if (!status && r->series && bytes % tensor_type_of((uint32_t)type)->block_bytes == 0)
        status = series_skip(r->ctx, r->series, (uint32_t)type, bytes / tensor_type_of((uint32_t)type)->block_bytes);
    return status;
}

pith_status delta_exact_decode(pith_ctx *ctx, const model_layout *base, series_coder *series, repr_reader *in,
                               delta_sink *out) {
    reader r = {ctx, base, series, in, out, pith_alloc(ctx, ARCHIVE_PIECE_BYTES)};
    pith_buffer rest = {0};
    uint64_t n_tensors = 0, gap;
    size_t at = 0;
    pith_status status = r.piece ? take_rest(&r, &rest) : pith_alloc_status(ctx);
    if (!status && !repr_take_number(in, (uint64_t)(in->end - in->p), &n_tensors)) status = malformed(&r);
    for (uint64_t i = 0; i < n_tensors && !status; i++) {
        if (!repr_take_number(in, rest.size - at, &gap)) {
            status = malformed(&r);
            break;
        }
        if (gap) status = delta_sink_put(out, rest.data + at, (size_t)gap);
        at += (size_t)gap;
        if (!status) status = take_tensor(&r);
    }
    if (!status && rest.size > at) status = delta_sink_put(out, rest.data + at, rest.size - at);
    pith_buffer_free(ctx, &rest);
    pith_free(ctx, r.piece);
    return status;
}
