/* Recipes: what is read, what is refused and in which words, printing that reads back equal,
 * limits, and memory that runs out at every possible place. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/recipe_parts.h"
#include "support/data_heap.h"
#include "support/recipe_tables.h"

static pith_ctx *ctx;

static pith_recipe *read_recipe(const char *text) {
    pith_recipe *recipe = NULL;
    pith_begin(ctx);
    pith_status status = pith_recipe_parse(ctx, "model", text, strlen(text), &recipe);
    if (status) print_error("%s\n%s\n", text, pith_error(ctx));
    assert_int_equal(status, PITH_OK);
    return recipe;
}

static void check_print(const char *text, const char *canonical) {
    pith_recipe *recipe = read_recipe(text), *again;
    pith_buffer out = {0};
    assert_int_equal(pith_recipe_print(ctx, recipe, &out), PITH_OK);
    assert_int_equal(pith_buffer_append(ctx, &out, "", 1), PITH_OK);
    assert_string_equal((char *)out.data, canonical);
    again = read_recipe((char *)out.data);
    assert_true(pith_recipe_equal(recipe, again));
    pith_recipe_free(ctx, recipe);
    pith_recipe_free(ctx, again);
    pith_buffer_free(ctx, &out);
    assert_int_equal(pith_memory_used(ctx), 0);
}

static void check_refused(const char *text, const char *message) {
    pith_recipe *recipe = (pith_recipe *)1;
    pith_begin(ctx);
    assert_int_equal(pith_recipe_parse(ctx, "model", text, strlen(text), &recipe), PITH_E_ARGUMENT);
    assert_null(recipe);
    assert_string_equal(pith_error(ctx), message);
    assert_int_equal(pith_memory_used(ctx), 0);
}

static void values(void **state) {
    (void)state;
    pith_recipe *r =
        read_recipe("score(h2o, \"a \\\"b\\\\\", 64, keep=12.5%, memory=2.5GB)\n| q(3, sym=no, meta=rans)");
    assert_int_equal(r->n_rules, 1);
    assert_int_equal(r->rules[0].n_stages, 2);
    const pith_recipe_stage *score = &r->rules[0].stages[0], *q = &r->rules[0].stages[1];
    assert_string_equal(score->stage->name, "score");
    assert_int_equal(score->column, 1);
    assert_true(score->value[0] == 1);
    assert_string_equal(score->text[1], "a \"b\\");
    assert_true(score->value[2] == 64);
    assert_true(score->value[3] == 0.125);
    assert_true(score->value[4] == 2684354560.0);
    assert_true(score->given[4]);
    assert_true(score->value[5] == 0);
    assert_false(score->given[5]);
    assert_int_equal(q->column, 3);
    assert_true(q->value[0] == 3 && q->value[1] == 128 && q->value[2] == 0 && q->value[3] == 0);
    assert_string_equal(q->branch[4]->rules[0].stages[0].stage->name, "rans");
    pith_recipe_free(ctx, r);
}

static void rules(void **state) {
    (void)state;
    pith_recipe *r = read_recipe("*q_proj*, blk.[0-9].attn -> hadamard | q(3) @ obs(H) @ obs ; * -> q ; rans");
    assert_int_equal(r->n_rules, 3);
    assert_string_equal(r->rules[0].pattern, "*q_proj*,blk.[0-9].attn");
    assert_int_equal(r->rules[0].n_solvers, 2);
    assert_string_equal(r->rules[0].solvers[0].text[0], "H");
    assert_string_equal(r->rules[1].pattern, "*");
    assert_null(r->rules[2].pattern);
    pith_recipe_free(ctx, r);
}

static void printing(void **state) {
    (void)state;
    check_print("hadamard(block=128)|q(bits=3,group=128)@obs(H);rans", "hadamard | q(bits=3) @ obs(H) ; rans");
    check_print("sum(sum(rans, q), q(2, meta=q(8)) | rans)", "sum(sum(rans, q), q(bits=2, meta=q(bits=8)) | rans)");
    check_print("sum(rest=q, exact, first=rans)", "sum(rans, q, exact)");
    check_print("rans @ obs(data=fast)", "rans @ obs(data=fast)"); /* obs(fast) is the flag */
    check_print("rans @ obs(fast, damp=0.5)", "rans @ obs(damp=0.5, fast)");
    check_print("rans @ obs(\"fast\", fast)", "rans @ obs(data=fast, fast)");
    check_print("q(sym)", "q");
    check_print("q(sym=off, grid=gauss)", "q(grid=gauss, sym=no)");
    check_print("score(kind=h2o, given=\"\")", "score(h2o, \"\")");
    check_print("score(h2o, given=\"a|b;c\")", "score(h2o, \"a|b;c\")");
    check_print("score(h2o, given=window)", "score(h2o, given=window)");
    check_print("score(h2o, \"\xc3\xa9\")", "score(h2o, \"\xc3\xa9\")");
    check_print("score(h2o, channel/2, 1)", "score(h2o, channel/2, window=1)");
    check_print("score(snapkv, keep=0.1, memory=64KiB, tune=-1e-7)",
                "score(snapkv, keep=0.1, memory=65536, tune=-1e-7)");
    check_print(" chunk=128 -> score(h2o) ; stored ", "chunk=128 -> score(h2o) ; stored");
    check_print("a , b-c -> rans", "a,b-c -> rans");
}

