/* The laws of represent.h for chains and branches, over the small stages of toys.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "kernels/represent/toys.h"
#include "support/data_heap.h"
#include "support/session.h"

/* ---- helpers ---------------------------------------------------------------------------------------------------- */

typedef struct coded {
    pith_recipe *recipe;
    repr_chain *chain;
    repr_matrix w;
    float *restored, *back;
    pith_buffer code;
} coded;

static void open_chain(coded *c, const char *recipe) {
    memset(c, 0, sizeof *c);
    assert_int_equal(pith_recipe_parse(ctx, "model", recipe, strlen(recipe), &c->recipe), PITH_OK);
    pith_status status = repr_chain_new(ctx, &c->recipe->rules[0], &c->chain);
    if (status) fail_msg("%s: %s", recipe, pith_error(ctx));
}

static void fill(float *w, size_t n) {
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525 + 1013904223;
        w[i] = (float)(int32_t)state / 2147483648.0f;
    }
}

static void encode(coded *c, size_t rows, size_t cols, const repr_stats *stats) {
    size_t n = rows * cols;
    c->w = (repr_matrix){.data = malloc(n * sizeof(float)), .rows = rows, .cols = cols};
    c->restored = malloc(n * sizeof(float));
    c->back = malloc(n * sizeof(float));
    assert_true(c->w.data && c->restored && c->back);
    fill(c->w.data, n);
    assert_int_equal(repr_encode(ctx, c->chain, &c->w, stats, &c->code, c->restored), PITH_OK);
}

static pith_status decode(coded *c, const uint8_t *data, size_t size, unsigned levels, size_t *used) {
    uint8_t *copy = malloc(size ? size : 1); /* no byte more than there is */
    memcpy(copy, data, size);
    repr_reader in = {copy, copy + size};
    repr_matrix w = {.data = c->back, .rows = c->w.rows, .cols = c->w.cols};
    pith_begin(ctx);
    pith_status status = repr_decode(ctx, c->chain, &in, levels, &w);
    if (used) *used = (size_t)(in.p - copy);
    free(copy);
    return status;
}

static void close_chain(coded *c) {
    free(c->w.data);
    free(c->restored);
    free(c->back);
    pith_buffer_free(ctx, &c->code);
    repr_chain_free(ctx, c->chain);
    pith_recipe_free(ctx, c->recipe);
}

static double distance(const coded *c, const float *a) {
    double sum = 0;
    for (size_t i = 0; i < c->w.rows * c->w.cols; i++) sum += (a[i] - c->w.data[i]) * (a[i] - c->w.data[i]);
    return sum;
}

/* ---- the laws ------------------------------------------------------------------------------------------------------ */

static const char *const recipes[] = {
    "near",
    "near | wide",
    "raw",
    "times | near",
    "times(4) | times(0.5) | near | wide @ spread",
    "positive",
    "positive | times | near",
    "times",
    "wide",
    "sum(near, near)",
    "sum(times | near, raw)",
    "times(3) | sum(near, sum(near | wide, raw)) | wide @ spread",
    "stack(3, near)",
    "stack(2, sum(near, stack(2, near)))",
    "times | stack(3, times(0.25) | near)",
    "sum(stack(2, near) | wide, raw)",
};

static void round_trip(void **state) {
    (void)state;
    static const size_t shapes[][2] = {{1, 1}, {3, 17}, {5, 4}, {7, 1}};
    for (size_t i = 0; i < PITH_COUNT(recipes); i++)
        for (size_t s = 0; s < PITH_COUNT(shapes); s++) {
            coded c;
            size_t used, n = shapes[s][0] * shapes[s][1];
            open_chain(&c, recipes[i]);
            encode(&c, shapes[s][0], shapes[s][1], NULL);
            float *w = malloc(n * sizeof *w);
            fill(w, n);
            assert_memory_equal(w, c.w.data, n * sizeof *w); /* encoding leaves the matrix alone */
            free(w);
            pith_buffer again = {0}; /* without `restored` the same */
            assert_int_equal(repr_encode(ctx, c.chain, &c.w, NULL, &again, NULL), PITH_OK);
            assert_int_equal(again.size, c.code.size);
            assert_memory_equal(again.data, c.code.data, again.size);
            pith_buffer_append(ctx, &again, "more", 4); /* what follows is left alone */
            assert_int_equal(decode(&c, again.data, again.size, 0, &used), PITH_OK);
            assert_int_equal(used, c.code.size);
            assert_memory_equal(c.back, c.restored, n * sizeof *c.back);
            pith_buffer_free(ctx, &again);
            close_chain(&c);
        }
}

