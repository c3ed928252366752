/* Coders that take weights together: their table, and what they share. */
#include "kernels/represent/vectors.h"

#include <math.h>

#define PARAM_INT(n, lo, hi, d, u, text)                                                                               \
    { .name = n, .type = PITH_P_INT, .min = lo, .max = hi, .def = d, .unit = u, .doc = text }
#define PARAM_REAL(n, lo, hi, d, u, text)                                                                              \
    { .name = n, .type = PITH_P_REAL, .min = lo, .max = hi, .def = d, .unit = u, .doc = text }

static const pith_param lowrank_params[] = {
    PARAM_INT("rank", 0, 65536, 0, NULL, "columns of the first factor; 0: as many as `ratio` allows"),
    PARAM_REAL("ratio", 0, 1, 0.25, NULL, "numbers in both factors, as a part of those in the matrix"),
    {.name = "white",
     .type = PITH_P_CHOICE,
     .choices = "none|diag|eig|chol",
     .def = LOWRANK_EIG,
     .doc =
         "error that is smallest: of weights, weighted by inputs, of outputs (two ways); as far as statistics allow"},
    {.name = "factors", .type = PITH_P_RECIPE, .doc = "how both factors are coded; without it as halves"},
};
static const pith_param signlowrank_params[] = {
    PARAM_INT("rank", 1, 65536, 16, NULL, "rank of the magnitudes"),
};
static const pith_param svid_params[] = {
    PARAM_INT("rank", 0, 65536, 0, NULL, "columns of the first sign matrix; 0: as many as `bits` allows"),
    PARAM_REAL("bits", 0.01, 16, 1, "bits per weight", "size when rank is 0, scales included; at least rank 8"),
    {.name = "refit", .type = PITH_P_FLAG, .def = 1, .doc = "refit the three scale vectors by least squares"},
};
static const pith_param vq_params[] = {
    PARAM_INT("dim", 1, 32, 6, "weights", "neighbours in a row that share an index"),
    PARAM_REAL("bits", 0.125, 16, 2, "bits per weight", "2^(bits * dim) entries in the codebook, at most 65536"),
    PARAM_INT("iterations", 0, 1000, 15, NULL, "of Lloyd's algorithm, at most"),
};
static const pith_param additive_params[] = {
    PARAM_INT("codebooks", 1, 8, 2, NULL, "entries that are added up"),
    PARAM_INT("bits", 1, 12, 8, "bits", "of each index"),
    PARAM_INT("dim", 1, 32, 8, "weights", "neighbours in a row that share indices"),
    PARAM_INT("beam", 1, 16, 1, NULL, "choices of indices followed at once"),
    PARAM_INT("rounds", 0, 100, 16, NULL, "codebooks and scales, then indices; at most"),
    PARAM_REAL("tolerance", 0, 1, 0.01, NULL, "stops when a round lowers the loss by less than this part"),
    PARAM_REAL("damp", 0, 1, 0.01, NULL,
               "added to the diagonal of H, as a part of its mean: inputs that come may be others"),
};
static const pith_param seed_params[] = {
    PARAM_INT("block", 2, 16, 8, "weights", "neighbours in a row that share a seed"),
    PARAM_INT("coefficients", 1, 8, 3, NULL, "pseudo-random vectors that are added up; at most `block`"),
    PARAM_INT("lfsr", 8, 16, 16, "bits", "length of the shift register; its states are the seeds tried"),
    PARAM_INT("bits", 2, 8, 4, "bits", "of each coefficient"),
};
static const pith_param dictionary_params[] = {
    PARAM_REAL("keep", 0.01, 1, 0.8, NULL, "numbers in dictionary and coefficients, as a part of those in the matrix"),
    PARAM_REAL("ks", 1, 16, 2, NULL, "atoms for every coefficient that an output keeps"),
    PARAM_INT("rank", 0, 65536, 0, NULL, "atoms; 0: from keep and ks"),
    PARAM_INT("nonzeros", 0, 65536, 0, NULL, "coefficients kept per output, on average; 0: from keep and ks"),
    PARAM_REAL("lambda", 0, 1, 0.5, NULL, "weight of an atom's length before whitening in what a coefficient is worth"),
    PARAM_INT("rounds", 0, 20, 0, NULL, "more rounds: coefficients by least squares, then the dictionary again"),
};
static const pith_param atoms_params[] = {
    PARAM_INT("atoms", 2, 4096, 256, NULL, "in the dictionary"),
    PARAM_INT("nonzeros", 1, 16, 2, NULL, "atoms that are added up"),
    PARAM_INT("dim", 0, 4096, 16, "weights", "neighbours in a row that are coded together; 0: all of the row"),
    PARAM_INT("bits", 2, 8, 4, "bits", "of each value"),
    PARAM_INT("rounds", 0, 50, 8, NULL, "of pursuit and new atoms"),
};
static const pith_param hash_params[] = {
    PARAM_REAL("ratio", 1e-6, 1, 0.25, NULL, "rows of the table, as a part of those of the matrix"),
    {.name = "parts",
     .type = PITH_P_CHOICE,
     .choices = "one|sum|product",
     .doc = "rows of the table to a row: one, two that are added up, or those of remainder and quotient, multiplied"},
    {.name = "table", .type = PITH_P_RECIPE, .doc = "how the table is coded; without it as halves"},
};

