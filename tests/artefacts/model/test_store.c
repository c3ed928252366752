/* The store of models: files come back byte for byte, siblings cost little, a base is found without being named, what
 * dies half-way leaves nothing, several may add at once, and what is damaged is said and nothing is written. */
#define _GNU_SOURCE /* nftw */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "artefacts/model/family.h"
#include "artefacts/model/store.h"
#include "support/file_data.h"
#include "support/session.h"

enum { ROWS = 96, COLS = 128, N_MATRICES = 6 };

static char folder[256];

/* ---- files ---- */

static const char *at(const char *name) {
    static char paths[4][400];
    static unsigned next;
    char *p = paths[next++ % 4];
    snprintf(p, sizeof paths[0], "%s/%s", folder, name);
    return p;
}

static int forget(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)st, (void)type, (void)where;
    return remove(path);
}

static int begin(void **state) {
    const char *base = getenv("TMPDIR");
    if (!base || !*base) base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"; /* a store syncs what it writes */
    snprintf(folder, sizeof folder, "%s/pith-store-XXXXXX", base);
    return mkdtemp(folder) ? session_begin(state) : -1;
}

static int end(void **state) {
    nftw(folder, forget, 16, FTW_DEPTH | FTW_PHYS);
    return session_end(state);
}

static void save(const char *name, const pith_buffer *b) {
    FILE *f = fopen(at(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b->data, 1, b->size, f), b->size);
    assert_int_equal(fclose(f), 0);
}

/* A model of N_MATRICES matrices and as many vectors with weights of its own. */
static void make_base(uint64_t seed, pith_buffer *out) {
    gguf_writer *g;
    pith_sink w = {ctx, out};
    char name[32];
    uint64_t state = seed, wide[2] = {COLS, ROWS}, narrow[1] = {COLS};
    float *values = malloc(ROWS * COLS * sizeof *values);
    assert_non_null(values);
    assert_int_equal(gguf_writer_new(ctx, &g), PITH_OK);
    assert_int_equal(gguf_put_text(ctx, g, "general.architecture", "none", 4), PITH_OK);
    for (unsigned i = 0; i < N_MATRICES; i++) {
        snprintf(name, sizeof name, "matrix.%u.weight", i);
        assert_int_equal(gguf_put_tensor(ctx, g, name, strlen(name), TENSOR_F32, 2, wide), PITH_OK);
        snprintf(name, sizeof name, "vector.%u.weight", i);
        assert_int_equal(gguf_put_tensor(ctx, g, name, strlen(name), TENSOR_F32, 1, narrow), PITH_OK);
    }
    assert_int_equal(gguf_write_head(ctx, g, pith_sink_write, &w), PITH_OK);
    for (unsigned i = 0; i < 2 * N_MATRICES; i++) {
        size_t n = i % 2 ? COLS : ROWS * COLS;
        for (size_t k = 0; k < n; k++) values[k] = 0.02f * family_normal(&state);
        assert_int_equal(gguf_write_data(ctx, g, values, n * sizeof *values, pith_sink_write, &w), PITH_OK);
    }
    gguf_writer_free(ctx, g);
    free(values);
}

/* A sibling of the model of seed `base`, saved under a name. */
static void save_sibling(const char *name, uint64_t base, double update, tensor_type type, uint64_t seed) {
    pith_buffer from = {0}, to = {0};
    tensor_file *f;
    family_options o = {.update = update, .type = type, .seed = seed};
    make_base(base, &from);
    assert_int_equal(tensor_file_open_memory(ctx, from.data, from.size, &f), PITH_OK);
    assert_int_equal(family_make(ctx, f, &o, &to), PITH_OK);
    save(name, &to);
    tensor_file_close(ctx, f);
    pith_buffer_free(ctx, &from);
    pith_buffer_free(ctx, &to);
}

/* ---- the store ---- */

static pith_status add_with(pith_ctx *c, const char *name, const model_store_add_options *o, model_store_added *r) {
    model_store *s;
    pith_status status = model_store_open(c, at("store"), MODEL_STORE_ADD, &s);
    if (status) return status;
    status = model_store_add(c, s, name, at(name), o, r);
    model_store_close(s);
    return status;
}

static void add(const char *name, const char *base, model_store_added *r) {
    model_store_add_options o = {.base = base};
    pith_status status = add_with(ctx, name, &o, r);
    if (status) fail_msg("%s: %s", name, pith_error(ctx));
}

