/* Reading and writing the parts of a .pith frame. */
#include "artefacts/file/frame.h"

/* A byte with its high bit set, CR LF and a zero: 7-bit channels, line-end conversion in either
 * direction and C strings all damage it visibly. */
const uint8_t frame_magic[FRAME_MAGIC_BYTES] = {0xF0, 'p', 'i', 't', 'h', '\r', '\n', 0};
const uint8_t frame_skip_magic[FRAME_MAGIC_BYTES] = {0xF0, 's', 'k', 'i', 'p', '\r', '\n', 0};
/* Of model archives, another format (docs/format.md): known here to be named. */
static const uint8_t model_magic[FRAME_MAGIC_BYTES] = {0xF0, 'p', 'm', 'o', 'd', '\r', '\n', 0};
static const uint8_t tail_magic[4] = {0xF0, 'e', 'n', 'd'};

enum { FLAG_SINGLE = 1, FLAG_SIZE = 2, FLAG_NUMERICS = 4, FLAG_RESERVED = 8 | 16, MINOR_SHIFT = 5 };
enum {
    CODEC_MASK = 0x0F,
    ARGS_SHIFT = 4,
    ARGS_MASK = 7,
    ARGS_MORE = 7,
    FRONT_BIT = 0x80,
    FRONT_ID_MASK = 0x1F,
    FRONT_ARGS_SHIFT = 5
};

/* ---- a cursor over bytes that may not all be there yet -------------------- */

typedef struct cursor {
    const uint8_t *p;
    size_t n, at;
    bool more; /* ran out */
    bool bad;  /* a number that no longer input could mend */
} cursor;

static unsigned get_byte(cursor *c) {
    if (c->at < c->n && !c->more) return c->p[c->at++];
    c->more = true;
    return 0;
}

static uint64_t get_varint(cursor *c) {
    uint64_t v = 0;
    if (c->more || c->bad) return 0;
    size_t left = c->n - c->at, used = pith_varint_get(c->p + c->at, left, &v);
    if (used) {
        c->at += used;
        return v;
    }
    for (size_t i = 0; i < left; i++)
        if (i + 1 >= PITH_VARINT_MAX || c->p[c->at + i] < 0x80) {
            c->bad = true;
            return 0;
        }
    c->more = true;
    return 0;
}

static const uint8_t *get_bytes(cursor *c, size_t n) {
    if (c->more || c->n - c->at < n) {
        c->more = true;
        return NULL;
    }
    c->at += n;
    return c->p + c->at - n;
}

/* ---- sizes in one byte: (8 + m) << e, rounded up -------------------------- */

#define MEMORY_UNIT 1024   /* bytes */
#define TIME_UNIT (1 / 8.) /* nanoseconds per raw byte */

static unsigned scale_put(uint64_t units) {
    unsigned e = 0;
    while (e < 31 && units > (UINT64_C(15) << e)) e++;
    uint64_t m = (units + ((UINT64_C(1) << e) - 1)) >> e;
    m = PITH_MAX(m, 8);
    return e << 3 | (unsigned)(PITH_MIN(m, 15) - 8);
}

static uint64_t scale_get(unsigned byte) { return (uint64_t)(8 + (byte & 7)) << (byte >> 3); }

/* ---- frame header ------------------------------------------------------------ */

size_t frame_header_put(uint8_t *dst, const frame_header *h) {
    size_t at = 0;
    memcpy(dst, frame_magic, FRAME_MAGIC_BYTES);
    at += FRAME_MAGIC_BYTES;
    dst[at++] = (uint8_t)(h->major << 4 | h->level);
    dst[at++] = (uint8_t)(h->minor << MINOR_SHIFT | (h->single ? FLAG_SINGLE : 0) | (h->size_known ? FLAG_SIZE : 0) |
                          (h->numerics ? FLAG_NUMERICS : 0));
    if (h->numerics) dst[at++] = h->numerics;
    dst[at++] = (uint8_t)scale_put((h->memory + MEMORY_UNIT - 1) / MEMORY_UNIT);
    dst[at++] = (uint8_t)scale_put((uint64_t)(h->ns_per_byte / TIME_UNIT + 0.999));
    if (h->size_known) at += pith_varint_put(dst + at, h->content_size);
    if (h->level == 0) {
        at += pith_varint_put(dst + at, h->recipe_n);
        memcpy(dst + at, h->recipe, h->recipe_n);
        at += h->recipe_n;
    }
    store32(dst + at, (uint32_t)pith_hash64(dst, at));
    return at + 4;
}

