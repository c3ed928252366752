/* Removal of single columns, apart from that of groups: the sums of squares that decide are kept, not the matrix.
 * Private to select. */
#ifndef SELECT_REMOVAL_H
#define SELECT_REMOVAL_H

#include "kernels/select/select.h"

/* select_obs_order with groups of one. */
pith_status removal_of_columns(pith_ctx *ctx, const float *w, size_t rows, size_t cols, const float *gram, double damp,
                               size_t least, uint32_t *order, double *losses);
/* Mean of the diagonal of a packed lower triangle. */
double removal_mean_diagonal(const float *gram, size_t n);

#endif
