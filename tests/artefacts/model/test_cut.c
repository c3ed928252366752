/* Cutting: a cut model says what the whole one says with the cut weights set to zero; plans that do not fit are
 * refused; what is written opens. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "artefacts/model/cut.h"
#include "lm/lm.h"
#include "lm/tiny_model.h"
#include "support/session.h"

enum { TOKENS = 12 };

static uint32_t all[64]; /* 0, 1, 2, ... */

typedef struct built {
    pith_buffer bytes;
    tensor_file *file;
    cut_size size;
} built;

static pith_status append(void *opaque, const void *data, size_t size) {
    return pith_buffer_append(ctx, opaque, data, size);
}

static void build(const tensor_file *from, const cut_plan *plan, built *out) {
    model_cut *c;
    *out = (built){0};
    assert_int_equal(model_cut_new(ctx, from, plan, &c), PITH_OK);
    out->size = model_cut_size(c);
    assert_int_equal(model_cut_write(ctx, c, append, &out->bytes), PITH_OK);
    model_cut_free(ctx, c);
    assert_int_equal(tensor_file_open_memory(ctx, out->bytes.data, out->bytes.size, &out->file), PITH_OK);
    uint64_t bytes = 0, parameters = 0;
    for (size_t i = 0; i < out->file->n_tensors; i++) {
        bytes += out->file->tensors[i].bytes;
        parameters += out->file->tensors[i].n_elements;
    }
    assert_int_equal(bytes, out->size.tensor_bytes);
    assert_int_equal(parameters, out->size.n_parameters);
}

static void drop(built *b) {
    tensor_file_close(ctx, b->file);
    pith_buffer_free(ctx, &b->bytes);
}

static void open_tiny(const char *architecture, uint32_t n_heads, uint32_t n_kv_heads, bool biases, tiny_file *t,
                      tensor_file **f) {
    tiny_variant v = {.architecture = architecture, .n_heads = n_heads, .n_kv_heads = n_kv_heads, .biases = biases,
                      .rope_base = 10000.0f};
    *t = (tiny_file){0};
    assert_int_equal(tiny_build(ctx, t, &v, NULL), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, t->out.data, t->out.size, f), PITH_OK);
}

/* Logits of the last token, [TINY_VOCAB]. */
static void logits_of(const tensor_file *f, float *out) {
    lm_model *m;
    lm_session *s;
    lm_token tokens[TOKENS];
    lm_session_options options = {.n_ctx = 32, .n_threads = 1};
    assert_int_equal(lm_open_file(ctx, f, &m), PITH_OK);
    assert_int_equal(lm_session_new(ctx, m, &options, &s), PITH_OK);
    for (uint32_t i = 0; i < TOKENS; i++)
        tokens[i] = (lm_token){.id = (i * 7 + 3) % TINY_VOCAB, .want_logits = i + 1 == TOKENS};
    assert_int_equal(lm_eval(s, tokens, TOKENS), PITH_OK);
    memcpy(out, lm_logits(s, 0), TINY_VOCAB * sizeof *out);
    lm_session_free(s);
    lm_close(ctx, m);
}

static double largest_difference(const tensor_file *a, const tensor_file *b) {
    float x[TINY_VOCAB], y[TINY_VOCAB];
    double most = 0;
    logits_of(a, x);
    logits_of(b, y);
    for (unsigned i = 0; i < TINY_VOCAB; i++) most = fmax(most, fabs((double)x[i] - y[i]));
    return most;
}

/* What a cut leaves out, set to zero in place: columns of matrices that end in `name`. */
typedef struct eraser {
    const char *name;
    cut_list stay[TINY_LAYERS]; /* columns */
} eraser;

static int layer_if(const eraser *e, const tensor_view *t) {
    char name[64];
    for (int l = 0; l < TINY_LAYERS; l++) {
        snprintf(name, sizeof name, "blk.%d.%s", l, e->name);
        if (t->name.size == strlen(name) && !memcmp(t->name.data, name, t->name.size)) return l;
    }
    return -1;
}

