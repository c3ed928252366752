/* What the state-space model is told about the past beyond the last byte: hashes of the last
 * bytes, of words, of the column, and of what followed the last place that looked like this. */
#include "kernels/predict/ssm.h"

#define MATCH_MIN 4
#define MATCH_MOST 60

static uint8_t at(const ssm_context *c, uint64_t position) { return c->history[position & (SSM_HISTORY - 1)]; }

static uint32_t hash2(uint32_t a, uint32_t b) {
    uint32_t h = (a + b * 0x9E3779B1u) * 0x85EBCA6Bu;
    h = (h ^ h >> 15) * 0xC2B2AE35u;
    h = (h ^ h >> 13) * 0x27D4EB2Fu;
    return h ^ h >> 16;
}

static void match_add(ssm_context *c) {
    uint8_t newest = (uint8_t)c->recent;
    if (c->match_length > 0 && at(c, c->match) == newest) {
        c->match++;
        if (c->match_length < MATCH_MOST) c->match_length++;
    } else {
        c->match_length = 0;
    }
    if (c->n <= MATCH_MIN) return;
    uint32_t *cell =
        c->last_seen + (hash2((uint32_t)c->recent, (uint32_t)(c->recent >> 32) & 0xFF) & (SSM_MATCH_CELLS - 1));
    /* Positions are kept modulo 2^32; anything older than the history is no candidate. */
    uint64_t age = (uint32_t)((uint32_t)c->n - *cell);
    if (c->match_length == 0 && age > 0 && age < SSM_HISTORY - MATCH_MOST && age < c->n) {
        uint64_t candidate = c->n - age;
        uint32_t length = 0;
        while (length < MATCH_MOST / 2 && length < candidate &&
               at(c, candidate - 1 - length) == at(c, c->n - 1 - length))
            length++;
        if (length >= MATCH_MIN) {
            c->match = candidate;
            c->match_length = length;
        }
    }
    *cell = (uint32_t)c->n;
}

void ssm_context_add(ssm_context *c, uint8_t byte) {
    c->recent = c->recent << 8 | byte;
    bool capital = byte >= 'A' && byte <= 'Z';
    if (capital || (byte >= 'a' && byte <= 'z') || byte >= 128) {
        c->word[0] = (c->word[0] + byte + (capital ? 32 : 0) + 1) * 0x2F0B4C47u;
    } else if (c->word[0]) {
        c->word[2] = c->word[1];
        c->word[1] = c->word[0];
        c->word[0] = 0;
    }
    c->history[c->n & (SSM_HISTORY - 1)] = byte;
    c->n++;
    if (byte == '\n') {
        c->line_above = c->line;
        c->line = c->n;
    }
    match_add(c);
}

void ssm_context_hashes(const ssm_context *c, uint32_t hash[SSM_CONTEXTS]) {
    uint32_t c4 = (uint32_t)c->recent, c8 = (uint32_t)(c->recent >> 32);
    uint64_t column = c->n - c->line;
    uint32_t above = 0;
    if (c->line_above + column < c->line && c->n - c->line_above < SSM_HISTORY) above = at(c, c->line_above + column);
    uint32_t expected = 0, length = PITH_MIN(c->match_length, 15u), rough = 0;
    if (length > 0) {
        expected = at(c, c->match);
        rough = c->match_length > 15 ? 3 : c->match_length > 7 ? 2 : 1;
    }
    const uint32_t word = c->word[0], before = c->word[1];
    unsigned i = 0;
    hash[i] = hash2(c4 & 0xFFFF, i), i++;
    hash[i] = hash2(c4 & 0xFFFFFF, i), i++;
    hash[i] = hash2(c4, i), i++;
    hash[i] = hash2(c4 ^ hash2(c8 & 0xFFFF, i), i), i++;
    hash[i] = hash2(word, i), i++;
    hash[i] = hash2(hash2(word, before), i), i++;
    hash[i] = hash2(before, i), i++;
    hash[i] = hash2(length << 8 | expected, i), i++;
    hash[i] = hash2(hash2(word, before), c->word[2] + i), i++;
    hash[i] = hash2(hash2(word, c->word[2]), i), i++;
    hash[i] = hash2((uint32_t)PITH_MIN(column, 65535u) << 8 | above, i), i++;
    hash[i] = hash2(rough << 16 | expected << 8 | (c4 & 0xFF), i), i++;
}
