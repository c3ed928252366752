/* One pass: windows are cut into chunks of some hundred tokens, chunk c belongs to lane c mod TRAIN_LANES. A lane works
 * its chunks one after the other into its own sum of gradients, lanes run side by side, and their sums are added in
 * order: the same floating-point sums whatever the number of threads. */
#include "lm/train/parts.h"

typedef struct pass {
    train_net *net;
    const uint32_t *tokens, *targets;
    size_t n_ctx, n_windows, chunk, n_chunks, n_lanes; /* chunk: windows of one */
    const train_hooks *hooks;
    bool backward, gradients;
    size_t wave; /* with hooks: chunks [wave * n_lanes, ...) are at work */
    double *nats;
    size_t *n_scored; /* both [n_chunks] */
} pass;

static void run_chunk(pass *p, size_t c, learn_run *run, float *gradient) {
    size_t at = c * p->chunk * p->n_ctx, n = PITH_MIN(p->chunk, p->n_windows - c * p->chunk);
    const train_hooks *h = p->hooks;
    learn_batch b = {.tokens = p->tokens + at,
                     .targets = p->targets + at,
                     .rows = n * p->n_ctx,
                     .seed = h->seed,
                     .first_row = at,
                     .teacher = h->teacher ? h->teacher + at * p->net->n_vocab : NULL,
                     .mix = h->mix,
                     .temperature = h->temperature > 0 ? h->temperature : 1};
    learn_forward(run, p->net->weights, &b, &p->nats[c], &p->n_scored[c]);
    if (p->backward) learn_backward(run, p->net->weights, gradient);
}

/* All chunks of a lane. */
static void lane_job(void *arg, size_t lane, unsigned member) {
    pass *p = arg;
    for (size_t c = lane; c < p->n_chunks; c += TRAIN_LANES)
        run_chunk(p, c, p->net->run[member], p->net->gradient[lane]);
}

/* One chunk of a lane, into memory that is kept. */
static void wave_job(void *arg, size_t lane, unsigned member) {
    (void)member;
    pass *p = arg;
    size_t c = p->wave * TRAIN_LANES + lane;
    if (c < p->n_chunks) run_chunk(p, c, p->net->run[lane], p->gradients ? p->net->gradient[lane] : NULL);
}

static void show(void *opaque, const learn_param *w, size_t part, const void *x, const void *g, size_t n, size_t n_in,
                 size_t n_out) {
    const train_hooks *hooks = *(const train_hooks *const *)opaque;
    hooks->linear(hooks->opaque, w->name, w->parts > 1 ? (int)part : -1, x, g, n, n_in, n_out);
}

static void run_all(pass *p, bool keep) {
    if (!keep) {
        pith_team_run(p->net->team, lane_job, p, p->n_lanes);
        return;
    }
    for (p->wave = 0; p->wave * TRAIN_LANES < p->n_chunks; p->wave++) {
        pith_team_run(p->net->team, wave_job, p, p->n_lanes);
        for (size_t lane = 0; p->wave * TRAIN_LANES + lane < p->n_chunks && lane < p->n_lanes; lane++)
            learn_linears(p->net->run[lane], show, &p->hooks);
    }
}

/* ---- sums ---- */

enum { PIECE = 1 << 14 }; /* elements */

typedef struct sum_job {
    train_net *net;
    size_t n_lanes;
    float scale;
} sum_job;

static void sum_piece(void *arg, size_t i, unsigned member) {
    (void)member;
    const sum_job *j = arg;
    float *to = j->net->gradient[0];
    size_t end = PITH_MIN((i + 1) * PIECE, j->net->n_weights);
    for (size_t lane = 1; lane < j->n_lanes; lane++) {
        const float *from = j->net->gradient[lane];
        for (size_t k = i * PIECE; k < end; k++) to[k] += from[k];
    }
    for (size_t k = i * PIECE; k < end; k++) to[k] *= j->scale;
}

static pith_status finish(pass *p, double *nats) {
    double sum = 0;
    size_t n = 0;
    for (size_t c = 0; c < p->n_chunks; c++) {
        sum += p->nats[c];
        n += p->n_scored[c];
    }
    *nats = n ? sum / (double)n : 0;
    if (!p->gradients) return PITH_OK;
    sum_job job = {p->net, p->n_lanes, n ? (float)(1 / (double)n) : 0};
    pith_team_run(p->net->team, sum_piece, &job, (p->net->n_weights + PIECE - 1) / PIECE);
    p->net->has_gradient = true;
    return PITH_OK;
}

