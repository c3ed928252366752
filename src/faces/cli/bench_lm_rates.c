/* pith bench lmic: any predictor is a coder and any coder a generator (G. Deletang et al., Language modeling is
 * compression, 2024): raw rates and rates with the model counted, chunks against the whole, and a pattern continued. */
#include <math.h>
#include <string.h>

#include "faces/cli/bench_predict.h"
#include "pith/file.h"

static const char lmic_help[] =
    "Usage: pith bench lmic [OPTIONS] [FILE]\n\n"
    "Rates of a text in percent of its size: by zstd and lzma, levels of pith, and language models, whose own\n"
    "size (2 bytes a parameter) is added once for the adjusted rate; the size of text above which that is\n"
    "better than lzma. Then chunks of 2048 bytes coded each alone, and coders that continue a pattern.\n\n"
    "      --bytes=N       of the text (default 1000000; FILE: tests/data/lcet10.txt, alice29.txt and asyoulik.txt\n"
    "                      in a row)\n"
    "      --sample=N      bytes from its middle that the language models are measured on (default 49152)\n"
    "      --model=FILE    a second language model, beside the built-in pith-mini\n" EXP_HELP "\nExamples:\n"
    "  pith bench lmic\n"
    "  pith bench lmic --model=rwkv-bytes.bin --sample=200000 book.txt\n";

typedef struct lmic {
    uint64_t bytes, sample;
    const char *model;
} lmic;

#define CHUNK 2048

typedef struct rates {
    double whole, chunks; /* percent of the text */
    double model_bytes;
} rates;

/* Percent of text: coded at once, and in chunks of 2048 bytes. */
static pith_status measure_coder(experiment *e, const codelen_options *o, const distance_text *text, rates *r) {
    size_t n = (text->n + CHUNK - 1) / CHUNK;
    distance_text *chunk = calloc(n, sizeof *chunk);
    double *bits = calloc(n, sizeof *bits), whole = 0, sum = 0;
    pith_status status = chunk && bits ? PITH_OK : pith_fail(e->ctx, PITH_E_MEMORY, "no memory for %zu chunks", n);
    for (size_t i = 0; i < n && !status; i++)
        chunk[i] = (distance_text){text->data + i * CHUNK, PITH_MIN((size_t)CHUNK, text->n - i * CHUNK)};
    if (!status) status = distance_lengths(e->ctx, o, NULL, 1, text, 1, &whole);
    if (!status) status = distance_lengths(e->ctx, o, NULL, 1, chunk, n, bits);
    for (size_t i = 0; i < n && !status; i++) sum += bits[i];
    r->whole = 100 * whole / 8 / (double)text->n;
    r->chunks = 100 * sum / 8 / (double)text->n;
    free(chunk);
    free(bits);
    return status;
}

static pith_status measure_level(experiment *e, int level, const distance_text *text, rates *r) {
    pith_encode_options o;
    pith_encode_options_init(&o);
    o.level = level;
    size_t cap = (size_t)pith_file_bound(text->n, &o), n = 0;
    uint8_t *dst = malloc(cap);
    if (!dst) return pith_fail(e->ctx, PITH_E_MEMORY, "no memory for the archive");
    pith_status status = pith_file_compress(e->ctx, &o, text->data, text->n, dst, cap, &n);
    r->whole = 100 * (double)n / (double)text->n;
    r->chunks = NAN;
    free(dst);
    return status;
}

static void row(experiment *e, const char *name, const rates *r, double text_n, double against) {
    double adjusted = r->whole + 100 * r->model_bytes / text_n, even = NAN;
    if (r->model_bytes > 0 && r->whole < against) even = r->model_bytes / ((against - r->whole) / 100) / 1e6;
    EXP_ROW(e, name, r->whole, adjusted, r->chunks, r->model_bytes / 1e6, even);
}

static pith_status measure_model(experiment *e, const char *path, const distance_text *sample, rates *r, char *name,
                                 size_t name_n) {
    coder_choice choice = {.model = path};
    lm_model *m;
    pith_status status = lm_open(e->ctx, lm_model_path(path), &m);
    if (status) return status;
    codelen_options o = {.kind = CODELEN_LM, .model = m};
    choice.options = o;
    coder_label(&choice, name, name_n);
    exp_step(e, name);
    r->model_bytes = 2 * (double)lm_about(m)->n_parameters;
    status = measure_coder(e, &o, sample, r);
    lm_close(e->ctx, m);
    return status;
}

/* Shares of right bytes when a pattern of 12 bytes, seen 20 times, is continued for 36. */
static pith_status measure_generator(experiment *e, codelen_kind kind, double temperature, double *right) {
    static const char pattern[] = "pith keeps; ";
    codelen_options o = {.kind = kind};
    pith_buffer prompt = {0}, out = {0};
    pith_status status = PITH_OK;
    size_t n = 0;
    for (int i = 0; i < 20 && !status; i++) status = pith_buffer_append(e->ctx, &prompt, pattern, 12);
    exp_step(e, "continuing a pattern");
    if (!status) status = codelen_continue(e->ctx, &o, prompt.data, prompt.size, 36, temperature, 1, &out);
    for (size_t i = 0; i < out.size; i++) n += out.data[i] == (uint8_t)pattern[i % 12];
    *right = (double)n / 36;
    pith_buffer_free(e->ctx, &prompt);
    pith_buffer_free(e->ctx, &out);
    return status;
}

