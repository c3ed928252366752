/* One session for all tests of a program, made by the group's set-up and freed by its tear-down, which fails when the
 * tests left memory behind. */
#ifndef SUPPORT_SESSION_H
#define SUPPORT_SESSION_H

#include "base/base.h"

static pith_ctx *ctx;

static inline int session_begin(void **state) {
    (void)state;
    ctx = pith_ctx_new(NULL);
    return ctx ? 0 : -1;
}

static inline int session_end(void **state) {
    (void)state;
    bool clean = pith_memory_used(ctx) == 0;
    pith_ctx_free(ctx);
    return clean ? 0 : -1;
}

#endif
