/* Encoding with step: steps of the columns from the costs, their size from a rate, and rounding rules from a sample of
 * the weights, as an entropy-constrained quantiser is made (Chou, Lookabaugh and Gray 1989): code lengths from counts,
 * thresholds from code lengths, levels from the cells. */
#include <math.h>

#include "kernels/represent/step.h"

enum { SAMPLE = 1 << 17, BINS = 2048, TURNS = 3 };
#define ROW_FLOOR (1.0 / 32) /* of the mean */

/* The sample: magnitudes in units of the column's factor, columns in the layout's order. */
typedef struct step_sample {
    float *x;
    size_t per_column, first[STEP_PLANES + 1];
} step_sample;

typedef struct step_cells {
    uint32_t count[BINS];
    double sum[STEP_SHIFTS]; /* of magnitudes in steps, by min(m, 3) */
    double centre[STEP_SHIFTS];
} step_cells;

static void count_cells(const step_rule *rule, const float *x, size_t n, float inverse, step_cells *cells) {
    memset(cells, 0, sizeof *cells);
    for (size_t i = 0; i < n; i++) {
        float steps = x[i] * inverse;
        unsigned m = step_index(rule, steps);
        cells->count[PITH_MIN(m, BINS - 1)]++;
        if (!m) continue;
        unsigned s = PITH_MIN(m, STEP_SHIFTS) - 1;
        cells->sum[s] += (double)steps;
        cells->centre[s] += m;
    }
}

/* Bits of a signed index. */
static double length_of(const step_cells *cells, size_t n, unsigned m) {
    return -log2(((double)cells->count[m] + 0.4) / ((double)n + 0.4 * 8)) + (m > 0);
}

static double entropy(const step_cells *cells, size_t n) {
    double bits = 0;
    for (unsigned m = 0; m < BINS; m++)
        if (cells->count[m]) bits += cells->count[m] * (log2((double)n / cells->count[m]) + (m > 0));
    return n ? bits / (double)n : 0;
}

static void set_levels(const step_cells *cells, step_rule *rule) {
    for (unsigned s = 0; s < STEP_SHIFTS; s++) {
        double n = 0;
        if (s + 1 < STEP_SHIFTS)
            n = cells->count[s + 1];
        else
            for (unsigned m = STEP_SHIFTS; m < BINS; m++) n += cells->count[m];
        double shift = n >= 16 ? (cells->centre[s] - cells->sum[s]) / n * 256 : 0;
        rule->shift[s] = (int8_t)lrint(shift < -127 ? -127 : shift > 127 ? 127 : shift);
    }
}

/* Half way between whole numbers, not between levels: that is where a bit pays for itself as elsewhere on the curve
 * (levels pulled in would make more indices large, and cost more than they save). More with rdo. */
static void set_thresholds(const step_cells *cells, size_t n, double rdo, step_rule *rule) {
    double dear = 0; /* bits that the next magnitude costs more; kept where counts say nothing */
    for (unsigned m = 0; m < STEP_OFFSETS; m++) {
        if (cells->count[m] >= 16 && cells->count[m + 1] >= 16)
            dear = length_of(cells, n, m + 1) - length_of(cells, n, m);
        double at = 0.5 + rdo * dear / 2;
        rule->offset[m] = (float)(at < 0.25 ? 0.25 : at > 0.99 ? 0.99 : at);
    }
}

/* The rule of one plane for steps of this size; gives bits per index. */
static double settle(const step_wish *wish, const float *x, size_t n, float base, step_cells *cells, step_rule *rule) {
    *rule = (step_rule){.shift = {0}};
    for (unsigned m = 0; m < STEP_OFFSETS; m++) rule->offset[m] = 0.5f;
    float inverse = base > 0 ? 1 / base : 0;
    if (!isfinite(inverse)) inverse = 0;
    count_cells(rule, x, n, inverse, cells);
    for (unsigned turn = 0; turn < TURNS && wish->rdo > 0; turn++) {
        set_thresholds(cells, n, wish->rdo, rule);
        count_cells(rule, x, n, inverse, cells);
    }
    if (wish->centroid) set_levels(cells, rule);
    return entropy(cells, n);
}

