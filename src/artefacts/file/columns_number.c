/* Decimal numbers as columns hold them: what is read is written again as it was, or is no number. */
#include "artefacts/file/columns.h"

size_t number_write(const number_style *style, int64_t value, uint8_t *text) {
    uint8_t digits[NUMBER_TEXT_MAX];
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t n = 0, out = 0;
    do digits[n++] = (uint8_t)('0' + rest % 10);
    while (rest /= 10);
    size_t written = n + (value < 0);
    bool zeros = style->flags & NUMBER_ZEROS;
    for (; written < style->width && !zeros; written++) text[out++] = ' ';
    if (value < 0) text[out++] = '-';
    for (; written < style->width; written++) text[out++] = '0';
    while (n) text[out++] = digits[--n];
    return out;
}

bool number_read(const number_style *style, const uint8_t *p, size_t n, int64_t *value) {
    size_t at = 0;
    uint64_t v = 0;
    while (at < n && p[at] == ' ') at++;
    bool negative = at < n && p[at] == '-';
    at += negative;
    if (at == n || n > NUMBER_TEXT_MAX) return false;
    for (; at < n; at++) {
        if (!column_is_digit(p[at]) || v > (uint64_t)INT64_MAX / 10) return false;
        v = 10 * v + (uint64_t)(p[at] - '0');
    }
    if (v > (uint64_t)INT64_MAX) return false;
    *value = negative ? -(int64_t)v : (int64_t)v;
    uint8_t again[NUMBER_TEXT_MAX];
    return number_write(style, *value, again) == n && memcmp(again, p, n) == 0;
}
