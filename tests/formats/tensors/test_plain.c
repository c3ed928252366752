/* llama2.c, rwkv.cpp and NumPy files: what good ones show and how broken ones are refused. */
#include "formats/tensors/files.h"

static uint64_t number_of(const tensor_file *f, const char *key) {
    uint64_t value;
    assert_true(meta_u64(f, key, &value));
    return value;
}

static float float_at(const tensor_view *t, size_t i) {
    uint32_t bits = load32(t->data + 4 * i);
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static void llama2c_good(void **state) {
    (void)state;
    bytes b = small_llama2c(5);
    opened o = accepted(&b);
    meta_string arch;
    double real;
    assert_string_equal(o.f->format, "llama2.c");
    assert_true(meta_text(o.f, "general.architecture", &arch) && is_text(arch, "llama"));
    assert_int_equal(number_of(o.f, "llama.embedding_length"), 8);
    assert_int_equal(number_of(o.f, "llama.feed_forward_length"), 12);
    assert_int_equal(number_of(o.f, "llama.block_count"), 2);
    assert_int_equal(number_of(o.f, "llama.attention.head_count"), 2);
    assert_int_equal(number_of(o.f, "llama.attention.head_count_kv"), 1);
    assert_int_equal(number_of(o.f, "llama.context_length"), 4);
    assert_int_equal(number_of(o.f, "llama.rope.dimension_count"), 4);
    assert_true(meta_f64(o.f, "llama.rope.freq_base", &real) && real == 10000);
    assert_int_equal(o.f->n_tensors, 2 + 9 * 2);
    assert_null(tensor_find(o.f, "output.weight"));
    /* Floats count up in the file: embedding, norms of both layers, wq of both, wk, ... */
    assert_true(float_at(tensor_find(o.f, "token_embd.weight"), 0) == 0);
    assert_true(float_at(tensor_find(o.f, "blk.1.attn_norm.weight"), 0) == 48);
    assert_true(float_at(tensor_find(o.f, "blk.0.attn_q.weight"), 0) == 56);
    assert_true(float_at(tensor_find(o.f, "blk.1.attn_q.weight"), 0) == 120);
    const tensor_view *k = tensor_find(o.f, "blk.1.attn_k.weight"), *down = tensor_find(o.f, "blk.0.ffn_down.weight");
    assert_true(float_at(k, 0) == 184 + 32);
    assert_int_equal(k->ne[0], 8);
    assert_int_equal(k->ne[1], 4);
    assert_int_equal(down->ne[0], 12);
    assert_int_equal(down->ne[1], 8);
    closed(&o);
    free(b.data);
    bytes untied = small_llama2c(-5);
    o = accepted(&untied);
    assert_int_equal(tensor_find(o.f, "output.weight")->ne[1], 5);
    assert_int_equal(tensor_find(o.f, "output.weight")->offset + 5 * 8 * 4, untied.n);
    closed(&o);
    free(untied.data);
}

static void llama2c_broken(void **state) {
    (void)state;
    bytes b = small_llama2c(5);
    for (size_t n = 28; n < b.n; n += 61) {
        bytes cut = {b.data, n, n};
        refused(&cut, PITH_E_TRUNCATED, "data at byte 28: ");
    }
    put(&b, "x", 1);
    refused(&b, PITH_E_FORMAT, "data at byte 28: ");
    b.n--;
    /* heads that do not divide the width, zero and negative sizes, sizes whose product is beyond any file */
    static const struct {
        unsigned field;
        uint32_t value;
    } bad[] = {{3, 3}, {4, 3}, {0, 0}, {1, UINT32_MAX}, {2, 0}, {5, 0}, {5, 0x80000000u}, {6, 0}, {2, 1u << 20}};
    for (unsigned i = 0; i < PITH_COUNT(bad); i++) {
        bytes c = small_llama2c(5);
        store32(c.data + 4 * bad[i].field, bad[i].value);
        refused(&c, PITH_E_FORMAT, "magic at byte 0: neither");
        free(c.data);
    }
    for (unsigned i = 0; i < 7; i++) store32(b.data + 4 * i, 1u << 24);
    store32(b.data + 8, 4096);
    store32(b.data + 12, 1);
    store32(b.data + 16, 1);
    refused(&b, PITH_E_TRUNCATED, "data at byte 28: ");
    free(b.data);
}

static void rwkv_good(void **state) {
    (void)state;
    bytes b = small_rwkv();
    opened o = accepted(&b);
    meta_string arch;
    assert_string_equal(o.f->format, "rwkv");
    assert_int_equal(o.f->version, 100);
    assert_true(meta_text(o.f, "general.architecture", &arch) && is_text(arch, "rwkv4"));
    assert_int_equal(number_of(o.f, "rwkv4.vocab_size"), 3);
    assert_int_equal(number_of(o.f, "rwkv4.embedding_length"), 4);
    assert_int_equal(number_of(o.f, "rwkv4.block_count"), 1);
    assert_int_equal(number_of(o.f, "rwkv4.feed_forward_length"), 7);
    static const char *const names[] = {"token_embd.weight",
                                        "token_embd_norm.weight",
                                        "blk.0.time_mix_lerp_k.weight",
                                        "blk.0.time_mix_key.weight",
                                        "blk.0.channel_mix_lerp_k.weight",
                                        "blk.0.channel_mix_key.weight",
                                        "output.weight"};
    for (unsigned i = 0; i < PITH_COUNT(names); i++) {
        const tensor_view *t = tensor_find(o.f, names[i]);
        assert_non_null(t);
        assert_true(float_at(t, t->n_elements - 1) == 0.5f);
    }
    closed(&o);
    free(b.data);
}

static void rwkv_field(size_t at, uint32_t value, pith_status status, const char *says) {
    bytes b = small_rwkv();
    store32(b.data + at, value);
    refused(&b, status, says);
    free(b.data);
}

static void rwkv_broken(void **state) {
    (void)state;
    bytes b = small_rwkv();
    for (size_t n = 4; n < b.n; n += 3) {
        pith_ctx *ctx = pith_ctx_new(NULL);
        uint8_t *copy;
        tensor_file *f;
        pith_status status = open_copy(ctx, b.data, n, &copy, &f);
        if (status == PITH_OK)
            tensor_file_close(ctx, f); /* cut between two parameters */
        else if (status != PITH_E_FORMAT) /* a missing embedding */
            assert_int_equal(status, PITH_E_TRUNCATED);
        pith_ctx_free(ctx);
        free(copy);
    }
    rwkv_field(4, 99, PITH_E_UNSUPPORTED, "version at byte 4: 99");
    rwkv_field(4, 102, PITH_E_UNSUPPORTED, "version at byte 4: 102");
    rwkv_field(8, 0, PITH_E_FORMAT, "n_vocab at byte 8: 0 is not above zero");
    rwkv_field(12, UINT32_MAX, PITH_E_FORMAT, "n_embed at byte 12: -1 is not above zero");
    rwkv_field(16, 0x80000000u, PITH_E_FORMAT, "n_layer at byte 16: ");
    rwkv_field(20, 4, PITH_E_FORMAT, "data type of the file at byte 20: 4 is not known");
    rwkv_field(20, 99, PITH_E_FORMAT, "data type of the file at byte 20: 99 is not known");
    rwkv_field(20, 9, PITH_E_UNSUPPORTED, "data type of the file at byte 20: 9, whose blocks");
    rwkv_field(24, 0, PITH_E_FORMAT, "dim_count at byte 24: 0");
    rwkv_field(24, 4, PITH_E_FORMAT, "dim_count at byte 24: 4");
    rwkv_field(28, UINT32_MAX, PITH_E_TRUNCATED, "key at byte 44: ");
    rwkv_field(32, 5, PITH_E_FORMAT, "data type of emb.weight at byte 32: 5 is not known");
    rwkv_field(36, UINT32_MAX, PITH_E_FORMAT, "shape of emb.weight at byte 36: -1 is negative");
    rwkv_field(36, 1u << 30, PITH_E_TRUNCATED, "data of a parameter at byte 54: ");
    rwkv_field(8, 4, PITH_E_FORMAT, "rwkv4.vocab_size at byte ");
    put_parameter(&b, "head.weight", 4, 3);
    refused(&b, PITH_E_FORMAT, "output.weight is there twice");
    free(b.data);
}

static void npy_good(void **state) {
    (void)state;
    static const char dictionary[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  ";
    for (uint8_t version = 1; version <= 3; version++) {
        bytes b = npy_of(version, dictionary, 24);
        opened o = accepted(&b);
        const tensor_view *t = tensor_find(o.f, "array");
        assert_string_equal(o.f->format, "npy");
        assert_int_equal(o.f->version, version);
        assert_int_equal(t->n_dims, 2);
        assert_int_equal(t->ne[0], 3);
        assert_int_equal(t->ne[1], 2);
        assert_int_equal(t->offset, b.n - 24);
        closed(&o);
        free(b.data);
    }
    bytes scalar = npy_of(1, "{'descr': '|u1', 'fortran_order': False, 'shape': ()}", 1);
    opened o = accepted(&scalar);
    assert_int_equal(o.f->tensors[0].n_elements, 1);
    closed(&o);
    free(scalar.data);
}

static void npy_refused(const char *dictionary, size_t data, pith_status status, const char *says) {
    bytes b = npy_of(1, dictionary, data);
    refused(&b, status, says);
    free(b.data);
}

static void npy_broken(void **state) {
    (void)state;
    static const char good[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }";
    npy_refused(good, 23, PITH_E_TRUNCATED, "data of array at byte ");
    npy_refused(good, 25, PITH_E_FORMAT, "data at byte ");
    npy_refused("{'descr': '>f4', 'fortran_order': False, 'shape': (6,)}", 24, PITH_E_UNSUPPORTED, "descr at byte 20");
    npy_refused("{'descr': '<c8', 'fortran_order': False, 'shape': (6,)}", 48, PITH_E_UNSUPPORTED, "descr at byte 20");
    npy_refused("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,)}", 24, PITH_E_FORMAT, "at byte 20");
    npy_refused("{'descr': '<f4', 'fortran_order': True, 'shape': (6,)}", 24, PITH_E_UNSUPPORTED,
                "fortran_order at byte ");
    npy_refused("{'descr': '<f4', 'fortran_order': None, 'shape': (6,)}", 24, PITH_E_FORMAT, "expected False or True");
    npy_refused("{'descr': '<f4', 'fortran_order': False}", 24, PITH_E_FORMAT, "each once");
    npy_refused("{'descr': '<f4', 'descr': '<f4', 'shape': (6,)}", 24, PITH_E_FORMAT, "each once");
    npy_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (-6,)}", 24, PITH_E_FORMAT, "expected a dimension");
    npy_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (6.0,)}", 24, PITH_E_FORMAT, "header at byte ");
    npy_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", 24, PITH_E_FORMAT,
                "the dimension is too big");
    npy_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", 24, PITH_E_FORMAT,
                "the number of elements overflows");
    npy_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", 4, PITH_E_FORMAT,
                "more than 8 dimensions");
    npy_refused("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} x", 24, PITH_E_FORMAT, "expected blanks");
    npy_refused("", 0, PITH_E_FORMAT, "expected a dictionary");
    bytes b = npy_of(1, good, 24);
    for (size_t n = 6; n < b.n - 24; n++) {
        bytes cut = {b.data, n, n};
        refused(&cut, PITH_E_TRUNCATED, " at byte ");
    }
    b.data[6] = 4;
    refused(&b, PITH_E_UNSUPPORTED, "version at byte 6: 4.0");
    free(b.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(llama2c_good), cmocka_unit_test(llama2c_broken),
                                       cmocka_unit_test(rwkv_good),    cmocka_unit_test(rwkv_broken),
                                       cmocka_unit_test(npy_good),     cmocka_unit_test(npy_broken)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
