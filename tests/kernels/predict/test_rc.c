/* The range coder: what was coded comes back, at the price that the probabilities say, also through
 * long carries, at extreme probabilities, from cut streams and into too little room. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/predict/rc.h"

static uint32_t next_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

typedef struct decision {
    uint16_t p;
    uint8_t bit;
} decision;

#define GUARD 0xA7
enum { GUARD_BYTES = 32 };

/* Codes d[n] into at most cap bytes behind which nothing may change. */
static size_t encode(const decision *d, size_t n, uint8_t *dst, size_t cap) {
    rc_enc e;
    memset(dst + cap, GUARD, GUARD_BYTES);
    rc_enc_init(&e, dst, cap);
    for (size_t i = 0; i < n; i++) rc_enc_bit(&e, d[i].p, d[i].bit);
    size_t size = rc_enc_finish(&e);
    for (size_t i = 0; i < GUARD_BYTES; i++) assert_int_equal(dst[cap + i], GUARD);
    if (size != SIZE_MAX) assert_true(size <= cap);
    return size;
}

/* From a copy of exactly its size, so that a sanitizer sees any read past it. */
static size_t count_equal(const decision *d, size_t n, const uint8_t *coded, size_t size, rc_dec *end) {
    uint8_t *exact = malloc(size ? size : 1);
    assert_non_null(exact);
    if (size) memcpy(exact, coded, size);
    rc_dec_init(end, exact, size);
    size_t equal = 0;
    for (size_t i = 0; i < n; i++) equal += rc_dec_bit(end, d[i].p) == d[i].bit;
    free(exact);
    return equal;
}

static void assert_comes_back(const decision *d, size_t n, const uint8_t *coded, size_t size) {
    rc_dec end;
    assert_int_equal(count_equal(d, n, coded, size, &end), n);
    assert_true(rc_dec_ok(&end));
    /* the last byte of a stream is never zero, and the one byte less is another stream */
    if (size) assert_int_not_equal(coded[size - 1], 0);
}

static double ideal_bits(const decision *d, size_t n) {
    double bits = 0;
    for (size_t i = 0; i < n; i++) bits -= log2((d[i].bit ? d[i].p : 65536 - d[i].p) / 65536.0);
    return bits;
}

/* How a stream draws its probabilities. */
typedef enum style { EVEN, ANY, EXTREME, CERTAIN, CONTRARY, STYLES } style;

static void draw(decision *d, size_t n, style s, uint32_t seed) {
    static const uint16_t edges[] = {1, 2, 3, 255, 32767, 32768, 65280, 65533, 65534, 65535};
    uint32_t r = seed * 2654435761u + 1;
    for (size_t i = 0; i < n; i++) {
        uint32_t v = next_random(&r);
        unsigned p = s == EVEN ? 32768 : s == ANY ? 1 + (v >> 8) % 65535 : edges[(v >> 8) % PITH_COUNT(edges)];
        if (s == CERTAIN) p = 65535;
        d[i].p = (uint16_t)p;
        d[i].bit = (next_random(&r) >> 16) < p;
        if (s == CONTRARY) d[i].bit = i % 3 == 0 ? p < 32768 : d[i].bit; /* often what is unlikely */
    }
}

static void any_stream_comes_back_at_its_price(void **state) {
    (void)state;
    static const size_t lengths[] = {1, 2, 3, 7, 8, 9, 31, 32, 33, 1000, 200000};
    size_t most = 200000;
    decision *d = malloc(most * sizeof *d);
    size_t room = 2 * most + 64;
    uint8_t *coded = malloc(room + GUARD_BYTES);
    assert_true(d && coded);
    for (style s = 0; s < STYLES; s++)
        for (size_t k = 0; k < PITH_COUNT(lengths); k++)
            for (uint32_t seed = 0; seed < (lengths[k] > 1000 ? 1u : 50u); seed++) {
                size_t n = lengths[k];
                draw(d, n, s, seed + 1);
                size_t size = encode(d, n, coded, room);
                assert_true(size != SIZE_MAX);
                assert_comes_back(d, n, coded, size);
                double ideal = ideal_bits(d, n) / 8;
                assert_true((double)size <= ideal * 1.0005 + 2);
                /* zeros at the end are left out, and nothing else is for free */
                assert_true((double)size >= ideal * 0.9995 - 6);
            }
    free(d);
    free(coded);
}

