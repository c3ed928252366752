/* Real vocabularies against llama.cpp's own test vectors (ggml-vocab-NAME.gguf.inp and .out), where
 * PITH_TEST_MODELS names a folder with them, itself or in its subfolder tok. NAME.gguf, or
 * NAME-tokenizer.json, is the vocabulary. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lm/tokenizer/vocab.h"
#include "support/session.h"

static uint8_t *model_file(const char *name, size_t *size, char *path, size_t path_size) {
    const char *folder = getenv("PITH_TEST_MODELS");
    if (!folder) return NULL;
    snprintf(path, path_size, "%s/%s", folder, name);
    uint8_t *p = file_bytes(path, size);
    if (p) return p;
    snprintf(path, path_size, "%s/tok/%s", folder, name);
    return file_bytes(path, size);
}

static tokenizer *open_vocabulary(const char *name, tensor_file **f) {
    char path[700];
    size_t size;
    tokenizer *t = NULL;
    *f = NULL;
    uint8_t *bytes = model_file(name, &size, path, sizeof path);
    if (!bytes) return NULL;
    free(bytes);
    bool gguf = strlen(name) > 5 && strcmp(name + strlen(name) - 5, ".gguf") == 0;
    pith_status st = gguf ? tensor_file_open(ctx, path, f) : PITH_OK;
    if (st == PITH_OK) st = gguf ? tokenizer_open(ctx, *f, &t) : tokenizer_open_path(ctx, path, 0, &t);
    if (st != PITH_OK) fail_msg("%s: %s", path, pith_error(ctx));
    return t;
}

/* One line of numbers; what follows it. */
static const char *take_line(const char *p, token_list *l) {
    l->n = 0;
    while (*p && *p != '\n') {
        char *end;
        uint32_t id = (uint32_t)strtoul(p, &end, 10);
        if (end == p) break;
        assert_int_equal(token_list_append(ctx, l, &id, 1), PITH_OK);
        p = end;
    }
    p = strchr(p, '\n');
    return p ? p + 1 : "";
}

static const char separator[] = "\n__ggml_vocab_test__\n";

static void compare(const char *vocabulary, const char *vectors) {
    char path[700], name[100];
    size_t in_size, out_size;
    tensor_file *f;
    tokenizer *t = open_vocabulary(vocabulary, &f);
    snprintf(name, sizeof name, "ggml-vocab-%s.gguf.inp", vectors);
    char *in = (char *)model_file(name, &in_size, path, sizeof path);
    snprintf(name, sizeof name, "ggml-vocab-%s.gguf.out", vectors);
    char *out = (char *)model_file(name, &out_size, path, sizeof path);
    if (!t || !in || !out) {
        print_message("%s: not there, skipped\n", vocabulary);
    } else {
        token_list want = {0}, got = {0};
        const char *answer = out;
        unsigned n = 0;
        for (char *p = in, *end; *p && (end = strstr(p, separator)) != NULL; p = end + strlen(separator), n++) {
            answer = take_line(answer, &want);
            got.n = 0;
            assert_int_equal(tokenizer_encode(ctx, t, p, (size_t)(end - p), TOKENIZE_MARKS, &got), PITH_OK);
            if (got.n != want.n || (got.n && memcmp(got.id, want.id, got.n * sizeof *got.id) != 0))
                fail_msg("%s: text %u, %.*s", vocabulary, n, (int)(end - p), p);
        }
        assert_true(n >= 40);
        token_list_free(ctx, &want);
        token_list_free(ctx, &got);
    }
    free(in);
    free(out);
    tokenizer_free(ctx, t);
    if (f) tensor_file_close(ctx, f);
}

static void vectors_of_llama_cpp(void **state) {
    (void)state;
    static const char *const names[] = {"gpt-2",  "llama-spm", "phi-3",          "mpt",
                                        "refact", "falcon",    "deepseek-coder", "bert-bge"};
    for (size_t i = 0; i < PITH_COUNT(names); i++) {
        char file[64];
        snprintf(file, sizeof file, "ggml-vocab-%s.gguf", names[i]);
        compare(file, names[i]);
    }
    compare("llama3-tokenizer.json", "llama-bpe");
    compare("qwen2_5-tokenizer.json", "qwen2");
    compare("minilm-tokenizer.json", "bert-bge");
}

/* The same vocabulary through three formats. */
static void formats_agree(void **state) {
    (void)state;
    size_t size;
    tensor_file *f, *none;
    tokenizer *gguf = open_vocabulary("tinyllama.gguf", &f), *model = open_vocabulary("llama2_tokenizer.model", &none);
    uint8_t *text = file_bytes(PITH_TEST_SOURCE_DIR "/tests/data/html", &size);
    assert_non_null(text);
    token_list a = {0}, b = {0};
    if (gguf && model) {
        assert_int_equal(tokenizer_encode(ctx, gguf, text, size, 0, &a), PITH_OK);
        assert_int_equal(tokenizer_encode(ctx, model, text, size, 0, &b), PITH_OK);
        assert_int_equal(a.n, b.n);
        assert_memory_equal(a.id, b.id, a.n * sizeof *a.id);
    }
    token_list_free(ctx, &a);
    token_list_free(ctx, &b);
    tokenizer_free(ctx, gguf);
    tokenizer_free(ctx, model);
    if (f) tensor_file_close(ctx, f);
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors_of_llama_cpp), cmocka_unit_test(formats_agree)};
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
