#!/bin/sh
# usage: install.sh CMAKE BUILD_DIR CONSUMER_DIR CC [FLAGS]
# Installs into a temporary prefix, moves it elsewhere, looks for paths of this machine, and builds a small program against it
# through pkg-config and through find_package, with the shared and with the static library.
set -eu
cmake=$1 build=$2 consumer=$3 cc=$4 flags=${5:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$cmake" --install "$build" --prefix "$work/first" > "$work/log" || { cat "$work/log"; exit 1; }
mv "$work/first" "$work/moved" # nothing installed may know where it was installed
prefix=$work/moved

pc=$(find "$prefix" -name pith.pc)
libdir=$(dirname "$(dirname "$pc")")
for file in "$libdir/libpith.so" "$libdir/libpith.a" "$prefix/include/pith/pith.h"; do
    [ -e "$file" ] || { echo "not installed: $file"; exit 1; }
done
if [ -e "$build/pith" ]; then
    [ -x "$prefix/bin/pith" ] || { echo "the command is not installed"; exit 1; }
    "$prefix/bin/pith" --version > /dev/null || { echo "the installed command does not run"; exit 1; }
fi
if grep -rlF "$work/first" "$prefix"; then echo "an installed file names the prefix it was installed to"; exit 1; fi
source=$(sed -n 's/^CMAKE_HOME_DIRECTORY:INTERNAL=//p' "$build/CMakeCache.txt")
# gcov and the reports of sanitizers need the paths of the sources; nothing else may hold them.
if [ -z "$flags" ] && grep -rlF "$source/" "$prefix"; then echo "an installed file names $source"; exit 1; fi

PKG_CONFIG_PATH=$libdir/pkgconfig LD_LIBRARY_PATH=$libdir
export PKG_CONFIG_PATH LD_LIBRARY_PATH
say() { # say HOW PROGRAM: runs it
    answer=$("$2") || { echo "$1: the program failed"; exit 1; }
    echo "$1: $answer"
}

# shellcheck disable=SC2046,SC2086 # flags are lists of words
{
    "$cc" $flags "$consumer/consumer.c" -o "$work/shared" $(pkg-config --cflags --libs pith)
    say "pkg-config, shared" "$work/shared"
    "$cc" $flags "$consumer/consumer.c" -o "$work/static" $(pkg-config --cflags pith) "$libdir/libpith.a" \
        $(pkg-config --static --libs pith | sed 's/-lpith\( \|$\)/ /')
    say "pkg-config, static" "$work/static"
}
if readelf -d "$work/static" | grep -q libpith; then echo "the static program needs libpith.so"; exit 1; fi
readelf -d "$work/shared" | grep -q 'NEEDED.*libpith\.so\.[0-9]' || { echo "libpith.so has no SONAME"; exit 1; }

"$cmake" -S "$consumer" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" \
    -DCMAKE_C_FLAGS="$flags" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
"$cmake" --build "$work/build" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
say "find_package, shared" "$work/build/with_shared"
say "find_package, static" "$work/build/with_static"
