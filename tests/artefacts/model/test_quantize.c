/* Quantised files against llama-quantize's, whole: known answers are XXH3 of what it wrote (ggml 0.25.1) for the
 * models of quantize_models.h; then refusals, overrides, error feedback, and files that hold no numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "artefacts/model/quantize_ahead.h"
#include "artefacts/model/quantize_models.h"

static const char *const mixes[] = {"q4_0",   "q4_1",   "q5_0",   "q5_1",   "q8_0",   "q2_K",   "q3_K_S", "q3_K_M",
                                    "q3_K_L", "q4_K_S", "q4_K_M", "q5_K_S", "q5_K_M", "q6_K",   "iq4_nl", "iq4_xs",
                                    "tq1_0",  "tq2_0",  "mxfp4_moe", "f16",  "bf16",   "f32"};

/* XXH3 of the XXH3 of the files of all mixes, in their order. */
static const uint64_t answers[SAMPLE_MODELS][2] = {
    {0x6aa03f28e376da34, 0x7d68b2f87c63fd10},
    {0x34e1de2f091147e3, 0x7eb5bb44fcc91102},
    {0x410bd937775c562a, 0x192b4c26cc78961e},
    {0x7be1bc4bb2d98065, 0xd703e82b19099b15},
    {0x60933ac35af321c2, 0x982eda82681a954b},
    {0x85a14aac2c926b18, 0x3acefe9ae1f2f069},
    {0xe5c1530bf0e8411a, 0x1211e0538d61d865},
    {0xe2380ee7a3827a75, 0xe87de35ee2cfc3aa},
};

typedef struct sink {
    pith_ctx *ctx;
    pith_buffer bytes;
    size_t limit; /* refuses more */
} sink;

static pith_status take(void *opaque, const void *data, size_t size) {
    sink *s = opaque;
    if (s->limit && s->bytes.size + size > s->limit) return PITH_E_IO;
    return pith_buffer_append(s->ctx, &s->bytes, data, size);
}

/* One of the models, opened, with its importance. */
typedef struct opened {
    pith_ctx *ctx;
    pith_buffer bytes, importance;
    tensor_file *file;
    model_stats *stats;
} opened;

static opened open_sample(size_t i, unsigned n_threads) {
    opened o = {.ctx = pith_ctx_new(NULL)};
    assert_non_null(o.ctx);
    pith_ctx_set_threads(o.ctx, n_threads);
    assert_int_equal(sample_file(o.ctx, &sample_models[i], &o.bytes), PITH_OK);
    assert_int_equal(sample_importance(o.ctx, &sample_models[i], &o.importance), PITH_OK);
    assert_int_equal(tensor_file_open_memory(o.ctx, o.bytes.data, o.bytes.size, &o.file), PITH_OK);
    assert_int_equal(model_stats_open_memory(o.ctx, o.importance.data, o.importance.size, &o.stats), PITH_OK);
    return o;
}

static void close_sample(opened *o) {
    model_stats_close(o->ctx, o->stats);
    tensor_file_close(o->ctx, o->file);
    pith_buffer_free(o->ctx, &o->importance);
    pith_buffer_free(o->ctx, &o->bytes);
    assert_int_equal(pith_memory_used(o->ctx), 0);
    pith_ctx_free(o->ctx);
}

static quantize_options with_mix(const char *name) {
    quantize_options options = {.mix = quantize_mix_named(name), .stats_name = "imp"};
    assert_non_null(options.mix);
    return options;
}

static uint64_t file_hash(const opened *o, const char *mix, bool importance) {
    quantize_options options = with_mix(mix);
    quantize_plan *plan;
    sink s = {.ctx = o->ctx};
    if (importance) options.stats = o->stats;
    if (quantize_plan_new(o->ctx, o->file, &options, &plan) != PITH_OK) fail_msg("%s: %s", mix, pith_error(o->ctx));
    if (quantize_write(o->ctx, plan, take, &s) != PITH_OK) fail_msg("%s: %s", mix, pith_error(o->ctx));
    uint64_t hash = pith_hash64(s.bytes.data, s.bytes.size);
    pith_buffer_free(o->ctx, &s.bytes);
    quantize_plan_free(o->ctx, plan);
    return hash;
}

