/* The memory plan: which gradients are needed, how long each buffer lives, and where it lies. */
#include "kernels/learn/plan.h"

typedef struct life {
    size_t width, from, to; /* reals per row; steps of the schedule, both included */
    size_t *at;             /* where its place goes */
    size_t placed;
} life;

typedef struct planner {
    const learn_graph *g;
    learn_plan *plan;
    learn_mode mode;
    size_t max_rows, segment;
    life *lives;
    size_t n_lives;
    size_t *last_forward, *last_backward, *first_gradient; /* [n_nodes] steps; SIZE_MAX: none */
    bool *wants;                                           /* [n_nodes] a parameter below wants its gradient */
} planner;

static learn_sizes sizes_of(const planner *p, const learn_node *node) {
    learn_sizes s = {.node = node, .rows = p->max_rows, .segment = p->segment, .parts = 1};
    for (size_t k = 0; k < LEARN_MAX_INPUTS; k++)
        if (node->x[k] != LEARN_NONE) s.width[k] = p->g->nodes[node->x[k]].width;
    if (node->param[0] != LEARN_NONE) {
        const learn_param *param = &p->g->params[node->param[0]];
        s.parts = param->parts;
        s.param_rows = param->rows;
        s.param_cols = param->cols;
    }
    return s;
}

/* Nodes through which gradients go: something below is to be learned, and the loss is above. */
static void find_active(planner *p) {
    const learn_graph *g = p->g;
    learn_place *place = p->plan->place;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const learn_node *node = &g->nodes[i];
        bool wants = p->mode == LEARN_KEEP && learn_ops[node->op].linear;
        for (size_t k = 0; k < LEARN_MAX_PARAMS; k++)
            wants |= node->param[k] != LEARN_NONE && !g->params[node->param[k]].frozen;
        for (size_t k = 0; k < LEARN_MAX_INPUTS; k++) wants |= node->x[k] != LEARN_NONE && p->wants[node->x[k]];
        p->wants[i] = wants;
    }
    if (p->mode == LEARN_FORWARD) return;
    for (size_t i = g->n_nodes; i-- > 0;) {
        const learn_node *node = &g->nodes[i];
        if (node->op == OP_CROSS_ENTROPY) place[i].active = p->wants[i];
        for (size_t k = 0; place[i].active && k < LEARN_MAX_INPUTS; k++) {
            learn_id x = node->x[k];
            if (x == LEARN_NONE || !p->wants[x]) continue;
            place[i].add[k] = place[x].active;
            place[x].active = true;
        }
    }
}

static void find_uses(planner *p) {
    const learn_graph *g = p->g;
    size_t last = 2 * g->n_nodes - 1;
    for (size_t i = 0; i < g->n_nodes; i++) p->last_forward[i] = i, p->last_backward[i] = p->first_gradient[i] = 0;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const learn_node *node = &g->nodes[i];
        const learn_op *op = &learn_ops[node->op];
        bool active = p->plan->place[i].active;
        if (active && op->reads_y) p->last_backward[i] = PITH_MAX(p->last_backward[i], last - i);
        for (size_t k = 0; k < LEARN_MAX_INPUTS; k++) {
            learn_id x = node->x[k];
            if (x == LEARN_NONE) continue;
            p->last_forward[x] = i; /* later nodes come later */
            if (active && op->reads_x >> k & 1) p->last_backward[x] = PITH_MAX(p->last_backward[x], last - i);
            if (p->mode == LEARN_KEEP && node->op == OP_LINEAR) p->last_backward[x] = last;
            if (active && p->wants[x]) p->first_gradient[x] = last - i; /* the last consumer writes first */
        }
    }
}

static void live(planner *p, size_t *at, size_t width, size_t from, size_t to) {
    /* places are whole cache lines whatever the rows */
    if (width) p->lives[p->n_lives++] = (life){(width + 15) / 16 * 16, from, to, at, 0};
}

static void find_lives(planner *p) {
    const learn_graph *g = p->g;
    size_t last = 2 * g->n_nodes - 1;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const learn_node *node = &g->nodes[i];
        const learn_op *op = &learn_ops[node->op];
        learn_place *place = &p->plan->place[i];
        learn_sizes s = sizes_of(p, node);
        bool kept = p->mode == LEARN_KEEP && op->linear;
        place->saved_width = op->saved ? op->saved(&s) : 0;
        place->ints_width = op->ints ? op->ints(&s) : 0;
        place->ints = p->plan->ints_width;
        p->plan->ints_width += place->ints_width;
        p->plan->scratch = PITH_MAX(p->plan->scratch, op->scratch ? op->scratch(&s) : 0);
        live(p, &place->value, node->width, i, PITH_MAX(p->last_forward[i], p->last_backward[i]));
        live(p, &place->saved, place->saved_width, i, kept ? last : place->active ? last - i : i);
        if (place->active) live(p, &place->gradient, node->width, p->first_gradient[i], kept ? last : last - i);
    }
}

static int by_width(const void *a, const void *b) {
    const life *x = a, *y = b;
    if (x->width != y->width) return x->width < y->width ? 1 : -1;
    return x->from < y->from ? -1 : x->from > y->from;
}

/* As low as no placed buffer that lives at the same time is in the way. */
static void place_all(planner *p) {
    if (p->n_lives) qsort(p->lives, p->n_lives, sizeof *p->lives, by_width);
    for (size_t i = 0; i < p->n_lives; i++) {
        life *l = &p->lives[i];
        size_t at = 0;
        for (bool moved = true; moved;) {
            moved = false;
            for (size_t j = 0; j < i; j++) {
                const life *o = &p->lives[j];
                if (o->from > l->to || l->from > o->to || at + l->width <= o->placed || o->placed + o->width <= at)
                    continue;
                at = o->placed + o->width;
                moved = true;
            }
        }
        *l->at = l->placed = at;
        p->plan->width = PITH_MAX(p->plan->width, at + l->width);
    }
}

pith_status learn_plan_make(pith_ctx *ctx, const learn_graph *g, size_t max_rows, size_t segment, learn_mode mode,
                            learn_plan *plan) {
    size_t n = PITH_MAX(g->n_nodes, (size_t)1);
    planner p = {.g = g, .plan = plan, .mode = mode, .max_rows = max_rows, .segment = segment};
    *plan = (learn_plan){0};
    plan->place = pith_zalloc(ctx, n * sizeof *plan->place);
    p.lives = pith_alloc(ctx, 3 * n * sizeof *p.lives);
    p.last_forward = pith_alloc(ctx, 3 * n * sizeof *p.last_forward);
    p.wants = pith_zalloc(ctx, n * sizeof *p.wants);
    pith_status status = PITH_OK;
    if (plan->place && p.lives && p.last_forward && p.wants) {
        p.last_backward = p.last_forward + n;
        p.first_gradient = p.last_backward + n;
        find_active(&p);
        find_uses(&p);
        find_lives(&p);
        place_all(&p);
    } else {
        status = pith_alloc_status(ctx);
        learn_plan_free(ctx, plan);
    }
    pith_free(ctx, p.lives);
    pith_free(ctx, p.last_forward);
    pith_free(ctx, p.wants);
    return status;
}

void learn_plan_free(pith_ctx *ctx, learn_plan *plan) {
    pith_free(ctx, plan->place);
    *plan = (learn_plan){0};
}
