/* pith bench efficiency: what a survey of compressed language models asks of every file: bytes, parameters, arithmetic,
 * time, and these against the base and against what the machine can do. (X. Zhu et al., A Survey on Model Compression for
 * Large Language Models, 2024.) */
#define _GNU_SOURCE /* memmem */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "faces/cli/bench_lm.h"
#include "faces/cli/bench_predict.h"
#include "lm/ruler/ruler.h"
#include "math/dense/dense.h"

static const char efficiency_help[] =
    "Usage: pith bench efficiency [MODEL...] [OPTIONS]\n\n"
    "For the first MODEL (default: the built-in one), for it in other types of weights and for every other MODEL: bytes\n"
    "of the tensors, parameters, bits per parameter, compression ratio; floating-point operations of a token read and of\n"
    "a token generated; milliseconds of one thread's processor time for them, the speed-up of both over the first, and\n"
    "the part of the machine's peak that the operations make use of (MFU). The peak is what the product of two square\n"
    "matrices of floats reaches, the best of several. Operations are two for every weight of a matrix that is multiplied\n"
    "(of experts: of those a token is sent to) and four for every position and width of attention; looking up an\n"
    "embedding costs none. They are counted as if all were floats: zeros too, and the integers by which weights in blocks are multiplied. A machine\n"
    "may do more of those, and MFU passes 100 % then.\n\n"
    "      --types=LIST    types besides the first model's own (default q8_0,q4_0,q2_K)\n"
    "      --prompt=N      tokens read (default 256, or half of the context)\n"
    "      --output=N      tokens generated (default 64, or a quarter of the context)\n"
    "      --repeats=N     the fastest counts (default 5)\n"
    "      --peak=N        width of the matrices that tell the peak (default 768)\n" EXP_HELP "\nExamples:\n"
    "  pith bench efficiency\n"
    "  pith bench efficiency model.gguf --types=q6_K,q4_K --json\n";

#define NAMES_MOST 8
#define TYPES_MOST 8

typedef struct efficiency {
    const char *types;
    uint64_t prompt, output, repeats, peak_width;
    double peak; /* operations a second, of one thread */
} efficiency;

typedef struct figures {
    double bytes, parameters;
    double read, generated;                 /* operations a token */
    double read_seconds, generated_seconds; /* a token */
} figures;

static double thread_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- the machine's peak ---- */

static int measure_peak(experiment *e, efficiency *f) {
    size_t n = (size_t)f->peak_width;
    float *m = pith_alloc(e->ctx, 3 * n * n * sizeof *m);
    if (!m) return pith_alloc_status(e->ctx), exp_failed(e);
    exp_step(e, "peak");
    for (size_t i = 0; i < 2 * n * n; i++) m[i] = (float)(i % 31) / 31 - 0.5f;
    double best = HUGE_VAL;
    for (int r = 0; r < 10; r++) { /* the first also finds the library and touches the pages */
        double before = thread_seconds();
        dense_gemm(false, false, n, n, n, 1, m, n, m + n * n, n, 0, m + 2 * n * n, n);
        best = PITH_MIN(best, thread_seconds() - before);
    }
    pith_free(e->ctx, m);
    f->peak = 2 * (double)n * (double)n * (double)n / PITH_MAX(best, 1e-9);
    return CLI_OK;
}

/* ---- operations ---- */

static bool named(const tensor_view *v, const char *name) {
    return v->name.size == strlen(name) && memcmp(v->name.data, name, v->name.size) == 0;
}

static bool holds(const tensor_view *v, const char *part) { return memmem(v->name.data, v->name.size, part, strlen(part)); }

/* Weights that one token is multiplied by: in the layers, and in the output, which only a token that is to be followed
 * needs. Tables that are looked up are none, unless the embedding is the output too. */
static void count_weights(const lm_model *m, double *layers, double *output) {
    const lm_shape *s = lm_about(m);
    const tensor_file *file = lm_file(m);
    double embedding = 0;
    *layers = *output = 0;
    for (size_t i = 0; i < file->n_tensors; i++) {
        const tensor_view *v = &file->tensors[i];
        double n = (double)v->n_elements;
        if (v->n_dims < 2 || v->ne[1] < 2) continue; /* vectors */
        if (named(v, "output.weight"))
            *output = n;
        else if (named(v, "token_embd.weight"))
            embedding = n;
        else if (holds(v, "_exps.") && s->n_experts)
            *layers += n * s->n_used / s->n_experts;
        else if (!holds(v, "_embd."))
            *layers += n;
    }
    if (*output == 0) *output = embedding;
}

/* Scores and sums over the positions held: two products of head_dim for each head and position. */
static double attention_of(const lm_shape *s, double positions) {
    double heads = 0;
    for (uint32_t i = 0; i < s->n_layers; i++) heads += s->layer_heads ? s->layer_heads[i] : s->n_heads;
    return s->recurrent ? 0 : 4 * heads * s->head_dim * positions;
}

/* ---- one model ---- */

static int measure_model(experiment *e, const efficiency *f, const char *name, const lm_model *m, figures *out) {
    const lm_shape *s = lm_about(m);
    uint32_t prompt = (uint32_t)f->prompt, output = (uint32_t)f->output;
    if (!prompt) prompt = PITH_MAX(PITH_MIN(256u, s->n_ctx_train / 2), 1u);
    if (!output) output = PITH_MAX(PITH_MIN(64u, s->n_ctx_train / 4), 1u);
    double layers, last;
    count_weights(m, &layers, &last);
    *out = (figures){.bytes = (double)s->weight_bytes, .parameters = (double)s->n_parameters};
    out->read = 2 * layers + attention_of(s, (prompt + 1) / 2.0) + 2 * last / prompt; /* one token of it has logits */
    out->generated = 2 * (layers + last) + attention_of(s, prompt + (output + 1) / 2.0);
    /* the first of `output` tokens comes with the prompt */
    ruler_timing t[2] = {{.prompt = prompt, .output = 1}, {.prompt = prompt, .output = output + 1}};
    exp_step(e, name);
    if (ruler_runtime_measure(e->ctx, m, t, 2, (unsigned)f->repeats, NULL) != PITH_OK) return exp_failed(e);
    out->read_seconds = PITH_MAX(t[0].seconds, 1e-9) / prompt;
    out->generated_seconds = PITH_MAX(t[1].seconds - t[0].seconds, 1e-9) / output;
    return CLI_OK;
}

