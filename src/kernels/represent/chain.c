/* Running a chain: transforms forward, the coder, and all of it back.
 *
 *   code of a matrix = side of each transform that can be undone (its length, its bytes), in order; code of the coder
 *
 * Encoding ends with what decoding does, on the same bytes, so that `restored` cannot differ from it. */
#include "kernels/represent/chain.h"

#include <math.h>

uint64_t chain_seed(uint64_t seed, unsigned i) {
    uint64_t z = seed + (i + 1) * UINT64_C(0x9E3779B97F4A7C15); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static repr_job job_of(pith_ctx *ctx, const repr_chain *chain, const chain_link *link, uint64_t seed,
                       const repr_stats *stats) {
    static const repr_stats none;
    return (repr_job){.ctx = ctx, .args = link->args, .stats = stats ? stats : &none, .chain = chain, .seed = seed};
}

/* Seeds: transform i of a chain has number i, its coder number n_transforms. */
static repr_job coder_job(pith_ctx *ctx, const repr_chain *chain, uint64_t seed, const repr_stats *stats) {
    return job_of(ctx, chain, &chain->coder, chain_seed(seed, chain->n_transforms), stats);
}

static void free_stats(pith_ctx *ctx, const repr_stats *s, const repr_stats *keep) {
    if (s->h != keep->h) pith_free(ctx, (void *)(uintptr_t)s->h);
    if (s->gram != keep->gram) pith_free(ctx, (void *)(uintptr_t)s->gram);
}

/* ---- the sides of transforms ------------------------------------------------------------------------ */

static pith_status put_side(pith_ctx *ctx, const pith_buffer *side, pith_buffer *out) {
    pith_status status = repr_put_number(ctx, out, side->size);
    return status ? status : pith_buffer_append(ctx, out, side->data, side->size);
}

/* One transform: *stats becomes what the next stage sees; what it was before goes unless it is the caller's. */
static pith_status forward(pith_ctx *ctx, const repr_chain *chain, unsigned i, uint64_t seed, repr_matrix *work,
                           repr_stats *stats, const repr_stats *given, pith_buffer *out) {
    const chain_link *link = &chain->transforms[i];
    repr_stats before = *stats;
    pith_buffer side = {0};
    repr_job job = job_of(ctx, chain, link, chain_seed(seed, i), &before);
    pith_status status = link->ops->forward(&job, work, stats, &side);
    if (!status && link->ops->inverse) status = put_side(ctx, &side, out);
    if (before.h != stats->h && before.h != given->h) pith_free(ctx, (void *)(uintptr_t)before.h);
    if (before.gram != stats->gram && before.gram != given->gram) pith_free(ctx, (void *)(uintptr_t)before.gram);
    pith_buffer_free(ctx, &side);
    return status;
}

/* Where the sides lie in the bytes: sides[n_transforms]. */
static pith_status take_sides(pith_ctx *ctx, const repr_chain *chain, repr_reader *in, repr_parts *parts,
                              repr_reader *sides) {
    for (unsigned i = 0; i < chain->n_transforms; i++) {
        sides[i] = (repr_reader){0};
        if (!chain->transforms[i].ops->inverse) continue;
        const uint8_t *start = in->p, *p = NULL;
        uint64_t n;
        if (repr_take_number(in, SIZE_MAX, &n)) p = repr_take(in, (size_t)n);
        if (!p) return repr_cut_off(ctx);
        sides[i] = (repr_reader){.p = p, .end = p + n};
        repr_parts_add(parts, chain->transforms[i].args->stage->name, REPR_PART_SIDE, (uint64_t)(in->p - start));
    }
    return PITH_OK;
}

static pith_status undo(pith_ctx *ctx, const repr_chain *chain, uint64_t seed, repr_reader *sides, repr_matrix *w) {
    for (unsigned i = chain->n_transforms; i-- > 0;) {
        const chain_link *link = &chain->transforms[i];
        if (!link->ops->inverse) continue;
        repr_job job = job_of(ctx, chain, link, chain_seed(seed, i), NULL);
        pith_status status = link->ops->inverse(&job, &sides[i], w);
        if (status) return status;
        if (sides[i].p != sides[i].end)
            return pith_fail(ctx, PITH_E_FORMAT, "%s has %llu bytes more than it needs", link->args->stage->name,
                             (unsigned long long)(sides[i].end - sides[i].p));
    }
    return PITH_OK;
}

/* ---- encoding ------------------------------------------------------------------------------------------ */

static pith_status run_coder(pith_ctx *ctx, const repr_chain *chain, uint64_t seed, repr_matrix *work,
                             const repr_stats *stats, pith_buffer *out, float *restored) {
    const repr_ops *ops = chain->coder.ops;
    const repr_job job = coder_job(ctx, chain, seed, stats);
    if (ops->encode && (!chain->solver.args || ops->is_branch)) return ops->encode(&job, work, out, restored);
    repr_columns *columns = NULL;
    pith_status status = ops->columns(&job, work, &columns);
    if (status) return status;
    if (chain->solver.args) {
        repr_job solver = job_of(ctx, chain, &chain->solver, job.seed, stats);
        status = chain->solver.ops->solve(&solver, work, columns, restored);
    } else {
        status = chain_sweep(&job, work, columns, restored);
    }
    if (!status) status = columns->finish(columns, out);
    columns->free(columns);
    return status;
}

/* `work` is changed; restored is never NULL. */
static pith_status encode_into(pith_ctx *ctx, const repr_chain *chain, uint64_t seed, repr_matrix *work,
                               const repr_stats *given, pith_buffer *out, float *restored) {
    repr_stats stats = *given;
    size_t start = out->size;
    pith_status status = PITH_OK;
    for (unsigned i = 0; i < chain->n_transforms && !status; i++)
        status = forward(ctx, chain, i, seed, work, &stats, given, out);
    if (!status) status = run_coder(ctx, chain, seed, work, &stats, out, restored);
    free_stats(ctx, &stats, given);
    if (status || !chain->n_transforms) return status;
    repr_reader *sides = pith_alloc(ctx, chain->n_transforms * sizeof *sides);
    if (!sides) return pith_alloc_status(ctx);
    repr_reader in = {.p = out->data + start, .end = out->data + out->size};
    repr_matrix back = {.data = restored, .rows = work->rows, .cols = work->cols};
    status = take_sides(ctx, chain, &in, NULL, sides);
    if (!status) status = undo(ctx, chain, seed, sides, &back);
    pith_free(ctx, sides);
    return status;
}

pith_status chain_encode_over(pith_ctx *ctx, const repr_chain *chain, uint64_t seed, repr_matrix *w,
                              const repr_stats *stats, pith_buffer *out, float *restored) {
    static const repr_stats none;
    return encode_into(ctx, chain, seed, w, stats ? stats : &none, out, restored);
}

pith_status chain_encode(pith_ctx *ctx, const repr_chain *chain, uint64_t seed, const repr_matrix *w,
                         const repr_stats *stats, pith_buffer *out, float *restored) {
    size_t n = w->rows * w->cols;
    float *copy = pith_alloc(ctx, n * sizeof *copy), *own = NULL;
    if (copy && !restored) own = restored = pith_alloc(ctx, n * sizeof *own);
    pith_status status = copy && restored ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        memcpy(copy, w->data, n * sizeof *copy);
        repr_matrix work = {.data = copy, .rows = w->rows, .cols = w->cols};
        status = chain_encode_over(ctx, chain, seed, &work, stats, out, restored);
    }
    pith_free(ctx, own);
    pith_free(ctx, copy);
    return status;
}

