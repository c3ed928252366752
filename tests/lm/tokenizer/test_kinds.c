/* Byte-level BPE, WordPiece, unigram, raw bytes on small vocabularies whose ids can be worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lm/tokenizer/vocab.h"
#include "lm/tokenizer/vocabulary.h"
#include "support/data_heap.h"
#include "support/session.h"

/* 256 bytes in the order of their values, then `more`. */
static const char *const *with_alphabet(const char *const *more) {
    static char alphabet[256][3];
    static const char *list[300];
    for (unsigned b = 0; b < 256; b++) {
        alphabet[b][utf8_write((uint8_t *)alphabet[b], byte_alphabet_code((uint8_t)b))] = 0;
        list[b] = alphabet[b];
    }
    size_t n = 256;
    while (*more) list[n++] = *more++;
    list[n] = NULL;
    return list;
}

static tokenizer *byte_vocabulary(const char *pre) {
    static const char *const pieces[] = {"he",
                                         "ll",
                                         "llo",
                                         "hello",
                                         "\xC4\xA0"
                                         "w",
                                         "12",
                                         "123",
                                         "\xC4\xA0\xC4\xA0",
                                         NULL};
    static const char *const merges[] = {
        "h e", "l l", "ll o", "he llo", "\xC4\xA0 w", "1 2", "12 3", "\xC4\xA0 \xC4\xA0", NULL};
    const vocab_spec v = {.model = "gpt2", .pre = pre, .token = with_alphabet(pieces), .merge = merges, .bos = -1};
    tokenizer *t;
    if (vocab_open(ctx, &v, &t) != PITH_OK) fail_msg("%s", pith_error(ctx));
    return t;
}

enum { HE = 256, LL, LLO, HELLO, SPACE_W, D12, D123, SPACES };

static void alphabet(void **state) {
    (void)state;
    for (unsigned b = 0; b < 256; b++) assert_int_equal(byte_alphabet_byte(byte_alphabet_code((uint8_t)b)), b);
    assert_int_equal(byte_alphabet_code(' '), 0x120);
    assert_int_equal(byte_alphabet_code('\n'), 0x10A);
    assert_int_equal(byte_alphabet_code(173), 0x143);
    assert_int_equal(byte_alphabet_byte(0x144), -1);
    assert_int_equal(byte_alphabet_byte(' '), -1);
}

static void gpt2_words(void **state) {
    (void)state;
    tokenizer *t = byte_vocabulary("gpt-2");
    assert_true(tokenizer_about(t)->byte_exact);
    ASSERT_IDS(t, "hello", 0, HELLO);
    ASSERT_IDS(t, "hell", 0, HE, LL);
    ASSERT_IDS(t, "hello's", 0, HELLO, '\'', 's');
    ASSERT_IDS(t, " w  w", 0, SPACE_W, ' ', SPACE_W); /* of several spaces the last belongs to the word */
    ASSERT_IDS(t, "   ", 0, SPACES, ' ');
    ASSERT_IDS(t, "12345", 0, D123, '4', '5');
    ASSERT_IDS(t, "\xC3\xA9", 0, 0xC3, 0xA9);
    ASSERT_IDS(t, "\xC3 w", 0, 0xC3, SPACE_W); /* half a character */
    tokenizer_free(ctx, t);
}

static void other_words(void **state) {
    (void)state;
    tokenizer *t = byte_vocabulary("llama-bpe"); /* three digits at most, capital contractions */
    ASSERT_IDS(t, "12312", 0, D123, D12);
    ASSERT_IDS(t, "hello\n\n w", 0, HELLO, '\n', '\n', SPACE_W);
    ASSERT_IDS(t, "hello'LLhello", 0, HELLO, '\'', 'L', 'L', HELLO);
    tokenizer_free(ctx, t);
    t = byte_vocabulary("qwen2"); /* digits alone */
    ASSERT_IDS(t, "123", 0, '1', '2', '3');
    tokenizer_free(ctx, t);
    t = byte_vocabulary("default");
    ASSERT_IDS(t, "hello,12", 0, HELLO, ',', D12);
    tokenizer_free(ctx, t);
}

