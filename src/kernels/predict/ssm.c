/* An online-trained selective state-space model of bytes: it starts knowing nothing, predicts
 * each byte and learns from it (the idea of StateSMix: an SSM trained while it compresses,
 * beside sparse n-gram contexts, without any weights in the file).
 *
 * The input of a step is the last byte's vector plus the vectors of twelve hashed contexts,
 * each times a gate that is learnt for its kind, its age and the longest order seen; layers of a selective SSM follow
 * (ssm_net.c), then a softmax over 256 bytes. Every `chunk` bytes the gradient is run back
 * through the chunk, the recurrence included, and Adam takes a step; context vectors take
 * Adagrad steps of their own. All floats keep the rules of math/math.h. */
#include "kernels/predict/ssm.h"

#define P_SCALE 4194304.0f /* 2^22 */

/* ---- sizes ---------------------------------------------------------------- */

static bool valid(const ssm_params *p) {
    return p->width >= 16 && p->width <= 256 && p->width % 16 == 0 && p->layers <= SSM_MAX_LAYERS && p->state >= 1 &&
           p->state <= 64 && p->chunk >= 1 && p->chunk <= 256 && p->row_bits >= 8 && p->row_bits <= 24;
}

/* Takes n numbers, rounded up so that everything stays 64-byte aligned. */
static size_t take(size_t *next, size_t n) {
    size_t at = *next;
    *next += (n + 15) / 16 * 16;
    return at;
}

static ssm_shape shape_of(const ssm_params *p) {
    ssm_shape s = {.width = p->width, .layers = p->layers, .state = p->state, .chunk = p->chunk};
    s.channels = 2 * s.width;
    s.conv_columns = s.channels + 2 * s.state;
    s.columns = s.conv_columns + s.channels + SSM_HEADS;
    size_t n = 0;
    s.embedding = take(&n, SSM_SYMBOLS * s.width);
    for (size_t l = 0; l < s.layers; l++) {
        ssm_layer *at = &s.layer[l];
        at->norm = take(&n, s.width);
        at->in = take(&n, s.width * s.columns);
        at->conv = take(&n, SSM_TAPS * s.conv_columns);
        at->conv_bias = take(&n, s.conv_columns);
        at->dt_bias = take(&n, SSM_HEADS);
        at->log_rate = take(&n, SSM_HEADS);
        at->skip = take(&n, s.channels);
        at->out_norm = take(&n, s.channels);
        at->out = take(&n, s.channels * s.width);
        at->end = n;
    }
    s.norm = take(&n, s.width);
    s.head = take(&n, s.width * SSM_SYMBOLS);
    s.bias = take(&n, SSM_SYMBOLS);
    s.gates = take(&n, SSM_DEPTHS * SSM_CONTEXTS * SSM_COUNTS);
    s.n_params = n;
    return s;
}

