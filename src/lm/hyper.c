/* Hyper-parameters: read from the metadata, held against their ranges and against each other. Sizes that may be another
 * in each layer come as one number, or as a list with one for each. */
#include <stdio.h>

#include "lm/model.h"

const char *hyper_key(const lm_model *m, const char *key, char out[96]) {
    snprintf(out, 96, "%s.%s", m->arch->name, key);
    return out;
}

/* The list with a number for each layer; NULL when the key is none or may not be one. */
static const meta_value *list_of(const lm_model *m, const arch_key *k) {
    char key[96];
    const meta_value *v = arch_differs(m->arch, k->into) ? meta_find(m->file, hyper_key(m, k->key, key)) : NULL;
    return v && v->type == META_ARRAY ? v : NULL;
}

static pith_status check_list(pith_ctx *ctx, const lm_model *m, const arch_key *k, const meta_value *list) {
    char key[96];
    hyper_key(m, k->key, key);
    if (list->count != m->dim[DIM_LAYERS])
        return pith_fail(ctx, PITH_E_FORMAT, "key %s is a list of %llu, there are %zu layers", key,
                         (unsigned long long)list->count, m->dim[DIM_LAYERS]);
    if (list->element == META_F32 || list->element == META_F64 || list->element == META_BOOL ||
        meta_type_bytes(list->element) == 0)
        return pith_fail(ctx, PITH_E_FORMAT, "key %s is not a list of whole numbers", key);
    for (uint64_t i = 0; i < list->count; i++) {
        double value = meta_number_at(list, i);
        if (value < k->least || value > k->most)
            return pith_fail(ctx, value == 0 ? PITH_E_UNSUPPORTED : PITH_E_FORMAT,
                             "key %s is %.0f for layer %llu, which is not in %u..%u", key, value,
                             (unsigned long long)i, k->least, k->most);
    }
    return PITH_OK;
}

/* Of lists the first. */
static pith_status read_dims(pith_ctx *ctx, lm_model *m) {
    char key[96];
    unsigned mixer = 1u << m->arch->mixer;
    for (size_t i = 0; i < arch_n_keys; i++) {
        const arch_key *k = &arch_keys[i];
        if (!(k->read_by & mixer)) continue;
        hyper_key(m, k->key, key);
        const meta_value *list = list_of(m, k);
        if (list) {
            pith_status status = check_list(ctx, m, k, list);
            if (status) return status;
            m->dim[k->into] = (size_t)meta_number_at(list, 0);
            continue;
        }
        uint64_t value = 0;
        if (!meta_u64(m->file, key, &value)) {
            if (meta_find(m->file, key)) return pith_fail(ctx, PITH_E_FORMAT, "key %s is not a whole number", key);
            if (k->needed_by & mixer) return pith_fail(ctx, PITH_E_FORMAT, "key %s is missing", key);
            continue;
        }
        if (value < k->least || value > k->most)
            return pith_fail(ctx, PITH_E_FORMAT, "key %s is %llu, which is not in %u..%u", key,
                             (unsigned long long)value, k->least, k->most);
        m->dim[k->into] = (size_t)value;
    }
    return PITH_OK;
}

/* One expert, or none, is a dense model, as llama.cpp has it. Keys that would change what experts do are refused. */
static pith_status experts(pith_ctx *ctx, lm_model *m) {
    static const char *const others[] = {"expert_shared_count", "expert_group_count"};
    size_t *d = m->dim;
    char key[96];
    const lm_arch *arch = arch_with_experts(m->arch);
    if (!arch)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "key %s is %zu: experts of architecture %s are not supported",
                         hyper_key(m, "expert_count", key), d[DIM_EXPERTS], m->arch->name);
    m->arch = arch;
    if (!d[DIM_USED] || d[DIM_USED] > d[DIM_EXPERTS])
        return pith_fail(ctx, PITH_E_FORMAT, "key %s is %zu, which is not in 1..%zu",
                         hyper_key(m, "expert_used_count", key), d[DIM_USED], d[DIM_EXPERTS]);
    double scale = 0;
    if (meta_f64(m->file, hyper_key(m, "expert_weights_scale", key), &scale) && scale != 0 && scale != 1)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "key %s is %g: not supported", key, scale);
    for (size_t i = 0; i < PITH_COUNT(others); i++) {
        uint64_t n = 0;
        if (meta_u64(m->file, hyper_key(m, others[i], key), &n) && n)
            return pith_fail(ctx, PITH_E_UNSUPPORTED, "key %s is %llu: not supported", key, (unsigned long long)n);
    }
    return PITH_OK;
}

