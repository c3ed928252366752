/* file: lossless compression of files. The room's door: what the faces may know besides the
 * public pith/file.h. Everything else in this folder is private to it. */
#ifndef FILE_FILE_H
#define FILE_FILE_H

#include "base/base.h"
#include "base/registry.h"
#include "pith/file.h"

/* The artefact's rows for the registry (stages.c, methods.c); each ends with a NULL name. */
extern const pith_stage file_stages[];
extern const pith_method file_methods[];

/* What level 1..9 tries on each block, as text for people: "front ends ...; coders ...". */
const char *file_level_summary(int level);

#endif
