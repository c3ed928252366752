/* The pre-tokenizer expressions of the model families, under ggml's names. White space is spelled
 * out (Unicode's White_Space: controls 9 to 13, U+0085, all of Z) because PCRE2's own takes
 * U+180E in. Each runs in linear time: no expression can match one stretch in two ways of
 * unbounded length. */
#include "lm/tokenizer/split_table.h"

#include <string.h>

#define SPACE "\\t-\\r\\x{85}\\p{Z}" /* inside [] */
#define SPACES_BEFORE_SPACE "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"
#define ENGLISH "'(?:s|t|re|ve|m|ll|d)"
#define ENGLISH_ANY_CASE "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])"
#define OTHER "[^" SPACE "\\p{L}\\p{N}]+"

#define GPT2 ENGLISH "| ?\\p{L}+| ?\\p{N}+| ?" OTHER "|" SPACES_BEFORE_SPACE
#define LLAMA3(digits)                                                                                                 \
    ENGLISH_ANY_CASE "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits "| ?" OTHER "[\\r\\n]*|[" SPACE                          \
                     "]*[\\r\\n]+|" SPACES_BEFORE_SPACE
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(contraction)                                                                                             \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" contraction "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" contraction

static const split_rule rules[] = {
    {{"gpt-2", "phi-2", "jina-es", "jina-de", "jina-v1-en", "gigachat", "roberta-bpe", "mpt", "olmo", "jais",
      "trillion"},
     false,
     false,
     {GPT2}},
    {{"llama-bpe", "llama3", "llama-v3", "falcon3"}, true, true, {LLAMA3("\\p{N}{1,3}")}},
    {{"dbrx", "smaug-bpe"}, false, false, {LLAMA3("\\p{N}{1,3}")}},
    {{"qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"}, false, false, {LLAMA3("\\p{N}")}},
    {{"default"}, false, false, {"[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {{"falcon"}, false, false, {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"},
     false,
     false,
     {"\\p{N}", GPT2}},
    {{"deepseek-coder"},
     false,
     false,
     {"[\\r\\n]", "[" SPACE "]?\\p{L}+", "[" SPACE "]?\\p{P}+",
      "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+", "\\p{N}"}},
    {{"deepseek-v3"},
     false,
     false,
     {"\\p{N}{1,3}", "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{30FF}]+",
      "[!-/:-@\\[-`{-~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|[" SPACE
      "]*[\\r\\n]+|" SPACES_BEFORE_SPACE}},
    {{"gpt-4o", "llama4"},
     false,
     false,
     {CASED("(?:" ENGLISH_ANY_CASE ")?") "|\\p{N}{1,3}| ?" OTHER "[\\r\\n/]*|[" SPACE
                                         "]*[\\r\\n]+|" SPACES_BEFORE_SPACE}},
    {{"tekken"}, true, true, {CASED("") "|\\p{N}| ?" OTHER "[\\r\\n/]*|[" SPACE "]*[\\r\\n]+|" SPACES_BEFORE_SPACE}},
};

const split_rule *split_find(const char *name) {
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        for (size_t k = 0; k < SPLIT_NAMES_MAX && rules[i].name[k]; k++)
            if (strcmp(name, rules[i].name[k]) == 0) return &rules[i];
    return NULL;
}

/* As Hugging Face's files write them. */
#define HF_TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define HF_ENGLISH "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define HF_UPPER "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define HF_LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define HF_CASED(contraction) HF_UPPER "*" HF_LOWER "+" contraction "|" HF_UPPER "+" HF_LOWER "*" contraction
#define HF_SLASH_TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

const char *split_name_of(const char *expression) {
    static const char *const known[][2] = {
        {HF_ENGLISH "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" HF_TAIL, "dbrx"},
        {HF_ENGLISH "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" HF_TAIL, "qwen2"},
        {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", "gpt-2"},
        {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)", "gpt-2"},
        {HF_CASED(HF_ENGLISH "?") "|\\p{N}{1,3}" HF_SLASH_TAIL, "gpt-4o"},
        {HF_CASED("") "|\\p{N}" HF_SLASH_TAIL, "tekken"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(expression, known[i][0]) == 0) return known[i][1];
    return NULL;
}