/* Every float array of the network, in one place: called with `base` NULL it only counts. */
static size_t lay_out(ssm_net *net, float *base) {
    const ssm_shape *s = &net->shape;
    const size_t width = s->width, channels = s->channels, chunk = s->chunk;
    size_t next = 0;
#define PLACE(member, n)                                                                                               \
    do {                                                                                                               \
        size_t at_ = take(&next, n);                                                                                   \
        if (base) net->member = base + at_;                                                                            \
    } while (0)
    PLACE(param, s->n_params);
    PLACE(first, s->n_params);
    PLACE(second, s->n_params);
    PLACE(gradient, s->n_params);
    PLACE(head_turned, width * SSM_SYMBOLS);
    for (size_t l = 0; l < s->layers; l++) {
        PLACE(in_turned[l], width * s->columns);
        PLACE(out_turned[l], channels * width);
        PLACE(trace[l].input, chunk * width);
        PLACE(trace[l].root, chunk);
        PLACE(trace[l].normed, chunk * width);
        PLACE(trace[l].projected, chunk * s->columns);
        PLACE(trace[l].window, (SSM_TAPS - 1 + chunk) * s->conv_columns);
        PLACE(trace[l].mixed, chunk * s->conv_columns);
        PLACE(trace[l].active, chunk * s->conv_columns);
        PLACE(trace[l].dt_raw, chunk * SSM_HEADS);
        PLACE(trace[l].dt, chunk * SSM_HEADS);
        PLACE(trace[l].decay, chunk * SSM_HEADS);
        PLACE(trace[l].decay_wide, chunk * channels);
        PLACE(trace[l].dt_wide, chunk * channels);
        PLACE(trace[l].fed, chunk * channels);
        PLACE(trace[l].state, (1 + chunk) * s->state * channels);
        PLACE(trace[l].read, chunk * channels);
        PLACE(trace[l].gate, chunk * channels);
        PLACE(trace[l].gated, chunk * channels);
        PLACE(trace[l].gated_root, chunk);
        PLACE(trace[l].output, chunk * channels);
    }
    PLACE(last, chunk * width);
    PLACE(last_root, chunk);
    PLACE(last_normed, chunk * width);
    PLACE(probability, chunk * SSM_SYMBOLS);
    PLACE(back_x, chunk * width);
    PLACE(back_normed, chunk * width);
    PLACE(back_out, chunk * channels);
    PLACE(back_projected, chunk * s->columns);
    PLACE(back_conv, chunk * s->conv_columns);
    PLACE(back_state, s->state * channels);
    PLACE(back_decay, channels);
    PLACE(back_fed, channels);
    PLACE(back_read, channels);
#undef PLACE
    return next;
}

ssm_params ssm_params_for(uint64_t n_bytes) {
    ssm_params p = {.width = 64, .layers = 2, .state = 8, .chunk = 8, .row_bits = 12};
    /* About half of all contexts come once only, and twelve come with each byte. */
    while (p.row_bits < 18 && (uint64_t)1 << p.row_bits < 6 * n_bytes) p.row_bits++;
    return p;
}

uint64_t ssm_memory(const ssm_params *p) {
    if (!valid(p)) return 0;
    ssm_net net = {.shape = shape_of(p)};
    uint64_t rows = (uint64_t)1 << p->row_bits;
    return sizeof(ssm) + sizeof(float) * (uint64_t)lay_out(&net, NULL) +
           rows * (sizeof(ssm_row_info) + sizeof(float) * p->width) + SSM_HISTORY + SSM_MATCH_CELLS * sizeof(uint32_t) +
           p->chunk * (2 + SSM_CONTEXTS * sizeof(ssm_found));
}

/* ---- beginning -------------------------------------------------------------- */

/* Uniform in [-1, 1), from a fixed integer generator. */
static float uniform(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)((int32_t)(*state >> 8) - (1 << 23)) * (1.0f / 8388608.0f);
}

static void fill(float *w, size_t n, float scale, uint32_t *state) {
    for (size_t i = 0; i < n; i++) w[i] = uniform(state) * scale;
}

static void fill_with(float *w, size_t n, float value) {
    for (size_t i = 0; i < n; i++) w[i] = value;
}

/* The largest power of two whose square is at most 1/n. */
static float below_root(size_t n) {
    float scale = 1.0f;
    while (scale * scale * (float)n > 1.0f) scale = scale * 0.5f;
    return scale;
}

static void begin(ssm *m) {
    ssm_net *net = &m->net;
    const ssm_shape *s = &net->shape;
    float *w = net->param;
    uint32_t random = 12345;
    fill(w + s->embedding, SSM_SYMBOLS * s->width, 1.0f, &random);
    for (size_t l = 0; l < s->layers; l++) {
        const ssm_layer *at = &s->layer[l];
        fill_with(w + at->norm, s->width, 1.0f);
        fill(w + at->in, s->width * s->columns, below_root(s->width), &random);
        fill(w + at->conv, SSM_TAPS * s->conv_columns, 0.5f, &random);
        for (size_t i = 0; i < s->conv_columns; i++) w[at->conv + (SSM_TAPS - 1) * s->conv_columns + i] += 0.5f;
        /* softplus(-x) is about e^-x: first steps from a half down to 1/256, halving every two heads */
        for (size_t k = 0; k < SSM_HEADS; k++) w[at->dt_bias + k] = -0.4375f - 0.34375f * (float)k;
        fill_with(w + at->skip, s->channels, 1.0f);
        fill_with(w + at->out_norm, s->channels, 1.0f);
        fill(w + at->out, s->channels * s->width, 0.25f * below_root(s->channels), &random);
    }
    fill_with(w + s->norm, s->width, 1.0f);
    fill(w + s->head, s->width * SSM_SYMBOLS, 0.1875f, &random);
    fill_with(w + s->gates, SSM_DEPTHS * SSM_CONTEXTS * SSM_COUNTS, 1.0f);
    net->beta1_power = net->beta2_power = 1.0f;
    ssm_net_turn(net);
}