static pith_status collect_bytes(void *opaque, const void *data, size_t size) {
    return pith_buffer_append(ctx, opaque, data, size);
}

static pith_status get(const char *name, pith_buffer *out) {
    model_store *s;
    pith_status status = model_store_open(ctx, at("store"), MODEL_STORE_READ, &s);
    if (status) return status;
    status = model_store_get(ctx, s, name, collect_bytes, out);
    model_store_close(s);
    return status;
}

static void comes_back(const char *name) {
    pith_buffer got = {0}, want = {0};
    uint8_t part[4096];
    if (get(name, &got)) fail_msg("%s: %s", name, pith_error(ctx));
    FILE *f = fopen(at(name), "rb");
    assert_non_null(f);
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        assert_int_equal(pith_buffer_append(ctx, &want, part, n), PITH_OK);
    fclose(f);
    assert_int_equal(got.size, want.size);
    assert_memory_equal(got.data, want.data, want.size);
    pith_buffer_free(ctx, &got);
    pith_buffer_free(ctx, &want);
}

static void totals(model_store_totals *t) {
    model_store *s;
    assert_int_equal(model_store_open(ctx, at("store"), MODEL_STORE_READ, &s), PITH_OK);
    assert_int_equal(model_store_stat(ctx, s, t), PITH_OK);
    model_store_close(s);
    assert_int_equal(t->raw, t->stored + t->saved_same + t->saved_delta + t->saved_coding);
}

static void collect(model_store_collected *r) {
    model_store *s;
    assert_int_equal(model_store_open(ctx, at("store"), MODEL_STORE_COLLECT, &s), PITH_OK);
    assert_int_equal(model_store_collect(ctx, s, r), PITH_OK);
    model_store_close(s);
}

static void remove_file(const char *name) {
    model_store *s;
    assert_int_equal(model_store_open(ctx, at("store"), MODEL_STORE_READ, &s), PITH_OK);
    assert_int_equal(model_store_remove(ctx, s, name), PITH_OK);
    model_store_close(s);
}

/* Calls f(path) for each object's file; gives their number. */
static unsigned n_visited;
static void (*visitor)(const char *path);
static int visit(const char *path, const struct stat *st, int type, struct FTW *where) {
    (void)st, (void)where;
    if (type == FTW_F) {
        n_visited++;
        if (visitor) visitor(path);
    }
    return 0;
}
static unsigned each_object(void (*f)(const char *path)) {
    n_visited = 0;
    visitor = f;
    nftw(at("store/objects"), visit, 16, FTW_PHYS);
    return n_visited;
}

/* ---- tests ---- */

/* Everything is smaller than the files, each by its own reason, and comes back. */
static void siblings_share(void **state) {
    (void)state;
    model_store_added r;
    model_store_totals t;
    save_sibling("base", 1, 0, TENSOR_BF16, 1);
    save_sibling("tuned", 1, 1e-3, TENSOR_BF16, 2);
    save_sibling("stranger", 9, 0, TENSOR_BF16, 1);
    save_sibling("wide", 1, 1e-3, TENSOR_F32, 2);
    save_sibling("blocks", 1, 0, TENSOR_Q8_0, 2);
    save_sibling("blocks2", 1, 1e-3, TENSOR_Q8_0, 3);
    add("base", NULL, &r);
    assert_string_equal(r.base, "");
    assert_int_equal(r.tensors, 2 * N_MATRICES);
    assert_true(r.plain.coded < r.plain.raw * 3 / 4);
    add("stranger", NULL, &r);
    assert_string_equal(r.base, "");
    assert_int_equal(r.delta.raw, 0);
    add("tuned", NULL, &r);
    assert_string_equal(r.base, "base"); /* nobody said so */
    assert_true(r.distance < 0.5 * r.unrelated);
    assert_int_equal(r.same.pieces, N_MATRICES + 1); /* the vectors and the head */
    assert_int_equal(r.delta.pieces, N_MATRICES);
    assert_true(r.delta.coded * 5 < r.delta.raw);
    add("wide", NULL, &r);
    add("blocks", NULL, &r);
    add("blocks2", NULL, &r);
    assert_string_equal(r.base, "blocks");
    assert_true(r.delta.coded * 2 < r.delta.raw);
    totals(&t);
    assert_int_equal(t.files, 6);
    assert_true(t.deltas == 2 * N_MATRICES && t.saved_same > 0 && t.saved_delta > 0 && t.saved_coding > 0);
    assert_int_equal(t.bases + t.garbage, 0);
    assert_int_equal(each_object(NULL), t.objects);
    const char *all[] = {"base", "tuned", "stranger", "wide", "blocks", "blocks2"};
    for (unsigned i = 0; i < PITH_COUNT(all); i++) comes_back(all[i]);
}

