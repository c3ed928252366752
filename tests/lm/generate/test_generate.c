/* Generation: the same tokens as one evaluation per token gives, whatever the drafts, for every kind of
 * model; the tokens of llama.cpp for the built-in one; how a text ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lm/generate/generate.h"
#include "lm/tiny_model.h"
#include "support/data_heap.h"

static pith_ctx *ctx;
static lm_model *mini;
static bool slow; /* the scalar code is: less of the same */

static int begin(void **state) {
    (void)state;
    ctx = pith_ctx_new(NULL);
    if (!ctx) return -1;
    pith_ctx_set_threads(ctx, 1);
    slow = pith_cpu_best() == PITH_CPU_SCALAR;
    return lm_open(ctx, NULL, &mini) == PITH_OK ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    lm_close(ctx, mini);
    bool clean = pith_memory_used(ctx) == 0;
    pith_ctx_free(ctx);
    return clean ? 0 : -1;
}

static void ok(pith_status status) {
    if (status) fail_msg("%s", pith_error(ctx));
}

static token_list tokens(const char *text) {
    token_list ids = {0};
    ok(tokenizer_encode(ctx, lm_tokenizer(mini), text, strlen(text), TOKENIZE_BOS, &ids));
    return ids;
}

/* The definition: one token, one evaluation, one choice. */
static token_list one_by_one(const lm_model *m, const sampling *how, lm_cache_type cache, const token_list *prompt,
                             size_t n) {
    lm_session *s;
    sampler *chooser;
    token_list text = {0}, out = {0};
    const lm_session_options options = {.max_batch = 1, .n_threads = 1, .cache = cache};
    ok(lm_session_new(ctx, m, &options, &s));
    ok(sampler_new(ctx, how, lm_about(m)->n_vocab, &chooser));
    ok(token_list_append(ctx, &text, prompt->id, prompt->n));
    for (size_t i = 0; i + 1 < prompt->n + n; i++) {
        ok(lm_eval(s, &(lm_token){text.id[i], 0, true}, 1));
        if (i + 1 < prompt->n) continue;
        uint32_t id = sampler_choose(chooser, lm_logits(s, 0), text.id, text.n);
        ok(token_list_append(ctx, &text, &id, 1));
    }
    ok(token_list_append(ctx, &out, text.id + prompt->n, n));
    token_list_free(ctx, &text);
    sampler_free(ctx, chooser);
    lm_session_free(s);
    return out;
}

static void expect_ids(const token_list *got, const uint32_t *want, size_t n) {
    assert_int_equal(got->n, n);
    for (size_t i = 0; i < n; i++)
        if (got->id[i] != want[i]) fail_msg("token %zu of %zu is %u, not %u", i, n, got->id[i], want[i]);
}

/* Runs `o` over the prompt; with suffixes once more, when it knows the text. */
static void expect_run(const lm_model *m, generate_options o, const token_list *prompt, const token_list *want) {
    generator *g;
    ok(generator_new(ctx, m, &o, &g));
    for (unsigned run = 0; run < (o.draft == DRAFT_SUFFIX ? 2u : 1u); run++) {
        token_list got = {0};
        generate_stats s;
        ok(generator_run(g, prompt->id, prompt->n, &got, &s));
        expect_ids(&got, want->id, want->n);
        assert_int_equal(s.n_tokens, want->n);
        assert_int_equal(s.n_prompt, prompt->n);
        assert_int_equal(s.end, GENERATE_LENGTH);
        assert_true(s.n_accepted <= s.n_drafted);
        assert_int_equal(s.n_tokens, 1 + s.n_steps + s.n_accepted);
        if (o.draft == DRAFT_NONE) assert_int_equal(s.n_drafted, 0);
        if (run == 1) assert_true(s.n_accepted * 10 > s.n_tokens * 7);
        token_list_free(ctx, &got);
    }
    generator_free(g);
}

