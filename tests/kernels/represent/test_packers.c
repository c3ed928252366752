/* Packers: what went in comes out, at the size that was promised, the same bytes on every machine; strangers' bytes are
 * refused or give codes of the alphabet. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "kernels/represent/dict16.h"
#include "kernels/represent/golomb.h"
#include "kernels/represent/packers.h"
#include "support/session.h"

enum { MOST = 70000 };
static const char *const names[] = {"pack", "huff", "rans", "ctxac", "golomb", "dict16", "zstd"};

static uint16_t codes[MOST], back[MOST + 8];

/* ---- planes ---- */

static void fill_normal(size_t n, unsigned alphabet, int64_t sixteenths_of_deviation, uint64_t seed) {
    uint64_t state = 88172645463325252u + seed;
    for (size_t i = 0; i < n; i++) {
        int64_t c = (next_normal(&state) * sixteenths_of_deviation / 16 + 32768) >> 16;
        c += alphabet / 2;
        codes[i] = (uint16_t)(c < 0 ? 0 : c >= alphabet ? alphabet - 1 : c);
    }
}

static void fill_uniform(size_t n, unsigned alphabet, uint64_t seed) {
    uint64_t state = 88172645463325252u + seed;
    for (size_t i = 0; i < n; i++) codes[i] = (uint16_t)((next_random(&state) >> 32) % alphabet);
}

/* `zero` but for a share of 65536ths. */
static void fill_sparse(size_t n, unsigned alphabet, unsigned zero, unsigned share, uint64_t seed) {
    uint64_t state = 88172645463325252u + seed;
    for (size_t i = 0; i < n; i++) {
        uint64_t r = next_random(&state);
        codes[i] = (uint16_t)((r >> 48) < share ? (zero + 1 + (r & 0xFFFF) % (alphabet - 1)) % alphabet : zero);
    }
}

/* Rows and columns of different scales. */
static void fill_scaled(size_t rows, size_t cols, unsigned alphabet, uint64_t seed) {
    uint64_t state = 88172645463325252u + seed;
    for (size_t i = 0; i < rows * cols; i++) {
        int64_t scale = (int64_t)((i / cols % 7 + 1) * (i % cols % 5 + 1));
        int64_t c = ((next_normal(&state) * scale / 8 + 32768) >> 16) + alphabet / 2;
        codes[i] = (uint16_t)(c < 0 ? 0 : c >= alphabet ? alphabet - 1 : c);
    }
}

static double entropy_bytes(size_t n) {
    static uint32_t count[65536];
    double bits = 0;
    memset(count, 0, sizeof count);
    for (size_t i = 0; i < n; i++) count[codes[i]]++;
    for (size_t s = 0; s < 65536; s++)
        if (count[s]) bits += count[s] * log2((double)n / count[s]);
    return bits / 8;
}

/* ---- checks ---- */

static size_t pack(const packer *p, size_t n, size_t row, unsigned alphabet, pith_buffer *out) {
    repr_job job = job_of(ctx, p);
    repr_plane plane = {codes, n, row, alphabet};
    size_t begin = out->size;
    assert_int_equal(p->ops->pack(&job, &plane, out), PITH_OK);
    return out->size - begin;
}

/* There and back, behind other bytes and with others behind; gives the size. */
static size_t check(const char *name, size_t n, size_t row, unsigned alphabet) {
    packer p = packer_named(name);
    repr_job job = job_of(ctx, &p);
    pith_buffer out = {0};
    assert_int_equal(pith_buffer_append(ctx, &out, "before", 6), PITH_OK);
    size_t size = pack(&p, n, row, alphabet, &out);
    repr_reader in = {out.data + 6, out.data + out.size};
    memset(back, 0xA7, sizeof back);
    if (p.ops->unpack(&job, &in, back, n, row, alphabet)) fail_msg("%s, %zu of %u: %s", name, n, alphabet, pith_error(ctx));
    assert_ptr_equal(in.p, in.end);
    if (memcmp(codes, back, n * sizeof *codes) != 0) fail_msg("%s, %zu of %u: other codes", name, n, alphabet);
    for (size_t i = n; i < n + 8; i++) assert_int_equal(back[i], 0xA7A7);
    assert_memory_equal(out.data, "before", 6);
    pith_buffer_free(ctx, &out);
    return size;
}

