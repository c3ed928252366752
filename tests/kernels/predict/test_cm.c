/* The context mixer: what it codes comes back, on every instruction set as the same bytes; as a
 * predictor it costs what it says, and copies and starts over exactly; damage, missing room and
 * missing memory end in an error and nothing else.
 *
 * `known` holds what it made of a fixed text when the format was frozen. After a meant change of
 * the format run the test with PITH_PRINT_KNOWN=1 and put what it prints in the table's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "kernels/predict/cm.h"
#include "kernels/predict/cm_contexts.h"
#include "support/file_data.h"

enum { TEXT_N = 20000, PRIMER_N = 3000 };

static const struct known {
    const char *name;
    cm_inputs inputs;
    unsigned ssm_width, record;
    size_t primer_n, n;
    size_t coded_n;
    uint64_t hash; /* XXH3 of the coded bytes */
} known[] = {
    {"small", CM_SMALL, 0, 0, 0, 20000, 3551, 0x820C1D04105AB469},
    {"small, records", CM_SMALL, 0, 12, 0, 5000, 1200, 0xBC8C92EF6322B141},
    {"small, primed", CM_SMALL, 0, 0, 3000, 5000, 888, 0xDF147A515153E1DB},
    {"small, primed in parts", CM_SMALL, 0, 0, 12000, 5000, 789, 0xDD6A9F942A52E4BB},
    {"large", CM_LARGE, 0, 0, 0, 20000, 3409, 0x3F02CE764B9176DB},
    {"large, records", CM_LARGE, 0, 12, 0, 5000, 1092, 0xB43BD557ABB93630},
    {"large, primed", CM_LARGE, 0, 0, 3000, 5000, 838, 0x14A4B503AB78B0CB},
    {"large, primed in parts", CM_LARGE, 0, 0, 12000, 5000, 778, 0xC13BE56C8485F0B3},
    {"neural", CM_LARGE, 48, 0, 0, 1500, 419, 0x30EFF12938FDA178},
    {"neural, primed", CM_LARGE, 16, 0, 42000, 500, 77, 0x3402BF1E758F6278},
};

static uint8_t text[TEXT_N], primer[64 << 10];

/* Lines of sentences of made-up words, common ones more often, some numbers and brackets between. */
static void write_text(uint8_t *p, size_t n, uint32_t seed) {
    static const char *const starts[] = {"ba", "re", "mo", "ti", "su", "ka", "le", "on", "e", "fra", "sto", "qui"};
    static const char *const ends[] = {"n", "r", "st", "ly", "", "ing", "ded", "m"};
    uint32_t r = seed;
    for (size_t at = 0; at < n;) {
        char word[64];
        r = r * 1664525u + 1013904223u;
        uint32_t dice = r >> 8;
        uint32_t w = (dice % 97) * (dice >> 8 & 15) / 3; /* which word: small numbers more often */
        int len;
        if (dice % 41 == 0)
            len = snprintf(word, sizeof word, "%u,", dice >> 10);
        else if (dice % 23 == 0)
            len = snprintf(word, sizeof word, "(%s=%u)\n", starts[dice >> 12 & 7], dice >> 20);
        else
            len = snprintf(word, sizeof word, "%s%s%s%s", starts[w % 12], starts[w / 12 % 12], ends[w * 5 % 8],
                           dice % 13 == 0 ? ".\n" : " ");
        for (int i = 0; i < len && at < n; i++) p[at++] = (uint8_t)word[i];
    }
}

static int setup(void **state) {
    (void)state;
    write_text(text, sizeof text, 1);
    write_text(primer, sizeof primer, 2);
    return 0;
}

/* One of each kind, and such as have everything at once. */
static const cm_params variants[] = {
    {CM_SMALL, 0, 0, NULL, 0, false},          {CM_LARGE, 0, 0, NULL, 0, false},
    {CM_SMALL, 0, 12, NULL, 0, false},         {CM_LARGE, 0, 12, primer, 200, false},
    {CM_SMALL, 0, 0, primer, PRIMER_N, false}, {CM_LARGE, 0, 0, primer, PRIMER_N, false},
    {CM_LARGE, 48, 0, NULL, 0, false},         {CM_LARGE, 16, 3, primer, 150, false},
};

