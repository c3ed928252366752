/* Keys and values in every type that a cache may have: logits known to the bit, the same as those of a store of
 * floats that holds what the blocks mean, whatever the cut of the prompt, the threads and the neighbours; how much
 * memory they take, how far off they are, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lm/cache_store.h"
#include "lm/over_plain.h"
#include "lm/tiny_model.h"

enum { N_PROMPT = 80, VOCAB = 4096 };

static pith_ctx *ctx;
static lm_model *model;
static uint32_t prompt[N_PROMPT];
static float floats[VOCAB]; /* the last logits of the prompt with a cache of floats */

static const tensor_type all_types[] = {TENSOR_F32,  TENSOR_F16,  TENSOR_BF16, TENSOR_Q8_0,  TENSOR_Q5_1,
                                        TENSOR_Q5_0, TENSOR_Q4_1, TENSOR_Q4_0, TENSOR_IQ4_NL};

static lm_session *session(const lm_model *m, lm_session_options o) {
    lm_session *s;
    if (lm_session_new(ctx, m, &o, &s)) fail_msg("%s", pith_error(ctx));
    return s;
}

static void feed(lm_session *s, uint32_t sequence, size_t first, size_t n, uint32_t n_vocab) {
    lm_token tokens[N_PROMPT];
    for (size_t i = 0; i < n; i++) tokens[i] = (lm_token){prompt[first + i] % n_vocab, sequence, i + 1 == n};
    if (lm_eval(s, tokens, n)) fail_msg("%s", pith_error(ctx));
}

/* The last token's logits of the prompt fed in batches of `cut`. */
static void logits_of(const lm_model *m, lm_session_options o, size_t cut, float *logits) {
    lm_session *s = session(m, o);
    uint32_t n_vocab = lm_about(m)->n_vocab;
    for (size_t at = 0; at < N_PROMPT; at += cut) feed(s, 0, at, PITH_MIN(cut, (size_t)N_PROMPT - at), n_vocab);
    memcpy(logits, lm_logits(s, 0), n_vocab * sizeof *logits);
    lm_session_free(s);
}

static int open_model(void **state) {
    (void)state;
    ctx = pith_ctx_new(NULL);
    if (!ctx || lm_open(ctx, NULL, &model)) return -1;
    for (uint32_t i = 0; i < N_PROMPT; i++) prompt[i] = i ? (i * i * 31 + i * 517) % VOCAB : 1;
    logits_of(model, (lm_session_options){.max_logits = 1}, N_PROMPT, floats);
    return 0;
}

static int close_model(void **state) {
    (void)state;
    lm_close(ctx, model);
    bool clean = pith_memory_used(ctx) == 0;
    pith_ctx_free(ctx);
    return clean ? 0 : -1;
}

static double worst_of(const float *logits) {
    double worst = 0;
    for (size_t i = 0; i < VOCAB; i++) worst = fmax(worst, fabs((double)logits[i] - (double)floats[i]));
    return worst;
}

/* ---- known bits, and how far they are from floats ---- */

static void test_known_bits(void **state) {
    (void)state;
    static const struct {
        lm_cache_type type;
        uint64_t hash;
        double worst; /* of a logit */
    } known[] = {
        {{TENSOR_BF16, TENSOR_BF16}, 0x7AC69E567EE92ED0u, 0.05},
        {{TENSOR_Q8_0, TENSOR_Q8_0}, 0x5D1D1C28FECB7908u, 0.1},
        {{TENSOR_Q5_1, TENSOR_Q5_0}, 0x717C200354635CDDu, 0.4},
        {{TENSOR_IQ4_NL, TENSOR_Q4_1}, 0xA18AC1483ADDE805u, 1},
        {{TENSOR_Q4_0, TENSOR_Q4_0}, 0x36041928026DB56Fu, 1},
        {{TENSOR_Q8_0, TENSOR_Q4_0}, 0xE1FAD50DDA214BBAu, 1},
        {{TENSOR_F16, TENSOR_Q8_0}, 0x230A141B92B622D8u, 0.1},
        {{TENSOR_Q8_0, TENSOR_F32}, 0x8F7F181DCD0C24CCu, 0.1},
    };
    for (size_t i = 0; i < PITH_COUNT(known); i++) {
        static float logits[VOCAB];
        logits_of(model, (lm_session_options){.max_logits = 1, .cache = known[i].type}, N_PROMPT, logits);
        uint64_t hash = pith_hash64(logits, sizeof logits);
        double worst = worst_of(logits);
        if (hash != known[i].hash || !(worst > 0 && worst < known[i].worst))
            fail_msg("%s, %s: 0x%016llXu, off by %g", tensor_type_of(known[i].type.keys)->name,
                     tensor_type_of(known[i].type.values)->name, (unsigned long long)hash, worst);
    }
}

