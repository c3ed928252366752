/* Prompts with facts planted in a haystack, and a question about them: one fact, one of many, all
 * values of a key, a chain of variables (RULER: C.-P. Hsieh et al., 2024; the single fact is
 * the passkey test of A. Mohtashami and M. Jaggi, 2023). */
#include <stdio.h>

#include "lm/ruler/parts.h"

#define SENTENCE_MAX 400 /* bytes; longer ones are passed over */
#define VARIABLES 5      /* letters of a variable's name */

static const char *const kinds[] = {"single", "multikey", "multivalue", "tracking"};
static const char *const phrasings[] = {"special", "secret", "value", "ruler"};

static const char *const words[] = {
    "garden", "window",  "river",   "silver",  "mountain", "candle",  "forest",  "bridge",  "letter",  "market",
    "winter", "summer",  "harbour", "island",  "castle",   "village", "kitchen", "mirror",  "basket",  "feather",
    "copper", "engine",  "pencil",  "ladder",  "blanket",  "button",  "cabinet", "carpet",  "chapter", "cotton",
    "dinner", "doctor",  "dragon",  "evening", "factory",  "farmer",  "father",  "finger",  "flower",  "friend",
    "glass",  "hammer",  "holiday", "horse",   "jacket",   "journey", "lemon",   "library", "machine", "marble",
    "meadow", "meal",    "morning", "mother",  "music",    "needle",  "nephew",  "number",  "ocean",   "office",
    "orange", "paper",   "parrot",  "pepper",  "picture",  "planet",  "pocket",  "potato",  "prince",  "pupil",
    "rabbit", "ribbon",  "rocket",  "saddle",  "sailor",   "salad",   "school",  "season",  "shadow",  "singer",
    "sister", "spider",  "spring",  "station", "stone",    "storm",   "student", "sugar",   "table",   "teacher",
    "temple", "theatre", "thunder", "ticket",  "tiger",    "tower",   "train",   "travel",  "uncle",   "valley",
    "velvet", "violin",  "wagon",   "water",   "weather",  "wheel",   "whistle", "wizard",  "wolf",    "yellow"};

bool ruler_needle_kind_named(const char *name, ruler_needle_kind *kind) {
    for (unsigned i = 0; i < PITH_COUNT(kinds); i++)
        if (strcmp(name, kinds[i]) == 0) {
            *kind = (ruler_needle_kind)i;
            return true;
        }
    return false;
}

const char *ruler_needle_kind_name(ruler_needle_kind kind) { return kinds[kind]; }

bool ruler_phrasing_named(const char *name, ruler_phrasing *phrasing) {
    for (unsigned i = 0; i < PITH_COUNT(phrasings); i++)
        if (strcmp(name, phrasings[i]) == 0) {
            *phrasing = (ruler_phrasing)i;
            return true;
        }
    return false;
}

/* ---- facts and question ---- */

typedef struct plan {
    char facts[RULER_MAX_NEEDLES][160];
    uint32_t n_facts;
    char before[256], question[512];
} plan;

static void make_value(uint64_t *seed, uint32_t digits, char *out) {
    for (uint32_t i = 0; i < digits; i++) out[i] = (char)('0' + (i ? ruler_below(seed, 10) : 1 + ruler_below(seed, 9)));
    out[digits] = 0;
}

static void make_variable(uint64_t *seed, char *out) {
    for (unsigned i = 0; i < VARIABLES; i++) out[i] = (char)('A' + ruler_below(seed, 26));
    out[VARIABLES] = 0;
}

/* One that is none of taken[0..n). */
static void make_fresh(uint64_t *seed, uint32_t digits, char taken[][16], uint32_t n) {
    bool again = true;
    while (again) {
        if (digits)
            make_value(seed, digits, taken[n]);
        else
            make_variable(seed, taken[n]);
        again = false;
        for (uint32_t i = 0; i < n; i++) again |= strcmp(taken[i], taken[n]) == 0;
    }
}

static void say_fact(ruler_phrasing phrasing, const char *key, const char *value, char *out, size_t size) {
    static const char *const forms[] = {"The special number for %s is %s.", "The secret code of %s is %s.",
                                        "Remember: %s has the value %s.",
                                        "One of the special magic numbers for %s is: %s."};
    snprintf(out, size, forms[phrasing], key, value);
}