#define GUARD 0xA7
enum { GUARD_BYTES = 32 };

static uint8_t *guarded(size_t n) {
    uint8_t *p = malloc(n + GUARD_BYTES);
    assert_non_null(p);
    memset(p, GUARD, n + GUARD_BYTES);
    return p;
}

static void assert_guard(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < GUARD_BYTES; i++) assert_int_equal(p[n + i], GUARD);
}

static size_t encode(const cm_params *p, const uint8_t *src, size_t n, uint8_t *dst, size_t cap) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    size_t size = 0;
    assert_int_equal(cm_encode(ctx, p, src, n, dst, cap, &size), PITH_OK);
    assert_int_equal(pith_memory_used(ctx), 0);
    assert_true(pith_memory_peak(ctx) <= cm_memory(p, n));
    assert_true(size == SIZE_MAX || size <= cap);
    pith_ctx_free(ctx);
    return size;
}

/* Decodes a copy of exactly its size into exactly n bytes; an error has a message, and nothing else has. */
static pith_status decode(const cm_params *p, const uint8_t *coded, size_t coded_n, uint8_t *dst, size_t n) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    uint8_t *exact = malloc(coded_n ? coded_n : 1), *back = guarded(n);
    assert_non_null(exact);
    if (coded_n) memcpy(exact, coded, coded_n);
    pith_status status = cm_decode(ctx, p, exact, coded_n, back, n);
    assert_true((status != PITH_OK) == (pith_error(ctx)[0] != 0));
    assert_true(status == PITH_OK || status == PITH_E_FORMAT);
    assert_guard(back, n);
    assert_int_equal(pith_memory_used(ctx), 0);
    assert_true(pith_memory_peak(ctx) <= cm_memory(p, n));
    if (n && dst) memcpy(dst, back, n);
    free(exact);
    free(back);
    pith_ctx_free(ctx);
    return status;
}

static size_t round_trip(const cm_params *p, const uint8_t *src, size_t n) {
    size_t cap = n + n / 4 + 64;
    uint8_t *coded = guarded(cap), *back = malloc(n ? n : 1);
    size_t coded_n = encode(p, src, n, coded, cap);
    assert_guard(coded, cap);
    assert_true(coded_n <= cap);
    assert_int_equal(decode(p, coded, coded_n, back, n), PITH_OK);
    if (n) assert_memory_equal(back, src, n);
    free(coded);
    free(back);
    return coded_n;
}

static void every_kind_and_size_comes_back(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 3, 15, 16, 17, 300, 900};
    uint8_t src[900];
    for (size_t v = 0; v < PITH_COUNT(variants); v++)
        for (size_t s = 0; s < PITH_COUNT(sizes); s++)
            for (int kind = 0; kind < DATA_KINDS; kind++) {
                size_t n = sizes[s];
                if (variants[v].ssm_width && (n > 300 || (s % 3 && kind != DATA_TEXT))) continue;
                if (variants[v].primer_n == PRIMER_N && s % 4) continue;
                data_fill(src, n, (data_kind)kind, (uint32_t)n);
                size_t coded = round_trip(&variants[v], src, n);
                if (n == 0) assert_int_equal(coded, 0);
                if (n < 900) continue;
                if (kind == DATA_ZEROS) assert_true(coded < 20);
                if (kind == DATA_RANDOM) assert_true(coded >= n && coded < n + n / 16);
                if (kind == DATA_TEXT) assert_true(coded < n / 2);
                if (kind == DATA_RECORDS && variants[v].record == 12) assert_true(coded < n / 3);
            }
}

/* What is asked for ahead of a byte is what that byte makes of the contexts: those of text always, those of lines
 * within a field. */
