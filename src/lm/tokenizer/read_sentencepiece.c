/* A SentencePiece model: the protobuf message ModelProto read field by field (varint, 64-bit,
 * length-delimited, 32-bit). Pieces are field 1, the trainer's settings 2, the normaliser's 3
 * (sentencepiece_model.proto of google/sentencepiece). */
#include "lm/tokenizer/read.h"
#include "lm/tokenizer/vocabulary.h"

typedef struct proto_view {
    const uint8_t *p;
    size_t n;
} proto_view;

typedef struct proto_field {
    uint32_t number, wire; /* 0 varint, 1 eight bytes, 2 bytes, 5 four bytes */
    uint64_t value;        /* of wires 0, 1 and 5 */
    proto_view bytes;      /* of wire 2 */
} proto_field;

/* Not pith's varint: protobuf allows longer forms than the shortest. */
static bool take_varint(proto_view *v, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (v->n == 0) return false;
        uint8_t b = *v->p++;
        v->n--;
        *value |= (uint64_t)(b & 0x7F) << shift;
        if (b < 0x80) return true;
    }
    return false;
}

/* The next field; false at the end (*ok stays true) or on damage (*ok is false). */
static bool next_field(proto_view *v, proto_field *f, bool *ok) {
    uint64_t tag, length;
    if (v->n == 0) return false;
    *ok = false;
    if (!take_varint(v, &tag) || tag >> 3 == 0 || tag >> 32) return false;
    *f = (proto_field){.number = (uint32_t)(tag >> 3), .wire = (uint32_t)(tag & 7)};
    switch (f->wire) {
    case 0:
        if (!take_varint(v, &f->value)) return false;
        break;
    case 1:
        if (v->n < 8) return false;
        f->value = load64(v->p);
        v->p += 8, v->n -= 8;
        break;
    case 2:
        if (!take_varint(v, &length) || length > v->n) return false;
        f->bytes = (proto_view){v->p, (size_t)length};
        v->p += length, v->n -= (size_t)length;
        break;
    case 5:
        if (v->n < 4) return false;
        f->value = load32(v->p);
        v->p += 4, v->n -= 4;
        break;
    default: return false;
    }
    *ok = true;
    return true;
}

static float float_of(uint64_t bits) {
    uint32_t b = (uint32_t)bits;
    float f;
    memcpy(&f, &b, sizeof f);
    return f;
}

bool looks_like_sentencepiece(const uint8_t *data, size_t size) {
    proto_view v = {data, size};
    proto_field f, inner;
    bool ok = true;
    if (!next_field(&v, &f, &ok) || f.number != 1 || f.wire != 2) return false;
    proto_view piece = f.bytes;
    return next_field(&piece, &inner, &ok) && inner.number == 1 && inner.wire == 2;
}

static pith_status damaged(pith_ctx *ctx, const uint8_t *data, const proto_view *v) {
    return pith_fail(ctx, PITH_E_FORMAT, "the SentencePiece model is damaged near byte %zu", (size_t)(v->p - data));
}

static pith_status count_pieces(pith_ctx *ctx, const uint8_t *data, size_t size, uint64_t *n) {
    proto_view v = {data, size};
    proto_field f;
    bool ok = true;
    for (*n = 0; next_field(&v, &f, &ok);) *n += f.number == 1 && f.wire == 2;
    if (!ok) return damaged(ctx, data, &v);
    if (*n > VOCABULARY_MAX)
        return pith_fail(ctx, PITH_E_LIMIT, "%llu pieces, the most is %u", (unsigned long long)*n, VOCABULARY_MAX);
    return PITH_OK;
}

typedef struct trainer_settings {
    uint64_t model, unk, bos, eos, space_behind;
} trainer_settings;

static bool read_trainer(proto_view v, trainer_settings *s) {
    proto_field f;
    bool ok = true;
    while (next_field(&v, &f, &ok)) {
        if (f.wire != 0) continue;
        if (f.number == 3) s->model = f.value;
        if (f.number == 24) s->space_behind = f.value;
        if (f.number == 40) s->unk = f.value;
        if (f.number == 41) s->bos = f.value;
        if (f.number == 42) s->eos = f.value;
    }
    return ok;
}