/* Bits of the whole matrix with steps of this size, and the rules for it. */
static double settle_all(const step_wish *wish, const step_layout *l, const step_sample *s, float base,
                         step_cells *cells, step_rule *rules) {
    double bits = l->n_classes > 1 ? 4.0 * (double)l->cols : 0;
    for (size_t p = 0; p < l->n_planes; p++) {
        size_t n = s->first[p + 1] - s->first[p], used = 0;
        double each = settle(wish, s->x + s->first[p], n, base, cells, &rules[p]);
        for (unsigned m = 0; m < BINS; m++) used += cells->count[m] != 0;
        /* What a packer needs to know each distribution, roughly. */
        bits += each * (double)(l->first[p + 1] - l->first[p]) * (double)l->rows + 40 + 8 * (double)used;
    }
    return bits;
}

/* Classes of the columns: quarter octaves below the largest wanted step. False when all steps may as well be equal. */
static bool classes_of(const step_wish *wish, const float *cost, step_layout *l) {
    double mean = 0, logs = 0, least = 0, n = (double)l->cols;
    for (size_t j = 0; j < l->cols; j++) mean += (double)cost[j] / n;
    if (!(mean > 0) || !isfinite(mean) || wish->tilt == 0) return false;
    double floor_at = 1e-4 * mean; /* inputs that were hardly seen are not certain to stay so */
    for (size_t j = 0; j < l->cols; j++) {
        double log = log2(PITH_MAX((double)cost[j], floor_at));
        logs += log / n;
        if (j == 0 || log < least) least = log;
    }
    double gain = 0.5 * wish->tilt * (log2(mean) - logs) * (double)l->rows; /* bits for each column */
    if (gain < 5) return false;
    l->n_classes = 1;
    for (size_t j = 0; j < l->cols; j++) {
        double log = log2(PITH_MAX((double)cost[j], floor_at)) - least;
        double k = floor(4 * wish->tilt / 2 * log + 0.5);
        l->class_of[j] = (uint16_t)(k > STEP_CLASSES - 1 ? STEP_CLASSES - 1 : k);
        l->n_classes = PITH_MAX(l->n_classes, l->class_of[j] + 1u);
    }
    return l->n_classes > 1;
}

/* The same for rows, whose errors do not meet. Tokens that were hardly met may yet be needed. */
static void row_classes_of(const step_wish *wish, const float *outputs, step_layout *l) {
    double mean = 0, logs = 0, n = (double)l->rows;
    for (size_t r = 0; r < l->rows && outputs; r++) mean += (double)outputs[r] / n;
    if (!(mean > 0) || !isfinite(mean) || wish->rows == 0) return;
    double least = log2(mean * ROW_FLOOR);
    for (size_t r = 0; r < l->rows; r++) logs += PITH_MAX(log2((double)outputs[r]), least) / n;
    if (0.5 * wish->rows * (log2(mean) - logs) * (double)l->cols < 5) return; /* bits for each row */
    for (size_t r = 0; r < l->rows; r++) {
        double k = floor(2 * wish->rows * (PITH_MAX(log2((double)outputs[r]), least) - least) + 0.5);
        l->row_class[r] = (uint16_t)(k > STEP_CLASSES - 1 ? STEP_CLASSES - 1 : k);
        l->n_row_classes = PITH_MAX(l->n_row_classes, l->row_class[r] + 1u);
    }
}

/* Sorts the columns into planes of equal numbers of columns. */
static void set_planes(step_layout *l, step_sample *s, size_t n_planes) {
    l->n_planes = n_planes;
    step_layout_sort(l);
    for (size_t p = 0; p <= n_planes; p++) s->first[p] = l->first[p] * s->per_column;
}

