/* Positions of what was kept, in the smallest of four forms, and the choice of what to keep.
 *
 *   bitmap    a plane of 0 and 1, through the chain's packer
 *   csr       the number in each row, then its columns as 16-bit numbers
 *   gaps      distances between neighbours, by rows, in Rice codes (Golomb 1966, Rice 1979) of the best parameter
 *   pattern   n of every m neighbours: which of the C(m, n) subsets, a plane */
#include <math.h>
#include <stddef.h>

#include "kernels/represent/scalar.h"

const sparse_pattern sparse_patterns[5] = {{0, 0}, {1, 4}, {2, 4}, {4, 8}, {1, 2}};

/* ---- choosing -------------------------------------------------------------------------------------- */

/* The k-th largest (k >= 1) of v[n], which is reordered (Hoare's selection). No NaN. */
static float kth_largest(float *v, size_t n, size_t k) {
    ptrdiff_t low = 0, high = (ptrdiff_t)n - 1, at = (ptrdiff_t)k - 1;
    while (low < high) {
        float a = v[low], b = v[low + (high - low) / 2], c = v[high];
        float pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
        ptrdiff_t i = low, j = high;
        while (i <= j) {
            while (v[i] > pivot) i++;
            while (v[j] < pivot) j--;
            if (i > j) break;
            float t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
        if (at <= j)
            high = j;
        else if (at >= i)
            low = i;
        else
            break; /* between the parts everything equals the pivot */
    }
    return v[at];
}

void sparse_choose(const float *score, size_t n, size_t n_keep, uint8_t *keep, float *scratch) {
    memset(keep, n_keep >= n, n);
    if (n_keep == 0 || n_keep >= n) return;
    for (size_t i = 0; i < n; i++) scratch[i] = score[i] == score[i] ? score[i] : -INFINITY;
    float least = kth_largest(scratch, n, n_keep);
    size_t above = 0;
    for (size_t i = 0; i < n; i++) above += keep[i] = score[i] > least;
    for (size_t i = 0; i < n && above < n_keep; i++)
        if (!keep[i] && !(score[i] > least) && !(score[i] < least)) keep[i] = 1, above++;
}

/* ---- the four forms -------------------------------------------------------------------------------- */

static size_t count_set(const uint8_t *mask, size_t n) {
    size_t set = 0;
    for (size_t i = 0; i < n; i++) set += mask[i];
    return set;
}

static pith_status put_bitmap(const repr_job *job, const uint8_t *mask, size_t rows, size_t cols, pith_buffer *out) {
    size_t n = rows * cols;
    uint16_t *bits = pith_alloc(job->ctx, n * sizeof *bits);
    if (!bits) return pith_alloc_status(job->ctx);
    for (size_t i = 0; i < n; i++) bits[i] = mask[i];
    repr_plane plane = {bits, n, cols, 2};
    pith_status status = repr_pack(job, &plane, out);
    pith_free(job->ctx, bits);
    return status;
}

static pith_status take_bitmap(const repr_job *job, repr_reader *in, uint8_t *mask, size_t rows, size_t cols) {
    size_t n = rows * cols;
    uint16_t *bits = pith_alloc(job->ctx, n * sizeof *bits);
    if (!bits) return pith_alloc_status(job->ctx);
    pith_status status = repr_unpack(job, in, bits, n, cols, 2);
    for (size_t i = 0; !status && i < n; i++) mask[i] = (uint8_t)bits[i];
    pith_free(job->ctx, bits);
    return status;
}

static pith_status put_csr(pith_ctx *ctx, const uint8_t *mask, size_t rows, size_t cols, pith_buffer *out) {
    pith_status status = PITH_OK;
    for (size_t r = 0; !status && r < rows; r++) status = repr_put_number(ctx, out, count_set(mask + r * cols, cols));
    if (!status) status = pith_buffer_reserve(ctx, out, 2 * count_set(mask, rows * cols));
    if (status) return status;
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < cols; j++)
            if (mask[r * cols + j]) {
                store16(out->data + out->size, (uint16_t)j);
                out->size += 2;
            }
    return PITH_OK;
}

