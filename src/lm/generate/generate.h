/* Text from a language model: how the next token is chosen, how its text comes out, and drafts
 * that let one pass of the model give several tokens without changing any of them. */
#ifndef LM_GENERATE_GENERATE_H
#define LM_GENERATE_GENERATE_H

#include "lm/lm.h"

/* ---- choosing a token (sampler.c) -------------------------------------------------------------- */

typedef struct logit_bias {
    uint32_t id;
    float bias; /* added to the logit; -INFINITY forbids the token */
} logit_bias;

/* The steps in their order, which is llama.cpp's: biases; penalties; top-k; typical; top-p; min-p;
 * temperature; choice. */
typedef struct sampling {
    float repeat_penalty;     /* tokens of the window: logit / penalty if > 0, else * penalty; 1: off */
    float frequency_penalty;  /* less this for each time in the window; 0: off */
    float presence_penalty;   /* less this if in the window at all; 0: off */
    uint32_t penalty_window;  /* last tokens, the prompt's included; UINT32_MAX: all */
    uint32_t top_k;           /* the k most probable; 0: off */
    float typical;            /* locally typical mass (Meister et al., 2023); 1: off */
    float top_p;              /* the most probable until their sum is at least p (Holtzman et al., 2020); 1: off */
    float min_p;              /* those at least p times as probable as the best; 0: off */
    float temperature;        /* logits are divided by it; 0: the most probable token */
    uint64_t seed;
    const logit_bias *biases; /* [n_biases], must live as long as the sampler */
    size_t n_biases;
} sampling;
/* Temperature 0.8, top-k 40, top-p 0.95, min-p 0.05, no penalties but a window of 64, seed 0. */
sampling sampling_defaults(void);

typedef struct sampler sampler;
/* PITH_E_ARGUMENT names the setting that makes no sense. */
pith_status sampler_new(pith_ctx *ctx, const sampling *how, size_t n_vocab, sampler **out);
void sampler_free(pith_ctx *ctx, sampler *s); /* NULL is fine */
/* The token after history[n], whose logits are given. It depends on the settings, the logits, the
 * history and the seed alone: token i gets the random number r(seed, n, i), and the one with the
 * smallest -ln(r) / probability is chosen, the lowest id among equals. So a place has one
 * choice, however often and in whatever order it is asked for, on every machine.
 * A logit that is not a number counts as -INFINITY. */
uint32_t sampler_choose(sampler *s, const float *logits, const uint32_t *history, size_t n);
typedef struct choice {
    uint32_t id;
    double p;
} choice;
/* What sampler_choose chooses from, with the probabilities (temperature 0: one token); any
 * order. Valid until the next call. */
const choice *sampler_choices(sampler *s, const float *logits, const uint32_t *history, size_t n, size_t *n_choices);

/* ---- text as it comes (stream.c) ----------------------------------------------------------------- */

typedef struct byte_string {
    const char *data;
    size_t size;
} byte_string;

/* Text in pieces: never less than whole UTF-8 sequences, and nothing that may still turn out
 * to be a stop string. Returns false to end the generation. */
typedef bool (*text_fn)(void *opaque, const char *text, size_t size);

typedef struct text_stream text_stream;
/* stops[n_stops] must live as long; empty ones are ignored. any_bytes: bytes that are no UTF-8
 * come as they are; else as U+FFFD. */
pith_status text_stream_new(pith_ctx *ctx, const byte_string *stops, size_t n_stops, bool any_bytes, text_fn fn,
                            void *opaque, text_stream **out);
void text_stream_free(pith_ctx *ctx, text_stream *t); /* NULL is fine */
void text_stream_clear(text_stream *t);
/* More bytes. *stop: index of the stop string that is complete now (the first to end, then the
 * longest, whatever the pieces), SIZE_MAX for none; the text before it has been handed out, and no
 * more will be. PITH_E_CANCELLED, without a message, when fn said so. */
pith_status text_stream_put(text_stream *t, const void *data, size_t size, size_t *stop);
/* Hands out what was held back. */
pith_status text_stream_end(text_stream *t);

