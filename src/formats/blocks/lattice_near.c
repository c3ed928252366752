/* The tables behind lattice_near.h. Near are the points within the smallest one, two or three distances that occur,
 * as in ggml's quantizers; the tables lie in memory that is not touched before a lattice is asked for. */
#include "formats/blocks/lattice_near.h"

#include <pthread.h>

enum { POINTS_MOST = 2048, PLACES_2 = 6561, PLACES_3 = 4096, DISTANCES = 256 };

static int8_t points[LATTICE_COUNT][POINTS_MOST][8];
static int32_t places_2[4][PLACES_2], places_3[2][PLACES_3];
/* As large as the lists are, with a count before each. */
static uint16_t near_iq2_xxs[119462], near_iq2_xs[187770], near_iq2_s[50253], near_iq1[332234], near_iq3_xxs[22825],
    near_iq3_s[28317];

typedef struct lattice_tables {
    lattice view;
    int32_t *at;
    uint16_t *near;
    uint32_t near_most;
    unsigned n_distances; /* that count as near */
} lattice_tables;

#define TABLES(name, dim, levels, n, distances, places, list) \
    [LATTICE_##name] = {{dim, levels, n, points[LATTICE_##name][0], places, list}, places, list, PITH_COUNT(list), distances}

static const lattice_tables tables[LATTICE_COUNT] = {
    TABLES(IQ2_XXS, 8, 3, 256, 2, places_2[0], near_iq2_xxs), TABLES(IQ2_XS, 8, 3, 512, 2, places_2[1], near_iq2_xs),
    TABLES(IQ2_S, 8, 3, 1024, 1, places_2[2], near_iq2_s),    TABLES(IQ1, 8, 3, 2048, 3, places_2[3], near_iq1),
    TABLES(IQ3_XXS, 4, 8, 256, 2, places_3[0], near_iq3_xxs), TABLES(IQ3_S, 4, 8, 512, 3, places_3[1], near_iq3_s),
};

/* The level of coordinate k of a point, from the tables that decoders use. */
static int8_t level_of(lattice_name name, unsigned point, unsigned k) {
    switch (name) {
    case LATTICE_IQ2_XXS: return (int8_t)((blocks_iq2xxs_grid[point] >> 8 * k & 255) / 16);
    case LATTICE_IQ2_XS: return (int8_t)((blocks_iq2xs_grid[point] >> 8 * k & 255) / 16);
    case LATTICE_IQ2_S: return (int8_t)((blocks_iq2s_grid[point] >> 8 * k & 255) / 16);
    case LATTICE_IQ1: return (int8_t)((int8_t)(blocks_iq1s_grid[point] >> 8 * k & 255) + 1);
    case LATTICE_IQ3_XXS: return (int8_t)((blocks_iq3xxs_grid[point] >> 8 * k & 255) / 8);
    default: return (int8_t)((blocks_iq3s_grid[point] >> 8 * k & 255) / 2);
    }
}

/* Appends the near points of one place; gives the length of the lists then. */
static uint32_t put_near(const lattice_tables *t, const int8_t place[8], uint32_t used) {
    uint8_t distance[POINTS_MOST];
    unsigned count[DISTANCES] = {0}, limit = 0, found = 0;
    const lattice *l = &t->view;
    for (unsigned j = 0; j < l->n_points; j++) {
        unsigned d = 0;
        for (unsigned k = 0; k < l->dim; k++) {
            int apart = l->points[8 * j + k] - place[k];
            d += (unsigned)(apart * apart);
        }
        distance[j] = (uint8_t)PITH_MIN(d, DISTANCES - 1u);
        count[distance[j]]++;
    }
    for (unsigned kinds = 0; limit < DISTANCES && kinds < t->n_distances; limit++) kinds += count[limit] > 0;
    uint32_t head = used++;
    for (unsigned d = 0; d < limit; d++)
        for (unsigned j = 0; count[d] && j < l->n_points; j++)
            if (distance[j] == d && used < t->near_most) t->near[used++] = (uint16_t)j, found++;
    t->near[head] = (uint16_t)found;
    return used;
}

static void build(lattice_name name) {
    const lattice_tables *t = &tables[name];
    const lattice *l = &t->view;
    uint32_t n_places = l->dim == 8 ? PLACES_2 : PLACES_3, used = 0;
    for (uint32_t i = 0; i < n_places; i++) t->at[i] = -1;
    for (unsigned j = 0; j < l->n_points; j++) {
        uint32_t place = 0;
        for (unsigned k = l->dim; k-- > 0;) {
            points[name][j][k] = level_of(name, j, k);
            place = place * l->n_levels + (uint32_t)points[name][j][k];
        }
        t->at[place] = (int32_t)j;
    }
    for (uint32_t i = 0; i < n_places; i++) {
        int8_t place[8] = {0};
        if (t->at[i] >= 0) continue;
        for (uint32_t k = 0, left = i; k < l->dim; k++, left /= l->n_levels) place[k] = (int8_t)(left % l->n_levels);
        t->at[i] = -1 - (int32_t)used;
        used = put_near(t, place, used);
    }
}

#define BUILDER(name) \
    static void build_##name(void) { build(LATTICE_##name); }
BUILDER(IQ2_XXS)
BUILDER(IQ2_XS)
BUILDER(IQ2_S)
BUILDER(IQ1)
BUILDER(IQ3_XXS)
BUILDER(IQ3_S)

const lattice *lattice_of(lattice_name name) {
    static pthread_once_t once[LATTICE_COUNT] = {PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT,
                                                 PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT, PTHREAD_ONCE_INIT};
    static void (*const builders[LATTICE_COUNT])(void) = {
        [LATTICE_IQ2_XXS] = build_IQ2_XXS, [LATTICE_IQ2_XS] = build_IQ2_XS,   [LATTICE_IQ2_S] = build_IQ2_S,
        [LATTICE_IQ1] = build_IQ1,         [LATTICE_IQ3_XXS] = build_IQ3_XXS, [LATTICE_IQ3_S] = build_IQ3_S};
    pthread_once(&once[name], builders[name]);
    return &tables[name].view;
}
