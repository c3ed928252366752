/* Calibration statistics: sums against a probe of our own, the same bytes however many passes and however often it was
 * stopped, formats of llama.cpp there and back, and files that lie. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "artefacts/model/stats.h"
#include "lm/tiny_model.h"
#include "support/session.h"

enum { N_CTX = 24, N_CHUNKS = 3 };

static char directory[256], path[320], part[336];
static uint32_t ids[N_CTX * N_CHUNKS + 5]; /* the rest fills no chunk */

static int begin(void **state) {
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/pith-stats-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(directory)) return -1;
    snprintf(path, sizeof path, "%s/a.stats", directory);
    snprintf(part, sizeof part, "%s.part", path);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) ids[i] = (uint32_t)(i * i * 7 + i / 3) % TINY_VOCAB;
    return session_begin(state);
}

static int end(void **state) {
    unlink(path);
    unlink(part);
    rmdir(directory);
    return session_end(state);
}

typedef struct tiny {
    tiny_file file;
    tensor_file *view;
    lm_model *model;
} tiny;

static void tiny_open(tiny *t, const tiny_variant *v) {
    *t = (tiny){0};
    assert_int_equal(tiny_build(ctx, &t->file, v, NULL), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, t->file.out.data, t->file.out.size, &t->view), PITH_OK);
    assert_int_equal(lm_open_file(ctx, t->view, &t->model), PITH_OK);
}

static void tiny_close(tiny *t) {
    lm_close(ctx, t->model);
    tensor_file_close(ctx, t->view);
    pith_buffer_free(ctx, &t->file.out);
}

static pith_status gather(const lm_model *m, bool restart, model_stats_result *r) {
    model_stats_text text = {.name = "ids", .ids = ids, .n_ids = sizeof ids / sizeof *ids};
    model_stats_options options = {.n_ctx = N_CTX, .restart = restart};
    return model_stats_gather(ctx, m, &text, 1, &options, path, r);
}

static void read_file(const char *name, pith_buffer *out) {
    FILE *f = fopen(name, "rb");
    uint8_t piece[4096];
    assert_non_null(f);
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        assert_int_equal(pith_buffer_append(ctx, out, piece, n), PITH_OK);
    fclose(f);
}

/* ---- against sums made here ---- */

typedef struct seen_input {
    const char *name;
    size_t cols, n;
    double *gram, *sum;
    bool again; /* in this evaluation already */
} seen_input;

typedef struct seen_stack {
    char name[72]; /* the probe's is gone after the call */
    size_t cols, n[4];
    double sum[4][80], sum2[4][80];
} seen_stack;

typedef struct watcher {
    seen_input at[64];
    size_t n;
    seen_stack stacks[3 * TINY_LAYERS];
    size_t n_stacks;
    float before[N_CTX][TINY_EMBD];
    double cosine[TINY_LAYERS];
} watcher;

static void watch_input(void *opaque, const char *tensor, size_t n, size_t n_cols, const float *x) {
    watcher *w = opaque;
    seen_input *s = NULL;
    for (size_t i = 0; i < w->n && !s; i++)
        if (strcmp(w->at[i].name, tensor) == 0) s = &w->at[i];
    if (!s) {
        s = &w->at[w->n++];
        *s = (seen_input){tensor, n_cols, 0, calloc(n_cols * n_cols, sizeof(double)), calloc(n_cols, sizeof(double)),
                          false};
    }
    if (s->again) return;
    s->again = true;
    s->n += n;
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < n_cols; i++) {
            s->sum[i] += (double)x[r * n_cols + i];
            for (size_t j = 0; j < n_cols; j++)
                s->gram[i * n_cols + j] += (double)x[r * n_cols + i] * (double)x[r * n_cols + j];
        }
}

