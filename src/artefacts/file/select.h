/* What each block is made with: the table of levels, or the one recipe the caller gave. */
#ifndef FILE_SELECT_H
#define FILE_SELECT_H

#include "artefacts/file/block.h"

enum { FRONT_TEXT = 1, FRONT_X86 = 2, FRONT_RECORD = 4, FRONT_ARRAY = 8, FRONT_COLUMNS = 16 }; /* sets of front ends */

typedef struct select_codec {
    const file_codec *codec;
    file_args args;
} select_codec;

/* When a codec is tried on a block. */
typedef enum select_when {
    WHEN_ALWAYS,
    WHEN_REPEATS_WIN, /* the block so far is not much smaller than zstd makes it: long repeats may do better */
    WHEN_POOR,        /* the block so far is more than half of the raw bytes; for codecs that are fast then */
    WHEN_DENSE,       /* hardly anything was gained so far, and a sample says this codec gains more */
} select_when;

typedef struct select_candidate {
    int level;
    select_codec codec;
    unsigned fronts;    /* front ends that may go before it; each is tried on a sample */
    select_codec trial; /* what the sample is coded with: the codec itself or a faster relative */
    select_when when;
} select_candidate;

/* A level, or a recipe in the same form. */
typedef struct select_plan {
    unsigned level; /* 0: recipe */
    bool floats;    /* some codec works with floating point */
    size_t block_size; /* raw bytes, where the caller does not say; 0: the default */
    bool verify;    /* blocks will be decoded again, which is part of the progress */
    unsigned n_candidates;
    const select_candidate *candidates;
    select_candidate own;    /* a recipe's only candidate */
    const file_front *front; /* a recipe's front end, NULL: none */
    file_args front_args;
} select_plan;

/* `recipe` NULL: by level. On success *canonical (to be freed with pith_buffer_free) holds the
 * recipe's canonical text, empty for a level. A plan may not be copied. */
pith_status select_plan_make(pith_ctx *ctx, int level, const char *recipe, select_plan *plan, pith_buffer *canonical);
pith_status select_recipe(pith_ctx *ctx, const char *recipe, select_plan *plan, pith_buffer *canonical);

/* The rows of a level, 1..9; levels.c. */
const select_candidate *level_candidates(int level, unsigned *n);
bool level_floats(int level);

/* Upper bounds over all that the plan may do to a block of raw_n bytes: working memory to
 * encode (raw and coded buffers not counted), memory to decode (buffers counted), time to decode. */
uint64_t select_encode_memory(const select_plan *plan, size_t raw_n);
uint64_t select_decode_memory(const select_plan *plan, size_t raw_n);
double select_decode_ns_per_byte(const select_plan *plan);

/* Codes raw[n] in the best way the plan has; coded[n] takes the result, h describes it. Never
 * larger than stored. `first`: the first block of its frame (block_time_is_fair). */
pith_status select_block(pith_ctx *ctx, const select_plan *plan, const uint8_t *raw, size_t n, bool first,
                         uint8_t *coded, block_header *h);

#endif
