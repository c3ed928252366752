/* Header, index and tail of a model archive to bytes and back. Everything that is read is checked against what is
 * there before anything is allocated for it: counts against bytes left, sizes against each other, names for doubles.
 *
 *   header   magic, version, flags, recipe, check
 *   pieces   one after the other, in the order of the index
 *   index    plain or as one zstd frame
 *   tail     lengths of the index, check, magic */
#include "artefacts/model/archive_parts.h"

static const uint8_t head_magic[ARCHIVE_MAGIC_BYTES] = {0xF0, 'p', 'm', 'o', 'd', '\r', '\n', 0};
static const uint8_t tail_magic[4] = {0xF0, 'e', 'n', 'd'};

enum { VERSION = 0x10, VERSION_BY_MATRIX = 0x11, MODE_BY_MATRIX = ARCHIVE_CODED + PITH_RECIPE_MAX_STAGES };
enum { FLAG_LOSSY = 1, NAME_MAX_BYTES = 65535, INDEX_LEVEL = 19 };

bool archive_magic(const uint8_t *data, size_t n) {
    return n >= ARCHIVE_MAGIC_BYTES && memcmp(data, head_magic, ARCHIVE_MAGIC_BYTES) == 0;
}

void archive_index_free(pith_ctx *ctx, archive_index *x) {
    pith_free(ctx, x->pieces);
    pith_free(ctx, x->tensors);
    pith_free(ctx, x->recipe);
    pith_free(ctx, x->names);
    *x = (archive_index){0};
}

uint64_t archive_piece_bytes(tensor_type type) {
    uint64_t block = tensor_type_of(type)->block_bytes;
    return ARCHIVE_PIECE_BYTES / block * block;
}

bool archive_codable(const archive_tensor *t) {
    if (t->n_dims < 2 || t->ne[1] < 2 || t->n_elements == 0) return false;
    if ((t->type >= TENSOR_I8 && t->type <= TENSOR_I64) || (t->type >= TENSOR_U8 && t->type <= TENSOR_BOOL)) return false;
    return t->ne[0] <= SIZE_MAX / sizeof(float) / t->ne[1];
}

/* ---- layout -------------------------------------------------------------------------------------------- */

static uint64_t pieces_of(const archive_tensor *t) {
    if (t->mode == ARCHIVE_SAME) return 0;
    if (t->mode == ARCHIVE_CODED) return archive_matrices(t);
    uint64_t size = archive_piece_bytes(t->type);
    return t->bytes / size + (t->bytes % size != 0);
}

/* Bytes of one matrix in the original. */
static uint64_t matrix_bytes(const archive_tensor *t) { return t->bytes / archive_matrices(t); }

/* Piece k of a tensor of that mode. */
static archive_piece place_piece(const archive_tensor *t, size_t tensor, size_t k, size_t rule) {
    archive_piece p = {.tensor = tensor, .rule = rule, .at = k};
    if (rule != ARCHIVE_NO_RULE) {
        p.raw_n = t->ne[0] * t->ne[1] * sizeof(float);
    } else {
        uint64_t size = t->mode == ARCHIVE_CODED ? matrix_bytes(t) : archive_piece_bytes(t->type);
        p.at = k * size;
        p.raw_n = PITH_MIN(size, t->bytes - p.at);
    }
    return p;
}

static size_t rule_of(const archive_tensor *t, uint64_t matrix, const pith_recipe *recipe) {
    if (t->mode != ARCHIVE_CODED) return ARCHIVE_NO_RULE;
    if (t->rule != ARCHIVE_NO_RULE) return t->rule;
    size_t rule = archive_rule_for(recipe, t->name, matrix, archive_matrices(t));
    return rule < recipe->n_rules ? rule : ARCHIVE_NO_RULE;
}