static void watch_expert(void *opaque, const char *tensor, uint32_t expert, size_t n, size_t n_cols, const float *x) {
    watcher *w = opaque;
    size_t i = 0;
    while (i < w->n_stacks && strcmp(w->stacks[i].name, tensor) != 0) i++;
    seen_stack *s = &w->stacks[i];
    if (i == w->n_stacks) {
        w->n_stacks++;
        snprintf(s->name, sizeof s->name, "%s", tensor);
        s->cols = n_cols;
    }
    s->n[expert] += n;
    for (size_t j = 0; j < n * n_cols; j++) {
        s->sum[expert][j % n_cols] += (double)x[j];
        s->sum2[expert][j % n_cols] += (double)x[j] * (double)x[j];
    }
}

static void watch_hidden(void *opaque, uint32_t layer, uint32_t sequence, uint32_t first, size_t n, const float *h) {
    watcher *w = opaque;
    (void)sequence, (void)first;
    for (size_t r = 0; r < n; r++) {
        double xx = 0, yy = 0, xy = 0;
        for (size_t i = 0; i < TINY_EMBD; i++) {
            double x = (double)w->before[r][i], y = (double)h[r * TINY_EMBD + i];
            xx += x * x, yy += y * y, xy += x * y;
            w->before[r][i] = h[r * TINY_EMBD + i];
        }
        if (layer) w->cosine[layer - 1] += xy / sqrt(xx * yy) / (N_CTX * N_CHUNKS);
    }
}

static void watch(const lm_model *m, watcher *w) {
    lm_session *s;
    lm_session_options options = {.n_ctx = N_CTX, .max_batch = N_CTX, .cache = LM_CACHE_F32};
    lm_probe probe = {
        .opaque = w, .input = watch_input, .expert_input = watch_expert, .hidden = watch_hidden};
    assert_int_equal(lm_session_new(ctx, m, &options, &s), PITH_OK);
    lm_set_probe(s, &probe);
    for (size_t c = 0; c < N_CHUNKS; c++) {
        lm_token tokens[N_CTX];
        for (size_t i = 0; i < N_CTX; i++) tokens[i] = (lm_token){.id = ids[c * N_CTX + i], .want_logits = true};
        for (size_t i = 0; i < w->n; i++) w->at[i].again = false;
        assert_int_equal(lm_truncate(s, 0, 0), PITH_OK);
        assert_int_equal(lm_eval(s, tokens, N_CTX), PITH_OK);
    }
    lm_session_free(s);
}

static void check_entry(const model_stats *s, const seen_input *w) {
    repr_stats found;
    const model_stats_entry *e = model_stats_entry_of(s, w->name);
    assert_non_null(e);
    assert_true(e->has_gram);
    assert_int_equal(e->parts, 1);
    assert_int_equal(e->cols, w->cols);
    assert_true(e->seen[0] == (double)w->n && w->n == N_CTX * N_CHUNKS);
    assert_int_equal(model_stats_find(ctx, s, w->name, 0, w->cols, &found), PITH_OK);
    assert_true(found.h == e->h && found.n_tokens == e->seen[0]);
    double trace = 0;
    for (size_t i = 0; i < w->cols; i++) trace += w->gram[i * w->cols + i] / (double)w->n / (double)w->cols;
    for (size_t i = 0; i < w->cols; i++) {
        assert_true(fabs((double)e->mean[i] - w->sum[i] / (double)w->n) < 1e-5 * sqrt(trace));
        assert_true(fabs((double)e->h[i] - w->gram[i * w->cols + i] / (double)w->n) < 1e-5 * trace);
        for (size_t j = 0; j <= i; j++)
            assert_true(fabs((double)found.gram[i * (i + 1) / 2 + j] - w->gram[i * w->cols + j] / (double)w->n) <
                        1e-5 * trace);
    }
    assert_int_equal(model_stats_find(ctx, s, w->name, 0, w->cols + 1, &found), PITH_E_ARGUMENT);
    assert_int_equal(model_stats_find(ctx, s, w->name, 1, w->cols, &found), PITH_E_ARGUMENT);
}

