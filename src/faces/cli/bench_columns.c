/* pith bench logzip: logs taken apart into templates and columns before the coders of repeats, and lines and fields as
 * contexts of the mixing ones (J. Liu et al., Logzip: extracting hidden structures via iterative clustering for log
 * compression, 2019). */
#include <math.h>
#include <string.h>

#include "faces/cli/bench_predict.h"
#include "kernels/predict/predict.h"
#include "pith/file.h"

static const char logzip_help[] =
    "Usage: pith bench logzip [OPTIONS] [FILE...]\n\n"
    "Codes logs by zstd and lzma as they are, behind the front end `columns` and as levels 3 and 4 choose, and by context\n"
    "mixing with 12 and 40 inputs with and without what it knows of lines and fields; says how much the structure saves.\n"
    "Default FILE: models/prime/log.txt, written for pith. The claim is about the 2000-line samples of loghub.\n\n"
    "      --no-mixing     zstd and lzma only\n" EXP_HELP "\nExamples:\n"
    "  pith bench logzip\n"
    "  pith bench logzip /var/log/syslog loghub/*/*_2k.log\n";

enum { ZSTD_RAW, ZSTD_COLUMNS, LEVEL_3, LZMA_RAW, LZMA_COLUMNS, LEVEL_4, ARCHIVES };
static const struct {
    int level;
    const char *recipe;
} ways[ARCHIVES] = {{0, "zstd(level=19)"}, {0, "columns | zstd(level=19)"}, {3, NULL},
                    {0, "lzma"},           {0, "columns | lzma"},           {4, NULL}};
enum { SMALL_PLAIN, SMALL, LARGE_PLAIN, LARGE, MIXERS };

typedef struct logzip {
    bool no_mixing;
    double archive[ARCHIVES], mixer[MIXERS]; /* bytes of all files */
    double worse;                            /* the most by which a level is larger than its codec alone, bytes */
    bool same;
} logzip;

static int archives_of(experiment *e, logzip *z, const char *label, const pith_buffer *text) {
    double size[ARCHIVES];
    size_t cap = text->size + text->size / 8 + 4096, n, back_n;
    uint8_t *dst = malloc(2 * cap);
    if (!dst) return cli_error("out of memory");
    pith_status status = PITH_OK;
    for (unsigned i = 0; i < ARCHIVES && !status; i++) {
        pith_encode_options o;
        pith_encode_options_init(&o);
        o.recipe = ways[i].recipe;
        if (ways[i].level) o.level = ways[i].level;
        exp_step(e, label);
        status = pith_file_compress(e->ctx, &o, text->data, text->size, dst, cap, &n);
        if (!status) status = pith_file_decompress(e->ctx, NULL, dst, n, dst + cap, cap, &back_n);
        z->same &= !status && back_n == text->size && memcmp(dst + cap, text->data, back_n) == 0;
        size[i] = (double)n;
        z->archive[i] += (double)n;
    }
    free(dst);
    if (status) return exp_failed(e);
    z->worse = fmax(z->worse, fmax(size[LEVEL_3] - size[ZSTD_RAW], size[LEVEL_4] - size[LZMA_RAW]));
    EXP_ROW(e, label, (double)text->size, size[0], size[1], size[2], size[3], size[4], size[5]);
    return CLI_OK;
}

static int mixers_of(experiment *e, logzip *z, const char *label, const pith_buffer *text) {
    double size[MIXERS];
    size_t cap = text->size + 4096, n = 0;
    uint8_t *dst = malloc(cap);
    if (!dst) return cli_error("out of memory");
    pith_status status = PITH_OK;
    for (unsigned i = 0; i < MIXERS && !status; i++) {
        cm_params p = {.inputs = i >= LARGE_PLAIN ? CM_LARGE : CM_SMALL, .no_fields = i % 2 == 0};
        exp_step(e, label);
        status = cm_encode(e->ctx, &p, text->data, text->size, dst, cap, &n);
        size[i] = (double)n;
        z->mixer[i] += (double)n;
    }
    free(dst);
    if (status) return exp_failed(e);
    EXP_ROW(e, label, size[0], size[1], size[2], size[3]);
    return CLI_OK;
}

static int each(experiment *e, logzip *z, int (*fn)(experiment *, logzip *, const char *, const pith_buffer *)) {
    int result = CLI_OK;
    for (size_t i = 0; i < PITH_MAX(e->o.n_names, (size_t)1) && result == CLI_OK; i++) {
        const char *name = e->o.n_names ? e->o.names[i] : NULL, *shown = name ? strrchr(name, '/') : "log.txt";
        pith_buffer text = {0};
        result = exp_read(e, name, "models/prime/log.txt", 0, &text);
        if (result == CLI_OK) result = fn(e, z, !shown ? name : *shown == '/' ? shown + 1 : shown, &text);
        pith_buffer_free(e->ctx, &text);
    }
    return result;
}

static int logzip_run(experiment *e, void *own) {
    logzip *z = own;
    const double *a = z->archive, *m = z->mixer;
    exp_table(e, "bytes by zstd 19 and lzma: as they are, behind columns, and what levels 3 and 4 choose",
              "log|bytes.0|zstd.0|columns.0|level 3.0|lzma.0|columns.0|level 4.0");
    int result = each(e, z, archives_of);
    if (result != CLI_OK) return result;
    EXP_ROW(e, "all", NAN, a[0], a[1], a[2], a[3], a[4], a[5]);
    double three = 1 - a[LEVEL_3] / a[ZSTD_RAW], four = 1 - a[LEVEL_4] / a[LZMA_RAW];
    exp_claim(e, three >= 0.10 && four >= 0.10,
              "levels 3 and 4 are at least 10 %% below zstd and lzma alone: %.1f %% and %.1f %%", 100 * three,
              100 * four);
    exp_claim(e, z->worse <= 64, "and never larger (a header of 64 bytes aside): %.0f bytes at most", z->worse);
    exp_claim(e, z->same, "all archives give the logs back");
    if (z->no_mixing) return CLI_OK;
    exp_table(e, "bytes by context mixing, without and with lines and fields as contexts",
              "log|12 plain.0|12.0|40 plain.0|40.0");
    result = each(e, z, mixers_of);
    if (result != CLI_OK) return result;
    EXP_ROW(e, "all", m[0], m[1], m[2], m[3]);
    double small = 1 - m[SMALL] / m[SMALL_PLAIN], large = 1 - m[LARGE] / m[LARGE_PLAIN];
    exp_claim(e, small >= 0.05, "with 12 inputs (level 6) lines and fields save at least 5 %%: %.1f %%", 100 * small);
    exp_claim(e, large >= 0.05, "with 40 inputs (level 7): %.1f %%", 100 * large);
    return CLI_OK;
}

int bench_logzip(int argc, char **argv) {
    logzip z = {.same = true, .worse = -HUGE_VAL};
    const lm_option extra[] = {{"no-mixing", 0, LM_FLAG, &z.no_mixing, 0, 0}};
    return exp_main(argc, argv, logzip_help, extra, PITH_COUNT(extra), 64, logzip_run, &z);
}