static bool erases(void *opaque, const tensor_view *from) { return layer_if(opaque, from) >= 0; }

static pith_status erase(void *opaque, const tensor_view *from, cut_list cols, cut_list rows, size_t n_cols,
                         size_t n_rows, float *values) {
    const eraser *e = opaque;
    int l = layer_if(e, from);
    (void)cols;
    (void)rows;
    for (size_t j = 0; j < n_cols; j++) {
        bool stays = false;
        for (uint32_t i = 0; i < e->stay[l].n; i++) stays = stays || e->stay[l].at[i] == j;
        for (size_t i = 0; i < n_rows && !stays; i++) values[i * n_cols + j] = 0;
    }
    return PITH_OK;
}

static void test_all_stays(void **state) {
    (void)state;
    static const char *const names[] = {"llama", "qwen2", "gpt2"};
    for (unsigned i = 0; i < 3; i++) {
        tiny_file t;
        tensor_file *f;
        built b;
        open_tiny(names[i], 4, i < 2 ? 2 : 4, true, &t, &f);
        build(f, &(cut_plan){0}, &b);
        assert_int_equal(b.bytes.size, t.out.size);
        assert_memory_equal(b.bytes.data, t.out.data, t.out.size);
        drop(&b);
        tensor_file_close(ctx, f);
        pith_buffer_free(ctx, &t.out);
    }
}

static void test_neurons(void **state) {
    (void)state;
    static const char *const names[] = {"llama", "qwen2", "gpt2"};
    const uint32_t first[] = {1, 5, 6, 30, 47}, second[] = {0, 2, 9, 10, 33};
    const cut_list lists[] = {{first, 5}, {second, 5}};
    for (unsigned i = 0; i < 3; i++) {
        tiny_file t;
        tensor_file *f;
        built cut, zeroed;
        uint64_t n_ff;
        char key[64];
        open_tiny(names[i], 4, i < 2 ? 2 : 4, true, &t, &f);
        build(f, &(cut_plan){.neurons = lists}, &cut);
        eraser e = {.name = "ffn_down.weight", .stay = {lists[0], lists[1]}};
        build(f, &(cut_plan){.edits = erases, .edit = erase, .opaque = &e}, &zeroed);
        assert_true(largest_difference(cut.file, zeroed.file) < 1e-4);
        assert_true(largest_difference(cut.file, f) > 1e-2);
        snprintf(key, sizeof key, "%s.feed_forward_length", names[i]);
        assert_true(meta_u64(cut.file, key, &n_ff) && n_ff == 5);
        assert_int_equal(cut.size.shape.n_ff, 5);
        drop(&cut);
        drop(&zeroed);
        tensor_file_close(ctx, f);
        pith_buffer_free(ctx, &t.out);
    }
}

