#!/bin/sh
# Every command that README, docs/ and the manual pages quote is one that pith has: its verb is known, and each of its
# long options stands in the help of that verb.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../faces/cli/lib.sh"
root=${PITH_SOURCE_DIR:-$(cd "$here/../.." && pwd)}

# help_of VERB SUB: the name of a file with the help that goes with them, made once; fails when pith has no such verb.
help_of() {
    text="$work/help.$1.$2"
    [ ! -e "$text" ] || { [ -s "$text" ]; return; }
    case $1 in
    "") "$pith" --help > "$text" ;;
    *)
        # shellcheck disable=SC2086 # no second word is no argument
        "$pith" $1 $2 --help > "$text" 2> /dev/null || : > "$text"
        grep -q -e "pith $1${2:+ $2}\b" "$text" || : > "$text" # some answer for all verbs they do not know
        ;;
    esac
    [ -s "$text" ]
}

# quoted FILE WORDS...: checks one command.
quoted() {
    where=$1
    shift
    verb='' sub=''
    case ${1:-} in
    *[!a-z-]* | -* | "") ;; # a file, an option
    *)
        verb=$1
        case "$verb ${2:-}" in
        "bench "* | "lm "* | "model "*)
            case ${2:-} in
            *[!a-z-]* | -* | "") ;;
            *) sub=$2 ;;
            esac
            ;;
        esac
        ;;
    esac
    help_of "$verb" "$sub" || {
        fail "$where: there is no 'pith $verb $sub'"
        return
    }
    for word; do
        case $word in
        --[a-z]*)
            option=${word%%[!a-z-]*}
            grep -q -e "$option\([^a-z-]\|\$\)" "$text" || fail "$where: 'pith $verb $sub' has no option $option"
            ;;
        esac
    done
}

check() {
    n=0
    awk -f "$here/commands.awk" "$@" > "$work/commands"
    set -f
    while read -r where words; do
        # shellcheck disable=SC2086 # words are to be split
        quoted "$where" $words
        n=$((n + 1))
    done < "$work/commands"
    set +f
}

cd "$root" || exit 1
check README.md docs/*.md docs/man/*.1
[ "$n" -gt 100 ] || fail "only $n commands were found in the documentation"

# The check finds what is wrong.
cd "$work" || exit 1
{
    printf 'Say `pith nonsense` or `pith\nmodel nonsense x`, `pith --help`.\n\n    $ cat a | pith -d --nonsense | wc\n\n'
    printf '| `pith bench flips --nonsense=1` | `pith lm\n\n```\npith lm nonsense\n```\n'
} > wrong.md
printf '.nf\npith rank \\-\\-nonsense\n.fi\npith nonsense\n' > wrong.1
before=$failures
check wrong.md wrong.1 > found
found=$((failures - before))
failures=$before
[ "$found" -eq 6 ] || fail "$found of 6 wrong commands were found: $(cat found)"
finish
