/* The mixes of llama.cpp (llama-quant.cpp, llama_tensor_get_type; facts read
 * as of ggml 0.25.1), as one table: which tensors of a file get another type than the rest. */
#include <stdio.h>
#include <strings.h>

#include "artefacts/model/quantize.h"

/* clang-format off */
enum {
    MIX_Q4_0, MIX_Q4_1, MIX_Q5_0, MIX_Q5_1, MIX_Q8_0, MIX_Q2_K, MIX_Q2_K_S, MIX_Q3_K_S, MIX_Q3_K_M, MIX_Q3_K_L,
    MIX_Q4_K_S, MIX_Q4_K_M, MIX_Q5_K_S, MIX_Q5_K_M, MIX_Q6_K, MIX_IQ1_S, MIX_IQ1_M, MIX_IQ2_XXS, MIX_IQ2_XS,
    MIX_IQ2_S, MIX_IQ2_M, MIX_IQ3_XXS, MIX_IQ3_XS, MIX_IQ3_S, MIX_IQ3_M, MIX_IQ4_NL, MIX_IQ4_XS, MIX_TQ1_0,
    MIX_TQ2_0, MIX_MXFP4_MOE, MIX_F32, MIX_F16, MIX_BF16, MIX_COUNT
};

const quantize_mix quantize_mixes[] = {
    [MIX_Q4_0] = {"q4_0", 2, TENSOR_Q4_0},          [MIX_Q4_1] = {"q4_1", 3, TENSOR_Q4_1},
    [MIX_Q5_0] = {"q5_0", 8, TENSOR_Q5_0},          [MIX_Q5_1] = {"q5_1", 9, TENSOR_Q5_1},
    [MIX_Q8_0] = {"q8_0", 7, TENSOR_Q8_0},          [MIX_Q2_K] = {"q2_K", 10, TENSOR_Q2_K},
    [MIX_Q2_K_S] = {"q2_K_S", 21, TENSOR_Q2_K},     [MIX_Q3_K_S] = {"q3_K_S", 11, TENSOR_Q3_K},
    [MIX_Q3_K_M] = {"q3_K_M", 12, TENSOR_Q3_K},     [MIX_Q3_K_L] = {"q3_K_L", 13, TENSOR_Q3_K},
    [MIX_Q4_K_S] = {"q4_K_S", 14, TENSOR_Q4_K},     [MIX_Q4_K_M] = {"q4_K_M", 15, TENSOR_Q4_K},
    [MIX_Q5_K_S] = {"q5_K_S", 16, TENSOR_Q5_K},     [MIX_Q5_K_M] = {"q5_K_M", 17, TENSOR_Q5_K},
    [MIX_Q6_K] = {"q6_K", 18, TENSOR_Q6_K},         [MIX_IQ1_S] = {"iq1_s", 24, TENSOR_IQ1_S},
    [MIX_IQ1_M] = {"iq1_m", 31, TENSOR_IQ1_M},      [MIX_IQ2_XXS] = {"iq2_xxs", 19, TENSOR_IQ2_XXS},
    [MIX_IQ2_XS] = {"iq2_xs", 20, TENSOR_IQ2_XS},   [MIX_IQ2_S] = {"iq2_s", 28, TENSOR_IQ2_XS},
    [MIX_IQ2_M] = {"iq2_m", 29, TENSOR_IQ2_S},      [MIX_IQ3_XXS] = {"iq3_xxs", 23, TENSOR_IQ3_XXS},
    [MIX_IQ3_XS] = {"iq3_xs", 22, TENSOR_IQ3_S},    [MIX_IQ3_S] = {"iq3_s", 26, TENSOR_IQ3_S},
    [MIX_IQ3_M] = {"iq3_m", 27, TENSOR_IQ3_S},      [MIX_IQ4_NL] = {"iq4_nl", 25, TENSOR_IQ4_NL},
    [MIX_IQ4_XS] = {"iq4_xs", 30, TENSOR_IQ4_XS},   [MIX_TQ1_0] = {"tq1_0", 36, TENSOR_TQ1_0},
    [MIX_TQ2_0] = {"tq2_0", 37, TENSOR_TQ2_0},      [MIX_MXFP4_MOE] = {"mxfp4_moe", 38, TENSOR_MXFP4},
    [MIX_F32] = {"f32", 0, TENSOR_F32},             [MIX_F16] = {"f16", 1, TENSOR_F16},
    [MIX_BF16] = {"bf16", 32, TENSOR_BF16},         [MIX_COUNT] = {NULL, 0, TENSOR_F32},
};

