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
# experts keep as many each and become narrower; or zeros stay where they cost least
status 0 "$pith" model split default mix.gguf -q --tokens=256 --ctx=128 --experts=4
status 0 "$pith" model prune -q mix.gguf narrow.gguf --method=heapr --neurons=50% --tokens=256 --ctx=128 --json
prints '"gone": 2304'
prints '"zeros": false'
status 0 "$pith" model info narrow.gguf
prints 'llama.feed_forward_length                  96'
status 0 "$pith" model prune -q mix.gguf --method=heapr --neurons=50% --tokens=256 --ctx=128 --uneven --json
prints '"zeros": true'
status 0 "$pith" model prune -q mix.gguf fewer.gguf --method=heapr --experts=3 --tokens=256 --ctx=128
prints '1152 of 4608 neurons'
status 0 "$pith" model info fewer.gguf
prints 'llama.expert_count                         3'
status 1 "$pith" model prune -q mix.gguf --method=heapr --experts=1 --tokens=256 --ctx=128
says '2 and 2 at least'
status 1 "$pith" model prune -q mix.gguf --experts=3
says 'goes with --method=heapr'
status 1 "$pith" model prune -q mix.gguf --neurons=50% --method=magnitude
says 'chosen by heapr alone'
status 1 "$pith" model prune -q mix.gguf --method=surgeon --uneven --tokens=256 --ctx=128
says 'one number of neurons'
# and experts have codes of their own in an archive
status 0 "$pith" model compress -q mix.gguf mix.pith --recipe='*_exps.weight:[01] -> q(4) ; *_exps.weight:2 -> q(2)'
status 0 "$pith" model explain-size mix.pith
prints 'rule: q(bits=2)'
status 0 "$pith" model decompress -q mix.pith back.gguf
status 0 "$pith" model info back.gguf
status 1 "$pith" model quantize -q mix.gguf blocks.gguf --recipe='*_exps.weight:1 -> gguf(q4_K)'
says 'one type for all'
status 1 "$pith" model allocate mix.gguf --for=quantize --experts --bpw=8
says 'archives only'
status 1 "$pith" model prune default --method=surgeon --neurons=75%
says 'with --share alone'
status 1 "$pith" model prune default --method=surgeon --share=120%
says 'a percentage'
status 1 "$pith" model prune default --method=heapr --neurons=75% --layers=4
says 'with --neurons alone'
status 1 "$pith" model prune default even.gguf --method=heapr --neurons=75% --tokens=256 --ctx=128
says 'exists'
finish