static void say_question(ruler_phrasing phrasing, bool several, const char *key, plan *p) {
    if (phrasing == RULER_MAGIC) {
        snprintf(p->before, sizeof p->before,
                 "%s special magic number%s hidden within the following text. Make sure to memorize it. I will quiz "
                 "you about the number%s afterwards.\n",
                 several ? "Some" : "A", several ? "s are" : " is", several ? "s" : "");
        snprintf(p->question, sizeof p->question,
                 several
                     ? "\nWhat are all the special magic numbers for %s mentioned in the provided text? The special "
                       "magic numbers for %s mentioned in the provided text are"
                     : "\nWhat is the special magic number for %s mentioned in the provided text? The special magic "
                       "number for %s mentioned in the provided text is",
                 key, key);
        return;
    }
    static const char *const forms[] = {" What is the special number for %s? The special number for %s is",
                                        " What is the secret code of %s? The secret code of %s is",
                                        " What is the value of %s? %s has the value"};
    snprintf(p->question, sizeof p->question, forms[phrasing], key, key);
}

static void plan_values(const ruler_needle_options *o, uint32_t count, uint32_t digits, uint64_t *seed, plan *p,
                        ruler_needle *out) {
    char values[RULER_MAX_NEEDLES][16];
    uint32_t keys[RULER_MAX_NEEDLES];
    bool many_values = o->kind == RULER_MULTIVALUE;
    for (uint32_t i = 0; i < count; i++) {
        make_fresh(seed, digits, values, i);
        bool again = true;
        while (again) {
            keys[i] = (uint32_t)ruler_below(seed, PITH_COUNT(words));
            again = false;
            for (uint32_t k = 0; k < i; k++) again |= keys[k] == keys[i];
        }
        say_fact(o->phrasing, words[keys[many_values ? 0 : i]], values[i], p->facts[i], sizeof p->facts[i]);
    }
    uint32_t asked = o->kind == RULER_MULTIKEY ? (uint32_t)ruler_below(seed, count) : 0;
    /* the fact that is asked for goes first, so that `depth` is its place */
    if (asked) {
        char fact[160];
        memcpy(fact, p->facts[0], sizeof fact);
        memcpy(p->facts[0], p->facts[asked], sizeof fact);
        memcpy(p->facts[asked], fact, sizeof fact);
    }
    p->n_facts = count;
    out->n_answers = many_values ? count : 1;
    for (uint32_t i = 0; i < out->n_answers; i++) memcpy(out->answers[i], values[many_values ? i : asked], 16);
    say_question(o->phrasing, many_values, words[keys[many_values ? 0 : asked]], p);
    out->max_tokens = out->n_answers == 1 ? digits + 6 : PITH_MIN(out->n_answers * (digits + 12), 128);
}

/* RULER's words: the task is one of its own. */
static void plan_chain(uint32_t count, uint32_t digits, uint64_t *seed, plan *p, ruler_needle *out) {
    char value[16];
    make_value(seed, digits, value);
    for (uint32_t i = 0; i < count; i++) {
        make_fresh(seed, 0, out->answers, i);
        if (i == 0)
            snprintf(p->facts[i], sizeof p->facts[i], "VAR %s = %s.", out->answers[0], value);
        else
            snprintf(p->facts[i], sizeof p->facts[i], "VAR %s = VAR %s.", out->answers[i], out->answers[i - 1]);
    }
    p->n_facts = out->n_answers = count;
    snprintf(p->before, sizeof p->before,
             "Memorize and track the chain(s) of variable assignment hidden in the following text.\n");
    snprintf(
        p->question, sizeof p->question,
        "\nQuestion: Find all variables that are assigned the value %s in the text above. Answer: According to the "
        "chain(s) of variable assignment in the text above, %u variables are assigned the value %s, they are:",
        value, count, value);
    out->max_tokens = PITH_MIN(count * 12, 128);
}

/* ---- the haystack ---- */

typedef struct sentence {
    size_t at, n;
} sentence;

