/* Exact codes of floats: every bit comes back, from all of a code or a part of it; planes that are constant or noise cost
 * what they should; against a base only what changed costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "formats/blocks/blocks.h"
#include "kernels/represent/packers.h"
#include "kernels/represent/planes.h"
#include "support/guard.h"
#include "support/session.h"

enum { N = 400000 }; /* elements: several pieces */

static float floats[N];
static uint16_t halves[N], other[N];

/* About normal, deviation 0.05, not rounded to anything. */
static float next_weight(uint64_t *random) {
    return (float)next_normal(random) * (1.0f / 65536 * 0.05f) + (float)(next_random(random) >> 40) * 1e-12f;
}

static uint16_t brain(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static int fill(void **state) {
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i < N; i++) {
        floats[i] = next_weight(&random);
        halves[i] = brain(floats[i]);
    }
    return session_begin(state);
}

/* Code, checked to come back from exactly its bytes; its size. */
static size_t check(uint32_t type, const void *src, const void *base, size_t bytes) {
    pith_buffer out = {0};
    assert_int_equal(pith_buffer_append(ctx, &out, "before", 6), PITH_OK);
    pith_status status = base ? repr_delta_encode(ctx, type, src, base, bytes, &out)
                              : repr_floats_encode(ctx, type, src, bytes, &out);
    assert_int_equal(status, PITH_OK);
    uint8_t *back = guarded(bytes);
    repr_reader in = {out.data + 6, out.data + out.size};
    status = base ? repr_delta_decode(ctx, type, &in, base, back, bytes)
                  : repr_floats_decode(ctx, type, &in, back, bytes);
    if (status) fail_msg("%zu bytes of type %u: %s", bytes, type, pith_error(ctx));
    assert_ptr_equal(in.p, in.end);
    if (bytes) assert_memory_equal(src, back, bytes);
    assert_guard(back, bytes);
    free(back);
    size_t size = out.size - 6;
    pith_buffer_free(ctx, &out);
    return size;
}

static double share(uint32_t type, const void *src, size_t bytes) {
    return (double)check(type, src, NULL, bytes) / (double)bytes;
}

static void weights_shrink(void **state) {
    (void)state;
    double bf16 = share(TENSOR_BF16, halves, sizeof halves), f32 = share(TENSOR_F32, floats, sizeof floats);
    printf("bf16 %.2f %%, f32 %.2f %%\n", 100 * bf16, 100 * f32);
    assert_true(bf16 < 0.667);
    assert_true(f32 < 0.836);
    /* numbers that were rounded before: the planes that are zero cost nothing */
    float *wide = malloc(sizeof floats);
    assert_non_null(wide);
    for (size_t i = 0; i < N; i++) {
        uint32_t u = (uint32_t)halves[i] << 16;
        memcpy(&wide[i], &u, 4);
    }
    double rounded = share(TENSOR_F32, wide, sizeof floats);
    assert_true(rounded < bf16 / 2 + 0.001);
    free(wide);
}

static void small_and_odd_sizes(void **state) {
    (void)state;
    static const uint32_t types[] = {TENSOR_BF16, TENSOR_F16, TENSOR_F32, TENSOR_F64, TENSOR_I16, TENSOR_I32,
                                     TENSOR_I64, TENSOR_I8, TENSOR_Q4_0, TENSOR_BOOL, 4711};
    static const size_t sizes[] = {0, 1, 2, 3, 4, 5, 47, 48, 49, 63, 64, 65, 1000, 1001, 1002, 1003, 20005, 262143, 262145};
    const uint8_t *src = (const uint8_t *)floats + 1; /* aligned to nothing */
    for (unsigned t = 0; t < PITH_COUNT(types); t++)
        for (unsigned s = 0; s < PITH_COUNT(sizes); s++) {
            assert_true(check(types[t], src, NULL, sizes[s]) <= sizes[s] + 1);
            assert_true(check(types[t], src, src + 4, sizes[s]) <= sizes[s] + 1);
        }
}

