/* The bit loop of the context mixer. Not a header of declarations: cm_scalar.c, cm_avx2.c and
 * cm_avx512.c include it once per size, with
 *   CM_ISA    0 scalar, 1 AVX2, 2 AVX-512 (all give the same bits)
 *   CM_NAME   suffix of this size, CM_CTX its contexts, CM_CONTEXTS their function,
 *   CM_RUN    contexts that remember the last byte, CM_MATCHES match models, CM_SETS weight sets,
 *   CM_APMS, CM_FINALS refinements and second layers, CM_NEURAL 0 or 1. */

#define CM_JOIN2(a, b) a##_##b
#define CM_JOIN(a, b) CM_JOIN2(a, b)
#define CM_FN(name) CM_JOIN(name, CM_NAME)
#define CM_CELLS (CM_CTX + 1)                                /* the hashed contexts and order 1 */
#define CM_OTHERS (CM_MATCHES + CM_RUN + 1 + 3 * CM_NEURAL)  /* models that are not cells */
#define CM_LANES ((CM_CELLS + CM_OTHERS + 15) / 16 * 16)
#define CM_MAPPED (CM_CELLS + CM_MATCHES + CM_RUN + 1)       /* lanes with maps */
#define CM_IN (2 * CM_LANES)
#define CM_ALL_VOTES (CM_SETS + 3 * CM_NEURAL) /* the state-space model also votes itself */
_Static_assert(CM_LANES <= CM_MAX_LANES && CM_IN <= CM_MAX_IN && CM_CTX <= CM_MAX_CTX && CM_SETS <= CM_MAX_SETS &&
                   CM_IN % 32 == 0,
               "room for this size");

/* The value of a lane, what its map holds for it, and putting both back. */
PITH_INLINE uint16_t CM_FN(cm_value)(const cm *m, const uint16_t *nodes, unsigned lane) {
    return lane < CM_CELLS ? nodes[m->slot[lane]] : lane < CM_MAPPED ? m->other[lane] : 0;
}

PITH_INLINE int16_t CM_FN(cm_mapped)(const cm *m, unsigned lane) {
    return lane < CM_MAPPED ? m->map[lane * CM_MAP_SIZE + m->row.key[lane]] : 0;
}

/* Reads lanes i..i+15. */
PITH_INLINE void CM_FN(cm_read)(cm *m, unsigned i) {
    const uint16_t *t = m->table + m->node;
    cm_row *r = &m->row;
#if CM_ISA >= 1
#define CM_EIGHT(f, i) \
    _mm_insert_epi16(CM_THREE(f, i + 4, CM_THREE(f, i + 1, _mm_cvtsi32_si128(f(i)), 1), 4), f(i + 7), 7)
#define CM_THREE(f, i, v, at) \
    _mm_insert_epi16(_mm_insert_epi16(_mm_insert_epi16(v, f(i), at), f(i + 1), at + 1), f(i + 2), at + 2)
#define CM_EACH(f) _mm256_inserti128_si256(_mm256_castsi128_si256(CM_EIGHT(f, i)), CM_EIGHT(f, i + 8), 1)
#define CM_VALUE(lane) CM_FN(cm_value)(m, t, (lane))
#define CM_MAPPED_AT(lane) CM_FN(cm_mapped)(m, (lane))
    __m256i v = CM_EACH(CM_VALUE);
    cm_store16(r->value + i, v);
    cm_store16(r->key + i, _mm256_srli_epi16(v, 6));
    __asm__("" : "+m"(r->key)); /* loading keys one by one is cheaper than taking the vector apart */
    cm_store16(r->st + i, CM_EACH(CM_MAPPED_AT));
#undef CM_EACH
#undef CM_EIGHT
#undef CM_THREE
#undef CM_VALUE
#undef CM_MAPPED_AT
#else
    for (unsigned k = i; k < i + 16; k++) {
        r->value[k] = CM_FN(cm_value)(m, t, k);
        r->key[k] = r->value[k] >> 6;
        r->st[k] = CM_FN(cm_mapped)(m, k);
    }
#endif
}

