/* A text to measure with when none is given: the end of models/prime/english.txt,
 * fiction written for this project. */
#include "lm/ruler/ruler.h"

__asm__(".pushsection .rodata\n"
        "ruler_prose_begin:\n.incbin \"prime/english.txt\", 144163\n"
        "ruler_prose_end:\n.byte 0\n"
        ".popsection\n");
extern const uint8_t ruler_prose_begin[] __attribute__((visibility("hidden")));
extern const uint8_t ruler_prose_end[] __attribute__((visibility("hidden")));

const char *ruler_prose(size_t *size) {
    *size = (size_t)(ruler_prose_end - ruler_prose_begin);
    return (const char *)ruler_prose_begin;
}
