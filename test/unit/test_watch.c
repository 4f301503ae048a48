/* SPDX-License-Identifier: MIT
 *
 * Watchers: on_done before and after the end, and what a stop answers in each state, also from others.
 */
#include "unit/probe.h"

/* --- on_done --- */

static void a_watcher_is_called_once_after_the_end_with_the_contexts_err(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *cancelled = child_of(f->root), *timed = timeout_of(f->root, 2);
  probe_t probes[3] = {0};
  probe_start(&probes[0], cancelled, 0, NULL);
  probe_start(&probes[1], timed, 0, NULL);
  turn(&f->loop);
  assert_int_equal(probes[0].calls, 0);
  uvf_ctx_cancel(cancelled);
  assert_int_equal(probes[0].calls, 0); /* never inside */
  run_until(&f->loop, &probes[0].calls, 1);
  run_until(&f->loop, &probes[1].calls, 1);
  probe_start(&probes[2], cancelled, 0, NULL); /* already over: soon, but not inside this call */
  assert_int_equal(probes[2].calls, 0);
  run_until(&f->loop, &probes[2].calls, 1);
  turn(&f->loop);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(probes[i].calls, 1);
    assert_int_equal(probes[i].status, i == 1 ? UV_ETIMEDOUT : UV_ECANCELED);
    assert_int_equal(probes[i].watch.status, probes[i].status);
  }
  uvf_ctx_release(cancelled);
  uvf_ctx_release(timed);
}

static void watchers_on_one_context_are_independent(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  probe_t probes[100] = {0};
  int called = 0;
  for (int i = 0; i < 100; i++) probe_start(&probes[i], ctx, i, NULL);
  assert_int_equal(counts_of(ctx).watchers, 100);
  for (int i = 0; i < 100; i += 3) assert_int_equal(uvf_watch_stop(&probes[i].watch), UVF_STOP_REMOVED);
  assert_int_equal(counts_of(ctx).watchers, 66);
  uvf_ctx_cancel(ctx);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  for (int i = 0; i < 100; i++) called += probes[i].calls;
  for (int i = 0; i < 100; i += 3) assert_int_equal(probes[i].calls, 0);
  assert_int_equal(called, 66);
  uvf_ctx_release(ctx);
}

static void a_watcher_holds_the_loop_and_the_context_until_it_was_called_or_stopped(void **state) {
  fixture_t *f = *state;
  for (int stop = 0; stop < 2; stop++) {
    uvf_ctx_t *ctx = child_of(f->root);
    probe_t probe = {0};
    assert_int_equal(uv_loop_alive(&f->loop), 0);
    probe_start(&probe, ctx, 0, NULL);
    assert_int_not_equal(uv_loop_alive(&f->loop), 0);
    uvf_ctx_retain(ctx);
    uvf_ctx_release(ctx);
    uvf_ctx_release(ctx);
    assert_int_equal(stats_of(f->root).contexts, 2);
    if (stop) {
      assert_int_equal(uvf_watch_stop(&probe.watch), UVF_STOP_REMOVED);
    } else {
      uvf_ctx_cancel(probe.watch.ctx);
      assert_int_not_equal(uv_loop_alive(&f->loop), 0);
      assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
      assert_int_equal(probe.calls, 1);
    }
    assert_int_equal(uv_loop_alive(&f->loop), 0);
    assert_int_equal(stats_of(f->root).contexts, 1);
  }
}

