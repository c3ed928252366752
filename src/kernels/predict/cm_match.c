/* Long-range repeats: the byte that followed the last place where the newest bytes stood. */
#include "kernels/predict/cm_match.h"

#define VERIFY_MAX 400 /* longer matches are as sure as this one */

/* of the last `length` bytes, 5 to 16 of them */
static uint32_t hash_of_last(const uint8_t *end, uint32_t length) {
    uint64_t h = length < 8 ? load64(end - 8) >> (64 - 8 * length) : load64(end - 8);
    h *= UINT64_C(0x9E3779B97F4A7C15);
    if (length > 8) h = (h ^ load64(end - 16) >> (128 - 8 * length)) * UINT64_C(0xD6E8FEB86659FD93);
    return (uint32_t)(h >> 36);
}

void cm_match_look(cm_match *m, const cm_history *h) {
    if (h->n < 16) return;
    m->place = &m->table[hash_of_last(h->buf + h->n, m->min_length - 1) & m->mask];
    PITH_PREFETCH(m->place);
}

/* A place found after one byte is tried after the next: until then its bytes have come from memory. */
void cm_match_update(cm_match *m, const cm_history *h) {
    const uint8_t *buf = h->buf;
    uint32_t n = h->n;
    if (m->length > 0 && buf[m->at] == buf[n - 1]) {
        m->at++;
        if (m->length < 65535) m->length++;
    } else {
        m->length = 0;
        if (m->found > 0 && buf[m->found] == buf[n - 1]) {
            uint32_t at = m->found + 1, length = 1;
            while (length < at && length < VERIFY_MAX && buf[at - 1 - length] == buf[n - 1 - length]) length++;
            if (length >= m->min_length) {
                m->at = at;
                m->length = length;
            }
        }
    }
    m->found = 0;
    if (n >= 16) {
        if (m->length == 0) {
            m->found = *m->place;
            PITH_PREFETCH(buf + m->found);
        }
        *m->place = n;
    }
    m->expected_byte = m->length ? buf[m->at] : 0;
}