static void a_copy_costs_nothing(void **state) {
    (void)state;
    model_store_added r;
    save_sibling("one", 1, 0, TENSOR_F16, 1);
    save_sibling("two", 1, 0, TENSOR_F16, 1);
    add("one", NULL, &r);
    unsigned n = each_object(NULL);
    add("two", NULL, &r);
    assert_int_equal(r.same.raw, r.bytes);
    assert_int_equal(each_object(NULL), n);
    comes_back("two");
    add("two", NULL, &r); /* again, as after an add of many files that was stopped */
    assert_int_equal(r.same.raw, r.bytes);
    assert_int_equal(each_object(NULL), n);
    model_store_add_options o = {0};
    save_sibling("two", 2, 0, TENSOR_F16, 1);
    assert_int_equal(add_with(ctx, "two", &o, &r), PITH_E_ARGUMENT);
    assert_non_null(strstr(pith_error(ctx), "has a file 'two' already"));
}

/* A difference is never taken from a difference; bases stay while somebody needs them, and go when nobody does. */
static void bases_outlive_their_files(void **state) {
    (void)state;
    model_store_added r;
    model_store_totals t;
    model_store_collected c;
    save_sibling("a", 1, 0, TENSOR_BF16, 1);
    save_sibling("b", 1, 1e-3, TENSOR_BF16, 2);
    save_sibling("c", 1, 2e-3, TENSOR_BF16, 3);
    add("a", NULL, &r);
    add("b", "a", &r);
    remove_file("a");
    add("c", "b", &r);
    assert_string_equal(r.base, "b");
    assert_int_equal(r.delta.pieces, N_MATRICES);
    collect(&c);
    assert_int_equal(c.objects + c.strays, 0);
    totals(&t);
    assert_int_equal(t.files, 2);
    assert_true(t.bases > 0);
    comes_back("b");
    comes_back("c");
    remove_file("b");
    collect(&c);
    assert_int_equal(c.objects, N_MATRICES); /* the differences of b; the base is c's too */
    comes_back("c");
    remove_file("c");
    totals(&t);
    assert_true(t.garbage > 0);
    collect(&c);
    assert_int_equal(c.bytes, t.garbage);
    assert_int_equal(each_object(NULL), 0);
    pith_buffer none = {0};
    assert_int_equal(get("c", &none), PITH_E_ARGUMENT);
    assert_int_equal(none.size, 0);
}

/* The output depends on nothing but the files. */
static void threads_change_nothing(void **state) {
    (void)state;
    model_store_added one, many;
    model_store_add_options o = {0};
    save_sibling("a", 1, 0, TENSOR_BF16, 1);
    save_sibling("b", 1, 1e-3, TENSOR_BF16, 2);
    pith_ctx_set_threads(ctx, 1);
    add("a", NULL, &one);
    add("b", NULL, &one);
    nftw(at("store"), forget, 16, FTW_DEPTH | FTW_PHYS);
    pith_ctx_set_threads(ctx, 4);
    add("a", NULL, &many);
    assert_int_equal(add_with(ctx, "b", &o, &many), PITH_OK);
    assert_memory_equal(&one, &many, sizeof one);
}

/* ---- what goes wrong ---- */

static void flip_middle(const char *path) {
    struct stat st;
    assert_int_equal(chmod(path, 0644), 0);
    int fd = open(path, O_RDWR);
    uint8_t byte;
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    assert_int_equal(pread(fd, &byte, 1, st.st_size / 2), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, st.st_size / 2), 1);
    close(fd);
}

static void cut_end(const char *path) {
    struct stat st;
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size / 2), 0);
}

static void remove_it(const char *path) { assert_int_equal(unlink(path), 0); }

