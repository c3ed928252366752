/* From a model file to its archive: what is a tensor and what is the rest, which rule each gets, which are the same;
 * then the pieces, a batch at a time on all threads, in the order of the file. */
#include "artefacts/model/archive_parts.h"
#include "artefacts/model/stats.h"

#include <math.h>

/* What one matrix lost. */
typedef struct matrix_loss {
    double error, square; /* sums of (w - r)^2 and w^2 */
    double outputs;       /* relative; NAN without statistics */
} matrix_loss;

typedef struct writer {
    pith_ctx *ctx;
    const uint8_t *data;
    size_t size;
    const archive_options *options;
    const tensor_view **views; /* of x.tensors, in their order */
    archive_index x;
    uint8_t *rest;
    pith_recipe *recipe;
    repr_chain **chains;
    size_t first; /* piece of this batch's job 0 */
    pith_buffer *coded; /* [jobs] */
    matrix_loss *lost;  /* [jobs] */
    double error, square, outputs, outputs_weights; /* sums over matrices; the third weighed by weights */
    tensor_write_fn write;
    void *opaque;
    uint64_t done; /* bytes of the file coded so far */
    _Atomic size_t failed; /* piece that failed first, counted from 1; 0: none */
} writer;

/* ---- what there is ---------------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b) {
    const tensor_view *x = *(const tensor_view *const *)a, *y = *(const tensor_view *const *)b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return x < y ? -1 : x > y;
}

static const uint8_t *source_of(const writer *w, size_t tensor) { return w->views[tensor]->data; }

/* Tensors in the order of their bytes. What does not lie in the file, because it was made up or shares bytes with
 * one before, is no tensor here. */
static pith_status list_tensors(writer *w, const tensor_file *f) {
    w->views = pith_alloc(w->ctx, (f->n_tensors + 1) * sizeof *w->views);
    w->x.tensors = pith_zalloc(w->ctx, (f->n_tensors + 1) * sizeof *w->x.tensors);
    if (!w->views || !w->x.tensors) return pith_alloc_status(w->ctx);
    for (size_t i = 0; i < f->n_tensors; i++) w->views[i] = &f->tensors[i];
    qsort(w->views, f->n_tensors, sizeof *w->views, by_place);
    const uint8_t *at = w->data, *end = w->data + w->size;
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *v = w->views[i];
        if (v->data < at || v->data > end || v->bytes > (uint64_t)(end - v->data) || v->name.size > 65535) continue;
        archive_tensor *t = &w->x.tensors[w->x.n_tensors];
        *t = (archive_tensor){.name = v->name, .type = v->type, .n_dims = v->n_dims, .n_elements = v->n_elements,
                              .bytes = v->bytes, .gap = (uint64_t)(v->data - at)};
        memcpy(t->ne, v->ne, sizeof t->ne);
        w->views[w->x.n_tensors++] = v;
        w->x.rest_n += t->gap;
        at = v->data + v->bytes;
    }
    w->x.rest_n += (uint64_t)(end - at);
    return PITH_OK;
}

static pith_status gather_rest(writer *w) {
    w->rest = pith_alloc(w->ctx, (size_t)w->x.rest_n + 1);
    if (!w->rest) return pith_alloc_status(w->ctx);
    const uint8_t *at = w->data;
    size_t n = 0;
    for (size_t i = 0; i < w->x.n_tensors; i++) {
        const archive_tensor *t = &w->x.tensors[i];
        memcpy(w->rest + n, at, (size_t)t->gap);
        n += (size_t)t->gap;
        at += t->gap + t->bytes;
    }
    memcpy(w->rest + n, at, (size_t)w->x.rest_n - n);
    return PITH_OK;
}

/* ---- what becomes of it ------------------------------------------------------------------------------------- */

static bool is_finite(const writer *w, size_t i) {
    const archive_tensor *t = &w->x.tensors[i];
    size_t bad;
    return blocks_valid(t->type, source_of(w, i), (size_t)(t->n_elements / tensor_type_of(t->type)->block), &bad);
}

static pith_status choose_rules(writer *w) {
    pith_ctx *ctx = w->ctx;
    if (!w->options->recipe) return PITH_OK;
    pith_status status = archive_recipe(ctx, w->options->recipe, strlen(w->options->recipe), &w->recipe);
    if (status) return status;
    w->chains = pith_zalloc(ctx, (w->recipe->n_rules + 1) * sizeof *w->chains);
    if (!w->chains) return pith_alloc_status(ctx);
    for (unsigned i = 0; i < w->recipe->n_rules && !status; i++)
        status = repr_chain_new(ctx, &w->recipe->rules[i], &w->chains[i]);
    for (size_t i = 0; i < w->x.n_tensors && !status; i++) {
        archive_tensor *t = &w->x.tensors[i];
        size_t rule;
        if (!archive_codable(t)) continue;
        bool one = archive_one_rule(w->recipe, t->name, archive_matrices(t), &rule);
        if ((one && rule == w->recipe->n_rules) || !is_finite(w, i)) continue;
        t->mode = ARCHIVE_CODED;
        t->rule = one ? rule : ARCHIVE_NO_RULE;
        w->x.lossy = true;
    }
    if (status || !w->x.lossy) return status;
    pith_buffer text = {0};
    status = pith_recipe_print(ctx, w->recipe, &text);
    w->x.recipe = (char *)text.data;
    w->x.recipe_n = text.size;
    return status;
}

