/* pith model convert: plans what each tensor becomes, writes head and data through a temporary file
 * beside the output. Vectors, norms and the few matrices that llama.cpp wants in F32 stay so in GGUF. */
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "artefacts/model/model.h"
#include "faces/cli/model.h"

typedef enum model_format { TO_GGUF, TO_SAFETENSORS, TO_NPY } model_format;

typedef struct conversion {
    pith_ctx *ctx;
    const tensor_file *f;
    const model_options *o;
    model_format format;
    const tensor_type_info *type; /* NULL: as they are */
    model_tensor *list;
    size_t n;
    uint64_t written, total;
    /* Rows that are no multiple of the type's block get another. */
    uint64_t n_fallbacks;
    const tensor_view *first_fallback;
    const tensor_type_info *fallback_type;
    gguf_writer *gguf;
    cli_output out;
    int write_error; /* errno of the first failed write */
} conversion;

/* ---- the plan ----------------------------------------------------------------- */

static bool text_is(meta_string s, const char *word) {
    return s.size == strlen(word) && memcmp(s.data, word, s.size) == 0;
}

static bool ends_with(meta_string s, const char *end) {
    size_t n = strlen(end);
    return s.size >= n && memcmp(s.data + s.size - n, end, n) == 0;
}

static bool is_float(tensor_type type) {
    return !(type >= TENSOR_I8 && type <= TENSOR_I64) && !(type >= TENSOR_U8 && type <= TENSOR_BOOL);
}

/* llama.cpp's converter keeps these in F32. */
static bool stays_f32(const tensor_view *t) {
    static const char *const ends[] = {"_norm.weight", "position_embd.weight", "token_types.weight", "ssm_conv1d.weight",
                                       "ffn_gate_inp.weight", "time_mix_first.weight", "time_mix_decay.weight"};
    if (t->n_dims <= 1 || !ends_with(t->name, ".weight")) return true;
    for (unsigned i = 0; i < PITH_COUNT(ends); i++)
        if (ends_with(t->name, ends[i])) return true;
    return false;
}

static int parse_format(conversion *c) {
    static const char *const names[] = {"gguf", "safetensors", "npy"};
    const char *dot = strrchr(c->o->out, '.'), *name = c->o->to ? c->o->to : dot ? dot + 1 : "";
    for (unsigned i = 0; i < PITH_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0) {
            c->format = (model_format)i;
            return CLI_OK;
        }
    if (c->o->to) return cli_error("--to: gguf, safetensors or npy, not '%s'", c->o->to);
    return cli_error("%s: its name should end in .gguf, .safetensors or .npy, or give --to", c->o->out);
}

/* llama.cpp's number for what most of a file is (llama.h, llama_ftype); UINT32_MAX for none. */
static uint32_t file_type(tensor_type type) {
    static const struct {
        tensor_type type;
        uint32_t number;
    } numbers[] = {{TENSOR_F32, 0},     {TENSOR_F16, 1},    {TENSOR_Q4_0, 2},   {TENSOR_Q4_1, 3},  {TENSOR_Q8_0, 7},
                   {TENSOR_Q5_0, 8},    {TENSOR_Q5_1, 9},   {TENSOR_Q2_K, 10},  {TENSOR_Q3_K, 11}, {TENSOR_Q4_K, 14},
                   {TENSOR_Q5_K, 16},   {TENSOR_Q6_K, 18},  {TENSOR_IQ4_NL, 25}, {TENSOR_IQ4_XS, 30}, {TENSOR_BF16, 32},
                   {TENSOR_TQ1_0, 36},  {TENSOR_TQ2_0, 37}, {TENSOR_MXFP4, 38}};
    for (unsigned i = 0; i < PITH_COUNT(numbers); i++)
        if (numbers[i].type == type) return numbers[i].number;
    return UINT32_MAX;
}

static bool can_encode(const tensor_type_info *info) {
    float zeros[256] = {0};
    uint8_t bytes[2048];
    return file_type(info->type) != UINT32_MAX && info->block <= PITH_COUNT(zeros) && info->block_bytes <= sizeof bytes &&
           blocks_encode(info->type, zeros, bytes, info->block);
}

