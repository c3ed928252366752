/* GGUF: what a good file shows, and every way in which a broken one is refused. */
#include "formats/tensors/files.h"

#include <time.h>

static void good_file(void **state) {
    (void)state;
    bytes b = small_gguf();
    opened o = accepted(&b);
    const tensor_file *f = o.f;
    assert_string_equal(f->format, "gguf");
    assert_int_equal(f->version, 3);
    assert_int_equal(f->alignment, 32);
    assert_int_equal(f->n_meta, 4);
    assert_int_equal(f->n_tensors, 2);
    assert_int_equal(f->data_offset % 32, 0);
    meta_string text;
    uint64_t number, cursor = 0;
    double real;
    bool flag;
    assert_true(meta_text(f, "general.architecture", &text) && is_text(text, "llama"));
    assert_true(meta_u64(f, "llama.block_count", &number) && number == 1);
    assert_true(meta_f64(f, "llama.block_count", &real) && real == 1);
    assert_true(meta_bool(f, "a.flag", &flag) && flag);
    assert_false(meta_u64(f, "a.flag", &number));
    assert_false(meta_u64(f, "no.such.key", &number));
    const meta_value *words = meta_find(f, "some.words");
    assert_int_equal(words->count, 2);
    assert_true(meta_next_string(words, &cursor, &text) && is_text(text, "one"));
    assert_true(meta_next_string(words, &cursor, &text) && is_text(text, ""));
    assert_false(meta_next_string(words, &cursor, &text));
    const tensor_view *t = tensor_find(f, "t1");
    assert_int_equal(t->type, TENSOR_Q8_0);
    assert_int_equal(t->ne[0], 64);
    assert_int_equal(t->ne[2], 1);
    assert_int_equal(t->bytes, 68);
    assert_int_equal(t->offset, f->data_offset + 256);
    assert_ptr_equal(t->data, o.copy + t->offset);
    assert_null(tensor_find(f, "t2"));
    closed(&o);
    free(b.data);
}

/* A good file with n bytes at `at` replaced. */
static void patched(size_t at, const void *data, size_t n, pith_status status, const char *says) {
    bytes b = small_gguf();
    memcpy(b.data + at, data, n);
    refused(&b, status, says);
    free(b.data);
}

static size_t find(const bytes *b, const char *text) {
    for (size_t i = 0; i + strlen(text) <= b->n; i++)
        if (memcmp(b->data + i, text, strlen(text)) == 0) return i;
    fail_msg("no %s", text);
    return 0;
}

/* The bytes `skip` behind a text, replaced by a number. */
static void patched_behind(const char *text, size_t skip, uint64_t value, size_t n, pith_status status,
                           const char *says) {
    bytes b = small_gguf();
    uint8_t number[8];
    store64(number, value);
    memcpy(b.data + find(&b, text) + strlen(text) + skip, number, n);
    refused(&b, status, says);
    free(b.data);
}

static void magic_and_version(void **state) {
    (void)state;
    bytes b = small_gguf();
    for (size_t n = 0; n < 24; n++) {
        bytes cut = {b.data, n, n};
        refused(&cut, PITH_E_TRUNCATED, " at byte ");
    }
    patched(0, "GGUX", 4, PITH_E_FORMAT, "magic at byte 0");
    patched(0, "FUGG", 4, PITH_E_UNSUPPORTED, "magic at byte 0: big-endian");
    patched(4, "\0\0\0\0", 4, PITH_E_FORMAT, "version at byte 4: 0 is not known");
    patched(4, "\1\0\0\0", 4, PITH_E_UNSUPPORTED, "version at byte 4: version 1");
    patched(4, "\4\0\0\0", 4, PITH_E_FORMAT, "version at byte 4: 4 is not known");
    patched(4, "\0\0\0\3", 4, PITH_E_UNSUPPORTED, "version at byte 4: the file is big-endian");
    memcpy(b.data + 4, "\2", 1); /* version 2 has the same layout */
    opened o = accepted(&b);
    assert_int_equal(o.f->version, 2);
    closed(&o);
    free(b.data);
}

