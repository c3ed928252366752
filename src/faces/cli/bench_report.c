/* What `pith bench file` says: the table, the JSON object, the figure. Rates come from sums of
 * bytes and of processor seconds, never from averages of ratios. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faces/cli/bench.h"
#include "faces/cli/json.h"

static double speed(uint64_t bytes, double seconds) { return seconds > 0 ? (double)bytes / 1e6 / seconds : 0; }

pith_status bench_frontier(pith_ctx *ctx, bench_row *rows, unsigned n, uint64_t bytes) {
    double x[BENCH_MAX_TOOLS], y[BENCH_MAX_TOOLS];
    bool on[BENCH_MAX_TOOLS];
    for (int direction = 0; direction < 2; direction++) {
        for (unsigned i = 0; i < n; i++) {
            x[i] = speed(bytes, direction ? rows[i].decode_seconds : rows[i].encode_seconds);
            y[i] = rows[i].state == BENCH_OK ? measure_ratio(&rows[i].rate) : NAN;
        }
        pith_status status = measure_frontier(ctx, x, y, n, on);
        if (status != PITH_OK) return status;
        for (unsigned i = 0; i < n; i++) *(direction ? &rows[i].decode_frontier : &rows[i].encode_frontier) = on[i];
    }
    return PITH_OK;
}

/* ---- table ---- */

/* Three digits that count, in at most 7 columns. */
static char *speed_text(char *text, size_t size, double v) {
    snprintf(text, size, v < 0.0995 ? "%.4f" : v < 9.995 ? "%.2f" : v < 99.95 ? "%.1f" : "%.0f", v);
    return text;
}

void bench_table(const bench *b, const char *title, uint64_t bytes, const bench_row *rows) {
    char shown[200], encode[24], decode[24], mark[24];
    printf("%s, %" PRIu64 " bytes\n", cli_safe_text(shown, sizeof shown, title), bytes);
    printf("%-16s %12s %8s %9s  %21s  %21s  %15s  %s\n", "", "", "", "", "compressing      ", "restoring      ",
           "peak memory MiB", "frontier");
    printf("%-16s %12s %8s %9s  %10s %10s  %10s %10s  %7s %7s\n", "", "bytes", "ratio", "bits/byte", "CPU s",
           "MB/CPU s", "CPU s", "MB/CPU s", "comp.", "rest.");
    for (unsigned i = 0; i < b->n_tools; i++) {
        const bench_row *r = &rows[i];
        if (r->state == BENCH_SKIPPED) continue;
        if (r->state != BENCH_OK) {
            printf("%-16.48s %s\n", b->tools[i].name, r->message);
            continue;
        }
        snprintf(mark, sizeof mark, "%s%s%s", r->encode_frontier ? "comp." : "",
                 r->encode_frontier && r->decode_frontier ? " " : "", r->decode_frontier ? "rest." : "");
        printf("%-16.48s %12" PRIu64 " %8.3f %9.4f  %10.3f %10s  %10.3f %10s  %7.1f %7.1f  %s\n", b->tools[i].name,
               r->rate.coded_bits / 8, measure_ratio(&r->rate), measure_bits_per_byte(&r->rate), r->encode_seconds,
               speed_text(encode, sizeof encode, speed(bytes, r->encode_seconds)), r->decode_seconds,
               speed_text(decode, sizeof decode, speed(bytes, r->decode_seconds)), (double)r->encode_peak / 1048576,
               (double)r->decode_peak / 1048576, mark);
    }
    putchar('\n');
}

void bench_notes(const bench *b) {
    printf("Every archive was restored and compared with the original, byte for byte. MB is 10^6 bytes of the\n"
           "original; CPU s is user + system time of the process, its start included, the fastest run. Frontier:\n"
           "no other row here is both smaller and faster that way.\n");
    const char *last = "";
    printf("pith %s (%s, %s)", pith_version(), pith_cpu(), b->threads_flag);
    for (unsigned i = 0; i < b->n_tools; i++) {
        const bench_tool *t = &b->tools[i];
        if (!t->is_pith && t->installed && strcmp(last, t->program) != 0)
            printf(", %s %s", last = t->program, t->version[0] ? t->version : "(version not told)");
    }
    printf("\n");
    bool any = false;
    for (unsigned i = 0; i < b->n_tools; i++) {
        const bench_tool *t = &b->tools[i];
        if (t->installed || (i && strcmp(b->tools[i - 1].program, t->program) == 0)) continue;
        printf("%s%s", any ? ", " : "Not installed, so not measured: ", t->program);
        any = true;
    }
    if (any) printf("\n");
}

/* ---- JSON ---- */

static const char *const states[] = {"ok", "failed", "over the time limit", "wrong bytes", "not installed"};

