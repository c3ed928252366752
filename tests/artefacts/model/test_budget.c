/* Budgets over the matrices of a model: the table is what the codes are, choices keep to their budget, texts of
 * recipes mean the choice, and measured divergence is kept to. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/archive.h"
#include "artefacts/model/budget.h"
#include "lm/tiny_model.h"

static pith_ctx *ctx;
static lm_model *model;
static const tensor_file *base;
static model_variants *variants; /* of the attention of all layers, at 2 to 5 bits */

static const char *const levels[] = {"q(2, group=32)", "q(3, group=32)", "q(4, group=32)", "q(5, group=32)"};
#define N_LEVELS 4

static int begin(void **state) {
    (void)state;
    ctx = pith_ctx_new(NULL);
    pith_ctx_set_threads(ctx, 2);
    artefacts_register();
    if (lm_open(ctx, NULL, &model) != PITH_OK) return -1;
    base = lm_file(model);
    model_variants_options o = {.levels = levels, .n_levels = N_LEVELS, .only = "blk.*.attn_*.weight", .keep = true};
    return model_variants_new(ctx, base, &o, &variants) == PITH_OK ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    model_variants_free(ctx, variants);
    lm_close(ctx, model);
    int leaked = pith_memory_used(ctx) != 0;
    pith_ctx_free(ctx);
    return -leaked;
}

static void test_table(void **state) {
    (void)state;
    uint64_t weights = 0, other = 0, bytes = 0;
    assert_int_equal(model_variants_units(variants), 4 * lm_about(model)->n_layers);
    assert_int_equal(model_variants_levels(variants), N_LEVELS);
    for (uint32_t u = 0; u < model_variants_units(variants); u++) {
        const model_unit *unit = model_variants_unit(variants, u);
        assert_int_equal(unit->weights, base->tensors[unit->tensor].n_elements);
        assert_true(unit->norm > 0 && fabs(unit->energy / unit->norm - 1) < 1e-9); /* without statistics */
        weights += unit->weights;
        for (uint32_t l = 0; l < N_LEVELS; l++) {
            const model_variant *v = model_variants_at(variants, u, l);
            assert_true(8 * v->bytes > (l + 2) * unit->weights && 8 * v->bytes < (l + 4) * unit->weights);
            assert_true(v->weights > 0 && v->weights == v->outputs);
            if (l) assert_true(v->weights < model_variants_at(variants, u, l - 1)->weights / 2);
        }
    }
    assert_int_equal(weights, model_variants_weights(variants));
    assert_int_equal(weights + model_variants_other_weights(variants), lm_about(model)->n_parameters);
    for (size_t i = 0; i < base->n_tensors; i++) bytes += base->tensors[i].bytes;
    for (uint32_t u = 0; u < model_variants_units(variants); u++)
        other += base->tensors[model_variants_unit(variants, u)->tensor].bytes;
    assert_int_equal(model_variants_other_bytes(variants), bytes - other);
}

/* What is kept is what coding again gives, and what the chain's decoder gives. */
static void test_put(void **state) {
    (void)state;
    model_variants *again;
    model_overlay *a, *b;
    model_variants_options o = {.levels = levels, .n_levels = 2, .only = "blk.1.attn_k.weight"};
    assert_int_equal(model_variants_new(ctx, base, &o, &again), PITH_OK);
    assert_int_equal(model_variants_units(again), 1);
    assert_int_equal(model_overlay_new(ctx, base, NULL, false, &a), PITH_OK);
    assert_int_equal(model_overlay_new(ctx, base, NULL, false, &b), PITH_OK);
    size_t t = model_variants_unit(again, 0)->tensor, bytes = 4 * (size_t)base->tensors[t].n_elements;
    const uint8_t *x = model_overlay_file(a)->tensors[t].data, *y = model_overlay_file(b)->tensors[t].data;
    uint32_t unit = 0;
    while (model_variants_unit(variants, unit)->tensor != t) unit++;
    assert_memory_equal(x, y, bytes);
    assert_int_equal(model_variants_put(ctx, variants, unit, 1, a), PITH_OK);
    assert_true(memcmp(x, y, bytes) != 0);
    assert_int_equal(model_variants_put(ctx, again, 0, 1, b), PITH_OK);
    assert_memory_equal(x, y, bytes);
    assert_int_equal(model_variants_put(ctx, variants, unit, N_LEVELS, a), PITH_OK);
    assert_int_equal(model_variants_put(ctx, again, 0, 2, b), PITH_OK);
    assert_memory_equal(x, y, bytes);
    model_overlay_free(ctx, a);
    model_overlay_free(ctx, b);
    model_variants_free(ctx, again);
}

