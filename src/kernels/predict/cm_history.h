/* What a byte-oriented context mixer knows of the past: the bytes, words, lines, fields,
 * brackets and records, kept up to date once per byte. Contexts are hashes of this. */
#ifndef PREDICT_CM_HISTORY_H
#define PREDICT_CM_HISTORY_H

#include "base/base.h"

#define HISTORY_SLOTS 4096 /* remembered places of line fields */
#define HISTORY_NEST 32    /* remembered depth of brackets */

typedef struct cm_history {
    const uint8_t *buf; /* all bytes so far */
    uint32_t n;         /* how many */
    uint32_t c4, c8;    /* last four bytes, the four before; newest lowest */
    /* text */
    uint32_t word[4];     /* hashes of the word being written and the three before it */
    uint32_t word_len;
    uint32_t gap;         /* hash of what stands between this word and the last */
    uint32_t shape;       /* classes of the last 8 bytes, 4 bits each */
    uint32_t sentence;    /* first word of the sentence */
    /* lines */
    uint32_t line_start, above_start, above_end; /* positions; above: the line before */
    /* fields of a line: runs between separators; skeleton: the line so far without its numbers */
    uint32_t field, field_start, field_skeleton, skeleton;
    bool field_digits, no_fields;       /* no_fields: skeleton and field_above stay 0 */
    uint32_t field_above;               /* where this field of the last line alike began, 0 none */
    uint32_t field_place[HISTORY_SLOTS];/* by skeleton: where such a field last began */
    /* brackets and quotes */
    uint8_t nest[HISTORY_NEST];
    uint32_t nest_depth;
    uint32_t nest_hash;
    /* what followed the last one and two bytes before */
    uint16_t after1[256];
    uint16_t after2[65536];
    uint8_t after3[65536];
    uint32_t record; /* width of fixed-width records, 0 none */
} cm_history;

PITH_INLINE uint32_t cm_hash2(uint32_t a, uint32_t b) {
    uint64_t h = (a * UINT64_C(0x9E3779B185EBCA87)) ^ ((b + 0x7F4A7C15u) * UINT64_C(0xC2B2AE3D27D4EB4F));
    return (uint32_t)(h >> 32) ^ (uint32_t)(h >> 11);
}

PITH_INLINE uint32_t cm_hash3(uint32_t a, uint32_t b, uint32_t c) { return cm_hash2(cm_hash2(a, b), c); }

/* letters a-z and A-Z fold together; 0 for what is not part of a word */
PITH_INLINE uint32_t cm_word_letter(uint8_t c) {
    if (c >= 'a' && c <= 'z') return c;
    if (c >= 'A' && c <= 'Z') return c + 32u;
    return c >= 128 ? c : 0;
}

/* 0 other, 1 lower, 2 upper, 3 digit, 4 space, 5 line end, 6 sentence end, 7 comma-like, 8 quote,
 * 9 open, 10 close, 11 high, 12 control, 13 _-, 14 / \ : =, 15 < > & */
extern const uint8_t cm_class[256];

/* The words as byte c leaves them: the one being written, the one before it, the hash of the gap between. */
typedef struct cm_words {
    uint32_t now, before, gap;
} cm_words;

PITH_INLINE cm_words cm_words_after(const cm_history *h, uint8_t c) {
    uint32_t letter = cm_word_letter(c);
    if (!letter) return (cm_words){h->word[0], h->word[1], cm_hash2(h->gap + c + 1, 0x1B873593u)};
    bool first = h->word_len == 0;
    return (cm_words){cm_hash2((first ? 0 : h->word[0]) + letter, 0x2545F491u), h->word[first ? 0 : 1], 0};
}

void cm_history_init(cm_history *h, const uint8_t *buf, uint32_t record);
/* buf[h->n] has just become known. What follows what, for contexts that look at that; to be called first: */
void cm_history_follow(cm_history *h);
/* All else: */
void cm_history_update(cm_history *h);

#endif
