/* The codec that names a language model: round trips under every architecture, the same archive for
 * any number of threads, models that are missing or of another kind, headers that understate what
 * decoding takes, damage, and a system without memory. Models are tiny ones made here; the
 * built-in one codes a few words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "artefacts/file/frame.h"
#include "artefacts/file/models.h"
#include "pith/lm.h"
#include "support/file_data.h"
#include "support/tiny_words.h"

enum { ARG_WINDOW, ARG_MIB, ARG_NS, ARG_HASH, ARG_RULES = ARG_HASH + MODEL_HASH_WORDS };
enum { N_MODELS = PITH_COUNT(tiny_variants) };

static char folder[200], model_path[N_MODELS][256], bare_path[256], blocks_path[256];

/* ---- models ------------------------------------------------------------------------------------ */

static void write_file(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void write_model(pith_ctx *ctx, const tiny_variant *v, tensor_type type, bool words, const char *path) {
    tiny_file t = {.type = type};
    assert_int_equal(tiny_build(ctx, &t, v, words ? tiny_words : NULL), PITH_OK);
    write_file(path, t.out.data, t.out.size);
    pith_buffer_free(ctx, &t.out);
}

static int make_models(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/pith-test-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder)) return -1;
    pith_ctx *ctx = pith_ctx_new(NULL);
    for (size_t i = 0; i < N_MODELS; i++) {
        snprintf(model_path[i], sizeof model_path[i], "%s/%zu.gguf", folder, i);
        write_model(ctx, &tiny_variants[i], TENSOR_F32, true, model_path[i]);
    }
    snprintf(bare_path, sizeof bare_path, "%s/bare.gguf", folder);
    write_model(ctx, &tiny_variants[0], TENSOR_F32, false, bare_path);
    snprintf(blocks_path, sizeof blocks_path, "%s/blocks.gguf", folder);
    write_model(ctx, &tiny_variants[0], TENSOR_Q8_0, true, blocks_path);
    pith_ctx_free(ctx);
    return 0;
}

static int remove_models(void **state) {
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++) unlink(model_path[i]);
    unlink(bare_path);
    unlink(blocks_path);
    return rmdir(folder);
}

/* A session that knows the models numbered so, -1 being none. */
static pith_ctx *session(int first, int second) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    assert_non_null(ctx);
    pith_ctx_set_threads(ctx, 1);
    if (first >= 0) assert_int_equal(pith_lm_use(ctx, model_path[first]), PITH_OK);
    if (second >= 0) assert_int_equal(pith_lm_use(ctx, model_path[second]), PITH_OK);
    return ctx;
}

/* ---- archives ---------------------------------------------------------------------------------- */

typedef struct sample {
    uint8_t raw[12000], archive[16000];
    size_t raw_n, n;
} sample;

/* Words the models know, with something between them now and then that they do not. */
static void fill(sample *s, size_t n) {
    s->raw_n = n;
    data_fill(s->raw, n, DATA_TEXT, 5);
    for (size_t i = 97; i < n; i += 300) s->raw[i] = (uint8_t)(0xC3 + i);
}

static void compress(pith_ctx *ctx, sample *s, const char *recipe, size_t block_size) {
    pith_encode_options o;
    pith_encode_options_init(&o);
    o.recipe = recipe;
    o.block_size = block_size;
    pith_status status = pith_file_compress(ctx, &o, s->raw, s->raw_n, s->archive, sizeof s->archive, &s->n);
    if (status) fail_msg("%s: %s", recipe, pith_error(ctx));
}

static pith_status restore(pith_ctx *ctx, const sample *s, const uint8_t *archive, size_t n) {
    static uint8_t out[12000];
    size_t got = 0;
    uint64_t used = pith_memory_used(ctx);
    pith_status status = pith_file_decompress(ctx, NULL, archive, n, out, sizeof out, &got);
    if (status) {
        assert_true(pith_error(ctx)[0] != 0);
        assert_null(strchr(pith_error(ctx), '\n'));
        assert_int_equal(got, 0);
    } else {
        assert_int_equal(got, s->raw_n);
        assert_memory_equal(out, s->raw, got);
    }
    assert_int_equal(pith_memory_used(ctx), used);
    return status;
}

