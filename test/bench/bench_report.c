/* SPDX-License-Identifier: MIT */
#include "bench_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- columns ------------------------------------------------------------------------------------------------------ */

/* In the order in which they are shown; those that nobody has thought of come before the last two. */
static const char *const first[] = {BENCH_UVFLOW, BENCH_LIBUV, "Go", "GLib", "TBB", "tokio", "nng", "xargs"};
static const char *const last[] = {BENCH_THREADS, BENCH_FLOOR};
#define FIRST (sizeof(first) / sizeof(first[0]))
#define LAST (sizeof(last) / sizeof(last[0]))

/* The others, in the order in which they were met. */
static char others[BENCH_MAX_COLUMNS][32];
static size_t others_met;

static int same(const char *column, const char *name, size_t length) {
  return strlen(column) == length && !memcmp(column, name, length);
}

const char *bench_column_of(const char *impl_name) {
  size_t length = strcspn(impl_name, ":,");
  if (length >= sizeof(others[0])) length = sizeof(others[0]) - 1;
  for (size_t i = 0; i < FIRST; i++) {
    if (same(first[i], impl_name, length)) return first[i];
  }
  for (size_t i = 0; i < LAST; i++) {
    if (same(last[i], impl_name, length)) return last[i];
  }
  for (size_t i = 0; i < others_met; i++) {
    if (same(others[i], impl_name, length)) return others[i];
  }
  if (others_met == BENCH_MAX_COLUMNS) bench_fail("more columns than there is room for", 0);
  memcpy(others[others_met], impl_name, length);
  return others[others_met++];
}

static int has_column(const bench_outcome_t *outcomes, size_t n, const char *column) {
  for (size_t i = 0; i < n; i++) {
    if (bench_best_of(&outcomes[i], column, NULL)) return 1;
  }
  return 0;
}

int bench_columns(const bench_outcome_t *outcomes, size_t n, const char *columns[], int max) {
  int count = 0;
  for (size_t i = 0; i < n; i++) { /* meets the others */
    for (int k = 0; k < outcomes[i].lanes; k++) {
      if (outcomes[i].results[k].there) bench_column_of(outcomes[i].names[k]);
    }
  }
  for (size_t i = 0; i < FIRST + others_met + LAST && count < max; i++) {
    const char *column = i < FIRST                ? first[i]
                         : i < FIRST + others_met ? others[i - FIRST]
                                                  : last[i - FIRST - others_met];
    if (has_column(outcomes, n, column)) columns[count++] = column;
  }
  return count;
}

int bench_is_peer(const char *column) {
  return strcmp(column, BENCH_UVFLOW) && strcmp(column, BENCH_LIBUV) && strcmp(column, BENCH_THREADS) &&
         strcmp(column, BENCH_FLOOR);
}

const bench_result_t *bench_best_of(const bench_outcome_t *outcome, const char *column, const char **impl_name) {
  const bench_result_t *best = NULL;
  for (int i = 0; i < outcome->lanes; i++) {
    const bench_result_t *r = &outcome->results[i];
    if (!r->there || strcmp(bench_column_of(outcome->names[i]), column)) continue;
    if (best && best->median <= r->median) continue;
    best = r;
    if (impl_name) *impl_name = outcome->names[i];
  }
  return best;
}

const bench_result_t *bench_best_peer(const bench_outcome_t *outcome, const char **column) {
  const bench_result_t *best = NULL;
  for (int i = 0; i < outcome->lanes; i++) {
    const bench_result_t *r = &outcome->results[i];
    const char *of = bench_column_of(outcome->names[i]);
    if (!r->there || !bench_is_peer(of) || (best && best->median <= r->median)) continue;
    best = r;
    if (column) *column = of;
  }
  return best;
}

double bench_ratio(const bench_outcome_t *outcome) {
  const bench_result_t *ours = bench_best_of(outcome, BENCH_UVFLOW, NULL), *peer = bench_best_peer(outcome, NULL);
  if (!ours || !peer || !(ours->median > 0)) return 0;
  return peer->ratio > 0 && ours == outcome->results ? peer->ratio : peer->median / ours->median;
}

double bench_goal(const bench_row_t *row, const bench_result_t *results) {
  if (row->goal_more > 0 && results[1].there) return results[1].median + row->goal_more;
  return row->goal_ratio > 0 ? row->goal_ratio * results[1].median : row->goal;
}

const char *bench_unit(const bench_row_t *row) { return row->flags & BENCH_BYTES ? "bytes" : "ns"; }

/* --- curves ------------------------------------------------------------------------------------------------------- */

