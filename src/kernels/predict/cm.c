/* The context mixer as a whole: its memory, its start, coding with it. */
#include "kernels/predict/cm.h"

#include "kernels/predict/cm_neural.h"

#define CM_WHOLE 8192 /* last bytes of the primer that mixers hear too */
#define WEIGHT_ONE (1 << 14)
#define DIRECT_CELLS (256 * 17 * SLOT) /* order 1, behind the hashed slots */
#define FIRST_WEIGHT 750 /* of every input */

static const cm_size *size_of(const cm_params *p) {
    pith_cpu_level cpu = pith_cpu_best();
    (void)cpu;
#if defined(__x86_64__) && !defined(PITH_NO_X86)
    if (p->inputs == CM_SMALL)
        return cpu == PITH_CPU_AVX512 ? &cm_small_avx512 : cpu == PITH_CPU_AVX2 ? &cm_small_avx2 : &cm_small_scalar;
    if (p->ssm_width)
        return cpu == PITH_CPU_AVX512 ? &cm_neural_avx512 : cpu == PITH_CPU_AVX2 ? &cm_neural_avx2 : &cm_neural_scalar;
    return cpu == PITH_CPU_AVX512 ? &cm_large_avx512 : cpu == PITH_CPU_AVX2 ? &cm_large_avx2 : &cm_large_scalar;
#else
    return p->inputs == CM_SMALL ? &cm_small_scalar : p->ssm_width ? &cm_neural_scalar : &cm_large_scalar;
#endif
}

/* The same model less its last lanes and weight set. */
static const cm_size *without_ssm(const cm_params *p) {
    cm_params plain = *p;
    plain.ssm_width = 0;
    return size_of(&plain);
}

/* Tables are as large as the input deserves: lines of 64 bytes for its contexts' slots. */
static unsigned table_bits(const cm_size *size, size_t n) {
    unsigned bits = 10;
    unsigned most = size->n_ctx < 16 ? 21 : 22;
    while (bits < most && (UINT64_C(4) << bits) < (uint64_t)n * size->n_ctx) bits++;
    return bits;
}

static unsigned match_bits(size_t n) {
    unsigned bits = 12;
    while (bits < 22 && ((size_t)1 << bits) < n) bits++;
    return bits;
}

typedef struct sizes {
    size_t n, buf, table, runs, match, map, weights[CM_MAX_SETS], final_weights, apm[CM_N_APM];
} sizes;

static sizes sizes_of(const cm_size *size, const cm_params *p, size_t max_bytes) {
    sizes s = {.n = max_bytes + p->primer_n};
    s.buf = s.n + 8;
    s.table = ((size_t)64 << table_bits(size, s.n)) + DIRECT_CELLS * 2;
    s.runs = size->n_run ? (size_t)4 << table_bits(size, s.n) : 0;
    s.match = (size_t)4 << match_bits(s.n);
    s.map = size->lanes * CM_MAP_SIZE * sizeof(int16_t);
    for (unsigned i = 0; i < size->n_sets; i++) s.weights[i] = (size_t)size->set_rows[i] * size->n_in * 2;
    s.final_weights = 256 * CM_VOTES * 2;
    size_t rows = 1024;
    while (rows < 16384 && rows < s.n) rows *= 2;
    for (unsigned i = 0; i < CM_N_APM; i++) s.apm[i] = (i ? rows : 256) * APM_BUCKETS * 2;
    return s;
}

static ssm_params ssm_of(const cm_params *p, size_t max_bytes) {
    ssm_params sp = ssm_params_for(PITH_MIN(p->primer_n, CM_SSM_PRIMER) + max_bytes);
    sp.width = p->ssm_width;
    return sp;
}

uint64_t cm_memory(const cm_params *p, size_t n) {
    const cm_size *size = size_of(p);
    sizes s = sizes_of(size, p, n);
    uint64_t total = sizeof(cm) + s.buf + s.table + s.runs + size->n_match * s.match + s.map + 2 * s.final_weights;
    for (unsigned i = 0; i < CM_N_APM; i++) total += s.apm[i];
    for (unsigned i = 0; i < size->n_sets; i++) total += s.weights[i];
    ssm_params sp = ssm_of(p, n);
    return total + (p->ssm_width ? ssm_memory(&sp) : 0);
}

