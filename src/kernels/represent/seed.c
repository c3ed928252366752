/* Blocks of weights in a pseudo-random basis: w = U(seed) t, the basis from a linear feedback shift register, few
 * coefficients t with few bits and a shared exponent (SeedLM, Shafipour et al. 2024). The bytes are one signed number,
 * the exponent of the matrix, and three planes: seeds, exponents, coefficients. */
#include "kernels/represent/seed.h"

#include <math.h>

/* Exponents x^a of maximal polynomials as taps: bit (bits - a), so that the register shifts to the right. */
static const uint32_t taps[SEED_MOST_BITS + 1] = {
    [8] = 1u | 1u << 2 | 1u << 3 | 1u << 4,    /* x^8 + x^6 + x^5 + x^4 + 1 */
    [9] = 1u | 1u << 4,                        /* x^9 + x^5 + 1 */
    [10] = 1u | 1u << 3,                       /* x^10 + x^7 + 1 */
    [11] = 1u | 1u << 2,                       /* x^11 + x^9 + 1 */
    [12] = 1u | 1u << 1 | 1u << 2 | 1u << 8,   /* x^12 + x^11 + x^10 + x^4 + 1 */
    [13] = 1u | 1u << 1 | 1u << 2 | 1u << 5,   /* x^13 + x^12 + x^11 + x^8 + 1 */
    [14] = 1u | 1u << 1 | 1u << 2 | 1u << 12,  /* x^14 + x^13 + x^12 + x^2 + 1 */
    [15] = 1u | 1u << 1,                       /* x^15 + x^14 + 1 */
    [16] = 1u | 1u << 1 | 1u << 3 | 1u << 12}; /* x^16 + x^15 + x^13 + x^4 + 1 */

uint32_t seed_step(unsigned bits, uint32_t state) {
    uint32_t x = state & taps[bits];
    x ^= x >> 8;
    x ^= x >> 4;
    x ^= x >> 2;
    x ^= x >> 1;
    return state >> 1 | (x & 1) << (bits - 1);
}

void seed_values(unsigned bits, uint32_t state, int32_t *values, size_t n) {
    for (size_t i = 0; i < n; i++) {
        values[i] = (int32_t)state - (1 << (bits - 1));
        state = seed_step(bits, state);
    }
}

float seed_scale(unsigned bits, int exponent) {
    uint32_t word = (uint32_t)(exponent + 127) << 23;
    float power;
    memcpy(&power, &word, sizeof power);
    return power / (float)((1 << (bits - 1)) - 1);
}

typedef struct seed_shape {
    size_t block, n_coefficients, groups, n; /* blocks in a row, in all */
    unsigned lfsr, bits;
} seed_shape;

static pith_status shape_of(const repr_job *job, const repr_matrix *w, seed_shape *s) {
    const double *value = job->args->value;
    *s = (seed_shape){.block = (size_t)value[SEED_BLOCK],
                      .n_coefficients = (size_t)value[SEED_COEFFICIENTS],
                      .lfsr = (unsigned)value[SEED_LFSR],
                      .bits = (unsigned)value[SEED_BITS]};
    if (s->n_coefficients > s->block)
        return pith_fail(job->ctx, PITH_E_ARGUMENT, "seed: %zu coefficients are more than the %zu weights of a block",
                         s->n_coefficients, s->block);
    s->groups = (w->cols + s->block - 1) / s->block;
    s->n = w->rows * s->groups;
    return PITH_OK;
}

enum { BASE_OFFSET = 128 }; /* the matrix's exponent is written as a number from 28 to 200 */

/* All states in the order of the register, the first of them once more behind the last, and where each stands: decoding
 * then reads what it would step through. */
typedef struct cycle {
    uint16_t *states, *place; /* [2^lfsr - 1 + most]; [2^lfsr] */
} cycle;

static pith_status cycle_new(pith_ctx *ctx, unsigned lfsr, size_t most, cycle *c) {
    size_t n = ((size_t)1 << lfsr) - 1;
    c->states = pith_alloc(ctx, (n + most) * sizeof *c->states);
    c->place = pith_alloc(ctx, (n + 1) * sizeof *c->place);
    if (!c->states || !c->place) return pith_alloc_status(ctx);
    c->place[0] = 0;
    for (size_t i = 0, state = 1; i < n + most; i++, state = seed_step(lfsr, (uint32_t)state)) {
        c->states[i] = (uint16_t)state;
        if (i < n) c->place[state] = (uint16_t)i;
    }
    return PITH_OK;
}

static void decode_block(const seed_shape *s, const uint16_t *states, const int32_t *c, float scale, float *w,
                         size_t n) {
    int32_t middle = 1 << (s->lfsr - 1);
    for (size_t i = 0; i < n; i++) { /* below 2^(15 + 7 + 3): an exact integer, then one rounding */
        int32_t sum = 0;
        for (size_t k = 0; k < s->n_coefficients; k++) sum += (states[i * s->n_coefficients + k] - middle) * c[k];
        w[i] = (float)sum * scale;
    }
}

