/* The table of context vectors: a hash names four neighbouring rows, a 16-bit check says whose
 * they are, and a newcomer takes the one that was trained least. Updates are Adagrad (Duchi,
 * Hazan, Singer, 2011) with one accumulated moment per row. */
#include <math.h>

#include "kernels/predict/ssm.h"

#define ROW_RATE 0.15f
#define ROW_EPSILON 1e-3f
#define ROW_COUNT_MAX 255

static uint32_t first_row(const ssm_rows *r, uint32_t hash) { return (hash >> (32 - (r->bits - 2))) * SSM_WAYS; }

void ssm_rows_prefetch(const ssm_rows *r, uint32_t hash) { PITH_PREFETCH(r->info + first_row(r, hash)); }

ssm_found ssm_rows_find(ssm_rows *r, uint32_t hash) {
    const uint32_t first = first_row(r, hash);
    const uint16_t check = (uint16_t)(hash | 1);
    ssm_row_info *info = r->info + first;
    unsigned i = 0, least = 0;
    while (i < SSM_WAYS && info[i].check != check) i++;
    if (i == SSM_WAYS) {
        for (i = 1; i < SSM_WAYS; i++)
            if (info[i].count < info[least].count) least = i;
        i = least;
        info[i] = (ssm_row_info){.check = check};
        memset(r->vector + (first + i) * r->width, 0, r->width * sizeof *r->vector);
        /* Now and then the others age, or rows once popular would stay for ever. */
        if ((hash & 0x30000) == 0)
            for (unsigned j = 0; j < SSM_WAYS; j++)
                if (info[j].count > 1) info[j].count--;
    }
    for (size_t at = 0; at < r->width; at += 16) PITH_PREFETCH(r->vector + (first + i) * r->width + at);
    return (ssm_found){first + i, check, (uint16_t)PITH_MIN(info[i].count, SSM_COUNTS - 1)};
}

void ssm_rows_train(ssm_rows *r, const exact_ops *x, ssm_found f, const float *gradient, float gradient_mean_square,
                    float gate) {
    ssm_row_info *info = r->info + f.row;
    if (info->check != f.check) return;
    if (info->count < ROW_COUNT_MAX) info->count++;
    info->moment = info->moment + gradient_mean_square * (gate * gate);
    float rate = (ROW_RATE * gate) / sqrtf(info->moment + ROW_EPSILON);
    x->axpy(r->vector + f.row * r->width, -rate, gradient, r->width);
}
