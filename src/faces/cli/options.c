/* The command line of `pith [FILE...]`: short flags that combine (-9kf, -dc), long names, `--`.
 * Names and meanings are zstd's where it has them. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "faces/cli/cli.h"
#include "pith/file.h"

bool cli_parse_size(const char *text, const char **end, uint64_t *bytes) {
    uint64_t v = 0;
    const char *p = text;
    if (*p < '0' || *p > '9') return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        unsigned digit = (unsigned)(*p - '0');
        if (v > (UINT64_MAX - digit) / 10) return false;
        v = v * 10 + digit;
    }
    static const char letters[] = "KMGT";
    const char *unit = *p ? strchr(letters, *p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p) : NULL;
    if (unit) {
        unsigned shift = 10 * (unsigned)(unit - letters + 1);
        if (v > UINT64_MAX >> shift) return false;
        v <<= shift;
        p++;
        if (p[0] == 'i' && p[1] == 'B') p += 2;
    }
    if (p > text && *p == 'B' && p[-1] != 'B') p++;
    *end = p;
    *bytes = v;
    return true;
}

bool cli_parse_number(const char *text, uint64_t low, uint64_t high, uint64_t *value) {
    uint64_t v = 0;
    if (!*text) return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || v > (high - (uint64_t)(*text - '0')) / 10) return false;
        v = v * 10 + (uint64_t)(*text - '0');
    }
    *value = v;
    return v >= low && v <= high;
}

static int set_memory(cli_options *o, const char *text) {
    const char *end;
    if (!cli_parse_size(text, &end, &o->memory_bytes) || *end || o->memory_bytes < 1 << 20)
        return cli_error("memory limit '%s': a size of at least 1M, such as 512M or 2G", text);
    return CLI_OK;
}

static int set_threads(cli_options *o, const char *text) {
    uint64_t v;
    if (!cli_parse_number(text, 0, 256, &v))
        return cli_error("threads '%s': a number from 0 (one per processor) to 256", text);
    o->n_threads = (unsigned)v;
    return CLI_OK;
}

static int set_block(cli_options *o, const char *text) {
    const char *end;
    if (!cli_parse_size(text, &end, &o->block_bytes) || *end || o->block_bytes < PITH_FILE_BLOCK_MIN ||
        o->block_bytes > PITH_FILE_BLOCK_MAX)
        return cli_error("block size '%s': a size from 4K to 64M", text);
    return CLI_OK;
}

static int set_level(cli_options *o, uint64_t level) {
    if (level < PITH_FILE_LEVEL_MIN) return cli_error("level 0: levels are 1 (fast) to 9 (small)");
    if (level > PITH_FILE_LEVEL_MAX) {
        cli_warn("level %llu is higher than the highest, reduced to 9", (unsigned long long)level);
        level = PITH_FILE_LEVEL_MAX;
    }
    o->level = (int)level;
    return CLI_OK;
}

static int set_max_time(cli_options *o, const char *text) {
    char *end;
    if (strcmp(text, "none") == 0) {
        o->max_seconds = INFINITY;
        return CLI_OK;
    }
    o->max_seconds = strtod(text, &end);
    if (end == text || *end || !(o->max_seconds > 0) || isinf(o->max_seconds))
        return cli_error("time limit '%s': processor seconds such as 90, or none", text);
    return CLI_OK;
}

static int set_range(cli_options *o, const char *text) {
    const char *end;
    o->has_range = cli_parse_size(text, &end, &o->range_offset) && *end == ':';
    o->range_length = UINT64_MAX;
    if (o->has_range && *++end) o->has_range = cli_parse_size(end, &end, &o->range_length) && !*end;
    if (!o->has_range)
        return cli_error("range '%s': OFFSET:LENGTH in bytes of the original, such as 1M:4096 or 100: (to the end)",
                         text);
    o->mode = CLI_DECOMPRESS;
    return CLI_OK;
}

static int set_output(cli_options *o, const char *text) {
    if (!*text) return cli_error("-o wants a name");
    o->output = text;
    return CLI_OK;
}

static int set_recipe(cli_options *o, const char *text) {
    if (strlen(text) > PITH_FILE_RECIPE_MAX)
        return cli_error("the recipe is longer than %d bytes", PITH_FILE_RECIPE_MAX);
    o->recipe = text;
    return CLI_OK;
}

static int set_model(cli_options *o, const char *text) {
    if (!*text) return cli_error("--model wants a model file, or default");
    o->model = text;
    return CLI_OK;
}

/* ---- flags without a value, by long name and letter ---- */

static bool set_flag(cli_options *o, int letter) {
    switch (letter) {
    case 'z': o->mode = CLI_COMPRESS; break;
    case 'd': o->mode = CLI_DECOMPRESS; break;
    case 't': o->mode = CLI_TEST; break;
    case 'l': o->mode = CLI_LIST; break;
    case 'c': o->to_stdout = true; break;
    case 'k': o->remove_input = false; break;
    case 'R': o->remove_input = true; break;
    case 'f': o->force = true; break;
    case 'r': o->recursive = true; break;
    case 'q': cli_verbosity--; break;
    case 'v': cli_verbosity++; break;
    case 'J': o->json = true; break;
    case 'Y': o->verify = true; break;
    case 'h':
    case 'H': o->help = true; break;
    case 'V': o->version = true; break;
    case '1':
    case '9': o->level = letter - '0'; break;
    default: return false;
    }
    return true;
}

