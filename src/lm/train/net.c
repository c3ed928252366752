/* A model of the runtime as a graph of the learn kernel, and its weights as floats. */
#include <stdio.h>

#include "lm/train/parts.h"

typedef struct builder {
    train_net *net;
    const lm_model *m;
    learn_graph *g;
    pith_status status;
} builder;

/* A tensor of the file as a parameter, the one of the layer that the prefix names; LEARN_NONE when the file has none of
 * that name. */
static learn_id param(builder *b, const char *prefix, const char *name) {
    char full[72];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const learn_param *known = learn_param_find(b->g, full);
    if (known) return (learn_id)(known - learn_param_at(b->g, 0));
    const tensor_view *t = tensor_find(b->m->file, full);
    return t ? learn_param_add(b->g, full, (size_t)(t->ne[1] * t->ne[2]), (size_t)t->ne[0], (size_t)t->ne[2])
             : LEARN_NONE;
}

static learn_id linear(builder *b, learn_id x, const char *prefix, const char *name) {
    char full[32];
    snprintf(full, sizeof full, "%s.weight", name);
    learn_id weight = param(b, prefix, full);
    snprintf(full, sizeof full, "%s.bias", name);
    return learn_linear(b->g, x, weight, param(b, prefix, full));
}

static learn_id turned(builder *b, learn_id x) {
    const lm_model *m = b->m;
    if (m->rope == ROPE_NONE) return x;
    return learn_rope(b->g, x, m->dim[DIM_HEAD], m->rope_turns, m->dim[DIM_HALF_ROPE], m->rope == ROPE_HALVES);
}

static learn_id attention(builder *b, learn_id x, const char *prefix) {
    learn_id h = learn_norm(b->g, x, param(b, prefix, "attn_norm.weight"), (double)b->m->epsilon);
    learn_id q = turned(b, linear(b, h, prefix, "attn_q")), k = turned(b, linear(b, h, prefix, "attn_k")),
             v = linear(b, h, prefix, "attn_v");
    return linear(b, learn_attention(b->g, q, k, v, b->m->dim[DIM_HEAD]), prefix, "attn_output");
}

static learn_id mixture(builder *b, learn_id x, learn_id scores, learn_id gate, learn_id up, learn_id down,
                        const char *prefix) {
    const train_net *net = b->net;
    size_t n_used = b->m->dim[DIM_USED], n_kept = net->n_kept;
    learn_id vectors = LEARN_NONE;
    if (!n_kept) return learn_experts(b->g, x, scores, gate, up, down, n_used);
    if (net->vectors) {
        char name[72];
        snprintf(name, sizeof name, "%sffn_left.weight", prefix);
        vectors = learn_param_add(b->g, name, b->m->dim[DIM_EXPERTS], b->m->dim[DIM_EMBD], 1);
    }
    if (net->vectors == TRAIN_VECTORS_INPUT) x = learn_modulate(b->g, x, scores, vectors, n_kept, n_used);
    if (net->vectors == TRAIN_VECTORS_KEPT) x = learn_modulate(b->g, x, scores, vectors, 0, n_kept);
    learn_id y = learn_experts(b->g, x, scores, gate, up, down, n_kept);
    return net->vectors == TRAIN_VECTORS_OUTPUT ? learn_modulate(b->g, y, scores, vectors, n_kept, n_used) : y;
}

static learn_id feed_forward(builder *b, learn_id x, const char *prefix) {
    learn_id h = learn_norm(b->g, x, param(b, prefix, "ffn_norm.weight"), (double)b->m->epsilon);
    if (b->m->arch->ffn == FFN_EXPERTS) {
        learn_id scores = linear(b, h, prefix, "ffn_gate_inp"), gate = param(b, prefix, "ffn_gate_exps.weight"),
                 up = param(b, prefix, "ffn_up_exps.weight"), down = param(b, prefix, "ffn_down_exps.weight");
        return mixture(b, h, scores, gate, up, down, prefix);
    }
    learn_id gate = linear(b, h, prefix, "ffn_gate"), up = linear(b, h, prefix, "ffn_up");
    return linear(b, learn_gate(b->g, gate, up), prefix, "ffn_down");
}

static pith_status build(builder *b) {
    const lm_model *m = b->m;
    learn_id table = param(b, "", "token_embd.weight"), x = learn_embed(b->g, table);
    for (size_t i = 0; i < m->dim[DIM_LAYERS]; i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "blk.%zu.", b->net->like ? (size_t)b->net->like[i] : i);
        x = learn_add(b->g, x, attention(b, x, prefix));
        x = learn_add(b->g, x, feed_forward(b, x, prefix));
    }
    x = learn_norm(b->g, x, param(b, "", "output_norm.weight"), (double)m->epsilon);
    learn_id output = param(b, "", "output.weight");
    learn_cross_entropy(b->g, learn_linear(b->g, x, output == LEARN_NONE ? table : output, LEARN_NONE));
    return learn_graph_status(b->g);
}

