/* Vocabularies that are wrong: each is refused, with the key and the place. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lm/tokenizer/vocab.h"
#include "support/session.h"

static void refuse_gguf(const vocab_spec *v, pith_status want, const char *message) {
    tokenizer *t;
    pith_begin(ctx);
    assert_int_equal(vocab_open(ctx, v, &t), want);
    assert_null(t);
    if (!strstr(pith_error(ctx), message)) fail_msg("\"%s\" does not say \"%s\"", pith_error(ctx), message);
}

static void refuse_bytes(const void *data, size_t size, pith_status want, const char *message) {
    tokenizer *t;
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, data, size);
    pith_begin(ctx);
    assert_int_equal(tokenizer_open_memory(ctx, copy, size, 0, &t), want);
    assert_null(t);
    if (!strstr(pith_error(ctx), message)) fail_msg("\"%s\" does not say \"%s\"", pith_error(ctx), message);
    free(copy);
}
#define REFUSE_JSON(text, want, message) refuse_bytes(text, strlen(text), want, message)

static void gguf_lists(void **state) {
    (void)state;
    static const char *const abc[] = {"a", "b", "ab", NULL}, *const twice[] = {"a", "b", "a", NULL};
    static const char *const none[] = {NULL}, *const good[] = {"a b", NULL}, *const one_half[] = {"a b", "ab", NULL};
    static const char *const stranger[] = {"a b", "b c", NULL}, *const no_result[] = {"b a", NULL},
                             *const byte[] = {"x", NULL};
    static const float score[3] = {0, 0, 0}, bad[3] = {0, INFINITY, 0};
    static const int32_t type[3] = {1, 99, 1}, byte_type[1] = {6};
#define BPE .model = "gpt2", .pre = "gpt-2", .bos = -1
    refuse_gguf(&(vocab_spec){BPE, .token = abc}, PITH_E_FORMAT, "tokenizer.ggml.merges is missing");
    refuse_gguf(&(vocab_spec){BPE, .token = twice, .merge = good}, PITH_E_FORMAT,
                "tokenizer.ggml.tokens[2] repeats piece 0");
    refuse_gguf(&(vocab_spec){BPE, .token = abc, .merge = one_half}, PITH_E_FORMAT, "tokenizer.ggml.merges[1]");
    refuse_gguf(&(vocab_spec){BPE, .token = abc, .merge = stranger}, PITH_E_FORMAT, "merges[1]: the right half");
    refuse_gguf(&(vocab_spec){BPE, .token = abc, .merge = no_result}, PITH_E_FORMAT, "merges[0]: the merged piece");
    refuse_gguf(&(vocab_spec){.model = "gpt2", .pre = "nonesuch", .bos = -1, .token = abc, .merge = good},
                PITH_E_UNSUPPORTED, "\"nonesuch\"");
    refuse_gguf(&(vocab_spec){.model = "llama", .bos = -1, .token = none}, PITH_E_FORMAT, "empty");
    refuse_gguf(&(vocab_spec){.model = "llama", .bos = -1, .token = abc, .score = score, .n_scores = 2}, PITH_E_FORMAT,
                "tokenizer.ggml.scores has 2 entries for 3");
    refuse_gguf(&(vocab_spec){.model = "llama", .bos = -1, .token = abc, .score = bad}, PITH_E_FORMAT,
                "tokens[1] has a score");
    refuse_gguf(&(vocab_spec){.model = "llama", .bos = -1, .token = abc, .type = type, .n_types = 2}, PITH_E_FORMAT,
                "tokenizer.ggml.token_type has 2 entries for 3");
    refuse_gguf(&(vocab_spec){.model = "llama", .bos = -1, .token = abc, .type = type}, PITH_E_FORMAT,
                "unknown kind 99");
    refuse_gguf(&(vocab_spec){.model = "llama", .bos = -1, .token = byte, .type = byte_type}, PITH_E_FORMAT, "<0xNN>");
    refuse_gguf(&(vocab_spec){.model = "llama", .bos = 3, .token = abc}, PITH_E_FORMAT, "bos_token_id is 3");
    refuse_gguf(&(vocab_spec){.model = "plamo2", .bos = -1, .token = abc}, PITH_E_UNSUPPORTED, "\"plamo2\"");
}

#define MODEL_BPE "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[\"a b\"]}"
#define BYTE_LEVEL "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"

static void json_files(void **state) {
    (void)state;
    tokenizer *t;
    static const char good[] = "{" MODEL_BPE "," BYTE_LEVEL "}";
    assert_int_equal(tokenizer_open_memory(ctx, (const uint8_t *)good, strlen(good), 0, &t), PITH_OK);
    ASSERT_IDS(t, "aab", 0, 0, 2);
    tokenizer_free(ctx, t);
    REFUSE_JSON("{", PITH_E_FORMAT, "tokenizer.json");
    REFUSE_JSON("{}", PITH_E_FORMAT, "model.vocab");
    REFUSE_JSON("{\"model\":{\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}," BYTE_LEVEL "}", PITH_E_FORMAT, "duplicate");
    REFUSE_JSON("{\"model\":{\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}," BYTE_LEVEL "}", PITH_E_FORMAT, "id 0 twice");
    REFUSE_JSON("{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}," BYTE_LEVEL "}", PITH_E_FORMAT, "the id of \"a\"");
    REFUSE_JSON("{\"model\":{\"vocab\":{\"a\":99999999},\"merges\":[]}," BYTE_LEVEL "}", PITH_E_FORMAT,
                "the id of \"a\"");
    REFUSE_JSON("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[5]}," BYTE_LEVEL "}", PITH_E_FORMAT, "merges[0]");
    REFUSE_JSON("{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}," BYTE_LEVEL "}", PITH_E_FORMAT, "merges[0]");
    REFUSE_JSON("{\"model\":{\"vocab\":[[\"a\",\"b\"]]}}", PITH_E_FORMAT, "model.vocab[0]");
    REFUSE_JSON("{" MODEL_BPE ",\"pre_tokenizer\":{\"type\":\"Whitespace\"}}", PITH_E_UNSUPPORTED, "\"Whitespace\"");
    REFUSE_JSON("{" MODEL_BPE ",\"normalizer\":{\"type\":\"NFKD\"}," BYTE_LEVEL "}", PITH_E_UNSUPPORTED, "\"NFKD\"");
    REFUSE_JSON("{" MODEL_BPE "," BYTE_LEVEL ",\"post_processor\":{\"type\":\"Odd\"}}", PITH_E_UNSUPPORTED, "\"Odd\"");
    REFUSE_JSON("{" MODEL_BPE ",\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(a+)+$\"}}}",
                PITH_E_UNSUPPORTED, "\"(a+)+$\"");
    REFUSE_JSON("{" MODEL_BPE "," BYTE_LEVEL ",\"added_tokens\":[{\"id\":1,\"content\":\"x\"}]}", PITH_E_FORMAT,
                "added_tokens[0]");
}

static void sentencepiece_files(void **state) {
    (void)state;
    /* Pieces "<unk>" (kind 2), "a", "b"; trainer: BPE. */
    static const uint8_t good[] = {0x0A, 9,    0x0A, 5,   '<',  'u', 'n',  'k', '>',  0x18, 2, 0x0A,
                                   8,    0x0A, 1,    'a', 0x15, 0,   0,    0,   0xC0, 0x0A, 3, 0x0A,
                                   1,    'b',  0x12, 2,   0x18, 2,   0x1A, 2,   0x18, 0};
    tokenizer *t;
    assert_int_equal(tokenizer_open_memory(ctx, good, sizeof good, 0, &t), PITH_OK);
    assert_string_equal(tokenizer_about(t)->kind, "spm");
    ASSERT_IDS(t, "abxy", 0, 1, 2, 0); /* neighbouring unknown characters are one */
    float score;
    size_t size;
    int kind;
    assert_memory_equal(tokenizer_entry(t, 1, &size, &score, &kind), "a", 1);
    assert_true(score == -2.0f && kind == 1 && size == 1);
    tokenizer_free(ctx, t);
    for (size_t n = 0; n < sizeof good; n++) { /* cut anywhere: refused, or a shorter valid message */
        pith_status st = tokenizer_open_memory(ctx, good, n, 0, &t);
        assert_true(st == PITH_OK ? t != NULL : t == NULL);
        tokenizer_free(ctx, t);
    }
    uint8_t bad[sizeof good];
    memcpy(bad, good, sizeof good);
    bad[25] = 'a';
    refuse_bytes(bad, sizeof bad, PITH_E_FORMAT, "pieces[2] repeats piece 1");
    memcpy(bad, good, sizeof good);
    bad[29] = 3;
    refuse_bytes(bad, sizeof bad, PITH_E_UNSUPPORTED, "words");
    memcpy(bad, good, sizeof good);
    bad[12] = 200;
    refuse_bytes(bad, sizeof bad, PITH_E_FORMAT, "damaged near byte");
}

