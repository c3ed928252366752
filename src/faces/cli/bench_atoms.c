/* pith bench atoms: activations of a language model as few atoms of a dictionary four times as large as their dimension
 * (Towards Atoms of Large Language Models, 2025), and what that is worth as a code. The dictionary is learnt by pursuit
 * and least squares, no network. The atomic inner product is <a, b> = a^T H^-1 b with the second moment H = S S^T of
 * the activations: the plain one of S^-1 a and S^-1 b. */
#include <math.h>
#include <string.h>

#include "artefacts/artefacts.h"
#include "faces/cli/bench_predict.h"
#include "kernels/allocate/allocate.h"
#include "kernels/represent/represent.h"
#include "lm/ruler/ruler.h"
#include "math/dense/dense.h"

static const char atoms_help[] =
    "Usage: pith bench atoms [OPTIONS]\n\n"
    "Takes the activations that enter a layer of a model, learns a dictionary with several times as many atoms as they\n"
    "have dimensions, on them as they are and whitened, and says how much a few atoms explain of another text's, how\n"
    "alike atoms are, how many come again from another seed, and how many bits activations take as atoms and as\n"
    "numbers at the same error.\n\n"
    "      --layer=N       its input (default: the middle one)\n"
    "      --times=N       atoms for each dimension (default 4)\n"
    "      --nonzeros=N    atoms of a vector, in learning (default 4)\n"
    "      --rounds=N      of pursuit and least squares (default 6)\n"
    "      --tokens=N      to learn from (default 6144); --held=N of the other text (default 1024)\n"
    "      --learn=FILE    text (default tests/data/lcet10.txt); --text=FILE the other (default tests/data/alice29.txt)\n"
    "      --model=FILE    the language model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench atoms\n"
    "  pith bench atoms --layer=2 --nonzeros=8 --tokens=16384\n";

enum { CTX = 256, LEVELS = 5, INTEGERS = 4 };
static const size_t levels[LEVELS] = {1, 2, 4, 8, 16};

typedef struct atoms_bench {
    const char *model, *learn, *text;
    uint64_t layer, times, nonzeros, rounds, tokens, held;
    size_t dim, k, n, n_held;
    float *x, *y;                 /* [n][dim] to learn from, [n_held][dim]; the mean of x taken away */
    float *s, *inverse;           /* S, S^-1 */
    float *gram;                  /* packed */
    float *plain, *other, *white; /* [k][dim] dictionaries; white: of S^-1 x */
    double fvu[2][LEVELS];
    double int_bits[INTEGERS], int_fvu[INTEGERS];
} atoms_bench;

/* ---- activations ---- */

typedef struct gatherer {
    float *to;
    size_t dim, n, room;
    uint32_t layer;
} gatherer;

static void gather_hidden(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, const float *h) {
    gatherer *g = opaque;
    (void)sequence;
    for (size_t i = 0; i < n && layer == g->layer && g->n < g->room; i++) {
        if (first + i == 0) continue; /* what begins a chunk is like nothing else */
        memcpy(g->to + g->n++ * g->dim, h + i * g->dim, g->dim * sizeof *h);
    }
}

static pith_status gather(experiment *e, const lm_model *m, const pith_buffer *text, gatherer *g) {
    token_list ids = {0};
    lm_token batch[CTX];
    lm_session *s = NULL;
    lm_session_options o = {.n_ctx = CTX, .max_batch = CTX, .max_logits = 1, .n_threads = e->o.n_threads};
    pith_status status = ruler_tokens(e->ctx, m, text->data, text->size, &ids);
    if (!status) status = lm_session_new(e->ctx, m, &o, &s);
    const lm_probe probe = {.opaque = g, .hidden = gather_hidden};
    if (!status) lm_set_probe(s, &probe);
    for (size_t at = 0; at + CTX <= ids.n && g->n < g->room && !status; at += CTX) {
        for (size_t i = 0; i < CTX; i++) batch[i] = (lm_token){ids.id[at + i], 0, false};
        status = lm_truncate(s, 0, 0);
        if (!status) status = lm_eval(s, batch, CTX);
    }
    if (!status && g->n < g->room)
        status = pith_fail(e->ctx, PITH_E_ARGUMENT, "the text has %zu activations, fewer than %zu", g->n, g->room);
    lm_session_free(s);
    token_list_free(e->ctx, &ids);
    return status;
}

