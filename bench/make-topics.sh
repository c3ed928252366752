#!/bin/sh
# usage: bench/make-topics.sh OUT
# Short texts of four classes for classification by code length (S084), as lines "class TAB text":
#   OUT/books.train.tsv, OUT/books.test.tsv      passages of about 300 bytes from four files of tests/data, the first
#                                                half of each file for training, the second for the test
#   OUT/sections.train.tsv, OUT/sections.test.tsv  topics: one-line descriptions of Debian packages, three to a text,
#                                                by archive section, one package of each source; only where apt has its
#                                                package lists
# 50 texts of each class on each side. The same files and package lists give the same bytes.
set -eu
LC_ALL=C
export LC_ALL
[ $# -eq 1 ] || { echo "usage: bench/make-topics.sh OUT" >&2; exit 2; }
out=$1
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# 100 passages of each file at equal distances, of whole words.
passages() { # passages CLASS FILE
    tr -s '\000-\040' ' ' < "$2" | awk -v class="$1" -v train="$out/books.train.tsv" -v test="$out/books.test.tsv" '
        { text = text $0 " " }
        END {
            step = length(text) / 100
            for (i = 0; i < 100; i++) {
                piece = substr(text, int(i * step) + 1, step < 300 ? step : 300)
                sub(/^[^ ]* /, "", piece)
                sub(/ [^ ]*$/, "", piece)
                print class "\t" piece >> (i < 50 ? train : test)
            }
        }'
}
rm -f "$out"/books.*.tsv "$out"/sections.*.tsv
passages story "$root/tests/data/alice29.txt"
passages play "$root/tests/data/asyoulik.txt"
passages report "$root/tests/data/lcet10.txt"
passages page "$root/tests/data/html"

# section TAB source TAB description, one line for each source
{ apt-cache dumpavail 2> "$work/log" || true; } | awk '
    function flush() {
        if (section ~ /^(games|sound|science|net)$/ && about != "")
            print section "\t" (source != "" ? source : package) "\t" about
        package = source = section = about = ""
    }
    /^$/ { flush() }
    /^Package: / { package = $2 }
    /^Source: / { source = $2 }
    /^Section: / { section = $2 }
    /^Description: / { about = substr($0, 14) }
    END { flush() }' | sort -t "$(printf '\t')" -s -u -k 1,2 > "$work/packages"

# 300 sources of a section at equal distances in the alphabet, the first half dealt out in turn to the 50 texts for
# training and the second to those of the test: neighbours are often of one project and must not be on both sides.
for section in games net science sound; do
    awk -F '\t' -v section="$section" -v train="$out/sections.train.tsv" -v test="$out/sections.test.tsv" '
        $1 == section { about[n++] = $3 }
        END {
            if (n < 300) exit 1
            for (i = 0; i < 300; i++) {
                t = (i < 150 ? 0 : 50) + i % 50
                text[t] = text[t] about[int(i * n / 300)] ". "
            }
            for (i = 0; i < 100; i++) {
                sub(/ $/, "", text[i])
                print section "\t" text[i] >> (i < 50 ? train : test)
            }
        }' "$work/packages" || {
        echo "make-topics: too few packages of section $section in the lists of apt; only the books are made" >&2
        rm -f "$out"/sections.*.tsv
        break
    }
done
