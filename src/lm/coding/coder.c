/* Coding items under a language model, and measuring their code.
 *
 * Both sides ask walk_logits for the prediction of token i. What differs is how many tokens are
 * known ahead: the encoder evaluates many at once, the decoder one by one. The runtime promises
 * the same bits either way (lm/lm.h), so the probabilities agree. */
#include "kernels/predict/predict.h"
#include "lm/coding/coding.h"
#include "lm/coding/items.h"
#include "math/math.h"

#define AHEAD_MAX 64                    /* tokens evaluated at once when they are known */
#define AHEAD_BYTES ((size_t)64 << 20)  /* of their logits, at most */
#define FLAG_START 64                   /* of an escape, in 65536ths */
#define FLAG_RATE 5
#define BYTE_START 32768
#define BYTE_RATE 4

/* Adaptive probabilities of the escapes of one text. */
typedef struct escapes {
    uint16_t flag;             /* the next item is a byte */
    uint16_t byte[256][256];   /* [byte before][node of the tree of bits] */
    uint8_t before;
} escapes;

struct lm_coder {
    pith_ctx *ctx;
    const lm_model *model;
    lm_session *session;
    pmf_coder *pmf;
    float *p; /* [n_vocab] */
    escapes *esc;
    size_t n_vocab, ahead;
    uint32_t window, start; /* start: the token in front of every text */
    bool recurrent;
    /* the text being walked */
    token_list known;
    size_t ready, n_ready; /* logits of tokens [ready, ready + n_ready) are there */
    token_list items;
};

static size_t ahead_of(size_t n_vocab) {
    return PITH_MAX(PITH_MIN(AHEAD_BYTES / (n_vocab * sizeof(float)), AHEAD_MAX), 1);
}

uint64_t lm_coder_memory(const lm_model *m, uint32_t window) {
    const lm_shape *s = lm_about(m);
    if (!window || window > s->n_ctx_train) window = s->n_ctx_train;
    /* keys and values in half precision; a recurrent state is far below 256 floats a channel */
    uint64_t kv = s->recurrent ? 0 : (uint64_t)window * s->n_layers * s->n_kv_heads * s->head_dim * 4;
    uint64_t state = s->recurrent ? (uint64_t)s->n_layers * s->n_embd * 256 * sizeof(float) : 0;
    /* a row of a batch: the stream and its copies, heads, a hidden layer, activations made ready, scores of attention */
    uint64_t row = 16 * ((uint64_t)s->n_embd + s->n_ff + (uint64_t)s->n_heads * s->head_dim) * sizeof(float);
    uint64_t scores = s->recurrent ? 0 : (uint64_t)window * 256 * sizeof(float);
    uint64_t logits = ahead_of(s->n_vocab) * ((uint64_t)s->n_vocab + s->n_embd) * sizeof(float);
    return kv + state + AHEAD_MAX * row + scores + logits + pmf_coder_memory(s->n_vocab) +
           s->n_vocab * sizeof(float) + sizeof(escapes) + (1 << 20);
}

