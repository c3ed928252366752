/* pith lm perplexity and surprise: how well a model knows a text, as a whole and token by token. */
#include <string.h>
#include <unistd.h>

#include "faces/cli/cmd_lm.h"
#include "lm/ruler/ruler.h"

static const char perplexity_help[] =
    "Usage: pith lm perplexity [OPTIONS] [FILE]\n\n"
    "Perplexity of FILE (-: standard input; none: a built-in text of 64 KiB) as llama.cpp counts it:\n"
    "chunks of --ctx tokens that do not overlap, the start token in front, the second half of each scored.\n"
    "Then bits per byte of the whole text, every token seen with at least half a context before it.\n\n"
    "      --chunks=N      only the first N chunks (then no bits per byte)\n"
    "      --no-bits       no bits per byte: that takes a second pass\n"
    "      --save-base=F   write the log-probabilities as llama-perplexity --save-all-logits does,\n"
    "                      for pith measure --base and llama-perplexity --kl-divergence-base\n"
    "  -f, --force         overwrite F\n" LM_CACHE_HELP
    "                      (if given, no bits per byte: those are what pith would write, with f16)\n" LM_COMMON_HELP;

typedef struct perplexity_options {
    uint64_t chunks;
    bool no_bits;
    const char *save;
    lm_cache_choice cache;
} perplexity_options;

typedef struct perplexity_result {
    ruler_perplexity p;
    lm_code_length length;
    bool has_bits;
    uint32_t n_ctx;
    size_t bytes, n_tokens;
} perplexity_result;

static int bits_of_text(pith_ctx *ctx, const lm_model *m, const lm_options *o, const pith_buffer *text,
                        perplexity_result *r) {
    lm_coder *c;
    lm_coder_options co = {.window = o->n_ctx, .n_threads = o->n_threads};
    if (lm_coder_new(ctx, m, &co, &c) != PITH_OK) return lm_failed(ctx, NULL);
    pith_status status = lm_coder_length(c, NULL, 0, text->data, text->size, NULL, NULL, &r->length);
    lm_coder_free(c);
    r->has_bits = true;
    return status == PITH_OK ? CLI_OK : lm_failed(ctx, NULL);
}

static int measure_text(pith_ctx *ctx, const lm_model *m, const lm_options *o, const perplexity_options *po,
                        const pith_buffer *text, perplexity_result *r) {
    token_list tokens = {0};
    ruler_chunks chunks;
    lm_progress progress;
    lm_writer writer;
    int result = CLI_OK;
    bool open = false;
    if (ruler_tokens(ctx, m, text->data, text->size, &tokens) != PITH_OK ||
        ruler_chunks_of(ctx, m, &tokens, o->n_ctx, (size_t)po->chunks, &chunks) != PITH_OK)
        result = lm_failed(ctx, NULL);
    if (result == CLI_OK && po->save) {
        result = lm_writer_open(&writer, ctx, po->save, o->force);
        open = result == CLI_OK;
    }
    if (result == CLI_OK) {
        r->n_tokens = tokens.n;
        r->n_ctx = chunks.n_ctx;
        lm_progress_start(&progress, ctx, "perplexity", "chunks");
        pith_status status = ruler_perplexity_of(ctx, m, &chunks, o->n_threads, po->save ? lm_write_piece : NULL,
                                                 &writer, NULL, NULL, &r->p);
        lm_progress_clear(&progress, ctx);
        if (status) result = lm_failed(ctx, NULL);
    }
    if (open && lm_writer_close(&writer, result == CLI_OK, o->force) != CLI_OK) result = CLI_FAIL;
    if (result == CLI_OK && !po->no_bits && !po->chunks) result = bits_of_text(ctx, m, o, text, r);
    token_list_free(ctx, &tokens);
    return result;
}

