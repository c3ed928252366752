/* Lists of texts for the commands that compare texts, and the coder they are compared with. */
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "faces/cli/cmd_distance.h"

int coder_open(pith_ctx *ctx, const lm_options *o, const char *verb, coder_choice *c) {
    c->options = (codelen_options){.kind = c->model ? CODELEN_LM : CODELEN_CM, .window = o->n_ctx};
    if (c->coder && !codelen_named(c->coder, &c->options.kind))
        return cli_error("%s: no coder '%s'; there are cm, cm-large, ssm, zstd, lzma, lm", verb, c->coder);
    if (c->options.kind != CODELEN_LM)
        return c->model ? cli_error("%s: --model goes with --coder=lm, not with %s", verb, c->coder) : CLI_OK;
    if (lm_open_named(ctx, lm_model_path(c->model), &c->opened) != CLI_OK) return CLI_FAIL;
    c->options.model = c->opened;
    return CLI_OK;
}

void coder_close(pith_ctx *ctx, coder_choice *c) {
    lm_close(ctx, c->opened);
    c->opened = NULL;
}

const char *coder_label(const coder_choice *c, char *text, size_t size) {
    const char *name = codelen_name(c->options.kind);
    if (c->options.kind != CODELEN_LM) return name;
    const char *path = lm_model_label(lm_model_path(c->model)), *slash = strrchr(path, '/');
    snprintf(text, size, "%s %s", name, slash ? slash + 1 : path);
    return text;
}

int texts_add_bytes(pith_ctx *ctx, text_list *l, const char *label, const void *data, size_t n) {
    (void)ctx;
    if (l->n == l->capacity) {
        size_t more = l->capacity ? 2 * l->capacity : 64;
        distance_text *text = realloc(l->text, more * sizeof *text);
        if (text) l->text = text;
        char **labels = text ? realloc(l->label, more * sizeof *labels) : NULL;
        if (!labels) return cli_error("out of memory");
        l->label = labels;
        l->capacity = more;
    }
    uint8_t *copy = malloc(n + 1);
    char *name = strdup(label);
    if (!copy || !name) {
        free(copy);
        free(name);
        return cli_error("out of memory");
    }
    if (n) memcpy(copy, data, n);
    l->text[l->n] = (distance_text){copy, n};
    l->label[l->n++] = name;
    return CLI_OK;
}

void texts_free(pith_ctx *ctx, text_list *l) {
    (void)ctx;
    for (size_t i = 0; i < l->n; i++) {
        free((void *)(uintptr_t)l->text[i].data);
        free(l->label[i]);
    }
    free(l->text);
    free(l->label);
    *l = (text_list){0};
}

static int add_lines(pith_ctx *ctx, text_list *l, const char *name, const pith_buffer *all) {
    size_t number = 0;
    int result = CLI_OK;
    for (size_t at = 0; at < all->size && result == CLI_OK;) {
        const uint8_t *end = memchr(all->data + at, '\n', all->size - at);
        size_t n = end ? (size_t)(end - all->data) - at : all->size - at;
        char label[4200];
        snprintf(label, sizeof label, "%s:%zu", name, ++number);
        if (n && all->data[at + n - 1] == '\r') n--;
        if (n) result = texts_add_bytes(ctx, l, label, all->data + at, n);
        at = end ? (size_t)(end - all->data) + 1 : all->size;
    }
    return result;
}

static int add_file(pith_ctx *ctx, text_list *l, const char *name, bool lines) {
    pith_buffer all = {0};
    int result = lm_read_text(ctx, name, &all);
    if (result == CLI_OK)
        result = lines ? add_lines(ctx, l, name, &all) : texts_add_bytes(ctx, l, name, all.data, all.size);
    pith_buffer_free(ctx, &all);
    return result;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

static int add_folder(pith_ctx *ctx, text_list *l, const char *folder, bool lines) {
    struct dirent **entry;
    int n = scandir(folder, &entry, NULL, by_name), result = CLI_OK;
    size_t before = l->n;
    if (n < 0) return cli_error("%s: %s", folder, strerror(errno));
    for (int i = 0; i < n; i++) {
        char path[4200];
        struct stat st;
        int length = snprintf(path, sizeof path, "%s/%s", folder, entry[i]->d_name);
        if (result == CLI_OK && length > 0 && (size_t)length < sizeof path && stat(path, &st) == 0 &&
            S_ISREG(st.st_mode))
            result = add_file(ctx, l, path, lines);
        free(entry[i]);
    }
    free(entry);
    if (result == CLI_OK && l->n == before) return cli_error("%s: no files in it", folder);
    return result;
}

int texts_add(pith_ctx *ctx, text_list *l, const char *name, bool lines) {
    struct stat st;
    if (strcmp(name, "-") != 0 && stat(name, &st) == 0 && S_ISDIR(st.st_mode)) return add_folder(ctx, l, name, lines);
    return add_file(ctx, l, name, lines);
}
