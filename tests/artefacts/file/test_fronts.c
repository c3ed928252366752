/* Every front end: its inverse gives the same bytes back whatever the bytes are, it sees what it
 * is for and nothing else, and damaged input ends in an error or in bytes of the right number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "artefacts/file/codec.h"
#include "artefacts/file/detect.h"
#include "support/file_data.h"

static const file_front *const fronts[] = {&file_front_text, &file_front_x86, &file_front_record, &file_front_array,
                                           &file_front_columns};

typedef struct input {
    const char *name;
    void (*fill)(uint8_t *p, size_t n);
    const file_front *pays; /* the one that must see something; NULL: none has to */
} input;

static void fill_zeros(uint8_t *p, size_t n) { memset(p, 0, n); }
static void fill_random(uint8_t *p, size_t n) { data_fill(p, n, DATA_RANDOM, 11); }
static void fill_records(uint8_t *p, size_t n) { data_fill(p, n, DATA_RECORDS, 1); }
static void fill_counters(uint8_t *p, size_t n) { data_fill(p, n, DATA_COUNTERS, 7); }

static void fill_prose(uint8_t *p, size_t n) {
    data_fill(p, n, DATA_TEXT, 5);
    for (size_t i = 0; i + 12 < n; i += 97) {
        if (p[i] >= 'a' && p[i] <= 'z') p[i] = (uint8_t)(p[i] - 32);
        if (i % 5 == 0) memcpy(p + i, "The TIN One", 11);
        if (i % 11 == 0) p[i + 3] = (uint8_t)(i % 4); /* the marks themselves */
    }
}

/* Calls to a few functions from everywhere, with other bytes between. */
static void fill_code(uint8_t *p, size_t n) {
    static const uint32_t targets[] = {100, 5000, 5016, 20000, 70000, 3};
    static const uint8_t heads[][3] = {{0xE8}, {0xE9}, {0x0F, 0x84}, {0x48, 0x8B, 0x05}, {0x4C, 0x8D, 0x25}};
    static const uint8_t lengths[] = {1, 1, 2, 3, 3};
    uint32_t r = 77;
    size_t i = 0;
    while (i < n) {
        uint32_t kind = data_random(&r) % 8;
        if (kind < 5 && i + 7 <= n) {
            memcpy(p + i, heads[kind], lengths[kind]);
            i += lengths[kind];
            store32(p + i, targets[data_random(&r) % 6] - (uint32_t)(i + 4));
            i += 4;
        }
        for (uint32_t k = data_random(&r) % 9; k > 0 && i < n; k--) p[i++] = (uint8_t)(data_random(&r) >> 13 & 0x7F);
    }
}

/* A sine-like wave of 16-bit samples in two channels behind a header of 44 bytes. */
static void fill_wave(uint8_t *p, size_t n) {
    int32_t a = 9000, b = 0, c = 0, d = 7000;
    data_fill(p, PITH_MIN(n, 44u), DATA_RANDOM, 2);
    for (size_t i = 44; i + 4 <= n; i += 4) {
        a += b / 40, b -= a / 40, c += d / 90, d -= c / 90;
        store16(p + i, (uint16_t)a);
        store16(p + i + 2, (uint16_t)c);
    }
}

/* Big-endian single-precision numbers that rise slowly. */
static void fill_floats(uint8_t *p, size_t n) {
    uint32_t r = 5;
    float f = 250.0f;
    for (size_t i = 0; i + 4 <= n; i += 4) {
        f += (float)(data_random(&r) >> 28) * 0.01f - 0.05f;
        uint32_t bits;
        memcpy(&bits, &f, 4);
        store32(p + i, __builtin_bswap32(bits));
    }
}

