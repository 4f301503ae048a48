/* SPDX-License-Identifier: MIT
 *
 * Runs one row: set-up of every implementation, warm-up, then samples taken in turn: ours, raw libuv, and each peer in
 * its own process, which does nothing until it is asked for a sample. Where ours and a peer are less than 30 % apart
 * after the samples that the row asks for, the row goes on to 11.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench_peer.h"

#define SAMPLES 5
#define MANY_SAMPLES 11
#define MAX_SAMPLES 21
#define CLOSE 1.3 /* this many times as slow or less: not enough to tell by a few samples */
#define QUICK_SIZE_FROM 100000
#define QUICK_DIVISOR 100

int bench_failed;

typedef struct plan_s {
  uint64_t sample_ns; /* a sample is at least so long */
  int samples;
  size_t size;
} plan_t;

typedef struct lane_s {
  const bench_impl_t *impl; /* NULL: there is none, or it is a peer's */
  void *state;
  const char *name;
  bench_child_t *peer;
  uint64_t ops; /* handed to one call of run: some fifth of a sample */
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

/* Finds how many operations fill a fifth of a sample, and goes on for a third of one. */
static void warm_up(const bench_row_t *row, lane_t *lane, const plan_t *p) {
  bench_sample_t s = {0};
  uint64_t spent = 0;
  for (;;) {
    uint64_t took = run_more(row, lane, &s);
    spent += took;
    if (took < p->sample_ns / 5) {
      lane->ops *= 2;
    } else if (spent >= p->sample_ns / 3) {
      return;
    }
  }
}

/* What it has gathered so far is thrown away: half a row of figures is none. */
static void give_up(lane_t *lane) {
  fprintf(stderr, "uvf_bench: \"%s\" is left out\n", lane->name);
  (void)bench_peer_stop(lane->peer);
  lane->peer = NULL;
  bench_failed = 1;
}

static void run_for(const bench_row_t *row, lane_t *lane, uint64_t ns, bench_sample_t *s) {
  for (uint64_t length = 0; length < ns;) length += run_more(row, lane, s);
}

static void take_sample(const bench_row_t *row, lane_t *lane, const plan_t *p, int nth) {
  bench_sample_t s = {0};
  if (lane->peer) {
    if (bench_peer_sample(lane->peer, &s)) {
      give_up(lane);
      return;
    }
  } else if (row->flags & BENCH_ONCE) {
    lane->impl->run(lane->state, 1, &s);
  } else {
    bench_sample_t not_counted = {0}; /* the others have had the processors: threads and caches find their places */
    run_for(row, lane, p->sample_ns / 2, &not_counted);
    run_for(row, lane, p->sample_ns, &s);
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
  r->samples = samples;
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

static int there(const lane_t *lane) { return lane->impl || lane->peer; }

/* Sets up and warms up the row's own implementations, then those of the peers. */
static void open_lanes(const bench_row_t *row, const bench_options_t *o, const plan_t *p,
                       lane_t lanes[BENCH_MAX_LANES]) {
  const bench_peer_work_t work = {.size = p->size,
                                  .workers = o->workers ? o->workers : row->workers,
                                  .sample_ns = p->sample_ns,
                                  .once = (row->flags & BENCH_ONCE) != 0};
  const bench_peer_impl_t *impl;
  int n = 0;
  for (; n < BENCH_MAX_IMPLS && row->impls[n]; n++) {
    lane_t *lane = &lanes[n];
    if (o->impl && !strstr(row->impls[n]->name, o->impl)) continue;
    lane->impl = row->impls[n];
    lane->name = lane->impl->name;
    lane->ops = 1;
    lane->state = lane->impl->setup(p->size);
    if (!lane->state) {
      lane->impl = NULL; /* cannot be run here */
      continue;
    }
    if (!(row->flags & BENCH_ONCE)) warm_up(row, lane, p);
  }
  for (int i = 0; (impl = bench_peer_of(row, i)) != NULL; i++, n++) {
    if (n == BENCH_MAX_LANES) bench_fail("more peers in a row than there is room for", UV_ENOBUFS);
    if (o->impl && !strstr(impl->name, o->impl)) continue;
    lanes[n].name = impl->name;
    lanes[n].peer = bench_peer_start(impl, row, &work);
    if (!lanes[n].peer) bench_failed = 1;
  }
}

static double median_of(const lane_t *lane, int samples) {
  double sorted[MAX_SAMPLES];
  memcpy(sorted, lane->figure, (size_t)samples * sizeof(*sorted));
  sort(sorted, samples);
  return sorted[samples / 2];
}

/* Is a peer so near to ours that it takes more samples to tell which is ahead? */
static int too_close(const lane_t lanes[BENCH_MAX_LANES], int samples) {
  if (!lanes[0].impl) return 0;
  double ours = median_of(&lanes[0], samples);
  for (int i = 1; i < BENCH_MAX_LANES; i++) {
    if (!lanes[i].peer) continue;
    double ratio = median_of(&lanes[i], samples) / ours;
    if (ratio < CLOSE && ratio > 1 / CLOSE) return 1;
  }
  return 0;
}

void bench_run_row(const bench_row_t *row, const bench_options_t *o, bench_outcome_t *outcome) {
  lane_t lanes[BENCH_MAX_LANES];
  plan_t p = plan_of(row, o);

  memset(lanes, 0, sizeof(lanes));
  bench_outcome_init(row, outcome);
  open_lanes(row, o, &p, lanes);
  for (int nth = 0; nth < p.samples; nth++) {
    for (int i = 0; i < BENCH_MAX_LANES; i++) {
      if (there(&lanes[i])) take_sample(row, &lanes[i], &p, nth);
    }
    if (nth == p.samples - 1 && nth + 1 >= SAMPLES && p.samples < MANY_SAMPLES && too_close(lanes, p.samples)) {
      p.samples = MANY_SAMPLES;
    }
  }
  for (int i = 1; i < BENCH_MAX_LANES && p.samples > 1 && lanes[0].impl; i++) {
    if (there(&lanes[i])) compare(&lanes[i], &lanes[0], p.samples, &outcome->results[i]);
  }
  for (int i = 0; i < BENCH_MAX_LANES; i++) {
    if (!there(&lanes[i])) continue;
    if (lanes[i].impl) lanes[i].impl->teardown(lanes[i].state);
    if (lanes[i].peer && bench_peer_stop(lanes[i].peer)) bench_failed = 1;
    summary(&lanes[i], p.samples, &outcome->results[i]);
  }
}

void bench_outcome_init(const bench_row_t *row, bench_outcome_t *outcome) {
  const bench_peer_impl_t *impl;
  memset(outcome, 0, sizeof(*outcome));
  outcome->row = row;
  while (outcome->lanes < BENCH_MAX_IMPLS && row->impls[outcome->lanes]) {
    outcome->names[outcome->lanes] = row->impls[outcome->lanes]->name;
    outcome->lanes++;
  }
  for (int i = 0; (impl = bench_peer_of(row, i)) != NULL && outcome->lanes < BENCH_MAX_LANES; i++) {
    outcome->names[outcome->lanes++] = impl->name;
  }
}
