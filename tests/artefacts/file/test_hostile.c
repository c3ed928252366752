/* Damaged and malicious archives, and a system that runs out of memory: an error or the right
 * bytes, never wrong ones, nothing leaked, and nothing big allocated on a claim alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "artefacts/file/frame.h"
#include "support/file_data.h"
#include "support/session.h"

typedef struct sample {
    uint8_t raw[3000];
    size_t raw_n;
    uint8_t *archive;
    size_t archive_n;
} sample;

static sample make_sample(int level, size_t raw_n, size_t block_size, data_kind kind) {
    sample s = {.raw_n = raw_n};
    data_fill(s.raw, raw_n, kind, (uint32_t)level);
    pith_encode_options o;
    pith_encode_options_init(&o);
    o.level = level;
    o.block_size = block_size;
    size_t capacity = (size_t)pith_file_bound(raw_n, &o);
    s.archive = malloc(capacity);
    assert_int_equal(pith_file_compress(ctx, &o, s.raw, raw_n, s.archive, capacity, &s.archive_n), PITH_OK);
    return s;
}

/* Several blocks, smaller than the interface allows, so that every byte can be tried. */
static sample make_many_blocks(void) {
    sample s = {.raw_n = 60};
    data_fill(s.raw, s.raw_n, DATA_TEXT, 1);
    data_sink out = {.fail_from = SIZE_MAX};
    frame_header h = {
        .major = FRAME_MAJOR, .level = 1, .size_known = true, .content_size = s.raw_n, .memory = 100, .ns_per_byte = 1};
    uint8_t bytes[FRAME_HEADER_MAX], index[200];
    size_t n = frame_header_put(bytes, &h), index_n = pith_varint_put(index, n);
    data_sink_write(&out, bytes, n);
    for (size_t at = 0; at < s.raw_n; at += 20) {
        block_header b = {.codec = &file_codec_stored, .raw_n = 20, .transformed_n = 20, .coded_n = 20};
        b.hash = pith_hash64(s.raw + at, 20);
        n = frame_block_put(bytes, &b, false);
        data_sink_write(&out, bytes, n);
        data_sink_write(&out, s.raw + at, 20);
        index_n += frame_entry_put(index + index_n, 20, n + 20);
    }
    index_n += frame_entry_end_put(index + index_n, s.raw_n, pith_hash64(s.raw, s.raw_n));
    store32(index + index_n, (uint32_t)pith_hash64(index, index_n));
    index_n += 4;
    index_n += frame_tail_put(index + index_n, index_n);
    bytes[0] = FRAME_END_MARK;
    data_sink_write(&out, bytes, 1);
    data_sink_write(&out, index, index_n);
    s.archive = out.data;
    s.archive_n = out.size;
    return s;
}

/* Through the streaming decoder and through random access: refused, or right. True when refused by the decoder. */
static bool try_archive(const sample *s, const uint8_t *archive, size_t n) {
    uint8_t out[sizeof s->raw];
    size_t got = 0;
    pith_status status = pith_file_decompress(ctx, NULL, archive, n, out, sizeof out, &got);
    if (status) {
        assert_true(pith_error(ctx)[0] != 0);
        assert_null(strchr(pith_error(ctx), '\n'));
        assert_int_equal(got, 0);
    } else {
        assert_int_equal(got, s->raw_n);
        assert_memory_equal(out, s->raw, got);
    }
    pith_archive *a;
    if (pith_archive_open_memory(ctx, NULL, archive, n, &a) == PITH_OK) {
        pith_archive_info info;
        pith_archive_info_get(a, &info);
        if (pith_archive_read(a, 0, out, sizeof out, &got) == PITH_OK) assert_memory_equal(out, s->raw, got);
        for (uint64_t i = 0; i < PITH_MIN(info.n_blocks, 10); i++) {
            pith_block_info b;
            pith_archive_block(a, i, &b);
        }
        pith_archive_close(a);
    }
    assert_int_equal(pith_memory_used(ctx), 0);
    return status != PITH_OK;
}

static void try_all_truncations(const sample *s) {
    for (size_t n = 0; n < s->archive_n; n++) {
        uint8_t *cut = malloc(n + 1); /* so that a read past the end is seen */
        memcpy(cut, s->archive, n);
        assert_true(try_archive(s, cut, n));
        free(cut);
    }
    assert_false(try_archive(s, s->archive, s->archive_n));
}

