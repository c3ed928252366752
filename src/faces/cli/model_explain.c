/* pith model explain-size: where the bytes of a model file or of its archive are. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "artefacts/artefacts.h"
#include "artefacts/model/model.h"
#include "faces/cli/cmd_lm.h"
#include "faces/cli/model.h"

static const char explain_help[] =
    "Usage: pith model explain-size [OPTIONS] FILE\n\n"
    "Says where the bytes of a model file or of an archive (pith model compress) are: by type, and for\n"
    "what a recipe coded by rule, and by part: codes, numbers (scales, codebooks, factors), sides of\n"
    "transforms.\n\n"
    "      --tensors       every tensor too\n"
    "  -T#, --threads=#    threads (default: one for each processor)\n"
    "  -M#, --memory=#     memory limit (default 1G; mapped files do not count)\n"
    "      --json          one JSON object\n\n"
    "Examples:\n"
    "  pith model explain-size model.gguf\n"
    "  pith model explain-size --tensors small.pith\n";

#define TYPES_MAX 64

/* Bytes of one kind. */
typedef struct line {
    char what[96];
    uint64_t tensors, elements, bytes;
} line;

typedef struct page {
    pith_ctx *ctx;
    const char *name;
    uint64_t file_bytes, n_weights;
    const char *kind; /* "gguf", ..., "archive" */
    line *lines;
    size_t n, capacity;
    line *list; /* one for each tensor; NULL when not wanted */
    size_t n_list;
} page;

static line *add(page *p, const char *what) {
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->lines[i].what, what) == 0) return &p->lines[i];
    if (p->n == p->capacity) return &p->lines[p->n - 1];
    line *l = &p->lines[p->n++];
    snprintf(l->what, sizeof l->what, "%s", what);
    return l;
}

static void count(page *p, const char *what, uint64_t tensors, uint64_t elements, uint64_t bytes) {
    line *l = add(p, what);
    l->tensors += tensors;
    l->elements += elements;
    l->bytes += bytes;
}

static void count_tensor(page *p, meta_string name, uint64_t elements, uint64_t bytes) {
    if (!p->list) return;
    char whole[96];
    line *l = &p->list[p->n_list++];
    size_t n = PITH_MIN(name.size, sizeof whole - 1);
    for (size_t i = 0; i < n; i++) whole[i] = name.data[i] ? name.data[i] : '?';
    whole[n] = 0;
    cli_safe_text(l->what, sizeof l->what, whole);
    *l = (line){.elements = elements, .bytes = bytes, .tensors = 1, .what = {0}};
    cli_safe_text(l->what, sizeof l->what, whole);
}

/* ---- model files -------------------------------------------------------------------------------------------- */

static void explain_file(page *p, const tensor_file *f) {
    uint64_t data = 0;
    p->kind = f->format;
    p->file_bytes = f->file_bytes;
    for (size_t i = 0; i < f->n_tensors; i++) {
        const tensor_view *t = &f->tensors[i];
        const tensor_type_info *type = tensor_type_of(t->type);
        count(p, type ? type->name : "?", 1, t->n_elements, t->bytes);
        count_tensor(p, t->name, t->n_elements, t->bytes);
        data += t->bytes;
        p->n_weights += t->n_elements;
    }
    if (f->file_bytes > data) count(p, "head and padding", 0, 0, f->file_bytes - data);
}

/* ---- archives ------------------------------------------------------------------------------------------------- */

static void count_parts(page *p, const repr_parts *parts) {
    static const char *const kinds[] = {
        [REPR_PART_CODES] = "codes", [REPR_PART_NUMBERS] = "scales and other numbers", [REPR_PART_SIDE] = "side"};
    for (size_t i = 0; i < parts->n; i++) {
        char what[96];
        snprintf(what, sizeof what, "%s: %s", parts->list[i].stage, kinds[parts->list[i].kind]);
        count(p, what, 0, 0, parts->list[i].bytes);
    }
}

