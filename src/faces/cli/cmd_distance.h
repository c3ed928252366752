/* What `pith distance`, `pith rank`, `pith select` and the experiments on them share: the choice of a
 * coder, and lists of texts from files, folders and lines. */
#ifndef CLI_CMD_DISTANCE_H
#define CLI_CMD_DISTANCE_H

#include "faces/cli/cmd_lm.h"
#include "lm/distance/distance.h"

/* ---- a coder by name ---- */

typedef struct coder_choice {
    const char *coder, *model; /* as given: --coder, --model; NULL when not */
    codelen_options options;
    lm_model *opened; /* of options.model, to be closed by coder_close */
} coder_choice;

#define CODER_HELP                                                                                                     \
    "      --coder=NAME    cm (default), cm-large, ssm, zstd, lzma, or lm\n"                                           \
    "      --model=FILE    code lengths by a language model (default: the built-in pith-mini)\n"                       \
    "      --ctx=N         its tokens of context\n"

/* Two entries for the options table of a verb. */
#define CODER_OPTIONS(choice)                                                                                          \
    {"coder", 0, LM_TEXT, &(choice).coder, 0, 0}, { "model", 0, LM_TEXT, &(choice).model, 0, 0 }

/* Fills options; opens the model when one is needed. CLI_FAIL with the message printed. */
int coder_open(pith_ctx *ctx, const lm_options *o, const char *verb, coder_choice *c);
void coder_close(pith_ctx *ctx, coder_choice *c);
/* "cm", or "lm stories15M.gguf". Returns `text`. */
const char *coder_label(const coder_choice *c, char *text, size_t size);

/* ---- texts ---- */

typedef struct text_list {
    distance_text *text;
    char **label; /* a name, or name:line */
    size_t n, capacity;
} text_list;
/* Adds a file, all regular files in a folder (by name), or standard input for "-"; with `lines`, each line that
 * is not empty is a text. CLI_FAIL with the message printed. */
int texts_add(pith_ctx *ctx, text_list *l, const char *name, bool lines);
/* One text, copied. */
int texts_add_bytes(pith_ctx *ctx, text_list *l, const char *label, const void *data, size_t n);
void texts_free(pith_ctx *ctx, text_list *l);

#endif
