/* A series: frames one after the other, each against what came back of the one before. */
#include <math.h>

#include "artefacts/model/series_parts.h"
#include "base/sink.h"

static const uint8_t magic[8] = {0xF0, 'p', 's', 'e', 'r', '\r', '\n', 0};
enum { VERSION = 0x10, EXACT = 0, LOSSY = 1, CHECK_BYTES = 8 };

/* The last checkpoint, as it comes back. */
typedef struct last {
    pith_buffer bytes, numbers;
} last;

static void last_free(pith_ctx *ctx, last *l) {
    pith_buffer_free(ctx, &l->bytes);
    pith_buffer_free(ctx, &l->numbers);
}

struct series_writer {
    series_options options;
    tensor_write_fn write;
    void *opaque;
    last last;
    bool begun;
};

typedef struct frame {
    uint8_t kind, bits, context;
    uint64_t result_n;
    uint8_t hash[16];
    const uint8_t *body;
    uint64_t body_n;
} frame;

/* ---- one frame ---- */

static pith_status open_last(pith_ctx *ctx, const last *l, model_layout *layout) {
    *layout = (model_layout){0};
    return l->bytes.size ? model_layout_open(ctx, l->bytes.data, l->bytes.size, layout) : PITH_OK;
}

/* Replaces *l by what the frame makes of it. */
static pith_status frame_decode(pith_ctx *ctx, const frame *f, last *l, tensor_write_fn write, void *opaque) {
    model_layout base;
    delta_sink out = {0};
    last now = {{0}, {0}};
    pith_sink m = {ctx, &now.bytes};
    series_coder coder = {.bits = f->bits, .context = (series_context)f->context, .before = &l->numbers};
    repr_reader in = {f->body, f->body + f->body_n};
    uint8_t hash[16];
    pith_status status = open_last(ctx, l, &base);
    if (!status) status = delta_sink_open(ctx, pith_sink_write, &m, f->result_n, &out);
    if (!status) status = delta_exact_decode(ctx, &base, f->kind == LOSSY ? &coder : NULL, &in, &out);
    if (!status && in.p != in.end) status = pith_fail(ctx, PITH_E_FORMAT, "bytes after the end of a checkpoint");
    if (!status) delta_sink_hash(&out, hash);
    if (!status && (out.bytes != f->result_n || memcmp(hash, f->hash, sizeof hash) != 0))
        status = pith_fail(ctx, PITH_E_CHECK, "a checkpoint does not match its hash");
    if (!status && write) status = write(opaque, now.bytes.data, now.bytes.size);
    delta_sink_close(&out);
    model_layout_free(ctx, &base);
    now.numbers = coder.now;
    if (!status) {
        last swap = *l;
        *l = now;
        now = swap;
    }
    last_free(ctx, &now);
    return status;
}

static pith_status put_head(pith_ctx *ctx, const frame *f, pith_buffer *out) {
    uint8_t first[3] = {f->kind, f->bits, f->context};
    pith_status status = pith_buffer_append(ctx, out, first, sizeof first);
    if (!status) status = repr_put_number(ctx, out, f->result_n);
    if (!status) status = pith_buffer_append(ctx, out, f->hash, 16);
    return status ? status : repr_put_number(ctx, out, f->body_n);
}

static uint64_t check_of(const uint8_t *head, size_t head_n, const uint8_t *body, uint64_t body_n) {
    return pith_hash64(head, head_n) ^ pith_hash64(body, (size_t)body_n);
}

static pith_status take_frame(pith_ctx *ctx, repr_reader *in, frame *f) {
    const uint8_t *start = in->p, *first = repr_take(in, 3), *hash, *check;
    bool good = first && repr_take_number(in, INT64_MAX, &f->result_n) && (hash = repr_take(in, 16)) != NULL;
    if (good) {
        memcpy(f->hash, hash, 16);
        f->kind = first[0], f->bits = first[1], f->context = first[2];
    }
    good = good && repr_take_number(in, INT64_MAX, &f->body_n) && f->body_n <= (uint64_t)(in->end - in->p);
    size_t head_n = (size_t)(in->p - start);
    check = good ? repr_take(in, CHECK_BYTES) : NULL;
    if (!check || !(f->body = repr_take(in, (size_t)f->body_n)))
        return pith_fail(ctx, PITH_E_TRUNCATED, "a checkpoint of the series is cut off");
    if (check_of(start, head_n, f->body, f->body_n) != load64(check))
        return pith_fail(ctx, PITH_E_CHECK, "a checkpoint of the series is damaged");
    if (f->kind > LOSSY || f->context > SERIES_AROUND || f->bits > SERIES_MOST_BITS)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "a checkpoint of an unknown kind");
    return PITH_OK;
}

