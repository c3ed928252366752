/* pith bench family: a model and its siblings in a store (Z. Su et al., "ZipLLM", arXiv:2505.06252). */
#define _GNU_SOURCE /* nftw */
#include <ftw.h>
#include <math.h>
#include <unistd.h>
#include <zstd.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/model.h"
#include "faces/cli/bench_family.h"

static const char family_help[] =
    "Usage: pith bench family [OPTIONS]\n\n"
    "Makes a family of a model in bf16: a copy, one with its last matrix trained on a text, and ones with adapters of\n"
    "rank 8 merged into all matrices, of several sizes beside them. Adds it to a store, nobody saying what was made\n"
    "from what, and compares the bytes with those of less: equal files kept once, equal tensors kept once, zstd,\n"
    "planes of floats. Every file must come back byte for byte, and a model of the same shapes with other weights\n"
    "must not be taken for a sibling.\n\n"
    "      --text=FILE     the last matrix is trained on (default tests/data/alice29.txt)\n"
    "      --bytes=N       of it, at most (default 65536)\n"
    "      --model=FILE    the model (default: the built-in pith-mini)\n" EXP_HELP "\nExamples:\n"
    "  pith bench family\n"
    "  pith bench family --model=model.gguf\n";

enum { BASE, COPY, HEAD, FIRST_MERGED };
static const double updates[] = {1e-4, 3e-4, 1e-3, 3e-3, 1e-2};
enum { N_FILES = FIRST_MERGED + PITH_COUNT(updates), TYPICAL = FIRST_MERGED + 2 };

typedef struct family {
    const char *file, *model;
    uint64_t bytes;
    lm_model *m;
    float *head; /* trained */
    char folder[256];
    pith_buffer sibling[N_FILES], stranger;
    uint64_t zstd[N_FILES], planes[N_FILES], own[N_FILES]; /* by themselves; what the store took for each */
    double distance[N_FILES];
    char base[N_FILES][40];
    bool restored, stranger_alone;
    model_store_totals plain, full; /* without and with differences */
} family;

static const char *name_of(unsigned i, char text[40]) {
    static const char *const names[] = {"base", "copy", "head trained"};
    if (i < FIRST_MERGED)
        snprintf(text, 40, "%s", names[i]);
    else if (i < N_FILES)
        snprintf(text, 40, "merged %g", updates[i - FIRST_MERGED]);
    else
        snprintf(text, 40, "stranger");
    return text;
}

/* ---- files ---- */

static void path_of(const family *f, const char *name, char path[400]) {
    snprintf(path, 400, "%s/%s", f->folder, name);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)st, (void)type, (void)where;
    return remove(path);
}

static int make_folder(experiment *e, family *f) {
    const char *base = getenv("TMPDIR");
    int n = snprintf(f->folder, sizeof f->folder, "%s/pith-family-XXXXXX", base && *base ? base : "/tmp");
    if (n > 0 && (size_t)n < sizeof f->folder && mkdtemp(f->folder)) return CLI_OK;
    f->folder[0] = 0;
    return cli_error("%s: no temporary folder", e->name);
}

static int save(experiment *e, const family *f, unsigned i, const pith_buffer *b) {
    char path[400], name[40];
    lm_writer w;
    path_of(f, name_of(i, name), path);
    int result = lm_writer_open(&w, e->ctx, path, true);
    if (result != CLI_OK) return result;
    bool good = lm_write_piece(&w, b->data, b->size) == PITH_OK;
    if (!good) exp_failed(e);
    result = lm_writer_close(&w, good, true);
    return good ? result : CLI_FAIL;
}

static int make_files(experiment *e, family *f) {
    const tensor_file *from = lm_file(f->m);
    char name[40];
    int result = CLI_OK;
    for (unsigned i = 0; i <= N_FILES && result == CLI_OK; i++) {
        pith_buffer *b = i < N_FILES ? &f->sibling[i] : &f->stranger;
        family_sibling how = {.seed = i + 1,
                              .strange = i == N_FILES,
                              .head = i == HEAD ? f->head : NULL,
                              .update = i >= FIRST_MERGED && i < N_FILES ? updates[i - FIRST_MERGED] : 0};
        exp_step(e, name_of(i, name));
        if (family_make(e->ctx, from, &how, b)) return exp_failed(e);
        result = save(e, f, i, b);
    }
    return result;
}