static void contexts_are_foreseen(void **state) {
    (void)state;
    static cm_history h;
    cm_history_init(&h, text, 0);
    unsigned within = 0;
    for (size_t i = 0; i < 5000; i++) {
        uint32_t foreseen[CM_SMALL_CTX], come[CM_SMALL_CTX];
        cm_small_contexts_after(&h, text[i], foreseen);
        cm_history_update(&h);
        cm_small_contexts(&h, come);
        bool letter = cm_word_letter(text[i]) != 0;
        within += letter;
        assert_memory_equal(foreseen, come, (letter ? 7 : 5) * sizeof *come);
    }
    assert_true(within > 2000);
}

static void known_answers(void **state) {
    (void)state;
    const char *print = getenv("PITH_PRINT_KNOWN");
    static uint8_t coded[TEXT_N];
    for (size_t i = 0; i < PITH_COUNT(known); i++) {
        const struct known *k = &known[i];
        const cm_params p = {k->inputs, k->ssm_width, k->record, primer, k->primer_n, false};
        size_t n = encode(&p, text, k->n, coded, sizeof coded);
        assert_true(n != SIZE_MAX);
        uint64_t hash = pith_hash64(coded, n);
        if (print && *print == '1')
            printf("    {\"%s\", %s, %u, %u, %zu, %zu, %zu, 0x%016llX},\n", k->name,
                   k->inputs == CM_SMALL ? "CM_SMALL" : "CM_LARGE", k->ssm_width, k->record, k->primer_n, k->n, n,
                   (unsigned long long)hash);
        else if (n != k->coded_n || hash != k->hash)
            fail_msg("%s: %zu bytes, hash %016llX (%s)", k->name, n, (unsigned long long)hash, pith_cpu());
    }
}

/* ---- the predictor ---------------------------------------------------------- */

static predictor *new_predictor(pith_ctx *ctx, const cm_params *p, size_t n) {
    predictor *m = NULL;
    assert_int_equal(cm_predictor_new(ctx, p, n, &m), PITH_OK);
    assert_non_null(m);
    return m;
}

static size_t test_n(const cm_params *p) { return p->ssm_width ? 160 : 1200; }

static void a_predictor_costs_what_coding_takes(void **state) {
    (void)state;
    static uint8_t coded[TEXT_N];
    for (size_t v = 0; v < PITH_COUNT(variants); v++) {
        size_t n = test_n(&variants[v]);
        pith_ctx *ctx = pith_ctx_new(NULL);
        predictor *m = new_predictor(ctx, &variants[v], n);
        double bits = predictor_codelen(m, text, n);
        m->ops->free(m);
        assert_int_equal(pith_memory_used(ctx), 0);
        pith_ctx_free(ctx);
        double coded_bits = 8.0 * (double)encode(&variants[v], text, n, coded, sizeof coded);
        assert_true(coded_bits <= bits * 1.001 + 16);
        assert_true(coded_bits >= bits * 0.999 - 32);
    }
}

/* Runs both over data[n]; they must say the same all the way. */
static void assert_same(predictor *a, predictor *b, const uint8_t *data, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (int k = 7; k >= 0; k--) {
            unsigned p = a->ops->p(a);
            assert_true(p >= 1 && p <= 65535);
            assert_int_equal(p, b->ops->p(b));
            a->ops->update(a, data[i] >> k & 1);
            b->ops->update(b, data[i] >> k & 1);
        }
}

static void a_copy_goes_on_alike_and_alone(void **state) {
    (void)state;
    for (size_t v = 0; v < PITH_COUNT(variants); v++) {
        size_t n = test_n(&variants[v]) / 2;
        pith_ctx *ctx = pith_ctx_new(NULL);
        predictor *a = new_predictor(ctx, &variants[v], 3 * n), *b = new_predictor(ctx, &variants[v], 3 * n);
        predictor_codelen(a, text, n);
        predictor_codelen(b, text + 4000, n / 3);
        assert_int_equal(b->ops->copy(b, a), PITH_OK);
        assert_same(a, b, text + n, n);
        /* what one learns is not told the other */
        assert_int_equal(a->ops->copy(a, b), PITH_OK);
        predictor_codelen(b, text + 9000, n / 2);
        predictor *fresh = new_predictor(ctx, &variants[v], 3 * n);
        predictor_codelen(fresh, text, 2 * n);
        b->ops->free(b);
        assert_same(a, fresh, text + 2 * n, n);
        a->ops->free(a);
        fresh->ops->free(fresh);
        assert_int_equal(pith_memory_used(ctx), 0);
        pith_ctx_free(ctx);
    }
}

