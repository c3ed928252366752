#!/bin/sh
# usage: symbols.sh INCLUDE_DIR NM SHARED_LIBRARY STATIC_LIBRARY
# Fails unless both libraries show exactly the functions that the public headers declare with PITH_API.
set -eu
include=$1 nm=$2 shared=$3 static=$4
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat "$include"/*.h | awk '
    /^[ \t]*#/ { next }
    { text = text " " $0 }
    END {
        gsub(/\/\*([^*]|\*+[^*\/])*\*+\//, " ", text)
        n = split(text, declaration, ";")
        for (i = 1; i <= n; i++)
            if (match(declaration[i], /PITH_API[^(]*\(/)) {
                name = substr(declaration[i], RSTART, RLENGTH - 1)
                sub(/[ \t]+$/, "", name)
                sub(/^.*[^A-Za-z0-9_]/, "", name)
                print name
            }
    }' | sort -u > "$work/declared"
[ -s "$work/declared" ] || { echo "no PITH_API declaration found in $include"; exit 1; }
if grep -v '^pith_' "$work/declared"; then echo "declared with PITH_API but not named pith_*"; exit 1; fi

# The version node (PITH_0) is listed as an absolute symbol; the instrumentation of
# sanitizers and coverage adds names of its own to an archive.
"$nm" -D --defined-only "$shared" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u > "$work/shared"
"$nm" -g --defined-only "$static" | awk 'NF == 3 { print $3 }' | grep -vE '^(__asan_|__odr_asan|__gcov|__gcda)' |
    sort -u > "$work/static"

status=0
for library in shared static; do
    if ! diff "$work/declared" "$work/$library" > "$work/diff"; then
        echo "the $library library differs from the headers (< declared only, > exported only):"
        grep '^[<>]' "$work/diff"
        status=1
    fi
done
[ "$status" -eq 0 ] && echo "$(wc -l < "$work/declared") public functions, nothing else"
exit "$status"