/* ---- what each takes by itself ---- */

static pith_status count(void *opaque, const void *data, size_t size) {
    (void)data;
    *(uint64_t *)opaque += size;
    return PITH_OK;
}

static pith_status alone(experiment *e, family *f) {
    archive_options o = {0};
    pith_buffer room = {0};
    pith_status status = pith_buffer_reserve(e->ctx, &room, ZSTD_compressBound(f->sibling[BASE].size * 2));
    for (unsigned i = 0; i < N_FILES && !status; i++) {
        const pith_buffer *b = &f->sibling[i];
        char name[40];
        exp_step(e, name_of(i, name));
        size_t n = ZSTD_compress(room.data, room.capacity, b->data, b->size, 3);
        if (ZSTD_isError(n)) status = pith_fail(e->ctx, PITH_E_INTERNAL, "zstd: %s", ZSTD_getErrorName(n));
        f->zstd[i] = n;
        if (!status) status = archive_write(e->ctx, b->data, b->size, &o, count, &f->planes[i]);
    }
    pith_buffer_free(e->ctx, &room);
    return status;
}

/* Files that are equal to one before count once. */
static uint64_t different_files(const family *f) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < N_FILES; i++) {
        bool seen = false;
        for (unsigned k = 0; k < i; k++)
            seen |= f->sibling[k].size == f->sibling[i].size &&
                    memcmp(f->sibling[k].data, f->sibling[i].data, f->sibling[i].size) == 0;
        sum += seen ? 0 : f->sibling[i].size;
    }
    return sum;
}

/* ---- the stores ---- */

typedef struct comparison {
    const pith_buffer *with;
    size_t at;
    bool equal;
} comparison;

static pith_status compare(void *opaque, const void *data, size_t size) {
    comparison *c = opaque;
    c->equal = c->equal && size <= c->with->size - c->at && memcmp(c->with->data + c->at, data, size) == 0;
    c->at += c->equal ? size : 0;
    return PITH_OK;
}

static pith_status add_one(experiment *e, const family *f, model_store *s, unsigned i, bool differences,
                           model_store_added *r) {
    char path[400], name[40];
    model_store_add_options o = {.no_base = !differences};
    name_of(i, name);
    path_of(f, name, path);
    exp_step(e, name);
    return model_store_add(e->ctx, s, name, path, &o, r);
}

static pith_status fill(experiment *e, family *f, bool differences, model_store_totals *totals) {
    char path[400], name[40];
    model_store *s = NULL;
    model_store_added r;
    path_of(f, differences ? "full" : "plain", path);
    pith_status status = model_store_open(e->ctx, path, MODEL_STORE_ADD, &s);
    for (unsigned i = 0; i < N_FILES && !status; i++) {
        status = add_one(e, f, s, i, differences, &r);
        if (status || !differences) continue;
        f->own[i] = r.same.coded + r.delta.coded + r.plain.coded + r.rest.coded;
        f->distance[i] = r.unrelated > 0 ? r.distance / r.unrelated : NAN;
        snprintf(f->base[i], sizeof f->base[i], "%.*s", (int)sizeof f->base[i] - 1, r.base);
    }
    if (!status) status = model_store_stat(e->ctx, s, totals);
    f->restored = true;
    for (unsigned i = 0; i < N_FILES && !status; i++) {
        comparison c = {.with = &f->sibling[i], .equal = true};
        status = model_store_get(e->ctx, s, name_of(i, name), compare, &c);
        f->restored = f->restored && c.equal && c.at == c.with->size;
    }
    if (!status && differences) {
        status = add_one(e, f, s, N_FILES, true, &r);
        f->stranger_alone = !r.base[0] && r.delta.pieces == 0;
    }
    model_store_close(s);
    return status;
}

/* ---- the report ---- */

