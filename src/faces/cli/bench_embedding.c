/* pith bench embedding: ways to make tables of embeddings smaller, side by side at the same memory (Experimental
 * Analysis of Large-scale Learnable Vector Storage Compression, H. Zhang et al. 2023, which compares fourteen). */
#include "faces/cli/bench_embedding.h"

#include <math.h>
#include <string.h>

#include "artefacts/artefacts.h"
#include "faces/cli/bench_budget.h"
#include "math/dense/dense.h"

static const char embedding_help[] =
    "Usage: pith bench embedding [OPTIONS]\n\n"
    "Codes the table of token embeddings of a model, and that of a factorisation machine trained on a made log of\n"
    "clicks, in a 2nd to a 64th of their memory as 32-bit floats: fewer bits, codebooks, fewer dimensions, pruning,\n"
    "rows shared by hashes, and some of them by how often rows occur. Says what it does to the model (divergence of\n"
    "answers, nearest neighbours of rows) and to the ranking of clicks (AUC), and what smaller tables do that are\n"
    "trained so from the start; then which way is best at each size.\n\n"
    "      --budgets=LIST  parts of the memory (default 2,4,8,16,32,64)\n"
    "      --only=WHICH    model or clicks (default both)\n"
    "      --train=N       clicks to learn from (default 120000); --test=N to judge by (default 40000)\n"
    "      --epochs=N      over them (default 3); --seed=N (default 1)\n" BUDGET_BENCH_HELP "(--chunks is 5 here.)\n"
    "\nExamples:\n"
    "  pith bench embedding\n"
    "  pith bench embedding --only=model --model=stories15M.gguf --budgets=4,16\n";

enum { BUDGETS = 6, NEIGHBOURS = 10, QUERIES = 256 };
enum { MODEL, CODED, TRAINED, TABLES };

typedef struct embedding_bench {
    budget_bench b;
    const char *budget_list, *only;
    uint64_t train, test, epochs, seed;
    unsigned budget[BUDGETS], n_budgets;
    double score[TABLES][EMBEDDING_METHODS][BUDGETS]; /* KL, or AUC; NAN: none so small */
    double bytes[TABLES][EMBEDDING_METHODS][BUDGETS];
    double recall[EMBEDDING_METHODS][BUDGETS];
    double raw[TABLES], whole_auc; /* bytes as floats */
    bool ran[TABLES];
} embedding_bench;

static int read_budgets(embedding_bench *t) {
    const char *p = t->budget_list ? t->budget_list : "2,4,8,16,32,64";
    for (t->n_budgets = 0; *p && t->n_budgets < BUDGETS; t->n_budgets++) {
        char *end;
        unsigned long n = strtoul(p, &end, 10);
        if (end == p || n < 2 || n > 256 || (*end && *end != ','))
            return cli_error("embedding: --budgets is a list such as 4,16");
        t->budget[t->n_budgets] = (unsigned)n;
        p = end + (*end == ',');
    }
    if (!*p && t->n_budgets) return CLI_OK;
    return cli_error("embedding: --budgets takes 1 to %d numbers", BUDGETS);
}

/* ---- the table of a language model ---- */

/* The NEIGHBOURS rows nearest to each query by cosine, itself left out: near[QUERIES][NEIGHBOURS]. */
static pith_status neighbours(pith_ctx *ctx, const float *table, size_t rows, size_t cols, uint32_t *near) {
    float *unit = pith_alloc(ctx, rows * cols * sizeof *unit), *dot = pith_alloc(ctx, QUERIES * rows * sizeof *dot);
    pith_status status = unit && dot ? PITH_OK : pith_alloc_status(ctx);
    size_t step = rows / QUERIES;
    for (size_t i = 0; i < rows && !status; i++) {
        double sum = 0;
        for (size_t d = 0; d < cols; d++) sum += (double)table[i * cols + d] * (double)table[i * cols + d];
        float f = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
        for (size_t d = 0; d < cols; d++) unit[i * cols + d] = f * table[i * cols + d];
    }
    if (!status) dense_gemm(false, true, QUERIES, rows, cols, 1, unit, step * cols, unit, cols, 0, dot, rows);
    for (size_t q = 0; q < QUERIES && !status; q++) {
        float *s = dot + q * rows;
        s[q * step] = -2;
        for (size_t k = 0; k < NEIGHBOURS; k++) {
            size_t best = 0;
            for (size_t i = 1; i < rows; i++)
                if (s[i] > s[best]) best = i;
            near[q * NEIGHBOURS + k] = (uint32_t)best;
            s[best] = -2;
        }
    }
    pith_free(ctx, unit);
    pith_free(ctx, dot);
    return status;
}

