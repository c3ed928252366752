/* The dictionary is built in as it stands and indexed when a block needs it. */
#include "artefacts/file/words.h"

__asm__(".pushsection .rodata\n"
        "file_words_begin:\n.incbin \"prime/words.txt\"\n"
        "file_words_end:\n.byte 0\n"
        ".popsection\n");
extern const uint8_t file_words_begin[] __attribute__((visibility("hidden")));
extern const uint8_t file_words_end[] __attribute__((visibility("hidden")));

static uint32_t hash(const uint8_t *p, size_t n) {
    uint32_t h = (uint32_t)n;
    for (size_t i = 0; i < n; i++) h = (h + p[i]) * 0x9E3779B1u;
    return h >> 18;
}
_Static_assert(WORDS_SLOTS == 1 << 14, "the hash has as many bits as the table");

void words_init(words *w) {
    memset(w, 0, sizeof *w);
    const uint8_t *p = file_words_begin;
    while (p < file_words_end && w->n < WORDS_MAX - 1) {
        const uint8_t *end = p;
        while (end < file_words_end && *end != '\n') end++;
        size_t n = (size_t)(end - p);
        if (n >= WORD_LENGTH_MIN && n <= WORD_LENGTH_MAX && words_find(w, p, n) < 0) {
            uint32_t slot = hash(p, n);
            while (w->slots[slot]) slot = (slot + 1) % WORDS_SLOTS;
            w->at[w->n] = p;
            w->length[w->n] = (uint8_t)n;
            w->slots[slot] = (uint16_t)++w->n;
        }
        p = end + 1;
    }
}

int words_find(const words *w, const uint8_t *p, size_t n) {
    for (uint32_t slot = hash(p, n); w->slots[slot]; slot = (slot + 1) % WORDS_SLOTS) {
        unsigned number = w->slots[slot] - 1u;
        if (w->length[number] == n && memcmp(w->at[number], p, n) == 0) return (int)number;
    }
    return -1;
}
