/* pith bench lmcompress: one coder for text, grey pixels and samples of sound, driven by a language model (Z. Li
 * et al., Lossless data compression by large models, 2025), and what a model gains that has read of the domain before.
 */
#include <math.h>
#include <string.h>

#include "base/sink.h"
#include "faces/cli/bench_predict.h"
#include "lm/coding/coding.h"
#include "lm/tune/tune.h"

static const char lmcompress_help[] =
    "Usage: pith bench lmcompress [OPTIONS]\n\n"
    "Codes and restores text, rows of grey pixels and 8-bit sound with one language-model coder, with the model as it\n"
    "is and tuned: its last matrix trained on the part of the same source in front of what is coded (pith lm tune).\n"
    "Beside them models that learn as they code (context mixing, the state-space model), which have read that\n"
    "part. Bits for each byte.\n\n"
    "      --text=FILE     (default tests/data/lcet10.txt)\n"
    "      --image=FILE    binary PGM with 8 bits a pixel (default: a drawn one, not a photograph)\n"
    "      --audio=FILE    WAV of 8 or 16 bits, of which the upper 8 count (default: made tones)\n"
    "      --bytes=N       of each that are coded (default 6144)\n"
    "      --tune=N        bytes in front that tuned models have seen (default 49152)\n"
    "      --model=FILE    the language model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench lmcompress\n"
    "  pith bench lmcompress --model=rwkv-bytes.bin --image=kodim05.pgm --audio=loop.wav\n";

typedef struct lmcompress {
    const char *text, *image, *audio;
    uint64_t bytes, tune;
    coder_choice lm;
} lmcompress;

enum { TEXT, IMAGE, AUDIO, KINDS };
static const char *const kind_names[KINDS] = {"text", "grey pixels", "sound"};

/* ---- inputs ---- */

static uint32_t noise(uint32_t *s) {
    *s = *s * 1664525u + 1013904223u;
    return *s >> 16;
}

/* Shaded discs on a slope, with a little noise: smooth regions, edges, grain. */
static int draw_image(experiment *e, size_t n, pith_buffer *out) {
    uint32_t seed = 7;
    if (pith_buffer_reserve(e->ctx, out, n) != PITH_OK) return exp_failed(e);
    for (size_t i = 0; i < n; i++) {
        int x = (int)(i % 192), y = (int)(i / 192), v = 60 + x / 3 + y / 9;
        for (int k = 0; k < 40; k++) {
            int dx = x - (k * 67 + 20) % 192, dy = y - (k * 31 + 10) % 400, r = 10 + k % 5 * 6;
            if (dx * dx + dy * dy < r * r) v = 110 + k % 7 * 18 - (dx * dx + dy * dy) * 40 / (r * r);
        }
        v += (int)(noise(&seed) % 5) + (int)(noise(&seed) % 5) - 4;
        out->data[out->size++] = (uint8_t)PITH_MIN(PITH_MAX(v, 0), 255);
    }
    return CLI_OK;
}

/* Three tones that fade and begin again, with a little noise. */
static int make_sound(experiment *e, size_t n, pith_buffer *out) {
    uint32_t seed = 9;
    if (pith_buffer_reserve(e->ctx, out, n) != PITH_OK) return exp_failed(e);
    for (size_t i = 0; i < n; i++) {
        double t = (double)(i % 4000) / 8000, fade = exp(-4 * t), f = 220 * (1 + (double)(i / 4000 % 5) / 4);
        double v = 60 * sin(6.283185307 * f * t) + 30 * sin(12.566370614 * f * t) + 15 * sin(22.6 * f * t);
        out->data[out->size++] = (uint8_t)(128 + fade * v + (double)(noise(&seed) % 5) - 2);
    }
    return CLI_OK;
}

/* Cuts the header off a binary PGM. */
static int read_pgm(experiment *e, const char *path, pith_buffer *out) {
    int result = exp_read(e, path, NULL, 0, out);
    if (result != CLI_OK) return result;
    uint64_t number[3];
    size_t at = 2;
    bool good = out->size > 2 && memcmp(out->data, "P5", 2) == 0;
    for (int i = 0; i < 3 && good; i++) {
        while (at < out->size && (out->data[at] <= ' ' || out->data[at] == '#'))
            if (out->data[at++] == '#')
                while (at < out->size && out->data[at] != '\n') at++;
        number[i] = 0;
        size_t first = at;
        while (at < out->size && out->data[at] >= '0' && out->data[at] <= '9' && number[i] < 1u << 24)
            number[i] = number[i] * 10 + out->data[at++] - '0';
        good = at > first;
    }
    good = good && at++ < out->size && number[2] <= 255 && number[0] * number[1] <= out->size - at;
    if (!good) return cli_error("%s: is no binary PGM of 8 bits", path);
    out->size = (size_t)(number[0] * number[1]);
    memmove(out->data, out->data + at, out->size);
    return CLI_OK;
}

