/* Inside the tokenizer room: the vocabulary in memory, the tables each kind encodes with, and the
 * steps that build them. Readers (read_*.c) fill a tokenizer in this order: tokenizer_new,
 * vocabulary_add for every id, vocabulary_index, merges if any, tokenizer_finish. */
#ifndef LM_TOKENIZER_VOCABULARY_H
#define LM_TOKENIZER_VOCABULARY_H

#include "base/base.h"
#include "lm/tokenizer/tokenizer.h"

typedef enum tokenizer_kind {
    TOKENIZER_SPM,      /* merges of the best-scored piece */
    TOKENIZER_RANKED,   /* the same text rules, merges from a ranked list (tokenizer.json of Llama, Mistral) */
    TOKENIZER_BYTE_BPE, /* GPT-2 */
    TOKENIZER_UNIGRAM,
    TOKENIZER_WORDPIECE,
    TOKENIZER_BYTES
} tokenizer_kind;

/* ggml's numbers. */
enum { PIECE_NORMAL = 1, PIECE_UNKNOWN, PIECE_CONTROL, PIECE_USER, PIECE_UNUSED, PIECE_BYTE };

#define VOCABULARY_MAX (1u << 24)  /* pieces */
#define PIECE_BYTES_MAX (1u << 13) /* in one piece */
#define SPACE_MARK "\xE2\x96\x81"  /* U+2581, what SentencePiece writes for a space */

/* Strings in one block: string i is text[at[i]] .. text[at[i + 1]]. */
typedef struct string_pool {
    pith_buffer text;
    uint32_t *at;
    uint32_t n, capacity;
} string_pool;
pith_status string_pool_add(pith_ctx *ctx, string_pool *p, const void *text, size_t size);
void string_pool_free(pith_ctx *ctx, string_pool *p);
PITH_INLINE const uint8_t *string_pool_get(const string_pool *p, uint32_t i, size_t *size) {
    *size = p->at[i + 1] - p->at[i];
    return p->text.data + p->at[i];
}

/* Bytes -> id: open addressing over the strings of a pool. */
typedef struct piece_map {
    uint32_t *slot; /* id + 1, 0 when free */
    uint32_t mask;
} piece_map;
pith_status piece_map_new(pith_ctx *ctx, piece_map *m, uint32_t n);
/* TOKEN_NONE, or the id that has this text already. */
uint32_t piece_map_put(piece_map *m, const string_pool *p, uint32_t id);
uint32_t piece_map_get(const piece_map *m, const string_pool *p, const void *text, size_t size);

/* Ranked merges: (left, right) -> (rank, the piece they make). */
typedef struct merge_rule {
    uint64_t pair; /* left << 32 | right; UINT64_MAX when free */
    uint32_t rank, id;
} merge_rule;
typedef struct merge_table {
    merge_rule *rule;
    uint32_t mask, n;
} merge_table;
pith_status merge_table_new(pith_ctx *ctx, merge_table *m, uint64_t n);
PITH_INLINE uint64_t merge_slot(uint64_t pair) {
    pair *= UINT64_C(0x9E3779B97F4A7C15);
    return pair ^ pair >> 29;
}
PITH_INLINE const merge_rule *merge_table_get(const merge_table *m, uint32_t left, uint32_t right) {
    uint64_t pair = (uint64_t)left << 32 | right;
    for (uint64_t i = merge_slot(pair) & m->mask;; i = (i + 1) & m->mask) {
        if (m->rule[i].pair == pair) return &m->rule[i];
        if (m->rule[i].pair == UINT64_MAX) return NULL;
    }
}

/* A byte trie: the children of node v are first[v] .. first[v + 1], each with its label and value. */
typedef struct piece_trie {
    uint32_t *first;
    uint8_t *label;
    uint32_t *value; /* of the node itself; TOKEN_NONE when no string ends there */
    uint32_t n;
    uint32_t root[256]; /* children of node 0; 0 when there is none */
} piece_trie;
/* Builds it from the strings of the listed ids (no duplicates, none empty). */
pith_status piece_trie_build(pith_ctx *ctx, piece_trie *t, const string_pool *p, const uint32_t *ids, uint32_t n);
void piece_trie_free(pith_ctx *ctx, piece_trie *t);
/* 0 when there is no such child. */
PITH_INLINE uint32_t piece_trie_step(const piece_trie *t, uint32_t node, uint8_t byte) {
    if (node == 0) return t->root[byte];
    for (uint32_t c = t->first[node]; c < t->first[node + 1]; c++)
        if (t->label[c] == byte) return c;
    return 0;
}

