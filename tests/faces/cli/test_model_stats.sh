#!/bin/sh
# pith model stats, eval, diff and pith bench model: what they write, show, compare and refuse.
root=$(cd "$(dirname "$0")/../../.." && pwd)
. "$(dirname "$0")/lib.sh"
mini=$root/models/pith-mini.f16.gguf
text=$root/docs/recipes.md

# gather, show, rewrite
status 0 "$pith" model stats default "$text" --tokens=512 --ctx=64 -o a.stats
silent
prints '^a.stats: 512 tokens in 8 chunks, 43 matrices, 25 Gram matrices'
[ ! -e a.stats.part ] || fail "left a.stats.part"
status 0 "$pith" model stats a.stats
prints '^a.stats: 43 matrices, 8 chunks of 64 tokens$'
prints '^blk.0.attn_v.weight  *256  *1  *512  *yes '
prints '^block influence: '
status 0 "$pith" model stats a.stats --json
prints '"name": "token_embd.weight"'
status 0 "$pith" model info a.stats
status 1 "$pith" model stats default "$text" --tokens=512 --ctx=64 -o a.stats
says 'already exists'
for format in imatrix dat; do
    status 0 "$pith" model stats a.stats --format=$format -o a.$format
    silent
    status 0 "$pith" model stats a.$format
    prints '^blk.5.ffn_down.weight  *768 '
done
prints ', an importance matrix$'
status 0 "$pith" model stats default "$text" --tokens=512 --ctx=64 --format=dat -o b.dat
cmp -s a.dat b.dat || fail "gathered as dat, and rewritten as dat, differ"
ls b.dat.* > /dev/null 2>&1 && fail "left files beside b.dat"

# as many passes as memory asks for, the same bytes
status 0 "$pith" model stats "$mini" "$text" --tokens=512 --ctx=64 -M20M -o c.stats
prints '^[2-9][0-9]* passes over the text'
cmp -s a.stats c.stats || fail "other bytes with little memory"
status 1 "$pith" model stats "$mini" "$text" --tokens=512 --ctx=64 -M2M -o d.stats
[ ! -e d.stats ] && [ ! -e d.stats.part ] || fail "a failed run left a file"

# an unfinished file of other settings is not taken up, and not lost
cp a.stats e.stats.part
status 1 "$pith" model stats default "$text" --tokens=1024 --ctx=64 -o e.stats
says 'left by a run over another model, text or options'
[ -e e.stats.part ] || fail "removed the unfinished file of another run"
status 0 "$pith" model stats default "$text" --tokens=512 --ctx=64 -o e.stats
prints '^0 passes over the text, 25 Gram matrices from an earlier run'
cmp -s a.stats e.stats || fail "went on to other bytes"

status 0 "$pith" model stats default --generate=200 --ctx=32 --no-gram -o f.stats
prints ', 0 Gram matrices'
for wrong in "stats" "stats none.gguf" "stats $text" "stats default $text" "stats default $text --generate=9 -o x" \
    "stats default $text --tokens=many -o x" "stats default $text --format=npy -o x"; do
    # shellcheck disable=SC2086 # words
    status 1 "$pith" model $wrong
done

# eval: a recipe, blocks, a file
status 0 "$pith" model eval default --recipe='q(4, group=32) @ obs' --stats=a.stats --ctx=64 --chunks=2 --items=4
silent
prints '^  *q, codes '
prints '^  43 matrices  *3220523 bytes'
prints '^KL  *0\.[0-9]* +- '
prints '^flips  *[0-9.]* % of 4 items'
status 0 "$pith" model eval default --type=q8_0 --ctx=64 --chunks=2 --items=0 --json
prints '"matrix_bytes": 5918720'
status 0 "$pith" model eval default "$mini" --ctx=64 --chunks=2 --items=0
prints '^KL  *0\.000000 '
status 0 "$pith" model eval default --recipe='q(4)' --stats=a.stats --ctx=64 --chunks=1 --items=0 "$text"
grep -q 'gathered over this very text' err || fail "says nothing of a text seen in calibration"
status 1 "$pith" model eval default --recipe='q(9)'
says 'column 3'
status 1 "$pith" model eval default --type=q9
status 1 "$pith" model eval default
status 1 "$pith" model eval default --recipe='q(4)' --stats="$mini"
says 'no statistics'

# diff
"$pith" model convert "$mini" q8.gguf --type=q8_0 > /dev/null 2>&1
status 0 "$pith" model diff "$mini" "$mini"
prints '^56 tensors equal, 0 differ'
status 1 "$pith" model diff "$mini" q8.gguf
prints '^blk.0.attn_k.weight  *f16  *q8_0  *32768  *17408 '
status 1 "$pith" model diff "$mini" q8.gguf --json
prints '"type_b": "q8_0"'
status 1 "$pith" model diff "$mini" none.gguf
says 'No such file'

# bench: rows, a claim, a figure
status 0 "$pith" bench model --recipes=rtn-3,gptq-3 --stats=a.stats --ctx=64 --chunks=4 --items=0 --plot=curve.svg
silent
prints '^rtn-3 .* q(3, group=32)$'
prints ' error feedback beats rounding at 3 bits (GPTQ): gptq-3 '
grep -q '</svg>' curve.svg || fail "no figure"
status 0 "$pith" bench model --recipe='q(2)' --generate=512 --ctx=32 --chunks=2 --items=0 --json
prints '"calibration": "the model.s own text"'
prints '"recipe": "q(2)"'
# results that last: a run that was stopped goes on, a file of another table is refused
resumed="--ctx=64 --chunks=2 --items=2 --resume=r.jsonl -q"
status 0 "$pith" bench model --recipes=rtn-4 --matrices='blk.2.*' $resumed
prints '^rtn-4  *[0-9]*  *4.[56]'
prints 'those coded that are called blk.2.\*'
mv out first
status 1 "$pith" bench model --recipes=rtn-4 $resumed
says 'another model, text, statistics or version'
printf '{"name": "rtn-3", "gro' >> r.jsonl
status 0 "$pith" bench model --recipes=rtn-4,rtn-3 --matrices='blk.2.*' $resumed
[ "$(wc -l < r.jsonl)" -eq 3 ] || fail "$(wc -l < r.jsonl) lines of results instead of 3"
[ "$(grep '^rtn-4' out)" = "$(grep '^rtn-4' first)" ] || fail "a row that was kept differs from itself"
status 0 "$pith" bench model --recipes=rtn-4,rtn-3 --matrices='blk.2.*' $resumed --json
prints '"name": "rtn-3"'
echo '{}' >> r.jsonl
status 1 "$pith" bench model --recipes=rtn-4 --matrices='blk.2.*' $resumed
says 'line 4 is no result'
status 0 "$pith" bench model --list
prints '^spqr-3  *scalar  *S073 '
status 1 "$pith" bench model --recipes=none
status 1 "$pith" bench model --recipes=gptq-3 --stats=a.stats --text="$text" --ctx=64 --chunks=1 --items=0
says 'calibrated on the very text'

finish
