/* Planning a quantised file: the order of its tensors, their types, and every refusal before a byte is written. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "artefacts/model/quantize.h"

typedef struct planning {
    pith_ctx *ctx;
    quantize_plan *plan;
    quantize_model model;
    pcre2_code **patterns; /* [n_choices] */
    pcre2_match_data *match;
} planning;

/* As much of a name as a message holds; control bytes as '?'. */
static const char *shown(meta_string name, char text[72]) {
    size_t n = PITH_MIN(name.size, (size_t)71);
    for (size_t i = 0; i < n; i++) text[i] = (uint8_t)name.data[i] < 32 || name.data[i] == 127 ? '?' : name.data[i];
    text[n] = 0;
    return text;
}

static bool text_is(meta_string s, const char *word) {
    return s.size == strlen(word) && memcmp(s.data, word, s.size) == 0;
}

/* ---- patterns --------------------------------------------------------------------------------------- */

static void *take_memory(size_t size, void *ctx) { return pith_alloc(ctx, size); }
static void give_memory(void *p, void *ctx) { pith_free(ctx, p); }

static pith_status compile_patterns(planning *p) {
    const quantize_options *o = &p->plan->options;
    if (!o->n_choices) return PITH_OK;
    p->patterns = pith_zalloc(p->ctx, o->n_choices * sizeof *p->patterns);
    if (!p->patterns) return pith_alloc_status(p->ctx);
    pcre2_general_context *general = pcre2_general_context_create(take_memory, give_memory, p->ctx);
    pcre2_compile_context *compile = general ? pcre2_compile_context_create(general) : NULL;
    if (general) p->match = pcre2_match_data_create(1, general);
    pith_status status = compile && p->match ? PITH_OK : pith_alloc_status(p->ctx);
    for (size_t i = 0; i < o->n_choices && !status; i++) {
        const quantize_choice *c = &o->choices[i];
        int error;
        size_t where;
        p->patterns[i] = pcre2_compile((PCRE2_SPTR)c->pattern, c->pattern_n, PCRE2_CASELESS, &error, &where, compile);
        if (p->patterns[i]) continue;
        char text[72], reason[120] = "";
        if (error == PCRE2_ERROR_HEAP_FAILED) {
            status = pith_alloc_status(p->ctx);
        } else {
            pcre2_get_error_message(error, (PCRE2_UCHAR *)reason, sizeof reason);
            status = pith_fail(p->ctx, PITH_E_ARGUMENT, "pattern '%s', character %zu: %s",
                               shown((meta_string){c->pattern, c->pattern_n}, text), where + 1, reason);
        }
    }
    if (compile) pcre2_compile_context_free(compile);
    if (general) pcre2_general_context_free(general);
    return status;
}

static void free_patterns(planning *p) {
    for (size_t i = 0; p->patterns && i < p->plan->options.n_choices; i++) pcre2_code_free(p->patterns[i]);
    if (p->match) pcre2_match_data_free(p->match);
    pith_free(p->ctx, p->patterns);
}

/* The choice whose pattern is found in the name, NULL when none is. PCRE2's own limit of steps holds. */
static const quantize_choice *chosen(const planning *p, meta_string name) {
    for (size_t i = 0; i < p->plan->options.n_choices; i++)
        if (pcre2_match(p->patterns[i], (PCRE2_SPTR)name.data, name.size, 0, 0, p->match, NULL) >= 0)
            return &p->plan->options.choices[i];
    return NULL;
}

/* ---- the order --------------------------------------------------------------------------------------- */

/* "blk.12." gives 12; no layer comes first. Numbers of too many digits are all alike. */
static int64_t layer_in(meta_string name) {
    int64_t layer = 0;
    size_t i = 4;
    if (name.size < 5 || memcmp(name.data, "blk.", 4) != 0) return -1;
    for (; i < name.size && name.data[i] >= '0' && name.data[i] <= '9' && layer < INT32_MAX; i++)
        layer = layer * 10 + (name.data[i] - '0');
    return i > 4 ? layer : -1;
}

static int by_layer_and_name(const void *a, const void *b) {
    meta_string x = ((const quantize_tensor *)a)->from->name, y = ((const quantize_tensor *)b)->from->name;
    int64_t u = layer_in(x), v = layer_in(y);
    if (u != v) return u < v ? -1 : 1;
    int order = memcmp(x.data, y.data, PITH_MIN(x.size, y.size));
    return order ? order : x.size < y.size ? -1 : x.size > y.size;
}

/* ---- types -------------------------------------------------------------------------------------------- */

static bool is_float(tensor_type type) {
    return !(type >= TENSOR_I8 && type <= TENSOR_I64) && !(type >= TENSOR_U8 && type <= TENSOR_BOOL);
}

static bool can_encode(tensor_type type, bool importance) {
    const float zeros[256] = {0};
    uint8_t bytes[2048];
    const tensor_type_info *info = tensor_type_of(type);
    return info && info->in_gguf && type != TENSOR_Q8_K && info->block <= PITH_COUNT(zeros) &&
           info->block_bytes <= sizeof bytes &&
           blocks_encode_weighted(type, zeros, importance ? zeros : NULL, bytes, 1, info->block);
}