pith_status archive_lay_out(pith_ctx *ctx, archive_index *x, const pith_recipe *recipe) {
    x->n_rest_pieces = (size_t)((x->rest_n + ARCHIVE_PIECE_BYTES - 1) / ARCHIVE_PIECE_BYTES);
    uint64_t n = x->n_rest_pieces;
    for (size_t i = 0; i < x->n_tensors; i++) {
        x->tensors[i].first_piece = (size_t)n;
        x->tensors[i].n_pieces = (size_t)pieces_of(&x->tensors[i]);
        n += x->tensors[i].n_pieces;
    }
    if (n > SIZE_MAX / sizeof *x->pieces / 2) return pith_fail(ctx, PITH_E_LIMIT, "too many pieces");
    x->pieces = pith_zalloc(ctx, ((size_t)n + 1) * sizeof *x->pieces);
    if (!x->pieces) return pith_alloc_status(ctx);
    x->n_pieces = (size_t)n;
    for (size_t i = 0; i < x->n_rest_pieces; i++) {
        uint64_t at = i * ARCHIVE_PIECE_BYTES;
        x->pieces[i] = (archive_piece){
            .tensor = ARCHIVE_REST, .rule = ARCHIVE_NO_RULE, .at = at, .raw_n = PITH_MIN(ARCHIVE_PIECE_BYTES, x->rest_n - at)};
    }
    for (size_t i = 0; i < x->n_tensors; i++) {
        const archive_tensor *t = &x->tensors[i];
        for (size_t k = 0; k < t->n_pieces; k++)
            x->pieces[t->first_piece + k] = place_piece(t, i, k, rule_of(t, k, recipe));
    }
    return PITH_OK;
}

/* ---- writing --------------------------------------------------------------------------------------------- */

static pith_status put_number(pith_ctx *ctx, pith_buffer *out, uint64_t v) { return repr_put_number(ctx, out, v); }

static pith_status put_hash(pith_ctx *ctx, pith_buffer *out, uint64_t v) {
    uint8_t bytes[8];
    store64(bytes, v);
    return pith_buffer_append(ctx, out, bytes, 8);
}

static pith_status put_check(pith_ctx *ctx, pith_buffer *out, size_t from) {
    uint8_t bytes[4];
    store32(bytes, (uint32_t)pith_hash64(out->data + from, out->size - from));
    return pith_buffer_append(ctx, out, bytes, 4);
}

pith_status archive_header_put(pith_ctx *ctx, const archive_index *x, pith_buffer *out) {
    size_t start = out->size;
    bool by_matrix = false;
    for (size_t i = 0; i < x->n_tensors; i++) by_matrix = by_matrix || archive_by_matrix(&x->tensors[i]);
    uint8_t bytes[2] = {by_matrix ? VERSION_BY_MATRIX : VERSION, x->lossy ? FLAG_LOSSY : 0};
    pith_status status = pith_buffer_append(ctx, out, head_magic, sizeof head_magic);
    if (!status) status = pith_buffer_append(ctx, out, bytes, sizeof bytes);
    if (!status) status = put_number(ctx, out, x->recipe_n);
    if (!status && x->recipe_n) status = pith_buffer_append(ctx, out, x->recipe, x->recipe_n);
    return status ? status : put_check(ctx, out, start);
}

static pith_status put_piece(pith_ctx *ctx, const archive_piece *p, bool by_matrix, pith_buffer *out) {
    uint8_t coding = (uint8_t)p->coding;
    bool coded = p->rule != ARCHIVE_NO_RULE;
    pith_status status = by_matrix ? put_number(ctx, out, coded ? p->rule + 1 : 0) : PITH_OK;
    if (!status && !coded) status = pith_buffer_append(ctx, out, &coding, 1);
    if (!status) status = put_number(ctx, out, p->coded_n);
    return status ? status : put_hash(ctx, out, p->hash);
}

