/* perm: columns in the order of what matters most, so that error feedback comes to the important ones first and groups
 * hold columns of one kind (the act-order of GPTQ). The order is written, ceil(log2 n) bits a column.
 *   side = 0, or 1 and the numbers of the columns as they stand in the matrix before, packed from the lowest bit */
#include "kernels/represent/transform_parts.h"

typedef struct column_key {
    float key;
    uint32_t column;
} column_key;

/* Descending; what is equal stays in the order of the file. */
static int by_key(const void *a, const void *b) {
    const column_key *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? 1 : -1;
    return x->column < y->column ? -1 : 1;
}

static unsigned bits_for(size_t n) {
    unsigned bits = 0;
    while (n > (size_t)1 << bits) bits++;
    return bits;
}

/* Row by row through a copy: column j comes from order[j], or goes there. */
static void move(float *x, const repr_matrix *w, const uint32_t *order, bool back, float *row) {
    for (size_t i = 0; i < w->rows; i++, x += w->cols) {
        memcpy(row, x, w->cols * sizeof *row);
        if (back)
            for (size_t j = 0; j < w->cols; j++) x[order[j]] = row[j];
        else
            for (size_t j = 0; j < w->cols; j++) x[j] = row[order[j]];
    }
}

static pith_status keys(const repr_job *job, const repr_matrix *w, column_key *out) {
    const float *h;
    float *own;
    pith_status status = transform_powers(job, w->cols, &h, &own);
    if (status) return status;
    bool norm = (int)job->args->value[PERM_BY] == PERM_NORM;
    for (size_t j = 0; j < w->cols; j++) out[j] = (column_key){.key = norm || !h ? 0 : h[j], .column = (uint32_t)j};
    for (size_t i = 0; i < w->rows && norm; i++)
        for (size_t j = 0; j < w->cols; j++) out[j].key += w->data[i * w->cols + j] * w->data[i * w->cols + j];
    for (size_t j = 0; j < w->cols; j++)
        if (!(out[j].key >= 0)) out[j].key = 0; /* no order among what is no number */
    pith_free(job->ctx, own);
    return PITH_OK;
}

static pith_status write_order(pith_ctx *ctx, pith_buffer *side, const uint32_t *order, size_t n) {
    unsigned bits = bits_for(n), filled = 0;
    uint64_t word = 0;
    pith_status status = pith_buffer_reserve(ctx, side, n * 4 + 1);
    for (size_t j = 0; j < n && !status; j++) {
        word |= (uint64_t)order[j] << filled;
        for (filled += bits; filled >= 8; filled -= 8, word >>= 8) side->data[side->size++] = (uint8_t)word;
    }
    if (!status && filled) side->data[side->size++] = (uint8_t)word;
    return status;
}

static pith_status perm_forward(const repr_job *job, repr_matrix *w, repr_stats *stats, pith_buffer *side) {
    bool wanted = (int)job->args->value[PERM_BY] == PERM_NORM ||
                  ((int)job->args->value[PERM_BY] == PERM_ACT && (job->stats->h || job->stats->gram));
    uint8_t flag = wanted && w->cols <= UINT32_MAX;
    pith_status status = pith_buffer_append(job->ctx, side, &flag, 1);
    if (status || !flag) return status;
    column_key *key = pith_alloc(job->ctx, w->cols * sizeof *key);
    uint32_t *order = pith_alloc(job->ctx, w->cols * sizeof *order);
    float *row = pith_alloc(job->ctx, w->cols * sizeof *row);
    status = key && order && row ? keys(job, w, key) : pith_alloc_status(job->ctx);
    if (!status) {
        qsort(key, w->cols, sizeof *key, by_key);
        for (size_t j = 0; j < w->cols; j++) order[j] = key[j].column;
        move(w->data, w, order, false, row);
        status = write_order(job->ctx, side, order, w->cols);
    }
    if (!status) status = transform_stats_order(job, w->cols, order, stats);
    pith_free(job->ctx, row);
    pith_free(job->ctx, order);
    pith_free(job->ctx, key);
    return status;
}

/* Every column once. seen[n] is zero. */
static pith_status read_order(const repr_job *job, repr_reader *in, size_t n, uint32_t *order, uint8_t *seen) {
    unsigned bits = bits_for(n), filled = 0;
    const uint8_t *p = n <= SIZE_MAX / 32 ? repr_take(in, (n * bits + 7) / 8) : NULL;
    if (!p) return repr_cut_off(job->ctx);
    uint64_t word = 0;
    for (size_t j = 0; j < n; j++) {
        for (; filled < bits; filled += 8) word |= (uint64_t)*p++ << filled;
        order[j] = (uint32_t)(word & ((UINT64_C(1) << bits) - 1));
        word >>= bits;
        filled -= bits;
        if (order[j] >= n || seen[order[j]]) return pith_fail(job->ctx, PITH_E_FORMAT, "perm: no order of columns");
        seen[order[j]] = 1;
    }
    if (word) return pith_fail(job->ctx, PITH_E_FORMAT, "perm: bits set past the last column");
    return PITH_OK;
}

static pith_status perm_inverse(const repr_job *job, repr_reader *side, repr_matrix *w) {
    const uint8_t *flag = repr_take(side, 1);
    if (!flag) return repr_cut_off(job->ctx);
    if (*flag == 0) return PITH_OK;
    if (*flag != 1 || w->cols > UINT32_MAX) return pith_fail(job->ctx, PITH_E_FORMAT, "perm: no order of columns");
    uint32_t *order = pith_alloc(job->ctx, w->cols * sizeof *order);
    uint8_t *seen = pith_zalloc(job->ctx, w->cols);
    float *row = pith_alloc(job->ctx, w->cols * sizeof *row);
    pith_status status =
        order && seen && row ? read_order(job, side, w->cols, order, seen) : pith_alloc_status(job->ctx);
    if (!status) move(w->data, w, order, true, row);
    pith_free(job->ctx, row);
    pith_free(job->ctx, seen);
    pith_free(job->ctx, order);
    return status;
}

const repr_ops transform_perm = {.kind = REPR_TRANSFORM, .forward = perm_forward, .inverse = perm_inverse};
