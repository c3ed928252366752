/* The packers of a recipe: planes of small integers as bytes, and back. */
#include <math.h>

#include "kernels/represent/adaptive.h"
#include "kernels/represent/dict16.h"
#include "kernels/represent/golomb.h"
#include "kernels/represent/huffman.h"
#include "kernels/represent/pack_bits.h"
#include "kernels/represent/pack_parts.h"
#include "kernels/represent/rans.h"

#define ALPHABET_MOST 65536u

static pith_status bad_plane(pith_ctx *ctx, const char *packer, size_t n) {
    return pith_fail(ctx, PITH_E_FORMAT, "%s: %zu codes cannot be unpacked", packer, n);
}

/* ---- pack ---- */

static pith_status pack_pack(const repr_job *job, const repr_plane *plane, pith_buffer *out) {
    return pack_bits_put(job->ctx, plane->codes, plane->n, pack_width(plane->alphabet), out);
}

static pith_status pack_unpack(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row,
                               uint32_t alphabet) {
    (void)row;
    return pack_bits_take(in, codes, n, alphabet) ? PITH_OK : bad_plane(job->ctx, "pack", n);
}

static const repr_ops pack_ops = {.kind = REPR_PACKER, .pack = pack_pack, .unpack = pack_unpack};

/* ---- huff and rans: pieces of the plane's bytes, or their highest eight bits ----
 * A piece is: its size; a byte, 0 for plain bits, 1 for one symbol, which follows, 2 for the code; of alphabets above
 * 256, the code is of the highest 8 bits of a symbol, and the others follow as plain bits. */

enum { PIECE_ARG };
enum { PLAIN, ONE, CODED };

typedef pith_status (*encode_fn)(pith_ctx *ctx, const uint8_t *src, size_t n, const uint32_t count[256],
                                 pith_buffer *out);
typedef bool (*decode_fn)(repr_reader *in, uint8_t *dst, size_t n);

static unsigned low_bits(uint32_t alphabet) { return alphabet > 256 ? pack_width(alphabet) - 8 : 0; }

static pith_status append_byte(pith_ctx *ctx, pith_buffer *out, unsigned byte) {
    uint8_t b = (uint8_t)byte;
    return pith_buffer_append(ctx, out, &b, 1);
}

/* high[n] and low[n] are room. */
static pith_status code_piece(pith_ctx *ctx, encode_fn encode, const uint16_t *codes, size_t n, uint32_t alphabet,
                              uint8_t *high, uint16_t *low, pith_buffer *out) {
    unsigned shift = low_bits(alphabet);
    uint32_t count[256];
    for (size_t i = 0; i < n; i++) high[i] = (uint8_t)(codes[i] >> shift);
    pack_count(high, n, count);
    bool one = count[high[0]] == n;
    pith_status status = append_byte(ctx, out, one ? ONE : CODED);
    if (!status) status = one ? append_byte(ctx, out, high[0]) : encode(ctx, high, n, count, out);
    if (!shift || status) return status;
    for (size_t i = 0; i < n; i++) low[i] = (uint16_t)(codes[i] & ((1u << shift) - 1));
    return pack_bits_put(ctx, low, n, shift, out);
}

static pith_status put_piece(pith_ctx *ctx, encode_fn encode, const uint16_t *codes, size_t n, uint32_t alphabet,
                             uint8_t *high, uint16_t *low, pith_buffer *scratch, pith_buffer *out) {
    unsigned width = pack_width(alphabet);
    scratch->size = 0;
    pith_status status = code_piece(ctx, encode, codes, n, alphabet, high, low, scratch);
    if (!status && scratch->size > pack_bits_size(n, width)) {
        scratch->size = 0;
        status = append_byte(ctx, scratch, PLAIN);
        if (!status) status = pack_bits_put(ctx, codes, n, width, scratch);
    }
    if (!status) status = repr_put_number(ctx, out, scratch->size);
    return status ? status : pith_buffer_append(ctx, out, scratch->data, scratch->size);
}

