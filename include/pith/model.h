/* pith/model.h: archives of model files.
 *
 * A model file (GGUF, safetensors, NumPy, llama2.c, rwkv.cpp) becomes one archive. Without a recipe nothing is lost:
 * the same file comes back, byte for byte. A recipe names tensors by patterns and says how their matrices are coded;
 * what it does not name, and vectors, stay exact:
 *
 *   pith_model_options o;
 *   pith_model_options_init(&o);
 *   o.recipe = "*attn*.weight -> q(4, group=128) | rans ; *ffn* -> q(3) | rans";
 *
 * The format is in docs/format.md, "Model archive"; docs/recipes.md has the grammar. Archive bytes depend on the
 * file, the options and this library's version only.
 */
#ifndef PITH_MODEL_H
#define PITH_MODEL_H

#include "pith/file.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How to compress. Fill with pith_model_options_init, then change what you want changed. */
typedef struct pith_model_options {
    size_t size;        /* sizeof(pith_model_options), set by init */
    const char *recipe; /* NULL: lossless */
    const char *stats;  /* file of statistics of the inputs (`pith model stats`, or llama.cpp's importance matrix),
                         * for recipes that weigh errors; NULL: none */
} pith_model_options;
PITH_API void pith_model_options_init(pith_model_options *options);

/* Writes the archive of the model file `path`, which must not change meanwhile. options may be NULL. Progress counts
 * bytes of the model file. Memory: about 100 MiB for each thread; with a recipe some copies of the largest matrix. */
PITH_API pith_status pith_model_compress(pith_ctx *ctx, const pith_model_options *options, const char *path,
                                         pith_write_fn write, void *opaque);

/* Restores the model file from the archive `path`: the very bytes, or, where a recipe coded it, the same layout with
 * matrices as the archive keeps them. Everything is checked; output written before a failure must be thrown away.
 * write = NULL: decodes and checks only. options may be NULL. */
PITH_API pith_status pith_model_decompress(pith_ctx *ctx, const pith_decode_options *options, const char *path,
                                           pith_write_fn write, void *opaque);

typedef struct pith_model_info {
    uint64_t archive_size, content_size; /* bytes on disk, and of the model file */
    uint64_t hash;                       /* XXH3-64 of the model file it was made from */
    int lossy;                           /* 1: some tensor was coded by a recipe */
    uint64_t n_tensors, n_coded, n_same; /* all; by a recipe; stored once for another one */
    uint64_t rest_size, rest_coded;      /* what is no tensor: head, padding */
    uint64_t exact_size, exact_coded;    /* tensors kept exactly */
    uint64_t weights;                    /* elements of tensors coded by a recipe */
    uint64_t weights_size, weights_coded; /* their bytes in the model file and in the archive */
} pith_model_info;
/* Reads header and index of an archive, decodes nothing. */
PITH_API pith_status pith_model_info_get(pith_ctx *ctx, const char *path, pith_model_info *info);

/* Whether these first n bytes, at least 8, begin a model archive. */
PITH_API int pith_model_is_archive(const void *data, size_t n);

#ifdef __cplusplus
}
#endif
#endif
