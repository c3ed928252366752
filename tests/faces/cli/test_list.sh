#!/bin/sh
# -l and -v: what archives say about themselves.
. "$(dirname "$0")/lib.sh"
make_text a 2000
make_noise n 5000
"$pith" -q -B4K -3 a || fail "compressing"
"$pith" -q -1 n
status 0 "$pith" -l a.pith n.pith
prints '^Frames'
prints 'level(3).*a\.pith'
prints 'level(1).*n\.pith'
[ "$(grep -c '^Frames' out)" -eq 1 ] || fail "one heading for all"
status 0 "$pith" -lv a.pith
prints '^frame 1 at 0'
blocks=$((($(wc -c < a) + 4095) / 4096))
[ "$(grep -c '^ *[0-9][0-9]* .*[0-9a-f]\{16\}' out)" -eq "$blocks" ] || fail "not one line per block"
status 1 "$pith" -l a n.pith
says '^pith: a: '
prints 'n\.pith'
cat a.pith | "$pith" -l - > out 2> err && fail "a listing of a pipe"
says 'not a pipe'
status 0 sh -c '"$1" -l - < a.pith' sh "$pith"
finish