static int open_data(experiment *e, atoms_bench *a) {
    lm_model *m;
    pith_buffer text[2] = {{0}, {0}};
    int result = lm_open_named(e->ctx, lm_model_path(a->model ? a->model : "default"), &m);
    if (result != CLI_OK) return result;
    const lm_shape *shape = lm_about(m);
    a->dim = shape->n_embd;
    a->k = a->times * a->dim;
    a->n = (size_t)a->tokens;
    a->n_held = (size_t)a->held;
    if (a->layer == UINT64_MAX) a->layer = shape->n_layers / 2;
    if (a->layer >= shape->n_layers) result = cli_error("atoms: the model has %u layers", shape->n_layers);
    if (a->k > 4096 || a->k > a->n) result = cli_error("atoms: %zu atoms are more than 4096, or than --tokens", a->k);
    if (result == CLI_OK) result = exp_read(e, a->learn, "tests/data/lcet10.txt", 0, &text[0]);
    if (result == CLI_OK) result = exp_read(e, a->text, "tests/data/alice29.txt", 0, &text[1]);
    if (result == CLI_OK) {
        a->x = pith_alloc(e->ctx, a->n * a->dim * sizeof *a->x);
        a->y = pith_alloc(e->ctx, a->n_held * a->dim * sizeof *a->y);
        gatherer to[2] = {{a->x, a->dim, 0, a->n, (uint32_t)a->layer},
                          {a->y, a->dim, 0, a->n_held, (uint32_t)a->layer}};
        pith_status status = a->x && a->y ? PITH_OK : pith_alloc_status(e->ctx);
        exp_step(e, "activations");
        for (int i = 0; i < 2 && !status; i++) status = gather(e, m, &text[i], &to[i]);
        if (status) result = exp_failed(e);
    }
    if (result == CLI_OK)
        exp_note(e,
                 "input of layer %llu of %u: %zu vectors of %zu numbers to learn %zu atoms from, %zu of another text",
                 (unsigned long long)a->layer, shape->n_layers, a->n, a->dim, a->k, a->n_held);
    for (int i = 0; i < 2; i++) pith_buffer_free(e->ctx, &text[i]);
    lm_close(e->ctx, m);
    return result;
}

/* The mean goes; S of what is left. */
static pith_status centre(pith_ctx *ctx, atoms_bench *a) {
    size_t dim = a->dim;
    double *mean = pith_zalloc(ctx, dim * sizeof *mean), *sum = pith_zalloc(ctx, DENSE_PACKED(dim) * sizeof *sum);
    a->gram = pith_alloc(ctx, DENSE_PACKED(dim) * sizeof *a->gram);
    a->s = pith_alloc(ctx, dim * dim * sizeof *a->s);
    a->inverse = pith_alloc(ctx, dim * dim * sizeof *a->inverse);
    pith_status status = mean && sum && a->gram && a->s && a->inverse ? PITH_OK : pith_alloc_status(ctx);
    if (!status) {
        for (size_t i = 0; i < a->n * dim; i++) mean[i % dim] += (double)a->x[i] / (double)a->n;
        for (size_t i = 0; i < a->n * dim; i++) a->x[i] -= (float)mean[i % dim];
        for (size_t i = 0; i < a->n_held * dim; i++) a->y[i] -= (float)mean[i % dim];
        status = dense_gram_add(ctx, sum, a->x, a->n, dim);
        for (size_t i = 0; i < DENSE_PACKED(dim); i++) a->gram[i] = (float)(sum[i] / (double)a->n);
    }
    if (!status) status = dense_whiten(ctx, a->gram, dim, a->s, a->inverse);
    pith_free(ctx, mean);
    pith_free(ctx, sum);
    return status;
}

/* to[n] = side x, row by row */
static void turn(const float *side, const float *x, size_t n, size_t dim, float *to) {
    dense_gemm(false, true, n, dim, dim, 1, x, dim, side, dim, 0, to, dim);
}

static double left_part(const float *x, const float *made, size_t n) {
    double left = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        left += ((double)x[i] - (double)made[i]) * ((double)x[i] - (double)made[i]);
        all += (double)x[i] * (double)x[i];
    }
    return left / all;
}

/* ---- atoms ---- */

static void make(const atoms_bench *a, const float *atoms, const uint16_t *index, const float *value, size_t nonzeros,
                 float *made) {
    memset(made, 0, a->n_held * a->dim * sizeof *made);
    for (size_t i = 0; i < a->n_held * nonzeros; i++)
        for (size_t d = 0; d < a->dim; d++) made[i / nonzeros * a->dim + d] += value[i] * atoms[index[i] * a->dim + d];
}

