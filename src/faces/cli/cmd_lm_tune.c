/* pith lm tune: a model's last matrix, or all of it, trained on texts of one kind. */
#include <string.h>

#include "faces/cli/cmd_lm.h"
#include "lm/tune/tune.h"

static const char tune_help[] =
    "Usage: pith lm tune [OPTIONS] -o OUT.gguf FILE...\n\n"
    "Trains the last matrix of a model on FILEs (-: standard input) and writes the model with it as OUT.gguf.\n"
    "The rest of the model stays as it is, so this takes minutes, not hours. The last tenth of the text is held\n"
    "out: the matrix that codes it best is kept, and what it gains there is printed.\n\n"
    "  -o, --output=OUT    the GGUF file to write\n"
    "      --all           train all weights, not the last matrix alone (llama, deci and qwen2 models)\n"
    "      --teacher=MODEL with --all: learns from what MODEL answers on the text too (distillation): the loss is\n"
    "                      (1 - A) times the code length + A T^2 times the divergence at temperature T from MODEL;\n"
    "                      it has the same tokens, and its own size and architecture\n"
    "      --mix=A         0 to 1 (default 0.9)\n"
    "      --temperature=T (default 1)\n"
    "      --share=N       with --all: N layers in a row share one set of weights, which begins as their mean\n"
    "      --epochs=N      walks over the text at most (default 8; with --all 4)\n"
    "      --rate=X        size of a step, relative to the matrix (default 0.01); with --all of AdamW (0.001)\n"
    "      --held-out=X    share of the text that is held out (default 0.1)\n"
    "  -f, --force         overwrite OUT\n" LM_COMMON_HELP
    "\nExamples:\n"
    "  pith lm tune -o logs.gguf yesterday.log\n"
    "  pith lm tune --all -o novel.gguf chapters.txt\n"
    "  pith lm tune --all --model=cut.gguf --teacher=default -o mended.gguf chapters.txt\n"
    "  pith --model=logs.gguf today.log\n";

typedef struct tune_command {
    const char *output, *teacher;
    bool all;
    uint64_t epochs, share;
    double rate, held_out, mix, temperature;
} tune_command;

static int read_all(pith_ctx *ctx, const lm_options *o, pith_buffer *text) {
    int result = CLI_OK;
    for (size_t i = 0; i < o->n_names && result == CLI_OK; i++) {
        pith_buffer one = {0};
        result = lm_read_text(ctx, o->names[i], &one);
        if (result == CLI_OK && pith_buffer_append(ctx, text, one.data, one.size) != PITH_OK)
            result = lm_failed(ctx, o->names[i]);
        pith_buffer_free(ctx, &one);
    }
    return result;
}

/* Floats stay floats; weights of other types become F16. */
static tensor_type matrices_of(const lm_model *m) {
    const tensor_view *t = tensor_find(lm_file(m), "token_embd.weight");
    return t && (t->type == TENSOR_F32 || t->type == TENSOR_BF16) ? TENSOR_F32 : TENSOR_F16;
}

/* One of head and net is there. */
static int write_model(pith_ctx *ctx, const lm_model *m, const lm_options *o, const char *path, const float *head,
                       const train_net *net) {
    lm_writer w;
    int result = lm_writer_open(&w, ctx, path, o->force);
    if (result != CLI_OK) return result;
    pith_status status = net ? train_net_write(ctx, net, matrices_of(m), lm_write_piece, &w)
                             : tune_write(ctx, m, head, lm_write_piece, &w);
    if (status) lm_failed(ctx, path);
    result = lm_writer_close(&w, status == PITH_OK, o->force);
    return status ? CLI_FAIL : result;
}

static int report(const lm_options *o, const tune_command *c, const tune_report *r) {
    double gain = r->bits_before > 0 ? 1 - r->bits_after / r->bits_before : 0;
    if (o->json) {
        json_t *all = json_pack("{s:o,s:o,s:I,s:I,s:i,s:i,s:f,s:f,s:f}", "model",
                                cli_json_text(lm_model_label(o->model)), "output", cli_json_text(c->output), "tokens",
                                (json_int_t)r->n_tokens, "held_out", (json_int_t)r->n_held, "epochs", (int)r->n_epochs,
                                "best_epoch", (int)r->best_epoch, "bits_before", r->bits_before, "bits_after",
                                r->bits_after, "gain", gain);
        if (all && c->teacher) {
            json_object_set_new(all, "teacher", cli_json_text(lm_model_label(c->teacher)));
            json_object_set_new(all, "kl_before", json_real(r->kl_before));
            json_object_set_new(all, "kl_after", json_real(r->kl_after));
        }
        return cli_json_print(stdout, all, 0);
    }
    printf("%zu tokens read, %zu held out: %.3f bits a token before, %.3f after (%.1f %% less, epoch %u of %u)\n",
           r->n_tokens, r->n_held, r->bits_before, r->bits_after, 100 * gain, r->best_epoch, r->n_epochs);
    if (c->teacher)
        printf("divergence from %s: %.4f nats a token before, %.4f after\n", lm_model_label(c->teacher), r->kl_before,
               r->kl_after);
    return CLI_OK;
}