static pith_status check_shape(pith_ctx *ctx, const repr_matrix *w) {
    if (w->rows == 0 || w->cols == 0) return pith_fail(ctx, PITH_E_ARGUMENT, "a matrix without elements has no code");
    if (w->rows > SIZE_MAX / sizeof(float) / w->cols)
        return pith_fail(ctx, PITH_E_LIMIT, "a matrix of %zu rows and %zu columns is too large", w->rows, w->cols);
    return PITH_OK;
}

static pith_status check_matrix(pith_ctx *ctx, const repr_matrix *w) {
    pith_status status = check_shape(ctx, w);
    for (size_t i = 0; !status && i < w->rows * w->cols; i++)
        if (!isfinite(w->data[i]))
            status = pith_fail(ctx, PITH_E_ARGUMENT, "element %zu of the matrix is not finite", i);
    return status;
}

pith_status repr_encode(pith_ctx *ctx, const repr_chain *chain, const repr_matrix *w, const repr_stats *stats,
                        pith_buffer *out, float *restored) {
    pith_status status = check_matrix(ctx, w);
    return status ? status : chain_encode(ctx, chain, 0, w, stats, out, restored);
}

pith_status repr_encode_over(pith_ctx *ctx, const repr_chain *chain, repr_matrix *w, const repr_stats *stats,
                             pith_buffer *out, float *restored) {
    pith_status status = check_matrix(ctx, w);
    return status ? status : chain_encode_over(ctx, chain, 0, w, stats, out, restored);
}

/* w, restored, codes twice at 16 bits each, and the code: coders of columns keep to that, as measured; others make
 * copies, and a branch has two matrices more for each that it stands in. */