static pith_status check_heads(pith_ctx *ctx, const lm_model *m, size_t *d) {
    if (!d[DIM_KV_HEADS]) d[DIM_KV_HEADS] = d[DIM_HEADS];
    if (d[DIM_HEADS] % d[DIM_KV_HEADS])
        return pith_fail(ctx, PITH_E_FORMAT, "key %s.attention.head_count_kv is %zu, which does not divide %zu heads",
                         m->arch->name, d[DIM_KV_HEADS], d[DIM_HEADS]);
    return PITH_OK;
}

/* Where layers differ, a head is as wide as those of the first layer would be, as in llama.cpp. */
static pith_status attention_dims(pith_ctx *ctx, lm_model *m) {
    size_t *d = m->dim, key_heads = d[DIM_KV_HEADS];
    const char *name = m->arch->name;
    pith_status status = check_heads(ctx, m, d);
    if (status) return status;
    d[DIM_KV_HEADS] = key_heads; /* 0: as many as heads, in each layer */
    if (!d[DIM_HEAD]) {
        if (d[DIM_EMBD] % d[DIM_HEADS])
            return pith_fail(ctx, PITH_E_FORMAT,
                             "key %s.attention.head_count is %zu, which does not divide embedding_length %zu", name,
                             d[DIM_HEADS], d[DIM_EMBD]);
        d[DIM_HEAD] = d[DIM_EMBD] / d[DIM_HEADS];
        if (d[DIM_HEAD] > 1024)
            return pith_fail(ctx, PITH_E_FORMAT, "key %s.attention.head_count is %zu: heads of %zu are too wide", name,
                             d[DIM_HEADS], d[DIM_HEAD]);
    }
    if (d[DIM_VALUE_HEAD] && d[DIM_VALUE_HEAD] != d[DIM_HEAD])
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "key %s.attention.value_length is %zu, keys have %zu: not supported",
                         name, d[DIM_VALUE_HEAD], d[DIM_HEAD]);
    if (m->arch->rope == ROPE_NONE)
        d[DIM_ROPE] = 0;
    else if (!d[DIM_ROPE])
        d[DIM_ROPE] = d[DIM_HEAD];
    if (d[DIM_ROPE] > d[DIM_HEAD] || d[DIM_ROPE] % 2)
        return pith_fail(ctx, PITH_E_FORMAT, "key %s.rope.dimension_count is %zu, which is odd or more than %zu", name,
                         d[DIM_ROPE], d[DIM_HEAD]);
    return d[DIM_EXPERTS] > 1 ? experts(ctx, m) : PITH_OK;
}

/* The vocabulary is as long as the table of embeddings; other places may only agree. */
static pith_status vocabulary(pith_ctx *ctx, lm_model *m) {
    const tensor_view *t = tensor_find(m->file, "token_embd.weight");
    if (!t) return pith_fail(ctx, PITH_E_FORMAT, "tensor token_embd.weight is missing");
    if (t->ne[1] < 1 || t->ne[1] > 1 << 24)
        return pith_fail(ctx, PITH_E_FORMAT, "tensor token_embd.weight has %llu rows, which is not in 1..%d",
                         (unsigned long long)t->ne[1], 1 << 24);
    if (m->dim[DIM_VOCAB] && m->dim[DIM_VOCAB] != t->ne[1])
        return pith_fail(ctx, PITH_E_FORMAT, "key %s.vocab_size is %zu, tensor token_embd.weight has %llu rows",
                         m->arch->name, m->dim[DIM_VOCAB], (unsigned long long)t->ne[1]);
    m->dim[DIM_VOCAB] = (size_t)t->ne[1];
    return PITH_OK;
}

static void follow(size_t *d) {
    d[DIM_Q] = d[DIM_HEADS] * d[DIM_HEAD];
    d[DIM_KV] = d[DIM_KV_HEADS] * d[DIM_HEAD];
    d[DIM_Q_KV] = d[DIM_Q] + d[DIM_KV];
    d[DIM_QKV] = d[DIM_Q_KV] + d[DIM_KV];
    d[DIM_HALF_ROPE] = d[DIM_ROPE] / 2;
    d[DIM_INNER_2] = 2 * d[DIM_INNER];
    d[DIM_RANK_STATES] = d[DIM_RANK] + 2 * d[DIM_STATE];
}