static void null_arguments_are_refused(void **state) {
  fixture_t *f = *state;
  probe_t probe = {0};
  assert_int_equal(uvf_ctx_on_done(NULL, &probe.watch, on_probe), UV_EINVAL);
  assert_int_equal(uvf_ctx_on_done(f->root, NULL, on_probe), UV_EINVAL);
  assert_int_equal(uvf_ctx_on_done(f->root, &probe.watch, NULL), UV_EINVAL);
  assert_int_equal(uvf_watch_stop(NULL), UV_EINVAL);
  assert_int_equal(uvf_watch_stop_wait(NULL, &probe.watch, 0), UV_EINVAL);
  assert_int_equal(uvf_watch_stop_wait(f->root, NULL, 0), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
  assert_int_equal(uv_loop_alive(&f->loop), 0);
}

static void start_again(void *arg) {
  probe_t *probe = arg;
  (void)uvf_ctx_on_done(probe->watch.ctx, &probe->watch, on_probe);
}

static void starting_a_watcher_twice_is_misuse(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  probe_t probe = {0};
  probe_start(&probe, ctx, 0, NULL);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(start_again, &probe);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_ctx_on_done: ", strlen("uvf_ctx_on_done: "));
  }
  assert_int_equal(counts_of(ctx).watchers, 1);
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &probe.calls, 1);
  turn(&f->loop);
  assert_int_equal(probe.calls, 1);
  uvf_ctx_release(ctx);
}

static void restart_elsewhere(probe_t *probe) {
  uvf_ctx_t *next = probe->arg;
  probe->then = NULL;
  probe->status = uvf_ctx_on_done(next, &probe->watch, on_probe);
}

static void a_watcher_may_be_started_again_inside_its_own_callback(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *first = child_of(f->root), *second = child_of(f->root);
  probe_t probe = {.then = restart_elsewhere, .arg = second};
  probe_start(&probe, first, 0, NULL);
  uvf_ctx_cancel(first);
  run_until(&f->loop, &probe.calls, 1);
  assert_int_equal(probe.status, 0);
  assert_int_equal(counts_of(second).watchers, 1);
  uvf_ctx_cancel(second);
  run_until(&f->loop, &probe.calls, 2);
  assert_int_equal(probe.status, UV_ECANCELED);
  uvf_ctx_release(first);
  uvf_ctx_release(second);
}

typedef struct heap_s {
  uvf_watch_t watch;
  int *freed;
} heap_t;

static void free_self(uvf_watch_t *watch, int status) {
  heap_t *heap = (heap_t *)watch;
  (void)status;
  ++*heap->freed;
  memset(heap, 0xdb, sizeof *heap);
  free(heap);
}

static void a_watcher_may_be_freed_in_its_own_callback(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  int freed = 0;
  for (int i = 0; i < 50; i++) {
    heap_t *heap = malloc(sizeof *heap);
    assert_non_null(heap);
    heap->freed = &freed;
    assert_int_equal(uvf_ctx_on_done(ctx, &heap->watch, free_self), 0);
  }
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  run_until(&f->loop, &freed, 50);
}

/* --- stop on the loop thread --- */

static void a_stop_before_the_end_removes_the_watcher(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  probe_t probe = {0};
  probe_start(&probe, ctx, 0, NULL);
  assert_int_equal(uvf_watch_stop(&probe.watch), UVF_STOP_REMOVED);
  assert_int_equal(uvf_watch_stop(&probe.watch), UVF_STOP_DONE); /* it was already stopped */
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx); /* the context may be gone: the watcher alone must be valid */
  turn(&f->loop);
  assert_int_equal(uvf_watch_stop(&probe.watch), UVF_STOP_DONE);
  assert_int_equal(probe.calls, 0);
}

static void a_stop_after_the_end_still_prevents_a_callback_that_was_due(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root), *over = timeout_of(f->root, 0);
  probe_t probes[2] = {0};
  probe_start(&probes[0], ctx, 0, NULL);
  uvf_ctx_cancel(ctx);
  probe_start(&probes[1], over, 0, NULL);
  assert_int_equal(stats_of(f->root).ready, 2);
  for (int i = 0; i < 2; i++) assert_int_equal(uvf_watch_stop(&probes[i].watch), UVF_STOP_REMOVED);
  assert_int_equal(stats_of(f->root).ready, 0);
  turn(&f->loop);
  for (int i = 0; i < 2; i++) assert_int_equal(probes[i].calls, 0);
  for (int i = 0; i < 2; i++) assert_int_equal(uvf_watch_stop(&probes[i].watch), UVF_STOP_DONE);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  uvf_ctx_release(ctx);
  uvf_ctx_release(over);
}

static void stop_in_callback(probe_t *probe) {
  uvf_watch_t *watch = probe->arg;
  probe->id = uvf_watch_stop(watch);
}

