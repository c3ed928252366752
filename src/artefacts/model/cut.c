/* A plan made into lists of rows and columns for every tensor. */
#include "artefacts/model/cut_parts.h"

#include <stdio.h>

enum { WHOLE = CUT_WHOLE, CHANNELS = CUT_CHANNELS, NEURONS = CUT_NEURONS, QUERIES = CUT_QUERIES, KEYS = CUT_KEYS,
       EXPERTS = CUT_EXPERTS };

/* What the columns and rows of a tensor are, by its name; in layers behind "blk.N.". */
static const struct known {
    const char *name;
    bool layer;
    uint8_t cols, rows;
} known[] = {
    {"token_embd.weight", false, CHANNELS, WHOLE},     {"position_embd.weight", false, CHANNELS, WHOLE},
    {"output.weight", false, CHANNELS, WHOLE},         {"output_norm.weight", false, CHANNELS, WHOLE},
    {"output_norm.bias", false, CHANNELS, WHOLE},      {"rope_freqs.weight", false, WHOLE, WHOLE},
    {"attn_norm.weight", true, CHANNELS, WHOLE},       {"attn_norm.bias", true, CHANNELS, WHOLE},
    {"ffn_norm.weight", true, CHANNELS, WHOLE},        {"ffn_norm.bias", true, CHANNELS, WHOLE},
    {"attn_q.weight", true, CHANNELS, QUERIES},        {"attn_q.bias", true, QUERIES, WHOLE},
    {"attn_k.weight", true, CHANNELS, KEYS},           {"attn_k.bias", true, KEYS, WHOLE},
    {"attn_v.weight", true, CHANNELS, KEYS},           {"attn_v.bias", true, KEYS, WHOLE},
    {"attn_output.weight", true, QUERIES, CHANNELS},   {"attn_output.bias", true, CHANNELS, WHOLE},
    {"attn_qkv.weight", true, WHOLE, WHOLE},           {"attn_qkv.bias", true, WHOLE, WHOLE},
    {"ffn_gate.weight", true, CHANNELS, NEURONS},      {"ffn_up.weight", true, CHANNELS, NEURONS},
    {"ffn_up.bias", true, NEURONS, WHOLE},             {"ffn_down.weight", true, NEURONS, CHANNELS},
    {"ffn_down.bias", true, CHANNELS, WHOLE},          {"ffn_gate_inp.weight", true, CHANNELS, EXPERTS},
    {"ffn_gate_exps.weight", true, CHANNELS, NEURONS}, {"ffn_up_exps.weight", true, CHANNELS, NEURONS},
    {"ffn_down_exps.weight", true, NEURONS, CHANNELS},
};

static bool name_is(meta_string s, const char *text) {
    return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0;
}

/* "blk.12.attn_q.weight": 12 and what follows; UINT32_MAX when it is of no layer. */
static uint32_t layer_of(meta_string name, meta_string *rest) {
    uint32_t layer = 0;
    size_t i = 4;
    *rest = name;
    if (name.size < 6 || memcmp(name.data, "blk.", 4) != 0) return UINT32_MAX;
    for (; i < name.size && i < 10 && name.data[i] >= '0' && name.data[i] <= '9'; i++)
        layer = layer * 10 + (uint32_t)(name.data[i] - '0');
    if (i == 4 || i == name.size || name.data[i] != '.') return UINT32_MAX;
    *rest = (meta_string){name.data + i + 1, name.size - i - 1};
    return layer;
}

static pith_status need(pith_ctx *ctx, const tensor_file *f, const char *arch, const char *key, uint64_t most,
                        uint64_t otherwise, uint32_t *out) {
    char full[128];
    uint64_t value;
    snprintf(full, sizeof full, "%s.%s", arch, key);
    if (!meta_u64(f, full, &value)) {
        const meta_value *there = meta_find(f, full);
        if (there && there->type == META_ARRAY)
            return pith_fail(ctx, PITH_E_UNSUPPORTED, "key %s is a list: layers of different shapes are not cut", full);
        if (there || !otherwise) return pith_fail(ctx, PITH_E_FORMAT, "key %s is missing or no number", full);
        value = otherwise;
    }
    if (value == 0 || value > most)
        return pith_fail(ctx, PITH_E_FORMAT, "key %s is %llu", full, (unsigned long long)value);
    *out = (uint32_t)value;
    return PITH_OK;
}

