#!/bin/sh
# What fingers and scripts expect that know zstd, gzip and xz: -dcf as a cat, -c going on after a file that fails,
# --fast and --best, sums of lists, an object for every file with --json.
. "$(dirname "$0")/lib.sh"
make_text a 300
make_text b 200
status 0 "$pith" -q -1 a b
printf 'no archive at all' > plain

# -dcf restores archives and lets everything else through, in order, from files and pipes.
status 0 "$pith" -dcf a.pith plain b.pith
cat a plain b > want
same out want
cat plain | "$pith" -dcf > back || fail "a plain pipe"
same back plain
make_noise big 700000
status 0 "$pith" -dcf big
same out big
printf x > one
status 0 "$pith" -dcf one
same out one
status 1 "$pith" -dc plain
says 'not a .pith frame'
[ ! -s out ] || fail "what is no archive went through without -f"
status 1 "$pith" -df plain -o back2
absent back2

# What was an archive once is damage, and no plain file.
tr -d '\r' < a.pith > damaged
status 1 "$pith" -dcf damaged
says 'text-mode'
head -c 5 a.pith > stump
status 1 "$pith" -dcf stump
[ ! -s out ] || fail "part of a header went through"
printf '\360pmod\r\n\0and more' > model
status 1 "$pith" -dcf model
status 1 sh -c '"$1" -dcf < model' sh "$pith"

# A file that fails is told, the others follow on standard output; a named output is not kept.
status 1 "$pith" -dc missing a.pith plain b.pith
says 'missing: No such file'
says 'plain: not a .pith frame'
cat a b > want
same out want
"$pith" -1 -c missing a b > both 2> err && fail "a missing file went unnoticed"
status 0 "$pith" -dc both
same out want
status 1 "$pith" -qdf a.pith plain b.pith -o joined
absent joined
"$pith" -dc a.pith a.pith > /dev/full 2> err && fail "a full device went unnoticed"
[ "$(wc -l < err)" -eq 1 ] || fail "a full device was told more than once: $(cat err)"

# Levels by name.
status 0 "$pith" -q --fast -c a
same out a.pith
status 0 "$pith" --fast --best -q -c one
mv out best
status 0 "$pith" -q -9 -c one
same out best

# Lists of several files end with their sums; -v shows metadata, and counts blocks as messages do.
status 0 "$pith" -l a.pith b.pith
prints ' 2 files$'
status 0 "$pith" -l a.pith
prints 'a\.pith$'
grep -q 'files$' out && fail "sums of one file"
{ cat a.pith; printf '\360skip\r\n\0\005hello'; } > meta.pith
status 0 "$pith" -lv meta.pith
prints '^metadata 1 at .*: 5 bytes'
"$pith" -q -2 -B4K b -o blocks.pith
size=$(wc -c < blocks.pith)
{ head -c $((size / 4)) blocks.pith; printf '\377\001\252'; tail -c +$((size / 4 + 4)) blocks.pith; } > hurt.pith
status 1 "$pith" -t hurt.pith
says 'block [1-9][0-9]* at offset'

# --json: one object per file, also for those that failed; a range has no ratio to its archive.
status 1 "$pith" -t --json a.pith plain missing b.pith
[ "$(grep -c '^{"operation":"test",.*}$' out)" -eq 4 ] || fail "not four objects: $(cat out)"
prints '"file":"plain","error":"plain: not a .pith frame"}'
prints '"file":"missing","error":"missing: No such file'
status 1 "$pith" -l --json plain a.pith
prints '"operation":"list","file":"plain","error":'
mkdir d
cp plain d/bad.pith
status 1 "$pith" -tr --json d
[ "$(grep -c error out)" -eq 1 ] || fail "one failure below a directory: $(cat out)"
status 0 "$pith" --range=0:5 --json a.pith
grep -q '"range_offset":0' err && ! grep -q '"ratio"' err || fail "a range's object: $(cat err)"

# Small things that would puzzle: wrong usage ends with 1 everywhere, a wish that is not followed is told.
for wrong in "explain" "explain cm zstd" "explain --nonsense" "stages --nonsense" "methods --nonsense"; do
    status 1 "$pith" $wrong
done
status 0 env PITH_CPU=fastest "$pith" -V
says 'PITH_CPU=fastest'
status 0 env PITH_CPU=scalar "$pith" -V
silent
status 1 "$pith" -t --max-time=0.0000001 a.pith
says '1e-07 are allowed'
cp plain m
status 1 "$pith" --model=m -c a
says '^pith: m: magic'
finish
