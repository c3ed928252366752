/* Element types of tensors, ggml's block formats among them: how many elements share how many
 * bytes, and what floats they mean. Decoding gives the same bits as ggml's reference code on
 * every machine: half floats widen exactly, products are single operations in ggml's order.
 * Source of the layouts: ggml-org/ggml, ggml-common.h and ggml-quants.c (formats are facts). */
#ifndef FORMATS_BLOCKS_BLOCKS_H
#define FORMATS_BLOCKS_BLOCKS_H

#include "base/base.h"

/* ggml's numbers, as GGUF files write them. Types that GGUF lacks start at 1000. */
typedef enum tensor_type {
    TENSOR_F32 = 0, TENSOR_F16 = 1, TENSOR_Q4_0 = 2, TENSOR_Q4_1 = 3, TENSOR_Q5_0 = 6, TENSOR_Q5_1 = 7,
    TENSOR_Q8_0 = 8, TENSOR_Q8_1 = 9, TENSOR_Q2_K = 10, TENSOR_Q3_K = 11, TENSOR_Q4_K = 12, TENSOR_Q5_K = 13,
    TENSOR_Q6_K = 14, TENSOR_Q8_K = 15, TENSOR_IQ2_XXS = 16, TENSOR_IQ2_XS = 17, TENSOR_IQ3_XXS = 18,
    TENSOR_IQ1_S = 19, TENSOR_IQ4_NL = 20, TENSOR_IQ3_S = 21, TENSOR_IQ2_S = 22, TENSOR_IQ4_XS = 23,
    TENSOR_I8 = 24, TENSOR_I16 = 25, TENSOR_I32 = 26, TENSOR_I64 = 27, TENSOR_F64 = 28, TENSOR_IQ1_M = 29,
    TENSOR_BF16 = 30, TENSOR_TQ1_0 = 34, TENSOR_TQ2_0 = 35, TENSOR_MXFP4 = 39,
    TENSOR_U8 = 1000, TENSOR_U16 = 1001, TENSOR_U32 = 1002, TENSOR_U64 = 1003, TENSOR_BOOL = 1004,
    TENSOR_F8_E4M3 = 1005, TENSOR_F8_E5M2 = 1006
} tensor_type;

typedef struct tensor_type_info {
    tensor_type type;
    const char *name;     /* "q4_K", as ggml spells it */
    uint32_t block;       /* elements */
    uint32_t block_bytes;
    bool in_gguf;
} tensor_type_info;

/* NULL when the number or name is unknown (names: letter case does not matter). */
const tensor_type_info *tensor_type_of(uint32_t type);
const tensor_type_info *tensor_type_named(const char *name, size_t name_n);
/* Bytes of n elements; false when n is no whole number of blocks or the product overflows. */
bool tensor_type_bytes(uint32_t type, uint64_t n, uint64_t *bytes);

/* dst[n] = the floats that n elements at src mean; n a whole number of blocks. src needs no
 * alignment. Integers and doubles are rounded to the nearest float. The type must be known.
 * Blocks that blocks_valid accepts give the same bits everywhere; of others, F32, F16 and BF16 do
 * too, and what is a NaN in the rest is one everywhere, with the processor's sign and payload. */
void blocks_decode(tensor_type type, const uint8_t *src, float *dst, size_t n);
/* Whether every scale in the blocks is finite (NaN and infinity in plain floats count too; in
 * MXFP4 the exponent 255 means NaN); otherwise *bad is the index of the first bad block, and
 * while all are good *bad is left alone. The type must be known. */
bool blocks_valid(tensor_type type, const uint8_t *src, size_t n_blocks, size_t *bad);

/* Encoders without importance weights, byte for byte what ggml's quantization of a tensor without
 * an importance matrix gives (quantize_row_*_ref; for IQ4_NL and IQ4_XS quantize_iq4_*): F32, F16,
 * BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_K, Q2_K to Q6_K, IQ4_NL, IQ4_XS, TQ1_0, TQ2_0, MXFP4,
 * IQ2_S, IQ3_XXS, IQ3_S, IQ1_M. (After a group of 32 zeros in an IQ3_S block of other numbers ggml,
 * as of 0.25.1, puts the indices in wrong places; here they are where decoders look.) False for
 * others. n is a whole number of blocks; dst holds tensor_type_bytes. NaN and infinity in src are no
 * errors here (look for them with blocks_valid on the floats): they cost their block its values, and
 * perhaps a finite scale. */
bool blocks_encode(tensor_type type, const float *src, uint8_t *dst, size_t n);
/* The same for a matrix [rows][cols] with the importance of each column (mean x^2 of its inputs; NULL: without), byte
 * for byte what ggml_quantize_chunk gives with an importance matrix: errors are weighted with it in Q4_0, Q4_1, Q5_0,
 * Q5_1, Q2_K to Q6_K and all IQ types; IQ2_XXS, IQ2_XS and IQ1_S are not written without, the other types know none.
 * cols is a whole number of blocks. */
bool blocks_encode_weighted(tensor_type type, const float *src, const float *importance, uint8_t *dst, size_t rows,
                            size_t cols);

float half_to_float(uint16_t h);   /* exact; a NaN keeps its payload and becomes quiet */
uint16_t float_to_half(float f);   /* to nearest, ties to even; overflow gives infinity, NaN 0x7e00 | sign */
float bfloat_to_float(uint16_t h); /* the same bits, NaNs included */
uint16_t float_to_bfloat(float f); /* to nearest, ties to even; a NaN keeps its upper bits and becomes quiet */
/* The lattice tables of the IQ types, for products that work on the blocks directly: coordinates a
 * byte each, the first in the lowest; those of iq1s are signed, of the others multiplied by signs. */
extern const uint64_t blocks_iq2xxs_grid[256], blocks_iq2xs_grid[512], blocks_iq2s_grid[1024];
extern const uint32_t blocks_iq3xxs_grid[256], blocks_iq3s_grid[512];
extern const uint64_t blocks_iq1s_grid[2048];
extern const uint8_t blocks_iq2_signs[128]; /* 7 bits -> 8 signs of even parity */
extern const int8_t blocks_iq4nl_values[16];

#endif
