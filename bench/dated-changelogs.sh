#!/bin/sh
# usage: bench/dated-changelogs.sh OUT [FIRST LAST]
# Dated text for evaluation by compression over time (S237): the entries of the Debian changelogs of the packages
# installed here, one file OUT/YYYY-MM.txt for each month from FIRST to LAST (YYYY-MM), and OUT/months.tsv with
# month, entries and bytes. The same packages give the same bytes. An entry is its first line and its points; the
# signature with the date is left out, as it would tell the month. Packages built from one source carry copies of one
# changelog: an entry counts once. An entry ends with the line that takes it past 4096 bytes, or the lists of changes
# of the kernel would be most of some months. The month
# is that of the upload.
set -eu
LC_ALL=C
export LC_ALL
case $# in 1 | 3) ;; *) echo "usage: bench/dated-changelogs.sh OUT [FIRST LAST]" >&2; exit 2 ;; esac
out=$1 first=${2:-0000-00} last=${3:-9999-99}
mkdir -p "$out"
rm -f "$out"/[0-9][0-9][0-9][0-9]-[0-9][0-9].txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# month TAB package TAB version TAB entry, its lines separated by a control character that no changelog holds
for file in /usr/share/doc/*/changelog.Debian.gz /usr/share/doc/*/changelog.gz; do
    if [ -f "$file" ]; then gzip -dc "$file" 2> /dev/null || true; fi
done | tr -d '\001\r' | awk -v first="$first" -v last="$last" '
    BEGIN {
        split("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec", names, " ")
        for (i = 1; i <= 12; i++) month_of[names[i]] = sprintf("%02d", i)
    }
    /^[a-z0-9][a-z0-9+.-]* \([^)]*\) .*;.*=/ { # package (version) distributions; urgency=...
        name = $1 "\t" substr($2, 2, length($2) - 2)
        text = $0
        next
    }
    /^ -- .*>  [A-Z]/ && text != "" {
        date = $0
        sub(/^.*>  */, "", date)
        sub(/^[A-Z][a-z][a-z], */, "", date)
        split(date, part, " ") # day month year time zone
        month = part[3] "-" month_of[part[2]]
        if (month ~ /^[0-9][0-9][0-9][0-9]-[0-9][0-9]$/ && month >= first && month <= last)
            print month "\t" name "\t" text
        text = ""
        next
    }
    /^  / && text != "" && length(text) < 4096 { text = text "\001" $0 }
    /^[^ ]/ { text = "" } # no changelog of that form
' | sort -t "$(printf '\t')" -u -k 1,3 > "$work/entries"

awk -F '\t' -v out="$out" '
    $1 != month { if (month != "") close(out "/" month ".txt"); month = $1 }
    {
        text = substr($0, length($1) + length($2) + length($3) + 4)
        gsub(/\001/, "\n", text)
        print text "\n" > (out "/" month ".txt")
    }' "$work/entries"
cut -f 1 "$work/entries" | uniq -c | while read -r entries month; do
    printf '%s\t%s\t%s\n' "$month" "$entries" "$(wc -c < "$out/$month.txt" | tr -d ' ')"
done > "$out/months.tsv"
[ -s "$out/months.tsv" ] || { echo "dated-changelogs: no Debian changelog of these months here" >&2; exit 1; }
