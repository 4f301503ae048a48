/* SPDX-License-Identifier: MIT
 *
 * The charts as one SVG: small multiples, two beside each other, with each curve's name and last figure at its end. It
 * has its own ground in a light and a dark mode, as it may stand on a page of either.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_axis.h"

/* In pixels, at the width at which README files are shown. */
#define WIDTH 880
#define MARGIN 22
#define HEAD 70
#define PANEL_WIDTH 408
#define PANEL_HEIGHT 250
#define PANEL_GAP 18
#define PLOT_LEFT 38
#define PLOT_TOP 44
#define PLOT_WIDTH 270
#define PLOT_HEIGHT 184
#define LABEL_LEFT 18 /* of the plot's right end */
#define LABEL_GAP 14
#define DOT_ROOM 5 /* the first and the last dot stand so far within the plot */

typedef struct look_s {
  const char *column; /* NULL: of all others */
  const char *light;
  const char *dark;
  const char *dash; /* what was written by hand */
} look_t;

static const look_t looks[] = {{BENCH_UVFLOW, "#0550ae", "#6cb6ff", NULL}, {BENCH_LIBUV, "#59636e", "#9ea7b3", "5 3"},
                               {"Go", "#b45309", "#f0a050", NULL},         {"GLib", "#7c3aed", "#c297ff", NULL},
                               {"TBB", "#15803d", "#4ac26b", NULL},        {"tokio", "#c4212d", "#ff8078", NULL},
                               {"nng", "#be2f84", "#f48bc6", NULL},        {BENCH_THREADS, "#59636e", "#9ea7b3", "2 3"},
                               {BENCH_FLOOR, "#6e7781", "#848d97", "1 3"}, {NULL, "#0f7687", "#45c3d2", NULL}};
#define LOOKS ((int)(sizeof(looks) / sizeof(looks[0])))

typedef struct panel_s {
  FILE *out;
  const bench_series_t *series;
  double left; /* of the plot */
  double top;
  bench_axis_t x;
  bench_axis_t y;
} panel_t;

static int look_of(const char *column) {
  int i = 0;
  while (looks[i].column && strcmp(looks[i].column, column)) i++;
  return i;
}

static double at_x(const panel_t *p, double x) {
  return p->left + DOT_ROOM + (PLOT_WIDTH - 2 * DOT_ROOM) * bench_axis_at(&p->x, x);
}

static double at_y(const panel_t *p, double y) { return p->top + PLOT_HEIGHT * (1 - bench_axis_at(&p->y, y)); }

/* --- text --------------------------------------------------------------------------------------------------------- */

/* As XML wants it; an arrow of two characters becomes one. */
static void put_text(FILE *out, const char *text, size_t length) {
  for (size_t i = 0; i < length; i++) {
    if (!strncmp(&text[i], "->", 2) && i + 1 < length) {
      fputs("→", out);
      i++;
    } else if (text[i] == '&') {
      fputs("&amp;", out);
    } else if (text[i] == '<') {
      fputs("&lt;", out);
    } else if (text[i] == '>') {
      fputs("&gt;", out);
    } else {
      fputc(text[i], out);
    }
  }
}

/* "cancel of a chain, each context, by its depth" is a title, and what the x axis counts. */
static void put_titles(const panel_t *p) {
  const char *title = p->series->title, *by = NULL, *next = title;
  while ((next = strstr(next, " by "))) by = next++;
  size_t length = by ? (size_t)(by - title) : strlen(title);
  while (length && title[length - 1] == ',') length--;
  fprintf(p->out, "<text class=\"b\" x=\"%.0f\" y=\"%.0f\">", p->left - PLOT_LEFT, p->top - 26);
  put_text(p->out, title, length);
  fprintf(p->out, "</text>\n<text class=\"m\" x=\"%.0f\" y=\"%.0f\">%s", p->left - PLOT_LEFT, p->top - 11,
          p->series->unit);
  if (by) put_text(p->out, by, strlen(by));
  fprintf(p->out, "%s</text>\n", p->y.log ? "" : ", y linear");
}

/* --- a panel ------------------------------------------------------------------------------------------------------ */

