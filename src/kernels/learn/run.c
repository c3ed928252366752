/* A run: the memory of one batch, the nodes in order and back. */
#include "kernels/learn/plan.h"
#include "math/math.h"

#include <math.h>

struct learn_run {
    pith_ctx *ctx;
    const learn_graph *g;
    const learn_kernels *k;
    learn_mode mode;
    size_t max_rows, segment, bytes;
    learn_plan plan;
    uint8_t *arena, *scratch;
    uint32_t *ints;
    double **turned; /* [n_nodes] of rotary positions; nodes of the same angles share */
    learn_batch batch;
};

size_t learn_real_bytes(const learn_kernels *k) { return k->real_bytes; }
size_t learn_run_bytes(const learn_run *r) { return r->bytes; }

static bool same_turns(const learn_node *a, const learn_node *b) {
    return a->op == OP_ROPE && a->n_turns == b->n_turns &&
           memcmp(a->turns, b->turns, a->n_turns * sizeof *a->turns) == 0;
}

/* Cosines and sines of all positions, rounded to float as the runtime has them. */
static pith_status make_turned(learn_run *r) {
    const learn_graph *g = r->g;
    r->turned = pith_zalloc(r->ctx, PITH_MAX(g->n_nodes, (size_t)1) * sizeof *r->turned);
    if (!r->turned) return pith_alloc_status(r->ctx);
    for (size_t i = 0; i < g->n_nodes; i++) {
        const learn_node *node = &g->nodes[i];
        if (node->op != OP_ROPE) continue;
        for (size_t j = 0; j < i && !r->turned[i]; j++)
            if (same_turns(&g->nodes[j], node)) r->turned[i] = r->turned[j];
        if (r->turned[i]) continue;
        double *table = r->turned[i] = pith_alloc(r->ctx, r->segment * node->n_turns * 2 * sizeof *table);
        if (!table) return pith_alloc_status(r->ctx);
        for (size_t t = 0; t < r->segment; t++)
            for (size_t n = 0; n < node->n_turns; n++, table += 2) {
                const double circle = 6.283185307179586477;
                double angle = (double)t * node->turns[n];
                if (angle > 5e5) angle -= floor(angle / circle) * circle;
                real_sin_cos(angle, &table[1], &table[0]);
                table[0] = (double)(float)table[0];
                table[1] = (double)(float)table[1];
            }
    }
    return PITH_OK;
}

static pith_status get_memory(learn_run *r) {
    size_t real = r->k->real_bytes, most = SIZE_MAX / 4 / real;
    const learn_plan *p = &r->plan;
    if (p->width > most / r->max_rows || p->ints_width > most / r->max_rows || p->scratch > most)
        return pith_fail(r->ctx, PITH_E_LIMIT, "a net of %zu values a token cannot run %zu tokens at once", p->width,
                         r->max_rows);
    r->bytes = p->width * r->max_rows * real + p->ints_width * r->max_rows * sizeof *r->ints + p->scratch * real;
    r->arena = pith_alloc(r->ctx, PITH_MAX(p->width * r->max_rows * real, real));
    r->scratch = pith_alloc(r->ctx, PITH_MAX(p->scratch * real, real));
    r->ints = pith_alloc(r->ctx, PITH_MAX(p->ints_width * r->max_rows, (size_t)1) * sizeof *r->ints);
    return r->arena && r->scratch && r->ints ? make_turned(r) : pith_alloc_status(r->ctx);
}

pith_status learn_run_new(pith_ctx *ctx, const learn_graph *g, const learn_kernels *k, size_t max_rows, size_t segment,
                          learn_mode mode, learn_run **out) {
    *out = NULL;
    if (g->status) return g->status;
    if (!segment || !max_rows || max_rows % segment || max_rows > UINT32_MAX)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%zu rows are no whole number of windows of %zu", max_rows, segment);
    learn_run *r = pith_zalloc(ctx, sizeof *r);
    if (!r) return pith_alloc_status(ctx);
    r->ctx = ctx, r->g = g, r->k = k, r->mode = mode, r->max_rows = max_rows, r->segment = segment;
    pith_status status = learn_plan_make(ctx, g, max_rows, segment, mode, &r->plan);
    if (!status) status = get_memory(r);
    if (status) {
        learn_run_free(r);
        return status;
    }
    *out = r;
    return PITH_OK;
}

void learn_run_free(learn_run *r) {
    if (!r) return;
    pith_ctx *ctx = r->ctx;
    for (size_t i = 0; r->turned && i < r->g->n_nodes; i++) {
        bool mine = true; /* the first of those that share frees */
        for (size_t j = 0; j < i && mine; j++) mine = r->turned[j] != r->turned[i];
        if (mine) pith_free(ctx, r->turned[i]);
    }
    pith_free(ctx, r->turned);
    pith_free(ctx, r->arena);
    pith_free(ctx, r->scratch);
    pith_free(ctx, r->ints);
    learn_plan_free(ctx, &r->plan);
    pith_free(ctx, r);
}

/* ---- the walk ---- */

