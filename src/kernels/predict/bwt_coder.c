/* Entropy coder of Burrows-Wheeler output: the same symbol again, or which other one.
 *
 * A Burrows-Wheeler transform puts equal symbols in runs, so one binary decision, "again?",
 * is coded per symbol, from the lengths of this run and of earlier ones. Another symbol takes
 * eight binary decisions, whose contexts are the symbols around and how far each of the last
 * four agrees with the bits known so far: move-to-front ranks without moving anything.
 * Every decision mixes a few adaptive probabilities in the logistic domain and refines the
 * result by an interpolated map. Integers only. */
#include "kernels/predict/bwt_coder.h"

#include "kernels/predict/predict.h"
#include "kernels/predict/rc.h"

/* Visits after which a cell's step stops shrinking: small is quick to follow changes. */
static const uint16_t flag_limits[BWT_FLAG_INPUTS] = {30, 12, 100, 12};
static const uint16_t byte_limits[BWT_BYTE_INPUTS] = {2, 20, 10, 250, 60};

#define WEIGHT_FIRST (65536 / 5)
#define MIX_SHIFT 16
#define APM_SHIFT 6
#define P_MIN 16 /* of the coded probability, in 1/65536ths: a miss costs 12 bits */

static void cells_init(bwt_cell *cells, size_t bytes) {
    for (size_t i = 0; i < bytes / sizeof *cells; i++) cells[i] = 1u << 31;
}

static void weights_init(int32_t *weights, size_t bytes) {
    for (size_t i = 0; i < bytes / sizeof *weights; i++) weights[i] = WEIGHT_FIRST;
}

static void model_init(bwt_model *m) {
    memset(m, 0, sizeof *m);
    logistic_init(&m->tables);
    for (uint32_t i = 0; i < 256; i++) m->step[i] = 655360 / (10 * i + 16);
    cells_init(m->flag_history, sizeof m->flag_history);
    cells_init((bwt_cell *)m->flag_symbol, sizeof m->flag_symbol);
    cells_init((bwt_cell *)m->flag_runs, sizeof m->flag_runs);
    cells_init((bwt_cell *)m->flag_pair, sizeof m->flag_pair);
    cells_init(m->byte_fast, sizeof m->byte_fast);
    cells_init(m->byte_slow, sizeof m->byte_slow);
    cells_init((bwt_cell *)m->byte_last, sizeof m->byte_last);
    cells_init((bwt_cell *)m->byte_before, sizeof m->byte_before);
    cells_init((bwt_cell *)m->byte_rank, sizeof m->byte_rank);
    weights_init((int32_t *)m->flag_weights, sizeof m->flag_weights);
    weights_init((int32_t *)m->byte_weights, sizeof m->byte_weights);
    uint16_t curve[BWT_APM_BINS];
    for (int i = 0; i < BWT_APM_BINS; i++) curve[i] = (uint16_t)squash16(&m->tables, (i - 16) * 128);
    for (size_t i = 0; i < 256; i++) {
        memcpy(m->flag_apm[i], curve, sizeof curve);
        memcpy(m->byte_apm[i], curve, sizeof curve);
    }
}

/* 0..31, growing with the length by quarters of an octave from 4 on */
PITH_INLINE unsigned run_class(uint32_t run) {
    if (run < 4) return run;
    unsigned top = 31u - (unsigned)__builtin_clz(run);
    unsigned c = 4 * (top - 1) + (run >> (top - 2) & 3);
    return c < BWT_RUN_CLASSES ? c : BWT_RUN_CLASSES - 1;
}

PITH_INLINE void cell_update(const bwt_model *m, bwt_cell *cell, unsigned bit, unsigned limit) {
    uint32_t v = *cell, n = v & 1023;
    int32_t p = (int32_t)(v >> 10), target = bit ? (1 << 22) - 1 : 0;
    p += (int32_t)(((int64_t)(target - p) * m->step[n]) >> 16);
    *cell = (uint32_t)p << 10 | (n < limit ? n + 1 : n);
}

typedef struct coder {
    rc_enc enc;
    rc_dec dec;
} coder;

/* One decision: predict from n cells, code, learn. Inlined with constant `n` and `decoding`. */
PITH_INLINE unsigned decide(bwt_model *m, coder *c, bool decoding, unsigned bit, bwt_cell *const *cells,
                            const uint16_t *limits, int n, int32_t *weights, uint16_t *apm) {
    int32_t in[BWT_BYTE_INPUTS];
    int64_t sum = 0;
    for (int i = 0; i < n; i++) {
        in[i] = m->tables.stretch[*cells[i] >> 20];
        sum += (int64_t)weights[i] * in[i];
    }
    int32_t x = (int32_t)(sum >> 16);
    x = x > STRETCH_MAX ? STRETCH_MAX : x < -STRETCH_MAX ? -STRETCH_MAX : x;
    int32_t p = (int32_t)squash16(&m->tables, x);
    uint32_t at = (uint32_t)(x + 2048), low = at >> 7, part = at & 127;
    int32_t refined = (int32_t)((apm[low] * (128 - part) + apm[low + 1] * part) >> 7);
    int32_t final = (p + refined) >> 1;
    final = final < P_MIN ? P_MIN : final > 65536 - P_MIN ? 65536 - P_MIN : final;

    if (decoding)
        bit = rc_dec_bit(&c->dec, (unsigned) final);
    else
        rc_enc_bit(&c->enc, (unsigned) final, bit);

    int32_t error = (int32_t)(bit << 16) - p;
    for (int i = 0; i < n; i++) {
        weights[i] += (int32_t)(((int64_t)in[i] * error + (1 << (MIX_SHIFT - 1))) >> MIX_SHIFT);
        cell_update(m, cells[i], bit, limits[i]);
    }
    uint16_t *nearest = &apm[low + (part >> 6)];
    *nearest = (uint16_t)(bit ? *nearest + ((65535 - *nearest) >> APM_SHIFT) : *nearest - (*nearest >> APM_SHIFT));
    return bit;
}

