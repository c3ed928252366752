/* The network of the state-space byte model, one step forward and a chunk backward.
 *
 * A layer (after Mamba-2: Dao, Gu, "Transformers are SSMs", 2024), for channels i of head k:
 *     u = rmsnorm(input);  x, b, c, z, dt = W u;  x, b, c = silu(conv(x, b, c))
 *     dt_k = softplus(dt_k + bias_k);  a_k = exp(-dt_k exp(rate_k))
 *     h[s][i] = a_k^(s+1) h[s][i] + b[s] dt_k x[i];  y[i] = sum_s c[s] h[s][i] + skip[i] x[i]
 *     output = input + V rmsnorm(y * silu(z))
 * The powers of the decay give each channel the time scales 1, 1/2, 1/3, ... of its head. */
#include <math.h>

#include "kernels/predict/ssm.h"

#define NORM_EPSILON 1e-5f
#define RATE_FIRST 4e-3f /* learning rate at the start */
#define RATE_LAST 3e-4f  /* and in the end */
#define RATE_FALL 5e-4f  /* half way between after 1/RATE_FALL steps */
#define LAYER_RATE 0.15f /* of a layer's parameters, as a part of the rest's */
#define ADAM_BETA1 0.8f
#define ADAM_BETA2 0.9999f
#define ADAM_EPSILON 1e-6f
#define ADAM_CLIP 1e9f

/* normed = input / rms(input) * gain; gives 1/rms */
static float rms_forward(const exact_ops *x, float *normed, const float *input, const float *gain, size_t n) {
    float root = 1.0f / sqrtf(x->dot(input, input, n) / (float)n + NORM_EPSILON);
    x->scale(normed, root, input, gain, n);
    return root;
}

/* Adds to the gradients of input and gain; spends `back`, the gradient of normed. */
static void rms_backward(const exact_ops *x, float *back_input, float *back_gain, float *back, const float *input,
                         const float *gain, float root, size_t n) {
    /* d normed_i / d input_j = gain_i root (delta_ij - input_i input_j root^2 / n) */
    float scaled[1024];
    x->scale(scaled, root, input, back, n);
    x->axpy(back_gain, 1.0f, scaled, n);
    x->mul(back, back, gain, n);
    float along = x->dot(back, input, n);
    x->axpy(back_input, root, back, n);
    x->axpy(back_input, -(along * (root * root * root)) / (float)n, input, n);
}

static void layer_forward(ssm_net *net, size_t l, size_t t, float *result) {
    const exact_ops *x = net->x;
    const ssm_shape *s = &net->shape;
    const ssm_layer *at = &s->layer[l];
    const ssm_trace_layer *tr = &net->trace[l];
    const float *param = net->param;
    const size_t width = s->width, channels = s->channels, columns = s->columns, conv = s->conv_columns;

    const float *input = tr->input + t * width;
    float *normed = tr->normed + t * width, *projected = tr->projected + t * columns;
    tr->root[t] = rms_forward(x, normed, input, param + at->norm, width);
    memset(projected, 0, columns * sizeof *projected);
    x->matmul(projected, columns, normed, width, 1, param + at->in, columns, 1, columns, width);

    float *mixed = tr->mixed + t * conv, *active = tr->active + t * conv;
    memcpy(tr->window + (t + SSM_TAPS - 1) * conv, projected, conv * sizeof *projected);
    memcpy(mixed, param + at->conv_bias, conv * sizeof *mixed);
    for (size_t k = 0; k < SSM_TAPS; k++)
        x->muladd(mixed, tr->window + (t + k) * conv, param + at->conv + k * conv, conv);
    x->silu(active, mixed, conv);

    float *dt_raw = tr->dt_raw + t * SSM_HEADS, *dt = tr->dt + t * SSM_HEADS, *decay = tr->decay + t * SSM_HEADS;
    memcpy(dt_raw, projected + conv + channels, SSM_HEADS * sizeof *dt_raw);
    x->axpy(dt_raw, 1.0f, param + at->dt_bias, SSM_HEADS);
    x->softplus(dt, dt_raw, SSM_HEADS);
    float rate[SSM_HEADS];
    x->exp(rate, param + at->log_rate, SSM_HEADS);
    x->scale(decay, -1.0f, dt, rate, SSM_HEADS);
    x->exp(decay, decay, SSM_HEADS);

    float *decay_wide = tr->decay_wide + t * channels, *dt_wide = tr->dt_wide + t * channels;
    for (size_t i = 0; i < channels; i += SSM_HEADS) {
        memcpy(decay_wide + i, decay, SSM_HEADS * sizeof *decay);
        memcpy(dt_wide + i, dt, SSM_HEADS * sizeof *dt);
    }
    float *fed = tr->fed + t * channels, *read = tr->read + t * channels;
    const float *before = tr->state + t * s->state * channels;
    x->mul(fed, active, dt_wide, channels);
    x->recur(tr->state + (t + 1) * s->state * channels, read, before, decay_wide, active + channels,
             active + channels + s->state, fed, s->state, channels);
    x->muladd(read, active, param + at->skip, channels);

    float *gate = tr->gate + t * channels, *gated = tr->gated + t * channels, *output = tr->output + t * channels;
    x->silu(gate, projected + conv, channels);
    x->mul(gated, read, gate, channels);
    tr->gated_root[t] = rms_forward(x, output, gated, param + at->out_norm, channels);
    memcpy(result, input, width * sizeof *result);
    x->matmul(result, width, output, channels, 1, param + at->out, width, 1, width, channels);
}