static bool takes(const char *name, unsigned alphabet) { return strcmp(name, "dict16") != 0 || alphabet <= 3; }

static void every_size_comes_back(void **state) {
    (void)state;
    static const unsigned alphabets[] = {1, 2, 3, 5, 16, 100, 256, 257, 1000, 65536};
    static const size_t sizes[] = {0, 1, 2, 3, 7, 8, 9, 39, 41, 64, 511, 513, 2047, 2049, 5000};
    for (unsigned k = 0; k < PITH_COUNT(names); k++)
        for (unsigned a = 0; a < PITH_COUNT(alphabets); a++)
            for (unsigned s = 0; s < PITH_COUNT(sizes) && takes(names[k], alphabets[a]); s++) {
                if (!strcmp(names[k], "dict16") && s % 3) continue; /* a dictionary takes a while */
                fill_uniform(sizes[s], alphabets[a], s);
                check(names[k], sizes[s], sizes[s] % 7 ? sizes[s] : 7, alphabets[a]);
                for (size_t i = 0; i < sizes[s]; i++) codes[i] = (uint16_t)(alphabets[a] - 1);
                check(names[k], sizes[s], sizes[s], alphabets[a]);
            }
}

static void planes_of_all_kinds_come_back(void **state) {
    (void)state;
    for (unsigned k = 0; k < PITH_COUNT(names); k++) {
        if (takes(names[k], 256)) {
            fill_normal(MOST, 256, 40 * 16, 1);
            check(names[k], MOST, 100, 256);
            fill_normal(MOST, 16, 2 * 16, 2);
            check(names[k], MOST, 1000, 16);
            fill_normal(MOST, 4096, 500 * 16, 3);
            check(names[k], MOST, MOST, 4096);
            fill_scaled(700, 100, 128, 4);
            check(names[k], 70000, 100, 128);
        }
        fill_sparse(MOST, 2, 0, 700, 5);
        check(names[k], MOST, 70, 2);
        fill_sparse(MOST, 3, 1, 6000, 6);
        check(names[k], MOST, 70, 3);
    }
}

static void every_width_of_plain_bits(void **state) {
    (void)state;
    for (unsigned width = 1; width <= 16; width++) {
        fill_uniform(3001, 1u << width, width);
        assert_int_equal(check("pack", 3001, 3001, 1u << width), (3001 * width + 7) / 8);
    }
    fill_uniform(3001, 1, 0);
    assert_int_equal(check("pack", 3001, 3001, 1), 0);
}

static void sizes_are_near_the_entropy(void **state) {
    (void)state;
    fill_normal(MOST, 64, 3 * 16, 7);
    double limit = entropy_bytes(MOST);
    assert_true((double)check("rans", MOST, MOST, 64) < 1.004 * limit + 160);
    assert_true((double)check("huff", MOST, MOST, 64) < 1.03 * limit + 60);
    assert_true((double)check("ctxac", MOST, 100, 64) < 1.01 * limit);
    /* a small plane's table is a curve of a few bytes */
    fill_normal(400, 64, 3 * 16, 8);
    limit = entropy_bytes(400);
    assert_true((double)check("rans", 400, 400, 64) < limit + 18);
    /* nearly all alike costs nearly nothing */
    fill_sparse(MOST, 16, 3, 20, 9);
    assert_true(check("rans", MOST, MOST, 16) < 220);
    assert_true(check("ctxac", MOST, 100, 16) < 90);
    /* large alphabets through their highest bits */
    fill_normal(MOST, 4096, 300 * 16, 10);
    limit = entropy_bytes(MOST);
    assert_true((double)check("rans", MOST, MOST, 4096) < 1.01 * limit + 1500);
}