/* ---- layers that share ---- */

/* "blk.3.ffn_up.weight" -> 3 and where ".ffn_up.weight" begins; UINT32_MAX: of no layer. */
static uint32_t layer_of(const char *name, size_t n, size_t *rest) {
    uint32_t layer = 0;
    size_t i = 4;
    if (n < 6 || memcmp(name, "blk.", 4) != 0) return UINT32_MAX;
    for (; i < n && i < 12 && name[i] >= '0' && name[i] <= '9'; i++) layer = 10 * layer + (uint32_t)(name[i] - '0');
    *rest = i;
    return i > 4 && i < n && name[i] == '.' ? layer : UINT32_MAX;
}

learn_param *train_param_find(const train_net *net, const char *name, size_t n) {
    char own[72];
    size_t rest = 0;
    uint32_t layer = net->like ? layer_of(name, n, &rest) : UINT32_MAX;
    if (n >= sizeof own - 8) return NULL;
    if (layer < net->source->dim[DIM_LAYERS])
        snprintf(own, sizeof own, "blk.%u%.*s", net->like[layer], (int)(n - rest), name + rest);
    else
        snprintf(own, sizeof own, "%.*s", (int)n, name);
    return learn_param_find(net->graph, own);
}

/* How many layers have the weights of a parameter's. */
static uint32_t sharers(const train_net *net, const learn_param *p) {
    size_t rest;
    uint32_t layer = net->like ? layer_of(p->name, strlen(p->name), &rest) : UINT32_MAX, n = 0;
    if (layer == UINT32_MAX) return 1;
    for (size_t i = 0; i < net->source->dim[DIM_LAYERS]; i++) n += net->like[i] == layer;
    return n;
}

static pith_status add_tensor(train_net *net, const tensor_view *t) {
    const learn_param *p = train_param_find(net, t->name.data, t->name.size);
    if (!p) return PITH_OK;
    size_t n = p->rows * p->cols;
    if (t->n_elements != n || t->ne[0] != p->cols || t->ne[2] != p->parts)
        return pith_fail(net->ctx, PITH_E_ARGUMENT, "%.*s is not of the shape of %s, whose weights it is to have",
                         (int)t->name.size, t->name.data, p->name);
    float *w = net->weights + p->at, *x = pith_alloc(net->ctx, n * sizeof *x), by = 1 / (float)sharers(net, p);
    if (!x) return pith_alloc_status(net->ctx);
    blocks_decode(t->type, t->data, x, n);
    for (size_t i = 0; i < n; i++) w[i] += by * x[i];
    pith_free(net->ctx, x);
    return PITH_OK;
}

static pith_status take_weights(train_net *net) {
    const tensor_file *f = net->source->file;
    pith_status status = PITH_OK;
    net->n_weights = learn_n_weights(net->graph);
    net->weights = pith_zalloc(net->ctx, net->n_weights * sizeof(float));
    if (!net->weights) return pith_alloc_status(net->ctx);
    for (size_t i = 0; i < f->n_tensors && !status; i++) status = add_tensor(net, &f->tensors[i]);
    return status;
}

static pith_status take_like(train_net *net, const uint32_t *like) {
    size_t n = net->source->dim[DIM_LAYERS];
    for (size_t i = 0; i < n; i++)
        if (like[i] > i || like[like[i]] != like[i])
            return pith_fail(net->ctx, PITH_E_ARGUMENT, "layer %zu cannot have the weights of layer %u", i, like[i]);
    net->like = pith_alloc(net->ctx, PITH_MAX(n, (size_t)1) * sizeof *net->like);
    if (!net->like) return pith_alloc_status(net->ctx);
    memcpy(net->like, like, n * sizeof *like);
    return PITH_OK;
}

static pith_status open_net(pith_ctx *ctx, const lm_model *m, const uint32_t *like, uint32_t n_kept,
                            train_vectors vectors, train_net **out) {
    *out = NULL;
    if (m->arch->mixer != MIX_ATTENTION || m->arch->norm != NORM_RMS ||
        (m->arch->ffn != FFN_SWIGLU && m->arch->ffn != FFN_EXPERTS))
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "training takes models of architecture llama, deci or qwen2, not %s",
                         m->arch->name);
    train_net *net = pith_zalloc(ctx, sizeof *net);
    if (!net) return pith_alloc_status(ctx);
    net->ctx = ctx;
    net->source = m;
    net->n_kept = n_kept;
    net->vectors = vectors;
    net->n_vocab = m->dim[DIM_VOCAB];
    pith_status status = like ? take_like(net, like) : PITH_OK;
    if (!status) status = learn_graph_new(ctx, &net->graph);
    if (!status) status = build(&(builder){.net = net, .m = m, .g = net->graph});
    if (!status) status = take_weights(net);
    if (status) {
        train_net_free(net);
        return status;
    }
    *out = net;
    return PITH_OK;
}