/* Puts lanes i..i+15 back. */
PITH_INLINE void CM_FN(cm_write)(cm *m, unsigned i) {
    uint16_t *t = m->table + m->node;
    const cm_row *r = &m->row;
    for (unsigned k = i; k < i + 16; k++) {
        if (k < CM_CELLS) t[m->slot[k]] = r->value[k];
        if (k < CM_MAPPED) m->map[k * CM_MAP_SIZE + r->key[k]] = r->st[k];
    }
}

/* The value of a lane that is not a cell: a key of its map, as one that has been seen. */
#define CM_OTHER(key) ((uint16_t)((64 + (key)) << 6))

PITH_INLINE void CM_FN(cm_ask_matches)(cm *m, unsigned lane) {
    for (unsigned i = 0; i < CM_MATCHES; i++) {
        cm_match *s = &m->match[i];
        bool heard = s->length > 0 && (s->expected_byte | 256) >> (8 - m->bit) == m->c0;
        s->expected_bit = heard ? (int)(s->expected_byte >> (7 - m->bit)) & 1 : -1;
        m->other[lane + i] = heard ? CM_OTHER(cm_length_class(s->length) * 2 + (unsigned)s->expected_bit) : 0;
    }
}

#if CM_RUN
PITH_INLINE void CM_FN(cm_ask_runs)(cm *m, unsigned lane) {
    for (unsigned i = 0; i < CM_RUN; i++) {
        unsigned expected = m->run_expected[i];
        bool heard = expected >> (8 - m->bit) == m->c0;
        m->other[lane + i] = heard ? CM_OTHER(m->run_rank[i] + (expected >> (7 - m->bit) & 1)) : 0;
    }
}
#endif

/* What the runs of the coming byte's contexts say. */
PITH_INLINE void CM_FN(cm_find_runs)(cm *m) {
    for (int i = 0; i < CM_RUN; i++) {
        uint32_t h = m->hash[i] * 0x9E3779B1u;
        m->run[i] = &m->run_table[h >> 8 & m->table_mask];
        if (*m->run[i] >> 16 != (h & 0xFFFF)) *m->run[i] = h << 16;
        unsigned count = *m->run[i] & 0xFF;
        unsigned rank = count < 16 ? count : count < 32 ? 16 + (count - 16) / 4 : 20 + PITH_MIN((count - 32) / 32, 3u);
        m->run_rank[i] = rank * 2;
        /* 0 never equals c0: nothing seen, nothing said */
        m->run_expected[i] = count ? (*m->run[i] >> 8 & 0xFF) | 256 : 0;
    }
}

PITH_INLINE void CM_FN(cm_select)(cm *m, unsigned seen) {
    const cm_history *h = &m->history;
    unsigned c0 = m->c0, bit = m->bit, c1 = h->c4 & 0xFF;
    const cm_match *s = &m->match[0];
    unsigned expected = s->expected_bit >= 0 ? 1u + (unsigned)s->expected_bit : 0;
    unsigned length = expected ? PITH_MIN(cm_length_class(s->length) / 2 + 1, 15u) : 0;
    m->selected[0] = c0;
    m->selected[1] = length * 8 + bit;
    m->selected[2] = seen * 8 + bit;
    m->selected[3] = c1;
#if CM_SETS > 4
    m->selected[4] = expected ? s->expected_byte | bit << 8 : 2048 + bit;
    m->selected[5] = h->c4 >> 8 & 0xFF;
    m->selected[6] = h->shape & 0xFF;
    m->selected[7] = PITH_MIN(h->n - h->line_start, 255u);
#endif
#if CM_NEURAL
    m->selected[8] = m->ssm_row;
#endif
    m->final_selected[0] = c0;
    m->final_selected[1] = length * 8 + bit;
    m->apm_at[0] = c0;
    m->apm_at[1] = cm_hash2(c1, c0) & m->apm_mask;
#if CM_APMS > 2
    m->apm_at[2] = cm_hash2(h->c4 & 0xFFFF, c0) & m->apm_mask;
    m->apm_at[3] = cm_hash2(h->c4 & 0xFFFFFF, c0 + 7) & m->apm_mask;
#endif
    for (unsigned i = 1; i < CM_APMS; i++) PITH_PREFETCH(m->apm[i] + m->apm_at[i] * APM_BUCKETS);
}

