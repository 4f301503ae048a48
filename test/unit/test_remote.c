/* SPDX-License-Identifier: MIT
 *
 * uvf_ctx_with_remote: a child on another loop. The test's own thread runs one loop, a lane the other.
 */
#include "unit/probe.h"

/* --- what the lane is asked to do --- */

typedef struct far_s {
  lane_t lane;
  uvf_ctx_t *ctx;
  uint64_t ms; /* 0: with_cancel */
  int cause;
  void *data;
  int err;
  size_t children, contexts;
  gate_t stuck, go;
} far_t;

static void far_derive(void *arg) {
  far_t *far = arg;
  far->err = far->ms == 0 ? uvf_ctx_with_cancel(far->lane.root, &far->ctx)
                          : uvf_ctx_with_timeout_cause(far->lane.root, far->ms, far->cause, far->data, &far->ctx);
}

static void far_cancel(void *arg) {
  far_t *far = arg;
  uvf_ctx_cancel_cause(far->ctx, far->cause, far->data);
}

static void far_count(void *arg) {
  far_t *far = arg;
  uvf_stats_t stats;
  uvf_ctx_counts_t counts;
  uvf_ctx_counts(far->ctx != NULL ? far->ctx : far->lane.root, &counts);
  uvf_ctx_stats(far->lane.root, &stats);
  far->children = counts.children;
  far->contexts = (size_t)stats.contexts;
}

static void far_stick(void *arg) {
  far_t *far = arg;
  gate_open(&far->stuck, 1);
  gate_pass(&far->go);
}

static far_t *far_start(uint64_t ms, int cause, void *data) {
  far_t *far = calloc(1, sizeof *far);
  assert_non_null(far);
  lane_start(&far->lane);
  gate_init(&far->stuck);
  gate_init(&far->go);
  far->ms = ms;
  far->cause = cause;
  far->data = data;
  lane_call(&far->lane, far_derive, far);
  assert_int_equal(far->err, 0);
  return far;
}

/* Holds the lane's loop inside a callback until far_let_go. */
static void far_hold(far_t *far) {
  lane_post(&far->lane, far_stick, far);
  gate_pass(&far->stuck);
}

static void far_let_go(far_t *far) {
  gate_open(&far->go, 1);
  lane_wait(&far->lane);
}

static void far_free(far_t *far) {
  gate_destroy(&far->stuck);
  gate_destroy(&far->go);
  free(far);
}

static void far_stop(far_t *far) {
  uvf_ctx_release(far->ctx);
  lane_stop(&far->lane);
  far_free(far);
}

