/* SPDX-License-Identifier: MIT
 *
 * Parity rows G-1 to G-13: tokio's task tracker. A tracker is a wait group, a token one thing that was added or
 * entered, a future that is not polled yet a wait whose loop has not turned.
 */
#include "parity.h"

typedef struct waiting_s {
  uvf_wait_t wait;
  int calls;
  int status;
} waiting_t;

static void on_waited(uvf_wait_t *wait, int status) {
  waiting_t *w = wait->data;
  w->calls++;
  w->status = status;
}

static void wait_start(waiting_t *w, fixture_t *f, uvf_waitgroup_t *tracker) {
  memset(w, 0xff, sizeof *w); /* a start must not read what it finds */
  w->wait.data = w;
  w->calls = 0;
  assert_int_equal(uvf_waitgroup_wait(f->root, &w->wait, tracker, on_waited), 0);
  assert_int_equal(w->calls, 0);
}

#define assert_ready(w)                                                                                                \
  do {                                                                                                                 \
    settle(&f->loop);                                                                                                  \
    assert_int_equal((w)->calls, 1);                                                                                   \
    assert_int_equal((w)->status, 0);                                                                                  \
  } while (0)

#define assert_pending(w)                                                                                              \
  do {                                                                                                                 \
    settle(&f->loop);                                                                                                  \
    assert_int_equal((w)->calls, 0);                                                                                   \
  } while (0)

static void g01_close_and_reopen_are_idempotent_and_keep_the_count(void **state) {
  uvf_waitgroup_t tracker;
  (void)state;
  uvf_waitgroup_init(&tracker);
  for (uint64_t n = 0; n < 3; n++) {
    assert_int_equal(uvf_waitgroup_is_closed(&tracker), 0);
    assert_int_equal(uvf_waitgroup_close(&tracker), 1);
    for (int i = 0; i < 3; i++) assert_int_equal(uvf_waitgroup_close(&tracker), 0);
    assert_int_equal(uvf_waitgroup_is_closed(&tracker), 1);
    assert_int_equal(uvf_waitgroup_count(&tracker), n);
    assert_int_equal(uvf_waitgroup_reopen(&tracker), 1);
    for (int i = 0; i < 3; i++) assert_int_equal(uvf_waitgroup_reopen(&tracker), 0);
    assert_int_equal(uvf_waitgroup_count(&tracker), n);
    assert_int_equal(uvf_waitgroup_add(&tracker, 1), 0);
  }
}

static void g02_the_count_follows_the_tokens(void **state) {
  uvf_waitgroup_t tracker;
  uvf_waitgroup_entry_t tokens[20];
  (void)state;
  uvf_waitgroup_init(&tracker);
  for (uint64_t i = 0; i < ARRAY_SIZE(tokens); i++) {
    assert_int_equal(uvf_waitgroup_count(&tracker), 2 * i);
    assert_int_equal(uvf_waitgroup_enter(&tracker, &tokens[i], "token"), 0);
    assert_int_equal(uvf_waitgroup_count(&tracker), 2 * i + 1);
    assert_int_equal(uvf_waitgroup_add(&tracker, 1), 0);
  }
  for (uint64_t i = ARRAY_SIZE(tokens); i > 0; i--) {
    assert_int_equal(uvf_waitgroup_count(&tracker), 2 * i);
    assert_int_equal(uvf_waitgroup_leave(&tokens[i - 1]), 0);
    assert_int_equal(uvf_waitgroup_count(&tracker), 2 * i - 1);
    assert_int_equal(uvf_waitgroup_done(&tracker), 0);
  }
  assert_int_equal(uvf_waitgroup_count(&tracker), 0);
}

static void g03_closed_and_empty_wait_is_ready_at_once(void **state) {
  fixture_t *f = *state;
  uvf_waitgroup_t tracker;
  static waiting_t w;
  uvf_waitgroup_init(&tracker);
  assert_int_equal(uvf_waitgroup_close(&tracker), 1);
  wait_start(&w, f, &tracker);
  assert_ready(&w);
}