static void refusals(void **state) {
    (void)state;
    check_refused("q | rans | hadamrd(8)", "column 12: unknown stage \"hadamrd\"; did you mean \"hadamard\"?");
    check_refused("", "column 1: expected the name of a stage, not the end of the recipe");
    check_refused("q |", "column 4: expected the name of a stage, not the end of the recipe");
    check_refused("q rans", "column 3: expected \"|\", \"@\", \";\" or the end, not \"rans\"");
    check_refused("q @ rans", "column 5: \"rans\" is a stage, expected a solver after \"@\"");
    check_refused("q | obs", "column 5: \"obs\" is a solver, expected \"@\" before it");
    check_refused("evict", "column 1: \"evict\" is a stage of artefact kv, not of model");
    check_refused("q | spqr",
                  "column 5: \"spqr\" is a method, not a stage; its recipe is sum(rans, q(bits=3, meta=q(3)))");
    check_refused("zzzzzz",
                  "column 1: unknown stage \"zzzzzz\"; expected one of hadamard, q, sum, score, rans, stored");
    check_refused("hadamard(blok=8)", "column 10: \"hadamard\" has no parameter \"blok\", expected one of block, seed; "
                                      "did you mean \"block\"?");
    check_refused("hadamard(block=1)", "column 16: block expects a whole number from 2 to 8192 values, not \"1\"");
    check_refused("hadamard(block=2.5)", "column 16: block expects a whole number from 2 to 8192 values, not \"2.5\"");
    check_refused("hadamard(block=8KB)", "column 16: block: \"8KB\" is in bytes, expected values");
    check_refused("hadamard(block=)", "column 16: block expects a whole number from 2 to 8192 values, not \")\"");
    check_refused("hadamard(8, block=8)", "column 19: \"8\": \"block\" is given twice");
    check_refused("hadamard(block=8, 1)",
                  "column 19: expected name=value, not \"1\": values without a name come first");
    check_refused("hadamard(1, 2, 3)", "column 10: block expects a whole number from 2 to 8192 values, not \"1\"");
    check_refused("hadamard(2, 2, 3)", "column 16: \"hadamard\" takes no further value without a name, found \"3\"");
    check_refused("hadamard(8",
                  "column 11: expected \",\" or \")\" after an argument of \"hadamard\", not the end of the recipe");
    check_refused("rans(fast)", "column 6: \"fast\": \"rans\" takes no arguments");
    check_refused("rans(1)", "column 6: \"rans\" takes no value without a name, found \"1\"");
    check_refused("q(sym, sym)", "column 8: \"sym\" is given twice");
    check_refused("q(sym=maybe)", "column 7: sym expects yes or no, not \"maybe\"");
    check_refused("q(bits=\"3\")", "column 8: bits expects a number from 0.5 to 16 bits, not quoted text");
    check_refused("score(h2)",
                  "column 7: kind expects one of snapkv, h2o, perplexity, not \"h2\"; did you mean \"h2o\"?");
    check_refused("score", "column 1: \"score\" needs kind=, expected one of snapkv, h2o, perplexity");
    check_refused("sum(q)", "column 1: \"sum\" needs rest=, expected a recipe");
    check_refused("sum(q, evct)",
                  "column 8: unknown stage \"evct\"; expected one of hadamard, q, sum, score, rans, stored");
    check_refused("score(h2o, \"abc)", "column 12: \"\"\": the quoted text has no end");
    check_refused("score(h2o, \"a\\n\")", "column 14: expected \\\" or \\\\ in quoted text, not a lone backslash");
    check_refused("score(h2o, memory=0.3B)", "column 19: memory: \"0.3B\" is not a whole number");
    check_refused("q\n| rans\n| hadamrd", "line 3, column 3: unknown stage \"hadamrd\"; did you mean \"hadamard\"?");
    check_refused("score(h2o, \"\xc3\xa9\xc3\xa9\") x",
                  "column 18: expected \"|\", \"@\", \";\" or the end, not \"x\"");
    check_refused("q\x01", "column 2: byte 0x01 is not text");
    check_refused("q \xff", "column 3: byte 0xff is not text");
    check_refused("a b -> q", "column 3: expected \"->\" after the pattern, not \"b\"");
    check_refused("-> q", "column 1: expected a pattern before \"->\"");
    check_refused("a,,b -> q", "column 3: expected a pattern before \",\"");
    check_refused("a, -> q", "column 4: expected a pattern before \"->\"");
    check_refused("\xc2\xb7", "column 1: expected the name of a stage, not \"\xc2\xb7\"");
    assert_int_equal(pith_recipe_parse(ctx, "model", "q\0q", 3, &(pith_recipe *){NULL}), PITH_E_ARGUMENT);
}

