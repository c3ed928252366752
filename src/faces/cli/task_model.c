/* Model archives among the files that `pith -d`, -t and -l are given: they are another format, and come back all the
 * same. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "faces/cli/json.h"
#include "faces/cli/task.h"
#include "pith/model.h"

bool task_is_model(task *t) {
    uint8_t head[8];
    return t->seekable && t->st.st_size >= (off_t)sizeof head && task_read_at(&t->fd, 0, head, sizeof head) == 0 &&
           pith_model_is_archive(head, sizeof head);
}

int task_model_refuse(const task *t) {
    return cli_error("%s: a model archive: pith model decompress FILE restores it, pith model explain-size FILE shows it",
                     t->shown);
}

int task_model_list(task *t, bool first) {
    pith_model_info i;
    if (strcmp(t->name, "-") == 0) return task_model_refuse(t);
    if (pith_model_info_get(t->ctx, t->name, &i) != PITH_OK) return cli_error("%s: %s", t->shown, pith_error(t->ctx));
    t->raw_bytes = i.content_size;
    t->coded_bytes = i.archive_size;
    double ratio = i.archive_size ? (double)i.content_size / (double)i.archive_size : 0;
    if (t->o->json) {
        json_t *object = json_pack("{s:o,s:s,s:I,s:I,s:f,s:I,s:b,s:o}", "file", cli_json_text(t->name), "kind", "model",
                                   "archive_bytes", (json_int_t)i.archive_size, "content_bytes",
                                   (json_int_t)i.content_size, "ratio", ratio, "tensors", (json_int_t)i.n_tensors,
                                   "lossless", !i.lossy, "xxh3", cli_json_hash(i.hash));
        return cli_json_print(stdout, object, JSON_COMPACT);
    }
    char coded[16], raw[16], shown[256];
    if (first || cli_verbosity > 0)
        printf("Frames  Blocks  Compressed  Uncompressed   Ratio  Memory to  Seconds to  Made with         Filename\n"
               "                                                  decode     decode\n");
    printf("%6s  %6" PRIu64 "  %10s  %12s  %6.3f  %9s  %10s  %-16s  %s\n", "model", i.n_tensors,
           cli_size_text(coded, i.archive_size), cli_size_text(raw, i.content_size), ratio, "-", "-",
           i.lossy ? "a recipe (lossy)" : "lossless", cli_safe_text(shown, sizeof shown, t->name));
    return CLI_OK;
}