static pith_status take_csr(pith_ctx *ctx, repr_reader *in, uint8_t *mask, size_t rows, size_t cols) {
    repr_reader counts = *in;
    uint64_t of_row;
    for (size_t r = 0; r < rows; r++)
        if (!repr_take_number(in, cols, &of_row)) return repr_cut_off(ctx);
    memset(mask, 0, rows * cols);
    for (size_t r = 0; r < rows; r++) {
        repr_take_number(&counts, cols, &of_row);
        const uint8_t *p = repr_take(in, 2 * (size_t)of_row);
        if (!p) return repr_cut_off(ctx);
        for (size_t i = 0, next = 0; i < of_row; i++) {
            size_t j = load16(p + 2 * i);
            if (j < next || j >= cols)
                return pith_fail(ctx, PITH_E_FORMAT, "columns of row %zu of a sparse matrix are not in order", r);
            mask[r * cols + j] = 1;
            next = j + 1;
        }
    }
    return PITH_OK;
}

/* Bits of all gaps under each Rice parameter: sums[k] of gap >> k. */
static unsigned best_rice(const uint8_t *mask, size_t n, uint64_t *bits) {
    uint64_t sums[24] = {0}, count = 0;
    for (size_t i = 0, last = 0; i < n; i++) {
        if (!mask[i]) continue;
        size_t gap = i - last;
        for (unsigned k = 0; k < 24; k++) sums[k] += gap >> k;
        last = i + 1;
        count++;
    }
    unsigned best = 0;
    for (unsigned k = 0; k < 24; k++)
        if (sums[k] + count * (1 + k) < sums[best] + count * (1 + best)) best = k;
    *bits = sums[best] + count * (1 + best);
    return best;
}

static pith_status put_gaps(pith_ctx *ctx, const uint8_t *mask, size_t n, unsigned rice, uint64_t bits,
                            pith_buffer *out) {
    uint8_t k = (uint8_t)rice;
    size_t bytes = (size_t)((bits + 7) / 8);
    pith_status status = pith_buffer_append(ctx, out, &k, 1);
    if (!status) status = repr_put_number(ctx, out, count_set(mask, n));
    if (!status) status = repr_put_number(ctx, out, bytes);
    if (!status) status = pith_buffer_reserve(ctx, out, bytes);
    if (status) return status;
    uint8_t *p = out->data + out->size;
    memset(p, 0, bytes);
    size_t at = 0;
    for (size_t i = 0, last = 0; i < n; i++) {
        if (!mask[i]) continue;
        size_t gap = i - last, ones = gap >> rice;
        for (; ones; ones--, at++) p[at / 8] |= (uint8_t)(1u << at % 8);
        at++;
        for (unsigned b = 0; b < rice; b++, at++) p[at / 8] |= (uint8_t)((gap >> b & 1u) << at % 8);
        last = i + 1;
    }
    out->size += bytes;
    return PITH_OK;
}

static pith_status take_gaps(pith_ctx *ctx, repr_reader *in, uint8_t *mask, size_t n) {
    const uint8_t *k = repr_take(in, 1);
    uint64_t count, bytes;
    if (!k || *k >= 24 || !repr_take_number(in, n, &count) || !repr_take_number(in, n, &bytes))
        return repr_cut_off(ctx);
    const uint8_t *p = repr_take(in, (size_t)bytes);
    if (!p) return repr_cut_off(ctx);
    memset(mask, 0, n);
    size_t end = 8 * (size_t)bytes, at = 0, position = 0;
    for (uint64_t i = 0; i < count; i++) {
        size_t gap = 0;
        while (at < end && p[at / 8] >> at % 8 & 1) at++, gap++;
        if (end - at < 1u + *k || gap > n >> *k) return repr_cut_off(ctx);
        at++;
        gap <<= *k;
        for (unsigned b = 0; b < *k; b++, at++) gap |= (size_t)(p[at / 8] >> at % 8 & 1) << b;
        if (gap >= n - position) return pith_fail(ctx, PITH_E_FORMAT, "a position lies outside of a sparse matrix");
        position += gap;
        mask[position++] = 1;
        if (position == n && i + 1 < count) return repr_cut_off(ctx);
    }
    return (end - at) < 8 ? PITH_OK : pith_fail(ctx, PITH_E_FORMAT, "a sparse matrix has more gaps than positions");
}

