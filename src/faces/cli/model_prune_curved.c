/* pith model prune by the curvature of the loss: rows and columns of every matrix (surgeon), hidden neurons (heapr). */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "artefacts/model/model.h"
#include "base/sink.h"
#include "faces/cli/model_prune.h"

enum { WINDOW = 512 };

typedef struct curved_run {
    pith_ctx *ctx;
    const prune_options *o;
    bool surgeon, mixture, zeros; /* zeros: matrices keep their shapes */
    lm_model *model;
    train_net *net;
    uint32_t *tokens;
    size_t n_windows, n_ctx;
    pith_buffer bytes;              /* without OUT */
    uint64_t n_all, n_gone, n_left; /* n_left: neurons of what was cut smaller */
    surgeon_result surgery;
    ruler_comparison comparison;
    bool compared;
    double *sums;   /* [groups] of scores */
    double seconds; /* processor time */
} curved_run;

bool prune_is_curved(const char *method) {
    return method && (strcasecmp(method, "surgeon") == 0 || strcasecmp(method, "heapr") == 0);
}

/* The first half of the built-in text is for choosing, the second for measuring. */
static int open_net(curved_run *r) {
    pith_buffer text = {0};
    size_t size;
    const char *path = r->o->text, *prose = ruler_prose(&size);
    int result = path ? lm_read_text(r->ctx, path, &text) : CLI_OK;
    if (result != CLI_OK) return result;
    uint32_t n_ctx = r->o->common.n_ctx ? r->o->common.n_ctx : WINDOW;
    r->n_ctx = PITH_MIN(n_ctx, lm_about(r->model)->n_ctx_train);
    pith_status status = train_net_open(r->ctx, r->model, &r->net);
    if (!status)
        status = train_windows(r->ctx, r->net, path ? (const void *)text.data : prose, path ? text.size : size / 2,
                               r->n_ctx, &r->tokens, &r->n_windows);
    r->n_windows = PITH_MIN(r->n_windows, (size_t)PITH_MAX(r->o->tokens / r->n_ctx, (uint64_t)1));
    if (!status && r->n_windows == 0)
        status = pith_fail(r->ctx, PITH_E_ARGUMENT, "the text does not fill a window of %zu tokens", r->n_ctx);
    pith_buffer_free(r->ctx, &text);
    return status ? lm_failed(r->ctx, r->o->common.names[0]) : CLI_OK;
}

/* ---- writing ------------------------------------------------------------------------------------------ */

typedef pith_status (*produce_fn)(curved_run *r, const void *what, tensor_write_fn write, void *opaque);

static int write_out(curved_run *r, produce_fn produce, const void *what) {
    const char *path = r->o->common.n_names > 1 ? r->o->common.names[1] : NULL;
    lm_writer writer;
    pith_sink memory = {r->ctx, &r->bytes};
    if (path && lm_writer_open(&writer, r->ctx, path, r->o->common.force) != CLI_OK) return CLI_FAIL;
    pith_status status = produce(r, what, path ? lm_write_piece : pith_sink_write, path ? (void *)&writer : &memory);
    if (status) lm_failed(r->ctx, path);
    if (path && lm_writer_close(&writer, status == PITH_OK, r->o->common.force) != CLI_OK) return CLI_FAIL;
    return status ? CLI_FAIL : CLI_OK;
}

/* Floats stay floats; all other types become halves. */
static pith_status write_net(curved_run *r, const void *what, tensor_write_fn write, void *opaque) {
    const tensor_view *t = tensor_find(lm_file(r->model), "blk.0.attn_output.weight");
    (void)what;
    return train_net_write(r->ctx, r->net, t && t->type == TENSOR_F32 ? TENSOR_F32 : TENSOR_F16, write, opaque);
}

static pith_status write_cut(curved_run *r, const void *what, tensor_write_fn write, void *opaque) {
    model_cut *cut = NULL;
    pith_status status = model_cut_new(r->ctx, lm_file(r->model), what, &cut);
    if (!status) status = model_cut_write(r->ctx, cut, write, opaque);
    model_cut_free(r->ctx, cut);
    return status;
}