/* Bytes that are no UTF-8 cut words as U+FFFD does, each by itself, and come back. */
static void every_pre_keeps_bytes(void **state) {
    (void)state;
    static const char *const pres[] = {"gpt-2",  "llama3",         "qwen2",       "default", "falcon", "starcoder",
                                       "tekken", "deepseek-coder", "deepseek-v3", "gpt-4o",  "dbrx"};
    for (size_t i = 0; i < PITH_COUNT(pres); i++) {
        tokenizer *t = byte_vocabulary(pres[i]);
        for (unsigned k = 0; k < HOSTILE_TEXTS; k++) {
            size_t size;
            uint8_t *text = hostile_text(k, &size);
            assert_round_trip(ctx, t, text, size, 0);
            for (size_t n = 0; n < 9; n++) assert_round_trip(ctx, t, text, n, 0);
            free(text);
        }
        tokenizer_free(ctx, t);
    }
}

static void whole_words_need_no_merges(void **state) {
    (void)state;
    static const char *const pieces[] = {"word", NULL}, *const merges[] = {NULL};
    const vocab_spec llama = {
        .model = "gpt2", .pre = "llama3", .token = with_alphabet(pieces), .merge = merges, .bos = -1};
    const vocab_spec gpt2 = {
        .model = "gpt2", .pre = "gpt-2", .token = with_alphabet(pieces), .merge = merges, .bos = -1};
    tokenizer *t;
    assert_int_equal(vocab_open(ctx, &llama, &t), PITH_OK);
    ASSERT_IDS(t, "word", 0, 256);
    tokenizer_free(ctx, t);
    assert_int_equal(vocab_open(ctx, &gpt2, &t), PITH_OK);
    ASSERT_IDS(t, "word", 0, 'w', 'o', 'r', 'd');
    tokenizer_free(ctx, t);
}

/* ggml takes the longest user-defined piece first, wherever it stands. */
static void user_pieces(void **state) {
    (void)state;
    static const char *const pieces[] = {"<a>", "xbc", "bcde", NULL}, *const merges[] = {NULL};
    static int32_t type[259];
    for (size_t i = 0; i < 259; i++) type[i] = i < 256 ? 1 : i == 256 ? 3 : 4;
    const vocab_spec v = {
        .model = "gpt2", .pre = "gpt-2", .token = with_alphabet(pieces), .type = type, .merge = merges, .bos = 256};
    tokenizer *t;
    assert_int_equal(vocab_open(ctx, &v, &t), PITH_OK);
    ASSERT_IDS(t, "xbcde xbc", 0, 'x', 258, ' ', 257);
    ASSERT_IDS(t, "<a>", 0, '<', 'a', '>');
    ASSERT_IDS(t, "<a>x", TOKENIZE_SPECIAL | TOKENIZE_BOS, 256, 256, 'x');
    tokenizer_free(ctx, t);
}

static void wordpiece(void **state) {
    (void)state;
    static const char *const pieces[] = {"[PAD]",
                                         "[UNK]",
                                         "\xE2\x96\x81"
                                         "un",
                                         "aff",
                                         "able",
                                         "\xE2\x96\x81,",
                                         "\xE2\x96\x81"
                                         "cafe",
                                         "\xE2\x96\x81\xE4\xB8\xAD",
                                         "\xE2\x96\x81\xE6\x96\x87",
                                         NULL};
    static const int32_t type[] = {3, 3, 1, 1, 1, 1, 1, 1, 1};
    const vocab_spec v = {.model = "bert", .token = pieces, .type = type, .bos = -1};
    tokenizer *t;
    pith_buffer bytes = {0};
    assert_int_equal(vocab_open(ctx, &v, &t), PITH_OK);
    assert_false(tokenizer_about(t)->byte_exact);
    tokenizer_free(ctx, t);
    const char *json = "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"max_input_chars_per_word\":100,"
                       "\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"un\":2,\"##aff\":3,\"##able\":4,\",\":5,\"cafe\":6,"
                       "\"\xE4\xB8\xAD\":7,\"\xE6\x96\x87\":8}},\"normalizer\":{\"type\":\"BertNormalizer\"},"
                       "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}}";
    if (tokenizer_open_memory(ctx, (const uint8_t *)json, strlen(json), 0, &t) != PITH_OK)
        fail_msg("%s", pith_error(ctx));
    ASSERT_IDS(t, "unaffable,UNaffable", 0, 2, 3, 4, 5, 2, 3, 4);
    ASSERT_IDS(t, "Caf\xC3\xA9 cafe\xCC\x81", 0, 6, 6); /* accents and capitals off, composed or not */
    ASSERT_IDS(t, "\xE4\xB8\xAD\xE6\x96\x87", 0, 7, 8); /* each Chinese character a word */
    ASSERT_IDS(t, "unx un\xC2\xADx", 0, 1, 1);          /* U+00AD vanishes, the rest is unknown */
    ASSERT_IDS(t,
               "un\x01"
               "aff",
               0, 2, 3); /* so do controls */
    char longest[400] = "un";
    for (size_t n = 2; n + 3 <= 98; n += 3) strcat(longest, "aff");
    assert_int_equal(strlen(longest), 98);
    token_list l = {0};
    assert_int_equal(tokenizer_encode(ctx, t, longest, 98, 0, &l), PITH_OK);
    assert_int_equal(l.n, 33);
    strcat(longest, "aff"); /* 101 characters */
    l.n = 0;
    assert_int_equal(tokenizer_encode(ctx, t, longest, 101, 0, &l), PITH_OK);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.id[0], 1);
    token_list_free(ctx, &l);
    const uint32_t ids[] = {2, 3, 4, 5};
    assert_int_equal(tokenizer_decode(ctx, t, ids, 4, true, &bytes), PITH_OK);
    assert_int_equal(bytes.size, 11);
    assert_memory_equal(bytes.data, "unaffable ,", 11);
    pith_buffer_free(ctx, &bytes);
    tokenizer_free(ctx, t);
}

