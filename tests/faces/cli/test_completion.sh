#!/bin/sh
# The completion offers what the command has, no more and no less, and so do the manual pages.
. "$(dirname "$0")/lib.sh"
cd - > /dev/null || exit 1
root=${PITH_SOURCE_DIR:-$(cd "$(dirname "$0")/../../.." && pwd)}
status 0 "$pith" --help
flags=$(grep -o -e '--[a-z][a-z-]*' "$work/out" | sort -u)
[ "$(printf '%s\n' "$flags" | wc -l)" -gt 15 ] || fail "the help lists hardly any flags"
for flag in $flags; do
    grep -q -e "$flag\b" "$root/completions/pith.bash" || fail "completion lacks $flag"
    tr -d '\\' < "$root/docs/man/pith.1" | grep -q -e "$flag\b" || fail "pith.1 lacks $flag"
done
status 0 "$pith" bench --help
for flag in $(grep -o -e '--[a-z][a-z-]*' "$work/out" | sort -u); do
    grep -q -e "$flag\b" "$root/completions/pith.bash" || fail "completion lacks $flag of bench"
    tr -d '\\' < "$root/docs/man/pith-bench.1" | grep -q -e "$flag\b" || fail "pith-bench.1 lacks $flag"
done

# What the completion offers, the command takes.
if command -v bash > /dev/null; then
    mkdir "$work/files"
    cd "$work/files" || exit 1
    : > a.txt
    : > a.pith
    cat > complete.bash << 'END'
. "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_pith 2> /dev/null
printf '%s\n' "${COMPREPLY[@]}" | sort -u
END
    offers() { bash complete.bash "$root/completions/pith.bash" "$@" | tr '\n' ' '; }
    [ "$(offers pith -d a)" = "a.pith " ] || fail "-d offers $(offers pith -d a)"
    [ "$(offers pith a)" = "a.pith a.txt " ] || fail "files: $(offers pith a)"
    [ "$(offers pith be)" = "bench " ] || fail "verbs: $(offers pith be)"
    [ "$(offers pith bench fi)" = "file " ] || fail "bench: $(offers pith bench fi)"
    for verb in $(offers pith bench ""); do
        status 0 "$pith" bench "$verb" --help
        tr -d '\\' < "$root/docs/man/pith-bench.1" | grep -q -e "$verb\b" || fail "pith-bench.1 lacks $verb"
        "$pith" bench --help | grep -q -e "[ |]$verb\b" || fail "the help of bench lacks $verb"
    done
    case " $(offers "$pith" model "") " in
    *" compress "*" decompress "*" explain-size "*" load "*" quantize "*) ;;
    *) fail "verbs of model: $(offers "$pith" model "")" ;;
    esac
    for verb in $(offers "$pith" model ""); do
        [ "$verb" = --help ] || status 0 "$pith" model "$verb" --help
    done
    case " $(offers "$pith" model compress --lo)$(offers "$pith" model load --by) " in
    *" --lossy --bytes "*) ;;
    *) fail "flags of model: $(offers "$pith" model compress --lo)$(offers "$pith" model load --by)" ;;
    esac
    for verb in $(offers pith help ""); do
        status 0 "$pith" help "$verb"
    done
    [ "$(offers pith rank --coder = z)" = "zstd " ] || fail "coders: $(offers pith rank --coder = z)"
    [ "$(offers pith --model = def)" = "default " ] || fail "models: $(offers pith --model = def)"
    [ "$(offers pith bench file --peers = bzi)" = "bzip2 bzip3 " ] || fail "peers: $(offers pith bench file --peers = bzi)"
    for flag in $(offers pith --); do
        case $flag in
        --output | --range | --threads | --memory | --block-size | --max-time | --recipe | --model) continue ;;
        esac
        status 0 "$pith" "$flag" --version
    done
fi
finish
