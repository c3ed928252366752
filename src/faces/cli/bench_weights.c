/* pith bench weights: exact codes of model weights beside general compressors, and the claims of DFloat11 (T. Zhang et
 * al., "70% Size, 100% Accuracy", arXiv:2504.11651). */
#include "faces/cli/bench_weights.h"

#include <math.h>
#include <stdio.h>

#include "kernels/represent/represent.h"

static const char weights_help[] =
    "Usage: pith bench weights [OPTIONS] [FILE...]\n\n"
    "Codes the float tensors of model files (GGUF, safetensors; default: the built-in model) without loss, as they\n"
    "are and rounded to bf16, beside zstd and xz, on one thread: bytes, processor time each way, the limit of what\n"
    "coding exponents apart can give. All is decoded and compared. Then products of the matrices in bf16 with one\n"
    "vector, the weights decoded on the way.\n\n"
    "      --bytes=N       of each file at most, in whole tensors (default 67108864)\n"
    "      --peers=WHICH   all (default), or none\n"
    "  -M#, --memory=#     memory limit (default 1G)\n"
    "      --json          one JSON object\n"
    "  -q                  no progress\n"
    "\nExamples:\n"
    "  pith bench weights\n"
    "  pith bench weights --bytes=20000000 model.safetensors\n";

#define GB 1e9

typedef struct weights_bench {
    uint64_t most;
    const char *peers;
    bool with_peers;
    /* of all files, rounded to bf16 */
    weights_figures own;
    double raw, limit, best_peer[WEIGHTS_CODERS];
    weights_products products;
} weights_bench;

static bool is_float(tensor_type type) { return type == TENSOR_F32 || type == TENSOR_F16 || type == TENSOR_BF16; }

static void weights_free(pith_ctx *ctx, weights_data *w) {
    pith_free(ctx, w->data);
    pith_free(ctx, w->parts);
    *w = (weights_data){0};
}

/* The first float tensors of a file, as they are or as bf16. */
static pith_status gather(pith_ctx *ctx, const tensor_file *f, uint64_t most, bool rounded, weights_data *w) {
    size_t room = 0, n = 0;
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *t = &f->tensors[i];
        if (!is_float(t->type) || t->bytes > most - PITH_MIN(room, most)) continue;
        room += (size_t)t->bytes;
        n++;
    }
    *w = (weights_data){.data = pith_alloc(ctx, PITH_MAX(room, 1)), .parts = pith_alloc(ctx, (n + 1) * sizeof *w->parts)};
    float *floats = NULL;
    pith_status status = w->data && w->parts ? PITH_OK : pith_alloc_status(ctx);
    for (size_t i = 0; w->n_parts < n && !status; i++) {
        const tensor_view *t = &f->tensors[i];
        if (!is_float(t->type) || t->bytes > room) continue;
        bool turn = rounded && t->type != TENSOR_BF16;
        weights_part part = {turn ? TENSOR_BF16 : t->type, w->bytes, turn ? 2 * (size_t)t->n_elements : (size_t)t->bytes,
                             t->n_dims > 1 ? (size_t)t->ne[0] : 0};
        room -= (size_t)t->bytes;
        if (turn) {
            floats = pith_alloc(ctx, PITH_MAX((size_t)t->n_elements, 1) * sizeof *floats);
            if (!floats) return pith_alloc_status(ctx);
            blocks_decode(t->type, t->data, floats, (size_t)t->n_elements);
            blocks_encode(TENSOR_BF16, floats, w->data + part.at, (size_t)t->n_elements);
            pith_free(ctx, floats);
        } else if (part.bytes) {
            memcpy(w->data + part.at, t->data, part.bytes);
        }
        w->bytes += part.bytes;
        w->parts[w->n_parts++] = part;
    }
    return status;
}

/* One table: every coder on *w. */
static int compare(experiment *e, weights_bench *b, const char *file, const weights_data *w, bool rounded) {
    char title[200], shown[100];
    snprintf(title, sizeof title, "%s, %s: %zu tensors, %zu bytes", cli_safe_text(shown, sizeof shown, file),
             rounded ? "rounded to bf16" : "as it is", w->n_parts, w->bytes);
    exp_table(e, title, "coder|bytes.0|%.2|GB/s there.3|GB/s back.3");
    double limit = weights_exponent_limit(w);
    for (int c = 0; c < (b->with_peers ? WEIGHTS_CODERS : 1); c++) {
        weights_figures f;
        exp_step(e, weights_coder_names[c]);
        if (weights_measure(e->ctx, w, (weights_coder)c, &f) != PITH_OK) return exp_failed(e);
        EXP_ROW(e, weights_coder_names[c], (double)f.bytes, 100 * (double)f.bytes / (double)w->bytes,
                (double)w->bytes / GB / f.encode_seconds, (double)w->bytes / GB / f.decode_seconds);
        if (!rounded) continue;
        b->best_peer[c] += (double)f.bytes;
        if (c != WEIGHTS_OWN) continue;
        b->own.bytes += f.bytes;
        b->own.encode_seconds += f.encode_seconds;
        b->own.decode_seconds += f.decode_seconds;
    }
    EXP_ROW(e, "entropy of exponents, order 0", limit, 100 * limit / (double)w->bytes, NAN, NAN);
    if (!rounded) return CLI_OK;
    b->raw += (double)w->bytes;
    b->limit += limit;
    return CLI_OK;
}

