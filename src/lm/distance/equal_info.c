/* Equal-info windows (B. Lester et al., Training LLMs over neurally compressed text, 2024): arithmetic code
 * of a byte model, cut so that every window has the same number of bits.
 *
 * An interval is kept exactly, in units of 2^-96 of the whole; a bit of the text splits it by the model's
 * probability, rounded down. The value v of a window is the cell [v, v + 1) / 2^bits. Reading it goes
 * down the tree of bits as long as the cell lies in one half; what is whole bytes by then is its text.
 * The encoder goes down by the text and takes the deepest node that splits a cell within it: reading
 * that cell stops at this very node. */
#include "lm/distance/distance.h"
#include "lm/distance/frozen.h"

#define UNITS 96
#define LITERALS 256      /* values that are single bytes */
#define WINDOW_BYTES 4096 /* a window may hold: bounds the time one takes */

__extension__ typedef unsigned __int128 wide;

struct equal_info {
    pith_ctx *ctx;
    unsigned bits;
    frozen model;
};

pith_status equal_info_new(pith_ctx *ctx, unsigned bits, const uint8_t *primer, size_t primer_n, equal_info **out) {
    *out = NULL;
    if (bits < 16 || bits > 64 || bits % 8)
        return pith_fail(ctx, PITH_E_ARGUMENT, "windows of %u bits; 16 to 64 in steps of 8 can be made", bits);
    equal_info *e = pith_zalloc(ctx, sizeof *e);
    if (!e) return pith_alloc_status(ctx);
    e->ctx = ctx;
    e->bits = bits;
    pith_status status = frozen_open(ctx, primer, primer_n, &e->model);
    if (status) {
        equal_info_free(e);
        return status;
    }
    *out = e;
    return PITH_OK;
}

void equal_info_free(equal_info *e) {
    if (!e) return;
    frozen_close(e->ctx, &e->model);
    pith_free(e->ctx, e);
}

typedef struct interval {
    wide low, size;
} interval;

static interval whole(const equal_info *e) {
    interval i = {(wide)LITERALS << (UNITS - e->bits), 0};
    i.size = ((wide)1 << UNITS) - i.low;
    return i;
}

/* Where the interval is split: ones are below. Both halves hold something. */
static bool split(const interval *i, unsigned p16, wide *middle) {
    if (i->size < 65536) return false;
    *middle = i->low + (i->size >> 16) * p16;
    return true;
}

/* The one cell that has the middle inside and lies in the interval. */
static bool split_cell(const equal_info *e, const interval *i, wide middle, uint64_t *value) {
    unsigned shift = UNITS - e->bits;
    wide v = middle >> shift, first = v << shift, cell = (wide)1 << shift;
    if (first == middle || first < i->low || first + cell > i->low + i->size) return false;
    *value = (uint64_t)v;
    return true;
}

static bool holds_cell(const equal_info *e, const interval *i, uint64_t *value) {
    unsigned shift = UNITS - e->bits;
    wide cell = (wide)1 << shift, v = (i->low + cell - 1) >> shift;
    if ((v << shift) + cell > i->low + i->size) return false;
    *value = (uint64_t)v;
    return true;
}

/* The longest start of text[n] that one window can say, and its value. */
static void one_window(equal_info *e, const uint8_t *text, size_t n, uint64_t *value, size_t *took) {
    interval i = whole(e);
    frozen_restart(&e->model);
    *took = 0;
    for (size_t at = 0; at < n && at < WINDOW_BYTES; at++) {
        for (int b = 7; b >= 0; b--) {
            wide middle;
            uint64_t v, any;
            unsigned bit = text[at] >> b & 1;
            if (!split(&i, frozen_p(&e->model), &middle)) return;
            if (at && split_cell(e, &i, middle, &v)) *value = v, *took = at;
            if (bit)
                i.size = middle - i.low;
            else
                i.size -= middle - i.low, i.low = middle;
            if (!holds_cell(e, &i, &any)) return;
            frozen_update(&e->model, bit);
        }
        /* the decoder knows where the text ends: any cell will do there */
        if (at + 1 == n || at + 1 == WINDOW_BYTES) {
            holds_cell(e, &i, value);
            *took = at + 1;
        }
    }
}

pith_status equal_info_encode(equal_info *e, const uint8_t *text, size_t n, pith_buffer *windows) {
    for (size_t at = 0; at < n;) {
        uint64_t value = 0;
        size_t took = 0;
        uint8_t bytes[8];
        if (pith_cancelled(e->ctx)) return PITH_E_CANCELLED;
        one_window(e, text + at, n - at, &value, &took);
        if (took == 0) value = text[at], took = 1;
        for (unsigned k = 0; k < e->bits / 8; k++) bytes[k] = (uint8_t)(value >> (e->bits - 8 - 8 * k));
        pith_status status = pith_buffer_append(e->ctx, windows, bytes, e->bits / 8);
        if (status) return status;
        at += took;
    }
    return PITH_OK;
}

static pith_status read_window(equal_info *e, uint64_t value, size_t most, pith_buffer *text) {
    if (value < LITERALS) {
        uint8_t byte = (uint8_t)value;
        return pith_buffer_append(e->ctx, text, &byte, 1);
    }
    wide cell = (wide)value << (UNITS - e->bits), cell_end = cell + ((wide)1 << (UNITS - e->bits));
    interval i = whole(e);
    pith_status status = PITH_OK;
    frozen_restart(&e->model);
    for (size_t at = 0; at < most && at < WINDOW_BYTES && !status; at++) {
        unsigned byte = 0;
        for (unsigned b = 0; b < 8; b++) {
            wide middle;
            if (!split(&i, frozen_p(&e->model), &middle)) return status;
            if (cell < middle && middle < cell_end) return status;
            unsigned bit = cell_end <= middle;
            if (bit)
                i.size = middle - i.low;
            else
                i.size -= middle - i.low, i.low = middle;
            frozen_update(&e->model, bit);
            byte = byte << 1 | bit;
        }
        uint8_t whole_byte = (uint8_t)byte;
        status = pith_buffer_append(e->ctx, text, &whole_byte, 1);
    }
    return status;
}

pith_status equal_info_decode(equal_info *e, const uint8_t *windows, size_t n, size_t raw_n, pith_buffer *text) {
    size_t step = e->bits / 8, start = text->size;
    if (n % step) return pith_fail(e->ctx, PITH_E_FORMAT, "%zu bytes are no whole windows of %u bits", n, e->bits);
    for (size_t at = 0; at < n; at += step) {
        uint64_t value = 0;
        size_t before = text->size;
        if (pith_cancelled(e->ctx)) return PITH_E_CANCELLED;
        for (size_t k = 0; k < step; k++) value = value << 8 | windows[at + k];
        size_t left = raw_n - (before - start);
        pith_status status = left ? read_window(e, value, left, text) : PITH_OK;
        if (status) return status;
        if (text->size == before)
            return pith_fail(e->ctx, PITH_E_FORMAT, "the window at byte %zu stands for nothing", at);
    }
    if (text->size - start != raw_n)
        return pith_fail(e->ctx, PITH_E_FORMAT, "the windows hold %zu bytes, not %zu", text->size - start, raw_n);
    return PITH_OK;
}
