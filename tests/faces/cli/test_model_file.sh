#!/bin/sh
# pith --model: files coded with a language model; the same archive on every instruction set and for
# any number of threads; what is said when the model is another one, missing or none at all.
root=$(cd "$(dirname "$0")/../../.." && pwd)
. "$(dirname "$0")/lib.sh"
mini=$root/models/pith-mini.f16.gguf
head -c 1240 "$root/tests/data/alice29.txt" | tail -c 240 > text

# compress, look, test, restore; the built-in model is known to everybody
status 0 "$pith" --model=default text
says 'text .*:.*%.*=>.*text\.pith'
[ "$(wc -c < text.pith)" -lt 175 ] || fail "$(wc -c < text.pith) bytes for 240"
status 0 "$pith" -lv text.pith
prints 'lm, with exact floating point$'
prints ' lm(1024, [0-9]*, [0-9]*, 1068543631, 3716573849, 877246333, 77660620)$'
status 0 "$pith" -t text.pith
status 0 "$pith" -dc text.pith
same out text
status 0 "$pith" -d --model=default --range=100:50 text.pith
tail -c +101 text | head -c 50 > part
same out part

# the same bytes: a recipe, a level that is not looked at, a path to the model, threads, instruction sets
for how in "--model=default --recipe=lm" "--model=default -9" "--recipe=lm" "--model=$mini" "--model default -T2" \
    "--model default --verify -T0"; do
    status 0 "$pith" $how -c text
    same out text.pith
done
for cpu in scalar avx2 avx512; do
    for threads in 1 2; do
        status 0 env PITH_CPU=$cpu "$pith" --model=default -T$threads -c text
        same out text.pith
        status 0 env PITH_CPU=$cpu "$pith" -dc -T$threads text.pith
        same out text
    done
done

# another window is another archive
status 0 "$pith" --recipe='lm(window=16)' -c text
cp out narrow.pith
[ "$(wc -c < narrow.pith)" -gt "$(wc -c < text.pith)" ] || fail "a window of 16 tokens should cost something"
status 0 "$pith" -dc narrow.pith
same out text
status 1 "$pith" --recipe='lm(window=-1)' -c text
says 'window expects a whole number from 0'

# blocks: each by itself, so that threads have something to do and ranges are short
head -c 4500 "$root/tests/data/alice29.txt" > two
status 0 "$pith" --recipe='lm(window=64)' -B4K two
status 0 "$pith" --recipe='lm(window=64)' -B4K -T2 -c two
same out two.pith
status 0 "$pith" -l --json two.pith
prints '"blocks": *2'
status 0 "$pith" -d --range=4090:20 two.pith
tail -c +4091 two | head -c 20 > part
same out part
status 0 "$pith" -dc -T2 two.pith
same out two

# any bytes: what tokens cannot give back is escaped
printf '\377\376\000raw\000 bytes \342\226\201 and na\303\257ve text, said the manual of the file system\n' > odd
status 0 "$pith" --model=default -c odd
cp out odd.pith
status 0 "$pith" -dc odd.pith
same out odd
: > empty
status 0 "$pith" --model=default -c empty
cp out empty.pith
status 0 "$pith" -dc empty.pith
same out empty
make_noise noise 300
status 0 "$pith" --model=default -c noise
[ "$(wc -c < out)" -lt 360 ] || fail "noise grew to $(wc -c < out)"
cp out noise.pith
status 0 "$pith" -dc noise.pith
same out noise

# a second model: what it coded wants it
status 0 "$pith" model convert "$mini" q8.gguf --type=q8_0
status 0 "$pith" --model=q8.gguf -o q8.pith text
cmp -s q8.pith text.pith && fail "two models, one archive"
status 0 "$pith" -l q8.pith
prints 'lm  *q8\.pith$'
for how in -d -dc -t "-d --model=default"; do
    rm -f q8
    status 1 "$pith" $how q8.pith
    says '^pith: q8\.pith: .*coded with the language model [0-9a-f]\{32\}, which is not at hand; give its file (pith --model FILE)$'
    [ "$(wc -l < err)" -eq 1 ] || fail "more than one line: $(cat err)"
    absent q8
done
status 0 "$pith" -dc --model=q8.gguf q8.pith
same out text
status 0 "$pith" -dc --model=q8.gguf text.pith
same out text

# what is no model, and no half-done output
status 1 "$pith" --model=none.gguf -o x text
says 'none\.gguf: No such file'
status 1 "$pith" --model=text -o x text
says '^pith: text: magic at byte 0: neither GGUF'
head -c 5000000 "$mini" > cut.gguf
status 1 "$pith" --model=cut.gguf -o x text
says '^pith: cut\.gguf: .* at byte '
status 1 "$pith" --model= text
says 'model wants a model file, or default'
status 1 "$pith" --model=default -M2M -o x text
says '^pith: '
status 1 "$pith" -dc -M8M text.pith
says 'memory'
absent x
no_leftovers

# damage is told in one line
head -c 140 text.pith > short.pith
status 1 "$pith" -t short.pith
says '^pith: short\.pith: '
{ head -c 140 text.pith && printf 'x' && tail -c +142 text.pith; } > hurt.pith
status 1 "$pith" -t hurt.pith
says '^pith: hurt\.pith: '
finish
