/* SPDX-License-Identifier: MIT
 *
 * The hub of lib/kernel/hub.c, seen from outside: what holds the loop, when it polls without blocking, how much a drain
 * takes, what becomes of posts from other threads, how many handles it has.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/support.h"

typedef struct seen_s {
  uvf_watch_t watch;
  int calls;
} seen_t;

static void on_done(uvf_watch_t *watch, int status) {
  (void)status;
  ((seen_t *)watch->data)->calls++;
}

static uvf_ctx_t *watched(uvf_ctx_t *parent, seen_t *seen) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_cancel(parent, &ctx), 0);
  seen->watch.data = seen;
  seen->calls = 0;
  assert_int_equal(uvf_ctx_on_done(ctx, &seen->watch, on_done), 0);
  return ctx;
}

/* --- keep-alive --------------------------------------------------------------------------------------------------- */

static void a_root_alone_does_not_hold_the_loop(void **state) {
  fixture_t *f = *state;
  assert_false(uv_loop_alive(&f->loop));
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
}

static void contexts_and_deadlines_and_references_do_not_hold_the_loop(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *a, *b;
  assert_int_equal(uvf_ctx_with_timeout(f->root, 3600000, &a), 0);
  assert_int_equal(uvf_ctx_with_cancel(a, &b), 0);
  uvf_ctx_retain(b);
  assert_false(uv_loop_alive(&f->loop));
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  uvf_ctx_release(b);
  uvf_ctx_release(b);
  uvf_ctx_release(a);
}

static void a_watcher_holds_the_loop_until_it_is_stopped(void **state) {
  fixture_t *f = *state;
  seen_t seen;
  uvf_ctx_t *ctx = watched(f->root, &seen);
  assert_true(uv_loop_alive(&f->loop));
  assert_int_equal(uvf_watch_stop(&seen.watch), UVF_STOP_REMOVED);
  assert_false(uv_loop_alive(&f->loop));
  uvf_ctx_release(ctx);
}

static void what_is_ready_keeps_the_loop_from_blocking_and_nothing_else_does(void **state) {
  fixture_t *f = *state;
  seen_t seen;
  uvf_ctx_t *ctx = watched(f->root, &seen);
  uv_run(&f->loop, UV_RUN_NOWAIT);
  assert_int_equal(uv_backend_timeout(&f->loop), -1); /* an embedder would sleep */
  uvf_ctx_cancel(ctx);
  assert_int_equal(uv_backend_timeout(&f->loop), 0); /* and now it would not */
  assert_int_equal(seen.calls, 0);
  uv_run(&f->loop, UV_RUN_NOWAIT);
  assert_int_equal(seen.calls, 1);
  assert_false(uv_loop_alive(&f->loop));
  uvf_ctx_release(ctx);
}

static void a_ready_one_that_is_stopped_lets_the_loop_go(void **state) {
  fixture_t *f = *state;
  seen_t seen;
  uvf_ctx_t *ctx = watched(f->root, &seen);
  uvf_ctx_cancel(ctx);
  assert_int_equal(uvf_watch_stop(&seen.watch), UVF_STOP_REMOVED);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  assert_false(uv_loop_alive(&f->loop));
  assert_int_equal(seen.calls, 0);
  uvf_ctx_release(ctx);
}

/* --- drains ------------------------------------------------------------------------------------------------------- */

typedef struct chain_s {
  uvf_watch_t watch;
  uvf_ctx_t *over;
  long left;
  long calls;
  int other; /* turns of a plain idle handle of the loop */
} chain_t;

static void on_link(uvf_watch_t *watch, int status) {
  chain_t *chain = watch->data;
  (void)status;
  chain->calls++;
  if (--chain->left > 0) assert_int_equal(uvf_ctx_on_done(chain->over, watch, on_link), 0);
}

static void on_other(uv_idle_t *idle) {
  chain_t *chain = idle->data;
  chain->other++;
}

