/* The few things the subcommands need beside jansson itself. */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/* A string of any bytes: what is no UTF-8, which JSON cannot carry, has '?' for its bytes above 126. */
json_t *cli_json_text(const char *text);
/* Sixteen hexadecimal digits: a number of JSON is too small for a hash. */
json_t *cli_json_hash(uint64_t hash);
/* null for what is no number of JSON: NaN and infinity. */
json_t *cli_json_number(double x);
/* Writes it to `to` with `flags` of json_dumps and a line feed, and gives it up.
 * CLI_OK, or CLI_FAIL with a message when there was no memory (also for a NULL object). */
int cli_json_print(FILE *to, json_t *object, size_t flags);

#endif