static pith_status cut(size_t *used) {
    *used = 0;
    return PITH_OK;
}

pith_status frame_header_get(pith_ctx *ctx, const uint8_t *p, size_t n, frame_header *h, size_t *used) {
    cursor c = {.p = p, .n = n};
    memset(h, 0, sizeof *h);
    const uint8_t *magic = get_bytes(&c, FRAME_MAGIC_BYTES);
    unsigned version = get_byte(&c), flags = get_byte(&c);
    if (c.more) return cut(used);
    if (memcmp(magic, frame_magic, FRAME_MAGIC_BYTES) != 0) return pith_fail(ctx, PITH_E_FORMAT, "not a .pith frame");
    h->major = version >> 4;
    h->level = version & 15;
    h->minor = flags >> MINOR_SHIFT;
    if (h->major != FRAME_MAJOR || flags & FLAG_RESERVED)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "format version %u.%u is not known to pith %s", h->major, h->minor,
                         pith_version());
    h->single = flags & FLAG_SINGLE;
    h->size_known = flags & FLAG_SIZE;
    if (flags & FLAG_NUMERICS) h->numerics = (uint8_t)get_byte(&c);
    h->memory = scale_get(get_byte(&c)) * MEMORY_UNIT;
    h->ns_per_byte = (double)scale_get(get_byte(&c)) * TIME_UNIT;
    if (h->size_known) h->content_size = get_varint(&c);
    if (h->level == 0 && !c.more && !c.bad) {
        uint64_t recipe_n = get_varint(&c);
        if (recipe_n > PITH_FILE_RECIPE_MAX)
            return pith_fail(ctx, PITH_E_FORMAT, "a recipe of %llu bytes, at most %d are allowed",
                             (unsigned long long)recipe_n, PITH_FILE_RECIPE_MAX);
        const uint8_t *recipe = get_bytes(&c, (size_t)recipe_n);
        if (recipe) memcpy(h->recipe, recipe, (size_t)recipe_n);
        h->recipe_n = (size_t)recipe_n;
    }
    size_t checked_n = c.at;
    const uint8_t *check = get_bytes(&c, 4);
    if (c.bad) return pith_fail(ctx, PITH_E_FORMAT, "malformed number in the frame header");
    if (c.more) return cut(used);
    if (load32(check) != (uint32_t)pith_hash64(p, checked_n))
        return pith_fail(ctx, PITH_E_CHECK, "the frame header does not match its check value");
    if (h->level > PITH_FILE_LEVEL_MAX || (flags & FLAG_NUMERICS && !h->numerics) || (h->single && !h->size_known))
        return pith_fail(ctx, PITH_E_FORMAT, "impossible frame header");
    if (h->single && h->content_size > BLOCK_RAW_MAX)
        return pith_fail(ctx, PITH_E_FORMAT, "a single block of %llu bytes, at most %llu are allowed",
                         (unsigned long long)h->content_size, (unsigned long long)BLOCK_RAW_MAX);
    for (size_t i = 0; i < h->recipe_n; i++)
        if (h->recipe[i] < ' ' || h->recipe[i] > '~')
            return pith_fail(ctx, PITH_E_FORMAT, "the recipe is not printable text");
    if (h->numerics > FRAME_NUMERICS_LANES16)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "float rules %u are not known to pith %s", h->numerics,
                         pith_version());
    *used = c.at;
    return PITH_OK;
}

