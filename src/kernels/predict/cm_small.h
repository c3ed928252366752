/* The small size in vector registers: bit for bit what cm_core.h makes of it, but the lanes, inputs, sums and errors
 * of a bit stay in registers from its prediction to its learning, mixing branches on nothing that is hard to foresee,
 * and slots are asked for long before they are needed: an encoder knows which, a decoder guesses. For CM_ISA 1 (AVX2)
 * and 2 (AVX-512, where vectors of 512 bits measured no faster); cm_sizes.h includes this once. */
#define SMALL_CELLS 8 /* lanes: the hashed contexts and order 1; the match; order 0; zeros */
#define SMALL_MATCH 8
#define SMALL_ORDER0 9
#define SMALL_LANES 16
#define SMALL_IN (2 * SMALL_LANES)
#define SMALL_SETS 4
_Static_assert(SMALL_CELLS == CM_SMALL_CTX + 1, "a vector of cells");

/* A bit, from its prediction to its learning. */
typedef struct small_bit {
    __m256i value, st, p;                /* as in cm_row */
    __m256i x[2];                        /* the inputs */
    __m128i votes;                       /* four, of 16 bits */
    __m128i vote_p;                      /* four, of 32 bits */
    uint16_t key[SMALL_LANES];           /* entries of the maps */
    uint32_t row[SMALL_SETS], final_row; /* offsets into the weights */
    uint32_t apm_at[2];
    unsigned final_p;
} small_bit;
_Static_assert(sizeof(small_bit) <= CM_SMALL_BIT, "room for a bit");

/* F(0) to F(7) of 16 bits as a vector */
#define SMALL_TWO(F, v, i) _mm_insert_epi16(_mm_insert_epi16(v, F(i), i), F(i + 1), i + 1)
#define SMALL_FOUR(F, v, i) SMALL_TWO(F, SMALL_TWO(F, v, i), i + 2)
#define SMALL_EIGHT(F) SMALL_FOUR(F, SMALL_FOUR(F, _mm_setzero_si128(), 0), 4)

/* ---- what the lanes say, and what they learn ---- */

/* Inputs of all lanes; expected is the match's byte behind a 1, 0 when it is not heard. Returns which lanes spoke, two
 * bits a lane. */
PITH_INLINE unsigned small_lanes(cm *m, small_bit *b, unsigned c0, unsigned bit, unsigned node, unsigned expected) {
    const uint16_t *t = m->table + node;
    const int16_t *map = m->map;
    unsigned match = expected ? m->match_key + (expected >> (7 - bit) & 1) : 0, order0 = 64 + c0;
#define SMALL_CELL(i) t[m->slot[i]]
    __m128i cells = SMALL_EIGHT(SMALL_CELL);
#undef SMALL_CELL
    _mm_storeu_si128((__m128i *)(void *)b->key, _mm_srli_epi16(cells, 6));
    __asm__("" : "+m"(b->key)); /* loading keys one by one is cheaper than taking the vector apart */
    b->key[SMALL_MATCH] = (uint16_t)match;
    b->key[SMALL_ORDER0] = (uint16_t)order0;
#define SMALL_ENTRY(i) map[(i)*CM_MAP_SIZE + b->key[i]]
    __m128i said = SMALL_EIGHT(SMALL_ENTRY);
#undef SMALL_ENTRY
    __m128i other_said = _mm_insert_epi16(_mm_cvtsi32_si128((uint16_t)map[SMALL_MATCH * CM_MAP_SIZE + match]),
                                          map[SMALL_ORDER0 * CM_MAP_SIZE + order0], 1);
    __m128i others = _mm_insert_epi16(_mm_cvtsi32_si128((int)(match << 6)), (int)(order0 << 6), 1);
    __m256i v = _mm256_inserti128_si256(_mm256_castsi128_si256(cells), others, 1);
    __m256i st = _mm256_inserti128_si256(_mm256_castsi128_si256(said), other_said, 1);
    __m256i size = _mm256_abs_epi16(st), line = _mm256_srli_epi16(size, 11);
    __m256i part = _mm256_slli_epi16(_mm256_and_si256(size, _mm256_set1_epi16(2047)), 4);
    __m256i p = _mm256_mulhi_epi16(cm_look_up16(&m->squash.slope, line), part);
    p = _mm256_sign_epi16(_mm256_add_epi16(cm_look_up16(&m->squash.base, line), p), st);
    __m256i known = _mm256_cmpgt_epi16(_mm256_srli_epi16(v, 12), _mm256_setzero_si256());
    __m128i own = _mm_and_si128(cells, _mm_set1_epi16(4095));
    own = _mm_srai_epi16(_mm_sub_epi16(own, _mm_set1_epi16(2048)), 2);
    __m256i raw = _mm256_blend_epi32(_mm256_srai_epi16(p, 5), _mm256_castsi128_si256(own), 0x0F);
    b->value = v;
    b->st = st;
    b->p = p;
    b->x[0] = _mm256_and_si256(_mm256_srai_epi16(st, 4), known);
    b->x[1] = _mm256_and_si256(raw, known);
    return (unsigned)_mm256_movemask_epi8(known);
}

