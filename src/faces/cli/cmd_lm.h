/* What the verbs of `pith lm` share: options, the session and the model, texts, the progress line.
 * Each verb is one function int (argc, argv), argv[0] being its own name. */
#ifndef CLI_CMD_LM_H
#define CLI_CMD_LM_H

#include "faces/cli/cli.h"
#include "faces/cli/json.h"
#include "lm/lm.h"

/* ---- verbs; the texts behind `pith lm VERB --help` ---- */

int lm_info_main(int argc, char **argv);
int lm_tokenize_main(int argc, char **argv);
int lm_detokenize_main(int argc, char **argv);
int lm_generate_main(int argc, char **argv);
int lm_perplexity_main(int argc, char **argv);
int lm_surprise_main(int argc, char **argv);
int lm_needle_main(int argc, char **argv);
int lm_cloze_main(int argc, char **argv);
int lm_time_main(int argc, char **argv);
int lm_tune_main(int argc, char **argv);

/* ---- options (cmd_lm_options.c) ---- */

typedef enum lm_option_kind {
    LM_FLAG,    /* bool */
    LM_TEXT,    /* const char * */
    LM_NUMBER,  /* uint64_t within [low, high] */
    LM_REAL,    /* double, finite */
    LM_OPTIONAL /* const char *: "" when it stands alone, else what follows its = */
} lm_option_kind;

/* One option of a verb: --name=VALUE or --name VALUE; with `letter` also -xVALUE or -x VALUE. */
typedef struct lm_option {
    const char *name;
    char letter; /* 0: none */
    lm_option_kind kind;
    void *value;
    uint64_t low, high; /* of LM_NUMBER */
} lm_option;

/* What every verb knows: --model, --ctx, -T, -M, --json, -f, -q, --help, and its names. */
typedef struct lm_options {
    const char *model; /* a path; NULL: the built-in model */
    uint32_t n_ctx;    /* 0: not given */
    unsigned n_threads;
    uint64_t memory_bytes;
    bool json, force, help;
    const char **names; /* owned array of borrowed strings */
    size_t n_names;
} lm_options;

#define LM_COMMON_HELP                                                                                                 \
    "      --model=FILE    a model file (default: the built-in pith-mini)\n"                                           \
    "      --ctx=N         tokens of context\n"                                                                        \
    "  -T#, --threads=#    threads (default: one for each processor)\n"                                                \
    "  -M#, --memory=#     memory limit (default 1G; mapped files do not count)\n"                                     \
    "      --json          one JSON object\n"                                                                          \
    "  -q                  no progress and no notes\n"

/* argv[0] is the verb. At most max_names names. CLI_FAIL with the message printed. */
int lm_options_parse(lm_options *o, int argc, char **argv, const lm_option *extra, size_t n_extra, size_t max_names);
void lm_options_free(lm_options *o);

/* What keys and values are kept in, of the verbs that run a model. */
typedef struct lm_cache_choice {
    const char *both, *keys, *values; /* NULL: not given */
} lm_cache_choice;
#define LM_CACHE_OPTIONS(c)                                                                                            \
    {"cache-type", 0, LM_TEXT, &(c).both, 0, 0}, {"cache-type-k", 0, LM_TEXT, &(c).keys, 0, 0}, {                      \
        "cache-type-v", 0, LM_TEXT, &(c).values, 0, 0                                                                  \
    }
#define LM_CACHE_HELP                                                                                                  \
    "      --cache-type=T  keys and values of the context kept as T: f32, f16 (default), bf16, q8_0, q5_1,\n"           \
    "                      q5_0, q4_1, q4_0, iq4_nl; --cache-type-k=T, --cache-type-v=T: one of the two\n"
/* Sets the model's types (lm_set_cache); CLI_FAIL with the message printed. */
int lm_cache_choose(const lm_cache_choice *c, const char *verb, pith_ctx *ctx, lm_model *m);

/* ---- a session with a model (cmd_lm_session.c) ---- */

/* The path behind a name: "default" is NULL, the built-in model. */
const char *lm_model_path(const char *name);
const char *lm_model_label(const char *path);
/* A session by the options; NULL with the message printed. */
pith_ctx *lm_session_of(const lm_options *o);
/* Opens a model; CLI_FAIL with the message printed. Free with lm_close. */
int lm_open_named(pith_ctx *ctx, const char *path, lm_model **m);
/* Says that the model at `path` has no tokenizer, and what helps: CLI_FAIL. */
int lm_without_words(pith_ctx *ctx, const char *path);
/* The session's last failure, the name in front unless the message has it. */
int lm_failed(pith_ctx *ctx, const char *name);
/* All of a file, "-" being standard input. */
int lm_read_text(pith_ctx *ctx, const char *name, pith_buffer *out);
/* The named text, or the built-in one when name is NULL. */
int lm_text_or_default(pith_ctx *ctx, const char *name, pith_buffer *out);

/* A token's bytes as JSON text; what is no UTF-8 by itself as \\xNN. */
json_t *lm_piece_json(const tokenizer *t, uint32_t id);

/* Counts what the session ticks in `unit`, such as "chunks". Clear before printing. */
typedef struct lm_progress {
    cli_progress line;
    const char *unit;
} lm_progress;
void lm_progress_start(lm_progress *p, pith_ctx *ctx, const char *verb, const char *unit);
void lm_progress_clear(lm_progress *p, pith_ctx *ctx);

/* A whole file or none, for what a library function writes in pieces: lm_write_piece with it as opaque. */
typedef struct lm_writer {
    pith_ctx *ctx;
    cli_output out;
} lm_writer;
int lm_writer_open(lm_writer *w, pith_ctx *ctx, const char *path, bool replace);
pith_status lm_write_piece(void *opaque, const void *data, size_t size);
/* Syncs and renames, or throws away when !good. */
int lm_writer_close(lm_writer *w, bool good, bool replace);

#endif