static void a_stop_inside_its_own_callback_says_running_and_afterwards_done(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  probe_t probe = {.then = stop_in_callback, .arg = &probe.watch};
  probe_start(&probe, ctx, -1, NULL);
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &probe.calls, 1);
  assert_int_equal(probe.id, UVF_STOP_RUNNING);
  assert_int_equal(uvf_watch_stop(&probe.watch), UVF_STOP_DONE);
  assert_int_equal(probe.calls, 1);
  uvf_ctx_release(ctx);
}

static void a_stop_inside_anothers_callback_removes_what_is_due_and_finds_done_what_has_run(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  probe_t last = {0}, second = {0}, first = {0};
  probe_start(&last, ctx, 0, NULL);
  probe_start(&second, ctx, 0, NULL);
  probe_start(&first, ctx, 0, NULL); /* the newest runs first */
  first.then = stop_in_callback;
  first.arg = &last.watch;
  second.then = stop_in_callback;
  second.arg = &first.watch;
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &second.calls, 1);
  turn(&f->loop);
  assert_int_equal(first.id, UVF_STOP_REMOVED);
  assert_int_equal(second.id, UVF_STOP_DONE);
  assert_int_equal(last.calls, 0);
  uvf_ctx_release(ctx);
}

/* --- stop from another thread --- */

typedef struct waiter_s {
  uvf_ctx_t *ctx; /* a reference */
  uvf_watch_t *watch;
  uint64_t timeout_ms;
  int result;
  uint64_t took_ns;
  int calls_then; /* the watcher's calls when the wait had returned */
} waiter_t;

static void stop_and_wait(void *arg) {
  waiter_t *waiter = arg;
  uint64_t begin = uv_hrtime();
  waiter->result = uvf_watch_stop_wait(waiter->ctx, waiter->watch, waiter->timeout_ms);
  waiter->took_ns = uv_hrtime() - begin;
  if (waiter->result >= 0) waiter->calls_then = ((probe_t *)waiter->watch)->calls;
}

static void a_waiting_stop_removes_a_watcher_and_a_second_one_says_done(void **state) {
  fixture_t *f = *state;
  for (int forever = 0; forever < 2; forever++) {
    uvf_ctx_t *ctx = child_of(f->root);
    probe_t probe = {0};
    waiter_t waiter = {ctx, &probe.watch, forever ? UVF_WAIT_FOREVER : 20000, -1, 0, -1};
    probe_start(&probe, ctx, 0, NULL);
    run_beside(&f->loop, stop_and_wait, &waiter);
    assert_int_equal(waiter.result, UVF_STOP_REMOVED);
    assert_int_equal(counts_of(ctx).watchers, 0);
    waiter.result = -1;
    run_beside(&f->loop, stop_and_wait, &waiter);
    assert_int_equal(waiter.result, UVF_STOP_DONE);
    uvf_ctx_cancel(ctx);
    turn(&f->loop);
    assert_int_equal(probe.calls, 0);
    uvf_ctx_release(ctx);
  }
}

static void a_waiting_stop_says_done_once_the_callback_has_run(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  probe_t probe = {0};
  waiter_t waiter = {ctx, &probe.watch, 20000, -1, 0, -1};
  probe_start(&probe, ctx, 0, NULL);
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &probe.calls, 1);
  run_beside(&f->loop, stop_and_wait, &waiter);
  assert_int_equal(waiter.result, UVF_STOP_DONE);
  assert_int_equal(waiter.calls_then, 1);
  uvf_ctx_release(ctx);
}

typedef struct slow_s {
  probe_t probe;
  gate_t entered, leave;
  int left;
  lane_t *lane;
  uvf_ctx_t *ctx;
} slow_t;

static void dawdle(probe_t *probe) {
  slow_t *slow = (slow_t *)probe;
  gate_open(&slow->entered, 1);
  gate_pass(&slow->leave);
  slow->left = 1; /* not atomic: the answer to the stop orders it */
}

static void slow_start(void *arg) {
  slow_t *slow = arg;
  if (uvf_ctx_with_cancel(slow->lane->root, &slow->ctx) != 0) abort();
  if (uvf_ctx_on_done(slow->ctx, &slow->probe.watch, on_probe) != 0) abort();
  uvf_ctx_cancel(slow->ctx);
}

