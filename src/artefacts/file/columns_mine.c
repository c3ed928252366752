/* Templates of lines and the values of their slots.
 *
 * A line is cut into tokens; those with a digit in them are variable. Lines that agree in all else
 * are of one skeleton; rare skeletons that differ in a few words are merged, the words becoming variable
 * (after P. He et al., "Drain: an online log parsing approach with fixed depth tree", 2017). Tokens of one shape at
 * the same place in nearly all lines, times and the like, make one column for all templates. */
#include "artefacts/file/columns.h"
#include "artefacts/file/columns_tokens.h"

enum {
    HEADS_MAX = 16, /* places at the beginning of lines that may have a column for all templates */
    SKELETONS_MAX = 1 << 15,
    COMPARED_MAX = 64, /* templates a skeleton is compared with */
    SOLID = 16,        /* lines from which a skeleton is a template of its own */
    RARE = 3,          /* lines below which it is none */
    OWN = 12,          /* lines from which a template has columns for itself */
    SHARED_MAX = 512,
    LINE_LEAST = 8,  /* bytes of a line on average, for there to be anything to gain */
    VALUE_LEAST = 3, /* the same of a slot's value and what is around it */
    COPIES = 4       /* columns a column may be a copy of, at most looked at */
};
#define WORD_VARIABLE 0u
#define WORD_HEAD(place) (1u + (place)) /* other words are above HEADS_MAX */

typedef struct skeleton {
    uint64_t hash;
    uint64_t between; /* of what stands between tokens, and their number */
    uint32_t at, n;   /* its first line */
    uint32_t words;   /* place of its words */
    uint32_t lines;
    uint32_t template; /* number of the one it belongs to, itself if none */
    uint32_t next;     /* of the same `between`; + 1 */
    uint16_t n_tokens;
    bool rest; /* the last token is all the rest of the line */
} skeleton;

typedef struct miner {
    pith_ctx *ctx;
    const uint8_t *src;
    size_t n;
    uint8_t separator;
    uint64_t head_shape[HEADS_MAX]; /* 0: none */
    unsigned n_heads;               /* places up to the last that has one */
    skeleton *skeleton;
    uint32_t n_skeletons;
    uint32_t *table;         /* number + 1 by hash */
    pith_buffer words;       /* uint32_t each */
    uint32_t *line_skeleton; /* + 1; 0: none */
    tokens t;
    uint64_t word[TOKENS_MAX];
    columns_mined *out;
} miner;

static uint32_t *words_of(const miner *m, const skeleton *s) { return (uint32_t *)(void *)m->words.data + s->words; }

static uint64_t mix(uint64_t h, uint64_t v) {
    h = (h ^ v) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 29;
}

/* ---- lines ---- */

typedef struct line_walk {
    size_t at, end; /* of the line, without its end */
} line_walk;

/* From {0}: the next line; false when there is none. */
static bool line_next(const miner *m, line_walk *w, bool first) {
    w->at = first ? 0 : w->end + 1;
    if (w->at >= m->n) return false;
    const uint8_t *end = memchr(m->src + w->at, COLUMNS_END, m->n - w->at);
    w->end = end ? (size_t)(end - m->src) : m->n;
    return true;
}

/* The majority shape at every place near the beginning of lines, if it is one of four fifths. */
static void find_heads(miner *m) {
    uint64_t shape[HEADS_MAX] = {0};
    int64_t votes[HEADS_MAX] = {0}, count[HEADS_MAX] = {0}, lines = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        line_walk w;
        for (bool more = line_next(m, &w, true); more; more = line_next(m, &w, false)) {
            lines += pass;
            tokens_find(&m->t, m->src, w.at, w.end, m->separator, HEADS_MAX);
            for (unsigned k = 0; k < PITH_MIN(m->t.n, (unsigned)HEADS_MAX); k++) {
                if (!m->t.variable[k]) continue;
                uint64_t s = token_shape(m->src, m->t.token[k]);
                if (pass) {
                    count[k] += s == shape[k];
                } else if (votes[k] == 0) {
                    shape[k] = s;
                    votes[k] = 1;
                } else {
                    votes[k] += s == shape[k] ? 1 : -1;
                }
            }
        }
    }
    for (unsigned k = 0; k < HEADS_MAX; k++) {
        m->head_shape[k] = count[k] * 5 >= lines * 4 ? shape[k] : 0;
        if (m->head_shape[k]) m->n_heads = k + 1;
    }
}

/* ---- skeletons ---- */

