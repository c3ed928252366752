/* Deltas between models: exact ones give the sibling back byte for byte, ternary ones what ComPEFT says; other bases,
 * damaged bytes and lying heads are refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "artefacts/model/delta.h"
#include "artefacts/model/family.h"
#include "support/file_data.h"
#include "support/session.h"

enum { ROWS = 96, COLS = 160 };

typedef struct bytes {
    pith_buffer b;
} bytes;

static pith_status keep(void *opaque, const void *data, size_t n) {
    return pith_buffer_append(ctx, &((bytes *)opaque)->b, data, n);
}

static void drop(bytes *x) { pith_buffer_free(ctx, &x->b); }

/* A model of three matrices and a vector, of a type, with an update. */
static void make(bytes *out, double update, tensor_type type, uint64_t seed, bool one_more) {
    static const char *const names[] = {"token_embd.weight", "blk.0.a", "blk.0.b", "norm", "more"};
    gguf_writer *g;
    pith_sink w;
    pith_buffer plain = {0};
    uint64_t state = 1, wide[2] = {COLS, ROWS}, narrow[1] = {COLS};
    float *values = malloc(ROWS * COLS * sizeof *values);
    assert_non_null(values);
    w = (pith_sink){ctx, &plain};
    assert_int_equal(gguf_writer_new(ctx, &g), PITH_OK);
    unsigned n = one_more ? 5 : 4;
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(
            gguf_put_tensor(ctx, g, names[i], strlen(names[i]), TENSOR_F32, i == 3 ? 1 : 2, i == 3 ? narrow : wide),
            PITH_OK);
    assert_int_equal(gguf_write_head(ctx, g, pith_sink_write, &w), PITH_OK);
    for (unsigned i = 0; i < n; i++) {
        size_t size = i == 3 ? COLS : ROWS * COLS;
        for (size_t k = 0; k < size; k++) values[k] = 0.05f * family_normal(&state);
        assert_int_equal(gguf_write_data(ctx, g, values, size * sizeof *values, pith_sink_write, &w), PITH_OK);
    }
    gguf_writer_free(ctx, g);
    free(values);
    tensor_file *f;
    family_options o = {.update = update, .type = type, .seed = seed};
    assert_int_equal(tensor_file_open_memory(ctx, plain.data, plain.size, &f), PITH_OK);
    *out = (bytes){{0}};
    assert_int_equal(family_make(ctx, f, &o, &out->b), PITH_OK);
    tensor_file_close(ctx, f);
    pith_buffer_free(ctx, &plain);
}

static pith_status write_delta(const bytes *base, const bytes *fine, const model_delta_options *o, bytes *delta,
                               model_delta_report *r) {
    *delta = (bytes){{0}};
    pith_begin(ctx);
    return model_delta_write(ctx, base->b.data, base->b.size, fine->b.data, fine->b.size, o, keep, delta, r);
}

static pith_status apply(const bytes *base, const bytes *delta, bytes *out) {
    *out = (bytes){{0}};
    pith_begin(ctx);
    return model_delta_apply(ctx, base->b.data, base->b.size, delta->b.data, delta->b.size, keep, out);
}