static void llama2c_files(void **state) {
    (void)state;
    static const uint8_t good[] = {7,   0, 0, 0, 0,   0, 0,    0,    5,    0,    0,   0,    '<', 'u',  'n', 'k',
                                   '>', 0, 0, 0, 0,   5, 0,    0,    0,    '\n', '<', 's',  '>', '\n', 0,   0,
                                   0,   0, 6, 0, 0,   0, '\n', '<',  '/',  's',  '>', '\n', 0,   0,    0,   0,
                                   1,   0, 0, 0, ' ', 0, 0,    0x80, 0xBF, 2,    0,   0,    0,   ' ',  'a'};
    tokenizer *t;
    assert_int_equal(tokenizer_open_memory(ctx, good, sizeof good, 0, &t), PITH_OK);
    ASSERT_IDS(t, "a", TOKENIZE_BOS, 1, 4); /* merged although "a" alone is no piece */
    ASSERT_IDS(t, "xa", 0, 3, 0, 0);
    tokenizer_free(ctx, t);
    refuse_bytes(good, sizeof good - 1, PITH_E_FORMAT, "impossible length");
    refuse_bytes(good, 20, PITH_E_TRUNCATED, "cut off");
    refuse_bytes(good, 5, PITH_E_FORMAT, "no vocabulary");
    assert_int_equal(tokenizer_open_memory(ctx, good, sizeof good, 4, &t), PITH_E_FORMAT);
    assert_int_equal(tokenizer_open_memory(ctx, good, sizeof good, 6, &t), PITH_E_TRUNCATED);
    assert_int_equal(tokenizer_open_path(ctx, "/nonexistent/tokenizer.json", 0, &t), PITH_E_IO);
}

/* A charsmap whose numbers point outside of it. */
static void charsmaps(void **state) {
    (void)state;
    static const char *const damaged[] = {"AAAA", "BAAAAP////8AAAAA", "/////wAAAAA=", "BAAAAAAAAAA=", "!!!!"};
    for (size_t i = 0; i < PITH_COUNT(damaged); i++) {
        char json[400];
        tokenizer *t;
        snprintf(json, sizeof json,
                 "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"a\",-1]]},"
                 "\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"%s\"}}",
                 damaged[i]);
        pith_begin(ctx);
        pith_status st = tokenizer_open_memory(ctx, (const uint8_t *)json, strlen(json), 0, &t);
        assert_int_equal(st, PITH_E_FORMAT);
        assert_non_null(strstr(pith_error(ctx), "precompiled_charsmap"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gguf_lists),    cmocka_unit_test(json_files), cmocka_unit_test(sentencepiece_files),
        cmocka_unit_test(llama2c_files), cmocka_unit_test(charsmaps),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