/* The words of the tokens of m->t; false when it is no line for templates. */
static void name_words(miner *m) {
    for (unsigned k = 0; k < m->t.n; k++) {
        column_value v = m->t.token[k];
        if (m->t.variable[k]) {
            bool head = k < m->n_heads && m->head_shape[k] && token_shape(m->src, v) == m->head_shape[k];
            m->word[k] = head ? WORD_HEAD(k) : WORD_VARIABLE;
        } else {
            m->word[k] = (pith_hash64(m->src + v.at, v.n) & 0xFFFFFFFF) | 0x100;
        }
    }
}

/* The skeleton of the first n_tokens tokens of the line, and, if `rest`, of all behind as one more; number + 1 or
 * 0 when there are too many. */
static pith_status skeleton_of(miner *m, const line_walk *w, unsigned n_tokens, bool rest, uint32_t *number) {
    uint64_t between = mix(rest, n_tokens), hash = 0;
    size_t at = w->at;
    for (unsigned k = 0; k < n_tokens + rest; k++) {
        between = mix(between, pith_hash64(m->src + at, m->t.token[k].at - at));
        if (k < n_tokens) hash = mix(hash, m->word[k]);
        at = m->t.token[k].at + m->t.token[k].n;
    }
    if (!rest) between = mix(between, pith_hash64(m->src + at, w->end - at));
    hash = mix(hash, between);
    size_t slot = hash & (2 * SKELETONS_MAX - 1);
    for (; m->table[slot]; slot = (slot + 1) & (2 * SKELETONS_MAX - 1))
        if (m->skeleton[m->table[slot] - 1].hash == hash) break;
    *number = m->table[slot];
    if (*number) {
        m->skeleton[*number - 1].lines++;
        return PITH_OK;
    }
    if (m->n_skeletons == SKELETONS_MAX) return PITH_OK;
    skeleton *s = &m->skeleton[m->n_skeletons];
    *s = (skeleton){.hash = hash,
                    .between = between,
                    .at = (uint32_t)w->at,
                    .n = (uint32_t)(w->end - w->at),
                    .lines = 1,
                    .template = m->n_skeletons,
                    .words = (uint32_t)(m->words.size / 4),
                    .n_tokens = (uint16_t)(n_tokens + rest),
                    .rest = rest};
    for (unsigned k = 0; k < n_tokens + rest; k++) {
        uint32_t word = k < n_tokens ? (uint32_t)m->word[k] : WORD_VARIABLE;
        pith_status status = pith_buffer_append(m->ctx, &m->words, &word, sizeof word);
        if (status) return status;
    }
    *number = m->table[slot] = ++m->n_skeletons;
    return PITH_OK;
}

static bool line_is_fit(const miner *m, const line_walk *w) {
    return w->end > w->at && m->t.n && m->t.n <= TOKENS_MAX && !memchr(m->src + w->at, COLUMNS_SLOT, w->end - w->at);
}

static pith_status find_skeletons(miner *m) {
    line_walk w;
    size_t i = 0;
    pith_status status = PITH_OK;
    for (bool more = line_next(m, &w, true); more && !status; more = line_next(m, &w, false), i++) {
        m->line_skeleton[i] = 0;
        tokens_find(&m->t, m->src, w.at, w.end, m->separator, TOKENS_MAX + 1);
        if (!line_is_fit(m, &w)) continue;
        name_words(m);
        status = skeleton_of(m, &w, m->t.n, false, &m->line_skeleton[i]);
    }
    return status;
}

/* ---- templates ---- */

/* Whether s may be made one with the template t: few of the words both have differ. */
static bool is_like(const miner *m, const skeleton *s, const skeleton *t) {
    if (s->between != t->between || s->n_tokens != t->n_tokens || (s->lines >= SOLID && t->lines >= SOLID))
        return false;
    const uint32_t *a = words_of(m, s), *b = words_of(m, t);
    unsigned equal = 0, different = 0;
    for (unsigned k = 0; k < s->n_tokens; k++) {
        if (a[k] == b[k]) {
            equal += a[k] > HEADS_MAX;
        } else {
            bool heads = (a[k] && a[k] <= HEADS_MAX) || (b[k] && b[k] <= HEADS_MAX);
            if (heads) return false;
            different++;
        }
    }
    return 3 * different <= equal;
}