static void try_all_flips(const sample *s, unsigned first_bit, unsigned step) {
    uint8_t *copy = malloc(s->archive_n);
    memcpy(copy, s->archive, s->archive_n);
    for (size_t i = 0; i < s->archive_n; i++)
        for (unsigned bit = first_bit; bit < 9; bit += step) {
            copy[i] ^= (uint8_t)(bit < 8 ? 1 << bit : 0xFF);
            try_archive(s, copy, s->archive_n);
            copy[i] = s->archive[i];
        }
    free(copy);
}

static void truncated_and_flipped_at_every_byte(void **state) {
    (void)state;
    pith_ctx_set_threads(ctx, 1);
    for (int level = PITH_FILE_LEVEL_MIN; level <= PITH_FILE_LEVEL_MAX; level++) {
        bool fast = level <= 5;
        /* records are like no built-in text: nothing is learnt first, a thousand decodings are quick */
        sample s = make_sample(level, fast ? 400 : 120, 0, fast ? DATA_TEXT : DATA_RECORDS);
        if (level != 8) try_all_truncations(&s); /* without a primer 8 is 7 */
        try_all_flips(&s, fast ? 0 : (unsigned)level % 8, fast ? 1 : 9);
        free(s.archive);
    }
    pith_ctx_set_threads(ctx, 0);
}

static void flipped_behind_a_primer(void **state) {
    (void)state;
    sample s = {.raw_n = 300};
    data_fill_log(s.raw, s.raw_n, 7);
    s.archive = malloc(1000);
    pith_encode_options o;
    pith_encode_options_init(&o);
    o.level = 6;
    assert_int_equal(pith_file_compress(ctx, &o, s.raw, s.raw_n, s.archive, 1000, &s.archive_n), PITH_OK);
    for (size_t i = 0; i < s.archive_n; i += 7) {
        s.archive[i] ^= 0x10;
        try_archive(&s, s.archive, s.archive_n);
        s.archive[i] ^= 0x10;
    }
    free(s.archive);
}

static void truncated_and_flipped_with_several_blocks(void **state) {
    (void)state;
    sample s = make_many_blocks();
    try_all_truncations(&s);
    try_all_flips(&s, 0, 1);
    free(s.archive);
}

static void garbage_after_a_frame_is_an_error(void **state) {
    (void)state;
    sample s = make_many_blocks();
    uint8_t *more = malloc(s.archive_n + 40);
    memcpy(more, s.archive, s.archive_n);
    memset(more + s.archive_n, 0, 40);
    for (size_t n = 1; n < 40; n++) assert_true(try_archive(&s, more, s.archive_n + n));
    memcpy(more + s.archive_n, frame_magic, 8);
    for (size_t n = 1; n < 20; n++) assert_true(try_archive(&s, more, s.archive_n + n));
    free(more);
    free(s.archive);
}

static void noise_is_refused(void **state) {
    (void)state;
    uint8_t noise[300];
    sample s = {.raw_n = 0};
    for (uint32_t seed = 1; seed < 500; seed++) {
        data_fill(noise, sizeof noise, DATA_RANDOM, seed);
        assert_true(try_archive(&s, noise, sizeof noise));
        memcpy(noise, seed % 2 ? frame_magic : frame_skip_magic, 8); /* and a little further in */
        noise[8] = (uint8_t)(FRAME_MAJOR << 4 | noise[8] % 10);
        noise[9] &= 7;
        try_archive(&s, noise, sizeof noise);
    }
}

/* An index that is sound in itself but tells another story than the blocks. */
static void a_lying_index_is_refused(void **state) {
    (void)state;
    sample s = make_many_blocks();
    uint64_t index_n;
    assert_true(frame_tail_get(s.archive + s.archive_n - FRAME_TAIL_BYTES, &index_n));
    uint8_t *index = s.archive + s.archive_n - FRAME_TAIL_BYTES - index_n;
    for (size_t i = 0; i < index_n - 4; i++) {
        uint8_t was = index[i];
        for (unsigned value = 0; value < 256; value += 3) {
            if (value == was) continue;
            index[i] = (uint8_t)value;
            store32(index + index_n - 4, (uint32_t)pith_hash64(index, (size_t)index_n - 4));
            assert_true(try_archive(&s, s.archive, s.archive_n));
        }
        index[i] = was;
    }
    free(s.archive);
}