/* Puts every adaptive part at its start. */
static void begin(cm *m, bool fresh) {
    const cm_size *size = m->size;
    sizes s = sizes_of(size, &m->params, m->max_bytes);
    cm_history_init(&m->history, m->buf, m->params.record);
    m->history.no_fields = m->params.no_fields;
    if (!fresh) {
        /* new ones come zeroed, and untouched pages of them cost nothing */
        memset(m->table, 0, s.table);
        if (s.runs) memset(m->run_table, 0, s.runs);
        for (unsigned k = 0; k < size->n_match; k++) memset(m->match[k].table, 0, s.match);
    }
    for (size_t i = 0; i < DIRECT_CELLS; i++) m->table[m->order1 + i] = CELL_NEW;
    memset(&m->row, 0, sizeof m->row);
    unsigned cells = size->n_ctx + 1;
    for (unsigned i = 0; i < size->lanes; i++)
        for (unsigned k = 0; k < CM_MAP_SIZE; k++) m->map[i * CM_MAP_SIZE + k] = (int16_t)(m->logistic.stretch[(k & 63) * 64 + 32] * 16);
    for (unsigned i = cells; i < cells + size->n_match + size->n_run; i++)
        for (unsigned k = 0; k < 64; k++) {
            /* the longer, the surer */
            int p = 32 * (int)PITH_MIN((k / 2) * 2 + 8, 62u);
            m->map[i * CM_MAP_SIZE + 64 + k] = (int16_t)(m->logistic.stretch[2048 + ((k & 1) ? p : -p)] * 16);
        }
    memset(m->map + (cells + size->n_match + size->n_run) * CM_MAP_SIZE, 0, CM_MAP_SIZE * sizeof *m->map);
    m->dither = 0;
    for (unsigned k = 0; k < CM_N_MATCH; k++) {
        m->match[k].length = m->match[k].at = m->match[k].found = m->match[k].place = 0;
        m->match[k].min_length = k ? 12 : 6;
        m->match[k].mask = (uint32_t)(s.match / 4 - 1);
        m->match[k].expected_bit = -1;
    }
    for (unsigned i = 0; i < size->n_sets; i++)
        for (size_t k = 0; k < s.weights[i] / 2; k++) m->weights[i][k] = FIRST_WEIGHT;
    for (unsigned i = 0; i < 2; i++)
        for (size_t k = 0; k < s.final_weights / 2; k++)
            m->final_weights[i][k] = (int16_t)(k % CM_VOTES < size->n_sets ? WEIGHT_ONE / (int)size->n_sets : 0);
    uint16_t row[APM_BUCKETS];
    for (int b = 0; b < APM_BUCKETS; b++) row[b] = (uint16_t)squash16(&m->logistic, apm_centre(b));
    for (unsigned i = 0; i < CM_N_APM; i++)
        for (size_t at = 0; at < s.apm[i]; at += sizeof row) memcpy((uint8_t *)m->apm[i] + at, row, sizeof row);
    memset(m->x, 0, sizeof m->x);
    memset(m->votes, 0, sizeof m->votes);
    m->n_bytes = 0;
    if (m->ssm) {
        for (unsigned i = 0; i < PITH_COUNT(m->ssm_by_match); i++) m->ssm_by_match[i] = ((i & 63) << 16 | 1 << 15) << 10;
        for (unsigned i = 0; i < PITH_COUNT(m->ssm_by_c0); i++) m->ssm_by_c0[i] = ((i & 31) << 17 | 1 << 16) << 10;
        cm_neural_tree(m);
    }
    size->start(m);
    size_t alone = m->ssm && m->params.primer_n > CM_SSM_PRIMER ? m->params.primer_n - CM_SSM_PRIMER : 0;
    if (alone) without_ssm(&m->params)->learn(m, m->params.primer, alone, 0);
    size->learn(m, m->params.primer + alone, m->params.primer_n - alone, CM_WHOLE);
}

