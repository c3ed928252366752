#!/bin/sh
# usage: setup.sh SCRIPTS/SETUP
# Holds scripts/setup to its word on made-up machines: it asks for what is missing and nothing
# else, gives up with a clear message where it cannot install, and refuses unknown modes.
set -eu
setup=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }

# A machine with the tools a script needs and no compiler, whose apt-get writes down what it is told.
mkdir "$work/bin"
for tool in sh sed grep tr sort uname cat env; do ln -s "$(command -v "$tool")" "$work/bin/$tool"; done
printf '#!/bin/sh\necho 0\n' > "$work/bin/id"
printf '#!/bin/sh\nexit 0\n' > "$work/bin/sleep"
cat > "$work/bin/apt-get" <<'END'
#!/bin/sh
echo "$DEBIAN_FRONTEND: $*" >> "$APT_LOG"
case "$*" in *update*) [ "$(grep -c update "$APT_LOG")" -ge 2 ] ;; esac
END
chmod +x "$work/bin/id" "$work/bin/sleep" "$work/bin/apt-get"
APT_LOG=$work/log
export APT_LOG

on_bare() { PATH=$work/bin "$work/bin/sh" "$setup" "$@"; }

: > "$APT_LOG"
on_bare build > "$work/out" 2>&1 && fail "build: success although nothing got installed"
[ "$(grep -c update "$APT_LOG")" = 2 ] || fail "a failed apt-get update is not tried again once"
for package in gcc make cmake ninja-build pkg-config libzstd-dev liblzma-dev libxxhash-dev libjansson-dev \
    libpcre2-dev libutf8proc-dev libdivsufsort-dev libsqlite3-dev; do
    grep install "$APT_LOG" | grep -qw -- "$package" || fail "build: does not install $package"
    grep -qw -- "$package" "$work/out" || fail "build: does not say that it installs $package"
done
grep -q '^noninteractive: .*install' "$APT_LOG" || fail "apt-get may ask questions"
grep install "$APT_LOG" | grep -qw clang && fail "build: installs clang, which it does not need"
grep -q 'still missing' "$work/out" || fail "build: does not say what is still missing"

: > "$APT_LOG"
on_bare check > "$work/out" 2>&1 || true
for package in clang libcmocka-dev; do
    grep install "$APT_LOG" | grep -qw -- "$package" || fail "check: does not install $package"
done
: > "$APT_LOG"
on_bare demo > "$work/out" 2>&1 || true
for package in xz-utils zstd brotli bzip2 gzip bzip3 zpaq p7zip-full; do
    grep install "$APT_LOG" | grep -qw -- "$package" || fail "demo: does not install $package"
done

# Somebody who is not root: without sudo a clear message, with sudo everything goes through it.
printf '#!/bin/sh\necho 1000\n' > "$work/bin/id"
: > "$APT_LOG"
on_bare build > "$work/out" 2>&1 && fail "neither root nor sudo: success"
{ grep -q sudo "$work/out" && grep -q 'apt-get install .*gcc' "$work/out"; } || fail "no sudo: the message does not help: $(cat "$work/out")"
[ ! -s "$APT_LOG" ] || fail "runs apt-get without being root"
cat > "$work/bin/sudo" <<'END'
#!/bin/sh
echo sudo >> "$APT_LOG"
exec "$@"
END
chmod +x "$work/bin/sudo"
on_bare build > "$work/out" 2>&1 || true
[ "$(grep -c '^sudo' "$APT_LOG")" = "$(grep -c '^noninteractive' "$APT_LOG")" ] || fail "an apt-get did not go through sudo"

rm "$work/bin/apt-get"
on_bare build > "$work/out" 2>&1 && fail "no apt-get: success"
{ grep -q 'apt-get' "$work/out" && grep -qw gcc "$work/out"; } || fail "no apt-get: the message does not help: $(cat "$work/out")"

on_bare nonsense > "$work/out" 2>&1 && fail "unknown mode accepted"
grep -q usage "$work/out" || fail "unknown mode: no usage line"

# This machine has built the project, so there is nothing to do, and no apt-get is needed for that.
sh "$setup" build > "$work/out" 2>&1 || fail "build on this machine: $(cat "$work/out")"

[ "$failures" -eq 0 ] || exit 1
echo "scripts/setup keeps its word"
