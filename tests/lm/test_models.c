/* Public models, when PITH_TEST_MODELS names a folder that has them: RWKV-4 against the logits
 * its makers publish, llama2.c's story models by the beginnings that llama.cpp continues alike. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "lm/lm.h"
#include "support/session.h"

/* NULL when the file is not there. */
static lm_model *open_model(const char *name) {
    const char *folder = getenv("PITH_TEST_MODELS");
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder ? folder : "", name);
    FILE *there = folder ? fopen(path, "rb") : NULL;
    if (!there) return NULL;
    fclose(there);
    lm_model *m;
    if (lm_open(ctx, path, &m)) fail_msg("%s: %s", name, pith_error(ctx));
    return m;
}

/* rwkv.cpp, tests/logit_difference_validator.inc: the prompt is "in with its quotation mark. */
static void test_rwkv4(void **state) {
    (void)state;
    lm_model *m = open_model("tiny-rwkv-4v0-660K-FP32.bin");
    char path[1024];
    snprintf(path, sizeof path, "%s/expected-logits-4v0-660K.bin", m ? getenv("PITH_TEST_MODELS") : "");
    FILE *f = m ? fopen(path, "rb") : NULL;
    if (!f) {
        lm_close(ctx, m);
        skip();
    }
    float expected[256];
    assert_int_equal(fread(expected, sizeof *expected, 256, f), 256);
    fclose(f);
    lm_session *s;
    assert_int_equal(lm_session_new(ctx, m, NULL, &s), PITH_OK);
    assert_int_equal(lm_eval(s, (lm_token[]){{'"', 0, false}, {'i', 0, false}, {'n', 0, true}}, 3), PITH_OK);
    for (size_t i = 0; i < 256; i++)
        if (!(fabsf(lm_logits(s, 0)[i] - expected[i]) < 1e-5f))
            fail_msg("logit %zu is %.7g, not %.7g", i, (double)lm_logits(s, 0)[i], (double)expected[i]);
    lm_session_free(s);
    lm_close(ctx, m);
}

static void continues(const char *name, const uint32_t *prompt, size_t n_prompt, const uint32_t *then, size_t n_then) {
    lm_model *m = open_model(name);
    if (!m) skip();
    lm_session *s;
    assert_int_equal(lm_session_new(ctx, m, &(lm_session_options){.max_batch = 32, .max_logits = 1}, &s), PITH_OK);
    lm_token tokens[32];
    for (size_t i = 0; i < n_prompt; i++) tokens[i] = (lm_token){prompt[i], 0, i + 1 == n_prompt};
    if (lm_eval(s, tokens, n_prompt)) fail_msg("%s", pith_error(ctx));
    for (size_t i = 0; i < n_then; i++) {
        uint32_t best = lm_argmax(lm_logits(s, 0), lm_about(m)->n_vocab);
        if (best != then[i]) fail_msg("%s: token %zu is %u, not %u", name, i, best, then[i]);
        if (lm_eval(s, &(lm_token){best, 0, true}, 1)) fail_msg("%s", pith_error(ctx));
    }
    lm_session_free(s);
    lm_close(ctx, m);
}

static void test_stories260K(void **state) {
    (void)state;
    static const uint32_t prompt[] = {1, 403, 407, 261, 378}; /* Once upon a time */
    static const uint32_t then[] = {432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396, 267, 337,
                                    410, 408, 419, 292, 411, 322, 265, 282, 295, 433, 426, 385, 328, 432, 358, 394,
                                    261, 370, 432, 352, 266, 268, 388, 426, 338, 391, 266, 267, 337, 335, 312, 432,
                                    398, 312, 286, 267, 414, 270, 333, 415, 426, 13,  438, 310, 439, 419, 357, 336};
    continues("stories260K.bin", prompt, PITH_COUNT(prompt), then, PITH_COUNT(then));
}

static void test_stories15M(void **state) {
    (void)state;
    static const uint32_t prompt[] = {1, 9038, 2501, 263, 931, 29892}; /* Once upon a time, */
    static const uint32_t then[] = {
        727,   471,   263, 2217,  7826, 4257, 365,   2354,  29889, 2296, 18012, 304,   1708, 5377,  297, 278,
        6575,  845,   457, 29889, 3118, 2462, 29892, 1183,  4446,  263,  4802,  29892, 2654, 8287,  297, 278,
        14744, 29889, 739, 471,   278,  6575, 29991, 2296,  2714,  372,  471,   577,   5051, 29889, 13,  29931,
        2354,  5131,  304, 1708,  411,  278,  8287,  29892, 541,   372,  471,   2086,  1880, 701,   297, 278};
    continues("stories15M.bin", prompt, PITH_COUNT(prompt), then, PITH_COUNT(then));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rwkv4),
        cmocka_unit_test(test_stories260K),
        cmocka_unit_test(test_stories15M),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
