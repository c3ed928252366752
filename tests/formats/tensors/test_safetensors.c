/* safetensors: what a good file shows and how broken ones are refused, alone, sharded and beside a config.json. */
#include "formats/tensors/files.h"

#include <sys/stat.h>
#include <unistd.h>

static void good_file(void **state) {
    (void)state;
    bytes b = safetensors_of(small_header, 26);
    opened o = accepted(&b);
    meta_string text;
    assert_string_equal(o.f->format, "safetensors");
    assert_int_equal(o.f->n_tensors, 2);
    assert_true(meta_text(o.f, "safetensors.format", &text) && is_text(text, "pt"));
    const tensor_view *a = tensor_find(o.f, "a"), *scalar = tensor_find(o.f, "b");
    assert_int_equal(a->ne[0], 3);
    assert_int_equal(a->ne[1], 2);
    assert_int_equal(scalar->type, TENSOR_BF16);
    assert_int_equal(scalar->n_elements, 1);
    assert_int_equal(scalar->offset, b.n - 2);
    closed(&o);
    free(b.data);
}

static void header_refused(const char *header, size_t data, pith_status status, const char *says) {
    bytes b = safetensors_of(header, data);
    refused(&b, status, says);
    free(b.data);
}

/* One F32 tensor "a" with this shape and range. */
static void entry_refused(const char *shape, const char *range, size_t data, pith_status status, const char *says) {
    char header[300];
    snprintf(header, sizeof header, "{\"a\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":%s}}", shape, range);
    header_refused(header, data, status, says);
}

static void broken_headers(void **state) {
    (void)state;
    bytes b = safetensors_of(small_header, 26);
    for (size_t n = 9; n < b.n; n++) {
        bytes cut = {b.data, n, n};
        refused(&cut, PITH_E_TRUNCATED, " at byte ");
    }
    store64(b.data, UINT64_MAX);
    refused(&b, PITH_E_TRUNCATED, "header length at byte 0: ");
    free(b.data);
    header_refused("{", 0, PITH_E_FORMAT, "header at byte ");
    header_refused("{\"a\":1}", 0, PITH_E_FORMAT, "entry of a at byte 9: should be an object");
    header_refused("{}}", 0, PITH_E_FORMAT, "header at byte ");
    header_refused("{\"a\":{},\"a\":{}}", 0, PITH_E_FORMAT, "header at byte ");
    header_refused("{\"a\\u0000b\":{}}", 0, PITH_E_FORMAT, "header at byte ");
    header_refused("{\"__metadata__\":{\"k\":1}}", 0, PITH_E_FORMAT, "entry of __metadata__ at byte 9");
    header_refused("{\"__metadata__\":7}", 0, PITH_E_FORMAT, "entry of __metadata__ at byte 9");
    header_refused("{\"\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, PITH_E_FORMAT,
                   "tensor name at byte ");
    header_refused("{\"a\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1, PITH_E_UNSUPPORTED,
                   "dtype of a at byte 9: F4");
    header_refused("{\"a\":{\"dtype\":3,\"shape\":[2],\"data_offsets\":[0,1]}}", 1, PITH_E_FORMAT, "dtype of a at byte 9");
    header_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2],\"x\":1}}", 2, PITH_E_FORMAT,
                   "entry of a at byte 9");
    char deep[9000] = "{\"a\":";
    memset(deep + 5, '[', 8000);
    header_refused(deep, 0, PITH_E_FORMAT, "header at byte ");
}

static void broken_entries(void **state) {
    (void)state;
    entry_refused("[2]", "[0,8]", 7, PITH_E_TRUNCATED, "data_offsets of a at byte 9: ends at byte 8");
    entry_refused("[2]", "[0,8]", 9, PITH_E_FORMAT, "data at byte ");
    entry_refused("[2]", "[8,16]", 16, PITH_E_FORMAT, "data at byte ");
    entry_refused("[2]", "[8,0]", 8, PITH_E_FORMAT, "data_offsets of a at byte 9");
    entry_refused("[2]", "[0,4]", 4, PITH_E_FORMAT, "data_offsets of a at byte 9: the range does not have");
    entry_refused("[2]", "[0]", 8, PITH_E_FORMAT, "data_offsets of a at byte 9");
    entry_refused("[2]", "[0,8.0]", 8, PITH_E_FORMAT, "data_offsets of a at byte 9");
    entry_refused("[2]", "[-8,0]", 8, PITH_E_FORMAT, "data_offsets of a at byte 9");
    entry_refused("[2.0]", "[0,8]", 8, PITH_E_FORMAT, "shape of a at byte 9");
    entry_refused("[2e0]", "[0,8]", 8, PITH_E_FORMAT, "shape of a at byte 9");
    entry_refused("[-2]", "[0,8]", 8, PITH_E_FORMAT, "shape of a at byte 9");
    entry_refused("[1,1,1,1,1,1,1,1,1]", "[0,4]", 4, PITH_E_FORMAT, "shape of a at byte 9");
    entry_refused("[4611686018427387904,4]", "[0,0]", 0, PITH_E_FORMAT, "ne[1] of a at byte 9: the number of elements");
    entry_refused("[99999999999999999999]", "[0,0]", 0, PITH_E_FORMAT, "header at byte ");
    header_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
                   "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}",
                   8, PITH_E_FORMAT, "offset of b, record at byte ");
}