static void put_axes(const panel_t *p) {
  char text[32];
  double bottom = p->top + PLOT_HEIGHT, right = p->left + PLOT_WIDTH;
  fprintf(p->out, "<path class=\"g\" d=\"");
  for (int i = 0; i < p->y.ticks; i++) {
    fprintf(p->out, "M%.0f %.1fH%.0f", p->left, at_y(p, p->y.tick[i]), right);
  }
  fprintf(p->out, "\"/>\n<path class=\"a\" d=\"M%.0f %.1fH%.0f", p->left, bottom, right);
  for (int i = 0; i < p->x.ticks; i++) fprintf(p->out, "M%.1f %.1fv4", at_x(p, p->x.tick[i]), bottom);
  fprintf(p->out, "\"/>\n<g class=\"m e\">");
  for (int i = 0; i < p->y.ticks; i++) {
    fprintf(p->out, "<text x=\"%.0f\" y=\"%.1f\">%s</text>", p->left - 6, at_y(p, p->y.tick[i]) + 4,
            bench_count(text, sizeof(text), p->y.tick[i]));
  }
  fprintf(p->out, "</g>\n<g class=\"m c\">");
  for (int i = 0; i < p->x.ticks; i++) {
    fprintf(p->out, "<text x=\"%.1f\" y=\"%.0f\">%s</text>", at_x(p, p->x.tick[i]), bottom + 17,
            bench_count(text, sizeof(text), p->x.tick[i]));
  }
  fprintf(p->out, "</g>\n");
}

/* The curve, a dot at each point (a line of no length, with round ends), and what leads to its label. */
static void put_curve(const panel_t *p, const bench_curve_t *curve, double label) {
  int look = look_of(curve->column), last = curve->points - 1;
  double end_x = at_x(p, curve->x[last]), end_y = at_y(p, curve->y[last]), to = p->left + PLOT_WIDTH + LABEL_LEFT - 3;
  fprintf(p->out, "<g class=\"k k%d\"><path class=\"%s\"", look, look ? "l" : "u");
  if (looks[look].dash) fprintf(p->out, " stroke-dasharray=\"%s\"", looks[look].dash);
  fprintf(p->out, " d=\"");
  for (int i = 0; i <= last; i++) {
    fprintf(p->out, "%c%.1f %.1f", i ? 'L' : 'M', at_x(p, curve->x[i]), at_y(p, curve->y[i]));
  }
  fprintf(p->out, "\"/><path class=\"%s\" d=\"", look ? "d" : "v");
  for (int i = 0; i <= last; i++) fprintf(p->out, "M%.1f %.1fh.01", at_x(p, curve->x[i]), at_y(p, curve->y[i]));
  fprintf(p->out, "\"/><path class=\"r\" d=\"M%.1f %.1fL%.1f %.1fH%.0f\"/></g>\n", end_x + 5, end_y, to - 5, label, to);
}

/* There is room for six characters. */
static char *short_figure(char *buf, size_t size, double x) {
  const double thousand = 1e3, million = 1e6;
  if (x < 100 * thousand) return bench_figure(buf, size, x);
  snprintf(buf, size, x < million ? "%.0fk" : "%.3gM", x / (x < million ? thousand : million));
  return buf;
}

/* The figure too, where it is that of the last point. */
static void put_label(const panel_t *p, const bench_curve_t *curve, double label) {
  char text[32];
  int look = look_of(curve->column);
  double last = bench_curve_at(curve, p->series->x[p->series->points - 1]);
  fprintf(p->out, "<text class=\"k%d%s\" x=\"%.0f\" y=\"%.1f\">", look, look ? "" : " b",
          p->left + PLOT_WIDTH + LABEL_LEFT, label + 4);
  put_text(p->out, curve->column, strnlen(curve->column, 8));
  if (last > 0) fprintf(p->out, " %s", short_figure(text, sizeof(text), last));
  fprintf(p->out, "</text>\n");
}

