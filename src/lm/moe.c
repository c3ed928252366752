/* A mixture of experts as Mixtral has it (Jiang et al. 2024): of n_experts blocks down(silu(gate x) * up x) a router
 * picks for each token the n_used with the highest softmax; their outputs are added with these weights, made to sum
 * to 1. Every expert sees its tokens as one small batch; a token's experts are added in the order of their numbers,
 * so that what else is in the batch changes nothing. */
#include "lm/session.h"
#include "math/math.h"

/* What llama.cpp divides by at least: the smallest normal half float. */
#define LEAST_SUM 6.103515625e-5f

typedef struct moe_room {
    float *scores;  /* [n][n_experts] */
    float *weights; /* [n][n_used], best first */
    float *x;       /* [n][n_embd] what one expert reads, then what it gives */
    float *gate, *up;
    float *share;     /* [n] weights of one expert's tokens */
    uint32_t *chosen; /* [n][n_used] */
    uint32_t *row;    /* [n] the expert's tokens */
} moe_room;

static size_t experts_room(const lm_model *m) {
    const size_t *d = m->dim;
    return d[DIM_EXPERTS] + 2 * d[DIM_USED] + d[DIM_EMBD] + 2 * d[DIM_FF] + 2;
}

static moe_room room_of(const lm_session *s) {
    const size_t *d = s->m->dim;
    size_t n = s->n_rows;
    moe_room r = {.scores = s->room};
    r.weights = r.scores + n * d[DIM_EXPERTS];
    r.x = r.weights + n * d[DIM_USED];
    r.gate = r.x + n * d[DIM_EMBD];
    r.up = r.gate + n * d[DIM_FF];
    r.share = r.up + n * d[DIM_FF];
    r.chosen = (uint32_t *)(void *)(r.share + n);
    r.row = r.chosen + n * d[DIM_USED];
    return r;
}

typedef struct route_job {
    const lm_model *m;
    const moe_room *r;
} route_job;

/* The lowest number among equals. */
static void choose(float *p, size_t n_experts, size_t n_used, uint32_t *chosen, float *weights) {
    float sum = 0;
    for (size_t k = 0; k < n_used; k++) {
        size_t best = SIZE_MAX;
        for (size_t e = 0; e < n_experts; e++)
            if (!(p[e] < 0) && (best == SIZE_MAX || p[e] > p[best])) best = e;
        chosen[k] = (uint32_t)best;
        weights[k] = p[best];
        sum = sum + p[best];
        p[best] = -1; /* taken */
    }
    for (size_t k = 0; k < n_used; k++) weights[k] = weights[k] / (sum < LEAST_SUM ? LEAST_SUM : sum);
}

static void route(void *arg, size_t first, size_t n) {
    const route_job *j = arg;
    size_t n_experts = j->m->dim[DIM_EXPERTS], n_used = j->m->dim[DIM_USED];
    for (size_t t = first; t < first + n; t++) {
        float *p = j->r->scores + t * n_experts;
        exact()->softmax(p, p, n_experts);
        choose(p, n_experts, n_used, j->r->chosen + t * n_used, j->r->weights + t * n_used);
    }
}

/* One matrix of a stack. */
static lm_weight part_of(const lm_weight *stack, size_t n_experts, size_t expert) {
    lm_weight w = *stack;
    w.matrix.n_rows = stack->matrix.n_rows / n_experts;
    w.matrix.data = stack->matrix.data + expert * w.matrix.n_rows * stack->matrix.row_bytes;
    return w;
}

static void tell(const lm_session *s, const lm_weight *w, size_t expert, size_t n, const float *x) {
    if (s->probe && s->probe->expert_input)
        s->probe->expert_input(s->probe->opaque, w->name, (uint32_t)expert, n, w->matrix.n_cols, x);
}

/* The expert's tokens through it, into r->x. */
static void run_expert(lm_session *s, const lm_weight *w, const moe_room *r, size_t expert, size_t n) {
    const size_t *d = s->m->dim;
    lm_weight gate = part_of(&w[L_GATE], d[DIM_EXPERTS], expert), up = part_of(&w[L_UP], d[DIM_EXPERTS], expert),
              down = part_of(&w[L_DOWN], d[DIM_EXPERTS], expert);
    tell(s, &gate, expert, n, r->x);
    tell(s, &up, expert, n, r->x);
    products_unseen(s, r->x, d[DIM_EMBD], n, (product[]){{&gate, r->gate}, {&up, r->up}}, 2);
    gate_values(s, r->gate, r->up, n * down.matrix.n_cols);
    tell(s, &down, expert, n, r->gate);
    products_unseen(s, r->gate, down.matrix.n_cols, n, &(product){&down, r->x}, 1);
}

static pith_status experts_run(lm_session *s, uint32_t layer) {
    const lm_weight *w = s->m->layers[layer].w;
    const size_t *d = s->m->dim;
    size_t n = s->n_rows, width = d[DIM_EMBD], n_used = d[DIM_USED];
    moe_room r = room_of(s);
    products(s, s->h, width, n, &(product){&w[L_ROUTER], r.scores}, 1);
    in_pieces(s, n, d[DIM_EXPERTS] * (n_used + 16), route, &(route_job){s->m, &r});
    for (size_t i = 0; s->probe && s->probe->route && i < s->n_spans; i++) {
        const lm_span *span = &s->spans[i];
        s->probe->route(s->probe->opaque, layer, span->sequence, span->first, span->n, n_used,
                        r.chosen + span->row * n_used, r.weights + span->row * n_used);
    }
    memset(s->y, 0, n * width * sizeof *s->y);
    for (size_t e = 0; e < d[DIM_EXPERTS]; e++) {
        size_t count = 0;
        for (size_t i = 0; i < n * n_used; i++) {
            if (r.chosen[i] != e || r.weights[i] == 0) continue;
            r.row[count] = (uint32_t)(i / n_used);
            r.share[count] = r.weights[i];
            memcpy(r.x + count++ * width, s->h + i / n_used * width, width * sizeof *r.x);
        }
        if (!count) continue;
        run_expert(s, w, &r, e, count);
        for (size_t i = 0; i < count; i++) exact()->axpy(s->y + r.row[i] * width, r.share[i], r.x + i * width, width);
    }
    return PITH_OK;
}

const block_ops experts_block = {.room = experts_room, .run = experts_run};
