/* The registry: its own check refuses bad tables, and the tables pith ships pass it and
 * cover every system of docs/systems.tsv exactly once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "artefacts/artefacts.h"

/* ---- tables that must not pass; a registry is set once, so each has its own process ---- */

static bool passes(const pith_registry *registry) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        pith_ctx *ctx = pith_ctx_new(NULL);
        bool good = ctx && pith_registry_set(registry) && pith_registry_check(ctx) == PITH_OK;
        bool told = ctx && *pith_error(ctx);
        bool whole = ctx && pith_memory_used(ctx) == 0;
        pith_ctx_free(ctx);
        _exit(!whole || good == told ? 2 : good ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) != 2);
    return WEXITSTATUS(status) == 0;
}

static bool stage_passes(pith_stage stage) {
    const pith_stage table[] = {
        stage, {.name = "other", .artefact = "file", .role = "codec", .summary = "-"}, {.name = NULL}};
    const pith_stage *const tables[] = {table, NULL};
    return passes(&(pith_registry){tables, NULL});
}

static bool param_passes(pith_param param) {
    const pith_param params[] = {
        {.name = "on", .type = PITH_P_FLAG, .doc = "-"},
        {.name = "part", .type = PITH_P_RECIPE, .doc = "-"},
        param,
    };
    return stage_passes((pith_stage){
        .name = "s", .artefact = "file", .role = "codec", .summary = "-", .params = params, .n_params = 3});
}

static bool method_passes(pith_method method) {
    static const pith_stage table[] = {{.name = "s", .artefact = "file", .role = "codec", .summary = "-"},
                                       {.name = NULL}};
    static const pith_stage *const stages[] = {table, NULL};
    const pith_method methods[] = {
        method,
        {.name = "b", .title = "-", .paper = "-", .systems = "S001", .artefact = "file", .status = "planned"},
        {.name = NULL}};
    const pith_method *const tables[] = {methods, NULL};
    return passes(&(pith_registry){stages, tables});
}

static void bad_stages(void **state) {
    (void)state;
    assert_true(stage_passes((pith_stage){.name = "s", .artefact = "file", .role = "codec", .summary = "-"}));
    assert_false(stage_passes((pith_stage){.name = "a-b", .artefact = "file", .role = "codec", .summary = "-"}));
    assert_false(stage_passes((pith_stage){.name = "7z", .artefact = "file", .role = "codec", .summary = "-"}));
    assert_false(stage_passes((pith_stage){.name = "s", .artefact = "file", .role = "codec"}));
    assert_false(stage_passes((pith_stage){.name = "other", .artefact = "file", .role = "codec", .summary = "-"}));
    assert_true(stage_passes((pith_stage){.name = "other", .artefact = "kv", .role = "codec", .summary = "-"}));
    assert_false(
        stage_passes((pith_stage){.name = "s", .artefact = "file", .role = "codec", .summary = "-", .n_params = 1}));
}

static void bad_params(void **state) {
    (void)state;
    assert_true(param_passes((pith_param){.name = "x", .type = PITH_P_INT, .min = 1, .max = 3, .def = 2, .doc = "-"}));
    assert_true(param_passes(
        (pith_param){.name = "x", .type = PITH_P_INT, .min = 1, .max = 3, .def = PITH_REQUIRED, .doc = "-"}));
    assert_false(param_passes((pith_param){.name = "x", .type = PITH_P_INT, .min = 1, .max = 3, .def = 0, .doc = "-"}));
    assert_false(
        param_passes((pith_param){.name = "x", .type = PITH_P_REAL, .min = 3, .max = 1, .def = 2, .doc = "-"}));
    assert_false(param_passes((pith_param){.name = "x", .type = PITH_P_TEXT}));
    assert_false(param_passes((pith_param){.name = "on", .type = PITH_P_TEXT, .doc = "-"}));
    assert_false(param_passes((pith_param){.name = "other", .type = PITH_P_FLAG, .doc = "-"}));
    assert_false(param_passes((pith_param){.name = "x", .type = PITH_P_FLAG, .def = 2, .doc = "-"}));
    assert_true(param_passes((pith_param){.name = "x", .type = PITH_P_CHOICE, .choices = "a|b", .def = 1, .doc = "-"}));
    assert_false(
        param_passes((pith_param){.name = "x", .type = PITH_P_CHOICE, .choices = "a|b", .def = 2, .doc = "-"}));
    assert_false(param_passes((pith_param){.name = "x", .type = PITH_P_CHOICE, .choices = "a||b", .doc = "-"}));
    assert_false(param_passes((pith_param){.name = "x", .type = PITH_P_CHOICE, .choices = "a|on", .doc = "-"}));
    assert_false(param_passes((pith_param){.name = "x", .type = PITH_P_CHOICE, .doc = "-"}));
}

