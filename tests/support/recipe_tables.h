/* A small registry for tests of recipes: every parameter type, arguments that are recipes,
 * solvers, two artefacts. */
#ifndef SUPPORT_RECIPE_TABLES_H
#define SUPPORT_RECIPE_TABLES_H

#include "base/registry.h"

static const pith_param hadamard_params[] = {
    {.name = "block", .type = PITH_P_INT, .min = 2, .max = 8192, .def = 128, .unit = "values", .doc = "block length"},
    {.name = "seed", .type = PITH_P_INT, .min = -1, .max = 9007199254740992, .def = 0, .doc = "signs"},
};
static const pith_param q_params[] = {
    {.name = "bits", .type = PITH_P_REAL, .min = 0.5, .max = 16, .def = 4, .unit = "bits", .doc = "per weight"},
    {.name = "group", .type = PITH_P_INT, .min = 1, .max = 65536, .def = 128, .doc = "weights per scale"},
    {.name = "sym", .type = PITH_P_FLAG, .max = 1, .def = 1, .doc = "no zero point"},
    {.name = "grid", .type = PITH_P_CHOICE, .choices = "uniform|gauss|zero", .doc = "levels"},
    {.name = "meta", .type = PITH_P_RECIPE, .doc = "how the scales are coded"},
};
static const pith_param sum_params[] = {
    {.name = "first", .type = PITH_P_RECIPE, .def = PITH_REQUIRED, .doc = "coarse"},
    {.name = "rest", .type = PITH_P_RECIPE, .def = PITH_REQUIRED, .doc = "codes what the first left over"},
    {.name = "exact", .type = PITH_P_FLAG, .max = 1, .def = 0, .doc = "check the sum"},
};
static const pith_param score_params[] = {
    {.name = "kind", .type = PITH_P_CHOICE, .choices = "snapkv|h2o|perplexity", .def = PITH_REQUIRED, .doc = "rule"},
    {.name = "given", .type = PITH_P_TEXT, .doc = "context"},
    {.name = "window", .type = PITH_P_INT, .min = 1, .max = 4096, .def = 32, .unit = "tokens", .doc = "last queries"},
    {.name = "keep", .type = PITH_P_REAL, .min = 0, .max = 1, .def = 0.25, .doc = "share kept"},
    {.name = "memory", .type = PITH_P_INT, .min = 0, .max = 1e15, .def = 1 << 20, .unit = "bytes", .doc = "budget"},
    {.name = "tune", .type = PITH_P_REAL, .min = -1e6, .max = 1e6, .def = 0, .doc = "anything"},
};
static const pith_param obs_params[] = {
    {.name = "data", .type = PITH_P_TEXT, .doc = "calibration"},
    {.name = "fast", .type = PITH_P_FLAG, .max = 1, .def = 0, .doc = "blockwise"},
    {.name = "damp", .type = PITH_P_REAL, .min = 0, .max = 1, .def = 0.01, .doc = "share of the diagonal"},
};

#define TEST_STAGE(NAME, ROLE, PARAMS)                                                                                 \
    {                                                                                                                  \
        .name = NAME, .artefact = "model", .role = ROLE, .summary = "-", .params = PARAMS,                             \
        .n_params = PITH_COUNT(PARAMS)                                                                                 \
    }
static const pith_stage model_test_stages[] = {
    TEST_STAGE("hadamard", "transform", hadamard_params),
    TEST_STAGE("q", "codec", q_params),
    TEST_STAGE("sum", "codec", sum_params),
    TEST_STAGE("score", "selector", score_params),
    TEST_STAGE("obs", PITH_ROLE_SOLVER, obs_params),
    {.name = "rans", .artefact = "model", .role = "codec", .summary = "-"},
    {.name = NULL},
};
static const pith_stage other_test_stages[] = {
    {.name = "evict", .artefact = "kv", .role = "selector", .summary = "-"},
    {.name = "stored", .artefact = "any", .role = "codec", .summary = "-"},
    {.name = NULL},
};
static const pith_stage *const test_stage_tables[] = {model_test_stages, other_test_stages, NULL};
static const pith_method test_methods[] = {
    {.name = "spqr",
     .title = "SpQR",
     .paper = "SpQR",
     .systems = "S073 S074",
     .artefact = "model",
     .recipe = "sum(rans, q(bits=3, meta=q(3)))",
     .status = "planned"},
    {.name = NULL},
};
static const pith_method *const test_method_tables[] = {test_methods, NULL};
static const pith_registry test_registry = {test_stage_tables, test_method_tables};

#endif