/* Rows and columns of different scales: what their averages say is worth much. */
static void contexts_pay(void **state) {
    (void)state;
    fill_scaled(700, 100, 128, 11);
    double order0 = entropy_bytes(70000), adaptive = (double)check("ctxac", 70000, 100, 128);
    printf("ctxac: %.3f of the order-0 entropy\n", adaptive / order0);
    assert_true(adaptive < 0.9 * order0);
    /* and rows that have a part in common */
    uint64_t random = 12345;
    for (size_t i = 0; i < 70000; i++) codes[i] = (uint16_t)(64 + (i % 100 * 37 % 41) - 20 + next_random(&random) % 3);
    order0 = entropy_bytes(70000);
    assert_true((double)check("ctxac", 70000, 100, 128) < 0.5 * order0);
}

static void golomb_is_near_the_entropy(void **state) {
    (void)state;
    for (unsigned share = 300; share < 16000; share *= 3) {
        fill_sparse(MOST, 2, 0, share, share);
        double limit = entropy_bytes(MOST);
        size_t size = check("golomb", MOST, 100, 2);
        assert_true((double)size < 1.05 * limit + 8);
    }
    /* the parameter that is best is chosen: no other is smaller by more than a hair */
    fill_sparse(MOST, 2, 0, 3000, 77);
    repr_plane plane = {codes, MOST, 100, 2};
    pith_buffer out = {0};
    assert_int_equal(golomb_encode(ctx, &plane, 0, &out), PITH_OK);
    size_t best = out.size;
    for (uint64_t m = 1; m < 60; m++) {
        out.size = 0;
        assert_int_equal(golomb_encode(ctx, &plane, m, &out), PITH_OK);
        assert_true(out.size + 60 > best);
        repr_reader in = {out.data, out.data + out.size};
        assert_int_equal(golomb_decode(ctx, &in, back, MOST, 2), PITH_OK);
        assert_memory_equal(back, codes, sizeof codes);
    }
    pith_buffer_free(ctx, &out);
    assert_int_equal(golomb_parameter(1, 2), 1);
    assert_int_equal(golomb_parameter(9, 10), 7); /* 0.9^7 + 0.9^8 <= 1 < 0.9^6 + 0.9^7 */
}

/* Bits for a weight of the fixed dictionary, made for 0.885, on ternary digits of other densities: figures of a
 * reimplementation of QMoE's dictionary on 200,000 digits each. */
static void dict16_has_the_known_rates(void **state) {
    (void)state;
    enum { N = 200000 };
    static const double density[] = {0.80, 0.85, 0.885, 0.92, 0.95, 0.98};
    static const double rate[] = {1.118, 0.874, 0.733, 0.638, 0.590, 0.573};
    packer p = packer_named("dict16");
    repr_job job = job_of(ctx, &p);
    uint16_t *digits = malloc(N * sizeof *digits), *again = malloc(N * sizeof *again);
    assert_true(digits && again);
    uint64_t random = 88172645463325252u;
    for (unsigned k = 0; k < PITH_COUNT(density); k++) {
        uint64_t zero = (uint64_t)(density[k] * 4294967296.0);
        for (size_t i = 0; i < N; i++) {
            uint64_t r = next_random(&random);
            digits[i] = (uint16_t)((r >> 32) < zero ? 1 : r & 2);
        }
        repr_plane plane = {digits, N, N, 3};
        pith_buffer out = {0};
        assert_int_equal(p.ops->pack(&job, &plane, &out), PITH_OK);
        repr_reader in = {out.data, out.data + out.size};
        assert_int_equal(p.ops->unpack(&job, &in, again, N, N, 3), PITH_OK);
        assert_memory_equal(digits, again, N * sizeof *digits);
        double bits = 8.0 * (double)out.size / N;
        printf("dict16: zeros %.3f, %.4f bits for a weight (known: %.3f)\n", density[k], bits, rate[k]);
        assert_true(fabs(bits - rate[k]) < 0.012);
        pith_buffer_free(ctx, &out);
    }
    free(digits);
    free(again);
}

