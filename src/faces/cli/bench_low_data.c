/* pith bench low-data: what pruning and rounding do to nets that were trained on little (What Happens When Small Is
 * Made Smaller? Exploring the Impact of Compression on Small Data Pretrained Language Models, 2024): the same net is
 * trained on all of a text of several kinds, on a tenth and on a hundredth of it, and every code is tried on each. */
#include <math.h>
#include <string.h>

#include "artefacts/artefacts.h"
#include "faces/cli/bench_taught.h"

static const char low_data_help[] =
    "Usage: pith bench low-data [OPTIONS] [FILE...]\n\n"
    "Trains one small net three times from the same start: on all of the text, on a tenth and on a hundredth of each\n"
    "kind. The weights that code held-out text best are kept. Then zeros are made of the weights of their layers, or they\n"
    "are rounded, and the rise of the code length on text that none has seen is compared, kind by kind.\n\n"
    "  FILE...             kinds of text, at most 8 (default: English prose, C sources, HTML)\n"
    "      --bytes=N       of each kind to train on (default 81920)\n"
    "      --judge=N       bytes at the end of each kind that are judged; as many in front of them choose the best\n"
    "                      weights (default 8192)\n"
    "      --steps=N       of each training, 1024 tokens each (default 240)\n"
    "      --width=N       of the net, a multiple of 32 (default 128)\n"
    "      --seed=N        of the weights and of the order of the text (default 1)\n"
    "      --model=FILE    whose tokens are used (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench low-data\n"
    "  pith bench low-data --bytes=400000 --steps=2000 de.txt en.txt fr.txt\n";

#define WINDOW 128
#define BATCH 8
#define KINDS_MOST 8
#define SAME 0.005 /* of the code length: rises closer than this are one (chosen after a first look at the figures) */
enum { HUNDREDTH, TENTH, WHOLE, NETS };
static const double parts[NETS] = {0.01, 0.1, 1};
static const char *const net_names[NETS] = {"1 %", "10 %", "all"};

static const taught_code codes[] = {
    {"magnitude, 30 % zeros", "prune(30%, score=magnitude)", false, 0.3},
    {"magnitude, 50 % zeros", "prune(50%, score=magnitude)", false, 0.5},
    {"magnitude, 60 % zeros", "prune(60%, score=magnitude)", false, 0.6},
    {"magnitude, 80 % zeros", "prune(80%, score=magnitude)", false, 0.8},
    {"Wanda, 50 % zeros", "prune(50%, score=wanda)", true, 0.5},
    {"Wanda, 60 % zeros", "prune(60%, score=wanda)", true, 0.6},
    {"SparseGPT, 50 % zeros", "sparse(50%) @ obs", true, 0.5},
    {"SparseGPT, 60 % zeros", "sparse(40%) @ obs", true, 0.6},
    {"RTN, 8 bits", "q(8, group=32)", false, 8},
    {"RTN, 4 bits", "q(4, group=32)", false, 4},
    {"GPTQ, 4 bits", "q(4, group=32) @ obs", true, 4},
    {"RTN, 3 bits", "q(3, group=32)", false, 3},
    {"GPTQ, 3 bits", "q(3, group=32) @ obs", true, 3},
    {"RTN, 2 bits", "q(2, group=32)", false, 2},
    {"GPTQ, 2 bits", "q(2, group=32) @ obs", true, 2},
};
enum { CODES = PITH_COUNT(codes) };

typedef struct low_data {
    uint64_t bytes, judge, steps, width, seed;
    const char *model;
    lm_model *tokens_of;
    pith_buffer text[KINDS_MOST];
    unsigned n_kinds;
    /* by net and kind: nats of a token as trained, and with each code */
    double base[NETS][KINDS_MOST], coded[NETS][CODES][KINDS_MOST];
    size_t bytes_read[NETS];
} low_data;

/* One net at work. */
typedef struct low_net {
    low_data *d;
    experiment *e;
    train_net *net;
    lessons learn, choose; /* `choose` is what the best weights are chosen by */
    float *best;
    double least, last;
    pith_buffer text; /* all it learns from, for calibration */
} low_net;

