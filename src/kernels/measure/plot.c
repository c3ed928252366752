/* A figure as SVG: one or more panels with a shared linear y axis and logarithmic x axes,
 * points by series, the frontier as a line, and labels placed where they hide least.
 * Coordinates are in pixels; numbers are written without the locale's decimal sign. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "kernels/measure/measure.h"

enum { PANEL_W = 520, PANEL_H = 400, LEFT = 62, RIGHT = 16, TOP = 100, BOTTOM = 54, GAP = 40, MARK = 5, LETTER = 6 };

static const char *const colours[MEASURE_MAX_SERIES] = {"#1f5fbf", "#8a8a8a", "#c0392b",
                                                        "#2e8b57", "#8e44ad", "#b8860b"};
static const char *const text_colours[MEASURE_MAX_SERIES] = {"#1f5fbf", "#555",    "#96281b",
                                                             "#20653f", "#6c3483", "#805d08"};

typedef struct box {
    double x, y, w, h;
} box;

typedef struct drawing {
    pith_ctx *ctx;
    pith_buffer *out;
    pith_status status;
    double y_low, y_high;
} drawing;

static void emit(drawing *d, const char *format, ...) PITH_PRINTF(2, 3);
static void emit(drawing *d, const char *format, ...) {
    char text[768];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (d->status != PITH_OK || n <= 0) return;
    d->status = pith_buffer_append(d->ctx, d->out, text, PITH_MIN((size_t)n, sizeof text - 1));
}

static void emit_text(drawing *d, const char *text) {
    for (; *text && d->status == PITH_OK; text++) {
        if (*text == '<')
            emit(d, "&lt;");
        else if (*text == '&')
            emit(d, "&amp;");
        else if (*text == '>')
            emit(d, "&gt;");
        else if ((unsigned char)*text < 0x20)
            emit(d, " ");
        else
            d->status = pith_buffer_append(d->ctx, d->out, text, 1);
    }
}

/* A number as text, with a point whatever the locale says. */
typedef struct number {
    char text[32];
} number;
static number fixed(double v, int n_places) {
    number n;
    double scale = 1;
    for (int i = 0; i < n_places; i++) scale *= 10;
    long long whole = llround(fmin(fmax(v, -1e8), 1e8) * scale), left = whole < 0 ? -whole : whole;
    char *p = n.text + sizeof n.text;
    *--p = 0;
    for (int i = 0; i <= n_places || left; i++, left /= 10) {
        if (i == n_places && i) *--p = '.';
        *--p = (char)('0' + left % 10);
    }
    if (whole < 0) *--p = '-';
    memmove(n.text, p, strlen(p) + 1);
    return n;
}
static number num(double v) { return fixed(v, 1); }
/* A tick's value: as many places as the step needs. */
static number tick_text(double v, double step) {
    return fixed(v, step >= 1 ? 0 : (int)fmin(ceil(-log10(step) - 1e-9), 9));
}

static bool drawable(const measure_point *p) { return isfinite(p->x) && isfinite(p->y) && p->x > 0; }

static double nice_step(double span, int ticks) {
    double raw = span / ticks, base = pow(10, floor(log10(raw)));
    double f = raw / base;
    return base * (f <= 1 ? 1 : f <= 2 ? 2 : f <= 5 ? 5 : 10);
}

static double overlap(box a, box b) {
    double w = fmin(a.x + a.w, b.x + b.w) - fmax(a.x, b.x);
    double h = fmin(a.y + a.h, b.y + b.h) - fmax(a.y, b.y);
    return w > 0 && h > 0 ? w * h : 0;
}

/* Positions tried around a point, nearest first: (dx, dy) in steps, text anchor follows dx. */
struct place {
    int dx, dy;
};
enum { NEAR_PLACES = 8 };
static const struct place places[] = {{1, 0},  {-1, 0},  {0, -1}, {0, 1},   {1, -1}, {1, 1},   {-1, -1}, {-1, 1},
                                      {2, -2}, {-2, 2},  {2, 2},  {-2, -2}, {0, -3}, {0, 3},   {3, -3},  {-3, 3},
                                      {3, 3},  {-3, -3}, {4, -4}, {-4, 4},  {4, 4},  {-4, -4}, {0, 5},   {0, -5}};

static box label_box(double x, double y, struct place p, double width) {
    double cx = x + p.dx * 10, cy = y + p.dy * 11;
    double left = p.dx > 0 ? cx : p.dx < 0 ? cx - width : cx - width / 2;
    return (box){left, cy - 7, width, 14};
}

