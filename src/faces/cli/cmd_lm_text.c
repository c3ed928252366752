/* pith lm info, tokenize, detokenize: what a model is, and how it sees text. */
#include <string.h>

#include "faces/cli/cmd_lm.h"

static const char info_help[] = "Usage: pith lm info [--model=FILE] [--json]\n\n"
                                "What a model is: architecture, sizes, cache of a token, tokenizer.\n\n" LM_COMMON_HELP;

static json_t *info_json(const lm_model *m, const char *path) {
    const lm_shape *s = lm_about(m);
    const tokenizer *t = lm_tokenizer(m);
    json_t *all = json_pack(
        "{s:o,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:b,s:I,s:I,s:f}", "model", cli_json_text(lm_model_label(path)),
        "architecture", s->architecture, "layers", (json_int_t)s->n_layers, "width", (json_int_t)s->n_embd, "heads",
        (json_int_t)s->n_heads, "key_value_heads", (json_int_t)s->n_kv_heads, "head_dim", (json_int_t)s->head_dim,
        "feed_forward", (json_int_t)s->n_ff, "vocabulary", (json_int_t)s->n_vocab, "context",
        (json_int_t)s->n_ctx_train, "tensors", (json_int_t)lm_file(m)->n_tensors, "recurrent", (int)s->recurrent,
        "parameters", (json_int_t)s->n_parameters, "weight_bytes", (json_int_t)s->weight_bytes, "bits_per_weight",
        s->n_parameters ? 8.0 * (double)s->weight_bytes / (double)s->n_parameters : 0.0);
    if (!t) return all;
    const tokenizer_info *i = tokenizer_about(t);
    json_t *about = json_pack("{s:s,s:s,s:I,s:b,s:b,s:b}", "kind", i->kind, "pre", i->pre ? i->pre : "", "tokens",
                              (json_int_t)i->n_vocab, "add_bos", (int)i->add_bos, "add_eos", (int)i->add_eos,
                              "byte_exact", (int)i->byte_exact);
    json_object_set_new(about, "bos", i->bos == TOKEN_NONE ? json_null() : json_integer(i->bos));
    json_object_set_new(about, "eos", i->eos == TOKEN_NONE ? json_null() : json_integer(i->eos));
    json_object_set_new(all, "tokenizer", about);
    return all;
}

static void print_info(const lm_model *m, const char *path) {
    const lm_shape *s = lm_about(m);
    const tokenizer *t = lm_tokenizer(m);
    char size[16];
    printf("%-16s %s\n", "model", lm_model_label(path));
    printf("%-16s %s%s\n", "architecture", s->architecture, s->recurrent ? ", recurrent" : "");
    printf("%-16s %u\n", "layers", s->n_layers);
    printf("%-16s %u, feed-forward %u\n", "width", s->n_embd, s->n_ff);
    if (s->n_heads) printf("%-16s %u of %u, %u for keys and values\n", "heads", s->n_heads, s->head_dim, s->n_kv_heads);
    printf("%-16s %u tokens\n", "vocabulary", s->n_vocab);
    printf("%-16s %u tokens\n", "context", s->n_ctx_train);
    printf("%-16s %.2f million in %s, %.2f bits each\n", "parameters", (double)s->n_parameters / 1e6,
           cli_size_text(size, s->weight_bytes),
           s->n_parameters ? 8.0 * (double)s->weight_bytes / (double)s->n_parameters : 0.0);
    if (!s->recurrent)
        printf("%-16s %s a token (F16)\n", "cache",
               cli_size_text(size, (uint64_t)4 * s->n_layers * s->n_kv_heads * s->head_dim));
    if (!t) {
        printf("%-16s none\n", "tokenizer");
        return;
    }
    const tokenizer_info *i = tokenizer_about(t);
    printf("%-16s %s%s%s, %u tokens%s%s\n", "tokenizer", i->kind, i->pre && *i->pre ? " " : "", i->pre ? i->pre : "",
           i->n_vocab, i->add_bos ? ", start token in front" : "", i->byte_exact ? ", byte exact" : "");
}

