/* SPDX-License-Identifier: MIT
 *
 * Runs one row: set-up of every implementation, warm-up, then samples taken in turn.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define SAMPLES 5
#define MAX_SAMPLES 21
#define QUICK_SIZE_FROM 100000
#define QUICK_DIVISOR 100

typedef struct plan_s {
  uint64_t sample_ns; /* a sample is at least so long */
  int samples;
  size_t size;
} plan_t;

typedef struct lane_s {
  const bench_impl_t *impl;
  void *state;
  uint64_t ops; /* handed to one call of run: some twentieth of a sample */
  double figure[MAX_SAMPLES];
  double cpu[MAX_SAMPLES];
} lane_t;

static plan_t plan_of(const bench_row_t *row, const bench_options_t *o) {
  plan_t p = {
      .sample_ns = UINT64_C(300000000), .samples = row->samples ? (int)row->samples : SAMPLES, .size = row->size};
  if (o->quick) {
    p.sample_ns = UINT64_C(4000000);
    p.samples = 3;
    if (p.size >= QUICK_SIZE_FROM) p.size /= QUICK_DIVISOR;
  }
  if (row->flags & BENCH_ONCE) p.samples = 1;
  if (p.samples > MAX_SAMPLES) bench_fail("a row wants more samples than there is room for", 0);
  return p;
}

/* Runs once more and returns how much longer the sample has become. */
static uint64_t run_more(const bench_row_t *row, const lane_t *lane, bench_sample_t *s) {
  uint64_t amount = s->amount;
  uint64_t start = uv_hrtime();
  lane->impl->run(lane->state, lane->ops, s);
  return row->flags & BENCH_ELAPSED ? uv_hrtime() - start : s->amount - amount;
}

/* Finds how many operations fill a twentieth of a sample, and goes on for a third of one. */
static void warm_up(const bench_row_t *row, lane_t *lane, const plan_t *p) {
  bench_sample_t s = {0};
  uint64_t spent = 0;
  for (;;) {
    uint64_t took = run_more(row, lane, &s);
    spent += took;
    if (took < p->sample_ns / 20) {
      lane->ops *= 2;
    } else if (spent >= p->sample_ns / 3) {
      return;
    }
  }
}

static void take_sample(const bench_row_t *row, lane_t *lane, const plan_t *p, int nth) {
  bench_sample_t s = {0};
  if (row->flags & BENCH_ONCE) {
    lane->impl->run(lane->state, 1, &s);
  } else {
    for (uint64_t length = 0; length < p->sample_ns;) length += run_more(row, lane, &s);
  }
  if (!s.ops) bench_fail("a sample without operations", 0);
  lane->figure[nth] = (double)s.amount / (double)s.ops;
  lane->cpu[nth] = (double)s.cpu_ns / (double)s.ops;
}

static void summary(lane_t *lane, int samples, bench_result_t *r) {
  /* Few enough to sort by insertion; the CPU time stays with its sample. */
  for (int i = 1; i < samples; i++) {
    double figure = lane->figure[i], cpu = lane->cpu[i];
    int k = i;
    for (; k > 0 && lane->figure[k - 1] > figure; k--) {
      lane->figure[k] = lane->figure[k - 1];
      lane->cpu[k] = lane->cpu[k - 1];
    }
    lane->figure[k] = figure;
    lane->cpu[k] = cpu;
  }
  r->there = 1;
  r->median = lane->figure[samples / 2];
  r->min = lane->figure[0];
  r->max = lane->figure[samples - 1];
  r->cpu = lane->cpu[samples / 2];
}

static void sort(double *x, int n) {
  for (int i = 1; i < n; i++) {
    double v = x[i];
    int k = i;
    for (; k > 0 && x[k - 1] > v; k--) x[k] = x[k - 1];
    x[k] = v;
  }
}

/* How many of n sorted samples may be left out at each end, so that the median of what they were drawn from lies within
 * the rest with 95% confidence: whether a sample is below it is the toss of a coin. */
static int left_out(int n) {
  double chance = 1, below = 0;
  int k = 0;
  for (int i = 0; i < n; i++) chance /= 2; /* of none below */
  for (;; k++) {
    below += chance;
    if (below > 0.025) return k > 0 ? k - 1 : 0;
    chance = chance * (n - k) / (k + 1);
  }
}

/* Before the samples are sorted: they stand turn by turn. */
static void compare(const lane_t *lane, const lane_t *first, int samples, bench_result_t *r) {
  double ratios[MAX_SAMPLES];
  int out = left_out(samples);
  for (int i = 0; i < samples; i++) ratios[i] = lane->figure[i] / first->figure[i];
  sort(ratios, samples);
  r->ratio = ratios[samples / 2];
  r->ratio_low = ratios[out];
  r->ratio_high = ratios[samples - 1 - out];
}

void bench_run_row(const bench_row_t *row, const bench_options_t *o, bench_result_t results[BENCH_MAX_IMPLS]) {
  lane_t lanes[BENCH_MAX_IMPLS];
  plan_t p = plan_of(row, o);

  memset(lanes, 0, sizeof(lanes));
  memset(results, 0, BENCH_MAX_IMPLS * sizeof(*results));
  for (int i = 0; i < BENCH_MAX_IMPLS && row->impls[i]; i++) {
    if (o->impl && !strstr(row->impls[i]->name, o->impl)) continue;
    lanes[i].impl = row->impls[i];
    lanes[i].ops = 1;
    lanes[i].state = lanes[i].impl->setup(p.size);
    if (!(row->flags & BENCH_ONCE)) warm_up(row, &lanes[i], &p);
  }
  for (int nth = 0; nth < p.samples; nth++) {
    for (int i = 0; i < BENCH_MAX_IMPLS; i++) {
      if (lanes[i].impl) take_sample(row, &lanes[i], &p, nth);
    }
  }
  for (int i = 1; i < BENCH_MAX_IMPLS && p.samples > SAMPLES && lanes[0].impl; i++) {
    if (lanes[i].impl) compare(&lanes[i], &lanes[0], p.samples, &results[i]);
  }
  for (int i = 0; i < BENCH_MAX_IMPLS; i++) {
    if (!lanes[i].impl) continue;
    lanes[i].impl->teardown(lanes[i].state);
    summary(&lanes[i], p.samples, &results[i]);
  }
}
