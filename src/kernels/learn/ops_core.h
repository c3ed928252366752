/* What the operations compute, forward and backward, for any type of real numbers. Whoever includes this has said
 *   real                                  the type
 *   gemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)    as dense_gemm
 *   v_dot, v_sum, v_axpy, v_mul, v_scale, v_exp, v_sigmoid    as in math/math.h
 * and gets `kernels`, a learn_kernel for each operation. No include guard: it is text for one file. */
#include <math.h>

/* ---- pieces ---- */

static real row_max(const real *x, size_t n) {
    real lane[16], most = x[0];
    size_t i = 0;
    for (size_t j = 0; j < 16; j++) lane[j] = x[0];
    for (; i + 16 <= n; i += 16)
        for (size_t j = 0; j < 16; j++) lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (; i < n; i++) most = x[i] > most ? x[i] : most;
    for (size_t j = 0; j < 16; j++) most = lane[j] > most ? lane[j] : most;
    return most;
}

/* y = exp(x - by) */
static void exp_row(real *y, const real *x, real by, size_t n) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] - by;
    v_exp(y, y, n);
}

/* s[n]: room */
static void gate_row(real *y, const real *gate, const real *up, size_t n, real *s) {
    v_sigmoid(s, gate, n);
    for (size_t i = 0; i < n; i++) y[i] = gate[i] * s[i] * up[i];
}

static void put(real *to, bool add, const real *from, size_t n) {
    if (add)
        v_axpy(to, 1, from, n);
    else
        memcpy(to, from, n * sizeof *to);
}

/* d silu(x) = s (1 + x (1 - s)), s = sigmoid(x). room[2 n]; g_gate, g_up may be NULL. */
static void gate_row_back(const real *gy, const real *gate, const real *up, size_t n, real *g_gate, bool add_gate,
                          real *g_up, bool add_up, real *room) {
    real *s = room, *g = room + n;
    v_sigmoid(s, gate, n);
    if (g_up) {
        for (size_t i = 0; i < n; i++) g[i] = gy[i] * gate[i] * s[i];
        put(g_up, add_up, g, n);
    }
    if (g_gate) {
        for (size_t i = 0; i < n; i++) g[i] = gy[i] * up[i] * s[i] * (1 + gate[i] * (1 - s[i]));
        put(g_gate, add_gate, g, n);
    }
}

/* ---- embeddings ---- */

static void embed_forward(learn_call *c) {
    size_t n = c->node->width;
    const real *table = c->w[0];
    real *y = c->y;
    for (size_t t = 0; t < c->rows; t++) memcpy(y + t * n, table + c->batch->tokens[t] * n, n * sizeof *y);
}

static void embed_backward(const learn_call *c) {
    size_t n = c->node->width;
    const real *gy = c->gy;
    real *gw = c->gw[0];
    for (size_t t = 0; gw && t < c->rows; t++) v_axpy(gw + c->batch->tokens[t] * n, 1, gy + t * n, n);
}

/* ---- norm ---- */

static void norm_forward(learn_call *c) {
    size_t n = c->node->width;
    const real *x = c->x[0], *w = c->w[0];
    real *y = c->y, *by = c->saved;
    for (size_t t = 0; t < c->rows; t++, x += n, y += n) {
        by[t] = 1 / (real)sqrt((double)(v_dot(x, x, n) / (real)n) + c->node->epsilon);
        v_scale(y, by[t], x, w, n);
    }
}

/* With h = w gy and a = 1 / root: gx = a h - a^3 / n (h . x) x. */
static void norm_backward(const learn_call *c) {
    size_t n = c->node->width;
    const real *x = c->x[0], *w = c->w[0], *gy = c->gy, *by = c->saved;
    real *h = c->scratch, *gx = c->gx[0], *gw = c->gw[0];
    for (size_t t = 0; t < c->rows; t++, x += n, gy += n) {
        real a = by[t];
        if (gw)
            for (size_t i = 0; i < n; i++) gw[i] += gy[i] * (x[i] * a);
        if (!gx) continue;
        v_mul(h, w, gy, n);
        real along = a * a * a * v_dot(h, x, n) / (real)n;
        if (c->add[0])
            for (size_t i = 0; i < n; i++) gx[i] += a * h[i] - along * x[i];
        else
            for (size_t i = 0; i < n; i++) gx[i] = a * h[i] - along * x[i];
        gx += n;
    }
}

/* ---- matrices ---- */

static void linear_forward(learn_call *c) {
    size_t out = c->node->width, in = c->width[0];
    const real *bias = c->w[1];
    real *y = c->y;
    gemm(false, true, c->rows, out, in, 1, c->x[0], in, c->w[0], in, 0, y, out);
    for (size_t t = 0; bias && t < c->rows; t++) v_axpy(y + t * out, 1, bias, out);
}

