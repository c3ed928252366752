/* Runs a fuzz target on files instead of under libFuzzer: replay FILE-OR-FOLDER...
 * Keeps every input that once mattered in the ordinary tests, with any compiler. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_inputs;

static int run_file(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return 1;
    }
    struct stat st;
    if (fstat(fileno(f), &st) != 0 || st.st_size < 0) {
        perror(path);
        fclose(f);
        return 1;
    }
    /* A block of exactly the input's size, so that the sanitizer sees the first byte read past it. */
    size_t size = (size_t)st.st_size;
    uint8_t *data = malloc(size ? size : 1);
    size_t got = data ? fread(data, 1, size, f) : 0;
    fclose(f);
    if (!data || got != size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        free(data);
        return 1;
    }
    LLVMFuzzerTestOneInput(size ? data : NULL, size);
    free(data);
    n_inputs++;
    return 0;
}

static int run_folder(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return run_file(path);
    int failed = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        char name[4096];
        if (snprintf(name, sizeof name, "%s/%s", path, entry->d_name) >= (int)sizeof name) {
            fprintf(stderr, "%s: name too long\n", path);
            failed = 1;
        } else {
            failed |= run_file(name);
        }
    }
    closedir(dir);
    return failed;
}

int main(int argc, char **argv) {
    int failed = 0;
    for (int i = 1; i < argc; i++) failed |= run_folder(argv[i]);
    if (n_inputs == 0) {
        fprintf(stderr, "no input to replay\n");
        return 1;
    }
    printf("%u inputs\n", n_inputs);
    return failed;
}