static void a_copy_takes_the_same_parameters(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    predictor *a = new_predictor(ctx, &variants[0], 100), *b = new_predictor(ctx, &variants[1], 100);
    predictor *c = new_predictor(ctx, &variants[0], 101), *d = new_predictor(ctx, &variants[4], 100);
    assert_int_equal(a->ops->copy(a, b), PITH_E_ARGUMENT);
    assert_int_equal(a->ops->copy(a, c), PITH_E_ARGUMENT);
    assert_int_equal(a->ops->copy(a, d), PITH_E_ARGUMENT);
    assert_true(pith_error(ctx)[0] != 0);
    assert_true(a->ops->p(a) > 0); /* and is as it was */
    a->ops->free(a);
    b->ops->free(b);
    c->ops->free(c);
    d->ops->free(d);
    pith_ctx_free(ctx);
}

static void reset_is_the_start(void **state) {
    (void)state;
    for (size_t v = 0; v < PITH_COUNT(variants); v++) {
        size_t n = test_n(&variants[v]);
        pith_ctx *ctx = pith_ctx_new(NULL);
        predictor *a = new_predictor(ctx, &variants[v], n), *b = new_predictor(ctx, &variants[v], n);
        predictor_codelen(a, text + 7000, n);
        a->ops->p(a);
        assert_int_equal(a->ops->reset(a), PITH_OK);
        assert_same(a, b, text, n);
        a->ops->free(a);
        b->ops->free(b);
        assert_int_equal(pith_memory_used(ctx), 0);
        pith_ctx_free(ctx);
    }
}

/* ---- damage and want ---------------------------------------------------------- */

static void too_little_room_is_said_and_kept(void **state) {
    (void)state;
    enum { N = 600 };
    for (size_t v = 0; v < 2; v++) {
        uint8_t whole[N];
        size_t size = encode(&variants[v], text, N, whole, sizeof whole);
        assert_true(size > 100 && size != SIZE_MAX);
        for (size_t cap = 0; cap < size; cap += cap + 8 < size ? 7 : 1) {
            uint8_t *dst = guarded(cap);
            assert_true(encode(&variants[v], text, N, dst, cap) == SIZE_MAX);
            assert_guard(dst, cap);
            free(dst);
        }
        uint8_t *dst = guarded(size + 4);
        assert_int_equal(encode(&variants[v], text, N, dst, size + 4), size);
        assert_guard(dst, size + 4);
        assert_memory_equal(dst, whole, size);
        free(dst);
    }
}

/* Ones that are foreseen add nothing to the coder's low end: the code's trailing bytes are zeros, however
 * many, and are not written. */
static void any_number_of_zeros_may_be_left_out(void **state) {
    (void)state;
    size_t n = 3000000, coded_n;
    uint8_t *raw = malloc(n), *back = malloc(n), coded[4096];
    memset(raw, 0xFF, n);
    for (size_t i = 0; i < 100; i++) raw[i] = (uint8_t)(i * i);
    pith_ctx *c = pith_ctx_new(NULL);
    cm_params p = {.inputs = CM_SMALL};
    assert_int_equal(cm_encode(c, &p, raw, n, coded, sizeof coded, &coded_n), PITH_OK);
    assert_true(coded_n <= sizeof coded);
    assert_int_equal(cm_decode(c, &p, coded, coded_n, back, n), PITH_OK);
    assert_memory_equal(raw, back, n);
    pith_ctx_free(c);
    free(raw);
    free(back);
}

