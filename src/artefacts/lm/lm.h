/* The door of what is measured and done with language models as they are: methods without an
 * artefact of their own. */
#ifndef ARTEFACTS_LM_LM_H
#define ARTEFACTS_LM_LM_H

#include "base/registry.h"

extern const pith_method lm_methods[]; /* ends with a row whose name is NULL */

#endif
