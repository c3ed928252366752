/* Coders made of chains:
 *   sum(a, b)     b codes what a left over; the matrix is the sum of both
 *   stack(n, a)   a, n times over, each time what is left; each level with its length, so that a prefix decodes
 * Sums are made in the order of coding, one addition per element and level. */
#include "kernels/represent/chain.h"

const repr_chain *chain_branch(const repr_job *job, unsigned param) {
    const repr_chain *c = job->chain;
    if (!c) return NULL;
    if (c->coder.args == job->args) return c->coder.branch[param];
    for (unsigned i = 0; i < c->n_transforms; i++)
        if (c->transforms[i].args == job->args) return c->transforms[i].branch[param];
    return NULL;
}

bool repr_branch_job(const repr_job *job, unsigned param, repr_job *inner, bool *simple) {
    const repr_chain *c = chain_branch(job, param);
    if (!c) return false;
    *inner = *job;
    inner->chain = c;
    inner->args = c->coder.args;
    inner->seed = chain_seed(chain_seed(job->seed, param), c->n_transforms);
    inner->levels = 0;
    if (simple) *simple = c->n_transforms == 0 && !c->coder.ops->is_branch;
    return true;
}

static pith_status not_given(const repr_job *job, unsigned param) {
    return pith_fail(job->ctx, PITH_E_ARGUMENT, "%s needs its argument %s", job->args->stage->name,
                     job->args->stage->params[param].name);
}

pith_status repr_branch_encode(const repr_job *job, unsigned param, const repr_matrix *w, pith_buffer *out,
                               float *restored) {
    const repr_chain *c = chain_branch(job, param);
    if (!c) return not_given(job, param);
    return chain_encode(job->ctx, c, chain_seed(job->seed, param), w, job->stats, out, restored);
}

pith_status repr_branch_decode(const repr_job *job, unsigned param, repr_reader *in, repr_matrix *w) {
    const repr_chain *c = chain_branch(job, param);
    if (!c) return not_given(job, param);
    return chain_decode(job->ctx, c, chain_seed(job->seed, param), in, 0, job->parts, w);
}

/* ---- parts that add up ------------------------------------------------------------------------------- */

static void add(float *sum, const float *part, size_t n) {
    for (size_t i = 0; i < n; i++) sum[i] += part[i];
}

/* One part: codes what is missing to w in `sum` and adds what that gives. `left` and `part` are scratch. */
static pith_status encode_part(const repr_job *job, const repr_chain *chain, uint64_t seed, const repr_matrix *w,
                               bool first, float *left, float *part, pith_buffer *out, float *sum) {
    size_t n = w->rows * w->cols;
    if (first) return chain_encode(job->ctx, chain, seed, w, job->stats, out, sum);
    for (size_t i = 0; i < n; i++) left[i] = w->data[i] - sum[i];
    repr_matrix residual = {.data = left, .rows = w->rows, .cols = w->cols};
    pith_status status = chain_encode_over(job->ctx, chain, seed, &residual, job->stats, out, part);
    if (!status) add(sum, part, n);
    return status;
}

static pith_status decode_part(const repr_job *job, const repr_chain *chain, uint64_t seed, bool first, float *part,
                               repr_reader *in, repr_matrix *w) {
    repr_matrix one = {.data = first ? w->data : part, .rows = w->rows, .cols = w->cols};
    pith_status status = chain_decode(job->ctx, chain, seed, in, 0, job->parts, &one);
    if (!status && !first) add(w->data, part, w->rows * w->cols);
    return status;
}

enum { SUM_A, SUM_B, SUM_PARAMS };
enum { STACK_N, STACK_CHAIN, STACK_PARAMS };

static pith_status sum_encode(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored) {
    size_t n = w->rows * w->cols;
    float *left = pith_alloc(job->ctx, n * sizeof *left), *part = left ? pith_alloc(job->ctx, n * sizeof *part) : NULL;
    pith_status status = part ? PITH_OK : pith_alloc_status(job->ctx);
    for (unsigned i = SUM_A; i <= SUM_B && !status; i++)
        status = encode_part(job, chain_branch(job, i), chain_seed(job->seed, i), w, i == SUM_A, left, part, out, restored);
    pith_free(job->ctx, part);
    pith_free(job->ctx, left);
    return status;
}

static pith_status sum_decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    float *part = pith_alloc(job->ctx, w->rows * w->cols * sizeof *part);
    pith_status status = part ? PITH_OK : pith_alloc_status(job->ctx);
    for (unsigned i = SUM_A; i <= SUM_B && !status; i++)
        status = decode_part(job, chain_branch(job, i), chain_seed(job->seed, i), i == SUM_A, part, in, w);
    pith_free(job->ctx, part);
    return status;
}

