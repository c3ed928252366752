/* Blocks of GGUF types for the coder gguf: their shape, the fit of their scales, and their bytes. */
#ifndef REPRESENT_SCALAR_GGUF_H
#define REPRESENT_SCALAR_GGUF_H

#include "formats/blocks/blocks.h"
#include "kernels/represent/scalar.h"

enum { GGUF_BLOCK = 256, GGUF_SUBS = 16 };

typedef enum gguf_kind { GGUF_SYMMETRIC, GGUF_AFFINE, GGUF_TABLE } gguf_kind;

/* Element = scale * level - min, level = code - zero (or the table's). */
typedef struct gguf_form {
    tensor_type type;
    unsigned block, sub, n_bytes; /* elements of a block and of what shares a scale; bytes of a block */
    gguf_kind kind;
    int top, zero, least;      /* codes are least..top; the code that means 0 */
    int scale_top, scale_zero; /* scales of K types are integers up to scale_top, stored + scale_zero; 0: halves */
} gguf_form;

/* What a block says beside its codes. */
typedef struct gguf_scales {
    uint16_t d, min;                          /* halves */
    uint8_t scale[GGUF_SUBS], low[GGUF_SUBS]; /* K types, as stored before packing */
} gguf_scales;

/* NULL for types without a form. */
const gguf_form *gguf_form_of(uint32_t type);
/* The scales for x[block] whose squared errors cost cost[block] each. */
void gguf_fit(const gguf_form *f, const float *x, const float *cost, gguf_scales *s);
/* scale and min of each sub-block as a decoder has them. */
void gguf_values(const gguf_form *f, const gguf_scales *s, float *scale, float *min);
/* The bytes of a block. */
void gguf_write(const gguf_form *f, const gguf_scales *s, const uint8_t *codes, uint8_t *out);

PITH_INLINE float gguf_level(const gguf_form *f, unsigned code) {
    return f->kind == GGUF_TABLE ? (float)blocks_iq4nl_values[code] : (float)((int)code - f->zero);
}
/* The code nearest to x; inverse is that of the scale, 0 when that is 0. */
PITH_INLINE unsigned gguf_code(const gguf_form *f, float x, float inverse, float min) {
    float v = (x + min) * inverse;
    if (f->kind == GGUF_TABLE) {
        unsigned code = 0;
        for (unsigned k = 1; k < 16; k++)
            code += v > 0.5f * (float)(blocks_iq4nl_values[k - 1] + blocks_iq4nl_values[k]);
        return code;
    }
    v += (float)f->zero + 0.5f;
    float least = (float)f->least, top = (float)f->top;
    v = v > least ? v : least;
    return (unsigned)(v < top ? v : top);
}

#endif