const pith_stage represent_vectors[] = {
    {.name = "lowrank",
     .artefact = "model",
     .role = "coder",
     .summary = "product of two thin matrices, the nearest one for the inputs of the calibration text",
     .source = "S.-Y. Liu et al., EoRA: Training-free Compensation for Compressed LLM with Eigenspace Low-Rank "
               "Approximation, 2024",
     .params = lowrank_params,
     .n_params = LOWRANK_PARAMS,
     .impl = &lowrank_ops},
    {.name = "signlowrank",
     .artefact = "model",
     .role = "coder",
     .summary = "a sign for each weight, magnitudes as a product of two thin matrices",
     .source = "X. Wang et al., BitStack: Any-Size Compression of Large Language Models in Variable Memory "
               "Environments, 2024",
     .params = signlowrank_params,
     .n_params = SIGNLOWRANK_PARAMS,
     .impl = &signlowrank_ops},
    {.name = "svid",
     .artefact = "model",
     .role = "coder",
     .summary = "product of two thin matrices of signs, with three vectors of scales",
     .source = "B. Lee et al., LittleBit: Ultra Low-Bit Quantization via Latent Factorization, 2025",
     .params = svid_params,
     .n_params = SVID_PARAMS,
     .impl = &svid_ops},
    {.name = "vq",
     .artefact = "model",
     .role = "coder",
     .summary = "vectors of neighbouring weights from one codebook, by weighted k-means",
     .source = "L. Liu et al., NoWag: A Unified Framework for Shape Preserving Compression of Large Language "
               "Models, 2025",
     .params = vq_params,
     .n_params = VQ_PARAMS,
     .impl = &vq_ops},
    {.name = "aq",
     .artefact = "model",
     .role = "coder",
     .summary = "sums of entries of several codebooks, chosen for the error of the outputs",
     .source = "V. Egiazarian et al., Extreme Compression of Large Language Models via Additive Quantization, "
               "2024",
     .params = additive_params,
     .n_params = AQ_PARAMS,
     .impl = &additive_ops},
    {.name = "seed",
     .artefact = "model",
     .role = "coder",
     .summary = "blocks as few coefficients in the pseudo-random basis of a shift register's seed",
     .source = "R. Shafipour et al., SeedLM: Compressing LLM Weights into Seeds of Pseudo-Random Generators, "
               "2024",
     .params = seed_params,
     .n_params = SEED_PARAMS,
     .impl = &seed_ops},
    {.name = "dict",
     .artefact = "model",
     .role = "coder",
     .summary = "a dictionary of directions, of which each output combines few",
     .source = "ROCKET: Rapid Optimization via Calibration-guided Knapsack Enhanced Truncation for Efficient "
               "Model Compression, 2026",
     .params = dictionary_params,
     .n_params = DICT_PARAMS,
     .impl = &dictionary_ops},
    {.name = "atoms",
     .artefact = "model",
     .role = "coder",
     .summary = "vectors of neighbouring weights as few atoms of a dictionary, times values of few bits",
     .source =
         "K. Engan et al., Method of Optimal Directions for Frame Design, 1999; Towards Atoms of Large Language Models",
     .params = atoms_params,
     .n_params = ATOMS_PARAMS,
     .impl = &atoms_ops},
    {.name = "hash",
     .artefact = "model",
     .role = "coder",
     .summary = "rows that share those of a smaller table, by hashes of their numbers",
     .source = "K. Weinberger et al., Feature Hashing for Large Scale Multitask Learning, 2009; H.-J. M. Shi et al., "
               "Compositional Embeddings Using Complementary Partitions, 2020",
     .params = hash_params,
     .n_params = HASH_PARAMS,
     .impl = &hash_ops},
    {.name = NULL},
};

