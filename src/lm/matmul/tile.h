/* Products of many tokens: a tile of rows is unpacked once, four bytes of each row in turn, so
 * that a vector lane is a row and one broadcast of four activation bytes meets all rows of the
 * tile; then all tokens pass by, MATMUL_TOKEN_TILE at a time. The including file defines
 *   LANES, vi, vf              rows of a tile, vectors of int32 and float
 *   VI_SET1 VI_LOAD VI_ADD VI_MUL VI_CVT VF_SET1 VF_ADD VF_SUB VF_MUL VF_ZERO
 *   VF_LOAD_ROWS VF_STORE_ROWS (pointer[, value], rows present)
 *   weights, WEIGHTS, DOT      vector of weight bytes, its load, s + sum of 4 products
 *   DOT16                      s + sum of 2 products of int16
 *   INTERLEAVE(to, from, n)    n dwords of each of LANES rows without gaps, transposed; n a multiple of 16
 *   TILE_TOKENS                tokens in registers at once: 8 or 4
 *   TILE_TARGET                function attributes */
#ifndef LM_MATMUL_TILE_H
#define LM_MATMUL_TILE_H

#include "lm/matmul/forms.h"

#define TILE_COLS 1024 /* unpacked at once: the tile stays in the first-level cache */

typedef struct row_tile {
    _Alignas(64) uint32_t q[TILE_COLS / 4][LANES];
    /* Always 16 dwords of a row are written, past those of the block too. */
    _Alignas(64) int32_t scale[TILE_COLS / 16][LANES];
    _Alignas(64) int16_t min[TILE_COLS / 32 + 8][LANES][2];
    _Alignas(64) float d[TILE_COLS / 32][LANES];
    _Alignas(64) float m[TILE_COLS / 32][LANES];
} row_tile;

#define TILE_BODY TILE_TARGET static inline __attribute__((always_inline)) void

/* Columns [c0, c0 + n) of rows [row, row + n_rows) of blocks of 256; rows missing from the tile are zeros. */
TILE_BODY unpack_blocks256(row_tile *tile, const lm_matrix *w, const matmul_form *form, size_t row, size_t n_rows,
                           size_t c0, size_t n) {
    matmul_unpack_fn unpack = unpacker(form->type);
    size_t groups = 256 / form->group;
    _Alignas(64) uint8_t rows[LANES][256];
    _Alignas(64) int32_t scale[LANES][16];
    _Alignas(64) int16_t min[LANES][32]; /* the second half is never read back */
    memset(rows, 0, sizeof rows);
    memset(scale, 0, sizeof scale);
    memset(min, 0, sizeof min);
    for (size_t b = 0; b < n / 256; b++) {
        for (size_t r = 0; r < n_rows; r++) {
            matmul_scales u;
            unpack(w->data + (row + r) * w->row_bytes + (c0 / 256 + b) * form->block_bytes, rows[r], &u);
            tile->d[b][r] = u.d;
            if (form->mins) {
                tile->m[b][r] = u.m;
                memcpy(min[r], u.min, sizeof u.min);
            }
            for (size_t g = 0; g < groups; g++) scale[r][g] = u.scale[g];
        }
        INTERLEAVE(tile->q + b * 64, rows, 64);
        INTERLEAVE(tile->scale + b * groups, scale, 16);
        if (form->mins) INTERLEAVE(tile->min + b * (groups / 2), min, 16);
    }
}

/* The same for blocks of 32; `unpack` is a constant, for no time is left for a call. */
TILE_BODY unpack_blocks32(row_tile *tile, const lm_matrix *w, const matmul_form *form, size_t row, size_t n_rows,
                          size_t c0, size_t n, const matmul_unpack_fn unpack, const bool mins) {
    _Alignas(64) uint8_t rows[LANES][256];
    memset(rows, 0, sizeof rows);
    for (size_t c = 0; c < n; c += 256) {
        size_t here = PITH_MIN(n - c, 256) / 32;
        for (size_t r = 0; r < n_rows; r++) {
            const uint8_t *b = w->data + (row + r) * w->row_bytes + (c0 + c) / 32 * form->block_bytes;
            for (size_t i = 0; i < here; i++) {
                matmul_scales u;
                unpack(b + i * form->block_bytes, rows[r] + i * 32, &u);
                tile->d[c / 32 + i][r] = u.d;
                if (mins) tile->m[c / 32 + i][r] = u.m;
            }
        }
        INTERLEAVE(tile->q + c / 4, rows, 64);
    }
}

