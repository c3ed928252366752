/* The parts of the adaptive coder: a Huffman tree for the curve that fits the plane, so that few decisions are made for a
 * code, and tables. The tables of the logistic domain come from exact exponentials, the same on every machine. */
#include "kernels/represent/adaptive.h"
#include "kernels/represent/adaptive_contexts.h"
#include "kernels/represent/huffman.h"
#include "kernels/represent/rans.h"
#include "math/math.h"

static void make_tables(adaptive_model *m) {
    for (int i = 0; i < 4096; i++) {
        double p = 65536.0 / (1 + real_exp(-(i - 2048) / 256.0));
        m->squash[i] = (uint16_t)PITH_MIN(PITH_MAX(p, 32.0), 65504.0);
    }
    /* the inverse: where squash passes the middle of a 4096th */
    int x = -2047;
    for (unsigned p = 0; p < 4096; p++) {
        while (x < 2047 && m->squash[x + 2048] < 16 * p + 8) x++;
        m->stretch[p] = (int16_t)x;
    }
    adaptive_rates(m->rate);
}

void adaptive_rates(int32_t rate[1024]) {
    for (int i = 0; i < 1024; i++) rate[i] = (4096 * 4 / (2 * i + 3) + 1) / 2;
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
}

pith_status adaptive_model_init(pith_ctx *ctx, adaptive_model *m, const adaptive_head *head, size_t n, size_t row) {
    rans_table curve = {.first = head->first, .last = head->last};
    memset(m, 0, sizeof *m);
    rans_table_curve(head->kind, head->centre16, head->width, &curve);
    make_tree(&m->tree, &curve);
    make_tables(m);
    m->row = row && row < n ? row : 1; /* no rows: what stands above is the code before */
    m->centre = (head->centre16 + 8u) / 16;
    m->mean = m->across = head->mean;
    for (unsigned i = 1; i <= ADAPTIVE_ROW_CODES; i++) m->inverse[i] = 65536 / i;
    m->log_mean = context_log(head->mean);
    m->signed_scale = ((uint64_t)3 << 32) / head->mean;
    for (unsigned s = 0; s < ADAPTIVE_SYMBOLS; s++)
        m->level[s] = (uint8_t)context_level(m, ((int32_t)s - (int32_t)m->centre) * 65536);
    size_t n_counters = 0, n_nodes = m->tree.n_nodes;
    for (unsigned k = 0; k < ADAPTIVE_INPUTS; k++) n_counters += context_counts[k] * n_nodes;
    uint32_t *counters = pith_alloc(ctx, n_counters * sizeof *counters);
    m->counters[0] = counters;
    m->weights = pith_alloc(ctx, n_nodes * sizeof *m->weights);
    m->down = pith_alloc(ctx, m->row * sizeof *m->down);
    m->drift = pith_zalloc(ctx, m->row * sizeof *m->drift);
    m->above = pith_alloc(ctx, m->row * sizeof *m->above);
    if (!counters || !m->weights || !m->down || !m->drift || !m->above) {
        pith_status status = pith_alloc_status(ctx);
        adaptive_model_free(ctx, m);
        return status;
    }
    for (unsigned k = 1; k < ADAPTIVE_INPUTS; k++) m->counters[k] = m->counters[k - 1] + context_counts[k - 1] * n_nodes;
    for (size_t i = 0; i < n_counters; i++)
        counters[i] = (uint32_t)m->tree.start[i % n_nodes] << 16 | CONTEXT_FIRST_COUNT;
    for (size_t i = 0; i < n_nodes; i++)
        for (unsigned k = 0; k < ADAPTIVE_INPUTS; k++) m->weights[i][k] = CONTEXT_FIRST_WEIGHT;
    for (size_t i = 0; i < m->row; i++) m->down[i] = m->mean, m->above[i] = (uint16_t)m->centre;
    return PITH_OK;
}

void adaptive_model_free(pith_ctx *ctx, adaptive_model *m) {
    pith_free(ctx, m->counters[0]);
    pith_free(ctx, m->weights);
    pith_free(ctx, m->down);
    pith_free(ctx, m->drift);
    pith_free(ctx, m->above);
}
