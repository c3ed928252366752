/* Bytes as a context-mixing stream, for the block codec and for the coder under it; or as raw
 * bytes that must come back.
 *
 * byte 0: bit 0 size of the model, bits 1..2 primer argument, bit 3 state-space model (large
 * only), bit 4 the coder itself instead of the block codec, bit 7 raw bytes that come back.
 * Bytes 1..2: record width for the coder itself. Bytes 3..4: raw size, modulo 4097. Then the
 * stream, which for the block codec begins with its own head. */
#include "artefacts/file/block.h"
#include "artefacts/file/primer.h"
#include "kernels/predict/predict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 5, RAW_MAX = 4096, RAW_MAX_SSM = 48, SSM_WIDTH = 16, PRIMER_MAX = 300 };

static void check(pith_ctx *ctx, pith_status status, uint64_t memory) {
    if ((status != PITH_OK) != (pith_error(ctx)[0] != 0)) abort(); /* a failure says what it is */
    if (status != PITH_OK && status != PITH_E_FORMAT) abort();
    if (pith_memory_peak(ctx) > memory || pith_memory_used(ctx) != 0) abort();
}

/* The built-in texts take seconds to learn: a stream that names one is passed over, and a block
 * that is coded is not offered any. The coder below learns little ones. */
static void block(pith_ctx *ctx, uint8_t flags, const uint8_t *src, size_t n, uint8_t *raw, size_t raw_n) {
    bool coding = flags & 0x80;
    const file_args args = {3, {flags & 1, coding ? 0 : (flags >> 1 & 3) % 3, flags & 8 && flags & 1 ? SSM_WIDTH : 0}};
    if (file_codec_cm.check(ctx, &args)) abort();
    if (!coding && n && src[0] != PRIMER_NONE && src[0] < PRIMER_COUNT) return;
    if (!coding) {
        check(ctx, file_codec_cm.decode(ctx, &args, src, n, raw, raw_n), file_codec_cm.memory(&args, raw_n, true));
        return;
    }
    uint8_t coded[RAW_MAX * 5 / 4 + 64];
    size_t coded_n;
    pith_status status = file_codec_cm.encode(ctx, &args, src, raw_n, coded, sizeof coded, &coded_n);
    if (status || coded_n > sizeof coded) abort();
    status = file_codec_cm.decode(ctx, &args, coded, coded_n, raw, raw_n);
    if (status || memcmp(raw, src, raw_n) != 0) abort();
    check(ctx, status, file_codec_cm.memory(&args, raw_n, true));
}

static void coder(pith_ctx *ctx, uint8_t flags, unsigned record, const uint8_t *src, size_t n, uint8_t *raw,
                  size_t raw_n) {
    size_t most;
    if (record == 1) { /* makes no sense, and is said so */
        cm_params one = {.record = 1};
        if (cm_decode(ctx, &one, src, n, raw, raw_n) != PITH_E_ARGUMENT) abort();
        return;
    }
    cm_params p = {.inputs = flags & 1 ? CM_LARGE : CM_SMALL, .record = record};
    p.ssm_width = flags & 8 && flags & 1 ? SSM_WIDTH : 0;
    p.primer = primer_text(PRIMER_LOG, &most);
    p.primer_n = (flags >> 1 & 3) * PRIMER_MAX / 3;
    if (!(flags & 0x80)) {
        check(ctx, cm_decode(ctx, &p, src, n, raw, raw_n), cm_memory(&p, raw_n));
        return;
    }
    uint8_t coded[RAW_MAX * 5 / 4 + 64];
    size_t coded_n;
    if (cm_encode(ctx, &p, src, raw_n, coded, sizeof coded, &coded_n) || coded_n > sizeof coded) abort();
    pith_status status = cm_decode(ctx, &p, coded, coded_n, raw, raw_n);
    if (status || memcmp(raw, src, raw_n) != 0) abort();
    check(ctx, status, cm_memory(&p, raw_n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < HEAD) return 0;
    uint8_t flags = data[0];
    size_t most = flags & 8 && flags & 1 ? RAW_MAX_SSM : RAW_MAX;
    size_t raw_n = flags & 0x80 ? PITH_MIN(size - HEAD, most) : load16(data + 3) % (most + 1);
    pith_ctx *ctx = pith_ctx_new(NULL);
    uint8_t *raw = malloc(raw_n ? raw_n : 1);
    if (!ctx || !raw) abort();
    if (flags & 16)
        coder(ctx, flags, load16(data + 1), data + HEAD, size - HEAD, raw, raw_n);
    else
        block(ctx, flags, data + HEAD, size - HEAD, raw, raw_n);
    free(raw);
    pith_ctx_free(ctx);
    return 0;
}