/* One byte for each sample of the first channel. */
static int read_wav(experiment *e, const char *path, pith_buffer *out) {
    int result = exp_read(e, path, NULL, 0, out);
    if (result != CLI_OK) return result;
    size_t bits = 0, channels = 0, at = 12, data = 0, data_n = 0;
    const uint8_t *p = out->data;
    if (out->size < 12 || memcmp(p, "RIFF", 4) != 0 || memcmp(p + 8, "WAVE", 4) != 0)
        return cli_error("%s: is no WAV", path);
    while (out->size - at >= 8 && !data) {
        size_t n = load32(p + at + 4), left = out->size - at - 8;
        if (memcmp(p + at, "fmt ", 4) == 0 && n >= 16 && left >= 16)
            channels = load16(p + at + 10), bits = load16(p + at + 22);
        if (memcmp(p + at, "data", 4) == 0) data = at + 8, data_n = PITH_MIN(n, left);
        if (n > left) break;
        at += PITH_MIN(8 + n + (n & 1), out->size - at);
    }
    if (!data || !channels || (bits != 8 && bits != 16)) return cli_error("%s: is no WAV of 8 or 16 bits", path);
    size_t step = channels * bits / 8, n = data_n / step;
    for (size_t i = 0; i < n; i++) {
        uint8_t top = out->data[data + i * step + bits / 8 - 1];
        out->data[i] = bits == 16 ? (uint8_t)(top + 128) : top;
    }
    out->size = n;
    return CLI_OK;
}

/* ---- measuring ---- */

typedef struct sample {
    pith_buffer all;
    distance_text before, text;               /* what tuned models read, what is coded */
    double lzma, code[2], cm[2], ssm[2]; /* bits a byte; [1]: tuned */
    bool same;                           /* both codes restored */
} sample;

static pith_status code(experiment *e, const lm_model *m, sample *s, double *rate) {
    lm_coder *coder;
    size_t cap = 4 * s->text.n + 1024, n = 0;
    uint8_t *dst = malloc(cap + s->text.n);
    if (!dst) return pith_fail(e->ctx, PITH_E_MEMORY, "no memory for the code");
    pith_status status = lm_coder_new(e->ctx, m, NULL, &coder);
    if (!status) status = lm_coder_encode(coder, s->text.data, s->text.n, dst, cap, &n);
    if (!status && n > cap) status = pith_fail(e->ctx, PITH_E_SPACE, "the code is four times as long as the bytes");
    if (!status) status = lm_coder_decode(coder, dst, n, dst + cap, s->text.n);
    if (!status) {
        s->same = s->same && memcmp(dst + cap, s->text.data, s->text.n) == 0;
        *rate = 8 * (double)n / (double)s->text.n;
    }
    lm_coder_free(coder);
    free(dst);
    return status;
}

/* The code with a model whose last matrix has been trained on what stands before. */
static pith_status code_tuned(experiment *e, const lm_model *m, sample *s) {
    float *head;
    tune_report report;
    pith_buffer f = {0};
    tensor_file *view = NULL;
    lm_model *tuned = NULL;
    pith_status status = tune_head(e->ctx, m, s->before.data, s->before.n, NULL, &head, &report);
    if (!status) status = tune_write(e->ctx, m, head, pith_sink_write, &(pith_sink){e->ctx, &f});
    if (!status) status = tensor_file_open_memory(e->ctx, f.data, f.size, &view);
    if (!status) status = lm_open_file(e->ctx, view, &tuned);
    if (!status) status = code(e, tuned, s, &s->code[1]);
    lm_close(e->ctx, tuned);
    if (view) tensor_file_close(e->ctx, view);
    pith_buffer_free(e->ctx, &f);
    pith_free(e->ctx, head);
    return status;
}

static pith_status tuned_and_not(experiment *e, codelen_kind kind, const sample *s, double rate[2]) {
    codelen_options o = {.kind = kind};
    pith_status status = distance_lengths(e->ctx, &o, NULL, 1, &s->text, 1, &rate[0]);
    if (!status) status = distance_lengths(e->ctx, &o, &s->before, 1, &s->text, 1, &rate[1]);
    rate[0] /= (double)s->text.n, rate[1] /= (double)s->text.n;
    return status;
}