#define M(name) ((uint64_t)1 << MIX_##name)
#define FEWEST (M(IQ1_S) | M(IQ1_M) | M(IQ2_XXS) | M(IQ2_XS) | M(IQ2_S) | M(IQ2_M))

typedef enum role { OUTPUT, EMBEDDING, VALUE, KEY, QUERY, ATTENTION_OUT, UP, GATE, DOWN, OTHER } role;

/* All of a row's conditions must hold. `index` counts the matrices of the role so far, `n` is their number. */
typedef enum condition {
    GQA4 = 1,            /* at least four query heads for each key head */
    EXPERTS4 = 2,        /* at least four experts */
    EXPERTS8 = 4,        /* eight experts */
    NO_EXPERTS8 = 8,
    IMPORTANCE = 16,     /* there is an importance matrix */
    NO_IMPORTANCE = 32,
    FALCON = 64,
    NO_FALCON = 128,
    FIRST_8TH = 256,     /* index < n / 8 */
    FIRST_16TH = 512,
    FIRST_2 = 1024,
    FIRST_4 = 2048,
    EDGES_AND_THIRDS = 4096, /* the first and last eighth, and every third between */
    MIDDLE = 8192,           /* all but the first and last eighth */
} condition;

/* The first row that fits decides; without one it is the mix's type. */
static const struct {
    role role;
    uint64_t mixes;
    uint32_t conditions;
    tensor_type type;
} rules[] = {
    {OUTPUT, M(MXFP4_MOE), 0, TENSOR_Q8_0},
    {OUTPUT, ~(uint64_t)0, FALCON, TENSOR_Q8_0},
    {OUTPUT, FEWEST | M(IQ3_XXS), 0, TENSOR_Q5_K},
    {OUTPUT, ~M(Q8_0), 0, TENSOR_Q6_K},
    {EMBEDDING, M(IQ2_XXS) | M(IQ2_XS) | M(IQ1_S) | M(IQ1_M), 0, TENSOR_Q2_K},
    {EMBEDDING, M(IQ2_S) | M(IQ2_M) | M(IQ3_XXS), 0, TENSOR_IQ3_S},
    {EMBEDDING, M(TQ1_0) | M(TQ2_0), 0, TENSOR_Q4_K},
    {VALUE, FEWEST, GQA4, TENSOR_Q4_K},
    {VALUE, FEWEST, EXPERTS4, TENSOR_Q4_K},
    {VALUE, M(IQ2_S) | M(IQ2_M), 0, TENSOR_IQ3_S},
    {VALUE, FEWEST, 0, TENSOR_Q2_K},
    {VALUE, M(Q2_K) | M(Q2_K_S) | M(IQ3_XXS) | M(IQ3_XS) | M(IQ3_S), GQA4, TENSOR_Q4_K},
    {VALUE, M(Q2_K), 0, TENSOR_Q3_K},
    {VALUE, M(IQ3_XXS), NO_IMPORTANCE, TENSOR_IQ3_S},
    {VALUE, M(IQ3_M), 0, TENSOR_Q4_K},
    {VALUE, M(Q3_K_M), FIRST_2, TENSOR_Q5_K},
    {VALUE, M(Q3_K_M), 0, TENSOR_Q4_K},
    {VALUE, M(Q3_K_L), 0, TENSOR_Q5_K},
    {VALUE, M(IQ4_NL) | M(IQ4_XS), GQA4, TENSOR_Q5_K},
    {VALUE, M(Q4_K_M) | M(Q5_K_M), EDGES_AND_THIRDS, TENSOR_Q6_K},
    {VALUE, M(Q4_K_S), FIRST_4, TENSOR_Q5_K},
    {KEY, FEWEST, EXPERTS8, TENSOR_Q4_K},
    {KEY, ~FEWEST, EXPERTS8, TENSOR_Q8_0},
    {KEY, M(IQ3_XS), 0, TENSOR_IQ3_XXS},
    {KEY, M(IQ3_XXS), 0, TENSOR_IQ2_S},
    {QUERY, M(IQ3_XS), 0, TENSOR_IQ3_XXS},
    {QUERY, M(IQ3_XXS), 0, TENSOR_IQ2_S},
    {DOWN, M(IQ2_S) | M(IQ2_M), FIRST_8TH, TENSOR_IQ3_S},
    {DOWN, FEWEST, FIRST_8TH, TENSOR_Q2_K},
    {DOWN, M(Q2_K), 0, TENSOR_Q3_K},
    {DOWN, M(Q2_K_S), FIRST_8TH, TENSOR_Q4_K},
    {DOWN, M(IQ3_XXS), NO_IMPORTANCE | FIRST_8TH, TENSOR_Q4_K},
    {DOWN, M(IQ3_XXS), NO_IMPORTANCE, TENSOR_Q3_K},
    {DOWN, M(Q3_K_M), FIRST_16TH, TENSOR_Q5_K},
    {DOWN, M(Q3_K_M), NO_FALCON, TENSOR_Q4_K},
    {DOWN, M(Q3_K_M), EDGES_AND_THIRDS, TENSOR_Q4_K},
    {DOWN, M(IQ3_M), FIRST_8TH, TENSOR_Q4_K},
    {DOWN, M(IQ3_M), EXPERTS8 | EDGES_AND_THIRDS, TENSOR_Q4_K},
    {DOWN, M(Q3_K_L), FALCON, TENSOR_Q4_K},
    {DOWN, M(Q3_K_L), 0, TENSOR_Q5_K},
    {DOWN, M(Q4_K_M), FALCON | FIRST_16TH, TENSOR_Q6_K},
    {DOWN, M(Q4_K_M), FALCON | EDGES_AND_THIRDS, TENSOR_Q5_K},
    {DOWN, M(Q4_K_M), NO_FALCON | EDGES_AND_THIRDS, TENSOR_Q6_K},
    {DOWN, M(IQ4_NL) | M(IQ4_XS), NO_IMPORTANCE | FIRST_8TH, TENSOR_Q5_K},
    {DOWN, M(Q5_K_M), EDGES_AND_THIRDS, TENSOR_Q6_K},
    {DOWN, M(Q4_K_S), NO_FALCON | FIRST_8TH, TENSOR_Q5_K},
    {DOWN, M(Q4_0), IMPORTANCE | FIRST_8TH, TENSOR_Q4_1},
    {DOWN, M(Q5_0), IMPORTANCE | FIRST_8TH, TENSOR_Q5_1},
    {ATTENTION_OUT, FEWEST, EXPERTS8, TENSOR_Q5_K},
    {ATTENTION_OUT, M(IQ1_S) | M(IQ1_M), 0, TENSOR_IQ2_XXS},
    {ATTENTION_OUT, M(IQ2_S) | M(IQ2_M), 0, TENSOR_IQ3_S},
    {ATTENTION_OUT, M(Q2_K) | M(IQ3_XS) | M(IQ3_XXS) | M(Q3_K_S) | M(Q3_K_M) | M(IQ4_NL) | M(Q4_K_S) | M(Q4_K_M) |
                    M(IQ3_S) | M(IQ3_M) | M(IQ4_XS), NO_FALCON | EXPERTS8, TENSOR_Q5_K},
    {ATTENTION_OUT, M(Q2_K), NO_FALCON | NO_EXPERTS8, TENSOR_Q3_K},
    {ATTENTION_OUT, M(IQ3_XXS), NO_FALCON | NO_EXPERTS8, TENSOR_IQ3_S},
    {ATTENTION_OUT, M(Q3_K_M) | M(IQ3_M), NO_FALCON | NO_EXPERTS8, TENSOR_Q4_K},
    {ATTENTION_OUT, M(Q3_K_L), NO_FALCON | NO_EXPERTS8, TENSOR_Q5_K},
    {ATTENTION_OUT, M(Q3_K_L), FALCON, TENSOR_Q4_K},
    {UP, M(IQ3_XS), MIDDLE, TENSOR_IQ3_XXS},
    {GATE, M(IQ3_XS), MIDDLE, TENSOR_IQ3_XXS},
};
/* clang-format on */

