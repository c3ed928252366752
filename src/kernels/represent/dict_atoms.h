/* Inside `atoms`: sparse codes over a dictionary that may have more atoms than dimensions. */
#ifndef REPRESENT_DICT_ATOMS_H
#define REPRESENT_DICT_ATOMS_H

#include "kernels/represent/vectors.h"

enum { ATOMS_MOST_NONZEROS = 16 };

/* Vectors x[n][dim]; squared errors in coordinate j of vector v cost cost[v % groups][j]. Each becomes the sum of
 * `nonzeros` atoms times values. */
typedef struct atoms_fit {
    pith_ctx *ctx;
    const float *x, *cost;
    size_t n, dim, groups, k, nonzeros;
    float *atoms;    /* [k][dim], of length 1 unless refitted */
    uint16_t *index; /* [n][nonzeros] */
    float *value;    /* [n][nonzeros] */
} atoms_fit;

/* Orthogonal matching pursuit (Pati et al., 1993): the atom that explains most of what is left, then all values again
 * by least squares. A vector of zeros gets values of 0. */
pith_status atoms_pursue(atoms_fit *f);
/* The dictionary in closed form for the codes as they are (method of optimal directions, Engan et al., 1999), costs
 * left aside; atoms that no vector uses stay. `unit`: then each gets length 1, its values growing with it. */
pith_status atoms_refit(atoms_fit *f, bool unit);

#endif