pith_status lm_coder_new(pith_ctx *ctx, const lm_model *m, const lm_coder_options *options, lm_coder **out) {
    *out = NULL;
    const lm_shape *shape = lm_about(m);
    const tokenizer *t = lm_tokenizer(m);
    if (!t) return lm_no_tokenizer(ctx);
    lm_coder *c = pith_zalloc(ctx, sizeof *c);
    if (!c) return pith_alloc_status(ctx);
    const tokenizer_info *info = tokenizer_about(t);
    c->ctx = ctx;
    c->model = m;
    c->n_vocab = shape->n_vocab;
    c->recurrent = shape->recurrent;
    c->start = info->bos != TOKEN_NONE ? info->bos : info->eos != TOKEN_NONE ? info->eos : 0;
    c->window = options && options->window ? options->window : shape->n_ctx_train;
    if (c->recurrent || c->window > shape->n_ctx_train) c->window = shape->n_ctx_train;
    if (c->window < 8) c->window = 8;
    c->ahead = ahead_of(c->n_vocab);
    lm_session_options so = {.n_ctx = c->window,
                             .n_sequences = 1,
                             .max_batch = AHEAD_MAX,
                             .max_logits = (uint32_t)c->ahead,
                             .cache = LM_CACHE_F16,
                             .n_threads = options ? options->n_threads : 0};
    pith_status status = lm_session_new(ctx, m, &so, &c->session);
    if (!status) status = pmf_coder_new(ctx, c->n_vocab, &c->pmf);
    if (!status && (!(c->p = pith_alloc(ctx, c->n_vocab * sizeof *c->p)) || !(c->esc = pith_alloc(ctx, sizeof *c->esc))))
        status = pith_alloc_status(ctx);
    if (!status && info->n_vocab > c->n_vocab)
        status = pith_fail(ctx, PITH_E_FORMAT, "the tokenizer has %u tokens, the model predicts %zu", info->n_vocab,
                           c->n_vocab);
    if (status) {
        lm_coder_free(c);
        return status;
    }
    *out = c;
    return PITH_OK;
}

void lm_coder_free(lm_coder *c) {
    if (!c) return;
    pith_ctx *ctx = c->ctx;
    lm_session_free(c->session);
    pmf_coder_free(ctx, c->pmf);
    pith_free(ctx, c->p);
    pith_free(ctx, c->esc);
    token_list_free(ctx, &c->known);
    token_list_free(ctx, &c->items);
    pith_free(ctx, c);
}

/* ---- walking a text under the window ----------------------------------------------------------- */

static pith_status walk_start(lm_coder *c) {
    c->known.n = c->items.n = 0;
    c->ready = c->n_ready = 0;
    c->esc->flag = FLAG_START;
    c->esc->before = 0;
    for (size_t i = 0; i < 256; i++)
        for (size_t j = 0; j < 256; j++) c->esc->byte[i][j] = BYTE_START;
    return lm_truncate(c->session, 0, 0);
}

/* Evaluates the start token when `with_start`, then known[from, to); logits of all, or of the last alone. */
static pith_status walk_feed(lm_coder *c, bool with_start, size_t from, size_t to, bool all) {
    lm_token batch[AHEAD_MAX];
    size_t n = 0;
    if (with_start) batch[n++] = (lm_token){.id = c->start};
    for (;;) {
        while (n < AHEAD_MAX && from < to) batch[n++] = (lm_token){.id = c->known.id[from++], .want_logits = all};
        if (from == to) batch[n - 1].want_logits = true;
        pith_status status = lm_eval(c->session, batch, n);
        if (status || from == to) return status;
        n = 0;
    }
}

/* The logits that predict known[i]; known[0, i) and perhaps more are there. i grows by one at a time. */
static pith_status walk_logits(lm_coder *c, size_t i, const float **logits) {
    if (i - c->ready >= c->n_ready) {
        uint32_t held = lm_length(c->session, 0);
        bool full = !c->recurrent && held == c->window;
        pith_status status = PITH_OK;
        if (held == 0 || full) {
            /* the start token and the newest half of what is known */
            size_t keep = c->recurrent ? i : PITH_MIN(i, c->window / 2 - 1);
            if (held) status = lm_truncate(c->session, 0, 0);
            if (!status) status = walk_feed(c, true, i - keep, i, false);
            c->n_ready = 1;
        } else {
            size_t room = c->recurrent ? SIZE_MAX : c->window - held;
            size_t n = PITH_MIN(PITH_MIN(c->known.n - (i - 1), c->ahead), room);
            status = walk_feed(c, false, i - 1, i - 1 + n, true);
            c->n_ready = n;
        }
        if (status) return status;
        c->ready = i;
    }
    *logits = lm_logits(c->session, i - c->ready);
    return PITH_OK;
}

