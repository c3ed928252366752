/* A series of checkpoints: exact ones come back byte for byte, lossy ones as was said, errors do not add up, contexts
 * are worth something, and damage is refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "artefacts/model/family.h"
#include "artefacts/model/series.h"
#include "support/file_data.h"
#include "support/session.h"

enum { ROWS = 64, COLS = 96, STEPS = 6 };

static pith_buffer checkpoints[STEPS];

static pith_status keep(void *opaque, const void *data, size_t n) { return pith_buffer_append(ctx, opaque, data, n); }

/* Steps whose direction lasts: some rows learn much, others little, as in training. The head says which step it is. */
static void make_checkpoints(tensor_type type) {
    static float w[2][ROWS * COLS], momentum[2][ROWS * COLS];
    static uint8_t coded[ROWS * COLS * sizeof(float)];
    uint64_t r = 1, wide[2] = {COLS, ROWS}, narrow[1] = {COLS}, bytes;
    float vector[COLS];
    for (unsigned m = 0; m < 2; m++)
        for (unsigned i = 0; i < ROWS * COLS; i++) w[m][i] = 0.1f * family_normal(&r), momentum[m][i] = 0;
    for (unsigned i = 0; i < COLS; i++) vector[i] = 1;
    for (unsigned step = 0; step < STEPS; step++) {
        gguf_writer *g;
        pith_sink f = {ctx, &checkpoints[step]};
        checkpoints[step] = (pith_buffer){0};
        assert_int_equal(gguf_writer_new(ctx, &g), PITH_OK);
        assert_int_equal(gguf_put_u32(ctx, g, "step", step), PITH_OK);
        assert_int_equal(gguf_put_tensor(ctx, g, "a", 1, type, 2, wide), PITH_OK);
        assert_int_equal(gguf_put_tensor(ctx, g, "norm", 4, TENSOR_F32, 1, narrow), PITH_OK);
        assert_int_equal(gguf_put_tensor(ctx, g, "b", 1, type, 2, wide), PITH_OK);
        assert_int_equal(gguf_write_head(ctx, g, pith_sink_write, &f), PITH_OK);
        assert_true(tensor_type_bytes(type, ROWS * COLS, &bytes));
        for (unsigned m = 0; m < 2; m++) {
            for (unsigned i = 0; i < ROWS * COLS && step; i++) {
                float rate = i / COLS % 8 == 0 ? 1e-2f : 1e-3f;
                momentum[m][i] = 0.8f * momentum[m][i] + 0.2f * rate * family_normal(&r);
                w[m][i] += momentum[m][i];
            }
            assert_true(blocks_encode(type, w[m], coded, ROWS * COLS));
            assert_int_equal(gguf_write_data(ctx, g, coded, (size_t)bytes, pith_sink_write, &f), PITH_OK);
            if (m == 0) assert_int_equal(gguf_write_data(ctx, g, vector, sizeof vector, pith_sink_write, &f), PITH_OK);
        }
        gguf_writer_free(ctx, g);
    }
}

static void drop_checkpoints(void) {
    for (unsigned i = 0; i < STEPS; i++) pith_buffer_free(ctx, &checkpoints[i]);
}

static pith_status make_series(const series_options *o, pith_buffer *out, series_report *reports) {
    series_writer *s;
    *out = (pith_buffer){0};
    pith_begin(ctx);
    pith_status status = series_writer_new(ctx, o, keep, out, &s);
    for (unsigned i = 0; i < STEPS && !status; i++)
        status = series_writer_add(ctx, s, checkpoints[i].data, checkpoints[i].size, reports ? &reports[i] : NULL);
    series_writer_free(ctx, s);
    return status;
}

static pith_status read_one(const pith_buffer *series, size_t i, pith_buffer *out) {
    *out = (pith_buffer){0};
    pith_begin(ctx);
    return series_read(ctx, series->data, series->size, i, keep, out);
}

