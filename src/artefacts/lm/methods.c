/* Published systems that use a language model, or any coder, as a measure or a drafter. A row says
 * "works" only when its check has run and `result` holds what it printed, refutations included. */
#include "artefacts/lm/lm.h"

#define SAME_TITLE(text) .title = text, .paper = text

const pith_method lm_methods[] = {
    {
        .name = "suffixdecoding",
        SAME_TITLE("SuffixDecoding: Extreme Speculative Decoding for Emerging AI Applications"),
        .systems = "S039",
        .artefact = "context",
        .status = "works",
        .claim = "drafts from a suffix tree of earlier outputs change no token; 3 tokens and more a step on repeated "
                 "work, 1.05 and more on fresh prose; an update takes 20 microseconds at most",
        .check = "pith bench speculate -T1",
        .result = "2026-11-21: identical tokens in every row; 5.34 tokens a step on repeats (log lines 6.46, edits 4.62, "
                  "questions 5.25), 1.31 on prose; 2.1 microseconds an update",
    },
    {
        .name = "flips",
        SAME_TITLE("Accuracy is Not All You Need"),
        .systems = "S196",
        .artefact = "model",
        .status = "works",
        .claim = "flips follow the divergence of a compressed model (Spearman above 0.9 over 12 recipes and more), and "
                 "a recipe can keep accuracy within 1 % while more than 5 % of answers flip",
        .check = "pith bench flips",
        .result = "2026-11-21: Spearman 0.949 over 13 block types of the default model, 0.952 over 17 recipes; the second "
                  "half not on four sets of cloze items, but by search on tasks a model was taught (pith bench "
                  "context-tasks -n 200 --wide): 2 of 64 pairs of code and task (Wanda, 40 % zeros on coreference: "
                  "accuracy -0.5 %, flips 7.5 %), on other questions 2 of 28 (2 bits on told facts: -0.5 %, 15.5 %); which "
                  "pairs is chance: they are not the same",
    },
    {
        .name = "gpt-ncd",
        SAME_TITLE("Approximating Human-Like Few-shot Learning with GPT-based Compression"),
        .systems = "S084",
        .artefact = "file",
        .status = "works",
        .claim = "nearest neighbours by conditional code length tell topics apart: context mixing no worse than "
                 "compressors of the gzip kind, a language model no worse than context mixing where it knows the domain",
        .check = "pith bench few-shot -T1",
        .result = "2026-11-21: first half holds, second refuted: accuracy 0.917 with context mixing, 0.883 lzma, 0.717 "
                  "zstd; best of the default model 0.867 (60 texts, so +-0.05)",
    },
    {
        .name = "zip-fit",
        SAME_TITLE("ZIP-FIT: Embedding-Free Data Selection via Compression-Based Alignment"),
        .systems = "S288",
        .artefact = "learn",
        .status = "works",
        .claim = "alignment by compressed sizes picks the target's kind out of a mixture (precision above 0.9); with the "
                 "target read first the ranking is the same (Spearman above 0.9) at a fraction of the codes",
        .check = "pith bench zip-fit -T1",
        .result = "2026-11-21: precision 97.2 % at a share of 26.5 %; Spearman 0.945 at 1/19 of the codes; 75.9 % fewer "
                  "bytes to the rate of a random choice (the learner is context mixing, settings chosen on such data)",
    },
    {
        .name = "compression-evaluation",
        SAME_TITLE("Evaluating Large Language Models for Generalization and Robustness via Data Compression"),
        .systems = "S237",
        .artefact = "file",
        .status = "works",
        .claim = "code length by month rises after the months a model has read, and falls with the window",
        .check = "bench/dated-changelogs.sh dated 2020-01 2020-12 && pith bench dated dated -T1",
        .result = "2026-11-21: context mixing 2.009 bits per byte on the months read, 2.060 after; windows 2.336, 2.154, "
                  "2.034; the default model 2.881, 2.480, 2.314",
    },
    {
        .name = "equal-info-windows",
        SAME_TITLE("Training LLMs over Neurally Compressed Text"),
        .systems = "S012",
        .artefact = "lm",
        .status = "works",
        .claim = "windows of equal information restore exactly and can be learnt, a whole coded text cannot; a learner's "
                 "bits per byte order as bytes, windows, byte pairs",
        .check = "pith bench equal-info -T1",
        .result = "2026-11-21: exact; windows 5.24 bits per stream byte, whole code 8.02; order refuted for the online "
                  "learner: bytes 1.845, windows 3.044, byte pairs 2.413 (a frozen order-5 model in the place of M1)",
    },
    {
        .name = "lm-is-compression",
        SAME_TITLE("Language Modeling Is Compression"),
        .systems = "S041",
        .artefact = "file",
        .status = "works",
        .claim = "with its own size counted a language model loses on small data and wins above a size that the table "
                 "states; short chunks cost classic coders more; a compressor can generate",
        .check = "pith bench lmic -T1",
        .result = "2026-11-21: raw %: zstd 30.10, lzma 29.64, pith -8 20.60, default model 28.86 (adjusted 1612); even "
                  "with lzma at 1438 MB; chunks of 2048 bytes: zstd +67 %, lzma +79 %, the model +2.9 %; lzma and context "
                  "mixing continue a pattern",
    },
    {
        .name = "lmcompress",
        SAME_TITLE("Lossless data compression by large models"),
        .systems = "S199",
        .artefact = "file",
        .status = "works",
        .claim = "one coder with a language model takes text, grey pixels and 8-bit sound; tuned on the domain the model "
                 "is at least 5 % below the untuned one, and below lzma",
        .check = "pith bench lmcompress",
        .result = "2026-11-21: restored exactly; tuning the last matrix of the default model on 48 KiB saves 11.6 % of "
                  "text, 46.4 % of pixels, 42.6 % of sound (bits a byte 1.970, 4.773, 5.491; lzma 3.589, 5.165, 5.714)",
    },
    {
        .name = "idealised-runtime",
        SAME_TITLE("Cheaply Evaluating Inference Efficiency Metrics for Autoregressive Transformer APIs"),
        .systems = "S330",
        .artefact = "kv",
        .status = "works",
        .claim = "a model of running time fitted on 10 requests predicts 30 others within 5 % on a quiet core, and ranks "
                 "models the same under load, as wall time does not",
        .check = "pith bench runtime --repeats=5",
        .result = "2026-11-21, nothing else running: 90 % of the predictions within 1.6 %, worst 2.3 % (F16 1.6, q8_0 1.4, "
                  "q2_K 1.0) with a term for the positions of all tokens; with the published pieces of prefill 4.9 to "
                  "9.8 %; four busy threads beside q2_K: idealised order stays, wall time's does not",
    },
    {.name = NULL},
};
