/* Stages, recipes and methods: the one vocabulary of all artefacts.
 *
 * A stage is one primitive with named, typed, range-checked parameters.
 * A recipe is a line of text that chains stages; docs/recipes.md has the grammar.
 * A method is a published system: citation, recipe, claim and the check of the claim. */
#ifndef BASE_REGISTRY_H
#define BASE_REGISTRY_H

#include "base/base.h"

/* ---- tables ------------------------------------------------------------- */

/* PITH_P_INT    whole number, |v| <= 2^53     PITH_P_REAL   number or percentage
 * PITH_P_FLAG   yes or no                     PITH_P_CHOICE one of a few words
 * PITH_P_TEXT   a word or "quoted text"       PITH_P_RECIPE a chain of stages, as in sum(a, b) */
typedef enum pith_param_type {
    PITH_P_INT,
    PITH_P_REAL,
    PITH_P_FLAG,
    PITH_P_CHOICE,
    PITH_P_TEXT,
    PITH_P_RECIPE
} pith_param_type;

typedef struct pith_param {
    const char *name; /* a lower-case word */
    pith_param_type type;
    double min, max, def; /* PITH_P_CHOICE: def is an index into choices; PITH_P_FLAG: 0 or 1; PITH_P_TEXT: unused.
                           * def = PITH_REQUIRED: the recipe must give it (any type) */
    const char *choices;  /* "auto|a|b" for PITH_P_CHOICE, else NULL */
    const char *unit;     /* "bytes", "bits", ... or NULL */
    const char *doc;      /* one line */
} pith_param;

#define PITH_REQUIRED __builtin_nan("")
#define PITH_STAGE_MAX_PARAMS 16
#define PITH_ROLE_SOLVER "solver" /* stages of this role stand after '@', all others after '|' */

typedef struct pith_stage {
    const char *name;     /* as written in recipes */
    const char *artefact; /* "file", "model", ..., or "any" */
    const char *role;     /* "front end", "codec", ... */
    const char *summary;  /* one line */
    const char *source;   /* citation of the primitive, or NULL */
    const pith_param *params;
    unsigned n_params; /* <= PITH_STAGE_MAX_PARAMS */
    const void *impl;  /* what the artefact hangs on it */
} pith_stage;

/* What methods do to make models smaller, as surveys divide them (Park, Choi, Lee, Kang 2024, A Comprehensive Survey of
 * Compression Algorithms for Language Models); bits, for many do more than one. */
typedef enum pith_category {
    PITH_PRUNING = 1,
    PITH_QUANTISATION = 2,
    PITH_DISTILLATION = 4,
    PITH_LOW_RANK = 8,
    PITH_SHARING = 16,     /* one set of parameters in several places */
    PITH_ARCHITECTURE = 32 /* layers of another build that do with less */
} pith_category;
#define PITH_N_CATEGORIES 6
extern const char *const pith_category_names[PITH_N_CATEGORIES]; /* by bit; registry.c */

typedef struct pith_method {
    const char *name; /* "statesmix" */
    const char *title;
    const char *paper;   /* citation */
    const char *systems; /* "S323" or "S030 S041" */
    const char *artefact;
    unsigned categories; /* of pith_category; 0: measures, and what makes no model smaller */
    const char *recipe; /* NULL while planned without one, and for measures, which are no chain of stages */
    const char *status; /* "works" or "planned" */
    const char *claim;
    const char *check;  /* the command that tests the claim */
    const char *result; /* what it printed last, with its date; NULL when never run */
} pith_method;

/* ---- registry (registry.c) ---------------------------------------------- */

/* Artefacts hand their constant tables in once; see src/artefacts/artefacts.c. */
typedef struct pith_registry {
    const pith_stage *const *stage_tables;   /* ends with NULL; each table ends with a stage whose name is NULL */
    const pith_method *const *method_tables; /* the same */
} pith_registry;

/* The first call wins; later calls with the same registry are harmless. Thread-safe.
 * Returns false when another registry is already in force. `registry` must live for ever. */
bool pith_registry_set(const pith_registry *registry);
/* Tests call this: every name a word, unique where it must be; every default in its range; every
 * recipe of a method readable. The message names the first row that is wrong. */
pith_status pith_registry_check(pith_ctx *ctx);

/* Walks all rows in table order: `pith_cursor c = {0}; while ((s = pith_stage_next(&c)))`. */
typedef struct pith_cursor {
    size_t table, row;
} pith_cursor;
const pith_stage *pith_stage_next(pith_cursor *cursor);
const pith_method *pith_method_next(pith_cursor *cursor);