static void counts(void **state) {
    (void)state;
    static const uint8_t minus_one[8] = {255, 255, 255, 255, 255, 255, 255, 255};
    static const uint8_t huge[8] = {0, 0, 0, 0, 0, 0, 0, 64}, many[8] = {200, 0, 0, 0, 0, 0, 0, 0};
    patched(8, minus_one, 8, PITH_E_FORMAT, "n_tensors at byte 8: -1 is negative");
    patched(16, minus_one, 8, PITH_E_FORMAT, "n_kv at byte 16: -1 is negative");
    patched(8, huge, 8, PITH_E_TRUNCATED, "n_tensors at byte 8: ");
    patched(16, huge, 8, PITH_E_TRUNCATED, "n_kv at byte 16: ");
    patched(8, many, 8, PITH_E_TRUNCATED, "n_tensors at byte 8: 200 do not fit");
    /* Each alone fits, but not both. */
    bytes b = small_gguf();
    uint64_t left = b.n - 24;
    store64(b.data + 8, left / 25);
    store64(b.data + 16, left / 14);
    refused(&b, PITH_E_TRUNCATED, "n_tensors at byte 8: ");
    free(b.data);
}

static void strings_and_arrays(void **state) {
    (void)state;
    uint8_t length[8];
    store64(length, (uint64_t)1 << 40);
    patched(24, length, 8, PITH_E_TRUNCATED, "key at byte 24: length 1099511627776");
    store64(length, 0);
    patched(24, length, 8, PITH_E_FORMAT, "key at byte 24: 0 bytes");
    patched_behind("general.architecture", 4, UINT64_MAX, 8, PITH_E_TRUNCATED, "value of a string at byte 56: length");
    patched_behind("some.words", 8, UINT64_MAX, 8, PITH_E_FORMAT, "count of an array at byte");
    patched_behind("some.words", 8, (uint64_t)1 << 61, 8, PITH_E_TRUNCATED, "count of an array at byte");
    patched_behind("some.words", 8, 30, 8, PITH_E_TRUNCATED, " at byte ");
    patched_behind("some.words", 4, META_ARRAY, 4, PITH_E_FORMAT, "element type of some.words at byte");
    patched_behind("some.words", 4, 13, 4, PITH_E_FORMAT, "element type of some.words at byte");
    patched_behind("some.words", 0, 13, 4, PITH_E_FORMAT, "type of some.words at byte");
    patched_behind("a.flag", 4, 2, 1, PITH_E_FORMAT, "value of a.flag at byte");
    bytes b = {0}; /* bools of an array too */
    put_gguf_head(&b, 0, 1);
    put_string(&b, "flags");
    put32(&b, META_ARRAY);
    put32(&b, META_BOOL);
    put64(&b, 3);
    put(&b, "\0\1\2", 3);
    refused(&b, PITH_E_FORMAT, "value of flags at byte 55: a bool is 0 or 1, not 2");
    free(b.data);
}

static void keys(void **state) {
    (void)state;
    bytes b = {0};
    put_gguf_head(&b, 0, 2);
    put_u32_key(&b, "twice", 1);
    put_u32_key(&b, "twice", 2);
    refused(&b, PITH_E_FORMAT, "key at byte 53: twice is there twice");
    b.n = 0;
    put_gguf_head(&b, 0, 1);
    put64(&b, 70000);
    for (unsigned i = 0; i < 70000; i++) put(&b, "k", 1);
    put32(&b, META_U32);
    put32(&b, 1);
    refused(&b, PITH_E_FORMAT, "key at byte 24: 70000 bytes");
    free(b.data);
    patched_behind("general.arch", 0, 0, 1, PITH_E_FORMAT, "key at byte 24: holds a NUL");
}

