#!/bin/sh
# usage: tidy.sh ROOT
# Fails when a source file is over 600 lines, when a word that marks unfinished work is in the
# sources, or when a path of somebody's machine is anywhere in the project.
set -eu
cd "$1"
status=0
complain() { echo "$1:"; printf '%s\n' "$2" | sed 's/^/  /'; status=1; }

# The files of the project: what git would commit, or without git all but hidden folders and build outputs.
if [ -e .git ] && command -v git > /dev/null && git rev-parse > /dev/null 2>&1; then
    files=$(git ls-files --cached --others --exclude-standard)
else
    files=$(find . \( -name '.git' -o -name 'build' -o -name 'build-*' \) -prune -o -type f -print | sed 's#^\./##')
fi
files=$(printf '%s\n' "$files" | sort -u | while read -r f; do if [ -f "$f" ]; then printf '%s\n' "$f"; fi; done)
sources=$(printf '%s\n' "$files" | grep -E '^(src|include)/.*\.[ch]$' || true)
[ -n "$sources" ] || { echo "no source file found in $1"; exit 1; }

long=$(printf '%s\n' "$sources" | while read -r f; do wc -l "$f"; done | awk '$1 > 600')
[ -z "$long" ] || complain "over 600 lines" "$long"

unfinished=$(printf '%s\n' "$sources" | xargs grep -nwiE 'todo|fixme|xxx|hack|stub|placeholder|not implemented' /dev/null || true)
[ -z "$unfinished" ] || complain "unfinished work" "$unfinished"

# Inputs of tests are other people's bytes and may say what they like.
ours=$(printf '%s\n' "$files" | grep -vE '^tests/(data|vectors|fuzz/corpus)/|^models/' || true)
paths=$(printf '%s\n' "$ours" | tr '\n' '\0' | xargs -0 grep -nIE '/[w]ork/|/[h]ome/[a-z]|/[U]sers/[a-z]|/[r]oot/' /dev/null || true)
[ -z "$paths" ] || complain "a path of somebody's machine" "$paths"

[ "$status" -eq 0 ] && echo "$(printf '%s\n' "$sources" | wc -l) source files in order"
exit "$status"
