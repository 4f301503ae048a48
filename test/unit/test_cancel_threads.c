/* SPDX-License-Identifier: MIT
 *
 * Cancel from other threads: the context at once, its descendants when the loop has run, and what each side sees.
 */
#include <stdatomic.h>

#include "unit/probe.h"

typedef struct order_s {
  uvf_ctx_t *ctx;
  int cause;
  void *data;
  int err_after, cause_after; /* as the cancelling thread saw them on return */
} order_t;

static void carry_out(void *arg) {
  order_t *order = arg;
  uvf_ctx_cancel_cause(order->ctx, order->cause, order->data);
  order->err_after = uvf_ctx_err(order->ctx);
  order->cause_after = uvf_ctx_cause(order->ctx, NULL);
}

/* Does what carry_out does from a thread that runs a loop with a root, and from one that runs none. */
static void carry_out_on(int with_loop, order_t *order) {
  if (with_loop) {
    lane_t lane;
    lane_start(&lane);
    lane_call(&lane, carry_out, order);
    lane_stop(&lane);
  } else {
    on_thread(carry_out, order);
  }
}

static void cancel_from_another_thread_ends_the_context_at_once_and_its_descendants_when_the_loop_ran(void **state) {
  fixture_t *f = *state;
  for (int with_loop = 0; with_loop < 2; with_loop++) {
    for (int known = 0; known < 2; known++) {
      uvf_ctx_t *ctx = timeout_of(f->root, HOUR_MS), *middle = timeout_of(ctx, HOUR_MS / 2), *below = child_of(middle);
      order_t order = {.ctx = ctx, .cause = -9, .data = f};
      probe_t probe = {0};
      void *data = NULL;
      if (known) turn(&f->loop); /* the loop has run before and its thread is known */
      probe_start(&probe, below, 0, NULL);
      carry_out_on(with_loop, &order);
      assert_int_equal(order.err_after, UV_ECANCELED);
      assert_int_equal(order.cause_after, -9);
      assert_over(ctx, UV_ECANCELED, -9);
      run_until(&f->loop, &probe.calls, 1);
      assert_int_equal(probe.status, UV_ECANCELED);
      assert_over(middle, UV_ECANCELED, -9);
      assert_int_equal(uvf_ctx_cause(below, &data), -9);
      assert_ptr_equal(data, f);
      assert_int_equal(stats_of(f->root).deadlines, 0);
      assert_int_equal(counts_of(f->root).children, 0);
      uvf_ctx_release(ctx);
      uvf_ctx_release(middle);
      uvf_ctx_release(below);
    }
  }
}

static void the_completions_of_a_cancel_from_another_thread_keep_the_order(void **state) {
  fixture_t *f = *state;
  journal_t journal = {0};
  uvf_ctx_t *a = child_of(f->root), *b = child_of(a);
  order_t order = {.ctx = a, .cause = 0};
  probe_t probes[4] = {0};
  probe_start(&probes[0], a, 10, &journal);
  probe_start(&probes[1], b, 20, &journal);
  probe_start(&probes[2], a, 11, &journal);
  probe_start(&probes[3], b, 21, &journal);
  on_thread(carry_out, &order);
  assert_over(a, UV_ECANCELED, UV_ECANCELED);
  run_until(&f->loop, &journal.n, 4);
  assert_journal(&journal, 21, 20, 11, 10);
  uvf_ctx_release(a);
  uvf_ctx_release(b);
}

static void cancel_from_another_thread_wakes_a_loop_that_sleeps_in_its_poll(void **state) {
  fixture_t *f = *state;
  uint64_t begin = uv_hrtime();
  for (int i = 0; i < 200; i++) {
    uvf_ctx_t *ctx = child_of(f->root), *below = child_of(ctx);
    order_t order = {.ctx = ctx, .cause = -i - 1};
    probe_t probe = {0};
    uv_thread_t thread;
    probe_start(&probe, below, 0, NULL);
    assert_int_equal(uv_thread_create(&thread, carry_out, &order), 0);
    run_until(&f->loop, &probe.calls, 1); /* nothing else holds the loop or would wake it */
    assert_int_equal(uv_thread_join(&thread), 0);
    assert_over(below, UV_ECANCELED, -i - 1);
    uvf_ctx_release(ctx);
    uvf_ctx_release(below);
  }
  assert_true(uv_hrtime() - begin < 200 * GENEROUS_NS);
}