const quantize_mix *quantize_mix_named(const char *name) {
    static const struct {
        const char *name;
        unsigned mix;
    } aliases[] = {{"q3_K", MIX_Q3_K_M}, {"q4_K", MIX_Q4_K_M}, {"q5_K", MIX_Q5_K_M}, {"mxfp4", MIX_MXFP4_MOE}};
    for (unsigned i = 0; i < PITH_COUNT(aliases); i++)
        if (strcasecmp(name, aliases[i].name) == 0) return &quantize_mixes[aliases[i].mix];
    for (unsigned i = 0; i < MIX_COUNT; i++)
        if (strcasecmp(name, quantize_mixes[i].name) == 0) return &quantize_mixes[i];
    return NULL;
}

/* ---- names ------------------------------------------------------------------------------------------ */

static bool text_is(meta_string s, const char *word) {
    return s.size == strlen(word) && memcmp(s.data, word, s.size) == 0;
}

static bool holds(meta_string s, const char *word) {
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= s.size; i++)
        if (memcmp(s.data + i, word, n) == 0) return true;
    return false;
}

static role role_of(meta_string name) {
    static const struct {
        const char *part;
        role role;
    } parts[] = {{"attn_qkv.weight", VALUE}, {"attn_kv_b.weight", VALUE}, {"attn_v.weight", VALUE},
                 {"attn_k.weight", KEY},     {"attn_q.weight", QUERY},    {"attn_output.weight", ATTENTION_OUT},
                 {"ffn_up", UP},             {"ffn_gate", GATE},          {"ffn_down", DOWN}};
    if (text_is(name, "output.weight")) return OUTPUT;
    if (text_is(name, "token_embd.weight") || text_is(name, "per_layer_token_embd.weight")) return EMBEDDING;
    for (unsigned i = 0; i < PITH_COUNT(parts); i++)
        if (holds(name, parts[i].part)) return parts[i].role;
    return OTHER;
}

