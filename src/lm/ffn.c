/* Feed-forward blocks: down(silu(gate x) * up x) (Shazeer, 2020) and down(gelu(up x)). */
#include "lm/session.h"
#include "math/math.h"

static size_t swiglu_room(const lm_model *m) { return 2 * m->dim[DIM_FF]; }
static size_t gelu_room(const lm_model *m) { return m->dim[DIM_FF]; }

typedef struct gate_job {
    float *gate;
    const float *up;
} gate_job;

static void gate(void *arg, size_t first, size_t n) {
    const gate_job *j = arg;
    exact()->silu(j->gate + first, j->gate + first, n);
    exact()->mul(j->gate + first, j->gate + first, j->up + first, n);
}

void gate_values(lm_session *s, float *values, const float *up, size_t n) {
    in_pieces(s, n, 4, gate, &(gate_job){values, up});
}

static pith_status swiglu_run(lm_session *s, uint32_t layer) {
    const lm_weight *w = s->m->layers[layer].w;
    size_t n = s->n_rows, ff = s->m->layers[layer].dim[DIM_FF];
    float *g = s->room, *up = g + n * ff;
    products(s, s->h, s->m->dim[DIM_EMBD], n, (product[]){{&w[L_GATE], g}, {&w[L_UP], up}}, 2);
    gate_values(s, g, up, n * ff);
    products(s, g, ff, n, &(product){&w[L_DOWN], s->y}, 1);
    return PITH_OK;
}

static void gelu_piece(void *arg, size_t first, size_t n) {
    float *x = arg;
    exact()->gelu(x + first, x + first, n);
}

static pith_status gelu_run(lm_session *s, uint32_t layer) {
    const lm_weight *w = s->m->layers[layer].w;
    size_t n = s->n_rows, ff = s->m->layers[layer].dim[DIM_FF];
    products(s, s->h, s->m->dim[DIM_EMBD], n, &(product){&w[L_UP], s->room}, 1);
    add_bias(&w[L_UP_BIAS], s->room, n, ff);
    in_pieces(s, n * ff, 4, gelu_piece, s->room);
    products(s, s->room, ff, n, &(product){&w[L_DOWN], s->y}, 1);
    add_bias(&w[L_DOWN_BIAS], s->y, n, s->m->dim[DIM_EMBD]);
    return PITH_OK;
}

const block_ops swiglu_block = {.room = swiglu_room, .run = swiglu_run};
const block_ops gelu_block = {.room = gelu_room, .run = gelu_run};
