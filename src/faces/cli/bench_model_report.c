/* The report of `pith bench model`: a table, the claims, a figure. */
#include <math.h>
#include <string.h>

#include "faces/cli/bench_model.h"
#include "kernels/measure/measure.h"

static double bits(uint64_t bytes, uint64_t weights) { return weights ? 8.0 * (double)bytes / (double)weights : 0; }

/* ---- JSON ---- */

static json_t *parts_json(const model_trial *t) {
    static const char *const kinds[] = {"codes", "numbers", "side"};
    json_t *list = json_array();
    for (size_t i = 0; i < t->parts.n; i++)
        json_array_append_new(list, json_pack("{s:s,s:s,s:f}", "stage", t->parts.list[i].stage, "kind",
                                              kinds[t->parts.list[i].kind], "bits_per_weight",
                                              bits(t->parts.list[i].bytes, t->weights)));
    return list;
}

json_t *bench_result_json(const bench_result *r) {
    if (r->kept) return json_incref(r->kept);
    char text[80];
    json_t *o = json_pack("{s:s,s:s,s:s?,s:s,s:b}", "name", r->code.name, "group", r->code.group, "systems",
                          r->code.systems, "recipe", bench_code_text(&r->code, text, sizeof text), "data",
                          (int)r->code.data);
    if (!o || !r->done) {
        if (o) json_object_set_new(o, "failed", cli_json_text(r->message));
        return o;
    }
    const model_trial *t = &r->trial;
    const ruler_comparison *c = &r->score.c;
    json_object_update_new(o, json_pack("{s:I,s:I,s:f,s:f,s:o,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f,s:f}", "bytes",
                                        (json_int_t)bench_bytes_of(r), "weights",
                                        (json_int_t)(t->weights + t->other_weights), "bits_per_weight", model_trial_bits(t),
                                        "matrix_bits_per_weight", bits(t->bytes, t->weights), "parts", parts_json(t),
                                        "kl_nats", c->kl.mean, "kl_error", c->kl.error, "kl_p99", c->kl.p99,
                                        "perplexity", c->perplexity, "perplexity_ratio", c->ratio, "same_top",
                                        c->same_top, "flips", r->score.f.flips, "accuracy", r->score.f.accuracy,
                                        "weight_error", t->error, "output_error", t->output_error, "encode_seconds",
                                        t->encode_seconds, "decode_seconds", t->decode_seconds));
    return o;
}

static int report_json(const bench_models *b) {
    json_t *rows = json_array(), *claims = json_array();
    char found[512];
    double part;
    for (unsigned i = 0; i < b->n; i++) json_array_append_new(rows, bench_result_json(&b->results[i]));
    for (unsigned i = 0; i < bench_n_claims; i++) {
        bench_verdict v = bench_judge_claim(b, &bench_claims[i], found, sizeof found);
        json_array_append_new(claims, json_pack("{s:s,s:s,s:s}", "claim", bench_claims[i].claim, "verdict",
                                                bench_verdicts[v], "found", v == BENCH_UNTRIED ? "" : found));
    }
    for (unsigned i = 0; i < bench_n_savings; i++) {
        bench_verdict v = bench_judge_saving(b, &bench_savings[i], &part);
        json_array_append_new(claims, json_pack("{s:s,s:s,s:f}", "claim", bench_savings[i].claim, "verdict",
                                                bench_verdicts[v], "part", part));
    }
    return cli_json_print(stdout,
                          json_pack("{s:o,s:o,s:o,s:I,s:I,s:I,s:I,s:f,s:b,s:I,s:o,s:o}", "model",
                                    cli_json_text(b->model_name), "text", cli_json_text(b->text_name), "calibration",
                                    cli_json_text(b->calibration), "calibration_tokens",
                                    (json_int_t)b->calibration_tokens, "chunks", (json_int_t)b->chunks, "positions",
                                    (json_int_t)b->positions, "items", (json_int_t)b->items, "perplexity",
                                    b->perplexity, "halves", (int)b->halves, "peak_bytes",
                                    (json_int_t)pith_memory_peak(b->ctx), "rows", rows, "claims", claims),
                          JSON_INDENT(1));
}

/* ---- the table ---- */

const char *bench_code_text(const bench_code *c, char *room, size_t size) {
    if (c->recipe) return c->recipe;
    if (c->type) return c->type;
    snprintf(room, size, "step(bits=...) | ctxac @ obs, %g on average%s%s", c->spread, c->method ? ", by " : "",
             c->method ? c->method : "");
    return room;
}