static pith_status put_tensor(pith_ctx *ctx, const archive_index *x, const archive_tensor *t, pith_buffer *out) {
    pith_status status = put_number(ctx, out, t->name.size);
    if (!status) status = pith_buffer_append(ctx, out, t->name.data, t->name.size);
    if (!status) status = put_number(ctx, out, t->type);
    if (!status) status = put_number(ctx, out, t->n_dims);
    for (uint32_t i = 0; i < t->n_dims && !status; i++) status = put_number(ctx, out, t->ne[i]);
    if (!status) status = put_number(ctx, out, t->gap);
    bool by_matrix = archive_by_matrix(t);
    uint64_t mode = by_matrix ? MODE_BY_MATRIX : t->mode == ARCHIVE_CODED ? ARCHIVE_CODED + t->rule : t->mode;
    if (!status) status = put_number(ctx, out, mode);
    if (!status && t->mode == ARCHIVE_SAME) status = put_number(ctx, out, t->like);
    for (size_t i = 0; i < t->n_pieces && !status; i++)
        status = put_piece(ctx, &x->pieces[t->first_piece + i], by_matrix, out);
    return status;
}

static pith_status put_index(pith_ctx *ctx, const archive_index *x, pith_buffer *out) {
    pith_status status = put_number(ctx, out, x->original_n);
    if (!status) status = put_hash(ctx, out, x->original_hash);
    if (!status) status = put_number(ctx, out, x->rest_n);
    for (size_t i = 0; i < x->n_rest_pieces && !status; i++) status = put_piece(ctx, &x->pieces[i], false, out);
    if (!status) status = put_number(ctx, out, x->n_tensors);
    for (size_t i = 0; i < x->n_tensors && !status; i++) status = put_tensor(ctx, x, &x->tensors[i], out);
    return status;
}