/* Subsets of `of` with `keep` members, as bits in increasing order; their number. */
static unsigned subsets(unsigned keep, unsigned of, uint8_t *bits, uint8_t *rank) {
    unsigned n = 0;
    for (unsigned b = 0; b < 1u << of; b++)
        if ((unsigned)__builtin_popcount(b) == keep) {
            rank[b] = (uint8_t)n;
            bits[n++] = (uint8_t)b;
        }
    return n;
}

static bool has_pattern(const uint8_t *mask, size_t n, size_t cols, unsigned keep, unsigned of) {
    if (!of || of > 8 || cols % of) return false;
    for (size_t i = 0; i < n; i += of)
        if (count_set(mask + i, of) != keep) return false;
    return true;
}

static pith_status put_pattern(const repr_job *job, const uint8_t *mask, size_t rows, size_t cols, unsigned keep,
                               unsigned of, pith_buffer *out) {
    uint8_t bits[256], rank[256];
    size_t n = rows * cols / of;
    uint16_t *codes = pith_alloc(job->ctx, n * sizeof *codes);
    if (!codes) return pith_alloc_status(job->ctx);
    for (size_t i = 0; i < n; i++) codes[i] = 0;
    uint8_t head[2] = {(uint8_t)keep, (uint8_t)of};
    pith_status status = pith_buffer_append(job->ctx, out, head, 2);
    unsigned alphabet = subsets(keep, of, bits, rank);
    for (size_t i = 0; i < n; i++) {
        unsigned b = 0;
        for (unsigned k = 0; k < of; k++) b |= (unsigned)mask[i * of + k] << k;
        codes[i] = rank[b];
    }
    repr_plane plane = {codes, n, cols / of, alphabet};
    if (!status && alphabet > 1) status = repr_pack(job, &plane, out);
    pith_free(job->ctx, codes);
    return status;
}

static pith_status take_pattern(const repr_job *job, repr_reader *in, uint8_t *mask, size_t rows, size_t cols) {
    pith_ctx *ctx = job->ctx;
    const uint8_t *head = repr_take(in, 2);
    if (!head) return repr_cut_off(ctx);
    unsigned keep = head[0], of = head[1];
    if (of < 1 || of > 8 || keep > of || cols % of)
        return pith_fail(ctx, PITH_E_FORMAT, "a matrix of %zu columns cannot keep %u of every %u", cols, keep, of);
    uint8_t bits[256], rank[256];
    unsigned alphabet = subsets(keep, of, bits, rank);
    size_t n = rows * cols / of;
    uint16_t *codes = pith_alloc(ctx, n * sizeof *codes);
    if (!codes) return pith_alloc_status(ctx);
    pith_status status = scalar_take_plane(job, in, codes, n, cols / of, alphabet);
    for (size_t i = 0; !status && i < n; i++)
        for (unsigned k = 0; k < of; k++) mask[i * of + k] = bits[codes[i]] >> k & 1;
    pith_free(ctx, codes);
    return status;
}

/* ---- either way ------------------------------------------------------------------------------------ */

static pith_status put_as(const repr_job *job, const uint8_t *mask, size_t rows, size_t cols, sparse_format format,
                          unsigned keep, unsigned of, pith_buffer *out) {
    uint8_t head = (uint8_t)format;
    pith_status status = pith_buffer_append(job->ctx, out, &head, 1);
    if (status) return status;
    uint64_t bits;
    switch (format) {
    case SPARSE_CSR: return put_csr(job->ctx, mask, rows, cols, out);
    case SPARSE_GAPS: {
        unsigned rice = best_rice(mask, rows * cols, &bits);
        return put_gaps(job->ctx, mask, rows * cols, rice, bits, out);
    }
    case SPARSE_PATTERN: return put_pattern(job, mask, rows, cols, keep, of, out);
    case SPARSE_AUTO:
    case SPARSE_BITMAP: break;
    }
    return put_bitmap(job, mask, rows, cols, out);
}

