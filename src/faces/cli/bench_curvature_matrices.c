/* pith bench surgeon: a share of all rows and columns taken out by magnitude, by diagonals of the curvature, and by
 * optimal brain surgeon with one and with both factors, in one shot and in several (The LLM Surgeon, 2023). */
#include <math.h>
#include <stdio.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/model.h"
#include "faces/cli/bench_predict.h"

static const char surgeon_help[] =
    "Usage: pith bench surgeon [OPTIONS]\n\n"
    "Takes rows and columns out of the weight matrices of a model's layers, the same number of parameters by every\n"
    "method, in one shot and in several, and says how far what is left is from the model. What the loss does comes from\n"
    "the beginning of a text (one pass with gradients for each shot), the judgement from its end. Nothing is trained.\n"
    "  magnitude  squares of the weights        inputs   optimal brain surgeon by the inputs alone\n"
    "  lobd       times squares of the inputs   surgeon  by inputs and gradients\n"
    "  kobd       by inputs and gradients, what stays is not changed\n\n"
    "      --share=X       of the parameters of these matrices that go, and then twice as many (default 0.2)\n"
    "      --shots=N       of the longer schedule (default 5)\n"
    "      --damp=X        of both factors, of their mean diagonals (default 0.01)\n"
    "      --text=FILE     the text (default tests/data/lcet10.txt)\n"
    "      --bytes=N       of it that calibrate (default 12288)\n"
    "      --judge=N       bytes at its end that are judged (default 12288)\n"
    "      --model=FILE    a dense llama model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench surgeon\n"
    "  pith bench surgeon --share=0.4 --shots=20 --bytes=200000\n";

typedef struct surgeon_bench {
    const char *model, *text_path;
    uint64_t bytes, judge, shots;
    double share, damp;
    lm_model *m;
    pith_buffer text;
    train_net *net;
    float *weights; /* as they were */
    uint32_t *tokens;
    size_t n_windows;
    curvature *first;
    model_ruler *ruler;
} surgeon_bench;

enum { WINDOW = 256 };

static int prepare(experiment *e, surgeon_bench *b) {
    artefacts_register();
    int result = lm_open_named(e->ctx, lm_model_path(b->model ? b->model : "default"), &b->m);
    if (result == CLI_OK) result = exp_read(e, b->text_path, "tests/data/lcet10.txt", 0, &b->text);
    if (result != CLI_OK) return result;
    if (b->text.size < 2 * b->judge)
        return cli_error("%s: the text has %zu bytes; it takes twice --judge", e->name, b->text.size);
    size_t first = PITH_MIN((size_t)b->bytes, b->text.size - (size_t)b->judge);
    const model_ruler_options o = {.n_threads = e->o.n_threads, .n_ctx = WINDOW};
    exp_step(e, "measuring the model");
    pith_status status =
        model_ruler_new(e->ctx, b->m, b->text.data + b->text.size - b->judge, (size_t)b->judge, &o, &b->ruler);
    if (!status) status = train_net_open(e->ctx, b->m, &b->net);
    if (!status) status = train_windows(e->ctx, b->net, b->text.data, first, WINDOW, &b->tokens, &b->n_windows);
    if (!status && b->n_windows == 0) return cli_error("%s: the text does not fill one window", e->name);
    if (!status && !(b->weights = pith_alloc(e->ctx, train_n_weights(b->net) * sizeof *b->weights)))
        status = pith_alloc_status(e->ctx);
    if (!status) train_net_save(b->net, b->weights);
    exp_step(e, "curvature");
    const curvature_options both = {.grams = CURVATURE_INPUTS | CURVATURE_OUTPUTS};
    if (!status) status = curvature_new(e->ctx, b->net, b->tokens, b->n_windows, WINDOW, &both, &b->first);
    return status ? exp_failed(e) : CLI_OK;
}

typedef struct surgeon_row {
    double kl, ratio;
    surgeon_result r;
} surgeon_row;

static int try_one(experiment *e, surgeon_bench *b, surgeon_method method, double share, unsigned shots,
                   surgeon_row *out) {
    const surgeon_options o = {.method = method, .share = share, .shots = shots, .damp = b->damp};
    char label[64];
    lm_model *pruned = NULL;
    model_score score;
    snprintf(label, sizeof label, "%s, %u shot%s", surgeon_method_names[method], shots, shots > 1 ? "s" : "");
    exp_step(e, label);
    train_net_restore(b->net, b->weights);
    pith_status status = surgeon_prune(e->ctx, b->net, b->tokens, b->n_windows, WINDOW, &o, b->first, &out->r);
    if (!status) status = train_net_model(e->ctx, b->net, TENSOR_F32, &pruned);
    if (!status) status = model_ruler_measure(e->ctx, b->ruler, pruned, &score);
    if (pruned) train_model_close(e->ctx, pruned);
    if (status) return exp_failed(e);
    out->kl = score.c.kl.mean;
    out->ratio = score.c.ratio;
    EXP_ROW(e, label, 100 * (double)out->r.n_gone / (double)out->r.n_parameters, (double)out->r.n_rows,
            (double)out->r.n_cols, out->r.predicted, log(out->ratio), out->kl, out->ratio);
    return CLI_OK;
}