static pith_status pack_pieces(const repr_job *job, encode_fn encode, const repr_plane *plane, pith_buffer *out) {
    pith_ctx *ctx = job->ctx;
    size_t piece = (size_t)job->args->value[PIECE_ARG], most = PITH_MIN(piece, plane->n);
    pith_buffer scratch = {0};
    uint8_t *high = pith_alloc(ctx, most + 1);
    uint16_t *low = pith_alloc(ctx, (most + 1) * sizeof *low);
    pith_status status = high && low ? PITH_OK : pith_alloc_status(ctx);
    for (size_t i = 0; i < plane->n && !status; i += piece)
        status = put_piece(ctx, encode, plane->codes + i, PITH_MIN(piece, plane->n - i), plane->alphabet, high, low,
                           &scratch, out);
    pith_buffer_free(ctx, &scratch);
    pith_free(ctx, high);
    pith_free(ctx, low);
    return status;
}

static bool take_piece(decode_fn decode, repr_reader *in, uint16_t *codes, size_t n, uint32_t alphabet, uint8_t *high) {
    unsigned shift = low_bits(alphabet);
    const uint8_t *kind = repr_take(in, 1), *one;
    if (!kind || *kind > CODED) return false;
    if (*kind == PLAIN) return pack_bits_take(in, codes, n, alphabet);
    if (*kind == CODED) {
        if (!decode(in, high, n)) return false;
    } else {
        if (!(one = repr_take(in, 1))) return false;
        memset(high, *one, n);
    }
    if (shift && !pack_bits_take(in, codes, n, 1u << shift)) return false;
    unsigned most = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned c = shift ? (unsigned)high[i] << shift | codes[i] : high[i];
        codes[i] = (uint16_t)c;
        most = PITH_MAX(most, c);
    }
    return most < alphabet;
}

static pith_status unpack_pieces(const repr_job *job, decode_fn decode, const char *name, repr_reader *in,
                                 uint16_t *codes, size_t n, uint32_t alphabet) {
    size_t piece = (size_t)job->args->value[PIECE_ARG];
    uint8_t *high = pith_alloc(job->ctx, PITH_MIN(piece, n) + 1);
    if (!high) return pith_alloc_status(job->ctx);
    bool good = true;
    for (size_t i = 0; i < n && good; i += piece) {
        uint64_t size;
        const uint8_t *p = repr_take_number(in, SIZE_MAX, &size) ? repr_take(in, (size_t)size) : NULL;
        repr_reader r = {p, p ? p + size : NULL};
        good = p && take_piece(decode, &r, codes + i, PITH_MIN(piece, n - i), alphabet, high) && r.p == r.end;
    }
    pith_free(job->ctx, high);
    return good ? PITH_OK : bad_plane(job->ctx, name, n);
}

static pith_status huff_bytes(pith_ctx *ctx, const uint8_t *src, size_t n, const uint32_t count[256], pith_buffer *out) {
    uint8_t length[256];
    huffman_lengths(count, length);
    return huffman_encode(ctx, src, n, length, out);
}

static pith_status huff_pack(const repr_job *job, const repr_plane *plane, pith_buffer *out) {
    return pack_pieces(job, huff_bytes, plane, out);
}

static pith_status huff_unpack(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row,
                               uint32_t alphabet) {
    (void)row;
    return unpack_pieces(job, huffman_decode, "huff", in, codes, n, alphabet);
}

static const repr_ops huff_ops = {.kind = REPR_PACKER, .pack = huff_pack, .unpack = huff_unpack};

static pith_status rans_pack(const repr_job *job, const repr_plane *plane, pith_buffer *out) {
    return pack_pieces(job, rans_encode, plane, out);
}

static pith_status rans_unpack(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row,
                               uint32_t alphabet) {
    (void)row;
    return unpack_pieces(job, rans_decode, "rans", in, codes, n, alphabet);
}

static const repr_ops rans_packer_ops = {.kind = REPR_PACKER, .pack = rans_pack, .unpack = rans_unpack};

/* ---- ctxac ---- */

enum { CTXAC_AROUND };

static adaptive_before before_of(const repr_job *job) {
    return (adaptive_before){job->before, job->args->value[CTXAC_AROUND] != 0};
}

static pith_status ctxac_pack(const repr_job *job, const repr_plane *plane, pith_buffer *out) {
    return plane->n ? adaptive_encode(job->ctx, plane, before_of(job), out) : PITH_OK;
}

static pith_status ctxac_unpack(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row,
                                uint32_t alphabet) {
    return n ? adaptive_decode(job->ctx, in, before_of(job), codes, n, row, alphabet) : PITH_OK;
}

