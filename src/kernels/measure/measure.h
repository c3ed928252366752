/* measure: one ruler for all. The room's door.
 *
 * What a program cost (processor seconds, peak memory), exact sizes in bits, how well scores
 * tell classes apart, which results are on the frontier, and a figure of them. */
#ifndef MEASURE_MEASURE_H
#define MEASURE_MEASURE_H

#include "base/base.h"

/* ---- a program and what it cost (child.c) ---------------------------------- */

typedef struct measure_job {
    const char *const *argv; /* NULL-terminated; argv[0] is searched in PATH */
    const char *stdin_path;  /* NULL: /dev/null */
    const char *stdout_path; /* created or emptied; NULL: /dev/null */
    const char *stderr_path; /* the same */
    const char *directory;   /* to run in; NULL: this one */
    double limit_seconds;    /* processor seconds after which it is killed; 0: none */
} measure_job;

typedef struct measure_usage {
    double cpu_seconds; /* user + system, descendants that were waited for included */
    double wall_seconds;
    uint64_t peak_bytes; /* largest resident set of the program or one of its descendants */
    int exit_code;       /* -1 when it did not exit by itself */
    int signal;          /* that ended it, 0 when none */
    bool timed_out;      /* ended because of limit_seconds */
} measure_usage;

/* Runs the program to its end. PITH_OK says it ran, not that it succeeded. PITH_E_IO when it
 * cannot be started, PITH_E_CANCELLED (after killing it) when the progress callback asks. */
pith_status measure_run(pith_ctx *ctx, const measure_job *job, measure_usage *usage);
/* The full path of a program found in PATH, or false. */
bool measure_find_program(const char *name, char *path, size_t path_size);
/* Whether two files hold the same bytes, read in pieces. */
pith_status measure_same_bytes(pith_ctx *ctx, const char *path_a, const char *path_b, bool *same);

/* ---- exact sizes (rate.c) ----------------------------------------------------- */

/* Sums of sizes, overflow checked: raw bytes in, coded bits out, side information included. */
typedef struct measure_rate {
    uint64_t raw_bytes;
    uint64_t coded_bits;
} measure_rate;
/* PITH_E_LIMIT when a sum would pass 64 bits; the rate is then unchanged. */
pith_status measure_rate_add(pith_ctx *ctx, measure_rate *rate, uint64_t raw_bytes, uint64_t coded_bits);
/* Coded bits per raw byte; 0 when there are no raw bytes. */
double measure_bits_per_byte(const measure_rate *rate);
/* Raw size over coded size; 0 when nothing was coded. */
double measure_ratio(const measure_rate *rate);

/* ---- how well scores tell two classes apart (auc.c) ------------------------------- */

/* The area under the ROC curve: the part of all pairs of a positive and a negative item whose scores stand in the right
 * order, equal scores counting half. 0.5 without such a pair. Scores are finite. */
pith_status measure_auc(pith_ctx *ctx, const float *score, const uint8_t *positive, size_t n, double *auc);

/* ---- the frontier (frontier.c) --------------------------------------------------- */

/* Marks points that no other point beats: none has a value at least as large in both
 * coordinates and larger in one. Equal points are all marked. NaN is never marked. */
pith_status measure_frontier(pith_ctx *ctx, const double *x, const double *y, size_t n, bool *on_frontier);

/* ---- a figure (plot.c) -------------------------------------------------------------- */

typedef struct measure_point {
    double x, y; /* x > 0 (the axis is logarithmic), both finite */
    const char *label;
    unsigned series; /* index into the figure's series */
} measure_point;

typedef struct measure_panel {
    const char *title, *x_label;
    const measure_point *points;
    size_t n_points;
} measure_panel;

#define MEASURE_MAX_PANELS 3
#define MEASURE_MAX_SERIES 6
typedef struct measure_figure {
    const char *title, *subtitle, *y_label;
    const char *series[MEASURE_MAX_SERIES]; /* names for the legend */
    unsigned n_series;
    measure_panel panels[MEASURE_MAX_PANELS]; /* side by side, one y axis */
    unsigned n_panels;
} measure_figure;

/* Draws the figure as SVG text appended to `svg` (all texts are UTF-8): points, labels that keep clear of each other,
 * and a line through the points on the frontier (high and right is better). Points that cannot
 * be drawn (x <= 0, not finite) are left out. */
pith_status measure_plot_svg(pith_ctx *ctx, const measure_figure *figure, pith_buffer *svg);

#endif
