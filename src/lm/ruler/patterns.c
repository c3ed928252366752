/* Multiple-choice items with a rule behind them, for what quantising and pruning do to reading: looking up,
 * coreference, dialogue state (the kinds of task of Y. Zhu et al., Can Large Language Models Understand Context?, 2024,
 * in a form that needs no judgement). */
#include <stdio.h>
#include <string.h>

#include "lm/ruler/parts.h"
#include "lm/ruler/patterns.h"

#define N_CHOICES 4
#define CONTEXT_MAX 640

static const char *const names[RULER_PATTERNS] = {"lookup", "coreference", "slots"};
const char *ruler_pattern_name(ruler_pattern pattern) { return names[pattern]; }

/* out[n] different numbers below `below`. */
static void draw(uint64_t *seed, uint32_t below, uint32_t *out, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        bool again = true;
        while (again) {
            out[i] = (uint32_t)ruler_below(seed, below);
            again = false;
            for (uint32_t k = 0; k < i; k++) again |= out[k] == out[i];
        }
    }
}

/* What an item says before it is copied into memory. */
typedef struct draft {
    char context[CONTEXT_MAX];
    size_t used;
    char choice[N_CHOICES][24];
    uint32_t answer;
} draft;

static void say(draft *d, const char *format, const char *a, const char *b, const char *c) {
    int n = snprintf(d->context + d->used, sizeof d->context - d->used, format, a, b, c);
    if (n > 0) d->used = PITH_MIN(d->used + (size_t)n, sizeof d->context - 1);
}

static const char *one_of(uint64_t *seed, const char *const *list, size_t n) { return list[ruler_below(seed, n)]; }
#define ONE_OF(seed, list) one_of(seed, list, PITH_COUNT(list))

/* ---- looking up ---- */

static const char *const keys[] = {"garden", "window", "river",  "silver", "bridge", "letter", "market", "winter",
                                   "island", "castle", "mirror", "basket", "copper", "engine", "button", "dinner",
                                   "doctor", "finger", "flower", "friend", "hammer", "horse",  "lemon",  "machine",
                                   "music",  "number", "office", "orange", "paper",  "planet", "school", "table"};

/* In words that the built-in model was trained on. */
static void make_lookup(uint64_t *seed, draft *d) {
    uint32_t key[N_CHOICES];
    draw(seed, PITH_COUNT(keys), key, N_CHOICES);
    d->answer = (uint32_t)ruler_below(seed, N_CHOICES);
    for (uint32_t i = 0; i < N_CHOICES; i++) {
        /* the first digits differ, so that none is another's beginning */
        snprintf(d->choice[i], sizeof d->choice[i], " %u",
                 10000 * (1 + (2 * i + key[0]) % 9) + (unsigned)ruler_below(seed, 10000));
        say(d, "The special number for %s is%s. ", keys[key[i]], d->choice[i], "");
    }
    say(d, "What is the special number for %s? The special number for %s is", keys[key[d->answer]],
        keys[key[d->answer]], "");
}

/* ---- coreference ---- */

static const char *const women[] = {"Anna", "Mary", "Jane", "Lucy", "Emma", "Ruth", "Alice", "Clara"};
static const char *const men[] = {"Peter", "Paul", "John", "Mark", "Tom", "Henry", "Robert", "James"};
static const char *const meetings[] = {"%s met %s in the %s. ", "%s wrote to %s from the %s. ",
                                       "%s waited for %s near the %s. ", "%s followed %s to the %s. ",
                                       "%s and %s were in the %s. "};
static const char *const places[] = {"garden",  "market",  "office",  "school",
                                     "library", "kitchen", "village", "station"};
static const char *const deeds[] = {"was reading a letter",  "was looking for a key", "was singing a song",
                                    "had sold a horse",      "had broken a window",   "had found a coin",
                                    "had lost a hat",        "wanted to go home",     "was telling a story",
                                    "had bought some bread", "was asking for water",  "was carrying a box"};
static const char *const between[] = {"", "", "It was a cold day. ", "The door was open. ", "Nobody else was there. "};

static void make_coreference(uint64_t *seed, draft *d) {
    uint32_t woman[2], man[2], place[2], order[4];
    draw(seed, PITH_COUNT(women), woman, 2);
    draw(seed, PITH_COUNT(men), man, 2);
    draw(seed, PITH_COUNT(places), place, 2);
    draw(seed, 4, order, 4); /* who is named when; 0 and 1 are the women */
    const char *person[4];
    for (uint32_t i = 0; i < 4; i++) person[i] = order[i] < 2 ? women[woman[order[i]]] : men[man[order[i] - 2]];
    say(d, ONE_OF(seed, meetings), person[0], person[1], places[place[0]]);
    say(d, ONE_OF(seed, meetings), person[2], person[3], places[place[1]]);
    say(d, "%s", ONE_OF(seed, between), "", "");
    bool she = ruler_below(seed, 2);
    uint32_t last = 0;
    for (uint32_t i = 0; i < 4; i++)
        if ((order[i] < 2) == she) last = i;
    const char *deed = ONE_OF(seed, deeds);
    say(d, "%s %s. Question: who %s? Answer:", she ? "She" : "He", deed, deed);
    uint32_t at[4];
    draw(seed, 4, at, 4);
    for (uint32_t i = 0; i < 4; i++) snprintf(d->choice[at[i]], sizeof d->choice[at[i]], " %s", person[i]);
    d->answer = at[last];
}

