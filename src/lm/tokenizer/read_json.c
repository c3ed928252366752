/* Hugging Face's tokenizer.json: BPE over bytes (GPT-2, Llama 3, Qwen2), BPE with byte fallback
 * (Llama 2, Mistral), Unigram (T5, XLM-R), WordPiece (BERT). */
#include "lm/tokenizer/read_json.h"
#include "lm/tokenizer/read.h"
#include "lm/tokenizer/split.h"
#include "lm/tokenizer/split_table.h"

/* One piece while ids are being collected. */
typedef struct json_piece {
    const char *text; /* NULL: no piece has this id */
    size_t size;
    float score;
    uint8_t type, strip;
} json_piece;

typedef struct json_vocabulary {
    json_piece *piece;
    uint32_t n;
} json_vocabulary;

static pith_status bad_id(pith_ctx *ctx, const char *where, const char *text) {
    char shown[64];
    size_t n = 0;
    for (; text[n] && n + 1 < sizeof shown; n++) shown[n] = text[n] >= 32 && text[n] < 127 ? text[n] : '?';
    shown[n] = 0;
    return pith_fail(ctx, PITH_E_FORMAT, "tokenizer.json: %s: the id of \"%s\" is out of range", where, shown);
}

static const json_t *added_tokens(const json_t *root) { return json_object_get(root, "added_tokens"); }

/* The number of ids: the highest in use, which may not lie far beyond what is listed. */
static pith_status count_ids(pith_ctx *ctx, const json_t *root, const json_t *vocab, uint32_t *n) {
    uint64_t listed = json_is_array(vocab) ? json_array_size(vocab) : json_object_size(vocab), highest = 0, id;
    const char *key;
    json_t *value;
    size_t i;
    if (listed == 0) return pith_fail(ctx, PITH_E_FORMAT, "tokenizer.json: model.vocab is missing or empty");
    uint64_t most = 2 * (listed + json_array_size(added_tokens(root))) + 1024;
    most = PITH_MIN(most, VOCABULARY_MAX);
    if (json_is_array(vocab))
        highest = listed - 1;
    else
        json_object_foreach((json_t *)vocab, key, value) {
            if (!json_whole(value, &id) || id >= most) return bad_id(ctx, "model.vocab", key);
            highest = PITH_MAX(highest, id);
        }
    json_array_foreach(added_tokens(root), i, value) {
        if (!json_whole(json_object_get(value, "id"), &id) || id >= most)
            return bad_id(ctx, "added_tokens", json_text(value, "content"));
        highest = PITH_MAX(highest, id);
    }
    *n = (uint32_t)highest + 1;
    return PITH_OK;
}

static pith_status take_vocab_object(pith_ctx *ctx, const json_t *vocab, json_vocabulary *v) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)vocab, key, value) {
        json_piece *p = &v->piece[json_integer_value(value)];
        if (p->text)
            return pith_fail(ctx, PITH_E_FORMAT, "tokenizer.json: model.vocab gives id %llu twice",
                             (unsigned long long)json_integer_value(value));
        *p = (json_piece){.text = key, .size = strlen(key), .type = PIECE_NORMAL};
    }
    return PITH_OK;
}

static pith_status take_vocab_array(pith_ctx *ctx, const json_t *vocab, json_vocabulary *v) {
    size_t i;
    json_t *value;
    json_array_foreach(vocab, i, value) {
        const json_t *text = json_array_get(value, 0), *score = json_array_get(value, 1);
        if (!json_is_string(text) || !json_is_number(score))
            return pith_fail(ctx, PITH_E_FORMAT, "tokenizer.json: model.vocab[%zu] is no piece with its score", i);
        v->piece[i] = (json_piece){.text = json_string_value(text),
                                   .size = json_string_length(text),
                                   .score = (float)json_number_value(score),
                                   .type = PIECE_NORMAL};
    }
    return PITH_OK;
}