static int report(const lm_options *o, const perplexity_result *r) {
    double per_byte = r->has_bits && r->bytes ? r->length.bits / (double)r->bytes : 0;
    if (o->json) {
        json_t *all =
            json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:o}", "model", cli_json_text(lm_model_label(o->model)),
                      "bytes", (json_int_t)r->bytes, "tokens", (json_int_t)r->n_tokens, "ctx", (json_int_t)r->n_ctx,
                      "chunks", (json_int_t)r->p.n_chunks, "scored", (json_int_t)r->p.n_tokens, "perplexity",
                      cli_json_number(r->p.perplexity), "error", cli_json_number(r->p.error), "nats_per_token",
                      cli_json_number(r->p.nats_per_token));
        if (r->has_bits)
            json_object_update_new(all, json_pack("{s:o,s:o,s:o,s:I}", "bits", cli_json_number(r->length.bits),
                                                  "bits_per_byte", cli_json_number(per_byte), "escape_bits",
                                                  cli_json_number(r->length.escape_bits), "escapes",
                                                  (json_int_t)r->length.n_escapes));
        return cli_json_print(stdout, all, JSON_INDENT(1));
    }
    printf("%zu bytes, %zu tokens, %zu chunks of %u, %zu tokens scored\n", r->bytes, r->n_tokens, r->p.n_chunks,
           r->n_ctx, r->p.n_tokens);
    printf("perplexity     %.4f +- %.4f (%.4f nats, %.4f bits a token)\n", r->p.perplexity, r->p.error,
           r->p.nats_per_token, r->p.nats_per_token * 1.4426950408889634);
    if (r->has_bits)
        printf("bits per byte  %.4f (%.0f bits; %zu bytes escaped)\n", per_byte, r->length.bits, r->length.n_escapes);
    return CLI_OK;
}

int lm_perplexity_main(int argc, char **argv) {
    perplexity_options po = {0};
    const lm_option extra[] = {LM_CACHE_OPTIONS(po.cache),
                               {"chunks", 0, LM_NUMBER, &po.chunks, 1, 1 << 30},
                               {"no-bits", 0, LM_FLAG, &po.no_bits, 0, 0},
                               {"save-base", 0, LM_TEXT, &po.save, 0, 0}};
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, extra, sizeof extra / sizeof *extra, 1);
    if (result == CLI_OK && o.help) {
        result = cli_help(perplexity_help);
    } else if (result == CLI_OK) {
        pith_ctx *ctx = lm_session_of(&o);
        lm_model *m = NULL;
        pith_buffer text = {0};
        perplexity_result r = {0};
        po.no_bits |= po.cache.both || po.cache.keys || po.cache.values;
        result = ctx ? lm_open_named(ctx, o.model, &m) : CLI_FAIL;
        if (result == CLI_OK) result = lm_cache_choose(&po.cache, "perplexity", ctx, m);
        if (result == CLI_OK) result = lm_text_or_default(ctx, o.n_names ? o.names[0] : NULL, &text);
        r.bytes = text.size;
        if (result == CLI_OK) result = measure_text(ctx, m, &o, &po, &text, &r);
        if (result == CLI_OK) result = report(&o, &r);
        if (ctx) pith_buffer_free(ctx, &text);
        if (m) lm_close(ctx, m);
        pith_ctx_free(ctx);
    }
    lm_options_free(&o);
    return result;
}

/* ---- surprise ---- */

static const char surprise_help[] =
    "Usage: pith lm surprise [OPTIONS] [FILE]\n\n"
    "Bits of every token of FILE (-: standard input; none: a built-in text of 64 KiB), its rank among all\n"
    "tokens, and the likeliest ones.\n\n"
    "      --html=OUT      a page of its own with the text coloured by bits; the pointer shows details\n"
    "  -f, --force         overwrite OUT\n" LM_CACHE_HELP LM_COMMON_HELP;

static int surprise_json(const lm_model *m, const ruler_surprises *s, size_t bytes) {
    const tokenizer *t = lm_tokenizer(m);
    json_t *list = json_array();
    for (size_t i = 0; i < s->n; i++) {
        const ruler_surprise *a = &s->at[i];
        json_t *top = json_array();
        for (unsigned k = 0; k < RULER_TOP && a->top[k] != TOKEN_NONE; k++)
            json_array_append_new(top, json_pack("{s:I,s:o,s:f}", "id", (json_int_t)a->top[k], "text",
                                                 lm_piece_json(t, a->top[k]), "p", (double)a->top_p[k]));
        json_array_append_new(list, json_pack("{s:I,s:o,s:I,s:I,s:o,s:I,s:o}", "id", (json_int_t)a->token, "text",
                                              lm_piece_json(t, a->token), "offset", (json_int_t)a->offset, "bytes",
                                              (json_int_t)a->n, "bits", cli_json_number(a->bits), "rank",
                                              (json_int_t)a->rank, "top", top));
    }
    return cli_json_print(stdout,
                          json_pack("{s:I,s:o,s:o,s:o}", "bytes", (json_int_t)bytes, "bits", cli_json_number(s->bits),
                                    "bits_per_byte", cli_json_number(bytes ? s->bits / (double)bytes : 0.0), "tokens",
                                    list),
                          JSON_COMPACT);
}

