/* The recipes that `pith bench model` tries, and what the published systems behind them claim about their order. */
#include "faces/cli/bench_model.h"

#define TYPE(name_, type_, data_)                                                                                         \
    { .name = name_, .group = "blocks", .type = type_, .data = data_ }
#define RECIPE(name_, group_, systems_, recipe_, data_)                                                                     \
    { .name = name_, .group = group_, .systems = systems_, .recipe = recipe_, .data = data_ }
#define FLAGSHIP(bits)                                                                                                 \
    RECIPE("step-" bits, BENCH_CURVE, NULL, "step(bits=" bits ") | ctxac @ obs", true)
#define SPREAD(name_, bits_)                                                                                           \
    { .name = name_, .group = BENCH_SPREAD, .spread = bits_, .data = true }
#define ALLOCATE(name_, method_, bits_)                                                                                \
    { .name = name_, .group = "allocate", .method = method_, .spread = bits_, .data = true }

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
    RECIPE("gptq-q4_0", "blocks", NULL, "gguf(q4_0) @ obs", true),
    RECIPE("gptq-q4_K", "blocks", NULL, "gguf(q4_K) @ obs", true),
    RECIPE("gptq-q3_K", "blocks", NULL, "gguf(q3_K) @ obs", true),

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

    SPREAD("spread-2", 2),
    SPREAD("spread-2.5", 2.5),
    SPREAD("spread-3", 3),
    SPREAD("spread-4", 4),
    SPREAD("spread-5", 5),
    SPREAD("spread-6", 6),
    SPREAD("spread-7", 7),
    SPREAD("spread-8", 8),

    ALLOCATE("alike-3", "uniform", 3),
    ALLOCATE("lograte-3", "rate", 3),
    ALLOCATE("greedy-3", "greedy", 3),
    ALLOCATE("knapsack-3", "knapsack", 3),
    ALLOCATE("evolve-3", "evolve", 3),

    RECIPE("rtn-4", "scalar", NULL, "q(4, group=32)", false),
    RECIPE("rtn-4-g16", "scalar", NULL, "q(4, group=16)", false),
    RECIPE("awq-4", "scalar", NULL, "scale(awq, bits=4, group=32) | q(4, group=32)", true),
    RECIPE("gptq-4", "scalar", NULL, "q(4, group=32) @ obs", true),
    RECIPE("rtn-3", "scalar", NULL, "q(3, group=32)", false),
    RECIPE("rtn-3-g64", "scalar", NULL, "q(3, group=64)", false),
    RECIPE("rtn-3-g24", "scalar", NULL, "q(3, group=24)", false),
    RECIPE("awq-3", "scalar", NULL, "scale(awq, bits=3, group=32) | q(3, group=32)", true),
    RECIPE("gptq-3", "scalar", NULL, "q(3, group=32) @ obs", true),
    RECIPE("rtn-3-g16", "scalar", "S073", "q(3, group=16, meta=q(3, group=16))", false),
    RECIPE("gptq-3-g16", "scalar", "S073", "q(3, group=16, meta=q(3, group=16)) @ obs", true),
    RECIPE("gptq-3-g8", "scalar", "S073", "q(3, group=8, meta=q(3, group=16)) @ obs", true),
    RECIPE("spqr-3", "scalar", "S073", "outliers(q(3, group=16, meta=q(3, group=16)), threshold=0.2) @ obs", true),
    RECIPE("gptq-2", "scalar", NULL, "q(2, group=16) @ obs", true),
    RECIPE("rtn-2", "scalar", NULL, "q(2, group=16)", false),
    RECIPE("gptq-2-g64", "scalar", "S023", "q(2, group=64, meta=q(4, group=32)) @ obs", true),
    RECIPE("gptq-2-g32", "scalar", "S023", "q(2, group=32, meta=q(3, group=32)) @ obs", true),
    RECIPE("rtn-2-g32", "scalar", NULL, "q(2, group=32)", false),
    RECIPE("step-rtn-4", "scalar", NULL, "step(bits=4) | ctxac", false),
    RECIPE("step-4-alone", "scalar", NULL, "step(bits=4, trellis=none) | ctxac @ obs", true),
    RECIPE("step-4.5-alone", "scalar", NULL, "step(bits=4.5, trellis=none) | ctxac @ obs", true),
    RECIPE("step-3.5-alike", "scalar", NULL, "step(bits=3.5, rows=0) | ctxac @ obs", true),
    RECIPE("step-4-alike", "scalar", NULL, "step(bits=4, rows=0) | ctxac @ obs", true),
    RECIPE("step-4.5-alike", "scalar", NULL, "step(bits=4.5, rows=0) | ctxac @ obs", true),
    RECIPE("step-rans-4", "scalar", NULL, "step(bits=4) | rans @ obs", true),
    RECIPE("hadamard-4", "scalar", "S176", "hadamard(128) | q(4, group=32, grid=gauss)", false),
    RECIPE("kmeans-4", "scalar", "S053", "kmeans(4) | ctxac", true),

    RECIPE("seed-4", "vector", "S087", "seed(8, 3, 16, 4)", false),
    RECIPE("seed-3", "vector", "S087", "seed(12, 4, 16, 4)", false),
    RECIPE("vq-2", "vector", "S048", "vq(dim=4, bits=2)", false),
    RECIPE("vq-2-h", "vector", "S048", "vq(dim=4, bits=2)", true),
    RECIPE("vq-2.25-h", "vector", "S048", "vq(dim=4, bits=2.25)", true),
    RECIPE("nowag-vq-2", "vector", "S048", "norm2(keep) | vq(dim=4, bits=2)", true),
    RECIPE("aqlm-2x8", "vector", "S023", "unit(row) | aq(2, 8, 8)", true),
    RECIPE("aqlm-4x4", "vector", "S023", "unit(row) | aq(4, 4, 8)", true),
    RECIPE("bitstack-4", "vector", "S089", "scale | stack(4, signlowrank(16))", true),

    RECIPE("magnitude-50", "prune", "S096", "prune(50%)", false),
    RECIPE("magnitude-45", "prune", "S096", "prune(45%)", false),
    RECIPE("wanda-50", "prune", "S096", "prune(50%, score=wanda)", true),
    RECIPE("nowag-50", "prune", "S048", "norm2 | prune(50%, score=nowag)", true),
    RECIPE("sparsegpt-50", "prune", "S096", "sparse(50%) @ obs", true),
    RECIPE("magnitude-2:4", "prune", "S096", "prune(pattern=2:4)", false),
    RECIPE("wanda-2:4", "prune", "S096", "prune(score=wanda, pattern=2:4)", true),
    RECIPE("sparsegpt-2:4", "prune", "S096", "sparse(pattern=2:4) @ obs", true),

    RECIPE("q3", "repair", "S305", "q(3, group=32)", true),
    RECIPE("q3-svd", "repair", "S305", "sum(q(3, group=32), lowrank(8, white=none))", true),
    RECIPE("q3-diag", "repair", "S305", "sum(q(3, group=32), lowrank(8, white=diag))", true),
    RECIPE("q3-eora", "repair", "S305", "sum(q(3, group=32), lowrank(8, white=eig))", true),
    RECIPE("q3-eora-q4", "repair", "S305", "sum(q(3, group=32), lowrank(8, white=eig, factors=q(4, group=32)))", true),
    RECIPE("q2-eora-q4", "repair", "S305", "sum(q(2, group=32), lowrank(16, white=eig, factors=q(4, group=32)))", true),
    RECIPE("svd-80", "repair", "S328", "lowrank(ratio=0.8, white=chol)", true),
    RECIPE("svd-90", "repair", "S328", "lowrank(ratio=0.9, white=chol)", true),
    RECIPE("rocket-80", "repair", "S328", "dict(0.8)", true),
};
const unsigned bench_n_codes = PITH_COUNT(bench_codes);

