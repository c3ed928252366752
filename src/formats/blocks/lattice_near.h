/* For encoders: which point of a lattice has given coordinates, and where there is none, which points are near. */
#ifndef FORMATS_BLOCKS_LATTICE_NEAR_H
#define FORMATS_BLOCKS_LATTICE_NEAR_H

#include "formats/blocks/parts.h"

typedef enum lattice_name {
    LATTICE_IQ2_XXS, LATTICE_IQ2_XS, LATTICE_IQ2_S, LATTICE_IQ1, LATTICE_IQ3_XXS, LATTICE_IQ3_S, LATTICE_COUNT
} lattice_name;

/* Coordinates are levels 0, 1, 2, ... of `n_levels`, `dim` of them; a place is their number in base n_levels, the
 * first the lowest digit. */
typedef struct lattice {
    unsigned dim, n_levels, n_points;
    const int8_t *points; /* [n_points][8] */
    const int32_t *at;    /* [n_levels^dim] the point of a place, or -1 - where its near ones begin in `near` */
    const uint16_t *near; /* a count, then points by distance, then by number */
} lattice;

/* Built at the first call, which takes some milliseconds (LATTICE_IQ1: some ten); any thread. */
const lattice *lattice_of(lattice_name name);

#endif
