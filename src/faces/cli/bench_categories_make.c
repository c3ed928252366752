/* Models made smaller for `pith bench categories`, and what they come to. */
#include <string.h>

#include "faces/cli/bench_categories.h"

/* ---- figures ---- */

double categories_bytes(const tensor_file *f) {
    double sum = 0;
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *t = &f->tensors[i];
        bool again = false;
        for (size_t j = 0; j < i && !again; j++)
            again = f->tensors[j].bytes == t->bytes && memcmp(f->tensors[j].data, t->data, (size_t)t->bytes) == 0;
        if (!again) sum += (double)t->bytes;
    }
    return sum;
}

double categories_work(const lm_model *m) {
    const tensor_file *f = lm_file(m);
    const lm_shape *s = lm_about(m);
    const tensor_view *table = tensor_find(f, "token_embd.weight");
    bool tied = !tensor_find(f, "output.weight");
    double sum = 0;
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *t = &f->tensors[i];
        if (t->n_dims < 2 || (t == table && !tied)) continue;
        sum += (double)t->n_elements * (t->n_dims > 2 && s->n_experts ? (double)s->n_used / s->n_experts : 1);
    }
    return sum;
}

int categories_judge(experiment *e, categories *k, const lm_model *m, made *out) {
    model_score score;
    if (model_ruler_measure(e->ctx, k->c.ruler, m, &score) != PITH_OK) return exp_failed(e);
    out->kl = score.c.kl.mean;
    out->ratio = score.c.ratio;
    return CLI_OK;
}

int categories_recipe(experiment *e, categories *k, const tensor_file *f, const char *text, bool informed, made *out) {
    pith_recipe *recipe = NULL;
    model_overlay *overlay = NULL;
    lm_model *m = NULL;
    model_trial trial = {0};
    exp_step(e, text);
    pith_status status = model_overlay_new(e->ctx, f, NULL, false, &overlay);
    if (!status) status = pith_recipe_parse(e->ctx, "model", text, strlen(text), &recipe);
    if (!status)
        status = model_try_recipe(e->ctx, f, recipe, informed ? k->c.gathered : NULL, overlay, &trial);
    if (!status) status = model_overlay_open(e->ctx, overlay, &m);
    *out = (made){.bytes = (double)(trial.bytes + trial.other_bytes),
                  .work = k->base_work,
                  .seconds = trial.encode_seconds,
                  .data = informed};
    int result = status ? exp_failed(e) : categories_judge(e, k, m, out);
    lm_close(e->ctx, m);
    model_overlay_free(e->ctx, overlay);
    pith_recipe_free(e->ctx, recipe);
    return result;
}

/* ---- students ---- */

typedef struct sink {
    pith_ctx *ctx;
    pith_buffer *to;
} sink;

static pith_status append(void *opaque, const void *data, size_t size) {
    sink *s = opaque;
    return pith_buffer_append(s->ctx, s->to, data, size);
}

void categories_close(experiment *e, student *s) {
    if (s->trained)
        train_model_close(e->ctx, s->m);
    else
        lm_close(e->ctx, s->m);
    if (s->file) tensor_file_close(e->ctx, s->file);
    pith_buffer_free(e->ctx, &s->bytes);
    *s = (student){0};
}

static pith_status open_bytes(experiment *e, student *s) {
    pith_status status = tensor_file_open_memory(e->ctx, s->bytes.data, s->bytes.size, &s->file);
    return status ? status : lm_open_file(e->ctx, s->file, &s->m);
}

int categories_cut(experiment *e, categories *k, const cut_plan *plan, student *out) {
    model_cut *cut = NULL;
    *out = (student){0};
    sink to = {e->ctx, &out->bytes};
    pith_status status = model_cut_new(e->ctx, lm_file(k->c.m), plan, &cut);
    if (!status) status = pith_buffer_reserve(e->ctx, &out->bytes, model_cut_size(cut).tensor_bytes);
    if (!status) status = model_cut_write(e->ctx, cut, append, &to);
    if (!status) status = open_bytes(e, out);
    model_cut_free(e->ctx, cut);
    return status ? exp_failed(e) : CLI_OK;
}

