/* The levels: which codecs a block is tried with, behind which front ends, and when.
 *
 * The first row of a level is its main codec and always tried; the others are there so that
 * no level is larger than a cheaper one where that one's kind of codec wins. Besides, every block
 * is tried as a run, and stored when nothing is smaller. */
#include "artefacts/file/file.h"
#include "artefacts/file/select.h"

/* clang-format off */
#define ZSTD(level) {&file_codec_zstd, {1, {level}}}
#define LZMA {&file_codec_lzma, {3, {9, 0, 0}}} /* preset, filter: try, distance: detect */
#define BWT {&file_codec_bwt, {1, {128}}}      /* shortest repeat taken out */
/* index of inputs 12|40, of prime none|short|full, ssm width */
#define CM(inputs, prime, ssm) {&file_codec_cm, {3, {inputs, prime, ssm}}}
#define CM_12 CM(0, 0, 0)
#define LINES (FRONT_TEXT | FRONT_COLUMNS)
#define BINARY (FRONT_X86 | FRONT_RECORD | FRONT_ARRAY)

/* level, codec, front ends, codec of the trials on a sample, when */
static const select_candidate rows[] = {
    {1, ZSTD(3), BINARY, ZSTD(3), WHEN_ALWAYS},
    {2, ZSTD(9), BINARY, ZSTD(9), WHEN_ALWAYS},
    {2, ZSTD(3), BINARY, ZSTD(3), WHEN_POOR}, /* sometimes luckier with numbers */
    {3, ZSTD(19), BINARY | LINES, ZSTD(9), WHEN_ALWAYS},
    {4, LZMA, BINARY | LINES, LZMA, WHEN_ALWAYS},
    {4, ZSTD(19), FRONT_RECORD | FRONT_ARRAY, ZSTD(9), WHEN_POOR},
    {5, BWT, BINARY | LINES, BWT, WHEN_ALWAYS},
    {5, LZMA, BINARY | LINES, LZMA, WHEN_REPEATS_WIN},
    {6, CM(0, 1, 0), BINARY | FRONT_COLUMNS, CM_12, WHEN_ALWAYS},
    {6, BWT, 0, BWT, WHEN_DENSE},
    {6, LZMA, BINARY | LINES, LZMA, WHEN_REPEATS_WIN},
    {7, CM(1, 1, 0), BINARY | FRONT_COLUMNS, CM_12, WHEN_ALWAYS},
    {7, BWT, 0, BWT, WHEN_DENSE},
    {7, LZMA, BINARY | LINES, LZMA, WHEN_REPEATS_WIN},
    {8, CM(1, 2, 0), BINARY | FRONT_COLUMNS, CM_12, WHEN_ALWAYS},
    {8, BWT, 0, BWT, WHEN_DENSE},
    {8, LZMA, BINARY | LINES, LZMA, WHEN_REPEATS_WIN},
    {9, CM(1, 2, 0), BINARY | FRONT_COLUMNS, CM_12, WHEN_ALWAYS},
    {9, CM(1, 2, 48), BINARY | FRONT_COLUMNS, CM_12, WHEN_ALWAYS},
    {9, BWT, 0, BWT, WHEN_DENSE},
    {9, LZMA, BINARY | LINES, LZMA, WHEN_REPEATS_WIN},
};
/* clang-format on */

static const char *const summaries[] = {
    "zstd 3, binary front ends",
    "zstd 9, binary front ends",
    "zstd 19, all front ends",
    "lzma, all front ends",
    "bwt or lzma, all front ends",
    "context mixing with 12 inputs and a short built-in text, or bwt or lzma where they win",
    "context mixing with 40 inputs and a short built-in text, or bwt or lzma where they win",
    "level 7 with all of the built-in text learnt first",
    "level 8 with a state-space model that learns as it codes",
};

const select_candidate *level_candidates(int level, unsigned *n) {
    size_t first = 0, last;
    while (rows[first].level != level) first++;
    for (last = first; last < PITH_COUNT(rows) && rows[last].level == level; last++) continue;
    *n = (unsigned)(last - first);
    return &rows[first];
}

bool level_floats(int level) { return level == 9; }

const char *file_level_summary(int level) {
    return level >= 1 && (size_t)level <= PITH_COUNT(summaries) ? summaries[level - 1] : NULL;
}
