/* SPDX-License-Identifier: MIT
 *
 * Charts in text: curves of dots (braille where the locale has UTF-8), a marker at each point, the figures below.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_axis.h"

#define LEFT 10   /* the ticks' labels and the axis; below it the columns' names */
#define WIDTH 76  /* of the plot, in characters */
#define HEIGHT 13 /* rows */
#define DOTS_X 2  /* of a character */
#define DOTS_Y 4

typedef struct look_s {
  const char *column; /* NULL: of all others */
  const char *utf8;
  char ascii;
  const char *colour;
  int faint; /* the line has gaps: what was written by hand */
} look_t;

static const look_t looks[] = {{BENCH_UVFLOW, "●", '#', "\033[1;32m", 0}, {BENCH_LIBUV, "○", 'o', "\033[37m", 1},
                               {"Go", "◆", 'G', "\033[36m", 0},           {"GLib", "■", 'L', "\033[33m", 0},
                               {"TBB", "▲", 'B', "\033[34m", 0},          {"tokio", "▼", 'T', "\033[31m", 0},
                               {"nng", "★", 'N', "\033[35m", 0},          {BENCH_THREADS, "□", 'h', "\033[37m", 1},
                               {BENCH_FLOOR, "△", '_', "\033[90m", 1},    {NULL, "◇", '*', "\033[37m", 0}};

typedef struct cell_s {
  unsigned char dots; /* bit 4 * x + y */
  const look_t *line;
  const look_t *marker;
} cell_t;

typedef struct chart_s {
  FILE *out;
  int colours;
  int utf8;
  const bench_series_t *series;
  bench_axis_t x;
  bench_axis_t y;
  cell_t cells[HEIGHT][WIDTH];
  const bench_curve_t *labels[HEIGHT]; /* beside the plot: whose curve ends there */
} chart_t;

static const look_t *look_of(const char *column) {
  const look_t *look = looks;
  while (look->column && strcmp(look->column, column)) look++;
  return look;
}

static const char *style(const chart_t *c, const char *code) { return c->colours ? code : ""; }

#define BOLD "\033[1m"
#define DIM "\033[2m"
#define PLAIN "\033[0m"

/* --- drawing ------------------------------------------------------------------------------------------------------ */

/* In dots; y grows downwards. */
static int dot_x(const chart_t *c, double x) { return (int)(bench_axis_at(&c->x, x) * (WIDTH - 1) + 0.5) * DOTS_X; }

static int dot_y(const chart_t *c, double y) {
  return (int)((1 - bench_axis_at(&c->y, y)) * (HEIGHT * DOTS_Y - 1) + 0.5);
}

static void draw_dot(chart_t *c, int x, int y, const look_t *look) {
  cell_t *cell = &c->cells[y / DOTS_Y][x / DOTS_X];
  cell->dots |= (unsigned char)(1u << (DOTS_Y * (x % DOTS_X) + y % DOTS_Y));
  cell->line = look;
}

static void draw_line(chart_t *c, int x0, int y0, int x1, int y1, const look_t *look) {
  int steps = abs(x1 - x0) > abs(y1 - y0) ? abs(x1 - x0) : abs(y1 - y0);
  for (int i = 0; i <= steps; i++) {
    int x = x0, y = y0;
    if (look->faint && i % 4 > 1) continue;
    if (steps) {
      x += (x1 - x0) * i / steps;
      y += (y1 - y0) * i / steps;
    }
    draw_dot(c, x, y, look);
  }
}

static void draw_curve(chart_t *c, const bench_curve_t *curve) {
  const look_t *look = look_of(curve->column);
  for (int i = 1; i < curve->points; i++) {
    draw_line(c, dot_x(c, curve->x[i - 1]), dot_y(c, curve->y[i - 1]), dot_x(c, curve->x[i]), dot_y(c, curve->y[i]),
              look);
  }
  for (int i = 0; i < curve->points; i++) {
    c->cells[dot_y(c, curve->y[i]) / DOTS_Y][dot_x(c, curve->x[i]) / DOTS_X].marker = look;
  }
}

