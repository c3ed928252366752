/* A choice as the text of a recipe. Names that differ in a number alone, as those of layers do, are written together:
 * blk.*.attn_q.weight where all of them got one level, blk.1[0-3].attn_q.weight where some did. Experts whose stack has
 * more than one level have their number behind its name. */
#include "artefacts/model/archive_parts.h"
#include "artefacts/model/budget.h"

#include <stdio.h>

typedef struct unit_name {
    const char *name;
    char *own; /* name, where it is a matrix's and not the tensor's */
    size_t stem; /* bytes of the tensor's own name */
    size_t size, number_at, number_n; /* the first number that stands between dots; number_n 0: none */
    uint32_t level;
    bool done;
} unit_name;

typedef struct recipe_text {
    pith_ctx *ctx;
    const tensor_file *base;
    const char *const *levels; /* [n_levels] */
    uint32_t n_levels;
    unit_name *names; /* [n] of all matrices, those that take no part with the level NONE */
    size_t n;
    pith_buffer *out;
} recipe_text;

#define NONE MODEL_MAX_LEVELS

static pith_status add(recipe_text *t, const char *text, size_t n) { return pith_buffer_append(t->ctx, t->out, text, n); }

static void find_number(unit_name *u) {
    for (size_t i = 1; i < u->size; i++) {
        size_t n = 0;
        while (i + n < u->size && u->name[i + n] >= '0' && u->name[i + n] <= '9') n++;
        if (n && u->name[i - 1] == '.' && i + n < u->size && u->name[i + n] == '.') {
            u->number_at = i;
            u->number_n = n;
            return;
        }
    }
}

/* Whether what is before the ends differs in the number at most. */
static bool alike_up_to(const unit_name *a, size_t end, const unit_name *b, size_t end_b) {
    if (!a->number_n || !b->number_n || a->number_at != b->number_at) return false;
    size_t rest = a->number_at + a->number_n, rest_b = b->number_at + b->number_n;
    return memcmp(a->name, b->name, a->number_at) == 0 && end - rest == end_b - rest_b &&
           memcmp(a->name + rest, b->name + rest_b, end - rest) == 0;
}
static bool alike(const unit_name *a, const unit_name *b) { return alike_up_to(a, a->size, b, b->size); }

/* Digits of a set, runs as 0-3: out[>= 20]. */
static size_t digits_of(unsigned set, char *out) {
    size_t n = 0;
    for (unsigned d = 0; d < 10; d++) {
        if (!(set >> d & 1)) continue;
        unsigned last = d;
        while (last < 9 && (set >> (last + 1) & 1)) last++;
        out[n++] = (char)('0' + d);
        if (last > d + 1) out[n++] = '-';
        if (last > d) out[n++] = (char)('0' + last);
        d = last;
    }
    return n;
}

static pith_status put_pattern(recipe_text *t, const unit_name *u, const char *number, size_t n, bool *first) {
    pith_status status = *first ? PITH_OK : add(t, ",", 1);
    *first = false;
    if (!u->number_n) return status ? status : add(t, u->name, u->size);
    size_t rest = u->number_at + u->number_n;
    if (!status) status = add(t, u->name, u->number_at);
    if (!status) status = add(t, number, n);
    return status ? status : add(t, u->name + rest, u->size - rest);
}

