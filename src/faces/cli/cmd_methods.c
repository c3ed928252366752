/* pith methods: the published systems pith knows, as a list, as JSON or as the roadmap page. */
#include <string.h>

#include "artefacts/artefacts.h"
#include "faces/cli/catalogue.h"
#include "faces/cli/cli.h"

static const char usage[] =
    "usage: pith methods [--json] [--by-category] [--artefact NAME] [--status works|planned] [--systems TSV]";

static json_t *method_json(const pith_method *m) {
    json_t *systems = json_array();
    for (const char *at = m->systems + strspn(m->systems, " "); *at; at += strspn(at, " ")) {
        size_t n = strcspn(at, " ");
        json_array_append_new(systems, json_stringn(at, n));
        at += n;
    }
    json_t *categories = json_array();
    for (unsigned i = 0; i < PITH_N_CATEGORIES; i++)
        if (m->categories >> i & 1) json_array_append_new(categories, json_string(pith_category_names[i]));
    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:o, s:s?, s:s, s:s?, s:s?, s:s?}", "name", m->name, "title", m->title,
                     "paper", m->paper, "systems", systems, "artefact", m->artefact, "categories", categories, "recipe",
                     m->recipe, "status", m->status, "claim", m->claim, "check", m->check, "result", m->result);
}

static bool wanted(const pith_method *m, const char *artefact, const char *status) {
    return (!artefact || strcmp(m->artefact, artefact) == 0) && (!status || strcmp(m->status, status) == 0);
}

/* `--name VALUE` or `--name=VALUE`: steps over it and gives the value, NULL when argv[*i] is not it. */
static const char *option_value(int argc, char **argv, int *i, const char *name) {
    size_t n = strlen(name);
    if (strncmp(argv[*i], name, n) != 0) return NULL;
    if (argv[*i][n] == '=') return argv[*i] + n + 1;
    return argv[*i][n] == 0 && *i + 1 < argc ? argv[++*i] : NULL;
}

static void print_list(const char *artefact, const char *status) {
    const pith_method *m;
    for (pith_cursor c = {0, 0}; (m = pith_method_next(&c)) != NULL;)
        if (wanted(m, artefact, status))
            printf("%-30s %-5s %-8s %-8s %s\n", m->name, m->systems, m->artefact, m->status, m->title);
}

/* ---- by what they do ---- */

/* One class; JSON when `into` is there. How to run it: the recipe, else the command of the check. */
static void list_category(unsigned category, const char *artefact, const char *status, json_t *into) {
    const pith_method *m;
    unsigned n = 0;
    for (pith_cursor c = {0, 0}; (m = pith_method_next(&c)) != NULL;) {
        if (!(m->categories >> category & 1) || !wanted(m, artefact, status)) continue;
        if (into)
            json_array_append_new(into, method_json(m));
        else if (n++ == 0)
            printf("%s%s\n", category ? "\n" : "", pith_category_names[category]);
        if (!into)
            printf("  %-30s %-5s %-8s %s\n", m->name, m->systems, m->status,
                   m->recipe ? m->recipe : m->check ? m->check : "");
    }
}

static int by_category(const char *artefact, const char *status, bool json) {
    json_t *all = json ? json_object() : NULL;
    for (unsigned i = 0; i < PITH_N_CATEGORIES; i++) {
        json_t *list = json ? json_array() : NULL;
        list_category(i, artefact, status, list);
        if (all) json_object_set_new(all, pith_category_names[i], list);
    }
    return json ? catalogue_dump(all) : cli_finish(CLI_OK);
}

int cmd_methods(int argc, char **argv) {
    const char *artefact = NULL, *status = NULL, *systems = NULL, *value;
    bool json = false, categories = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            printf("%s\n\nThe published systems pith knows; `pith explain NAME` shows one in full.\n"
                   "--by-category lists them by what they do to a model, with the recipe, or the command that runs it.\n"
                   "--systems prints the roadmap page for a table of id, family and title.\n",
                   usage);
            return cli_finish(CLI_OK);
        }
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--by-category") == 0)
            categories = true;
        else if ((value = option_value(argc, argv, &i, "--artefact")) != NULL)
            artefact = value;
        else if ((value = option_value(argc, argv, &i, "--status")) != NULL &&
                 (strcmp(value, "works") == 0 || strcmp(value, "planned") == 0))
            status = value;
        else if ((value = option_value(argc, argv, &i, "--systems")) != NULL)
            systems = value;
        else
            return catalogue_usage(usage, argv[i]);
    }
    artefacts_register();
    if (systems) return catalogue_systems(systems);
    if (categories) return by_category(artefact, status, json);
    if (!json) {
        print_list(artefact, status);
        return cli_finish(CLI_OK);
    }
    json_t *list = json_array();
    const pith_method *m;
    for (pith_cursor c = {0, 0}; (m = pith_method_next(&c)) != NULL;)
        if (wanted(m, artefact, status)) json_array_append_new(list, method_json(m));
    return catalogue_dump(list);
}
