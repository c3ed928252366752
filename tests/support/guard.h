/* A buffer with marked bytes behind it, which show writes past its end. After <cmocka.h>. */
#ifndef SUPPORT_GUARD_H
#define SUPPORT_GUARD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD_BYTES = 64, GUARD_MARK = 0xA7 };

/* n bytes, to be freed with free. */
static inline uint8_t *guarded(size_t n) {
    uint8_t *p = malloc(n + GUARD_BYTES);
    assert_non_null(p);
    memset(p, GUARD_MARK, n + GUARD_BYTES);
    return p;
}

/* Nothing was written behind p[n]. */
static inline void assert_guard(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < GUARD_BYTES; i++) assert_int_equal(p[n + i], GUARD_MARK);
}

#endif