static void linear_backward(const learn_call *c) {
    size_t out = c->node->width, in = c->width[0];
    const real *gy = c->gy;
    if (c->gx[0]) gemm(false, false, c->rows, in, out, 1, gy, out, c->w[0], in, c->add[0] ? 1 : 0, c->gx[0], in);
    if (c->gw[0]) gemm(true, false, out, in, c->rows, 1, gy, out, c->x[0], in, 1, c->gw[0], in);
    for (size_t t = 0; c->gw[1] && t < c->rows; t++) v_axpy(c->gw[1], 1, gy + t * out, out);
}

/* ---- rotary positions ---- */

/* Turned back when `back`: the gradient of a rotation is its inverse. */
static void turn(const learn_call *c, const real *from, real *to, bool add, bool back) {
    const learn_node *node = c->node;
    size_t head = node->head, step = node->halves ? 1 : 2, apart = node->halves ? node->n_turns : 1;
    for (size_t t = 0; t < c->rows; t++) {
        const double *angles = c->turned + t % c->segment * node->n_turns * 2;
        for (size_t h = 0; h < node->width; h += head, from += head, to += head) {
            for (size_t i = 0; i < node->n_turns; i++) {
                real cosine = (real)angles[2 * i], sine = (real)(back ? -angles[2 * i + 1] : angles[2 * i + 1]);
                real a = from[i * step], b = from[i * step + apart];
                real first = a * cosine - b * sine, second = a * sine + b * cosine;
                to[i * step] = add ? to[i * step] + first : first;
                to[i * step + apart] = add ? to[i * step + apart] + second : second;
            }
            size_t rest = 2 * node->n_turns;
            put(to + rest, add, from + rest, head - rest);
        }
    }
}

static void rope_forward(learn_call *c) { turn(c, c->x[0], c->y, false, false); }
static void rope_backward(const learn_call *c) {
    if (c->gx[0]) turn(c, c->gy, c->gx[0], c->add[0], true);
}

/* ---- attention ---- */

/* Rows [first, first + n) of one window under one head of keys: all query heads of its group, row by row. */
typedef struct tile {
    size_t head, group, n_q, n_kv; /* n_q, n_kv: widths */
    size_t row, n, keys;           /* row: of the whole batch; keys of the window that are seen at most */
    size_t q_at, kv_at;            /* columns */
    size_t window;                 /* its first row */
} tile;

typedef void (*tile_fn)(const learn_call *c, const tile *t);

static void each_tile(const learn_call *c, tile_fn fn) {
    tile t = {.head = c->node->head, .n_q = c->width[0], .n_kv = c->width[1]};
    t.group = t.n_q / t.n_kv;
    size_t rows = learn_tile_rows(t.group);
    for (t.window = 0; t.window < c->rows; t.window += c->segment)
        for (t.kv_at = 0; t.kv_at < t.n_kv; t.kv_at += t.head)
            for (size_t i = 0; i < c->segment; i += rows) {
                t.q_at = t.kv_at * t.group;
                t.row = t.window + i;
                t.n = PITH_MIN(rows, c->segment - i);
                t.keys = i + t.n;
                fn(c, &t);
            }
}

static void pack_tile(const tile *t, const real *from, real *to) {
    size_t n = t->group * t->head;
    for (size_t i = 0; i < t->n; i++) memcpy(to + i * n, from + (t->row + i) * t->n_q + t->q_at, n * sizeof *to);
}

static void unpack_tile(const tile *t, const real *from, real *to, bool add) {
    size_t n = t->group * t->head;
    for (size_t i = 0; i < t->n; i++) put(to + (t->row + i) * t->n_q + t->q_at, add, from + i * n, n);
}

static real *log_sum_of(const learn_call *c, const tile *t, size_t i) {
    real *saved = c->saved;
    return saved + (t->row + i / t->group) * (t->n_q / t->head) + t->q_at / t->head + i % t->group;
}

/* scores[n * group][keys] = q k^T / sqrt(head) */
static void tile_scores(const learn_call *c, const tile *t, const real *q, real *scores) {
    const real *k = c->x[1];
    gemm(false, true, t->n * t->group, t->keys, t->head, (real)(1 / sqrt((double)t->head)), q, t->head,
         k + t->window * t->n_kv + t->kv_at, t->n_kv, 0, scores, t->keys);
}