/* ---- escapes ------------------------------------------------------------------------------------- */

static void learn(uint16_t *p, unsigned bit, unsigned rate) {
    /* stays within 1..65535: the steps end short of 0 and of 65536 */
    *p = (uint16_t)(bit ? *p + ((65535 - *p) >> rate) : *p - (*p >> rate));
}

static double bits_of(unsigned p16, unsigned bit) {
    double p = (bit ? p16 : 65536 - p16) / 65536.0, bits = 0;
    while (p < 0.5) p *= 2, bits += 1;
    /* log2 of [0.5, 1] by squaring: the same on every machine */
    for (double step = 0.5; step > 1e-9; step /= 2) {
        p *= p;
        if (p < 0.5) p *= 2, bits += step;
    }
    return bits;
}

/* What becomes of one decision: coded, decoded or only measured. */
typedef enum walk_aim { AIM_ENCODE, AIM_DECODE, AIM_MEASURE } walk_aim;

static unsigned decide(lm_coder *c, walk_aim aim, uint16_t *p, unsigned rate, unsigned bit, double *bits) {
    unsigned p16 = *p;
    if (aim == AIM_ENCODE) pmf_coder_put_bit(c->pmf, p16, bit);
    if (aim == AIM_DECODE) bit = pmf_coder_get_bit(c->pmf, p16);
    if (aim == AIM_MEASURE) *bits += bits_of(p16, bit);
    learn(p, bit, rate);
    return bit;
}

static uint8_t escaped(lm_coder *c, walk_aim aim, uint8_t byte, double *bits) {
    uint16_t *tree = c->esc->byte[c->esc->before];
    unsigned node = 1;
    for (int b = 7; b >= 0; b--) node = node << 1 | decide(c, aim, &tree[node], BYTE_RATE, byte >> b & 1u, bits);
    c->esc->before = (uint8_t)node;
    return (uint8_t)node;
}

/* ---- coding --------------------------------------------------------------------------------------- */

static pith_status set_distribution(lm_coder *c, size_t i) {
    const float *logits;
    pith_status status = walk_logits(c, i, &logits);
    if (status) return status;
    exact()->softmax(c->p, logits, c->n_vocab);
    pmf_coder_set(c->pmf, c->p);
    return PITH_OK;
}

/* Tokens of the items, in order, become what is known. */
static pith_status know_tokens(lm_coder *c) {
    for (size_t k = 0; k < c->items.n; k++) {
        if (c->items.id[k] & ITEM_BYTE) continue;
        pith_status status = token_list_append(c->ctx, &c->known, &c->items.id[k], 1);
        if (status) return status;
    }
    return PITH_OK;
}

static size_t item_bytes(const lm_coder *c, uint32_t item) {
    size_t n = 1;
    if (!(item & ITEM_BYTE)) tokenizer_piece(lm_tokenizer(c->model), item, false, &n);
    return n;
}

pith_status lm_coder_encode(lm_coder *c, const uint8_t *src, size_t n, uint8_t *dst, size_t cap, size_t *out_n) {
    *out_n = SIZE_MAX;
    pith_status status = walk_start(c);
    if (!status) status = items_of(c->ctx, lm_tokenizer(c->model), src, n, &c->items);
    if (!status) status = know_tokens(c);
    pmf_coder_encode(c->pmf, dst, cap);
    size_t i = 0;
    for (size_t k = 0; k < c->items.n && !status; k++) {
        uint32_t item = c->items.id[k];
        bool is_byte = item & ITEM_BYTE;
        if (pith_step(c->ctx, item_bytes(c, item))) return pith_fail(c->ctx, PITH_E_CANCELLED, "cancelled");
        decide(c, AIM_ENCODE, &c->esc->flag, FLAG_RATE, is_byte, NULL);
        if (is_byte) {
            escaped(c, AIM_ENCODE, (uint8_t)item, NULL);
            continue;
        }
        status = set_distribution(c, i++);
        if (!status) pmf_coder_put(c->pmf, item);
    }
    if (!status) *out_n = pmf_coder_finish(c->pmf);
    return status;
}