static void dict16_wants_three_values(void **state) {
    (void)state;
    packer p = packer_named("dict16");
    repr_job job = job_of(ctx, &p);
    pith_buffer out = {0};
    fill_uniform(10, 4, 1);
    repr_plane plane = {codes, 10, 10, 4};
    assert_int_equal(p.ops->pack(&job, &plane, &out), PITH_E_ARGUMENT);
    assert_non_null(strstr(pith_error(ctx), "three values"));
    pith_buffer_free(ctx, &out);
}

/* ---- series ---- */

static uint16_t before[MOST];

/* What was before, changed here and there: by one, and where much changed before, more often. */
static void fill_series(size_t rows, size_t cols, unsigned alphabet, uint64_t seed) {
    uint64_t state = 88172645463325252u + seed;
    fill_scaled(rows, cols, alphabet, seed + 1);
    memcpy(before, codes, rows * cols * sizeof *codes);
    for (size_t i = 0; i < rows * cols; i++) {
        int64_t c = codes[i] + ((next_normal(&state) * (i % cols > cols / 2 ? 8 : 24) / 16 + 32768) >> 16);
        codes[i] = (uint16_t)(c < 0 ? 0 : c >= alphabet ? alphabet - 1 : c);
    }
}

static size_t check_series(const char *by, const uint16_t *known_before, size_t n, size_t row, unsigned alphabet) {
    repr_plane plane = {codes, n, row, alphabet};
    pith_buffer out = {0};
    assert_int_equal(repr_plane_encode(ctx, by, &plane, known_before, &out), PITH_OK);
    repr_reader in = {out.data, out.data + out.size};
    memset(back, 0xA7, sizeof back);
    assert_int_equal(repr_plane_decode(ctx, by, &in, known_before, back, n, row, alphabet), PITH_OK);
    assert_ptr_equal(in.p, in.end);
    assert_memory_equal(codes, back, n * sizeof *codes);
    assert_int_equal(back[n], 0xA7A7);
    size_t size = out.size;
    pith_buffer_free(ctx, &out);
    return size;
}

static void the_plane_before_helps(void **state) {
    (void)state;
    fill_series(300, 100, 64, 31);
    size_t alone = check_series("ctxac", NULL, 30000, 100, 64);
    size_t same = check_series("ctxac(around=0)", before, 30000, 100, 64);
    size_t around = check_series("ctxac", before, 30000, 100, 64);
    print_message("series: %zu bytes alone, %zu with the same place, %zu with those around\n", alone, same, around);
    assert_true(100 * same < 85 * alone && 100 * around < 102 * same);
    assert_int_equal(check_series("rans", before, 30000, 100, 64), check_series("rans", NULL, 30000, 100, 64));
    /* odd shapes, and neighbours that are not there */
    static const size_t shapes[][2] = {{1, 1}, {2, 1}, {7, 3}, {100, 100}, {101, 100}, {999, 1000}, {1003, 0}, {5000, 1}};
    for (unsigned i = 0; i < PITH_COUNT(shapes); i++)
        for (unsigned alphabet = 2; alphabet <= 300; alphabet += 149) {
            fill_series(1, shapes[i][0], alphabet, i);
            check_series("ctxac", before, shapes[i][0], shapes[i][1], alphabet);
            check_series("ctxac(around=0)", before, shapes[i][0], shapes[i][1], alphabet);
        }
}