static pith_status merge(miner *m) {
    uint32_t *chain = pith_zalloc(m->ctx, SKELETONS_MAX * sizeof *chain);
    if (!chain) return pith_alloc_status(m->ctx);
    for (uint32_t i = 0; i < m->n_skeletons; i++) {
        skeleton *s = &m->skeleton[i];
        uint32_t *first = &chain[s->between & (SKELETONS_MAX - 1)];
        unsigned compared = 0;
        uint32_t at = *first;
        for (; at && compared < COMPARED_MAX; at = m->skeleton[at - 1].next, compared++)
            if (is_like(m, s, &m->skeleton[at - 1])) break;
        if (at && compared < COMPARED_MAX) {
            skeleton *t = &m->skeleton[at - 1];
            uint32_t *a = words_of(m, s), *b = words_of(m, t);
            for (unsigned k = 0; k < s->n_tokens; k++)
                if (a[k] != b[k]) b[k] = WORD_VARIABLE;
            t->lines += s->lines;
            s->template = at - 1;
        } else {
            s->next = *first;
            *first = i + 1;
        }
    }
    pith_free(m->ctx, chain);
    return PITH_OK;
}

/* Lines of templates too rare: what all lines begin with, and the rest as one value. */
static pith_status gather_rare(miner *m) {
    line_walk w;
    size_t i = 0;
    uint32_t plain = m->n_skeletons;
    pith_status status = PITH_OK;
    for (bool more = line_next(m, &w, true); more && !status; more = line_next(m, &w, false), i++) {
        uint32_t s = m->line_skeleton[i];
        if (!s || s > plain || m->skeleton[m->skeleton[s - 1].template].lines >= RARE) continue;
        m->line_skeleton[i] = 0;
        tokens_find(&m->t, m->src, w.at, w.end, m->separator, TOKENS_MAX + 1);
        if (m->separator || m->t.n <= m->n_heads) continue;
        name_words(m);
        status = skeleton_of(m, &w, m->n_heads, true, &m->line_skeleton[i]);
    }
    return status;
}

/* ---- what the stream says ---- */

/* Slots of the tokens in m->t of a line of skeleton s: their values; gives back their number. */
static unsigned take_slots(miner *m, const line_walk *w, const skeleton *s, column_value *value) {
    const uint32_t *word = words_of(m, s);
    unsigned n_slots = 0;
    tokens_find(&m->t, m->src, w->at, w->end, m->separator, TOKENS_MAX + 1);
    for (unsigned k = 0; k < s->n_tokens; k++) {
        if (word[k] > HEADS_MAX) continue;
        column_value v = m->t.token[k];
        if (s->rest && k + 1 == s->n_tokens) v.n = (uint32_t)w->end - v.at;
        value[n_slots++] = v;
    }
    return n_slots;
}

static pith_status write_template(miner *m, const skeleton *s, const column_value *value, unsigned n_slots) {
    pith_buffer *b = &m->out->templates;
    static const uint8_t slot = COLUMNS_SLOT, end = COLUMNS_END;
    uint32_t at = s->at;
    pith_status status = PITH_OK;
    for (unsigned k = 0; k < n_slots && !status; k++) {
        status = pith_buffer_append(m->ctx, b, m->src + at, value[k].at - at);
        if (!status) status = pith_buffer_append(m->ctx, b, &slot, 1);
        at = value[k].at + value[k].n;
    }
    if (!status) status = pith_buffer_append(m->ctx, b, m->src + at, s->at + s->n - at);
    return status ? status : pith_buffer_append(m->ctx, b, &end, 1);
}

typedef struct naming {
    uint32_t head[HEADS_MAX]; /* column + 1 */
    uint64_t shape[SHARED_MAX];
    uint32_t shared[SHARED_MAX]; /* column */
    unsigned n_shared;
} naming;

static uint32_t shared_column(naming *names, uint64_t shape, uint32_t *n_columns) {
    for (unsigned i = 0; i < names->n_shared; i++)
        if (names->shape[i] == shape || i + 1 == SHARED_MAX) return names->shared[i];
    names->shape[names->n_shared] = shape;
    return names->shared[names->n_shared++] = (*n_columns)++;
}

/* Columns of the slots of one template. */
static uint32_t name_columns(miner *m, naming *names, const skeleton *s, const column_value *value, uint16_t *column) {
    const uint32_t *word = words_of(m, s);
    unsigned n_slots = 0;
    uint32_t *n_columns = &m->out->n_columns;
    for (unsigned k = 0; k < s->n_tokens; k++) {
        if (word[k] > HEADS_MAX) continue;
        uint32_t c;
        if (word[k] != WORD_VARIABLE) {
            uint32_t *head = &names->head[word[k] - 1];
            if (!*head) *head = ++*n_columns;
            c = *head - 1;
        } else if (s->rest || s->lines < OWN || *n_columns >= COLUMNS_MAX - SHARED_MAX - HEADS_MAX) {
            c = shared_column(names, s->rest ? 1 : token_shape(m->src, value[n_slots]), n_columns);
        } else {
            c = (*n_columns)++;
        }
        column[n_slots++] = (uint16_t)c;
    }
    return n_slots;
}

