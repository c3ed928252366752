/* The architectures once more, in double precision, written straight from their papers and
 * llama.cpp's tensor names: whole sequences at a time, no cache, no batches, nothing shared with
 * the library but the reading of the file. */
#ifndef TESTS_LM_REFERENCE_H
#define TESTS_LM_REFERENCE_H

#include <math.h>
#include <stdio.h>

#include "formats/tensors/tensors.h"

typedef struct ref_model {
    const tensor_file *f;
    const char *architecture;
    size_t n_embd, n_layers, n_vocab, n_heads, n_kv, head, n_rope, n_ff;
    size_t layer; /* whose number counts where a key is a list */
    double epsilon, rope_base, rope_scale;
    bool layer_norm, halves;
} ref_model;

static const float *ref_data(const ref_model *m, int layer, const char *name) {
    char full[160];
    if (layer < 0)
        snprintf(full, sizeof full, "%s", name);
    else
        snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    const tensor_view *t = tensor_find(m->f, full);
    return t ? (const float *)(const void *)t->data : NULL;
}

static size_t ref_key(const ref_model *m, const char *key, size_t otherwise) {
    char full[96];
    uint64_t value = otherwise;
    snprintf(full, sizeof full, "%s.%s", m->architecture, key);
    const meta_value *v = meta_find(m->f, full);
    if (v && v->type == META_ARRAY) return (size_t)meta_number_at(v, m->layer);
    meta_u64(m->f, full, &value);
    return (size_t)value;
}

static double ref_number(const ref_model *m, const char *key, double otherwise) {
    char full[96];
    double value = otherwise;
    snprintf(full, sizeof full, "%s.%s", m->architecture, key);
    meta_f64(m->f, full, &value);
    return value;
}

/* y[rows] = w[rows][cols] x + bias */
static void ref_linear(const float *w, const float *bias, const double *x, double *y, size_t cols, size_t rows) {
    for (size_t r = 0; r < rows; r++) {
        y[r] = bias ? (double)bias[r] : 0.0;
        for (size_t c = 0; c < cols; c++) y[r] += (double)w[r * cols + c] * x[c];
    }
}

static void ref_norm(const ref_model *m, int layer, const char *name, const double *x, double *y) {
    char full[96];
    snprintf(full, sizeof full, "%s.weight", name);
    const float *w = ref_data(m, layer, full);
    snprintf(full, sizeof full, "%s.bias", name);
    const float *b = ref_data(m, layer, full);
    double mean = 0, square = 0;
    for (size_t i = 0; i < m->n_embd; i++) mean += x[i] / (double)m->n_embd;
    if (!m->layer_norm) mean = 0;
    for (size_t i = 0; i < m->n_embd; i++) square += (x[i] - mean) * (x[i] - mean) / (double)m->n_embd;
    for (size_t i = 0; i < m->n_embd; i++)
        y[i] = (x[i] - mean) / sqrt(square + m->epsilon) * (double)w[i] + (b ? (double)b[i] : 0.0);
}

static void ref_rope(const ref_model *m, double *x, size_t n_heads, size_t position) {
    const float *factors = ref_data(m, -1, "rope_freqs.weight");
    for (size_t h = 0; h < n_heads; h++) {
        for (size_t i = 0; i < m->n_rope / 2; i++) {
            double angle = (double)position / m->rope_scale * pow(m->rope_base, -2.0 * (double)i / (double)m->n_rope);
            if (factors) angle /= (double)factors[i];
            double *a = x + h * m->head + (m->halves ? i : 2 * i), *b = a + (m->halves ? m->n_rope / 2 : 1);
            double p = *a * cos(angle) - *b * sin(angle), q = *a * sin(angle) + *b * cos(angle);
            *a = p;
            *b = q;
        }
    }
}

