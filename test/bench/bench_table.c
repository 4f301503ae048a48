/* SPDX-License-Identifier: MIT
 *
 * The table, a row at a time as it is measured, with a line for each implementation.
 */
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "bench_report.h"

static int colours;
static unsigned int forced_workers;

static const char *style(const char *code) { return colours ? code : ""; }

#define BOLD style("\033[1m")
#define DIM style("\033[2m")
#define GREEN style("\033[32m")
#define RED style("\033[31m")
#define PLAIN style("\033[0m")

/* Three digits are what these figures are worth. */
static const char *figure(char *buf, size_t size, double x) {
  snprintf(buf, size, x < 10 ? "%.2f" : x < 1000 ? "%.1f" : "%.0f", x);
  return buf;
}

/* What nothing can go below in this run, to judge the figures by on a machine of another speed. */
static void print_floors(void) {
  enum { ROUNDS = 1000000 };
  uv_mutex_t mutex;
  bench_must("uv_mutex_init", uv_mutex_init(&mutex));
  uint64_t clock_ns = UINT64_MAX, malloc_ns = UINT64_MAX, mutex_ns = UINT64_MAX;
  for (int round = 0; round < 3; round++) { /* the first warms up */
    bench_sample_t s = {0};
    size_t block = 160;
    uint64_t start = uv_hrtime();
    for (int i = 0; i < ROUNDS; i++) bench_sink = (uintptr_t)uv_hrtime();
    uint64_t took = uv_hrtime() - start;
    if (took < clock_ns) clock_ns = took;
    bench_raw_malloc.run(&block, ROUNDS, &s);
    if (s.amount < malloc_ns) malloc_ns = s.amount;
    start = uv_hrtime();
    for (int i = 0; i < ROUNDS; i++) {
      uv_mutex_lock(&mutex);
      uv_mutex_unlock(&mutex);
    }
    took = uv_hrtime() - start;
    if (took < mutex_ns) mutex_ns = took;
  }
  uv_mutex_destroy(&mutex);
  printf("floors in this run: clock read %.1f ns, malloc + free of 160 bytes %.1f ns, free mutex %.1f ns\n",
         (double)clock_ns / ROUNDS, (double)malloc_ns / ROUNDS, (double)mutex_ns / ROUNDS);
}

void bench_table_begin(const bench_options_t *o) {
  char value[8];
  size_t size = sizeof(value);
  /* A terminal, unless the reader has asked for none. A variable that is set but long does not fit: it is set. */
  colours = uv_guess_handle(1) == UV_TTY && uv_os_getenv("NO_COLOR", value, &size) == UV_ENOENT;
  forced_workers = o->workers;
  printf("uvflow %s on libuv %s; %s\n", uvf_version_string(), uv_version_string(),
         o->quick ? "--quick: cut short, the figures mean nothing"
                  : "medians of 5 samples (11 near a limit) of 0.3 s or more, taken in turn (ours, libuv, ours, ...)");
#ifndef NDEBUG
  printf("not a release build: the figures mean nothing\n");
#endif
  print_floors();
  printf("goals were set where a clock read took 47 ns and malloc + free 20: a faster machine reaches them sooner\n");
  printf("x ours: how many times the first line of its row; CPU: of all threads, per operation\n");
  printf("best peer: measured elsewhere, on another day; compare only what stands in one row of this run\n\n");
  printf("%s  %-41s %9s  %-21s %9s %7s %8s  %-8s %8s  %s%s\n", BOLD, "row and implementation", "median", "min - max",
         "CPU", "goal", "of goal", "", "x ours", "best peer", PLAIN);
  fflush(stdout);
}

static void table_line(const bench_outcome_t *outcome, int i) {
  const bench_row_t *row = outcome->row;
  const bench_result_t *r = &outcome->results[i], *ours = &outcome->results[0];
  double wanted = i == 0 ? bench_goal(row, outcome->results) : 0;
  char median[32], min[32], max[32], range[72], cpu[32] = "", goal[32] = "", of_goal[32] = "", times[32] = "";
  const char *verdict = "", *colour = "";
  figure(median, sizeof(median), r->median);
  snprintf(range, sizeof(range), "%s - %s", figure(min, sizeof(min), r->min), figure(max, sizeof(max), r->max));
  if (row->flags & BENCH_ONCE) range[0] = '\0';
  if (r->cpu > 0) figure(cpu, sizeof(cpu), r->cpu);
  if (wanted > 0) {
    snprintf(goal, sizeof(goal), "%.0f", wanted);
    snprintf(of_goal, sizeof(of_goal), "%.2f", r->median / wanted);
    verdict = r->median <= wanted ? "reached" : "missed";
    colour = r->median <= wanted ? GREEN : RED;
  }
  if (i > 0 && ours->there && ours->median > 0) snprintf(times, sizeof(times), "%.2f", r->median / ours->median);
  printf("    %-39s %9s  %-21s %9s %7s %8s  %s%-8s%s %8s  %s\n", outcome->names[i], median, range, cpu, goal, of_goal,
         colour, verdict, PLAIN, times, i == 0 && row->peer ? row->peer : "");
  if (r->ratio > 0 && r->samples > 5) {
    printf("%s      x ours, turn by turn: %.3f, with 95%% confidence %.3f - %.3f%s\n", DIM, r->ratio, r->ratio_low,
           r->ratio_high, PLAIN);
  }
}

void bench_table_row(const bench_outcome_t *outcome) {
  const bench_row_t *row = outcome->row;
  int there = 0;
  for (int i = 0; i < outcome->lanes; i++) there |= outcome->results[i].there;
  if (!there) return;
  printf("%s  %-16s%s %s%s, %s%s", BOLD, row->name, PLAIN, DIM, row->title, row->flags & BENCH_BYTES ? "bytes" : "ns",
         PLAIN);
  if (row->workers && forced_workers) printf(" (but with %u workers)", forced_workers);
  printf("\n");
  for (int i = 0; i < outcome->lanes; i++) {
    if (outcome->results[i].there) table_line(outcome, i);
  }
  fflush(stdout);
}

void bench_table_end(size_t rows) {
  printf("\n%zu rows; uvf_bench --list says what exactly each of them times\n", rows);
}
