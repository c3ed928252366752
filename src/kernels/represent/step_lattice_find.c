/* Which kind of few levels weights lie on, if any, and what both kinds share. */
#include <math.h>

#include "kernels/represent/step_lattice.h"

#define MARGIN 0.25 /* of the least error that a code of normal numbers has at its bits, 4^-bits */

const size_t lattice_groups[5] = {256, 128, 64, 32, 16};

unsigned lattice_scale_code(const step_lattice *l, float scale) {
    int down;
    if (!(scale > 0) || !(l->base > 0)) return 0;
    double part = (1 - frexp((double)(scale / l->base), &down)) * (double)(2u << l->fine);
    unsigned code = (unsigned)(part + 0.5), octave = (unsigned)PITH_MAX(-down, 0);
    if (down > 0) code = 0; /* the largest itself */
    return octave >= LATTICE_OCTAVES ? 0 : 1 + (octave << l->fine) + code;
}

unsigned lattice_fine(double bits) {
    double fine = ceil(bits) + 1;
    return (unsigned)(fine < 6 ? 6 : fine > LATTICE_FINE ? LATTICE_FINE : fine);
}

double lattice_entropy(const uint32_t *count, size_t n_counts, double n) {
    double bits = 0;
    for (size_t k = 0; k < n_counts; k++)
        if (count[k]) bits += count[k] * log2(n / count[k]);
    return bits;
}

bool lattice_pays(const step_lattice *l, double bits, double takes, double error, double squares) {
    return takes <= bits * (double)l->rows * (double)l->cols && error <= MARGIN * exp2(-2 * bits) * squares;
}

void step_lattice_free(pith_ctx *ctx, step_lattice *l) {
    pith_free(ctx, l->scale);
    pith_free(ctx, l->phase);
    pith_free(ctx, l->flip);
}

pith_status step_lattice_find(pith_ctx *ctx, const repr_matrix *w, double bits, step_lattice *l, bool *found) {
    float bad = 0; /* a NaN as soon as one number is not finite */
    for (size_t i = 0; i < w->rows * w->cols; i++) bad += w->data[i] * 0;
    *found = false;
    if (bad != 0) return PITH_OK;
    pith_status status = step_lattice_find_levels(ctx, w, bits, l, found);
    return status || *found ? status : step_lattice_find_even(ctx, w, bits, l, found);
}