int categories_prune(experiment *e, categories *k, const prune_request *request, student *out) {
    prune_plan *plan = NULL;
    *out = (student){0};
    exp_step(e, prune_method_names[request->method]);
    if (prune_plan_new(e->ctx, lm_file(k->c.m), request, k->c.stats, &plan) != PITH_OK) return exp_failed(e);
    int result = categories_cut(e, k, prune_cut(plan), out);
    prune_plan_free(e->ctx, plan);
    return result;
}

int categories_split(experiment *e, categories *k, uint32_t n_experts, uint32_t n_used, student *out) {
    enum { TOKENS = 8192 };
    const experts_options o = {.n_experts = n_experts, .n_used = n_used, .n_ctx = 256};
    experts_split *split = NULL;
    token_list tokens = {0};
    *out = (student){0};
    sink to = {e->ctx, &out->bytes};
    exp_step(e, "splitting");
    pith_status status = ruler_tokens(e->ctx, k->c.m, k->c.text.data, PITH_MIN((size_t)k->c.bytes, k->c.text.size), &tokens);
    if (!status) status = experts_split_new(e->ctx, k->c.m, tokens.id, PITH_MIN(tokens.n, (size_t)TOKENS), &o, &split);
    if (!status) status = experts_split_write(e->ctx, split, append, &to);
    if (!status) status = open_bytes(e, out);
    experts_split_free(e->ctx, split);
    token_list_free(e->ctx, &tokens);
    return status ? exp_failed(e) : CLI_OK;
}

/* ---- teaching ---- */

typedef struct coding {
    experiment *e;
    repr_chain *chain;
    pith_buffer room;
    float *back; /* room for any matrix */
} coding;

/* The layers' matrices become what their code leaves. */
static pith_status code_layers(void *opaque, train_net *net) {
    static const repr_stats none;
    coding *c = opaque;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < train_n_tensors(net) && !status; i++) {
        size_t rows, cols;
        const char *name = train_tensor_name(net, i);
        float *w = train_net_tensor(net, name, &rows, &cols);
        if (rows < 2 || strncmp(name, "blk.", 4) != 0) continue;
        repr_matrix matrix = {w, rows, cols};
        c->room.size = 0;
        status = repr_encode(c->e->ctx, c->chain, &matrix, &none, &c->room, c->back);
        if (!status) memcpy(w, c->back, rows * cols * sizeof *w);
    }
    return status;
}

int categories_teach(experiment *e, categories *k, const lm_model *from, const uint32_t *like, bool taught, bool coded,
                     student *out, double *seconds) {
    train_net *net = NULL;
    coding c = {.e = e};
    teaching t = {.steps = k->steps, .rate = k->rate, .decay = 0.01, .seed = k->c.seed};
    *out = (student){.trained = true};
    if (taught) t.teacher = k->c.m, t.mix = k->mix, t.temperature = k->temperature;
    pith_status status = coded ? repr_chain_new(e->ctx, &k->code->rules[0], &c.chain) : PITH_OK;
    if (coded) t.coded = code_layers, t.opaque = &c;
    if (!status) status = train_net_open_shared(e->ctx, from, like, &net);
    if (!status && coded && !(c.back = pith_alloc(e->ctx, train_n_weights(net) * sizeof *c.back)))
        status = pith_alloc_status(e->ctx);
    int result = status ? exp_failed(e) : teach(e, net, &k->lessons, 1, &t);
    if (result == CLI_OK && train_net_model(e->ctx, net, TENSOR_F16, &out->m) != PITH_OK) result = exp_failed(e);
    *seconds = t.seconds;
    train_net_free(net);
    repr_chain_free(e->ctx, c.chain);
    pith_buffer_free(e->ctx, &c.room);
    pith_free(e->ctx, c.back);
    return result;
}
