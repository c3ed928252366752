/* pith bench equal-info: tokens from arithmetic code cut into windows of equal information (B. Lester et al., Training
 * LLMs over neurally compressed text, 2024): how much text a token holds, and what a learner makes of them. */
#include <math.h>
#include <string.h>

#include "faces/cli/bench_predict.h"
#include "kernels/predict/predict.h"

static const char equal_info_help[] =
    "Usage: pith bench equal-info [OPTIONS] [FILE]\n\n"
    "Cuts the arithmetic code of a text into windows of 16, 32 and 64 bits, model and coder starting anew in\n"
    "each, and restores it. Bytes of text for each token of 16 bits, beside merged byte pairs. Then two\n"
    "learners that know nothing (the online state-space model, context mixing) read each stream: what do\n"
    "the tokens of the last quarter cost in bits for each byte of text?\n\n"
    "      --primer=FILE   what the window model and the pairs learn from (default tests/data/lcet10.txt)\n"
    "      --bytes=N       of the text (default 65536; FILE: tests/data/alice29.txt)\n"
    "      --merges=N      of byte pairs (default 3840, a vocabulary of 4096)\n" EXP_HELP "\nExamples:\n"
    "  pith bench equal-info\n"
    "  pith bench equal-info --primer=train.txt --bytes=1000000 book.txt\n";

typedef struct equal_info_bench {
    const char *primer;
    uint64_t bytes, merges;
} equal_info_bench;

typedef struct stream {
    char name[60];
    pith_buffer bytes; /* two for each token, or one of the text itself */
    size_t n_tokens;
    double learnt[2], per_byte[2]; /* bits for each text byte; bits for each byte of the stream */
} stream;

#define STREAMS 7
enum { BYTES, WINDOW_16, WINDOW_32, WINDOW_64, PAIRS, MINI, WHOLE };

static pith_status windows(experiment *e, stream *s, unsigned bits, const pith_buffer *primer, const pith_buffer *text,
                           bool *same) {
    equal_info *windows;
    pith_buffer back = {0};
    pith_status status = equal_info_new(e->ctx, bits, primer->data, primer->size, &windows);
    if (status) return status;
    snprintf(s->name, sizeof s->name, "equal-info, %u bits", bits);
    exp_step(e, s->name);
    status = equal_info_encode(windows, text->data, text->size, &s->bytes);
    if (!status) status = equal_info_decode(windows, s->bytes.data, s->bytes.size, text->size, &back);
    *same = *same && !status && back.size == text->size && memcmp(back.data, text->data, text->size) == 0;
    s->n_tokens = s->bytes.size / 2;
    pith_buffer_free(e->ctx, &back);
    equal_info_free(windows);
    return status;
}

static pith_status id_bytes(experiment *e, stream *s, const token_list *ids) {
    pith_status status = PITH_OK;
    for (size_t i = 0; i < ids->n && !status; i++) {
        const uint8_t two[2] = {(uint8_t)(ids->id[i] >> 8), (uint8_t)ids->id[i]};
        status = pith_buffer_append(e->ctx, &s->bytes, two, 2);
    }
    s->n_tokens = ids->n;
    return status;
}

static pith_status pairs(experiment *e, stream *s, size_t merges, const pith_buffer *primer, const pith_buffer *text) {
    token_list ids = {0};
    uint32_t n_vocab;
    exp_step(e, "byte pairs");
    pith_status status =
        pairs_encode(e->ctx, primer->data, primer->size, merges, text->data, text->size, &ids, &n_vocab);
    if (!status) status = id_bytes(e, s, &ids);
    snprintf(s->name, sizeof s->name, "byte pairs, %u tokens", n_vocab);
    token_list_free(e->ctx, &ids);
    return status;
}

static pith_status mini(experiment *e, stream *s, const pith_buffer *text) {
    token_list ids = {0};
    lm_model *m;
    pith_status status = lm_open(e->ctx, NULL, &m);
    if (status) return status;
    status = tokenizer_encode(e->ctx, lm_tokenizer(m), text->data, text->size, TOKENIZE_CONTINUE, &ids);
    if (!status) status = id_bytes(e, s, &ids);
    snprintf(s->name, sizeof s->name, "pith-mini's tokenizer, %u", tokenizer_about(lm_tokenizer(m))->n_vocab);
    token_list_free(e->ctx, &ids);
    lm_close(e->ctx, m);
    return status;
}

static pith_status whole_file(experiment *e, stream *s, const pith_buffer *primer, const pith_buffer *text) {
    cm_params params = {.inputs = CM_SMALL, .primer = primer->data, .primer_n = primer->size};
    size_t n = 0;
    snprintf(s->name, sizeof s->name, "arithmetic code of it all");
    pith_status status = pith_buffer_reserve(e->ctx, &s->bytes, text->size + 64);
    if (!status) status = cm_encode(e->ctx, &params, text->data, text->size, s->bytes.data, s->bytes.capacity, &n);
    if (!status && n > s->bytes.capacity) status = pith_fail(e->ctx, PITH_E_SPACE, "the text does not compress");
    if (!status) s->bytes.size = n;
    s->n_tokens = n / 2;
    return status;
}