/* Numbers the templates that are used, in the order of their first lines. */
static pith_status write_templates(miner *m) {
    columns_mined *out = m->out;
    naming *names = pith_zalloc(m->ctx, sizeof *names);
    uint32_t *number = pith_zalloc(m->ctx, (m->n_skeletons + 1) * sizeof *number);
    out->slot_column = pith_alloc(m->ctx, (COLUMNS_SLOTS_MAX(m->n) + TOKENS_MAX) * sizeof *out->slot_column);
    out->first_slot = pith_zalloc(m->ctx, (m->n_skeletons + 2) * sizeof *out->first_slot);
    pith_status status = names && number && out->slot_column && out->first_slot ? PITH_OK : pith_alloc_status(m->ctx);
    line_walk w;
    size_t i = 0;
    uint32_t n_slots = 0, n_like = 0;
    for (bool more = line_next(m, &w, true); more && !status; more = line_next(m, &w, false), i++) {
        out->line_template[i] = 0;
        if (!m->line_skeleton[i]) continue;
        uint32_t t = m->skeleton[m->line_skeleton[i] - 1].template;
        const skeleton *s = &m->skeleton[t];
        if (s->lines < 2) continue;
        if (!number[t]) {
            if (out->n_templates == COLUMNS_TEMPLATES_MAX(m->n) || n_slots + TOKENS_MAX > COLUMNS_SLOTS_MAX(m->n))
                continue;
            column_value value[TOKENS_MAX + 1];
            line_walk first = {s->at, s->at + s->n};
            unsigned slots = take_slots(m, &first, s, value);
            status = write_template(m, s, value, slots);
            name_columns(m, names, s, value, out->slot_column + n_slots);
            number[t] = ++out->n_templates;
            n_slots += slots;
            out->first_slot[out->n_templates] = n_slots;
        }
        out->line_template[i] = (uint16_t)number[t];
        m->line_skeleton[i] = t + 1;
        n_like += !s->rest;
    }
    /* prose: hardly two lines are alike */
    if (n_like < out->n_lines / 2) out->n_columns = 0;
    pith_free(m->ctx, names);
    pith_free(m->ctx, number);
    return status;
}

/* Whether slot j has the last value of its column in the line before slot k. */
static bool is_last(const uint16_t *column, unsigned j, unsigned k) {
    for (unsigned i = j + 1; i < k; i++)
        if (column[i] == column[j]) return false;
    return true;
}

/* Which columns of earlier slots in a line have the same value as this one: of those left in copies[]. */
static void look_for_copies(const miner *m, uint32_t (*copies)[COPIES], const column_value *value,
                            const uint16_t *column, unsigned k) {
    uint32_t *left = copies[column[k]]; /* column + 1; UINT32_MAX first: none looked at yet */
    uint32_t now[COPIES] = {0};
    unsigned n_now = 0;
    bool first = left[0] == UINT32_MAX;
    for (unsigned j = k; j-- > 0 && n_now < COPIES;) {
        if (value[j].n != value[k].n || column[j] >= column[k]) continue;
        bool wanted = first;
        for (unsigned i = 0; i < COPIES; i++) wanted |= !first && left[i] == column[j] + 1u;
        if (wanted && is_last(column, j, k) && memcmp(m->src + value[j].at, m->src + value[k].at, value[k].n) == 0)
            now[n_now++] = column[j] + 1u;
    }
    memcpy(left, now, sizeof now);
}

/* Where each column's values will begin, one place further on; how many there are in *total. */
static pith_status count_values(miner *m, uint64_t *total) {
    columns_mined *out = m->out;
    out->first_value = pith_zalloc(m->ctx, (out->n_columns + 2) * sizeof *out->first_value);
    if (!out->first_value) return pith_alloc_status(m->ctx);
    for (uint32_t i = 0; i < out->n_lines; i++) {
        uint32_t t = out->line_template[i];
        out->n_loose += !t;
        for (uint32_t k = t ? out->first_slot[t - 1] : 0; t && k < out->first_slot[t]; k++, ++*total)
            out->first_value[out->slot_column[k] + 2]++;
    }
    for (uint32_t c = 2; c < out->n_columns + 2; c++) out->first_value[c] += out->first_value[c - 1];
    return PITH_OK;
}

