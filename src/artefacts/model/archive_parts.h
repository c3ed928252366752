/* What the files of the model archive share. Private. */
#ifndef MODEL_ARCHIVE_PARTS_H
#define MODEL_ARCHIVE_PARTS_H

#include "artefacts/model/archive.h"
#include "pith/file.h"

#define ARCHIVE_PIECE_BYTES ((uint64_t)16 << 20)
#define ARCHIVE_TAIL_BYTES 24
#define ARCHIVE_INDEX_MAX ((uint64_t)256 << 20) /* bytes of an index, decoded */

struct model_archive {
    const uint8_t *data;
    uint64_t size;
    bool mapped;
    archive_index index;
    pith_recipe *recipe;
    repr_chain **chains; /* [rules of the recipe], NULL where no tensor uses it */
    uint32_t *order;     /* tensors by name */
};

/* ---- header, index, tail (archive_index.c) ---- */

void archive_index_free(pith_ctx *ctx, archive_index *x);
/* Bytes of one piece of an exact tensor: whole blocks. */
uint64_t archive_piece_bytes(tensor_type type);
/* Fills pieces from tensors and rest_n: whose they are, by which rule of the recipe (NULL: none is coded), where, how
 * long. Coded lengths stay 0. */
pith_status archive_lay_out(pith_ctx *ctx, archive_index *x, const pith_recipe *recipe);
pith_status archive_header_put(pith_ctx *ctx, const archive_index *x, pith_buffer *out);
/* Index and tail. */
pith_status archive_index_put(pith_ctx *ctx, const archive_index *x, pith_buffer *out);
/* All of an archive's frame; everything in *x is checked against the bytes that are there. */
pith_status archive_index_get(pith_ctx *ctx, const uint8_t *data, uint64_t size, archive_index *x);
/* What a coded tensor consists of. */
static inline uint64_t archive_rows(const archive_tensor *t) { return t->ne[1]; }
static inline uint64_t archive_matrices(const archive_tensor *t) { return t->n_elements / (t->ne[0] * t->ne[1]); }
static inline bool archive_by_matrix(const archive_tensor *t) {
    return t->mode == ARCHIVE_CODED && t->rule == ARCHIVE_NO_RULE;
}
/* Whether a rule may code it: floats in matrices. */
bool archive_codable(const archive_tensor *t);

/* Puts the name of a piece's tensor in front of the session's message. Not while other threads may fail. */
pith_status archive_blame(pith_ctx *ctx, const archive_index *x, size_t piece, pith_status status);
/* A whole file in memory, read-only; munmap frees it. Messages do not name the path. */
pith_status archive_map(pith_ctx *ctx, const char *path, const uint8_t **data, size_t *size);

/* ---- pieces to what is asked for (archive_decode.c) ---- */

/* The tensor whose pieces tensor i has. */
static inline const archive_tensor *archive_stored(const archive_index *x, size_t i) {
    const archive_tensor *t = &x->tensors[i];
    return t->mode == ARCHIVE_SAME ? &x->tensors[t->like] : t;
}
/* The type that tensor i is written in. */
tensor_type archive_written_type(const archive_index *x, const archive_wish *wish, size_t i);
/* Elements of a piece of a tensor. */
static inline uint64_t archive_piece_elements(const archive_tensor *t, const archive_piece *p) {
    const tensor_type_info *type = tensor_type_of(t->type);
    return p->rule != ARCHIVE_NO_RULE ? p->raw_n / sizeof(float) : p->raw_n / type->block_bytes * type->block;
}
/* One exact piece into dst[raw_n]; one coded matrix, or some levels of it, into dst[rows][cols]. */
pith_status archive_exact(pith_ctx *ctx, const model_archive *a, const archive_piece *p, uint8_t *dst);
pith_status archive_coded(pith_ctx *ctx, const model_archive *a, const archive_piece *p, unsigned levels,
                          repr_parts *parts, float *dst);
/* A piece of a coded tensor in a type; dst = NULL: only checked. */
pith_status archive_coded_as(pith_ctx *ctx, const model_archive *a, const archive_piece *p, unsigned levels,
                             repr_parts *parts, tensor_type type, uint8_t *dst);
/* Of threads: number of the first piece that failed, 0 when none; the message of the session is its. */
pith_status archive_note_failure(_Atomic size_t *failed, size_t piece, pith_status status);

/* ---- all tensors in an order (archive_restore.c) ---- */

/* Bytes of tensor order[i] in pieces, from its first (`begins`) on; tensors without bytes come once with n = 0. When
 * `only_check`, coded tensors come without bytes. */
typedef struct archive_flow {
    const size_t *order; /* [n]; NULL: as they are */
    size_t n;
    bool only_check;
    pith_status (*take)(void *opaque, size_t tensor, bool begins, const uint8_t *bytes, size_t n);
    void *opaque;
} archive_flow;
pith_status archive_stream(pith_ctx *ctx, model_archive *a, const archive_wish *wish, const archive_flow *flow);

/* ---- the public functions (model.c, model_expand.c) ---- */

typedef struct archive_sink {
    pith_ctx *ctx;
    pith_write_fn write; /* NULL: nowhere */
    void *opaque;
} archive_sink;
/* A tensor_write_fn; opaque is the archive_sink. */
pith_status archive_sink_write(void *opaque, const void *data, size_t size);
/* Opens within limits, which may be NULL. */
pith_status archive_open_within(pith_ctx *ctx, const pith_decode_options *limits, const char *path, model_archive **a);

/* ---- exact pieces (archive_piece.c) ---- */

/* Codes src[n] of a type (of the rest: TENSOR_U8 with rest = true) the best way it knows; appends to out. */
pith_status archive_piece_encode(pith_ctx *ctx, tensor_type type, bool rest, const uint8_t *src, size_t n,
                                 archive_coding *coding, pith_buffer *out);
/* The reverse; uses all of src[n], fills dst[raw_n]. */
pith_status archive_piece_decode(pith_ctx *ctx, tensor_type type, archive_coding coding, const uint8_t *src, size_t n,
                                 uint8_t *dst, size_t raw_n);
/* One zstd frame that states its size. encode: *smaller = false and nothing appended when it does not pay. */
pith_status archive_zstd_encode(pith_ctx *ctx, int level, const uint8_t *src, size_t n, pith_buffer *out, bool *smaller);
pith_status archive_zstd_decode(pith_ctx *ctx, const uint8_t *src, size_t n, uint8_t *dst, size_t raw_n);

/* ---- recipes and names (archive_match.c) ---- */

/* Whether a name matches a pattern of a rule: globs with commas between them. */
bool archive_matches(const char *pattern, const char *name, size_t name_n);
/* The rule for matrix number `matrix` of the `n` that a tensor is made of: the first whose pattern matches the tensor's
 * name or, of a stack (n > 1) and with a colon in it, "NAME:MATRIX". A number below recipe->n_rules, or n_rules when none does. */
size_t archive_rule_for(const pith_recipe *recipe, meta_string name, uint64_t matrix, uint64_t n);
/* The same for all of them: *rule when they agree; false when not. */
bool archive_one_rule(const pith_recipe *recipe, meta_string name, uint64_t n, size_t *rule);

#endif
