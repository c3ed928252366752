/* pith model split: a small mixture of experts made out of a dense model, and how near it is to it. */
#include <string.h>

#include "artefacts/model/model.h"
#include "faces/cli/cmd_lm.h"
#include "faces/cli/model.h"

static const char split_help[] =
    "Usage: pith model split MODEL OUT.gguf [OPTIONS]\n\n"
    "Makes a mixture of experts out of a dense llama model: the neurons of every feed-forward block are put into\n"
    "equal experts by which fire together on a text, a router is fitted to which experts carry the output, and the\n"
    "down projections to give the dense output from the experts a token is sent to. No training: the result is worse\n"
    "than the dense model and smaller in nothing but the work for a token; it is there to try things on.\n"
    "OUT is GGUF as llama.cpp reads it. MODEL may be 'default'.\n\n"
    "      --experts=N      of each block (default 8)\n"
    "      --used=N         a token is sent to (default 2)\n"
    "      --sharpness=X    standard deviation of the router's scores (default 1). Weights sum to 1; with 0 they are\n"
    "                       alike, and with --used as --experts the mixture is the dense model up to rounding\n"
    "      --keep-down      down projections are scaled, not fitted anew\n"
    "      --ridge=X        of the fits, relative to the mean diagonal (default 0.01)\n"
    "      --text=FILE      that is split by (default: half of the built-in text)\n"
    "      --tokens=N       at most N tokens of it (default 8192)\n"
    "      --eval           perplexity, KL and top-1 agreement with MODEL on the other half of the built-in text\n"
    "      --eval-text=FILE the same on FILE\n"
    "      --chunks=N       at most N chunks of --ctx tokens of it (default 16)\n"
    "  -f, --force          overwrite OUT\n" LM_COMMON_HELP "\nExamples:\n"
    "  pith model split default mixture.gguf --experts=8 --used=2 --eval\n"
    "  pith model split default same.gguf --used=8 --sharpness=0 --keep-down --eval\n";

typedef struct split_run {
    lm_options common;
    const char *text, *eval_text;
    uint64_t experts, used, tokens, chunks;
    double sharpness, ridge;
    bool keep_down, eval;
    pith_ctx *ctx;
    lm_model *m;
    experts_split *split;
    ruler_comparison comparison;
} split_run;

/* The first half of the built-in text is for splitting, the second for measuring. */
static int split_tokens(split_run *r, const char *path, bool second, token_list *tokens) {
    pith_buffer text = {0};
    size_t size;
    const char *prose = ruler_prose(&size);
    int result = path ? lm_read_text(r->ctx, path, &text) : CLI_OK;
    const char *from = path ? (const char *)text.data : prose + (second ? size / 2 : 0);
    if (result == CLI_OK && ruler_tokens(r->ctx, r->m, from, path ? text.size : size / 2, tokens) != PITH_OK)
        result = lm_failed(r->ctx, path);
    pith_buffer_free(r->ctx, &text);
    return result;
}

static int make(split_run *r) {
    token_list tokens = {0};
    lm_progress progress;
    experts_options o = {.n_experts = (uint32_t)r->experts,
                         .n_used = (uint32_t)r->used,
                         .n_ctx = r->common.n_ctx,
                         .sharpness = r->sharpness,
                         .ridge = r->ridge,
                         .keep_down = r->keep_down};
    if (split_tokens(r, r->text, false, &tokens) != CLI_OK) return CLI_FAIL;
    lm_progress_start(&progress, r->ctx, "splitting", "tokens");
    pith_status status =
        experts_split_new(r->ctx, r->m, tokens.id, PITH_MIN(tokens.n, (size_t)r->tokens), &o, &r->split);
    lm_progress_clear(&progress, r->ctx);
    token_list_free(r->ctx, &tokens);
    return status ? lm_failed(r->ctx, NULL) : CLI_OK;
}

static int write_split(split_run *r) {
    lm_writer writer;
    if (lm_writer_open(&writer, r->ctx, r->common.names[1], r->common.force) != CLI_OK) return CLI_FAIL;
    pith_status status = experts_split_write(r->ctx, r->split, lm_write_piece, &writer);
    if (status) lm_failed(r->ctx, r->common.names[1]);
    int result = lm_writer_close(&writer, status == PITH_OK, r->common.force);
    return status ? CLI_FAIL : result;
}

