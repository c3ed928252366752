/* The tables of exact kernels, one for each instruction set; private to math. */
#ifndef MATH_EXACT_H
#define MATH_EXACT_H

#include "math/math.h"

extern const exact_ops exact_scalar; /* what the others are measured against, and for compilers without vectors */
#if defined(__GNUC__)
#define EXACT_HAS_FOUR 1
extern const exact_ops exact_four;
#endif
#if defined(__x86_64__) && !defined(PITH_NO_X86)
#define EXACT_HAS_X86 1
extern const exact_ops exact_avx2;
extern const exact_ops exact_avx512;
#endif

#endif
