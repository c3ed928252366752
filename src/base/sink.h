/* A growing buffer where a function asks for a writer, `status write(void *opaque, const void *data, size_t size)`: give
 * it pith_sink_write and a pith_sink. */
#ifndef BASE_SINK_H
#define BASE_SINK_H

#include "base/base.h"

typedef struct pith_sink {
    pith_ctx *ctx;
    pith_buffer *to;
} pith_sink;

static inline pith_status pith_sink_write(void *opaque, const void *data, size_t size) {
    pith_sink *s = opaque;
    return pith_buffer_append(s->ctx, s->to, data, size);
}

#endif