/* Values to whole steps; bytes of numbers and values, entropy-coded each by itself. */
static pith_status write_codes(experiment *e, const atoms_bench *a, const uint16_t *index, float *value,
                               size_t nonzeros, double step, size_t *bytes) {
    size_t n = a->n_held * nonzeros;
    uint16_t *codes = pith_alloc(e->ctx, n * sizeof *codes);
    pith_buffer out = {0};
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)value[i]));
    step = fmax(step, most / 2000);
    long top = lround(most / step);
    pith_status status = codes ? PITH_OK : pith_alloc_status(e->ctx);
    for (size_t i = 0; i < n && !status; i++) {
        long q = lround((double)value[i] / step);
        codes[i] = (uint16_t)(q + top);
        value[i] = (float)((double)q * step);
    }
    repr_plane numbers = {index, n, nonzeros, (uint32_t)a->k}, values = {codes, n, nonzeros, (uint32_t)(2 * top + 1)};
    if (!status) status = repr_plane_encode(e->ctx, "rans", &numbers, NULL, &out);
    if (!status) status = repr_plane_encode(e->ctx, "rans", &values, NULL, &out);
    *bytes = out.size + 4;
    pith_buffer_free(e->ctx, &out);
    pith_free(e->ctx, codes);
    return status;
}

typedef struct atom_code {
    double bits, fvu; /* a number of an activation; values rounded */
} atom_code;

static pith_status explain(experiment *e, atoms_bench *a, atom_code code[LEVELS]) {
    size_t n = a->n_held * REPR_ATOMS_NONZEROS, m = a->n_held * a->dim;
    uint16_t *index = pith_alloc(e->ctx, n * sizeof *index);
    float *value = pith_alloc(e->ctx, n * sizeof *value), *made = pith_alloc(e->ctx, m * sizeof *made),
          *z = pith_alloc(e->ctx, m * sizeof *z), *back = pith_alloc(e->ctx, m * sizeof *back);
    uint8_t *used = pith_alloc(e->ctx, a->k);
    pith_status status = index && value && made && z && back && used ? PITH_OK : pith_alloc_status(e->ctx);
    if (!status) {
        turn(a->inverse, a->y, a->n_held, a->dim, z);
        exp_table(e, "Variance of another text's activations that is left unexplained",
                  "atoms to a vector|as they are.4|whitened.4|values rounded.4|bits.3|atoms used.0");
    }
    for (size_t l = 0; l < LEVELS && !status; l++) {
        char label[16];
        size_t bytes = 0, count = 0;
        snprintf(label, sizeof label, "%zu", levels[l]);
        exp_step(e, label);
        status = repr_atoms_code(e->ctx, z, a->n_held, a->dim, a->white, a->k, levels[l], index, value);
        if (status) break;
        make(a, a->white, index, value, levels[l], made);
        turn(a->s, made, a->n_held, a->dim, back);
        a->fvu[1][l] = left_part(a->y, back, m);
        status = repr_atoms_code(e->ctx, a->y, a->n_held, a->dim, a->plain, a->k, levels[l], index, value);
        if (status) break;
        make(a, a->plain, index, value, levels[l], made);
        a->fvu[0][l] = left_part(a->y, made, m);
        memset(used, 0, a->k);
        for (size_t i = 0; i < a->n_held * levels[l]; i++) count += !used[index[i]], used[index[i]] = 1;
        double energy = 0; /* rounding may add a twentieth of what is left */
        for (size_t i = 0; i < m; i++) energy += (double)a->y[i] * (double)a->y[i];
        double step = sqrt(12 * 0.05 * a->fvu[0][l] * energy / ((double)a->n_held * (double)levels[l]));
        status = write_codes(e, a, index, value, levels[l], step, &bytes);
        make(a, a->plain, index, value, levels[l], made);
        code[l] = (atom_code){8 * (double)bytes / (double)m, left_part(a->y, made, m)};
        if (!status) EXP_ROW(e, label, a->fvu[0][l], a->fvu[1][l], code[l].fvu, code[l].bits, (double)count);
    }
    void *const owned[] = {index, value, made, z, back, used};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(e->ctx, owned[i]);
    return status;
}

/* ---- how alike they are ---- */