static void callbacks_that_start_more_share_a_drain_but_do_not_starve_the_loop(void **state) {
  fixture_t *f = *state;
  chain_t chain = {.left = 100000};
  uv_idle_t idle;
  assert_int_equal(uvf_ctx_with_cancel(f->root, &chain.over), 0);
  uvf_ctx_cancel(chain.over);
  uv_idle_init(&f->loop, &idle);
  idle.data = &chain;
  uv_idle_start(&idle, on_other);
  uv_unref((uv_handle_t *)&idle);
  chain.watch.data = &chain;
  assert_int_equal(uvf_ctx_on_done(chain.over, &chain.watch, on_link), 0);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  assert_int_equal(chain.calls, 100000);
  assert_true(chain.other >= 10);         /* the loop turned in between */
  assert_true(chain.other <= 100000 / 4); /* and not once for each */
  uv_close((uv_handle_t *)&idle, NULL);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  uvf_ctx_release(chain.over);
}

typedef struct nest_s {
  seen_t outer, inner;
  uvf_ctx_t *ctx;
  uv_loop_t *loop;
  int inner_at_outer;
} nest_t;

static void on_outer(uvf_watch_t *watch, int status) {
  nest_t *nest = watch->data;
  (void)status;
  nest->outer.calls++;
  uv_run(nest->loop, UV_RUN_NOWAIT);
  nest->inner_at_outer = nest->inner.calls;
}

static void a_nested_run_inside_a_callback_delivers_the_rest(void **state) {
  fixture_t *f = *state;
  nest_t nest = {.loop = &f->loop};
  nest.ctx = watched(f->root, &nest.inner);
  nest.outer.watch.data = &nest;
  assert_int_equal(uvf_ctx_on_done(nest.ctx, &nest.outer.watch, on_outer), 0); /* newest: first */
  uvf_ctx_cancel(nest.ctx);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  assert_int_equal(nest.outer.calls, 1);
  assert_int_equal(nest.inner.calls, 1);
  assert_int_equal(nest.inner_at_outer, 1);
  assert_false(uv_loop_alive(&f->loop));
  uvf_ctx_release(nest.ctx);
}

/* --- posts -------------------------------------------------------------------------------------------------------- */

static void cancel_entry(void *arg) { uvf_ctx_cancel(arg); }

static void on_another_thread(void (*entry)(void *), void *arg) {
  uv_thread_t thread;
  assert_int_equal(uv_thread_create(&thread, entry, arg), 0);
  uv_thread_join(&thread);
}

static void a_post_made_before_the_loop_runs_is_applied_when_it_does(void **state) {
  fixture_t *f = *state;
  seen_t seen;
  uvf_ctx_t *ctx = watched(f->root, &seen);
  on_another_thread(cancel_entry, ctx);
  assert_int_equal(uvf_ctx_err(ctx), UV_ECANCELED);
  run_until(&f->loop, &seen.calls, 1);
  uvf_ctx_release(ctx);
}

static void many_posts_of_one_turn_need_one_wake_up(void **state) {
  enum { N = 1000 };
  fixture_t *f = *state;
  static seen_t seen[N];
  static uvf_ctx_t *ctx[N];
  int calls = 0;
  for (int i = 0; i < N; i++) ctx[i] = watched(f->root, &seen[i]);
  for (int i = 0; i < N; i += 100) on_another_thread(cancel_entry, ctx[i]);
  for (int i = 0; i < N; i++) uvf_ctx_cancel(ctx[i]);
  uv_run(&f->loop, UV_RUN_NOWAIT); /* one turn delivers all: the cap of a drain is above that */
  for (int i = 0; i < N; i++) {
    calls += seen[i].calls;
    uvf_ctx_release(ctx[i]);
  }
  assert_int_equal(calls, N);
}

static void release_entry(void *arg) { uvf_ctx_release(arg); }

static void a_post_that_the_loop_never_ran_for_is_settled_at_close(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = NULL;
  uvf_stats_t stats;
  assert_int_equal(uvf_ctx_with_cancel(f->root, &ctx), 0);
  on_another_thread(release_entry, ctx); /* the last reference */
  uvf_ctx_stats(f->root, &stats);
  assert_int_equal(stats.contexts, 2); /* freed on the loop, which has not run */
  fixture_close_root(f);               /* teardown counts the blocks */
}

/* --- threads ------------------------------------------------------------------------------------------------------- */