static void exact_ones_give_it_back(void **state) {
    (void)state;
    static const struct {
        tensor_type base, fine;
        double update;
        bool one_more;
        unsigned same, differences, most_percent;
    } cases[] = {{TENSOR_BF16, TENSOR_BF16, 1e-3, false, 1, 3, 20}, {TENSOR_F16, TENSOR_F16, 1e-3, false, 1, 3, 50},
                 {TENSOR_F32, TENSOR_F32, 1e-3, false, 1, 3, 75},   {TENSOR_BF16, TENSOR_BF16, 0, false, 4, 0, 1},
                 {TENSOR_Q8_0, TENSOR_Q8_0, 1e-3, false, 1, 3, 40}, {TENSOR_BF16, TENSOR_F32, 1e-3, false, 1, 0, 95},
                 {TENSOR_BF16, TENSOR_BF16, 1e-3, true, 1, 3, 40}};
    model_delta_options o = {.exact = true};
    for (unsigned i = 0; i < PITH_COUNT(cases); i++) {
        bytes base, fine, delta, back;
        model_delta_report r;
        make(&base, 0, cases[i].base, 1, false);
        make(&fine, cases[i].update, cases[i].fine, 2, cases[i].one_more);
        assert_int_equal(write_delta(&base, &fine, &o, &delta, &r), PITH_OK);
        assert_int_equal(r.delta_bytes, delta.b.size);
        assert_int_equal(r.same, cases[i].same);
        assert_int_equal(r.differences, cases[i].differences);
        assert_true(delta.b.size * 100 <= fine.b.size * cases[i].most_percent + 300 * 100);
        assert_int_equal(apply(&base, &delta, &back), PITH_OK);
        assert_int_equal(back.b.size, fine.b.size);
        assert_memory_equal(back.b.data, fine.b.data, fine.b.size);
        drop(&base), drop(&fine), drop(&delta), drop(&back);
    }
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* The definition, spelled out with a sort, for all tensors of F32 models; what comes back is that. */
static void ternary_ones_are_as_defined(void **state) {
    (void)state;
    static const struct {
        double keep, alpha;
        model_delta_scale scale;
        const char *packer;
    } cases[] = {{0.05, 1, MODEL_DELTA_STD, NULL},
                 {0.2, 2, MODEL_DELTA_STD, "rans"},
                 {0.5, 1, MODEL_DELTA_MEAN, "ctxac"},
                 {1, 1, MODEL_DELTA_STD, "pack"}};
    bytes base, fine;
    make(&base, 0, TENSOR_F32, 1, false);
    make(&fine, 2e-3, TENSOR_F32, 2, false);
    tensor_file *bf, *ff;
    assert_int_equal(tensor_file_open_memory(ctx, base.b.data, base.b.size, &bf), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, fine.b.data, fine.b.size, &ff), PITH_OK);
    size_t n = 0;
    static float tau[4 * ROWS * COLS], sorted[4 * ROWS * COLS];
    for (size_t i = 0; i < 3; i++) { /* the vector is the same in both and does not count */
        const float *b = (const float *)(const void *)bf->tensors[i].data,
                    *f = (const float *)(const void *)ff->tensors[i].data;
        for (size_t k = 0; k < bf->tensors[i].n_elements; k++, n++) sorted[n] = fabsf(tau[n] = f[k] - b[k]);
    }
    qsort(sorted, n, sizeof *sorted, by_size);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += (double)tau[i], squares += (double)tau[i] * (double)tau[i];
    double std = sqrt(squares / (double)n - sum / (double)n * (sum / (double)n));
    for (unsigned c = 0; c < PITH_COUNT(cases); c++) {
        bytes delta, back;
        model_delta_report r;
        model_delta_options o = {
            .keep = cases[c].keep, .alpha = cases[c].alpha, .scale = cases[c].scale, .packer = cases[c].packer};
        if (write_delta(&base, &fine, &o, &delta, &r)) fail_msg("%s", pith_error(ctx));
        uint64_t kept = (uint64_t)((double)n * cases[c].keep + 0.5), nonzero = 0;
        double mean = 0, lost = 0;
        for (size_t i = 0; i < n; i++) nonzero += tau[i] != 0.0f;
        kept = PITH_MIN(kept, nonzero);
        for (size_t i = 0; i < kept; i++) mean += (double)sorted[i] / (double)kept;
        assert_int_equal(r.elements, n);
        assert_int_equal(r.kept, kept);
        assert_float_equal(r.std, std, 1e-9);
        double s = cases[c].alpha * (cases[c].scale == MODEL_DELTA_STD ? std : mean);
        assert_float_equal(r.value, s, 1e-9);
        assert_int_equal(apply(&base, &delta, &back), PITH_OK);
        assert_int_equal(back.b.size, base.b.size);
        tensor_file *got;
        assert_int_equal(tensor_file_open_memory(ctx, back.b.data, back.b.size, &got), PITH_OK);
        size_t at = 0, changed = 0;
        assert_memory_equal(got->tensors[3].data, bf->tensors[3].data, bf->tensors[3].bytes);
        for (size_t i = 0; i < 3; i++)
            for (size_t k = 0; k < bf->tensors[i].n_elements; k++, at++) {
                float b = ((const float *)(const void *)bf->tensors[i].data)[k];
                float g = ((const float *)(const void *)got->tensors[i].data)[k], t = tau[at];
                bool is_kept = fabsf(t) >= sorted[kept - 1] && t != 0;
                assert_true(g == (is_kept ? b + (t < 0 ? -(float)r.value : (float)r.value) : b));
                changed += is_kept;
                double left = (double)t - (is_kept ? (t < 0 ? -s : s) : 0);
                lost += left * left / squares;
            }
        assert_int_equal(changed, kept); /* no ties at the border here */
        assert_float_equal(r.lost, lost, 1e-6);
        if (!cases[c].packer) assert_true(8.0 * (double)delta.b.size <= (r.entropy_bits * 1.06) * (double)n + 8 * 400);
        tensor_file_close(ctx, got);
        drop(&delta), drop(&back);
    }
    tensor_file_close(ctx, bf);
    tensor_file_close(ctx, ff);
    drop(&base), drop(&fine);
}

