/* Choice of the front end of a block. Private to select.c and select_front.c. */
#ifndef FILE_SELECT_FRONT_H
#define FILE_SELECT_FRONT_H

#include "artefacts/file/select.h"

/* A block through a front end; front NULL: as it is, data = the raw bytes. */
typedef struct fronted {
    const file_front *front;
    file_args args;
    const uint8_t *data;
    size_t n;
    pith_buffer own; /* what data points to, unless the raw bytes */
} fronted;

/* Bytes that the codec makes of src[n]; n when it cannot make them fewer. scratch[n]. */
pith_status select_trial(pith_ctx *ctx, const select_codec *codec, const uint8_t *src, size_t n, size_t *size);

/* Rough time of encoding in nanoseconds per byte. */
uint32_t select_encode_ns(const select_codec *codec);

bool select_is_text(const uint8_t *raw, size_t n);

/* Puts raw[n] through the given front end; *pays = false leaves `out` as the raw bytes. */
pith_status front_apply(pith_ctx *ctx, const file_front *front, const file_args *args, const uint8_t *raw, size_t n,
                        fronted *out, bool *pays);

/* Puts raw[n] through the front end of the candidate's set that makes a sample smallest under
 * its trial codec, if any does. Free out->own. */
pith_status front_choose(pith_ctx *ctx, const select_candidate *candidate, const uint8_t *raw, size_t n, fronted *out);

#endif
