/* Pruning on tiny models: statistics against what they are means of, choices against what they must be, and a model
 * with every neuron twice, of which half can go without a trace. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "artefacts/model/prune_speed.h"
#include "lm/tiny_model.h"
#include "support/session.h"

enum { TOKENS = 400, HALF = TINY_FF / 2 };

static uint32_t tokens[TOKENS];

typedef struct tiny {
    tiny_file built;
    tensor_file *file;
    lm_model *model;
} tiny;

static pith_status append(void *opaque, const void *data, size_t size) {
    return pith_buffer_append(ctx, opaque, data, size);
}

static void tiny_open(tiny *t) {
    tiny_variant v = {.architecture = "llama", .n_heads = 8, .n_kv_heads = 2, .rope_base = 10000.0f};
    *t = (tiny){0};
    assert_int_equal(tiny_build(ctx, &t->built, &v, NULL), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, t->built.out.data, t->built.out.size, &t->file), PITH_OK);
    assert_int_equal(lm_open_file(ctx, t->file, &t->model), PITH_OK);
}

static void tiny_close(tiny *t) {
    lm_close(ctx, t->model);
    tensor_file_close(ctx, t->file);
    pith_buffer_free(ctx, &t->built.out);
}

static void cut_to(const tensor_file *from, const cut_plan *plan, tiny *out) {
    model_cut *c;
    *out = (tiny){0};
    assert_int_equal(model_cut_new(ctx, from, plan, &c), PITH_OK);
    assert_int_equal(model_cut_write(ctx, c, append, &out->built.out), PITH_OK);
    model_cut_free(ctx, c);
    assert_int_equal(tensor_file_open_memory(ctx, out->built.out.data, out->built.out.size, &out->file), PITH_OK);
    assert_int_equal(lm_open_file(ctx, out->file, &out->model), PITH_OK);
}

static void pruned(const tiny *from, prune_request request, const prune_stats *stats, tiny *out) {
    prune_plan *plan;
    assert_int_equal(prune_plan_new(ctx, from->file, &request, stats, &plan), PITH_OK);
    cut_to(from->file, prune_cut(plan), out);
    prune_plan_free(ctx, plan);
}

/* Mean squared difference of the logits over 40 tokens, relative to their variance. */
static double distance(const tiny *a, const tiny *b) {
    lm_session *s[2];
    lm_token batch[40];
    lm_session_options options = {.n_ctx = 40, .n_threads = 1};
    double sum = 0, whole = 0;
    for (unsigned i = 0; i < 40; i++) batch[i] = (lm_token){.id = tokens[TOKENS - 40 + i], .want_logits = true};
    assert_int_equal(lm_session_new(ctx, a->model, &options, &s[0]), PITH_OK);
    assert_int_equal(lm_session_new(ctx, b->model, &options, &s[1]), PITH_OK);
    for (unsigned i = 0; i < 2; i++) assert_int_equal(lm_eval(s[i], batch, 40), PITH_OK);
    for (unsigned i = 0; i < 40; i++)
        for (unsigned j = 0; j < TINY_VOCAB; j++) {
            double x = lm_logits(s[0], i)[j], y = lm_logits(s[1], i)[j];
            sum += (x - y) * (x - y);
            whole += x * x;
        }
    lm_session_free(s[0]);
    lm_session_free(s[1]);
    return sum / whole;
}

