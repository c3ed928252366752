/* pith model diff: two files of the same model, tensor by tensor. */
#include <math.h>
#include <string.h>

#include "artefacts/model/model.h"
#include "faces/cli/cmd_lm.h"
#include "faces/cli/model.h"

static const char diff_help[] =
    "Usage: pith model diff A B [--json] [--all]\n"
    "\n"
    "Compares two files of weights, of any formats and types, tensor by tensor: relative error\n"
    "|a - b| / |a|, largest difference, types and bytes; then what only one of them has, and keys of\n"
    "their metadata that differ. Exit status 0 when all values are equal, 1 when not, as diff has it.\n"
    "\n"
    "      --all           tensors that are equal too\n"
    "      --json          one JSON object\n"
    "  -T#, --threads=#    threads (default: one for each processor)\n"
    "  -q, --quiet         only the exit status\n";

#define PIECE 65536u

typedef struct tensor_diff {
    const tensor_view *a, *b; /* b NULL: only in a; then the rest is 0 */
    bool shapes, same_bytes;  /* the same ne; the same type and bytes */
    double error, norm, most; /* sums of squares; largest absolute difference */
    bool finite;
} tensor_diff;

typedef struct diff {
    pith_ctx *ctx;
    tensor_file *a, *b;
    tensor_diff *at; /* [a->n_tensors] */
} diff;

static bool holds_numbers(const tensor_view *t) { return t->type != TENSOR_BOOL && t->type != TENSOR_U64; }

static const tensor_view *find(const tensor_file *f, meta_string name) {
    char text[256];
    if (name.size >= sizeof text) return NULL;
    memcpy(text, name.data, name.size);
    text[name.size] = 0;
    return tensor_find(f, text);
}

static const uint8_t *piece_of(const tensor_view *t, uint64_t at) {
    uint64_t before = 0;
    tensor_type_bytes(t->type, at, &before); /* a piece is whole blocks of any type */
    return t->data + before;
}

static pith_status compare(void *arg, size_t i) {
    const diff *d = arg;
    tensor_diff *t = &d->at[i];
    *t = (tensor_diff){.a = &d->a->tensors[i], .finite = true};
    t->b = find(d->b, t->a->name);
    if (!t->b) return PITH_OK;
    t->shapes = memcmp(t->a->ne, t->b->ne, sizeof t->a->ne) == 0;
    t->same_bytes = t->shapes && t->a->type == t->b->type && t->a->bytes == t->b->bytes &&
                    (!t->a->bytes || memcmp(t->a->data, t->b->data, (size_t)t->a->bytes) == 0);
    if (!t->shapes || t->same_bytes || !holds_numbers(t->a) || !holds_numbers(t->b)) return PITH_OK;
    float *a = pith_alloc(d->ctx, 2 * PIECE * sizeof *a), *b = a + PIECE;
    if (!a) return pith_alloc_status(d->ctx);
    for (uint64_t at = 0; at < t->a->n_elements; at += PIECE) {
        size_t n = (size_t)PITH_MIN((uint64_t)PIECE, t->a->n_elements - at);
        blocks_decode(t->a->type, piece_of(t->a, at), a, n);
        blocks_decode(t->b->type, piece_of(t->b, at), b, n);
        for (size_t k = 0; k < n; k++) {
            double x = (double)a[k], e = x - (double)b[k];
            t->norm += x * x;
            t->error += e * e;
            if (fabs(e) > t->most) t->most = fabs(e);
        }
    }
    t->finite = isfinite(t->error) && isfinite(t->norm);
    pith_free(d->ctx, a);
    return PITH_OK;
}

static bool equal(const tensor_diff *t) {
    return t->b && t->shapes && (t->same_bytes || (t->finite && t->error == 0 && holds_numbers(t->a)));
}

static double relative(const tensor_diff *t) { return t->norm > 0 ? sqrt(t->error / t->norm) : t->error > 0; }

/* ---- metadata ---- */

static bool same_value(const meta_value *a, const meta_value *b) {
    return a->type == b->type && a->count == b->count && a->bytes == b->bytes &&
           (a->type != META_ARRAY || a->element == b->element) &&
           (!a->bytes || memcmp(a->data, b->data, (size_t)a->bytes) == 0);
}