typedef struct spot {
    double x, y;
    bool frontier;
    struct place place; /* of its label */
    const measure_point *point;
} spot;

static int by_x(const void *a, const void *b) {
    const spot *p = a, *q = b;
    if (p->x != q->x) return p->x < q->x ? -1 : 1;
    return p->y > q->y ? -1 : p->y < q->y; /* pixels go down: the best of equal x last */
}

/* How much a label at `b` would hide: other labels most, points next, the line least. */
static double hidden(box b, const spot *s, size_t n, const box *taken, size_t n_taken, box frame, size_t own) {
    double cost = (b.w * b.h - overlap(b, frame)) * 8;
    for (size_t i = 0; i < n_taken; i++) cost += overlap(b, taken[i]) * 4;
    const spot *last = NULL;
    for (size_t i = 0; i < n; i++) {
        box mark = {s[i].x - MARK - 1, s[i].y - MARK - 1, 2 * MARK + 2, 2 * MARK + 2};
        if (i != own) cost += overlap(b, mark) * 4;
        if (!s[i].frontier) continue;
        for (int k = 1; last && k < 24; k++) {
            double t = k / 24.0;
            box dot = {last->x + (s[i].x - last->x) * t - 1, last->y + (s[i].y - last->y) * t - 1, 2, 2};
            cost += overlap(b, dot) * 3;
        }
        last = &s[i];
    }
    return cost;
}

static void draw_labels(drawing *d, spot *s, size_t n, box *taken, box frame) {
    for (size_t i = 0; i < n; i++) {
        const char *label = s[i].point->label;
        double width = (double)strlen(label) * LETTER + 4, best_cost = HUGE_VAL;
        size_t best = 0;
        for (size_t k = 0; k < PITH_COUNT(places); k++) {
            double cost = hidden(label_box(s[i].x, s[i].y, places[k], width), s, n, taken, i, frame, i);
            cost += (double)k * 2;
            if (cost < best_cost) {
                best_cost = cost;
                best = k;
            }
        }
        box b = taken[i] = label_box(s[i].x, s[i].y, places[best], width);
        s[i].place = places[best];
        if (best < NEAR_PLACES) /* the others are far from their point: a thin line says whose they are */
            continue;
        double end = places[best].dx < 0 ? b.x + b.w : places[best].dx > 0 ? b.x : b.x + b.w / 2;
        emit(d, "<line x1=\"%s\" y1=\"%s\" x2=\"%s\" y2=\"%s\" stroke=\"#999\" stroke-width=\"0.7\"/>\n",
             num(s[i].x).text, num(s[i].y).text, num(end).text, num(b.y + 7).text);
    }
    for (size_t i = 0; i < n; i++) {
        box b = taken[i];
        int side = s[i].place.dx;
        emit(d,
             "<text x=\"%s\" y=\"%s\" font-size=\"11\" text-anchor=\"%s\" fill=\"%s\"%s stroke=\"#fff\" "
             "stroke-width=\"3\" paint-order=\"stroke\">",
             num(side > 0   ? b.x + 2
                 : side < 0 ? b.x + b.w - 2
                            : b.x + b.w / 2)
                 .text,
             num(b.y + 11).text,
             side > 0   ? "start"
             : side < 0 ? "end"
                        : "middle",
             text_colours[s[i].point->series], s[i].point->series == 0 ? " font-weight=\"bold\"" : "");
        emit_text(d, s[i].point->label);
        emit(d, "</text>\n");
    }
}

static void draw_mark(drawing *d, const spot *s) {
    const char *colour = colours[s->point->series];
    if (s->point->series % 2 == 0)
        emit(d, "<circle cx=\"%s\" cy=\"%s\" r=\"%d\" fill=\"%s\"/>\n", num(s->x).text, num(s->y).text, MARK, colour);
    else
        emit(d, "<rect x=\"%s\" y=\"%s\" width=\"%d\" height=\"%d\" fill=\"%s\"/>\n", num(s->x - MARK + 1).text,
             num(s->y - MARK + 1).text, 2 * MARK - 2, 2 * MARK - 2, colour);
}

