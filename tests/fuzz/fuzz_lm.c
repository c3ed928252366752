/* Bytes as what is coded under a language model, and as texts that must come back.
 *
 * byte 0 modulo 5: 0 a stream of symbols under changing distributions, 1 the same both ways, 2 a
 * block under a tiny model, 3 a text both ways, 4 arguments of a block. Byte 1: alphabet, or model and
 * window. The models are made here: one with a cache, one with a state. */
#include "artefacts/file/codec.h"
#include "kernels/predict/predict.h"
#include "lm/coding/coding.h"
#include "support/tiny_words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAW_MAX 300
#define MEMORY_MAX ((uint64_t)1 << 26)

static void must(bool what) {
    if (!what) abort();
}

/* ---- symbols ------------------------------------------------------------------------------------ */

#define ALPHABET_MAX 300

/* Floats from anywhere: most are probabilities, some are no numbers at all. */
static void distribution(float *p, size_t n, const uint8_t *data, size_t size, size_t at) {
    for (size_t i = 0; i < n; i++) {
        uint8_t b = data[(at + i) % size];
        p[i] = b == 255   ? NAN
               : b == 254 ? INFINITY
               : b == 253 ? -1.0f
               : b > 240  ? 3e38f
                          : (float)b * (float)b / (65536.0f * (float)(1 + i % 7));
    }
}

static void symbols(pith_ctx *ctx, const uint8_t *data, size_t size, bool both_ways) {
    size_t n = 1 + (size_t)data[0] * ALPHABET_MAX / 256, count = PITH_MIN(size, 64);
    float p[ALPHABET_MAX];
    uint8_t code[1024];
    pmf_coder *c;
    must(pmf_coder_new(ctx, n, &c) == PITH_OK);
    size_t coded_n = size;
    if (both_ways) {
        pmf_coder_encode(c, code, sizeof code);
        for (size_t i = 0; i < count; i++) {
            distribution(p, n, data, size, i);
            pmf_coder_set(c, p);
            pmf_coder_put(c, (uint32_t)(data[i] * 7u % n));
            pmf_coder_put_bit(c, 1 + data[i] * 257u % 65535u, data[i] & 1);
        }
        coded_n = pmf_coder_finish(c);
        must(coded_n <= sizeof code || coded_n == SIZE_MAX);
    }
    if (coded_n != SIZE_MAX) {
        pmf_coder_decode(c, both_ways ? code : data, coded_n);
        for (size_t i = 0; i < count; i++) {
            distribution(p, n, data, size, i);
            pmf_coder_set(c, p);
            uint32_t symbol = pmf_coder_get(c);
            unsigned bit = pmf_coder_get_bit(c, 1 + data[i] * 257u % 65535u);
            must(symbol < n && bit < 2);
            if (both_ways) must(symbol == data[i] * 7u % n && bit == (data[i] & 1u));
        }
        if (both_ways) must(pmf_coder_end(c));
    }
    pmf_coder_free(ctx, c);
}

/* ---- texts -------------------------------------------------------------------------------------- */

/* Opened once, kept to the end. */
static const lm_model *tiny(unsigned which) {
    static const lm_model *models[2];
    if (models[which]) return models[which];
    static pith_ctx *ctx;
    static tiny_file t[2];
    if (!ctx) ctx = pith_ctx_new(NULL);
    tensor_file *f;
    lm_model *m;
    must(ctx && tiny_build(ctx, &t[which], &tiny_variants[which ? 8 : 0], tiny_words) == PITH_OK);
    must(tensor_file_open_memory(ctx, t[which].out.data, t[which].out.size, &f) == PITH_OK);
    must(lm_open_file(ctx, f, &m) == PITH_OK);
    return models[which] = m;
}

static void text(pith_ctx *ctx, const uint8_t *data, size_t size, bool both_ways) {
    const lm_model *m = tiny(data[0] & 1);
    const lm_coder_options options = {.window = data[0] >> 1, .n_threads = 1};
    uint8_t code[2 * RAW_MAX + 64], back[RAW_MAX];
    size_t raw_n = both_ways ? PITH_MIN(size - 1, RAW_MAX) : PITH_MIN(data[size / 2] * 2u, RAW_MAX), coded_n;
    lm_coder *c;
    must(lm_coder_new(ctx, m, &options, &c) == PITH_OK);
    if (both_ways) {
        must(lm_coder_encode(c, data + 1, raw_n, code, sizeof code, &coded_n) == PITH_OK);
        if (coded_n != SIZE_MAX) {
            must(lm_coder_decode(c, code, coded_n, back, raw_n) == PITH_OK);
            must(memcmp(back, data + 1, raw_n) == 0);
        }
    } else {
        pith_status status = lm_coder_decode(c, data + 1, size - 1, back, raw_n);
        must(status == PITH_OK || (status == PITH_E_FORMAT && pith_error(ctx)[0]));
    }
    must(pith_memory_peak(ctx) <= lm_coder_memory(m, data[0] >> 1) + LM_CODER_TEXT_BYTES * RAW_MAX);
    lm_coder_free(c);
}

/* ---- arguments ---------------------------------------------------------------------------------- */

static void arguments(pith_ctx *ctx, const uint8_t *data, size_t size) {
    file_args args = {.n = data[0] % (FILE_MAX_ARGS + 1)};
    for (unsigned i = 0; i < args.n; i++)
        if (4 * (size_t)i + 5 <= size) args.v[i] = load32(data + 1 + 4 * i);
    if (file_codec_lm.check(ctx, &args)) {
        must(pith_error(ctx)[0] != 0);
        return;
    }
    must((args.n == 7 || (args.n == 8 && args.v[7])) && args.v[0] && args.v[1]);
    /* never less than the arguments say, for any length of a block */
    for (size_t raw_n = 1; raw_n <= (size_t)1 << 26; raw_n *= 8)
        must(file_codec_lm.memory(&args, raw_n, true) >= (uint64_t)args.v[1] << 20 && file_codec_lm.cost(&args) == args.v[2]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    pith_ctx *ctx = pith_ctx_new(NULL);
    must(ctx != NULL);
    pith_ctx_set_threads(ctx, 1);
    pith_ctx_set_memory(ctx, MEMORY_MAX);
    unsigned mode = data[0] % 5;
    if (mode < 2)
        symbols(ctx, data + 1, size - 1, mode);
    else if (mode < 4)
        text(ctx, data + 1, size - 1, mode == 3);
    else
        arguments(ctx, data + 1, size - 1);
    must(pith_memory_used(ctx) == 0);
    pith_ctx_free(ctx);
    return 0;
}
