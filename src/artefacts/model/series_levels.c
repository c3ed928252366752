/* A tensor of floats as levels of what it differs by from the base: Lloyd's k-means in one dimension, on a sample; zero
 * is always a level, for what hardly changed. The code: number of levels, those but zero, the numbers. */
#include <math.h>

#include "artefacts/model/series_parts.h"

enum { SAMPLE = 1 << 15, ROUNDS = 24, MOST_LEVELS = (1 << SERIES_MOST_BITS) - 1 };

bool series_is_float(uint32_t type) { return type == TENSOR_F32 || type == TENSOR_F16 || type == TENSOR_BF16; }

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* One round over sorted values: means between the middles of neighbours; the level `zero` stays 0. */
static void improve(const float *sorted, size_t n, float *level, size_t k, size_t zero) {
    size_t i = 0;
    for (size_t j = 0; j < k; j++) {
        double sum = 0;
        size_t count = 0;
        float border = j + 1 < k ? 0.5f * (level[j] + level[j + 1]) : INFINITY;
        for (; i < n && sorted[i] <= border; i++, count++) sum += (double)sorted[i];
        if (j != zero && count) level[j] = (float)(sum / (double)count);
    }
}

/* 2^bits - 1 ascending levels, the one in the middle 0; only that one when nothing differs. */
static pith_status fit(pith_ctx *ctx, const float *residuals, size_t n, unsigned bits, float *level,
                       unsigned *n_levels) {
    size_t half = (((size_t)1 << bits) - 1) / 2, n_sample = PITH_MIN(n, (size_t)SAMPLE), m = 0;
    float *sorted = pith_alloc(ctx, n_sample * sizeof *sorted + 1);
    if (!sorted) return pith_alloc_status(ctx);
    for (size_t i = 0; i < n_sample; i++) {
        float r = residuals[(size_t)((double)i * (double)n / (double)n_sample)];
        if (r != 0) sorted[m++] = r;
    }
    *n_levels = 1;
    level[0] = 0;
    if (m > 0) {
        qsort(sorted, m, sizeof *sorted, by_value);
        float far = PITH_MAX(fabsf(sorted[0]), fabsf(sorted[m - 1]));
        for (size_t j = 0; j <= half; j++) {
            float share = (float)j / (float)half, at = far * share * share;
            level[half + j] = at;
            level[half - j] = -at;
        }
        *n_levels = (unsigned)(2 * half + 1);
        for (unsigned round = 0; round < ROUNDS; round++) {
            improve(sorted, m, level, *n_levels, half);
            qsort(level, *n_levels, sizeof *level, by_value);
        }
    }
    pith_free(ctx, sorted);
    return PITH_OK;
}

/* The place of zero first, then the others in order. */
static unsigned number_of(unsigned place, unsigned zero) {
    return place == zero ? 0 : place < zero ? place + 1 : place;
}
static unsigned place_of(unsigned number, unsigned zero) {
    return !number ? zero : number <= zero ? number - 1 : number;
}

static void quantise(const float *level, unsigned n_levels, const float *residuals, size_t n, uint8_t *numbers) {
    for (size_t i = 0; i < n; i++) {
        unsigned low = 0, high = n_levels - 1;
        while (low < high) {
            unsigned middle = (low + high + 1) / 2;
            if (residuals[i] > 0.5f * (level[middle - 1] + level[middle]))
                low = middle;
            else
                high = middle - 1;
        }
        numbers[i] = (uint8_t)number_of(low, n_levels / 2);
    }
}

/* Where the floats of view k begin among those of all. */
static size_t place_in(const model_layout *base, size_t k) {
    size_t n = 0;
    for (size_t i = 0; i < k; i++)
        if (series_is_float(base->views[i]->type)) n += (size_t)base->views[i]->n_elements;
    return n;
}

/* n more numbers, all 0. */
static pith_status more(pith_ctx *ctx, series_coder *s, size_t n, series_plane *plane) {
    pith_status status = pith_buffer_reserve(ctx, &s->now, n);
    if (status) return status;
    plane->now = s->now.data + s->now.size;
    plane->n = n;
    memset(plane->now, 0, n);
    s->now.size += n;
    return PITH_OK;
}

pith_status series_skip(pith_ctx *ctx, series_coder *s, uint32_t type, uint64_t n_elements) {
    series_plane plane;
    if (!series_is_float(type)) return PITH_OK;
    if (n_elements > SIZE_MAX / 8) return pith_fail(ctx, PITH_E_LIMIT, "a tensor too big for this machine");
    return n_elements ? more(ctx, s, (size_t)n_elements, &plane) : PITH_OK;
}