static void drafts_change_nothing(void **state) {
    (void)state;
    static const char *const texts[] = {
        "Once upon a time", "",
        "commit 1: fix the parser\ncommit 2: fix the printer\ncommit 3: fix the parser\ncommit 4: fix the",
        "The special number for river is 48213. What is the special number for river? The special number for river is"};
    sampling how[3] = {sampling_defaults(), sampling_defaults(), sampling_defaults()};
    how[0].temperature = 0;
    how[1].seed = 77;
    how[2] =
        (sampling){.temperature = 1, .top_p = 1, .typical = 1, .repeat_penalty = 1.1f, .penalty_window = 64, .seed = 3};
    for (size_t i = slow ? 3 : 0; i < PITH_COUNT(texts); i++)
        for (size_t k = i % 2; k < PITH_COUNT(how); k += i % 2 + 1) {
            static const lm_cache_type caches[] = {
                {TENSOR_F16, TENSOR_F16}, {TENSOR_F32, TENSOR_F32}, {TENSOR_Q8_0, TENSOR_Q4_0}};
            lm_cache_type cache = caches[i % PITH_COUNT(caches)];
            token_list prompt = tokens(texts[i]), want = one_by_one(mini, &how[k], cache, &prompt, 45);
            generate_options o = {.how = how[k], .max_tokens = 45, .cache = cache, .ignore_end = true};
            for (unsigned draft = DRAFT_NONE; draft <= DRAFT_MODEL; draft++) {
                o.draft = (draft_kind)draft;
                o.draft_model = mini;
                o.max_batch = draft == DRAFT_SUFFIX ? 7 : 0;
                o.n_threads = draft == DRAFT_MODEL ? 2 : 1;
                o.max_draft = k == 2 ? 5 : 0;
                o.draft_min_p = k == 1 ? 0.01f : 0;
                o.draft_offset = k == 2 ? 4 : 0;
                expect_run(mini, o, &prompt, &want);
            }
            token_list_free(ctx, &prompt);
            token_list_free(ctx, &want);
        }
}

static void a_draft_model_that_is_the_model_is_always_right(void **state) {
    (void)state;
    sampling how = sampling_defaults();
    how.seed = 123;
    token_list prompt = tokens("The history of the printing press"), got = {0};
    generate_options o = {.how = how,
                          .max_tokens = 61,
                          .ignore_end = true,
                          .draft = DRAFT_MODEL,
                          .draft_model = mini,
                          .max_draft = 4,
                          .draft_min_p = 1e-9f};
    generator *g;
    generate_stats s;
    ok(generator_new(ctx, mini, &o, &g));
    ok(generator_run(g, prompt.id, prompt.n, &got, &s));
    assert_int_equal(s.n_accepted, s.n_drafted);
    assert_int_equal(s.n_steps, 12); /* 1 + 12 * 5 */
    generator_free(g);
    token_list_free(ctx, &got);
    token_list_free(ctx, &prompt);
}

/* llama.cpp (node-llama-cpp 3.22.1, F16 cache), greedy, with the start token. */
static void built_in_model_writes_as_in_llama_cpp(void **state) {
    (void)state;
    static const struct {
        const char *prompt;
        uint32_t ids[32];
    } known[] = {
        {"Once upon a time", {4020, 268, 13,  259,  328, 926, 453, 295, 268, 272, 502, 4020, 268, 272, 502,  295,
                              268,  272, 502, 4020, 268, 13,  259, 328, 926, 453, 295, 268,  272, 502, 4020, 268}},
        {"The capital of France is",
         {268, 347, 942,  347, 4012, 414,  4012, 4037, 295, 268,  347, 4012, 414,  4012, 4037, 295,
          268, 347, 4012, 414, 4012, 4037, 295,  268,  347, 4012, 414, 4012, 4037, 295,  268,  347}},
        {"To install the package, run",
         {268, 1449, 4020, 302, 268, 1449, 4015, 13, 13, 600, 1449, 306, 268, 1449, 4015, 13,
          13,  600,  1449, 306, 268, 1449, 4015, 13, 13, 600, 1449, 306, 268, 1449, 4015, 13}},
        {"Alice was beginning to get very tired of sitting by her sister on the bank,",
         {302, 268, 289, 3781, 295, 268, 289, 3781, 295, 268, 289, 3781, 295, 268, 289, 3781,
          295, 268, 289, 3781, 295, 268, 289, 3781, 295, 268, 289, 3781, 295, 268, 289, 3781}},
        {"The special number for river is 48213. The sky is blue. What is the special number for river? "
         "The special number for river is",
         {3998, 4057, 4071, 4042, 4034, 4050, 4015, 13,  371,  1866, 827, 324, 400, 975, 306,  3998,
          4057, 4071, 4042, 4034, 4050, 4015, 13,   371, 1866, 827,  324, 400, 975, 306, 3998, 4057}},
    };
    for (size_t i = slow ? 4 : 0; i < PITH_COUNT(known); i++) {
        token_list prompt = tokens(known[i].prompt), want = {0};
        ok(token_list_append(ctx, &want, known[i].ids, 32));
        generate_options o = {
            .how = sampling_defaults(), .max_tokens = 32, .cache = LM_CACHE_F16, .draft = DRAFT_SUFFIX};
        o.how.temperature = 0;
        expect_run(mini, o, &prompt, &want);
        token_list_free(ctx, &prompt);
        token_list_free(ctx, &want);
    }
}

/* ---- small models of every kind ---- */

typedef struct small {
    tiny_file file;
    tensor_file *tensors;
    lm_model *model;
} small;

