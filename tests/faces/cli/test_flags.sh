#!/bin/sh
# The command line: flags alone and combined, long names, --, exit statuses, verbs, help.
. "$(dirname "$0")/lib.sh"
make_text a 400
make_noise noise 500

status 0 "$pith" -1kf a
exists a && exists a.pith
status 0 "$pith" -9kfqv noise
status 0 "$pith" -dc noise.pith
same out noise
status 0 "$pith" -fdk a.pith
status 0 "$pith" -tq a.pith
silent
status 0 "$pith" -T2f -M64M a
status 0 "$pith" -M64Mf -B64K a
status 0 "$pith" -fo b.pith a
status 0 "$pith" -fob.pith a
status 0 "$pith" --force --keep --threads=2 --memory 512MiB --block-size=4K --output=c.pith a
status 0 "$pith" --decompress --stdout c.pith
same out a
status 0 "$pith" --test b.pith c.pith
status 0 "$pith" --max-time=none -t b.pith

# Levels that are too high are lowered, as zstd does it.
status 0 "$pith" -19 -f noise
says 'reduced to 9'
status 1 "$pith" -0 a
says '1 (fast) to 9'

# What is no flag, or lacks its value, is told and nothing is done.
rm -f ./*.pith
for bad in -x --bogus --range=5 --range=a:b --recipe -o -T -Tx -M -M5 -M5Q --threads=300 --threads=-1 \
    --block-size=1 --max-time=-3 --max-time=x --memory=99999999999999999999; do
    status 1 "$pith" a $bad
    says '^pith: .'
    absent a.pith
done
status 1 "$pith" -c -o x a
says '-c and -o'
status 1 "$pith" -d --recipe=stored a
status 1 "$pith" -t -o x a
status 1 "$pith" -l
absent x

# After -- and as ./NAME everything is a file.
cp a ./-9
cp a bench
status 0 "$pith" -- -9
exists ./-9.pith
status 0 "$pith" ./bench
exists bench.pith
status 0 "$pith" -d --stdout -- -9.pith
same out a

# Help goes to standard output and says what there is.
for h in "--help" "-h" "help" "help help"; do
    status 0 "$pith" $h
    prints 'Usage: pith'
    prints '--range'
    silent
done
for verb in bench stages methods explain; do
    status 0 "$pith" help $verb
    prints "pith $verb"
    status 0 "$pith" $verb --help
    prints "pith $verb"
done
status 1 "$pith" help nonsense
status 0 "$pith" --version
prints '^pith [0-9]*\.[0-9]*\.[0-9]* ('
finish
