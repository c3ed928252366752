/* The vocabulary inside a GGUF file (tokenizer.ggml.*), with ggml's defaults for what it leaves out. */
#include "lm/tokenizer/split.h"
#include "lm/tokenizer/split_table.h"
#include "lm/tokenizer/vocabulary.h"

static bool text_is(meta_string s, const char *text) {
    return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0;
}

static const meta_value *numbers(const tensor_file *f, const char *key) {
    const meta_value *v = meta_find(f, key);
    return v && v->type == META_ARRAY && v->element != META_STRING && v->element != META_ARRAY ? v : NULL;
}

static const meta_value *strings(const tensor_file *f, const char *key) {
    const meta_value *v = meta_find(f, key);
    return v && v->type == META_ARRAY && v->element == META_STRING ? v : NULL;
}

/* Converters often list these as normal or user-defined; text must not turn into them by itself. */
static void mark_controls(tokenizer *t) {
    static const char *const names[] = {
        "</s>",           "<|eot_id|>",      "<|eom_id|>",         "<|im_end|>",     "<|end|>",
        "<|return|>",     "<|call|>",        "<end_of_turn>",      "<|endoftext|>",  "<EOT>",
        "_<EOT>",         "<|end_of_text|>", "<end_of_utterance>", "<|fim_prefix|>", "<|fim_suffix|>",
        "<|fim_middle|>", "<|fim_pad|>",     "<|repo_name|>",      "<|file_sep|>"};
    for (size_t i = 0; i < PITH_COUNT(names); i++) {
        uint32_t id = piece_map_get(&t->by_entry, &t->entry, names[i], strlen(names[i]));
        if (id != TOKEN_NONE && t->type[id] != PIECE_UNKNOWN) t->type[id] = PIECE_CONTROL;
    }
}

static pith_status read_pieces(pith_ctx *ctx, const tensor_file *f, const meta_value *tokens, tokenizer *t) {
    const meta_value *scores = numbers(f, "tokenizer.ggml.scores"), *types = numbers(f, "tokenizer.ggml.token_type");
    if (scores && scores->count != t->n)
        return pith_fail(ctx, PITH_E_FORMAT, "tokenizer.ggml.scores has %llu entries for %u tokens",
                         (unsigned long long)scores->count, t->n);
    if (types && types->count != t->n)
        return pith_fail(ctx, PITH_E_FORMAT, "tokenizer.ggml.token_type has %llu entries for %u tokens",
                         (unsigned long long)types->count, t->n);
    uint64_t cursor = 0;
    meta_string s;
    pith_status st = PITH_OK;
    for (uint32_t id = 0; st == PITH_OK && meta_next_string(tokens, &cursor, &s); id++) {
        double score = scores && id < t->n ? meta_number_at(scores, id) : 0;
        double type = types && id < t->n ? meta_number_at(types, id) : PIECE_NORMAL;
        if (!(type >= 0 && type <= 100)) type = 100;
        if (type == 0) type = PIECE_UNUSED; /* "undefined" */
        st = vocabulary_add(ctx, t, "tokenizer.ggml.tokens", s.data, s.size, (float)score, (int)type);
    }
    if (st == PITH_OK) st = vocabulary_index(ctx, t, "tokenizer.ggml.tokens");
    if (st == PITH_OK && t->kind != TOKENIZER_WORDPIECE) mark_controls(t);
    return st;
}

static pith_status read_merges(pith_ctx *ctx, const tensor_file *f, tokenizer *t) {
    const meta_value *merges = strings(f, "tokenizer.ggml.merges");
    if (!merges) return pith_fail(ctx, PITH_E_FORMAT, "tokenizer.ggml.merges is missing");
    pith_status st = merge_table_new(ctx, &t->merges, merges->count);
    uint64_t cursor = 0;
    meta_string s;
    for (uint32_t rank = 0; st == PITH_OK && meta_next_string(merges, &cursor, &s); rank++)
        st = merges_add_line(ctx, t, "tokenizer.ggml.merges", rank, s.data, s.size);
    return st;
}

static bool contains_any_case(meta_string s, const char *word) {
    size_t n = strlen(word), k;
    for (size_t i = 0; i + n <= s.size; i++) {
        for (k = 0; k < n; k++) {
            char c = s.data[i + k];
            if ((c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c) != word[k]) break;
        }
        if (k == n) return true;
    }
    return false;
}

