/* Reading a model archive: opening, one tensor, the whole file. */
#include "artefacts/model/archive_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* A small file may not ask for hours: a minute, and a tenth of a second per byte of archive. */
#define FREE_SECONDS 60.0
#define SECONDS_PER_BYTE 0.1
#define NS_PER_EXACT_BYTE 3.0
#define NS_PER_ELEMENT 40.0 /* of one matrix of a chain */

/* ---- opening ------------------------------------------------------------------------------------------------ */

static int compare_names(const archive_tensor *a, const archive_tensor *b) {
    int r = memcmp(a->name.data, b->name.data, PITH_MIN(a->name.size, b->name.size));
    return r ? r : a->name.size < b->name.size ? -1 : a->name.size > b->name.size;
}

static void sift(const archive_tensor *t, uint32_t *order, size_t root, size_t n) {
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && compare_names(&t[order[child]], &t[order[child + 1]]) < 0) child++;
        if (compare_names(&t[order[root]], &t[order[child]]) >= 0) return;
        uint32_t swap = order[root];
        order[root] = order[child];
        order[child] = swap;
    }
}

/* Heap sort: no input makes it slow. */
static pith_status sort_names(pith_ctx *ctx, model_archive *a) {
    const archive_tensor *t = a->index.tensors;
    size_t n = a->index.n_tensors;
    a->order = pith_alloc(ctx, (n + 1) * sizeof *a->order);
    if (!a->order) return pith_alloc_status(ctx);
    for (size_t i = 0; i < n; i++) a->order[i] = (uint32_t)i;
    for (size_t i = n / 2; i-- > 0;) sift(t, a->order, i, n);
    for (size_t i = n; i-- > 1;) {
        uint32_t swap = a->order[0];
        a->order[0] = a->order[i];
        a->order[i] = swap;
        sift(t, a->order, 0, i);
    }
    for (size_t i = 1; i < n; i++)
        if (compare_names(&t[a->order[i - 1]], &t[a->order[i]]) == 0)
            return pith_fail(ctx, PITH_E_FORMAT, "two tensors of the same name in the model archive");
    return PITH_OK;
}

static pith_status make_chains(pith_ctx *ctx, model_archive *a) {
    archive_index *x = &a->index;
    if (!x->lossy) return PITH_OK;
    pith_status status = archive_recipe(ctx, x->recipe, x->recipe_n, &a->recipe);
    if (status) return status;
    a->chains = pith_zalloc(ctx, (a->recipe->n_rules + 1) * sizeof *a->chains);
    if (!a->chains) return pith_alloc_status(ctx);
    for (unsigned i = 0; i < a->recipe->n_rules && !status; i++)
        status = repr_chain_new(ctx, &a->recipe->rules[i], &a->chains[i]);
    for (size_t i = 0; i < x->n_pieces && !status; i++) {
        size_t rule = x->pieces[i].rule;
        if (rule != ARCHIVE_NO_RULE && rule >= a->recipe->n_rules)
            status = pith_fail(ctx, PITH_E_FORMAT, "a tensor coded by rule %zu of %u", rule, a->recipe->n_rules);
    }
    return status;
}

static pith_status check_time(pith_ctx *ctx, const model_archive *a, double max_seconds) {
    double ns = (double)a->index.original_n * NS_PER_EXACT_BYTE;
    for (size_t i = 0; i < a->index.n_tensors; i++) {
        const archive_tensor *t = &a->index.tensors[i];
        const archive_tensor *like = t->mode == ARCHIVE_SAME ? &a->index.tensors[t->like] : t;
        for (size_t k = 0; like->mode == ARCHIVE_CODED && k < like->n_pieces; k++) {
            const archive_piece *p = &a->index.pieces[like->first_piece + k];
            if (p->rule != ARCHIVE_NO_RULE)
                ns += (double)(p->raw_n / sizeof(float)) * NS_PER_ELEMENT * repr_chain_cost(a->chains[p->rule]);
        }
    }
    double limit = max_seconds > 0 ? max_seconds : FREE_SECONDS + SECONDS_PER_BYTE * (double)a->size;
    if (ns / 1e9 <= limit) return PITH_OK;
    return pith_fail(ctx, PITH_E_LIMIT, "decoding would take up to %.0f seconds, %.0f are allowed", ns / 1e9, limit);
}

