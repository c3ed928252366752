/* What models are taught before codes are tried on them. */
#include <string.h>

#include "faces/cli/bench_cuts.h"
#include "faces/cli/bench_taught.h"

void lessons_free(pith_ctx *ctx, lessons *l) {
    pith_free(ctx, l->tokens);
    pith_free(ctx, l->targets);
    l->tokens = l->targets = NULL;
    l->n = l->capacity = 0;
}

int lessons_byte_model(experiment *e, lm_model **out) {
    const train_shape shape = {
        .n_embd = 8, .n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .n_ff = 8, .n_ctx = 8, .n_vocab = LESSONS_BYTES};
    train_net *net = NULL;
    *out = NULL;
    pith_status status = train_net_new(e->ctx, &shape, NULL, 1, &net);
    if (!status) status = train_net_model(e->ctx, net, TENSOR_F32, out);
    train_net_free(net);
    return status ? exp_failed(e) : CLI_OK;
}

static uint32_t start_token(const lm_model *m) {
    const tokenizer_info *info = tokenizer_about(lm_tokenizer(m));
    return info->bos != TOKEN_NONE ? info->bos : info->eos != TOKEN_NONE ? info->eos : 0;
}

/* Room for one more window, filled with `token` and nothing to learn. */
static pith_status add_window(pith_ctx *ctx, lessons *l, uint32_t token) {
    if (l->n == l->capacity) {
        size_t more = l->capacity ? 2 * l->capacity : 64, bytes = more * l->n_ctx * sizeof *l->tokens;
        uint32_t *tokens = pith_alloc(ctx, bytes), *targets = tokens ? pith_alloc(ctx, bytes) : NULL;
        if (!targets) {
            pith_free(ctx, tokens);
            return pith_alloc_status(ctx);
        }
        if (l->n) {
            memcpy(tokens, l->tokens, l->n * l->n_ctx * sizeof *tokens);
            memcpy(targets, l->targets, l->n * l->n_ctx * sizeof *targets);
        }
        size_t n = l->n;
        lessons_free(ctx, l);
        l->tokens = tokens, l->targets = targets, l->n = n, l->capacity = more;
    }
    for (size_t i = l->n * l->n_ctx; i < (l->n + 1) * l->n_ctx; i++) {
        l->tokens[i] = token;
        l->targets[i] = TRAIN_NO_TARGET;
    }
    l->n++;
    return PITH_OK;
}

int lessons_of_items(experiment *e, const lm_model *m, const ruler_items *items, lessons *l) {
    const tokenizer *t = lm_tokenizer(m);
    uint32_t start = start_token(m);
    token_list ids = {0};
    size_t used = l->n_ctx;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < items->n && !status; i++) {
        const ruler_item *item = &items->at[i];
        const char *right = item->choices[item->answer];
        ids.n = 0;
        status = token_list_append(e->ctx, &ids, &start, 1);
        if (!status) status = tokenizer_encode(e->ctx, t, item->context, strlen(item->context), 0, &ids);
        size_t asked = ids.n;
        if (!status) status = tokenizer_encode(e->ctx, t, right, strlen(right), TOKENIZE_CONTINUE, &ids);
        if (!status && ids.n > l->n_ctx)
            status = pith_fail(e->ctx, PITH_E_LIMIT, "an item takes %zu tokens, a window has %u", ids.n, l->n_ctx);
        if (!status && used + ids.n > l->n_ctx) {
            status = add_window(e->ctx, l, start);
            used = 0;
        }
        if (status) break;
        uint32_t *tokens = l->tokens + (l->n - 1) * l->n_ctx + used;
        uint32_t *targets = l->targets + (l->n - 1) * l->n_ctx + used;
        memcpy(tokens, ids.id, ids.n * sizeof *tokens);
        for (size_t k = asked; k < ids.n; k++) targets[k - 1] = ids.id[k];
        used += ids.n;
    }
    token_list_free(e->ctx, &ids);
    return status ? exp_failed(e) : CLI_OK;
}

int lessons_of_text(experiment *e, const lm_model *m, const void *text, size_t size, uint32_t stride, lessons *l) {
    uint32_t start = start_token(m);
    token_list ids = {0};
    pith_status status = tokenizer_encode(e->ctx, lm_tokenizer(m), text, size, 0, &ids);
    size_t body = l->n_ctx - 1;
    for (size_t at = 0; at + body <= ids.n && !status; at += body) {
        status = add_window(e->ctx, l, start);
        if (status) break;
        uint32_t *tokens = l->tokens + (l->n - 1) * l->n_ctx, *targets = l->targets + (l->n - 1) * l->n_ctx;
        memcpy(tokens + 1, ids.id + at, body * sizeof *tokens);
        for (size_t k = (at / body) % stride; k < body; k += stride) targets[k] = tokens[k + 1];
    }
    token_list_free(e->ctx, &ids);
    return status ? exp_failed(e) : CLI_OK;
}

/* ---- training ---- */

void taught_shuffle(uint32_t *order, size_t n, uint64_t *seed) {
    for (size_t i = n; i > 1; i--) {
        size_t k = PITH_MIN((size_t)(cuts_random(seed) * (double)i), i - 1);
        uint32_t x = order[i - 1];
        order[i - 1] = order[k];
        order[k] = x;
    }
}

/* The windows of a kind in a shuffled order, shuffled anew each time round. */
typedef struct deck {
    uint32_t *order;
    size_t at;
} deck;

