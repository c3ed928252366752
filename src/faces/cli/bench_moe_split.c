/* A dense model split into a mixture of experts that is kept in memory, for experiments. */
#include "base/sink.h"
#include "faces/cli/bench_moe.h"

pith_status moe_split_open(pith_ctx *ctx, const lm_model *dense, const token_list *tokens, const experts_options *o,
                           moe_split *out) {
    experts_split *s = NULL;
    *out = (moe_split){0};
    pith_status status = experts_split_new(ctx, dense, tokens->id, tokens->n, o, &s);
    if (!status) status = experts_split_write(ctx, s, pith_sink_write, &(pith_sink){ctx, &out->bytes});
    experts_split_free(ctx, s);
    if (!status) status = tensor_file_open_memory(ctx, out->bytes.data, out->bytes.size, &out->file);
    return status ? status : lm_open_file(ctx, out->file, &out->m);
}

void moe_split_close(pith_ctx *ctx, moe_split *s) {
    lm_close(ctx, s->m);
    if (s->file) tensor_file_close(ctx, s->file);
    pith_buffer_free(ctx, &s->bytes);
    *s = (moe_split){0};
}
