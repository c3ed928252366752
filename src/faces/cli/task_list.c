/* What an archive holds, read from its headers and index: one line per file, with -v its
 * frames and blocks, with --json an object. Also the report after a file is done. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "faces/cli/json.h"
#include "faces/cli/task.h"

int task_read_at(void *opaque, uint64_t offset, void *data, size_t size) {
    int fd = *(int *)opaque;
    uint8_t *p = data;
    while (size) {
        ssize_t n = pread(fd, p, size, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        p += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

pith_archive *task_archive(task *t, bool loud) {
    pith_archive *archive = NULL;
    pith_decode_options options;
    pith_decode_options_init(&options);
    options.max_seconds = t->o->mode == CLI_LIST ? INFINITY : t->o->max_seconds;
    pith_status status = pith_archive_open(t->ctx, &options, task_read_at, &t->fd, (uint64_t)t->st.st_size, &archive);
    if (status == PITH_OK) return archive;
    if (loud && task_is_model(t))
        task_model_refuse(t);
    else if (loud)
        cli_error("%s: %s", t->shown, pith_error(t->ctx));
    return NULL;
}

static double share(uint64_t part, uint64_t whole) { return whole ? (double)part / (double)whole : 0; }

/* ---- list ---- */

static int list_json(task *t, pith_archive *archive, const pith_archive_info *info) {
    json_t *frames = json_array(), *blocks = json_array();
    for (uint64_t i = 0; i < info->n_frames; i++) {
        pith_frame_info f;
        if (pith_archive_frame(archive, i, &f) != PITH_OK) break;
        char version[32];
        snprintf(version, sizeof version, "%u.%u", f.version_major, f.version_minor);
        json_array_append_new(frames,
                              json_pack("{s:I,s:I,s:I,s:I,s:s,s:i,s:o,s:I,s:f,s:i}", "offset", (json_int_t)f.offset,
                                        "size", (json_int_t)f.size, "content_size", (json_int_t)f.content_size,
                                        "blocks", (json_int_t)f.n_blocks, "version", version, "level", f.level,
                                        "recipe", cli_json_text(f.recipe), "decode_memory", (json_int_t)f.memory,
                                        "decode_ns_per_byte", f.ns_per_byte, "numerics", (int)f.numerics));
    }
    for (uint64_t i = 0; cli_verbosity > 0 && i < info->n_blocks; i++) {
        pith_block_info b;
        if (pith_archive_block(archive, i, &b) != PITH_OK) break;
        json_array_append_new(blocks,
                              json_pack("{s:I,s:I,s:I,s:I,s:o,s:o}", "offset", (json_int_t)b.offset, "size",
                                        (json_int_t)b.coded_size, "content_offset", (json_int_t)b.content_offset,
                                        "content_size", (json_int_t)b.content_size, "recipe", cli_json_text(b.recipe),
                                        "xxh3", cli_json_hash(b.hash)));
    }
    json_t *object = json_pack("{s:o,s:I,s:I,s:f,s:I,s:I,s:I,s:f,s:o}", "file", cli_json_text(t->name), "archive_bytes",
                               (json_int_t)info->archive_size, "content_bytes", (json_int_t)info->content_size, "ratio",
                               share(info->content_size, info->archive_size), "blocks", (json_int_t)info->n_blocks,
                               "metadata", (json_int_t)info->n_metadata, "decode_memory", (json_int_t)info->memory,
                               "decode_seconds", info->seconds, "frames", frames);
    if (object && cli_verbosity > 0)
        json_object_set_new(object, "block_list", blocks);
    else
        json_decref(blocks);
    return cli_json_print(stdout, object, JSON_COMPACT);
}

static int list_blocks(task *t, pith_archive *archive, const pith_archive_info *info) {
    char safe[PITH_FILE_RECIPE_MAX + 1];
    for (uint64_t i = 0; i < info->n_frames; i++) {
        pith_frame_info f;
        if (pith_archive_frame(archive, i, &f) != PITH_OK) return cli_error("%s: %s", t->shown, pith_error(t->ctx));
        printf("\nframe %" PRIu64 " at %" PRIu64 ": %" PRIu64 " bytes for %" PRIu64 ", format %u.%u, %s, %s\n", i + 1,
               f.offset, f.size, f.content_size, f.version_major, f.version_minor,
               cli_safe_text(safe, sizeof safe, f.recipe), f.numerics ? "with exact floating point" : "integers only");
        if (f.n_blocks)
            printf("%8s %14s %12s %12s %8s  %-16s  %s\n", "block", "content at", "content", "archive", "bits/B", "XXH3",
                   "made with");
        for (uint64_t k = f.first_block; k < f.first_block + f.n_blocks; k++) {
            pith_block_info b;
            if (pith_archive_block(archive, k, &b) != PITH_OK) return cli_error("%s: %s", t->shown, pith_error(t->ctx));
            printf("%8" PRIu64 " %14" PRIu64 " %12" PRIu64 " %12" PRIu64 " %8.4f  %016" PRIx64 "  %s\n", k + 1,
                   b.content_offset, b.content_size, b.coded_size, 8 * share(b.coded_size, b.content_size), b.hash,
                   cli_safe_text(safe, sizeof safe, b.recipe));
        }
    }
    for (uint64_t i = 0; i < info->n_metadata; i++) {
        uint64_t offset, size;
        if (pith_archive_metadata(archive, i, &offset, &size) == PITH_OK)
            printf("\nmetadata %" PRIu64 " at %" PRIu64 ": %" PRIu64 " bytes\n", i + 1, offset, size);
    }
    putchar('\n');
    return CLI_OK;
}