/* Every method keeps to the budget; the exact one is the best of those that add up losses. */
static void test_methods(void **state) {
    (void)state;
    uint32_t units = model_variants_units(variants);
    alloc_row *rows = pith_alloc(ctx, units * N_LEVELS * sizeof *rows);
    alloc_choice c = {.rows = pith_alloc(ctx, units * sizeof *c.rows)};
    double loss[MODEL_BUDGET_METHODS] = {0};
    model_variants_rows(variants, MODEL_LOSS_SHARE, rows);
    for (int m = 0; m < MODEL_BUDGET_METHODS; m++) {
        model_budget b = {.method = (model_budget_method)m, .bytes = alloc_bytes_of(4.1, model_variants_weights(variants))};
        if (m == MODEL_BUDGET_EVOLVE) {
            assert_int_equal(model_budget_choose(ctx, variants, rows, &b, NULL, &c), PITH_E_ARGUMENT);
            pith_begin(ctx);
            continue;
        }
        assert_int_equal(model_budget_choose(ctx, variants, rows, &b, NULL, &c), PITH_OK);
        assert_true(c.bytes <= b.bytes);
        uint64_t bytes = 0;
        for (uint32_t u = 0; u < units; u++) {
            assert_int_equal(rows[c.rows[u]].unit, u);
            bytes += rows[c.rows[u]].bytes;
            loss[m] += rows[c.rows[u]].loss;
        }
        assert_int_equal(bytes, c.bytes);
        b.bytes = 1000;
        assert_int_equal(model_budget_choose(ctx, variants, rows, &b, NULL, &c), PITH_E_LIMIT);
        pith_begin(ctx);
    }
    assert_true(loss[MODEL_BUDGET_KNAPSACK] <= loss[MODEL_BUDGET_GREEDY] * (1 + 1e-9));
    assert_true(loss[MODEL_BUDGET_KNAPSACK] <= loss[MODEL_BUDGET_RATE] * (1 + 1e-9));
    assert_true(loss[MODEL_BUDGET_KNAPSACK] <= loss[MODEL_BUDGET_UNIFORM] * (1 + 1e-9));
    pith_free(ctx, rows);
    pith_free(ctx, c.rows);
}

/* Any choice comes back from its text: what a recipe codes takes the bytes that the table says. */
static void test_recipe(void **state) {
    (void)state;
    uint32_t units = model_variants_units(variants), state32 = 1;
    uint32_t *rows = pith_alloc(ctx, units * sizeof *rows);
    for (unsigned round = 0; round < 40; round++) {
        pith_buffer text = {0};
        pith_recipe *r;
        for (uint32_t u = 0; u < units; u++) {
            state32 = state32 * 1664525 + 1013904223;
            rows[u] = u * N_LEVELS + (round == 0 ? 1 : (state32 >> 24) % (1 + round % N_LEVELS));
        }
        assert_int_equal(model_variants_recipe(ctx, variants, rows, &text), PITH_OK);
        assert_int_equal(pith_recipe_parse(ctx, "model", (const char *)text.data, text.size, &r), PITH_OK);
        assert_true(r->n_rules <= N_LEVELS);
        if (round == 0) {
            static const char one[] = "blk.*.attn_k.weight,blk.*.attn_output.weight,blk.*.attn_q.weight,"
                                      "blk.*.attn_v.weight -> q(3, group=32)";
            assert_int_equal(r->n_rules, 1);
            assert_int_equal(text.size, sizeof one - 1);
        }
        if (round == 7) { /* as the coder reads it */
            model_overlay *o;
            model_trial t;
            uint64_t bytes = 0;
            for (uint32_t u = 0; u < units; u++) bytes += model_variants_at(variants, u, rows[u] % N_LEVELS)->bytes;
            assert_int_equal(model_overlay_new(ctx, base, NULL, false, &o), PITH_OK);
            assert_int_equal(model_try_recipe(ctx, base, r, NULL, o, &t), PITH_OK);
            assert_int_equal(t.bytes, bytes);
            assert_int_equal(t.weights, model_variants_weights(variants));
            model_overlay_free(ctx, o);
        }
        pith_recipe_free(ctx, r);
        pith_buffer_free(ctx, &text);
    }
    pith_free(ctx, rows);
}

