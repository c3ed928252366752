/* The built-in texts: where each primer begins and ends, and which is chosen for what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "artefacts/file/primer.h"
#include "support/file_data.h"

/* Lengths of the files in models/prime/. Texts never change, so neither do these. */
enum { ENGLISH = 208949, MARKUP = 13665, CODE = 19952, LOG = 30143, PAGE = 24576, PAGES = 49152, LEAVES = 32768, BRIEF = 81920 };
enum { BLOCK = 30000 };

static size_t size_of(primer_id id) {
    size_t n = SIZE_MAX;
    assert_non_null(primer_text(id, &n));
    return n;
}

static void primers_have_their_lengths(void **state) {
    (void)state;
    assert_int_equal(size_of(PRIMER_NONE), 0);
    assert_int_equal(size_of(PRIMER_PROSE_SHORT), BRIEF);
    assert_int_equal(size_of(PRIMER_PROSE), ENGLISH);
    assert_int_equal(size_of(PRIMER_MARKUP), PAGE + MARKUP);
    assert_int_equal(size_of(PRIMER_CODE), PAGE + MARKUP + CODE);
    assert_int_equal(size_of(PRIMER_LOG), LOG);
    assert_int_equal(size_of(PRIMER_PROSE_PAGES), PAGES);
    assert_int_equal(size_of(PRIMER_PROSE_LEAVES), LEAVES);
    assert_int_equal(size_of(PRIMER_COUNT), 0);
    for (primer_id id = PRIMER_NONE; id < PRIMER_COUNT; id++) assert_true(size_of(id) <= primer_longest());
    assert_int_equal(primer_longest(), ENGLISH);
}

static void primers_share_their_texts(void **state) {
    (void)state;
    size_t n[PRIMER_COUNT];
    const uint8_t *t[PRIMER_COUNT];
    for (primer_id id = PRIMER_NONE; id < PRIMER_COUNT; id++) t[id] = primer_text(id, &n[id]);
    const uint8_t *prose_end = t[PRIMER_PROSE] + n[PRIMER_PROSE];
    assert_ptr_equal(t[PRIMER_PROSE_SHORT] + n[PRIMER_PROSE_SHORT], prose_end);
    assert_ptr_equal(t[PRIMER_MARKUP] + PAGE, prose_end);
    assert_ptr_equal(t[PRIMER_CODE], t[PRIMER_MARKUP]);
    assert_ptr_equal(t[PRIMER_CODE] + n[PRIMER_CODE], t[PRIMER_LOG]);
    for (primer_id id = PRIMER_PROSE_SHORT; id < PRIMER_COUNT; id++) {
        assert_int_equal(t[id][n[id] - 1], '\n');
        for (size_t i = 0; i < n[id]; i++)
            assert_true(t[id][i] == '\n' || t[id][i] == '\t' || (t[id][i] >= ' ' && t[id][i] < 127));
    }
}

/* The bytes are part of the format. */
static void primers_have_not_changed(void **state) {
    (void)state;
    static const uint64_t hash[PRIMER_COUNT] = {0x2D06800538D394C2, 0xDE240A40E544A479, 0x363690AA6CCA7F54,
                                                0x9D9EFCBC3E5F0DA1, 0x9CF8779CE61B61D2, 0x80D5D6EFF0D1CB71,
                                                0xDAB2E079AA02AED3, 0x694EA32D601C8C39};
    for (primer_id id = PRIMER_NONE; id < PRIMER_COUNT; id++) {
        size_t n;
        const uint8_t *t = primer_text(id, &n);
        uint64_t is = pith_hash64(t, n);
        if (is != hash[id]) fail_msg("primer %d is 0x%016llX", (int)id, (unsigned long long)is);
    }
}

/* ---- the choice ---------------------------------------------------------------- */

