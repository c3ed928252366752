/* Lines cut into tokens: words and numbers of a log, values of a table. */
#include "artefacts/file/columns_tokens.h"

static bool is_between(uint8_t c) {
    switch (c) {
    case ' ':
    case '\t':
    case '\r':
    case '|':
    case ',':
    case ';':
    case '=':
    case '"':
    case '\'':
    case '(':
    case ')':
    case '[':
    case ']':
    case '{':
    case '}':
    case '<':
    case '>': return true;
    default: return false;
    }
}

/* The end of the value at src[at]: a quoted one may contain separators. */
static size_t value_end(const uint8_t *src, size_t at, size_t end, uint8_t separator) {
    bool quoted = false;
    for (; at < end; at++) {
        if (src[at] == '"') quoted = !quoted;
        if (src[at] == separator && !quoted) return at;
    }
    return end;
}

static void find_values(tokens *t, const uint8_t *src, size_t at, size_t end, uint8_t separator, unsigned most) {
    for (; t->n < most; at++) {
        size_t stop = value_end(src, at, end, separator);
        t->variable[t->n] = true;
        t->token[t->n++] = (column_value){(uint32_t)at, (uint32_t)(stop - at)};
        at = stop;
        if (at == end) return;
    }
}

void tokens_find(tokens *t, const uint8_t *src, size_t at, size_t end, uint8_t separator, unsigned most) {
    t->n = 0;
    if (separator) {
        find_values(t, src, at, end, separator, most);
        return;
    }
    while (t->n < most) {
        size_t from = at;
        while (at < end && is_between(src[at])) at++;
        if (at == end) return;
        size_t begin = at;
        /* numbers flush right: all blanks but the first are their padding */
        if (column_is_digit(src[at]))
            while (begin > from + 1 && src[begin - 1] == ' ' && src[begin - 2] == ' ') begin--;
        bool digit = false;
        for (; at < end && !is_between(src[at]); at++) digit |= column_is_digit(src[at]);
        t->variable[t->n] = digit;
        t->token[t->n++] = (column_value){(uint32_t)begin, (uint32_t)(at - begin)};
    }
}

uint64_t token_shape(const uint8_t *src, column_value v) {
    uint64_t h = 0xCBF29CE484222325u;
    const uint8_t *p = src + v.at;
    size_t i = 0;
    while (i < v.n && p[i] == ' ') i++;
    while (i < v.n) {
        unsigned digits = 0, letters = 0;
        for (; i < v.n; i++) {
            if (column_is_digit(p[i]))
                digits = 1;
            else if (column_is_letter(p[i]))
                letters = 1;
            else
                break;
        }
        unsigned kind = digits + 2 * letters;
        if (!kind) {
            bool sign = p[i] == '-' && i + 1 < v.n && column_is_digit(p[i + 1]) &&
                        (i == 0 || !column_is_letter(p[i - 1])) && (i == 0 || !column_is_digit(p[i - 1]));
            kind = sign ? 0 : p[i] + 4u;
            i++;
            if (!kind) continue;
        }
        h = (h ^ kind) * 0x100000001B3u;
    }
    return h | 1;
}

uint8_t tokens_separator(const uint8_t *src, size_t n) {
    static const uint8_t candidates[] = {'\t', ',', ';', '|'};
    enum { LINES = 256 };
    for (size_t i = 0; i < PITH_COUNT(candidates); i++) {
        size_t lines = 0, same = 0, usual = 0, at = 0;
        for (; lines < LINES && at < n; lines++) {
            const uint8_t *stop = memchr(src + at, COLUMNS_END, n - at);
            size_t end = stop ? (size_t)(stop - src) : n, values = 0;
            for (size_t k = at; k <= end && k < n; values++) k = value_end(src, k, end, candidates[i]) + 1;
            if (lines == 1) usual = values; /* the first line may be a title */
            same += lines > 0 && values == usual;
            at = end + 1;
        }
        if (lines > 8 && usual >= 3 && same * 20 >= (lines - 1) * 19) return candidates[i];
    }
    return 0;
}
