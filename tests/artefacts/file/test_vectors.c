/* Golden archives: every tests/vectors/NAME.pith must decode to the content whose XXH3-64 and
 * size stand in tests/vectors/list.txt ("name hash size" per line), in this and every later version. */
#include <dirent.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/base.h"
#include "support/file_data.h"

#define FOLDER PITH_TEST_SOURCE_DIR "/tests/vectors"
#define MAX_VECTORS 200

typedef struct vector {
    char name[100];
    uint64_t hash, size;
} vector;

static vector vectors[MAX_VECTORS];
static size_t n_vectors;

static void read_list(void) {
    FILE *f = fopen(FOLDER "/list.txt", "r");
    assert_non_null(f);
    char line[300];
    while (fgets(line, sizeof line, f)) {
        if (line[0] == '#' || line[0] == '\n') continue;
        assert_true(n_vectors < MAX_VECTORS);
        vector *v = &vectors[n_vectors++];
        if (sscanf(line, "%99s %" SCNx64 " %" SCNu64, v->name, &v->hash, &v->size) != 3) fail_msg("list.txt: %s", line);
    }
    fclose(f);
}

static void check_vector(vector *v) {
    char path[512];
    snprintf(path, sizeof path, FOLDER "/%s", v->name);
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("%s is in the list but not in the folder", v->name);
    static uint8_t archive[1 << 20];
    size_t n = fread(archive, 1, sizeof archive, f);
    assert_true(n < sizeof archive);
    fclose(f);
    uint8_t *content = malloc((size_t)v->size + 1);
    size_t got = 0;
    pith_ctx *ctx = pith_ctx_new(NULL);
    pith_status status = pith_file_decompress(ctx, NULL, archive, n, content, (size_t)v->size, &got);
    if (status) fail_msg("%s: %s", v->name, pith_error(ctx));
    assert_int_equal(got, v->size);
    if (pith_hash64(content, got) != v->hash) fail_msg("%s: wrong content", v->name);
    pith_ctx_free(ctx);
    free(content);
}

static void every_vector_decodes(void **state) {
    (void)state;
    for (size_t i = 0; i < n_vectors; i++) check_vector(&vectors[i]);
}

static void every_archive_is_listed(void **state) {
    (void)state;
    DIR *dir = opendir(FOLDER);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        size_t n = strlen(e->d_name);
        if (n < 5 || strcmp(e->d_name + n - 5, ".pith") != 0) continue;
        bool listed = false;
        for (size_t i = 0; i < n_vectors; i++) listed |= strcmp(vectors[i].name, e->d_name) == 0;
        if (!listed) fail_msg("%s is not in list.txt", e->d_name);
    }
    closedir(dir);
}

int main(void) {
    read_list();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_decodes),
        cmocka_unit_test(every_archive_is_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