/* One tensor of this record in front of 4096 bytes. */
static void record(const char *name, size_t name_n, uint32_t n_dims, const uint64_t *ne, uint32_t type, uint64_t offset,
                   pith_status status, const char *says) {
    bytes b = {0};
    put_gguf_head(&b, 1, 0);
    put64(&b, name_n);
    put(&b, name, name_n);
    put32(&b, n_dims);
    for (unsigned i = 0; i < n_dims; i++) put64(&b, ne[i]);
    put32(&b, type);
    put64(&b, offset);
    pad_to(&b, 32);
    put(&b, NULL, 4096);
    if (status) {
        refused(&b, status, says);
    } else {
        opened o = accepted(&b);
        closed(&o);
    }
    free(b.data);
}

static void tensor_records(void **state) {
    (void)state;
    char name[80];
    const uint64_t fine[] = {32, 2}, five[] = {1, 1, 1, 1, 1}, negative[] = {32, UINT64_MAX}, odd[] = {33, 1};
    /* 2^62 x 4 wraps to 0 when only the whole product is looked at; so does 2^32 x 2^32. */
    const uint64_t wraps[] = {(uint64_t)1 << 62, 4, 32, 2}, square[] = {(uint64_t)1 << 32, (uint64_t)1 << 32};
    const uint64_t wide[] = {(uint64_t)1 << 62}, none[] = {0, 7}, zeros[] = {0, (uint64_t)1 << 62, (uint64_t)1 << 62};
    memset(name, 'n', sizeof name);
    record("t", 1, 2, fine, TENSOR_F32, 0, PITH_OK, NULL);
    record(name, 63, 2, fine, TENSOR_F32, 0, PITH_OK, NULL);
    record(name, 64, 2, fine, TENSOR_F32, 0, PITH_E_FORMAT, "tensor name at byte 24: 64 bytes");
    record("", 0, 2, fine, TENSOR_F32, 0, PITH_E_FORMAT, "tensor name at byte 24: 0 bytes");
    record("a\0b", 3, 2, fine, TENSOR_F32, 0, PITH_E_FORMAT, "tensor name at byte 24: holds a NUL");
    record("t", 1, 5, five, TENSOR_F32, 0, PITH_E_FORMAT, "n_dims of t at byte 33: 5");
    record("t", 1, 2, negative, TENSOR_F32, 0, PITH_E_FORMAT, "ne[1] of t at byte 37: -1 is negative");
    record("t", 1, 4, wraps, TENSOR_F32, 0, PITH_E_FORMAT, "ne[1] of t at byte 37: the number of elements overflows");
    record("t", 1, 2, square, TENSOR_F32, 0, PITH_E_FORMAT, "ne[1] of t at byte 37: the number of elements overflows");
    record("t", 1, 1, wide, TENSOR_F32, 0, PITH_E_FORMAT, "shape of t at byte 37: ");
    record("t", 1, 2, none, TENSOR_F32, 0, PITH_OK, NULL);
    record("t", 1, 3, zeros, TENSOR_F32, 0, PITH_OK, NULL);
    record("t", 1, 2, odd, TENSOR_Q8_0, 0, PITH_E_FORMAT, "ne[0] of t at byte 37: 33 is no multiple of 32");
    static const uint32_t unknown[] = {4, 5, 31, 32, 33, 36, 37, 38, 200, 1000, UINT32_MAX};
    for (unsigned i = 0; i < PITH_COUNT(unknown); i++)
        record("t", 1, 2, fine, unknown[i], 0, PITH_E_FORMAT, "type of t at byte 53: ");
    record("t", 1, 2, fine, TENSOR_F32, 8, PITH_E_FORMAT, "offset of t, record at byte 24: 8 is no multiple of 32");
    record("t", 1, 2, fine, TENSOR_F32, 3840, PITH_OK, NULL);
    record("t", 1, 2, fine, TENSOR_F32, 3872, PITH_E_TRUNCATED, "data of t at byte 3968: 256 bytes");
    record("t", 1, 2, fine, TENSOR_F32, UINT64_MAX - 31, PITH_E_FORMAT, "offset of t, record at byte 24: ");
    record("t", 1, 2, fine, TENSOR_F32, (uint64_t)1 << 63, PITH_E_TRUNCATED, "data of t at byte ");
}