static const repr_ops ctxac_ops = {.kind = REPR_PACKER, .pack = ctxac_pack, .unpack = ctxac_unpack};

/* ---- golomb ---- */

enum { GOLOMB_M };

static pith_status golomb_pack(const repr_job *job, const repr_plane *plane, pith_buffer *out) {
    return golomb_encode(job->ctx, plane, (uint64_t)job->args->value[GOLOMB_M], out);
}

static pith_status golomb_unpack(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row,
                                 uint32_t alphabet) {
    (void)row;
    return golomb_decode(job->ctx, in, codes, n, alphabet);
}

static const repr_ops golomb_ops = {.kind = REPR_PACKER, .pack = golomb_pack, .unpack = golomb_unpack};

/* ---- dict16 ---- */

enum { DICT16_P0 };

static pith_status dict16_pack(const repr_job *job, const repr_plane *plane, pith_buffer *out) {
    return dict16_encode(job->ctx, plane, (uint32_t)(job->args->value[DICT16_P0] * DICT16_PRIOR_ONE + 0.5), out);
}

static pith_status dict16_unpack(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row,
                                 uint32_t alphabet) {
    (void)row;
    return dict16_decode(job->ctx, in, codes, n, alphabet);
}

static const repr_ops dict16_ops = {.kind = REPR_PACKER, .pack = dict16_pack, .unpack = dict16_unpack};

/* ---- zstd: a byte for each code, two of alphabets above 256 ---- */

enum { ZSTD_LEVEL };

static pith_status zstd_pack(const repr_job *job, const repr_plane *plane, pith_buffer *out) {
    size_t width = plane->alphabet > 256 ? 2 : 1;
    uint8_t *bytes = pith_alloc(job->ctx, width * plane->n + 1);
    if (!bytes) return pith_alloc_status(job->ctx);
    for (size_t i = 0; i < plane->n; i++) {
        if (width == 2) store16(bytes + 2 * i, plane->codes[i]);
        else bytes[i] = (uint8_t)plane->codes[i];
    }
    pack_zstd z = {.ctx = job->ctx};
    pith_status status = pack_zstd_put(&z, (int)job->args->value[ZSTD_LEVEL], bytes, width * plane->n, out);
    pack_zstd_close(&z);
    pith_free(job->ctx, bytes);
    return status;
}

static pith_status zstd_unpack(const repr_job *job, repr_reader *in, uint16_t *codes, size_t n, size_t row,
                               uint32_t alphabet) {
    (void)row;
    size_t width = alphabet > 256 ? 2 : 1;
    uint8_t *bytes = pith_alloc(job->ctx, width * n + 1);
    if (!bytes) return pith_alloc_status(job->ctx);
    pack_zstd z = {.ctx = job->ctx};
    pith_status status = pack_zstd_take(&z, in, bytes, width * n);
    pack_zstd_close(&z);
    bool good = true;
    for (size_t i = 0; i < n && !status; i++) {
        codes[i] = width == 2 ? load16(bytes + 2 * i) : bytes[i];
        good &= codes[i] < alphabet;
    }
    pith_free(job->ctx, bytes);
    return status || good ? status : bad_plane(job->ctx, "zstd", n);
}

static const repr_ops zstd_ops = {.kind = REPR_PACKER, .pack = zstd_pack, .unpack = zstd_unpack};

/* ---- the table ---- */

static const pith_param huff_params[] = {
    [PIECE_ARG] = {.name = "piece", .type = PITH_P_INT, .min = 1024, .max = 1048576, .def = 262144, .unit = "codes",
                   .doc = "codes that decode without the others, with a table of their own"},
};
static const pith_param rans_params[] = {
    [PIECE_ARG] = {.name = "piece", .type = PITH_P_INT, .min = 1024, .max = 16777216, .def = 1048576, .unit = "codes",
                   .doc = "codes that decode without the others, with a table of their own"},
};
static const pith_param ctxac_params[] = {
    [CTXAC_AROUND] = {.name = "around", .type = PITH_P_FLAG, .def = 1,
                      .doc = "in a series, the eight codes around the same place before are contexts too"},
};
static const pith_param golomb_params[] = {
    [GOLOMB_M] = {.name = "m", .type = PITH_P_INT, .min = 0, .max = 65536, .def = 0,
                  .doc = "the parameter, about 0.69 / density; 0: from the plane"},
};
static const pith_param dict16_params[] = {
    [DICT16_P0] = {.name = "p0", .type = PITH_P_REAL, .min = 0, .max = 0.9999, .def = 0.885,
                   .doc = "share of zeros the dictionary is made for, 0.5 and more; 0: as in the plane"},
};
static const pith_param zstd_params[] = {
    [ZSTD_LEVEL] = {.name = "level", .type = PITH_P_INT, .min = 1, .max = 19, .def = 3, .doc = "effort of libzstd"},
};