static pith_status read_normalizer(pith_ctx *ctx, tokenizer *t, proto_view v, bool *ok) {
    proto_field f;
    pith_status st = PITH_OK;
    while (st == PITH_OK && next_field(&v, &f, ok)) {
        if (f.number == 2 && f.wire == 2) {
            pith_free(ctx, t->map_bytes);
            t->map_bytes = NULL;
            t->map = (charsmap){0};
            st = charsmap_open(ctx, t, "precompiled_charsmap", f.bytes.p, f.bytes.n);
        }
        if (f.wire != 0) continue;
        if (f.number == 3) t->info.add_space_prefix = f.value != 0;
        if (f.number == 4) t->remove_extra_spaces = f.value != 0;
        if (f.number == 5) t->escape_spaces = f.value != 0;
    }
    return st;
}

static pith_status read_piece(pith_ctx *ctx, tokenizer *t, proto_view v, bool *ok) {
    proto_field f;
    proto_view text = {(const uint8_t *)"", 0};
    float score = 0;
    uint64_t type = PIECE_NORMAL;
    while (next_field(&v, &f, ok)) {
        if (f.number == 1 && f.wire == 2) text = f.bytes;
        if (f.number == 2 && f.wire == 5) score = float_of(f.value);
        if (f.number == 3 && f.wire == 0) type = f.value;
    }
    if (!*ok) return PITH_OK;
    return vocabulary_add(ctx, t, "pieces", text.p, text.n, score, type <= PIECE_BYTE ? (int)type : -1);
}

static uint32_t checked_id(const tokenizer *t, uint64_t id) { return id < t->n ? (uint32_t)id : TOKEN_NONE; }

pith_status read_sentencepiece(pith_ctx *ctx, const uint8_t *data, size_t size, tokenizer **out) {
    trainer_settings s = {.model = 1, .unk = 0, .bos = 1, .eos = 2};
    uint64_t n = 0;
    proto_view v = {data, size};
    proto_field f;
    bool ok = true;
    pith_status st = count_pieces(ctx, data, size, &n);
    if (st != PITH_OK) return st;
    while (next_field(&v, &f, &ok))
        if (f.number == 2 && f.wire == 2 && !read_trainer(f.bytes, &s)) return damaged(ctx, data, &f.bytes);
    if (s.model != 1 && s.model != 2)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "SentencePiece model type %llu (%s) is not supported",
                         (unsigned long long)s.model,
                         s.model == 3   ? "words"
                         : s.model == 4 ? "characters"
                                        : "unknown");
    if (s.space_behind)
        return pith_fail(ctx, PITH_E_UNSUPPORTED,
                         "treat_whitespace_as_suffix of the SentencePiece model is not supported");
    st = tokenizer_new(ctx, s.model == 1 ? TOKENIZER_UNIGRAM : TOKENIZER_SPM, (uint32_t)n, out);
    if (st != PITH_OK) return st;
    tokenizer *t = *out;
    t->info.add_space_prefix = t->remove_extra_spaces = t->escape_spaces = true; /* the message's defaults */
    t->merge_unknown = t->single_precision = true;
    v = (proto_view){data, size};
    while (st == PITH_OK && next_field(&v, &f, &ok)) {
        if (f.wire != 2) continue;
        if (f.number == 1) st = read_piece(ctx, t, f.bytes, &ok);
        if (f.number == 3) st = read_normalizer(ctx, t, f.bytes, &ok);
        if (st == PITH_OK && !ok) return damaged(ctx, data, &f.bytes);
    }
    if (st == PITH_OK) st = vocabulary_index(ctx, t, "pieces");
    if (st != PITH_OK) return st;
    t->info.unk = checked_id(t, s.unk);
    t->info.bos = checked_id(t, s.bos);
    t->info.eos = checked_id(t, s.eos);
    t->info.add_bos = s.model == 2 && t->info.bos != TOKEN_NONE;
    t->info.add_eos = s.model == 1 && t->info.eos != TOKEN_NONE;
    for (uint32_t id = 0; id < t->n; id++)
        if (t->type[id] == PIECE_USER) t->user_marks_kept = true;
    return tokenizer_finish(ctx, t);
}