typedef struct key_counts {
    size_t differ, only_a, only_b;
} key_counts;

static const meta_value *find_key(const tensor_file *f, meta_string key) {
    char text[512];
    if (key.size >= sizeof text) return NULL;
    memcpy(text, key.data, key.size);
    text[key.size] = 0;
    return meta_find(f, text);
}

/* `list` may be NULL: then differing keys are printed. */
static void keys(const diff *d, key_counts *n, json_t *list) {
    for (size_t i = 0; i < d->a->n_meta; i++) {
        const meta_value *a = &d->a->meta[i], *b = find_key(d->b, a->key);
        if (b && same_value(a, b)) continue;
        char name[128], shown[128];
        snprintf(name, sizeof name, "%.*s", (int)PITH_MIN(a->key.size, sizeof name - 1), a->key.data);
        *(b ? &n->differ : &n->only_a) += 1;
        if (list)
            json_array_append_new(list, json_pack("{s:o,s:b}", "key", cli_json_text(name), "in_both", b != NULL));
        else if (cli_verbosity >= 0)
            printf("key %s: %s\n", cli_safe_text(shown, sizeof shown, name), b ? "differs" : "only in A");
    }
    for (size_t i = 0; i < d->b->n_meta; i++) n->only_b += find_key(d->a, d->b->meta[i].key) == NULL;
}

/* ---- reporting ---- */

static const char *name_of(const tensor_view *t, char *out, size_t size) {
    char text[128];
    snprintf(text, sizeof text, "%.*s", (int)PITH_MIN(t->name.size, sizeof text - 1), t->name.data);
    return cli_safe_text(out, size, text);
}

typedef struct totals {
    size_t equal, differ, shapes, only_a, only_b;
    uint64_t bytes_a, bytes_b;
    double error, norm;
} totals;

static totals add_up(const diff *d) {
    totals t = {0};
    for (size_t i = 0; i < d->a->n_tensors; i++) {
        const tensor_diff *e = &d->at[i];
        t.bytes_a += e->a->bytes;
        *(!e->b ? &t.only_a : !e->shapes ? &t.shapes : equal(e) ? &t.equal : &t.differ) += 1;
        t.error += e->error;
        t.norm += e->norm;
    }
    for (size_t i = 0; i < d->b->n_tensors; i++) {
        t.bytes_b += d->b->tensors[i].bytes;
        t.only_b += find(d->a, d->b->tensors[i].name) == NULL;
    }
    return t;
}

static int report_json(const diff *d, const totals *t, bool all) {
    char name[128];
    key_counts k = {0};
    json_t *list = json_array(), *key_list = json_array();
    for (size_t i = 0; i < d->a->n_tensors; i++) {
        const tensor_diff *e = &d->at[i];
        if (equal(e) && !all) continue;
        json_t *o =
            json_pack("{s:s,s:s,s:I,s:b}", "name", name_of(e->a, name, sizeof name), "type_a",
                      tensor_type_of(e->a->type)->name, "bytes_a", (json_int_t)e->a->bytes, "equal", (int)equal(e));
        if (o && e->b)
            json_object_update_new(o, json_pack("{s:s,s:I,s:b}", "type_b", tensor_type_of(e->b->type)->name, "bytes_b",
                                                (json_int_t)e->b->bytes, "same_shape", (int)e->shapes));
        if (o && e->b && e->shapes && e->finite)
            json_object_update_new(o, json_pack("{s:f,s:f}", "relative_error", relative(e), "most", e->most));
        json_array_append_new(list, o);
    }
    keys(d, &k, key_list);
    return cli_json_print(stdout,
                          json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o,s:I}", "tensors", list, "equal",
                                    (json_int_t)t->equal, "differ", (json_int_t)t->differ, "other_shape",
                                    (json_int_t)t->shapes, "only_a", (json_int_t)t->only_a, "only_b",
                                    (json_int_t)t->only_b, "bytes_a", (json_int_t)t->bytes_a, "bytes_b",
                                    (json_int_t)t->bytes_b, "relative_error",
                                    cli_json_number(t->norm > 0 ? sqrt(t->error / t->norm) : 0.0), "keys", key_list,
                                    "keys_only_b", (json_int_t)k.only_b),
                          JSON_INDENT(1));
}

