/* Writing: what is written opens again with the same content, and GGUF files come out byte for byte. */
#include "formats/tensors/files.h"
#include "support/data_heap.h"

static pith_status collect(void *opaque, const void *data, size_t size) {
    put(opaque, data, size);
    return PITH_OK;
}

/* Everything of `f` written again. */
static bytes rewritten(pith_ctx *ctx, const tensor_file *f) {
    bytes out = {0};
    gguf_writer *w;
    assert_int_equal(gguf_writer_new(ctx, &w), PITH_OK);
    for (size_t i = 0; i < f->n_meta; i++) assert_int_equal(gguf_put_value(ctx, w, &f->meta[i]), PITH_OK);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *t = &f->tensors[i];
        assert_int_equal(gguf_put_tensor(ctx, w, t->name.data, t->name.size, t->type, t->n_dims, t->ne), PITH_OK);
    }
    assert_int_equal(gguf_write_head(ctx, w, collect, &out), PITH_OK);
    for (size_t i = 0; i < f->n_tensors; i++) /* in two pieces */
        for (unsigned half = 0; half < 2; half++) {
            const tensor_view *t = &f->tensors[i];
            size_t first = (size_t)t->bytes / 2, n = half ? (size_t)t->bytes - first : first;
            assert_int_equal(gguf_write_data(ctx, w, t->data + (half ? first : 0), n, collect, &out), PITH_OK);
        }
    gguf_writer_free(ctx, w);
    return out;
}

static void same_bytes(void **state) {
    (void)state;
    bytes b = small_gguf();
    pad_to(&b, 32);
    opened o = accepted(&b);
    bytes again = rewritten(o.ctx, o.f);
    assert_int_equal(again.n, b.n);
    assert_memory_equal(again.data, b.data, b.n);
    closed(&o);
    free(again.data);
    free(b.data);
}

/* The model in the repository was written by another program. */
static void same_model(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    tensor_file *f;
    if (tensor_file_open(ctx, PITH_TEST_SOURCE_DIR "/models/pith-mini.f16.gguf", &f) != PITH_OK)
        fail_msg("%s", pith_error(ctx));
    bytes again = rewritten(ctx, f);
    opened o = accepted(&again);
    assert_int_equal(again.n, f->file_bytes);
    uint8_t one[16], two[16];
    assert_int_equal(tensor_file_hash(ctx, f, one), PITH_OK);
    assert_int_equal(tensor_file_hash(ctx, o.f, two), PITH_OK);
    assert_memory_equal(one, two, 16);
    assert_int_equal(tensor_file_check(ctx, f), PITH_OK);
    closed(&o);
    tensor_file_close(ctx, f);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
    free(again.data);
}

