/* pith bench few-shot: texts classified by the length of their codes (C. Huang et al., Approximating human-like
 * few-shot learning with GPT-based compression, 2023): distances by a classic compressor, by context mixing and by
 * a language model, each to the same labelled texts. */
#include <math.h>
#include <string.h>

#include "faces/cli/bench_predict.h"

static const char few_shot_help[] =
    "Usage: pith bench few-shot [OPTIONS]\n\n"
    "Classifies texts by code length: the label of the nearest of some labelled texts (NCD for zstd and lzma,\n"
    "max of the conditional lengths for context mixing and language model), and the label of the class\n"
    "whose texts, read first, make the code shortest. Then rank correlation of distance with graded pairs.\n\n"
    "      --train=F --test=F  lines of class TAB text (bench/make-topics.sh makes such; default: passages\n"
    "                      of four files of tests/data, first halves against second halves)\n"
    "      --count=N       texts of each class to label (default 15)\n"
    "      --shots=N       labelled texts of each class (default 5)\n"
    "      --pairs=F       lines of score TAB text TAB text, higher scores for more alike (default: made\n"
    "                      from the passages by exchanging a part of the words)\n"
    "      --model=FILE    the language model (default: the built-in pith-mini)\n"
    "      --ctx=N         its tokens of context\n" EXP_HELP "\nExamples:\n"
    "  pith bench few-shot\n"
    "  pith bench few-shot --train=topics/sections.train.tsv --test=topics/sections.test.tsv\n";

typedef struct few_shot {
    const char *train, *test, *pairs;
    uint64_t count, shots;
    coder_choice lm;
} few_shot;

/* The first n texts of each class. */
static size_t first_of_class(const labelled *l, size_t n, distance_text *text, uint32_t *label) {
    size_t count[EXP_LABELS] = {0}, m = 0;
    for (size_t i = 0; i < l->texts.n; i++) {
        if (count[l->label[i]]++ >= n) continue;
        text[m] = l->texts.text[i];
        label[m++] = l->label[i];
    }
    return m;
}

typedef struct trial {
    const distance_text *train, *test;
    const uint32_t *train_label, *test_label;
    size_t n_train, n_test;
    uint32_t n_labels;
} trial;

/* Share of right labels by the nearest of the labelled texts. */
static pith_status by_nearest(experiment *e, const trial *t, const codelen_options *o, distance_kind kind,
                              double *right) {
    double *d = malloc(t->n_test * t->n_train * sizeof *d);
    size_t n = 0;
    if (!d) return pith_fail(e->ctx, PITH_E_MEMORY, "no memory for %zu by %zu distances", t->n_test, t->n_train);
    pith_status status = distance_matrix(e->ctx, o, kind, t->test, t->n_test, t->train, t->n_train, d);
    for (size_t i = 0; i < t->n_test && !status; i++) {
        uint32_t label;
        status = distance_vote(e->ctx, d + i * t->n_train, t->train_label, t->n_train, 1, t->n_labels, &label);
        n += label == t->test_label[i];
    }
    *right = (double)n / (double)t->n_test;
    free(d);
    return status;
}

/* Share of right labels by the class whose texts make the text cheapest. */
static pith_status by_class(experiment *e, const trial *t, const codelen_options *o, double *right) {
    pith_buffer of_class[EXP_LABELS] = {{0}};
    distance_text prior[EXP_LABELS];
    pith_status status = PITH_OK;
    double *bits = malloc(t->n_labels * t->n_test * sizeof *bits);
    size_t n = 0;
    if (!bits) return pith_fail(e->ctx, PITH_E_MEMORY, "no memory for the lengths");
    for (size_t i = 0; i < t->n_train && !status; i++) {
        pith_buffer *b = &of_class[t->train_label[i]];
        status = pith_buffer_append(e->ctx, b, t->train[i].data, t->train[i].n);
        if (!status) status = pith_buffer_append(e->ctx, b, "\n", 1);
    }
    for (uint32_t k = 0; k < t->n_labels; k++) prior[k] = (distance_text){of_class[k].data, of_class[k].size};
    if (!status) status = distance_lengths(e->ctx, o, prior, t->n_labels, t->test, t->n_test, bits);
    for (size_t i = 0; i < t->n_test && !status; i++) {
        uint32_t best = 0;
        for (uint32_t k = 1; k < t->n_labels; k++)
            if (bits[k * t->n_test + i] < bits[best * t->n_test + i]) best = k;
        n += best == t->test_label[i];
    }
    *right = (double)n / (double)t->n_test;
    for (uint32_t k = 0; k < t->n_labels; k++) pith_buffer_free(e->ctx, &of_class[k]);
    free(bits);
    return status;
}

/* ---- graded pairs ---- */

typedef struct graded {
    text_list a, b;
    double *score;
} graded;