/* Lines of a few kinds with times, padded numbers, addresses, names that come again, and now and then one of its own. */
static void fill_log(uint8_t *p, size_t n) {
    uint32_t r = 3, t = 40000;
    for (size_t at = 0; at < n;) {
        char line[200];
        uint32_t a = data_random(&r), b = data_random(&r), who = a % 7;
        t += b % 5;
        int length;
        switch (b % 9) {
        case 0: length = snprintf(line, sizeof line, "%c%u odd\n", 'a' + (int)(a % 26), b); break;
        case 1: case 2: case 3:
            length = snprintf(line, sizeof line, "%02u:%02u:%02u %5u INFO user%u from 10.0.%u.%u:%u id %08x%08x ok\n", t / 3600 % 24,
                              t / 60 % 60, t % 60, a % 70000, who, a % 250, b % 250, a >> 16, a, b);
            break;
        case 4: length = snprintf(line, sizeof line, "\n"); break;
        default:
            length = snprintf(line, sizeof line, "%02u:%02u:%02u %5u WARN user%u lost user%u after %d s, size=%u\r\n", t / 3600 % 24,
                              t / 60 % 60, t % 60, a % 70000, who, who, (int)(a % 900) - 300, b >> 20);
        }
        size_t part = PITH_MIN((size_t)length, n - at);
        memcpy(p + at, line, part);
        at += part;
    }
}

static void fill_table(uint8_t *p, size_t n) {
    static const char *const kinds[] = {"red", "green", "blue, dark"};
    uint32_t r = 9;
    for (size_t at = 0; at < n;) {
        char line[200];
        uint32_t a = data_random(&r);
        int length = snprintf(line, sizeof line, "%u,\"%s\",%u.%u,,%05u,x%u\n", (unsigned)at, kinds[a % 3], a % 90, a >> 5 & 7,
                              a >> 17, a >> 28);
        size_t part = PITH_MIN((size_t)length, n - at);
        memcpy(p + at, line, part);
        at += part;
    }
}

static const input inputs[] = {
    {"zeros", fill_zeros, NULL},
    {"random", fill_random, NULL},
    {"prose", fill_prose, &file_front_text},
    {"code", fill_code, &file_front_x86},
    {"records", fill_records, &file_front_record},
    {"counters", fill_counters, &file_front_array},
    {"wave", fill_wave, &file_front_array},
    {"floats", fill_floats, &file_front_array},
    {"log", fill_log, &file_front_columns},
    {"table", fill_table, &file_front_columns},
};

/* Whether it paid; checks the inverse if so. */
static bool round_trip(const file_front *front, const file_args *given, const uint8_t *src, size_t n) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    file_args args = *given;
    pith_buffer out = {0};
    bool pays = true;
    assert_int_equal(front->forward(ctx, &args, src, n, &out, &pays), PITH_OK);
    if (pays) {
        assert_int_equal(front->check(ctx, &args), PITH_OK);
        assert_true(out.size <= 2 * n + 4096); /* what a container takes */
        uint8_t *exact = malloc(out.size ? out.size : 1), *back = malloc(n ? n : 1);
        memcpy(exact, out.data, out.size);
        assert_int_equal(front->inverse(ctx, &args, exact, out.size, back, n), PITH_OK);
        assert_memory_equal(back, src, n);
        free(exact);
        free(back);
    } else {
        assert_int_equal(out.size, 0);
    }
    pith_buffer_free(ctx, &out);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
    return pays;
}

static void every_input_comes_back(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 7, 8, 255, 256, 1024, 1031, 4097, 50001, 300007};
    for (size_t s = 0; s < PITH_COUNT(sizes); s++) {
        uint8_t *src = malloc(sizes[s] ? sizes[s] : 1);
        for (size_t i = 0; i < PITH_COUNT(inputs); i++) {
            inputs[i].fill(src, sizes[s]);
            for (size_t f = 0; f < PITH_COUNT(fronts); f++) round_trip(fronts[f], &(file_args){0}, src, sizes[s]);
        }
        free(src);
    }
}

static void each_sees_what_it_is_for(void **state) {
    (void)state;
    enum { N = 200000 };
    uint8_t *src = malloc(N);
    for (size_t i = 0; i < PITH_COUNT(inputs); i++) {
        inputs[i].fill(src, N);
        for (size_t f = 0; f < PITH_COUNT(fronts); f++) {
            bool pays = round_trip(fronts[f], &(file_args){0}, src, N);
            if (fronts[f] == inputs[i].pays && !pays) fail_msg("the front end misses %s", inputs[i].name);
            if (i < 2 && pays) fail_msg("%s sees something in %s", fronts[f]->name, inputs[i].name);
        }
    }
    free(src);
}

