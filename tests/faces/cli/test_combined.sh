#!/bin/sh
# pith bench combined: every pair of weights and cache in the table, and bytes of caches that are known.
. "$(dirname "$0")/lib.sh"
make_text a 60
run() { "$pith" bench combined -q --text=a --chunks=1 --ctx=64 --prompt=16 --output=4 --repeats=1 "$@"; }

status 0 run --types=q8_0 --bits=0 --caches=q8_0,q4_0 --json
for name in "as it is" q8_0; do
    for cache in f16 q8_0 q4_0; do
        prints "\"name\": \"$name, cache $cache\""
    done
done
# 6 layers, 2 heads of 32, keys and values: 2 bytes, 34 for 32 numbers, 18 for 32.
for bytes in 1536 816 432; do
    [ "$(grep -c "\"cache KB/1000\": $bytes\.0" out)" = 2 ] || fail "not $bytes bytes a token"
done
[ "$(grep -c '"KL": 0\.0,' out)" = 1 ] || fail "the model as it is differs from itself"
prints '3 of 3 types'
status 0 run --types=none --bits=0 --caches=bf16
prints '^as it is, cache bf16'
status 1 run --caches=q4_K
says "'q4_K' is no type of a cache"
status 1 run --bits=0.5
status 1 run --types=nonsense
status 1 run --model=missing.gguf
finish
