/* Lessons: windows hold what the ruler will feed the model, and what is to be learned is the right choice alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "faces/cli/bench_taught.h"

/* Tokens of an item as ruler_choose feeds them: start, context, right choice. */
static size_t feed(pith_ctx *ctx, const lm_model *m, const ruler_item *item, token_list *ids) {
    const tokenizer *t = lm_tokenizer(m);
    uint32_t start = tokenizer_about(t)->bos;
    const char *right = item->choices[item->answer];
    ids->n = 0;
    assert_int_equal(token_list_append(ctx, ids, &start, 1), PITH_OK);
    assert_int_equal(tokenizer_encode(ctx, t, item->context, strlen(item->context), 0, ids), PITH_OK);
    size_t asked = ids->n;
    assert_int_equal(tokenizer_encode(ctx, t, right, strlen(right), TOKENIZE_CONTINUE, ids), PITH_OK);
    return asked;
}

static void test_items(void **state) {
    (void)state;
    experiment e = {.name = "test", .ctx = pith_ctx_new(NULL)};
    lm_model *m;
    ruler_items items;
    token_list ids = {0};
    lessons l = {.n_ctx = 200};
    assert_int_equal(lm_open(e.ctx, NULL, &m), PITH_OK);
    assert_int_equal(ruler_pattern_items(e.ctx, RULER_COREFERENCE, 20, 3, &items), PITH_OK);
    assert_int_equal(lessons_of_items(&e, m, &items, &l), CLI_OK);
    uint32_t start = tokenizer_about(lm_tokenizer(m))->bos;
    size_t window = 0, at = 0, tokens = 0, learned = 0, wanted = 0;
    for (size_t i = 0; i < items.n; i++) {
        size_t asked = feed(e.ctx, m, &items.at[i], &ids);
        if (at + ids.n > l.n_ctx) window++, at = 0;
        assert_true(window < l.n);
        assert_memory_equal(l.tokens + window * l.n_ctx + at, ids.id, ids.n * sizeof *ids.id);
        for (size_t k = 0; k < ids.n; k++) {
            uint32_t target = l.targets[window * l.n_ctx + at + k];
            assert_int_equal(target, k + 1 >= asked && k + 1 < ids.n ? ids.id[k + 1] : TRAIN_NO_TARGET);
        }
        at += ids.n, tokens += ids.n, wanted += ids.n - asked;
    }
    assert_int_equal(l.n, window + 1);
    for (size_t i = 0; i < l.n * l.n_ctx; i++) {
        learned += l.targets[i] != TRAIN_NO_TARGET;
        tokens += l.targets[i] == TRAIN_NO_TARGET && l.tokens[i] == start;
    }
    assert_int_equal(learned, wanted);
    assert_true(tokens >= l.n * l.n_ctx); /* what no item fills is start tokens */
    lessons_free(e.ctx, &l);

    l.n_ctx = 8; /* no item fits */
    assert_int_equal(lessons_of_items(&e, m, &items, &l), CLI_FAIL);
    lessons_free(e.ctx, &l);
    ruler_items_free(e.ctx, &items);
    token_list_free(e.ctx, &ids);
    lm_close(e.ctx, m);
    assert_int_equal(pith_memory_used(e.ctx), 0);
    pith_ctx_free(e.ctx);
}

static void test_text(void **state) {
    (void)state;
    experiment e = {.name = "test", .ctx = pith_ctx_new(NULL)};
    lm_model *m;
    token_list ids = {0};
    size_t size;
    const char *text = ruler_filler(&size);
    assert_int_equal(lm_open(e.ctx, NULL, &m), PITH_OK);
    assert_int_equal(tokenizer_encode(e.ctx, lm_tokenizer(m), text, size, 0, &ids), PITH_OK);
    for (uint32_t stride = 1; stride <= 8; stride += 7) {
        lessons l = {.n_ctx = 33};
        assert_int_equal(lessons_of_text(&e, m, text, size, stride, &l), CLI_OK);
        assert_int_equal(l.n, ids.n / 32);
        size_t learned = 0;
        for (size_t w = 0; w < l.n; w++) {
            assert_int_equal(l.tokens[w * 33], tokenizer_about(lm_tokenizer(m))->bos);
            for (size_t k = 0; k < 33; k++) {
                if (k) assert_int_equal(l.tokens[w * 33 + k], ids.id[w * 32 + k - 1]);
                if (l.targets[w * 33 + k] == TRAIN_NO_TARGET) continue;
                assert_int_equal(l.targets[w * 33 + k], ids.id[w * 32 + k]);
                learned++;
            }
        }
        assert_int_equal(learned, l.n * 32 / stride);
        lessons_free(e.ctx, &l);
    }
    token_list_free(e.ctx, &ids);
    lm_close(e.ctx, m);
    assert_int_equal(pith_memory_used(e.ctx), 0);
    pith_ctx_free(e.ctx);
}

