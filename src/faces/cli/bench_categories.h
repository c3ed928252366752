/* The parts of `pith bench categories`: what one way to make a model smaller comes to, and students. */
#ifndef CLI_BENCH_CATEGORIES_H
#define CLI_BENCH_CATEGORIES_H

#include "faces/cli/bench_cuts.h"
#include "faces/cli/bench_taught.h"

typedef struct categories {
    cuts c; /* the model, texts, statistics, rulers */
    const char *only;
    uint64_t steps;
    double rate, mix, temperature;
    lessons lessons;
    pith_recipe *code;              /* of the student that is coded while it learns */
    double base_bytes, base_work;
    unsigned n[PITH_N_CATEGORIES];      /* recipes that ran */
    unsigned n_smaller[PITH_N_CATEGORIES], n_plain; /* fewer bytes or less work; without gradients, of all */
} categories;

/* What a way comes to. */
typedef struct made {
    double bytes, work; /* work: multiplications of a token */
    double kl, ratio;   /* perplexity over the model's */
    double seconds;     /* processor time of making it, without calibration */
    bool data, gradients;
} made;

/* A model that came out of another one, in memory. */
typedef struct student {
    pith_buffer bytes;
    tensor_file *file;
    lm_model *m;
    bool trained; /* by train_net_model */
} student;

/* (bench_categories_make.c) */
/* Bytes of all tensors, those that are equal once. */
double categories_bytes(const tensor_file *f);
double categories_work(const lm_model *m);
int categories_judge(experiment *e, categories *k, const lm_model *m, made *out);
/* Through an overlay of `f`, which stays as it is; informed: with the statistics of the model. */
int categories_recipe(experiment *e, categories *k, const tensor_file *f, const char *recipe, bool informed, made *out);
void categories_close(experiment *e, student *s);
int categories_cut(experiment *e, categories *k, const cut_plan *plan, student *out);
int categories_prune(experiment *e, categories *k, const prune_request *request, student *out);
/* Feed-forward blocks split into experts. */
int categories_split(experiment *e, categories *k, uint32_t n_experts, uint32_t n_used, student *out);
/* Teaches `from`; like: layers that share (train.h), NULL: none. `taught` false: on the text alone. coded: with k->code in
 * the place of its layers' matrices. *seconds: processor time. */
int categories_teach(experiment *e, categories *k, const lm_model *from, const uint32_t *like, bool taught, bool coded,
                     student *out, double *seconds);

#endif
