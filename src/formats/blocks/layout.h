/* Where the fields lie in each block. Members are bytes only, so a block may start anywhere and
 * the structures have no padding; numbers are little-endian, 16-bit floats are binary16.
 * Source of the layouts: ggml-org/ggml, src/ggml-common.h; MXFP4: OCP Microscaling Formats 1.0. */
#ifndef FORMATS_BLOCKS_LAYOUT_H
#define FORMATS_BLOCKS_LAYOUT_H

#include "base/base.h"

enum { SMALL_BLOCK = 32, SUPER_BLOCK = 256 }; /* elements */

/* clang-format off */
/* Of 32 elements. Nibbles: byte j has element j below and element j + 16 above; bit i of the
 * little-endian number `high` is the fifth bit of element i. */
typedef struct { uint8_t d[2], nibbles[16]; } q4_0_block;
typedef struct { uint8_t d[2], min[2], nibbles[16]; } q4_1_block;
typedef struct { uint8_t d[2], high[4], nibbles[16]; } q5_0_block;
typedef struct { uint8_t d[2], min[2], high[4], nibbles[16]; } q5_1_block;
typedef struct { uint8_t d[2], q[32]; } q8_0_block;
typedef struct { uint8_t d[2], sum[2], q[32]; } q8_1_block; /* sum: d times the sum of q */
typedef struct { uint8_t exponent, nibbles[16]; } mxfp4_block;
typedef struct { uint8_t d[2], nibbles[16]; } iq4_nl_block;

/* Of 256 elements. */
typedef struct { uint8_t scales[16], q[64], d[2], min[2]; } q2_k_block; /* 4-bit scale below, minimum above */
typedef struct { uint8_t high[32], low[64], scales[12], d[2]; } q3_k_block; /* 6-bit scales */
typedef struct { uint8_t d[2], min[2], scales[12], nibbles[128]; } q4_k_block; /* 6-bit scales and minima */
typedef struct { uint8_t d[2], min[2], scales[12], high[32], nibbles[128]; } q5_k_block;
typedef struct { uint8_t low[128], high[64], scales[16], d[2]; } q6_k_block; /* 8-bit scales */
typedef struct { uint8_t d[4], q[256], sums[32]; } q8_k_block; /* d: binary32; 16 16-bit sums of 16 q */
typedef struct { uint8_t trits[48], tail[4], d[2]; } tq1_0_block; /* five, in tail four, to a byte */
typedef struct { uint8_t q[64], d[2]; } tq2_0_block;
typedef struct { uint8_t d[2], index[32], high[16]; } iq1_s_block; /* high: 4 * 3 index bits, scale, shift */
typedef struct { uint8_t index[32], high[16], scales[8]; } iq1_m_block; /* d in the top nibbles of the scales */
typedef struct { uint8_t d[2], groups[8][8]; } iq2_xxs_block; /* 4 indices; 4 * 7 signs, 4-bit scale */
typedef struct { uint8_t d[2], index[64], scales[8]; } iq2_xs_block; /* 9-bit index, 7 signs */
typedef struct { uint8_t d[2], index[32], signs[32], high[8], scales[8]; } iq2_s_block;
typedef struct { uint8_t d[2], index[64], groups[8][4]; } iq3_xxs_block; /* groups: 4 * 7 signs, 4-bit scale */
typedef struct { uint8_t d[2], index[64], high[8], signs[32], scales[4]; } iq3_s_block;
typedef struct { uint8_t d[2], scales_high[2], scales_low[4], nibbles[128]; } iq4_xs_block;
/* clang-format on */

/* The 8 six-bit scales and 8 six-bit minima of Q4_K and Q5_K: the first four of each in the low
 * bits of bytes 0..7, the low nibbles of the rest in bytes 8..11, their top bits over the first. */
PITH_INLINE void k_scale_get(const uint8_t s[12], unsigned j, uint8_t *scale, uint8_t *min) {
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (uint8_t)((s[j + 4] & 15) | s[j - 4] >> 6 << 4);
        *min = (uint8_t)(s[j + 4] >> 4 | s[j] >> 6 << 4);
    }
}

#endif
