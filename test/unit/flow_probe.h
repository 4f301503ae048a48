/* SPDX-License-Identifier: MIT
 *
 * What the tests of runs share: items that are numbers, and a ledger of what became of each; stages in a line; a run to
 * its end.
 */
#ifndef UVFLOW_TEST_FLOW_PROBE_H
#define UVFLOW_TEST_FLOW_PROBE_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow/flow.h"
#include "support/support.h"

#define ITEMS_MAX 200000u

/* --- items: numbers from 1, each of which is born once and ends once ------------------------------ */

static struct {
  atomic_uint next;
  atomic_int alive, most;
  atomic_int wrong;                 /* ended twice, or never born */
  atomic_uchar fate[ITEMS_MAX + 1]; /* 1: alive, 2: ended */
} items;

static inline void items_reset(void) {
  unsigned int used = atomic_load(&items.next);
  for (unsigned int i = 0; i <= used && i <= ITEMS_MAX; i++)
    atomic_store_explicit(&items.fate[i], 0, memory_order_relaxed);
  atomic_store(&items.next, 0);
  atomic_store(&items.alive, 0);
  atomic_store(&items.most, 0);
  atomic_store(&items.wrong, 0);
}

static inline uintptr_t id_of(const void *item) { return (uintptr_t)item; }

/* NULL: no more than that. */
static inline void *item_born(void) {
  unsigned int id = atomic_fetch_add(&items.next, 1) + 1;
  int alive;
  int most;
  if (id > ITEMS_MAX) {
    atomic_fetch_sub(&items.next, 1);
    return NULL;
  }
  atomic_store(&items.fate[id], 1);
  alive = atomic_fetch_add(&items.alive, 1) + 1;
  most = atomic_load(&items.most);
  while (alive > most && !atomic_compare_exchange_weak(&items.most, &most, alive)) {}
  return (void *)(uintptr_t)id;
}

static inline void item_end(void *item) {
  uintptr_t id = id_of(item);
  if (id == 0 || id > ITEMS_MAX || atomic_exchange(&items.fate[id], 2) != 1) {
    atomic_fetch_add(&items.wrong, 1);
    return;
  }
  atomic_fetch_sub(&items.alive, 1);
}

/* Hands it on; if nobody takes it, ends it. */
static inline int item_pass(uvf_flow_t *flow, unsigned int port, void *item) {
  int rc = uvf_emit(flow, port, item);
  if (rc != 0) item_end(item);
  return rc;
}

static inline void assert_items_ended(void) {
  assert_int_equal(atomic_load(&items.wrong), 0);
  assert_int_equal(atomic_load(&items.alive), 0);
  for (unsigned int i = 1; i <= atomic_load(&items.next); i++) assert_int_equal(atomic_load(&items.fate[i]), 2);
}

/* --- runs ----------------------------------------------------------------------------------------- */

typedef struct run_s {
  int done;
  int status;
} run_t;

static inline void on_run_done(uvf_pipeline_t *p, int status, void *arg) {
  run_t *run = arg;
  (void)p;
  run->done++;
  run->status = status;
}

static inline int run_to_end(fixture_t *f, uvf_ctx_t *ctx, uvf_pipeline_t *p) {
  run_t run = {0, 1};
  assert_int_equal(uvf_pipeline_run(ctx, p, on_run_done, &run), 0);
  assert_int_equal(run.done, 0);
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(run.done, 1);
  return run.status;
}

/* --- waiting for what has no callback ---------------------------------------------------------------- */

typedef struct poll_s {
  int (*seen)(void *arg);
  void *arg;
  int done;
} poll_t;

static inline void on_poll(uv_timer_t *timer) {
  poll_t *poll = timer->data;
  if (poll->seen(poll->arg)) poll->done = 1;
}

/* Runs the loop until seen(arg) says 1, which it is asked every millisecond on this thread. */
static inline void run_until_seen(uv_loop_t *loop, int (*seen)(void *arg), void *arg) {
  uv_timer_t timer;
  poll_t poll = {seen, arg, 0};
  assert_int_equal(uv_timer_init(loop, &timer), 0);
  timer.data = &poll;
  assert_int_equal(uv_timer_start(&timer, on_poll, 0, 1), 0);
  run_until(loop, &poll.done, 1);
  uv_close((uv_handle_t *)&timer, NULL);
  run_ready(loop);
}

static inline int poll_is_past(void *arg) { return uv_hrtime() >= *(uint64_t *)arg; }

/* For what must not happen: lets it time to. */
static inline void run_for(uv_loop_t *loop, uint64_t ms) {
  uint64_t until_ns = uv_hrtime() + ms * MS_NS;
  run_until_seen(loop, poll_is_past, &until_ns);
}

/* After a run: what came to each stage is accounted for, and what was emitted has come. */
static inline void assert_balanced(const uvf_pipeline_t *p) {
  uint64_t emitted = 0;
  uint64_t came = 0;
  for (size_t i = 0; i < p->nstages; i++) {
    const uvf_stage_t *s = uvf_pipeline_stage(p, i);
    assert_int_equal(s->in, s->done + s->failed + s->dropped);
    assert_int_equal(s->queued, 0);
    assert_int_equal(s->active, 0);
    emitted += s->out;
    if (!uvf__stage_pulls(s)) came += s->in;
  }
  assert_int_equal(emitted, came);
}

#endif