static void g04_a_wait_made_while_closed_and_empty_stays_ready_after_reopen(void **state) {
  fixture_t *f = *state;
  uvf_waitgroup_t tracker;
  static waiting_t w, later;
  uvf_waitgroup_init(&tracker);
  assert_int_equal(uvf_waitgroup_close(&tracker), 1);
  wait_start(&w, f, &tracker);
  assert_int_equal(uvf_waitgroup_reopen(&tracker), 1);
  wait_start(&later, f, &tracker);
  assert_ready(&w);
  assert_pending(&later);
  assert_int_equal(uvf_waitgroup_close(&tracker), 1);
  assert_ready(&later);
}

static void g05_close_wakes_waiters_if_empty(void **state) {
  fixture_t *f = *state;
  uvf_waitgroup_t tracker;
  static waiting_t w;
  uvf_waitgroup_init(&tracker);
  wait_start(&w, f, &tracker);
  assert_pending(&w);
  assert_int_equal(uvf_waitgroup_close(&tracker), 1);
  assert_ready(&w);
}

static void g06_even_if_reopened_before_they_look(void **state) {
  fixture_t *f = *state;
  uvf_waitgroup_t tracker;
  static waiting_t w;
  uvf_waitgroup_init(&tracker);
  wait_start(&w, f, &tracker);
  assert_pending(&w);
  for (int i = 0; i < 5; i++) { /* there and back any number of times */
    assert_int_equal(uvf_waitgroup_close(&tracker), 1);
    assert_int_equal(uvf_waitgroup_reopen(&tracker), 1);
  }
  assert_ready(&w);
}

static void g07_the_last_task_out_wakes(void **state) {
  fixture_t *f = *state;
  uvf_waitgroup_t tracker;
  static waiting_t w;
  uvf_waitgroup_init(&tracker);
  assert_int_equal(uvf_waitgroup_add(&tracker, 1), 0);
  assert_int_equal(uvf_waitgroup_close(&tracker), 1);
  wait_start(&w, f, &tracker);
  assert_pending(&w);
  assert_int_equal(uvf_waitgroup_done(&tracker), 0);
  assert_ready(&w);
}

static void g08_even_if_a_new_task_starts_before_they_look(void **state) {
  fixture_t *f = *state;
  uvf_waitgroup_t tracker;
  static waiting_t w;
  uvf_waitgroup_init(&tracker);
  assert_int_equal(uvf_waitgroup_add(&tracker, 1), 0);
  assert_int_equal(uvf_waitgroup_close(&tracker), 1);
  wait_start(&w, f, &tracker);
  assert_pending(&w);
  assert_int_equal(uvf_waitgroup_done(&tracker), 0);
  assert_int_equal(uvf_waitgroup_add(&tracker, 1), 0);
  assert_ready(&w);
  assert_int_equal(uvf_waitgroup_count(&tracker), 1);
}

static void g09_an_open_tracker_never_wakes_at_zero(void **state) {
  fixture_t *f = *state;
  uvf_waitgroup_t tracker;
  static waiting_t w;
  uvf_waitgroup_init(&tracker);
  wait_start(&w, f, &tracker);
  for (int i = 0; i < 10; i++) {
    uvf_waitgroup_entry_t token;
    assert_int_equal(uvf_waitgroup_add(&tracker, 1), 0);
    assert_int_equal(uvf_waitgroup_enter(&tracker, &token, NULL), 0);
    assert_int_equal(uvf_waitgroup_done(&tracker), 0);
    assert_int_equal(uvf_waitgroup_leave(&token), 0);
    assert_pending(&w);
  }
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&w.wait), 0);
  settle(&f->loop);
  assert_int_equal(w.status, UV_ECANCELED);
}

enum { TOKENS = 10 };

static void g10_closed_at_any_point_of_the_drain_it_wakes_after_the_last(void **state) {
  fixture_t *f = *state;
  for (int close_at = 0; close_at <= TOKENS; close_at++) {
    uvf_waitgroup_t tracker;
    static waiting_t w;
    uvf_waitgroup_init(&tracker);
    assert_int_equal(uvf_waitgroup_add(&tracker, TOKENS), 0);
    wait_start(&w, f, &tracker);
    for (int i = 0; i <= TOKENS; i++) {
      if (i == close_at) assert_int_equal(uvf_waitgroup_close(&tracker), 1);
      if (i == TOKENS) break;
      assert_pending(&w);
      assert_int_equal(uvf_waitgroup_done(&tracker), 0);
    }
    assert_ready(&w);
  }
}