static void test_shuffle(void **state) {
    (void)state;
    uint32_t order[100], seen[100] = {0};
    uint64_t seed = 4;
    size_t moved = 0;
    for (uint32_t i = 0; i < 100; i++) order[i] = i;
    taught_shuffle(order, 100, &seed);
    for (uint32_t i = 0; i < 100; i++) {
        seen[order[i]]++;
        moved += order[i] != i;
    }
    for (uint32_t i = 0; i < 100; i++) assert_int_equal(seen[i], 1);
    assert_true(moved > 80);
}

/* ---- a code that the net learns through ---- */

typedef struct through {
    unsigned calls;
    float *before;
} through;

/* All weights of one matrix 0: what is behind it learns nothing from it. */
static pith_status erase(void *opaque, train_net *net) {
    through *t = opaque;
    size_t rows, cols;
    float *w = train_net_tensor(net, "blk.0.ffn_up.weight", &rows, &cols);
    if (t->calls++ == 0) train_net_save(net, t->before);
    memset(w, 0, rows * cols * sizeof *w);
    return PITH_OK;
}

static void test_coded(void **state) {
    (void)state;
    experiment e = {.name = "test", .ctx = pith_ctx_new(NULL)};
    const train_shape shape = {
        .n_embd = 16, .n_layers = 1, .n_heads = 2, .n_kv_heads = 2, .n_ff = 24, .n_ctx = 32};
    lm_model *m;
    train_net *net;
    size_t size, n;
    const char *text = ruler_filler(&size);
    lessons l = {.n_ctx = 17, .share = 2};
    through seen = {0};
    assert_int_equal(lm_open(e.ctx, NULL, &m), PITH_OK);
    assert_int_equal(train_net_new(e.ctx, &shape, m, 1, &net), PITH_OK);
    assert_int_equal(lessons_of_text(&e, m, text, size / 4, 1, &l), CLI_OK);
    n = train_n_weights(net);
    seen.before = pith_alloc(e.ctx, n * sizeof *seen.before);
    assert_non_null(seen.before);
    teaching t = {.steps = 2, .rate = 1e-2, .seed = 1, .coded = erase, .opaque = &seen, .teacher = m, .mix = 0.5};
    cli_verbosity = -1;
    assert_int_equal(teach(&e, net, &l, 1, &t), CLI_OK);
    assert_int_equal(seen.calls, 2);
    size_t rows, cols;
    const float *up = train_net_tensor(net, "blk.0.ffn_up.weight", &rows, &cols),
                *gate = train_net_tensor(net, "blk.0.ffn_gate.weight", NULL, NULL),
                *all = train_net_tensor(net, train_tensor_name(net, 0), NULL, NULL);
    bool up_learned = false;
    for (size_t i = 0; i < rows * cols; i++) {
        assert_true(gate[i] == seen.before[(size_t)(gate - all) + i]); /* up is 0: no gradient comes to the gate */
        up_learned |= up[i] != seen.before[(size_t)(up - all) + i];
        assert_true(up[i] != 0); /* the weights came back */
    }
    assert_true(up_learned); /* through the code */
    pith_free(e.ctx, seen.before);
    train_net_free(net);
    lessons_free(e.ctx, &l);
    lm_close(e.ctx, m);
    assert_int_equal(pith_memory_used(e.ctx), 0);
    pith_ctx_free(e.ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_items), cmocka_unit_test(test_text),
                                       cmocka_unit_test(test_shuffle), cmocka_unit_test(test_coded)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
