/* pith/file.h: lossless compression of any file or byte stream into .pith archives.
 *
 * Three ways in:
 *   one-shot       pith_file_compress / pith_file_decompress, buffer to buffer;
 *   streaming      pith_encoder_* / pith_decoder_*, pushed in, written out by a callback, with
 *                  bounded memory and unknown length;
 *   random access  pith_archive_*, any range of a finished archive through its index.
 *
 * The archive format is described in docs/format.md. Archive bytes depend on the input, the
 * options and this library's version only, never on the number of threads, the processor, the memory
 * limit or the sizes of the pieces handed in.
 *
 * Every call works within its session (pith.h): memory limit, threads, progress, and the
 * message of the last failure. Objects belong to the session they were made with and must be
 * freed before it.
 */
#ifndef PITH_FILE_H
#define PITH_FILE_H

#include "pith/pith.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PITH_FILE_LEVEL_MIN 1
#define PITH_FILE_LEVEL_MAX 9
#define PITH_FILE_LEVEL_DEFAULT 6

/* A size that is not known. */
#define PITH_SIZE_UNKNOWN UINT64_MAX

/* Bounds of the block size in bytes, and its default. */
#define PITH_FILE_BLOCK_MIN ((size_t)1 << 12)
#define PITH_FILE_BLOCK_MAX ((size_t)1 << 26)
#define PITH_FILE_BLOCK_DEFAULT ((size_t)1 << 24)

/* The longest recipe, in bytes, a frame can carry. */
#define PITH_FILE_RECIPE_MAX 1000

/* Receives `size` bytes of output, size > 0, in order, always on the thread that made the call.
 * Non-zero means failure: the running call ends with PITH_E_IO. */
typedef int (*pith_write_fn)(void *opaque, const void *data, size_t size);

/* Reads exactly `size` bytes at `offset` of an archive into `data`; the range is always inside
 * the size given to pith_archive_open. Non-zero means failure (PITH_E_IO). Called on the thread
 * that made the call. */
typedef int (*pith_read_at_fn)(void *opaque, uint64_t offset, void *data, size_t size);

/* ---- options ------------------------------------------------------------- */

/* How to compress. Fill with pith_encode_options_init, then change what you want changed. */
typedef struct pith_encode_options {
    size_t size;           /* sizeof(pith_encode_options), set by init: lets the struct grow later */
    int level;             /* 1 (fast) .. 9 (small); not looked at when there is a recipe */
    const char *recipe;    /* "x86 | lzma(preset=9)": used as it is on every block; NULL: by level */
    size_t block_size;     /* raw bytes per block, PITH_FILE_BLOCK_MIN..MAX; 0: the default. Blocks are
                            * independent: bigger ones are smaller on disk, more of them use more threads */
    int verify;            /* 1: decode each block after coding and compare; 0: do not;
                            * -1 (default): only where floating point takes part: level 9, language
                            * models */
    uint64_t content_size; /* bytes that will be written, or PITH_SIZE_UNKNOWN. A promise: finishing with
                            * another count is PITH_E_ARGUMENT */
} pith_encode_options;
PITH_API void pith_encode_options_init(pith_encode_options *options);

/* What a decoder puts up with. Fill with pith_decode_options_init. */
typedef struct pith_decode_options {
    size_t size;               /* sizeof(pith_decode_options) */
    double max_seconds;        /* refuse (PITH_E_LIMIT) what is estimated to take more processor seconds.
                                * 0, the default: one minute plus a tenth of a second per byte of archive (ten
                                * seconds when pith_lm_use gave the session a model), so that a
                                * small file cannot ask for hours; INFINITY: no limit */
    uint64_t max_content_size; /* refuse to produce more bytes than this; PITH_SIZE_UNKNOWN: no limit */
    uint64_t archive_size;     /* bytes of archive that will come, or PITH_SIZE_UNKNOWN: lets a streaming decoder
                                * refuse impossible claims at the frame header. The other calls know it */
} pith_decode_options;
PITH_API void pith_decode_options_init(pith_decode_options *options);

/* ---- one-shot --------------------------------------------------------------- */

/* The most bytes an archive of n bytes can have under these options (NULL: defaults), or
 * PITH_SIZE_UNKNOWN where that does not fit 64 bits. */
PITH_API uint64_t pith_file_bound(uint64_t n, const pith_encode_options *options);

/* Compresses src[n] into dst[capacity]; *written is the size of the archive. options may be NULL.
 * PITH_E_SPACE when dst is too small; a capacity of pith_file_bound is always enough. The two
 * buffers may not overlap. */
PITH_API pith_status pith_file_compress(pith_ctx *ctx, const pith_encode_options *options, const void *src, size_t n,
                                        void *dst, size_t capacity, size_t *written);

/* Whether these first n bytes begin a .pith archive, or one that a conversion of text has damaged, which decoders
 * name. 8 bytes are enough to know; fewer are taken for an archive while they agree with one. */
PITH_API int pith_file_is_archive(const void *data, size_t n);

/* Restores the archive src[n] (one frame or several) into dst[capacity]; *written is the size of
 * the content. Everything is checked; on failure dst holds nothing of use. PITH_E_SPACE when
 * dst is too small. options may be NULL. */
PITH_API pith_status pith_file_decompress(pith_ctx *ctx, const pith_decode_options *options, const void *src, size_t n,
                                          void *dst, size_t capacity, size_t *written);

/* The size of the content of archive src[n], read from headers and indexes without decoding. */
PITH_API pith_status pith_file_content_size(pith_ctx *ctx, const void *src, size_t n, uint64_t *content_size);

/* Decodes archive src[n] and checks everything, keeping nothing. *content_size (may be NULL) is
 * what it holds. */