/* Kept in order of x; of two with the same x the later stays. */
static void series_add(bench_series_t *s, const bench_outcome_t *outcome) {
  double x = outcome->row->x;
  int at = s->points;
  while (at > 0 && s->x[at - 1] >= x) at--;
  if (at == s->points || s->x[at] > x) {
    if (s->points == BENCH_MAX_POINTS) bench_fail("more points in a chart than there is room for", 0);
    for (int i = s->points++; i > at; i--) {
      s->x[i] = s->x[i - 1];
      s->at[i] = s->at[i - 1];
    }
  }
  s->x[at] = x;
  s->at[at] = outcome;
}

static void series_curves(bench_series_t *s, const char *const columns[], int count) {
  s->curves = 0;
  for (int c = 0; c < count; c++) {
    bench_curve_t *curve = &s->curve[s->curves];
    curve->column = columns[c];
    curve->points = 0;
    for (int i = 0; i < s->points; i++) {
      const bench_result_t *best = bench_best_of(s->at[i], columns[c], NULL);
      if (!best || best->median <= 0) continue;
      curve->x[curve->points] = s->x[i];
      curve->y[curve->points++] = best->median;
    }
    if (curve->points) s->curves++;
  }
}

int bench_series(const bench_outcome_t *outcomes, size_t n, bench_series_t *series, int max) {
  const char *columns[BENCH_MAX_COLUMNS];
  int count = bench_columns(outcomes, n, columns, BENCH_MAX_COLUMNS), there = 0, kept = 0;
  for (size_t i = 0; i < n; i++) {
    const bench_row_t *row = outcomes[i].row;
    int at = 0;
    if (!row->series) continue;
    while (at < there && strcmp(series[at].title, row->series)) at++;
    if (at == max) continue;
    if (at == there) series[there++] = (bench_series_t){.title = row->series, .unit = bench_unit(row)};
    series_add(&series[at], &outcomes[i]);
  }
  for (int i = 0; i < there; i++) {
    series_curves(&series[i], columns, count);
    if (series[i].points < 2 || !series[i].curves || strcmp(series[i].curve[0].column, BENCH_UVFLOW)) continue;
    if (kept != i) series[kept] = series[i];
    kept++;
  }
  return kept;
}

double bench_curve_at(const bench_curve_t *curve, double x) {
  for (int i = 0; i < curve->points; i++) {
    if (curve->x[i] == x) return curve->y[i];
  }
  return 0;
}

/* --- figures ------------------------------------------------------------------------------------------------------ */

char *bench_whole(char *buf, size_t size, double x) {
  char digits[32];
  size_t out = 0;
  int n = snprintf(digits, sizeof(digits), "%.0f", x < 1e18 ? x : 1e18);
  for (int i = 0; i < n && out + 2 < size; i++) {
    if (i > 0 && (n - i) % 3 == 0) buf[out++] = ',';
    buf[out++] = digits[i];
  }
  if (size) buf[out] = '\0';
  return buf;
}

char *bench_figure(char *buf, size_t size, double x) {
  if (x >= 99.95) return bench_whole(buf, size, x);
  snprintf(buf, size, x < 9.995 ? "%.2f" : "%.1f", x);
  return buf;
}

char *bench_amount(char *buf, size_t size, const bench_row_t *row, double x, int whole) {
  const double ms = 1e6, from = 10 * ms;
  int in_ms = !(row->flags & BENCH_BYTES) && x >= from;
  if (in_ms) x /= ms;
  (whole ? bench_whole : bench_figure)(buf, size, x);
  size_t length = strlen(buf);
  if (in_ms) snprintf(buf + length, size - length, " ms");
  return buf;
}

char *bench_count(char *buf, size_t size, double x) {
  const double million = 1e6, thousand = 1e3;
  double millions = x / million, thousands = x / thousand;
  if (millions >= 1 && millions == (double)(long long)millions) {
    snprintf(buf, size, "%.0fM", millions);
  } else if (thousands >= 1 && thousands == (double)(long long)thousands) {
    snprintf(buf, size, "%.0fk", thousands);
  } else if (x != (double)(long long)x) {
    snprintf(buf, size, "%g", x);
  } else {
    return bench_whole(buf, size, x);
  }
  return buf;
}

int bench_utf8(void) {
  static const char *const variables[] = {"LC_ALL", "LC_CTYPE", "LANG"};
  for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
    const char *value = getenv(variables[i]);
    if (!value || !*value) continue;
    return strstr(value, "UTF-8") || strstr(value, "utf-8") || strstr(value, "UTF8") || strstr(value, "utf8");
  }
  return 0;
}
