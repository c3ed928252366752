/* Which rule of a recipe a tensor gets, or a matrix of a stack: the first whose pattern names either. */
#include "artefacts/model/archive_parts.h"

#include <stdio.h>

/* One glob: * any text, ? one character, [...] one of a set with ranges, ! or ^ in front for all others.
 * The last * is taken back by one character at a time: linear in name times pattern. */
static bool set_has(const char **glob, const char *end, char c) {
    const char *p = *glob + 1;
    bool not = p < end && (*p == '!' || *p == '^'), found = false;
    if (not) p++;
    const char *first = p;
    while (p < end && (*p != ']' || p == first)) {
        if (p + 2 < end && p[1] == '-' && p[2] != ']') {
            found = found || (c >= p[0] && c <= p[2]);
            p += 3;
        } else {
            if (c == *p++) found = true;
        }
    }
    *glob = p < end ? p + 1 : p;
    return found != not;
}

static bool one_matches(const char *glob, const char *end, const char *name, size_t n) {
    const char *star = NULL;
    size_t i = 0, star_i = 0;
    while (i < n || glob < end) {
        const char *next = glob + 1;
        bool ok = false;
        if (glob < end && *glob == '*') {
            star = glob++;
            star_i = i;
            continue;
        }
        if (glob < end && i < n) {
            const char *at = glob;
            ok = *glob == '[' ? set_has(&at, end, name[i]) : *glob == '?' || *glob == name[i];
            if (*glob == '[') next = at;
        }
        if (ok) {
            glob = next;
            i++;
        } else if (star && star_i < n) {
            glob = star + 1;
            i = ++star_i;
        } else {
            return false;
        }
    }
    return true;
}

bool archive_matches(const char *pattern, const char *name, size_t name_n) {
    if (!pattern) return true;
    for (const char *p = pattern;; p++) {
        while (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r') p++;
        const char *end = p + strcspn(p, ",");
        const char *last = end;
        while (last > p && (last[-1] == ' ' || last[-1] == '\n' || last[-1] == '\t' || last[-1] == '\r')) last--;
        if (one_matches(p, last, name, name_n)) return true;
        if (!*end) return false;
        p = end;
    }
}

/* Names of stacks longer than this have no names for their matrices. */
#define MATRIX_NAME 320

size_t archive_rule_for(const pith_recipe *recipe, meta_string name, uint64_t matrix, uint64_t n) {
    char own[MATRIX_NAME];
    int own_n = 0;
    if (n > 1 && name.size < MATRIX_NAME - 24)
        own_n = snprintf(own, sizeof own, "%.*s:%llu", (int)name.size, name.data, (unsigned long long)matrix);
    for (size_t i = 0; i < recipe->n_rules; i++) {
        const char *pattern = recipe->rules[i].pattern;
        if (archive_matches(pattern, name.data, name.size)) return i;
        if (own_n > 0 && strchr(pattern, ':') && archive_matches(pattern, own, (size_t)own_n)) return i;
    }
    return recipe->n_rules;
}

bool archive_one_rule(const pith_recipe *recipe, meta_string name, uint64_t n, size_t *rule) {
    bool single = false; /* whether some rule may name single matrices */
    for (size_t i = 0; i < recipe->n_rules; i++)
        single = single || (recipe->rules[i].pattern && strchr(recipe->rules[i].pattern, ':'));
    *rule = archive_rule_for(recipe, name, 0, n);
    for (uint64_t k = 1; single && k < n; k++)
        if (archive_rule_for(recipe, name, k, n) != *rule) return false;
    return true;
}

pith_status archive_recipe(pith_ctx *ctx, const char *text, size_t size, pith_recipe **recipe) {
    pith_status status = pith_recipe_parse(ctx, "model", text, size, recipe);
    if (status) return status;
    for (unsigned i = 0; i < (*recipe)->n_rules && !status; i++)
        if ((*recipe)->n_rules > 1 && !(*recipe)->rules[i].pattern)
            status = pith_fail(ctx, PITH_E_ARGUMENT,
                               "column %u: a rule without a pattern beside others; * -> names all that is left",
                               (*recipe)->rules[i].stages[0].column);
    if (status) {
        pith_recipe_free(ctx, *recipe);
        *recipe = NULL;
    }
    return status;
}
