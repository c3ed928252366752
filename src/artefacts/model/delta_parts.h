/* What the kinds of deltas share. Private to this folder. */
#ifndef MODEL_DELTA_PARTS_H
#define MODEL_DELTA_PARTS_H

#include "artefacts/model/delta.h"
#include "artefacts/model/difference.h"
#include "artefacts/model/layout.h"

/* Where bytes go, counted and hashed on the way. */
typedef struct delta_sink {
    pith_ctx *ctx;
    tensor_write_fn write; /* NULL: nowhere */
    void *opaque;
    void *state;          /* XXH3 */
    uint64_t bytes, most; /* PITH_E_FORMAT past `most` */
} delta_sink;
pith_status delta_sink_open(pith_ctx *ctx, tensor_write_fn write, void *opaque, uint64_t most, delta_sink *s);
pith_status delta_sink_put(delta_sink *s, const void *data, size_t n);
void delta_sink_hash(const delta_sink *s, uint8_t hash[16]);
void delta_sink_close(delta_sink *s);

/* How a series codes floats that continue those of the base (series_levels.c); plain deltas have none. */
typedef struct series_coder series_coder;

typedef struct delta_pair {
    pith_ctx *ctx;
    series_coder *series; /* NULL: exact */
    model_layout base, fine;
    const model_delta_options *options;
    model_delta_report *report;
    const tensor_view **partners; /* ternary: [base.n_views], what is subtracted; NULL where nothing is */
} delta_pair;

/* The tensor of that name in l; n_views when there is none. */
size_t delta_find(const model_layout *l, meta_string name);

/* ---- exact (delta_exact.c) ---- */
pith_status delta_exact_encode(delta_pair *p, delta_sink *out);
pith_status delta_exact_decode(pith_ctx *ctx, const model_layout *base, series_coder *series, repr_reader *in,
                               delta_sink *out);

/* ---- ternary (delta_ternary.c) ---- */

/* A packer as a recipe names it. */
typedef struct delta_packer {
    pith_recipe *recipe;
    repr_job job;
    repr_stats stats;
} delta_packer;
pith_status delta_packer_open(pith_ctx *ctx, const char *text, size_t n, delta_packer *p);
void delta_packer_close(delta_packer *p);

/* What is kept of tau, settled before anything is written. */
typedef struct delta_plan {
    uint32_t threshold; /* magnitudes above it are kept, as bits of a float; of equal ones the first `ties` */
    uint64_t ties;
    float value;
} delta_plan;
pith_status delta_ternary_plan(delta_pair *p, delta_plan *plan);
/* What applying will give is hashed into *result. */
pith_status delta_ternary_encode(delta_pair *p, const delta_plan *plan, delta_packer *packer, delta_sink *out,
                                 delta_sink *result);
pith_status delta_ternary_decode(pith_ctx *ctx, const model_layout *base, delta_packer *packer, repr_reader *in,
                                 delta_sink *out);

#endif
