/* Building a graph: parameters, nodes, and the checks that their sizes fit. */
#include "kernels/learn/ops.h"

#include <math.h>
#include <stdio.h>

#define MOST ((size_t)1 << 32) /* elements of a parameter, and the width of a value */

pith_status learn_graph_new(pith_ctx *ctx, learn_graph **out) {
    *out = pith_zalloc(ctx, sizeof **out);
    if (!*out) return pith_alloc_status(ctx);
    (*out)->ctx = ctx;
    return PITH_OK;
}

void learn_graph_free(learn_graph *g) {
    if (!g) return;
    pith_ctx *ctx = g->ctx;
    for (size_t i = 0; i < g->n_nodes; i++) pith_free(ctx, g->nodes[i].turns);
    pith_free(ctx, g->params);
    pith_free(ctx, g->nodes);
    pith_free(ctx, g);
}

pith_status learn_graph_status(const learn_graph *g) { return g->status; }

/* Room for one more of `size` bytes; *list may move. */
static bool make_room(learn_graph *g, void **list, size_t n, size_t *room, size_t size) {
    if (n < *room) return true;
    size_t more = *room ? 2 * *room : 32;
    void *bigger = pith_alloc(g->ctx, more * size);
    if (!bigger) {
        g->status = pith_alloc_status(g->ctx);
        return false;
    }
    if (n) memcpy(bigger, *list, n * size);
    pith_free(g->ctx, *list);
    *list = bigger;
    *room = more;
    return true;
}

static learn_id wrong(learn_graph *g, const char *what) {
    if (!g->status) g->status = pith_fail(g->ctx, PITH_E_ARGUMENT, "a net's sizes do not fit: %s", what);
    return LEARN_NONE;
}

/* ---- parameters ---- */

learn_id learn_param_add(learn_graph *g, const char *name, size_t rows, size_t cols, size_t parts) {
    if (g->status) return LEARN_NONE;
    if (!rows || !cols || !parts || rows > MOST / cols || rows % parts || strlen(name) >= sizeof g->params->name)
        return wrong(g, name);
    void *list = g->params;
    if (!make_room(g, &list, g->n_params, &g->room_params, sizeof *g->params)) return LEARN_NONE;
    g->params = list;
    learn_param *p = &g->params[g->n_params];
    *p = (learn_param){.rows = rows, .cols = cols, .parts = parts, .at = g->n_weights, .speed = 1};
    snprintf(p->name, sizeof p->name, "%s", name);
    g->n_weights += (rows * cols + 15) / 16 * 16; /* every one begins on a cache line */
    return (learn_id)g->n_params++;
}

size_t learn_n_params(const learn_graph *g) { return g->n_params; }
learn_param *learn_param_at(const learn_graph *g, learn_id param) { return &g->params[param]; }
size_t learn_n_weights(const learn_graph *g) { return g->n_weights; }

learn_param *learn_param_find(const learn_graph *g, const char *name) {
    for (size_t i = 0; i < g->n_params; i++)
        if (strcmp(g->params[i].name, name) == 0) return &g->params[i];
    return NULL;
}

/* ---- nodes ---- */

static bool is_node(const learn_graph *g, learn_id x) { return x < g->n_nodes && g->nodes[x].width; }
static bool is_param(const learn_graph *g, learn_id p) { return p < g->n_params; }
static bool is_shape(const learn_graph *g, learn_id p, size_t rows, size_t cols) {
    return is_param(g, p) && g->params[p].rows == rows && g->params[p].cols == cols && g->params[p].parts == 1;
}

static learn_id add_node(learn_graph *g, learn_node node) {
    void *list = g->nodes;
    if (!make_room(g, &list, g->n_nodes, &g->room_nodes, sizeof *g->nodes)) {
        pith_free(g->ctx, node.turns);
        return LEARN_NONE;
    }
    g->nodes = list;
    g->nodes[g->n_nodes] = node;
    return (learn_id)g->n_nodes++;
}

#define NONE3                                                                                                          \
    { LEARN_NONE, LEARN_NONE, LEARN_NONE }

learn_id learn_embed(learn_graph *g, learn_id table) {
    if (g->status) return LEARN_NONE;
    if (!is_param(g, table)) return wrong(g, "embeddings");
    return add_node(
        g, (learn_node){
               .op = OP_EMBED, .width = g->params[table].cols, .x = NONE3, .param = {table, LEARN_NONE, LEARN_NONE}});
}

learn_id learn_norm(learn_graph *g, learn_id x, learn_id weight, double epsilon) {
    if (g->status) return LEARN_NONE;
    if (!is_node(g, x) || !is_shape(g, weight, 1, g->nodes[x].width) || !(epsilon >= 0)) return wrong(g, "a norm");
    return add_node(g, (learn_node){.op = OP_NORM,
                                    .width = g->nodes[x].width,
                                    .x = {x, LEARN_NONE, LEARN_NONE},
                                    .param = {weight, LEARN_NONE, LEARN_NONE},
                                    .epsilon = epsilon});
}