static void damaged_streams_do_no_damage(void **state) {
    (void)state;
    enum { N = 400 };
    uint8_t coded[N + 200], junk[N], back[N];
    for (size_t v = 0; v < PITH_COUNT(variants); v++) {
        const cm_params *p = &variants[v];
        size_t n = p->ssm_width ? 60 : N, step = p->ssm_width ? 31 : p->primer_n > 1000 ? 97 : 19;
        size_t size = encode(p, text, n, coded, sizeof coded);
        for (size_t cut = 0; cut < size; cut += step)
            if (decode(p, coded, cut, back, n) == PITH_OK) assert_memory_not_equal(back, text, n);
        for (size_t at = 0; at < size; at += step) {
            coded[at] ^= (uint8_t)(1 + at % 255);
            if (decode(p, coded, size, back, n) == PITH_OK) assert_memory_not_equal(back, text, n);
            coded[at] ^= (uint8_t)(1 + at % 255);
        }
        for (uint32_t seed = 0; seed < 3; seed++) {
            data_fill(junk, n, DATA_RANDOM, seed);
            decode(p, junk, n, NULL, n);
            decode(p, junk, 3, NULL, n);
            memset(junk, seed ? 0xFF : 0, n);
            decode(p, junk, n, NULL, n);
        }
        assert_int_equal(decode(p, coded, size, back, n), PITH_OK);
        /* what is left over is noticed; a few bytes may pass for the last decisions */
        memset(coded + size, 0x55, 40);
        assert_int_equal(decode(p, coded, size + 40, NULL, n), PITH_E_FORMAT);
        assert_int_equal(decode(p, coded, size, NULL, n / 8), PITH_E_FORMAT);
        assert_int_equal(decode(p, coded, 5, NULL, 0), PITH_E_FORMAT);
    }
    /* a size beyond what the stream holds runs on zeros, as many a valid stream does: what comes of a
     * cut one is bounded, and its block's check value refuses it */
    data_fill(junk, N, DATA_RANDOM, 4);
    assert_int_equal(decode(&variants[0], junk, 20, NULL, TEXT_N), PITH_OK);
}

static void failing_memory_is_an_error(void **state) {
    (void)state;
    enum { N = 50 };
    static const size_t which[] = {0, 1, 6};
    for (size_t w = 0; w < PITH_COUNT(which); w++) {
        const cm_params *p = &variants[which[w]];
        uint8_t coded[2 * N], back[N];
        size_t size = 0;
        for (int what = 0; what < 3; what++) {
            pith_status status = PITH_E_MEMORY;
            long fail_at = 1; /* call 0 is the session */
            for (; status; fail_at++) {
                data_heap heap = {.fail_at = fail_at};
                pith_ctx *ctx = pith_ctx_new(&(pith_allocator){data_heap_alloc, data_heap_free, &heap});
                predictor *m = NULL;
                status = what == 0   ? cm_encode(ctx, p, text, N, coded, sizeof coded, &size)
                         : what == 1 ? cm_decode(ctx, p, coded, size, back, N)
                                     : cm_predictor_new(ctx, p, N, &m);
                assert_true(status == PITH_OK || status == PITH_E_MEMORY);
                assert_true((status != PITH_OK) == (pith_error(ctx)[0] != 0));
                if (what == 2) assert_true((status == PITH_OK) == (m != NULL));
                if (m) m->ops->free(m);
                pith_ctx_free(ctx);
                assert_int_equal(atomic_load(&heap.held), 0);
                assert_true(fail_at < 200);
            }
            assert_true(fail_at > 10);
            if (what == 1) assert_memory_equal(text, back, N);
        }
    }
}

static void a_reset_without_memory_fails_and_can_be_freed(void **state) {
    (void)state;
    bool failed = false;
    for (long more = 0; more < 10; more++) {
        data_heap heap = {.fail_at = -1};
        pith_ctx *ctx = pith_ctx_new(&(pith_allocator){data_heap_alloc, data_heap_free, &heap});
        predictor *m = new_predictor(ctx, &variants[6], 10);
        predictor_codelen(m, text, 10);
        heap.fail_at = atomic_load(&heap.calls) + more;
        pith_status status = m->ops->reset(m);
        assert_true(status == PITH_OK || status == PITH_E_MEMORY);
        failed |= status != PITH_OK;
        heap.fail_at = -1;
        m->ops->free(m);
        pith_ctx_free(ctx);
        assert_int_equal(atomic_load(&heap.held), 0);
    }
    assert_true(failed);
}