/* m->layers with the sizes of each; the model's own become the most of any. */
static pith_status make_layers(pith_ctx *ctx, lm_model *m) {
    size_t *d = m->dim, n = d[DIM_LAYERS], most[N_DIMS] = {0};
    /* as many layers as the file has tensors for, before there is memory for them */
    if (n > m->file->n_tensors)
        return pith_fail(ctx, PITH_E_FORMAT, "key %s.block_count is %zu, but the file has only %zu tensors",
                         m->arch->name, n, m->file->n_tensors);
    m->layers = pith_zalloc(ctx, n * sizeof *m->layers);
    if (!m->layers) return pith_alloc_status(ctx);
    bool differ = false;
    for (size_t l = 0; l < n; l++) {
        size_t *own = m->layers[l].dim;
        memcpy(own, d, sizeof m->dim);
        for (size_t i = 0; i < arch_n_keys; i++) {
            const meta_value *list = list_of(m, &arch_keys[i]);
            if (list) own[arch_keys[i].into] = (size_t)meta_number_at(list, l);
        }
        pith_status status = m->arch->mixer == MIX_ATTENTION ? check_heads(ctx, m, own) : PITH_OK;
        if (status) return status;
        follow(own);
        differ |= memcmp(own, m->layers[0].dim, sizeof m->dim) != 0;
        for (size_t i = 0; i < N_DIMS; i++) most[i] = PITH_MAX(most[i], own[i]);
    }
    memcpy(d, most, sizeof most);
    if (!differ) return PITH_OK;
    m->layer_sizes = pith_alloc(ctx, 3 * n * sizeof *m->layer_sizes);
    if (!m->layer_sizes) return pith_alloc_status(ctx);
    for (size_t l = 0; l < n; l++) {
        const size_t *own = m->layers[l].dim;
        m->layer_sizes[l] = (uint32_t)own[DIM_HEADS];
        m->layer_sizes[n + l] = (uint32_t)own[DIM_KV_HEADS];
        m->layer_sizes[2 * n + l] = (uint32_t)own[DIM_FF];
    }
    return PITH_OK;
}

pith_status hyper_read(pith_ctx *ctx, lm_model *m) {
    size_t *d = m->dim;
    d[DIM_ONE] = 1;
    pith_status status = read_dims(ctx, m);
    if (!status && m->arch->mixer == MIX_ATTENTION) status = attention_dims(ctx, m);
    if (!status) status = vocabulary(ctx, m);
    if (status) return status;
    if (!d[DIM_CTX]) d[DIM_CTX] = 1024; /* a recurrent model has no end */
    status = make_layers(ctx, m);
    if (status) return status;

    char key[96];
    double epsilon = 0;
    hyper_key(m, m->arch->epsilon_key, key);
    if (!meta_f64(m->file, key, &epsilon)) return pith_fail(ctx, PITH_E_FORMAT, "key %s is missing or no number", key);
    if (!(epsilon > 0 && epsilon < 1))
        return pith_fail(ctx, PITH_E_FORMAT, "key %s is %g, which is not between 0 and 1", key, epsilon);
    m->epsilon = (float)epsilon;
    if (m->arch->mixer == MIX_MAMBA) meta_bool(m->file, hyper_key(m, "ssm.dt_b_c_rms", key), &m->normed_ssm);

    m->shape = (lm_shape){.architecture = m->arch->name,
                          .n_layers = (uint32_t)d[DIM_LAYERS],
                          .n_embd = (uint32_t)d[DIM_EMBD],
                          .n_heads = (uint32_t)d[DIM_HEADS],
                          .n_kv_heads = (uint32_t)d[DIM_KV_HEADS],
                          .head_dim = (uint32_t)d[DIM_HEAD],
                          .n_ff = (uint32_t)d[DIM_FF],
                          .n_experts = m->arch->ffn == FFN_EXPERTS ? (uint32_t)d[DIM_EXPERTS] : 0,
                          .n_used = m->arch->ffn == FFN_EXPERTS ? (uint32_t)d[DIM_USED] : 0,
                          .n_vocab = (uint32_t)d[DIM_VOCAB],
                          .n_ctx_train = (uint32_t)d[DIM_CTX],
                          .recurrent = m->arch->mixer != MIX_ATTENTION};
    if (m->layer_sizes) {
        m->shape.layer_heads = m->layer_sizes;
        m->shape.layer_kv_heads = m->layer_sizes + d[DIM_LAYERS];
        m->shape.layer_ff = m->layer_sizes + 2 * d[DIM_LAYERS];
    }
    return PITH_OK;
}