static int multiply(experiment *e, weights_bench *b, const weights_data *w) {
    weights_products p;
    exp_step(e, "products");
    if (weights_multiply(e->ctx, w, &p) != PITH_OK) return exp_failed(e);
    b->products.plain_bytes += p.plain_bytes;
    b->products.coded_bytes += p.coded_bytes;
    b->products.plain_seconds += p.plain_seconds;
    b->products.coded_seconds += p.coded_seconds;
    return CLI_OK;
}

static int one_file(experiment *e, weights_bench *b, const char *name, const tensor_file *f) {
    int result = CLI_OK;
    for (int rounded = 0; rounded <= 1 && result == CLI_OK; rounded++) {
        weights_data w;
        result = gather(e->ctx, f, b->most, rounded, &w) == PITH_OK ? CLI_OK : exp_failed(e);
        if (result == CLI_OK && !w.n_parts) {
            exp_note(e, "%s has no float tensors of at most --bytes", name);
            rounded = 1;
        } else {
            bool all = true;
            for (size_t i = 0; i < w.n_parts; i++) all &= w.parts[i].type == TENSOR_BF16;
            /* a file of bf16 alone is its own rounding */
            if (result == CLI_OK && (rounded || !all)) result = compare(e, b, name, &w, rounded);
            if (result == CLI_OK && rounded) result = multiply(e, b, &w);
        }
        weights_free(e->ctx, &w);
    }
    return result;
}

static void claims(experiment *e, const weights_bench *b) {
    double share = 100 * (double)b->own.bytes / b->raw, limit = 100 * b->limit / b->raw;
    double there = b->raw / GB / b->own.encode_seconds, back = b->raw / GB / b->own.decode_seconds;
    exp_claim(e, share <= 66.7, "bf16 at most 66.7 %%: %.2f %%", share);
    exp_claim(e, share <= limit + 0.1, "at most 0.1 points over the order-0 limit of each tensor's exponents (%.2f %%)", limit);
    if (b->with_peers) {
        double zstd = 100 * b->best_peer[WEIGHTS_ZSTD_19] / b->raw, xz = 100 * b->best_peer[WEIGHTS_XZ_9E] / b->raw;
        exp_claim(e, share < zstd && share < xz, "smaller than zstd -19 (%.2f %%) and xz -9e (%.2f %%)", zstd, xz);
    }
    exp_claim(e, back >= 0.8, "decodes at 0.8 GB/s and more: %.2f", back);
    exp_claim(e, there >= 0.4, "encodes at 0.4 GB/s and more: %.2f", there);
    exp_claim(e, true, "every byte the same");
}

static int weights_run(experiment *e, void *own) {
    weights_bench *b = own;
    int result = CLI_OK;
    if (b->peers && strcmp(b->peers, "all") != 0 && strcmp(b->peers, "none") != 0)
        return cli_error("weights: --peers is all or none");
    b->with_peers = !b->peers || strcmp(b->peers, "all") == 0;
    pith_ctx_set_threads(e->ctx, 1);
    if (!e->o.n_names) {
        lm_model *m;
        result = lm_open_named(e->ctx, NULL, &m);
        if (result != CLI_OK) return result;
        result = one_file(e, b, "default", lm_file(m));
        lm_close(e->ctx, m);
    }
    for (size_t i = 0; i < e->o.n_names && result == CLI_OK; i++) {
        tensor_file *f;
        if (tensor_file_open(e->ctx, e->o.names[i], &f) != PITH_OK) return lm_failed(e->ctx, e->o.names[i]);
        result = one_file(e, b, e->o.names[i], f);
        tensor_file_close(e->ctx, f);
    }
    if (result != CLI_OK || b->raw <= 0) return result == CLI_OK ? cli_error("weights: nothing to code") : result;
    const weights_products *p = &b->products;
    exp_table(e, "every matrix times one vector, bf16, one thread", "weights|bytes.0|ms.2|GB/s.2");
    EXP_ROW(e, "as they are", (double)p->plain_bytes, 1e3 * p->plain_seconds,
            (double)p->plain_bytes / GB / p->plain_seconds);
    EXP_ROW(e, "decoded on the way", (double)p->coded_bytes, 1e3 * p->coded_seconds,
            (double)p->plain_bytes / GB / p->coded_seconds);
    claims(e, b);
    return CLI_OK;
}

int bench_weights(int argc, char **argv) {
    weights_bench b = {.most = (uint64_t)1 << 26};
    const lm_option extra[] = {{"bytes", 0, LM_NUMBER, &b.most, 1 << 16, (uint64_t)1 << 40},
                               {"peers", 0, LM_TEXT, &b.peers, 0, 0}};
    return exp_main(argc, argv, weights_help, extra, PITH_COUNT(extra), 64, weights_run, &b);
}