static pith_status stack_encode(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored) {
    size_t n = w->rows * w->cols;
    unsigned levels = (unsigned)job->args->value[STACK_N];
    const repr_chain *chain = chain_branch(job, STACK_CHAIN);
    float *left = pith_alloc(job->ctx, n * sizeof *left), *part = left ? pith_alloc(job->ctx, n * sizeof *part) : NULL;
    pith_status status = part ? PITH_OK : pith_alloc_status(job->ctx);
    for (unsigned i = 0; i < levels && !status; i++) {
        pith_buffer level = {0};
        status = encode_part(job, chain, chain_seed(job->seed, STACK_PARAMS + i), w, i == 0, left, part, &level, restored);
        if (!status) status = repr_put_number(job->ctx, out, level.size);
        if (!status) status = pith_buffer_append(job->ctx, out, level.data, level.size);
        pith_buffer_free(job->ctx, &level);
    }
    pith_free(job->ctx, part);
    pith_free(job->ctx, left);
    return status;
}

/* Passes over a level that is not wanted; it may be cut off. */
static void skip_level(repr_reader *in) {
    uint64_t size;
    if (!repr_take_number(in, UINT64_MAX, &size) || size > (uint64_t)(in->end - in->p))
        in->p = in->end;
    else
        in->p += size;
}

static pith_status decode_level(const repr_job *job, unsigned i, float *part, repr_reader *in, repr_matrix *w) {
    uint64_t size;
    if (!repr_take_number(in, SIZE_MAX, &size) || size > (uint64_t)(in->end - in->p)) return repr_cut_off(job->ctx);
    repr_reader level = {.p = in->p, .end = in->p + size};
    in->p += size;
    uint64_t seed = chain_seed(job->seed, STACK_PARAMS + i);
    pith_status status = decode_part(job, chain_branch(job, STACK_CHAIN), seed, i == 0, part, &level, w);
    if (!status && level.p != level.end)
        status = pith_fail(job->ctx, PITH_E_FORMAT, "level %u of a stack has %llu bytes more than it needs", i,
                           (unsigned long long)(level.end - level.p));
    return status;
}

static pith_status stack_decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    unsigned levels = (unsigned)job->args->value[STACK_N];
    float *part = pith_alloc(job->ctx, w->rows * w->cols * sizeof *part);
    pith_status status = part ? PITH_OK : pith_alloc_status(job->ctx);
    for (unsigned i = 0; i < levels && !status; i++) {
        if (job->levels && i >= job->levels)
            skip_level(in);
        else
            status = decode_level(job, i, part, in, w);
    }
    pith_free(job->ctx, part);
    return status;
}

unsigned repr_levels(const repr_chain *chain) {
    return strcmp(chain->coder.args->stage->name, "stack") == 0 ? (unsigned)chain->coder.args->value[STACK_N] : 0;
}

static const repr_ops sum_ops = {
    .kind = REPR_CODER, .encode = sum_encode, .decode = sum_decode, .is_branch = true};
static const repr_ops stack_ops = {
    .kind = REPR_CODER, .encode = stack_encode, .decode = stack_decode, .is_branch = true};

static const pith_param sum_params[SUM_PARAMS] = {
    {.name = "a", .type = PITH_P_RECIPE, .def = PITH_REQUIRED, .doc = "codes the matrix"},
    {.name = "b", .type = PITH_P_RECIPE, .def = PITH_REQUIRED, .doc = "codes what a left over"},
};

static const pith_param stack_params[STACK_PARAMS] = {
    {.name = "levels", .type = PITH_P_INT, .min = 1, .max = 64, .def = 16, .unit = "levels", .doc = "how many times"},
    {.name = "of", .type = PITH_P_RECIPE, .def = PITH_REQUIRED, .doc = "codes what the levels before left over"},
};

const pith_stage represent_branches[] = {
    {.name = "sum",
     .artefact = "model",
     .role = "coder",
     .impl = &sum_ops,
     .summary = "the sum of two chains: the second codes what the first left over",
     .params = sum_params,
     .n_params = PITH_COUNT(sum_params)},
    {.name = "stack",
     .artefact = "model",
     .role = "coder",
     .impl = &stack_ops,
     .summary = "a chain over and over, each time what is left; a prefix of the bytes is a coarser matrix",
     .source = "X. Wang et al., BitStack: Any-Size Compression of Large Language Models in Variable Memory Environments, "
               "2024",
     .params = stack_params,
     .n_params = PITH_COUNT(stack_params)},
    {.name = "bands",
     .artefact = "model",
     .role = "coder",
     .impl = &bands_ops,
     .summary = "rows that count most by one chain, all others by another",
     .source = "A. Ginart et al., Mixed Dimension Embeddings with Application to Memory-Efficient Recommendation "
               "Systems, 2019",
     .params = bands_params,
     .n_params = BANDS_PARAMS},
    {.name = NULL},
};
