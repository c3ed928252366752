/* A tokenizer file as GGUF's tokenizer.ggml.* metadata, in the words llama.cpp reads: pieces,
 * scores, types, merges and special ids. */
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "faces/cli/model.h"
#include "lm/tokenizer/tokenizer.h"

/* ggml's kinds of tokens. */
enum { TYPE_NORMAL = 1, TYPE_UNUSED = 5 };

#define JSON_FILE_MAX ((uint64_t)256 << 20)

typedef struct vocabulary {
    pith_ctx *ctx;
    const tokenizer *t;
    const tokenizer_info *info;
    uint32_t n;        /* entries written: those of the tokenizer and padding */
    pith_buffer texts; /* pieces that had to be changed */
    meta_string *pieces;
    float *scores;
    int32_t *types;
} vocabulary;

/* Appends n bytes to the texts; pieces are pointed at them when the buffer no longer moves. */
static pith_status keep(vocabulary *v, uint32_t id, const char *text, size_t n) {
    v->pieces[id] = (meta_string){NULL, n};
    return pith_buffer_append(v->ctx, &v->texts, text, n);
}

static pith_status take_entries(vocabulary *v) {
    pith_status status = PITH_OK;
    for (uint32_t id = 0; id < v->n && !status; id++) {
        size_t n = 0;
        int kind = TYPE_UNUSED;
        char pad[24];
        const char *text = id < v->info->n_vocab ? tokenizer_entry(v->t, id, &n, &v->scores[id], &kind) : NULL;
        if (!text) { /* the embedding has more rows than the tokenizer has pieces */
            n = (size_t)snprintf(pad, sizeof pad, "[PAD%u]", id);
            text = pad;
            v->scores[id] = -1000;
            kind = TYPE_UNUSED;
        }
        v->types[id] = kind;
        status = keep(v, id, text, n);
    }
    const char *at = (const char *)v->texts.data;
    for (uint32_t id = 0; id < v->n && !status; id++) {
        v->pieces[id].data = at;
        at += v->pieces[id].size;
    }
    return status;
}

/* ---- merges: only tokenizer.json knows them ----------------------------------- */

static pith_status merge_text(pith_ctx *ctx, const char *path, const json_t *merge, pith_buffer *out, meta_string *s) {
    const char *a = json_string_value(merge), *b = NULL;
    if (json_is_array(merge) && json_array_size(merge) == 2) {
        a = json_string_value(json_array_get(merge, 0));
        b = json_string_value(json_array_get(merge, 1));
    }
    if (!a || (json_is_array(merge) && !b))
        return pith_fail(ctx, PITH_E_FORMAT, "%s: a merge should be two pieces", path);
    size_t start = out->size;
    pith_status status = pith_buffer_append(ctx, out, a, strlen(a));
    if (!status && b) status = pith_buffer_append(ctx, out, " ", 1);
    if (!status && b) status = pith_buffer_append(ctx, out, b, strlen(b));
    s->size = out->size - start;
    return status;
}

static pith_status put_merge_list(pith_ctx *ctx, gguf_writer *w, const char *path, const json_t *merges) {
    size_t n = json_array_size(merges);
    pith_buffer texts = {0};
    meta_string *list = pith_alloc(ctx, (n + 1) * sizeof *list);
    if (!list) return pith_alloc_status(ctx);
    pith_status status = PITH_OK;
    for (size_t i = 0; i < n && !status; i++)
        status = merge_text(ctx, path, json_array_get(merges, i), &texts, &list[i]);
    const char *at = (const char *)texts.data;
    for (size_t i = 0; i < n && !status; i++) {
        list[i].data = at;
        at += list[i].size;
    }
    if (!status) status = gguf_put_strings(ctx, w, "tokenizer.ggml.merges", list, n);
    pith_buffer_free(ctx, &texts);
    pith_free(ctx, list);
    return status;
}

/* A SentencePiece vocabulary in a tokenizer.json has no scores, only merges in order. llama.cpp joins the
 * pair whose piece has the best score, so the earlier a piece is made, the better its score. */
static void rank_scores(vocabulary *v, const json_t *pieces, const json_t *merges) {
    size_t n = json_array_size(merges);
    for (uint32_t id = 0; id < v->n; id++)
        if (v->types[id] == TYPE_NORMAL) v->scores[id] = -(float)n - 1;
    for (size_t i = n; i-- > 0;) {
        const json_t *merge = json_array_get(merges, i);
        const char *a = json_string_value(merge), *b = "";
        char joined[512];
        if (json_is_array(merge)) {
            a = json_string_value(json_array_get(merge, 0));
            b = json_string_value(json_array_get(merge, 1));
        } else if (a && strchr(a, ' ')) {
            b = strchr(a, ' ') + 1;
        }
        if (!a || !b || strlen(a) + strlen(b) >= sizeof joined) continue;
        int first = json_is_array(merge) ? (int)strlen(a) : (int)strcspn(a, " ");
        snprintf(joined, sizeof joined, "%.*s%s", first, a, b);
        const json_t *id = json_object_get(pieces, joined);
        if (json_is_integer(id) && json_integer_value(id) >= 0 && json_integer_value(id) < v->n)
            v->scores[json_integer_value(id)] = -(float)i;
    }
}