static void every_kind_of_value(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    gguf_writer *w;
    bytes out = {0};
    static const meta_string words[] = {{"alpha", 5}, {"", 0}, {"\xff\0x", 3}};
    static const uint8_t numbers[] = {1, 0, 255, 255, 0, 128};
    const uint64_t ne[] = {32, 3};
    uint8_t data[96 / 32 * 34] = {0};
    assert_int_equal(gguf_writer_new(ctx, &w), PITH_OK);
    assert_int_equal(gguf_put_u32(ctx, w, "n", 1), PITH_OK);
    assert_int_equal(gguf_put_f32(ctx, w, "f", 0.25f), PITH_OK);
    assert_int_equal(gguf_put_bool(ctx, w, "b", true), PITH_OK);
    assert_int_equal(gguf_put_text(ctx, w, "t", "text", 4), PITH_OK);
    assert_int_equal(gguf_put_strings(ctx, w, "s", words, 3), PITH_OK);
    assert_int_equal(gguf_put_array(ctx, w, "a", META_I16, numbers, 3), PITH_OK);
    assert_int_equal(gguf_put_u32(ctx, w, "general.alignment", 64), PITH_OK);
    assert_int_equal(gguf_put_u32(ctx, w, "n", 7), PITH_OK); /* takes the place of the first */
    for (unsigned i = 0; i < 100; i++) { /* the table of keys grows */
        char key[16];
        snprintf(key, sizeof key, "k%u", i);
        assert_int_equal(gguf_put_u32(ctx, w, key, i), PITH_OK);
    }
    assert_int_equal(gguf_put_tensor(ctx, w, "q", 1, TENSOR_Q8_0, 2, ne), PITH_OK);
    assert_int_equal(gguf_put_tensor(ctx, w, "empty", 5, TENSOR_F32, 2, (const uint64_t[]){0, 3}), PITH_OK);
    assert_int_equal(gguf_put_tensor(ctx, w, "v", 1, TENSOR_F32, 1, ne), PITH_OK);
    /* What cannot be written is refused before anything is. */
    assert_int_equal(gguf_put_tensor(ctx, w, "x", 1, TENSOR_U16, 1, ne), PITH_E_ARGUMENT);
    assert_int_equal(gguf_put_tensor(ctx, w, "x", 0, TENSOR_F32, 1, ne), PITH_E_ARGUMENT);
    assert_int_equal(gguf_put_tensor(ctx, w, "x", 1, TENSOR_F32, 5, ne), PITH_E_ARGUMENT);
    assert_int_equal(gguf_put_tensor(ctx, w, "x", 1, TENSOR_Q4_K, 1, ne), PITH_E_FORMAT);
    assert_int_equal(gguf_write_head(ctx, w, collect, &out), PITH_OK);
    assert_int_equal(gguf_put_u32(ctx, w, "late", 7), PITH_E_ARGUMENT);
    assert_int_equal(gguf_write_data(ctx, w, data, sizeof data + 1, collect, &out), PITH_E_ARGUMENT);
    assert_int_equal(gguf_write_data(ctx, w, data, sizeof data, collect, &out), PITH_OK);
    assert_int_equal(gguf_write_data(ctx, w, data, 64, collect, &out), PITH_OK);
    assert_int_equal(gguf_write_data(ctx, w, data, 65, collect, &out), PITH_E_ARGUMENT);
    assert_int_equal(gguf_write_data(ctx, w, data, 64, collect, &out), PITH_OK);
    assert_int_equal(gguf_write_data(ctx, w, data, 1, collect, &out), PITH_E_ARGUMENT);
    gguf_writer_free(ctx, w);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
    assert_int_equal(out.n % 64, 0);
    opened o = accepted(&out);
    uint64_t number, cursor = 0;
    double real;
    bool flag;
    meta_string text;
    assert_int_equal(o.f->n_meta, 107);
    assert_int_equal(o.f->alignment, 64);
    assert_true(is_text(o.f->meta[0].key, "n"));
    assert_true(meta_u64(o.f, "n", &number) && number == 7);
    assert_true(meta_u64(o.f, "k99", &number) && number == 99);
    assert_true(meta_f64(o.f, "f", &real) && real == 0.25);
    assert_true(meta_bool(o.f, "b", &flag) && flag);
    assert_true(meta_text(o.f, "t", &text) && is_text(text, "text"));
    for (unsigned i = 0; i < 3; i++) {
        assert_true(meta_next_string(meta_find(o.f, "s"), &cursor, &text));
        assert_int_equal(text.size, words[i].size);
        if (text.size) assert_memory_equal(text.data, words[i].data, text.size);
    }
    const meta_value *array = meta_find(o.f, "a");
    assert_true(meta_number_at(array, 0) == 1 && meta_number_at(array, 1) == -1 && meta_number_at(array, 2) == -32768);
    assert_true(meta_number_at(array, 3) == 0);
    assert_int_equal(tensor_find(o.f, "v")->offset % 64, 0);
    closed(&o);
    free(out.data);
}

static tensor_view view_of(const char *name, tensor_type type, uint32_t n_dims, uint64_t columns, uint64_t rows,
                           uint64_t n_bytes) {
    tensor_view t = {.name = {name, strlen(name)}, .type = type, .n_dims = n_dims, .bytes = n_bytes};
    for (unsigned i = 0; i < TENSOR_MAX_DIMS; i++) t.ne[i] = 1;
    t.ne[0] = columns;
    t.ne[1] = rows;
    return t;
}

static void safetensors_again(void **state) {
    (void)state;
    bytes b = small_gguf();
    opened o = accepted(&b);
    pith_buffer head = {0};
    tensor_view list[] = {view_of("a \"quoted\" \n name", TENSOR_F16, 2, 3, 5, 30), view_of("scalar", TENSOR_I64, 0, 1, 1, 8),
                          view_of("none", TENSOR_F32, 1, 0, 1, 0)};
    assert_int_equal(safetensors_head(o.ctx, list, 3, o.f->meta, o.f->n_meta, &head), PITH_OK);
    assert_int_equal(head.size % 8, 0);
    bytes file = {0};
    put(&file, head.data, head.size);
    put(&file, NULL, 38);
    opened again = accepted(&file);
    meta_string text;
    assert_int_equal(again.f->n_tensors, 3);
    assert_int_equal(tensor_find(again.f, "a \"quoted\" \n name")->ne[0], 3);
    assert_int_equal(tensor_find(again.f, "scalar")->n_dims, 0);
    assert_true(meta_text(again.f, "safetensors.general.architecture", &text) && is_text(text, "llama"));
    assert_true(meta_text(again.f, "safetensors.llama.block_count", &text) && is_text(text, "1"));
    closed(&again);
    pith_buffer_free(o.ctx, &head);
    list[0].type = TENSOR_Q8_0;
    assert_int_equal(safetensors_head(o.ctx, list, 1, NULL, 0, &head), PITH_E_ARGUMENT);
    list[0] = view_of("\xff", TENSOR_F32, 1, 1, 1, 4);
    assert_int_equal(safetensors_head(o.ctx, list, 1, NULL, 0, &head), PITH_E_ARGUMENT);
    closed(&o);
    free(file.data);
    free(b.data);
}

