/* Families: which file of the store another one was made from. Files are compared by samples of their pieces that the
 * index holds, so that nothing is decoded: the share of bits in which pieces of the same shape differ, as ZipLLM does
 * (arXiv:2505.06252), held against what elements of a tensor differ from their neighbours, which have nothing to do
 * with each other but the tensor's distribution. */
#include "artefacts/model/store_parts.h"

enum { SAMPLE = 8, N_SAMPLES = STORE_SKETCH / SAMPLE, SMALLEST = 1024 };
#define NEAR 0.85 /* of the distance of strangers; the nearest of some strangers is some percent nearer than all */

bool store_sketch(const uint8_t *data, size_t n, uint8_t sketch[STORE_SKETCH]) {
    if (n < SMALLEST) return false;
    uint64_t state = 0x9E3779B97F4A7C15u;
    for (unsigned k = 0; k < N_SAMPLES; k++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        uint64_t place = (state >> 32) * (n / SAMPLE) >> 32;
        memcpy(sketch + k * SAMPLE, data + place * SAMPLE, SAMPLE);
    }
    return true;
}

static double bits_between(const uint8_t *a, const uint8_t *b, unsigned n_samples) {
    unsigned bits = 0;
    for (unsigned k = 0; k < n_samples; k++)
        bits += (unsigned)__builtin_popcountll(load64(a + k * SAMPLE) ^ load64(b + k * SAMPLE));
    return (double)bits / (double)(n_samples * SAMPLE * 8);
}

static double distance_between(const uint8_t *a, const uint8_t *b) { return bits_between(a, b, N_SAMPLES); }

/* Samples against the samples beside them. */
static double distance_of_strangers(const uint8_t *a) { return bits_between(a, a + SAMPLE, N_SAMPLES - 1); }

/* ---- the pieces of one file ---- */

static int by_shape(const void *a, const void *b) {
    const store_relative *x = a, *y = b;
    if (x->shape != y->shape) return x->shape < y->shape ? -1 : 1;
    return x->object < y->object ? -1 : x->object > y->object;
}

static const store_relative *first_of_shape(const store_family *f, uint64_t shape) {
    size_t low = 0, high = f->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (f->list[middle].shape < shape)
            low = middle + 1;
        else
            high = middle;
    }
    return f->list + low;
}

static bool is_of_shape(const store_family *f, const store_relative *r, uint64_t shape) {
    return r < f->list + f->n && r->shape == shape;
}

void store_family_free(pith_ctx *ctx, store_family *family) {
    pith_free(ctx, family->list);
    *family = (store_family){0};
}

static void take_row(sqlite3_stmt *st, store_relative *r) {
    *r = (store_relative){.shape = (uint64_t)sqlite3_column_int64(st, 0), .object = sqlite3_column_int64(st, 1)};
    const void *sketch = sqlite3_column_blob(st, 2), *name = sqlite3_column_text(st, 3);
    r->sketched = sketch && sqlite3_column_bytes(st, 2) == STORE_SKETCH;
    if (r->sketched) memcpy(r->sketch, sketch, STORE_SKETCH);
    if (name) r->name_hash = pith_hash64(name, (size_t)sqlite3_column_bytes(st, 3));
}

static pith_status family_load(model_store *s, int64_t file, store_family *f) {
    static const char sql[] = "SELECT part.shape, object.id, object.sketch, part.name FROM part"
                              " JOIN object ON object.id = part.object WHERE part.file = ?1 AND part.shape <> 0";
    pith_buffer rows = {0};
    sqlite3_stmt *st;
    bool row = true;
    pith_status status = store_prepare(s, &st, sql, 1, &file);
    while (!status && !(status = store_step(s, st, &row)) && row) {
        store_relative r;
        take_row(st, &r);
        status = pith_buffer_append(s->ctx, &rows, &r, sizeof r);
    }
    sqlite3_finalize(st);
    if (status) {
        pith_buffer_free(s->ctx, &rows);
        return status;
    }
    *f = (store_family){file, (store_relative *)(void *)rows.data, rows.size / sizeof(store_relative)};
    if (f->n) qsort(f->list, f->n, sizeof *f->list, by_shape);
    return PITH_OK;
}