static pith_status take_added(pith_ctx *ctx, const json_t *root, json_vocabulary *v) {
    size_t i;
    json_t *value;
    json_array_foreach(added_tokens(root), i, value) {
        const json_t *content = json_object_get(value, "content");
        json_piece *p = &v->piece[json_integer_value(json_object_get(value, "id"))];
        const char *text = json_string_value(content);
        if (!text || !*text)
            return pith_fail(ctx, PITH_E_FORMAT, "tokenizer.json: added_tokens[%zu] has no content", i);
        if (p->text && (p->size != json_string_length(content) || memcmp(p->text, text, p->size) != 0))
            return pith_fail(ctx, PITH_E_FORMAT, "tokenizer.json: added_tokens[%zu] takes the id of another piece", i);
        if (json_flag(value, "single_word", false))
            return pith_fail(ctx, PITH_E_UNSUPPORTED, "tokenizer.json: added_tokens[%zu]: single_word is not supported",
                             i);
        p->text = text;
        p->size = json_string_length(content);
        p->type = json_flag(value, "special", false) ? PIECE_CONTROL : PIECE_USER;
        p->strip = (uint8_t)(json_flag(value, "lstrip", false) | json_flag(value, "rstrip", false) << 1);
    }
    return PITH_OK;
}

/* WordPiece writes its unknown piece among the others. */
static void mark_unknown(const json_t *model, json_vocabulary *v) {
    const char *name = json_text(model, "unk_token");
    for (uint32_t id = 0; id < v->n; id++)
        if (v->piece[id].text && v->piece[id].type == PIECE_NORMAL && strcmp(v->piece[id].text, name) == 0)
            v->piece[id].type = PIECE_UNKNOWN;
}

/* ---- kinds ---- */

static bool is_wordpiece_prefix(const json_piece *p) { return p->size > 2 && p->text[0] == '#' && p->text[1] == '#'; }

static pith_status add_pieces(pith_ctx *ctx, tokenizer *t, const json_vocabulary *v) {
    char marked[PIECE_BYTES_MAX + 3];
    pith_status st = PITH_OK;
    for (uint32_t id = 0; id < v->n && st == PITH_OK; id++) {
        const json_piece *p = &v->piece[id];
        if (!p->text) {
            st = vocabulary_add(ctx, t, "ids", "", 0, 0, PIECE_UNUSED);
        } else if (t->kind == TOKENIZER_WORDPIECE && p->type == PIECE_NORMAL && p->size <= PIECE_BYTES_MAX) {
            /* As GGUF writes them: a mark in front of the first piece of a word, none in front of others. */
            size_t skip = is_wordpiece_prefix(p) ? 2 : 0, mark = skip ? 0 : 3;
            memcpy(marked, SPACE_MARK, 3);
            memcpy(marked + mark, p->text + skip, p->size - skip);
            st = vocabulary_add(ctx, t, "model.vocab", marked, p->size - skip + mark, 0, p->type);
        } else {
            st = vocabulary_add(ctx, t, "model.vocab", p->text, p->size, p->score, p->type);
        }
        if (st == PITH_OK && p->strip && !t->strip) {
            t->strip = pith_zalloc(ctx, t->n);
            if (!t->strip) st = pith_alloc_status(ctx);
        }
        if (st == PITH_OK && p->strip) t->strip[id] = p->strip;
    }
    return st == PITH_OK ? vocabulary_index(ctx, t, "model.vocab") : st;
}

static pith_status add_merges(pith_ctx *ctx, tokenizer *t, const json_t *merges) {
    size_t i;
    json_t *value;
    if (!json_is_array(merges)) return pith_fail(ctx, PITH_E_FORMAT, "tokenizer.json: model.merges is missing");
    pith_status st = merge_table_new(ctx, &t->merges, json_array_size(merges));
    json_array_foreach(merges, i, value) {
        const json_t *l = json_array_get(value, 0), *r = json_array_get(value, 1);
        if (st != PITH_OK) break;
        if (json_is_string(value))
            st = merges_add_line(ctx, t, "model.merges", (uint32_t)i, json_string_value(value),
                                 json_string_length(value));
        else if (json_is_string(l) && json_is_string(r))
            st = merges_add(ctx, t, "model.merges", (uint32_t)i, json_string_value(l), json_string_length(l),
                            json_string_value(r), json_string_length(r));
        else
            st = pith_fail(ctx, PITH_E_FORMAT, "tokenizer.json: model.merges[%zu] is no pair", i);
    }
    return st;
}