const char bench_few[] = "q8_0,q4_K,q4_K-imatrix,gptq-q4_K,step-3.5,step-4,step-6,step-7,rtn-4,awq-4,gptq-4,vq-2-h,"
                         "magnitude-50,wanda-50,sparsegpt-50,q3,q3-svd,q3-eora";

const bench_claim bench_claims[] = {
    {"error feedback beats rounding at 4 bits (GPTQ)", 1, "gptq-4", {"rtn-4"}},
    {"error feedback beats rounding at 3 bits (GPTQ)", 1, "gptq-3", {"rtn-3"}},
    {"scaling by activations beats rounding at 4 bits (AWQ)", 1, "awq-4", {"rtn-4", "rtn-4-g16"}},
    {"scaling by activations beats rounding at 3 bits (AWQ)", 1, "awq-3", {"rtn-3", "rtn-3-g24"}},
    {"RTN > GPTQ (S073)", 1, "gptq-3-g16", {"rtn-3-g16"}},
    {"GPTQ on smaller groups > SpQR (S073)", 1, "spqr-3", {"gptq-3-g16", "gptq-3-g8"}},
    {"SpQR 20 % below GPTQ on smaller groups (S073)", 0.8, "spqr-3", {"gptq-3-g16", "gptq-3-g8"}},
    {"importance helps q4_0", 1, "q4_0-imatrix", {"q4_0"}},
    {"importance helps q4_K", 1, "q4_K-imatrix", {"q4_K"}},
    {"error feedback into q4_0 blocks: KL at most 0.9 of plain", 0.9, "gptq-q4_0", {"q4_0"}},
    {"error feedback into q4_K blocks: KL at most 0.9 of plain", 0.9, "gptq-q4_K", {"q4_K"}},
    {"statistics help codebooks (S048 NoWag-VQ)", 1, "vq-2-h", {"vq-2"}},
    {"normalising helps codebooks (S048 NoWag-VQ)", 1, "nowag-vq-2", {"vq-2-h", "vq-2.25-h"}},
    {"RTN > GPTQ at 2 bits (S023 AQLM)", 1, "gptq-2", {"rtn-2"}},
    {"GPTQ > codebooks at 2 bits (S023 AQLM)", 1, "vq-2-h", {"gptq-2-g64", "gptq-2-g32"}},
    {"GPTQ > sums of codebooks at 2 bits (S023 AQLM)", 1, "aqlm-4x4", {"gptq-2-g64", "gptq-2-g32"}},
    {"one codebook > sums of codebooks at 2 bits (S023 AQLM)", 1, "aqlm-4x4", {"vq-2-h", "vq-2.25-h"}},
    {"rounding without data > seeds at 4 bits (S087 SeedLM)", 1, "seed-4", {"rtn-3-g16", "rtn-3-g24", "rtn-4"}},
    {"rounding without data > seeds at 3 bits (S087 SeedLM)", 1, "seed-3", {"rtn-2-g32", "rtn-2", "rtn-3-g64", "rtn-3"}},
    {"seeds > entropy-coded steps without data at 4 bits", 1, "step-rtn-4", {"seed-4"}},
    {"magnitude > Wanda at 50 % (S096)", 1, "wanda-50", {"magnitude-50"}},
    {"Wanda > SparseGPT at 50 % (S096)", 1, "sparsegpt-50", {"wanda-50"}},
    {"magnitude > Wanda at 2:4 (S096)", 1, "wanda-2:4", {"magnitude-2:4"}},
    {"Wanda > SparseGPT at 2:4 (S096)", 1, "sparsegpt-2:4", {"wanda-2:4"}},
    {"magnitude > NoWag-P at 50 % (S048)", 1, "nowag-50", {"magnitude-50", "magnitude-45"}},
    {"repair: plain > weighted by inputs (S305)", 1, "q3-diag", {"q3-svd"}},
    {"repair: weighted by inputs > eigenspace (S305 EoRA)", 1, "q3-eora", {"q3-diag"}},
    {"smaller groups > EoRA with coded factors at 3 bits (S305)", 1, "q3-eora-q4", {"rtn-3", "rtn-3-g16", "rtn-4"}},
    {"smaller groups > EoRA with coded factors at 2 bits (S305)", 1, "q2-eora-q4", {"rtn-2-g32", "rtn-2", "rtn-3-g64"}},
    {"whitened low rank > dictionary (S328 ROCKET)", 1, "rocket-80", {"svd-80", "svd-90"}},
    {"groups with scales > entropy-coded steps at 4 bits", 1, "step-4", {"gptq-4"}},
    {"rounding each weight > rounding along a path", 1, "step-4", {"step-4-alone", "step-4.5-alone"}},
    {"tokens alike > tokens by their use", 1, "step-4", {"step-3.5-alike", "step-4-alike", "step-4.5-alike"}},
    {"bits alike > bits spread over matrices", 1, "spread-4", {"step-3.5", "step-4", "step-4.5"}},
    {"bits alike > a greedy choice over matrices at 3 bits", 1, "greedy-3", {"alike-3", "step-3", "step-3.5"}},
    {"bits alike > bits by logarithms at 3 bits", 1, "lograte-3", {"alike-3", "step-3", "step-3.5"}},
    {"greedy > knapsack at 3 bits", 1, "knapsack-3", {"greedy-3"}},
    {"greedy > evolution at 3 bits (S011)", 1, "evolve-3", {"greedy-3", "knapsack-3"}},
    {"bits alike > bits spread over matrices, at 7 bits", 1, "spread-7", {"step-6", "step-7", "step-8"}},
};
const unsigned bench_n_claims = PITH_COUNT(bench_claims);

const bench_saving bench_savings[] = {
    {"flagship at the KL of q4_K with importance: at most 0.85 of its bytes", BENCH_CURVE, "q4_K-imatrix", 0.85},
    {"flagship at the KL of q8_0: at most 0.82 of its bytes", BENCH_CURVE, "q8_0", 0.82},
    {"spread at the KL of q4_K with importance: at most 0.85 of its bytes", BENCH_SPREAD, "q4_K-imatrix", 0.85},
    {"spread at the KL of q8_0: at most 0.82 of its bytes", BENCH_SPREAD, "q8_0", 0.82},
};
const unsigned bench_n_savings = PITH_COUNT(bench_savings);
