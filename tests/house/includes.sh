#!/bin/sh
# usage: includes.sh ROOT
# Fails when an #include under ROOT/src or ROOT/include breaks the order of the house:
#  - a floor includes only itself and floors below: base < math < formats < kernels < lm < artefacts < faces;
#  - kernels do not include each other, except that measure may include any (it is the ruler)
#    and represent may include predict (for entropy coding); artefacts and faces never do;
#  - from outside a folder only its door, FOLDER/FOLDER.h, may be included (base: any header);
#  - public headers include public headers only; every quoted header exists.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
list=$(mktemp)
trap 'rm -f "$list"' EXIT

cd "$1"
find src include -type f > "$list"
# shellcheck disable=SC2046 # no name in the project has a blank
awk -f "$here/includes.awk" "$list" $(grep '\.[ch]$' "$list" | sort)