static void every_cut_is_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < PITH_COUNT(recipes); i++) {
        coded c;
        open_chain(&c, recipes[i]);
        encode(&c, 3, 5, NULL);
        for (size_t n = 0; n < c.code.size; n++) {
            assert_int_equal(decode(&c, c.code.data, n, 0, NULL), PITH_E_FORMAT);
            assert_true(pith_error(ctx)[0] && !strchr(pith_error(ctx), '\n'));
        }
        close_chain(&c);
    }
}

/* Whatever is changed, decoding ends well or says why, inside its bytes. */
static void every_flip_is_survived(void **state) {
    (void)state;
    for (size_t i = 0; i < PITH_COUNT(recipes); i++) {
        coded c;
        open_chain(&c, recipes[i]);
        encode(&c, 2, 5, NULL);
        for (size_t at = 0; at < c.code.size; at++)
            for (unsigned bit = 0; bit < 8; bit++) {
                c.code.data[at] ^= (uint8_t)(1 << bit);
                pith_status status = decode(&c, c.code.data, c.code.size, 0, NULL);
                assert_true(status == PITH_OK || status == PITH_E_FORMAT);
                c.code.data[at] ^= (uint8_t)(1 << bit);
            }
        close_chain(&c);
    }
}

static void prefix_of_a_stack(void **state) {
    (void)state;
    coded c;
    open_chain(&c, "times | stack(4, near)");
    assert_int_equal(repr_levels(c.chain), 4);
    encode(&c, 6, 8, NULL);
    size_t used, level = 6 * 8 * 2 + 4 + 1, side = 5; /* step, codes, length; factor and its length */
    double before = 1e9;
    assert_int_equal(c.code.size, side + 4 * level);
    for (unsigned n = 1; n <= 4; n++) {
        assert_int_equal(decode(&c, c.code.data, c.code.size, n, &used), PITH_OK);
        assert_int_equal(used, c.code.size);
        double all = distance(&c, c.back);
        assert_true(all < before / 100); /* each level has a hundredth of the error left over */
        before = all;
        assert_int_equal(decode(&c, c.code.data, side + n * level, n, NULL), PITH_OK);
        assert_true(distance(&c, c.back) == all);
        if (n > 1) assert_int_equal(decode(&c, c.code.data, side + n * level - 1, n, NULL), PITH_E_FORMAT);
    }
    assert_int_equal(decode(&c, c.code.data, c.code.size, 4, NULL), PITH_OK);
    assert_memory_equal(c.back, c.restored, 48 * sizeof(float));
    close_chain(&c);
}

static void sums_are_nearer(void **state) {
    (void)state;
    coded one, two, three;
    open_chain(&one, "near");
    open_chain(&two, "sum(near, near)");
    open_chain(&three, "sum(near, sum(near, near))");
    encode(&one, 9, 9, NULL);
    encode(&two, 9, 9, NULL);
    encode(&three, 9, 9, NULL);
    assert_int_equal(two.code.size, 2 * one.code.size);
    assert_true(distance(&two, two.restored) < distance(&one, one.restored) / 100);
    assert_true(distance(&three, three.restored) < distance(&two, two.restored) / 100);
    close_chain(&one);
    close_chain(&two);
    close_chain(&three);
}

