/* What the tests of packers and planes share: pseudo-random numbers from integers alone, a session whose allocations can
 * fail, packers by name. After <cmocka.h>. */
#ifndef TESTS_REPRESENT_PACKERS_H
#define TESTS_REPRESENT_PACKERS_H

#include <stdlib.h>

#include "kernels/represent/represent.h"

static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* A sum of twelve uniform numbers: about normal, mean 0, deviation 65536. */
static inline int64_t next_normal(uint64_t *state) {
    int64_t sum = 0;
    for (int i = 0; i < 12; i++) sum += (int64_t)(next_random(state) >> 48);
    return sum - 6 * 65536;
}

/* ---- allocations that fail ---- */

static long allocations_left;

static inline void *scarce_alloc(void *opaque, size_t size) {
    (void)opaque;
    return allocations_left-- > 0 ? malloc(size) : NULL;
}

static inline void scarce_free(void *opaque, void *ptr) {
    (void)opaque;
    free(ptr);
}

static inline pith_ctx *scarce_session(void) {
    pith_allocator a = {.alloc = scarce_alloc, .free = scarce_free};
    allocations_left = 1L << 30;
    pith_ctx *ctx = pith_ctx_new(&a);
    assert_non_null(ctx);
    pith_ctx_set_threads(ctx, 1);
    return ctx;
}

/* ---- packers ---- */

typedef struct packer {
    pith_recipe_stage args;
    const repr_ops *ops;
    repr_stats stats;
} packer;

/* A packer with its defaults. */
static inline packer packer_named(const char *name) {
    packer p = {0};
    for (const pith_stage *s = represent_packers; s->name; s++)
        if (!strcmp(s->name, name)) p.args.stage = s;
    assert_non_null(p.args.stage);
    for (unsigned i = 0; i < p.args.stage->n_params; i++) p.args.value[i] = p.args.stage->params[i].def;
    p.ops = p.args.stage->impl;
    return p;
}

static inline repr_job job_of(pith_ctx *ctx, const packer *p) {
    return (repr_job){.ctx = ctx, .args = &p->args, .stats = &p->stats};
}

#endif