pith_status train_net_open(pith_ctx *ctx, const lm_model *m, train_net **out) {
    return open_net(ctx, m, NULL, 0, TRAIN_VECTORS_NONE, out);
}

pith_status train_net_open_shared(pith_ctx *ctx, const lm_model *m, const uint32_t *like, train_net **out) {
    return open_net(ctx, m, like, 0, TRAIN_VECTORS_NONE, out);
}

pith_status train_net_open_fewer(pith_ctx *ctx, const lm_model *m, uint32_t n_kept, train_vectors vectors,
                                 train_net **out) {
    *out = NULL;
    if (m->arch->ffn != FFN_EXPERTS || !n_kept || n_kept >= m->dim[DIM_USED])
        return pith_fail(ctx, PITH_E_ARGUMENT, "a token cannot keep %u of the model's %zu experts", n_kept,
                         m->arch->ffn == FFN_EXPERTS ? m->dim[DIM_USED] : (size_t)0);
    return open_net(ctx, m, NULL, n_kept, vectors, out);
}

pith_status train_net_new(pith_ctx *ctx, const train_shape *shape, const lm_model *tokenizer_from, uint64_t seed,
                          train_net **out) {
    pith_buffer bytes = {0};
    lm_model *m = NULL;
    *out = NULL;
    pith_status status = train_random_file(ctx, shape, tokenizer_from, seed, &bytes);
    if (status)
        pith_buffer_free(ctx, &bytes);
    else
        status = train_model_from(ctx, &bytes, &m);
    if (!status) status = train_net_open(ctx, m, out);
    if (status) {
        train_model_close(ctx, m);
        return status;
    }
    (*out)->own_source = m;
    return PITH_OK;
}

void train_forget_runs(train_net *net) {
    for (size_t i = 0; i < TRAIN_LANES; i++) {
        learn_run_free(net->run[i]);
        net->run[i] = NULL;
    }
    net->n_runs = 0;
}

void train_net_free(train_net *net) {
    if (!net) return;
    pith_ctx *ctx = net->ctx;
    train_forget_runs(net);
    for (size_t i = 0; i < TRAIN_LANES; i++) pith_free(ctx, net->gradient[i]);
    pith_free(ctx, net->like);
    pith_free(ctx, net->weights);
    pith_free(ctx, net->moment1);
    pith_free(ctx, net->moment2);
    pith_free(ctx, net->kept);
    pith_team_free(ctx, net->team);
    learn_graph_free(net->graph);
    train_model_close(ctx, net->own_source);
    pith_free(ctx, net);
}

/* ---- weights ---- */

size_t train_n_tensors(const train_net *net) { return learn_n_params(net->graph); }
const char *train_tensor_name(const train_net *net, size_t i) {
    return i < learn_n_params(net->graph) ? learn_param_at(net->graph, (learn_id)i)->name : NULL;
}

float *train_net_tensor(train_net *net, const char *name, size_t *rows, size_t *cols) {
    const learn_param *p = train_param_find(net, name, strlen(name));
    if (!p) return NULL;
    if (rows) *rows = p->rows;
    if (cols) *cols = p->cols;
    return net->weights + p->at;
}

bool train_net_hasten(train_net *net, const char *name, double times) {
    learn_param *p = train_param_find(net, name, strlen(name));
    if (p) p->speed = times;
    return p;
}

uint8_t *train_net_kept(train_net *net, const char *name) {
    const learn_param *p = train_param_find(net, name, strlen(name));
    if (!p) return NULL;
    if (!net->kept && (net->kept = pith_alloc(net->ctx, net->n_weights))) memset(net->kept, 1, net->n_weights);
    return net->kept ? net->kept + p->at : NULL;
}

const float *train_gradient(const train_net *net, const char *name) {
    const learn_param *p = train_param_find(net, name, strlen(name));
    return p && !p->frozen && net->has_gradient ? net->gradient[0] + p->at : NULL;
}

void train_net_choose(train_net *net, bool (*wanted)(void *opaque, const char *name), void *opaque) {
    for (size_t i = 0; i < learn_n_params(net->graph); i++) {
        learn_param *p = learn_param_at(net->graph, (learn_id)i);
        p->frozen = wanted && !wanted(opaque, p->name);
    }
    net->has_gradient = false;
    train_forget_runs(net); /* their plans know what is frozen */
}

size_t train_n_weights(const train_net *net) { return net->n_weights; }
void train_net_save(const train_net *net, float *values) {
    memcpy(values, net->weights, net->n_weights * sizeof *values);
}
void train_net_restore(train_net *net, const float *values) {
    memcpy(net->weights, values, net->n_weights * sizeof *values);
}
