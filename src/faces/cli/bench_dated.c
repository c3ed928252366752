/* pith bench dated: evaluation by compression of text with dates (Y. Li et al., Evaluating large language models for
 * generalization and robustness via data compression, 2024): bits per byte by month, before and after the end of what
 * the predictor has read, and for several windows. */
#include <math.h>
#include <string.h>

#include "faces/cli/bench_predict.h"

static const char dated_help[] =
    "Usage: pith bench dated [OPTIONS] FOLDER\n\n"
    "Bits per byte of the text of each month. FOLDER holds YYYY-MM.txt (bench/dated-changelogs.sh makes it).\n"
    "Context mixing reads the first half of each of the first months and is scored on the second half of every month,\n"
    "so that no month is known by heart; the language model is scored as it is. A window is what a\n"
    "predictor may look back within a month, what it has read before aside.\n\n"
    "      --months=N      months in all, from the first on (default 12)\n"
    "      --read=N        of which context mixing reads the first N (default 6)\n"
    "      --bytes=N       of each month scored (default 8192)\n"
    "      --model=FILE    the language model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  bench/dated-changelogs.sh dated 2020-01 2020-12 && pith bench dated dated\n"
    "  pith bench dated --months=36 --read=12 dated\n";

typedef struct dated {
    uint64_t months, read, bytes;
    coder_choice lm;
} dated;

#define WINDOWS 3

/* Bits of text[n] in pieces of `window` bytes, each for who knows the prior alone. */
static pith_status in_pieces(experiment *e, const codelen_options *o, const distance_text *prior,
                             const distance_text *text, size_t window, double *bits) {
    size_t n = (text->n + window - 1) / window;
    distance_text *piece = calloc(n, sizeof *piece);
    double *each = malloc(n * sizeof *each);
    pith_status status = piece && each ? PITH_OK : pith_fail(e->ctx, PITH_E_MEMORY, "no memory for %zu pieces", n);
    *bits = 0;
    for (size_t i = 0; i < n && !status; i++)
        piece[i] = (distance_text){text->data + i * window, PITH_MIN(window, text->n - i * window)};
    if (!status) status = distance_lengths(e->ctx, o, prior, 1, piece, n, each);
    for (size_t i = 0; i < n && !status; i++) *bits += each[i];
    free(piece);
    free(each);
    return status;
}

/* Slope of a straight line through rate[from..to), per month. */
static double slope(const double *rate, size_t from, size_t to) {
    double n = (double)(to - from), sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (size_t i = from; i < to; i++) {
        double x = (double)i;
        sx += x, sy += rate[i], sxx += x * x, sxy += x * rate[i];
    }
    return n > 1 ? (n * sxy - sx * sy) / (n * sxx - sx * sx) : 0;
}

static double mean(const double *rate, size_t from, size_t to) {
    double sum = 0;
    for (size_t i = from; i < to; i++) sum += rate[i];
    return to > from ? sum / (double)(to - from) : NAN;
}