static void to_unit(float *atoms, size_t k, size_t dim) {
    for (size_t i = 0; i < k; i++) {
        double sum = 0;
        for (size_t d = 0; d < dim; d++) sum += (double)atoms[i * dim + d] * (double)atoms[i * dim + d];
        float f = sum > 0 ? (float)(1 / sqrt(sum)) : 0;
        for (size_t d = 0; d < dim; d++) atoms[i * dim + d] *= f;
    }
}

typedef struct coherence {
    double most, mean;
} coherence;

/* Of atoms seen through `side` (NULL: as they are). */
static pith_status coherence_of(pith_ctx *ctx, const atoms_bench *a, const float *atoms, const float *side,
                                coherence *out) {
    size_t k = a->k;
    float *unit = pith_alloc(ctx, k * a->dim * sizeof *unit), *dot = pith_alloc(ctx, k * k * sizeof *dot);
    pith_status status = unit && dot ? PITH_OK : pith_alloc_status(ctx);
    *out = (coherence){0, 0};
    if (!status) {
        if (side)
            turn(side, atoms, k, a->dim, unit);
        else
            memcpy(unit, atoms, k * a->dim * sizeof *unit);
        to_unit(unit, k, a->dim);
        dense_gemm(false, true, k, k, a->dim, 1, unit, a->dim, unit, a->dim, 0, dot, k);
        for (size_t i = 0; i < k * k; i++) {
            if (i / k == i % k) continue;
            out->most = fmax(out->most, fabs((double)dot[i]));
            out->mean += fabs((double)dot[i]) / (double)(k * (k - 1));
        }
    }
    pith_free(ctx, unit);
    pith_free(ctx, dot);
    return status;
}

/* Pairs of atoms of two dictionaries, one to one, with the most alike in all: mean |cos|, and the parts above 0.9, 0.5.
 */
static pith_status match(experiment *e, const atoms_bench *a, const float *one, const float *two, double *mean,
                         double *same, double *near) {
    size_t k = a->k;
    float *cost = pith_alloc(e->ctx, k * k * sizeof *cost);
    uint32_t *column = pith_alloc(e->ctx, k * sizeof *column);
    pith_status status = cost && column ? PITH_OK : pith_alloc_status(e->ctx);
    *mean = *same = *near = 0;
    if (!status) {
        dense_gemm(false, true, k, k, a->dim, 1, one, a->dim, two, a->dim, 0, cost, k);
        for (size_t i = 0; i < k * k; i++) cost[i] = -fabsf(cost[i]);
        exp_step(e, "matching");
        status = alloc_assign(e->ctx, cost, k, k, column, NULL);
    }
    for (size_t i = 0; i < k && !status; i++) {
        double cosine = -(double)cost[i * k + column[i]];
        *mean += cosine / (double)k;
        *same += (cosine >= 0.9) / (double)k;
        *near += (cosine >= 0.5) / (double)k;
    }
    pith_free(e->ctx, cost);
    pith_free(e->ctx, column);
    return status;
}

/* ---- other codes ---- */

static pith_status by_integers(experiment *e, atoms_bench *a) {
    size_t m = a->n_held * a->dim;
    float *restored = pith_alloc(e->ctx, m * sizeof *restored);
    pith_status status = restored ? PITH_OK : pith_alloc_status(e->ctx);
    for (int b = 0; b < INTEGERS && !status; b++) {
        static const char *const recipes[INTEGERS] = {"sign(group=0)", "q(2, group=0)", "q(4, group=0)",
                                                      "q(8, group=0)"};
        pith_recipe *r;
        repr_chain *chain = NULL;
        pith_buffer out = {0};
        repr_matrix w = {a->y, a->n_held, a->dim};
        status = pith_recipe_parse(e->ctx, "model", recipes[b], strlen(recipes[b]), &r);
        if (status) break;
        status = repr_chain_new(e->ctx, r->rules, &chain);
        if (!status) status = repr_encode(e->ctx, chain, &w, NULL, &out, restored);
        if (!status) {
            a->int_bits[b] = 8 * (double)out.size / (double)m;
            a->int_fvu[b] = left_part(a->y, restored, m);
            EXP_ROW(e, recipes[b], a->int_bits[b], a->int_fvu[b]);
        }
        pith_buffer_free(e->ctx, &out);
        repr_chain_free(e->ctx, chain);
        pith_recipe_free(e->ctx, r);
    }
    pith_free(e->ctx, restored);
    return status;
}

