/* pith bench rmm: fine-tuned siblings held by a mean and a few matrices in common (reversible model merging). */
#include <math.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/model.h"
#include "faces/cli/bench_heads.h"
#include "lm/tune/tune.h"

static const char rmm_help[] =
    "Usage: pith bench rmm [OPTIONS]\n\n"
    "Trains the last matrix of a model on six kinds of text, each by itself, and holds the six by what they have in\n"
    "common: the mean of the differences (plain merging), TIES (signs elected, Yadav et al. 2023), and the mean with\n"
    "a basis of p matrices, in closed form from their 6 x 6 Gram matrix. Of each the loss on the ends of the texts\n"
    "and how much of the gain of the six is left, in bytes of differences in 16 bits.\n\n"
    "      --bytes=N       of each text that train (default 24576)\n"
    "      --judge=N       bytes after them that are judged (default 6144)\n"
    "      --epochs=N      of training, at most (default 4)\n"
    "      --model=FILE    the language model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench rmm\n"
    "  pith bench rmm --epochs=8 --bytes=49152\n";

enum { TASKS = 6 };
static const struct {
    const char *name, *files[3];
} tasks[TASKS] = {{"novel", {"tests/data/alice29.txt"}},
                  {"report", {"tests/data/lcet10.txt"}},
                  {"play", {"tests/data/asyoulik.txt"}},
                  {"web page", {"tests/data/html"}},
                  {"addresses", {"tests/data/urls.10K"}},
                  {"C", {"src/artefacts/file/decoder.c", "src/kernels/predict/suffix_tree.c", "src/base/recipe.c"}}};

typedef struct rmm {
    const char *model;
    uint64_t bytes, judge, epochs;
    lm_model *m;
    size_t n; /* elements of the matrix */
    float *base, *d[TASKS], *head, *mean, *parts;
    head_text text[TASKS];
    double base_loss, tuned_loss; /* means over tasks */
} rmm;

static int read_task(experiment *e, int t, pith_buffer *text) {
    int result = CLI_OK;
    for (unsigned i = 0; i < PITH_COUNT(tasks[t].files) && tasks[t].files[i] && result == CLI_OK; i++) {
        pith_buffer one = {0};
        result = exp_read(e, NULL, tasks[t].files[i], 0, &one);
        if (result == CLI_OK && pith_buffer_append(e->ctx, text, one.data, one.size)) result = exp_failed(e);
        pith_buffer_free(e->ctx, &one);
    }
    return result;
}

/* d[t] = trained - base, and the text that judges. */
static int train_task(experiment *e, rmm *r, int t) {
    tune_options o = {.n_epochs = (uint32_t)r->epochs, .n_ctx = 256, .n_threads = e->o.n_threads};
    tune_report report;
    pith_buffer text = {0};
    exp_step(e, tasks[t].name);
    int result = read_task(e, t, &text);
    if (result == CLI_OK && text.size < r->bytes + r->judge)
        result = cli_error("rmm: the text for \"%s\" has %zu bytes, fewer than --bytes and --judge", tasks[t].name,
                           text.size);
    if (result == CLI_OK) {
        pith_status status = tune_head(e->ctx, r->m, text.data, (size_t)r->bytes, &o, &r->d[t], &report);
        for (size_t i = 0; i < r->n && !status; i++) r->d[t][i] -= r->base[i];
        if (!status)
            status = head_text_read(e->ctx, r->m, text.data + r->bytes, (size_t)r->judge, e->o.n_threads, &r->text[t]);
        if (status) result = exp_failed(e);
    }
    pith_buffer_free(e->ctx, &text);
    return result;
}

/* The loss of task t with base + difference. */
static double loss_with(experiment *e, rmm *r, int t, const float *difference) {
    for (size_t i = 0; i < r->n; i++) r->head[i] = r->base[i] + (difference ? difference[i] : 0);
    return head_text_loss(e->ctx, &r->text[t], r->head);
}

static double row(experiment *e, const rmm *r, const char *label, double matrices, const double loss[TASKS]) {
    double mean = 0, worst = -INFINITY;
    for (int t = 0; t < TASKS; t++) mean += loss[t] / TASKS, worst = PITH_MAX(worst, loss[t]);
    double gain = 100 * (r->base_loss - mean) / (r->base_loss - r->tuned_loss);
    EXP_ROW(e, label, 2 * matrices * (double)r->n, mean, worst, gain);
    return gain;
}

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7FFFFFFF;
}

