/* Prose: a capital letter becomes a mark and the small letter, and a word of the built-in dictionary
 * its number, so that the coder behind sees the same word everywhere and sees more of them.
 *
 * Argument: 1 when words were replaced, else 0. MARK_ONE before a word or letter: its first letter
 * was a capital. MARK_ALL: all of its letters were. MARK_BYTE before a byte that means something
 * else: that byte as it was. Words 0..63 are the bytes 80..BF; word 64 + 64 a + b is the byte
 * C0 + a and then 80 + b; letters behind a number go on the word. (After P. Skibinski, Sz. Grabowski, S. Deorowicz,
 * "Revisiting dictionary-based compression", 2005.) */
#include "artefacts/file/codec.h"
#include "artefacts/file/detect.h"
#include "artefacts/file/words.h"

enum { MARK_ONE = 0x01, MARK_ALL = 0x02, MARK_BYTE = 0x03 };
enum { ONE_BYTE = 64, FIRST_SHORT = 0x80, FIRST_LONG = 0xC0, SECOND = 0x80, SECOND_N = 64 };
enum { ENDING_MAX = 4, STEM_MIN = 4 };

static bool is_capital(uint8_t c) { return c >= 'A' && c <= 'Z'; }
static bool is_small(uint8_t c) { return c >= 'a' && c <= 'z'; }
static bool is_letter(uint8_t c) { return is_small(c | 32); }
static bool is_mark(uint8_t c) { return c >= MARK_ONE && c <= MARK_BYTE; }

typedef struct writer {
    const words *dictionary; /* NULL: none */
    uint8_t *dst;
    size_t out;
    size_t n_words, n_escapes;
} writer;

/* The lower-case word p[n]: its number, that of all but its ending, or its letters. */
static void put_word(writer *w, const uint8_t *p, size_t n, size_t ending_max) {
    int number = -1;
    size_t ending = 0;
    if (w->dictionary && n >= WORD_LENGTH_MIN && n <= WORD_LENGTH_MAX) {
        number = words_find(w->dictionary, p, n);
        while (number < 0 && ending < ending_max && n - ending > STEM_MIN)
            number = words_find(w->dictionary, p, n - ++ending);
    }
    if (number < 0) {
        memcpy(w->dst + w->out, p, n);
        w->out += n;
        return;
    }
    w->n_words++;
    if (number < ONE_BYTE) {
        w->dst[w->out++] = (uint8_t)(FIRST_SHORT + number);
    } else {
        w->dst[w->out++] = (uint8_t)(FIRST_LONG + (number - ONE_BYTE) / SECOND_N);
        w->dst[w->out++] = (uint8_t)(SECOND + (number - ONE_BYTE) % SECOND_N);
    }
    memcpy(w->dst + w->out, p + n - ending, ending);
    w->out += ending;
}

/* p[n]: letters, with none before or behind. */
static void put_letters(writer *w, const uint8_t *p, size_t n) {
    size_t capitals = 0;
    for (size_t i = 0; i < n; i++) capitals += is_capital(p[i]);
    if (capitals == 0) {
        put_word(w, p, n, ENDING_MAX);
        return;
    }
    bool all = capitals == n && n >= 2, one = capitals == 1 && is_capital(p[0]);
    if ((all || one) && n <= WORD_LENGTH_MAX) {
        uint8_t small[WORD_LENGTH_MAX];
        for (size_t i = 0; i < n; i++) small[i] = p[i] | 32;
        w->dst[w->out++] = all ? MARK_ALL : MARK_ONE;
        put_word(w, small, n, all ? 0 : ENDING_MAX);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (is_capital(p[i])) w->dst[w->out++] = MARK_ONE;
        w->dst[w->out++] = p[i] | 32;
    }
}

/* Stops early when the room, of `cap` bytes, might not do. */
static bool transform(writer *w, const uint8_t *src, size_t n, size_t cap) {
    for (size_t i = 0; i < n;) {
        size_t end = i;
        while (end < n && is_letter(src[end])) end++;
        if (2 * (end - i) + 2 > cap - w->out) return false;
        if (end > i) {
            put_letters(w, src + i, end - i);
            i = end;
            continue;
        }
        if (is_mark(src[i]) || (w->dictionary && src[i] >= FIRST_SHORT)) {
            w->dst[w->out++] = MARK_BYTE;
            w->n_escapes++;
        }
        w->dst[w->out++] = src[i++];
    }
    return true;
}

