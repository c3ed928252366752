/* Codebooks, sums of codebooks, pseudo-random bases: each finds what is there to find, weighs errors as told, and
 * agrees with trying everything. */
#include "kernels/represent/additive.h"
#include "kernels/represent/dict_atoms.h"
#include "kernels/represent/seed.h"
#include "vectors_case.h"

static int setup(void **state) {
    *state = pith_ctx_new(NULL);
    return *state ? 0 : -1;
}

static int teardown(void **state) {
    pith_ctx_free(*state);
    return 0;
}

/* ---- vq -------------------------------------------------------------------------------------------- */

static void smallest_is_the_first(void **state) {
    (void)state;
    uint64_t random = 1;
    for (size_t n = 1; n < 80; n++)
        for (int again = 0; again < 20; again++) {
            float v[80];
            size_t best = 0;
            for (size_t i = 0; i < n; i++) v[i] = (float)(vectors_random(&random) % 16); /* many equals */
            for (size_t i = 1; i < n; i++)
                if (v[i] < v[best]) best = i;
            assert_int_equal(vq_smallest(v, n), best);
        }
}

/* Sixteen different vectors, all of halves, are found and kept. */
static void codebook_of_what_there_is(void **state) {
    float entries[16 * 4], w[24 * 32];
    uint64_t random = 2;
    for (size_t i = 0; i < 64; i++) entries[i] = (float)((int)(vectors_random(&random) % 64) - 32) / 16;
    for (size_t i = 0; i < 24 * 8; i++) memcpy(w + i * 4, entries + vectors_random(&random) % 16 * 4, 4 * sizeof *w);
    repr_matrix m = {w, 24, 32};
    size_t bytes;
    repr_error e = case_run(*state, "vq(4, 1.5)", &m, NULL, &bytes);
    assert_int_equal(bytes, 64 * 4 * 2 + plain_bytes(24 * 8, 64));
    assert_true(e.weights < 1e-9);
}

static void nearest_entries(void **state) {
    enum { N = 300, DIM = 3, K = 21, GROUPS = 5 };
    float x[N * DIM], cost[GROUPS * DIM], codebook[K * DIM];
    uint16_t codes[N];
    uint64_t random = 3;
    case_fill(x, N * DIM, 4, 1);
    for (size_t i = 0; i < GROUPS * DIM; i++) cost[i] = (float)case_uniform(&random) + 0.1f;
    vq_set set = {*state, x, cost, N, DIM, GROUPS};
    assert_int_equal(vq_fit(&set, K, 10, 5, codebook), PITH_OK);
    assert_int_equal(vq_assign(&set, codebook, K, codes), PITH_OK);
    double loss = 0, zero = 0;
    for (size_t i = 0; i < N; i++) {
        double least = INFINITY, taken = 0;
        for (size_t c = 0; c < K; c++) {
            double sum = 0;
            for (size_t j = 0; j < DIM; j++) {
                double d = (double)x[i * DIM + j] - (double)codebook[c * DIM + j];
                sum += d * d * (double)cost[i % GROUPS * DIM + j];
            }
            least = PITH_MIN(least, sum);
            if (c == codes[i]) taken = sum;
        }
        assert_true(taken <= least + 1e-5);
        loss += taken;
        for (size_t j = 0; j < DIM; j++) zero += (double)(x[i * DIM + j] * x[i * DIM + j] * cost[i % GROUPS * DIM + j]);
    }
    assert_true(loss < 0.2 * zero); /* 21 entries in 3 dimensions */
}

static void inputs_weigh(void **state) {
    enum { ROWS = 48, COLS = 64 };
    static float w[ROWS * COLS], gram[DENSE_PACKED(COLS)], h[COLS];
    case_fill(w, ROWS * COLS, 6, 0.1f);
    case_gram(COLS, 7, gram, h);
    repr_matrix m = {w, ROWS, COLS};
    const repr_stats both = {.h = h, .gram = gram, .n_tokens = 1};
    size_t bytes;
    static const char *const texts[] = {"vq(4, 1.5)", "vq(2, 2)", "vq(8, 0.5)"};
    for (size_t t = 0; t < 3; t++) {
        case_chain c = case_open(*state, texts[t]);
        pith_buffer out = {0};
        float *restored = malloc(sizeof w);
        assert_non_null(restored);
        repr_error plain, weighted = case_run(*state, texts[t], &m, &both, &bytes);
        assert_int_equal(repr_encode(*state, c.chain, &m, NULL, &out, restored), PITH_OK);
        assert_int_equal(out.size, bytes);
        assert_int_equal(repr_measure(*state, &m, restored, &both, &plain), PITH_OK);
        assert_true(weighted.outputs < 0.9 * plain.outputs);
        assert_true(weighted.weights > plain.weights);
        pith_buffer_free(*state, &out);
        free(restored);
        case_close(*state, &c);
    }
}

