# Targets:
#   pith_objects   every source of the library, compiled once
#   pith_internal  the same as an archive with all its symbols in reach: the command, tests, fuzzers
#   pith_shared    the shared library, pith_* only (src/libpith.map)
#   pith_static    the static library, private names made local
#   pith_command   the command, build/pith

file(GLOB_RECURSE pith_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*.c)
file(GLOB_RECURSE pith_cli_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/faces/cli/*.c)
list(FILTER pith_sources EXCLUDE REGEX "/src/faces/")
file(GLOB_RECURSE pith_models CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/models/*)

foreach(source IN LISTS pith_sources)
    if(source MATCHES "_avx(2|512)\\.c$")
        if(PITH_X86)
            set(options ${pith_avx${CMAKE_MATCH_1}_flags})
            # Products see only what the validators of formats/ have let through, and take a minute each to
            # build for a fuzzer; the sanitizer build of the tests has them instrumented.
            if(PITH_FUZZ AND source MATCHES "/lm/matmul/")
                list(APPEND options -fno-sanitize=all)
            elseif(PITH_SANITIZE AND source MATCHES "/(predict/cm_|represent/adaptive_|lm/matmul/rows)")
                # Addresses are watched. Undefined behaviour as well would take a third of the whole build's time;
                # it is watched in the scalar variants, which are the same text.
                list(APPEND options -fno-sanitize=undefined)
            endif()
            if(PITH_SANITIZE AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
                # gcc keeps locals that may be used after return in frames aligned to 32 bytes, whatever they need.
                list(APPEND options --param=asan-use-after-return=0)
            endif()
            set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${options}")
        else()
            list(REMOVE_ITEM pith_sources ${source})
        endif()
    endif()
    # A file that embeds a model is compiled again when the model changes.
    file(STRINGS ${source} embeds REGEX "\\.incbin" LIMIT_COUNT 1)
    if(embeds)
        set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS "${pith_models}")
    endif()
endforeach()

add_library(pith_objects OBJECT ${pith_sources})
target_link_libraries(pith_objects PRIVATE pith_flags pith_deps)

add_library(pith_internal STATIC $<TARGET_OBJECTS:pith_objects>)
target_link_libraries(pith_internal PUBLIC pith_flags pith_deps)
set_target_properties(pith_internal PROPERTIES ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/internal)

set(pith_map ${PROJECT_SOURCE_DIR}/src/libpith.map)
add_library(pith_shared SHARED $<TARGET_OBJECTS:pith_objects>)
target_link_libraries(pith_shared PRIVATE pith_flags pith_deps)
target_link_options(pith_shared PRIVATE -Wl,--version-script=${pith_map} -Wl,--as-needed)
set_target_properties(pith_shared PROPERTIES
    OUTPUT_NAME pith
    EXPORT_NAME pith
    VERSION ${PROJECT_VERSION}
    SOVERSION ${PROJECT_VERSION_MAJOR}
    LINK_DEPENDS ${pith_map})

# One relocatable object in which hidden symbols are local, so that the archive gives its
# users the same names as the shared library and cannot clash with theirs.
set(pith_merged ${PROJECT_BINARY_DIR}/internal/pith.o)
add_custom_command(OUTPUT ${pith_merged}
    COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -o ${pith_merged} $<TARGET_OBJECTS:pith_objects>
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${pith_merged}
    DEPENDS pith_objects $<TARGET_OBJECTS:pith_objects>
    COMMAND_EXPAND_LISTS VERBATIM)
set_source_files_properties(${pith_merged} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
add_library(pith_static STATIC ${pith_merged})
set_target_properties(pith_static PROPERTIES OUTPUT_NAME pith LINKER_LANGUAGE C)

foreach(library pith_shared pith_static)
    target_include_directories(${library} INTERFACE
        $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
target_link_libraries(pith_static INTERFACE
    "$<BUILD_INTERFACE:pith_deps>" "$<INSTALL_INTERFACE:zstd;lzma;xxhash;jansson;pcre2-8;utf8proc;sqlite3;divsufsort;Threads::Threads;m>")

if(pith_cli_sources)
    # An archive of its own, so that tests can reach the command's parts.
    add_library(pith_cli STATIC ${pith_cli_sources})
    target_link_libraries(pith_cli PUBLIC pith_internal)
    set_target_properties(pith_cli PROPERTIES ARCHIVE_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/internal)
    add_executable(pith_command $<TARGET_OBJECTS:pith_cli>)
    target_link_libraries(pith_command PRIVATE pith_internal)
    set_target_properties(pith_command PROPERTIES OUTPUT_NAME pith)
endif()
