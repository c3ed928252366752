/* What stands around the model of a tokenizer.json: normalizers, pre-tokenizers, the template of
 * special pieces. Components are recognised, not interpreted; others are refused by name. */
#include "lm/tokenizer/read_json.h"
#include "lm/tokenizer/split_table.h"

#define NESTING_MAX 4

const char *json_text(const json_t *object, const char *key) {
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

bool json_flag(const json_t *object, const char *key, bool otherwise) {
    const json_t *v = json_object_get(object, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

static pith_status refuse(pith_ctx *ctx, const char *where, const char *name) {
    char shown[80];
    size_t n = 0;
    for (; name[n] && n + 1 < sizeof shown; n++) shown[n] = name[n] >= 32 && name[n] < 127 ? name[n] : '?';
    shown[n] = 0;
    return pith_fail(ctx, PITH_E_UNSUPPORTED, "tokenizer.json: %s \"%s\" is not supported", where, shown);
}

/* ---- normalizer ---- */

static pith_status read_replace(pith_ctx *ctx, const json_t *v, json_parts *parts) {
    const json_t *pattern = json_object_get(v, "pattern");
    const char *string = json_text(pattern, "String"), *regex = json_text(pattern, "Regex");
    const char *content = json_text(v, "content");
    if (strcmp(string, " ") == 0 && strcmp(content, SPACE_MARK) == 0)
        parts->mark_spaces = true;
    else if (strcmp(regex, " {2,}") == 0 && (strcmp(content, " ") == 0 || strcmp(content, SPACE_MARK) == 0))
        parts->collapse_spaces = true;
    else
        return refuse(ctx, "normalizer Replace of", *string ? string : regex);
    return PITH_OK;
}

static pith_status read_normalizer(pith_ctx *ctx, const json_t *v, json_parts *parts, unsigned depth) {
    const char *type = json_text(v, "type");
    if (!v || json_is_null(v)) return PITH_OK;
    if (strcmp(type, "Sequence") == 0 && depth < NESTING_MAX) {
        size_t i;
        json_t *item;
        pith_status st = PITH_OK;
        json_array_foreach(json_object_get(v, "normalizers"), i, item) {
            if (st == PITH_OK) st = read_normalizer(ctx, item, parts, depth + 1);
        }
        return st;
    }
    if (strcmp(type, "Prepend") == 0) {
        if (strcmp(json_text(v, "prepend"), SPACE_MARK) != 0)
            return refuse(ctx, "normalizer Prepend of", json_text(v, "prepend"));
        parts->prefix = parts->prefix_each = true;
    } else if (strcmp(type, "Replace") == 0) {
        return read_replace(ctx, v, parts);
    } else if (strcmp(type, "Precompiled") == 0) {
        parts->charsmap = json_object_get(v, "precompiled_charsmap");
    } else if (strcmp(type, "Strip") == 0) {
        if (!json_flag(v, "strip_left", true) || !json_flag(v, "strip_right", true))
            return refuse(ctx, "normalizer", "Strip of one side");
        parts->strip_spaces = true;
    } else if (strcmp(type, "BertNormalizer") == 0) {
        parts->clean_text = json_flag(v, "clean_text", true);
        parts->cjk_words = json_flag(v, "handle_chinese_chars", true);
        parts->lower_case = json_flag(v, "lowercase", true);
        parts->strip_accents = json_flag(v, "strip_accents", parts->lower_case);
    } else if (strcmp(type, "NFC") != 0) {
        /* NFC leaves nearly every text as it is; applying it would not let bytes through unchanged. */
        return refuse(ctx, "normalizer", type);
    }
    return PITH_OK;
}

/* ---- pre-tokenizer ---- */

static pith_status read_split(pith_ctx *ctx, const json_t *v, json_parts *parts) {
    const json_t *pattern = json_object_get(v, "pattern");
    const char *string = json_text(pattern, "String"), *behavior = json_text(v, "behavior");
    if (strcmp(string, " ") == 0 && strcmp(behavior, "MergedWithPrevious") == 0)
        return PITH_OK; /* Gemma's: its spaces are marks already, so nothing is cut */
    const char *name = split_name_of(json_text(pattern, "Regex"));
    if (!name) return refuse(ctx, "pre_tokenizer Split at", *string ? string : json_text(pattern, "Regex"));
    bool inverted = json_flag(v, "invert", false);
    if (!(strcmp(behavior, "Isolated") == 0 || (strcmp(behavior, "Removed") == 0 && inverted)))
        return refuse(ctx, "pre_tokenizer Split with behavior", behavior);
    if (parts->expression) return refuse(ctx, "pre_tokenizer", "a second Split");
    parts->expression = name;
    return PITH_OK;
}

static pith_status read_metaspace(pith_ctx *ctx, const json_t *v, json_parts *parts) {
    const char *mark = json_text(v, "replacement"), *scheme = json_text(v, "prepend_scheme");
    if (strcmp(mark, SPACE_MARK) != 0) return refuse(ctx, "pre_tokenizer Metaspace with replacement", mark);
    if (!*scheme) scheme = json_flag(v, "add_prefix_space", true) ? "always" : "never";
    parts->metaspace = parts->mark_spaces = true;
    parts->prefix = strcmp(scheme, "never") != 0;
    parts->prefix_each = strcmp(scheme, "always") == 0;
    parts->prefix_unless_there = parts->prefix;
    return PITH_OK;
}

static pith_status read_pre_tokenizer(pith_ctx *ctx, const json_t *v, json_parts *parts, unsigned depth) {
    const char *type = json_text(v, "type");
    if (!v || json_is_null(v)) return PITH_OK;
    if (strcmp(type, "Sequence") == 0 && depth < NESTING_MAX) {
        size_t i;
        json_t *item;
        pith_status st = PITH_OK;
        json_array_foreach(json_object_get(v, "pretokenizers"), i, item) {
            if (st == PITH_OK) st = read_pre_tokenizer(ctx, item, parts, depth + 1);
        }
        return st;
    }
    if (strcmp(type, "ByteLevel") == 0) {
        parts->byte_level = true;
        parts->byte_level_prefix = json_flag(v, "add_prefix_space", true);
        parts->byte_level_expression = json_flag(v, "use_regex", true);
        return PITH_OK;
    }
    if (strcmp(type, "Split") == 0) return read_split(ctx, v, parts);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(ctx, v, parts);
    if (strcmp(type, "WhitespaceSplit") == 0)
        parts->words = true;
    else if (strcmp(type, "BertPreTokenizer") == 0)
        parts->bert_words = true;
    else if (strcmp(type, "Digits") == 0 && json_flag(v, "individual_digits", false))
        parts->digits_alone = true;
    else
        return refuse(ctx, "pre_tokenizer", type);
    return PITH_OK;
}

pith_status json_read_parts(pith_ctx *ctx, const json_t *root, json_parts *parts) {
    pith_status st = read_normalizer(ctx, json_object_get(root, "normalizer"), parts, 0);
    if (st == PITH_OK) st = read_pre_tokenizer(ctx, json_object_get(root, "pre_tokenizer"), parts, 0);
    return st;
}

/* ---- post-processor ---- */

static uint32_t piece_named(const tokenizer *t, const json_t *name) {
    const char *s = json_string_value(name);
    return s ? piece_map_get(&t->by_entry, &t->entry, s, json_string_length(name)) : TOKEN_NONE;
}

static void read_template(const json_t *v, tokenizer *t) {
    size_t i;
    json_t *item;
    bool behind = false;
    json_array_foreach(json_object_get(v, "single"), i, item) {
        uint32_t id = piece_named(t, json_object_get(json_object_get(item, "SpecialToken"), "id"));
        if (json_object_get(item, "Sequence")) {
            behind = true;
        } else if (id != TOKEN_NONE && behind) {
            t->info.eos = id;
            t->info.add_eos = true;
        } else if (id != TOKEN_NONE) {
            t->info.bos = id;
            t->info.add_bos = true;
        }
    }
}

static pith_status read_post(pith_ctx *ctx, const json_t *v, tokenizer *t, unsigned depth) {
    const char *type = json_text(v, "type");
    if (!v || json_is_null(v) || strcmp(type, "ByteLevel") == 0) return PITH_OK;
    if (strcmp(type, "Sequence") == 0 && depth < NESTING_MAX) {
        size_t i;
        json_t *item;
        pith_status st = PITH_OK;
        json_array_foreach(json_object_get(v, "processors"), i, item) {
            if (st == PITH_OK) st = read_post(ctx, item, t, depth + 1);
        }
        return st;
    }
    if (strcmp(type, "TemplateProcessing") == 0) {
        read_template(v, t);
    } else if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0) {
        t->info.bos = piece_named(t, json_array_get(json_object_get(v, "cls"), 0));
        t->info.eos = piece_named(t, json_array_get(json_object_get(v, "sep"), 0));
        t->info.add_bos = t->info.bos != TOKEN_NONE;
        t->info.add_eos = t->info.eos != TOKEN_NONE;
    } else {
        return refuse(ctx, "post_processor", type);
    }
    return PITH_OK;
}

/* Files without a template: the names these two have had. */
static uint32_t first_named(const tokenizer *t, const char *const *names) {
    for (; *names; names++) {
        uint32_t id = piece_map_get(&t->by_entry, &t->entry, *names, strlen(*names));
        if (id != TOKEN_NONE && t->type[id] == PIECE_CONTROL) return id;
    }
    return TOKEN_NONE;
}

pith_status json_read_frame(pith_ctx *ctx, const json_t *root, tokenizer *t) {
    static const char *const bos[] = {"<s>", "<|begin_of_text|>", "<bos>", "[CLS]", "<|endoftext|>", NULL};
    static const char *const eos[] = {"</s>", "<|end_of_text|>", "<eos>", "[SEP]", "<|endoftext|>", NULL};
    pith_status st = read_post(ctx, json_object_get(root, "post_processor"), t, 0);
    if (t->info.bos == TOKEN_NONE) t->info.bos = first_named(t, bos);
    if (t->info.eos == TOKEN_NONE) t->info.eos = first_named(t, eos);
    return st;
}

/* ---- charsmap ---- */

static int base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

pith_status json_read_charsmap(pith_ctx *ctx, const json_t *base64, tokenizer *t) {
    const char *text = json_string_value(base64);
    size_t size = json_string_length(base64), n = 0;
    if (!text || size == 0) return PITH_OK;
    uint8_t *bytes = pith_alloc(ctx, size / 4 * 3 + 3);
    if (!bytes) return pith_alloc_status(ctx);
    uint32_t bits = 0;
    unsigned held = 0;
    pith_status st = PITH_OK;
    while (size && text[size - 1] == '=') size--;
    for (size_t i = 0; i < size && st == PITH_OK; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0) st = pith_fail(ctx, PITH_E_FORMAT, "precompiled_charsmap is no base64 at character %zu", i);
        bits = bits << 6 | (uint32_t)(digit & 63);
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes[n++] = (uint8_t)(bits >> held);
        }
    }
    if (st == PITH_OK) st = charsmap_open(ctx, t, "precompiled_charsmap", bytes, n);
    pith_free(ctx, bytes);
    return st;
}