/* ---- aq -------------------------------------------------------------------------------------------- */

enum { AQ_ROWS = 6, AQ_COLS = 12, AQ_GROUP = 4, AQ_N_CODES = 8, AQ_BOOKS = 2 };

typedef struct aq_case {
    additive a;
    float gram[AQ_COLS * AQ_COLS], diagonal[AQ_COLS], w[AQ_ROWS * AQ_COLS], scale[AQ_ROWS];
    float codebook[AQ_BOOKS * AQ_N_CODES * AQ_GROUP];
    uint16_t codes[AQ_BOOKS * AQ_ROWS * AQ_COLS / AQ_GROUP];
} aq_case;

static void aq_open(pith_ctx *ctx, aq_case *c, uint64_t seed) {
    float packed[DENSE_PACKED(AQ_COLS)];
    memset(c, 0, sizeof *c);
    case_gram(AQ_COLS, seed, packed, c->diagonal);
    dense_unpack(packed, AQ_COLS, c->gram);
    case_fill(c->w, AQ_ROWS * AQ_COLS, seed + 1, 1);
    case_fill(c->codebook, AQ_BOOKS * AQ_N_CODES * AQ_GROUP, seed + 2, 0.7f);
    for (size_t i = 0; i < AQ_ROWS; i++) c->scale[i] = 0.5f + 0.25f * (float)i;
    for (size_t i = 0; i < PITH_COUNT(c->codes); i++) c->codes[i] = (uint16_t)(vectors_random(&seed) % AQ_N_CODES);
    c->a = (additive){.ctx = ctx,
                      .rows = AQ_ROWS,
                      .n = AQ_COLS,
                      .groups = AQ_COLS / AQ_GROUP,
                      .dim = AQ_GROUP,
                      .k = AQ_N_CODES,
                      .n_books = AQ_BOOKS,
                      .gram = c->gram,
                      .diagonal = c->diagonal,
                      .w = c->w,
                      .scale = c->scale,
                      .codebook = c->codebook,
                      .codes = c->codes,
                      .random = seed};
}

/* tr(E H E^T) of one row, from the definition. */
static double row_loss(const aq_case *c, size_t row) {
    float x[AQ_ROWS * AQ_COLS];
    additive_sum(&c->a, c->codebook, true, x);
    double sum = 0;
    for (size_t i = 0; i < AQ_COLS; i++)
        for (size_t j = 0; j < AQ_COLS; j++)
            sum += ((double)c->w[row * AQ_COLS + i] - (double)x[row * AQ_COLS + i]) * (double)c->gram[i * AQ_COLS + j] *
                   ((double)c->w[row * AQ_COLS + j] - (double)x[row * AQ_COLS + j]);
    return sum;
}

static double aq_loss(const aq_case *c) {
    double sum = 0;
    for (size_t i = 0; i < AQ_ROWS; i++) sum += row_loss(c, i);
    return sum;
}

/* With one group that fills the row and a beam as wide as the codebook, the search is exhaustive. */
static void beam_finds_the_best_codes(void **state) {
    aq_case c;
    for (uint64_t seed = 1; seed < 6; seed++) {
        aq_open(*state, &c, seed * 100);
        c.a.n = AQ_GROUP;
        c.a.groups = 1;
        float small[AQ_GROUP * AQ_GROUP], w[AQ_ROWS * AQ_GROUP], x[AQ_ROWS * AQ_GROUP];
        for (size_t i = 0; i < AQ_GROUP * AQ_GROUP; i++) small[i] = c.gram[i / AQ_GROUP * AQ_COLS + i % AQ_GROUP];
        case_fill(w, AQ_ROWS * AQ_GROUP, seed, 1);
        c.a.gram = small;
        c.a.w = w;
        assert_int_equal(additive_beam(&c.a, AQ_N_CODES), PITH_OK);
        additive_sum(&c.a, c.codebook, true, x);
        for (size_t row = 0; row < AQ_ROWS; row++) {
            double least = INFINITY, taken = 0;
            for (size_t pair = 0; pair <= AQ_N_CODES * AQ_N_CODES; pair++) { /* the last one: what the search took */
                double e[AQ_GROUP], sum = 0;
                for (size_t j = 0; j < AQ_GROUP; j++) {
                    float v = c.codebook[pair / AQ_N_CODES % AQ_N_CODES * AQ_GROUP + j] +
                              c.codebook[(AQ_N_CODES + pair % AQ_N_CODES) * AQ_GROUP + j];
                    e[j] = (double)w[row * AQ_GROUP + j] -
                           (double)(pair < AQ_N_CODES * AQ_N_CODES ? c.scale[row] * v : x[row * AQ_GROUP + j]);
                }
                for (size_t i = 0; i < AQ_GROUP; i++)
                    for (size_t j = 0; j < AQ_GROUP; j++) sum += e[i] * (double)small[i * AQ_GROUP + j] * e[j];
                if (pair < AQ_N_CODES * AQ_N_CODES) least = PITH_MIN(least, sum);
                taken = sum;
            }
            assert_true(taken <= least * 1.0001 + 1e-5);
        }
    }
}