/* Up to a full stop, question or exclamation mark before a blank, or an empty line; without them 300 bytes, to the
 * next blank. Passed over when too long for a sentence. Returns where the next begins. */
static size_t next_sentence(const char *text, size_t size, size_t at, sentence *s) {
    while (at < size && (unsigned char)text[at] <= ' ') at++;
    size_t i = at;
    for (; i < size; i++) {
        bool blank_next = i + 1 == size || (unsigned char)text[i + 1] <= ' ';
        if (blank_next && strchr(".?!", text[i]) && text[i]) break;
        if (text[i] == '\n' && i + 1 < size && text[i + 1] == '\n') break;
        if (i - at > 300 && (unsigned char)text[i] <= ' ') break;
    }
    size_t end = i < size ? i + 1 : size;
    while (end > at && (unsigned char)text[end - 1] <= ' ') end--;
    *s = (sentence){at, end - at};
    return i < size ? i + 1 : size;
}

static size_t count_tokens(pith_ctx *ctx, const tokenizer *t, const void *text, size_t size, unsigned flags,
                           token_list *scratch, pith_status *status) {
    if (!t) return size;
    scratch->n = 0;
    if (!*status) *status = tokenizer_encode(ctx, t, text, size, flags, scratch);
    return scratch->n;
}

/* The sentence with its runs of blanks made one, a blank in front. */
static pith_status put_sentence(pith_ctx *ctx, const char *text, size_t n, pith_buffer *out) {
    pith_status status = pith_buffer_reserve(ctx, out, n + 1);
    if (status) return status;
    out->data[out->size++] = ' ';
    for (size_t i = 0; i < n; i++) {
        bool blank = (unsigned char)text[i] <= ' ';
        if (blank && out->data[out->size - 1] == ' ') continue;
        out->data[out->size++] = blank ? ' ' : (uint8_t)text[i];
    }
    return PITH_OK;
}

/* Sentences from a place the seed chooses, going round, while their tokens fit into `room`; starts[k] is where
 * sentence k begins in out. */
static pith_status fill_haystack(pith_ctx *ctx, const tokenizer *t, const char *text, size_t size, size_t room,
                                 uint64_t *seed, token_list *scratch, pith_buffer *out, pith_buffer *starts) {
    pith_status status = PITH_OK;
    sentence s;
    size_t at = (size_t)ruler_below(seed, size), idle = 0;
    at = next_sentence(text, size, at, &s); /* the rest of the one it fell into */
    while (!status) {
        if (at >= size) at = 0;
        size_t before = at;
        at = next_sentence(text, size, at, &s);
        idle += at - before;
        if (s.n == 0 || s.n > SENTENCE_MAX) {
            if (idle > 2 * size + 1) break; /* once round without one that can be used */
            continue;
        }
        idle = 0;
        size_t start = out->size;
        status = put_sentence(ctx, text + s.at, s.n, out);
        size_t cost = count_tokens(ctx, t, out->data + start, out->size - start, TOKENIZE_CONTINUE, scratch, &status);
        if (status) break;
        if (cost > room) {
            out->size = start;
            break;
        }
        room -= cost;
        status = pith_buffer_append(ctx, starts, &start, sizeof start);
    }
    return status;
}

/* ---- the prompt ---- */

static pith_status put(pith_ctx *ctx, pith_buffer *out, const char *text) {
    return pith_buffer_append(ctx, out, text, strlen(text));
}

/* Places of the facts among `gaps`: the first at its depth; those of a chain in order, the others anywhere. */
static void place_facts(const ruler_needle_options *o, uint32_t n, size_t gaps, uint64_t *seed, size_t *place) {
    for (uint32_t i = 0; i < n; i++) place[i] = (size_t)ruler_below(seed, gaps);
    if (o->kind == RULER_TRACKING) {
        for (uint32_t i = 1; i < n; i++)
            for (uint32_t k = i; k && place[k - 1] > place[k]; k--) {
                size_t p = place[k];
                place[k] = place[k - 1];
                place[k - 1] = p;
            }
    } else if (o->depth >= 0) {
        place[0] = (size_t)(PITH_MIN(o->depth, 1.0) * (double)(gaps - 1) + 0.5);
    }
}

