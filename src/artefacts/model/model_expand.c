/* Restoring with another type, from fewer levels, or one tensor alone (pith/model.h). */
#include <stdio.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/archive_parts.h"
#include "pith/model.h"

void pith_model_expand_options_init(pith_model_expand_options *options) {
    *options = (pith_model_expand_options){.size = sizeof *options};
}

/* What is asked for, on the archive that it is asked of. */
typedef struct expansion {
    pith_ctx *ctx;
    pith_model_expand_options o;
    model_archive *a;
    archive_wish wish;
    uint16_t *levels; /* [n_tensors] */
    pith_model_expanded done;
} expansion;

static pith_status choose_type(expansion *e) {
    const tensor_type_info *type = NULL, *unwritten = archive_unwritten(e->a);
    if (e->o.type) {
        type = tensor_type_named(e->o.type, strlen(e->o.type));
        if (!type) return pith_fail(e->ctx, PITH_E_ARGUMENT, "there is no element type %s", e->o.type);
        if (!archive_writes(type->type))
            return pith_fail(e->ctx, PITH_E_UNSUPPORTED, "%s is not written; f16, f32, bf16, q8_0, q4_K and others are",
                             type->name);
    } else if (unwritten) {
        type = tensor_type_of(TENSOR_F16);
    }
    if (type && archive_about(e->a)->lossy) e->wish.type = type;
    if (e->wish.type) snprintf(e->done.type, sizeof e->done.type, "%s", type->name);
    return PITH_OK;
}

static pith_status choose_levels(expansion *e) {
    size_t n = archive_about(e->a)->n_tensors;
    archive_prefix_info info;
    e->levels = pith_alloc(e->ctx, (n + 1) * sizeof *e->levels);
    if (!e->levels) return pith_alloc_status(e->ctx);
    uint64_t bytes = e->o.bytes ? e->o.bytes : UINT64_MAX;
    pith_status status = archive_prefix(e->ctx, e->a, bytes, e->o.levels, e->levels, &info);
    if (status) return status;
    if (!info.stacks && e->o.levels)
        return pith_fail(e->ctx, PITH_E_ARGUMENT, "nothing in it has levels; recipes with stack(...) make them");
    e->wish.levels = e->levels;
    e->done.bytes = info.bytes;
    e->done.whole = info.whole;
    e->done.stacks = info.stacks;
    e->done.fewest = info.fewest;
    e->done.most = info.most;
    e->done.n_levels = info.of;
    return PITH_OK;
}

static pith_status open_expansion(pith_ctx *ctx, const pith_model_expand_options *options, const char *path,
                                  expansion *e) {
    *e = (expansion){.ctx = ctx};
    pith_model_expand_options_init(&e->o);
    pith_begin(ctx);
    artefacts_register();
    if (options && options->size < sizeof *options)
        return pith_fail(ctx, PITH_E_ARGUMENT, "options were not filled by pith_model_expand_options_init");
    if (options) e->o = *options;
    pith_status status = archive_open_within(ctx, e->o.limits, path, &e->a);
    if (status) {
        e->a = NULL;
        return status;
    }
    status = choose_type(e);
    return status ? status : choose_levels(e);
}

static void close_expansion(expansion *e, pith_status status, pith_model_expanded *result) {
    if (result) *result = status ? (pith_model_expanded){{0}, 0, 0, 0, 0, 0, 0} : e->done;
    pith_free(e->ctx, e->levels);
    archive_close(e->ctx, e->a);
}

pith_status pith_model_expand(pith_ctx *ctx, const pith_model_expand_options *options, const char *path,
                              pith_write_fn write, void *opaque, pith_model_expanded *result) {
    expansion e;
    archive_sink s = {ctx, write, opaque};
    pith_status status = open_expansion(ctx, options, path, &e);
    if (!status)
        status = e.wish.type ? archive_export(ctx, e.a, &e.wish, archive_sink_write, &s)
                             : archive_restore(ctx, e.a, &e.wish, write ? archive_sink_write : NULL, &s);
    close_expansion(&e, status, result);
    return status;
}

