/* Ternary deltas: what is kept of tau, and the signs of it. The body: s; the number of tensors; for each the base's
 * number of it and its elements in pieces, packed: 0 for none, 1 for +s, 2 for -s.
 *
 * The share to keep is found exactly, over all tensors, in two histograms of the bits of |tau|, whose order as integers
 * is that of the magnitudes. */
#include <math.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/delta_parts.h"

#define PIECE_ELEMENTS ((size_t)1 << 20)
enum { N_BINS = 1 << 16, MINUS = 2 };

/* ---- the packer ---- */

pith_status delta_packer_open(pith_ctx *ctx, const char *text, size_t n, delta_packer *p) {
    *p = (delta_packer){.job = {.ctx = ctx}};
    artefacts_register();
    pith_status status = pith_recipe_parse(ctx, "model", text, n, &p->recipe);
    if (status) return status;
    const pith_recipe_rule *rule = &p->recipe->rules[0];
    const repr_ops *ops = rule->stages[0].stage->impl;
    if (p->recipe->n_rules != 1 || rule->pattern || rule->n_stages != 1 || rule->n_solvers || !ops ||
        ops->kind != REPR_PACKER) {
        delta_packer_close(p);
        return pith_fail(ctx, PITH_E_ARGUMENT, "\"%.*s\" is not one packer, such as golomb", (int)PITH_MIN(n, 200),
                         text);
    }
    p->job = (repr_job){.ctx = ctx, .args = &rule->stages[0], .stats = &p->stats};
    return PITH_OK;
}

void delta_packer_close(delta_packer *p) {
    pith_recipe_free(p->job.ctx, p->recipe);
    *p = (delta_packer){0};
}

/* ---- floats of tensors ---- */

static bool is_float(uint32_t type) { return type == TENSOR_F32 || type == TENSOR_F16 || type == TENSOR_BF16; }

static bool same_shape(const tensor_view *a, const tensor_view *b) { return memcmp(a->ne, b->ne, sizeof a->ne) == 0; }

static bool same_bytes(const tensor_view *a, const tensor_view *b) {
    return a->type == b->type && a->bytes == b->bytes && memcmp(a->data, b->data, (size_t)a->bytes) == 0;
}

/* Pairs up what can be subtracted and differs: what was not trained does not count among the elements. */
static pith_status find_partners(delta_pair *p) {
    size_t n_both = 0;
    p->partners = pith_zalloc(p->ctx, (p->base.n_views + 1) * sizeof *p->partners);
    if (!p->partners) return pith_alloc_status(p->ctx);
    for (size_t i = 0; i < p->base.n_views; i++) {
        const tensor_view *v = p->base.views[i];
        size_t k = delta_find(&p->fine, v->name);
        const tensor_view *f = k < p->fine.n_views ? p->fine.views[k] : NULL;
        n_both += f != NULL;
        if (f && same_bytes(v, f)) continue;
        if (f && is_float(v->type) && is_float(f->type) && same_shape(f, v))
            p->partners[i] = f;
        else
            p->report->skipped++;
    }
    p->report->skipped += p->fine.n_views - n_both;
    return PITH_OK;
}

static size_t width_of(const tensor_view *v) { return tensor_type_of(v->type)->block_bytes; }

/* tau of elements [at, at + n) of a pair of tensors; w: those of the base. Sums of the results are exact floats. */
static void subtract(const tensor_view *base, const tensor_view *fine, size_t at, size_t n, float *w, float *tau) {
    blocks_decode(base->type, base->data + at * width_of(base), w, n);
    blocks_decode(fine->type, fine->data + at * width_of(fine), tau, n);
    for (size_t i = 0; i < n; i++) tau[i] -= w[i];
}

static uint32_t magnitude(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7FFFFFFFu;
}

typedef struct walk {
    delta_pair *p;
    float *w, *tau; /* of a piece */
    uint32_t *bins; /* [N_BINS] */
    uint32_t high;  /* bits looked for in the second histogram */
    double sum, squares, base_squares, kept_sum, kept_squares;
    uint64_t n, n_kept, ties;
    const delta_plan *plan;
} walk;