static void ref_attention(const ref_model *m, int l, double *x, size_t n) {
    size_t nq = m->n_heads * m->head, nkv = m->n_kv * m->head, e = m->n_embd;
    double *q = calloc(n, nq * 8), *k = calloc(n, nkv * 8), *v = calloc(n, nkv * 8), *h = calloc(e, 8);
    double *out = calloc(nq, 8), *p = calloc(n, 8), *y = calloc(e, 8);
    const float *joint = ref_data(m, l, "attn_qkv.weight"), *joint_bias = ref_data(m, l, "attn_qkv.bias");
    for (size_t t = 0; t < n; t++) {
        ref_norm(m, l, "attn_norm", x + t * e, h);
        if (joint) {
            ref_linear(joint, joint_bias, h, q + t * nq, e, nq);
            ref_linear(joint + nq * e, joint_bias + nq, h, k + t * nkv, e, nkv);
            ref_linear(joint + (nq + nkv) * e, joint_bias + nq + nkv, h, v + t * nkv, e, nkv);
        } else {
            ref_linear(ref_data(m, l, "attn_q.weight"), ref_data(m, l, "attn_q.bias"), h, q + t * nq, e, nq);
            ref_linear(ref_data(m, l, "attn_k.weight"), ref_data(m, l, "attn_k.bias"), h, k + t * nkv, e, nkv);
            ref_linear(ref_data(m, l, "attn_v.weight"), ref_data(m, l, "attn_v.bias"), h, v + t * nkv, e, nkv);
        }
        if (strcmp(m->architecture, "gpt2")) {
            ref_rope(m, q + t * nq, m->n_heads, t);
            ref_rope(m, k + t * nkv, m->n_kv, t);
        }
    }
    for (size_t t = 0; t < n; t++) {
        for (size_t hd = 0; hd < m->n_heads; hd++) {
            size_t kv = hd / (m->n_heads / m->n_kv) * m->head;
            double sum = 0;
            for (size_t j = 0; j <= t; j++) {
                double s = 0;
                for (size_t i = 0; i < m->head; i++) s += q[t * nq + hd * m->head + i] * k[j * nkv + kv + i];
                sum += p[j] = exp(s / sqrt((double)m->head));
            }
            for (size_t i = 0; i < m->head; i++) {
                out[hd * m->head + i] = 0;
                for (size_t j = 0; j <= t; j++) out[hd * m->head + i] += p[j] / sum * v[j * nkv + kv + i];
            }
        }
        ref_linear(ref_data(m, l, "attn_output.weight"), ref_data(m, l, "attn_output.bias"), out, y, nq, e);
        for (size_t i = 0; i < e; i++) x[t * e + i] += y[i];
    }
    free(q), free(k), free(v), free(h), free(out), free(p), free(y);
}

static double ref_sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

static void ref_ffn(const ref_model *m, int l, double *x, size_t n) {
    size_t e = m->n_embd, ff = m->n_ff;
    double *h = calloc(e, 8), *g = calloc(ff, 8), *u = calloc(ff, 8), *y = calloc(e, 8);
    const float *gate = ref_data(m, l, "ffn_gate.weight");
    for (size_t t = 0; t < n; t++) {
        ref_norm(m, l, "ffn_norm", x + t * e, h);
        ref_linear(ref_data(m, l, "ffn_up.weight"), ref_data(m, l, "ffn_up.bias"), h, u, e, ff);
        if (gate) ref_linear(gate, NULL, h, g, e, ff);
        for (size_t i = 0; i < ff; i++)
            u[i] = gate ? g[i] * ref_sigmoid(g[i]) * u[i]
                        : 0.5 * u[i] * (1 + tanh(0.79788456080286535588 * (u[i] + 0.044715 * u[i] * u[i] * u[i])));
        ref_linear(ref_data(m, l, "ffn_down.weight"), ref_data(m, l, "ffn_down.bias"), u, y, ff, e);
        for (size_t i = 0; i < e; i++) x[t * e + i] += y[i];
    }
    free(h), free(g), free(u), free(y);
}