/* A normalisation table of SentencePiece: see charsmap.c. */
typedef struct charsmap {
    const uint32_t *unit;
    size_t n_units;
    const char *text;
    size_t text_size;
} charsmap;

typedef struct splitter splitter; /* split.h */

/* Which control or user-defined pieces are looked for in the text before anything else. */
typedef struct special_table {
    piece_trie trie;
    uint32_t n;
    size_t longest;
    bool starts[256];
    bool leftmost; /* Hugging Face: leftmost first, then longest; otherwise ggml: longest first anywhere */
} special_table;

struct tokenizer {
    tokenizer_info info;
    char pre[32];
    tokenizer_kind kind;
    bool from_file; /* of its own: file_hash is that of its bytes */
    uint8_t file_hash[16];
    uint32_t n;

    string_pool entry; /* as the file writes them */
    string_pool piece; /* as running text shows them */
    float *score;
    uint8_t *type;
    piece_map by_entry; /* all but empty entries */
    piece_map by_piece; /* byte-level BPE: decoded bytes of normal pieces */
    uint32_t byte_id[256];
    uint32_t longest; /* bytes of the longest entry */

    uint32_t *rank; /* SPM: 0 for the best score */
    uint64_t *near; /* SPM, RANKED: a bit for every two characters that stand together in some piece */
    merge_table merges;
    bool whole_words; /* byte BPE: a word that is a piece is that piece, whatever the merges say */
    splitter *split;

    piece_trie trie; /* unigram, WordPiece */
    float unknown_score, best_score;
    bool single_precision;    /* unigram: sums of scores as floats */
    bool user_marks_kept;     /* SentencePiece files: user-defined pieces lie in the normalised text */
    bool space_after_special; /* ggml: a text part after a special piece gets its own space in front */
    bool merge_unknown;       /* SentencePiece: neighbouring unknown characters are one piece */
    bool remove_extra_spaces; /* none in front and behind, one for many */
    bool collapse_spaces;     /* one for many only */
    bool escape_spaces;
    bool prefix_unless_there; /* Metaspace: no space in front of a text that starts with one */
    charsmap map;
    uint8_t *map_bytes;

    bool lower_case, strip_accents, cjk_words, clean_text;
    uint32_t word_limit; /* WordPiece: characters of the longest word looked at */

    uint8_t *strip;              /* per id: 1 = eats spaces to its left, 2 = to its right; NULL when none does */
    special_table control, user; /* with and without the control pieces */
};

pith_status tokenizer_new(pith_ctx *ctx, tokenizer_kind kind, uint32_t n_expected, tokenizer **out);
/* `where` names the file's field for messages, such as "tokenizer.ggml.tokens". */
pith_status vocabulary_add(pith_ctx *ctx, tokenizer *t, const char *where, const void *text, size_t size, float score,
                           int type);
/* After the last add: the map by entry; duplicates are PITH_E_FORMAT. */
pith_status vocabulary_index(pith_ctx *ctx, tokenizer *t, const char *where);
/* Merge number `rank`: its two halves and what they make must be pieces. */
pith_status merges_add(pith_ctx *ctx, tokenizer *t, const char *where, uint32_t rank, const void *left,
                       size_t left_size, const void *right, size_t right_size);
/* "left right", as GGUF and older tokenizer.json write it. */
pith_status merges_add_line(pith_ctx *ctx, tokenizer *t, const char *where, uint32_t rank, const char *line,
                            size_t size);
/* Decoded pieces, byte ids, special tables and what the kind needs. */
pith_status tokenizer_finish(pith_ctx *ctx, tokenizer *t);

/* Special pieces (special.c): calls `part` for each stretch of text in order; id is TOKEN_NONE for
 * plain text and the piece otherwise. */
typedef pith_status (*part_fn)(void *arg, const uint8_t *text, size_t size, uint32_t id);
pith_status special_build(pith_ctx *ctx, tokenizer *t);
pith_status special_walk(pith_ctx *ctx, const tokenizer *t, const special_table *s, const uint8_t *text, size_t size,
                         part_fn part, void *arg);