static int stop(void *opaque, uint64_t done, uint64_t total) {
    (void)opaque, (void)done, (void)total;
    return 1;
}

static void a_cancelled_session_codes_no_further(void **state) {
    (void)state;
    uint8_t coded[400], back[300];
    size_t size = encode(&variants[0], text, 300, coded, sizeof coded), n = 0;
    for (int decoding = 0; decoding < 2; decoding++) {
        pith_ctx *ctx = pith_ctx_new(NULL);
        pith_ctx_set_progress(ctx, stop, NULL);
        assert_int_equal(pith_tick(ctx, 0, 0), PITH_E_CANCELLED);
        memset(back, 0x5A, sizeof back);
        if (decoding)
            assert_int_equal(cm_decode(ctx, &variants[0], coded, size, back, 300), PITH_E_CANCELLED);
        else
            assert_int_equal(cm_encode(ctx, &variants[0], text, 300, coded + size, sizeof coded - size, &n),
                             PITH_E_CANCELLED);
        for (size_t i = 0; i < sizeof back; i++) assert_int_equal(back[i], 0x5A); /* it did not even begin */
        assert_int_equal(pith_memory_used(ctx), 0);
        pith_ctx_free(ctx);
    }
}

static void the_memory_limit_is_kept(void **state) {
    (void)state;
    uint8_t coded[100];
    size_t size;
    for (size_t v = 0; v < PITH_COUNT(variants); v++) {
        const cm_params *p = &variants[v];
        uint64_t need = cm_memory(p, 50);
        pith_ctx *ctx = pith_ctx_new(NULL);
        pith_ctx_set_memory(ctx, need);
        assert_int_equal(cm_encode(ctx, p, text, 50, coded, sizeof coded, &size), PITH_OK);
        uint64_t peak = pith_memory_peak(ctx);
        assert_true(peak <= need && peak + 8192 > need); /* a bound, and a close one */
        pith_ctx_set_memory(ctx, peak - 1);
        assert_int_equal(cm_encode(ctx, p, text, 50, coded, sizeof coded, &size), PITH_E_LIMIT);
        assert_int_equal(pith_memory_used(ctx), 0);
        pith_ctx_free(ctx);
    }
    /* tables grow with the input, and no further than to their most */
    for (size_t v = 0; v < PITH_COUNT(variants); v++) {
        const cm_params *p = &variants[v];
        assert_true(cm_memory(p, 1) < cm_memory(p, 100000));
        assert_true(cm_memory(p, 1 << 26) - cm_memory(p, 1 << 25) < (1 << 25) + 4096);
    }
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    predictor *m = NULL;
    assert_int_equal(cm_predictor_new(ctx, &variants[0], UINT32_MAX, &m), PITH_E_LIMIT);
    assert_null(m);
    cm_params odd = variants[6];
    odd.ssm_width = 47;
    assert_int_equal(cm_predictor_new(ctx, &odd, 10, &m), PITH_E_ARGUMENT);
    assert_null(m);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_and_size_comes_back),
        cmocka_unit_test(known_answers),
        cmocka_unit_test(contexts_are_foreseen),
        cmocka_unit_test(a_predictor_costs_what_coding_takes),
        cmocka_unit_test(a_copy_goes_on_alike_and_alone),
        cmocka_unit_test(a_copy_takes_the_same_parameters),
        cmocka_unit_test(reset_is_the_start),
        cmocka_unit_test(too_little_room_is_said_and_kept),
        cmocka_unit_test(any_number_of_zeros_may_be_left_out),
        cmocka_unit_test(damaged_streams_do_no_damage),
        cmocka_unit_test(failing_memory_is_an_error),
        cmocka_unit_test(a_reset_without_memory_fails_and_can_be_freed),
        cmocka_unit_test(a_cancelled_session_codes_no_further),
        cmocka_unit_test(the_memory_limit_is_kept),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
