/* What `stages`, `methods` and `explain` share (catalogue.c). */
#ifndef CLI_CATALOGUE_H
#define CLI_CATALOGUE_H

#include <jansson.h>

#include "base/registry.h"

/* Prints "unexpected WORD" and the usage line; returns CLI_FAIL. */
int catalogue_usage(const char *usage, const char *word);
/* A bound or default as JSON: whole numbers as integers, infinities as null. */
json_t *catalogue_number(double v, pith_param_type type);
/* Prints the value, which it takes, to standard output; the exit status. */
int catalogue_dump(json_t *value);
/* docs/systems.md on standard output: every row of a file of id, family and title (tab
 * separated, with a heading) beside the method that covers it. The exit status. */
int catalogue_systems(const char *path);

#endif
