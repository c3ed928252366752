/* Published systems that compress files, as recipes over the file artefact's stages. A row
 * says "works" only when its check has run and `result` holds what it printed. */
#include "artefacts/file/file.h"

const pith_method file_methods[] = {
    {
        .name = "statesmix",
        .title = "StateSMix: Online Lossless Compression via Mamba State Space Models and Sparse N-gram Context Mixing",
        .paper = "StateSMix: Online Lossless Compression via Mamba State Space Models and Sparse N-gram Context Mixing",
        .systems = "S323",
        .artefact = "file",
        .recipe = "cm(inputs=40, ssm=64)",
        .status = "works",
        .claim = "a state-space model trained while it codes, mixed with hashed n-gram contexts, needs fewer than "
                 "40 600 bytes (2.136 bits per byte) for alice29.txt, with no weights and no tokenizer shipped",
        .check = "pith --recipe 'cm(inputs=40, ssm=64)' -c tests/data/alice29.txt | wc -c",
        .result = "2026-11-21: 34725 bytes, 1.827 bits per byte; 35712 without the state-space model, 48528 by xz -9e",
    },
    {
        .name = "llmzip",
        .title = "LLMZip: Lossless Text Compression using Large Language Models",
        .paper = "LLMZip: Lossless Text Compression using Large Language Models",
        .systems = "S030",
        .artefact = "file",
        .recipe = "lm",
        .status = "works",
        .claim = "arithmetic coding under a language model comes to the model's own code length, ranks through a general "
                 "compressor are 10 to 25 % larger, and a longer window is smaller",
        .check = "pith bench llmzip -T1",
        .result = "2026-11-21: 5459 bytes, 0.52 % below the sum of -log2 p (the coder gives the unlikeliest tokens more "
                  "than the model does); ranks +16.9 %; window 31: 5962; restored exactly",
    },
    {
        .name = "logzip",
        .title = "Logzip: Extracting Hidden Structures via Iterative Clustering for Log Compression",
        .paper = "Logzip: Extracting Hidden Structures via Iterative Clustering for Log Compression",
        .systems = "S315",
        .artefact = "file",
        .recipe = "columns | lzma",
        .status = "works",
        .claim = "templates and columns of their slots, kept where they pay, put logs at least 10 % below the same coder of "
                 "repeats alone and never above; under context mixing the structure as contexts saves at least 5 %",
        .check = "pith bench logzip *_2k.log",
        .result = "2026-11-21, the 16 samples of 2000 lines of loghub: level 3 235031 bytes, 29.7 % below zstd 19 (334405); "
                  "level 4 218569, 28.1 % below lzma (303930); smaller on every file; restored exactly. Context mixing with "
                  "12 inputs 195946, 9.4 % below the same without lines and fields; with 40 inputs 174315, 3.3 % below: that "
                  "part is refuted, its other contexts know most of it. The front end was developed on these logs",
    },
    {
        .name = "tabular-latent",
        .title = "Compressing Tabular Data via Latent Variable Estimation",
        .paper = "Compressing Tabular Data via Latent Variable Estimation",
        .systems = "S025",
        .artefact = "file",
        .recipe = "columns | lzma",
        .status = "works",
        .claim = "blocks by estimated kinds of rows and columns come within 3 % of the entropy of a table made that way, where "
                 "lzma row by row stays clearly above; on real tables they are at most the smaller of row and column order",
        .check = "pith bench tabular *.csv",
        .result = "2026-11-21: 1000 x 100, two kinds of each: 16249 bytes, 0.43 % above the entropy, lzma row by row 48.3 %. "
                  "3 public tables and loghub's 16 structured logs, the best of four latent orders: 495353 bytes, rows "
                  "562332, columns 509630, but at most the smaller of these on 8 of 19 only: refuted in part. Typed columns "
                  "(the front end, 455652) are smaller on 17 of 19, so latent order is no front end",
    },
    {.name = NULL},
};