/* Steps never make it worse, but for the rounding of codebooks and scales to halves. */
static void every_step_helps(void **state) {
    aq_case c;
    for (uint64_t seed = 1; seed < 8; seed++) {
        aq_open(*state, &c, seed * 10);
        double before = aq_loss(&c), loss;
        for (size_t round = 0; round < 4; round++) {
            assert_int_equal(additive_refit(&c.a, &loss), PITH_OK);
            double now = aq_loss(&c);
            assert_true(now <= before * 1.002);
            assert_true(fabs(loss - now) <= 1e-3 * now + 1e-4);
            assert_int_equal(additive_beam(&c.a, 1 + round), PITH_OK);
            before = aq_loss(&c);
            assert_true(before <= now * 1.0001);
        }
    }
}

/* One codebook, no statistics: least squares are means. */
static void codebooks_are_means(void **state) {
    aq_case c;
    aq_open(*state, &c, 77);
    c.a.gram = NULL;
    c.a.n_books = 1;
    for (size_t j = 0; j < AQ_COLS; j++) c.diagonal[j] = 1;
    for (size_t i = 0; i < AQ_ROWS; i++) c.scale[i] = 1;
    uint16_t codes[AQ_ROWS * AQ_COLS / AQ_GROUP];
    memcpy(codes, c.codes, sizeof codes);
    double loss, expect = 0;
    assert_int_equal(additive_refit(&c.a, &loss), PITH_OK);
    for (size_t e = 0; e < AQ_N_CODES; e++)
        for (size_t j = 0; j < AQ_GROUP; j++) {
            double sum = 0, n = 0;
            for (size_t i = 0; i < PITH_COUNT(codes); i++)
                if (codes[i] == e) {
                    sum += (double)c.w[i * AQ_GROUP + j];
                    n++;
                }
            if (n > 0) assert_true(fabs((double)c.codebook[e * AQ_GROUP + j] - sum / n) < 2e-3);
        }
    for (size_t i = 0; i < PITH_COUNT(codes); i++)
        for (size_t j = 0; j < AQ_GROUP; j++) {
            double sum = 0, n = 0;
            for (size_t l = 0; l < PITH_COUNT(codes); l++)
                if (codes[l] == codes[i]) {
                    sum += (double)c.w[l * AQ_GROUP + j];
                    n++;
                }
            expect += pow((double)c.w[i * AQ_GROUP + j] - sum / n, 2);
        }
    assert_true(loss <= expect * 1.001); /* row scales may gain a little more */
}

/* For the same bits: sums fitted to the outputs beat one codebook weighted by inputs, and both beat no statistics. */
static void sums_beat_one_codebook(void **state) {
    enum { ROWS = 96, COLS = 64 };
    static float w[ROWS * COLS], gram[DENSE_PACKED(COLS)], h[COLS];
    case_fill(w, ROWS * COLS, 16, 0.1f);
    case_gram(COLS, 17, gram, h);
    repr_matrix m = {w, ROWS, COLS};
    const repr_stats both = {.h = h, .gram = gram, .n_tokens = 1}, diagonal = {.h = h, .n_tokens = 1};
    size_t bytes, vq_bytes;
    repr_error sums = case_run(*state, "aq(2, 5, 4)", &m, &both, &bytes), wide,
               one = case_run(*state, "vq(4, 2)", &m, &both, &vq_bytes);
    assert_int_equal(bytes, 2 * ROWS + 2 * 2 * 32 * 4 + 2 * plain_bytes(ROWS * COLS / 4, 32));
    assert_true(bytes < vq_bytes);
    assert_true(sums.outputs < 0.5 * one.outputs);
    wide = case_run(*state, "aq(2, 5, 4, beam=8)", &m, &both, NULL);
    assert_true(wide.outputs < sums.outputs);
    assert_true(case_run(*state, "aq(2, 5, 4)", &m, &diagonal, NULL).outputs < 0.6); /* relative to h alone */
}