static pith_status unsupported(pith_ctx *ctx, const char *what) {
    return pith_fail(ctx, PITH_E_UNSUPPORTED, "tokenizer.json: %s is not supported", what);
}

static pith_status finish_bpe(pith_ctx *ctx, const json_t *model, const json_parts *parts, tokenizer *t) {
    bool whole = json_flag(model, "ignore_merges", false);
    if (*json_text(model, "continuing_subword_prefix") || *json_text(model, "end_of_word_suffix"))
        return unsupported(ctx, "BPE with a prefix or suffix on subwords");
    if (t->kind == TOKENIZER_BYTE_BPE) {
        const char *name = parts->expression;
        if (parts->metaspace || parts->prefix) return unsupported(ctx, "ByteLevel together with Metaspace");
        if (!name && !parts->byte_level_expression) return unsupported(ctx, "ByteLevel without an expression");
        if (name && parts->byte_level_expression && strcmp(name, "gpt-2") != 0)
            return unsupported(ctx, "ByteLevel with its own expression after a Split");
        if (parts->digits_alone && name) return unsupported(ctx, "Digits together with Split");
        if (!name) name = parts->digits_alone ? "starcoder" : "gpt-2";
        if (whole && strcmp(name, "dbrx") == 0) name = "llama-bpe"; /* one expression, two rules for whole words */
        strcpy(t->pre, name);
        t->whole_words = whole;
        t->info.add_space_prefix = t->prefix_unless_there = t->space_after_special = parts->byte_level_prefix;
        return splitter_new(ctx, name, &t->split);
    }
    if (whole) return unsupported(ctx, "ignore_merges without ByteLevel");
    if (parts->expression || parts->digits_alone || parts->words) return unsupported(ctx, "BPE of this pre_tokenizer");
    if (!parts->mark_spaces) return unsupported(ctx, "BPE without marked spaces");
    t->merge_unknown = json_flag(model, "fuse_unk", false);
    return PITH_OK;
}

static void set_spaces(const json_parts *parts, tokenizer *t) {
    t->escape_spaces = true;
    t->info.add_space_prefix = parts->prefix;
    t->space_after_special = parts->prefix_each;
    t->prefix_unless_there = parts->prefix_unless_there;
    t->remove_extra_spaces = parts->words || parts->strip_spaces;
    t->collapse_spaces = parts->collapse_spaces && !t->remove_extra_spaces;
}

static pith_status set_unknown(pith_ctx *ctx, const json_t *model, tokenizer *t) {
    const json_t *name = json_object_get(model, "unk_token"), *number = json_object_get(model, "unk_id");
    uint64_t id;
    if (json_is_string(name)) {
        t->info.unk = piece_map_get(&t->by_entry, &t->entry, json_string_value(name), json_string_length(name));
        if (t->info.unk == TOKEN_NONE)
            return pith_fail(ctx, PITH_E_FORMAT, "tokenizer.json: model.unk_token is no piece");
    } else if (json_whole(number, &id)) {
        if (id >= t->n) return pith_fail(ctx, PITH_E_FORMAT, "tokenizer.json: model.unk_id is out of range");
        t->info.unk = (uint32_t)id;
    }
    if (t->info.unk != TOKEN_NONE && t->type[t->info.unk] == PIECE_NORMAL) t->type[t->info.unk] = PIECE_UNKNOWN;
    return PITH_OK;
}