/* Scores decide: "ab"+"c" (-3) against "a"+"bc" (-3.5) against "abc" (-4). */
static void unigram(void **state) {
    (void)state;
    static const char *const pieces[] = {"<pad>", "</s>", "<unk>", "\xE2\x96\x81", "a", "b",
                                         "c",     "ab",   "bc",    "abc",          NULL};
    static const float score[] = {0, 0, 0, -1, -1.5f, -9, -1, -2, -2, -4};
    static const int32_t type[] = {3, 3, 2, 1, 1, 1, 1, 1, 1, 1};
    const vocab_spec v = {.model = "t5", .token = pieces, .score = score, .type = type, .bos = -1};
    tokenizer *t;
    assert_int_equal(vocab_open(ctx, &v, &t), PITH_OK);
    ASSERT_IDS(t, "abc", 0, 3, 7, 6);
    ASSERT_IDS(t, "  a   b ", 0, 3, 4, 3, 5);
    ASSERT_IDS(t, "axyzb", TOKENIZE_EOS, 3, 4, 2, 5, 1); /* three unknown characters are one piece */
    assert_ids(ctx, t, "   ", 3, 0, NULL, 0);
    tokenizer_free(ctx, t);
}

/* PCRE2's memory is the session's too. */
static void failing_memory(void **state) {
    (void)state;
    static const char *const pieces[] = {"he", NULL}, *const merges[] = {"h e", NULL};
    const vocab_spec v = {.model = "gpt2", .pre = "llama3", .token = with_alphabet(pieces), .merge = merges, .bos = -1};
    pith_buffer bytes = {0};
    size_t size;
    uint8_t *text = hostile_text(8, &size);
    assert_int_equal(vocab_gguf(ctx, &v, &bytes), PITH_OK);
    long n = 0;
    for (bool done = false; !done; n++) {
        data_heap heap = {.fail_at = n, .once = true};
        const pith_allocator allocator = data_heap_allocator(&heap);
        pith_ctx *session = pith_ctx_new(&allocator);
        if (!session) continue;
        tensor_file *file = NULL;
        tokenizer *t = NULL;
        token_list l = {0};
        pith_status st = tensor_file_open_memory(session, bytes.data, bytes.size, &file);
        if (st == PITH_OK) st = tokenizer_open(session, file, &t);
        if (st == PITH_OK) st = tokenizer_encode(session, t, text, size, TOKENIZE_SPECIAL, &l);
        done = st == PITH_OK;
        if (!done) assert_int_equal(st, PITH_E_MEMORY);
        token_list_free(session, &l);
        tokenizer_free(session, t);
        if (file) tensor_file_close(session, file);
        assert_int_equal(pith_memory_used(session), 0);
        pith_ctx_free(session);
    }
    assert_true(n > 20);
    pith_buffer_free(ctx, &bytes);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alphabet),
        cmocka_unit_test(gpt2_words),
        cmocka_unit_test(other_words),
        cmocka_unit_test(every_pre_keeps_bytes),
        cmocka_unit_test(whole_words_need_no_merges),
        cmocka_unit_test(user_pieces),
        cmocka_unit_test(wordpiece),
        cmocka_unit_test(unigram),
        cmocka_unit_test(failing_memory),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
