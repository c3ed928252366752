/* Chooses the exact kernels once, by processor. */
#include "math/exact.h"

#include "base/base.h"

const exact_ops *exact(void) { return exact_for((int)pith_cpu_best()); }

const exact_ops *exact_for(int cpu_level) {
#ifdef EXACT_HAS_FOUR
    if (cpu_level == PITH_CPU_SCALAR) return &exact_four;
#else
    if (cpu_level == PITH_CPU_SCALAR) return &exact_scalar;
#endif
#ifdef EXACT_HAS_X86
    if ((cpu_level == PITH_CPU_AVX2 || cpu_level == PITH_CPU_AVX512) && cpu_level <= (int)pith_cpu_best())
        return cpu_level == PITH_CPU_AVX2 ? &exact_avx2 : &exact_avx512;
#endif
    return NULL;
}