/* Calls see for every piece of every pair. */
static pith_status each_piece(walk *k, bool (*see)(walk *k, size_t n)) {
    for (size_t i = 0; i < k->p->base.n_views; i++) {
        const tensor_view *v = k->p->base.views[i], *f = k->p->partners[i];
        for (size_t at = 0; f && at < v->n_elements; at += PIECE_ELEMENTS) {
            size_t n = PITH_MIN(PIECE_ELEMENTS, (size_t)v->n_elements - at);
            subtract(v, f, at, n, k->w, k->tau);
            if (!see(k, n))
                return pith_fail(k->p->ctx, PITH_E_FORMAT, "%.*s: not finite, in one of the two models",
                                 (int)PITH_MIN(v->name.size, 200), v->name.data);
        }
    }
    return PITH_OK;
}

static bool see_sums(walk *k, size_t n) {
    for (size_t i = 0; i < n; i++) {
        double t = (double)k->tau[i];
        if (!isfinite(k->tau[i])) return false;
        k->sum += t;
        k->squares += t * t;
        k->base_squares += (double)k->w[i] * (double)k->w[i];
        k->bins[magnitude(k->tau[i]) >> 16]++;
    }
    k->n += n;
    return true;
}

static bool see_low(walk *k, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint32_t m = magnitude(k->tau[i]);
        if (m >> 16 == k->high) k->bins[m & 0xFFFF]++;
    }
    return true;
}

/* In the order of the tensors, so that of equal magnitudes the first are kept. */
static bool is_kept(const delta_plan *plan, float tau, uint64_t *ties) {
    uint32_t m = magnitude(tau);
    if (m == plan->threshold && m && *ties < plan->ties) {
        ++*ties;
        return true;
    }
    return m > plan->threshold;
}

static bool see_kept(walk *k, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (is_kept(k->plan, k->tau[i], &k->ties)) {
            k->n_kept++;
            k->kept_sum += fabs((double)k->tau[i]);
            k->kept_squares += (double)k->tau[i] * (double)k->tau[i];
        }
    return true;
}

/* The bin in which the n-th largest lies; *n becomes its number in there. */
static uint32_t find_bin(const uint32_t *bins, uint64_t *n) {
    uint32_t b = N_BINS - 1;
    for (; b > 0 && bins[b] < *n; b--) *n -= bins[b];
    return b;
}

static void report_plan(const walk *k, const delta_plan *plan, model_delta_report *r) {
    double share = k->n ? (double)k->n_kept / (double)k->n : 0, s = (double)plan->value;
    r->elements = k->n;
    r->kept = k->n_kept;
    r->value = s;
    r->update = k->base_squares > 0 ? sqrt(k->squares / k->base_squares) : 0;
    if (share > 0 && share < 1)
        r->entropy_bits = share - share * log2(share) - (1 - share) * log2(1 - share);
    else
        r->entropy_bits = share;
    /* sum over kept of (|tau| - s)^2, and of tau^2 over the others */
    if (k->squares > 0) r->lost = (k->squares - 2 * s * k->kept_sum + s * s * (double)k->n_kept) / k->squares;
}

static pith_status settle(walk *k, delta_plan *plan) {
    const model_delta_options *o = k->p->options;
    pith_status status = each_piece(k, see_sums);
    if (status) return status;
    if (k->n == 0) return PITH_OK; /* siblings that are equal */
    uint64_t wanted = (uint64_t)((double)k->n * o->keep + 0.5);
    wanted = PITH_MAX(wanted, 1);
    k->high = find_bin(k->bins, &wanted);
    memset(k->bins, 0, N_BINS * sizeof *k->bins);
    status = each_piece(k, see_low);
    if (status) return status;
    plan->threshold = k->high << 16 | find_bin(k->bins, &wanted);
    plan->ties = wanted;
    k->plan = plan;
    status = each_piece(k, see_kept);
    double mean = k->sum / (double)k->n, variance = k->squares / (double)k->n - mean * mean;
    k->p->report->std = sqrt(variance > 0 ? variance : 0);
    double unit = o->scale == MODEL_DELTA_STD ? k->p->report->std : k->n_kept ? k->kept_sum / (double)k->n_kept : 0;
    plan->value = (float)(o->alpha * unit);
    report_plan(k, plan, k->p->report);
    return status;
}