/* ---- memory ---- */

static pith_status get_team(pith_ctx *ctx, train_net *net) {
    unsigned size = PITH_MIN(pith_ctx_threads(ctx), (unsigned)TRAIN_LANES);
    if (net->team && net->team_size == size) return PITH_OK;
    pith_team_free(ctx, net->team);
    net->team = NULL;
    net->team_size = size;
    return pith_team_new(ctx, size, &net->team);
}

static pith_status get_runs(pith_ctx *ctx, const pass *p, learn_mode mode) {
    train_net *net = p->net;
    size_t rows = p->chunk * p->n_ctx;
    size_t wanted = mode == LEARN_KEEP ? p->n_lanes : PITH_MIN((size_t)net->team_size, p->n_lanes);
    /* one that could walk back, or take more windows, can do with less */
    bool fits = net->run_ctx == p->n_ctx && net->run_rows >= rows && (net->run_mode == mode || mode == LEARN_FORWARD);
    if (!fits) {
        train_forget_runs(net);
        net->run_mode = mode;
        net->run_rows = rows;
        net->run_ctx = p->n_ctx;
    }
    while (net->n_runs < wanted) {
        pith_status status = learn_run_new(ctx, net->graph, &learn_float, net->run_rows, net->run_ctx, net->run_mode,
                                           &net->run[net->n_runs]);
        if (status) return status;
        net->n_runs++;
    }
    return PITH_OK;
}

static pith_status get_gradients(pith_ctx *ctx, const pass *p) {
    size_t bytes = p->net->n_weights * sizeof(float);
    for (size_t i = 0; i < p->n_lanes; i++) {
        float **g = &p->net->gradient[i];
        if (*g)
            memset(*g, 0, bytes);
        else if (!(*g = pith_zalloc(ctx, bytes)))
            return pith_alloc_status(ctx);
    }
    return PITH_OK;
}

/* ---- targets ---- */

static pith_status make_targets(pith_ctx *ctx, const pass *p, uint32_t *targets) {
    const train_hooks *hooks = p->hooks;
    size_t n = p->n_windows * p->n_ctx;
    for (size_t i = 0; i < n; i++) {
        if (p->tokens[i] >= p->net->n_vocab)
            return pith_fail(ctx, PITH_E_ARGUMENT, "token %zu is %u, the vocabulary has %zu", i, p->tokens[i],
                             p->net->n_vocab);
        uint32_t target = hooks->target             ? hooks->target[i]
                          : (i + 1) % p->n_ctx == 0 ? TRAIN_NO_TARGET
                                                    : p->tokens[i + 1];
        if (target != TRAIN_NO_TARGET && target >= p->net->n_vocab)
            return pith_fail(ctx, PITH_E_ARGUMENT, "target %zu is %u, the vocabulary has %zu", i, target,
                             p->net->n_vocab);
        targets[i] = target == TRAIN_NO_TARGET ? LEARN_NO_TARGET : hooks->sample ? LEARN_SAMPLE : target;
    }
    return PITH_OK;
}