/* In 8 trials the first three layers' matrices of a kind have one slope, the last three's another, of the size of their
 * own; and the overlay is base again. */
static void check_together(model_overlay *o, const model_ruler *r) {
    uint32_t units = model_variants_units(variants), kinds = 4, layers = units / kinds;
    double own[64], together[64];
    assert_true(units <= 64 && layers == 6);
    for (uint32_t u = 0; u < units; u++) own[u] = model_variants_unit(variants, u)->slope;
    assert_int_equal(model_variants_slopes_in(ctx, variants, o, r, 1, 8), PITH_OK);
    for (uint32_t u = 0; u < units; u++) together[u] = model_variants_unit(variants, u)->slope;
    for (uint32_t kind = 0; kind < kinds; kind++) {
        double mean[2] = {0}, shared[2];
        for (uint32_t half = 0; half < 2; half++) {
            const uint32_t first = kind + kinds * layers / 2 * half;
            shared[half] = together[first];
            for (uint32_t l = 0; l < layers / 2; l++) {
                assert_true(together[first + kinds * l] == shared[half]);
                mean[half] += own[first + kinds * l] / (layers / 2);
            }
            assert_true(shared[half] > mean[half] / 4 && shared[half] < mean[half] * 4);
        }
        assert_true(shared[0] != shared[1]);
    }
    model_score score;
    lm_model *m;
    assert_int_equal(model_overlay_open(ctx, o, &m), PITH_OK);
    assert_int_equal(model_ruler_measure(ctx, r, m, &score), PITH_OK);
    assert_true(score.c.kl.mean == 0);
    lm_close(ctx, m);
    assert_int_equal(model_variants_slopes_in(ctx, variants, o, r, 1, units), PITH_OK);
    for (uint32_t u = 0; u < units; u++) assert_true(own[u] == model_variants_unit(variants, u)->slope);
}

/* Slopes foretell what choices do; evolution does not leave its budget or get worse; a divergence is kept to. */
static void test_measured(void **state) {
    (void)state;
    static const model_ruler_options small = {.n_ctx = 32, .n_chunks = 2, .n_threads = 1};
    uint32_t units = model_variants_units(variants);
    size_t size;
    const char *text = ruler_prose(&size);
    model_overlay *o;
    lm_model *m;
    model_ruler *r;
    model_fitness f;
    alloc_row *rows = pith_alloc(ctx, units * N_LEVELS * sizeof *rows);
    alloc_choice c = {.rows = pith_alloc(ctx, units * sizeof *c.rows)};
    assert_int_equal(model_overlay_new(ctx, base, NULL, false, &o), PITH_OK);
    assert_int_equal(model_overlay_open(ctx, o, &m), PITH_OK);
    assert_int_equal(model_ruler_new(ctx, m, text, size, &small, &r), PITH_OK);
    assert_true(model_ruler_forget_base(r));
    lm_close(ctx, m);
    assert_int_equal(model_variants_slopes(ctx, variants, o, r, 1), PITH_OK);
    for (uint32_t u = 0; u < units; u++) assert_true(model_variants_unit(variants, u)->slope > 0);
    model_variants_rows(variants, MODEL_LOSS_KL, rows);
    check_together(o, r);
    assert_int_equal(model_fitness_new(ctx, variants, o, r, &f), PITH_OK);

    double start, grown, kl;
    model_score score;
    model_budget b = {.bytes = alloc_bytes_of(4, model_variants_weights(variants)), .generations = 2, .offspring = 3, .seed = 5};
    assert_int_equal(model_budget_choose(ctx, variants, rows, &b, &f, &c), PITH_OK);
    assert_int_equal(model_fitness_of(&f, c.rows, 1, 0, &start), PITH_OK);
    assert_int_equal(model_fitness_score(&f, c.rows, &score), PITH_OK);
    assert_true(score.c.kl.mean == start && c.loss > start / 3 && c.loss < 3 * start);
    b.method = MODEL_BUDGET_EVOLVE;
    assert_int_equal(model_budget_choose(ctx, variants, rows, &b, &f, &c), PITH_OK);
    assert_int_equal(model_fitness_of(&f, c.rows, 1, 0, &grown), PITH_OK);
    assert_true(c.bytes <= b.bytes && grown <= start && grown == c.loss);

    b.method = MODEL_BUDGET_GREEDY;
    assert_int_equal(model_budget_for_kl(ctx, variants, rows, &b, &f, 0.02, &c, &kl), PITH_OK);
    assert_true(kl <= 0.02);
    assert_int_equal(model_fitness_of(&f, c.rows, 1, 0, &grown), PITH_OK);
    assert_true(kl == grown);
    assert_int_equal(model_budget_for_kl(ctx, variants, rows, &b, &f, 1e-9, &c, &kl), PITH_E_LIMIT);
    pith_begin(ctx);
    b.method = MODEL_BUDGET_EVOLVE;
    assert_int_equal(model_budget_for_kl(ctx, variants, rows, &b, &f, 0.02, &c, &kl), PITH_E_ARGUMENT);
    pith_begin(ctx);
    model_fitness_free(&f);
    model_ruler_free(ctx, r);
    model_overlay_free(ctx, o);
    pith_free(ctx, rows);
    pith_free(ctx, c.rows);
}