/* ---- the same as floats that mean the same ---- */

typedef struct meant_cache { /* rounds rows by the type, keeps the result as floats */
    over_plain over;
    cache_shape shape;
    lm_cache_type type;
} meant_cache;

static void round_row(tensor_type type, const float *x, float *y, size_t n) {
    uint8_t blocks[4096];
    uint64_t bytes;
    assert_true(tensor_type_bytes((uint32_t)type, n, &bytes) && bytes <= sizeof blocks);
    blocks_encode(type, x, blocks, n);
    blocks_decode(type, blocks, y, n);
}

static pith_status meant_append(lm_cache *c, const cache_rows *rows) {
    meant_cache *o = (meant_cache *)c;
    size_t heads = o->shape.layer_kv_heads ? o->shape.layer_kv_heads[rows->layer] : o->shape.n_kv_heads;
    size_t n = heads * o->shape.head_dim;
    for (size_t t = 0; t < rows->n; t++) {
        float keys[256], values[256];
        round_row(o->type.keys, rows->keys + t * n, keys, n);
        round_row(o->type.values, rows->values + t * n, values, n);
        const cache_rows one = {rows->layer, rows->sequence, rows->first + (uint32_t)t, 1, keys, NULL, values};
        pith_status status = o->over.plain->ops->append(o->over.plain, &one);
        if (status) return status;
    }
    return PITH_OK;
}
static pith_status meant_truncate(lm_cache *c, uint32_t sequence, uint32_t length) {
    (void)c, (void)sequence, (void)length;
    return PITH_OK;
}
static pith_status meant_make(void *opaque, pith_ctx *used, const cache_shape *shape, lm_cache **out) {
    static const cache_ops ops = {"meant",    meant_append, over_attend, meant_truncate,
                                  over_copy, over_bytes,  over_free};
    meant_cache *o = pith_zalloc(used, sizeof *o);
    if (!o) return pith_alloc_status(used);
    *o = (meant_cache){{{&ops, false}, NULL}, *shape, *(const lm_cache_type *)opaque};
    pith_status status = plain_cache_new(used, shape, LM_CACHE_F32, &o->over.plain);
    if (status)
        pith_free(used, o);
    else
        *out = &o->over.base;
    return status;
}

static void same_as_meant(const lm_model *m, lm_cache_type type, size_t cut) {
    static float logits[VOCAB], meant[VOCAB];
    struct lm_cache_maker maker = {&type, meant_make};
    uint32_t n_vocab = lm_about(m)->n_vocab;
    logits_of(m, (lm_session_options){.max_logits = 1, .cache = type, .n_threads = 2}, cut, logits);
    logits_of(m, (lm_session_options){.max_logits = 1, .maker = &maker, .n_threads = 1}, N_PROMPT, meant);
    if (memcmp(logits, meant, n_vocab * sizeof *logits) != 0)
        fail_msg("%s, %s: not what the blocks mean", tensor_type_of(type.keys)->name,
                 tensor_type_of(type.values)->name);
}

static void test_blocks_mean_floats(void **state) {
    (void)state;
    for (size_t i = 0; i < PITH_COUNT(all_types); i++)
        same_as_meant(model, (lm_cache_type){all_types[i], all_types[PITH_COUNT(all_types) - 1 - i]}, 37);
}

static const tiny_variant *variant(const char *label) {
    for (size_t i = 0; i < PITH_COUNT(tiny_variants); i++)
        if (!strcmp(tiny_variants[i].label, label)) return &tiny_variants[i];
    fail_msg("no variant %s", label);
    return NULL;
}

typedef struct opened {
    tiny_file bytes;
    tensor_file *file;
    lm_model *model;
} opened;

static void open_variant(opened *o, const char *label) {
    *o = (opened){0};
    assert_int_equal(tiny_build(ctx, &o->bytes, variant(label), NULL), PITH_OK);
    if (tensor_file_open_memory(ctx, o->bytes.out.data, o->bytes.out.size, &o->file) ||
        lm_open_file(ctx, o->file, &o->model))
        fail_msg("%s: %s", label, pith_error(ctx));
}

static void close_variant(opened *o) {
    lm_close(ctx, o->model);
    tensor_file_close(ctx, o->file);
    pith_buffer_free(ctx, &o->bytes.out);
}

