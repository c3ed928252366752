/* What every coder of represent_vectors[] keeps to: the same bits from decoding on odd shapes, with and without
 * statistics, for any number of threads; bytes of strangers are refused or give a matrix; memory that is not there
 * leaves nothing behind. */
#include <limits.h>
#include <stdatomic.h>

#include "support/data_heap.h"
#include "vectors_case.h"

static const char *const recipes[] = {
    "lowrank(3)",
    "lowrank(ratio=40%, white=diag)",
    "lowrank(2, white=chol)",
    "lowrank(2, factors=vq(1, 4))",
    "signlowrank(2)",
    "stack(2, signlowrank(1))",
    "svid(bits=2)",
    "svid(5, refit=no)",
    "vq(6, 1)",
    "vq(1, 3)",
    "vq(5, 0.5, iterations=3)",
    "aq(2, 4, 8, rounds=2)",
    "aq(3, 2, 3, beam=4, rounds=2)",
    "seed(8, 3, lfsr=8)",
    "seed(12, 4, lfsr=9, bits=5)",
    "dict(keep=0.5)",
    "dict(rank=4, nonzeros=2, rounds=1)",
    "atoms(8, 2, 6, rounds=2)",
    "atoms(20, 3, 0, bits=6, rounds=1)",
    "hash(30%)",
    "hash(60%, sum, table=vq(2, 2))",
    "hash(40%, product)",
    "bands(40%, vq(2, 2), lowrank(1))",
    "bands(0, sum(vq(1, 2), lowrank(1)), hash(50%))",
    "sum(seed(4, 1, lfsr=8, bits=3), lowrank(1))",
};

static const size_t shapes[][2] = {{1, 1}, {1, 9}, {7, 1}, {3, 17}, {17, 3}, {24, 43}, {64, 32}};

typedef struct sample {
    float *w, *gram, *h;
    repr_matrix m;
    repr_stats stats[3]; /* none, h, both */
} sample;

static sample sample_new(size_t rows, size_t cols) {
    sample s = {.w = malloc(rows * cols * sizeof(float)),
                .gram = malloc(DENSE_PACKED(cols) * sizeof(float)),
                .h = malloc(cols * sizeof(float))};
    assert_true(s.w && s.gram && s.h);
    case_fill(s.w, rows * cols, rows * 100 + cols, 0.05f);
    case_gram(cols, 31, s.gram, s.h);
    if (cols > 2) { /* an input that is never seen */
        for (size_t i = 0; i < cols; i++) s.gram[i > 2 ? i * (i + 1) / 2 + 2 : 3 + i] = 0;
        s.h[2] = 0;
    }
    s.m = (repr_matrix){s.w, rows, cols};
    s.stats[1].h = s.stats[2].h = s.h;
    s.stats[2].gram = s.gram;
    return s;
}

static void sample_free(sample *s) {
    free(s->w);
    free(s->gram);
    free(s->h);
}

