/* Whole archives: round trips of all sizes, kinds and levels through all three interfaces;
 * the same bytes for any threads and pieces; random access; limits of the session. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/file_data.h"
#include "support/session.h"

static pith_encode_options options_of(int level, size_t block_size) {
    pith_encode_options o;
    pith_encode_options_init(&o);
    o.level = level;
    o.block_size = block_size;
    return o;
}

static void check_status(pith_status status) {
    if (status) print_error("%s\n", pith_error(ctx));
    assert_int_equal(status, PITH_OK);
}

/* Pieces of `piece` bytes in, the archive out. */
static data_sink encode(const pith_encode_options *o, const uint8_t *raw, size_t n, size_t piece) {
    data_sink s = {.fail_from = SIZE_MAX};
    pith_encoder *e;
    check_status(pith_encoder_new(ctx, o, data_sink_write, &s, &e));
    for (size_t at = 0; at < n; at += piece) check_status(pith_encoder_write(e, raw + at, PITH_MIN(piece, n - at)));
    check_status(pith_encoder_finish(e));
    pith_encoder_free(e);
    return s;
}

static void check_decodes(const data_sink *archive, const uint8_t *raw, size_t n, size_t piece) {
    data_sink s = {.fail_from = SIZE_MAX};
    pith_decoder *d;
    check_status(pith_decoder_new(ctx, NULL, data_sink_write, &s, &d));
    for (size_t at = 0; at < archive->size; at += piece)
        check_status(pith_decoder_write(d, archive->data + at, PITH_MIN(piece, archive->size - at)));
    check_status(pith_decoder_finish(d));
    assert_int_equal(pith_decoder_written(d), n);
    assert_int_equal(s.size, n);
    if (n) assert_memory_equal(s.data, raw, n);
    pith_decoder_free(d);
    free(s.data);
}

static void check_nothing_held(void) { assert_int_equal(pith_memory_used(ctx), 0); }

static void round_trip(int level, size_t block_size, const uint8_t *raw, size_t n) {
    pith_encode_options o = options_of(level, block_size);
    size_t capacity = (size_t)pith_file_bound(n, &o), written, back;
    uint8_t *archive = malloc(capacity), *again = malloc(n + 1);
    check_status(pith_file_compress(ctx, &o, raw, n, archive, capacity, &written));
    check_status(pith_file_decompress(ctx, NULL, archive, written, again, n, &back));
    assert_int_equal(back, n);
    if (n) assert_memory_equal(raw, again, n);
    uint64_t size;
    check_status(pith_file_content_size(ctx, archive, written, &size));
    assert_int_equal(size, n);
    check_status(pith_file_test(ctx, NULL, archive, written, &size));
    assert_int_equal(size, n);
    if (n) assert_int_equal(pith_file_decompress(ctx, NULL, archive, written, again, n - 1, &back), PITH_E_SPACE);
    assert_int_equal(pith_file_compress(ctx, &o, raw, n, archive, written - 1, &back), PITH_E_SPACE);
    free(archive);
    free(again);
    check_nothing_held();
}

static void sizes_round_trip(void **state) {
    (void)state;
    static uint8_t raw[70000];
    for (int kind = 0; kind < DATA_KINDS; kind++) {
        data_fill(raw, sizeof raw, (data_kind)kind, 1);
        for (size_t power = 1; power <= 65536; power *= kind == DATA_TEXT ? 2 : 4)
            for (size_t n = power - 1; n <= power + 1; n++) round_trip(1, 4096, raw, n);
    }
}

static void levels_round_trip(void **state) {
    (void)state;
    static uint8_t raw[9000];
    for (int level = PITH_FILE_LEVEL_MIN; level <= PITH_FILE_LEVEL_MAX; level++)
        for (int kind = 0; kind < DATA_KINDS; kind++) {
            data_fill(raw, sizeof raw, (data_kind)kind, 2);
            if (kind == DATA_TEXT && level > 5) { /* a built-in text is learnt for every block: the shortest */
                data_fill_log(raw, sizeof raw, 2);
                if (level < 9) round_trip(level, 0, raw, 700);
                if (level == 6) round_trip(level, 4096, raw, 4200);
                continue;
            }
            if (level > 5) { /* up to 0.1 ms a byte */
                if (level < 9 || kind == DATA_RECORDS) round_trip(level, 4096, raw, 4200);
                round_trip(level, 0, raw, 400);
                continue;
            }
            round_trip(level, 4096, raw, sizeof raw);
            round_trip(level, 0, raw, sizeof raw);
            round_trip(level, 0, raw, 1);
            round_trip(level, 0, raw, 0);
        }
}

