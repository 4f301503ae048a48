/* SPDX-License-Identifier: MIT
 *
 * Axes of charts: from figures to places between 0 and 1, and where the ticks stand.
 */
#ifndef UVFLOW_BENCH_AXIS_H
#define UVFLOW_BENCH_AXIS_H

#include "bench_report.h"

#define BENCH_MAX_TICKS 16

typedef struct bench_axis_s {
  int log;
  double low; /* linear ones begin at 0 */
  double high;
  int ticks;
  double tick[BENCH_MAX_TICKS];
} bench_axis_t;

/* The axis of figures: logarithmic where they differ by more than a factor of 6, with some room at both ends. */
bench_axis_t bench_axis_y(const bench_series_t *series);
/* The axis on which the points stand, each of them a tick; logarithmic where the last is over 3 times the first. */
bench_axis_t bench_axis_x(const bench_series_t *series);
double bench_axis_at(const bench_axis_t *axis, double value);

/* Moves the places, which are sorted, apart as little as it takes to leave a gap between any two, within the limits as
 * far as there is room. */
void bench_spread(double *places, int n, double gap, double low, double high);

#endif