/* All that are like names[i] and have its level. */
static pith_status put_group(recipe_text *t, size_t i, bool *first) {
    unit_name *u = &t->names[i];
    bool all = true;
    uint32_t members = 0;
    for (size_t k = 0; k < t->n && u->number_n; k++) {
        /* A pattern for all layers would name the experts of stacks that have one name, and the other way round. */
        if (!u->own != !t->names[k].own) all = all && !alike_up_to(u, u->stem, &t->names[k], t->names[k].stem);
        if (!alike(u, &t->names[k])) continue;
        all = all && t->names[k].level == u->level;
        members++;
    }
    u->done = true;
    if (members < 2) return put_pattern(t, u, u->name + u->number_at, u->number_n, first);
    if (all) {
        for (size_t k = 0; k < t->n; k++) t->names[k].done = t->names[k].done || alike(u, &t->names[k]);
        return put_pattern(t, u, "*", 1, first);
    }
    pith_status status = PITH_OK;
    for (size_t k = i; k < t->n && !status; k++) { /* by what stands before the last digit */
        const unit_name *a = &t->names[k];
        if (k != i && (a->done || a->level != u->level || !alike(u, a))) continue;
        unsigned set = 0, count = 0;
        char number[40];
        size_t prefix = a->number_n - 1;
        if (prefix > 16) {
            t->names[k].done = true;
            status = put_pattern(t, a, a->name + a->number_at, a->number_n, first);
            continue;
        }
        for (size_t m = k; m < t->n; m++) {
            unit_name *b = &t->names[m];
            if ((m != k && b->done) || b->level != u->level || !alike(a, b) || b->number_n != a->number_n ||
                memcmp(a->name + a->number_at, b->name + b->number_at, prefix) != 0)
                continue;
            b->done = true;
            set |= 1u << (b->name[b->number_at + prefix] - '0');
            count++;
        }
        memcpy(number, a->name + a->number_at, prefix);
        size_t n = prefix;
        if (count > 1) number[n++] = '[';
        n += digits_of(set, number + n);
        if (count > 1) number[n++] = ']';
        status = put_pattern(t, a, number, n, first);
    }
    return status;
}

/* Rules keep their order in the text, so that the first that names a tensor must be its own. */
static pith_status check(recipe_text *t, size_t from) {
    pith_recipe *recipe = NULL;
    const tensor_file *f = t->base;
    unsigned rule_of_level[MODEL_MAX_LEVELS], n_rules = 0;
    bool seen[NONE + 1] = {false};
    for (size_t k = 0; k < t->n; k++) seen[t->names[k].level] = true;
    for (uint32_t l = 0; l < t->n_levels; l++) {
        rule_of_level[l] = n_rules;
        n_rules += seen[l];
    }
    pith_status status =
        archive_recipe(t->ctx, (const char *)t->out->data + from, t->out->size - from, &recipe);
    if (status) return status;
    for (size_t i = 0, unit = 0; i < f->n_tensors && !status; i++) {
        const tensor_view *v = &f->tensors[i];
        if (!model_overlay_takes(v)) continue;
        uint64_t n = v->n_elements / (v->ne[0] * v->ne[1]);
        bool single = t->names[unit].own != NULL, good = true;
        for (uint64_t k = 0; k < (single ? n : 1); k++) {
            uint32_t level = t->names[unit++].level;
            size_t rule, want = level != NONE ? rule_of_level[level] : recipe->n_rules;
            if (single)
                rule = archive_rule_for(recipe, v->name, k, n);
            else
                good = archive_one_rule(recipe, v->name, n, &rule);
            good = good && rule == want;
        }
        if (!good)
            status = pith_fail(t->ctx, PITH_E_UNSUPPORTED, "no patterns tell the tensor '%.*s' from others",
                               (int)PITH_MIN(v->name.size, 80u), v->name.data);
    }
    pith_recipe_free(t->ctx, recipe);
    return status;
}

/* What the grammar allows in a pattern and means itself. */
static bool plain(const tensor_view *v) {
    for (size_t i = 0; i < v->name.size; i++) {
        char c = v->name.data[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && !strchr("_.:=/-", c)) return false;
    }
    return v->name.size > 0;
}

static pith_status put_rules(recipe_text *t, size_t from) {
    pith_status status = PITH_OK;
    for (uint32_t level = 0; level < t->n_levels && !status; level++) {
        bool first = true;
        for (size_t u = 0; u < t->n && !status; u++) {
            if (t->names[u].done || t->names[u].level != level) continue;
            if (first && t->out->size > from) status = add(t, " ; ", 3);
            if (!status) status = put_group(t, u, &first);
        }
        if (!first && !status) status = add(t, " -> ", 4);
        if (!first && !status) status = add(t, t->levels[level], strlen(t->levels[level]));
    }
    return status ? status : check(t, from);
}