/* As cm_maps_learn and cm_cells_learn, and everything put back. */
PITH_INLINE void small_lanes_learn(cm *m, const small_bit *b, unsigned y, unsigned node) {
    m->dither = (uint16_t)(m->dither * 25173u + 13849u);
    __m256i dither = _mm256_set1_epi16((short)((int16_t)m->dither >> CM_DITHER_SHIFT));
    __m256i ones = _mm256_set1_epi16((short)-(int)y); /* where y is 1 */
    __m256i target = _mm256_sub_epi16(_mm256_xor_si256(_mm256_set1_epi16(-CM_P_MOST), ones), ones);
    __m256i error = _mm256_adds_epi16(_mm256_sub_epi16(target, b->p), dither);
    __m256i st = _mm256_adds_epi16(b->st, _mm256_mulhrs_epi16(error, _mm256_set1_epi16(CM_MAP_RATE)));
    st = _mm256_max_epi16(st, _mm256_set1_epi16(-32767));
    const __m128i most = _mm_set1_epi16(4095);
    __m128i v = _mm256_castsi256_si128(b->value), count = _mm_srli_epi16(v, 12), p = _mm_and_si128(v, most);
    __m128i diff = _mm_slli_epi16(_mm_sub_epi16(_mm_and_si128(_mm256_castsi256_si128(ones), most), p), 1);
    __m128i steps = _mm256_castsi256_si128(cm_look_up16(&m->cell_steps, _mm256_castsi128_si256(count)));
    p = _mm_add_epi16(p, _mm_mulhi_epi16(diff, steps));
    count = _mm_min_epi16(_mm_add_epi16(count, _mm_set1_epi16(1)), _mm_set1_epi16(15));
    v = _mm_or_si128(_mm_slli_epi16(count, 12), p);
    __m128i learned = _mm256_castsi256_si128(st), others = _mm256_extracti128_si256(st, 1);
    uint16_t *t = m->table + node;
    int16_t *map = m->map;
#define SMALL_PUT(i)                                                                                                   \
    t[m->slot[i]] = (uint16_t)_mm_extract_epi16(v, i);                                                                 \
    map[(i)*CM_MAP_SIZE + b->key[i]] = (int16_t)_mm_extract_epi16(learned, i)
    SMALL_PUT(0);
    SMALL_PUT(1);
    SMALL_PUT(2);
    SMALL_PUT(3);
    SMALL_PUT(4);
    SMALL_PUT(5);
    SMALL_PUT(6);
    SMALL_PUT(7);
#undef SMALL_PUT
    map[SMALL_MATCH * CM_MAP_SIZE + b->key[SMALL_MATCH]] = (int16_t)_mm_extract_epi16(others, 0);
    map[SMALL_ORDER0 * CM_MAP_SIZE + b->key[SMALL_ORDER0]] = (int16_t)_mm_extract_epi16(others, 1);
}

/* ---- mixing and refinement ---- */

/* The match's byte behind a 1 when it agrees with the byte so far, else 0. */
PITH_INLINE unsigned small_expected(const cm *m, unsigned c0, unsigned bit) {
    return m->match_byte >> (8 - bit) == c0 ? m->match_byte : 0;
}