/* Many equal magnitudes: as many are kept as were asked for, in every type. */
static void ties_are_counted(void **state) {
    (void)state;
    tensor_type types[] = {TENSOR_BF16, TENSOR_F16};
    for (unsigned i = 0; i < PITH_COUNT(types); i++) {
        bytes base, fine, delta, back, again;
        model_delta_report r;
        model_delta_options o = {.keep = 0.07};
        make(&base, 0, types[i], 1, false);
        make(&fine, 2e-3, types[i], 2, false);
        assert_int_equal(write_delta(&base, &fine, &o, &delta, &r), PITH_OK);
        assert_int_equal(r.kept, (uint64_t)((double)r.elements * 0.07 + 0.5));
        assert_int_equal(r.skipped, 0);
        assert_int_equal(apply(&base, &delta, &back), PITH_OK);
        pith_ctx_set_threads(ctx, 3);
        assert_int_equal(write_delta(&base, &fine, &o, &again, &r), PITH_OK);
        pith_ctx_set_threads(ctx, 1);
        assert_int_equal(again.b.size, delta.b.size);
        assert_memory_equal(again.b.data, delta.b.data, delta.b.size);
        drop(&base), drop(&fine), drop(&delta), drop(&back), drop(&again);
    }
}

/* Nothing to add; and tensors that only one of them has are counted. */
static void equal_ones_and_others(void **state) {
    (void)state;
    bytes base, more, delta, back;
    model_delta_report r;
    model_delta_options o = {.keep = 0.1};
    make(&base, 0, TENSOR_F16, 1, false);
    make(&more, 0, TENSOR_F16, 1, true);
    assert_int_equal(write_delta(&base, &base, &o, &delta, &r), PITH_OK);
    assert_int_equal(r.elements + r.kept + r.skipped, 0);
    assert_int_equal(apply(&base, &delta, &back), PITH_OK);
    assert_memory_equal(back.b.data, base.b.data, base.b.size);
    drop(&delta), drop(&back);
    assert_int_equal(write_delta(&base, &more, &o, &delta, &r), PITH_OK);
    assert_int_equal(r.skipped, 1);
    drop(&delta);
    assert_int_equal(write_delta(&more, &base, &o, &delta, &r), PITH_OK);
    assert_int_equal(r.skipped, 1);
    drop(&delta), drop(&base), drop(&more);
}