/* Of a recipe with several rules what each coded, in their order. */
static pith_status count_rules(page *p, model_archive *a) {
    const archive_index *x = archive_about(a);
    size_t n_rules = 0;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < x->n_pieces; i++)
        if (x->pieces[i].rule != ARCHIVE_NO_RULE) n_rules = PITH_MAX(n_rules, x->pieces[i].rule + 1);
    for (size_t rule = 0; rule < n_rules && n_rules > 1 && !status; rule++) {
        pith_buffer text = {0};
        for (size_t i = 0; i < x->n_tensors && !status; i++) {
            const archive_tensor *t = &x->tensors[i];
            char what[96];
            uint64_t bytes = 0, matrices = 0;
            for (size_t k = 0; k < t->n_pieces; k++) {
                const archive_piece *piece = &x->pieces[t->first_piece + k];
                if (piece->rule != rule) continue;
                bytes += piece->coded_n;
                matrices++;
            }
            if (!matrices) continue;
            if (!text.size) { /* the chain without its pattern */
                pith_recipe_rule chain = *archive_rule_at(a, rule);
                chain.pattern = NULL;
                status = pith_recipe_print(p->ctx, &(pith_recipe){.rules = &chain, .n_rules = 1}, &text);
            }
            snprintf(what, sizeof what, "rule: %.*s", (int)PITH_MIN(text.size, 80u), (const char *)text.data);
            if (!status) count(p, what, 1, matrices * (t->ne[0] * t->ne[1]), bytes);
        }
        pith_buffer_free(p->ctx, &text);
    }
    return status;
}

static pith_status explain_archive(page *p, model_archive *a) {
    const archive_index *x = archive_about(a);
    uint64_t sum = 0, coded_weights = 0, coded_tensors = 0;
    repr_parts parts = {0};
    pith_status status = PITH_OK;
    p->kind = "archive";
    p->file_bytes = archive_bytes(a);
    for (size_t i = 0; i < x->n_pieces; i++) sum += x->pieces[i].coded_n;
    for (size_t i = 0; i < x->n_tensors && !status; i++) {
        const archive_tensor *t = &x->tensors[i];
        uint64_t bytes = 0;
        char what[96];
        for (size_t k = 0; k < t->n_pieces; k++) bytes += x->pieces[t->first_piece + k].coded_n;
        p->n_weights += t->n_elements;
        count_tensor(p, t->name, t->n_elements, bytes);
        if (t->mode == ARCHIVE_CODED) {
            snprintf(what, sizeof what, "%s, exact", tensor_type_of(t->type)->name);
            for (size_t k = 0; k < t->n_pieces; k++) { /* matrices of a stack that no rule names */
                const archive_piece *piece = &x->pieces[t->first_piece + k];
                if (piece->rule == ARCHIVE_NO_RULE) count(p, what, 0, t->ne[0] * t->ne[1], piece->coded_n);
                if (piece->rule != ARCHIVE_NO_RULE) coded_weights += t->ne[0] * t->ne[1];
            }
            coded_tensors++;
            status = archive_parts(p->ctx, a, i, &parts);
            continue;
        }
        snprintf(what, sizeof what, "%s, %s", tensor_type_of(t->type)->name,
                 t->mode == ARCHIVE_SAME ? "same as another" : "exact");
        count(p, what, 1, t->n_elements, bytes);
    }
    if (coded_tensors) count(p, "coded by the recipe", coded_tensors, coded_weights, 0);
    for (size_t i = 0; i < parts.n; i++) count(p, "coded by the recipe", 0, 0, parts.list[i].bytes);
    if (!status) status = count_rules(p, a);
    count_parts(p, &parts);
    for (size_t i = 0; i < x->n_rest_pieces; i++) count(p, "head and padding", 0, 0, x->pieces[i].coded_n);
    count(p, "header and index", 0, 0, archive_bytes(a) - sum);
    return status;
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

static double bits(const line *l) { return l->elements ? 8 * (double)l->bytes / (double)l->elements : 0; }

static json_t *lines_json(const line *lines, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_pack("{s:o, s:I, s:I, s:I, s:f}", "what", cli_json_text(lines[i].what), "tensors",
                                              (json_int_t)lines[i].tensors, "elements", (json_int_t)lines[i].elements,
                                              "bytes", (json_int_t)lines[i].bytes, "bits", bits(&lines[i])));
    return list;
}

