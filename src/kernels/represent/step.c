/* The coder step: a uniform quantiser without clipping whose indices are entropy-coded. No groups, no scales but one
 * for the matrix and a small number for each column; 0.25 bit from the Gaussian bound at any rate (Gish and Pierce
 * 1968). Which steps, and how to round: step.h and step_plan.c.
 *
 *   base (4 bytes), number of classes, with more than one: number of planes, classes of the columns (a plane); the same
 *   of rows, without planes;
 *   then for each plane: 2 * largest magnitude + whether larger ones follow, their number, without a trellis 3 shifts,
 *   its indices (by rows, columns as the layout orders them: a plane of an alphabet of 256 at most, then the lowest bits,
 *   where there are more, as they are), magnitudes that were too large for it. */
#include "kernels/represent/step.h"

#include <math.h>

#include "kernels/represent/pack_bits.h"
#include "kernels/represent/step_lattice.h"

enum { P_SIZE, P_BITS, P_TILT, P_RDO, P_CENTROID, P_TRELLIS, P_ROWS, P_LATTICE };
const pith_param step_params[8] = {
    {.name = "size",
     .type = PITH_P_REAL,
     .min = 1e-6,
     .max = 64,
     .def = 0.26,
     .doc = "of the step, in RMS of the matrix (the geometric mean when steps differ)"},
    {.name = "bits",
     .type = PITH_P_REAL,
     .min = 0,
     .max = 16,
     .def = 0,
     .unit = "bits",
     .doc = "per weight to aim at, by the entropy of the indices; 0: by size"},
    {.name = "tilt",
     .type = PITH_P_REAL,
     .min = 0,
     .max = 1,
     .def = 1,
     .doc = "how far steps of columns follow what errors there cost: 0 not, 1 as is best"},
    {.name = "rdo",
     .type = PITH_P_REAL,
     .min = 0,
     .max = 1,
     .def = 0,
     .doc = "squared steps that a bit is worth when an index is chosen; without a trellis"},
    {.name = "centroid",
     .type = PITH_P_FLAG,
     .def = 1,
     .doc = "indices mean the centre of mass of their cell; without a trellis"},
    {.name = "trellis",
     .type = PITH_P_CHOICE,
     .choices = "none|4|8|16|32",
     .def = 2,
     .doc = "states of the path along which a column is rounded; none: each weight by itself"},
    {.name = "rows",
     .type = PITH_P_REAL,
     .min = 0,
     .max = 1,
     .def = 0.5,
     .doc = "how far steps of rows follow what errors there cost, where tokens are counted: as tilt (half way was better "
            "than all the way on two models: counts of one text are not those of the next)"},
    {.name = "lattice",
     .type = PITH_P_FLAG,
     .def = 1,
     .doc = "weights that lie on few levels in groups with a scale, as those of models that were quantised before, are "
            "coded as these levels where that takes no more bits"},
};

static unsigned trellis_of(const repr_job *job) {
    int choice = (int)job->args->value[P_TRELLIS];
    return choice ? 2u << choice : 0;
}

float step_factor(unsigned k) {
    static const float root[4] = {1.0f, 0.840896415f, 0.707106781f, 0.594603558f};
    return root[k % 4] / (float)(1u << k / 4);
}

pith_status step_layout_new(pith_ctx *ctx, size_t rows, size_t cols, step_layout *l) {
    size_t n;
    *l = (step_layout){.rows = rows, .cols = cols, .n_planes = 1, .n_classes = 1};
    pith_status status = scalar_room(ctx, rows, cols, sizeof(float), &n);
    if (!status && cols > UINT32_MAX)
        status = pith_fail(ctx, PITH_E_LIMIT, "a matrix of %zu columns is too wide for step", cols);
    if (status) return status;
    l->class_of = pith_zalloc(ctx, cols * sizeof *l->class_of);
    l->order = pith_alloc(ctx, cols * sizeof *l->order);
    l->n_row_classes = 1;
    l->row_class = pith_zalloc(ctx, rows * sizeof *l->row_class);
    return l->class_of && l->order && l->row_class ? PITH_OK : pith_alloc_status(ctx);
}

