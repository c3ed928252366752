/* The ruler itself: children and their cost, sums of sizes, the frontier against its
 * definition, the figure's structure. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernels/measure/measure.h"
#include "support/data_heap.h"

static pith_ctx *ctx;
static char folder[] = "/tmp/pith-test-measure-XXXXXX";

static measure_usage shell(const char *script, double limit) {
    const char *argv[] = {"sh", "-c", script, NULL};
    measure_job job = {.argv = argv, .directory = folder, .limit_seconds = limit};
    measure_usage usage;
    assert_int_equal(measure_run(ctx, &job, &usage), PITH_OK);
    return usage;
}

static void test_exit(void **state) {
    (void)state;
    measure_usage u = shell("exit 3", 0);
    assert_int_equal(u.exit_code, 3);
    assert_int_equal(u.signal, 0);
    u = shell("kill -TERM $$", 0);
    assert_int_equal(u.signal, SIGTERM);
    assert_int_equal(u.exit_code, -1);
    const char *argv[] = {"/nowhere/at/all", NULL};
    measure_job job = {.argv = argv};
    pith_begin(ctx);
    assert_int_equal(measure_run(ctx, &job, &u), PITH_E_IO);
    assert_non_null(strstr(pith_error(ctx), "/nowhere/at/all"));
    job.argv = argv + 1;
    assert_int_equal(measure_run(ctx, &job, &u), PITH_E_ARGUMENT);
}

/* A child that works is told from one that sleeps, and one that needs memory from one that does not. */
static void test_cost(void **state) {
    (void)state;
    measure_usage idle = shell("sleep 0.2", 0);
    assert_true(idle.wall_seconds >= 0.19 && idle.cpu_seconds < 0.1);
    measure_usage busy = shell("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done", 0);
    assert_true(busy.cpu_seconds > idle.cpu_seconds + 0.01);
    measure_usage big = shell("head -c 60000000 /dev/zero | tail -c 50000000 > /dev/null", 0);
    assert_true(big.peak_bytes > 50000000);
    assert_true(idle.peak_bytes > 0 && idle.peak_bytes < 50000000);
}

static void test_time_limit(void **state) {
    (void)state;
    measure_usage u = shell("while :; do :; done", 0.1);
    assert_true(u.timed_out);
    assert_true(u.cpu_seconds >= 0.1 && u.cpu_seconds < 2.5);
    assert_false(shell("exit 0", 5).timed_out);
}

static int cancel(void *opaque, uint64_t done, uint64_t total) {
    (void)done, (void)total;
    return ++*(int *)opaque > 3;
}

static void test_cancel(void **state) {
    (void)state;
    int calls = 0;
    const char *argv[] = {"sleep", "100", NULL};
    measure_job job = {.argv = argv};
    measure_usage u;
    pith_begin(ctx);
    pith_ctx_set_progress(ctx, cancel, &calls);
    assert_int_equal(measure_run(ctx, &job, &u), PITH_E_CANCELLED);
    assert_int_equal(u.signal, SIGKILL);
    pith_ctx_set_progress(ctx, NULL, NULL);
    pith_begin(ctx);
}

static void path_in(char *path, size_t size, const char *name) { snprintf(path, size, "%s/%s", folder, name); }

static void test_streams(void **state) {
    (void)state;
    char a[256], b[256], c[256];
    path_in(a, sizeof a, "a");
    path_in(b, sizeof b, "b");
    path_in(c, sizeof c, "c");
    assert_int_equal(shell("head -c 40000 /dev/urandom > a", 0).exit_code, 0);
    const char *argv[] = {"sh", "-c", "cat; echo said >&2", NULL};
    measure_job job = {.argv = argv, .stdin_path = a, .stdout_path = b, .stderr_path = c};
    measure_usage u;
    bool same = false;
    assert_int_equal(measure_run(ctx, &job, &u), PITH_OK);
    assert_int_equal(measure_same_bytes(ctx, a, b, &same), PITH_OK);
    assert_true(same);
    assert_int_equal(shell("test \"$(cat c)\" = said", 0).exit_code, 0);
    /* Shorter, longer, one byte other. */
    assert_int_equal(shell("head -c 39999 a > b", 0).exit_code, 0);
    assert_int_equal(measure_same_bytes(ctx, a, b, &same), PITH_OK);
    assert_false(same);
    assert_int_equal(measure_same_bytes(ctx, b, a, &same), PITH_OK);
    assert_false(same);
    assert_int_equal(shell("head -c 16384 a > b; head -c 32768 a > c", 0).exit_code, 0);
    assert_int_equal(measure_same_bytes(ctx, b, c, &same), PITH_OK);
    assert_false(same);
    pith_begin(ctx);
    assert_int_equal(measure_same_bytes(ctx, a, "/nowhere/at/all", &same), PITH_E_IO);
    pith_begin(ctx);
}