/* What the blocks of an archive say they are made with; all must be. */
static unsigned blocks_of_lm(pith_ctx *ctx, const sample *s) {
    pith_archive *a;
    assert_int_equal(pith_archive_open_memory(ctx, NULL, s->archive, s->n, &a), PITH_OK);
    pith_archive_info info;
    pith_archive_info_get(a, &info);
    for (uint64_t i = 0; i < info.n_blocks; i++) {
        pith_block_info b;
        assert_int_equal(pith_archive_block(a, i, &b), PITH_OK);
        if (strncmp(b.recipe, "lm(", 3)) fail_msg("block %u is %s", (unsigned)i, b.recipe);
    }
    pith_frame_info f;
    assert_int_equal(pith_archive_frame(a, 0, &f), PITH_OK);
    assert_int_equal(f.numerics, FRAME_NUMERICS_LANES16);
    pith_archive_close(a);
    return (unsigned)info.n_blocks;
}

/* The one block of a single frame, taken apart and put together again. */
typedef struct parts {
    frame_header frame;
    block_header block;
    const uint8_t *payload;
} parts;

static parts take_apart(pith_ctx *ctx, const sample *s) {
    parts p;
    size_t used, more;
    bool end;
    assert_int_equal(frame_header_get(ctx, s->archive, s->n, &p.frame, &used), PITH_OK);
    assert_true(p.frame.single);
    assert_int_equal(frame_block_get(ctx, s->archive + used, s->n - used, &p.frame, &p.block, &end, &more), PITH_OK);
    assert_true(more > 0 && !end);
    p.payload = s->archive + used + more;
    return p;
}

static size_t put_together(const parts *p, uint8_t *to) {
    size_t n = frame_header_put(to, &p->frame);
    n += frame_block_put(to + n, &p->block, true);
    memcpy(to + n, p->payload, p->block.coded_n);
    return n + p->block.coded_n;
}

/* ---- what works -------------------------------------------------------------------------------- */

static void every_architecture_round_trips(void **state) {
    (void)state;
    static sample s;
    static const char *const recipes[] = {"lm", "lm(window=16)", "lm(window=3)", "text(words=no) | lm"};
    for (int m = 0; m < N_MODELS; m++)
        for (size_t r = 0; r < PITH_COUNT(recipes); r++) {
            pith_ctx *ctx = session(m, -1);
            fill(&s, 600);
            if (r == 3) memset(s.raw + 90, 'x', 1); /* capitals and escapes of its own are enough for the front end */
            compress(ctx, &s, recipes[r], 0);
            assert_int_equal(restore(ctx, &s, s.archive, s.n), PITH_OK);
            if (r < 3) assert_int_equal(blocks_of_lm(ctx, &s), 1);
            pith_ctx_free(ctx);
        }
}

static void short_and_odd_contents_come_back(void **state) {
    (void)state;
    static sample s;
    static const char *const texts[] = {"", "a", "the ", "the", "<s>", "\xE2\x96\x81", "the \n\xFFtin tin tin tin tin "};
    pith_ctx *ctx = session(0, -1);
    for (size_t i = 0; i < PITH_COUNT(texts); i++) {
        s.raw_n = strlen(texts[i]);
        memcpy(s.raw, texts[i], s.raw_n);
        compress(ctx, &s, "lm", 0);
        assert_int_equal(restore(ctx, &s, s.archive, s.n), PITH_OK);
    }
    for (data_kind kind = 0; kind < DATA_KINDS; kind++) {
        s.raw_n = 2000;
        data_fill(s.raw, s.raw_n, kind, 9);
        compress(ctx, &s, "lm", 0);
        assert_true(s.n <= s.raw_n + 60);
        assert_int_equal(restore(ctx, &s, s.archive, s.n), PITH_OK);
    }
    pith_ctx_free(ctx);
}

