/* pith bench experts-as-vectors: of the experts that a token is sent to the best alone is run, and a learned vector
 * stands for each of the others (He et al. 2025, Efficiently Editing Mixture-of-Experts Models with Compressed
 * Experts). The vectors, weighed as the experts would be, change what the kept expert reads or what it gives, element
 * by element: which of the two the paper has is not certain, so both are tried. */
#include <math.h>
#include <string.h>

#include "artefacts/artefacts.h"
#include "faces/cli/bench_moe.h"
#include "faces/cli/bench_taught.h"

static const char experts_as_vectors_help[] =
    "Usage: pith bench experts-as-vectors [OPTIONS] [FILE]\n\n"
    "Trains a mixture of experts on a narrow text, from the same start and as long: with all the experts that a token is\n"
    "sent to, with the best alone, and with the best and a learned vector for each of the others, which changes what the\n"
    "best reads, or what it gives; these two with the router as it is too. The part of the loss between the first two that\n"
    "vectors win back is compared, and the time of a token. Vectors of the best expert itself say how much is owed to fast\n"
    "parameters alone. The mixture is first made on other text: a small one of bytes, from random weights; or the model\n"
    "that is named, split when it is dense (pith model split).\n\n"
    "  FILE                the narrow text (default tests/data/alice29.txt); its end is judged, the rest is learned from\n"
    "      --judge=N       bytes that are judged (default 16384)\n"
    "      --steps=N       of each training, 1024 tokens each (default 150)\n"
    "      --rate=X        of learning, at most (default 0.002)\n"
    "      --vectors=X     times the rate is that of vectors (default 50)\n"
    "      --text=FILE     other text, which the mixture is made on (default tests/data/lcet10.txt)\n"
    "      --make=N        steps of training of the mixture on it (default 500)\n"
    "      --experts=N     of each block (default 8)\n"
    "      --used=N        a token is sent to (default 2)\n"
    "      --kept=N        of them that are run (default 1)\n"
    "      --width=N       of a mixture of bytes, a multiple of 8 (default 64)\n"
    "      --seed=N        of the weights and of the order of the text (default 1)\n"
    "      --model=FILE    a dense llama model or a mixture (default: a mixture of bytes)\n" EXP_HELP "\nExamples:\n"
    "  pith bench experts-as-vectors\n"
    "  pith bench experts-as-vectors --model=default --make=40 --steps=40 --rate=0.001\n"
    "  pith bench experts-as-vectors --used=4 --kept=2 book.txt\n";

#define WINDOW 128
#define BATCH 8
#define LAYERS 2
#define HEADS 4
#define DECAY 0.01
#define CALIBRATE 32768 /* bytes of the other text that the splitting reads */
enum { ALL, BEST, INPUT, OUTPUT, INPUT_FIXED, OUTPUT_FIXED, KEPT, ARMS };
static const struct {
    const char *name;
    train_vectors vectors;
    bool fixed; /* the router, as it is when the best expert alone is run: its weight is 1 whatever the scores */
} arms[ARMS] = {{"all experts", TRAIN_VECTORS_NONE, false},
                {"the best alone", TRAIN_VECTORS_NONE, false},
                {"vectors at what it reads", TRAIN_VECTORS_INPUT, false},
                {"vectors at what it gives", TRAIN_VECTORS_OUTPUT, false},
                {"the first, router fixed", TRAIN_VECTORS_INPUT, true},
                {"the second, router fixed", TRAIN_VECTORS_OUTPUT, true},
                {"vectors of the best itself", TRAIN_VECTORS_KEPT, false}};

typedef struct as_vectors {
    const char *model, *other_path;
    uint64_t judge, steps, make, n_experts, n_used, n_kept, width, seed;
    double rate, speed;
    bool bytes;
    lm_model *given, *m; /* given: the model, or one for its tokens alone; m: the mixture that all begin with */
    moe_split made;
    lessons other, learn, judged;
    double tokens_per_byte;
    double before[ARMS], nats[ARMS], weights[ARMS], ms[ARMS];
} as_vectors;

