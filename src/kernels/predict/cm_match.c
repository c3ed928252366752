/* Long-range repeats: the byte that followed the last place where the newest bytes stood. */
#include "kernels/predict/cm_match.h"

#define VERIFY_MAX 400 /* longer matches are as sure as this one */

/* of the last `length` bytes, 4 to 16 of them */
static uint32_t hash_of_last(const uint8_t *end, uint32_t length) {
    uint64_t h = length < 8 ? load64(end - 8) >> (64 - 8 * length) : load64(end - 8);
    h *= UINT64_C(0x9E3779B97F4A7C15);
    if (length > 8) h = (h ^ load64(end - 16) >> (128 - 8 * length)) * UINT64_C(0xD6E8FEB86659FD93);
    return (uint32_t)(h >> 36);
}

/* Memory is slow, so a match is found in three steps, a byte apart: the table's entry is asked for; the place
 * that stands there is asked for; its bytes are compared. */
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
    m->expected_byte = m->length ? buf[m->at] : 0;
    if (n < 16) return;
    if (n > 16) {
        uint32_t *place = &m->table[m->place];
        m->found = *place ? *place + 1 : 0;
        PITH_PREFETCH(buf + m->found);
        *place = n - 1;
    }
    m->place = hash_of_last(buf + n, m->min_length - 2) & m->mask;
    PITH_PREFETCH(&m->table[m->place]);
}