static const char *const prose[] = {
    "The old man closed the door behind him and walked slowly down the road towards the village. ",
    "She had never thought that he would come back, and yet there he stood in the rain. ",
    "It was a long winter, and nobody in the house spoke of what had happened. ",
    "\"I do not know,\" she said, \"whether it would be wise to ask them about it.\"\n",
};
static const char *const code[] = {
    "static int read_%u(struct input *in, unsigned char *buf, size_t len) {\n    if (len > in->size) return -1;\n",
    "    for (int i = 0; i < %u; i++) {\n        sum += table[i] * weight[i];\n    }\n    return sum;\n}\n",
    "#include <stdlib.h>\n#define LIMIT_%u 100\n\n/* see below */\nint main(int argc, char **argv) {\n",
    "    if (node->left == NULL && node->right == NULL) {\n        free(node);\n        node = NULL;  // %u\n    }\n",
};
static const char *const markup[] = {
    "<tr><td class=\"name\"><a href=\"/item/%u.html\">Item</a></td><td align=\"right\">12</td></tr>\n",
    "<div class=\"section\" id=\"s%u\">\n<h2>Contents</h2>\n<p>Some <b>bold</b> text.</p>\n</div>\n",
    "<link rel=\"stylesheet\" type=\"text/css\" href=\"style%u.css\">\n<meta name=\"author\" content=\"none\">\n",
    "<ul>\n<li><a href=\"http://www.example.com/%u\">first</a></li>\n<li>second</li>\n</ul>\n",
};
static const char *const logs[] = {
    "Mar  3 09:14:%02u heron sshd(pam_unix)[4127]: authentication failure; uid=0 euid=0 tty=ssh rhost=10.0.4.9\n",
    "[Thu Mar 03 09:15:%02u 2011] [error] [client 10.0.4.9] File does not exist: /srv/www/favicon.ico\n",
    "2011-03-03 09:16:%02u,310 INFO [worker-2] store.BlockStore: Received block 8841 of size 4096 from /10.0.4.9\n",
    "Mar  3 09:17:%02u heron kernel: eth0: link up, 1000 Mbps, full duplex\n",
};

static void write_lines(uint8_t *p, size_t n, const char *const *lines, uint32_t seed) {
    uint32_t r = seed;
    for (size_t at = 0; at < n;) {
        char line[256];
        data_random(&r);
        snprintf(line, sizeof line, lines[r >> 30], r >> 8 & 31);
        for (const char *c = line; *c && at < n; c++) p[at++] = (uint8_t)*c;
    }
}

static primer_id chosen(const uint8_t *data, size_t n, primer_effort effort) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    primer_id id = PRIMER_COUNT;
    assert_int_equal(primer_choose(ctx, data, n, effort, &id), PITH_OK);
    assert_int_equal(pith_memory_used(ctx), 0);
    pith_ctx_free(ctx);
    return id;
}

static void each_kind_gets_its_primer(void **state) {
    (void)state;
    static const struct {
        const char *const *lines;
        primer_id full, brief;
    } kinds[] = {{prose, PRIMER_PROSE, PRIMER_PROSE_SHORT},
                 {code, PRIMER_CODE, PRIMER_CODE},
                 {markup, PRIMER_MARKUP, PRIMER_MARKUP},
                 {logs, PRIMER_LOG, PRIMER_LOG}};
    static const size_t sizes[] = {400, 3000, BLOCK};
    uint8_t block[BLOCK];
    for (size_t k = 0; k < PITH_COUNT(kinds); k++)
        for (size_t s = 0; s < PITH_COUNT(sizes); s++) {
            write_lines(block, sizes[s], kinds[k].lines, (uint32_t)(s + 1));
            assert_int_equal(chosen(block, sizes[s], PRIMER_WHOLE), kinds[k].full);
            assert_int_equal(chosen(block, sizes[s], PRIMER_BRIEF), kinds[k].brief);
        }
}

/* Middling blocks of prose get the shorter one, where a short one is asked for. */
static void the_size_decides_how_short(void **state) {
    (void)state;
    static const struct {
        size_t n;
        primer_id quick, brief;
    } sizes[] = {{98303, PRIMER_PROSE_SHORT, PRIMER_PROSE_SHORT},
                 {98304, PRIMER_PROSE_LEAVES, PRIMER_PROSE_PAGES},
                 {245759, PRIMER_PROSE_LEAVES, PRIMER_PROSE_PAGES},
                 {245760, PRIMER_PROSE_SHORT, PRIMER_PROSE_SHORT}};
    uint8_t *text = malloc(245760);
    assert_non_null(text);
    write_lines(text, 245760, prose, 3);
    for (size_t i = 0; i < PITH_COUNT(sizes); i++) {
        assert_int_equal(chosen(text, sizes[i].n, PRIMER_QUICK), sizes[i].quick);
        assert_int_equal(chosen(text, sizes[i].n, PRIMER_BRIEF), sizes[i].brief);
        assert_int_equal(chosen(text, sizes[i].n, PRIMER_WHOLE), PRIMER_PROSE);
    }
    free(text);
}