static void given_arguments_are_kept(void **state) {
    (void)state;
    enum { N = 40000 };
    uint8_t *src = malloc(N);
    pith_ctx *ctx = pith_ctx_new(NULL);
    fill_wave(src, N);
    static const uint32_t given[][3] = {{2, 2, 2}, {4, 0, 0}, {0, 3, 0}, {2, 4, 7}, {0, 0, 2}};
    for (size_t i = 0; i < PITH_COUNT(given); i++) {
        file_args args = {3, {given[i][0], given[i][1], given[i][2]}};
        pith_buffer out = {0};
        bool pays;
        assert_int_equal(file_front_array.forward(ctx, &args, src, N, &out, &pays), PITH_OK);
        for (unsigned k = 0; k < 3 && pays; k++) assert_true(!given[i][k] || args.v[k] == given[i][k]);
        pith_buffer_free(ctx, &out);
    }
    fill_records(src, N);
    for (uint32_t d = 2; d <= 1024; d += 73) {
        file_args args = {1, {d}};
        pith_buffer out = {0};
        bool pays;
        assert_int_equal(file_front_record.forward(ctx, &args, src, N, &out, &pays), PITH_OK);
        assert_true(!pays || args.v[0] == d);
        pith_buffer_free(ctx, &out);
    }
    pith_ctx_free(ctx);
    free(src);
}

static void calls_to_one_place_become_equal(void **state) {
    (void)state;
    enum { N = 60000 };
    uint8_t *src = malloc(N);
    pith_ctx *ctx = pith_ctx_new(NULL);
    fill_code(src, N);
    file_args args = {0};
    pith_buffer out = {0};
    bool pays;
    assert_int_equal(file_front_x86.forward(ctx, &args, src, N, &out, &pays), PITH_OK);
    assert_true(pays);
    unsigned before = 0, after = 0;
    for (size_t i = 0; i + 4 <= N; i++) {
        before += load32(src + i) == 5016;
        after += load32(out.data + i) == 5016;
    }
    assert_true(before == 0 && after > 200);
    pith_buffer_free(ctx, &out);
    pith_ctx_free(ctx);
    free(src);
}

static void any_bytes_are_an_error_or_the_right_number(void **state) {
    (void)state;
    static const file_args sets[][4] = {
        {{1, {0}}, {1, {1}}, {1, {0}}, {1, {1}}},
        {{0}, {0}, {0}, {0}},
        {{1, {2}}, {1, {3}}, {1, {100}}, {1, {1024}}},
        {{5, {2, 1, 1, 0, 0}}, {5, {4, 2, 3, 3, 1}}, {5, {8, 3, 256, 7, 0}}, {5, {8, 4, 1, 0, 1}}},
        {{1, {0}}, {1, {44}}, {1, {255}}, {1, {9}}},
    };
    enum { N = 3000 };
    uint8_t *src = malloc(N), *back = malloc(2 * N);
    for (size_t f = 0; f < PITH_COUNT(fronts); f++) {
        for (size_t a = 0; a < 4; a++) {
            for (size_t n = 0; n < N; n += n < 20 ? 1 : 331) {
                for (size_t raw_n = n > 130 ? n - 130 : 0; raw_n < n + 20; raw_n++) {
                    pith_ctx *ctx = pith_ctx_new(NULL);
                    fill_prose(src, n);
                    uint8_t *exact = malloc(n ? n : 1), *end = back + 2 * N - raw_n;
                    memcpy(exact, src, n);
                    assert_int_equal(fronts[f]->check(ctx, &sets[f][a]), PITH_OK);
                    pith_status status = fronts[f]->inverse(ctx, &sets[f][a], exact, n, end, raw_n);
                    assert_true(status == PITH_OK || status == PITH_E_FORMAT);
                    assert_true((status != PITH_OK) == (pith_error(ctx)[0] != 0));
                    free(exact);
                    pith_ctx_free(ctx);
                }
            }
        }
    }
    free(src);
    free(back);
}

