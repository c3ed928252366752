/* Text to token ids and back, as the model's own tokenizer does it: SentencePiece BPE and unigram
 * with byte fallback, byte-level BPE with the pre-tokenizer expressions of GPT-2, Llama 3 and
 * Qwen2 (PCRE2), WordPiece, raw bytes. Ids equal those of llama.cpp and Hugging Face tokenizers. */
#ifndef LM_TOKENIZER_TOKENIZER_H
#define LM_TOKENIZER_TOKENIZER_H

#include "formats/tensors/tensors.h"

typedef struct tokenizer tokenizer;

#define TOKEN_NONE UINT32_MAX

/* From the metadata of a GGUF file (tokenizer.ggml.*). A file without them whose vocabulary is
 * 256 wide gets raw bytes. Hostile lists (wrong counts, merges of unknown pieces, duplicate
 * pieces) end in PITH_E_FORMAT with the key and index. */
pith_status tokenizer_open(pith_ctx *ctx, const tensor_file *f, tokenizer **out);
/* From a file: tokenizer.json, a SentencePiece .model, llama2.c's tokenizer .bin (n_vocab from the checkpoint; 0: to
 * the end of the file). */
pith_status tokenizer_open_path(pith_ctx *ctx, const char *path, uint32_t n_vocab, tokenizer **out);
/* The same from memory, which is not needed afterwards. */
pith_status tokenizer_open_memory(pith_ctx *ctx, const uint8_t *data, size_t size, uint32_t n_vocab, tokenizer **out);
void tokenizer_free(pith_ctx *ctx, tokenizer *t);
/* tensor_bytes_hash of the vocabulary file it was opened from; NULL for one from a model file. */
const uint8_t *tokenizer_file_hash(const tokenizer *t);

typedef struct tokenizer_info {
    const char *kind; /* "spm", "unigram", "bpe", "wordpiece", "bytes" */
    const char *pre;  /* "gpt-2", "llama-bpe", "qwen2", "" */
    uint32_t n_vocab;
    uint32_t bos, eos, unk; /* TOKEN_NONE when there is none */
    bool add_bos, add_eos;  /* what the model expects */
    bool add_space_prefix;
    bool byte_exact; /* decode(encode(x)) == x for all byte strings x, apart from the space in front */
} tokenizer_info;
const tokenizer_info *tokenizer_about(const tokenizer *t);

typedef struct token_list {
    uint32_t *id;
    size_t n, capacity;
} token_list;
void token_list_free(pith_ctx *ctx, token_list *l);
pith_status token_list_append(pith_ctx *ctx, token_list *l, const uint32_t *ids, size_t n);

/* TOKENIZE_SPECIAL: control tokens written out in the text ("<s>") become their ids.
 * TOKENIZE_BOS, TOKENIZE_EOS: in front / behind, whatever add_bos says. TOKENIZE_CONTINUE: no space prefix.
 * TOKENIZE_MARKS: a U+2581 in the text counts as a space and text after a user-defined piece gets
 * its own space prefix, as llama.cpp does it. Without it such a mark goes as bytes where byte_exact
 * holds, so that decoding gives it back; on every other text the ids are the same. */
enum {
    TOKENIZE_SPECIAL = 1,
    TOKENIZE_BOS = 2,
    TOKENIZE_EOS = 4,
    TOKENIZE_CONTINUE = 8,
    TOKENIZE_MARKS = 16
};
/* Appends the ids of text[size] (any bytes, invalid UTF-8 and NUL included) to *out.
 * Time O(n log n) whatever the input; memory O(n). */
pith_status tokenizer_encode(pith_ctx *ctx, const tokenizer *t, const void *text, size_t size, unsigned flags,
                             token_list *out);
/* The bytes id stands for in running text (a control token: none, unless `special`). Valid as long as t. */
const uint8_t *tokenizer_piece(const tokenizer *t, uint32_t id, bool special, size_t *size);
/* Appends the bytes of ids; at_start drops the space that encoding puts in front of a text. */
pith_status tokenizer_decode(pith_ctx *ctx, const tokenizer *t, const uint32_t *ids, size_t n, bool at_start,
                             pith_buffer *out);
/* The raw vocabulary entry, its score and kind (ggml's: 1 normal, 2 unknown, 3 control, 4 user, 5 unused, 6 byte). */
const char *tokenizer_entry(const tokenizer *t, uint32_t id, size_t *size, float *score, int *kind);

#endif