void step_layout_free(pith_ctx *ctx, step_layout *l) {
    pith_free(ctx, l->class_of);
    pith_free(ctx, l->order);
    pith_free(ctx, l->row_class);
}

void step_layout_sort(step_layout *l) {
    size_t start[STEP_CLASSES + 1] = {0};
    for (size_t j = 0; j < l->cols; j++) start[l->class_of[j] + 1u]++;
    for (unsigned k = 0; k < STEP_CLASSES; k++) start[k + 1] += start[k];
    for (size_t j = 0; j < l->cols; j++) l->order[start[l->class_of[j]]++] = (uint32_t)j;
    for (size_t p = 0; p <= l->n_planes; p++)
        l->first[p] = l->cols / l->n_planes * p + l->cols % l->n_planes * p / l->n_planes;
}

/* ---- columns ------------------------------------------------------------------------------------ */

typedef struct step_coder {
    repr_columns base;
    const repr_job *job;
    step_layout layout;
    step_rule rules[STEP_PLANES];
    step_trellis trellis;
    step_path *path;   /* [rows], NULL: no trellis */
    float *scaled, *factor; /* [rows] of a column, by what the rows' steps are */
    uint8_t *plane_of; /* [cols] */
    int16_t *index;    /* [cols][rows] */
} step_coder;

static pith_status step_enter(repr_columns *self, size_t first, size_t n, const float *w, const float *cost) {
    step_coder *c = (step_coder *)self;
    (void)first, (void)n;
    const double *v = c->job->args->value;
    bool alone = !c->path;
    step_wish wish = {v[P_SIZE], v[P_BITS], v[P_TILT], v[P_ROWS], alone ? v[P_RDO] : 0, alone && v[P_CENTROID] != 0};
    const repr_stats *stats = c->job->stats;
    bool known = stats->outputs && stats->n_outputs == c->layout.rows;
    pith_status status =
        step_plan(c->job->ctx, &wish, w, cost, known ? stats->outputs : NULL, &c->layout, c->rules);
    if (status) return status;
    for (size_t r = 0; r < c->layout.rows; r++) c->factor[r] = step_factor(c->layout.row_class[r]);
    for (size_t p = 0; p < c->layout.n_planes; p++)
        for (size_t i = c->layout.first[p]; i < c->layout.first[p + 1]; i++)
            c->plane_of[c->layout.order[i]] = (uint8_t)p;
    return PITH_OK;
}

/* A whole column along a path; out is by the decoder's own arithmetic. */
static void code_path(step_coder *c, float step, float inverse, int16_t *index, float *out) {
    size_t rows = c->layout.rows;
    unsigned state = 0;
    float half = step * 0.5f;
    step_trellis_code(&c->trellis, c->scaled, rows, inverse, c->path, index);
    for (size_t r = 0; r < rows; r++) {
        out[r] = step_trellis_value(state, index[r], half) * c->factor[r];
        state = c->trellis.next[state][index[r] & 1];
    }
}

static void step_code(repr_columns *self, size_t column, const float *in, float *out) {
    step_coder *c = (step_coder *)self;
    int16_t *index = c->index + column * c->layout.rows;
    const step_rule *rule = &c->rules[c->plane_of[column]];
    float step = c->layout.base * step_factor(c->layout.class_of[column]), inverse = step > 0 ? 1 / step : 0;
    if (!isfinite(inverse)) inverse = 0; /* of a step below all numbers: its products are zeros */
    for (size_t r = 0; r < c->layout.rows; r++) c->scaled[r] = in[r] / c->factor[r];
    if (c->path) {
        code_path(c, step, inverse, index, out);
        return;
    }
    for (size_t r = 0; r < c->layout.rows; r++) {
        unsigned m = step_index(rule, fabsf(c->scaled[r]) * inverse);
        float value = step_level(rule, m) * step * c->factor[r];
        index[r] = (int16_t)(in[r] < 0 ? -(int)m : (int)m);
        out[r] = in[r] < 0 && m ? -value : value;
    }
}