static void cm_free(predictor *base) {
    cm *m = (cm *)(void *)base;
    if (!m) return;
    pith_ctx *ctx = m->base.ctx;
    pith_free(ctx, m->buf);
    pith_free(ctx, m->table);
    pith_free(ctx, m->map);
    pith_free(ctx, m->run_table);
    for (unsigned i = 0; i < CM_N_MATCH; i++) pith_free(ctx, m->match[i].table);
    for (unsigned i = 0; i < CM_MAX_SETS; i++) pith_free(ctx, m->weights[i]);
    for (unsigned i = 0; i < 2; i++) pith_free(ctx, m->final_weights[i]);
    for (unsigned i = 0; i < CM_N_APM; i++) pith_free(ctx, m->apm[i]);
    ssm_free(m->ssm);
    pith_free(ctx, m);
}

static unsigned op_p(predictor *base) {
    cm *m = (cm *)(void *)base;
    return m->size->p(m);
}

static void op_update(predictor *base, unsigned bit) {
    cm *m = (cm *)(void *)base;
    m->size->update(m, bit);
}

static pith_status new_ssm(cm *m) {
    ssm_params sp = ssm_of(&m->params, m->max_bytes);
    ssm *fresh;
    pith_status status = ssm_new(m->base.ctx, &sp, &fresh);
    if (status) return status; /* the old one, if any, stays */
    ssm_free(m->ssm);
    m->ssm = fresh;
    return PITH_OK;
}

static pith_status op_reset(predictor *base) {
    cm *m = (cm *)(void *)base;
    if (m->ssm) {
        pith_status status = new_ssm(m);
        if (status) return status;
    }
    begin(m, false);
    return PITH_OK;
}