/* Streams of columns with one byte changed, and cut off: an error or the right number of bytes, within the memory said. */
static void damaged_columns_are_an_error_or_other_lines(void **state) {
    (void)state;
    enum { N = 6000 };
    uint8_t *src = malloc(N), *back = malloc(N);
    for (size_t i = PITH_COUNT(inputs) - 2; i < PITH_COUNT(inputs); i++) {
        inputs[i].fill(src, N);
        pith_ctx *ctx = pith_ctx_new(NULL);
        file_args args = {0};
        pith_buffer out = {0};
        bool pays;
        assert_int_equal(file_front_columns.forward(ctx, &args, src, N, &out, &pays), PITH_OK);
        assert_true(pays);
        for (size_t at = 0; at < 2 * out.size; at += at < 1000 ? 1 : 7) {
            size_t n = at < out.size ? out.size : at - out.size;
            uint8_t *exact = malloc(n ? n : 1);
            memcpy(exact, out.data, n);
            if (at < out.size) exact[at] ^= (uint8_t)(1 + at % 255);
            pith_ctx *own = pith_ctx_new(NULL);
            pith_status status = file_front_columns.inverse(own, &args, exact, n, back, N);
            assert_true(status == PITH_OK || status == PITH_E_FORMAT);
            assert_true((status != PITH_OK) == (pith_error(own)[0] != 0));
            assert_true(pith_memory_peak(own) <= file_front_columns.memory(&args, N));
            pith_ctx_free(own);
            free(exact);
        }
        pith_buffer_free(ctx, &out);
        pith_ctx_free(ctx);
    }
    free(src);
    free(back);
}

static void arguments_out_of_range_are_refused(void **state) {
    (void)state;
    static const struct {
        const file_front *front;
        file_args args;
    } wrong[] = {
        {&file_front_text, {0}},
        {&file_front_text, {1, {2}}},
        {&file_front_text, {2, {0, 0}}},
        {&file_front_x86, {1, {0}}},
        {&file_front_record, {0}},
        {&file_front_record, {1, {0}}},
        {&file_front_record, {1, {1}}},
        {&file_front_record, {1, {1025}}},
        {&file_front_array, {0}},
        {&file_front_array, {3, {2, 1, 1}}},
        {&file_front_array, {5, {3, 1, 1, 0, 0}}},
        {&file_front_array, {5, {0, 1, 1, 0, 0}}},
        {&file_front_array, {5, {4, 0, 1, 0, 0}}},
        {&file_front_array, {5, {4, 5, 1, 0, 0}}},
        {&file_front_array, {5, {4, 1, 0, 0, 0}}},
        {&file_front_array, {5, {4, 1, 257, 0, 0}}},
        {&file_front_array, {5, {4, 1, 1, 4, 0}}},
        {&file_front_array, {5, {4, 1, 1, 0, 2}}},
        {&file_front_columns, {0}},
        {&file_front_columns, {1, {10}}},
        {&file_front_columns, {1, {256}}},
    };
    pith_ctx *ctx = pith_ctx_new(NULL);
    for (size_t i = 0; i < PITH_COUNT(wrong); i++) {
        pith_begin(ctx);
        assert_int_equal(wrong[i].front->check(ctx, &wrong[i].args), PITH_E_FORMAT);
        assert_true(pith_error(ctx)[0] != 0);
    }
    pith_ctx_free(ctx);
}

static void failing_memory_is_an_error(void **state) {
    (void)state;
    enum { N = 50000 };
    uint8_t *src = malloc(N);
    for (size_t i = 2; i < PITH_COUNT(inputs); i++) {
        inputs[i].fill(src, N);
        pith_status status = PITH_E_MEMORY;
        bool many = inputs[i].pays == &file_front_columns; /* calls; not all of them are tried */
        for (long fail_at = 1; status; fail_at += many && fail_at > 40 ? fail_at / 8 : 1) { /* call 0 is the session */
            data_heap heap = {.fail_at = fail_at};
            pith_ctx *ctx = pith_ctx_new(&(pith_allocator){data_heap_alloc, data_heap_free, &heap});
            file_args args = {0};
            pith_buffer out = {0};
            bool pays;
            status = inputs[i].pays->forward(ctx, &args, src, N, &out, &pays);
            assert_true(status == PITH_OK || status == PITH_E_MEMORY);
            pith_buffer_free(ctx, &out);
            pith_ctx_free(ctx);
            assert_int_equal(atomic_load(&heap.held), 0);
            assert_true(fail_at < (many ? 20000 : 100));
        }
    }
    free(src);
}