static int parse_type(conversion *c) {
    if (!c->o->type) return CLI_OK;
    c->type = tensor_type_named(c->o->type, strlen(c->o->type));
    if (!c->type) return cli_error("--type: no element type '%s'", c->o->type);
    if (!can_encode(c->type)) {
        char known[256] = "";
        size_t n = 0;
        for (uint32_t i = 0; i < 64; i++) {
            const tensor_type_info *info = tensor_type_of(i);
            if (info && can_encode(info) && n < sizeof known)
                n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", n ? ", " : "", info->name);
        }
        return cli_error("--type: %s is not written; these are: %s", c->type->name, known);
    }
    if (c->format != TO_GGUF && c->type->block > 1)
        return cli_error("--type: %s is for GGUF; safetensors and npy take f32, f16 and bf16", c->type->name);
    return CLI_OK;
}

/* The type a tensor gets. */
static tensor_type choose_type(conversion *c, const tensor_view *t, model_move move) {
    tensor_type type = t->type;
    if (!is_float(type)) return type;
    bool f32 = c->format == TO_GGUF && stays_f32(t);
    /* A GGUF stays as it is where nobody asks; what comes from elsewhere gets its vectors widened. */
    if (f32 && (c->type || strcmp(c->f->format, "gguf") != 0)) return TENSOR_F32;
    if (c->type) type = c->type->type;
    const tensor_type_info *info = tensor_type_of(type);
    if (move != MODEL_KEEP && !c->type && info->block > 1) return TENSOR_F32;
    uint64_t columns = move == MODEL_TRANSPOSE ? t->ne[1] : t->ne[0];
    if (columns % info->block == 0) return type;
    if (c->n_fallbacks++ == 0) {
        c->first_fallback = t;
        c->fallback_type = tensor_type_of(quantize_fallback(type, columns));
    }
    return quantize_fallback(type, columns);
}

/* What config.json's layouts still need, told by the keys of tensors.h. */
static model_move choose_move(const conversion *c, const tensor_view *t, uint64_t *n_heads) {
    meta_string text;
    bool transposed;
    if (c->format != TO_GGUF) return MODEL_KEEP;
    if (meta_text(c->f, "pith.rope_layout", &text) && text_is(text, "half")) {
        bool q = ends_with(t->name, ".attn_q.weight") || ends_with(t->name, ".attn_q.bias");
        bool k = ends_with(t->name, ".attn_k.weight") || ends_with(t->name, ".attn_k.bias");
        const char *key = q ? "llama.attention.head_count" : "llama.attention.head_count_kv";
        if ((q || k) && meta_u64(c->f, key, n_heads)) return MODEL_INTERLEAVE;
    }
    if (meta_bool(c->f, "pith.transposed", &transposed) && transposed && t->n_dims == 2) {
        static const char *const ends[] = {".attn_qkv.weight", ".attn_output.weight", ".ffn_up.weight",
                                           ".ffn_down.weight"};
        for (unsigned i = 0; i < PITH_COUNT(ends); i++)
            if (ends_with(t->name, ends[i])) return MODEL_TRANSPOSE;
    }
    if (meta_text(c->f, "pith.ssm_a", &text) && text_is(text, "log") && ends_with(t->name, ".ssm_a"))
        return MODEL_NEGATE_EXP;
    return MODEL_KEEP;
}

static int plan_tensor(conversion *c, const tensor_view *t) {
    model_tensor *m = &c->list[c->n];
    char name[128], shown[64];
    snprintf(name, sizeof name, "%.*s", (int)PITH_MIN(t->name.size, (size_t)100), t->name.data);
    cli_safe_text(shown, sizeof shown, name);
    *m = (model_tensor){.from = t, .to = *t};
    m->move = choose_move(c, t, &m->n_heads);
    m->to.type = choose_type(c, t, m->move);
    m->to.data = NULL;
    uint64_t rows = t->n_dims > 1 ? t->ne[1] : t->ne[0];
    if (m->move == MODEL_INTERLEAVE && (t->n_dims > 2 || !m->n_heads || rows % (2 * m->n_heads) != 0))
        return cli_error("%s: %s: its %" PRIu64 " rows are not two halves for each of %" PRIu64 " heads", c->o->in, shown,
                         rows, m->n_heads);
    if (m->move == MODEL_TRANSPOSE) {
        m->to.ne[0] = t->ne[1];
        m->to.ne[1] = t->ne[0];
    }
    if (!tensor_type_bytes(m->to.type, t->n_elements, &m->to.bytes))
        return cli_error("%s: %s: too many bytes", c->o->in, shown);
    c->total += m->to.bytes;
    c->n++;
    return CLI_OK;
}

