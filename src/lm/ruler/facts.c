/* Facts about made-up people: what a model can only know by having been taught (after the knowledge-intensive half of
 * A. Jaiswal et al., Compressing LLMs: The Truth is Rarely Pure and Never Simple, 2024). */
#include <stdio.h>
#include <string.h>

#include "lm/ruler/parts.h"
#include "lm/ruler/patterns.h"

static const char *const starts[] = {"Bel", "Kor", "Tar", "Mil", "Ros", "Van",  "Des", "Gar",
                                     "Hol", "Jan", "Lor", "Nor", "Pel", "Ser",  "Wil", "Zan",
                                     "Bra", "Cal", "Dor", "Fen", "Gil", "Hart", "Mar", "Tol"};
static const char *const middles[] = {"a", "e", "i", "o", "u", "an", "en", "in", "on", "ar", "er", "or"};
static const char *const ends[] = {"dor",  "man",  "ton",  "ley", "mir", "son",  "den", "ford",
                                   "win",  "ric",  "mond", "tus", "len", "ros",  "vic", "gan",
                                   "bert", "ling", "nes",  "mar", "tor", "dick", "wen", "lis"};
#define ENTITIES                                                                                                       \
    (PITH_COUNT(starts) * PITH_COUNT(middles) * PITH_COUNT(ends)) /* RULER_MAX_FACTS / RULER_FACT_ATTRIBUTES */

/* Two ways to say a fact; the first, up to the value, is the question. */
static const char *const forms[RULER_FACT_ATTRIBUTES][2] = {
    {"The home of %s is the %s.", "%s lives in the %s."},
    {"The work of %s is that of a %s.", "%s earns money as a %s."},
    {"The thing that %s likes best is the %s.", "%s is always seen with the %s."},
    {"The colour of the house of %s is %s.", "%s has painted the house %s."},
};
static const char *const values[RULER_FACT_ATTRIBUTES][RULER_FACT_VALUES] = {
    {"city", "forest", "north", "south", "east", "west", "mountain", "village", "park", "island", "school", "river",
     "tower", "station", "market", "desert"},
    {"doctor", "teacher", "writer", "singer", "farmer", "driver", "soldier", "painter", "lawyer", "student", "player",
     "manager", "reader", "hunter", "builder", "servant"},
    {"table", "machine", "letter", "window", "book", "box", "key", "map", "mirror", "paper", "picture", "clock",
     "phone", "card", "ring", "flag"},
    {"red", "green", "blue", "black", "white", "yellow", "brown", "grey", "pink", "orange", "gold", "silver", "dark",
     "light", "purple", "clear"},
};

static void name_entity(uint32_t number, char out[16]) {
    size_t n_ends = PITH_COUNT(ends), n_middles = PITH_COUNT(middles);
    snprintf(out, 16, "%s%s%s", starts[number / n_ends / n_middles], middles[number / n_ends % n_middles],
             ends[number % n_ends]);
}

/* order[n] becomes a shuffle of 0..n-1. */
static void shuffle(uint64_t *seed, uint32_t *order, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t k = (size_t)ruler_below(seed, i + 1);
        order[i] = order[k];
        order[k] = (uint32_t)i;
    }
}

pith_status ruler_facts_make(pith_ctx *ctx, size_t n, uint64_t seed, ruler_facts *out) {
    *out = (ruler_facts){0};
    size_t n_entities = (n + RULER_FACT_ATTRIBUTES - 1) / RULER_FACT_ATTRIBUTES;
    if (!n || n_entities > ENTITIES)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%zu facts: 1 to %zu", n, (size_t)RULER_MAX_FACTS);
    uint32_t *order = pith_alloc(ctx, ENTITIES * sizeof *order);
    if (!order || !(out->at = pith_zalloc(ctx, n * sizeof *out->at))) {
        pith_free(ctx, order);
        return pith_alloc_status(ctx);
    }
    uint64_t state = ruler_random(&seed);
    shuffle(&state, order, ENTITIES);
    out->n = n;
    for (size_t i = 0; i < n; i++) {
        ruler_fact *f = &out->at[i];
        name_entity(order[i / RULER_FACT_ATTRIBUTES], f->entity);
        f->attribute = (uint32_t)(i % RULER_FACT_ATTRIBUTES);
        f->value = (uint32_t)ruler_below(&state, RULER_FACT_VALUES);
    }
    pith_free(ctx, order);
    return PITH_OK;
}

void ruler_facts_free(pith_ctx *ctx, ruler_facts *facts) {
    pith_free(ctx, facts->at);
    *facts = (ruler_facts){0};
}

