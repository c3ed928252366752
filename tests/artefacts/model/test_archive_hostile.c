/* Model archives that are damaged or lie, output that cannot be written, memory that is not there: one line that says
 * so, nothing kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "artefacts/model/archive_data.h"
#include "support/data_heap.h"

static pith_status hash_write(void *opaque, const void *data, size_t size) {
    pith_hash_update(opaque, data, size);
    return PITH_OK;
}

static uint64_t restored_hash;

/* Opens and restores a copy without a byte to spare. */
static pith_status try_bytes(pith_ctx *c, const uint8_t *data, size_t n) {
    uint8_t *copy = malloc(n ? n : 1);
    model_archive *a;
    memcpy(copy, data, n);
    pith_begin(c);
    pith_status status = archive_open_memory(c, copy, n, 0, &a);
    pith_hash *hash = status ? NULL : pith_hash_new(c);
    if (!status) status = hash ? archive_restore(c, a, NULL, hash_write, hash) : pith_alloc_status(c);
    if (!status) restored_hash = pith_hash_value(hash);
    pith_hash_free(c, hash);
    archive_close(c, a);
    free(copy);
    return status;
}

static void assert_told(pith_status status) {
    assert_true(status == PITH_E_FORMAT || status == PITH_E_CHECK || status == PITH_E_TRUNCATED ||
                status == PITH_E_UNSUPPORTED);
    assert_true(pith_error(ctx)[0] && !strchr(pith_error(ctx), '\n'));
}

static void damage_is_found(void **state) {
    (void)state;
    const char *recipes[] = {NULL, "*attn* -> near ; *ffn* -> stack(2, near)", "*:1 -> near ; *exps*:2 -> stack(2, near)"};
    pith_buffer model = make_model();
    for (size_t i = 0; i < PITH_COUNT(recipes); i++) {
        pith_buffer packed = compress(&model, recipes[i]);
        assert_int_equal(try_bytes(ctx, packed.data, packed.size), PITH_OK);
        uint64_t good = restored_hash;
        for (size_t n = 0; n < packed.size; n += n < 200 || n + 200 > packed.size ? 1 : 97)
            assert_told(try_bytes(ctx, packed.data, n));
        for (size_t at = 0; at < packed.size; at += at < 200 || at + 600 > packed.size ? 1 : 53) {
            packed.data[at] ^= (uint8_t)(1 << at % 8);
            pith_status status = try_bytes(ctx, packed.data, packed.size);
            if (status)
                assert_told(status);
            else
                assert_int_equal(restored_hash, good); /* bits that mean nothing */
            packed.data[at] ^= (uint8_t)(1 << at % 8);
        }
        pith_buffer_append(ctx, &packed, "x", 1);
        assert_told(try_bytes(ctx, packed.data, packed.size));
        pith_buffer_free(ctx, &packed);
    }
    pith_buffer_free(ctx, &model);
}

static void text_mode_is_recognised(void **state) {
    (void)state;
    const uint8_t bad[] = {0x70, 'p', 'm', 'o', 'd', '\r', '\n', 0}, lines[] = {0xF0, 'p', 'm', 'o', 'd', '\n', 0, 16};
    model_archive *a;
    pith_begin(ctx);
    assert_int_equal(archive_open_memory(ctx, bad, sizeof bad, 0, &a), PITH_E_FORMAT);
    assert_non_null(strstr(pith_error(ctx), "text-mode"));
    pith_begin(ctx);
    assert_int_equal(archive_open_memory(ctx, lines, sizeof lines, 0, &a), PITH_E_FORMAT);
    assert_non_null(strstr(pith_error(ctx), "text-mode"));
    pith_begin(ctx);
    assert_int_equal(archive_open_memory(ctx, (const uint8_t *)"GGUF....", 8, 0, &a), PITH_E_FORMAT);
    assert_string_equal(pith_error(ctx), "no model archive");
}