typedef struct twin {
    uint64_t hash;
    size_t tensor;
} twin;

static int by_hash(const void *a, const void *b) {
    const twin *x = a, *y = b;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return x->tensor < y->tensor ? -1 : x->tensor > y->tensor;
}

/* Statistics belong to a name: coded tensors of different names may come out different. */
static bool may_be_twin(const writer *w, const archive_tensor *t) {
    return t->bytes && (t->mode != ARCHIVE_CODED || (t->rule != ARCHIVE_NO_RULE && !w->options->stats));
}

static bool same_fate(const archive_tensor *a, const archive_tensor *b) {
    if (a->type != b->type || a->n_elements != b->n_elements || a->mode != b->mode) return false;
    return a->mode != ARCHIVE_CODED || (a->rule == b->rule && a->ne[0] == b->ne[0] && a->ne[1] == b->ne[1]);
}

/* twins[i] against those of its hash that equal none before them, which stand from `first` to before `end`. */
static bool join(writer *w, const twin *twins, size_t first, size_t end, size_t i) {
    archive_tensor *b = &w->x.tensors[twins[i].tensor];
    for (size_t k = end; k-- > first;) {
        const archive_tensor *a = &w->x.tensors[twins[k].tensor];
        if (!same_fate(a, b) ||
            memcmp(source_of(w, twins[k].tensor), source_of(w, twins[i].tensor), (size_t)a->bytes) != 0)
            continue;
        b->mode = ARCHIVE_SAME;
        b->like = twins[k].tensor;
        return true;
    }
    return false;
}

static pith_status find_twins(writer *w) {
    size_t n = 0, first = 0, end = 0;
    twin *twins = pith_alloc(w->ctx, (w->x.n_tensors + 1) * sizeof *twins);
    if (!twins) return pith_alloc_status(w->ctx);
    for (size_t i = 0; i < w->x.n_tensors; i++)
        if (may_be_twin(w, &w->x.tensors[i]))
            twins[n++] = (twin){pith_hash64(source_of(w, i), (size_t)w->x.tensors[i].bytes), i};
    qsort(twins, n, sizeof *twins, by_hash);
    for (size_t i = 0; i < n; i++) {
        if (end > first && twins[first].hash != twins[i].hash) first = end;
        if (!join(w, twins, first, end, i)) twins[end++] = twins[i];
    }
    pith_free(w->ctx, twins);
    return PITH_OK;
}

/* ---- pieces ---------------------------------------------------------------------------------------------------- */

/* What is known of the inputs of matrix number `at` of a tensor. */
static pith_status find_stats(const writer *w, const archive_tensor *t, uint64_t at, repr_stats *stats) {
    *stats = (repr_stats){0};
    if (!w->options->stats) return PITH_OK;
    char *name = pith_alloc(w->ctx, t->name.size + 1);
    if (!name) return pith_alloc_status(w->ctx);
    memcpy(name, t->name.data, t->name.size);
    name[t->name.size] = 0;
    const model_stats_entry *entry = model_stats_entry_of(w->options->stats, name);
    uint32_t part = entry && at < entry->parts ? (uint32_t)at : 0;
    pith_status status = model_stats_find(w->ctx, w->options->stats, name, part, (size_t)t->ne[0], stats);
    pith_free(w->ctx, name);
    return status;
}

/* Floats of the matrix of a piece. */
static void get_floats(const writer *w, const archive_piece *p, float *floats) {
    const archive_tensor *t = &w->x.tensors[p->tensor];
    const tensor_type_info *type = tensor_type_of(t->type);
    size_t n = (size_t)(t->ne[0] * t->ne[1]);
    blocks_decode(t->type, source_of(w, p->tensor) + p->at * n / type->block * type->block_bytes, floats, n);
}