int lm_info_main(int argc, char **argv) {
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, NULL, 0, 1);
    if (result == CLI_OK && o.help)
        result = cli_help(info_help);
    else if (result == CLI_OK) {
        const char *path = o.n_names ? lm_model_path(o.names[0]) : o.model;
        pith_ctx *ctx = lm_session_of(&o);
        lm_model *m = NULL;
        result = ctx ? lm_open_named(ctx, path, &m) : CLI_FAIL;
        if (result == CLI_OK && o.json)
            result = cli_json_print(stdout, info_json(m, path), JSON_INDENT(1));
        else if (result == CLI_OK)
            print_info(m, path);
        if (m) lm_close(ctx, m);
        pith_ctx_free(ctx);
    }
    lm_options_free(&o);
    return result;
}

/* ---- text to ids ---- */

static const char tokenize_help[] = "Usage: pith lm tokenize [OPTIONS] [FILE]\n\n"
                                    "Prints the token ids of FILE (default, and -: standard input), on one line.\n\n"
                                    "      --text=TEXT     this text instead of a file\n"
                                    "      --pieces        a line for each token: id, bytes\n"
                                    "      --special       control tokens written out in the text become their ids\n"
                                    "      --bos           the start token in front\n" LM_COMMON_HELP;

/* Bytes of a piece as text a terminal can take. */
static void print_piece(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (p[i] < 0x20 || p[i] == 0x7f || p[i] == '\\')
            printf("\\x%02x", p[i]);
        else
            putchar(p[i]);
    }
}

json_t *lm_piece_json(const tokenizer *t, uint32_t id) {
    size_t n = 0;
    const uint8_t *p = tokenizer_piece(t, id, true, &n);
    json_t *text = json_stringn((const char *)p, n);
    if (text) return text;
    char hex[64] = "";
    for (size_t i = 0; i < n && i < 15; i++) snprintf(hex + 4 * i, 5, "\\x%02x", p[i]);
    return json_string(hex);
}

static int print_tokens(const lm_model *m, const token_list *ids, bool pieces, bool json) {
    const tokenizer *t = lm_tokenizer(m);
    size_t n = 0;
    if (json) {
        json_t *numbers = json_array(), *texts = json_array();
        for (size_t i = 0; i < ids->n; i++) {
            json_array_append_new(numbers, json_integer(ids->id[i]));
            json_array_append_new(texts, lm_piece_json(t, ids->id[i]));
        }
        return cli_json_print(
            stdout, json_pack("{s:I,s:o,s:o}", "n", (json_int_t)ids->n, "ids", numbers, "pieces", texts), JSON_COMPACT);
    }
    for (size_t i = 0; i < ids->n; i++) {
        if (!pieces) {
            printf("%s%u", i ? " " : "", ids->id[i]);
            continue;
        }
        const uint8_t *piece = tokenizer_piece(t, ids->id[i], true, &n);
        printf("%8u  ", ids->id[i]);
        print_piece(piece, n);
        putchar('\n');
    }
    if (!pieces) putchar('\n');
    return CLI_OK;
}

static int tokenize(const lm_options *o, const char *given, unsigned flags, bool pieces) {
    pith_ctx *ctx = lm_session_of(o);
    lm_model *m = NULL;
    pith_buffer text = {0};
    token_list ids = {0};
    int result = ctx ? lm_open_named(ctx, o->model, &m) : CLI_FAIL;
    if (result == CLI_OK && !lm_tokenizer(m)) result = lm_without_words(ctx, o->model);
    if (result == CLI_OK && !given) result = lm_read_text(ctx, o->n_names ? o->names[0] : "-", &text);
    if (result == CLI_OK) {
        const void *bytes = given ? (const void *)given : text.data;
        if (tokenizer_encode(ctx, lm_tokenizer(m), bytes, given ? strlen(given) : text.size, flags, &ids) != PITH_OK)
            result = lm_failed(ctx, NULL);
    }
    if (result == CLI_OK) result = print_tokens(m, &ids, pieces, o->json);
    if (ctx) {
        token_list_free(ctx, &ids);
        pith_buffer_free(ctx, &text);
        if (m) lm_close(ctx, m);
    }
    pith_ctx_free(ctx);
    return result;
}

