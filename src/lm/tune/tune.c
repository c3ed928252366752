/* Softmax regression of the last matrix on the model's hidden states. */
#include "lm/tune/tune.h"

#include <math.h>

#include "lm/tokenizer/tokenizer.h"
#include "math/dense/dense.h"

#define BATCH ((size_t)64)
#define LEAST_TOKENS 64
#define ADAM_MEAN 0.9f
#define ADAM_SQUARE 0.99f

typedef struct regression {
    pith_ctx *ctx;
    size_t n, n_train, n_vocab, n_embd, n_head; /* n_head = n_vocab * n_embd */
    float *hidden;                              /* [n][n_embd] */
    uint32_t *target;                           /* [n] */
    float *w, *mean, *square, *gradient;        /* [n_vocab][n_embd] each */
    float *logits;                              /* [BATCH][n_vocab] */
    float step;                                 /* of one weight, at most about */
    uint64_t done, total;                       /* for progress, in tokens */
} regression;

/* ---- the pass through the model -------------------------------------------------------------------- */

/* Hidden states and targets of windows of n_ctx tokens, each begun with the start token. */
static pith_status gather(regression *r, const lm_model *m, const token_list *tokens, uint32_t n_ctx,
                          uint32_t n_threads) {
    const tokenizer_info *t = tokenizer_about(lm_tokenizer(m));
    bool has_start = t->add_bos && t->bos != TOKEN_NONE;
    lm_session_options so = {.n_ctx = n_ctx, .max_batch = n_ctx, .n_threads = n_threads};
    lm_session *s = NULL;
    lm_token *batch = pith_alloc(r->ctx, n_ctx * sizeof *batch);
    pith_status status = batch ? lm_session_new(r->ctx, m, &so, &s) : pith_alloc_status(r->ctx);
    for (size_t at = 0; at < tokens->n && !status;) {
        size_t n = 0, first = at;
        if (has_start) batch[n++] = (lm_token){t->bos, 0, true};
        while (n < n_ctx && at < tokens->n) batch[n++] = (lm_token){tokens->id[at++], 0, true};
        status = lm_truncate(s, 0, 0);
        if (!status) status = lm_eval(s, batch, n);
        /* without a start token the first of a window has nothing in front */
        for (size_t i = 0; i + 1 < n && !status; i++, r->n++) {
            memcpy(r->hidden + r->n * r->n_embd, lm_hidden(s, i), r->n_embd * sizeof(float));
            r->target[r->n] = batch[i + 1].id;
        }
        r->done += at - first;
        if (!status) status = pith_tick(r->ctx, r->done, r->total);
    }
    lm_session_free(s);
    pith_free(r->ctx, batch);
    return status;
}

/* ---- the regression ----------------------------------------------------------------------------------- */

/* logits of samples [first, first + n) -> p - onehot; returns the bits of the targets. */
static double errors_of(regression *r, size_t first, size_t n) {
    double bits = 0;
    dense_gemm(false, true, n, r->n_vocab, r->n_embd, 1, r->hidden + first * r->n_embd, r->n_embd, r->w, r->n_embd, 0,
               r->logits, r->n_vocab);
    for (size_t i = 0; i < n; i++) {
        float *row = r->logits + i * r->n_vocab, most = row[0];
        double sum = 0;
        uint32_t target = r->target[first + i];
        for (size_t v = 1; v < r->n_vocab; v++) most = PITH_MAX(most, row[v]);
        double at_target = row[target] - most;
        for (size_t v = 0; v < r->n_vocab; v++) sum += row[v] = expf(row[v] - most);
        bits += (log(sum) - at_target) / M_LN2;
        float scale = (float)(1 / sum);
        for (size_t v = 0; v < r->n_vocab; v++) row[v] *= scale;
        row[target] -= 1;
    }
    return bits;
}

/* Bits of one held-out token. */
static double held_bits(regression *r) {
    double bits = 0;
    for (size_t at = r->n_train; at < r->n; at += BATCH) bits += errors_of(r, at, PITH_MIN(BATCH, r->n - at));
    return bits / (double)(r->n - r->n_train);
}

