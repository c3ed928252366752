/* pith model store: a repository of model files, where siblings share what they have in common. */
#include <string.h>

#include "artefacts/model/model.h"
#include "faces/cli/cmd_lm.h"
#include "faces/cli/model.h"

static const char store_help[] =
    "Usage: pith model store add DIR FILE... [--base=NAME | --no-base] [--name=NAME]\n"
    "       pith model store get DIR NAME [OUT]\n"
    "       pith model store list|stat|gc DIR\n"
    "       pith model store rm DIR NAME...\n"
    "       pith model store test DIR [NAME...]\n\n"
    "Keeps model files (GGUF, safetensors and the others that `pith model info` reads) in the folder DIR. A tensor\n"
    "that several files have is kept once; one that is like that of another file, such as a fine-tuned one, is kept\n"
    "as the difference. Files come back byte for byte. Several processes may add and read at once.\n\n"
    "add     adds files under their names without folders; makes DIR when it is not there. The same file under\n"
    "        the same name once more is fine: what was damaged of it is mended\n"
    "get     writes a file as OUT (default: NAME; -: standard output)\n"
    "list    the files, what each was made from, and the bytes that only it uses\n"
    "stat    the bytes of all files, what is stored, and what saved the difference\n"
    "rm      forgets files; gc frees what no file uses any more\n"
    "test    restores files without writing them, all by default, and checks them\n\n"
    "      --base=NAME     add: the file of the store it was made from (default: the nearest by samples)\n"
    "      --no-base       add: no differences\n"
    "      --name=NAME     add: the name in the store, of one file\n"
    "      --json          one JSON object\n"
    "  -f, --force         get: overwrite OUT\n"
    "  -T#, --threads=#    threads (default: one for each processor)\n"
    "  -M#, --memory=#     memory limit (default 1G; mapped files do not count)\n"
    "  -q                  no progress and no notes\n"
    "\nExamples:\n"
    "  pith model store add models base.gguf tuned.gguf\n"
    "  pith model store get models tuned.gguf restored.gguf\n";

typedef struct store_command {
    lm_options common;
    const char *base, *name;
    bool no_base;
    pith_ctx *ctx;
    model_store *store;
    json_t *list;
    cli_progress progress;
} store_command;

static void show_progress(store_command *c, const char *verb, const char *name) {
    cli_progress_start(&c->progress, verb, name, 0);
    pith_ctx_set_progress(c->ctx, cli_progress_show, &c->progress);
}

static void hide_progress(store_command *c) {
    cli_progress_clear(&c->progress);
    pith_ctx_set_progress(c->ctx, NULL, NULL);
}

static int failed(store_command *c) { return cli_error("%s", pith_error(c->ctx)); }

static int open_store(store_command *c, model_store_mode mode) {
    return model_store_open(c->ctx, c->common.names[1], mode, &c->store) == PITH_OK ? CLI_OK : failed(c);
}

static const char *without_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static double share(uint64_t part, uint64_t whole) { return whole ? 100 * (double)part / (double)whole : 0; }

/* ---- add ---- */

static json_t *share_json(const model_store_share *s) {
    return json_pack("{s:I,s:I,s:I}", "pieces", (json_int_t)s->pieces, "raw", (json_int_t)s->raw, "stored",
                     (json_int_t)s->coded);
}

static void report_json(store_command *c, const char *name, const model_store_added *r, uint64_t stored,
                        double seconds) {
    json_array_append_new(
        c->list, json_pack("{s:o,s:I,s:I,s:I,s:o,s:f,s:f,s:o,s:o,s:o,s:o,s:I,s:f}", "name", cli_json_text(name),
                           "bytes", (json_int_t)r->bytes, "tensors", (json_int_t)r->tensors, "stored",
                           (json_int_t)stored, "base", r->base[0] ? cli_json_text(r->base) : json_null(),
                           "bit_distance", r->distance, "bit_distance_of_strangers", r->unrelated, "same",
                           share_json(&r->same), "delta", share_json(&r->delta), "plain", share_json(&r->plain), "rest",
                           share_json(&r->rest), "repaired", (json_int_t)r->repaired, "seconds", seconds));
}