static void pass_through(void *arg) {
  slow_t *slow = arg;
  uv_sleep(2); /* so that the wait has most likely begun; the answer is the same if it has not */
  gate_open(&slow->leave, 1);
}

static void ask_twice(void *arg) {
  slow_t *slow = arg;
  uv_thread_t opener;
  waiter_t waiter = {slow->ctx, &slow->probe.watch, 1, -1, 0, -1};
  stop_and_wait(&waiter); /* the callback is in the middle: no answer yet */
  slow->probe.id = waiter.result;
  waiter.timeout_ms = UVF_WAIT_FOREVER;
  if (uv_thread_create(&opener, pass_through, slow) != 0) abort();
  stop_and_wait(&waiter);
  slow->probe.status = waiter.result;
  if (slow->left != 1) slow->probe.status = -1;
  uv_thread_join(&opener);
}

static void a_waiting_stop_returns_done_only_when_a_running_callback_has_returned(void **state) {
  lane_t lane;
  slow_t slow = {.lane = &lane, .probe = {.then = dawdle}};
  (void)state;
  lane_start(&lane);
  gate_init(&slow.entered);
  gate_init(&slow.leave);
  lane_call(&lane, slow_start, &slow);
  gate_pass(&slow.entered);
  on_thread(ask_twice, &slow);
  assert_int_equal(slow.probe.id, UV_ETIMEDOUT);
  assert_int_equal(slow.probe.status, UVF_STOP_DONE);
  assert_int_equal(slow.probe.calls, 1);
  uvf_ctx_release(slow.ctx);
  lane_stop(&lane);
  gate_destroy(&slow.entered);
  gate_destroy(&slow.leave);
}

static void a_waiting_stop_times_out_while_the_loop_does_not_run_and_is_carried_out_later(void **state) {
  fixture_t *f = *state;
  static const uint64_t rows[] = {0, 1, 30};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_ctx_t *ctx = child_of(f->root);
    probe_t probe = {0};
    waiter_t waiter = {ctx, &probe.watch, rows[i], -1, 0, -1};
    probe_start(&probe, ctx, 0, NULL);
    on_thread(stop_and_wait, &waiter);
    assert_int_equal(waiter.result, UV_ETIMEDOUT);
    assert_true(waiter.took_ns >= rows[i] * MS_NS);
    assert_true(waiter.took_ns <= rows[i] * MS_NS + GENEROUS_NS);
    uvf_ctx_cancel(ctx);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0); /* returns: the stop was carried out */
    assert_int_equal(probe.calls, 0);
    assert_int_equal(uvf_watch_stop(&probe.watch), UVF_STOP_DONE);
    uvf_ctx_release(ctx);
  }
}

static void lane_asks(void *arg) { stop_and_wait(arg); }

static void a_waiting_stop_is_refused_on_a_thread_that_runs_a_loop(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  probe_t probe = {0};
  waiter_t waiter = {ctx, &probe.watch, UVF_WAIT_FOREVER, -1, 0, -1};
  lane_t lane;
  probe_start(&probe, ctx, 0, NULL);
  turn(&f->loop);
  assert_int_equal(uvf_watch_stop_wait(ctx, &probe.watch, UVF_WAIT_FOREVER), UV_EPERM);
  lane_start(&lane);
  lane_turn(&lane);
  lane_call(&lane, lane_asks, &waiter); /* another loop's thread would hold up its own */
  assert_int_equal(waiter.result, UV_EPERM);
  lane_stop(&lane);
  assert_int_equal(counts_of(ctx).watchers, 1); /* nothing was stopped */
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &probe.calls, 1);
  uvf_ctx_release(ctx);
}

typedef struct duel_s {
  waiter_t waiter;
  uint64_t spins;
} duel_t;

static void cancel_or_stop(void *arg) {
  duel_t *duel = arg;
  for (uint64_t i = 0; i < duel->spins; i++) (void)uvf_ctx_err(duel->waiter.ctx);
  if (duel->spins % 2) uvf_ctx_cancel(duel->waiter.ctx);
  stop_and_wait(&duel->waiter);
}