static bool fits(const uint8_t *mask, size_t rows, size_t cols, sparse_format format, unsigned keep, unsigned of) {
    size_t n = rows * cols;
    uint64_t bits;
    if (format == SPARSE_CSR) return cols <= 65536;
    if (format == SPARSE_PATTERN) return has_pattern(mask, n, cols, keep, of);
    /* A reader expects gaps to take no more than a byte for each element. */
    if (format == SPARSE_GAPS) return best_rice(mask, n, &bits), bits / 8 < n;
    return true;
}

pith_status sparse_put_mask(const repr_job *job, const uint8_t *mask, size_t rows, size_t cols, sparse_format format,
                            unsigned keep, unsigned of, pith_buffer *out) {
    if (format != SPARSE_AUTO)
        return put_as(job, mask, rows, cols, fits(mask, rows, cols, format, keep, of) ? format : SPARSE_BITMAP, keep,
                      of, out);
    pith_buffer best = {0}, tried = {0};
    pith_status status = put_as(job, mask, rows, cols, SPARSE_BITMAP, keep, of, &best);
    static const sparse_format others[] = {SPARSE_CSR, SPARSE_GAPS, SPARSE_PATTERN};
    for (size_t i = 0; !status && i < PITH_COUNT(others); i++) {
        if (!fits(mask, rows, cols, others[i], keep, of)) continue;
        tried.size = 0;
        status = put_as(job, mask, rows, cols, others[i], keep, of, &tried);
        if (status || tried.size >= best.size) continue;
        pith_buffer swap = best;
        best = tried;
        tried = swap;
    }
    if (!status) status = pith_buffer_append(job->ctx, out, best.data, best.size);
    pith_buffer_free(job->ctx, &best);
    pith_buffer_free(job->ctx, &tried);
    return status;
}

pith_status sparse_put_columns(const repr_job *job, const scalar_halves *unit, const uint8_t *mask, const uint16_t *value,
                               size_t rows, size_t cols, sparse_format format, unsigned keep, unsigned of,
                               pith_buffer *out) {
    pith_ctx *ctx = job->ctx;
    size_t n = 0, count = 0;
    for (size_t i = 0; i < rows * cols; i++) n += mask[i] != 0;
    uint8_t *by_rows = pith_alloc(ctx, rows * cols);
    uint16_t *kept = pith_alloc(ctx, (n + 1) * sizeof *kept);
    pith_status status = by_rows && kept ? PITH_OK : pith_alloc_status(ctx);
    for (size_t r = 0; !status && r < rows; r++)
        for (size_t j = 0; j < cols; j++) {
            by_rows[r * cols + j] = mask[j * rows + r];
            if (mask[j * rows + r]) kept[count++] = value[j * rows + r];
        }
    if (!status) status = scalar_halves_put(ctx, unit, out);
    if (!status) status = sparse_put_mask(job, by_rows, rows, cols, format, keep, of, out);
    if (!status) status = scalar_put_shorts(ctx, kept, count, out);
    pith_free(ctx, by_rows);
    pith_free(ctx, kept);
    return status;
}

pith_status sparse_take_mask(const repr_job *job, repr_reader *in, size_t rows, size_t cols, uint8_t *mask,
                             size_t *count) {
    const uint8_t *head = repr_take(in, 1);
    if (!head) return repr_cut_off(job->ctx);
    pith_status status;
    switch (*head) {
    case SPARSE_BITMAP: status = take_bitmap(job, in, mask, rows, cols); break;
    case SPARSE_CSR: status = take_csr(job->ctx, in, mask, rows, cols); break;
    case SPARSE_GAPS: status = take_gaps(job->ctx, in, mask, rows * cols); break;
    case SPARSE_PATTERN: status = take_pattern(job, in, mask, rows, cols); break;
    default: return pith_fail(job->ctx, PITH_E_FORMAT, "positions of a sparse matrix have the unknown form %u", *head);
    }
    if (!status) *count = count_set(mask, rows * cols);
    return status;
}