/* ---- the mixture ---- */

/* The named model, or it split. */
static pith_status open_given(experiment *e, as_vectors *v, const pith_buffer *text, train_net **net) {
    pith_status status = PITH_OK;
    if (!lm_about(v->given)->n_experts) {
        token_list tokens = {0};
        const experts_options o = {.n_experts = (uint32_t)v->n_experts, .n_used = (uint32_t)v->n_used, .sharpness = 1};
        exp_step(e, "splitting");
        status = ruler_tokens(e->ctx, v->given, text->data, PITH_MIN(text->size, (size_t)CALIBRATE), &tokens);
        if (!status) status = moe_split_open(e->ctx, v->given, &tokens, &o, &v->made);
        token_list_free(e->ctx, &tokens);
    }
    return status ? status : train_net_open(e->ctx, v->made.m ? v->made.m : v->given, net);
}

static pith_status new_mixture(experiment *e, const as_vectors *v, train_net **net) {
    uint32_t width = (uint32_t)v->width;
    const train_shape shape = {.n_embd = width,
                               .n_layers = LAYERS,
                               .n_heads = HEADS,
                               .n_kv_heads = HEADS,
                               .n_ff = 3 * width / 2,
                               .n_ctx = WINDOW,
                               .n_experts = (uint32_t)v->n_experts,
                               .n_used = (uint32_t)v->n_used,
                               .n_vocab = LESSONS_BYTES,
                               .spread = 1 / sqrt(width)};
    return train_net_new(e->ctx, &shape, NULL, v->seed, net);
}

static int make_mixture(experiment *e, as_vectors *v) {
    pith_buffer text = {0};
    train_net *net = NULL;
    int result = exp_read(e, v->other_path, "tests/data/lcet10.txt", 0, &text);
    if (result == CLI_OK) result = lessons_of_text(e, v->given, text.data, text.size, 1, &v->other);
    if (result == CLI_OK && (v->bytes ? new_mixture(e, v, &net) : open_given(e, v, &text, &net)))
        result = exp_failed(e);
    teaching t = {
        .steps = v->make, .rate = v->bytes ? 0.5 / (double)v->width : v->rate, .decay = DECAY, .seed = v->seed};
    if (result == CLI_OK && v->make) result = teach(e, net, &v->other, 1, &t);
    if (result == CLI_OK && train_net_model(e->ctx, net, TENSOR_F32, &v->m)) result = exp_failed(e);
    if (result == CLI_OK && v->make) exp_note(e, "the mixture, at the end of its training: %.4f nats a token", t.nats);
    train_net_free(net);
    pith_buffer_free(e->ctx, &text);
    return result;
}

static int read_narrow(experiment *e, as_vectors *v) {
    pith_buffer text = {0};
    token_list ids = {0};
    int result = exp_read(e, e->o.n_names ? e->o.names[0] : NULL, "tests/data/alice29.txt", 0, &text);
    if (result == CLI_OK && text.size < 4 * v->judge)
        result = cli_error("%s: the text has %zu bytes; it takes four times --judge", e->name, text.size);
    if (result == CLI_OK) {
        size_t first = text.size - (size_t)v->judge;
        result = lessons_of_text(e, v->given, text.data, first, 1, &v->learn);
        if (result == CLI_OK) result = lessons_of_text(e, v->given, text.data + first, (size_t)v->judge, 1, &v->judged);
        if (result == CLI_OK &&
            tokenizer_encode(e->ctx, lm_tokenizer(v->given), text.data + first, (size_t)v->judge, 0, &ids) != PITH_OK)
            result = exp_failed(e);
        v->tokens_per_byte = (double)ids.n / (double)v->judge;
    }
    token_list_free(e->ctx, &ids);
    pith_buffer_free(e->ctx, &text);
    return result;
}

