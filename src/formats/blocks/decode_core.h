/* The decoders, compiled once for any machine and once for AVX2: the same C, so the same bits.
 * DECODER_TABLE names the table that the including file defines. */
#include "formats/blocks/parts.h"

/* In this order. */
#include "formats/blocks/decode_emit.h"

#include "formats/blocks/decode_plain.h"

#include "formats/blocks/decode_small.h"

#include "formats/blocks/decode_super.h"

#include "formats/blocks/decode_lattice.h"

#define DECODER(type, name) [TYPE_SLOT(TENSOR_##type)] = name##_decode

const block_decoder DECODER_TABLE[TYPE_SLOTS] = {
    DECODER(F32, f32),         DECODER(F16, f16),         DECODER(BF16, bf16),       DECODER(F64, f64),
    DECODER(I8, i8),           DECODER(I16, i16),         DECODER(I32, i32),         DECODER(I64, i64),
    DECODER(U8, u8),           DECODER(U16, u16),         DECODER(U32, u32),         DECODER(U64, u64),
    DECODER(BOOL, bool),       DECODER(F8_E4M3, f8_e4m3), DECODER(F8_E5M2, f8_e5m2), DECODER(Q4_0, q4_0),
    DECODER(Q4_1, q4_1),       DECODER(Q5_0, q5_0),       DECODER(Q5_1, q5_1),       DECODER(Q8_0, q8_0),
    DECODER(Q8_1, q8_1),       DECODER(MXFP4, mxfp4),     DECODER(IQ4_NL, iq4_nl),   DECODER(Q2_K, q2_k),
    DECODER(Q3_K, q3_k),       DECODER(Q4_K, q4_k),       DECODER(Q5_K, q5_k),       DECODER(Q6_K, q6_k),
    DECODER(Q8_K, q8_k),       DECODER(TQ1_0, tq1_0),     DECODER(TQ2_0, tq2_0),     DECODER(IQ1_S, iq1_s),
    DECODER(IQ1_M, iq1_m),     DECODER(IQ2_XXS, iq2_xxs), DECODER(IQ2_XS, iq2_xs),   DECODER(IQ2_S, iq2_s),
    DECODER(IQ3_XXS, iq3_xxs), DECODER(IQ3_S, iq3_s),     DECODER(IQ4_XS, iq4_xs),
};