/* ---- inputs ---- */

static int read_kinds(experiment *e, low_data *d) {
    static const char *const sources[] = {"src/artefacts/file/decoder.c",
                                          "src/kernels/predict/suffix_tree.c",
                                          "src/artefacts/file/archive.c",
                                          "src/base/recipe.c",
                                          "src/lm/session.c",
                                          "src/artefacts/file/frame.c",
                                          "src/lm/model.c",
                                          "src/lm/ruler/needle.c"};
    int result = CLI_OK;
    if (e->o.n_names) {
        d->n_kinds = (unsigned)e->o.n_names;
        for (unsigned k = 0; k < d->n_kinds && result == CLI_OK; k++)
            result = exp_read(e, e->o.names[k], NULL, 0, &d->text[k]);
    } else {
        d->n_kinds = 3;
        result = exp_read(e, NULL, "tests/data/lcet10.txt", 0, &d->text[0]);
        for (size_t i = 0; i < PITH_COUNT(sources) && result == CLI_OK; i++)
            result = exp_read(e, NULL, sources[i], 0, &d->text[1]);
        if (result == CLI_OK) result = exp_read(e, NULL, "tests/data/html", 0, &d->text[2]);
    }
    for (unsigned k = 0; k < d->n_kinds && result == CLI_OK; k++)
        if (d->text[k].size < 4 * d->judge)
            result = cli_error("low-data: text %u has %zu bytes; it takes four times --judge", k + 1, d->text[k].size);
    return result;
}

static size_t learn_bytes(const low_data *d, unsigned kind, double part) {
    size_t all = d->text[kind].size - 2 * (size_t)d->judge;
    return (size_t)(part * (double)PITH_MIN((uint64_t)all, d->bytes));
}

/* The first part of each kind is learned from; the last two pieces of --judge bytes choose and judge. */
static int make_lessons(low_net *n, unsigned which) {
    low_data *d = n->d;
    n->learn = (lessons){.n_ctx = WINDOW, .share = BATCH};
    n->choose = (lessons){.n_ctx = WINDOW, .share = 0};
    int result = CLI_OK;
    for (unsigned k = 0; k < d->n_kinds && result == CLI_OK; k++) {
        const pith_buffer *t = &d->text[k];
        size_t bytes = learn_bytes(d, k, parts[which]);
        if (pith_buffer_append(n->e->ctx, &n->text, t->data, bytes) != PITH_OK) return exp_failed(n->e);
        const uint8_t *at = t->data + t->size - 2 * (size_t)d->judge;
        result = lessons_of_text(n->e, d->tokens_of, at, (size_t)d->judge, 1, &n->choose);
    }
    /* the kinds one behind the other, so that little of each still fills windows */
    if (result == CLI_OK) result = lessons_of_text(n->e, d->tokens_of, n->text.data, n->text.size, 1, &n->learn);
    d->bytes_read[which] = n->text.size;
    return result;
}

/* ---- training ---- */

static pith_status keep_best(void *opaque, train_net *net) {
    low_net *n = opaque;
    train_hooks hooks = {.target = n->choose.targets};
    pith_status status = train_pass(n->e->ctx, net, n->choose.tokens, n->choose.n, WINDOW, &hooks, false, &n->last);
    if (!status && n->last < n->least) {
        n->least = n->last;
        train_net_save(net, n->best);
    }
    return status;
}

static int train(low_net *n) {
    low_data *d = n->d;
    uint32_t width = (uint32_t)d->width;
    train_shape shape = {.n_embd = width,
                         .n_layers = 4,
                         .n_heads = width / 32,
                         .n_kv_heads = width / 32,
                         .n_ff = 3 * width,
                         .n_ctx = WINDOW};
    teaching t = {.steps = d->steps, .rate = 3e-3, .decay = 0.1, .seed = d->seed, .each = keep_best, .opaque = n};
    pith_status status = train_net_new(n->e->ctx, &shape, d->tokens_of, d->seed, &n->net);
    if (!status && !(n->best = pith_alloc(n->e->ctx, train_n_weights(n->net) * sizeof *n->best)))
        status = pith_alloc_status(n->e->ctx);
    n->least = INFINITY;
    if (status) return exp_failed(n->e);
    int result = teach(n->e, n->net, &n->learn, 1, &t);
    if (result == CLI_OK && n->least < INFINITY) train_net_restore(n->net, n->best);
    return result;
}