/* ---- claims -------------------------------------------------------------------------------- */

static pith_status decode_bytes(const pith_decode_options *o, const uint8_t *p, size_t n) {
    pith_decoder *d;
    assert_int_equal(pith_decoder_new(ctx, o, NULL, NULL, &d), PITH_OK);
    pith_status status = pith_decoder_write(d, p, n);
    pith_decoder_free(d);
    return status;
}

static void claims_are_refused_before_anything_is_allocated(void **state) {
    (void)state;
    frame_header fine = {.major = FRAME_MAJOR,
                         .level = 9,
                         .size_known = true,
                         .content_size = 1000,
                         .memory = 1 << 20,
                         .ns_per_byte = 1};
    uint8_t bytes[FRAME_HEADER_MAX + FRAME_BLOCK_MAX];
    pith_decode_options o;
    pith_decode_options_init(&o);
    pith_ctx *outer = ctx;
    ctx = pith_ctx_new(NULL); /* a peak of its own */
    frame_header h = fine;
    h.memory = UINT64_C(1) << 42;
    assert_int_equal(decode_bytes(NULL, bytes, frame_header_put(bytes, &h)), PITH_E_LIMIT);
    h = fine; /* a year per byte */
    h.ns_per_byte = 3e16;
    assert_int_equal(decode_bytes(NULL, bytes, frame_header_put(bytes, &h)), PITH_E_LIMIT);
    h = fine; /* hours, where one was asked for */
    h.ns_per_byte = 50000;
    h.content_size = UINT64_C(1) << 30;
    o.max_seconds = 3600;
    assert_int_equal(decode_bytes(&o, bytes, frame_header_put(bytes, &h)), PITH_E_LIMIT);
    assert_int_equal(decode_bytes(NULL, bytes, frame_header_put(bytes, &h)), PITH_OK); /* wait for the blocks */
    h = fine;                                                                          /* a terabyte in a small file */
    h.content_size = UINT64_C(1) << 40;
    pith_decode_options_init(&o);
    o.archive_size = 5000;
    assert_int_equal(decode_bytes(&o, bytes, frame_header_put(bytes, &h)), PITH_E_FORMAT);
    o.archive_size = PITH_SIZE_UNKNOWN;
    o.max_content_size = UINT64_C(1) << 39;
    assert_int_equal(decode_bytes(&o, bytes, frame_header_put(bytes, &h)), PITH_E_LIMIT);
    h = fine; /* a single block that is too big */
    h.single = true;
    h.content_size = BLOCK_RAW_MAX + 1;
    assert_int_equal(decode_bytes(NULL, bytes, frame_header_put(bytes, &h)), PITH_E_FORMAT);
    /* a skippable frame of 2^60 bytes, and one past 2^64 */
    size_t n = frame_skip_put(bytes, UINT64_C(1) << 60);
    assert_int_equal(decode_bytes(NULL, bytes, n), PITH_OK);
    pith_archive *a;
    assert_int_equal(pith_archive_open_memory(ctx, NULL, bytes, n, &a), PITH_E_TRUNCATED);
    memset(bytes + 8, 0xFF, 10);
    assert_int_equal(decode_bytes(NULL, bytes, 18), PITH_E_FORMAT);
    /* a block of 64 MiB, coded in as many, of which two bytes are there */
    h = fine;
    h.content_size = BLOCK_RAW_MAX;
    h.single = true;
    n = frame_header_put(bytes, &h);
    block_header b = {
        .codec = &file_codec_stored, .raw_n = BLOCK_RAW_MAX, .transformed_n = BLOCK_RAW_MAX, .coded_n = BLOCK_RAW_MAX};
    n += frame_block_put(bytes + n, &b, true);
    assert_int_equal(decode_bytes(NULL, bytes, n + 2), PITH_OK);
    assert_true(pith_memory_peak(ctx) < 300000);
    pith_ctx_free(ctx);
    ctx = outer;
}