typedef struct move_s {
  uv_loop_t *loop;
  uvf_ctx_t *root, *ctx, *below;
  uv_timer_t timer;
  int err, rc;
} move_t;

static void on_first_timer(uv_timer_t *timer) {
  move_t *move = timer->data;
  uvf_ctx_t *more = NULL;
  move->rc = uvf_ctx_with_cancel(move->ctx, &more);
  uvf_ctx_cancel(move->ctx);
  move->err = uvf_ctx_err(move->below); /* over on return: this is the loop's thread */
  uvf_ctx_release(more);
}

static void run_moved(void *arg) {
  move_t *move = arg;
  uvf_ctx_run_here(move->root);
  uv_run(move->loop, UV_RUN_DEFAULT);
}

static void a_loop_that_has_run_may_move_to_another_thread_that_says_so(void **state) {
  fixture_t *f = *state;
  move_t move = {.loop = &f->loop, .root = f->root};
  for (int ran_here = 0; ran_here < 2; ran_here++) {
    assert_int_equal(uvf_ctx_with_cancel(f->root, &move.ctx), 0);
    assert_int_equal(uvf_ctx_with_cancel(move.ctx, &move.below), 0);
    assert_int_equal(uv_timer_init(&f->loop, &move.timer), 0);
    if (ran_here) uv_run(&f->loop, UV_RUN_NOWAIT);
    move.timer.data = &move;
    assert_int_equal(uv_timer_start(&move.timer, on_first_timer, 0, 0), 0);
    on_another_thread(run_moved, &move);
    assert_int_equal(move.rc, 0);
    assert_int_equal(move.err, UV_ECANCELED);
    assert_int_equal(uvf_ctx_run_here(f->root), 0); /* and back again */
    uv_close((uv_handle_t *)&move.timer, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    uvf_ctx_release(move.below);
    uvf_ctx_release(move.ctx);
  }
  assert_int_equal(uvf_ctx_run_here(NULL), UV_EINVAL);
}

/* --- handles ------------------------------------------------------------------------------------------------------- */

static void count_handle(uv_handle_t *handle, void *arg) {
  int *counts = arg;
  counts[0]++;
  if (handle->type == UV_ASYNC) counts[1]++;
  if (handle->type == UV_TIMER) counts[2]++;
  assert_true(uvf_owns_handle(handle));
}

static void a_loop_has_one_async_and_one_timer_however_many_roots_and_contexts(void **state) {
  enum { N = 500 };
  fixture_t *f = *state;
  static uvf_ctx_t *ctx[N];
  uvf_ctx_t *second = NULL;
  int counts[3] = {0};
  assert_int_equal(uvf_ctx_background(&f->loop, &second), 0);
  for (int i = 0; i < N; i++)
    assert_int_equal(uvf_ctx_with_timeout(i % 2 ? second : f->root, 1000 + (uint64_t)i, &ctx[i]), 0);
  uv_walk(&f->loop, count_handle, counts);
  assert_int_equal(counts[0], 5);
  assert_int_equal(counts[1], 1);
  assert_int_equal(counts[2], 1);
  for (int i = 0; i < N; i++) uvf_ctx_release(ctx[i]);
  uvf_ctx_close(second, NULL);
  uv_run(&f->loop, UV_RUN_DEFAULT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_root_alone_does_not_hold_the_loop),
      unit(contexts_and_deadlines_and_references_do_not_hold_the_loop),
      unit(a_watcher_holds_the_loop_until_it_is_stopped),
      unit(what_is_ready_keeps_the_loop_from_blocking_and_nothing_else_does),
      unit(a_ready_one_that_is_stopped_lets_the_loop_go),
      unit(callbacks_that_start_more_share_a_drain_but_do_not_starve_the_loop),
      unit(a_nested_run_inside_a_callback_delivers_the_rest),
      unit(a_post_made_before_the_loop_runs_is_applied_when_it_does),
      unit(many_posts_of_one_turn_need_one_wake_up),
      unit(a_post_that_the_loop_never_ran_for_is_settled_at_close),
      unit(a_loop_that_has_run_may_move_to_another_thread_that_says_so),
      unit(a_loop_has_one_async_and_one_timer_however_many_roots_and_contexts),
  };
  return test_run(tests);
}
