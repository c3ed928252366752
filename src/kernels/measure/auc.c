/* The area under the ROC curve from ranks: with R the sum of the ranks of the n1 positive items among all, equal scores
 * sharing their mean rank, it is (R - n1 (n1 + 1) / 2) / (n1 n0) (Mann, Whitney 1947). */
#include "kernels/measure/measure.h"

typedef struct scored {
    float score;
    uint8_t positive;
} scored;

static int by_score(const void *a, const void *b) {
    float x = ((const scored *)a)->score, y = ((const scored *)b)->score;
    return (x > y) - (x < y);
}

pith_status measure_auc(pith_ctx *ctx, const float *score, const uint8_t *positive, size_t n, double *auc) {
    double ranks = 0, ones = 0;
    *auc = 0.5;
    if (n == 0) return PITH_OK;
    if (n > SIZE_MAX / sizeof(scored)) return pith_fail(ctx, PITH_E_LIMIT, "too many scores to rank");
    scored *s = pith_alloc(ctx, n * sizeof *s);
    if (!s) return pith_alloc_status(ctx);
    for (size_t i = 0; i < n; i++) s[i] = (scored){score[i], positive[i]};
    qsort(s, n, sizeof *s, by_score);
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && s[j].score <= s[i].score; j++) {}
        for (size_t k = i; k < j; k++)
            if (s[k].positive) ranks += (double)(i + j + 1) / 2, ones++;
    }
    double zeros = (double)n - ones;
    if (ones > 0 && zeros > 0) *auc = (ranks - ones * (ones + 1) / 2) / (ones * zeros);
    pith_free(ctx, s);
    return PITH_OK;
}