static int compare(split_run *r) {
    token_list tokens = {0};
    ruler_chunks chunks;
    lm_progress progress;
    lm_model *mixture;
    if (lm_open_named(r->ctx, r->common.names[1], &mixture) != CLI_OK) return CLI_FAIL;
    int result = split_tokens(r, r->eval_text, true, &tokens);
    if (result == CLI_OK) {
        lm_progress_start(&progress, r->ctx, "measuring", "chunks");
        pith_status status = ruler_chunks_of(r->ctx, r->m, &tokens, r->common.n_ctx, (size_t)r->chunks, &chunks);
        if (!status)
            status =
                ruler_compare(r->ctx, r->m, NULL, mixture, &chunks, r->common.n_threads, NULL, NULL, &r->comparison);
        lm_progress_clear(&progress, r->ctx);
        if (status) result = lm_failed(r->ctx, r->eval_text);
    }
    token_list_free(r->ctx, &tokens);
    lm_close(r->ctx, mixture);
    return result;
}

static int report_json(const split_run *r) {
    json_t *layers = json_array(), *all;
    for (uint32_t l = 0; l < lm_about(r->m)->n_layers; l++) {
        const experts_block_report *b = experts_split_report(r->split, l);
        json_array_append_new(layers, json_pack("{s:f,s:f,s:f,s:f}", "scale", b->scale, "scaled", b->scaled, "fitted",
                                                b->fitted, "busiest", b->balance));
    }
    all = json_pack("{s:o,s:I,s:I,s:f,s:o}", "model", cli_json_text(r->common.names[0]), "experts",
                    (json_int_t)r->experts, "used", (json_int_t)r->used, "sharpness", r->sharpness, "layers", layers);
    const ruler_comparison *c = &r->comparison;
    if (c->n)
        json_object_update_new(all, json_pack("{s:I,s:f,s:f,s:f,s:f,s:f}", "scored", (json_int_t)c->n,
                                              "perplexity_before", c->perplexity_base, "perplexity", c->perplexity,
                                              "kl", c->kl.mean, "kl_error", c->kl.error, "same_top", c->same_top));
    return cli_json_print(stdout, all, JSON_INDENT(1));
}

static int report(const split_run *r) {
    if (r->common.json) return report_json(r);
    printf("layer    of the output's energy, scaled   fitted     busiest expert   scale\n");
    for (uint32_t l = 0; l < lm_about(r->m)->n_layers; l++) {
        const experts_block_report *b = experts_split_report(r->split, l);
        printf("%5u                         %6.1f %%   %6.1f %%   %12.1f %%   %6.3f\n", (unsigned)l, 100 * b->scaled,
               100 * b->fitted, 100 * b->balance, b->scale);
    }
    const ruler_comparison *c = &r->comparison;
    if (c->n) {
        printf("perplexity   %.4f, before %.4f (%zu tokens)\n", c->perplexity, c->perplexity_base, c->n);
        printf("KL           %.5f +- %.5f nats\n", c->kl.mean, c->kl.error);
        printf("same top     %.2f %%\n", 100 * c->same_top);
    }
    return CLI_OK;
}

static int split(split_run *r) {
    if (lm_open_named(r->ctx, lm_model_path(r->common.names[0]), &r->m) != CLI_OK) return CLI_FAIL;
    int result = make(r);
    if (result == CLI_OK) result = write_split(r);
    if (result == CLI_OK && (r->eval || r->eval_text)) result = compare(r);
    if (result == CLI_OK) result = report(r);
    experts_split_free(r->ctx, r->split);
    lm_close(r->ctx, r->m);
    return result;
}

int model_split_main(int argc, char **argv) {
    split_run r = {.experts = 8, .used = 2, .tokens = 8192, .chunks = 16, .sharpness = 1, .ridge = 0.01};
    const lm_option extra[] = {
        {"experts", 0, LM_NUMBER, &r.experts, 2, 512},     {"used", 0, LM_NUMBER, &r.used, 1, 512},
        {"sharpness", 0, LM_REAL, &r.sharpness, 0, 0},     {"ridge", 0, LM_REAL, &r.ridge, 0, 0},
        {"keep-down", 0, LM_FLAG, &r.keep_down, 0, 0},     {"text", 0, LM_TEXT, &r.text, 0, 0},
        {"tokens", 0, LM_NUMBER, &r.tokens, 64, 1u << 24}, {"eval", 0, LM_FLAG, &r.eval, 0, 0},
        {"eval-text", 0, LM_TEXT, &r.eval_text, 0, 0},     {"chunks", 0, LM_NUMBER, &r.chunks, 1, 1u << 30},
    };
    int result = lm_options_parse(&r.common, argc, argv, extra, sizeof extra / sizeof *extra, 2);
    if (result == CLI_OK && r.common.help) {
        result = cli_help(split_help);
    } else if (result == CLI_OK && r.common.n_names != 2) {
        result = cli_error("model split: from which model to which file?");
    } else if (result == CLI_OK) {
        r.ctx = lm_session_of(&r.common);
        result = r.ctx ? split(&r) : CLI_FAIL;
        pith_ctx_free(r.ctx);
    }
    lm_options_free(&r.common);
    return result;
}
