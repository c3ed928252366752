/* Mixtures of experts: the part of ops_core.h that routes tokens, runs experts, and puts vectors in the place of those
 * that are left out. The same text for all types of real numbers, with the same names; no include guard. */

/* ---- routing ---- */

/* The lowest number among equals. Their probabilities sum to 1 / n_experts at least. */
static void choose(const real *p, size_t n_experts, size_t n_used, uint32_t *chosen, real *weight) {
    real sum = 0;
    for (size_t k = 0; k < n_used; k++) {
        size_t best = SIZE_MAX;
        for (size_t e = 0; e < n_experts; e++) {
            bool taken = false;
            for (size_t j = 0; j < k; j++) taken |= chosen[j] == e;
            if (!taken && (best == SIZE_MAX || p[e] > p[best])) best = e;
        }
        chosen[k] = (uint32_t)best;
        weight[k] = p[best];
        sum += p[best];
    }
    for (size_t k = 0; k < n_used; k++) weight[k] /= sum;
}

/* Of all rows: chosen[rows][n_used], weight[rows][n_used]; room for one row's probabilities in scratch. */
static void route(const learn_call *c, size_t n_experts, size_t n_used, uint32_t *chosen, real *weight) {
    const real *scores = c->x[1];
    real *p = c->scratch;
    for (size_t t = 0; t < c->rows; t++) {
        const real *s = scores + t * n_experts;
        exp_row(p, s, row_max(s, n_experts), n_experts);
        real by = 1 / v_sum(p, n_experts);
        for (size_t e = 0; e < n_experts; e++) p[e] *= by;
        choose(p, n_experts, n_used, chosen + t * n_used, weight + t * n_used);
    }
}

/* Into the gradient of the scores, from that of the weights: they are the softmax of the chosen scores alone. */
static void route_backward(const learn_call *c, size_t n_experts, size_t n_used, const uint32_t *chosen,
                           const real *weight, const real *g_weight) {
    real *g = c->gx[1];
    for (size_t t = 0; t < c->rows; t++, g += n_experts, chosen += n_used, weight += n_used, g_weight += n_used) {
        real mean = v_dot(g_weight, weight, n_used);
        if (!c->add[1]) memset(g, 0, n_experts * sizeof *g);
        for (size_t k = 0; k < n_used; k++) g[chosen[k]] += weight[k] * (g_weight[k] - mean);
    }
}

/* ---- experts ---- */

typedef struct mixture {
    size_t n_experts, n_used, width, ff, n_pairs;
    real *weight, *x, *gate, *up, *mid, *out, *g_out, *g_gate, *g_up;
    uint32_t *chosen, *row, *place; /* by row and place; by pair */
    size_t first[LEARN_MAX_EXPERTS + 1];
} mixture;

static void mixture_of(const learn_call *c, mixture *m) {
    m->n_experts = c->width[1];
    m->n_used = c->node->n_used;
    m->width = c->width[0];
    m->ff = c->part_rows;
    m->n_pairs = c->rows * m->n_used;
    learn_expert_room r = learn_expert_room_of(m->n_used, m->width, m->ff);
    real *saved = c->saved;
    m->weight = saved + r.weight * c->rows, m->x = saved + r.x * c->rows;
    m->gate = saved + r.gate * c->rows, m->up = saved + r.up * c->rows, m->mid = saved + r.mid * c->rows;
    m->out = saved + r.out * c->rows, m->g_out = saved + r.g_out * c->rows;
    m->g_gate = saved + r.g_gate * c->rows, m->g_up = saved + r.g_up * c->rows;
    m->chosen = c->ints, m->row = c->ints + m->n_pairs, m->place = m->row + m->n_pairs;
}

/* Chosen experts of all rows, then the pairs of row and expert, by expert. */
static void send(const learn_call *c, mixture *m) {
    const real *x = c->x[0];
    route(c, m->n_experts, m->n_used, m->chosen, m->weight);
    learn_expert_ranges(m->chosen, m->n_pairs, m->n_experts, m->first);
    size_t next[LEARN_MAX_EXPERTS];
    memcpy(next, m->first, m->n_experts * sizeof *next);
    for (size_t i = 0; i < m->n_pairs; i++) {
        size_t at = next[m->chosen[i]]++;
        m->row[at] = (uint32_t)(i / m->n_used);
        m->place[at] = (uint32_t)(i % m->n_used);
        memcpy(m->x + at * m->width, x + m->row[at] * m->width, m->width * sizeof *x);
    }
}

static void experts_forward(learn_call *c) {
    mixture m;
    mixture_of(c, &m);
    send(c, &m);
    const real *gate = c->w[0], *up = c->w[1], *down = c->w[2];
    real *y = c->y;
    size_t size = m.ff * m.width;
    for (size_t e = 0; e < m.n_experts; e++) {
        size_t at = m.first[e], n = m.first[e + 1] - at;
        if (!n) continue;
        gemm(false, true, n, m.ff, m.width, 1, m.x + at * m.width, m.width, gate + e * size, m.width, 0,
             m.gate + at * m.ff, m.ff);
        gemm(false, true, n, m.ff, m.width, 1, m.x + at * m.width, m.width, up + e * size, m.width, 0, m.up + at * m.ff,
             m.ff);
        for (size_t i = at * m.ff; i < (at + n) * m.ff; i += m.ff)
            gate_row(m.mid + i, m.gate + i, m.up + i, m.ff, c->scratch);
        gemm(false, true, n, m.width, m.ff, 1, m.mid + at * m.ff, m.ff, down + e * size, m.ff, 0, m.out + at * m.width,
             m.width);
    }
    memset(y, 0, c->rows * m.width * sizeof *y);
    for (size_t i = 0; i < m.n_pairs; i++)
        v_axpy(y + m.row[i] * m.width, m.weight[m.row[i] * m.n_used + m.place[i]], m.out + i * m.width, m.width);
}