/* The net's values in the place of the file's. */
static void full_name(const tensor_view *t, char name[80]) {
    snprintf(name, 80, "%.*s", (int)PITH_MIN(t->name.size, (size_t)79), t->name.data);
}
static bool edits(void *opaque, const tensor_view *from) {
    curved_run *r = opaque;
    char name[80];
    full_name(from, name);
    return strncmp(name, "blk.", 4) == 0 && train_net_tensor(r->net, name, NULL, NULL) != NULL;
}
static pith_status edit(void *opaque, const tensor_view *from, cut_list cols, cut_list rows, size_t n_cols,
                        size_t n_rows, float *values) {
    curved_run *r = opaque;
    char name[80];
    size_t width, height;
    full_name(from, name);
    const float *w = train_net_tensor(r->net, name, &height, &width);
    if (!w || width != from->ne[0] || height != from->ne[1])
        return pith_fail(r->ctx, PITH_E_CHECK, "tensor %s has another shape than in the net", name);
    for (size_t i = 0; i < n_rows; i++) {
        const float *row = w + (rows.at ? rows.at[i] : i) * width;
        for (size_t j = 0; j < n_cols; j++) values[i * n_cols + j] = row[cols.at ? cols.at[j] : j];
    }
    return PITH_OK;
}

/* Neurons that are not marked in gone[n_groups][n] stay, of the experts that do (NULL: all); `edited`: with the net's values. A block keeps one at least.
 * Groups are those of the plan: layers, of mixtures the experts of each. */
static int write_without(curved_run *r, const heapr_list *l, const uint8_t *gone, const cut_list *experts,
                         bool edited) {
    cut_list *neurons = pith_zalloc(r->ctx, l->n_groups * sizeof *neurons);
    uint32_t *at = pith_alloc(r->ctx, l->n * sizeof *at);
    int result = neurons && at ? CLI_OK : lm_failed(r->ctx, r->o->common.names[0]);
    for (size_t i = 0; i < l->n_groups && result == CLI_OK; i++) {
        uint32_t n = 0, *to = at + l->at[i].first;
        for (uint32_t k = 0; k < l->at[i].n; k++)
            if (!gone[l->at[i].first + k]) to[n++] = k;
        if (n == 0) to[n++] = 0;
        r->n_left += n;
        neurons[i] = (cut_list){to, n};
    }
    cut_plan plan = {.neurons = r->n_left < l->n ? neurons : NULL, .experts = experts, .opaque = r};
    if (edited) plan.edits = edits, plan.edit = edit;
    if (result == CLI_OK) result = write_out(r, write_cut, &plan);
    pith_free(r->ctx, neurons);
    pith_free(r->ctx, at);
    return result;
}

/* ---- rows and columns ----------------------------------------------------------------------------------- */

/* Without the neurons that give nothing: a row of gate or of up, or a column of down, is zeros. */
static int write_live(curved_run *r) {
    heapr_list *l = NULL;
    uint8_t *gone = NULL;
    pith_status status = heapr_list_new(r->ctx, r->net, &l);
    if (!status && !(gone = pith_zalloc(r->ctx, l->n))) status = pith_alloc_status(r->ctx);
    if (!status) heapr_find_idle(r->net, l, gone);
    int result = status ? lm_failed(r->ctx, r->o->common.names[0]) : write_without(r, l, gone, NULL, true);
    heapr_list_free(r->ctx, l);
    pith_free(r->ctx, gone);
    return result;
}

static int operate(curved_run *r) {
    surgeon_options o = {.method = SURGEON_FULL, .share = 0.2, .shots = (unsigned)r->o->shots, .damp = r->o->damp};
    char *end = NULL;
    if (r->o->uneven && r->mixture)
        return cli_error("prune: --uneven: all experts of a mixture have one number of neurons");
    if (r->o->share) o.share = strtod(r->o->share, &end) / 100;
    if (end && (end == r->o->share || strcmp(end, "%") != 0 || !(o.share > 0 && o.share < 1)))
        return cli_error("prune: --share: a percentage above 0 and below 100, not '%s'", r->o->share);
    if (surgeon_prune(r->ctx, r->net, r->tokens, r->n_windows, r->n_ctx, &o, NULL, &r->surgery) != PITH_OK)
        return lm_failed(r->ctx, r->o->common.names[0]);
    r->n_all = r->surgery.n_parameters;
    r->n_gone = r->surgery.n_gone;
    return r->o->uneven ? write_live(r) : write_out(r, write_net, NULL);
}

/* ---- neurons ---------------------------------------------------------------------------------------------- */

