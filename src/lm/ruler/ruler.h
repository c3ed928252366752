/* The ruler: how good a language model is, and how far another one is from it.
 *
 * Perplexity, divergence from a base model, flips on multiple-choice items, recall of planted
 * facts, surprise token by token, and a model of its running time. Statistics take rows of
 * logits or plain numbers and know nothing of the runtime; the functions with a model at work
 * feed them, with keys and values kept as lm_cache_of says of the model. Everything random comes from a
 * seed, so that a task is the same everywhere. */
#ifndef LM_RULER_RULER_H
#define LM_RULER_RULER_H

#include "lm/coding/coding.h"
#include "lm/lm.h"

/* ---- statistics (stats.c) ------------------------------------------------------------------------ */

/* Mean and its standard error, sqrt((E[x^2] - E[x]^2) / (n - 1)); 0 below two values. */
typedef struct ruler_mean {
    double sum, squares;
    size_t n;
} ruler_mean;
void ruler_mean_add(ruler_mean *m, double x);
double ruler_mean_of(const ruler_mean *m);
double ruler_error_of(const ruler_mean *m);
/* sorted[n], n >= 1; fraction in [0, 1]: between neighbours on a line. */
double ruler_percentile(const double *sorted, size_t n, double fraction);
void ruler_sort(double *values, size_t n);
/* Spearman's rank correlation, equal values sharing their mean rank; 0 when a side is constant or n < 2. */
pith_status ruler_spearman(pith_ctx *ctx, const double *x, const double *y, size_t n, double *rho);

/* ---- two distributions over one vocabulary (rows.c) ----------------------------------------------- */

/* ln p(i) = x[i] - shift: logits with ln sum e^x, or log-probabilities with shift 0. */
typedef struct ruler_side {
    const float *x;
    double shift;
} ruler_side;
ruler_side ruler_side_of(const float *logits, size_t n_vocab);

/* One position: what both models say of it. Natural logarithms. */
typedef struct ruler_row {
    double nll_base, nll; /* of the token that came */
    double kl;            /* KL(base || other) = sum p ln(p/q) */
    double js;            /* 1/2 KL(p || m) + 1/2 KL(q || m), m = (p + q)/2: 0 to ln 2 */
    bool same_top;        /* the likeliest token, the lowest id among equals */
} ruler_row;
/* Terms with ln p(base) <= floor do not count towards kl (llama.cpp: -16); -INFINITY: all count. */
void ruler_compare_row(ruler_side base, ruler_side other, size_t n_vocab, uint32_t token, double floor, ruler_row *out);

typedef struct ruler_spread {
    double mean, error, median, p90, p95, p99, p999, max;
} ruler_spread;
/* values are sorted in place. n >= 1 */
void ruler_spread_of(double *values, size_t n, ruler_spread *out);

/* The figures llama-perplexity --kl-divergence prints, and Jensen-Shannon. Every error is a standard error. */
typedef struct ruler_comparison {
    size_t n;
    double perplexity_base, perplexity_base_error, perplexity, perplexity_error;
    double correlation;                /* of the two models' ln p of the tokens */
    double log_ratio, log_ratio_error; /* ln(perplexity / perplexity_base) */
    double ratio, ratio_error;
    ruler_spread kl, js;
    double same_top, same_top_error; /* share */
    double delta_p, delta_p_error;   /* mean of p(token) - p_base(token) */
    double rms_delta_p, rms_delta_p_error;
} ruler_comparison;
pith_status ruler_compare_rows(pith_ctx *ctx, const ruler_row *rows, size_t n, ruler_comparison *out);

/* A text of 64 KiB to measure with when none is given (prose.c). */
const char *ruler_prose(size_t *size);

/* ---- a model over a text in chunks (chunks.c) ------------------------------------------------------ */

/* llama.cpp's convention: the text's tokens in chunks of n_ctx that do not overlap, the rest dropped; the
 * first token of each chunk is replaced by the start token where the model expects one; positions
 * n_ctx/2 to n_ctx-2 predict the tokens behind them and are the rows that count. */
typedef struct ruler_chunks {
    const uint32_t *tokens; /* [n_chunks * n_ctx] */
    uint32_t n_ctx;
    size_t n_chunks;
} ruler_chunks;
/* Rows of logits in a chunk. */
size_t ruler_chunk_rows(uint32_t n_ctx);
/* The tokens of a text as perplexity takes them, start token in front where the model expects it. */
pith_status ruler_tokens(pith_ctx *ctx, const lm_model *m, const void *text, size_t size, token_list *out);
/* Chunks of at most max_chunks (0: all). n_ctx 0: 512, or less where the model has less. PITH_E_ARGUMENT when the
 * tokens do not fill one chunk. */
