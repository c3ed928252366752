/* One block: what its header says, and its way from raw bytes to coded bytes and back.
 *
 *   raw --front end--> transformed --codec--> coded
 *
 * Blocks know nothing of each other, which gives random access and parallel decoding. */
#ifndef FILE_BLOCK_H
#define FILE_BLOCK_H

#include "artefacts/file/codec.h"

#define BLOCK_RAW_MAX ((size_t)1 << 26)
/* A front end may make a block longer, within reason. */
#define BLOCK_TRANSFORMED_MAX(raw_n) (2 * (raw_n) + 4096)
/* What any front end takes per raw byte, roughly. */
#define BLOCK_FRONT_NS 5

typedef struct block_header {
    const file_codec *codec;
    file_args codec_args;
    const file_front *front; /* NULL: none */
    file_args front_args;
    size_t raw_n;
    size_t transformed_n; /* raw_n without a front end */
    size_t coded_n;       /* 1 .. raw_n */
    uint64_t hash;        /* XXH3-64 of the raw bytes */
} block_header;

/* By id in the stream; NULL when this build has none. */
const file_codec *block_codec(unsigned id);
const file_front *block_front(unsigned id);

/* Bytes that decoding takes, all buffers counted; and a rough time. */
uint64_t block_decode_memory(const block_header *h);
double block_decode_ns(const block_header *h);

/* Decodes coded[h->coded_n] into raw[h->raw_n] and compares the hash. */
pith_status block_decode(pith_ctx *ctx, const block_header *h, const uint8_t *coded, uint8_t *raw);

/* "x86(arg, ...) | lzma(9)" for people; always ends with NUL. */
void block_recipe(const block_header *h, char *out, size_t out_size);

/* Time is refused like memory: an archive may ask for `max_seconds`, or, when that is 0, for one
 * minute plus a tenth of a second per archive byte. The encoder keeps its blocks within the
 * second rule (block_time_is_fair), so its archives decode with default limits. */
#define BLOCK_FREE_NS 60e9
#define BLOCK_NS_PER_CODED_BYTE 1e8
/* The second rule where the session was given a language model (pith_lm_use): who names a model asks for its
 * time, which is milliseconds a byte, and the better it codes the fewer bytes there are to allow for. */
#define BLOCK_NS_PER_MODEL_BYTE 1e10
double block_ns_per_coded_byte(pith_ctx *ctx);
typedef struct block_time {
    double max_seconds;
    double spent_ns;
    double coded_bytes;
} block_time;
/* PITH_E_LIMIT when `ns` more for `coded_bytes` more would pass the limit; else adds them. */
pith_status block_time_spend(pith_ctx *ctx, block_time *t, double ns, double coded_bytes);
bool block_time_is_fair(pith_ctx *ctx, const block_header *h, bool first_of_frame);

/* Puts "where: " in front of the message of a failure. */
pith_status block_where(pith_ctx *ctx, pith_status status, const char *format, ...) PITH_PRINTF(3, 4);

#endif