/* `open` n times, then `middle`, then `close` n times. */
static char *nest(const char *open, const char *middle, const char *close, unsigned n) {
    char *text = calloc(1, n * (strlen(open) + strlen(close)) + strlen(middle) + 1);
    assert_non_null(text);
    for (unsigned i = 0; i < n; i++) strcat(text, open);
    strcat(text, middle);
    for (unsigned i = 0; i < n; i++) strcat(text, close);
    return text;
}

static pith_status try_text(const char *text, size_t size) {
    pith_recipe *recipe;
    pith_begin(ctx);
    pith_status status = pith_recipe_parse(ctx, "model", text, size, &recipe);
    pith_recipe_free(ctx, recipe);
    assert_int_equal(pith_memory_used(ctx), 0);
    return status;
}

static void limits(void **state) {
    (void)state;
    char *text = nest("q(meta=", "rans", ")", PITH_RECIPE_MAX_DEPTH);
    assert_int_equal(try_text(text, strlen(text)), PITH_OK);
    free(text);
    text = nest("q(meta=", "rans", ")", PITH_RECIPE_MAX_DEPTH + 1);
    check_refused(text, "column 232: \"rans\": recipes nest at most 32 deep");
    free(text);
    text = nest("q(meta=", "", "", 9000);
    assert_int_equal(try_text(text, strlen(text)), PITH_E_ARGUMENT);
    free(text);
    text = nest("q|", "q", "", PITH_RECIPE_MAX_STAGES - 1);
    assert_int_equal(try_text(text, strlen(text)), PITH_OK);
    free(text);
    text = nest("q;", "q", "", PITH_RECIPE_MAX_STAGES);
    check_refused(text, "column 513: \"q\": a recipe has at most 256 stages");
    free(text);
    text = nest(" ", "q", "", PITH_RECIPE_MAX_BYTES - 1);
    assert_int_equal(try_text(text, strlen(text)), PITH_OK);
    free(text);
    text = nest(" ", "q", "", PITH_RECIPE_MAX_BYTES);
    check_refused(text, "a recipe has at most 65536 bytes, not 65537");
    free(text);
    text = nest("a", "->q", "", 65000);
    text = realloc(text, 66000);
    assert_non_null(text);
    for (unsigned i = 0; i < 200; i++) strcat(text, ";q"); /* " ; q" when printed */
    pith_recipe *recipe = read_recipe(text);
    pith_buffer out = {0};
    assert_int_equal(pith_recipe_print(ctx, recipe, &out), PITH_E_ARGUMENT);
    assert_string_equal(pith_error(ctx), "the recipe needs more than 65536 bytes in full");
    pith_buffer_free(ctx, &out);
    pith_recipe_free(ctx, recipe);
    free(text);
    text = nest("x", "", "", 60000);
    assert_int_equal(try_text(text, strlen(text)), PITH_E_ARGUMENT);
    free(text);
}

