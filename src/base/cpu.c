/* What this processor can do, asked once. */
#include <unistd.h>

#include "base/base.h"

static pith_cpu_level detect(void) {
    pith_cpu_level level = PITH_CPU_SCALAR;
#if (defined(__x86_64__) || defined(__i386__)) && !defined(PITH_NO_X86)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        level = PITH_CPU_AVX2;
    if (level == PITH_CPU_AVX2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        level = PITH_CPU_AVX512;
#endif
    const char *wish = getenv("PITH_CPU");
    if (wish && !strcmp(wish, "scalar")) level = PITH_CPU_SCALAR;
    if (wish && !strcmp(wish, "avx2")) level = PITH_MIN(level, PITH_CPU_AVX2);
    return level;
}

pith_cpu_level pith_cpu_best(void) {
    static _Atomic int known; /* level + 1; two threads asking at once find the same */
    int level = known;
    if (!level) known = level = (int)detect() + 1;
    return (pith_cpu_level)(level - 1);
}

const char *pith_cpu(void) {
    static const char *const names[] = {"scalar", "avx2", "avx512"};
    return names[pith_cpu_best()];
}

unsigned pith_cpu_count(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1u : (unsigned)PITH_MIN(n, 256L);
}
