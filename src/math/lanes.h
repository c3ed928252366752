/* What the headers of virtual vectors share. */
#ifndef MATH_LANES_H
#define MATH_LANES_H

#define LANE static inline __attribute__((always_inline))

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

#endif