static void test_answers(void **state) {
    (void)state;
    for (size_t i = 0; i < SAMPLE_MODELS; i++) {
        opened o = open_sample(i, 1 + (unsigned)i % 3);
        for (size_t importance = 0; importance < 2; importance++) {
            uint8_t hashes[PITH_COUNT(mixes)][8];
            for (size_t k = 0; k < PITH_COUNT(mixes); k++) store64(hashes[k], file_hash(&o, mixes[k], importance == 1));
            if (pith_hash64(hashes, sizeof hashes) != answers[i][importance])
                fail_msg("model %zu, importance %zu", i, importance);
        }
        close_sample(&o);
    }
}

static tensor_type planned(const quantize_plan *plan, const char *name) {
    for (size_t i = 0; i < plan->n; i++)
        if (plan->list[i].from->name.size == strlen(name) &&
            memcmp(plan->list[i].from->name.data, name, strlen(name)) == 0)
            return plan->list[i].type;
    fail_msg("no %s", name);
    return TENSOR_F32;
}

static void test_choices(void **state) {
    (void)state;
    opened o = open_sample(0, 1);
    quantize_plan *plan;
    static const quantize_choice choices[] = {{"blk\\.1[0-3]\\.ATTN_v", 19, TENSOR_Q8_0},
                                              {"ffn_(up|gate)", 13, TENSOR_Q2_K},
                                              {"attn", 4, TENSOR_Q5_K}};
    quantize_options options = with_mix("Q4_k");
    assert_string_equal(options.mix->name, "q4_K_M");
    options.choices = choices;
    options.n_choices = 3;
    options.output = tensor_type_of(TENSOR_Q5_0);
    options.embedding = tensor_type_of(TENSOR_F16);
    assert_int_equal(quantize_plan_new(o.ctx, o.file, &options, &plan), PITH_OK);
    assert_int_equal(planned(plan, "blk.11.attn_v.weight"), TENSOR_Q8_0);
    assert_int_equal(planned(plan, "blk.9.attn_v.weight"), TENSOR_Q5_K);
    assert_int_equal(planned(plan, "blk.9.ffn_up.weight"), TENSOR_Q2_K);
    assert_int_equal(planned(plan, "blk.0.ffn_down.weight"), TENSOR_Q6_K);
    assert_int_equal(planned(plan, "output.weight"), TENSOR_Q5_0);
    assert_int_equal(planned(plan, "token_embd.weight"), TENSOR_F16);
    assert_int_equal(planned(plan, "blk.9.attn_norm.weight"), TENSOR_F32);
    quantize_plan_free(o.ctx, plan);
    options = with_mix("q4_K_M");
    options.pure = true;
    assert_int_equal(quantize_plan_new(o.ctx, o.file, &options, &plan), PITH_OK);
    assert_int_equal(planned(plan, "output.weight"), TENSOR_Q4_K);
    assert_int_equal(planned(plan, "blk.0.ffn_down.weight"), TENSOR_Q4_K);
    quantize_plan_free(o.ctx, plan);
    close_sample(&o);
}

static void refused(const opened *o, const quantize_options *options, const char *why) {
    quantize_plan *plan;
    assert_int_not_equal(quantize_plan_new(o->ctx, o->file, options, &plan), PITH_OK);
    assert_null(plan);
    if (!strstr(pith_error(o->ctx), why)) fail_msg("'%s' does not say '%s'", pith_error(o->ctx), why);
    pith_begin(o->ctx);
}

static void test_refusals(void **state) {
    (void)state;
    opened o = open_sample(0, 1);
    quantize_options options = with_mix("q2_K_S");
    refused(&o, &options, "importance");
    options = with_mix("q4_0");
    options.choices = &(quantize_choice){"(a", 2, TENSOR_Q8_0};
    options.n_choices = 1;
    refused(&o, &options, "pattern '(a'");
    options.choices = &(quantize_choice){"attn_q", 6, TENSOR_Q8_K};
    refused(&o, &options, "q8_K is not written");
    assert_null(quantize_mix_named("q7_K"));
    assert_null(quantize_mix_named(""));
    /* A file in blocks is taken only when asked for. */
    quantize_plan *plan;
    sink s = {.ctx = o.ctx};
    options = with_mix("q8_0");
    assert_int_equal(quantize_plan_new(o.ctx, o.file, &options, &plan), PITH_OK);
    assert_int_equal(quantize_write(o.ctx, plan, take, &s), PITH_OK);
    quantize_plan_free(o.ctx, plan);
    opened again = o;
    assert_int_equal(tensor_file_open_memory(o.ctx, s.bytes.data, s.bytes.size, &again.file), PITH_OK);
    options = with_mix("q4_0");
    refused(&again, &options, "q8_0 already");
    options.requantize = true;
    assert_int_equal(quantize_plan_new(o.ctx, again.file, &options, &plan), PITH_OK);
    assert_true(plan->bytes_after < plan->bytes_before * 2 / 3);
    quantize_plan_free(o.ctx, plan);
    /* Importance of another shape. */
    opened other = open_sample(1, 1);
    options.stats = other.stats;
    refused(&again, &options, "statistics of 512 x 1 inputs");
    tensor_file_close(o.ctx, again.file);
    pith_buffer_free(o.ctx, &s.bytes);
    close_sample(&other);
    close_sample(&o);
}

