# What pith takes from elsewhere. A missing library is named with its Debian package.

find_package(Threads REQUIRED)
find_package(PkgConfig)
if(NOT PkgConfig_FOUND)
    message(FATAL_ERROR "pkg-config not found: install the Debian package pkg-config (or run scripts/setup)")
endif()

function(pith_need module package)
    pkg_check_modules(DEP_${module} IMPORTED_TARGET GLOBAL ${module})
    if(NOT DEP_${module}_FOUND)
        message(FATAL_ERROR "library ${module} not found: install the Debian package ${package} (or run scripts/setup)")
    endif()
endfunction()

pith_need(libzstd libzstd-dev)
pith_need(liblzma liblzma-dev)
pith_need(libxxhash libxxhash-dev)
pith_need(jansson libjansson-dev)
pith_need(libpcre2-8 libpcre2-dev)
pith_need(libutf8proc libutf8proc-dev)
pith_need(sqlite3 libsqlite3-dev)
set(pith_requires libzstd liblzma libxxhash jansson libpcre2-8 libutf8proc)
# by its name: Debian's sqlite3.pc also asks for zlib, which its library does without and its package does not bring
set(pith_libs_private "-lsqlite3 -pthread -lm")

# Some systems ship libdivsufsort without its .pc file.
pkg_check_modules(DEP_libdivsufsort QUIET IMPORTED_TARGET GLOBAL libdivsufsort)
if(DEP_libdivsufsort_FOUND)
    list(APPEND pith_requires libdivsufsort)
    set(divsufsort PkgConfig::DEP_libdivsufsort)
else()
    find_path(DIVSUFSORT_INCLUDE divsufsort.h)
    find_library(DIVSUFSORT_LIBRARY divsufsort)
    if(NOT DIVSUFSORT_INCLUDE OR NOT DIVSUFSORT_LIBRARY)
        message(FATAL_ERROR "library libdivsufsort not found: install the Debian package libdivsufsort-dev (or run scripts/setup)")
    endif()
    add_library(pith_divsufsort INTERFACE)
    target_include_directories(pith_divsufsort INTERFACE ${DIVSUFSORT_INCLUDE})
    target_link_libraries(pith_divsufsort INTERFACE ${DIVSUFSORT_LIBRARY})
    set(divsufsort pith_divsufsort)
    string(APPEND pith_libs_private " -ldivsufsort")
endif()

# Everything the library itself links to.
add_library(pith_deps INTERFACE)
target_link_libraries(pith_deps INTERFACE
    PkgConfig::DEP_libzstd PkgConfig::DEP_liblzma PkgConfig::DEP_libxxhash PkgConfig::DEP_jansson
    PkgConfig::DEP_libpcre2-8 PkgConfig::DEP_libutf8proc PkgConfig::DEP_sqlite3 ${divsufsort} Threads::Threads m)