double repr_memory(const repr_chain *chain) {
    const repr_ops *ops = chain->coder.ops;
    if (!ops->is_branch) return ops->columns && (!ops->encode || chain->solver.args) ? 3.5 : 5;
    double inner = 0;
    for (unsigned i = 0; i < PITH_STAGE_MAX_PARAMS; i++)
        if (chain->coder.branch[i]) inner = PITH_MAX(inner, repr_memory(chain->coder.branch[i]));
    return inner + 3;
}

/* ---- decoding ------------------------------------------------------------------------------------------- */

static pith_status run_decoder(const repr_job *job, const repr_ops *ops, repr_reader *in, repr_matrix *w) {
    const uint8_t *start = in->p;
    uint64_t counted = 0, now = 0;
    for (size_t i = 0; job->parts && i < job->parts->n; i++) counted += job->parts->list[i].bytes;
    pith_status status = ops->decode(job, in, w);
    if (status || !job->parts) return status;
    for (size_t i = 0; i < job->parts->n; i++) now += job->parts->list[i].bytes;
    uint64_t rest = (uint64_t)(in->p - start) - (now - counted);
    repr_parts_add(job->parts, job->args->stage->name, ops->is_branch ? REPR_PART_SIDE : REPR_PART_NUMBERS, rest);
    return PITH_OK;
}

pith_status chain_decode(pith_ctx *ctx, const repr_chain *chain, uint64_t seed, repr_reader *in, unsigned levels,
                         repr_parts *parts, repr_matrix *w) {
    repr_reader *sides = NULL;
    if (chain->n_transforms) {
        sides = pith_alloc(ctx, chain->n_transforms * sizeof *sides);
        if (!sides) return pith_alloc_status(ctx);
    }
    repr_job job = coder_job(ctx, chain, seed, NULL);
    job.levels = levels;
    job.parts = parts;
    pith_status status = take_sides(ctx, chain, in, parts, sides);
    if (!status) status = run_decoder(&job, chain->coder.ops, in, w);
    if (!status) status = undo(ctx, chain, seed, sides, w);
    pith_free(ctx, sides);
    return status;
}

pith_status repr_decode(pith_ctx *ctx, const repr_chain *chain, repr_reader *in, unsigned levels, repr_matrix *w) {
    pith_status status = check_shape(ctx, w);
    return status ? status : chain_decode(ctx, chain, 0, in, levels, NULL, w);
}

pith_status repr_decode_parts(pith_ctx *ctx, const repr_chain *chain, repr_reader *in, repr_parts *parts,
                              repr_matrix *w) {
    pith_status status = check_shape(ctx, w);
    return status ? status : chain_decode(ctx, chain, 0, in, 0, parts, w);
}

pith_status repr_level_bytes(pith_ctx *ctx, const repr_chain *chain, repr_reader in, uint64_t *bytes) {
    repr_reader *sides = pith_alloc(ctx, (chain->n_transforms + 1) * sizeof *sides);
    if (!sides) return pith_alloc_status(ctx);
    pith_status status = take_sides(ctx, chain, &in, NULL, sides);
    pith_free(ctx, sides);
    for (unsigned i = 0; i < repr_levels(chain) && !status; i++) {
        const uint8_t *start = in.p;
        uint64_t n;
        if (!repr_take_number(&in, SIZE_MAX, &n) || !repr_take(&in, (size_t)n))
            status = repr_cut_off(ctx);
        else
            bytes[i] += (uint64_t)(in.p - start);
    }
    return status;
}

void repr_parts_add(repr_parts *parts, const char *stage, repr_part_kind kind, uint64_t bytes) {
    if (!parts || !bytes) return;
    size_t i = 0;
    while (i < parts->n && (parts->list[i].kind != kind || strcmp(parts->list[i].stage, stage) != 0)) i++;
    if (i == REPR_MAX_PARTS) i--;
    if (i == parts->n) {
        parts->list[i].stage = stage;
        parts->list[i].kind = kind;
        parts->list[i].bytes = 0;
        parts->n++;
    }
    parts->list[i].bytes += bytes;
}

/* ---- for coders ------------------------------------------------------------------------------------------- */

pith_status repr_pack(const repr_job *job, const repr_plane *plane, pith_buffer *out) {
    const chain_link *packer = &job->chain->packer;
    repr_job inner = job_of(job->ctx, job->chain, packer, job->seed, job->stats);
    return packer->ops->pack(&inner, plane, out);
}

pith_status repr_unpack(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row, uint32_t alphabet) {
    const chain_link *packer = &job->chain->packer;
    repr_job inner = job_of(job->ctx, job->chain, packer, job->seed, NULL);
    const uint8_t *start = in->p;
    pith_status status = packer->ops->unpack(&inner, in, codes, n, row, alphabet);
    if (!status) repr_parts_add(job->parts, job->args->stage->name, REPR_PART_CODES, (uint64_t)(in->p - start));
    return status;
}