/* The `keep` of each layer whose neurons have the highest sums; lists in at[n_groups]. */
static void choose_experts(const curved_run *r, const heapr_list *l, const double *scores, uint32_t keep,
                           cut_list *experts, uint32_t *at) {
    uint32_t n = lm_about(r->model)->n_experts;
    double *sums = r->sums;
    for (size_t i = 0; i < l->n_groups; i++) {
        sums[i] = 0;
        for (size_t k = 0; k < l->at[i].n; k++) sums[i] += scores[l->at[i].first + k];
    }
    for (size_t layer = 0; layer < l->n_groups / n; layer++) {
        const double *own = sums + layer * n;
        uint32_t *to = at + layer * n, count = 0;
        for (uint32_t e = 0; e < n; e++) {
            uint32_t better = 0;
            for (uint32_t k = 0; k < n; k++) better += own[k] > own[e] || (own[k] == own[e] && k < e);
            if (better < keep) to[count++] = e;
        }
        experts[layer] = (cut_list){to, count};
    }
}

/* Without whole experts, and some neurons of each that stays. */
static int write_experts(curved_run *r, const heapr_list *l, const double *scores, const uint8_t *gone, uint32_t keep,
                         uint32_t neurons) {
    size_t n_layers = l->n_groups / lm_about(r->model)->n_experts;
    cut_list *experts = pith_zalloc(r->ctx, n_layers * sizeof *experts);
    uint32_t *at = pith_alloc(r->ctx, l->n_groups * sizeof *at);
    r->sums = pith_alloc(r->ctx, l->n_groups * sizeof *r->sums);
    int result = experts && at && r->sums ? CLI_OK : lm_failed(r->ctx, r->o->common.names[0]);
    if (result == CLI_OK) {
        choose_experts(r, l, scores, keep, experts, at);
        result = write_without(r, l, gone, experts, false);
    }
    r->n_left = n_layers * keep * neurons;
    r->n_gone = l->n - r->n_left;
    pith_free(r->ctx, r->sums);
    pith_free(r->ctx, at);
    pith_free(r->ctx, experts);
    return result;
}

static int rank(curved_run *r) {
    uint32_t keep, experts = 0, n_ff = lm_about(r->model)->n_ff;
    const char *share = r->o->neurons ? r->o->neurons : r->o->experts ? "100%" : "80%";
    heapr_list *l = NULL;
    curvature *c = NULL;
    double *scores = NULL;
    uint8_t *gone = NULL;
    if (prune_read_share("neurons", share, n_ff, &keep) != CLI_OK) return CLI_FAIL;
    if (r->o->experts && (!r->mixture || r->o->uneven))
        return cli_error("prune: --experts: of a mixture of experts, without --uneven");
    if (prune_read_share("experts", r->o->experts, lm_about(r->model)->n_experts, &experts) != CLI_OK) return CLI_FAIL;
    pith_status status = heapr_list_new(r->ctx, r->net, &l);
    for (size_t i = 0; l && i < l->n_groups; i++)
        if (l->at[i].n != n_ff && !status)
            status = pith_fail(r->ctx, PITH_E_UNSUPPORTED, "layers of different shapes are not ranked");
    if (!status && !(scores = pith_alloc(r->ctx, l->n * sizeof *scores))) status = pith_alloc_status(r->ctx);
    if (!status && !(gone = pith_zalloc(r->ctx, l->n))) status = pith_alloc_status(r->ctx);
    if (!status) status = heapr_curvature(r->ctx, r->net, r->tokens, r->n_windows, r->n_ctx, &c);
    if (!status) status = heapr_scores(r->ctx, r->net, l, c, HEAPR_SUMS, scores);
    if (!status)
        status = r->o->uneven ? heapr_choose(r->ctx, l, scores, l->n - l->n_groups * keep, gone)
                              : heapr_choose_each(r->ctx, l, scores, n_ff - keep, gone);
    int result = status ? lm_failed(r->ctx, r->o->common.names[0]) : CLI_OK;
    if (result == CLI_OK) {
        r->n_all = l->n;
        r->n_gone = l->n - l->n_groups * keep;
        if (r->zeros) heapr_remove(r->net, l, gone);
        result = r->zeros   ? write_out(r, write_net, NULL)
                 : experts ? write_experts(r, l, scores, gone, experts, keep)
                           : write_without(r, l, gone, NULL, false);
    }
    curvature_free(r->ctx, c);
    heapr_list_free(r->ctx, l);
    pith_free(r->ctx, scores);
    pith_free(r->ctx, gone);
    return result;
}