/* Every prefix of a rich recipe either reads or is refused; nothing past its size is looked at. */
static void prefixes(void **state) {
    (void)state;
    const char *text =
        "a,b -> sum(q(3, sym=no), score(h2o, \"x\\\"\xc3\xa9\", keep=5e-1%)) @ obs(H, damp=.1) ; * -> rans";
    for (size_t n = 0; n <= strlen(text); n++) {
        char *exact = malloc(n ? n : 1);
        assert_non_null(exact);
        memcpy(exact, text, n);
        pith_status status = try_text(exact, n);
        assert_true(status == PITH_E_ARGUMENT || status == PITH_OK);
        free(exact);
    }
    assert_int_equal(try_text(text, strlen(text)), PITH_OK);
}

static void numbers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double value;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"007", 7},
        {"12.50", 12.5},
        {".5", 0.5},
        {"5.", 5},
        {"1e3", 1000},
        {"2.5e-3", 0.0025},
        {"25%", 0.25},
        {"0.1%", 0.001},
        {"64K", 65536},
        {"1.5M", 1572864},
        {"0.3", 0.3},
        {"-7T", -7696581394432.0},
        {"9007199254740992", 9007199254740992.0},
        {"1.00000000000000000000000000", 1},
        {"8B", 8},
        {"4KiB", 4096},
        {"2.5GB", 2684354560.0},
        {"1E+2", 100},
        {"0.000000000000000000000000000e9", 0},
        {"123456789.123456", 123456789.123456},
    };
    for (size_t i = 0; i < PITH_COUNT(good); i++) {
        double v = NAN;
        assert_int_equal(recipe_number_read(good[i].text, strlen(good[i].text), true, &v), NUMBER_OK);
        assert_true(v == good[i].value);
        assert_false(signbit(v) && v == 0);
    }
    static const char *const none[] = {"",     "-",   ".",   "e3",  "1e",  "1e+", "K", "1KK",
                                       "0x10", "1%%", "1iB", "--1", "nan", "inf", "1 "};
    for (size_t i = 0; i < PITH_COUNT(none); i++)
        assert_int_equal(recipe_number_read(none[i], strlen(none[i]), true, &(double){0}), NUMBER_NONE);
    static const char *const range[] = {"9007199254740993",      "1e16", "8193T", "1e-23", "1e99999",
                                        "0.12345678901234567891"};
    for (size_t i = 0; i < PITH_COUNT(range); i++)
        assert_int_equal(recipe_number_read(range[i], strlen(range[i]), true, &(double){0}), NUMBER_RANGE);
    assert_int_equal(recipe_number_read("2.5B", 4, true, &(double){0}), NUMBER_FRACTION);
    assert_int_equal(recipe_number_read("0.1K", 4, true, &(double){0}), NUMBER_FRACTION);
    assert_int_equal(recipe_number_read("4KB", 3, false, &(double){0}), NUMBER_BYTES);
}

/* Random decimals: what is printed reads back as the same double and never longer than it was. */
static void number_round_trip(void **state) {
    (void)state;
    uint64_t seed = 1;
    for (unsigned i = 0; i < 200000; i++) {
        char text[64], printed[PITH_NUMBER_MAX];
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t m = (seed >> 11) >> (seed % 53);
        unsigned e = (unsigned)(seed >> 7) % 23;
        snprintf(text, sizeof text, "%s%llue-%u", seed & 64 ? "-" : "", (unsigned long long)m, e);
        double v = NAN, again = NAN;
        assert_int_equal(recipe_number_read(text, strlen(text), false, &v), NUMBER_OK);
        assert_true(v == strtod(text, NULL)); /* the C library agrees in its default locale */
        size_t n = pith_number_print(v, printed);
        assert_int_equal(n, strlen(printed));
        assert_int_equal(recipe_number_read(printed, n, false, &again), NUMBER_OK);
        assert_true(v == again);
    }
    char out[PITH_NUMBER_MAX];
    static const struct {
        double v;
        const char *text;
    } shown[] = {{0.25, "0.25"},
                 {0.05, "0.05"},
                 {-1.5, "-1.5"},
                 {1e-9, "1e-9"},
                 {100, "100"},
                 {0.1, "0.1"},
                 {1e15, "1000000000000000"},
                 {-INFINITY, "-inf"},
                 {1e300, "1.0000000000000001e+300"}};
    for (size_t i = 0; i < PITH_COUNT(shown); i++) {
        pith_number_print(shown[i].v, out);
        assert_string_equal(out, shown[i].text);
    }
}