/* ---- measuring ---- */

static int measure_codes(low_net *n, unsigned which, const lm_model *m) {
    experiment *e = n->e;
    low_data *d = n->d;
    taught_bed bed = {0};
    model_ruler *ruler[KINDS_MOST] = {NULL};
    int result = taught_bed_open(e, m, n->text.data, n->text.size, &bed);
    for (unsigned k = 0; k < d->n_kinds && result == CLI_OK; k++) {
        const pith_buffer *t = &d->text[k];
        model_ruler_options o = {.n_ctx = WINDOW, .n_threads = e->o.n_threads};
        if (model_ruler_new(e->ctx, m, t->data + t->size - (size_t)d->judge, (size_t)d->judge, &o, &ruler[k]) !=
            PITH_OK)
            result = exp_failed(e);
        else
            d->base[which][k] = log(model_ruler_perplexity(ruler[k]));
    }
    for (unsigned c = 0; c < CODES && result == CLI_OK; c++) {
        lm_model *coded = NULL;
        double bits;
        result = taught_bed_try(&bed, &codes[c], &coded, &bits);
        for (unsigned k = 0; k < d->n_kinds && result == CLI_OK; k++) {
            model_score score;
            if (model_ruler_measure(e->ctx, ruler[k], coded, &score) != PITH_OK) result = exp_failed(e);
            d->coded[which][c][k] = log(score.c.perplexity);
        }
        lm_close(e->ctx, coded);
    }
    for (unsigned k = 0; k < d->n_kinds; k++) model_ruler_free(e->ctx, ruler[k]);
    taught_bed_close(&bed);
    return result;
}

static int run_net(experiment *e, low_data *d, unsigned which) {
    low_net n = {.d = d, .e = e};
    lm_model *m = NULL;
    int result = make_lessons(&n, which);
    if (result == CLI_OK) result = train(&n);
    if (result == CLI_OK && train_net_model(e->ctx, n.net, TENSOR_F32, &m) != PITH_OK) result = exp_failed(e);
    if (result == CLI_OK) result = measure_codes(&n, which, m);
    if (m) train_model_close(e->ctx, m);
    if (result == CLI_OK)
        EXP_ROW(e, net_names[which], (double)n.text.size, n.least, n.last, d->base[which][0],
                d->n_kinds > 1 ? d->base[which][1] : NAN, d->n_kinds > 2 ? d->base[which][2] : NAN);
    train_net_free(n.net);
    lessons_free(e->ctx, &n.learn);
    lessons_free(e->ctx, &n.choose);
    pith_buffer_free(e->ctx, &n.text);
    pith_free(e->ctx, n.best);
    return result;
}

/* ---- report ---- */

static double mean_of(const low_data *d, const double *by_kind) {
    double sum = 0;
    for (unsigned k = 0; k < d->n_kinds; k++) sum += by_kind[k];
    return sum / d->n_kinds;
}

/* Code length over that of the net itself. */
static double rise(const low_data *d, unsigned net, unsigned code) {
    return mean_of(d, d->coded[net][code]) / mean_of(d, d->base[net]) - 1;
}

/* Of what training had gained over guessing tokens evenly, the part that is lost. */
static double lost(const low_data *d, unsigned net, unsigned code) {
    double even = log((double)lm_about(d->tokens_of)->n_vocab), base = mean_of(d, d->base[net]);
    return (mean_of(d, d->coded[net][code]) - base) / (even - base);
}