static void packers_and_solvers_reach_branches(void **state) {
    (void)state;
    static const struct {
        const char *recipe;
        size_t bytes; /* of a matrix of 10 */
        unsigned solved;
    } cases[] = {
        {"near", 4 + 20, 0},
        {"near | wide", 4 + 50, 0},
        {"near @ spread", 4 + 20, 1},
        {"sum(near, near) | wide", 2 * (4 + 50), 0},
        {"sum(near | pack, near) | wide", 4 + 20 + 4 + 50, 0},
        {"sum(near, raw) | wide", 4 + 50 + 20, 0},
        {"sum(near, near) @ spread", 2 * (4 + 20), 2},
        {"sum(near, raw) @ spread", 4 + 20 + 20, 1},
        {"sum(raw, near @ spread)", 20 + 4 + 20, 1},
        {"stack(3, near) | wide @ spread", 3 * (1 + 4 + 50), 3},
        {"stack(2, sum(near, near)) @ spread", 2 * (1 + 2 * (4 + 20)), 4},
        {"raw", 20, 0},
        {"", 0, 0},
    };
    for (size_t i = 0; cases[i].recipe[0]; i++) {
        coded c;
        open_chain(&c, cases[i].recipe);
        n_solved = 0;
        encode(&c, 2, 5, NULL);
        assert_int_equal(c.code.size, cases[i].bytes);
        assert_int_equal(n_solved, cases[i].solved);
        close_chain(&c);
    }
}

static void statistics_go_through_transforms(void **state) {
    (void)state;
    float h[4] = {8, 1, 1, 1}, gram[10] = {5, 0, 1, 0, 0, 1, 0, 0, 0, 1};
    const repr_stats with_h = {.h = h}, with_gram = {.gram = gram};
    uint64_t held = pith_memory_used(ctx);
    coded c;
    open_chain(&c, "times(2) | times(2) | near");
    encode(&c, 2, 4, &with_h);
    assert_true(last_cost == 0.5f);
    close_chain(&c);
    open_chain(&c, "near");
    encode(&c, 2, 4, &with_gram);
    assert_true(last_cost == 5);
    close_chain(&c);
    open_chain(&c, "near");
    encode(&c, 2, 4, NULL);
    assert_true(last_cost == 1);
    close_chain(&c);
    assert_int_equal(pith_memory_used(ctx), held);
}

static void parts_add_up(void **state) {
    (void)state;
    coded c;
    open_chain(&c, "times | sum(near, stack(2, raw)) | wide");
    encode(&c, 2, 5, NULL);
    repr_parts parts = {0};
    repr_reader in = {c.code.data, c.code.data + c.code.size};
    repr_matrix w = {.data = c.back, .rows = 2, .cols = 5};
    assert_int_equal(repr_decode_parts(ctx, c.chain, &in, &parts, &w), PITH_OK);
    uint64_t sum = 0;
    for (size_t i = 0; i < parts.n; i++) {
        sum += parts.list[i].bytes;
        if (strcmp(parts.list[i].stage, "near") == 0)
            assert_int_equal(parts.list[i].bytes, parts.list[i].kind == REPR_PART_CODES ? 50 : 4);
        if (strcmp(parts.list[i].stage, "raw") == 0) assert_int_equal(parts.list[i].bytes, 40);
        if (strcmp(parts.list[i].stage, "times") == 0) assert_int_equal(parts.list[i].bytes, 5);
        if (strcmp(parts.list[i].stage, "stack") == 0) assert_int_equal(parts.list[i].bytes, 2);
    }
    assert_int_equal(parts.n, 5);
    assert_int_equal(sum, c.code.size);
    close_chain(&c);
}