static void threads_do_not_show_and_ranges_are_read(void **state) {
    (void)state;
    static sample s, again;
    fill(&s, 9000);
    fill(&again, 9000);
    pith_ctx *ctx = session(0, -1);
    compress(ctx, &s, "lm", 4096);
    assert_int_equal(blocks_of_lm(ctx, &s), 3);
    assert_true(s.n < s.raw_n / 2);
    for (unsigned n_threads = 2; n_threads <= 5; n_threads += 3) {
        pith_ctx_set_threads(ctx, n_threads);
        compress(ctx, &again, "lm", 4096);
        assert_int_equal(again.n, s.n);
        assert_memory_equal(again.archive, s.archive, s.n);
        assert_int_equal(restore(ctx, &s, s.archive, s.n), PITH_OK);
    }
    pith_archive *a;
    uint8_t out[300];
    size_t got;
    assert_int_equal(pith_archive_open_memory(ctx, NULL, s.archive, s.n, &a), PITH_OK);
    static const size_t from[] = {0, 4000, 4095, 4096, 8100, 8990};
    for (size_t i = 0; i < PITH_COUNT(from); i++) {
        assert_int_equal(pith_archive_read(a, from[i], out, sizeof out, &got), PITH_OK);
        assert_int_equal(got, PITH_MIN(sizeof out, s.raw_n - from[i]));
        assert_memory_equal(out, s.raw + from[i], got);
    }
    pith_archive_close(a);
    pith_ctx_free(ctx);
}

/* ---- which model ------------------------------------------------------------------------------- */

static void the_model_must_be_at_hand(void **state) {
    (void)state;
    static sample s;
    fill(&s, 300);
    pith_ctx *ctx = session(0, -1);
    compress(ctx, &s, "lm", 0);
    parts p = take_apart(ctx, &s);
    pith_ctx_free(ctx);
    char hash[40];
    const uint32_t *h = p.block.codec_args.v + ARG_HASH;
    snprintf(hash, sizeof hash, "%08x%08x%08x%08x", __builtin_bswap32(h[0]), __builtin_bswap32(h[1]), __builtin_bswap32(h[2]),
             __builtin_bswap32(h[3]));

    ctx = session(-1, -1);
    assert_int_equal(restore(ctx, &s, s.archive, s.n), PITH_E_UNSUPPORTED);
    assert_non_null(strstr(pith_error(ctx), "which is not at hand; give its file (pith --model FILE)"));
    assert_non_null(strstr(pith_error(ctx), hash));
    assert_int_equal(blocks_of_lm(ctx, &s), 1); /* looking at it needs no model */
    assert_int_equal(pith_lm_use(ctx, model_path[3]), PITH_OK);
    assert_int_equal(restore(ctx, &s, s.archive, s.n), PITH_E_UNSUPPORTED);
    assert_int_equal(pith_lm_use(ctx, model_path[0]), PITH_OK);
    assert_int_equal(restore(ctx, &s, s.archive, s.n), PITH_OK);
    pith_ctx_free(ctx);
    ctx = session(3, 0);
    assert_int_equal(restore(ctx, &s, s.archive, s.n), PITH_OK);
    pith_ctx_free(ctx);
}

static void the_newest_model_codes_and_older_ones_decode(void **state) {
    (void)state;
    static sample first, second;
    fill(&first, 300);
    fill(&second, 300);
    pith_ctx *ctx = session(0, -1);
    compress(ctx, &first, "lm", 0);
    assert_int_equal(pith_lm_use(ctx, model_path[6]), PITH_OK);
    compress(ctx, &second, "lm", 0);
    parts a = take_apart(ctx, &first), b = take_apart(ctx, &second);
    assert_memory_not_equal(a.block.codec_args.v + ARG_HASH, b.block.codec_args.v + ARG_HASH, 16);
    assert_int_equal(restore(ctx, &first, first.archive, first.n), PITH_OK);
    assert_int_equal(restore(ctx, &second, second.archive, second.n), PITH_OK);
    pith_ctx_free(ctx);
}

