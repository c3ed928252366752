/* Models whose file has no tokenizer: the vocabulary file beside a llama2.c checkpoint or in a folder of safetensors is
 * found under its names, in order, and codes text; archives made with it need the same one; one that does not fit is an
 * error of one line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/tensors/files.h"
#include "lm/lm.h"
#include "pith/file.h"
#include "pith/lm.h"

enum { VOCAB = 8, EMBD = 8, FF = 12, WINDOW = 32 };
static char folder[200];
static pith_ctx *ctx;

static const char *path_of(const char *name) {
    static char path[2][300];
    static unsigned turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void save(const char *name, const void *data, size_t n) {
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void save_and_free(const char *name, bytes *b) {
    save(name, b->data, b->n);
    free(b->data);
}

static void drop(const char *name) { assert_int_equal(unlink(path_of(name)), 0); }

/* ---- models -------------------------------------------------------------------------------------- */

static void put_weights(bytes *b, size_t n) {
    static uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        put_float(b, ((float)(state >> 16) / 65536.0f - 0.5f) / 4);
    }
}

/* One layer, two heads, one of keys and values. */
static void save_checkpoint(const char *name) {
    bytes b = {0};
    const uint32_t head[] = {EMBD, FF, 1, 2, 1, VOCAB, WINDOW};
    for (unsigned i = 0; i < 7; i++) put32(&b, head[i]);
    put_weights(&b, VOCAB * EMBD + EMBD + 64 + 32 + 32 + 64 + EMBD + 3 * EMBD * FF + EMBD + WINDOW * 4);
    save_and_free(name, &b);
}

