#!/bin/sh
# pith lm and pith measure: every verb with no model named, files whole or not there, wrong usage.
. "$(dirname "$0")/lib.sh"
make_text a 60

status 0 "$pith" lm --help
for verb in info tokenize detokenize perplexity surprise needle cloze time; do
    grep -q "^  $verb " out || fail "$verb is not listed"
done
for verb in info tokenize detokenize perplexity surprise needle cloze time; do
    "$pith" lm $verb --help > help 2> err || fail "$verb --help"
    grep -q "^Usage: pith lm $verb" help || fail "usage of $verb"
done
status 0 "$pith" help measure
prints '^Usage: pith measure'
status 1 "$pith" lm
says 'which verb'
status 1 "$pith" lm nonsense
says "no verb 'nonsense'"
status 1 "$pith" lm info --nonsense
status 1 "$pith" lm info --model=missing
says 'missing'
status 1 "$pith" lm info --ctx=0
status 1 "$pith" lm info a b
status 1 "$pith" lm perplexity -M100 a

# What a model is.
status 0 "$pith" lm info
prints '^architecture .*llama'
prints '^vocabulary .*4096'
status 0 "$pith" lm info --json
prints '"kind": "spm"'

# Text to ids and back.
status 0 "$pith" lm tokenize --text 'Hello, world 42'
cp out ids
status 0 "$pith" lm detokenize ids
[ "$(cat out)" = 'Hello, world 42' ] || fail "detokenize gave $(cat out)"
"$pith" lm tokenize a | "$pith" lm detokenize > back || fail "a pipe of tokens"
same a back
status 0 "$pith" lm tokenize --pieces --text 'tab	x'
prints 'x09'
status 0 "$pith" lm tokenize --json --text 'x'
prints '"ids":\['
echo "1 99999" > bad
status 1 "$pith" lm detokenize bad
says 'token 99999'
echo "1 x" > bad
status 1 "$pith" lm detokenize bad
says 'byte 2'

# Perplexity, the base file, comparison.
status 0 "$pith" lm perplexity --ctx=64 --chunks=3 --save-base=base a
prints '^perplexity '
silent
status 1 "$pith" lm perplexity --ctx=64 --chunks=3 --save-base=base a
says 'already exists'
status 0 "$pith" lm perplexity --ctx=64 --chunks=3 --save-base=base2 -T1 a
same base base2
status 0 "$pith" lm perplexity --ctx=64 a
prints '^bits per byte'
status 1 "$pith" lm perplexity --ctx=100000 a
says 'give more text'
status 1 "$pith" lm perplexity --save-base=no/base --ctx=64 a
no_leftovers
status 0 "$pith" measure --base=base default
prints '^same likeliest token'
status 0 "$pith" measure --ctx=64 --chunks=2 --json --save-base=base3 --cloze=4 default default a
prints '"flips": 0.0'
grep -q '"mean": 0.0' out || fail "a model differs from itself"
exists base3

# Keys and values in other types: said, not the same, refused by name.
status 0 "$pith" measure --ctx=64 --chunks=2 --cache-type=q4_0 --cache-type-k=q8_0 default default a
prints '^B: .*keys cached as q8_0, values as q4_0$'
prints '^same likeliest token'
status 0 "$pith" measure --ctx=64 --chunks=2 --cache-type=bf16 --json default default a
prints '"cache_values": "bf16"'
status 0 "$pith" lm generate --greedy -n 20 --cache-type=q4_0 'Once upon a time'
cp "$work/out" plain
status 0 "$pith" lm generate --greedy -n 20 --cache-type=q4_0 --speculate=suffix -T1 'Once upon a time'
cmp -s "$work/out" plain || fail "a draft changes what is said under a q4_0 cache"
status 0 "$pith" lm perplexity --ctx=64 --chunks=2 --cache-type-v=q5_0 a
for verb in generate perplexity surprise needle cloze time; do
    status 1 "$pith" lm "$verb" --cache-type-k=q4_K
    says "cache-type-k: f32, .* not 'q4_K'"
done
status 1 "$pith" measure --cache-type=f64 default default a
says "cache-type: f32, .* not 'f64'"
status 1 "$pith" measure default default
status 1 "$pith" measure --base=base --ctx=64 default
status 1 "$pith" measure --base=a default
says '_logits_'
head -c 1000 base > cut
status 1 "$pith" measure --base=cut default
says 'too few'

# Surprise.
head -n 5 a > few
status 0 "$pith" lm surprise few
prints 'likeliest'
prints 'bits per byte'
status 0 "$pith" lm surprise --json few
prints '"top":\['
status 0 "$pith" lm surprise --html=page.html few
grep -q '</html>' page.html || fail "no page"
status 1 "$pith" lm surprise --html=page.html few
says 'already exists'
status 0 "$pith" lm surprise --html=page.html -f few

# Tasks.
status 0 "$pith" lm needle --length=128 -n 2 --show
prints 'exact [0-2] of 2'
status 0 "$pith" lm needle --length=128 -n 2 --json
prints '"recall"'
status 0 "$pith" lm needle --print --kind=tracking --length=200 -n 2
[ "$(wc -l < out)" -eq 2 ] || fail "two prompts make two lines"
cp out first
status 0 "$pith" lm needle --print --kind=tracking --length=200 -n 2
same first out
status 1 "$pith" lm needle --kind=none
for depth in -0.5 -1 1.5; do
    status 1 "$pith" lm needle --depth=$depth
    says '0 to 1'
done
for bad in --ctx=2 --top-p=2; do # and nothing of the prompt before it
    status 1 "$pith" lm generate 'Once upon a time' -n 3 $bad
    [ ! -s out ] || fail "generate $bad: $(cat out)"
done
status 1 "$pith" lm needle --length=20
says 'take'
status 0 "$pith" lm cloze --print -n 3 a
cp out items
status 0 "$pith" lm cloze --items=items
prints ' of 3 right'
status 0 "$pith" lm cloze --items=items --against=default
prints '^flips 0.0 %'
echo '{"question": "x"}' > bad
status 1 "$pith" lm cloze --items=bad
says 'line 1'

# tuned: all weights, a model that opens
awk 'BEGIN { for (i = 0; i < 60; i++) printf "%02d:%02d eth%d up\n", i % 24, i * 7 % 60, i % 2 }' > log
status 0 "$pith" lm tune --all --epochs=1 -o tuned.gguf log
prints 'bits a token before'
status 0 "$pith" lm perplexity --ctx=32 --chunks=2 --model=tuned.gguf log
status 1 "$pith" lm tune --all -o tuned.gguf log
# taught by what it was cut from
status 0 "$pith" model prune default cut.gguf --layers=2 --share-keys=1 --method=magnitude --tokens=64
prints 'key heads    1 of 2'
status 0 "$pith" lm tune --all --model=cut.gguf --teacher=default --mix=1 --epochs=1 --rate=0.0003 -o taught.gguf log
prints 'divergence from .* nats a token before'
status 0 "$pith" lm tune --all --json --model=cut.gguf --teacher=default --epochs=1 --rate=0.0003 -f -o taught.gguf log
prints '"kl_after"'
status 1 "$pith" lm tune --teacher=default -o x.gguf log
says 'go with --all'
status 1 "$pith" lm tune --all --mix=0.5 -o x.gguf log
says 'go with --teacher'
rm cut.gguf taught.gguf
printf "too short" > short
status 1 "$pith" lm tune --all -o other.gguf short
rm tuned.gguf
no_leftovers
finish