static void report(experiment *e, const low_data *d) {
    exp_table(e, "Rise of the code length, and part lost of what training gained over even odds",
              "code of the layers|rise 1 %.4|rise 10 %.4|rise all.4|lost 1 %.4|lost 10 %.4|lost all.4");
    for (unsigned c = 0; c < CODES; c++)
        EXP_ROW(e, codes[c].name, rise(d, HUNDREDTH, c), rise(d, TENTH, c), rise(d, WHOLE, c), lost(d, HUNDREDTH, c),
                lost(d, TENTH, c), lost(d, WHOLE, c));
    exp_table(e, "The same rise by kind of text, nets of 1 % and of all",
              "code of the layers|A 1 %.4|B 1 %.4|C 1 %.4|A all.4|B all.4|C all.4");
    for (unsigned c = 0; c < CODES; c++) {
        double v[6];
        for (unsigned k = 0; k < 3; k++) {
            v[k] = k < d->n_kinds ? d->coded[HUNDREDTH][c][k] / d->base[HUNDREDTH][k] - 1 : NAN;
            v[3 + k] = k < d->n_kinds ? d->coded[WHOLE][c][k] / d->base[WHOLE][k] - 1 : NAN;
        }
        exp_row(e, codes[c].name, v);
    }
    double dearest = 0;
    for (unsigned c = 0; c < CODES; c++) {
        if (codes[c].level != 0.6) continue;
        for (unsigned which = 0; which < NETS; which++) dearest = PITH_MAX(dearest, rise(d, which, c));
    }
    exp_claim(e, dearest < 0.05, "60 %% zeros lengthen no net's code by 5 %%: %.1f %% at most", 100 * dearest);
    for (unsigned c = 0; c < CODES; c++) {
        bool asked = codes[c].level == 0.6 || (codes[c].level > 1 && codes[c].level < 5 && codes[c].informed);
        double little = PITH_MAX(rise(d, HUNDREDTH, c), rise(d, TENTH, c)), all = rise(d, WHOLE, c);
        if (asked)
            exp_claim(e, little <= all + SAME,
                      "%s costs nets of little text no more than that of all: %+.1f, %+.1f and %+.1f %%", codes[c].name,
                      100 * rise(d, HUNDREDTH, c), 100 * rise(d, TENTH, c), 100 * all);
    }
}

static int low_data_run(experiment *e, void *own) {
    low_data *d = own;
    if (d->width % 32) return cli_error("low-data: --width is a multiple of 32");
    artefacts_register();
    int result = lm_open_named(e->ctx, lm_model_path(d->model ? d->model : "default"), &d->tokens_of);
    if (result == CLI_OK) result = read_kinds(e, d);
    if (result == CLI_OK)
        exp_table(e, "Nats of a token: at the best step, at the last, and of the text that is judged by kind",
                  "net trained on|bytes.0|best.4|last.4|A.4|B.4|C.4");
    for (unsigned which = WHOLE + 1; which > 0 && result == CLI_OK; which--) result = run_net(e, d, which - 1);
    if (result == CLI_OK) report(e, d);
    for (unsigned k = 0; k < KINDS_MOST; k++) pith_buffer_free(e->ctx, &d->text[k]);
    lm_close(e->ctx, d->tokens_of);
    return result;
}

int bench_low_data(int argc, char **argv) {
    low_data d = {.bytes = 81920, .judge = 8192, .steps = 240, .width = 128, .seed = 1};
    const lm_option extra[] = {
        {"bytes", 0, LM_NUMBER, &d.bytes, 16384, 1u << 28}, {"judge", 0, LM_NUMBER, &d.judge, 2048, 1u << 24},
        {"steps", 0, LM_NUMBER, &d.steps, 1, 1 << 20},      {"width", 0, LM_NUMBER, &d.width, 32, 1024},
        {"seed", 0, LM_NUMBER, &d.seed, 0, UINT32_MAX},     {"model", 0, LM_TEXT, &d.model, 0, 0}};
    return exp_main(argc, argv, low_data_help, extra, PITH_COUNT(extra), KINDS_MOST, low_data_run, &d);
}
