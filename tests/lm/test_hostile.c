/* Models that lie: every wrong key, shape or value is refused with one line that names it, by
 * the reader of the file or by the model, and nothing stays behind; the same when memory fails at any point. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lm/lm.h"
#include "lm/tiny_model.h"
#include "support/data_heap.h"

enum { LLAMA = 0, FACTORS = 1, GPT2 = 4, MAMBA = 6, RWKV4 = 8, EXPERTS = 9, DECI = 11 };

typedef enum lie { LIE_NONE, LIE_U32, LIE_F32, LIE_TEXT, LIE_LIST, LIE_FLOATS } lie;
typedef struct hostile {
    int variant;
    const char *without, *reshaped, *poisoned;
    lie kind;
    const char *key;
    uint32_t u32; /* of a list the second of two */
    float f32;
    const char *text;
    pith_status status;
    const char *says;
} hostile;

static const hostile cases[] = {
    {LLAMA, "token_embd.weight", .status = PITH_E_FORMAT, .says = "tensor token_embd.weight is missing"},
    {LLAMA, "output_norm.weight", .status = PITH_E_FORMAT, .says = "tensor output_norm.weight is missing"},
    {LLAMA, "blk.1.attn_q.weight", .status = PITH_E_FORMAT, .says = "tensor blk.1.attn_q.weight is missing"},
    {LLAMA, "blk.0.ffn_down.weight", .status = PITH_E_FORMAT, .says = "tensor blk.0.ffn_down.weight is missing"},
    {GPT2, "blk.1.ffn_up.bias", .status = PITH_E_FORMAT, .says = "tensor blk.1.ffn_up.bias is missing"},
    {GPT2, "position_embd.weight", .status = PITH_E_FORMAT, .says = "tensor position_embd.weight is missing"},
    {MAMBA, "blk.0.ssm_a", .status = PITH_E_FORMAT, .says = "tensor blk.0.ssm_a is missing"},
    {RWKV4, "output.weight", .status = PITH_E_FORMAT, .says = "tensor output.weight is missing"},
    {LLAMA, .reshaped = "token_embd.weight", .status = PITH_E_FORMAT, .says = "token_embd.weight"},
    {LLAMA, .reshaped = "blk.0.attn_k.weight", .status = PITH_E_FORMAT,
     .says = "blk.0.attn_k.weight has shape [33, 16]"},
    {LLAMA, .reshaped = "blk.1.attn_norm.weight", .status = PITH_E_FORMAT, .says = "the hyper-parameters say [32, 1]"},
    {FACTORS, .reshaped = "rope_freqs.weight", .status = PITH_E_FORMAT, .says = "rope_freqs.weight has shape [5, 1]"},
    {GPT2, .reshaped = "blk.0.attn_qkv.bias", .status = PITH_E_FORMAT, .says = "blk.0.attn_qkv.bias has shape [97, 1]"},
    {GPT2, .reshaped = "blk.0.attn_qkv.weight", .status = PITH_E_FORMAT,
     .says = "blk.0.attn_qkv.weight has shape [33, 96]"},
    {MAMBA, .reshaped = "blk.1.ssm_conv1d.weight", .status = PITH_E_FORMAT,
     .says = "ssm_conv1d.weight has shape [5, 64]"},
    {RWKV4, .reshaped = "blk.1.time_mix_first.weight", .status = PITH_E_FORMAT, .says = "has shape [33, 1]"},
    {LLAMA, .poisoned = "blk.0.ffn_norm.weight", .status = PITH_E_FORMAT,
     .says = "blk.0.ffn_norm.weight is not finite at element 16"},
    {FACTORS, .poisoned = "rope_freqs.weight", .status = PITH_E_FORMAT, .says = "rope_freqs.weight is not finite"},
    {MAMBA, .poisoned = "blk.0.ssm_a", .status = PITH_E_FORMAT, .says = "blk.0.ssm_a is not finite"},
    {LLAMA, .kind = LIE_U32, .key = "block_count", .u32 = 0, .status = PITH_E_FORMAT,
     .says = "llama.block_count is 0, which is not in 1..1024"},
    {LLAMA, .kind = LIE_U32, .key = "block_count", .u32 = 3, .status = PITH_E_FORMAT,
     .says = "tensor blk.2.attn_norm.weight is missing"},
    {LLAMA, .kind = LIE_U32, .key = "block_count", .u32 = 1000, .status = PITH_E_FORMAT,
     .says = "block_count is 1000, but the file has only"},
    {LLAMA, .kind = LIE_U32, .key = "block_count", .u32 = UINT32_MAX, .status = PITH_E_FORMAT,
     .says = "llama.block_count is 4294967295"},
    {LLAMA, .kind = LIE_U32, .key = "embedding_length", .u32 = 1u << 31, .status = PITH_E_FORMAT,
     .says = "llama.embedding_length"},
    {LLAMA, .kind = LIE_U32, .key = "embedding_length", .u32 = 64, .status = PITH_E_FORMAT,
     .says = "llama.embedding_length"},
    {LLAMA, .kind = LIE_U32, .key = "context_length", .u32 = 0, .status = PITH_E_FORMAT,
     .says = "llama.context_length is 0"},
    {LLAMA, .kind = LIE_U32, .key = "feed_forward_length", .u32 = 47, .status = PITH_E_FORMAT,
     .says = "ffn_gate.weight has shape [32, 48]"},
    {LLAMA, .kind = LIE_U32, .key = "attention.head_count", .u32 = 0, .status = PITH_E_FORMAT,
     .says = "attention.head_count is 0"},
    {LLAMA, .kind = LIE_U32, .key = "attention.head_count", .u32 = 6, .status = PITH_E_FORMAT,
     .says = "llama.attention.head_count"},
    {LLAMA, .kind = LIE_U32, .key = "attention.head_count_kv", .u32 = 3, .status = PITH_E_FORMAT,
     .says = "llama.attention.head_count_kv"},
    {LLAMA, .kind = LIE_U32, .key = "attention.head_count_kv", .u32 = 8, .status = PITH_E_FORMAT,
     .says = "llama.attention.head_count_kv"},
    {LLAMA, .kind = LIE_U32, .key = "attention.key_length", .u32 = 2000, .status = PITH_E_FORMAT,
     .says = "attention.key_length is 2000"},
    {LLAMA, .kind = LIE_U32, .key = "attention.value_length", .u32 = 4, .status = PITH_E_UNSUPPORTED,
     .says = "attention.value_length is 4"},
    {LLAMA, .kind = LIE_U32, .key = "rope.dimension_count", .u32 = 10, .status = PITH_E_FORMAT,
     .says = "rope.dimension_count is 10"},
    {LLAMA, .kind = LIE_U32, .key = "rope.dimension_count", .u32 = 5, .status = PITH_E_FORMAT,
     .says = "rope.dimension_count is 5, which is odd"},
    {LLAMA, .kind = LIE_U32, .key = "vocab_size", .u32 = 41, .status = PITH_E_FORMAT, .says = "llama.vocab_size"},
    {LLAMA, .kind = LIE_U32, .key = "expert_count", .u32 = 8, .status = PITH_E_FORMAT,
     .says = "llama.expert_used_count is 0, which is not in 1..8"},
    {GPT2, .kind = LIE_U32, .key = "expert_count", .u32 = 8, .status = PITH_E_UNSUPPORTED,
     .says = "experts of architecture gpt2 are not supported"},
    {EXPERTS, .kind = LIE_U32, .key = "expert_used_count", .u32 = 5, .status = PITH_E_FORMAT,
     .says = "llama.expert_used_count is 5, which is not in 1..4"},
    {EXPERTS, .kind = LIE_U32, .key = "expert_count", .u32 = 3, .status = PITH_E_FORMAT,
     .says = "ffn_gate_inp.weight has shape [32, 4]"},
    {EXPERTS, .kind = LIE_U32, .key = "expert_count", .u32 = 1u << 30, .status = PITH_E_FORMAT,
     .says = "llama.expert_count is 1073741824"},
    {EXPERTS, .kind = LIE_U32, .key = "expert_count", .u32 = 1, .status = PITH_E_FORMAT,
     .says = "tensor blk.0.ffn_gate.weight is missing"},
    {EXPERTS, .kind = LIE_U32, .key = "expert_shared_count", .u32 = 1, .status = PITH_E_UNSUPPORTED,
     .says = "llama.expert_shared_count is 1"},
    {EXPERTS, .kind = LIE_F32, .key = "expert_weights_scale", .f32 = 2, .status = PITH_E_UNSUPPORTED,
     .says = "llama.expert_weights_scale is 2"},
    {EXPERTS, .kind = LIE_U32, .key = "feed_forward_length", .u32 = 47, .status = PITH_E_FORMAT,
     .says = "ffn_gate_exps.weight has shape [32, 48"},
    {EXPERTS, "blk.1.ffn_up_exps.weight", .status = PITH_E_FORMAT, .says = "blk.1.ffn_up_exps.weight is missing"},
    {EXPERTS, .reshaped = "blk.0.ffn_down_exps.weight", .status = PITH_E_FORMAT,
     .says = "ffn_down_exps.weight has shape [49, 32"},
    {LLAMA, .kind = LIE_F32, .key = "attention.layer_norm_rms_epsilon", .f32 = NAN, .status = PITH_E_FORMAT,
     .says = "llama.attention.layer_norm_rms_epsilon"},
    {LLAMA, .kind = LIE_F32, .key = "attention.layer_norm_rms_epsilon", .f32 = 0, .status = PITH_E_FORMAT,
     .says = "between 0 and 1"},
    {LLAMA, .kind = LIE_F32, .key = "attention.layer_norm_rms_epsilon", .f32 = -1e-5f, .status = PITH_E_FORMAT,
     .says = "between 0 and 1"},
    {LLAMA, .kind = LIE_F32, .key = "rope.freq_base", .f32 = INFINITY, .status = PITH_E_FORMAT,
     .says = "llama.rope.freq_base"},
    {LLAMA, .kind = LIE_F32, .key = "rope.freq_base", .f32 = 0, .status = PITH_E_FORMAT,
     .says = "llama.rope.freq_base is 0"},
    {LLAMA, .kind = LIE_F32, .key = "block_count", .f32 = 2.5f, .status = PITH_E_FORMAT,
     .says = "llama.block_count is not a whole number"},
    {LLAMA, .kind = LIE_TEXT, .key = "rope.scaling.type", .text = "yarn", .status = PITH_E_UNSUPPORTED,
     .says = "\"yarn\""},
    {LLAMA, .kind = LIE_TEXT, .key = "rope.freq_base", .text = "x", .status = PITH_E_FORMAT,
     .says = "rope.freq_base is no number"},
    {LLAMA, .kind = LIE_TEXT, .key = NULL, .text = "gpt-5", .status = PITH_E_UNSUPPORTED,
     .says = "\"gpt-5\"; known are llama"},
    {MAMBA, .kind = LIE_U32, .key = "ssm.conv_kernel", .u32 = 0, .status = PITH_E_FORMAT,
     .says = "mamba.ssm.conv_kernel is 0"},
    {MAMBA, .kind = LIE_U32, .key = "ssm.state_size", .u32 = 1u << 20, .status = PITH_E_FORMAT,
     .says = "mamba.ssm.state_size is 1048576"},
    {MAMBA, .kind = LIE_U32, .key = "ssm.time_step_rank", .u32 = 4, .status = PITH_E_FORMAT,
     .says = "the hyper-parameters say"},
    {DECI, .kind = LIE_LIST, .key = "feed_forward_length", .u32 = 47, .status = PITH_E_FORMAT,
     .says = "blk.1.ffn_gate.weight has shape [32, 48], the hyper-parameters say [32, 47]"},
    {DECI, .kind = LIE_LIST, .key = "feed_forward_length", .u32 = 0, .status = PITH_E_UNSUPPORTED,
     .says = "deci.feed_forward_length is 0 for layer 1, which is not in 1..1048576"},
    {DECI, .kind = LIE_LIST, .key = "attention.head_count", .u32 = 0, .status = PITH_E_UNSUPPORTED,
     .says = "deci.attention.head_count is 0 for layer 1"},
    {DECI, .kind = LIE_LIST, .key = "attention.head_count", .u32 = UINT32_MAX, .status = PITH_E_FORMAT,
     .says = "deci.attention.head_count is 4294967295 for layer 1, which is not in 1..1024"},
    {DECI, .kind = LIE_LIST, .key = "attention.head_count_kv", .u32 = 3, .status = PITH_E_FORMAT,
     .says = "deci.attention.head_count_kv is 3, which does not divide 4 heads"},
    {DECI, .kind = LIE_LIST, .key = "embedding_length", .u32 = 32, .status = PITH_E_FORMAT,
     .says = "deci.embedding_length is not a whole number"},
    {RWKV4, .kind = LIE_LIST, .key = "feed_forward_length", .u32 = 48, .status = PITH_E_FORMAT,
     .says = "rwkv4.feed_forward_length is not a whole number"},
    {DECI, .kind = LIE_FLOATS, .key = "attention.head_count", .status = PITH_E_FORMAT,
     .says = "deci.attention.head_count is not a list of whole numbers"},
    {DECI, .kind = LIE_U32, .key = "block_count", .u32 = 3, .status = PITH_E_FORMAT,
     .says = "deci.feed_forward_length is a list of 2, there are 3 layers"},
    {DECI, .kind = LIE_U32, .key = "attention.head_count", .u32 = 4, .status = PITH_E_FORMAT,
     .says = "blk.0.attn_q.weight has shape [32, 24], the hyper-parameters say [32, 32]"},
};