pith_status delta_ternary_plan(delta_pair *p, delta_plan *plan) {
    walk k = {.p = p};
    *plan = (delta_plan){0};
    k.w = pith_alloc(p->ctx, PIECE_ELEMENTS * sizeof *k.w);
    k.tau = pith_alloc(p->ctx, PIECE_ELEMENTS * sizeof *k.tau);
    k.bins = pith_zalloc(p->ctx, N_BINS * sizeof *k.bins);
    pith_status status = k.w && k.tau && k.bins ? find_partners(p) : pith_alloc_status(p->ctx);
    if (!status) status = settle(&k, plan);
    pith_free(p->ctx, k.w);
    pith_free(p->ctx, k.tau);
    pith_free(p->ctx, k.bins);
    return status;
}

/* ---- the base with signs added ---- */

/* Elements whose code is 0 stay as they are, bit for bit. */
static void add_signs(uint32_t type, uint8_t *data, const uint16_t *codes, size_t n, float value) {
    for (size_t i = 0; i < n; i++) {
        if (!codes[i]) continue;
        float s = codes[i] == MINUS ? -value : value, w;
        uint32_t bits;
        if (type == TENSOR_F16) {
            store16(data + 2 * i, float_to_half(half_to_float(load16(data + 2 * i)) + s));
        } else if (type == TENSOR_BF16) {
            store16(data + 2 * i, float_to_bfloat(bfloat_to_float(load16(data + 2 * i)) + s));
        } else {
            bits = load32(data + 4 * i);
            memcpy(&w, &bits, sizeof w);
            w += s;
            memcpy(&bits, &w, sizeof bits);
            store32(data + 4 * i, bits);
        }
    }
}

/* Room for one piece, on both sides. */
typedef struct room {
    uint16_t *codes;
    uint8_t *bytes;
    float *w, *tau;
    pith_buffer packed;
} room;

static pith_status room_open(pith_ctx *ctx, bool with_tau, room *r) {
    *r = (room){0};
    r->codes = pith_alloc(ctx, PIECE_ELEMENTS * sizeof *r->codes);
    r->bytes = pith_alloc(ctx, PIECE_ELEMENTS * sizeof(float));
    r->w = with_tau ? pith_alloc(ctx, PIECE_ELEMENTS * sizeof *r->w) : NULL;
    r->tau = with_tau ? pith_alloc(ctx, PIECE_ELEMENTS * sizeof *r->tau) : NULL;
    return r->codes && r->bytes && (!with_tau || (r->w && r->tau)) ? PITH_OK : pith_alloc_status(ctx);
}

static void room_close(pith_ctx *ctx, room *r) {
    pith_free(ctx, r->codes);
    pith_free(ctx, r->bytes);
    pith_free(ctx, r->w);
    pith_free(ctx, r->tau);
    pith_buffer_free(ctx, &r->packed);
}

/* Elements [at, at + n) of a tensor of the base with signs, as they will come back. */
static pith_status put_result(const tensor_view *v, size_t at, size_t n, float value, room *r, delta_sink *result) {
    memcpy(r->bytes, v->data + at * width_of(v), n * width_of(v));
    add_signs(v->type, r->bytes, r->codes, n, value);
    return delta_sink_put(result, r->bytes, n * width_of(v));
}

static const uint8_t *gap_before(const model_layout *l, size_t i) {
    return (i < l->n_views ? l->views[i]->data : l->data + l->size) - model_layout_gap(l, i);
}

/* ---- writing ---- */

static pith_status put_tensor(delta_pair *p, const delta_plan *plan, delta_packer *packer, size_t i, uint64_t *ties,
                              room *r, delta_sink *out, delta_sink *result) {
    const tensor_view *v = p->base.views[i], *f = p->partners[i];
    const repr_ops *ops = packer->job.args->stage->impl;
    pith_status status = PITH_OK;
    for (size_t at = 0; at < v->n_elements && !status; at += PIECE_ELEMENTS) {
        size_t n = PITH_MIN(PIECE_ELEMENTS, (size_t)v->n_elements - at);
        subtract(v, f, at, n, r->w, r->tau);
        for (size_t k = 0; k < n; k++) r->codes[k] = !is_kept(plan, r->tau[k], ties) ? 0 : r->tau[k] < 0 ? MINUS : 1;
        repr_plane plane = {.codes = r->codes, .n = n, .row = PITH_MIN(n, (size_t)v->ne[0]), .alphabet = 3};
        r->packed.size = 0;
        status = ops->pack(&packer->job, &plane, &r->packed);
        if (!status) status = delta_sink_put(out, r->packed.data, r->packed.size);
        if (!status) status = put_result(v, at, n, plan->value, r, result);
        if (!status)
            status = pith_tick(p->ctx, (uint64_t)(v->data - p->base.data) + (at + n) * width_of(v), p->base.size);
    }
    return status;
}