/* The largest magnitude that a plane's alphabet has: beyond it are those that cost less as numbers. */
static unsigned largest_coded(const uint32_t *counts, bool *more) {
    double beyond = 0, least = 0;
    unsigned best = STEP_MOST;
    while (best > 0 && counts[best] == 0) best--;
    least = 8.0 * best;
    *more = false;
    for (unsigned k = best; k > 0; k--) {
        beyond += counts[k];
        double bits = 64 + 28.0 * beyond + 8.0 * (k - 1);
        if (bits < least) least = bits, best = k - 1, *more = true;
    }
    return best;
}

/* Lowest bits that stand apart, so that the rest has an alphabet of 256 at most: they are as good as random, and packers
 * know less of alphabets that are larger. */
static unsigned low_bits(uint32_t alphabet) {
    unsigned k = 0;
    while ((alphabet - 1) >> k > 255) k++;
    return k;
}

pith_status step_put_codes(const repr_job *job, uint16_t *codes, size_t n, size_t row, uint32_t alphabet,
                           pith_buffer *out) {
    unsigned k = low_bits(alphabet);
    uint16_t *low = k ? pith_alloc(job->ctx, n * sizeof *low) : NULL;
    if (k && !low) return pith_alloc_status(job->ctx);
    for (size_t i = 0; k && i < n; i++) {
        low[i] = (uint16_t)(codes[i] & ((1u << k) - 1));
        codes[i] = (uint16_t)(codes[i] >> k);
    }
    repr_plane plane = {codes, n, row, ((alphabet - 1) >> k) + 1};
    pith_status status = repr_pack(job, &plane, out);
    if (!status && k) status = pack_bits_put(job->ctx, low, n, k, out);
    pith_free(job->ctx, low);
    return status;
}

pith_status step_take_codes(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row,
                            uint32_t alphabet) {
    unsigned k = low_bits(alphabet);
    pith_status status = scalar_take_plane(job, in, codes, n, row, ((alphabet - 1) >> k) + 1);
    if (status || !k) return status;
    const uint8_t *start = in->p;
    uint16_t *low = pith_alloc(job->ctx, n * sizeof *low);
    if (!low) return pith_alloc_status(job->ctx);
    bool good = pack_bits_take(in, low, n, 1u << k);
    for (size_t i = 0; i < n && good; i++) {
        uint32_t code = (uint32_t)codes[i] << k | low[i];
        good = code < alphabet;
        codes[i] = (uint16_t)code;
    }
    pith_free(job->ctx, low);
    repr_parts_add(job->parts, job->args->stage->name, REPR_PART_CODES, (uint64_t)(in->p - start));
    return good ? PITH_OK : pith_fail(job->ctx, PITH_E_FORMAT, "lowest bits of indices are cut off or too large");
}

static pith_status put_plane(step_coder *c, size_t p, uint32_t *counts, uint16_t *codes, pith_buffer *out) {
    const step_layout *l = &c->layout;
    pith_ctx *ctx = c->job->ctx;
    size_t first = l->first[p], width = l->first[p + 1] - first, n_more = 0;
    memset(counts, 0, (STEP_MOST + 1) * sizeof *counts);
    for (size_t i = 0; i < width; i++)
        for (size_t r = 0; r < l->rows; r++) counts[abs(c->index[l->order[first + i] * l->rows + r])]++;
    bool more;
    unsigned most = largest_coded(counts, &more);
    for (unsigned m = most + 1; m <= STEP_MOST; m++) n_more += counts[m];
    pith_status status = repr_put_number(ctx, out, 2 * most + more);
    if (!status && more) status = repr_put_number(ctx, out, n_more);
    if (!status && !c->path) status = pith_buffer_append(ctx, out, c->rules[p].shift, STEP_SHIFTS);
    for (size_t i = 0; i < width; i++) {
        const int16_t *index = c->index + l->order[first + i] * l->rows;
        for (size_t r = 0; r < l->rows; r++) {
            bool inside = (unsigned)abs(index[r]) <= most;
            codes[r * width + i] = (uint16_t)(inside ? index[r] + (int)most : 2 * (int)most + 1);
        }
    }
    uint32_t alphabet = 2 * most + 1 + more;
    if (!status && alphabet > 1) status = step_put_codes(c->job, codes, l->rows * width, width, alphabet, out);
    for (size_t i = 0; !status && i < l->rows * width && n_more; i++) {
        int v = c->index[l->order[first + i % width] * l->rows + i / width];
        if ((unsigned)abs(v) <= most) continue;
        status = repr_put_number(ctx, out, 2 * ((uint64_t)abs(v) - most - 1) + (v < 0));
    }
    return status;
}