/* ---- one training ---- */

static pith_status judge(experiment *e, const as_vectors *v, train_net *net, double *nats) {
    train_hooks hooks = {.target = v->judged.targets};
    return train_pass(e->ctx, net, v->judged.tokens, v->judged.n, WINDOW, &hooks, false, nats);
}

/* Processor time of a token, forward, the least of three walks over the text that is judged. */
static pith_status time_of(experiment *e, const as_vectors *v, train_net *net, double *ms) {
    pith_status status = PITH_OK;
    *ms = INFINITY;
    for (int i = 0; i < 3 && !status; i++) {
        double nats, from = model_cpu_seconds();
        status = judge(e, v, net, &nats);
        *ms = PITH_MIN(*ms, 1e3 * (model_cpu_seconds() - from) / (double)(v->judged.n * WINDOW));
    }
    return status;
}

/* Weights that a token is multiplied with. */
static double active_weights(const as_vectors *v, train_net *net, double run) {
    double sum = 0, n_experts = (double)lm_about(v->m)->n_experts;
    for (size_t i = 0; i < train_n_tensors(net); i++) {
        const char *name = train_tensor_name(net, i);
        size_t rows, cols;
        train_net_tensor(net, name, &rows, &cols);
        double n = (double)rows * (double)cols;
        if (strstr(name, "_exps."))
            n *= run / n_experts;
        else if (strstr(name, "ffn_left"))
            n *= ((double)lm_about(v->m)->n_used - run) / n_experts;
        sum += n;
    }
    return sum;
}

static bool is_no_router(void *opaque, const char *name) {
    (void)opaque;
    return !strstr(name, "ffn_gate_inp");
}

static int run_arm(experiment *e, as_vectors *v, int arm) {
    train_net *net = NULL;
    teaching t = {.steps = v->steps, .rate = v->rate, .decay = DECAY, .seed = v->seed};
    double run = arm == ALL ? (double)lm_about(v->m)->n_used : (double)v->n_kept;
    pith_status status = arm == ALL ? train_net_open(e->ctx, v->m, &net)
                                    : train_net_open_fewer(e->ctx, v->m, (uint32_t)v->n_kept, arms[arm].vectors, &net);
    for (size_t i = 0; net && i < train_n_tensors(net); i++) {
        const char *name = train_tensor_name(net, i);
        if (strstr(name, "ffn_left")) train_net_hasten(net, name, v->speed);
    }
    if (!status && arms[arm].fixed) train_net_choose(net, is_no_router, NULL);
    if (!status) status = judge(e, v, net, &v->before[arm]);
    int result = status ? exp_failed(e) : teach(e, net, &v->learn, 1, &t);
    if (result == CLI_OK && (judge(e, v, net, &v->nats[arm]) || time_of(e, v, net, &v->ms[arm])))
        result = exp_failed(e);
    if (result == CLI_OK) {
        v->weights[arm] = active_weights(v, net, run);
        EXP_ROW(e, arms[arm].name, v->before[arm], t.nats, v->nats[arm], v->nats[arm] * v->tokens_per_byte / log(2),
                v->weights[arm] / 1e6, v->ms[arm]);
    }
    train_net_free(net);
    return result;
}

