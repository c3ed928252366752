/* Choosing training texts by how well they and the texts aimed at compress together (E. Obbad et al., ZIP-FIT:
 * embedding-free data selection via compression-based alignment, 2024), and the same from one reading of all targets.
 */
#include "lm/distance/distance.h"

pith_status select_alignment(pith_ctx *ctx, const codelen_options *options, const distance_text *source,
                             size_t n_source, const distance_text *target, size_t n_target, double *score) {
    if (n_target == 0) return pith_fail(ctx, PITH_E_ARGUMENT, "selection needs at least one target text");
    if (n_source > SIZE_MAX / 16 / n_target)
        return pith_fail(ctx, PITH_E_LIMIT, "%zu by %zu texts are too many", n_source, n_target);
    double *d = pith_alloc(ctx, PITH_MAX(n_source * n_target, (size_t)1) * sizeof *d);
    if (!d) return pith_alloc_status(ctx);
    pith_status status = distance_matrix(ctx, options, DISTANCE_NCD, source, n_source, target, n_target, d);
    for (size_t i = 0; i < n_source && !status; i++) {
        double sum = 0;
        for (size_t j = 0; j < n_target; j++) sum += 1 - d[i * n_target + j];
        score[i] = sum / (double)n_target;
    }
    pith_free(ctx, d);
    return status;
}

pith_status select_primed(pith_ctx *ctx, const codelen_options *options, const distance_text *source, size_t n_source,
                          const distance_text *target, size_t n_target, double *score) {
    if (n_target == 0) return pith_fail(ctx, PITH_E_ARGUMENT, "selection needs at least one target text");
    if (n_source == 0) return PITH_OK;
    pith_buffer all = {0};
    pith_status status = PITH_OK;
    if (n_source > SIZE_MAX / 32 || n_target > SIZE_MAX / 32)
        return pith_fail(ctx, PITH_E_LIMIT, "%zu and %zu texts are too many", n_source, n_target);
    double *alone = pith_alloc(ctx, (n_source + n_target) * sizeof *alone), mean = 0;
    if (!alone) return pith_alloc_status(ctx);
    double *of_target = alone + n_source;
    for (size_t j = 0; j < n_target && !status; j++) {
        status = pith_buffer_append(ctx, &all, target[j].data, target[j].n);
        if (!status && target[j].n && target[j].data[target[j].n - 1] != '\n')
            status = pith_buffer_append(ctx, &all, "\n", 1);
    }
    distance_text prior = {all.data, all.size};
    if (!status) status = distance_lengths(ctx, options, NULL, 1, source, n_source, alone);
    if (!status) status = distance_lengths(ctx, options, NULL, 1, target, n_target, of_target);
    if (!status) status = distance_lengths(ctx, options, &prior, 1, source, n_source, score);
    for (size_t j = 0; j < n_target && !status; j++) mean += of_target[j] / (double)n_target;
    for (size_t i = 0; i < n_source && !status; i++) {
        double most = PITH_MAX(alone[i], mean);
        score[i] = most > 0 ? (alone[i] - score[i]) / most : 0;
    }
    pith_free(ctx, alone);
    pith_buffer_free(ctx, &all);
    return status;
}
