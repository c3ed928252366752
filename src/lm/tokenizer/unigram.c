/* Unigram language model (Kudo 2018, arXiv 1804.10959): the segmentation of the normalised text
 * with the highest sum of scores, by Viterbi over a trie of pieces. A character no piece covers
 * alone may be unknown, at 10 below the lowest score; neighbouring unknowns are one. */
#include "lm/tokenizer/vocabulary.h"

#define UNKNOWN_PENALTY 10.0f

pith_status unigram_prepare(pith_ctx *ctx, tokenizer *t) {
    uint32_t *ids = pith_alloc(ctx, t->n * sizeof *ids), n = 0;
    if (!ids) return pith_alloc_status(ctx);
    float lowest = 0, highest = 0;
    bool any = false;
    for (uint32_t id = 0; id < t->n; id++) {
        if (t->type[id] == PIECE_NORMAL) {
            lowest = any ? PITH_MIN(lowest, t->score[id]) : t->score[id];
            highest = any ? PITH_MAX(highest, t->score[id]) : t->score[id];
            any = true;
        }
        bool wanted = t->type[id] == PIECE_NORMAL || t->type[id] == PIECE_USER || t->type[id] == PIECE_UNUSED;
        if (wanted && t->entry.at[id] < t->entry.at[id + 1]) ids[n++] = id;
    }
    t->unknown_score = lowest - UNKNOWN_PENALTY;
    t->best_score = highest;
    pith_status st = piece_trie_build(ctx, &t->trie, &t->entry, ids, n);
    pith_free(ctx, ids);
    return st;
}

typedef struct lattice_node {
    double score;
    size_t from;
    uint32_t id;
} lattice_node;

/* SentencePiece makes a user-defined piece win over its parts; ggml gives it the score 0. */
static double score_of(const tokenizer *t, uint32_t id, size_t size) {
    if (t->type[id] != PIECE_USER) return t->score[id];
    return t->user_marks_kept ? (double)size * t->best_score - 0.1 : 0.0;
}

/* SentencePiece keeps sums in single precision (and compares a sum before it is rounded), ggml and
 * Hugging Face in double; ties come out differently. */
PITH_INLINE double kept(const tokenizer *t, double score) { return t->single_precision ? (double)(float)score : score; }

static void fill_lattice(const tokenizer *t, const uint8_t *p, size_t size, lattice_node *node) {
    for (size_t i = 1; i <= size; i++) node[i] = (lattice_node){.score = -1e300, .id = TOKEN_NONE};
    node[0] = (lattice_node){.id = TOKEN_NONE};
    for (size_t i = 0; i < size;) {
        size_t len = PITH_MIN(utf8_announced(p[i]), size - i);
        bool covered = false;
        uint32_t at = 0;
        for (size_t j = i; j < size && (at = piece_trie_step(&t->trie, at, p[j])) != 0; j++) {
            uint32_t id = t->trie.value[at];
            if (id == TOKEN_NONE) continue;
            covered = covered || j + 1 - i == len;
            double score = node[i].score + score_of(t, id, j + 1 - i);
            if (score > node[j + 1].score) node[j + 1] = (lattice_node){kept(t, score), i, id};
        }
        double unknown = kept(t, node[i].score + t->unknown_score);
        if (!covered && unknown > node[i + len].score) node[i + len] = (lattice_node){unknown, i, TOKEN_NONE};
        i += len;
    }
}

static pith_status push_unknown(pith_ctx *ctx, const tokenizer *t, const uint8_t *p, size_t size, bool *open,
                                token_list *out) {
    pith_status st = PITH_OK;
    bool bytes = true;
    for (size_t i = 0; i < size; i++) bytes = bytes && t->byte_id[p[i]] != TOKEN_NONE;
    if (bytes) {
        for (size_t i = 0; i < size && st == PITH_OK; i++) st = token_push(ctx, out, t->byte_id[p[i]]);
        return st;
    }
    if (*open) return PITH_OK;
    *open = true;
    if (t->info.unk == TOKEN_NONE) return pith_fail(ctx, PITH_E_UNSUPPORTED, "the vocabulary has no unknown piece");
    return token_push(ctx, out, t->info.unk);
}

pith_status unigram_encode(pith_ctx *ctx, const tokenizer *t, const uint8_t *text, size_t size, bool front,
                           token_list *out) {
    pith_buffer normal = {0};
    lattice_node *node = NULL;
    pith_status st = normalize_text(ctx, t, text, size, front, &normal);
    if (st == PITH_OK && normal.size >= SIZE_MAX / sizeof *node - 1)
        st = pith_fail(ctx, PITH_E_LIMIT, "a text of %zu bytes is too long", size);
    if (st == PITH_OK && normal.size) {
        node = pith_alloc(ctx, (normal.size + 1) * sizeof *node);
        if (!node) st = pith_alloc_status(ctx);
    }
    if (node) {
        fill_lattice(t, normal.data, normal.size, node);
        /* Turn the way back into the way there: node[from].from = to. */
        size_t to = normal.size, after = 0;
        uint32_t after_id = TOKEN_NONE;
        while (to) {
            size_t from = node[to].from;
            uint32_t id = node[to].id;
            node[to].from = after;
            node[to].id = after_id;
            after = to;
            after_id = id;
            to = from;
        }
        node[0].from = after;
        node[0].id = after_id;
        bool open = false;
        for (size_t at = 0; at < normal.size && st == PITH_OK; at = node[at].from) {
            if (node[at].id == TOKEN_NONE) {
                st = push_unknown(ctx, t, normal.data + at, node[at].from - at, &open, out);
            } else {
                open = false;
                st = token_push(ctx, out, node[at].id);
            }
        }
    }
    pith_free(ctx, node);
    pith_buffer_free(ctx, &normal);
    return st;
}