/* ---- one tensor ---------------------------------------------------------------------------------------------- */

static bool numpy_has(tensor_type type) {
    return (type >= TENSOR_I8 && type <= TENSOR_F64) || (type >= TENSOR_U8 && type <= TENSOR_BOOL) || type == TENSOR_F32 ||
           type == TENSOR_F16;
}

/* The tensor's elements, as `type` if it is one of two floats, else as its own bytes. */
static pith_status read_elements(expansion *e, size_t i, tensor_type type, uint8_t *bytes, archive_sink *s) {
    const archive_tensor *t = &archive_about(e->a)->tensors[i];
    size_t n = (size_t)t->n_elements, bad;
    const archive_tensor *stored = archive_stored(archive_about(e->a), i);
    unsigned levels = e->levels[stored - archive_about(e->a)->tensors];
    if (type != TENSOR_F32 && type == t->type && stored->mode != ARCHIVE_CODED) {
        pith_status status = archive_tensor_bytes(e->ctx, e->a, i, levels, bytes);
        return status ? status : archive_sink_write(s, bytes, (size_t)t->bytes);
    }
    float *floats = (float *)(void *)bytes; /* pith_alloc aligns for all */
    pith_status status = archive_floats(e->ctx, e->a, i, levels, floats);
    if (status || type == TENSOR_F32) return status ? status : archive_sink_write(s, bytes, n * sizeof(float));
    for (size_t k = 0; k < n; k++) store16(bytes + 2 * k, float_to_half(floats[k])); /* behind what is still read */
    if (!blocks_valid(TENSOR_F16, bytes, n, &bad))
        return pith_fail(e->ctx, PITH_E_CHECK, "element %zu is too large for f16, or was no number", bad);
    return archive_sink_write(s, bytes, 2 * n);
}

static pith_status write_tensor(expansion *e, const char *name, archive_sink *s) {
    pith_ctx *ctx = e->ctx;
    size_t i = archive_find(e->a, name, strlen(name));
    if (i == SIZE_MAX) return pith_fail(ctx, PITH_E_ARGUMENT, "it has no tensor %s", name);
    const archive_tensor *t = &archive_about(e->a)->tensors[i];
    bool exact = archive_stored(archive_about(e->a), i)->mode != ARCHIVE_CODED;
    tensor_type type = exact && numpy_has(t->type) ? t->type : TENSOR_F32;
    if (e->o.type) type = tensor_type_named(e->o.type, strlen(e->o.type))->type;
    if (e->o.type && type != TENSOR_F32 && type != TENSOR_F16)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "an array of NumPy takes f32 or f16, not %s", e->o.type);
    if (t->n_elements > SIZE_MAX / sizeof(float) - 1) return pith_fail(ctx, PITH_E_LIMIT, "a tensor of too many elements");
    size_t room = (size_t)PITH_MAX(t->n_elements * sizeof(float), t->bytes);
    pith_buffer head = {0};
    uint8_t *bytes = pith_alloc(ctx, room + 1);
    pith_status status = bytes ? npy_head(ctx, type, t->n_dims, t->ne, &head) : pith_alloc_status(ctx);
    if (!status) status = archive_sink_write(s, head.data, head.size);
    if (!status) status = read_elements(e, i, type, bytes, s);
    pith_buffer_free(ctx, &head);
    pith_free(ctx, bytes);
    return status;
}

pith_status pith_model_tensor(pith_ctx *ctx, const pith_model_expand_options *options, const char *path,
                              const char *name, pith_write_fn write, void *opaque, pith_model_expanded *result) {
    expansion e;
    archive_sink s = {ctx, write, opaque};
    pith_status status = open_expansion(ctx, options, path, &e);
    if (!status) status = write_tensor(&e, name, &s);
    close_expansion(&e, status, result);
    return status;
}