/* ---- what came out ---------------------------------------------------------------------------------------- */

static int look_at_result(curved_run *r, uint64_t *parameters) {
    const char *path = r->o->common.n_names > 1 ? r->o->common.names[1] : NULL;
    tensor_file *file;
    lm_model *m;
    int result = prune_reopen(r->ctx, path, &r->bytes, &file, &m);
    if (result == CLI_OK) {
        *parameters = lm_about(m)->n_parameters;
        result = prune_compare(r->ctx, r->o, r->model, m, &r->comparison, &r->compared);
    }
    if (m) lm_close(r->ctx, m);
    if (file) tensor_file_close(r->ctx, file);
    return result;
}

static int report(const curved_run *r, uint64_t parameters) {
    uint64_t before = lm_about(r->model)->n_parameters;
    const char *what = r->surgeon ? "weights of the layers' matrices" : "neurons";
    const char *kind = !r->zeros   ? ""
                       : r->n_left ? ", zeros where no whole neuron went"
                                   : ", zeros in tensors of the old shapes";
    if (r->o->common.json) {
        json_t *all =
            json_pack("{s:o,s:s,s:I,s:I,s:I,s:I,s:I,s:b,s:f}", "model", cli_json_text(r->o->common.names[0]), "method",
                      r->surgeon ? "surgeon" : "heapr", "tokens", (json_int_t)(r->n_windows * r->n_ctx),
                      r->surgeon ? "weights" : "neurons", (json_int_t)r->n_all, "gone", (json_int_t)r->n_gone,
                      "parameters_before", (json_int_t)before, "parameters", (json_int_t)parameters, "zeros", r->zeros,
                      "seconds", r->seconds);
        if (r->compared) prune_json_comparison(all, &r->comparison);
        return cli_json_print(stdout, all, JSON_INDENT(1));
    }
    printf("method       %s, by %zu tokens, %.1f s\n", r->surgeon ? "surgeon" : "heapr", r->n_windows * r->n_ctx,
           r->seconds);
    printf("gone         %" PRIu64 " of %" PRIu64 " %s (%.1f %%)%s\n", r->n_gone, r->n_all, what,
           100 * (double)r->n_gone / (double)r->n_all, kind);
    if (r->surgeon)
        printf("shots        %u: %" PRIu64 " rows, %" PRIu64 " columns\n", (unsigned)r->o->shots, r->surgery.n_rows,
               r->surgery.n_cols);
    if (r->n_left) printf("neurons      %" PRIu64 " stay\n", r->n_left);
    printf("parameters   %" PRIu64 " of %" PRIu64 " (%.1f %%)\n", parameters, before,
           100.0 * (double)parameters / (double)before);
    if (r->compared) prune_print_comparison(&r->comparison);
    return CLI_OK;
}

int prune_curved(pith_ctx *ctx, const prune_options *o) {
    curved_run r = {.ctx = ctx, .o = o, .surgeon = strcasecmp(o->method, "surgeon") == 0};
    const char *const others[] = {o->heads,    o->kv_heads, o->layers,
                                  o->channels, o->stats,    r.surgeon ? o->neurons : o->share,
                                  r.surgeon ? o->experts : NULL};
    uint64_t parameters = 0;
    for (size_t i = 0; i < PITH_COUNT(others); i++)
        if (others[i] || o->speedup != 0)
            return cli_error("prune: --method=%s goes with --%s alone", o->method, r.surgeon ? "share" : "neurons");
    double before = model_cpu_seconds();
    int result = lm_open_named(ctx, lm_model_path(o->common.names[0]), &r.model);
    if (result == CLI_OK) {
        r.mixture = lm_about(r.model)->n_experts > 0;
        r.zeros = r.surgeon || (r.mixture && o->uneven);
        result = open_net(&r);
    }
    lm_progress progress;
    lm_progress_start(&progress, ctx, "choosing", "windows");
    if (result == CLI_OK) result = r.surgeon ? operate(&r) : rank(&r);
    lm_progress_clear(&progress, ctx);
    r.seconds = model_cpu_seconds() - before;
    if (result == CLI_OK) result = look_at_result(&r, &parameters);
    if (result == CLI_OK) result = report(&r, parameters);
    pith_buffer_free(ctx, &r.bytes);
    pith_free(ctx, r.tokens);
    train_net_free(r.net);
    lm_close(ctx, r.model);
    return result;
}