PITH_INLINE unsigned code_again(bwt_model *m, coder *c, bool decoding, unsigned again) {
    unsigned symbol = m->recent[0], run = run_class(m->run);
    bwt_cell *cells[BWT_FLAG_INPUTS] = {
        &m->flag_history[m->flags & 255],
        &m->flag_symbol[symbol][run],
        &m->flag_runs[run][m->run_of[symbol]][m->run_before],
        &m->flag_pair[symbol][m->recent[1]],
    };
    return decide(m, c, decoding, again, cells, flag_limits, BWT_FLAG_INPUTS, m->flag_weights[run],
                  m->flag_apm[symbol]);
}

/* 0: `symbol` has left the path `known`; 1, 2: it is on it and its next bit is 0, 1. `shift` bits are
 * to come after the next one. */
PITH_INLINE unsigned agreement(unsigned symbol, unsigned known, unsigned shift) {
    unsigned path = symbol | 256;
    return path >> (shift + 1) == known ? 1 + (path >> shift & 1) : 0;
}

PITH_INLINE unsigned code_other(bwt_model *m, coder *c, bool decoding, unsigned symbol) {
    const uint8_t *recent = m->recent;
    unsigned known = 1;
    for (unsigned shift = 8; shift-- > 0;) {
        unsigned agree = 27 * agreement(recent[0], known, shift) + 9 * agreement(recent[1], known, shift) +
                         3 * agreement(recent[2], known, shift) + agreement(recent[3], known, shift);
        bwt_cell *cells[BWT_BYTE_INPUTS] = {
            &m->byte_fast[known],
            &m->byte_slow[known],
            &m->byte_last[recent[0]][known],
            &m->byte_before[recent[1]][known],
            &m->byte_rank[agree][m->ranks & 255],
        };
        known = known << 1 | decide(m, c, decoding, symbol >> shift & 1, cells, byte_limits, BWT_BYTE_INPUTS,
                                    m->byte_weights[agree], m->byte_apm[known]);
    }
    return known & 255;
}

static void note_other(bwt_model *m, uint8_t symbol) {
    uint8_t *recent = m->recent;
    unsigned run = run_class(m->run), rank = 3;
    m->run_before = m->run_of[recent[0]] = (uint8_t)PITH_MIN(run, 15u);
    m->run = 0;
    for (unsigned i = 1; i < 3; i++)
        if (recent[i] == symbol && rank == 3) rank = i - 1;
    if (rank == 3) rank = 2 + (recent[3] != symbol);
    m->ranks = m->ranks << 2 | rank;
    for (unsigned i = PITH_MIN(rank + 1, 4u); i > 0; i--) recent[i] = recent[i - 1];
    recent[0] = symbol;
}

PITH_INLINE unsigned code_symbol(bwt_model *m, coder *c, bool decoding, unsigned symbol) {
    unsigned again = code_again(m, c, decoding, symbol == m->recent[0]);
    m->flags = m->flags << 1 | again;
    if (again) {
        m->run++;
        return m->recent[0];
    }
    symbol = code_other(m, c, decoding, symbol);
    note_other(m, (uint8_t)symbol);
    return symbol;
}

uint64_t bwt_coder_memory(void) { return sizeof(bwt_model); }

#define STEP ((size_t)1 << 16) /* symbols between reports of progress */

pith_status bwt_coder_encode(pith_ctx *ctx, const uint8_t *symbols, size_t n, uint8_t *dst, size_t cap, size_t *out_n) {
    bwt_model *m = pith_alloc(ctx, sizeof *m);
    if (!m) return pith_alloc_status(ctx);
    model_init(m);
    coder c;
    rc_enc_init(&c.enc, dst, cap);
    bool stop = false;
    for (size_t i = 0; i < n && !c.enc.full && !stop; i++) {
        code_symbol(m, &c, false, symbols[i]);
        if (i % STEP == STEP - 1) stop = pith_step(ctx, STEP);
    }
    *out_n = rc_enc_finish(&c.enc);
    pith_free(ctx, m);
    stop = stop || pith_step(ctx, n % STEP);
    return stop ? pith_fail(ctx, PITH_E_CANCELLED, "cancelled") : PITH_OK;
}

pith_status bwt_coder_decode(pith_ctx *ctx, const uint8_t *src, size_t n, uint8_t *symbols, size_t symbols_n) {
    bwt_model *m = pith_alloc(ctx, sizeof *m);
    if (!m) return pith_alloc_status(ctx);
    model_init(m);
    coder c;
    rc_dec_init(&c.dec, src, n);
    bool stop = false;
    for (size_t i = 0; i < symbols_n && !stop; i++) {
        symbols[i] = (uint8_t)code_symbol(m, &c, true, 0);
        if (i % STEP == STEP - 1) stop = pith_step(ctx, STEP);
    }
    pith_free(ctx, m);
    stop = stop || pith_step(ctx, symbols_n % STEP);
    if (stop) return pith_fail(ctx, PITH_E_CANCELLED, "cancelled");
    if (!rc_dec_ok(&c.dec)) return pith_fail(ctx, PITH_E_FORMAT, "bytes left over behind the symbols of a BWT block");
    return PITH_OK;
}
