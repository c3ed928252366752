#!/bin/sh
# pith model info, convert, validate: what they show, write and refuse.
root=$(cd "$(dirname "$0")/../../.." && pwd)
. "$(dirname "$0")/lib.sh"
mini=$root/models/pith-mini.f16.gguf
seeds=$root/tests/fuzz/corpus/tensors

# info
status 0 "$pith" model info "$mini"
silent
prints '^format        gguf 3, 10.7 MiB$'
prints '^architecture  llama$'
prints '^tokenizer     llama, 4096 tokens$'
prints '^parameters    5573888 in 56 tensors, .* 16.010 bits per weight$'
prints 'llama.attention.head_count_kv  *2$'
prints '^  f16  *43  *5570560  *11141120 16.000$'
status 0 "$pith" model info --tensors "$mini"
prints '^  blk.0.attn_k.weight  *f16  *32768  256 x 64$'
status 0 "$pith" model info --json --tensors "$mini"
prints '"parameters": 5573888'
prints '"name": "blk.5.ffn_down.weight"'
if command -v python3 > /dev/null; then
    python3 -c 'import json,sys; d = json.load(open("out")); assert len(d["list"]) == d["tensors"] == 56' || fail "JSON"
fi
status 0 "$pith" model info "$seeds/llama2c_tied"
prints '^format        llama2.c, '
status 0 "$pith" model info "$seeds/rwkv_good"
prints '^architecture  rwkv4$'
status 0 "$pith" model info "$seeds/npy_good"
prints 'f32'
status 0 "$pith" help model
prints '^Usage: pith model info'
for flag in $(grep -o -e '--[a-z][a-z-]*' out | sort -u); do
    grep -q -e "$flag\b" "$root/completions/pith.bash" || fail "completion lacks $flag of model"
    tr -d '\\' < "$root/docs/man/pith-model.1" | grep -q -e "$flag\b" || fail "pith-model.1 lacks $flag"
done

# validate: fine files, and one line with the field and its place for broken ones
status 0 "$pith" model validate "$mini"
prints 'gguf, 56 tensors, all in order$'
for seed in "$seeds"/*; do
    "$pith" model validate "$seed" > out 2> err < /dev/null
    got=$?
    case $(basename "$seed") in
    *_good | llama2c_tied | llama2c_untied | npy_wide | safetensors_escapes) [ $got -eq 0 ] || fail "$seed: $(cat err)" ;;
    *)
        [ $got -eq 1 ] || fail "$seed: status $got"
        [ "$(wc -l < err)" -eq 1 ] || fail "$seed: $(cat err)"
        grep -q ' at byte [0-9]' err || fail "$seed: $(cat err)"
        ;;
    esac
done
head -c 5000000 "$mini" > cut.gguf
status 1 "$pith" model info cut.gguf
says 'pith: cut.gguf: data of blk.1.ffn_down.weight at byte 4816736: 393216 bytes, the file ends at byte 5000000$'
status 1 "$pith" model info none.gguf
says 'none.gguf: No such file'
: > empty
status 1 "$pith" model info empty
says 'the file is empty'

# convert: the same file when nothing is asked for
status 0 "$pith" model convert "$mini" same.gguf
silent
same "$mini" same.gguf
status 1 "$pith" model convert "$mini" same.gguf
says 'same.gguf: already exists'
status 0 "$pith" model convert -f "$mini" same.gguf
# threads do not show in the bytes
status 0 "$pith" model convert "$mini" q8.gguf --type=q8_0 --threads=1
status 0 "$pith" model convert "$mini" q8-3.gguf --type=q8_0 -T3
same q8.gguf q8-3.gguf
status 0 "$pith" model info q8.gguf
prints ' 8.514 bits per weight$'
prints '^  f32  *13 '
prints 'general.file_type  *7$'
status 0 "$pith" model validate q8.gguf
# F16 to F32 and back loses nothing
status 0 "$pith" model convert "$mini" f32.gguf --type f32
status 0 "$pith" model convert f32.gguf f16.gguf --type f16
status 0 "$pith" model convert f16.gguf f16.safetensors
status 0 "$pith" model convert "$mini" mini.safetensors
status 0 "$pith" model convert f16.gguf a.npy --tensor blk.3.ffn_up.weight
status 0 "$pith" model convert mini.safetensors b.npy --tensor blk.3.ffn_up.weight
same a.npy b.npy
status 0 "$pith" model info a.npy
prints '131072\|393216'
status 0 "$pith" model convert f32.gguf out.bin --to=npy --tensor output_norm.weight
# rows that no block fits
status 0 "$pith" model convert "$seeds/llama2c_tied" tiny.gguf --type=q4_K
says 'tensors have rows that are no multiple of 256, the block of q4_K'
status 0 "$pith" model convert -q "$seeds/rwkv_good" rwkv.gguf --type=f16
silent
status 0 "$pith" model info rwkv.gguf
prints 'rwkv4.block_count  *1$'

# refusals, nothing left behind
status 1 "$pith" model convert "$mini" x.npy
says 'name it with --tensor'
status 1 "$pith" model convert "$mini" x.npy --tensor=nope
says 'no tensor nope'
status 1 "$pith" model convert "$mini" x.gguf --type=iq2_xxs
says 'iq2_xxs is not written; these are: f32, f16, '
status 1 "$pith" model convert "$mini" x.gguf --type=q9
says "no element type 'q9'"
status 1 "$pith" model convert "$mini" x.safetensors --type=q8_0
says 'q8_0 is for GGUF'
status 1 "$pith" model convert q8.gguf x.safetensors
says 'safetensors has no element type for q8_0'
status 1 "$pith" model convert "$mini" x.bin
says 'should end in .gguf'
status 1 "$pith" model convert "$mini" x.gguf --tokenizer="$seeds/npy_good"
status 1 "$pith" model convert "$mini" no/such/x.gguf
status 1 "$pith" model convert "$mini" x.gguf --memory=1K
absent x.gguf
absent x.npy
absent x.safetensors
status 1 "$pith" model
says 'info, convert or validate'
status 1 "$pith" model inspect "$mini"
says "no verb 'inspect'"
status 1 "$pith" model info
says 'which file'
status 1 "$pith" model info --frob "$mini"
says "unknown option '--frob'"
status 1 "$pith" model info "$mini" "$mini"
says 'too many names'
no_leftovers

# a full disk is a failure
if [ -c /dev/full ]; then
    status 1 "$pith" model convert "$mini" /dev/full --to=gguf
    says '/dev/full: No space left'
fi
finish