static void expert_backward(const learn_call *c, const mixture *m, size_t e, real *g_mid, real *g_x, real *room) {
    size_t at = m->first[e], n = m->first[e + 1] - at, size = m->ff * m->width;
    const real *gate = (const real *)c->w[0] + e * size, *up = (const real *)c->w[1] + e * size,
               *down = (const real *)c->w[2] + e * size, *x = m->x + at * m->width;
    real *g_out = m->g_out + at * m->width, *g_gate = m->g_gate + at * m->ff, *g_up = m->g_up + at * m->ff;
    gemm(false, false, n, m->ff, m->width, 1, g_out, m->width, down, m->ff, 0, g_mid, m->ff);
    for (size_t i = 0; i < n; i++)
        gate_row_back(g_mid + i * m->ff, m->gate + (at + i) * m->ff, m->up + (at + i) * m->ff, m->ff,
                      g_gate + i * m->ff, false, g_up + i * m->ff, false, room);
    if (c->gw[0])
        gemm(true, false, m->ff, m->width, n, 1, g_gate, m->ff, x, m->width, 1, (real *)c->gw[0] + e * size, m->width);
    if (c->gw[1])
        gemm(true, false, m->ff, m->width, n, 1, g_up, m->ff, x, m->width, 1, (real *)c->gw[1] + e * size, m->width);
    if (c->gw[2])
        gemm(true, false, m->width, m->ff, n, 1, g_out, m->width, m->mid + at * m->ff, m->ff, 1,
             (real *)c->gw[2] + e * size, m->ff);
    if (!c->gx[0]) return;
    gemm(false, false, n, m->width, m->ff, 1, g_gate, m->ff, gate, m->width, 0, g_x, m->width);
    gemm(false, false, n, m->width, m->ff, 1, g_up, m->ff, up, m->width, 1, g_x, m->width);
    for (size_t i = 0; i < n; i++)
        v_axpy((real *)c->gx[0] + m->row[at + i] * m->width, 1, g_x + i * m->width, m->width);
}

static void experts_backward(const learn_call *c) {
    mixture m;
    mixture_of(c, &m);
    learn_expert_ranges(m.chosen, m.n_pairs, m.n_experts, m.first);
    real *g_mid = c->scratch, *g_x = g_mid + c->rows * m.ff, *g_weight = g_x + c->rows * m.width,
         *room = g_weight + m.n_pairs;
    const real *gy = c->gy;
    for (size_t i = 0; i < m.n_pairs; i++) {
        const real *g = gy + m.row[i] * m.width;
        size_t which = m.row[i] * m.n_used + m.place[i];
        g_weight[which] = v_dot(g, m.out + i * m.width, m.width);
        for (size_t j = 0; j < m.width; j++) m.g_out[i * m.width + j] = m.weight[which] * g[j];
    }
    if (c->gx[0] && !c->add[0]) memset(c->gx[0], 0, c->rows * m.width * sizeof(real));
    for (size_t e = 0; e < m.n_experts; e++)
        if (m.first[e + 1] > m.first[e]) expert_backward(c, &m, e, g_mid, g_x, room);
    if (c->gx[1]) route_backward(c, m.n_experts, m.n_used, m.chosen, m.weight, g_weight);
}

/* ---- vectors in the place of experts ---- */

/* y = x * by, by = 1 + sum of w_k vectors[e_k] over the places k from n_kept on. `saved` has the weights of all rows,
 * then `by`; `ints` the experts chosen. */
static void modulate_forward(learn_call *c) {
    size_t n = c->node->width, n_used = c->node->n_used;
    const real *x = c->x[0], *v = c->w[0];
    real *weight = c->saved, *by = weight + c->rows * n_used, *y = c->y;
    route(c, c->width[1], n_used, c->ints, weight);
    for (size_t t = 0; t < c->rows; t++, x += n, y += n, by += n) {
        for (size_t i = 0; i < n; i++) by[i] = 1;
        for (size_t k = c->node->n_kept; k < n_used; k++)
            v_axpy(by, weight[t * n_used + k], v + c->ints[t * n_used + k] * n, n);
        v_mul(y, x, by, n);
    }
}

static void modulate_backward(const learn_call *c) {
    size_t n = c->node->width, n_used = c->node->n_used;
    const real *x = c->x[0], *v = c->w[0], *gy = c->gy, *weight = c->saved, *by = weight + c->rows * n_used;
    real *g = c->scratch, *g_weight = g + n, *gx = c->gx[0], *gv = c->gw[0];
    for (size_t t = 0; t < c->rows; t++, x += n, gy += n, by += n) {
        v_mul(g, x, gy, n); /* by `by` */
        for (size_t k = 0; k < n_used; k++) {
            size_t at = c->ints[t * n_used + k] * n;
            bool kept = k < c->node->n_kept;
            g_weight[t * n_used + k] = kept ? 0 : v_dot(g, v + at, n);
            if (gv && !kept) v_axpy(gv + at, weight[t * n_used + k], g, n);
        }
        if (!gx) continue;
        v_mul(g, by, gy, n);
        put(gx + t * n, c->add[0], g, n);
    }
    if (c->gx[1]) route_backward(c, c->width[1], n_used, c->ints, weight, g_weight);
}
