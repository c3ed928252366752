/* What a block of a .pith file can be made with: front ends (reversible transforms of
 * bytes to bytes) and codecs (bytes to fewer bytes). Private to the file artefact.
 *
 * Every function here is handed sizes the container has checked against the session's
 * limits; it must still check everything it reads from `src` itself. */
#ifndef FILE_CODEC_H
#define FILE_CODEC_H

#include "base/base.h"
#include "base/registry.h"

#define FILE_MAX_ARGS 8
/* Arguments of one stage as they stand in the stream: unsigned integers in the order of the
 * stage's parameters. */
typedef struct file_args {
    unsigned n;
    uint32_t v[FILE_MAX_ARGS];
} file_args;

/* A codec. encode: writes at most `cap` bytes to dst; when the result would not fit, returns
 * PITH_OK with *out_n = SIZE_MAX ("does not pay") - not an error. decode: must produce exactly
 * raw_n bytes and consume exactly n, else PITH_E_FORMAT. Neither touches the caller's buffers
 * outside the given ranges. Those that take longer than a copy
 * tell pith_step of every raw byte as they go and end with PITH_E_CANCELLED when it says so. */
typedef struct file_codec {
    uint8_t id; /* in the stream; never reused */
    const char *name;
    pith_status (*encode)(pith_ctx *, const file_args *, const uint8_t *src, size_t n, uint8_t *dst, size_t cap,
                          size_t *out_n);
    pith_status (*decode)(pith_ctx *, const file_args *, const uint8_t *src, size_t n, uint8_t *dst, size_t raw_n);
    /* Checks arguments read from a stream. */
    pith_status (*check)(pith_ctx *, const file_args *);
    /* Fills in what a recipe leaves open, from the session; NULL: nothing is open. */
    pith_status (*complete)(pith_ctx *, file_args *);
    /* Whether floats take part in decoding; NULL: never. */
    bool (*floats)(const file_args *);
    /* Raw bytes of a block where the caller does not say; 0: PITH_FILE_BLOCK_DEFAULT. */
    size_t block_size;
    /* Upper bound of working memory in bytes, buffers of the container not counted. */
    uint64_t (*memory)(const file_args *, size_t raw_n, bool decoding);
    /* Rough decode time in nanoseconds per raw byte on a 3 GHz core. */
    uint32_t (*cost)(const file_args *);
    /* The same to encode, for progress; NULL: as to decode. */
    uint32_t (*encode_cost)(const file_args *);
    /* The same for what a block takes before its first byte; NULL: nothing to speak of. */
    uint64_t (*start_ns)(const file_args *);
} file_codec;

/* A front end: forward transforms src into a new buffer (size may differ) and fills `args`
 * with all the inverse needs besides the data; *pays = false when it sees nothing to gain (then dst
 * is empty). inverse: must produce exactly raw_n bytes, else PITH_E_FORMAT. */
typedef struct file_front {
    uint8_t id;
    const char *name;
    pith_status (*forward)(pith_ctx *, file_args *args, const uint8_t *src, size_t n, pith_buffer *dst, bool *pays);
    pith_status (*inverse)(pith_ctx *, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst, size_t raw_n);
    pith_status (*check)(pith_ctx *, const file_args *);
    uint64_t (*memory)(const file_args *, size_t raw_n);
} file_front;

pith_status file_cancelled(pith_ctx *); /* says so; gives PITH_E_CANCELLED */

extern const file_codec file_codec_stored, file_codec_run, file_codec_zstd, file_codec_lzma, file_codec_bwt, file_codec_cm,
    file_codec_lm;
extern const file_front file_front_text, file_front_x86, file_front_record, file_front_array,
    file_front_columns;

#endif