/* NaN in a matrix, infinity in what is copied, a target that takes no more: an error, and nothing leaks. */
static void test_failures(void **state) {
    (void)state;
    static const char *const spoiled[] = {"blk.5.attn_q.weight", "blk.5.attn_norm.weight", NULL};
    for (size_t i = 0; i < PITH_COUNT(spoiled); i++) {
        opened o = open_sample(0, 2);
        quantize_options options = with_mix("q4_K_M");
        quantize_plan *plan;
        sink s = {.ctx = o.ctx, .limit = spoiled[i] ? 0 : 60000};
        assert_int_equal(quantize_plan_new(o.ctx, o.file, &options, &plan), PITH_OK);
        if (spoiled[i]) {
            const tensor_view *t = tensor_find(o.file, spoiled[i]);
            uint8_t *element = o.bytes.data + (t->data - o.bytes.data) + t->bytes / 2;
            memcpy(element, t->type == TENSOR_F32 ? "\0\0\x80\x7f" : "\1\x7e", t->type == TENSOR_F32 ? 4 : 2);
        }
        assert_int_equal(quantize_write(o.ctx, plan, take, &s), spoiled[i] ? PITH_E_CHECK : PITH_E_IO);
        if (spoiled[i]) assert_non_null(strstr(pith_error(o.ctx), spoiled[i]));
        pith_buffer_free(o.ctx, &s.bytes);
        quantize_plan_free(o.ctx, plan);
        close_sample(&o);
    }
}

/* ---- error feedback ------------------------------------------------------------------------------------ */

enum { COLS = 256, ROWS = 24 };

/* A model of one matrix, and statistics of inputs that lean on one another: x_j = 0.8 x_{j-1} + noise. */
static void put_matrix(pith_ctx *ctx, pith_buffer *model, pith_buffer *stats) {
    static float w[ROWS * COLS], gram[COLS * (COLS + 1) / 2], h[COLS], power[COLS];
    pith_sink to = {ctx, model};
    uint32_t seed = 4242;
    gguf_writer *g = NULL;
    for (size_t i = 0; i < ROWS * COLS; i++) w[i] = (float)((int32_t)(sample_next(&seed) >> 8) - 0x800000) * 0x1p-24f;
    power[0] = 1;
    for (size_t j = 1; j < COLS; j++) power[j] = 0.8f * power[j - 1];
    for (size_t i = 0, at = 0; i < COLS; i++)
        for (size_t j = 0; j <= i; j++) gram[at++] = power[i - j];
    for (size_t j = 0; j < COLS; j++) h[j] = 100; /* a sum over 100 tokens */
    assert_int_equal(gguf_writer_new(ctx, &g), PITH_OK);
    assert_int_equal(gguf_put_text(ctx, g, "general.architecture", "none", 4), PITH_OK);
    assert_int_equal(gguf_put_tensor(ctx, g, "a.weight", 8, TENSOR_F32, 2, (uint64_t[]){COLS, ROWS}), PITH_OK);
    assert_int_equal(gguf_write_head(ctx, g, pith_sink_write, &to), PITH_OK);
    assert_int_equal(gguf_write_data(ctx, g, w, sizeof w, pith_sink_write, &to), PITH_OK);
    gguf_writer_free(ctx, g);

    const meta_string name = {"a.weight", 8};
    const uint32_t owner = 0;
    const float counts = 100;
    to.to = stats;
    assert_int_equal(gguf_writer_new(ctx, &g), PITH_OK);
    assert_int_equal(gguf_put_text(ctx, g, "general.type", "imatrix", 7), PITH_OK);
    assert_int_equal(gguf_put_strings(ctx, g, "imatrix.datasets", &name, 1), PITH_OK);
    assert_int_equal(gguf_put_u32(ctx, g, "imatrix.chunk_count", 1), PITH_OK);
    assert_int_equal(gguf_put_u32(ctx, g, "imatrix.chunk_size", 100), PITH_OK);
    assert_int_equal(gguf_put_strings(ctx, g, "pith.stats.names", &name, 1), PITH_OK);
    assert_int_equal(gguf_put_array(ctx, g, "pith.stats.owners", META_U32, &owner, 1), PITH_OK);
    const struct {
        const char *name;
        const void *data;
        uint32_t n_dims;
        uint64_t ne[2];
    } parts[] = {{"a.weight.in_sum2", h, 2, {COLS, 1}},
                 {"a.weight.counts", &counts, 2, {1, 1}},
                 {"a.weight.gram", gram, 1, {COLS * (COLS + 1) / 2, 1}}};
    for (size_t i = 0; i < PITH_COUNT(parts); i++)
        assert_int_equal(gguf_put_tensor(ctx, g, parts[i].name, strlen(parts[i].name), TENSOR_F32, parts[i].n_dims,
                                         parts[i].ne), PITH_OK);
    assert_int_equal(gguf_write_head(ctx, g, pith_sink_write, &to), PITH_OK);
    for (size_t i = 0; i < PITH_COUNT(parts); i++)
        assert_int_equal(gguf_write_data(ctx, g, parts[i].data, (size_t)(parts[i].ne[0] * parts[i].ne[1]) * 4,
                                         pith_sink_write, &to), PITH_OK);
    gguf_writer_free(ctx, g);
}

