/* All artefacts under one roof: their tables of stages and methods, handed to the registry. */
#ifndef ARTEFACTS_ARTEFACTS_H
#define ARTEFACTS_ARTEFACTS_H

#include "base/registry.h"

/* Systems of the catalogue that no artefact runs yet (planned.c); ends with a row whose name is NULL. */
extern const pith_method planned_methods[];

/* Puts the tables in force. Every public entry point that reads recipes calls it first;
 * it costs one atomic operation and may be called any number of times from any thread. */
void artefacts_register(void);

#endif