static void the_built_in_model_needs_no_giving(void **state) {
    (void)state;
    static sample s;
    s.raw_n = 60;
    memcpy(s.raw, "The manual says that a page of memory must be kept until it is", s.raw_n);
    pith_ctx *ctx = session(-1, -1);
    compress(ctx, &s, "lm", 0);
    assert_int_equal(blocks_of_lm(ctx, &s), 1);
    uint8_t hash[16];
    file_model m;
    assert_int_equal(models_newest(ctx, &m), PITH_OK);
    assert_int_equal(tensor_file_hash(ctx, lm_file(m.model), hash), PITH_OK);
    parts p = take_apart(ctx, &s);
    for (int i = 0; i < 4; i++) assert_int_equal(p.block.codec_args.v[ARG_HASH + i], load32(hash + 4 * i));
    pith_ctx_free(ctx);
    ctx = session(2, -1); /* whatever else there is */
    assert_int_equal(models_find(ctx, p.block.codec_args.v + ARG_HASH, &m), PITH_OK);
    assert_int_equal(restore(ctx, &s, s.archive, s.n), PITH_OK);
    pith_ctx_free(ctx);
}

static void what_is_no_model_is_refused(void **state) {
    (void)state;
    pith_ctx *ctx = session(-1, -1);
    char path[256];
    assert_int_equal(pith_lm_use(ctx, model_path[0]), PITH_OK);
    uint64_t used = pith_memory_used(ctx);
    snprintf(path, sizeof path, "%s/none.gguf", folder);
    assert_int_equal(pith_lm_use(ctx, path), PITH_E_IO);
    write_file(path, "GGUF or not", 11);
    assert_true(pith_lm_use(ctx, path) == PITH_E_FORMAT || pith_lm_use(ctx, path) == PITH_E_TRUNCATED);
    unlink(path);
    assert_int_equal(pith_lm_use(ctx, bare_path), PITH_E_ARGUMENT);
    assert_non_null(strstr(pith_error(ctx), "no tokenizer"));
    assert_int_equal(pith_memory_used(ctx), used);
    pith_status status = PITH_OK;
    unsigned n = 1;
    for (; n < 100 && !status; n++) status = pith_lm_use(ctx, model_path[n % N_MODELS]);
    assert_int_equal(status, PITH_E_LIMIT);
    assert_true(n > 10);
    pith_ctx_free(ctx);
}

/* ---- what the arguments say -------------------------------------------------------------------- */

static void arguments_are_checked(void **state) {
    (void)state;
    static sample s;
    fill(&s, 300);
    pith_ctx *ctx = session(0, -1);
    compress(ctx, &s, "lm", 0);
    const parts good = take_apart(ctx, &s);
    uint8_t *bytes = malloc(sizeof s.archive);
    assert_int_equal(put_together(&good, bytes), s.n);
    assert_memory_equal(bytes, s.archive, s.n);
    /* far less than the model takes, and a window longer than it knows */
    static const int lies[] = {ARG_NS, ARG_MIB, ARG_WINDOW};
    for (size_t i = 0; i < PITH_COUNT(lies); i++) {
        parts p = good;
        uint32_t *claim = &p.block.codec_args.v[lies[i]];
        *claim = lies[i] == ARG_WINDOW ? *claim + 1 : *claim / 2 - 1;
        pith_status status = restore(ctx, &s, bytes, put_together(&p, bytes));
        assert_int_equal(status, PITH_E_FORMAT);
    }
    /* arguments that make no sense at all */
    file_args args = good.block.codec_args;
    assert_int_equal(file_codec_lm.check(ctx, &args), PITH_OK);
    for (int i = 0; i < ARG_HASH; i++) {
        args = good.block.codec_args;
        args.v[i] = 0;
        assert_int_equal(file_codec_lm.check(ctx, &args), PITH_E_FORMAT);
    }
    for (unsigned n = 0; n <= FILE_MAX_ARGS; n++) {
        args = good.block.codec_args;
        args.n = n;
        assert_int_equal(file_codec_lm.check(ctx, &args), n == good.block.codec_args.n ? PITH_OK : PITH_E_FORMAT);
    }
    /* more than there is: refused before anything is allocated for it */
    parts p = good;
    p.block.codec_args.v[ARG_MIB] = UINT32_MAX;
    assert_int_equal(restore(ctx, &s, bytes, put_together(&p, bytes)), PITH_E_LIMIT);
    p = good;
    p.block.codec_args.v[ARG_NS] = UINT32_MAX;
    assert_int_equal(restore(ctx, &s, bytes, put_together(&p, bytes)), PITH_E_LIMIT);
    free(bytes);
    pith_ctx_free(ctx);
}