learn_id learn_linear(learn_graph *g, learn_id x, learn_id weight, learn_id bias) {
    if (g->status) return LEARN_NONE;
    if (!is_node(g, x) || !is_param(g, weight) || !is_shape(g, weight, g->params[weight].rows, g->nodes[x].width) ||
        (bias != LEARN_NONE && !is_shape(g, bias, 1, g->params[weight].rows)))
        return wrong(g, "a matrix and its inputs");
    return add_node(g, (learn_node){.op = OP_LINEAR,
                                    .width = g->params[weight].rows,
                                    .x = {x, LEARN_NONE, LEARN_NONE},
                                    .param = {weight, bias, LEARN_NONE}});
}

learn_id learn_rope(learn_graph *g, learn_id x, size_t head, const double *turns, size_t n_turns, bool halves) {
    if (g->status) return LEARN_NONE;
    if (!is_node(g, x) || !head || g->nodes[x].width % head || !n_turns || n_turns > head / 2)
        return wrong(g, "rotary positions");
    double *copy = pith_alloc(g->ctx, n_turns * sizeof *copy);
    if (!copy) {
        g->status = pith_alloc_status(g->ctx);
        return LEARN_NONE;
    }
    memcpy(copy, turns, n_turns * sizeof *copy);
    return add_node(g, (learn_node){.op = OP_ROPE,
                                    .width = g->nodes[x].width,
                                    .x = {x, LEARN_NONE, LEARN_NONE},
                                    .param = NONE3,
                                    .head = head,
                                    .n_turns = n_turns,
                                    .halves = halves,
                                    .turns = copy});
}

learn_id learn_attention(learn_graph *g, learn_id q, learn_id k, learn_id v, size_t head) {
    if (g->status) return LEARN_NONE;
    if (!is_node(g, q) || !is_node(g, k) || !is_node(g, v) || !head || g->nodes[q].width % head ||
        g->nodes[k].width % head || g->nodes[q].width % g->nodes[k].width || g->nodes[v].width != g->nodes[k].width)
        return wrong(g, "heads of attention");
    return add_node(
        g, (learn_node){.op = OP_ATTENTION, .width = g->nodes[q].width, .x = {q, k, v}, .param = NONE3, .head = head});
}

static learn_id of_two(learn_graph *g, learn_op_id op, learn_id a, learn_id b) {
    if (g->status) return LEARN_NONE;
    if (!is_node(g, a) || !is_node(g, b) || a == b || g->nodes[a].width != g->nodes[b].width)
        return wrong(g, "two values of one width");
    return add_node(g, (learn_node){.op = op, .width = g->nodes[a].width, .x = {a, b, LEARN_NONE}, .param = NONE3});
}

learn_id learn_gate(learn_graph *g, learn_id gate, learn_id up) { return of_two(g, OP_GATE, gate, up); }
learn_id learn_add(learn_graph *g, learn_id a, learn_id b) { return of_two(g, OP_ADD, a, b); }

static bool is_stack(const learn_graph *g, learn_id p, size_t parts, size_t rows, size_t cols) {
    return is_param(g, p) && g->params[p].parts == parts && g->params[p].rows == parts * rows &&
           g->params[p].cols == cols;
}

learn_id learn_experts(learn_graph *g, learn_id x, learn_id scores, learn_id gate, learn_id up, learn_id down,
                       size_t n_used) {
    if (g->status) return LEARN_NONE;
    if (!is_node(g, x) || !is_node(g, scores) || !is_param(g, gate)) return wrong(g, "a mixture of experts");
    size_t n = g->nodes[scores].width, width = g->nodes[x].width, ff = g->params[gate].rows / g->params[gate].parts;
    if (n > LEARN_MAX_EXPERTS || !n_used || n_used > n || !is_stack(g, gate, n, ff, width) ||
        !is_stack(g, up, n, ff, width) || !is_stack(g, down, n, width, ff))
        return wrong(g, "a mixture of experts");
    return add_node(g, (learn_node){.op = OP_EXPERTS,
                                    .width = width,
                                    .x = {x, scores, LEARN_NONE},
                                    .param = {gate, up, down},
                                    .n_used = n_used});
}

learn_id learn_modulate(learn_graph *g, learn_id x, learn_id scores, learn_id vectors, size_t n_kept, size_t n_used) {
    if (g->status) return LEARN_NONE;
    if (!is_node(g, x) || !is_node(g, scores) || x == scores || n_kept >= n_used ||
        n_used > g->nodes[scores].width || g->nodes[scores].width > LEARN_MAX_EXPERTS ||
        !is_shape(g, vectors, g->nodes[scores].width, g->nodes[x].width))
        return wrong(g, "vectors in the place of experts");
    return add_node(g, (learn_node){.op = OP_MODULATE,
                                    .width = g->nodes[x].width,
                                    .x = {x, scores, LEARN_NONE},
                                    .param = {vectors, LEARN_NONE, LEARN_NONE},
                                    .n_used = n_used,
                                    .n_kept = n_kept});
}

learn_id learn_cross_entropy(learn_graph *g, learn_id logits) {
    if (g->status) return LEARN_NONE;
    if (!is_node(g, logits)) return wrong(g, "logits");
    return add_node(g, (learn_node){.op = OP_CROSS_ENTROPY, .x = {logits, LEARN_NONE, LEARN_NONE}, .param = NONE3});
}