static pith_status put_number(pith_ctx *ctx, uint64_t value, delta_sink *out) {
    pith_buffer b = {0};
    pith_status status = repr_put_number(ctx, &b, value);
    if (!status) status = delta_sink_put(out, b.data, b.size);
    pith_buffer_free(ctx, &b);
    return status;
}

pith_status delta_ternary_encode(delta_pair *p, const delta_plan *plan, delta_packer *packer, delta_sink *out,
                                 delta_sink *result) {
    const model_layout *b = &p->base;
    uint64_t n = 0, ties = 0;
    uint8_t value[4];
    uint32_t bits;
    room r;
    memcpy(&bits, &plan->value, sizeof bits);
    store32(value, bits);
    for (size_t i = 0; i < b->n_views; i++) n += p->partners[i] != NULL;
    pith_status status = room_open(p->ctx, true, &r);
    if (!status) status = delta_sink_put(out, value, sizeof value);
    if (!status) status = put_number(p->ctx, n, out);
    for (size_t i = 0; i <= b->n_views && !status; i++) {
        status = delta_sink_put(result, gap_before(b, i), model_layout_gap(b, i));
        if (status || i == b->n_views) break;
        bool coded = p->partners[i] != NULL;
        if (coded) status = put_number(p->ctx, i, out);
        if (!status && coded) status = put_tensor(p, plan, packer, i, &ties, &r, out, result);
        if (!status && !coded) status = delta_sink_put(result, b->views[i]->data, (size_t)b->views[i]->bytes);
    }
    room_close(p->ctx, &r);
    return status;
}

/* ---- reading ---- */

static pith_status take_tensor(pith_ctx *ctx, const tensor_view *v, float value, delta_packer *packer, repr_reader *in,
                               room *r, delta_sink *out) {
    const repr_ops *ops = packer->job.args->stage->impl;
    pith_status status = PITH_OK;
    for (size_t at = 0; at < v->n_elements && !status; at += PIECE_ELEMENTS) {
        size_t n = PITH_MIN(PIECE_ELEMENTS, (size_t)v->n_elements - at);
        status = ops->unpack(&packer->job, in, r->codes, n, PITH_MIN(n, (size_t)v->ne[0]), 3);
        if (!status) status = put_result(v, at, n, value, r, out);
        if (!status) status = pith_tick(ctx, out->bytes, out->most);
    }
    return status;
}

pith_status delta_ternary_decode(pith_ctx *ctx, const model_layout *base, delta_packer *packer, repr_reader *in,
                                 delta_sink *out) {
    const uint8_t *first = repr_take(in, 4);
    uint64_t n, next = base->n_views;
    float value;
    room r;
    if (!first || !repr_take_number(in, base->n_views, &n) || (n && !repr_take_number(in, base->n_views - 1, &next)))
        return pith_fail(ctx, PITH_E_FORMAT, "the delta is malformed");
    uint32_t bits = load32(first);
    memcpy(&value, &bits, sizeof value);
    if (!isfinite(value)) return pith_fail(ctx, PITH_E_FORMAT, "the value of the delta is not finite");
    pith_status status = room_open(ctx, false, &r);
    for (size_t i = 0; i <= base->n_views && !status; i++) {
        status = delta_sink_put(out, gap_before(base, i), model_layout_gap(base, i));
        if (status || i == base->n_views) break;
        const tensor_view *v = base->views[i];
        if (i != next) {
            status = delta_sink_put(out, v->data, (size_t)v->bytes);
            continue;
        }
        status = is_float(v->type) ? take_tensor(ctx, v, value, packer, in, &r, out)
                                   : pith_fail(ctx, PITH_E_FORMAT, "the delta changes what is no float");
        uint64_t was = next;
        next = base->n_views;
        if (!status && --n && (!repr_take_number(in, base->n_views - 1, &next) || next <= was))
            status = pith_fail(ctx, PITH_E_FORMAT, "the delta is malformed");
    }
    room_close(ctx, &r);
    return status;
}