/* A damaged object is refused by the name of its tensor; adding the file again makes it whole. */
static void damage_is_said_and_repaired(void **state) {
    (void)state;
    void (*const harms[])(const char *) = {flip_middle, cut_end, remove_it};
    model_store_added r;
    model_store_totals before, after;
    model_store_collected c;
    for (unsigned i = 0; i < PITH_COUNT(harms); i++) {
        pith_buffer got = {0};
        nftw(at("store"), forget, 16, FTW_DEPTH | FTW_PHYS);
        save_sibling("a", 1, 0, TENSOR_BF16, 1);
        save_sibling("b", 1, 1e-3, TENSOR_BF16, 2);
        save_sibling("a2", 1, 0, TENSOR_BF16, 1);
        add("a", NULL, &r);
        add("b", NULL, &r);
        totals(&before);
        each_object(harms[i]);
        pith_status status = get("b", &got);
        assert_true(status == PITH_E_CHECK || status == PITH_E_FORMAT || status == PITH_E_TRUNCATED);
        assert_int_equal(strchr(pith_error(ctx), '\n') != NULL, 0);
        assert_non_null(strstr(pith_error(ctx), "what stands between the tensors: "));
        pith_buffer_free(ctx, &got);
        add("a2", NULL, &r);
        assert_int_equal(r.repaired, 2 * N_MATRICES + 1);
        comes_back("a");
        comes_back("a2");
        status = get("b", &got); /* its own objects are still damaged, and named */
        assert_true(status == PITH_E_CHECK || status == PITH_E_FORMAT || status == PITH_E_TRUNCATED);
        assert_non_null(strstr(pith_error(ctx), "matrix.0.weight: "));
        pith_buffer_free(ctx, &got);
        remove_file("b");
        add("b", NULL, &r); /* differences that are found by their hashes and do not decode */
        assert_int_equal(r.repaired, N_MATRICES);
        comes_back("b");
        collect(&c);
        totals(&after);
        assert_int_equal(after.objects, before.objects);
        assert_int_equal(each_object(NULL), after.objects);
        comes_back("b");
    }
}

typedef struct killer {
    unsigned ticks, die_at;
} killer;

static int die_in_time(void *opaque, uint64_t done, uint64_t total) {
    killer *k = opaque;
    (void)done, (void)total;
    if (k->ticks++ == k->die_at) _exit(7);
    return 0;
}

/* A child adds a file and dies, at its n-th tick or by a signal some time later. */
static void die_adding(const char *name, unsigned tick, useconds_t later) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        model_store_added r;
        model_store_add_options o = {0};
        killer k = {.die_at = tick};
        pith_ctx *own = pith_ctx_new(NULL);
        pith_ctx_set_threads(own, 1);
        if (!later) pith_ctx_set_progress(own, die_in_time, &k);
        _exit(own && add_with(own, name, &o, &r) == PITH_OK ? 0 : 1);
    }
    int how;
    if (later) {
        usleep(later);
        kill(child, SIGKILL);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    if (!later) assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 7);
}

static pith_status count_files(void *opaque, const model_store_file *f) {
    (void)f;
    ++*(unsigned *)opaque;
    return PITH_OK;
}

static unsigned n_files(void) {
    unsigned n = 0;
    model_store *s;
    assert_int_equal(model_store_open(ctx, at("store"), MODEL_STORE_READ, &s), PITH_OK);
    assert_int_equal(model_store_list(ctx, s, count_files, &n), PITH_OK);
    model_store_close(s);
    return n;
}

static void a_killed_process_leaves_a_whole_store(void **state) {
    (void)state;
    model_store_added r;
    model_store_totals t;
    model_store_collected c;
    save_sibling("a", 1, 0, TENSOR_BF16, 1);
    save_sibling("b", 2, 0, TENSOR_BF16, 2);
    add("a", NULL, &r);
    for (unsigned tick = 0; tick <= 2 * N_MATRICES; tick += 4) {
        die_adding("b", tick, 0);
        assert_int_equal(n_files(), 1);
        comes_back("a");
    }
    for (unsigned i = 0; i < 12; i++) {
        die_adding("b", 0, 500 + 1500 * i);
        if (n_files() == 2) {
            comes_back("b");
            remove_file("b");
        }
        comes_back("a");
    }
    collect(&c);
    totals(&t);
    assert_int_equal(each_object(NULL), t.objects);
    assert_int_equal(t.files, 1);
    add("b", NULL, &r);
    comes_back("b");
}

