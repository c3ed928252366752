/* Numbers of levels by an adaptive binary coder: is it zero; which one of the others, bit by bit down a tree. Decisions
 * are counted in contexts: how many numbers around the same place before were not zero and how large, what stood there,
 * and what stands to the left and above. */
#include "artefacts/model/series_parts.h"
#include "kernels/predict/predict.h"

enum { AROUND_CLASSES = 6, NEAR_CLASSES = 4, SAME_CLASSES = 16, NODES = 256 };

typedef struct counter {
    uint16_t p, n; /* of a 1, in 65536ths; seen, up to a limit */
} counter;

typedef struct model {
    pmf_coder *coder;
    bool decode;
    series_context context;
    series_plane plane;
    unsigned bits;
    counter *counters; /* [contexts][NODES]: node 0 is "not zero", from 1 the tree */
} model;

static unsigned n_contexts(series_context c) {
    return c == SERIES_ALONE ? 1 : c == SERIES_SAME ? SAME_CLASSES : SAME_CLASSES * AROUND_CLASSES * NEAR_CLASSES;
}

/* How far from zero, 1 for the nearest level. */
static unsigned size_of(const model *m, unsigned number) {
    unsigned half = (m->plane.n_levels - 1) / 2;
    return !number ? 0 : number <= half ? half - number + 1 : number - half;
}

/* Sums of sizes in classes that double. */
static unsigned classed(unsigned sum, unsigned most) {
    unsigned c = 0;
    for (; sum; sum >>= 1) c++;
    return PITH_MIN(c, most - 1);
}

static unsigned size_at(const model *m, const uint8_t *plane, size_t i) { return PITH_MIN(size_of(m, plane[i]), 4u); }

static unsigned around(const model *m, size_t i) {
    size_t column = i % m->plane.row;
    unsigned sum = 0;
    for (int dy = -1; dy <= 1; dy++) {
        if ((dy < 0 && i < m->plane.row) || (dy > 0 && i + m->plane.row >= m->plane.n)) continue;
        size_t at = dy < 0 ? i - m->plane.row : dy > 0 ? i + m->plane.row : i;
        unsigned weight = dy == 0 ? 2 : 1;
        sum += weight * size_at(m, m->plane.before, at);
        if (column > 0) sum += size_at(m, m->plane.before, at - 1);
        if (column + 1 < m->plane.row && at + 1 < m->plane.n) sum += size_at(m, m->plane.before, at + 1);
    }
    return sum;
}

/* What stood at the place before, in SAME_CLASSES: 0 is the level zero. */
static unsigned same_class(const model *m, size_t i) {
    unsigned number = m->plane.before ? m->plane.before[i] : 0;
    if (number == 0 || m->plane.n_levels <= SAME_CLASSES) return PITH_MIN(number, SAME_CLASSES - 1u);
    return PITH_MIN(1 + (number - 1) * (SAME_CLASSES - 1) / (m->plane.n_levels - 1), SAME_CLASSES - 1u);
}

static counter *context_of(const model *m, size_t i) {
    unsigned c = 0;
    if (m->context != SERIES_ALONE) c = same_class(m, i);
    if (m->context == SERIES_AROUND) {
        unsigned near = i % m->plane.row ? size_at(m, m->plane.now, i - 1) : 0;
        if (i >= m->plane.row) near += size_at(m, m->plane.now, i - m->plane.row);
        unsigned far = m->plane.before ? around(m, i) : 0;
        c = (c * AROUND_CLASSES + classed(far, AROUND_CLASSES)) * NEAR_CLASSES + classed(near, NEAR_CLASSES);
    }
    return m->counters + (size_t)c * NODES;
}

static unsigned code_bit(model *m, counter *c, unsigned bit) {
    unsigned p = PITH_MIN(PITH_MAX((unsigned)c->p, 32u), 65535u - 32u);
    if (m->decode)
        bit = pmf_coder_get_bit(m->coder, p);
    else
        pmf_coder_put_bit(m->coder, p, bit);
    int target = bit ? 65535 : 0;
    c->p = (uint16_t)(c->p + (target - c->p) / (c->n + 2));
    if (c->n < 250) c->n++;
    return bit;
}

/* The number at i: given, or found. */
static unsigned code_number(model *m, size_t i, unsigned number) {
    counter *c = context_of(m, i);
    if (!code_bit(m, c, number != 0)) return 0;
    unsigned node = 1, rest = m->decode ? 0 : number - 1;
    for (unsigned b = m->bits; b-- > 0;) node = node << 1 | code_bit(m, c + node, rest >> b & 1);
    return node - (1u << m->bits) + 1;
}

static pith_status model_open(pith_ctx *ctx, model *m) {
    size_t n = (size_t)n_contexts(m->context) * NODES;
    while (1u << m->bits < m->plane.n_levels - 1) m->bits++;
    m->counters = pith_alloc(ctx, n * sizeof *m->counters);
    if (!m->counters) return pith_alloc_status(ctx);
    for (size_t i = 0; i < n; i++) m->counters[i] = (counter){32768, 0};
    return pmf_coder_new(ctx, 1, &m->coder);
}

static void model_close(pith_ctx *ctx, model *m) {
    if (m->coder) pmf_coder_free(ctx, m->coder);
    pith_free(ctx, m->counters);
}

pith_status series_numbers_encode(pith_ctx *ctx, series_context context, const series_plane *plane, pith_buffer *out) {
    model m = {.context = context, .plane = *plane};
    if (plane->n_levels < 2) return repr_put_number(ctx, out, 0);
    size_t most = 2 * plane->n + plane->n / 2 + 64, used = 0; /* a decision costs 11 bits at most, and few do */
    uint8_t *room = pith_alloc(ctx, most);
    pith_status status = room ? model_open(ctx, &m) : pith_alloc_status(ctx);
    if (!status) {
        pmf_coder_encode(m.coder, room, most);
        for (size_t i = 0; i < plane->n; i++) code_number(&m, i, plane->now[i]);
        used = pmf_coder_finish(m.coder);
        if (used == SIZE_MAX) status = pith_fail(ctx, PITH_E_INTERNAL, "numbers of levels do not fit");
    }
    if (!status) status = repr_put_number(ctx, out, used);
    if (!status) status = pith_buffer_append(ctx, out, room, used);
    model_close(ctx, &m);
    pith_free(ctx, room);
    return status;
}

pith_status series_numbers_decode(pith_ctx *ctx, series_context context, const series_plane *plane, repr_reader *in) {
    model m = {.decode = true, .context = context, .plane = *plane};
    uint64_t used;
    const uint8_t *code;
    if (!repr_take_number(in, SIZE_MAX / 2, &used) || !(code = repr_take(in, (size_t)used)) ||
        (plane->n_levels < 2 && used))
        return pith_fail(ctx, PITH_E_FORMAT, "numbers of levels are cut off");
    memset(plane->now, 0, plane->n);
    if (plane->n_levels < 2) return PITH_OK;
    pith_status status = model_open(ctx, &m);
    bool good = true;
    if (!status) pmf_coder_decode(m.coder, code, (size_t)used);
    for (size_t i = 0; i < plane->n && good && !status; i++) {
        unsigned number = code_number(&m, i, 0);
        good = number < plane->n_levels;
        plane->now[i] = (uint8_t)number;
    }
    if (!status && (!good || !pmf_coder_end(m.coder)))
        status = pith_fail(ctx, PITH_E_FORMAT, "numbers of levels are wrong");
    model_close(ctx, &m);
    return status;
}
