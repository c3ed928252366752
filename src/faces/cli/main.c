/* The command: finds the subcommand. A first argument that is a verb is the subcommand;
 * everything else is files and options. A file with a verb's name is meant by ./NAME. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faces/cli/cli.h"

/* A file opened under a closed 0, 1 or 2 would be mixed up with messages. What stands in for
 * them fails when it is used: reading what is open for writing, and the other way round. */
static bool standard_streams(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd ? O_RDONLY : O_WRONLY) != fd) return false;
    return true;
}

static const struct verb {
    const char *name;
    int (*run)(int argc, char **argv);
} verbs[] = {{"bench", cmd_bench},
             {"model", cmd_model},
             {"lm", cmd_lm},
             {"measure", cmd_measure},
             {"distance", cmd_distance},
             {"rank", cmd_rank},
             {"select", cmd_select},
             {"stages", cmd_stages},
             {"methods", cmd_methods},
             {"explain", cmd_explain},
             {"help", cmd_help}};

int cmd_help(int argc, char **argv) {
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return cli_help(cli_file_help);
    for (unsigned i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(argv[1], verbs[i].name) == 0) {
            char help[] = "--help";
            char *args[] = {argv[1], help, NULL};
            return verbs[i].run(2, args);
        }
    return cli_error("help: no subcommand '%s'; there are bench, model, lm, measure, distance, rank, "
                     "select, stages, methods, explain, help",
                     argv[1]);
}

/* A wish that is not followed would go unnoticed. */
static void check_cpu_wish(void) {
    const char *wish = getenv("PITH_CPU");
    if (wish && *wish && strcmp(wish, pith_cpu()) != 0)
        cli_warn("PITH_CPU=%s: scalar, avx2 or avx512, as far as the processor has it; %s is used", wish, pith_cpu());
}

int main(int argc, char **argv) {
    if (!standard_streams()) return CLI_FAIL;
    cli_install_signals();
    check_cpu_wish();
    int result = -1;
    for (unsigned i = 0; argc > 1 && i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(argv[1], verbs[i].name) == 0) result = verbs[i].run(argc - 1, argv + 1);
    if (result < 0) result = cmd_file(argc, argv);
    cli_end_by_signal();
    return result;
}