static void names_and_overlaps(void **state) {
    (void)state;
    bytes b = {0};
    put_gguf_head(&b, 2, 0);
    put_record(&b, "same", TENSOR_F32, 8, 1, 0);
    put_record(&b, "same", TENSOR_F32, 8, 1, 32);
    pad_to(&b, 32);
    put(&b, NULL, 64);
    refused(&b, PITH_E_FORMAT, "tensor name at byte 68: same is there twice");
    b.n = 0;
    put_gguf_head(&b, 3, 0);
    put_record(&b, "c", TENSOR_F32, 8, 1, 96);
    put_record(&b, "a", TENSOR_F32, 8, 2, 0);
    put_record(&b, "b", TENSOR_F32, 8, 1, 32);
    pad_to(&b, 32);
    put(&b, NULL, 128);
    refused(&b, PITH_E_FORMAT, "offset of b, record at byte 106: overlaps a at byte ");
    /* Any order and holes are fine. */
    b.n = 0;
    put_gguf_head(&b, 3, 0);
    put_record(&b, "c", TENSOR_F32, 8, 1, 160);
    put_record(&b, "a", TENSOR_F32, 8, 2, 0);
    put_record(&b, "b", TENSOR_F32, 8, 1, 64);
    pad_to(&b, 32);
    put(&b, NULL, 192);
    opened o = accepted(&b);
    closed(&o);
    free(b.data);
}

static void alignment_key(uint32_t type, uint64_t value, pith_status status) {
    bytes b = {0};
    put_gguf_head(&b, 1, 1);
    put_string(&b, "general.alignment");
    put32(&b, type);
    put64(&b, value);
    b.n -= type == META_U32 ? 4 : 0;
    put_record(&b, "t", TENSOR_F32, 8, 1, 0);
    pad_to(&b, status ? 32 : (size_t)value);
    put(&b, NULL, 64);
    if (status) {
        refused(&b, status, "general.alignment at byte 53: ");
    } else {
        opened o = accepted(&b);
        assert_int_equal(o.f->alignment, value);
        assert_int_equal(o.f->data_offset % value, 0);
        closed(&o);
    }
    free(b.data);
}

static void alignment(void **state) {
    (void)state;
    alignment_key(META_U32, 8, PITH_OK);
    alignment_key(META_U32, 256, PITH_OK);
    alignment_key(META_U32, 0, PITH_E_FORMAT);
    alignment_key(META_U32, 24, PITH_E_FORMAT);
    alignment_key(META_U32, 1u << 21, PITH_E_FORMAT);
    alignment_key(META_U32, UINT32_MAX, PITH_E_FORMAT);
    alignment_key(META_U64, 32, PITH_E_FORMAT);
}

/* token_embd of 64 x 3 and these keys: type, value. */
typedef struct key {
    const char *name;
    meta_type type;
    uint32_t value;
} key;

static void model_with(const key *list, unsigned n, unsigned n_tokens, pith_status status, const char *says) {
    bytes b = {0};
    put_gguf_head(&b, 1, n + 1 + (n_tokens ? 1 : 0));
    put_text_key(&b, "general.architecture", "llama");
    for (unsigned i = 0; i < n; i++) {
        put_string(&b, list[i].name);
        put32(&b, list[i].type);
        put32(&b, list[i].value);
    }
    if (n_tokens) {
        put_string(&b, "tokenizer.ggml.tokens");
        put32(&b, META_ARRAY);
        put32(&b, META_STRING);
        put64(&b, n_tokens);
        for (unsigned i = 0; i < n_tokens; i++) put_string(&b, "x");
    }
    put_record(&b, "token_embd.weight", TENSOR_F32, 64, 3, 0);
    pad_to(&b, 32);
    put(&b, NULL, 64 * 3 * 4);
    if (status) {
        refused(&b, status, says);
    } else {
        opened o = accepted(&b);
        closed(&o);
    }
    free(b.data);
}

#define MODEL(n_tokens, status, says, ...) \
    model_with((const key[]){__VA_ARGS__}, PITH_COUNT(((const key[]){__VA_ARGS__})), n_tokens, status, says)