static void a_cancel_from_another_thread_does_not_hold_the_loop_and_is_applied_when_it_next_runs(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root), *below = child_of(ctx);
  order_t order = {.ctx = ctx, .cause = -9};
  probe_t probe = {0};
  on_thread(carry_out, &order);
  assert_int_equal(uv_loop_alive(&f->loop), 0);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  probe_start(&probe, below, 0, NULL); /* something that holds it */
  run_until(&f->loop, &probe.calls, 1);
  assert_over(below, UV_ECANCELED, -9);
  uvf_ctx_release(ctx);
  uvf_ctx_release(below);
}

static void a_cancel_from_another_thread_is_applied_at_close_and_its_cause_stays_first(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root), *below = child_of(ctx);
  order_t order = {.ctx = ctx, .cause = -9};
  on_thread(carry_out, &order);
  fixture_close_root(f);
  assert_over(ctx, UV_ECANCELED, -9);
  assert_int_equal(uvf_ctx_err(below), UV_ECANCELED);
  uvf_ctx_release(ctx);
  uvf_ctx_release(below);
}

static void cancel_and_release(void *arg) {
  uvf_ctx_cancel(arg);
  uvf_ctx_release(arg);
}

static void the_cancelling_thread_may_release_the_last_reference_at_once(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 100; i++) {
    uvf_ctx_t *ctx = timeout_of(f->root, HOUR_MS), *below = child_of(ctx);
    probe_t probe = {0};
    probe_start(&probe, below, 0, NULL);
    uvf_ctx_release(below);
    on_thread(cancel_and_release, ctx);
    run_until(&f->loop, &probe.calls, 1);
    assert_int_equal(probe.status, UV_ECANCELED);
  }
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).contexts, 1);
}

/* --- who sees what --- */

typedef struct witness_s {
  uvf_ctx_t *ctx;
  int payload; /* written by the canceller before the cancel, read after err was seen */
  int bad;
} witness_t;

static void watch_err(void *arg) {
  witness_t *witness = arg;
  void *data = NULL;
  while (uvf_ctx_err(witness->ctx) == 0) {}
  if (uvf_ctx_err(witness->ctx) != UV_ECANCELED) witness->bad = 1;
  if (uvf_ctx_cause(witness->ctx, &data) != -42) witness->bad = 2;
  if (data != witness) witness->bad = 3;
  if (witness->payload != 4711) witness->bad = 4;
}

static void a_thread_that_sees_err_sees_the_cause_and_what_was_written_before_the_cancel(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 300; i++) {
    uvf_ctx_t *ctx = child_of(f->root), *below = child_of(ctx);
    witness_t witness = {.ctx = i % 2 ? ctx : below};
    uv_thread_t thread;
    assert_int_equal(uv_thread_create(&thread, watch_err, &witness), 0);
    witness.payload = 4711;
    uvf_ctx_cancel_cause(ctx, -42, &witness);
    assert_int_equal(uv_thread_join(&thread), 0);
    assert_int_equal(witness.bad, 0);
    uvf_ctx_release(ctx);
    uvf_ctx_release(below);
  }
}

typedef struct race_s {
  uvf_ctx_t *ctx;
  atomic_int *waiting; /* the last one in opens the race for all */
  int code;
  int seen;
} race_t;