static pith_status op_copy(predictor *to, const predictor *from) {
    cm *d = (cm *)(void *)to;
    const cm *s = (const cm *)(const void *)from;
    if (d->size != s->size || d->max_bytes != s->max_bytes || d->params.primer_n != s->params.primer_n ||
        d->params.ssm_width != s->params.ssm_width)
        return pith_fail(to->ctx, PITH_E_ARGUMENT, "a predictor can only become a copy of one with its own parameters");
    sizes z = sizes_of(s->size, &s->params, s->max_bytes);
    cm old = *d;
    *d = *s;
    d->base = old.base;
    d->buf = old.buf;
    d->table = old.table;
    d->map = old.map;
    d->run_table = old.run_table;
    d->ssm = old.ssm;
    d->history.buf = old.buf;
    memcpy(d->buf, s->buf, z.buf);
    memcpy(d->table, s->table, z.table);
    memcpy(d->map, s->map, z.map);
    if (z.runs) memcpy(d->run_table, s->run_table, z.runs);
    for (unsigned i = 0; i < s->size->n_match; i++) {
        d->match[i].table = old.match[i].table;
        memcpy(d->match[i].table, s->match[i].table, z.match);
    }
    for (unsigned i = 0; i < s->size->n_sets; i++) {
        d->weights[i] = old.weights[i];
        memcpy(d->weights[i], s->weights[i], z.weights[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        d->final_weights[i] = old.final_weights[i];
        memcpy(d->final_weights[i], s->final_weights[i], z.final_weights);
    }
    for (unsigned i = 0; i < CM_N_APM; i++) {
        d->apm[i] = old.apm[i];
        memcpy(d->apm[i], s->apm[i], z.apm[i]);
    }
    for (unsigned i = 0; i < s->size->n_run; i++) d->run[i] = d->run_table + (s->run[i] - s->run_table);
    if (s->ssm) ssm_copy(d->ssm, s->ssm);
    return PITH_OK;
}

static const predictor_ops cm_ops = {"cm", op_p, op_update, op_reset, op_copy, cm_free};

static pith_status cm_new(pith_ctx *ctx, const cm_params *params, size_t max_bytes, cm **out) {
    *out = NULL;
    if (max_bytes > UINT32_MAX / 2 || params->primer_n > UINT32_MAX / 4)
        return pith_fail(ctx, PITH_E_LIMIT, "a context-mixing block holds at most %u bytes", UINT32_MAX / 2);
    if (params->record == 1 || params->record > UINT16_MAX)
        return pith_fail(ctx, PITH_E_ARGUMENT, "records of %u bytes cannot be modelled", params->record);
    const cm_size *size = size_of(params);
    sizes s = sizes_of(size, params, max_bytes);
    cm *m = pith_zalloc(ctx, sizeof *m);
    if (!m) return pith_alloc_status(ctx);
    m->base = (predictor){&cm_ops, ctx};
    m->size = size;
    m->params = *params;
    m->max_bytes = max_bytes;
    logistic_init(&m->logistic);
    for (unsigned i = 0; i < PITH_COUNT(m->steps.step); i++) m->steps.step[i] = 65536 * 2 / (2 * i + 3);
    for (unsigned i = 0; i < 16; i++) {
        cm_bytes16_set(&m->cell_steps, i, (int)(32768 * 2 / (2 * i + 3 + (i == 15 ? 8 : 0))));
        int low = ((int)squash16(&m->logistic, (int)i * 128) - 32768) / 2;
        int high = ((int)squash16(&m->logistic, (int)(i + 1) * 128) - 32768) / 2;
        cm_bytes16_set(&m->squash.base, i, low);
        cm_bytes16_set(&m->squash.slope, i, (high - low) * 2);
    }
    m->table_mask = (1u << table_bits(size, s.n)) - 1;
    m->order1 = (m->table_mask + 1) * 32;
    m->apm_mask = (uint32_t)(s.apm[1] / (APM_BUCKETS * 2) - 1);
    bool got = (m->buf = pith_zalloc(ctx, s.buf)) && (m->table = pith_zalloc(ctx, s.table)) &&
               (m->map = pith_alloc(ctx, s.map)) && (!s.runs || (m->run_table = pith_zalloc(ctx, s.runs)));
    for (unsigned i = 0; got && i < size->n_match; i++) got = (m->match[i].table = pith_zalloc(ctx, s.match)) != NULL;
    for (unsigned i = 0; got && i < size->n_sets; i++) got = (m->weights[i] = pith_alloc(ctx, s.weights[i])) != NULL;
    for (unsigned i = 0; got && i < 2; i++) got = (m->final_weights[i] = pith_alloc(ctx, s.final_weights)) != NULL;
    for (unsigned i = 0; got && i < CM_N_APM; i++) got = (m->apm[i] = pith_alloc(ctx, s.apm[i])) != NULL;
    pith_status status = got ? PITH_OK : pith_alloc_status(ctx);
    if (!status && params->ssm_width) status = new_ssm(m);
    if (status) {
        cm_free(&m->base);
        return status;
    }
    begin(m, true);
    *out = m;
    return PITH_OK;
}

pith_status cm_predictor_new(pith_ctx *ctx, const cm_params *params, size_t max_bytes, predictor **out) {
    cm *m;
    pith_status status = cm_new(ctx, params, max_bytes, &m);
    *out = status ? NULL : &m->base;
    return status;
}

pith_status cm_encode(pith_ctx *ctx, const cm_params *params, const uint8_t *src, size_t n, uint8_t *dst, size_t cap,
                      size_t *out_n) {
    cm *m;
    pith_status status = cm_new(ctx, params, n, &m);
    if (status) return status;
    rc_enc e;
    rc_enc_init(&e, dst, cap);
    m->size->encode(m, &e, src, n);
    *out_n = rc_enc_finish(&e);
    cm_free(&m->base);
    return pith_cancelled(ctx) ? pith_fail(ctx, PITH_E_CANCELLED, "cancelled") : PITH_OK;
}

pith_status cm_decode(pith_ctx *ctx, const cm_params *params, const uint8_t *src, size_t src_n, uint8_t *dst, size_t n) {
    cm *m;
    pith_status status = cm_new(ctx, params, n, &m);
    if (status) return status;
    rc_dec d;
    rc_dec_init(&d, src, src_n);
    m->size->decode(m, &d, dst, n);
    if (pith_cancelled(ctx))
        status = pith_fail(ctx, PITH_E_CANCELLED, "cancelled");
    else if (!rc_dec_ok(&d))
        status = pith_fail(ctx, PITH_E_FORMAT, "the context-mixing stream does not end with its block");
    cm_free(&m->base);
    return status;
}
