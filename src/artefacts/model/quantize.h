/* GGUF files with fewer bits that llama.cpp reads: which block type each tensor gets (its mixes, quantize_mix.c),
 * and the file with all of them encoded. With the same options the bytes are those of its llama-quantize. */
#ifndef ARTEFACTS_MODEL_QUANTIZE_H
#define ARTEFACTS_MODEL_QUANTIZE_H

#include "artefacts/model/stats.h"
#include "formats/tensors/tensors.h"

/* "q4_K_M" and the like: the type most tensors get, and the rules for the others. */
typedef struct quantize_mix {
    const char *name;
    uint32_t file_type; /* llama.cpp's number (llama.h, llama_ftype), general.file_type */
    tensor_type type;
} quantize_mix;

/* Letter case does not matter; q3_K, q4_K and q5_K mean their _M. NULL when there is none. */
const quantize_mix *quantize_mix_named(const char *name);
/* All of them, ending with a row whose name is NULL. */
extern const quantize_mix quantize_mixes[];

/* The first pattern (a regular expression, found anywhere in the name, letter case aside) decides. */
typedef struct quantize_choice {
    const char *pattern;
    size_t pattern_n;
    tensor_type type;
} quantize_choice;

typedef enum quantize_method { QUANTIZE_NEAREST, QUANTIZE_GPTQ } quantize_method;

typedef struct quantize_options {
    const quantize_mix *mix;
    quantize_method method;
    bool pure;       /* every tensor gets the mix's type */
    bool requantize; /* take tensors that are in blocks already */
    const tensor_type_info *output, *embedding; /* for output.weight and token_embd.weight; NULL: by the mix */
    const quantize_choice *choices;
    size_t n_choices;
    const model_stats *stats; /* NULL: without importance */
    const char *stats_name;   /* as the file is to say it */
} quantize_options;

/* What one tensor becomes. */
typedef struct quantize_tensor {
    const tensor_view *from;
    tensor_type type;
    uint64_t bytes;
    bool fell_back;                      /* its rows are no multiple of the block that was wanted */
    const model_stats_entry *importance; /* NULL: none */
} quantize_tensor;

typedef struct quantize_plan {
    const tensor_file *file;
    quantize_options options;
    quantize_tensor *list; /* in the order of the new file: tensors of no layer, then layer by layer, each by name */
    size_t n, n_fallbacks, n_changed;
    uint64_t bytes_before, bytes_after, n_elements;
} quantize_plan;

/* Decides everything; f and what options point to must outlive the plan. PITH_E_ARGUMENT: a file that is no GGUF,
 * types that are not written, blocks without `requantize`, types of few bits without importance, a bad pattern. */
pith_status quantize_plan_new(pith_ctx *ctx, const tensor_file *f, const quantize_options *options,
                              quantize_plan **out);
void quantize_plan_free(pith_ctx *ctx, quantize_plan *plan);

/* The whole file through `write`, rows in parallel, a few batches of them in memory (QUANTIZE_GPTQ: a matrix).
 * Ticks by bytes of the new file. PITH_E_CHECK: a tensor holds what is no number. */
pith_status quantize_write(pith_ctx *ctx, const quantize_plan *plan, tensor_write_fn write, void *opaque);

/* ---- the rules (quantize_mix.c) ------------------------------------------------------------------ */

/* What the rules ask of a model. */
typedef struct quantize_model {
    bool falcon, has_importance;
    bool tied; /* no output.weight: the embedding stands for it */
    bool is_70b;
    uint32_t n_layers, n_experts, n_gqa; /* query heads for each key head */
    uint32_t n_values;                   /* matrices of values in attention */
    uint32_t values, downs, gates, ups;  /* met so far */
} quantize_model;

quantize_model quantize_model_of(const tensor_file *f, bool has_importance);
/* Whether tensors of this name and shape are quantised at all. */
bool quantize_allowed(const tensor_view *t);
/* The mix's type for the next tensor; tensors must come in the order of the plan. */
tensor_type quantize_choose(quantize_model *m, const quantize_mix *mix, const tensor_view *t);
/* What takes the place of `type` for rows of so many columns. */
tensor_type quantize_fallback(tensor_type type, uint64_t columns);
/* Whether it is not done without importance. */
bool quantize_needs_importance(const quantize_mix *mix, const tensor_view *t, tensor_type type);

#endif
