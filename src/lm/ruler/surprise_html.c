/* The page of a text coloured by surprise: HTML, its style inside, no script, nothing fetched. */
#include <stdio.h>

#include "lm/ruler/parts.h"

size_t ruler_utf8(const uint8_t *p, size_t n) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (p[0] < 0x80) return 1;
    size_t length = p[0] >= 0xf0 && p[0] < 0xf8 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
    if (!length || p[0] >= 0xf8 || length > n) return 0;
    uint32_t c = p[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    return c >= least[length] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff) ? length : 0;
}

static pith_status put(pith_ctx *ctx, pith_buffer *out, const char *text) {
    return pith_buffer_append(ctx, out, text, strlen(text));
}

pith_status ruler_html_text(pith_ctx *ctx, const void *text, size_t size, pith_buffer *out) {
    const uint8_t *p = text;
    pith_status status = PITH_OK;
    for (size_t i = 0; i < size && !status;) {
        size_t n = ruler_utf8(p + i, size - i);
        char hex[8];
        if (n == 0 || (n == 1 && ((p[i] < 0x20 && p[i] != '\n' && p[i] != '\t') || p[i] == 0x7f))) {
            snprintf(hex, sizeof hex, "\\x%02x", p[i]);
            status = put(ctx, out, hex);
            i++;
            continue;
        }
        if (n == 1 && strchr("<>&\"'", p[i])) {
            snprintf(hex, sizeof hex, "&#%u;", p[i]);
            status = put(ctx, out, hex);
        } else {
            status = pith_buffer_append(ctx, out, p + i, n);
        }
        i += n;
    }
    return status;
}

/* White, then warmer: 10 steps of 1.6 bits. The darker half of a scale keeps text readable in both. */
static const char style[] =
    "<style>\n"
    "body{font:16px/1.6 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222;"
    "background:#fff}\n"
    "pre{font:15px/1.8 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}\n"
    "s{text-decoration:none;border-radius:2px}s:hover{outline:2px solid #444}\n"
    ".c1{background:#fff6e0}.c2{background:#ffecc0}.c3{background:#ffdf9c}.c4{background:#ffcf7d}"
    ".c5{background:#ffbb66}.c6{background:#ffa45a}"
    ".c7{background:#fb8a55}.c8{background:#f27058}.c9{background:#e65a62}\n"
    "@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}s:hover{outline-color:#ccc}"
    ".c1{background:#2a2620}.c2{background:#3a3020}.c3{background:#4a3a20}.c4{background:#5a4320}"
    ".c5{background:#6b4a20}"
    ".c6{background:#7c4c22}.c7{background:#8c4a28}.c8{background:#994534}.c9{background:#a33d43}}\n"
    "</style>\n";

static pith_status put_token(pith_ctx *ctx, const tokenizer *t, uint32_t id, pith_buffer *out) {
    size_t n = 0;
    const uint8_t *piece = tokenizer_piece(t, id, true, &n);
    return ruler_html_text(ctx, piece, n, out);
}

static pith_status put_span(pith_ctx *ctx, const tokenizer *t, const ruler_surprise *s, const uint8_t *text,
                            pith_buffer *out) {
    char line[96];
    unsigned colour = s->bits > 0 ? (unsigned)PITH_MIN(s->bits / 1.6, 9.0) : 0;
    snprintf(line, sizeof line, "<s class=c%u title=\"[", colour);
    pith_status status = put(ctx, out, line);
    if (!status) status = put_token(ctx, t, s->token, out);
    snprintf(line, sizeof line, "] token %u, %.2f bits, rank %u", s->token, s->bits, s->rank);
    if (!status) status = put(ctx, out, line);
    for (unsigned k = 0; k < RULER_TOP && s->top[k] != TOKEN_NONE && !status; k++) {
        snprintf(line, sizeof line, "&#10;%5.1f %% [", (double)s->top_p[k] * 100);
        status = put(ctx, out, line);
        if (!status) status = put_token(ctx, t, s->top[k], out);
        if (!status) status = put(ctx, out, "]");
    }
    if (!status) status = put(ctx, out, "\">");
    if (!status) status = s->n ? ruler_html_text(ctx, text + s->offset, s->n, out) : put_token(ctx, t, s->token, out);
    if (!status) status = put(ctx, out, "</s>");
    return status;
}

pith_status ruler_surprise_html(pith_ctx *ctx, const lm_model *m, const ruler_surprises *s, const void *text,
                                size_t size, const char *title, pith_buffer *out) {
    char line[256];
    const tokenizer *t = lm_tokenizer(m);
    pith_status status = put(ctx, out,
                             "<!DOCTYPE html>\n<html lang=en>\n<meta charset=utf-8>\n"
                             "<meta name=viewport content=\"width=device-width,initial-scale=1\">\n<title>Surprise: ");
    if (!status) status = ruler_html_text(ctx, title, strlen(title), out);
    if (!status) status = put(ctx, out, "</title>\n");
    if (!status) status = put(ctx, out, style);
    if (!status) status = put(ctx, out, "<h1>");
    if (!status) status = ruler_html_text(ctx, title, strlen(title), out);
    snprintf(line, sizeof line,
             "</h1>\n<p>%zu bytes, %zu tokens, %.1f bits: %.4f bits per byte. Bits per token: ", size, s->n, s->bits,
             size ? s->bits / (double)size : 0.0);
    if (!status) status = put(ctx, out, line);
    for (unsigned c = 0; c < 10 && !status; c++) {
        snprintf(line, sizeof line, "<s class=c%u>&nbsp;%.1f%s&nbsp;</s>", c, 1.6 * c, c == 9 ? "+" : "");
        status = put(ctx, out, line);
    }
    if (!status) status = put(ctx, out, "\n<p>The pointer on a token shows its rank and what was likelier.\n<pre>\n");
    for (size_t i = 0; i < s->n && !status; i++) status = put_span(ctx, t, &s->at[i], text, out);
    if (!status) status = put(ctx, out, "</pre>\n</html>\n");
    return status;
}