static pith_status step_finish(repr_columns *self, pith_buffer *out) {
    step_coder *c = (step_coder *)self;
    const step_layout *l = &c->layout;
    pith_ctx *ctx = c->job->ctx;
    pith_status status = repr_put_floats(ctx, out, &l->base, 1);
    if (!status) status = repr_put_number(ctx, out, l->n_classes);
    repr_plane classes = {l->class_of, l->cols, l->cols, l->n_classes};
    if (!status && l->n_classes > 1) status = repr_put_number(ctx, out, l->n_planes);
    if (!status && l->n_classes > 1) status = repr_pack(c->job, &classes, out);
    repr_plane row_classes = {l->row_class, l->rows, l->rows, l->n_row_classes};
    if (!status) status = repr_put_number(ctx, out, l->n_row_classes);
    if (!status && l->n_row_classes > 1) status = repr_pack(c->job, &row_classes, out);
    size_t widest = 0;
    for (size_t p = 0; p < l->n_planes; p++) widest = PITH_MAX(widest, l->first[p + 1] - l->first[p]);
    uint16_t *codes = pith_alloc(ctx, l->rows * widest * sizeof *codes);
    uint32_t *counts = pith_alloc(ctx, (STEP_MOST + 1) * sizeof *counts);
    if (!status && (!codes || !counts)) status = pith_alloc_status(ctx);
    for (size_t p = 0; !status && p < l->n_planes; p++) status = put_plane(c, p, counts, codes, out);
    pith_free(ctx, codes);
    pith_free(ctx, counts);
    return status;
}

static void step_free(repr_columns *self) {
    step_coder *c = (step_coder *)self;
    pith_ctx *ctx = c->job->ctx;
    step_layout_free(ctx, &c->layout);
    pith_free(ctx, c->path);
    pith_free(ctx, c->scaled);
    pith_free(ctx, c->factor);
    pith_free(ctx, c->plane_of);
    pith_free(ctx, c->index);
    pith_free(ctx, c);
}

/* Bits of a weight that were asked for; by size those of a normal number. */
static double bits_of(const repr_job *job) {
    const double *v = job->args->value;
    return v[P_BITS] > 0 ? v[P_BITS] : PITH_MAX(2.047 - log2(v[P_SIZE]), 0);
}

static pith_status step_columns(const repr_job *job, const repr_matrix *w, repr_columns **out) {
    pith_ctx *ctx = job->ctx;
    if (job->args->value[P_LATTICE] != 0) {
        step_lattice l;
        bool found;
        pith_status status = step_lattice_find(ctx, w, bits_of(job), &l, &found);
        if (status || found) return status ? status : step_lattice_columns(job, &l, out);
    }
    step_coder *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    c->base = (repr_columns){0, step_enter, step_code, step_finish, step_free};
    c->job = job;
    pith_status status = step_layout_new(ctx, w->rows, w->cols, &c->layout);
    if (!status) {
        c->plane_of = pith_zalloc(ctx, w->cols);
        c->index = pith_alloc(ctx, w->rows * w->cols * sizeof *c->index);
        unsigned n_states = trellis_of(job);
        if (n_states) {
            step_trellis_init(&c->trellis, n_states);
            c->path = pith_alloc(ctx, w->rows * sizeof *c->path);
        }
        c->scaled = pith_alloc(ctx, w->rows * sizeof *c->scaled);
        c->factor = pith_alloc(ctx, w->rows * sizeof *c->factor);
        if (!c->plane_of || !c->index || !c->scaled || !c->factor || (n_states && !c->path)) status = pith_alloc_status(ctx);
    }
    if (status)
        step_free(&c->base);
    else
        *out = &c->base;
    return status;
}

