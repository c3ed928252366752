/* The context mixer as a block codec. Payload: primer id (1 byte), record width (varint), code.
 * Arguments: inputs (0: 12, 1: 40), prime (0 none, 1 short, 2 full), width of the online
 * state-space model. Primer and record width are found per block. */
#include "artefacts/file/codec.h"
#include "artefacts/file/detect.h"
#include "artefacts/file/primer.h"
#include "kernels/predict/predict.h"

enum { ARG_INPUTS, ARG_PRIME, ARG_SSM, N_ARGS };
#define MAX_SSM 256
#define TEXT 950 /* permille of bytes that make a block text */
#define MAX_RECORD DETECT_DISTANCE_MAX

static cm_params params_of(const file_args *args, primer_id primer, unsigned record) {
    cm_params p = {.inputs = args->v[ARG_INPUTS] ? CM_LARGE : CM_SMALL, .ssm_width = args->v[ARG_SSM], .record = record};
    p.primer = primer_text(primer, &p.primer_n);
    return p;
}

static pith_status cm_check(pith_ctx *ctx, const file_args *args) {
    if (args->n != N_ARGS || args->v[ARG_INPUTS] > 1 || args->v[ARG_PRIME] > 2 || args->v[ARG_SSM] > MAX_SSM ||
        args->v[ARG_SSM] % 16 != 0 || (args->v[ARG_SSM] && !args->v[ARG_INPUTS]))
        return pith_fail(ctx, PITH_E_FORMAT, "bad arguments for context mixing: inputs 12 or 40, a state-space model "
                                             "only with 40 and of a width that is a multiple of 16 up to %d", MAX_SSM);
    return PITH_OK;
}

static pith_status cm_block_encode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                                   size_t cap, size_t *out_n) {
    *out_n = SIZE_MAX;
    primer_id primer = PRIMER_NONE;
    pith_status status = PITH_OK;
    primer_effort effort = args->v[ARG_PRIME] > 1 ? PRIMER_WHOLE : args->v[ARG_INPUTS] ? PRIMER_BRIEF : PRIMER_QUICK;
    if (args->v[ARG_PRIME]) status = primer_choose(ctx, src, n, effort, &primer);
    if (status) return status;
    /* in text the contexts of fields and columns know more than a fixed distance */
    detect_result seen;
    detect_block(src, n, &seen);
    unsigned record = seen.text_permille > TEXT ? 0 : detect_distance(src, n);
    uint8_t head[1 + PITH_VARINT_MAX] = {(uint8_t)primer};
    size_t head_n = 1 + pith_varint_put(head + 1, record);
    if (cap < head_n) return PITH_OK;
    memcpy(dst, head, head_n);
    cm_params p = params_of(args, primer, record);
    size_t code_n;
    status = cm_encode(ctx, &p, src, n, dst + head_n, cap - head_n, &code_n);
    if (!status && code_n != SIZE_MAX) *out_n = head_n + code_n;
    return status;
}

/* The longest text that these arguments stand for. */
static primer_id longest(const file_args *args) {
    static const primer_id most[] = {PRIMER_NONE, PRIMER_PROSE_SHORT, PRIMER_PROSE};
    return most[PITH_MIN(args->v[ARG_PRIME], 2u)];
}

static bool allowed(const file_args *args, primer_id primer) {
    size_t n, most;
    primer_text(primer, &n);
    primer_text(longest(args), &most);
    return n <= most;
}

static pith_status cm_block_decode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                                   size_t raw_n) {
    uint64_t record = 0;
    size_t used = n > 1 ? pith_varint_get(src + 1, n - 1, &record) : 0;
    if (!used || record > MAX_RECORD || src[0] >= PRIMER_COUNT)
        return pith_fail(ctx, PITH_E_FORMAT, "bad head of a context-mixing block");
    if (record == 1) return pith_fail(ctx, PITH_E_FORMAT, "a context-mixing block has records of one byte");
    if (!allowed(args, (primer_id)src[0]))
        return pith_fail(ctx, PITH_E_FORMAT, "a context-mixing block has a longer built-in text than its arguments allow");
    cm_params p = params_of(args, (primer_id)src[0], (unsigned)record);
    return cm_decode(ctx, &p, src + 1 + used, n - 1 - used, dst, raw_n);
}

static uint64_t cm_block_memory(const file_args *args, size_t raw_n, bool decoding) {
    cm_params p = params_of(args, longest(args), 0);
    (void)decoding; /* both sides build the same model; the choice of a primer needs less and comes before */
    return cm_memory(&p, raw_n);
}

static uint32_t cm_cost(const file_args *args) {
    return args->v[ARG_SSM] ? 60000 : args->v[ARG_INPUTS] ? 4000 : 1000; /* measured */
}

static uint64_t cm_start_ns(const file_args *args) {
    size_t n;
    primer_text(longest(args), &n);
    file_args alone = *args;
    alone.v[ARG_SSM] = 0; /* it hears only the end of the text */
    /* most of the text is learnt without mixing */
    return (uint64_t)n * cm_cost(&alone) * 2 / 3 + (args->v[ARG_SSM] ? PITH_MIN(n, CM_SSM_PRIMER) * (uint64_t)cm_cost(args) : 0);
}

static bool cm_floats(const file_args *args) { return args->v[ARG_SSM] != 0; }

const file_codec file_codec_cm = {
    .id = 5,
    .name = "cm",
    .encode = cm_block_encode,
    .decode = cm_block_decode,
    .check = cm_check,
    .floats = cm_floats,
    .memory = cm_block_memory,
    .cost = cm_cost,
    .start_ns = cm_start_ns,
};