static const struct {
    const char *name;
    char letter;
} long_flags[] = {{"compress", 'z'}, {"decompress", 'd'}, {"uncompress", 'd'}, {"test", 't'},   {"list", 'l'},
                  {"stdout", 'c'},   {"keep", 'k'},       {"rm", 'R'},         {"force", 'f'},  {"recursive", 'r'},
                  {"quiet", 'q'},    {"verbose", 'v'},    {"json", 'J'},       {"verify", 'Y'}, {"help", 'h'},
                  {"version", 'V'},  {"fast", '1'},       {"best", '9'}};

static const struct {
    const char *name;
    char letter; /* 0 where there is only the long name */
    int (*set)(cli_options *o, const char *text);
} valued[] = {{"output", 'o', set_output},    {"threads", 'T', set_threads}, {"memory", 'M', set_memory},
              {"block-size", 'B', set_block}, {"recipe", 0, set_recipe},     {"range", 0, set_range},
              {"model", 0, set_model},        {"max-time", 0, set_max_time}};

#define COUNT(a) (sizeof(a) / sizeof *(a))

static int bad_option(const char *arg) {
    char shown[80];
    return cli_error("unknown option '%s'; pith --help lists them", cli_safe_text(shown, sizeof shown, arg));
}

static int parse_long(cli_options *o, const char *arg, char ***rest) {
    const char *name = arg + 2;
    for (unsigned i = 0; i < COUNT(long_flags); i++)
        if (strcmp(name, long_flags[i].name) == 0) {
            set_flag(o, long_flags[i].letter);
            return CLI_OK;
        }
    size_t n = strcspn(name, "=");
    for (unsigned i = 0; i < COUNT(valued); i++) {
        if (strlen(valued[i].name) != n || strncmp(name, valued[i].name, n) != 0) continue;
        if (name[n] == '=') return valued[i].set(o, name + n + 1);
        if (!**rest) return cli_error("%s wants a value", arg);
        return valued[i].set(o, *(*rest)++);
    }
    return bad_option(arg);
}

static int parse_short(cli_options *o, const char *arg, char ***rest) {
    for (const char *p = arg + 1; *p;) {
        if (*p >= '0' && *p <= '9') {
            uint64_t level = 0;
            for (; *p >= '0' && *p <= '9'; p++) level = level < 100000 ? level * 10 + (uint64_t)(*p - '0') : level;
            if (set_level(o, level) != CLI_OK) return CLI_FAIL;
            continue;
        }
        unsigned i = 0;
        while (i < COUNT(valued) && valued[i].letter != *p) i++;
        if (i == COUNT(valued)) {
            if (strchr("RJY", *p) || !set_flag(o, *p)) /* those three have long names only */
                return bad_option(arg);
            p++;
            continue;
        }
        if (*p == 'o') { /* the name: the rest of this word, or the next one */
            if (p[1]) return set_output(o, p + 1);
            if (!**rest) return cli_error("-o wants a name");
            return set_output(o, *(*rest)++);
        }
        /* A number with its unit ends where the next flag letter begins: -T4k, -M64Mf. */
        char text[32];
        size_t n = strspn(p + 1, "0123456789");
        if (*p != 'T' && p[1 + n] && strchr("KMGTB", p[1 + n])) n++;
        if (p[n] && strncmp(p + 1 + n, "iB", 2) == 0) n += 2;
        if (n == 0 || n >= sizeof text)
            return cli_error("-%c wants a number right after it, such as -%c%s", *p, *p, *p == 'T' ? "2" : "64M");
        memcpy(text, p + 1, n);
        text[n] = 0;
        if (valued[i].set(o, text) != CLI_OK) return CLI_FAIL;
        p += 1 + n;
    }
    return CLI_OK;
}

static int check_together(const cli_options *o) {
    if (o->to_stdout && o->output) return cli_error("-c and -o both name the output; give one");
    if (o->output && (o->mode == CLI_TEST || o->mode == CLI_LIST))
        return cli_error("-o: %s writes nothing", o->mode == CLI_TEST ? "testing" : "listing");
    if (o->recipe && o->mode != CLI_COMPRESS) return cli_error("--recipe is for compressing: an archive knows its own");
    if (o->recursive && o->output) return cli_error("-r and -o: one output name cannot take a directory");
    return CLI_OK;
}

int cli_options_parse(cli_options *o, int argc, char **argv) {
    *o = (cli_options){.mode = CLI_COMPRESS, .level = PITH_FILE_LEVEL_DEFAULT, .n_threads = 1};
    o->files = calloc((size_t)argc + 1, sizeof *o->files);
    if (!o->files) return cli_error("out of memory");
    bool only_files = false;
    for (char **rest = argv + 1; *rest;) {
        const char *arg = *rest++;
        int result = CLI_OK;
        if (only_files || arg[0] != '-' || arg[1] == 0)
            o->files[o->n_files++] = arg;
        else if (strcmp(arg, "--") == 0)
            only_files = true;
        else if (arg[1] == '-')
            result = parse_long(o, arg, &rest);
        else
            result = parse_short(o, arg, &rest);
        if (result != CLI_OK) return result;
    }
    return check_together(o);
}

void cli_options_free(cli_options *o) {
    free(o->files);
    o->files = NULL;
}
