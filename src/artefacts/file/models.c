/* Models of a session, attached to it. The built-in one is opened when it is first asked for. */
#include "artefacts/file/models.h"

#include <pthread.h>

#include "pith/lm.h"

#define MODELS_MAX 16
#define SWAP(word) __builtin_bswap32(word) /* as the canonical form of the hash is written */

typedef struct models {
    bool given; /* by the user, not opened because an archive or recipe asked */
    unsigned n;
    file_model model[MODELS_MAX];
} models;

static const char key;                                    /* of what is attached */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;  /* guards making and growing any session's list */

static void models_free(pith_ctx *ctx, void *object) {
    models *m = object;
    for (unsigned i = 0; i < m->n; i++) lm_close(ctx, (lm_model *)m->model[i].model);
    pith_free(ctx, m);
}

static pith_status list_of(pith_ctx *ctx, models **out) {
    *out = pith_attached_get(ctx, &key);
    if (*out) return PITH_OK;
    models *m = pith_zalloc(ctx, sizeof *m);
    if (!m) return pith_alloc_status(ctx);
    pith_status status = pith_attach(ctx, &key, m, models_free);
    if (status) pith_free(ctx, m);
    *out = status ? NULL : m;
    return status;
}

static pith_status open_one(pith_ctx *ctx, const char *path, models *m) {
    if (m->n == MODELS_MAX)
        return pith_fail(ctx, PITH_E_LIMIT, "a session takes %d models for files", MODELS_MAX);
    lm_model *model;
    uint8_t hash[16];
    pith_status status = lm_open(ctx, path, &model);
    if (status) return status;
    if (!lm_tokenizer(model)) status = lm_no_tokenizer(ctx);
    if (!status) status = lm_hash(ctx, model, hash);
    if (status) {
        lm_close(ctx, model);
        return status;
    }
    file_model *slot = &m->model[m->n++];
    slot->model = model;
    for (unsigned i = 0; i < MODEL_HASH_WORDS; i++) slot->hash[i] = load32(hash + 4 * i);
    return PITH_OK;
}

pith_status pith_lm_use(pith_ctx *ctx, const char *path) {
    pith_begin(ctx);
    models *m;
    pthread_mutex_lock(&lock);
    pith_status status = list_of(ctx, &m);
    if (!status) status = open_one(ctx, path, m);
    if (!status) m->given = true;
    pthread_mutex_unlock(&lock);
    return status;
}

bool models_given(pith_ctx *ctx) {
    const models *m = pith_attached_get(ctx, &key);
    return m && m->given;
}

pith_status models_newest(pith_ctx *ctx, file_model *out) {
    models *m;
    pthread_mutex_lock(&lock);
    pith_status status = list_of(ctx, &m);
    if (!status && m->n == 0) status = open_one(ctx, NULL, m);
    if (!status) *out = m->model[m->n - 1];
    pthread_mutex_unlock(&lock);
    return status;
}

static bool find(const models *m, const uint32_t *hash, file_model *out) {
    for (unsigned i = m->n; i-- > 0;)
        if (memcmp(m->model[i].hash, hash, sizeof m->model[i].hash) == 0) {
            *out = m->model[i];
            return true;
        }
    return false;
}

/* Compared before anything is opened, so that an archive that names some other model costs nothing. */
static bool is_built_in(const uint32_t *hash) {
    uint8_t built_in[16];
    lm_default_hash(built_in);
    for (unsigned i = 0; i < MODEL_HASH_WORDS; i++)
        if (load32(built_in + 4 * i) != hash[i]) return false;
    return true;
}

pith_status models_find(pith_ctx *ctx, const uint32_t hash[MODEL_HASH_WORDS], file_model *out) {
    pthread_mutex_lock(&lock);
    models *m = pith_attached_get(ctx, &key);
    pith_status status = PITH_OK;
    bool found = m && find(m, hash, out);
    if (!found && is_built_in(hash)) { /* not opened yet */
        status = list_of(ctx, &m);
        if (!status) status = open_one(ctx, NULL, m);
        found = !status && find(m, hash, out);
    }
    pthread_mutex_unlock(&lock);
    if (status || found) return status;
    return pith_fail(ctx, PITH_E_UNSUPPORTED,
                     "this was coded with the language model %08x%08x%08x%08x, which is not at hand; give its file "
                     "(pith --model FILE)", SWAP(hash[0]), SWAP(hash[1]), SWAP(hash[2]), SWAP(hash[3]));
}
