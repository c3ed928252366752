/* Two models over one text, or one against a saved base: rows in step, figures at the end. */
#include <math.h>

#include "lm/ruler/parts.h"

#define FILE_FLOOR (-16.0) /* what the base file cuts off says nothing */

pith_status ruler_same_vocabulary(pith_ctx *ctx, const lm_model *a, const lm_model *b) {
    uint32_t n = lm_about(a)->n_vocab, nb = lm_about(b)->n_vocab;
    if (n != nb) return pith_fail(ctx, PITH_E_ARGUMENT, "the models have %u and %u tokens: no comparison", n, nb);
    const tokenizer *ta = lm_tokenizer(a), *tb = lm_tokenizer(b);
    for (uint32_t i = 0; ta && tb && i < n; i++) {
        size_t na = 0, size_b = 0;
        const uint8_t *pa = tokenizer_piece(ta, i, true, &na), *pb = tokenizer_piece(tb, i, true, &size_b);
        if (na != size_b || (na && memcmp(pa, pb, na) != 0))
            return pith_fail(ctx, PITH_E_ARGUMENT, "token %u differs between the models: no comparison", i);
    }
    return PITH_OK;
}

typedef struct compare_job {
    const float *const *base, *const *other;
    float *decoded; /* rows of the base file, or NULL */
    const float *decoded_rows[RULER_READ_ROWS];
    const uint32_t *next;
    uint32_t n_vocab;
    double floor;
    ruler_row *rows;
    uint8_t *packed; /* or NULL */
} compare_job;

static pith_status compare_work(void *arg, size_t i) {
    compare_job *j = arg;
    ruler_side base = j->decoded ? (ruler_side){j->base[i], 0} : ruler_side_of(j->base[i], j->n_vocab);
    ruler_compare_row(base, ruler_side_of(j->other[i], j->n_vocab), j->n_vocab, j->next[i], j->floor, &j->rows[i]);
    if (j->packed) ruler_base_pack(j->base[i], j->n_vocab, j->packed + i * ruler_base_row_bytes(j->n_vocab));
    return PITH_OK;
}

/* One batch of rows; row0 is the number of its first among all. */
static pith_status compare_batch(pith_ctx *ctx, compare_job *j, ruler_base *file, size_t row0, size_t n) {
    for (size_t i = 0; file && i < n; i++) {
        pith_status status = ruler_base_row(ctx, file, row0 + i, j->decoded + i * j->n_vocab);
        if (status) return status;
        j->decoded_rows[i] = j->decoded + i * j->n_vocab;
    }
    if (file) j->base = j->decoded_rows;
    return pith_parallel(ctx, n, compare_work, j);
}

static pith_status compare_chunk(pith_ctx *ctx, compare_job *j, ruler_reader *rb, ruler_base *file, ruler_reader *ro,
                                 const uint32_t *chunk, ruler_row *rows, size_t *row, ruler_write_fn save,
                                 void *opaque) {
    pith_status status = rb ? ruler_reader_begin(rb, chunk) : PITH_OK;
    if (!status) status = ruler_reader_begin(ro, chunk);
    for (size_t first = 0, n = 1; !status;) {
        if (rb) status = ruler_reader_next(rb, &first, &n, &j->base);
        if (!status) status = ruler_reader_next(ro, &first, &n, &j->other);
        if (status || !n) break;
        j->next = chunk + first + 1;
        j->rows = rows + *row;
        status = compare_batch(ctx, j, file, *row, n);
        if (!status && save) status = save(opaque, j->packed, n * ruler_base_row_bytes(j->n_vocab));
        *row += n;
    }
    return status;
}

/* The memory of a job, for batches of `batch` rows. */
static pith_status job_new(pith_ctx *ctx, uint32_t n_vocab, uint32_t batch, bool decode, bool pack, compare_job **out) {
    compare_job *j = *out = pith_zalloc(ctx, sizeof *j);
    if (!j) return pith_alloc_status(ctx);
    j->n_vocab = n_vocab;
    j->floor = decode ? FILE_FLOOR : -INFINITY;
    if (decode && !(j->decoded = pith_alloc(ctx, (size_t)batch * n_vocab * sizeof(float))))
        return pith_alloc_status(ctx);
    if (pack && !(j->packed = pith_alloc(ctx, batch * ruler_base_row_bytes(n_vocab)))) return pith_alloc_status(ctx);
    return PITH_OK;
}

pith_status ruler_compare(pith_ctx *ctx, const lm_model *base, ruler_base *base_file, const lm_model *other,
                          const ruler_chunks *chunks, uint32_t n_threads, ruler_write_fn save, void *save_opaque,
                          ruler_comparison *out) {
    *out = (ruler_comparison){0};
    uint32_t n_vocab = lm_about(other)->n_vocab;
    ruler_chunks saved;
    if (base_file) {
        saved = ruler_base_chunks(base_file);
        chunks = &saved;
        base = NULL;
        save = NULL;
        if (ruler_base_vocab(base_file) != n_vocab)
            return pith_fail(ctx, PITH_E_ARGUMENT, "the base file is for %u tokens, the model has %u",
                             ruler_base_vocab(base_file), n_vocab);
    } else {
        pith_status same = ruler_same_vocabulary(ctx, base, other);
        if (same) return same;
    }
    size_t per_chunk = ruler_chunk_rows(chunks->n_ctx), row = 0;
    if (chunks->n_chunks > SIZE_MAX / sizeof(ruler_row) / PITH_MAX(per_chunk, 1))
        return pith_fail(ctx, PITH_E_LIMIT, "too many positions to compare");
    ruler_reader *rb = NULL, *ro = NULL;
    compare_job *j = NULL;
    ruler_row *rows = pith_alloc(ctx, PITH_MAX(chunks->n_chunks * per_chunk, 1) * sizeof *rows);
    pith_status status = rows ? PITH_OK : pith_alloc_status(ctx);
    if (!status && base) status = ruler_reader_new(ctx, base, chunks->n_ctx, n_threads, &rb);
    if (!status) status = ruler_reader_new(ctx, other, chunks->n_ctx, n_threads, &ro);
    if (!status) status = job_new(ctx, n_vocab, ruler_reader_batch(ro), base_file != NULL, save != NULL, &j);
    if (!status && save) status = ruler_save_head(ctx, chunks, n_vocab, save, save_opaque);
    for (size_t c = 0; c < chunks->n_chunks && !status; c++) {
        status =
            compare_chunk(ctx, j, rb, base_file, ro, chunks->tokens + c * chunks->n_ctx, rows, &row, save, save_opaque);
        if (!status) status = pith_tick(ctx, c + 1, chunks->n_chunks);
    }
    if (!status) status = ruler_compare_rows(ctx, rows, row, out);
    ruler_reader_free(rb);
    ruler_reader_free(ro);
    if (j) {
        pith_free(ctx, j->decoded);
        pith_free(ctx, j->packed);
    }
    pith_free(ctx, j);
    pith_free(ctx, rows);
    return status;
}
