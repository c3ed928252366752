/* Running the pre-tokenizer's expressions with PCRE2: each expression cuts every word of the one
 * before; what it does not match is a word of its own. The text is checked once; bytes that are no
 * UTF-8 are shown to PCRE2 as U+FFFD in a copy, and the words are taken from the original. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "lm/tokenizer/split.h"
#include "lm/tokenizer/split_table.h"
#include "lm/tokenizer/vocabulary.h"

struct splitter {
    pcre2_general_context *general;
    pcre2_code *code[SPLIT_STEPS_MAX];
    unsigned n;
    pith_ctx *ctx; /* of the call under way, for PCRE2's allocations while building */
};

/* PCRE2 takes its memory from the session while a splitter is built or freed. */
static void *take_memory(size_t size, void *arg) { return pith_alloc(((splitter *)arg)->ctx, size); }
static void give_memory(void *p, void *arg) { pith_free(((splitter *)arg)->ctx, p); }

pith_status splitter_new(pith_ctx *ctx, const char *name, splitter **out) {
    const split_rule *rule = split_find(name);
    *out = NULL;
    if (!rule) return pith_fail(ctx, PITH_E_UNSUPPORTED, "there is no pre-tokenizer \"%s\"", name);
    splitter *s = pith_zalloc(ctx, sizeof *s);
    if (!s) return pith_alloc_status(ctx);
    s->ctx = ctx;
    pcre2_compile_context *compile = NULL;
    s->general = pcre2_general_context_create(take_memory, give_memory, s);
    if (s->general) compile = pcre2_compile_context_create(s->general);
    pith_status st = compile ? PITH_OK : pith_alloc_status(ctx);
    for (; st == PITH_OK && s->n < SPLIT_STEPS_MAX && rule->step[s->n]; s->n++) {
        int error;
        size_t where;
        s->code[s->n] = pcre2_compile((PCRE2_SPTR)rule->step[s->n], PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP,
                                      &error, &where, compile);
        if (!s->code[s->n])
            st = error == PCRE2_ERROR_HEAP_FAILED
                     ? pith_alloc_status(ctx)
                     : pith_fail(ctx, PITH_E_INTERNAL, "pre-tokenizer \"%s\", step %u: PCRE2 error %d at %zu", name,
                                 s->n, error, where);
        /* Without a just-in-time compiler the interpreter does the same, slower. */
        else
            pcre2_jit_compile(s->code[s->n], PCRE2_JIT_COMPLETE);
    }
    if (compile) pcre2_compile_context_free(compile);
    if (st != PITH_OK) {
        splitter_free(ctx, s);
        return st;
    }
    *out = s;
    return PITH_OK;
}

void splitter_free(pith_ctx *ctx, splitter *s) {
    if (!s) return;
    s->ctx = ctx;
    for (unsigned i = 0; i < SPLIT_STEPS_MAX; i++) pcre2_code_free(s->code[i]);
    if (s->general) pcre2_general_context_free(s->general);
    pith_free(ctx, s);
}

typedef struct split_run {
    pith_ctx *ctx;
    const splitter *s;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    const uint8_t *original; /* where the next word starts in the caller's text; NULL: words are the caller's already */
    const uint8_t *end;
    word_fn word;
    void *arg;
} split_run;

/* The stretch of the caller's text that the copy's word stands for. */
static pith_status hand_over(split_run *r, const uint8_t *p, size_t size) {
    if (!r->original) return r->word(r->arg, p, size);
    const uint8_t *from = r->original;
    for (size_t i = 0; i < size;) {
        uint32_t code;
        size_t n = utf8_read(r->original, (size_t)(r->end - r->original), &code);
        i += n ? n : 3;
        r->original += n ? n : 1;
    }
    return r->word(r->arg, from, (size_t)(r->original - from));
}

static pith_status split_step(split_run *r, unsigned step, const uint8_t *p, size_t size) {
    if (step == r->s->n) return hand_over(r, p, size);
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(r->match);
    size_t done = 0;
    pith_status st = PITH_OK;
    while (done < size && st == PITH_OK) {
        int rc = pcre2_match(r->s->code[step], p, size, done, PCRE2_NO_UTF_CHECK, r->match, r->limits);
        if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
            rc = pcre2_match(r->s->code[step], p, size, done, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, r->match, r->limits);
        if (rc == PCRE2_ERROR_NOMATCH) break;
        if (rc == PCRE2_ERROR_NOMEMORY || rc == PCRE2_ERROR_HEAPLIMIT) return pith_alloc_status(r->ctx);
        if (rc < 0) return pith_fail(r->ctx, PITH_E_INTERNAL, "the pre-tokenizer failed with PCRE2 error %d", rc);
        size_t from = at[0], to = at[1];
        if (to <= from) return pith_fail(r->ctx, PITH_E_INTERNAL, "the pre-tokenizer matched nothing");
        if (from > done) st = split_step(r, step + 1, p + done, from - done);
        if (st == PITH_OK) st = split_step(r, step + 1, p + from, to - from);
        done = to;
    }
    if (st == PITH_OK && done < size) st = split_step(r, step + 1, p + done, size - done);
    return st;
}

/* Bytes of text that are well-formed from the start. */
static size_t valid_prefix(const uint8_t *text, size_t size) {
    size_t i = 0;
    while (i < size) {
        uint32_t code;
        size_t n = text[i] < 0x80 ? 1 : utf8_read(text + i, size - i, &code);
        if (n == 0) break;
        i += n;
    }
    return i;
}

static pith_status copy_replaced(pith_ctx *ctx, const uint8_t *text, size_t size, pith_buffer *out) {
    pith_status st = PITH_OK;
    for (size_t i = 0; i < size && st == PITH_OK;) {
        size_t n = valid_prefix(text + i, size - i);
        st = pith_buffer_append(ctx, out, text + i, n);
        for (i += n; i < size && st == PITH_OK; i++) {
            uint32_t code;
            if (utf8_read(text + i, size - i, &code)) break;
            st = pith_buffer_append(ctx, out, "\xEF\xBF\xBD", 3);
        }
    }
    return st;
}

pith_status splitter_run(pith_ctx *ctx, const splitter *s, const uint8_t *text, size_t size, word_fn word, void *arg) {
    split_run r = {.ctx = ctx, .s = s, .word = word, .arg = arg};
    pith_buffer copy = {0};
    pith_status st = PITH_OK;
    /* Blocks for one match come from this session too, whichever built the splitter. */
    splitter here = {.ctx = ctx};
    here.general = pcre2_general_context_create(take_memory, give_memory, &here);
    if (here.general) r.match = pcre2_match_data_create(8, here.general);
    if (r.match) r.limits = pcre2_match_context_create(here.general);
    if (!r.limits) st = pith_alloc_status(ctx);
    /* The expressions take linear time, so the default of ten million steps only hits long texts. */
    else
        pcre2_set_match_limit(r.limits, UINT32_MAX);
    if (st == PITH_OK && valid_prefix(text, size) < size) {
        st = copy_replaced(ctx, text, size, &copy);
        r.original = text;
        r.end = text + size;
    }
    if (st == PITH_OK) st = split_step(&r, 0, r.original ? copy.data : text, r.original ? copy.size : size);
    if (r.limits) pcre2_match_context_free(r.limits);
    if (r.match) pcre2_match_data_free(r.match);
    if (here.general) pcre2_general_context_free(here.general);
    pith_buffer_free(ctx, &copy);
    return st;
}