pith_status vectors_check(const repr_job *job, const repr_matrix *w) {
    size_t n = w->rows * w->cols;
    for (size_t i = 0; i < n; i++)
        if (!isfinite(w->data[i]))
            return pith_fail(job->ctx, PITH_E_UNSUPPORTED, "%s needs finite weights; row %zu, column %zu is none",
                             job->args->stage->name, i / w->cols, i % w->cols);
    return PITH_OK;
}

#define LARGEST_HALF 65504.0f

pith_status vectors_put(pith_ctx *ctx, pith_buffer *out, float *v, size_t n) {
    for (size_t i = 0; i < n; i++) v[i] = !(fabsf(v[i]) <= LARGEST_HALF) ? copysignf(LARGEST_HALF, v[i]) : v[i];
    size_t start = out->size;
    pith_status status = repr_put_halves(ctx, out, v, n);
    if (status) return status;
    repr_reader r = {out->data + start, out->data + out->size};
    return repr_take_halves(&r, v, n) ? PITH_OK : pith_fail(ctx, PITH_E_INTERNAL, "halves do not read back");
}

pith_status vectors_round(pith_ctx *ctx, float *v, size_t n) {
    pith_buffer b = {0};
    pith_status status = vectors_put(ctx, &b, v, n);
    pith_buffer_free(ctx, &b);
    return status;
}

pith_status vectors_take(pith_ctx *ctx, repr_reader *in, size_t n, const char *what, float **v) {
    *v = NULL;
    if ((size_t)(in->end - in->p) / 2 < n) return pith_fail(ctx, PITH_E_FORMAT, "%s end too early", what);
    *v = pith_alloc(ctx, PITH_MAX(n, 1u) * sizeof **v);
    if (!*v) return pith_alloc_status(ctx);
    if (!repr_take_halves(in, *v, n)) return pith_fail(ctx, PITH_E_FORMAT, "%s end too early", what);
    for (size_t i = 0; i < n; i++)
        if (!isfinite((*v)[i])) return pith_fail(ctx, PITH_E_FORMAT, "%s are not all finite", what);
    return PITH_OK;
}

pith_status vectors_restore(const repr_job *job, pith_status (*decode)(const repr_job *, repr_reader *, repr_matrix *),
                            const pith_buffer *out, size_t start, const repr_matrix *w, float *restored) {
    repr_reader in = {out->data + start, out->data + out->size};
    repr_matrix m = {restored, w->rows, w->cols};
    return decode(job, &in, &m);
}

pith_status vectors_put_signs(const repr_job *job, pith_buffer *out, const float *v, size_t n, size_t row) {
    uint16_t *codes = pith_alloc(job->ctx, PITH_MAX(n, 1u) * sizeof *codes);
    if (!codes) return pith_alloc_status(job->ctx);
    for (size_t i = 0; i < n; i++) codes[i] = v[i] < 0;
    pith_status status = repr_pack(job, &(repr_plane){codes, n, row, 2}, out);
    pith_free(job->ctx, codes);
    return status;
}

pith_status vectors_take_signs(const repr_job *job, repr_reader *in, float *v, size_t n, size_t row) {
    uint16_t *codes = pith_alloc(job->ctx, PITH_MAX(n, 1u) * sizeof *codes);
    if (!codes) return pith_alloc_status(job->ctx);
    pith_status status = repr_unpack(job, in, codes, n, row, 2);
    for (size_t i = 0; !status && i < n; i++) v[i] = codes[i] ? -1.0f : 1.0f;
    pith_free(job->ctx, codes);
    return status;
}

bool vectors_costs(const repr_stats *stats, size_t cols, float *cost) {
    double sum = 0;
    for (size_t j = 0; j < cols; j++) {
        cost[j] = stats->gram ? stats->gram[j * (j + 1) / 2 + j] : stats->h ? stats->h[j] : 1;
        if (!(cost[j] >= 0) || !isfinite(cost[j])) cost[j] = 0;
        sum += cost[j];
    }
    double mean = sum / (double)cols;
    bool any = (stats->gram || stats->h) && mean > 0;
    for (size_t j = 0; j < cols; j++) cost[j] = any ? PITH_MAX((float)(cost[j] / mean), 1e-6f) : 1;
    return any;
}