static json_t *rows_json(const bench *b, uint64_t bytes, const bench_row *rows) {
    json_t *list = json_array();
    for (unsigned i = 0; i < b->n_tools; i++) {
        const bench_row *r = &rows[i];
        json_t *row = json_pack("{s:o,s:s}", "tool", cli_json_text(b->tools[i].name), "status", states[r->state]);
        if (r->state == BENCH_OK)
            json_object_update_new(
                row, json_pack("{s:I,s:f,s:f,s:f,s:f,s:f,s:f,s:I,s:I,s:i,s:b,s:b,s:b}", "bytes",
                               (json_int_t)(r->rate.coded_bits / 8), "ratio", measure_ratio(&r->rate), "bits_per_byte",
                               measure_bits_per_byte(&r->rate), "compress_cpu_seconds", r->encode_seconds,
                               "decompress_cpu_seconds", r->decode_seconds, "compress_mb_per_cpu_second",
                               speed(bytes, r->encode_seconds), "decompress_mb_per_cpu_second",
                               speed(bytes, r->decode_seconds), "compress_peak_bytes", (json_int_t)r->encode_peak,
                               "decompress_peak_bytes", (json_int_t)r->decode_peak, "runs", (int)r->runs, "round_trip",
                               1, "compress_frontier", (int)r->encode_frontier, "decompress_frontier",
                               (int)r->decode_frontier));
        else if (r->state != BENCH_SKIPPED)
            json_object_set_new(row, "message", cli_json_text(r->message));
        json_array_append_new(list, row);
    }
    return list;
}

int bench_json(const bench *b) {
    json_t *files = json_array(), *tools = json_array();
    uint64_t bytes = 0;
    for (size_t k = 0; k < b->n_inputs; k++) {
        const bench_input *in = &b->inputs[k];
        bytes += in->bytes;
        json_array_append_new(files, json_pack("{s:o,s:I,s:o}", "file", cli_json_text(in->name), "bytes",
                                               (json_int_t)in->bytes, "rows", rows_json(b, in->bytes, in->rows)));
    }
    for (unsigned i = 0; i < b->n_tools; i++) {
        const bench_tool *t = &b->tools[i];
        json_t *args = json_array();
        for (unsigned k = 0; t->encode[k]; k++)
            json_array_append_new(args, cli_json_text(k == 0 ? t->program : t->encode[k]));
        json_array_append_new(tools,
                              json_pack("{s:o,s:s,s:b,s:s,s:o}", "tool", cli_json_text(t->name), "program", t->program,
                                        "installed", (int)t->installed, "version", t->version, "command", args));
    }
    json_t *all = json_pack("{s:s,s:s,s:s,s:o,s:o,s:{s:I,s:I,s:o}}", "pith", pith_version(), "cpu_path", pith_cpu(),
                            "unit", "MB = 10^6 bytes of the original per second of user + system time", "tools", tools,
                            "files", files, "total", "files", (json_int_t)b->n_inputs, "bytes", (json_int_t)bytes,
                            "rows", rows_json(b, bytes, b->total));
    return cli_json_print(stdout, all, JSON_INDENT(1));
}

/* ---- figure ---- */

static void processor_name(char *name, size_t size) {
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "this machine");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon) {
            line[strcspn(line, "\n")] = 0;
            snprintf(name, size, "%s", colon + 1 + strspn(colon + 1, " "));
            break;
        }
    }
    if (f) fclose(f);
}

int bench_plot(const bench *b, const char *path, bool replace) {
    measure_point points[2][BENCH_MAX_TOOLS];
    uint64_t bytes = 0;
    size_t n = 0;
    for (size_t k = 0; k < b->n_inputs; k++) bytes += b->inputs[k].bytes;
    for (unsigned i = 0; i < b->n_tools; i++) {
        const bench_row *r = &b->total[i];
        if (r->state != BENCH_OK) continue;
        for (int k = 0; k < 2; k++)
            points[k][n] = (measure_point){speed(bytes, k ? r->decode_seconds : r->encode_seconds),
                                           measure_ratio(&r->rate), b->tools[i].name, b->tools[i].is_pith ? 0 : 1};
        n++;
    }
    char title[160], subtitle[384], cpu[128];
    json_t *name = cli_json_text(b->inputs[0].name); /* an SVG is UTF-8 as well */
    processor_name(cpu, sizeof cpu);
    if (b->n_inputs > 1)
        snprintf(title, sizeof title, "Ratio against speed: %zu files, %.2f MB", b->n_inputs, (double)bytes / 1e6);
    else
        snprintf(title, sizeof title, "Ratio against speed: %.80s, %.2f MB", name ? json_string_value(name) : "a file",
                 (double)bytes / 1e6);
    json_decref(name);
    snprintf(subtitle, sizeof subtitle,
             "MB = 10^6 bytes of the original per second of user + system time; every round trip compared. "
             "%s, pith %s (%s, %s), peers with one thread",
             cpu, pith_version(), pith_cpu(), b->threads_flag);
    measure_figure figure = {.title = title,
                             .subtitle = subtitle,
                             .y_label = "original size / compressed size",
                             .series = {"pith", "peers"},
                             .n_series = 2,
                             .n_panels = 2,
                             .panels = {{"Compressing", "MB per CPU second (logarithmic)", points[0], n},
                                        {"Restoring", "MB per CPU second (logarithmic)", points[1], n}}};
    pith_buffer svg = {0};
    pith_status status = measure_plot_svg(b->ctx, &figure, &svg);
    if (status != PITH_OK) {
        pith_buffer_free(b->ctx, &svg);
        return cli_error("bench: %s", pith_error(b->ctx));
    }
    cli_output out = {.fd = -1};
    int result = cli_output_open(&out, path);
    int error = result == CLI_OK ? cli_output_write(&out, svg.data, svg.size) : 0;
    if (error) result = cli_error("%s: %s", path, strerror(error));
    if (result == CLI_OK) result = cli_output_finish(&out, NULL);
    if (result == CLI_OK) result = cli_output_commit(&out, replace);
    cli_output_discard(&out);
    pith_buffer_free(b->ctx, &svg);
    return result;
}