static pith_status begin(pith_ctx *ctx, series_coder *s, const model_layout *base, size_t k, series_plane *plane) {
    const tensor_view *v = base->views[k];
    size_t at = place_in(base, k), n = (size_t)v->n_elements;
    pith_status status = more(ctx, s, n, plane);
    plane->row = (size_t)v->ne[0];
    plane->before = s->before && at + n <= s->before->size ? s->before->data + at : NULL;
    return status;
}

pith_status series_encode(pith_ctx *ctx, series_coder *s, const model_layout *base, size_t k, const tensor_view *v,
                          delta_sink *out) {
    const tensor_view *b = base->views[k];
    size_t n = (size_t)v->n_elements;
    float level[MOST_LEVELS], *w = pith_alloc(ctx, 2 * n * sizeof *w), *r = w ? w + n : NULL;
    pith_buffer code = {0};
    series_plane plane = {0};
    pith_status status = w ? begin(ctx, s, base, k, &plane) : pith_alloc_status(ctx);
    bool finite = true;
    if (!status) {
        blocks_decode(b->type, b->data, w, n);
        blocks_decode(v->type, v->data, r, n);
        for (size_t i = 0; i < n; i++) finite = isfinite(r[i] -= w[i]) && finite;
        if (!finite)
            status = pith_fail(ctx, PITH_E_FORMAT, "%.*s: not finite", (int)PITH_MIN(v->name.size, 200), v->name.data);
    }
    if (!status) status = fit(ctx, r, n, s->bits, level, &plane.n_levels);
    if (!status) {
        quantise(level, plane.n_levels, r, n, plane.now);
        status = repr_put_number(ctx, &code, plane.n_levels);
    }
    for (unsigned i = 1; i < plane.n_levels && !status; i++)
        status = repr_put_floats(ctx, &code, &level[place_of(i, plane.n_levels / 2)], 1);
    if (!status) status = series_numbers_encode(ctx, s->context, &plane, &code);
    if (!status) status = delta_sink_put(out, code.data, code.size);
    for (size_t i = 0; i < n && !status; i++) s->changed += plane.now[i] != 0;
    s->elements += n;
    pith_buffer_free(ctx, &code);
    pith_free(ctx, w);
    return status;
}

/* base + level in the base's type; elements of level zero keep their bits. */
static void add_levels(const tensor_view *v, const float *level, const uint8_t *numbers, float *w, uint8_t *dst) {
    size_t n = (size_t)v->n_elements, width = tensor_type_of(v->type)->block_bytes;
    blocks_decode(v->type, v->data, w, n);
    for (size_t i = 0; i < n; i++) w[i] += level[numbers[i]];
    blocks_encode(v->type, w, dst, n);
    for (size_t i = 0; i < n; i++)
        if (!numbers[i]) memcpy(dst + i * width, v->data + i * width, width);
}

pith_status series_decode(pith_ctx *ctx, series_coder *s, const model_layout *base, size_t k, repr_reader *in,
                          delta_sink *out) {
    const tensor_view *v = base->views[k];
    size_t n = (size_t)v->n_elements;
    float level[MOST_LEVELS] = {0}, *w = pith_alloc(ctx, n * sizeof *w);
    uint8_t *bytes = pith_alloc(ctx, (size_t)v->bytes);
    series_plane plane = {0};
    uint64_t n_levels;
    pith_status status = w && bytes ? begin(ctx, s, base, k, &plane) : pith_alloc_status(ctx);
    if (!status && (!repr_take_number(in, MOST_LEVELS, &n_levels) || n_levels % 2 == 0 ||
                    !repr_take_floats(in, level + 1, (size_t)n_levels - 1)))
        status = pith_fail(ctx, PITH_E_FORMAT, "levels of a tensor are malformed");
    for (unsigned i = 1; !status && i < n_levels; i++)
        if (!isfinite(level[i])) status = pith_fail(ctx, PITH_E_FORMAT, "a level of a tensor is not finite");
    if (!status) {
        plane.n_levels = (unsigned)n_levels;
        status = series_numbers_decode(ctx, s->context, &plane, in);
    }
    if (!status) {
        add_levels(v, level, plane.now, w, bytes);
        status = delta_sink_put(out, bytes, (size_t)v->bytes);
    }
    pith_free(ctx, w);
    pith_free(ctx, bytes);
    return status;
}