static void place_values(miner *m, uint32_t (*copies)[COPIES]) {
    columns_mined *out = m->out;
    line_walk w;
    size_t i = 0, n_loose = 0;
    for (bool more = line_next(m, &w, true); more; more = line_next(m, &w, false), i++) {
        uint32_t t = out->line_template[i];
        if (!t) {
            out->loose[n_loose++] = (column_value){(uint32_t)w.at, (uint32_t)(w.end - w.at)};
            continue;
        }
        column_value value[TOKENS_MAX + 1];
        const uint16_t *column = out->slot_column + out->first_slot[t - 1];
        unsigned n_slots = take_slots(m, &w, &m->skeleton[m->line_skeleton[i] - 1], value);
        for (unsigned k = 0; k < n_slots; k++) {
            out->value[out->first_value[column[k] + 1]++] = value[k];
            look_for_copies(m, copies, value, column, k);
        }
    }
    for (uint32_t c = 0; c < out->n_columns; c++)
        out->copy_of[c] = (uint16_t)(copies[c][0] && copies[c][0] != UINT32_MAX ? copies[c][0] - 1 : c);
}

/* All values, column by column; no columns when they are so short and many that nothing is to be gained. */
static pith_status fill_columns(miner *m) {
    columns_mined *out = m->out;
    uint64_t total = 0;
    pith_status status = count_values(m, &total);
    if (!status && total > m->n / VALUE_LEAST) out->n_columns = 0;
    if (status || !out->n_columns) return status;
    out->copy_of = pith_alloc(m->ctx, out->n_columns * sizeof *out->copy_of);
    out->value = pith_alloc(m->ctx, (total + 1) * sizeof *out->value);
    out->loose = pith_alloc(m->ctx, (out->n_loose + 1) * sizeof *out->loose);
    uint32_t(*copies)[COPIES] = pith_alloc(m->ctx, out->n_columns * sizeof *copies);
    if (out->copy_of && out->value && out->loose && copies) {
        memset(copies, 0xFF, out->n_columns * sizeof *copies);
        place_values(m, copies);
    } else {
        status = pith_alloc_status(m->ctx);
    }
    pith_free(m->ctx, copies);
    return status;
}

static uint32_t count_lines(const miner *m) {
    line_walk w;
    uint32_t lines = 0;
    for (bool more = line_next(m, &w, true); more; more = line_next(m, &w, false)) lines++;
    return lines;
}

static pith_status mine(miner *m) {
    columns_mined *out = m->out;
    out->line_template = pith_alloc(m->ctx, out->n_lines * sizeof *out->line_template);
    m->line_skeleton = pith_alloc(m->ctx, out->n_lines * sizeof *m->line_skeleton);
    m->skeleton = pith_alloc(m->ctx, SKELETONS_MAX * sizeof *m->skeleton);
    m->table = pith_zalloc(m->ctx, 2 * SKELETONS_MAX * sizeof *m->table);
    if (!out->line_template || !m->line_skeleton || !m->skeleton || !m->table) return pith_alloc_status(m->ctx);
    if (!m->separator) find_heads(m);
    pith_status status = find_skeletons(m);
    if (!status && !m->separator) status = merge(m);
    if (!status) status = gather_rare(m);
    if (!status) status = write_templates(m);
    if (!status && out->n_columns) status = fill_columns(m);
    return status;
}

pith_status columns_mine(pith_ctx *ctx, const uint8_t *src, size_t n, uint8_t separator, columns_mined *out) {
    *out = (columns_mined){0};
    miner *m = pith_zalloc(ctx, sizeof *m);
    if (!m) return pith_alloc_status(ctx);
    m->ctx = ctx;
    m->src = src;
    m->n = n;
    m->separator = separator;
    m->out = out;
    out->n_lines = count_lines(m);
    pith_status status = out->n_lines && out->n_lines <= n / LINE_LEAST ? mine(m) : PITH_OK;
    pith_buffer_free(ctx, &m->words);
    pith_free(ctx, m->skeleton);
    pith_free(ctx, m->table);
    pith_free(ctx, m->line_skeleton);
    pith_free(ctx, m);
    return status;
}

void columns_mined_free(pith_ctx *ctx, columns_mined *m) {
    pith_buffer_free(ctx, &m->templates);
    pith_free(ctx, m->line_template);
    pith_free(ctx, m->slot_column);
    pith_free(ctx, m->first_slot);
    pith_free(ctx, m->value);
    pith_free(ctx, m->first_value);
    pith_free(ctx, m->copy_of);
    pith_free(ctx, m->loose);
    *m = (columns_mined){0};
}