/* A token's bytes for a terminal. */
static char *piece_shown(const tokenizer *t, uint32_t id, char *text, size_t size) {
    json_t *piece = lm_piece_json(t, id);
    cli_safe_text(text, size, piece ? json_string_value(piece) : "");
    json_decref(piece);
    return text;
}

static void surprise_list(const lm_model *m, const ruler_surprises *s) {
    const tokenizer *t = lm_tokenizer(m);
    char token[64], best[64];
    printf("%8s %6s  %-20s %s\n", "bits", "rank", "token", "likeliest");
    for (size_t i = 0; i < s->n; i++)
        printf("%8.2f %6u  %-20s %s (%.1f %%)\n", s->at[i].bits, s->at[i].rank,
               piece_shown(t, s->at[i].token, token, sizeof token), piece_shown(t, s->at[i].top[0], best, sizeof best),
               (double)s->at[i].top_p[0] * 100);
}

static int surprise_page(pith_ctx *ctx, const lm_model *m, const lm_options *o, const ruler_surprises *s,
                         const pith_buffer *text, const char *path) {
    pith_buffer page = {0};
    lm_writer w;
    const char *title = o->n_names && strcmp(o->names[0], "-") != 0 ? o->names[0] : "text";
    int result = lm_writer_open(&w, ctx, path, o->force);
    if (result != CLI_OK) return result;
    pith_status status = ruler_surprise_html(ctx, m, s, text->data, text->size, title, &page);
    if (!status) status = lm_write_piece(&w, page.data, page.size);
    if (status) lm_failed(ctx, NULL);
    result = lm_writer_close(&w, status == PITH_OK, o->force);
    pith_buffer_free(ctx, &page);
    return result;
}

static int surprise(const lm_options *o, const lm_cache_choice *cache, const char *html) {
    pith_ctx *ctx = lm_session_of(o);
    lm_model *m = NULL;
    pith_buffer text = {0};
    ruler_surprises s = {0};
    lm_progress progress;
    int result = ctx ? lm_open_named(ctx, o->model, &m) : CLI_FAIL;
    if (result == CLI_OK) result = lm_cache_choose(cache, "surprise", ctx, m);
    if (result == CLI_OK) result = lm_text_or_default(ctx, o->n_names ? o->names[0] : NULL, &text);
    if (result == CLI_OK) {
        lm_progress_start(&progress, ctx, "surprise", "tokens");
        if (ruler_surprise_of(ctx, m, text.data, text.size, o->n_ctx, o->n_threads, &s) != PITH_OK) result = CLI_FAIL;
        lm_progress_clear(&progress, ctx);
        if (result != CLI_OK) lm_failed(ctx, NULL);
    }
    if (result == CLI_OK && html) result = surprise_page(ctx, m, o, &s, &text, html);
    if (result == CLI_OK && o->json)
        result = surprise_json(m, &s, text.size);
    else if (result == CLI_OK && !html)
        surprise_list(m, &s);
    if (result == CLI_OK && !o->json && cli_verbosity >= 0)
        printf("%zu bytes, %zu tokens, %.1f bits: %.4f bits per byte\n", text.size, s.n, s.bits,
               text.size ? s.bits / (double)text.size : 0.0);
    if (ctx) {
        ruler_surprises_free(ctx, &s);
        pith_buffer_free(ctx, &text);
        if (m) lm_close(ctx, m);
    }
    pith_ctx_free(ctx);
    return result;
}

int lm_surprise_main(int argc, char **argv) {
    const char *html = NULL;
    lm_cache_choice cache = {0};
    const lm_option extra[] = {{"html", 0, LM_TEXT, &html, 0, 0}, LM_CACHE_OPTIONS(cache)};
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, extra, sizeof extra / sizeof *extra, 1);
    if (result == CLI_OK) result = o.help ? cli_help(surprise_help) : surprise(&o, &cache, html);
    lm_options_free(&o);
    return result;
}
