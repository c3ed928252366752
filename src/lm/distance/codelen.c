/* The kinds of coders by name, and the way from a kind to its family. */
#include "lm/distance/parts.h"

static const char *const names[CODELEN_KINDS] = {"zstd", "lzma", "cm", "cm-large", "ssm", "lm"};

const char *codelen_name(codelen_kind kind) { return names[kind]; }

bool codelen_named(const char *name, codelen_kind *kind) {
    for (unsigned i = 0; i < CODELEN_KINDS; i++)
        if (strcmp(name, names[i]) == 0) {
            *kind = (codelen_kind)i;
            return true;
        }
    return false;
}

pith_status codelen_new(pith_ctx *ctx, const codelen_options *options, codelen **out) {
    *out = NULL;
    switch (options->kind) {
    case CODELEN_ZSTD:
    case CODELEN_LZMA: return codelen_classic_new(ctx, options, out);
    case CODELEN_CM:
    case CODELEN_CM_LARGE: return codelen_predictor_new(ctx, options, out);
    case CODELEN_SSM: return codelen_ssm_new(ctx, options, out);
    case CODELEN_LM: return codelen_model_new(ctx, options, out);
    }
    return pith_fail(ctx, PITH_E_ARGUMENT, "no coder has the number %d", (int)options->kind);
}

void codelen_free(codelen *c) {
    if (c) c->ops->free(c);
}

pith_status codelen_prime(codelen *c, const uint8_t *prior, size_t n) { return c->ops->prime(c, prior, n); }

pith_status codelen_bits(codelen *c, const uint8_t *text, size_t n, double *bits) {
    *bits = 0;
    return c->ops->bits(c, text, n, bits);
}