static int plan(conversion *c) {
    const tensor_file *f = c->f;
    if (c->format == TO_NPY && !c->o->tensor && f->n_tensors != 1)
        return cli_error("%s: a .npy takes one tensor: name it with --tensor", c->o->out);
    if (c->o->tensor && !tensor_find(f, c->o->tensor))
        return cli_error("%s: no tensor %s; pith model info --tensors lists them", c->o->in, c->o->tensor);
    c->list = pith_alloc(c->ctx, (f->n_tensors + 1) * sizeof *c->list);
    if (!c->list) return cli_error("%s: %s", c->o->in, pith_error(c->ctx));
    for (size_t i = 0; i < f->n_tensors; i++) {
        if (c->o->tensor && &f->tensors[i] != tensor_find(f, c->o->tensor)) continue;
        if (plan_tensor(c, &f->tensors[i]) != CLI_OK) return CLI_FAIL;
    }
    return CLI_OK;
}

/* ---- the head ------------------------------------------------------------------- */

static pith_status put_bytes(void *opaque, const void *data, size_t size) {
    conversion *c = opaque;
    c->write_error = cli_output_write(&c->out, data, size);
    return c->write_error ? PITH_E_IO : PITH_OK;
}

static bool is_pith_key(meta_string key) { return key.size > 5 && memcmp(key.data, "pith.", 5) == 0; }

static pith_status put_keys(conversion *c) {
    pith_status status = PITH_OK;
    for (size_t i = 0; i < c->f->n_meta && !status; i++)
        if (!is_pith_key(c->f->meta[i].key)) status = gguf_put_value(c->ctx, c->gguf, &c->f->meta[i]);
    tensor_type most = c->type ? c->type->type : TENSOR_F32;
    if (!c->type) /* the type of the biggest tensor stands for a file that never said */
        for (size_t i = 0, best = 0; i < c->n; i++)
            if (i == 0 || c->list[i].to.n_elements > c->list[best].to.n_elements) most = c->list[best = i].to.type;
    if (!status && (c->type || !meta_find(c->f, "general.file_type")) && file_type(most) != UINT32_MAX)
        status = gguf_put_u32(c->ctx, c->gguf, "general.file_type", file_type(most));
    if (!status && tensor_type_of(most)->block > 1 && (c->type || !meta_find(c->f, "general.quantization_version")))
        status = gguf_put_u32(c->ctx, c->gguf, "general.quantization_version", 2);
    return status;
}

/* The named tokenizer, or the one that lies in the model's directory. */
static pith_status put_tokenizer(conversion *c) {
    char path[4096];
    struct stat st;
    static const char *const names[] = {"tokenizer.model", "tokenizer.json"};
    const tensor_view *embedding = tensor_find(c->f, "token_embd.weight");
    uint32_t n_vocab = embedding && embedding->ne[1] <= UINT32_MAX ? (uint32_t)embedding->ne[1] : 0;
    if (c->o->tokenizer) return model_put_tokenizer(c->ctx, c->gguf, c->o->tokenizer, n_vocab);
    if (meta_find(c->f, "tokenizer.ggml.tokens") || stat(c->o->in, &st) != 0 || !S_ISDIR(st.st_mode)) return PITH_OK;
    for (unsigned i = 0; i < PITH_COUNT(names); i++) {
        int n = snprintf(path, sizeof path, "%s/%s", c->o->in, names[i]);
        if (n > 0 && (size_t)n < sizeof path && stat(path, &st) == 0)
            return model_put_tokenizer(c->ctx, c->gguf, path, n_vocab);
    }
    return PITH_OK;
}