static void open_small(small *s, const tiny_variant *v) {
    memset(s, 0, sizeof *s);
    ok(tiny_build(ctx, &s->file, v, NULL));
    ok(tensor_file_open_memory(ctx, s->file.out.data, s->file.out.size, &s->tensors));
    ok(lm_open_file(ctx, s->tensors, &s->model));
}

static void close_small(small *s) {
    lm_close(ctx, s->model);
    tensor_file_close(ctx, s->tensors);
    pith_buffer_free(ctx, &s->file.out);
}

static void every_architecture_takes_drafts(void **state) {
    (void)state;
    small other;
    open_small(&other, &tiny_variants[0]); /* drafts that are mostly wrong */
    for (size_t i = 0; i < PITH_COUNT(tiny_variants); i++) {
        small s;
        open_small(&s, &tiny_variants[i]);
        uint32_t ids[] = {3, 17, 5, 3, 17, 5, 3, 17};
        token_list prompt = {ids, PITH_COUNT(ids), PITH_COUNT(ids)};
        for (unsigned k = 0; k < 2; k++) {
            sampling how = sampling_defaults();
            how.temperature = k ? 0.5f : 0;
            token_list want = one_by_one(s.model, &how, LM_CACHE_F32, &prompt, 50);
            generate_options o = {.how = how, .max_tokens = 50, .draft_min_p = 1e-6f, .draft_offset = 3};
            for (unsigned draft = DRAFT_NONE; draft <= DRAFT_MODEL + 1; draft++) {
                o.draft = (draft_kind)PITH_MIN(draft, (unsigned)DRAFT_MODEL);
                o.draft_model = draft > DRAFT_MODEL ? other.model : s.model;
                expect_run(s.model, o, &prompt, &want);
            }
            token_list_free(ctx, &want);
        }
        close_small(&s);
    }
    close_small(&other);
}

static void another_vocabulary_is_refused(void **state) {
    (void)state;
    small s;
    generator *g;
    open_small(&s, &tiny_variants[0]);
    generate_options o = {.how = sampling_defaults(), .draft = DRAFT_MODEL, .draft_model = s.model};
    assert_int_equal(generator_new(ctx, mini, &o, &g), PITH_E_ARGUMENT);
    assert_null(g);
    assert_string_equal(pith_error(ctx), "the draft model has 40 tokens, the model 4096");
    pith_begin(ctx);
    o.draft_model = NULL;
    assert_int_equal(generator_new(ctx, mini, &o, &g), PITH_E_ARGUMENT);
    pith_begin(ctx);
    o.draft = DRAFT_SUFFIX;
    o.max_draft = 65;
    assert_int_equal(generator_new(ctx, mini, &o, &g), PITH_E_ARGUMENT);
    pith_begin(ctx);
    close_small(&s);
}

/* ---- ends ---- */

typedef struct listener {
    char text[4096];
    size_t size, n_tokens, most_tokens;
} listener;

static bool hear(void *opaque, const char *text, size_t size) {
    listener *l = opaque;
    assert_true(l->size + size < sizeof l->text);
    memcpy(l->text + l->size, text, size);
    l->size += size;
    l->text[l->size] = 0;
    return true;
}

static bool count(void *opaque, uint32_t id) {
    listener *l = opaque;
    (void)id;
    return ++l->n_tokens != l->most_tokens;
}

static generate_stats run_once(generate_options o, const char *text, listener *l) {
    generator *g;
    generate_stats s;
    token_list prompt = tokens(text);
    o.how = sampling_defaults();
    o.how.temperature = 0;
    o.on_text = hear;
    o.on_token = count;
    o.opaque = l;
    l->size = l->n_tokens = 0;
    l->text[0] = 0;
    ok(generator_new(ctx, mini, &o, &g));
    ok(generator_run(g, prompt.id, prompt.n, NULL, &s));
    generator_free(g);
    token_list_free(ctx, &prompt);
    assert_int_equal(s.n_tokens, l->n_tokens);
    return s;
}

static void texts_end_where_they_should(void **state) {
    (void)state;
    static listener l;
    const char *prompt = "To install the package, run";
    /* " the package, and the package.\n\nThe package is the package.\n\n..." */
    for (unsigned draft = DRAFT_NONE; draft <= DRAFT_MODEL; draft++) {
        generate_options o = {.draft = (draft_kind)draft, .draft_model = mini, .cache = LM_CACHE_F16, .max_tokens = 40};
        generate_stats s = run_once(o, prompt, &l);
        assert_int_equal(s.end, GENERATE_LENGTH);
        assert_int_equal(s.n_tokens, 40);
        assert_non_null(strstr(l.text, " the package, and the package.\n\nThe package is the package."));

        const byte_string stops[] = {{"nowhere", 7}, {"ckage is", 8}};
        o.stops = stops;
        o.n_stops = 2;
        s = run_once(o, prompt, &l);
        assert_int_equal(s.end, GENERATE_STRING);
        assert_int_equal(s.stop, 1);
        assert_string_equal(l.text, " the package, and the package.\n\nThe pa");

        const uint32_t line_feed = 13;
        o.n_stops = 0;
        o.stop_tokens = &line_feed;
        o.n_stop_tokens = 1;
        s = run_once(o, prompt, &l);
        assert_int_equal(s.end, GENERATE_TOKEN);
        assert_string_equal(l.text, " the package, and the package.");

        o.n_stop_tokens = 0;
        o.max_tokens = 0;
        o.n_ctx = 20;
        s = run_once(o, prompt, &l);
        assert_int_equal(s.end, GENERATE_CONTEXT);
        assert_int_equal(s.n_prompt + s.n_tokens, 20);

        o.n_ctx = 100;
        l.most_tokens = 9;
        s = run_once(o, prompt, &l);
        assert_int_equal(s.end, GENERATE_CANCELLED);
        assert_int_equal(s.n_tokens, 9);
        l.most_tokens = 0;
    }
}