static int tune(const lm_options *o, const tune_command *c) {
    pith_ctx *ctx = lm_session_of(o);
    lm_model *m = NULL, *teacher = NULL;
    pith_buffer text = {0};
    lm_progress progress;
    float *head = NULL;
    train_net *net = NULL;
    tune_report r;
    tune_options to = {.n_epochs = (uint32_t)c->epochs, .n_ctx = o->n_ctx, .n_threads = o->n_threads, .rate = c->rate,
                       .held_out = c->held_out, .mix = c->mix, .temperature = c->temperature,
                       .share = (uint32_t)c->share};
    int result = ctx ? lm_open_named(ctx, o->model, &m) : CLI_FAIL;
    if (result == CLI_OK && c->teacher) result = lm_open_named(ctx, lm_model_path(c->teacher), &teacher);
    to.teacher = teacher;
    if (result == CLI_OK) result = read_all(ctx, o, &text);
    if (result == CLI_OK) {
        lm_progress_start(&progress, ctx, "tune", "tokens");
        pith_status status = c->all ? tune_all(ctx, m, text.data, text.size, &to, &net, &r)
                                    : tune_head(ctx, m, text.data, text.size, &to, &head, &r);
        lm_progress_clear(&progress, ctx);
        if (status) result = lm_failed(ctx, NULL);
    }
    if (result == CLI_OK) result = write_model(ctx, m, o, c->output, head, net);
    if (result == CLI_OK) result = report(o, c, &r);
    if (ctx) {
        pith_free(ctx, head);
        train_net_free(net);
        pith_buffer_free(ctx, &text);
    }
    if (teacher) lm_close(ctx, teacher);
    if (m) lm_close(ctx, m);
    pith_ctx_free(ctx);
    return result;
}

int lm_tune_main(int argc, char **argv) {
    tune_command c = {0};
    const lm_option extra[] = {{"output", 'o', LM_TEXT, &c.output, 0, 0},
                               {"all", 0, LM_FLAG, &c.all, 0, 0},
                               {"epochs", 0, LM_NUMBER, &c.epochs, 1, 1000},
                               {"rate", 0, LM_REAL, &c.rate, 0, 0},
                               {"held-out", 0, LM_REAL, &c.held_out, 0, 0},
                               {"teacher", 0, LM_TEXT, &c.teacher, 0, 0},
                               {"mix", 0, LM_REAL, &c.mix, 0, 0},
                               {"temperature", 0, LM_REAL, &c.temperature, 0, 0},
                               {"share", 0, LM_NUMBER, &c.share, 1, 1024}};
    lm_options o;
    int result = lm_options_parse(&o, argc, argv, extra, PITH_COUNT(extra), 64);
    if (result == CLI_OK && o.help)
        result = cli_help(tune_help);
    else if (result == CLI_OK && !c.output)
        result = cli_error("lm tune: name the model to write with -o OUT.gguf");
    else if (result == CLI_OK && !o.n_names)
        result = cli_error("lm tune: name the texts to train on");
    else if (result == CLI_OK && (c.rate < 0 || c.held_out < 0 || c.held_out > 0.9))
        result = cli_error("lm tune: --rate is positive, --held-out below 0.9");
    else if (result == CLI_OK && !c.all && (c.teacher || c.share > 1))
        result = cli_error("lm tune: --teacher and --share go with --all");
    else if (result == CLI_OK && !c.teacher && (c.mix != 0 || c.temperature != 0))
        result = cli_error("lm tune: --mix and --temperature go with --teacher");
    else if (result == CLI_OK && (c.mix < 0 || c.mix > 1 || c.temperature < 0 || c.temperature > 100))
        result = cli_error("lm tune: --mix is from 0 to 1, --temperature above 0 and up to 100");
    else if (result == CLI_OK)
        result = tune(&o, &c);
    lm_options_free(&o);
    return result;
}