/* GGUF has no field for pieces that take the spaces behind them; ggml knows Phi-3 by its name. */
static pith_status read_strips(pith_ctx *ctx, const tensor_file *f, tokenizer *t) {
    meta_string name;
    if (!meta_text(f, "general.name", &name)) return PITH_OK;
    if (!contains_any_case(name, "phi-3") && !contains_any_case(name, "phi3")) return PITH_OK;
    t->strip = pith_zalloc(ctx, t->n);
    if (!t->strip) return pith_alloc_status(ctx);
    for (uint32_t id = 0; id < t->n; id++) {
        size_t size;
        const char *p = (const char *)string_pool_get(&t->entry, id, &size);
        bool keeps = text_is((meta_string){p, size}, "<unk>") || text_is((meta_string){p, size}, "<s>") ||
                     text_is((meta_string){p, size}, "<|endoftext|>");
        if (!keeps && (t->type[id] == PIECE_CONTROL || t->type[id] == PIECE_USER)) t->strip[id] = 2;
    }
    return PITH_OK;
}

/* An id from the metadata; a value outside the vocabulary is refused. */
static pith_status read_id(pith_ctx *ctx, const tensor_file *f, const char *key, const tokenizer *t, uint32_t *id) {
    uint64_t v;
    if (!meta_u64(f, key, &v) || v == UINT32_MAX) return PITH_OK;
    if (v >= t->n)
        return pith_fail(ctx, PITH_E_FORMAT, "%s is %llu in a vocabulary of %u", key, (unsigned long long)v, t->n);
    *id = (uint32_t)v;
    return PITH_OK;
}

static uint32_t default_id(const tokenizer *t, uint32_t id) { return id < t->n ? id : TOKEN_NONE; }

static void set_defaults(tokenizer *t) {
    tokenizer_info *i = &t->info;
    switch (t->kind) {
    case TOKENIZER_SPM:
        i->bos = default_id(t, 1), i->eos = default_id(t, 2), i->unk = default_id(t, 0);
        i->add_bos = i->add_space_prefix = true;
        t->escape_spaces = t->space_after_special = true;
        break;
    case TOKENIZER_UNIGRAM:
        i->eos = default_id(t, 1), i->unk = default_id(t, 2);
        i->add_eos = i->add_space_prefix = true;
        t->escape_spaces = t->remove_extra_spaces = true;
        t->space_after_special = true;
        break;
    case TOKENIZER_WORDPIECE:
        i->bos = default_id(t, 101), i->eos = default_id(t, 102), i->unk = default_id(t, 100);
        i->add_bos = i->add_eos = true;
        t->lower_case = t->strip_accents = t->cjk_words = t->clean_text = true;
        break;
    default: i->bos = i->eos = default_id(t, 11); break;
    }
}

static pith_status read_ids(pith_ctx *ctx, const tensor_file *f, tokenizer *t) {
    tokenizer_info *i = &t->info;
    pith_status st = read_id(ctx, f, "tokenizer.ggml.bos_token_id", t, &i->bos);
    if (st == PITH_OK && t->kind == TOKENIZER_WORDPIECE) {
        /* BERT's names: [CLS] in front, [SEP] behind. */
        st = read_id(ctx, f, "tokenizer.ggml.cls_token_id", t, &i->bos);
        if (st == PITH_OK) st = read_id(ctx, f, "tokenizer.ggml.seperator_token_id", t, &i->eos);
        if (st == PITH_OK) st = read_id(ctx, f, "tokenizer.ggml.separator_token_id", t, &i->eos);
    } else if (st == PITH_OK) {
        st = read_id(ctx, f, "tokenizer.ggml.eos_token_id", t, &i->eos);
    }
    if (st == PITH_OK) st = read_id(ctx, f, "tokenizer.ggml.unknown_token_id", t, &i->unk);
    bool value;
    if (meta_bool(f, "tokenizer.ggml.add_bos_token", &value)) i->add_bos = value;
    if (meta_bool(f, "tokenizer.ggml.add_eos_token", &value)) i->add_eos = value;
    if (meta_bool(f, "tokenizer.ggml.add_space_prefix", &value) && t->kind != TOKENIZER_BYTE_BPE)
        i->add_space_prefix = value;
    if (meta_bool(f, "tokenizer.ggml.remove_extra_whitespaces", &value) && t->kind == TOKENIZER_UNIGRAM)
        t->remove_extra_spaces = value;
    if (meta_bool(f, "tokenizer.ggml.normalizer.lowercase", &value)) t->lower_case = t->strip_accents = value;
    if (meta_bool(f, "tokenizer.ggml.normalizer.strip_accents", &value)) t->strip_accents = value;
    if (i->bos == TOKEN_NONE) i->add_bos = false;
    if (i->eos == TOKEN_NONE) i->add_eos = false;
    return st;
}