/* Two of each key head's query heads; then a key head with all of its own. */
static void test_heads(void **state) {
    (void)state;
    const uint32_t even[] = {0, 3, 5, 6}, other[] = {1, 2, 4, 7}, group[] = {4, 5, 6, 7};
    const struct {
        cut_list lists[2];
        uint32_t n_kv_heads;
    } cases[] = {{{{even, 4}, {other, 4}}, 2}, {{{group, 4}, {all, 4}}, 1}};
    for (unsigned variant = 0; variant < 4; variant++) {
        const cut_list *lists = cases[variant / 2].lists;
        tiny_file t;
        tensor_file *f;
        built cut, zeroed;
        uint32_t columns[2][16];
        uint64_t n;
        open_tiny(variant % 2 ? "qwen2" : "llama", 8, 2, true, &t, &f);
        eraser e = {.name = "attn_output.weight"};
        for (unsigned l = 0; l < 2; l++) {
            for (unsigned i = 0; i < 16; i++) columns[l][i] = lists[l].at[i / 4] * 4 + i % 4;
            e.stay[l] = (cut_list){columns[l], 16};
        }
        build(f, &(cut_plan){.heads = lists}, &cut);
        build(f, &(cut_plan){.edits = erases, .edit = erase, .opaque = &e}, &zeroed);
        assert_true(largest_difference(cut.file, zeroed.file) < 1e-4);
        assert_true(largest_difference(cut.file, f) > 1e-2);
        assert_true(meta_u64(cut.file, variant % 2 ? "qwen2.attention.head_count" : "llama.attention.head_count", &n));
        assert_int_equal(n, 4);
        assert_true(
            meta_u64(cut.file, variant % 2 ? "qwen2.attention.head_count_kv" : "llama.attention.head_count_kv", &n));
        assert_int_equal(n, cases[variant / 2].n_kv_heads);
        assert_true(meta_u64(cut.file, variant % 2 ? "qwen2.attention.key_length" : "llama.attention.key_length", &n));
        assert_int_equal(n, 4);
        drop(&cut);
        drop(&zeroed);
        tensor_file_close(ctx, f);
        pith_buffer_free(ctx, &t.out);
    }
}

/* Key heads made one: the model whose key heads all hold their group's mean. */
static bool holds_keys(void *opaque, const tensor_view *from) {
    (void)opaque;
    char name[64] = "";
    memcpy(name, from->name.data, PITH_MIN(from->name.size, sizeof name - 1));
    return strstr(name, "attn_k.") || strstr(name, "attn_v.");
}

static pith_status make_mean(void *opaque, const tensor_view *from, cut_list cols, cut_list rows, size_t n_cols,
                             size_t n_rows, float *values) {
    enum { DIM = 4 };
    size_t group = *(const uint32_t *)opaque, n = n_cols * n_rows, head = n_rows > 1 ? DIM * n_cols : DIM;
    (void)from, (void)cols, (void)rows;
    for (size_t at = 0; at < n; at += group * head)
        for (size_t i = 0; i < head; i++) {
            float sum = 0;
            for (size_t k = 0; k < group; k++) sum += values[at + k * head + i];
            for (size_t k = 0; k < group; k++) values[at + k * head + i] = sum / (float)group;
        }
    return PITH_OK;
}

static void test_shared_keys(void **state) {
    (void)state;
    for (uint32_t n = 1; n <= 2; n++) {
        tiny_file t;
        tensor_file *f;
        built merged, means;
        uint32_t group = 4 / n;
        uint64_t kept;
        open_tiny("qwen2", 8, 4, true, &t, &f); /* with biases */
        build(f, &(cut_plan){.shared_keys = n}, &merged);
        build(f, &(cut_plan){.edits = holds_keys, .edit = make_mean, .opaque = &group}, &means);
        assert_true(merged.size.n_parameters < means.size.n_parameters);
        assert_int_equal(merged.size.shape.n_kv_heads, n);
        assert_true(meta_u64(merged.file, "qwen2.attention.head_count_kv", &kept) && kept == n);
        assert_true(largest_difference(merged.file, means.file) < 1e-4);
        assert_true(largest_difference(merged.file, f) > 1e-3);
        drop(&merged);
        drop(&means);
        tensor_file_close(ctx, f);
        pith_buffer_free(ctx, &t.out);
    }
}

