/* Reads recipes: text to rules of stages, typed and checked against the registry.
 * Recursive descent over the grammar of docs/recipes.md, depth and size bounded, every
 * refusal with its column, the word found, what was expected and the nearest name. */
#include <stdarg.h>
#include <stdio.h>

#include "base/recipe_parts.h"

typedef struct parser {
    pith_ctx *ctx;
    const char *artefact;
    const char *text;
    size_t size, at;
    unsigned depth, n_stages;
} parser;

#define MESSAGE_MAX 400
#define FOUND_MAX 64
#define WORD_SHOWN 40

/* ---- refusals ------------------------------------------------------------ */

static bool continues_character(char c) { return ((unsigned char)c & 0xC0) == 0x80; }

static unsigned column_of(const parser *p, size_t at) {
    unsigned column = 1;
    for (size_t i = at; i > 0 && p->text[i - 1] != '\n'; i--)
        if (!continues_character(p->text[i - 1])) column++;
    return column;
}

static pith_status wrong(parser *p, size_t at, const char *format, ...) PITH_PRINTF(3, 4);
static pith_status wrong(parser *p, size_t at, const char *format, ...) {
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    unsigned line = 1;
    for (size_t i = 0; i < at; i++) line += p->text[i] == '\n';
    if (line > 1) return pith_fail(p->ctx, PITH_E_ARGUMENT, "line %u, column %u: %s", line, column_of(p, at), message);
    return pith_fail(p->ctx, PITH_E_ARGUMENT, "column %u: %s", column_of(p, at), message);
}

/* Text of the recipe as a message may show it: quoted, at most WORD_SHOWN bytes, whole characters. */
static const char *quoted(const char *text, size_t n, char out[FOUND_MAX]) {
    size_t shown = PITH_MIN(n, (size_t)WORD_SHOWN);
    while (shown < n && shown > 0 && continues_character(text[shown])) shown--;
    snprintf(out, FOUND_MAX, "\"%.*s%s\"", (int)shown, text, shown < n ? "..." : "");
    return out;
}

/* What stands at an offset: a word, a single character or the end. */
static const char *found(const parser *p, size_t at, char out[FOUND_MAX]) {
    if (at >= p->size) return "the end of the recipe";
    size_t end = at;
    while (end < p->size && recipe_word_char(p->text[end])) end++;
    if (end == at) end++;
    while (end < p->size && continues_character(p->text[end])) end++;
    return quoted(p->text + at, end - at, out);
}

static const char *did_you_mean(const pith_nearest *nearest, char out[FOUND_MAX]) {
    if (!nearest->best) return "";
    snprintf(out, FOUND_MAX, "; did you mean \"%.*s\"?", (int)PITH_MIN(nearest->best_n, (size_t)WORD_SHOWN),
             nearest->best);
    return out;
}

/* ---- tokens --------------------------------------------------------------- */

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static void skip_blanks(parser *p) {
    while (p->at < p->size && blank(p->text[p->at])) p->at++;
}

static bool accept(parser *p, char c) {
    skip_blanks(p);
    if (p->at >= p->size || p->text[p->at] != c) return false;
    p->at++;
    return true;
}

/* Length of the name at the current place, 0 when there is none. */
static size_t name_here(const parser *p) {
    size_t end = p->at;
    if (end >= p->size || !recipe_name_start(p->text[end])) return 0;
    while (end < p->size && recipe_name_char(p->text[end])) end++;
    return end - p->at;
}

/* Length of the character that starts at s[0..n), 0 when it is not UTF-8 or not printable. */
static size_t character_length(const char *s, size_t n) {
    unsigned c = (unsigned char)s[0];
    if (c < 0x80) return (c >= 0x20 && c != 0x7F) || blank(s[0]);
    size_t length = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (c < 0xC2 || c > 0xF4 || length > n) return 0;
    uint32_t code = c & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (!continues_character(s[i])) return 0;
        code = code << 6 | ((unsigned char)s[i] & 0x3F);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    bool surrogate = code >= 0xD800 && code < 0xE000;
    return code < least[length] || code > 0x10FFFF || surrogate || code < 0xA0 ? 0 : length;
}

static pith_status check_characters(parser *p) {
    for (size_t i = 0; i < p->size;) {
        size_t length = character_length(p->text + i, p->size - i);
        if (length == 0) return wrong(p, i, "byte 0x%02x is not text", (unsigned)(unsigned char)p->text[i]);
        i += length;
    }
    return PITH_OK;
}

