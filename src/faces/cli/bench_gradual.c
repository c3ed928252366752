/* pith bench gradual: a wide net whose weights become zero little by little while it learns, beside narrower dense nets
 * with as many weights (Zhu & Gupta, To prune, or not to prune, 2017): s(t) = s_f (1 - (1 - t)^3). The paper counts
 * nonzeros; here what says where they are is counted too. Nets of bytes by default: what has a small vocabulary is
 * trained as far as it will go in minutes, and its weights are in its layers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "faces/cli/bench_taught.h"

static const char gradual_help[] =
    "Usage: pith bench gradual [OPTIONS] [FILE]\n\n"
    "Trains a net while ever more of the weights of each matrix, the smallest, become zero, until 50, 75 and 87.5 % are:\n"
    "of all matrices, and of those of the layers alone; and dense nets, narrower, with at least as many weights as are\n"
    "left, as many steps on the same text. Then the bits that held-out text takes are compared: at as many nonzeros, and\n"
    "at as many bytes, the places of the nonzeros included. Zeros are made between a fifth and seven tenths of the\n"
    "steps.\n\n"
    "  FILE                text (default tests/data/lcet10.txt)\n"
    "      --judge=N       bytes of it that are judged, in 16 pieces; the rest is learned from (default 32768)\n"
    "      --steps=N       of each training, 1024 tokens each (default 400)\n"
    "      --width=N       of the wide net, a multiple of 32 (default 64)\n"
    "      --layers=N      of every net (default 2)\n"
    "      --rate=X        of learning at width 64, at most; at width N 64 / N of it (default 0.008)\n"
    "      --seed=N        of the weights and of the order of the text (default 1)\n"
    "      --model=FILE    whose tokens are used (default: tokens are bytes)\n" EXP_HELP "\nExamples:\n"
    "  pith bench gradual\n"
    "  pith bench gradual --steps=4000 --width=96 book.txt\n";

#define WINDOW 128
#define BATCH 8
#define PARTS 16 /* of the text */
#define HEADS 4
#define VALUE_BITS 16
#define FROM 0.2  /* of the training: dense before */
#define UNTIL 0.7 /* zeros are made by then; the rest of the steps heals */
#define UPDATES 32
enum { LEVELS = 3 };
static const double levels[LEVELS] = {0.5, 0.75, 0.875};
enum { EVERYWHERE, LAYERS, KINDS }; /* where zeros are made; embeddings are the last matrix too */
static const char *const kind_names[KINDS] = {"all matrices", "layers"};

/* A net with zeros. */
typedef struct pruned {
    double bits, at_once; /* a byte: gradual; the wide net cut at the end and not trained after */
    double nonzeros, map; /* weights that are left, and that can be zero */
    double mask_bits;     /* log2 of how many ways there are to place them */
} pruned;

typedef struct gradual {
    uint64_t judge, steps, width, layers, seed;
    double rate;
    const char *model;
    lm_model *tokens_of; /* given; or made here, of bytes */
    bool bytes;
    lessons learn, judged;
    double tokens_per_byte;
    double dense[1 + LEVELS], weights[1 + LEVELS]; /* bits a byte, weights of the matrices: [0] of the wide net */
    pruned sparse[KINDS][LEVELS];
} gradual;

/* ---- zeros ---- */

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* A matrix that gets zeros; NULL: another tensor. */
static float *prunable(train_net *net, int kind, size_t i, const char **name, size_t *n) {
    size_t rows, cols;
    *name = train_tensor_name(net, i);
    float *w = train_net_tensor(net, *name, &rows, &cols);
    *n = rows * cols;
    return rows == 1 || (kind == LAYERS && strcmp(*name, "token_embd.weight") == 0) ? NULL : w;
}

/* The smallest of each matrix become zero, those that are so already first, and stay so. */
static pith_status make_zeros(pith_ctx *ctx, train_net *net, int kind, double part) {
    for (size_t i = 0; i < train_n_tensors(net); i++) {
        const char *name;
        size_t n, zeros;
        float *w = prunable(net, kind, i, &name, &n);
        if (!w || !(zeros = (size_t)(part * (double)n))) continue;
        float *sorted = pith_alloc(ctx, n * sizeof *sorted);
        uint8_t *kept = sorted ? train_net_kept(net, name) : NULL;
        if (!kept) {
            pith_free(ctx, sorted);
            return pith_alloc_status(ctx);
        }
        for (size_t k = 0; k < n; k++) sorted[k] = fabsf(w[k]);
        qsort(sorted, n, sizeof *sorted, by_value);
        float most = sorted[zeros - 1];
        for (size_t k = 0; k < n; k++)
            if (fabsf(w[k]) <= most) w[k] = 0, kept[k] = 0;
        pith_free(ctx, sorted);
    }
    return PITH_OK;
}