static void exact_ones_come_back(void **state) {
    (void)state;
    tensor_type types[] = {TENSOR_F32, TENSOR_BF16, TENSOR_Q8_0};
    for (unsigned t = 0; t < PITH_COUNT(types); t++) {
        pith_buffer series, got;
        series_report r[STEPS];
        series_options o = {.exact = true};
        size_t count, total = 0;
        make_checkpoints(types[t]);
        assert_int_equal(make_series(&o, &series, r), PITH_OK);
        assert_int_equal(series_count(ctx, series.data, series.size, &count), PITH_OK);
        assert_int_equal(count, STEPS);
        for (unsigned i = 0; i < STEPS; i++) {
            assert_int_equal(read_one(&series, i, &got), PITH_OK);
            assert_int_equal(got.size, checkpoints[i].size);
            assert_memory_equal(got.data, checkpoints[i].data, got.size);
            pith_buffer_free(ctx, &got);
            total += r[i].coded;
            if (i) assert_true(r[i].coded < r[0].coded);
        }
        assert_int_equal(total, series.size);
        assert_int_equal(read_one(&series, STEPS, &got), PITH_E_ARGUMENT);
        pith_buffer_free(ctx, &series);
        drop_checkpoints();
    }
}

/* |a - b|^2 of the matrices of two checkpoints. */
static double apart(const pith_buffer *a, const pith_buffer *b) {
    static float x[ROWS * COLS], y[ROWS * COLS];
    tensor_file *f, *g;
    double sum = 0;
    assert_int_equal(tensor_file_open_memory(ctx, a->data, a->size, &f), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, b->data, b->size, &g), PITH_OK);
    for (unsigned m = 0; m < 3; m += 2) {
        blocks_decode(f->tensors[m].type, f->tensors[m].data, x, ROWS * COLS);
        blocks_decode(g->tensors[m].type, g->tensors[m].data, y, ROWS * COLS);
        for (unsigned i = 0; i < ROWS * COLS; i++) sum += pow((double)x[i] - (double)y[i], 2);
    }
    tensor_file_close(ctx, f);
    tensor_file_close(ctx, g);
    return sum;
}

static void lossy_ones_lose_what_they_say(void **state) {
    (void)state;
    tensor_type types[] = {TENSOR_F32, TENSOR_F16, TENSOR_BF16};
    for (unsigned t = 0; t < PITH_COUNT(types); t++)
        for (unsigned bits = 2; bits <= 8; bits += 2) {
            pith_buffer series, got, before = {0};
            series_report r[STEPS];
            series_options o = {.bits = bits, .context = SERIES_AROUND};
            make_checkpoints(types[t]);
            assert_int_equal(make_series(&o, &series, r), PITH_OK);
            for (unsigned i = 0; i < STEPS; i++) {
                assert_int_equal(read_one(&series, i, &got), PITH_OK);
                assert_int_equal(got.size, checkpoints[i].size);
                double error = apart(&got, &checkpoints[i]);
                if (i == 0) {
                    assert_true(error == 0);
                } else {
                    double said = r[i].lost * apart(&before, &checkpoints[i]);
                    assert_true(fabs(error - said) <= 1e-6 * said + 1e-12);
                    assert_true(r[i].lost < (bits == 2 ? 0.7 : bits == 4 ? 0.2 : 0.1));
                    assert_int_equal(r[i].elements, 2 * ROWS * COLS); /* the vector stays exact: it is the same */
                    assert_true(r[i].coded * 8 < 2 * ROWS * COLS * (bits + 1) + 8 * 2500);
                    /* errors do not add up: what is missing is a part of one step, whichever */
                    double step = apart(&checkpoints[i - 1], &checkpoints[i]);
                    assert_true(error < (bits == 2 ? 2 : 0.3) * step + 1e-4);
                }
                pith_buffer_free(ctx, &before);
                before = got;
            }
            pith_buffer_free(ctx, &before);
            pith_buffer_free(ctx, &series);
            drop_checkpoints();
        }
}