/* What the tensor gets when its shape allows. */
static tensor_type wanted_type(planning *p, const tensor_view *t) {
    const quantize_options *o = &p->plan->options;
    bool output = text_is(t->name, "output.weight"), embedding = text_is(t->name, "token_embd.weight");
    bool per_layer = text_is(t->name, "per_layer_token_embd.weight");
    const quantize_choice *choice = tensor_type_of(o->mix->type)->block > 1 ? chosen(p, t->name) : NULL;
    if (o->embedding && (embedding || (per_layer && !choice))) return o->embedding->type;
    if (o->output && output) return o->output->type;
    if (tensor_type_of(o->mix->type)->block == 1) return o->mix->type;
    if (choice) return choice->type;
    if (o->pure) return o->mix->type;
    /* Asked even where the answer is not taken: the rules count the matrices. */
    tensor_type type = quantize_choose(&p->model, o->mix, t);
    return o->output && p->model.tied && (embedding || per_layer) ? o->output->type : type;
}

static pith_status plan_tensor(planning *p, quantize_tensor *q) {
    quantize_plan *plan = p->plan;
    const tensor_view *t = q->from;
    char text[72];
    q->type = t->type;
    q->bytes = t->bytes;
    if (!is_float(t->type) || !quantize_allowed(t)) return PITH_OK;
    tensor_type wanted = wanted_type(p, t);
    q->type = quantize_fallback(wanted, t->ne[0]);
    q->fell_back = q->type != wanted;
    plan->n_fallbacks += q->fell_back;
    if (q->type == t->type) return PITH_OK;
    const tensor_type_info *info = tensor_type_of(q->type);
    if (!can_encode(q->type, true))
        return pith_fail(p->ctx, PITH_E_UNSUPPORTED, "%s: %s is not written", shown(t->name, text), info->name);
    if (tensor_type_of(t->type)->block > 1 && !plan->options.requantize)
        return pith_fail(p->ctx, PITH_E_ARGUMENT, "%s is %s already: made from it, %s loses twice (--requantize does it)",
                         shown(t->name, text), tensor_type_of(t->type)->name, info->name);
    if (!tensor_type_bytes(q->type, t->n_elements, &q->bytes))
        return pith_fail(p->ctx, PITH_E_FORMAT, "%s: too many bytes", shown(t->name, text));
    plan->n_changed++;
    if (plan->options.stats && info->block > 1) {
        char *name = pith_alloc(p->ctx, t->name.size + 1);
        if (!name) return pith_alloc_status(p->ctx);
        memcpy(name, t->name.data, t->name.size);
        name[t->name.size] = 0;
        q->importance = model_stats_entry_of(plan->options.stats, name);
        pith_free(p->ctx, name);
    }
    /* The older importance files do not say that there are parts. */
    if (q->importance && (uint64_t)q->importance->cols * q->importance->parts != t->ne[0] * t->ne[2]) {
        /* The importance of an embedding table is that of the output matrix, where the two are one. */
        if (!text_is(t->name, "token_embd.weight") && !text_is(t->name, "per_layer_token_embd.weight"))
            return pith_fail(p->ctx, PITH_E_ARGUMENT, "%s: statistics of %zu x %u inputs for %llu x %llu of the tensor",
                             shown(t->name, text), q->importance->cols, q->importance->parts,
                             (unsigned long long)t->ne[0], (unsigned long long)t->ne[2]);
        q->importance = NULL;
    }
    if (!q->importance && (quantize_needs_importance(plan->options.mix, t, q->type) || !can_encode(q->type, false)))
        return pith_fail(p->ctx, PITH_E_ARGUMENT, "%s: %s is not done without importance of the inputs (--imatrix)",
                         shown(t->name, text), info->name);
    return PITH_OK;
}

pith_status quantize_plan_new(pith_ctx *ctx, const tensor_file *f, const quantize_options *options,
                              quantize_plan **out) {
    *out = NULL;
    if (strcmp(f->format, "gguf") != 0)
        return pith_fail(ctx, PITH_E_ARGUMENT, "a %s file: pith model convert makes a GGUF file of it first", f->format);
    quantize_plan *plan = pith_zalloc(ctx, sizeof *plan);
    if (!plan) return pith_alloc_status(ctx);
    *plan = (quantize_plan){.file = f, .options = *options, .n = f->n_tensors};
    planning p = {.ctx = ctx, .plan = plan, .model = quantize_model_of(f, options->stats != NULL)};
    pith_status status = PITH_OK;
    plan->list = pith_zalloc(ctx, (plan->n + 1) * sizeof *plan->list);
    if (!plan->list) status = pith_alloc_status(ctx);
    if (!status) status = compile_patterns(&p);
    for (size_t i = 0; i < plan->n && !status; i++) plan->list[i].from = &f->tensors[i];
    if (!status) qsort(plan->list, plan->n, sizeof *plan->list, by_layer_and_name);
    for (size_t i = 0; i < plan->n && !status; i++) {
        status = plan_tensor(&p, &plan->list[i]);
        plan->bytes_before += plan->list[i].from->bytes;
        plan->bytes_after += plan->list[i].bytes;
        plan->n_elements += plan->list[i].from->n_elements;
    }
    free_patterns(&p);
    if (status)
        quantize_plan_free(ctx, plan);
    else
        *out = plan;
    return status;
}

void quantize_plan_free(pith_ctx *ctx, quantize_plan *plan) {
    if (!plan) return;
    pith_free(ctx, plan->list);
    pith_free(ctx, plan);
}
