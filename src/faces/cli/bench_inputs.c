/* Inputs of the experiments: files of the project or the user's own, labelled lines, passages. */
#include <string.h>
#include <unistd.h>

#include "faces/cli/bench_predict.h"

int exp_read(experiment *e, const char *name, const char *default_name, size_t most, pith_buffer *out) {
    if (!name && access(default_name, R_OK) != 0)
        return cli_error("%s: %s is not here: run it in pith's source folder or name a file (--help)", e->name,
                         default_name);
    int result = lm_read_text(e->ctx, name ? name : default_name, out);
    if (most && out->size > most) out->size = most;
    return result;
}

int labelled_add(experiment *e, labelled *l, const char *name, const void *text, size_t n) {
    uint32_t k = 0;
    while (k < l->n_names && strcmp(l->names[k], name) != 0) k++;
    if (k == EXP_LABELS) return cli_error("%s: more than %d classes", e->name, EXP_LABELS);
    if (k == l->n_names) {
        l->names[k] = strdup(name);
        if (!l->names[k]) return cli_error("out of memory");
        l->n_names++;
    }
    uint32_t *grown = realloc(l->label, (l->texts.n + 1) * sizeof *grown);
    if (!grown) return cli_error("out of memory");
    l->label = grown;
    l->label[l->texts.n] = k;
    return texts_add_bytes(e->ctx, &l->texts, name, text, n);
}

int labelled_read(experiment *e, labelled *l, const char *path) {
    text_list lines = {0};
    int result = texts_add(e->ctx, &lines, path, true);
    for (size_t i = 0; i < lines.n && result == CLI_OK; i++) {
        const distance_text *t = &lines.text[i];
        const uint8_t *tab = memchr(t->data, '\t', t->n);
        char name[80];
        if (!tab || (size_t)(tab - t->data) >= sizeof name) {
            result = cli_error("%s: no line of the form class TAB text", lines.label[i]);
            break;
        }
        size_t n = (size_t)(tab - t->data);
        memcpy(name, t->data, n);
        name[n] = 0;
        result = labelled_add(e, l, name, tab + 1, t->n - n - 1);
    }
    texts_free(e->ctx, &lines);
    if (result == CLI_OK && !l->texts.n) return cli_error("%s: no texts", path);
    return result;
}

void labelled_free(experiment *e, labelled *l) {
    texts_free(e->ctx, &l->texts);
    for (uint32_t i = 0; i < l->n_names; i++) free(l->names[i]);
    free(l->label);
    *l = (labelled){0};
}

int exp_passages(experiment *e, const pith_buffer *text, double from, double to, size_t count, size_t bytes,
                 text_list *out) {
    uint8_t *flat = malloc(text->size + 1);
    size_t n = 0;
    int result = flat ? CLI_OK : cli_error("out of memory");
    for (size_t i = 0; i < text->size && flat; i++) {
        bool blank = text->data[i] <= ' ';
        if (!blank || (n && flat[n - 1] != ' ')) flat[n++] = blank ? ' ' : text->data[i];
    }
    double start = from * (double)n, step = (to - from) * (double)n / (double)count;
    if (result == CLI_OK && step < 40) result = cli_error("%s: too little text for %zu passages", e->name, count);
    for (size_t i = 0; i < count && result == CLI_OK; i++) {
        size_t at = (size_t)(start + step * (double)i), end = at + PITH_MIN(bytes, (size_t)step);
        while (at < end && flat[at] != ' ') at++;
        while (end > at && flat[end - 1] != ' ') end--;
        if (at < end) at++;
        if (end > at) end--;
        result = texts_add_bytes(e->ctx, out, "", flat + at, end - at);
    }
    free(flat);
    return result;
}
