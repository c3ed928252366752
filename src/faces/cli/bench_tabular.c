/* pith bench tabular: a table's entries in blocks by latent labels of its rows and columns, against row by row and
 * column by column (A. Montanari, E. Weiner, Compressing tabular data via latent variable estimation, 2023). */
#include <math.h>
#include <string.h>

#include "faces/cli/bench_predict.h"
#include "kernels/predict/predict.h"
#include "pith/file.h"

static const char tabular_help[] =
    "Usage: pith bench tabular [OPTIONS] [FILE...]\n\n"
    "A synthetic table of two kinds of rows and two of columns, each entry drawn by the kinds of its row and column: bytes\n"
    "of its blocks by estimated kinds under an adaptive order-0 coder, against its entropy and lzma on it as it is. Then\n"
    "tables (values between commas, or tabs): bytes by lzma row by row, column by column, in blocks by latent labels of 2 or\n"
    "4 kinds of rows and columns, and behind the front end `columns`. Default FILE: docs/systems.tsv.\n\n"
    "      --rows=N        of the synthetic table (default 1000)\n"
    "      --columns=N     of it (default 100)\n"
    "      --lines=N       of each file at most (default 8000)\n" EXP_HELP "\nExamples:\n"
    "  pith bench tabular\n"
    "  pith bench tabular adult.csv zipcodes.csv\n";

enum { KINDS = 2, SYMBOLS = 8, VALUES_MAX = 256, ROW_KINDS = 4 };

typedef struct tabular {
    uint64_t rows, columns, lines;
} tabular;

/* A table: where each value is; numbers of the values of each column in the order they first come. */
typedef struct table {
    pith_buffer text;
    size_t m, n, used; /* lines, values in each, bytes of these lines */
    struct value {
        uint32_t at, n;
    } * value; /* [m][n] */
    float *number;
    uint8_t *row_label, *column_label;
} table;

static double lzma_bytes(experiment *e, const pith_buffer *b, pith_status *status) {
    codelen_options o = {.kind = CODELEN_LZMA};
    distance_text t = {b->data, b->size};
    double bits = 0;
    if (!*status) *status = distance_lengths(e->ctx, &o, NULL, 1, &t, 1, &bits);
    return bits / 8;
}

/* Bits of symbols[n] with an adaptive order-0 code. */
static double adaptive_bits(const uint8_t *symbol, size_t n) {
    double count[256], total = 0, bits = 0;
    bool seen[256] = {false};
    unsigned kinds = 0;
    for (size_t i = 0; i < n; i++) kinds += !seen[symbol[i]], seen[symbol[i]] = true;
    for (unsigned c = 0; c < 256; c++) count[c] = seen[c] ? 0.5 : 0;
    total = 0.5 * kinds;
    for (size_t i = 0; i < n; i++) {
        bits -= log2(count[symbol[i]]++ / total);
        total++;
    }
    return bits + 8 * kinds; /* which symbols there are */
}

/* ---- the synthetic table ---- */

