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
for name in x.pith cut.gguf text.pith out.gguf big.gguf; do
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