/* ---- stepping ---------------------------------------------------------------- */

/* The gates of one kind of context depend on the longest of orders 2, 3, 4, 6 seen before. */
static size_t gates_of(const ssm_shape *s, const ssm_found found[SSM_CONTEXTS]) {
    size_t depth = 0;
    for (size_t k = 0; k < SSM_DEPTHS; k++)
        if (found[k].age > 0) depth = k;
    return s->gates + depth * SSM_CONTEXTS * SSM_COUNTS;
}

static void step(ssm *m, uint8_t byte) {
    ssm_net *net = &m->net;
    const ssm_shape *s = &net->shape;
    const exact_ops *x = net->x;
    uint32_t hash[SSM_CONTEXTS];
    ssm_context_hashes(&m->context, hash);
    for (size_t k = 0; k < SSM_CONTEXTS; k++) ssm_rows_prefetch(&m->rows, hash[k]);
    float *input = ssm_net_input(net, m->t);
    m->fed[m->t] = byte;
    memcpy(input, net->param + s->embedding + byte * s->width, s->width * sizeof *input);
    ssm_found *found = m->found[m->t];
    for (size_t k = 0; k < SSM_CONTEXTS; k++) found[k] = ssm_rows_find(&m->rows, hash[k]);
    const float *gate = net->param + gates_of(s, found);
    for (size_t k = 0; k < SSM_CONTEXTS; k++)
        if (found[k].age > 0)
            x->axpy(input, gate[k * SSM_COUNTS + found[k].age], m->rows.vector + found[k].row * s->width, s->width);
    ssm_net_forward(net, m->t);
    m->pmf_ready = false;
}

static void learn(ssm *m) {
    ssm_net *net = &m->net;
    const ssm_shape *s = &net->shape;
    const exact_ops *x = net->x;
    ssm_net_backward(net, m->came);
    for (size_t t = 0; t < s->chunk; t++) {
        const float *back = net->back_x + t * s->width;
        x->axpy(net->gradient + s->embedding + m->fed[t] * s->width, 1.0f, back, s->width);
        float mean_square = x->dot(back, back, s->width) / (float)s->width;
        const size_t gates = gates_of(s, m->found[t]);
        for (size_t k = 0; k < SSM_CONTEXTS; k++) {
            ssm_found f = m->found[t][k];
            const size_t gate = gates + k * SSM_COUNTS + f.age;
            if (f.age > 0) net->gradient[gate] += x->dot(back, m->rows.vector + f.row * s->width, s->width);
            ssm_rows_train(&m->rows, x, f, back, mean_square, net->param[gate]);
        }
    }
    ssm_net_step(net);
}

