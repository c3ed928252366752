/* The experiments on code length by name, and what they share. */
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "faces/cli/bench_budget.h"
#include "faces/cli/bench_predict.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} experiments[] = {{"few-shot", bench_few_shot},     {"zip-fit", bench_zip_fit}, {"dated", bench_dated},
                   {"equal-info", bench_equal_info}, {"llmzip", bench_llmzip},   {"lmic", bench_lmic},
                   {"lmcompress", bench_lmcompress}, {"logzip", bench_logzip}, {"tabular", bench_tabular},
                   {"prune-tasks", bench_prune_tasks}, {"weights", bench_weights}, {"checkpoints", bench_checkpoints}, {"cuts", bench_cuts},
                   {"subspace", bench_subspace}, {"concat-svd", bench_concat_svd}, {"moe", bench_moe},
                   {"family", bench_family}, {"compeft", bench_compeft}, {"rmm", bench_rmm},
                   {"surgeon", bench_surgeon}, {"heapr", bench_heapr}, {"embedding", bench_embedding}, {"codecs", bench_codecs}, {"atoms", bench_atoms}, {"context-tasks", bench_context}, {"facts", bench_facts},
                   {"low-data", bench_low_data}, {"efficiency", bench_efficiency}, {"experts-as-vectors", bench_experts_as_vectors}, {"gradual", bench_gradual}, {"categories", bench_categories}, {"combined", bench_combined},
                  {"evopress", bench_evopress},     {"casp", bench_casp},
                  {"pd-quant", bench_pd_quant},     {"gaussian", bench_gaussian},
                  {"bitstack", bench_bitstack},     {"rocket", bench_rocket}};

bool bench_predict_run(int argc, char **argv, int *result) {
    for (size_t i = 0; argc > 0 && i < PITH_COUNT(experiments); i++)
        if (strcmp(argv[0], experiments[i].name) == 0) {
            *result = cli_finish(experiments[i].run(argc, argv));
            return true;
        }
    return false;
}

/* ---- tables and verdict ---- */

static void clear_step(void) {
    if (cli_verbosity >= 0 && isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
}

void exp_step(experiment *e, const char *what) {
    if (cli_verbosity < 0 || !isatty(STDERR_FILENO)) return;
    fprintf(stderr, "\r\033[K%s: %s", e->name, what);
    fflush(stderr);
}

void exp_table(experiment *e, const char *title, const char *columns) {
    static char names[EXP_COLUMNS + 1][40];
    unsigned n = 0;
    clear_step();
    for (const char *p = columns; *p && n <= EXP_COLUMNS; n++) {
        size_t length = strcspn(p, "|");
        snprintf(names[n], sizeof names[n], "%.*s", (int)PITH_MIN(length, sizeof names[n] - 1), p);
        p += length + (p[length] == '|');
        if (n == 0) continue;
        char *dot = strrchr(names[n], '.');
        e->decimals[n - 1] = dot ? (unsigned)(dot[1] - '0') : 0;
        if (dot) *dot = 0;
        e->column[n - 1] = names[n];
    }
    e->n_columns = n - 1;
    if (e->json) {
        json_t *table = json_pack("{s:s,s:[]}", "title", title, "rows");
        e->rows = json_object_get(table, "rows");
        json_array_append_new(json_object_get(e->json, "tables"), table);
        return;
    }
    printf("\n%s\n%-34s", title, names[0]);
    for (unsigned i = 0; i < e->n_columns; i++)
        printf(" %*s", (int)PITH_MAX(strlen(e->column[i]), (size_t)9), e->column[i]);
    putchar('\n');
}

void exp_row(experiment *e, const char *label, const double *values) {
    clear_step();
    if (e->json) {
        json_t *row = json_object();
        json_object_set_new(row, "name", cli_json_text(label));
        for (unsigned i = 0; i < e->n_columns; i++)
            if (isfinite(values[i])) json_object_set_new(row, e->column[i], json_real(values[i]));
        json_array_append_new(e->rows, row);
        return;
    }
    char shown[120];
    printf("%-34s", cli_safe_text(shown, sizeof shown, label));
    for (unsigned i = 0; i < e->n_columns; i++) {
        int width = (int)PITH_MAX(strlen(e->column[i]), (size_t)9);
        if (isfinite(values[i]))
            printf(" %*.*f", width, (int)e->decimals[i], values[i]);
        else
            printf(" %*s", width, "-");
    }
    putchar('\n');
    fflush(stdout);
}

void exp_note(experiment *e, const char *format, ...) {
    char text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    clear_step();
    if (e->json)
        json_array_append_new(json_object_get(e->json, "notes"), cli_json_text(text));
    else
        printf("%s\n", text);
}

void exp_claim(experiment *e, bool holds, const char *format, ...) {
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t used = strlen(e->verdict);
    snprintf(e->verdict + used, sizeof e->verdict - used, "%s%s%s", used ? "; " : "", holds ? "" : "NOT ", text);
    e->n_claims++;
    e->n_refuted += !holds;
    if (e->json)
        json_array_append_new(json_object_get(e->json, "claims"),
                              json_pack("{s:o,s:b}", "claim", cli_json_text(text), "holds", holds));
}

int exp_failed(experiment *e) {
    clear_step();
    return lm_failed(e->ctx, e->name);
}

static int finish(experiment *e) {
    const char *word = e->n_refuted == 0             ? "claim holds"
                       : e->n_refuted == e->n_claims ? "claim refuted"
                                                     : "claim refuted in part";
    if (!e->json) {
        printf("\n%s: %s\n", word, e->verdict);
        return CLI_OK;
    }
    json_object_set_new(e->json, "verdict", json_string(word));
    return cli_json_print(stdout, json_incref(e->json), JSON_INDENT(1) | JSON_REAL_PRECISION(8));
}

int exp_main(int argc, char **argv, const char *help, const lm_option *extra, size_t n_extra, size_t max_names,
             experiment_fn fn, void *own) {
    experiment e = {.name = argv[0]};
    int result = lm_options_parse(&e.o, argc, argv, extra, n_extra, max_names);
    if (result == CLI_OK && e.o.help) {
        result = cli_help(help);
    } else if (result == CLI_OK) {
        e.ctx = lm_session_of(&e.o);
        if (e.ctx && e.o.json)
            e.json = json_pack("{s:s,s:[],s:[],s:[]}", "experiment", e.name, "tables", "notes", "claims");
        result = e.ctx ? fn(&e, own) : CLI_FAIL;
        clear_step();
        if (result == CLI_OK) result = finish(&e);
        json_decref(e.json);
        pith_ctx_free(e.ctx);
    }
    lm_options_free(&e.o);
    return result;
}
