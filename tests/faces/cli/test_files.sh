#!/bin/sh
# Which file becomes which: names, overwriting, --rm, links, folders, mode and time, several files.
. "$(dirname "$0")/lib.sh"
make_text a 500
make_text b 300
: > empty
printf x > one

# Every name gets its archive and keeps its input.
status 0 "$pith" a b empty one
says 'a .*:.*%.*=>.*a\.pith'
for f in a b empty one; do
    exists $f
    status 0 "$pith" -dc $f.pith
    same out $f
done

# Nothing is overwritten unasked, in either direction.
cp a.pith before
make_text a 100
status 1 "$pith" a
says 'already exists'
same a.pith before
cp b b.mine
echo mine > b
status 1 "$pith" -d b.pith
says 'already exists'
[ "$(cat b)" = mine ] || fail "b was overwritten"
status 0 "$pith" -df b.pith
same b b.mine
status 0 "$pith" -f a
status 1 "$pith" -o b a
same b b.mine

# A failure is told; the others are done; the exit status remembers.
rm -f a.pith
status 1 "$pith" missing a
says 'missing: No such file'
exists a.pith
absent missing.pith

# Suffixes.
status 1 "$pith" a.pith
says 'already has the suffix'
absent a.pith.pith
status 1 "$pith" -d a
says 'unknown suffix'
cp a.pith odd.name
status 0 "$pith" -d odd.name -o restored
same restored a

# Input and output must be two files.
cp a same
status 1 "$pith" -f same -o same
says 'input and output at once'
same same a
ln same other
status 1 "$pith" -f same -o other
same same a
cat a > self
status 1 sh -c '"$1" -c self >> self' sh "$pith"
same self a

# Links are followed only when asked; their targets keep being what they were.
ln -s a link
status 1 "$pith" link
says 'symbolic link'
absent link.pith
status 0 "$pith" -f link
exists link.pith
status 1 "$pith" -f --rm link
exists link && exists a

# Mode and time travel with the content.
chmod 640 a
touch -d '2001-02-03 04:05:06' a
status 0 "$pith" -f a
[ "$(stat -c '%a %Y' a)" = "$(stat -c '%a %Y' a.pith)" ] || fail "mode or time of a.pith"
mv a a.orig
status 0 "$pith" -d a.pith
[ "$(stat -c '%a %Y' a)" = "$(stat -c '%a %Y' a.orig)" ] || fail "mode or time of restored a"
same a a.orig

# --rm: both ways, and only for what succeeded.
status 0 "$pith" --rm -f a
absent a
exists a.pith
status 0 "$pith" -d --rm a.pith
absent a.pith
same a a.orig
printf 'not an archive' > bad.pith
status 1 "$pith" -d --rm bad.pith
exists bad.pith
absent bad
status 0 "$pith" --rm -o elsewhere.pith b
absent b
exists elsewhere.pith
status 0 "$pith" -d elsewhere.pith -o b
same b b.mine
status 0 "$pith" --rm -c b
exists b
status 0 "$pith" --rm b -o /dev/null
exists b

# Folders.
mkdir -p d/e
cp a d/x
cp b d/e/y
printf q > d/e/z.pith
ln -s ../a d/link
status 1 "$pith" d
says 'is a directory'
status 0 "$pith" -rq d
silent
exists d/x.pith
exists d/e/y.pith
absent d/link.pith
absent d/e/z.pith.pith
rm d/x d/e/y d/e/z.pith
status 0 "$pith" -dr d
same d/x a
same d/e/y b
status 1 "$pith" -r -o all d

# Joined only when the user insists, because names get lost.
status 1 "$pith" a b -o joined
absent joined
status 0 "$pith" -f a b -o joined
status 0 "$pith" -dc joined
cat a b > both
same out both

# A file nobody may read, a folder nobody may write (root may do both).
if [ "$(id -u)" -ne 0 ]; then
    cp a closed
    chmod 000 closed
    status 1 "$pith" closed
    mkdir locked
    cp a locked/a
    chmod 555 locked
    status 1 "$pith" locked/a
    absent locked/a.pith
    chmod 755 locked
fi
status 1 "$pith" a -o no/such/folder
no_leftovers
finish