/* Inputs of all lanes; returns how many of the first five contexts have been seen before. */
PITH_INLINE unsigned CM_FN(cm_inputs)(cm *m) {
    int16_t *x = m->x;
    CM_FN(cm_ask_matches)(m, CM_CELLS);
#if CM_RUN
    CM_FN(cm_ask_runs)(m, CM_CELLS + CM_MATCHES);
#endif
    m->other[CM_CELLS + CM_MATCHES + CM_RUN] = CM_OTHER(m->c0);
    CM_FN(cm_read)(m, 0);
#if CM_LANES > 16
    CM_FN(cm_read)(m, 16);
    CM_FN(cm_read)(m, 32);
#endif
    unsigned spoke = cm_lanes_say(&m->row, &m->squash, x, CM_LANES, 0, CM_CELLS);
#if CM_LANES > 16
    cm_lanes_say(&m->row, &m->squash, x, CM_LANES, 16, CM_CELLS);
    cm_lanes_say(&m->row, &m->squash, x, CM_LANES, 32, CM_CELLS);
#endif
#if CM_NEURAL
    cm_ask_neural(m, CM_MAPPED, CM_LANES);
#endif
    return (unsigned)__builtin_popcount(spoke & 0x3FF) / 2;
}

PITH_INLINE unsigned CM_FN(cm_p)(cm *m) {
    const int16_t *x = m->x;
    CM_FN(cm_select)(m, CM_FN(cm_inputs)(m));
    int32_t sums[CM_VOTES] __attribute__((aligned(16)));
    for (unsigned i = 0; i < (CM_SETS > 8 ? 16 : 8); i += 4) {
        const int16_t *w[4];
        for (unsigned k = 0; k < 4 && i + k < CM_SETS; k++) w[k] = m->weights[i + k] + (size_t)m->selected[i + k] * CM_IN;
        mix_dot4(w, i < CM_SETS ? CM_SETS - i : 0, x, CM_IN, sums + i);
    }
    for (unsigned i = 0; i < CM_SETS; i++) m->vote_p[i] = m->logistic.squash[sums[i] + SQUASH_MAX];
    vote_pack(m->votes, sums);
    if (CM_SETS > 8) vote_pack(m->votes + 8, sums + 8);
#if CM_NEURAL
    for (unsigned i = 0; i < 3; i++) m->votes[CM_SETS + i] = x[CM_MAPPED + i];
#endif
    int sum = 0;
    for (unsigned i = 0; i < CM_FINALS; i++) {
        int st = vote_dot(m->final_weights[i] + (size_t)m->final_selected[i] * CM_VOTES, m->votes, CM_ALL_VOTES);
        m->final_p[i] = squash16(&m->logistic, st);
        sum += st;
    }
    int st = sum / CM_FINALS;
    unsigned refined[CM_APMS], p = squash16(&m->logistic, st);
    for (unsigned i = 0; i < CM_APMS; i++) {
        unsigned near;
        uint32_t row = m->apm_at[i] * APM_BUCKETS;
        refined[i] = apm_p(m->apm[i] + row, st, &near);
        m->apm_at[i] = row + near;
    }
#if CM_APMS == 4
    p = (2 * p + refined[0] + refined[1] + 2 * refined[2] + 2 * refined[3] + 4) >> 3;
#else
    p = (2 * p + refined[0] + 5 * refined[1] + 4) >> 3;
#endif
    return m->p = PITH_MAX(1u, PITH_MIN(65535u, p));
}