void task_list_total(uint64_t n_files, uint64_t n_frames, uint64_t n_blocks, uint64_t coded_bytes, uint64_t raw_bytes) {
    char coded[16], raw[16];
    printf("%6" PRIu64 "  %6" PRIu64 "  %10s  %12s  %6.3f  %9s  %10s  %-16s  %" PRIu64 " files\n", n_frames, n_blocks,
           cli_size_text(coded, coded_bytes), cli_size_text(raw, raw_bytes), share(raw_bytes, coded_bytes), "", "", "",
           n_files);
}

int task_list(task *t, bool first) {
    if (!t->seekable) return cli_error("%s: --list reads the index and needs a file, not a pipe", t->shown);
    if (task_is_model(t)) return task_model_list(t, first);
    pith_archive *archive = task_archive(t, true);
    if (!archive) return CLI_FAIL;
    pith_archive_info info;
    pith_frame_info frame = {.recipe = "-"};
    pith_archive_info_get(archive, &info);
    t->raw_bytes = info.content_size;
    t->coded_bytes = info.archive_size;
    t->n_frames = info.n_frames;
    t->n_blocks = info.n_blocks;
    int result = CLI_OK;
    if (t->o->json) {
        result = list_json(t, archive, &info);
    } else {
        char coded[16], raw[16], memory[16], shown[256], recipe[PITH_FILE_RECIPE_MAX + 1];
        if (first || cli_verbosity > 0)
            printf(
                "Frames  Blocks  Compressed  Uncompressed   Ratio  Memory to  Seconds to  Made with         Filename\n"
                "                                                  decode     decode\n");
        if (info.n_frames && pith_archive_frame(archive, 0, &frame) != PITH_OK) frame.recipe = "-";
        printf("%6" PRIu64 "  %6" PRIu64 "  %10s  %12s  %6.3f  %9s  %10.3g  %-16s  %s\n", info.n_frames, info.n_blocks,
               cli_size_text(coded, info.archive_size), cli_size_text(raw, info.content_size),
               share(info.content_size, info.archive_size), cli_size_text(memory, info.memory), info.seconds,
               cli_safe_text(recipe, sizeof recipe, frame.recipe), cli_safe_text(shown, sizeof shown, t->name));
        if (cli_verbosity > 0) result = list_blocks(t, archive, &info);
    }
    pith_archive_close(archive);
    return result;
}

/* ---- report ---- */

static const char *const operations[] = {"compress", "decompress", "test", "list"};

static void report_json(const task *t, const char *output_name) {
    json_t *object = json_pack("{s:s,s:o,s:I,s:I,s:f,s:f}", "operation", operations[t->o->mode], "file",
                               cli_json_text(t->name), "content_bytes", (json_int_t)t->raw_bytes, "archive_bytes",
                               (json_int_t)t->coded_bytes, "seconds", t->seconds, "cpu_seconds", t->cpu_seconds);
    if (object && !t->o->has_range) { /* a part of the content has no ratio to the archive */
        json_object_set_new(object, "ratio", json_real(share(t->raw_bytes, t->coded_bytes)));
        json_object_set_new(object, "bits_per_byte", json_real(8 * share(t->coded_bytes, t->raw_bytes)));
    }
    if (object && output_name) json_object_set_new(object, "output", cli_json_text(output_name));
    if (object && t->recipe[0]) json_object_set_new(object, "recipe", cli_json_text(t->recipe));
    if (object && t->o->has_range)
        json_object_set_new(object, "range_offset", json_integer((json_int_t)t->o->range_offset));
    else if (object)
        json_object_set_new(object, "xxh3", cli_json_hash(t->hash));
    /* The data go to standard output: then the words about them cannot. */
    cli_json_print(t->out && t->out->is_stdout ? stderr : stdout, object, JSON_COMPACT);
}

void task_report_failure(const cli_options *o, const char *name, const char *message, bool data_on_stdout) {
    cli_json_print(data_on_stdout ? stderr : stdout,
                   json_pack("{s:s,s:o,s:o}", "operation", operations[o->mode], "file", cli_json_text(name), "error",
                             cli_json_text(message)),
                   JSON_COMPACT);
}

void task_report(const task *t, const char *output_name) {
    if (t->o->json) {
        report_json(t, output_name);
        return;
    }
    bool to_stdout = t->out && t->out->is_stdout;
    if (cli_verbosity < (to_stdout ? 1 : 0)) return;
    char raw[16], coded[16], shown[256], target[256];
    cli_safe_text(shown, sizeof shown, t->shown);
    cli_size_text(raw, t->raw_bytes);
    cli_size_text(coded, t->coded_bytes);
    if (t->o->mode == CLI_COMPRESS)
        fprintf(stderr, "%-20s :%6.2f%%   (%9s => %9s, %s)\n", shown, 100 * share(t->coded_bytes, t->raw_bytes), raw,
                coded, cli_safe_text(target, sizeof target, output_name ? output_name : "standard output"));
    else
        fprintf(stderr, "%-20s: %" PRIu64 " bytes%s\n", shown, t->raw_bytes, t->o->mode == CLI_TEST ? ", ok" : "");
    if (cli_verbosity > 0)
        fprintf(stderr, "%-20s  %.3f s of processor time, %.3f s passed, %.4f bits per byte\n", "", t->cpu_seconds,
                t->seconds, 8 * share(t->coded_bytes, t->raw_bytes));
}