static void out_of_memory(void **state) {
    (void)state;
    const char *text =
        "a -> sum(q(3, meta=rans), score(h2o, \"x\", tune=1) | rans | q) @ obs(H) @ obs(G) ; * -> rans ; q";
    long n = 0;
    for (bool done = false; !done; n++) {
        data_heap heap = {.fail_at = -1};
        const pith_allocator allocator = data_heap_allocator(&heap);
        pith_ctx *poor = pith_ctx_new(&allocator);
        assert_non_null(poor);
        data_heap_limit(&heap, n);
        pith_recipe *recipe;
        pith_buffer out = {0};
        pith_status status = pith_recipe_parse(poor, "model", text, strlen(text), &recipe);
        if (status == PITH_OK) status = pith_recipe_print(poor, recipe, &out);
        done = atomic_load(&heap.calls) <= n;
        assert_int_equal(status, done ? PITH_OK : PITH_E_MEMORY);
        pith_buffer_free(poor, &out);
        pith_recipe_free(poor, recipe);
        assert_int_equal(pith_memory_used(poor), 0);
        pith_ctx_free(poor);
    }
    assert_true(n > 20);
}

static void equality(void **state) {
    (void)state;
    static const char *const different[] = {
        "q",     "q(3)",       "q(sym=no)",        "q(meta=rans)",  "q(meta=q)",     "q | q",
        "q ; q", "q @ obs",    "q @ obs(H)",       "q @ obs(G)",    "a -> q",        "b -> q",
        "rans",  "score(h2o)", "score(h2o, \"\")", "score(h2o, a)", "score(snapkv)", "score(h2o, tune=1)",
    };
    for (size_t i = 0; i < PITH_COUNT(different); i++)
        for (size_t k = 0; k < PITH_COUNT(different); k++) {
            pith_recipe *a = read_recipe(different[i]), *b = read_recipe(different[k]);
            assert_int_equal(pith_recipe_equal(a, b), i == k);
            pith_recipe_free(ctx, a);
            pith_recipe_free(ctx, b);
        }
    pith_recipe *a = read_recipe("q(4, sym)"), *b = read_recipe("q");
    assert_true(pith_recipe_equal(a, b)); /* spelling out a default changes nothing */
    pith_recipe_free(ctx, a);
    pith_recipe_free(ctx, b);
}

static void tables(void **state) {
    (void)state;
    pith_begin(ctx);
    if (pith_registry_check(ctx) != PITH_OK) fail_msg("%s", pith_error(ctx));
    assert_true(pith_registry_set(&test_registry));
    pith_registry other = test_registry;
    assert_false(pith_registry_set(&other));
    assert_ptr_equal(pith_stage_find("model", "q"), &model_test_stages[1]);
    assert_ptr_equal(pith_stage_find("kv", "stored"), &other_test_stages[1]);
    assert_null(pith_stage_find("kv", "q"));
    assert_ptr_equal(pith_stage_find(NULL, "evict"), &other_test_stages[0]);
    assert_ptr_equal(pith_method_find("S074"), &test_methods[0]);
    assert_null(pith_method_find("S07"));
    assert_null(pith_method_find(""));
    unsigned n = 0;
    for (pith_cursor c = {0, 0}; pith_stage_next(&c);) n++;
    assert_int_equal(n, 8);
}

static void expectations(void **state) {
    (void)state;
    char text[64], tiny[8];
    pith_param_expects(&q_params[3], text, sizeof text);
    assert_string_equal(text, "one of uniform, gauss, zero");
    pith_param_expects(&score_params[3], text, sizeof text);
    assert_string_equal(text, "a number from 0 to 1");
    pith_param_expects(&q_params[3], tiny, sizeof tiny);
    assert_string_equal(tiny, "one of ");
    size_t n;
    assert_int_equal(pith_choice_count("a|bb|c"), 3);
    assert_memory_equal(pith_choice_name("a|bb|c", 1, &n), "bb", 2);
    assert_int_equal(n, 2);
    assert_null(pith_choice_name("a|bb|c", 3, &n));
}

static int start(void **state) {
    (void)state;
    ctx = pith_ctx_new(NULL);
    return !ctx || !pith_registry_set(&test_registry);
}

static int stop(void **state) {
    (void)state;
    pith_ctx_free(ctx);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),        cmocka_unit_test(rules),
        cmocka_unit_test(printing),      cmocka_unit_test(refusals),
        cmocka_unit_test(limits),        cmocka_unit_test(prefixes),
        cmocka_unit_test(numbers),       cmocka_unit_test(number_round_trip),
        cmocka_unit_test(out_of_memory), cmocka_unit_test(equality),
        cmocka_unit_test(tables),        cmocka_unit_test(expectations),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
