/* SPDX-License-Identifier: MIT
 *
 * The table side by side as README.md has it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench_report.h"

static int in_table(const bench_outcome_t *outcome) {
  return outcome->row->flags & BENCH_SIDE && bench_best_of(outcome, BENCH_UVFLOW, NULL);
}

/* A column of peers that has a figure in some row of the table. */
static int wanted(const bench_outcome_t *outcomes, size_t n, const char *column) {
  if (!bench_is_peer(column)) return 0;
  for (size_t i = 0; i < n; i++) {
    if (in_table(&outcomes[i]) && bench_best_of(&outcomes[i], column, NULL)) return 1;
  }
  return 0;
}

static int peers_of(const bench_outcome_t *outcomes, size_t n, const char *peers[BENCH_MAX_COLUMNS]) {
  const char *columns[BENCH_MAX_COLUMNS];
  int count = bench_columns(outcomes, n, columns, BENCH_MAX_COLUMNS), kept = 0;
  for (int i = 0; i < count; i++) {
    if (wanted(outcomes, n, columns[i])) peers[kept++] = columns[i];
  }
  return kept;
}

static void put_head(FILE *out, const char *const peers[], int count) {
  fprintf(out, "| ns per operation | goal | raw libuv | uvflow |");
  for (int i = 0; i < count; i++) fprintf(out, " %s |", peers[i]);
  fprintf(out, "%s\n|---|--:|--:|--:|", count ? " best peer / uvflow |" : "");
  for (int i = 0; i < count; i++) fprintf(out, "--:|");
  fprintf(out, "%s\n", count ? "---|" : "");
}

/* A bar would end the cell. */
static void put_title(FILE *out, const bench_row_t *row) {
  fprintf(out, "| ");
  for (const char *c = row->title; *c; c++) fprintf(out, *c == '|' ? "\\|" : "%c", *c);
  if (row->flags & BENCH_BYTES && !strstr(row->title, "bytes")) fprintf(out, ", bytes");
}

static void put_figure(FILE *out, const bench_row_t *row, const bench_result_t *r, const char *format) {
  char text[32] = "";
  if (r) bench_amount(text, sizeof(text), row, r->median, 0);
  fprintf(out, r ? format : " | %s", text);
}

/* Plain libuv's figure, or what else the row is compared with. */
static void put_by_hand(FILE *out, const bench_outcome_t *o) {
  const bench_result_t *threads = bench_best_of(o, BENCH_THREADS, NULL), *libuv = bench_best_of(o, BENCH_LIBUV, NULL);
  if (libuv) {
    put_figure(out, o->row, libuv, " | %s");
  } else if (threads) {
    put_figure(out, o->row, threads, " | %s (threads)");
  } else {
    put_figure(out, o->row, bench_best_of(o, BENCH_FLOOR, NULL), " | %s (floor)");
  }
}

static void put_row(FILE *out, const bench_outcome_t *o, const char *const peers[], int count) {
  const char *column = "";
  const bench_result_t *ours = bench_best_of(o, BENCH_UVFLOW, NULL), *best = bench_best_peer(o, &column);
  double goal = bench_goal(o->row, o->results);
  char text[32] = "";
  put_title(out, o->row);
  fprintf(out, " | %s", goal > 0 ? bench_amount(text, sizeof(text), o->row, goal, 1) : "");
  put_by_hand(out, o);
  put_figure(out, o->row, ours, best && ours->median <= best->median ? " | **%s**" : " | %s");
  for (int i = 0; i < count; i++) put_figure(out, o->row, bench_best_of(o, peers[i], NULL), " | %s");
  if (best) {
    fprintf(out, " | %s (%s)", bench_figure(text, sizeof(text), bench_ratio(o)), column);
  } else if (count) {
    fprintf(out, " | ");
  }
  fprintf(out, " |\n");
}

static void put_table(FILE *out, const bench_outcome_t *outcomes, size_t n, const char *machine) {
  const char *peers[BENCH_MAX_COLUMNS];
  int count = peers_of(outcomes, n, peers);
  put_head(out, peers, count);
  for (size_t i = 0; i < n; i++) {
    if (in_table(&outcomes[i])) put_row(out, &outcomes[i], peers, count);
  }
  fprintf(out,
          "\nMedians of one run of `sh test/bench/run`, every implementation sampled in turn, the best one of each "
          "column; bold where uvflow is ahead of every peer. (threads): by hand, with a mutex and conditions; (floor): "
          "what nothing can go below. uvflow %s; %s.\n",
          uvf_version_string(), machine);
}

int bench_markdown(const char *file, const bench_outcome_t *outcomes, size_t n, const char *machine) {
  FILE *out = fopen(file, "w");
  int err = 0;
  if (!out) return uv_translate_sys_error(errno);
  put_table(out, outcomes, n, machine);
  if (ferror(out)) err = UV_EIO;
  if (fclose(out)) err = uv_translate_sys_error(errno);
  return err;
}
