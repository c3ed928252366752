#!/bin/sh
# usage: bench/make-mixture.sh OUT [LOG...]
# A mixture for data selection by compression (S288): OUT/source/ holds 400 pieces, prose-NNN.txt (150), code-NNN.txt
# (100) and log-NNN.txt (150), and OUT/target/ holds 50 pieces of code, code-NN.txt, from other files than those of the
# source. A piece is some 600 bytes of whole lines. Prose is from tests/data, code from src/, logs from the files
# named, by default the *.log in $PITH_TEST_DATA/logs, else /var/log/dpkg.log. The same files give the same bytes.
set -eu
LC_ALL=C
export LC_ALL
[ $# -ge 1 ] || { echo "usage: bench/make-mixture.sh OUT [LOG...]" >&2; exit 2; }
out=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
if [ $# -eq 0 ]; then
    if [ -n "${PITH_TEST_DATA:-}" ] && [ -d "$PITH_TEST_DATA/logs" ]; then
        set -- "$PITH_TEST_DATA"/logs/*.log
    else
        set -- /var/log/dpkg.log
    fi
fi
mkdir -p "$out/source" "$out/target"
rm -f "$out"/source/*.txt "$out"/target/*.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Of the pieces of the files on stdin (one name a line), COUNT at equal distances: STEM-001.txt and so on.
pieces() { # pieces COUNT STEM
    tr '\n' '\000' | xargs -0 cat | tr -d '\000\r' | awk -v count="$1" -v stem="$2" '
        { piece = piece $0 "\n" }
        length(piece) >= 600 { held[n++] = piece; piece = "" }
        END {
            if (n < count) exit 1
            for (i = 0; i < count; i++) {
                file = sprintf("%s-%03d.txt", stem, i + 1)
                printf "%s", held[int(i * n / count)] > file
                close(file)
            }
        }' || { echo "make-mixture: too little text for $2: $1 pieces of 600 bytes are needed" >&2; exit 1; }
}
printf '%s\n' "$root/tests/data/alice29.txt" "$root/tests/data/asyoulik.txt" "$root/tests/data/lcet10.txt" |
    pieces 150 "$out/source/prose"
printf '%s\n' "$@" | pieces 150 "$out/source/log"
find "$root/src" -name '*.c' | sort > "$work/code"
awk 'NR % 3 != 0' "$work/code" | pieces 100 "$out/source/code"
awk 'NR % 3 == 0' "$work/code" | pieces 50 "$out/target/code"
