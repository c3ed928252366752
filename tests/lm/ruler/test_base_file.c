/* The file of saved log-probabilities: what is written comes back, and what is broken is refused
 * in one line before anything of its size is allocated. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "lm/ruler/ruler.h"

enum { CTX = 8, CHUNKS = 2, VOCAB = 5, ROWS = 3 * CHUNKS };

static float row_value(size_t row, uint32_t token) { return (float)((row * 7 + token * 3) % 11) - 4.0f; }

static void make_file(pith_ctx *ctx, pith_buffer *out) {
    uint32_t tokens[CTX * CHUNKS];
    for (uint32_t i = 0; i < CTX * CHUNKS; i++) tokens[i] = i % VOCAB;
    ruler_chunks chunks = {tokens, CTX, CHUNKS};
    uint8_t packed[64];
    assert_int_equal(ruler_chunk_rows(CTX), 3);
    assert_int_equal(ruler_base_row_bytes(VOCAB), 8 + 2 * 6);
    assert_int_equal(ruler_base_head(ctx, &chunks, VOCAB, out), PITH_OK);
    for (size_t r = 0; r < ROWS; r++) {
        float logits[VOCAB];
        for (uint32_t i = 0; i < VOCAB; i++) logits[i] = row_value(r, i);
        ruler_base_pack(logits, VOCAB, packed);
        assert_int_equal(pith_buffer_append(ctx, out, packed, ruler_base_row_bytes(VOCAB)), PITH_OK);
    }
}

static void check_rows(pith_ctx *ctx, ruler_base *b) {
    ruler_chunks chunks = ruler_base_chunks(b);
    assert_int_equal(chunks.n_ctx, CTX);
    assert_int_equal(chunks.n_chunks, CHUNKS);
    assert_int_equal(ruler_base_vocab(b), VOCAB);
    for (uint32_t i = 0; i < CTX * CHUNKS; i++) assert_int_equal(chunks.tokens[i], i % VOCAB);
    for (size_t r = 0; r < ROWS; r++) {
        float logits[VOCAB], got[VOCAB];
        for (uint32_t i = 0; i < VOCAB; i++) logits[i] = row_value(r, i);
        double shift = ruler_side_of(logits, VOCAB).shift, sum = 0;
        assert_int_equal(ruler_base_row(ctx, b, r, got), PITH_OK);
        for (uint32_t i = 0; i < VOCAB; i++) {
            assert_true(fabs((double)got[i] - ((double)logits[i] - shift)) < 16.0 / 65535);
            sum += exp((double)got[i]);
        }
        assert_true(fabs(sum - 1) < 1e-3);
    }
    float none[VOCAB];
    assert_int_equal(ruler_base_row(ctx, b, ROWS, none), PITH_E_ARGUMENT);
}

static void test_round_trip(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    pith_buffer file = {0};
    ruler_base *b;
    make_file(ctx, &file);
    assert_int_equal(ruler_base_open_memory(ctx, file.data, file.size, &b), PITH_OK);
    check_rows(ctx, b);
    ruler_base_close(ctx, b);
    char path[] = "/tmp/pith-test-base-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, file.data, file.size) == (ssize_t)file.size);
    close(fd);
    assert_int_equal(ruler_base_open(ctx, path, &b), PITH_OK);
    check_rows(ctx, b);
    ruler_base_close(ctx, b);
    unlink(path);
    assert_int_equal(ruler_base_open(ctx, path, &b), PITH_E_IO);
    assert_int_equal(ruler_base_open(ctx, "/", &b), PITH_E_IO);
    pith_buffer_free(ctx, &file);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

/* The layout byte for byte: a change would be one that llama-perplexity cannot read. */
static void test_layout(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    pith_buffer file = {0};
    make_file(ctx, &file);
    assert_memory_equal(file.data, "_logits_\x08\0\0\0\x05\0\0\0\x02\0\0\0", 20);
    assert_int_equal(load32(file.data + 20 + 4 * 7), 2);
    assert_int_equal(file.size, 20 + 4 * CTX * CHUNKS + ROWS * 20);
    /* logits 0 and 16 and below: the whole range, one step a 65535th of 16 */
    const float logits[3] = {16, 0, -100};
    uint8_t row[16];
    ruler_base_pack(logits, 3, row);
    float scale, least;
    memcpy(&scale, row, 4);
    memcpy(&least, row + 4, 4);
    assert_true(fabs((double)scale - 16.0 / 65535) < 1e-9 && fabs((double)least + 16) < 1e-5);
    assert_int_equal(load16(row + 8), 65535);
    assert_int_equal(load16(row + 10), 0);
    assert_int_equal(load16(row + 12), 0);
    assert_int_equal(load16(row + 14), 0); /* padding of an odd vocabulary */
    const float flat[2] = {3, 3};
    ruler_base_pack(flat, 2, row);
    memcpy(&scale, row, 4);
    memcpy(&least, row + 4, 4);
    assert_true(scale == 0 && fabs((double)least + log(2)) < 1e-6);
    pith_buffer_free(ctx, &file);
    pith_ctx_free(ctx);
}

