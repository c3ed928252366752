# What the tests of the command share: `. "$(dirname "$0")/lib.sh"` first.
# PITH (or PITH_COMMAND) names the command. Each test works in an empty folder of its own.
set -u
pith=${PITH:-${PITH_COMMAND:-pith}}
case $pith in
*/*) pith=$(cd "$(dirname "$pith")" && pwd)/$(basename "$pith") ;;
esac
[ -x "$pith" ] || command -v "$pith" > /dev/null || {
    echo "no command to test: set PITH"
    exit 1
}
work=$(mktemp -d "${TMPDIR:-/tmp}/pith-test-XXXXXX") || exit 1
trap 'cd /; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
cd "$work" || exit 1
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# status N COMMAND...: its exit status must be N; standard output in out, standard error in err.
status() {
    want=$1
    shift
    "$@" > "$work/out" 2> "$work/err" < /dev/null
    got=$?
    [ "$got" -eq "$want" ] || fail "status $got instead of $want: $* ($(head -n 1 "$work/err"))"
}

says() { grep -q -e "$1" "$work/err" || fail "no '$1' on standard error but: $(head -n 3 "$work/err")"; }
prints() { grep -q -e "$1" "$work/out" || fail "no '$1' on standard output but: $(head -n 3 "$work/out")"; }
silent() { [ ! -s "$work/err" ] || fail "should be silent, said: $(head -n 3 "$work/err")"; }
same() { cmp -s "$1" "$2" || fail "$1 and $2 differ"; }
exists() { [ -e "$1" ] || fail "$1 is missing"; }
absent() { [ ! -e "$1" ] && [ ! -L "$1" ] || fail "$1 should not be there"; }
# No unfinished output file lies in the folder.
no_leftovers() {
    left=$(find "${1:-.}" -name '.pith-*' | head -n 3)
    [ -z "$left" ] || fail "left behind: $left"
}

# make_text FILE LINES: text that compresses; make_noise FILE BYTES: bytes that do not.
make_text() {
    awk -v n="$2" 'BEGIN { s = 7; for (i = 0; i < n; i++) { s = (s * 16807) % 2147483647
        printf "line %d of a file that says %d and %d again\n", i, s % 97, int(s / 97) % 1009 } }' > "$1"
}
make_noise() { head -c "$2" /dev/urandom > "$1"; }

# once CONDITION...: waits until it holds, ten seconds at most.
once() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || return 1
        sleep 0.1
    done
}

finish() {
    [ "$failures" -eq 0 ] || {
        echo "$failures failed"
        exit 1
    }
    exit 0
}
