/* Files made in memory for the tests of this folder, byte by byte, so that they can be broken. */
#ifndef TESTS_TENSORS_FILES_H
#define TESTS_TENSORS_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "formats/tensors/tensors.h"

typedef struct bytes {
    uint8_t *data;
    size_t n, capacity;
} bytes;

static inline void put(bytes *b, const void *data, size_t n) {
    if (b->n + n > b->capacity) {
        b->capacity = 2 * (b->n + n) + 256;
        b->data = realloc(b->data, b->capacity);
        assert_non_null(b->data);
    }
    if (data && n) memcpy(b->data + b->n, data, n);
    if (!data && n) memset(b->data + b->n, 0, n);
    b->n += n;
}
static inline void put32(bytes *b, uint32_t v) {
    uint8_t p[4];
    store32(p, v);
    put(b, p, 4);
}
static inline void put64(bytes *b, uint64_t v) {
    uint8_t p[8];
    store64(p, v);
    put(b, p, 8);
}
static inline void put_string(bytes *b, const char *s) {
    put64(b, strlen(s));
    put(b, s, strlen(s));
}
static inline void put_float(bytes *b, float v) {
    uint32_t bits;
    memcpy(&bits, &v, 4);
    put32(b, bits);
}
static inline void pad_to(bytes *b, size_t alignment) { put(b, NULL, (alignment - b->n % alignment) % alignment); }
static inline void put_text_key(bytes *b, const char *key, const char *value) {
    put_string(b, key);
    put32(b, META_STRING);
    put_string(b, value);
}
static inline void put_u32_key(bytes *b, const char *key, uint32_t value) {
    put_string(b, key);
    put32(b, META_U32);
    put32(b, value);
}
static inline void put_gguf_head(bytes *b, uint64_t n_tensors, uint64_t n_kv) {
    put(b, "GGUF", 4);
    put32(b, 3);
    put64(b, n_tensors);
    put64(b, n_kv);
}
static inline void put_record(bytes *b, const char *name, uint32_t type, uint64_t columns, uint64_t rows,
                              uint64_t offset) {
    put_string(b, name);
    put32(b, 2);
    put64(b, columns);
    put64(b, rows);
    put32(b, type);
    put64(b, offset);
}

/* Opens a copy of exactly n bytes, so that a sanitizer sees every byte read too far. */
static inline pith_status open_copy(pith_ctx *ctx, const uint8_t *data, size_t n, uint8_t **copy, tensor_file **f) {
    *copy = malloc(n ? n : 1);
    assert_non_null(*copy);
    if (n) memcpy(*copy, data, n);
    pith_begin(ctx);
    return tensor_file_open_memory(ctx, *copy, n, f);
}

/* It must be refused with that status and a one-line message that holds `says`; nothing is left behind. */
static inline void refused(const bytes *b, pith_status status, const char *says) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    uint8_t *copy;
    tensor_file *f = NULL;
    pith_status got = open_copy(ctx, b->data, b->n, &copy, &f);
    if (got == PITH_OK) {
        tensor_file_close(ctx, f);
        fail_msg("opened, should say: %s", says);
    }
    if (!strstr(pith_error(ctx), says)) fail_msg("says \"%s\" instead of \"%s\"", pith_error(ctx), says);
    assert_null(strchr(pith_error(ctx), '\n'));
    if (got != status) fail_msg("status %d instead of %d: %s", got, status, pith_error(ctx));
    assert_null(f);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
    free(copy);
}

/* It must open; close with closed(). */
typedef struct opened {
    pith_ctx *ctx;
    uint8_t *copy;
    tensor_file *f;
} opened;
static inline opened accepted(const bytes *b) {
    opened o = {.ctx = pith_ctx_new(NULL)};
    if (open_copy(o.ctx, b->data, b->n, &o.copy, &o.f) != PITH_OK) fail_msg("refused: %s", pith_error(o.ctx));
    return o;
}
static inline void closed(opened *o) {
    tensor_file_close(o->ctx, o->f);
    assert_int_equal(pith_memory_used(o->ctx), 0);
    pith_ctx_free(o->ctx);
    free(o->copy);
}