TILE_TARGET static void tile_unpack(row_tile *tile, const lm_matrix *w, const matmul_form *form, size_t row,
                                    size_t n_rows, size_t c0, size_t n) {
    if (n_rows < LANES) {
        memset(tile->d, 0, sizeof tile->d);
        memset(tile->m, 0, sizeof tile->m);
    }
#define BLOCKS32(unpack, mins) unpack_blocks32(tile, w, form, row, n_rows, c0, n, unpack, mins)
    switch ((int)form->type) {
    case TENSOR_Q8_0: BLOCKS32(unpack_q8_0, false); break;
    case TENSOR_Q4_0: BLOCKS32(unpack_q4_0, false); break;
    case TENSOR_Q4_1: BLOCKS32(unpack_q4_1, true); break;
    case TENSOR_Q5_0: BLOCKS32(unpack_q5_0, false); break;
    case TENSOR_Q5_1: BLOCKS32(unpack_q5_1, true); break;
    case TENSOR_IQ4_NL: BLOCKS32(unpack_iq4_nl, false); break;
    case TENSOR_MXFP4: BLOCKS32(unpack_mxfp4, false); break;
    default: unpack_blocks256(tile, w, form, row, n_rows, c0, n);
    }
#undef BLOCKS32
}

/* Tokens [lane, lane + tokens) of the token tile at `first`, over n columns from c0. */
typedef struct tile_job {
    const row_tile *tile;
    const lm_activations *a;
    float *y; /* [tokens][y_stride], of the tile's first row and of token `first + lane` */
    size_t y_stride, n_rows, first, lane, c0, n;
} tile_job;

TILE_BODY tile_blocks32(const tile_job *j, const int tokens, const size_t tile, bool mins, bool wide) {
    const lm_activations *a = j->a;
    size_t b0 = j->c0 / 32;
    const int8_t *x = a->q + j->first * a->q_stride + (j->c0 * tile + j->lane * 4);
    const float *scale = a->scale + j->first * a->n_blocks + b0 * tile + j->lane;
    const float *scaled_sum = a->scaled_sum + j->first * a->n_blocks + b0 * tile + j->lane;
    const int32_t *zeros = a->zeros + j->first * a->n_blocks + b0 * tile + j->lane;
    const uint32_t(*q)[LANES] = j->tile->q;
    vf out[TILE_TOKENS];
    for (int t = 0; t < tokens; t++) out[t] = j->c0 ? VF_LOAD_ROWS(j->y + (size_t)t * j->y_stride, j->n_rows) : VF_ZERO;
    for (size_t b = 0; b < j->n / 32; b++) {
        vi s[TILE_TOKENS];
#pragma GCC unroll 8
        for (int t = 0; t < tokens; t++) s[t] = DOT_START(zeros[t], wide);
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++) {
            weights v = WEIGHTS(q[k], wide);
#pragma GCC unroll 8
            for (int t = 0; t < tokens; t++) s[t] = DOT(s[t], v, x + ((size_t)k * tile + (size_t)t) * 4, wide);
        }
        vf d = VF_LOAD(j->tile->d[b]);
#pragma GCC unroll 8
        for (int t = 0; t < tokens; t++) {
            vf p = VF_MUL(VI_CVT(s[t]), VF_MUL(d, VF_SET1(scale[t])));
            if (mins) p = VF_ADD(p, VF_MUL(VF_LOAD(j->tile->m[b]), VF_SET1(scaled_sum[t])));
            out[t] = VF_ADD(out[t], p);
        }
        q += 8;
        x += 32 * tile;
        zeros += tile;
        scale += tile;
        scaled_sum += tile;
    }
    for (int t = 0; t < tokens; t++) VF_STORE_ROWS(j->y + (size_t)t * j->y_stride, out[t], j->n_rows);
}