/* tr(E H E^T) of the blocks that came out. */
static double output_error(pith_ctx *ctx, const tensor_file *file, const quantize_options *options) {
    static float w[ROWS * COLS], q[ROWS * COLS];
    quantize_plan *plan;
    sink s = {.ctx = ctx};
    tensor_file *made;
    double error = 0;
    assert_int_equal(quantize_plan_new(ctx, file, options, &plan), PITH_OK);
    if (quantize_write(ctx, plan, take, &s) != PITH_OK) fail_msg("%s", pith_error(ctx));
    quantize_plan_free(ctx, plan);
    assert_int_equal(tensor_file_open_memory(ctx, s.bytes.data, s.bytes.size, &made), PITH_OK);
    blocks_decode(made->tensors[0].type, made->tensors[0].data, q, ROWS * COLS);
    blocks_decode(TENSOR_F32, file->tensors[0].data, w, ROWS * COLS);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < COLS; i++) {
            double to_left = 0; /* sum over j of 0.8^|i - j| e_j, from both sides */
            double power = 1;
            for (size_t k = 0; k <= i && power > 1e-12; k++, power *= 0.8)
                to_left += power * ((double)w[r * COLS + i - k] - (double)q[r * COLS + i - k]) * (k ? 2 : 1);
            error += to_left * ((double)w[r * COLS + i] - (double)q[r * COLS + i]);
        }
    tensor_file_close(ctx, made);
    pith_buffer_free(ctx, &s.bytes);
    return error;
}

static void test_feedback(void **state) {
    (void)state;
    static const char *const names[] = {"q4_0", "q4_K_S", "q6_K"};
    opened o = {.ctx = pith_ctx_new(NULL)};
    pith_ctx_set_threads(o.ctx, 2);
    put_matrix(o.ctx, &o.bytes, &o.importance);
    assert_int_equal(tensor_file_open_memory(o.ctx, o.bytes.data, o.bytes.size, &o.file), PITH_OK);
    if (model_stats_open_memory(o.ctx, o.importance.data, o.importance.size, &o.stats) != PITH_OK)
        fail_msg("%s", pith_error(o.ctx));
    for (size_t i = 0; i < PITH_COUNT(names); i++) {
        quantize_options options = with_mix(names[i]);
        options.stats = o.stats;
        double rounded = output_error(o.ctx, o.file, &options);
        options.method = QUANTIZE_GPTQ;
        double fed = output_error(o.ctx, o.file, &options);
        if (!(fed < 0.8 * rounded)) fail_msg("%s: %g with feedback, %g without", names[i], fed, rounded);
    }
    close_sample(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),  cmocka_unit_test(test_choices),  cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_failures), cmocka_unit_test(test_feedback),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