/* Layers that keep different numbers of neurons and heads become lists, of an architecture that has them. */
static void test_uneven(void **state) {
    (void)state;
    const uint32_t neurons[] = {1, 5, 6, 30, 47}, group[] = {4, 5, 6, 7};
    const cut_list fewer[] = {{NULL, 0}, {neurons, 5}}, heads[] = {{group, 4}, {NULL, 0}};
    tiny_file t;
    tensor_file *f;
    built cut, one, zeroed;
    uint32_t columns[16];
    meta_string arch;
    open_tiny("llama", 8, 2, true, &t, &f);
    build(f, &(cut_plan){.neurons = fewer, .heads = heads}, &cut);
    for (unsigned i = 0; i < 16; i++) columns[i] = 16 + i;
    eraser e = {.name = "attn_output.weight", .stay = {{columns, 16}, {all, 32}}};
    build(f, &(cut_plan){.edits = erases, .edit = erase, .opaque = &e}, &one);
    e = (eraser){.name = "ffn_down.weight", .stay = {{all, 48}, {neurons, 5}}};
    build(one.file, &(cut_plan){.edits = erases, .edit = erase, .opaque = &e}, &zeroed);
    assert_true(largest_difference(cut.file, zeroed.file) < 1e-4);
    assert_true(largest_difference(cut.file, f) > 1e-2);
    assert_int_equal(cut.size.shape.n_ff, 48);
    assert_int_equal(cut.size.shape.n_heads, 8);
    assert_int_equal(cut.size.shape.n_kv_heads, 2);
    assert_true(meta_text(cut.file, "general.architecture", &arch) && arch.size == 4 && !memcmp(arch.data, "deci", 4));
    const struct {
        const char *key;
        uint32_t first, second;
    } lists[] = {{"deci.feed_forward_length", 48, 5},
                 {"deci.attention.head_count", 4, 8},
                 {"deci.attention.head_count_kv", 1, 2}};
    for (unsigned i = 0; i < 3; i++) {
        const meta_value *v = meta_find(cut.file, lists[i].key);
        assert_true(v && v->type == META_ARRAY && v->element == META_U32 && v->count == 2);
        assert_true(meta_number_at(v, 0) == lists[i].first && meta_number_at(v, 1) == lists[i].second);
    }
    assert_null(meta_find(cut.file, "llama.block_count"));
    double base;
    assert_true(meta_f64(cut.file, "deci.rope.freq_base", &base) && base == 10000);
    assert_null(zeroed.size.layer_ff);
    drop(&cut);
    drop(&one);
    drop(&zeroed);
    tensor_file_close(ctx, f);
    pith_buffer_free(ctx, &t.out);
}

static void test_layers_and_channels(void **state) {
    (void)state;
    const uint32_t last[] = {1};
    tiny_file t;
    tensor_file *f;
    built cut, one, two;
    open_tiny("llama", 4, 2, false, &t, &f);
    build(f, &(cut_plan){.layers = {last, 1}}, &cut);
    assert_int_equal(cut.size.shape.n_layers, 1);
    const tensor_view *was = tensor_find(f, "blk.1.ffn_up.weight"), *is = tensor_find(cut.file, "blk.0.ffn_up.weight");
    assert_true(was && is && was->bytes == is->bytes);
    assert_memory_equal(was->data, is->data, was->bytes);
    assert_null(tensor_find(cut.file, "blk.1.ffn_up.weight"));
    /* a layer whose two outputs are nothing is no layer */
    eraser attention = {.name = "attn_output.weight", .stay = {{NULL, 0}, {all, 32}}};
    build(f, &(cut_plan){.edits = erases, .edit = erase, .opaque = &attention}, &one);
    eraser ffn = {.name = "ffn_down.weight", .stay = {{NULL, 0}, {all, 48}}};
    build(one.file, &(cut_plan){.edits = erases, .edit = erase, .opaque = &ffn}, &two);
    assert_true(largest_difference(cut.file, two.file) < 1e-6);
    drop(&one);
    drop(&two);
    drop(&cut);
    /* every axis at once */
    const cut_list neurons[] = {{all, 40}, {all, 40}}, heads[] = {{all, 2}, {all, 2}};
    float logits[TINY_VOCAB];
    build(f, &(cut_plan){.layers = {last, 1}, .channels = {all, 24}, .neurons = neurons, .heads = heads}, &cut);
    const cut_shape expected = {1, 24, 40, 2, 1, 8, 0};
    assert_memory_equal(&cut.size.shape, &expected, sizeof expected);
    logits_of(cut.file, logits);
    for (unsigned i = 0; i < TINY_VOCAB; i++) assert_true(isfinite(logits[i]));
    drop(&cut);
    tensor_file_close(ctx, f);
    pith_buffer_free(ctx, &t.out);
}