/* ---- seed ------------------------------------------------------------------------------------------ */

static void registers_visit_all_states(void **state) {
    (void)state;
    for (unsigned bits = SEED_LEAST_BITS; bits <= SEED_MOST_BITS; bits++) {
        uint32_t at = 1, n = 0;
        do {
            at = seed_step(bits, at);
            n++;
        } while (at != 1 && n < 1u << bits);
        assert_int_equal(n, (1u << bits) - 1);
        assert_int_equal(seed_step(bits, 0), 0);
    }
    assert_int_equal(seed_step(16, 1), 0x8000); /* x^16 + x^15 + x^13 + x^4 + 1, shifting to the right */
    assert_int_equal(seed_step(16, 0x1234), 0x891A);
}

/* Of all seeds and both exponents, by trying them. */
static double best_by_force(const float *w, size_t block, size_t n_c, unsigned lfsr, unsigned bits) {
    double best = INFINITY;
    for (uint32_t seed = 1; seed < 1u << lfsr; seed++) {
        int32_t values[16 * 8];
        double g[8 * 9] = {0}, t[8], most = 0;
        seed_values(lfsr, seed, values, block * n_c);
        double unit = (double)((1 << (lfsr - 1)) - 1);
        for (size_t i = 0; i < block; i++) /* normal equations, Gauss-Jordan */
            for (size_t k = 0; k < n_c; k++) {
                for (size_t l = 0; l < n_c; l++)
                    g[k * 9 + l] += values[i * n_c + k] / unit * (values[i * n_c + l] / unit);
                g[k * 9 + 8] += values[i * n_c + k] / unit * (double)w[i];
            }
        for (size_t k = 0; k < n_c; k++)
            for (size_t l = 0; l < n_c; l++) {
                if (l == k) continue;
                double f = g[l * 9 + k] / g[k * 9 + k];
                for (size_t j = 0; j < 9; j++) g[l * 9 + j] -= f * g[k * 9 + j];
            }
        for (size_t k = 0; k < n_c; k++) {
            t[k] = g[k * 9 + 8] / g[k * 9 + k];
            most = PITH_MAX(most, fabs(t[k]));
        }
        double high = (double)((1 << (bits - 1)) - 1);
        int exponent = (int)floor(log2(most / high)) + 1;
        for (int e = exponent - 1; e <= exponent; e++) {
            double sum = 0;
            for (size_t i = 0; i < block; i++) {
                double x = 0;
                for (size_t k = 0; k < n_c; k++)
                    x += values[i * n_c + k] / unit *
                         ldexp(PITH_MAX(PITH_MIN(rint(ldexp(t[k], -e)), high), -high - 1), e);
                sum += ((double)w[i] - x) * ((double)w[i] - x);
            }
            best = PITH_MIN(best, sum);
        }
    }
    return best;
}

static void search_misses_nothing(void **state) {
    enum { N = 24, BLOCK = 6 };
    float blocks[N * BLOCK];
    seed_code codes[N];
    seed_search *search;
    case_fill(blocks, N * BLOCK, 21, 0.1f);
    memset(blocks, 0, BLOCK * sizeof *blocks); /* one of zeros */
    assert_int_equal(seed_search_new(*state, BLOCK, 2, 9, 4, &search), PITH_OK);
    assert_int_equal(seed_search_run(search, blocks, N, -12, codes), PITH_OK);
    seed_search_free(*state, search);
    for (size_t i = 0; i < N; i++) {
        assert_true(codes[i].seed >= 1 && codes[i].seed < 512);
        double best = i ? best_by_force(blocks + i * BLOCK, BLOCK, 2, 9, 4) : 0;
        assert_true(codes[i].error <= best * 1.001 + 1e-12);
        assert_true(codes[i].error >= best * 0.999 - 1e-12);
    }
}

