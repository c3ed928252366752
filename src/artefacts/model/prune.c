/* Scores turned into lists of what stays, and matrices fitted to what is left of their inputs. */
#include "artefacts/model/prune.h"

#include <math.h>
#include <stdio.h>

#include "kernels/allocate/allocate.h"
#include "kernels/select/select.h"
#include "math/dense/dense.h"

const char *const prune_method_names[N_PRUNE_METHODS] = {"magnitude", "minitron", "wanda",
                                                         "ziplm",     "modegpt",  "random"};

struct prune_plan {
    pith_ctx *ctx;
    const tensor_file *file;
    const prune_stats *stats;
    prune_request want;
    cut_shape shape, keep;
    cut_plan cut;
    cut_list *neurons, *heads; /* [n_layers] */
    cut_list layers, channels;
    uint64_t random;
};

/* ---- tools ------------------------------------------------------------------------------------------ */

/* Tensor blk.LAYER.NAME, which must be a matrix of so many columns and rows, as floats. */
static pith_status load(prune_plan *p, uint32_t layer, const char *name, size_t cols, size_t rows, float **out) {
    char full[64];
    snprintf(full, sizeof full, "blk.%u.%s", (unsigned)layer, name);
    const tensor_view *t = tensor_find(p->file, full);
    *out = NULL;
    if (!t) return pith_fail(p->ctx, PITH_E_UNSUPPORTED, "pruning: there is no tensor %s", full);
    if (t->ne[0] != cols || t->ne[1] != rows || t->n_elements != (uint64_t)cols * rows)
        return pith_fail(p->ctx, PITH_E_FORMAT, "tensor %s is not [%zu, %zu]", full, cols, rows);
    float *w = pith_alloc(p->ctx, cols * rows * sizeof *w);
    if (!w) return pith_alloc_status(p->ctx);
    blocks_decode(t->type, t->data, w, t->n_elements);
    *out = w;
    return PITH_OK;
}

static void add_row_squares(const float *w, size_t rows, size_t cols, double *sums) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) sums[i] += (double)w[i * cols + j] * w[i * cols + j];
}

static void add_column_squares(const float *w, size_t rows, size_t cols, double *sums) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++) sums[j] += (double)w[i * cols + j] * w[i * cols + j];
}

