/* pith bench runtime: does a model of running time, fitted on ten requests, predict thirty others,
 * and does it rank models the same when the machine is busy, as wall time does not? (Idealised
 * runtime: D. Narayanan et al., 2023.) */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "faces/cli/bench_lm.h"
#include "lm/ruler/ruler.h"

static const char runtime_help[] =
    "Usage: pith bench runtime [OPTIONS]\n\n"
    "For the model in several types of weights, one thread: times 40 requests in processor seconds\n"
    "(each the best of --repeats), fits the running time on 10 of them, predicts the 30 others. Then\n"
    "measures again while busy threads run beside the fastest model, and compares the order of the\n"
    "models by idealised time (what the fit gives for the 30 requests) and by wall time. The fit has\n"
    "four terms: a start, tokens read, tokens generated, and the positions of both, for attention;\n"
    "the published one, with prefill in three straight pieces, is shown beside it.\n\n"
    "      --types=LIST    types besides the model's own (default q8_0,q2_K)\n"
    "      --repeats=N     runs of each request (default 3)\n"
    "      --load=N        busy threads (default: twice the processors)\n" LM_COMMON_HELP;

#define N_FIT 10
#define N_CHECK 30
#define N_ALL (N_FIT + N_CHECK)
#define MAX_MODELS 8

typedef struct runtime_row {
    const char *name;
    ruler_runtime fit[2];            /* quiet, busy */
    ruler_runtime_error error, pieces; /* quiet; pieces: the model of the paper, prefill in straight pieces */
    double ideal[2], raw[2];         /* seconds of the 30 requests, quiet and busy: predicted; wall time */
    bool loaded;
    ruler_timing all[N_ALL];         /* quiet */
} runtime_row;

/* Every fourth request is one to fit on, so that both kinds see the same machine. Prompts run over the range of the
 * context in an order of no pattern, outputs from 1 to 64. */
static bool to_fit(unsigned i) { return i % 4 == 0; }

static void choose_requests(uint32_t most, ruler_timing *all) {
    for (unsigned i = 0; i < N_ALL; i++) {
        unsigned rank = to_fit(i) ? (i / 4 * 7 % N_FIT) * 4 + 1 : i * 11 % N_ALL;
        uint32_t output = to_fit(i) ? 1 + i / 4 * 3 % N_FIT * 7 : 1 + i * 17 % 64;
        all[i] = (ruler_timing){PITH_MAX(most * (rank + 1) / (N_ALL + 1), 16u), output, 0};
    }
}

static void split_requests(const ruler_timing *all, ruler_timing *fit, ruler_timing *check) {
    for (unsigned i = 0, f = 0, c = 0; i < N_ALL; i++) {
        if (to_fit(i))
            fit[f++] = all[i];
        else
            check[c++] = all[i];
    }
}

/* ---- load ---- */

typedef struct load {
    pthread_t threads[64];
    unsigned n;
    atomic_bool stop;
} load;

static void *burn(void *arg) {
    load *l = arg;
    for (volatile uint64_t x = 1; !atomic_load_explicit(&l->stop, memory_order_relaxed);) x = x * 3 + 1;
    return NULL;
}

static void load_start(load *l, unsigned n) {
    l->n = 0;
    atomic_store(&l->stop, false);
    while (l->n < n && l->n < PITH_COUNT(l->threads) && pthread_create(&l->threads[l->n], NULL, burn, l) == 0) l->n++;
}

static void load_stop(load *l) {
    atomic_store(&l->stop, true);
    for (unsigned i = 0; i < l->n; i++) pthread_join(l->threads[i], NULL);
}

/* ---- one model ---- */

