/* A vocabulary for the tiny models of tests/lm, so that they can code the words of file_data.h. */
#ifndef SUPPORT_TINY_WORDS_H
#define SUPPORT_TINY_WORDS_H

#include "lm/tiny_model.h"

/* Whole words are user-defined pieces, found as they are; what is none of them becomes escapes. */
static pith_status tiny_words(tiny_file *t, const tiny_variant *v) {
    static const char *const piece[TINY_VOCAB] = {
        "<unk>",   "<s>",    "</s>",   "the ",     "tin ",   "soldier ", "stood ", "on ",         "one leg", ", ",
        "and ",    "a ",     "window ", "opened",  ".\n",    "Perhaps ", "it was ", "wind ", "that did it. ", "paper ",
        "boat ",   "water ", "fish ",  "kitchen ", "table ", "castle ",  "lady ",  "fire ",       "stove ", "heart ",
        "goblin ", "box ",   "child ", "brother ", "twenty ", "five ",   "spoon ", "lead ",       "lid ",    "snuff "};
    (void)v;
    meta_string text[TINY_VOCAB];
    float score[TINY_VOCAB];
    int32_t type[TINY_VOCAB];
    for (int i = 0; i < TINY_VOCAB; i++) {
        text[i] = (meta_string){piece[i], strlen(piece[i])};
        score[i] = (float)-i;
        type[i] = i == 0 ? 2 : i < 3 ? 3 : 4; /* unknown, control, user-defined */
    }
    pith_status s = gguf_put_text(t->ctx, t->writer, "tokenizer.ggml.model", "llama", 5);
    if (!s) s = gguf_put_strings(t->ctx, t->writer, "tokenizer.ggml.tokens", text, TINY_VOCAB);
    if (!s) s = gguf_put_array(t->ctx, t->writer, "tokenizer.ggml.scores", META_F32, score, TINY_VOCAB);
    if (!s) s = gguf_put_array(t->ctx, t->writer, "tokenizer.ggml.token_type", META_I32, type, TINY_VOCAB);
    return s;
}

#endif
