/* The choice of codec for one block: every candidate of the plan that can pay, smallest result
 * kept. See levels.c for the candidates and select_front.c for what goes before them. */
#include "artefacts/file/select.h"

#include "artefacts/file/detect.h"
#include "artefacts/file/frame.h"
#include "artefacts/file/select_front.h"

/* zstd on a sample tells whether LZMA may win over text, which it does where text is made of long
 * repeats: then zstd at levels 9 and 19 comes to at most so many times what the codec so far makes of it. Numbers
 * and machine code are always tried: a sample of them tells little of the rest. Measured on the same
 * files as in select_front.c. */
#define REPEATS_SAMPLE ((size_t)256 << 10)
#define NOTHING_GAINED 0.98
#define CLOSE 1.02
#define CLOSE_PER_DOUBLING 0.015 /* the longer a block is beside its sample, the more repeats the sample lacks */
#define ALONE 1.15 /* a sample coded alone is larger than its share of the block, by about so much */
static const struct repeats {
    double at_9, at_19;
} repeats_text = {1.2, 1.08}, repeats_after_bwt = {1.5, 1.2};
#define POOR 0.5
#define DENSE 0.95
#define DENSE_SAMPLE ((size_t)64 << 10)

typedef struct choice {
    pith_ctx *ctx;
    const select_plan *plan;
    const uint8_t *raw;
    size_t n;
    bool first;
    uint8_t *coded, *scratch; /* best so far, next try; [n] each */
    block_header *best;
    size_t best_n; /* with its header */
} choice;

static size_t header_bytes(const block_header *h) {
    uint8_t bytes[FRAME_BLOCK_MAX];
    return frame_block_put(bytes, h, false);
}

static pith_status try_codec(choice *c, const select_codec *codec, const fronted *f) {
    block_header h = {.codec = codec->codec,
                      .codec_args = codec->args,
                      .front = f->front,
                      .front_args = f->args,
                      .raw_n = c->n,
                      .transformed_n = f->n,
                      .coded_n = SIZE_MAX,
                      .hash = c->best->hash};
    pith_status status = codec->codec->encode(c->ctx, &codec->args, f->data, f->n, c->scratch,
                                              PITH_MIN(c->n, c->best->coded_n), &h.coded_n);
    if (status || h.coded_n > c->n || h.coded_n == 0 || !block_time_is_fair(c->ctx, &h, c->first)) return status;
    size_t total = h.coded_n + header_bytes(&h);
    if (total >= c->best_n) return PITH_OK;
    memcpy(c->coded, c->scratch, h.coded_n);
    *c->best = h;
    c->best_n = total;
    return PITH_OK;
}

/* Whether LZMA may beat what a block of text has come to; f is sample_n bytes of it through the front end. */
static pith_status text_repeats(choice *c, const select_codec *lzma, const fronted *f, size_t sample_n, bool *may) {
    static const select_codec zstd_9 = {&file_codec_zstd, {1, {9}}}, zstd_19 = {&file_codec_zstd, {1, {19}}};
    const struct repeats *most = c->best->codec == &file_codec_bwt ? &repeats_after_bwt : &repeats_text;
    size_t size, here = c->best_n;
    *may = false;
    pith_status status = select_trial(c->ctx, &zstd_9, f->data, f->n, &size);
    if (status) return status;
    double times = (double)c->n / (double)sample_n, share = (double)here / times, close = CLOSE;
    if (sample_n < c->n) {
        if ((double)size >= most->at_9 * ALONE * share) return PITH_OK; /* far from it */
        select_codec so_far = {c->best->codec, c->best->codec_args};
        if (c->plan->level > 6) so_far = c->plan->candidates[0].trial;
        status = select_trial(c->ctx, &so_far, f->data, f->n, &here);
        for (; times > 1; times /= 2) close += CLOSE_PER_DOUBLING;
    }
    if (status || (double)size >= most->at_9 * (double)here || (double)size >= NOTHING_GAINED * (double)sample_n)
        return status;
    status = select_trial(c->ctx, &zstd_19, f->data, f->n, &size);
    *may = !status && (double)size < most->at_19 * (double)here;
    if (*may && sample_n < c->n) { /* LZMA on all of a long block is worth a closer look at the sample */
        status = select_trial(c->ctx, lzma, f->data, f->n, &size);
        *may = !status && (double)size < close * (double)here;
    }
    return status;
}