static pith_status count_bytes(void *opaque, const void *data, size_t size) {
    (void)data;
    *(uint64_t *)opaque += size;
    return PITH_OK;
}

/* Every expert is a unit: any choice comes back from its text, what is put is what the whole stack would be, and an
 * expert that no one chose is as it was. */
static void test_experts(void **state) {
    (void)state;
    enum { EXPERTS = 4, STACKS = 3 * TINY_LAYERS };
    const tiny_variant kind = {.architecture = "llama", .n_heads = 4, .n_kv_heads = 2, .n_experts = EXPERTS, .n_used = 2};
    model_variants_options o = {.levels = levels, .n_levels = N_LEVELS, .only = "*_exps.weight"};
    tiny_file t = {0};
    tensor_file *f;
    model_variants *whole, *single;
    model_overlay *a, *b;
    uint32_t rows[STACKS * EXPERTS], state32 = 1;
    assert_int_equal(tiny_build(ctx, &t, &kind, NULL), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, t.out.data, t.out.size, &f), PITH_OK);
    assert_int_equal(model_variants_new(ctx, f, &o, &whole), PITH_OK);
    o.experts = true;
    o.keep = true;
    assert_int_equal(model_variants_new(ctx, f, &o, &single), PITH_OK);
    assert_int_equal(model_variants_units(whole), STACKS);
    assert_int_equal(model_variants_units(single), STACKS * EXPERTS);
    assert_int_equal(model_variants_weights(whole), model_variants_weights(single));
    assert_int_equal(model_overlay_new(ctx, f, NULL, false, &a), PITH_OK);
    assert_int_equal(model_overlay_new(ctx, f, NULL, false, &b), PITH_OK);
    for (uint32_t u = 0; u < STACKS; u++)
        for (uint32_t l = 0; l <= N_LEVELS; l++) {
            uint64_t bytes = 0;
            for (uint32_t e = 0; e < EXPERTS; e++) {
                assert_int_equal(model_variants_unit(single, u * EXPERTS + e)->part, e);
                assert_int_equal(model_variants_put(ctx, single, u * EXPERTS + e, l, a), PITH_OK);
                if (l < N_LEVELS) bytes += model_variants_at(single, u * EXPERTS + e, l)->bytes;
            }
            assert_int_equal(model_variants_put(ctx, whole, u, l, b), PITH_OK);
            if (l < N_LEVELS) assert_int_equal(bytes, model_variants_at(whole, u, l)->bytes);
            const tensor_view *x = &model_overlay_file(a)->tensors[model_variants_unit(whole, u)->tensor];
            assert_memory_equal(x->data, model_overlay_file(b)->tensors[x - model_overlay_file(a)->tensors].data, x->bytes);
        }
    for (unsigned round = 0; round < 12; round++) {
        pith_buffer text = {0};
        pith_recipe *r;
        model_trial trial;
        uint64_t bytes = 0, packed = 0;
        for (uint32_t u = 0; u < STACKS * EXPERTS; u++) {
            state32 = state32 * 1664525 + 1013904223;
            uint32_t level = round == 0 ? 2 : round == 1 ? u / EXPERTS % 2 : (state32 >> 24) % N_LEVELS;
            rows[u] = u * N_LEVELS + level;
            bytes += model_variants_at(single, u, level)->bytes;
        }
        assert_int_equal(model_variants_recipe(ctx, single, rows, &text), PITH_OK);
        bool colon = memchr(text.data, ':', text.size) != NULL;
        assert_int_equal(colon, round > 1); /* experts are named where they differ */
        assert_int_equal(pith_recipe_parse(ctx, "model", (const char *)text.data, text.size, &r), PITH_OK);
        assert_int_equal(model_try_recipe(ctx, f, r, NULL, a, &trial), PITH_OK);
        assert_int_equal(trial.bytes, bytes);
        assert_int_equal(trial.weights, model_variants_weights(single));
        assert_int_equal(pith_buffer_append(ctx, &text, "", 1), PITH_OK);
        archive_options written = {.recipe = (const char *)text.data};
        assert_int_equal(archive_write(ctx, t.out.data, t.out.size, &written, count_bytes, &packed), PITH_OK);
        assert_true(packed > bytes && packed < t.out.size);
        pith_recipe_free(ctx, r);
        pith_buffer_free(ctx, &text);
    }
    model_overlay_free(ctx, a);
    model_overlay_free(ctx, b);
    model_variants_free(ctx, whole);
    model_variants_free(ctx, single);
    tensor_file_close(ctx, f);
    pith_buffer_free(ctx, &t.out);
}

