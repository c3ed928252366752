#!/bin/sh
# pith distance, rank, select, and the experiments on code length: what they print and refuse.
root=$(cd "$(dirname "$0")/../../.." && pwd)
. "$(dirname "$0")/lib.sh"
page=$root/docs/man/pith-distance.1

cat > pages1 << 'END'
A page of memory which has been written to must be kept until it is saved; a page that was only read may be dropped.
END
cat > pages2 << 'END'
A page that was written to must be saved before it may be dropped; one that was only read can be dropped at any time.
END
cat > soup << 'END'
Peel three large onions, cut them into rings and let them brown slowly in butter; then add flour, broth and a bay leaf.
END

# distance
for coder in cm cm-large ssm zstd lzma lm; do
    status 0 "$pith" distance --coder=$coder pages1 pages2
    silent
    prints '^K(x|y) '
    prints '^ncd  *[01]\.[0-9]'
    status 0 "$pith" distance --coder=$coder pages1 pages2 soup
    # the two pages are nearer to each other than either to the soup
    awk 'NR == 3 { ok = $3 < $4 } NR == 4 { ok = ok && $2 < $4 } END { exit !ok }' out || fail "$coder: $(cat out)"
done
status 0 "$pith" distance --by=sum -T1 --json pages1 pages2 soup
cp out one
status 0 "$pith" distance --by=sum -T3 --json pages1 pages2 soup
same one out
status 0 "$pith" distance --json pages1 pages2
prints '"x_given_y_bits"'
prints '"max"'
cat pages1 soup > both
status 0 "$pith" distance --lines both
prints '^K(x) '
mkdir folder && cp pages1 pages2 soup folder
status 0 "$pith" distance folder
prints 'folder/soup$'
status 0 "$pith" distance --model=default pages1 pages2
prints 'pith-mini'
status 1 "$pith" distance pages1
says 'at least two texts'
status 1 "$pith" distance pages1 nowhere
says '^pith: nowhere: '
status 1 "$pith" distance --coder=gzip pages1 pages2
says "no coder 'gzip'"
status 1 "$pith" distance --coder=zstd --model=default pages1 pages2
says 'goes with'
status 1 "$pith" distance --by=far pages1 pages2
says "no distance 'far'"
status 1 "$pith" distance --model=soup pages1 pages2
[ "$(wc -l < err)" -eq 1 ] || fail "more than one line: $(cat err)"
: > empty
status 0 "$pith" distance empty empty
prints '^ncd  *0\.0000$'

# rank
for coder in cm lm; do
    status 0 "$pith" rank --coder=$coder -Q 'brown the onions in butter' pages1 soup pages2
    [ "$(sed -n 2p out | awk '{ print $2 }')" = soup ] || fail "$coder ranks: $(cat out)"
done
echo 'Was the page written to, or only read?' > query
status 0 "$pith" rank --query-file=query --by=max -n 1 --json folder
prints 'folder/pages'
[ "$(grep -c '"text"' out)" -eq 1 ] || fail "not one text: $(cat out)"
status 0 "$pith" rank --lines -Q butter both
prints ' both:2$'
status 1 "$pith" rank pages1
says 'one query'
status 1 "$pith" rank -Q a --query-file=query pages1
says 'one query'
status 1 "$pith" rank -Q a
says 'which texts'
status 1 "$pith" rank -Q a empty --lines
says 'no text'

# select
for flags in '' --primed '--coder=lzma' '--primed --coder=cm-large'; do
    # shellcheck disable=SC2086 # several flags
    status 0 "$pith" select $flags --target=pages1 -n1 soup pages2
    prints ' pages2$'
done
status 0 "$pith" select --print --target=pages1 -n 1 soup pages2
same out pages2
status 0 "$pith" select --json --lines --target=pages1 -n2 both
prints '"score": "alignment"'
status 1 "$pith" select soup
says 'which target'
status 1 "$pith" select --target=pages1
says 'which sources'
status 1 "$pith" select --target=pages1 --print --json soup
says 'do not go together'

# help, page and completion name the same flags
for verb in distance rank select; do
    status 0 "$pith" help $verb
    prints "^Usage: pith $verb"
    for flag in $(grep -o -e '--[a-z][a-z-]*' out | sort -u); do
        tr -d '\\' < "$page" | grep -q -e "$flag\b" || fail "pith-distance.1 lacks $flag"
    done
done

# experiments, as small as they go
cd "$root" || exit 1
verdict() { tail -n 1 "$work/out" | grep -q -e '^claim \(holds\|refuted\)' || fail "no verdict: $(tail -n 2 "$work/out")"; }
status 0 "$pith" bench few-shot --count=1 --shots=1
verdict
status 0 "$pith" bench zip-fit --limit=8 --coder=zstd
verdict
status 0 "$pith" bench equal-info --bytes=4096 --merges=20
verdict
status 0 "$pith" bench llmzip --bytes=512
verdict
status 0 "$pith" bench lmic --bytes=8192 --sample=4096
verdict
status 0 "$pith" bench lmcompress --bytes=1024 --tune=2048
verdict
status 0 "$pith" bench atoms --times=1 --tokens=600 --held=64 --rounds=1
verdict
status 0 "$pith" bench embedding --only=clicks --budgets=32 --train=1000 --test=1000 --epochs=1
verdict
status 1 "$pith" bench embedding --budgets=1
status 1 "$pith" bench atoms --layer=99
mkdir "$work/dated"
for month in 1 2 3; do
    for line in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
        echo "  * month $month, point $line: the reader of files no longer forgets the last line of a page, closes: $month$line"
    done > "$work/dated/2020-0$month.txt"
done
status 0 "$pith" bench dated --months=3 --read=1 "$work/dated"
verdict
status 0 "$pith" bench dated --months=3 --read=1 --json "$work/dated"
prints '"verdict": "claim '
status 1 "$pith" bench dated
says 'which folder'
cd "$work" || exit 1
status 1 "$pith" bench llmzip
says "source folder"
finish
