/* JSON of strangers, read with jansson: duplicates refused, memory judged before it is used. */
#ifndef FORMATS_JSON_JSON_H
#define FORMATS_JSON_JSON_H

#include <jansson.h>

#include "base/base.h"

/* Parses text[size], which must be an object; json_decref what comes out. `at` is the offset of the
 * text in its file, for messages. Jansson's memory is not the session's, so a text that could take more than
 * the session may still hold is refused with PITH_E_LIMIT before parsing. */
pith_status json_read(pith_ctx *ctx, const char *what, const char *text, size_t size, uint64_t at, json_t **out);
/* The same for a whole file of at most 100 MB. */
pith_status json_read_file(pith_ctx *ctx, const char *path, json_t **out);
/* A number that is whole and not below zero, or false. */
bool json_whole(const json_t *value, uint64_t *number);

#endif