/* Heads of 8 and of 16 numbers share blocks of 32. */
static void test_blocks_across_heads(void **state) {
    (void)state;
    static const char *const labels[] = {"gpt2", "gpt2, own output"};
    for (size_t v = 0; v < PITH_COUNT(labels); v++) {
        opened o;
        open_variant(&o, labels[v]);
        for (size_t i = 0; i < PITH_COUNT(all_types); i++)
            same_as_meant(o.model, (lm_cache_type){all_types[i], all_types[(i + 4) % PITH_COUNT(all_types)]}, 11);
        close_variant(&o);
    }
}

/* The store by itself, with heads that end within a block. */
static void test_store(void **state) {
    (void)state;
    enum { D = 48, HEADS = 2, N = 70, LAYERS = 2 };
    const cache_shape shape = {.n_layers = LAYERS, .n_sequences = 2, .n_ctx = N, .n_heads = HEADS, .n_kv_heads = HEADS,
                               .head_dim = D, .n_members = 1};
    static float rows[N][HEADS * D], meant[N][HEADS * D];
    uint64_t seed = 99;
    for (size_t i = 0; i < PITH_COUNT(all_types); i++) {
        cache_store keys, values;
        assert_true(cache_store_plan(&shape, all_types[i], true, &keys));
        assert_true(cache_store_plan(&shape, all_types[i], false, &values));
        uint64_t row_bytes;
        assert_true(tensor_type_bytes((uint32_t)all_types[i], HEADS * D, &row_bytes));
        assert_int_equal(keys.bytes, row_bytes * 128 * LAYERS * 2);
        assert_int_equal(values.bytes, keys.bytes);
        float *room = pith_alloc(ctx, cache_store_room(D, N) * sizeof *room);
        keys.data = pith_zalloc(ctx, (size_t)keys.bytes);
        values.data = pith_zalloc(ctx, (size_t)values.bytes);
        assert_true(room && keys.data && values.data);
        for (size_t t = 0; t < N; t++) {
            for (size_t c = 0; c < HEADS * D; c++) rows[t][c] = tiny_random(&seed) * (c % 5 ? 1.0f : 9.0f);
            round_row(all_types[i], rows[t], meant[t], HEADS * D);
            cache_store_put(&keys, 0, 1, t, rows[t], HEADS);
            cache_store_put(&values, 0, 1, t, rows[t], HEADS);
        }
        cache_store_copy(&keys, 0, 1, N);
        cache_store_copy(&values, 0, 1, N);
        for (size_t h = 0; h < HEADS; h++)
            for (size_t first = 0; first < N; first += CACHE_TILE) {
                size_t n = PITH_MIN((size_t)CACHE_TILE, N - first), stride;
                const float *k = cache_store_keys(&keys, 1, 1, h, first, n, room, &stride);
                for (size_t t = 0; t < n; t++)
                    for (size_t c = 0; c < D; c++)
                        assert_memory_equal(&k[c * stride + t], &meant[first + t][h * D + c], sizeof(float));
                const float *v = cache_store_values(&values, 1, 1, h, first, n, room);
                for (size_t t = 0; t < n; t++) assert_memory_equal(v + t * D, &meant[first + t][h * D], D * sizeof *v);
            }
        pith_free(ctx, room);
        pith_free(ctx, keys.data);
        pith_free(ctx, values.data);
    }
}

/* ---- cuts, threads, neighbours, going back ---- */

static void test_any_way(void **state) {
    (void)state;
    static const lm_cache_type types[] = {{TENSOR_Q8_0, TENSOR_Q4_0}, {TENSOR_Q4_0, TENSOR_F16}};
    for (size_t i = 0; i < PITH_COUNT(types); i++) {
        static float want[VOCAB], got[VOCAB];
        lm_session_options o = {.max_logits = 1, .cache = types[i], .n_threads = 1};
        logits_of(model, o, N_PROMPT, want);
        o.n_threads = 3;
        logits_of(model, o, 1, got);
        assert_memory_equal(got, want, sizeof want);

        o.n_sequences = 3, o.n_ctx = 200, o.max_logits = 2, o.max_batch = 2 * N_PROMPT;
        lm_session *s = session(model, o);
        static lm_token tokens[2 * N_PROMPT];
        size_t n = 0;
        for (size_t t = 0; t < N_PROMPT; t++) {
            tokens[n++] = (lm_token){prompt[t], 1, t + 1 == N_PROMPT};
            if (t % 4 == 1) tokens[n++] = (lm_token){(uint32_t)(5 * t), 0, false};
        }
        if (lm_eval(s, tokens, n)) fail_msg("%s", pith_error(ctx));
        assert_memory_equal(lm_logits(s, 0), want, sizeof want);

        for (size_t t = 0; t < 30; t++) tokens[t] = (lm_token){(uint32_t)(7 * t + 3), 1, false};
        if (lm_eval(s, tokens, 30)) fail_msg("%s", pith_error(ctx)); /* a draft that is thrown away */
        assert_int_equal(lm_truncate(s, 1, 50), PITH_OK);
        assert_int_equal(lm_copy(s, 1, 2), PITH_OK);
        feed(s, 1, 50, N_PROMPT - 50, VOCAB);
        assert_memory_equal(lm_logits(s, 0), want, sizeof want);
        feed(s, 2, 50, N_PROMPT - 50, VOCAB);
        assert_memory_equal(lm_logits(s, 0), want, sizeof want);
        lm_session_free(s);
    }
}

