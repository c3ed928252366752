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
    {.name = NULL},
};