static void wrong_chains_are_refused(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"near | raw", "column 8: raw would code what is coded already; sum(a, b) joins two coders"},
        {"near | times", "column 8: times changes floats and stands before what codes them"},
        {"wide | times", "column 8: times changes floats and stands before what codes them"},
        {"wide | near", "column 8: near stands before what packs its codes"},
        {"near | wide | pack", "column 15: pack would pack what is packed already"},
        {"near @ spread @ spread", "column 17: spread is one solver more than a chain takes"},
        {"raw @ spread", "column 1: raw does not go column by column, so no solver can drive it"},
        {"sum(raw, raw) @ spread", "column 1: sum does not go column by column, so no solver can drive it"},
        {"sum(near, raw | near)", "column 17: near would code what is coded already; sum(a, b) joins two coders"},
        {"odd", "column 1: odd is no stage of a chain"},
        {"stack(64, stack(64, near))", "column 1: stack would add up more than 1024 matrices"},
    };
    for (size_t i = 0; i < PITH_COUNT(wrong); i++) {
        pith_recipe *recipe;
        repr_chain *chain = (repr_chain *)1;
        pith_begin(ctx);
        assert_int_equal(pith_recipe_parse(ctx, "model", wrong[i][0], strlen(wrong[i][0]), &recipe), PITH_OK);
        assert_int_equal(repr_chain_new(ctx, &recipe->rules[0], &chain), PITH_E_ARGUMENT);
        assert_null(chain);
        assert_string_equal(pith_error(ctx), wrong[i][1]);
        pith_recipe_free(ctx, recipe);
    }
}

static void wrong_matrices_are_refused(void **state) {
    (void)state;
    coded c;
    float data[4] = {1, 2, 3, 4};
    open_chain(&c, "near");
    repr_matrix empty = {.data = data, .rows = 0, .cols = 4}, w = {.data = data, .rows = 2, .cols = 2};
    repr_matrix huge = {.data = data, .rows = SIZE_MAX / 2, .cols = 4};
    assert_int_equal(repr_encode(ctx, c.chain, &empty, NULL, &c.code, NULL), PITH_E_ARGUMENT);
    assert_int_equal(repr_encode(ctx, c.chain, &huge, NULL, &c.code, NULL), PITH_E_LIMIT);
    data[2] = __builtin_nanf("");
    pith_begin(ctx);
    assert_int_equal(repr_encode(ctx, c.chain, &w, NULL, &c.code, NULL), PITH_E_ARGUMENT);
    assert_string_equal(pith_error(ctx), "element 2 of the matrix is not finite");
    close_chain(&c);
}

/* ---- memory -------------------------------------------------------------------------------------------------------- */

static void every_allocation_may_fail(void **state) {
    (void)state;
    data_heap heap = {.fail_at = -1};
    const pith_allocator allocator = data_heap_allocator(&heap);
    const char *text = "times | stack(2, sum(near, times | raw)) | wide @ spread";
    float data[12], back[12];
    fill(data, 12);
    repr_matrix w = {.data = data, .rows = 3, .cols = 4}, out = {.data = back, .rows = 3, .cols = 4};
    pith_ctx *own = pith_ctx_new(&allocator);
    bool all = false;
    for (long n = 0; !all && n < 2000; n++) {
        pith_recipe *recipe = NULL;
        repr_chain *chain = NULL;
        pith_buffer code = {0};
        pith_begin(own);
        data_heap_limit(&heap, n);
        pith_status status = pith_recipe_parse(own, "model", text, strlen(text), &recipe);
        if (!status) status = repr_chain_new(own, &recipe->rules[0], &chain);
        if (!status) status = repr_encode(own, chain, &w, NULL, &code, NULL);
        if (!status) {
            repr_reader in = {code.data, code.data + code.size};
            status = repr_decode(own, chain, &in, 0, &out);
        }
        all = status == PITH_OK;
        assert_true(all || status == PITH_E_MEMORY);
        pith_buffer_free(own, &code);
        repr_chain_free(own, chain);
        pith_recipe_free(own, recipe);
        assert_int_equal(pith_memory_used(own), 0);
    }
    assert_true(all);
    pith_ctx_free(own);
}

int main(void) {
    static const pith_registry registry = {tables, methods};
    if (!pith_registry_set(&registry)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(every_flip_is_survived),
        cmocka_unit_test(prefix_of_a_stack),
        cmocka_unit_test(sums_are_nearer),
        cmocka_unit_test(packers_and_solvers_reach_branches),
        cmocka_unit_test(statistics_go_through_transforms),
        cmocka_unit_test(parts_add_up),
        cmocka_unit_test(wrong_chains_are_refused),
        cmocka_unit_test(wrong_matrices_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
