/* Items and prompts: the same for the same seed, well formed, graded as worked out by hand; broken
 * lines of items refused. */
#define _GNU_SOURCE /* memmem */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lm/ruler/ruler.h"

static void test_cloze(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    size_t size;
    const char *text = ruler_filler(&size);
    ruler_items a, b, c;
    assert_int_equal(ruler_cloze(ctx, text, size, 50, 12, 2, 7, &a), PITH_OK);
    assert_int_equal(ruler_cloze(ctx, text, size, 50, 12, 2, 7, &b), PITH_OK);
    assert_int_equal(ruler_cloze(ctx, text, size, 50, 12, 2, 8, &c), PITH_OK);
    assert_int_equal(a.n, 50);
    size_t differ = 0, answers[4] = {0};
    for (size_t i = 0; i < a.n; i++) {
        assert_string_equal(a.at[i].context, b.at[i].context);
        assert_int_equal(a.at[i].answer, b.at[i].answer);
        assert_int_equal(a.at[i].n_choices, 4);
        answers[a.at[i].answer]++;
        differ += strcmp(a.at[i].context, c.at[i].context) != 0;
        for (unsigned k = 0; k < 4; k++) {
            assert_string_equal(a.at[i].choices[k], b.at[i].choices[k]);
            assert_true(a.at[i].choices[k][0] == ' ');
            for (unsigned j = 0; j < k; j++) assert_string_not_equal(a.at[i].choices[k], a.at[i].choices[j]);
        }
        /* the right one goes on in the text */
        pith_buffer whole = {0};
        assert_int_equal(pith_buffer_append(ctx, &whole, a.at[i].context, strlen(a.at[i].context)), PITH_OK);
        const char *right = a.at[i].choices[a.at[i].answer];
        assert_int_equal(pith_buffer_append(ctx, &whole, right, strlen(right) + 1), PITH_OK);
        assert_non_null(strstr(text, (const char *)whole.data));
        pith_buffer_free(ctx, &whole);
    }
    assert_true(differ > 40);
    for (unsigned k = 0; k < 4; k++) assert_true(answers[k] > 3);

    /* as lines and back */
    pith_buffer lines = {0};
    ruler_items back;
    assert_int_equal(ruler_items_write(ctx, &a, &lines), PITH_OK);
    assert_int_equal(ruler_items_read(ctx, (const char *)lines.data, lines.size, &back), PITH_OK);
    assert_int_equal(back.n, a.n);
    for (size_t i = 0; i < a.n; i++) {
        assert_string_equal(back.at[i].context, a.at[i].context);
        assert_string_equal(back.at[i].choices[3], a.at[i].choices[3]);
        assert_int_equal(back.at[i].answer, a.at[i].answer);
    }
    pith_buffer_free(ctx, &lines);
    ruler_items_free(ctx, &a);
    ruler_items_free(ctx, &b);
    ruler_items_free(ctx, &c);
    ruler_items_free(ctx, &back);
    assert_int_equal(ruler_cloze(ctx, "too few words", 13, 5, 0, 0, 1, &a), PITH_E_ARGUMENT);
    static const char same[] = "a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a a";
    assert_int_equal(ruler_cloze(ctx, same, sizeof same - 1, 5, 4, 2, 1, &a), PITH_E_ARGUMENT);
    assert_int_equal(ruler_cloze(ctx, text, size, 0, 0, 0, 1, &a), PITH_E_ARGUMENT);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

static void test_broken_items(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    static const struct {
        const char *text, *word;
    } broken[] = {{"", "no items"},
                  {"\n \n", "no items"},
                  {"{\"context\":\"a\",\"choices\":[\"b\",\"c\"],\"answer\":0}\nnonsense", "line 2"},
                  {"[1]", "no JSON object"},
                  {"{\"choices\":[\"b\",\"c\"],\"answer\":0}", "context"},
                  {"{\"context\":7,\"choices\":[\"b\",\"c\"],\"answer\":0}", "context"},
                  {"{\"context\":\"a\",\"choices\":[\"b\"],\"answer\":0}", "choices"},
                  {"{\"context\":\"a\",\"choices\":{},\"answer\":0}", "choices"},
                  {"{\"context\":\"a\",\"choices\":[\"b\",3],\"answer\":0}", "choice 1"},
                  {"{\"context\":\"a\",\"choices\":[\"b\",\"\"],\"answer\":0}", "choice 1"},
                  {"{\"context\":\"a\",\"choices\":[\"b\",\"c\"],\"answer\":2}", "answer"},
                  {"{\"context\":\"a\",\"choices\":[\"b\",\"c\"],\"answer\":-1}", "answer"},
                  {"{\"context\":\"a\",\"choices\":[\"b\",\"c\"],\"answer\":1.5}", "answer"},
                  {"{\"context\":\"a\",\"context\":\"b\",\"choices\":[\"b\",\"c\"],\"answer\":1}", "line 1"}};
    for (size_t i = 0; i < PITH_COUNT(broken); i++) {
        ruler_items items;
        pith_begin(ctx);
        assert_int_equal(ruler_items_read(ctx, broken[i].text, strlen(broken[i].text), &items), PITH_E_FORMAT);
        if (!strstr(pith_error(ctx), broken[i].word)) fail_msg("%s: %s", broken[i].text, pith_error(ctx));
        assert_int_equal(pith_memory_used(ctx), 0);
    }
    pith_ctx_free(ctx);
}

static size_t count_of(const ruler_needle *n, const char *what) {
    size_t count = 0, length = strlen(what);
    for (size_t i = 0; i + length <= n->prompt.size; i++) count += memcmp(n->prompt.data + i, what, length) == 0;
    return count;
}

static void test_needles(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    for (unsigned kind = 0; kind < 4; kind++)
        for (unsigned phrasing = 0; phrasing < 4; phrasing++)
            for (uint32_t index = 0; index < 5; index++) {
                ruler_needle_options o = {
                    .kind = (ruler_needle_kind)kind, .phrasing = (ruler_phrasing)phrasing, .length = 2500, .depth = -1};
                ruler_needle a, b;
                assert_int_equal(ruler_needle_make(ctx, NULL, &o, 3, index, &a), PITH_OK);
                assert_int_equal(ruler_needle_make(ctx, NULL, &o, 3, index, &b), PITH_OK);
                assert_int_equal(a.prompt.size, b.prompt.size);
                assert_memory_equal(a.prompt.data, b.prompt.data, a.prompt.size);
                assert_true(a.prompt.size <= 2500 && a.prompt.size > 2000);
                assert_int_equal(a.n_answers, kind == RULER_SINGLE || kind == RULER_MULTIKEY ? 1 : 4);
                for (uint32_t i = 0; i < a.n_answers; i++)
                    assert_true(count_of(&a, a.answers[i]) == (kind == RULER_TRACKING && i + 1 < a.n_answers ? 2 : 1));
                ruler_needle_free(ctx, &a);
                ruler_needle_free(ctx, &b);
            }
    /* a known answer: another one would be another task under the same name */
    ruler_needle_options o = {.kind = RULER_SINGLE, .phrasing = RULER_SPECIAL, .length = 400, .depth = 0};
    ruler_needle n;
    assert_int_equal(ruler_needle_make(ctx, NULL, &o, 1, 0, &n), PITH_OK);
    static const char start[] = "The special number for ";
    assert_memory_equal(n.prompt.data, start, sizeof start - 1);
    assert_string_equal(n.answers[0], "36237");
    ruler_needle_free(ctx, &n);
    o.depth = 1;
    assert_int_equal(ruler_needle_make(ctx, NULL, &o, 1, 0, &n), PITH_OK);
    const char *question = memmem(n.prompt.data, n.prompt.size, " What is", 8);
    assert_non_null(question);
    assert_memory_equal(question - 6, "36237.", 6);
    ruler_needle_free(ctx, &n);
    /* limits */
    o.length = 40;
    assert_int_equal(ruler_needle_make(ctx, NULL, &o, 1, 0, &n), PITH_E_ARGUMENT);
    o.length = 400;
    o.digits = 16;
    assert_int_equal(ruler_needle_make(ctx, NULL, &o, 1, 0, &n), PITH_E_ARGUMENT);
    o.digits = 0;
    o.kind = RULER_MULTIKEY;
    o.count = RULER_MAX_NEEDLES + 1;
    assert_int_equal(ruler_needle_make(ctx, NULL, &o, 1, 0, &n), PITH_E_ARGUMENT);
    o.count = 2;
    o.text = "";
    assert_int_equal(ruler_needle_make(ctx, NULL, &o, 1, 0, &n), PITH_E_ARGUMENT);
    /* a haystack without sentences gives the facts alone, and ends */
    char blank[3000];
    memset(blank, ' ', sizeof blank);
    o.text = blank;
    o.text_size = sizeof blank;
    assert_int_equal(ruler_needle_make(ctx, NULL, &o, 1, 0, &n), PITH_OK);
    assert_true(n.prompt.size < 200);
    ruler_needle_free(ctx, &n);
    memset(blank, 'x', sizeof blank);
    assert_int_equal(ruler_needle_make(ctx, NULL, &o, 1, 0, &n), PITH_OK);
    ruler_needle_free(ctx, &n);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

static void test_grade(void **state) {
    (void)state;
    ruler_needle one = {.answers = {"12345"}, .n_answers = 1}, two = {.answers = {"111", "222"}, .n_answers = 2};
    static const struct {
        bool several;
        const char *text;
        double grade;
    } cases[] = {{false, " 12345.", 1},   {false, "12345", 1}, {false, "123456", 0},      {false, " 9 12345", 0},
                 {false, "", 0},          {false, "...", 0},   {true, "222 and 111.", 1}, {true, " 111, 333", 0.5},
                 {true, "1112 222", 0.5}, {true, "none", 0}};
    for (size_t i = 0; i < PITH_COUNT(cases); i++) {
        double grade = ruler_needle_grade(cases[i].several ? &two : &one, cases[i].text, strlen(cases[i].text));
        if (fabs(grade - cases[i].grade) > 1e-12) fail_msg("'%s': %g", cases[i].text, grade);
    }
}

static void test_html(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    static const char text[] = "a<b>&\"'\n\x01\xc3\xa9\xe2\x82\xff\xf0\x9f\x98\x80\xed\xa0\x80\xc0\xaf";
    static const char want[] = "a&#60;b&#62;&#38;&#34;&#39;\n\\x01\xc3\xa9\\xe2\\x82\\xff\xf0\x9f\x98\x80"
                               "\\xed\\xa0\\x80\\xc0\\xaf";
    pith_buffer out = {0};
    assert_int_equal(ruler_html_text(ctx, text, sizeof text - 1, &out), PITH_OK);
    assert_int_equal(out.size, sizeof want - 1);
    assert_memory_equal(out.data, want, out.size);
    pith_buffer_free(ctx, &out);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cloze), cmocka_unit_test(test_broken_items),
                                       cmocka_unit_test(test_needles), cmocka_unit_test(test_grade),
                                       cmocka_unit_test(test_html)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