static int measure(experiment *e, const dated *d, const text_list *month, const distance_text *prior) {
    size_t n = month->n, read = (size_t)d->read;
    const size_t window[WINDOWS] = {256, 1024, 4096}; /* bytes, context mixing */
    const uint32_t tokens[WINDOWS] = {32, 128, 512};  /* language model */
    double *rate = malloc(n * (2 * WINDOWS + 1) * sizeof *rate);
    if (!rate) return cli_error("out of memory");
    double *cm[WINDOWS], *lm[WINDOWS], *plain = rate + 2 * WINDOWS * n;
    for (size_t w = 0; w < WINDOWS; w++) cm[w] = rate + w * n, lm[w] = rate + (WINDOWS + w) * n;
    codelen_options mix = {.kind = CODELEN_CM};
    char title[160], name[80];
    snprintf(title, sizeof title, "bits per byte; context mixing has read the first %zu months (%zu bytes)", read,
             prior->n);
    exp_table(e, title, "month|cm 256 B.3|cm 1 KiB.3|cm 4 KiB.3|cm unread.3|lm 32.3|lm 128.3|lm 512.3");
    pith_status status = PITH_OK;
    for (size_t i = 0; i < n && !status; i++) {
        const distance_text *all = &month->text[i];
        distance_text text = {all->data + all->n / 2, PITH_MIN(all->n - all->n / 2, (size_t)d->bytes)};
        double scale = 1.0 / (double)PITH_MAX(text.n, (size_t)1);
        const char *slash = strrchr(month->label[i], '/');
        snprintf(name, sizeof name, "%.7s%s", slash ? slash + 1 : month->label[i], i < read ? " (read)" : "");
        exp_step(e, name);
        for (size_t w = 0; w < WINDOWS && !status; w++) {
            codelen_options o = d->lm.options;
            o.window = tokens[w];
            status = in_pieces(e, &mix, prior, &text, window[w], &cm[w][i]);
            if (!status) status = distance_lengths(e->ctx, &o, NULL, 1, &text, 1, &lm[w][i]);
            cm[w][i] *= scale, lm[w][i] *= scale;
        }
        if (!status) status = in_pieces(e, &mix, NULL, &text, window[2], &plain[i]);
        plain[i] *= scale;
        if (!status) EXP_ROW(e, name, cm[0][i], cm[1][i], cm[2][i], plain[i], lm[0][i], lm[1][i], lm[2][i]);
    }
    if (!status) {
        double before = mean(cm[2], 0, read), after = mean(cm[2], read, n),
               own = mean(plain, read, n) - mean(plain, 0, read);
        EXP_ROW(e, "mean of the months read", mean(cm[0], 0, read), mean(cm[1], 0, read), before, mean(plain, 0, read),
                mean(lm[0], 0, read), mean(lm[1], 0, read), mean(lm[2], 0, read));
        EXP_ROW(e, "mean of the months after", mean(cm[0], read, n), mean(cm[1], read, n), after, mean(plain, read, n),
                mean(lm[0], read, n), mean(lm[1], read, n), mean(lm[2], read, n));
        exp_note(e,
                 "after the end of reading the rate rises by %.4f bits per byte a month; without having read, the same "
                 "months differ by %+.3f",
                 slope(cm[2], read, n), own);
        exp_claim(e, after > before && after - before > own,
                  "the rate rises from %.3f to %.3f after the months read (%+.3f without having read them)", before,
                  after, own);
        bool wider = mean(cm[0], 0, n) > mean(cm[1], 0, n) && mean(cm[1], 0, n) > mean(cm[2], 0, n) &&
                     mean(lm[0], 0, n) > mean(lm[1], 0, n) && mean(lm[1], 0, n) > mean(lm[2], 0, n);
        exp_claim(e, wider,
                  "a larger window lowers the rate: context mixing %.3f, %.3f, %.3f; language model %.3f, %.3f, %.3f",
                  mean(cm[0], 0, n), mean(cm[1], 0, n), mean(cm[2], 0, n), mean(lm[0], 0, n), mean(lm[1], 0, n),
                  mean(lm[2], 0, n));
    }
    free(rate);
    return status ? exp_failed(e) : CLI_OK;
}

static int dated_run(experiment *e, void *own) {
    dated *d = own;
    text_list all = {0}, month = {0};
    pith_buffer read = {0};
    if (!e->o.n_names) return cli_error("dated: which folder? bench/dated-changelogs.sh makes one; --help says more");
    if (d->read >= d->months) return cli_error("dated: --read must be less than --months");
    if (!d->lm.coder) d->lm.coder = "lm";
    int result = coder_open(e->ctx, &e->o, "dated", &d->lm);
    if (result == CLI_OK) result = texts_add(e->ctx, &all, e->o.names[0], false);
    for (size_t i = 0; i < all.n && month.n < d->months && result == CLI_OK; i++) {
        const char *slash = strrchr(all.label[i], '/'), *name = slash ? slash + 1 : all.label[i];
        if (strlen(name) != 11 || name[4] != '-' || strcmp(name + 7, ".txt") != 0 || all.text[i].n < 1024) continue;
        result = texts_add_bytes(e->ctx, &month, all.label[i], all.text[i].data, all.text[i].n);
        if (result == CLI_OK && month.n <= d->read &&
            pith_buffer_append(e->ctx, &read, all.text[i].data, all.text[i].n / 2) != PITH_OK)
            result = exp_failed(e);
    }
    if (result == CLI_OK && month.n <= d->read)
        result = cli_error("dated: %s has %zu months, and more than %llu are needed", e->o.names[0], month.n,
                           (unsigned long long)d->read);
    distance_text prior = {read.data, read.size};
    if (result == CLI_OK) result = measure(e, d, &month, &prior);
    pith_buffer_free(e->ctx, &read);
    texts_free(e->ctx, &all);
    texts_free(e->ctx, &month);
    coder_close(e->ctx, &d->lm);
    return result;
}

int bench_dated(int argc, char **argv) {
    dated d = {.months = 12, .read = 6, .bytes = 8192};
    const lm_option extra[] = {{"months", 0, LM_NUMBER, &d.months, 2, 1200},
                               {"read", 0, LM_NUMBER, &d.read, 1, 1200},
                               {"bytes", 0, LM_NUMBER, &d.bytes, 512, 1 << 28},
                               {"model", 0, LM_TEXT, &d.lm.model, 0, 0}};
    return exp_main(argc, argv, dated_help, extra, PITH_COUNT(extra), 1, dated_run, &d);
}
