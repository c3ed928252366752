/* The inside of an open archive, shared by archive.c (the map) and archive_read.c (the content). */
#ifndef FILE_ARCHIVE_H
#define FILE_ARCHIVE_H

#include "artefacts/file/frame.h"

typedef struct archive_block {
    uint64_t offset, content_offset;
    uint32_t archive_n, raw_n, frame;
} archive_block;

typedef struct archive_frame {
    uint64_t offset, size, content_offset;
    size_t first_block;
    char *recipe;
    unsigned level, major, minor;
    uint8_t numerics;
    bool single;
    uint64_t memory;
    double ns_per_byte;
} archive_frame;

typedef struct archive_metadata {
    uint64_t offset, size;
} archive_metadata;

struct pith_archive {
    pith_ctx *ctx;
    pith_decode_options options;
    pith_read_at_fn read_at;
    void *opaque;
    uint64_t size, content_size;
    bool tail_seen; /* the end of the archive has been tried as this frame's end */
    archive_frame *frames;
    size_t n_frames, frames_capacity;
    archive_block *blocks;
    size_t n_blocks, blocks_capacity;
    archive_metadata *metadata;
    size_t n_metadata, metadata_capacity;
    size_t cached_block; /* whose content cached_raw is; SIZE_MAX: none */
    uint8_t *cached_raw;
};

pith_status archive_fetch(pith_archive *a, uint64_t offset, void *dst, size_t n);
/* The header of block i, which must say what the map says. */
pith_status archive_block_header(pith_archive *a, size_t i, block_header *b, size_t *header_n);

#endif