static void bad_methods(void **state) {
    (void)state;
    pith_method good = {.name = "a",
                        .title = "-",
                        .paper = "-",
                        .systems = "S002",
                        .artefact = "file",
                        .recipe = "s",
                        .status = "planned"};
    pith_method m = good;
    assert_true(method_passes(m));
    m.name = "A";
    assert_false(method_passes(m));
    m.name = "a--b";
    assert_false(method_passes(m));
    m.name = "b";
    assert_false(method_passes(m));
    m = good;
    m.recipe = "s | t";
    assert_false(method_passes(m));
    m = good;
    m.status = "done";
    assert_false(method_passes(m));
    m.status = "works";
    m.claim = m.check = "-";
    assert_false(method_passes(m)); /* works, says the row, but nothing was printed */
    m.result = "2026-01-01: 1 byte";
    assert_true(method_passes(m));
}

/* ---- the nearest name ---------------------------------------------------------------- */

static const char *nearest(const char *word) {
    static const char *const names[] = {"hadamard", "zstd", "lzma", "q", "bwt", "records"};
    pith_nearest n;
    pith_nearest_begin(&n, word, strlen(word));
    for (size_t i = 0; i < PITH_COUNT(names); i++) pith_nearest_offer(&n, names[i], strlen(names[i]));
    return n.best ? n.best : "-";
}

static void nearest_names(void **state) {
    (void)state;
    assert_string_equal(nearest("hadamrd"), "hadamard");
    assert_string_equal(nearest("hadmaard"), "hadamard");
    assert_string_equal(nearest("zsdt"), "zstd");
    assert_string_equal(nearest("record"), "records");
    assert_string_equal(nearest("x"), "-");
    assert_string_equal(nearest(""), "-");
    assert_string_equal(nearest("context"), "-");
    assert_string_equal(nearest("hadamardhadamardhadamardhadamardhadamardhadamardhadamard"), "-");
}

/* ---- what pith ships ------------------------------------------------------------------- */

static void shipped_tables(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    assert_non_null(ctx);
    if (pith_registry_check(ctx) != PITH_OK) fail_msg("%s", pith_error(ctx));
    pith_ctx_free(ctx);
    const pith_method *m = pith_method_find("statesmix");
    assert_non_null(m);
    assert_ptr_equal(m, pith_method_find("S323"));
    assert_non_null(m->recipe);
    assert_non_null(m->claim);
    assert_non_null(m->check);
}

static unsigned methods_covering(const char *id) {
    const pith_method *m;
    unsigned n = 0;
    for (pith_cursor c = {0, 0}; (m = pith_method_next(&c)) != NULL;) n += pith_method_covers(m, id);
    return n;
}

static void every_system_once(void **state) {
    (void)state;
    FILE *file = fopen(PITH_TEST_SOURCE_DIR "/docs/systems.tsv", "r");
    assert_non_null(file);
    char line[1024];
    unsigned n = 0;
    assert_non_null(fgets(line, sizeof line, file));
    assert_string_equal(line, "id\tfamily\ttitle\n");
    while (fgets(line, sizeof line, file)) {
        char *tab = strchr(line, '\t');
        assert_non_null(tab);
        *tab = 0;
        if (methods_covering(line) != 1)
            fail_msg("%s is in %u methods; run scripts/make-planned", line, methods_covering(line));
        n++;
    }
    fclose(file);
    assert_int_equal(n, 337);
}

/* ---- docs/recipes.md: the block marked "refused" holds recipes, each above its answer ------ */

static bool read_line(FILE *file, char *line, size_t size) {
    if (!fgets(line, (int)size, file)) return false;
    line[strcspn(line, "\n")] = 0;
    return true;
}

static void documented_refusals(void **state) {
    (void)state;
    FILE *file = fopen(PITH_TEST_SOURCE_DIR "/docs/recipes.md", "r");
    assert_non_null(file);
    pith_ctx *ctx = pith_ctx_new(NULL);
    assert_non_null(ctx);
    char recipe[512], answer[512];
    unsigned n = 0;
    bool inside = false;
    while (read_line(file, recipe, sizeof recipe)) {
        if (!inside || strcmp(recipe, "```") == 0) {
            inside = strcmp(recipe, "```refused") == 0;
            continue;
        }
        assert_true(read_line(file, answer, sizeof answer));
        pith_recipe *out;
        pith_begin(ctx);
        assert_int_equal(pith_recipe_parse(ctx, "file", recipe, strlen(recipe), &out), PITH_E_ARGUMENT);
        assert_string_equal(answer + strspn(answer, " "), pith_error(ctx));
        n++;
    }
    assert_true(n >= 5);
    pith_ctx_free(ctx);
    fclose(file);
}

static int start(void **state) {
    (void)state;
    artefacts_register();
    artefacts_register();
    return 0;
}

int main(void) {
    const struct CMUnitTest bad[] = {cmocka_unit_test(bad_stages), cmocka_unit_test(bad_params),
                                     cmocka_unit_test(bad_methods)};
    const struct CMUnitTest shipped[] = {cmocka_unit_test(nearest_names), cmocka_unit_test(shipped_tables),
                                         cmocka_unit_test(every_system_once), cmocka_unit_test(documented_refusals)};
    int failed = cmocka_run_group_tests(bad, NULL, NULL);
    return failed | cmocka_run_group_tests(shipped, start, NULL);
}