/* What the tokenizer's own interface does not show of a tokenizer.json: its merges. */
static pith_status take_merges(vocabulary *v, gguf_writer *w, const char *path) {
    struct stat st;
    json_error_t error;
    bool byte_level = strcmp(v->info->kind, "bpe") == 0;
    if (!byte_level && strcmp(v->info->kind, "spm") != 0) return PITH_OK;
    if (stat(path, &st) != 0 || (uint64_t)st.st_size > JSON_FILE_MAX)
        return pith_fail(v->ctx, PITH_E_LIMIT, "%s: too big for a tokenizer", path);
    json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    const json_t *model = json_object_get(root, "model"), *merges = json_object_get(model, "merges");
    pith_status status = PITH_OK;
    if (byte_level && !json_is_array(merges))
        status = pith_fail(v->ctx, PITH_E_FORMAT, "%s: model.merges should be an array", path);
    else if (byte_level)
        status = put_merge_list(v->ctx, w, path, merges);
    else if (json_is_array(merges)) /* a .model or .bin is no JSON, and has its scores */
        rank_scores(v, json_object_get(model, "vocab"), merges);
    json_decref(root);
    return status;
}

/* ---- all of it -------------------------------------------------------------------- */

static pith_status put_id(vocabulary *v, gguf_writer *w, const char *key, uint32_t id) {
    return id == TOKEN_NONE ? PITH_OK : gguf_put_u32(v->ctx, w, key, id);
}

static pith_status put_ids(vocabulary *v, gguf_writer *w) {
    pith_status status = put_id(v, w, "tokenizer.ggml.bos_token_id", v->info->bos);
    if (strcmp(v->info->kind, "wordpiece") == 0) { /* BERT's [CLS] and [SEP]; the second is spelled as llama.cpp does */
        if (!status) status = put_id(v, w, "tokenizer.ggml.cls_token_id", v->info->bos);
        if (!status) status = put_id(v, w, "tokenizer.ggml.seperator_token_id", v->info->eos);
    } else if (!status) {
        status = put_id(v, w, "tokenizer.ggml.eos_token_id", v->info->eos);
    }
    if (!status) status = put_id(v, w, "tokenizer.ggml.unknown_token_id", v->info->unk);
    if (!status) status = gguf_put_bool(v->ctx, w, "tokenizer.ggml.add_bos_token", v->info->add_bos);
    if (!status) status = gguf_put_bool(v->ctx, w, "tokenizer.ggml.add_eos_token", v->info->add_eos);
    return status;
}

static pith_status put_all(vocabulary *v, gguf_writer *w, const char *path) {
    static const struct {
        const char *kind, *model;
    } models[] = {{"spm", "llama"}, {"unigram", "t5"}, {"bpe", "gpt2"}, {"wordpiece", "bert"}};
    const char *model = NULL;
    for (unsigned i = 0; i < PITH_COUNT(models); i++)
        if (strcmp(v->info->kind, models[i].kind) == 0) model = models[i].model;
    if (!model) return pith_fail(v->ctx, PITH_E_UNSUPPORTED, "%s: GGUF has no tokenizer of kind %s", path, v->info->kind);
    pith_status status = gguf_put_text(v->ctx, w, "tokenizer.ggml.model", model, strlen(model));
    if (!status && *v->info->pre)
        status = gguf_put_text(v->ctx, w, "tokenizer.ggml.pre", v->info->pre, strlen(v->info->pre));
    if (!status) status = take_merges(v, w, path);
    if (!status) status = gguf_put_strings(v->ctx, w, "tokenizer.ggml.tokens", v->pieces, v->n);
    if (!status && strcmp(model, "gpt2") != 0)
        status = gguf_put_array(v->ctx, w, "tokenizer.ggml.scores", META_F32, v->scores, v->n);
    if (!status) status = gguf_put_array(v->ctx, w, "tokenizer.ggml.token_type", META_I32, v->types, v->n);
    if (!status) status = put_ids(v, w);
    if (!status && (strcmp(model, "llama") == 0 || strcmp(model, "t5") == 0))
        status = gguf_put_bool(v->ctx, w, "tokenizer.ggml.add_space_prefix", v->info->add_space_prefix);
    return status;
}

pith_status model_put_tokenizer(pith_ctx *ctx, gguf_writer *w, const char *path, uint32_t n_vocab) {
    tokenizer *t;
    pith_status status = tokenizer_open_path(ctx, path, n_vocab, &t);
    if (status) return status;
    vocabulary v = {.ctx = ctx, .t = t, .info = tokenizer_about(t)};
    v.n = PITH_MAX(v.info->n_vocab, n_vocab);
    if (n_vocab && v.info->n_vocab > n_vocab)
        status = pith_fail(ctx, PITH_E_FORMAT, "%s: %u tokens, but token_embd.weight has %u rows", path,
                           v.info->n_vocab, n_vocab);
    v.pieces = status ? NULL : pith_zalloc(ctx, ((size_t)v.n + 1) * sizeof *v.pieces);
    v.scores = v.pieces ? pith_zalloc(ctx, ((size_t)v.n + 1) * sizeof *v.scores) : NULL;
    v.types = v.scores ? pith_zalloc(ctx, ((size_t)v.n + 1) * sizeof *v.types) : NULL;
    if (!status && !v.types) status = pith_alloc_status(ctx);
    if (!status) status = take_entries(&v);
    if (!status) status = put_all(&v, w, path);
    pith_buffer_free(ctx, &v.texts);
    pith_free(ctx, v.types);
    pith_free(ctx, v.scores);
    pith_free(ctx, v.pieces);
    tokenizer_free(ctx, t);
    return status;
}