static inline bool is_text(meta_string s, const char *text) {
    return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0;
}

/* ---- whole small files ---------------------------------------------------------- */

/* Four keys (one an array of strings) and two tensors: t0 of 32 x 2 F32, t1 of 64 x 1 Q8_0. */
static inline bytes small_gguf(void) {
    bytes b = {0};
    put_gguf_head(&b, 2, 4);
    put_text_key(&b, "general.architecture", "llama");
    put_u32_key(&b, "llama.block_count", 1);
    put_string(&b, "a.flag");
    put32(&b, META_BOOL);
    put(&b, "\1", 1);
    put_string(&b, "some.words");
    put32(&b, META_ARRAY);
    put32(&b, META_STRING);
    put64(&b, 2);
    put_string(&b, "one");
    put_string(&b, "");
    put_record(&b, "t0", TENSOR_F32, 32, 2, 0);
    put_record(&b, "t1", TENSOR_Q8_0, 64, 1, 256);
    pad_to(&b, 32);
    put(&b, NULL, 256 + 96);
    return b;
}

/* dim 8, hidden 12, 2 layers, 2 heads of which 1 key-value, vocab 5, 4 positions. */
static inline bytes small_llama2c(int32_t vocab) {
    bytes b = {0};
    const uint32_t head[] = {8, 12, 2, 2, 1, (uint32_t)vocab, 4};
    for (unsigned i = 0; i < 7; i++) put32(&b, head[i]);
    size_t v = (size_t)(vocab < 0 ? -vocab : vocab);
    size_t floats = v * 8 + 2 * (8 + 64 + 32 + 32 + 64 + 8 + 3 * 96) + 8 + 4 * 4 + (vocab < 0 ? v * 8 : 0);
    for (size_t i = 0; i < floats; i++) put_float(&b, (float)i);
    return b;
}

static inline void put_parameter(bytes *b, const char *name, uint32_t columns, uint32_t rows) {
    put32(b, rows ? 2 : 1);
    put32(b, (uint32_t)strlen(name));
    put32(b, 0);
    put32(b, columns);
    if (rows) put32(b, rows);
    put(b, name, strlen(name));
    for (uint32_t i = 0; i < columns * (rows ? rows : 1); i++) put_float(b, 0.5f);
}
static inline bytes small_rwkv(void) {
    bytes b = {0};
    put(&b, "fmgg", 4);
    const uint32_t head[] = {100, 3, 4, 1, 0};
    for (unsigned i = 0; i < 5; i++) put32(&b, head[i]);
    put_parameter(&b, "emb.weight", 4, 3);
    put_parameter(&b, "blocks.0.ln0.weight", 4, 0);
    put_parameter(&b, "blocks.0.att.time_mix_k", 4, 0);
    put_parameter(&b, "blocks.0.att.key.weight", 4, 4);
    put_parameter(&b, "blocks.0.ffn.time_mix_k", 4, 0);
    put_parameter(&b, "blocks.0.ffn.key.weight", 4, 7);
    put_parameter(&b, "head.weight", 4, 3);
    return b;
}

static inline bytes npy_of(uint8_t version, const char *dictionary, size_t data_bytes) {
    bytes b = {0};
    uint8_t head[8] = {0x93, 'N', 'U', 'M', 'P', 'Y', version, 0};
    put(&b, head, 8);
    size_t n = strlen(dictionary) + 1;
    if (version == 1) {
        uint8_t length[2] = {(uint8_t)n, (uint8_t)(n >> 8)};
        put(&b, length, 2);
    } else {
        put32(&b, (uint32_t)n);
    }
    put(&b, dictionary, n - 1);
    put(&b, "\n", 1);
    put(&b, NULL, data_bytes);
    return b;
}

static inline bytes safetensors_of(const char *header, size_t data_bytes) {
    bytes b = {0};
    put64(&b, strlen(header));
    put(&b, header, strlen(header));
    put(&b, NULL, data_bytes);
    return b;
}
static const char small_header[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                                   "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                                   "\"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[24,26]}}";

#endif