static int stop_at_once(void *opaque, uint64_t done, uint64_t total) {
    (void)opaque, (void)done, (void)total;
    return 1;
}

static void failures_leave_it_usable(void **state) {
    (void)state;
    generator *g;
    generate_stats s;
    token_list prompt = tokens("Once upon a time"), first = {0}, again = {0};
    generate_options o = {.how = sampling_defaults(), .max_tokens = 12, .n_ctx = 30, .draft = DRAFT_SUFFIX};
    ok(generator_new(ctx, mini, &o, &g));
    ok(generator_run(g, prompt.id, prompt.n, &first, &s));
    uint32_t many[40] = {1};
    assert_int_equal(generator_run(g, many, 0, NULL, &s), PITH_E_ARGUMENT);
    assert_int_equal(generator_run(g, many, 30, NULL, &s), PITH_E_LIMIT);
    many[3] = 4096;
    assert_int_equal(generator_run(g, many, 8, NULL, &s), PITH_E_ARGUMENT);
    pith_ctx_set_progress(ctx, stop_at_once, NULL);
    many[3] = 0;
    assert_int_equal(generator_run(g, many, 8, NULL, &s), PITH_E_CANCELLED);
    assert_int_equal(s.end, GENERATE_CANCELLED);
    pith_ctx_set_progress(ctx, NULL, NULL);
    pith_begin(ctx);
    const uint32_t strange[] = {751, 100000, 4096, 751, 100000}; /* of another vocabulary: drafts stop there */
    generator_remember(g, strange, 5);
    ok(generator_run(g, prompt.id, prompt.n, &again, &s));
    expect_ids(&again, first.id, first.n);
    generator_forget(g);
    generator_free(g);
    token_list_free(ctx, &prompt);
    token_list_free(ctx, &first);
    token_list_free(ctx, &again);
}

/* ---- no memory ---- */

static void every_allocation_may_fail(void **state) {
    (void)state;
    static const uint32_t prompt[] = {1, 100, 200, 300, 100, 200, 300, 100, 200};
    const uint32_t end_token = 5;
    for (unsigned draft = DRAFT_SUFFIX; draft <= DRAFT_MODEL; draft++) {
        pith_status status = PITH_E_MEMORY;
        for (long n = 1; status; n++) {
            assert_true(n < 400);
            data_heap heap = {.fail_at = n};
            const pith_allocator allocator = data_heap_allocator(&heap);
            pith_ctx *poor = pith_ctx_new(&allocator);
            if (!poor) continue;
            generator *g;
            generate_stats stats;
            token_list out = {0};
            generate_options o = {.how = sampling_defaults(),
                                  .max_tokens = 6,
                                  .n_ctx = 20,
                                  .n_threads = 1,
                                  .max_draft = 4,
                                  .draft = (draft_kind)draft,
                                  .draft_model = mini,
                                  .past_tokens = 200,
                                  .ignore_end = true,
                                  .stop_tokens = &end_token,
                                  .n_stop_tokens = 1};
            status = generator_new(poor, mini, &o, &g);
            if (!status) status = generator_run(g, prompt, PITH_COUNT(prompt), &out, &stats);
            if (status) assert_int_equal(status, PITH_E_MEMORY);
            generator_free(g);
            token_list_free(poor, &out);
            assert_int_equal(pith_memory_used(poor), 0);
            pith_ctx_free(poor);
            assert_int_equal(atomic_load(&heap.held), 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drafts_change_nothing),
        cmocka_unit_test(a_draft_model_that_is_the_model_is_always_right),
        cmocka_unit_test(built_in_model_writes_as_in_llama_cpp),
        cmocka_unit_test(every_architecture_takes_drafts),
        cmocka_unit_test(another_vocabulary_is_refused),
        cmocka_unit_test(texts_end_where_they_should),
        cmocka_unit_test(failures_leave_it_usable),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
