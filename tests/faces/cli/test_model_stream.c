/* Converting a tensor on the way to a file: the moved elements against their definition. */
#include "formats/tensors/files.h"

#include "faces/cli/model.h"

#include <math.h>

static pith_status collect(void *opaque, const void *data, size_t size) {
    put(opaque, data, size);
    return PITH_OK;
}

static float value_at(uint64_t i) { return (float)((i * 2654435761u >> 7) % 2048) / 64 - 16; } /* exact in F16 */

typedef struct shape {
    uint64_t columns, rows;
    uint32_t n_dims;
} shape;

/* A tensor of known values in `from`, streamed as `to`; the result decoded. */
static float *streamed(shape in, tensor_type from, shape out, tensor_type to, model_move move, uint64_t n_heads,
                       unsigned n_threads, uint8_t **bytes_out, size_t *n_bytes) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    pith_ctx_set_threads(ctx, n_threads);
    uint64_t n = in.columns * in.rows, size;
    float *values = malloc(n * sizeof *values), *result = malloc(n * sizeof *result);
    assert_true(tensor_type_bytes(from, n, &size));
    uint8_t *data = malloc(size);
    for (uint64_t i = 0; i < n; i++) values[i] = value_at(i);
    assert_true(blocks_encode(from, values, data, n));
    tensor_view view = {.type = from, .n_dims = in.n_dims, .n_elements = n, .bytes = size, .data = data};
    for (unsigned i = 0; i < TENSOR_MAX_DIMS; i++) view.ne[i] = 1;
    view.ne[0] = in.columns;
    view.ne[1] = in.rows;
    model_tensor t = {.from = &view, .to = view, .move = move, .n_heads = n_heads};
    t.to.type = to;
    t.to.ne[0] = out.columns;
    t.to.ne[1] = out.rows;
    assert_true(tensor_type_bytes(to, n, &t.to.bytes));
    bytes b = {0};
    if (model_stream(ctx, &t, collect, &b) != PITH_OK) fail_msg("%s", pith_error(ctx));
    assert_int_equal(b.n, t.to.bytes);
    blocks_decode(to, b.data, result, n);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
    free(data);
    free(values);
    *bytes_out = b.data;
    *n_bytes = b.n;
    return result;
}

/* The pairs of a head stand in two halves in the source and side by side in what is written. */
static void interleave_case(shape s, uint64_t n_heads, tensor_type to) {
    uint8_t *data;
    size_t n;
    uint64_t columns = s.n_dims > 1 ? s.columns : 1, rows = s.n_dims > 1 ? s.rows : s.columns;
    uint64_t head = rows / n_heads, half = head / 2;
    float *out = streamed(s, TENSOR_F16, s, to, MODEL_INTERLEAVE, n_heads, 2, &data, &n);
    for (uint64_t h = 0; h < n_heads; h++)
        for (uint64_t j = 0; j < 2; j++)
            for (uint64_t i = 0; i < half; i++)
                for (uint64_t c = 0; c < columns; c++)
                    assert_true(out[(h * head + 2 * i + j) * columns + c] ==
                                value_at((h * head + j * half + i) * columns + c));
    free(out);
    free(data);
}

static void interleave(void **state) {
    (void)state;
    interleave_case((shape){64, 32, 2}, 4, TENSOR_F16);
    interleave_case((shape){64, 32, 2}, 1, TENSOR_F32);
    interleave_case((shape){1000, 256, 2}, 8, TENSOR_F16); /* more than one piece */
    interleave_case((shape){32, 1, 1}, 2, TENSOR_F32);     /* a bias */
}

static void transpose(void **state) {
    (void)state;
    static const shape shapes[] = {{3, 5, 2}, {700, 300, 2}, {1, 9, 2}, {256, 64, 2}};
    for (unsigned i = 0; i < PITH_COUNT(shapes); i++) {
        uint8_t *data;
        size_t n;
        shape in = shapes[i], out = {in.rows, in.columns, 2};
        float *result = streamed(in, TENSOR_F16, out, TENSOR_F32, MODEL_TRANSPOSE, 0, 3, &data, &n);
        for (uint64_t r = 0; r < in.rows; r++)
            for (uint64_t c = 0; c < in.columns; c++)
                assert_true(result[c * in.rows + r] == value_at(r * in.columns + c));
        free(result);
        free(data);
    }
}