static void an_empty_stream_takes_nothing(void **state) {
    (void)state;
    uint8_t room[8];
    rc_enc e;
    rc_enc_init(&e, room, sizeof room);
    assert_int_equal(rc_enc_finish(&e), 0);
    rc_dec d;
    rc_dec_init(&d, NULL, 0);
    assert_true(rc_dec_ok(&d));
}

/* The longest run of one byte. */
static size_t longest_run(const uint8_t *p, size_t n, uint8_t of) {
    size_t longest = 0, run = 0;
    for (size_t i = 0; i < n; i++) {
        run = p[i] == of ? run + 1 : 0;
        longest = PITH_MAX(longest, run);
    }
    return longest;
}

/* Every step keeps the point where a carry begins inside the interval, so that it stays open
 * whether one comes: hundreds of bytes wait for the answer. */
static void carries_run_through_long_chains(void **state) {
    (void)state;
    enum { CHAIN = 6000, TURN = 40, TAIL = 300 };
    static decision d[CHAIN + TURN + TAIL];
    static uint8_t coded[2 * (CHAIN + TURN + TAIL) + GUARD_BYTES];
    const size_t room = sizeof coded - GUARD_BYTES;
    for (uint32_t seed = 1; seed <= 60; seed++) {
        uint32_t r = seed * 2654435761u;
        size_t n = 0;
        uint64_t pending = 0;
        rc_enc e;
        rc_enc_init(&e, coded, room);
        while (n < seed * 100) {
            uint64_t open = e.first ? UINT64_C(1) << 31 : UINT64_C(1) << 32;
            assert_true(e.low < open && open < e.low + e.range);
            unsigned p = 1 + next_random(&r) % 65535;
            uint64_t split = e.low + ((uint64_t)e.range * p >> 16);
            if (split == open) continue; /* another p: this one would decide */
            d[n] = (decision){(uint16_t)p, split > open};
            rc_enc_bit(&e, p, d[n].bit);
            n++;
            pending = PITH_MAX(pending, e.n_pending);
        }
        assert_true(pending > seed * 5);
        bool carry = seed & 1;
        for (size_t i = 0; i < TURN; i++) d[n++] = (decision){32768, !carry};
        draw(d + n, TAIL, ANY, seed);
        n += TAIL;
        size_t size = encode(d, n, coded, room);
        assert_true(size != SIZE_MAX);
        assert_comes_back(d, n, coded, size);
        /* a carry turns what waits into zeros */
        assert_true(longest_run(coded, size, carry ? 0 : 0xFF) + 16 > pending);
        assert_true(longest_run(coded, size, carry ? 0xFF : 0) < 8);
    }
}

/* A distribution of at least two symbols that sums to 2^bits: bounds[0..n]. */
static unsigned draw_bounds(uint32_t *bounds, unsigned bits, uint32_t *r) {
    uint32_t total = 1u << bits, at = 0;
    unsigned n = 0;
    bounds[0] = 0;
    while (at < total) {
        uint32_t left = total - at, most = 1 + (total >> (next_random(r) >> 29));
        uint32_t freq = 1 + (next_random(r) >> 7) % PITH_MIN(left, most);
        if (n == 0 && freq == total) freq--;
        if (n == 254) freq = left;
        at += freq;
        bounds[++n] = at;
    }
    return n;
}