/* What is left of the matrices, and what it takes to say where. */
static void count_weights(train_net *net, int kind, pruned *p) {
    p->nonzeros = p->map = p->mask_bits = 0;
    for (size_t i = 0; i < train_n_tensors(net); i++) {
        size_t rows, cols, left = 0, n;
        const char *name;
        const float *w = train_net_tensor(net, train_tensor_name(net, i), &rows, &cols);
        if (rows == 1) continue;
        for (size_t k = 0; k < rows * cols; k++) left += w[k] != 0;
        p->nonzeros += (double)left;
        if (!prunable(net, kind, i, &name, &n)) continue;
        p->map += (double)n;
        p->mask_bits += (lgamma((double)n + 1) - lgamma((double)left + 1) - lgamma((double)(n - left) + 1)) / log(2);
    }
}

/* ---- one training ---- */

typedef struct pruning {
    experiment *e;
    const gradual *g;
    double part; /* 0: none */
    int kind;
    uint64_t every, step;
} pruning;

static pith_status prune_some(void *opaque, train_net *net) {
    pruning *p = opaque;
    double steps = (double)p->g->steps, from = FROM * steps, until = UNTIL * steps;
    double now = (double)(p->step += p->every), before = now - (double)p->every;
    if (p->part == 0 || now <= from || before >= until) return PITH_OK; /* the last one makes all that are wanted */
    double left = 1 - PITH_MIN((now - from) / (until - from), 1.0);
    return make_zeros(p->e->ctx, net, p->kind, p->part * (1 - left * left * left));
}

static pith_status bits_per_byte(experiment *e, const gradual *g, train_net *net, double *bits) {
    train_hooks hooks = {.target = g->judged.targets};
    double nats;
    pith_status status = train_pass(e->ctx, net, g->judged.tokens, g->judged.n, WINDOW, &hooks, false, &nats);
    if (!status) *bits = nats / log(2) * g->tokens_per_byte;
    return status;
}

static int train(experiment *e, const gradual *g, const train_shape *shape, int kind, double part, train_net **net) {
    pruning p = {.e = e, .g = g, .kind = kind, .part = part, .every = PITH_MAX(g->steps / (2 * UPDATES), (uint64_t)1)};
    teaching t = {.steps = g->steps,
                  .rate = g->rate * 64 / shape->n_embd,
                  .decay = 0.1,
                  .seed = g->seed,
                  .each = prune_some,
                  .every = p.every,
                  .opaque = &p};
    if (train_net_new(e->ctx, shape, g->bytes ? NULL : g->tokens_of, g->seed, net)) return exp_failed(e);
    return teach(e, *net, &g->learn, 1, &t);
}

static train_shape shape_of(const gradual *g, uint32_t width, uint32_t ff) {
    return (train_shape){.n_embd = width,
                         .n_layers = (uint32_t)g->layers,
                         .n_heads = HEADS,
                         .n_kv_heads = HEADS,
                         .n_ff = ff,
                         .n_ctx = WINDOW,
                         .n_vocab = LESSONS_BYTES,
                         .spread = 1 / sqrt(width)};
}

static double weights_of(const gradual *g, double width, double ff) {
    return (double)lm_about(g->tokens_of)->n_vocab * width + (double)g->layers * (4 * width * width + 3 * width * ff);
}

/* The widest net of about the same proportions, its feed-forward part such that it has no fewer than `least`. */
static train_shape narrow_shape(const gradual *g, double least) {
    uint32_t width = 8;
    while (weights_of(g, width + 8, 3 * (width + 8)) <= least) width += 8;
    double rest = least - weights_of(g, width, 0);
    return shape_of(g, width, (uint32_t)PITH_MAX(ceil(rest / (3.0 * width * (double)g->layers)), 8));
}

static double kib_of(double values, double mask_bits) { return (VALUE_BITS * values + mask_bits) / 8192; }

static int cut_at_once(experiment *e, gradual *g, train_net *net) {
    float *was = pith_alloc(e->ctx, train_n_weights(net) * sizeof *was);
    pith_status status = was ? PITH_OK : pith_alloc_status(e->ctx);
    if (was) train_net_save(net, was);
    for (unsigned i = 0; i < KINDS * LEVELS && !status; i++) {
        int kind = (int)(i / LEVELS);
        status = make_zeros(e->ctx, net, kind, levels[i % LEVELS]);
        if (!status) status = bits_per_byte(e, g, net, &g->sparse[kind][i % LEVELS].at_once);
        train_net_restore(net, was);
    }
    pith_free(e->ctx, was);
    return status ? exp_failed(e) : CLI_OK;
}

