/* Cheap statistics of a block: what it seems to be. Integers only, so that every machine
 * makes the same choices. Private to the file artefact. */
#ifndef FILE_DETECT_H
#define FILE_DETECT_H

#include "base/base.h"

enum { DETECT_DISTANCE_MAX = 1024 };

typedef struct detect_result {
    uint32_t entropy_millibits; /* order 0, per byte: 0..8000 */
    uint32_t text_permille;     /* bytes that text is made of: letters, digits, blanks, marks, UTF-8 */
    uint32_t letters_permille;
    uint32_t capitals_permille; /* of the letters */
    uint32_t x86_calls;         /* near calls and jumps per 64 KiB whose displacement is plausible; 0: no code */
} detect_result;

void detect_block(const uint8_t *src, size_t n, detect_result *out);

/* The shortest distance in bytes, 2..DETECT_DISTANCE_MAX, at which equal bytes are clearly more frequent
 * than at others: the length of a record or number. 0: none. About a millisecond. */
uint32_t detect_distance(const uint8_t *src, size_t n);

/* log2(x) in 1/65536ths; x >= 1. */
uint32_t detect_log2(uint32_t x);
/* Bits, in 1/65536ths, that counts[256] of `total` symbols cost with an adaptive order-0 code. */
uint64_t detect_entropy(const uint32_t *counts, uint32_t total);

/* Pieces from all over raw[n], at most `most` bytes together (64 KiB or more), or all of it. They begin where records
 * begin, for most lengths of records. Free with detect_sample_free. */
typedef struct detect_sample {
    const uint8_t *data;
    size_t n;
    uint8_t *own; /* NULL: the raw bytes themselves */
} detect_sample;
pith_status detect_sample_take(pith_ctx *ctx, const uint8_t *raw, size_t n, size_t most, detect_sample *sample);
void detect_sample_free(pith_ctx *ctx, detect_sample *sample);

/* How many bytes of a block front ends try first. */
enum { DETECT_TRIAL = 128 * 1024 };

/* Whether after[n], made from before[n], is clearly harder to compress for a fast coder of repeats:
 * then a transform has torn apart what belongs together. */
pith_status detect_spoils(pith_ctx *ctx, const uint8_t *before, const uint8_t *after, size_t n, bool *spoils);

#endif