static void report_share(const char *what, const model_store_share *s) {
    char raw[16], coded[16];
    if (s->raw)
        printf("  %-12s %10s -> %10s  %5.1f %%\n", what, cli_size_text(raw, s->raw), cli_size_text(coded, s->coded),
               share(s->coded, s->raw));
}

static void report_added(store_command *c, const char *name, const model_store_added *r, double seconds) {
    char raw[16], coded[16], shown[64], base[64];
    uint64_t stored = r->delta.coded + r->plain.coded + r->rest.coded;
    if (c->common.json) {
        report_json(c, name, r, stored, seconds);
        return;
    }
    if (cli_verbosity < 0) return;
    printf("%s: %s, %s stored, %.1f %%, %.1f s\n", cli_safe_text(shown, sizeof shown, name),
           cli_size_text(raw, r->bytes), cli_size_text(coded, stored), share(stored, r->bytes), seconds);
    if (r->base[0])
        printf("  base %s: %.1f %% of the bits differ in samples, %.1f %% between strangers\n",
               cli_safe_text(base, sizeof base, r->base), 100 * r->distance, 100 * r->unrelated);
    report_share("there before", &r->same);
    report_share("differences", &r->delta);
    report_share("by itself", &r->plain);
    report_share("head", &r->rest);
    if (r->repaired) printf("  %llu damaged objects are whole again\n", (unsigned long long)r->repaired);
}

static int add_files(store_command *c) {
    model_store_add_options o = {.base = c->base, .no_base = c->no_base};
    if (c->common.n_names < 3) return cli_error("store add: which files?");
    if (c->name && c->common.n_names > 3) return cli_error("store add: --name is for one file");
    if (c->base && c->no_base) return cli_error("store add: --base or --no-base?");
    int result = open_store(c, MODEL_STORE_ADD);
    for (size_t i = 2; i < c->common.n_names && result == CLI_OK; i++) {
        const char *path = c->common.names[i], *name = c->name ? c->name : without_folder(path);
        model_store_added r;
        double started = cli_now();
        show_progress(c, "adding", path);
        cli_defer_signals(true);
        pith_status status = model_store_add(c->ctx, c->store, name, path, &o, &r);
        hide_progress(c);
        cli_defer_signals(false);
        if (status == PITH_E_CANCELLED) cli_end_by_signal();
        if (status)
            result = failed(c);
        else
            report_added(c, name, &r, cli_now() - started);
    }
    return result;
}

/* ---- get, test, rm ---- */

static int get_file(store_command *c) {
    if (c->common.n_names < 3 || c->common.n_names > 4) return cli_error("store get: which one file, and to where?");
    const char *name = c->common.names[2], *out = c->common.n_names > 3 ? c->common.names[3] : name;
    bool to_stdout = strcmp(out, "-") == 0;
    lm_writer w;
    if (to_stdout && c->common.json)
        return cli_error("store get: --json and the file cannot both go to standard output");
    int result = open_store(c, MODEL_STORE_READ);
    if (result == CLI_OK) result = lm_writer_open(&w, c->ctx, to_stdout ? NULL : out, c->common.force);
    if (result != CLI_OK) return result;
    show_progress(c, "restoring", name);
    pith_status status = model_store_get(c->ctx, c->store, name, lm_write_piece, &w);
    hide_progress(c);
    if (status) failed(c);
    result = lm_writer_close(&w, status == PITH_OK, c->common.force);
    if (result == CLI_OK && c->common.json)
        json_array_append_new(c->list, json_pack("{s:o,s:o,s:I}", "name", cli_json_text(name), "file",
                                                 cli_json_text(out), "bytes", (json_int_t)w.out.bytes));
    return result;
}

static int test_file(store_command *c, const char *name) {
    char shown[64];
    show_progress(c, "testing", name);
    pith_status status = model_store_get(c->ctx, c->store, name, NULL, NULL);
    hide_progress(c);
    if (status == PITH_E_CANCELLED) return CLI_FAIL;
    cli_safe_text(shown, sizeof shown, name);
    if (status) cli_error("%s: %s", shown, pith_error(c->ctx));
    if (c->common.json)
        json_array_append_new(c->list, json_pack("{s:o,s:b}", "name", cli_json_text(name), "good", status == PITH_OK));
    else if (!status && cli_verbosity >= 0)
        printf("%s: good\n", shown);
    return status ? CLI_FAIL : CLI_OK;
}

