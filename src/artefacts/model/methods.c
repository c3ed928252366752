/* Published systems that make model files smaller, as recipes. A row says "works" only when its check has run and
 * `result` holds what it printed, refutations included. */
#include "artefacts/model/model.h"

#define SAME_TITLE(text) .title = text, .paper = text

const pith_method model_methods[] = {
    {
        .name = "aqlm",
        SAME_TITLE("Extreme Compression of Large Language Models via Additive Quantization"),
        .systems = "S023",
        .artefact = "model",
        .recipe = "unit | aq(codebooks=2, bits=8, dim=8)",
        .status = "planned",
        .claim = "at 2.0 to 2.5 bits per weight the error of the outputs orders rounding > GPTQ > vectors from one "
                 "codebook > sums of two codebooks",
    },
    {
        .name = "nowag",
        SAME_TITLE("NoWag: A Unified Framework for Shape Preserving Compression of Large Language Models"),
        .systems = "S048",
        .artefact = "model",
        .recipe = "norm2(keep) | vq(dim=6, bits=2)",
        .status = "planned",
        .claim = "normalising rows and columns and weighing by the inputs both lower the error of the outputs of 2-bit "
                 "vectors",
    },
    {
        .name = "spqr",
        SAME_TITLE("SpQR: A Sparse-Quantized Representation for Near-Lossless LLM Weight Compression"),
        .systems = "S073",
        .artefact = "model",
        .recipe = "perm | outliers(threshold=0.2, inner=q(3, group=16, meta=q(3, group=16))) @ obs",
        .status = "planned",
        .claim = "at equal bits the divergence orders rounding > GPTQ > SpQR, and more than nine in ten planted outliers "
                 "are found",
    },
    {
        .name = "seedlm",
        SAME_TITLE("SeedLM: Compressing LLM Weights into Seeds of Pseudo-Random Generators"),
        .systems = "S087",
        .artefact = "model",
        .recipe = "seed(block=8, coefficients=3, lfsr=16, bits=4)",
        .status = "planned",
        .claim = "4.0 bits per weight without data; relative error 0.0149 on Gaussian weights, which a scalar grid of equal "
                 "bits does not exceed",
    },
    {
        .name = "bitstack",
        SAME_TITLE("BitStack: Fine-Grained Size Control for Compressed Large Language Models in Variable Memory Environments"),
        .systems = "S089",
        .artefact = "model",
        .recipe = "scale | stack(levels=16, of=signlowrank(16))",
        .status = "planned",
        .claim = "every prefix of the levels is a model, and a longer one is nearer to the original",
    },
    {
        .name = "eora",
        SAME_TITLE("EoRA: Training-free Compensation for Compressed LLM with Eigenspace Low-Rank Approximation"),
        .systems = "S305",
        .artefact = "model",
        .recipe = "sum(q(3), lowrank(rank=16, white=eig))",
        .status = "planned",
        .claim = "of corrections of one rank that in the eigenspace of the inputs has the least error of outputs, then "
                 "the diagonal's, then the plain one; divergence follows",
    },
    {
        .name = "rocket",
        SAME_TITLE("ROCKET: Rapid Optimization via Calibration-guided Knapsack Enhanced Truncation for Efficient Model "
                   "Compression"),
        .systems = "S328",
        .artefact = "model",
        .recipe = "dict(keep=80%)",
        .status = "planned",
        .claim = "at equal removal a whitened singular value decomposition > the dictionary > the dictionary with sizes "
                 "from the knapsack, in divergence",
    },
    {
        .name = "qmoe",
        SAME_TITLE("QMoE: Practical Sub-1-Bit Compression of Trillion-Parameter Models"),
        .systems = "S317",
        .artefact = "model",
        .recipe = "ternary(minmax) | dict16 @ obs",
        .status = "planned",
        .claim = "ternary weights, nine in ten of them zero, take less than one bit each in words of a fixed dictionary",
    },
    {
        .name = "dfloat11",
        SAME_TITLE("70% Size, 100% Accuracy: Lossless LLM Compression for Efficient GPU Inference via Dynamic-Length Float"),
        .systems = "S322",
        .artefact = "model",
        .status = "planned",
        .claim = "bf16 weights take 66.7 % of their size at most, and come back byte for byte at 0.8 GB/s and more",
        .check = "pith model compress -T1 MODEL.bf16.gguf",
    },
    {.name = NULL},
};