PITH_INLINE void CM_FN(cm_find_slots)(cm *m) {
    for (unsigned i = 0; i < CM_CTX; i++)
        m->slot[i] = (uint32_t)(slot_find(m->table, m->table_mask, m->hash[i]) - m->table);
    m->slot[CM_CTX] = m->order1 + ((m->history.c4 & 0xFF) * 17 + (m->c0 > 1 ? m->c0 - 15 : 0)) * SLOT;
    m->node = 1;
}

PITH_INLINE void CM_FN(cm_next_byte)(cm *m) {
    unsigned byte = m->c0 & 0xFF;
    for (int i = 0; i < CM_RUN; i++) {
        uint32_t r = *m->run[i];
        if ((r & 0xFF) && (r >> 8 & 0xFF) == byte)
            *m->run[i] = (r & 0xFF) < 255 ? r + 1 : r;
        else
            *m->run[i] = (r & 0xFFFF0000u) | byte << 8 | 1;
    }
    m->buf[m->history.n] = (uint8_t)byte;
    if (CM_RUN) cm_history_follow(&m->history);
    cm_history_update(&m->history);
    m->c0 = 1;
    m->bit = 0;
    CM_CONTEXTS(&m->history, m->hash);
    for (unsigned i = 0; i < CM_CTX; i++) slot_ask(m->table, m->table_mask, m->hash[i]);
    CM_FN(cm_find_runs)(m);
    for (unsigned i = 0; i < CM_MATCHES; i++) cm_match_update(&m->match[i], &m->history);
#if CM_NEURAL
    cm_neural_byte(m, (uint8_t)byte);
#endif
    CM_FN(cm_find_slots)(m);
}

/* All that learns but mixers and refinement. */
PITH_INLINE void CM_FN(cm_advance)(cm *m, unsigned bit) {
    cm_row *r = &m->row;
    m->dither = (uint16_t)(m->dither * 25173u + 13849u);
    int dither = (int16_t)m->dither >> CM_DITHER_SHIFT;
    for (unsigned i = 0; i < CM_LANES; i += 16) {
        cm_maps_learn(r, bit, CM_MAP_RATE, dither, i);
        if (i < CM_CELLS) cm_cells_learn(r, &m->cell_steps, bit, i);
        CM_FN(cm_write)(m, i);
    }
    for (unsigned i = 0; i < CM_MATCHES; i++) {
        cm_match *s = &m->match[i];
        if (s->expected_bit >= 0 && (unsigned)s->expected_bit != bit) s->length = 0;
    }
#if CM_NEURAL
    cm_neural_update(m, bit);
#endif
    m->c0 = m->c0 << 1 | bit;
    m->node = m->node << 1 | bit;
    m->bit++;
    if (m->bit == 3) {
        /* memory is slow: both slots that the next bit may lead to are asked for now */
        for (unsigned i = 0; i < CM_CTX; i++) {
            uint32_t h = m->hash[i] + m->c0 * 2 * CM_NIBBLE;
            slot_ask(m->table, m->table_mask, h);
            slot_ask(m->table, m->table_mask, h + CM_NIBBLE);
        }
    } else if (m->bit == 4) {
        for (unsigned i = 0; i < CM_CTX; i++) m->hash[i] += m->c0 * CM_NIBBLE;
        CM_FN(cm_find_slots)(m);
    } else if (m->bit == 8) {
        CM_FN(cm_next_byte)(m);
    }
}

