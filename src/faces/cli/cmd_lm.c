/* pith lm VERB: language models, run and measured. The verbs stand in one table. */
#include <string.h>

#include "faces/cli/cmd_lm.h"

static const struct lm_verb {
    const char *name, *about;
    int (*run)(int argc, char **argv);
} lm_verbs[] = {
    {"info", "what a model is: architecture, sizes, tokenizer", lm_info_main},
    {"tokenize", "text to token ids", lm_tokenize_main},
    {"detokenize", "token ids to text", lm_detokenize_main},
    {"generate", "continue a prompt", lm_generate_main},
    {"perplexity", "perplexity and bits per byte of a text", lm_perplexity_main},
    {"surprise", "bits of every token, as a list, JSON or a coloured page", lm_surprise_main},
    {"needle", "planted facts: does the model find them again?", lm_needle_main},
    {"cloze", "multiple choice: make items from a text, answer them, compare two models", lm_cloze_main},
    {"time", "a model of the running time, and how well it predicts", lm_time_main},
    {"tune", "train a model's last matrix on texts of one kind", lm_tune_main},
};

#define N_VERBS (sizeof lm_verbs / sizeof *lm_verbs)

static int lm_help(void) {
    printf("Usage: pith lm VERB [OPTIONS] [FILE...]\n\nLanguage models: run them, measure them. Without --model, "
           "the built-in pith-mini works.\n\n");
    for (unsigned i = 0; i < N_VERBS; i++) printf("  %-12s %s\n", lm_verbs[i].name, lm_verbs[i].about);
    printf("\n`pith lm VERB --help` says more. `pith measure` compares two models.\n\n"
           "Examples:\n"
           "  pith lm perplexity book.txt\n"
           "  pith lm surprise --html=page.html letter.txt\n"
           "  pith lm needle --length=512 --depth=0.5\n");
    return cli_finish(CLI_OK);
}

int cmd_lm(int argc, char **argv) {
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return argc < 2 ? cli_error("lm: which verb? pith lm --help lists them") : lm_help();
    for (unsigned i = 0; i < N_VERBS; i++)
        if (strcmp(argv[1], lm_verbs[i].name) == 0) return cli_finish(lm_verbs[i].run(argc - 1, argv + 1));
    char shown[80];
    return cli_error("lm: no verb '%s'; pith lm --help lists them", cli_safe_text(shown, sizeof shown, argv[1]));
}
