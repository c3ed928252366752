/* The parts of a tokenizer.json reader (read_json.c: pieces; read_json_parts.c: what stands around the model). */
#ifndef LM_TOKENIZER_READ_JSON_H
#define LM_TOKENIZER_READ_JSON_H

#include "formats/json/json.h"
#include "lm/tokenizer/vocabulary.h"

/* What the file's components say before the kind is settled. */
typedef struct json_parts {
    bool byte_level;            /* ByteLevel pre-tokenizer */
    bool byte_level_expression; /* and it uses its own expression, GPT-2's */
    bool byte_level_prefix;
    bool digits_alone;
    const char *expression; /* a known Split: its canonical name */
    bool metaspace, prefix, prefix_each, prefix_unless_there, mark_spaces;
    bool words; /* WhitespaceSplit */
    bool collapse_spaces, strip_spaces;
    bool bert_words;
    bool lower_case, strip_accents, cjk_words, clean_text;
    const json_t *charsmap; /* base64 */
} json_parts;

/* normalizer and pre_tokenizer; a component or option that is not known is refused by its name. */
pith_status json_read_parts(pith_ctx *ctx, const json_t *root, json_parts *parts);
/* post_processor: which special pieces stand in front and behind. Needs the pieces. */
pith_status json_read_frame(pith_ctx *ctx, const json_t *root, tokenizer *t);
pith_status json_read_charsmap(pith_ctx *ctx, const json_t *base64, tokenizer *t);

/* "" when there is no string of that name. */
const char *json_text(const json_t *object, const char *key);
bool json_flag(const json_t *object, const char *key, bool otherwise);

#endif