/* The softmax over all experts, the n_used likeliest, their probabilities made to sum to 1. */
static void ref_experts(const ref_model *m, int l, double *x, size_t n) {
    size_t e = m->n_embd, ff = m->n_ff, n_experts = ref_key(m, "expert_count", 0);
    size_t n_used = ref_key(m, "expert_used_count", 0);
    double *h = calloc(e, 8), *g = calloc(ff, 8), *u = calloc(ff, 8), *y = calloc(e, 8), *p = calloc(n_experts, 8);
    for (size_t t = 0; t < n; t++) {
        double all = 0, chosen = 0;
        ref_norm(m, l, "ffn_norm", x + t * e, h);
        ref_linear(ref_data(m, l, "ffn_gate_inp.weight"), NULL, h, p, e, n_experts);
        for (size_t k = 0; k < n_experts; k++) all += p[k] = exp(p[k]);
        for (size_t k = 0; k < n_experts; k++) p[k] /= all;
        for (int pass = 0; pass < 2; pass++)
            for (size_t k = 0; k < n_experts; k++) {
                size_t better = 0;
                for (size_t i = 0; i < n_experts; i++) better += p[i] > p[k];
                if (better >= n_used) continue;
                if (pass == 0) {
                    chosen += p[k];
                    continue;
                }
                ref_linear(ref_data(m, l, "ffn_up_exps.weight") + k * ff * e, NULL, h, u, e, ff);
                ref_linear(ref_data(m, l, "ffn_gate_exps.weight") + k * ff * e, NULL, h, g, e, ff);
                for (size_t i = 0; i < ff; i++) u[i] *= g[i] * ref_sigmoid(g[i]);
                ref_linear(ref_data(m, l, "ffn_down_exps.weight") + k * ff * e, NULL, u, y, ff, e);
                for (size_t i = 0; i < e; i++) x[t * e + i] += p[k] / chosen * y[i];
            }
    }
    free(h), free(g), free(u), free(y), free(p);
}

static void ref_plain_rms(const ref_model *m, double *x, size_t n) {
    double square = 0;
    for (size_t i = 0; i < n; i++) square += x[i] * x[i] / (double)n;
    for (size_t i = 0; i < n; i++) x[i] /= sqrt(square + m->epsilon);
}

static void ref_mamba(const ref_model *m, int l, double *x, size_t n) {
    size_t e = m->n_embd, inner = ref_key(m, "ssm.inner_size", 0), states = ref_key(m, "ssm.state_size", 0);
    size_t conv = ref_key(m, "ssm.conv_kernel", 0), rank = ref_key(m, "ssm.time_step_rank", 0);
    bool normed = false;
    meta_bool(m->f, "mamba.ssm.dt_b_c_rms", &normed);
    double *h = calloc(e, 8), *xz = calloc(n, 2 * inner * 8), *u = calloc(inner, 8),
           *dbc = calloc(rank + 2 * states, 8);
    double *dt = calloc(inner, 8), *state = calloc(inner, states * 8), *y = calloc(e, 8);
    const float *w = ref_data(m, l, "ssm_conv1d.weight"), *a = ref_data(m, l, "ssm_a"), *d = ref_data(m, l, "ssm_d");
    for (size_t t = 0; t < n; t++) {
        ref_norm(m, l, "attn_norm", x + t * e, h);
        ref_linear(ref_data(m, l, "ssm_in.weight"), NULL, h, xz + t * 2 * inner, e, 2 * inner);
        for (size_t c = 0; c < inner; c++) {
            double sum = (double)ref_data(m, l, "ssm_conv1d.bias")[c];
            for (size_t k = 0; k < conv; k++)
                if (t + k + 1 >= conv) sum += (double)w[c * conv + k] * xz[(t + k + 1 - conv) * 2 * inner + c];
            u[c] = sum * ref_sigmoid(sum);
        }
        ref_linear(ref_data(m, l, "ssm_x.weight"), NULL, u, dbc, inner, rank + 2 * states);
        if (normed)
            ref_plain_rms(m, dbc, rank), ref_plain_rms(m, dbc + rank, states),
                ref_plain_rms(m, dbc + rank + states, states);
        ref_linear(ref_data(m, l, "ssm_dt.weight"), ref_data(m, l, "ssm_dt.bias"), dbc, dt, rank, inner);
        for (size_t c = 0; c < inner; c++) {
            double step = log1p(exp(dt[c])), out = (double)d[c] * u[c], z = xz[t * 2 * inner + inner + c];
            for (size_t s = 0; s < states; s++) {
                double *hs = &state[c * states + s];
                *hs = exp(step * (double)a[c * states + s]) * *hs + step * dbc[rank + s] * u[c];
                out += dbc[rank + states + s] * *hs;
            }
            u[c] = out * z * ref_sigmoid(z);
        }
        ref_linear(ref_data(m, l, "ssm_out.weight"), NULL, u, y, inner, e);
        for (size_t i = 0; i < e; i++) x[t * e + i] += y[i];
    }
    free(h), free(xz), free(u), free(dbc), free(dt), free(state), free(y);
}