static void same_bits_on_odd_shapes(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    for (size_t s = 0; s < PITH_COUNT(shapes); s++) {
        sample x = sample_new(shapes[s][0], shapes[s][1]);
        for (size_t r = 0; r < PITH_COUNT(recipes); r++)
            for (size_t t = 0; t < 3; t++) {
                repr_error e = case_run(ctx, recipes[r], &x.m, &x.stats[t], NULL);
                assert_true(isfinite(e.weights) && e.weights < 5);
            }
        memset(x.w, 0, x.m.rows * x.m.cols * sizeof *x.w); /* a matrix of zeros becomes one */
        for (size_t r = 0; r < PITH_COUNT(recipes); r++) {
            case_chain c = case_open(ctx, recipes[r]);
            pith_buffer out = {0};
            float *restored = malloc(x.m.rows * x.m.cols * sizeof *restored);
            assert_non_null(restored);
            assert_int_equal(repr_encode(ctx, c.chain, &x.m, &x.stats[2], &out, restored), PITH_OK);
            for (size_t i = 0; i < x.m.rows * x.m.cols; i++) assert_true(restored[i] == 0);
            pith_buffer_free(ctx, &out);
            free(restored);
            case_close(ctx, &c);
        }
        sample_free(&x);
    }
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

/* Sizes far from those of weights, which halves hold badly, still decode to numbers. */
static void strange_sizes(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    sample x = sample_new(12, 16);
    static const float sizes[] = {1e-12f, 1e-5f, 1e3f, 1e12f};
    for (size_t k = 0; k < PITH_COUNT(sizes); k++)
        for (size_t r = 0; r < PITH_COUNT(recipes); r++) {
            case_fill(x.w, 12 * 16, 5, sizes[k]);
            case_run(ctx, recipes[r], &x.m, &x.stats[2], NULL);
        }
    sample_free(&x);
    pith_ctx_free(ctx);
}

static void same_bytes_for_any_threads(void **state) {
    (void)state;
    sample x = sample_new(300, 40);
    for (size_t r = 0; r < PITH_COUNT(recipes); r++) {
        pith_buffer out[2] = {{0}, {0}};
        pith_ctx *ctx[2] = {pith_ctx_new(NULL), pith_ctx_new(NULL)};
        for (unsigned i = 0; i < 2; i++) {
            pith_ctx_set_threads(ctx[i], i ? 4 : 1);
            case_chain c = case_open(ctx[i], recipes[r]);
            assert_int_equal(repr_encode(ctx[i], c.chain, &x.m, &x.stats[2], &out[i], NULL), PITH_OK);
            case_close(ctx[i], &c);
        }
        assert_int_equal(out[0].size, out[1].size);
        assert_memory_equal(out[0].data, out[1].data, out[0].size);
        for (unsigned i = 0; i < 2; i++) {
            pith_buffer_free(ctx[i], &out[i]);
            pith_ctx_free(ctx[i]);
        }
    }
    sample_free(&x);
}

/* From a copy of exactly its size, so that a sanitizer sees any read past it. */
static pith_status decode_copy(pith_ctx *ctx, const repr_chain *chain, const uint8_t *data, size_t size,
                               const repr_matrix *like) {
    uint8_t *copy = malloc(size + !size);
    float *w = malloc(like->rows * like->cols * sizeof *w);
    assert_true(copy && w);
    memcpy(copy, data, size);
    repr_reader in = {.p = copy, .end = copy + size};
    repr_matrix m = {w, like->rows, like->cols};
    pith_status status = repr_decode(ctx, chain, &in, 0, &m);
    free(copy);
    free(w);
    return status;
}

static void bytes_of_strangers(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    sample x = sample_new(9, 21);
    uint64_t random = 41;
    for (size_t r = 0; r < PITH_COUNT(recipes); r++) {
        case_chain c = case_open(ctx, recipes[r]);
        pith_buffer out = {0};
        assert_int_equal(repr_encode(ctx, c.chain, &x.m, &x.stats[2], &out, NULL), PITH_OK);
        for (size_t n = 0; n < out.size; n++) {
            pith_begin(ctx);
            assert_int_equal(decode_copy(ctx, c.chain, out.data, n, &x.m), PITH_E_FORMAT);
            assert_null(strchr(pith_error(ctx), '\n'));
            assert_true(strlen(pith_error(ctx)) > 0);
        }
        for (int n = 0; n < 300; n++) {
            size_t at = (size_t)(vectors_random(&random) % out.size);
            uint8_t kept = out.data[at];
            out.data[at] = (uint8_t)vectors_random(&random);
            pith_begin(ctx);
            pith_status status = decode_copy(ctx, c.chain, out.data, out.size, &x.m);
            assert_true(status == PITH_OK || status == PITH_E_FORMAT);
            out.data[at] = kept;
        }
        pith_buffer_free(ctx, &out);
        case_close(ctx, &c);
    }
    assert_int_equal(pith_memory_used(ctx), 0);
    sample_free(&x);
    pith_ctx_free(ctx);
}

static void wrong_recipes(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    sample x = sample_new(4, 8);
    static const char *const wrong[] = {"vq(8, 3)", "seed(4, 5)"};
    for (size_t r = 0; r < PITH_COUNT(wrong); r++) {
        case_chain c = case_open(ctx, wrong[r]);
        pith_buffer out = {0};
        assert_int_equal(repr_encode(ctx, c.chain, &x.m, NULL, &out, NULL), PITH_E_ARGUMENT);
        assert_int_equal(decode_copy(ctx, c.chain, (const uint8_t *)"", 0, &x.m), PITH_E_ARGUMENT);
        pith_buffer_free(ctx, &out);
        case_close(ctx, &c);
    }
    sample_free(&x);
    pith_ctx_free(ctx);
}

/* ---- memory that is not there ------------------------------------------------------------------------ */

static void memory_that_is_not_there(void **state) {
    (void)state;
    sample x = sample_new(6, 10);
    for (size_t r = 0; r < PITH_COUNT(recipes); r++)
        for (long n = 0;; n += 1 + n / 16) {
            data_heap heap = {.fail_at = -1};
            pith_allocator allocator = data_heap_allocator(&heap);
            pith_ctx *ctx = pith_ctx_new(&allocator);
            assert_non_null(ctx);
            pith_ctx_set_threads(ctx, 1);
            case_chain c = case_open(ctx, recipes[r]);
            pith_buffer out = {0};
            data_heap_limit(&heap, n);
            pith_status status = repr_encode(ctx, c.chain, &x.m, &x.stats[2], &out, NULL);
            if (!status) status = decode_copy(ctx, c.chain, out.data, out.size, &x.m);
            data_heap_limit(&heap, -1);
            pith_buffer_free(ctx, &out);
            case_close(ctx, &c);
            pith_ctx_free(ctx);
            assert_int_equal(atomic_load(&heap.held), 0);
            if (!status) break;
            assert_int_equal(status, PITH_E_MEMORY);
        }
    sample_free(&x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_on_odd_shapes),
        cmocka_unit_test(strange_sizes),
        cmocka_unit_test(same_bytes_for_any_threads),
        cmocka_unit_test(bytes_of_strangers),
        cmocka_unit_test(wrong_recipes),
        cmocka_unit_test(memory_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