static void npy_again(void **state) {
    (void)state;
    static const struct {
        tensor_type type;
        uint32_t n_dims;
        uint64_t ne[3], bytes;
    } cases[] = {{TENSOR_F32, 2, {3, 5, 1}, 60}, {TENSOR_I8, 1, {7, 1, 1}, 7}, {TENSOR_F64, 0, {1, 1, 1}, 8},
                 {TENSOR_BOOL, 3, {2, 3, 4}, 24}};
    pith_ctx *ctx = pith_ctx_new(NULL);
    for (unsigned i = 0; i < PITH_COUNT(cases); i++) {
        pith_buffer head = {0};
        bytes file = {0};
        assert_int_equal(npy_head(ctx, cases[i].type, cases[i].n_dims, cases[i].ne, &head), PITH_OK);
        assert_int_equal(head.size % 64, 0);
        put(&file, head.data, head.size);
        put(&file, NULL, (size_t)cases[i].bytes);
        opened o = accepted(&file);
        assert_int_equal(o.f->tensors[0].type, cases[i].type);
        assert_int_equal(o.f->tensors[0].n_dims, cases[i].n_dims);
        assert_memory_equal(o.f->tensors[0].ne, cases[i].ne, sizeof cases[i].ne);
        closed(&o);
        pith_buffer_free(ctx, &head);
        free(file.data);
    }
    pith_buffer head = {0};
    assert_int_equal(npy_head(ctx, TENSOR_BF16, 1, (const uint64_t[]){1}, &head), PITH_E_ARGUMENT);
    assert_int_equal(npy_head(ctx, TENSOR_Q4_0, 1, (const uint64_t[]){32}, &head), PITH_E_ARGUMENT);
    pith_ctx_free(ctx);
}

/* Scales and floats that are not finite are found, with their place. */
static void bad_data(void **state) {
    (void)state;
    bytes b = small_gguf();
    opened o = accepted(&b);
    size_t scale = (size_t)tensor_find(o.f, "t1")->offset + 34, single = (size_t)tensor_find(o.f, "t0")->offset + 20;
    closed(&o);
    char says[64];
    store16(b.data + scale, 0x7c00);
    o = accepted(&b);
    assert_int_equal(tensor_file_check(o.ctx, o.f), PITH_E_CHECK);
    snprintf(says, sizeof says, "data of t1 at byte %zu: block 1", scale);
    assert_non_null(strstr(pith_error(o.ctx), says));
    closed(&o);
    store16(b.data + scale, 0);
    store32(b.data + single, 0x7fc00000);
    o = accepted(&b);
    assert_int_equal(tensor_file_check(o.ctx, o.f), PITH_E_CHECK);
    snprintf(says, sizeof says, "data of t0 at byte %zu: block 5", single);
    assert_non_null(strstr(pith_error(o.ctx), says));
    closed(&o);
    free(b.data);
}

/* ---- every allocation may fail ---------------------------------------------------- */

static pith_status write_again(pith_ctx *ctx, const tensor_file *f) {
    bytes out = {0};
    gguf_writer *w;
    pith_status status = gguf_writer_new(ctx, &w);
    if (status) return status;
    for (size_t i = 0; i < f->n_meta && !status; i++) status = gguf_put_value(ctx, w, &f->meta[i]);
    for (size_t i = 0; i < f->n_tensors && !status; i++)
        status = gguf_put_tensor(ctx, w, f->tensors[i].name.data, f->tensors[i].name.size, TENSOR_F32, 1,
                                 f->tensors[i].ne);
    if (!status) status = gguf_put_text(ctx, w, "more", "text", 4);
    if (!status) status = gguf_write_head(ctx, w, collect, &out);
    pith_buffer head = {0};
    if (!status) status = safetensors_head(ctx, f->tensors, 0, f->meta, f->n_meta, &head);
    pith_buffer_free(ctx, &head);
    gguf_writer_free(ctx, w);
    free(out.data);
    return status;
}

static void no_memory(void **state) {
    (void)state;
    bytes files[] = {small_gguf(), small_llama2c(-5), small_rwkv(), safetensors_of(small_header, 26),
                     npy_of(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", 24)};
    for (unsigned i = 0; i < PITH_COUNT(files); i++) {
        bool done = false;
        for (long n = 1; !done && n < 1000; n++) {
            data_heap heap = {.fail_at = n};
            pith_allocator allocator = data_heap_allocator(&heap);
            pith_ctx *ctx = pith_ctx_new(&allocator);
            if (!ctx) continue;
            tensor_file *file;
            pith_status status = tensor_file_open_memory(ctx, files[i].data, files[i].n, &file);
            if (status == PITH_OK) {
                status = write_again(ctx, file);
                tensor_file_close(ctx, file);
            }
            if (status) assert_int_equal(status, PITH_E_MEMORY);
            done = status == PITH_OK;
            assert_int_equal(pith_memory_used(ctx), 0);
            pith_ctx_free(ctx);
        }
        assert_true(done);
        free(files[i].data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes),        cmocka_unit_test(same_model), cmocka_unit_test(every_kind_of_value),
        cmocka_unit_test(safetensors_again), cmocka_unit_test(npy_again),  cmocka_unit_test(bad_data),
        cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