static const char *arch_of(const tensor_file *f) {
    meta_string name;
    static const char *const names[] = {"llama", "qwen2", "gpt2"};
    if (!meta_text(f, "general.architecture", &name)) return NULL;
    for (size_t i = 0; i < PITH_COUNT(names); i++)
        if (name_is(name, names[i])) return names[i];
    return NULL;
}

pith_status cut_shape_of(pith_ctx *ctx, const tensor_file *f, cut_shape *s) {
    const char *arch = arch_of(f);
    s->n_experts = 0;
    if (!arch) return pith_fail(ctx, PITH_E_UNSUPPORTED, "only llama, qwen2 and gpt2 models are cut");
    if (meta_find(f, "pith.rope_layout") || meta_find(f, "pith.transposed"))
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "not in GGUF's layout yet: pith model convert makes it a GGUF file");
    pith_status status = need(ctx, f, arch, "block_count", 1024, 0, &s->n_layers);
    if (!status) status = need(ctx, f, arch, "embedding_length", 1 << 17, 0, &s->n_embd);
    if (!status) status = need(ctx, f, arch, "feed_forward_length", 1 << 20, 0, &s->n_ff);
    if (!status) status = need(ctx, f, arch, "attention.head_count", 1024, 0, &s->n_heads);
    if (!status) status = need(ctx, f, arch, "attention.head_count_kv", 1024, s->n_heads, &s->n_kv_heads);
    if (!status)
        status = need(ctx, f, arch, "attention.key_length", 1024, PITH_MAX(s->n_embd / s->n_heads, 1u), &s->head_dim);
    if (!status && meta_find(f, "llama.expert_count") && strcmp(arch, "llama") == 0) {
        uint64_t n = 0;
        if (!meta_u64(f, "llama.expert_count", &n) || n > 512)
            return pith_fail(ctx, PITH_E_FORMAT, "key llama.expert_count is no number up to 512");
        s->n_experts = n > 1 ? (uint32_t)n : 0;
    }
    if (!status && s->n_heads % s->n_kv_heads)
        return pith_fail(ctx, PITH_E_FORMAT, "%u key heads do not divide %u heads", (unsigned)s->n_kv_heads,
                         (unsigned)s->n_heads);
    return status;
}

/* ---- lists ---------------------------------------------------------------------------------------- */

static pith_status check_list(pith_ctx *ctx, const char *what, cut_list list, uint32_t n) {
    if (!list.at) return PITH_OK;
    if (list.n == 0 || list.n > n)
        return pith_fail(ctx, PITH_E_ARGUMENT, "cut: %u of %u %s", (unsigned)list.n, (unsigned)n, what);
    for (uint32_t i = 0; i < list.n; i++)
        if (list.at[i] >= n || (i && list.at[i] <= list.at[i - 1]))
            return pith_fail(ctx, PITH_E_ARGUMENT, "cut: %s %u is out of range or out of order", what,
                             (unsigned)list.at[i]);
    return PITH_OK;
}

/* The new number of a layer; UINT32_MAX when it goes. */
static uint32_t new_layer(const model_cut *c, uint32_t layer) {
    if (!c->plan.layers.at) return layer;
    for (uint32_t i = 0; i < c->plan.layers.n; i++)
        if (c->plan.layers.at[i] == layer) return i;
    return UINT32_MAX;
}