/* The least a block takes of an archive: header, payload, index entry. */
#define BLOCK_ARCHIVE_MIN 16

pith_status frame_claims_check(pith_ctx *ctx, const frame_header *h, const pith_decode_options *options,
                               uint64_t content_before) {
    uint64_t limit = pith_ctx_memory(ctx), n = h->content_size;
    if (h->memory > limit)
        return pith_fail(ctx, PITH_E_LIMIT, "decoding takes up to %llu MiB of memory, %llu MiB are allowed",
                         (unsigned long long)(h->memory >> 20), (unsigned long long)(limit >> 20));
    double ns_per_byte = h->ns_per_byte;
    if (!h->size_known) n = 1; /* what is certain */
    if (options->max_seconds > 0 && ns_per_byte * (double)n > options->max_seconds * 1e9)
        return pith_fail(ctx, PITH_E_LIMIT, "decoding takes up to %.3g seconds, %.3g are allowed",
                         ns_per_byte * (double)n / 1e9, options->max_seconds);
    if (options->max_seconds == 0 && ns_per_byte * (double)n > BLOCK_FREE_NS + block_ns_per_coded_byte(ctx) * (double)n)
        return pith_fail(ctx, PITH_E_LIMIT, "decoding would take %.0f seconds", ns_per_byte * (double)n / 1e9);
    if (!h->size_known) return PITH_OK;
    if (n > options->max_content_size - PITH_MIN(content_before, options->max_content_size))
        return pith_fail(ctx, PITH_E_LIMIT, "%llu bytes of content, the limit is %llu", (unsigned long long)n,
                         (unsigned long long)options->max_content_size);
    if (options->archive_size != PITH_SIZE_UNKNOWN && n / BLOCK_RAW_MAX > options->archive_size / BLOCK_ARCHIVE_MIN)
        return pith_fail(ctx, PITH_E_FORMAT, "%llu bytes of content cannot be in an archive of %llu bytes",
                         (unsigned long long)n, (unsigned long long)options->archive_size);
    return PITH_OK;
}

/* ---- skippable frames and frame kinds -------------------------------------------- */

size_t frame_skip_put(uint8_t *dst, uint64_t length) {
    memcpy(dst, frame_skip_magic, FRAME_MAGIC_BYTES);
    return FRAME_MAGIC_BYTES + pith_varint_put(dst + FRAME_MAGIC_BYTES, length);
}

pith_status frame_skip_get(pith_ctx *ctx, const uint8_t *p, size_t n, uint64_t *length, size_t *used) {
    cursor c = {.p = p, .n = n};
    get_bytes(&c, FRAME_MAGIC_BYTES);
    *length = get_varint(&c);
    if (c.bad) return pith_fail(ctx, PITH_E_FORMAT, "malformed length of a skippable frame");
    *used = c.more ? 0 : c.at;
    return PITH_OK;
}

static bool damaged_by_text(const uint8_t *p, size_t n) {
    return n >= 5 && (memcmp(p, frame_magic, 5) == 0 || memcmp(p + 1, frame_magic + 1, 4) == 0);
}

int pith_file_is_archive(const void *data, size_t n) {
    size_t m = PITH_MIN(n, FRAME_MAGIC_BYTES);
    return n && (memcmp(data, frame_magic, m) == 0 || memcmp(data, frame_skip_magic, m) == 0 ||
                 damaged_by_text(data, n));
}

pith_status frame_kind_get(pith_ctx *ctx, const uint8_t *p, size_t n, frame_kind *kind) {
    size_t m = PITH_MIN(n, FRAME_MAGIC_BYTES);
    bool coded = memcmp(p, frame_magic, m) == 0, skippable = memcmp(p, frame_skip_magic, m) == 0;
    if (!coded && !skippable) {
        if (damaged_by_text(p, n))
            return pith_fail(ctx, PITH_E_FORMAT, "a .pith archive damaged by a text-mode transfer");
        if (n >= 5 && memcmp(p, model_magic, m) == 0)
            return pith_fail(ctx, PITH_E_FORMAT,
                             "a model archive, which is read from a file and not from a pipe: pith model decompress FILE");
        return pith_fail(ctx, PITH_E_FORMAT, "not a .pith frame");
    }
    *kind = n < FRAME_MAGIC_BYTES ? FRAME_MORE : coded ? FRAME_CODED : FRAME_SKIPPABLE;
    return PITH_OK;
}