/* A slow codec and a tiny block that says it holds 64 MiB: refused at the block header. */
static void small_blocks_cannot_ask_for_hours(void **state) {
    (void)state;
    block_header b = {.codec = &file_codec_cm, .raw_n = BLOCK_RAW_MAX, .transformed_n = BLOCK_RAW_MAX, .coded_n = 10};
    block_time t = {0};
    unsigned n_refused = 0;
    for (int i = 0; i < 200; i++) n_refused += block_time_spend(ctx, &t, 1e9 * 7, 10) == PITH_E_LIMIT;
    assert_true(n_refused > 150 && n_refused < 200);
    t = (block_time){0};
    assert_int_equal(block_time_spend(ctx, &t, 3600e9 * 5, 1000), PITH_E_LIMIT);
    assert_int_equal(block_time_spend(ctx, &t, 3600e9 * 5, 1e6), PITH_OK); /* a megabyte may take hours */
    t = (block_time){.max_seconds = 100};
    assert_int_equal(block_time_spend(ctx, &t, 99e9, 1), PITH_OK);
    assert_int_equal(block_time_spend(ctx, &t, 2e9, 1e6), PITH_E_LIMIT);
    assert_true(block_decode_ns(&b) > 0);
}

static void content_limits_hold_for_unknown_sizes(void **state) {
    (void)state;
    sample s = make_many_blocks();
    pith_decode_options o;
    pith_decode_options_init(&o);
    uint64_t size;
    for (o.max_content_size = 0; o.max_content_size < s.raw_n; o.max_content_size++)
        assert_int_equal(pith_file_test(ctx, &o, s.archive, s.archive_n, &size), PITH_E_LIMIT);
    assert_int_equal(pith_file_test(ctx, &o, s.archive, s.archive_n, &size), PITH_OK);
    assert_int_equal(size, s.raw_n);
    free(s.archive);
}

/* ---- no memory --------------------------------------------------------------------------------- */

/* Everything once: compress, decompress, random access. */
static pith_status whole_use(pith_ctx *c, int level, size_t raw_n, const uint8_t *raw) {
    uint8_t archive[8000], out[8000];
    size_t archive_n, got;
    pith_encode_options o;
    pith_encode_options_init(&o);
    o.level = level;
    o.block_size = 4096;
    o.verify = 1;
    pith_status status = pith_file_compress(c, &o, raw, raw_n, archive, sizeof archive, &archive_n);
    if (!status) status = pith_file_decompress(c, NULL, archive, archive_n, out, sizeof out, &got);
    if (!status) assert_memory_equal(out, raw, raw_n);
    pith_archive *a = NULL;
    if (!status) status = pith_archive_open_memory(c, NULL, archive, archive_n, &a);
    if (!status) status = pith_archive_read(a, 5, out, raw_n - 5, &got);
    pith_archive_close(a);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static uint8_t raw[6000];
    for (int level = PITH_FILE_LEVEL_MIN; level <= PITH_FILE_LEVEL_MAX; level++)
        for (size_t raw_n = level < 9 ? 500 : 200; raw_n <= (level <= 5 ? 6000u : 500u); raw_n += 5500) {
            if (level == 8) continue; /* level 7 with another primer, and none is used here */
            /* context mixing without a primer: the loop starts it anew for every allocation */
            data_fill(raw, sizeof raw, level <= 5 ? DATA_TEXT : DATA_RECORDS, 3);
            data_heap heap = {.fail_at = 0};
            pith_allocator allocator = {data_heap_alloc, data_heap_free, &heap};
            pith_status status = PITH_E_MEMORY;
            for (; status; heap.fail_at++) {
                assert_true(heap.fail_at < 20000);
                atomic_store(&heap.calls, 0);
                pith_ctx *c = pith_ctx_new(&allocator);
                if (!c) continue;
                pith_ctx_set_threads(c, 1);
                status = whole_use(c, level, raw_n, raw);
                if (status) assert_int_equal(status, PITH_E_MEMORY);
                assert_int_equal(pith_memory_used(c), 0);
                pith_ctx_free(c);
                assert_int_equal(atomic_load(&heap.held), 0);
            }
            assert_true(heap.fail_at > 10);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncated_and_flipped_at_every_byte),
        cmocka_unit_test(flipped_behind_a_primer),
        cmocka_unit_test(truncated_and_flipped_with_several_blocks),
        cmocka_unit_test(garbage_after_a_frame_is_an_error),
        cmocka_unit_test(noise_is_refused),
        cmocka_unit_test(a_lying_index_is_refused),
        cmocka_unit_test(claims_are_refused_before_anything_is_allocated),
        cmocka_unit_test(small_blocks_cannot_ask_for_hours),
        cmocka_unit_test(content_limits_hold_for_unknown_sizes),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