bool quantize_allowed(const tensor_view *t) {
    static const char *const kept[] = {
        "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj",
        "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight",
        "time_mix_first.weight", "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight",
        "time_mix_v0.weight", "time_mix_v1.weight", "time_mix_v2.weight", "time_mix_a0.weight", "time_mix_a1.weight",
        "time_mix_a2.weight", "time_mix_g1.weight", "time_mix_g2.weight", "time_mix_decay_w1.weight",
        "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight", "attn_rel_b.weight", ".position_embd",
        "sam.pos_embd", "sam.neck.", "sam.net_", ".rel_pos", ".patch_embd", ".patch_merger", "a.rvq.codebook",
        "mm.a.code_embd"};
    const meta_string name = t->name;
    uint64_t deeper = 1;
    for (unsigned d = 1; d < TENSOR_MAX_DIMS; d++) deeper |= t->ne[d];
    if (deeper == 1 || name.size < 6 || memcmp(name.data + name.size - 6, "weight", 6) != 0) return false;
    if (text_is(name, "position_embd.weight") || text_is(name, "token_types.weight")) return false;
    for (unsigned i = 0; i < PITH_COUNT(kept); i++)
        if (holds(name, kept[i])) return false;
    return true;
}

/* ---- the model ---------------------------------------------------------------------------------------- */

/* A number under the architecture's name; of an array the first. */
static uint32_t model_number(const tensor_file *f, meta_string arch, const char *key, uint32_t otherwise) {
    char name[160];
    uint64_t value;
    int n = snprintf(name, sizeof name, "%.*s.%s", (int)PITH_MIN(arch.size, (size_t)100), arch.data, key);
    if (n < 0 || (size_t)n >= sizeof name) return otherwise;
    if (meta_u64(f, name, &value)) return value <= UINT32_MAX ? (uint32_t)value : otherwise;
    const meta_value *array = meta_find(f, name);
    if (!array || array->type != META_ARRAY || array->count == 0 || meta_type_bytes(array->element) == 0)
        return otherwise;
    double first = meta_number_at(array, 0);
    return first >= 0 && first <= UINT32_MAX ? (uint32_t)first : otherwise;
}

quantize_model quantize_model_of(const tensor_file *f, bool has_importance) {
    quantize_model m = {.has_importance = has_importance, .tied = true};
    meta_string arch = {"", 0};
    meta_text(f, "general.architecture", &arch);
    m.falcon = text_is(arch, "falcon");
    m.n_layers = PITH_MIN(model_number(f, arch, "block_count", 0), (uint32_t)1 << 24);
    m.n_experts = model_number(f, arch, "expert_count", 0);
    uint32_t heads = model_number(f, arch, "attention.head_count", 0);
    uint32_t key_heads = model_number(f, arch, "attention.head_count_kv", heads);
    m.n_gqa = key_heads ? heads / key_heads : 0;
    m.is_70b = text_is(arch, "llama") && m.n_layers == 80 && heads != key_heads;
    for (size_t i = 0; i < f->n_tensors; i++) {
        role r = role_of(f->tensors[i].name);
        if (r == VALUE) m.n_values++;
        if (r == OUTPUT) m.tied = false;
    }
    return m;
}

