/* The built-in texts (models/prime/, sources and licences in its README) and the choice among
 * them: the block's trigrams are scored under each text's trigram counts, as a naive Bayes
 * classifier does. Only the encoder chooses; the decoder is told. */
#include "artefacts/file/primer.h"

#include <math.h>

/* One after the other, so that a primer may run from the end of one text into the next. */
__asm__(".pushsection .rodata\n"
        ".balign 64\n"
        "prime_english:\n.incbin \"prime/english.txt\"\n"
        "prime_markup:\n.incbin \"prime/markup.txt\"\n"
        "prime_code:\n.incbin \"prime/code.txt\"\n"
        "prime_log:\n.incbin \"prime/log.txt\"\n"
        "prime_end:\n.byte 0\n"
        ".popsection\n");
extern const uint8_t prime_english[] __attribute__((visibility("hidden")));
extern const uint8_t prime_markup[] __attribute__((visibility("hidden")));
extern const uint8_t prime_code[] __attribute__((visibility("hidden")));
extern const uint8_t prime_log[] __attribute__((visibility("hidden")));
extern const uint8_t prime_end[] __attribute__((visibility("hidden")));

#define BRIEF 81920  /* bytes of prose in a short primer */
#define PAGES 49152  /* in a shorter one */
#define LEAVES 32768 /* in the shortest */
#define PAGE 24576   /* bytes of prose before markup and code */

const uint8_t *primer_text(primer_id id, size_t *n) {
    const uint8_t *from = prime_english, *to = prime_english;
    switch (id) {
    case PRIMER_PROSE_SHORT: from = prime_markup - BRIEF, to = prime_markup; break;
    case PRIMER_PROSE: to = prime_markup; break;
    case PRIMER_MARKUP: from = prime_markup - PAGE, to = prime_code; break;
    case PRIMER_CODE: from = prime_markup - PAGE, to = prime_log; break;
    case PRIMER_PROSE_PAGES: from = prime_markup - PAGES, to = prime_markup; break;
    case PRIMER_PROSE_LEAVES: from = prime_markup - LEAVES, to = prime_markup; break;
    case PRIMER_LOG: from = prime_log, to = prime_end; break;
    case PRIMER_NONE:
    case PRIMER_COUNT: break;
    }
    *n = (size_t)(to - from);
    return from;
}

size_t primer_longest(void) { return (size_t)(prime_markup - prime_english); }

#define TABLE 65536
#define SAMPLE ((size_t)64 << 10)
#define SMOOTHING 0.02
#define FEW 64 /* counts whose logarithms are at hand */
/* nats per trigram below which a block is like none of the texts: a uniform guess has ln(1/65536) = -11.1 */
#define LIKE_NONE -10.9

static unsigned trigram(const uint8_t *p) { return ((p[0] | p[1] << 8 | (unsigned)p[2] << 16) * 0x9E3779B1u) >> 16; }

static double likeness(const uint16_t *counts, size_t total, const uint8_t *data, size_t n) {
    double sum = 0, below = log((double)total + SMOOTHING * TABLE), few[FEW];
    for (unsigned c = 0; c < FEW; c++) few[c] = log(c + SMOOTHING);
    for (size_t i = 0; i + 3 <= n; i++) {
        unsigned c = counts[trigram(data + i)];
        sum += (c < FEW ? few[c] : log(c + SMOOTHING)) - below;
    }
    return sum / (double)(n - 2);
}

pith_status primer_choose(pith_ctx *ctx, const uint8_t *data, size_t n, primer_effort effort, primer_id *id) {
    static const struct {
        primer_id id, brief;
    } kinds[] = {{PRIMER_PROSE, PRIMER_PROSE_SHORT},
                 {PRIMER_MARKUP, PRIMER_MARKUP},
                 {PRIMER_CODE, PRIMER_CODE},
                 {PRIMER_LOG, PRIMER_LOG}};
    /* The primer costs about as much time a byte as the block: of a small block that is nothing to wait for, of a
     * big one a small share; in between a text half as long gains nearly as much. */
    static const primer_id few[] = {PRIMER_PROSE_LEAVES, PRIMER_PROSE_PAGES};
    bool brief = effort != PRIMER_WHOLE, between = n >= (size_t)96 << 10 && n < (size_t)240 << 10;
    const uint8_t *bounds[] = {prime_english, prime_markup, prime_code, prime_log, prime_end};
    *id = PRIMER_NONE;
    if (n < 3) return PITH_OK;
    uint16_t *counts = pith_alloc(ctx, TABLE * sizeof *counts);
    if (!counts) return pith_alloc_status(ctx);
    /* from the middle: beginnings are not like the rest */
    size_t sample_n = PITH_MIN(n, SAMPLE);
    const uint8_t *sample = data + (n - sample_n) / 2;
    double best = LIKE_NONE;
    for (unsigned k = 0; k < PITH_COUNT(kinds); k++) {
        size_t text_n = (size_t)(bounds[k + 1] - bounds[k]);
        memset(counts, 0, TABLE * sizeof *counts);
        for (size_t i = 0; i + 3 <= text_n; i++) {
            uint16_t *c = &counts[trigram(bounds[k] + i)];
            if (*c < UINT16_MAX) ++*c;
        }
        double like = likeness(counts, text_n - 2, sample, sample_n);
        if (like > best) {
            best = like;
            *id = brief ? kinds[k].brief : kinds[k].id;
            if (between && *id == PRIMER_PROSE_SHORT) *id = few[effort];
        }
    }
    pith_free(ctx, counts);
    return PITH_OK;
}