/* ---- writing ---- */

pith_status series_writer_new(pith_ctx *ctx, const series_options *options, tensor_write_fn write, void *opaque,
                              series_writer **out) {
    static const series_options none = {.bits = 4, .context = SERIES_AROUND};
    const series_options *o = options ? options : &none;
    *out = NULL;
    if ((o->bits && (o->bits < 2 || o->bits > SERIES_MOST_BITS)) || (unsigned)o->context > SERIES_AROUND)
        return pith_fail(ctx, PITH_E_ARGUMENT, "levels of 2 to %d bits, not %u", SERIES_MOST_BITS, o->bits);
    series_writer *s = pith_zalloc(ctx, sizeof *s);
    if (!s) return pith_alloc_status(ctx);
    s->options = *o;
    if (!s->options.bits) s->options.bits = 4;
    s->write = write;
    s->opaque = opaque;
    *out = s;
    return PITH_OK;
}

void series_writer_free(pith_ctx *ctx, series_writer *s) {
    if (!s) return;
    last_free(ctx, &s->last);
    pith_free(ctx, s);
}

static double squares(const tensor_view *a, const tensor_view *b, float *x, float *y) {
    size_t n = (size_t)a->n_elements;
    double sum = 0;
    blocks_decode(a->type, a->data, x, n);
    if (b) blocks_decode(b->type, b->data, y, n);
    for (size_t i = 0; i < n; i++) {
        double d = (double)x[i] - (b ? (double)y[i] : 0);
        sum += d * d;
    }
    return sum;
}

/* What is lost, over floats that the base has too. */
static pith_status measure(pith_ctx *ctx, const model_layout *base, const model_layout *fine, const pith_buffer *got,
                           series_report *report) {
    model_layout back;
    double error = 0, step = 0, energy = 0;
    pith_status status = model_layout_open(ctx, got->data, got->size, &back);
    for (size_t i = 0; i < fine->n_views && !status; i++) {
        const tensor_view *v = fine->views[i];
        size_t k = delta_find(base, v->name), b = delta_find(&back, v->name);
        if (!series_is_float(v->type) || k == base->n_views || b == back.n_views ||
            base->views[k]->n_elements != v->n_elements || !series_is_float(base->views[k]->type) ||
            back.views[b]->n_elements != v->n_elements || !series_is_float(back.views[b]->type))
            continue;
        float *x = pith_alloc(ctx, 2 * (size_t)v->n_elements * sizeof *x), *y = x ? x + v->n_elements : NULL;
        if (!x) {
            status = pith_alloc_status(ctx);
            break;
        }
        error += squares(v, back.views[b], x, y);
        step += squares(v, base->views[k], x, y);
        energy += squares(v, NULL, x, y);
        pith_free(ctx, x);
    }
    report->lost = step > 0 ? error / step : 0;
    report->error = energy > 0 ? sqrt(error / energy) : 0;
    model_layout_free(ctx, &back);
    return status;
}