static const hostile *telling;

static pith_status tell(tiny_file *t, const tiny_variant *v) {
    char key[96];
    if (telling->key)
        snprintf(key, sizeof key, "%s.%s", v->architecture, telling->key);
    else
        snprintf(key, sizeof key, "general.architecture");
    switch (telling->kind) {
    case LIE_U32: return gguf_put_u32(t->ctx, t->writer, key, telling->u32);
    case LIE_F32: return gguf_put_f32(t->ctx, t->writer, key, telling->f32);
    case LIE_TEXT: return gguf_put_text(t->ctx, t->writer, key, telling->text, strlen(telling->text));
    case LIE_LIST: {
        const uint32_t list[] = {!strcmp(telling->key, "feed_forward_length") ? 20 : 3, telling->u32};
        return gguf_put_array(t->ctx, t->writer, key, META_U32, list, 2);
    }
    case LIE_FLOATS: return gguf_put_array(t->ctx, t->writer, key, META_F32, (const float[]){3, 4}, 2);
    case LIE_NONE: break;
    }
    return PITH_OK;
}

static void test_lies(void **state) {
    (void)state;
    for (size_t i = 0; i < PITH_COUNT(cases); i++) {
        pith_ctx *ctx = pith_ctx_new(NULL);
        tiny_file bytes = {.without = cases[i].without, .reshaped = cases[i].reshaped, .poisoned = cases[i].poisoned};
        telling = &cases[i];
        if (tiny_build(ctx, &bytes, &tiny_variants[cases[i].variant], tell))
            fail_msg("case %zu: %s", i, pith_error(ctx));
        tensor_file *f = NULL;
        lm_model *m = NULL;
        pith_status status = tensor_file_open_memory(ctx, bytes.out.data, bytes.out.size, &f);
        if (!status) status = lm_open_file(ctx, f, &m);
        if (status != cases[i].status || !strstr(pith_error(ctx), cases[i].says) || strchr(pith_error(ctx), '\n'))
            fail_msg("case %zu: status %d, \"%s\" instead of \"%s\"", i, (int)status, pith_error(ctx), cases[i].says);
        assert_null(m);
        tensor_file_close(ctx, f);
        pith_buffer_free(ctx, &bytes.out);
        assert_int_equal(pith_memory_used(ctx), 0);
        pith_ctx_free(ctx);
    }
}

