/* Callers of the interface that are careless or hostile: nothing where something is wanted, options that were not
 * initialised, callbacks that fail at every call, calls out of order, archives handed over byte by byte. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/file_data.h"
#include "support/session.h"

enum { RAW = 13000 };
static uint8_t raw[RAW];

static data_sink make_archive(size_t n, int level, size_t block_size) {
    data_sink s = {.fail_from = SIZE_MAX};
    pith_encode_options o;
    pith_encode_options_init(&o);
    o.level = level;
    o.block_size = block_size;
    pith_encoder *e;
    data_fill(raw, n, DATA_TEXT, 21);
    assert_int_equal(pith_encoder_new(ctx, &o, data_sink_write, &s, &e), PITH_OK);
    assert_int_equal(pith_encoder_write(e, raw, n), PITH_OK);
    assert_int_equal(pith_encoder_finish(e), PITH_OK);
    pith_encoder_free(e);
    return s;
}

static void nothing_is_a_content_and_no_archive(void **state) {
    (void)state;
    uint8_t archive[64];
    size_t n, got = 1;
    uint64_t size = 1;
    assert_int_equal(pith_file_compress(ctx, NULL, NULL, 0, NULL, 0, &n), PITH_E_SPACE);
    assert_int_equal(n, 0);
    assert_int_equal(pith_file_compress(ctx, NULL, NULL, 0, archive, sizeof archive, &n), PITH_OK);
    assert_int_equal(n, 17);
    assert_int_equal(pith_file_decompress(ctx, NULL, archive, n, NULL, 0, &got), PITH_OK);
    assert_int_equal(got, 0);
    assert_int_equal(pith_file_test(ctx, NULL, archive, n, NULL), PITH_OK);
    pith_archive *a;
    assert_int_equal(pith_archive_open_memory(ctx, NULL, archive, n, &a), PITH_OK);
    assert_int_equal(pith_archive_read(a, 0, NULL, 0, &got), PITH_OK);
    assert_int_equal(pith_archive_read(a, UINT64_MAX, archive, SIZE_MAX, &got), PITH_OK);
    assert_int_equal(got, 0);
    pith_archive_close(a);
    assert_int_equal(pith_file_decompress(ctx, NULL, NULL, 0, NULL, 0, &got), PITH_E_TRUNCATED);
    assert_int_equal(pith_file_test(ctx, NULL, NULL, 0, &size), PITH_E_TRUNCATED);
    assert_int_equal(pith_file_content_size(ctx, NULL, 0, &size), PITH_E_TRUNCATED);
    assert_true(size == 0);
    assert_int_equal(pith_archive_open_memory(ctx, NULL, NULL, 0, &a), PITH_E_TRUNCATED);
    assert_null(a);
    data_sink s = {.fail_from = SIZE_MAX};
    pith_encoder *e;
    assert_int_equal(pith_encoder_new(ctx, NULL, data_sink_write, &s, &e), PITH_OK);
    for (int i = 0; i < 3; i++) assert_int_equal(pith_encoder_write(e, NULL, 0), PITH_OK);
    assert_int_equal(pith_encoder_metadata(e, raw, ((size_t)1 << 30) + 1), PITH_E_ARGUMENT); /* not looked at */
    pith_encoder_free(e);
    pith_decoder *d;
    assert_int_equal(pith_decoder_new(ctx, NULL, NULL, NULL, &d), PITH_OK);
    assert_int_equal(pith_decoder_write(d, NULL, 0), PITH_OK);
    assert_int_equal(pith_decoder_finish(d), PITH_E_TRUNCATED);
    pith_decoder_free(d);
    pith_encoder_free(NULL);
    pith_decoder_free(NULL);
    pith_archive_close(NULL);
    free(s.data);
    assert_int_equal(pith_memory_used(ctx), 0);
}