static void test_statistics(void **state) {
    (void)state;
    tiny t;
    prune_stats *s, *pieces;
    tiny_open(&t);
    assert_int_equal(prune_stats_new(ctx, t.model, tokens, 60, 60, 3, &s), PITH_OK);
    assert_int_equal(s->n_tokens, 60);
    assert_int_equal(s->shape.n_ff, TINY_FF);
    double channels = 0;
    for (uint32_t l = 0; l < TINY_LAYERS; l++) {
        const prune_layer *layer = &s->layers[l];
        assert_true(layer->influence > 0 && layer->influence < 2);
        for (size_t i = 0; i < TINY_FF; i++)
            assert_true(fabs(layer->neurons_gram[i * (i + 1) / 2 + i] - layer->neurons[i]) <= 1e-4 * layer->neurons[i]);
        for (size_t i = 0; i < TINY_EMBD; i++)
            assert_true(fabs(layer->heads_gram[i * (i + 1) / 2 + i] - layer->heads[i]) <= 1e-4 * layer->heads[i]);
    }
    for (unsigned i = 0; i < TINY_EMBD; i++) channels += s->channels[i];
    assert_true(channels > TINY_EMBD); /* four normed inputs of about one each */
    /* without Gram matrices, in a context too short for all at once: another text, but the same kind of numbers */
    assert_int_equal(prune_stats_new(ctx, t.model, tokens, 60, 20, 0, &pieces), PITH_OK);
    assert_null(pieces->layers[0].neurons_gram);
    assert_null(pieces->layers[0].heads_gram);
    assert_true(pieces->layers[0].neurons[3] > 0);
    prune_stats_free(ctx, pieces);
    prune_stats_free(ctx, s);
    pith_begin(ctx);
    assert_int_equal(prune_stats_new(ctx, t.model, tokens, 0, 20, 0, &s), PITH_E_ARGUMENT);
    tiny_close(&t);
}

/* Every neuron a second time, at half its size: rows HALF.. of gate and up repeat those in front. */
static bool doubles(void *opaque, const tensor_view *from) {
    (void)opaque;
    return from->ne[1] == TINY_FF;
}

static pith_status double_rows(void *opaque, const tensor_view *from, cut_list cols, cut_list rows, size_t n_cols,
                               size_t n_rows, float *values) {
    (void)opaque;
    (void)from;
    (void)cols;
    (void)rows;
    memcpy(values + n_rows / 2 * n_cols, values, n_rows / 2 * n_cols * sizeof *values);
    return PITH_OK;
}

static void test_twins(void **state) {
    (void)state;
    tiny t, twins, small;
    prune_stats *s;
    double by_method[N_PRUNE_METHODS];
    tiny_open(&t);
    cut_to(t.file, &(cut_plan){.edits = doubles, .edit = double_rows}, &twins);
    assert_int_equal(prune_stats_new(ctx, twins.model, tokens, TOKENS, 40, 1, &s), PITH_OK);
    for (int m = 0; m < N_PRUNE_METHODS; m++) {
        prune_request request = {.method = (prune_method)m, .keep = {.n_ff = HALF}, .damp = 1e-4, .seed = 5};
        pruned(&twins, request, s, &small);
        by_method[m] = distance(&twins, &small);
        tiny_close(&small);
    }
    assert_true(by_method[PRUNE_ZIPLM] < 1e-3);
    for (int m = 0; m < N_PRUNE_METHODS; m++)
        if (m != PRUNE_ZIPLM) assert_true(by_method[m] > 10 * by_method[PRUNE_ZIPLM]);
    prune_stats_free(ctx, s);
    tiny_close(&twins);
    tiny_close(&t);
}

/* Fitting makes up for what is gone: less is lost than when the same method's neurons just go. */
static void test_heads(void **state) {
    (void)state;
    tiny t, small;
    prune_stats *s;
    const prune_request halves[] = {{.method = PRUNE_WANDA, .keep = {.n_heads = 4}},
                                    {.method = PRUNE_ZIPLM, .keep = {.n_heads = 4}}};
    double lost[2];
    tiny_open(&t);
    assert_int_equal(prune_stats_new(ctx, t.model, tokens, TOKENS, 40, 2, &s), PITH_OK);
    for (unsigned i = 0; i < 2; i++) {
        pruned(&t, halves[i], s, &small);
        assert_int_equal(lm_about(small.model)->n_heads, 4);
        assert_int_equal(lm_about(small.model)->n_kv_heads, 2);
        lost[i] = distance(&t, &small);
        tiny_close(&small);
    }
    assert_true(lost[1] < lost[0]);
    pruned(&t, (prune_request){.method = PRUNE_MODEGPT, .keep = {.n_kv_heads = 1}}, s, &small);
    assert_int_equal(lm_about(small.model)->n_heads, 4);
    assert_int_equal(lm_about(small.model)->n_kv_heads, 1);
    tiny_close(&small);
    prune_stats_free(ctx, s);
    tiny_close(&t);
}

