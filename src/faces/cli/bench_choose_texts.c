/* pith bench zip-fit: training texts chosen by alignment of codes (E. Obbad et al., ZIP-FIT: embedding-free data
 * selection via compression-based alignment, 2024): are those chosen of the target's kind, does reading all targets
 * once give the same order, and does a learner get further on what was chosen? */
#include <math.h>
#include <string.h>

#include "faces/cli/bench_predict.h"

static const char zip_fit_help[] =
    "Usage: pith bench zip-fit [OPTIONS] [FOLDER]\n\n"
    "Sources of several kinds, targets of one kind: how many of the top k sources are of that kind, by\n"
    "mean 1 - NCD over all targets and by one reading of all targets, and how closely both orders agree.\n"
    "Then context mixing learns from the sources in each order until it codes held-out targets at a given\n"
    "rate: the bytes it takes.\n\n"
    "FOLDER holds source/KIND-*.txt and target/KIND-*.txt (bench/make-mixture.sh); default: pieces of\n"
    "tests/data, src and models/prime.\n\n"
    "      --coder=NAME    of both scores (default cm-large); zstd is measured too\n"
    "      --limit=N       at most N sources of each kind and N targets (default 60)\n" EXP_HELP "\nExamples:\n"
    "  pith bench zip-fit\n"
    "  bench/make-mixture.sh mix && pith bench zip-fit mix\n";

#define STEPS 12

typedef struct zip_fit {
    uint64_t limit;
    coder_choice coder;
    labelled source, target;
} zip_fit;

/* ---- inputs ---- */

/* Adds pieces of whole lines of some 600 bytes from a file of the project. */
static int add_pieces(experiment *e, labelled *to, const char *kind, const char *path, size_t count) {
    pith_buffer all = {0};
    int result = exp_read(e, NULL, path, 0, &all);
    for (size_t i = 0; i < count && result == CLI_OK; i++) {
        size_t at = all.size * i / count, end = PITH_MIN(at + 600, all.size);
        while (at < end && at && all.data[at - 1] != '\n') at++;
        while (end > at && end < all.size && all.data[end - 1] != '\n') end--;
        if (end > at) result = labelled_add(e, to, kind, all.data + at, end - at);
    }
    pith_buffer_free(e->ctx, &all);
    return result;
}

/* The kind is the file's name up to its last hyphen. */
static int add_folder(experiment *e, labelled *to, const char *folder, const char *part) {
    char path[4200];
    text_list all = {0};
    snprintf(path, sizeof path, "%s/%s", folder, part);
    int result = texts_add(e->ctx, &all, path, false);
    for (size_t i = 0; i < all.n && result == CLI_OK; i++) {
        const char *slash = strrchr(all.label[i], '/'), *name = slash ? slash + 1 : all.label[i],
                   *hyphen = strrchr(name, '-');
        char kind[80];
        snprintf(kind, sizeof kind, "%.*s", (int)(hyphen ? hyphen - name : 60), name);
        result = labelled_add(e, to, kind, all.text[i].data, all.text[i].n);
    }
    texts_free(e->ctx, &all);
    return result;
}

static int inputs(experiment *e, zip_fit *z) {
    if (e->o.n_names) {
        int result = add_folder(e, &z->source, e->o.names[0], "source");
        return result == CLI_OK ? add_folder(e, &z->target, e->o.names[0], "target") : result;
    }
    static const struct {
        const char *kind, *path;
        size_t count;
        bool is_target;
    } part[] = {{"prose", "tests/data/alice29.txt", 30, false},    {"prose", "tests/data/lcet10.txt", 30, false},
                {"code", "src/base/recipe.c", 12, false},          {"code", "src/artefacts/file/archive.c", 12, false},
                {"code", "src/kernels/predict/cm.c", 12, false},   {"log", "models/prime/log.txt", 40, false},
                {"code", "src/formats/tensors/gguf.c", 10, true},  {"code", "src/kernels/measure/plot.c", 15, true},
                {"code", "src/lm/tokenizer/tokenizer.c", 12, true}};
    int result = CLI_OK;
    for (size_t i = 0; i < PITH_COUNT(part) && result == CLI_OK; i++)
        result = add_pieces(e, part[i].is_target ? &z->target : &z->source, part[i].kind, part[i].path, part[i].count);
    return result;
}

