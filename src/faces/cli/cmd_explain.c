/* pith explain NAME: a method (recipe, citation, claim, check, result) or a stage (its
 * parameters with type, range, default, unit and meaning), or the nearest name there is. */
#include <string.h>

#include "artefacts/artefacts.h"
#include "faces/cli/catalogue.h"
#include "faces/cli/cli.h"

static const char usage[] = "usage: pith explain NAME";

#define WIDTH 100
#define INDENT 12

/* A name and its text, broken at blanks so that lines stay within WIDTH. */
static void field(const char *name, const char *text, const char *otherwise) {
    if (!text) text = otherwise;
    printf("  %-*s", INDENT - 2, name);
    while (strlen(text) > WIDTH - INDENT) {
        size_t n = WIDTH - INDENT;
        while (n > 0 && text[n] != ' ') n--;
        if (n == 0) break; /* one long word */
        printf("%.*s\n%*s", (int)n, text, INDENT, "");
        text += n + 1;
    }
    printf("%s\n", text);
}

/* ---- stages -------------------------------------------------------------------- */

static void default_text(const pith_param *param, char *out, size_t size) {
    char number[PITH_NUMBER_MAX];
    const char *name;
    size_t n;
    if (param->def != param->def) {
        snprintf(out, size, "required");
    } else if (param->type == PITH_P_INT || param->type == PITH_P_REAL) {
        pith_number_print(param->def, number);
        snprintf(out, size, "default %s", number);
    } else if (param->type == PITH_P_FLAG) {
        snprintf(out, size, "default %s", param->def != 0 ? "yes" : "no");
    } else if (param->type == PITH_P_CHOICE && (name = pith_choice_name(param->choices, (unsigned)param->def, &n))) {
        snprintf(out, size, "default %.*s", (int)PITH_MIN(n, (size_t)64), name);
    } else {
        snprintf(out, size, "default none");
    }
}

static void explain_stage(const pith_stage *stage) {
    bool solver = strcmp(stage->role, PITH_ROLE_SOLVER) == 0;
    printf("%s: %s\n", stage->name, stage->summary);
    printf("  stage     %s of artefact %s%s\n", stage->role, stage->artefact, solver ? ", written after \"@\"" : "");
    field("source", stage->source, "pith's own");
    if (stage->n_params == 0) printf("  It takes no parameters.\n");
    for (unsigned i = 0; i < stage->n_params; i++) {
        const pith_param *param = &stage->params[i];
        char expects[512], def[96];
        pith_param_expects(param, expects, sizeof expects);
        default_text(param, def, sizeof def);
        printf("%s  %-9s %s; %s\n            %s\n", i ? "" : "\n", param->name, expects, def, param->doc);
    }
}

/* ---- methods --------------------------------------------------------------------- */

/* Names every stage once, arguments that are recipes included. */
typedef struct stage_set {
    const pith_stage *seen[PITH_RECIPE_MAX_STAGES];
    unsigned n;
} stage_set;

static void collect(stage_set *set, const pith_recipe *recipe);

static void collect_stages(stage_set *set, const pith_recipe_stage *stages, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        unsigned k = 0;
        while (k < set->n && set->seen[k] != stages[i].stage) k++;
        if (k == set->n && set->n < PITH_COUNT(set->seen)) set->seen[set->n++] = stages[i].stage;
        for (unsigned b = 0; b < stages[i].stage->n_params; b++)
            if (stages[i].branch[b]) collect(set, stages[i].branch[b]);
    }
}

static void collect(stage_set *set, const pith_recipe *recipe) {
    for (unsigned i = 0; i < recipe->n_rules; i++) {
        collect_stages(set, recipe->rules[i].stages, recipe->rules[i].n_stages);
        collect_stages(set, recipe->rules[i].solvers, recipe->rules[i].n_solvers);
    }
}

