/* What the tokenizer's tests share: GGUF vocabularies made in memory, id lists, files.
 * After <cmocka.h>. */
#ifndef LM_TOKENIZER_VOCAB_H
#define LM_TOKENIZER_VOCAB_H

#include <stdio.h>
#include <string.h>

#include "base/sink.h"
#include "lm/tokenizer/tokenizer.h"

typedef struct vocab_spec {
    const char *model, *pre;
    const char *const *token; /* NULL after the last */
    const float *score;       /* NULL: none */
    const int32_t *type;      /* NULL: none */
    const char *const *merge; /* NULL: none */
    size_t n_scores, n_types; /* 0: as many as tokens */
    int64_t bos;              /* -1: not said */
    bool no_prefix;
} vocab_spec;

static inline size_t vocab_list(const char *const *list, meta_string *out) {
    size_t n = 0;
    for (; list && list[n]; n++) out[n] = (meta_string){list[n], strlen(list[n])};
    return n;
}

static inline pith_status vocab_gguf(pith_ctx *session, const vocab_spec *v, pith_buffer *out) {
    static meta_string strings[4096];
    gguf_writer *w = NULL;
    pith_sink to = {session, out};
    pith_status st = gguf_writer_new(session, &w);
    size_t n = vocab_list(v->token, strings);
    if (st == PITH_OK) st = gguf_put_text(session, w, "tokenizer.ggml.model", v->model, strlen(v->model));
    if (st == PITH_OK && v->pre) st = gguf_put_text(session, w, "tokenizer.ggml.pre", v->pre, strlen(v->pre));
    if (st == PITH_OK) st = gguf_put_strings(session, w, "tokenizer.ggml.tokens", strings, n);
    if (st == PITH_OK && v->score)
        st = gguf_put_array(session, w, "tokenizer.ggml.scores", META_F32, v->score, v->n_scores ? v->n_scores : n);
    if (st == PITH_OK && v->type)
        st = gguf_put_array(session, w, "tokenizer.ggml.token_type", META_I32, v->type, v->n_types ? v->n_types : n);
    n = vocab_list(v->merge, strings);
    if (st == PITH_OK && v->merge) st = gguf_put_strings(session, w, "tokenizer.ggml.merges", strings, n);
    if (st == PITH_OK && v->bos >= 0) st = gguf_put_u32(session, w, "tokenizer.ggml.bos_token_id", (uint32_t)v->bos);
    if (st == PITH_OK && v->no_prefix) st = gguf_put_bool(session, w, "tokenizer.ggml.add_space_prefix", false);
    if (st == PITH_OK) st = gguf_write_head(session, w, pith_sink_write, &to);
    gguf_writer_free(session, w);
    return st;
}

/* Reads the vocabulary back through a GGUF file in memory. */
static inline pith_status vocab_open(pith_ctx *session, const vocab_spec *v, tokenizer **out) {
    pith_buffer bytes = {0};
    tensor_file *f = NULL;
    *out = NULL;
    pith_status st = vocab_gguf(session, v, &bytes);
    if (st == PITH_OK) st = tensor_file_open_memory(session, bytes.data, bytes.size, &f);
    if (st == PITH_OK) {
        st = tokenizer_open(session, f, out);
        tensor_file_close(session, f);
    }
    pith_buffer_free(session, &bytes);
    return st;
}

static inline uint64_t ids_hash(const token_list *l) {
    uint64_t h = UINT64_C(0xCBF29CE484222325); /* FNV-1a over whole ids */
    for (size_t i = 0; i < l->n; i++) h = (h ^ l->id[i]) * UINT64_C(0x100000001B3);
    return h;
}

static inline void assert_ids(pith_ctx *session, const tokenizer *t, const char *text, size_t size, unsigned flags,
                              const uint32_t *want, size_t n) {
    token_list l = {0};
    if (tokenizer_encode(session, t, text, size, flags, &l) != PITH_OK) fail_msg("%s", pith_error(session));
    assert_int_equal(l.n, n);
    for (size_t i = 0; i < n; i++)
        if (l.id[i] != want[i]) fail_msg("\"%s\": id %zu is %u, not %u", text, i, l.id[i], want[i]);
    token_list_free(session, &l);
}
#define ASSERT_IDS(t, text, flags, ...)                                                                                \
    do {                                                                                                               \
        const uint32_t want_[] = {__VA_ARGS__};                                                                        \
        assert_ids(ctx, t, text, strlen(text), flags, want_, sizeof want_ / sizeof *want_);                            \
    } while (0)

/* decode(encode(x)) is x. */
static inline void assert_round_trip(pith_ctx *session, const tokenizer *t, const void *text, size_t size,
                                     unsigned flags) {
    token_list l = {0};
    pith_buffer back = {0};
    assert_int_equal(tokenizer_encode(session, t, text, size, flags, &l), PITH_OK);
    assert_int_equal(tokenizer_decode(session, t, l.id, l.n, !(flags & TOKENIZE_CONTINUE), &back), PITH_OK);
    assert_int_equal(back.size, size);
    if (size) assert_memory_equal(back.data, text, size);
    token_list_free(session, &l);
    pith_buffer_free(session, &back);
}

static inline uint8_t *file_bytes(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    *size = 0;
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *p = malloc(*size + 1);
    assert_non_null(p);
    assert_int_equal(fread(p, 1, *size, f), *size);
    p[*size] = 0;
    fclose(f);
    return p;
}

/* Texts of the kind that breaks tokenizers; freed with free. */
enum { HOSTILE_TEXTS = 9 };
static inline uint8_t *hostile_text(unsigned which, size_t *size) {
    static const char *const repeat[HOSTILE_TEXTS] = {"a",
                                                      " ",
                                                      "\n",
                                                      " \n\t\r\n",
                                                      "\xED\xA0\x80\xC0\xAF\xFF\xFE a",
                                                      "\xE2 \xE2\x96 \xE2\x96\x81\xE2\x96"
                                                      "a\x81",
                                                      "\xE6\x97\xA5\xE6\x9C\xAC\xF0\x9F\x98",
                                                      "<s>\xC3\xA9 </s><unk> ",
                                                      NULL};
    size_t n = which < 3 ? 100000 : 6000, step = repeat[which] ? strlen(repeat[which]) : 0;
    uint8_t *p = malloc(n);
    uint32_t r = 12345;
    assert_non_null(p);
    for (size_t i = 0; i < n; i++) {
        r = r * 1664525u + 1013904223u;
        p[i] = step ? (uint8_t)repeat[which][i % step] : (uint8_t)(r >> 24);
    }
    *size = n;
    return p;
}

#endif