static void symbols_come_back_among_bits(void **state) {
    (void)state;
    enum { N = 20000 };
    static uint8_t came[N], coded[8 * N];
    for (unsigned bits = 1; bits <= 16; bits++) {
        uint32_t r = bits * 7919, bounds[257], again;
        unsigned n_symbols = draw_bounds(bounds, bits, &r);
        double ideal = 0;
        rc_enc e;
        rc_enc_init(&e, coded, sizeof coded);
        again = r;
        for (size_t i = 0; i < N; i++) {
            if (i % 1000 == 0) n_symbols = draw_bounds(bounds, bits, &r);
            uint32_t target = next_random(&r) >> 16 >> (16 - bits);
            unsigned s = 0;
            while (bounds[s + 1] <= target) s++;
            assert_true(s < n_symbols);
            came[i] = (uint8_t)s;
            rc_enc_sym(&e, bounds[s], bounds[s + 1] - bounds[s], bits);
            ideal -= log2((bounds[s + 1] - bounds[s]) / (double)(1u << bits));
            if (i % 5 == 0) {
                rc_enc_bit(&e, 20000, s & 1);
                ideal -= log2((s & 1 ? 20000 : 45536) / 65536.0);
            }
        }
        size_t size = rc_enc_finish(&e);
        assert_true(size != SIZE_MAX);
        assert_true((double)size <= ideal / 8 * 1.0005 + 2);
        rc_dec d;
        rc_dec_init(&d, coded, size);
        r = again;
        for (size_t i = 0; i < N; i++) {
            if (i % 1000 == 0) draw_bounds(bounds, bits, &r);
            next_random(&r);
            uint32_t target = rc_dec_target(&d, bits);
            unsigned s = 0;
            while (bounds[s + 1] <= target) s++;
            assert_int_equal(s, came[i]);
            rc_dec_sym(&d, bounds[s], bounds[s + 1] - bounds[s], bits);
            if (i % 5 == 0) assert_int_equal(rc_dec_bit(&d, 20000), s & 1);
        }
        assert_true(rc_dec_ok(&d));
    }
}

static void too_little_room_is_said_and_kept(void **state) {
    (void)state;
    enum { N = 3000 };
    static decision d[N];
    static uint8_t coded[2 * N], cramped[2 * N];
    draw(d, N, ANY, 5);
    size_t size = encode(d, N, coded, sizeof coded - GUARD_BYTES);
    assert_true(size > 200 && size != SIZE_MAX);
    for (size_t cap = 0; cap < size; cap++) assert_true(encode(d, N, cramped, cap) == SIZE_MAX);
    /* the ending is written in full before its zeros are taken off */
    for (size_t cap = size + 4; cap < size + 10; cap++) {
        assert_int_equal(encode(d, N, cramped, cap), size);
        assert_memory_equal(coded, cramped, size);
    }
}

static void cut_streams_are_noticed_by_who_asks(void **state) {
    (void)state;
    enum { N = 4000 };
    static decision d[N];
    static uint8_t coded[2 * N];
    draw(d, N, ANY, 9);
    size_t size = encode(d, N, coded, sizeof coded - GUARD_BYTES);
    rc_dec end;
    for (size_t cut = 0; cut < size; cut++) {
        /* the beginning is right: cut bytes hold at least the bits paid for with all but the last four */
        size_t equal = count_equal(d, N, coded, cut, &end);
        assert_true(equal < N);
        assert_true(rc_dec_ok(&end));
        size_t paid = 0;
        for (double bits = 0; paid < N; paid++) {
            bits += ideal_bits(d + paid, 1);
            if (bits > 8.0 * (double)cut - 40) break;
        }
        assert_int_equal(count_equal(d, paid, coded, cut, &end), paid);
    }
    /* bytes too many are left over */
    memset(coded + size, 0x55, 8);
    assert_int_equal(count_equal(d, N, coded, size + 8, &end), N);
    assert_false(rc_dec_ok(&end));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_stream_comes_back_at_its_price), cmocka_unit_test(an_empty_stream_takes_nothing),
        cmocka_unit_test(carries_run_through_long_chains),    cmocka_unit_test(symbols_come_back_among_bits),
        cmocka_unit_test(too_little_room_is_said_and_kept),   cmocka_unit_test(cut_streams_are_noticed_by_who_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
