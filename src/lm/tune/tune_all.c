/* All weights of a model trained on one kind of text: AdamW on windows drawn in another order each epoch, the last ones
 * held out. */
#include <math.h>

#include "lm/tune/tune.h"

#define BATCH ((size_t)4) /* windows of a step: small, for a text makes few steps */
#define WARM 20           /* steps */
#define LEAST_WINDOWS 10  /* windows get shorter to have as many */
#define LEAST_CTX ((size_t)16)

typedef struct training {
    pith_ctx *ctx;
    train_net *net;
    train_teacher *teacher; /* NULL: none */
    double mix, temperature;
    uint32_t *tokens, *order, *batch; /* order[n_train] */
    float *best;
    size_t n_ctx, n_windows, n_train;
    uint64_t done, total; /* for progress, in tokens */
    uint64_t step, n_steps;
    double rate;
} training;

/* Windows of the text, of half the length as often as there are too few. */
static pith_status cut(training *t, const lm_model *m, const void *text, size_t size, const tune_options *o) {
    uint32_t most = lm_about(m)->n_ctx_train;
    token_list tokens = {0};
    if (!lm_tokenizer(m)) return lm_no_tokenizer(t->ctx);
    pith_status status = tokenizer_encode(t->ctx, lm_tokenizer(m), text, size, 0, &tokens);
    size_t n = tokens.n;
    token_list_free(t->ctx, &tokens);
    t->n_ctx = o->n_ctx ? o->n_ctx : 256;
    if (most) t->n_ctx = PITH_MIN(t->n_ctx, (size_t)most);
    while (!o->n_ctx && n / t->n_ctx < LEAST_WINDOWS && t->n_ctx / 2 >= LEAST_CTX) t->n_ctx /= 2;
    if (!status && n < 2 * t->n_ctx)
        status =
            pith_fail(t->ctx, PITH_E_ARGUMENT, "the text has %zu tokens, tuning takes two windows of %zu", n, t->n_ctx);
    return status ? status : train_windows(t->ctx, t->net, text, size, t->n_ctx, &t->tokens, &t->n_windows);
}

/* What the held-out windows say of the net. */
typedef struct held {
    double bits, kl; /* kl: from the teacher, nats */
    double loss;     /* what is to be low */
} held;

static pith_status hold(training *t, held *out) {
    const uint32_t *tokens = t->tokens + t->n_train * t->n_ctx;
    size_t n = t->n_windows - t->n_train;
    double nats = 0, kl = 0;
    pith_status status = train_pass(t->ctx, t->net, tokens, n, t->n_ctx, NULL, false, &nats);
    for (size_t at = 0; t->teacher && at < n && !status; at += BATCH) {
        size_t some = PITH_MIN(BATCH, n - at);
        train_hooks hooks = {.mix = 1};
        double mean = 0;
        status = train_teacher_ask(t->teacher, tokens + at * t->n_ctx, some, &hooks.teacher);
        if (!status) status = train_pass(t->ctx, t->net, tokens + at * t->n_ctx, some, t->n_ctx, &hooks, false, &mean);
        kl += mean * (double)some / (double)n; /* all windows score as many tokens */
    }
    *out = (held){nats / M_LN2, kl, t->teacher ? (1 - t->mix) * nats + t->mix * kl : nats};
    return status;
}

/* Another order in every epoch (Fisher, Yates). */
static void shuffle(training *t, uint32_t epoch) {
    for (size_t i = 0; i < t->n_train; i++) t->order[i] = (uint32_t)i;
    for (size_t i = t->n_train; i-- > 1;) {
        uint64_t key[2] = {epoch, i};
        size_t j = (size_t)(pith_hash64(key, sizeof key) % (i + 1));
        uint32_t was = t->order[i];
        t->order[i] = t->order[j];
        t->order[j] = was;
    }
}