static int run_dense(experiment *e, gradual *g, unsigned which) {
    train_net *net = NULL;
    uint32_t width = (uint32_t)g->width;
    train_shape shape = shape_of(g, width, 3 * width);
    if (which) shape = narrow_shape(g, (1 - levels[which - 1]) * weights_of(g, width, 3 * width));
    char label[64];
    g->weights[which] = weights_of(g, shape.n_embd, shape.n_ff);
    int result = train(e, g, &shape, EVERYWHERE, 0, &net);
    if (result == CLI_OK && bits_per_byte(e, g, net, &g->dense[which])) result = exp_failed(e);
    if (result == CLI_OK) {
        snprintf(label, sizeof label, "dense, width %u, %u", shape.n_embd, shape.n_ff);
        double kib = kib_of(g->weights[which], 0);
        EXP_ROW(e, label, g->weights[which], g->dense[which], kib, kib);
    }
    if (result == CLI_OK && which == 0) result = cut_at_once(e, g, net);
    train_net_free(net);
    return result;
}

static int run_sparse(experiment *e, gradual *g, int kind, unsigned i) {
    train_net *net = NULL;
    pruned *p = &g->sparse[kind][i];
    train_shape shape = shape_of(g, (uint32_t)g->width, 3 * (uint32_t)g->width);
    char label[64];
    int result = train(e, g, &shape, kind, levels[i], &net);
    if (result == CLI_OK && bits_per_byte(e, g, net, &p->bits)) result = exp_failed(e);
    if (result == CLI_OK) {
        count_weights(net, kind, p);
        for (int cut = 0; cut < 2; cut++) {
            snprintf(label, sizeof label, "%s, %.1f %% of %s", cut ? "at once" : "gradual", 100 * levels[i],
                     kind_names[kind]);
            EXP_ROW(e, label, p->nonzeros, cut ? p->at_once : p->bits, kib_of(p->nonzeros, p->map),
                    kib_of(p->nonzeros, p->mask_bits));
        }
    }
    train_net_free(net);
    return result;
}

/* ---- report ---- */

/* Bits a byte of a dense net of that many weights, in a line over their logarithm between the nets that were trained
 * (the outer ones' line is carried on). */
static double dense_at(const gradual *g, double weights) {
    unsigned i = 0;
    while (i + 2 <= LEVELS && weights < g->weights[i + 1]) i++;
    double t = log(g->weights[i] / weights) / log(g->weights[i] / g->weights[i + 1]);
    return g->dense[i] + t * (g->dense[i + 1] - g->dense[i]);
}

/* Bits of a value below which a dense net of as many bytes is as good: places cost what they cost, values get cheaper.
 * Between a quarter of a bit, always better, and 64, never. */
static double flips_at(const gradual *g, const pruned *p, double mask_bits) {
    double low = 0.25, high = 64;
    for (int k = 0; k < 60; k++) {
        double bits = sqrt(low * high);
        if (dense_at(g, p->nonzeros + mask_bits / bits) > p->bits)
            high = bits;
        else
            low = bits;
    }
    return low;
}

static void report(experiment *e, const gradual *g) {
    exp_table(e, "Bits a byte: gradual zeros beside dense nets of as many nonzeros, of as many bytes of 16-bit values",
              "zeros|gradual.4|nonzeros.4|bitmap.4|entropy.4|flip map.2|flip ent..2");
    for (int kind = 0; kind < KINDS; kind++)
        for (unsigned i = 0; i < LEVELS; i++) {
            const pruned *p = &g->sparse[kind][i];
            char label[32];
            snprintf(label, sizeof label, "%.1f %% of %s", 100 * levels[i], kind_names[kind]);
            EXP_ROW(e, label, p->bits, dense_at(g, p->nonzeros), dense_at(g, p->nonzeros + p->map / VALUE_BITS),
                    dense_at(g, p->nonzeros + p->mask_bits / VALUE_BITS), flips_at(g, p, p->map),
                    flips_at(g, p, p->mask_bits));
        }
    exp_note(e, "flip: bits of a value below which a dense net of as many bytes, places included, codes as well; dense "
                "nets of sizes between those trained are in a line over the logarithm of their weights");
    for (int kind = 0; kind < KINDS; kind++)
        for (unsigned i = 0; i < LEVELS; i++) {
            const pruned *p = &g->sparse[kind][i];
            double same = dense_at(g, p->nonzeros), even = dense_at(g, p->nonzeros + p->map / VALUE_BITS);
            exp_claim(e, p->bits < same, "%.1f %% zeros in %s beat a dense net of as many nonzeros: %.3f, %.3f",
                      100 * levels[i], kind_names[kind], p->bits, same);
            exp_claim(e, p->bits < even, "and one of as many bytes with a bitmap: %.3f", even);
        }
    const pruned *p = &g->sparse[LAYERS][0];
    exp_claim(e, p->bits < 1.02 * g->dense[0], "half of the layers' weights go for under 2 %% of code: %+.1f %%",
              100 * (p->bits / g->dense[0] - 1));
}

