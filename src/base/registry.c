/* Where the artefacts' constant tables meet: one pointer, set once, walked in table order.
 * Also the small helpers that read parameter rows and find the name somebody meant. */
#include "base/registry.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/recipe_parts.h"

static _Atomic(const pith_registry *) in_force;

bool pith_registry_set(const pith_registry *registry) {
    const pith_registry *none = NULL;
    return atomic_compare_exchange_strong(&in_force, &none, registry) || none == registry;
}

const pith_stage *pith_stage_next(pith_cursor *c) {
    const pith_registry *registry = atomic_load(&in_force);
    if (!registry || !registry->stage_tables) return NULL;
    for (; registry->stage_tables[c->table]; c->table++, c->row = 0) {
        const pith_stage *row = &registry->stage_tables[c->table][c->row];
        if (!row->name) continue;
        c->row++;
        return row;
    }
    return NULL;
}

const pith_method *pith_method_next(pith_cursor *c) {
    const pith_registry *registry = atomic_load(&in_force);
    if (!registry || !registry->method_tables) return NULL;
    for (; registry->method_tables[c->table]; c->table++, c->row = 0) {
        const pith_method *row = &registry->method_tables[c->table][c->row];
        if (!row->name) continue;
        c->row++;
        return row;
    }
    return NULL;
}

const pith_stage *pith_stage_find(const char *artefact, const char *name) {
    const pith_stage *stage, *any = NULL;
    for (pith_cursor c = {0, 0}; (stage = pith_stage_next(&c)) != NULL;) {
        if (strcmp(stage->name, name) != 0) continue;
        if (!artefact || strcmp(stage->artefact, artefact) == 0) return stage;
        if (!any && strcmp(stage->artefact, "any") == 0) any = stage;
    }
    return any;
}

const char *const pith_category_names[PITH_N_CATEGORIES] = {"pruning",  "quantisation", "distillation",
                                                            "low rank", "sharing",      "architecture"};

bool pith_method_covers(const pith_method *method, const char *id) {
    size_t n = strlen(id);
    if (n == 0 || !method->systems) return false;
    for (const char *at = method->systems; (at = strstr(at, id)) != NULL; at += n)
        if ((at == method->systems || at[-1] == ' ') && (at[n] == 0 || at[n] == ' ')) return true;
    return false;
}

const pith_method *pith_method_find(const char *name) {
    const pith_method *method, *by_id = NULL;
    for (pith_cursor c = {0, 0}; (method = pith_method_next(&c)) != NULL;) {
        if (strcmp(method->name, name) == 0) return method;
        if (!by_id && pith_method_covers(method, name)) by_id = method;
    }
    return by_id;
}

/* ---- the nearest name --------------------------------------------------------- */

#define NEAREST_MAX 48

/* Optimal string alignment distance: insert, delete, replace, swap neighbours. */
static unsigned edit_distance(const char *a, size_t a_n, const char *b, size_t b_n) {
    unsigned rows[3][NEAREST_MAX + 1];
    for (unsigned k = 0; k <= b_n; k++) rows[0][k] = k;
    for (size_t i = 1; i <= a_n; i++) {
        unsigned *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t k = 1; k <= b_n; k++) {
            unsigned best = last[k - 1] + (a[i - 1] != b[k - 1]);
            best = PITH_MIN(best, last[k] + 1);
            best = PITH_MIN(best, now[k - 1] + 1);
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
                best = PITH_MIN(best, before[k - 2] + 1);
            now[k] = best;
        }
    }
    return rows[a_n % 3][b_n];
}

void pith_nearest_begin(pith_nearest *nearest, const char *word, size_t word_n) {
    *nearest = (pith_nearest){.word = word, .word_n = word_n, .distance = (unsigned)(1 + word_n / 4)};
}

void pith_nearest_offer(pith_nearest *nearest, const char *name, size_t name_n) {
    if (nearest->word_n > NEAREST_MAX || name_n > NEAREST_MAX) return;
    unsigned d = edit_distance(nearest->word, nearest->word_n, name, name_n);
    /* a word of one letter is near to everything: ask for more in common than that */
    if (d >= nearest->word_n || d > nearest->distance || (nearest->best && d == nearest->distance)) return;
    nearest->distance = d;
    nearest->best = name;
    nearest->best_n = name_n;
}

/* ---- parameter rows -------------------------------------------------------------- */

unsigned pith_param_index(const pith_stage *stage, const char *name, size_t name_n) {
    unsigned i = 0;
    while (i < stage->n_params &&
           !(strlen(stage->params[i].name) == name_n && memcmp(stage->params[i].name, name, name_n) == 0))
        i++;
    return i;
}

const char *pith_choice_name(const char *choices, unsigned i, size_t *n) {
    for (const char *at = choices; at; at++, i--) {
        *n = strcspn(at, "|");
        if (i == 0) return at;
        at += *n;
        if (*at == 0) return NULL;
    }
    return NULL;
}

unsigned pith_choice_count(const char *choices) {
    unsigned count = 0;
    for (size_t n; pith_choice_name(choices, count, &n) != NULL;) count++;
    return count;
}

static size_t add(char *out, size_t out_size, size_t used, const char *text, size_t n) {
    if (used + 1 >= out_size) return used;
    n = PITH_MIN(n, out_size - 1 - used);
    memcpy(out + used, text, n);
    out[used + n] = 0;
    return used + n;
}

static size_t add_range(const pith_param *param, char *out, size_t out_size, size_t used) {
    char number[PITH_NUMBER_MAX];
    size_t n = pith_number_print(param->min, number);
    used = add(out, out_size, used, " from ", 6);
    used = add(out, out_size, used, number, n);
    n = pith_number_print(param->max, number);
    used = add(out, out_size, used, " to ", 4);
    return add(out, out_size, used, number, n);
}

void pith_param_expects(const pith_param *param, char *out, size_t out_size) {
    static const char *const words[] = {
        [PITH_P_INT] = "a whole number", [PITH_P_REAL] = "a number",       [PITH_P_FLAG] = "yes or no",
        [PITH_P_CHOICE] = "one of ",     [PITH_P_TEXT] = "a word or text", [PITH_P_RECIPE] = "a recipe",
    };
    size_t n, used = add(out, out_size, 0, words[param->type], strlen(words[param->type]));
    if (param->type == PITH_P_INT || param->type == PITH_P_REAL) {
        used = add_range(param, out, out_size, used);
        if (param->unit) used = add(out, out_size, used, " ", 1);
        if (param->unit) used = add(out, out_size, used, param->unit, strlen(param->unit));
    }
    if (param->type != PITH_P_CHOICE) return;
    const char *name;
    for (unsigned i = 0; (name = pith_choice_name(param->choices, i, &n)) != NULL; i++) {
        if (i) used = add(out, out_size, used, ", ", 2);
        used = add(out, out_size, used, name, n);
    }
}