/* Damaged bytes anywhere: refused, or a model that runs. */
static void test_damage(void **state) {
    (void)state;
    uint64_t seed = 1234567;
    size_t refused = 0;
    for (size_t round = 0; round < 600; round++) {
        pith_ctx *ctx = pith_ctx_new(NULL);
        pith_ctx_set_memory(ctx, 16 << 20);
        tiny_file bytes = {0};
        assert_int_equal(tiny_build(ctx, &bytes, &tiny_variants[round % PITH_COUNT(tiny_variants)], NULL), PITH_OK);
        for (int hits = 0; hits < 3; hits++) {
            tiny_random(&seed);
            bytes.out.data[seed % PITH_MIN(bytes.out.size, (size_t)4000)] ^= (uint8_t)(seed >> 32);
        }
        tensor_file *f = NULL;
        lm_model *m = NULL;
        lm_session *s = NULL;
        pith_status status = tensor_file_open_memory(ctx, bytes.out.data, bytes.out.size, &f);
        if (!status) status = lm_open_file(ctx, f, &m);
        if (!status) status = lm_session_new(ctx, m, &(lm_session_options){.max_batch = 4, .n_threads = 1}, &s);
        if (!status) status = lm_eval(s, (lm_token[]){{3, 0, false}, {5, 0, true}}, 2);
        if (status) {
            refused++;
            assert_string_not_equal(pith_error(ctx), "");
            assert_null(strchr(pith_error(ctx), '\n'));
        }
        lm_session_free(s);
        lm_close(ctx, m);
        tensor_file_close(ctx, f);
        pith_buffer_free(ctx, &bytes.out);
        assert_int_equal(pith_memory_used(ctx), 0);
        pith_ctx_free(ctx);
    }
    assert_true(refused > 100 && refused < 600);
}

