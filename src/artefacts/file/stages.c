/* The stages a file recipe may name: front ends, then codecs. The values of a stage's parameters,
 * in this order, are the file_args that its implementation is handed. */
#include "artefacts/file/codec.h"
#include "artefacts/file/file.h"

static const pith_param text_params[] = {
    {.name = "words", .type = PITH_P_FLAG, .def = 1, .doc = "replace frequent English words by their numbers where they are"},
};

static const pith_param record_params[] = {
    {.name = "length", .type = PITH_P_INT, .min = 0, .max = 1024, .def = 0, .unit = "bytes",
     .doc = "of one record, 2 or more; 0: detect"},
};

static const pith_param array_params[] = {
    {.name = "width", .type = PITH_P_INT, .min = 0, .max = 8, .def = 0, .unit = "bytes",
     .doc = "of one number: 2, 4 or 8; 0: detect"},
    {.name = "becomes", .type = PITH_P_CHOICE, .choices = "auto|itself|delta|line|xor", .def = 0,
     .doc = "itself, difference to the number before or to a line through two, exclusive or"},
    {.name = "channels", .type = PITH_P_INT, .min = 0, .max = 256, .def = 0, .unit = "numbers",
     .doc = "distance to the number compared with; 0: detect"},
};

static const pith_param zstd_params[] = {
    {.name = "level", .type = PITH_P_INT, .min = 1, .max = 22, .def = 19, .doc = "of libzstd: higher is smaller and slower"},
};

static const pith_param lzma_params[] = {
    {.name = "preset", .type = PITH_P_INT, .min = 0, .max = 9, .def = 9, .doc = "of liblzma, always its extreme variant"},
    {.name = "filter", .type = PITH_P_CHOICE, .choices = "auto|none|x86|powerpc|ia64|arm|armthumb|sparc|arm64|delta",
     .def = 0, .doc = "machine code or difference filter in front; auto tries what the data look like"},
    {.name = "distance", .type = PITH_P_INT, .min = 0, .max = 256, .def = 0, .unit = "bytes",
     .doc = "of the filter delta; 0: detect"},
};

static const pith_param bwt_params[] = {
    {.name = "match", .type = PITH_P_INT, .min = 0, .max = 65536, .def = 128, .unit = "bytes",
     .doc = "repeats from this length on, 32 or more, are taken out before sorting; 0: none"},
};

static const pith_param cm_params[] = {
    {.name = "inputs", .type = PITH_P_CHOICE, .choices = "12|40", .def = 1, .doc = "models mixed per bit, about"},
    {.name = "prime", .type = PITH_P_CHOICE, .choices = "none|short|full", .def = 0,
     .doc = "learn a text built into the program first, the one most like the block"},
    {.name = "ssm", .type = PITH_P_INT, .min = 0, .max = 256, .def = 0,
     .doc = "width of the state-space model that learns as it codes, a multiple of 16; 0: none"},
};

const pith_stage file_stages[] = {
    {.name = "text", .artefact = "file", .role = "front end", .impl = &file_front_text,
     .summary = "prose: capital letters as marks, frequent words as numbers",
     .source = "P. Skibinski, Sz. Grabowski, S. Deorowicz, Revisiting dictionary-based compression, 2005",
     .params = text_params, .n_params = PITH_COUNT(text_params)},
    {.name = "x86", .artefact = "file", .role = "front end", .impl = &file_front_x86,
     .summary = "x86 machine code: absolute targets of calls, jumps and data references"},
    {.name = "record", .artefact = "file", .role = "front end", .impl = &file_front_record,
     .summary = "fixed-width records: columns, each plain or as differences", .params = record_params,
     .n_params = PITH_COUNT(record_params)},
    {.name = "array", .artefact = "file", .role = "front end", .impl = &file_front_array,
     .summary = "integers and floats of 16, 32 or 64 bits: differences, then byte planes", .params = array_params,
     .n_params = PITH_COUNT(array_params)},
    {.name = "stored", .artefact = "file", .role = "codec", .impl = &file_codec_stored, .summary = "the bytes as they are"},
    {.name = "run", .artefact = "file", .role = "codec", .impl = &file_codec_run,
     .summary = "one pattern of up to 64 bytes over and over"},
    {.name = "zstd", .artefact = "file", .role = "codec", .impl = &file_codec_zstd,
     .summary = "fast repeats and entropy coding by libzstd",
     .source = "Y. Collet, M. Kucherawy, Zstandard Compression and the application/zstd Media Type, RFC 8878, 2021",
     .params = zstd_params, .n_params = PITH_COUNT(zstd_params)},
    {.name = "lzma", .artefact = "file", .role = "codec", .impl = &file_codec_lzma,
     .summary = "repeats and a bit coder with contexts by liblzma, settings tried per block", .source = "I. Pavlov, LZMA SDK",
     .params = lzma_params, .n_params = PITH_COUNT(lzma_params)},
    {.name = "bwt", .artefact = "file", .role = "codec", .impl = &file_codec_bwt,
     .summary = "Burrows-Wheeler transform by libdivsufsort and a mixed bit coder",
     .source = "M. Burrows, D. Wheeler, A block-sorting lossless data compression algorithm, 1994",
     .params = bwt_params, .n_params = PITH_COUNT(bwt_params)},
    {.name = "cm", .artefact = "file", .role = "codec", .impl = &file_codec_cm,
     .summary = "context mixing: many models' predictions of each bit, weighted by how right they were",
     .source = "M. Mahoney, Adaptive weighing of context models for lossless data compression, 2005", .params = cm_params,
     .n_params = PITH_COUNT(cm_params)},
    {.name = NULL},
};