/* ---- the tables ---- */

static void report(experiment *e, const efficiency *f, char names[][80], const figures *all, size_t n) {
    const figures *base = &all[0];
    exp_note(e, "peak of one thread: %.1f GFLOP/s (%s, floats, %zu x %zu)", f->peak * 1e-9, dense_backend(),
             (size_t)f->peak_width, (size_t)f->peak_width);
    exp_table(e, "size and arithmetic",
              "model|MB.3|M parameters.3|bits per parameter.3|compression ratio.3|MFLOP read.2|MFLOP generated.2");
    for (size_t i = 0; i < n; i++) {
        const figures *m = &all[i];
        EXP_ROW(e, names[i], m->bytes * 1e-6, m->parameters * 1e-6, 8 * m->bytes / m->parameters, base->bytes / m->bytes,
                m->read * 1e-6, m->generated * 1e-6);
    }
    exp_table(e, "time of a token on one thread",
              "model|ms read.4|ms generated.4|speed-up read.3|speed-up generated.3|MFU read, %.1|MFU generated, %.1");
    for (size_t i = 0; i < n; i++) {
        const figures *m = &all[i];
        EXP_ROW(e, names[i], m->read_seconds * 1e3, m->generated_seconds * 1e3, base->read_seconds / m->read_seconds,
                base->generated_seconds / m->generated_seconds, 100 * m->read / m->read_seconds / f->peak,
                100 * m->generated / m->generated_seconds / f->peak);
    }
    size_t smaller = 0, faster = 0, keeps_up = 0;
    for (size_t i = 1; i < n; i++) {
        double ratio = base->bytes / all[i].bytes, gain = base->generated_seconds / all[i].generated_seconds;
        if (!(ratio > 1)) continue;
        smaller++, faster += gain > 1, keeps_up += gain >= ratio;
    }
    if (smaller) {
        exp_claim(e, faster == smaller, "models that are smaller generate faster: %zu of %zu", faster, smaller);
        exp_claim(e, keeps_up == smaller, "their speed-up reaches their compression ratio: %zu of %zu", keeps_up, smaller);
    }
    size_t possible = 0, reading = 0;
    for (size_t i = 0; i < n; i++) {
        double read = all[i].read / all[i].read_seconds, generated = all[i].generated / all[i].generated_seconds;
        possible += read <= f->peak && generated <= f->peak;
        reading += read > generated;
    }
    exp_claim(e, possible == n, "MFU stays within 100 %% of the peak of floats: %zu of %zu", possible, n);
    if (possible < n)
        exp_note(e, "more than 100 %%: weights in blocks are multiplied as integers of 8 bits, faster than any floats");
    exp_claim(e, reading == n, "reading makes better use of the machine than generating: %zu of %zu", reading, n);
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static int efficiency_run(experiment *e, void *own) {
    efficiency *f = own;
    figures all[NAMES_MOST + TYPES_MOST];
    char names[NAMES_MOST + TYPES_MOST][80];
    bench_type types[TYPES_MOST];
    unsigned n_types = 0;
    size_t n = 0, n_names = PITH_MAX(e->o.n_names, (size_t)1);
    int result = bench_types(f->types, types, TYPES_MOST, &n_types);
    if (result == CLI_OK) result = measure_peak(e, f);
    for (size_t i = 0; i < n_names && result == CLI_OK; i++) {
        const char *path = e->o.n_names ? lm_model_path(e->o.names[i]) : NULL;
        lm_model *m = NULL;
        result = lm_open_named(e->ctx, path, &m);
        if (result == CLI_OK) {
            snprintf(names[n], sizeof names[n], "%s", base_name(lm_model_label(path)));
            result = measure_model(e, f, names[n], m, &all[n]);
            n++;
        }
        for (unsigned t = 0; i == 0 && t < n_types && result == CLI_OK; t++, n++) {
            bench_model made = {0};
            snprintf(names[n], sizeof names[n], "  as %s", types[t].name);
            if (bench_model_as(e->ctx, m, &types[t], &made) != PITH_OK) result = exp_failed(e);
            if (result == CLI_OK) result = measure_model(e, f, names[n], made.model, &all[n]);
            bench_model_close(e->ctx, &made);
        }
        if (m) lm_close(e->ctx, m);
    }
    if (result == CLI_OK) report(e, f, names, all, n);
    return result;
}

int bench_efficiency(int argc, char **argv) {
    efficiency f = {.types = "q8_0,q4_0,q2_K", .repeats = 5, .peak_width = 768};
    const lm_option extra[] = {{"types", 0, LM_TEXT, &f.types, 0, 0},
                               {"prompt", 0, LM_NUMBER, &f.prompt, 1, 1 << 20},
                               {"output", 0, LM_NUMBER, &f.output, 1, 1 << 20},
                               {"repeats", 0, LM_NUMBER, &f.repeats, 1, 100},
                               {"peak", 0, LM_NUMBER, &f.peak_width, 16, 8192}};
    return exp_main(argc, argv, efficiency_help, extra, PITH_COUNT(extra), NAMES_MOST, efficiency_run, &f);
}