static size_t draw(deck *d, size_t n, uint64_t *seed) {
    if (d->at == n) {
        taught_shuffle(d->order, n, seed);
        d->at = 0;
    }
    return d->order[d->at++];
}

/* Loss and gradient of a batch, of the net or of what its code leaves; latent: room for the weights, with a code. */
static pith_status pass(experiment *e, train_net *net, const uint32_t *tokens, size_t batch, size_t n_ctx,
                        train_hooks *hooks, const teaching *t, train_teacher *teacher, float *latent, double *nats) {
    pith_status status = teacher ? train_teacher_ask(teacher, tokens, batch, &hooks->teacher) : PITH_OK;
    hooks->mix = t->mix, hooks->temperature = t->temperature;
    if (status) return status;
    if (latent) {
        train_net_save(net, latent);
        status = t->coded(t->opaque, net);
    }
    if (!status) status = train_pass(e->ctx, net, tokens, batch, n_ctx, hooks, true, nats);
    if (latent) train_net_restore(net, latent);
    return status;
}

static pith_status run_steps(experiment *e, train_net *net, const lessons *kinds, size_t n_kinds, deck *decks,
                             uint32_t *tokens, uint32_t *targets, size_t batch, train_teacher *teacher,
                             float *latent, teaching *t) {
    size_t n_ctx = kinds[0].n_ctx;
    uint64_t seed = t->seed, last = PITH_MAX(t->steps / 8, (uint64_t)1);
    uint64_t every = t->every ? t->every : PITH_MAX(t->steps / 12, (uint64_t)1);
    double sum = 0;
    pith_status status = PITH_OK;
    for (uint64_t step = 1; step <= t->steps && !status; step++) {
        size_t row = 0;
        for (size_t k = 0; k < n_kinds; k++)
            for (uint32_t i = 0; i < kinds[k].share; i++, row++) {
                size_t from = draw(&decks[k], kinds[k].n, &seed) * n_ctx;
                memcpy(tokens + row * n_ctx, kinds[k].tokens + from, n_ctx * sizeof *tokens);
                memcpy(targets + row * n_ctx, kinds[k].targets + from, n_ctx * sizeof *targets);
            }
        double nats = 0;
        char said[80];
        train_hooks hooks = {.target = targets};
        status = pass(e, net, tokens, batch, n_ctx, &hooks, t, teacher, latent, &nats);
        train_step_options o = {.rate = train_rate_at(step, t->steps / 10 + 1, t->steps, t->rate), .decay = t->decay};
        if (!status) status = train_step(e->ctx, net, &o, NULL);
        if (!status && step > t->steps - last) sum += nats / (double)last;
        snprintf(said, sizeof said, "teaching, step %llu of %llu, %.3f nats", (unsigned long long)step,
                 (unsigned long long)t->steps, status ? 0 : nats);
        exp_step(e, said);
        if (!status && t->each && (step % every == 0 || step == t->steps))
            status = t->each(t->opaque, net);
    }
    t->nats = sum;
    return status;
}

int teach(experiment *e, train_net *net, const lessons *kinds, size_t n_kinds, teaching *t) {
    deck decks[8] = {{0}};
    size_t batch = 0;
    pith_status status = PITH_OK;
    for (size_t k = 0; k < n_kinds; k++) {
        batch += kinds[k].share;
        if (!kinds[k].n) return cli_error("%s: a text is too short to learn from", e->name);
    }
    for (size_t k = 0; k < n_kinds && !status; k++) {
        if (!(decks[k].order = pith_alloc(e->ctx, kinds[k].n * sizeof *decks[k].order)))
            status = pith_alloc_status(e->ctx);
        for (size_t i = 0; !status && i < kinds[k].n; i++) decks[k].order[i] = (uint32_t)i;
        decks[k].at = kinds[k].n;
    }
    size_t room = batch * kinds[0].n_ctx * sizeof(uint32_t);
    uint32_t *tokens = status ? NULL : pith_alloc(e->ctx, room), *targets = tokens ? pith_alloc(e->ctx, room) : NULL;
    if (!status && !targets) status = pith_alloc_status(e->ctx);
    train_teacher *teacher = NULL;
    float *latent = t->coded && !status ? pith_alloc(e->ctx, train_n_weights(net) * sizeof *latent) : NULL;
    if (!status && t->coded && !latent) status = pith_alloc_status(e->ctx);
    if (!status && t->teacher) status = train_teacher_new(e->ctx, net, t->teacher, kinds[0].n_ctx, &teacher);
    t->seconds = model_cpu_seconds();
    if (!status) status = run_steps(e, net, kinds, n_kinds, decks, tokens, targets, batch, teacher, latent, t);
    t->seconds = model_cpu_seconds() - t->seconds;
    train_teacher_free(teacher);
    pith_free(e->ctx, latent);
    pith_free(e->ctx, tokens);
    pith_free(e->ctx, targets);
    for (size_t k = 0; k < n_kinds; k++) pith_free(e->ctx, decks[k].order);
    return status ? exp_failed(e) : CLI_OK;
}

int taught_save(experiment *e, const train_net *net, const char *path) {
    lm_writer w;
    if (lm_writer_open(&w, e->ctx, path, e->o.force) != CLI_OK) return CLI_FAIL;
    bool good = train_net_write(e->ctx, net, TENSOR_F32, lm_write_piece, &w) == PITH_OK;
    int result = lm_writer_close(&w, good, e->o.force);
    return good ? result : exp_failed(e);
}