/* The magnitude that `keep` of the elements reach, by halving the range of bits, whose order is that of magnitudes. */
static uint32_t quantile(const float *d, size_t n, double keep) {
    uint32_t low = 0, high = 0x7F800000;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        size_t above = 0;
        for (size_t i = 0; i < n; i++) above += bits_of(d[i]) > middle;
        if ((double)above > keep * (double)n)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Of the largest fifth of each task the sign with more weight, and the mean of those that have it. */
static void ties(rmm *r, float *out) {
    uint32_t least[TASKS];
    for (int t = 0; t < TASKS; t++) least[t] = quantile(r->d[t], r->n, 0.2);
    for (size_t i = 0; i < r->n; i++) {
        double sum = 0, agreed = 0;
        unsigned n = 0;
        for (int t = 0; t < TASKS; t++) sum += bits_of(r->d[t][i]) > least[t] ? (double)r->d[t][i] : 0;
        for (int t = 0; t < TASKS; t++)
            if (bits_of(r->d[t][i]) > least[t] && (double)r->d[t][i] * sum > 0) agreed += (double)r->d[t][i], n++;
        out[i] = n ? (float)(agreed / n) : 0;
    }
}

static int compare_ways(experiment *e, rmm *r) {
    double loss[TASKS], gram[TASKS * TASKS], gain[TASKS] = {0}, lost;
    const float *d[TASKS];
    float c[TASKS * TASKS];
    char label[64];
    for (int t = 0; t < TASKS; t++) d[t] = r->d[t];
    exp_table(e, "six trained matrices", "kept as|bytes.0|loss.4|worst.4|gain %.1");
    for (int t = 0; t < TASKS; t++) r->base_loss += (loss[t] = loss_with(e, r, t, NULL)) / TASKS;
    double own[TASKS];
    for (int t = 0; t < TASKS; t++) r->tuned_loss += (own[t] = loss_with(e, r, t, r->d[t])) / TASKS;
    row(e, r, "the base", 0, loss);
    row(e, r, "six differences", TASKS, own);
    ties(r, r->mean);
    for (int t = 0; t < TASKS; t++) loss[t] = loss_with(e, r, t, r->mean);
    double elected = row(e, r, "TIES", 1, loss);
    merge_gram(d, TASKS, r->n, gram);
    for (size_t p = 0; p < TASKS; p++) {
        if (merge_coefficients(e->ctx, gram, TASKS, p, c, &lost)) return exp_failed(e);
        merge_basis(d, TASKS, r->n, c, p, r->mean, r->parts);
        for (int t = 0; t < TASKS; t++) {
            float *one = r->parts + TASKS * r->n;
            merge_restore(r->mean, r->parts, c, p, r->n, (size_t)t, one);
            loss[t] = loss_with(e, r, t, one);
        }
        snprintf(label, sizeof label, "mean and %zu, loses %.1f %%", p, 100 * lost);
        gain[p] = row(e, r, label, (double)(1 + p), loss);
    }
    exp_claim(e, gain[2] >= 95, "the mean and 2 matrices, half the bytes, keep 95 %% of the gain: %.1f %%", gain[2]);
    exp_claim(e, gain[3] >= 95, "the mean and 3, two thirds, keep it: %.1f %%", gain[3]);
    exp_claim(e, gain[1] > gain[0] && gain[1] > elected,
              "one matrix more is better than merging: %.1f %%, %.1f %% and TIES %.1f %%", gain[1], gain[0], elected);
    return CLI_OK;
}

static int rmm_run(experiment *e, void *own) {
    rmm *r = own;
    artefacts_register();
    int result = lm_open_named(e->ctx, lm_model_path(r->model ? r->model : "default"), &r->m);
    if (result == CLI_OK) {
        r->n = (size_t)lm_about(r->m)->n_vocab * lm_about(r->m)->n_embd;
        r->base = head_of_file(e->ctx, lm_file(r->m), r->n);
        r->head = pith_alloc(e->ctx, r->n * sizeof *r->head);
        r->mean = pith_alloc(e->ctx, r->n * sizeof *r->mean);
        r->parts = pith_alloc(e->ctx, (TASKS + 1) * r->n * sizeof *r->parts);
        if (!r->base || !r->head || !r->mean || !r->parts) result = exp_failed(e);
    }
    for (int t = 0; t < TASKS && result == CLI_OK; t++) result = train_task(e, r, t);
    if (result == CLI_OK) result = compare_ways(e, r);
    for (int t = 0; t < TASKS; t++) {
        head_text_free(e->ctx, &r->text[t]);
        pith_free(e->ctx, r->d[t]);
    }
    float *owned[] = {r->base, r->head, r->mean, r->parts};
    for (unsigned i = 0; i < PITH_COUNT(owned); i++) pith_free(e->ctx, owned[i]);
    lm_close(e->ctx, r->m);
    return result;
}

int bench_rmm(int argc, char **argv) {
    rmm r = {.bytes = 24576, .judge = 6144, .epochs = 4};
    const lm_option extra[] = {{"bytes", 0, LM_NUMBER, &r.bytes, 4096, 1 << 26},
                               {"judge", 0, LM_NUMBER, &r.judge, 1024, 1 << 26},
                               {"epochs", 0, LM_NUMBER, &r.epochs, 1, 1000},
                               {"model", 0, LM_TEXT, &r.model, 0, 0}};
    return exp_main(argc, argv, rmm_help, extra, PITH_COUNT(extra), 0, rmm_run, &r);
}
