/* RWKV-4 (Peng et al., 2023), both blocks. Every input is first mixed with the one of the token
 * before: x*mix + prev*(1 - mix). Time mixing keeps per channel a weighted mean of values in the
 * form (numerator aa, denominator bb) * e^pp, so that no power overflows:
 *     wkv = (e^pp*aa + e^(first + k)*v) / (e^pp*bb + e^(first + k)), then pp decays and takes k. */
#include "lm/session.h"
#include "math/math.h"

enum { TIME_PREV, TIME_AA, TIME_BB, TIME_PP, TIME_STATES };

static size_t time_room(const lm_model *m) { return 4 * m->dim[DIM_EMBD]; }
static size_t time_state(const lm_model *m) { return TIME_STATES * m->dim[DIM_EMBD]; }
static size_t channel_room(const lm_model *m) { return 2 * m->dim[DIM_EMBD] + m->dim[DIM_FF]; }
static size_t channel_state(const lm_model *m) { return m->dim[DIM_EMBD]; }

static void time_start(const lm_model *m, float *state) {
    size_t width = m->dim[DIM_EMBD];
    for (size_t i = 0; i < width; i++) state[TIME_PP * width + i] = -1e30f;
}

/* out[t] = x[t]*mix + x[t-1]*(1 - mix); prev is the row before the first. */
static void mix_rows(const float *x, const float *prev, const float *mix, float *out, size_t n, size_t width) {
    for (size_t t = 0; t < n; t++, prev = x, x += width, out += width)
        for (size_t i = 0; i < width; i++) out[i] = x[i] * mix[i] + (prev[i] - prev[i] * mix[i]);
}

static void mix_spans(const lm_session *s, uint32_t layer, size_t prev, const lm_weight *mix, float *out) {
    size_t width = s->m->dim[DIM_EMBD];
    for (size_t i = 0; i < s->n_spans; i++) {
        const lm_span *span = &s->spans[i];
        mix_rows(s->h + span->row * width, state_at(s, span->sequence, layer) + prev, mix->values,
                 out + span->row * width, span->n, width);
    }
}

/* The last input of each span is what the next batch mixes with. */
static void keep_last(const lm_session *s, uint32_t layer, size_t prev) {
    size_t width = s->m->dim[DIM_EMBD];
    for (size_t i = 0; i < s->n_spans; i++) {
        const lm_span *span = &s->spans[i];
        memcpy(state_at(s, span->sequence, layer) + prev, s->h + (span->row + span->n - 1) * width,
               width * sizeof(float));
    }
}

typedef struct wkv_job {
    const lm_session *s;
    uint32_t layer;
    const float *k, *v;
    float *r; /* sigmoid(r) * wkv comes out here */
} wkv_job;

#define STRIP 64 /* channels at a time */

static void wkv_strip(const wkv_job *j, const lm_span *span, size_t at, size_t n) {
    const exact_ops *ops = exact();
    size_t width = j->s->m->dim[DIM_EMBD];
    const lm_weight *w = j->s->m->layers[j->layer].w;
    const float *first = w[L_FIRST].values + at, *decay = w[L_DECAY].values + at;
    float *state = state_at(j->s, span->sequence, j->layer) + at;
    float *aa = state + TIME_AA * width, *bb = state + TIME_BB * width, *pp = state + TIME_PP * width;
    for (size_t t = span->row; t < span->row + span->n; t++) {
        const float *k = j->k + t * width + at, *v = j->v + t * width + at;
        float *r = j->r + t * width + at, e1[STRIP], e2[STRIP];
        for (size_t i = 0; i < n; i++) {
            float ww = first[i] + k[i], top = pp[i] > ww ? pp[i] : ww;
            e1[i] = pp[i] - top;
            e2[i] = ww - top;
        }
        ops->exp(e1, e1, n);
        ops->exp(e2, e2, n);
        ops->sigmoid(r, r, n);
        for (size_t i = 0; i < n; i++) r[i] = r[i] * ((e1[i] * aa[i] + e2[i] * v[i]) / (e1[i] * bb[i] + e2[i]));
        for (size_t i = 0; i < n; i++) {
            float ww = pp[i] + decay[i], top = ww > k[i] ? ww : k[i];
            e1[i] = ww - top;
            e2[i] = k[i] - top;
            pp[i] = top;
        }
        ops->exp(e1, e1, n);
        ops->exp(e2, e2, n);
        for (size_t i = 0; i < n; i++) {
            aa[i] = e1[i] * aa[i] + e2[i] * v[i];
            bb[i] = e1[i] * bb[i] + e2[i];
        }
    }
}

/* Items are strips of channels of one span after another. */
static void wkv(void *arg, size_t first, size_t n) {
    const wkv_job *j = arg;
    size_t width = j->s->m->dim[DIM_EMBD], strips = (width + STRIP - 1) / STRIP;
    for (size_t item = first; item < first + n; item++) {
        size_t at = item % strips * STRIP;
        wkv_strip(j, &j->s->spans[item / strips], at, PITH_MIN((size_t)STRIP, width - at));
    }
}

static pith_status time_run(lm_session *s, uint32_t layer) {
    const lm_weight *w = s->m->layers[layer].w;
    size_t n = s->n_rows, width = s->m->dim[DIM_EMBD], all = n * width;
    float *mixed = s->room, *k = mixed + all, *v = k + all, *r = v + all;
    const struct {
        layer_role mix, weight;
        float *y;
    } inputs[] = {{L_MIX_K, L_KEY, k}, {L_MIX_V, L_VALUE, v}, {L_MIX_R, L_RECEPTANCE, r}};
    for (size_t i = 0; i < PITH_COUNT(inputs); i++) {
        mix_spans(s, layer, TIME_PREV, &w[inputs[i].mix], mixed);
        products(s, mixed, width, n, &(product){&w[inputs[i].weight], inputs[i].y}, 1);
    }
    keep_last(s, layer, TIME_PREV);
    size_t n_items = s->n_spans * ((width + STRIP - 1) / STRIP);
    in_pieces(s, n_items, 40 * STRIP * n / s->n_spans, wkv, &(wkv_job){s, layer, k, v, r});
    products(s, r, width, n, &(product){&w[L_MIX_OUT], s->y}, 1);
    return PITH_OK;
}

static pith_status channel_run(lm_session *s, uint32_t layer) {
    const lm_weight *w = s->m->layers[layer].w;
    size_t n = s->n_rows, width = s->m->dim[DIM_EMBD], ff = s->m->dim[DIM_FF], prev = time_state(s->m);
    float *mixed = s->room, *r = mixed + n * width, *k = r + n * width;
    mix_spans(s, layer, prev, &w[L_CHANNEL_R], mixed);
    products(s, mixed, width, n, &(product){&w[L_CHANNEL_RECEPTANCE], r}, 1);
    mix_spans(s, layer, prev, &w[L_CHANNEL_K], mixed);
    products(s, mixed, width, n, &(product){&w[L_CHANNEL_KEY], k}, 1);
    keep_last(s, layer, prev);
    for (size_t i = 0; i < n * ff; i++) {
        float positive = k[i] > 0.0f ? k[i] : 0.0f;
        k[i] = positive * positive;
    }
    products(s, k, ff, n, &(product){&w[L_CHANNEL_VALUE], s->y}, 1);
    exact()->sigmoid(r, r, n * width);
    exact()->mul(s->y, s->y, r, n * width);
    return PITH_OK;
}

const block_ops rwkv4_time_block = {.room = time_room, .state = time_state, .start = time_start, .run = time_run};
const block_ops rwkv4_channel_block = {.room = channel_room, .state = channel_state, .run = channel_run};
