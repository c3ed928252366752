/* LZMA blocks: one raw LZMA stream of liblzma without end mark, dictionary as large as the block,
 * behind one of the library's filters for machine code or a delta.
 *
 *   one byte (pb * 5 + lp) * 9 + lc; one byte filter (index into filter_ids); for delta one byte
 *   distance - 1; the stream.
 *
 * Arguments: preset 0..9; filter, 0 for "try"; distance of delta. The encoder tries the literal and
 * position settings, and the filters that the block's look suggests, on a sample. */
#include <lzma.h>

#include "artefacts/file/codec.h"
#include "artefacts/file/detect.h"

enum { FILTER_TRY, FILTER_NONE, FILTER_X86, FILTER_DELTA = 9, N_FILTERS = 10 };
/* In the stream less one; the order of the stage's choices. */
static const lzma_vli filter_ids[N_FILTERS] = {
    [FILTER_NONE] = LZMA_VLI_UNKNOWN,
    [FILTER_X86] = LZMA_FILTER_X86,
    LZMA_FILTER_POWERPC,
    LZMA_FILTER_IA64,
    LZMA_FILTER_ARM,
    LZMA_FILTER_ARMTHUMB,
    LZMA_FILTER_SPARC,
    LZMA_FILTER_ARM64,
    [FILTER_DELTA] = LZMA_FILTER_DELTA,
};
#define LZMA_BLOCK_MAX ((size_t)1 << 30)
#define SAMPLE ((size_t)1 << 19)
#define TRIAL_PRESET 2
#define DELTA_GAIN 32 /* the part by which it must be smaller on a sample */
#define PIECE ((size_t)1 << 16)
#define DECODED_PIECE ((size_t)1 << 20)

typedef struct setting {
    uint8_t lc, lp, pb, filter;
    uint16_t distance;
} setting;

/* A chain in the library's form; the options live beside it. */
typedef struct chain {
    lzma_options_lzma options;
    lzma_options_delta delta;
    lzma_filter filters[3];
} chain;

static void *lzma_take(void *opaque, size_t count, size_t size) {
    if (size && count > SIZE_MAX / size) return NULL;
    return pith_alloc(opaque, PITH_MAX(count * size, 1));
}

static void lzma_give(void *opaque, void *ptr) { pith_free(opaque, ptr); }

static bool chain_make(chain *c, const setting *s, uint32_t preset, size_t n) {
    memset(c, 0, sizeof *c);
    if (lzma_lzma_preset(&c->options, preset)) return false;
    c->options.dict_size = (uint32_t)PITH_MAX(n, (size_t)LZMA_DICT_SIZE_MIN);
    c->options.lc = s->lc;
    c->options.lp = s->lp;
    c->options.pb = s->pb;
    c->options.ext_size_low = (uint32_t)n;
    lzma_filter *f = c->filters;
    if (s->filter == FILTER_DELTA) {
        c->delta.type = LZMA_DELTA_TYPE_BYTE;
        c->delta.dist = s->distance;
        *f++ = (lzma_filter){LZMA_FILTER_DELTA, &c->delta};
    } else if (s->filter != FILTER_NONE) {
        *f++ = (lzma_filter){filter_ids[s->filter], NULL};
    }
    *f++ = (lzma_filter){LZMA_FILTER_LZMA1EXT, &c->options};
    *f = (lzma_filter){LZMA_VLI_UNKNOWN, NULL};
    return true;
}

static pith_status failed(pith_ctx *ctx, lzma_ret r) {
    switch (r) {
    case LZMA_MEM_ERROR: return pith_fail(ctx, pith_alloc_status(ctx), "no memory for LZMA");
    case LZMA_MEMLIMIT_ERROR: return pith_fail(ctx, PITH_E_LIMIT, "LZMA would pass the memory limit");
    case LZMA_OPTIONS_ERROR:
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "this liblzma does not have the filter asked for");
    default: return pith_fail(ctx, PITH_E_FORMAT, "malformed LZMA data");
    }
}

/* Codes src[n]; *out_n = SIZE_MAX when it does not fit. dst NULL: only the size is wanted, and the
 * bytes are no progress. The input goes in by pieces, which changes nothing in what comes out. */