static void tile_forward(const learn_call *c, const tile *t) {
    size_t rows = t->n * t->group, room = t->group * learn_tile_rows(t->group) * t->head;
    const real *v = c->x[2];
    real *q = c->scratch, *out = q + room, *scores = q + 4 * room;
    pack_tile(t, c->x[0], q);
    tile_scores(c, t, q, scores);
    for (size_t i = 0; i < rows; i++) {
        real *s = scores + i * t->keys;
        size_t seen = t->row - t->window + i / t->group + 1;
        real most = row_max(s, seen);
        exp_row(s, s, most, seen);
        real sum = v_sum(s, seen), by = 1 / sum;
        for (size_t j = 0; j < seen; j++) s[j] *= by;
        memset(s + seen, 0, (t->keys - seen) * sizeof *s);
        *log_sum_of(c, t, i) = most + (real)log((double)sum);
    }
    gemm(false, false, rows, t->head, t->keys, 1, scores, t->keys, v + t->window * t->n_kv + t->kv_at, t->n_kv, 0, out,
         t->head);
    unpack_tile(t, out, c->y, false);
}

static void attention_forward(learn_call *c) { each_tile(c, tile_forward); }

/* With P the weights of attention, made again from the scores: gv = P^T go, dP = go v^T,
 * dS = P (dP - go . o), gq = dS k / sqrt(head), gk = dS^T q / sqrt(head). */
static void tile_backward(const learn_call *c, const tile *t) {
    size_t rows = t->n * t->group, room = t->group * learn_tile_rows(t->group) * t->head;
    size_t at = t->window * t->n_kv + t->kv_at;
    const real *k = c->x[1], *v = c->x[2];
    real *q = c->scratch, *out = q + room, *go = q + 2 * room, *gq = q + 3 * room, *p = q + 4 * room,
         *gp = p + t->group * learn_tile_rows(t->group) * c->segment;
    real scale = (real)(1 / sqrt((double)t->head));
    pack_tile(t, c->x[0], q);
    pack_tile(t, c->y, out);
    pack_tile(t, c->gy, go);
    tile_scores(c, t, q, p);
    gemm(false, true, rows, t->keys, t->head, 1, go, t->head, v + at, t->n_kv, 0, gp, t->keys);
    for (size_t i = 0; i < rows; i++) {
        real *s = p + i * t->keys, *g = gp + i * t->keys;
        size_t seen = t->row - t->window + i / t->group + 1;
        real along = v_dot(go + i * t->head, out + i * t->head, t->head);
        exp_row(s, s, *log_sum_of(c, t, i), seen);
        for (size_t j = 0; j < seen; j++) g[j] = s[j] * (g[j] - along);
        memset(s + seen, 0, (t->keys - seen) * sizeof *s);
        memset(g + seen, 0, (t->keys - seen) * sizeof *g);
    }
    if (c->gx[0]) {
        gemm(false, false, rows, t->head, t->keys, scale, gp, t->keys, k + at, t->n_kv, 0, gq, t->head);
        unpack_tile(t, gq, c->gx[0], c->add[0]);
    }
    if (c->gx[1])
        gemm(true, false, t->keys, t->head, rows, scale, gp, t->keys, q, t->head, 1, (real *)c->gx[1] + at, t->n_kv);
    if (c->gx[2])
        gemm(true, false, t->keys, t->head, rows, 1, p, t->keys, go, t->head, 1, (real *)c->gx[2] + at, t->n_kv);
}

static void attention_backward(const learn_call *c) {
    for (size_t i = 1; i < 3; i++)
        if (c->gx[i] && !c->add[i]) memset(c->gx[i], 0, c->rows * c->width[i] * sizeof(real));
    each_tile(c, tile_backward);
}

/* ---- gate, sum ---- */

static void gate_forward(learn_call *c) {
    size_t n = c->node->width;
    const real *gate = c->x[0], *up = c->x[1];
    real *y = c->y;
    for (size_t at = 0; at < c->rows * n; at += n) gate_row(y + at, gate + at, up + at, n, c->scratch);
}

static void gate_backward(const learn_call *c) {
    size_t n = c->node->width;
    const real *gate = c->x[0], *up = c->x[1], *gy = c->gy;
    real *g_gate = c->gx[0], *g_up = c->gx[1];
    for (size_t at = 0; at < c->rows * n; at += n)
        gate_row_back(gy + at, gate + at, up + at, n, g_gate ? g_gate + at : NULL, c->add[0], g_up ? g_up + at : NULL,
                      c->add[1], c->scratch);
}

static void add_forward(learn_call *c) {
    const real *a = c->x[0], *b = c->x[1];
    real *y = c->y;
    for (size_t i = 0; i < c->rows * c->node->width; i++) y[i] = a[i] + b[i];
}

static void add_backward(const learn_call *c) {
    for (size_t i = 0; i < 2; i++)
        if (c->gx[i]) put(c->gx[i], c->add[i], c->gy, c->rows * c->node->width);
}

#include "kernels/learn/ops_experts.h"

/* ---- cross entropy ---- */

