/* Items with a rule behind them: the same for the same seed, well formed, and the right answer is what the rule says
 * when it is worked out again from the text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lm/ruler/patterns.h"

static void check_form(const ruler_items *a, const ruler_items *b, uint32_t n_choices) {
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        const ruler_item *item = &a->at[i];
        assert_string_equal(item->context, b->at[i].context);
        assert_int_equal(item->n_choices, n_choices);
        assert_true(item->answer < n_choices);
        for (uint32_t k = 0; k < n_choices; k++) {
            assert_int_equal(item->choices[k][0], ' ');
            for (uint32_t j = 0; j < k; j++) assert_string_not_equal(item->choices[j], item->choices[k]);
        }
    }
}

static const char *right_of(const ruler_item *item) { return item->choices[item->answer] + 1; }

/* "The special number for KEY is VALUE." with the key of the question */
static void check_lookup(const ruler_item *item) {
    char key[32], fact[96];
    assert_int_equal(sscanf(strstr(item->context, "What is the special number for "),
                            "What is the special number for %31[a-z]", key),
                     1);
    snprintf(fact, sizeof fact, "The special number for %s is %s.", key, right_of(item));
    assert_non_null(strstr(item->context, fact));
}

/* Of the people in the text, the last one before the pronoun that it can stand for. */
static void check_coreference(const ruler_item *item) {
    static const char women[] = "Anna Mary Jane Lucy Emma Ruth Alice Clara";
    const char *she = strstr(item->context, " She "), *he = strstr(item->context, " He "), *at = she ? she : he;
    assert_true((she != NULL) != (he != NULL));
    const char *best = NULL, *last = NULL;
    for (uint32_t k = 0; k < item->n_choices; k++) {
        const char *name = item->choices[k] + 1, *place = strstr(item->context, name);
        assert_non_null(place);
        assert_true(place < at);
        if ((strstr(women, name) != NULL) == (she != NULL) && (!last || place > last)) last = place, best = name;
    }
    assert_string_equal(best, right_of(item));
}

/* The value in the last sentence that names the slot. */
static void check_slots(const ruler_item *item) {
    char slot[32];
    const char *question = strstr(item->context, "Question: what is the "), *last = NULL;
    assert_int_equal(sscanf(question, "Question: what is the %31[a-z]", slot), 1);
    for (const char *p = item->context; (p = strstr(p, slot)) && p < question; p++) last = p;
    assert_non_null(last);
    const char *end = strchr(last, '.'), *value = end;
    while (value[-1] != ' ') value--;
    assert_int_equal((size_t)(end - value), strlen(right_of(item)));
    assert_memory_equal(value, right_of(item), (size_t)(end - value));
}