static void adam(regression *r, uint64_t t) {
    /* corrections for the start from zero */
    float mean_scale = (float)(1 / (1 - pow(ADAM_MEAN, (double)t)));
    float square_scale = (float)(1 / (1 - pow(ADAM_SQUARE, (double)t)));
    for (size_t i = 0; i < r->n_head; i++) {
        float g = r->gradient[i];
        r->mean[i] = ADAM_MEAN * r->mean[i] + (1 - ADAM_MEAN) * g;
        r->square[i] = ADAM_SQUARE * r->square[i] + (1 - ADAM_SQUARE) * g * g;
        r->w[i] -= r->step * r->mean[i] * mean_scale / (sqrtf(r->square[i] * square_scale) + 1e-5f);
    }
}

static size_t common_divisor(size_t a, size_t b) {
    while (b) {
        size_t rest = a % b;
        a = b, b = rest;
    }
    return a;
}

/* The gradient of a batch, and a step down it; the bits of its tokens. */
static double step(regression *r, size_t at, uint64_t t) {
    size_t n = PITH_MIN(BATCH, r->n_train - at);
    double bits = errors_of(r, at, n);
    dense_gemm(true, false, r->n_vocab, r->n_embd, n, 1 / (float)n, r->logits, r->n_vocab, r->hidden + at * r->n_embd,
               r->n_embd, 0, r->gradient, r->n_embd);
    adam(r, t);
    return bits / (double)n;
}

/* One walk over the training samples, batches in an order that changes from epoch to epoch. */
static pith_status epoch(regression *r, uint32_t number, uint64_t *t) {
    size_t n_batches = (r->n_train + BATCH - 1) / BATCH, stride = 1 + 2 * (size_t)number;
    if (common_divisor(stride, n_batches) != 1) stride = 1; /* else it would not meet all */
    for (size_t i = 0; i < n_batches; i++) {
        size_t at = i * stride % n_batches * BATCH, n = PITH_MIN(BATCH, r->n_train - at);
        step(r, at, ++*t);
        pith_status status = pith_tick(r->ctx, r->done += n, r->total);
        if (status) return status;
    }
    return PITH_OK;
}