typedef struct name_list {
    char **names;
    size_t n;
} name_list;

static pith_status note_name(void *opaque, const model_store_file *f) {
    name_list *l = opaque;
    char **more = realloc(l->names, (l->n + 1) * sizeof *more);
    if (!more) return PITH_E_MEMORY;
    l->names = more;
    return (l->names[l->n++] = strdup(f->name)) ? PITH_OK : PITH_E_MEMORY;
}

static int test_files(store_command *c) {
    name_list all = {0};
    int result = open_store(c, MODEL_STORE_READ);
    if (result != CLI_OK) return result;
    for (size_t i = 2; i < c->common.n_names; i++)
        if (test_file(c, c->common.names[i]) != CLI_OK) result = CLI_FAIL;
    if (c->common.n_names == 2) {
        pith_status status = model_store_list(c->ctx, c->store, note_name, &all);
        if (status) result = status == PITH_E_MEMORY ? cli_error("out of memory") : failed(c);
        for (size_t i = 0; i < all.n && !status; i++)
            if (test_file(c, all.names[i]) != CLI_OK) result = CLI_FAIL;
    }
    for (size_t i = 0; i < all.n; i++) free(all.names[i]);
    free(all.names);
    return result;
}

static int remove_files(store_command *c) {
    if (c->common.n_names < 3) return cli_error("store rm: which files?");
    int result = open_store(c, MODEL_STORE_ADD);
    for (size_t i = 2; i < c->common.n_names && result == CLI_OK; i++)
        if (model_store_remove(c->ctx, c->store, c->common.names[i]) != PITH_OK) result = failed(c);
    return result;
}

/* ---- list, stat, gc ---- */

static pith_status show_file(void *opaque, const model_store_file *f) {
    store_command *c = opaque;
    char raw[16], own[16], name[64], base[64], hash[33];
    for (unsigned i = 0; i < 16; i++) snprintf(hash + 2 * i, 3, "%02x", f->hash[i]);
    if (c->common.json)
        json_array_append_new(c->list, json_pack("{s:o,s:I,s:I,s:I,s:o,s:s}", "name", cli_json_text(f->name), "bytes",
                                                 (json_int_t)f->bytes, "tensors", (json_int_t)f->tensors, "own",
                                                 (json_int_t)f->own, "base",
                                                 f->base ? cli_json_text(f->base) : json_null(), "hash", hash));
    else
        printf("%-40s %10s %7llu %10s  %s\n", cli_safe_text(name, sizeof name, f->name), cli_size_text(raw, f->bytes),
               (unsigned long long)f->tensors, cli_size_text(own, f->own),
               f->base ? cli_safe_text(base, sizeof base, f->base) : "");
    return PITH_OK;
}

static int list_files(store_command *c) {
    int result = open_store(c, MODEL_STORE_READ);
    if (result == CLI_OK && !c->common.json)
        printf("%-40s %10s %7s %10s  %s\n", "file", "size", "tensors", "own", "base");
    if (result == CLI_OK && model_store_list(c->ctx, c->store, show_file, c) != PITH_OK) result = failed(c);
    return result;
}

static void show_line(const char *what, uint64_t bytes, uint64_t of) {
    char size[16];
    printf("%-36s %10s  %5.1f %%\n", what, cli_size_text(size, bytes), share(bytes, of));
}

