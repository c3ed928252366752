/* Front ends are kept only when they pay under the coder that follows, which a sample of at most
 * 256 KiB, 192 KiB for slow codecs, decides: first zstd, at hundreds of megabytes per second, drops those that are
 * hopeless, then the trial codec of the level compares.
 *
 * The figures below were set on 33 files of text, logs, tables, audio, images and climate data: under LZMA,
 * BWT and CM no front end that zstd saw lose more than 8 % gained, and the capital letters' front end
 * (text) gained under LZMA and BWT wherever it did under zstd. */
#include "artefacts/file/select_front.h"

#include "artefacts/file/detect.h"

#define FRONT_SAMPLE ((size_t)256 << 10)
#define FRONT_SAMPLE_SLOW ((size_t)192 << 10) /* for codecs slower than a microsecond per byte */
#define SLOW_NS 1000
#define FRONT_SAMPLE_LINES ((size_t)64 << 10)  /* for the columns' front end before 12 inputs, which must not wait */
#define FRONT_SAMPLE_QUICK ((size_t)512 << 10) /* or a quarter of the block, for codecs that take a moment */
#define QUICK_NS 40
#define HOPELESS 1.08 /* times the size without, under zstd */
#define MARGIN 0.998  /* a smaller gain on a sample is noise, and costs time */
/* Columns (front_columns.c) under context mixing, which sees lines and fields by itself: measured on 16 logs and 3
 * tables, the 5 that gained under 12 inputs were those zstd saw become 0.33 to 0.6 of their size (a trial costs as
 * much as coding the sample twice, so the others are not tried); of them only those that gained a tenth on 192 KiB
 * gained under 40. */
#define COLUMNS_FAST_CM 0.62
#define COLUMNS_FAST 0.99 /* under the others: none that zstd saw gain nothing gained */
#define COLUMNS_SMALL_CM 0.9

static const struct {
    unsigned bit;
    bool of_text;
    const file_front *front;
} kinds[] = {
    {FRONT_TEXT, true, &file_front_text},
    {FRONT_X86, false, &file_front_x86},
    {FRONT_RECORD, false, &file_front_record},
    {FRONT_ARRAY, false, &file_front_array},
    {FRONT_COLUMNS, true, &file_front_columns},
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

typedef struct judgement {
    pith_ctx *ctx;
    const select_candidate *candidate;
    const uint8_t *raw;
    size_t n, most;
    bool text;
    detect_sample sample;
    size_t without_fast, without; /* what the sample comes to as it is; 0: not known yet */
} judgement;

/* The sample through a front end. Of machine code the whole block goes through first: what its
 * addresses become depends on where they stand. */
static pith_status sample_through(judgement *j, const file_front *front, fronted *f, bool *pays) {
    if (front != &file_front_x86 || j->sample.n == j->n)
        return front_apply(j->ctx, front, NULL, j->sample.data, j->sample.n, f, pays);
    fronted whole;
    pith_status status = front_apply(j->ctx, front, NULL, j->raw, j->n, &whole, pays);
    detect_sample sample = {0};
    if (!status && *pays) status = detect_sample_take(j->ctx, whole.data, whole.n, j->most, &sample);
    *f = (fronted){.front = front, .args = whole.args, .data = sample.own, .n = sample.n};
    f->own = (pith_buffer){sample.own, sample.n, sample.n};
    pith_buffer_free(j->ctx, &whole.own);
    return status;
}

/* The size of the sample through a front end relative to the size without, above 1 when hopeless. */
static pith_status judge(judgement *j, const fronted *f, double *ratio) {
    size_t size = 0;
    pith_status status = PITH_OK;
    if (!j->without_fast) status = select_trial(j->ctx, &fast, j->sample.data, j->sample.n, &j->without_fast);
    if (!status) status = select_trial(j->ctx, &fast, f->data, f->n, &size);
    if (status) return status;
    *ratio = (double)size / (double)j->without_fast;
    bool columns = f->front == &file_front_columns, columns_cm = columns && j->candidate->codec.codec == &file_codec_cm;
    if (f->front == &file_front_text || *ratio > HOPELESS) return PITH_OK;
    if (columns && *ratio > (columns_cm ? COLUMNS_FAST_CM : COLUMNS_FAST)) {
        *ratio = 2;
        return PITH_OK;
    }
    const select_codec *trial = &j->candidate->trial;
    if (!j->without) status = select_trial(j->ctx, trial, j->sample.data, j->sample.n, &j->without);
    if (!status) status = select_trial(j->ctx, trial, f->data, f->n, &size);
    *ratio = (double)size / (double)j->without;
    if (columns_cm && trial->args.v[0] != j->candidate->codec.args.v[0]) *ratio /= COLUMNS_SMALL_CM;
    return status;
}

static pith_status choose(judgement *j, const file_front **front) {
    double best = MARGIN;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < PITH_COUNT(kinds) && !status; i++) {
        if (!(j->candidate->fronts & kinds[i].bit) || kinds[i].of_text != j->text) continue;
        fronted f;
        bool pays;
        double ratio = 2;
        status = sample_through(j, kinds[i].front, &f, &pays);
        if (!status && pays) status = judge(j, &f, &ratio);
        if (!status && ratio < best) {
            best = ratio;
            *front = kinds[i].front;
        }
        pith_buffer_free(j->ctx, &f.own);
    }
    return status;
}

pith_status front_choose(pith_ctx *ctx, const select_candidate *candidate, const uint8_t *raw, size_t n, fronted *out) {
    *out = (fronted){.data = raw, .n = n};
    if (!candidate->fronts || n < 64) return PITH_OK;
    const select_codec *trial = &candidate->trial, *codec = &candidate->codec;
    bool slow = trial->codec->cost(&trial->args) >= SLOW_NS, pays;
    judgement j = {.ctx = ctx, .candidate = candidate, .raw = raw, .n = n, .text = select_is_text(raw, n)};
    j.most = slow ? FRONT_SAMPLE_SLOW : FRONT_SAMPLE;
    if (j.text && slow && trial->codec == codec->codec && trial->args.v[0] == codec->args.v[0])
        j.most = FRONT_SAMPLE_LINES;
    if (select_encode_ns(trial) <= QUICK_NS) j.most = PITH_MIN(PITH_MAX(n / 4, j.most), FRONT_SAMPLE_QUICK);
    const file_front *front = NULL;
    pith_status status = detect_sample_take(ctx, raw, n, j.most, &j.sample);
    if (!status) status = choose(&j, &front);
    detect_sample_free(ctx, &j.sample);
    return status || !front ? status : front_apply(ctx, front, NULL, raw, n, out, &pays);
}