/* Some rows, evenly spaced, tell of the outputs. They are moved to the front of both. */
static pith_status measure_loss(const writer *w, const archive_tensor *t, const repr_stats *stats, float *floats,
                                float *restored, matrix_loss *lost) {
    size_t rows = (size_t)t->ne[1], cols = (size_t)t->ne[0], some = PITH_MIN(rows, (size_t)ARCHIVE_LOSS_ROWS);
    for (size_t i = 0; i < rows * cols; i++) {
        double d = (double)floats[i] - (double)restored[i];
        lost->error += d * d;
        lost->square += (double)floats[i] * (double)floats[i];
    }
    lost->outputs = NAN;
    if (!stats->gram && !stats->h) return PITH_OK;
    for (size_t i = 1; i < some; i++) {
        memcpy(floats + i * cols, floats + i * rows / some * cols, cols * sizeof *floats);
        memcpy(restored + i * cols, restored + i * rows / some * cols, cols * sizeof *restored);
    }
    const repr_matrix matrix = {.data = floats, .rows = some, .cols = cols};
    repr_error error;
    pith_status status = repr_measure(w->ctx, &matrix, restored, stats, &error);
    lost->outputs = error.outputs;
    return status;
}

static pith_status code_matrix(const writer *w, archive_piece *p, pith_buffer *out, matrix_loss *lost) {
    const archive_tensor *t = &w->x.tensors[p->tensor];
    size_t rows = (size_t)t->ne[1], cols = (size_t)t->ne[0], n = rows * cols;
    repr_stats stats;
    float *floats = pith_alloc(w->ctx, n * sizeof *floats);
    float *restored = floats ? pith_alloc(w->ctx, n * sizeof *restored) : NULL;
    pith_status status = restored ? find_stats(w, t, p->at, &stats) : pith_alloc_status(w->ctx);
    if (!status) {
        get_floats(w, p, floats);
        repr_matrix matrix = {.data = floats, .rows = rows, .cols = cols};
        status = repr_encode_over(w->ctx, w->chains[p->rule], &matrix, &stats, out, restored);
        if (!status) p->hash = pith_hash64(restored, n * sizeof *restored);
    }
    if (!status && w->options->loss) {
        get_floats(w, p, floats);
        status = measure_loss(w, t, &stats, floats, restored, lost);
    }
    pith_free(w->ctx, restored);
    pith_free(w->ctx, floats);
    return status;
}

/* In the order of the pieces, so that the sums are always the same. */
static void add_loss(writer *w, const archive_piece *p, const matrix_loss *lost) {
    archive_loss *loss = w->options->loss;
    const archive_tensor *t = p->tensor == ARCHIVE_REST ? NULL : &w->x.tensors[p->tensor];
    if (!loss || !t || p->rule == ARCHIVE_NO_RULE) return;
    double weights = (double)p->raw_n / sizeof(float), relative = lost->square > 0 ? lost->error / lost->square : 0;
    loss->weights += p->raw_n / sizeof(float);
    w->error += lost->error;
    w->square += lost->square;
    if (!isnan(lost->outputs)) {
        w->outputs += weights * lost->outputs;
        w->outputs_weights += weights;
    }
    if (relative > loss->worst_error) {
        size_t n = PITH_MIN(t->name.size, sizeof loss->worst - 1);
        loss->worst_error = relative;
        memcpy(loss->worst, t->name.data, n);
        loss->worst[n] = 0;
    }
    loss->weights_error = w->square > 0 ? w->error / w->square : 0;
    loss->outputs_error = w->outputs_weights > 0 ? w->outputs / w->outputs_weights : NAN;
}

static pith_status code_piece(void *arg, size_t job) {
    writer *w = arg;
    archive_piece *p = &w->x.pieces[w->first + job];
    pith_buffer *out = &w->coded[job];
    pith_status status;
    w->lost[job] = (matrix_loss){0};
    if (pith_cancelled(w->ctx)) return pith_fail(w->ctx, PITH_E_CANCELLED, "cancelled");
    if (p->rule != ARCHIVE_NO_RULE) {
        status = code_matrix(w, p, out, &w->lost[job]);
    } else {
        bool rest = p->tensor == ARCHIVE_REST;
        const uint8_t *src = (rest ? w->rest : source_of(w, p->tensor)) + p->at;
        p->hash = pith_hash64(src, (size_t)p->raw_n);
        status = archive_piece_encode(w->ctx, rest ? TENSOR_U8 : w->x.tensors[p->tensor].type, rest, src, (size_t)p->raw_n,
                                      &p->coding, out);
    }
    p->coded_n = out->size;
    size_t none = 0;
    if (status) atomic_compare_exchange_strong(&w->failed, &none, w->first + job + 1);
    return status;
}

/* Puts the tensor's name in front of what went wrong. */
static pith_status say_where(writer *w, pith_status status) {
    size_t piece = w->failed;
    return status && piece ? archive_blame(w->ctx, &w->x, piece - 1, status) : status;
}