/* How many of n stay in each layer that stays, in kept[]. */
static pith_status check_layers(pith_ctx *ctx, const model_cut *c, const char *what, const cut_list *lists, uint32_t n,
                                uint32_t *kept) {
    for (uint32_t l = 0; l < c->from.n_layers; l++) {
        uint32_t to = new_layer(c, l);
        if (to == UINT32_MAX) continue;
        pith_status status = lists ? check_list(ctx, what, lists[l], n) : PITH_OK;
        if (status) return status;
        kept[to] = lists && lists[l].at ? lists[l].n : n;
    }
    return PITH_OK;
}

/* Whole experts: as many in each layer. */
static pith_status check_whole_experts(pith_ctx *ctx, model_cut *c) {
    uint32_t all = 0;
    uint64_t used = 1;
    if (!c->plan.experts) return PITH_OK;
    if (!c->from.n_experts) return pith_fail(ctx, PITH_E_UNSUPPORTED, "cut: the model has no experts");
    meta_u64(c->file, "llama.expert_used_count", &used);
    for (uint32_t l = 0; l < c->from.n_layers; l++) {
        if (new_layer(c, l) == UINT32_MAX) continue;
        pith_status status = check_list(ctx, "experts", c->plan.experts[l], c->from.n_experts);
        if (status) return status;
        uint32_t n = c->plan.experts[l].at ? c->plan.experts[l].n : c->from.n_experts;
        if (n < 2 || n < used || (all && n != all))
            return pith_fail(ctx, PITH_E_UNSUPPORTED,
                             "cut: layer %u keeps %u experts: all layers keep one number, 2 and %u at least", (unsigned)l,
                             (unsigned)n, (unsigned)used);
        all = n;
    }
    c->to.n_experts = all;
    return PITH_OK;
}

/* Neurons of experts, whose number is one. */
static pith_status check_experts(pith_ctx *ctx, const model_cut *c, uint32_t *kept) {
    uint32_t n = c->from.n_experts, all = UINT32_MAX;
    for (uint32_t l = 0; l < c->from.n_layers; l++) {
        uint32_t to = new_layer(c, l);
        if (to == UINT32_MAX) continue;
        kept[to] = c->from.n_ff;
        for (uint32_t e = 0; e < n && c->plan.neurons; e++) {
            cut_list list = c->plan.neurons[(size_t)l * n + e];
            pith_status status = check_list(ctx, "neurons", list, c->from.n_ff);
            if (status) return status;
            kept[to] = list.at ? list.n : c->from.n_ff;
            if (all != UINT32_MAX && kept[to] != all)
                return pith_fail(ctx, PITH_E_UNSUPPORTED,
                                 "cut: expert %u of layer %u keeps %u neurons, others %u: it must be one number",
                                 (unsigned)e, (unsigned)l, (unsigned)kept[to], (unsigned)all);
            all = kept[to];
        }
    }
    return PITH_OK;
}

/* The most of a list; sets *differ when they are not all the same. */
static uint32_t most_of(const uint32_t *list, uint32_t n, bool *differ) {
    uint32_t most = list[0];
    for (uint32_t i = 1; i < n; i++) {
        *differ = *differ || list[i] != list[0];
        most = PITH_MAX(most, list[i]);
    }
    return most;
}

/* Groups of head_dim elements. */
static cut_list spread(uint32_t *at, const uint32_t *heads, uint32_t n, uint32_t head_dim) {
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t d = 0; d < head_dim; d++) at[i * head_dim + d] = heads[i] * head_dim + d;
    return (cut_list){at, n * head_dim};
}