pith_status archive_index_put(pith_ctx *ctx, const archive_index *x, pith_buffer *out) {
    pith_buffer plain = {0};
    size_t start = out->size;
    bool smaller = false;
    uint8_t tail[ARCHIVE_TAIL_BYTES];
    pith_status status = put_index(ctx, x, &plain);
    if (!status && plain.size > ARCHIVE_INDEX_MAX) status = pith_fail(ctx, PITH_E_LIMIT, "an index of too many tensors");
    if (!status) status = archive_zstd_encode(ctx, INDEX_LEVEL, plain.data, plain.size, out, &smaller);
    if (!status && !smaller) status = pith_buffer_append(ctx, out, plain.data, plain.size);
    if (!status) {
        store64(tail, plain.size);
        store64(tail + 8, out->size - start);
        store32(tail + 16, (uint32_t)pith_hash64(out->data + start, out->size - start));
        memcpy(tail + 20, tail_magic, sizeof tail_magic);
        status = pith_buffer_append(ctx, out, tail, sizeof tail);
    }
    pith_buffer_free(ctx, &plain);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------------------------- */

typedef struct parser {
    pith_ctx *ctx;
    repr_reader in;
    archive_index *x;
    uint64_t payload_at, payload_end; /* where the next piece lies */
    size_t names_n;
    bool bad; /* a number was none */
} parser;

static pith_status malformed(parser *p, const char *what) {
    return pith_fail(p->ctx, PITH_E_FORMAT, "index of the model archive: %s", what);
}

static uint64_t number(parser *p, uint64_t most) {
    uint64_t v = 0;
    if (!repr_take_number(&p->in, most, &v)) {
        p->bad = true;
        return 0;
    }
    return v;
}

static uint64_t hash(parser *p) {
    const uint8_t *bytes = repr_take(&p->in, 8);
    if (!bytes) p->bad = true;
    return bytes ? load64(bytes) : 0;
}

/* Every piece takes at least one byte, so that there are never more than bytes. */
static pith_status get_piece(parser *p, archive_piece *piece) {
    bool coded = piece->rule != ARCHIVE_NO_RULE;
    const uint8_t *coding = coded ? NULL : repr_take(&p->in, 1);
    if (!coded && !coding) return malformed(p, "cut off");
    piece->coded_n = number(p, UINT64_MAX);
    piece->hash = hash(p);
    piece->offset = p->payload_at;
    if (p->bad) return malformed(p, "a piece without its length or hash");
    if (coding && *coding >= ARCHIVE_CODINGS) return malformed(p, "an unknown coding");
    if (coding) piece->coding = (archive_coding)*coding;
    if (piece->coded_n == 0 || piece->coded_n > p->payload_end - p->payload_at)
        return malformed(p, "a piece longer than the archive");
    if (!coded && piece->coded_n > piece->raw_n) return malformed(p, "a piece longer than what it holds");
    p->payload_at += piece->coded_n;
    return PITH_OK;
}

static pith_status get_shape(parser *p, archive_tensor *t) {
    t->type = (tensor_type)number(p, UINT32_MAX);
    t->n_dims = (uint32_t)number(p, TENSOR_MAX_DIMS);
    t->n_elements = 1;
    for (uint32_t i = 0; i < TENSOR_MAX_DIMS; i++) {
        t->ne[i] = i < t->n_dims ? number(p, INT64_MAX) : 1;
        if (t->ne[i] && t->n_elements > INT64_MAX / t->ne[i]) return malformed(p, "a tensor of too many elements");
        t->n_elements *= t->ne[i];
    }
    if (p->bad) return malformed(p, "a malformed shape");
    if (!tensor_type_of(t->type)) return malformed(p, "an unknown element type");
    if (!tensor_type_bytes(t->type, t->n_elements, &t->bytes) || t->ne[0] % tensor_type_of(t->type)->block != 0)
        return malformed(p, "rows that are no whole number of blocks");
    return PITH_OK;
}

static pith_status get_mode(parser *p, size_t i, archive_tensor *t) {
    t->gap = number(p, p->x->rest_n);
    uint64_t mode = number(p, MODE_BY_MATRIX);
    t->mode = mode >= ARCHIVE_CODED ? ARCHIVE_CODED : (archive_mode)mode;
    if (t->mode == ARCHIVE_CODED) {
        t->rule = mode == MODE_BY_MATRIX ? ARCHIVE_NO_RULE : (size_t)(mode - ARCHIVE_CODED);
        if (!p->x->lossy) return malformed(p, "a lossy tensor in a lossless archive");
        if (!archive_codable(t)) return malformed(p, "a coded tensor that is no matrix of floats");
    }
    if (t->mode == ARCHIVE_SAME) {
        t->like = (size_t)number(p, UINT32_MAX);
        if (t->like >= i) return malformed(p, "a tensor that equals a later one");
        const archive_tensor *like = &p->x->tensors[t->like];
        if (like->mode == ARCHIVE_SAME || like->type != t->type || like->n_elements != t->n_elements ||
            (like->mode == ARCHIVE_CODED && (like->ne[0] != t->ne[0] || like->ne[1] != t->ne[1])))
            return malformed(p, "two tensors said to be the same are not");
    }
    return p->bad ? malformed(p, "a malformed number") : PITH_OK;
}

/* Pieces are appended to those before. */
static pith_status get_rest(parser *p, pith_buffer *pieces, uint64_t n) {
    for (uint64_t k = 0; k < n; k++) {
        uint64_t at = k * ARCHIVE_PIECE_BYTES;
        archive_piece piece = {.tensor = ARCHIVE_REST, .rule = ARCHIVE_NO_RULE, .at = at};
        piece.raw_n = PITH_MIN(ARCHIVE_PIECE_BYTES, p->x->rest_n - at);
        pith_status status = get_piece(p, &piece);
        if (!status) status = pith_buffer_append(p->ctx, pieces, &piece, sizeof piece);
        if (status) return status;
    }
    return PITH_OK;
}

static pith_status get_pieces(parser *p, pith_buffer *pieces, size_t tensor, size_t n) {
    const archive_tensor *t = &p->x->tensors[tensor];
    for (size_t k = 0; k < n; k++) {
        size_t rule = t->mode == ARCHIVE_CODED ? t->rule : ARCHIVE_NO_RULE;
        if (archive_by_matrix(t)) {
            uint64_t own = number(p, PITH_RECIPE_MAX_STAGES);
            if (p->bad) return malformed(p, "a matrix without its rule");
            if (own) rule = (size_t)own - 1;
        }
        archive_piece piece = place_piece(t, tensor, k, rule);
        pith_status status = get_piece(p, &piece);
        if (!status) status = pith_buffer_append(p->ctx, pieces, &piece, sizeof piece);
        if (status) return status;
    }
    return PITH_OK;
}

static pith_status get_tensor(parser *p, size_t i, pith_buffer *pieces) {
    archive_tensor *t = &p->x->tensors[i];
    t->name.size = (size_t)number(p, NAME_MAX_BYTES);
    const uint8_t *name = repr_take(&p->in, t->name.size);
    if (p->bad || !name) return malformed(p, "a tensor without a name");
    memcpy(p->x->names + p->names_n, name, t->name.size);
    t->name.data = (const char *)p->x->names + p->names_n;
    p->names_n += t->name.size;
    pith_status status = get_shape(p, t);
    if (!status) status = get_mode(p, i, t);
    if (status) return status;
    t->first_piece = pieces->size / sizeof(archive_piece);
    uint64_t n = pieces_of(t);
    if (n > (uint64_t)(p->in.end - p->in.p)) return malformed(p, "more pieces than it has bytes");
    t->n_pieces = (size_t)n;
    return get_pieces(p, pieces, i, t->n_pieces);
}

/* The tensors and the rest make up the original, the pieces the archive up to the index. */
static pith_status check_sums(parser *p) {
    uint64_t left = p->x->original_n, rest = p->x->rest_n;
    for (size_t i = 0; i < p->x->n_tensors; i++) {
        const archive_tensor *t = &p->x->tensors[i];
        if (t->bytes > left || t->gap > rest) return malformed(p, "tensors longer than the file");
        left -= t->bytes;
        rest -= t->gap;
    }
    if (left != p->x->rest_n) return malformed(p, "tensors and the rest do not make up the file");
    if (p->payload_at != p->payload_end) return malformed(p, "bytes of the archive that belong to no tensor");
    if (p->in.p != p->in.end) return malformed(p, "bytes after its end");
    return PITH_OK;
}

static pith_status get_index(parser *p, pith_buffer *pieces) {
    archive_index *x = p->x;
    x->original_n = number(p, INT64_MAX);
    x->original_hash = hash(p);
    x->rest_n = number(p, x->original_n);
    if (p->bad) return malformed(p, "cut off");
    uint64_t n = (x->rest_n + ARCHIVE_PIECE_BYTES - 1) / ARCHIVE_PIECE_BYTES;
    if (n > (uint64_t)(p->in.end - p->in.p)) return malformed(p, "more pieces than it has bytes");
    x->n_rest_pieces = (size_t)n;
    pith_status status = get_rest(p, pieces, n);
    if (status) return status;
    uint64_t left = (uint64_t)(p->in.end - p->in.p), n_tensors = number(p, UINT32_MAX);
    if (p->bad || n_tensors > left / 5) return malformed(p, "more tensors than it has bytes");
    x->tensors = pith_zalloc(p->ctx, ((size_t)n_tensors + 1) * sizeof *x->tensors);
    x->names = pith_alloc(p->ctx, (size_t)left + 1);
    if (!x->tensors || !x->names) return pith_alloc_status(p->ctx);
    for (; x->n_tensors < n_tensors && !status; x->n_tensors++) status = get_tensor(p, x->n_tensors, pieces);
    return status ? status : check_sums(p);
}

static pith_status get_header(pith_ctx *ctx, const uint8_t *data, uint64_t size, archive_index *x, uint64_t *header_n) {
    if (!archive_magic(data, (size_t)PITH_MIN(size, (uint64_t)ARCHIVE_MAGIC_BYTES))) {
        if (size >= 5 && (memcmp(data, head_magic, 5) == 0 || memcmp(data + 1, head_magic + 1, 4) == 0))
            return pith_fail(ctx, PITH_E_FORMAT, "a model archive damaged by a text-mode transfer, or cut off");
        return pith_fail(ctx, PITH_E_FORMAT, "no model archive");
    }
    repr_reader in = {.p = data + ARCHIVE_MAGIC_BYTES, .end = data + size};
    const uint8_t *bytes = repr_take(&in, 2);
    uint64_t recipe_n;
    if (!bytes) return pith_fail(ctx, PITH_E_TRUNCATED, "the model archive ends in its header");
    if (bytes[0] >> 4 != VERSION >> 4 || bytes[1] & ~FLAG_LOSSY)
        return pith_fail(ctx, PITH_E_UNSUPPORTED, "model archive version %u.%u is not known to pith %s", bytes[0] >> 4,
                         bytes[0] & 15, pith_version());
    if (!repr_take_number(&in, PITH_RECIPE_MAX_BYTES, &recipe_n))
        return pith_fail(ctx, PITH_E_FORMAT, "malformed length of the recipe");
    const uint8_t *recipe = repr_take(&in, (size_t)recipe_n), *end = in.p, *check = repr_take(&in, 4);
    if (!recipe || !check) return pith_fail(ctx, PITH_E_TRUNCATED, "the model archive ends in its header");
    if (load32(check) != (uint32_t)pith_hash64(data, (size_t)(end - data)))
        return pith_fail(ctx, PITH_E_CHECK, "the header of the model archive does not match its check value");
    x->lossy = bytes[1] & FLAG_LOSSY;
    if (x->lossy != (recipe_n > 0)) return pith_fail(ctx, PITH_E_FORMAT, "a lossy archive has a recipe, others have none");
    *header_n = (uint64_t)(in.p - data);
    x->recipe = pith_alloc(ctx, (size_t)recipe_n + 1);
    if (!x->recipe) return pith_alloc_status(ctx);
    memcpy(x->recipe, recipe, (size_t)recipe_n);
    x->recipe_n = (size_t)recipe_n;
    return PITH_OK;
}

/* The index as it is meant: *owned is to be freed. */
static pith_status unfold_index(pith_ctx *ctx, const uint8_t *coded, uint64_t coded_n, uint64_t plain_n,
                                uint8_t **owned) {
    *owned = NULL;
    if (coded_n == plain_n) return PITH_OK;
    if (plain_n > ARCHIVE_INDEX_MAX || coded_n > plain_n)
        return pith_fail(ctx, PITH_E_FORMAT, "an index of %llu bytes in %llu", (unsigned long long)plain_n,
                         (unsigned long long)coded_n);
    *owned = pith_alloc(ctx, (size_t)plain_n);
    if (!*owned) return pith_alloc_status(ctx);
    return archive_zstd_decode(ctx, coded, (size_t)coded_n, *owned, (size_t)plain_n);
}

pith_status archive_index_get(pith_ctx *ctx, const uint8_t *data, uint64_t size, archive_index *x) {
    uint64_t header_n = 0;
    pith_status status = get_header(ctx, data, size, x, &header_n);
    if (status) return status;
    if (size - header_n < ARCHIVE_TAIL_BYTES) return pith_fail(ctx, PITH_E_TRUNCATED, "the model archive has no end");
    const uint8_t *tail = data + size - ARCHIVE_TAIL_BYTES;
    uint64_t room = size - header_n - ARCHIVE_TAIL_BYTES, plain_n = load64(tail), coded_n = load64(tail + 8);
    if (memcmp(tail + 20, tail_magic, sizeof tail_magic) != 0)
        return pith_fail(ctx, PITH_E_TRUNCATED, "the model archive has no end");
    if (coded_n == 0 || coded_n > room) return pith_fail(ctx, PITH_E_FORMAT, "an index longer than the archive");
    const uint8_t *coded = tail - coded_n;
    if (load32(tail + 16) != (uint32_t)pith_hash64(coded, (size_t)coded_n))
        return pith_fail(ctx, PITH_E_CHECK, "the index of the model archive does not match its check value");
    uint8_t *owned;
    pith_buffer pieces = {0};
    status = unfold_index(ctx, coded, coded_n, plain_n, &owned);
    parser p = {.ctx = ctx, .x = x, .payload_at = header_n, .payload_end = header_n + room - coded_n};
    p.in = owned ? (repr_reader){.p = owned, .end = owned + plain_n} : (repr_reader){.p = coded, .end = coded + coded_n};
    if (!status) status = get_index(&p, &pieces);
    pith_free(ctx, owned);
    x->pieces = (archive_piece *)(void *)pieces.data;
    x->n_pieces = pieces.size / sizeof *x->pieces;
    return status;
}