/* Blocks coded with a model whose products have changed since say by which rules; those of other models, none. */
static void rules_of_products_are_kept(void **state) {
    (void)state;
    static sample s;
    fill(&s, 300);
    uint8_t *bytes = malloc(sizeof s.archive);
    for (int blocks = 0; blocks < 2; blocks++) {
        pith_ctx *ctx = session(-1, -1);
        assert_int_equal(pith_lm_use(ctx, blocks ? blocks_path : model_path[0]), PITH_OK);
        compress(ctx, &s, "lm", 0);
        assert_int_equal(restore(ctx, &s, s.archive, s.n), PITH_OK);
        parts p = take_apart(ctx, &s);
        file_args *args = &p.block.codec_args;
        assert_int_equal(args->n, ARG_RULES + blocks);
        if (blocks) assert_int_equal(args->v[ARG_RULES], 1);
        args->n = blocks ? ARG_RULES : ARG_RULES + 1; /* those before the change; those of another model */
        args->v[ARG_RULES] = !blocks;
        assert_int_equal(restore(ctx, &s, bytes, put_together(&p, bytes)), PITH_E_UNSUPPORTED);
        assert_non_null(strstr(pith_error(ctx), "rules"));
        args->n = ARG_RULES + 1; /* rules not known yet, and some that are not written */
        args->v[ARG_RULES] = 2;
        assert_int_equal(restore(ctx, &s, bytes, put_together(&p, bytes)), PITH_E_UNSUPPORTED);
        args->v[ARG_RULES] = 0;
        assert_int_equal(file_codec_lm.check(ctx, args), PITH_E_FORMAT);
        pith_ctx_free(ctx);
    }
    free(bytes);
}

/* The bound of memory that the header states holds, whatever the bytes. */
static void memory_is_what_was_said(void **state) {
    (void)state;
    static sample s;
    for (int m = 0; m < N_MODELS; m++)
        for (data_kind kind = 0; kind < DATA_KINDS; kind++) {
            pith_ctx *ctx = session(m, -1);
            file_args args = {0};
            assert_int_equal(file_codec_lm.complete(ctx, &args), PITH_OK);
            uint64_t used = pith_memory_used(ctx);
            size_t n = 8000, coded_n;
            data_fill(s.raw, n, kind, 3);
            uint8_t *back = malloc(n);
            assert_int_equal(file_codec_lm.encode(ctx, &args, s.raw, n, s.archive, sizeof s.archive, &coded_n), PITH_OK);
            assert_true(pith_memory_peak(ctx) - used <= file_codec_lm.memory(&args, n, false));
            if (coded_n != SIZE_MAX) {
                assert_int_equal(file_codec_lm.decode(ctx, &args, s.archive, coded_n, back, n), PITH_OK);
                assert_memory_equal(back, s.raw, n);
            }
            assert_int_equal(pith_memory_used(ctx), used);
            free(back);
            pith_ctx_free(ctx);
        }
}

/* ---- damage ------------------------------------------------------------------------------------ */