/* ---- slots ---- */

#define SLOTS 5
#define SLOT_VALUES 6
#define WISHES 6
static const char *const slots[SLOTS] = {"food", "place", "day", "colour", "price"};
static const char *const slot_values[SLOTS][SLOT_VALUES] = {
    {"fish", "bread", "soup", "meat", "rice", "cheese"},
    {"north", "south", "east", "west", "middle", "corner"},
    {"today", "tomorrow", "Monday", "Friday", "Sunday", "tonight"},
    {"red", "green", "blue", "black", "white", "yellow"},
    {"ten", "twenty", "thirty", "five", "seven", "nine"}};
static const char *const wishes[] = {"The %s should be %s. ", "For the %s I want %s. ", "Please let the %s be %s. "};
static const char *const changes[] = {"No, the %s should be %s. ", "Change the %s to %s. ",
                                      "Now I want the %s to be %s. "};

static void make_slots(uint64_t *seed, draft *d) {
    uint32_t use[3], had[3][SLOT_VALUES], n[3] = {0};
    draw(seed, SLOTS, use, 3);
    for (uint32_t i = 0; i < 3; i++) draw(seed, SLOT_VALUES, had[i], SLOT_VALUES);
    for (uint32_t i = 0; i < WISHES; i++) {
        /* each of the three is wished for first, at most two changes of one follow */
        uint32_t k = i < 3 ? i : (uint32_t)ruler_below(seed, 3);
        if (n[k] == 3) continue;
        const char *value = slot_values[use[k]][had[k][n[k]]];
        say(d, n[k] ? ONE_OF(seed, changes) : ONE_OF(seed, wishes), slots[use[k]], value, "");
        n[k]++;
    }
    /* one that was changed: there is always one */
    uint32_t asked = (uint32_t)ruler_below(seed, 3);
    while (n[asked] < 2) asked = (asked + 1) % 3;
    say(d, "Question: what is the %s now? Answer:", slots[use[asked]], "", "");
    uint32_t at[N_CHOICES];
    draw(seed, N_CHOICES, at, N_CHOICES);
    for (uint32_t i = 0; i < N_CHOICES; i++)
        snprintf(d->choice[at[i]], sizeof d->choice[at[i]], " %s", slot_values[use[asked]][had[asked][i]]);
    d->answer = at[n[asked] - 1];
}

/* ---- items ---- */

static char *copy(pith_ctx *ctx, const char *text) {
    size_t n = strlen(text) + 1;
    char *s = pith_alloc(ctx, n);
    if (s) memcpy(s, text, n);
    return s;
}

static pith_status keep(pith_ctx *ctx, const draft *d, ruler_item *item) {
    item->n_choices = N_CHOICES;
    item->answer = d->answer;
    if (!(item->context = copy(ctx, d->context))) return pith_alloc_status(ctx);
    for (uint32_t k = 0; k < N_CHOICES; k++)
        if (!(item->choices[k] = copy(ctx, d->choice[k]))) return pith_alloc_status(ctx);
    return PITH_OK;
}

pith_status ruler_pattern_items(pith_ctx *ctx, ruler_pattern pattern, size_t n, uint64_t seed, ruler_items *out) {
    static void (*const makers[RULER_PATTERNS])(uint64_t *, draft *) = {make_lookup, make_coreference, make_slots};
    *out = (ruler_items){0};
    if (!n || n > (size_t)1 << 24) return pith_fail(ctx, PITH_E_ARGUMENT, "%zu items: 1 to %d", n, 1 << 24);
    if (!(out->at = pith_zalloc(ctx, n * sizeof *out->at))) return pith_alloc_status(ctx);
    out->capacity = n;
    uint64_t state = ruler_random(&seed) + (uint64_t)pattern;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < n && !status; i++) {
        draft d = {.used = 0};
        makers[pattern](&state, &d);
        out->n = i + 1; /* freed with the list, finished or not */
        status = keep(ctx, &d, &out->at[i]);
    }
    if (status) ruler_items_free(ctx, out);
    return status;
}

pith_status ruler_items_text(pith_ctx *ctx, const ruler_items *items, pith_buffer *out) {
    pith_status status = PITH_OK;
    for (size_t i = 0; i < items->n && !status; i++) {
        const ruler_item *item = &items->at[i];
        const char *right = item->choices[item->answer];
        status = pith_buffer_append(ctx, out, item->context, strlen(item->context));
        if (!status) status = pith_buffer_append(ctx, out, right, strlen(right));
        if (!status) status = pith_buffer_append(ctx, out, ".\n", 2);
    }
    return status;
}
