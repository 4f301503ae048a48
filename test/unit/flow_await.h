/* SPDX-License-Identifier: MIT
 *
 * What tests of runs share that wait for one thing while another is held: the wait gives up after a while, so that what
 * would hang is let go before it is called a failure.
 */
#ifndef UVFLOW_TEST_FLOW_AWAIT_H
#define UVFLOW_TEST_FLOW_AWAIT_H

#include "unit/flow_nodes.h"

#define PATIENCE_MS 5000u

typedef struct awaited_s {
  int (*seen)(void *arg);
  void *arg;
  uint64_t until_ns;
  int came;
} awaited_t;

static inline int came_or_late(void *arg) {
  awaited_t *a = arg;
  a->came = a->seen(a->arg);
  return a->came || uv_hrtime() >= a->until_ns;
}

static inline int comes_in_time(uv_loop_t *loop, int (*seen)(void *arg), void *arg) {
  awaited_t a = {seen, arg, uv_hrtime() + PATIENCE_MS * MS_NS, 0};
  run_until_seen(loop, came_or_late, &a);
  return a.came;
}

typedef struct count_s {
  const atomic_int *at;
  int least;
} count_t;

static inline int has_come_to(void *arg) {
  const count_t *c = arg;
  return atomic_load(c->at) >= c->least;
}

static inline void start_run(fixture_t *f, run_t *run) {
  *run = (run_t){0, 1};
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, run), 0);
}

static inline void finish_run(fixture_t *f, run_t *run, int status) {
  run_until(&f->loop, &run->done, 1);
  assert_int_equal(run->status, status);
}

static uvf_flow_t *kept; /* of ASYNC: its call goes on */

static int keeps(uvf_flow_t *flow, void *item) {
  (void)item;
  kept = flow;
  return 0;
}

#endif
