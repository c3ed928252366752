/* SentencePiece BPE on the model that comes with pith. The ids of the sample texts are those that
 * llama.cpp gives for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lm/tokenizer/vocab.h"
#include "support/data_heap.h"
#include "support/session.h"

static tensor_file *file;
static tokenizer *mini;

static int begin(void **state) {
    if (session_begin(state)) return -1;
    if (tensor_file_open(ctx, PITH_TEST_SOURCE_DIR "/models/pith-mini.f16.gguf", &file) != PITH_OK) return -1;
    return tokenizer_open(ctx, file, &mini) == PITH_OK ? 0 : -1;
}

static int end(void **state) {
    tokenizer_free(ctx, mini);
    tensor_file_close(ctx, file);
    return session_end(state);
}

static void about(void **state) {
    (void)state;
    const tokenizer_info *i = tokenizer_about(mini);
    assert_string_equal(i->kind, "spm");
    assert_int_equal(i->n_vocab, 4096);
    assert_int_equal(i->bos, 1);
    assert_int_equal(i->eos, 2);
    assert_true(i->add_space_prefix && i->byte_exact && i->add_bos && !i->add_eos);
}

static void known_ids(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t n;
        uint64_t hash;
    } want[] = {{"alice29.txt", 57175, UINT64_C(0x9E183F67A18ECE66)},
                {"asyoulik.txt", 51478, UINT64_C(0xDBD7EFA877DA1369)},
                {"html", 56394, UINT64_C(0x3D237078BC800D17)},
                {"lcet10.txt", 139056, UINT64_C(0x78EB811577C689B7)},
                {"urls.10K", 430201, UINT64_C(0x821B1C137C5A9686)}};
    for (size_t i = 0; i < PITH_COUNT(want); i++) {
        char path[600];
        size_t size;
        snprintf(path, sizeof path, "%s/tests/data/%s", PITH_TEST_SOURCE_DIR, want[i].name);
        uint8_t *text = file_bytes(path, &size);
        assert_non_null(text);
        token_list l = {0};
        assert_int_equal(tokenizer_encode(ctx, mini, text, size, 0, &l), PITH_OK);
        assert_int_equal(l.n, want[i].n);
        if (ids_hash(&l) != want[i].hash) fail_msg("%s: other ids", want[i].name);
        token_list_free(ctx, &l);
        assert_round_trip(ctx, mini, text, size, 0);
        assert_round_trip(ctx, mini, text, size, TOKENIZE_CONTINUE);
        free(text);
    }
}

static void any_bytes(void **state) {
    (void)state;
    for (unsigned k = 0; k < HOSTILE_TEXTS; k++) {
        size_t size;
        uint8_t *text = hostile_text(k, &size);
        assert_round_trip(ctx, mini, text, size, 0);
        assert_round_trip(ctx, mini, text, size, TOKENIZE_CONTINUE);
        for (size_t n = 0; n < 12; n++) assert_round_trip(ctx, mini, text, n, 0);
        free(text);
    }
}

/* Words are remembered within a text; cutting the same text elsewhere must not change a word's ids. */
static void same_ids_in_small_pieces(void **state) {
    (void)state;
    size_t size;
    uint8_t *text = file_bytes(PITH_TEST_SOURCE_DIR "/tests/data/alice29.txt", &size);
    assert_non_null(text);
    token_list whole = {0}, lines = {0};
    assert_int_equal(tokenizer_encode(ctx, mini, text, size, TOKENIZE_CONTINUE, &whole), PITH_OK);
    for (size_t at = 0; at < size;) {
        const uint8_t *line = memchr(text + at, '\n', size - at);
        size_t n = line ? (size_t)(line - text) + 1 - at : size - at; /* a line's end is a byte piece of its own */
        assert_int_equal(tokenizer_encode(ctx, mini, text + at, n, TOKENIZE_CONTINUE, &lines), PITH_OK);
        at += n;
    }
    assert_int_equal(whole.n, lines.n);
    assert_memory_equal(whole.id, lines.id, whole.n * sizeof *whole.id);
    token_list_free(ctx, &whole);
    token_list_free(ctx, &lines);
    free(text);
}