/* Beside the plot, near the end of each curve, in the order of the ends. */
static void place_labels(chart_t *c) {
  const bench_curve_t *curves[BENCH_MAX_COLUMNS];
  double places[BENCH_MAX_COLUMNS];
  int n = c->series->curves;
  for (int i = 0; i < n; i++) {
    const bench_curve_t *curve = &c->series->curve[i];
    double end = dot_y(c, curve->y[curve->points - 1]);
    int at = i;
    for (; at > 0 && places[at - 1] > end; at--) {
      places[at] = places[at - 1];
      curves[at] = curves[at - 1];
    }
    places[at] = end;
    curves[at] = curve;
  }
  for (int i = 0; i < n; i++) places[i] = (int)places[i] / DOTS_Y;
  bench_spread(places, n, 1, 0, HEIGHT - 1);
  for (int i = 0, row = 0; i < n && row < HEIGHT; i++, row++) {
    if (row < (int)(places[i] + 0.5)) row = (int)(places[i] + 0.5);
    if (row < HEIGHT) c->labels[row] = curves[i];
  }
}

/* --- printing ----------------------------------------------------------------------------------------------------- */

static void print_marker(const chart_t *c, const look_t *look) {
  if (c->utf8) {
    fputs(look->utf8, c->out);
  } else {
    fputc(look->ascii, c->out);
  }
}

static void print_dots(const chart_t *c, unsigned int dots) {
  /* The bits of a braille character: the lowest row was added late. */
  static const unsigned char bits[] = {0x01, 0x02, 0x04, 0x40, 0x08, 0x10, 0x20, 0x80};
  const unsigned int upper = 0x33;
  unsigned int braille = 0;
  if (!c->utf8) {
    fputc(dots & upper ? '\'' : '.', c->out);
    return;
  }
  for (unsigned int i = 0; i < sizeof(bits); i++) {
    if (dots & (1u << i)) braille |= bits[i];
  }
  /* U+2800 and the bits, in UTF-8. */
  fprintf(c->out, "\xe2%c%c", (int)(0xa0 + (braille >> 6)), (int)(0x80 + (braille & 0x3f)));
}

/* Colours change only where they must: most cells are like the one before. */
static void print_cells(const chart_t *c, const cell_t *cells, int n) {
  const char *now = PLAIN;
  for (int i = 0; i < n; i++) {
    const look_t *look = cells[i].marker ? cells[i].marker : cells[i].line;
    if (!look) {
      fputc(' ', c->out);
      continue;
    }
    if (look->colour != now) fputs(style(c, look->colour), c->out);
    now = look->colour;
    if (cells[i].marker) {
      print_marker(c, look);
    } else {
      print_dots(c, cells[i].dots);
    }
  }
  fputs(style(c, PLAIN), c->out);
}

/* The tick that stands in this row; 0 is one too. */
static const double *tick_in(const chart_t *c, int row) {
  for (int i = 0; i < c->y.ticks; i++) {
    if (dot_y(c, c->y.tick[i]) / DOTS_Y == row) return &c->y.tick[i];
  }
  return NULL;
}

static void print_row(const chart_t *c, int row) {
  const double *tick = tick_in(c, row);
  char label[24] = "";
  int end = WIDTH;
  if (tick) bench_count(label, sizeof(label), *tick);
  fprintf(c->out, "%s%8s %s%s", style(c, DIM), label, c->utf8 ? (tick ? "┤" : "│") : (tick ? "+" : "|"),
          style(c, PLAIN));
  /* No blanks at the end of a line. */
  while (!c->labels[row] && end > 0 && !c->cells[row][end - 1].line && !c->cells[row][end - 1].marker) end--;
  print_cells(c, c->cells[row], end);
  if (c->labels[row]) {
    const look_t *look = look_of(c->labels[row]->column);
    fprintf(c->out, " %s%.12s%s", style(c, look->colour), c->labels[row]->column, style(c, PLAIN));
  }
  fputc('\n', c->out);
}

