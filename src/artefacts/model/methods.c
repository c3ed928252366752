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
        .recipe = "ternary(minmax) | dict16 @ obs(damp=10%)",
        .status = "works",
        .claim = "ternary experts by error feedback, each on its own tokens, are nearer to the model than rounded ones, and "
                 "take less than one bit a weight in words of a fixed dictionary",
        .check = "pith bench moe",
        .result = "2026-11-21, pith-mini split into 8 experts of which 2 are used: KL 0.487 against 2.321 rounded; 1.373 bits "
                  "a weight, not below 1: 79.2 % zeros where QMoE's large experts have 88.5 %; rans 1.176, entropy 0.947",
    },
    {
        .name = "mc-moe",
        SAME_TITLE("MC-MoE: Mixture Compressor for Mixture-of-Experts LLMs Gains More"),
        .systems = "S295",
        .artefact = "model",
        .status = "works",
        .claim = "bits for each expert by frequency * weight^1.5 * loss under the exact solver beat uniform bits and "
                 "frequency alone; the second expert can be left out where its weight is below the median ratio, better "
                 "with the tokens protected that others attend to",
        .check = "pith bench moe",
        .result = "2026-11-21, pith-mini split into 8 experts of which 2 are used: at 2 bits KL 0.171 against 0.210 uniform and "
                  "0.195 by frequency, lower at 1.5 and 2.5 too; below the median 25.5 % fewer experts at KL 0.014 (0.085 "
                  "at random); protecting 2 % is no better for each expert left out (0.0283 against 0.0277)",
    },
    {
        .name = "minitron",
        SAME_TITLE("Compact Language Models via Pruning and Knowledge Distillation"),
        .systems = "S312",
        .artefact = "model",
        .status = "works",
        .claim = "one shot, without distillation (which waits for learning): neurons by activations lose less than by "
                 "weights, those less than at random; heads by activations less than by weights; width before depth",
        .check = "pith bench cuts",
        .result = "2026-11-21: holds: KL at 75 % of neurons 0.110, 0.192, 0.427; at half of the heads 0.936, 0.993; as many "
                  "parameters as a layer: neurons 0.074, a layer 0.273 (but channels of the stream 0.676)",
    },
    {
        .name = "modegpt",
        SAME_TITLE("MoDeGPT: Modular Decomposition for Large Language Model Compression"),
        .systems = "S055",
        .artefact = "model",
        .status = "works",
        .claim = "a quarter of the layers' parameters gone: decomposed pairs lose less than a whitened SVD of each matrix, "
                 "that less than neurons by magnitude; what is left is dense and faster",
        .check = "pith bench cuts",
        .result = "2026-11-21: holds: KL 0.165, 0.215, 0.382; its neurons alone, as many parameters, 0.046 at 1.28 times the "
                  "speed (queries, keys and values are judged in full size with zeros: no GGUF has such ranks)",
    },
    {
        .name = "ziplm",
        SAME_TITLE("ZipLM: Hardware-Aware Structured Pruning of Language Models"),
        .systems = "S289",
        .artefact = "model",
        .status = "works",
        .claim = "asked for 1.5 and 2 times the speed a shape chosen by measured latency is within 10 % of it, and loses "
                 "less than an even cut with as many parameters",
        .check = "pith bench cuts",
        .result = "2026-11-21: asked for 1.5: 1.44 times, KL 0.100, even cut 0.232 (holds); for 2: 2.02 times, KL 0.426, even cut "
                  "0.424 (a tie; perplexity 1.070 and 1.137 times the model's); all layers one shape, timings vary by run",
    },
    {
        .name = "prunenet",
        SAME_TITLE("You Only Prune Once: Designing Calibration-Free Model Compression With Policy Learning"),
        .systems = "S294",
        .artefact = "model",
        .status = "works",
        .claim = "rows chosen by a policy that is rewarded for keeping singular values lose less than random rows and than "
                 "norms, without any text, also at a share it was not learnt for",
        .check = "pith bench cuts",
        .result = "2026-11-21: refuted but for random rows: KL at 70 % policy 0.554, random 0.583, norms 0.340, leverage 0.340; "
                  "at 80 % 0.321, 0.339, 0.083, 0.082; 20 episodes do not lower KS (0.212, random 0.185); a search that "
                  "does (0.166) has KL 0.458 at 70 %, 0.381 at 80 %",
    },
    {
        .name = "rom-llm",
        SAME_TITLE("Rethinking Compression: Reduced Order Modelling of Latent Features in Large Language Models"),
        .systems = "S033",
        .artefact = "model",
        .recipe = "lowrank(ratio=0.8, white=eig)",
        .status = "works",
        .claim = "with 80 and 90 % of the layers' parameters, principal components of outputs lose less than the weights' "
                 "SVD and than fewer neurons by magnitude",
        .check = "pith bench subspace",
        .result = "2026-11-21: at 80 % holds: KL 0.182, 1.201, 0.262; at 90 % 0.104 and 0.747, but 0.015 for fewer neurons; the "
                  "later layers alone 0.244 at 80 %, 0.104 at 90 %",
    },
    {
        .name = "lord",
        SAME_TITLE("LORD: Low Rank Decomposition Of Monolingual Code LLMs For One-Shot Compression"),
        .systems = "S052",
        .artefact = "model",
        .recipe = "lowrank(white=eig, factors=outliers(threshold=0.2, inner=q(4, group=16, meta=q(4, group=16))) @ obs)",
        .status = "works",
        .claim = "a narrow domain admits lower ranks of outputs at 1 % of perplexity than mixed text; SpQR on the factors "
                 "costs at most 1 % more",
        .check = "pith bench subspace",
        .result = "2026-11-21: ranks in 16ths of the width, attention and feed-forward: narrow 5 and 12, mixed 10 and 9 (one model "
                  "judged on each, so lower in sum only); SpQR at 4.14 and 4.56 bits a weight costs 1.02 % (just over) and "
                  "0.30 % more",
    },
    {
        .name = "afm",
        SAME_TITLE("Unified Low-rank Compression Framework for Click-through Rate Prediction"),
        .systems = "S290",
        .artefact = "model",
        .status = "works",
        .claim = "embeddings cut to a quarter by the covariance of outputs, weighted by how often rows occur, rank clicks "
                 "better than by the table's SVD and by hashing, and better than the whole table",
        .check = "pith bench subspace",
        .result = "2026-11-21: holds on a made log (48,000 rows, Zipf-like; a factorisation machine): AUC 0.690, SVD 0.685, "
                  "hashed 0.631, whole 0.674; with plain gradient steps 0.7445, 0.7439, 0.652, 0.721",
    },
    {
        .name = "concat-svd",
        SAME_TITLE("Concatenated Matrix SVD: Compression Bounds, Incremental Approximation, and Error-Constrained Clustering"),
        .systems = "S337",
        .artefact = "model",
        .status = "works",
        .claim = "bounds on the joint error of matrices side by side are never below it, a growing decomposition is within "
                 "5 %; at 10 % error clusters that share a basis take fewer bytes than a basis each and than one for all",
        .check = "pith bench concat-svd",
        .result = "2026-11-21: bounds hold (132 of 132; 1.1 to 1.7 times the error at a quarter of full rank), estimate 4.3 % off "
                  "at most; at 10 % no rank saves anything over halves (9.04 MB each way), at 30 % 8.018 MB, alone 8.522, one "
                  "basis 8.028; at 50 % 5.564, 5.592, 6.236",
    },
    {
        .name = "job-search-slm",
        SAME_TITLE("Scaling Up Efficient Small Language Models Serving and Deployment for Semantic Job Search"),
        .systems = "S031",
        .artefact = "model",
        .status = "works",
        .claim = "the pruning part alone: a model with 40 % fewer parameters serves faster at a loss that choosing well "
                 "keeps small (training again and shortening items wait for learning and contexts)",
        .check = "pith bench cuts",
        .result = "2026-11-21: 1.7 times the speed (processor time of a token), KL 0.231 by structured OBS, 1.942 by magnitude",
    },
    {
        .name = "zipllm",
        SAME_TITLE("ZipLLM: Efficient LLM Storage via Model-Aware Synergistic Data Deduplication and Compression"),
        .systems = "S072",
        .artefact = "model",
        .status = "works",
        .claim =
            "a bf16 base and a fine-tuned sibling take 50 % of their bytes at most, a family more than 20 % less than "
            "by the best of deduplication or compression alone; the base is found without being named",
        .check = "pith bench family",
        .result =
            "2026-11-21: holds: 39.3 % at an update of 1e-3; 8 files 18.8 % of raw (equal tensors once 76.7 %, zstd -3 "
            "78.2 %, planes 66.4 %), 71.7 % less; 7 of 7 bases found, a stranger left alone; all byte for byte",
    },
    {
        .name = "compeft",
        SAME_TITLE("ComPEFT: Compression for Communicating Parameter Efficient Updates via Sparsification and "
                   "Quantization"),
        .systems = "S309",
        .artefact = "model",
        .status = "works",
        .claim =
            "the largest differences as signs of one size keep 95 % of what fine-tuning gained, at an eighth of the "
            "bytes of f16 and less",
        .check = "pith bench compeft",
        .result =
            "2026-11-21: refuted on the last matrix of the default model, whose gain is 22 % of the loss: 78.5 % of it "
            "at 13.5 times less (30 %, their mean magnitude), 66.1 % at 47 times; bytes within 1 % of the entropy",
    },
    {
        .name = "rmm",
        SAME_TITLE("Towards Reversible Model Merging For Low-rank Weights"),
        .systems = "S179",
        .artefact = "model",
        .status = "works",
        .claim =
            "of six fine-tuned matrices the mean and a basis of two or three keep nearly all of the gain (95 %), where "
            "merging into one loses it",
        .check = "pith bench rmm",
        .result =
            "2026-11-21: in part: last matrices of the default model tuned on six kinds of text, as they are and not "
            "in low rank: the mean keeps 35.0 % of the gain, TIES 3.9 %, with 1 to 4 matrices 57.0, 68.0, 81.7, "
            "92.6 %, with 5 all",
    },
    {
        .name = "jsd-task-impact",
        SAME_TITLE("Evaluating the Impact of Compression Techniques on Task-Specific Performance of Large Language Models"),
        .systems = "S096",
        .artefact = "model",
        .status = "works",
        .claim = "what a pruner is calibrated on decides what the model keeps: judged by Jensen-Shannon divergence, "
                 "calibrating on the kind of text that is judged is at least 3 % better than on another",
        .check = "pith bench prune-tasks",
        .result = "2026-11-21, half of the default model's layer weights: Wanda 14.2 % and 32.5 % lower (prose, C sources), "
                  "SparseGPT 55.4 % and 61.4 %; perplexity beside the model's own 0.81 to 1.31, so it hides what happened",
    },
    {
        .name = "casp",
        SAME_TITLE("CASP: Compression of Large Multimodal Models Based on Attention Sparsity"),
        .systems = "S037",
        .artefact = "model",
        .status = "works",
        .claim = "queries and keys bear low rank best, the sparser the attention the better, and bits by the logarithm of "
                 "block influence beat equal bits at 2.5 on average",
        .check = "pith bench casp",
        .result = "2026-11-21: at equal bytes saved KL 0.163 by queries and keys, 0.530 by values and outputs, but 0.059 by the "
                  "feed-forward network, a tenth of which goes; density of attention and harm go against each other over 6 "
                  "layers (Spearman -0.71: what matters grows with depth, density falls); by block influence 0.051, equal "
                  "bits 0.039: the first layer's influence of 1.0 takes bits it does not need",
    },
    {
        .name = "scaling-laws-capacity",
        SAME_TITLE("Unified Scaling Laws for Compressed Representations"),
        .systems = "S120",
        .artefact = "model",
        .status = "works",
        .claim = "a code's square error on normal noise foretells what it does to a model: Spearman above 0.9 over recipes "
                 "of every kind",
        .check = "pith bench gaussian",
        .result = "2026-11-21: Spearman 0.996 over 36 recipes on the default model (0.998 by the error on its own weights); "
                  "known errors met or bettered: q4_0 0.0066, ternary 0.190, 2:4 0.133, half pruned 0.0715, seeds of 4 bits "
                  "0.0146; the half of the claim about training is not tried",
    },
    {
        .name = "bitstack",
        SAME_TITLE("BitStack: Fine-Grained Size Control for Compressed Large Language Models in Variable Memory Environments"),
        .systems = "S089",
        .artefact = "model",
        .recipe = "scale | stack(levels=8, of=signlowrank(1))",
        .status = "works",
        .claim = "every prefix of the sorted levels is a model, a longer one is nearer to the original, and none is worse than "
                 "a file of its own of the same bytes",
        .check = "pith bench bitstack",
        .result = "2026-11-21: KL falls at each of 14 budgets from 1.15 to 8.86 bits, 2.22 to 0.052; sorted by gain per byte "
                  "it is at least as near as level by level at all 14; groups with error feedback in files of their own are "
                  "much nearer: 0.123 against 0.298 at 2.9 bits, 0.016 against 0.147 at 4.1",
    },
    {
        .name = "dfloat11",
        .title = "70% Size, 100% Accuracy: Lossless LLM Compression for Efficient GPU Inference via Dynamic-Length Float",
        .paper = "Zhang et al., arXiv:2504.11651",
        .systems = "S322",
        .artefact = "model",
        .status = "works",
        .claim = "weights in bf16 take at most 66.7 % of their bytes, within 0.1 points of the order-0 limit of the "
                 "exponents, restored to the byte; 0.8 GB/s back and 0.4 GB/s there on one core",
        .check = "pith bench weights",
        .result = "2026-11-21: 66.73 % on pith-mini (limit 66.67 %, so 66.7 % is missed by 0.03), 66.25 % on MiniLM (limit "
                  "66.33 %); zstd -19 78.47 %, xz -9e 71.48 %; 2.48 GB/s back, 0.83 GB/s there; products from coded "
                  "weights at 2.3 GB/s, from plain ones at 15",
    },
    {
        .name = "checkpoint-context-coding",
        SAME_TITLE("An Efficient Compression of Deep Neural Network Checkpoints Based on Prediction and Context Modeling"),
        .systems = "S053",
        .artefact = "model",
        .status = "works",
        .claim = "changes and moments pruned together, 15 levels and zero, coded with the checkpoint before as context are a "
                 "fifth smaller than by a general archiver and a tenth than without contexts; 3x3 < same place < none; "
                 "training goes on as from the exact checkpoint, within what orders of the batches differ",
        .check = "pith bench checkpoints",
        .result = "2026-11-21: 384010 bytes of 12582912 (3.05 %); 37.1 % below zstd -19, 54.4 % below rans, 1/25 of exact "
                  "differences; same place 384417, none 520706; after 100 steps 0.037 bits of a held-out token better than "
                  "from the exact checkpoint, orders differ by 0.019: no worse, but not the same curve",
    },
    {.name = NULL},
};
