/* The choice of codec for one block: every candidate of the plan that can pay, smallest result
 * kept. See levels.c for the candidates and select_front.c for what goes before them. */
#include "artefacts/file/select.h"

#include "artefacts/file/frame.h"
#include "artefacts/file/select_front.h"

/* zstd on a sample tells whether long repeats may win. What it makes of a file is at most so many
 * times what LZMA does: 1.45 at level 9 and 1.24 at level 19 on binary files, where LZMA often wins;
 * text it only wins where it is little ahead of zstd. Measured on the same files as in select_front.c. */
#define REPEATS_SAMPLE ((size_t)256 << 10)
#define NOTHING_GAINED 0.98
#define CLOSE 1.02
#define SHARE_SLACK 1.15
#define ALONE 1.15 /* a sample coded alone is larger than its share of the block, by about so much */
static const struct {
    double at_9, at_19;
} repeats_binary = {1.45, 1.24}, repeats_text = {1.2, 1.08}, repeats_after_bwt = {1.5, 1.2};
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
    if (status || h.coded_n > c->n || h.coded_n == 0 || !block_time_is_fair(&h, c->first)) return status;
    size_t total = h.coded_n + header_bytes(&h);
    if (total >= c->best_n) return PITH_OK;
    memcpy(c->coded, c->scratch, h.coded_n);
    *c->best = h;
    c->best_n = total;
    return PITH_OK;
}

/* Whether LZMA may beat what the block has come to. */
static pith_status repeats_may_win(choice *c, const select_candidate *candidate, bool *may) {
    const select_codec *lzma = &candidate->codec;
    *may = false;
    if ((double)c->best_n > NOTHING_GAINED * (double)c->n) return PITH_OK; /* LZMA would find nothing either */
    static const select_codec zstd_9 = {&file_codec_zstd, {1, {9}}}, zstd_19 = {&file_codec_zstd, {1, {19}}};
    size_t sample_n, size, here = c->best_n;
    const uint8_t *sample = select_sample(c->raw, c->n, REPEATS_SAMPLE, &sample_n);
    pith_status status = PITH_OK;
    fronted f = {0};
    bool pays;
    bool after_bwt = c->best->codec == &file_codec_bwt, text = select_is_text(c->raw, c->n);
    if (!text && c->plan->level >= 5) { /* a sample of numbers or code tells little of the rest: pop.nc, 8 % */
        *may = true;
        return PITH_OK;
    }
    /* what the front end did for the block it would do for LZMA too */
    status = front_apply(c->ctx, c->best->front, NULL, sample, sample_n, &f, &pays);
    if (!status) status = select_trial(c->ctx, &zstd_9, f.data, f.n, &size);
    double at_9 = after_bwt ? repeats_after_bwt.at_9 : text ? repeats_text.at_9 : repeats_binary.at_9;
    double at_19 = after_bwt ? repeats_after_bwt.at_19 : text ? repeats_text.at_19 : repeats_binary.at_19;
    double share = (double)here * ((double)sample_n / (double)c->n);
    if (!status && sample_n < c->n && (double)size < at_9 * ALONE * share) {
        select_codec so_far = {c->best->codec, c->best->codec_args};
        if (c->plan->level > 6) so_far = c->plan->candidates[0].trial;
        status = select_trial(c->ctx, &so_far, f.data, f.n, &here);
    } else if (sample_n < c->n) {
        here = 0; /* far from it */
    }
    if (!status && (double)size < at_9 * (double)here && (double)size < NOTHING_GAINED * (double)sample_n) {
        status = select_trial(c->ctx, &zstd_19, f.data, f.n, &size);
        *may = !status && (double)size < at_19 * (double)here;
    }
    if (*may && sample_n < c->n) { /* LZMA on all of a long block is worth a closer look at the sample */
        status = select_trial(c->ctx, lzma, f.data, f.n, &size);
        *may = !status && (double)size < CLOSE * (double)here;
    }
    pith_buffer_free(c->ctx, &f.own);
    return status;
}

/* Whether another codec gets more out of a block that hardly shrank. */
static pith_status dense_may_win(choice *c, const select_codec *codec, bool *may) {
    *may = false;
    if ((double)c->best_n < DENSE * (double)c->n) return PITH_OK;
    size_t sample_n, here, there;
    const uint8_t *sample = select_sample(c->raw, c->n, DENSE_SAMPLE, &sample_n);
    pith_status status = select_trial(c->ctx, &c->plan->candidates[0].trial, sample, sample_n, &here);
    if (!status) status = select_trial(c->ctx, codec, sample, sample_n, &there);
    *may = !status && there < here;
    return status;
}

static pith_status try_candidate(choice *c, const select_candidate *candidate) {
    bool may = true;
    pith_status status = PITH_OK;
    if (candidate->when == WHEN_REPEATS_WIN) status = repeats_may_win(c, candidate, &may);
    if (candidate->when == WHEN_POOR) may = (double)c->best_n > POOR * (double)c->n;
    if (candidate->when == WHEN_DENSE) status = dense_may_win(c, &candidate->codec, &may);
    if (status || !may) return status;
    fronted f;
    status = c->plan->level ? front_choose(c->ctx, candidate, c->raw, c->n, &f)
                            : front_apply(c->ctx, c->plan->front, &c->plan->front_args, c->raw, c->n, &f, &may);
    if (!status) status = try_codec(c, &candidate->codec, &f);
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

uint64_t select_encode_memory(const select_plan *plan, size_t raw_n) {
    uint64_t most = 0;
    for (unsigned i = 0; i < plan->n_candidates; i++) {
        const select_candidate *c = &plan->candidates[i];
        size_t n = longest(plan, c, raw_n);
        uint64_t bytes = c->codec.codec->memory(&c->codec.args, n, false) + (n > raw_n ? 2 * (uint64_t)n : 0);
        most = PITH_MAX(most, bytes);
    }
    return most + raw_n;
}

uint64_t select_decode_memory(const select_plan *plan, size_t raw_n) {
    uint64_t most = 0;
    for (unsigned i = 0; i < plan->n_candidates; i++) {
        const select_candidate *c = &plan->candidates[i];
        size_t n = longest(plan, c, raw_n);
        most = PITH_MAX(most, c->codec.codec->memory(&c->codec.args, n, true) + (n > raw_n ? n : 0));
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