/* ---- block header ----------------------------------------------------------------- */

static size_t args_put(uint8_t *dst, const file_args *args) {
    size_t at = 0;
    for (unsigned i = 0; i < args->n; i++) at += pith_varint_put(dst + at, args->v[i]);
    return at;
}

static void args_get(cursor *c, unsigned n, file_args *args) {
    if (n == ARGS_MORE) {
        n = get_byte(c);
        if (!c->more && (n < ARGS_MORE || n > FILE_MAX_ARGS)) c->bad = true;
    }
    args->n = 0;
    while (args->n < n && !c->more && !c->bad) {
        uint64_t v = get_varint(c);
        if (v > UINT32_MAX) c->bad = true;
        args->v[args->n++] = (uint32_t)v;
    }
}

size_t frame_block_put(uint8_t *dst, const block_header *b, bool single) {
    size_t at = 0;
    unsigned n = b->codec_args.n;
    dst[at++] = (uint8_t)(b->codec->id | PITH_MIN(n, ARGS_MORE) << ARGS_SHIFT | (b->front ? FRONT_BIT : 0));
    if (n >= ARGS_MORE) dst[at++] = (uint8_t)n;
    at += args_put(dst + at, &b->codec_args);
    if (b->front) {
        n = b->front_args.n;
        dst[at++] = (uint8_t)(b->front->id | PITH_MIN(n, ARGS_MORE) << FRONT_ARGS_SHIFT);
        if (n >= ARGS_MORE) dst[at++] = (uint8_t)n;
        at += args_put(dst + at, &b->front_args);
    }
    if (!single) at += pith_varint_put(dst + at, b->raw_n);
    if (b->front) at += pith_varint_put(dst + at, b->transformed_n);
    at += pith_varint_put(dst + at, b->coded_n);
    store64(dst + at, b->hash);
    return at + 8;
}

pith_status frame_block_get(pith_ctx *ctx, const uint8_t *p, size_t n, const frame_header *h, block_header *b,
                            bool *end, size_t *used) {
    cursor c = {.p = p, .n = n};
    memset(b, 0, sizeof *b);
    *end = false;
    unsigned head = get_byte(&c), front_head = 0;
    if (c.more) return cut(used);
    if (head == FRAME_END_MARK && !h->single) {
        *end = true;
        *used = 1;
        return PITH_OK;
    }
    args_get(&c, head >> ARGS_SHIFT & ARGS_MASK, &b->codec_args);
    if (head & FRONT_BIT) {
        front_head = get_byte(&c);
        args_get(&c, front_head >> FRONT_ARGS_SHIFT, &b->front_args);
    }
    uint64_t raw_n = h->single ? h->content_size : get_varint(&c);
    uint64_t transformed_n = head & FRONT_BIT ? get_varint(&c) : raw_n;
    uint64_t coded_n = get_varint(&c);
    const uint8_t *hash = get_bytes(&c, 8);
    if (c.bad) return pith_fail(ctx, PITH_E_FORMAT, "malformed number in the block header");
    if (c.more) return cut(used);
    if (raw_n == 0 || raw_n > BLOCK_RAW_MAX)
        return pith_fail(ctx, PITH_E_FORMAT, "%llu raw bytes, 1 to %llu are allowed", (unsigned long long)raw_n,
                         (unsigned long long)BLOCK_RAW_MAX);
    if (coded_n == 0 || coded_n > raw_n)
        return pith_fail(ctx, PITH_E_FORMAT, "%llu coded bytes for %llu raw bytes", (unsigned long long)coded_n,
                         (unsigned long long)raw_n);
    if (transformed_n == 0 || transformed_n > BLOCK_TRANSFORMED_MAX(raw_n))
        return pith_fail(ctx, PITH_E_FORMAT, "%llu transformed bytes for %llu raw bytes",
                         (unsigned long long)transformed_n, (unsigned long long)raw_n);
    b->raw_n = (size_t)raw_n;
    b->transformed_n = (size_t)transformed_n;
    b->coded_n = (size_t)coded_n;
    b->hash = load64(hash);
    b->codec = block_codec(head & CODEC_MASK);
    if (!b->codec)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "codec %u is not known to pith %s", head & CODEC_MASK,
                         pith_version());
    if (head & FRONT_BIT) {
        b->front = block_front(front_head & FRONT_ID_MASK);
        if (!b->front)
            return pith_fail(ctx, PITH_E_UNSUPPORTED, "front end %u is not known to pith %s",
                             front_head & FRONT_ID_MASK, pith_version());
    }
    pith_status status = b->codec->check(ctx, &b->codec_args);
    if (!status && b->front) status = b->front->check(ctx, &b->front_args);
    if (status) return status;
    *used = c.at;
    return PITH_OK;
}

