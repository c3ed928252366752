/* The parts of pith bench embedding: recipes for a table of embeddings by budget, and a log of clicks with a model that
 * learns from it. */
#ifndef CLI_BENCH_EMBEDDING_H
#define CLI_BENCH_EMBEDDING_H

#include "kernels/represent/represent.h"

/* ---- ways to make a table smaller once it is trained (bench_embedding_codes.c) ---- */

typedef struct embedding_method {
    const char *name;
    bool counted;     /* is told how often rows occur */
    const char *twin; /* the same without being told, or NULL */
} embedding_method;
#define EMBEDDING_METHODS 14
extern const embedding_method embedding_methods[EMBEDDING_METHODS];

/* The recipe of a method for about so many bits a number; false when it has none. */
bool embedding_recipe(unsigned method, double bits, size_t rows, size_t cols, char *text, size_t size);
/* Codes *w in at most so many bits a number, asking for less up to three times when it came out larger. *bytes 0 when
 * that was not to be had. counts[w->rows] go to methods that are told; restored [rows][cols]. */
pith_status embedding_code(pith_ctx *ctx, unsigned method, double bits, const repr_matrix *w, const float *counts,
                           float *restored, uint64_t *bytes);

/* ---- clicks (bench_embedding_clicks.c) ---- */

enum { CLICK_FIELDS = 8, CLICK_COLUMNS = 16 };
typedef struct clicks clicks;
/* Draws a log (train examples, then test) and trains the whole table on it. */
pith_status clicks_new(pith_ctx *ctx, uint64_t seed, size_t train, size_t test, unsigned epochs, clicks **out);
void clicks_free(clicks *c);
size_t clicks_rows(const clicks *c);
const float *clicks_table(const clicks *c);  /* [rows][CLICK_COLUMNS] */
const float *clicks_counts(const clicks *c); /* [rows] in training */
/* Of the test examples with this table in place of the trained one. */
pith_status clicks_auc(const clicks *c, const float *table, double *auc);

/* Ways to train a smaller table from the start. */
typedef enum click_sharing {
    CLICKS_NARROW,  /* fewer columns */
    CLICKS_HASH,    /* rows shared by a hash */
    CLICKS_SUM,     /* the sum of two such */
    CLICKS_PRODUCT, /* quotient times remainder */
    CLICKS_OWN,     /* half of the numbers for the most frequent rows, the rest hashed */
    CLICKS_MIXED,   /* columns by frequency, with a projection to all of them */
    CLICKS_WAYS
} click_sharing;
extern const char *const click_sharing_names[CLICKS_WAYS];
/* Trains one whose parameters, as halves, take about bits a number of the whole table; what it gives is measured with
 * the halves. *bytes with the marks of frequent rows; 0 when there is none so small. */
pith_status clicks_train(const clicks *c, click_sharing way, double bits, uint64_t *bytes, double *auc);

#endif
