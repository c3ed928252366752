/* Golomb codes of the gaps between the codes that are not the commonest (S. W. Golomb, "Run-length encodings", 1966; the
 * parameter by R. G. Gallager and D. C. van Voorhis, 1975: the smallest m with q^m + q^(m+1) <= 1, q the share of the
 * commonest). For sparse planes, and for the sparse signs of ComPEFT (P. Yadav et al., arXiv:2311.13171).
 *
 * A code is: the commonest symbol, the number of others, m; their gaps as bits, least significant first, the quotient by
 * m in ones with a zero behind them, then the remainder in truncated binary; zeros to a whole byte; what the others are,
 * the commonest left out, as plain bits. */
#include <math.h>

#include "kernels/represent/golomb.h"
#include "kernels/represent/pack_bits.h"

#define PARAMETER_MOST ((uint64_t)1 << 31)

/* Bits of the longer remainders, and how many are shorter by one. */
typedef struct remainders {
    unsigned bits;
    uint64_t n_short;
} remainders;

static remainders remainders_of(uint64_t m) {
    unsigned bits = 0;
    while ((uint64_t)1 << bits < m) bits++;
    return (remainders){bits, ((uint64_t)1 << bits) - m};
}

uint64_t golomb_parameter(uint64_t n_common, uint64_t n) {
    if (n_common == 0) return 1;
    if (n_common >= n) return PARAMETER_MOST;
    double q = (double)n_common / (double)n, m = ceil(log(1 + q) / -log(q));
    return (uint64_t)PITH_MIN(PITH_MAX(m, 1.0), (double)PARAMETER_MOST);
}

/* ---- writing ---- */

typedef struct bit_writer {
    pith_ctx *ctx;
    pith_buffer *out;
    uint64_t held;
    unsigned n_held; /* < 32 between calls */
} bit_writer;

/* n <= 32 */
static pith_status put(bit_writer *w, uint64_t value, unsigned n) {
    w->held |= value << w->n_held;
    w->n_held += n;
    if (w->n_held < 32) return PITH_OK;
    uint8_t bytes[4];
    store32(bytes, (uint32_t)w->held);
    w->held >>= 32;
    w->n_held -= 32;
    return pith_buffer_append(w->ctx, w->out, bytes, 4);
}

static pith_status put_end(bit_writer *w) {
    uint8_t bytes[4];
    store32(bytes, (uint32_t)w->held);
    return pith_buffer_append(w->ctx, w->out, bytes, (w->n_held + 7) / 8);
}

static pith_status put_gap(bit_writer *w, uint64_t gap, uint64_t m, remainders r) {
    uint64_t quotient = gap / m, rest = gap % m;
    pith_status status = PITH_OK;
    for (; quotient >= 32 && !status; quotient -= 32) status = put(w, UINT32_MAX, 32);
    if (!status) status = put(w, ((uint64_t)1 << quotient) - 1, (unsigned)quotient);
    if (!status) status = put(w, 0, 1);
    if (status) return status;
    if (r.bits == 0) return PITH_OK;
    if (rest < r.n_short) return put(w, rest, r.bits ? r.bits - 1 : 0);
    /* the highest bits first decide whether there is one more: it is written last */
    rest += r.n_short;
    status = put(w, rest >> 1, r.bits - 1);
    return status ? status : put(w, rest & 1, 1);
}

static uint16_t commonest(pith_ctx *ctx, const repr_plane *plane, pith_status *status) {
    uint32_t *count = pith_zalloc(ctx, plane->alphabet * sizeof *count);
    uint16_t best = 0;
    *status = count ? PITH_OK : pith_alloc_status(ctx);
    if (!count) return 0;
    for (size_t i = 0; i < plane->n; i++) count[plane->codes[i]]++;
    for (uint32_t s = 0; s < plane->alphabet; s++)
        if (count[s] > count[best]) best = (uint16_t)s;
    pith_free(ctx, count);
    return best;
}