pith_status ruler_chunks_of(pith_ctx *ctx, const lm_model *m, const token_list *tokens, uint32_t n_ctx,
                            size_t max_chunks, ruler_chunks *out);

typedef struct ruler_reader ruler_reader; /* a model reading chunks */
pith_status ruler_reader_new(pith_ctx *ctx, const lm_model *m, uint32_t n_ctx, uint32_t n_threads, ruler_reader **out);
void ruler_reader_free(ruler_reader *r);
/* Starts chunk[n_ctx]; its tokens must stay until it is read. */
pith_status ruler_reader_begin(ruler_reader *r, const uint32_t *chunk);
/* The next rows of the chunk: *rows[n][n_vocab], the first predicting chunk[*first + 1]. *n = 0 at the end.
 * Readers of one n_ctx and one vocabulary give the same rows at a time. */
pith_status ruler_reader_next(ruler_reader *r, size_t *first, size_t *n, const float *const **rows);

typedef struct ruler_perplexity {
    double perplexity, error, nats_per_token;
    size_t n_tokens, n_chunks; /* tokens scored */
} ruler_perplexity;

/* Takes pieces of a file in order. */
typedef pith_status (*ruler_write_fn)(void *opaque, const void *data, size_t size);
/* done of total chunks; `so_far` is filled. May be NULL. */
typedef void (*ruler_chunk_fn)(void *opaque, size_t done, size_t total, const ruler_perplexity *so_far);
/* `save` NULL, or it gets the base file of the run. Ticks the session's progress by chunks. */
pith_status ruler_perplexity_of(pith_ctx *ctx, const lm_model *m, const ruler_chunks *chunks, uint32_t n_threads,
                                ruler_write_fn save, void *save_opaque, ruler_chunk_fn each, void *opaque,
                                ruler_perplexity *out);

/* ---- saved log-probabilities of a base model (base_file.c) ------------------------------------------ */

/* llama-perplexity's file: "_logits_", u32 n_ctx, i32 n_vocab, i32 n_chunks, i32 tokens[n_chunks * n_ctx], then for
 * each row: f32 scale, f32 least, u16 q[n_vocab, one more when odd]; ln p = scale * q + least, cut 16 below the
 * largest logit. */
typedef struct ruler_base ruler_base;
/* Everything is checked against the size of the file before anything is allocated. */
pith_status ruler_base_open(pith_ctx *ctx, const char *path, ruler_base **out);
/* The same from memory that outlives it. */
pith_status ruler_base_open_memory(pith_ctx *ctx, const uint8_t *data, size_t size, ruler_base **out);
void ruler_base_close(pith_ctx *ctx, ruler_base *b);
ruler_chunks ruler_base_chunks(const ruler_base *b); /* tokens belong to b */
uint32_t ruler_base_vocab(const ruler_base *b);
/* The log-probabilities of row `row` of all, out[n_vocab]. */
pith_status ruler_base_row(pith_ctx *ctx, ruler_base *b, size_t row, float *out);
/* Bytes in front of the first row, appended to out. */
pith_status ruler_base_head(pith_ctx *ctx, const ruler_chunks *chunks, uint32_t n_vocab, pith_buffer *out);
size_t ruler_base_row_bytes(uint32_t n_vocab);
void ruler_base_pack(const float *logits, uint32_t n_vocab, uint8_t *out); /* out[ruler_base_row_bytes] */

/* ---- two models over one text (compare.c) ------------------------------------------------------------- */

/* `base` or `base_file` is NULL. With the file its chunks are taken (terms of KL at and below -16 left out), else
 * `chunks`. `save`, NULL or not, gets the base file when a model is the base. */
pith_status ruler_compare(pith_ctx *ctx, const lm_model *base, ruler_base *base_file, const lm_model *other,
                          const ruler_chunks *chunks, uint32_t n_threads, ruler_write_fn save, void *save_opaque,
                          ruler_comparison *out);
/* PITH_E_ARGUMENT when the two have different vocabularies (sizes, and pieces where both have a tokenizer). */
pith_status ruler_same_vocabulary(pith_ctx *ctx, const lm_model *a, const lm_model *b);

/* ---- surprise, token by token (surprise.c, surprise_html.c) --------------------------------------------- */