static pith_status epoch(training *t, uint32_t number) {
    shuffle(t, number);
    for (size_t at = 0; at < t->n_train; at += BATCH) {
        size_t n = PITH_MIN(BATCH, t->n_train - at);
        double nats;
        for (size_t i = 0; i < n; i++)
            memcpy(t->batch + i * t->n_ctx, t->tokens + t->order[at + i] * t->n_ctx, t->n_ctx * sizeof *t->batch);
        train_hooks hooks = {.mix = t->mix, .temperature = t->temperature};
        pith_status status = t->teacher ? train_teacher_ask(t->teacher, t->batch, n, &hooks.teacher) : PITH_OK;
        if (!status) status = train_pass(t->ctx, t->net, t->batch, n, t->n_ctx, &hooks, true, &nats);
        t->step++;
        train_step_options o = {
            .rate = train_rate_at(t->step, PITH_MIN((uint64_t)WARM, t->n_steps / 10 + 1), t->n_steps, t->rate),
            .decay = 0.01};
        if (!status) status = train_step(t->ctx, t->net, &o, NULL);
        if (!status) status = pith_tick(t->ctx, t->done += n * t->n_ctx, t->total);
        if (status) return status;
    }
    return PITH_OK;
}

static pith_status train(training *t, uint32_t n_epochs, tune_report *report) {
    held best = {0}, now = {0};
    pith_status status = hold(t, &best);
    report->bits_before = best.bits;
    report->kl_before = best.kl;
    train_net_save(t->net, t->best);
    for (uint32_t e = 0; e < n_epochs && !status; e++) {
        status = epoch(t, e);
        if (!status) status = hold(t, &now);
        if (status) break;
        report->n_epochs = e + 1;
        if (now.loss < best.loss) {
            best = now;
            report->best_epoch = e + 1;
            train_net_save(t->net, t->best);
        } else if (e + 1 >= report->best_epoch + 2) {
            break; /* two in a row were no better */
        }
    }
    report->bits_after = best.bits;
    report->kl_after = best.kl;
    train_net_restore(t->net, t->best);
    return status;
}

/* Runs of `share` layers that have the weights of the first. */
static pith_status open_net(training *t, const lm_model *m, uint32_t share) {
    uint32_t n = lm_about(m)->n_layers, *like = NULL;
    if (share < 2) return train_net_open(t->ctx, m, &t->net);
    like = pith_alloc(t->ctx, PITH_MAX(n, 1u) * sizeof *like);
    if (!like) return pith_alloc_status(t->ctx);
    for (uint32_t i = 0; i < n; i++) like[i] = i - i % share;
    pith_status status = train_net_open_shared(t->ctx, m, like, &t->net);
    pith_free(t->ctx, like);
    return status;
}

pith_status tune_all(pith_ctx *ctx, const lm_model *m, const void *text, size_t size, const tune_options *options,
                     train_net **net, tune_report *report) {
    static const tune_options none;
    const tune_options *o = options ? options : &none;
    uint32_t n_epochs = o->n_epochs ? o->n_epochs : 4;
    training t = {.ctx = ctx, .rate = o->rate > 0 ? o->rate : 1e-3};
    *net = NULL;
    *report = (tune_report){0};
    pith_status status = open_net(&t, m, o->share);
    if (!status) status = cut(&t, m, text, size, o);
    if (!status && o->teacher) {
        t.mix = o->mix > 0 ? o->mix : 0.9;
        t.temperature = o->temperature;
        status = train_teacher_new(ctx, t.net, o->teacher, t.n_ctx, &t.teacher);
    }
    if (!status) {
        double share = o->held_out > 0 && o->held_out < 1 ? o->held_out : 0.1;
        size_t n_held = PITH_MIN(PITH_MAX((size_t)((double)t.n_windows * share), (size_t)1), t.n_windows - 1);
        t.n_train = t.n_windows - n_held;
        t.total = (uint64_t)t.n_train * t.n_ctx * n_epochs;
        t.n_steps = (uint64_t)((t.n_train + BATCH - 1) / BATCH) * n_epochs;
        report->n_tokens = t.n_train * (t.n_ctx - 1);
        report->n_held = n_held * (t.n_ctx - 1);
        t.order = pith_alloc(ctx, t.n_train * sizeof *t.order);
        t.batch = pith_alloc(ctx, BATCH * t.n_ctx * sizeof *t.batch);
        t.best = pith_alloc(ctx, train_n_weights(t.net) * sizeof *t.best);
        status = t.order && t.batch && t.best ? train(&t, n_epochs, report) : pith_alloc_status(ctx);
    }
    train_teacher_free(t.teacher);
    pith_free(ctx, t.tokens);
    pith_free(ctx, t.order);
    pith_free(ctx, t.batch);
    pith_free(ctx, t.best);
    if (status)
        train_net_free(t.net);
    else
        *net = t.net;
    return status;
}