pith_status golomb_encode(pith_ctx *ctx, const repr_plane *plane, uint64_t m, pith_buffer *out) {
    pith_status status;
    uint16_t common = commonest(ctx, plane, &status), *others = NULL;
    uint64_t n_others = 0;
    if (status) return status;
    for (size_t i = 0; i < plane->n; i++) n_others += plane->codes[i] != common;
    if (m == 0) m = golomb_parameter(plane->n - n_others, plane->n);
    status = repr_put_number(ctx, out, common);
    if (!status) status = repr_put_number(ctx, out, n_others);
    if (!status) status = repr_put_number(ctx, out, m);
    if (!status && !(others = pith_alloc(ctx, (size_t)(n_others + 1) * sizeof *others)))
        status = pith_alloc_status(ctx);
    bit_writer w = {.ctx = ctx, .out = out};
    remainders r = remainders_of(m);
    uint64_t gap = 0, k = 0;
    for (size_t i = 0; i < plane->n && !status; i++) {
        uint16_t c = plane->codes[i];
        if (c == common) {
            gap++;
        } else {
            status = put_gap(&w, gap, m, r);
            others[k++] = (uint16_t)(c - (c > common));
            gap = 0;
        }
    }
    if (!status) status = put_end(&w);
    if (!status) status = pack_bits_put(ctx, others, (size_t)n_others, pack_width(plane->alphabet - 1), out);
    pith_free(ctx, others);
    return status;
}

/* ---- reading ---- */

typedef struct bit_reader {
    const uint8_t *p, *end;
    uint64_t held;
    unsigned n_held;
} bit_reader;

static void refill(bit_reader *r) {
    for (; r->n_held < 56 && r->p < r->end; r->n_held += 8) r->held |= (uint64_t)*r->p++ << r->n_held;
}

static void drop(bit_reader *r, unsigned n) {
    r->held >>= n;
    r->n_held -= n;
}

/* n <= 32 */
static bool get(bit_reader *r, unsigned n, uint64_t *value) {
    if (r->n_held < n) refill(r);
    if (r->n_held < n) return false;
    *value = r->held & (((uint64_t)1 << n) - 1);
    drop(r, n);
    return true;
}

/* A gap of at most `most`. */
static bool get_gap(bit_reader *r, uint64_t m, remainders rest_of, uint64_t most, uint64_t *gap) {
    uint64_t quotient = 0, rest = 0, bit;
    for (;;) {
        refill(r);
        if (r->n_held == 0) return false;
        unsigned ones = (unsigned)__builtin_ctzll(~r->held); /* 63 bits at most are held: there is a zero */
        bool ends = ones < r->n_held;
        ones = PITH_MIN(ones, r->n_held);
        quotient += ones;
        drop(r, ones + ends);
        if (quotient > most / m) return false;
        if (ends) break;
    }
    if (rest_of.bits > 0) {
        if (!get(r, rest_of.bits - 1, &rest)) return false;
        if (rest >= rest_of.n_short) {
            if (!get(r, 1, &bit)) return false;
            rest = (rest << 1 | bit) - rest_of.n_short;
        }
    }
    *gap = quotient * m + rest;
    return *gap <= most;
}

pith_status golomb_decode(pith_ctx *ctx, repr_reader *in, uint16_t *codes, size_t n, uint32_t alphabet) {
    uint64_t common, n_others, m, at = 0;
    uint16_t *others = NULL;
    if (!repr_take_number(in, alphabet - 1, &common) || !repr_take_number(in, n, &n_others) ||
        !repr_take_number(in, PARAMETER_MOST, &m) || m == 0 || (n_others && alphabet < 2) ||
        n_others > 8 * (uint64_t)(in->end - in->p))
        return pith_fail(ctx, PITH_E_FORMAT, "the head of Golomb codes is wrong");
    for (size_t i = 0; i < n; i++) codes[i] = (uint16_t)common;
    if (!(others = pith_alloc(ctx, (size_t)(n_others + 1) * sizeof *others))) return pith_alloc_status(ctx);
    bit_reader r = {.p = in->p, .end = in->end};
    remainders rest_of = remainders_of(m);
    bool good = true;
    uint64_t *places = NULL;
    if (n_others && !(places = pith_alloc(ctx, (size_t)n_others * sizeof *places))) {
        pith_free(ctx, others);
        return pith_alloc_status(ctx);
    }
    for (uint64_t k = 0; k < n_others && good; k++) {
        uint64_t gap = 0;
        good = at < n && get_gap(&r, m, rest_of, n - 1 - at, &gap);
        at += gap;
        if (good) places[k] = at++;
    }
    in->p = r.p - r.n_held / 8;
    good = good && (r.held & (((uint64_t)1 << r.n_held % 8) - 1)) == 0 &&
           pack_bits_take(in, others, (size_t)n_others, PITH_MAX(alphabet, 2) - 1);
    for (uint64_t k = 0; k < n_others && good; k++)
        codes[places[k]] = (uint16_t)(others[k] + (others[k] >= common));
    pith_free(ctx, places);
    pith_free(ctx, others);
    return good ? PITH_OK : pith_fail(ctx, PITH_E_FORMAT, "Golomb codes of %zu symbols are wrong", n);
}
