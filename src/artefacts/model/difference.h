/* Exact codes of pieces of tensors, by themselves or as the difference from a base. Private to this folder. */
#ifndef MODEL_DIFFERENCE_H
#define MODEL_DIFFERENCE_H

#include "artefacts/model/archive_parts.h"

/* archive_coding, and */
enum {
    DIFFERENCE_DELTA = ARCHIVE_CODINGS, /* repr_delta_encode */
    DIFFERENCE_BLOCKS, /* of blocks: exclusive or with the base, a byte for the archive_coding, its code */
    DIFFERENCE_CODINGS
};
static inline bool difference_has_base(unsigned coding) { return coding >= DIFFERENCE_DELTA; }

/* Codes src[n] the smallest way; base[n] may be NULL. Never more than n bytes. Appends to out. */
pith_status difference_encode(pith_ctx *ctx, uint32_t type, bool rest, const uint8_t *src, const uint8_t *base,
                              size_t n, unsigned *coding, pith_buffer *out);
/* Uses all of code[code_n]; fills dst[n]. base may be NULL when !difference_has_base(coding). */
pith_status difference_decode(pith_ctx *ctx, uint32_t type, unsigned coding, const uint8_t *code, size_t code_n,
                              const uint8_t *base, uint8_t *dst, size_t n);

#endif