static void decode_options_are_checked_everywhere(void **state) {
    (void)state;
    data_sink s = make_archive(3000, 1, 0);
    static uint8_t out[3000];
    pith_decode_options bad[4];
    for (size_t i = 0; i < PITH_COUNT(bad); i++) pith_decode_options_init(&bad[i]);
    bad[0].size = 0;
    bad[1].size += 8;
    bad[2].max_seconds = -1;
    bad[3].max_seconds = NAN;
    for (size_t i = 0; i < PITH_COUNT(bad); i++) {
        pith_decoder *d;
        pith_archive *a;
        size_t got = 1;
        uint64_t size;
        assert_int_equal(pith_decoder_new(ctx, &bad[i], NULL, NULL, &d), PITH_E_ARGUMENT);
        assert_null(d);
        assert_int_equal(pith_file_decompress(ctx, &bad[i], s.data, s.size, out, sizeof out, &got), PITH_E_ARGUMENT);
        assert_int_equal(got, 0);
        assert_int_equal(pith_file_test(ctx, &bad[i], s.data, s.size, &size), PITH_E_ARGUMENT);
        assert_int_equal(pith_archive_open_memory(ctx, &bad[i], s.data, s.size, &a), PITH_E_ARGUMENT);
        assert_null(a);
        assert_true(pith_error(ctx)[0] != 0);
    }
    pith_archive *a;
    assert_int_equal(pith_archive_open(ctx, NULL, NULL, NULL, 100, &a), PITH_E_ARGUMENT);
    free(s.data);
}

/* ---- callbacks that fail ---- */

typedef struct failing {
    const data_sink *archive;
    unsigned calls, fail_at;
} failing;

static int read_or_fail(void *opaque, uint64_t offset, void *data, size_t size) {
    failing *f = opaque;
    if (f->calls++ == f->fail_at) return 5;
    assert_true(offset <= f->archive->size && size <= f->archive->size - offset);
    memcpy(data, f->archive->data + offset, size);
    return 0;
}

static void failing_reads_are_io_errors(void **state) {
    (void)state;
    data_sink s = make_archive(RAW, 1, 4096), two = {.fail_from = SIZE_MAX};
    data_sink_write(&two, s.data, s.size); /* found by its index, and frame by frame */
    data_sink_write(&two, s.data, s.size);
    static uint8_t out[RAW];
    for (int frames = 1; frames <= 2; frames++) {
        bool whole = false;
        for (unsigned at = 0; !whole; at++) {
            failing f = {.archive = frames == 1 ? &s : &two, .fail_at = at};
            pith_archive *a;
            size_t got = 1;
            pith_status status = pith_archive_open(ctx, NULL, read_or_fail, &f, f.archive->size, &a);
            if (status) {
                assert_int_equal(status, PITH_E_IO);
                assert_null(a);
                continue;
            }
            status = pith_archive_read(a, 0, out, RAW, &got);
            whole = f.calls <= at;
            assert_int_equal(status, whole ? PITH_OK : PITH_E_IO);
            assert_int_equal(got, whole ? RAW : 0);
            f.fail_at = UINT32_MAX; /* what failed once may be tried again */
            assert_int_equal(pith_archive_read(a, 5, out, RAW - 5, &got), PITH_OK);
            assert_int_equal(got, RAW - 5);
            assert_memory_equal(out, raw + 5, RAW - 5);
            pith_archive_close(a);
            assert_int_equal(pith_memory_used(ctx), 0);
        }
    }
    free(s.data);
    free(two.data);
}

static int stop_at(void *opaque, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    unsigned *left = opaque;
    return *left == 0 || --*left == 0;
}

