/* One file on its way through `pith`: what cmd_file.c hands to the code that compresses,
 * decompresses (task_code.c) and lists (task_list.c). */
#ifndef CLI_TASK_H
#define CLI_TASK_H

#include "faces/cli/cli.h"
#include "pith/file.h"

typedef struct task {
    const cli_options *o;
    pith_ctx *ctx;
    const char *name;  /* of the input as the user gave it; "-" is standard input */
    const char *shown; /* for messages */
    int fd;            /* the input, open for reading */
    struct stat st;    /* of the input */
    bool seekable;     /* a regular file */
    cli_output *out;   /* NULL when nothing is written */
    uint64_t raw_bytes, coded_bytes;
    uint64_t n_frames, n_blocks; /* of what was listed */
    uint64_t hash;               /* XXH3-64 of the content, with --json */
    double seconds, cpu_seconds;
    char recipe[PITH_FILE_RECIPE_MAX + 1]; /* of the first frame, "" when not known */
} task;

/* Each prints its own message and returns CLI_OK or CLI_FAIL. */
int task_compress(task *t);
int task_decompress(task *t); /* also tests: out is NULL then */
int task_range(task *t);
int task_list(task *t, bool first);
/* The last line of a list of several files. */
void task_list_total(uint64_t n_files, uint64_t n_frames, uint64_t n_blocks, uint64_t coded_bytes, uint64_t raw_bytes);
/* Decodes the file at `path` and compares it with the input byte for byte, from its start. */
int task_verify(task *t, const char *path);
/* Model archives (pith/model.h): whether t->fd is one; the lines of -l; what is said where one is not taken. */
bool task_is_model(task *t);
int task_model_list(task *t, bool first);
int task_model_refuse(const task *t);
/* The line or JSON object about a finished file. */
void task_report(const task *t, const char *output_name);
/* With --json: the object about a file that failed. */
void task_report_failure(const cli_options *o, const char *name, const char *message, bool data_on_stdout);

/* For pith_archive_open; opaque is a pointer to the descriptor. */
int task_read_at(void *opaque, uint64_t offset, void *data, size_t size);
/* Opens the archive on t->fd. NULL with the message printed when it cannot be. */
pith_archive *task_archive(task *t, bool loud);

#endif