/* ---- decoding ----------------------------------------------------------------------------------- */

/* With 0 classes it is another code that follows (step_lattice.c). */
static pith_status take_layout(const repr_job *job, repr_reader *in, step_layout *l) {
    uint64_t n_classes, n_planes = 1;
    if (!repr_take_floats(in, &l->base, 1) || !repr_take_number(in, STEP_CLASSES, &n_classes))
        return repr_cut_off(job->ctx);
    if (!(l->base >= 0) || !isfinite(l->base))
        return pith_fail(job->ctx, PITH_E_FORMAT, "the step of a matrix is no number");
    l->n_classes = (unsigned)n_classes;
    if (!n_classes) return PITH_OK;
    if (n_classes > 1 && !repr_take_number(in, PITH_MIN(STEP_PLANES, l->cols), &n_planes))
        return repr_cut_off(job->ctx);
    if (n_planes < 1) return pith_fail(job->ctx, PITH_E_FORMAT, "a matrix has no planes");
    l->n_planes = (size_t)n_planes;
    pith_status status = PITH_OK;
    if (l->n_classes > 1) status = repr_unpack(job, in, l->class_of, l->cols, l->cols, l->n_classes);
    if (!status) step_layout_sort(l);
    uint64_t n_row_classes;
    if (!status && (!repr_take_number(in, STEP_CLASSES, &n_row_classes) || n_row_classes < 1))
        return pith_fail(job->ctx, PITH_E_FORMAT, "the rows of a matrix have no steps");
    if (!status) l->n_row_classes = (unsigned)n_row_classes;
    if (!status && l->n_row_classes > 1)
        status = repr_unpack(job, in, l->row_class, l->rows, l->rows, l->n_row_classes);
    return status;
}

/* Of one plane: columns [first, last) of the order, by rows. */
typedef struct taken_plane {
    const step_layout *l;
    size_t first, width;
    uint16_t *codes; /* [rows][width], then the indices */
    float *data;
} taken_plane;

static float step_of(const step_layout *l, size_t column) { return l->base * step_factor(l->class_of[column]); }

static void put_values(const taken_plane *p, const step_rule *rule) {
    const step_layout *l = p->l;
    for (size_t i = 0; i < p->width; i++) {
        size_t column = l->order[p->first + i];
        float step = step_of(l, column);
        for (size_t r = 0; r < l->rows; r++) {
            int v = (int16_t)p->codes[r * p->width + i];
            float value = step_level(rule, (unsigned)abs(v)) * step * step_factor(l->row_class[r]);
            p->data[r * l->cols + column] = v < 0 ? -value : value;
        }
    }
}

/* All columns' paths side by side. state[width], half[width] */
static void follow_paths(const taken_plane *p, const step_trellis *t, uint8_t *state, float *half) {
    const step_layout *l = p->l;
    const uint32_t *order = l->order + p->first;
    memset(state, 0, p->width);
    for (size_t i = 0; i < p->width; i++) half[i] = step_of(l, order[i]) * 0.5f;
    for (size_t r = 0; r < l->rows; r++) {
        const uint16_t *codes = p->codes + r * p->width;
        float *row = p->data + r * l->cols, factor = step_factor(l->row_class[r]);
        for (size_t i = 0; i < p->width; i++) {
            row[order[i]] = step_trellis_value(state[i], (int16_t)codes[i], half[i]) * factor;
            state[i] = t->next[state[i]][codes[i] & 1];
        }
    }
}