/* Each expert for itself, over the tokens that were sent to it. */
static void check_stack(const model_stats *s, const seen_stack *w, uint32_t n_experts, uint32_t n_used) {
    const model_stats_entry *e = model_stats_entry_of(s, w->name);
    assert_non_null(e);
    assert_false(e->has_gram);
    assert_int_equal(e->parts, n_experts);
    assert_int_equal(e->cols, w->cols);
    size_t tokens = 0;
    for (uint32_t p = 0; p < n_experts; p++) {
        repr_stats found;
        tokens += w->n[p];
        assert_true(e->seen[p] == (double)w->n[p]);
        assert_int_equal(model_stats_find(ctx, s, w->name, p, w->cols, &found), PITH_OK);
        assert_true(found.h == e->h + p * w->cols && !found.gram && found.n_tokens == e->seen[p]);
        for (size_t j = 0; j < w->cols && w->n[p]; j++) {
            double n = (double)w->n[p], h = w->sum2[p][j] / n;
            assert_true(fabs((double)found.h[j] - h) <= 1e-5 * h);
            assert_true(fabs((double)e->mean[p * w->cols + j] - w->sum[p][j] / n) <= 1e-5 * sqrt(h));
        }
    }
    assert_int_equal(tokens, n_used * N_CTX * N_CHUNKS);
}

/* Errors in a row count as often as its token is read, and by the odds it is given. */
static void check_tokens(const model_stats *s, bool tied) {
    repr_stats embedding, output;
    double sum = 0;
    assert_int_equal(model_stats_find(ctx, s, "token_embd.weight", 0, TINY_EMBD, &embedding), PITH_OK);
    assert_int_equal(model_stats_find(ctx, s, "output.weight", 0, TINY_EMBD, &output), PITH_OK);
    assert_true(embedding.outputs && embedding.n_outputs == TINY_VOCAB);
    assert_true(output.outputs && output.n_outputs == TINY_VOCAB);
    for (uint32_t v = 0; v < TINY_VOCAB; v++) {
        double share = 0;
        for (size_t i = 0; i < N_CTX * N_CHUNKS; i++) share += ids[i] == v ? 1.0 / (N_CTX * N_CHUNKS) : 0;
        double odds = (double)embedding.outputs[v] - share;
        assert_true(tied ? odds > 0 && odds <= 0.25 : fabs(odds) < 1e-6);
        sum += (double)output.outputs[v];
    }
    assert_true(tied ? sum > 1 && sum < 2 : sum > 0 && sum < 1);
    assert_int_equal(model_stats_find(ctx, s, "blk.0.ffn_up.weight", 0, TINY_EMBD, &output), PITH_OK);
    assert_null(output.outputs);
}

/* Every matrix of every architecture, once, whatever the model makes of it. */
static void test_sums(void **state) {
    (void)state;
    for (size_t v = 0; v < sizeof tiny_variants / sizeof *tiny_variants; v++) {
        tiny t;
        watcher w = {0};
        model_stats_result r;
        model_stats *s;
        repr_stats none;
        tiny_open(&t, &tiny_variants[v]);
        watch(t.model, &w);
        assert_int_equal(gather(t.model, false, &r), PITH_OK);
        assert_int_equal(r.passes, 1);
        assert_int_equal(r.n_tokens, N_CTX * N_CHUNKS);
        assert_int_equal(r.n_matrices, w.n + w.n_stacks);
        assert_int_equal(w.n_stacks, tiny_variants[v].n_experts ? 3 * TINY_LAYERS : 0);
        assert_true(r.n_grams <= w.n && r.n_grams > TINY_LAYERS);
        assert_true(access(part, F_OK) != 0);
        assert_int_equal(model_stats_open(ctx, path, &s), PITH_OK);
        assert_int_equal(model_stats_count(s), w.n + w.n_stacks);
        assert_true(model_stats_info(s)->ours);
        for (size_t i = 0; i < w.n; i++) check_entry(s, &w.at[i]);
        for (size_t i = 0; i < w.n_stacks; i++)
            check_stack(s, &w.stacks[i], tiny_variants[v].n_experts, tiny_variants[v].n_used);
        assert_int_equal(model_stats_find(ctx, s, "no.such.weight", 0, 32, &none), PITH_OK);
        assert_true(!none.h && !none.gram);
        assert_true(model_stats_info(s)->n_influence + 1 >= TINY_LAYERS);
        check_tokens(s, tiny_variants[v].tied);
        for (size_t l = 0; l < model_stats_info(s)->n_influence; l++)
            assert_true(fabs((double)model_stats_info(s)->influence[l] - (1 - w.cosine[l])) < 1e-5);
        assert_true(fabs(model_stats_info(s)->nats - r.nats) < 1e-5 * r.nats && r.nats > 0);
        assert_true(model_stats_saw(s, ids, sizeof ids));
        assert_false(model_stats_saw(s, ids, sizeof ids - 4));
        model_stats_close(ctx, s);
        for (size_t i = 0; i < w.n; i++) free(w.at[i].gram), free(w.at[i].sum);
        tiny_close(&t);
    }
}