#define RULER_TOP 5
typedef struct ruler_surprise {
    uint32_t token, rank; /* rank 0: the likeliest */
    size_t offset, n;     /* bytes of the text it stands for */
    double bits;
    uint32_t top[RULER_TOP]; /* likeliest first */
    float top_p[RULER_TOP];
} ruler_surprise;
typedef struct ruler_surprises {
    ruler_surprise *at;
    size_t n;
    double bits; /* of all */
} ruler_surprises;
/* Every token of the text under a window of n_ctx tokens (0: what the model was trained with), which starts again
 * from its later half when full. */
pith_status ruler_surprise_of(pith_ctx *ctx, const lm_model *m, const void *text, size_t size, uint32_t n_ctx,
                              uint32_t n_threads, ruler_surprises *out);
void ruler_surprises_free(pith_ctx *ctx, ruler_surprises *s);
/* One page that needs nothing else: the text coloured by bits, details at the pointer. title is UTF-8. */
pith_status ruler_surprise_html(pith_ctx *ctx, const lm_model *m, const ruler_surprises *s, const void *text,
                                size_t size, const char *title, pith_buffer *out);
/* Appends bytes as HTML text: markup escaped, what is no UTF-8 or a control byte shown as hexadecimal. */
pith_status ruler_html_text(pith_ctx *ctx, const void *text, size_t size, pith_buffer *out);

/* ---- multiple choice (choice.c, choice_file.c, cloze.c) --------------------------------------------------- */

#define RULER_MAX_CHOICES 26
typedef struct ruler_item {
    char *context; /* NUL-ended; no NUL inside */
    char *choices[RULER_MAX_CHOICES];
    uint32_t n_choices, answer;
} ruler_item;
typedef struct ruler_items {
    ruler_item *at;
    size_t n, capacity;
} ruler_items;
void ruler_items_free(pith_ctx *ctx, ruler_items *items);
/* One JSON object a line: "context" or "question" (text), "choices" (2 to 26 texts), "answer" (index). Blank
 * lines are passed over; PITH_E_FORMAT names the line. */
pith_status ruler_items_read(pith_ctx *ctx, const char *text, size_t size, ruler_items *out);
pith_status ruler_items_write(pith_ctx *ctx, const ruler_items *items, pith_buffer *out);
/* n items from any text: some words of it, the words that follow, and three runs of as many words from elsewhere.
 * context_words and choice_words 0: 24 and 3. The same for the same seed. */
pith_status ruler_cloze(pith_ctx *ctx, const char *text, size_t size, size_t n, uint32_t context_words,
                        uint32_t choice_words, uint64_t seed, ruler_items *out);

typedef struct ruler_choice_options {
    bool per_byte;      /* the sum of log-probabilities is divided by the bytes of the choice */
    uint32_t n_threads; /* 0: those of the session object */
} ruler_choice_options;
/* chosen[items->n] = the choice with the largest score, the lowest index among equals; scores, when not NULL,
 * [items->n][RULER_MAX_CHOICES] natural logarithms. Ticks by items. */
pith_status ruler_choose(pith_ctx *ctx, const lm_model *m, const ruler_items *items,
                         const ruler_choice_options *options, uint32_t *chosen, double *scores);

/* What changed between two models' answers (A. Dutta et al., Accuracy Is Not All You Need, 2024). */
typedef struct ruler_flips {
    size_t n, right_base, right, right_to_wrong, wrong_to_right, wrong_to_wrong; /* the last: to another wrong one */
    double accuracy_base, accuracy;
    double flips;     /* (right_to_wrong + wrong_to_right) / n */
    double all_flips; /* with wrong_to_wrong */
} ruler_flips;
void ruler_flips_of(const ruler_items *items, const uint32_t *chosen_base, const uint32_t *chosen, ruler_flips *out);

/* ---- planted facts (needle.c, needle_text.c, needle_score.c) ------------------------------------------------ */

typedef enum ruler_needle_kind {
    RULER_SINGLE,     /* one fact */
    RULER_MULTIKEY,   /* one fact asked for among others of its kind */
    RULER_MULTIVALUE, /* several values of one key, all asked for */
    RULER_TRACKING    /* a chain of variables, all with one value, are asked for (variable tracking) */
} ruler_needle_kind;
bool ruler_needle_kind_named(const char *name, ruler_needle_kind *kind); /* "single", "multikey", ... */
const char *ruler_needle_kind_name(ruler_needle_kind kind);

typedef enum ruler_phrasing {
    RULER_SPECIAL, /* The special number for WORD is DIGITS. */
    RULER_SECRET,  /* The secret code of WORD is DIGITS. */
    RULER_VALUE,   /* Remember: WORD has the value DIGITS. */
    RULER_MAGIC    /* the phrasing of RULER (C.-P. Hsieh et al., 2024) */
} ruler_phrasing;
bool ruler_phrasing_named(const char *name, ruler_phrasing *phrasing); /* "special", "secret", "value", "ruler" */