static int show_stat(store_command *c) {
    model_store_totals t;
    int result = open_store(c, MODEL_STORE_READ);
    if (result == CLI_OK && model_store_stat(c->ctx, c->store, &t) != PITH_OK) result = failed(c);
    if (result != CLI_OK) return result;
    if (c->common.json) {
        json_array_append_new(
            c->list,
            json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "files", (json_int_t)t.files, "objects",
                      (json_int_t)t.objects, "deltas", (json_int_t)t.deltas, "raw", (json_int_t)t.raw, "stored",
                      (json_int_t)t.stored, "saved_by_deduplication", (json_int_t)t.saved_same, "saved_by_differences",
                      (json_int_t)t.saved_delta, "saved_by_coding", (json_int_t)t.saved_coding, "bases_only",
                      (json_int_t)t.bases, "garbage", (json_int_t)t.garbage, "index", (json_int_t)t.index));
        return CLI_OK;
    }
    printf("%llu files, %llu objects, %llu of them differences\n", (unsigned long long)t.files,
           (unsigned long long)t.objects, (unsigned long long)t.deltas);
    show_line("bytes of the files", t.raw, t.raw);
    show_line("saved: had before", t.saved_same, t.raw);
    show_line("saved: differences", t.saved_delta, t.raw);
    show_line("saved: coding", t.saved_coding, t.raw);
    show_line("stored", t.stored, t.raw);
    show_line("kept as bases of others only", t.bases, t.raw);
    show_line("used by no file (gc frees it)", t.garbage, t.raw);
    show_line("index", t.index, t.raw);
    show_line("in all", t.stored + t.bases + t.garbage + t.index, t.raw);
    return CLI_OK;
}

static int collect(store_command *c) {
    model_store_collected r;
    char size[16];
    int result = open_store(c, MODEL_STORE_COLLECT);
    if (result == CLI_OK && model_store_collect(c->ctx, c->store, &r) != PITH_OK) result = failed(c);
    if (result != CLI_OK) return result;
    if (c->common.json)
        json_array_append_new(c->list, json_pack("{s:I,s:I,s:I}", "objects", (json_int_t)r.objects, "bytes",
                                                 (json_int_t)r.bytes, "strays", (json_int_t)r.strays));
    else if (cli_verbosity >= 0)
        printf("%llu objects of %s freed, and %llu files that belonged to none\n", (unsigned long long)r.objects,
               cli_size_text(size, r.bytes), (unsigned long long)r.strays);
    return CLI_OK;
}

/* ---- the command line ---- */

static const struct store_verb {
    const char *name;
    int (*run)(store_command *c);
    bool one; /* its JSON is an object, not a list */
    bool more_names;
} verbs[] = {
    {"add", add_files, false, true},   {"get", get_file, true, true},     {"list", list_files, false, false},
    {"stat", show_stat, true, false},  {"rm", remove_files, false, true}, {"gc", collect, true, false},
    {"test", test_files, false, true}, {NULL, NULL, false, false},
};

static int run_verb(store_command *c) {
    const struct store_verb *v = verbs;
    if (!c->common.n_names) return cli_error("store: add, get, list, stat, rm, gc or test? --help says more");
    while (v->name && strcmp(v->name, c->common.names[0]) != 0) v++;
    if (!v->name)
        return cli_error("store: no verb '%s'; there are add, get, list, stat, rm, gc, test", c->common.names[0]);
    if (c->common.n_names < 2) return cli_error("store %s: which folder?", v->name);
    if (c->common.n_names > 2 && !v->more_names)
        return cli_error("store %s: '%s' is one name too many", v->name, c->common.names[2]);
    c->list = json_array();
    c->ctx = lm_session_of(&c->common);
    int result = c->ctx && c->list ? v->run(c) : CLI_FAIL;
    if (c->common.json && c->list && (result == CLI_OK || json_array_size(c->list))) {
        json_t *shown = v->one && json_array_size(c->list) ? json_array_get(c->list, 0) : c->list;
        if (!v->one || json_array_size(c->list)) cli_json_print(stdout, json_incref(shown), JSON_INDENT(1));
    }
    json_decref(c->list);
    model_store_close(c->store);
    pith_ctx_free(c->ctx);
    return result;
}

int model_store_main(int argc, char **argv) {
    store_command c = {0};
    const lm_option extra[] = {{"base", 0, LM_TEXT, &c.base, 0, 0},
                               {"name", 0, LM_TEXT, &c.name, 0, 0},
                               {"no-base", 0, LM_FLAG, &c.no_base, 0, 0}};
    int result = lm_options_parse(&c.common, argc, argv, extra, sizeof extra / sizeof *extra, 4096);
    if (result == CLI_OK) result = c.common.help ? cli_help(store_help) : run_verb(&c);
    lm_options_free(&c.common);
    return cli_finish(result);
}