static void refuse(const tensor_file *f, cut_plan plan, pith_status status, const char *says) {
    model_cut *c = NULL;
    pith_begin(ctx);
    assert_int_equal(model_cut_new(ctx, f, &plan, &c), status);
    assert_null(c);
    assert_non_null(strstr(pith_error(ctx), says));
}

static void test_refused(void **state) {
    (void)state;
    const uint32_t unsorted[] = {3, 2}, past[] = {47, 48}, uneven[] = {0, 1, 4};
    const cut_list lengths[] = {{all, 40}, {all, 41}}, backwards[] = {{unsorted, 2}, {all, 2}};
    const cut_list outside[] = {{past, 2}, {all, 2}}, lopsided[] = {{uneven, 3}, {uneven, 3}};
    const cut_list none[] = {{all, 0}, {all, 0}}, group[] = {{all, 4}, {all, 4}};
    tiny_file t;
    tensor_file *f;
    open_tiny("llama", 8, 2, false, &t, &f);
    refuse(f, (cut_plan){.neurons = backwards}, PITH_E_ARGUMENT, "neurons 2 is out of range or out of order");
    refuse(f, (cut_plan){.neurons = outside}, PITH_E_ARGUMENT, "neurons 48");
    refuse(f, (cut_plan){.neurons = none}, PITH_E_ARGUMENT, "0 of 48 neurons");
    refuse(f, (cut_plan){.heads = lopsided}, PITH_E_ARGUMENT, "different numbers of query heads");
    refuse(f, (cut_plan){.layers = {past, 1}}, PITH_E_ARGUMENT, "layers 47");
    refuse(f, (cut_plan){.shared_keys = 3}, PITH_E_ARGUMENT, "2 key heads cannot be merged into 3");
    refuse(f, (cut_plan){.shared_keys = 1, .heads = group}, PITH_E_ARGUMENT, "while heads are taken out");
    refuse(f, (cut_plan){.channels = {all, 33}}, PITH_E_ARGUMENT, "33 of 32 channels");
    tensor_file_close(ctx, f);
    pith_buffer_free(ctx, &t.out);
    open_tiny("gpt2", 4, 4, true, &t, &f);
    refuse(f, (cut_plan){.channels = {all, 16}}, PITH_E_UNSUPPORTED, "gpt2");
    refuse(f, (cut_plan){.neurons = lengths}, PITH_E_UNSUPPORTED, "gpt2 model cannot keep different numbers of neurons");
    tensor_file_close(ctx, f);
    pith_buffer_free(ctx, &t.out);
    open_tiny("mamba", 0, 0, true, &t, &f);
    refuse(f, (cut_plan){0}, PITH_E_UNSUPPORTED, "only llama");
    tensor_file_close(ctx, f);
    pith_buffer_free(ctx, &t.out);
}

/* Sizes in the metadata that the tensors do not have. */
static pith_status lie(tiny_file *t, const tiny_variant *v) {
    return tiny_key(t, v->architecture, "feed_forward_length", 64);
}
static void test_lying_sizes(void **state) {
    (void)state;
    tiny_variant v = {.architecture = "llama", .n_heads = 4, .n_kv_heads = 2};
    tiny_file t = {0};
    tensor_file *f;
    assert_int_equal(tiny_build(ctx, &t, &v, lie), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, t.out.data, t.out.size, &f), PITH_OK);
    refuse(f, (cut_plan){0}, PITH_E_FORMAT, "which the metadata do not say");
    tensor_file_close(ctx, f);
    pith_buffer_free(ctx, &t.out);
}

static pith_status full(void *opaque, const void *data, size_t size) {
    size_t *left = opaque;
    (void)data;
    if (size > *left) return pith_fail(ctx, PITH_E_IO, "full");
    *left -= size;
    return PITH_OK;
}