/* The merge engine (merge.c). A symbol is a stretch of text with its id (TOKEN_NONE while it is no piece). */
typedef struct merge_symbol {
    uint32_t start, size; /* in the word */
    uint32_t id;
    uint32_t next, prev; /* positions in the array; UINT32_MAX at the ends */
} merge_symbol;
typedef struct merge_candidate {
    uint64_t order; /* rank << 32 | left symbol */
    uint32_t right, size, id;
} merge_candidate;
typedef struct merge_work {
    merge_symbol *symbol;
    size_t symbol_capacity;
    merge_candidate *heap;
    size_t heap_capacity, heap_n;
} merge_work;
void merge_work_free(pith_ctx *ctx, merge_work *w);
pith_status merge_work_symbols(pith_ctx *ctx, merge_work *w, size_t n);
/* Merges symbol[0..n) of word until no rule applies; what is left is linked from symbol 0. */
pith_status merge_run(pith_ctx *ctx, const tokenizer *t, merge_work *w, const uint8_t *word, size_t n);

/* Words seen before in one call: their ids lie earlier in the output. */
typedef struct word_entry {
    const uint8_t *word;
    size_t at;
    uint32_t size, n;
} word_entry;
typedef struct word_cache {
    word_entry *entry;
    uint32_t mask;
} word_cache;
#define WORD_CACHE_BYTES 48 /* longer words are not kept */
pith_status word_cache_new(pith_ctx *ctx, word_cache *c, size_t text_size);
/* True when the ids were appended (or *st failed); otherwise *slot is where to remember the word, NULL if nowhere. */
bool word_cache_get(pith_ctx *ctx, const word_cache *c, const uint8_t *word, size_t size, token_list *out,
                    word_entry **slot, pith_status *st);
PITH_INLINE void word_cache_put(word_entry *slot, const uint8_t *word, size_t size, size_t at, size_t n) {
    if (slot) *slot = (word_entry){.word = word, .at = at, .size = (uint32_t)size, .n = (uint32_t)n};
}

/* One stretch of plain text, appended to out. `front`: it gets the space in front where the kind has one. */
pith_status spm_prepare(pith_ctx *ctx, tokenizer *t);
pith_status spm_encode(pith_ctx *ctx, const tokenizer *t, const uint8_t *text, size_t size, bool front, bool exact,
                       token_list *out);
pith_status byte_bpe_prepare(pith_ctx *ctx, tokenizer *t);
pith_status byte_bpe_encode(pith_ctx *ctx, const tokenizer *t, const uint8_t *text, size_t size, bool front,
                            token_list *out);
pith_status unigram_prepare(pith_ctx *ctx, tokenizer *t);
pith_status unigram_encode(pith_ctx *ctx, const tokenizer *t, const uint8_t *text, size_t size, bool front,
                           token_list *out);
pith_status wordpiece_prepare(pith_ctx *ctx, tokenizer *t);
pith_status wordpiece_encode(pith_ctx *ctx, const tokenizer *t, const uint8_t *text, size_t size, token_list *out);

/* SentencePiece's normalisation of a text (normalize.c): the charsmap, spaces, the mark in front. */
pith_status charsmap_open(pith_ctx *ctx, tokenizer *t, const char *where, const void *data, size_t size);
pith_status normalize_text(pith_ctx *ctx, const tokenizer *t, const uint8_t *text, size_t size, bool front,
                           pith_buffer *out);

/* The GPT-2 byte alphabet: the code point that stands for a byte, and back (-1 when none does). */
uint32_t byte_alphabet_code(uint8_t byte);
int byte_alphabet_byte(uint32_t code);

PITH_INLINE pith_status token_push(pith_ctx *ctx, token_list *l, uint32_t id) {
    if (PITH_LIKELY(l->n < l->capacity)) {
        l->id[l->n++] = id;
        return PITH_OK;
    }
    return token_list_append(ctx, l, &id, 1);
}
/* Bytes of the character a lead byte announces, as ggml counts: no check of what follows. */
PITH_INLINE uint32_t utf8_announced(uint8_t lead) {
    return lead < 0xC0 ? 1u : lead < 0xE0 ? 2u : lead < 0xF0 ? 3u : 4u;
}
/* Bytes of the well-formed character at p, or 0; its code point. */
size_t utf8_read(const uint8_t *p, size_t n, uint32_t *code);
size_t utf8_write(uint8_t *p, uint32_t code);

#endif
