/* Results that last longer than a run: a file of JSON lines, the first what was measured by, each other a row of the
 * table with the divergence of every position (claims are paired by position). A run over a large model takes hours
 * and may be stopped; the next one goes on behind the last whole line. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faces/cli/bench_model.h"

#define HEAD "pith_bench_model"
#define EXACT JSON_REAL_PRECISION(17)
#define SHORT JSON_REAL_PRECISION(9) /* claims look no closer */

/* What must agree for two rows to stand in one table. Names of files may change, so they are not in it: the base's
 * perplexity tells models, texts and chunks apart, the text's entropy under the model tells statistics apart. */
static json_t *head_json(const bench_models *b) {
    double nats = b->stats ? model_stats_info(b->stats)->nats : 0;
    return json_pack("{s:s,s:I,s:I,s:I,s:f,s:b,s:f,s:I,s:s}", HEAD, pith_version(), "chunks", (json_int_t)b->chunks,
                     "positions", (json_int_t)b->positions, "items", (json_int_t)b->items, "perplexity", b->perplexity,
                     "halves", (int)b->halves, "calibration_nats", nats, "calibration_tokens",
                     (json_int_t)b->calibration_tokens, "matrices", b->matrices ? b->matrices : "");
}

static double real_of(const json_t *o, const char *key) {
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : (double)NAN;
}

/* A row of the file into the result it belongs to, if there is one. False when it is no row. */
static bool take_row(bench_models *b, json_t *row) {
    const char *name = json_string_value(json_object_get(row, "name"));
    const char *code = json_string_value(json_object_get(row, "recipe"));
    const json_t *kl = json_object_get(row, "kl");
    double weights = real_of(row, "weights"), bytes = real_of(row, "bytes"), flips = real_of(row, "flips");
    if (!name || !code || !json_is_array(kl) || !(weights >= 1 && weights < 1e18) || !(bytes >= 0 && bytes < 1e18) ||
        !isfinite(real_of(row, "kl_nats")))
        return false;
    for (unsigned i = 0; i < b->n; i++) {
        bench_result *r = &b->results[i];
        char text[80];
        size_t n = json_array_size(kl);
        if (r->done || strcmp(r->code.name, name) != 0 ||
            strcmp(bench_code_text(&r->code, text, sizeof text), code) != 0)
            continue;
        r->kl = calloc(n ? n : 1, sizeof *r->kl);
        if (!r->kl) return false;
        for (size_t k = 0; k < n; k++) r->kl[k] = json_number_value(json_array_get(kl, k));
        r->n_kl = n;
        r->trial = (model_trial){.weights = (uint64_t)weights,
                                 .bytes = (uint64_t)bytes,
                                 .encode_seconds = real_of(row, "encode_seconds"),
                                 .decode_seconds = real_of(row, "decode_seconds")};
        r->score.c.kl.mean = real_of(row, "kl_nats");
        r->score.c.kl.error = real_of(row, "kl_error");
        r->score.c.perplexity = real_of(row, "perplexity");
        r->score.c.same_top = real_of(row, "same_top");
        r->score.f.flips = flips;
        r->done = true;
        r->kept = json_incref(row);
        json_object_del(row, "kl");
        return true;
    }
    return true;
}

static int bad_file(const char *path, size_t line) {
    return cli_error("bench model: %s: line %zu is no result of this command", path, line);
}

int bench_resume_read(bench_models *b, const char *path) {
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t room = 0, number = 0;
    ssize_t n;
    int result = CLI_OK;
    b->resume = path;
    if (!f) return errno == ENOENT ? CLI_OK : cli_error("%s: %s", path, strerror(errno));
    while (result == CLI_OK && (n = getline(&line, &room, f)) > 0) {
        if (line[n - 1] != '\n') break; /* a run that was stopped while it wrote: what is whole counts */
        json_t *o = json_loadb(line, (size_t)n, 0, NULL);
        number++;
        if (!json_is_object(o) || (number == 1) != (json_object_get(o, HEAD) != NULL) ||
            (number > 1 && !take_row(b, o)))
            result = bad_file(path, number);
        if (number == 1 && result == CLI_OK) b->resume_head = json_incref(o);
        json_decref(o);
        b->resume_bytes += (uint64_t)n;
    }
    free(line);
    fclose(f);
    return result;
}

static int add_line(bench_models *b, json_t *o, size_t flags) {
    char *text = o ? json_dumps(o, flags | JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(o);
    if (!text) return cli_error("out of memory");
    bool good = fprintf(b->resume_file, "%s\n", text) > 0 && fflush(b->resume_file) == 0;
    free(text);
    return good ? CLI_OK : cli_error("%s: %s", b->resume, strerror(errno));
}

int bench_resume_begin(bench_models *b) {
    if (!b->resume) return CLI_OK;
    json_t *head = head_json(b);
    bool same = !b->resume_head || (head && json_equal(head, b->resume_head));
    for (unsigned i = 0; i < b->n; i++) same = same && (!b->results[i].kept || b->results[i].n_kl == b->positions);
    if (!same) {
        json_decref(head);
        return cli_error("bench model: %s has results by another model, text, statistics or version", b->resume);
    }
    b->resume_file = fopen(b->resume, "a");
    if (!b->resume_file || ftruncate(fileno(b->resume_file), (off_t)b->resume_bytes) != 0) {
        json_decref(head);
        return cli_error("%s: %s", b->resume, strerror(errno));
    }
    if (!b->resume_head) return add_line(b, head, EXACT);
    json_decref(head);
    return CLI_OK;
}

int bench_resume_add(bench_models *b, const bench_result *r) {
    if (!b->resume_file) return CLI_OK;
    json_t *o = bench_result_json(r), *kl = json_array();
    for (size_t i = 0; i < b->positions && kl; i++) json_array_append_new(kl, json_real(r->kl[i]));
    if (!o || !kl) {
        json_decref(o);
        json_decref(kl);
        return cli_error("out of memory");
    }
    json_object_set_new(o, "kl", kl);
    return add_line(b, o, SHORT);
}

void bench_resume_end(bench_models *b) {
    if (b->resume_file) fclose(b->resume_file);
    json_decref(b->resume_head);
    b->resume_file = NULL;
    b->resume_head = NULL;
}