static pith_status forward(pith_ctx *ctx, file_args *args, const uint8_t *src, size_t n, pith_buffer *dst, bool *pays) {
    *pays = false;
    detect_result look;
    detect_block(src, n, &look);
    if (n < 128 || look.text_permille < 900 || look.letters_permille < 300) return PITH_OK;
    /* more than a quarter longer is no gain any more */
    size_t cap = n + n / 4 + 64;
    pith_status status = pith_buffer_reserve(ctx, dst, cap);
    if (status) return status;
    bool with = args->n == 0 || args->v[0];
    words *dictionary = with ? pith_alloc(ctx, sizeof *dictionary) : NULL;
    if (with && !dictionary) return pith_alloc_status(ctx);
    if (with) words_init(dictionary);
    writer w = {.dictionary = dictionary, .dst = dst->data};
    *pays = transform(&w, src, n, cap);
    pith_free(ctx, dictionary);
    if (with && (!*pays || w.n_words < n / 50 || w.n_words < 2 * w.n_escapes)) {
        /* another language, or no language: capitals alone */
        w = (writer){.dst = dst->data};
        *pays = transform(&w, src, n, cap);
        with = false;
    }
    if (!with && look.capitals_permille < 2) *pays = false;
    if (!*pays) return PITH_OK;
    dst->size = w.out;
    args->n = 1;
    args->v[0] = with;
    return PITH_OK;
}

typedef struct reader {
    const words *dictionary;
    const uint8_t *src;
    size_t n, in;
    uint8_t *dst;
    size_t raw_n, out;
} reader;

/* A small letter, or a word by its number, in capitals as `mark` says. False when malformed. */
static bool take_word(reader *r, uint8_t mark) {
    if (r->in == r->n) return false;
    uint8_t c = r->src[r->in];
    if (c < FIRST_SHORT || !r->dictionary) {
        if (!is_small(c)) return false;
        do {
            if (r->out == r->raw_n) return false;
            r->dst[r->out++] = r->src[r->in++] & 0xDF;
        } while (mark == MARK_ALL && r->in < r->n && is_small(r->src[r->in]));
        return true;
    }
    unsigned number = c - FIRST_SHORT;
    r->in++;
    if (c >= FIRST_LONG) {
        if (r->in == r->n || r->src[r->in] < SECOND || r->src[r->in] >= SECOND + SECOND_N) return false;
        number = ONE_BYTE + (c - FIRST_LONG) * SECOND_N + (r->src[r->in++] - SECOND);
    }
    if (number >= r->dictionary->n || r->dictionary->length[number] > r->raw_n - r->out) return false;
    uint8_t *word = r->dst + r->out;
    size_t length = r->dictionary->length[number];
    memcpy(word, r->dictionary->at[number], length);
    for (size_t i = 0; i < (mark == MARK_ALL ? length : mark == MARK_ONE); i++) word[i] &= 0xDF;
    r->out += length;
    return true;
}

static bool take_all(reader *r) {
    while (r->in < r->n) {
        uint8_t c = r->src[r->in];
        if (is_mark(c)) {
            r->in++;
            if (c != MARK_BYTE) {
                if (!take_word(r, c)) return false;
                continue;
            }
            if (r->in == r->n) return false;
        } else if (c >= FIRST_SHORT && r->dictionary) {
            if (!take_word(r, 0)) return false;
            continue;
        }
        if (r->out == r->raw_n) return false;
        r->dst[r->out++] = r->src[r->in++];
    }
    return r->out == r->raw_n;
}

static pith_status inverse(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                           size_t raw_n) {
    words *dictionary = args->v[0] ? pith_alloc(ctx, sizeof *dictionary) : NULL;
    if (args->v[0] && !dictionary) return pith_alloc_status(ctx);
    if (dictionary) words_init(dictionary);
    reader r = {.dictionary = dictionary, .src = src, .n = n, .dst = dst, .raw_n = raw_n};
    bool exact = take_all(&r);
    pith_free(ctx, dictionary);
    return exact ? PITH_OK : pith_fail(ctx, PITH_E_FORMAT, "a block of marked words is malformed");
}

static pith_status check(pith_ctx *ctx, const file_args *args) {
    if (args->n == 1 && args->v[0] <= 1) return PITH_OK;
    return pith_fail(ctx, PITH_E_FORMAT, "text takes one argument, 0 or 1");
}

static uint64_t memory(const file_args *args, size_t raw_n) {
    (void)args, (void)raw_n;
    return sizeof(words);
}

const file_front file_front_text = {
    .id = 1,
    .name = "text",
    .forward = forward,
    .inverse = inverse,
    .check = check,
    .memory = memory,
};