/* Roughly what a piece needs while it is coded: a matrix also the factor of its Gram matrix. */
static uint64_t memory_of(const writer *w, const archive_piece *p) {
    if (p->rule == ARCHIVE_NO_RULE) return 4 * p->raw_n;
    uint64_t cols = w->x.tensors[p->tensor].ne[0];
    return (uint64_t)(repr_memory(w->chains[p->rule]) * (double)p->raw_n) + (w->options->stats ? 12 * cols * cols : 0);
}

/* Bytes of the original behind a piece, for progress. */
static uint64_t original_of(const writer *w, const archive_piece *p) {
    if (p->rule == ARCHIVE_NO_RULE) return p->raw_n;
    return w->x.tensors[p->tensor].bytes / w->x.tensors[p->tensor].n_pieces;
}

/* Those that are coded at once are as many as there are threads, the neediest at worst; of others the code waits. */
static size_t batch_size(const writer *w, size_t most) {
    uint64_t used = pith_memory_used(w->ctx), limit = pith_ctx_memory(w->ctx);
    uint64_t room = limit > used ? (limit - used) / 4 * 3 : 0, largest = 0, waiting = 0;
    size_t n = 0;
    while (n < most && w->first + n < w->x.n_pieces) {
        const archive_piece *p = &w->x.pieces[w->first + n];
        largest = PITH_MAX(largest, memory_of(w, p));
        waiting += p->raw_n / 2;
        if (n && PITH_MIN(n + 1, (size_t)pith_ctx_threads(w->ctx)) * largest + waiting > room) break;
        n++;
    }
    return n;
}

static pith_status write_pieces(writer *w, uint64_t at) {
    size_t most = 2 * (size_t)pith_ctx_threads(w->ctx), n;
    if (pith_ctx_threads(w->ctx) == 1) most = 1;
    w->coded = pith_zalloc(w->ctx, most * sizeof *w->coded);
    w->lost = pith_alloc(w->ctx, most * sizeof *w->lost);
    if (!w->coded || !w->lost) return pith_alloc_status(w->ctx);
    pith_status status = PITH_OK;
    for (; w->first < w->x.n_pieces && !status; w->first += n) {
        n = batch_size(w, most);
        status = say_where(w, n == 1 ? code_piece(w, 0) : pith_parallel(w->ctx, n, code_piece, w));
        for (size_t i = 0; i < n; i++) {
            archive_piece *p = &w->x.pieces[w->first + i];
            p->offset = at;
            if (!status) status = w->write(w->opaque, w->coded[i].data, w->coded[i].size);
            at += w->coded[i].size;
            w->done += original_of(w, p);
            if (!status) add_loss(w, p, &w->lost[i]);
            pith_buffer_free(w->ctx, &w->coded[i]);
            w->coded[i] = (pith_buffer){0};
        }
        if (!status) status = pith_tick(w->ctx, w->done, w->size);
    }
    return status;
}

static pith_status run(writer *w, const tensor_file *f) {
    pith_status status = list_tensors(w, f);
    if (!status) status = gather_rest(w);
    if (!status) status = choose_rules(w);
    if (!status) status = find_twins(w);
    if (!status) status = archive_lay_out(w->ctx, &w->x, w->recipe);
    if (status) return status;
    w->x.original_n = w->size;
    w->x.original_hash = pith_hash64(w->data, w->size);
    pith_buffer bytes = {0};
    status = archive_header_put(w->ctx, &w->x, &bytes);
    if (!status) status = w->write(w->opaque, bytes.data, bytes.size);
    if (!status) status = write_pieces(w, bytes.size);
    bytes.size = 0;
    if (!status) status = archive_index_put(w->ctx, &w->x, &bytes);
    if (!status) status = w->write(w->opaque, bytes.data, bytes.size);
    pith_buffer_free(w->ctx, &bytes);
    return status;
}

pith_status archive_write(pith_ctx *ctx, const uint8_t *data, size_t size, const archive_options *options,
                          tensor_write_fn write, void *opaque) {
    static const archive_options none;
    writer w = {.ctx = ctx, .data = data, .size = size, .options = options ? options : &none, .write = write,
                .opaque = opaque};
    tensor_file *f;
    if (w.options->loss) *w.options->loss = (archive_loss){.outputs_error = NAN};
    pith_status status = tensor_file_open_memory(ctx, data, size, &f);
    if (status) return status;
    status = run(&w, f);
    for (unsigned i = 0; w.chains && i < w.recipe->n_rules; i++) repr_chain_free(ctx, w.chains[i]);
    pith_free(ctx, w.chains);
    pith_recipe_free(ctx, w.recipe);
    pith_free(ctx, w.coded);
    pith_free(ctx, w.lost);
    pith_free(ctx, w.rest);
    pith_free(ctx, w.views);
    archive_index_free(ctx, &w.x);
    tensor_file_close(ctx, f);
    return status;
}
