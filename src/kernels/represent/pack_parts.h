/* What the packers and the exact codes of floats share. Private to this folder. */
#ifndef REPRESENT_PACK_PARTS_H
#define REPRESENT_PACK_PARTS_H

#include "kernels/represent/represent.h"

/* How often each byte occurs. */
void pack_count(const uint8_t *src, size_t n, uint32_t count[256]);
/* The entropy of n symbols with these counts, in bits all together. */
double pack_entropy(const uint32_t *count, size_t n_symbols, size_t n);

/* One frame of zstd after its size. The library's memory is the session's; it is kept from one frame to the next. */
typedef struct pack_zstd {
    pith_ctx *ctx;
    void *encoder, *decoder; /* NULL until the first frame */
} pack_zstd;
pith_status pack_zstd_put(pack_zstd *z, int level, const uint8_t *src, size_t n, pith_buffer *out);
/* Exactly n bytes. PITH_E_FORMAT when the bytes are no such frame. */
pith_status pack_zstd_take(pack_zstd *z, repr_reader *in, uint8_t *dst, size_t n);
void pack_zstd_close(pack_zstd *z);

/* Whether strings of src[n] occur again soon: they do in tables whose rows were never trained, as in text. */
bool pack_repeats(const uint8_t *src, size_t n);
/* src[n] in the smallest of some ways: as it is, one value, Huffman, rANS, and zstd when asked for. */
pith_status pack_bytes_put(pack_zstd *z, const uint8_t *src, size_t n, bool with_zstd, pith_buffer *out);
/* The reverse. *at is where the n bytes are: in `room` (n bytes), or among those read. */
pith_status pack_bytes_take(pack_zstd *z, repr_reader *in, uint8_t *room, size_t n, const uint8_t **at);

#endif