pith_status lm_coder_decode(lm_coder *c, const uint8_t *src, size_t n, uint8_t *dst, size_t raw_n) {
    pith_status status = walk_start(c);
    pmf_coder_decode(c->pmf, src, n);
    for (size_t at = 0, told = 0; at < raw_n && !status;) {
        if (pith_step(c->ctx, at - told)) return pith_fail(c->ctx, PITH_E_CANCELLED, "cancelled");
        told = at;
        if (decide(c, AIM_DECODE, &c->esc->flag, FLAG_RATE, 0, NULL)) {
            dst[at++] = escaped(c, AIM_DECODE, 0, NULL);
            continue;
        }
        status = set_distribution(c, c->known.n);
        if (status) break;
        uint32_t id = pmf_coder_get(c->pmf);
        size_t piece_n;
        const uint8_t *piece = tokenizer_piece(lm_tokenizer(c->model), id, false, &piece_n);
        if (piece_n == 0 || piece_n > raw_n - at)
            return pith_fail(c->ctx, PITH_E_FORMAT, "a coded token does not fit the text at byte %zu", at);
        memcpy(dst + at, piece, piece_n);
        at += piece_n;
        status = token_list_append(c->ctx, &c->known, &id, 1);
    }
    if (!status && !pmf_coder_end(c->pmf))
        status = pith_fail(c->ctx, PITH_E_FORMAT, "bytes are left over behind the text of a language-model block");
    return status;
}

/* ---- measuring ------------------------------------------------------------------------------------- */

static uint32_t rank_of(const float *logits, size_t n, uint32_t id) {
    uint32_t rank = 0;
    for (size_t i = 0; i < n; i++) rank += logits[i] > logits[id] || (logits[i] == logits[id] && i < id);
    return rank;
}

pith_status lm_coder_length(lm_coder *c, const uint8_t *prior, size_t prior_n, const uint8_t *text, size_t n,
                            lm_item_fn each, void *opaque, lm_code_length *out) {
    *out = (lm_code_length){0};
    pith_status status = walk_start(c);
    if (!status && prior_n) status = items_of(c->ctx, lm_tokenizer(c->model), prior, prior_n, &c->items);
    if (!status) status = know_tokens(c);
    size_t i = c->known.n, at = 0;
    c->items.n = 0;
    if (!status) status = items_of(c->ctx, lm_tokenizer(c->model), text, n, &c->items);
    if (!status) status = know_tokens(c);
    for (size_t k = 0; k < c->items.n && !status; k++) {
        uint32_t id = c->items.id[k];
        bool is_byte = id & ITEM_BYTE;
        lm_item item = {.token = is_byte ? TOKEN_NONE : id, .offset = at, .n = 1};
        if (pith_step(c->ctx, item_bytes(c, id))) return pith_fail(c->ctx, PITH_E_CANCELLED, "cancelled");
        decide(c, AIM_MEASURE, &c->esc->flag, FLAG_RATE, is_byte, &item.bits);
        if (is_byte) {
            escaped(c, AIM_MEASURE, (uint8_t)id, &item.bits);
            out->n_escapes++;
            out->escape_bits += item.bits;
        } else {
            const float *logits;
            status = walk_logits(c, i++, &logits);
            if (status) break;
            out->escape_bits += item.bits;
            item.bits += lm_bits(logits, c->n_vocab, id);
            if (each) item.rank = rank_of(logits, c->n_vocab, id);
            tokenizer_piece(lm_tokenizer(c->model), id, false, &item.n);
            out->n_tokens++;
        }
        out->bits += item.bits;
        at += item.n;
        if (each) each(opaque, &item);
    }
    return status;
}
