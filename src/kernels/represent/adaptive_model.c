/* The parts of the adaptive coder: a Huffman tree for the curve that fits the plane, so that few decisions are made for a
 * code, and tables. The tables of the logistic domain come from exact exponentials, the same on every machine. */
#include "kernels/represent/adaptive.h"

#include <pthread.h>

#include "kernels/represent/adaptive_contexts.h"
#include "kernels/represent/huffman.h"
#include "kernels/represent/rans.h"
#include "math/math.h"

static adaptive_tables tables;

static void make_tables(void) {
    for (int i = 0; i < 4096; i++) {
        double p = 65536.0 / (1 + real_exp(-(i - 2048) / 256.0));
        tables.squash[i] = (uint16_t)PITH_MIN(PITH_MAX(p, 32.0), 65504.0);
    }
    /* the inverse: where squash passes the middle of a 4096th */
    int x = -2047;
    for (unsigned p = 0; p < 4096; p++) {
        while (x < 2047 && tables.squash[x + 2048] < 16 * p + 8) x++;
        tables.stretch[p] = x;
    }
}

void adaptive_rates(int32_t rate[1024]) {
    for (int i = 0; i < 1024; i++) rate[i] = (4096 * 4 / (2 * i + 3) + 1) / 2;
}

/* Numbers the nodes anew, heaviest first; each is lighter than its parent. */
static void sort_nodes(adaptive_tree *t, const uint32_t *sum) {
    uint16_t order[ADAPTIVE_SYMBOLS], place[ADAPTIVE_SYMBOLS];
    adaptive_tree old = *t;
    for (unsigned i = 0; i < t->n_nodes; i++) {
        unsigned k = i;
        for (; k > 0 && sum[order[k - 1]] < sum[i]; k--) order[k] = order[k - 1];
        order[k] = (uint16_t)i;
    }
    for (unsigned i = 0; i < t->n_nodes; i++) place[order[i]] = (uint16_t)i;
    for (unsigned i = 0; i < t->n_nodes; i++) {
        for (unsigned bit = 0; bit < 2; bit++) {
            int16_t c = old.child[order[i]][bit];
            t->child[i][bit] = c > 0 ? (int16_t)place[c] : c;
        }
        t->start[i] = old.start[order[i]];
    }
}

/* Canonical codes in order of length, then symbol; the tree they make. */
static void make_tree(adaptive_tree *t, const rans_table *curve) {
    uint32_t weight[256], sum_one[ADAPTIVE_SYMBOLS] = {0}, sum[ADAPTIVE_SYMBOLS] = {0};
    for (unsigned s = 0; s < 256; s++) weight[s] = curve->freq[s];
    huffman_lengths(weight, t->length);
    unsigned code = 0, length = 0;
    t->n_nodes = 1;
    memset(t->child, 0, sizeof t->child);
    for (unsigned l = 1; l <= HUFFMAN_BITS; l++)
        for (unsigned s = 0; s < 256; s++) {
            if (t->length[s] != l) continue;
            code <<= l - length;
            length = l;
            t->code[s] = (uint16_t)code++;
            unsigned node = 0;
            for (unsigned i = l; i-- > 0;) {
                unsigned bit = t->code[s] >> i & 1;
                sum[node] += weight[s];
                sum_one[node] += bit * weight[s];
                /* 0: not there yet, for nothing leads back to the root */
                if (i > 0 && t->child[node][bit] == 0) t->child[node][bit] = (int16_t)t->n_nodes++;
                if (i == 0) t->child[node][bit] = (int16_t)~s;
                else node = (unsigned)t->child[node][bit];
            }
        }
    for (unsigned k = 0; k < t->n_nodes; k++) t->start[k] = (uint16_t)((uint64_t)sum_one[k] * 65535 / sum[k]);
    sort_nodes(t, sum);
}

pith_status adaptive_model_init(pith_ctx *ctx, adaptive_model *m, const adaptive_head *head, adaptive_before before,
                                size_t n, size_t row) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    rans_table curve = {.first = head->first, .last = head->last};
    memset(m, 0, sizeof *m);
    rans_table_curve(head->kind, head->centre16, head->width, &curve);
    make_tree(&m->tree, &curve);
    pthread_once(&once, make_tables);
    m->tables = &tables;
    m->row = row && row < n ? row : 1; /* no rows: what stands above is the code before */
    m->centre = (head->centre16 + 8u) / 16;
    m->mean = head->mean;
    for (unsigned i = 1; i <= ADAPTIVE_ROW_CODES; i++) m->inverse[i] = 65536 / i;
    context_row(m);
    m->log_mean = context_log(head->mean);
    m->signed_scale = ((uint64_t)3 << 32) / head->mean;
    for (unsigned s = 0; s < ADAPTIVE_SYMBOLS; s++)
        m->level[s] = (uint8_t)context_level(m, ((int32_t)s - (int32_t)m->centre) * 65536);
    m->before = before.codes;
    m->n = n;
    m->n_inputs = !before.codes ? ADAPTIVE_INPUTS : before.around ? ADAPTIVE_INPUTS_AROUND : ADAPTIVE_INPUTS_SAME;
    size_t n_cells = 0, n_blocks = (m->tree.n_nodes + ADAPTIVE_LANES - 1) / ADAPTIVE_LANES;
    for (unsigned k = 0; k < m->n_inputs; k++) n_cells += context_counts[k] * n_blocks;
    adaptive_cells *cells = pith_alloc(ctx, n_cells * sizeof *cells);
    m->n_blocks = n_blocks;
    m->cells[0] = cells;
    m->weights = pith_alloc(ctx, n_blocks * sizeof *m->weights);
    m->down = pith_alloc(ctx, m->row * sizeof *m->down);
    m->drift = pith_zalloc(ctx, m->row * sizeof *m->drift);
    m->above = pith_alloc(ctx, m->row * sizeof *m->above);
    if (!cells || !m->weights || !m->down || !m->drift || !m->above) {
        pith_status status = pith_alloc_status(ctx);
        adaptive_model_free(ctx, m);
        return status;
    }
    for (unsigned k = 1; k < m->n_inputs; k++) m->cells[k] = m->cells[k - 1] + context_counts[k - 1] * n_blocks;
    for (size_t i = 0; i < n_blocks * ADAPTIVE_LANES; i++) {
        unsigned start = i < m->tree.n_nodes ? m->tree.start[i] : 0, lane = i % ADAPTIVE_LANES;
        cells[i / ADAPTIVE_LANES].counter[lane] = (uint32_t)start << 16 | CONTEXT_FIRST_COUNT;
        cells[i / ADAPTIVE_LANES].stretched[lane] = m->tables->stretch[start >> 4];
        for (unsigned k = 0; k < m->n_inputs; k++)
            m->weights[i / ADAPTIVE_LANES].of[k][lane] = CONTEXT_FIRST_WEIGHTS / (int32_t)m->n_inputs;
    }
    for (size_t i = n_blocks; i < n_cells; i++) cells[i] = cells[i - n_blocks];
    for (size_t i = 0; i < m->row; i++) m->down[i] = m->mean, m->above[i] = (uint16_t)m->centre;
    return PITH_OK;
}

void adaptive_model_free(pith_ctx *ctx, adaptive_model *m) {
    pith_free(ctx, m->cells[0]);
    pith_free(ctx, m->weights);
    pith_free(ctx, m->down);
    pith_free(ctx, m->drift);
    pith_free(ctx, m->above);
}