/* Children add siblings at the same time; the same file under two names among them. */
static void several_may_add(void **state) {
    (void)state;
    enum { N = 5 };
    char name[8];
    pid_t children[N];
    model_store_totals t;
    model_store_collected c;
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof name, "m%u", i);
        save_sibling(name, 1, 1e-3 * (i / 2), TENSOR_BF16, i / 2);
    }
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof name, "m%u", i);
        if ((children[i] = fork()) == 0) {
            model_store_added r;
            model_store_add_options o = {0};
            pith_ctx *own = pith_ctx_new(NULL);
            pith_ctx_set_threads(own, 1);
            pith_status status = own ? add_with(own, name, &o, &r) : PITH_E_MEMORY;
            if (status) fprintf(stderr, "%s: %s\n", name, pith_error(own));
            _exit(status != PITH_OK);
        }
        assert_true(children[i] > 0);
    }
    for (unsigned i = 0; i < N; i++) {
        int how;
        assert_int_equal(waitpid(children[i], &how, 0), children[i]);
        assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    }
    totals(&t);
    assert_int_equal(t.files, N);
    assert_true(t.saved_same >= 2 * (uint64_t)N_MATRICES * ROWS * COLS * 2); /* m1 and m3 cost nothing */
    collect(&c);
    assert_int_equal(c.objects, 0);
    assert_int_equal(each_object(NULL), t.objects);
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof name, "m%u", i);
        comes_back(name);
    }
}

static void garbage_waits_for_others(void **state) {
    (void)state;
    model_store_added r;
    model_store *reader, *collector;
    save_sibling("a", 1, 0, TENSOR_BF16, 1);
    add("a", NULL, &r);
    assert_int_equal(model_store_open(ctx, at("store"), MODEL_STORE_READ, &reader), PITH_OK);
    assert_int_equal(model_store_open(ctx, at("store"), MODEL_STORE_COLLECT, &collector), PITH_E_IO);
    assert_non_null(strstr(pith_error(ctx), "others are at work"));
    model_store_close(reader);
    assert_int_equal(model_store_open(ctx, at("store"), MODEL_STORE_COLLECT, &collector), PITH_OK);
    model_store_close(collector);
}

/* Each statement makes the index lie; a file must be refused in one line or come back whole. */
static void lies_of_the_index(void **state) {
    (void)state;
    static const char *const lies[] = {
        "UPDATE object SET raw = 1 << 40",
        "UPDATE object SET raw = raw - 1",
        "UPDATE object SET raw = -5",
        "UPDATE object SET coded = coded - 1",
        "UPDATE object SET coded = 'many'",
        "UPDATE object SET coding = 99",
        "UPDATE object SET coding = 0 WHERE base IS NULL",
        "UPDATE object SET base = id WHERE base IS NOT NULL",
        "UPDATE object SET base = NULL",
        "UPDATE object SET base = (SELECT max(id) FROM object WHERE base IS NULL) WHERE base IS NOT NULL",
        "UPDATE object SET base = (SELECT max(id) FROM object AS o WHERE o.id <> object.id) WHERE base IS NOT NULL",
        "UPDATE object SET type = 12345",
        "UPDATE object SET type = 0",
        "UPDATE object SET hash = zeroblob(16)",
        "UPDATE object SET hash = x'00'",
        "UPDATE part SET gap = gap + 1",
        "UPDATE part SET gap = -1",
        "UPDATE part SET shape = 0",
        "UPDATE part SET shape = shape + 1",
        "UPDATE part SET object = 1",
        "DELETE FROM part WHERE place = 3",
        "PRAGMA foreign_keys = OFF; DELETE FROM object",
        "UPDATE file SET bytes = bytes + 1",
        "UPDATE file SET bytes = -1",
        "UPDATE file SET hash = zeroblob(16)",
        "UPDATE file SET hash = 7",
        "DROP TABLE part",
        "PRAGMA user_version = 9",
        "PRAGMA application_id = 9",
    };
    model_store_added r;
    save_sibling("a", 1, 0, TENSOR_BF16, 1);
    save_sibling("b", 1, 1e-3, TENSOR_BF16, 2);
    for (unsigned i = 0; i < PITH_COUNT(lies); i++) {
        sqlite3 *db;
        pith_buffer got = {0};
        nftw(at("store"), forget, 16, FTW_DEPTH | FTW_PHYS);
        add("a", NULL, &r);
        add("b", NULL, &r);
        assert_int_equal(sqlite3_open(at("store/store.db"), &db), SQLITE_OK);
        if (sqlite3_exec(db, lies[i], NULL, NULL, NULL) != SQLITE_OK) fail_msg("%s: %s", lies[i], sqlite3_errmsg(db));
        sqlite3_close(db);
        pith_status status = get("b", &got);
        if (status == PITH_OK || status == PITH_E_INTERNAL || !*pith_error(ctx)) fail_msg("believed: %s", lies[i]);
        assert_null(strchr(pith_error(ctx), '\n'));
        pith_buffer_free(ctx, &got);
        model_store *s;
        if (model_store_open(ctx, at("store"), MODEL_STORE_COLLECT, &s) == PITH_OK) {
            model_store_collected c;
            model_store_totals t;
            unsigned n = 0;
            model_store_stat(ctx, s, &t);
            model_store_list(ctx, s, count_files, &n);
            model_store_collect(ctx, s, &c);
            model_store_close(s);
        }
    }
}

