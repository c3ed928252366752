/* JSON for the subcommands: names that are no UTF-8, hashes, printing. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "faces/cli/cli.h"
#include "faces/cli/json.h"

json_t *cli_json_text(const char *text) {
    json_t *s = json_string(text);
    if (s) return s;
    size_t size = strlen(text) + 1;
    char *ascii = malloc(size);
    if (!ascii) return NULL;
    cli_safe_text(ascii, size, text);
    for (char *p = ascii; *p; p++)
        if ((unsigned char)*p > 126) *p = '?';
    s = json_string(ascii);
    free(ascii);
    return s;
}

json_t *cli_json_hash(uint64_t hash) {
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    return json_string(text);
}

json_t *cli_json_number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

int cli_json_print(FILE *to, json_t *object, size_t flags) {
    char *text = object ? json_dumps(object, flags | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(object);
    if (!text) return cli_error("out of memory");
    fprintf(to, "%s\n", text);
    free(text);
    return CLI_OK;
}
