#!/bin/sh
# pith model with weights that are no numbers, standard streams and folders in the place of files: said or passed on.
. "$(dirname "$0")/lib.sh"
status 0 "$pith" model prune default m.gguf --layers=2 --channels=32 --neurons=32 --tokens=64
printf 'The cat sat on the mat and the dog lay beside it, as they did on all days of that long summer.\n' > text

# standard output, and what is not read or written there
status 0 "$pith" model compress -fq m.gguf
"$pith" model decompress m.gguf.pith - > back.gguf 2> err || fail "no model on standard output: $(cat err)"
cmp m.gguf back.gguf || fail "not the same by standard output"
status 1 "$pith" model decompress --json m.gguf.pith -
says 'cannot both go to standard output'
status 1 "$pith" model decompress --rm m.gguf.pith -o -
says 'wants the model in a file'
exists m.gguf.pith
status 1 "$pith" model compress m.gguf -
says 'standard output is not written to here; name a file'
status 1 "$pith" model convert m.gguf - --to=gguf
says 'name a file'
status 1 "$pith" model compress -
says 'read from a file, not from standard input'
mkdir folder
status 1 "$pith" model compress folder
says 'folder: a folder; give the files in it one by one'
status 1 "$pith" model decompress -fqz m.gguf.pith
says "unknown option '-fqz'"
status 0 "$pith" model decompress -qfT1 m.gguf.pith
absent ./-

status 0 "$pith" model compress -f --recipe='[ -> q(4)' m.gguf
says 'the recipe names no matrix'

# every verb says what it did in JSON
status 0 "$pith" model validate --json m.gguf
prints '"good":true'
status 0 "$pith" model delta -q m.gguf back.gguf m.delta
status 0 "$pith" model apply --json m.gguf m.delta applied.gguf
prints '"file":"applied.gguf","bytes":'
status 0 "$pith" model store add -q store m.gguf
status 0 "$pith" model store get --json store m.gguf got.gguf
prints '"file": "got.gguf"'
status 1 "$pith" model store get --json store m.gguf -
says 'cannot both go to standard output'
same m.gguf got.gguf

# NaN in the last matrix, which is blk.1.ffn_down.weight: halves of 0x7e00 at its end
cp m.gguf nan.gguf
printf '\0\176' | dd of=nan.gguf bs=1 seek=$(($(wc -c < m.gguf) - 2)) conv=notrunc 2> dd.err
status 1 "$pith" model validate nan.gguf
says 'data of blk.1.ffn_down.weight at byte [0-9]*: block 1023 of f16 is not finite'
status 1 "$pith" model convert nan.gguf x.gguf --type=q8_0
says 'nan.gguf: blk.1.ffn_down.weight: there is no finite number at element 1023'
status 0 "$pith" model convert nan.gguf f32.gguf --type=f32
status 1 "$pith" model quantize nan.gguf x.gguf --type=q8_0
says 'no finite number'
status 1 "$pith" model allocate nan.gguf --bpw=4 --text=text --eval-text=text --ctx=8
says 'nan.gguf: data of blk.1.ffn_down.weight'
status 1 "$pith" model eval nan.gguf --recipe='q(4)' text --ctx=8 --items=0
says 'data of blk.1.ffn_down.weight'
status 1 "$pith" model prune nan.gguf x.gguf --layers=1 --text=text
says 'not a number'
status 0 "$pith" model compress -q --recipe='q(4)' nan.gguf small.pith
status 0 "$pith" model decompress -q --tensor=blk.1.ffn_down.weight -o kept.npy small.pith
status 0 "$pith" model convert --to=npy --tensor=blk.1.ffn_down.weight nan.gguf want.npy
cmp kept.npy want.npy || fail "a matrix with NaN did not stay as it is"
status 1 "$pith" model diff --json m.gguf nan.gguf
prints '"relative_error": null'
silent
status 0 "$pith" lm perplexity --json --model=nan.gguf --ctx=8 -q text
prints '"perplexity": null'
status 0 "$pith" model eval --json m.gguf nan.gguf text --ctx=8 --items=0
prints '"perplexity": null'
prints '"perplexity_base": [0-9]'

# damaged statistics are told in one line
printf 'GGUF' > cut.stats
status 1 "$pith" model stats cut.stats
[ "$(wc -l < err)" -eq 1 ] || fail "$(wc -l < err) lines: $(cat err)"
absent x.gguf
no_leftovers
finish
