# One interface target, pith_flags, with every compile option of the project.
#
# Decoders must give the same bytes on every machine, so contraction of a*b+c is off and
# the fast-math family stays off whatever the environment's CFLAGS say.

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # for the POSIX and GNU declarations of libc
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})

add_library(pith_flags INTERFACE)
target_include_directories(pith_flags INTERFACE
    ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
target_compile_definitions(pith_flags INTERFACE _FILE_OFFSET_BITS=64 $<$<NOT:$<BOOL:${PITH_X86}>>:PITH_NO_X86>)
target_compile_options(pith_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wvla
    -ffp-contract=off -fno-fast-math
    # No machine path may reach the binaries (gcov alone needs them).
    $<$<NOT:$<BOOL:${PITH_COVERAGE}>>:-ffile-prefix-map=${PROJECT_SOURCE_DIR}=.>
    # Where .incbin looks.
    "-Wa,-I${PROJECT_SOURCE_DIR}/models")
if(PITH_WERROR)
    target_compile_options(pith_flags INTERFACE -Werror)
endif()
if(PITH_SANITIZE)
    set(sanitize_flags -fsanitize=${PITH_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
        # Where every variable is at every instruction: for the checked wide loops gcc takes longer over that than over
        # all else. A report's lines are right without.
        list(APPEND sanitize_flags -fno-var-tracking-assignments)
    endif()
    target_compile_options(pith_flags INTERFACE ${sanitize_flags})
    target_link_options(pith_flags INTERFACE ${sanitize_flags})
endif()
if(PITH_COVERAGE)
    target_compile_options(pith_flags INTERFACE --coverage -fprofile-update=atomic)
    target_link_options(pith_flags INTERFACE --coverage)
endif()
if(PITH_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "PITH_FUZZ needs clang: cmake --preset fuzz (Debian packages clang, libclang-rt-dev)")
    endif()
    target_compile_options(pith_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# SIMD files carry their instruction set in their name; everything else is portable C.
set(pith_avx2_flags -mavx2 -mfma -mbmi2 -mf16c)
set(pith_avx512_flags ${pith_avx2_flags} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