static pith_status repeats_may_win(choice *c, const select_codec *lzma, bool *may) {
    *may = false;
    if ((double)c->best_n > NOTHING_GAINED * (double)c->n) return PITH_OK; /* LZMA would find nothing either */
    *may = true;
    /* columns are numbers, too, and few bytes */
    if (!select_is_text(c->raw, c->n) || c->best->front == &file_front_columns) return PITH_OK;
    detect_sample sample;
    fronted f = {0};
    bool pays;
    pith_status status = detect_sample_take(c->ctx, c->raw, c->n, REPEATS_SAMPLE, &sample);
    /* what the front end did for the block it would do for LZMA too */
    if (!status) status = front_apply(c->ctx, c->best->front, NULL, sample.data, sample.n, &f, &pays);
    if (!status) status = text_repeats(c, lzma, &f, sample.n, may);
    pith_buffer_free(c->ctx, &f.own);
    detect_sample_free(c->ctx, &sample);
    return status;
}

/* Whether another codec gets more out of a block that hardly shrank. */
static pith_status dense_may_win(choice *c, const select_codec *codec, bool *may) {
    *may = false;
    if ((double)c->best_n < DENSE * (double)c->n) return PITH_OK;
    size_t here = 0, there = 0;
    detect_sample sample;
    pith_status status = detect_sample_take(c->ctx, c->raw, c->n, DENSE_SAMPLE, &sample);
    if (!status) status = select_trial(c->ctx, &c->plan->candidates[0].trial, sample.data, sample.n, &here);
    if (!status) status = select_trial(c->ctx, codec, sample.data, sample.n, &there);
    *may = !status && there < here;
    detect_sample_free(c->ctx, &sample);
    return status;
}

uint32_t select_encode_ns(const select_codec *c) {
    return (c->codec->encode_cost ? c->codec->encode_cost : c->codec->cost)(&c->args);
}

/* The part of the whole work on a block that this candidate is, its decoding to verify it included. */
static double share_of(const select_plan *plan, const select_candidate *candidate) {
    double sum = plan->verify ? select_decode_ns_per_byte(plan) : 0;
    for (unsigned i = 0; i < plan->n_candidates; i++) sum += select_encode_ns(&plan->candidates[i].codec);
    return select_encode_ns(&candidate->codec) / sum;
}

static pith_status try_candidate(choice *c, const select_candidate *candidate) {
    bool may = true;
    pith_status status = PITH_OK;
    fronted f = {0};
    pith_phase(0, 0); /* trials */
    if (candidate->when == WHEN_REPEATS_WIN) status = repeats_may_win(c, &candidate->codec, &may);
    if (candidate->when == WHEN_POOR) may = (double)c->best_n > POOR * (double)c->n;
    if (candidate->when == WHEN_DENSE) status = dense_may_win(c, &candidate->codec, &may);
    if (!status && may)
        status = c->plan->level ? front_choose(c->ctx, candidate, c->raw, c->n, &f)
                                : front_apply(c->ctx, c->plan->front, &c->plan->front_args, c->raw, c->n, &f, &may);
    pith_phase(share_of(c->plan, candidate), f.n); /* counted whole when there is nothing to try */
    if (!status && f.n) status = try_codec(c, &candidate->codec, &f);
    pith_buffer_free(c->ctx, &f.own);
    return status;
}