static pith_status put_together(pith_ctx *ctx, const plan *p, const pith_buffer *hay, const size_t *starts,
                                size_t n_sentences, const size_t *place, pith_buffer *out) {
    out->size = 0;
    pith_status status = put(ctx, out, p->before);
    size_t begin = out->size;
    for (size_t gap = 0; gap <= n_sentences && !status; gap++) {
        for (uint32_t i = 0; i < p->n_facts && !status; i++) {
            if (place[i] != gap) continue;
            status = put(ctx, out, " ");
            if (!status) status = put(ctx, out, p->facts[i]);
        }
        if (status || gap == n_sentences) break;
        size_t end = gap + 1 < n_sentences ? starts[gap + 1] : hay->size;
        status = pith_buffer_append(ctx, out, hay->data + starts[gap], end - starts[gap]);
    }
    /* every piece brought a blank in front; the first needs none */
    if (!status && out->size > begin) {
        memmove(out->data + begin, out->data + begin + 1, out->size - begin - 1);
        out->size--;
    }
    return status ? status : put(ctx, out, p->question);
}

pith_status ruler_needle_make(pith_ctx *ctx, const tokenizer *t, const ruler_needle_options *o, uint64_t seed,
                              uint32_t index, ruler_needle *out) {
    *out = (ruler_needle){0};
    uint32_t count = o->kind == RULER_SINGLE ? 1 : o->count ? o->count : 4, digits = o->digits ? o->digits : 5;
    if (count > RULER_MAX_NEEDLES)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%u facts: at most %d", count, RULER_MAX_NEEDLES);
    if (digits < 2 || digits > 15) return pith_fail(ctx, PITH_E_ARGUMENT, "%u digits: 2 to 15", digits);
    size_t size = o->text_size;
    const char *text = o->text ? o->text : ruler_filler(&size);
    if (!size) return pith_fail(ctx, PITH_E_ARGUMENT, "the haystack is empty");
    plan *p = pith_zalloc(ctx, sizeof *p);
    if (!p) return pith_alloc_status(ctx);
    uint64_t state = seed;
    state = ruler_random(&state) + index;
    if (o->kind == RULER_TRACKING)
        plan_chain(count, digits, &state, p, out);
    else
        plan_values(o, count, digits, &state, p, out);

    token_list scratch = {0};
    pith_buffer hay = {0}, starts = {0};
    pith_status status = PITH_OK;
    size_t place[RULER_MAX_NEEDLES] = {0};
    unsigned flags = t && tokenizer_about(t)->bos != TOKEN_NONE ? TOKENIZE_BOS : 0;
    status = put_together(ctx, p, &hay, NULL, 0, place, &out->prompt);
    size_t bare = count_tokens(ctx, t, out->prompt.data, out->prompt.size, flags, &scratch, &status);
    if (!status && bare > o->length)
        status = pith_fail(ctx, PITH_E_ARGUMENT, "the facts and the question take %zu tokens, the prompt may have %u",
                           bare, o->length);
    if (!status) status = fill_haystack(ctx, t, text, size, o->length - bare, &state, &scratch, &hay, &starts);
    /* the parts may take a few tokens more together than apart */
    size_t n = starts.size / sizeof(size_t);
    uint64_t places = state;
    for (bool fits = false; !status && !fits; n--) {
        state = places;
        place_facts(o, p->n_facts, n + 1, &state, place);
        status = put_together(ctx, p, &hay, (const size_t *)starts.data, n, place, &out->prompt);
        fits = count_tokens(ctx, t, out->prompt.data, out->prompt.size, flags, &scratch, &status) <= o->length || !n;
        if (n) hay.size = ((const size_t *)starts.data)[n - 1];
    }
    pith_buffer_free(ctx, &hay);
    pith_buffer_free(ctx, &starts);
    token_list_free(ctx, &scratch);
    pith_free(ctx, p);
    if (status) ruler_needle_free(ctx, out);
    return status;
}

void ruler_needle_free(pith_ctx *ctx, ruler_needle *n) {
    pith_buffer_free(ctx, &n->prompt);
    n->n_answers = 0;
}
