/* Compressing, decompressing, testing and cutting a range: bytes from a descriptor through
 * the library to a cli_output, in pieces, so that pipes of any length fit in bounded memory. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/base.h"
#include "faces/cli/task.h"
#include "pith/model.h"

enum { PIECE = 1 << 18 };

/* Where the library's output goes, and what went wrong there. */
typedef struct sink {
    cli_output *out; /* NULL: thrown away */
    pith_hash *hash; /* NULL: not wanted */
    uint64_t bytes;
    int error; /* errno of the write that failed */
} sink;

static int sink_write(void *opaque, const void *data, size_t size) {
    sink *s = opaque;
    if (s->hash) pith_hash_update(s->hash, data, size);
    s->bytes += size;
    return s->out ? (s->error = cli_output_write(s->out, data, size)) : 0;
}

static double cpu_now(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static int fail(const task *t, const sink *s, pith_status status) {
    if (s && s->error == EPIPE && cli_stop_signal()) return CLI_FAIL; /* the reader has what it wants */
    if (s && s->error)
        return cli_error("%s: %s", t->out && t->out->path ? t->out->path : "standard output", strerror(s->error));
    const char *message = pith_error(t->ctx);
    return cli_error("%s: %s%s", t->shown, *message ? message : pith_status_name(status),
                     status == PITH_E_LIMIT ? " (-M and --max-time set the limits)" : "");
}

/* Up to `size` bytes, fewer only at the end. -1 with errno. */
static ssize_t read_full(int fd, void *data, size_t size) {
    size_t got = 0;
    while (got < size) {
        ssize_t n = read(fd, (char *)data + got, size - got);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) break;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

/* Shows what is done; for both directions in bytes of content. */
typedef struct watch {
    cli_progress progress;
    double cpu, wall;
} watch;

static void watch_begin(watch *w, task *t, const char *verb, uint64_t total) {
    cli_progress_start(&w->progress, verb, t->shown, total);
    pith_ctx_set_progress(t->ctx, cli_progress_show, &w->progress);
    w->cpu = cpu_now();
    w->wall = cli_now();
}

static void watch_end(watch *w, task *t) {
    cli_progress_clear(&w->progress);
    pith_ctx_set_progress(t->ctx, NULL, NULL);
    t->cpu_seconds = cpu_now() - w->cpu;
    t->seconds = cli_now() - w->wall;
}

/* ---- compress ---- */

static int pump_in(task *t, pith_encoder *encoder, sink *s, pith_hash *hash, uint8_t *piece) {
    for (;;) {
        ssize_t n = read_full(t->fd, piece, PIECE);
        if (n < 0) return cli_error("%s: %s", t->shown, strerror(errno));
        t->raw_bytes += (uint64_t)n;
        if (hash) pith_hash_update(hash, piece, (size_t)n);
        pith_status status = n ? pith_encoder_write(encoder, piece, (size_t)n) : PITH_OK;
        if (status == PITH_OK && n < PIECE) {
            if (t->seekable && t->st.st_size > 0 && t->raw_bytes != (uint64_t)t->st.st_size)
                return cli_error("%s: changed its size while it was read", t->shown);
            status = pith_encoder_finish(encoder);
            return status == PITH_OK ? CLI_OK : fail(t, s, status);
        }
        if (status != PITH_OK) {
            /* Growing files pass the promised size before they end. */
            if (t->seekable && t->st.st_size > 0 && t->raw_bytes > (uint64_t)t->st.st_size)
                return cli_error("%s: changed its size while it was read", t->shown);
            return fail(t, s, status);
        }
    }
}

/* A model alone means the codec that uses it. */
static const char *task_recipe(const cli_options *o) { return o->recipe ? o->recipe : o->model ? "lm" : NULL; }

int task_compress(task *t) {
    pith_encode_options options;
    pith_encode_options_init(&options);
    options.level = t->o->level;
    options.recipe = task_recipe(t->o);
    options.block_size = (size_t)t->o->block_bytes;
    if (t->o->verify) options.verify = 1;
    /* Size 0 is also what the files of /proc say. */
    if (t->seekable && t->st.st_size > 0) options.content_size = (uint64_t)t->st.st_size;
    sink s = {.out = t->out};
    watch w;
    watch_begin(&w, t, "compressing", t->seekable ? (uint64_t)t->st.st_size : 0);
    uint8_t *piece = malloc(PIECE);
    pith_hash *hash = t->o->json ? pith_hash_new(t->ctx) : NULL;
    pith_encoder *encoder = NULL;
    int result;
    if (!piece || (t->o->json && !hash)) {
        result = cli_error("%s: out of memory", t->shown);
    } else {
        pith_status status = pith_encoder_new(t->ctx, &options, sink_write, &s, &encoder);
        result = status == PITH_OK ? pump_in(t, encoder, &s, hash, piece) : fail(t, &s, status);
    }
    pith_encoder_free(encoder);
    if (hash) t->hash = pith_hash_value(hash);
    pith_hash_free(t->ctx, hash);
    free(piece);
    watch_end(&w, t);
    t->coded_bytes = s.bytes;
    if (options.recipe)
        snprintf(t->recipe, sizeof t->recipe, "%s", options.recipe);
    else
        snprintf(t->recipe, sizeof t->recipe, "level(%d)", t->o->level);
    return result;
}

/* ---- decompress, test ---- */

static void decode_options(const task *t, pith_decode_options *options) {
    pith_decode_options_init(options);
    options->max_seconds = t->o->max_seconds;
}

/* -dcf is a cat that also restores, as that of zstd and gzip: what is no archive goes through as it is. */
static bool passes_through(const task *t, const uint8_t *piece, size_t n) {
    return t->o->force && t->out && t->out->is_stdout && n && !pith_file_is_archive(piece, n) &&
           !(n >= 8 && pith_model_is_archive(piece, n));
}

static int pump_out(task *t, pith_decoder *decoder, sink *s, uint8_t *piece) {
    bool through = false;
    for (;;) {
        ssize_t n = read_full(t->fd, piece, PIECE);
        if (n < 0) return cli_error("%s: %s", t->shown, strerror(errno));
        if (t->coded_bytes == 0) through = passes_through(t, piece, (size_t)n);
        t->coded_bytes += (uint64_t)n;
        pith_status status = PITH_OK;
        if (through)
            status = n && sink_write(s, piece, (size_t)n) ? PITH_E_IO : PITH_OK;
        else if (n)
            status = pith_decoder_write(decoder, piece, (size_t)n);
        if (status == PITH_OK && n < PIECE) {
            status = through ? PITH_OK : pith_decoder_finish(decoder);
            return status == PITH_OK ? CLI_OK : fail(t, s, status);
        }
        if (status != PITH_OK) return fail(t, s, status);
    }
}

/* Content size and recipe, where an index tells them beforehand. */
static uint64_t look_ahead(task *t) {
    if (!t->seekable) return 0;
    pith_archive *archive = task_archive(t, false);
    if (!archive) return 0;
    pith_archive_info info;
    pith_frame_info frame;
    pith_archive_info_get(archive, &info);
    if (pith_archive_frame(archive, 0, &frame) == PITH_OK) snprintf(t->recipe, sizeof t->recipe, "%s", frame.recipe);
    pith_archive_close(archive);
    return info.content_size;
}

static int decompress_model(task *t, const pith_decode_options *options, sink *s) {
    if (strcmp(t->name, "-") == 0) return task_model_refuse(t);
    pith_status status = pith_model_decompress(t->ctx, options, t->name, sink_write, s);
    t->coded_bytes = (uint64_t)t->st.st_size;
    return status == PITH_OK ? CLI_OK : fail(t, s, status);
}

int task_decompress(task *t) {
    pith_decode_options options;
    decode_options(t, &options);
    sink s = {.out = t->out};
    watch w;
    watch_begin(&w, t, t->out ? "decompressing" : "testing", look_ahead(t));
    uint8_t *piece = malloc(PIECE);
    s.hash = t->o->json ? pith_hash_new(t->ctx) : NULL;
    pith_decoder *decoder = NULL;
    int result;
    if (!piece || (t->o->json && !s.hash)) {
        result = cli_error("%s: out of memory", t->shown);
    } else if (task_is_model(t)) {
        result = decompress_model(t, &options, &s);
    } else {
        pith_status status = pith_decoder_new(t->ctx, &options, sink_write, &s, &decoder);
        result = status == PITH_OK ? pump_out(t, decoder, &s, piece) : fail(t, &s, status);
    }
    pith_decoder_free(decoder);
    if (s.hash) t->hash = pith_hash_value(s.hash);
    pith_hash_free(t->ctx, s.hash);
    free(piece);
    watch_end(&w, t);
    t->raw_bytes = s.bytes;
    return result;
}

/* ---- range ---- */

int task_range(task *t) {
    if (!t->seekable) return cli_error("%s: --range reads by the index and needs a file, not a pipe", t->shown);
    pith_archive *archive = task_archive(t, true);
    if (!archive) return CLI_FAIL;
    pith_archive_info info;
    pith_archive_info_get(archive, &info);
    int result = CLI_OK;
    uint64_t at = t->o->range_offset, left = t->o->range_length;
    if (at > info.content_size)
        result = cli_error("%s: the range begins at %llu, but the content has %llu bytes", t->shown,
                           (unsigned long long)at, (unsigned long long)info.content_size);
    sink s = {.out = t->out};
    watch w;
    watch_begin(&w, t, "reading", 0);
    /* Pieces as large as a block can be, so that no block is decoded twice. */
    size_t capacity = (size_t)PITH_MIN(left, (uint64_t)PITH_FILE_BLOCK_MAX);
    capacity = (size_t)PITH_MIN((uint64_t)capacity, info.content_size - PITH_MIN(at, info.content_size));
    uint8_t *piece = malloc(capacity ? capacity : 1);
    if (!piece) result = cli_error("%s: out of memory", t->shown);
    while (result == CLI_OK && left && capacity) {
        size_t got = 0, want = (size_t)PITH_MIN(left, (uint64_t)capacity);
        pith_status status = pith_archive_read(archive, at, piece, want, &got);
        if (status != PITH_OK || (got && sink_write(&s, piece, got) != 0)) {
            result = fail(t, &s, status);
            break;
        }
        at += got;
        left -= got;
        if (got < want) break;
    }
    free(piece);
    pith_archive_close(archive);
    watch_end(&w, t);
    t->raw_bytes = s.bytes;
    t->coded_bytes = info.archive_size;
    return result;
}

/* ---- verify ---- */

typedef struct compare {
    int fd;
    bool differs;
    int error;
    uint8_t piece[16384];
} compare;

static int compare_write(void *opaque, const void *data, size_t size) {
    compare *c = opaque;
    const uint8_t *p = data;
    while (size) {
        ssize_t n = read_full(c->fd, c->piece, PITH_MIN(size, sizeof c->piece));
        if (n < 0) return c->error = errno;
        if (n == 0 || memcmp(c->piece, p, (size_t)n) != 0) {
            c->differs = true;
            return -1;
        }
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

static int verify_pump(task *t, compare *c, int fd, uint8_t *piece) {
    pith_decode_options options;
    pith_decode_options_init(&options);
    options.max_seconds = 1e12; /* our own archive */
    pith_decoder *decoder = NULL;
    pith_status status = pith_decoder_new(t->ctx, &options, compare_write, c, &decoder);
    ssize_t n = PIECE;
    while (status == PITH_OK && n == PIECE) {
        n = read_full(fd, piece, PIECE);
        if (n > 0) status = pith_decoder_write(decoder, piece, (size_t)n);
    }
    if (n < 0) c->error = errno;
    if (status == PITH_OK && n >= 0) status = pith_decoder_finish(decoder);
    pith_decoder_free(decoder);
    char more;
    if (c->differs || (status == PITH_OK && !c->error && read(c->fd, &more, 1) != 0))
        return cli_error("%s: decoding the archive does not give the input back; the input is kept", t->shown);
    if (c->error) return cli_error("%s: while checking the archive: %s", t->shown, strerror(c->error));
    return status == PITH_OK ? CLI_OK : fail(t, NULL, status);
}

int task_verify(task *t, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || lseek(t->fd, 0, SEEK_SET) != 0) {
        int result = cli_error("%s: cannot read it back: %s", t->shown, strerror(errno));
        if (fd >= 0) close(fd);
        return result;
    }
    compare *c = calloc(1, sizeof *c);
    uint8_t *piece = malloc(PIECE);
    int result;
    if (c && piece) {
        c->fd = t->fd;
        watch w;
        double seconds = t->seconds, cpu_seconds = t->cpu_seconds;
        watch_begin(&w, t, "verifying", t->raw_bytes);
        result = verify_pump(t, c, fd, piece);
        watch_end(&w, t);
        t->seconds = seconds; /* of compressing alone */
        t->cpu_seconds = cpu_seconds;
    } else {
        result = cli_error("%s: out of memory", t->shown);
    }
    free(piece);
    free(c);
    close(fd);
    return result;
}
