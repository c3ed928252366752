/* The parts `stages`, `methods` and `explain` share, and the roadmap page: all systems of
 * the catalogue by family with the status of the method that covers each. */
#include "faces/cli/catalogue.h"

#include <errno.h>
#include <string.h>

#include "faces/cli/cli.h"

#define MAX_ROWS 4096
#define MAX_LINE 1024

int catalogue_usage(const char *usage, const char *word) { return cli_error("unexpected \"%s\"; %s", word, usage); }

json_t *catalogue_number(double v, pith_param_type type) {
    if (type == PITH_P_INT && v >= -9007199254740992.0 && v <= 9007199254740992.0) return json_integer((json_int_t)v);
    json_t *number = json_real(v); /* refuses infinities */
    return number ? number : json_null();
}

int catalogue_dump(json_t *value) {
    int failed = value ? json_dumpf(value, stdout, JSON_INDENT(2)) : -1;
    json_decref(value);
    if (failed && !ferror(stdout)) return cli_error("no memory for the JSON text");
    putchar('\n');
    return cli_finish(CLI_OK);
}

/* ---- the roadmap page -------------------------------------------------------- */

typedef struct system_row {
    char *line; /* owns the three fields */
    const char *id, *family, *title;
    const pith_method *method; /* NULL: no method names it */
} system_row;

/* A working method if there is one, else the first that names the system. */
static const pith_method *method_of(const char *id) {
    const pith_method *method, *first = NULL;
    for (pith_cursor c = {0, 0}; (method = pith_method_next(&c)) != NULL;) {
        if (!pith_method_covers(method, id)) continue;
        if (strcmp(method->status, "works") == 0) return method;
        if (!first) first = method;
    }
    return first;
}

static bool split_row(char *line, system_row *row) {
    line[strcspn(line, "\r\n")] = 0;
    char *family = strchr(line, '\t');
    char *title = family ? strchr(family + 1, '\t') : NULL;
    if (!title || family == line || title == family + 1 || title[1] == 0) return false;
    *family = *title = 0;
    *row = (system_row){line, line, family + 1, title + 1, NULL};
    return true;
}

static int read_rows(const char *path, system_row *rows, size_t *n) {
    FILE *file = fopen(path, "r");
    if (!file) return cli_error("%s: %s", path, strerror(errno));
    char line[MAX_LINE];
    int status = CLI_OK;
    for (unsigned number = 1; status == CLI_OK && fgets(line, sizeof line, file); number++) {
        if (number == 1) continue; /* the heading */
        char *copy = strdup(line);
        if (!copy)
            status = cli_error("%s: no memory", path);
        else if (*n < MAX_ROWS && strchr(line, '\n') && split_row(copy, &rows[*n]))
            (*n)++;
        else {
            free(copy);
            status = cli_error("%s:%u: expected id, family and title, separated by tabs", path, number);
        }
    }
    if (status == CLI_OK && ferror(file)) status = cli_error("%s: %s", path, strerror(errno));
    fclose(file);
    return status;
}

static const char *status_of(const system_row *row) { return row->method ? row->method->status : "missing"; }

/* Titles come from a bibliography: its marks \& and ~ become what they stand for. */
static void print_cell(const char *text) {
    for (; *text; text++) {
        if (*text == '\\' && text[1] == '&') continue;
        if (*text == '|') putchar('\\');
        putchar(*text == '~' ? ' ' : *text);
    }
}

static size_t count(const system_row *rows, size_t n, const char *family, const char *status) {
    size_t hits = 0;
    for (size_t i = 0; i < n; i++)
        hits +=
            (!family || strcmp(rows[i].family, family) == 0) && (!status || strcmp(status_of(&rows[i]), status) == 0);
    return hits;
}

static bool first_of_family(const system_row *rows, size_t i) {
    for (size_t k = 0; k < i; k++)
        if (strcmp(rows[k].family, rows[i].family) == 0) return false;
    return true;
}

static void print_family(const system_row *rows, size_t n, const char *family) {
    printf("\n## %s\n\n| id | system | method | artefact | status |\n|---|---|---|---|---|\n", family);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(rows[i].family, family) != 0) continue;
        printf("| %s | ", rows[i].id);
        print_cell(rows[i].title);
        printf(" | %s | %s | %s |\n", rows[i].method ? rows[i].method->name : "",
               rows[i].method ? rows[i].method->artefact : "", status_of(&rows[i]));
    }
}

static void print_page(const system_row *rows, size_t n) {
    printf("# Systems\n\n"
           "Every published system that pith is to run, and how far it is. \"works\" means that the check of the\n"
           "method has run and that the claim holds, or that its refutation is recorded; `pith explain METHOD` shows\n"
           "recipe, claim, check and result. Written by `pith methods --systems docs/systems.tsv`; do not edit.\n\n"
           "| family | systems | works | planned |\n|---|---|---|---|\n");
    for (size_t i = 0; i < n; i++)
        if (first_of_family(rows, i))
            printf("| %s | %zu | %zu | %zu |\n", rows[i].family, count(rows, n, rows[i].family, NULL),
                   count(rows, n, rows[i].family, "works"), count(rows, n, rows[i].family, "planned"));
    printf("| all | %zu | %zu | %zu |\n", n, count(rows, n, NULL, "works"), count(rows, n, NULL, "planned"));
    for (size_t i = 0; i < n; i++)
        if (first_of_family(rows, i)) print_family(rows, n, rows[i].family);
}

int catalogue_systems(const char *path) {
    system_row *rows = calloc(MAX_ROWS, sizeof *rows);
    if (!rows) return cli_error("no memory for the list of systems");
    size_t n = 0;
    int status = read_rows(path, rows, &n);
    for (size_t i = 0; i < n; i++) rows[i].method = method_of(rows[i].id);
    if (status == CLI_OK) print_page(rows, n);
    size_t missing = count(rows, n, NULL, "missing");
    if (status == CLI_OK && missing)
        status = cli_error("%zu systems are in no method; run scripts/make-planned", missing);
    for (size_t i = 0; i < n; i++) free(rows[i].line);
    free(rows);
    return cli_finish(status);
}
