/* A virtual vector of 16 floats as four of four, in the vectors that GNU C has for every processor: gcc
 * and clang make SSE2 or NEON of them. No intrinsics; every lane rounds as a single float does. */
#ifndef MATH_LANES_FOUR_H
#define MATH_LANES_FOUR_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "math/lanes.h"

#define ROWS_AT_ONCE 2
#define COLUMNS_AT_ONCE 1 /* vectors of 16, in blocks of ROWS_AT_ONCE rows */
#define COLUMNS_OF_ONE 2  /* the same for a single row */

typedef float f4 __attribute__((vector_size(16)));
typedef int32_t i4 __attribute__((vector_size(16)));
typedef struct {
    f4 a, b, c, d;
} v16;
typedef struct {
    i4 a, b, c, d;
} i16x;
typedef i16x m16; /* all ones or all zeros per lane */

/* name(x, y): x operation y in each lane. */
#define LANES_OF_2(name, to, from, operation)                                                                          \
    LANE to name(from x, from y) {                                                                                     \
        return (to){x.a operation y.a, x.b operation y.b, x.c operation y.c, x.d operation y.d};                       \
    }

LANE v16 v_set(float x) {
    f4 all = {x, x, x, x};
    return (v16){all, all, all, all};
}
LANE v16 v_load(const float *p) {
    v16 x;
    memcpy(&x.a, p, sizeof x.a);
    memcpy(&x.b, p + 4, sizeof x.b);
    memcpy(&x.c, p + 8, sizeof x.c);
    memcpy(&x.d, p + 12, sizeof x.d);
    return x;
}
LANE void v_store(float *p, v16 x) {
    memcpy(p, &x.a, sizeof x.a);
    memcpy(p + 4, &x.b, sizeof x.b);
    memcpy(p + 8, &x.c, sizeof x.c);
    memcpy(p + 12, &x.d, sizeof x.d);
}
/* the first n < 16 lanes, the others 0 */
LANE v16 v_load_n(const float *p, size_t n) {
    float part[16] = {0};
    memcpy(part, p, n * sizeof *p);
    return v_load(part);
}
LANE void v_store_n(float *p, v16 x, size_t n) {
    float part[16];
    v_store(part, x);
    memcpy(p, part, n * sizeof *p);
}

LANES_OF_2(v_add, v16, v16, +)
LANES_OF_2(v_sub, v16, v16, -)
LANES_OF_2(v_mul, v16, v16, *)
LANES_OF_2(v_div, v16, v16, /)
LANES_OF_2(v_less, m16, v16, <)
LANES_OF_2(v_equal, m16, v16, ==)
LANES_OF_2(i_add, i16x, i16x, +)
LANES_OF_2(i_sub, i16x, i16x, -)
LANES_OF_2(i_and, i16x, i16x, &)
LANES_OF_2(i_or, i16x, i16x, |)
LANE m16 v_is_nan(v16 x) { return (m16){x.a != x.a, x.b != x.b, x.c != x.c, x.d != x.d}; }
LANE v16 v_sqrt(v16 x) {
    float lane[16];
    v_store(lane, x);
    for (int i = 0; i < 16; i++) lane[i] = sqrtf(lane[i]);
    return v_load(lane);
}
LANE i16x i_set(int x) {
    i4 all = {x, x, x, x};
    return (i16x){all, all, all, all};
}
LANE i16x i_bits(v16 x) { return (i16x){(i4)x.a, (i4)x.b, (i4)x.c, (i4)x.d}; }
LANE v16 v_bits(i16x x) { return (v16){(f4)x.a, (f4)x.b, (f4)x.c, (f4)x.d}; }
LANE v16 v_from_int(i16x x) {
    return (v16){__builtin_convertvector(x.a, f4), __builtin_convertvector(x.b, f4), __builtin_convertvector(x.c, f4),
                 __builtin_convertvector(x.d, f4)};
}
#define i_left(x, n) ((i16x){(x).a << (n), (x).b << (n), (x).c << (n), (x).d << (n)})
#define i_right(x, n) ((i16x){(x).a >> (n), (x).b >> (n), (x).c >> (n), (x).d >> (n)})
/* x where m, else 0 */
LANE i16x i_keep(m16 m, i16x x) { return i_and(m, x); }
/* m ? x : y */
LANE v16 v_choose(m16 m, v16 x, v16 y) {
    i16x t = i_bits(x), f = i_bits(y);
    return v_bits((i16x){(m.a & t.a) | (~m.a & f.a), (m.b & t.b) | (~m.b & f.b), (m.c & t.c) | (~m.c & f.c),
                         (m.d & t.d) | (~m.d & f.d)});
}

/* Halves (IEEE 754 binary16) as floats: sign, exponent and mantissa put in place mean the number times 2^-112, and
 * the product is exact, of subnormals too; the largest exponent becomes the largest again. */
LANE f4 f_half(i4 h) {
    const float scale = 5192296858534827628530496329220096.0f; /* 2^112 */
    i4 placed = (h << 16 >> 3) & (int)0x8fffe000;
    i4 endless = (placed & 0x0f800000) == 0x0f800000;
    return (f4)((i4)((f4)placed * scale) | (endless & 0x7f800000));
}
LANE v16 v_load_half(const uint16_t *p) {
    int32_t wide[16]; /* by way of memory in name only: compilers make one or two moves of it */
    for (int i = 0; i < 16; i++) wide[i] = p[i];
    i16x h;
    memcpy(&h.a, wide, sizeof h.a);
    memcpy(&h.b, wide + 4, sizeof h.b);
    memcpy(&h.c, wide + 8, sizeof h.c);
    memcpy(&h.d, wide + 12, sizeof h.d);
    return (v16){f_half(h.a), f_half(h.b), f_half(h.c), f_half(h.d)};
}

LANE float v_tree(v16 x) {
    float lane[4];
    f4 sum = (x.a + x.c) + (x.b + x.d); /* i + 8, then i + 4 */
    memcpy(lane, &sum, sizeof lane);
    return (lane[0] + lane[2]) + (lane[1] + lane[3]);
}

LANE void transpose_8x8(float *y, size_t rows, const float *x, size_t cols) {
    for (size_t i = 0; i < 8; i++)
        for (size_t j = 0; j < 8; j++) y[j * rows + i] = x[i * cols + j];
}

#endif