/* Queries, keys and values share one matrix, and so do gate and up: llama has four a layer and the output's. */
static void test_shared(void **state) {
    (void)state;
    tiny t;
    model_stats_result r;
    model_stats *s;
    repr_stats q, v, o;
    tiny_open(&t, &tiny_variants[0]);
    assert_int_equal(gather(t.model, false, &r), PITH_OK);
    assert_int_equal(r.n_grams, 4 * TINY_LAYERS + 1);
    assert_int_equal(model_stats_open(ctx, path, &s), PITH_OK);
    assert_int_equal(model_stats_find(ctx, s, "blk.1.attn_q.weight", 0, TINY_EMBD, &q), PITH_OK);
    assert_int_equal(model_stats_find(ctx, s, "blk.1.attn_v.weight", 0, TINY_EMBD, &v), PITH_OK);
    assert_int_equal(model_stats_find(ctx, s, "blk.1.ffn_up.weight", 0, TINY_EMBD, &o), PITH_OK);
    assert_true(q.gram && q.gram == v.gram && q.gram != o.gram);
    model_stats_close(ctx, s);
    tiny_close(&t);
}

/* ---- passes, and stops ---- */

static int stop_at;
static int stop(void *opaque, uint64_t done, uint64_t total) {
    (void)opaque;
    assert_true(done <= total);
    return stop_at && --stop_at == 0;
}

/* The least memory in steps with which it works, and what it takes then. */
static uint64_t least_memory(const lm_model *m, model_stats_result *r) {
    for (uint64_t more = 1 << 20;; more += 1 << 12) {
        pith_ctx_set_memory(ctx, pith_memory_used(ctx) + more);
        pith_status status = gather(m, true, r);
        if (status == PITH_OK) return pith_ctx_memory(ctx);
        assert_int_equal(status, PITH_E_LIMIT);
        assert_true(access(path, F_OK) != 0 && access(part, F_OK) != 0);
        assert_true(more < 1 << 26);
    }
}

static void test_passes(void **state) {
    (void)state;
    tiny t;
    model_stats_result r, again;
    pith_buffer once = {0}, many = {0};
    tiny_open(&t, &tiny_variants[0]);
    assert_int_equal(gather(t.model, false, &r), PITH_OK);
    read_file(path, &once);
    assert_int_equal(once.size, r.bytes);
    unlink(path);
    uint64_t little = least_memory(t.model, &r);
    assert_true(r.passes > 1);
    read_file(path, &many);
    assert_int_equal(many.size, once.size);
    assert_memory_equal(many.data, once.data, once.size);
    unlink(path);

    /* stopped in the second pass and gone on with, in as little memory and then in all there is */
    little += many.capacity;
    pith_ctx_set_memory(ctx, little);
    pith_ctx_set_progress(ctx, stop, NULL);
    stop_at = N_CHUNKS + 2;
    assert_int_equal(gather(t.model, false, &again), PITH_E_CANCELLED);
    assert_true(access(path, F_OK) != 0 && access(part, F_OK) == 0);
    pith_begin(ctx);
    stop_at = 0;
    pith_ctx_set_memory(ctx, little);
    /* other tokens, same file: refused, and left alone */
    ids[0] = ids[0] == 0;
    assert_int_equal(gather(t.model, false, &again), PITH_E_ARGUMENT);
    ids[0] = ids[0] == 0;
    pith_begin(ctx);
    pith_ctx_set_memory(ctx, 0);
    assert_int_equal(gather(t.model, false, &again), PITH_OK);
    assert_int_equal(again.passes, 1);
    assert_true(again.grams_found > 0 && again.grams_found < again.n_grams);
    many.size = 0;
    read_file(path, &many);
    assert_memory_equal(many.data, once.data, once.size);

    /* a finished file that was never renamed, damaged in one Gram matrix: that one is made again */
    assert_int_equal(rename(path, part), 0);
    FILE *f = fopen(part, "r+b");
    assert_non_null(f);
    fseek(f, -64, SEEK_END);
    fputc(0x55, f);
    fclose(f);
    assert_int_equal(gather(t.model, false, &again), PITH_OK);
    assert_int_equal(again.grams_found, again.n_grams - 1);
    many.size = 0;
    read_file(path, &many);
    assert_memory_equal(many.data, once.data, once.size);
    pith_ctx_set_progress(ctx, NULL, NULL);
    pith_buffer_free(ctx, &once);
    pith_buffer_free(ctx, &many);
    tiny_close(&t);
}