static void every_call_can_be_cancelled(void **state) {
    (void)state;
    data_sink s = make_archive(RAW, 1, 4096);
    static uint8_t out[RAW];
    pith_ctx_set_threads(ctx, 2);
    unsigned n_cancelled = 0;
    for (unsigned at = 1; at < 4; at++) {
        unsigned left = at;
        size_t got = 1;
        uint64_t size;
        pith_archive *a;
        assert_int_equal(pith_archive_open_memory(ctx, NULL, s.data, s.size, &a), PITH_OK);
        pith_ctx_set_progress(ctx, stop_at, &left);
        pith_status status = pith_archive_read(a, 0, out, RAW, &got);
        assert_true(status == PITH_OK || status == PITH_E_CANCELLED);
        assert_int_equal(got, status ? 0 : RAW);
        n_cancelled += status != PITH_OK;
        left = at;
        status = pith_file_test(ctx, NULL, s.data, s.size, &size);
        assert_true(status == PITH_OK || status == PITH_E_CANCELLED);
        assert_true(size == (status ? 0 : RAW));
        n_cancelled += status != PITH_OK;
        pith_ctx_set_progress(ctx, NULL, NULL);
        assert_int_equal(pith_archive_read(a, 0, out, RAW, &got), PITH_OK); /* and the session lives on */
        assert_memory_equal(out, raw, RAW);
        pith_archive_close(a);
    }
    assert_true(n_cancelled >= 2);
    pith_ctx_set_threads(ctx, 0);
    free(s.data);
}

/* ---- calls out of order ---- */

static void finished_objects_take_no_more(void **state) {
    (void)state;
    data_sink s = {.fail_from = SIZE_MAX};
    pith_encoder *e;
    assert_int_equal(pith_encoder_new(ctx, NULL, data_sink_write, &s, &e), PITH_OK);
    assert_int_equal(pith_encoder_write(e, "x", 1), PITH_OK);
    assert_int_equal(pith_encoder_finish(e), PITH_OK);
    size_t size = s.size;
    assert_int_equal(pith_encoder_finish(e), PITH_OK);
    assert_int_equal(pith_encoder_write(e, "y", 1), PITH_E_ARGUMENT);
    assert_int_equal(pith_encoder_metadata(e, "y", 1), PITH_E_ARGUMENT);
    assert_int_equal(pith_encoder_finish(e), PITH_E_ARGUMENT);
    assert_int_equal(s.size, size);
    pith_encoder_free(e);
    pith_decoder *d;
    assert_int_equal(pith_decoder_new(ctx, NULL, NULL, NULL, &d), PITH_OK);
    assert_int_equal(pith_decoder_write(d, s.data, s.size), PITH_OK);
    assert_int_equal(pith_decoder_finish(d), PITH_OK);
    assert_int_equal(pith_decoder_write(d, s.data, s.size), PITH_E_ARGUMENT);
    assert_int_equal(pith_decoder_finish(d), PITH_E_ARGUMENT);
    assert_int_equal(pith_decoder_written(d), 1);
    pith_decoder_free(d);
    free(s.data);
}

/* ---- byte by byte ---- */

typedef struct prefix {
    size_t n;
    bool wrong; /* something else than the beginning of the content was written */
} prefix;

static int take_prefix(void *opaque, const void *data, size_t size) {
    prefix *p = opaque;
    p->wrong = p->wrong || size > RAW - p->n || memcmp(raw + p->n, data, size) != 0;
    p->n += size;
    return 0;
}

static pith_status byte_by_byte(const uint8_t *archive, size_t n) {
    prefix p = {0};
    pith_decoder *d;
    assert_int_equal(pith_decoder_new(ctx, NULL, take_prefix, &p, &d), PITH_OK);
    pith_status status = PITH_OK;
    for (size_t i = 0; i < n && !status; i++) status = pith_decoder_write(d, archive + i, 1);
    if (!status) status = pith_decoder_finish(d);
    assert_false(p.wrong);
    pith_decoder_free(d);
    return status;
}

