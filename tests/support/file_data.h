/* Inputs and outputs for the tests of the file artefact: generated contents, a growing
 * destination, and an allocator that fails on demand. */
#ifndef SUPPORT_FILE_DATA_H
#define SUPPORT_FILE_DATA_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pith/file.h"
#include "support/data_heap.h"

static inline uint32_t data_random(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

typedef enum data_kind { DATA_ZEROS, DATA_RANDOM, DATA_TEXT, DATA_RECORDS, DATA_COUNTERS, DATA_KINDS } data_kind;

/* The same bytes for the same kind, n and seed on every machine. */
static inline void data_fill(uint8_t *p, size_t n, data_kind kind, uint32_t seed) {
    static const char *const words[] = {"the ",     "tin ",    "soldier ", "stood ",       "on ",    "one leg",
                                        ", ",       "and ",    "a ",       "window ",      "opened", ".\n",
                                        "Perhaps ", "it was ", "wind ",    "that did it. "};
    uint32_t r = seed * 2654435761u + 1;
    size_t at = 0;
    switch (kind) {
    case DATA_TEXT:
        while (at < n) {
            const char *w = words[data_random(&r) >> 28];
            for (; *w && at < n; w++) p[at++] = (uint8_t)*w;
        }
        break;
    case DATA_RECORDS: /* 12 bytes each: number, slow value, kind */
        for (; at < n; at++) {
            size_t row = at / 12, column = at % 12;
            p[at] = (uint8_t)(column < 4   ? row >> (8 * column)
                              : column < 8 ? (row * row / 50) >> (8 * (column - 4))
                                           : row % 3);
        }
        break;
    case DATA_COUNTERS: /* little-endian 32-bit numbers with small steps */
        for (uint32_t v = 1000; at < n; at++) {
            if (at % 4 == 0) v += data_random(&r) & 15;
            p[at] = (uint8_t)(v >> (8 * (at % 4)));
        }
        break;
    case DATA_RANDOM:
        for (; at < n; at++) p[at] = (uint8_t)(data_random(&r) >> 11);
        break;
    default: memset(p, 0, n);
    }
}

/* Lines of a system log: the kind of text whose built-in text is the shortest, for tests of what
 * learns one first. */
static inline void data_fill_log(uint8_t *p, size_t n, uint32_t seed) {
    static const char *const lines[] = {
        "Mar  3 09:14:02 heron sshd(pam_unix)[4127]: authentication failure; uid=0 euid=0 tty=ssh rhost=10.0.4.9\n",
        "[Thu Mar 03 09:15:07 2011] [error] [client 10.0.4.9] File does not exist: /srv/www/favicon.ico\n",
        "2011-03-03 09:16:41,310 INFO [worker-2] store.BlockStore: Received block 8841 of size 4096 from /10.0.4.9\n",
        "Mar  3 09:17:55 heron kernel: eth0: link up, 1000 Mbps, full duplex\n",
    };
    uint32_t r = seed * 2654435761u + 1;
    for (size_t at = 0; at < n;)
        for (const char *c = lines[data_random(&r) >> 30]; *c && at < n; c++) p[at++] = (uint8_t)*c;
}

typedef struct data_sink {
    uint8_t *data;
    size_t size, capacity;
    size_t fail_from; /* writes fail once this many bytes are there; SIZE_MAX: never */
} data_sink;

static inline int data_sink_write(void *opaque, const void *data, size_t size) {
    data_sink *s = opaque;
    if (s->size + size > s->fail_from) return 1;
    if (s->size + size > s->capacity) {
        s->capacity = 2 * (s->size + size);
        s->data = realloc(s->data, s->capacity);
        if (!s->data) abort();
    }
    memcpy(s->data + s->size, data, size);
    s->size += size;
    return 0;
}

#endif
