/* Answering planted questions by greedy generation, and grading the answers. */
#include "lm/ruler/parts.h"

#define BATCH 256

static bool part_of_word(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

/* The next word at or behind *at; false when there is none. */
static bool next_word(const char *text, size_t size, size_t *at, size_t *n) {
    while (*at < size && !part_of_word(text[*at])) ++*at;
    *n = 0;
    while (*at + *n < size && part_of_word(text[*at + *n])) ++*n;
    return *n > 0;
}

double ruler_needle_grade(const ruler_needle *needle, const char *text, size_t size) {
    if (!needle->n_answers) return 0;
    uint32_t found = 0;
    for (uint32_t i = 0; i < needle->n_answers; i++) {
        const char *answer = needle->answers[i];
        size_t want = strlen(answer);
        bool here = false;
        for (size_t at = 0, n; !here && next_word(text, size, &at, &n); at += n) {
            here = n == want && memcmp(text + at, answer, n) == 0;
            if (needle->n_answers == 1) break; /* what comes first is the answer */
        }
        found += here;
    }
    return (double)found / needle->n_answers;
}

/* Whether more text can still change the grade. */
static bool decided(const ruler_needle *needle, const char *text, size_t size) {
    size_t at = 0, n;
    if (needle->n_answers > 1) return ruler_needle_grade(needle, text, size) >= 1 && !part_of_word(text[size - 1]);
    return next_word(text, size, &at, &n) && at + n < size;
}

static pith_status answer(pith_ctx *ctx, const lm_model *m, lm_session *s, const ruler_needle *needle, token_list *ids,
                          pith_buffer *text) {
    const tokenizer *t = lm_tokenizer(m);
    const tokenizer_info *info = tokenizer_about(t);
    uint32_t n_vocab = lm_about(m)->n_vocab;
    lm_token batch[BATCH];
    ids->n = text->size = 0;
    pith_status status = tokenizer_encode(ctx, t, needle->prompt.data, needle->prompt.size,
                                          info->bos != TOKEN_NONE ? TOKENIZE_BOS : 0, ids);
    if (!status && !ids->n) status = pith_fail(ctx, PITH_E_FORMAT, "a prompt has no tokens");
    if (!status) status = lm_truncate(s, 0, 0);
    for (size_t at = 0; at < ids->n && !status;) {
        size_t n = 0;
        for (; n < BATCH && at < ids->n; n++, at++)
            batch[n] = (lm_token){.id = ids->id[at], .want_logits = at + 1 == ids->n};
        status = lm_eval(s, batch, n);
    }
    for (uint32_t made = 0; made < needle->max_tokens && !status; made++) {
        uint32_t id = lm_argmax(lm_logits(s, 0), n_vocab);
        if (id == info->eos) break;
        status = tokenizer_decode(ctx, t, &id, 1, false, text);
        if (status || (text->size && decided(needle, (const char *)text->data, text->size))) break;
        if (made + 1 == needle->max_tokens) break;
        status = lm_eval(s, &(lm_token){.id = id, .want_logits = true}, 1);
    }
    return status;
}

pith_status ruler_needle_test(pith_ctx *ctx, const lm_model *m, const ruler_needle_options *options, uint64_t seed,
                              uint32_t n, uint32_t n_threads, ruler_needle_fn each, void *opaque,
                              ruler_needle_score *out) {
    *out = (ruler_needle_score){0};
    if (!lm_tokenizer(m)) return lm_no_tokenizer(ctx);
    if (options->length > UINT32_MAX - 128) return pith_fail(ctx, PITH_E_ARGUMENT, "prompts are too long");
    lm_session *s = NULL;
    token_list ids = {0};
    pith_buffer text = {0};
    lm_session_options so = {.n_ctx = options->length + 128,
                             .n_sequences = 1,
                             .max_batch = BATCH,
                             .max_logits = 1,
                             .cache = lm_cache_of(m),
                             .n_threads = n_threads};
    pith_status status = lm_session_new(ctx, m, &so, &s);
    for (uint32_t i = 0; i < n && !status; i++) {
        ruler_needle needle;
        status = ruler_needle_make(ctx, lm_tokenizer(m), options, seed, i, &needle);
        if (status) break;
        status = answer(ctx, m, s, &needle, &ids, &text);
        if (!status) {
            double grade = ruler_needle_grade(&needle, (const char *)text.data, text.size);
            out->n++;
            out->exact += grade >= 1;
            out->recall += grade;
            if (each) each(opaque, &needle, (const char *)text.data, text.size, grade);
            status = pith_tick(ctx, i + 1, n);
        }
        ruler_needle_free(ctx, &needle);
    }
    if (out->n) out->recall /= (double)out->n;
    lm_session_free(s);
    token_list_free(ctx, &ids);
    pith_buffer_free(ctx, &text);
    return status;
}