PITH_INLINE void CM_FN(cm_update)(cm *m, unsigned bit) {
    int target = (int)(bit << 16);
    for (unsigned i = 0; i < CM_SETS; i++) {
        int error = target - (int)m->vote_p[i];
        /* what was foreseen teaches little */
        if (error > CM_SMALL_ERROR || error < -CM_SMALL_ERROR)
            mix_train(m->weights[i] + (size_t)m->selected[i] * CM_IN, m->x, CM_IN, (error * m->rate) >> 10);
    }
    for (unsigned i = 0; i < CM_FINALS; i++)
        vote_train(m->final_weights[i] + (size_t)m->final_selected[i] * CM_VOTES, m->votes, CM_ALL_VOTES,
                  ((target - (int)m->final_p[i]) * CM_FINAL_RATE) >> 10);
    for (unsigned i = 0; i < CM_APMS; i++) apm_update(m->apm[i] + m->apm_at[i], bit, 6);
    CM_FN(cm_advance)(m, bit);
    if (m->bit == 0) {
        /* fast while everything is new, then slower */
        if (m->n_bytes < CM_RATE_BYTES) m->n_bytes++;
        m->rate = CM_RATE + (int)((CM_RATE_BYTES - m->n_bytes) * CM_RATE_EXTRA / CM_RATE_BYTES);
    }
}
static void CM_FN(cm_start)(cm *m) {
    m->c0 = 1;
    m->bit = 0;
    m->rate = CM_RATE + CM_RATE_EXTRA;
    CM_CONTEXTS(&m->history, m->hash);
    CM_FN(cm_find_runs)(m);
    CM_FN(cm_find_slots)(m);
}

static void CM_FN(cm_encode)(cm *m, rc_enc *e, const uint8_t *src, size_t n) {
    for (size_t i = 0; i < n && !e->full; i++) {
        if (i % CM_POLL == 0 && pith_step(m->base.ctx, i ? CM_POLL : 0)) return;
        for (int b = 7; b >= 0; b--) {
            unsigned bit = src[i] >> b & 1;
            rc_enc_bit(e, CM_FN(cm_p)(m), bit);
            CM_FN(cm_update)(m, bit);
        }
    }
}

static void CM_FN(cm_decode)(cm *m, rc_dec *d, uint8_t *dst, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i % CM_POLL == 0 && pith_step(m->base.ctx, i ? CM_POLL : 0)) return;
        unsigned c = 1;
        while (c < 256) {
            unsigned bit = rc_dec_bit(d, CM_FN(cm_p)(m));
            CM_FN(cm_update)(m, bit);
            c = c << 1 | bit;
        }
        dst[i] = (uint8_t)c;
    }
}

/* Learns what it is told; the last `whole` bytes with everything, those before without mixers and
 * refinement, which soon know all they can. */
static void CM_FN(cm_learn)(cm *m, const uint8_t *src, size_t n, size_t whole) {
    for (size_t i = 0; i < n; i++)
        for (int b = 7; b >= 0; b--) {
            if (n - i > whole)
                CM_FN(cm_inputs)(m);
            else
                CM_FN(cm_p)(m);
            unsigned bit = src[i] >> b & 1;
            if (n - i > whole)
                CM_FN(cm_advance)(m, bit);
            else
                CM_FN(cm_update)(m, bit);
        }
}

const cm_size CM_JOIN(CM_FN(cm), CM_ISA_NAME) = {
    .n_ctx = CM_CTX,
    .n_in = CM_IN,
    .n_sets = CM_SETS,
    .n_run = CM_RUN,
    .lanes = CM_LANES,
    .n_match = CM_MATCHES,
    .set_rows = {256, 16 * 8, 6 * 8, 256, 2048 + 8, 256, 256, 256, 256},
    .start = CM_FN(cm_start),
    .p = CM_FN(cm_p),
    .update = CM_FN(cm_update),
    .encode = CM_FN(cm_encode),
    .decode = CM_FN(cm_decode),
    .learn = CM_FN(cm_learn),
};

#undef CM_NAME
#undef CM_CTX
#undef CM_CONTEXTS
#undef CM_RUN
#undef CM_MATCHES
#undef CM_SETS
#undef CM_NEURAL
#undef CM_APMS
#undef CM_FINALS
#undef CM_CELLS
#undef CM_IN
#undef CM_ALL_VOTES
#undef CM_LANES
#undef CM_MAPPED
#undef CM_OTHER
#undef CM_OTHERS
#undef CM_FN
#undef CM_JOIN
#undef CM_JOIN2