static pith_status measure_model(pith_ctx *ctx, const lm_model *m, uint32_t most, unsigned repeats, bool busy,
                                 runtime_row *row) {
    ruler_timing all[N_ALL], fit[N_FIT], check[N_CHECK];
    double wall[N_ALL];
    choose_requests(most, all);
    pith_status status = ruler_runtime_measure(ctx, m, all, N_ALL, repeats, wall);
    if (!busy) memcpy(row->all, all, sizeof all);
    split_requests(all, fit, check);
    if (!status) status = ruler_runtime_fit(ctx, fit, N_FIT, 0, true, &row->fit[busy]);
    if (status) return status;
    row->ideal[busy] = row->raw[busy] = 0;
    for (unsigned i = 0; i < N_CHECK; i++)
        row->ideal[busy] += ruler_runtime_predict(&row->fit[busy], check[i].prompt, check[i].output);
    for (unsigned i = 0; i < N_ALL; i++) row->raw[busy] += to_fit(i) ? 0 : wall[i];
    if (busy) return PITH_OK;
    ruler_runtime pieces;
    status = ruler_runtime_check(ctx, &row->fit[0], check, N_CHECK, &row->error);
    if (!status) status = ruler_runtime_fit(ctx, fit, N_FIT, RULER_KNOTS, false, &pieces);
    return status ? status : ruler_runtime_check(ctx, &pieces, check, N_CHECK, &row->pieces);
}

/* Whether the second run, under load, puts the models in the order of the quiet idealised times. */
static bool same_order(const runtime_row *rows, unsigned n, bool raw) {
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = i + 1; k < n; k++) {
            double a = raw ? rows[i].raw[1] : rows[i].ideal[1], b = raw ? rows[k].raw[1] : rows[k].ideal[1];
            if ((rows[i].ideal[0] < rows[k].ideal[0]) != (a < b)) return false;
        }
    return true;
}

static int report(const lm_options *o, const runtime_row *rows, unsigned n, unsigned n_load) {
    double worst = 0;
    for (unsigned i = 0; i < n; i++) worst = PITH_MAX(worst, rows[i].error.p90);
    bool ideal = same_order(rows, n, false), raw = same_order(rows, n, true);
    if (o->json) {
        json_t *list = json_array();
        for (unsigned i = 0; i < n; i++) {
            const runtime_row *r = &rows[i];
            json_t *requests = json_array();
            for (unsigned k = 0; k < N_ALL; k++)
                json_array_append_new(requests,
                                      json_pack("{s:i,s:i,s:f,s:b}", "prompt", (int)r->all[k].prompt, "output",
                                                (int)r->all[k].output, "seconds", r->all[k].seconds, "fitted", to_fit(k)));
            json_array_append_new(list, json_pack("{s:s,s:b,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:o}", "type", r->name,
                                                  "busy", (int)r->loaded, "prefill_per_token", r->fit[0].prefill,
                                                  "per_generated_token", r->fit[0].per_token, "error_mean",
                                                  r->error.mean, "error_p90", r->error.p90, "error_max", r->error.max,
                                                  "error_mean_in_pieces", r->pieces.mean, "idealised_quiet",
                                                  r->ideal[0], "idealised_busy", r->ideal[1], "wall_quiet", r->raw[0],
                                                  "wall_busy", r->raw[1], "requests", requests));
        }
        return cli_json_print(stdout,
                              json_pack("{s:o,s:i,s:o,s:b,s:b}", "model", cli_json_text(lm_model_label(o->model)),
                                        "load_threads", (int)n_load, "rows", list, "idealised_order_kept", (int)ideal,
                                        "wall_order_kept", (int)raw),
                              JSON_INDENT(1));
    }
    printf("%s, one thread, %d requests fitted, %d predicted; busy: %u threads beside it\n", lm_model_label(o->model),
           N_FIT, N_CHECK, n_load);
    printf("%-8s %22s %22s %23s %21s\n", "", "ms a token      ", "error of prediction   ", "idealised s       ",
           "wall s       ");
    printf("%-8s %11s %10s %7s %7s %7s %11s %11s %10s %10s\n", "type", "prompt", "generated", "mean", "90 %", "worst",
           "quiet", "2nd run", "quiet", "2nd run");
    for (unsigned i = 0; i < n; i++) {
        const runtime_row *r = &rows[i];
        printf("%-8s %11.4f %10.4f %5.1f %% %5.1f %% %5.1f %% %10.3f %11.3f %10.3f %10.3f%s\n", r->name,
               r->fit[0].prefill * 1e3, r->fit[0].per_token * 1e3, r->error.mean * 100, r->error.p90 * 100,
               r->error.max * 100, r->ideal[0], r->ideal[1], r->raw[0], r->raw[1], r->loaded ? " busy" : "");
        printf("%-8s %22s %5.1f %% %5.1f %% %5.1f %%\n", "", "prefill in pieces", r->pieces.mean * 100, r->pieces.p90 * 100,
               r->pieces.max * 100);
    }
    printf("90 %% of the predictions are within %.1f %%: %s the 5 %% that a quiet machine should give\n", worst * 100,
           worst <= 0.05 ? "inside" : "outside");
    printf("in the second run, one model under load, the order by idealised time %s, wall time gives %s order\n",
           ideal ? "stays" : "changes", raw ? "the same" : "another");
    return CLI_OK;
}