/* A lying index with right checks: one tensor changed before it is written. */
typedef void (*lie)(archive_index *x);
static void lie_double_name(archive_index *x) { x->tensors[1].name = x->tensors[0].name; }
static void lie_gap(archive_index *x) { x->tensors[1].gap += 8; }
static void lie_rest(archive_index *x) { x->rest_n--; }
static void lie_shape(archive_index *x) { x->tensors[2].ne[0] *= 2; }
static void lie_huge(archive_index *x) { x->tensors[0].ne[0] = x->tensors[0].ne[1] = (uint64_t)1 << 40; }
static void lie_type(archive_index *x) { x->tensors[0].type = (tensor_type)999; }
static void lie_coded_n(archive_index *x) { x->pieces[2].coded_n++; }
static void lie_long_piece(archive_index *x) { x->pieces[2].coded_n = UINT64_MAX; }
static void lie_no_piece(archive_index *x) { x->pieces[2].coded_n = 0; }
static void lie_coding(archive_index *x) { x->pieces[2].coding = ARCHIVE_CODINGS; }
static void lie_later(archive_index *x) {
    for (size_t i = 0; i < x->n_tensors; i++)
        if (x->tensors[i].mode == ARCHIVE_SAME) x->tensors[i].like = i;
}
static void lie_like(archive_index *x) {
    for (size_t i = 0; i < x->n_tensors; i++)
        if (x->tensors[i].mode == ARCHIVE_SAME) x->tensors[i].like = 0;
}
static void lie_rule(archive_index *x) { /* a lossy tensor where nothing is said to be lost */
    x->tensors[0].mode = ARCHIVE_CODED;
}
static void lie_size(archive_index *x) { x->original_n++; }
static void lie_hash(archive_index *x) { x->original_hash++; }