/* The layer that stands in a name, -1 when none does. */
static int64_t layer_of(meta_string name) {
    int64_t layer = 0;
    size_t i = 4;
    if (name.size < 6 || memcmp(name.data, "blk.", 4) != 0) return -1;
    for (; i < name.size && name.data[i] >= '0' && name.data[i] <= '9' && layer < 1 << 24; i++)
        layer = layer * 10 + (name.data[i] - '0');
    return i > 4 && i < name.size && name.data[i] == '.' ? layer : -1;
}

static uint32_t conditions_of(const quantize_model *m, uint32_t index, uint32_t n) {
    bool edge = index < n / 8 || index >= 7 * n / 8;
    uint32_t c = m->n_experts == 8 ? EXPERTS8 : NO_EXPERTS8;
    c |= m->falcon ? FALCON : NO_FALCON;
    c |= m->has_importance ? IMPORTANCE : NO_IMPORTANCE;
    if (m->n_gqa >= 4) c |= GQA4;
    if (m->n_experts >= 4) c |= EXPERTS4;
    if (index < n / 8) c |= FIRST_8TH;
    if (index < n / 16) c |= FIRST_16TH;
    if (index < 2) c |= FIRST_2;
    if (index < 4) c |= FIRST_4;
    if (edge || (index - n / 8) % 3 == 2) c |= EDGES_AND_THIRDS;
    if (!edge) c |= MIDDLE;
    return c;
}

tensor_type quantize_choose(quantize_model *m, const quantize_mix *mix, const tensor_view *t) {
    const uint64_t bit = (uint64_t)1 << (mix - quantize_mixes);
    role r = role_of(t->name);
    if (r == EMBEDDING && m->tied) r = OUTPUT;
    if (r == OUTPUT && t->ne[0] % tensor_type_of(mix->type)->block != 0) return TENSOR_Q8_0;
    if (bit == M(MXFP4_MOE) && r != OUTPUT) return t->ne[2] > 1 ? TENSOR_MXFP4 : TENSOR_Q8_0;
    uint32_t index = 0, n = m->n_layers, *met = NULL;
    switch (r) {
    case VALUE: met = &m->values, n = m->n_values; break;
    case DOWN: met = &m->downs; break;
    case GATE: met = &m->gates; break;
    case UP: met = &m->ups; break;
    default: break;
    }
    if (met) index = (*met)++;
    /* Experts of one layer may be apart in the file: there the name counts. */
    if (met && r != VALUE && m->n_experts > 1 && !(bit & FEWEST) && layer_of(t->name) >= 0)
        index = (uint32_t)layer_of(t->name);
    uint32_t given = conditions_of(m, index, n);
    tensor_type type = mix->type;
    for (unsigned i = 0; i < PITH_COUNT(rules); i++)
        if (rules[i].role == r && (rules[i].mixes & bit) && (rules[i].conditions & ~given) == 0) {
            type = rules[i].type;
            break;
        }
    if (r == VALUE && !(bit & FEWEST)) {
        if (m->is_70b && (type == TENSOR_Q3_K || type == TENSOR_Q4_K)) type = TENSOR_Q5_K;
        if (m->n_experts == 8) type = TENSOR_Q8_0;
    }
    return type;
}

tensor_type quantize_fallback(tensor_type type, uint64_t columns) {
    if (columns % tensor_type_of(type)->block == 0) return type;
    if (columns % 32 != 0) return TENSOR_F16;
    switch (type) {
    case TENSOR_Q2_K:
    case TENSOR_Q3_K:
    case TENSOR_TQ1_0:
    case TENSOR_TQ2_0: return TENSOR_Q4_0;
    case TENSOR_Q4_K: return TENSOR_Q5_0;
    case TENSOR_Q5_K: return TENSOR_Q5_1;
    case TENSOR_Q6_K: return TENSOR_Q8_0;
    default: return TENSOR_IQ4_NL;
    }
}

bool quantize_needs_importance(const quantize_mix *mix, const tensor_view *t, tensor_type type) {
    role r = role_of(t->name);
    if (r == OUTPUT || r == EMBEDDING) return false;
    switch (type) {
    case TENSOR_IQ1_S:
    case TENSOR_IQ1_M:
    case TENSOR_IQ2_XXS:
    case TENSOR_IQ2_XS:
    case TENSOR_IQ2_S:
    case TENSOR_IQ3_XXS: return true;
    case TENSOR_Q2_K: return mix == &quantize_mixes[MIX_Q2_K_S];
    default: return false;
    }
}