static void race(void *arg) {
  race_t *runner = arg;
  void *data = NULL;
  atomic_fetch_sub(runner->waiting, 1);
  while (atomic_load(runner->waiting) > 0) {}
  uvf_ctx_cancel_cause(runner->ctx, runner->code, (void *)(uintptr_t)-runner->code);
  runner->seen = uvf_ctx_cause(runner->ctx, &data);
  if (data != (void *)(uintptr_t)-runner->seen) runner->seen = 1;
  if (uvf_ctx_err(runner->ctx) != UV_ECANCELED) runner->seen = 2;
}

static void of_many_cancels_at_once_one_wins_and_all_agree_on_it(void **state) {
  fixture_t *f = *state;
  for (int round = 0; round < 100; round++) {
    uvf_ctx_t *ctx = child_of(f->root), *below = child_of(ctx);
    race_t runners[4];
    uv_thread_t threads[ARRAY_SIZE(runners)];
    atomic_int waiting = ARRAY_SIZE(runners);
    probe_t probe = {0};
    probe_start(&probe, below, 0, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(runners); i++) {
      runners[i] = (race_t){.ctx = ctx, .waiting = &waiting, .code = -(int)i - 1};
      assert_int_equal(uv_thread_create(&threads[i], race, &runners[i]), 0);
    }
    run_until(&f->loop, &probe.calls, 1);
    for (size_t i = 0; i < ARRAY_SIZE(runners); i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
    for (size_t i = 0; i < ARRAY_SIZE(runners); i++) assert_int_equal(runners[i].seen, runners[0].seen);
    assert_in_range(-runners[0].seen, 1, ARRAY_SIZE(runners));
    assert_over(below, UV_ECANCELED, runners[0].seen);
    turn(&f->loop);
    assert_int_equal(probe.calls, 1);
    uvf_ctx_release(ctx);
    uvf_ctx_release(below);
  }
}

static void a_child_derived_while_another_thread_cancels_its_parent_always_ends_with_the_parents_cause(void **state) {
  fixture_t *f = *state;
  for (int round = 0; round < 300; round++) {
    uvf_ctx_t *parent = child_of(f->root), *child;
    order_t order = {.ctx = parent, .cause = -round - 1};
    probe_t probe = {0};
    uv_thread_t thread;
    assert_int_equal(uv_thread_create(&thread, carry_out, &order), 0);
    child = child_of(parent);
    probe_start(&probe, child, 0, NULL);
    run_until(&f->loop, &probe.calls, 1);
    assert_int_equal(uv_thread_join(&thread), 0);
    assert_int_equal(probe.status, UV_ECANCELED);
    assert_over(child, UV_ECANCELED, -round - 1);
    uvf_ctx_release(parent);
    uvf_ctx_release(child);
  }
}

static void ask_everything(void *arg) {
  static int key;
  uvf_ctx_t *ctx = arg;
  (void)uvf_ctx_value(ctx, &key);
  (void)uvf_ctx_find(ctx, &key, NULL);
  (void)uvf_ctx_loop(ctx);
  (void)uvf_ctx_deadline_ns(ctx);
  for (int i = 0; i < 20000; i++) {
    (void)uvf_ctx_err(ctx);
    (void)uvf_ctx_cause(ctx, NULL);
    if (i % 100 == 0) (void)uvf_ctx_remaining_ms(ctx);
  }
}

static void asking_from_many_threads_while_the_loop_ends_it_is_free_of_races(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 2);
  uv_thread_t threads[4];
  probe_t probe = {0};
  probe_start(&probe, ctx, 0, NULL);
  for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
    assert_int_equal(uv_thread_create(&threads[i], ask_everything, ctx), 0);
  }
  run_until(&f->loop, &probe.calls, 1);
  for (size_t i = 0; i < ARRAY_SIZE(threads); i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
  assert_over(ctx, UV_ETIMEDOUT, UV_ETIMEDOUT);
  uvf_ctx_release(ctx);
}

/* --- many posts --- */

enum { FLOODERS = 4, TICKS = 20 };