#define PACKER(stage_name) .name = stage_name, .artefact = "model", .role = "packer"
#define PARAMS(array) .params = array, .n_params = PITH_COUNT(array)

const pith_stage represent_packers[] = {
    {PACKER("pack"), .summary = "plain bits, as many for each code as its alphabet needs", .impl = &pack_ops},
    {PACKER("huff"), .summary = "Huffman codes of at most 11 bits in eight streams, with restart points",
     .source = "Huffman 1952; Larmore & Hirschberg, JACM 37(3) 1990; Zhang et al., DFloat11, arXiv:2504.11651",
     PARAMS(huff_params), .impl = &huff_ops},
    {PACKER("rans"), .summary = "static range coding in 32 interleaved states; a small plane's table is a curve",
     .source = "Duda, arXiv:1311.2540; Giesen, Interleaved entropy coders, arXiv:1402.3392", PARAMS(rans_params),
     .impl = &rans_packer_ops},
    {PACKER("ctxac"), .summary = "adaptive arithmetic coding, mixed from contexts of row, column and neighbour",
     .source = "Witten, Neal & Cleary, CACM 30(6) 1987; Mahoney, Adaptive weighing of context models, 2005",
     PARAMS(ctxac_params), .impl = &ctxac_ops},
    {PACKER("golomb"), .summary = "gaps between the codes that are not the commonest, for sparse planes",
     .source = "Golomb 1966; Gallager & van Voorhis 1975; Yadav et al., ComPEFT, arXiv:2311.13171",
     PARAMS(golomb_params), .impl = &golomb_ops},
    {PACKER("dict16"), .summary = "words of 16 bits for the likeliest strings of ternary digits",
     .source = "Frantar & Alistarh, QMoE, arXiv:2310.16795", PARAMS(dict16_params), .impl = &dict16_ops},
    {PACKER("zstd"), .summary = "one zstd frame over the codes as bytes, for planes that repeat themselves",
     .source = "RFC 8878", PARAMS(zstd_params), .impl = &zstd_ops},
    {.name = NULL},
};

/* ---- planes on their own ---- */

/* The one packer in `text`; *recipe is the caller's to free. */
static pith_status packer_job(pith_ctx *ctx, const char *text, const uint16_t *before, pith_recipe **recipe,
                              repr_job *job) {
    static const repr_stats none;
    pith_status status = pith_recipe_parse(ctx, "model", text, strlen(text), recipe);
    if (status) return status;
    const pith_recipe_rule *rule = (*recipe)->rules;
    const repr_ops *ops = rule->stages[0].stage->impl;
    if ((*recipe)->n_rules > 1 || rule->n_stages > 1 || rule->n_solvers || !ops || ops->kind != REPR_PACKER)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%s is not one packer", text);
    *job = (repr_job){.ctx = ctx, .args = rule->stages, .stats = &none, .before = before};
    return PITH_OK;
}

pith_status repr_plane_encode(pith_ctx *ctx, const char *packer, const repr_plane *plane, const uint16_t *before,
                              pith_buffer *out) {
    pith_recipe *recipe = NULL;
    repr_job job;
    pith_status status = packer_job(ctx, packer, before, &recipe, &job);
    if (!status) status = ((const repr_ops *)job.args->stage->impl)->pack(&job, plane, out);
    pith_recipe_free(ctx, recipe);
    return status;
}

pith_status repr_plane_decode(pith_ctx *ctx, const char *packer, repr_reader *in, const uint16_t *before, uint16_t *codes,
                              size_t n, size_t row, uint32_t alphabet) {
    pith_recipe *recipe = NULL;
    repr_job job;
    pith_status status = packer_job(ctx, packer, before, &recipe, &job);
    if (!status) status = ((const repr_ops *)job.args->stage->impl)->unpack(&job, in, codes, n, row, alphabet);
    pith_recipe_free(ctx, recipe);
    return status;
}