static int measure(experiment *e, const lmcompress *b, sample *s) {
    char title[160], label[120], name[120];
    const lm_shape *shape = lm_about(b->lm.opened);
    /* a tuned model has an output matrix of its own */
    double model_bytes = 2 * ((double)shape->n_parameters + (double)shape->n_vocab * shape->n_embd);
    bool same = true, five = true, below = true, adapted = true;
    double gain[KINDS], mixed[KINDS];
    snprintf(title, sizeof title, "bits for each byte; %s; tuned: after %zu bytes of the same source",
             coder_label(&b->lm, label, sizeof label), s[TEXT].before.n);
    exp_table(e, title, "what|lzma 9e.3|lm.3|lm tuned.3|adjusted.1|cm.3|cm tuned.3|ssm tuned.3");
    for (int k = 0; k < KINDS; k++) {
        codelen_options lzma = {.kind = CODELEN_LZMA};
        exp_step(e, kind_names[k]);
        s[k].same = true;
        if (distance_lengths(e->ctx, &lzma, NULL, 1, &s[k].text, 1, &s[k].lzma) ||
            code(e, b->lm.opened, &s[k], &s[k].code[0]) || code_tuned(e, b->lm.opened, &s[k]) ||
            tuned_and_not(e, CODELEN_CM_LARGE, &s[k], s[k].cm) || tuned_and_not(e, CODELEN_SSM, &s[k], s[k].ssm))
            return exp_failed(e);
        s[k].lzma /= (double)s[k].text.n;
        const char *given[] = {b->text, b->image, b->audio};
        snprintf(name, sizeof name, "%s%s", kind_names[k], given[k] || k == TEXT ? "" : " (made)");
        EXP_ROW(e, name, s[k].lzma, s[k].code[0], s[k].code[1], s[k].code[1] + 8 * model_bytes / (double)s[k].text.n,
                s[k].cm[0], s[k].cm[1], s[k].ssm[1]);
        same = same && s[k].same;
        gain[k] = 1 - s[k].code[1] / s[k].code[0];
        mixed[k] = 1 - s[k].cm[1] / s[k].cm[0];
        five = five && gain[k] >= 0.05;
        adapted = adapted && mixed[k] >= 0.05;
        below = below && s[k].code[1] < s[k].lzma;
    }
    exp_note(e, "adjusted counts 2 bytes for each parameter of the tuned model; lzma has seen nothing before");
    exp_claim(e, same, "one coder restores text, pixels and sound exactly");
    exp_claim(e, five,
              "the tuned model is at least 5 %% below the untuned: text %.1f %%, pixels %.1f %%, sound %.1f %%",
              100 * gain[TEXT], 100 * gain[IMAGE], 100 * gain[AUDIO]);
    exp_claim(e, below, "and below lzma on all three: %.2f, %.2f, %.2f against %.2f, %.2f, %.2f", s[TEXT].code[1],
              s[IMAGE].code[1], s[AUDIO].code[1], s[TEXT].lzma, s[IMAGE].lzma, s[AUDIO].lzma);
    exp_claim(e, adapted,
              "having read of the domain saves context mixing at least 5 %%: text %.1f %%, pixels %.1f %%, sound %.1f %%",
              100 * mixed[TEXT], 100 * mixed[IMAGE], 100 * mixed[AUDIO]);
    return CLI_OK;
}

static int lmcompress_run(experiment *e, void *own) {
    lmcompress *b = own;
    sample s[KINDS];
    memset(s, 0, sizeof s);
    size_t want = (size_t)(b->bytes + b->tune);
    b->lm.coder = "lm";
    int result = coder_open(e->ctx, &e->o, "lmcompress", &b->lm);
    if (result == CLI_OK) result = exp_read(e, b->text, "tests/data/lcet10.txt", 0, &s[TEXT].all);
    if (result == CLI_OK) result = b->image ? read_pgm(e, b->image, &s[IMAGE].all) : draw_image(e, want, &s[IMAGE].all);
    if (result == CLI_OK) result = b->audio ? read_wav(e, b->audio, &s[AUDIO].all) : make_sound(e, want, &s[AUDIO].all);
    for (int k = 0; k < KINDS && result == CLI_OK; k++) {
        size_t n = s[k].all.size, coded = PITH_MIN((size_t)b->bytes, n / 2),
               first = PITH_MIN((size_t)b->tune, n - coded);
        size_t at = (n - coded - first) / 2;
        if (n < 2048) result = cli_error("lmcompress: the %s should have 2048 bytes at least", kind_names[k]);
        s[k].before = (distance_text){s[k].all.data + at, first};
        s[k].text = (distance_text){s[k].all.data + at + first, coded};
    }
    if (result == CLI_OK) result = measure(e, b, s);
    for (int k = 0; k < KINDS; k++) pith_buffer_free(e->ctx, &s[k].all);
    coder_close(e->ctx, &b->lm);
    return result;
}

int bench_lmcompress(int argc, char **argv) {
    lmcompress b = {.bytes = 6144, .tune = 49152};
    const lm_option extra[] = {{"text", 0, LM_TEXT, &b.text, 0, 0},
                               {"image", 0, LM_TEXT, &b.image, 0, 0},
                               {"audio", 0, LM_TEXT, &b.audio, 0, 0},
                               {"bytes", 0, LM_NUMBER, &b.bytes, 1024, 1 << 26},
                               {"tune", 0, LM_NUMBER, &b.tune, 1024, 1 << 26},
                               {"model", 0, LM_TEXT, &b.lm.model, 0, 0}};
    return exp_main(argc, argv, lmcompress_help, extra, PITH_COUNT(extra), 0, lmcompress_run, &b);
}