static void g11_ten_waiters_all_wake(void **state) {
  fixture_t *f = *state;
  static waiting_t waits[10];
  for (int by_close = 0; by_close < 2; by_close++) {
    uvf_waitgroup_t tracker;
    uvf_waitgroup_init(&tracker);
    assert_int_equal(uvf_waitgroup_add(&tracker, 1), 0);
    if (!by_close) assert_int_equal(uvf_waitgroup_close(&tracker), 1);
    for (int i = 0; i < 10; i++) wait_start(&waits[i], f, &tracker);
    settle(&f->loop);
    for (int i = 0; i < 10; i++) assert_int_equal(waits[i].calls, 0);
    assert_int_equal(uvf_waitgroup_done(&tracker), 0);
    if (by_close) assert_int_equal(uvf_waitgroup_close(&tracker), 1);
    for (int i = 0; i < 10; i++) assert_ready(&waits[i]);
  }
}

static void g12_tasks_may_start_after_close(void **state) {
  fixture_t *f = *state;
  uvf_waitgroup_t tracker;
  static waiting_t w;
  uvf_waitgroup_init(&tracker);
  assert_int_equal(uvf_waitgroup_close(&tracker), 1);
  assert_int_equal(uvf_waitgroup_add(&tracker, 1), 0);
  assert_int_equal(uvf_waitgroup_count(&tracker), 1);
  wait_start(&w, f, &tracker);
  assert_pending(&w);
  assert_int_equal(uvf_waitgroup_done(&tracker), 0);
  assert_ready(&w);
}

/* A tracker counts and has no hold on what it counts: given up, the job goes on to its end, and says so elsewhere. */
typedef struct tracked_s {
  uvf_work_t job;
  gate_t go;
  int done;
  int status;
} tracked_t;

static int tracked_fn(uvf_work_t *job) {
  gate_pass(&((tracked_t *)job->data)->go);
  return 17;
}

static void tracked_done(uvf_work_t *job, int status) {
  tracked_t *t = job->data;
  t->status = status;
  t->done = 1;
}

static void g13_dropping_the_tracker_aborts_nothing(void **state) {
  fixture_t *f = *state;
  static tracked_t t;
  uvf_waitgroup_t *tracker = malloc(sizeof *tracker);
  assert_non_null(tracker);
  memset(&t, 0, sizeof t);
  gate_init(&t.go);
  t.job.data = &t;
  uvf_waitgroup_init(tracker);
  assert_int_equal(uvf_waitgroup_add(tracker, 1), 0);
  assert_int_equal(uvf_work_start(f->root, &t.job, tracked_fn, tracked_done, NULL), 0);
  settle(&f->loop);
  memset(tracker, 0xdb, sizeof *tracker);
  free(tracker);
  gate_open(&t.go, 1);
  run_until(&f->loop, &t.done, 1);
  assert_int_equal(t.status, 17);
  gate_destroy(&t.go);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(g01_close_and_reopen_are_idempotent_and_keep_the_count),
      unit(g02_the_count_follows_the_tokens),
      unit(g03_closed_and_empty_wait_is_ready_at_once),
      unit(g04_a_wait_made_while_closed_and_empty_stays_ready_after_reopen),
      unit(g05_close_wakes_waiters_if_empty),
      unit(g06_even_if_reopened_before_they_look),
      unit(g07_the_last_task_out_wakes),
      unit(g08_even_if_a_new_task_starts_before_they_look),
      unit(g09_an_open_tracker_never_wakes_at_zero),
      unit(g10_closed_at_any_point_of_the_drain_it_wakes_after_the_last),
      unit(g11_ten_waiters_all_wake),
      unit(g12_tasks_may_start_after_close),
      unit(g13_dropping_the_tracker_aborts_nothing),
  };
  return test_run(tests);
}
