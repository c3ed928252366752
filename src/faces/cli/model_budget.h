/* One budget over all matrices of a model, as a recipe: for `pith model allocate` and `pith model compress`. */
#ifndef CLI_MODEL_BUDGET_H
#define CLI_MODEL_BUDGET_H

#include "artefacts/model/model.h"
#include "faces/cli/cmd_lm.h"

typedef struct budget_request {
    const char *levels, *only, *method, *loss, *stats, *text, *eval_text;
    const char *size; /* one of these four */
    double bpw, max_kl, bits; /* bits: of each weight that is coded */
    bool experts;             /* single experts get levels of their own */
    bool or_even;             /* where a model cannot be measured: the same bits for all, with a warning */
    uint64_t chunks, generations, offspring, seed;
} budget_request;

#define BUDGET_REQUEST_DEFAULTS .chunks = 8, .generations = 60, .offspring = 16, .seed = 1
/* What the budget is and what it is spent on: of both commands. */
#define BUDGET_REQUEST_OPTIONS(r)                                                                                      \
    {"size", 0, LM_TEXT, &(r).size, 0, 0}, {"bpw", 0, LM_REAL, &(r).bpw, 0, 0},                                       \
        {"max-kl", 0, LM_REAL, &(r).max_kl, 0, 0}, {"levels", 0, LM_TEXT, &(r).levels, 0, 0},                         \
        {"method", 0, LM_TEXT, &(r).method, 0, 0}, {"text", 0, LM_TEXT, &(r).text, 0, 0}
bool budget_requested(const budget_request *r);

typedef struct budget_answer {
    pith_buffer recipe; /* ends with a NUL that counts */
    uint32_t n_units, n_levels;
    uint64_t bytes, weights;             /* of the codes (0: not coded yet), and in them */
    uint64_t other_bytes, other_weights; /* of all other tensors */
    uint64_t head_bytes;                 /* of the file that are in no tensor */
    double bits;                         /* that bits were spread around; 0: levels were chosen */
    model_loss loss_kind;
    double loss; /* predicted: in nats where the loss is weighed by KL */
    bool exact;  /* no choice has a smaller sum */
    bool measured;
    model_score score; /* when measured */
    double base_perplexity, seconds;
} budget_answer;
/* CLI_FAIL with the message printed. measure: the answer on the text is wanted even if the choice needs none. */
int budget_find(pith_ctx *ctx, const char *model, const lm_options *common, const budget_request *r, bool measure,
                budget_answer *out);
void budget_answer_free(pith_ctx *ctx, budget_answer *a);

#endif