/* Rows of queries and of keys of a layer from the query heads that stay. */
static pith_status spread_heads(pith_ctx *ctx, model_cut *c, uint32_t layer) {
    cut_list heads = c->plan.heads[layer];
    uint32_t per = c->from.n_heads / c->from.n_kv_heads, dim = c->from.head_dim, n_keys = 0, here = 0, each = 0;
    if (!heads.at) return PITH_OK;
    uint32_t *queries = pith_alloc(ctx, (size_t)heads.n * dim * sizeof *queries);
    uint32_t *keys = pith_alloc(ctx, (size_t)heads.n * dim * sizeof *keys);
    uint32_t *groups = pith_alloc(ctx, heads.n * sizeof *groups);
    c->queries[layer].at = queries;
    c->keys[layer].at = keys;
    if (!queries || !keys || !groups) {
        pith_free(ctx, groups);
        return pith_alloc_status(ctx);
    }
    bool even = true;
    for (uint32_t i = 0; i < heads.n; i++) {
        uint32_t group = heads.at[i] / per;
        if (n_keys == 0 || groups[n_keys - 1] != group) {
            even = even && (n_keys < 2 || here == each);
            each = n_keys == 1 ? here : each;
            groups[n_keys++] = group;
            here = 0;
        }
        here++;
    }
    even = even && (n_keys < 2 || here == each);
    c->queries[layer] = spread(queries, heads.at, heads.n, dim);
    c->keys[layer] = spread(keys, groups, n_keys, dim);
    pith_free(ctx, groups);
    if (!even)
        return pith_fail(ctx, PITH_E_ARGUMENT, "cut: key heads of layer %u keep different numbers of query heads",
                         (unsigned)layer);
    c->kv_heads[new_layer(c, layer)] = n_keys;
    return PITH_OK;
}

/* The first of the key heads that become one stands for all. */
static pith_status merge_keys(pith_ctx *ctx, model_cut *c) {
    uint32_t n = c->plan.shared_keys, of = c->from.n_kv_heads, dim = c->from.head_dim;
    if (c->plan.heads || n > of || of % n)
        return pith_fail(ctx, PITH_E_ARGUMENT, "cut: %u key heads cannot be merged into %u%s", (unsigned)of, (unsigned)n,
                         c->plan.heads ? " while heads are taken out" : "");
    for (uint32_t l = 0; l < c->from.n_layers; l++) {
        uint32_t *keys = pith_alloc(ctx, (size_t)n * dim * sizeof *keys);
        if (!keys) return pith_alloc_status(ctx);
        for (uint32_t i = 0; i < n * dim; i++) keys[i] = i / dim * (of / n) * dim + i % dim;
        c->keys[l] = (cut_list){keys, n * dim};
    }
    for (uint32_t l = 0; l < c->to.n_layers; l++) c->kv_heads[l] = n;
    return PITH_OK;
}

static pith_status check_plan(pith_ctx *ctx, model_cut *c) {
    const cut_plan *p = &c->plan;
    c->to = c->from;
    pith_status status = check_list(ctx, "layers", p->layers, c->from.n_layers);
    if (!status) status = check_list(ctx, "channels", p->channels, c->from.n_embd);
    if (status) return status;
    uint32_t n = c->to.n_layers = p->layers.at ? p->layers.n : c->from.n_layers;
    if (p->channels.at) c->to.n_embd = p->channels.n;
    c->ff = pith_alloc(ctx, 3 * (size_t)n * sizeof *c->ff);
    if (!c->ff) return pith_alloc_status(ctx);
    c->heads = c->ff + n;
    c->kv_heads = c->heads + n;
    for (uint32_t l = 0; l < n; l++) c->kv_heads[l] = c->from.n_kv_heads;
    status = check_whole_experts(ctx, c);
    if (!status)
        status = c->from.n_experts ? check_experts(ctx, c, c->ff)
                                   : check_layers(ctx, c, "neurons", p->neurons, c->from.n_ff, c->ff);
    if (!status) status = check_layers(ctx, c, "heads", p->heads, c->from.n_heads, c->heads);
    if (status) return status;
    if ((p->heads || p->shared_keys || p->channels.at) && strcmp(c->arch, "gpt2") == 0)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "cut: gpt2 models keep their heads and channels");
    for (uint32_t l = 0; l < c->from.n_layers && p->heads && !status; l++) {
        uint32_t to = new_layer(c, l);
        if (to != UINT32_MAX && c->heads[to] != c->from.n_heads) status = spread_heads(ctx, c, l);
    }
    if (!status && p->shared_keys && p->shared_keys != c->from.n_kv_heads) status = merge_keys(ctx, c);
    if (status) return status;
    c->to.n_ff = most_of(c->ff, n, &c->ff_differ);
    c->to.n_heads = most_of(c->heads, n, &c->heads_differ);
    c->to.n_kv_heads = most_of(c->kv_heads, n, &c->heads_differ);
    if ((c->ff_differ || c->heads_differ) && strcmp(c->arch, "llama") != 0)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "cut: layers of a %s model cannot keep different numbers of %s",
                         c->arch, c->ff_differ ? "neurons" : "heads");
    return PITH_OK;
}