static void special_pieces(void **state) {
    (void)state;
    token_list plain = {0}, special = {0};
    const char *text = "<s>a</s>";
    assert_int_equal(tokenizer_encode(ctx, mini, text, 8, 0, &plain), PITH_OK);
    for (size_t i = 0; i < plain.n; i++) assert_true(plain.id[i] > 2);
    assert_int_equal(tokenizer_encode(ctx, mini, text, 8, TOKENIZE_SPECIAL | TOKENIZE_BOS | TOKENIZE_EOS, &special),
                     PITH_OK);
    assert_int_equal(special.id[0], 1);
    assert_int_equal(special.id[1], 1);
    assert_int_equal(special.id[special.n - 2], 2);
    assert_int_equal(special.id[special.n - 1], 2);
    size_t n;
    tokenizer_piece(mini, 1, false, &n);
    assert_int_equal(n, 0);
    assert_memory_equal(tokenizer_piece(mini, 1, true, &n), "<s>", 3);
    pith_buffer back = {0};
    assert_int_equal(tokenizer_decode(ctx, mini, special.id, special.n, true, &back), PITH_OK);
    assert_int_equal(back.size, 1);
    assert_int_equal(back.data[0], 'a');
    const uint32_t beyond = 4096;
    assert_int_equal(tokenizer_decode(ctx, mini, &beyond, 1, true, &back), PITH_E_ARGUMENT);
    assert_int_equal(back.size, 1);
    pith_buffer_free(ctx, &back);
    token_list_free(ctx, &plain);
    token_list_free(ctx, &special);
}

/* A U+2581 in the text: bytes by default, a space where the references' way is asked for. */
static void written_marks(void **state) {
    (void)state;
    token_list exact = {0}, marks = {0}, spaces = {0};
    assert_int_equal(tokenizer_encode(ctx, mini,
                                      "a\xE2\x96\x81"
                                      "b",
                                      5, 0, &exact),
                     PITH_OK);
    assert_int_equal(tokenizer_encode(ctx, mini,
                                      "a\xE2\x96\x81"
                                      "b",
                                      5, TOKENIZE_MARKS, &marks),
                     PITH_OK);
    assert_int_equal(tokenizer_encode(ctx, mini, "a b", 3, 0, &spaces), PITH_OK);
    assert_int_equal(marks.n, spaces.n);
    assert_memory_equal(marks.id, spaces.id, marks.n * sizeof *marks.id);
    assert_true(exact.n == 5);
    token_list_free(ctx, &exact);
    token_list_free(ctx, &marks);
    token_list_free(ctx, &spaces);
}

static void failing_memory(void **state) {
    (void)state;
    size_t size;
    uint8_t *text = hostile_text(7, &size);
    long n = 0;
    for (bool done = false; !done; n++) {
        data_heap heap = {.fail_at = n, .once = true};
        const pith_allocator allocator = data_heap_allocator(&heap);
        pith_ctx *session = pith_ctx_new(&allocator);
        if (!session) continue;
        tensor_file *again = NULL;
        tokenizer *t = NULL;
        token_list l = {0};
        pith_status st = tensor_file_open(session, PITH_TEST_SOURCE_DIR "/models/pith-mini.f16.gguf", &again);
        if (st == PITH_OK) st = tokenizer_open(session, again, &t);
        if (st == PITH_OK) st = tokenizer_encode(session, t, text, size, TOKENIZE_SPECIAL, &l);
        done = st == PITH_OK;
        if (!done) {
            assert_int_equal(st, PITH_E_MEMORY);
            assert_int_equal(l.n, 0);
        }
        token_list_free(session, &l);
        tokenizer_free(session, t);
        if (again) tensor_file_close(session, again);
        assert_int_equal(pith_memory_used(session), 0);
        pith_ctx_free(session);
    }
    assert_true(n > 10);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(about),          cmocka_unit_test(known_ids),
        cmocka_unit_test(any_bytes),      cmocka_unit_test(same_ids_in_small_pieces),
        cmocka_unit_test(special_pieces), cmocka_unit_test(written_marks),
        cmocka_unit_test(failing_memory),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
