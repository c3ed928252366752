/* Multiple-choice items as lines of JSON. */
#include <jansson.h>

#include "lm/ruler/ruler.h"

#define LINE_MAX_BYTES ((size_t)1 << 20) /* jansson's memory is not the session's: this bounds it */

void ruler_items_free(pith_ctx *ctx, ruler_items *items) {
    for (size_t i = 0; i < items->n; i++) {
        pith_free(ctx, items->at[i].context);
        for (uint32_t k = 0; k < RULER_MAX_CHOICES; k++) pith_free(ctx, items->at[i].choices[k]);
    }
    pith_free(ctx, items->at);
    *items = (ruler_items){0};
}

static char *copy_text(pith_ctx *ctx, const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = pith_alloc(ctx, n);
    if (copy) memcpy(copy, text, n);
    return copy;
}

/* The item is in the list before its texts are, so that freeing the list frees them. */
static pith_status new_item(pith_ctx *ctx, ruler_items *items, ruler_item **out) {
    if (items->n == items->capacity) {
        size_t capacity = items->capacity ? 2 * items->capacity : 64;
        ruler_item *more = pith_alloc(ctx, capacity * sizeof *more);
        if (!more) return pith_alloc_status(ctx);
        if (items->n) memcpy(more, items->at, items->n * sizeof *more);
        pith_free(ctx, items->at);
        items->at = more;
        items->capacity = capacity;
    }
    *out = &items->at[items->n++];
    **out = (ruler_item){0};
    return PITH_OK;
}

static pith_status read_item(pith_ctx *ctx, const json_t *object, size_t line, ruler_items *items) {
    const json_t *context = json_object_get(object, "context"), *choices = json_object_get(object, "choices");
    const json_t *answer = json_object_get(object, "answer");
    if (!context) context = json_object_get(object, "question");
    if (!json_is_string(context))
        return pith_fail(ctx, PITH_E_FORMAT, "line %zu: no text under \"context\" or \"question\"", line);
    size_t n = json_array_size(choices);
    if (n < 2 || n > RULER_MAX_CHOICES)
        return pith_fail(ctx, PITH_E_FORMAT, "line %zu: \"choices\" is no list of 2 to %d texts", line,
                         RULER_MAX_CHOICES);
    json_int_t index = json_is_integer(answer) ? json_integer_value(answer) : -1;
    if (index < 0 || (size_t)index >= n)
        return pith_fail(ctx, PITH_E_FORMAT, "line %zu: \"answer\" is no index of a choice", line);
    ruler_item *item = NULL;
    pith_status status = new_item(ctx, items, &item);
    if (status) return status;
    item->answer = (uint32_t)index;
    item->n_choices = (uint32_t)n;
    if (!(item->context = copy_text(ctx, json_string_value(context)))) return pith_alloc_status(ctx);
    for (size_t k = 0; k < n; k++) {
        const json_t *choice = json_array_get(choices, k);
        if (!json_is_string(choice) || !json_string_length(choice))
            return pith_fail(ctx, PITH_E_FORMAT, "line %zu: choice %zu is no text", line, k);
        if (!(item->choices[k] = copy_text(ctx, json_string_value(choice)))) return pith_alloc_status(ctx);
    }
    return PITH_OK;
}

pith_status ruler_items_read(pith_ctx *ctx, const char *text, size_t size, ruler_items *out) {
    *out = (ruler_items){0};
    pith_status status = PITH_OK;
    size_t line = 0;
    for (size_t at = 0; at < size && !status;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t n = end ? (size_t)(end - (text + at)) : size - at, blank = 0;
        line++;
        while (blank < n && strchr(" \t\r", text[at + blank]) && text[at + blank]) blank++;
        if (n > LINE_MAX_BYTES) {
            status = pith_fail(ctx, PITH_E_LIMIT, "line %zu: longer than %zu bytes", line, LINE_MAX_BYTES);
        } else if (blank < n) {
            json_error_t error;
            json_t *object = json_loadb(text + at, n, JSON_REJECT_DUPLICATES, &error);
            if (!json_is_object(object))
                status = pith_fail(ctx, PITH_E_FORMAT, "line %zu: %s", line, object ? "is no JSON object" : error.text);
            else
                status = read_item(ctx, object, line, out);
            json_decref(object);
        }
        at += n + 1;
    }
    if (!status && !out->n) status = pith_fail(ctx, PITH_E_FORMAT, "no items: one JSON object a line is expected");
    if (status) ruler_items_free(ctx, out);
    return status;
}

pith_status ruler_items_write(pith_ctx *ctx, const ruler_items *items, pith_buffer *out) {
    pith_status status = PITH_OK;
    for (size_t i = 0; i < items->n && !status; i++) {
        const ruler_item *item = &items->at[i];
        json_t *choices = json_array();
        for (uint32_t k = 0; k < item->n_choices; k++) json_array_append_new(choices, json_string(item->choices[k]));
        json_t *object =
            json_pack("{s:s, s:o, s:i}", "context", item->context, "choices", choices, "answer", (int)item->answer);
        char *line = object ? json_dumps(object, JSON_COMPACT) : NULL;
        json_decref(object);
        if (!line) return pith_fail(ctx, PITH_E_MEMORY, "out of memory");
        status = pith_buffer_append(ctx, out, line, strlen(line));
        if (!status) status = pith_buffer_append(ctx, out, "\n", 1);
        free(line);
    }
    return status;
}
