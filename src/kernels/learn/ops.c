/* The table of operations: what each needs and what its gradient reads. What they compute is in ops_core.h. */
#include "kernels/learn/ops.h"

static size_t one(const learn_sizes *s) {
    (void)s;
    return 1;
}

static size_t norm_scratch(const learn_sizes *s) { return s->node->width; }
static size_t attention_saved(const learn_sizes *s) { return s->node->width / s->node->head; }

/* Four packed tiles of heads, and two of scores. */
static size_t attention_scratch(const learn_sizes *s) {
    size_t group = s->width[0] / s->width[1], rows = group * learn_tile_rows(group);
    return rows * (4 * s->node->head + 2 * s->segment);
}

static size_t gate_scratch(const learn_sizes *s) { return 2 * s->node->width; }

learn_expert_room learn_expert_room_of(size_t n_used, size_t width, size_t ff) {
    learn_expert_room r = {0};
    size_t at = 0;
    r.weight = at, at += n_used;
    r.x = at, at += n_used * width;
    r.gate = at, at += n_used * ff;
    r.up = at, at += n_used * ff;
    r.mid = at, at += n_used * ff;
    r.out = at, at += n_used * width;
    r.g_out = at, at += n_used * width;
    r.g_gate = at, at += n_used * ff;
    r.g_up = at, at += n_used * ff;
    r.total = at;
    return r;
}

static size_t experts_saved(const learn_sizes *s) {
    return learn_expert_room_of(s->node->n_used, s->width[0], s->param_rows / s->parts).total;
}
static size_t experts_ints(const learn_sizes *s) { return 3 * s->node->n_used; }
/* gradients of one expert's mid values and inputs, of all weights; two rows of a gate; one row's
 * probabilities */
static size_t experts_scratch(const learn_sizes *s) {
    size_t ff = s->param_rows / s->parts;
    return PITH_MAX(s->rows * (ff + s->width[0] + s->node->n_used) + 2 * ff, s->width[1]);
}

void learn_expert_ranges(const uint32_t *chosen, size_t n_pairs, size_t n_experts, size_t *first) {
    for (size_t e = 0; e <= n_experts; e++) first[e] = 0;
    for (size_t i = 0; i < n_pairs; i++) first[chosen[i] + 1]++;
    for (size_t e = 0; e < n_experts; e++) first[e + 1] += first[e];
}

static size_t modulate_saved(const learn_sizes *s) { return s->node->n_used + s->node->width; }
static size_t modulate_ints(const learn_sizes *s) { return s->node->n_used; }
/* one row's probabilities; its gradient, and those of all weights */
static size_t modulate_scratch(const learn_sizes *s) {
    return PITH_MAX(s->width[1], s->node->width + s->rows * s->node->n_used);
}

/* One row; and of a row with a teacher the logarithms of three sums of powers. */
static size_t entropy_saved(const learn_sizes *s) {
    (void)s;
    return 3;
}
static size_t entropy_scratch(const learn_sizes *s) { return 2 * s->width[0]; }

const learn_op learn_ops[N_OPS] = {
    [OP_EMBED] = {.name = "embed"},
    [OP_NORM] = {.name = "norm", .reads_x = 1, .saved = one, .scratch = norm_scratch},
    [OP_LINEAR] = {.name = "linear", .reads_x = 1, .linear = true},
    [OP_ROPE] = {.name = "rope"},
    [OP_ATTENTION] =
        {.name = "attention", .reads_x = 7, .reads_y = 1, .saved = attention_saved, .scratch = attention_scratch},
    [OP_GATE] = {.name = "gate", .reads_x = 3, .scratch = gate_scratch},
    [OP_ADD] = {.name = "add"},
    [OP_EXPERTS] =
        {.name = "experts", .linear = true, .saved = experts_saved, .ints = experts_ints, .scratch = experts_scratch},
    [OP_MODULATE] = {.name = "modulate",
                     .reads_x = 1,
                     .saved = modulate_saved,
                     .ints = modulate_ints,
                     .scratch = modulate_scratch},
    [OP_CROSS_ENTROPY] = {.name = "cross entropy", .reads_x = 1, .saved = entropy_saved, .ints = one, .scratch = entropy_scratch},
};