/* ---- generation (generate.c) ----------------------------------------------------------------------- */

typedef enum draft_kind {
    DRAFT_NONE,
    DRAFT_SUFFIX, /* from what followed the same tokens before (Oliaro et al., SuffixDecoding, 2024) */
    DRAFT_MODEL   /* from a smaller model of the same vocabulary (Leviathan et al., 2023) */
} draft_kind;

/* Zeros are defaults unless told otherwise. */
typedef struct generate_options {
    sampling how; /* set it from sampling_defaults() */
    uint32_t max_tokens;                     /* 0: until the context is full */
    uint32_t n_ctx;                          /* tokens of prompt and answer; 0: what the model was trained with */
    uint32_t max_batch;                      /* 0: 512 */
    uint32_t n_threads;                      /* 0: those of the session object */
    lm_cache_type cache;                     /* of the draft model too */
    const byte_string *stops;                /* borrowed */
    size_t n_stops;
    const uint32_t *stop_tokens;             /* borrowed; the model's own end tokens stop too */
    size_t n_stop_tokens;
    bool ignore_end;                         /* the model's end tokens are never chosen */
    bool any_bytes;                          /* of the text stream */
    draft_kind draft;
    const lm_model *draft_model;             /* of DRAFT_MODEL */
    uint32_t max_draft;                      /* tokens; 0: 16 */
    float draft_min_p;                       /* a draft ends where its probability falls below; 0: 0.1, of models 0.5 */
    float draft_factor, draft_offset;        /* after m equal tokens at most factor * m + offset are drafted; 0: 1, 0 */
    size_t past_tokens;                      /* of finished texts that DRAFT_SUFFIX remembers; 0: 65536 */
    text_fn on_text;                         /* may be NULL */
    /* Each token as it is chosen, its end tokens too; false ends. May be NULL. */
    bool (*on_token)(void *opaque, uint32_t id);
    void *opaque;
} generate_options;

typedef enum generate_end {
    GENERATE_LENGTH,  /* max_tokens */
    GENERATE_TOKEN,   /* an end or stop token, the last of the ids */
    GENERATE_STRING,  /* a stop string; the tokens that gave it are among the ids */
    GENERATE_CONTEXT, /* the context is full */
    GENERATE_CANCELLED
} generate_end;
const char *generate_end_name(generate_end end); /* "length", "token", "string", "context", "cancelled" */

typedef struct generate_stats {
    generate_end end;
    size_t stop;      /* of GENERATE_STRING: which */
    uint64_t n_prompt, n_tokens;
    uint64_t n_steps; /* passes of the model after the prompt's */
    uint64_t n_drafted, n_accepted;
} generate_stats;

/* One model at work: a sequence, a sampler, what drafts need. One thread at a time, reusable. */
typedef struct generator generator;
/* ctx and both models must outlive it. PITH_E_ARGUMENT when the draft model's vocabulary is another one. */
pith_status generator_new(pith_ctx *ctx, const lm_model *m, const generate_options *options, generator **out);
void generator_free(generator *g); /* NULL is fine */
/* Continues prompt[n], n >= 1; appends the new ids to *out (NULL: dropped). With or without
 * drafts, whatever their kind, the ids are the same: each is chosen by sampler_choose from the
 * model's own logits, and a draft only says which logits to compute together. As the choice of
 * a place is fixed by the seed, a drafted token is kept with exactly the probability that
 * the model gives it, the rejection rule of speculative sampling for a draft that is one token.
 * Tokens of the prompt that the last run left in the sequence are not evaluated again.
 * A callback that ends it is no failure; a cancel by progress is PITH_E_CANCELLED, as everywhere. The
 * stats are filled in either way. PITH_E_LIMIT when the prompt leaves no room in the context. */
pith_status generator_run(generator *g, const uint32_t *prompt, size_t n, token_list *out, generate_stats *stats);
/* Lets DRAFT_SUFFIX know a text as if it had been generated. */
void generator_remember(generator *g, const uint32_t *ids, size_t n);
/* Forgets what was remembered. */
void generator_forget(generator *g);

#endif