static void only_packers_pack(void **state) {
    (void)state;
    static const char *const wrong[] = {"q(4)", "rans | pack", "rans @ obs", "no_such", "", "rans ; pack", "x -> rans"};
    repr_plane plane = {codes, 8, 8, 4};
    pith_buffer out = {0};
    fill_uniform(8, 4, 1);
    for (unsigned i = 0; i < PITH_COUNT(wrong); i++) {
        pith_begin(ctx);
        pith_status status = repr_plane_encode(ctx, wrong[i], &plane, NULL, &out);
        if (i < 6 && status != PITH_E_ARGUMENT) fail_msg("%s: status %d", wrong[i], (int)status);
    }
    pith_buffer_free(ctx, &out);
}

/* ---- the same bytes everywhere ---- */

typedef struct known {
    const char *name;
    uint64_t normal, scaled, ternary; /* hashes of the code; 0: not for such a plane */
} known;
static const known answers[] = {
    {"pack", 0x18ff39ca6f8c2708u, 0x4a23fc93425c4cbau, 0x4f08533b70f471ebu},
    {"huff", 0x0504c3d8e8ef5e2eu, 0x389100dd86462053u, 0xf2e3fe34e91239d0u},
    {"rans", 0xf31d0401bfe1df05u, 0x627e6789d195af88u, 0xbaa3db7da9f45ba1u},
    {"ctxac", 0x4a3bed193e523876u, 0xe6e75fc325a5519du, 0x482cba33fd4afd47u},
    {"golomb", 0x5e5d8ee4e44745d1u, 0xa9723626f89577eeu, 0x84190d18a7ec2e1fu},
    {"dict16", 0x0000000000000000u, 0x0000000000000000u, 0xa9277457aeac1ed0u},
};

static void known_answers(void **state) {
    (void)state;
    bool good = true;
    for (unsigned k = 0; k < PITH_COUNT(answers); k++) {
        packer p = packer_named(answers[k].name);
        uint64_t hash[3] = {0};
        for (unsigned plane = 0; plane < 3; plane++) {
            unsigned alphabet = plane == 0 ? 50 : plane == 1 ? 128 : 3;
            if (!takes(answers[k].name, alphabet)) continue;
            if (plane == 0) fill_normal(30000, alphabet, 5 * 16, 21);
            else if (plane == 1) fill_scaled(300, 100, alphabet, 22);
            else fill_sparse(30000, alphabet, 1, 8000, 23);
            pith_buffer out = {0};
            pack(&p, 30000, 100, alphabet, &out);
            hash[plane] = pith_hash64(out.data, out.size);
            pith_buffer_free(ctx, &out);
        }
        if (hash[0] == answers[k].normal && hash[1] == answers[k].scaled && hash[2] == answers[k].ternary) continue;
        print_message("    {\"%s\", 0x%016llxu, 0x%016llxu, 0x%016llxu},\n", answers[k].name,
                      (unsigned long long)hash[0], (unsigned long long)hash[1], (unsigned long long)hash[2]);
        good = false;
    }
    assert_true(good);
    static const struct {
        const char *by;
        uint64_t hash;
    } series[] = {{"ctxac(around=0)", 0x3146e4011de4e6fcu}, {"ctxac", 0x500ba9b91676160cu}};
    for (unsigned k = 0; k < PITH_COUNT(series); k++) {
        pith_buffer out = {0};
        fill_series(300, 100, 64, 31);
        repr_plane plane = {codes, 30000, 100, 64};
        assert_int_equal(repr_plane_encode(ctx, series[k].by, &plane, before, &out), PITH_OK);
        uint64_t hash = pith_hash64(out.data, out.size);
        if (hash != series[k].hash) fail_msg("%s: 0x%016llxu", series[k].by, (unsigned long long)hash);
        pith_buffer_free(ctx, &out);
    }
}

/* ---- strangers ---- */

static void unpack_bytes(const packer *p, const uint8_t *data, size_t size, size_t n, unsigned alphabet, bool cut) {
    repr_job job = job_of(ctx, p);
    uint8_t *copy = malloc(size ? size : 1); /* exactly so many, for the sanitizer */
    assert_non_null(copy);
    if (size) memcpy(copy, data, size);
    repr_reader in = {copy, copy + size};
    pith_begin(ctx);
    pith_status status = p->ops->unpack(&job, &in, back, n, 50, alphabet);
    if (status) {
        assert_true(pith_error(ctx)[0] != 0);
    } else {
        if (cut) fail_msg("%s: %zu bytes of a longer code were taken", p->args.stage->name, size);
        for (size_t i = 0; i < n; i++) assert_true(back[i] < alphabet);
    }
    free(copy);
}

