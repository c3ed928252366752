/* JSON of strangers, read with jansson. */
#include "formats/json/json.h"

#include <errno.h>
#include <stdio.h>

#define JSON_MAX 100000000u
/* What jansson may need for one byte of text: "[]," is three bytes and an array of about 130. */
#define MEMORY_PER_BYTE 48u

pith_status json_read(pith_ctx *ctx, const char *what, const char *text, size_t size, uint64_t at, json_t **out) {
    *out = NULL;
    uint64_t used = pith_memory_used(ctx), limit = pith_ctx_memory(ctx), room = limit > used ? limit - used : 0;
    if (size > JSON_MAX)
        return pith_fail(ctx, PITH_E_FORMAT, "%s at byte %llu: %zu bytes, at most %u are allowed", what,
                         (unsigned long long)at, size, JSON_MAX);
    if (size > room / MEMORY_PER_BYTE)
        return pith_fail(ctx, PITH_E_LIMIT, "%s at byte %llu: %zu bytes of JSON may take %llu bytes of memory", what,
                         (unsigned long long)at, size, (unsigned long long)size * MEMORY_PER_BYTE);
    json_error_t error;
    json_t *value = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!value) {
        bool memory = json_error_code(&error) == json_error_out_of_memory;
        unsigned long long place = at + (error.position > 0 ? (unsigned)error.position : 0);
        char line[JSON_ERROR_TEXT_LENGTH];
        size_t n = 0;
        for (const char *p = error.text; *p && n + 1 < sizeof line; p++)
            line[n++] = (unsigned char)*p < 32 || (unsigned char)*p > 126 ? '?' : *p;
        line[n] = 0;
        return pith_fail(ctx, memory ? PITH_E_MEMORY : PITH_E_FORMAT, "%s at byte %llu: %s", what, place, line);
    }
    if (!json_is_object(value)) {
        json_decref(value);
        return pith_fail(ctx, PITH_E_FORMAT, "%s at byte %llu: should be a JSON object", what, (unsigned long long)at);
    }
    *out = value;
    return PITH_OK;
}

pith_status json_read_file(pith_ctx *ctx, const char *path, json_t **out) {
    *out = NULL;
    FILE *file = fopen(path, "rbe");
    if (!file) return pith_fail(ctx, PITH_E_IO, "%s: %s", path, strerror(errno));
    pith_buffer text = {0};
    uint8_t piece[16384];
    size_t n;
    pith_status status = PITH_OK;
    while (!status && (n = fread(piece, 1, sizeof piece, file)) > 0) {
        status = text.size + n > JSON_MAX
                     ? pith_fail(ctx, PITH_E_FORMAT, "%s: more than %u bytes of JSON", path, JSON_MAX)
                     : pith_buffer_append(ctx, &text, piece, n);
    }
    if (!status && ferror(file)) status = pith_fail(ctx, PITH_E_IO, "%s: %s", path, strerror(errno));
    fclose(file);
    if (!status) status = json_read(ctx, path, (const char *)text.data, text.size, 0, out);
    pith_buffer_free(ctx, &text);
    return status;
}

bool json_whole(const json_t *value, uint64_t *number) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *number = (uint64_t)json_integer_value(value);
    return true;
}