static void random_data_cost_little_more_than_themselves(void **state) {
    (void)state;
    static uint8_t raw[20000];
    data_fill(raw, sizeof raw, DATA_RANDOM, 3);
    for (int level = PITH_FILE_LEVEL_MIN; level <= PITH_FILE_LEVEL_MAX; level++) {
        pith_encode_options o = options_of(level, 0);
        data_sink s = encode(&o, raw, sizeof raw, sizeof raw);
        assert_true(s.size <= sizeof raw + 32);
        check_decodes(&s, raw, sizeof raw, 777);
        free(s.data);
    }
}

static void zeros_cost_nothing(void **state) {
    (void)state;
    size_t n = (size_t)20 << 20;
    uint8_t *raw = calloc(n, 1);
    for (int level = PITH_FILE_LEVEL_MIN; level <= PITH_FILE_LEVEL_MAX; level++) {
        pith_encode_options o = options_of(level, 0);
        data_sink s = encode(&o, raw, n, n);
        assert_true(s.size <= 160);
        check_decodes(&s, raw, n, s.size);
        free(s.data);
    }
    free(raw);
}

static void pieces_and_threads_do_not_matter(void **state) {
    (void)state;
    static uint8_t raw[30000];
    static const size_t pieces[] = {1, 7, 4095, 4096, 4097, 12289, sizeof raw};
    for (int level = 1; level <= PITH_FILE_LEVEL_MAX; level += 4) {
        size_t n = level < 9 ? sizeof raw : 4500; /* a slow level, and on data without built-in text */
        data_fill(raw, n, level < 9 ? DATA_TEXT : DATA_RECORDS, 4);
        pith_encode_options o = options_of(level, 4096);
        pith_ctx_set_threads(ctx, 1);
        data_sink first = encode(&o, raw, n, n);
        for (unsigned threads = 1; threads <= 5; threads += 2)
            for (size_t i = 0; i < PITH_COUNT(pieces); i++) {
                if (level > 1 && i % 3) continue;
                pith_ctx_set_threads(ctx, threads);
                data_sink s = encode(&o, raw, n, pieces[i]);
                assert_int_equal(s.size, first.size);
                assert_memory_equal(s.data, first.data, s.size);
                check_decodes(&s, raw, n, pieces[i]);
                free(s.data);
            }
        free(first.data);
    }
    pith_ctx_set_threads(ctx, 0);
    check_nothing_held();
}

static void short_memory_means_fewer_blocks_at_once_and_the_same_bytes(void **state) {
    (void)state;
    size_t n = (size_t)8 << 20;
    uint8_t *raw = malloc(n);
    data_fill(raw, n, DATA_TEXT, 5);
    pith_encode_options o = options_of(1, (size_t)1 << 20);
    pith_ctx_set_threads(ctx, 8);
    data_sink wide = encode(&o, raw, n, 100000);
    pith_ctx_set_memory(ctx, (uint64_t)16 << 20);
    data_sink narrow = encode(&o, raw, n, 100000);
    assert_int_equal(wide.size, narrow.size);
    assert_memory_equal(wide.data, narrow.data, wide.size);
    check_decodes(&wide, raw, n, 100000);
    assert_true(pith_memory_peak(ctx) <= (uint64_t)512 << 20);
    pith_ctx_set_memory(ctx, 1 << 20);
    data_sink s = {.fail_from = SIZE_MAX};
    pith_decoder *d;
    check_status(pith_decoder_new(ctx, NULL, data_sink_write, &s, &d));
    assert_int_equal(pith_decoder_write(d, wide.data, wide.size), PITH_E_LIMIT);
    assert_int_equal(pith_decoder_finish(d), PITH_E_LIMIT);
    pith_decoder_free(d);
    pith_ctx_set_memory(ctx, 0);
    pith_ctx_set_threads(ctx, 0);
    free(raw);
    free(wide.data);
    free(narrow.data);
    free(s.data);
    check_nothing_held();
}