static void every_bit_pattern(void **state) {
    (void)state;
    for (unsigned i = 0; i < 65536; i++) other[i] = (uint16_t)i; /* all halves: denormals, infinities, all NaNs */
    check(TENSOR_F16, other, NULL, 131072);
    check(TENSOR_BF16, other, NULL, 131072);
    check(TENSOR_BF16, other, halves, 131072);
    check(TENSOR_BF16, halves, other, 131072);
    uint32_t odd[64];
    for (unsigned i = 0; i < 64; i++) odd[i] = i % 4 == 0 ? 0x7FC00000u + i : i % 4 == 1 ? i : i % 4 == 2 ? 0x80000000u : 0xFF800001u + i;
    check(TENSOR_F32, odd, NULL, sizeof odd);
    check(TENSOR_F32, odd, floats, sizeof odd);
    check(TENSOR_F64, odd, NULL, sizeof odd);
    check(TENSOR_F64, odd, floats, sizeof odd);
}

static void all_alike_costs_nothing(void **state) {
    (void)state;
    memset(other, 0, sizeof other);
    assert_true(check(TENSOR_BF16, other, NULL, sizeof other) < 50);
    for (size_t i = 0; i < N; i++) other[i] = 0x3F81;
    assert_true(check(TENSOR_BF16, other, NULL, sizeof other) < 50);
    assert_true(check(TENSOR_F32, other, NULL, sizeof other) < 70);
    assert_true(check(TENSOR_I8, other, NULL, sizeof other) < 900);
}

static void noise_is_stored(void **state) {
    (void)state;
    uint64_t random = 5, *noise = malloc(sizeof halves);
    assert_non_null(noise);
    for (size_t i = 0; i < sizeof halves / 8; i++) noise[i] = next_random(&random);
    static const uint32_t types[] = {TENSOR_BF16, TENSOR_F32, TENSOR_I8, TENSOR_F64};
    for (unsigned t = 0; t < PITH_COUNT(types); t++) {
        size_t size = check(types[t], noise, NULL, sizeof halves);
        assert_true(size <= sizeof halves + 1);
    }
    free(noise);
}

/* Rows that were never trained are alike: what repeats is found, at any distance that fits a window. */
static void rows_that_repeat_cost_little(void **state) {
    (void)state;
    for (size_t i = 0; i < N; i++) other[i] = i / 3000 % 8 == 0 ? halves[i] : halves[i % 3000];
    size_t size = check(TENSOR_BF16, other, NULL, sizeof other);
    printf("bf16 with 7 rows of 8 alike: %.2f %%\n", 100.0 * (double)size / sizeof other);
    assert_true((double)size < 0.2 * sizeof other);
}

static void a_base_helps(void **state) {
    (void)state;
    size_t plain = check(TENSOR_BF16, halves, NULL, sizeof halves);
    /* one weight in a hundred changed */
    uint64_t random = 7;
    memcpy(other, halves, sizeof other);
    for (size_t i = 0; i < N; i += 1 + next_random(&random) % 199) other[i] = brain(next_weight(&random));
    size_t sparse = check(TENSOR_BF16, other, halves, sizeof halves);
    assert_true(sparse < plain / 20);
    /* all moved by up to three places either way: 2.75 bits; carries do not disturb */
    for (size_t i = 0; i < N; i++) other[i] = (uint16_t)(halves[i] + next_random(&random) % 4);
    size_t moved = check(TENSOR_BF16, other, halves, sizeof halves);
    printf("bf16 against a base: %.2f %% with 1 in 100 changed, %.2f %% with all moved by 0 to 3 places\n",
           100.0 * (double)sparse / sizeof halves, 100.0 * (double)moved / sizeof halves);
    assert_true((double)moved < 0.18 * sizeof halves);
    /* the same again is next to nothing; a stranger does no harm */
    assert_true(check(TENSOR_BF16, halves, halves, sizeof halves) < 60);
    for (size_t i = 0; i < N; i++) other[i] = (uint16_t)next_random(&random);
    assert_true(check(TENSOR_BF16, halves, other, sizeof halves) <= plain + plain / 100);
    check(TENSOR_F32, floats, other, sizeof halves);
}

