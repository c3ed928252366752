/* A program of somebody else: uses the installed header and library and nothing of the project. */
#include <pith/pith.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    char header_version[32];
    snprintf(header_version, sizeof header_version, "%d.%d.%d", PITH_VERSION_MAJOR, PITH_VERSION_MINOR,
             PITH_VERSION_PATCH);
    if (strcmp(header_version, pith_version()) != 0) return 1;
    pith_ctx *ctx = pith_ctx_new(NULL);
    if (!ctx) return 2;
    pith_ctx_set_threads(ctx, 3);
    int ok = pith_ctx_threads(ctx) == 3 && strcmp(pith_error(ctx), "") == 0;
    pith_ctx_free(ctx);
    if (ok) printf("pith %s\n", pith_version());
    return ok ? 0 : 3;
}
