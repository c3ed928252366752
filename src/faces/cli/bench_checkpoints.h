/* Checkpoints of a training run as codes of four bits, for `pith bench checkpoints`. */
#ifndef CLI_BENCH_CHECKPOINTS_H
#define CLI_BENCH_CHECKPOINTS_H

#include "faces/cli/bench_predict.h"
#include "lm/tune/tune.h"

enum { SERIES_WEIGHTS, SERIES_MEAN, SERIES_SQUARE, SERIES_KINDS };
#define SERIES_LEVELS 16

/* One array of a checkpoint. */
typedef struct series_plane {
    uint16_t *codes, *before;   /* [n]; before: of the checkpoint before */
    float level[SERIES_LEVELS]; /* what the codes mean, in rising order; one of them is 0 */
} series_plane;

/* What both sides know: the checkpoint before as decoded, and its codes. */
typedef struct series {
    pith_ctx *ctx;
    size_t n, rows, cols, count;       /* count: of checkpoints so far */
    float *decoded[SERIES_KINDS];      /* [n] */
    float *room;                       /* [n] */
    series_plane plane[SERIES_KINDS];
    double keep, least_mean;           /* share of the weights' changes; in averages of the mean's magnitude */
} series;

/* `weights` [rows][cols] are known to both sides. */
pith_status series_new(pith_ctx *ctx, const float *weights, size_t rows, size_t cols, series *out);
void series_free(series *s);
/* Makes codes of the next checkpoint and takes them for known: decoded[] are what a decoder has. */
pith_status series_next(series *s, const tune_state *state);
/* Bytes of one plane by a packer (represent.h), its levels included; with what was before as context when asked for.
 * Decodes and compares. */
pith_status series_bytes(series *s, int kind, const char *packer, bool with_before, uint64_t *bytes);

#endif
