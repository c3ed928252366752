/* pith bench context-tasks, the lessons. */
#include "faces/cli/bench_context.h"

#define WINDOW 96
/* Questions that are made to learn from: few of what the built-in model can do, more of what it finds hard. */
static const size_t lessons_of[CONTEXT_CLOZE] = {1024, 6144, 4096, 4096};

/* Questions of the first four tasks, and text. */
static int make_lessons(experiment *e, const context_set *s, const lm_model *m, lessons kinds[2]) {
    kinds[0] = (lessons){.n_ctx = WINDOW, .share = 24};
    kinds[1] = (lessons){.n_ctx = WINDOW, .share = 4};
    int result = CLI_OK;
    for (unsigned t = 0; t < CONTEXT_CLOZE && result == CLI_OK; t++) {
        ruler_items items = {0};
        result = context_items(e, t, lessons_of[t], s->seed + 1, NULL, &items);
        if (result == CLI_OK) result = lessons_of_items(e, m, &items, &kinds[0]);
        ruler_items_free(e->ctx, &items);
    }
    /* a question teaches one answer: every 16th token of the text weighs as much */
    return result == CLI_OK ? lessons_of_text(e, m, s->text.data, s->text.size / 2, 16, &kinds[1]) : result;
}

static int teach_patterns(experiment *e, context_set *s, const lm_model *opened) {
    train_net *net = NULL;
    lessons kinds[2];
    teaching t = {.steps = s->steps, .rate = 1e-3, .decay = 0.01, .seed = s->seed};
    int result = make_lessons(e, s, opened, kinds);
    if (result == CLI_OK && train_net_open(e->ctx, opened, &net) != PITH_OK) result = exp_failed(e);
    if (result == CLI_OK) result = teach(e, net, kinds, 2, &t);
    if (result == CLI_OK && s->save) result = taught_save(e, net, s->save);
    if (result == CLI_OK && train_net_model(e->ctx, net, TENSOR_F32, &s->m) != PITH_OK) result = exp_failed(e);
    train_net_free(net);
    for (unsigned k = 0; k < 2; k++) lessons_free(e->ctx, &kinds[k]);
    if (result == CLI_OK)
        exp_note(e, "taught in %llu steps of %u windows of %u tokens, %.0f processor seconds",
                 (unsigned long long)s->steps, kinds[0].share + kinds[1].share, WINDOW, t.seconds);
    return result;
}

static int make_calibration(experiment *e, const context_set *s, pith_buffer *out) {
    int result = CLI_OK;
    for (unsigned t = 0; t < CONTEXT_CLOZE && result == CLI_OK; t++) {
        ruler_items items = {0};
        result = context_items(e, t, 48, s->seed + 2, NULL, &items);
        if (result == CLI_OK && ruler_items_text(e->ctx, &items, out) != PITH_OK) result = exp_failed(e);
        ruler_items_free(e->ctx, &items);
    }
    if (result == CLI_OK &&
        pith_buffer_append(e->ctx, out, s->text.data, PITH_MIN(s->text.size / 2, (size_t)16384)) != PITH_OK)
        result = exp_failed(e);
    return result;
}

int context_prepare(experiment *e, context_set *s, lm_model *opened, uint32_t *chosen, pith_buffer *calibration) {
    double before[CONTEXT_TASKS], after[CONTEXT_TASKS];
    int result = make_calibration(e, s, calibration);
    s->m = opened;
    if (!s->steps || result != CLI_OK) return result;
    exp_step(e, "asking the model as it is");
    result = context_ask(e, s, opened, chosen, before);
    if (result == CLI_OK) result = teach_patterns(e, s, opened);
    if (result == CLI_OK) result = context_ask(e, s, s->m, chosen, after);
    if (result != CLI_OK) return result;
    exp_table(e, "Accuracy before and after teaching", "model|lookup.3|coreference.3|slots.3|told.3|cloze.3");
    exp_row(e, "as it was", before);
    exp_row(e, "taught", after);
    unsigned better = 0;
    for (unsigned t = 0; t < CONTEXT_CLOZE; t++) better += after[t] > before[t];
    exp_claim(e, better == CONTEXT_CLOZE, "the model trails the one that was taught the tasks, in %u of %u", better,
              (unsigned)CONTEXT_CLOZE);
    return CLI_OK;
}

void context_forget(experiment *e, context_set *s, lm_model *opened) {
    if (s->m && s->m != opened) train_model_close(e->ctx, s->m);
}