typedef struct flood_s {
  uvf_ctx_t *ctx;
  uvf_watch_t *watch;
  atomic_int enough, posting, ticks, ticks_when_over, last_answer;
  uint64_t end;
} flood_t;

static void flood(void *arg) {
  flood_t *f = arg;
  while (!atomic_load(&f->enough) && uv_hrtime() < f->end) {
    int rc = uvf_watch_stop_wait(f->ctx, f->watch, 0); /* does not wait for the answer: a flood */
    if (rc < 0 && rc != UV_ETIMEDOUT) break;
  }
  atomic_store(&f->ticks_when_over, atomic_load(&f->ticks));
  atomic_fetch_sub(&f->posting, 1);
}

/* Posts are answered in order: when this one is, all before it were, and the watcher's memory is free to go. */
static void ask_last(void *arg) {
  flood_t *f = arg;
  atomic_store(&f->last_answer, uvf_watch_stop_wait(f->ctx, f->watch, UVF_WAIT_FOREVER));
  atomic_store(&f->posting, -1);
}

static void on_tick(uv_timer_t *timer) {
  flood_t *f = timer->data;
  if (atomic_fetch_add(&f->ticks, 1) + 1 == TICKS) atomic_store(&f->enough, 1);
}

static void while_other_threads_post_without_end_the_loops_own_timers_go_on(void **state) {
  fixture_t *f = *state;
  probe_t probe = {0};
  flood_t over = {.ctx = child_of(f->root), .watch = &probe.watch, .end = uv_hrtime() + GENEROUS_NS};
  uv_thread_t threads[FLOODERS];
  uv_timer_t timer;
  atomic_init(&over.posting, FLOODERS);
  probe_start(&probe, over.ctx, 0, NULL);
  assert_int_equal(uv_timer_init(&f->loop, &timer), 0);
  timer.data = &over;
  assert_int_equal(uv_timer_start(&timer, on_tick, 1, 1), 0);
  for (size_t i = 0; i < FLOODERS; i++) assert_int_equal(uv_thread_create(&threads[i], flood, &over), 0);
  while (atomic_load(&over.posting) > 0) uv_run(&f->loop, UV_RUN_NOWAIT);
  for (size_t i = 0; i < FLOODERS; i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
  assert_int_equal(uv_thread_create(&threads[0], ask_last, &over), 0);
  while (atomic_load(&over.posting) >= 0) uv_run(&f->loop, UV_RUN_NOWAIT);
  assert_int_equal(uv_thread_join(&threads[0]), 0);
  assert_int_equal(atomic_load(&over.last_answer), UVF_STOP_DONE);
  uv_close((uv_handle_t *)&timer, NULL);
  turn(&f->loop);
  assert_in_range(atomic_load(&over.ticks_when_over), TICKS, 1 << 30); /* while they still posted, not after */
  assert_int_equal(probe.calls, 0);                                    /* the first of their stops removed it */
  uvf_ctx_release(over.ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(cancel_from_another_thread_ends_the_context_at_once_and_its_descendants_when_the_loop_ran),
      unit(the_completions_of_a_cancel_from_another_thread_keep_the_order),
      unit(cancel_from_another_thread_wakes_a_loop_that_sleeps_in_its_poll),
      unit(a_cancel_from_another_thread_does_not_hold_the_loop_and_is_applied_when_it_next_runs),
      unit(a_cancel_from_another_thread_is_applied_at_close_and_its_cause_stays_first),
      unit(the_cancelling_thread_may_release_the_last_reference_at_once),
      unit(a_thread_that_sees_err_sees_the_cause_and_what_was_written_before_the_cancel),
      unit(of_many_cancels_at_once_one_wins_and_all_agree_on_it),
      unit(a_child_derived_while_another_thread_cancels_its_parent_always_ends_with_the_parents_cause),
      unit(asking_from_many_threads_while_the_loop_ends_it_is_free_of_races),
      unit(while_other_threads_post_without_end_the_loops_own_timers_go_on),
  };
  return test_run(tests);
}