static void open_table(experiment *e, double share) {
    char title[96];
    snprintf(title, sizeof title, "Rows and columns of the layers' matrices, %.0f %% of their parameters gone",
             100 * share);
    exp_table(e, title, "method|% gone.2|rows.0|columns.0|nats said.3|nats.3|KL.4|PPL ratio.3");
}

static int all_methods(experiment *e, surgeon_bench *b) {
    surgeon_row by[N_SURGEON_METHODS][2] = {0};
    unsigned shots = (unsigned)b->shots;
    open_table(e, b->share);
    for (int m = 0; m < N_SURGEON_METHODS; m++) {
        if (try_one(e, b, (surgeon_method)m, b->share, 1, &by[m][0]) != CLI_OK) return CLI_FAIL;
        by[m][1] = by[m][0];
        if (m != SURGEON_MAGNITUDE && shots > 1 && /* by weights alone more shots take the same */
            try_one(e, b, (surgeon_method)m, b->share, shots, &by[m][1]) != CLI_OK)
            return CLI_FAIL;
    }
    const surgeon_row *magnitude = &by[SURGEON_MAGNITUDE][1], *lobd = &by[SURGEON_LOBD][1],
                      *inputs = &by[SURGEON_INPUTS][1], *full = &by[SURGEON_FULL][1], *kobd = &by[SURGEON_KOBD][1];
    exp_claim(
        e, magnitude->ratio > lobd->ratio && lobd->ratio > inputs->ratio && inputs->ratio > full->ratio,
        "%.0f %% gone, %u shots: perplexity orders magnitude > lobd > inputs > surgeon: times %.3f, %.3f, %.3f, %.3f",
        100 * b->share, shots, magnitude->ratio, lobd->ratio, inputs->ratio, full->ratio);
    exp_claim(e, full->ratio < by[SURGEON_FULL][0].ratio,
              "%u shots better than one: times %.3f against %.3f, KL %.4f, %.4f", shots, full->ratio,
              by[SURGEON_FULL][0].ratio, full->kl, by[SURGEON_FULL][0].kl);
    exp_claim(e, full->ratio < kobd->ratio,
              "what stays makes up for what goes: times %.3f, without that (kobd) %.3f, KL %.4f, %.4f", full->ratio,
              kobd->ratio, full->kl, kobd->kl);
    return CLI_OK;
}

/* Where all that is of no use has gone: the methods that still do something. */
static int twice(experiment *e, surgeon_bench *b) {
    surgeon_row magnitude, kobd, once, full;
    unsigned shots = (unsigned)b->shots;
    double share = 2 * b->share;
    if (share >= 1) return CLI_OK;
    open_table(e, share);
    if (try_one(e, b, SURGEON_MAGNITUDE, share, 1, &magnitude) != CLI_OK ||
        try_one(e, b, SURGEON_KOBD, share, shots, &kobd) != CLI_OK ||
        try_one(e, b, SURGEON_FULL, share, 1, &once) != CLI_OK ||
        try_one(e, b, SURGEON_FULL, share, shots, &full) != CLI_OK)
        return CLI_FAIL;
    exp_claim(e, full.ratio < once.ratio && full.ratio < kobd.ratio,
              "%.0f %% gone: %u shots %.3f, one %.3f, kobd %.3f, magnitude %.3f times the perplexity", 100 * share,
              shots, full.ratio, once.ratio, kobd.ratio, magnitude.ratio);
    return CLI_OK;
}

static int surgeon_run(experiment *e, void *own) {
    surgeon_bench *b = own;
    if (!(b->share > 0 && b->share < 1)) return cli_error("%s: --share is between 0 and 1", e->name);
    int result = prepare(e, b);
    if (result == CLI_OK) {
        exp_note(e,
                 "%zu tokens calibrate; perplexity of the model %.3f; nats: what the quadratic form says a token "
                 "costs more, and what it does cost",
                 b->n_windows * WINDOW, model_ruler_perplexity(b->ruler));
        result = all_methods(e, b);
    }
    if (result == CLI_OK) result = twice(e, b);
    curvature_free(e->ctx, b->first);
    pith_free(e->ctx, b->tokens);
    pith_free(e->ctx, b->weights);
    train_net_free(b->net);
    model_ruler_free(e->ctx, b->ruler);
    pith_buffer_free(e->ctx, &b->text);
    lm_close(e->ctx, b->m);
    return result;
}

int bench_surgeon(int argc, char **argv) {
    surgeon_bench b = {.bytes = 12288, .judge = 12288, .shots = 5, .share = 0.2, .damp = 0.01};
    const lm_option extra[] = {{"share", 0, LM_REAL, &b.share, 0, 0},
                               {"shots", 0, LM_NUMBER, &b.shots, 1, 1000},
                               {"damp", 0, LM_REAL, &b.damp, 0, 0},
                               {"text", 0, LM_TEXT, &b.text_path, 0, 0},
                               {"bytes", 0, LM_NUMBER, &b.bytes, 2048, 1 << 28},
                               {"judge", 0, LM_NUMBER, &b.judge, 2048, 1 << 26},
                               {"model", 0, LM_TEXT, &b.model, 0, 0}};
    return exp_main(argc, argv, surgeon_help, extra, PITH_COUNT(extra), 0, surgeon_run, &b);
}