/* The body, and what comes back of it into s->last. */
static pith_status frame_encode(pith_ctx *ctx, series_writer *s, const uint8_t *data, size_t size, frame *f,
                                pith_buffer *body, series_report *report) {
    model_delta_report counts = {0};
    pith_sink m = {ctx, body};
    delta_sink out = {0};
    series_coder coder = {.bits = f->bits, .context = (series_context)f->context, .before = &s->last.numbers};
    delta_pair p = {.ctx = ctx, .report = &counts, .series = f->kind == LOSSY ? &coder : NULL};
    pith_status status = open_last(ctx, &s->last, &p.base);
    if (!status) status = model_layout_open(ctx, data, size, &p.fine);
    if (!status) status = delta_sink_open(ctx, pith_sink_write, &m, UINT64_MAX, &out);
    if (!status) status = delta_exact_encode(&p, &out);
    delta_sink_close(&out);
    last now = {{0}, {0}};
    if (!status && f->kind == LOSSY) {
        /* the decoder itself says what comes back */
        pith_sink back = {ctx, &now.bytes};
        repr_reader in = {body->data, body->data + body->size};
        series_coder again = {.bits = f->bits, .context = (series_context)f->context, .before = &s->last.numbers};
        status = delta_sink_open(ctx, pith_sink_write, &back, UINT64_MAX, &out);
        if (!status) status = delta_exact_decode(ctx, &p.base, &again, &in, &out);
        delta_sink_close(&out);
        now.numbers = again.now;
    } else if (!status) {
        status = pith_buffer_append(ctx, &now.bytes, data, size);
    }
    report->elements = coder.elements;
    report->changed = coder.changed;
    if (!status && f->kind == LOSSY) status = measure(ctx, &p.base, &p.fine, &now.bytes, report);
    pith_buffer_free(ctx, &coder.now);
    model_layout_free(ctx, &p.base);
    model_layout_free(ctx, &p.fine);
    if (!status) {
        last swap = s->last;
        s->last = now;
        now = swap;
    }
    last_free(ctx, &now);
    return status;
}

pith_status series_writer_add(pith_ctx *ctx, series_writer *s, const uint8_t *data, size_t size,
                              series_report *report) {
    series_report ignored;
    report = report ? report : &ignored;
    *report = (series_report){.bytes = size};
    frame f = {.kind = s->options.exact || !s->begun ? EXACT : LOSSY,
               .bits = (uint8_t)s->options.bits,
               .context = (uint8_t)s->options.context};
    pith_buffer body = {0}, head = {0};
    pith_status status = frame_encode(ctx, s, data, size, &f, &body, report);
    if (!status) {
        uint8_t check[CHECK_BYTES], version = VERSION;
        f.result_n = s->last.bytes.size;
        f.body_n = body.size;
        tensor_bytes_hash(s->last.bytes.data, s->last.bytes.size, f.hash);
        if (!s->begun) {
            status = s->write(s->opaque, magic, sizeof magic);
            if (!status) status = s->write(s->opaque, &version, 1);
        }
        if (!status) status = put_head(ctx, &f, &head);
        if (!status) store64(check, check_of(head.data, head.size, body.data, body.size));
        if (!status) status = pith_buffer_append(ctx, &head, check, sizeof check);
        if (!status) status = s->write(s->opaque, head.data, head.size);
        if (!status) status = s->write(s->opaque, body.data, body.size);
        report->coded = head.size + body.size + (s->begun ? 0 : sizeof magic + 1);
        s->begun = true;
    }
    pith_buffer_free(ctx, &body);
    pith_buffer_free(ctx, &head);
    return status;
}

/* ---- reading ---- */

static pith_status open_series(pith_ctx *ctx, const uint8_t *series, size_t n, repr_reader *in) {
    *in = (repr_reader){series, series + n};
    const uint8_t *first = repr_take(in, sizeof magic + 1);
    if (!first || memcmp(first, magic, sizeof magic) != 0)
        return pith_fail(ctx, PITH_E_FORMAT, "not a series of checkpoints");
    if (first[sizeof magic] >> 4 != VERSION >> 4)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "a series of a newer version");
    return PITH_OK;
}

pith_status series_count(pith_ctx *ctx, const uint8_t *series, size_t n, size_t *count) {
    repr_reader in;
    frame f;
    *count = 0;
    pith_status status = open_series(ctx, series, n, &in);
    while (!status && in.p < in.end) {
        status = take_frame(ctx, &in, &f);
        *count += !status;
    }
    return status;
}

pith_status series_read(pith_ctx *ctx, const uint8_t *series, size_t n, size_t i, tensor_write_fn write, void *opaque) {
    repr_reader in;
    frame f;
    last l = {{0}, {0}};
    size_t k = 0;
    pith_status status = open_series(ctx, series, n, &in);
    for (; !status && in.p < in.end && k <= i; k++) {
        status = take_frame(ctx, &in, &f);
        if (!status) status = frame_decode(ctx, &f, &l, k == i ? write : NULL, opaque);
    }
    last_free(ctx, &l);
    if (!status && k <= i) status = pith_fail(ctx, PITH_E_ARGUMENT, "the series has only %zu checkpoints", k);
    return status;
}