static void lies_are_refused(void **state) {
    (void)state;
    static const lie lies[] = {lie_double_name, lie_gap,      lie_rest,   lie_shape, lie_huge, lie_type, lie_coded_n, lie_long_piece,
                               lie_no_piece,    lie_coding,   lie_later,  lie_like,  lie_rule, lie_size, lie_hash};
    pith_buffer model = make_model(), packed = compress(&model, NULL);
    for (size_t i = 0; i < PITH_COUNT(lies); i++) {
        model_archive *a = open_archive(&packed);
        archive_index *x = &a->index;
        uint64_t payload = x->pieces[x->n_pieces - 1].offset + x->pieces[x->n_pieces - 1].coded_n;
        pith_buffer bad = {0};
        assert_int_equal(pith_buffer_append(ctx, &bad, packed.data, payload), PITH_OK);
        lies[i](x);
        assert_int_equal(archive_index_put(ctx, x, &bad), PITH_OK);
        pith_status status = try_bytes(ctx, bad.data, bad.size);
        if (status != PITH_E_FORMAT && status != PITH_E_CHECK && status != PITH_E_TRUNCATED) fail_msg("lie %zu: %d", i, status);
        archive_close(ctx, a);
        pith_buffer_free(ctx, &bad);
    }
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

/* Lies about whose rule codes a matrix of a stack. */
static void lie_rule_of_matrix(archive_index *x) { x->pieces[x->n_pieces - 1].rule = 200; }
static void lie_other_rule(archive_index *x) { x->pieces[x->n_pieces - 1].rule = 1; }
static void lie_exact_matrix(archive_index *x) {
    archive_piece *p = &x->pieces[x->n_pieces - 1];
    p->rule = ARCHIVE_NO_RULE;
    p->coding = ARCHIVE_PLANES;
}
static void lie_coded_matrix(archive_index *x) { x->pieces[x->n_pieces - 3].rule = 0; }

static void lies_about_matrices_are_refused(void **state) {
    (void)state;
    static const lie lies[] = {lie_rule_of_matrix, lie_other_rule, lie_exact_matrix, lie_coded_matrix};
    pith_buffer model = make_model(), packed = compress(&model, "*exps*:[12] -> near ; *exps*:9 -> times | near");
    for (size_t i = 0; i < PITH_COUNT(lies); i++) {
        model_archive *a = open_archive(&packed);
        archive_index *x = &a->index;
        pith_buffer bad = {0};
        size_t k = archive_find(a, "blk.0.ffn_exps.weight", 21), last = x->tensors[k].first_piece + 2;
        uint64_t payload = x->pieces[x->n_pieces - 1].offset + x->pieces[x->n_pieces - 1].coded_n;
        assert_int_equal(pith_buffer_append(ctx, &bad, packed.data, payload), PITH_OK);
        archive_index part = *x; /* whose last pieces are the stack's */
        part.n_pieces = last + 1;
        lies[i](&part);
        assert_int_equal(archive_index_put(ctx, x, &bad), PITH_OK);
        assert_told(try_bytes(ctx, bad.data, bad.size));
        archive_close(ctx, a);
        pith_buffer_free(ctx, &bad);
    }
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

/* A gigabyte of zeros in a few bytes: the index says so, and the session says no. */
static void limits_hold(void **state) {
    (void)state;
    pith_buffer model = make_model(), packed = compress(&model, "*attn* -> near");
    model_archive *a;
    uint64_t limit = pith_ctx_memory(ctx);
    pith_begin(ctx);
    assert_int_equal(archive_open_memory(ctx, packed.data, packed.size, 1e-9, &a), PITH_E_LIMIT);
    assert_non_null(strstr(pith_error(ctx), "seconds"));
    pith_ctx_set_memory(ctx, pith_memory_used(ctx) + 4096);
    assert_int_equal(try_bytes(ctx, packed.data, packed.size), PITH_E_LIMIT);
    pith_ctx_set_memory(ctx, limit);
    assert_int_equal(try_bytes(ctx, packed.data, packed.size), PITH_OK);
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

static size_t writes_left;
static pith_status failing_write(void *opaque, const void *data, size_t size) {
    (void)opaque, (void)data, (void)size;
    if (writes_left == 0) return pith_fail(ctx, PITH_E_IO, "full");
    writes_left--;
    return PITH_OK;
}

static void failing_writes_end_it(void **state) {
    (void)state;
    pith_buffer model = make_model(), packed = compress(&model, NULL);
    model_archive *a = open_archive(&packed);
    uint64_t used = pith_memory_used(ctx);
    pith_status status = PITH_E_IO;
    for (long n = 0; status; n++) {
        pith_begin(ctx);
        writes_left = n;
        status = archive_write(ctx, model.data, model.size, NULL, failing_write, NULL);
        assert_true(!status || status == PITH_E_IO);
        assert_int_equal(pith_memory_used(ctx), used);
    }
    status = PITH_E_IO;
    for (long n = 0; status; n++) {
        pith_begin(ctx);
        writes_left = n;
        status = archive_restore(ctx, a, NULL, failing_write, NULL);
        assert_true(!status || status == PITH_E_IO);
    }
    archive_close(ctx, a);
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

static pith_status nothing(void *opaque, const void *data, size_t size) {
    (void)opaque, (void)data, (void)size;
    return PITH_OK;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    data_heap heap = {.fail_at = -1};
    const pith_allocator allocator = data_heap_allocator(&heap);
    pith_buffer model = make_model(), packed = compress(&model, "*attn* -> near");
    pith_ctx *own = pith_ctx_new(&allocator);
    pith_ctx_set_threads(own, 1);
    archive_options o = {.recipe = "*attn* -> near"};
    for (unsigned what = 0; what < 2; what++) {
        pith_status status = PITH_E_MEMORY;
        for (long n = 0; status; n++) {
            pith_begin(own);
            data_heap_limit(&heap, n);
            status = what ? try_bytes(own, packed.data, packed.size)
                          : archive_write(own, model.data, model.size, &o, nothing, NULL);
            assert_true(!status || status == PITH_E_MEMORY);
            assert_int_equal(pith_memory_used(own), 0);
        }
    }
    pith_ctx_free(own);
    assert_int_equal(atomic_load(&heap.held), 0);
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

static int cancel(void *opaque, uint64_t done, uint64_t total) {
    (void)opaque, (void)done, (void)total;
    return 1;
}

static void cancelled_when_asked(void **state) {
    (void)state;
    pith_buffer model = make_model(), packed = compress(&model, NULL);
    model_archive *a = open_archive(&packed);
    pith_ctx_set_progress(ctx, cancel, NULL);
    pith_begin(ctx);
    assert_int_equal(archive_write(ctx, model.data, model.size, NULL, nothing, NULL), PITH_E_CANCELLED);
    pith_begin(ctx);
    assert_int_equal(archive_restore(ctx, a, NULL, NULL, NULL), PITH_E_CANCELLED);
    pith_ctx_set_progress(ctx, NULL, NULL);
    pith_begin(ctx);
    archive_close(ctx, a);
    pith_buffer_free(ctx, &packed);
    pith_buffer_free(ctx, &model);
}

int main(void) {
    static const pith_registry registry = {tables, methods};
    if (!pith_registry_set(&registry)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(text_mode_is_recognised),
        cmocka_unit_test(lies_are_refused),
        cmocka_unit_test(lies_about_matrices_are_refused),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(failing_writes_end_it),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(cancelled_when_asked),
    };
    return cmocka_run_group_tests(tests, session_begin, session_end);
}