TILE_BODY tile_blocks256(const tile_job *j, const int tokens, const size_t tile, const int group, bool mins,
                         bool wide) {
    const lm_activations *a = j->a;
    size_t b0 = j->c0 / 256, groups = (size_t)(256 / group);
    const int8_t *x = a->q + j->first * a->q_stride + (j->c0 * tile + j->lane * 4);
    const float *scale = a->scale + j->first * a->n_blocks + b0 * tile + j->lane;
    const int32_t *zeros = a->zeros + j->first * a->n_groups + b0 * groups * tile + j->lane;
    const int16_t *sums = a->sums + j->first * a->n_groups + b0 * groups * tile + j->lane * 2;
    const uint32_t(*q)[LANES] = j->tile->q;
    const int32_t(*group_scale)[LANES] = j->tile->scale;
    const int16_t(*min)[LANES][2] = j->tile->min;
    vf out[TILE_TOKENS];
    for (int t = 0; t < tokens; t++) out[t] = j->c0 ? VF_LOAD_ROWS(j->y + (size_t)t * j->y_stride, j->n_rows) : VF_ZERO;
    for (size_t b = 0; b < j->n / 256; b++) {
        vi total[TILE_TOKENS], s[TILE_TOKENS];
#pragma GCC unroll 8
        for (int t = 0; t < tokens; t++) total[t] = VI_SET1(0);
#pragma GCC unroll 1
        for (size_t g = 0; g < groups; g++) {
#pragma GCC unroll 8
            for (int t = 0; t < tokens; t++) s[t] = DOT_START(zeros[t], wide);
#pragma GCC unroll 8
            for (int k = 0; k < group / 4; k++) {
                weights v = WEIGHTS(q[k], wide);
#pragma GCC unroll 8
                for (int t = 0; t < tokens; t++) s[t] = DOT(s[t], v, x + ((size_t)k * tile + (size_t)t) * 4, wide);
            }
            vi gs = VI_LOAD(*group_scale++);
#pragma GCC unroll 8
            for (int t = 0; t < tokens; t++) total[t] = VI_ADD(total[t], VI_MUL(gs, s[t]));
            q += group / 4;
            x += (size_t)group * tile;
            zeros += tile;
        }
        vf d = VF_LOAD(j->tile->d[b]), product[TILE_TOKENS];
#pragma GCC unroll 8
        for (int t = 0; t < tokens; t++) {
            vf p = VF_MUL(VI_CVT(total[t]), VF_MUL(d, VF_SET1(scale[t])));
            if (mins)
                product[t] = p;
            else
                out[t] = VF_ADD(out[t], p);
        }
        if (mins) {
            vf m = VF_LOAD(j->tile->m[b]);
#pragma GCC unroll 8
            for (int t = 0; t < tokens; t++) s[t] = VI_SET1(0);
#pragma GCC unroll 1
            for (size_t g = 0; g < groups; g += 2) {
                vi v = VI_LOAD(*min++);
#pragma GCC unroll 8
                for (int t = 0; t < tokens; t++) s[t] = DOT16(s[t], v, sums + (size_t)t * 2);
                sums += 2 * tile;
            }
#pragma GCC unroll 8
            for (int t = 0; t < tokens; t++)
                out[t] = VF_ADD(out[t], VF_SUB(product[t], VF_MUL(VI_CVT(s[t]), VF_MUL(m, VF_SET1(scale[t])))));
        }
        scale += tile;
    }
    for (int t = 0; t < tokens; t++) VF_STORE_ROWS(j->y + (size_t)t * j->y_stride, out[t], j->n_rows);
}

/* Every kind of block, for a constant number of tokens. */
TILE_BODY tile_any(const tile_job *j, const matmul_form *form, const int tokens, const size_t tile) {
    bool wide = form->zero == 128;
    if (form->elements == 32) {
        if (form->mins)
            tile_blocks32(j, tokens, tile, true, false);
        else if (wide)
            tile_blocks32(j, tokens, tile, false, true);
        else
            tile_blocks32(j, tokens, tile, false, false);
    } else if (form->group == 32) {
        if (form->mins)
            tile_blocks256(j, tokens, tile, 32, true, false);
        else if (wide)
            tile_blocks256(j, tokens, tile, 32, false, true);
        else
            tile_blocks256(j, tokens, tile, 32, false, false);
    } else if (form->mins)
        tile_blocks256(j, tokens, tile, 16, true, false);
    else
        tile_blocks256(j, tokens, tile, 16, false, false);
}

TILE_TARGET static void tile_full(const tile_job *j, const matmul_form *form) {
    tile_any(j, form, TILE_TOKENS, MATMUL_TOKEN_TILE);
}
TILE_TARGET static void tile_half(const tile_job *j, const matmul_form *form) {
    tile_any(j, form, 4, MATMUL_TOKEN_TILE);
}
TILE_TARGET static void tile_pair(const tile_job *j, const matmul_form *form) {
    tile_any(j, form, 2, MATMUL_TOKEN_TILE);
}
TILE_TARGET static void tile_one(const tile_job *j, const matmul_form *form) {
    tile_any(j, form, 1, MATMUL_TOKEN_TILE);
}
TILE_TARGET static void tile_alone(const tile_job *j, const matmul_form *form) { tile_any(j, form, 1, 1); }

/* All tokens with rows [row0, row1). Columns outermost: the activations of a range of columns stay
 * in the second-level cache while the rows pass. */
TILE_TARGET static void tile_rows(const lm_matrix *w, const lm_activations *a, float *y, size_t y_stride, size_t row0,
                                  size_t row1) {
    row_tile tile;
    for (size_t c0 = 0; c0 < a->n_cols; c0 += TILE_COLS) {
        size_t n = PITH_MIN(a->n_cols - c0, TILE_COLS);
        for (size_t r = row0; r < row1; r += LANES) {
            size_t n_rows = PITH_MIN(row1 - r, LANES);
            tile_unpack(&tile, w, a->form, r, n_rows, c0, n);
            for (size_t t = 0; t < a->n_tokens;) {
                size_t lane = t % a->tile, left = PITH_MIN(a->n_tokens - t, a->tile - lane);
                tile_job j = {&tile, a, y + t * y_stride + r, y_stride, n_rows, t - lane, lane, c0, n};
                if (a->tile == 1) {
                    tile_alone(&j, a->form);
                    t++;
                } else if (left >= TILE_TOKENS) {
                    tile_full(&j, a->form);
                    t += TILE_TOKENS;
                } else if (left >= 4) {
                    tile_half(&j, a->form);
                    t += 4;
                } else if (left >= 2) {
                    tile_pair(&j, a->form);
                    t += 2;
                } else {
                    tile_one(&j, a->form);
                    t++;
                }
            }
        }
    }
}

#endif