static void a_text_chooses_itself(void **state) {
    (void)state;
    static const primer_id own[] = {PRIMER_PROSE, PRIMER_LOG};
    for (size_t i = 0; i < PITH_COUNT(own); i++) {
        size_t n;
        const uint8_t *t = primer_text(own[i], &n);
        assert_int_equal(chosen(t, n, PRIMER_WHOLE), own[i]);
    }
    size_t n;
    const uint8_t *t = primer_text(PRIMER_MARKUP, &n);
    assert_int_equal(chosen(t + PAGE, n - PAGE, PRIMER_WHOLE), PRIMER_MARKUP);
    t = primer_text(PRIMER_CODE, &n);
    assert_int_equal(chosen(t + PAGE + MARKUP, n - PAGE - MARKUP, PRIMER_WHOLE), PRIMER_CODE);
}

static void what_is_no_text_gets_none(void **state) {
    (void)state;
    uint8_t block[BLOCK];
    data_fill(block, BLOCK, DATA_RANDOM, 3);
    assert_int_equal(chosen(block, BLOCK, PRIMER_WHOLE), PRIMER_NONE);
    assert_int_equal(chosen(block, BLOCK, PRIMER_BRIEF), PRIMER_NONE);
    data_fill(block, BLOCK, DATA_RECORDS, 3);
    assert_int_equal(chosen(block, BLOCK, PRIMER_WHOLE), PRIMER_NONE);
    data_fill(block, BLOCK, DATA_ZEROS, 3);
    assert_int_equal(chosen(block, BLOCK, PRIMER_WHOLE), PRIMER_NONE);
}

/* Short blocks have next to nothing to go by; exact sizes let a sanitizer see reads past them. */
static void any_size_will_do(void **state) {
    (void)state;
    for (size_t n = 0; n < 12; n++) {
        uint8_t *block = malloc(n ? n : 1);
        assert_non_null(block);
        memset(block, 'e', n);
        primer_id id = chosen(block, n, PRIMER_WHOLE);
        if (n < 3) assert_int_equal(id, PRIMER_NONE);
        assert_true(id < PRIMER_COUNT);
        free(block);
    }
    /* a big one is judged by its middle */
    size_t n = 300000;
    uint8_t *block = malloc(n);
    assert_non_null(block);
    data_fill(block, n, DATA_RANDOM, 1);
    write_lines(block + n / 2 - 40000, 80000, prose, 3);
    assert_int_equal(chosen(block, n, PRIMER_WHOLE), PRIMER_PROSE);
    free(block);
}

static void failing_memory_is_an_error(void **state) {
    (void)state;
    uint8_t block[1000];
    write_lines(block, sizeof block, code, 3);
    data_heap heap = {.fail_at = 1}; /* call 0 is the session */
    pith_ctx *ctx = pith_ctx_new(&(pith_allocator){data_heap_alloc, data_heap_free, &heap});
    primer_id id = PRIMER_CODE;
    assert_int_equal(primer_choose(ctx, block, sizeof block, false, &id), PITH_E_MEMORY);
    assert_int_equal(id, PRIMER_NONE);
    assert_true(pith_error(ctx)[0] != 0);
    heap.fail_at = -1;
    pith_begin(ctx);
    pith_ctx_set_memory(ctx, 1000);
    assert_int_equal(primer_choose(ctx, block, sizeof block, false, &id), PITH_E_LIMIT);
    pith_ctx_set_memory(ctx, 0);
    pith_begin(ctx);
    assert_int_equal(primer_choose(ctx, block, sizeof block, false, &id), PITH_OK);
    assert_int_equal(id, PRIMER_CODE);
    pith_ctx_free(ctx);
    assert_int_equal(atomic_load(&heap.held), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(primers_have_their_lengths), cmocka_unit_test(primers_share_their_texts),
        cmocka_unit_test(primers_have_not_changed),   cmocka_unit_test(each_kind_gets_its_primer),
        cmocka_unit_test(the_size_decides_how_short), cmocka_unit_test(a_text_chooses_itself),      cmocka_unit_test(what_is_no_text_gets_none),
        cmocka_unit_test(any_size_will_do),           cmocka_unit_test(failing_memory_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