/* ---- index and tail ------------------------------------------------------------------ */

size_t frame_entry_put(uint8_t *dst, uint64_t raw_n, uint64_t archive_n) {
    size_t at = pith_varint_put(dst, raw_n);
    return at + pith_varint_put(dst + at, archive_n);
}

pith_status frame_entry_get(pith_ctx *ctx, const uint8_t *p, size_t n, uint64_t *raw_n, uint64_t *archive_n,
                            size_t *used) {
    cursor c = {.p = p, .n = n};
    *raw_n = get_varint(&c);
    *archive_n = *raw_n ? get_varint(&c) : 0;
    if (!c.bad && !c.more && *raw_n && (*raw_n > BLOCK_RAW_MAX || *archive_n > *raw_n + FRAME_BLOCK_MAX)) c.bad = true;
    if (c.bad) return pith_fail(ctx, PITH_E_FORMAT, "malformed number in the index");
    *used = c.more ? 0 : c.at;
    return PITH_OK;
}

pith_status frame_index_begin_get(pith_ctx *ctx, const uint8_t *p, size_t n, uint64_t *header_n, size_t *used) {
    cursor c = {.p = p, .n = n};
    *header_n = get_varint(&c);
    if (c.bad) return pith_fail(ctx, PITH_E_FORMAT, "malformed number in the index");
    *used = c.more ? 0 : c.at;
    return PITH_OK;
}

size_t frame_entry_end_put(uint8_t *dst, uint64_t raw_total, uint64_t hash) {
    dst[0] = 0;
    size_t at = 1 + pith_varint_put(dst + 1, raw_total);
    store64(dst + at, hash);
    return at + 8;
}

pith_status frame_index_end_get(pith_ctx *ctx, const uint8_t *p, size_t n, uint64_t *raw_total, uint64_t *hash,
                                uint32_t *check, size_t *used) {
    cursor c = {.p = p, .n = n};
    *raw_total = get_varint(&c);
    const uint8_t *h = get_bytes(&c, 8), *k = get_bytes(&c, 4);
    if (c.bad) return pith_fail(ctx, PITH_E_FORMAT, "malformed number in the index");
    if (c.more) return cut(used);
    *hash = load64(h);
    *check = load32(k);
    *used = c.at;
    return PITH_OK;
}

size_t frame_tail_put(uint8_t *dst, uint64_t index_n) {
    store64(dst, index_n);
    memcpy(dst + 8, tail_magic, sizeof tail_magic);
    return FRAME_TAIL_BYTES;
}

bool frame_tail_get(const uint8_t *p, uint64_t *index_n) {
    *index_n = load64(p);
    return memcmp(p + 8, tail_magic, sizeof tail_magic) == 0;
}
