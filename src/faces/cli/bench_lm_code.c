/* pith bench llmzip: text coded with a language model's probabilities, as ranks of the tokens and by arithmetic
 * coding (C. S. K. Valmeekam et al., LLMZip: lossless text compression using large language models, 2023). */
#include <math.h>
#include <string.h>

#include "faces/cli/bench_predict.h"
#include "lm/coding/coding.h"

static const char llmzip_help[] =
    "Usage: pith bench llmzip [OPTIONS] [FILE]\n\n"
    "Codes the start of a text with a language model: the sum of -log2 p, the arithmetic code, whole bits for each\n"
    "token, the ranks of the tokens compressed by zstd and lzma, for several windows; then decodes.\n\n"
    "      --bytes=N       of the text (default 16384; FILE: tests/data/alice29.txt)\n"
    "      --model=FILE    the language model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench llmzip\n"
    "  pith bench llmzip --model=stories15M.gguf --bytes=65536 story.txt\n";

typedef struct llmzip {
    uint64_t bytes;
    coder_choice lm;
} llmzip;

typedef struct ranks {
    pith_ctx *ctx;
    pith_buffer text; /* "12 0 0 3 ..." as LLMZip writes them */
    double whole_bits;
    pith_status status;
} ranks;

static void note_item(void *opaque, const lm_item *item) {
    ranks *r = opaque;
    char number[16];
    int n = item->token == TOKEN_NONE ? snprintf(number, sizeof number, "e%zu ", item->n)
                                      : snprintf(number, sizeof number, "%u ", item->rank);
    r->whole_bits += ceil(item->bits);
    if (!r->status && n > 0) r->status = pith_buffer_append(r->ctx, &r->text, number, (size_t)n);
}

typedef struct coded {
    lm_code_length length;
    double code, whole, zstd, lzma; /* bytes */
    bool same;
} coded;

static pith_status classic_bytes(experiment *e, codelen_kind kind, const pith_buffer *text, double *bytes) {
    codelen_options o = {.kind = kind};
    distance_text t = {text->data, text->size};
    pith_status status = distance_lengths(e->ctx, &o, NULL, 1, &t, 1, bytes);
    *bytes /= 8;
    return status;
}

static pith_status code(experiment *e, const lm_model *m, uint32_t window, const pith_buffer *text, bool back,
                        coded *c) {
    lm_coder_options o = {.window = window};
    lm_coder *coder;
    ranks r = {.ctx = e->ctx};
    size_t cap = text->size + text->size / 2 + 1024, size = 0;
    uint8_t *dst = malloc(2 * cap);
    if (!dst) return pith_fail(e->ctx, PITH_E_MEMORY, "no memory for the code");
    pith_status status = lm_coder_new(e->ctx, m, &o, &coder);
    if (!status) status = lm_coder_length(coder, NULL, 0, text->data, text->size, note_item, &r, &c->length);
    if (!status) status = r.status;
    if (!status) status = lm_coder_encode(coder, text->data, text->size, dst, cap, &size);
    if (!status && size > cap) status = pith_fail(e->ctx, PITH_E_SPACE, "the code is longer than the text by half");
    if (!status && back) {
        status = lm_coder_decode(coder, dst, size, dst + cap, text->size);
        c->same = !status && memcmp(dst + cap, text->data, text->size) == 0;
    }
    c->code = (double)size;
    c->whole = r.whole_bits / 8;
    if (!status) status = classic_bytes(e, CODELEN_ZSTD, &r.text, &c->zstd);
    if (!status) status = classic_bytes(e, CODELEN_LZMA, &r.text, &c->lzma);
    lm_coder_free(coder);
    pith_buffer_free(e->ctx, &r.text);
    free(dst);
    return status;
}

static int measure(experiment *e, const llmzip *z, const pith_buffer *text) {
    const uint32_t window[] = {31, 127, 511};
    coded c[PITH_COUNT(window)] = {{{0}, 0, 0, 0, 0, false}};
    char title[160], name[80], label[120];
    double bytes = (double)text->size, classic;
    snprintf(title, sizeof title, "%zu bytes by %s; bytes, and bits per byte of the arithmetic code", text->size,
             coder_label(&z->lm, label, sizeof label));
    exp_table(e, title, "window|sum -log2 p.1|code.0|whole bits.0|ranks zstd.0|ranks lzma.0|bits/byte.4");
    for (size_t i = 0; i < PITH_COUNT(window); i++) {
        bool widest = i + 1 == PITH_COUNT(window);
        snprintf(name, sizeof name, "%u tokens", window[i]);
        exp_step(e, name);
        if (code(e, z->lm.opened, window[i], text, widest, &c[i])) return exp_failed(e);
        EXP_ROW(e, name, c[i].length.bits / 8, c[i].code, c[i].whole, c[i].zstd, c[i].lzma, 8 * c[i].code / bytes);
    }
    const coded *w = &c[PITH_COUNT(window) - 1];
    if (classic_bytes(e, CODELEN_LZMA, text, &classic)) return exp_failed(e);
    exp_note(e, "lzma alone needs %.0f bytes; %zu tokens, %zu escaped bytes; the model itself is not counted", classic,
             w->length.n_tokens, w->length.n_escapes);
    double off = 8 * w->code / w->length.bits - 1, rank = PITH_MIN(w->zstd, w->lzma) / w->code - 1;
    exp_claim(
        e, off <= 0.001 || w->code - w->length.bits / 8 <= 4,
        "the code is at most 0.1 %% (or the 4 bytes that end it) above the sum: %+.3f %% (below it because the coder "
        "takes no binary decision for less likely than 2^-16)",
        100 * off);
    exp_claim(e, rank >= 0.10 && rank <= 0.25, "ranks take 10-25 %% more: %+.1f %% by the better of zstd -19 and lzma",
              100 * rank);
    exp_claim(e, w->code < c[0].code, "a window of 511 beats 31: %.0f against %.0f bytes", w->code, c[0].code);
    exp_claim(e, w->same, "what was decoded is the text");
    return CLI_OK;
}

static int llmzip_run(experiment *e, void *own) {
    llmzip *z = own;
    pith_buffer text = {0};
    z->lm.coder = "lm";
    int result = coder_open(e->ctx, &e->o, "llmzip", &z->lm);
    if (result == CLI_OK)
        result = exp_read(e, e->o.n_names ? e->o.names[0] : NULL, "tests/data/alice29.txt", (size_t)z->bytes, &text);
    if (result == CLI_OK) result = measure(e, z, &text);
    pith_buffer_free(e->ctx, &text);
    coder_close(e->ctx, &z->lm);
    return result;
}

int bench_llmzip(int argc, char **argv) {
    llmzip z = {.bytes = 16384};
    const lm_option extra[] = {{"bytes", 0, LM_NUMBER, &z.bytes, 64, 1 << 28},
                               {"model", 0, LM_TEXT, &z.lm.model, 0, 0}};
    return exp_main(argc, argv, llmzip_help, extra, PITH_COUNT(extra), 1, llmzip_run, &z);
}
