/* One session for all tests of a program, made and freed by the group's set-up and tear-down. */
#ifndef SUPPORT_SESSION_H
#define SUPPORT_SESSION_H

#include "pith/pith.h"

static pith_ctx *ctx;

static inline int session_begin(void **state) {
    (void)state;
    ctx = pith_ctx_new(NULL);
    return ctx ? 0 : -1;
}

static inline int session_end(void **state) {
    (void)state;
    pith_ctx_free(ctx);
    return 0;
}

#endif