/* splitmix64, in [0, 1) */
static double draw(prune_plan *p) {
    uint64_t z = p->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* The `keep` highest of scores[n]. */
static pith_status keep_best(prune_plan *p, const double *scores, size_t n, uint32_t keep, cut_list *out) {
    uint32_t *at = pith_alloc(p->ctx, n * sizeof *at);
    float *floats = pith_alloc(p->ctx, n * sizeof *floats);
    uint8_t *mask = pith_alloc(p->ctx, n);
    pith_status status = at && floats && mask ? PITH_OK : pith_alloc_status(p->ctx);
    for (size_t i = 0; i < n && !status; i++) floats[i] = (float)scores[i];
    if (!status) status = select_mask(p->ctx, floats, NULL, NULL, n, 1, (double)keep / (double)n, 1, mask);
    if (!status) {
        size_t kept = select_indices(mask, n, at);
        *out = (cut_list){at, (uint32_t)kept};
        at = NULL;
    }
    pith_free(p->ctx, at);
    pith_free(p->ctx, floats);
    pith_free(p->ctx, mask);
    return status;
}

/* ---- scores --------------------------------------------------------------------------------------------- */

/* What a unit is: a column of `down` with its rows in the matrices in front. */
typedef struct unit_source {
    const char *down;           /* [n_embd][n] */
    const char *rows[2];        /* [n][n_embd]; the second may be absent */
    size_t n;                   /* columns */
    const double *h;            /* [n] of the statistics, or NULL */
    const float *gram;
    size_t group;               /* columns of a unit */
} unit_source;

static pith_status by_magnitude(prune_plan *p, uint32_t layer, const unit_source *u, const float *down,
                                double *scores) {
    add_column_squares(down, p->shape.n_embd, u->n, scores);
    for (unsigned i = 0; i < 2; i++) {
        char full[64];
        float *w;
        snprintf(full, sizeof full, "blk.%u.%s", (unsigned)layer, u->rows[i] ? u->rows[i] : "");
        if (!u->rows[i] || (i && !tensor_find(p->file, full))) continue;
        pith_status status = load(p, layer, u->rows[i], p->shape.n_embd, u->n, &w);
        if (status) return status;
        add_row_squares(w, u->n, p->shape.n_embd, scores);
        pith_free(p->ctx, w);
    }
    return PITH_OK;
}

static pith_status by_leverage(prune_plan *p, const unit_source *u, double *scores) {
    float *full = pith_alloc(p->ctx, u->n * u->n * sizeof *full), *out = pith_alloc(p->ctx, u->n * sizeof *out);
    pith_status status = full && out ? PITH_OK : pith_alloc_status(p->ctx);
    if (!status) {
        double mean = 0;
        for (size_t i = 0; i < u->n; i++) mean += u->h[i] / (double)u->n;
        dense_unpack(u->gram, u->n, full);
        status = dense_leverage(p->ctx, full, u->n, p->want.damp * mean, out);
    }
    for (size_t i = 0; i < u->n && !status; i++) scores[i] = (double)out[i] * out[i];
    pith_free(p->ctx, full);
    pith_free(p->ctx, out);
    return status;
}

/* The later a unit would go, the higher. */
static pith_status by_removal(prune_plan *p, const unit_source *u, const float *down, double *scores) {
    size_t n = u->n / u->group;
    uint32_t *order = pith_alloc(p->ctx, n * sizeof *order);
    double *losses = pith_alloc(p->ctx, (n + 1) * sizeof *losses);
    pith_status status = order && losses ? PITH_OK : pith_alloc_status(p->ctx);
    if (!status)
        status = select_obs_order(p->ctx, down, p->shape.n_embd, u->n, u->gram, p->want.damp, u->group, 1, order,
                                  losses);
    if (!status) {
        for (size_t i = 0; i < n; i++) scores[i * u->group] = (double)n + 1;
        for (size_t i = 0; i + 1 < n; i++) scores[order[i] * u->group] = (double)i + 1;
    }
    pith_free(p->ctx, order);
    pith_free(p->ctx, losses);
    return status;
}

/* scores[n] of the columns; those of a unit are then summed. Squares of norms where the method has norms. */
static pith_status score_units(prune_plan *p, uint32_t layer, const unit_source *u, double *scores) {
    float *down;
    pith_status status = load(p, layer, u->down, u->n, p->shape.n_embd, &down);
    if (status) return status;
    memset(scores, 0, u->n * sizeof *scores);
    switch (p->want.method) {
    case PRUNE_MAGNITUDE: status = by_magnitude(p, layer, u, down, scores); break;
    case PRUNE_MINITRON: memcpy(scores, u->h, u->n * sizeof *scores); break;
    case PRUNE_WANDA:
        add_column_squares(down, p->shape.n_embd, u->n, scores);
        for (size_t i = 0; i < u->n; i++) scores[i] *= u->h[i];
        break;
    case PRUNE_ZIPLM: status = by_removal(p, u, down, scores); break;
    case PRUNE_MODEGPT: status = by_leverage(p, u, scores); break;
    default:
        for (size_t i = 0; i < u->n; i += u->group) scores[i] = draw(p);
    }
    pith_free(p->ctx, down);
    for (size_t i = 0; i < u->n / u->group && u->group > 1; i++) {
        double sum = 0;
        for (size_t j = 0; j < u->group; j++) sum += scores[i * u->group + j];
        scores[i] = sum;
    }
    return status;
}

/* ---- what stays ------------------------------------------------------------------------------------------- */

static pith_status choose_neurons(prune_plan *p, uint32_t layer) {
    const prune_layer *s = p->stats ? &p->stats->layers[layer] : NULL;
    unit_source u = {.down = "ffn_down.weight", .rows = {"ffn_up.weight", "ffn_gate.weight"}, .group = 1};
    u.n = p->shape.n_ff;
    u.h = s ? s->neurons : NULL;
    u.gram = s ? s->neurons_gram : NULL;
    double *scores = pith_alloc(p->ctx, u.n * sizeof *scores);
    if (!scores) return pith_alloc_status(p->ctx);
    pith_status status = score_units(p, layer, &u, scores);
    if (!status) status = keep_best(p, scores, u.n, p->keep.n_ff, &p->neurons[layer]);
    pith_free(p->ctx, scores);
    return status;
}

/* ---- layers of different sizes ---- */

/* The orders in which neurons of all layers that stay would go, and the rows of loss over what is left. */
typedef struct uneven {
    uint32_t *order; /* [layers that stay][n_ff] */
    uint32_t *layer; /* [layers that stay] */
    alloc_row *rows; /* [layers that stay][n_levels] */
    uint32_t *chosen;
    double *losses; /* [n_ff + 1] */
    size_t step, n_levels; /* a level has so many neurons fewer than the one before */
    uint32_t n;
} uneven;

static pith_status add_curve(prune_plan *p, uneven *u, uint32_t i) {
    size_t n = p->shape.n_ff, least = n - (u->n_levels - 1) * u->step;
    float *down;
    pith_status status = load(p, u->layer[i], "ffn_down.weight", n, p->shape.n_embd, &down);
    if (status) return status;
    status = select_obs_order(p->ctx, down, p->shape.n_embd, n, p->stats->layers[u->layer[i]].neurons_gram,
                              p->want.damp, 1, least, u->order + i * n, u->losses);
    double outputs = 0; /* what a layer does badly adds up in the stream as it is, not relative to what it says */
    if (!status)
        status = select_outputs(p->ctx, down, p->shape.n_embd, n, p->stats->layers[u->layer[i]].neurons_gram, 0,
                                &outputs);
    for (size_t k = 0; k < u->n_levels && !status; k++)
        u->rows[i * u->n_levels + k] = (alloc_row){.unit = i, .level = (uint32_t)k, .bytes = n - k * u->step,
                                                   .loss = outputs * u->losses[k * u->step]};
    pith_free(p->ctx, down);
    return status;
}

/* All but the first of the order. */
static pith_status take_level(prune_plan *p, const uneven *u, uint32_t i) {
    uint32_t n = p->shape.n_ff, *at = pith_alloc(p->ctx, n * sizeof *at), kept = 0;
    uint8_t *gone = pith_zalloc(p->ctx, n);
    size_t fewer = u->rows[u->chosen[i]].level * u->step;
    if (at && gone) {
        for (size_t k = 0; k < fewer; k++) gone[u->order[(size_t)i * n + k]] = 1;
        for (uint32_t j = 0; j < n; j++)
            if (!gone[j]) at[kept++] = j;
        p->neurons[u->layer[i]] = (cut_list){at, kept};
    } else {
        pith_free(p->ctx, at);
    }
    pith_free(p->ctx, gone);
    return at && gone ? PITH_OK : pith_alloc_status(p->ctx);
}

static pith_status choose_uneven(prune_plan *p) {
    const cut_shape *s = &p->shape;
    uneven u = {.n = p->layers.at ? p->layers.n : s->n_layers};
    u.step = s->n_ff >= 256 ? 32 : PITH_MAX(s->n_ff / 16, 1u);
    u.n_levels = (s->n_ff - 1) / u.step + 1; /* down to 1 neuron at least */
    u.order = pith_alloc(p->ctx, (size_t)u.n * s->n_ff * sizeof *u.order);
    u.layer = pith_alloc(p->ctx, u.n * sizeof *u.layer);
    u.rows = pith_alloc(p->ctx, u.n * u.n_levels * sizeof *u.rows);
    u.chosen = pith_alloc(p->ctx, u.n * sizeof *u.chosen);
    u.losses = pith_alloc(p->ctx, (s->n_ff + 1) * sizeof *u.losses);
    pith_status status =
        u.order && u.layer && u.rows && u.chosen && u.losses ? PITH_OK : pith_alloc_status(p->ctx);
    for (uint32_t i = 0; i < u.n && !status; i++) {
        u.layer[i] = p->layers.at ? p->layers.at[i] : i;
        status = add_curve(p, &u, i);
    }
    alloc_table table = {u.rows, u.n * u.n_levels, u.n};
    alloc_budget budget = {.bytes = (uint64_t)p->keep.n_ff * u.n};
    alloc_choice choice = {.rows = u.chosen};
    if (!status) status = alloc_mckp(p->ctx, &table, &budget, 0, &choice);
    for (uint32_t i = 0; i < u.n && !status; i++) status = take_level(p, &u, i);
    void *const owned[] = {u.order, u.layer, u.rows, u.chosen, u.losses};
    for (size_t i = 0; i < PITH_COUNT(owned); i++) pith_free(p->ctx, owned[i]);
    return status;
}

/* Whole key heads go first, by the sum over their query heads; of those that stay each keeps as many query heads. */
static pith_status choose_heads(prune_plan *p, uint32_t layer) {
    const prune_layer *s = p->stats ? &p->stats->layers[layer] : NULL;
    uint32_t n_keys = p->shape.n_kv_heads, per = p->shape.n_heads / n_keys;
    uint32_t per_kept = p->keep.n_heads / p->keep.n_kv_heads;
    unit_source u = {.down = "attn_output.weight", .rows = {"attn_q.weight", NULL}, .group = p->shape.head_dim};
    u.n = (size_t)p->shape.n_heads * p->shape.head_dim;
    u.h = s ? s->heads : NULL;
    u.gram = s ? s->heads_gram : NULL;
    double *scores = pith_alloc(p->ctx, u.n * sizeof *scores), *of_keys = pith_zalloc(p->ctx, n_keys * sizeof *of_keys);
    uint32_t *at = pith_alloc(p->ctx, p->keep.n_heads * sizeof *at), n = 0;
    cut_list keys = {0};
    pith_status status = scores && of_keys && at ? score_units(p, layer, &u, scores) : pith_alloc_status(p->ctx);
    for (uint32_t i = 0; i < p->shape.n_heads && !status; i++) of_keys[i / per] += scores[i];
    if (!status) status = keep_best(p, of_keys, n_keys, p->keep.n_kv_heads, &keys);
    for (uint32_t k = 0; k < keys.n && !status; k++) {
        cut_list heads = {0};
        status = keep_best(p, scores + keys.at[k] * per, per, per_kept, &heads);
        for (uint32_t i = 0; i < heads.n && !status; i++) at[n++] = keys.at[k] * per + heads.at[i];
        pith_free(p->ctx, (void *)(uintptr_t)heads.at);
    }
    pith_free(p->ctx, scores);
    pith_free(p->ctx, of_keys);
    pith_free(p->ctx, (void *)(uintptr_t)keys.at);
    if (status) pith_free(p->ctx, at);
    else p->heads[layer] = (cut_list){at, n};
    return status;
}

static pith_status choose_layers(prune_plan *p) {
    double *scores = pith_alloc(p->ctx, p->shape.n_layers * sizeof *scores);
    if (!scores) return pith_alloc_status(p->ctx);
    for (uint32_t l = 0; l < p->shape.n_layers; l++)
        scores[l] = p->want.method == PRUNE_RANDOM ? draw(p) : p->stats->layers[l].influence;
    pith_status status = keep_best(p, scores, p->shape.n_layers, p->keep.n_layers, &p->layers);
    pith_free(p->ctx, scores);
    return status;
}

static pith_status choose_channels(prune_plan *p) {
    size_t n = p->shape.n_embd;
    double *scores = pith_zalloc(p->ctx, n * sizeof *scores);
    if (!scores) return pith_alloc_status(p->ctx);
    for (size_t i = 0; i < n; i++)
        scores[i] = p->want.method == PRUNE_RANDOM ? draw(p) : p->stats ? p->stats->channels[i] : 0;
    const tensor_view *t = tensor_find(p->file, "token_embd.weight");
    pith_status status = PITH_OK;
    if (p->want.method == PRUNE_MAGNITUDE && t && t->ne[0] == n) {
        float *row = pith_alloc(p->ctx, n * sizeof *row);
        status = row ? PITH_OK : pith_alloc_status(p->ctx);
        memset(scores, 0, n * sizeof *scores);
        for (uint64_t i = 0; i < t->ne[1] && !status; i++) {
            blocks_decode(t->type, t->data + t->bytes / t->ne[1] * i, row, n);
            add_column_squares(row, 1, n, scores);
        }
        pith_free(p->ctx, row);
    }
    if (!status) status = keep_best(p, scores, n, p->keep.n_embd, &p->channels);
    pith_free(p->ctx, scores);
    return status;
}

/* ---- fitting anew ------------------------------------------------------------------------------------------ */

/* The list and the Gram matrix of the inputs of a tensor that is to be fitted; NULL when it is not. */
static const cut_list *fitted(const prune_plan *p, const tensor_view *t, const float **gram) {
    unsigned layer;
    int read = 0;
    char name[64];
    bool fits = p->want.method == PRUNE_ZIPLM || p->want.method == PRUNE_MODEGPT;
    snprintf(name, sizeof name, "%.*s", (int)PITH_MIN(t->name.size, sizeof name - 1), t->name.data);
    if (!fits || sscanf(name, "blk.%u.%n", &layer, &read) != 1 || !read || layer >= p->shape.n_layers) return NULL;
    const prune_layer *s = &p->stats->layers[layer];
    if (strcmp(name + read, "ffn_down.weight") == 0 && p->neurons && p->neurons[layer].at) {
        *gram = s->neurons_gram;
        return &p->neurons[layer];
    }
    if (strcmp(name + read, "attn_output.weight") == 0 && p->heads && p->heads[layer].at) {
        *gram = s->heads_gram;
        return &p->heads[layer];
    }
    return NULL;
}

static bool edits(void *opaque, const tensor_view *from) {
    const float *gram;
    return fitted(opaque, from, &gram) != NULL;
}

/* All rows are fitted, then those that stay are taken. */
static pith_status edit(void *opaque, const tensor_view *from, cut_list cols, cut_list rows, size_t n_cols,
                        size_t n_rows, float *values) {
    prune_plan *p = opaque;
    const float *gram = NULL;
    size_t old_cols = from->ne[0], old_rows = from->ne[1];
    if (!fitted(p, from, &gram) || !gram) return PITH_OK;
    float *w = pith_alloc(p->ctx, old_cols * old_rows * sizeof *w);
    float *out = pith_alloc(p->ctx, n_cols * old_rows * sizeof *out);
    pith_status status = w && out ? PITH_OK : pith_alloc_status(p->ctx);
    if (!status) {
        blocks_decode(from->type, from->data, w, from->n_elements);
        status = select_refit(p->ctx, w, old_rows, old_cols, gram, cols.at, cols.n, p->want.damp * 0.01, out);
    }
    for (size_t i = 0; i < n_rows && !status; i++)
        memcpy(values + i * n_cols, out + (rows.at ? rows.at[i] : i) * n_cols, n_cols * sizeof *out);
    pith_free(p->ctx, w);
    pith_free(p->ctx, out);
    return status;
}

/* ---- plans --------------------------------------------------------------------------------------------------- */

/* What stays, in full. */
static cut_shape kept(const prune_request *want, const cut_shape *from) {
    cut_shape k = want->keep;
    if (!k.n_layers) k.n_layers = from->n_layers;
    if (!k.n_embd) k.n_embd = from->n_embd;
    if (!k.n_ff) k.n_ff = from->n_ff;
    if (!k.n_heads) k.n_heads = k.n_kv_heads ? from->n_heads / from->n_kv_heads * k.n_kv_heads : from->n_heads;
    if (!k.n_kv_heads) k.n_kv_heads = PITH_MIN(from->n_kv_heads, k.n_heads);
    k.head_dim = from->head_dim;
    return k;
}

bool prune_needs(const prune_request *want, const cut_shape *from, unsigned *grams) {
    cut_shape k = kept(want, from);
    bool fits = want->method == PRUNE_ZIPLM || want->method == PRUNE_MODEGPT;
    *grams = fits ? (k.n_ff < from->n_ff ? 1u : 0u) | (k.n_heads < from->n_heads ? 2u : 0u) : 0;
    if (want->method == PRUNE_RANDOM) return false;
    return want->method != PRUNE_MAGNITUDE || k.n_layers < from->n_layers;
}

static pith_status check(pith_ctx *ctx, const prune_plan *p) {
    const cut_shape *a = &p->shape, *b = &p->keep;
    unsigned grams;
    if (p->want.uneven && p->want.method != PRUNE_ZIPLM)
        return pith_fail(ctx, PITH_E_ARGUMENT, "pruning: uneven layers need the losses that ziplm knows");
    if (b->n_layers > a->n_layers || b->n_embd > a->n_embd || b->n_ff > a->n_ff || b->n_heads > a->n_heads ||
        b->n_kv_heads > a->n_kv_heads)
        return pith_fail(ctx, PITH_E_ARGUMENT,
                         "pruning: more is to stay than there is (%u layers, %u channels, %u neurons, %u and %u heads)",
                         (unsigned)a->n_layers, (unsigned)a->n_embd, (unsigned)a->n_ff, (unsigned)a->n_heads,
                         (unsigned)a->n_kv_heads);
    if (a->n_experts && b->n_ff < a->n_ff)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "pruning: the neurons of experts are chosen by heapr alone");
    if (b->n_heads % b->n_kv_heads || b->n_heads / b->n_kv_heads > a->n_heads / a->n_kv_heads)
        return pith_fail(ctx, PITH_E_ARGUMENT, "pruning: %u heads cannot share %u key heads evenly",
                         (unsigned)b->n_heads, (unsigned)b->n_kv_heads);
    if (!prune_needs(&p->want, a, &grams)) return PITH_OK;
    if (!p->stats) return pith_fail(ctx, PITH_E_ARGUMENT, "pruning: this method needs statistics of a text");
    if (memcmp(&p->stats->shape, a, sizeof *a) != 0)
        return pith_fail(ctx, PITH_E_ARGUMENT, "pruning: the statistics are those of another model");
    if (b->n_layers < a->n_layers && !p->stats->has_influence)
        return pith_fail(ctx, PITH_E_ARGUMENT, "pruning: the statistics do not know how much the layers change");
    for (uint32_t l = 0; l < a->n_layers; l++)
        if (((grams & 1) && !p->stats->layers[l].neurons_gram) || ((grams & 2) && !p->stats->layers[l].heads_gram))
            return pith_fail(ctx, PITH_E_ARGUMENT, "pruning: the statistics have no Gram matrices");
    return PITH_OK;
}