static void draw_y_axis(drawing *d, double left, bool labels) {
    double step = nice_step(d->y_high - d->y_low, 6);
    for (double v = ceil(d->y_low / step) * step; v <= d->y_high + step * 1e-6; v += step) {
        double y = TOP + PANEL_H * (d->y_high - v) / (d->y_high - d->y_low);
        emit(d, "<line x1=\"%s\" y1=\"%s\" x2=\"%s\" y2=\"%s\" stroke=\"#e4e4e4\"/>\n", num(left).text, num(y).text,
             num(left + PANEL_W).text, num(y).text);
        if (labels)
            emit(d, "<text x=\"%s\" y=\"%s\" text-anchor=\"end\" font-size=\"12\" fill=\"#333\">%s</text>\n",
                 num(left - 7).text, num(y + 4).text, tick_text(v, step).text);
    }
}

/* Ticks at 1, 2 and 5 times powers of ten, or at the powers alone when those are many. */
static void draw_x_axis(drawing *d, const measure_panel *panel, double left, double low, double high) {
    bool sparse = high - low > 3.2;
    for (int decade = (int)floor(low); decade <= (int)ceil(high); decade++) {
        for (int m = 1; m < 10; m++) {
            double at = decade + log10(m);
            if (at < low || at > high) continue;
            double x = left + PANEL_W * (at - low) / (high - low), v = pow(10, decade) * m;
            bool named = m == 1 || (!sparse && (m == 2 || m == 5));
            emit(d, "<line x1=\"%s\" y1=\"%d\" x2=\"%s\" y2=\"%d\" stroke=\"%s\"/>\n", num(x).text,
                 named ? TOP : TOP + PANEL_H - 4, num(x).text, TOP + PANEL_H, named ? "#e4e4e4" : "#bbb");
            if (named)
                emit(d, "<text x=\"%s\" y=\"%d\" text-anchor=\"middle\" font-size=\"12\" fill=\"#333\">%s</text>\n",
                     num(x).text, TOP + PANEL_H + 18, tick_text(v, pow(10, decade)).text);
        }
    }
    emit(d, "<text x=\"%s\" y=\"%d\" text-anchor=\"middle\" font-size=\"13\" fill=\"#222\">",
         num(left + PANEL_W / 2.0).text, TOP + PANEL_H + 40);
    emit_text(d, panel->x_label);
    emit(d, "</text>\n<text x=\"%s\" y=\"%d\" font-size=\"14\" font-weight=\"bold\" fill=\"#222\">", num(left).text,
         TOP - 10);
    emit_text(d, panel->title);
    emit(d, "</text>\n");
}

static void x_range(const measure_panel *panel, double *low, double *high) {
    *low = HUGE_VAL;
    *high = -HUGE_VAL;
    for (size_t i = 0; i < panel->n_points; i++) {
        if (!drawable(&panel->points[i])) continue;
        *low = fmin(*low, log10(panel->points[i].x));
        *high = fmax(*high, log10(panel->points[i].x));
    }
    if (*low > *high) *low = 0, *high = 1;
    double room = fmax((*high - *low) * 0.08, 0.12); /* for marks and labels at the edges */
    *low -= room;
    *high += 2 * room; /* where the fast ones crowd */
}

static void draw_panel(drawing *d, const measure_panel *panel, double left, spot *s, box *taken, bool first) {
    double low, high;
    x_range(panel, &low, &high);
    emit(d, "<g>\n");
    draw_y_axis(d, left, first);
    draw_x_axis(d, panel, left, low, high);
    emit(d, "<rect x=\"%s\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#888\"/>\n", num(left).text, TOP,
         PANEL_W, PANEL_H);
    size_t n = 0;
    for (size_t i = 0; i < panel->n_points; i++) {
        const measure_point *p = &panel->points[i];
        if (!drawable(p) || p->series >= MEASURE_MAX_SERIES) continue;
        s[n++] = (spot){left + PANEL_W * (log10(p->x) - low) / (high - low),
                        TOP + PANEL_H * (d->y_high - p->y) / (d->y_high - d->y_low),
                        false,
                        {0, 0},
                        p};
    }
    qsort(s, n, sizeof *s, by_x);
    double highest = -HUGE_VAL; /* sorted by x: on the frontier when higher than all to the right */
    for (size_t i = n; i-- > 0;) {
        s[i].frontier = s[i].point->y > highest;
        highest = fmax(highest, s[i].point->y);
    }
    emit(d, "<polyline fill=\"none\" stroke=\"#444\" stroke-width=\"1.4\" stroke-dasharray=\"5 3\" points=\"");
    for (size_t i = 0; i < n; i++)
        if (s[i].frontier) emit(d, "%s,%s ", num(s[i].x).text, num(s[i].y).text);
    emit(d, "\"/>\n");
    for (int front = 0; front < 2; front++) /* the first series lies on top */
        for (size_t i = 0; i < n; i++)
            if ((s[i].point->series == 0) == front) draw_mark(d, &s[i]);
    draw_labels(d, s, n, taken, (box){left + 2, TOP + 2, PANEL_W - 4, PANEL_H - 4});
    emit(d, "</g>\n");
}