pith_status select_block(pith_ctx *ctx, const select_plan *plan, const uint8_t *raw, size_t n, bool first,
                         uint8_t *coded, block_header *h) {
    *h = (block_header){
        .codec = &file_codec_stored, .raw_n = n, .transformed_n = n, .coded_n = n, .hash = pith_hash64(raw, n)};
    choice c = {.ctx = ctx, .plan = plan, .raw = raw, .n = n, .first = first, .coded = coded, .best = h};
    c.best_n = n + header_bytes(h);
    c.scratch = pith_alloc(ctx, n);
    if (!c.scratch) return pith_alloc_status(ctx);
    memcpy(coded, raw, n);
    static const select_codec run = {&file_codec_run, {0}};
    fronted plain = {.data = raw, .n = n};
    pith_status status = try_codec(&c, &run, &plain);
    bool done = h->codec == &file_codec_run;
    for (unsigned i = 0; i < plan->n_candidates && !status && !done; i++) {
        if (pith_cancelled(ctx)) status = PITH_E_CANCELLED;
        if (!status) status = try_candidate(&c, &plan->candidates[i]);
    }
    pith_phase(0, 0);
    pith_free(ctx, c.scratch);
    return status;
}

pith_status select_plan_make(pith_ctx *ctx, int level, const char *recipe, select_plan *plan, pith_buffer *canonical) {
    if (recipe) return select_recipe(ctx, recipe, plan, canonical);
    *plan = (select_plan){.level = (unsigned)level, .floats = level_floats(level)};
    plan->candidates = level_candidates(level, &plan->n_candidates);
    return PITH_OK;
}

/* ---- what a plan may need ------------------------------------------------------------ */

/* A front end may make the block longer; the buffer it makes stays while the codec works. */
static size_t longest(const select_plan *plan, const select_candidate *c, size_t raw_n) {
    bool text = c->fronts & FRONT_TEXT || (!plan->level && plan->front == &file_front_text);
    return c->fronts || plan->front ? raw_n + (text ? raw_n / 8 : 0) + 4096 : raw_n;
}

/* What a front end of its own needs to be undone. */
static uint64_t front_memory(const select_plan *plan, const select_candidate *c, size_t raw_n) {
    if (!plan->level) return plan->front ? plan->front->memory(&plan->front_args, raw_n) : 0;
    return c->fronts & FRONT_COLUMNS ? file_front_columns.memory(NULL, raw_n) : 0;
}

/* What taking lines apart needs, at most; it is given back before the codec begins. */
static uint64_t front_work(const select_plan *plan, const select_candidate *c, size_t raw_n) {
    bool columns = c->fronts & FRONT_COLUMNS || (!plan->level && plan->front == &file_front_columns);
    return columns ? 14 * (uint64_t)raw_n + (4u << 20) : 0;
}

uint64_t select_encode_memory(const select_plan *plan, size_t raw_n) {
    uint64_t most = 0;
    for (unsigned i = 0; i < plan->n_candidates; i++) {
        const select_candidate *c = &plan->candidates[i];
        size_t n = longest(plan, c, raw_n);
        uint64_t bytes = c->codec.codec->memory(&c->codec.args, n, false) + (n > raw_n ? 2 * (uint64_t)n : 0);
        most = PITH_MAX(most, PITH_MAX(bytes, front_work(plan, c, raw_n)));
    }
    return most + raw_n;
}

uint64_t select_decode_memory(const select_plan *plan, size_t raw_n) {
    uint64_t most = 0;
    for (unsigned i = 0; i < plan->n_candidates; i++) {
        const select_candidate *c = &plan->candidates[i];
        size_t n = longest(plan, c, raw_n);
        most = PITH_MAX(most, c->codec.codec->memory(&c->codec.args, n, true) + (n > raw_n ? n : 0) +
                                   front_memory(plan, c, raw_n));
    }
    return most + 2 * (uint64_t)raw_n;
}

double select_decode_ns_per_byte(const select_plan *plan) {
    double most = 0;
    for (unsigned i = 0; i < plan->n_candidates; i++) {
        const select_candidate *c = &plan->candidates[i];
        double ns = (double)c->codec.codec->cost(&c->codec.args) + (c->fronts || plan->front ? BLOCK_FRONT_NS : 0);
        most = PITH_MAX(most, ns);
    }
    return most;
}