static void refused(pith_ctx *ctx, const pith_buffer *file, size_t size, pith_status want, const char *word) {
    ruler_base *b;
    pith_begin(ctx);
    uint64_t before = pith_memory_used(ctx);
    assert_int_equal(ruler_base_open_memory(ctx, file->data, size, &b), want);
    assert_null(b);
    if (!strstr(pith_error(ctx), word)) fail_msg("no '%s' in: %s", word, pith_error(ctx));
    assert_int_equal(pith_memory_used(ctx), before);
}

static void test_hostile(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    pith_buffer file = {0};
    ruler_base *b;
    make_file(ctx, &file);
    for (size_t n = 0; n < file.size; n++) /* cut off anywhere */
        refused(ctx, &file, n, PITH_E_TRUNCATED, "base file: ");
    assert_int_equal(pith_buffer_append(ctx, &file, "x", 1), PITH_OK);
    refused(ctx, &file, file.size, PITH_E_FORMAT, "1 bytes behind");
    file.size--;
    const struct {
        size_t at;
        uint32_t value;
        pith_status status;
        const char *word;
    } changes[] = {{0, 0x58585858, PITH_E_FORMAT, "_logits_"},
                   {8, 0, PITH_E_FORMAT, "n_ctx"},
                   {8, 3, PITH_E_FORMAT, "n_ctx"},
                   {8, UINT32_MAX, PITH_E_FORMAT, "n_ctx"},
                   {8, 1 << 24, PITH_E_TRUNCATED, "too few"},
                   {12, 0, PITH_E_FORMAT, "n_vocab"},
                   {12, UINT32_MAX, PITH_E_FORMAT, "n_vocab"},
                   {12, 1 << 26, PITH_E_TRUNCATED, "too few"},
                   {16, 0, PITH_E_FORMAT, "n_chunks"},
                   {16, UINT32_MAX, PITH_E_FORMAT, "n_chunks"},
                   {16, INT32_MAX, PITH_E_TRUNCATED, "too few"},
                   {16, 1, PITH_E_FORMAT, "behind the last row"},
                   {20 + 4 * 9, VOCAB, PITH_E_FORMAT, "byte 56"},
                   {20, UINT32_MAX, PITH_E_FORMAT, "byte 20"}};
    for (size_t i = 0; i < PITH_COUNT(changes); i++) {
        uint32_t was = load32(file.data + changes[i].at);
        store32(file.data + changes[i].at, changes[i].value);
        refused(ctx, &file, file.size, changes[i].status, changes[i].word);
        store32(file.data + changes[i].at, was);
    }
    /* scales and offsets are looked at when their row is read */
    const uint32_t rows_at = 20 + 4 * CTX * CHUNKS, bad[] = {0x7fc00000, 0x7f800000, 0xbf800000, 0x47000000};
    float out[VOCAB];
    for (size_t i = 0; i < PITH_COUNT(bad); i++)
        for (uint32_t field = 0; field < 2; field++) {
            if (field == 1 && bad[i] == 0xbf800000) continue; /* -1 is a good offset */
            uint8_t *at = file.data + rows_at + 20 + 4 * field;
            uint32_t was = load32(at);
            store32(at, bad[i]);
            assert_int_equal(ruler_base_open_memory(ctx, file.data, file.size, &b), PITH_OK);
            assert_int_equal(ruler_base_row(ctx, b, 0, out), PITH_OK);
            assert_int_equal(ruler_base_row(ctx, b, 1, out), PITH_E_FORMAT);
            ruler_base_close(ctx, b);
            store32(at, was);
        }
    pith_buffer_free(ctx, &file);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_layout),
                                       cmocka_unit_test(test_hostile)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
