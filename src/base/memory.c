/* Memory counted against the session's limit. Every block carries a 64-byte head with its
 * size; big zeroed blocks are anonymous pages, so an untouched table costs nothing. */
#include <sys/mman.h>

#include "base/ctx.h"

#define HEAD 64
#define PAGES_FROM ((size_t)1 << 20)

typedef struct head {
    size_t size;  /* bytes counted */
    void *block;  /* what the allocator gave */
    bool pages;
} head;
_Static_assert(sizeof(head) <= HEAD, "the head fits its place");

static _Thread_local pith_status last_failure;

pith_status pith_alloc_status(const pith_ctx *ctx) {
    (void)ctx;
    return last_failure == PITH_OK ? PITH_E_MEMORY : last_failure;
}

static bool account(pith_ctx *ctx, size_t size) {
    uint64_t used = atomic_load(&ctx->memory_used);
    do {
        if (size > ctx->memory_limit || used > ctx->memory_limit - size) {
            last_failure = pith_fail(ctx, PITH_E_LIMIT, "%llu more bytes would pass the memory limit of %llu bytes",
                                     (unsigned long long)size, (unsigned long long)ctx->memory_limit);
            return false;
        }
    } while (!atomic_compare_exchange_weak(&ctx->memory_used, &used, used + size));
    uint64_t now = used + size, peak = atomic_load(&ctx->memory_peak);
    while (now > peak && !atomic_compare_exchange_weak(&ctx->memory_peak, &peak, now)) {
    }
    return true;
}

static void *place(void *block, uint8_t *at, size_t size, bool pages) {
    head *h = (head *)(void *)at;
    *h = (head){size, block, pages};
    return at + HEAD;
}

static void *out_of_memory(pith_ctx *ctx, size_t size) {
    atomic_fetch_sub(&ctx->memory_used, size);
    last_failure = pith_fail(ctx, PITH_E_MEMORY, "no memory for %llu bytes", (unsigned long long)size);
    return NULL;
}

void *pith_alloc(pith_ctx *ctx, size_t size) {
    if (size > SIZE_MAX - 2 * HEAD) size = SIZE_MAX - 2 * HEAD;
    if (!account(ctx, size)) return NULL;
    uint8_t *block = ctx->allocator.alloc(ctx->allocator.opaque, size + 2 * HEAD);
    if (!block) return out_of_memory(ctx, size);
    uintptr_t slack = (uintptr_t)block % HEAD;
    return place(block, block + (slack ? HEAD - slack : 0), size, false);
}

void *pith_zalloc(pith_ctx *ctx, size_t size) {
    if (size < PAGES_FROM || ctx->own_allocator) {
        void *ptr = pith_alloc(ctx, size);
        if (ptr) memset(ptr, 0, size);
        return ptr;
    }
    if (size > SIZE_MAX - HEAD) size = SIZE_MAX - HEAD;
    if (!account(ctx, size)) return NULL;
    uint8_t *block = mmap(NULL, size + HEAD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return out_of_memory(ctx, size);
#ifdef MADV_HUGEPAGE
    /* random access to big tables is bound by address translation: fewer, larger pages */
    madvise(block, size + HEAD, MADV_HUGEPAGE);
#endif
    return place(block, block, size, true);
}

void pith_free(pith_ctx *ctx, void *ptr) {
    if (!ptr) return;
    const head *h = (const head *)(const void *)((uint8_t *)ptr - HEAD);
    void *block = h->block;
    size_t size = h->size;
    atomic_fetch_sub(&ctx->memory_used, size);
    if (h->pages)
        munmap(block, size + HEAD);
    else
        ctx->allocator.free(ctx->allocator.opaque, block);
}

uint64_t pith_memory_used(const pith_ctx *ctx) { return atomic_load(&ctx->memory_used); }

uint64_t pith_memory_peak(const pith_ctx *ctx) { return atomic_load(&ctx->memory_peak); }

pith_status pith_buffer_reserve(pith_ctx *ctx, pith_buffer *b, size_t more) {
    if (b->capacity - b->size >= more) return PITH_OK;
    if (more > SIZE_MAX / 2 - b->size) return pith_fail(ctx, PITH_E_LIMIT, "a buffer would grow past the address space");
    size_t capacity = PITH_MAX(b->size + more, b->capacity + b->capacity / 2);
    uint8_t *data = pith_alloc(ctx, capacity);
    if (!data) return pith_alloc_status(ctx);
    if (b->size) memcpy(data, b->data, b->size);
    pith_free(ctx, b->data);
    b->data = data;
    b->capacity = capacity;
    return PITH_OK;
}

pith_status pith_buffer_append(pith_ctx *ctx, pith_buffer *b, const void *data, size_t size) {
    pith_status status = pith_buffer_reserve(ctx, b, size);
    if (status) return status;
    if (size) memcpy(b->data + b->size, data, size);
    b->size += size;
    return PITH_OK;
}

void pith_buffer_free(pith_ctx *ctx, pith_buffer *b) {
    pith_free(ctx, b->data);
    *b = (pith_buffer){0};
}
