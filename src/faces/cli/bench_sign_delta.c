/* pith bench compeft: what a fine-tuned matrix gained, kept by signs alone (P. Yadav et al., "ComPEFT",
 * arXiv:2311.13171). */
#include <math.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/model.h"
#include "base/sink.h"
#include "faces/cli/bench_heads.h"
#include "lm/tune/tune.h"

static const char compeft_help[] =
    "Usage: pith bench compeft [OPTIONS]\n\n"
    "Trains the last matrix of a model on a text, and codes what it differs by as signs of its largest parts, as\n"
    "`pith model delta --keep` does, for a grid of shares and sizes. The pair that is best on the second tenth from\n"
    "the end of the text is judged on the last: how much of the gain is left, at how many bytes beside those of the\n"
    "differences in 16 bits. Also with the mean magnitude instead of the deviation, and with a sign for everything.\n\n"
    "      --text=FILE     the text (default tests/data/lcet10.txt)\n"
    "      --bytes=N       of it, at most (default 160000)\n"
    "      --epochs=N      of training, at most (default 8)\n"
    "      --rate=X        of training, as in pith lm tune (default 0.01)\n"
    "      --model=FILE    the language model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench compeft\n"
    "  pith bench compeft --text=news.txt --rate=0.003\n";

typedef struct compeft {
    const char *file, *model;
    uint64_t bytes, epochs;
    double rate;
    lm_model *m;
    size_t n;                          /* elements of the matrix */
    pith_buffer base, fine;            /* model files */
    head_text valid, test;             /* what chooses, what judges */
    double base_loss[2], fine_loss[2]; /* on both */
} compeft;

enum { VALID, TEST };

typedef struct outcome {
    double loss[2], gain[2], bytes, smaller;
} outcome;

/* The base with its own last matrix written out, and with the trained one, so that they differ in nothing else. */
static pith_status make_pair(experiment *e, compeft *c, const pith_buffer *text, size_t n_train) {
    tune_options o = {.n_epochs = (uint32_t)c->epochs, .n_ctx = 256, .n_threads = e->o.n_threads, .rate = c->rate};
    tune_report r;
    float *trained = NULL, *own = NULL;
    exp_step(e, "training");
    pith_status status = tune_head(e->ctx, c->m, text->data, n_train, &o, &trained, &r);
    if (!status && !(own = head_of_file(e->ctx, lm_file(c->m), c->n))) status = PITH_E_MEMORY;
    if (!status) status = tune_write(e->ctx, c->m, own, pith_sink_write, &(pith_sink){e->ctx, &c->base});
    if (!status) status = tune_write(e->ctx, c->m, trained, pith_sink_write, &(pith_sink){e->ctx, &c->fine});
    if (!status)
        exp_note(e, "trained on %zu tokens, epoch %u of %u was best: %.3f bits a held-out token before, %.3f after",
                 r.n_tokens, r.best_epoch, r.n_epochs, r.bits_before, r.bits_after);
    pith_free(e->ctx, trained);
    pith_free(e->ctx, own);
    return status;
}

static pith_status losses(experiment *e, const compeft *c, const pith_buffer *file, double loss[2]) {
    tensor_file *f;
    pith_status status = tensor_file_open_memory(e->ctx, file->data, file->size, &f);
    if (status) return status;
    float *head = head_of_file(e->ctx, f, c->n);
    if (head) {
        loss[VALID] = head_text_loss(e->ctx, &c->valid, head);
        loss[TEST] = head_text_loss(e->ctx, &c->test, head);
    }
    if (!head || !isfinite(loss[VALID] + loss[TEST]))
        status = pith_fail(e->ctx, PITH_E_CHECK, "the matrix has no finite loss");
    pith_free(e->ctx, head);
    tensor_file_close(e->ctx, f);
    return status;
}

/* Through the file of the delta, as a user would. */
static int try_one(experiment *e, const compeft *c, const model_delta_options *o, const char *label, outcome *out) {
    pith_buffer delta = {0}, back = {0};
    pith_sink to = {e->ctx, &delta}, to_back = {e->ctx, &back};
    model_delta_report r;
    exp_step(e, label);
    pith_status status = model_delta_write(e->ctx, c->base.data, c->base.size, c->fine.data, c->fine.size, o,
                                           pith_sink_write, &to, &r);
    if (!status)
        status =
            model_delta_apply(e->ctx, c->base.data, c->base.size, delta.data, delta.size, pith_sink_write, &to_back);
    if (!status) status = losses(e, c, &back, out->loss);
    pith_buffer_free(e->ctx, &delta);
    pith_buffer_free(e->ctx, &back);
    if (status) return exp_failed(e);
    for (unsigned k = VALID; k <= TEST; k++)
        out->gain[k] = 100 * (c->base_loss[k] - out->loss[k]) / (c->base_loss[k] - c->fine_loss[k]);
    out->bytes = (double)r.delta_bytes;
    out->smaller = 2 * (double)c->n / out->bytes;
    EXP_ROW(e, label, out->bytes, out->smaller, 8 * out->bytes / (double)c->n, r.entropy_bits, 100 * r.lost,
            out->loss[TEST], out->gain[VALID], out->gain[TEST]);
    return CLI_OK;
}