static void print_row(const bench_result *r) {
    char text[80];
    if (!r->done) {
        printf("%-15s %s\n", r->code.name, r->message);
        return;
    }
    const ruler_comparison *c = &r->score.c;
    printf("%-15s %11llu %7.3f %10.6f %8.6f %9.3f %7.2f %6.2f %9.2f %8.3f  %s%s\n", r->code.name,
           (unsigned long long)bench_bytes_of(r), model_trial_bits(&r->trial), c->kl.mean, c->kl.error, c->perplexity,
           c->same_top * 100, r->score.f.flips * 100, r->trial.encode_seconds, r->trial.decode_seconds,
           bench_code_text(&r->code, text, sizeof text), r->code.data || r->code.recipe ? "" : ", plain");
}

static void print_claims(const bench_models *b) {
    char found[512];
    double part;
    for (unsigned i = 0; i < bench_n_claims; i++) {
        bench_verdict v = bench_judge_claim(b, &bench_claims[i], found, sizeof found);
        if (v != BENCH_UNTRIED) printf("%-13s %s: %s\n", bench_verdicts[v], bench_claims[i].claim, found);
    }
    for (unsigned i = 0; i < bench_n_savings; i++) {
        bench_verdict v = bench_judge_saving(b, &bench_savings[i], &part);
        if (v != BENCH_UNTRIED) printf("%-13s %s: %.4f\n", bench_verdicts[v], bench_savings[i].claim, part);
    }
}

void bench_model_head(const bench_models *b) {
    if (b->common->json) return;
    uint64_t weights = 0, bytes = 0;
    for (size_t i = 0; i < b->base->n_tensors; i++) {
        weights += b->base->tensors[i].n_elements;
        bytes += b->base->tensors[i].bytes;
    }
    printf("%s: %llu bytes of tensors, %.3f bits per weight; perplexity %.4f on %s\n", b->model_name,
           (unsigned long long)bytes, bits(bytes, weights), b->perplexity, b->text_name);
    printf("%zu chunks, %zu positions, %zu cloze items; matrices as %s, ", b->chunks, b->positions, b->items,
           b->halves ? "halves" : "floats");
    if (b->matrices)
        printf("those coded that are called %s: bytes and bits are theirs\n", b->matrices);
    else
        printf("all of them coded, embedding and output too\n");
    printf("calibrated on %s, %llu tokens\n", b->calibration, (unsigned long long)b->calibration_tokens);
    printf("%-15s %11s %7s %10s %8s %9s %7s %6s %9s %8s  %s\n", "", "bytes", "bits", "KL nats", "+-", "ppl", "top-1",
           "flips", "encode s", "decode s", "code");
}

void bench_model_row(const bench_models *b, unsigned i) {
    if (b->common->json) return;
    const char *group = b->results[i].code.group;
    if (!i || strcmp(group, b->results[i - 1].code.group) != 0) printf("%s\n", group);
    print_row(&b->results[i]);
    fflush(stdout);
}

int bench_model_report(const bench_models *b) {
    if (b->common->json) return report_json(b);
    print_claims(b);
    printf("peak %.0f MiB of memory, mapped files not counted; seconds are of processors\n",
           (double)pith_memory_peak(b->ctx) / 1048576);
    return CLI_OK;
}

/* ---- the figure ---- */

int bench_model_plot(const bench_models *b, const char *path, bool replace) {
    measure_point points[BENCH_CODES_MOST];
    measure_figure figure = {.y_label = "16 bits / bits per weight", .n_panels = 1};
    size_t n = 0;
    for (unsigned i = 0; i < b->n; i++) {
        const bench_result *r = &b->results[i];
        unsigned series = 0;
        if (!r->done || !(r->score.c.kl.mean > 0)) continue;
        while (series < figure.n_series && strcmp(figure.series[series], r->code.group) != 0) series++;
        if (series == MEASURE_MAX_SERIES) series--;
        if (series == figure.n_series) figure.series[figure.n_series++] = r->code.group;
        points[n++] = (measure_point){1 / r->score.c.kl.mean, 16 / model_trial_bits(&r->trial), r->code.name, series};
    }
    char title[160], subtitle[256];
    snprintf(title, sizeof title, "Size against divergence: %.80s", b->model_name);
    snprintf(subtitle, sizeof subtitle, "%zu positions of %.40s, calibrated on %.40s", b->positions, b->text_name,
             b->calibration);
    figure.title = title;
    figure.subtitle = subtitle;
    figure.panels[0] = (measure_panel){"High and right is better", "1 / KL in nats (logarithmic)", points, n};
    pith_buffer svg = {0};
    lm_writer w;
    if (measure_plot_svg(b->ctx, &figure, &svg) != PITH_OK) {
        pith_buffer_free(b->ctx, &svg);
        return lm_failed(b->ctx, NULL);
    }
    int result = lm_writer_open(&w, b->ctx, path, replace);
    if (result == CLI_OK) {
        pith_status status = lm_write_piece(&w, svg.data, svg.size);
        if (status) lm_failed(b->ctx, NULL);
        result = lm_writer_close(&w, status == PITH_OK, replace);
    }
    pith_buffer_free(b->ctx, &svg);
    return result;
}