/* NULL when there is none. artefact = NULL: the first of that name in any artefact;
 * otherwise stages of artefact "any" are found too, after the artefact's own. */
const pith_stage *pith_stage_find(const char *artefact, const char *name);
/* By name ("statesmix") or by catalogue id ("S323"). */
const pith_method *pith_method_find(const char *name);
/* Whether a catalogue id is among the method's systems. */
bool pith_method_covers(const pith_method *method, const char *id);

/* The valid name nearest to a word somebody typed: offer all candidates, then read `best`,
 * NULL when nothing is near enough. Distance: edits of one letter, swaps of neighbours. */
typedef struct pith_nearest {
    const char *word;
    size_t word_n;
    const char *best;
    size_t best_n;
    unsigned distance;
} pith_nearest;
void pith_nearest_begin(pith_nearest *nearest, const char *word, size_t word_n);
void pith_nearest_offer(pith_nearest *nearest, const char *name, size_t name_n);

/* ---- recipes (recipe.c, recipe_print.c) ---------------------------------- */

#define PITH_RECIPE_MAX_BYTES 65536
#define PITH_RECIPE_MAX_DEPTH 32
#define PITH_RECIPE_MAX_STAGES 256 /* solvers and the stages of arguments count too */

typedef struct pith_recipe pith_recipe;

/* A stage as a recipe has it. Arrays are in the order of the stage's params, defaults filled in. */
typedef struct pith_recipe_stage {
    const pith_stage *stage;
    unsigned column;                     /* 1-based, in the source text */
    double value[PITH_STAGE_MAX_PARAMS]; /* 0 for PITH_P_TEXT and PITH_P_RECIPE */
    bool given[PITH_STAGE_MAX_PARAMS];
    char *text[PITH_STAGE_MAX_PARAMS];          /* PITH_P_TEXT that was given, else NULL */
    pith_recipe *branch[PITH_STAGE_MAX_PARAMS]; /* PITH_P_RECIPE that was given: one rule, no pattern; else NULL */
} pith_recipe_stage;

/* pattern -> stage | stage @ solver @ solver */
typedef struct pith_recipe_rule {
    char *pattern; /* NULL: everything */
    pith_recipe_stage *stages;
    unsigned n_stages; /* >= 1 */
    pith_recipe_stage *solvers;
    unsigned n_solvers;
} pith_recipe_rule;

/* Steps, run in order. Neighbouring rules with patterns are one step, a choice: the first
 * whose pattern matches is taken. A rule without a pattern is a step of its own. */
struct pith_recipe {
    pith_recipe_rule *rules;
    unsigned n_rules; /* >= 1 */
};

/* Reads text[size] for one artefact; the text need not end with NUL. On PITH_OK *out is the
 * caller's, to be freed with pith_recipe_free. PITH_E_ARGUMENT: the recipe is wrong, the
 * message says at which column, what was found, what was expected and the nearest name. */
pith_status pith_recipe_parse(pith_ctx *ctx, const char *artefact, const char *text, size_t size, pith_recipe **out);
/* NULL is fine. */
void pith_recipe_free(pith_ctx *ctx, pith_recipe *recipe);
/* Appends the canonical text, without a final NUL: one line, defaults left out. Reading it
 * back gives an equal recipe, and equal recipes print the same text. PITH_E_ARGUMENT when it
 * would pass PITH_RECIPE_MAX_BYTES (numbers are written out). */
pith_status pith_recipe_print(pith_ctx *ctx, const pith_recipe *recipe, pith_buffer *out);
/* Same stages with the same values; whether a default was spelled out makes no difference. */
bool pith_recipe_equal(const pith_recipe *a, const pith_recipe *b);

/* Index of a parameter by name, or n_params. */
unsigned pith_param_index(const pith_stage *stage, const char *name, size_t name_n);
/* The i-th of "a|b|c" and its length; NULL past the end. */
const char *pith_choice_name(const char *choices, unsigned i, size_t *n);
unsigned pith_choice_count(const char *choices);
/* What a parameter takes, in words: "a whole number from 1 to 64". Always ends with NUL. */
void pith_param_expects(const pith_param *param, char *out, size_t out_size);
/* The shortest decimal text that pith_recipe_parse reads back as v. Independent of the locale.
 * Returns its length, at most PITH_NUMBER_MAX - 1; ends with NUL. */
#define PITH_NUMBER_MAX 40
size_t pith_number_print(double v, char out[PITH_NUMBER_MAX]);

#endif
