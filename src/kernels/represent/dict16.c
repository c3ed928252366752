/* Words of 16 bits for strings of ternary digits (E. Frantar, D. Alistarh, "QMoE", arXiv:2310.16795): the dictionary holds
 * the 65,536 most probable strings of 1 to 14 pairs of digits, zero with probability p0 and the others alike; the longest
 * match is taken. A string is less probable than its beginnings, so with each string its beginnings are there too.
 *
 * The strings are numbered by a walk from class to class: a class is all strings of one length with one number of digits
 * that are not zero, and classes come in order of probability (of length, then of such digits, among equals); within a
 * class in the order in which the walk meets them. All nine single pairs come first, whatever their probability.
 *
 * A code is: the digit that is zero, a byte; p0 in 65536ths, two bytes; the number of words; the words. A digit past the
 * end counts as zero. */
#include "kernels/represent/dict16.h"

#define WORDS 65536u
#define PAIRS_MOST 14
#define PAIRS 9
#define NO_WORD UINT32_MAX
#define CLASSES (PAIRS_MOST * (2 * PAIRS_MOST + 1))

typedef struct dictionary {
    uint32_t (*next)[PAIRS]; /* [WORDS] the word with one pair more, or NO_WORD */
    uint64_t *digits;        /* [WORDS] pairs of 4 bits from the lowest: digit, digit * 4; the length in bits 56.. */
} dictionary;

static void dictionary_free(pith_ctx *ctx, dictionary *d) {
    pith_free(ctx, d->next);
    pith_free(ctx, d->digits);
}

/* A string that awaits its number. */
typedef struct candidate {
    uint32_t parent; /* NO_WORD: a single pair */
    uint8_t pair, length, n_others;
    uint32_t next;   /* in its class */
} candidate;

static unsigned others_of(unsigned pair) { return (pair % 3 != 0) + (pair / 3 != 0); }

static unsigned class_of(unsigned length, unsigned n_others) {
    return (length - 1) * (2 * PAIRS_MOST + 1) + n_others;
}

/* Ranks of classes by p0^zeros * q^others, q = (1 - p0) / 2; order[rank] = class, classes that cannot be left out. */
static unsigned rank_classes(uint32_t prior, uint16_t order[CLASSES]) {
    double power[2][2 * PAIRS_MOST + 1], probability[CLASSES];
    double p0 = prior / 65536.0, step[2] = {p0, (1 - p0) / 2};
    unsigned n = 0;
    for (unsigned k = 0; k < 2; k++) {
        power[k][0] = 1;
        for (unsigned i = 1; i <= 2 * PAIRS_MOST; i++) power[k][i] = power[k][i - 1] * step[k];
    }
    for (unsigned length = 1; length <= PAIRS_MOST; length++)
        for (unsigned others = 0; others <= 2 * length; others++) {
            unsigned c = class_of(length, others), at = n++;
            probability[c] = power[0][2 * length - others] * power[1][others];
            for (; at > 0 && probability[order[at - 1]] < probability[c]; at--) order[at] = order[at - 1];
            order[at] = (uint16_t)c;
        }
    return n;
}

typedef struct walk {
    candidate *all; /* [WORDS * PAIRS] */
    uint32_t n;
    uint32_t first[CLASSES], last[CLASSES]; /* in all, NO_WORD when empty */
    uint32_t n_words;
} walk;

static void offer(walk *w, uint32_t parent, unsigned pair, unsigned length, unsigned n_others) {
    unsigned c = class_of(length, n_others);
    uint32_t i = w->n++;
    w->all[i] = (candidate){parent, (uint8_t)pair, (uint8_t)length, (uint8_t)n_others, NO_WORD};
    if (w->first[c] == NO_WORD) w->first[c] = i;
    else w->all[w->last[c]].next = i;
    w->last[c] = i;
}

/* The next number goes to a string; the strings it begins are offered. */
static void number(dictionary *d, walk *w, uint32_t parent, unsigned pair, unsigned length, unsigned n_others) {
    uint32_t word = w->n_words++;
    uint64_t before = parent == NO_WORD ? 0 : d->digits[parent] & (((uint64_t)1 << 56) - 1);
    uint64_t here = (uint64_t)(pair % 3 | pair / 3 << 2) << 4 * (length - 1);
    d->digits[word] = before | here | (uint64_t)length << 56;
    if (parent != NO_WORD) d->next[parent][pair] = word;
    if (length < PAIRS_MOST)
        for (unsigned p = 0; p < PAIRS; p++) offer(w, word, p, length + 1, n_others + others_of(p));
}

static pith_status dictionary_make(pith_ctx *ctx, uint32_t prior, dictionary *d) {
    uint16_t order[CLASSES];
    unsigned n_classes = rank_classes(prior, order);
    walk *w = pith_zalloc(ctx, sizeof *w);
    d->next = pith_alloc(ctx, WORDS * sizeof *d->next);
    d->digits = pith_alloc(ctx, WORDS * sizeof *d->digits);
    if (w) w->all = pith_alloc(ctx, (size_t)WORDS * PAIRS * sizeof *w->all);
    pith_status status = PITH_OK;
    if (!w || !w->all || !d->next || !d->digits) {
        status = pith_alloc_status(ctx);
    } else {
        memset(d->next, 0xFF, WORDS * sizeof *d->next);
        memset(w->first, 0xFF, sizeof w->first);
        for (unsigned p = 0; p < PAIRS; p++) number(d, w, NO_WORD, p, 1, others_of(p));
        /* A class is whole when its turn comes: what begins its strings is of classes before it. */
        for (unsigned r = 0; r < n_classes; r++)
            for (uint32_t i = w->first[order[r]]; i != NO_WORD && w->n_words < WORDS; i = w->all[i].next) {
                candidate c = w->all[i];
                number(d, w, c.parent, c.pair, c.length, c.n_others);
            }
    }
    if (w) pith_free(ctx, w->all);
    pith_free(ctx, w);
    if (status) dictionary_free(ctx, d);
    return status;
}

