/* The recipes that `pith bench model` tries, and what the published systems behind them claim about their order. */
#include "faces/cli/bench_model.h"

#define TYPE(name, type, data)                                                                                         \
    { name, "blocks", NULL, NULL, type, data }
#define FLAGSHIP(bits)                                                                                                 \
    { "step-" bits, BENCH_CURVE, NULL, "step(bits=" bits ") | ctxac @ obs", NULL, true }

const bench_code bench_codes[] = {
    TYPE("q8_0", "q8_0", false),
    TYPE("q6_K", "q6_K", false),
    TYPE("q6_K-imatrix", "q6_K", true),
    TYPE("q5_K-imatrix", "q5_K", true),
    TYPE("q4_K", "q4_K", false),
    TYPE("q4_K-imatrix", "q4_K", true),
    TYPE("q4_0", "q4_0", false),
    TYPE("q4_0-imatrix", "q4_0", true),
    TYPE("iq4_nl-imatrix", "iq4_nl", true),
    TYPE("q3_K", "q3_K", false),
    TYPE("q3_K-imatrix", "q3_K", true),
    TYPE("q2_K-imatrix", "q2_K", true),
    /* error feedback that ends in the same blocks */
    {"gptq-q4_0", "blocks", NULL, "gguf(q4_0) @ obs", NULL, true},
    {"gptq-q4_K", "blocks", NULL, "gguf(q4_K) @ obs", NULL, true},
    {"gptq-q3_K", "blocks", NULL, "gguf(q3_K) @ obs", NULL, true},

    FLAGSHIP("2"),
    FLAGSHIP("2.5"),
    FLAGSHIP("3"),
    FLAGSHIP("3.5"),
    FLAGSHIP("4"),
    FLAGSHIP("4.5"),
    FLAGSHIP("5"),
    FLAGSHIP("6"),
    FLAGSHIP("7"),
    FLAGSHIP("8"),

    {"rtn-4", "scalar", NULL, "q(4, group=32)", NULL, false},
    {"awq-4", "scalar", NULL, "scale(awq, bits=4, group=32) | q(4, group=32)", NULL, true},
    {"gptq-4", "scalar", NULL, "q(4, group=32) @ obs", NULL, true},
    {"rtn-3", "scalar", NULL, "q(3, group=32)", NULL, false},
    {"awq-3", "scalar", NULL, "scale(awq, bits=3, group=32) | q(3, group=32)", NULL, true},
    {"gptq-3", "scalar", NULL, "q(3, group=32) @ obs", NULL, true},
    {"rtn-3-g16", "scalar", "S073", "q(3, group=16, meta=q(3, group=16))", NULL, false},
    {"gptq-3-g16", "scalar", "S073", "q(3, group=16, meta=q(3, group=16)) @ obs", NULL, true},
    {"spqr-3", "scalar", "S073", "outliers(q(3, group=16, meta=q(3, group=16)), threshold=1.5) @ obs", NULL, true},
    {"gptq-2", "scalar", NULL, "q(2, group=16) @ obs", NULL, true},
    {"step-rtn-4", "scalar", NULL, "step(bits=4) | ctxac", NULL, false},
    {"step-rans-4", "scalar", NULL, "step(bits=4) | rans @ obs", NULL, true},
    {"hadamard-4", "scalar", "S176", "hadamard(128) | q(4, group=32, grid=gauss)", NULL, false},
    {"kmeans-4", "scalar", "S053", "kmeans(4) | ctxac", NULL, true},

    {"seed-4", "vector", "S087", "seed(8, 3, 16, 4)", NULL, false},
    {"seed-3", "vector", "S087", "seed(12, 4, 16, 4)", NULL, false},
    {"vq-2", "vector", "S048", "vq(dim=4, bits=2)", NULL, false},
    {"nowag-vq-2", "vector", "S048", "norm2(keep) | vq(dim=4, bits=2)", NULL, true},
    {"aqlm-2x8", "vector", "S023", "unit(row) | aq(2, 8, 8)", NULL, true},
    {"bitstack-4", "vector", "S089", "scale | stack(4, signlowrank(16))", NULL, true},

    {"magnitude-50", "prune", "S096", "prune(50%)", NULL, false},
    {"wanda-50", "prune", "S096", "prune(50%, score=wanda)", NULL, true},
    {"nowag-50", "prune", "S048", "norm2 | prune(50%, score=nowag)", NULL, true},
    {"sparsegpt-50", "prune", "S096", "sparse(50%) @ obs", NULL, true},
    {"magnitude-2:4", "prune", "S096", "prune(pattern=2:4)", NULL, false},
    {"wanda-2:4", "prune", "S096", "prune(score=wanda, pattern=2:4)", NULL, true},
    {"sparsegpt-2:4", "prune", "S096", "sparse(pattern=2:4) @ obs", NULL, true},

    {"q3", "repair", "S305", "q(3, group=32)", NULL, true},
    {"q3-svd", "repair", "S305", "sum(q(3, group=32), lowrank(8, white=none))", NULL, true},
    {"q3-diag", "repair", "S305", "sum(q(3, group=32), lowrank(8, white=diag))", NULL, true},
    {"q3-eora", "repair", "S305", "sum(q(3, group=32), lowrank(8, white=eig))", NULL, true},
    {"svd-80", "repair", "S328", "lowrank(ratio=0.8, white=chol)", NULL, true},
    {"rocket-80", "repair", "S328", "dict(0.8)", NULL, true},
};
const unsigned bench_n_codes = PITH_COUNT(bench_codes);

