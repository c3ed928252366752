#!/bin/sh
# Pipes, standard streams, terminals, ranges.
. "$(dirname "$0")/lib.sh"
make_text a 600
size=$(wc -c < a)

"$pith" < a > p.pith || fail "standard input to standard output"
"$pith" -d < p.pith > back || fail "and back"
same back a
cat a | "$pith" -c - | cat | "$pith" -dc - > back || fail "through pipes"
same back a
cat a | "$pith" -q -o q.pith || fail "a pipe to a named file"
status 0 "$pith" -dc q.pith
same out a
"$pith" < /dev/null | "$pith" -d > nothing || fail "nothing at all"
[ -f nothing ] && [ ! -s nothing ] || fail "nothing became something"
"$pith" -3 -B4K -c a a > twice || fail "two files, one stream"
"$pith" -dc twice > back
cat a a > want
same back want
mkfifo fifo
cat a > fifo &
status 0 "$pith" -c fifo
wait
mv out fifo.pith
status 0 "$pith" -dc fifo.pith
same out a
status 0 sh -c '"$1" -t < twice' sh "$pith"

# What goes to standard output is not talked about there.
"$pith" -c a > c.pith 2> err || fail "-c"
silent

# A reader that goes away ends us quietly, as SIGPIPE does.
make_noise noise 3000000
(
    "$pith" -1 -c noise 2> err
    echo $? > code
) | head -c 100 > /dev/null
[ "$(cat code)" -eq 141 ] || fail "status $(cat code) instead of 141 after the reader went"
silent

"$pith" -c a >&- 2> err && fail "written to a closed standard output"
says 'standard output'
"$pith" -c <&- > out 2> err && fail "read from a closed standard input"
status 0 "$pith" -c /proc/self/status # whose size is told as 0
status 0 sh -c '"$1" -c /proc/self/limits | "$1" -d | grep -q open' sh "$pith"

# Where SIGPIPE is ignored, it is a failure to write.
(
    env --ignore-signal=PIPE "$pith" -1 -c noise 2> err
    echo $? > code
) | head -c 100 > /dev/null
[ "$(cat code)" -eq 1 ] || fail "status $(cat code) instead of 1 with SIGPIPE ignored"
says 'Broken pipe'
(
    "$pith" --help
    echo $? > code
) | sed -n q
[ "$(cat code)" -eq 0 ] || [ "$(cat code)" -eq 141 ] || fail "status $(cat code) after --help into a closed pipe"

# Ranges, through the index, over block borders and to the end.
"$pith" -3 -f -B4K a -o r.pith -q || fail "small blocks"
for range in 0:10 4090:20 100:10000 0:0 $((size - 5)):5 4096:4096; do
    off=${range%:*}
    len=${range#*:}
    status 0 "$pith" --range=$range r.pith
    tail -c +$((off + 1)) a | head -c "$len" > want
    same out want
done
status 0 "$pith" -d --range=1K: r.pith
tail -c +1025 a > want
same out want
status 0 "$pith" --range 5:7 r.pith -o part -f
tail -c +6 a | head -c 7 > want
same part want
status 0 sh -c '"$1" --range=5:7 < r.pith' sh "$pith"
same out want
status 1 "$pith" --range=$((size + 1)):1 r.pith
says 'range begins at'
cat r.pith | "$pith" --range=0:1 > out 2> err && fail "a range of a pipe"
says 'not a pipe'

# A terminal: archives are not written there, and questions are asked there.
if command -v script > /dev/null && script -qec true /dev/null > /dev/null 2>&1 < /dev/null; then
    script -qec "'$pith' -c a; echo status=\$?" /dev/null < /dev/null > log 2>&1
    grep -q 'is a terminal' log && grep -q 'status=1' log || fail "an archive went to a terminal: $(head -c 200 log)"
    "$pith" -qf a
    cp a.pith before
    make_text a 10
    { sleep 1; echo n; sleep 1; } | script -qec "'$pith' a; echo status=\$?" /dev/null > log 2>&1
    grep -q 'overwrite (y/n)' log && grep -q 'status=1' log || fail "no question: $(head -c 300 log)"
    same a.pith before
    { sleep 1; echo y; sleep 1; } | script -qec "'$pith' a; echo status=\$?" /dev/null > log 2>&1
    grep -q 'status=0' log || fail "a yes was not taken: $(head -c 300 log)"
    status 0 "$pith" -dc a.pith
    same out a
fi
no_leftovers
finish
