/* model: files of model weights made smaller. The room's door: what faces may know besides the public pith/model.h
 * stands in the headers it includes; all others of this folder are private to it. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "artefacts/model/archive.h"
#include "artefacts/model/stats.h"
#include "artefacts/model/overlay.h"
#include "artefacts/model/budget.h"
#include "artefacts/model/evaluate.h"
#include "artefacts/model/spread.h"
#include "artefacts/model/quantize_ahead.h"
#include "artefacts/model/experts.h"
#include "artefacts/model/prune_speed.h"
#include "artefacts/model/store.h"
#include "artefacts/model/delta.h"
#include "artefacts/model/series.h"
#include "artefacts/model/merge.h"
#include "artefacts/model/quantize.h"
#include "artefacts/model/cut.h"
#include "artefacts/model/curvature_matrices.h"
#include "artefacts/model/curvature_neurons.h"

/* The artefact's published systems for the registry (methods.c); ends with a NULL name. Its stages are those of
 * kernels/represent. */
extern const pith_method model_methods[];
extern const pith_method model_methods_trained[]; /* methods_trained.c */

#endif
