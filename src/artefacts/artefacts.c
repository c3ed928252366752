/* The one list of all artefacts' tables. A new artefact adds a line to each array. */
#include "artefacts/artefacts.h"

#include "artefacts/file/file.h"
#include "artefacts/lm/lm.h"
#include "artefacts/model/model.h"

static const pith_stage *const stage_tables[] = {
    file_stages,
    represent_transforms,
    represent_scalars,
    represent_vectors,
    represent_packers,
    represent_branches,
    NULL,
};

static const pith_method *const method_tables[] = {
    file_methods,
    lm_methods,
    model_methods,
    model_methods_trained,
    planned_methods,
    NULL,
};

void artefacts_register(void) {
    static const pith_registry registry = {stage_tables, method_tables};
    pith_registry_set(&registry);
}