static pith_status run_encoder(pith_ctx *ctx, const chain *c, const uint8_t *src, size_t n, uint8_t *dst, size_t cap,
                               size_t *out_n) {
    lzma_allocator allocator = {lzma_take, lzma_give, ctx};
    lzma_stream z = LZMA_STREAM_INIT;
    z.allocator = &allocator;
    lzma_ret r = lzma_raw_encoder(&z, c->filters);
    if (r != LZMA_OK) return failed(ctx, r);
    uint8_t discard[4096];
    z.next_in = src;
    z.next_out = dst ? dst : discard;
    z.avail_out = dst ? cap : sizeof discard;
    bool full = false, stop = false;
    while (r == LZMA_OK && !full && !stop) {
        size_t at = (size_t)(z.next_in - src);
        if (z.avail_in == 0) z.avail_in = PITH_MIN(n - at, PIECE);
        r = lzma_code(&z, z.avail_in == n - at ? LZMA_FINISH : LZMA_RUN);
        full = z.avail_out == 0 && dst && (r == LZMA_OK || r == LZMA_BUF_ERROR);
        if (z.avail_out == 0 && !dst) {
            z.next_out = discard;
            z.avail_out = sizeof discard;
        }
        stop = pith_step(ctx, dst ? (size_t)(z.next_in - src) - at : 0);
    }
    *out_n = r == LZMA_STREAM_END ? (size_t)z.total_out : SIZE_MAX;
    lzma_end(&z);
    if (stop) return file_cancelled(ctx);
    return r == LZMA_STREAM_END || full ? PITH_OK : failed(ctx, r);
}

typedef struct trial {
    pith_ctx *ctx;
    const uint8_t *src;
    size_t n, best_n;
    setting best;
} trial;

static pith_status try_setting(trial *t, setting s) {
    chain c;
    if (!chain_make(&c, &s, TRIAL_PRESET, t->n)) return pith_fail(t->ctx, PITH_E_INTERNAL, "liblzma lacks a preset");
    size_t size;
    pith_status status = run_encoder(t->ctx, &c, t->src, t->n, NULL, 0, &size);
    if (!status && size < t->best_n) {
        t->best_n = size;
        t->best = s;
    }
    return status;
}

/* Picks what the arguments leave open by coding the sample in several ways. */
static pith_status choose_on(trial *t, const file_args *args, const uint8_t *src, size_t n) {
    uint8_t filter = args->v[1] == FILTER_TRY ? FILTER_NONE : (uint8_t)args->v[1];
    uint16_t distance = (uint16_t)args->v[2];
    detect_result look;
    detect_block(src, n, &look);
    uint32_t record = detect_distance(src, n);
    if (filter == FILTER_DELTA && !distance) distance = (uint16_t)PITH_MIN(PITH_MAX(record, 1u), 256u);
    static const uint8_t settings[][3] = {{3, 0, 2}, {3, 0, 0}, {4, 0, 0}, {0, 0, 0}, {0, 2, 2}};
    pith_status status = PITH_OK;
    for (size_t i = 0; i < PITH_COUNT(settings) && !status; i++)
        status = try_setting(t, (setting){settings[i][0], settings[i][1], settings[i][2], filter, distance});
    if (status || args->v[1] != FILTER_TRY) return status;
    setting s = t->best;
    if (look.x86_calls > 0) {
        s.filter = FILTER_X86;
        status = try_setting(t, s);
    }
    if (!status && record >= 1 && record <= 256) {
        /* differences tear long repeats apart, of which a sample has fewer than the block */
        if (t->n < n) t->best_n -= t->best_n / DELTA_GAIN;
        s.filter = FILTER_DELTA;
        s.distance = (uint16_t)record;
        status = try_setting(t, s);
    }
    return status;
}

static pith_status choose(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, setting *best) {
    detect_sample sample;
    pith_status status = detect_sample_take(ctx, src, n, SAMPLE, &sample);
    if (status) return status;
    trial t = {.ctx = ctx, .src = sample.data, .n = sample.n, .best_n = SIZE_MAX};
    status = choose_on(&t, args, src, n);
    detect_sample_free(ctx, &sample);
    *best = t.best;
    return status;
}

static uint32_t preset_of(const file_args *args) { return args->v[0] | LZMA_PRESET_EXTREME; }