/* The place before knows something of the step; and what is decoded is the same whatever the context. */
static void contexts_pay(void **state) {
    (void)state;
    size_t sizes[3];
    pith_buffer first = {0};
    make_checkpoints(TENSOR_F32);
    for (unsigned c = 0; c < 3; c++) {
        pith_buffer series, got;
        series_options o = {.bits = 4, .context = (series_context)c};
        assert_int_equal(make_series(&o, &series, NULL), PITH_OK);
        sizes[c] = series.size;
        assert_int_equal(read_one(&series, STEPS - 1, &got), PITH_OK);
        if (c == 0) {
            first = got;
        } else {
            assert_int_equal(got.size, first.size);
            assert_memory_equal(got.data, first.data, got.size);
            pith_buffer_free(ctx, &got);
        }
        pith_buffer_free(ctx, &series);
    }
    pith_buffer_free(ctx, &first);
    assert_true(sizes[SERIES_SAME] < sizes[SERIES_ALONE]);
    assert_true(sizes[SERIES_AROUND] < sizes[SERIES_ALONE]);
    drop_checkpoints();
}

static void damage_is_refused(void **state) {
    (void)state;
    make_checkpoints(TENSOR_F16);
    for (unsigned exact = 0; exact < 2; exact++) {
        pith_buffer series, got;
        series_options o = {.exact = exact != 0, .bits = 3, .context = SERIES_AROUND};
        assert_int_equal(make_series(&o, &series, NULL), PITH_OK);
        for (size_t cut = 0; cut < series.size; cut += 1 + cut / 5) {
            pith_buffer part = series;
            part.size = cut;
            assert_int_not_equal(read_one(&part, STEPS - 1, &got), PITH_OK);
            pith_buffer_free(ctx, &got);
        }
        for (size_t at = 0; at < series.size; at += 1 + at / 20) {
            if (at == 8) continue; /* a newer minor version */
            series.data[at] ^= (uint8_t)(1u << at % 8);
            assert_int_not_equal(read_one(&series, STEPS - 1, &got), PITH_OK);
            assert_null(strchr(pith_error(ctx), '\n'));
            assert_true(*pith_error(ctx));
            pith_buffer_free(ctx, &got);
            series.data[at] ^= (uint8_t)(1u << at % 8);
        }
        pith_buffer_free(ctx, &series);
    }
    pith_buffer none;
    series_options odd = {.bits = 9}, few = {.bits = 1};
    assert_int_equal(make_series(&odd, &none, NULL), PITH_E_ARGUMENT);
    assert_int_equal(make_series(&few, &none, NULL), PITH_E_ARGUMENT);
    checkpoints[0].data[checkpoints[0].size - 1] = 0x7F; /* a half float that is a NaN */
    checkpoints[0].data[checkpoints[0].size - 2] = 0xFF;
    series_options lossy = {.bits = 4};
    assert_int_equal(make_series(&lossy, &none, NULL), PITH_E_FORMAT);
    assert_non_null(strstr(pith_error(ctx), "b: not finite"));
    pith_buffer_free(ctx, &none);
    drop_checkpoints();
}

static void failing_memory_is_an_error(void **state) {
    (void)state;
    pith_ctx *usual = ctx;
    make_checkpoints(TENSOR_BF16);
    pith_status status = PITH_E_MEMORY;
    for (long fail_at = 1; status; fail_at += 1 + fail_at / 8) {
        data_heap heap = {.fail_at = fail_at};
        pith_allocator allocator = {data_heap_alloc, data_heap_free, &heap};
        pith_buffer series, got = {0};
        series_options o = {.bits = 4, .context = SERIES_AROUND};
        ctx = pith_ctx_new(&allocator);
        assert_non_null(ctx);
        pith_ctx_set_threads(ctx, 1);
        status = make_series(&o, &series, NULL);
        if (!status) status = read_one(&series, 1, &got);
        assert_true(status == PITH_OK || status == PITH_E_MEMORY);
        pith_buffer_free(ctx, &series);
        pith_buffer_free(ctx, &got);
        pith_ctx_free(ctx);
        assert_int_equal(atomic_load(&heap.held), 0);
        assert_true(fail_at < 100000);
    }
    ctx = usual;
    drop_checkpoints();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_ones_come_back),
        cmocka_unit_test(lossy_ones_lose_what_they_say),
        cmocka_unit_test(contexts_pay),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(failing_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