static pith_status copy_text(parser *p, const char *text, size_t n, char **out) {
    *out = pith_alloc(p->ctx, n + 1);
    if (!*out) return pith_alloc_status(p->ctx);
    memcpy(*out, text, n);
    (*out)[n] = 0;
    return PITH_OK;
}

/* Makes room for one more zeroed row behind rows[n] and gives the array back, moved or not.
 * NULL: no memory, the old array stands. Capacities are powers of two. */
static void *grow(parser *p, void *rows, unsigned n, size_t row_size) {
    if (n & (n - 1)) return rows;
    void *bigger = pith_zalloc(p->ctx, (n ? (size_t)n * 2 : 1) * row_size);
    if (!bigger) return NULL;
    if (n) memcpy(bigger, rows, n * row_size);
    pith_free(p->ctx, rows);
    return bigger;
}

static pith_recipe_rule *add_rule(parser *p, pith_recipe *recipe) {
    pith_recipe_rule *rules = grow(p, recipe->rules, recipe->n_rules, sizeof *rules);
    if (!rules) return NULL;
    recipe->rules = rules;
    return &rules[recipe->n_rules++];
}

static pith_recipe_stage *add_stage(parser *p, pith_recipe_stage **list, unsigned *n) {
    pith_recipe_stage *stages = grow(p, *list, *n, sizeof *stages);
    if (!stages) return NULL;
    *list = stages;
    return &stages[(*n)++];
}

/* ---- values ---------------------------------------------------------------- */

static pith_status parse_chain(parser *p, pith_recipe_rule *rule);

static pith_status not_expected(parser *p, size_t at, const pith_param *param, const char *what) {
    char expects[192];
    pith_param_expects(param, expects, sizeof expects);
    return wrong(p, at, "%s expects %s, not %s", param->name, expects, what);
}

static pith_status parse_quoted(parser *p, const pith_param *param, char **out) {
    char what[FOUND_MAX];
    size_t start = p->at, n = 0;
    if (param->type != PITH_P_TEXT) return not_expected(p, start, param, "quoted text");
    size_t end = start + 1;
    for (; end < p->size && p->text[end] != '"'; end++, n++) {
        if (p->text[end] != '\\') continue;
        if (end + 1 < p->size && (p->text[end + 1] == '"' || p->text[end + 1] == '\\'))
            end++;
        else
            return wrong(p, end, "expected \\\" or \\\\ in quoted text, not a lone backslash");
    }
    if (end >= p->size) return wrong(p, start, "%s: the quoted text has no end", found(p, start, what));
    *out = pith_alloc(p->ctx, n + 1);
    if (!*out) return pith_alloc_status(p->ctx);
    for (size_t i = start + 1, k = 0; k < n; i++, k++) (*out)[k] = p->text[i += p->text[i] == '\\'];
    (*out)[n] = 0;
    p->at = end + 1;
    return PITH_OK;
}

static pith_status parse_number(parser *p, const pith_param *param, size_t at, size_t n, double *value) {
    char what[FOUND_MAX];
    const char *word = quoted(p->text + at, n, what);
    bool bytes = param->unit && strcmp(param->unit, "bytes") == 0;
    double v = 0;
    switch (recipe_number_read(p->text + at, n, bytes, &v)) {
    case NUMBER_OK: break;
    case NUMBER_FRACTION: return wrong(p, at, "%s: %s is not a whole number", param->name, word);
    case NUMBER_BYTES:
        return wrong(p, at, "%s: %s is in bytes, expected %s", param->name, word,
                     param->unit ? param->unit : "a plain number");
    case NUMBER_NONE:
    case NUMBER_RANGE:
    default: return not_expected(p, at, param, word);
    }
    if (param->type == PITH_P_INT && v != (double)(int64_t)v) return not_expected(p, at, param, word);
    if (!(v >= param->min && v <= param->max)) return not_expected(p, at, param, word);
    *value = v;
    return PITH_OK;
}

static pith_status parse_flag(parser *p, const pith_param *param, size_t at, size_t n, double *value) {
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (unsigned i = 0; i < PITH_COUNT(words); i++)
        if (strlen(words[i]) == n && memcmp(words[i], p->text + at, n) == 0) {
            *value = i % 2;
            return PITH_OK;
        }
    char what[FOUND_MAX];
    return not_expected(p, at, param, quoted(p->text + at, n, what));
}