static void cancel_twice_as_late(void *arg) {
  duel_t *duel = arg;
  for (uint64_t i = 0; i < 300; i++) (void)uvf_ctx_err(duel->waiter.ctx);
  uvf_ctx_cancel(duel->waiter.ctx);
}

static void a_waiting_stop_and_an_end_at_once_agree_on_whether_the_callback_ran(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (int i = 0; i < 400; i++) {
    uvf_ctx_t *ctx = child_of(f->root);
    probe_t probe = {0};
    duel_t duel = {{ctx, &probe.watch, UVF_WAIT_FOREVER, -1, 0, -1}, test_rand(&seed) % 1500};
    uv_thread_t canceller;
    probe_start(&probe, ctx, 0, NULL);
    assert_int_equal(uv_thread_create(&canceller, cancel_twice_as_late, &duel), 0);
    run_beside(&f->loop, cancel_or_stop, &duel);
    assert_int_equal(uv_thread_join(&canceller), 0);
    if (duel.waiter.result == UVF_STOP_REMOVED) {
      assert_int_equal(duel.waiter.calls_then, 0);
      assert_int_equal(probe.calls, 0);
    } else {
      assert_int_equal(duel.waiter.result, UVF_STOP_DONE);
      assert_int_equal(duel.waiter.calls_then, 1);
      assert_int_equal(probe.calls, 1);
    }
    uvf_ctx_release(ctx);
  }
}

static void closing_the_root_answers_a_stop_that_waits(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (int i = 0; i < 100; i++) {
    uvf_ctx_t *ctx = child_of(f->root);
    probe_t probe = {0};
    duel_t duel = {{ctx, &probe.watch, UVF_WAIT_FOREVER, -1, 0, -1}, test_rand(&seed) % 750 * 2};
    uv_thread_t thread;
    probe_start(&probe, ctx, 0, NULL);
    assert_int_equal(uv_thread_create(&thread, cancel_or_stop, &duel), 0);
    fixture_close_root(f);
    assert_int_equal(uv_thread_join(&thread), 0); /* also when the root was gone before it asked */
    if (probe.calls == 0) {
      assert_int_equal(duel.waiter.result, UVF_STOP_REMOVED);
    } else {
      assert_int_equal(duel.waiter.result, UVF_STOP_DONE);
      assert_int_equal(duel.waiter.calls_then, 1);
    }
    uvf_ctx_release(ctx);
    assert_int_equal(test_alloc_live(), f->blocks_before);
    assert_int_equal(uvf_ctx_background(&f->loop, &f->root), 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_watcher_is_called_once_after_the_end_with_the_contexts_err),
      unit(watchers_on_one_context_are_independent),
      unit(a_watcher_holds_the_loop_and_the_context_until_it_was_called_or_stopped),
      unit(null_arguments_are_refused),
      unit(starting_a_watcher_twice_is_misuse),
      unit(a_watcher_may_be_started_again_inside_its_own_callback),
      unit(a_watcher_may_be_freed_in_its_own_callback),
      unit(a_stop_before_the_end_removes_the_watcher),
      unit(a_stop_after_the_end_still_prevents_a_callback_that_was_due),
      unit(a_stop_inside_its_own_callback_says_running_and_afterwards_done),
      unit(a_stop_inside_anothers_callback_removes_what_is_due_and_finds_done_what_has_run),
      unit(a_waiting_stop_removes_a_watcher_and_a_second_one_says_done),
      unit(a_waiting_stop_says_done_once_the_callback_has_run),
      unit(a_waiting_stop_returns_done_only_when_a_running_callback_has_returned),
      unit(a_waiting_stop_times_out_while_the_loop_does_not_run_and_is_carried_out_later),
      unit(a_waiting_stop_is_refused_on_a_thread_that_runs_a_loop),
      unit(a_waiting_stop_and_an_end_at_once_agree_on_whether_the_callback_ran),
      unit(closing_the_root_answers_a_stop_that_waits),
  };
  return test_run(tests);
}
