/* Text handed out in whole UTF-8 sequences, except what may still become a stop string. */
#include "lm/generate/generate.h"

struct text_stream {
    pith_ctx *ctx;
    const byte_string *stops;
    size_t n_stops;
    bool any_bytes, done;
    text_fn fn;
    void *opaque;
    pith_buffer held; /* not handed out yet */
    pith_buffer clean;
};

pith_status text_stream_new(pith_ctx *ctx, const byte_string *stops, size_t n_stops, bool any_bytes, text_fn fn,
                            void *opaque, text_stream **out) {
    text_stream *t = *out = pith_zalloc(ctx, sizeof *t);
    if (!t) return pith_alloc_status(ctx);
    *t = (text_stream){
        .ctx = ctx, .stops = stops, .n_stops = n_stops, .any_bytes = any_bytes, .fn = fn, .opaque = opaque};
    return PITH_OK;
}

void text_stream_free(pith_ctx *ctx, text_stream *t) {
    if (!t) return;
    pith_buffer_free(ctx, &t->held);
    pith_buffer_free(ctx, &t->clean);
    pith_free(ctx, t);
}

void text_stream_clear(text_stream *t) {
    t->held.size = 0;
    t->done = false;
}

/* Bytes of the sequence at p[0..n) (Unicode, table 3-7). *valid: whether it is whole and right; if it
 * is not, they are what one U+FFFD stands for. 0: it is right so far, but cut off. */
static size_t sequence(const uint8_t *p, size_t n, bool *valid) {
    uint8_t a = p[0];
    *valid = a < 0x80;
    if (a < 0xC2 || a > 0xF4) return 1;
    size_t size = a < 0xE0 ? 2 : a < 0xF0 ? 3 : 4;
    uint8_t low = a == 0xE0 ? 0xA0 : a == 0xF0 ? 0x90 : 0x80, high = a == 0xED ? 0x9F : a == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < size; i++) {
        if (i == n) return 0;
        if (p[i] < low || p[i] > high) return i;
        low = 0x80;
        high = 0xBF;
    }
    *valid = true;
    return size;
}

static pith_status hand_out(text_stream *t, const uint8_t *data, size_t size) {
    if (size == 0 || !t->fn) return PITH_OK;
    return t->fn(t->opaque, (const char *)data, size) ? PITH_OK : PITH_E_CANCELLED;
}

/* Hands out the first n bytes held, up to a sequence that is cut off unless `all`. */
static pith_status flush(text_stream *t, size_t n, bool all) {
    const uint8_t *p = t->held.data;
    size_t at = 0, clean_from = 0;
    pith_status status = PITH_OK;
    t->clean.size = 0;
    while (at < n && !status) {
        bool valid;
        size_t size = sequence(p + at, n - at, &valid);
        if (size == 0 && !all) break;
        if (size == 0) size = n - at;
        if (!valid && !t->any_bytes) {
            status = pith_buffer_append(t->ctx, &t->clean, p + clean_from, at - clean_from);
            if (!status) status = pith_buffer_append(t->ctx, &t->clean, "\xEF\xBF\xBD", 3);
            clean_from = at + size;
        }
        at += size;
    }
    if (!status && clean_from > 0) {
        status = pith_buffer_append(t->ctx, &t->clean, p + clean_from, at - clean_from);
        if (!status) status = hand_out(t, t->clean.data, t->clean.size);
    } else if (!status) {
        status = hand_out(t, p, at);
    }
    t->held.size -= at;
    if (t->held.size) memmove(t->held.data, t->held.data + at, t->held.size);
    return status;
}

/* Index of the longest stop that ends where held[0..end) does. */
static size_t stop_at(const text_stream *t, size_t end) {
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < t->n_stops; i++) {
        const byte_string *s = &t->stops[i];
        if (s->size == 0 || s->size > end || memcmp(t->held.data + end - s->size, s->data, s->size) != 0) continue;
        if (found == SIZE_MAX || s->size > t->stops[found].size) found = i;
    }
    return found;
}

/* Where the text ends that no stop can begin in any more. */
static size_t settled(const text_stream *t) {
    for (size_t at = 0; at < t->held.size; at++)
        for (size_t i = 0; i < t->n_stops; i++) {
            const byte_string *s = &t->stops[i];
            size_t left = t->held.size - at;
            if (s->size > left && memcmp(t->held.data + at, s->data, left) == 0) return at;
        }
    return t->held.size;
}

pith_status text_stream_put(text_stream *t, const void *data, size_t size, size_t *stop) {
    *stop = SIZE_MAX;
    if (t->done || size == 0) return PITH_OK;
    size_t before = t->held.size;
    pith_status status = pith_buffer_append(t->ctx, &t->held, data, size);
    if (status) return status;
    for (size_t end = before + 1; end <= t->held.size && t->n_stops; end++) {
        *stop = stop_at(t, end);
        if (*stop == SIZE_MAX) continue;
        t->done = true;
        t->held.size = end - t->stops[*stop].size;
        return flush(t, t->held.size, true);
    }
    return flush(t, settled(t), false);
}

pith_status text_stream_end(text_stream *t) {
    if (t->done) return PITH_OK;
    t->done = true;
    return flush(t, t->held.size, true);
}