/* Known figures for Gaussian weights: 0.0149 at 4 bits (blocks of 8, 3 coefficients), 0.0484 at 3 (12, 4). */
static void gaussian_reference(void **state) {
    enum { ROWS = 24, COLS = 96 };
    static float w[ROWS * COLS];
    case_fill(w, ROWS * COLS, 22, 0.03f);
    repr_matrix m = {w, ROWS, COLS};
    size_t bytes;
    repr_error four = case_run(*state, "seed(8, 3)", &m, NULL, &bytes);
    assert_int_equal(bytes, ROWS * COLS / 2 + 1 + (bytes & 1 ? 0 : 1)); /* 4 bits a weight, and one number */
    assert_true(four.weights > 0.013 && four.weights < 0.0165);
    repr_error short_register = case_run(*state, "seed(8, 3, lfsr=12)", &m, NULL, NULL);
    assert_true(short_register.weights > four.weights && short_register.weights < 0.04);
}

/* ---- atoms ------------------------------------------------------------------------------------------- */

/* One atom a vector: the pursuit takes the one that leaves least, for the best value. */
static void pursuit_of_one(void **state) {
    enum { N = 40, DIM = 5, GROUPS = 4, K = 9 };
    float x[N * DIM], cost[GROUPS * DIM], atoms[K * DIM], value[N];
    uint16_t index[N];
    uint64_t random = 51;
    case_fill(x, N * DIM, 52, 1);
    case_fill(atoms, K * DIM, 53, 1);
    for (size_t i = 0; i < GROUPS * DIM; i++) cost[i] = (float)case_uniform(&random) + 0.1f;
    atoms_fit f = {*state, x, cost, N, DIM, GROUPS, K, 1, atoms, index, value};
    assert_int_equal(atoms_pursue(&f), PITH_OK);
    for (size_t v = 0; v < N; v++) {
        const float *h = cost + v % GROUPS * DIM;
        double least = INFINITY, taken = 0;
        for (size_t k = 0; k <= K; k++) { /* the last one: what the pursuit took */
            const float *atom = atoms + (k < K ? k : index[v]) * DIM;
            double up = 0, down = 0, sum = 0;
            for (size_t d = 0; d < DIM; d++) {
                up += (double)(h[d] * atom[d] * x[v * DIM + d]);
                down += (double)(h[d] * atom[d] * atom[d]);
            }
            for (size_t d = 0; d < DIM; d++)
                sum += (double)h[d] *
                       pow((double)x[v * DIM + d] - (k < K ? up / down : (double)value[v]) * (double)atom[d], 2);
            if (k < K) least = PITH_MIN(least, sum);
            taken = sum;
        }
        assert_true(taken <= least * 1.0001 + 1e-6);
    }
}

/* Vectors that are two of twelve directions each: the dictionary is found, though there are only eight dimensions. */
static void finds_planted_atoms(void **state) {
    enum { ROWS = 64, COLS = 64, DIM = 8, PLANTED = 12 };
    static float w[ROWS * COLS], atoms[PLANTED * DIM];
    uint64_t random = 54;
    case_fill(atoms, PLANTED * DIM, 55, 0.3f);
    for (size_t v = 0; v < ROWS * COLS / DIM; v++)
        for (int i = 0; i < 2; i++) {
            size_t k = vectors_random(&random) % PLANTED;
            float x = case_gauss(&random);
            for (size_t d = 0; d < DIM; d++) w[v * DIM + d] += x * atoms[k * DIM + d];
        }
    repr_matrix m = {w, ROWS, COLS};
    size_t bytes;
    repr_error more = case_run(*state, "atoms(24, 2, 8, bits=8, rounds=30)", &m, NULL, &bytes),
               few = case_run(*state, "atoms(24, 2, 8, bits=8, rounds=0)", &m, NULL, NULL);
    assert_int_equal(bytes, 2 + 2 * 24 * 8 + plain_bytes(1024, 24) + 1024);
    assert_true(more.weights < 0.05);
    assert_true(more.weights < 0.5 * few.weights);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smallest_is_the_first),
        cmocka_unit_test(codebook_of_what_there_is),
        cmocka_unit_test(nearest_entries),
        cmocka_unit_test(inputs_weigh),
        cmocka_unit_test(beam_finds_the_best_codes),
        cmocka_unit_test(every_step_helps),
        cmocka_unit_test(codebooks_are_means),
        cmocka_unit_test(sums_beat_one_codebook),
        cmocka_unit_test(registers_visit_all_states),
        cmocka_unit_test(search_misses_nothing),
        cmocka_unit_test(gaussian_reference),
        cmocka_unit_test(pursuit_of_one),
        cmocka_unit_test(finds_planted_atoms),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