/* The four sums as votes of 32 bits: as mix_dot4. */
PITH_INLINE __m128i small_votes(cm *m, const small_bit *b) {
    __m256i s[SMALL_SETS];
    for (unsigned i = 0; i < SMALL_SETS; i++) {
        const int16_t *w = m->weights[i] + b->row[i];
        s[i] = _mm256_add_epi32(_mm256_srai_epi32(_mm256_madd_epi16(cm_load16(w), b->x[0]), 8),
                                _mm256_srai_epi32(_mm256_madd_epi16(cm_load16(w + SMALL_LANES), b->x[1]), 8));
    }
    __m256i s01 = _mm256_add_epi32(_mm256_unpacklo_epi32(s[0], s[1]), _mm256_unpackhi_epi32(s[0], s[1]));
    __m256i s23 = _mm256_add_epi32(_mm256_unpacklo_epi32(s[2], s[3]), _mm256_unpackhi_epi32(s[2], s[3]));
    __m256i half = _mm256_add_epi32(_mm256_unpacklo_epi64(s01, s23), _mm256_unpackhi_epi64(s01, s23));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
    sum = _mm_min_epi32(_mm_srai_epi32(sum, 6), _mm_set1_epi32(STRETCH_MAX));
    return _mm_max_epi32(sum, _mm_set1_epi32(-STRETCH_MAX));
}

/* The probability of a 1; c1 is the byte before. */
PITH_INLINE unsigned small_p(cm *m, small_bit *b, unsigned c1, unsigned c0, unsigned bit, unsigned node) {
    unsigned expected = small_expected(m, c0, bit);
    b->apm_at[0] = c0 * APM_BUCKETS;
    b->apm_at[1] = (cm_hash2(c1, c0) & m->apm_mask) * APM_BUCKETS;
    PITH_PREFETCH(m->apm[1] + b->apm_at[1]);
    unsigned spoke = small_lanes(m, b, c0, bit, node, expected);
    unsigned seen = (unsigned)__builtin_popcount(spoke & 0x3FF) / 2; /* of the first five contexts */
    b->row[0] = c0 * SMALL_IN;
    b->row[1] = ((expected ? m->match_length * 8 : 0) + bit) * SMALL_IN;
    b->row[2] = (seen * 8 + bit) * SMALL_IN;
    b->row[3] = c1 * SMALL_IN;
    __m128i sums = small_votes(m, b);
    const uint16_t *squash = m->logistic.squash + SQUASH_MAX;
    b->vote_p = _mm_setr_epi32(squash[_mm_extract_epi32(sums, 0)], squash[_mm_extract_epi32(sums, 1)],
                               squash[_mm_extract_epi32(sums, 2)], squash[_mm_extract_epi32(sums, 3)]);
    b->votes = _mm_packs_epi32(sums, _mm_setzero_si128());
    b->final_row = c0 * CM_VOTES;
    __m128i dot = _mm_madd_epi16(mix_load8(m->final_weights[0] + b->final_row), b->votes);
    dot = _mm_add_epi32(dot, _mm_shuffle_epi32(dot, 0xB1));
    int st = _mm_cvtsi128_si32(dot) >> 14;
    b->final_p = squash16(&m->logistic, st);
    unsigned near[2], refined[2];
    for (unsigned i = 0; i < 2; i++) {
        refined[i] = apm_p(m->apm[i] + b->apm_at[i], st, &near[i]);
        b->apm_at[i] += near[i];
    }
    unsigned p = (2 * b->final_p + refined[0] + 5 * refined[1] + 4) >> 3;
    return PITH_MAX(1u, PITH_MIN(65535u, p));
}

PITH_INLINE void small_mixers_learn(cm *m, const small_bit *b, unsigned y) {
    int target = (int)(y << 16);
    __m128i error = _mm_sub_epi32(_mm_set1_epi32(target), b->vote_p);
    /* what was foreseen teaches little: a step of 0 changes nothing */
    __m128i large = _mm_cmpgt_epi32(_mm_abs_epi32(error), _mm_set1_epi32(CM_SMALL_ERROR));
    __m128i steps = _mm_srai_epi32(_mm_mullo_epi32(error, _mm_set1_epi32(m->rate)), 10);
    steps = _mm_and_si128(steps, large);
    for (unsigned i = 0; i < SMALL_SETS; i++) {
        int16_t *w = m->weights[i] + b->row[i];
        __m256i low_half = _mm256_set1_epi16((short)(0x0100 + 0x0404 * i)); /* of number i, everywhere */
        __m256i step = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(steps), low_half);
        cm_store16(w, _mm256_adds_epi16(cm_load16(w), _mm256_mulhrs_epi16(b->x[0], step)));
        w += SMALL_LANES;
        cm_store16(w, _mm256_adds_epi16(cm_load16(w), _mm256_mulhrs_epi16(b->x[1], step)));
    }
    __m128i step = _mm_set1_epi16((short)(((target - (int)b->final_p) * CM_FINAL_RATE) >> 10));
    int16_t *w = m->final_weights[0] + b->final_row;
    mix_store8(w, _mm_adds_epi16(mix_load8(w), _mm_mulhrs_epi16(b->votes, step)));
    for (unsigned i = 0; i < 2; i++) apm_update(m->apm[i] + b->apm_at[i], y, 6);
}

