/* Numbers in recipes, read and printed exactly and without the C locale.
 * A number is M * 10^e with a whole M <= 2^53 and |e| <= 22, so that one correctly rounded
 * division gives the nearest double (Clinger 1990, "How to read floating point numbers
 * accurately", fast path), and printing only has to find M and e again. */
#include <stdio.h>

#include "base/recipe_parts.h"

#define WHOLE_MAX (UINT64_C(1) << 53)
#define TENS_MAX 22

static double power_of_ten(unsigned e) {
    double v = 1;
    while (e--) v *= 10; /* exact up to 10^22 */
    return v;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool times_ten_plus(uint64_t *m, unsigned digit) {
    if (*m > (WHOLE_MAX - digit) / 10) return false;
    *m = *m * 10 + digit;
    return true;
}

/* m * 10^e * 2^shift as a whole number <= 2^53; for e < 0 m is no multiple of 10. */
static recipe_number whole(uint64_t m, int e, unsigned shift, double *v) {
    for (; e < 0; e++) { /* one factor 10 = 5 * 2 away; m is no multiple of 10, so the 2 is in the shift */
        if (m % 5 || shift == 0) return NUMBER_FRACTION;
        m /= 5;
        shift--;
    }
    for (; e > 0; e--)
        if (!times_ten_plus(&m, 0)) return NUMBER_RANGE;
    if (m > WHOLE_MAX >> shift) return NUMBER_RANGE;
    *v = (double)(m << shift);
    return NUMBER_OK;
}

/* "", "K", "KB", "KiB" and so on, or "%". */
static bool read_unit(const char *s, size_t n, unsigned *shift, bool *percent, bool *named_bytes) {
    static const char letters[] = "KMGT";
    *shift = 0;
    *percent = *named_bytes = false;
    if (n == 1 && s[0] == '%') {
        *percent = true;
        return true;
    }
    bool scaled = n && s[0] && strchr(letters, s[0]);
    if (scaled) {
        *shift = 10 * (unsigned)(strchr(letters, s[0]) - letters + 1);
        s++, n--;
    }
    if (n == 0) return true;
    *named_bytes = true;
    return (n == 1 && s[0] == 'B') || (scaled && n == 2 && s[0] == 'i' && s[1] == 'B');
}

recipe_number recipe_number_read(const char *s, size_t n, bool bytes, double *v) {
    size_t i = 0;
    bool negative = false, digits = false, fits = true;
    uint64_t m = 0;
    int e = 0;
    unsigned zeros = 0; /* of the fraction, not yet worth a place in m */
    if (i < n && (s[i] == '-' || s[i] == '+')) negative = s[i++] == '-';
    for (; i < n && is_digit(s[i]); i++, digits = true) fits = fits && times_ten_plus(&m, (unsigned)(s[i] - '0'));
    if (i < n && s[i] == '.') {
        for (i++; i < n && is_digit(s[i]); i++, digits = true) {
            if (s[i] == '0') {
                zeros++;
                continue;
            }
            for (; fits && zeros; zeros--, e--) fits = times_ten_plus(&m, 0);
            fits = fits && times_ten_plus(&m, (unsigned)(s[i] - '0'));
            e--;
        }
    }
    if (!digits) return NUMBER_NONE;
    if (i + 1 < n && (s[i] == 'e' || s[i] == 'E')) {
        size_t at = i + 1;
        bool minus = false;
        int exponent = 0;
        if (s[at] == '-' || s[at] == '+') minus = s[at++] == '-';
        if (at == n || !is_digit(s[at])) return NUMBER_NONE;
        for (; at < n && is_digit(s[at]); at++)
            if (exponent < 1000) exponent = exponent * 10 + (s[at] - '0');
        if (fits) e += minus ? -exponent : exponent;
        i = at;
    }
    unsigned shift;
    bool percent, named_bytes;
    if (!read_unit(s + i, n - i, &shift, &percent, &named_bytes)) return NUMBER_NONE;
    if (named_bytes && !bytes) return NUMBER_BYTES;
    if (!fits) return NUMBER_RANGE;
    if (percent) e -= 2;
    if (m == 0) { /* never -0 */
        *v = 0;
        return NUMBER_OK;
    }
    for (; e < 0 && m % 10 == 0; e++) m /= 10;
    if (e < -TENS_MAX || e > TENS_MAX) return NUMBER_RANGE;
    if (shift || named_bytes || e >= 0) {
        recipe_number r = whole(m, e, shift, v);
        if (r) return r;
    } else {
        *v = (double)m / power_of_ten((unsigned)-e);
    }
    if (negative) *v = -*v;
    return NUMBER_OK;
}

/* The whole m with m / 10^e == v, if there is one; v is positive. */
static bool find_whole(double v, unsigned e, uint64_t *m) {
    double scaled = v * power_of_ten(e);
    if (!(scaled < (double)WHOLE_MAX)) return false;
    uint64_t near = (uint64_t)(scaled + 0.5);
    for (unsigned k = 0; k < 5; k++) { /* near itself, then up to two units either side */
        uint64_t away = (k + 1) / 2;
        if (k % 2 && near < away) continue;
        *m = k % 2 ? near - away : near + away;
        if (*m && *m <= WHOLE_MAX && (double)*m / power_of_ten(e) == v) return true;
    }
    return false;
}

size_t pith_number_print(double v, char out[PITH_NUMBER_MAX]) {
    const char *sign = v < 0 ? "-" : "";
    double a = v < 0 ? -v : v;
    int n;
    uint64_t m = 0;
    unsigned e = 0;
    if (a <= (double)WHOLE_MAX && a == (double)(uint64_t)a) {
        n = snprintf(out, PITH_NUMBER_MAX, "%s%llu", sign, (unsigned long long)a);
        return (size_t)n;
    }
    while (e <= TENS_MAX && !find_whole(a, e, &m)) e++;
    if (e > TENS_MAX) { /* not a number a recipe can hold: only tables have such bounds */
        n = snprintf(out, PITH_NUMBER_MAX, "%.17g", v);
        return (size_t)n;
    }
    char digits[24];
    unsigned count = (unsigned)snprintf(digits, sizeof digits, "%llu", (unsigned long long)m);
    if (e > count + 4)
        n = snprintf(out, PITH_NUMBER_MAX, "%s%se-%u", sign, digits, e);
    else if (e >= count)
        n = snprintf(out, PITH_NUMBER_MAX, "%s0.%.*d%s", sign, (int)(e - count), 0, digits); /* precision 0: nothing */
    else
        n = snprintf(out, PITH_NUMBER_MAX, "%s%.*s.%s", sign, (int)(count - e), digits, digits + count - e);
    return (size_t)n;
}