int lm_tokenize_main(int argc, char **argv) {
    const char *given = NULL;
    bool pieces = false, special = false, bos = false;
    const lm_option extra[] = {{"text", 0, LM_TEXT, &given, 0, 0},
                               {"pieces", 0, LM_FLAG, &pieces, 0, 0},
                               {"special", 0, LM_FLAG, &special, 0, 0},
                               {"bos", 0, LM_FLAG, &bos, 0, 0}};
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, extra, sizeof extra / sizeof *extra, 1);
    if (result == CLI_OK && o.help)
        result = cli_help(tokenize_help);
    else if (result == CLI_OK)
        result = tokenize(&o, given, (special ? TOKENIZE_SPECIAL : 0u) | (bos ? TOKENIZE_BOS : 0u), pieces);
    lm_options_free(&o);
    return result;
}

/* ---- ids to text ---- */

static const char detokenize_help[] =
    "Usage: pith lm detokenize [OPTIONS] [FILE]\n\n"
    "Reads token ids, apart by blanks or commas, from FILE (default, and -: standard input) and writes\n"
    "the bytes they stand for.\n\n" LM_COMMON_HELP;

static int read_ids(pith_ctx *ctx, const pith_buffer *text, uint32_t n_vocab, token_list *ids) {
    for (size_t i = 0; i < text->size;) {
        if (strchr(" \t\r\n,[]", text->data[i]) && text->data[i]) {
            i++;
            continue;
        }
        uint64_t id = 0;
        size_t start = i;
        for (; i < text->size && text->data[i] >= '0' && text->data[i] <= '9' && id <= UINT32_MAX; i++)
            id = id * 10 + (text->data[i] - '0');
        if (i == start) return cli_error("detokenize: no token id at byte %zu", i);
        if (id >= n_vocab)
            return cli_error("detokenize: token %llu at byte %zu: there are %u", (unsigned long long)id, start,
                             n_vocab);
        uint32_t small = (uint32_t)id;
        if (token_list_append(ctx, ids, &small, 1) != PITH_OK) return lm_failed(ctx, NULL);
    }
    return CLI_OK;
}

static int detokenize(const lm_options *o) {
    pith_ctx *ctx = lm_session_of(o);
    lm_model *m = NULL;
    pith_buffer text = {0}, out = {0};
    token_list ids = {0};
    int result = ctx ? lm_open_named(ctx, o->model, &m) : CLI_FAIL;
    const tokenizer *t = m ? lm_tokenizer(m) : NULL;
    if (result == CLI_OK && !t) result = lm_without_words(ctx, o->model);
    if (result == CLI_OK) result = lm_read_text(ctx, o->n_names ? o->names[0] : "-", &text);
    if (result == CLI_OK) result = read_ids(ctx, &text, tokenizer_about(t)->n_vocab, &ids);
    if (result == CLI_OK && tokenizer_decode(ctx, t, ids.id, ids.n, true, &out) != PITH_OK)
        result = lm_failed(ctx, NULL);
    if (result == CLI_OK && out.size) fwrite(out.data, 1, out.size, stdout);
    if (ctx) {
        token_list_free(ctx, &ids);
        pith_buffer_free(ctx, &text);
        pith_buffer_free(ctx, &out);
        if (m) lm_close(ctx, m);
    }
    pith_ctx_free(ctx);
    return result;
}

int lm_detokenize_main(int argc, char **argv) {
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, NULL, 0, 1);
    if (result == CLI_OK) result = o.help ? cli_help(detokenize_help) : detokenize(&o);
    lm_options_free(&o);
    return result;
}
