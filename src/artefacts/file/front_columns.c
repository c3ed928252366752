/* Logs and tables: lines as templates with slots, and every slot's values together, as numbers, words of
 * a dictionary or text, whichever is smallest. (After J. Liu et al., "Logzip: extracting hidden structures
 * via iterative clustering for log compression", 2019.)
 *
 * Argument: the byte between the values of a table's lines, or 0: templates were mined. It means
 * nothing to the inverse. The stream: flags, numbers of columns, templates and lines; the columns' descriptions;
 * lengths of the templates, their slots' columns and the lines that have none; all of these, and the columns' bytes. */
#include "artefacts/file/codec.h"
#include "artefacts/file/columns.h"
#include "artefacts/file/columns_tokens.h"
#include "artefacts/file/detect.h"

enum { LEAST = 2048 };

static pith_status code_columns(pith_ctx *ctx, const uint8_t *src, size_t n, const columns_mined *m,
                                pith_buffer *directory, pith_buffer *data) {
    columns_coder *coder = NULL;
    pith_status status = columns_coder_new(ctx, src, n, &coder);
    for (uint32_t c = 0; c < m->n_columns && !status; c++) {
        uint32_t first = m->first_value[c], count = m->first_value[c + 1] - first;
        if (pith_cancelled(ctx)) {
            status = file_cancelled(ctx);
        } else if (m->copy_of[c] != c) {
            status = columns_put(ctx, directory, COLUMN_COPY);
            if (!status) status = columns_put(ctx, directory, m->copy_of[c]);
        } else {
            status = columns_code(coder, m->value + first, count, directory, data);
        }
    }
    columns_coder_free(ctx, coder);
    return status;
}

/* The column of each slot: 0 for the next that was not named before, else its number + 1. */
static pith_status put_slots(pith_ctx *ctx, const columns_mined *m, pith_buffer *b) {
    pith_status status = PITH_OK;
    uint32_t next = 0;
    for (uint32_t k = 0; k < m->first_slot[m->n_templates] && !status; k++) {
        uint32_t c = m->slot_column[k];
        status = columns_put(ctx, b, c == next ? 0 : c + 1);
        next += c == next;
    }
    return status;
}

static pith_status put_lines(pith_ctx *ctx, const uint8_t *src, const columns_mined *m, pith_buffer *b) {
    size_t bytes = m->n_templates > 255 ? 2 : 1;
    pith_status status = pith_buffer_reserve(ctx, b, bytes * m->n_lines);
    if (status) return status;
    for (uint32_t i = 0; i < m->n_lines; i++) {
        if (bytes == 2) b->data[b->size++] = (uint8_t)(m->line_template[i] >> 8);
        b->data[b->size++] = (uint8_t)m->line_template[i];
    }
    static const uint8_t end = COLUMNS_END;
    for (uint32_t i = 0; i < m->n_loose && !status; i++) {
        status = pith_buffer_append(ctx, b, src + m->loose[i].at, m->loose[i].n);
        if (!status) status = pith_buffer_append(ctx, b, &end, 1);
    }
    return status;
}

static pith_status write(pith_ctx *ctx, const uint8_t *src, size_t n, const columns_mined *m, pith_buffer *dst) {
    pith_buffer directory = {0}, data = {0}, slots = {0}, lines = {0};
    size_t loose = 0;
    for (uint32_t i = 0; i < m->n_loose; i++) loose += m->loose[i].n + 1;
    pith_status status = code_columns(ctx, src, n, m, &directory, &data);
    if (!status) status = put_slots(ctx, m, &slots);
    if (!status) status = put_lines(ctx, src, m, &lines);
    uint64_t head[] = {src[n - 1] == COLUMNS_END, m->n_columns, m->n_templates, m->n_lines,
                       m->templates.size,         slots.size,   loose};
    for (size_t i = 0; i < PITH_COUNT(head) && !status; i++) status = columns_put(ctx, dst, head[i]);
    const pith_buffer *all[] = {&directory, &m->templates, &slots, &lines, &data};
    for (size_t i = 0; i < PITH_COUNT(all) && !status; i++)
        status = pith_buffer_append(ctx, dst, all[i]->data, all[i]->size);
    pith_buffer_free(ctx, &directory);
    pith_buffer_free(ctx, &data);
    pith_buffer_free(ctx, &slots);
    pith_buffer_free(ctx, &lines);
    return status;
}

/* Whether the lines come back: templates are known by their hashes alone, and the reader has limits of its own. */
static pith_status comes_back(pith_ctx *ctx, const uint8_t *src, size_t n, const pith_buffer *dst, bool *pays) {
    uint8_t *back = pith_alloc(ctx, n);
    if (!back) return pith_alloc_status(ctx);
    pith_status status = columns_read(ctx, dst->data, dst->size, back, n, pays);
    *pays = !status && *pays && memcmp(back, src, n) == 0;
    pith_free(ctx, back);
    return status;
}

static pith_status forward(pith_ctx *ctx, file_args *args, const uint8_t *src, size_t n, pith_buffer *dst, bool *pays) {
    *pays = false;
    detect_result look;
    detect_block(src, n, &look);
    if (n < LEAST || look.text_permille < 950) return PITH_OK;
    uint8_t separator = args->n && args->v[0] ? (uint8_t)args->v[0] : tokens_separator(src, n);
    columns_mined m;
    pith_status status = columns_mine(ctx, src, n, separator, &m);
    if (!status && m.n_columns && m.n_loose < m.n_lines / 2) {
        status = write(ctx, src, n, &m, dst);
        *pays = !status && dst->size <= n;
    }
    if (*pays) status = comes_back(ctx, src, n, dst, pays);
    if (!*pays) pith_buffer_free(ctx, dst);
    columns_mined_free(ctx, &m);
    args->n = 1;
    args->v[0] = separator;
    return status;
}

static pith_status inverse(pith_ctx *ctx, const file_args *args, const uint8_t *src, size_t n, uint8_t *dst,
                           size_t raw_n) {
    (void)args;
    bool good;
    pith_status status = columns_read(ctx, src, n, dst, raw_n, &good);
    return status || good ? status : pith_fail(ctx, PITH_E_FORMAT, "a block of columns is malformed");
}

static pith_status check(pith_ctx *ctx, const file_args *args) {
    if (args->n == 1 && args->v[0] <= 255 && args->v[0] != COLUMNS_END) return PITH_OK;
    return pith_fail(ctx, PITH_E_FORMAT, "columns takes one argument, a byte");
}

static uint64_t memory(const file_args *args, size_t raw_n) {
    (void)args;
    return columns_read_memory(raw_n);
}

const file_front file_front_columns = {
    .id = 5,
    .name = "columns",
    .forward = forward,
    .inverse = inverse,
    .check = check,
    .memory = memory,
};
