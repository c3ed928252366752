/* Deltas between models: the frame around both kinds, and files. */
#include <stdio.h>
#include <sys/mman.h>
#include <xxhash.h>

#include "artefacts/model/delta_parts.h"
#include "base/sink.h"

static const uint8_t magic[8] = {0xF0, 'p', 'd', 'e', 'l', '\r', '\n', 0};
enum { VERSION = 0x10, EXACT = 0, TERNARY = 1, HEAD_FIXED = 10 + 32, CHECK_BYTES = 8, PACKER_MOST = 256 };

/* ---- where bytes go ---- */

pith_status delta_sink_open(pith_ctx *ctx, tensor_write_fn write, void *opaque, uint64_t most, delta_sink *s) {
    *s = (delta_sink){.ctx = ctx, .write = write, .opaque = opaque, .most = most};
    s->state = XXH3_createState();
    if (!s->state) return pith_fail(ctx, PITH_E_MEMORY, "no memory for a hash");
    XXH3_128bits_reset(s->state);
    return PITH_OK;
}

pith_status delta_sink_put(delta_sink *s, const void *data, size_t n) {
    if (n > s->most - s->bytes) return pith_fail(s->ctx, PITH_E_FORMAT, "the delta makes more bytes than it says");
    XXH3_128bits_update(s->state, data, n);
    s->bytes += n;
    return s->write && n ? s->write(s->opaque, data, n) : PITH_OK;
}

void delta_sink_hash(const delta_sink *s, uint8_t hash[16]) {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(s->state));
    memcpy(hash, canonical.digest, 16);
}

void delta_sink_close(delta_sink *s) {
    XXH3_freeState(s->state);
    *s = (delta_sink){0};
}

size_t delta_find(const model_layout *l, meta_string name) {
    char text[512];
    if (name.size >= sizeof text) return l->n_views;
    memcpy(text, name.data, name.size);
    text[name.size] = 0;
    const tensor_view *v = l->file ? tensor_find(l->file, text) : NULL;
    size_t low = 0, high = v ? l->n_views : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (l->views[middle]->data < v->data)
            low = middle + 1;
        else
            high = middle;
    }
    return v && low < l->n_views && l->views[low] == v ? low : l->n_views;
}

/* ---- writing ---- */

typedef struct head {
    uint8_t kind;
    uint64_t base_n, result_n;
    uint8_t base_hash[16], result_hash[16];
    const char *packer;
    size_t packer_n;
} head;

static pith_status put_head(pith_ctx *ctx, const head *h, delta_sink *out) {
    pith_buffer b = {0};
    uint8_t fixed[2] = {VERSION, h->kind};
    pith_status status = pith_buffer_append(ctx, &b, magic, sizeof magic);
    if (!status) status = pith_buffer_append(ctx, &b, fixed, sizeof fixed);
    if (!status) status = repr_put_number(ctx, &b, h->base_n);
    if (!status) status = pith_buffer_append(ctx, &b, h->base_hash, 16);
    if (!status) status = repr_put_number(ctx, &b, h->result_n);
    if (!status) status = pith_buffer_append(ctx, &b, h->result_hash, 16);
    if (!status) status = repr_put_number(ctx, &b, h->packer_n);
    if (!status && h->packer_n) status = pith_buffer_append(ctx, &b, h->packer, h->packer_n);
    if (!status) status = delta_sink_put(out, b.data, b.size);
    pith_buffer_free(ctx, &b);
    return status;
}

/* The head has the hash of what will come back, so the body waits in memory. */
static pith_status write_ternary(delta_pair *p, head *h, delta_sink *out) {
    delta_packer packer;
    delta_plan plan;
    delta_sink result = {0}, body = {0};
    pith_buffer text = {0}, held = {0};
    pith_sink memory = {p->ctx, &held};
    const char *name = p->options->packer ? p->options->packer : "golomb";
    pith_status status = delta_packer_open(p->ctx, name, strlen(name), &packer);
    if (status) return status;
    status = delta_ternary_plan(p, &plan);
    if (!status) status = pith_recipe_print(p->ctx, packer.recipe, &text);
    if (!status) status = delta_sink_open(p->ctx, NULL, NULL, UINT64_MAX, &result);
    if (!status) status = delta_sink_open(p->ctx, pith_sink_write, &memory, UINT64_MAX, &body);
    if (!status) status = delta_ternary_encode(p, &plan, &packer, &body, &result);
    if (!status) {
        h->result_n = result.bytes;
        delta_sink_hash(&result, h->result_hash);
        h->packer = (const char *)text.data;
        h->packer_n = text.size;
        status = put_head(p->ctx, h, out);
    }
    if (!status) status = delta_sink_put(out, held.data, held.size);
    delta_sink_close(&result);
    delta_sink_close(&body);
    pith_buffer_free(p->ctx, &held);
    pith_buffer_free(p->ctx, &text);
    delta_packer_close(&packer);
    return status;
}