static void report(experiment *e, const family *f) {
    uint64_t raw = f->full.raw, zstd = 0, planes = 0, files = different_files(f), tensors = raw - f->plain.saved_same;
    unsigned found = 0;
    char name[40], label[90];
    exp_table(e, "files of the family by themselves, and what the store took for each",
              "file (made from, as found)|raw.0|zstd -3.0|planes.0|store.0|% of raw.2|near.3");
    for (unsigned i = 0; i < N_FILES; i++) {
        zstd += f->zstd[i], planes += f->planes[i];
        found += i > BASE && f->base[i][0];
        snprintf(label, sizeof label, "%s%s%s%s", name_of(i, name), f->base[i][0] ? " (" : "", f->base[i],
                 f->base[i][0] ? ")" : "");
        EXP_ROW(e, label, (double)f->sibling[i].size, (double)f->zstd[i], (double)f->planes[i], (double)f->own[i],
                100 * (double)f->own[i] / (double)f->sibling[i].size, f->distance[i]);
    }
    const struct {
        const char *name;
        uint64_t bytes;
    } ways[] = {{"raw", raw},
                {"equal files once", files},
                {"equal tensors once", tensors},
                {"zstd -3 of each", zstd},
                {"planes of each", planes},
                {"equal tensors once, planes", f->plain.stored},
                {"the store", f->full.stored}};
    exp_table(e, "the whole family", "kept as|bytes.0|% of raw.2");
    for (unsigned i = 0; i < PITH_COUNT(ways); i++)
        EXP_ROW(e, ways[i].name, (double)ways[i].bytes, 100 * (double)ways[i].bytes / (double)raw);
    double pair =
        100 * (double)(f->own[BASE] + f->own[TYPICAL]) / (double)(f->sibling[BASE].size + f->sibling[TYPICAL].size);
    uint64_t best = PITH_MIN(PITH_MIN(files, tensors), PITH_MIN(zstd, planes));
    double less = 100 * (1 - (double)f->full.stored / (double)best);
    exp_claim(e, pair <= 50, "base and one sibling at %g take 50 %% of raw at most: %.1f %%",
              updates[TYPICAL - FIRST_MERGED], pair);
    exp_claim(e, less > 20, "more than 20 %% less than the best of dedup or compression alone: %.1f %%", less);
    exp_claim(e, found == N_FILES - 1 && !f->base[BASE][0] && f->stranger_alone,
              "%u of %u siblings found in the family, a stranger %s", found, (unsigned)N_FILES - 1,
              f->stranger_alone ? "not taken for one" : "taken for one");
    exp_claim(e, f->restored, "every file comes back byte for byte");
    exp_note(e, "near: bits that differ from the nearest file's, beside bits that unrelated weights differ in");
}

static int family_run(experiment *e, void *own) {
    family *f = own;
    pith_buffer text = {0};
    tune_report trained;
    artefacts_register();
    int result = lm_open_named(e->ctx, lm_model_path(f->model ? f->model : "default"), &f->m);
    if (result == CLI_OK) result = exp_read(e, f->file, "tests/data/alice29.txt", (size_t)f->bytes, &text);
    if (result == CLI_OK) {
        tune_options o = {.n_epochs = 2, .n_ctx = 256, .n_threads = e->o.n_threads};
        exp_step(e, "training");
        if (tune_head(e->ctx, f->m, text.data, text.size, &o, &f->head, &trained)) result = exp_failed(e);
    }
    if (result == CLI_OK) result = make_folder(e, f);
    if (result == CLI_OK) result = make_files(e, f);
    if (result == CLI_OK) {
        pith_status status = alone(e, f);
        if (!status) status = fill(e, f, false, &f->plain);
        if (!status) status = fill(e, f, true, &f->full);
        if (status) result = exp_failed(e);
    }
    if (result == CLI_OK) report(e, f);
    if (f->folder[0]) nftw(f->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    for (unsigned i = 0; i < N_FILES; i++) pith_buffer_free(e->ctx, &f->sibling[i]);
    pith_buffer_free(e->ctx, &f->stranger);
    pith_free(e->ctx, f->head);
    pith_buffer_free(e->ctx, &text);
    lm_close(e->ctx, f->m);
    return result;
}

int bench_family(int argc, char **argv) {
    family f = {.bytes = 65536};
    const lm_option extra[] = {{"text", 0, LM_TEXT, &f.file, 0, 0},
                               {"bytes", 0, LM_NUMBER, &f.bytes, 4096, 1 << 26},
                               {"model", 0, LM_TEXT, &f.model, 0, 0}};
    return exp_main(argc, argv, family_help, extra, PITH_COUNT(extra), 0, family_run, &f);
}
