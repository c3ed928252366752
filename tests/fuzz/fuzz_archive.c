/* Bytes as an archive for random access: the map is made, blocks are described and a range is
 * read. What both the map and the streaming decoder accept must have the same size. */
#include "base/base.h"
#include "pith/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    pith_ctx *ctx = pith_ctx_new(NULL);
    if (!ctx) abort();
    pith_ctx_set_memory(ctx, (uint64_t)256 << 20);
    pith_ctx_set_threads(ctx, 1);
    pith_decode_options o;
    pith_decode_options_init(&o);
    o.max_seconds = 0.5;
    o.max_content_size = (uint64_t)64 << 20;
    uint64_t offset = (uint64_t)data[0] * data[0] * data[0], streamed;
    pith_archive *a;
    if (pith_archive_open_memory(ctx, &o, data + 2, size - 2, &a) == PITH_OK) {
        pith_archive_info info;
        pith_archive_info_get(a, &info);
        for (uint64_t i = 0; i < PITH_MIN(info.n_blocks, 8); i++) {
            pith_block_info b;
            if (pith_archive_block(a, i, &b) == PITH_OK && b.content_offset + b.content_size > info.content_size)
                abort();
        }
        for (uint64_t i = 0; i < PITH_MIN(info.n_frames, 8); i++) {
            pith_frame_info f;
            if (pith_archive_frame(a, i, &f) != PITH_OK || f.offset + f.size > info.archive_size) abort();
        }
        uint8_t part[4096];
        size_t got;
        pith_status status = pith_archive_read(a, offset, part, (size_t)data[1] * 16, &got);
        if (!status && got > sizeof part) abort();
        pith_archive_close(a);
        if (pith_file_test(ctx, &o, data + 2, size - 2, &streamed) == PITH_OK && streamed != info.content_size) abort();
    }
    if (pith_memory_used(ctx) != 0) abort();
    pith_ctx_free(ctx);
    return 0;
}
