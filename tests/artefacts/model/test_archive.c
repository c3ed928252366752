/* Model archives: what goes in comes out, with any number of threads, one tensor or all of them; recipes by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "artefacts/model/archive_data.h"

/* ---- without loss ------------------------------------------------------------------------------------------------ */

static void comes_back_byte_for_byte(void **state) {
    (void)state;
    pith_buffer model = make_model(), packed = compress(&model, NULL);
    model_archive *a = open_archive(&packed);
    const archive_index *x = archive_about(a);
    assert_false(x->lossy);
    assert_int_equal(x->original_n, model.size);
    assert_int_equal(x->original_hash, pith_hash64(model.data, model.size));
    pith_buffer back = restore(a);
    assert_same_bytes(&model, &back);
    assert_int_equal(archive_restore(ctx, a, NULL, NULL, NULL), PITH_OK);
    archive_close(ctx, a);
    pith_buffer_free(ctx, &back);
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

static void threads_change_nothing(void **state) {
    (void)state;
    pith_buffer model = make_model();
    const char *recipes[] = {NULL, "*.weight -> near"};
    for (size_t i = 0; i < PITH_COUNT(recipes); i++) {
        pith_ctx_set_threads(ctx, 1);
        pith_buffer one = compress(&model, recipes[i]);
        model_archive *a = open_archive(&one);
        pith_buffer back = restore(a);
        pith_ctx_set_threads(ctx, 3);
        pith_buffer three = compress(&model, recipes[i]), back3 = restore(a);
        assert_same_bytes(&one, &three);
        assert_same_bytes(&back, &back3);
        archive_close(ctx, a);
        pith_buffer_free(ctx, &one);
        pith_buffer_free(ctx, &three);
        pith_buffer_free(ctx, &back);
        pith_buffer_free(ctx, &back3);
    }
    pith_ctx_set_threads(ctx, 1);
    pith_buffer_free(ctx, &model);
}

static void one_tensor_alone(void **state) {
    (void)state;
    pith_buffer model = make_model(), packed = compress(&model, NULL);
    model_archive *a = open_archive(&packed);
    tensor_file *f;
    assert_int_equal(tensor_file_open_memory(ctx, model.data, model.size, &f), PITH_OK);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *t = &f->tensors[i];
        size_t k = archive_find(a, t->name.data, t->name.size);
        assert_true(k < archive_about(a)->n_tensors);
        uint8_t *bytes = malloc(t->bytes + 1);
        float *floats = malloc((t->n_elements + 1) * sizeof *floats), *want = malloc((t->n_elements + 1) * sizeof *want);
        assert_int_equal(archive_tensor_bytes(ctx, a, k, 0, bytes), PITH_OK);
        assert_memory_equal(bytes, t->data, t->bytes);
        assert_int_equal(archive_floats(ctx, a, k, 0, floats), PITH_OK);
        blocks_decode(t->type, t->data, want, t->n_elements);
        assert_memory_equal(floats, want, t->n_elements * sizeof *want);
        assert_null(archive_rule(a, k));
        free(bytes);
        free(floats);
        free(want);
    }
    assert_int_equal(archive_find(a, "blk.2", 5), SIZE_MAX);
    assert_int_equal(archive_find(a, "", 0), SIZE_MAX);
    tensor_file_close(ctx, f);
    archive_close(ctx, a);
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

static void equal_tensors_are_stored_once(void **state) {
    (void)state;
    pith_buffer model = make_model(), packed = compress(&model, NULL);
    model_archive *a = open_archive(&packed);
    const archive_index *x = archive_about(a);
    size_t k = archive_find(a, "blk.1.attn_q.weight", 19), like = archive_find(a, "blk.0.attn_q.weight", 19), n_same = 0;
    for (size_t i = 0; i < x->n_tensors; i++) n_same += x->tensors[i].mode == ARCHIVE_SAME;
    assert_int_equal(n_same, 1);
    assert_int_equal(x->tensors[k].mode, ARCHIVE_SAME);
    assert_int_equal(x->tensors[k].like, like);
    assert_int_equal(x->tensors[k].n_pieces, 0);
    archive_close(ctx, a);
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

/* ---- by recipes ----------------------------------------------------------------------------------------------------- */

static void names_choose_rules(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } cases[] = {
        {NULL, "anything", true},
        {"*", "", true},
        {"a", "a", true},
        {"a", "ab", false},
        {"", "", true},
        {"", "a", false},
        {"*attn*.weight", "blk.0.attn_q.weight", true},
        {"*attn*.weight", "blk.0.attn_q.weights", false},
        {"blk.?.ffn", "blk.7.ffn", true},
        {"blk.?.ffn", "blk.17.ffn", false},
        {"blk.[0-3].*", "blk.2.x", true},
        {"blk.[0-3].*", "blk.4.x", false},
        {"blk.[!0-3].*", "blk.4.x", true},
        {"[a]]", "a]", true},
        {"[]a]", "]", true},
        {"[a-]", "-", true},
        {"a,b, c*", "cd", true},
        {"a,b, c*", "d", false},
        {"*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
        {"**b", "aab", true},
    };
    for (size_t i = 0; i < PITH_COUNT(cases); i++)
        if (archive_matches(cases[i].pattern, cases[i].name, strlen(cases[i].name)) != cases[i].matches)
            fail_msg("%s against %s", cases[i].pattern, cases[i].name);
}

static void recipes_code_matrices(void **state) {
    (void)state;
    pith_buffer model = make_model();
    pith_buffer packed = compress(&model, "*attn*, *norm* -> times | sum(near, near) ; *ffn* -> near | wide");
    model_archive *a = open_archive(&packed);
    const archive_index *x = archive_about(a);
    assert_true(x->lossy);
    static const struct {
        const char *name;
        archive_mode mode;
        size_t rule, pieces;
    } want[] = {
        {"token_embd.weight", ARCHIVE_EXACT, 0, 1},
        {"blk.0.attn_norm.weight", ARCHIVE_EXACT, 0, 1}, /* named, but a vector */
        {"blk.0.attn_q.weight", ARCHIVE_CODED, 0, 1},
        {"blk.1.attn_q.weight", ARCHIVE_SAME, 0, 0},
        {"blk.0.ffn_up.weight", ARCHIVE_CODED, 1, 1},
        {"blk.0.ffn_exps.weight", ARCHIVE_CODED, 1, 3}, /* three matrices */
        {"blk.1.ids", ARCHIVE_EXACT, 0, 1},
    };
    for (size_t i = 0; i < PITH_COUNT(want); i++) {
        size_t k = archive_find(a, want[i].name, strlen(want[i].name));
        assert_int_equal(x->tensors[k].mode, want[i].mode);
        assert_int_equal(x->tensors[k].n_pieces, want[i].pieces);
        if (want[i].mode == ARCHIVE_CODED) {
            assert_int_equal(x->tensors[k].rule, want[i].rule);
            assert_non_null(archive_rule(a, k));
        }
    }
    /* near what it was, and the same by every way of reading */
    pith_buffer back = restore(a);
    assert_int_equal(back.size, model.size);
    tensor_file *f, *g;
    assert_int_equal(tensor_file_open_memory(ctx, model.data, model.size, &f), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, back.data, back.size, &g), PITH_OK);
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *t = &f->tensors[i], *u = &g->tensors[i];
        size_t k = archive_find(a, t->name.data, t->name.size);
        if (!archive_rule(a, k)) {
            assert_memory_equal(t->data, u->data, t->bytes);
            continue;
        }
        float *from = malloc(t->n_elements * sizeof *from), *to = malloc(t->n_elements * sizeof *to);
        blocks_decode(t->type, t->data, from, t->n_elements);
        assert_int_equal(archive_floats(ctx, a, k, 0, to), PITH_OK);
        double error = 0, size = 0;
        for (size_t j = 0; j < t->n_elements; j++) {
            error += (from[j] - to[j]) * (from[j] - to[j]);
            size += from[j] * from[j];
        }
        assert_true(error > 0 && error < size / 1000);
        uint8_t *bytes = malloc(t->bytes), *again = malloc(t->bytes);
        assert_int_equal(archive_tensor_bytes(ctx, a, k, 0, bytes), PITH_OK);
        assert_true(blocks_encode(t->type, to, again, t->n_elements));
        assert_memory_equal(bytes, again, t->bytes);
        assert_memory_equal(bytes, u->data, t->bytes);
        repr_parts parts = {0};
        assert_int_equal(archive_parts(ctx, a, k, &parts), PITH_OK);
        uint64_t coded = 0, sum = 0;
        for (size_t p = 0; p < x->tensors[k].n_pieces; p++) coded += x->pieces[x->tensors[k].first_piece + p].coded_n;
        for (size_t p = 0; p < parts.n; p++) sum += parts.list[p].bytes;
        assert_int_equal(coded, sum);
        free(from);
        free(to);
        free(bytes);
        free(again);
    }
    tensor_file_close(ctx, f);
    tensor_file_close(ctx, g);
    archive_close(ctx, a);
    pith_buffer_free(ctx, &back);
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

/* Matrices of a stack by rules of their own, or by none: then their bytes are kept. */
static void single_matrices_have_rules(void **state) {
    (void)state;
    enum { N = 16 * 4 };
    static const char name[] = "blk.0.ffn_exps.weight";
    pith_buffer model = make_model(), packed = compress(&model, "*exps.weight:1 -> near ; *:[2-9] -> times | near");
    model_archive *a = open_archive(&packed);
    const archive_index *x = archive_about(a);
    size_t k = archive_find(a, name, strlen(name));
    const archive_tensor *t = &x->tensors[k];
    assert_int_equal(t->mode, ARCHIVE_CODED);
    assert_int_equal(t->rule, ARCHIVE_NO_RULE);
    assert_int_equal(t->n_pieces, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(x->pieces[t->first_piece + i].rule, i ? i - 1 : ARCHIVE_NO_RULE);
    assert_ptr_equal(archive_rule(a, k), archive_rule_at(a, 0));
    assert_int_equal(packed.data[8], 0x11);
    pith_buffer back = restore(a);
    tensor_file *f, *g;
    assert_int_equal(tensor_file_open_memory(ctx, model.data, model.size, &f), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, back.data, back.size, &g), PITH_OK);
    const float *was = (const void *)tensor_find(f, name)->data, *is = (const void *)tensor_find(g, name)->data;
    float floats[3 * N];
    uint8_t bytes[3 * N * sizeof(float)];
    assert_int_equal(archive_floats(ctx, a, k, 0, floats), PITH_OK);
    assert_int_equal(archive_tensor_bytes(ctx, a, k, 0, bytes), PITH_OK);
    assert_memory_equal(floats, is, sizeof floats);
    assert_memory_equal(bytes, is, sizeof bytes);
    assert_memory_equal(was, is, N * sizeof *is);
    for (size_t m = 1; m < 3; m++) {
        float error = 0, most = 0;
        for (size_t i = m * N; i < (m + 1) * N; i++) {
            error = PITH_MAX(error, was[i] < is[i] ? is[i] - was[i] : was[i] - is[i]);
            most = PITH_MAX(most, was[i]);
        }
        assert_true(error > 0 && error < most / 50);
    }
    tensor_file_close(ctx, g);
    /* in another type all three */
    archive_wish wish = {.type = tensor_type_of(TENSOR_BF16)};
    pith_buffer out = {0};
    assert_int_equal(archive_export(ctx, a, &wish, append, (void *[]){ctx, &out}), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, out.data, out.size, &g), PITH_OK);
    assert_int_equal(tensor_find(g, name)->type, TENSOR_BF16);
    assert_true(blocks_encode(TENSOR_BF16, floats, bytes, 3 * N));
    assert_memory_equal(tensor_find(g, name)->data, bytes, 2 * 3 * N);
    repr_parts parts = {0};
    uint64_t coded = 0;
    assert_int_equal(archive_parts(ctx, a, k, &parts), PITH_OK);
    for (size_t p = 0; p < parts.n; p++) coded += parts.list[p].bytes;
    assert_int_equal(coded, x->pieces[t->first_piece + 1].coded_n + x->pieces[t->first_piece + 2].coded_n);
    tensor_file_close(ctx, g);
    tensor_file_close(ctx, f);
    archive_close(ctx, a);
    pith_buffer_free(ctx, &out);
    pith_buffer_free(ctx, &back);
    pith_buffer_free(ctx, &packed);
    /* one rule for all of them is the tensor's, and a file of the first version */
    packed = compress(&model, "*exps.weight:* -> near");
    pith_buffer whole = compress(&model, "*exps.weight -> near");
    a = open_archive(&packed);
    assert_int_equal(archive_about(a)->tensors[k].rule, 0);
    assert_int_equal(packed.data[8], 0x10);
    assert_int_equal(whole.size, packed.size - 2); /* of the recipe's text */
    archive_close(ctx, a);
    pith_buffer_free(ctx, &whole);
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

static void a_rule_that_names_nothing_loses_nothing(void **state) {
    (void)state;
    pith_buffer model = make_model(), plain = compress(&model, NULL), packed = compress(&model, "other* -> near");
    assert_same_bytes(&plain, &packed);
    pith_buffer_free(ctx, &plain);
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

static void fewer_levels_of_a_stack(void **state) {
    (void)state;
    pith_buffer model = make_model(), packed = compress(&model, "*attn_q* -> stack(3, near)");
    model_archive *a = open_archive(&packed);
    float few[1024], all[1024];
    size_t k = archive_find(a, "blk.0.attn_q.weight", 19);
    assert_int_equal(archive_floats(ctx, a, k, 1, few), PITH_OK);
    assert_int_equal(archive_floats(ctx, a, k, 0, all), PITH_OK);
    assert_memory_not_equal(few, all, sizeof all);
    assert_int_equal(archive_floats(ctx, a, k, 3, few), PITH_OK);
    assert_memory_equal(few, all, sizeof all);
    archive_close(ctx, a);
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

static void levels_that_so_many_bytes_hold(void **state) {
    (void)state;
    pith_buffer model = make_model(), packed = compress(&model, "*attn_q*, *exps* -> times | stack(3, near)");
    model_archive *a = open_archive(&packed);
    uint16_t levels[N_MADE];
    archive_prefix_info all, least, some;
    assert_int_equal(archive_prefix(ctx, a, packed.size, 0, levels, &all), PITH_OK);
    assert_int_equal(all.bytes, packed.size);
    assert_int_equal(all.stacks, 2); /* the second attn_q is the first */
    assert_int_equal(all.fewest, 3);
    assert_int_equal(archive_prefix(ctx, a, packed.size, 1, levels, &least), PITH_OK);
    assert_int_equal(least.bytes, all.least);
    assert_int_equal(least.most, 1);
    assert_int_equal(archive_prefix(ctx, a, all.least - 1, 0, levels, &least), PITH_E_ARGUMENT);
    pith_begin(ctx);
    assert_int_equal(archive_prefix(ctx, a, packed.size - 1, 0, levels, &some), PITH_OK);
    assert_true(some.bytes < packed.size && some.fewest == 2 && some.most == 3);
    for (uint64_t bytes = all.least, before = 0; bytes <= packed.size; bytes += 97) { /* never less for more */
        assert_int_equal(archive_prefix(ctx, a, bytes, 0, levels, &some), PITH_OK);
        assert_true(some.bytes <= bytes && some.bytes >= before);
        before = some.bytes;
    }
    archive_wish wish = {.levels = levels};
    pith_buffer coarse = {0}, fine = restore(a);
    void *pair[] = {ctx, &coarse};
    assert_int_equal(archive_prefix(ctx, a, all.least, 0, levels, &some), PITH_OK);
    assert_int_equal(archive_restore(ctx, a, &wish, append, pair), PITH_OK);
    assert_int_equal(coarse.size, fine.size);
    assert_memory_not_equal(coarse.data, fine.data, fine.size);
    archive_close(ctx, a);
    pith_buffer_free(ctx, &coarse);
    pith_buffer_free(ctx, &fine);
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

/* Coded tensors in a type, others as they were; keys and shapes stay. */
static void another_type_for_what_was_coded(void **state) {
    (void)state;
    static const tensor_type types[] = {TENSOR_F32, TENSOR_BF16, TENSOR_Q8_0};
    pith_buffer model = make_model(), packed = compress(&model, "*ffn*, *attn* -> near");
    model_archive *a = open_archive(&packed);
    tensor_file *f, *g;
    assert_int_equal(tensor_file_open_memory(ctx, model.data, model.size, &f), PITH_OK);
    for (size_t k = 0; k < PITH_COUNT(types); k++) {
        archive_wish wish = {.type = tensor_type_of(types[k])};
        pith_buffer out = {0};
        void *pair[] = {ctx, &out};
        assert_int_equal(archive_export(ctx, a, &wish, append, pair), PITH_OK);
        assert_int_equal(tensor_file_open_memory(ctx, out.data, out.size, &g), PITH_OK);
        assert_int_equal(g->n_tensors, f->n_tensors);
        for (size_t i = 0; i < f->n_tensors; i++) {
            const tensor_view *t = &f->tensors[i], *u = &g->tensors[i];
            size_t n = archive_find(a, t->name.data, t->name.size);
            assert_int_equal(u->name.size, t->name.size);
            assert_memory_equal(u->name.data, t->name.data, t->name.size);
            assert_memory_equal(u->ne, t->ne, sizeof t->ne);
            if (!archive_rule(a, n)) {
                assert_int_equal(u->type, t->type);
                assert_memory_equal(u->data, t->data, t->bytes);
                continue;
            }
            /* 16 columns make no block of 32 */
            assert_int_equal(u->type, t->ne[0] % wish.type->block ? TENSOR_F16 : types[k]);
            float *floats = malloc(t->n_elements * sizeof *floats);
            uint8_t *want = malloc(u->bytes);
            assert_int_equal(archive_floats(ctx, a, n, 0, floats), PITH_OK);
            assert_true(blocks_encode(u->type, floats, want, t->n_elements));
            assert_memory_equal(u->data, want, u->bytes);
            free(floats);
            free(want);
        }
        uint64_t number;
        assert_true(meta_u64(g, "general.file_type", &number));
        assert_int_equal(number, k == 0 ? 0 : k == 1 ? 32 : 7);
        tensor_file_close(ctx, g);
        pith_buffer_free(ctx, &out);
    }
    archive_wish wish = {.type = tensor_type_of(TENSOR_IQ2_XXS)};
    assert_int_equal(archive_export(ctx, a, &wish, append, (void *[]){ctx, &packed}), PITH_E_UNSUPPORTED);
    assert_null(archive_unwritten(a));
    tensor_file_close(ctx, f);
    archive_close(ctx, a);
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

static void what_was_lost_is_told(void **state) {
    (void)state;
    pith_buffer model = make_model(), out = {0};
    archive_loss loss;
    archive_options o = {.recipe = "*ffn* -> near", .loss = &loss};
    assert_int_equal(archive_write(ctx, model.data, model.size, &o, append, (void *[]){ctx, &out}), PITH_OK);
    assert_int_equal(loss.weights, 64 * 20 + 16 * 4 * 3);
    assert_true(loss.weights_error > 0 && loss.weights_error < 1e-4 && loss.worst_error >= loss.weights_error);
    assert_true(loss.outputs_error != loss.outputs_error); /* nothing is known of the inputs */
    assert_non_null(strstr(loss.worst, "ffn"));
    o.recipe = NULL;
    assert_int_equal(archive_write(ctx, model.data, model.size, &o, append, (void *[]){ctx, &out}), PITH_OK);
    assert_int_equal(loss.weights, 0);
    pith_buffer_free(ctx, &out);
    pith_buffer_free(ctx, &model);
}

static void what_is_not_finite_stays_exact(void **state) {
    (void)state;
    pith_buffer model = make_model();
    tensor_file *f;
    assert_int_equal(tensor_file_open_memory(ctx, model.data, model.size, &f), PITH_OK);
    size_t at = (size_t)tensor_find(f, "blk.0.attn_q.weight")->offset;
    tensor_file_close(ctx, f);
    store16(model.data + at + 10, 0x7c00);
    pith_buffer packed = compress(&model, "*attn_q* -> near");
    model_archive *a = open_archive(&packed);
    assert_int_equal(archive_about(a)->tensors[archive_find(a, "blk.0.attn_q.weight", 19)].mode, ARCHIVE_EXACT);
    assert_int_equal(archive_about(a)->tensors[archive_find(a, "blk.1.attn_q.weight", 19)].mode, ARCHIVE_CODED);
    archive_close(ctx, a);
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

static void wrong_recipes_are_refused(void **state) {
    (void)state;
    pith_buffer model = make_model(), out = {0};
    void *pair[] = {ctx, &out};
    static const char *const wrong[][2] = {
        {"nera", "column 1: unknown stage \"nera\"; did you mean \"near\"?"},
        {"* -> near | near", "column 13: near would code what is coded already; sum(a, b) joins two coders"},
        {"a -> near ; raw", "column 13: a rule without a pattern beside others; * -> names all that is left"},
    };
    for (size_t i = 0; i < PITH_COUNT(wrong); i++) {
        archive_options o = {.recipe = wrong[i][0]};
        pith_begin(ctx);
        assert_int_equal(archive_write(ctx, model.data, model.size, &o, append, pair), PITH_E_ARGUMENT);
        assert_string_equal(pith_error(ctx), wrong[i][1]);
        assert_int_equal(out.size, 0);
    }
    pith_buffer_free(ctx, &model);
}

int main(void) {
    static const pith_registry registry = {tables, methods};
    if (!pith_registry_set(&registry)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_byte_for_byte),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(one_tensor_alone),
        cmocka_unit_test(equal_tensors_are_stored_once),
        cmocka_unit_test(names_choose_rules),
        cmocka_unit_test(recipes_code_matrices),
        cmocka_unit_test(single_matrices_have_rules),
        cmocka_unit_test(a_rule_that_names_nothing_loses_nothing),
        cmocka_unit_test(fewer_levels_of_a_stack),
        cmocka_unit_test(levels_that_so_many_bytes_hold),
        cmocka_unit_test(another_type_for_what_was_coded),
        cmocka_unit_test(what_was_lost_is_told),
        cmocka_unit_test(what_is_not_finite_stays_exact),
        cmocka_unit_test(wrong_recipes_are_refused),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