static pith_status read_pre(pith_ctx *ctx, const tensor_file *f, tokenizer *t) {
    meta_string pre = {0};
    char name[32] = "default";
    if (meta_text(f, "tokenizer.ggml.pre", &pre) && pre.size) {
        size_t n = PITH_MIN(pre.size, sizeof name - 1);
        memcpy(name, pre.data, n);
        name[n] = 0;
    }
    const split_rule *rule = pre.size < sizeof name ? split_find(name) : NULL;
    if (!rule)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "tokenizer.ggml.pre names the unknown pre-tokenizer \"%s\"", name);
    strcpy(t->pre, rule->name[0]);
    t->whole_words = rule->whole_words;
    t->info.add_bos = rule->add_bos;
    return splitter_new(ctx, t->pre, &t->split);
}

static pith_status read_charsmap(pith_ctx *ctx, const tensor_file *f, tokenizer *t) {
    const meta_value *map = numbers(f, "tokenizer.ggml.precompiled_charsmap");
    if (!map) return PITH_OK;
    if (map->element != META_U8 && map->element != META_I8)
        return pith_fail(ctx, PITH_E_FORMAT, "tokenizer.ggml.precompiled_charsmap is no array of bytes");
    return charsmap_open(ctx, t, "tokenizer.ggml.precompiled_charsmap", map->data, (size_t)map->bytes);
}

static pith_status open_bytes(pith_ctx *ctx, tokenizer **out) {
    pith_status st = tokenizer_new(ctx, TOKENIZER_BYTES, 256, out);
    for (int b = 0; b < 256 && st == PITH_OK; b++) {
        const char hex[] = "0123456789ABCDEF", entry[6] = {'<', '0', 'x', hex[b >> 4], hex[b & 15], '>'};
        st = vocabulary_add(ctx, *out, "bytes", entry, sizeof entry, 0, PIECE_BYTE);
    }
    return st == PITH_OK ? tokenizer_finish(ctx, *out) : st;
}

/* The width of the vocabulary of a file that has no pieces. */
static uint64_t vocabulary_width(const tensor_file *f) {
    const tensor_view *v = tensor_find(f, "token_embd.weight");
    if (!v) v = tensor_find(f, "emb.weight");
    return v && v->n_dims >= 2 ? v->ne[1] : 0;
}

static pith_status open_pieces(pith_ctx *ctx, const tensor_file *f, const meta_value *tokens, meta_string model,
                               tokenizer **out) {
    tokenizer_kind kind;
    if (text_is(model, "llama"))
        kind = TOKENIZER_SPM;
    else if (text_is(model, "gpt2"))
        kind = TOKENIZER_BYTE_BPE;
    else if (text_is(model, "t5"))
        kind = TOKENIZER_UNIGRAM;
    else if (text_is(model, "bert"))
        kind = TOKENIZER_WORDPIECE;
    else
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "tokenizer.ggml.model names the unknown tokenizer \"%.*s\"",
                         (int)PITH_MIN(model.size, 60), model.data);
    if (tokens->count > VOCABULARY_MAX)
        return pith_fail(ctx, PITH_E_LIMIT, "tokenizer.ggml.tokens has %llu entries, the most is %u",
                         (unsigned long long)tokens->count, VOCABULARY_MAX);
    pith_status st = tokenizer_new(ctx, kind, (uint32_t)tokens->count, out);
    if (st != PITH_OK) return st;
    tokenizer *t = *out;
    set_defaults(t);
    st = read_pieces(ctx, f, tokens, t);
    if (st == PITH_OK && kind == TOKENIZER_BYTE_BPE) st = read_pre(ctx, f, t);
    if (st == PITH_OK && kind == TOKENIZER_BYTE_BPE) st = read_merges(ctx, f, t);
    if (st == PITH_OK && kind == TOKENIZER_UNIGRAM) st = read_charsmap(ctx, f, t);
    if (st == PITH_OK) st = read_ids(ctx, f, t);
    if (st == PITH_OK) st = read_strips(ctx, f, t);
    return st == PITH_OK ? tokenizer_finish(ctx, t) : st;
}

pith_status tokenizer_open(pith_ctx *ctx, const tensor_file *f, tokenizer **out) {
    const meta_value *tokens = strings(f, "tokenizer.ggml.tokens");
    meta_string model = {"llama", 5};
    pith_status st;
    *out = NULL;
    if (tokens) {
        meta_text(f, "tokenizer.ggml.model", &model);
        st = open_pieces(ctx, f, tokens, model, out);
    } else if (vocabulary_width(f) == 256) {
        st = open_bytes(ctx, out);
    } else {
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "the model file has no vocabulary (tokenizer.ggml.tokens)");
    }
    if (st != PITH_OK) {
        tokenizer_free(ctx, *out);
        *out = NULL;
    }
    return st;
}