static void draw_head(drawing *d, const measure_figure *f, int width) {
    int height = TOP + PANEL_H + BOTTOM;
    emit(d,
         "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
         "font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\">\n",
         width, height, width, height);
    emit(d,
         "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n<text x=\"%d\" y=\"26\" font-size=\"18\" "
         "font-weight=\"bold\" fill=\"#111\">",
         width, height, LEFT);
    emit_text(d, f->title);
    emit(d, "</text>\n<text x=\"%d\" y=\"46\" font-size=\"12\" fill=\"#555\">", LEFT);
    emit_text(d, f->subtitle);
    emit(d, "</text>\n");
    double x = LEFT;
    for (unsigned i = 0; i < f->n_series; i++) {
        measure_point p = {0, 0, f->series[i], i};
        spot s = {x + MARK, 61, false, {0, 0}, &p};
        draw_mark(d, &s);
        emit(d, "<text x=\"%s\" y=\"65\" font-size=\"12\" fill=\"#222\">", num(x + 16).text);
        emit_text(d, f->series[i]);
        emit(d, "</text>\n");
        x += 40 + (double)strlen(f->series[i]) * 7;
    }
    emit(
        d,
        "<line x1=\"%s\" y1=\"61\" x2=\"%s\" y2=\"61\" stroke=\"#444\" stroke-width=\"1.4\" stroke-dasharray=\"5 3\"/>\n"
        "<text x=\"%s\" y=\"65\" font-size=\"12\" fill=\"#222\">frontier</text>\n",
        num(x).text, num(x + 28).text, num(x + 34).text);
    emit(d, "<text transform=\"translate(18 %d) rotate(-90)\" text-anchor=\"middle\" font-size=\"13\" fill=\"#222\">",
         TOP + PANEL_H / 2);
    emit_text(d, f->y_label);
    emit(d, "</text>\n");
}

pith_status measure_plot_svg(pith_ctx *ctx, const measure_figure *figure, pith_buffer *svg) {
    if (figure->n_panels < 1 || figure->n_panels > MEASURE_MAX_PANELS || figure->n_series > MEASURE_MAX_SERIES)
        return pith_fail(ctx, PITH_E_ARGUMENT, "a figure has 1..%d panels and at most %d series", MEASURE_MAX_PANELS,
                         MEASURE_MAX_SERIES);
    drawing d = {ctx, svg, PITH_OK, HUGE_VAL, -HUGE_VAL};
    size_t most = 1;
    for (unsigned k = 0; k < figure->n_panels; k++) {
        const measure_panel *panel = &figure->panels[k];
        if (panel->n_points > 10000)
            return pith_fail(ctx, PITH_E_LIMIT, "a panel of a figure holds at most 10000 points");
        most = PITH_MAX(most, panel->n_points);
        for (size_t i = 0; i < panel->n_points; i++) {
            if (!drawable(&panel->points[i])) continue;
            d.y_low = fmin(d.y_low, panel->points[i].y);
            d.y_high = fmax(d.y_high, panel->points[i].y);
        }
    }
    if (d.y_low > d.y_high) d.y_low = 0, d.y_high = 1;
    double room = fmax((d.y_high - d.y_low) * 0.08, fmax(fabs(d.y_high) * 1e-3, 1e-3));
    d.y_low -= room;
    d.y_high += room;
    spot *spots = pith_alloc(ctx, most * sizeof *spots);
    box *taken = pith_alloc(ctx, most * sizeof *taken);
    if (spots && taken) {
        int width = LEFT + (int)figure->n_panels * PANEL_W + ((int)figure->n_panels - 1) * GAP + RIGHT;
        draw_head(&d, figure, width);
        for (unsigned k = 0; k < figure->n_panels; k++)
            draw_panel(&d, &figure->panels[k], LEFT + (double)k * (PANEL_W + GAP), spots, taken, k == 0);
        emit(&d, "</svg>\n");
    } else {
        d.status = pith_alloc_status(ctx);
    }
    pith_free(ctx, taken);
    pith_free(ctx, spots);
    return d.status;
}