/* ---- random access, several frames, metadata ----------------------------------------- */

static int read_at(void *opaque, uint64_t offset, void *data, size_t size) {
    const data_sink *s = opaque;
    assert_true(offset <= s->size && size <= s->size - offset);
    memcpy(data, s->data + offset, size);
    return 0;
}

static void check_ranges(data_sink *archive, const uint8_t *raw, size_t n) {
    pith_archive *a;
    check_status(pith_archive_open(ctx, NULL, read_at, archive, archive->size, &a));
    uint8_t *part = malloc(n + 100);
    uint32_t r = 7;
    for (int i = 0; i < 200; i++) {
        size_t offset = data_random(&r) % (n + 50), want = data_random(&r) % (i % 2 ? 50 : n + 50), got;
        check_status(pith_archive_read(a, offset, part, want, &got));
        assert_int_equal(got, offset >= n ? 0 : PITH_MIN(want, n - offset));
        if (got) assert_memory_equal(part, raw + offset, got);
    }
    pith_archive_info info;
    pith_archive_info_get(a, &info);
    assert_int_equal(info.content_size, n);
    assert_int_equal(info.archive_size, archive->size);
    uint64_t content = 0, blocks = 0;
    for (uint64_t i = 0; i < info.n_blocks; i++) {
        pith_block_info b;
        check_status(pith_archive_block(a, i, &b));
        assert_int_equal(b.content_offset, content);
        assert_true(b.recipe[0] != 0);
        assert_true(b.hash == pith_hash64(raw + content, (size_t)b.content_size));
        content += b.content_size;
    }
    assert_int_equal(content, n);
    for (uint64_t i = 0; i < info.n_frames; i++) {
        pith_frame_info f;
        check_status(pith_archive_frame(a, i, &f));
        assert_int_equal(f.first_block, blocks);
        assert_int_equal(f.version_major, 1);
        blocks += f.n_blocks;
    }
    assert_int_equal(blocks, info.n_blocks);
    pith_frame_info f;
    pith_block_info b;
    assert_int_equal(pith_archive_frame(a, info.n_frames, &f), PITH_E_ARGUMENT);
    assert_int_equal(pith_archive_block(a, info.n_blocks, &b), PITH_E_ARGUMENT);
    pith_archive_close(a);
    free(part);
    check_nothing_held();
}

static void append(data_sink *to, const data_sink *from) { data_sink_write(to, from->data, from->size); }

static void ranges_of_one_frame_and_of_many(void **state) {
    (void)state;
    static uint8_t raw[60000];
    data_fill(raw, sizeof raw, DATA_TEXT, 6);
    pith_encode_options many = options_of(1, 4096), one = options_of(1, 0);
    data_sink a = encode(&many, raw, 40000, 999), b = encode(&one, raw + 40000, 9000, 999),
              none = encode(&one, raw, 0, 1), c = encode(&many, raw + 49000, 11000, 999), all = {.fail_from = SIZE_MAX};
    check_ranges(&a, raw, 40000);
    check_ranges(&b, raw + 40000, 9000);
    check_ranges(&none, raw, 0);
    append(&all, &none);
    append(&all, &a);
    append(&all, &b);
    append(&all, &none);
    append(&all, &c);
    check_ranges(&all, raw, sizeof raw);
    check_decodes(&all, raw, sizeof raw, 1001);
    append(&all, &b); /* the tail of the archive is now that of no multi-block frame */
    memmove(raw + 49000, raw + 40000, 9000);
    data_sink twice = {.fail_from = SIZE_MAX};
    append(&twice, &a);
    append(&twice, &b);
    append(&twice, &b);
    check_ranges(&twice, raw, 58000);
    free(a.data);
    free(b.data);
    free(c.data);
    free(none.data);
    free(all.data);
    free(twice.data);
}

