/* SPDX-License-Identifier: MIT
 *
 * The reports of a run, and what they have in common: the columns of its outcomes, the best implementation of each, the
 * best peer, the goal, the charts' curves, and how figures are written.
 */
#ifndef UVFLOW_BENCH_REPORT_H
#define UVFLOW_BENCH_REPORT_H

#include <stdio.h>

#include "bench.h"

#define BENCH_UVFLOW "uvflow"
#define BENCH_LIBUV "libuv"
#define BENCH_THREADS "threads"
#define BENCH_FLOOR "floor"

#define BENCH_MAX_COLUMNS 16
#define BENCH_MAX_POINTS 16
#define BENCH_MAX_SERIES 16

/* --- reports ------------------------------------------------------------------------------------------------------ */

/* How cost grows as the work grows: a chart for each series, in text, no wider than 100 columns. */
void bench_charts(FILE *out, const bench_outcome_t *outcomes, size_t n, int colours);
/* All of them as one picture. Returns 0, or an error code when the file cannot be written; where there is no series
 * there is nothing to draw, and no file. */
int bench_svg(const char *file, const bench_outcome_t *outcomes, size_t n);
/* The table side by side in Markdown (rows with BENCH_SIDE), and below it the command, the machine and the day, as
 * `machine` says them. Returns 0, or an error code. */
int bench_markdown(const char *file, const bench_outcome_t *outcomes, size_t n, const char *machine);

/* --- columns ------------------------------------------------------------------------------------------------------ */

/* The column of an implementation is what stands before ':' (or ',') in its name. The string lives as long as the
 * program, and there is one of each: columns may be compared as pointers. */
const char *bench_column_of(const char *impl_name);
/* Those that have a figure in some outcome, in a fixed order: uvflow, libuv, the peers, then what else there is (the
 * floor last). Returns how many. */
int bench_columns(const bench_outcome_t *outcomes, size_t n, const char *columns[], int max);
/* Not uvflow, and nothing written by hand: neither libuv nor threads nor a floor. */
int bench_is_peer(const char *column);

/* The column's result with the lowest median, NULL if it has none. impl_name may be NULL. */
const bench_result_t *bench_best_of(const bench_outcome_t *outcome, const char *column, const char **impl_name);
/* The lowest median of all peers, NULL if there is none. column may be NULL. */
const bench_result_t *bench_best_peer(const bench_outcome_t *outcome, const char **column);
/* How many times ours the best peer's figure is, 0 if one of them is missing: the median of the ratios within each turn
 * where they are known and are those of our best implementation, else the ratio of the medians. */
double bench_ratio(const bench_outcome_t *outcome);

/* The row's goal in the figure's unit, 0 if it has none. The results are those of the row's own implementations. */
double bench_goal(const bench_row_t *row, const bench_result_t *results);
const char *bench_unit(const bench_row_t *row);

/* --- curves ------------------------------------------------------------------------------------------------------- */

typedef struct bench_curve_s {
  const char *column;
  int points;
  double x[BENCH_MAX_POINTS];
  double y[BENCH_MAX_POINTS];
} bench_curve_t;

/* The outcomes whose rows name this series, by x; of each column the best implementation at each x. */
typedef struct bench_series_s {
  const char *title;
  const char *unit;
  int points;
  double x[BENCH_MAX_POINTS];
  const bench_outcome_t *at[BENCH_MAX_POINTS];
  int curves;
  bench_curve_t curve[BENCH_MAX_COLUMNS];
} bench_series_t;

/* Series of at least two points of which at least one has a figure of ours, in the order in which they begin. Returns
 * how many. */
int bench_series(const bench_outcome_t *outcomes, size_t n, bench_series_t *series, int max);
/* The figure at x, 0 if the curve has none there. */
double bench_curve_at(const bench_curve_t *curve, double x);

/* --- figures ------------------------------------------------------------------------------------------------------ */

/* Three digits are what these figures are worth: 4.31, 43.1, 431, 4,310. All return buf. */
char *bench_figure(char *buf, size_t size, double x);
/* Without a fraction: 2, 90, 2,650. */
char *bench_whole(char *buf, size_t size, double x);
/* A figure or a goal of the row as a reader wants it: long times in ms, "240 ms". */
char *bench_amount(char *buf, size_t size, const bench_row_t *row, double x, int whole);
/* Counts, as they stand on an axis: 1, 128, 10k, 1M; 1k without a remainder only, else 1,024. */
char *bench_count(char *buf, size_t size, double x);

/* 1 if the locale says that its characters are UTF-8. */
int bench_utf8(void);

#endif