static double shared(const uint32_t *a, const uint32_t *b) {
    size_t n = 0;
    for (size_t q = 0; q < QUERIES; q++)
        for (size_t i = 0; i < NEIGHBOURS; i++)
            for (size_t k = 0; k < NEIGHBOURS; k++) n += a[q * NEIGHBOURS + i] == b[q * NEIGHBOURS + k];
    return (double)n / (QUERIES * NEIGHBOURS);
}

typedef struct model_table {
    size_t tensor, rows, cols;
    float *w, *restored;
    const float *counts;
    uint32_t near[QUERIES * NEIGHBOURS], found[QUERIES * NEIGHBOURS];
} model_table;

static int open_table(experiment *e, embedding_bench *t, model_table *m) {
    const tensor_view *v = tensor_find(t->b.base, "token_embd.weight");
    if (!v || v->n_dims != 2 || !model_overlay_takes(v))
        return cli_error("embedding: the model has no token_embd.weight");
    m->tensor = (size_t)(v - t->b.base->tensors);
    m->cols = (size_t)v->ne[0];
    m->rows = (size_t)v->ne[1];
    if (m->rows < QUERIES || m->cols < 2) return cli_error("embedding: a table of %zu rows is too small", m->rows);
    size_t n = m->rows * m->cols;
    m->w = pith_alloc(e->ctx, n * sizeof *m->w);
    m->restored = pith_alloc(e->ctx, n * sizeof *m->restored);
    repr_stats stats;
    pith_status status = m->w && m->restored ? PITH_OK : pith_alloc_status(e->ctx);
    if (!status) blocks_decode(v->type, v->data, m->w, n);
    if (!status) status = model_stats_find(e->ctx, t->b.stats, "token_embd.weight", 0, m->cols, &stats);
    if (!status) m->counts = stats.n_outputs == m->rows ? stats.outputs : NULL;
    if (!status) status = neighbours(e->ctx, m->w, m->rows, m->cols, m->near);
    if (status) return exp_failed(e);
    t->raw[MODEL] = 4 * (double)n;
    exp_note(e, "token_embd.weight: %zu rows of %zu numbers, %.0f bytes as 32-bit floats%s", m->rows, m->cols,
             t->raw[MODEL], m->counts ? "" : "; no counts of tokens");
    return CLI_OK;
}

static int try_model(experiment *e, embedding_bench *t, model_table *m, unsigned method, unsigned k) {
    repr_matrix w = {m->w, m->rows, m->cols};
    uint64_t bytes;
    size_t n = m->rows * m->cols;
    double kl;
    if (embedding_code(e->ctx, method, 32.0 / t->budget[k], &w, m->counts, m->restored, &bytes) != PITH_OK)
        return exp_failed(e);
    if (!bytes) return CLI_OK;
    if (model_overlay_put(e->ctx, t->b.overlay, m->tensor, 0, m->restored, n) != PITH_OK ||
        neighbours(e->ctx, m->restored, m->rows, m->cols, m->found) != PITH_OK)
        return exp_failed(e);
    int result = budget_bench_kl(e, &t->b, t->b.judge, &kl);
    t->score[MODEL][method][k] = kl;
    t->bytes[MODEL][method][k] = (double)bytes;
    t->recall[method][k] = shared(m->near, m->found);
    return result;
}

static int model_part(experiment *e, embedding_bench *t) {
    model_table *m = pith_zalloc(e->ctx, sizeof *m);
    int result = m ? budget_bench_open(e, &t->b, false) : exp_failed(e);
    if (result == CLI_OK) result = open_table(e, t, m);
    for (unsigned i = 0; i < EMBEDDING_METHODS && result == CLI_OK; i++)
        for (unsigned k = 0; k < t->n_budgets && result == CLI_OK; k++) {
            exp_step(e, embedding_methods[i].name);
            result = try_model(e, t, m, i, k);
        }
    if (m) {
        pith_free(e->ctx, m->w);
        pith_free(e->ctx, m->restored);
        pith_free(e->ctx, m);
    }
    budget_bench_close(e, &t->b);
    return result;
}

/* ---- the table of a click model ---- */

