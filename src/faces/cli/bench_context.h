/* The parts of `pith bench context-tasks`: the questions, and the model that is taught to answer them. */
#ifndef CLI_BENCH_CONTEXT_H
#define CLI_BENCH_CONTEXT_H

#include "faces/cli/bench_taught.h"

enum { CONTEXT_TOLD = RULER_PATTERNS, CONTEXT_CLOZE, CONTEXT_TASKS };
extern const char *const context_names[CONTEXT_TASKS];

typedef struct context_set {
    uint64_t count, seed, steps;
    const char *model, *file, *save;
    bool wide;
    pith_buffer text;
    ruler_items items[CONTEXT_TASKS];
    lm_model *m; /* the taught one, or the one that was opened */
} context_set;

int context_items(experiment *e, unsigned task, size_t n, uint64_t seed, const pith_buffer *text, ruler_items *out);
/* chosen[CONTEXT_TASKS][count]; accuracy[CONTEXT_TASKS] may be NULL. */
int context_ask(experiment *e, const context_set *s, const lm_model *m, uint32_t *chosen, double *accuracy);

/* ---- teaching (bench_context_teach.c) ---- */

#define CONTEXT_STEPS 160
#define CONTEXT_TEACH_HELP                                                                                               \
    "Before that the model is taught these patterns (other questions than are asked), with text among them so that it\n" \
    "does not forget how to read: a minute or three of processor time.\n"
#define CONTEXT_TEACH_OPTIONS                                                                                          \
    "      --steps=N       of teaching; 0: the model as it is (default 160)\n"                                         \
    "      --save=FILE     where the taught model goes, to be named with --model and --steps=0\n"
/* Teaches, says what that gave (chosen is scratch), and makes the text to calibrate on: questions with their answers,
 * and the first half of the text. */
int context_prepare(experiment *e, context_set *s, lm_model *opened, uint32_t *chosen, pith_buffer *calibration);
void context_forget(experiment *e, context_set *s, lm_model *opened);

#endif