static pith_status parse_choice(parser *p, const pith_param *param, size_t at, size_t n, double *value) {
    pith_nearest nearest;
    pith_nearest_begin(&nearest, p->text + at, n);
    const char *name;
    size_t name_n;
    for (unsigned i = 0; (name = pith_choice_name(param->choices, i, &name_n)) != NULL; i++) {
        if (name_n == n && memcmp(name, p->text + at, n) == 0) {
            *value = i;
            return PITH_OK;
        }
        if (recipe_name_start(*name)) pith_nearest_offer(&nearest, name, name_n); /* numbers have no typing errors */
    }
    char what[FOUND_MAX], hint[FOUND_MAX], expects[192];
    pith_param_expects(param, expects, sizeof expects);
    return wrong(p, at, "%s expects %s, not %s%s", param->name, expects, quoted(p->text + at, n, what),
                 did_you_mean(&nearest, hint));
}

static pith_status parse_branch(parser *p, pith_recipe **out) {
    char what[FOUND_MAX];
    if (p->depth >= PITH_RECIPE_MAX_DEPTH)
        return wrong(p, p->at, "%s: recipes nest at most %d deep", found(p, p->at, what), PITH_RECIPE_MAX_DEPTH);
    pith_recipe *branch = *out = pith_zalloc(p->ctx, sizeof *branch);
    if (!branch) return pith_alloc_status(p->ctx);
    pith_recipe_rule *rule = add_rule(p, branch);
    if (!rule) return pith_alloc_status(p->ctx);
    p->depth++;
    pith_status status = parse_chain(p, rule);
    p->depth--;
    return status;
}

static pith_status parse_value(parser *p, pith_recipe_stage *st, unsigned i) {
    const pith_param *param = &st->stage->params[i];
    char what[FOUND_MAX];
    skip_blanks(p);
    size_t at = p->at;
    if (st->given[i]) return wrong(p, at, "%s: \"%s\" is given twice", found(p, at, what), param->name);
    st->given[i] = true;
    if (param->type == PITH_P_RECIPE) return parse_branch(p, &st->branch[i]);
    if (at < p->size && p->text[at] == '"') return parse_quoted(p, param, &st->text[i]);
    size_t end = at;
    while (end < p->size && recipe_word_char(p->text[end])) end++;
    if (end == at) return not_expected(p, at, param, found(p, at, what));
    p->at = end;
    switch (param->type) {
    case PITH_P_FLAG: return parse_flag(p, param, at, end - at, &st->value[i]);
    case PITH_P_CHOICE: return parse_choice(p, param, at, end - at, &st->value[i]);
    case PITH_P_TEXT: return copy_text(p, p->text + at, end - at, &st->text[i]);
    case PITH_P_INT:
    case PITH_P_REAL:
    case PITH_P_RECIPE:
    default: return parse_number(p, param, at, end - at, &st->value[i]);
    }
}

/* ---- arguments ------------------------------------------------------------- */

static pith_status no_such_param(parser *p, const pith_stage *stage, size_t at, size_t n) {
    pith_nearest nearest;
    char what[FOUND_MAX], hint[FOUND_MAX], names[200] = "";
    size_t used = 0;
    pith_nearest_begin(&nearest, p->text + at, n);
    for (unsigned i = 0; i < stage->n_params; i++) {
        const char *name = stage->params[i].name;
        pith_nearest_offer(&nearest, name, strlen(name));
        if (used < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "", name);
    }
    if (stage->n_params == 0)
        return wrong(p, at, "%s: \"%s\" takes no arguments", quoted(p->text + at, n, what), stage->name);
    return wrong(p, at, "\"%s\" has no parameter %s, expected %s%s%s", stage->name, quoted(p->text + at, n, what),
                 stage->n_params > 1 ? "one of " : "", names, did_you_mean(&nearest, hint));
}

/* A flag's name standing alone, as in evict(rerotate). */
static bool lone_flag(parser *p, const pith_stage *stage, size_t n, unsigned *index) {
    size_t after = p->at + n;
    while (after < p->size && blank(p->text[after])) after++;
    if (after < p->size && p->text[after] != ',' && p->text[after] != ')') return false;
    *index = pith_param_index(stage, p->text + p->at, n);
    return *index < stage->n_params && stage->params[*index].type == PITH_P_FLAG;
}

typedef struct argument_state {
    unsigned next; /* parameter the next unnamed value fills */
    bool named;    /* a named one was seen */
} argument_state;