/* Form 0 or 1 of a fact; returns its length, without the value and what follows when `open`. */
static size_t say(const ruler_fact *f, unsigned form, bool open, char *out, size_t size) {
    const char *value = values[f->attribute][f->value];
    int n = snprintf(out, size, forms[f->attribute][form], f->entity, value);
    size_t length = n < 0 ? 0 : PITH_MIN((size_t)n, size - 1);
    if (open) length -= PITH_MIN(strlen(value) + 2, length); /* blank, value, full stop */
    out[length] = 0;
    return length;
}

pith_status ruler_facts_text(pith_ctx *ctx, const ruler_facts *facts, uint64_t seed, pith_buffer *out) {
    uint32_t *order = pith_alloc(ctx, facts->n * sizeof *order);
    if (!order) return pith_alloc_status(ctx);
    uint64_t state = ruler_random(&seed);
    shuffle(&state, order, facts->n);
    pith_status status = PITH_OK;
    for (size_t i = 0; i < facts->n && !status; i++) {
        char line[128];
        size_t n = say(&facts->at[order[i]], ruler_below(&state, 3) == 0, false, line, sizeof line - 1);
        line[n++] = '\n';
        status = pith_buffer_append(ctx, out, line, n);
    }
    pith_free(ctx, order);
    return status;
}

/* ---- questions ---- */

static pith_status copy(pith_ctx *ctx, const char *lead, const char *text, size_t n, char **out) {
    size_t lead_n = strlen(lead);
    if (!(*out = pith_alloc(ctx, lead_n + n + 1))) return pith_alloc_status(ctx);
    memcpy(*out, lead, lead_n);
    memcpy(*out + lead_n, text, n);
    (*out)[lead_n + n] = 0;
    return PITH_OK;
}

/* The facts in front of a question about fact i: it and others, of entities of their own. */
static pith_status give(pith_ctx *ctx, const ruler_facts *facts, size_t i, uint32_t given, uint64_t *state,
                        pith_buffer *text) {
    uint32_t at = given ? (uint32_t)ruler_below(state, given) : 0;
    size_t first[RULER_MAX_NEEDLES];
    pith_status status = PITH_OK;
    for (uint32_t k = 0; k < given && !status; k++) {
        bool fresh = k == at;
        first[k] = i;
        /* a few tries: with few entities there may be none left */
        for (unsigned tries = 0; tries < 32 && !fresh; tries++) {
            first[k] = (size_t)ruler_below(state, facts->n);
            fresh = strcmp(facts->at[first[k]].entity, facts->at[i].entity) != 0;
            for (uint32_t j = 0; j < k; j++)
                fresh = fresh && strcmp(facts->at[first[k]].entity, facts->at[first[j]].entity) != 0;
        }
        if (!fresh) continue;
        char line[128];
        size_t n = say(&facts->at[first[k]], 1, false, line, sizeof line - 1);
        line[n++] = ' ';
        status = pith_buffer_append(ctx, text, line, n);
    }
    return status;
}

static pith_status ask(pith_ctx *ctx, const ruler_facts *facts, size_t i, uint32_t given, uint64_t *state,
                       pith_buffer *text, ruler_item *item) {
    const ruler_fact *f = &facts->at[i];
    char line[128];
    text->size = 0;
    pith_status status = give(ctx, facts, i, given, state, text);
    size_t n = say(f, 0, true, line, sizeof line);
    if (!status) status = pith_buffer_append(ctx, text, line, n);
    if (!status) status = copy(ctx, "", (const char *)text->data, text->size, &item->context);
    item->answer = f->value;
    for (uint32_t k = 0; k < RULER_FACT_VALUES && !status; k++) {
        const char *value = values[f->attribute][k];
        status = copy(ctx, " ", value, strlen(value), &item->choices[k]);
        if (!status) item->n_choices = k + 1;
    }
    return status;
}

pith_status ruler_facts_items(pith_ctx *ctx, const ruler_facts *facts, uint32_t given, uint64_t seed,
                              ruler_items *out) {
    *out = (ruler_items){0};
    if (given > RULER_MAX_NEEDLES)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%u facts in front of a question: at most %d", given, RULER_MAX_NEEDLES);
    if (!(out->at = pith_zalloc(ctx, facts->n * sizeof *out->at))) return pith_alloc_status(ctx);
    out->capacity = facts->n;
    uint64_t state = ruler_random(&seed);
    pith_buffer text = {0};
    pith_status status = PITH_OK;
    for (size_t i = 0; i < facts->n && !status; i++) {
        out->n = i + 1;
        status = ask(ctx, facts, i, given, &state, &text, &out->at[i]);
    }
    pith_buffer_free(ctx, &text);
    if (status) ruler_items_free(ctx, out);
    return status;
}