/* Bits of integers at an error, ln FVU being straight between; the cheapest where all have less. */
static double integer_bits(const atoms_bench *a, double fvu) {
    if (fvu >= a->int_fvu[0]) return a->int_bits[0];
    for (int b = 1; b < INTEGERS; b++)
        if (fvu >= a->int_fvu[b]) {
            double share = log(a->int_fvu[b - 1] / fvu) / log(a->int_fvu[b - 1] / a->int_fvu[b]);
            return a->int_bits[b - 1] + share * (a->int_bits[b] - a->int_bits[b - 1]);
        }
    return a->int_bits[INTEGERS - 1];
}

/* Principal components learnt from the same vectors, all in one step that leaves so much, entropy-coded. */
static pith_status component_bits(experiment *e, const atoms_bench *a, double fvu, double *bits) {
    size_t dim = a->dim, m = a->n_held * dim;
    float *h = pith_alloc(e->ctx, dim * dim * sizeof *h), *q = pith_alloc(e->ctx, dim * dim * sizeof *q),
          *values = pith_alloc(e->ctx, dim * sizeof *values), *c = pith_alloc(e->ctx, m * sizeof *c);
    uint16_t *codes = pith_alloc(e->ctx, m * sizeof *codes);
    pith_buffer out = {0};
    pith_status status = h && q && values && c && codes ? PITH_OK : pith_alloc_status(e->ctx);
    if (!status) {
        dense_unpack(a->gram, dim, h);
        status = dense_eigen(e->ctx, h, dim, q, values);
    }
    if (!status) {
        dense_gemm(false, false, a->n_held, dim, dim, 1, a->y, dim, q, dim, 0, c, dim);
        double all = 0, most = 0, low, high;
        for (size_t i = 0; i < m; i++) all += (double)c[i] * (double)c[i], most = fmax(most, fabs((double)c[i]));
        low = most / 30000, high = 2 * most;
        for (int turns = 0; turns < 40; turns++) {
            double step = sqrt(low * high), left = 0;
            for (size_t i = 0; i < m; i++) {
                double d = (double)c[i] - step * nearbyint((double)c[i] / step);
                left += d * d;
            }
            if (left > fvu * all)
                high = step;
            else
                low = step;
        }
        long top = lround(most / low);
        for (size_t i = 0; i < m; i++) codes[i] = (uint16_t)(lround((double)c[i] / low) + top);
        repr_plane plane = {codes, m, dim, (uint32_t)(2 * top + 1)};
        status = repr_plane_encode(e->ctx, "ctxac", &plane, NULL, &out);
        *bits = 8 * (double)out.size / (double)m;
    }
    void *const owned[] = {h, q, values, c, codes};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(e->ctx, owned[i]);
    pith_buffer_free(e->ctx, &out);
    return status;
}

static int compare(experiment *e, atoms_bench *a, const atom_code code[LEVELS]) {
    unsigned below_integers = 0, below_components = 0;
    double parts[LEVELS];
    exp_table(e, "The same vectors in integers, a scale for each", "code|bits.3|unexplained.4");
    if (by_integers(e, a) != PITH_OK) return exp_failed(e);
    exp_table(e,
              "Bits of a number at equal error (of the dictionary, which is not counted, 16 for each of its numbers)",
              "atoms to a vector|unexplained.4|atoms.3|integers.3|components.3");
    for (size_t l = 0; l < LEVELS; l++) {
        char label[16];
        double components = 0, integers = integer_bits(a, code[l].fvu);
        snprintf(label, sizeof label, "%zu", levels[l]);
        if (component_bits(e, a, code[l].fvu, &components) != PITH_OK) return exp_failed(e);
        EXP_ROW(e, label, code[l].fvu, code[l].bits, integers, components);
        below_integers += code[l].bits < integers;
        below_components += code[l].bits < components;
        parts[l] = code[l].bits / integers;
    }
    exp_claim(
        e, below_integers == LEVELS,
        "as a code, fewer bits than integers at equal error at %u of %d numbers of atoms (at 4, %.0f %%; at 16, %.0f %%)",
        below_integers, LEVELS, 100 * parts[2], 100 * parts[4]);
    exp_claim(e, below_components == LEVELS, "fewer than principal components, one step, entropy-coded: at %u of %d",
              below_components, LEVELS);
    return CLI_OK;
}