static pith_status put_paths(const repr_job *job, const taken_plane *p, unsigned n_states) {
    step_trellis t;
    step_trellis_init(&t, n_states);
    uint8_t *state = pith_alloc(job->ctx, p->width);
    float *half = state ? pith_alloc(job->ctx, p->width * sizeof *half) : NULL;
    if (half) follow_paths(p, &t, state, half);
    pith_free(job->ctx, state);
    if (!half) return pith_alloc_status(job->ctx);
    pith_free(job->ctx, half);
    return PITH_OK;
}

/* Codes to indices; those that stand apart are read. */
static pith_status take_indices(const repr_job *job, repr_reader *in, size_t n, unsigned most, uint64_t n_more,
                                uint16_t *codes) {
    for (size_t i = 0; i < n; i++) {
        int v = (int)codes[i] - (int)most;
        if (codes[i] == 2 * most + 1) {
            uint64_t beyond;
            if (n_more == 0 || !repr_take_number(in, 2 * (STEP_MOST - (uint64_t)most) - 1, &beyond))
                return pith_fail(job->ctx, PITH_E_FORMAT,
                                 "indices of a matrix that stand apart are missing or too large");
            n_more--;
            v = (int)(most + 1 + (unsigned)(beyond / 2));
            if (beyond % 2) v = -v;
        }
        codes[i] = (uint16_t)(int16_t)v;
    }
    return n_more ? pith_fail(job->ctx, PITH_E_FORMAT, "a matrix has indices apart that belong nowhere") : PITH_OK;
}

static pith_status take_plane(const repr_job *job, repr_reader *in, const step_layout *l, size_t p, uint16_t *codes,
                              float *data) {
    pith_ctx *ctx = job->ctx;
    size_t first = l->first[p], width = l->first[p + 1] - first, n = width * l->rows;
    unsigned n_states = trellis_of(job);
    uint64_t head, n_more = 0;
    if (!repr_take_number(in, 2 * STEP_MOST, &head)) return repr_cut_off(ctx);
    unsigned most = (unsigned)(head / 2);
    if (head % 2 && !repr_take_number(in, n, &n_more)) return repr_cut_off(ctx);
    step_rule rule = {.shift = {0}};
    const uint8_t *shifts = n_states ? (const uint8_t *)rule.shift : repr_take(in, STEP_SHIFTS);
    if (!shifts) return repr_cut_off(ctx);
    if (!n_states) memcpy(rule.shift, shifts, STEP_SHIFTS);
    pith_status status = step_take_codes(job, in, codes, n, width, 2 * most + 1 + head % 2);
    if (!status) status = take_indices(job, in, n, most, n_more, codes);
    if (status) return status;
    taken_plane plane = {l, first, width, codes, data};
    if (n_states) return put_paths(job, &plane, n_states);
    put_values(&plane, &rule);
    return PITH_OK;
}

static pith_status step_decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    step_layout l;
    pith_status status = step_layout_new(ctx, w->rows, w->cols, &l);
    if (!status) status = take_layout(job, in, &l);
    if (!status && !l.n_classes) {
        step_layout_free(ctx, &l);
        return step_lattice_decode(job, in, l.base, w);
    }
    size_t widest = 0;
    for (size_t p = 0; !status && p < l.n_planes; p++) widest = PITH_MAX(widest, l.first[p + 1] - l.first[p]);
    uint16_t *codes = status ? NULL : pith_alloc(ctx, l.rows * widest * sizeof *codes);
    if (!status && !codes) status = pith_alloc_status(ctx);
    for (size_t p = 0; !status && p < l.n_planes; p++) status = take_plane(job, in, &l, p, codes, w->data);
    pith_free(ctx, codes);
    step_layout_free(ctx, &l);
    return status;
}

const repr_ops step_ops = {.kind = REPR_CODER, .columns = step_columns, .decode = step_decode};
