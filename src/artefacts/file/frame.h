/* The .pith frame, byte by byte (docs/format.md): headers, index and tail to bytes and back.
 * No I/O and no coding here.
 *
 * A parser is handed the bytes there are; when they are too few to tell it returns PITH_OK with
 * *used = 0, "come back with more". */
#ifndef FILE_FRAME_H
#define FILE_FRAME_H

#include "artefacts/file/block.h"
#include "pith/file.h"

#define FRAME_MAGIC_BYTES 8
extern const uint8_t frame_magic[FRAME_MAGIC_BYTES], frame_skip_magic[FRAME_MAGIC_BYTES];

#define FRAME_MAJOR 1
#define FRAME_MINOR 0
#define FRAME_NUMERICS_INTEGER 0
#define FRAME_NUMERICS_LANES16 1 /* binary32, 16 lanes, fixed trees: math/math.h */

typedef struct frame_header {
    unsigned major, minor;
    unsigned level; /* 1..9; 0: recipe */
    bool single;    /* one block (none when empty), no index, no tail */
    bool size_known;
    uint8_t numerics;
    uint64_t content_size; /* when known */
    uint64_t memory;       /* bytes to decode one block */
    double ns_per_byte;    /* rough time to decode, per raw byte */
    size_t recipe_n;
    char recipe[PITH_FILE_RECIPE_MAX + 1];
} frame_header;

#define FRAME_HEADER_MAX (FRAME_MAGIC_BYTES + 5 + 2 * PITH_VARINT_MAX + PITH_FILE_RECIPE_MAX + 4)
size_t frame_header_put(uint8_t *dst, const frame_header *h);
pith_status frame_header_get(pith_ctx *ctx, const uint8_t *p, size_t n, frame_header *h, size_t *used);

/* Refuses what the header alone shows to be too much: memory and content limits, hours of decoding
 * (with the default limit only what no codec could need), sizes the archive cannot hold. */
pith_status frame_claims_check(pith_ctx *ctx, const frame_header *h, const pith_decode_options *options,
                               uint64_t content_before);

/* Skippable: magic, length, that many bytes. *length comes from the stream, unchecked. */
#define FRAME_SKIP_MAX (FRAME_MAGIC_BYTES + PITH_VARINT_MAX)
size_t frame_skip_put(uint8_t *dst, uint64_t length);
pith_status frame_skip_get(pith_ctx *ctx, const uint8_t *p, size_t n, uint64_t *length, size_t *used);

/* What the next bytes begin. Neither, for certain: PITH_E_FORMAT. */
typedef enum frame_kind { FRAME_MORE, FRAME_CODED, FRAME_SKIPPABLE } frame_kind;
pith_status frame_kind_get(pith_ctx *ctx, const uint8_t *p, size_t n, frame_kind *kind);

/* In a single-block frame the raw length is the frame's content size and not written again.
 * *end is true when the end mark stands there instead of a block. */
#define FRAME_BLOCK_MAX (5 + 5 * 2 * FILE_MAX_ARGS + 3 * PITH_VARINT_MAX + 8)
size_t frame_block_put(uint8_t *dst, const block_header *b, bool single);
pith_status frame_block_get(pith_ctx *ctx, const uint8_t *p, size_t n, const frame_header *h, block_header *b,
                            bool *end, size_t *used);
#define FRAME_END_MARK 0x0F

/* The index: length of the frame header, {raw length, bytes of archive} of each block, 0, total
 * raw size, XXH3-64 of all raw bytes, check; then the tail: length of the index, magic. */
pith_status frame_index_begin_get(pith_ctx *ctx, const uint8_t *p, size_t n, uint64_t *header_n, size_t *used);
#define FRAME_ENTRY_MAX (2 * PITH_VARINT_MAX)
#define FRAME_INDEX_END_MAX (1 + PITH_VARINT_MAX + 8 + 4)
#define FRAME_TAIL_BYTES 12
size_t frame_entry_put(uint8_t *dst, uint64_t raw_n, uint64_t archive_n);
/* *raw_n = 0: the end of the entries. */
pith_status frame_entry_get(pith_ctx *ctx, const uint8_t *p, size_t n, uint64_t *raw_n, uint64_t *archive_n,
                            size_t *used);
/* The 0 after the last entry, total raw size and hash: all but the check. */
size_t frame_entry_end_put(uint8_t *dst, uint64_t raw_total, uint64_t hash);
/* After the 0. */
pith_status frame_index_end_get(pith_ctx *ctx, const uint8_t *p, size_t n, uint64_t *raw_total, uint64_t *hash,
                                uint32_t *check, size_t *used);
size_t frame_tail_put(uint8_t *dst, uint64_t index_n);
/* p[FRAME_TAIL_BYTES]; false when this is no tail. */
bool frame_tail_get(const uint8_t *p, uint64_t *index_n);

#endif
