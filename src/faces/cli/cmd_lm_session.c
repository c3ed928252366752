/* A session with a model, texts to read, files to write, and a progress line that counts things. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "faces/cli/cmd_lm.h"
#include "lm/ruler/ruler.h"

#define TEXT_MAX ((size_t)1 << 32)

const char *lm_model_path(const char *name) { return !name || strcmp(name, "default") == 0 ? NULL : name; }
const char *lm_model_label(const char *path) { return path ? path : "pith-mini (built in)"; }

pith_ctx *lm_session_of(const lm_options *o) {
    pith_ctx *ctx = pith_ctx_new(NULL);
    if (!ctx) {
        cli_error("no memory for a session");
        return NULL;
    }
    pith_ctx_set_threads(ctx, o->n_threads);
    pith_ctx_set_memory(ctx, o->memory_bytes);
    return ctx;
}

int lm_failed(pith_ctx *ctx, const char *name) {
    const char *said = pith_error(ctx);
    if (!name || strncmp(said, name, strlen(name)) == 0) return cli_error("%s", said);
    return cli_error("%s: %s", name, said);
}

int lm_open_named(pith_ctx *ctx, const char *path, lm_model **m) {
    return lm_open(ctx, path, m) == PITH_OK ? CLI_OK : lm_failed(ctx, lm_model_label(path));
}

int lm_without_words(pith_ctx *ctx, const char *path) {
    lm_no_tokenizer(ctx);
    return lm_failed(ctx, lm_model_label(path));
}

int lm_read_text(pith_ctx *ctx, const char *name, pith_buffer *out) {
    bool standard = strcmp(name, "-") == 0;
    const char *shown = standard ? "standard input" : name;
    int fd = standard ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC), result = CLI_OK;
    if (fd < 0) return cli_error("%s: %s", shown, strerror(errno));
    for (;;) {
        if (out->size >= TEXT_MAX) {
            result = cli_error("%s: longer than 4 GiB", shown);
            break;
        }
        if (pith_buffer_reserve(ctx, out, 1 << 16) != PITH_OK) {
            result = lm_failed(ctx, shown);
            break;
        }
        ssize_t n = read(fd, out->data + out->size, out->capacity - out->size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) result = cli_error("%s: %s", shown, strerror(errno));
        if (n <= 0) break;
        out->size += (size_t)n;
    }
    if (!standard) close(fd);
    return result;
}

int lm_text_or_default(pith_ctx *ctx, const char *name, pith_buffer *out) {
    if (name) return lm_read_text(ctx, name, out);
    size_t n;
    const char *text = ruler_prose(&n);
    return pith_buffer_append(ctx, out, text, n) == PITH_OK ? CLI_OK : lm_failed(ctx, NULL);
}

/* ---- progress ---- */

static int show_progress(void *opaque, uint64_t done, uint64_t total) {
    lm_progress *p = opaque;
    if (cli_stop_signal()) return 1;
    double now = cli_now(), elapsed = now - p->line.started;
    if (!p->line.enabled || elapsed < 0.5 || now - p->line.shown < 0.1) return 0;
    p->line.shown = now;
    fprintf(stderr, "\r\033[K%s: %llu", p->line.verb, (unsigned long long)done);
    if (total && done) {
        double left = elapsed * (double)(total - done) / (double)done;
        fprintf(stderr, " of %llu %s, %u:%02u left", (unsigned long long)total, p->unit, (unsigned)left / 60,
                (unsigned)left % 60);
    } else {
        fprintf(stderr, " %s", p->unit);
    }
    fflush(stderr);
    return 0;
}

void lm_progress_start(lm_progress *p, pith_ctx *ctx, const char *verb, const char *unit) {
    cli_progress_start(&p->line, verb, "", 0);
    p->unit = unit;
    pith_ctx_set_progress(ctx, show_progress, p);
}

void lm_progress_clear(lm_progress *p, pith_ctx *ctx) {
    cli_progress_clear(&p->line);
    pith_ctx_set_progress(ctx, NULL, NULL);
}

/* ---- files written in pieces ---- */

int lm_writer_open(lm_writer *w, pith_ctx *ctx, const char *path, bool replace) {
    *w = (lm_writer){.ctx = ctx, .out = {.fd = -1}};
    struct stat st;
    if (!replace && path && stat(path, &st) == 0 && S_ISREG(st.st_mode))
        return cli_error("%s: already exists; not overwritten (-f overwrites)", path);
    return cli_output_open(&w->out, path);
}

pith_status lm_write_piece(void *opaque, const void *data, size_t size) {
    lm_writer *w = opaque;
    int error = cli_output_write(&w->out, data, size);
    return error
               ? pith_fail(w->ctx, PITH_E_IO, "%s: %s", w->out.path ? w->out.path : "standard output", strerror(error))
               : PITH_OK;
}

int lm_writer_close(lm_writer *w, bool good, bool replace) {
    int result = good ? cli_output_finish(&w->out, NULL) : CLI_FAIL;
    if (result == CLI_OK) result = cli_output_commit(&w->out, replace);
    cli_output_discard(&w->out);
    return result;
}