static pith_status decode(const repr_job *job, repr_reader *in, repr_matrix *w) {
    pith_ctx *ctx = job->ctx;
    seed_shape s;
    pith_status status = shape_of(job, w, &s);
    if (status || s.n == 0) return status;
    uint64_t base;
    if (!repr_take_number(in, BASE_OFFSET + 72, &base) || base < BASE_OFFSET - 100)
        return pith_fail(ctx, PITH_E_FORMAT, "seed: the exponent of a matrix is missing or out of range");
    size_t n_c = s.n * s.n_coefficients;
    uint16_t *seeds = pith_alloc(ctx, s.n * sizeof *seeds), *exponents = pith_alloc(ctx, s.n * sizeof *exponents),
             *coded = pith_alloc(ctx, n_c * sizeof *coded);
    cycle all = {0};
    status =
        seeds && exponents && coded ? cycle_new(ctx, s.lfsr, s.block * s.n_coefficients, &all) : pith_alloc_status(ctx);
    if (!status) status = repr_unpack(job, in, seeds, s.n, s.groups, 1u << s.lfsr);
    if (!status) status = repr_unpack(job, in, exponents, s.n, s.groups, SEED_EXPONENTS);
    if (!status) status = repr_unpack(job, in, coded, n_c, s.groups * s.n_coefficients, 1u << s.bits);
    for (size_t i = 0; !status && i < s.n; i++) {
        if (!seeds[i]) {
            status = pith_fail(ctx, PITH_E_FORMAT, "seed: block %zu has the seed 0, which no register leaves", i);
            break;
        }
        int32_t c[8];
        for (size_t k = 0; k < s.n_coefficients; k++) c[k] = coded[i * s.n_coefficients + k] - (1 << (s.bits - 1));
        size_t first = i % s.groups * s.block;
        decode_block(&s, all.states + all.place[seeds[i]], c,
                     seed_scale(s.lfsr, (int)base - BASE_OFFSET + exponents[i]),
                     w->data + i / s.groups * w->cols + first, PITH_MIN(s.block, w->cols - first));
    }
    pith_free(ctx, seeds);
    pith_free(ctx, exponents);
    pith_free(ctx, coded);
    pith_free(ctx, all.states);
    pith_free(ctx, all.place);
    return status;
}

/* Exponent 15 fits a coefficient of four times the longest block: a basis that needs larger ones fits badly. */
static int base_of(const float *blocks, size_t n, size_t block, unsigned bits) {
    double longest = 0;
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t j = 0; j < block; j++) sum += (double)blocks[i * block + j] * (double)blocks[i * block + j];
        longest = PITH_MAX(longest, sum);
    }
    if (!(longest > 0)) return 0;
    int top = (int)ceil(log2(4 * sqrt(longest))) - (int)bits + 1, base = top - (SEED_EXPONENTS - 1);
    return PITH_MAX(PITH_MIN(base, 72), -100);
}

static pith_status write_codes(const repr_job *job, const seed_shape *s, const seed_code *codes, int base,
                               pith_buffer *out) {
    pith_ctx *ctx = job->ctx;
    size_t n_c = s->n * s->n_coefficients;
    uint16_t *plane = pith_alloc(ctx, n_c * sizeof *plane);
    pith_status status = plane ? repr_put_number(ctx, out, (uint64_t)(base + BASE_OFFSET)) : pith_alloc_status(ctx);
    for (size_t i = 0; !status && i < s->n; i++) plane[i] = (uint16_t)codes[i].seed;
    if (!status) status = repr_pack(job, &(repr_plane){plane, s->n, s->groups, 1u << s->lfsr}, out);
    for (size_t i = 0; !status && i < s->n; i++) plane[i] = (uint16_t)codes[i].exponent;
    if (!status) status = repr_pack(job, &(repr_plane){plane, s->n, s->groups, SEED_EXPONENTS}, out);
    for (size_t i = 0; !status && i < n_c; i++)
        plane[i] = (uint16_t)(codes[i / s->n_coefficients].c[i % s->n_coefficients] + (1 << (s->bits - 1)));
    if (!status) status = repr_pack(job, &(repr_plane){plane, n_c, s->groups * s->n_coefficients, 1u << s->bits}, out);
    pith_free(ctx, plane);
    return status;
}

static pith_status encode(const repr_job *job, const repr_matrix *w, pith_buffer *out, float *restored) {
    pith_ctx *ctx = job->ctx;
    seed_shape s;
    pith_status status = shape_of(job, w, &s);
    if (!status) status = vectors_check(job, w);
    if (status || s.n == 0) return status;
    size_t wide = s.groups * s.block, start = out->size;
    float *blocks = pith_zalloc(ctx, w->rows * wide * sizeof *blocks);
    seed_code *codes = pith_zalloc(ctx, s.n * sizeof *codes);
    seed_search *search = NULL;
    status = blocks && codes ? PITH_OK : pith_alloc_status(ctx);
    if (!status) status = seed_search_new(ctx, s.block, s.n_coefficients, s.lfsr, s.bits, &search);
    if (!status) {
        for (size_t i = 0; i < w->rows; i++) memcpy(blocks + i * wide, w->data + i * w->cols, w->cols * sizeof *blocks);
        int base = base_of(blocks, s.n, s.block, s.bits);
        status = seed_search_run(search, blocks, s.n, base, codes);
        if (!status) status = write_codes(job, &s, codes, base, out);
    }
    if (search) seed_search_free(ctx, search);
    pith_free(ctx, blocks);
    pith_free(ctx, codes);
    return status ? status : vectors_restore(job, decode, out, start, w, restored);
}

const repr_ops seed_ops = {.kind = REPR_CODER, .encode = encode, .decode = decode};