static void print_axis(const chart_t *c) {
  fprintf(c->out, "%s%8s %s", style(c, DIM), "", c->utf8 ? "└" : "+");
  for (int i = 0, tick = 0; i < WIDTH; i++) {
    int here = tick < c->x.ticks && dot_x(c, c->x.tick[tick]) / DOTS_X == i;
    tick += here;
    fputs(c->utf8 ? (here ? "┬" : "─") : (here ? "+" : "-"), c->out);
  }
  fprintf(c->out, "%s\n", style(c, PLAIN));
}

/* Puts the text around the place, behind what is there already. */
static void put_at(char line[WIDTH + 1], double at, const char *text) {
  int length = (int)strlen(text), from = (int)(at * (WIDTH - 1) + 0.5) - length / 2, used = WIDTH;
  while (used > 0 && line[used - 1] == ' ') used--;
  if (used && from <= used) from = used + 1;
  if (from < 0) from = 0;
  if (from > WIDTH - length) from = WIDTH - length;
  memcpy(&line[from], text, (size_t)length);
}

static void print_counts(const chart_t *c) {
  char line[WIDTH + 1], text[32];
  memset(line, ' ', WIDTH);
  line[WIDTH] = '\0';
  for (int i = 0; i < c->x.ticks; i++) {
    put_at(line, bench_axis_at(&c->x, c->x.tick[i]), bench_count(text, sizeof(text), c->x.tick[i]));
  }
  fprintf(c->out, "%s%*s%s  last/first%s\n", style(c, DIM), LEFT, "", line, style(c, PLAIN));
}

static void print_figures(const chart_t *c, const bench_curve_t *curve) {
  const look_t *look = look_of(curve->column);
  double last = bench_curve_at(curve, c->series->x[c->series->points - 1]);
  double first = bench_curve_at(curve, c->series->x[0]);
  int grows = first > 0 && last > 0;
  char line[WIDTH + 1], text[32];
  memset(line, ' ', WIDTH);
  line[WIDTH] = '\0';
  for (int i = 0; i < curve->points; i++) {
    put_at(line, bench_axis_at(&c->x, curve->x[i]), bench_figure(text, sizeof(text), curve->y[i]));
  }
  for (char *end = line + WIDTH; !grows && end > line && end[-1] == ' '; end--) end[-1] = '\0';
  fprintf(c->out, "%s", style(c, look->colour));
  print_marker(c, look);
  fprintf(c->out, " %-*.*s%s%s", LEFT - 2, LEFT - 3, curve->column, look == looks ? "" : style(c, PLAIN), line);
  if (grows) fprintf(c->out, " %10sx", bench_figure(text, sizeof(text), last / first));
  fprintf(c->out, "%s\n", style(c, PLAIN));
}

static void print_chart(chart_t *c) {
  const bench_series_t *s = c->series;
  /* What comes first lies on top. */
  for (int i = s->curves - 1; i >= 0; i--) draw_curve(c, &s->curve[i]);
  place_labels(c);
  fprintf(c->out, "\n%s%s%s%s, %s%s%s\n", style(c, BOLD), s->title, style(c, PLAIN), style(c, DIM), s->unit,
          c->y.log ? ", logarithmic" : "", style(c, PLAIN));
  for (int row = 0; row < HEIGHT; row++) print_row(c, row);
  print_axis(c);
  print_counts(c);
  for (int i = 0; i < s->curves; i++) print_figures(c, &s->curve[i]);
}

void bench_charts(FILE *out, const bench_outcome_t *outcomes, size_t n, int colours) {
  bench_series_t *series = bench_alloc(BENCH_MAX_SERIES, sizeof(*series));
  int count = bench_series(outcomes, n, series, BENCH_MAX_SERIES);
  if (count) {
    fprintf(out, "\n%sHow cost grows as the work grows%s: the best of each column; lower is better\n",
            colours ? BOLD : "", colours ? PLAIN : "");
  }
  for (int i = 0; i < count; i++) {
    chart_t c = {.out = out, .colours = colours, .utf8 = bench_utf8(), .series = &series[i]};
    c.x = bench_axis_x(c.series);
    c.y = bench_axis_y(c.series);
    print_chart(&c);
  }
  free(series);
}
