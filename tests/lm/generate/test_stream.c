/* Text in pieces: the same whatever the pieces that come in, whole UTF-8 sequences that go out, nothing
 * of a stop string, and no more held back than must be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lm/generate/generate.h"
#include "support/session.h"

typedef struct sink {
    char text[512];
    size_t size, pieces, most_pieces; /* 0: no bound */
    bool valid;
} sink;

static bool is_utf8(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n;) {
        uint32_t c = p[i];
        size_t more = c < 0x80                ? 0
                      : c >= 0xC2 && c < 0xE0 ? 1
                      : c >= 0xE0 && c < 0xF0 ? 2
                      : c >= 0xF0 && c < 0xF5 ? 3
                                              : 9;
        if (more == 9 || i + more >= n) return false;
        c &= more == 0 ? 0x7F : more == 1 ? 0x1F : more == 2 ? 0x0F : 0x07;
        for (size_t k = 1; k <= more; k++) {
            if ((p[i + k] & 0xC0) != 0x80) return false;
            c = c << 6 | (p[i + k] & 0x3F);
        }
        if ((more == 2 && (c < 0x800 || (c >= 0xD800 && c < 0xE000))) || (more == 3 && (c < 0x10000 || c > 0x10FFFF)))
            return false;
        i += more + 1;
    }
    return true;
}

static bool take(void *opaque, const char *text, size_t size) {
    sink *s = opaque;
    assert_true(size > 0 && s->size + size < sizeof s->text);
    s->valid = s->valid && is_utf8((const uint8_t *)text, size);
    memcpy(s->text + s->size, text, size);
    s->size += size;
    return ++s->pieces != s->most_pieces;
}

static text_stream *stream(const byte_string *stops, size_t n, bool any_bytes, sink *to) {
    text_stream *t;
    memset(to, 0, sizeof *to);
    to->valid = true;
    assert_int_equal(text_stream_new(ctx, stops, n, any_bytes, take, to, &t), PITH_OK);
    return t;
}

/* Feeds text in pieces of 1 to `most` bytes; the index of the stop. */
static size_t feed(text_stream *t, const char *text, size_t size, size_t most, uint32_t seed) {
    size_t stop = SIZE_MAX;
    for (size_t at = 0; at < size && stop == SIZE_MAX;) {
        seed = seed * 1664525u + 1013904223u;
        size_t n = PITH_MIN(1 + (seed >> 8) % most, size - at);
        assert_int_equal(text_stream_put(t, text + at, n, &stop), PITH_OK);
        at += n;
    }
    assert_int_equal(text_stream_end(t), PITH_OK);
    return stop;
}

#define STRING(text)                                                                                                   \
    { text, sizeof text - 1 }

static void stops_are_found_whatever_the_pieces(void **state) {
    (void)state;
    static const byte_string stops[] = {STRING("aab"),           STRING(""),    STRING("\n\n"), STRING("xyz\n"),
                                        STRING("\xE2\x82\xAC!"), STRING("yz\n")};
    static const struct {
        const char *in, *out;
        size_t stop;
    } cases[] = {{"aaaab tail", "aa", 0},
                 {"one\ntwo\n\nthree", "one\ntwo", 2},
                 {"wxyz\n", "w", 3},
                 {"wyz\n", "w", 5},
                 {"xyzxyaaxy", "xyzxyaaxy", SIZE_MAX},
                 {"price 5 \xE2\x82\xAC! more", "price 5 ", 4},
                 {"5 \xE2\x82\xAC? \xE2\x82", "5 \xE2\x82\xAC? \xEF\xBF\xBD", SIZE_MAX},
                 {"aa", "aa", SIZE_MAX},
                 {"", "", SIZE_MAX},
                 {"aab", "", 0}};
    for (size_t i = 0; i < PITH_COUNT(cases); i++)
        for (uint32_t seed = 0; seed < 40; seed++) {
            sink out;
            text_stream *t = stream(stops, PITH_COUNT(stops), false, &out);
            size_t stop = feed(t, cases[i].in, strlen(cases[i].in), 1 + seed % 12, seed);
            assert_int_equal(stop, cases[i].stop);
            assert_int_equal(out.size, strlen(cases[i].out));
            assert_memory_equal(out.text, cases[i].out, out.size);
            assert_true(out.valid);
            text_stream_free(ctx, t);
        }
}