/* Pieces of one byte and two threads say of every damaged archive what the whole and one thread say. */
static void damage_is_found_in_pieces_of_any_size(void **state) {
    (void)state;
    data_sink s = make_archive(4096 + 90, 1, 4096);
    static uint8_t out[RAW];
    for (size_t i = 0; i < 2 * s.size; i++) {
        size_t n = i < s.size ? s.size : i - s.size, at = i % s.size, got;
        if (i < s.size)
            s.data[at] ^= (uint8_t)(1 << i % 8);
        else if (n % 4)
            continue; /* every fourth truncation: blocks of this size take their time under a sanitizer */
        pith_ctx_set_threads(ctx, 1);
        pith_status whole = pith_file_decompress(ctx, NULL, s.data, n, out, sizeof out, &got);
        pith_ctx_set_threads(ctx, 2);
        assert_int_equal(byte_by_byte(s.data, n) == PITH_OK, whole == PITH_OK);
        if (i < s.size) s.data[at] ^= (uint8_t)(1 << i % 8);
    }
    assert_int_equal(byte_by_byte(s.data, s.size), PITH_OK);
    pith_ctx_set_threads(ctx, 0);
    free(s.data);
}

/* ---- the rest of the interface ---- */

static void archives_are_known_by_their_first_bytes(void **state) {
    (void)state;
    data_sink s = make_archive(100, 1, 0);
    assert_false(pith_file_is_archive(NULL, 0));
    for (size_t n = 1; n <= s.size; n++) assert_true(pith_file_is_archive(s.data, n));
    assert_true(pith_file_is_archive("\xF0skip\r\n", 8));
    assert_true(pith_file_is_archive("\xF0pith\n\0\x16", 8)); /* line ends converted */
    assert_true(pith_file_is_archive("ppith\r\n", 8));        /* the high bit lost */
    static const char *const others[] = {
        "", "pith\r\n", "\x1f\x8b\x08", "\x28\xb5\x2f\xfd", "\xF0pmod\r\n", "text of some kind"};
    for (size_t i = 0; i < PITH_COUNT(others); i++)
        assert_false(pith_file_is_archive(others[i], strlen(others[i]) + 1));
    free(s.data);
}

static void sessions_take_any_numbers(void **state) {
    (void)state;
    pith_ctx *c = pith_ctx_new(NULL);
    pith_ctx_set_threads(c, UINT32_MAX);
    assert_int_equal(pith_ctx_threads(c), 256);
    pith_ctx_set_threads(c, 0);
    assert_in_range(pith_ctx_threads(c), 1, 256);
    pith_ctx_set_memory(c, UINT64_MAX);
    assert_true(pith_ctx_memory(c) == UINT64_MAX);
    pith_ctx_set_memory(c, 1); /* not even the decoder itself */
    pith_decoder *d;
    assert_int_equal(pith_decoder_new(c, NULL, NULL, NULL, &d), PITH_E_LIMIT);
    assert_null(d);
    pith_ctx_set_memory(c, 0);
    assert_true(pith_ctx_memory(c) == UINT64_C(1) << 30);
    pith_ctx_free(c);
    pith_ctx_free(NULL);
    for (int a = PITH_OK; a <= PITH_E_INTERNAL; a++)
        for (int b = PITH_OK; b < a; b++)
            assert_string_not_equal(pith_status_name((pith_status)a), pith_status_name((pith_status)b));
    assert_true(pith_status_name((pith_status)-7)[0] && pith_status_name((pith_status)1000)[0]);
    pith_encode_options o;
    pith_encode_options_init(&o);
    o.block_size = 1;
    assert_true(pith_file_bound(UINT64_MAX, NULL) == PITH_SIZE_UNKNOWN);
    assert_true(pith_file_bound(UINT64_MAX / 2, &o) == PITH_SIZE_UNKNOWN);
    assert_true(pith_file_bound(0, NULL) >= 17);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_a_content_and_no_archive),
        cmocka_unit_test(decode_options_are_checked_everywhere),
        cmocka_unit_test(failing_reads_are_io_errors),
        cmocka_unit_test(every_call_can_be_cancelled),
        cmocka_unit_test(finished_objects_take_no_more),
        cmocka_unit_test(damage_is_found_in_pieces_of_any_size),
        cmocka_unit_test(archives_are_known_by_their_first_bytes),
        cmocka_unit_test(sessions_take_any_numbers),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