/* ---- streams ---- */

typedef struct digits_of {
    const repr_plane *plane;
    uint8_t digit[3]; /* of a value: 0 for the commonest */
} digits_of;

static unsigned pair_at(const digits_of *d, size_t i) {
    unsigned a = d->digit[d->plane->codes[i]], b = i + 1 < d->plane->n ? d->digit[d->plane->codes[i + 1]] : 0;
    return a + 3 * b;
}

static void digits_for(unsigned zero, uint8_t digit[3]) {
    unsigned other = 1;
    for (unsigned v = 0; v < 3; v++) digit[v] = (uint8_t)(v == zero ? 0 : other++);
}

static pith_status put_words(pith_ctx *ctx, const dictionary *dict, const digits_of *d, pith_buffer *out) {
    pith_buffer words = {0};
    pith_status status = PITH_OK;
    for (size_t i = 0; i < d->plane->n && !status;) {
        uint32_t word = pair_at(d, i); /* single pairs have the first numbers */
        for (i += 2; i < d->plane->n; i += 2) {
            uint32_t longer = dict->next[word][pair_at(d, i)];
            if (longer == NO_WORD) break;
            word = longer;
        }
        uint8_t bytes[2];
        store16(bytes, (uint16_t)word);
        status = pith_buffer_append(ctx, &words, bytes, 2);
    }
    if (!status) status = repr_put_number(ctx, out, words.size / 2);
    if (!status) status = pith_buffer_append(ctx, out, words.data, words.size);
    pith_buffer_free(ctx, &words);
    return status;
}

pith_status dict16_encode(pith_ctx *ctx, const repr_plane *plane, uint32_t prior, pith_buffer *out) {
    if (plane->alphabet > 3)
        return pith_fail(ctx, PITH_E_ARGUMENT, "dict16 codes planes of three values, this one has %u", plane->alphabet);
    size_t count[3] = {0};
    unsigned zero = 0;
    for (size_t i = 0; i < plane->n; i++) count[plane->codes[i]]++;
    for (unsigned v = 1; v < 3; v++)
        if (count[v] > count[zero]) zero = v;
    if (prior == 0) prior = plane->n ? (uint32_t)((double)count[zero] / (double)plane->n * DICT16_PRIOR_ONE) : 0;
    prior = PITH_MIN(PITH_MAX(prior, DICT16_PRIOR_ONE / 2), DICT16_PRIOR_ONE - 1);
    dictionary dict;
    pith_status status = dictionary_make(ctx, prior, &dict);
    if (status) return status;
    digits_of d = {.plane = plane};
    digits_for(zero, d.digit);
    uint8_t head[3] = {(uint8_t)zero, (uint8_t)prior, (uint8_t)(prior >> 8)};
    status = pith_buffer_append(ctx, out, head, 3);
    if (!status) status = put_words(ctx, &dict, &d, out);
    dictionary_free(ctx, &dict);
    return status;
}

static bool take_words(const dictionary *dict, const uint8_t *words, uint64_t n_words, unsigned zero, uint16_t *codes,
                       size_t n) {
    uint8_t digit[3];
    uint16_t value[3] = {0};
    digits_for(zero, digit);
    for (unsigned v = 0; v < 3; v++) value[digit[v]] = (uint16_t)v;
    size_t i = 0;
    for (uint64_t k = 0; k < n_words; k++) {
        uint64_t digits = dict->digits[load16(words + 2 * k)];
        if (i >= n) return false;
        for (unsigned left = 2 * (unsigned)(digits >> 56); left > 0; left--, digits >>= 2) {
            if (i < n) codes[i++] = value[digits & 3];
            else if (left > 1 || (digits & 3)) return false;
        }
    }
    return i == n;
}

pith_status dict16_decode(pith_ctx *ctx, repr_reader *in, uint16_t *codes, size_t n, uint32_t alphabet) {
    const uint8_t *head = repr_take(in, 3), *words = NULL;
    uint64_t n_words = 0;
    if (head && head[0] < PITH_MIN(alphabet, 3) && head[2] >> 7 && repr_take_number(in, n, &n_words))
        words = repr_take(in, (size_t)n_words * 2);
    if (!words) return pith_fail(ctx, PITH_E_FORMAT, "the head of words for ternary digits is wrong");
    dictionary dict;
    pith_status status = dictionary_make(ctx, load16(head + 1), &dict);
    if (status) return status;
    bool good = take_words(&dict, words, n_words, head[0], codes, n);
    for (size_t i = 0; i < n && good && alphabet < 3; i++) good = codes[i] < alphabet;
    dictionary_free(ctx, &dict);
    return good ? PITH_OK : pith_fail(ctx, PITH_E_FORMAT, "words for ternary digits do not give %zu of them", n);
}
