#!/bin/sh
# pith model prune by the curvature of the loss: files that open and are as much smaller as they say; wrong usage.
. "$(dirname "$0")/lib.sh"
status 0 "$pith" model prune -q default even.gguf --method=heapr --neurons=75% --tokens=256 --ctx=128
prints '1152 of 4608 neurons'
status 0 "$pith" model info even.gguf
prints '576'
status 0 "$pith" model prune -q default uneven.gguf --method=heapr --neurons=75% --uneven --tokens=256 --ctx=128 --json
prints '"neurons": 4608'
prints '"gone": 1152'
prints '"zeros": false'
status 0 "$pith" model info uneven.gguf
status 0 "$pith" model prune -q default --method=surgeon --share=10% --shots=1 --uneven --tokens=256 --ctx=128 --eval --chunks=1
prints 'of 4521984 weights of the layers'
prints 'KL'
status 1 "$pith" model prune default --method=surgeon --neurons=75%
says 'with --share alone'
status 1 "$pith" model prune default --method=surgeon --share=120%
says 'a percentage'
status 1 "$pith" model prune default --method=heapr --neurons=75% --layers=4
says 'with --neurons alone'
status 1 "$pith" model prune default even.gguf --method=heapr --neurons=75% --tokens=256 --ctx=128
says 'exists'
finish