static int grid(experiment *e, const compeft *c) {
    static const double keeps[] = {0.05, 0.1, 0.2, 0.3, 0.5}, alphas[] = {0.5, 1, 2, 3, 4};
    outcome best = {0}, any = {0}, one;
    char best_label[48] = "", label[48];
    int result = CLI_OK;
    exp_table(e, "differences of the last matrix as signs",
              "share, size|bytes.0|times less.1|bits.3|entropy.3|lost %.1|loss.4|gain % v.1|gain % t.1");
    EXP_ROW(e, "the base", 0, NAN, 0, NAN, 100, c->base_loss[TEST], 0, 0);
    EXP_ROW(e, "fine-tuned, differences in f16", 2 * (double)c->n, 1, 16, NAN, 0, c->fine_loss[TEST], 100, 100);
    for (size_t i = 0; i < PITH_COUNT(keeps) && result == CLI_OK; i++)
        for (size_t k = 0; k <= PITH_COUNT(alphas) && result == CLI_OK; k++) {
            bool mean = k == PITH_COUNT(alphas);
            model_delta_options o = {
                .keep = keeps[i], .alpha = mean ? 1 : alphas[k], .scale = mean ? MODEL_DELTA_MEAN : MODEL_DELTA_STD};
            if (mean)
                snprintf(label, sizeof label, "%.0f %%, mean magnitude", 100 * o.keep);
            else
                snprintf(label, sizeof label, "%.0f %%, %g deviations", 100 * o.keep, o.alpha);
            result = try_one(e, c, &o, label, &one);
            if (result == CLI_OK && one.smaller >= 8 && (!best_label[0] || one.loss[VALID] < best.loss[VALID])) {
                best = one;
                snprintf(best_label, sizeof best_label, "%s", label);
            }
        }
    model_delta_options all = {.keep = 1, .scale = MODEL_DELTA_MEAN, .packer = "rans"};
    if (result == CLI_OK) result = try_one(e, c, &all, "a sign for each", &any);
    if (result != CLI_OK) return result;
    exp_claim(e, best.gain[TEST] >= 95,
              "95 %% of the gain at 8 times less than f16 and more: %.1f %% at %.1f times less (%s)", best.gain[TEST],
              best.smaller, best_label);
    return CLI_OK;
}

static int compeft_run(experiment *e, void *own) {
    compeft *c = own;
    pith_buffer text = {0};
    artefacts_register();
    int result = lm_open_named(e->ctx, lm_model_path(c->model ? c->model : "default"), &c->m);
    if (result == CLI_OK) result = exp_read(e, c->file, "tests/data/lcet10.txt", (size_t)c->bytes, &text);
    if (result == CLI_OK) {
        size_t tenth = text.size / 10, n_train = text.size - 2 * tenth;
        c->n = (size_t)lm_about(c->m)->n_vocab * lm_about(c->m)->n_embd;
        pith_status status = make_pair(e, c, &text, n_train);
        exp_step(e, "reading");
        if (!status) status = head_text_read(e->ctx, c->m, text.data + n_train, tenth, e->o.n_threads, &c->valid);
        if (!status)
            status = head_text_read(e->ctx, c->m, text.data + n_train + tenth, tenth, e->o.n_threads, &c->test);
        if (!status) status = losses(e, c, &c->base, c->base_loss);
        if (!status) status = losses(e, c, &c->fine, c->fine_loss);
        if (status) result = exp_failed(e);
    }
    if (result == CLI_OK && !(c->fine_loss[TEST] < c->base_loss[TEST] && c->fine_loss[VALID] < c->base_loss[VALID]))
        result =
            cli_error("compeft: training gained nothing on the rest of the text; take more --bytes or a lower --rate");
    if (result == CLI_OK) result = grid(e, c);
    head_text_free(e->ctx, &c->valid);
    head_text_free(e->ctx, &c->test);
    pith_buffer_free(e->ctx, &c->base);
    pith_buffer_free(e->ctx, &c->fine);
    pith_buffer_free(e->ctx, &text);
    lm_close(e->ctx, c->m);
    return result;
}

int bench_compeft(int argc, char **argv) {
    compeft c = {.bytes = 160000, .epochs = 8, .rate = 0.01};
    const lm_option extra[] = {{"text", 0, LM_TEXT, &c.file, 0, 0},
                               {"bytes", 0, LM_NUMBER, &c.bytes, 8192, 1 << 26},
                               {"epochs", 0, LM_NUMBER, &c.epochs, 1, 1000},
                               {"rate", 0, LM_REAL, &c.rate, 0, 0},
                               {"model", 0, LM_TEXT, &c.model, 0, 0}};
    return exp_main(argc, argv, compeft_help, extra, PITH_COUNT(extra), 0, compeft_run, &c);
}