static pith_status train(regression *r, uint32_t n_epochs, float *best, tune_report *report) {
    uint64_t t = 0;
    float full = r->step;
    report->bits_before = report->bits_after = held_bits(r);
    memcpy(best, r->w, r->n_head * sizeof *best);
    for (uint32_t e = 0; e < n_epochs; e++) {
        r->step = full * (float)(n_epochs - e) / (float)n_epochs; /* smaller and smaller */
        pith_status status = epoch(r, e, &t);
        if (status) return status;
        double bits = held_bits(r);
        report->n_epochs = e + 1;
        if (bits < report->bits_after) {
            report->bits_after = bits;
            report->best_epoch = e + 1;
            memcpy(best, r->w, r->n_head * sizeof *best);
        } else if (e + 1 >= report->best_epoch + 3) {
            break; /* three in a row were no better */
        }
    }
    return PITH_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

static const tensor_view *head_of(const lm_model *m) {
    const tensor_view *t = tensor_find(lm_file(m), "output.weight");
    return t ? t : tensor_find(lm_file(m), "token_embd.weight");
}

static pith_status prepare(regression *r, const lm_model *m, const token_list *tokens, uint32_t n_ctx,
                           const tune_options *o) {
    size_t most = tokens->n + tokens->n / n_ctx + 1;
    const tensor_view *head = head_of(m);
    if (!head || head->n_elements != r->n_head)
        return pith_fail(r->ctx, PITH_E_ARGUMENT, "the model has no output matrix of %zu by %zu", r->n_vocab, r->n_embd);
    r->hidden = pith_alloc(r->ctx, most * r->n_embd * sizeof *r->hidden);
    r->target = pith_alloc(r->ctx, most * sizeof *r->target);
    r->w = pith_alloc(r->ctx, r->n_head * sizeof *r->w);
    r->mean = pith_zalloc(r->ctx, r->n_head * sizeof *r->mean);
    r->square = pith_zalloc(r->ctx, r->n_head * sizeof *r->square);
    r->gradient = pith_alloc(r->ctx, r->n_head * sizeof *r->gradient);
    r->logits = pith_alloc(r->ctx, BATCH * r->n_vocab * sizeof *r->logits);
    if (!r->hidden || !r->target || !r->w || !r->mean || !r->square || !r->gradient || !r->logits)
        return pith_alloc_status(r->ctx);
    blocks_decode(head->type, head->data, r->w, r->n_head);
    double sum = 0;
    for (size_t i = 0; i < r->n_head; i++) sum += (double)r->w[i] * r->w[i];
    r->step = (float)((o->rate > 0 ? o->rate : 0.01) * sqrt(sum / (double)r->n_head));
    return PITH_OK;
}

static void release(regression *r) {
    float *owned[] = {r->hidden, r->w, r->mean, r->square, r->gradient, r->logits};
    for (unsigned i = 0; i < PITH_COUNT(owned); i++) pith_free(r->ctx, owned[i]);
    pith_free(r->ctx, r->target);
}

/* Everything but training: *r is to be released whatever this gives. */
static pith_status begin(regression *r, pith_ctx *ctx, const lm_model *m, const void *text, size_t size,
                         const tune_options *o, uint32_t n_epochs) {
    const lm_shape *shape = lm_about(m);
    uint32_t n_ctx = o->n_ctx ? o->n_ctx : shape->n_ctx_train ? PITH_MIN(shape->n_ctx_train, 512u) : 512;
    token_list tokens = {0};
    *r = (regression){.ctx = ctx, .n_vocab = shape->n_vocab, .n_embd = shape->n_embd,
                      .n_head = (size_t)shape->n_vocab * shape->n_embd};
    if (!lm_tokenizer(m)) return lm_no_tokenizer(ctx);
    if (n_ctx < 4) return pith_fail(ctx, PITH_E_ARGUMENT, "windows of %u tokens: at least 4", n_ctx);
    pith_status status = tokenizer_encode(ctx, lm_tokenizer(m), text, size, 0, &tokens);
    if (!status && tokens.n < LEAST_TOKENS)
        status = pith_fail(ctx, PITH_E_ARGUMENT, "the text has %zu tokens, tuning takes %d at least", tokens.n, LEAST_TOKENS);
    if (!status) status = prepare(r, m, &tokens, n_ctx, o);
    r->total = tokens.n * (1 + (uint64_t)n_epochs);
    if (!status) status = gather(r, m, &tokens, n_ctx, o->n_threads);
    token_list_free(ctx, &tokens);
    double share = o->held_out > 0 && o->held_out < 1 ? o->held_out : 0.1;
    size_t n_held = PITH_MAX((size_t)((double)r->n * share), (size_t)1);
    r->n_train = r->n - PITH_MIN(n_held, r->n);
    return status;
}

pith_status tune_head(pith_ctx *ctx, const lm_model *m, const void *text, size_t size, const tune_options *options,
                      float **head, tune_report *report) {
    static const tune_options none;
    const tune_options *o = options ? options : &none;
    uint32_t n_epochs = o->n_epochs ? o->n_epochs : 8;
    regression r;
    *head = NULL;
    *report = (tune_report){0};
    pith_status status = begin(&r, ctx, m, text, size, o, n_epochs);
    if (!status) {
        report->n_held = r.n - r.n_train;
        report->n_tokens = r.n_train;
        *head = pith_alloc(ctx, r.n_head * sizeof **head);
        status = *head ? train(&r, n_epochs, *head, report) : pith_alloc_status(ctx);
    }
    release(&r);
    if (status) {
        pith_free(ctx, *head);
        *head = NULL;
    }
    return status;
}

/* ---- step by step ------------------------------------------------------------------------------------------ */

struct tune_run {
    regression r;
    tune_state state;
};

pith_status tune_run_new(pith_ctx *ctx, const lm_model *m, const void *text, size_t size, const tune_options *options,
                         tune_run **out) {
    static const tune_options none;
    *out = NULL;
    tune_run *run = pith_zalloc(ctx, sizeof *run);
    if (!run) return pith_alloc_status(ctx);
    regression *r = &run->r;
    pith_status status = begin(r, ctx, m, text, size, options ? options : &none, 0);
    if (status) {
        tune_run_free(run);
        return status;
    }
    run->state = (tune_state){r->w, r->mean, r->square, r->n_vocab, r->n_embd, 0};
    *out = run;
    return PITH_OK;
}

void tune_run_free(tune_run *run) {
    if (!run) return;
    pith_ctx *ctx = run->r.ctx;
    release(&run->r);
    pith_free(ctx, run);
}

tune_state *tune_run_state(tune_run *run) { return &run->state; }

void tune_run_step(tune_run *run, uint32_t order, double *bits) {
    regression *r = &run->r;
    size_t n_batches = (r->n_train + BATCH - 1) / BATCH;
    uint64_t draw[2] = {order, run->state.steps};
    double found = step(r, (size_t)(pith_hash64(draw, sizeof draw) % n_batches) * BATCH, ++run->state.steps);
    if (bits) *bits = found;
}

double tune_run_held(tune_run *run) { return held_bits(&run->r); }

/* ---- the file --------------------------------------------------------------------------------------------- */

static bool is_named(meta_string name, const char *text) {
    return name.size == strlen(text) && memcmp(name.data, text, name.size) == 0;
}

static pith_status put_head_data(pith_ctx *ctx, gguf_writer *w, const float *head, tensor_type type, size_t n,
                                 tensor_write_fn write, void *opaque) {
    enum { PIECE = 1 << 16 }; /* elements, a multiple of every block */
    pith_status status = PITH_OK;
    uint8_t *bytes = pith_alloc(ctx, PIECE * sizeof(float));
    if (!bytes) return pith_alloc_status(ctx);
    for (size_t at = 0; at < n && !status; at += PIECE) {
        size_t k = PITH_MIN((size_t)PIECE, n - at);
        uint64_t size = 0;
        if (!tensor_type_bytes(type, k, &size) || !blocks_encode(type, head + at, bytes, k))
            status = pith_fail(ctx, PITH_E_ARGUMENT, "an output matrix of %zu elements is no whole number of blocks", n);
        else
            status = gguf_write_data(ctx, w, bytes, (size_t)size, write, opaque);
    }
    pith_free(ctx, bytes);
    return status;
}

pith_status tune_write(pith_ctx *ctx, const lm_model *m, const float *head, tensor_write_fn write, void *opaque) {
    const tensor_file *f = lm_file(m);
    const lm_shape *shape = lm_about(m);
    const tensor_view *own = tensor_find(f, "output.weight"), *old = head_of(m);
    tensor_type type = !old || old->type == TENSOR_F32 || old->type == TENSOR_BF16 ? TENSOR_F32
                       : old->type == TENSOR_F16 || shape->n_embd % 32            ? TENSOR_F16
                                                                                   : TENSOR_Q8_0;
    uint64_t ne[2] = {shape->n_embd, shape->n_vocab};
    gguf_writer *w = NULL;
    for (size_t i = 0; i < f->n_meta; i++)
        if (f->meta[i].key.size > 5 && memcmp(f->meta[i].key.data, "pith.", 5) == 0)
            return pith_fail(ctx, PITH_E_ARGUMENT, "the model's file has other layouts than GGUF: convert it first");
    pith_status status = gguf_writer_new(ctx, &w);
    for (size_t i = 0; i < f->n_meta && !status; i++) status = gguf_put_value(ctx, w, &f->meta[i]);
    if (!status && type == TENSOR_Q8_0 && !meta_find(f, "general.quantization_version"))
        status = gguf_put_u32(ctx, w, "general.quantization_version", 2);
    for (size_t i = 0; i < f->n_tensors && !status; i++) {
        const tensor_view *t = &f->tensors[i];
        bool is_head = is_named(t->name, "output.weight");
        status = gguf_put_tensor(ctx, w, t->name.data, t->name.size, is_head ? type : t->type, t->n_dims, t->ne);
    }
    if (!status && !own) status = gguf_put_tensor(ctx, w, "output.weight", strlen("output.weight"), type, 2, ne);
    if (!status) status = gguf_write_head(ctx, w, write, opaque);
    size_t n = (size_t)shape->n_embd * shape->n_vocab;
    for (size_t i = 0; i < f->n_tensors && !status; i++) {
        const tensor_view *t = &f->tensors[i];
        status = is_named(t->name, "output.weight") ? put_head_data(ctx, w, head, type, n, write, opaque)
                                                    : gguf_write_data(ctx, w, t->data, (size_t)t->bytes, write, opaque);
    }
    if (!status && !own) status = put_head_data(ctx, w, head, type, n, write, opaque);
    gguf_writer_free(ctx, w);
    return status;
}