static void metadata_is_passed_over_and_found(void **state) {
    (void)state;
    static uint8_t raw[5000];
    data_fill(raw, sizeof raw, DATA_TEXT, 7);
    data_sink s = {.fail_from = SIZE_MAX};
    pith_encoder *e;
    check_status(pith_encoder_new(ctx, NULL, data_sink_write, &s, &e));
    check_status(pith_encoder_metadata(e, "made by a test", 14));
    check_status(pith_encoder_metadata(e, NULL, 0));
    check_status(pith_encoder_write(e, raw, sizeof raw));
    assert_int_equal(pith_encoder_metadata(e, "late", 4), PITH_E_ARGUMENT);
    check_status(pith_encoder_finish(e));
    pith_encoder_free(e);
    check_decodes(&s, raw, sizeof raw, 3);
    pith_archive *a;
    check_status(pith_archive_open_memory(ctx, NULL, s.data, s.size, &a));
    pith_archive_info info;
    pith_archive_info_get(a, &info);
    assert_int_equal(info.n_metadata, 2);
    uint64_t offset, size;
    check_status(pith_archive_metadata(a, 0, &offset, &size));
    assert_int_equal(size, 14);
    assert_memory_equal(s.data + offset, "made by a test", 14);
    check_status(pith_archive_metadata(a, 1, &offset, &size));
    assert_int_equal(size, 0);
    assert_int_equal(pith_archive_metadata(a, 2, &offset, &size), PITH_E_ARGUMENT);
    pith_archive_close(a);
    free(s.data);
}

/* ---- what the caller may do wrong, and callbacks --------------------------------------- */

static void wrong_arguments_are_refused(void **state) {
    (void)state;
    data_sink s = {.fail_from = SIZE_MAX};
    pith_encoder *e;
    static const int levels[] = {0, 10, -3};
    for (size_t i = 0; i < PITH_COUNT(levels); i++) {
        pith_encode_options o = options_of(levels[i], 0);
        assert_int_equal(pith_encoder_new(ctx, &o, data_sink_write, &s, &e), PITH_E_ARGUMENT);
        assert_null(e);
        assert_non_null(strstr(pith_error(ctx), "level"));
    }
    pith_encode_options small = options_of(1, PITH_FILE_BLOCK_MIN - 1), big = options_of(1, PITH_FILE_BLOCK_MAX + 1),
                        raw = {0};
    assert_int_equal(pith_encoder_new(ctx, &small, data_sink_write, &s, &e), PITH_E_ARGUMENT);
    assert_int_equal(pith_encoder_new(ctx, &big, data_sink_write, &s, &e), PITH_E_ARGUMENT);
    assert_int_equal(pith_encoder_new(ctx, &raw, data_sink_write, &s, &e), PITH_E_ARGUMENT);
    assert_int_equal(pith_encoder_new(ctx, NULL, NULL, NULL, &e), PITH_E_ARGUMENT);
    static const char *const recipes[] = {"",           "zstdd",       "zstd | zstd", "x86",
                                          "zstd | x86", "zstd ; zstd", "*.c -> zstd"};
    for (size_t i = 0; i < PITH_COUNT(recipes); i++) {
        pith_encode_options o = options_of(1, 0);
        o.recipe = recipes[i];
        assert_int_equal(pith_encoder_new(ctx, &o, data_sink_write, &s, &e), PITH_E_ARGUMENT);
        assert_true(pith_error(ctx)[0] != 0);
    }
    check_nothing_held();
}

static void a_recipe_is_kept_in_the_frame(void **state) {
    (void)state;
    static uint8_t raw[5000];
    data_fill(raw, sizeof raw, DATA_TEXT, 8);
    pith_encode_options o = options_of(1, 0);
    o.recipe = " zstd ( level = 9 ) ";
    data_sink s = encode(&o, raw, sizeof raw, 100);
    check_decodes(&s, raw, sizeof raw, 100);
    pith_archive *a;
    check_status(pith_archive_open_memory(ctx, NULL, s.data, s.size, &a));
    pith_frame_info f;
    check_status(pith_archive_frame(a, 0, &f));
    assert_string_equal(f.recipe, "zstd(level=9)");
    assert_int_equal(f.level, 0);
    pith_archive_close(a);
    free(s.data);
}