float *ssm_net_input(ssm_net *net, size_t t) {
    return (net->shape.layers ? net->trace[0].input : net->last) + t * net->shape.width;
}

void ssm_net_forward(ssm_net *net, size_t t) {
    const exact_ops *x = net->x;
    const ssm_shape *s = &net->shape;
    for (size_t l = 0; l < s->layers; l++)
        layer_forward(net, l, t, (l + 1 < s->layers ? net->trace[l + 1].input : net->last) + t * s->width);
    float *normed = net->last_normed + t * s->width, *p = net->probability + t * SSM_SYMBOLS;
    net->last_root[t] = rms_forward(x, normed, net->last + t * s->width, net->param + s->norm, s->width);
    memcpy(p, net->param + s->bias, SSM_SYMBOLS * sizeof *p);
    x->matmul(p, SSM_SYMBOLS, normed, s->width, 1, net->param + s->head, SSM_SYMBOLS, 1, SSM_SYMBOLS, s->width);
    x->softmax(p, p, SSM_SYMBOLS);
}

/* The recurrence and the gate of one step, from the gradient of `output`. Leaves gradients of
 * the z and dt columns of the projection, and of `mixed`, in their places. */
static void cell_backward(ssm_net *net, size_t l, size_t t) {
    const exact_ops *x = net->x;
    const ssm_shape *s = &net->shape;
    const ssm_layer *at = &s->layer[l];
    const ssm_trace_layer *tr = &net->trace[l];
    const float *param = net->param;
    float *gradient = net->gradient;
    const size_t channels = s->channels, conv = s->conv_columns, state = s->state;

    const float *active = tr->active + t * conv, *before = tr->state + t * state * channels;
    float *back_active = net->back_conv + t * conv, *back_projected = net->back_projected + t * s->columns;
    float *back_gated = net->back_fed; /* free until the recurrence is run back */
    memset(back_gated, 0, channels * sizeof *back_gated);
    rms_backward(x, back_gated, gradient + at->out_norm, net->back_out + t * channels, tr->gated + t * channels,
                 param + at->out_norm, tr->gated_root[t], channels);
    x->mul(net->back_read, back_gated, tr->gate + t * channels, channels);
    x->mul(back_projected + conv, back_gated, tr->read + t * channels, channels);
    x->silu_back(back_projected + conv, tr->projected + t * s->columns + conv, channels);

    x->recur_back(net->back_state, net->back_decay, back_active + channels, back_active + channels + state,
                  net->back_fed, net->back_read, before, before + state * channels, tr->decay_wide + t * channels,
                  active + channels, active + channels + state, tr->fed + t * channels, state, channels);
    x->mul(back_active, net->back_fed, tr->dt_wide + t * channels, channels);
    x->muladd(back_active, net->back_read, param + at->skip, channels);
    x->muladd(gradient + at->skip, net->back_read, active, channels);

    /* decay = exp(-dt e^rate): both ways into dt, and into rate */
    float decay[SSM_HEADS] = {0}, dt[SSM_HEADS] = {0}, rate[SSM_HEADS], slope[SSM_HEADS];
    x->mul(net->back_fed, net->back_fed, active, channels);
    for (size_t i = 0; i < channels; i += SSM_HEADS) {
        x->axpy(decay, 1.0f, net->back_decay + i, SSM_HEADS);
        x->axpy(dt, 1.0f, net->back_fed + i, SSM_HEADS);
    }
    x->exp(rate, param + at->log_rate, SSM_HEADS);
    x->mul(decay, decay, tr->decay + t * SSM_HEADS, SSM_HEADS);
    x->scale(decay, -1.0f, decay, rate, SSM_HEADS); /* now the gradient of the exponent's dt */
    x->muladd(gradient + at->log_rate, decay, tr->dt + t * SSM_HEADS, SSM_HEADS);
    x->axpy(dt, 1.0f, decay, SSM_HEADS);
    x->sigmoid(slope, tr->dt_raw + t * SSM_HEADS, SSM_HEADS);
    x->mul(dt, dt, slope, SSM_HEADS);
    x->axpy(gradient + at->dt_bias, 1.0f, dt, SSM_HEADS);
    memcpy(back_projected + conv + channels, dt, sizeof dt);
    x->silu_back(back_active, tr->mixed + t * conv, conv);
}