static void put_panel(const panel_t *p) {
  const bench_series_t *s = p->series;
  int order[BENCH_MAX_COLUMNS];
  double ends[BENCH_MAX_COLUMNS], labels[BENCH_MAX_COLUMNS];
  for (int i = 0; i < s->curves; i++) {
    double end = at_y(p, s->curve[i].y[s->curve[i].points - 1]);
    int at = i;
    for (; at > 0 && ends[at - 1] > end; at--) {
      ends[at] = ends[at - 1];
      order[at] = order[at - 1];
    }
    ends[at] = end;
    order[at] = i;
  }
  bench_spread(ends, s->curves, LABEL_GAP, p->top + 2, p->top + PLOT_HEIGHT - 2);
  for (int i = 0; i < s->curves; i++) labels[order[i]] = ends[i];
  put_titles(p);
  put_axes(p);
  /* Ours lies on top. */
  for (int i = s->curves - 1; i >= 0; i--) put_curve(p, &s->curve[i], labels[i]);
  for (int i = 0; i < s->curves; i++) put_label(p, &s->curve[i], labels[i]);
}

/* --- the picture -------------------------------------------------------------------------------------------------- */

static void put_style(FILE *out) {
  fputs("<style>\n"
        "text{font:12px system-ui,-apple-system,\"Segoe UI\",Helvetica,Arial,sans-serif;fill:currentColor}\n"
        "svg{color:#1f2328}.p{fill:#fff;stroke:#d1d9e0}.m{color:#59636e}.e{text-anchor:end}.c{text-anchor:middle}\n"
        ".m text,text.m{font-size:11px}text.b{font-weight:600}text.h{font-size:17px;font-weight:600}\n"
        "path{fill:none}.g{stroke:#59636e;stroke-opacity:.18}.a{stroke:#59636e;stroke-opacity:.55}\n"
        ".k path{stroke:currentColor;stroke-linejoin:round}.l{stroke-width:1.6}.u{stroke-width:3}\n"
        ".d{stroke-width:5.5;stroke-linecap:round}.v{stroke-width:8;stroke-linecap:round}\n"
        ".k .r{stroke-width:1;stroke-opacity:.45}\n",
        out);
  for (int i = 0; i < LOOKS; i++) fprintf(out, ".k%d{color:%s}", i, looks[i].light);
  fputs("\n@media (prefers-color-scheme:dark){svg{color:#e6edf3}.p{fill:#0d1117;stroke:#3d444d}.m{color:#9198a1}\n"
        ".g,.a{stroke:#9198a1}\n",
        out);
  for (int i = 0; i < LOOKS; i++) fprintf(out, ".k%d{color:%s}", i, looks[i].dark);
  fputs("}\n</style>\n", out);
}

static void put_picture(FILE *out, const bench_series_t *series, int count) {
  int height = HEAD + (count + 1) / 2 * (PANEL_HEIGHT + PANEL_GAP);
  fprintf(out,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n"
          "<title>How cost grows as the work grows</title>\n",
          WIDTH, height, WIDTH, height);
  put_style(out);
  fprintf(out,
          "<rect class=\"p\" x=\".5\" y=\".5\" width=\"%d\" height=\"%d\" rx=\"8\"/>\n"
          "<text class=\"h\" x=\"%d\" y=\"30\">How cost grows as the work grows</text>\n"
          "<text class=\"m\" x=\"%d\" y=\"49\">Medians of one run of test/bench/run, sampled in turn; the best "
          "implementation of each. Lower is better; both axes are logarithmic.</text>\n",
          WIDTH - 1, height - 1, MARGIN, MARGIN);
  for (int i = 0; i < count; i++) {
    panel_t p = {.out = out, .series = &series[i]};
    p.left = MARGIN + PLOT_LEFT + i % 2 * (PANEL_WIDTH + PANEL_GAP);
    p.top = HEAD + PLOT_TOP + i / 2 * (PANEL_HEIGHT + PANEL_GAP);
    p.x = bench_axis_x(p.series);
    p.y = bench_axis_y(p.series);
    put_panel(&p);
  }
  fprintf(out, "</svg>\n");
}

int bench_svg(const char *file, const bench_outcome_t *outcomes, size_t n) {
  bench_series_t *series = bench_alloc(BENCH_MAX_SERIES, sizeof(*series));
  int count = bench_series(outcomes, n, series, BENCH_MAX_SERIES), err = 0;
  if (count) {
    FILE *out = fopen(file, "w");
    if (out) {
      put_picture(out, series, count);
      if (ferror(out)) err = UV_EIO;
      if (fclose(out)) err = uv_translate_sys_error(errno);
    } else {
      err = uv_translate_sys_error(errno);
    }
  }
  free(series);
  return err;
}
