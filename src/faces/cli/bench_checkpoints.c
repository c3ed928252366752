/* pith bench checkpoints: a real training run's checkpoints, weights and Adam's moments, coded against the checkpoint
 * before; and what training goes on like from a decoded one. */
#include "faces/cli/bench_checkpoints.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <zstd.h>

#include "artefacts/artefacts.h"
#include "kernels/represent/represent.h"

static const char checkpoints_help[] =
    "Usage: pith bench checkpoints [OPTIONS] [FILE...]\n\n"
    "Trains the last matrix of a language model on FILEs (default tests/data/lcet10.txt) and takes a checkpoint every\n"
    "few steps: the matrix and both of Adam's moments. Sizes: exact, by zstd and against the checkpoint before; and as\n"
    "codes of four bits (ExCP: changes against what was decoded before, pruned together with the moments, 15 levels and\n"
    "zero), which are packed without and with the codes before as context. Then training goes on from the last\n"
    "checkpoint as it was and as decoded, beside other orders of the batches.\n\n"
    "      --steps=N       of training (default 500)\n"
    "      --every=N       steps between checkpoints (default 50)\n"
    "      --after=N       steps from the last checkpoint on (default 100)\n"
    "      --rate=X        size of a step, relative to the matrix (default 0.003)\n"
    "      --keep=X        share of the weights' changes that are kept (default 0.3)\n"
    "      --least=X       least mean that is kept, in averages (default 2)\n"
    "      --bytes=N       of each FILE at most (default 400000)\n"
    "      --model=FILE    the language model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench checkpoints\n"
    "  pith bench checkpoints --every=10 --keep=0.1 book.txt\n";

enum { RAW, ZSTD_3, DELTA, CODES_ZSTD, CODES_RANS, CODES_ALONE, CODES_SAME, CODES_AROUND, N_CODERS };
static const struct {
    const char *label, *packer; /* packer: of codes */
    bool with_before;
} coders[N_CODERS] = {
    [RAW] = {"floats as they are", NULL, false},
    [ZSTD_3] = {"exact, zstd -3", NULL, false},
    [DELTA] = {"exact, planes against the one before", NULL, true},
    [CODES_ZSTD] = {"codes, zstd -19", "zstd(level=19)", false},
    [CODES_RANS] = {"codes, rans", "rans", false},
    [CODES_ALONE] = {"codes, ctxac alone", "ctxac", false},
    [CODES_SAME] = {"codes, ctxac, same place before", "ctxac(around=0)", true},
    [CODES_AROUND] = {"codes, ctxac, 3x3 before", "ctxac", true},
};

#define ORDERS 5
#define CURVE 5 /* points of the curves after the last checkpoint */

typedef struct checkpoints {
    const char *model;
    uint64_t steps, every, after, bytes;
    double keep, least, rate;
    tune_run *run;
    series codes;
    float *before[SERIES_KINDS]; /* the checkpoint before, exact */
    double sum[N_CODERS][SERIES_KINDS], seconds[N_CODERS];
    size_t count;
} checkpoints;