static pith_status run_models(pith_ctx *ctx, const lm_options *o, const lm_model *base, const bench_type *types,
                              unsigned n_types, unsigned repeats, unsigned n_load, runtime_row *rows) {
    uint32_t most = o->n_ctx ? o->n_ctx : PITH_MIN(lm_about(base)->n_ctx_train, 960u);
    most = most > 128 ? most - 64 : 64;
    bench_model made[MAX_MODELS] = {0};
    pith_status status = PITH_OK;
    load *l = calloc(1, sizeof *l);
    if (!l) return pith_fail(ctx, PITH_E_MEMORY, "out of memory");
    for (unsigned i = 0; i < n_types && !status; i++) status = bench_model_as(ctx, base, &types[i], &made[i]);
    for (unsigned i = 0; i <= n_types && !status; i++) {
        rows[i].name = i ? types[i - 1].name : "its own";
        status = measure_model(ctx, i ? made[i - 1].model : base, most, repeats, false, &rows[i]);
    }
    /* the fastest is the one that meets the load: others' contention is what wall time blames a model for */
    unsigned fastest = 0;
    for (unsigned i = 1; i <= n_types && !status; i++)
        if (rows[i].ideal[0] < rows[fastest].ideal[0]) fastest = i;
    for (unsigned i = 0; i <= n_types && !status; i++) {
        rows[i].loaded = i == fastest;
        if (rows[i].loaded) load_start(l, n_load);
        status = measure_model(ctx, i ? made[i - 1].model : base, most, repeats, true, &rows[i]);
        if (rows[i].loaded) load_stop(l);
    }
    for (unsigned i = 0; i < n_types; i++) bench_model_close(ctx, &made[i]);
    free(l);
    return status;
}

int bench_runtime(int argc, char **argv) {
    uint64_t repeats = 3, n_load = 2 * pith_cpu_count();
    const char *list = "q8_0,q2_K";
    const lm_option extra[] = {{"types", 0, LM_TEXT, &list, 0, 0},
                               {"repeats", 0, LM_NUMBER, &repeats, 1, 100},
                               {"load", 0, LM_NUMBER, &n_load, 1, 64}};
    bench_type types[MAX_MODELS];
    unsigned n_types = 0;
    runtime_row rows[MAX_MODELS] = {0};
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, extra, sizeof extra / sizeof *extra, 0);
    if (result == CLI_OK && o.help) {
        result = cli_help(runtime_help);
    } else if (result == CLI_OK && (result = bench_types(list, types, MAX_MODELS - 1, &n_types)) == CLI_OK) {
        n_load = PITH_MIN(n_load, 64u);
        pith_ctx *ctx = lm_session_of(&o);
        lm_model *m = NULL;
        lm_progress progress;
        result = ctx ? lm_open_named(ctx, o.model, &m) : CLI_FAIL;
        if (result == CLI_OK) {
            lm_progress_start(&progress, ctx, "runtime", "requests");
            pith_status status = run_models(ctx, &o, m, types, n_types, (unsigned)repeats, (unsigned)n_load, rows);
            lm_progress_clear(&progress, ctx);
            result = status ? lm_failed(ctx, NULL) : report(&o, rows, n_types + 1, (unsigned)n_load);
        }
        if (m) lm_close(ctx, m);
        pith_ctx_free(ctx);
    }
    lm_options_free(&o);
    return cli_finish(result);
}
