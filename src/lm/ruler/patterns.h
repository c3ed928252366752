/* Texts with a rule behind them: facts about made-up people, who a pronoun stands for, what a slot of a dialogue holds
 * at its end. One generator gives the text a model is taught with and the multiple-choice items it is asked, under
 * different seeds; everything is the same for the same seed. */
#ifndef LM_RULER_PATTERNS_H
#define LM_RULER_PATTERNS_H

#include "lm/ruler/ruler.h"

/* ---- tasks on what stands in the context (patterns.c) ---------------------------------------------- */

typedef enum ruler_pattern {
    RULER_LOOKUP,      /* four keys with numbers, one is asked for: 4 choices, the numbers */
    RULER_COREFERENCE, /* two women and two men in two sentences, then "She" or "He": the one of them that was named
                        * last and fits: 4 choices, the people */
    RULER_SLOTS,       /* wishes are said and changed; what does one of them come to: 4 choices, among them all that it
                        * was before */
    RULER_PATTERNS
} ruler_pattern;
const char *ruler_pattern_name(ruler_pattern pattern);
/* n >= 1 items, their answers at random places. */
pith_status ruler_pattern_items(pith_ctx *ctx, ruler_pattern pattern, size_t n, uint64_t seed, ruler_items *out);
/* Appends items as text to learn from: context, right choice, full stop, end of line. */
pith_status ruler_items_text(pith_ctx *ctx, const ruler_items *items, pith_buffer *out);

/* ---- planted facts (facts.c) ------------------------------------------------------------------------- */

#define RULER_FACT_VALUES 16 /* choices of an item: guessing is right once in so many */
#define RULER_MAX_FACTS 27648
typedef struct ruler_fact {
    char entity[16]; /* a made-up name, the same for RULER_FACT_ATTRIBUTES facts */
    uint32_t attribute, value;
} ruler_fact;
#define RULER_FACT_ATTRIBUTES 4
typedef struct ruler_facts {
    ruler_fact *at;
    size_t n;
} ruler_facts;
/* n facts (1 to RULER_MAX_FACTS); entities of two different seeds differ but for chance. */
pith_status ruler_facts_make(pith_ctx *ctx, size_t n, uint64_t seed, ruler_facts *out);
void ruler_facts_free(pith_ctx *ctx, ruler_facts *facts);
/* Appends each fact as one line, in the words of the question or in others, in an order of the seed's. */
pith_status ruler_facts_text(pith_ctx *ctx, const ruler_facts *facts, uint64_t seed, pith_buffer *out);
/* One item for each fact. given 0: closed book, the question alone. Else that many facts of different entities stand
 * in front of it (fewer when there are fewer), the one that is asked for among them, in other words than the
 * question's. */
pith_status ruler_facts_items(pith_ctx *ctx, const ruler_facts *facts, uint32_t given, uint64_t seed, ruler_items *out);

#endif
