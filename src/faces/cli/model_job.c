/* One file in, one file out: the frame of `pith model compress` and `pith model decompress`. */
#include "faces/cli/model_job.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int model_job_write(void *opaque, const void *data, size_t size) {
    model_job *j = opaque;
    int error = cli_output_write(&j->file, data, size);
    bool read_enough = error == EPIPE && cli_stop_signal(); /* who reads the pipe has gone */
    if (error && !read_enough) cli_error("%s: %s", j->to_stdout ? "standard output" : j->out, strerror(error));
    return error;
}

int model_job_failed(model_job *j, pith_status status) {
    if (status == PITH_E_IO && strcmp(pith_error(j->ctx), "the output could not be written") == 0) return CLI_FAIL;
    if (status == PITH_E_CANCELLED && cli_stop_signal()) return CLI_FAIL;
    return cli_error("%s: %s%s", j->in, pith_error(j->ctx), status == PITH_E_LIMIT ? " (-M and --max-time set limits)" : "");
}

int model_job_start(model_job *j) {
    if (strcmp(j->in, "-") == 0) return cli_error("-: this is read from a file, not from standard input");
    if (stat(j->in, &j->st) != 0) return cli_error("%s: %s", j->in, strerror(errno));
    if (S_ISDIR(j->st.st_mode)) return cli_error("%s: a folder; give the files in it one by one", j->in);
    if (!S_ISREG(j->st.st_mode)) return cli_error("%s: not a regular file", j->in);
    if (!j->out) return CLI_OK;
    if (j->to_stdout) return cli_output_open(&j->file, NULL);
    struct stat st;
    bool there = stat(j->out, &st) == 0;
    if (there && st.st_dev == j->st.st_dev && st.st_ino == j->st.st_ino)
        return cli_error("%s: is input and output at once", j->in);
    if (there && S_ISREG(st.st_mode) && !j->o.force)
        return cli_error("%s: already exists; not overwritten (-f does)", j->out);
    return cli_output_open(&j->file, j->out);
}

int model_job_remove_input(const model_job *j) {
    struct stat st;
    if (lstat(j->in, &st) == 0 && S_ISLNK(st.st_mode)) return cli_error("%s: is a symbolic link; not removed", j->in);
    if (stat(j->in, &st) != 0 || st.st_dev != j->st.st_dev || st.st_ino != j->st.st_ino ||
        st.st_size != j->st.st_size || st.st_mtim.tv_sec != j->st.st_mtim.tv_sec ||
        st.st_mtim.tv_nsec != j->st.st_mtim.tv_nsec)
        return cli_error("%s: has changed meanwhile; not removed", j->in);
    return unlink(j->in) == 0 ? CLI_OK : cli_error("%s: cannot remove it: %s", j->in, strerror(errno));
}

void model_job_watch(model_job *j, cli_progress *progress, const char *verb) {
    cli_progress_start(progress, verb, j->in, 0);
    pith_ctx_set_progress(j->ctx, cli_progress_show, progress);
}

void model_job_unwatch(model_job *j, cli_progress *progress) {
    cli_progress_clear(progress);
    pith_ctx_set_progress(j->ctx, NULL, NULL);
}

int model_job_run(model_job *j, const char *help, int (*run)(model_job *)) {
    if (j->o.help) return cli_help(help);
    if (j->o.n_names == 0) return cli_error("model %s: which file?", j->verb);
    j->in = j->o.names[0];
    if (j->o.n_names > 1 && j->out) return cli_error("%s: two names for the output: %s and %s", j->verb, j->out, j->o.names[1]);
    if (j->o.n_names > 1) j->out = j->o.names[1];
    j->file.fd = -1;
    j->ctx = lm_session_of(&j->o);
    if (!j->ctx) return CLI_FAIL;
    int result = run(j);
    cli_output_discard(&j->file);
    free(j->derived);
    pith_ctx_free(j->ctx);
    return result;
}