/* ---- slots ---- */

PITH_INLINE void small_find_slots(cm *m, unsigned c0) {
    for (unsigned i = 0; i < CM_SMALL_CTX; i++)
        m->slot[i] = (uint32_t)(slot_find(m->table, m->table_mask, m->hash[i]) - m->table);
    m->slot[CM_SMALL_CTX] = m->order1 + ((m->history.c4 & 0xFF) * 17 + (c0 > 1 ? c0 - 15 : 0)) * SLOT;
}

/* The low nibble begins; c0 is the high one behind a 1. */
PITH_INLINE void small_low_nibble(cm *m, unsigned c0) {
    for (unsigned i = 0; i < CM_SMALL_CTX; i++) m->hash[i] += c0 * CM_NIBBLE;
    small_find_slots(m, c0);
}

/* Its slots are asked for. */
PITH_INLINE void small_ask_low_nibble(cm *m, unsigned c0) {
    for (unsigned i = 0; i < CM_SMALL_CTX; i++) slot_ask(m->table, m->table_mask, m->hash[i] + c0 * CM_NIBBLE);
}

/* The four bits likely to come behind c0: what the match says, or the longest of the orders that has been here. */
PITH_INLINE unsigned small_guess(const cm *m, unsigned c0, unsigned bit) {
    const uint16_t *t = m->table;
    uint32_t at = m->slot[0];
    at = t[m->slot[1] + 1] >> 12 ? m->slot[1] : at;
    at = t[m->slot[2] + 1] >> 12 ? m->slot[2] : at;
    unsigned node = 1;
    for (unsigned k = 0; k < 4; k++) node = node << 1 | (t[at + node] >> 11 & 1);
    return small_expected(m, c0, bit) ? m->match_byte >> (4 - bit) : c0 << 4 | (node & 15);
}

/* The slots of the byte after c, should c come next, are asked for. */
PITH_INLINE void small_ask_after(cm *m, uint8_t c) {
    uint32_t hash[CM_SMALL_CTX];
    cm_small_contexts_after(&m->history, c, hash);
    for (unsigned i = 0; i < CM_SMALL_CTX; i++) slot_ask(m->table, m->table_mask, hash[i]);
}

/* ---- bytes ---- */

PITH_INLINE void small_begin_byte(cm *m) {
    const cm_match *s = &m->match[0];
    unsigned class = cm_length_class(s->length);
    m->match_byte = s->length ? s->expected_byte | 256 : 0; /* 0 never begins like a byte */
    m->match_key = 64 + class * 2;
    m->match_length = PITH_MIN(class / 2 + 1, 15u);
    small_find_slots(m, 1);
}

PITH_INLINE void small_ask_contexts(cm *m) {
    cm_small_contexts(&m->history, m->hash);
    for (unsigned i = 0; i < CM_SMALL_CTX; i++) slot_ask(m->table, m->table_mask, m->hash[i]);
}

/* The byte is known, and with it the contexts of the next. */
static void small_remember(cm *m, uint8_t byte) {
    m->buf[m->history.n] = byte;
    cm_history_update(&m->history);
    small_ask_contexts(m);
}

/* The byte's last bit has been learned. */
PITH_INLINE void small_next_byte(cm *m) {
    cm_match_update(&m->match[0], &m->history);
    small_begin_byte(m);
}

/* The mixers learn fast while everything is new, then slower. */
PITH_INLINE void small_slow_down(cm *m) {
    if (m->n_bytes < CM_RATE_BYTES) m->n_bytes++;
    m->rate = CM_RATE + (int)((CM_RATE_BYTES - m->n_bytes) * CM_RATE_EXTRA / CM_RATE_BYTES);
}

/* Encode with an rc_enc, decode with an rc_dec, learn a known byte, or learn it without mixers and refinement. */
typedef enum small_way { SMALL_ENCODE, SMALL_DECODE, SMALL_LEARN, SMALL_LEARN_LIGHTLY } small_way;