/* back_x holds the gradient of the layer's result, and then that of its input. */
static void layer_backward(ssm_net *net, size_t l) {
    const exact_ops *x = net->x;
    const ssm_shape *s = &net->shape;
    const ssm_layer *at = &s->layer[l];
    const ssm_trace_layer *tr = &net->trace[l];
    const float *param = net->param;
    float *gradient = net->gradient;
    const size_t width = s->width, channels = s->channels, columns = s->columns, conv = s->conv_columns;
    const size_t chunk = s->chunk;

    x->matmul(gradient + at->out, width, tr->output, 1, channels, net->back_x, width, channels, width, chunk);
    memset(net->back_out, 0, chunk * channels * sizeof *net->back_out);
    x->matmul(net->back_out, channels, net->back_x, width, 1, net->out_turned[l], channels, chunk, channels, width);
    memset(net->back_projected, 0, chunk * columns * sizeof *net->back_projected);
    memset(net->back_state, 0, s->state * channels * sizeof *net->back_state);
    for (size_t t = chunk; t-- > 0;) cell_backward(net, l, t);

    for (size_t t = 0; t < chunk; t++) {
        const float *back = net->back_conv + t * conv;
        x->axpy(gradient + at->conv_bias, 1.0f, back, conv);
        for (size_t k = 0; k < SSM_TAPS; k++) {
            x->muladd(gradient + at->conv + k * conv, back, tr->window + (t + k) * conv, conv);
            if (t + k >= SSM_TAPS - 1)
                x->muladd(net->back_projected + (t + k - (SSM_TAPS - 1)) * columns, back, param + at->conv + k * conv,
                          conv);
        }
    }
    x->matmul(gradient + at->in, columns, tr->normed, 1, width, net->back_projected, columns, width, columns, chunk);
    memset(net->back_normed, 0, chunk * width * sizeof *net->back_normed);
    x->matmul(net->back_normed, width, net->back_projected, columns, 1, net->in_turned[l], width, chunk, width,
              columns);
    for (size_t t = 0; t < chunk; t++)
        rms_backward(x, net->back_x + t * width, gradient + at->norm, net->back_normed + t * width,
                     tr->input + t * width, param + at->norm, tr->root[t], width);
}