static void parts_come_alone(void **state) {
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        const uint8_t *src = way == 2 ? (const uint8_t *)floats : (const uint8_t *)halves, *base = NULL;
        uint32_t type = way == 2 ? TENSOR_F32 : TENSOR_BF16;
        pith_buffer out = {0};
        if (way == 1) base = (const uint8_t *)other;
        size_t bytes = sizeof halves - 1;
        pith_status status = base ? repr_delta_encode(ctx, type, src, base, bytes, &out)
                                  : repr_floats_encode(ctx, type, src, bytes, &out);
        assert_int_equal(status, PITH_OK);
        const size_t firsts[] = {0, 1, 77777, PLANES_PIECE - 1, PLANES_PIECE, 2 * PLANES_PIECE + 5, bytes - 1, bytes};
        const size_t counts[] = {0, 1, 2, 1000, PLANES_PIECE, PLANES_PIECE + 2, bytes};
        for (unsigned f = 0; f < PITH_COUNT(firsts); f++)
            for (unsigned c = 0; c < PITH_COUNT(counts); c++) {
                size_t n = PITH_MIN(counts[c], bytes - firsts[f]);
                uint8_t *back = guarded(n);
                repr_reader in = {out.data, out.data + out.size};
                assert_int_equal(planes_decode_range(ctx, type, &in, base, bytes, firsts[f], n, back), PITH_OK);
                assert_ptr_equal(in.p, in.end);
                if (n) assert_memory_equal(back, src + firsts[f], n);
                assert_guard(back, n);
                free(back);
            }
        repr_reader in = {out.data, out.data + out.size};
        assert_int_equal(planes_decode_range(ctx, type, &in, base, bytes, 5, bytes, NULL), PITH_E_ARGUMENT);
        pith_buffer_free(ctx, &out);
    }
}

static void threads_make_no_difference(void **state) {
    (void)state;
    pith_buffer one = {0}, many = {0};
    size_t bytes = sizeof floats;
    unsigned n_threads = pith_ctx_threads(ctx);
    pith_ctx_set_threads(ctx, 1);
    assert_int_equal(repr_floats_encode(ctx, TENSOR_F32, (const uint8_t *)floats, bytes, &one), PITH_OK);
    pith_ctx_set_threads(ctx, 3);
    assert_int_equal(repr_floats_encode(ctx, TENSOR_F32, (const uint8_t *)floats, bytes, &many), PITH_OK);
    assert_int_equal(one.size, many.size);
    assert_memory_equal(one.data, many.data, one.size);
    check(TENSOR_F32, floats, NULL, bytes);
    pith_ctx_set_threads(ctx, n_threads);
    pith_buffer_free(ctx, &one);
    pith_buffer_free(ctx, &many);
}

/* ---- the same bytes everywhere ---- */

static uint64_t hash_of(uint32_t type, const void *src, const void *base, size_t bytes) {
    pith_buffer out = {0};
    pith_status status = base ? repr_delta_encode(ctx, type, src, base, bytes, &out)
                              : repr_floats_encode(ctx, type, src, bytes, &out);
    assert_int_equal(status, PITH_OK);
    uint64_t hash = pith_hash64(out.data, out.size);
    pith_buffer_free(ctx, &out);
    return hash;
}

static void known_answers(void **state) {
    (void)state;
    for (size_t i = 0; i < N; i++) other[i] = (uint16_t)(halves[i] + i % 3);
    const uint64_t found[] = {hash_of(TENSOR_BF16, halves, NULL, sizeof halves), hash_of(TENSOR_F16, halves, NULL, 99999),
                              hash_of(TENSOR_F32, floats, NULL, 500003)};
    static const uint64_t known[] = {0x3e7019e33a41cb51u, 0x331e416c1faa4db6u, 0x8e32369686966468u};
    bool good = true;
    for (unsigned i = 0; i < PITH_COUNT(known); i++) {
        if (found[i] != known[i]) print_message("hash %u: 0x%016llxu\n", i, (unsigned long long)found[i]);
        good &= found[i] == known[i];
    }
    assert_true(good);
}

/* ---- strangers ---- */