static int try_clicks(experiment *e, embedding_bench *t, const clicks *c, float *restored, unsigned method,
                      unsigned k) {
    repr_matrix w = {(float *)(uintptr_t)clicks_table(c), clicks_rows(c), CLICK_COLUMNS};
    uint64_t bytes;
    double auc = NAN;
    pith_status status = embedding_code(e->ctx, method, 32.0 / t->budget[k], &w, clicks_counts(c), restored, &bytes);
    if (!status && bytes) status = clicks_auc(c, restored, &auc);
    if (!status && bytes) t->score[CODED][method][k] = auc, t->bytes[CODED][method][k] = (double)bytes;
    if (!status && method < CLICKS_WAYS) {
        status = clicks_train(c, (click_sharing)method, 32.0 / t->budget[k], &bytes, &auc);
        if (!status && bytes) t->score[TRAINED][method][k] = auc, t->bytes[TRAINED][method][k] = (double)bytes;
    }
    return status ? exp_failed(e) : CLI_OK;
}

static int clicks_part(experiment *e, embedding_bench *t) {
    clicks *c;
    exp_step(e, "learning clicks");
    pith_status status = clicks_new(e->ctx, t->seed, (size_t)t->train, (size_t)t->test, (unsigned)t->epochs, &c);
    float *restored = status ? NULL : pith_alloc(e->ctx, clicks_rows(c) * CLICK_COLUMNS * sizeof *restored);
    if (!status && !restored) status = pith_alloc_status(e->ctx);
    if (!status) status = clicks_auc(c, clicks_table(c), &t->whole_auc);
    int result = status ? exp_failed(e) : CLI_OK;
    if (result == CLI_OK) {
        t->raw[CODED] = t->raw[TRAINED] = 4.0 * (double)clicks_rows(c) * CLICK_COLUMNS;
        exp_note(e, "clicks: %zu rows of %d numbers, %.0f bytes as 32-bit floats; AUC with all of them %.4f",
                 clicks_rows(c), CLICK_COLUMNS, t->raw[CODED], t->whole_auc);
    }
    for (unsigned i = 0; i < EMBEDDING_METHODS && result == CLI_OK; i++)
        for (unsigned k = 0; k < t->n_budgets && result == CLI_OK; k++) {
            exp_step(e, embedding_methods[i].name);
            result = try_clicks(e, t, c, restored, i, k);
        }
    pith_free(e->ctx, restored);
    clicks_free(c);
    return result;
}

/* ---- what they say ---- */

static const char *name_of(unsigned table, unsigned method) {
    return table == TRAINED ? click_sharing_names[method] : embedding_methods[method].name;
}

static unsigned methods_of(unsigned table) { return table == TRAINED ? CLICKS_WAYS : EMBEDDING_METHODS; }

static void one_table(experiment *e, const embedding_bench *t, const char *title, unsigned table,
                      const double (*v)[BUDGETS], unsigned decimals) {
    char columns[160] = "way";
    for (unsigned k = 0; k < t->n_budgets; k++) {
        size_t used = strlen(columns);
        snprintf(columns + used, sizeof columns - used, "|/%u.%u", t->budget[k], decimals);
    }
    exp_table(e, title, columns);
    for (unsigned i = 0; i < methods_of(table); i++) exp_row(e, name_of(table, i), v[i]);
}

/* The best way at a budget; EMBEDDING_METHODS when there is none. */
static unsigned best_of(const embedding_bench *t, unsigned table, unsigned k) {
    unsigned best = EMBEDDING_METHODS;
    for (unsigned i = 0; i < methods_of(table); i++) {
        double s = t->score[table][i][k];
        if (isnan(s)) continue;
        if (best == EMBEDDING_METHODS || (table == MODEL ? s < t->score[table][best][k] : s > t->score[table][best][k]))
            best = i;
    }
    return best;
}

/* Whether ways that are told how often rows occur do better than their twins that are not, at a budget. */
static void count_twins(const embedding_bench *t, unsigned table, unsigned k, unsigned *better, unsigned *pairs) {
    for (unsigned i = 0; i < EMBEDDING_METHODS; i++)
        for (unsigned j = 0; embedding_methods[i].twin && j < EMBEDDING_METHODS; j++) {
            double a = t->score[table][i][k], b = t->score[table][j][k];
            if (strcmp(embedding_methods[j].name, embedding_methods[i].twin) != 0 || isnan(a) || isnan(b)) continue;
            ++*pairs;
            *better += table == MODEL ? a < b : a > b;
        }
}

