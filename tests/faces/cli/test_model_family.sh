#!/bin/sh
# pith model store, delta, apply, series: siblings come back, failures leave nothing.
root=$(cd "$(dirname "$0")/../../.." && pwd)
. "$(dirname "$0")/lib.sh"
cp "$root/models/pith-mini.f16.gguf" mini.gguf
status 0 "$pith" model convert -q --type=bf16 mini.gguf other.gguf
cp mini.gguf copy.gguf

# a store
status 0 "$pith" model store add -q -T2 shop mini.gguf copy.gguf
status 0 "$pith" model store add shop mini.gguf
prints 'there before'
status 1 "$pith" model store add shop --name=mini.gguf other.gguf
says "has a file 'mini.gguf' already"
for object in shop/objects/*/*; do
    : > "$object"
    break
done
status 1 "$pith" model store test -q shop
status 0 "$pith" model store add -q shop mini.gguf
status 0 "$pith" model store test -q shop
status 0 "$pith" model store stat --json shop
prints '"files"'
status 0 "$pith" model store list shop
prints 'copy.gguf'
status 0 "$pith" model store get -q shop copy.gguf back.gguf
same copy.gguf back.gguf
status 1 "$pith" model store get shop copy.gguf back.gguf
says 'already exists'
status 1 "$pith" model store get shop nobody.gguf none.gguf
says "nobody.gguf"
absent none.gguf
status 0 "$pith" model store test -q shop
status 0 "$pith" model store rm -q shop mini.gguf
status 0 "$pith" model store gc -q shop
status 0 "$pith" model store test -q shop
status 1 "$pith" model store add shop "$0"
status 1 "$pith" model store get nowhere copy.gguf none.gguf
absent nowhere

# what makes one of another
status 0 "$pith" model delta -q mini.gguf copy.gguf same.delta
[ "$(wc -c < same.delta)" -lt 2000 ] || fail "$(wc -c < same.delta) bytes for nothing"
status 0 "$pith" model apply -q mini.gguf same.delta again.gguf
same mini.gguf again.gguf
status 1 "$pith" model apply other.gguf same.delta none.gguf
says 'made from another base'
head -c 100 same.delta > cut.delta
status 1 "$pith" model apply mini.gguf cut.delta none.gguf
absent none.gguf
status 0 "$pith" model delta --json --keep=10% mini.gguf other.gguf signs.delta
prints '"kept"'
status 0 "$pith" model apply -q mini.gguf signs.delta near.gguf
status 0 "$pith" model validate near.gguf
status 1 "$pith" model delta --keep=110% mini.gguf other.gguf none.delta
says 'a share such as 10%'
absent none.delta

# a series
status 0 "$pith" model series make -q run.series mini.gguf copy.gguf
[ "$(wc -c < run.series)" -lt 9800000 ] || fail "the copy is not free: $(wc -c < run.series)"
status 0 "$pith" model series get -q run.series 1 second.gguf
same copy.gguf second.gguf
status 0 "$pith" model series test -q run.series
status 1 "$pith" model series get run.series 2 none.gguf
says 'has only 2 checkpoints'
absent none.gguf
no_leftovers .
finish