/* One name for tensor i, or as many as it has matrices when they have levels of their own. *u: the next unit. */
static pith_status add_names(recipe_text *t, size_t i, const size_t *tensors, const uint32_t *parts,
                             const uint32_t *level, uint32_t n, uint32_t *u) {
    const tensor_view *view = &t->base->tensors[i];
    bool takes_part = *u < n && tensors[*u] == i, alike = true;
    uint32_t count = 0;
    while (takes_part && *u + count < n && tensors[*u + count] == i) {
        alike = alike && level[*u + count] == level[*u];
        count++;
    }
    bool single = takes_part && parts && parts[*u] != UINT32_MAX && !alike;
    for (uint32_t k = 0; k < (single ? count : 1); k++) {
        unit_name *name = &t->names[t->n++];
        *name = (unit_name){
            .name = view->name.data, .stem = view->name.size, .size = view->name.size, .level = NONE, .done = !takes_part};
        if (single) {
            size_t room = view->name.size + 16;
            if (!(name->own = pith_alloc(t->ctx, room))) return pith_alloc_status(t->ctx);
            name->size = (size_t)snprintf(name->own, room, "%.*s:%u", (int)view->name.size, view->name.data,
                                          (unsigned)parts[*u + k]);
            name->name = name->own;
        }
        find_number(name);
        if (takes_part) name->level = level[*u + k];
    }
    *u += count;
    if (takes_part && !plain(view))
        return pith_fail(t->ctx, PITH_E_UNSUPPORTED, "a recipe cannot name the tensor '%.*s'",
                         (int)PITH_MIN(view->name.size, 80u), view->name.data);
    return PITH_OK;
}

pith_status model_rules_print(pith_ctx *ctx, const tensor_file *base, const size_t *tensors, const uint32_t *parts,
                              const uint32_t *level, uint32_t n, const char *const *levels, uint32_t n_levels,
                              pith_buffer *out) {
    recipe_text t = {.ctx = ctx, .base = base, .levels = levels, .n_levels = n_levels, .out = out};
    t.names = pith_zalloc(ctx, (base->n_tensors + n + 1) * sizeof *t.names);
    if (!t.names) return pith_alloc_status(ctx);
    pith_status status = PITH_OK;
    uint32_t u = 0;
    for (size_t i = 0; i < base->n_tensors && !status; i++)
        if (model_overlay_takes(&base->tensors[i])) status = add_names(&t, i, tensors, parts, level, n, &u);
    if (!status) status = put_rules(&t, out->size);
    for (size_t i = 0; i < t.n; i++) pith_free(ctx, t.names[i].own);
    pith_free(ctx, t.names);
    return status;
}

pith_status model_variants_recipe(pith_ctx *ctx, const model_variants *v, const uint32_t *rows, pith_buffer *out) {
    uint32_t n = model_variants_units(v), n_levels = model_variants_levels(v);
    const char *levels[MODEL_MAX_LEVELS];
    size_t *tensors = pith_alloc(ctx, n * sizeof *tensors);
    uint32_t *level = tensors ? pith_alloc(ctx, 2 * (size_t)n * sizeof *level) : NULL;
    uint32_t *parts = level ? level + n : NULL;
    pith_status status = level ? PITH_OK : pith_alloc_status(ctx);
    for (uint32_t l = 0; l < n_levels; l++) levels[l] = model_variants_text(v, l);
    for (uint32_t u = 0; u < n && !status; u++) {
        const model_unit *unit = model_variants_unit(v, u);
        tensors[u] = unit->tensor;
        parts[u] = unit->single ? unit->part : UINT32_MAX;
        level[u] = rows[u] - u * n_levels;
    }
    if (!status)
        status = model_rules_print(ctx, model_variants_base(v), tensors, parts, level, n, levels, n_levels, out);
    pith_free(ctx, level);
    pith_free(ctx, tensors);
    return status;
}
