/* A language model as a block codec: tokens of the block coded with the model's probabilities.
 * Payload: the code of lm/coding. Arguments: window in tokens; what decoding takes, in MiB and in
 * nanoseconds a byte; the model's hash in four numbers; the rules of its products (lm_rules) where they are not 0. The
 * recipe gives the window alone; the rest comes from the model of the session (codec->complete). */
#include "artefacts/file/codec.h"
#include "artefacts/file/models.h"

enum { ARG_WINDOW, ARG_MIB, ARG_NS, ARG_HASH, ARG_RULES = ARG_HASH + MODEL_HASH_WORDS, N_ARGS };

#define MIB ((uint64_t)1 << 20)
#define THREADS_MAX 32 /* attention has scores for each; lm_coder_memory foresees so many */
/* Measured: a token is about 3.5 bytes and takes about 1 ns per 25 parameters and 60 us at least, on
 * one thread; generous, because archives are refused by it. */
#define NS_BASE 20000
#define PARAMETERS_PER_NS 64

static pith_status needs(pith_ctx *ctx, const lm_model *model, uint32_t window, file_args *args) {
    const lm_shape *shape = lm_about(model);
    args->v[ARG_WINDOW] = PITH_MIN(window ? window : shape->n_ctx_train, shape->n_ctx_train);
    uint64_t ns = NS_BASE + shape->n_parameters / PARAMETERS_PER_NS;
    uint64_t mib = lm_coder_memory(model, args->v[ARG_WINDOW]) / MIB + 1;
    if (ns > UINT32_MAX || mib > UINT32_MAX) return pith_fail(ctx, PITH_E_LIMIT, "the model is too large for a file codec");
    args->v[ARG_MIB] = (uint32_t)mib;
    args->v[ARG_NS] = (uint32_t)ns;
    return PITH_OK;
}

static pith_status complete(pith_ctx *ctx, file_args *args) {
    file_model m;
    pith_status status = models_newest(ctx, &m);
    if (status) return status;
    memcpy(&args->v[ARG_HASH], m.hash, sizeof m.hash);
    args->v[ARG_RULES] = lm_rules(m.model);
    args->n = args->v[ARG_RULES] ? N_ARGS : ARG_RULES;
    return needs(ctx, m.model, args->v[ARG_WINDOW], args);
}

static pith_status check(pith_ctx *ctx, const file_args *args) {
    bool whole = args->n == ARG_RULES || (args->n == N_ARGS && args->v[ARG_RULES]);
    if (!whole || args->v[ARG_WINDOW] < 1 || args->v[ARG_MIB] < 1 || args->v[ARG_NS] < NS_BASE)
        return pith_fail(ctx, PITH_E_FORMAT, "bad arguments for a language-model block");
    return PITH_OK;
}

/* The coder of a block; the model must need what the arguments say, or they could understate it. */
static pith_status coder_of(pith_ctx *ctx, const file_args *args, lm_coder **out) {
    file_model m;
    file_args real = {0};
    uint32_t rules = args->n > ARG_RULES ? args->v[ARG_RULES] : 0;
    pith_status status = models_find(ctx, &args->v[ARG_HASH], &m);
    if (!status && rules != lm_rules(m.model))
        return pith_fail(ctx, PITH_E_UNSUPPORTED,
                         "a language-model block was coded by rules %u of its model's products, pith %s has %u", rules,
                         pith_version(), lm_rules(m.model));
    if (!status) status = needs(ctx, m.model, args->v[ARG_WINDOW], &real);
    /* an archive made with other estimates is fine, one that claims far too little is not */
    if (!status && (args->v[ARG_WINDOW] != real.v[ARG_WINDOW] || args->v[ARG_MIB] < real.v[ARG_MIB] / 2 ||
                    args->v[ARG_NS] < real.v[ARG_NS] / 2))
        status = pith_fail(ctx, PITH_E_FORMAT, "a language-model block does not say what its model takes");
    if (status) return status;
    const lm_coder_options options = {.window = args->v[ARG_WINDOW],
                                      .n_threads = PITH_MIN(pith_threads_free(ctx), THREADS_MAX)};
    return lm_coder_new(ctx, m.model, &options, out);
}

static pith_status encode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst, size_t cap,
                          size_t *out_n) {
    lm_coder *coder;
    *out_n = SIZE_MAX;
    pith_status status = coder_of(ctx, args, &coder);
    if (status) return status;
    status = lm_coder_encode(coder, src, n, dst, cap, out_n);
    lm_coder_free(coder);
    return status;
}

static pith_status decode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                          size_t raw_n) {
    lm_coder *coder;
    pith_status status = coder_of(ctx, args, &coder);
    if (status) return status;
    status = lm_coder_decode(coder, src, n, dst, raw_n);
    lm_coder_free(coder);
    return status;
}

/* The items of a block beside the model's own memory. */
static uint64_t memory(const file_args *args, size_t raw_n, bool decoding) {
    (void)decoding;
    return args->v[ARG_MIB] * MIB + LM_CODER_TEXT_BYTES * (uint64_t)raw_n;
}

static uint32_t cost(const file_args *args) { return args->v[ARG_NS]; }

static bool floats(const file_args *args) {
    (void)args;
    return true;
}

const file_codec file_codec_lm = {
    .id = 6,
    .name = "lm",
    .encode = encode,
    .decode = decode,
    .check = check,
    .complete = complete,
    .floats = floats,
    .block_size = (size_t)64 << 10, /* slow enough that several threads are worth a start without context */
    .memory = memory,
    .cost = cost,
};
