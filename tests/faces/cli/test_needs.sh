#!/bin/sh
# pith bench model --needs: data is found where a code changes by it, and only there.
. "$(dirname "$0")/lib.sh"
status 0 "$pith" bench model --needs --recipes=rtn-4,gptq-4,awq-4,q4_K,q4_K-imatrix,wanda-50,magnitude-50,q3,spread-4
for name in gptq-4 awq-4 q4_K-imatrix wanda-50 spread-4; do
    prints "^$name  *[a-z]*  *yes  *no "
done
for name in rtn-4 q4_K magnitude-50 q3; do # q3 is given statistics and leaves them alone
    prints "^$name  *[a-z]*  *no  *no "
done
prints '^5 of 9 use data'
status 0 "$pith" bench model --needs --json --recipe='scale(awq) | q(3)'
prints '"data": true'
prints '"gradients": false'
prints '"seconds_per_million": [0-9]'
status 1 "$pith" bench model --needs --recipes=nonsense
status 1 "$pith" bench model --needs --recipe='q(99)'
finish