static int graded_add(experiment *e, graded *g, double score, const void *a, size_t a_n, const void *b, size_t b_n) {
    double *grown = realloc(g->score, (g->a.n + 1) * sizeof *grown);
    if (!grown) return cli_error("out of memory");
    g->score = grown;
    grown[g->a.n] = score;
    return texts_add_bytes(e->ctx, &g->a, "", a, a_n) == CLI_OK ? texts_add_bytes(e->ctx, &g->b, "", b, b_n) : CLI_FAIL;
}

/* The words of `of`, all but the first `keep` in 6 of each six exchanged for those of `with`. */
static size_t mixed(const distance_text *of, const distance_text *with, unsigned keep, char *out, size_t size) {
    size_t n = 0, i = 0, j = 0;
    for (unsigned word = 0; i < of->n && n + 100 < size; word++) {
        size_t i_end = i, j_end = j;
        while (i_end < of->n && of->data[i_end] != ' ') i_end++;
        while (j_end < with->n && with->data[j_end] != ' ') j_end++;
        bool own = word % 6 < keep || j >= with->n;
        const uint8_t *from = own ? of->data + i : with->data + j;
        size_t length = PITH_MIN(own ? i_end - i : j_end - j, (size_t)80);
        memcpy(out + n, from, length);
        n += length;
        out[n++] = ' ';
        i = i_end + 1;
        j = j_end + 1;
    }
    return n ? n - 1 : 0;
}

static int make_pairs(experiment *e, const trial *t, graded *g) {
    int result = CLI_OK;
    size_t n = PITH_MIN(t->n_test, (size_t)60);
    for (size_t i = 0; i < n && result == CLI_OK; i++) {
        char text[2048];
        unsigned keep = (unsigned)(i % 7);
        const distance_text *a = &t->test[i * t->n_test / n], *other = &t->test[(i * t->n_test / n + 7) % t->n_test];
        size_t m = mixed(a, other, keep, text, sizeof text);
        result = graded_add(e, g, keep, a->data, a->n, text, m);
    }
    return result;
}

static int read_pairs(experiment *e, const char *path, graded *g) {
    text_list lines = {0};
    int result = texts_add(e->ctx, &lines, path, true);
    for (size_t i = 0; i < lines.n && result == CLI_OK; i++) {
        const distance_text *t = &lines.text[i];
        const uint8_t *end = t->data + t->n, *one = memchr(t->data, '\t', t->n);
        const uint8_t *two = one ? memchr(one + 1, '\t', (size_t)(end - one - 1)) : NULL;
        char number[32], *stop = NULL;
        size_t digits = one ? (size_t)(one - t->data) : 0;
        if (two && digits && digits < sizeof number) {
            memcpy(number, t->data, digits);
            number[digits] = 0;
            double score = strtod(number, &stop);
            if (!*stop && isfinite(score))
                result = graded_add(e, g, score, one + 1, (size_t)(two - one - 1), two + 1, (size_t)(end - two - 1));
        }
        if (!stop || *stop) result = cli_error("%s: no line of the form score TAB text TAB text", lines.label[i]);
    }
    texts_free(e->ctx, &lines);
    return result;
}

static pith_status correlation(experiment *e, const graded *g, const codelen_options *o, distance_kind kind,
                               double *rho) {
    double *near = malloc((g->a.n + 1) * sizeof *near);
    if (!near) return pith_fail(e->ctx, PITH_E_MEMORY, "no memory for distances");
    pith_status status = PITH_OK;
    for (size_t i = 0; i < g->a.n && !status; i++) {
        status = distance_matrix(e->ctx, o, kind, &g->a.text[i], 1, &g->b.text[i], 1, &near[i]);
        near[i] = -near[i];
    }
    if (!status) status = distance_spearman(e->ctx, near, g->score, g->a.n, rho);
    free(near);
    return status;
}

/* ---- the whole ---- */

static int inputs(experiment *e, const few_shot *f, labelled *train, labelled *test) {
    static const char *const files[][2] = {{"story", "tests/data/alice29.txt"},
                                           {"play", "tests/data/asyoulik.txt"},
                                           {"report", "tests/data/lcet10.txt"},
                                           {"page", "tests/data/html"}};
    if (!f->train != !f->test) return cli_error("few-shot: --train and --test go together");
    if (f->train) {
        int result = labelled_read(e, train, f->train);
        /* the same numbers for the same names on both sides */
        for (uint32_t k = 0; k < train->n_names && result == CLI_OK; k++) {
            result = labelled_add(e, test, train->names[k], "", 0);
            if (result == CLI_OK) texts_free(e->ctx, &test->texts);
        }
        if (result == CLI_OK) result = labelled_read(e, test, f->test);
        if (result == CLI_OK && test->n_names > train->n_names)
            return cli_error("%s: class '%s' is not in the training file", f->test, test->names[train->n_names]);
        return result;
    }
    int result = CLI_OK;
    for (size_t k = 0; k < PITH_COUNT(files) && result == CLI_OK; k++)
        for (int half = 0; half < 2 && result == CLI_OK; half++) {
            pith_buffer text = {0};
            text_list parts = {0};
            result = exp_read(e, NULL, files[k][1], 0, &text);
            if (result == CLI_OK) result = exp_passages(e, &text, half / 2.0, half / 2.0 + 0.5, 50, 300, &parts);
            for (size_t i = 0; i < parts.n && result == CLI_OK; i++)
                result = labelled_add(e, half ? test : train, files[k][0], parts.text[i].data, parts.text[i].n);
            texts_free(e->ctx, &parts);
            pith_buffer_free(e->ctx, &text);
        }
    return result;
}

