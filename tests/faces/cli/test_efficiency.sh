#!/bin/sh
# pith bench efficiency: every figure for every model, and figures that are known.
. "$(dirname "$0")/lib.sh"
status 0 "$pith" bench efficiency -q --types=q8_0 --prompt=16 --output=4 --repeats=1 --peak=64 --json
for key in "MB" "M parameters" "compression ratio" "MFLOP read" "MFLOP generated" "ms read" "ms generated" \
    "speed-up read" "speed-up generated" "MFU read, %" "MFU generated, %"; do
    [ "$(grep -c "\"$key\": [0-9]*\.[0-9]" out)" = 2 ] || fail "two models have not both $key"
done
prints '"M parameters": 5\.5738'
# Two for each weight, and 4 * 6 layers * width 256 for each of 16 + 2.5 positions on average; the embedding is the output too.
prints '"MFLOP generated": 11\.254784'
prints '"compression ratio": 1\.88'
status 1 "$pith" bench efficiency missing.gguf
status 1 "$pith" bench efficiency --types=nonsense
status 1 "$pith" bench efficiency --peak=4
finish