static void decode_bytes(const uint8_t *data, size_t size, uint32_t type, const void *base, size_t bytes, bool cut) {
    uint8_t *copy = malloc(size ? size : 1), *back = guarded(bytes);
    assert_non_null(copy);
    if (size) memcpy(copy, data, size);
    repr_reader in = {copy, copy + size};
    pith_begin(ctx);
    pith_status status = base ? repr_delta_decode(ctx, type, &in, base, back, bytes)
                              : repr_floats_decode(ctx, type, &in, back, bytes);
    if (status) assert_true(pith_error(ctx)[0] != 0);
    else assert_false(cut);
    assert_guard(back, bytes);
    free(copy);
    free(back);
}

static void strangers_are_refused(void **state) {
    (void)state;
    uint64_t random = 3;
    for (unsigned way = 0; way < 4; way++) {
        /* small, and two pieces that use all streams */
        size_t bytes = way & 1 ? PLANES_PIECE + 9001 : 3001;
        const void *base = way & 2 ? other : NULL;
        for (size_t i = 0; i < N; i++) other[i] = (uint16_t)(halves[i] + i % 5);
        pith_buffer out = {0};
        pith_status status = base ? repr_delta_encode(ctx, TENSOR_BF16, (uint8_t *)halves, base, bytes, &out)
                                  : repr_floats_encode(ctx, TENSOR_BF16, (uint8_t *)halves, bytes, &out);
        assert_int_equal(status, PITH_OK);
        unsigned n = way & 1 ? 40 : 400;
        for (unsigned i = 0; i < n; i++) {
            uint64_t r = next_random(&random);
            decode_bytes(out.data, (size_t)(r >> 8) % out.size, TENSOR_BF16, base, bytes, true);
            size_t at = (r & 1 ? r >> 8 : (r >> 8) % 60) % out.size;
            uint8_t was = out.data[at];
            out.data[at] = (uint8_t)(r >> 40);
            decode_bytes(out.data, out.size, TENSOR_BF16, base, bytes, false);
            decode_bytes(out.data, out.size, TENSOR_F32, NULL, bytes + i % 3, false);
            out.data[at] = was;
        }
        pith_buffer_free(ctx, &out);
    }
    /* more elements than the bytes can be of */
    static const uint8_t bomb[] = {1, 2, 0, 0, 0, 0, 0};
    repr_reader in = {bomb, bomb + sizeof bomb};
    assert_int_equal(repr_floats_decode(ctx, TENSOR_F32, &in, NULL, SIZE_MAX), PITH_E_FORMAT);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    pith_ctx *scarce = scarce_session();
    memcpy(other, halves, 40000);
    for (size_t i = 0; i < 20000; i += 7) other[i]++;
    pith_buffer out = {0};
    assert_int_equal(repr_delta_encode(scarce, TENSOR_BF16, (uint8_t *)other, (uint8_t *)halves, 40000, &out), PITH_OK);
    for (long n = 0;; n++) {
        pith_buffer again = {0};
        allocations_left = n;
        pith_begin(scarce);
        pith_status status = repr_delta_encode(scarce, TENSOR_BF16, (uint8_t *)other, (uint8_t *)halves, 40000, &again);
        pith_buffer_free(scarce, &again);
        if (!status) break;
        assert_int_equal(status, PITH_E_MEMORY);
    }
    static uint8_t back[40000];
    for (long n = 0;; n++) {
        repr_reader in = {out.data, out.data + out.size};
        allocations_left = n;
        pith_begin(scarce);
        pith_status status = repr_delta_decode(scarce, TENSOR_BF16, &in, (uint8_t *)halves, back, 40000);
        if (!status) break;
        assert_int_equal(status, PITH_E_MEMORY);
    }
    assert_memory_equal(back, other, 40000);
    pith_buffer_free(scarce, &out);
    assert_int_equal(pith_memory_used(scarce), 0);
    pith_ctx_free(scarce);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_shrink),
        cmocka_unit_test(small_and_odd_sizes),
        cmocka_unit_test(every_bit_pattern),
        cmocka_unit_test(all_alike_costs_nothing),
        cmocka_unit_test(noise_is_stored),
        cmocka_unit_test(rows_that_repeat_cost_little),
        cmocka_unit_test(a_base_helps),
        cmocka_unit_test(parts_come_alone),
        cmocka_unit_test(threads_make_no_difference),
        cmocka_unit_test(known_answers),
        cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, fill, session_end);
}