static int explain_recipe(const pith_method *m) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    if (!ctx) return cli_error("no memory for a session");
    pith_recipe *recipe;
    int status = CLI_OK;
    if (pith_recipe_parse(ctx, m->artefact, m->recipe, strlen(m->recipe), &recipe) != PITH_OK) {
        status = cli_error("the recipe of %s: %s", m->name, pith_error(ctx));
    } else {
        stage_set set = {.n = 0};
        collect(&set, recipe);
        printf("\nIts stages (pith explain STAGE shows the parameters):\n");
        for (unsigned i = 0; i < set.n; i++) printf("  %-9s %s\n", set.seen[i]->name, set.seen[i]->summary);
        pith_recipe_free(ctx, recipe);
    }
    pith_ctx_free(ctx);
    return status;
}

static int explain_method(const pith_method *m) {
    printf("%s: %s\n", m->name, m->title);
    field("paper", m->paper, "");
    field("systems", m->systems, "");
    field("artefact", m->artefact, "");
    char kinds[128] = "";
    for (unsigned i = 0; i < PITH_N_CATEGORIES; i++)
        if (m->categories >> i & 1)
            snprintf(kinds + strlen(kinds), sizeof kinds - strlen(kinds), "%s%s", *kinds ? ", " : "",
                     pith_category_names[i]);
    if (*kinds) field("category", kinds, "");
    field("recipe", m->recipe, m->status[0] == 'w' ? "none: a measure or a procedure, see check" : "none yet");
    field("status", m->status, "");
    field("claim", m->claim, "none yet");
    printf("  %-*s%s\n", INDENT - 2, "check", m->check ? m->check : "none yet"); /* whole, to be copied */
    field("result", m->result, "not run yet");
    return m->recipe ? explain_recipe(m) : CLI_OK;
}

/* ---- the name ---------------------------------------------------------------------- */

static const char *nearest_name(const char *name, char out[64]) {
    pith_nearest nearest;
    const pith_method *m;
    const pith_stage *stage;
    pith_nearest_begin(&nearest, name, strlen(name));
    for (pith_cursor c = {0, 0}; (stage = pith_stage_next(&c)) != NULL;)
        pith_nearest_offer(&nearest, stage->name, strlen(stage->name));
    for (pith_cursor c = {0, 0}; (m = pith_method_next(&c)) != NULL;)
        pith_nearest_offer(&nearest, m->name, strlen(m->name));
    if (nearest.best) snprintf(out, 64, "%.*s", (int)nearest.best_n, nearest.best);
    return nearest.best ? out : NULL;
}

/* Whatever goes by exactly this name. False when nothing does. */
static bool explain(const char *name, int *status) {
    bool any = false;
    const pith_method *m = pith_method_find(name);
    const pith_stage *stage;
    if (m) *status = explain_method(m);
    any = m != NULL;
    for (pith_cursor c = {0, 0}; (stage = pith_stage_next(&c)) != NULL;) {
        if (strcmp(stage->name, name) != 0) continue;
        if (any) printf("\n");
        explain_stage(stage);
        any = true;
    }
    return any;
}

int cmd_explain(int argc, char **argv) {
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        printf("%s\n\nNAME is a method (pith methods), a catalogue id such as S323, or a stage (pith stages).\n",
               usage);
        return cli_finish(CLI_OK);
    }
    if (argc < 2) return cli_error("%s", usage);
    if (argv[1][0] == '-' || argc > 2) return catalogue_usage(usage, argv[argc > 2 ? 2 : 1]);
    artefacts_register();
    int status = CLI_OK;
    char lower[128], upper[128], near[64];
    size_t n = strlen(argv[1]);
    if (explain(argv[1], &status)) return cli_finish(status);
    if (n >= sizeof lower) return cli_error("no method or stage has a name that long");
    for (size_t i = 0; i <= n; i++) { /* names are lower case, ids upper case */
        char c = argv[1][i];
        lower[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
        upper[i] = c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
    }
    if (explain(lower, &status) || explain(upper, &status)) return cli_finish(status);
    const char *nearest = nearest_name(lower, near);
    if (nearest) return cli_error("unknown name \"%s\"; did you mean \"%s\"?", argv[1], nearest);
    return cli_error("unknown name \"%s\"; pith methods and pith stages list all names", argv[1]);
}
