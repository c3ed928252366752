/* The tokenizer of a model whose file has none: a vocabulary file beside it. In a model's folder that is
 * tokenizer.json, tokenizer.model or tokenizer.bin; of a single file NAME.EXT the same behind "NAME." first
 * (stories15M.tokenizer.bin), and llama2.c's own name for a vocabulary of N pieces, tokN.bin, last. The first that is
 * there is the model's: one that does not fit is an error, not a reason to look on. */
#include <stdio.h>
#include <sys/stat.h>

#include "lm/model.h"

#define PATH_LENGTH_MAX 4096

static bool is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The path of the first that is there in out[PATH_LENGTH_MAX]. */
static bool find(const char *model, size_t n_vocab, char *out) {
    static const char *const ends[] = {"json", "model", "bin"};
    const char *slash = strrchr(model, '/'), *name = slash ? slash + 1 : model, *dot = strrchr(name, '.');
    bool folder = is_folder(model);
    int folder_n = folder ? (int)strlen(model) : (int)(name - model), name_n = dot ? (int)(dot - name) : 0;
    if (strlen(model) > PATH_LENGTH_MAX - 64) return false;
    for (unsigned i = 0; i < PITH_COUNT(ends) && name_n && !folder; i++) {
        snprintf(out, PATH_LENGTH_MAX, "%.*s%.*s.tokenizer.%s", folder_n, model, name_n, name, ends[i]);
        if (is_file(out)) return true;
    }
    for (unsigned i = 0; i < PITH_COUNT(ends); i++) {
        snprintf(out, PATH_LENGTH_MAX, "%.*s%stokenizer.%s", folder_n, model, folder ? "/" : "", ends[i]);
        if (is_file(out)) return true;
    }
    snprintf(out, PATH_LENGTH_MAX, "%.*s%stok%zu.bin", folder_n, model, folder ? "/" : "", n_vocab);
    return is_file(out);
}

pith_status model_find_tokenizer(pith_ctx *ctx, const char *path, lm_model *m) {
    char at[PATH_LENGTH_MAX], why[512];
    if (!find(path, m->dim[DIM_VOCAB], at)) return PITH_OK;
    pith_status status = tokenizer_open_path(ctx, at, (uint32_t)m->dim[DIM_VOCAB], &m->tokenizer);
    if (!status || status == PITH_E_CANCELLED) return status;
    snprintf(why, sizeof why, "%s", pith_error(ctx));
    pith_begin(ctx);
    return pith_fail(ctx, status, "%s: %s", at, why);
}

pith_status lm_no_tokenizer(pith_ctx *ctx) {
    return pith_fail(ctx, PITH_E_ARGUMENT,
                     "the model has no tokenizer: put its tokenizer.json, tokenizer.model or tokenizer.bin beside it, "
                     "or both into one file (pith model convert --tokenizer)");
}

pith_status lm_hash(pith_ctx *ctx, const lm_model *m, uint8_t hash[16]) {
    uint8_t both[32];
    const uint8_t *words = m->tokenizer ? tokenizer_file_hash(m->tokenizer) : NULL;
    pith_status status = tensor_file_hash(ctx, m->file, both);
    if (status) return status;
    if (words) memcpy(both + 16, words, 16);
    if (words)
        tensor_bytes_hash(both, sizeof both, hash);
    else
        memcpy(hash, both, 16);
    return PITH_OK;
}