/* ---- memory ---- */

static uint64_t bytes_with(lm_cache_type type, uint64_t *used) {
    uint64_t before = pith_memory_used(ctx);
    lm_session *s = session(model, (lm_session_options){.n_ctx = 1000, .n_sequences = 2, .max_batch = 8, .cache = type});
    uint64_t bytes = lm_cache_bytes(s);
    *used = pith_memory_used(ctx) - before;
    lm_session_free(s);
    return bytes;
}

static void test_bytes(void **state) {
    (void)state;
    uint64_t used, used_by_floats, row, slots = 1024 * 2 * 6; /* of whole tiles, sequences, layers */
    assert_int_equal(bytes_with(LM_CACHE_F32, &used_by_floats), slots * 2 * 64 * 4);
    for (size_t i = 0; i < PITH_COUNT(all_types); i++) {
        assert_true(tensor_type_bytes((uint32_t)all_types[i], 64, &row));
        assert_int_equal(bytes_with((lm_cache_type){all_types[i], TENSOR_F32}, &used), slots * (row + 256));
        assert_int_equal(used_by_floats - used, slots * (256 - row));
        assert_int_equal(bytes_with((lm_cache_type){TENSOR_F32, all_types[i]}, &used), slots * (row + 256));
    }
}

/* ---- refusals ---- */

static void refuse(lm_model *m, lm_cache_type type, const char *why) {
    lm_session *s;
    lm_cache_type before = lm_cache_of(m);
    assert_int_equal(lm_set_cache(ctx, m, type), PITH_E_ARGUMENT);
    if (!strstr(pith_error(ctx), why)) fail_msg("'%s' does not say '%s'", pith_error(ctx), why);
    assert_null(strchr(pith_error(ctx), '\n'));
    lm_cache_type after = lm_cache_of(m);
    assert_memory_equal(&after, &before, sizeof before);
    pith_begin(ctx);
    if (lm_about(m)->recurrent) return;
    assert_int_equal(lm_session_new(ctx, m, &(lm_session_options){.cache = type}, &s), PITH_E_ARGUMENT);
    assert_null(s);
    pith_begin(ctx);
}

static void test_refusals(void **state) {
    (void)state;
    refuse(model, (lm_cache_type){TENSOR_Q4_K, TENSOR_F16}, "keys cannot be cached");
    refuse(model, (lm_cache_type){TENSOR_F16, TENSOR_I8}, "values cannot be cached");
    refuse(model, (lm_cache_type){(tensor_type)4242, TENSOR_F16}, "keys cannot be cached");
    opened o;
    open_variant(&o, "llama");
    refuse(o.model, (lm_cache_type){TENSOR_F16, TENSOR_Q8_0}, "2 heads of 8");
    close_variant(&o);
    open_variant(&o, "deci, the first layer smaller");
    refuse(o.model, (lm_cache_type){TENSOR_Q4_0, TENSOR_F16}, "1 heads of 8");
    assert_int_equal(lm_set_cache(ctx, o.model, (lm_cache_type){TENSOR_BF16, TENSOR_F32}), PITH_OK);
    close_variant(&o);
    open_variant(&o, "mamba");
    refuse(o.model, LM_CACHE_F16, "mamba");
    close_variant(&o);
}

static void test_of_a_model(void **state) {
    (void)state;
    assert_int_equal(lm_cache_of(model).keys, TENSOR_F16);
    assert_int_equal(lm_cache_of(model).values, TENSOR_F16);
    assert_int_equal(lm_set_cache(ctx, model, (lm_cache_type){TENSOR_Q8_0, TENSOR_Q4_0}), PITH_OK);
    assert_int_equal(lm_cache_of(model).keys, TENSOR_Q8_0);
    assert_int_equal(lm_cache_of(model).values, TENSOR_Q4_0);
    assert_int_equal(lm_set_cache(ctx, model, LM_CACHE_F16), PITH_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_bits), cmocka_unit_test(test_blocks_mean_floats),
        cmocka_unit_test(test_blocks_across_heads), cmocka_unit_test(test_store),
        cmocka_unit_test(test_any_way), cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_of_a_model),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