typedef struct ruler_needle_options {
    ruler_needle_kind kind;
    ruler_phrasing phrasing;
    uint32_t length;  /* of the prompt, in tokens at most (bytes without a tokenizer) */
    double depth;     /* of the (first) fact: 0 the beginning, 1 the end; below 0: anywhere */
    uint32_t count;   /* facts, values or links of the chain; 0: 1 for single, else 4 */
    uint32_t digits;  /* of a value, 0: 5 */
    const char *text; /* the haystack; NULL: the built-in filler */
    size_t text_size;
} ruler_needle_options;

#define RULER_MAX_NEEDLES 16
typedef struct ruler_needle {
    pith_buffer prompt; /* text, without a NUL */
    char answers[RULER_MAX_NEEDLES][16];
    uint32_t n_answers;
    uint32_t max_tokens; /* that the answer may take, generous */
} ruler_needle;
/* The prompt of number `index` of a seed. `t` NULL: lengths in bytes. PITH_E_ARGUMENT when the facts alone are too
 * long. Free with ruler_needle_free. */
pith_status ruler_needle_make(pith_ctx *ctx, const tokenizer *t, const ruler_needle_options *options, uint64_t seed,
                              uint32_t index, ruler_needle *out);
void ruler_needle_free(pith_ctx *ctx, ruler_needle *n);
const char *ruler_filler(size_t *size);

/* The share of the answers that stand in the text as words of their own; a single answer must be its first word.
 * 1 is an exact match. */
double ruler_needle_grade(const ruler_needle *n, const char *text, size_t size);
typedef struct ruler_needle_score {
    size_t n, exact;
    double recall; /* mean share */
} ruler_needle_score;
/* One prompt and what greedy generation made of it. May be NULL. */
typedef void (*ruler_needle_fn)(void *opaque, const ruler_needle *needle, const char *text, size_t size, double grade);
/* n prompts, each answered by greedy generation (64 tokens at most). Ticks by prompts. */
pith_status ruler_needle_test(pith_ctx *ctx, const lm_model *m, const ruler_needle_options *options, uint64_t seed,
                              uint32_t n, uint32_t n_threads, ruler_needle_fn each, void *opaque,
                              ruler_needle_score *out);

/* ---- running time (runtime.c, runtime_measure.c) --------------------------------------------------------------- */

/* A request: p prompt tokens, o generated ones (o >= 1), t seconds of processor time. */
typedef struct ruler_timing {
    uint32_t prompt, output;
    double seconds;
} ruler_timing;
#define RULER_KNOTS 2
/* t = overhead + a0 p + sum a_k max(0, p - knot_k) + (o - 1) g [ + h * sum of the positions of all tokens fed ],
 * by least squares of relative errors. Knots are the model of D. Narayanan et al., 2023. The term in h is ours: a token
 * attends to all before it, whether it was read or generated, so that one number holds the bend of both; with it no
 * knots are needed. */
typedef struct ruler_runtime {
    double overhead, prefill, bend[RULER_KNOTS], knot[RULER_KNOTS], per_token, per_position;
    uint32_t n_knots;
    bool positions; /* the term in h was fitted */
} ruler_runtime;
/* Needs as many different points as there are terms; n_knots <= RULER_KNOTS at equal steps of the sorted prompts. */
pith_status ruler_runtime_fit(pith_ctx *ctx, const ruler_timing *timings, size_t n, uint32_t n_knots, bool positions,
                              ruler_runtime *out);
double ruler_runtime_predict(const ruler_runtime *r, uint32_t prompt, uint32_t output);
/* Relative errors |predicted - measured| / measured over n >= 1 timings. */
typedef struct ruler_runtime_error {
    double mean, p90, max;
} ruler_runtime_error;
pith_status ruler_runtime_check(pith_ctx *ctx, const ruler_runtime *r, const ruler_timing *timings, size_t n,
                                ruler_runtime_error *out);
/* Fills in `seconds` (processor time of this thread, the smallest of `repeats`) of every timing, one thread, tokens
 * of no meaning. `wall`, when not NULL, [n] gets the wall time of the same run. Ticks by runs. */
pith_status ruler_runtime_measure(pith_ctx *ctx, const lm_model *m, ruler_timing *timings, size_t n, unsigned repeats,
                                  double *wall);

#include "lm/ruler/patterns.h"

#endif