/* Neurons of experts, other ones of each, but as many. */
static void test_experts(void **state) {
    (void)state;
    enum { EXPERTS = 4, LEFT = 5 };
    const tiny_variant v = {.architecture = "llama", .n_heads = 4, .n_kv_heads = 2, .n_experts = EXPERTS, .n_used = 2};
    uint32_t at[TINY_LAYERS * EXPERTS][LEFT];
    cut_list lists[TINY_LAYERS * EXPERTS];
    tiny_file t = {0};
    tensor_file *f, *g;
    built cut, same;
    uint64_t n_ff;
    model_cut *c;
    assert_int_equal(tiny_build(ctx, &t, &v, NULL), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, t.out.data, t.out.size, &f), PITH_OK);
    build(f, &(cut_plan){0}, &same);
    assert_int_equal(same.bytes.size, t.out.size);
    assert_memory_equal(same.bytes.data, t.out.data, t.out.size);
    for (uint32_t i = 0; i < TINY_LAYERS * EXPERTS; i++) {
        for (uint32_t k = 0; k < LEFT; k++) at[i][k] = (i * 3) % 7 + k * 8;
        lists[i] = (cut_list){at[i], LEFT};
    }
    build(f, &(cut_plan){.neurons = lists}, &cut);
    assert_true(meta_u64(cut.file, "llama.feed_forward_length", &n_ff) && n_ff == LEFT);
    assert_int_equal(cut.size.shape.n_ff, LEFT);
    /* the same columns of down set to zero */
    assert_int_equal(tensor_file_open_memory(ctx, same.bytes.data, same.bytes.size, &g), PITH_OK);
    for (uint32_t i = 0; i < TINY_LAYERS * EXPERTS; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.ffn_down_exps.weight", (unsigned)(i / EXPERTS));
        const tensor_view *down = tensor_find(g, name);
        assert_int_equal(down->type, TENSOR_F32);
        uint8_t *w = same.bytes.data + (down->data - same.bytes.data) + i % EXPERTS * TINY_EMBD * TINY_FF * 4;
        for (uint32_t j = 0; j < TINY_FF; j++) {
            bool stays = false;
            for (uint32_t k = 0; k < LEFT; k++) stays = stays || at[i][k] == j;
            for (uint32_t r = 0; r < TINY_EMBD && !stays; r++) memset(w + (r * TINY_FF + j) * 4, 0, 4);
        }
    }
    assert_true(largest_difference(cut.file, g) < 1e-4);
    assert_true(largest_difference(cut.file, f) > 1e-2);
    tensor_file_close(ctx, g);
    drop(&cut);
    drop(&same);
    /* two experts of each layer, with their rows of the router */
    const uint32_t stay[2][2] = {{1, 3}, {0, 2}};
    const cut_list experts[2] = {{stay[0], 2}, {stay[1], 2}};
    uint64_t n_experts;
    build(f, &(cut_plan){.neurons = lists, .experts = experts}, &cut);
    assert_true(meta_u64(cut.file, "llama.expert_count", &n_experts) && n_experts == 2);
    assert_true(meta_u64(cut.file, "llama.feed_forward_length", &n_ff) && n_ff == LEFT);
    for (uint32_t l = 0; l < TINY_LAYERS; l++) {
        char up[64], down[64], router[64];
        snprintf(up, sizeof up, "blk.%u.ffn_up_exps.weight", (unsigned)l);
        snprintf(down, sizeof down, "blk.%u.ffn_down_exps.weight", (unsigned)l);
        snprintf(router, sizeof router, "blk.%u.ffn_gate_inp.weight", (unsigned)l);
        const tensor_view *u = tensor_find(cut.file, up), *d = tensor_find(cut.file, down), *w = tensor_find(cut.file, router);
        const float *old_up = (const void *)tensor_find(f, up)->data, *old_down = (const void *)tensor_find(f, down)->data;
        const float *old_router = (const void *)tensor_find(f, router)->data;
        assert_true(u->ne[2] == 2 && u->ne[1] == LEFT && d->ne[0] == LEFT && d->ne[2] == 2 && w->ne[1] == 2);
        for (uint32_t e = 0; e < 2; e++) {
            uint32_t old = stay[l][e];
            assert_memory_equal((const float *)(const void *)w->data + e * TINY_EMBD, old_router + old * TINY_EMBD, TINY_EMBD * 4);
            for (uint32_t k = 0; k < LEFT; k++) {
                uint32_t from = at[l * EXPERTS + old][k];
                assert_memory_equal((const float *)(const void *)u->data + (e * LEFT + k) * TINY_EMBD,
                                    old_up + (old * TINY_FF + from) * TINY_EMBD, TINY_EMBD * 4);
                for (uint32_t i = 0; i < TINY_EMBD; i++)
                    assert_true(((const float *)(const void *)d->data)[(e * TINY_EMBD + i) * LEFT + k] ==
                                old_down[(old * TINY_EMBD + i) * TINY_FF + from]);
            }
        }
    }
    logits_of(cut.file, (float[TINY_VOCAB]){0});
    drop(&cut);
    const cut_list one[2] = {{stay[0], 1}, {stay[1], 1}}, uneven[2] = {{stay[0], 2}, {all, 3}};
    assert_int_equal(model_cut_new(ctx, f, &(cut_plan){.experts = one}, &c), PITH_E_UNSUPPORTED);
    pith_begin(ctx);
    assert_int_equal(model_cut_new(ctx, f, &(cut_plan){.experts = uneven}, &c), PITH_E_UNSUPPORTED);
    pith_begin(ctx);
    lists[5].n--;
    assert_int_equal(model_cut_new(ctx, f, &(cut_plan){.neurons = lists}, &c), PITH_E_UNSUPPORTED);
    pith_begin(ctx);
    lists[5].n++;
    at[5][4] = TINY_FF;
    assert_int_equal(model_cut_new(ctx, f, &(cut_plan){.neurons = lists}, &c), PITH_E_ARGUMENT);
    pith_begin(ctx);
    tensor_file_close(ctx, f);
    pith_buffer_free(ctx, &t.out);
}