static void test_choices(void **state) {
    (void)state;
    tiny t;
    prune_stats *s;
    prune_plan *plan, *again;
    tiny_open(&t);
    assert_int_equal(prune_stats_new(ctx, t.model, tokens, TOKENS, 40, 0, &s), PITH_OK);
    prune_request one = {.method = PRUNE_MINITRON, .keep = {.n_layers = 1, .n_ff = 5, .n_embd = 8}};
    assert_int_equal(prune_plan_new(ctx, t.file, &one, s, &plan), PITH_OK);
    const cut_plan *cut = prune_cut(plan);
    assert_int_equal(cut->layers.n, 1);
    assert_int_equal(cut->layers.at[0], s->layers[0].influence >= s->layers[1].influence ? 0 : 1);
    for (uint32_t l = 0; l < TINY_LAYERS; l++) { /* none outside is higher than one inside */
        double least = INFINITY, most = 0;
        assert_int_equal(cut->neurons[l].n, 5);
        for (uint32_t i = 0, j = 0; i < TINY_FF; i++) {
            bool in = j < 5 && cut->neurons[l].at[j] == i;
            j += in;
            if (in) least = fmin(least, s->layers[l].neurons[i]);
            else most = fmax(most, s->layers[l].neurons[i]);
        }
        assert_true(least >= most);
    }
    assert_int_equal(cut->channels.n, 8);
    prune_plan_free(ctx, plan);
    prune_request random = {.method = PRUNE_RANDOM, .keep = {.n_ff = 10}, .seed = 3};
    assert_int_equal(prune_plan_new(ctx, t.file, &random, NULL, &plan), PITH_OK);
    assert_int_equal(prune_plan_new(ctx, t.file, &random, NULL, &again), PITH_OK);
    assert_memory_equal(prune_cut(plan)->neurons[1].at, prune_cut(again)->neurons[1].at, 10 * sizeof(uint32_t));
    prune_plan_free(ctx, again);
    prune_plan_free(ctx, plan);
    prune_stats_free(ctx, s);
    tiny_close(&t);
}

/* Layers of their own sizes: as many neurons in all, and what goes is what the order says. */
static void test_uneven(void **state) {
    (void)state;
    tiny t, twins, small;
    prune_stats *s;
    prune_plan *plan;
    tiny_open(&t);
    cut_to(t.file, &(cut_plan){.edits = doubles, .edit = double_rows}, &twins);
    assert_int_equal(prune_stats_new(ctx, twins.model, tokens, TOKENS, 40, 1, &s), PITH_OK);
    prune_request request = {.method = PRUNE_ZIPLM, .keep = {.n_ff = 30}, .damp = 1e-4, .uneven = true};
    assert_int_equal(prune_plan_new(ctx, twins.file, &request, s, &plan), PITH_OK);
    const cut_plan *cut = prune_cut(plan);
    uint32_t n[2];
    for (unsigned l = 0; l < 2; l++) {
        n[l] = cut->neurons[l].n;
        assert_true(n[l] >= HALF); /* half of each layer's neurons are twins, which go first */
        for (uint32_t i = 1; i < n[l]; i++) assert_true(cut->neurons[l].at[i] > cut->neurons[l].at[i - 1]);
    }
    assert_true(n[0] + n[1] <= 60 && n[0] + n[1] > 60 - 2 * TINY_FF / 16);
    cut_to(twins.file, cut, &small);
    assert_true(distance(&twins, &small) < 1e-3);
    prune_plan_free(ctx, plan);
    tiny_close(&small);
    /* without the second layer its neurons count for nothing */
    request.keep.n_layers = 1;
    assert_int_equal(prune_plan_new(ctx, twins.file, &request, s, &plan), PITH_OK);
    cut = prune_cut(plan);
    assert_int_equal(cut->layers.n, 1);
    assert_true(cut->neurons[cut->layers.at[0]].n == 30 && !cut->neurons[1 - cut->layers.at[0]].at);
    prune_plan_free(ctx, plan);
    request.method = PRUNE_WANDA;
    pith_begin(ctx);
    assert_int_equal(prune_plan_new(ctx, twins.file, &request, s, &plan), PITH_E_ARGUMENT);
    prune_stats_free(ctx, s);
    tiny_close(&twins);
    tiny_close(&t);
}

