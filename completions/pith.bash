# bash completion of pith(1): flags, subcommands, and files that fit what is asked for.

_pith_words() { COMPREPLY+=($(compgen -W "$1" -- "$cur")); }

# Files with names ending .pith, and folders to go on in.
_pith_archives() {
    local IFS=$'\n'
    COMPREPLY+=($(compgen -f -X '!*.pith' -- "$cur") $(compgen -d -- "$cur"))
    compopt -o filenames 2> /dev/null
}

_pith_files() {
    local IFS=$'\n'
    COMPREPLY+=($(compgen -f -- "$cur"))
    compopt -o filenames 2> /dev/null
}

_pith_bench() {
    case $prev in
    --peers) _pith_words "all none gzip bzip2 xz zstd brotli bzip3 7z zpaq" ;;
    --levels) _pith_words "1-9 none 1 2 3 4 5 6 7 8 9" ;;
    --runs | --time-limit | --recipe | --threads | --memory) ;;
    --plot) _pith_files ;;
    *)
        if [[ $cur == -* ]]; then
            _pith_words "--levels --recipe --peers --runs --time-limit --threads --memory --json --plot --force --quiet --help"
        elif [[ $COMP_CWORD -eq 2 ]]; then
            _pith_words "file flips runtime speculate efficiency combined few-shot zip-fit dated equal-info llmzip lmic lmcompress logzip tabular prune-tasks weights checkpoints cuts subspace concat-svd moe surgeon heapr family compeft rmm embedding codecs atoms context-tasks facts low-data gradual experts-as-vectors categories evopress casp pd-quant gaussian bitstack rocket"
        else
            _pith_files
        fi
        ;;
    esac
}

_pith_model() {
    case $prev in
    --type) _pith_words "f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q2_K q3_K q4_K q5_K q6_K iq4_nl iq4_xs tq1_0 tq2_0 mxfp4" ;;
    --to) _pith_words "gguf safetensors npy" ;;
    --threads | --memory | --tensor | --levels | --bytes | --max-time | --bpw | --size | --max-kl | --recipe) ;;
    --tokenizer | --stats | --output) _pith_files ;;
    *)
        if [[ $COMP_CWORD -eq 2 ]]; then
            _pith_words "--help load apply $("${COMP_WORDS[0]}" model --help 2> /dev/null | awk '/^[a-z-]+ +[^ ]/ { print $1 }')"
        elif [[ $cur != -* ]]; then
            _pith_files
        elif [[ ${COMP_WORDS[2]} == @(info|convert|validate) ]]; then
            _pith_words "--tensors --json --type --to --tensor --tokenizer --force --threads --memory --quiet --help"
        else
            _pith_lm_options model "${COMP_WORDS[2]}"
        fi
        ;;
    esac
}

# Options of `pith lm VERB`, `pith measure` and the like, from their own help.
_pith_lm_options() {
    _pith_words "$("${COMP_WORDS[0]}" "$@" --help 2> /dev/null | grep -o -- '--[a-z][a-z-]*' | sort -u)"
}

_pith_lm() {
    case $prev in
    --kind) _pith_words "single multikey multivalue tracking" ;;
    --phrasing) _pith_words "special secret value ruler" ;;
    --cache-type | --cache-type-k | --cache-type-v) _pith_words "f32 f16 bf16 q8_0 q5_1 q5_0 q4_1 q4_0 iq4_nl" ;;
    --ctx | --threads | --memory | --chunks | --seed | --length | --depth | --count | --digits | --prompts | --text) ;;
    *)
        if [[ ${COMP_WORDS[1]} == measure ]]; then
            if [[ $cur == -* ]]; then _pith_lm_options measure; else _pith_files && _pith_words "default"; fi
        elif [[ $COMP_CWORD -eq 2 ]]; then
            _pith_words "--help $("${COMP_WORDS[0]}" lm --help 2> /dev/null | awk '/^  [a-z]+ +[^ ]/ && $1 != "pith" { print $1 }')"
        elif [[ $cur == -* ]]; then
            _pith_lm_options lm "${COMP_WORDS[2]}"
        else
            _pith_files
        fi
        ;;
    esac
}

# pith distance, rank, select.
_pith_distance() {
    case $prev in
    --by) _pith_words "ncd max sum min given" ;;
    --coder) _pith_words "cm cm-large ssm zstd lzma lm" ;;
    --query | --count | -Q | -n | --ctx | --threads | --memory) ;;
    *)
        if [[ $cur == -* ]]; then _pith_lm_options "${COMP_WORDS[1]}"; else _pith_files; fi
        ;;
    esac
}

# The names a subcommand knows, from the command itself.
_pith_names() {
    _pith_words "$("${COMP_WORDS[0]}" "$1" 2> /dev/null | awk '/^  [a-z]/ { print $1 }')"
}

_pith() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} word archives=0
    COMPREPLY=()
    # "=" splits words: --range=OFF arrives as three of them.
    [[ $cur == "=" ]] && cur=
    [[ $prev == "=" ]] && prev=${COMP_WORDS[COMP_CWORD - 2]}
    if [[ $COMP_CWORD -gt 1 ]]; then
        case ${COMP_WORDS[1]} in
        bench) _pith_bench && return ;;
        model) _pith_model && return ;;
        lm | measure) _pith_lm && return ;;
        distance | rank | select) _pith_distance && return ;;
        stages | methods)
            _pith_words "--json --help $([[ ${COMP_WORDS[1]} == methods ]] && echo --by-category)"
            return
            ;;
        explain)
            _pith_words "--help"
            _pith_names stages
            _pith_names methods
            return
            ;;
        help)
            _pith_words "bench model lm measure distance rank select stages methods explain help"
            return
            ;;
        esac
    fi
    case $prev in
    -o | --output)
        _pith_files
        return
        ;;
    --model)
        _pith_words "default"
        _pith_files
        return
        ;;
    --range | --max-time | --recipe | --threads | --memory | --block-size) return ;;
    esac
    if [[ $cur == -* ]]; then
        _pith_words "-1 -2 -3 -4 -5 -6 -7 -8 -9 --fast --best --compress --decompress --test --list --range --stdout --output --keep --rm
            --force --recursive --threads --memory --block-size --max-time --recipe --model --verify --json --quiet
            --verbose --help --version"
        return
    fi
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $word in
        --decompress | --test | --list | --range) archives=1 ;;
        --*) ;;
        -*[dtl]*) archives=1 ;;
        esac
    done
    [[ $COMP_CWORD -eq 1 ]] && _pith_words "bench model lm measure distance rank select stages methods explain help"
    if [[ $archives -eq 1 ]]; then _pith_archives; else _pith_files; fi
}

complete -F _pith pith
