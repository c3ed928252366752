/* Front ends are kept only when they pay under the coder that follows, which a sample of at most
 * 256 KiB, 192 KiB for slow codecs, decides: first zstd, at hundreds of megabytes per second, drops those that are
 * hopeless, then the trial codec of the level compares.
 *
 * The figures below were set on 33 files of text, logs, tables, audio, images and climate data: under LZMA,
 * BWT and CM no front end that zstd saw lose more than 8 % gained, and the capital letters' front end
 * (text) gained under LZMA and BWT wherever it did under zstd. */
#include "artefacts/file/select_front.h"

#define FRONT_SAMPLE ((size_t)256 << 10)
#define FRONT_SAMPLE_SLOW ((size_t)192 << 10) /* for codecs slower than a microsecond per byte */
#define SLOW_NS 1000
#define HOPELESS 1.08 /* times the size without, under zstd */
#define MARGIN 0.998  /* a smaller gain on a sample is noise, and costs time */
#define SAMPLE_UNIT 5040

static const struct {
    unsigned bit;
    bool of_text;
    const file_front *front;
} kinds[] = {
    {FRONT_TEXT, true, &file_front_text},
    {FRONT_X86, false, &file_front_x86},
    {FRONT_RECORD, false, &file_front_record},
    {FRONT_ARRAY, false, &file_front_array},
};

static const select_codec fast = {&file_codec_zstd, {1, {3}}};

pith_status select_trial(pith_ctx *ctx, const select_codec *codec, const uint8_t *src, size_t n, size_t *size) {
    uint8_t *scratch = pith_alloc(ctx, PITH_MAX(n, 1));
    if (!scratch) return pith_alloc_status(ctx);
    size_t out_n = SIZE_MAX;
    pith_status status = codec->codec->encode(ctx, &codec->args, src, n, scratch, n, &out_n);
    pith_free(ctx, scratch);
    *size = PITH_MIN(out_n, n);
    return status;
}

const uint8_t *select_sample(const uint8_t *raw, size_t n, size_t most, size_t *sample_n) {
    *sample_n = PITH_MIN(n, most);
    return raw + (n - *sample_n) / 2 / SAMPLE_UNIT * SAMPLE_UNIT;
}

/* Looks at a byte here and there: 95 in 100 are printable ASCII, line ends, tabs or UTF-8. */
bool select_is_text(const uint8_t *raw, size_t n) {
    size_t step = n / 4096 + 1, seen = 0, text = 0, high = 0;
    for (size_t i = 0; i < n; i += step, seen++) {
        uint8_t c = raw[i];
        text += (c >= 0x20 && c < 0x7F) || c == '\n' || c == '\r' || c == '\t';
        high += c >= 0x80 && c < 0xF5;
    }
    return text >= seen / 2 && text + high >= seen - seen / 20;
}

pith_status front_apply(pith_ctx *ctx, const file_front *front, const file_args *args, const uint8_t *raw, size_t n,
                        fronted *out, bool *pays) {
    *out = (fronted){.data = raw, .n = n};
    *pays = true;
    if (!front) return PITH_OK;
    if (args) out->args = *args;
    pith_status status = front->forward(ctx, &out->args, raw, n, &out->own, pays);
    if (!status && *pays && out->own.size && out->own.size <= BLOCK_TRANSFORMED_MAX(n)) {
        out->front = front;
        out->data = out->own.data;
        out->n = out->own.size;
        return PITH_OK;
    }
    pith_buffer_free(ctx, &out->own);
    *out = (fronted){.data = raw, .n = n};
    *pays = false;
    return status;
}

/* The size of a sample through a front end relative to the size without, above 1 when hopeless. */
static pith_status judge(pith_ctx *ctx, const select_candidate *candidate, bool of_text, const fronted *f,
                         size_t without_fast, size_t *without, const uint8_t *sample, size_t sample_n, double *ratio) {
    size_t size = 0;
    pith_status status = select_trial(ctx, &fast, f->data, f->n, &size);
    *ratio = (double)size / (double)without_fast;
    if (status || of_text) return status;
    if (*ratio > HOPELESS) return PITH_OK;
    if (!*without) status = select_trial(ctx, &candidate->trial, sample, sample_n, without);
    if (!status) status = select_trial(ctx, &candidate->trial, f->data, f->n, &size);
    *ratio = (double)size / (double)*without;
    return status;
}

pith_status front_choose(pith_ctx *ctx, const select_candidate *candidate, const uint8_t *raw, size_t n, fronted *out) {
    *out = (fronted){.data = raw, .n = n};
    if (!candidate->fronts || n < 64) return PITH_OK;
    size_t sample_n, without_fast = 0, without = 0;
    bool slow = candidate->trial.codec->cost(&candidate->trial.args) >= SLOW_NS;
    const uint8_t *sample = select_sample(raw, n, slow ? FRONT_SAMPLE_SLOW : FRONT_SAMPLE, &sample_n);
    bool text = select_is_text(raw, n), pays;
    double best = MARGIN;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < PITH_COUNT(kinds) && !status; i++) {
        if (!(candidate->fronts & kinds[i].bit) || kinds[i].of_text != text) continue;
        fronted f;
        status = front_apply(ctx, kinds[i].front, NULL, sample, sample_n, &f, &pays);
        if (status || !pays) continue;
        double ratio = 2;
        if (!without_fast) status = select_trial(ctx, &fast, sample, sample_n, &without_fast);
        if (!status) status = judge(ctx, candidate, text, &f, without_fast, &without, sample, sample_n, &ratio);
        if (!status && ratio < best) {
            best = ratio;
            pith_buffer_free(ctx, &out->own);
            *out = f;
        } else {
            pith_buffer_free(ctx, &f.own);
        }
    }
    if (status || sample_n == n || !out->front) {
        if (status) pith_buffer_free(ctx, &out->own);
        return status;
    }
    const file_front *front = out->front;
    pith_buffer_free(ctx, &out->own);
    return front_apply(ctx, front, NULL, raw, n, out, &pays);
}