/* The learner reads three quarters of the stream; the last quarter counts. */
static pith_status learn(experiment *e, stream *s, size_t text_n) {
    static const codelen_kind kind[2] = {CODELEN_SSM, CODELEN_CM};
    size_t cut = s->bytes.size / 4 * 3 & ~(size_t)1, rest = s->bytes.size - cut;
    double text_bytes = (double)text_n * (double)rest / (double)PITH_MAX(s->bytes.size, (size_t)1);
    pith_status status = PITH_OK;
    exp_step(e, s->name);
    for (int k = 0; k < 2 && !status; k++) {
        codelen_options o = {.kind = kind[k], .max_bytes = s->bytes.size};
        codelen *c;
        double bits = 0;
        status = codelen_new(e->ctx, &o, &c);
        if (!status) status = codelen_prime(c, s->bytes.data, cut);
        if (!status) status = codelen_bits(c, s->bytes.data + cut, rest, &bits);
        codelen_free(c);
        s->learnt[k] = bits / text_bytes;
        s->per_byte[k] = bits / (double)PITH_MAX(rest, (size_t)1);
    }
    return status;
}

static int report(experiment *e, const stream *s, bool same, size_t text_n) {
    char title[160];
    snprintf(title, sizeof title,
             "%zu bytes of text; tokens of 16 bits; 8 bits for a byte of the stream: nothing learnt", text_n);
    exp_table(e, title,
              "stream|text B/token.3|ssm bits/text B.3|ssm bits/stream B.3|cm bits/text B.3|cm bits/stream B.3");
    for (int i = 0; i < STREAMS; i++)
        EXP_ROW(e, s[i].name, (double)text_n / (double)s[i].n_tokens, s[i].learnt[0], s[i].per_byte[0], s[i].learnt[1],
                s[i].per_byte[1]);
    exp_claim(e, same, "windows of 16, 32 and 64 bits all give the text back");
    double tokens = (double)text_n / (double)s[WINDOW_16].n_tokens;
    exp_claim(e,
              tokens > (double)text_n / (double)s[MINI].n_tokens && tokens > (double)text_n / (double)s[PAIRS].n_tokens,
              "a window of 16 bits holds %.2f bytes, a byte-pair token %.2f, one of pith-mini %.2f", tokens,
              (double)text_n / (double)s[PAIRS].n_tokens, (double)text_n / (double)s[MINI].n_tokens);
    exp_claim(e, s[WINDOW_16].per_byte[0] < 7.8 && s[WHOLE].per_byte[0] > 7.95 && s[WHOLE].per_byte[1] > 7.95,
              "windows can be learnt (%.2f bits a byte), code of the whole text cannot (%.2f)",
              s[WINDOW_16].per_byte[0], s[WHOLE].per_byte[0]);
    exp_claim(e, s[BYTES].learnt[0] > s[WINDOW_16].learnt[0] && s[WINDOW_16].learnt[0] > s[PAIRS].learnt[0],
              "bits per byte of the state-space learner order as bytes > windows > pairs: %.3f, %.3f, %.3f",
              s[BYTES].learnt[0], s[WINDOW_16].learnt[0], s[PAIRS].learnt[0]);
    return CLI_OK;
}

static int equal_info_run(experiment *e, void *own) {
    equal_info_bench *b = own;
    pith_buffer text = {0}, primer = {0};
    stream s[STREAMS] = {{.name = "bytes"}};
    bool same = true;
    int result = exp_read(e, e->o.n_names ? e->o.names[0] : NULL, "tests/data/alice29.txt", (size_t)b->bytes, &text);
    if (result == CLI_OK) result = exp_read(e, b->primer, "tests/data/lcet10.txt", 0, &primer);
    if (result == CLI_OK && text.size < 4096)
        result = cli_error("equal-info: the text should have 4096 bytes at least");
    if (result == CLI_OK) {
        pith_buffer some = {primer.data, PITH_MIN(primer.size, (size_t)131072), 0}; /* pairs cost bytes times merges */
        pith_status status = pith_buffer_append(e->ctx, &s[BYTES].bytes, text.data, text.size);
        s[BYTES].n_tokens = text.size;
        for (int i = 0; i < 3 && !status; i++) status = windows(e, &s[WINDOW_16 + i], 16u << i, &primer, &text, &same);
        if (!status) status = pairs(e, &s[PAIRS], (size_t)b->merges, &some, &text);
        if (!status) status = mini(e, &s[MINI], &text);
        if (!status) status = whole_file(e, &s[WHOLE], &primer, &text);
        for (int i = 0; i < STREAMS && !status; i++) status = learn(e, &s[i], text.size);
        result = status ? exp_failed(e) : report(e, s, same, text.size);
    }
    for (int i = 0; i < STREAMS; i++) pith_buffer_free(e->ctx, &s[i].bytes);
    pith_buffer_free(e->ctx, &text);
    pith_buffer_free(e->ctx, &primer);
    return result;
}

int bench_equal_info(int argc, char **argv) {
    equal_info_bench b = {.bytes = 65536, .merges = 3840};
    const lm_option extra[] = {{"primer", 0, LM_TEXT, &b.primer, 0, 0},
                               {"bytes", 0, LM_NUMBER, &b.bytes, 4096, 1 << 28},
                               {"merges", 0, LM_NUMBER, &b.merges, 1, 60000}};
    return exp_main(argc, argv, equal_info_help, extra, PITH_COUNT(extra), 1, equal_info_run, &b);
}