static void test_patterns(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    static void (*const checks[RULER_PATTERNS])(const ruler_item *) = {check_lookup, check_coreference, check_slots};
    for (unsigned p = 0; p < RULER_PATTERNS; p++) {
        ruler_items a, b, c;
        assert_int_equal(ruler_pattern_items(ctx, (ruler_pattern)p, 200, 7, &a), PITH_OK);
        assert_int_equal(ruler_pattern_items(ctx, (ruler_pattern)p, 200, 7, &b), PITH_OK);
        assert_int_equal(ruler_pattern_items(ctx, (ruler_pattern)p, 200, 8, &c), PITH_OK);
        check_form(&a, &b, 4);
        size_t differ = 0, answers[4] = {0};
        for (size_t i = 0; i < a.n; i++) {
            checks[p](&a.at[i]);
            answers[a.at[i].answer]++;
            differ += strcmp(a.at[i].context, c.at[i].context) != 0;
        }
        assert_true(differ > 190);
        for (unsigned k = 0; k < 4; k++) assert_true(answers[k] > 25);
        pith_buffer text = {0};
        assert_int_equal(ruler_items_text(ctx, &a, &text), PITH_OK);
        size_t lines = 0;
        for (size_t i = 0; i < text.size; i++) lines += text.data[i] == '\n';
        assert_int_equal(lines, a.n);
        pith_buffer_free(ctx, &text);
        ruler_items_free(ctx, &a);
        ruler_items_free(ctx, &b);
        ruler_items_free(ctx, &c);
        assert_int_equal(ruler_pattern_items(ctx, (ruler_pattern)p, 0, 7, &a), PITH_E_ARGUMENT);
    }
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

static void test_facts(void **state) {
    (void)state;
    pith_ctx *ctx = pith_ctx_new(NULL);
    ruler_facts facts, again;
    assert_int_equal(ruler_facts_make(ctx, 90, 3, &facts), PITH_OK);
    assert_int_equal(ruler_facts_make(ctx, 90, 3, &again), PITH_OK);
    for (size_t i = 0; i < facts.n; i++) {
        assert_string_equal(facts.at[i].entity, again.at[i].entity);
        assert_int_equal(facts.at[i].value, again.at[i].value);
        /* no entity has an attribute twice */
        for (size_t k = 0; k < i; k++)
            assert_true(facts.at[i].attribute != facts.at[k].attribute ||
                        strcmp(facts.at[i].entity, facts.at[k].entity) != 0);
    }
    ruler_items closed, open;
    assert_int_equal(ruler_facts_items(ctx, &facts, 0, 5, &closed), PITH_OK);
    assert_int_equal(ruler_facts_items(ctx, &again, 4, 5, &open), PITH_OK);
    assert_int_equal(closed.n, facts.n);
    for (size_t i = 0; i < facts.n; i++) {
        const char *question = closed.at[i].context, *context = open.at[i].context;
        assert_int_equal(closed.at[i].n_choices, RULER_FACT_VALUES);
        assert_string_equal(right_of(&closed.at[i]), right_of(&open.at[i]));
        assert_null(strstr(question, right_of(&closed.at[i])));
        /* the question stands behind four sentences, one of which holds its name and the answer */
        size_t n = strlen(context), q = strlen(question);
        assert_true(n > q);
        assert_string_equal(context + n - q, question);
        bool told = false;
        unsigned sentences = 0;
        for (const char *p = context; p < context + n - q; sentences++) {
            const char *end = strchr(p, '.');
            char sentence[160];
            snprintf(sentence, sizeof sentence, "%.*s", (int)(end - p), p);
            told = told || (strstr(sentence, facts.at[i].entity) && strstr(sentence, right_of(&open.at[i])));
            p = end + 2;
        }
        assert_true(told);
        assert_int_equal(sentences, 4);
    }
    pith_buffer text = {0};
    assert_int_equal(ruler_facts_text(ctx, &facts, 9, &text), PITH_OK);
    assert_int_equal(pith_buffer_append(ctx, &text, "", 1), PITH_OK);
    for (size_t i = 0; i < facts.n; i++) assert_non_null(strstr((const char *)text.data, facts.at[i].entity));
    pith_buffer_free(ctx, &text);
    ruler_items_free(ctx, &closed);
    ruler_items_free(ctx, &open);
    ruler_facts_free(ctx, &facts);
    ruler_facts_free(ctx, &again);

    /* as many as there are names, and not one more */
    assert_int_equal(ruler_facts_make(ctx, RULER_MAX_FACTS, 1, &facts), PITH_OK);
    ruler_facts_free(ctx, &facts);
    assert_int_equal(ruler_facts_make(ctx, RULER_MAX_FACTS + 1, 1, &facts), PITH_E_ARGUMENT);
    assert_int_equal(ruler_facts_make(ctx, 0, 1, &facts), PITH_E_ARGUMENT);
    assert_int_equal(ruler_facts_make(ctx, 8, 1, &facts), PITH_OK);
    assert_int_equal(ruler_facts_items(ctx, &facts, 17, 1, &open), PITH_E_ARGUMENT);
    ruler_facts_free(ctx, &facts);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_patterns), cmocka_unit_test(test_facts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
