/* What turns one model into its sibling, as a file.
 *
 * Exact: every tensor as itself, as that of the base, or as the difference from it (Z. Su et al., "ZipLLM",
 * arXiv:2505.06252). The sibling comes back byte for byte.
 *
 * Ternary (P. Yadav et al., "ComPEFT", arXiv:2311.13171): of tau = sibling - base over all floats of tensors that
 * differ, the share `keep` of the largest magnitudes becomes +s or -s, the rest 0; s = alpha * std(tau), or their mean
 * magnitude. What comes back is the base with that added, in the base's types.
 *
 *   head   magic, version, kind; lengths and XXH3-128 of the base and of what comes back; the recipe of the packer
 *   body   of the kind
 *   check  XXH3-64 of all before it */
#ifndef MODEL_DELTA_H
#define MODEL_DELTA_H

#include "formats/tensors/tensors.h"

typedef enum model_delta_scale { MODEL_DELTA_STD, MODEL_DELTA_MEAN } model_delta_scale;

typedef struct model_delta_options {
    bool exact;
    double keep;  /* share of the elements, above 0, at most 1; 0: 0.1 */
    double alpha; /* 0: 1 */
    model_delta_scale scale;
    const char *packer; /* of the signs: a stage that packs planes; NULL: golomb */
} model_delta_options;

typedef struct model_delta_report {
    uint64_t base_bytes, bytes, delta_bytes;    /* of the base, of the sibling, of the file written */
    uint64_t tensors, same, differences, plain; /* exact: tensors by what became of them */
    uint64_t elements, kept;                    /* ternary */
    double std, value;                          /* of tau; s */
    double entropy_bits;                        /* per element: H(kept share) and a sign each */
    double lost;                                /* |tau - its code|^2 / |tau|^2 */
    double update;                              /* |tau| / |base| */
    uint64_t skipped; /* tensors that differ and are no floats of one shape in both: they stay the base's */
} model_delta_report;

/* Writes what makes fine[fine_n] of base[base_n], both model files. Memory: a few times the largest piece, and the
 * heads. Ticks by bytes. */
pith_status model_delta_write(pith_ctx *ctx, const uint8_t *base, size_t base_n, const uint8_t *fine, size_t fine_n,
                              const model_delta_options *options, tensor_write_fn write, void *opaque,
                              model_delta_report *report);
/* The reverse; what is written is held against its hash, and the base too. PITH_E_ARGUMENT when it is another base. */
pith_status model_delta_apply(pith_ctx *ctx, const uint8_t *base, size_t base_n, const uint8_t *delta, size_t delta_n,
                              tensor_write_fn write, void *opaque);
/* The same for files. */
pith_status model_delta_make_file(pith_ctx *ctx, const char *base, const char *fine, const model_delta_options *options,
                                  tensor_write_fn write, void *opaque, model_delta_report *report);
pith_status model_delta_apply_file(pith_ctx *ctx, const char *base, const char *delta, tensor_write_fn write,
                                   void *opaque);

#endif