/* ---- tensors ------------------------------------------------------------------------------------------ */

static cut_list list_for(const model_cut *c, uint8_t axis, uint32_t layer) {
    const cut_plan *p = &c->plan;
    switch (axis) {
    case CHANNELS: return p->channels;
    case NEURONS:
        if (!p->neurons || layer >= c->from.n_layers) return (cut_list){0};
        return p->neurons[(size_t)layer * PITH_MAX(c->from.n_experts, 1u)];
    case EXPERTS: return p->experts && layer < c->from.n_layers ? p->experts[layer] : (cut_list){0};
    case QUERIES: return layer < c->from.n_layers ? c->queries[layer] : (cut_list){0};
    case KEYS: return layer < c->from.n_layers ? c->keys[layer] : (cut_list){0};
    default: return (cut_list){0};
    }
}

static uint64_t length_of(const model_cut *c, uint8_t axis) {
    switch (axis) {
    case CHANNELS: return c->from.n_embd;
    case NEURONS: return c->from.n_ff;
    case EXPERTS: return c->from.n_experts;
    case QUERIES: return (uint64_t)c->from.n_heads * c->from.head_dim;
    case KEYS: return (uint64_t)c->from.n_kv_heads * c->from.head_dim;
    default: return 0;
    }
}

/* The type that coded-anew columns get. */
static tensor_type type_for(tensor_type type, uint64_t columns) {
    const tensor_type_info *info = tensor_type_of(type);
    float zeros[256] = {0};
    uint8_t coded[512];
    bool fits = info->block <= 256 && info->block_bytes <= sizeof coded && columns % info->block == 0;
    if (fits && blocks_encode(type, zeros, coded, info->block)) return type;
    return columns % 32 == 0 ? TENSOR_Q8_0 : TENSOR_F16;
}

