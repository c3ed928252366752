/* Positive factors, one for each row or column: the largest as a float, all as halves of that. */
#include "kernels/represent/transform_parts.h"

#define LEAST_HALF 0x1p-14f /* of the normal ones: eleven bits of each factor are kept */
#define LEAST_UNIT 0x1p-100f
#define MOST_UNIT 0x1p100f

pith_status transform_put_factors(const repr_job *job, pith_buffer *out, float *values, size_t n) {
    float most = LEAST_UNIT;
    for (size_t i = 0; i < n; i++) {
        if (!(values[i] >= 0 && values[i] <= 3.4e38f))
            return pith_fail(job->ctx, PITH_E_FORMAT, "%s: weights or statistics that are not finite",
                             job->args->stage->name);
        most = PITH_MAX(most, values[i]);
    }
    most = PITH_MIN(most, MOST_UNIT);
    for (size_t i = 0; i < n; i++) values[i] = PITH_MIN(PITH_MAX(values[i] / most, LEAST_HALF), 1);
    size_t start = out->size;
    pith_status status = repr_put_floats(job->ctx, out, &most, 1);
    if (!status) status = repr_put_halves(job->ctx, out, values, n);
    if (status) return status;
    repr_reader back = {.p = out->data + start, .end = out->data + out->size};
    return transform_take_factors(job, &back, values, n);
}

pith_status transform_take_factors(const repr_job *job, repr_reader *in, float *values, size_t n) {
    float most;
    if (!repr_take_floats(in, &most, 1) || !repr_take_halves(in, values, n)) return repr_cut_off(job->ctx);
    if (!(most >= LEAST_UNIT && most <= MOST_UNIT))
        return pith_fail(job->ctx, PITH_E_FORMAT, "%s: a factor of %g", job->args->stage->name, (double)most);
    for (size_t i = 0; i < n; i++) {
        if (!(values[i] >= LEAST_HALF && values[i] <= 1))
            return pith_fail(job->ctx, PITH_E_FORMAT, "%s: a factor of %g", job->args->stage->name, (double)values[i]);
        values[i] *= most;
    }
    return PITH_OK;
}