static pith_status parse_argument(parser *p, pith_recipe_stage *st, argument_state *state) {
    const pith_stage *stage = st->stage;
    char what[FOUND_MAX];
    unsigned index;
    skip_blanks(p);
    size_t at = p->at, n = name_here(p);
    if (n) {
        p->at += n;
        bool named = accept(p, '=');
        if (named) {
            index = pith_param_index(stage, p->text + at, n);
            if (index == stage->n_params) return no_such_param(p, stage, at, n);
            state->named = true;
            return parse_value(p, st, index);
        }
        p->at = at;
        if (lone_flag(p, stage, n, &index)) {
            if (st->given[index]) return wrong(p, at, "\"%s\" is given twice", stage->params[index].name);
            st->given[index] = true;
            st->value[index] = 1;
            p->at += n;
            return PITH_OK;
        }
    }
    while (state->next < stage->n_params && stage->params[state->next].type == PITH_P_FLAG) state->next++;
    if (state->next >= stage->n_params) {
        if (n) return no_such_param(p, stage, at, n);
        return wrong(p, at, "\"%s\" takes no %svalue without a name, found %s", stage->name,
                     state->next ? "further " : "", found(p, at, what));
    }
    if (state->named)
        return wrong(p, at, "expected name=value, not %s: values without a name come first", found(p, at, what));
    return parse_value(p, st, state->next++);
}

static pith_status parse_arguments(parser *p, pith_recipe_stage *st) {
    argument_state state = {0, false};
    char what[FOUND_MAX];
    if (accept(p, ')')) return PITH_OK;
    do {
        pith_status status = parse_argument(p, st, &state);
        if (status) return status;
    } while (accept(p, ','));
    if (accept(p, ')')) return PITH_OK;
    return wrong(p, p->at, "expected \",\" or \")\" after an argument of \"%s\", not %s", st->stage->name,
                 found(p, p->at, what));
}

/* ---- stages ----------------------------------------------------------------- */

static bool is_solver(const pith_stage *stage) { return stage->role && strcmp(stage->role, PITH_ROLE_SOLVER) == 0; }

static bool belongs(const parser *p, const pith_stage *stage) {
    return strcmp(stage->artefact, p->artefact) == 0 || strcmp(stage->artefact, "any") == 0;
}

