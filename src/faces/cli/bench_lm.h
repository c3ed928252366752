/* The benchmarks of `pith bench` that have a language model at work. */
#ifndef CLI_BENCH_LM_H
#define CLI_BENCH_LM_H

#include "faces/cli/cmd_lm.h"

int bench_flips(int argc, char **argv);     /* pith bench flips: argv[0] is "flips" */
int bench_model_main(int argc, char **argv); /* pith bench model */
int bench_runtime(int argc, char **argv);   /* pith bench runtime */
int bench_speculate(int argc, char **argv); /* pith bench speculate */

/* A type for the matrices whose names hold `part` (empty: all). */
typedef struct bench_type {
    const tensor_type_info *info;
    const char *part;
    size_t part_n;
    char name[48]; /* as it was given: "q2_K:ffn" */
} bench_type;

/* A GGUF file in memory with the matrices of `f` in another type; vectors, norms and what the
 * blocks do not divide stay as they are. */
pith_status bench_requantise(pith_ctx *ctx, const tensor_file *f, const bench_type *to, pith_buffer *out);

/* Such a model, open. `from` must outlive it. */
typedef struct bench_model {
    pith_buffer bytes;
    tensor_file *file;
    lm_model *model;
} bench_model;
pith_status bench_model_as(pith_ctx *ctx, const lm_model *from, const bench_type *to, bench_model *out);
void bench_model_close(pith_ctx *ctx, bench_model *m);

/* "q8_0,q2_K:ffn" into types[]; `list` must last; CLI_FAIL with the message printed. */
int bench_types(const char *list, bench_type *types, unsigned most, unsigned *n);

#endif