/* Judged are pieces from all of the text, the end of each part of it; the rest is learned from. */
static int read_text(experiment *e, gradual *g) {
    pith_buffer text = {0};
    g->learn = (lessons){.n_ctx = WINDOW, .share = BATCH};
    g->judged = (lessons){.n_ctx = WINDOW};
    int result = exp_read(e, e->o.n_names ? e->o.names[0] : NULL, "tests/data/lcet10.txt", 0, &text);
    if (result == CLI_OK && text.size < 4 * g->judge)
        result = cli_error("gradual: the text has %zu bytes; it takes four times --judge", text.size);
    size_t part = text.size / PARTS, judged = (size_t)g->judge / PARTS;
    double tokens = 0;
    for (size_t i = 0; i < PARTS && result == CLI_OK; i++) {
        const uint8_t *at = text.data + i * part, *cut = at + part - judged;
        token_list ids = {0};
        result = lessons_of_text(e, g->tokens_of, at, part - judged, 1, &g->learn);
        if (result == CLI_OK) result = lessons_of_text(e, g->tokens_of, cut, judged, 1, &g->judged);
        if (result == CLI_OK && tokenizer_encode(e->ctx, lm_tokenizer(g->tokens_of), cut, judged, 0, &ids) != PITH_OK)
            result = exp_failed(e);
        tokens += (double)ids.n;
        token_list_free(e->ctx, &ids);
    }
    g->tokens_per_byte = tokens / (double)(judged * PARTS);
    pith_buffer_free(e->ctx, &text);
    return result;
}

static int gradual_run(experiment *e, void *own) {
    gradual *g = own;
    if (g->width % 32) return cli_error("gradual: --width is a multiple of 32");
    if (!(g->rate > 0 && g->rate < 1)) return cli_error("gradual: --rate is between 0 and 1");
    g->bytes = !g->model;
    int result =
        g->bytes ? lessons_byte_model(e, &g->tokens_of) : lm_open_named(e->ctx, lm_model_path(g->model), &g->tokens_of);
    if (result == CLI_OK) result = read_text(e, g);
    if (result == CLI_OK)
        exp_table(e, "Weights of the matrices, bits a byte of held-out text, KiB with 16-bit values",
                  "net|weights.0|bits.4|bitmap.1|entropy.1");
    for (unsigned i = 0; i <= LEVELS && result == CLI_OK; i++) result = run_dense(e, g, i);
    for (unsigned i = 0; i < KINDS * LEVELS && result == CLI_OK; i++)
        result = run_sparse(e, g, (int)(i / LEVELS), i % LEVELS);
    if (result == CLI_OK) report(e, g);
    lessons_free(e->ctx, &g->learn);
    lessons_free(e->ctx, &g->judged);
    if (g->bytes)
        train_model_close(e->ctx, g->tokens_of);
    else
        lm_close(e->ctx, g->tokens_of);
    return result;
}

int bench_gradual(int argc, char **argv) {
    gradual g = {.judge = 32768, .steps = 400, .width = 64, .layers = 2, .seed = 1, .rate = 8e-3};
    const lm_option extra[] = {
        {"judge", 0, LM_NUMBER, &g.judge, 8192, 1u << 24},
        {"steps", 0, LM_NUMBER, &g.steps, 32, 1 << 20},
        {"width", 0, LM_NUMBER, &g.width, 64, 1024},
        {"layers", 0, LM_NUMBER, &g.layers, 1, 64},
        {"rate", 0, LM_REAL, &g.rate, 0, 0},
        {"seed", 0, LM_NUMBER, &g.seed, 0, UINT32_MAX},
        {"model", 0, LM_TEXT, &g.model, 0, 0},
    };
    return exp_main(argc, argv, gradual_help, extra, PITH_COUNT(extra), 1, gradual_run, &g);
}