void ssm_net_backward(ssm_net *net, const uint8_t *came) {
    const exact_ops *x = net->x;
    const ssm_shape *s = &net->shape;
    float *gradient = net->gradient, *error = net->probability;
    const size_t width = s->width, chunk = s->chunk;
    /* The gradient of -ln p[came] by the logits is p minus one at what came. */
    for (size_t t = 0; t < chunk; t++) error[t * SSM_SYMBOLS + came[t]] -= 1.0f;
    x->matmul(gradient + s->head, SSM_SYMBOLS, net->last_normed, 1, width, error, SSM_SYMBOLS, width, SSM_SYMBOLS,
              chunk);
    for (size_t t = 0; t < chunk; t++) x->axpy(gradient + s->bias, 1.0f, error + t * SSM_SYMBOLS, SSM_SYMBOLS);
    memset(net->back_normed, 0, chunk * width * sizeof *net->back_normed);
    x->matmul(net->back_normed, width, error, SSM_SYMBOLS, 1, net->head_turned, width, chunk, width, SSM_SYMBOLS);
    memset(net->back_x, 0, chunk * width * sizeof *net->back_x);
    for (size_t t = 0; t < chunk; t++)
        rms_backward(x, net->back_x + t * width, gradient + s->norm, net->back_normed + t * width,
                     net->last + t * width, net->param + s->norm, net->last_root[t], width);
    for (size_t l = s->layers; l-- > 0;) layer_backward(net, l);
}

void ssm_net_turn(ssm_net *net) {
    const exact_ops *x = net->x;
    const ssm_shape *s = &net->shape;
    for (size_t l = 0; l < s->layers; l++) {
        x->transpose(net->in_turned[l], net->param + s->layer[l].in, s->width, s->columns);
        x->transpose(net->out_turned[l], net->param + s->layer[l].out, s->channels, s->width);
    }
    x->transpose(net->head_turned, net->param + s->head, s->width, SSM_SYMBOLS);
}

static void adam_range(ssm_net *net, size_t from, size_t to, const exact_adam *p) {
    net->x->adam(net->param + from, net->first + from, net->second + from, net->gradient + from, to - from, p);
}

/* Next power of beta; one that no longer matters beside 1 is 0, not a denormal. */
static float shrink(float power, float beta) { return power * beta < 1e-12f ? 0.0f : power * beta; }

void ssm_net_step(ssm_net *net) {
    const ssm_shape *s = &net->shape;
    net->n_steps += net->n_steps < UINT32_MAX;
    net->beta1_power = shrink(net->beta1_power, ADAM_BETA1);
    net->beta2_power = shrink(net->beta2_power, ADAM_BETA2);
    float root = sqrtf(1.0f - net->beta2_power);
    float rate = RATE_LAST + (RATE_FIRST - RATE_LAST) / (1.0f + RATE_FALL * (float)net->n_steps);
    exact_adam p = {rate * root / (1.0f - net->beta1_power), ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON * root, ADAM_CLIP};
    const size_t layers_from = s->layers ? s->layer[0].norm : s->norm;
    const size_t layers_to = s->layers ? s->layer[s->layers - 1].end : s->norm;
    adam_range(net, 0, layers_from, &p);
    adam_range(net, layers_to, s->n_params, &p);
    p.rate = p.rate * LAYER_RATE;
    adam_range(net, layers_from, layers_to, &p);
    ssm_net_turn(net);

    for (size_t l = 0; l < s->layers; l++) {
        const ssm_trace_layer *tr = &net->trace[l];
        memmove(tr->window, tr->window + s->chunk * s->conv_columns,
                (SSM_TAPS - 1) * s->conv_columns * sizeof *tr->window);
        memcpy(tr->state, tr->state + s->chunk * s->state * s->channels, s->state * s->channels * sizeof *tr->state);
    }
}