/* Keeps the first `limit` of each kind. */
static void keep_some(labelled *l, size_t limit) {
    size_t count[EXP_LABELS] = {0}, m = 0;
    for (size_t i = 0; i < l->texts.n; i++) {
        bool keep = count[l->label[i]]++ < limit;
        distance_text text = l->texts.text[m];
        char *label = l->texts.label[m];
        if (!keep) continue;
        l->texts.text[m] = l->texts.text[i], l->texts.label[m] = l->texts.label[i];
        l->texts.text[i] = text, l->texts.label[i] = label;
        l->label[m++] = l->label[i];
    }
    while (l->texts.n > m) {
        l->texts.n--;
        free((void *)(uintptr_t)l->texts.text[l->texts.n].data);
        free(l->texts.label[l->texts.n]);
    }
}

/* ---- a learner ---- */

/* Bits per byte of the targets after each of STEPS equal shares of `bytes` of the sources in the given order. */
static pith_status learn(experiment *e, const zip_fit *z, const size_t *order, size_t bytes, double *rate) {
    pith_buffer read = {0}, held = {0};
    pith_status status = PITH_OK;
    for (size_t i = 0; i < z->source.texts.n && !status && read.size < bytes; i++) {
        const distance_text *t = &z->source.texts.text[order[i]];
        status = pith_buffer_append(e->ctx, &read, t->data, t->n);
    }
    for (size_t j = 1; j < z->target.texts.n && !status; j += 2) /* the odd ones; the even ones chose */
        status = pith_buffer_append(e->ctx, &held, z->target.texts.text[j].data, z->target.texts.text[j].n);
    distance_text prior[STEPS], text = {held.data, held.size};
    for (size_t s = 0; s < STEPS; s++)
        prior[s] = (distance_text){read.data, PITH_MIN(bytes * (s + 1) / STEPS, read.size)};
    codelen_options o = {.kind = CODELEN_CM};
    if (!status) status = distance_lengths(e->ctx, &o, prior, STEPS, &text, 1, rate);
    for (size_t s = 0; s < STEPS && !status; s++) rate[s] /= (double)PITH_MAX(held.size, (size_t)1);
    pith_buffer_free(e->ctx, &read);
    pith_buffer_free(e->ctx, &held);
    return status;
}

/* Bytes read when the rate first is at most `aim`, by linear interpolation; NAN when it never is. */
static double bytes_to(const double *rate, double aim, size_t bytes) {
    double step = (double)bytes / STEPS;
    for (size_t s = 0; s < STEPS; s++) {
        if (rate[s] > aim) continue;
        if (s == 0) return step;
        return step * ((double)s + (rate[s - 1] - aim) / (rate[s - 1] - rate[s]));
    }
    return NAN;
}

/* ---- the whole ---- */

/* Scores of all sources and the orders they make. */
enum { FULL, PRIMED, FULL_ZSTD, LONGEST, RANDOM, WAYS };
typedef struct orders {
    double *score[WAYS];
    size_t *order[WAYS];
} orders;

static double precision(const zip_fit *z, const size_t *order, size_t k, uint32_t kind) {
    size_t n = 0;
    for (size_t i = 0; i < k; i++) n += z->source.label[order[i]] == kind;
    return k ? (double)n / (double)k : 0;
}

static pith_status all_orders(experiment *e, const zip_fit *z, const orders *r) {
    const text_list *s = &z->source.texts, *t = &z->target.texts;
    codelen_options fast = {.kind = CODELEN_ZSTD};
    distance_text *chosen = malloc(t->n * sizeof *chosen);
    size_t n_chosen = 0;
    if (!chosen) return pith_fail(e->ctx, PITH_E_MEMORY, "no memory for the targets");
    for (size_t j = 0; j < t->n; j += 2) chosen[n_chosen++] = t->text[j];
    exp_step(e, "full score");
    pith_status status = select_alignment(e->ctx, &z->coder.options, s->text, s->n, chosen, n_chosen, r->score[FULL]);
    if (!status) status = select_alignment(e->ctx, &fast, s->text, s->n, chosen, n_chosen, r->score[FULL_ZSTD]);
    exp_step(e, "primed score");
    if (!status) status = select_primed(e->ctx, &z->coder.options, s->text, s->n, chosen, n_chosen, r->score[PRIMED]);
    free(chosen);
    uint64_t seed = 1;
    for (size_t i = 0; i < s->n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        r->score[RANDOM][i] = (double)(seed >> 33);
        r->score[LONGEST][i] = (double)s->text[i].n;
    }
    for (int w = 0; w < WAYS && !status; w++) status = distance_order(e->ctx, r->score[w], s->n, true, r->order[w]);
    return status;
}

