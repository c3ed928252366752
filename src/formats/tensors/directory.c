/* Models of several files: a Hugging Face directory (config.json beside model.safetensors or
 * model.safetensors.index.json), or an index alone. The index maps tensor names to files, which
 * must lie beside it: a name with a slash is refused. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "formats/json/json.h"
#include "formats/tensors/view.h"

#define SHARDS_MAX 10000u

/* folder/name; the folder is that of `path` when `beside`. pith_free what comes out. */
static char *join(pith_ctx *ctx, const char *path, bool beside, const char *name) {
    const char *slash = strrchr(path, '/');
    size_t n = !beside ? strlen(path) : slash ? (size_t)(slash - path) : 0, name_n = strlen(name);
    char *out = pith_alloc(ctx, n + name_n + 2);
    if (!out) return NULL;
    memcpy(out, path, n);
    size_t at = n;
    if (!beside || slash) out[at++] = '/';
    memcpy(out + at, name, name_n + 1);
    return out;
}

static bool is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static pith_status read_shard(pith_ctx *ctx, tensor_store *s, const char *path) {
    pith_status status = store_map(ctx, s, path);
    return status ? status : safetensors_map_read(ctx, s, s->n_maps - 1, s->n_maps == 1);
}

/* The distinct file names of the weight map as a JSON object. */
static json_t *shard_names(const json_t *weight_map) {
    json_t *names = json_object();
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)weight_map, key, value) {
        if (!json_object_get(names, json_string_value(value)))
            if (json_object_set_new(names, json_string_value(value), json_null()) != 0) {
                json_decref(names);
                return NULL;
            }
    }
    return names;
}

static pith_status check_index(pith_ctx *ctx, const char *path, const json_t *weight_map) {
    const char *key;
    json_t *value;
    if (!json_is_object(weight_map))
        return pith_fail(ctx, PITH_E_FORMAT, "%s: weight_map should be an object", path);
    json_object_foreach((json_t *)(uintptr_t)weight_map, key, value) {
        const char *file = json_string_value(value);
        char shown[SHOWN_MAX];
        if (!file || !*file || strchr(file, '/') || strcmp(file, "..") == 0 || strcmp(file, ".") == 0)
            return pith_fail(ctx, PITH_E_FORMAT, "%s: weight_map of %s should name a file beside it", path,
                             text_shown(shown, (meta_string){key, strlen(key)}));
    }
    return PITH_OK;
}

/* Every name of the index must be in a shard: as many tensors as names, the shards' names being apart. */
static pith_status check_complete(pith_ctx *ctx, const tensor_store *s, const char *path, const json_t *weight_map) {
    if (json_object_size(weight_map) == s->n_tensors) return PITH_OK;
    return pith_fail(ctx, PITH_E_FORMAT, "%s: weight_map names %zu tensors, the files have %zu", path,
                     json_object_size(weight_map), s->n_tensors);
}

static pith_status read_shards(pith_ctx *ctx, tensor_store *s, const char *path, const json_t *weight_map) {
    json_t *names = shard_names(weight_map), *value;
    const char *file;
    if (!names) return pith_fail(ctx, PITH_E_MEMORY, "%s: no memory for its names", path);
    pith_status status = PITH_OK;
    if (json_object_size(names) > SHARDS_MAX)
        status = pith_fail(ctx, PITH_E_LIMIT, "%s: more than %u files", path, SHARDS_MAX);
    json_object_foreach(names, file, value) {
        if (status) break;
        char *shard = join(ctx, path, true, file);
        status = shard ? read_shard(ctx, s, shard) : pith_alloc_status(ctx);
        pith_free(ctx, shard);
    }
    json_decref(names);
    return status ? status : check_complete(ctx, s, path, weight_map);
}

pith_status shards_read(pith_ctx *ctx, tensor_store *s, const char *index_path) {
    json_t *index;
    s->file.format = "safetensors";
    s->file.alignment = 1;
    pith_status status = json_read_file(ctx, index_path, &index);
    if (status) return status;
    const json_t *weight_map = json_object_get(index, "weight_map");
    status = check_index(ctx, index_path, weight_map);
    if (!status) status = read_shards(ctx, s, index_path, weight_map);
    json_decref(index);
    return status;
}

pith_status directory_read(pith_ctx *ctx, tensor_store *s, const char *path) {
    s->file.format = "safetensors";
    s->file.alignment = 1;
    char *one = join(ctx, path, false, "model.safetensors");
    char *index = join(ctx, path, false, "model.safetensors.index.json");
    char *config = join(ctx, path, false, "config.json");
    char *pooling = join(ctx, path, false, "1_Pooling/config.json");
    pith_status status = PITH_OK;
    if (!one || !index || !config || !pooling)
        status = pith_alloc_status(ctx);
    else if (is_file(index))
        status = shards_read(ctx, s, index);
    else if (is_file(one))
        status = read_shard(ctx, s, one);
    else
        status = pith_fail(ctx, PITH_E_FORMAT, "%s: a directory without model.safetensors", path);
    if (!status && is_file(config)) status = config_apply(ctx, s, config);
    if (!status && is_file(config) && is_file(pooling)) status = config_apply_pooling(ctx, s, pooling);
    pith_free(ctx, pooling);
    pith_free(ctx, config);
    pith_free(ctx, index);
    pith_free(ctx, one);
    return status;
}