PITH_API pith_status pith_file_test(pith_ctx *ctx, const pith_decode_options *options, const void *src, size_t n,
                                    uint64_t *content_size);

/* ---- streaming ----------------------------------------------------------------- */

/* new, write..., finish, free. Memory is bounded by the number of threads times what one block
 * needs; where that passes the session's limit fewer blocks are worked on at once. After a
 * failure every further call but free gives the same status. */
typedef struct pith_encoder pith_encoder;

/* `options` (NULL: defaults) is copied, its recipe too. `write` gets the archive as it is made. */
PITH_API pith_status pith_encoder_new(pith_ctx *ctx, const pith_encode_options *options, pith_write_fn write,
                                      void *opaque, pith_encoder **encoder);
/* Adds data[n] to the content. Pieces may have any size. */
PITH_API pith_status pith_encoder_write(pith_encoder *encoder, const void *data, size_t n);
/* Writes a skippable metadata frame: n bytes, at most 1 GiB, that decoders pass over and
 * pith_archive_metadata finds. Only before the first pith_encoder_write. */
PITH_API pith_status pith_encoder_metadata(pith_encoder *encoder, const void *data, size_t n);
/* Ends the archive. An encoder that was never written to gives a valid archive of nothing. */
PITH_API pith_status pith_encoder_finish(pith_encoder *encoder);
/* NULL is fine. Without finish before it the archive stays incomplete, and decoders will say so. */
PITH_API void pith_encoder_free(pith_encoder *encoder);

typedef struct pith_decoder pith_decoder;

/* `options` (NULL: defaults) is copied. `write` gets the content, checked block by block; NULL
 * tests the archive only. */
PITH_API pith_status pith_decoder_new(pith_ctx *ctx, const pith_decode_options *options, pith_write_fn write,
                                      void *opaque, pith_decoder **decoder);
/* Adds data[n] of the archive. Pieces may have any size. */
PITH_API pith_status pith_decoder_write(pith_decoder *decoder, const void *data, size_t n);
/* The archive ends here: PITH_E_TRUNCATED if it should not, PITH_OK when all is decoded and every
 * check has matched. Output written before a failure must be thrown away. */
PITH_API pith_status pith_decoder_finish(pith_decoder *decoder);
/* Bytes of content written so far. */
PITH_API uint64_t pith_decoder_written(const pith_decoder *decoder);
/* NULL is fine. */
PITH_API void pith_decoder_free(pith_decoder *decoder);

/* ---- random access ------------------------------------------------------------- */

typedef struct pith_archive pith_archive;

typedef struct pith_archive_info {
    uint64_t archive_size; /* bytes on disk, metadata included */
    uint64_t content_size; /* bytes when restored */
    uint64_t n_frames;
    uint64_t n_blocks;
    uint64_t n_metadata;   /* skippable frames */
    uint64_t memory;       /* bytes needed to decode one block of the neediest frame, as the headers say */
    double seconds;        /* rough processor seconds to decode all, as the headers say */
} pith_archive_info;

typedef struct pith_frame_info {
    uint64_t offset;       /* in the archive */
    uint64_t size;         /* bytes of archive */
    uint64_t content_size;
    uint64_t first_block;  /* number of its first block */
    uint64_t n_blocks;
    unsigned version_major, version_minor;
    int level;             /* 1..9, 0 when made by the recipe */
    const char *recipe;    /* what was asked for, "level(6)" when by level; lives as long as the archive */
    uint64_t memory;       /* bytes to decode one block */
    double ns_per_byte;    /* rough decoding time */
    unsigned numerics;     /* 0: integers only; otherwise the id of the float rules a decoder must follow */
} pith_frame_info;

#define PITH_BLOCK_RECIPE_MAX 160
typedef struct pith_block_info {
    uint64_t offset;         /* of the block in the archive */
    uint64_t coded_size;     /* bytes of archive, header included */
    uint64_t content_offset; /* of its first byte in the content of the whole archive */
    uint64_t content_size;
    uint64_t frame;          /* number of the frame it is in */
    uint64_t hash;           /* XXH3-64 of its content */
    char recipe[PITH_BLOCK_RECIPE_MAX]; /* what it was made with: "x86 | lzma(9)" */
} pith_block_info;

/* Opens an archive of `size` bytes: reads headers and indexes, decodes nothing. `options` may be
 * NULL. `read_at` is used until pith_archive_close. */
PITH_API pith_status pith_archive_open(pith_ctx *ctx, const pith_decode_options *options, pith_read_at_fn read_at,
                                       void *opaque, uint64_t size, pith_archive **archive);
/* The same on memory, which must stay as long as the archive is open. */
PITH_API pith_status pith_archive_open_memory(pith_ctx *ctx, const pith_decode_options *options, const void *src,
                                              size_t n, pith_archive **archive);
/* NULL is fine. */
PITH_API void pith_archive_close(pith_archive *archive);

/* Reads content[offset .. offset + n) into dst; only the blocks that hold it are decoded and
 * checked. *got is n, or less where the content ends. */
PITH_API pith_status pith_archive_read(pith_archive *archive, uint64_t offset, void *dst, size_t n, size_t *got);

PITH_API void pith_archive_info_get(const pith_archive *archive, pith_archive_info *info);
/* PITH_E_ARGUMENT when there is no such frame, block or metadata. */
PITH_API pith_status pith_archive_frame(pith_archive *archive, uint64_t i, pith_frame_info *info);
PITH_API pith_status pith_archive_block(pith_archive *archive, uint64_t i, pith_block_info *info);
/* Where the i-th metadata frame keeps its bytes in the archive; read them there. */
PITH_API pith_status pith_archive_metadata(pith_archive *archive, uint64_t i, uint64_t *offset, uint64_t *size);

#ifdef __cplusplus
}
#endif
#endif