static int measure(experiment *e, const zip_fit *z, const orders *r) {
    if (all_orders(e, z, r)) return exp_failed(e);
    char title[200], name[120];
    size_t n = z->source.texts.n, of_kind = 0, bytes = 0;
    const char *kind_name = z->target.names[0];
    uint32_t kind = 0;
    while (kind < z->source.n_names && strcmp(z->source.names[kind], kind_name) != 0) kind++;
    for (size_t i = 0; i < n; i++)
        if (z->source.label[i] == kind) of_kind++, bytes += z->source.texts.text[i].n;
    if (!of_kind) return cli_error("zip-fit: no source is of the target's kind, '%s'", kind_name);
    double p[WAYS], rate[WAYS][STEPS], needs[WAYS], rho;
    const char *coder = codelen_name(z->coder.options.kind);
    snprintf(title, sizeof title, "%zu sources, %zu of them %s, %zu targets; learner: context mixing (cm)", n, of_kind,
             kind_name, (z->target.texts.n + 1) / 2);
    for (int w = 0; w < WAYS; w++) {
        exp_step(e, "learning");
        p[w] = precision(z, r->order[w], of_kind, kind);
        if (learn(e, z, r->order[w], bytes, rate[w])) return exp_failed(e);
    }
    exp_table(e, title, "order of the sources|top-k precision.3|bits/byte at end.3|bytes to random's.0");
    static const char *const name_of[WAYS] = {"all pairs, ", "targets read once, ", "all pairs, zstd", "the longest",
                                              "at random"};
    for (int w = 0; w < WAYS; w++) {
        needs[w] = bytes_to(rate[w], rate[RANDOM][STEPS - 1], bytes); /* to the rate the random order ends with */
        snprintf(name, sizeof name, "%s%s", name_of[w], w <= PRIMED ? coder : "");
        EXP_ROW(e, name, p[w], rate[w][STEPS - 1], needs[w]);
    }
    if (distance_spearman(e->ctx, r->score[FULL], r->score[PRIMED], n, &rho)) return exp_failed(e);
    exp_claim(e, p[FULL_ZSTD] > 0.9, "of the top %zu by zstd %.1f %% are %s (%s: %.1f %%), whose share is %.1f %%",
              of_kind, 100 * p[FULL_ZSTD], kind_name, coder, 100 * p[FULL], 100.0 * (double)of_kind / (double)n);
    exp_claim(e, rho > 0.9, "both scores by %s order alike, Spearman %.3f, at 1/%zu of the codes (precision %.3f)",
              coder, rho, (z->target.texts.n + 1) / 2, p[PRIMED]);
    exp_claim(
        e, needs[FULL_ZSTD] < needs[RANDOM] && !(needs[LONGEST] <= needs[FULL_ZSTD]),
        "the learner, context mixing in place of a small network, needs %.1f %% fewer bytes than in random order for "
        "the same rate",
        100 * (1 - needs[FULL_ZSTD] / needs[RANDOM]));
    return CLI_OK;
}

static int zip_fit_run(experiment *e, void *own) {
    zip_fit *z = own;
    if (!z->coder.coder && !z->coder.model) z->coder.coder = "cm-large";
    int result = coder_open(e->ctx, &e->o, "zip-fit", &z->coder);
    if (result == CLI_OK) result = inputs(e, z);
    if (result == CLI_OK) {
        keep_some(&z->source, (size_t)z->limit);
        keep_some(&z->target, (size_t)z->limit);
        size_t n = z->source.texts.n;
        double *scores = calloc(n, WAYS * sizeof *scores);
        size_t *order = calloc(n, WAYS * sizeof *order);
        orders r = {{NULL}, {NULL}};
        for (int w = 0; w < WAYS && scores && order; w++)
            r.score[w] = scores + (size_t)w * n, r.order[w] = order + (size_t)w * n;
        result = scores && order && z->target.texts.n > 1 ? measure(e, z, &r)
                                                          : cli_error("zip-fit: no memory, or only one target");
        free(scores);
        free(order);
    }
    labelled_free(e, &z->source);
    labelled_free(e, &z->target);
    coder_close(e->ctx, &z->coder);
    return result;
}

int bench_zip_fit(int argc, char **argv) {
    zip_fit z = {.limit = 60};
    const lm_option extra[] = {{"limit", 0, LM_NUMBER, &z.limit, 2, 1 << 20}, CODER_OPTIONS(z.coder)};
    return exp_main(argc, argv, zip_fit_help, extra, PITH_COUNT(extra), 1, zip_fit_run, &z);
}