static void test_find(void **state) {
    (void)state;
    char path[256];
    assert_true(measure_find_program("sh", path, sizeof path));
    assert_int_equal(access(path, X_OK), 0);
    assert_true(measure_find_program("/bin/sh", path, sizeof path));
    assert_false(measure_find_program("no-such-program-anywhere", path, sizeof path));
    assert_false(measure_find_program("sh", path, 4));
}

static void test_rate(void **state) {
    (void)state;
    measure_rate r = {0};
    assert_true(measure_bits_per_byte(&r) == 0 && measure_ratio(&r) == 0);
    assert_int_equal(measure_rate_add(ctx, &r, 100, 200), PITH_OK);
    assert_int_equal(measure_rate_add(ctx, &r, 300, 1400), PITH_OK);
    assert_true(measure_bits_per_byte(&r) == 4 && measure_ratio(&r) == 2);
    assert_int_equal(measure_rate_add(ctx, &r, UINT64_MAX - 399, 0), PITH_E_LIMIT);
    assert_int_equal(measure_rate_add(ctx, &r, 0, UINT64_MAX), PITH_E_LIMIT);
    assert_true(r.raw_bytes == 400 && r.coded_bits == 1600);
    pith_begin(ctx);
}

/* Counted pair by pair, with many equal scores. */
static void test_auc(void **state) {
    (void)state;
    float score[150] = {0};
    uint8_t positive[150] = {0};
    double auc;
    uint32_t seed = 1;
    for (size_t n = 0; n <= PITH_COUNT(score); n += 1 + n / 3) {
        double right = 0, pairs = 0;
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1664525u + 1013904223u;
            score[i] = (float)(seed >> 28) - 7;
            positive[i] = (seed >> 20) % 3 == 0;
        }
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                if (!positive[i] || positive[j]) continue;
                pairs++;
                right += score[i] > score[j] ? 1 : score[i] < score[j] ? 0 : 0.5;
            }
        assert_int_equal(measure_auc(ctx, score, positive, n, &auc), PITH_OK);
        assert_true(fabs(auc - (pairs > 0 ? right / pairs : 0.5)) < 1e-12);
    }
    memset(positive, 1, sizeof positive);
    assert_int_equal(measure_auc(ctx, score, positive, PITH_COUNT(score), &auc), PITH_OK);
    assert_true(auc == 0.5);
}

static void test_frontier(void **state) {
    (void)state;
    unsigned seed = 1;
    for (int round = 0; round < 200; round++) {
        double x[24], y[24];
        bool on[24];
        size_t n = (size_t)round % 25;
        for (size_t i = 0; i < n; i++) { /* few values, so that there are ties */
            seed = seed * 1103515245 + 12345;
            x[i] = seed >> 16 & 7;
            y[i] = seed >> 20 & 7;
            if ((seed >> 24 & 15) == 0) y[i] = NAN;
        }
        assert_int_equal(measure_frontier(ctx, x, y, n, on), PITH_OK);
        for (size_t i = 0; i < n; i++) {
            bool beaten = isnan(y[i]);
            for (size_t k = 0; k < n; k++)
                if (x[k] >= x[i] && y[k] >= y[i] && (x[k] > x[i] || y[k] > y[i])) beaten = true;
            assert_int_equal(on[i], !beaten);
        }
    }
}

static size_t count(const char *text, const char *word) {
    size_t n = 0;
    for (; (text = strstr(text, word)); text += strlen(word)) n++;
    return n;
}

/* Every element opened is closed, in order; returns how many there were. */
static size_t check_nesting(const char *svg) {
    const char *stack[32];
    size_t depth = 0, n = 0;
    for (const char *p = svg; (p = strchr(p, '<')); p++) {
        const char *end = strchr(p, '>');
        assert_non_null(end);
        if (p[1] == '/') {
            assert_true(depth > 0);
            size_t len = strcspn(p + 2, ">");
            depth--;
            assert_int_equal(strncmp(stack[depth], p + 2, len), 0);
        } else if (end[-1] != '/') {
            assert_true(depth < 32);
            stack[depth++] = p + 1;
            n++;
        } else {
            n++;
        }
    }
    assert_int_equal(depth, 0);
    return n;
}