static int atoms_run(experiment *e, void *own) {
    atoms_bench *a = own;
    atom_code code[LEVELS];
    coherence c[2][2];
    double mean = 0, same = 0, near = 0;
    artefacts_register();
    int result = open_data(e, a);
    if (result != CLI_OK) return result;
    pith_ctx *ctx = e->ctx;
    pith_status status = centre(ctx, a);
    float **const dictionaries[] = {&a->plain, &a->other, &a->white};
    for (unsigned i = 0; i < 3 && !status; i++) {
        *dictionaries[i] = pith_alloc(ctx, a->k * a->dim * sizeof(float));
        if (!*dictionaries[i]) status = pith_alloc_status(ctx);
    }
    float *z = status ? NULL : pith_alloc(ctx, a->n * a->dim * sizeof *z);
    if (!status && !z) status = pith_alloc_status(ctx);
    if (!status) turn(a->inverse, a->x, a->n, a->dim, z);
    for (unsigned i = 0; i < 3 && !status; i++) {
        exp_step(e, i == 2 ? "learning atoms, whitened" : "learning atoms");
        status = repr_atoms_learn(ctx, i == 2 ? z : a->x, a->n, a->dim, a->k, (size_t)a->nonzeros, (unsigned)a->rounds,
                                  1 + i % 2, *dictionaries[i]);
    }
    pith_free(ctx, z);
    if (!status) status = explain(e, a, code);
    if (!status) status = coherence_of(ctx, a, a->plain, NULL, &c[0][0]);
    if (!status) status = coherence_of(ctx, a, a->plain, a->inverse, &c[0][1]);
    if (!status) status = coherence_of(ctx, a, a->white, a->s, &c[1][0]);
    if (!status) status = coherence_of(ctx, a, a->white, NULL, &c[1][1]);
    if (!status) status = match(e, a, a->plain, a->other, &mean, &same, &near);
    if (status) {
        result = exp_failed(e);
    } else {
        exp_table(e, "Cosine of two atoms, its magnitude",
                  "learnt from activations|plain, most.3|plain, mean.4|atomic, most.3|atomic, mean.4");
        EXP_ROW(e, "as they are", c[0][0].most, c[0][0].mean, c[0][1].most, c[0][1].mean);
        EXP_ROW(e, "whitened", c[1][0].most, c[1][0].mean, c[1][1].most, c[1][1].mean);
        exp_table(e, "The same atoms from another seed, matched one to one",
                  "pairs|cosine.3|0.9 and more %.1|0.5 and more %.1");
        EXP_ROW(e, "mean, parts of all", mean, 100 * same, 100 * near);
        exp_claim(e, a->fvu[0][LEVELS - 1] <= 0.001, "sparse reconstruction of 99.9 %%: with 16 of %zu atoms %.1f %%",
                  a->k, 100 * (1 - a->fvu[0][LEVELS - 1]));
        exp_claim(e, c[0][1].most < c[0][0].most && c[0][1].mean < c[0][0].mean,
                  "atoms are less alike by the atomic inner product: at most %.3f, plain %.3f; mean %.4f, %.4f",
                  c[0][1].most, c[0][0].most, c[0][1].mean, c[0][0].mean);
        exp_claim(e, same >= 0.998, "99.8 %% of the atoms come again from another seed: %.1f %% (cosine 0.9)",
                  100 * same);
        result = compare(e, a, code);
    }
    void *const owned[] = {a->x, a->y, a->s, a->inverse, a->gram, a->plain, a->other, a->white};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(ctx, owned[i]);
    return result;
}

int bench_atoms(int argc, char **argv) {
    atoms_bench a = {.layer = UINT64_MAX, .times = 4, .nonzeros = 4, .rounds = 6, .tokens = 6144, .held = 1024};
    const lm_option extra[] = {{"layer", 0, LM_NUMBER, &a.layer, 0, 10000},
                               {"times", 0, LM_NUMBER, &a.times, 1, 64},
                               {"nonzeros", 0, LM_NUMBER, &a.nonzeros, 1, REPR_ATOMS_NONZEROS},
                               {"rounds", 0, LM_NUMBER, &a.rounds, 1, 100},
                               {"tokens", 0, LM_NUMBER, &a.tokens, 64, 1 << 22},
                               {"held", 0, LM_NUMBER, &a.held, 64, 1 << 20},
                               {"learn", 0, LM_TEXT, &a.learn, 0, 0},
                               {"text", 0, LM_TEXT, &a.text, 0, 0},
                               {"model", 0, LM_TEXT, &a.model, 0, 0}};
    return exp_main(argc, argv, atoms_help, extra, PITH_COUNT(extra), 0, atoms_run, &a);
}