static pith_status sample_new(pith_ctx *ctx, const float *w, step_layout *l, step_sample *s) {
    size_t n = l->rows * l->cols, stride = (n + SAMPLE - 1) / SAMPLE;
    stride = PITH_MIN(stride, l->rows);
    s->per_column = l->rows / stride; /* the same for all: no plane then moves the others */
    s->x = pith_alloc(ctx, s->per_column * l->cols * sizeof *s->x);
    if (!s->x) return pith_alloc_status(ctx);
    set_planes(l, s, 1);
    for (size_t i = 0, at = 0; i < l->cols; i++) {
        /* Each column begins elsewhere, so that all rows are seen. */
        size_t begin = l->order[i] % stride;
        const float *x = w + l->order[i] * l->rows + begin;
        const uint16_t *class = l->row_class + begin;
        float inverse = 1 / step_factor(l->class_of[l->order[i]]);
        for (size_t k = 0; k < s->per_column; k++)
            s->x[at++] = fabsf(x[k * stride]) * inverse / step_factor(class[k * stride]);
    }
    return PITH_OK;
}

/* The smallest step whose indices hold the largest weight, and twice that: error feedback moves weights on. A matrix
 * that is mostly zeros would else ask the rest of it for more bits than an index has. */
static double least_base(const step_layout *l, const float *w) {
    float most = 0;
    for (size_t j = 0; j < l->cols; j++) {
        float inverse = 1 / step_factor(l->class_of[j]);
        for (size_t r = 0; r < l->rows; r++)
            most = PITH_MAX(most, fabsf(w[j * l->rows + r]) * inverse / step_factor(l->row_class[r]));
    }
    return (double)most * 2 / STEP_MOST;
}

/* The step that the wish asks for, and its rules; bits of the matrix in *bits. */
static double find_base(const step_wish *wish, const step_layout *l, const step_sample *s, double unit, double least,
                        step_cells *cells, step_rule *rules, double *bits) {
    double low = PITH_MAX(unit * 1e-4, least), high = unit * 64, base = PITH_MAX(unit * wish->size, least);
    for (unsigned turn = 0; wish->bits > 0 && turn < 20; turn++) {
        base = sqrt(low) * sqrt(high);
        double now = settle_all(wish, l, s, (float)base, cells, rules);
        if (now > wish->bits * (double)(l->rows * l->cols))
            low = base;
        else
            high = base;
    }
    base = PITH_MIN(base, 1e38);
    *bits = settle_all(wish, l, s, (float)base, cells, rules);
    return base;
}

pith_status step_plan(pith_ctx *ctx, const step_wish *wish, const float *w, const float *cost,
                      const float *outputs, step_layout *l, step_rule rules[STEP_PLANES]) {
    size_t n = l->rows * l->cols;
    double squares = 0, classes = 0, bits;
    for (size_t i = 0; i < n; i++) squares += (double)w[i] * (double)w[i];
    if (!classes_of(wish, cost, l)) {
        l->n_classes = 1;
        memset(l->class_of, 0, l->cols * sizeof *l->class_of);
    }
    row_classes_of(wish, outputs, l);
    for (size_t j = 0; j < l->cols; j++) classes += l->class_of[j] / (double)l->cols;
    for (size_t r = 0; r < l->rows; r++) classes += l->row_class[r] / (double)l->rows;
    /* One RMS, as the largest step: that of the geometric mean is this many quarter octaves smaller. */
    double unit = sqrt(squares / (double)n) * exp2(classes / 4);
    step_sample sample = {.x = NULL};
    pith_status status = sample_new(ctx, w, l, &sample);
    step_cells *cells = status ? NULL : pith_alloc(ctx, sizeof *cells);
    if (!status && !cells) status = pith_alloc_status(ctx);
    if (!status) {
        double lowest = least_base(l, w), base = find_base(wish, l, &sample, unit, lowest, cells, rules, &bits);
        double least = bits;
        size_t best = 1;
        for (size_t planes = 2; l->n_classes > 1 && planes <= PITH_MIN(STEP_PLANES, l->cols); planes *= 2) {
            set_planes(l, &sample, planes);
            bits = settle_all(wish, l, &sample, (float)base, cells, rules);
            if (bits < least) least = bits, best = planes;
        }
        set_planes(l, &sample, best);
        l->base = (float)find_base(wish, l, &sample, unit, lowest, cells, rules, &bits);
    }
    pith_free(ctx, sample.x);
    pith_free(ctx, cells);
    return status;
}