static void test_no_memory(void **state) {
    (void)state;
    static const int variants[] = {LLAMA, GPT2, MAMBA, RWKV4, EXPERTS, DECI};
    pith_ctx *builder = pith_ctx_new(NULL);
    for (size_t v = 0; v < PITH_COUNT(variants); v++) {
        tiny_file bytes = {0};
        assert_int_equal(tiny_build(builder, &bytes, &tiny_variants[variants[v]], NULL), PITH_OK);
        size_t failures = 0;
        for (long at = 1;; at++) {
            data_heap heap = {.fail_at = at, .once = true};
            const pith_allocator allocator = data_heap_allocator(&heap);
            pith_ctx *ctx = pith_ctx_new(&allocator);
            assert_non_null(ctx);
            tensor_file *f = NULL;
            lm_model *m = NULL;
            lm_session *s = NULL;
            pith_status status = tensor_file_open_memory(ctx, bytes.out.data, bytes.out.size, &f);
            if (!status) status = lm_open_file(ctx, f, &m);
            if (!status) status = lm_session_new(ctx, m, &(lm_session_options){.max_batch = 4, .n_threads = 2}, &s);
            if (!status) status = lm_eval(s, &(lm_token){3, 0, true}, 1);
            assert_true(status == PITH_OK || status == PITH_E_MEMORY);
            lm_session_free(s);
            lm_close(ctx, m);
            tensor_file_close(ctx, f);
            assert_int_equal(pith_memory_used(ctx), 0);
            pith_ctx_free(ctx);
            if (!status && atomic_load(&heap.calls) <= at) break;
            failures += status != PITH_OK;
        }
        assert_true(failures > 20);
        pith_buffer_free(builder, &bytes.out);
    }
    pith_ctx_free(builder);
}

/* What a session asks for is refused before it is taken. */
static void test_open_errors(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    lm_model *m;
    assert_int_equal(lm_open(ctx, "there/is/no/such.gguf", &m), PITH_E_IO);
    assert_null(m);
    pith_begin(ctx);
    tiny_file bytes = {0};
    tensor_file *f;
    lm_session *s;
    assert_int_equal(tiny_build(ctx, &bytes, &tiny_variants[GPT2], NULL), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, bytes.out.data, bytes.out.size, &f), PITH_OK);
    assert_int_equal(lm_open_file(ctx, f, &m), PITH_OK);
    assert_int_equal(lm_session_new(ctx, m, &(lm_session_options){.n_ctx = TINY_CTX + 1}, &s), PITH_E_ARGUMENT);
    assert_non_null(strstr(pith_error(ctx), "knows 80 positions"));
    lm_close(ctx, m);
    tensor_file_close(ctx, f);
    pith_buffer_free(ctx, &bytes.out);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lies),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_open_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
