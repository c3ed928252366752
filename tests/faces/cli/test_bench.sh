#!/bin/sh
# pith bench file: tables, JSON, figure, peers that are missing, cleaning up.
. "$(dirname "$0")/lib.sh"
make_text a 500
make_text b 200
mkdir tmp
export TMPDIR="$work/tmp"

status 0 "$pith" bench file --levels=1,3-4 --peers=none --runs=1 a b
for level in 1 3 4; do prints "^pith -$level "; done
prints '^a, '
prints '^total of 2 files'
prints 'MB/CPU s'
grep -q 'pith -2' out && fail "level 2 was not asked for"
[ -z "$(ls -A tmp)" ] || fail "left in TMPDIR: $(ls -A tmp)"

# A peer that is not there is named; one that does wrong is caught.
mkdir bin
cat > bin/gzip << 'END'
#!/bin/sh
case $1 in
--version) echo "gzip 9.8.7" ;;
-dc) tr a b ;;
*) shift 2; cat "$1" ;;
esac
END
cat > bin/bzip2 << 'END'
#!/bin/sh
case $1 in
--version) echo "bzip2, Version 1.2.3." >&2 ;;
-dc) cat ;;
*) shift 2; cat "$1" ;;
esac
END
cat > bin/zstd << 'END'
#!/bin/sh
echo "out of order" >&2
exit 3
END
chmod +x bin/*
for tool in sh cat tr env; do ln -s "$(command -v $tool)" bin/$tool; done
PATH="$work/bin" "$pith" bench file --levels=none --peers=gzip,bzip2,xz,zstd a > out 2> err
[ $? -eq 1 ] || fail "a wrong round trip must not pass"
prints '^gzip -9 .*NOT the original'
prints '^bzip2 -9 .* 1\.000 .*8\.0000'
prints '^zstd -3 .*status 3 out of order'
prints 'Not installed, so not measured: xz$'
prints 'bzip2 1\.2\.3'

# The figure.
status 0 "$pith" bench file --levels=1-2 --peers=none --plot=f.svg a
grep -q '^<svg ' f.svg && grep -q 'pith -2' f.svg && grep -q '</svg>' f.svg || fail "no figure"
status 1 "$pith" bench file --levels=1 --peers=none --plot=f.svg a
says 'already exists'
status 0 "$pith" bench file --levels=1 --peers=none --plot=f.svg -f a

# A limit of time, a folder, what cannot be.
mkdir d
cp a b d
status 0 "$pith" bench file --levels=1 --peers=none d
prints '^total of 2 files'
cat > bin/gzip << 'END'
#!/bin/sh
case $1 in
--version) echo "gzip 9.8.7" ;;
*) while :; do :; done ;;
esac
END
PATH="$work/bin" "$pith" bench file --levels=none --peers=gzip --time-limit=0.2 a > out 2> err
prints '^gzip -9 .*took more than 0.2 s'
status 1 "$pith" bench
status 1 "$pith" bench kv a
status 1 "$pith" bench file
status 1 "$pith" bench file missing
status 1 "$pith" bench file --levels=0 a
status 1 "$pith" bench file --levels=3-1 a
status 1 "$pith" bench file --peers=nonsense a
status 1 "$pith" bench file --levels=none --peers=none a

# Ctrl-C in the middle leaves nothing.
PATH="$work/bin" env --default-signal=INT "$pith" bench file --levels=none --peers=gzip a > out 2> err &
pid=$!
once sh -c 'ls tmp/pith-bench-*/coded > /dev/null 2>&1' || fail "nothing began"
kill -INT $pid
wait $pid
[ $? -eq 130 ] || fail "status after SIGINT"
[ -z "$(ls -A tmp)" ] || fail "left in TMPDIR: $(ls -A tmp)"
finish