static void report(const diff *d, const totals *t, bool all) {
    char name[64], a[16], b[16];
    key_counts k = {0};
    bool head = false;
    for (size_t i = 0; i < d->a->n_tensors; i++) {
        const tensor_diff *e = &d->at[i];
        if (equal(e) && !all) continue;
        if (!head)
            printf("%-36s %-8s %-8s %12s %12s %11s %11s\n", "tensor", "A", "B", "bytes A", "bytes B", "error", "most");
        head = true;
        printf("%-36s %-8s ", name_of(e->a, name, sizeof name), tensor_type_of(e->a->type)->name);
        if (!e->b)
            printf("only in A\n");
        else if (!e->shapes)
            printf("%-8s another shape\n", tensor_type_of(e->b->type)->name);
        else if (!e->finite)
            printf("%-8s %12llu %12llu  not finite\n", tensor_type_of(e->b->type)->name,
                   (unsigned long long)e->a->bytes, (unsigned long long)e->b->bytes);
        else
            printf("%-8s %12llu %12llu %11.3e %11.3e\n", tensor_type_of(e->b->type)->name,
                   (unsigned long long)e->a->bytes, (unsigned long long)e->b->bytes, relative(e), e->most);
    }
    for (size_t i = 0; i < d->b->n_tensors; i++)
        if (!find(d->a, d->b->tensors[i].name))
            printf("%-36s only in B\n", name_of(&d->b->tensors[i], name, sizeof name));
    keys(d, &k, NULL);
    printf("%zu tensors equal, %zu differ, %zu of another shape, %zu only in A, %zu only in B; %s against %s\n",
           t->equal, t->differ, t->shapes, t->only_a, t->only_b, cli_size_text(a, t->bytes_a),
           cli_size_text(b, t->bytes_b));
    if (t->norm > 0) printf("relative error of the differing ones together %.4e\n", sqrt(t->error / t->norm));
}

static int open_file(pith_ctx *ctx, const char *path, tensor_file **out) {
    return tensor_file_open(ctx, path, out) == PITH_OK ? CLI_OK : lm_failed(ctx, path);
}

static int run(pith_ctx *ctx, const lm_options *o, bool all) {
    diff d = {.ctx = ctx};
    int result = open_file(ctx, o->names[0], &d.a);
    if (result == CLI_OK) result = open_file(ctx, o->names[1], &d.b);
    if (result == CLI_OK && !(d.at = calloc(d.a->n_tensors + 1, sizeof *d.at))) result = cli_error("out of memory");
    if (result == CLI_OK && pith_parallel(ctx, d.a->n_tensors, compare, &d) != PITH_OK) result = lm_failed(ctx, NULL);
    if (result == CLI_OK) {
        totals t = add_up(&d);
        if (o->json)
            result = report_json(&d, &t, all);
        else if (cli_verbosity >= 0)
            report(&d, &t, all);
        if (t.differ + t.shapes + t.only_a + t.only_b) result = CLI_FAIL;
    }
    free(d.at);
    if (d.b) tensor_file_close(ctx, d.b);
    if (d.a) tensor_file_close(ctx, d.a);
    return result;
}

int model_diff_main(int argc, char **argv) {
    lm_options o;
    bool all = false;
    const lm_option extra[] = {{"all", 0, LM_FLAG, &all, 0, 0}};
    int result = lm_options_parse(&o, argc, argv, extra, 1, 2);
    if (result == CLI_OK && o.help) {
        result = cli_help(diff_help);
    } else if (result == CLI_OK && o.n_names != 2) {
        result = cli_error("diff: two files are compared; --help says more");
    } else if (result == CLI_OK) {
        pith_ctx *ctx = lm_session_of(&o);
        result = ctx ? run(ctx, &o, all) : CLI_FAIL;
        pith_ctx_free(ctx);
    }
    lm_options_free(&o);
    return cli_finish(result);
}