static void ref_lerp(const ref_model *m, int l, const char *name, const double *x, const double *prev, double *y) {
    const float *mix = ref_data(m, l, name);
    for (size_t i = 0; i < m->n_embd; i++) y[i] = x[i] * (double)mix[i] + prev[i] * (1 - (double)mix[i]);
}

/* wkv as the plain weighted mean: weights e^(k_j + (t-1-j)*decay) of the past, e^(first + k_t) of now. */
static void ref_rwkv4(const ref_model *m, int l, double *x, size_t n) {
    size_t e = m->n_embd, ff = m->n_ff;
    double *h = calloc(n + 1, e * 8), *in = calloc(e, 8), *k = calloc(n, e * 8), *v = calloc(n, e * 8),
           *r = calloc(e, 8);
    double *f = calloc(ff, 8), *y = calloc(e, 8);
    const float *decay = ref_data(m, l, "time_mix_decay.weight"), *first = ref_data(m, l, "time_mix_first.weight");
    for (size_t t = 0; t < n; t++) {
        double *now = h + (t + 1) * e, *prev = h + t * e; /* the row before the first is zero */
        ref_norm(m, l, "attn_norm", x + t * e, now);
        ref_lerp(m, l, "time_mix_lerp_k.weight", now, prev, in);
        ref_linear(ref_data(m, l, "time_mix_key.weight"), NULL, in, k + t * e, e, e);
        ref_lerp(m, l, "time_mix_lerp_v.weight", now, prev, in);
        ref_linear(ref_data(m, l, "time_mix_value.weight"), NULL, in, v + t * e, e, e);
        ref_lerp(m, l, "time_mix_lerp_r.weight", now, prev, in);
        ref_linear(ref_data(m, l, "time_mix_receptance.weight"), NULL, in, r, e, e);
        for (size_t i = 0; i < e; i++) {
            double weight = exp((double)first[i] + k[t * e + i]), above = weight * v[t * e + i], below = weight;
            for (size_t j = 0; j < t; j++) {
                weight = exp(k[j * e + i] + (double)(t - 1 - j) * (double)decay[i]);
                above += weight * v[j * e + i];
                below += weight;
            }
            r[i] = ref_sigmoid(r[i]) * above / below;
        }
        ref_linear(ref_data(m, l, "time_mix_output.weight"), NULL, r, y, e, e);
        for (size_t i = 0; i < e; i++) x[t * e + i] += y[i];
    }
    for (size_t t = 0; t < n; t++) {
        double *now = h + (t + 1) * e, *prev = h + t * e;
        ref_norm(m, l, "attn_norm_2", x + t * e, now);
        ref_lerp(m, l, "channel_mix_lerp_k.weight", now, prev, in);
        ref_linear(ref_data(m, l, "channel_mix_key.weight"), NULL, in, f, e, ff);
        for (size_t i = 0; i < ff; i++) f[i] = f[i] > 0 ? f[i] * f[i] : 0;
        ref_linear(ref_data(m, l, "channel_mix_value.weight"), NULL, f, y, ff, e);
        ref_lerp(m, l, "channel_mix_lerp_r.weight", now, prev, in);
        ref_linear(ref_data(m, l, "channel_mix_receptance.weight"), NULL, in, r, e, e);
        for (size_t i = 0; i < e; i++) x[t * e + i] += ref_sigmoid(r[i]) * y[i];
    }
    free(h), free(in), free(k), free(v), free(r), free(f), free(y);
}