static uint32_t draw(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* P(symbol | kinds): one symbol of eight tenths, the others alike. */
static double chance(unsigned u, unsigned v, unsigned symbol) {
    static const unsigned usual[KINDS][KINDS] = {{0, 5}, {6, 1}};
    return symbol == usual[u][v] ? 0.8 : 0.2 / (SYMBOLS - 1);
}

static int synthetic(experiment *e, const tabular *t) {
    size_t m = (size_t)t->rows, n = (size_t)t->columns, cells = m * n, at = 0;
    uint8_t *kind = malloc(m + n), *label = malloc(m + n), *symbol = malloc(2 * cells);
    float *number = malloc(cells * sizeof *number);
    if (!kind || !label || !symbol || !number) {
        free(kind), free(label), free(symbol), free(number);
        return cli_error("out of memory");
    }
    uint64_t state = 1;
    double entropy = (double)(m + n), bits = 0;
    for (size_t i = 0; i < m + n; i++) kind[i] = draw(&state) & 1;
    for (size_t i = 0; i < cells; i++) {
        unsigned u = kind[i / n], v = kind[m + i % n], s = 0;
        double x = (double)draw(&state) / 2147483648.0;
        while (s + 1 < SYMBOLS && x >= chance(u, v, s)) x -= chance(u, v, s++);
        symbol[i] = (uint8_t)s;
        number[i] = (float)s;
        for (unsigned c = 0; c < SYMBOLS; c++) entropy -= chance(u, v, c) * log2(chance(u, v, c));
    }
    pith_status status = latent_cluster(e->ctx, number, m, n, 1, KINDS, KINDS, label, label + m);
    for (unsigned b = 0; b < KINDS * KINDS; b++) {
        size_t first = at;
        for (size_t i = 0; i < cells; i++)
            if (label[i / n] * KINDS + label[m + i % n] == (int)b) symbol[cells + at++] = symbol[i];
        bits += adaptive_bits(symbol + cells + first, at - first);
    }
    bits += adaptive_bits(label, m) + adaptive_bits(label + m, n);
    pith_buffer rows = {symbol, cells, cells}, blocks = {symbol + cells, cells, cells};
    double by_rows = lzma_bytes(e, &rows, &status), by_blocks = lzma_bytes(e, &blocks, &status);
    free(kind), free(label), free(number);
    if (status) {
        free(symbol);
        return exp_failed(e);
    }
    char title[120];
    snprintf(title, sizeof title, "%zu rows, %zu columns, two kinds of each; bytes", m, n);
    exp_table(e, title, "coder|bytes.0|over entropy %.2f");
    struct {
        const char *name;
        double bytes;
    } shown[] = {{"entropy", entropy / 8},
                 {"latent blocks, order 0", bits / 8},
                 {"rows, order 0", adaptive_bits(symbol, cells) / 8},
                 {"latent blocks, lzma", by_blocks},
                 {"rows, lzma", by_rows}};
    for (size_t i = 0; i < PITH_COUNT(shown); i++)
        EXP_ROW(e, shown[i].name, shown[i].bytes, 100 * (shown[i].bytes / shown[0].bytes - 1));
    free(symbol);
    exp_claim(e, bits <= 1.03 * entropy, "blocks by estimated kinds come within 3 %% of the entropy: %+.2f %%",
              100 * (bits / entropy - 1));
    exp_claim(e, by_rows >= 1.1 * entropy / 8, "lzma row by row is clearly above: %+.1f %%",
              100 * (8 * by_rows / entropy - 1));
    return CLI_OK;
}

/* ---- tables of files ---- */

static void table_free(experiment *e, table *t) {
    pith_buffer_free(e->ctx, &t->text);
    free(t->value), free(t->number), free(t->row_label), free(t->column_label);
    *t = (table){0};
}

/* Splits the line at *at into at most `most` values; gives back how many there are, and moves to the next line. */
static size_t split(const pith_buffer *text, size_t *at, uint8_t separator, struct value *value, size_t most) {
    size_t n = 0, begin = *at;
    bool quoted = false;
    for (;; ++*at) {
        bool end = *at == text->size || text->data[*at] == '\n';
        if (end || (text->data[*at] == separator && !quoted)) {
            if (n < most) value[n] = (struct value){(uint32_t)begin, (uint32_t)(*at - begin)};
            n++;
            begin = *at + 1;
            if (end) break;
        } else if (text->data[*at] == '"') {
            quoted = !quoted;
        }
    }
    *at = begin;
    return n;
}

/* The lines that have as many values as the second one. */
static int table_take(experiment *e, const tabular *o, const char *name, table *t) {
    struct value value[VALUES_MAX];
    size_t at = 0, lines = 0;
    const uint8_t *first = memchr(t->text.data, '\n', t->text.size);
    uint8_t separator = first && memchr(t->text.data, '\t', (size_t)(first - t->text.data)) ? '\t' : ',';
    for (; lines < 2 && at < t->text.size; lines++) t->n = split(&t->text, &at, separator, value, VALUES_MAX);
    if (t->n < 2 || t->n > VALUES_MAX)
        return cli_error("%s: %s is no table of 2 to %d values a line", e->name, name, VALUES_MAX);
    size_t most = (size_t)o->lines;
    t->value = malloc(most * t->n * sizeof *t->value);
    t->number = calloc(most * t->n, sizeof *t->number);
    t->row_label = malloc(most);
    t->column_label = malloc(t->n);
    if (!t->value || !t->number || !t->row_label || !t->column_label) return cli_error("out of memory");
    for (at = 0; at < t->text.size && t->m < most;) {
        size_t begin = at, n = split(&t->text, &at, separator, value, VALUES_MAX);
        if (n != t->n) continue;
        memcpy(t->value + t->m++ * n, value, n * sizeof *value);
        t->used += PITH_MIN(at, t->text.size) - begin;
    }
    return t->m > 1 ? CLI_OK : cli_error("%s: %s has too few lines", e->name, name);
}

/* Values as numbers: how many other values of its column had come when it first came, by a table of hashes. */
static int table_number(table *t) {
    size_t size = 1;
    while (size < 2 * t->m) size *= 2;
    uint32_t *slot = malloc(size * sizeof *slot);
    if (!slot) return cli_error("out of memory");
    for (size_t j = 0; j < t->n; j++) {
        float next = 0;
        memset(slot, 0xFF, size * sizeof *slot);
        for (size_t i = 0; i < t->m; i++) {
            struct value v = t->value[i * t->n + j];
            size_t h = pith_hash64(t->text.data + v.at, v.n) & (size - 1);
            for (; slot[h] != UINT32_MAX; h = (h + 1) & (size - 1)) {
                struct value w = t->value[slot[h] * t->n + j];
                if (w.n == v.n && memcmp(t->text.data + w.at, t->text.data + v.at, v.n) == 0) break;
            }
            if (slot[h] == UINT32_MAX) {
                slot[h] = (uint32_t)i;
                t->number[i * t->n + j] = next++;
            } else {
                t->number[i * t->n + j] = t->number[slot[h] * t->n + j];
            }
        }
        for (size_t i = 0; i < t->m && next > 0; i++) t->number[i * t->n + j] /= next; /* columns weigh alike */
    }
    free(slot);
    return CLI_OK;
}

static pith_status add(experiment *e, const table *t, size_t i, size_t j, pith_buffer *b) {
    static const uint8_t end = '\n';
    struct value v = t->value[i * t->n + j];
    pith_status status = pith_buffer_append(e->ctx, b, t->text.data + v.at, v.n);
    return status ? status : pith_buffer_append(e->ctx, b, &end, 1);
}

/* Bytes of the blocks by `kinds` labels of rows, and as many of columns or, with every column a kind of its own, n. */
static double blocks_bytes(experiment *e, table *t, unsigned kinds, bool own_columns, pith_status *status) {
    unsigned column_kinds = own_columns ? (unsigned)t->n : kinds;
    double bytes = 0;
    if (!*status)
        *status = latent_cluster(e->ctx, t->number, t->m, t->n, (unsigned)PITH_MIN(kinds, t->n), kinds, kinds,
                                 t->row_label, t->column_label);
    for (size_t j = 0; j < t->n && own_columns; j++) t->column_label[j] = (uint8_t)j;
    pith_buffer b = {0};
    for (unsigned v = 0; v < column_kinds; v++)
        for (unsigned u = 0; u < kinds; u++)
            for (size_t i = 0; i < t->m; i++)
                for (size_t j = 0; j < t->n && t->row_label[i] == u && !*status; j++)
                    if (t->column_label[j] == v) *status = add(e, t, i, j, &b);
    bytes += lzma_bytes(e, &b, status);
    pith_buffer_free(e->ctx, &b);
    return bytes + adaptive_bits(t->row_label, t->m) / 8 + (own_columns ? 0 : adaptive_bits(t->column_label, t->n) / 8);
}

static double front_bytes(experiment *e, const pith_buffer *rows, pith_status *status) {
    pith_encode_options o;
    pith_encode_options_init(&o);
    o.recipe = "columns | lzma";
    size_t cap = rows->size + rows->size / 8 + 4096, n = 0;
    uint8_t *dst = *status ? NULL : malloc(cap);
    if (dst) *status = pith_file_compress(e->ctx, &o, rows->data, rows->size, dst, cap, &n);
    free(dst);
    return (double)n;
}

/* Sums over all tables. */
typedef struct sums {
    double rows, columns, latent;
    unsigned tables, at_most;
} sums;

static int measure(experiment *e, const tabular *o, const char *name, const char *shown, sums *s) {
    table t = {0};
    int result = exp_read(e, name, "docs/systems.tsv", 0, &t.text);
    if (result == CLI_OK) result = table_take(e, o, shown, &t);
    if (result == CLI_OK) result = table_number(&t);
    if (result != CLI_OK) {
        table_free(e, &t);
        return result;
    }
    pith_status status = PITH_OK;
    pith_buffer rows = {0}, columns = {0};
    static const uint8_t comma = ',';
    for (size_t i = 0; i < t.m && !status; i++)
        for (size_t j = 0; j < t.n && !status; j++) {
            status = add(e, &t, i, j, &rows);
            if (!status && j + 1 < t.n) rows.data[rows.size - 1] = comma;
        }
    for (size_t j = 0; j < t.n && !status; j++)
        for (size_t i = 0; i < t.m && !status; i++) status = add(e, &t, i, j, &columns);
    double by_rows = lzma_bytes(e, &rows, &status), by_columns = lzma_bytes(e, &columns, &status), kinds[5],
           best = HUGE_VAL;
    exp_step(e, shown);
    for (unsigned k = 2; k <= ROW_KINDS; k += 2) {
        kinds[k / 2 - 1] = blocks_bytes(e, &t, k, false, &status);
        kinds[k / 2 + 1] = blocks_bytes(e, &t, k, true, &status);
    }
    for (unsigned k = 0; k < ROW_KINDS; k++) best = fmin(best, kinds[k]);
    double front = front_bytes(e, &rows, &status);
    pith_buffer_free(e->ctx, &rows);
    pith_buffer_free(e->ctx, &columns);
    table_free(e, &t);
    if (status) return exp_failed(e);
    EXP_ROW(e, shown, by_rows, by_columns, kinds[0], kinds[1], kinds[2], kinds[3], front);
    s->rows += by_rows, s->columns += by_columns, s->latent += best;
    s->tables++;
    s->at_most += best <= fmin(by_rows, by_columns);
    return CLI_OK;
}

static int tabular_run(experiment *e, void *own) {
    tabular *t = own;
    int result = synthetic(e, t);
    if (result != CLI_OK) return result;
    exp_table(
        e, "bytes by lzma: rows, columns, blocks by 2 and 4 kinds (x n: every column its own kind), front end columns",
        "table|rows.0|columns.0|2 x 2.0|4 x 4.0|2 x n.0|4 x n.0|front.0");
    sums s = {0};
    for (size_t i = 0; i < PITH_MAX(e->o.n_names, (size_t)1) && result == CLI_OK; i++) {
        const char *name = e->o.n_names ? e->o.names[i] : NULL, *slash = name ? strrchr(name, '/') : NULL;
        result = measure(e, t, name, slash ? slash + 1 : name ? name : "systems.tsv", &s);
    }
    if (result != CLI_OK) return result;
    exp_claim(
        e, s.at_most == s.tables,
        "the smallest of the four latent orders is at most the smaller of rows and columns: on %u of %u tables; %.0f "
        "bytes against %.0f by rows, %.0f by columns",
        s.at_most, s.tables, s.latent, s.rows, s.columns);
    return CLI_OK;
}

int bench_tabular(int argc, char **argv) {
    tabular t = {.rows = 1000, .columns = 100, .lines = 8000};
    const lm_option extra[] = {{"rows", 0, LM_NUMBER, &t.rows, 2, 1 << 20},
                               {"columns", 0, LM_NUMBER, &t.columns, 2, 4096},
                               {"lines", 0, LM_NUMBER, &t.lines, 2, 1 << 20}};
    return exp_main(argc, argv, tabular_help, extra, PITH_COUNT(extra), 64, tabular_run, &t);
}
