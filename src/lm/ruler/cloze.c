/* Cloze items from any text: which of four runs of words goes on where the context stops? The
 * wrong ones stand elsewhere in the same text, so that words and style give nothing away. */
#include "lm/ruler/parts.h"

#define N_CHOICES 4
#define TRIES 64

typedef struct word {
    size_t at, n;
} word;

/* Words are runs of UTF-8 without blanks and control bytes. */
static pith_status split_words(pith_ctx *ctx, const char *text, size_t size, word **out, size_t *n_out) {
    const uint8_t *p = (const uint8_t *)text;
    size_t n = 0, capacity = 0;
    word *words = NULL;
    for (size_t i = 0; i < size;) {
        size_t start = i;
        for (size_t step; i < size && p[i] > ' ' && p[i] != 0x7f && (step = ruler_utf8(p + i, size - i)) > 0;)
            i += step;
        if (i == start) {
            i++;
            continue;
        }
        if (n == capacity) {
            size_t more = capacity ? 2 * capacity : 1024;
            word *grown = pith_alloc(ctx, more * sizeof *grown);
            if (!grown) {
                pith_free(ctx, words);
                return pith_alloc_status(ctx);
            }
            if (n) memcpy(grown, words, n * sizeof *grown);
            pith_free(ctx, words);
            words = grown;
            capacity = more;
        }
        words[n++] = (word){start, i - start};
    }
    *out = words;
    *n_out = n;
    return PITH_OK;
}

/* words[0..n) with one blank between them, one in front when `lead`. */
static char *join(pith_ctx *ctx, const char *text, const word *words, size_t n, bool lead) {
    size_t bytes = 1;
    for (size_t i = 0; i < n; i++) bytes += words[i].n + 1;
    char *s = pith_alloc(ctx, bytes), *to = s;
    if (!s) return NULL;
    for (size_t i = 0; i < n; i++) {
        if (i || lead) *to++ = ' ';
        memcpy(to, text + words[i].at, words[i].n);
        to += words[i].n;
    }
    *to = 0;
    return s;
}

static pith_status make_item(pith_ctx *ctx, const char *text, const word *words, size_t n_words, size_t n_context,
                             size_t n_choice, uint64_t *seed, ruler_item *item) {
    size_t starts = n_words - n_context - n_choice + 1;
    size_t at = n_context + (size_t)ruler_below(seed, starts);
    *item = (ruler_item){.n_choices = N_CHOICES, .answer = (uint32_t)ruler_below(seed, N_CHOICES)};
    if (!(item->context = join(ctx, text, words + at - n_context, n_context, false))) return pith_alloc_status(ctx);
    if (!(item->choices[item->answer] = join(ctx, text, words + at, n_choice, true))) return pith_alloc_status(ctx);
    for (uint32_t k = 0; k < N_CHOICES; k++) {
        if (k == item->answer) continue;
        bool fresh = false;
        for (unsigned tries = 0; tries < TRIES && !fresh; tries++) {
            size_t other = (size_t)ruler_below(seed, n_words - n_choice + 1);
            pith_free(ctx, item->choices[k]);
            if (!(item->choices[k] = join(ctx, text, words + other, n_choice, true))) return pith_alloc_status(ctx);
            fresh = true;
            for (uint32_t j = 0; j < N_CHOICES; j++)
                if (j != k && item->choices[j] && strcmp(item->choices[j], item->choices[k]) == 0) fresh = false;
        }
        if (!fresh) return pith_fail(ctx, PITH_E_ARGUMENT, "the text repeats itself too much to make items of it");
    }
    return PITH_OK;
}

pith_status ruler_cloze(pith_ctx *ctx, const char *text, size_t size, size_t n, uint32_t context_words,
                        uint32_t choice_words, uint64_t seed, ruler_items *out) {
    *out = (ruler_items){0};
    size_t n_context = context_words ? context_words : 24, n_choice = choice_words ? choice_words : 3, n_words = 0;
    word *words = NULL;
    if (!n || n > (size_t)1 << 24) return pith_fail(ctx, PITH_E_ARGUMENT, "%zu items: 1 to %d", n, 1 << 24);
    pith_status status = split_words(ctx, text, size, &words, &n_words);
    if (!status && (n_words < n_context + n_choice || n_words < 8 * n_choice))
        status = pith_fail(ctx, PITH_E_ARGUMENT, "the text has %zu words: too few for items of %zu and %zu", n_words,
                           n_context, n_choice);
    if (!status && !(out->at = pith_zalloc(ctx, n * sizeof *out->at))) status = pith_alloc_status(ctx);
    if (!status) out->capacity = n;
    for (size_t i = 0; i < n && !status; i++) {
        out->n = i + 1; /* freed with the list, finished or not */
        status = make_item(ctx, text, words, n_words, n_context, n_choice, &seed, &out->at[i]);
    }
    pith_free(ctx, words);
    if (status) ruler_items_free(ctx, out);
    return status;
}