/* A disk that fills up at any moment. */
static void test_full_disk(void **state) {
    (void)state;
    const cut_list neurons[] = {{all, 7}, {all, 7}};
    cut_plan plan = {.neurons = neurons};
    tiny_file t;
    tensor_file *f;
    model_cut *c;
    open_tiny("llama", 4, 2, false, &t, &f);
    assert_int_equal(model_cut_new(ctx, f, &plan, &c), PITH_OK);
    size_t whole = SIZE_MAX;
    assert_int_equal(model_cut_write(ctx, c, full, &whole), PITH_OK);
    whole = SIZE_MAX - whole;
    assert_true(whole > model_cut_size(c).tensor_bytes);
    for (size_t room = 0; room < whole; room += 997) {
        size_t left = room;
        pith_begin(ctx);
        assert_int_equal(model_cut_write(ctx, c, full, &left), PITH_E_IO);
    }
    model_cut_free(ctx, c);
    tensor_file_close(ctx, f);
    pith_buffer_free(ctx, &t.out);
}

static int open_session(void **state) {
    for (uint32_t i = 0; i < 64; i++) all[i] = i;
    return session_begin(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_stays),           cmocka_unit_test(test_neurons), cmocka_unit_test(test_heads),
        cmocka_unit_test(test_shared_keys),
        cmocka_unit_test(test_layers_and_channels), cmocka_unit_test(test_refused), cmocka_unit_test(test_lying_sizes),
        cmocka_unit_test(test_full_disk),           cmocka_unit_test(test_uneven),   cmocka_unit_test(test_experts),
    };
    return cmocka_run_group_tests(tests, open_session, session_end);
}