static pith_status put_check(delta_sink *out) {
    uint8_t check[16];
    delta_sink_hash(out, check);
    return delta_sink_put(out, check, CHECK_BYTES);
}

static pith_status check_options(pith_ctx *ctx, const model_delta_options *o, model_delta_options *filled) {
    *filled = o ? *o : (model_delta_options){0};
    if (filled->keep == 0) filled->keep = 0.1;
    if (filled->alpha == 0) filled->alpha = 1;
    if (!(filled->keep > 0 && filled->keep <= 1))
        return pith_fail(ctx, PITH_E_ARGUMENT, "the share to keep is above 0 and at most 1, not %g", filled->keep);
    if (!(filled->alpha > 0 && filled->alpha <= 1000))
        return pith_fail(ctx, PITH_E_ARGUMENT, "alpha is above 0 and at most 1000, not %g", filled->alpha);
    return PITH_OK;
}

pith_status model_delta_write(pith_ctx *ctx, const uint8_t *base, size_t base_n, const uint8_t *fine, size_t fine_n,
                              const model_delta_options *options, tensor_write_fn write, void *opaque,
                              model_delta_report *report) {
    model_delta_report ignored;
    model_delta_options filled;
    delta_pair p = {.ctx = ctx, .options = &filled, .report = report ? report : &ignored};
    delta_sink out = {0};
    *p.report = (model_delta_report){.base_bytes = base_n, .bytes = fine_n};
    pith_status status = check_options(ctx, options, &filled);
    if (!status) status = model_layout_open(ctx, base, base_n, &p.base);
    if (!status) status = model_layout_open(ctx, fine, fine_n, &p.fine);
    if (!status) status = delta_sink_open(ctx, write, opaque, UINT64_MAX, &out);
    if (!status) {
        head h = {.kind = filled.exact ? EXACT : TERNARY, .base_n = base_n, .result_n = fine_n};
        tensor_bytes_hash(base, base_n, h.base_hash);
        tensor_bytes_hash(fine, fine_n, h.result_hash);
        if (filled.exact) {
            status = put_head(ctx, &h, &out);
            if (!status) status = delta_exact_encode(&p, &out);
        } else {
            status = write_ternary(&p, &h, &out);
        }
    }
    if (!status) status = put_check(&out);
    p.report->delta_bytes = out.bytes;
    pith_free(ctx, p.partners);
    delta_sink_close(&out);
    model_layout_free(ctx, &p.base);
    model_layout_free(ctx, &p.fine);
    return status;
}

/* ---- reading ---- */

static pith_status take_head(pith_ctx *ctx, repr_reader *in, head *h) {
    const uint8_t *p = repr_take(in, sizeof magic + 2), *hash;
    if (!p || memcmp(p, magic, sizeof magic) != 0) return pith_fail(ctx, PITH_E_FORMAT, "not a delta of a model");
    if (p[8] >> 4 != VERSION >> 4 || p[9] > TERNARY)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "a delta of version %u.%u and kind %u", p[8] >> 4, p[8] & 15, p[9]);
    h->kind = p[9];
    uint64_t n = 0;
    bool good = repr_take_number(in, INT64_MAX, &h->base_n) && (hash = repr_take(in, 16)) != NULL;
    if (good) memcpy(h->base_hash, hash, 16);
    good = good && repr_take_number(in, INT64_MAX, &h->result_n) && (hash = repr_take(in, 16)) != NULL;
    if (good) memcpy(h->result_hash, hash, 16);
    good = good && repr_take_number(in, PACKER_MOST, &n);
    h->packer_n = (size_t)n;
    h->packer = good ? (const char *)repr_take(in, h->packer_n) : NULL;
    return h->packer ? PITH_OK : pith_fail(ctx, PITH_E_FORMAT, "the head of the delta is cut off");
}