/* A model that gives no numbers leaves no file. */
static void test_poisoned(void **state) {
    (void)state;
    tiny t = {.file = {.poisoned = "blk.0.ffn_up.weight"}};
    model_stats_result r;
    unlink(path);
    assert_int_equal(tiny_build(ctx, &t.file, &tiny_variants[0], NULL), PITH_OK);
    assert_int_equal(tensor_file_open_memory(ctx, t.file.out.data, t.file.out.size, &t.view), PITH_OK);
    assert_int_equal(lm_open_file(ctx, t.view, &t.model), PITH_OK);
    assert_int_equal(gather(t.model, false, &r), PITH_E_CHECK);
    assert_true(access(path, F_OK) != 0 && access(part, F_OK) != 0);
    tiny_close(&t);
    pith_begin(ctx);
}

/* ---- llama.cpp's formats ---- */

static pith_status to_buffer(void *opaque, const void *data, size_t n) {
    return pith_buffer_append(ctx, opaque, data, n);
}

static void check_same(const model_stats *a, const model_stats *b) {
    assert_int_equal(model_stats_count(a), model_stats_count(b));
    for (size_t i = 0; i < model_stats_count(a); i++) {
        const model_stats_entry *x = model_stats_at(a, i), *y = model_stats_entry_of(b, x->name);
        assert_non_null(y);
        assert_false(y->has_gram);
        assert_int_equal(x->cols, y->cols);
        for (size_t j = 0; j < x->cols; j++) assert_true(fabsf(x->h[j] - y->h[j]) <= 1e-6f * x->h[j]);
    }
}

static void test_formats(void **state) {
    (void)state;
    tiny t;
    model_stats_result r;
    model_stats *s, *again;
    pith_buffer out = {0};
    tiny_open(&t, &tiny_variants[3]);
    assert_int_equal(gather(t.model, false, &r), PITH_OK);
    assert_int_equal(model_stats_open(ctx, path, &s), PITH_OK);
    assert_int_equal(model_stats_write(ctx, s, MODEL_STATS_OWN, to_buffer, &out), PITH_E_ARGUMENT);
    pith_begin(ctx);
    for (int dat = 0; dat < 2; dat++) {
        model_stats_format format = dat ? MODEL_STATS_DAT : MODEL_STATS_IMATRIX;
        out.size = 0;
        assert_int_equal(model_stats_write(ctx, s, format, to_buffer, &out), PITH_OK);
        assert_int_equal(model_stats_open_memory(ctx, out.data, out.size, &again), PITH_OK);
        check_same(s, again);
        assert_false(model_stats_info(again)->ours);
        assert_int_equal(model_stats_info(again)->chunks, N_CHUNKS);
        assert_true(model_stats_at(again, 0)->seen[0] == (dat ? N_CHUNKS : N_CHUNKS * N_CTX));
        /* and through the other format */
        pith_buffer other = {0};
        model_stats *third;
        assert_int_equal(model_stats_write(ctx, again, dat ? MODEL_STATS_IMATRIX : MODEL_STATS_DAT, to_buffer, &other),
                         PITH_OK);
        assert_int_equal(model_stats_open_memory(ctx, other.data, other.size, &third), PITH_OK);
        check_same(s, third);
        model_stats_close(ctx, third);
        pith_buffer_free(ctx, &other);
        model_stats_close(ctx, again);
        /* cut anywhere, it is refused or (.dat without its end) read all the same */
        for (size_t n = 0; n < out.size; n += 1 + n / 7) {
            if (model_stats_open_memory(ctx, out.data, n, &again) == PITH_OK) {
                assert_true(dat && n + 16 > out.size);
                model_stats_close(ctx, again);
            }
            assert_true(!again || dat);
            pith_begin(ctx);
        }
    }
    pith_buffer_free(ctx, &out);
    model_stats_close(ctx, s);
    tiny_close(&t);
}