static pith_status plan_tensor(pith_ctx *ctx, model_cut *c, const tensor_view *t) {
    meta_string rest;
    cut_tensor *to = &c->tensors[c->n_tensors];
    uint32_t layer = layer_of(t->name, &rest), renamed = layer;
    const struct known *k = NULL;
    for (size_t i = 0; i < PITH_COUNT(known) && !k; i++)
        if (known[i].layer == (layer != UINT32_MAX) && name_is(rest, known[i].name)) k = &known[i];
    char shown[80];
    snprintf(shown, sizeof shown, "%.*s", (int)PITH_MIN(t->name.size, (size_t)70), t->name.data);
    if (!k) return pith_fail(ctx, PITH_E_UNSUPPORTED, "cut: no rule for tensor %s", shown);
    if (layer != UINT32_MAX) {
        if (layer >= c->from.n_layers) return pith_fail(ctx, PITH_E_FORMAT, "tensor %s is past the last layer", shown);
        if ((renamed = new_layer(c, layer)) == UINT32_MAX) return PITH_OK;
    }
    bool stack = c->from.n_experts && strstr(k->name, "_exps.");
    if (stack ? t->n_dims != 3 || t->ne[2] != c->from.n_experts : t->n_dims > 2)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "cut: tensor %s has %u dimensions, or not as many experts as are said",
                         shown, t->n_dims);
    if ((k->cols && t->ne[0] != length_of(c, k->cols)) || (k->rows && t->ne[1] != length_of(c, k->rows)))
        return pith_fail(ctx, PITH_E_FORMAT, "tensor %s has shape [%llu, %llu], which the metadata do not say", shown,
                         (unsigned long long)t->ne[0], (unsigned long long)t->ne[1]);
    *to = (cut_tensor){.from = t, .type = t->type};
    to->cols = list_for(c, k->cols, layer);
    to->rows = list_for(c, k->rows, layer);
    to->ne[0] = to->cols.at ? to->cols.n : t->ne[0];
    to->ne[1] = to->rows.at ? to->rows.n : t->ne[1];
    to->ne[2] = t->ne[2];
    to->cols_are = k->cols;
    to->rows_are = k->rows;
    if (stack && c->plan.neurons && layer < c->from.n_layers)
        to->stack = &c->plan.neurons[(size_t)layer * c->from.n_experts];
    if (stack) to->experts = list_for(c, EXPERTS, layer);
    if (to->experts.at) to->ne[2] = to->experts.n;
    to->edited = !stack && c->plan.edits && c->plan.edits(c->plan.opaque, t);
    if ((k->rows == KEYS || k->cols == KEYS) && c->keys[layer].at && c->plan.shared_keys)
        to->merged = c->from.n_kv_heads / c->plan.shared_keys;
    if (to->cols.at || to->edited || to->merged) to->type = type_for(t->type, to->ne[0]);
    if (layer == UINT32_MAX)
        snprintf(to->name, sizeof to->name, "%s", k->name);
    else
        snprintf(to->name, sizeof to->name, "blk.%u.%s", (unsigned)renamed, k->name);
    if (!tensor_type_bytes(to->type, to->ne[0], &to->row_bytes))
        return pith_fail(ctx, PITH_E_FORMAT, "tensor %s: rows of %llu elements are no whole blocks", shown,
                         (unsigned long long)to->ne[0]);
    c->size.n_parameters += to->ne[0] * to->ne[1] * to->ne[2];
    c->size.tensor_bytes += to->row_bytes * to->ne[1] * to->ne[2];
    c->n_tensors++;
    return PITH_OK;
}

pith_status model_cut_new(pith_ctx *ctx, const tensor_file *f, const cut_plan *plan, model_cut **out) {
    cut_shape shape;
    *out = NULL;
    pith_status status = cut_shape_of(ctx, f, &shape);
    if (status) return status;
    model_cut *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    *c = (model_cut){.file = f, .plan = *plan, .from = shape, .arch = arch_of(f)};
    c->queries = pith_zalloc(ctx, shape.n_layers * sizeof *c->queries);
    c->keys = pith_zalloc(ctx, shape.n_layers * sizeof *c->keys);
    c->tensors = pith_zalloc(ctx, (f->n_tensors + 1) * sizeof *c->tensors);
    status = c->queries && c->keys && c->tensors ? check_plan(ctx, c) : pith_alloc_status(ctx);
    for (size_t i = 0; i < f->n_tensors && !status; i++) status = plan_tensor(ctx, c, &f->tensors[i]);
    c->size.shape = c->to;
    if (c->ff_differ || c->heads_differ) {
        c->size.layer_ff = c->ff;
        c->size.layer_heads = c->heads;
        c->size.layer_kv_heads = c->kv_heads;
    }
    if (status) {
        model_cut_free(ctx, c);
        return status;
    }
    *out = c;
    return PITH_OK;
}

void model_cut_free(pith_ctx *ctx, model_cut *c) {
    if (!c) return;
    for (uint32_t l = 0; l < c->from.n_layers; l++) {
        if (c->queries) pith_free(ctx, (void *)(uintptr_t)c->queries[l].at);
        if (c->keys) pith_free(ctx, (void *)(uintptr_t)c->keys[l].at);
    }
    pith_free(ctx, c->queries);
    pith_free(ctx, c->keys);
    pith_free(ctx, c->ff);
    pith_free(ctx, c->tensors);
    pith_free(ctx, c);
}

cut_size model_cut_size(const model_cut *c) { return c->size; }