static void report(experiment *e, const as_vectors *v) {
    double gap = v->nats[BEST] - v->nats[ALL];
    exp_claim(e, gap > 0, "with the best expert alone the loss is higher: %.4f, %.4f nats a token", v->nats[BEST],
              v->nats[ALL]);
    int better = INPUT;
    for (int arm = INPUT; arm < KEPT; arm++) {
        double won = (v->nats[BEST] - v->nats[arm]) / gap;
        exp_claim(e, gap > 0 && won >= 0.5, "%s win back at least half of it: %.0f %%, %.4f", arms[arm].name, 100 * won,
                  v->nats[arm]);
        if (v->nats[arm] < v->nats[better]) better = arm;
    }
    exp_claim(e, v->nats[better] < v->nats[KEPT], "%s win back more than vectors of the best itself: %.0f %%, %.4f",
              arms[better].name, 100 * (v->nats[BEST] - v->nats[KEPT]) / gap, v->nats[KEPT]);
    exp_claim(e, v->ms[better] < v->ms[ALL] && v->nats[ALL] / v->nats[better] > 0.9,
              "%s: %.0f %% of the time of a token, %.0f %% of its weights, the loss %+.1f %%", arms[better].name,
              100 * v->ms[better] / v->ms[ALL], 100 * v->weights[better] / v->weights[ALL],
              100 * (v->nats[better] / v->nats[ALL] - 1));
}

static int as_vectors_run(experiment *e, void *own) {
    as_vectors *v = own;
    v->other = v->learn = v->judged = (lessons){.n_ctx = WINDOW, .share = BATCH};
    v->bytes = !v->model;
    if (!(v->rate > 0 && v->rate < 1 && v->speed > 0 && v->rate * v->speed < 1))
        return cli_error("%s: --rate is between 0 and 1, --vectors times it too", e->name);
    if (v->n_kept >= v->n_used) return cli_error("%s: --kept is less than --used", e->name);
    artefacts_register();
    int result =
        v->bytes ? lessons_byte_model(e, &v->given) : lm_open_named(e->ctx, lm_model_path(v->model), &v->given);
    if (result == CLI_OK) result = make_mixture(e, v);
    if (result == CLI_OK) result = read_narrow(e, v);
    if (result == CLI_OK)
        exp_table(e, "Nats of a token of the text that is judged, before and after training on its kind",
                  "experts that are run|before.4|in training.4|after.4|bits a byte.4|M weights.3|ms.4");
    for (int arm = ALL; arm < ARMS && result == CLI_OK; arm++) result = run_arm(e, v, arm);
    if (result == CLI_OK) report(e, v);
    lessons_free(e->ctx, &v->other);
    lessons_free(e->ctx, &v->learn);
    lessons_free(e->ctx, &v->judged);
    train_model_close(e->ctx, v->m);
    moe_split_close(e->ctx, &v->made);
    if (v->bytes)
        train_model_close(e->ctx, v->given);
    else
        lm_close(e->ctx, v->given);
    return result;
}

int bench_experts_as_vectors(int argc, char **argv) {
    as_vectors v = {.judge = 16384,
                    .steps = 150,
                    .make = 500,
                    .n_experts = 8,
                    .n_used = 2,
                    .n_kept = 1,
                    .width = 64,
                    .seed = 1,
                    .rate = 2e-3,
                    .speed = 50};
    const lm_option extra[] = {
        {"judge", 0, LM_NUMBER, &v.judge, 2048, 1u << 24}, {"steps", 0, LM_NUMBER, &v.steps, 1, 1 << 20},
        {"make", 0, LM_NUMBER, &v.make, 0, 1 << 20},       {"experts", 0, LM_NUMBER, &v.n_experts, 2, 512},
        {"used", 0, LM_NUMBER, &v.n_used, 2, 512},         {"kept", 0, LM_NUMBER, &v.n_kept, 1, 511},
        {"width", 0, LM_NUMBER, &v.width, 8, 1024},        {"rate", 0, LM_REAL, &v.rate, 0, 0},
        {"vectors", 0, LM_REAL, &v.speed, 0, 0},           {"text", 0, LM_TEXT, &v.other_path, 0, 0},
        {"seed", 0, LM_NUMBER, &v.seed, 0, UINT32_MAX},    {"model", 0, LM_TEXT, &v.model, 0, 0}};
    return exp_main(argc, argv, experts_as_vectors_help, extra, PITH_COUNT(extra), 1, as_vectors_run, &v);
}
