#!/bin/sh
# pith model compress, decompress, explain-size: files come back, promises are kept, failures leave nothing.
root=$(cd "$(dirname "$0")/../../.." && pwd)
. "$(dirname "$0")/lib.sh"
cp "$root/models/pith-mini.f16.gguf" mini.gguf
chmod 640 mini.gguf

# without loss
status 0 "$pith" model compress -T1 mini.gguf
silent
prints '^mini.gguf: 10.7 MiB -> .* lossless, checked'
[ "$(wc -c < mini.gguf.pith)" -lt 9800000 ] || fail "only $(wc -c < mini.gguf.pith) bytes"
status 1 "$pith" model compress mini.gguf
says 'mini.gguf.pith: already exists; not overwritten'
status 0 "$pith" model decompress -q mini.gguf.pith back.gguf
cmp mini.gguf back.gguf || fail "not the same file"
status 0 "$pith" model decompress --test mini.gguf.pith
status 0 "$pith" model compress -T3 -q mini.gguf three.pith
cmp mini.gguf.pith three.pith || fail "threads change the archive"

# the other verbs take such archives too
rm back.gguf
mv mini.gguf.pith back.gguf.pith
status 0 "$pith" -d back.gguf.pith
cmp mini.gguf back.gguf || fail "not the same file by -d"
status 0 "$pith" -t back.gguf.pith
status 0 "$pith" -l back.gguf.pith
prints '^ model  *56 .*lossless'
status 1 "$pith" -d --range=0:10 back.gguf.pith
says 'a model archive: pith model decompress FILE restores it'
status 1 sh -c '"$1" -d < back.gguf.pith' sh "$pith"
says 'model decompress'
status 1 sh -c 'cat back.gguf.pith | "$1" -d' sh "$pith"
says 'read from a file and not from a pipe: pith model decompress'

# a recipe
status 0 "$pith" model compress -q --json --recipe='*attn* -> q(4, group=64) | rans ; *ffn* -> stack(2, sign)' mini.gguf lossy.pith
prints '"lossless":false'
prints '"coded_tensors":42'
status 0 "$pith" model decompress lossy.pith lossy.gguf
prints 'lossy, as its recipe keeps it'
status 0 "$pith" model validate lossy.gguf
status 0 "$pith" model explain-size lossy.pith
prints 'q: codes'
prints 'stack: side'
prints 'f16, exact'
status 0 "$pith" model explain-size --json --tensors lossy.pith
prints '"what": "blk.0.attn_q.weight"'
status 0 "$pith" model explain-size mini.gguf
prints '^  f16  *11141120'
status 1 "$pith" model compress --recipe='* -> q(9)' mini.gguf x.pith
says 'column 8: bits expects a whole number from 1 to 8 bits, not "9"'
status 1 "$pith" model compress --recipe='*attn* -> gguf(q4_K) ; * -> q(4) | q(4)' mini.gguf x.pith
says 'would code what is coded already'

# --lossy, and what it cost; a short text will do here
head -c 1200 "$root/tests/data/alice29.txt" > short.txt
status 0 "$pith" model compress --lossy=2.5 --text=short.txt --ctx=64 mini.gguf step.pith
says 'without --stats all inputs count the same'
prints 'step: codes .* 2\.[0-9]* bits per weight'
prints 'relative error *weights [0-9.]*e-0[12] .*; most in blk'
status 0 "$pith" model explain-size step.pith
prints '^ *rule: step(bits=2.*) | ctxac @ obs .* 2\.[0-9]*$'
prints '^ *rule: step(bits=[3-9].*) | ctxac @ obs'
status 0 "$pith" model compress -f -q --lossy --method=uniform --json mini.gguf step.pith
prints '"recipe":"step(bits=4) | ctxac @ obs"'
prints '"kind":"codes","bytes":[0-9]*,"bits_per_weight":[34]\.'
status 1 "$pith" model compress --lossy=17 mini.gguf x.pith
says 'bits per weight from 0.25 to 16'
status 1 "$pith" model compress --lossy --recipe='* -> q(4)' mini.gguf x.pith
says 'not beside --recipe'
status 1 "$pith" model compress --lossy --size=2M mini.gguf x.pith
says 'one of --lossy, --size, --bpw and --max-kl'
status 1 "$pith" model compress --size=much mini.gguf x.pith
says 'a size such as 2.5GB'
status 1 "$pith" model compress --method=rate mini.gguf x.pith
says 'serve --lossy, --size'

# one budget, as a recipe: of codes, of blocks that quantize takes
few='blk.[05].attn_[qk].weight'
status 0 "$pith" model allocate mini.gguf --only="$few" --bpw=15.7 --ctx=64 --chunks=1
prints '^blk.*attn_q.weight.* -> step(bits=[0-9.]*) | ctxac @ obs'
prints '^codes .* bits a weight in 4 tensors'
prints '^KL '
status 0 "$pith" model allocate mini.gguf --only="$few" --bpw=15.7 --ctx=64 --chunks=1 --for=quantize -q -o blocks.txt
prints '^blk.* -> gguf(q[2-8]_.*'
status 0 "$pith" model quantize mini.gguf --dry-run --recipe="$(cat blocks.txt)"
prints 'blk.1.attn_q.weight .* -> q8_0'
prints 'blk.[05].attn_[qk].weight .* -> q[2-6]_K'
status 1 "$pith" model quantize mini.gguf x.gguf --recipe='q(4)'
says 'takes the stage gguf(TYPE)'
status 1 "$pith" model allocate mini.gguf
says 'one of --size, --bpw and --max-kl'
status 1 "$pith" model allocate mini.gguf --for=fun --bpw=4
says 'compress or quantize'