static pith_status write_gguf_head(conversion *c) {
    pith_status status = gguf_writer_new(c->ctx, &c->gguf);
    if (!status) status = put_keys(c);
    if (!status) status = put_tokenizer(c);
    for (size_t i = 0; i < c->n && !status; i++) {
        const tensor_view *t = &c->list[i].to;
        status = gguf_put_tensor(c->ctx, c->gguf, t->name.data, t->name.size, t->type, t->n_dims, t->ne);
    }
    return status ? status : gguf_write_head(c->ctx, c->gguf, put_bytes, c);
}

static pith_status write_plain_head(conversion *c) {
    pith_buffer head = {0};
    pith_status status;
    if (c->format == TO_NPY) {
        status = npy_head(c->ctx, c->list[0].to.type, c->list[0].to.n_dims, c->list[0].to.ne, &head);
    } else {
        tensor_view *views = pith_alloc(c->ctx, (c->n + 1) * sizeof *views);
        if (!views) return pith_alloc_status(c->ctx);
        for (size_t i = 0; i < c->n; i++) views[i] = c->list[i].to;
        status = safetensors_head(c->ctx, views, c->n, c->f->meta, c->f->n_meta, &head);
        pith_free(c->ctx, views);
    }
    if (!status) status = put_bytes(c, head.data, head.size);
    pith_buffer_free(c->ctx, &head);
    return status;
}

/* ---- the data --------------------------------------------------------------------- */

static pith_status put_data(void *opaque, const void *data, size_t size) {
    conversion *c = opaque;
    pith_status status = c->format == TO_GGUF ? gguf_write_data(c->ctx, c->gguf, data, size, put_bytes, c)
                                              : put_bytes(c, data, size);
    return status ? status : pith_tick(c->ctx, c->written += size, c->total);
}

static int write_all(conversion *c) {
    pith_status status = c->format == TO_GGUF ? write_gguf_head(c) : write_plain_head(c);
    for (size_t i = 0; i < c->n && !status; i++) status = model_stream(c->ctx, &c->list[i], put_data, c);
    if (!status) return CLI_OK;
    if (c->write_error) return cli_error("%s: %s", c->o->out, strerror(c->write_error));
    return cli_error("%s: %s", c->o->in, pith_error(c->ctx));
}

static int write_file(conversion *c) {
    struct stat st;
    if (!c->o->force && lstat(c->o->out, &st) == 0 && S_ISREG(st.st_mode))
        return cli_error("%s: already exists; not overwritten (-f does)", c->o->out);
    cli_progress progress;
    if (cli_output_open(&c->out, c->o->out) != CLI_OK) return CLI_FAIL;
    cli_progress_start(&progress, "converting", c->o->in, c->total);
    pith_ctx_set_progress(c->ctx, cli_progress_show, &progress);
    int result = write_all(c);
    cli_progress_clear(&progress);
    if (result == CLI_OK) result = cli_output_finish(&c->out, NULL);
    if (result == CLI_OK) return cli_output_commit(&c->out, c->o->force);
    cli_output_discard(&c->out);
    return result;
}

static void note_fallbacks(const conversion *c) {
    const tensor_view *t = c->first_fallback;
    char name[128], shown[64];
    snprintf(name, sizeof name, "%.*s", (int)PITH_MIN(t->name.size, (size_t)100), t->name.data);
    const tensor_type_info *type = c->type ? c->type : tensor_type_of(t->type);
    cli_warn("%" PRIu64 " tensors have rows that are no multiple of %u, the block of %s, and got another type (%s: %s)",
             c->n_fallbacks, type->block, type->name, cli_safe_text(shown, sizeof shown, name), c->fallback_type->name);
}

int model_convert(pith_ctx *ctx, const tensor_file *f, const model_options *o) {
    conversion c = {.ctx = ctx, .f = f, .o = o, .out = {.fd = -1}};
    int result = parse_format(&c);
    if (result == CLI_OK) result = parse_type(&c);
    if (result == CLI_OK && o->tokenizer && c.format != TO_GGUF)
        result = cli_error("--tokenizer: only a GGUF file can hold it");
    if (result == CLI_OK) result = plan(&c);
    if (result == CLI_OK) result = write_file(&c);
    gguf_writer_free(ctx, c.gguf);
    pith_free(ctx, c.list);
    if (result == CLI_OK && c.n_fallbacks) note_fallbacks(&c);
    return result;
}