const bench_order bench_orders[] = {
    {"error feedback beats rounding at 4 bits (GPTQ)", 1, {"rtn-4", "gptq-4"}},
    {"error feedback beats rounding at 3 bits (GPTQ)", 1, {"rtn-3", "gptq-3"}},
    {"scaling by activations beats rounding at 4 bits (AWQ)", 1, {"rtn-4", "awq-4"}},
    {"scaling by activations beats rounding at 3 bits (AWQ)", 1, {"rtn-3", "awq-3"}},
    {"RTN > GPTQ > SpQR (S073)", 1, {"rtn-3-g16", "gptq-3-g16", "spqr-3"}},
    {"importance helps q4_0", 1, {"q4_0", "q4_0-imatrix"}},
    {"importance helps q4_K", 1, {"q4_K", "q4_K-imatrix"}},
    {"error feedback into q4_0 blocks: KL at most 0.9 of plain", 0.9, {"q4_0", "gptq-q4_0"}},
    {"error feedback into q4_K blocks: KL at most 0.9 of plain", 0.9, {"q4_K", "gptq-q4_K"}},
    {"normalised, weighted codebooks beat plain ones (S048 NoWag-VQ)", 1, {"vq-2", "nowag-vq-2"}},
    {"additive codebooks beat scalars of 2 bits (S023 AQLM)", 1, {"gptq-2", "aqlm-2x8"}},
    {"additive codebooks beat one codebook (S023 AQLM)", 1, {"nowag-vq-2", "aqlm-2x8"}},
    {"magnitude > Wanda > SparseGPT at 50 % (S096)", 1, {"magnitude-50", "wanda-50", "sparsegpt-50"}},
    {"magnitude > Wanda > SparseGPT at 2:4 (S096)", 1, {"magnitude-2:4", "wanda-2:4", "sparsegpt-2:4"}},
    {"magnitude > NoWag-P at 50 % (S048)", 1, {"magnitude-50", "nowag-50"}},
    {"repair: SVD > weighted > EoRA (S305)", 1, {"q3", "q3-svd", "q3-diag", "q3-eora"}},
    {"a dictionary beats whitened low rank at equal numbers (S328 ROCKET)", 1, {"svd-80", "rocket-80"}},
    {"entropy-coded steps beat groups with scales at 4 bits", 1, {"gptq-4", "step-4"}},
};
const unsigned bench_n_orders = PITH_COUNT(bench_orders);

const bench_saving bench_savings[] = {
    {"flagship at the KL of q4_K with importance: at most 0.85 of its bytes", "q4_K-imatrix", 0.85},
    {"flagship at the KL of q8_0: at most 0.82 of its bytes", "q8_0", 0.82},
};
const unsigned bench_n_savings = PITH_COUNT(bench_savings);