/* Layers whose stacks have one name beside others whose experts have their own: `*` would name both. */
static void test_names_of_experts(void **state) {
    (void)state;
    static const char *const names[] = {"blk.0.a_exps.weight", "blk.1.a_exps.weight", "blk.2.a_exps.weight"};
    static const struct {
        uint32_t level[6];
        const char *text;
    } cases[] = {
        {{1, 1, 1, 1, 0, 2}, "blk.2.a_exps.weight:0 -> q(2, group=32) ; blk.[01].a_exps.weight -> q(3, group=32) ; "
                             "blk.2.a_exps.weight:1 -> q(4, group=32)"},
        {{0, 1, 0, 2, 0, 0}, "blk.[01].a_exps.weight:0,blk.2.a_exps.weight -> q(2, group=32) ; "
                             "blk.0.a_exps.weight:1 -> q(3, group=32) ; blk.1.a_exps.weight:1 -> q(4, group=32)"},
        {{0, 1, 0, 1, 0, 1}, "blk.*.a_exps.weight:0 -> q(2, group=32) ; blk.*.a_exps.weight:1 -> q(3, group=32)"},
        {{1, 1, 1, 1, 1, 1}, "blk.*.a_exps.weight -> q(3, group=32)"},
    };
    tensor_view views[3];
    const size_t tensors[] = {0, 0, 1, 1, 2, 2};
    const uint32_t parts[] = {0, 1, 0, 1, 0, 1};
    for (size_t i = 0; i < 3; i++)
        views[i] = (tensor_view){.name = {names[i], strlen(names[i])}, .type = TENSOR_F32, .n_dims = 3, .ne = {32, 2, 2, 1},
                                 .n_elements = 128};
    const tensor_file f = {.tensors = views, .n_tensors = 3};
    for (size_t i = 0; i < PITH_COUNT(cases); i++) {
        pith_buffer text = {0};
        if (model_rules_print(ctx, &f, tensors, parts, cases[i].level, 6, levels, N_LEVELS, &text))
            fail_msg("%s", pith_error(ctx));
        assert_int_equal(text.size, strlen(cases[i].text));
        assert_memory_equal(text.data, cases[i].text, text.size);
        pith_buffer_free(ctx, &text);
    }
}

static void test_refused(void **state) {
    (void)state;
    static const char *const bad[][1] = {{"blk.* -> q(3)"}, {"q(3) ; q(4)"}, {"nothing"}, {"q(99)"}};
    model_variants *v;
    for (size_t i = 0; i < PITH_COUNT(bad); i++) {
        model_variants_options o = {.levels = bad[i], .n_levels = 1, .only = "blk.0.attn_k.weight"};
        assert_int_equal(model_variants_new(ctx, base, &o, &v), PITH_E_ARGUMENT);
        assert_null(v);
        pith_begin(ctx);
    }
    model_variants_options none = {.levels = levels, .n_levels = N_LEVELS, .only = "nothing.*"};
    assert_int_equal(model_variants_new(ctx, base, &none, &v), PITH_E_ARGUMENT);
    pith_begin(ctx);
    none = (model_variants_options){.levels = levels};
    assert_int_equal(model_variants_new(ctx, base, &none, &v), PITH_E_ARGUMENT);
    pith_begin(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),  cmocka_unit_test(test_put),      cmocka_unit_test(test_methods),
        cmocka_unit_test(test_recipe), cmocka_unit_test(test_measured), cmocka_unit_test(test_experts),
        cmocka_unit_test(test_names_of_experts), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
