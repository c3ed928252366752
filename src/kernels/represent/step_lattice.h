/* Weights that lie on few levels: what a model is whose matrices were quantised before, in groups of a row that share a
 * scale, and made floats again (a file of low-bit blocks converted, a checkpoint of quantisation-aware training). No
 * single step finds such levels again; scales of groups do, and what the groups count in is coded like other indices:
 *   levels   a weight is +- scale[row][group] * level[k] or 0, with one book of levels for the matrix; where positive
 *            and negative ones differ, scales have signs
 *   even     a weight is scale[row][group] * (k + phase[row][group]), where scales came with an offset */
#ifndef REPRESENT_STEP_LATTICE_H
#define REPRESENT_STEP_LATTICE_H

#include "kernels/represent/scalar.h"

enum {
    LATTICE_LEVELS = 32,
    LATTICE_FINE = 10,
    LATTICE_OCTAVES = 60,
    LATTICE_PHASE = 8,
    LATTICE_CODES = 256,
    LATTICE_LOW = 1024
};

typedef struct step_lattice {
    size_t rows, cols, group, n_groups; /* groups of a row: the last may be shorter */
    float base;                         /* the largest scale */
    unsigned fine;                      /* scales lie at 2^fine places to an octave */
    uint32_t n_scales;                  /* codes of scales are below */
    uint16_t *scale;                    /* [rows][n_groups] */
    unsigned n_levels;                  /* 0: even */
    float level[LATTICE_LEVELS];        /* rising, above 0 */
    int low;                            /* even: what code 0 counts; of levels -n_levels */
    unsigned n_codes;                   /* 2 * n_levels + 1 */
    unsigned phase_bits;                /* even: phases are in 2^-phase_bits */
    uint16_t *phase;                    /* [rows][n_groups], NULL: all 0 */
    uint16_t *flip;                     /* levels: [rows][n_groups], 1: the scale is below 0; NULL: none is */
} step_lattice;

/* The factor of base that the code of a scale means: 0, then falling from 1, evenly within each octave. */
PITH_INLINE float lattice_factor(unsigned code, unsigned fine) {
    if (!code) return 0;
    unsigned down = (code - 1) >> fine, part = (code - 1) & ((1u << fine) - 1);
    float octave = 1 / (float)(UINT64_C(1) << down);
    return (1 - (float)part / (float)(2u << fine)) * octave;
}
PITH_INLINE float lattice_scale(const step_lattice *l, size_t row_group) {
    float scale = l->base * lattice_factor(l->scale[row_group], l->fine);
    return l->flip && l->flip[row_group] ? -scale : scale;
}
PITH_INLINE float lattice_phase(const step_lattice *l, size_t row_group) {
    return l->phase ? (float)l->phase[row_group] / (float)(1u << l->phase_bits) : 0;
}
/* What a count means. */
PITH_INLINE float lattice_value(const step_lattice *l, int count, float scale, float phase) {
    if (!l->n_levels) return scale * ((float)count + phase);
    float value = count ? scale * l->level[abs(count) - 1] : 0;
    return count < 0 ? -value : value;
}

/* Looks for levels, or even steps, in w that take at most `bits` for each weight, all counted, and leave less error
 * than a code of those bits can. *found says whether there are any; then the caller frees, else there is nothing to. */
pith_status step_lattice_find(pith_ctx *ctx, const repr_matrix *w, double bits, step_lattice *l, bool *found);
void step_lattice_free(pith_ctx *ctx, step_lattice *l);

/* step_lattice.c: columns in what l says; takes what l holds, also when it fails. */
pith_status step_lattice_columns(const repr_job *job, step_lattice *l, repr_columns **out);
/* What follows 0 classes in a code of step: base has been read. */
pith_status step_lattice_decode(const repr_job *job, repr_reader *in, float base, repr_matrix *w);

/* ---- for those who look ---- */

enum { LATTICE_SAMPLED = 1024, LATTICE_LEAST_GROUPS = 16 };
#define LATTICE_MISSES 0.03    /* of the sample, that may lie elsewhere */
#define LATTICE_SCALE_BITS 9.0 /* of one scale, roughly */
/* Group sizes to try, beside whole rows. */
extern const size_t lattice_groups[5];
/* Where group number i of `take`, spread over `total`, stands. */
PITH_INLINE size_t lattice_sampled(size_t i, size_t take, size_t total) {
    return total / take * i + total % take * i / take;
}
/* The code of the scale nearest to `scale`; 0 when that is too small. */
unsigned lattice_scale_code(const step_lattice *l, float scale);
/* Places of scales that suit a code of so many bits. */
unsigned lattice_fine(double bits);
/* Bits of n things of n_counts kinds. */
double lattice_entropy(const uint32_t *count, size_t n_counts, double n);
/* Whether what it takes and leaves is better than a code of `bits` for each weight. */
bool lattice_pays(const step_lattice *l, double bits, double takes, double error, double squares);
/* step_lattice_even.c, step_lattice_levels.c: the same as step_lattice_find of one kind. */
pith_status step_lattice_find_levels(pith_ctx *ctx, const repr_matrix *w, double bits, step_lattice *l, bool *found);
pith_status step_lattice_find_even(pith_ctx *ctx, const repr_matrix *w, double bits, step_lattice *l, bool *found);

#endif