static int measure(experiment *e, const lmic *b, const distance_text *text) {
    size_t n = PITH_MIN((size_t)b->sample, text->n);
    distance_text sample = {text->data + (text->n - n) / 2, n};
    rates zstd = {0}, lzma = {0}, level[3] = {{0}}, small = {0}, mini = {0}, second = {0}, here = {0};
    char title[200], name[3][120] = {"", "", ""};
    double size = (double)text->n;
    exp_step(e, "classic coders");
    pith_status status = measure_coder(e, &(codelen_options){.kind = CODELEN_ZSTD}, text, &zstd);
    if (!status) status = measure_coder(e, &(codelen_options){.kind = CODELEN_LZMA}, text, &lzma);
    for (int i = 0; i < 3 && !status; i++) status = measure_level(e, 3 + 2 * i + (i == 2), text, &level[i]);
    exp_step(e, "context mixing");
    if (!status) status = measure_coder(e, &(codelen_options){.kind = CODELEN_CM}, text, &small);
    if (!status) status = measure_coder(e, &(codelen_options){.kind = CODELEN_LZMA}, &sample, &here);
    if (!status) status = measure_model(e, NULL, &sample, &mini, name[1], sizeof name[1]);
    if (!status && b->model) status = measure_model(e, b->model, &sample, &second, name[2], sizeof name[2]);
    if (status) return exp_failed(e);
    snprintf(title, sizeof title, "%zu bytes, language models on %zu of them; percent of the size; MB of model",
             text->n, n);
    exp_table(e, title, "coder|raw %.2|adjusted %.2|2048 B chunks %.2|model MB.2|even with lzma at MB.1");
    row(e, "zstd -19", &zstd, size, lzma.whole);
    row(e, "lzma 9e", &lzma, size, lzma.whole);
    for (int i = 0; i < 3; i++) {
        snprintf(name[0], sizeof name[0], "pith -%d", 3 + 2 * i + (i == 2));
        row(e, name[0], &level[i], size, lzma.whole);
    }
    row(e, "context mixing, small", &small, size, lzma.whole);
    row(e, name[1], &mini, size, lzma.whole);
    if (b->model) row(e, name[2], &second, size, lzma.whole);
    double right[3];
    status = measure_generator(e, CODELEN_LZMA, 0, &right[0]);
    if (!status) status = measure_generator(e, CODELEN_CM, 0, &right[1]);
    if (!status) status = measure_generator(e, CODELEN_CM, 1, &right[2]);
    if (status) return exp_failed(e);
    exp_table(e, "a pattern continued", "generator|right bytes.3");
    EXP_ROW(e, "lzma, shortest code", right[0]);
    EXP_ROW(e, "context mixing, likeliest", right[1]);
    EXP_ROW(e, "context mixing, drawn", right[2]);
    double adjusted = mini.whole + 100 * mini.model_bytes / size;
    exp_claim(e, adjusted > lzma.whole && mini.whole < lzma.whole,
              "with its size counted pith-mini is worse than lzma on %.1f MB (%.1f %% against %.1f %%) and better "
              "above %.0f MB",
              size / 1e6, adjusted, lzma.whole, mini.model_bytes / ((lzma.whole - mini.whole) / 100) / 1e6);
    exp_claim(
        e,
        zstd.chunks > zstd.whole && lzma.chunks > lzma.whole && small.chunks > small.whole && mini.chunks > mini.whole,
        "chunks of 2048 bytes cost zstd %.0f %%, lzma %.0f %%, context mixing %.0f %%, pith-mini %.1f %% more than the "
        "whole",
        100 * (zstd.chunks / zstd.whole - 1), 100 * (lzma.chunks / lzma.whole - 1),
        100 * (small.chunks / small.whole - 1), 100 * (mini.chunks / mini.whole - 1));
    exp_claim(e, right[0] == 1 && right[1] == 1 && right[2] > 0.5,
              "lzma and context mixing continue a pattern (%.2f, %.2f of the bytes right; drawn %.2f, chance 0.004)",
              right[0], right[1], right[2]);
    return CLI_OK;
}

static int lmic_run(experiment *e, void *own) {
    lmic *b = own;
    pith_buffer text = {0};
    static const char *const files[] = {"tests/data/lcet10.txt", "tests/data/alice29.txt", "tests/data/asyoulik.txt"};
    int result = CLI_OK;
    if (e->o.n_names)
        result = exp_read(e, e->o.names[0], NULL, 0, &text);
    else
        for (size_t i = 0; i < PITH_COUNT(files) && result == CLI_OK; i++)
            result = exp_read(e, NULL, files[i], 0, &text);
    distance_text t = {text.data, PITH_MIN(text.size, (size_t)b->bytes)};
    if (result == CLI_OK && t.n < 4096) result = cli_error("lmic: the text should have 4096 bytes at least");
    if (result == CLI_OK) result = measure(e, b, &t);
    pith_buffer_free(e->ctx, &text);
    return result;
}

int bench_lmic(int argc, char **argv) {
    lmic b = {.bytes = 1000000, .sample = 49152};
    const lm_option extra[] = {{"bytes", 0, LM_NUMBER, &b.bytes, 4096, 1 << 28},
                               {"sample", 0, LM_NUMBER, &b.sample, 4096, 1 << 28},
                               {"model", 0, LM_TEXT, &b.model, 0, 0}};
    return exp_main(argc, argv, lmic_help, extra, PITH_COUNT(extra), 1, lmic_run, &b);
}