/* The bytes of an old file by hand: two calls, so values are halved; experts are asked for by part. */
static void test_dat(void **state) {
    (void)state;
    static const float values[] = {2, 4, 6, 8};
    uint8_t file[64];
    size_t n = 0;
    store32(file, 1), store32(file + 4, 3), memcpy(file + 8, "a.b", 3), n = 11;
    store32(file + n, 2), store32(file + n + 4, 4), n += 8;
    memcpy(file + n, values, sizeof values), n += sizeof values;
    model_stats *s;
    repr_stats r;
    assert_int_equal(model_stats_open_memory(ctx, file, n, &s), PITH_OK);
    assert_int_equal(model_stats_find(ctx, s, "a.b", 0, 4, &r), PITH_OK);
    for (size_t i = 0; i < 4; i++) assert_true(r.h[i] == values[i] / 2);
    assert_int_equal(model_stats_find(ctx, s, "a.b", 1, 2, &r), PITH_OK);
    assert_true(r.h[0] == 3 && r.h[1] == 4 && !r.gram);
    assert_int_equal(model_stats_find(ctx, s, "a.b", 2, 2, &r), PITH_E_ARGUMENT);
    assert_int_equal(model_stats_find(ctx, s, "a.b", 0, 3, &r), PITH_E_ARGUMENT);
    model_stats_close(ctx, s);
    pith_begin(ctx);
    static const struct {
        size_t at;
        uint32_t value;
    } lies[] = {{0, 0},           {0, 0x7fffffff},  {0, 2},           {4, 0},
                {4, 0xffffffff},  {4, 1000},        {11, 0xffffffff}, {15, 0},
                {15, 0x40000000}, {19, 0x7fc00000}, {19, 0x7f800000}, {23, 0xbf800000}};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        uint8_t copy[64];
        memcpy(copy, file, n);
        store32(copy + lies[i].at, lies[i].value);
        assert_int_not_equal(model_stats_open_memory(ctx, copy, n, &s), PITH_OK);
        assert_null(s);
        assert_true(pith_error(ctx)[0] && !strchr(pith_error(ctx), '\n'));
        pith_begin(ctx);
    }
}

/* ---- files that lie ---- */

typedef struct lie {
    const char *what;
    const char *gram_name, *counts_name;
    uint64_t cols, counts, gram;
    float sum, count, diagonal, check;
    uint32_t owner;
    pith_status opens, finds;
} lie;

