/* Fuzzes the recipe reader with the small registry of the tests: whatever is read must print,
 * read back equal and print the same text again; nothing may leak. */
#include <stdio.h>

#include "support/recipe_tables.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool held, const char *what) {
    if (held) return;
    fprintf(stderr, "does not hold: %s\n", what);
    abort();
}

static void round_trip(pith_ctx *ctx, const char *artefact, const pith_recipe *recipe) {
    pith_buffer text = {0}, again_text = {0};
    pith_recipe *again = NULL;
    pith_status status = pith_recipe_print(ctx, recipe, &text);
    must(status == PITH_OK || text.size > PITH_RECIPE_MAX_BYTES, "a recipe prints");
    if (status == PITH_OK) {
        must(pith_recipe_parse(ctx, artefact, (char *)text.data, text.size, &again) == PITH_OK, "it reads back");
        must(pith_recipe_equal(recipe, again), "it reads back equal");
        must(pith_recipe_print(ctx, again, &again_text) == PITH_OK, "it prints again");
        must(text.size == again_text.size && memcmp(text.data, again_text.data, text.size) == 0, "the same text");
    }
    pith_recipe_free(ctx, again);
    pith_buffer_free(ctx, &text);
    pith_buffer_free(ctx, &again_text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pith_registry_set(&test_registry);
    pith_ctx *ctx = pith_ctx_new(NULL);
    if (!ctx) return 0;
    const char *artefact = "model";
    if (size && data[0] == '!') { /* the first byte may choose */
        artefact = "kv";
        data++, size--;
    }
    pith_recipe *recipe = NULL;
    pith_status status = pith_recipe_parse(ctx, artefact, (const char *)data, size, &recipe);
    must(status == PITH_OK ? recipe != NULL : recipe == NULL && *pith_error(ctx), "a recipe or a message");
    if (recipe) round_trip(ctx, artefact, recipe);
    pith_recipe_free(ctx, recipe);
    must(pith_memory_used(ctx) == 0, "all memory is given back");
    pith_ctx_free(ctx);
    return 0;
}