static pith_status build(pith_ctx *ctx, const json_t *root, const json_t *model, tokenizer_kind kind,
                         const json_parts *parts, const json_vocabulary *v, tokenizer **out) {
    pith_status st = tokenizer_new(ctx, kind, v->n, out);
    if (st != PITH_OK) return st;
    tokenizer *t = *out;
    st = add_pieces(ctx, t, v);
    if (st == PITH_OK) st = set_unknown(ctx, model, t);
    if (st == PITH_OK && kind != TOKENIZER_BYTE_BPE) set_spaces(parts, t);
    if (st == PITH_OK && (kind == TOKENIZER_BYTE_BPE || kind == TOKENIZER_RANKED)) {
        st = add_merges(ctx, t, json_object_get(model, "merges"));
        if (st == PITH_OK) st = finish_bpe(ctx, model, parts, t);
    }
    if (st == PITH_OK && kind == TOKENIZER_UNIGRAM) st = json_read_charsmap(ctx, parts->charsmap, t);
    if (st == PITH_OK && kind == TOKENIZER_WORDPIECE) {
        uint64_t limit;
        t->lower_case = parts->lower_case, t->strip_accents = parts->strip_accents;
        t->cjk_words = parts->cjk_words, t->clean_text = parts->clean_text;
        t->info.add_space_prefix = false;
        if (json_whole(json_object_get(model, "max_input_chars_per_word"), &limit))
            t->word_limit = (uint32_t)PITH_MIN(limit, 10000);
        if (!parts->bert_words) st = unsupported(ctx, "WordPiece without BertPreTokenizer");
    }
    if (st == PITH_OK) st = json_read_frame(ctx, root, t);
    if (st != PITH_OK) return st;
    st = tokenizer_finish(ctx, t);
    t->control.leftmost = t->user.leftmost = true;
    return st;
}

/* Older files have no model.type. */
static const char *model_type(const json_t *model) {
    const char *type = json_text(model, "type");
    if (*type) return type;
    if (json_is_array(json_object_get(model, "vocab"))) return "Unigram";
    return json_object_get(model, "merges") ? "BPE" : "WordPiece";
}

static pith_status read_root(pith_ctx *ctx, const json_t *root, tokenizer **out) {
    const json_t *model = json_object_get(root, "model"), *vocab = json_object_get(model, "vocab");
    const char *type = model_type(model);
    json_parts parts = {0};
    json_vocabulary v = {0};
    tokenizer_kind kind;
    pith_status st = json_read_parts(ctx, root, &parts);
    if (st != PITH_OK) return st;
    if (strcmp(type, "BPE") == 0)
        kind = parts.byte_level ? TOKENIZER_BYTE_BPE : TOKENIZER_RANKED;
    else if (strcmp(type, "Unigram") == 0)
        kind = TOKENIZER_UNIGRAM;
    else if (strcmp(type, "WordPiece") == 0)
        kind = TOKENIZER_WORDPIECE;
    else
        return unsupported(ctx, "this model.type");
    if ((kind == TOKENIZER_UNIGRAM) != json_is_array(vocab) || (kind != TOKENIZER_UNIGRAM && !json_is_object(vocab)))
        return pith_fail(ctx, PITH_E_FORMAT, "tokenizer.json: model.vocab does not fit model.type");
    st = count_ids(ctx, root, vocab, &v.n);
    if (st != PITH_OK) return st;
    v.piece = pith_zalloc(ctx, v.n * sizeof *v.piece);
    if (!v.piece) return pith_alloc_status(ctx);
    st = json_is_array(vocab) ? take_vocab_array(ctx, vocab, &v) : take_vocab_object(ctx, vocab, &v);
    if (st == PITH_OK) st = take_added(ctx, root, &v);
    if (st == PITH_OK && kind != TOKENIZER_UNIGRAM) mark_unknown(model, &v);
    if (st == PITH_OK) st = build(ctx, root, model, kind, &parts, &v, out);
    pith_free(ctx, v.piece);
    return st;
}

pith_status read_tokenizer_json(pith_ctx *ctx, const char *text, size_t size, tokenizer **out) {
    json_t *root;
    pith_status st = json_read(ctx, "tokenizer.json", text, size, 0, &root);
    if (st != PITH_OK) return st;
    st = read_root(ctx, root, out);
    json_decref(root);
    return st;
}
