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
        .categories = PITH_QUANTISATION,
        .recipe = "unit | aq(codebooks=2, bits=8, dim=8)",
        .status = "works",
        .claim = "at 2.0 to 2.5 bits per weight the error of the outputs orders rounding > GPTQ > vectors from one "
                 "codebook > sums of two codebooks",
        .check = "pith bench codecs --layers=2 --chunks=8",
        .result = "2026-11-21: holds on a made matrix of 512 x 1024, correlated inputs, at 2.16 bits: 0.203, 0.066, "
                  "0.053, 0.020; on two layers of the default model, with smaller codebooks at 2.18 bits, 0.155, "
                  "0.057, 0.074, 0.037: the sums are best, one codebook is not below GPTQ; 3 to 5 seconds for a "
                  "million weights",
    },
    {
        .name = "nowag",
        SAME_TITLE("NoWag: A Unified Framework for Shape Preserving Compression of Large Language Models"),
        .systems = "S048",
        .artefact = "model",
        .categories = PITH_PRUNING | PITH_QUANTISATION,
        .recipe = "norm2(keep) | vq(dim=4, bits=2)",
        .status = "works",
        .claim = "normalising rows and columns and weighing by the inputs both lower the error of the outputs of "
                 "2-bit vectors; of pruning by half, magnitude > Wanda > NoWag in divergence",
        .check = "pith bench codecs --layers=2 --chunks=8",
        .result = "2026-11-21: weighing holds: 0.077 against 0.094 on two layers, 0.062 against 0.101 on a made "
                  "matrix; normalising at equal bytes 0.068 against 0.069, on the made matrix 0.062 against 0.059 "
                  "(refuted there: its rows are alike); pruning holds: KL 0.0553, 0.0480, 0.0444 (on one layer "
                  "alone a tie with Wanda)",
    },
    {
        .name = "spqr",
        SAME_TITLE("SpQR: A Sparse-Quantized Representation for Near-Lossless LLM Weight Compression"),
        .systems = "S073",
        .artefact = "model",
        .categories = PITH_QUANTISATION,
        .recipe = "perm | outliers(threshold=0.2, inner=q(3, group=16, meta=q(3, group=16))) @ obs",
        .status = "works",
        .claim = "at equal bits the divergence orders rounding > GPTQ > SpQR, by a fifth at least beside smaller "
                 "groups, and more than nine in ten planted outliers are found",
        .check = "pith bench codecs --layers=2 --chunks=8",
        .result = "2026-11-21: the order holds on two layers of the default model: KL 0.0158, 0.0048; at SpQR's "
                  "4.04 bits GPTQ 0.0038, SpQR 0.0034: 9.7 % less, not a fifth (one layer alone: 4 % more); the "
                  "planted ones are found (tests/kernels/represent/test_sparse.c)",
    },
    {
        .name = "seedlm",
        SAME_TITLE("SeedLM: Compressing LLM Weights into Seeds of Pseudo-Random Generators"),
        .systems = "S087",
        .artefact = "model",
        .categories = PITH_QUANTISATION,
        .recipe = "seed(block=8, coefficients=3, lfsr=16, bits=4)",
        .status = "works",
        .claim = "4.0 bits per weight without data; relative error 0.0149 on Gaussian weights, which a scalar grid "
                 "of equal bits does not exceed",
        .check = "pith bench codecs --layers=2 --chunks=8",
        .result = "2026-11-21: holds: 0.0148 at 4.00 bits, 0.0500 at 3.00 (known 0.0484), the best 16 values for "
                  "single weights 0.0093; on two layers of the default model 0.0148 against 0.0143 of rounded "
                  "groups at equal bytes, at 3.07 bits 0.050 against 0.125; 16 seconds for a million weights",
    },
    {
        .name = "eora",
        SAME_TITLE("EoRA: Training-free Compensation for Compressed LLM with Eigenspace Low-Rank Approximation"),
        .systems = "S305",
        .artefact = "model",
        .categories = PITH_QUANTISATION | PITH_LOW_RANK,
        .recipe = "sum(q(3, group=32), lowrank(rank=8, white=eig))",
        .status = "works",
        .claim = "of corrections of one rank that in the eigenspace of the inputs has the least error of outputs, "
                 "then the diagonal's, then the plain one; divergence follows",
        .check = "pith bench codecs --layers=2 --chunks=8",
        .result = "2026-11-21: holds in 14 of 14 matrices of two layers; KL 0.0097, 0.0148, 0.0160; with factors in "
                  "4 bits 0.0098 at 3.88 bits, rounding alone at equal bytes 0.0114, but GPTQ alone 0.0048 at 3.63",
    },
    {
        .name = "rocket",
        SAME_TITLE("ROCKET: Rapid Optimization via Calibration-guided Knapsack Enhanced Truncation for Efficient Model "
                   "Compression"),
        .systems = "S328",
        .artefact = "model",
        .categories = PITH_LOW_RANK,
        .recipe = "dict(keep=80%)",
        .status = "works",
        .claim = "at equal removal a whitened singular value decomposition > the dictionary > the dictionary with sizes "
                 "from the knapsack, in divergence",
        .check = "pith bench rocket",
        .result = "2026-11-21: holds at 20, 30 and 40 % removed from the layers: KL 0.135 > 0.101 > 0.066; 0.207 > 0.157 > "
                  "0.122; 0.318 > 0.257 > 0.215; with errors weighed by what each matrix does to the answers the knapsack "
                  "comes to 0.042, 0.071 and 0.116",
    },
    {
        .name = "qmoe",
        SAME_TITLE("QMoE: Practical Sub-1-Bit Compression of Trillion-Parameter Models"),
        .systems = "S317",
        .artefact = "model",
        .categories = PITH_QUANTISATION,
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
        .categories = PITH_QUANTISATION | PITH_ARCHITECTURE,
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
        .categories = PITH_PRUNING | PITH_DISTILLATION,
        .status = "works",
        .claim = "one shot: neurons by activations lose less than by weights, those less than at random; heads by "
                 "activations less than by weights; width before depth; then learning from the whole model's answers "
                 "mends more than learning from text",
        .check = "pith bench cuts; pith bench categories --class=distillation",
        .result = "2026-11-21: holds: KL at 75 % of neurons 0.110, 0.192, 0.427; at half of the heads 0.936, 0.993; as many "
                  "parameters as a layer: neurons 0.074, a layer 0.273 (but channels of the stream 0.676). 2026-11-22: two thirds of layers "
                  "0.750, after 32 steps of 512 tokens from the model's answers 0.541, from text alone 1.755; but the "
                  "text's perplexity falls lower by itself (0.567 and 0.871 times the model's)",
    },
    {
        .name = "modegpt",
        SAME_TITLE("MoDeGPT: Modular Decomposition for Large Language Model Compression"),
        .systems = "S055",
        .artefact = "model",
        .categories = PITH_PRUNING | PITH_LOW_RANK,
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
        .categories = PITH_PRUNING | PITH_ARCHITECTURE,
        .status = "works",
        .claim = "asked for 1.5 and 2 times the speed a shape chosen by measured latency is within 10 % of it, and loses "
                 "less than an even cut with as many parameters",
        .check = "pith bench cuts",
        .result = "2026-11-21: asked for 1.5: 1.44 times, KL 0.100, even cut 0.232 (holds); for 2: 2.02 times, KL 0.426, even cut "
                  "0.424 (a tie; perplexity 1.070 and 1.137 times the model's); all layers one shape, timings vary by run. Layers of their "
                  "own sizes by `pith model prune default --neurons=75% --method=ziplm --uneven --eval`: KL 0.00056, of one "
                  "shape 0.00218; `--speedup=1.5 --uneven`: 1.55 times",
    },
    {
        .name = "llm-surgeon",
        SAME_TITLE("The LLM Surgeon"),
        .systems = "S204",
        .artefact = "model",
        .categories = PITH_PRUNING,
        .status = "works",
        .claim = "with 20 % of the layers' weights gone as rows and columns in 5 shots perplexity orders magnitude > diagonal "
                 "of the inputs > optimal brain surgeon by inputs > by inputs and gradients; 5 shots beat one, updates beat "
                 "none",
        .check = "pith bench surgeon",
        .result = "2026-11-21: the order holds: 12.32, 4.13, 3.46, 1.029 times the perplexity; 5 shots beat one (1.029 and "
                  "1.035, KL 0.0050 and 0.0056); refuted for updates: both factors without any 1.012, though KL 0.0074; at "
                  "40 % KL 0.0757 in 5 shots, 0.1133 in one, 0.1452 without updates, but 1.158, 1.122, 1.176 times the "
                  "perplexity; 4096 tokens calibrate",
    },
    {
        .name = "heapr",
        SAME_TITLE("HEAPr: Hessian-based Efficient Atomic Expert Pruning in Output Space"),
        .systems = "S331",
        .artefact = "model",
        .categories = PITH_PRUNING,
        .status = "works",
        .claim = "of neurons of experts taken out at 20 and 40 % those chosen by the curvature at the experts' outputs cost "
                 "least, before Wanda's, magnitude's and whole experts by frequency; on a dense model the score is what the "
                 "removal of a neuron costs in the second order",
        .check = "pith bench heapr",
        .result = "2026-11-21: holds: KL 0.0082, 0.0127, 0.7004, 0.0451 at 20 %, 0.0600, 0.0738, 1.8839, 1.7711 at 40 % (dense "
                  "model split into 8 experts, 2 used); weighing by the tokens that come is better still, 0.0068 and 0.0531; "
                  "of 8 single neurons the mean score is 0.82 of the measured KL, cosine 0.990, ranks the same; 2026-11-22, "
                  "--singles=0: as many of every expert, which makes the tensors smaller, 0.3422 and 0.8366",
    },
    {
        .name = "prunenet",
        SAME_TITLE("You Only Prune Once: Designing Calibration-Free Model Compression With Policy Learning"),
        .systems = "S294",
        .artefact = "model",
        .categories = PITH_PRUNING,
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
        .categories = PITH_LOW_RANK,
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
        .categories = PITH_QUANTISATION | PITH_LOW_RANK,
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
        .categories = PITH_LOW_RANK,
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
        .categories = PITH_LOW_RANK | PITH_SHARING,
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
        .categories = PITH_PRUNING,
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
        .categories = PITH_PRUNING | PITH_QUANTISATION,
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
        .categories = PITH_SHARING,
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
        .name = "evopress",
        SAME_TITLE("EvoPress: Towards Optimal Dynamic Model Compression via Evolutionary Search"),
        .systems = "S011",
        .artefact = "model",
        .categories = PITH_PRUNING | PITH_QUANTISATION,
        .status = "works",
        .claim = "levels for each matrix found by evolution under the measured divergence are nearer to the model than equal "
                 "ones, greedy ones and the knapsack on summed errors; errors of what is dropped are not monotone",
        .check = "pith bench evopress --generations=60",
        .result = "2026-11-21, at 3.594 bits: evolution 0.0251 against 0.0353 equal, 0.0348 greedy, 0.0517 knapsack on errors; "
                  "but errors weighed once by the divergence each matrix causes foretell the whole (Spearman 0.95 over 24 "
                  "choices), and the knapsack on them gives 0.0222 after 42 measurements, which 1301 of evolution do not reach "
                  "and 20 generations from there do not better; of 2145 comparisons of two dropped sublayers 140 go against "
                  "their sums, and 4 of 66 pairs harm less than one of the two alone",
    },
    {
        .name = "pd-quant",
        SAME_TITLE("PD-Quant: Post-Training Quantization based on Prediction Difference Metric"),
        .systems = "S282",
        .artefact = "model",
        .categories = PITH_QUANTISATION,
        .status = "works",
        .claim = "clipping a matrix's range by what the whole network answers diverges less than by its outputs' error, that "
                 "less than by its weights' (RMS norms have no running statistics to correct; rounding is not learned)",
        .check = "pith bench pd-quant",
        .result = "2026-11-21: holds, by little: at 2 bits KL 0.550, 0.562 by outputs, 0.593 by weights, 0.744 uncut; at 3 bits "
                  "(--bits=3) 0.101, 0.103, 0.105, 0.112; on the document whose 256 tokens choose the ranges 14 and 11 % less than "
                  "by outputs, on the other one 2 %",
    },
    {
        .name = "casp",
        SAME_TITLE("CASP: Compression of Large Multimodal Models Based on Attention Sparsity"),
        .systems = "S037",
        .artefact = "model",
        .categories = PITH_QUANTISATION | PITH_LOW_RANK,
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
        .categories = PITH_LOW_RANK,
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
        .result = "2026-11-22: holds: 66.39 % on pith-mini (exponents alone: limit 66.67 %, coded 66.73 %), 65.87 % on MiniLM "
                  "(limit 66.33 %), since bits of the mantissa are coded with the exponent; zstd -19 78.47 %, xz -9e "
                  "71.48 %; 1.45 GB/s back, 0.47 GB/s there",
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
    {
        .name = "embedding-table-study",
        .title = "Experimental Analysis of Large-scale Learnable Vector Storage Compression",
        .paper = "Experimental Analysis of Large-scale Learnable Vector Storage Compression",
        .systems = "S200",
        .artefact = "model",
        .categories = PITH_QUANTISATION | PITH_LOW_RANK | PITH_SHARING,
        .recipe = "bands(0.1, vq(dim=4, bits=2.5), hash(0.05, product))",
        .status = "works",
        .claim = "no one way to make a table of embeddings smaller is best: it depends on memory and use; ways that "
                 "are told how often rows occur beat those that are not",
        .check = "pith bench embedding",
        .result = "2026-11-21, 14 ways in a half to a 64th, 6 more trained small: holds: token embeddings (KL) "
                  "steps by frequency from /4 (0.00001) to /16 (0.073), two codebooks at /32 and /64 (0.90, 1.81); "
                  "clicks (AUC 0.7353 whole) own rows at /4, low rank at /16 (0.743), mixed dimensions at /64 "
                  "(0.730); hashes last; counts help in 8 of 8 and 5 of 8 pairs at /8 and /16. Not tried: tensor "
                  "trains, learnt sizes and hashes",
    },
    {
        .name = "atoms-of-llms",
        .title = "Towards Atoms of Large Language Models",
        .paper = "Towards Atoms of Large Language Models",
        .systems = "S180",
        .artefact = "model",
        .recipe = "atoms(atoms=1024, nonzeros=4, dim=0)",
        .status = "works",
        .claim = "activations are few atoms of a large dictionary to 99.9 %, atoms that are nearly orthogonal in "
                 "the inner product of the activations and 99.8 % of which are unique; and so they make a code of "
                 "activations",
        .check = "pith bench atoms",
        .result = "2026-11-21, a dictionary of 4 x 256 atoms by pursuit and least squares, no network: refuted: 16 "
                  "atoms explain 87.9 % of another text, 4 76.6 %; another seed finds 57.8 % again (cosine 0.9); "
                  "mean cosine 0.042, plain 0.102 (holds), but at most 0.938; as a code 0.20 bits a number at 4 "
                  "atoms, integers 2.30, components 0.68 at equal error, without the dictionary's 512 KiB",
    },
    {
        .name = "context-understanding",
        SAME_TITLE("Can Large Language Models Understand Context?"),
        .systems = "S230",
        .artefact = "model",
        .status = "works",
        .claim = "a model trails one that was taught the tasks; 3 bits lower what it understands of its context, to "
                 "varying degrees from task to task",
        .check = "pith bench context-tasks -n 200 --wide",
        .result = "2026-11-21, first half holds: lookup, coreference, slots, told facts 96.5, 23, 43.5, 48 % untaught, "
                  "99, 73.5, 86, 70 % taught; 3 bits do not lower every task: RTN 0, +0.5, -5.5, -1.5, GPTQ 0, -2.5, "
                  "+0.5, -2.5 points (standard error about 2); 2 bits RTN do: -7, -11, -4.5, -7, GPTQ -0.5, -2, -3, "
                  "+1.5; q8_0 +0.5 at most",
    },
    {
        .name = "small-made-smaller",
        .title = "What Happens When Small Is Made Smaller? Exploring the Impact of Compression on Small Data Pretrained "
                 "Language Models",
        .paper = "What Happens When Small Is Made Smaller? Exploring the Impact of Compression on Small Data Pretrained "
                 "Language Models",
        .systems = "S195",
        .artefact = "model",
        .status = "works",
        .claim = "what pruning and rounding save carries over to nets trained on little data: zeros up to 60 % and few bits "
                 "cost them no more",
        .check = "pith bench low-data",
        .result = "2026-11-21, a net of 4 layers on 2.4, 24 and 240 KB of English, C and HTML, without distillation: 60 % "
                  "zeros lengthen no code by 5 %, but by magnitude the smallest text's by 3.6 % against 1.3 and 1.3 (18 % of "
                  "all it had learned); Wanda 2.0, 2.2, 1.7; SparseGPT -0.5, -0.1, +0.5; 4, 3 and 2 bits by GPTQ within "
                  "0.5 % or better (2 bits: -0.9, -0.1, +0.3)",
    },
    {
        .name = "llm-kick",
        SAME_TITLE("Compressing LLMs: The Truth is Rarely Pure and Never Simple"),
        .systems = "S018",
        .artefact = "model",
        .status = "works",
        .claim = "facts that a model was taught are the first to go as zeros or rounding grow, before perplexity shows it; "
                 "the same facts read from the context go last",
        .check = "pith bench facts",
        .result = "2026-11-21, 256 facts taught in 100 steps (closed book 95 % of 96 asked): first part holds: 5 % lost from "
                  "41 % zeros by magnitude, 44 Wanda, 52 SparseGPT, perplexity from 44, 47, 61; left at 60 %, 2:4 and 2 "
                  "bits 0.55 to 0.82, the least of all in 8 of 8. Reading is not last: 5 % lost from 33, 27, 40 %, most "
                  "left in 5 of 8 (on 128 other questions from 58 % on and 8 of 8). 3 bits lose under 5 % of anything",
    },
    {
        .name = "model-compression-survey",
        SAME_TITLE("A Survey on Model Compression for Large Language Models"),
        .systems = "S276",
        .artefact = "model",
        .status = "works",
        .claim = "size, parameters, operations, time, speed-up, compression ratio and use of the machine's peak (MFU) tell "
                 "compressed models apart: fewer bytes are faster, and MFU is a part of the peak",
        .check = "pith bench efficiency",
        .result = "2026-11-21, peak 102.6 GFLOP/s of one thread: all are printed for each; 8.5, 4.5, 2.6 bits a parameter are "
                  "1.88, 3.54, 6.06 times smaller and generate 1.21, 1.26, 1.65 times faster, read 2.3 to 2.6 times: faster "
                  "holds, as much as smaller in none; MFU 69 % reading, 35 % generating with halves, but 159 to 179 % "
                  "reading blocks (refuted there: they are multiplied as integers, which no peak of floats bounds)",
    },
    {
        .name = "efficient-inference-survey",
        SAME_TITLE("Model Compression and Efficient Inference for Large Language Models: A Survey"),
        .systems = "S190",
        .artefact = "model",
        .status = "works",
        .claim = "methods differ in what they ask for (data, gradients, time), which is found for every recipe by itself; "
                 "and a model can leave work out token by token",
        .check = "pith bench model --needs; pith bench moe",
        .result = "2026-11-21: 68 of 91 recipes use data, none gradients; 0.01 s a million weights for rounding to 22 for "
                  "seeds; two that are given statistics leave them alone. Dynamic: the second expert left out below the "
                  "median ratio, 25.5 % fewer experts at KL 0.014 (0.085 at random)",
    },
    {
        .name = "compression-algorithms-survey",
        SAME_TITLE("A Comprehensive Survey of Compression Algorithms for Language Models"),
        .systems = "S015",
        .artefact = "model",
        .categories = PITH_PRUNING | PITH_QUANTISATION | PITH_DISTILLATION | PITH_LOW_RANK | PITH_SHARING |
                      PITH_ARCHITECTURE,
        .status = "works",
        .claim = "each of six classes (pruning, quantisation, distillation, low rank, sharing, architecture) has two "
                 "recipes that run, in one sweep; they are of low cost: no training, a size that is asked for, a report of "
                 "what is lost; a teacher mends what was taken away",
        .check = "pith bench categories; pith methods --by-category",
        .result = "2026-11-22: 12 recipes, 8 of them without training, sizes within 5 % of what is asked in 4 of 4, 126 s. "
                  "KL of the two of each class 0.330, 0.017; 0.033, 0.049; 0.541, 0.421; 0.182, 0.053; 4.194 (hashed "
                  "embeddings), 2.033 (pairs of layers, untaught 5.213); 0.137, 1.090. Taught: two thirds of layers 0.750 "
                  "to 0.541 (text alone 1.755, but of lower perplexity), 2 bits 0.989 to 0.421 (error feedback, untaught, "
                  "0.332: not beaten in 32 steps). The steps' rate 3e-4 was chosen after a look at 1e-3 and 1e-4",
    },
    {
        .name = "contemporary-compression",
        SAME_TITLE("Contemporary Model Compression on Large Language Models Inference"),
        .systems = "S083",
        .artefact = "model",
        .status = "works",
        .claim = "smaller weights and a smaller cache of keys and values are judged together, by bytes, speed and quality: what "
                 "they cost adds up, and 4 bits of each work together",
        .check = "pith bench combined",
        .result = "2026-11-22, 2040 tokens: q8_0 and q4_0 caches take 53 and 28 % of f16's bytes (the memory in use agrees); "
                  "with three other weights together 0.967 to 1.043 of the sum of KL: adds up. q4_K weights 0.048, a q4_0 "
                  "cache 0.028, both 0.073 with 29 and 28 % of the bytes; an archive of 4 bits 0.014, both 0.043. Keys in "
                  "q4_0 cost 0.024, values 0.006. No speed is gained at 512 to 896 tokens: generation at 0.837 to 1.081 of "
                  "that with f16 (refuted as no slower, on a busy machine)",
    },
    {.name = NULL},
};