static pith_status decode(pith_ctx *ctx, const head *h, const model_layout *base, repr_reader *in, delta_sink *out) {
    uint8_t hash[16];
    pith_status status;
    if (h->kind == EXACT) {
        status = delta_exact_decode(ctx, base, NULL, in, out);
    } else {
        delta_packer packer;
        status = delta_packer_open(ctx, h->packer, h->packer_n, &packer);
        if (status) return status;
        status = delta_ternary_decode(ctx, base, &packer, in, out);
        delta_packer_close(&packer);
    }
    if (status) return status;
    if (in->p != in->end) return pith_fail(ctx, PITH_E_FORMAT, "bytes after the end of the delta");
    delta_sink_hash(out, hash);
    if (out->bytes != h->result_n || memcmp(hash, h->result_hash, sizeof hash) != 0)
        return pith_fail(ctx, PITH_E_CHECK, "what the delta makes does not match its hash");
    return PITH_OK;
}

pith_status model_delta_apply(pith_ctx *ctx, const uint8_t *base, size_t base_n, const uint8_t *delta, size_t delta_n,
                              tensor_write_fn write, void *opaque) {
    head h;
    uint8_t check[16], base_hash[16];
    model_layout layout;
    delta_sink out;
    if (delta_n < CHECK_BYTES) return pith_fail(ctx, PITH_E_FORMAT, "not a delta of a model");
    repr_reader in = {delta, delta + delta_n - CHECK_BYTES};
    pith_status status = take_head(ctx, &in, &h);
    if (status) return status;
    tensor_bytes_hash(delta, delta_n - CHECK_BYTES, check);
    if (memcmp(check, delta + delta_n - CHECK_BYTES, CHECK_BYTES) != 0)
        return pith_fail(ctx, PITH_E_CHECK, "the delta is damaged or cut off");
    tensor_bytes_hash(base, base_n, base_hash);
    if (h.base_n != base_n || memcmp(base_hash, h.base_hash, sizeof base_hash) != 0)
        return pith_fail(ctx, PITH_E_ARGUMENT, "the delta was made from another base, of %llu bytes",
                         (unsigned long long)h.base_n);
    status = model_layout_open(ctx, base, base_n, &layout);
    if (status) return status;
    status = delta_sink_open(ctx, write, opaque, h.result_n, &out);
    if (!status) status = decode(ctx, &h, &layout, &in, &out);
    delta_sink_close(&out);
    model_layout_free(ctx, &layout);
    return status;
}

/* ---- files ---- */

typedef struct mapped {
    const uint8_t *data;
    size_t size;
} mapped;

static pith_status map(pith_ctx *ctx, const char *path, mapped *m) {
    pith_status status = archive_map(ctx, path, &m->data, &m->size);
    if (!status) return PITH_OK;
    char why[400];
    snprintf(why, sizeof why, "%s", pith_error(ctx));
    pith_begin(ctx);
    return pith_fail(ctx, status, "%s: %s", path, why);
}

static void unmap(const mapped *m) {
    if (m->data) munmap((void *)m->data, m->size);
}

pith_status model_delta_make_file(pith_ctx *ctx, const char *base, const char *fine, const model_delta_options *options,
                                  tensor_write_fn write, void *opaque, model_delta_report *report) {
    mapped a = {0}, b = {0};
    pith_begin(ctx);
    pith_status status = map(ctx, base, &a);
    if (!status) status = map(ctx, fine, &b);
    if (!status) status = model_delta_write(ctx, a.data, a.size, b.data, b.size, options, write, opaque, report);
    unmap(&a);
    unmap(&b);
    return status;
}

pith_status model_delta_apply_file(pith_ctx *ctx, const char *base, const char *delta, tensor_write_fn write,
                                   void *opaque) {
    mapped a = {0}, b = {0};
    pith_begin(ctx);
    pith_status status = map(ctx, base, &a);
    if (!status) status = map(ctx, delta, &b);
    if (!status) status = model_delta_apply(ctx, a.data, a.size, b.data, b.size, write, opaque);
    unmap(&a);
    unmap(&b);
    return status;
}