static void logarithms_are_right(void **state) {
    (void)state;
    assert_int_equal(detect_log2(1), 0);
    assert_int_equal(detect_log2(2), 65536);
    assert_int_equal(detect_log2(1u << 31), 31u << 16);
    assert_int_equal(detect_log2(3), 103872);        /* 1.5849625 * 65536 = 103872.1 */
    assert_int_equal(detect_log2(1000000), 1306235); /* 19.931569 * 65536 = 1306235.3 */
}

static void statistics_say_what_is_there(void **state) {
    (void)state;
    enum { N = 100000 };
    uint8_t *src = calloc(N, 1);
    detect_result look;
    detect_block(src, 0, &look);
    assert_int_equal(look.entropy_millibits, 0);
    fill_random(src, N);
    detect_block(src, N, &look);
    assert_true(look.entropy_millibits > 7950 && detect_distance(src, N) == 0 && look.x86_calls == 0);
    fill_prose(src, N);
    detect_block(src, N, &look);
    assert_true(look.text_permille > 980 && look.letters_permille > 500 && look.x86_calls == 0);
    fill_records(src, N);
    uint32_t distance = detect_distance(src, N);
    assert_true(distance > 0 && distance % 12 == 0); /* the last column repeats every three records */
    fill_code(src, N);
    detect_block(src, N, &look);
    assert_true(look.x86_calls > 500 && look.text_permille < 900);
    free(src);
}

static void samples_are_from_all_over(void **state) {
    (void)state;
    enum { N = 1000000, MOST = 100000, UNIT = 5040 };
    uint8_t *src = malloc(N);
    fill_random(src, N);
    pith_ctx *ctx = pith_ctx_new(NULL);
    detect_sample s;
    assert_int_equal(detect_sample_take(ctx, src, MOST, MOST, &s), PITH_OK);
    assert_true(s.data == src && s.n == MOST && !s.own);
    detect_sample_free(ctx, &s);
    assert_int_equal(detect_sample_take(ctx, src, N, MOST, &s), PITH_OK);
    assert_true(s.n > MOST / 2 && s.n <= MOST && s.n % UNIT == 0);
    assert_memory_equal(s.data, src, UNIT);
    size_t last = 0;
    for (size_t i = 0; i < s.n; i += UNIT) { /* each stands in the block at a multiple of its length, in order */
        size_t at = last;
        while (at + UNIT <= N && memcmp(src + at, s.data + i, UNIT) != 0) at += UNIT;
        assert_true(at + UNIT <= N);
        last = at;
    }
    assert_true(last > N - 2 * UNIT);
    detect_sample_free(ctx, &s);
    data_heap heap = {.fail_at = 1};
    pith_ctx *poor = pith_ctx_new(&(pith_allocator){data_heap_alloc, data_heap_free, &heap});
    assert_int_equal(detect_sample_take(poor, src, N, MOST, &s), PITH_E_MEMORY);
    detect_sample_free(poor, &s);
    pith_ctx_free(poor);
    pith_ctx_free(ctx);
    free(src);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_input_comes_back),
        cmocka_unit_test(each_sees_what_it_is_for),
        cmocka_unit_test(given_arguments_are_kept),
        cmocka_unit_test(calls_to_one_place_become_equal),
        cmocka_unit_test(any_bytes_are_an_error_or_the_right_number),
        cmocka_unit_test(damaged_columns_are_an_error_or_other_lines),
        cmocka_unit_test(arguments_out_of_range_are_refused),
        cmocka_unit_test(failing_memory_is_an_error),
        cmocka_unit_test(logarithms_are_right),
        cmocka_unit_test(statistics_say_what_is_there),
        cmocka_unit_test(samples_are_from_all_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