static void promises_are_kept(void **state) {
    (void)state;
    data_sink s = {.fail_from = SIZE_MAX};
    static uint8_t raw[9000];
    pith_encode_options o = options_of(1, 4096);
    o.content_size = sizeof raw;
    pith_encoder *e;
    check_status(pith_encoder_new(ctx, &o, data_sink_write, &s, &e));
    check_status(pith_encoder_write(e, raw, sizeof raw - 1));
    assert_int_equal(pith_encoder_finish(e), PITH_E_ARGUMENT);
    pith_encoder_free(e);
    check_status(pith_encoder_new(ctx, &o, data_sink_write, &s, &e));
    check_status(pith_encoder_write(e, raw, sizeof raw));
    assert_int_equal(pith_encoder_write(e, raw, 1), PITH_E_ARGUMENT);
    assert_int_equal(pith_encoder_finish(e), PITH_E_ARGUMENT); /* the first failure stays */
    pith_encoder_free(e);
    free(s.data);
    check_nothing_held();
}

static void failing_writes_are_io_errors(void **state) {
    (void)state;
    static uint8_t raw[13000];
    data_fill(raw, sizeof raw, DATA_TEXT, 9);
    pith_encode_options o = options_of(1, 4096);
    data_sink whole = encode(&o, raw, sizeof raw, sizeof raw);
    for (size_t from = 0; from < whole.size; from++) {
        data_sink s = {.fail_from = from};
        pith_encoder *e;
        check_status(pith_encoder_new(ctx, &o, data_sink_write, &s, &e));
        pith_status status = pith_encoder_write(e, raw, sizeof raw);
        if (!status) status = pith_encoder_finish(e);
        assert_int_equal(status, PITH_E_IO);
        pith_encoder_free(e);
        free(s.data);
    }
    for (size_t from = 0; from < sizeof raw; from += 1000) {
        data_sink s = {.fail_from = from};
        pith_decoder *d;
        check_status(pith_decoder_new(ctx, NULL, data_sink_write, &s, &d));
        assert_int_equal(pith_decoder_write(d, whole.data, whole.size), PITH_E_IO);
        assert_int_equal(pith_decoder_finish(d), PITH_E_IO);
        pith_decoder_free(d);
        free(s.data);
    }
    free(whole.data);
    check_nothing_held();
}

typedef struct ticks {
    uint64_t last, total;
    unsigned n, cancel_at;
} ticks;

static int tick(void *opaque, uint64_t done, uint64_t total) {
    ticks *t = opaque;
    assert_true(done >= t->last);
    t->last = done;
    t->total = total;
    return ++t->n == t->cancel_at;
}

static void progress_rises_and_can_cancel(void **state) {
    (void)state;
    static uint8_t raw[40000];
    data_fill(raw, sizeof raw, DATA_TEXT, 10);
    pith_encode_options o = options_of(1, 4096);
    o.content_size = sizeof raw;
    ticks t = {0};
    pith_ctx_set_threads(ctx, 1);
    pith_ctx_set_progress(ctx, tick, &t);
    data_sink s = encode(&o, raw, sizeof raw, sizeof raw);
    assert_true(t.n >= 10);
    assert_int_equal(t.last, sizeof raw);
    assert_int_equal(t.total, sizeof raw);
    t = (ticks){.cancel_at = 3};
    size_t got;
    uint8_t *out = malloc(sizeof raw);
    assert_int_equal(pith_file_decompress(ctx, NULL, s.data, s.size, out, sizeof raw, &got), PITH_E_CANCELLED);
    assert_int_equal(got, 0);
    t = (ticks){.cancel_at = 3};
    uint8_t *archive = malloc(s.size);
    assert_int_equal(pith_file_compress(ctx, &o, raw, sizeof raw, archive, s.size, &got), PITH_E_CANCELLED);
    pith_ctx_set_progress(ctx, NULL, NULL);
    pith_ctx_set_threads(ctx, 0);
    free(archive);
    free(out);
    free(s.data);
    check_nothing_held();
}

typedef struct halfway {
    unsigned n_inside, n_after; /* calls with part of the block done; calls after the answer "stop" */
    bool stop, stopped;
} halfway;