static uvf_ctx_t *remote_of(uvf_ctx_t *local, uvf_ctx_t *parent) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_remote(parent, local, &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

/* --- ends --- */

static void the_end_of_the_parent_crosses_with_err_cause_and_pointer(void **state) {
  fixture_t *f = *state;
  for (int how = 0; how < 3; how++) {
    far_t *far = far_start(how == 2 ? 5 : 0, -21, f);
    uvf_ctx_t *local = child_of(f->root), *ctx = remote_of(local, far->ctx), *below = timeout_of(ctx, HOUR_MS);
    probe_t probe = {0};
    void *data = NULL;
    assert_ptr_equal(uvf_ctx_loop(ctx), &f->loop);
    assert_ptr_equal(uvf_ctx_loop(far->ctx), &far->lane.loop);
    probe_start(&probe, below, 0, NULL);
    if (how == 0) lane_call(&far->lane, far_cancel, far); /* on its loop thread */
    if (how == 1) far_cancel(far);                        /* from this thread: its loop passes it on */
    run_until(&f->loop, &probe.calls, 1);
    assert_int_equal(probe.status, how == 2 ? UV_ETIMEDOUT : UV_ECANCELED);
    assert_int_equal(uvf_ctx_err(ctx), how == 2 ? UV_ETIMEDOUT : UV_ECANCELED);
    assert_int_equal(uvf_ctx_cause(ctx, &data), -21);
    assert_ptr_equal(data, f);
    assert_int_equal(uvf_ctx_cause(below, NULL), -21);
    assert_over(local, 0, 0);
    uvf_ctx_release(ctx);
    uvf_ctx_release(below);
    uvf_ctx_release(local);
    far_stop(far);
  }
}

static void the_end_of_the_local_context_ends_it_at_once_and_leaves_the_parent_live(void **state) {
  fixture_t *f = *state;
  far_t *far = far_start(0, 0, NULL);
  uvf_ctx_t *local = child_of(f->root), *ctx = remote_of(local, far->ctx), *below = child_of(ctx);
  lane_turn(&far->lane);
  lane_call(&far->lane, far_count, far);
  assert_int_equal(far->children, 1);
  assert_int_equal(counts_of(local).children, 1);
  uvf_ctx_cancel_cause(local, -22, NULL);
  assert_over(ctx, UV_ECANCELED, -22);
  assert_over(below, UV_ECANCELED, -22);
  turn(&f->loop);
  lane_turn(&far->lane);
  assert_over(far->ctx, 0, 0);
  lane_call(&far->lane, far_count, far);
  assert_int_equal(far->children, 0);
  assert_int_equal(counts_of(local).children, 0);
  uvf_ctx_release(ctx);
  uvf_ctx_release(below);
  uvf_ctx_release(local);
  far_stop(far);
}

static void cancelled_or_released_by_itself_it_unlinks_from_both(void **state) {
  fixture_t *f = *state;
  far_t *far = far_start(HOUR_MS, 0, NULL);
  uvf_ctx_t *local = child_of(f->root);
  for (int cancel = 0; cancel < 2; cancel++) {
    uvf_ctx_t *ctx = remote_of(local, far->ctx);
    if (cancel) uvf_ctx_cancel(ctx);
    uvf_ctx_release(ctx);
    turn(&f->loop);
    lane_turn(&far->lane);
    turn(&f->loop);
    assert_over(local, 0, 0);
    assert_over(far->ctx, 0, 0);
    assert_int_equal(counts_of(local).children, 0);
    lane_call(&far->lane, far_count, far);
    assert_int_equal(far->children, 0);
    assert_int_equal(far->contexts, 2);
    assert_int_equal(stats_of(f->root).contexts, 2);
    assert_int_equal(stats_of(f->root).deadlines, 0);
  }
  uvf_ctx_release(local);
  far_stop(far);
}

static void the_first_end_wins_across_loops(void **state) {
  fixture_t *f = *state;
  far_t *far = far_start(0, -1, NULL);
  uvf_ctx_t *local = child_of(f->root), *ctx = remote_of(local, far->ctx);
  probe_t probe = {0};
  probe_start(&probe, ctx, 0, NULL);
  uvf_ctx_cancel_cause(local, -2, NULL);
  lane_call(&far->lane, far_cancel, far);
  lane_turn(&far->lane);
  run_until(&f->loop, &probe.calls, 1);
  turn(&f->loop);
  assert_int_equal(probe.calls, 1);
  assert_over(ctx, UV_ECANCELED, -2);
  assert_over(far->ctx, UV_ECANCELED, -1);
  uvf_ctx_release(local);
  uvf_ctx_release(ctx);
  far_stop(far);
}

static void with_a_side_that_is_over_it_is_born_over(void **state) {
  fixture_t *f = *state;
  far_t *far = far_start(0, -31, f);
  uvf_ctx_t *dead = child_of(f->root), *ctx;
  void *data = NULL;
  uvf_ctx_cancel_cause(dead, -32, dead);
  ctx = remote_of(dead, far->ctx);
  assert_over(ctx, UV_ECANCELED, -32);
  uvf_ctx_release(ctx);
  lane_call(&far->lane, far_cancel, far);
  ctx = remote_of(f->root, far->ctx);
  assert_int_equal(uvf_ctx_err(ctx), UV_ECANCELED);
  assert_int_equal(uvf_ctx_cause(ctx, &data), -31);
  assert_ptr_equal(data, f);
  uvf_ctx_release(ctx);
  uvf_ctx_release(dead);
  far_stop(far);
}

/* --- deadline and values --- */

static void its_deadline_is_the_earlier_of_both_and_watched_by_its_own_loop(void **state) {
  fixture_t *f = *state;
  for (int whose = 0; whose < 2; whose++) { /* 0: the parent's is the nearer one, 1: the local one's */
    far_t *far = far_start(whose ? HOUR_MS : 30, -41, f);
    uvf_ctx_t *local = whose ? timeout_of(f->root, 30) : timeout_of(f->root, HOUR_MS), *ctx;
    uint64_t nearer = uvf_ctx_deadline_ns(whose ? local : far->ctx);
    probe_t probe = {0};
    far_hold(far); /* the parent's loop stands still from here on */
    ctx = remote_of(local, far->ctx);
    assert_true(uvf_ctx_deadline_ns(ctx) == nearer);
    probe_start(&probe, ctx, 0, NULL);
    run_until(&f->loop, &probe.calls, 1);
    assert_int_equal(probe.status, UV_ETIMEDOUT);
    assert_true(probe.at >= nearer);
    assert_over(ctx, UV_ETIMEDOUT, whose ? UV_ETIMEDOUT : -41);
    assert_over(far->ctx, 0, 0);
    far_let_go(far);
    uvf_ctx_release(ctx);
    uvf_ctx_release(local);
    far_stop(far);
  }
}

static int key_far, key_near;

typedef struct valued_s {
  lane_t lane;
  uvf_ctx_t *ctx;
  int value, err, frees, on_lane;
} valued_t;

static void free_valued(void *arg) {
  valued_t *valued = arg;
  uv_thread_t self = uv_thread_self();
  valued->frees++;
  valued->on_lane = uv_thread_equal(&self, &valued->lane.thread);
}

static void derive_valued(void *arg) {
  valued_t *valued = arg;
  valued->err = uvf_ctx_with_value(valued->lane.root, &key_far, valued, free_valued, &valued->ctx);
}

static void read_frees(void *arg) {
  valued_t *valued = arg;
  valued->value = valued->frees;
}

static void its_values_are_the_parents_which_are_freed_on_the_parents_loop_when_it_is_gone(void **state) {
  fixture_t *f = *state;
  valued_t valued = {0};
  uvf_ctx_t *local = value_of(f->root, &key_near, f, NULL), *ctx;
  lane_start(&valued.lane);
  lane_call(&valued.lane, derive_valued, &valued);
  assert_int_equal(valued.err, 0);
  ctx = remote_of(local, valued.ctx);
  uvf_ctx_release(valued.ctx);
  lane_turn(&valued.lane);
  assert_ptr_equal(uvf_ctx_value(ctx, &key_far), &valued);
  assert_null(uvf_ctx_value(ctx, &key_near));
  lane_call(&valued.lane, read_frees, &valued);
  assert_int_equal(valued.value, 0);
  uvf_ctx_release(ctx);
  turn(&f->loop);
  lane_turn(&valued.lane);
  lane_call(&valued.lane, read_frees, &valued);
  assert_int_equal(valued.value, 1);
  uvf_ctx_release(local);
  lane_stop(&valued.lane);
  assert_int_equal(valued.frees, 1);
  assert_int_equal(valued.on_lane, 1);
}

/* --- closing --- */

static void closing_the_parents_root_first_ends_it_and_does_not_wait_for_it(void **state) {
  fixture_t *f = *state;
  far_t *far = far_start(HOUR_MS, 0, NULL);
  uvf_ctx_t *ctx = remote_of(f->root, far->ctx), *below = child_of(ctx);
  probe_t probe = {0};
  probe_start(&probe, below, 0, NULL);
  uvf_ctx_release(far->ctx);
  lane_stop(&far->lane); /* joined and its loop gone, while this loop has not run */
  run_until(&f->loop, &probe.calls, 1);
  assert_over(ctx, UV_ECANCELED, UV_ESHUTDOWN);
  assert_over(below, UV_ECANCELED, UV_ESHUTDOWN);
  assert_over(f->root, 0, 0);
  uvf_ctx_release(ctx);
  uvf_ctx_release(below);
  far_free(far);
}

static void closing_the_local_root_first_does_not_wait_for_the_parents_loop(void **state) {
  fixture_t *f = *state;
  far_t *far = far_start(0, 0, NULL);
  uvf_ctx_t *ctx = remote_of(f->root, far->ctx);
  probe_t probe = {0};
  probe_start(&probe, ctx, 0, NULL);
  far_hold(far);
  fixture_close_root(f);
  assert_int_equal(probe.calls, 1);
  assert_over(ctx, UV_ECANCELED, UV_ESHUTDOWN);
  assert_int_equal(uv_loop_close(&f->loop), 0);
  uvf_ctx_release(ctx);
  far_let_go(far);
  lane_turn(&far->lane);
  assert_over(far->ctx, 0, 0);
  lane_call(&far->lane, far_count, far);
  assert_int_equal(far->children, 0);
  far_stop(far);
  assert_int_equal(uv_loop_init(&f->loop), 0);
}

static void held_references_outlive_both_loops(void **state) {
  fixture_t *f = *state;
  far_t *far = far_start(0, 0, NULL);
  uvf_ctx_t *ctx = remote_of(f->root, far->ctx), *parent = uvf_ctx_retain(far->ctx);
  far_stop(far);
  fixture_close_root(f);
  assert_int_equal(uv_loop_close(&f->loop), 0);
  assert_int_equal(uvf_ctx_err(ctx), UV_ECANCELED);
  assert_over(parent, UV_ECANCELED, UV_ESHUTDOWN);
  uvf_ctx_cancel(ctx); /* on one that is already over: nothing */
  uvf_ctx_release(parent);
  uvf_ctx_release(ctx);
  assert_int_equal(test_alloc_live(), f->blocks_before);
  assert_int_equal(uv_loop_init(&f->loop), 0);
}

/* --- shapes --- */

static void of_one_loop_it_is_a_child_of_any_of_both(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *local = value_of(f->root, &key_near, f, NULL), *parent = value_of(f->root, &key_far, f, NULL);
  for (int whose = 0; whose < 2; whose++) {
    uvf_ctx_t *one = child_of(local), *two = child_of(parent), *ctx = remote_of(one, two);
    assert_ptr_equal(uvf_ctx_value(ctx, &key_far), f);
    assert_null(uvf_ctx_value(ctx, &key_near));
    assert_int_equal(counts_of(one).children, 1);
    assert_int_equal(counts_of(two).children, 1);
    uvf_ctx_cancel_cause(whose ? one : two, -51, NULL);
    assert_over(ctx, UV_ECANCELED, -51); /* at once, as it is one loop */
    assert_int_equal(counts_of(one).children, 0);
    assert_int_equal(counts_of(two).children, 0);
    uvf_ctx_release(one);
    uvf_ctx_release(two);
    uvf_ctx_release(ctx);
  }
  uvf_ctx_release(local);
  uvf_ctx_release(parent);
}

typedef struct bounce_s {
  lane_t lane;
  uvf_ctx_t *parent, *ctx;
  int err;
} bounce_t;

static void derive_bounce(void *arg) {
  bounce_t *bounce = arg;
  bounce->err = uvf_ctx_with_remote(bounce->parent, bounce->lane.root, &bounce->ctx);
}

static void a_cancel_crosses_there_and_back_again(void **state) {
  fixture_t *f = *state;
  bounce_t bounce = {.parent = child_of(f->root)};
  uvf_ctx_t *back;
  probe_t probe = {0};
  lane_start(&bounce.lane);
  lane_call(&bounce.lane, derive_bounce, &bounce);
  assert_int_equal(bounce.err, 0);
  back = remote_of(f->root, bounce.ctx);
  probe_start(&probe, back, 0, NULL);
  uvf_ctx_cancel_cause(bounce.parent, -61, f);
  run_until(&f->loop, &probe.calls, 1);
  assert_over(bounce.ctx, UV_ECANCELED, -61);
  assert_over(back, UV_ECANCELED, -61);
  uvf_ctx_release(bounce.parent);
  uvf_ctx_release(bounce.ctx);
  uvf_ctx_release(back);
  lane_stop(&bounce.lane);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(the_end_of_the_parent_crosses_with_err_cause_and_pointer),
      unit(the_end_of_the_local_context_ends_it_at_once_and_leaves_the_parent_live),
      unit(cancelled_or_released_by_itself_it_unlinks_from_both),
      unit(the_first_end_wins_across_loops),
      unit(with_a_side_that_is_over_it_is_born_over),
      unit(its_deadline_is_the_earlier_of_both_and_watched_by_its_own_loop),
      unit(its_values_are_the_parents_which_are_freed_on_the_parents_loop_when_it_is_gone),
      unit(closing_the_parents_root_first_ends_it_and_does_not_wait_for_it),
      unit(closing_the_local_root_first_does_not_wait_for_the_parents_loop),
      unit(held_references_outlive_both_loops),
      unit(of_one_loop_it_is_a_child_of_any_of_both),
      unit(a_cancel_crosses_there_and_back_again),
  };
  return test_run(tests);
}
