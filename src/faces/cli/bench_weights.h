/* What `pith bench weights` measures: coders of floats as bytes, one at a time, and their sum over files. */
#ifndef CLI_BENCH_WEIGHTS_H
#define CLI_BENCH_WEIGHTS_H

#include "faces/cli/bench_predict.h"
#include "formats/tensors/tensors.h"

/* Some float tensors in one piece. */
typedef struct weights_part {
    tensor_type type;
    size_t at, bytes; /* in `data` */
    size_t cols;
} weights_part;
typedef struct weights_data {
    uint8_t *data;
    size_t bytes;
    weights_part *parts;
    size_t n_parts;
} weights_data;

typedef struct weights_figures {
    uint64_t bytes;                         /* of the code */
    double encode_seconds, decode_seconds; /* of the processor */
} weights_figures;

typedef enum weights_coder { WEIGHTS_OWN, WEIGHTS_ZSTD_3, WEIGHTS_ZSTD_19, WEIGHTS_XZ_9E, WEIGHTS_CODERS } weights_coder;
extern const char *const weights_coder_names[WEIGHTS_CODERS];

/* Codes and decodes all of *w with one thread, compares the bytes: PITH_E_CHECK when they differ. Our own coder takes
 * tensor by tensor, as archives do; the others all in one stream. Short ones run several times, the fastest counts. */
pith_status weights_measure(pith_ctx *ctx, const weights_data *w, weights_coder coder, weights_figures *out);
/* Bytes if the exponents of each tensor took their entropy and nothing else were gained. */
double weights_exponent_limit(const weights_data *w);

/* Products of all matrices with one vector each, weights in bf16: as they are, and decoded band by band on the way. */
typedef struct weights_products {
    double plain_seconds, coded_seconds; /* of the processor, all matrices once */
    uint64_t plain_bytes, coded_bytes;
} weights_products;
/* PITH_E_CHECK when the results differ in a bit. */
pith_status weights_multiply(pith_ctx *ctx, const weights_data *w, weights_products *out);

#endif