static void put_all(gguf_writer *w, const lie *l) {
    meta_string names[] = {{"a", 1}, {"b", 1}};
    uint8_t owners[8] = {0};
    store32(owners + 4, l->owner);
    assert_int_equal(gguf_put_text(ctx, w, "general.type", "imatrix", 7), PITH_OK);
    assert_int_equal(gguf_put_strings(ctx, w, "pith.stats.names", names, 2), PITH_OK);
    assert_int_equal(gguf_put_array(ctx, w, "pith.stats.owners", META_U32, owners, 2), PITH_OK);
    assert_int_equal(gguf_put_tensor(ctx, w, "pith.checks", 11, TENSOR_I64, 1, (uint64_t[]){2}), PITH_OK);
    assert_int_equal(gguf_put_tensor(ctx, w, "a.in_sum2", 9, TENSOR_F32, 2, (uint64_t[]){l->cols, 1}), PITH_OK);
    assert_int_equal(
        gguf_put_tensor(ctx, w, l->counts_name, strlen(l->counts_name), TENSOR_F32, 2, (uint64_t[]){1, l->counts}),
        PITH_OK);
    assert_int_equal(gguf_put_tensor(ctx, w, "b.in_sum2", 9, TENSOR_F32, 2, (uint64_t[]){3, 1}), PITH_OK);
    assert_int_equal(gguf_put_tensor(ctx, w, "b.counts", 8, TENSOR_F32, 2, (uint64_t[]){1, 1}), PITH_OK);
    assert_int_equal(gguf_put_tensor(ctx, w, l->gram_name, strlen(l->gram_name), TENSOR_F32, 1, (uint64_t[]){l->gram}),
                     PITH_OK);
}

static void make(const lie *l, pith_buffer *out) {
    float sums[8] = {l->sum, 1, 1, 1, 1, 1, 1, 1}, counts[8] = {l->count, 1, 1, 1}, b[3] = {1, 1, 1}, one = 4;
    float gram[16] = {1, 0, l->diagonal, 0, 0, 1};
    uint64_t checks[2];
    gguf_writer *w;
    pith_hash *h = pith_hash_new(ctx);
    pith_hash_update(h, sums, l->cols * 4);
    pith_hash_update(h, counts, l->counts * 4);
    pith_hash_update(h, b, sizeof b);
    pith_hash_update(h, &one, 4);
    checks[0] = l->check != 0 ? pith_hash_value(h) ^ (l->check < 0) : 0;
    checks[1] = pith_hash64(gram, l->gram * 4);
    pith_hash_free(ctx, h);
    assert_int_equal(gguf_writer_new(ctx, &w), PITH_OK);
    put_all(w, l);
    assert_int_equal(gguf_write_head(ctx, w, to_buffer, out), PITH_OK);
    assert_int_equal(gguf_write_data(ctx, w, checks, sizeof checks, to_buffer, out), PITH_OK);
    assert_int_equal(gguf_write_data(ctx, w, sums, l->cols * 4, to_buffer, out), PITH_OK);
    assert_int_equal(gguf_write_data(ctx, w, counts, l->counts * 4, to_buffer, out), PITH_OK);
    assert_int_equal(gguf_write_data(ctx, w, b, sizeof b, to_buffer, out), PITH_OK);
    assert_int_equal(gguf_write_data(ctx, w, &one, 4, to_buffer, out), PITH_OK);
    assert_int_equal(gguf_write_data(ctx, w, gram, l->gram * 4, to_buffer, out), PITH_OK);
    gguf_writer_free(ctx, w);
}