static void no_more_is_held_back_than_must_be(void **state) {
    (void)state;
    static const byte_string stops[] = {STRING("END."), STRING("Ex")};
    sink out;
    size_t stop;
    text_stream *t = stream(stops, 2, false, &out);
    static const struct {
        const char *in;
        size_t out;
    } steps[] = {{"The E", 4}, {"N", 4},     {"D", 4},         {"E", 7},     {"n", 9},
                 {"\xC3", 9},  {"\xA9", 11}, {"\xF0\x9F", 11}, {"\x98", 11}, {"\x80", 15}};
    for (size_t i = 0; i < PITH_COUNT(steps); i++) {
        assert_int_equal(text_stream_put(t, steps[i].in, strlen(steps[i].in), &stop), PITH_OK);
        assert_int_equal(stop, SIZE_MAX);
        assert_int_equal(out.size, steps[i].out);
    }
    assert_true(out.valid);
    text_stream_clear(t); /* and again from the start */
    assert_int_equal(text_stream_put(t, "Ex", 2, &stop), PITH_OK);
    assert_int_equal(stop, 1);
    assert_int_equal(text_stream_put(t, "more", 4, &stop), PITH_OK); /* over is over */
    assert_int_equal(text_stream_end(t), PITH_OK);
    assert_int_equal(out.size, 15);
    text_stream_free(ctx, t);
}

static void what_is_no_utf8(void **state) {
    (void)state;
    /* Unicode 15, table 3-8: one U+FFFD for each longest beginning of a sequence */
    static const char in[] = "a\xF1\x80\x80\xE1\x80\xC2"
                             "b\x80"
                             "c\x80\xBF"
                             "d\xED\xA0\x80\xF5\xC0\xAF\xE0\x9F\xF4\x90z";
    static const char want[] = "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
                               "b\xEF\xBF\xBD"
                               "c\xEF\xBF\xBD\xEF\xBF\xBD"
                               "d"
                               "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
                               "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
                               "z";
    for (uint32_t seed = 0; seed < 60; seed++) {
        sink out;
        text_stream *t = stream(NULL, 0, false, &out);
        feed(t, in, sizeof in - 1, 1 + seed % 9, seed);
        assert_int_equal(out.size, sizeof want - 1);
        assert_memory_equal(out.text, want, out.size);
        assert_true(out.valid);
        text_stream_free(ctx, t);
        t = stream(NULL, 0, true, &out);
        feed(t, in, sizeof in - 1, 1 + seed % 9, seed);
        assert_int_equal(out.size, sizeof in - 1);
        assert_memory_equal(out.text, in, out.size);
        text_stream_free(ctx, t);
    }
}

static void random_bytes_come_out_as_utf8(void **state) {
    (void)state;
    static const byte_string stops[] = {STRING("\x80\x80"), STRING("\xF0\x90"), STRING("\xC3\xA9\xC3")};
    uint32_t seed = 9;
    for (unsigned round = 0; round < 2000; round++) {
        static const uint8_t bytes[] = {0x61, 0x80, 0xA9, 0xC3, 0xE2, 0x82, 0xF0, 0x90, 0xED, 0x9F, 0xBF, 0xF4};
        char text[40];
        for (size_t i = 0; i < sizeof text; i++) {
            seed = seed * 1664525u + 1013904223u;
            text[i] = (char)bytes[(seed >> 9) % sizeof bytes];
        }
        sink whole, parts;
        text_stream *t = stream(stops, 3, false, &whole);
        size_t stop = feed(t, text, sizeof text, sizeof text, 0);
        text_stream_free(ctx, t);
        t = stream(stops, 3, false, &parts);
        assert_int_equal(feed(t, text, sizeof text, 3, round), stop);
        text_stream_free(ctx, t);
        assert_true(whole.valid && parts.valid);
        assert_int_equal(whole.size, parts.size);
        assert_memory_equal(whole.text, parts.text, whole.size);
    }
}

static void a_callback_may_end_it(void **state) {
    (void)state;
    sink out;
    text_stream *t = stream(NULL, 0, false, &out);
    size_t stop;
    out.most_pieces = 2;
    assert_int_equal(text_stream_put(t, "one", 3, &stop), PITH_OK);
    assert_int_equal(text_stream_put(t, "two", 3, &stop), PITH_E_CANCELLED);
    text_stream_free(ctx, t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stops_are_found_whatever_the_pieces),
        cmocka_unit_test(no_more_is_held_back_than_must_be),
        cmocka_unit_test(what_is_no_utf8),
        cmocka_unit_test(random_bytes_come_out_as_utf8),
        cmocka_unit_test(a_callback_may_end_it),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