/* logits[n][n_vocab] of tokens ids[n]. */
static void reference_logits(const tensor_file *f, const char *architecture, const uint32_t *ids, size_t n,
                             double *logits) {
    ref_model m = {.f = f, .architecture = architecture};
    m.layer_norm = !strcmp(architecture, "gpt2") || !strcmp(architecture, "rwkv4");
    m.halves = !strcmp(architecture, "qwen2");
    m.n_embd = ref_key(&m, "embedding_length", 0);
    m.n_layers = ref_key(&m, "block_count", 0);
    m.n_heads = ref_key(&m, "attention.head_count", 0);
    m.n_kv = ref_key(&m, "attention.head_count_kv", m.n_heads);
    m.head = m.n_heads ? ref_key(&m, "attention.key_length", m.n_embd / m.n_heads) : 0;
    m.n_rope = ref_key(&m, "rope.dimension_count", m.head);
    m.n_ff = ref_key(&m, "feed_forward_length", 0);
    m.n_vocab = (size_t)tensor_find(f, "token_embd.weight")->ne[1];
    m.epsilon = ref_number(&m, m.layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", 0);
    m.rope_base = ref_number(&m, "rope.freq_base", 10000);
    m.rope_scale = ref_number(&m, "rope.scaling.factor", 1);
    size_t e = m.n_embd;
    double *x = calloc(n, e * 8), *h = calloc(e, 8);
    const float *embd = ref_data(&m, -1, "token_embd.weight"), *places = ref_data(&m, -1, "position_embd.weight");
    for (size_t t = 0; t < n; t++) {
        for (size_t i = 0; i < e; i++)
            x[t * e + i] = (double)embd[ids[t] * e + i] + (places ? (double)places[t * e + i] : 0);
        if (ref_data(&m, -1, "token_embd_norm.weight")) {
            ref_norm(&m, -1, "token_embd_norm", x + t * e, h);
            memcpy(x + t * e, h, e * 8);
        }
    }
    for (int l = 0; l < (int)m.n_layers; l++) {
        if (!strcmp(architecture, "mamba")) {
            ref_mamba(&m, l, x, n);
        } else if (!strcmp(architecture, "rwkv4")) {
            ref_rwkv4(&m, l, x, n);
        } else {
            m.layer = (size_t)l;
            m.n_heads = ref_key(&m, "attention.head_count", 0);
            m.n_kv = ref_key(&m, "attention.head_count_kv", m.n_heads);
            m.n_ff = ref_key(&m, "feed_forward_length", 0);
            ref_attention(&m, l, x, n);
            (ref_data(&m, l, "ffn_gate_inp.weight") ? ref_experts : ref_ffn)(&m, l, x, n);
        }
    }
    const float *out = ref_data(&m, -1, "output.weight");
    for (size_t t = 0; t < n; t++) {
        ref_norm(&m, -1, "output_norm", x + t * e, h);
        ref_linear(out ? out : embd, NULL, h, logits + t * m.n_vocab, e, m.n_vocab);
    }
    free(x), free(h);
}

#endif
