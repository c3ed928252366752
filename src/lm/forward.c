/* The forward pass, the same loop for every architecture: embed, then in each layer a mixer and
 * a feed-forward block, each on a normed copy and added to the stream; norm and logits last. */
#include "lm/session.h"

const block_ops *mixer_of(const lm_model *m) {
    static const block_ops *const blocks[] = {
        [MIX_ATTENTION] = &attention_block, [MIX_MAMBA] = &mamba_block, [MIX_RWKV4] = &rwkv4_time_block};
    return blocks[m->arch->mixer];
}

const block_ops *ffn_of(const lm_model *m) {
    static const block_ops *const blocks[] = {
        [FFN_NONE] = NULL, [FFN_SWIGLU] = &swiglu_block, [FFN_GELU] = &gelu_block, [FFN_RWKV4] = &rwkv4_channel_block,
        [FFN_EXPERTS] = &experts_block};
    return blocks[m->arch->ffn];
}

size_t state_floats_of(const lm_model *m) {
    const block_ops *mixer = mixer_of(m), *ffn = ffn_of(m);
    return (mixer->state ? mixer->state(m) : 0) + (ffn && ffn->state ? ffn->state(m) : 0);
}

static void embed(lm_session *s) {
    const lm_model *m = s->m;
    size_t width = m->dim[DIM_EMBD];
    const lm_matrix *table = &m->w[W_EMBD].matrix, *places = &m->w[W_POSITION].matrix;
    for (size_t r = 0; r < s->n_rows; r++) {
        float *x = s->x + r * width;
        blocks_decode(table->type, table->data + s->ids[r] * table->row_bytes, x, width);
        if (places->data) {
            blocks_decode(places->type, places->data + s->positions[r] * places->row_bytes, s->h, width);
            for (size_t i = 0; i < width; i++) x[i] = x[i] + s->h[i];
        }
        if (m->rope != ROPE_NONE) rope_angles(m, s->positions[r], s->rope + r * m->dim[DIM_ROPE]);
    }
    if (m->w[W_EMBD_NORM].values) norm_rows(m, &m->w[W_EMBD_NORM], &m->w[W_EMBD_NORM_BIAS], s->x, s->x, s->n_rows);
}

typedef struct norm_job {
    const lm_session *s;
    const lm_weight *weight, *bias;
} norm_job;

static void norm_piece(void *arg, size_t first, size_t n) {
    const norm_job *j = arg;
    size_t at = first * j->s->m->dim[DIM_EMBD];
    norm_rows(j->s->m, j->weight, j->bias, j->s->x + at, j->s->h + at, n);
}

static pith_status add_block(lm_session *s, uint32_t layer, const block_ops *block, layer_role norm) {
    size_t width = s->m->dim[DIM_EMBD];
    const lm_weight *w = &s->m->layers[layer].w[norm];
    in_pieces(s, s->n_rows, 3 * width, norm_piece, &(norm_job){s, w, w + 1});
    pith_status status = block->run(s, layer);
    if (status) return status;
    for (size_t i = 0; i < s->n_rows * width; i++) s->x[i] = s->x[i] + s->y[i];
    return PITH_OK;
}

/* Moves the wanted rows of x to h, in the order of their logits. */
static void gather(lm_session *s) {
    size_t width = s->m->dim[DIM_EMBD];
    for (size_t i = 0; i < s->n_logits; i++)
        memcpy(s->h + i * width, s->x + s->logit_row[i] * width, width * sizeof *s->h);
}

static void show_hidden(const lm_session *s, uint32_t layer) {
    for (size_t i = 0; s->probe && s->probe->hidden && i < s->n_spans; i++)
        s->probe->hidden(s->probe->opaque, layer, s->spans[i].sequence, s->spans[i].first, s->spans[i].n,
                         s->x + s->spans[i].row * s->m->dim[DIM_EMBD]);
}

pith_status forward(lm_session *s) {
    const lm_model *m = s->m;
    const block_ops *mixer = mixer_of(m), *ffn = ffn_of(m);
    size_t width = m->dim[DIM_EMBD];
    embed(s);
    for (uint32_t layer = 0; layer < m->dim[DIM_LAYERS]; layer++) {
        show_hidden(s, layer);
        pith_status status = add_block(s, layer, mixer, L_NORM);
        if (status) return status;
        if (!ffn) continue;
        if (layer + 1 == m->dim[DIM_LAYERS] && !ffn->state && !s->probe) {
            /* nobody asks for the other rows any more */
            gather(s);
            memcpy(s->x, s->h, s->n_logits * width * sizeof *s->x);
            s->n_rows = s->n_logits;
            for (size_t i = 0; i < s->n_logits; i++) s->logit_row[i] = (uint32_t)i;
        }
        status = add_block(s, layer, ffn, L_FFN_NORM);
        if (status) return status;
    }
    show_hidden(s, (uint32_t)m->dim[DIM_LAYERS]);
    gather(s);
    norm_rows(m, &m->w[W_OUT_NORM], &m->w[W_OUT_NORM_BIAS], s->h, s->hidden, s->n_logits);
    products(s, s->hidden, width, s->n_logits, &(product){&m->w[W_OUTPUT], s->logits}, 1);
    return PITH_OK;
}
