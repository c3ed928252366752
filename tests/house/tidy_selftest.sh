#!/bin/sh
# usage: tidy_selftest.sh TIDY.SH
# Expects tidy.sh to accept a clean tree and to find each kind of disorder in a spoilt one.
set -eu
check=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/src/base" "$tree/docs"
echo 'int pith;' > "$tree/src/base/a.c"
sh "$check" "$tree" > /dev/null || { echo "FAIL: a clean tree was refused"; exit 1; }

expect() { # expect WORDS FILE
    if out=$(sh "$check" "$tree" 2>&1); then echo "FAIL: accepted, but expected: $1"; exit 1; fi
    printf '%s\n' "$out" | grep -qF "$1" || { echo "FAIL: expected \"$1\" but the answer was: $out"; exit 1; }
    rm "$2"
}
yes 'int pith;' | head -n 601 > "$tree/src/base/long.c"
expect 'over 600 lines' "$tree/src/base/long.c"
echo "/* T""ODO */" > "$tree/src/base/b.c"
expect 'unfinished work' "$tree/src/base/b.c"
echo "see /ho""me/anna/pith" > "$tree/docs/with space.md"
expect "a path of somebody's machine" "$tree/docs/with space.md"
sh "$check" "$tree" > /dev/null || { echo "FAIL: a clean tree was refused"; exit 1; }
echo "every disorder was found"