static pith_status encode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst, size_t cap,
                          size_t *out_n) {
    *out_n = SIZE_MAX;
    if (n > LZMA_BLOCK_MAX) return pith_fail(ctx, PITH_E_LIMIT, "an LZMA block has at most %zu bytes", LZMA_BLOCK_MAX);
    setting s;
    pith_status status = choose(ctx, args, src, n, &s);
    if (status) return status;
    size_t head = s.filter == FILTER_DELTA ? 3 : 2;
    if (cap < head) return PITH_OK;
    dst[0] = (uint8_t)((s.pb * 5 + s.lp) * 9 + s.lc);
    dst[1] = (uint8_t)(s.filter - 1);
    if (head == 3) dst[2] = (uint8_t)(s.distance - 1);
    chain c;
    if (!chain_make(&c, &s, preset_of(args), n)) return pith_fail(ctx, PITH_E_INTERNAL, "liblzma lacks a preset");
    status = run_encoder(ctx, &c, src, n, dst + head, cap - head, out_n);
    if (!status && *out_n != SIZE_MAX) *out_n += head;
    return status;
}

static pith_status decode(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                          size_t raw_n) {
    (void)args;
    if (raw_n > LZMA_BLOCK_MAX || n < 2 || src[0] >= 225 || src[1] + 1 >= N_FILTERS ||
        (src[1] + 1 == FILTER_DELTA && n < 3))
        return pith_fail(ctx, PITH_E_FORMAT, "the head of an LZMA block is malformed");
    setting s = {.lc = src[0] % 9, .lp = src[0] / 9 % 5, .pb = src[0] / 45, .filter = (uint8_t)(src[1] + 1)};
    if (s.lc + s.lp > 4) return pith_fail(ctx, PITH_E_FORMAT, "the head of an LZMA block is malformed");
    size_t head = 2;
    if (s.filter == FILTER_DELTA) s.distance = (uint16_t)(src[head++] + 1);
    chain c;
    if (!chain_make(&c, &s, 6, raw_n)) return pith_fail(ctx, PITH_E_INTERNAL, "liblzma lacks a preset");
    lzma_allocator allocator = {lzma_take, lzma_give, ctx};
    lzma_stream z = LZMA_STREAM_INIT;
    z.allocator = &allocator;
    lzma_ret r = lzma_raw_decoder(&z, c.filters);
    if (r != LZMA_OK) return failed(ctx, r);
    z.next_in = src + head;
    z.avail_in = n - head;
    z.next_out = dst;
    bool stop = false;
    do {
        size_t room = PITH_MIN(raw_n - (size_t)(z.next_out - dst), DECODED_PIECE);
        z.avail_out = room;
        r = lzma_code(&z, LZMA_FINISH);
        stop = pith_step(ctx, room - z.avail_out);
    } while (r == LZMA_OK && z.avail_out == 0 && z.next_out < dst + raw_n && !stop);
    bool exact = r == LZMA_STREAM_END && z.avail_in == 0 && z.next_out == dst + raw_n;
    lzma_end(&z);
    if (stop) return file_cancelled(ctx);
    if (exact) return PITH_OK;
    return failed(ctx, r == LZMA_MEM_ERROR ? r : LZMA_DATA_ERROR);
}

static pith_status check(pith_ctx *ctx, const file_args *args) {
    if (args->n == 3 && args->v[0] <= 9 && args->v[1] < N_FILTERS && args->v[2] <= 256) return PITH_OK;
    return pith_fail(ctx, PITH_E_FORMAT, "lzma takes a preset of 0 to 9, a filter below %d and a distance of 0 to 256",
                     N_FILTERS);
}

static uint64_t memory(const file_args *args, size_t raw_n, bool decoding) {
    /* the largest chain: a filter in front, and the most literal coders */
    setting s = {.lc = 4, .filter = FILTER_X86};
    chain c;
    if (!chain_make(&c, &s, preset_of(args), raw_n)) return UINT64_MAX;
    uint64_t bytes = decoding ? lzma_raw_decoder_memusage(c.filters) : lzma_raw_encoder_memusage(c.filters);
    if (decoding) return bytes;
    if (!chain_make(&c, &s, TRIAL_PRESET, PITH_MIN(raw_n, SAMPLE))) return UINT64_MAX;
    return PITH_MAX(bytes, lzma_raw_encoder_memusage(c.filters));
}

static uint32_t cost(const file_args *args) {
    (void)args;
    return 40;
}

static uint32_t encode_cost(const file_args *args) {
    (void)args;
    return 700;
}

const file_codec file_codec_lzma = {
    .id = 3,
    .name = "lzma",
    .encode = encode,
    .decode = decode,
    .check = check,
    .memory = memory,
    .cost = cost,
    .encode_cost = encode_cost,
};