/* Four bits behind c0, of a byte that is `known` unless it is decoded; returns c0 with them. */
PITH_INLINE unsigned small_nibble(cm *m, small_way way, void *coder, unsigned c1, unsigned c0, unsigned known) {
    bool high = c0 == 1;
    for (unsigned node = 1, bit = high ? 0 : 4; node < 16; bit++) {
        small_bit b;
        unsigned y = known >> (7 - bit) & 1;
        if (way == SMALL_LEARN_LIGHTLY) {
            small_lanes(m, &b, c0, bit, node, small_expected(m, c0, bit));
        } else {
            unsigned p = small_p(m, &b, c1, c0, bit, node);
            if (way == SMALL_ENCODE) rc_enc_bit_even(coder, p, y);
            if (way == SMALL_DECODE) y = rc_dec_bit_even(coder, p);
            small_mixers_learn(m, &b, y);
        }
        small_lanes_learn(m, &b, y, node);
        c0 = c0 << 1 | y;
        node = node << 1 | y;
        if (way == SMALL_DECODE && high && bit == 2)
            for (unsigned last = 0; last < 2; last++) small_ask_low_nibble(m, c0 << 1 | last);
    }
    return c0;
}

PITH_INLINE uint8_t small_byte(cm *m, small_way way, void *coder, uint8_t known) {
    unsigned c1 = m->history.c4 & 0xFF;
    bool decode = way == SMALL_DECODE;
    small_ask_low_nibble(m, decode ? small_guess(m, 1, 0) : 16u | known >> 4);
    unsigned c0 = small_nibble(m, way, coder, c1, 1, known);
    small_low_nibble(m, c0);
    if (decode)
        small_ask_after(m, (uint8_t)small_guess(m, c0, 4));
    else
        small_remember(m, known);
    c0 = small_nibble(m, way, coder, c1, c0, known);
    if (decode) small_remember(m, (uint8_t)c0);
    small_next_byte(m);
    if (way != SMALL_LEARN_LIGHTLY) small_slow_down(m);
    return (uint8_t)c0;
}

/* ---- the size ---- */

static void small_start(cm *m) {
    m->c0 = m->node = 1;
    m->bit = 0;
    m->rate = CM_RATE + CM_RATE_EXTRA;
    small_ask_contexts(m);
    small_begin_byte(m);
}

static unsigned small_op_p(cm *m) {
    small_bit b;
    memset(b.key, 0, sizeof b.key);
    m->p = small_p(m, &b, m->history.c4 & 0xFF, m->c0, m->bit, m->node);
    memcpy(m->small_bit, &b, sizeof b);
    return m->p;
}

static void small_op_update(cm *m, unsigned y) {
    small_bit b;
    memcpy(&b, m->small_bit, sizeof b);
    small_mixers_learn(m, &b, y);
    small_lanes_learn(m, &b, y, m->node);
    m->c0 = m->c0 << 1 | y;
    m->node = m->node << 1 | y;
    m->bit++;
    if (m->bit == 4) {
        small_low_nibble(m, m->c0);
        m->node = 1;
    } else if (m->bit == 8) {
        small_remember(m, (uint8_t)m->c0);
        m->c0 = m->node = 1;
        m->bit = 0;
        small_next_byte(m);
        small_slow_down(m);
    }
}

static void small_encode(cm *m, rc_enc *e, const uint8_t *src, size_t n) {
    for (size_t i = 0; i < n && !e->full; i++) {
        if (i % CM_POLL == 0 && pith_step(m->base.ctx, i ? CM_POLL : 0)) return;
        small_byte(m, SMALL_ENCODE, e, src[i]);
    }
}

static void small_decode(cm *m, rc_dec *d, uint8_t *dst, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (i % CM_POLL == 0 && pith_step(m->base.ctx, i ? CM_POLL : 0)) return;
        dst[i] = small_byte(m, SMALL_DECODE, d, 0);
    }
}

static void small_learn(cm *m, const uint8_t *src, size_t n, size_t whole) {
    size_t i = 0;
    for (; n - i > whole; i++) small_byte(m, SMALL_LEARN_LIGHTLY, NULL, src[i]);
    for (; i < n; i++) small_byte(m, SMALL_LEARN, NULL, src[i]);
}

#define SMALL_JOIN2(a, b) a##b
#define SMALL_JOIN(a, b) SMALL_JOIN2(a, b)
const cm_size SMALL_JOIN(cm_small_, CM_ISA_NAME) = {
    .n_ctx = CM_SMALL_CTX,
    .n_in = SMALL_IN,
    .n_sets = SMALL_SETS,
    .lanes = SMALL_LANES,
    .n_match = 1,
    .set_rows = {256, 16 * 8, 6 * 8, 256},
    .start = small_start,
    .p = small_op_p,
    .update = small_op_update,
    .encode = small_encode,
    .decode = small_decode,
    .learn = small_learn,
};