pith_status train_pass(pith_ctx *ctx, train_net *net, const uint32_t *tokens, size_t n_windows, size_t n_ctx,
                       const train_hooks *hooks, bool want_weight_gradients, double *nats) {
    static const train_hooks none;
    if (!hooks) hooks = &none;
    *nats = 0;
    if (!n_windows || !n_ctx || n_ctx > UINT32_MAX / 4 || n_windows > SIZE_MAX / 64 / n_ctx)
        return pith_fail(ctx, PITH_E_ARGUMENT, "%zu windows of %zu tokens cannot be trained on", n_windows, n_ctx);
    if (hooks->teacher && !(hooks->mix >= 0 && hooks->mix <= 1 && hooks->temperature >= 0 && hooks->temperature < 1e3))
        return pith_fail(ctx, PITH_E_ARGUMENT, "a teacher's share is from 0 to 1, its temperature below 1000");
    bool keep = hooks->linear;
    pass p = {.net = net,
              .tokens = tokens,
              .n_ctx = n_ctx,
              .n_windows = n_windows,
              .hooks = hooks,
              .backward = keep || want_weight_gradients,
              .gradients = want_weight_gradients};
    p.chunk = PITH_MAX(TRAIN_ROWS / n_ctx, (size_t)1);
    p.chunk = PITH_MIN(p.chunk, (n_windows + TRAIN_LANES - 1) / TRAIN_LANES);
    p.n_chunks = (n_windows + p.chunk - 1) / p.chunk;
    p.n_lanes = PITH_MIN(p.n_chunks, (size_t)TRAIN_LANES);
    uint32_t *targets = pith_alloc(ctx, n_windows * n_ctx * sizeof *targets);
    p.targets = targets;
    p.nats = pith_alloc(ctx, p.n_chunks * sizeof *p.nats);
    p.n_scored = pith_alloc(ctx, p.n_chunks * sizeof *p.n_scored);
    pith_status status =
        targets && p.nats && p.n_scored ? make_targets(ctx, &p, targets) : pith_alloc_status(ctx);
    if (!status) status = get_team(ctx, net);
    if (!status) status = get_runs(ctx, &p, keep ? LEARN_KEEP : want_weight_gradients ? LEARN_BACKWARD : LEARN_FORWARD);
    if (!status && want_weight_gradients) status = get_gradients(ctx, &p);
    if (!status) {
        run_all(&p, keep);
        status = finish(&p, nats);
    }
    pith_free(ctx, targets);
    pith_free(ctx, p.nats);
    pith_free(ctx, p.n_scored);
    return status;
}

/* ---- steps ---- */

pith_status train_step(pith_ctx *ctx, train_net *net, const train_step_options *o, double *norm) {
    if (!net->has_gradient) return pith_fail(ctx, PITH_E_ARGUMENT, "a step without a gradient");
    size_t bytes = net->n_weights * sizeof(float);
    if (!net->moment1) net->moment1 = pith_zalloc(ctx, bytes);
    if (net->moment1 && !net->moment2) net->moment2 = pith_zalloc(ctx, bytes);
    if (!net->moment1 || !net->moment2) return pith_alloc_status(ctx);
    learn_adamw a = {.rate = o->rate > 0 ? o->rate : 3e-4,
                     .beta1 = o->beta1 > 0 ? o->beta1 : 0.9,
                     .beta2 = o->beta2 > 0 ? o->beta2 : 0.95,
                     .epsilon = 1e-8,
                     .decay = o->decay,
                     .clip = o->clip < 0   ? 0
                             : o->clip > 0 ? o->clip
                                           : 1,
                     .kept = net->kept};
    pith_status status = learn_adamw_step(ctx, net->graph, &a, net->n_steps + 1, net->weights, net->gradient[0],
                                          net->moment1, net->moment2, norm);
    if (!status) net->n_steps++;
    return status;
}

double train_rate_at(uint64_t t, uint64_t warm, uint64_t total, double peak) {
    return learn_rate_at(t, warm, total, peak, 0.1);
}

/* ---- windows of a text ---- */

pith_status train_windows(pith_ctx *ctx, const train_net *net, const void *text, size_t size, size_t n_ctx,
                          uint32_t **tokens, size_t *n_windows) {
    const tokenizer *t = lm_tokenizer(net->source);
    token_list list = {0};
    *tokens = NULL;
    *n_windows = 0;
    if (!t) return lm_no_tokenizer(ctx);
    size_t start = tokenizer_about(t)->add_bos && tokenizer_about(t)->bos != TOKEN_NONE;
    if (n_ctx < 4) return pith_fail(ctx, PITH_E_ARGUMENT, "windows of %zu tokens: at least 4", n_ctx);
    pith_status status = tokenizer_encode(ctx, t, text, size, 0, &list);
    size_t own = n_ctx - start, n = list.n / own;
    if (!status && !n)
        status = pith_fail(ctx, PITH_E_ARGUMENT, "the text has %zu tokens, a window takes %zu", list.n, own);
    if (!status && !(*tokens = pith_alloc(ctx, n * n_ctx * sizeof **tokens))) status = pith_alloc_status(ctx);
    for (size_t i = 0; i < n && !status; i++) {
        uint32_t *to = *tokens + i * n_ctx;
        if (start) to[0] = tokenizer_about(t)->bos;
        memcpy(to + start, list.id + i * own, own * sizeof *to);
    }
    if (!status) *n_windows = n;
    token_list_free(ctx, &list);
    return status;
}