/* In [0, 1). */
static double drawn(const learn_call *c, size_t row) {
    uint64_t key[2] = {c->batch->seed, c->batch->first_row + row};
    return (double)(pith_hash64(key, sizeof key) >> 11) * 0x1p-53;
}

static const real *teacher_row(const learn_call *c, size_t t, size_t n) {
    return c->batch->teacher ? (const real *)c->batch->teacher + t * n : NULL;
}

/* e = exp(x / temperature - by) */
static void warm_row(real *e, const real *x, real over, real by, size_t n) {
    for (size_t i = 0; i < n; i++) e[i] = x[i] * over - by;
    v_exp(e, e, n);
}

/* KL of the two softmax at the batch's temperature. sums[2]: logarithms of the sums of powers, of logits and teacher;
 * e[n]: room. */
static double divergence(const learn_call *c, const real *x, const real *teacher, size_t n, real *e, real *sums) {
    real over = (real)(1 / c->batch->temperature), most = row_max(x, n) * over;
    warm_row(e, x, over, most, n);
    sums[0] = most + (real)log((double)v_sum(e, n));
    most = row_max(teacher, n) * over;
    warm_row(e, teacher, over, most, n);
    double sum = (double)v_sum(e, n), along = 0;
    sums[1] = most + (real)log(sum);
    for (size_t i = 0; i < n; i++) along += (double)(e[i] * (teacher[i] - x[i]));
    return along / sum * (double)over - (double)(sums[1] - sums[0]);
}

static void entropy_forward(learn_call *c) {
    size_t n = c->width[0];
    real *saved = c->saved, *e = c->scratch;
    for (size_t t = 0; t < c->rows; t++) {
        const real *teacher = teacher_row(c, t, n);
        const real *x = (const real *)c->x[0] + t * n;
        uint32_t target = c->batch->targets[t];
        c->ints[t] = target;
        if (target == LEARN_NO_TARGET) continue;
        real most = row_max(x, n);
        exp_row(e, x, most, n);
        real sum = v_sum(e, n);
        if (target == LEARN_SAMPLE) {
            double left = drawn(c, t) * (double)sum;
            for (target = 0; target + 1 < n && (left -= (double)e[target]) >= 0;) target++;
            c->ints[t] = target;
        }
        saved[3 * t] = most + (real)log((double)sum);
        double nats = log((double)sum) - (double)(x[target] - most), mix = c->batch->mix, warm = c->batch->temperature;
        if (teacher) nats = (1 - mix) * nats + mix * warm * warm * divergence(c, x, teacher, n, e, saved + 3 * t + 1);
        c->nats += nats;
        c->n_scored++;
    }
}

/* g, the cross entropy's gradient, becomes (1 - mix) g + mix T (softmax(x / T) - softmax(teacher / T)). */
static void learn_from(const learn_call *c, real *g, const real *x, const real *teacher, size_t n, const real *sums,
                       real *room) {
    real over = (real)(1 / c->batch->temperature), by = (real)(c->batch->mix * c->batch->temperature);
    for (size_t i = 0; i < n; i++) g[i] *= (real)(1 - c->batch->mix);
    warm_row(room, x, over, sums[1], n);
    v_axpy(g, by, room, n);
    warm_row(room, teacher, over, sums[2], n);
    v_axpy(g, -by, room, n);
}

static void entropy_backward(const learn_call *c) {
    size_t n = c->width[0];
    const real *saved = c->saved;
    real *e = c->scratch, *gx = c->gx[0];
    for (size_t t = 0; gx && t < c->rows; t++, gx += n) {
        const real *x = (const real *)c->x[0] + t * n;
        uint32_t target = c->ints[t];
        real *to = c->add[0] ? e : gx;
        if (target == LEARN_NO_TARGET) {
            if (!c->add[0]) memset(gx, 0, n * sizeof *gx);
            continue;
        }
        const real *sums = saved + 3 * t, *teacher = teacher_row(c, t, n);
        exp_row(to, x, sums[0], n);
        to[target] -= 1;
        if (teacher) learn_from(c, to, x, teacher, n, sums, e + n);
        if (c->add[0]) v_axpy(gx, 1, e, n);
    }
}

static const learn_kernel kernels[N_OPS] = {
    [OP_EMBED] = {embed_forward, embed_backward},
    [OP_NORM] = {norm_forward, norm_backward},
    [OP_LINEAR] = {linear_forward, linear_backward},
    [OP_ROPE] = {rope_forward, rope_backward},
    [OP_ATTENTION] = {attention_forward, attention_backward},
    [OP_GATE] = {gate_forward, gate_backward},
    [OP_ADD] = {add_forward, add_backward},
    [OP_EXPERTS] = {experts_forward, experts_backward},
    [OP_MODULATE] = {modulate_forward, modulate_backward},
    [OP_CROSS_ENTROPY] = {entropy_forward, entropy_backward},
};
