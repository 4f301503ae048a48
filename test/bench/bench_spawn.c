/* SPDX-License-Identifier: MIT
 *
 * Rows with a process of their own: this program once more, which writes one line for each implementation to its
 * standard output, peers' ones after the row's own:
 *   <index> <samples> <median> <min> <max> <cpu> <ratio> <ratio, low> <ratio, high>
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench_child.h"

void bench_child_report(const bench_outcome_t *outcome) {
  for (int i = 0; i < outcome->lanes; i++) {
    const bench_result_t *r = &outcome->results[i];
    if (!r->there) continue;
    printf("%d %d %.6f %.6f %.6f %.6f %.6f %.6f %.6f\n", i, r->samples, r->median, r->min, r->max, r->cpu, r->ratio,
           r->ratio_low, r->ratio_high);
  }
}

static void parse(const char *line, bench_outcome_t *outcome) {
  int i;
  bench_result_t r = {.there = 1};
  int fields = sscanf(line, "%d %d %lf %lf %lf %lf %lf %lf %lf", &i, &r.samples, &r.median, &r.min, &r.max, &r.cpu,
                      &r.ratio, &r.ratio_low, &r.ratio_high);
  if (fields != 9 || i < 0 || i >= outcome->lanes) bench_fail("the child wrote something else than results", 0);
  outcome->results[i] = r;
}

/* This program's arguments for the row. */
static void arguments(const bench_row_t *row, const bench_options_t *o, const char *workers, const char *args[]) {
  int n = 0;
  args[n++] = "--child";
  args[n++] = "--row";
  args[n++] = row->name;
  if (row->workers) {
    args[n++] = "--workers";
    args[n++] = workers;
  }
  if (o->quick) args[n++] = "--quick";
  if (o->impl) {
    args[n++] = "--impl";
    args[n++] = o->impl;
  }
  if (o->peers) {
    args[n++] = "--peers";
    args[n++] = o->peers;
  }
  args[n] = NULL;
}

void bench_spawn_row(const bench_row_t *row, const bench_options_t *o, bench_outcome_t *outcome) {
  char exe[4096], workers[16], line[512];
  size_t exe_size = sizeof(exe);
  const char *args[12];

  bench_outcome_init(row, outcome);
  bench_must("uv_exepath", uv_exepath(exe, &exe_size));
  snprintf(workers, sizeof(workers), "%u", o->workers ? o->workers : row->workers);
  arguments(row, o, workers, args);
  bench_child_t *child = bench_child_start(exe, args, 8192);
  while (!bench_child_line(child, line, sizeof(line))) parse(line, outcome);
  int code = bench_child_end(child);
  if (code && code != BENCH_EXIT_PEER) bench_fail("a child process has failed", 0);
  if (code) bench_failed = 1;
}
