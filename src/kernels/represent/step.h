/* How a matrix is cut into steps: one step for all, or one for each column, and rules for rounding.
 *
 * Under error feedback a squared error e^2 in column j costs e^2 c_j (c_j = 1 / U_jj^2), and its entropy-coded indices
 * cost - log2 step_j bits each. The least cost at a rate has all c_j step_j^2 equal, so step_j ~ c_j^(-1/2): the
 * classical reverse water-filling (Cover and Thomas, ch. 10), on the innovations of the inputs. Steps lie on a grid of
 * quarter octaves below the largest; columns of similar steps share a plane, so that one model fits its indices. */
#ifndef REPRESENT_STEP_H
#define REPRESENT_STEP_H

#include "kernels/represent/scalar.h"

enum { STEP_CLASSES = 64, STEP_PLANES = 16, STEP_SHIFTS = 3, STEP_OFFSETS = 8, STEP_MOST = 32767 };

/* Of a plane. An index of magnitude m >= 1 means (m - shift[min(m, 3) - 1] / 256) steps; |x| steps become the index
 * m = floor |x|, or m + 1 when the rest is at least offset[min(m, 7)]. */
typedef struct step_rule {
    int8_t shift[STEP_SHIFTS];
    float offset[STEP_OFFSETS];
} step_rule;

/* What both sides know: which column has which step and stands in which plane. */
typedef struct step_layout {
    size_t rows, cols, n_planes;
    float base;                    /* the largest step */
    unsigned n_classes;            /* 1..STEP_CLASSES */
    uint16_t *class_of;            /* [cols] */
    uint32_t *order;               /* [cols] columns by class, then by number */
    size_t first[STEP_PLANES + 1]; /* of each plane, into order */
    unsigned n_row_classes;
    uint16_t *row_class; /* [rows] steps of a row are those of the columns times step_factor of it */
} step_layout;

/* Allocates for a matrix of this shape, all columns in class 0. */
pith_status step_layout_new(pith_ctx *ctx, size_t rows, size_t cols, step_layout *l);
void step_layout_free(pith_ctx *ctx, step_layout *l);
/* order and first from class_of and n_planes, which is at most STEP_PLANES and cols. */
void step_layout_sort(step_layout *l);
/* 2^(-k / 4). */
float step_factor(unsigned k);
/* What magnitude m of a plane means, in steps. */
PITH_INLINE float step_level(const step_rule *rule, unsigned m) {
    return m == 0 ? 0 : (float)m - (float)rule->shift[PITH_MIN(m, STEP_SHIFTS) - 1] * (1.0f / 256);
}
PITH_INLINE unsigned step_index(const step_rule *rule, float steps) {
    float most = (float)STEP_MOST - 1;
    steps = steps > 0 ? steps : 0;
    unsigned m = (unsigned)(steps < most ? steps : most);
    return m + (steps - (float)m >= rule->offset[PITH_MIN(m, STEP_OFFSETS - 1)]);
}

/* Rounding along a path (step_trellis.c). */
enum { STEP_STATES = 32 };
typedef struct step_trellis {
    unsigned n_states;                                    /* 4, 8, 16 or 32 */
    uint8_t next[STEP_STATES][2];                         /* by the index's parity; odd states read 2 k - 1 half steps */
    uint8_t from[2][STEP_STATES], by[2][STEP_STATES];     /* the two ways into a state: from where, 2 * quantiser + parity */
} step_trellis;
/* What the encoder remembers of an element. */
typedef struct step_path {
    uint32_t taken;
    int16_t index[4];
} step_path;
void step_trellis_init(step_trellis *t, unsigned n_states);
/* Indices of in[n] for steps of 1 / inverse, from state 0 on; path[n] is room to work in. */
void step_trellis_code(const step_trellis *t, const float *in, size_t n, float inverse, step_path *path, int16_t *out);
/* What an index means that is met in a state; half: half a step. */
PITH_INLINE float step_trellis_value(unsigned state, int index, float half) {
    return (float)(2 * index - (int)(state & 1)) * half;
}

/* Codes of any alphabet through the chain's packer, and back; those that are put are changed. One letter needs none. */
pith_status step_put_codes(const repr_job *job, uint16_t *codes, size_t n, size_t row, uint32_t alphabet,
                           pith_buffer *out);
pith_status step_take_codes(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row,
                            uint32_t alphabet);

/* Encoding: the plan (step_plan.c). */
typedef struct step_wish {
    double size; /* geometric mean of the steps, in RMS of the matrix */
    double bits; /* per weight, all counted; 0: by size */
    double tilt; /* 1: steps as the costs want them, 0: all the same */
    double rows; /* the same of rows */
    double rdo;  /* bits in what an index costs, in squared steps; 0: to the nearest */
    bool centroid;
} step_wish;
/* w[cols][rows], cost[cols], outputs[rows] or NULL. Fills row_class, class_of, n_classes and base, sorts, and gives the rules of all planes. */
pith_status step_plan(pith_ctx *ctx, const step_wish *wish, const float *w, const float *cost,
                      const float *outputs, step_layout *l, step_rule rules[STEP_PLANES]);

#endif