static int print_json(const page *p) {
    double all = p->n_weights ? 8 * (double)p->file_bytes / (double)p->n_weights : 0;
    json_t *object = json_pack("{s:o, s:s, s:I, s:I, s:f, s:o}", "file", cli_json_text(p->name), "format", p->kind, "bytes",
                               (json_int_t)p->file_bytes, "weights", (json_int_t)p->n_weights, "bits_per_weight", all,
                               "parts", lines_json(p->lines, p->n));
    if (object && p->list) json_object_set_new(object, "list", lines_json(p->list, p->n_list));
    return cli_json_print(stdout, object, JSON_INDENT(1));
}

static void print_lines(const page *p, const line *lines, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const line *l = &lines[i];
        bool part = strchr(l->what, ':') != NULL && lines == p->lines;
        printf("  %s%-*s %14" PRIu64 " %6.2f %%", part ? "  " : "", part ? 38 : 40, l->what, l->bytes,
               p->file_bytes ? 100 * (double)l->bytes / (double)p->file_bytes : 0);
        if (l->elements) printf(" %14" PRIu64 " %8.3f", l->elements, bits(l));
        printf("\n");
    }
}

static int print_page(const page *p) {
    char text[128], size[16];
    printf("%s: %s, %s, %.3f bits per weight\n", cli_safe_text(text, sizeof text, p->name), p->kind,
           cli_size_text(size, p->file_bytes), p->n_weights ? 8 * (double)p->file_bytes / (double)p->n_weights : 0);
    printf("  %-40s %14s %8s %14s %8s\n", "", "bytes", "share", "weights", "bits");
    print_lines(p, p->lines, p->n);
    if (p->list) print_lines(p, p->list, p->n_list);
    return CLI_OK;
}

static int failed(page *p) {
    const char *said = pith_error(p->ctx);
    bool named = strncmp(said, p->name, strlen(p->name)) == 0;
    return named ? cli_error("%s", said) : cli_error("%s: %s", p->name, said);
}

static bool is_archive(const char *path) {
    uint8_t head[ARCHIVE_MAGIC_BYTES];
    FILE *f = fopen(path, "rb");
    bool is = f && fread(head, 1, sizeof head, f) == sizeof head && archive_magic(head, sizeof head);
    if (f) fclose(f);
    return is;
}

static int run(page *p, bool list, bool json) {
    line lines[TYPES_MAX] = {0};
    tensor_file *f = NULL;
    model_archive *a = NULL;
    p->lines = lines;
    p->capacity = TYPES_MAX;
    bool archive = is_archive(p->name);
    pith_status status = archive ? archive_open(p->ctx, p->name, INFINITY, &a) : tensor_file_open(p->ctx, p->name, &f);
    size_t n = status ? 0 : archive ? archive_about(a)->n_tensors : f->n_tensors;
    if (!status && list && !(p->list = pith_zalloc(p->ctx, (n + 1) * sizeof *p->list))) status = pith_alloc_status(p->ctx);
    if (!status && archive) status = explain_archive(p, a);
    if (!status && !archive) explain_file(p, f);
    int result = status ? failed(p) : json ? print_json(p) : print_page(p);
    pith_free(p->ctx, p->list);
    archive_close(p->ctx, a);
    if (f) tensor_file_close(p->ctx, f);
    return result;
}

int model_explain_size_main(int argc, char **argv) {
    lm_options o;
    bool list = false;
    const lm_option options[] = {{.name = "tensors", .kind = LM_FLAG, .value = &list}};
    int result = lm_options_parse(&o, argc, argv, options, PITH_COUNT(options), 1);
    if (result == CLI_OK && o.help) {
        result = cli_help(explain_help);
    } else if (result == CLI_OK && o.n_names == 0) {
        result = cli_error("model explain-size: which file?");
    } else if (result == CLI_OK) {
        page p = {.ctx = lm_session_of(&o), .name = o.names[0]};
        artefacts_register();
        result = p.ctx ? run(&p, list, o.json) : CLI_FAIL;
        pith_ctx_free(p.ctx);
    }
    lm_options_free(&o);
    return result;
}
