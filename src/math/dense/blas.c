/* The wall before OpenBLAS: found at run time, so that pith neither needs it nor loads it for what needs no algebra.
 *
 * Two things must be in the environment before it is loaded. One thread per call: threads are the caller's, who has
 * more than one product to do. And its kernels: releases to 0.3.21 (Debian 12) take some AVX-512 processors younger
 * than themselves for Haswell, and run at half speed unless OPENBLAS_CORETYPE names SkylakeX, whose kernels run on all
 * AVX-512 machines. What the user has set stays; what is set here goes again, for there may be others in the process.
 * setenv() is no friend of getenv() in other threads, so it happens once, and only in processes that do algebra and
 * have not loaded OpenBLAS themselves. */
#include "math/dense/blas.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "math/dense/dense.h"

static blas library;
static bool library_is_there;
static atomic_bool plain;
static char library_name[96];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool find_all(void *handle) {
    const struct {
        const char *name;
        void *where; /* a pointer to a function */
    } wanted[] = {
        {"cblas_sgemm", &library.sgemm}, {"cblas_dtrsm", &library.dtrsm}, {"spotrf_", &library.spotrf},
        {"dpotrf_", &library.dpotrf},    {"strtri_", &library.strtri},    {"dtrtri_", &library.dtrtri},
        {"ssyevd_", &library.ssyevd},    {"dsyevd_", &library.dsyevd},    {"sgesdd_", &library.sgesdd},
        {"cblas_dgemm", &library.dgemm},
    };
    for (size_t i = 0; i < PITH_COUNT(wanted); i++) {
        void *found = dlsym(handle, wanted[i].name);
        if (!found) return false;
        memcpy(wanted[i].where, &found, sizeof found);
    }
    return true;
}

/* "OpenBLAS 0.3.21 SkylakeX": get_config begins with name and version. */
static void describe(void *handle) {
    typedef char *(*text_fn)(void);
    text_fn config = (text_fn)dlsym(handle, "openblas_get_config"),
            core = (text_fn)dlsym(handle, "openblas_get_corename");
    const char *text = config ? config() : "OpenBLAS", *rest = text;
    for (int words = 0; *rest && !(*rest == ' ' && ++words == 2);) rest++;
    snprintf(library_name, sizeof library_name, "%.*s%s%s", (int)PITH_MIN(rest - text, 40), text, core ? " " : "",
             core ? core() : "");
}

static bool set_if_unset(const char *name, const char *value) { return !getenv(name) && setenv(name, value, 0) == 0; }

static void find_library(void) {
    static const char *const names[] = {"libopenblas.so.0", "libopenblas.so"};
    const char *wish = getenv("PITH_BLAS");
    if (wish && strcmp(wish, "plain") == 0) return;
    for (size_t i = 0; i < PITH_COUNT(names) && !library_is_there; i++) {
        void *handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
        bool ours = !handle;
        if (ours) {
            bool threads = set_if_unset("OPENBLAS_NUM_THREADS", "1"),
                 core = pith_cpu_best() == PITH_CPU_AVX512 && set_if_unset("OPENBLAS_CORETYPE", "SkylakeX");
            handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
            if (core) unsetenv("OPENBLAS_CORETYPE");
            if (threads) unsetenv("OPENBLAS_NUM_THREADS");
        }
        if (!handle) continue;
        if (!find_all(handle)) {
            dlclose(handle);
            continue;
        }
        void (*set_threads)(int) = (void (*)(int))dlsym(handle, "openblas_set_num_threads");
        if (ours && set_threads) set_threads(1); /* whatever the environment said */
        describe(handle);
        library_is_there = true;
    }
}

const blas *blas_open(void) {
    pthread_once(&once, find_library);
    return library_is_there && !atomic_load_explicit(&plain, memory_order_relaxed) ? &library : NULL;
}

const char *dense_backend(void) { return blas_open() ? library_name : "plain C"; }

void dense_use_plain(bool on) { atomic_store(&plain, on); }