static void claims(experiment *e, const embedding_bench *t) {
    unsigned best[TABLES][BUDGETS], different = 0, seen[EMBEDDING_METHODS + CLICKS_WAYS] = {0};
    for (unsigned k = 0; k < t->n_budgets; k++) {
        char text[300];
        int n = snprintf(text, sizeof text, "/%-3u", t->budget[k]);
        for (unsigned table = 0; table < TABLES; table++) {
            unsigned i = best[table][k] = best_of(t, table, k);
            if (i == EMBEDDING_METHODS) continue;
            n += snprintf(text + n, sizeof text - (size_t)n, " %s: %s (%s %.4f)%s",
                          table == MODEL   ? "model"
                          : table == CODED ? "clicks"
                                           : "trained small",
                          name_of(table, i), table == MODEL ? "KL" : "AUC", t->score[table][i][k],
                          table + 1 < TABLES ? ";" : "");
            if (t->budget[k] > 2) different += !seen[table == TRAINED ? EMBEDDING_METHODS + i : i]++;
        }
        exp_note(e, "%s", text);
    }
    exp_claim(e, different > 1, "no one way is best everywhere: %u are, somewhere past /2", different);
    for (unsigned table = MODEL; table <= CODED; table++) {
        unsigned better = 0, pairs = 0;
        for (unsigned k = 0; k < t->n_budgets; k++)
            if (t->budget[k] == 8 || t->budget[k] == 16) count_twins(t, table, k, &better, &pairs);
        if (pairs)
            exp_claim(e, 2 * better > pairs, "%s: told how often rows occur, ways do better at /8 and /16: %u of %u",
                      table == MODEL ? "model" : "clicks", better, pairs);
    }
    for (unsigned k = 0; k < t->n_budgets; k++) {
        unsigned a = best[CODED][k], b = best[TRAINED][k];
        if (t->budget[k] != 16 || a == EMBEDDING_METHODS || b == EMBEDDING_METHODS) continue;
        double coded = t->score[CODED][a][k], trained = t->score[TRAINED][b][k];
        exp_claim(e, coded > trained,
                  "clicks at /16: the whole table trained, then coded, is better than a small one trained: "
                  "AUC %.4f, %.4f (whole %.4f)",
                  coded, trained, t->whole_auc);
    }
}

static int embedding_run(experiment *e, void *own) {
    embedding_bench *t = own;
    for (unsigned i = 0; i < TABLES * EMBEDDING_METHODS * BUDGETS; i++)
        (&t->score[0][0][0])[i] = (&t->bytes[0][0][0])[i] = NAN;
    for (unsigned i = 0; i < EMBEDDING_METHODS * BUDGETS; i++) (&t->recall[0][0])[i] = NAN;
    int result = read_budgets(t);
    bool model = !t->only || strcmp(t->only, "model") == 0, click = !t->only || strcmp(t->only, "clicks") == 0;
    if (result == CLI_OK && !model && !click) return cli_error("embedding: --only is model or clicks");
    artefacts_register();
    if (result == CLI_OK && model) result = model_part(e, t);
    if (result == CLI_OK && click) result = clicks_part(e, t);
    if (result == CLI_OK && model) {
        one_table(e, t, "Token embeddings: divergence of the model's answers, nats", MODEL, t->score[MODEL], 5);
        one_table(e, t, "The part of rows' 10 nearest that stay so", MODEL, t->recall, 3);
        one_table(e, t, "Bytes", MODEL, t->bytes[MODEL], 0);
    }
    if (result == CLI_OK && click) {
        one_table(e, t, "Clicks, the table trained whole: AUC", CODED, t->score[CODED], 4);
        one_table(e, t, "Bytes", CODED, t->bytes[CODED], 0);
        one_table(e, t, "Clicks, a smaller table trained: AUC", TRAINED, t->score[TRAINED], 4);
        one_table(e, t, "Bytes", TRAINED, t->bytes[TRAINED], 0);
    }
    if (result == CLI_OK) claims(e, t);
    return result;
}

int bench_embedding(int argc, char **argv) {
    static embedding_bench t = {
        .b = {.bytes = 49152, .chunks = 5}, .train = 120000, .test = 40000, .epochs = 3, .seed = 1};
    const lm_option extra[] = {BUDGET_BENCH_OPTIONS(t.b),
                               {"budgets", 0, LM_TEXT, &t.budget_list, 0, 0},
                               {"only", 0, LM_TEXT, &t.only, 0, 0},
                               {"train", 0, LM_NUMBER, &t.train, 1000, 1 << 26},
                               {"test", 0, LM_NUMBER, &t.test, 1000, 1 << 26},
                               {"epochs", 0, LM_NUMBER, &t.epochs, 1, 100},
                               {"seed", 0, LM_NUMBER, &t.seed, 0, UINT64_MAX}};
    return exp_main(argc, argv, embedding_help, extra, PITH_COUNT(extra), 0, embedding_run, &t);
}