static void damaged_archives_are_refused(void **state) {
    (void)state;
    static sample s;
    static const int models[] = {0, 8}; /* one with a cache, one with a state */
    for (size_t m = 0; m < PITH_COUNT(models); m++) {
        pith_ctx *ctx = session(models[m], -1);
        s.raw_n = 130;
        data_fill(s.raw, s.raw_n, DATA_TEXT, 8);
        s.raw[60] = 0xFE;
        compress(ctx, &s, "lm", 0);
        assert_int_equal(blocks_of_lm(ctx, &s), 1);
        uint8_t *cut = malloc(s.n);
        for (size_t n = 0; n < s.n; n++) {
            uint8_t *exact_size = malloc(n + 1); /* so that a read past the end is seen */
            memcpy(exact_size, s.archive, n);
            assert_int_not_equal(restore(ctx, &s, exact_size, n), PITH_OK);
            free(exact_size);
        }
        memcpy(cut, s.archive, s.n);
        for (size_t i = 0; i < s.n; i++)
            for (unsigned bit = 0; bit < 9; bit++) {
                cut[i] ^= (uint8_t)(bit < 8 ? 1 << bit : 0xFF);
                restore(ctx, &s, cut, s.n); /* an error, or the right bytes */
                cut[i] = s.archive[i];
            }
        free(cut);
        pith_ctx_free(ctx);
    }
}

/* A model, an archive, its restoring; the first failure. */
static pith_status whole_use(pith_ctx *ctx, const uint8_t *raw, size_t n) {
    uint8_t archive[2000], out[600];
    size_t archive_n, got;
    pith_encode_options o;
    pith_encode_options_init(&o);
    o.recipe = "lm(window=16)";
    pith_status status = pith_lm_use(ctx, model_path[0]);
    if (!status) status = pith_file_compress(ctx, &o, raw, n, archive, sizeof archive, &archive_n);
    if (!status) status = pith_file_decompress(ctx, NULL, archive, archive_n, out, sizeof out, &got);
    if (!status) assert_memory_equal(out, raw, n);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static sample s;
    fill(&s, 200);
    data_heap heap = {.fail_at = 0};
    pith_allocator allocator = {data_heap_alloc, data_heap_free, &heap};
    pith_status status = PITH_E_MEMORY;
    for (; status; heap.fail_at++) {
        assert_true(heap.fail_at < 20000);
        atomic_store(&heap.calls, 0);
        pith_ctx *ctx = pith_ctx_new(&allocator);
        if (!ctx) continue;
        pith_ctx_set_threads(ctx, 1);
        status = whole_use(ctx, s.raw, s.raw_n);
        if (status) assert_int_equal(status, PITH_E_MEMORY);
        pith_ctx_free(ctx);
        assert_int_equal(atomic_load(&heap.held), 0);
    }
    assert_true(heap.fail_at > 50);
}

static void too_little_memory_is_said(void **state) {
    (void)state;
    static sample s;
    fill(&s, 300);
    pith_ctx *ctx = session(0, -1);
    compress(ctx, &s, "lm", 0);
    pith_ctx_set_memory(ctx, (uint64_t)1 << 20);
    assert_int_equal(restore(ctx, &s, s.archive, s.n), PITH_E_LIMIT);
    pith_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_architecture_round_trips),
        cmocka_unit_test(short_and_odd_contents_come_back),
        cmocka_unit_test(threads_do_not_show_and_ranges_are_read),
        cmocka_unit_test(the_model_must_be_at_hand),
        cmocka_unit_test(the_newest_model_codes_and_older_ones_decode),
        cmocka_unit_test(the_built_in_model_needs_no_giving),
        cmocka_unit_test(what_is_no_model_is_refused),
        cmocka_unit_test(arguments_are_checked),
        cmocka_unit_test(rules_of_products_are_kept),
        cmocka_unit_test(memory_is_what_was_said),
        cmocka_unit_test(damaged_archives_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(too_little_memory_is_said),
    };
    return cmocka_run_group_tests(tests, make_models, remove_models);
}
