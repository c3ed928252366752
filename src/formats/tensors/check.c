/* Looking at all data of a file: every scale and float must be finite. */
#include "formats/tensors/view.h"

#define PIECE_BYTES ((size_t)1 << 20)

typedef struct check_job {
    const tensor_view *t;
    const tensor_type_info *info;
    size_t n_blocks, piece; /* blocks in all, blocks of one piece */
    size_t *bad;            /* of each piece: the first bad block, SIZE_MAX for none */
} check_job;

static pith_status check_piece(void *arg, size_t i) {
    check_job *job = arg;
    size_t first = i * job->piece, n = PITH_MIN(job->piece, job->n_blocks - first), bad;
    bool fine = blocks_valid(job->t->type, job->t->data + first * job->info->block_bytes, n, &bad);
    job->bad[i] = fine ? SIZE_MAX : first + bad;
    return PITH_OK;
}

pith_status tensor_check(pith_ctx *ctx, const tensor_view *t) {
    check_job job = {.t = t, .info = tensor_type_of(t->type)};
    job.n_blocks = (size_t)(t->bytes / job.info->block_bytes);
    job.piece = PITH_MAX(PIECE_BYTES / job.info->block_bytes, (size_t)1);
    size_t n = (job.n_blocks + job.piece - 1) / job.piece, first_bad = SIZE_MAX;
    if (n == 0) return PITH_OK;
    job.bad = pith_alloc(ctx, n * sizeof *job.bad);
    if (!job.bad) return pith_alloc_status(ctx);
    pith_status status = n == 1 ? check_piece(&job, 0) : pith_parallel(ctx, n, check_piece, &job);
    for (size_t i = n; i-- > 0 && !status;)
        if (job.bad[i] != SIZE_MAX) first_bad = job.bad[i];
    pith_free(ctx, job.bad);
    if (status || first_bad == SIZE_MAX) return status;
    char shown[SHOWN_MAX];
    return pith_fail(ctx, PITH_E_CHECK, "data of %s at byte %llu: block %zu of %s is not finite",
                     text_shown(shown, t->name),
                     (unsigned long long)t->offset + (unsigned long long)first_bad * job.info->block_bytes, first_bad,
                     job.info->name);
}

pith_status tensor_file_check(pith_ctx *ctx, const tensor_file *f) {
    uint64_t total = 0, done = 0;
    for (size_t i = 0; i < f->n_tensors; i++) total += f->tensors[i].bytes;
    for (size_t i = 0; i < f->n_tensors; i++) {
        pith_status status = tensor_check(ctx, &f->tensors[i]);
        if (!status) status = pith_tick(ctx, done += f->tensors[i].bytes, total);
        if (status) return status;
    }
    return PITH_OK;
}