static void test_lies(void **state) {
    (void)state;
    static const lie lies[] = {
        {"in order", "a.gram", "a.counts", 3, 1, 6, 1, 4, 1, 1, 0, PITH_OK, PITH_OK},
        {"a sum below zero", "a.gram", "a.counts", 3, 1, 6, -1, 4, 1, 1, 0, PITH_E_FORMAT, 0},
        {"a sum that is none", "a.gram", "a.counts", 3, 1, 6, NAN, 4, 1, 1, 0, PITH_E_FORMAT, 0},
        {"a sum without end", "a.gram", "a.counts", 3, 1, 6, INFINITY, 4, 1, 1, 0, PITH_E_FORMAT, 0},
        {"a mean without end", "a.gram", "a.counts", 3, 1, 6, 3e38f, 1e-3f, 1, 1, 0, PITH_E_FORMAT, 0},
        {"a count below zero", "a.gram", "a.counts", 3, 1, 6, 1, -4, 1, 1, 0, PITH_E_FORMAT, 0},
        {"a count that is none", "a.gram", "a.counts", 3, 1, 6, 1, NAN, 1, 1, 0, PITH_E_FORMAT, 0},
        {"no token", "a.gram", "a.counts", 3, 1, 6, 1, 0, 1, 1, 0, PITH_OK, PITH_OK},
        {"too many counts", "a.gram", "a.counts", 3, 2, 6, 1, 4, 1, 1, 0, PITH_E_FORMAT, 0},
        {"no counts", "a.gram", "c.counts", 3, 1, 6, 1, 4, 1, 1, 0, PITH_E_FORMAT, 0},
        {"a small Gram matrix", "a.gram", "a.counts", 3, 1, 5, 1, 4, 1, 1, 0, PITH_E_FORMAT, 0},
        {"a large Gram matrix", "a.gram", "a.counts", 3, 1, 7, 1, 4, 1, 1, 0, PITH_E_FORMAT, 0},
        {"a Gram matrix of nobody", "c.gram", "a.counts", 3, 1, 6, 1, 4, 1, 1, 0, PITH_E_FORMAT, 0},
        {"a diagonal below zero", "a.gram", "a.counts", 3, 1, 6, 1, 4, -1, 1, 0, PITH_OK, PITH_E_FORMAT},
        {"a diagonal that is none", "a.gram", "a.counts", 3, 1, 6, 1, 4, NAN, 1, 0, PITH_OK, PITH_E_FORMAT},
        {"a diagonal without end", "a.gram", "a.counts", 3, 1, 6, 1, 4, INFINITY, 1, 0, PITH_OK, PITH_E_FORMAT},
        {"an owner that is not there", "a.gram", "a.counts", 3, 1, 6, 1, 4, 1, 1, 2, PITH_E_FORMAT, 0},
        {"an owner of another width", "a.gram", "a.counts", 2, 1, 3, 1, 4, 1, 1, 0, PITH_E_FORMAT, 0},
        {"unfinished", "a.gram", "a.counts", 3, 1, 6, 1, 4, 1, 0, 0, PITH_E_FORMAT, 0},
        {"damaged", "a.gram", "a.counts", 3, 1, 6, 1, 4, 1, -1, 0, PITH_E_CHECK, 0},
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        pith_buffer out = {0};
        model_stats *s;
        repr_stats r;
        make(&lies[i], &out);
        pith_status status = model_stats_open_memory(ctx, out.data, out.size, &s);
        if (status != lies[i].opens) fail_msg("%s: status %d, %s", lies[i].what, (int)status, pith_error(ctx));
        if (!status) {
            assert_int_equal(model_stats_find(ctx, s, "b", 0, 3, &r), lies[i].finds);
            if (!lies[i].finds) assert_true(r.gram && r.gram[0] == 1 && r.h[0] == 0.25f);
            model_stats_close(ctx, s);
        }
        pith_begin(ctx);
        pith_buffer_free(ctx, &out);
    }
}

/* What the default model says: the same for the same seed, and text that it can read. */
static void test_own_text(void **state) {
    (void)state;
    lm_model *m;
    pith_buffer a = {0}, b = {0}, c = {0};
    assert_int_equal(lm_open(ctx, NULL, &m), PITH_OK);
    assert_int_equal(model_stats_own_text(ctx, m, 400, 1, 1, &a), PITH_OK);
    assert_int_equal(model_stats_own_text(ctx, m, 400, 1, 2, &b), PITH_OK);
    assert_int_equal(model_stats_own_text(ctx, m, 400, 2, 1, &c), PITH_OK);
    assert_true(a.size > 400 && a.size == b.size && memcmp(a.data, b.data, a.size) == 0);
    assert_true(a.size != c.size || memcmp(a.data, c.data, a.size) != 0);
    pith_buffer_free(ctx, &a);
    pith_buffer_free(ctx, &b);
    pith_buffer_free(ctx, &c);
    lm_close(ctx, m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),     cmocka_unit_test(test_shared),   cmocka_unit_test(test_passes),
        cmocka_unit_test(test_poisoned), cmocka_unit_test(test_formats),  cmocka_unit_test(test_dat),
        cmocka_unit_test(test_lies),     cmocka_unit_test(test_own_text),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