pith_status ssm_new_on(pith_ctx *ctx, const ssm_params *p, const exact_ops *x, ssm **out) {
    *out = NULL;
    if (!valid(p))
        return pith_fail(ctx, PITH_E_ARGUMENT,
                         "no state-space model of width %u, %u layers, state %u, chunk %u, 2^%u rows", p->width,
                         p->layers, p->state, p->chunk, p->row_bits);
    ssm *m = pith_zalloc(ctx, sizeof *m);
    if (!m) return pith_alloc_status(ctx);
    m->ctx = ctx;
    m->net.x = x;
    m->net.shape = shape_of(p);
    const size_t n_rows = (size_t)1 << p->row_bits;
    m->rows.bits = p->row_bits;
    m->rows.width = p->width;
    m->arena_n = lay_out(&m->net, NULL);
    m->arena = pith_zalloc(ctx, m->arena_n * sizeof *m->arena);
    m->rows.info = m->arena ? pith_zalloc(ctx, n_rows * sizeof *m->rows.info) : NULL;
    m->rows.vector = m->rows.info ? pith_zalloc(ctx, n_rows * p->width * sizeof *m->rows.vector) : NULL;
    m->context.history = m->rows.vector ? pith_zalloc(ctx, SSM_HISTORY) : NULL;
    m->context.last_seen = m->context.history ? pith_zalloc(ctx, SSM_MATCH_CELLS * sizeof *m->context.last_seen) : NULL;
    m->found = m->context.last_seen ? pith_zalloc(ctx, p->chunk * sizeof *m->found) : NULL;
    m->fed = m->found ? pith_zalloc(ctx, 2 * (size_t)p->chunk) : NULL;
    if (!m->fed) {
        pith_status status = pith_alloc_status(ctx);
        ssm_free(m);
        return status;
    }
    m->came = m->fed + p->chunk;
    (void)lay_out(&m->net, m->arena);
    begin(m);
    step(m, 0);
    *out = m;
    return PITH_OK;
}

pith_status ssm_new(pith_ctx *ctx, const ssm_params *p, ssm **out) { return ssm_new_on(ctx, p, exact(), out); }

void ssm_free(ssm *m) {
    if (!m) return;
    pith_ctx *ctx = m->ctx;
    pith_free(ctx, m->fed);
    pith_free(ctx, m->found);
    pith_free(ctx, m->context.last_seen);
    pith_free(ctx, m->context.history);
    pith_free(ctx, m->rows.vector);
    pith_free(ctx, m->rows.info);
    pith_free(ctx, m->arena);
    pith_free(ctx, m);
}

void ssm_copy(ssm *dst, const ssm *src) {
    const size_t n_rows = (size_t)1 << src->rows.bits, chunk = src->net.shape.chunk;
    memcpy(dst->arena, src->arena, src->arena_n * sizeof *src->arena);
    dst->net.beta1_power = src->net.beta1_power;
    dst->net.beta2_power = src->net.beta2_power;
    dst->net.n_steps = src->net.n_steps;
    memcpy(dst->rows.info, src->rows.info, n_rows * sizeof *src->rows.info);
    memcpy(dst->rows.vector, src->rows.vector, n_rows * src->rows.width * sizeof *src->rows.vector);
    uint8_t *history = dst->context.history;
    uint32_t *last_seen = dst->context.last_seen;
    dst->context = src->context;
    dst->context.history = history;
    dst->context.last_seen = last_seen;
    memcpy(history, src->context.history, SSM_HISTORY);
    memcpy(last_seen, src->context.last_seen, SSM_MATCH_CELLS * sizeof *last_seen);
    memcpy(dst->found, src->found, chunk * sizeof *src->found);
    memcpy(dst->fed, src->fed, 2 * chunk);
    memcpy(dst->pmf, src->pmf, sizeof src->pmf);
    dst->pmf_ready = src->pmf_ready;
    dst->t = src->t;
}

const uint32_t *ssm_predict(ssm *m) {
    if (!m->pmf_ready) {
        const float *p = m->net.probability + m->t * SSM_SYMBOLS;
        for (size_t i = 0; i < SSM_SYMBOLS; i++) {
            /* written so that a NaN gives 1 */
            float scaled = p[i] * P_SCALE;
            m->pmf[i] = 1 + (scaled >= 0.0f && scaled <= P_SCALE ? (uint32_t)(int32_t)scaled : 0);
        }
        m->pmf_ready = true;
    }
    return m->pmf;
}

void ssm_update(ssm *m, uint8_t byte) {
    m->came[m->t] = byte;
    ssm_context_add(&m->context, byte);
    if (++m->t == m->net.shape.chunk) {
        learn(m);
        m->t = 0;
    }
    step(m, byte);
}
