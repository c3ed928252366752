/* pith stages: the primitives recipes are made of, as a list or as JSON. */
#include <jansson.h>
#include <string.h>

#include "artefacts/artefacts.h"
#include "faces/cli/catalogue.h"
#include "faces/cli/cli.h"

static const char usage[] = "usage: pith stages [--json] [ARTEFACT]";

static json_t *param_json(const pith_param *param) {
    static const char *const types[] = {"int", "real", "flag", "choice", "text", "recipe"};
    bool required = param->def != param->def;
    json_t *o = json_pack("{s:s, s:s, s:b, s:s?, s:s}", "name", param->name, "type", types[param->type], "required",
                          required, "unit", param->unit, "doc", param->doc);
    json_t *def = json_null();
    if (param->type == PITH_P_INT || param->type == PITH_P_REAL) {
        json_object_set_new(o, "min", catalogue_number(param->min, param->type));
        json_object_set_new(o, "max", catalogue_number(param->max, param->type));
        if (!required) def = catalogue_number(param->def, param->type);
    } else if (param->type == PITH_P_FLAG && !required) {
        def = json_boolean(param->def != 0);
    } else if (param->type == PITH_P_CHOICE) {
        json_t *choices = json_array();
        const char *name;
        size_t n;
        for (unsigned i = 0; (name = pith_choice_name(param->choices, i, &n)) != NULL; i++)
            json_array_append_new(choices, json_stringn(name, n));
        json_object_set_new(o, "choices", choices);
        if (!required && (name = pith_choice_name(param->choices, (unsigned)param->def, &n)) != NULL)
            def = json_stringn(name, n);
    }
    json_object_set_new(o, "default", def);
    return o;
}

static json_t *stage_json(const pith_stage *stage) {
    json_t *params = json_array();
    for (unsigned i = 0; i < stage->n_params; i++) json_array_append_new(params, param_json(&stage->params[i]));
    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:o}", "name", stage->name, "artefact", stage->artefact, "role",
                     stage->role, "summary", stage->summary, "source", stage->source, "parameters", params);
}

static void print_list(const char *artefact) {
    const pith_stage *stage;
    const char *heading = NULL;
    for (pith_cursor c = {0, 0}; (stage = pith_stage_next(&c)) != NULL;) {
        if (artefact && strcmp(stage->artefact, artefact) != 0) continue;
        if (!heading || strcmp(heading, stage->artefact) != 0) printf("%s%s\n", heading ? "\n" : "", stage->artefact);
        heading = stage->artefact;
        printf("  %-12s %-10s %s\n", stage->name, stage->role, stage->summary);
    }
}

static bool known_artefact(const char *artefact) {
    const pith_stage *stage;
    for (pith_cursor c = {0, 0}; (stage = pith_stage_next(&c)) != NULL;)
        if (strcmp(stage->artefact, artefact) == 0) return true;
    return false;
}

int cmd_stages(int argc, char **argv) {
    const char *artefact = NULL;
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            printf("%s\n\nThe primitives recipes are made of; `pith explain NAME` shows one in full.\n", usage);
            return cli_finish(CLI_OK);
        }
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (argv[i][0] == '-' || artefact)
            return catalogue_usage(usage, argv[i]);
        else
            artefact = argv[i];
    }
    artefacts_register();
    if (artefact && !known_artefact(artefact)) return cli_error("no stages of artefact \"%s\"", artefact);
    if (!json) {
        print_list(artefact);
        return cli_finish(CLI_OK);
    }
    json_t *list = json_array();
    const pith_stage *stage;
    for (pith_cursor c = {0, 0}; (stage = pith_stage_next(&c)) != NULL;)
        if (!artefact || strcmp(stage->artefact, artefact) == 0) json_array_append_new(list, stage_json(stage));
    return catalogue_dump(list);
}