static void no_store_and_no_model(void **state) {
    (void)state;
    static const uint8_t words[] = "these are only words, and no index of anything";
    pith_buffer b = {0};
    model_store *s;
    model_store_added r;
    model_store_add_options o = {0}, unknown = {.base = "nobody"};
    assert_int_equal(model_store_open(ctx, at("nothing"), MODEL_STORE_READ, &s), PITH_E_IO);
    assert_int_equal(mkdir(at("store"), 0777), 0);
    assert_int_equal(model_store_open(ctx, at("store"), MODEL_STORE_READ, &s), PITH_E_ARGUMENT);
    assert_int_equal(pith_buffer_append(ctx, &b, words, sizeof words), PITH_OK);
    save("words", &b);
    save("store/store.db", &b);
    pith_buffer_free(ctx, &b);
    assert_int_equal(model_store_open(ctx, at("store"), MODEL_STORE_ADD, &s), PITH_E_FORMAT);
    assert_int_equal(unlink(at("store/store.db")), 0);
    assert_int_equal(add_with(ctx, "words", &o, &r), PITH_E_FORMAT);
    save_sibling("a", 1, 0, TENSOR_BF16, 1);
    assert_int_equal(add_with(ctx, "a", &unknown, &r), PITH_E_ARGUMENT);
    assert_non_null(strstr(pith_error(ctx), "no file 'nobody'"));
    assert_int_equal(add_with(ctx, "../a", &o, &r), PITH_E_ARGUMENT);
    assert_int_equal(add_with(ctx, "missing", &o, &r), PITH_E_IO);
    assert_int_equal(n_files(), 0);
    assert_int_equal(each_object(NULL), 0);
}

static void failing_memory_is_an_error(void **state) {
    (void)state;
    model_store_added r;
    model_store_add_options o = {0};
    save_sibling("a", 1, 0, TENSOR_BF16, 1);
    save_sibling("b", 1, 1e-3, TENSOR_BF16, 2);
    add("a", NULL, &r);
    pith_status status = PITH_E_MEMORY;
    for (long fail_at = 1; status; fail_at += 1 + fail_at / 6) {
        data_heap heap = {.fail_at = fail_at};
        pith_allocator allocator = {data_heap_alloc, data_heap_free, &heap};
        pith_ctx *own = pith_ctx_new(&allocator);
        assert_non_null(own);
        pith_ctx_set_threads(own, 1);
        status = add_with(own, "b", &o, &r);
        assert_true(status == PITH_OK || status == PITH_E_MEMORY);
        pith_ctx_free(own);
        assert_int_equal(atomic_load(&heap.held), 0);
        assert_true(fail_at < 1000000);
    }
    comes_back("b");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(siblings_share, begin, end),
        cmocka_unit_test_setup_teardown(a_copy_costs_nothing, begin, end),
        cmocka_unit_test_setup_teardown(bases_outlive_their_files, begin, end),
        cmocka_unit_test_setup_teardown(threads_change_nothing, begin, end),
        cmocka_unit_test_setup_teardown(damage_is_said_and_repaired, begin, end),
        cmocka_unit_test_setup_teardown(a_killed_process_leaves_a_whole_store, begin, end),
        cmocka_unit_test_setup_teardown(several_may_add, begin, end),
        cmocka_unit_test_setup_teardown(garbage_waits_for_others, begin, end),
        cmocka_unit_test_setup_teardown(lies_of_the_index, begin, end),
        cmocka_unit_test_setup_teardown(no_store_and_no_model, begin, end),
        cmocka_unit_test_setup_teardown(failing_memory_is_an_error, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
