/* What the files of statistics share: the object behind model_stats, and names of tensors and keys. Private. */
#ifndef ARTEFACTS_MODEL_STATS_PARTS_H
#define ARTEFACTS_MODEL_STATS_PARTS_H

#include "artefacts/model/stats.h"

#define STATS_SUM2 ".in_sum2"
#define STATS_SUM ".in_sum"
#define STATS_COUNTS ".counts"
#define STATS_GRAM ".gram"
#define STATS_INFLUENCE "pith.block_influence"
#define STATS_NATS "pith.nats"
#define STATS_TOKENS "pith.tokens"
#define STATS_CHECKS "pith.checks"
#define STATS_NAME_MAX 63 /* bytes of a tensor's name in GGUF, suffix included */

typedef struct stats_gram {
    const tensor_view *view;
    uint64_t check; /* XXH3-64 of its data; 0: the file has none */
} stats_gram;

struct model_stats {
    tensor_file *file; /* NULL: a .dat */
    model_stats_entry *entries;
    uint32_t *order; /* [n] entries by name */
    uint32_t *gram;  /* [n] index into grams of what an entry shares, UINT32_MAX: none */
    stats_gram *grams;
    size_t n, n_grams;
    float *values; /* behind h and mean */
    double *seen;
    char *names;
    model_stats_about about;
    float *influence;
    float *tokens; /* [2][n_tokens] of STATS_TOKENS; when embedding and output are one, the first is their sum */
    size_t n_tokens;
    bool tied;
    bool by_calls; /* .dat: counts are calls, and parts are not known */
};

/* Fills s from an open GGUF (s->file). */
pith_status stats_read_gguf(pith_ctx *ctx, model_stats *s);
/* Gram matrices and who shares them; after stats_sort. */
pith_status stats_read_grams(pith_ctx *ctx, model_stats *s);
pith_status stats_read_dat(pith_ctx *ctx, model_stats *s, const uint8_t *data, size_t size);
/* Arrays for n entries with n_values numbers (twice as many with `means`), n_parts parts, name_bytes bytes of names. */
pith_status stats_reserve(pith_ctx *ctx, model_stats *s, size_t n, size_t n_values, bool means, size_t n_parts,
                          size_t name_bytes);
/* Sorts by name; PITH_E_FORMAT when two entries have one name. */
pith_status stats_sort(pith_ctx *ctx, model_stats *s);
/* The place of an entry, or SIZE_MAX. */
size_t stats_index(const model_stats *s, const char *name, size_t name_n);

/* XXH3-64 of a tensor's data, never 0. */
uint64_t stats_check_of(const void *data, size_t size);
void stats_hex(const uint8_t *bytes, size_t n, char *out); /* out[2n + 1] */
/* The key under which a text is remembered, out[17]. */
void stats_text_key(const void *text, size_t size, char out[17]);

#endif
