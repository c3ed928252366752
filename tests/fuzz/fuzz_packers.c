/* Bytes as a packed plane, for every packer: refused with a message, or codes of the alphabet. Or as codes, which must
 * come back.
 *
 * Byte 0: packer, bit 7 set for codes; bytes 1 and 2: number of codes; byte 3: of a row; bytes 4 and 5: alphabet less
 * one; then the packed plane, or codes of two bytes. */
#include "kernels/represent/represent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 6, CODES_MOST = 8192 };

static uint16_t codes[CODES_MOST], back[CODES_MOST];

static void decode(const repr_job *job, const repr_ops *ops, const uint8_t *data, size_t size, size_t n, size_t row,
                   uint32_t alphabet) {
    repr_reader in = {data, data + size};
    if (ops->unpack(job, &in, codes, n, row, alphabet)) {
        if (!pith_error(job->ctx)[0]) abort();
        return;
    }
    if (in.p < data || in.p > data + size) abort();
    for (size_t i = 0; i < n; i++)
        if (codes[i] >= alphabet) abort();
}

static void round_trip(const repr_job *job, const repr_ops *ops, const uint8_t *data, size_t n, size_t row,
                       uint32_t alphabet) {
    for (size_t i = 0; i < n; i++) codes[i] = (uint16_t)(load16(data + 2 * i) % alphabet);
    repr_plane plane = {codes, n, row, alphabet};
    pith_buffer out = {0};
    pith_status status = ops->pack(job, &plane, &out);
    if (status && status != PITH_E_ARGUMENT) abort();
    if (!status) {
        static const uint8_t none;
        const uint8_t *code = out.size ? out.data : &none;
        repr_reader in = {code, code + out.size};
        if (ops->unpack(job, &in, back, n, row, alphabet)) abort();
        if (in.p != in.end || memcmp(codes, back, n * sizeof *codes) != 0) abort();
    }
    pith_buffer_free(job->ctx, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEAD) return 0;
    const pith_stage *stage = represent_packers;
    for (unsigned i = data[0] & 0x7F; i > 0 && stage->name; i--) stage++;
    if (!stage->name) return 0;
    size_t n = load16(data + 1) % (CODES_MOST + 1), row = data[3] ? data[3] : n;
    uint32_t alphabet = load16(data + 4) + 1u;
    pith_recipe_stage args = {.stage = stage};
    for (unsigned i = 0; i < stage->n_params; i++) args.value[i] = stage->params[i].def;
    repr_stats stats = {0};
    repr_job job = {.ctx = pith_ctx_new(NULL), .args = &args, .stats = &stats};
    if (!job.ctx) abort();
    if (data[0] & 0x80)
        round_trip(&job, stage->impl, data + HEAD, PITH_MIN(n, (size - HEAD) / 2), row, alphabet);
    else
        decode(&job, stage->impl, data + HEAD, size - HEAD, n, row, alphabet);
    pith_ctx_free(job.ctx);
    return 0;
}