static void *place_at(const learn_run *r, size_t place) { return r->arena + place * r->max_rows * r->k->real_bytes; }

static learn_call call_of(const learn_run *r, size_t i, const uint8_t *weights) {
    const learn_node *node = &r->g->nodes[i];
    const learn_place *place = &r->plan.place[i];
    learn_call c = {.node = node, .rows = r->batch.rows, .segment = r->segment, .batch = &r->batch};
    for (size_t k = 0; k < LEARN_MAX_INPUTS; k++) {
        if (node->x[k] == LEARN_NONE) continue;
        c.width[k] = r->g->nodes[node->x[k]].width;
        c.x[k] = place_at(r, r->plan.place[node->x[k]].value);
    }
    for (size_t k = 0; k < LEARN_MAX_PARAMS; k++)
        if (node->param[k] != LEARN_NONE) c.w[k] = weights + r->g->params[node->param[k]].at * r->k->real_bytes;
    if (c.w[0]) c.part_rows = r->g->params[node->param[0]].rows / r->g->params[node->param[0]].parts;
    c.y = place_at(r, place->value);
    c.saved = place_at(r, place->saved);
    c.ints = r->ints + place->ints * r->max_rows;
    c.scratch = r->scratch;
    c.turned = r->turned[i];
    return c;
}

void learn_forward(learn_run *r, const void *weights, const learn_batch *b, double *nats, size_t *n_scored) {
    r->batch = *b;
    *nats = 0;
    *n_scored = 0;
    for (size_t i = 0; i < r->g->n_nodes; i++) {
        learn_call c = call_of(r, i, weights);
        r->k->op[c.node->op].forward(&c);
        *nats += c.nats;
        *n_scored += c.n_scored;
    }
}

void learn_backward(learn_run *r, const void *weights, void *gradient) {
    uint8_t *g = gradient;
    for (size_t i = r->g->n_nodes; i-- > 0;) {
        const learn_place *place = &r->plan.place[i];
        if (!place->active) continue;
        learn_call c = call_of(r, i, weights);
        c.gy = place_at(r, place->gradient);
        for (size_t k = 0; k < LEARN_MAX_INPUTS; k++) {
            learn_id x = c.node->x[k];
            if (x == LEARN_NONE || !r->plan.place[x].active) continue;
            c.gx[k] = place_at(r, r->plan.place[x].gradient);
            c.add[k] = place->add[k];
        }
        for (size_t k = 0; g && k < LEARN_MAX_PARAMS; k++) {
            learn_id p = c.node->param[k];
            if (p != LEARN_NONE && !r->g->params[p].frozen) c.gw[k] = g + r->g->params[p].at * r->k->real_bytes;
        }
        r->k->op[c.node->op].backward(&c);
    }
}

const void *learn_value(const learn_run *r, learn_id node) { return place_at(r, r->plan.place[node].value); }

/* ---- matrices with their inputs and output gradients ---- */

static void show_experts(const learn_run *r, size_t i, learn_linear_fn fn, void *opaque) {
    const learn_node *node = &r->g->nodes[i];
    const learn_place *place = &r->plan.place[i];
    const learn_param *gate = &r->g->params[node->param[0]], *up = &r->g->params[node->param[1]],
                      *down = &r->g->params[node->param[2]];
    size_t n_experts = gate->parts, width = node->width, ff = gate->rows / n_experts, rows = r->batch.rows,
           real = r->k->real_bytes, first[LEARN_MAX_EXPERTS + 1];
    learn_expert_room room = learn_expert_room_of(node->n_used, width, ff);
    const uint8_t *saved = place_at(r, place->saved);
    learn_expert_ranges(r->ints + place->ints * r->max_rows, rows * node->n_used, n_experts, first);
    for (size_t e = 0; e < n_experts; e++) {
        size_t at = first[e], n = first[e + 1] - at;
        if (!n) continue;
        const uint8_t *x = saved + (room.x * rows + at * width) * real,
                      *mid = saved + (room.mid * rows + at * ff) * real;
        fn(opaque, down, e, mid, saved + (room.g_out * rows + at * width) * real, n, ff, width);
        fn(opaque, up, e, x, saved + (room.g_up * rows + at * ff) * real, n, width, ff);
        fn(opaque, gate, e, x, saved + (room.g_gate * rows + at * ff) * real, n, width, ff);
    }
}

void learn_linears(const learn_run *r, learn_linear_fn fn, void *opaque) {
    for (size_t i = r->g->n_nodes; i-- > 0;) {
        const learn_node *node = &r->g->nodes[i];
        const learn_place *place = &r->plan.place[i];
        if (!place->active || r->mode != LEARN_KEEP) continue;
        if (node->op == OP_LINEAR)
            fn(opaque, &r->g->params[node->param[0]], 0, learn_value(r, node->x[0]), place_at(r, place->gradient),
               r->batch.rows, r->g->nodes[node->x[0]].width, node->width);
        if (node->op == OP_EXPERTS) show_experts(r, i, fn, opaque);
    }
}