/* ---- the choice ---- */

/* Means over bytes; pieces without a relative count as strangers. */
static void compare(const store_family *f, const store_piece *pieces, size_t n, double *distance, double *strangers) {
    double total = 0, sum = 0, sum_strangers = 0;
    for (size_t i = 0; i < n; i++) {
        const store_piece *p = &pieces[i];
        if (!p->sketched) continue;
        double far = distance_of_strangers(p->sketch), best = far;
        for (const store_relative *r = first_of_shape(f, p->shape); is_of_shape(f, r, p->shape); r++) {
            double d = r->sketched ? distance_between(p->sketch, r->sketch) : far;
            best = d < best ? d : best;
        }
        total += (double)p->n;
        sum += best * (double)p->n;
        sum_strangers += far * (double)p->n;
    }
    *distance = total > 0 ? sum / total : 0;
    *strangers = total > 0 ? sum_strangers / total : 0;
}

static pith_status file_name(model_store *s, int64_t file, char name[MODEL_STORE_NAME_MAX + 1]) {
    sqlite3_stmt *st;
    bool row = false;
    pith_status status = store_prepare(s, &st, "SELECT name FROM file WHERE id = ?1", 1, &file);
    if (!status) status = store_step(s, st, &row);
    const char *text = !status && row ? (const char *)sqlite3_column_text(st, 0) : NULL;
    snprintf(name, MODEL_STORE_NAME_MAX + 1, "%s", text ? text : "");
    sqlite3_finalize(st);
    return status;
}

static pith_status nearest(model_store *s, const store_piece *pieces, size_t n, store_family *family,
                           model_store_added *report) {
    sqlite3_stmt *st;
    bool row = true;
    double best = 0;
    pith_status status = store_prepare(s, &st, "SELECT id FROM file ORDER BY id", 0, NULL);
    while (!status && !(status = store_step(s, st, &row)) && row) {
        store_family f = {0};
        double distance, strangers;
        status = family_load(s, sqlite3_column_int64(st, 0), &f);
        if (status) break;
        compare(&f, pieces, n, &distance, &strangers);
        if (strangers > 0 && distance < NEAR * strangers && (!family->file || distance < best)) {
            store_family swap = *family;
            *family = f;
            f = swap;
            best = distance;
            report->distance = distance;
            report->unrelated = strangers;
        }
        store_family_free(s->ctx, &f);
    }
    sqlite3_finalize(st);
    return status;
}

pith_status store_choose_base(model_store *s, const store_piece *pieces, size_t n,
                              const model_store_add_options *options, store_family *family, model_store_added *report) {
    pith_status status = PITH_OK;
    *family = (store_family){0};
    if (options->no_base) return PITH_OK;
    if (options->base) {
        int64_t file;
        status = store_find(s, options->base, &file);
        if (!status) status = family_load(s, file, family);
        if (!status) compare(family, pieces, n, &report->distance, &report->unrelated);
    } else {
        status = nearest(s, pieces, n, family, report);
    }
    return status || !family->file ? status : file_name(s, family->file, report->base);
}

pith_status store_counterpart(model_store *s, const store_family *family, const store_piece *p, store_object *o) {
    const store_relative *best = NULL;
    double least = p->sketched ? NEAR * distance_of_strangers(p->sketch) : 0;
    *o = (store_object){0};
    if (!family->file || !p->tensor) return PITH_OK;
    uint64_t name_hash = pith_hash64(p->tensor->name.data, p->tensor->name.size);
    for (const store_relative *r = first_of_shape(family, p->shape); is_of_shape(family, r, p->shape); r++) {
        if (r->name_hash == name_hash) {
            best = r;
            break;
        }
        double d = p->sketched && r->sketched ? distance_between(p->sketch, r->sketch) : 1;
        if (d < least) {
            least = d;
            best = r;
        }
    }
    if (!best) return PITH_OK;
    pith_status status = store_object_get(s, best->object, o);
    if (!status && o->base) status = store_object_get(s, o->base, o);
    if (!status && (o->raw != p->n || o->type != p->tensor->type)) o->id = 0;
    return status;
}
