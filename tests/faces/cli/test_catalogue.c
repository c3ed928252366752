/* pith stages, methods and explain, run as commands: the JSON has the promised shape, the
 * roadmap page in docs/ is what the command prints, wrong names get the nearest one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <jansson.h>

/* What `pith ARGUMENTS` prints on both streams, to be freed; its exit status. */
static char *run(const char *arguments, int *status) {
    const char *pith = getenv("PITH_COMMAND");
    char command[4096];
    assert_non_null(pith);
    snprintf(command, sizeof command, "'%s' %s 2>&1", pith, arguments);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t size = 0, capacity = 1 << 20;
    char *text = malloc(capacity);
    assert_non_null(text);
    for (size_t n; (n = fread(text + size, 1, capacity - 1 - size, pipe)) > 0;) size += n;
    assert_true(size < capacity - 1);
    text[size] = 0;
    int end = pclose(pipe);
    assert_true(WIFEXITED(end));
    *status = WEXITSTATUS(end);
    return text;
}

static void check_says(const char *arguments, int expected, const char *part) {
    int status;
    char *text = run(arguments, &status);
    if (!strstr(text, part)) fail_msg("%s: no \"%s\" in\n%s", arguments, part, text);
    free(text);
    assert_int_equal(status, expected);
}

static json_t *run_json(const char *arguments) {
    int status;
    char *text = run(arguments, &status);
    assert_int_equal(status, 0);
    json_t *value = json_loads(text, 0, NULL);
    assert_non_null(value);
    assert_true(json_is_array(value));
    free(text);
    return value;
}

static bool text_or_null(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) || json_is_null(v);
}

static void methods_json(void **state) {
    (void)state;
    static const char *const texts[] = {"name", "title", "paper", "artefact", "status"};
    static const char *const maybe[] = {"recipe", "claim", "check", "result"};
    json_t *list = run_json("methods --json");
    assert_true(json_array_size(list) >= 300);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i), *systems = json_object_get(o, "systems");
        assert_int_equal(json_object_size(o), 11);
        assert_true(json_is_array(json_object_get(o, "categories")));
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
            assert_true(json_is_string(json_object_get(o, texts[k])));
        for (size_t k = 0; k < sizeof maybe / sizeof *maybe; k++) assert_true(text_or_null(o, maybe[k]));
        assert_true(json_is_array(systems));
        for (size_t k = 0; k < json_array_size(systems); k++)
            assert_int_equal(json_string_length(json_array_get(systems, k)), 4);
    }
    json_decref(list);
    list = run_json("methods --json --artefact kv --status planned");
    assert_true(json_array_size(list) > 0);
    for (size_t i = 0; i < json_array_size(list); i++)
        assert_string_equal(json_string_value(json_object_get(json_array_get(list, i), "artefact")), "kv");
    json_decref(list);
    list = run_json("methods --json --artefact=nothing");
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

/* Every class of methods that make a model smaller has two that work, with a command that runs them. */
static void by_category(void **state) {
    (void)state;
    static const char *const names[] = {"pruning",  "quantisation", "distillation",
                                        "low rank", "sharing",      "architecture"};
    int status;
    char *text = run("methods --by-category --json --status works", &status);
    assert_int_equal(status, 0);
    json_t *all = json_loads(text, 0, NULL);
    free(text);
    assert_int_equal(json_object_size(all), 6);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const json_t *list = json_object_get(all, names[i]);
        assert_true(json_array_size(list) >= 2);
        for (size_t k = 0; k < json_array_size(list); k++) {
            const json_t *o = json_array_get(list, k);
            assert_string_equal(json_string_value(json_object_get(o, "status")), "works");
            assert_true(json_is_string(json_object_get(o, "check")));
        }
    }
    json_decref(all);
    check_says("methods --by-category --artefact model", 0, "distillation\n  ");
    check_says("explain aqlm", 0, "quantisation");
}

static void stages_json(void **state) {
    (void)state;
    json_t *list = run_json("stages --json file");
    bool found = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        assert_string_equal(json_string_value(json_object_get(o, "artefact")), "file");
        if (strcmp(json_string_value(json_object_get(o, "name")), "cm") != 0) continue;
        found = true;
        const json_t *params = json_object_get(o, "parameters"), *first = json_array_get(params, 0);
        assert_true(json_array_size(params) > 0);
        assert_true(json_is_string(json_object_get(first, "name")));
        assert_true(json_is_string(json_object_get(first, "doc")));
        assert_true(json_object_get(first, "default") != NULL);
    }
    assert_true(found);
    json_decref(list);
}

static void roadmap(void **state) {
    (void)state;
    int status;
    char *printed = run("methods --systems '" PITH_TEST_SOURCE_DIR "/docs/systems.tsv'", &status);
    assert_int_equal(status, 0);
    FILE *file = fopen(PITH_TEST_SOURCE_DIR "/docs/systems.md", "r");
    assert_non_null(file);
    size_t n = strlen(printed);
    char *page = malloc(n + 2);
    assert_non_null(page);
    size_t got = fread(page, 1, n + 1, file);
    fclose(file);
    if (got != n || memcmp(page, printed, n) != 0)
        fail_msg("docs/systems.md is not what pith methods --systems docs/systems.tsv prints");
    free(page);
    free(printed);
}

static void answers(void **state) {
    (void)state;
    check_says("explain statesmix", 0, "cm(");
    check_says("explain S323", 0, "statesmix: ");
    check_says("explain StateSMix", 0, "statesmix: ");
    check_says("explain cm", 0, "a whole number from ");
    check_says("explain statsmix", 1, "did you mean \"statesmix\"?");
    check_says("explain", 1, "usage: ");
    check_says("explain a b", 1, "usage: ");
    check_says("stages", 0, "file");
    check_says("stages nothing", 1, "no stages of artefact \"nothing\"");
    check_says("stages --bogus", 1, "usage: ");
    check_says("methods --status soon", 1, "usage: ");
    check_says("methods --systems /dev/null/x", 1, "/dev/null/x: ");
    check_says("methods --artefact lm", 0, "planned");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods_json),
        cmocka_unit_test(by_category),
        cmocka_unit_test(stages_json),
        cmocka_unit_test(roadmap),
        cmocka_unit_test(answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