static float *array_of(const tune_state *t, int kind) {
    return kind == SERIES_WEIGHTS ? t->weights : kind == SERIES_MEAN ? t->mean : t->square;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- exact ---- */

static pith_status zstd_bytes(pith_ctx *ctx, const float *x, size_t bytes, uint64_t *out) {
    size_t bound = ZSTD_compressBound(bytes);
    uint8_t *code = pith_alloc(ctx, bound);
    if (!code) return pith_alloc_status(ctx);
    size_t n = ZSTD_compress(code, bound, x, bytes, 3);
    pith_free(ctx, code);
    *out = n;
    return ZSTD_isError(n) ? pith_fail(ctx, PITH_E_INTERNAL, "zstd: %s", ZSTD_getErrorName(n)) : PITH_OK;
}

static pith_status delta_bytes(pith_ctx *ctx, const float *x, const float *before, size_t bytes, uint64_t *out) {
    pith_buffer code = {0};
    const uint8_t *src = (const uint8_t *)x, *base = (const uint8_t *)before;
    uint8_t *back = pith_alloc(ctx, bytes);
    pith_status status = back ? repr_delta_encode(ctx, TENSOR_F32, src, base, bytes, &code) : pith_alloc_status(ctx);
    repr_reader in = {code.data, code.data + code.size};
    if (!status) status = repr_delta_decode(ctx, TENSOR_F32, &in, base, back, bytes);
    if (!status && memcmp(back, x, bytes) != 0) status = pith_fail(ctx, PITH_E_CHECK, "planes gave back other floats");
    *out = code.size;
    pith_buffer_free(ctx, &code);
    pith_free(ctx, back);
    return status;
}

/* ---- one checkpoint ---- */

static pith_status measure(experiment *e, checkpoints *c, int coder, int kind, uint64_t *bytes) {
    const tune_state *t = tune_run_state(c->run);
    size_t size = t->rows * t->cols * sizeof(float);
    switch (coder) {
    case RAW: *bytes = size; return PITH_OK;
    case ZSTD_3: return zstd_bytes(e->ctx, array_of(t, kind), size, bytes);
    case DELTA: return delta_bytes(e->ctx, array_of(t, kind), c->before[kind], size, bytes);
    default: return series_bytes(&c->codes, kind, coders[coder].packer, coders[coder].with_before, bytes);
    }
}

static pith_status take(experiment *e, checkpoints *c) {
    const tune_state *t = tune_run_state(c->run);
    pith_status status = series_next(&c->codes, t);
    for (int coder = 0; coder < N_CODERS && !status; coder++) {
        double begin = now();
        for (int kind = 0; kind < SERIES_KINDS && !status; kind++) {
            uint64_t bytes = 0;
            status = measure(e, c, coder, kind, &bytes);
            c->sum[coder][kind] += (double)bytes;
        }
        c->seconds[coder] += now() - begin;
    }
    for (int kind = 0; kind < SERIES_KINDS && !status; kind++)
        memcpy(c->before[kind], array_of(t, kind), t->rows * t->cols * sizeof(float));
    c->count++;
    return status;
}

static double mean_bytes(const checkpoints *c, int coder) {
    double sum = 0;
    for (int kind = 0; kind < SERIES_KINDS; kind++) sum += c->sum[coder][kind];
    return sum / (double)c->count;
}

static int train(experiment *e, checkpoints *c) {
    char step[64];
    for (uint64_t i = 0; i < c->steps; i++) {
        tune_run_step(c->run, 0, NULL);
        if ((i + 1) % c->every) continue;
        snprintf(step, sizeof step, "checkpoint after %llu steps", (unsigned long long)i + 1);
        exp_step(e, step);
        if (cli_stop_signal()) return CLI_FAIL;
        if (take(e, c) != PITH_OK) return exp_failed(e);
    }
    exp_table(e, "bytes of a checkpoint, all but the first against the one before",
              "coder|bytes.0|% of raw.3|weights.0|mean.0|square.0|cpu s.3");
    for (int coder = 0; coder < N_CODERS; coder++) {
        double n = (double)c->count, *sum = c->sum[coder], all = mean_bytes(c, coder);
        EXP_ROW(e, coders[coder].label, all, 100 * all / mean_bytes(c, RAW), sum[SERIES_WEIGHTS] / n,
                sum[SERIES_MEAN] / n, sum[SERIES_SQUARE] / n, coder == RAW ? NAN : c->seconds[coder] / n);
    }
    return CLI_OK;
}

/* ---- going on ---- */

static void put_state(checkpoints *c, float *const from[SERIES_KINDS], uint64_t steps) {
    tune_state *t = tune_run_state(c->run);
    for (int kind = 0; kind < SERIES_KINDS; kind++)
        memcpy(array_of(t, kind), from[kind], t->rows * t->cols * sizeof(float));
    t->steps = steps;
}

static int go_on(experiment *e, checkpoints *c, float *const from[SERIES_KINDS], uint64_t steps, uint32_t order,
                 double held[CURVE]) {
    put_state(c, from, steps);
    for (uint64_t point = 0, done = 0; point < CURVE; point++) {
        for (uint64_t goal = c->after * point / (CURVE - 1); done < goal; done++) tune_run_step(c->run, order, NULL);
        held[point] = tune_run_held(c->run);
        if (cli_stop_signal()) return cli_error("%s: stopped", e->name);
    }
    return CLI_OK;
}

static int resume(experiment *e, checkpoints *c, double *distance, double *spread) {
    double exact[ORDERS][CURVE], decoded[CURVE];
    uint64_t steps = c->count * c->every;
    int result = CLI_OK;
    exp_step(e, "going on");
    for (uint32_t order = 0; order < ORDERS && result == CLI_OK; order++)
        result = go_on(e, c, c->before, steps, order, exact[order]);
    if (result == CLI_OK) result = go_on(e, c, c->codes.decoded, steps, 0, decoded);
    if (result != CLI_OK) return result;
    exp_table(e, "bits of a held-out token after the last checkpoint",
              "steps|as it was.4|decoded.4|difference.4|least of orders.4|most of orders.4");
    for (int point = 0; point < CURVE; point++) {
        char label[40];
        double least = INFINITY, most = -INFINITY;
        for (int order = 0; order < ORDERS; order++) {
            least = fmin(least, exact[order][point]);
            most = fmax(most, exact[order][point]);
        }
        snprintf(label, sizeof label, "%llu", (unsigned long long)(c->after * (uint64_t)point / (CURVE - 1)));
        EXP_ROW(e, label, exact[0][point], decoded[point], decoded[point] - exact[0][point], least, most);
        *distance = decoded[point] - exact[0][point];
        *spread = most - least;
    }
    return CLI_OK;
}

static void claims(experiment *e, const checkpoints *c, double distance, double spread) {
    double rans = mean_bytes(c, CODES_RANS), zstd = mean_bytes(c, CODES_ZSTD), alone = mean_bytes(c, CODES_ALONE);
    double same = mean_bytes(c, CODES_SAME), around = mean_bytes(c, CODES_AROUND), exact = mean_bytes(c, DELTA);
    exp_claim(e, around < 0.8 * zstd, "at least a fifth smaller than the same codes by a general archiver: %.1f %%",
              100 * (1 - around / zstd));
    exp_claim(e, around < 0.9 * rans, "at least a tenth smaller than the codes without contexts: %.1f %%",
              100 * (1 - around / rans));
    exp_claim(e, same < alone && around < same, "no context > same place > 3x3: %.0f, %.0f, %.0f bytes", alone, same, around);
    exp_claim(e, around < exact / 4, "under a quarter of exact differences: 1/%.1f", exact / around);
    exp_claim(e, distance <= spread, "%llu steps on, no worse than the exact checkpoint leads to: %+.4f bits",
              (unsigned long long)c->after, distance);
    exp_claim(e, fabs(distance) <= spread, "as near to it as orders of the batches are to each other (%.4f)", spread);
}

static int checkpoints_run(experiment *e, void *own) {
    checkpoints *c = own;
    lm_model *m = NULL;
    pith_buffer text = {0};
    double distance = 0, spread = 0;
    if (c->every > c->steps) return cli_error("checkpoints: --every is more than --steps");
    if (!(c->keep > 0 && c->keep <= 1)) return cli_error("checkpoints: --keep is above 0 and at most 1");
    if (!(c->least >= 0) || !(c->rate > 0)) return cli_error("checkpoints: --least and --rate are not negative");
    artefacts_register();
    int result = lm_open_named(e->ctx, lm_model_path(c->model ? c->model : "default"), &m);
    for (size_t i = 0; i < PITH_MAX(e->o.n_names, (size_t)1) && result == CLI_OK; i++) {
        pith_buffer one = {0};
        result = exp_read(e, e->o.n_names ? e->o.names[i] : NULL, "tests/data/lcet10.txt", (size_t)c->bytes, &one);
        if (result == CLI_OK && pith_buffer_append(e->ctx, &text, one.data, one.size)) result = exp_failed(e);
        pith_buffer_free(e->ctx, &one);
    }
    exp_step(e, "reading the text");
    tune_options o = {.n_threads = e->o.n_threads, .rate = c->rate};
    if (result == CLI_OK && tune_run_new(e->ctx, m, text.data, text.size, &o, &c->run) != PITH_OK) result = exp_failed(e);
    if (result == CLI_OK) {
        const tune_state *t = tune_run_state(c->run);
        pith_status status = series_new(e->ctx, t->weights, t->rows, t->cols, &c->codes);
        c->codes.keep = c->keep;
        c->codes.least_mean = c->least;
        for (int kind = 0; kind < SERIES_KINDS && !status; kind++) {
            c->before[kind] = pith_alloc(e->ctx, c->codes.n * sizeof(float));
            if (!c->before[kind]) status = pith_alloc_status(e->ctx);
            else memcpy(c->before[kind], array_of(t, kind), c->codes.n * sizeof(float));
        }
        if (status) result = exp_failed(e);
    }
    if (result == CLI_OK) result = train(e, c);
    if (result == CLI_OK) result = resume(e, c, &distance, &spread);
    if (result == CLI_OK) claims(e, c, distance, spread);
    for (int kind = 0; kind < SERIES_KINDS; kind++) pith_free(e->ctx, c->before[kind]);
    series_free(&c->codes);
    tune_run_free(c->run);
    pith_buffer_free(e->ctx, &text);
    lm_close(e->ctx, m);
    return result;
}

int bench_checkpoints(int argc, char **argv) {
    checkpoints c = {.steps = 500, .every = 50, .after = 100, .bytes = 400000, .keep = 0.3, .least = 2, .rate = 0.003};
    const lm_option extra[] = {{"steps", 0, LM_NUMBER, &c.steps, 1, 1000000}, {"every", 0, LM_NUMBER, &c.every, 1, 1000000},
                               {"after", 0, LM_NUMBER, &c.after, 1, 1000000}, {"keep", 0, LM_REAL, &c.keep, 0, 0},
                               {"least", 0, LM_REAL, &c.least, 0, 0},         {"bytes", 0, LM_NUMBER, &c.bytes, 4096, 1 << 26},
                               {"rate", 0, LM_REAL, &c.rate, 0, 0},           {"model", 0, LM_TEXT, &c.model, 0, 0}};
    return exp_main(argc, argv, checkpoints_help, extra, PITH_COUNT(extra), 16, checkpoints_run, &c);
}
