#!/bin/sh
# What must hold when things go wrong: a full disk, a signal, a kill, damage. The input is
# still there, and nothing wrong stands under the final name.
. "$(dirname "$0")/lib.sh"
make_text a 2000
make_noise noise 400000
"$pith" -q a || fail "compressing"
cp a.pith good

# Damage and truncation: an error, and no output.
rm -f a.pith
size=$(wc -c < good)
for cut in 0 1 7 20 $((size / 2)) $((size - 1)); do
    head -c "$cut" good > t.pith
    status 1 "$pith" -d t.pith
    says '^pith: t\.pith: '
    [ "$(wc -l < err)" -eq 1 ] || fail "more than one line: $(cat err)"
    absent t
    status 1 "$pith" -t t.pith
done
for at in 0 9 $((size / 2)) $((size - 2)); do
    { head -c "$at" good; printf '\377\001\252'; tail -c +$((at + 4)) good; } > t.pith
    cmp -s t.pith good && continue
    status 1 "$pith" -df t.pith
    absent t
done
cat good noise > t.pith
status 1 "$pith" -d t.pith
absent t
no_leftovers

# A full device, and a file that may not grow.
for args in "-c noise" "-qf noise -o /dev/full"; do
    "$pith" $args > /dev/full 2> err
    got=$?
    [ "$got" -eq 1 ] || fail "status $got with a full device: $args"
    says 'No space left'
done
[ -c /dev/full ] || fail "/dev/full was replaced"
(
    ulimit -f 100
    "$pith" --rm noise > out 2> err
    echo $? > code
)
[ "$(cat code)" -eq 1 ] || fail "status $(cat code) at the file size limit"
says 'File too large'
exists noise
absent noise.pith
no_leftovers
echo old > noise.pith
(
    ulimit -f 100
    "$pith" -f noise > out 2> err
)
[ "$(cat noise.pith)" = old ] || fail "a failed -f took the old file away"
rm -f noise.pith
mkdir small
if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o size=64k none small 2> /dev/null; then
    status 1 "$pith" noise -o small/n.pith
    says 'No space left'
    [ -z "$(ls -A small)" ] || fail "left on the full disk: $(ls -A small)"
    umount small
fi

# Signals in the middle: cleaned up, and the exit tells the signal.
mkfifo slow
for signal in INT TERM HUP; do
    env --default-signal=$signal "$pith" -q slow -o s.pith 2> err &
    pid=$!
    exec 3> slow
    head -c 200000 noise >&3
    once sh -c 'ls .pith-*.tmp > /dev/null 2>&1' || fail "no temporary file appeared"
    kill -$signal $pid
    wait $pid
    got=$?
    exec 3>&-
    [ "$got" -gt 128 ] && [ "$(kill -l $((got - 128)))" = "$signal" ] || fail "status $got after SIG$signal"
    absent s.pith
    no_leftovers
done

# Killed outright: at worst the temporary file is left, never the final name.
"$pith" -q slow -o s.pith 2> err &
pid=$!
exec 3> slow
head -c 200000 noise >&3
once sh -c 'ls .pith-*.tmp > /dev/null 2>&1' || fail "no temporary file appeared"
kill -9 $pid
wait $pid 2> /dev/null
exec 3>&-
absent s.pith
rm -f .pith-*

# An archive that needs more memory than allowed is refused.
make_noise big 3000000
"$pith" -q -1 big
status 1 "$pith" -d -M1M big.pith -o back
says 'memory'
absent back

# And the good one is good.
status 0 "$pith" -d good -o back
same back a
finish