static int measure(experiment *e, const few_shot *f, const trial *t, const graded *g) {
    struct {
        const char *name;
        codelen_options o;
        distance_kind kind;
        double nearest, prior, rho;
    } way[] = {{"zstd, NCD", {.kind = CODELEN_ZSTD}, DISTANCE_NCD, 0, 0, 0},
               {"lzma, NCD", {.kind = CODELEN_LZMA}, DISTANCE_NCD, 0, 0, 0},
               {"context mixing, conditional", {.kind = CODELEN_CM_LARGE}, DISTANCE_MAX, 0, 0, 0},
               {"language model, conditional", f->lm.options, DISTANCE_MAX, 0, 0, 0}};
    char title[160];
    snprintf(title, sizeof title, "%u classes, %zu labelled texts, %zu to label; share of right labels", t->n_labels,
             t->n_train, t->n_test);
    exp_table(e, title, "code lengths by|nearest.3|class read.3|pairs rho.3");
    for (size_t i = 0; i < PITH_COUNT(way); i++) {
        exp_step(e, way[i].name);
        if (by_nearest(e, t, &way[i].o, way[i].kind, &way[i].nearest) || by_class(e, t, &way[i].o, &way[i].prior) ||
            correlation(e, g, &way[i].o, way[i].kind, &way[i].rho))
            return exp_failed(e);
        EXP_ROW(e, way[i].name, way[i].nearest, way[i].prior, way[i].rho);
    }
    double classic = PITH_MAX(way[0].nearest, way[1].nearest);
    exp_claim(e, way[2].nearest >= classic, "nearest by context mixing %.3f, by the better classic coder %.3f",
              way[2].nearest, classic);
    exp_claim(e, PITH_MAX(way[3].nearest, way[3].prior) >= PITH_MAX(way[2].nearest, way[2].prior),
              "language model at its best %.3f, context mixing at its best %.3f",
              PITH_MAX(way[3].nearest, way[3].prior), PITH_MAX(way[2].nearest, way[2].prior));
    exp_claim(e, way[2].rho > 0 && way[3].rho > 0, "rank correlation with %s is positive: %.3f and %.3f",
              f->pairs ? "the graded pairs" : "pairs made by exchanging words, not judged by people,", way[2].rho,
              way[3].rho);
    return CLI_OK;
}

static int few_shot_run(experiment *e, void *own) {
    few_shot *f = own;
    labelled train = {0}, test = {0};
    graded g = {0};
    trial t = {0};
    distance_text *text = NULL;
    uint32_t *label = NULL;
    if (!f->lm.coder) f->lm.coder = "lm";
    int result = coder_open(e->ctx, &e->o, "few-shot", &f->lm);
    if (result == CLI_OK) result = inputs(e, f, &train, &test);
    if (result == CLI_OK) {
        size_t n = train.texts.n + test.texts.n;
        text = malloc(n * sizeof *text);
        label = malloc(n * sizeof *label);
        if (!text || !label) result = cli_error("out of memory");
    }
    if (result == CLI_OK) {
        t = (trial){.train = text, .train_label = label, .n_labels = train.n_names};
        t.n_train = first_of_class(&train, (size_t)f->shots, text, label);
        t.test = text + t.n_train, t.test_label = label + t.n_train;
        t.n_test = first_of_class(&test, (size_t)f->count, text + t.n_train, label + t.n_train);
        result = f->pairs ? read_pairs(e, f->pairs, &g) : make_pairs(e, &t, &g);
    }
    if (result == CLI_OK) result = measure(e, f, &t, &g);
    free(text);
    free(label);
    texts_free(e->ctx, &g.a);
    texts_free(e->ctx, &g.b);
    free(g.score);
    labelled_free(e, &train);
    labelled_free(e, &test);
    coder_close(e->ctx, &f->lm);
    return result;
}

int bench_few_shot(int argc, char **argv) {
    few_shot f = {.count = 15, .shots = 5};
    const lm_option extra[] = {
        {"train", 0, LM_TEXT, &f.train, 0, 0},         {"test", 0, LM_TEXT, &f.test, 0, 0},
        {"pairs", 0, LM_TEXT, &f.pairs, 0, 0},         {"count", 'n', LM_NUMBER, &f.count, 1, 1 << 20},
        {"shots", 0, LM_NUMBER, &f.shots, 1, 1 << 20}, {"model", 0, LM_TEXT, &f.lm.model, 0, 0}};
    return exp_main(argc, argv, few_shot_help, extra, PITH_COUNT(extra), 0, few_shot_run, &f);
}
