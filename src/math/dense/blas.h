/* OpenBLAS as it is found at run time. Private to dense/. */
#ifndef MATH_DENSE_BLAS_H
#define MATH_DENSE_BLAS_H

#include <stddef.h>

/* CBLAS's numbers. */
#define BLAS_ROWS 101
#define BLAS_PLAIN 111
#define BLAS_TRANSPOSED 112
#define BLAS_LEFT 141
#define BLAS_LOWER 122
#define BLAS_NOT_UNIT 131

/* CBLAS takes rows; LAPACK, by Fortran's rules, columns: a row-major lower triangle is its "U". The sizes at the end of
 * LAPACK calls are the lengths of their strings, which Fortran compilers pass out of sight. */
typedef struct blas {
    void (*sgemm)(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b,
                  int ldb, float beta, float *c, int ldc);
    void (*dgemm)(int order, int ta, int tb, int m, int n, int k, double alpha, const double *a, int lda,
                  const double *b, int ldb, double beta, double *c, int ldc);
    void (*dtrsm)(int order, int side, int triangle, int ta, int diagonal, int m, int n, double alpha, const double *a,
                  int lda, double *b, int ldb);
    void (*spotrf)(const char *triangle, const int *n, float *a, const int *lda, int *info, size_t);
    void (*dpotrf)(const char *triangle, const int *n, double *a, const int *lda, int *info, size_t);
    void (*strtri)(const char *triangle, const char *diagonal, const int *n, float *a, const int *lda, int *info,
                   size_t, size_t);
    void (*dtrtri)(const char *triangle, const char *diagonal, const int *n, double *a, const int *lda, int *info,
                   size_t, size_t);
    void (*ssyevd)(const char *job, const char *triangle, const int *n, float *a, const int *lda, float *values,
                   float *work, const int *n_work, int *iwork, const int *n_iwork, int *info, size_t, size_t);
    void (*dsyevd)(const char *job, const char *triangle, const int *n, double *a, const int *lda, double *values,
                   double *work, const int *n_work, int *iwork, const int *n_iwork, int *info, size_t, size_t);
    void (*sgesdd)(const char *job, const int *m, const int *n, float *a, const int *lda, float *s, float *u,
                   const int *ldu, float *vt, const int *ldvt, float *work, const int *n_work, int *iwork, int *info,
                   size_t);
} blas;

/* The library, looked for at the first call; NULL when there is none or plain C is asked for. */
const blas *blas_open(void);

#endif
