/* SPDX-License-Identifier: MIT */
#include "bench_axis.h"

#include <math.h>

#define LOG_FROM_Y 6
#define LOG_FROM_X 3
#define ROOM_LOG 1.25
#define ROOM_LINEAR 1.08
/* Of a logarithmic axis with fewer decades, 2 and 5 of each are ticks too. */
#define FEW_DECADES 2.5

static void add_tick(bench_axis_t *a, double value) {
  if (value < a->low || value > a->high || a->ticks == BENCH_MAX_TICKS) return;
  a->tick[a->ticks++] = value;
}

static void log_ticks(bench_axis_t *a) {
  int fine = log10(a->high / a->low) < FEW_DECADES;
  for (int e = (int)floor(log10(a->low)); e <= (int)ceil(log10(a->high)); e++) {
    double decade = pow(10, e);
    add_tick(a, decade);
    if (!fine) continue;
    add_tick(a, 2 * decade);
    add_tick(a, 5 * decade);
  }
}

/* Three to six of them, 1, 2 or 5 of some decade apart. */
static void linear_ticks(bench_axis_t *a) {
  double step = pow(10, floor(log10(a->high / 3)));
  if (a->high / step > 12) {
    step *= 5;
  } else if (a->high / step > 6) {
    step *= 2;
  }
  for (int i = 0; i * step <= a->high; i++) add_tick(a, i * step);
}

bench_axis_t bench_axis_y(const bench_series_t *series) {
  bench_axis_t a = {.low = INFINITY};
  for (int c = 0; c < series->curves; c++) {
    const bench_curve_t *curve = &series->curve[c];
    for (int i = 0; i < curve->points; i++) {
      a.low = fmin(a.low, curve->y[i]);
      a.high = fmax(a.high, curve->y[i]);
    }
  }
  a.log = a.high > LOG_FROM_Y * a.low;
  a.low = a.log ? a.low / ROOM_LOG : 0;
  a.high *= a.log ? ROOM_LOG : ROOM_LINEAR;
  if (a.log) {
    log_ticks(&a);
  } else {
    linear_ticks(&a);
  }
  return a;
}

bench_axis_t bench_axis_x(const bench_series_t *series) {
  bench_axis_t a = {.low = series->x[0], .high = series->x[series->points - 1]};
  a.log = a.low > 0 && a.high > LOG_FROM_X * a.low;
  for (int i = 0; i < series->points; i++) add_tick(&a, series->x[i]);
  return a;
}

double bench_axis_at(const bench_axis_t *axis, double value) {
  if (axis->log) return log(value / axis->low) / log(axis->high / axis->low);
  return (value - axis->low) / (axis->high - axis->low);
}

/* Labels that touch become a block, which stands around the middle of where its labels wanted to be. */
void bench_spread(double *places, int n, double gap, double low, double high) {
  double start[BENCH_MAX_COLUMNS];
  int length[BENCH_MAX_COLUMNS], blocks = 0;
  for (int i = 0; i < n; i++) {
    start[blocks] = places[i];
    length[blocks++] = 1;
    for (;;) {
      int last = blocks - 1;
      start[last] = fmax(low, fmin(start[last], high - gap * (length[last] - 1)));
      if (!last || start[last - 1] + gap * length[last - 1] <= start[last]) break;
      int both = length[last - 1] + length[last];
      double later = start[last] - gap * length[last - 1];
      start[last - 1] = (start[last - 1] * length[last - 1] + later * length[last]) / both;
      length[last - 1] = both;
      blocks--;
    }
  }
  for (int b = 0, i = 0; b < blocks; b++) {
    for (int k = 0; k < length[b]; k++) places[i++] = start[b] + gap * k;
  }
}