static int note_halfway(void *opaque, uint64_t done, uint64_t total) {
    halfway *h = opaque;
    bool inside = done > 0 && done < total;
    h->n_inside += inside;
    h->n_after += h->stopped;
    h->stopped = h->stop && inside;
    return h->stopped;
}

/* One block of a second or so: the callback hears of it on the way, and may end it there. */
static void progress_moves_inside_a_block(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    uint8_t *raw = malloc(N), *archive = malloc(N);
    data_fill(raw, N, DATA_TEXT, 14);
    pith_encode_options o = options_of(4, 0);
    o.content_size = N;
    halfway h = {0};
    pith_ctx_set_progress(ctx, note_halfway, &h);
    size_t got;
    check_status(pith_file_compress(ctx, &o, raw, N, archive, N, &got));
    assert_true(h.n_inside > 0);
    h.stop = true;
    h.n_after = 0;
    assert_int_equal(pith_file_compress(ctx, &o, raw, N, archive, N, &got), PITH_E_CANCELLED);
    assert_int_equal(h.n_after, 0);
    pith_ctx_set_progress(ctx, NULL, NULL);
    free(raw);
    free(archive);
    check_nothing_held();
}

/* A built-in text is learnt, by the state-space model too, before text of its kind; the log's is the
 * shortest, and a system's log of a few hundred bytes is enough to tell. */
static void primed_text_round_trips_at_the_highest_level(void **state) {
    (void)state;
    uint8_t raw[300], archive[400], again[300];
    data_fill_log(raw, sizeof raw, 5);
    pith_encode_options o = options_of(PITH_FILE_LEVEL_MAX, 0);
    o.verify = 0; /* decoded below */
    size_t n, back;
    check_status(pith_file_compress(ctx, &o, raw, sizeof raw, archive, sizeof archive, &n));
    pith_archive *a;
    pith_block_info b;
    check_status(pith_archive_open_memory(ctx, NULL, archive, n, &a));
    check_status(pith_archive_block(a, 0, &b));
    assert_string_equal(b.recipe, "cm(1, 2, 48)");
    pith_archive_close(a);
    o.recipe = "cm(40)"; /* without having been told */
    size_t untold;
    check_status(pith_file_compress(ctx, &o, raw, sizeof raw, again, sizeof again, &untold));
    assert_true(n < untold - untold / 8);
    check_status(pith_file_decompress(ctx, NULL, archive, n, again, sizeof again, &back));
    assert_int_equal(back, sizeof raw);
    assert_memory_equal(raw, again, back);
    check_nothing_held();
}

static void verification_changes_nothing_in_the_archive(void **state) {
    (void)state;
    static uint8_t raw[20000];
    data_fill(raw, sizeof raw, DATA_RECORDS, 11);
    pith_encode_options o = options_of(4, 4096);
    data_sink plain = encode(&o, raw, sizeof raw, 5000);
    o.verify = 1;
    data_sink verified = encode(&o, raw, sizeof raw, 5000);
    assert_int_equal(plain.size, verified.size);
    assert_memory_equal(plain.data, verified.data, plain.size);
    free(plain.data);
    free(verified.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_round_trip),
        cmocka_unit_test(levels_round_trip),
        cmocka_unit_test(random_data_cost_little_more_than_themselves),
        cmocka_unit_test(zeros_cost_nothing),
        cmocka_unit_test(pieces_and_threads_do_not_matter),
        cmocka_unit_test(short_memory_means_fewer_blocks_at_once_and_the_same_bytes),
        cmocka_unit_test(ranges_of_one_frame_and_of_many),
        cmocka_unit_test(metadata_is_passed_over_and_found),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(a_recipe_is_kept_in_the_frame),
        cmocka_unit_test(promises_are_kept),
        cmocka_unit_test(failing_writes_are_io_errors),
        cmocka_unit_test(progress_rises_and_can_cancel),
        cmocka_unit_test(progress_moves_inside_a_block),
        cmocka_unit_test(primed_text_round_trips_at_the_highest_level),
        cmocka_unit_test(verification_changes_nothing_in_the_archive),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
