#!/usr/bin/env bash
# Tokens a second of `pith lm generate` and of llama.cpp, side by side, as a markdown table on stdout.
#
#   bench/lm-speed.sh [-p PROMPT] [-n GENERATE] [-r REPEATS] [-t "1 2"] [-M 4G] MODEL.gguf...
#
# PROMPT tokens (512, or what the model's context holds) are read from an empty start, GENERATE tokens (128) are
# generated from an empty start. The two programs take turns: a round of one, a round of the other, REPEATS (5) times;
# the table has each program's best round. Wall time, and processor time of all threads. Lines come as they are done.
#
# Programs: $PITH (build/pith, or pith on the PATH), and one of $LLAMA_BENCH, llama-bench on the PATH, or
# bench/lm-peer.mjs (node, with node-llama-cpp where its head says). A round of llama-bench is a process with one more
# repetition than another: the difference of their processor times is that of one repetition, without opening.
set -euo pipefail
LC_ALL=C
export LC_ALL
usage='usage: bench/lm-speed.sh [-p PROMPT] [-n GENERATE] [-r REPEATS] [-t "1 2"] [-M MEMORY] MODEL.gguf...'
prompt=512 generate=128 repeats=5 threads="1 2" memory=4G
while getopts p:n:r:t:M: option; do
    case $option in
    p) prompt=$OPTARG ;;
    n) generate=$OPTARG ;;
    r) repeats=$OPTARG ;;
    t) threads=$OPTARG ;;
    M) memory=$OPTARG ;;
    *) echo "$usage" >&2; exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -ge 1 ] || { echo "$usage" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
pith=${PITH:-$root/build/pith}
[ -x "$pith" ] || pith=$(command -v pith) || { echo "lm-speed: no pith: build it, or say PITH=..." >&2; exit 2; }
bench=${LLAMA_BENCH:-$(command -v llama-bench || true)}
[ -n "$bench" ] || command -v node > /dev/null || { echo "lm-speed: neither llama-bench nor node" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

number() { sed -n "s/.*\"$1\": *\([0-9.eE+-]*\).*/\1/p" "$2" | tail -n 1; } # number KEY FILE: the last one
calc() { awk "BEGIN { printf \"%.6g\", ($1) }"; }
best() { # best NAME VALUE: keeps the larger
    [ -z "$2" ] || [ "$(calc "$2 > ${rate[$1]:-0}")" = 0 ] || rate[$1]=$2
}

pith_round() { # pith_round MODEL THREADS PROMPT
    local common=(--model="$1" -T"$2" -M"$memory" --greedy --ignore-eos --json -q)
    "$pith" lm generate "${common[@]}" -n 1 -f "$work/prompt" > "$work/read"
    best pith.read.wall "$(calc "$(number prompt_tokens "$work/read") / $(number prompt_seconds "$work/read")")"
    best pith.read.cpu "$(calc "$(number prompt_tokens "$work/read") / $(number prompt_cpu_seconds "$work/read")")"
    "$pith" lm generate "${common[@]}" -n $(($4 + 1)) the > "$work/write"
    best pith.write.wall "$(calc "$4 / $(number answer_seconds "$work/write")")"
    best pith.write.cpu "$(calc "$4 / $(number answer_cpu_seconds "$work/write")")"
}

cpu_seconds() { # cpu_seconds COMMAND...: user and system, its output to $work/out
    local TIMEFORMAT='%U %S'
    { time "$@" > "$work/out" 2> "$work/err"; } 2>&1 | awk '{ printf "%.6g", $1 + $2 }'
}

bench_round() { # bench_round MODEL THREADS TOKENS-READ TOKENS-WRITTEN NAME
    local one more times common=(-m "$1" -t "$2" -p "$3" -n "$4" -o json) n=$(($3 + $4))
    one=$(cpu_seconds "$bench" "${common[@]}" -r 1)
    # about a second of repetitions, so that the difference is well above the clock's step
    times=$(calc "int($(number avg_ts "$work/out") / $n)")
    times=$((times < 1 ? 1 : times > 100 ? 100 : times))
    more=$(cpu_seconds "$bench" "${common[@]}" -r $((times + 1)))
    best "peer.$5.wall" "$(number avg_ts "$work/out")"
    best "peer.$5.cpu" "$(calc "$more > $one ? $n * $times / ($more - $one) : 0")"
}

node_round() { # node_round MODEL THREADS PROMPT GENERATE
    node "$root/bench/lm-peer.mjs" speed "$1" --threads "$2" --prefill "$3" --generate "$4" --repeat 1 > "$work/out"
    local part
    for part in prefill generate; do
        sed "s/.*\"best\"//; s/.*\"$part\":{\([^}]*\)}.*/{\1}/" "$work/out" > "$work/part"
        best "peer.${part/prefill/read}.wall" "$(number tokensPerSecond "$work/part")"
        best "peer.${part/prefill/read}.cpu" "$(number tokensPerCpuSecond "$work/part")"
    done
    rate[peer.write.wall]=${rate[peer.generate.wall]} rate[peer.write.cpu]=${rate[peer.generate.cpu]}
}

row() { # row MODEL THREADS WHAT NAME
    local p=${rate[pith.$4.wall]} q=${rate[peer.$4.wall]} r=${rate[pith.$4.cpu]} s=${rate[peer.$4.cpu]:-0}
    awk -v model="$1" -v threads="$2" -v what="$3" -v p="$p" -v q="$q" -v r="$r" -v s="$s" 'BEGIN {
        printf "| %s | %s | %s | %.4g | %.4g | %.2f | %.4g | %s | %s |\n", model, threads, what, p, q, p / q, r,
            (s > 0 ? sprintf("%.4g", s) : "-"), (s > 0 ? sprintf("%.2f", r / s) : "-") }'
}

echo "Processor: $(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1); tokens a second, best of $repeats rounds;"
echo "peer: $([ -n "$bench" ] && echo llama-bench || echo node-llama-cpp)."
echo
echo "| model | threads | task | pith, wall | llama.cpp, wall | ratio | pith, processor | llama.cpp, processor | ratio |"
echo "|---|---:|---|---:|---:|---:|---:|---:|---:|"
for model; do
    "$pith" lm info --json --model="$model" > "$work/info"
    context=$(number context "$work/info")
    read=$((prompt < context - 2 ? prompt : context - 2))
    write=$((generate < context - 4 ? generate : context - 4))
    # words that make about as many tokens
    words() { local i; for ((i = 0; i < $1; i++)); do printf 'the '; done | sed 's/ $//'; }
    words "$read" > "$work/prompt"
    tokens=$("$pith" lm tokenize --model="$model" "$work/prompt" | wc -w)
    words $((read * read / tokens)) > "$work/prompt"
    for t in $threads; do
        declare -A rate=()
        for ((round = 0; round < repeats; round++)); do
            pith_round "$model" "$t" "$read" "$write"
            if [ -n "$bench" ]; then
                bench_round "$model" "$t" "$read" 0 read
                bench_round "$model" "$t" 0 "$write" write
            else
                node_round "$model" "$t" "$read" "$write"
            fi
        done
        row "$(basename "$model")" "$t" "prompt of $read" read
        row "$(basename "$model")" "$t" "generate $write" write
    done
done