static void save_safetensors(void) {
    static const struct {
        const char *name;
        unsigned rows, cols; /* rows 0: a vector */
    } tensors[] = {{"embed_tokens", VOCAB, EMBD},
                   {"layers.0.input_layernorm", 0, EMBD},
                   {"layers.0.self_attn.q_proj", EMBD, EMBD},
                   {"layers.0.self_attn.k_proj", EMBD / 2, EMBD},
                   {"layers.0.self_attn.v_proj", EMBD / 2, EMBD},
                   {"layers.0.self_attn.o_proj", EMBD, EMBD},
                   {"layers.0.post_attention_layernorm", 0, EMBD},
                   {"layers.0.mlp.gate_proj", FF, EMBD},
                   {"layers.0.mlp.up_proj", FF, EMBD},
                   {"layers.0.mlp.down_proj", EMBD, FF},
                   {"norm", 0, EMBD}};
    static const char config[] = "{\"model_type\":\"llama\",\"hidden_size\":8,\"num_hidden_layers\":1,"
                                 "\"intermediate_size\":12,\"num_attention_heads\":2,\"num_key_value_heads\":1,"
                                 "\"max_position_embeddings\":32,\"vocab_size\":8,\"rms_norm_eps\":1e-5,"
                                 "\"rope_theta\":10000.0,\"tie_word_embeddings\":true}";
    char header[2048] = "{";
    size_t at = 1, data = 0;
    for (unsigned i = 0; i < PITH_COUNT(tensors); i++) {
        unsigned rows = tensors[i].rows, cols = tensors[i].cols, n = 4 * cols * (rows ? rows : 1);
        char shape[32];
        if (rows)
            snprintf(shape, sizeof shape, "%u,%u", rows, cols);
        else
            snprintf(shape, sizeof shape, "%u", cols);
        at += (size_t)snprintf(header + at, sizeof header - at,
                               "%s\"model.%s.weight\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                               i ? "," : "", tensors[i].name, shape, data, data + n);
        data += n;
    }
    snprintf(header + at, sizeof header - at, "}");
    bytes b = {0};
    put64(&b, strlen(header));
    put(&b, header, strlen(header));
    put_weights(&b, data / 4);
    assert_int_equal(mkdir(path_of("hf"), 0700), 0);
    save_and_free("hf/model.safetensors", &b);
    save("hf/config.json", config, strlen(config));
}

/* ---- vocabularies -------------------------------------------------------------------------------- */

/* llama2.c's: the usual three, a space, letters, and one piece more, which tells the file. */
static void save_pieces(const char *name, const char *last) {
    const char *pieces[VOCAB] = {"<unk>", "\n<s>\n", "\n</s>\n", " ", "a", "b", "c", last};
    bytes b = {0};
    put32(&b, 12);
    for (unsigned i = 0; i < VOCAB; i++) {
        put_float(&b, -(float)i);
        put32(&b, (uint32_t)strlen(pieces[i]));
        put(&b, pieces[i], strlen(pieces[i]));
    }
    save_and_free(name, &b);
}

static void save_json(const char *name, const char *last) {
    char text[512];
    snprintf(text, sizeof text,
             "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"%s\":3},\"merges\":[\"%.1s %s\"]},"
             "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}}",
             last, last, last + 1);
    save(name, text, strlen(text));
}

/* SentencePiece: "<unk>" (kind 2), "a", "b"; trainer: BPE. */
static void save_sentencepiece(const char *name) {
    static const uint8_t model[] = {0x0A, 9,    0x0A, 5,   '<',  'u', 'n',  'k', '>',  0x18, 2, 0x0A,
                                    8,    0x0A, 1,    'a', 0x15, 0,   0,    0,   0xC0, 0x0A, 3, 0x0A,
                                    1,    'b',  0x12, 2,   0x18, 2,   0x1A, 2,   0x18, 0};
    save(name, model, sizeof model);
}

/* The text of the last piece of the tokenizer that the model is opened with; "" for none. */
static const char *last_piece(const char *model) {
    static char text[32];
    lm_model *m;
    text[0] = 0;
    if (lm_open(ctx, path_of(model), &m)) fail_msg("%s: %s", model, pith_error(ctx));
    const tokenizer *t = lm_tokenizer(m);
    if (t) {
        size_t n;
        const char *piece = tokenizer_entry(t, tokenizer_about(t)->n_vocab - 1, &n, NULL, NULL);
        snprintf(text, sizeof text, "%.*s", (int)n, piece);
    }
    lm_close(ctx, m);
    return text;
}

/* ---- what holds ----------------------------------------------------------------------------------- */

static void names(void **state) {
    (void)state;
    assert_string_equal(last_piece("m.bin"), "");
    save_pieces("tok8.bin", "ca");
    assert_string_equal(last_piece("m.bin"), "ca");
    assert_string_equal(last_piece("hf"), "");
    save_pieces("tokenizer.bin", "ab");
    assert_string_equal(last_piece("m.bin"), "ab");
    save_sentencepiece("tokenizer.model");
    assert_string_equal(last_piece("m.bin"), "b");
    save_json("tokenizer.json", "bc");
    assert_string_equal(last_piece("m.bin"), "bc");
    save_pieces("m.tokenizer.bin", "ba");
    assert_string_equal(last_piece("m.bin"), "ba");
    save_json("other.tokenizer.json", "cb");
    assert_string_equal(last_piece("m.bin"), "ba");
    save_json("m.tokenizer.json", "cc");
    assert_string_equal(last_piece("m.bin"), "cc");
    save_json("hf/tokenizer.json", "aa");
    assert_string_equal(last_piece("hf"), "aa");
    drop("hf/tokenizer.json");
    save_pieces("hf/tokenizer.bin", "ac");
    assert_string_equal(last_piece("hf"), "ac");
    drop("hf/tokenizer.bin");
    static const char *const all[] = {"tok8.bin",        "tokenizer.bin",        "tokenizer.model", "tokenizer.json",
                                      "m.tokenizer.bin", "other.tokenizer.json", "m.tokenizer.json"};
    for (unsigned i = 0; i < PITH_COUNT(all); i++) drop(all[i]);
}

static void archive_of(const char *model, const char *vocabulary) {
    uint8_t text[2000], archive[3000], back[sizeof text];
    size_t n, got;
    for (size_t i = 0; i < sizeof text; i++) text[i] = i % 97 == 96 ? '!' : "abc "[i * i / 7 % 4];
    pith_encode_options o;
    pith_encode_options_init(&o);
    o.recipe = "lm";
    pith_ctx *own = pith_ctx_new(NULL), *other = pith_ctx_new(NULL);
    if (pith_lm_use(own, path_of(model))) fail_msg("%s: %s", model, pith_error(own));
    assert_int_equal(pith_file_compress(own, &o, text, sizeof text, archive, sizeof archive, &n), PITH_OK);
    assert_true(n < sizeof text * 2 / 3);
    assert_int_equal(pith_file_decompress(own, NULL, archive, n, back, sizeof back, &got), PITH_OK);
    assert_int_equal(got, sizeof text);
    assert_memory_equal(back, text, got);
    /* With another vocabulary it is another model. */
    if (strstr(vocabulary, ".json"))
        save_json(vocabulary, "bc");
    else
        save_pieces(vocabulary, "bc");
    assert_int_equal(pith_lm_use(other, path_of(model)), PITH_OK);
    assert_int_equal(pith_file_decompress(other, NULL, archive, n, back, sizeof back, &got), PITH_E_UNSUPPORTED);
    assert_non_null(strstr(pith_error(other), "not at hand"));
    pith_ctx_free(own);
    pith_ctx_free(other);
    drop(vocabulary);
}

static void coding(void **state) {
    (void)state;
    save_pieces("tokenizer.bin", "ab");
    archive_of("m.bin", "tokenizer.bin");
    save_json("hf/tokenizer.json", "ab");
    archive_of("hf", "hf/tokenizer.json");
}

/* A tokenizer in the model's own file is not looked for elsewhere, and the file's hash names the model. */
static void own(void **state) {
    (void)state;
    lm_model *m;
    uint8_t hash[16], file_hash[16];
    save("tokenizer.json", "{", 1);
    FILE *from = fopen(PITH_TEST_SOURCE_DIR "/models/pith-mini.f16.gguf", "rb");
    if (from) {
        fclose(from);
        assert_int_equal(symlink(PITH_TEST_SOURCE_DIR "/models/pith-mini.f16.gguf", path_of("own.gguf")), 0);
        assert_int_equal(lm_open(ctx, path_of("own.gguf"), &m), PITH_OK);
        assert_int_equal(lm_hash(ctx, m, hash), PITH_OK);
        lm_default_hash(file_hash);
        assert_memory_equal(hash, file_hash, sizeof hash);
        lm_close(ctx, m);
        drop("own.gguf");
    }
    drop("tokenizer.json");
}

static void refuse(const char *model, pith_status want, const char *says) {
    lm_model *m;
    pith_begin(ctx);
    assert_int_equal(lm_open(ctx, path_of(model), &m), want);
    assert_null(m);
    if (!strstr(pith_error(ctx), says)) fail_msg("says \"%s\", not \"%s\"", pith_error(ctx), says);
    assert_null(strchr(pith_error(ctx), '\n'));
}

static void misfits(void **state) {
    (void)state;
    save("tokenizer.json", "{", 1);
    refuse("m.bin", PITH_E_FORMAT, "/tokenizer.json: tokenizer.json");
    drop("tokenizer.json");
    save("tokenizer.json", "", 0);
    refuse("m.bin", PITH_E_FORMAT, "/tokenizer.json: ");
    drop("tokenizer.json");
    static const char large[] = "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":8},\"merges\":[]},"
                                "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}}";
    save("tokenizer.json", large, strlen(large));
    refuse("m.bin", PITH_E_FORMAT, "/tokenizer.json: ");
    drop("tokenizer.json");
    save("hf/tokenizer.bin", "\1\0\0\0\0\0\0\0\1\0\0\0a", 13);
    refuse("hf", PITH_E_TRUNCATED, "/hf/tokenizer.bin: the vocabulary ends after 1 of 8 pieces");
    drop("hf/tokenizer.bin");
    /* None at all: open, but for those who need one. */
    pith_begin(ctx);
    assert_int_equal(pith_lm_use(ctx, path_of("m.bin")), PITH_E_ARGUMENT);
    assert_non_null(strstr(pith_error(ctx), "tokenizer.json"));
    assert_null(strchr(pith_error(ctx), '\n'));
    assert_int_equal(mkdir(path_of("tokenizer.json"), 0700), 0); /* no file */
    assert_string_equal(last_piece("m.bin"), "");
    assert_int_equal(rmdir(path_of("tokenizer.json")), 0);
}

static int set_up(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/pith-test-XXXXXX", tmp ? tmp : "/tmp");
    ctx = pith_ctx_new(NULL);
    if (!ctx || !mkdtemp(folder)) return -1;
    save_checkpoint("m.bin");
    save_safetensors();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    drop("m.bin");
    drop("hf/model.safetensors");
    drop("hf/config.json");
    rmdir(path_of("hf"));
    pith_ctx_free(ctx);
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(names), cmocka_unit_test(coding), cmocka_unit_test(own),
                                       cmocka_unit_test(misfits)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
