/* pith/model.h: archives of model files.
 *
 * A model file (GGUF, safetensors, NumPy, llama2.c, rwkv.cpp) becomes one archive. Without a recipe nothing is lost:
 * the same file comes back, byte for byte. A recipe names tensors by patterns and says how their matrices are coded;
 * what it does not name, vectors, and matrices that have numbers which are not finite, stay exact:
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

/* What a recipe lost. Errors are squares: 0.01 means a hundredth of the energy. */
typedef struct pith_model_loss {
    uint64_t weights;     /* that the recipe coded */
    double weights_error; /* sum (w - r)^2 / sum w^2 over them */
    double outputs_error; /* E |Wx - Rx|^2 / E |Wx|^2 under the statistics, mean over weights, from 32 rows of each
                           * matrix; NaN without statistics */
    double worst_error;   /* the largest weights_error of a matrix */
    char worst[64];       /* its name, cut to 63 bytes */
} pith_model_loss;

/* How to compress. Fill with pith_model_options_init, then change what you want changed. */
typedef struct pith_model_options {
    size_t size;        /* sizeof(pith_model_options), set by init */
    const char *recipe; /* NULL: lossless */
    const char *stats;  /* file of statistics of the inputs (`pith model stats`, or llama.cpp's importance matrix),
                         * for recipes that weigh errors; NULL: none */
    pith_model_loss *loss; /* filled where a recipe codes something, zeros otherwise; NULL: not wanted */
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

/* How to restore what a recipe coded. Fill with pith_model_expand_options_init. */
typedef struct pith_model_expand_options {
    size_t size;        /* sizeof(pith_model_expand_options), set by init */
    const char *type;   /* "f16", "f32", "bf16", and for GGUF "q8_0", "q4_K", ...: matrices that a recipe coded come in
                         * it (rows that are no multiple of its block in f16); exact tensors stay. NULL: as in the
                         * original, and all in f16 where one of those types cannot be written */
    unsigned levels;    /* of stack(...): at most so many of each; 0: all */
    uint64_t bytes;     /* of the archive to use: first levels first, then as many more as fit; 0: all */
    const pith_decode_options *limits; /* NULL: the defaults */
} pith_model_expand_options;
PITH_API void pith_model_expand_options_init(pith_model_expand_options *options);

typedef struct pith_model_expanded {
    char type[16];                   /* that coded matrices got; "" when they are as in the original */
    uint64_t bytes, whole;           /* of the archive used, and all of it */
    uint64_t stacks;                 /* tensors with levels to choose from */
    unsigned fewest, most, n_levels; /* levels used of these tensors, and the most there are */
} pith_model_expanded;
/* Restores as pith_model_decompress does when nothing else is asked for; with another type a new file of the same format
 * (GGUF, safetensors). options and result may be NULL. PITH_E_ARGUMENT: fewer bytes than the first levels take. */
PITH_API pith_status pith_model_expand(pith_ctx *ctx, const pith_model_expand_options *options, const char *path,
                                       pith_write_fn write, void *opaque, pith_model_expanded *result);

/* One tensor as a NumPy array (.npy) in C order; nothing else is decoded. `type` of the options may be f32 or f16; NULL:
 * its own where NumPy has that, else f32. PITH_E_ARGUMENT: no such tensor. */
PITH_API pith_status pith_model_tensor(pith_ctx *ctx, const pith_model_expand_options *options, const char *path,
                                       const char *name, pith_write_fn write, void *opaque, pith_model_expanded *result);

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