static pith_status choose(prune_plan *p) {
    pith_status status = PITH_OK;
    const cut_shape *a = &p->shape, *b = &p->keep;
    if (b->n_layers < a->n_layers) status = choose_layers(p);
    if (!status && b->n_embd < a->n_embd) status = choose_channels(p);
    if (b->n_ff < a->n_ff) p->neurons = pith_zalloc(p->ctx, a->n_layers * sizeof *p->neurons);
    if (b->n_heads < a->n_heads) p->heads = pith_zalloc(p->ctx, a->n_layers * sizeof *p->heads);
    if (!status && ((b->n_ff < a->n_ff && !p->neurons) || (b->n_heads < a->n_heads && !p->heads)))
        status = pith_alloc_status(p->ctx);
    if (!status && p->neurons && p->want.uneven) status = choose_uneven(p);
    for (uint32_t l = 0; l < a->n_layers && !status; l++) {
        if (p->neurons && !p->want.uneven) status = choose_neurons(p, l);
        if (p->heads && !status) status = choose_heads(p, l);
        if (!status) status = pith_tick(p->ctx, l + 1, a->n_layers);
    }
    p->cut = (cut_plan){.layers = p->layers, .channels = p->channels, .neurons = p->neurons, .heads = p->heads,
                        .shared_keys = p->want.shared_keys,
                        .edits = edits, .edit = edit, .opaque = p};
    return status;
}