static void strangers_are_refused(void **state) {
    (void)state;
    for (unsigned k = 0; k < PITH_COUNT(names); k++) {
        packer p = packer_named(names[k]);
        unsigned alphabet = takes(names[k], 20) ? 20 : 3;
        bool slow = !strcmp(names[k], "dict16") || !strcmp(names[k], "ctxac");
        uint64_t random = 99;
        for (size_t n = 600; n <= 3000; n += 2400) {
            if (alphabet == 20) fill_normal(n, alphabet, 3 * 16, 31);
            else fill_sparse(n, alphabet, 0, 9000, 32);
            pith_buffer out = {0};
            pack(&p, n, 50, alphabet, &out);
            size_t step = 1 + out.size / (slow ? 20 : 150);
            for (size_t cut = 0; cut < out.size; cut += step) unpack_bytes(&p, out.data, cut, n, alphabet, true);
            for (unsigned i = 0; i < (slow ? 60 : 600); i++) {
                /* the head is hit more often */
                uint64_t r = next_random(&random);
                size_t at = (r & 1 ? r >> 8 : (r >> 8) % 40) % out.size;
                uint8_t was = out.data[at];
                out.data[at] = (uint8_t)(r >> 40);
                unpack_bytes(&p, out.data, out.size, n, alphabet, false);
                out.data[at] = was;
            }
            pith_buffer_free(ctx, &out);
        }
    }
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    pith_ctx *scarce = scarce_session();
    for (unsigned k = 0; k < PITH_COUNT(names); k++) {
        packer p = packer_named(names[k]);
        repr_job job = job_of(scarce, &p);
        fill_sparse(3000, 3, 0, 9000, 41);
        repr_plane plane = {codes, 3000, 50, 3};
        pith_buffer out = {0};
        allocations_left = 1L << 30;
        assert_int_equal(p.ops->pack(&job, &plane, &out), PITH_OK);
        for (long n = 0;; n++) {
            pith_buffer other = {0};
            allocations_left = n;
            pith_begin(scarce);
            pith_status status = p.ops->pack(&job, &plane, &other);
            pith_buffer_free(scarce, &other);
            if (!status) break;
            assert_int_equal(status, PITH_E_MEMORY);
        }
        for (long n = 0;; n++) {
            repr_reader in = {out.data, out.data + out.size};
            allocations_left = n;
            pith_begin(scarce);
            pith_status status = p.ops->unpack(&job, &in, back, 3000, 50, 3);
            if (!status) break;
            assert_int_equal(status, PITH_E_MEMORY);
        }
        pith_buffer_free(scarce, &out);
        assert_int_equal(pith_memory_used(scarce), 0);
    }
    pith_ctx_free(scarce);
}

int main(void) {
    static const pith_stage *const stages[] = {represent_packers, represent_scalars, NULL};
    static const pith_method *const methods[] = {NULL};
    static const pith_registry registry = {stages, methods};
    if (!pith_registry_set(&registry)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_comes_back),
        cmocka_unit_test(planes_of_all_kinds_come_back),
        cmocka_unit_test(every_width_of_plain_bits),
        cmocka_unit_test(sizes_are_near_the_entropy),
        cmocka_unit_test(contexts_pay),
        cmocka_unit_test(golomb_is_near_the_entropy),
        cmocka_unit_test(dict16_has_the_known_rates),
        cmocka_unit_test(dict16_wants_three_values),
        cmocka_unit_test(the_plane_before_helps),
        cmocka_unit_test(only_packers_pack),
        cmocka_unit_test(known_answers),
        cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
