/* Mamba (Gu and Dao, 2023): input and gate, a short causal convolution per channel, then a
 * diagonal recurrence whose step, input and output vectors depend on the token:
 *     h[s] = exp(dt*a[s])*h[s] + b[s]*(dt*x);  y = sum over s of c[s]*h[s] + d*x;  out = y*silu(z)
 * The sum over states has the 16 lanes of math.h. */
#include <math.h>

#include "lm/session.h"
#include "math/math.h"

static size_t mamba_room(const lm_model *m) { return 4 * m->dim[DIM_INNER] + m->dim[DIM_RANK_STATES]; }

/* The last DIM_CONV - 1 inputs [..][inner], then the recurrence's [inner][states]. */
static size_t mamba_state(const lm_model *m) {
    return m->dim[DIM_INNER] * (m->dim[DIM_CONV] - 1) + m->dim[DIM_INNER] * m->dim[DIM_STATE];
}

typedef struct scan_job {
    const lm_session *s;
    uint32_t layer;
    const float *xz;    /* [row][2 * inner]: input, gate */
    float *x;           /* [row][inner] after the convolution; the result too */
    float *dt;          /* [row][inner] */
    const float *steps; /* [row][rank + 2 * states]: time step, b, c */
} scan_job;

#define STRIP 64 /* channels at a time */
#define MOST_STATES 1024

/* x[t] = silu(bias + sum over j of w[j]*input[t - (conv-1) + j]), in order of j. */
static void convolve(const scan_job *j, const lm_span *span, size_t at, size_t n) {
    const lm_model *m = j->s->m;
    size_t inner = m->dim[DIM_INNER], taps = m->dim[DIM_CONV], past = taps - 1;
    const lm_weight *w = m->layers[j->layer].w;
    float *state = state_at(j->s, span->sequence, j->layer);
    for (size_t t = 0; t < span->n; t++) {
        float *y = j->x + (span->row + t) * inner + at;
        for (size_t i = 0; i < n; i++) {
            float sum = 0.0f;
            for (size_t k = 0; k < taps; k++) {
                size_t from = t + k; /* counted from the oldest input kept */
                float input =
                    from < past ? state[from * inner + at + i] : j->xz[(span->row + from - past) * 2 * inner + at + i];
                sum = sum + w[L_SSM_CONV].values[(at + i) * taps + k] * input;
            }
            y[i] = sum + w[L_SSM_CONV_BIAS].values[at + i];
        }
        exact()->silu(y, y, n);
    }
    for (size_t k = 0; k < past; k++) {
        size_t from = span->n + k;
        const float *source = from < past ? state + from * inner : j->xz + (span->row + from - past) * 2 * inner;
        memcpy(state + k * inner + at, source + at, n * sizeof(float));
    }
}

static void scan(const scan_job *j, const lm_span *span, size_t at, size_t n) {
    const lm_model *m = j->s->m;
    const exact_ops *ops = exact();
    size_t inner = m->dim[DIM_INNER], states = m->dim[DIM_STATE], rank = m->dim[DIM_RANK];
    const lm_weight *w = m->layers[j->layer].w;
    float *h = state_at(j->s, span->sequence, j->layer) + inner * (m->dim[DIM_CONV] - 1) + at * states;
    float decay[MOST_STATES];
    for (size_t t = span->row; t < span->row + span->n; t++) {
        const float *z = j->xz + (t * 2 + 1) * inner + at, *b = j->steps + t * (rank + 2 * states) + rank,
                    *c = b + states;
        float *x = j->x + t * inner + at, *dt = j->dt + t * inner + at, gate[STRIP];
        for (size_t i = 0; i < n; i++) dt[i] = dt[i] + w[L_SSM_DT_BIAS].values[at + i];
        ops->softplus(dt, dt, n);
        ops->silu(gate, z, n);
        for (size_t i = 0; i < n; i++) {
            const float *a = w[L_SSM_A].values + (at + i) * states;
            float *hi = h + i * states, input = dt[i] * x[i];
            for (size_t k = 0; k < states; k++) decay[k] = dt[i] * a[k];
            ops->exp(decay, decay, states);
            for (size_t k = 0; k < states; k++) hi[k] = decay[k] * hi[k] + b[k] * input;
            x[i] = (ops->dot(hi, c, states) + w[L_SSM_D].values[at + i] * x[i]) * gate[i];
        }
    }
}

static void each_strip(const scan_job *j, size_t first, size_t n,
                       void (*fn)(const scan_job *, const lm_span *, size_t, size_t)) {
    size_t inner = j->s->m->dim[DIM_INNER], strips = (inner + STRIP - 1) / STRIP;
    for (size_t item = first; item < first + n; item++) {
        size_t at = item % strips * STRIP;
        fn(j, &j->s->spans[item / strips], at, PITH_MIN((size_t)STRIP, inner - at));
    }
}
static void convolve_piece(void *arg, size_t first, size_t n) { each_strip(arg, first, n, convolve); }
static void scan_piece(void *arg, size_t first, size_t n) { each_strip(arg, first, n, scan); }

/* An RMS norm without weights of x[n]. */
static void plain_norm(const lm_model *m, float *x, size_t n) {
    float a = 1.0f / sqrtf(exact()->dot(x, x, n) / (float)n + m->epsilon);
    for (size_t i = 0; i < n; i++) x[i] = a * x[i];
}

static pith_status mamba_run(lm_session *s, uint32_t layer) {
    const lm_model *m = s->m;
    const lm_weight *w = m->layers[layer].w;
    size_t n = s->n_rows, inner = m->dim[DIM_INNER], rank = m->dim[DIM_RANK], states = m->dim[DIM_STATE];
    size_t step_width = m->dim[DIM_RANK_STATES];
    float *xz = s->room, *x = xz + 2 * n * inner, *dt = x + n * inner, *steps = dt + n * inner;
    scan_job job = {s, layer, xz, x, dt, steps};
    size_t n_items = s->n_spans * ((inner + STRIP - 1) / STRIP), rows = n / s->n_spans + 1;
    products(s, s->h, m->dim[DIM_EMBD], n, &(product){&w[L_SSM_IN], xz}, 1);
    in_pieces(s, n_items, STRIP * m->dim[DIM_CONV] * rows, convolve_piece, &job);
    products(s, x, inner, n, &(product){&w[L_SSM_X], steps}, 1);
    for (size_t t = 0; m->normed_ssm && t < n; t++) {
        plain_norm(m, steps + t * step_width, rank);
        plain_norm(m, steps + t * step_width + rank, states);
        plain_norm(m, steps + t * step_width + rank + states, states);
    }
    products(s, steps, step_width, n, &(product){&w[L_SSM_DT], dt}, 1);
    in_pieces(s, n_items, STRIP * states * 8 * rows, scan_piece, &job);
    products(s, x, inner, n, &(product){&w[L_SSM_OUT], s->y}, 1);
    return PITH_OK;
}

const block_ops mamba_block = {.room = mamba_room, .state = mamba_state, .run = mamba_run};