static void negate_exp(void **state) {
    (void)state;
    uint8_t *data;
    size_t n;
    shape s = {16, 24, 2};
    float *result = streamed(s, TENSOR_F32, s, TENSOR_F32, MODEL_NEGATE_EXP, 0, 1, &data, &n);
    for (uint64_t i = 0; i < 16 * 24; i++)
        assert_true(fabsf(result[i] + expf(value_at(i))) <= 1e-6f * expf(value_at(i)));
    free(result);
    free(data);
}

/* Pieces and threads do not show: the bytes are those of one call of the encoder. */
static void pieces(void **state) {
    (void)state;
    static const tensor_type types[] = {TENSOR_F32, TENSOR_F16, TENSOR_Q8_0, TENSOR_Q4_0, TENSOR_Q4_K};
    shape s = {512, 600, 2};
    uint64_t n = s.columns * s.rows;
    float *values = malloc(n * sizeof *values);
    for (uint64_t i = 0; i < n; i++) values[i] = value_at(i);
    for (unsigned k = 0; k < PITH_COUNT(types); k++)
        for (unsigned n_threads = 1; n_threads <= 3; n_threads += 2) {
            uint8_t *data;
            size_t size;
            float *result = streamed(s, TENSOR_F16, s, types[k], MODEL_KEEP, 0, n_threads, &data, &size);
            uint8_t *whole = malloc(size);
            assert_true(blocks_encode(types[k], values, whole, n));
            assert_memory_equal(data, whole, size);
            free(whole);
            free(result);
            free(data);
        }
    free(values);
}

static pith_status stream_of(pith_ctx *ctx, const float *values, tensor_type to, bytes *out) {
    tensor_view view = {.name = {"odd", 3}, .type = TENSOR_F32, .n_dims = 2, .ne = {64, 2, 1, 1}, .n_elements = 128,
                        .bytes = 128 * sizeof *values, .data = (const uint8_t *)values};
    model_tensor t = {.from = &view, .to = view};
    t.to.type = to;
    assert_true(tensor_type_bytes(to, 128, &t.to.bytes));
    *out = (bytes){0};
    pith_begin(ctx);
    return model_stream(ctx, &t, collect, out);
}

/* NaN and infinity pass through floats; blocks would lose 32 values to one, and say so instead. */
static void not_finite(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    float values[128];
    bytes out;
    for (unsigned i = 0; i < 128; i++) values[i] = value_at(i);
    values[70] = NAN;
    values[80] = INFINITY;
    assert_int_equal(stream_of(ctx, values, TENSOR_F16, &out), PITH_OK);
    float back[128];
    blocks_decode(TENSOR_F16, out.data, back, 128);
    assert_true(isnan(back[70]) && isinf(back[80]) && back[71] == value_at(71));
    free(out.data);
    assert_int_equal(stream_of(ctx, values, TENSOR_Q8_0, &out), PITH_E_CHECK);
    assert_string_equal(pith_error(ctx), "odd: there is no finite number at element 70");
    free(out.data);
    values[70] = values[80] = 0;
    values[90] = 1e6f; /* finite, but not in F16 */
    assert_int_equal(stream_of(ctx, values, TENSOR_BF16, &out), PITH_OK);
    free(out.data);
    assert_int_equal(stream_of(ctx, values, TENSOR_F16, &out), PITH_E_CHECK);
    assert_string_equal(pith_error(ctx), "odd: rounding leaves no finite number at element 90");
    free(out.data);
    values[90] = 1e9f;
    assert_int_equal(stream_of(ctx, values, TENSOR_Q8_0, &out), PITH_E_CHECK);
    assert_string_equal(pith_error(ctx), "odd: rounding leaves no finite number at element 64");
    free(out.data);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(not_finite),cmocka_unit_test(interleave), cmocka_unit_test(transpose),
                                       cmocka_unit_test(negate_exp), cmocka_unit_test(pieces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