static pith_status no_such_stage(parser *p, size_t at, size_t n, const char *name, bool solver) {
    const char *kind = solver ? "solver" : "stage";
    char what[FOUND_MAX], hint[FOUND_MAX], names[200] = "";
    const pith_stage *elsewhere = pith_stage_find(NULL, name), *stage;
    quoted(p->text + at, n, what);
    if (elsewhere && !belongs(p, elsewhere))
        return wrong(p, at, "%s is a stage of artefact %s, not of %s", what, elsewhere->artefact, p->artefact);
    const pith_method *method = pith_method_find(name);
    if (method)
        return wrong(p, at, "%s is a method, not a stage; its recipe is %s", what,
                     method->recipe ? method->recipe : "still to be written");
    pith_nearest nearest;
    pith_nearest_begin(&nearest, p->text + at, n);
    size_t used = 0;
    for (pith_cursor c = {0, 0}; (stage = pith_stage_next(&c)) != NULL;) {
        if (!belongs(p, stage) || is_solver(stage) != solver) continue;
        pith_nearest_offer(&nearest, stage->name, strlen(stage->name));
        if (used < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", stage->name);
    }
    if (used >= sizeof names) snprintf(names + sizeof names - 4, 4, "...");
    if (nearest.best) return wrong(p, at, "unknown %s %s%s", kind, what, did_you_mean(&nearest, hint));
    return wrong(p, at, "unknown %s %s; expected %s%s", kind, what, used ? "one of " : "nothing here: there are none",
                 names);
}

static pith_status find_stage(parser *p, bool solver, const pith_stage **out) {
    char what[FOUND_MAX], name[FOUND_MAX];
    size_t at = p->at, n = name_here(p);
    if (n == 0)
        return wrong(p, at, "expected the name of a %s, not %s", solver ? "solver" : "stage", found(p, at, what));
    snprintf(name, sizeof name, "%.*s", (int)PITH_MIN(n, sizeof name - 1), p->text + at);
    const pith_stage *stage = n < sizeof name ? pith_stage_find(p->artefact, name) : NULL;
    if (!stage) return no_such_stage(p, at, n, name, solver);
    if (is_solver(stage) != solver)
        return wrong(p, at,
                     solver ? "\"%s\" is a stage, expected a solver after \"@\""
                            : "\"%s\" is a solver, expected \"@\" before it",
                     stage->name);
    p->at += n;
    *out = stage;
    return PITH_OK;
}

static pith_status parse_stage(parser *p, bool solver, pith_recipe_stage **list, unsigned *n_list) {
    char what[FOUND_MAX];
    skip_blanks(p);
    size_t at = p->at;
    const pith_stage *stage = NULL;
    pith_status status = find_stage(p, solver, &stage);
    if (status) return status;
    if (++p->n_stages > PITH_RECIPE_MAX_STAGES)
        return wrong(p, at, "%s: a recipe has at most %d stages", found(p, at, what), PITH_RECIPE_MAX_STAGES);
    pith_recipe_stage *st = add_stage(p, list, n_list);
    if (!st) return pith_alloc_status(p->ctx);
    st->stage = stage;
    st->column = column_of(p, at);
    for (unsigned i = 0; i < stage->n_params; i++) {
        pith_param_type type = stage->params[i].type;
        if (type != PITH_P_TEXT && type != PITH_P_RECIPE) st->value[i] = stage->params[i].def;
    }
    if (accept(p, '(') && (status = parse_arguments(p, st)) != PITH_OK) return status;
    for (unsigned i = 0; i < stage->n_params; i++) {
        const pith_param *param = &stage->params[i];
        bool required = param->def != param->def; /* not a number */
        if (!required || st->given[i]) continue;
        char expects[192];
        pith_param_expects(param, expects, sizeof expects);
        return wrong(p, at, "\"%s\" needs %s=, expected %s", stage->name, param->name, expects);
    }
    return PITH_OK;
}

static pith_status parse_chain(parser *p, pith_recipe_rule *rule) {
    pith_status status;
    do {
        status = parse_stage(p, false, &rule->stages, &rule->n_stages);
        if (status) return status;
    } while (accept(p, '|'));
    while (accept(p, '@')) {
        status = parse_stage(p, true, &rule->solvers, &rule->n_solvers);
        if (status) return status;
    }
    return PITH_OK;
}

/* ---- rules -------------------------------------------------------------------- */

/* Takes "pattern ->" when the rule starts with one: an arrow before anything a chain has. */
static pith_status parse_pattern(parser *p, pith_recipe_rule *rule) {
    char what[FOUND_MAX];
    size_t start = p->at, arrow = start;
    while (arrow < p->size && !strchr("(|@;\"", p->text[arrow]) &&
           !(p->text[arrow] == '-' && arrow + 1 < p->size && p->text[arrow + 1] == '>'))
        arrow++;
    if (arrow >= p->size || p->text[arrow] != '-') return PITH_OK;
    rule->pattern = pith_alloc(p->ctx, arrow - start + 1);
    if (!rule->pattern) return pith_alloc_status(p->ctx);
    size_t n = 0;
    bool gap = false; /* blanks may stand at the ends and beside commas */
    for (size_t i = start; i < arrow; i++) {
        char c = p->text[i];
        if (blank(c)) {
            gap = true;
            continue;
        }
        if (!recipe_pattern_char(c) || (gap && n && c != ',' && rule->pattern[n - 1] != ','))
            return wrong(p, i, "expected \"->\" after the pattern, not %s", found(p, i, what));
        if (c == ',' && (n == 0 || rule->pattern[n - 1] == ',')) return wrong(p, i, "expected a pattern before \",\"");
        rule->pattern[n++] = c;
        gap = false;
    }
    rule->pattern[n] = 0;
    if (n == 0 || rule->pattern[n - 1] == ',') return wrong(p, arrow, "expected a pattern before \"->\"");
    p->at = arrow + 2;
    return PITH_OK;
}

static pith_status parse_rules(parser *p, pith_recipe *recipe) {
    char what[FOUND_MAX];
    do {
        pith_recipe_rule *rule = add_rule(p, recipe);
        if (!rule) return pith_alloc_status(p->ctx);
        skip_blanks(p);
        pith_status status = parse_pattern(p, rule);
        if (status == PITH_OK) status = parse_chain(p, rule);
        if (status) return status;
    } while (accept(p, ';'));
    if (p->at < p->size)
        return wrong(p, p->at, "expected \"|\", \"@\", \";\" or the end, not %s", found(p, p->at, what));
    return PITH_OK;
}

pith_status pith_recipe_parse(pith_ctx *ctx, const char *artefact, const char *text, size_t size, pith_recipe **out) {
    parser p = {.ctx = ctx, .artefact = artefact, .text = text, .size = size};
    *out = NULL;
    if (size > PITH_RECIPE_MAX_BYTES)
        return pith_fail(ctx, PITH_E_ARGUMENT, "a recipe has at most %d bytes, not %llu", PITH_RECIPE_MAX_BYTES,
                         (unsigned long long)size);
    pith_status status = check_characters(&p);
    if (status) return status;
    pith_recipe *recipe = pith_zalloc(ctx, sizeof *recipe);
    if (!recipe) return pith_alloc_status(ctx);
    status = parse_rules(&p, recipe);
    if (status)
        pith_recipe_free(ctx, recipe);
    else
        *out = recipe;
    return status;
}
