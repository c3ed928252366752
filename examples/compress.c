/* compress IN OUT: the smallest use of pith's streaming interface, with its errors.
 *     cc compress.c $(pkg-config --cflags --libs pith) */
#include <pith/file.h>
#include <stdio.h>

static int to_file(void *file, const void *data, size_t size) {
    return fwrite(data, 1, size, file) != size;
}

int main(int argc, char **argv) {
    FILE *in = argc == 3 ? fopen(argv[1], "rb") : NULL, *out = in ? fopen(argv[2], "wb") : NULL;
    if (!out) return fprintf(stderr, "usage: compress IN OUT\n"), 1;
    pith_ctx *ctx = pith_ctx_new(NULL);
    pith_encode_options options;
    pith_encode_options_init(&options);
    options.level = 3;
    pith_encoder *encoder = NULL;
    pith_status status = ctx ? pith_encoder_new(ctx, &options, to_file, out, &encoder) : PITH_E_MEMORY;
    static char piece[65536];
    for (size_t n; !status && (n = fread(piece, 1, sizeof piece, in)) > 0;)
        status = pith_encoder_write(encoder, piece, n);
    if (!status && ferror(in)) status = PITH_E_IO;
    if (!status) status = pith_encoder_finish(encoder);
    if (status) fprintf(stderr, "compress: %s: %s\n", pith_status_name(status), pith_error(ctx));
    pith_encoder_free(encoder);
    pith_ctx_free(ctx);
    fclose(in);
    return fclose(out) != 0 || status ? 1 : 0;
}