static void test_refused(void **state) {
    (void)state;
    tiny t;
    prune_plan *plan;
    prune_stats *s;
    tiny_open(&t);
    assert_int_equal(prune_stats_new(ctx, t.model, tokens, 40, 40, 0, &s), PITH_OK);
    const struct {
        prune_request request;
        const prune_stats *stats;
        const char *says;
    } cases[] = {{{.method = PRUNE_WANDA, .keep = {.n_ff = TINY_FF + 1}}, s, "more is to stay"},
                 {{.method = PRUNE_WANDA, .keep = {.n_heads = 3}}, s, "evenly"},
                 {{.method = PRUNE_WANDA, .keep = {.n_ff = 8}}, NULL, "needs statistics"},
                 {{.method = PRUNE_ZIPLM, .keep = {.n_ff = 8}}, s, "Gram"}};
    for (size_t i = 0; i < PITH_COUNT(cases); i++) {
        pith_begin(ctx);
        assert_int_equal(prune_plan_new(ctx, t.file, &cases[i].request, cases[i].stats, &plan), PITH_E_ARGUMENT);
        assert_non_null(strstr(pith_error(ctx), cases[i].says));
        assert_null(plan);
    }
    s->shape.n_ff--;
    assert_int_equal(prune_plan_new(ctx, t.file, &(prune_request){.keep = {.n_layers = 1}}, s, &plan), PITH_E_ARGUMENT);
    s->shape.n_ff++;
    prune_stats_free(ctx, s);
    tiny_close(&t);
}

static void test_speed(void **state) {
    (void)state;
    const prune_speed s = {.n_ff = {768}, .n = 1, .fixed = 1e-4, .per_neuron = 1e-6};
    assert_int_equal(prune_speed_neurons(&s, 1e-4), 0);
    assert_int_equal(prune_speed_neurons(&s, 1.2e-4), 20);
    assert_int_equal(prune_speed_neurons(&s, 3.1e-4), 192); /* 210, a multiple of 32 */
    assert_int_equal(prune_speed_neurons(&s, 1), 768);
    tiny t;
    prune_speed table;
    prune_request request = {0};
    tiny_open(&t);
    assert_int_equal(prune_speed_measure(ctx, t.model, &request, &table), PITH_OK);
    assert_true(table.n >= 4 && table.own > 0);
    for (size_t i = 0; i < table.n; i++) {
        assert_true(table.seconds[i] > 0);
        assert_true(i == 0 || table.n_ff[i] < table.n_ff[i - 1]);
    }
    uint32_t n_ff;
    table.per_neuron = table.own / TINY_FF / 2; /* whatever was timed: a line that half of the neurons satisfy */
    table.fixed = table.own / 2;
    assert_int_equal(prune_speed_search(ctx, t.model, &request, &table, 4.0 / 3, &n_ff), PITH_OK);
    assert_true(n_ff >= 1 && n_ff <= TINY_FF);
    assert_int_equal(prune_speed_search(ctx, t.model, &request, &table, 3, &n_ff), PITH_OK);
    assert_int_equal(n_ff, 0);
    tiny_close(&t);
}

static int open_session(void **state) {
    uint64_t seed = 12345;
    for (unsigned i = 0; i < TOKENS; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        tokens[i] = (uint32_t)((seed >> 33) % TINY_VOCAB);
    }
    return session_begin(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statistics), cmocka_unit_test(test_twins),   cmocka_unit_test(test_heads),
        cmocka_unit_test(test_choices),    cmocka_unit_test(test_refused), cmocka_unit_test(test_speed),
        cmocka_unit_test(test_uneven),
    };
    return cmocka_run_group_tests(tests, open_session, session_end);
}