static void wrong_ones_are_refused(void **state) {
    (void)state;
    bytes base, other, fine, delta, back;
    model_delta_report r;
    make(&base, 0, TENSOR_F32, 1, false); /* in 16 bits a sign can be too small to change anything */
    make(&other, 1e-2, TENSOR_F32, 5, false);
    make(&fine, 1e-3, TENSOR_F32, 2, false);
    const model_delta_options bad[] = {{.keep = 2},
                                       {.keep = -1},
                                       {.keep = NAN},
                                       {.keep = 0.1, .alpha = -3},
                                       {.keep = 0.1, .packer = "q"},
                                       {.keep = 0.1, .packer = "golomb | rans"},
                                       {.keep = 0.1, .packer = "nothing"}};
    for (unsigned i = 0; i < PITH_COUNT(bad); i++) {
        assert_int_equal(write_delta(&base, &fine, &bad[i], &delta, &r), PITH_E_ARGUMENT);
        assert_int_equal(delta.b.size, 0);
    }
    for (unsigned exact = 0; exact < 2; exact++) {
        model_delta_options o = {.exact = exact != 0, .keep = 0.1};
        assert_int_equal(write_delta(&base, &fine, &o, &delta, &r), PITH_OK);
        assert_int_equal(apply(&other, &delta, &back), PITH_E_ARGUMENT);
        drop(&back);
        for (size_t cut = 0; cut < delta.b.size; cut += 1 + cut / 3) {
            bytes part = {delta.b};
            part.b.size = cut;
            assert_int_not_equal(apply(&base, &part, &back), PITH_OK);
            drop(&back);
        }
        /* every damage is caught by the check, and behind a check that fits by something else */
        for (size_t at = 0; at < delta.b.size - 8; at += 1 + at / 12) {
            uint8_t hash[16], was = delta.b.data[at];
            delta.b.data[at] ^= (uint8_t)(1u << at % 8);
            pith_status status = apply(&base, &delta, &back);
            assert_true(status == PITH_E_CHECK || (at < 10 && status != PITH_OK));
            drop(&back);
            uint8_t check[8];
            memcpy(check, delta.b.data + delta.b.size - 8, 8);
            tensor_bytes_hash(delta.b.data, delta.b.size - 8, hash);
            memcpy(delta.b.data + delta.b.size - 8, hash, 8);
            status = apply(&base, &delta, &back);
            if (status == PITH_OK && at != 8)
                fail_msg("byte %zu of %zu", at, delta.b.size); /* 8: a newer minor version */
            assert_int_not_equal(status, PITH_E_INTERNAL);
            assert_null(strchr(pith_error(ctx), '\n'));
            memcpy(delta.b.data + delta.b.size - 8, check, 8);
            delta.b.data[at] = was;
            drop(&back);
        }
        drop(&delta);
    }
    drop(&base), drop(&other), drop(&fine);
}

static void failing_memory_is_an_error(void **state) {
    (void)state;
    bytes base, fine;
    make(&base, 0, TENSOR_BF16, 1, false);
    make(&fine, 1e-3, TENSOR_BF16, 2, false);
    pith_ctx *usual = ctx;
    for (unsigned exact = 0; exact < 2; exact++) {
        pith_status status = PITH_E_MEMORY;
        for (long fail_at = 1; status; fail_at += 1 + fail_at / 8) {
            data_heap heap = {.fail_at = fail_at};
            pith_allocator allocator = {data_heap_alloc, data_heap_free, &heap};
            bytes delta, back = {{0}};
            model_delta_options o = {.exact = exact != 0, .keep = 0.1};
            ctx = pith_ctx_new(&allocator);
            assert_non_null(ctx);
            pith_ctx_set_threads(ctx, 1);
            status = write_delta(&base, &fine, &o, &delta, NULL);
            if (!status) status = apply(&base, &delta, &back);
            assert_true(status == PITH_OK || status == PITH_E_MEMORY);
            drop(&delta), drop(&back);
            pith_ctx_free(ctx);
            assert_int_equal(atomic_load(&heap.held), 0);
            assert_true(fail_at < 100000);
        }
    }
    ctx = usual;
    drop(&base), drop(&fine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_ones_give_it_back), cmocka_unit_test(ternary_ones_are_as_defined),
        cmocka_unit_test(ties_are_counted),        cmocka_unit_test(wrong_ones_are_refused),
        cmocka_unit_test(equal_ones_and_others),   cmocka_unit_test(failing_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