pith_status prune_plan_new(pith_ctx *ctx, const tensor_file *f, const prune_request *request, const prune_stats *stats,
                           prune_plan **out) {
    *out = NULL;
    prune_plan *p = pith_zalloc(ctx, sizeof *p);
    if (!p) return pith_alloc_status(ctx);
    *p = (prune_plan){.ctx = ctx, .file = f, .stats = stats, .want = *request, .random = request->seed};
    if (!(p->want.damp > 0)) p->want.damp = 0.01;
    pith_status status = cut_shape_of(ctx, f, &p->shape);
    if (!status) {
        p->keep = kept(request, &p->shape);
        status = check(ctx, p);
    }
    if (!status) status = choose(p);
    if (status) {
        prune_plan_free(ctx, p);
        return status;
    }
    *out = p;
    return PITH_OK;
}

void prune_plan_free(pith_ctx *ctx, prune_plan *p) {
    if (!p) return;
    for (uint32_t l = 0; l < p->shape.n_layers; l++) {
        if (p->neurons) pith_free(ctx, (void *)(uintptr_t)p->neurons[l].at);
        if (p->heads) pith_free(ctx, (void *)(uintptr_t)p->heads[l].at);
    }
    pith_free(ctx, p->neurons);
    pith_free(ctx, p->heads);
    pith_free(ctx, (void *)(uintptr_t)p->layers.at);
    pith_free(ctx, (void *)(uintptr_t)p->channels.at);
    pith_free(ctx, p);
}

const cut_plan *prune_cut(const prune_plan *p) { return &p->cut; }