# other types
status 0 "$pith" model decompress step.pith f16.gguf
status 0 "$pith" model decompress --type=q8_0 step.pith q8.gguf
status 0 "$pith" model validate q8.gguf
status 0 "$pith" model info q8.gguf
prints '^  q8_0  *43 .* 8\.500$'
prints '^  f32  *13 '
status 0 "$pith" model convert --type=q8_0 f16.gguf convert.gguf
status 0 "$pith" model decompress --type=f32 step.pith f32.gguf
status 0 "$pith" model convert --type=f16 f32.gguf convert.gguf -f
cmp convert.gguf f16.gguf || fail "f32 and f16 differ"
status 1 "$pith" model decompress --type=q9 step.pith x.gguf
says 'there is no element type q9'
status 1 "$pith" model decompress --type=iq2_xxs step.pith x.gguf
says 'iq2_xxs is not written'
status 0 "$pith" model decompress --type=f16 -f back.gguf.pith same.gguf
says 'nothing in it was coded by a recipe'
cmp same.gguf mini.gguf || fail "not the same file by --type"
status 0 "$pith" model convert --to=safetensors mini.gguf mini.safetensors
status 0 "$pith" model compress --lossy mini.safetensors
says "the same bits for every matrix, as answers cannot be measured"
status 0 "$pith" model decompress --type=bf16 mini.safetensors.pith bf16.safetensors
status 0 "$pith" model info bf16.safetensors
prints '^  bf16  *43 '
status 1 "$pith" model decompress --type=q8_0 mini.safetensors.pith x.gguf
says 'q8_0 is not written in a safetensors file'

# one tensor
status 0 "$pith" model decompress --tensor=blk.0.attn_q.weight step.pith -o q.npy
status 0 "$pith" model info q.npy
prints 'f32 '
status 0 "$pith" model convert --tensor=blk.0.attn_q.weight f32.gguf --to=npy want.npy
cmp q.npy want.npy || fail "not the tensor of the whole"
status 0 "$pith" model decompress --tensor=output_norm.weight back.gguf.pith -o q.npy -f
status 1 "$pith" model decompress --tensor=none step.pith -o x.npy
says 'it has no tensor none'
status 1 "$pith" model decompress --tensor=blk.0.attn_q.weight step.pith
says 'to which file'

# levels
status 0 "$pith" model compress -q --recipe='*attn* -> stack(4, sign)' mini.gguf stack.pith
status 0 "$pith" model decompress --levels=2 stack.pith two.gguf
prints 'loaded .* of .*: 2 of 4 levels'
status 0 "$pith" model load --bytes="$(wc -c < stack.pith)" stack.pith all.gguf
silent
status 0 "$pith" model decompress stack.pith whole.gguf
cmp all.gguf whole.gguf || fail "all bytes are not all levels"
status 0 "$pith" model load --json --bytes=$(($(wc -c < stack.pith) - 100000)) stack.pith most.gguf
prints '"loaded_levels":\[[1-3], *[2-4]\]'
status 1 "$pith" model load --bytes=1000 stack.pith x.gguf
says 'the first levels and all that is exact take'
status 1 "$pith" model load --levels=2 step.pith x.gguf
says 'nothing in it has levels'
status 1 "$pith" model load --levels=2 --rm stack.pith x.gguf
says 'wants all of the archive restored'

# failures leave nothing under the final name, nor beside it
head -c 100000 back.gguf.pith > cut.pith
status 1 "$pith" model decompress cut.pith cut.gguf
says 'the model archive has no end'
printf 'nothing of the kind' > text
status 1 "$pith" model compress text
says 'text: magic at byte 0'
status 1 "$pith" model decompress text out.gguf
says 'text: no model archive'
status 1 "$pith" model compress none.gguf
says 'none.gguf: No such file'
status 1 "$pith" model decompress -M1M lossy.pith big.gguf
says 'limit'
for name in x.pith x.gguf x.npy cut.gguf text.pith out.gguf big.gguf; do
    [ ! -e $name ] || fail "$name is there"
done
[ -z "$(find . -name '.pith-*')" ] || fail "temporary files are left"

# --rm only after all is well
status 1 "$pith" model compress --rm --recipe='* -> nothing' mini.gguf gone.pith
[ -e mini.gguf ] || fail "removed after a failure"
cp mini.gguf copy.gguf
status 0 "$pith" model compress -q --rm copy.gguf
[ ! -e copy.gguf ] || fail "still there"
status 0 "$pith" model decompress -q --rm copy.gguf.pith
cmp mini.gguf copy.gguf || fail "not the same after --rm"
[ ! -e copy.gguf.pith ] || fail "the archive is still there"
[ "$(stat -c %a copy.gguf)" = 640 ] || fail "mode $(stat -c %a copy.gguf)"
finish
