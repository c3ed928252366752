/* pith bench model --needs: what a recipe asks for, found by trying it. A matrix is coded twice, without statistics of
 * its inputs and with some; a recipe whose code changes uses data. (The split of methods by what tuning they take:
 * W. Wang et al., Model Compression and Efficient Inference for Large Language Models: A Survey, 2024.) */
#include <math.h>
#include <string.h>

#include "faces/cli/bench_model.h"

#define ROWS 64
#define COLS 256 /* a whole number of blocks of every type */

typedef struct probe {
    float w[ROWS * COLS], back[ROWS * COLS];
    float h[COLS], gram[COLS * (COLS + 1) / 2], outputs[ROWS];
} probe;

static float next(uint64_t *state) { /* -1 to 1, sums of three: nearly normal */
    float sum = 0;
    for (int i = 0; i < 3; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        sum += (float)(*state >> 40) * (2.0f / (1 << 24)) - 1;
    }
    return sum / 3;
}

/* Inputs of which neighbours are alike and some are ten times as large as others; outputs of which some count more. */
static void make_probe(probe *p) {
    uint64_t state = 1;
    for (size_t i = 0; i < ROWS * COLS; i++) p->w[i] = next(&state) * 0.1f;
    for (size_t i = 0, at = 0; i < COLS; i++) {
        float size = 0.2f + (float)(i * 37 % 64) / 32;
        for (size_t j = 0; j <= i; j++, at++)
            p->gram[at] = size * (0.2f + (float)(j * 37 % 64) / 32) * expf(-(float)(i - j) / 4);
        p->h[i] = p->gram[at - 1];
    }
    for (size_t i = 0; i < ROWS; i++) p->outputs[i] = 0.5f + (float)(i % 7) / 7;
}

static pith_status code_type(pith_ctx *ctx, const tensor_type_info *type, probe *p, bool data, pith_buffer *out) {
    uint64_t bytes = 0;
    tensor_type_bytes(type->type, ROWS * COLS, &bytes);
    pith_status status = pith_buffer_reserve(ctx, out, (size_t)bytes);
    if (status) return status;
    out->size = (size_t)bytes;
    if (blocks_encode_weighted(type->type, p->w, data ? p->h : NULL, out->data, ROWS, COLS)) return PITH_OK;
    return pith_fail(ctx, PITH_E_UNSUPPORTED, "blocks of type %s cannot be made here", type->name);
}

static pith_status code_recipe(pith_ctx *ctx, const pith_recipe *recipe, probe *p, bool data, pith_buffer *out) {
    repr_stats stats = {.h = p->h, .gram = p->gram, .n_tokens = 4096, .outputs = p->outputs, .n_outputs = ROWS}, none = {0};
    repr_matrix w = {p->w, ROWS, COLS};
    pith_status status = PITH_OK;
    for (unsigned i = 0; i < recipe->n_rules && !status; i++) {
        repr_chain *chain = NULL;
        status = repr_chain_new(ctx, &recipe->rules[i], &chain);
        if (!status) status = repr_encode(ctx, chain, &w, data ? &stats : &none, out, p->back);
        repr_chain_free(ctx, chain);
    }
    return status;
}

/* Whether c's code depends on statistics, and processor seconds of a million weights with what it takes. */
static pith_status try_code(pith_ctx *ctx, const bench_code *c, probe *p, bool *data, double *seconds) {
    const tensor_type_info *type = c->type ? tensor_type_named(c->type, strlen(c->type)) : NULL;
    pith_buffer code[2] = {{0}, {0}};
    pith_recipe *recipe = NULL;
    pith_status status = type ? PITH_OK : archive_recipe(ctx, c->recipe, strlen(c->recipe), &recipe);
    *data = false;
    for (int with = 0; with <= (int)c->data && !status; with++) {
        double before = model_cpu_seconds();
        status = type ? code_type(ctx, type, p, with, &code[with]) : code_recipe(ctx, recipe, p, with, &code[with]);
        *seconds = (model_cpu_seconds() - before) * 1e6 / (ROWS * COLS);
    }
    if (!status && c->data)
        *data = code[0].size != code[1].size || memcmp(code[0].data, code[1].data, code[0].size) != 0;
    pith_recipe_free(ctx, recipe);
    pith_buffer_free(ctx, &code[0]);
    pith_buffer_free(ctx, &code[1]);
    return status;
}

int bench_model_needs(const bench_models *b) {
    json_t *rows = b->common->json ? json_array() : NULL;
    probe *p = pith_alloc(b->ctx, sizeof *p);
    pith_status status = p ? PITH_OK : pith_alloc_status(b->ctx);
    unsigned with_data = 0;
    if (p) make_probe(p);
    if (!rows) printf("%-15s %-9s %-5s %-9s %12s  %s\n", "", "", "data", "gradients", "s a million", "recipe");
    for (unsigned i = 0; i < b->n && !status; i++) {
        const bench_code *c = &b->results[i].code;
        bool data = c->data, tried = c->recipe || c->type; /* what is not tried spreads bits by errors of outputs */
        double seconds = NAN;
        char text[80], shown[16] = "-";
        if (tried) status = try_code(b->ctx, c, p, &data, &seconds);
        if (status) break;
        with_data += data;
        if (rows) {
            json_t *row = json_pack("{s:s,s:s,s:s,s:b,s:b}", "name", c->name, "group", c->group, "recipe",
                                    bench_code_text(c, text, sizeof text), "data", (int)data, "gradients", 0);
            if (tried) json_object_set_new(row, "seconds_per_million", json_real(seconds));
            json_array_append_new(rows, row);
            continue;
        }
        if (tried) snprintf(shown, sizeof shown, "%.2f", seconds);
        printf("%-15s %-9s %-5s %-9s %12s  %s\n", c->name, c->group, data ? "yes" : "no", "no", shown,
               bench_code_text(c, text, sizeof text));
    }
    pith_free(b->ctx, p);
    if (status) return json_decref(rows), lm_failed(b->ctx, NULL);
    if (rows) return cli_json_print(stdout, rows, JSON_INDENT(1) | JSON_REAL_PRECISION(4));
    printf("%u of %u use data. None takes gradients: the statistics that recipes are given hold none. Gradients are for\n"
           "pith model prune by surgeon and heapr, and for pith lm tune\n",
           with_data, b->n);
    return CLI_OK;
}