static void test_plot(void **state) {
    (void)state;
    const measure_point points[] = {{0.4, 4.05, "best", 0}, {8, 3.9, "a<b>&c", 1}, {8, 3.9, "twin", 1},
                                    {50, 2.67, "fast", 0},  {0, 9, "unseen", 0},   {1, NAN, "unseen", 1}};
    measure_figure f = {.title = "T",
                        .subtitle = "S",
                        .y_label = "ratio",
                        .series = {"ours", "theirs"},
                        .n_series = 2,
                        .panels = {{"left", "MB/s", points, 6}, {"right", "MB/s", points, 1}},
                        .n_panels = 2};
    pith_buffer svg = {0};
    assert_int_equal(measure_plot_svg(ctx, &f, &svg), PITH_OK);
    assert_int_equal(pith_buffer_append(ctx, &svg, "", 1), PITH_OK);
    const char *text = (const char *)svg.data;
    assert_int_equal(strncmp(text, "<svg ", 5), 0);
    assert_true(check_nesting(text) > 40);
    assert_int_equal(count(text, ">best<"), 2);
    assert_int_equal(count(text, "a&lt;b&gt;&amp;c"), 1);
    assert_int_equal(count(text, "unseen"), 0);
    assert_int_equal(count(text, "<polyline"), 2);
    assert_int_equal(count(text, "nan"), 0);
    assert_int_equal(count(text, "inf"), 0);
    pith_buffer_free(ctx, &svg);
}

/* Of points equally fast only the best is on the line. */
static void test_plot_line(void **state) {
    (void)state;
    const measure_point points[] = {{1, 5, "a", 0}, {1, 4, "b", 0}, {1, 4.5, "c", 0}, {2, 3, "d", 0}, {0.5, 2, "e", 0}};
    measure_figure f = {
        .title = "", .subtitle = "", .y_label = "", .n_panels = 1, .panels = {{"", "", points, PITH_COUNT(points)}}};
    pith_buffer svg = {0};
    assert_int_equal(measure_plot_svg(ctx, &f, &svg), PITH_OK);
    assert_int_equal(pith_buffer_append(ctx, &svg, "", 1), PITH_OK);
    char *line = strstr((char *)svg.data, "<polyline");
    assert_non_null(line);
    *strchr(line, '>') = 0;
    assert_int_equal(count(strstr(line, "points="), ","), 2);
    pith_buffer_free(ctx, &svg);
}

static void test_plot_edges(void **state) {
    (void)state;
    const measure_point one[] = {{1e-300, -1e300, "one", 0}};
    pith_buffer svg = {0};
    measure_figure f = {.title = "", .subtitle = "", .y_label = "", .n_panels = 1, .panels = {{"", "", NULL, 0}}};
    assert_int_equal(measure_plot_svg(ctx, &f, &svg), PITH_OK); /* nothing to draw is no failure */
    f.panels[0] = (measure_panel){"", "", one, 1};
    assert_int_equal(measure_plot_svg(ctx, &f, &svg), PITH_OK);
    f.n_panels = MEASURE_MAX_PANELS + 1;
    assert_int_equal(measure_plot_svg(ctx, &f, &svg), PITH_E_ARGUMENT);
    f.n_panels = 1;
    f.n_series = MEASURE_MAX_SERIES + 1;
    assert_int_equal(measure_plot_svg(ctx, &f, &svg), PITH_E_ARGUMENT);
    f.n_series = 0;
    f.panels[0].n_points = SIZE_MAX;
    assert_int_equal(measure_plot_svg(ctx, &f, &svg), PITH_E_LIMIT);
    pith_buffer_free(ctx, &svg);
    pith_begin(ctx);
}

static void test_no_memory(void **state) {
    (void)state;
    const measure_point points[] = {{1, 1, "p", 0}, {2, 2, "q", 0}};
    measure_figure f = {.title = "T",
                        .subtitle = "S",
                        .y_label = "y",
                        .series = {"s"},
                        .n_series = 1,
                        .panels = {{"p", "x", points, 2}},
                        .n_panels = 1};
    pith_status status = PITH_E_MEMORY;
    int n = 0;
    for (; n < 100 && status != PITH_OK; n++) {
        data_heap heap = {.fail_at = n + 1};
        pith_allocator allocator = data_heap_allocator(&heap);
        pith_ctx *poor = pith_ctx_new(&allocator);
        assert_non_null(poor);
        pith_buffer svg = {0};
        status = measure_plot_svg(poor, &f, &svg);
        assert_true(status == PITH_OK || status == PITH_E_MEMORY);
        pith_buffer_free(poor, &svg);
        pith_ctx_free(poor);
    }
    assert_true(n > 1 && n < 100);
}

static int begin(void **state) {
    (void)state;
    ctx = pith_ctx_new(NULL);
    return ctx && mkdtemp(folder) ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    char line[300];
    snprintf(line, sizeof line, "rm -rf '%s'", folder);
    pith_ctx_free(ctx);
    return system(line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit),      cmocka_unit_test(test_cost),       cmocka_unit_test(test_time_limit),
        cmocka_unit_test(test_cancel),    cmocka_unit_test(test_streams),    cmocka_unit_test(test_find),
        cmocka_unit_test(test_rate),      cmocka_unit_test(test_frontier),   cmocka_unit_test(test_plot),
        cmocka_unit_test(test_plot_line), cmocka_unit_test(test_plot_edges), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_auc),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