/* Memory that jansson may take is weighed first. */
static void memory_is_judged(void **state) {
    (void)state;
    bytes b = safetensors_of(small_header, 26);
    pith_ctx *ctx = pith_ctx_new(NULL);
    tensor_file *f;
    pith_ctx_set_memory(ctx, 4000);
    assert_int_equal(tensor_file_open_memory(ctx, b.data, b.n, &f), PITH_E_LIMIT);
    assert_non_null(strstr(pith_error(ctx), "header at byte 8"));
    pith_ctx_free(ctx);
    free(b.data);
}

/* ---- directories --------------------------------------------------------------- */

static char folder[64];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/pith-test-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static void path_of(char out[256], const char *name) { snprintf(out, 256, "%s/%s", folder, name); }

static int remove_folder(void **state) {
    (void)state;
    static const char *const names[] = {"config.json", "model.safetensors", "model.safetensors.index.json",
                                        "one.safetensors", "two.safetensors"};
    char path[256];
    for (unsigned i = 0; i < PITH_COUNT(names); i++) {
        path_of(path, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static void save(const char *name, const void *data, size_t n) {
    char path[256];
    path_of(path, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
}

/* A safetensors file of F16 tensors of 4 x 4, or 4 where the name ends in "norm.weight" or "bias". */
static bytes model_of(const char *const *names, unsigned n) {
    char header[4096] = "{";
    size_t at = 1, data = 0;
    for (unsigned i = 0; i < n; i++) {
        bool vector = strstr(names[i], "norm") || strstr(names[i], "bias") || strstr(names[i], "ln_");
        bool conv = strstr(names[i], "conv1d.weight") != NULL;
        size_t size = vector ? 8 : 32;
        at += (size_t)snprintf(header + at, sizeof header - at,
                               "%s\"%s\":{\"dtype\":\"F16\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", i ? "," : "",
                               names[i], vector ? "[4]" : conv ? "[4,1,4]" : "[4,4]", data, data + size);
        data += size;
    }
    snprintf(header + at, sizeof header - at, "}");
    return safetensors_of(header, data);
}

static void open_folder(pith_ctx *ctx, const char *config, const char *const *names, unsigned n, tensor_file **f) {
    bytes b = model_of(names, n);
    save("model.safetensors", b.data, b.n);
    save("config.json", config, strlen(config));
    if (tensor_file_open(ctx, folder, f) != PITH_OK) fail_msg("refused: %s", pith_error(ctx));
    free(b.data);
}

static void has_names(const tensor_file *f, const char *const *names, unsigned n) {
    for (unsigned i = 0; i < n; i++)
        if (!tensor_find(f, names[i])) fail_msg("no %s", names[i]);
    assert_int_equal(f->n_tensors, n);
}

static void llama_directory(void **state) {
    (void)state;
    static const char config[] =
        "{\"model_type\":\"llama\",\"hidden_size\":4,\"num_hidden_layers\":1,\"intermediate_size\":4,"
        "\"num_attention_heads\":2,\"num_key_value_heads\":2,\"max_position_embeddings\":128,\"vocab_size\":4,"
        "\"rms_norm_eps\":1e-5,\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,"
        "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}}";
    static const char *const names[] = {"model.embed_tokens.weight",
                                        "model.layers.0.self_attn.q_proj.weight",
                                        "model.layers.0.self_attn.k_proj.weight",
                                        "model.layers.0.self_attn.rotary_emb.inv_freq",
                                        "model.layers.0.post_attention_layernorm.weight",
                                        "model.layers.0.mlp.gate_proj.weight",
                                        "model.norm.weight",
                                        "lm_head.weight"};
    static const char *const expected[] = {"token_embd.weight",    "blk.0.attn_q.weight",   "blk.0.attn_k.weight",
                                           "blk.0.ffn_norm.weight", "blk.0.ffn_gate.weight", "output_norm.weight",
                                           "output.weight",        "rope_freqs.weight"};
    pith_ctx *ctx = pith_ctx_new(NULL);
    tensor_file *f;
    meta_string text;
    uint64_t number;
    double real;
    open_folder(ctx, config, names, PITH_COUNT(names), &f);
    has_names(f, expected, PITH_COUNT(expected));
    assert_true(meta_text(f, "general.architecture", &text) && is_text(text, "llama"));
    assert_true(meta_text(f, "pith.rope_layout", &text) && is_text(text, "half"));
    assert_true(meta_u64(f, "llama.rope.dimension_count", &number) && number == 2);
    assert_true(meta_u64(f, "llama.attention.head_count_kv", &number) && number == 2);
    assert_true(meta_f64(f, "llama.rope.freq_base", &real) && real == 500000);
    /* One pair of wave 2 pi, shorter than 64 / 4: kept. */
    const tensor_view *freqs = tensor_find(f, "rope_freqs.weight");
    assert_int_equal(freqs->n_elements, 1);
    assert_int_equal(load32(freqs->data), 0x3f800000);
    uint8_t hash[16], again[16];
    assert_int_equal(tensor_file_hash(ctx, f, hash), PITH_OK);
    tensor_file_close(ctx, f);
    open_folder(ctx, config, names, PITH_COUNT(names), &f);
    assert_int_equal(tensor_file_hash(ctx, f, again), PITH_OK);
    assert_memory_equal(hash, again, 16);
    tensor_file_close(ctx, f);
    pith_ctx_free(ctx);
}

static void other_directories(void **state) {
    (void)state;
    static const struct {
        const char *config;
        const char *names[4], *expected[4], *arch, *key;
        unsigned n;
    } cases[] = {
        {"{\"model_type\":\"gpt2\",\"n_embd\":4,\"n_layer\":1,\"n_head\":2,\"n_ctx\":16,\"vocab_size\":4}",
         {"h.0.attn.c_attn.weight", "transformer.h.0.ln_1.bias", "wpe.weight", "wte.weight"},
         {"blk.0.attn_qkv.weight", "blk.0.attn_norm.bias", "position_embd.weight", "token_embd.weight"},
         "gpt2",
         "pith.transposed",
         4},
        {"{\"model_type\":\"mamba\",\"hidden_size\":4,\"num_hidden_layers\":1,\"vocab_size\":4}",
         {"backbone.embeddings.weight", "backbone.layers.0.mixer.A_log", "backbone.layers.0.mixer.conv1d.weight",
          "backbone.layers.0.mixer.dt_proj.bias"},
         {"token_embd.weight", "blk.0.ssm_a", "blk.0.ssm_conv1d.weight", "blk.0.ssm_dt.bias"},
         "mamba",
         "pith.ssm_a",
         4},
        {"{\"model_type\":\"bert\",\"hidden_size\":4,\"num_hidden_layers\":1,\"intermediate_size\":8,"
         "\"num_attention_heads\":2,\"max_position_embeddings\":16,\"vocab_size\":4,\"type_vocab_size\":2}",
         {"bert.embeddings.word_embeddings.weight", "bert.encoder.layer.0.attention.output.dense.bias",
          "bert.encoder.layer.0.output.dense.weight", "bert.pooler.dense.weight"},
         {"token_embd.weight", "blk.0.attn_output.bias", "blk.0.ffn_down.weight"},
         "bert",
         "bert.attention.causal",
         3},
        {"{\"model_type\":\"qwen2\",\"hidden_size\":4,\"num_hidden_layers\":1,\"intermediate_size\":8,"
         "\"num_attention_heads\":2,\"num_key_value_heads\":1,\"max_position_embeddings\":16,\"vocab_size\":4,"
         "\"rope_scaling\":null}",
         {"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.bias", "model.norm.weight", "lm_head.weight"},
         {"token_embd.weight", "blk.0.attn_q.bias", "output_norm.weight", "output.weight"},
         "qwen2",
         "qwen2.rope.freq_base",
         4}};
    for (unsigned i = 0; i < PITH_COUNT(cases); i++) {
        pith_ctx *ctx = pith_ctx_new(NULL);
        tensor_file *f;
        meta_string arch;
        open_folder(ctx, cases[i].config, cases[i].names, 4, &f);
        has_names(f, cases[i].expected, cases[i].n);
        assert_true(meta_text(f, "general.architecture", &arch) && is_text(arch, cases[i].arch));
        assert_non_null(meta_find(f, cases[i].key));
        const tensor_view *conv = tensor_find(f, "blk.0.ssm_conv1d.weight");
        if (conv) {
            assert_int_equal(conv->n_dims, 2);
            assert_int_equal(conv->ne[1], 4);
        }
        tensor_file_close(ctx, f);
        assert_int_equal(pith_memory_used(ctx), 0);
        pith_ctx_free(ctx);
    }
}

static void config_refused(const char *config, pith_status status, const char *says) {
    static const char *const names[] = {"model.embed_tokens.weight"};
    bytes b = model_of(names, 1);
    pith_ctx *ctx = pith_ctx_new(NULL);
    tensor_file *f;
    save("model.safetensors", b.data, b.n);
    save("config.json", config, strlen(config));
    assert_int_equal(tensor_file_open(ctx, folder, &f), status);
    if (!strstr(pith_error(ctx), says)) fail_msg("says \"%s\" instead of \"%s\"", pith_error(ctx), says);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
    free(b.data);
}

static void broken_configs(void **state) {
    (void)state;
    config_refused("{", PITH_E_FORMAT, "config.json at byte ");
    config_refused("[]", PITH_E_FORMAT, "config.json at byte 0: should be a JSON object");
    config_refused("{}", PITH_E_UNSUPPORTED, "model_type (none)");
    config_refused("{\"model_type\":\"t5\\n\"}", PITH_E_UNSUPPORTED, "model_type t5? is not one of");
    config_refused("{\"model_type\":\"llama\"}", PITH_E_FORMAT, "num_hidden_layers is missing");
    config_refused("{\"model_type\":\"llama\",\"num_hidden_layers\":1.5}", PITH_E_FORMAT, "num_hidden_layers should be");
    config_refused("{\"model_type\":\"llama\",\"num_hidden_layers\":-1}", PITH_E_FORMAT, "num_hidden_layers should be");
    config_refused("{\"model_type\":\"llama\",\"num_hidden_layers\":4294967296}", PITH_E_FORMAT,
                   "num_hidden_layers should be");
    config_refused("{\"model_type\":\"gpt2\",\"n_embd\":5,\"n_layer\":1,\"n_head\":1,\"n_ctx\":16,\"vocab_size\":4,"
                   "\"n_inner\":-1}",
                   PITH_E_FORMAT, "n_inner is out of range");
}

static void shards(void **state) {
    (void)state;
    static const char *const first[] = {"a.weight", "norm.weight"}, *const second[] = {"b.weight"};
    bytes one = model_of(first, 2), two = model_of(second, 1);
    two.data[two.n - 32] = 77;
    save("one.safetensors", one.data, one.n);
    save("two.safetensors", two.data, two.n);
    char path[256];
    path_of(path, "model.safetensors.index.json");
    static const struct {
        const char *index, *says;
    } cases[] = {
        {"{\"weight_map\":{\"a.weight\":\"one.safetensors\",\"norm.weight\":\"one.safetensors\","
         "\"b.weight\":\"two.safetensors\"}}",
         NULL},
        {"{\"weight_map\":{\"a.weight\":\"one.safetensors\",\"b.weight\":\"two.safetensors\"}}", "names 2 tensors"},
        {"{\"weight_map\":{\"a.weight\":\"../one.safetensors\"}}", "should name a file beside it"},
        {"{\"weight_map\":{\"a.weight\":\"..\"}}", "should name a file beside it"},
        {"{\"weight_map\":{\"a.weight\":7}}", "should name a file beside it"},
        {"{\"weight_map\":{\"a.weight\":\"none.safetensors\"}}", "none.safetensors: "},
        {"{}", "weight_map should be an object"}};
    for (unsigned i = 0; i < PITH_COUNT(cases); i++) {
        pith_ctx *ctx = pith_ctx_new(NULL);
        tensor_file *f;
        save("model.safetensors.index.json", cases[i].index, strlen(cases[i].index));
        pith_status status = tensor_file_open(ctx, path, &f);
        if (cases[i].says) {
            assert_int_not_equal(status, PITH_OK);
            if (!strstr(pith_error(ctx), cases[i].says)) fail_msg("says \"%s\"", pith_error(ctx));
        } else {
            assert_int_equal(status, PITH_OK);
            assert_int_equal(f->n_tensors, 3);
            assert_int_equal(f->file_bytes, one.n + two.n);
            assert_int_equal(tensor_find(f, "b.weight")->data[0], 77);
            tensor_file_close(ctx, f);
        }
        assert_int_equal(pith_memory_used(ctx), 0);
        pith_ctx_free(ctx);
    }
    free(one.data);
    free(two.data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_file),
        cmocka_unit_test(broken_headers),
        cmocka_unit_test(broken_entries),
        cmocka_unit_test(memory_is_judged),
        cmocka_unit_test_setup_teardown(llama_directory, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(other_directories, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(broken_configs, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(shards, make_folder, remove_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
