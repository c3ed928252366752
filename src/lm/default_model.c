/* The built-in model (models/pith-mini.f16.gguf, its card beside it). */
#include "lm/model.h"

__asm__(".pushsection .rodata\n"
        ".balign 64\n"
        "pith_mini:\n.incbin \"pith-mini.f16.gguf\"\n"
        "pith_mini_end:\n.byte 0\n"
        ".popsection\n");
extern const uint8_t pith_mini[] __attribute__((visibility("hidden")));
extern const uint8_t pith_mini_end[] __attribute__((visibility("hidden")));

const uint8_t *default_model(size_t *size) {
    *size = (size_t)(pith_mini_end - pith_mini);
    return pith_mini;
}

void lm_default_hash(uint8_t hash[16]) {
    size_t size;
    const uint8_t *data = default_model(&size);
    tensor_bytes_hash(data, size, hash);
}
