/* A file of statistics while it is being made: NAME.part, of its final size from the start, whose units (the small
 * tensors together, then each Gram matrix) are put one after the other and signed with a check each. Private. */
#ifndef ARTEFACTS_MODEL_STATS_FILE_H
#define ARTEFACTS_MODEL_STATS_FILE_H

#include "artefacts/model/stats_parts.h"

typedef struct stats_place {
    uint64_t at, bytes; /* in the file; `at` is filled in by stats_out_open */
    uint32_t unit;      /* 0: the small tensors; 1 + i: Gram matrix i; UINT32_MAX: the checks themselves */
} stats_place;

typedef struct stats_out stats_out;

/* `head` is all in front of the data; places[n], the tensors in order of the file, must outlive *out. What is there
 * already and right is kept. PITH_E_ARGUMENT when NAME.part has another head (unless `restart`) or another writer. */
pith_status stats_out_open(pith_ctx *ctx, const char *path, const pith_buffer *head, stats_place *places, size_t n,
                           uint32_t n_units, bool restart, stats_out **out);
bool stats_out_has(const stats_out *o, uint32_t unit);
/* The data of a unit in pieces, front to back over all its places; then it is done. */
pith_status stats_out_put(stats_out *o, uint32_t unit, const void *data, size_t size);
void stats_out_done(stats_out *o, uint32_t unit);
/* Once what is done is on the disk, says so in the file. */
pith_status stats_out_sign(stats_out *o);
/* Gives it its name, when all units are done. */
pith_status stats_out_finish(stats_out *o);
/* What is unfinished stays. NULL is fine. */
void stats_out_close(stats_out *o);
uint64_t stats_out_bytes(const stats_out *o);

#endif
