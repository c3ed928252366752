# pith lm generate as a user meets it: known text, stops, JSON, wrong options, a reader that goes.
. "$(dirname "$0")/../../faces/cli/lib.sh"

# Greedy text of the built-in model, as llama.cpp writes it.
cat > want << 'END'
To install the package, run the package, and the package.

The package is the package.
END
status 0 "$pith" lm generate -q --greedy -n 15 "To install the package, run"
same out want
silent
printf 'To install the package, run\n' > prompt
status 0 "$pith" lm generate -q --greedy -n 15 -f prompt
same out want
"$pith" lm generate -q --greedy -n 15 < prompt > out
same out want

# Drafts change nothing; a seed gives one text.
status 0 "$pith" lm generate -q --greedy -n 15 --speculate=suffix "To install the package, run"
same out want
status 0 "$pith" lm generate -q -s 5 -n 30 -T1 "The printer"
cp out seeded
status 0 "$pith" lm generate -q --seed=5 -n 30 -T2 --draft=default "The printer"
same out seeded
status 0 "$pith" lm generate -q --seed=6 -n 30 -T2 "The printer"
cmp -s out seeded && fail "another seed gave the same text"

# Stops, also across tokens.
status 0 "$pith" lm generate -q --greedy -n 40 --stop="nowhere" --stop="ackage is" --no-display-prompt -f prompt --stats
printf ' the package, and the package.\n\nThe p\n' > want
same out want
says 'ended by string'

status 0 "$pith" lm generate --json --greedy -n 5 --stop="." -f prompt
prints '"end": "length"'
prints '"text": " the package, and the"'
prints '"prompt_tokens": 7'
status 0 "$pith" lm generate --json --greedy -n 5 --logit-bias=268-100 -f prompt
grep -q '"text": " the' out && fail "a token with a bias of -100 was chosen"

# What makes no sense.
status 1 "$pith" lm generate --temp=-1 x
says 'temperature'
status 1 "$pith" lm generate --stop= x
status 1 "$pith" lm generate --logit-bias=7 x
status 1 "$pith" lm generate --logit-bias=5000+1 x
says '4096'
status 1 "$pith" lm generate --speculate=guess x
status 1 "$pith" lm generate --speculate=draft x
status 1 "$pith" lm generate --ctx=4 -f prompt
says 'context'
status 1 "$pith" lm generate -f prompt x
status 1 "$pith" lm generate -n 0 x
status 1 "$pith" lm generate --model=nowhere.gguf x
says 'nowhere.gguf'
status 0 "$pith" lm generate --help
prints 'Usage: pith lm generate'

# A reader that goes is no reason to complain.
"$pith" lm generate --greedy -n 200 x 2> err | head -c 5 > out
silent

finish
