#!/bin/sh
# usage: includes_selftest.sh INCLUDES.SH
# Builds small trees with one wrong include each and expects includes.sh to name it.
set -eu
check=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

plant() { # plant FILE TEXT
    mkdir -p "$tree/$(dirname "$1")"
    printf '%s\n' "$2" > "$tree/$1"
}

fresh() { # a small house in order
    rm -rf "$tree/src" "$tree/include"
    plant include/pith/pith.h '#include <stddef.h>'
    plant include/pith/file.h '#include "pith/pith.h"'
    plant src/base/base.h '#include "pith/pith.h"'
    plant src/base/secret.h '#include "base/base.h"'
    plant src/math/math.h '#include "base/secret.h"'
    plant src/math/lanes.h '#include "math.h"'
    plant src/kernels/predict/predict.h '#include "base/base.h"'
    plant src/kernels/predict/mixer.h '#include "math/math.h"'
    plant src/kernels/predict/cm/cm.h '#include "../mixer.h"'
    plant src/kernels/predict/cm/slot.h '#include "kernels/predict/cm/cm.h"'
    plant src/kernels/represent/represent.h '#include "kernels/predict/predict.h"'
    plant src/kernels/measure/measure.h '#include "kernels/represent/represent.h"'
    plant src/artefacts/file/file.h '#include "kernels/predict/predict.h"'
    plant src/artefacts/file/codec.h '#include "base/base.h"'
    plant src/artefacts/model/model.h '#include "base/base.h"'
    plant src/artefacts/artefacts.c '#include "artefacts/file/file.h"'
    plant src/faces/cli/main.c '#include "artefacts/file/file.h"'
}

expect() { # expect WORDS: the check fails and says WORDS
    if out=$(sh "$check" "$tree" 2>&1); then
        echo "FAIL: accepted, but expected: $1"
        failures=$((failures + 1))
    elif ! printf '%s\n' "$out" | grep -qF "$1"; then
        echo "FAIL: expected \"$1\" but the answer was: $out"
        failures=$((failures + 1))
    fi
    fresh
}

fresh
sh "$check" "$tree" || { echo "FAIL: a house in order was refused"; exit 1; }

plant src/base/base.h '#include "math/math.h"'
expect 'src/base/base.h:1: includes math/math.h: base is below math'
plant src/math/math.h '  #  include "kernels/predict/predict.h"'
expect 'math is below kernels'
plant src/kernels/predict/predict.h '#include "artefacts/file/file.h"'
expect 'kernels is below artefacts'
plant src/artefacts/file/file.h '#include "../../faces/cli/cli.h"'
plant src/faces/cli/cli.h ''
expect 'artefacts is below faces'
plant src/kernels/predict/predict.h '#include "kernels/represent/represent.h"'
expect 'kernels do not include each other'
plant src/kernels/represent/represent.h '#include "kernels/measure/measure.h"'
expect 'kernels do not include each other'
plant src/artefacts/model/model.h '#include "artefacts/file/file.h"'
expect 'artefacts do not include each other'
plant src/artefacts/model/model.h '#include "../file/file.h"'
expect 'artefacts do not include each other'
plant src/kernels/represent/represent.h '#include "kernels/predict/mixer.h"'
expect 'only kernels/predict/predict.h may be included'
plant src/artefacts/file/file.h '#include "kernels/predict/cm/cm.h"'
expect 'only kernels/predict/predict.h may be included'
plant src/kernels/predict/mixer.h '#include "cm/slot.h"'
expect 'only kernels/predict/cm/cm.h may be included'
plant src/kernels/predict/mixer.h '#include "math/lanes.h"'
expect 'only math/math.h may be included'
plant src/faces/cli/main.c '#include "artefacts/file/codec.h"'
expect 'only artefacts/file/file.h may be included'
plant src/artefacts/artefacts.c '#include "artefacts/file/codec.h"'
expect 'only artefacts/file/file.h may be included'
plant include/pith/file.h '#include "base/base.h"'
expect 'a public header may include public headers only'
plant src/cellar/cellar.h '#include "base/base.h"'
expect 'src/cellar is not a floor'
plant src/base/base.h '#include "base/gone.h"'
expect 'no such header'

[ "$failures" -eq 0 ] || exit 1
echo "every wrong include was found"