static pith_status start(pith_ctx *ctx, model_archive *a, double max_seconds) {
    pith_status status = archive_index_get(ctx, a->data, a->size, &a->index);
    if (!status) status = sort_names(ctx, a);
    if (!status) status = make_chains(ctx, a);
    return status ? status : check_time(ctx, a, max_seconds);
}

pith_status archive_open_memory(pith_ctx *ctx, const uint8_t *data, size_t size, double max_seconds,
                                model_archive **out) {
    *out = NULL;
    model_archive *a = pith_zalloc(ctx, sizeof *a);
    if (!a) return pith_alloc_status(ctx);
    a->data = data;
    a->size = size;
    pith_status status = start(ctx, a, max_seconds);
    if (status)
        archive_close(ctx, a);
    else
        *out = a;
    return status;
}

pith_status archive_map(pith_ctx *ctx, const char *path, const uint8_t **data, size_t *size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) return pith_fail(ctx, PITH_E_IO, "%s", strerror(errno));
    struct stat st;
    pith_status status = PITH_OK;
    if (fstat(fd, &st) != 0)
        status = pith_fail(ctx, PITH_E_IO, "%s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        status = pith_fail(ctx, PITH_E_FORMAT, "not a regular file");
    else if (st.st_size == 0)
        status = pith_fail(ctx, PITH_E_TRUNCATED, "the file is empty");
    else if ((uint64_t)st.st_size > SIZE_MAX)
        status = pith_fail(ctx, PITH_E_LIMIT, "too big to map");
    if (!status) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) status = pith_fail(ctx, PITH_E_IO, "%s", strerror(errno));
        *data = p;
        *size = (size_t)st.st_size;
    }
    close(fd);
    return status;
}

pith_status archive_open(pith_ctx *ctx, const char *path, double max_seconds, model_archive **out) {
    const uint8_t *data = NULL;
    size_t size = 0;
    *out = NULL;
    pith_status status = archive_map(ctx, path, &data, &size);
    if (status) return status;
    status = archive_open_memory(ctx, data, size, max_seconds, out);
    if (status)
        munmap((void *)(uintptr_t)data, size);
    else
        (*out)->mapped = true;
    return status;
}

void archive_close(pith_ctx *ctx, model_archive *a) {
    if (!a) return;
    for (unsigned i = 0; a->chains && i < a->recipe->n_rules; i++) repr_chain_free(ctx, a->chains[i]);
    pith_free(ctx, a->chains);
    pith_recipe_free(ctx, a->recipe);
    pith_free(ctx, a->order);
    archive_index_free(ctx, &a->index);
    if (a->mapped) munmap((void *)(uintptr_t)a->data, (size_t)a->size);
    pith_free(ctx, a);
}

/* ---- looking ------------------------------------------------------------------------------------------------- */

const archive_index *archive_about(const model_archive *a) { return &a->index; }

uint64_t archive_bytes(const model_archive *a) { return a->size; }

static const archive_tensor *original_of(const model_archive *a, size_t i) {
    const archive_tensor *t = &a->index.tensors[i];
    return t->mode == ARCHIVE_SAME ? &a->index.tensors[t->like] : t;
}

const pith_recipe_rule *archive_rule(const model_archive *a, size_t tensor) {
    const archive_tensor *t = original_of(a, tensor);
    for (size_t k = 0; t->mode == ARCHIVE_CODED && k < t->n_pieces; k++) {
        size_t rule = a->index.pieces[t->first_piece + k].rule;
        if (rule != ARCHIVE_NO_RULE) return &a->recipe->rules[rule];
    }
    return NULL;
}

const pith_recipe_rule *archive_rule_at(const model_archive *a, size_t rule) { return &a->recipe->rules[rule]; }

size_t archive_find(const model_archive *a, const char *name, size_t name_n) {
    const archive_tensor wanted = {.name = {name, name_n}};
    size_t low = 0, high = a->index.n_tensors;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int r = compare_names(&a->index.tensors[a->order[middle]], &wanted);
        if (r == 0) return a->order[middle];
        if (r < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return SIZE_MAX;
}