static void hyper_parameters(void **state) {
    (void)state;
    MODEL(3, PITH_OK, NULL, {"llama.embedding_length", META_U32, 64}, {"llama.attention.head_count", META_U32, 4},
          {"llama.attention.head_count_kv", META_U32, 2}, {"llama.vocab_size", META_U32, 3},
          {"tokenizer.ggml.bos_token_id", META_U32, 2}, {"tokenizer.ggml.eos_token_id", META_U32, UINT32_MAX},
          {"llama.rope.freq_base", META_F32, 0x461c4000});
    MODEL(0, PITH_E_FORMAT, "llama.embedding_length at byte ", {"llama.embedding_length", META_U32, 65});
    MODEL(0, PITH_E_FORMAT, "llama.attention.head_count at byte ", {"llama.embedding_length", META_U32, 64},
          {"llama.attention.head_count", META_U32, 5});
    MODEL(0, PITH_E_FORMAT, "llama.attention.head_count_kv at byte ", {"llama.embedding_length", META_U32, 64},
          {"llama.attention.head_count", META_U32, 4}, {"llama.attention.head_count_kv", META_U32, 3});
    MODEL(0, PITH_E_FORMAT, "llama.vocab_size at byte ", {"llama.vocab_size", META_U32, 4});
    MODEL(4, PITH_E_FORMAT, "tokenizer.ggml.tokens at byte ", {"llama.vocab_size", META_U32, 3});
    MODEL(3, PITH_E_FORMAT, "tokenizer.ggml.bos_token_id at byte ", {"tokenizer.ggml.bos_token_id", META_U32, 3});
    MODEL(0, PITH_E_FORMAT, "llama.rope.freq_base at byte ", {"llama.rope.freq_base", META_F32, 0x7fc00000});
    MODEL(0, PITH_E_FORMAT, "llama.rope.freq_base at byte ", {"llama.rope.freq_base", META_F32, 0x7f800000});
}

static void memory_is_counted(void **state) {
    (void)state;
    bytes b = {0};
    put_gguf_head(&b, 0, 5000);
    for (unsigned i = 0; i < 5000; i++) {
        char name[16];
        snprintf(name, sizeof name, "k%u", i);
        put_u32_key(&b, name, i);
    }
    pith_ctx *ctx = pith_ctx_new(NULL);
    tensor_file *f;
    pith_ctx_set_memory(ctx, 100000);
    assert_int_equal(tensor_file_open_memory(ctx, b.data, b.n, &f), PITH_E_LIMIT);
    assert_int_equal(pith_memory_used(ctx), 0);
    assert_true(pith_memory_peak(ctx) <= 100000);
    pith_ctx_set_memory(ctx, 1 << 20);
    assert_int_equal(tensor_file_open_memory(ctx, b.data, b.n, &f), PITH_OK);
    tensor_file_close(ctx, f);
    pith_ctx_free(ctx);
    free(b.data);
}

/* Linear in the number of tensors: 10^5 take a fraction of a second, also under a sanitizer. */
static void many_tensors(void **state) {
    (void)state;
    bytes b = {0};
    const unsigned n = 100000;
    put_gguf_head(&b, n, 0);
    for (unsigned i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "blk.%u.weight", i);
        put_record(&b, name, TENSOR_F32, 8, 1, 32 * (uint64_t)(n - 1 - i)); /* backwards: the ranges must be sorted */
    }
    pad_to(&b, 32);
    put(&b, NULL, 32 * (size_t)n);
    clock_t start = clock();
    opened o = accepted(&b);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    print_message("%u tensors: %.3f s\n", n, seconds);
    assert_true(seconds < 2);
    assert_non_null(tensor_find(o.f, "blk.99999.weight"));
    closed(&o);
    free(b.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_file),         cmocka_unit_test(magic_and_version),  cmocka_unit_test(counts),
        cmocka_unit_test(strings_and_arrays), cmocka_unit_test(keys),               cmocka_unit_test(tensor_records),
        cmocka_unit_test(names_and_overlaps), cmocka_unit_test(alignment),          cmocka_unit_test(hyper_parameters),
        cmocka_unit_test(memory_is_counted), cmocka_unit_test(many_tensors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
