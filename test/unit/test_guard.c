/* SPDX-License-Identifier: MIT
 *
 * io.h: guards: when, in which order and how often the end of a context closes a handle, and how a guard is undone.
 */
#include "unit/probe.h"

/* A guarded timer that notes its close. */
typedef struct box_s {
  uvf_guard_t guard;
  uv_timer_t timer;
  int id, closes;
  journal_t *journal;
} box_t;

static void on_box_closed(uv_handle_t *handle) {
  box_t *box = handle->data;
  box->closes++;
  if (box->journal != NULL) journal_add(box->journal, box->id);
}

static uv_handle_t *handle_of(box_t *box) { return (uv_handle_t *)&box->timer; }

static int closing(box_t *box) { return uv_is_closing(handle_of(box)) != 0; }

static void box_init(box_t *box, uv_loop_t *loop, int id, journal_t *journal) {
  memset(box, 0xff, sizeof *box);
  box->id = id;
  box->closes = 0;
  box->journal = journal;
  assert_int_equal(uv_timer_init(loop, &box->timer), 0);
  box->timer.data = box;
}

static void box_start(box_t *box, uvf_ctx_t *ctx) {
  assert_int_equal(uvf_guard_start(ctx, &box->guard, handle_of(box), on_box_closed), 0);
}

/* --- the end closes --- */

static void the_end_of_the_context_closes_the_handle_once_and_not_inside_the_cancel(void **state) {
  fixture_t *f = *state;
  for (int timed = 0; timed < 2; timed++) {
    uvf_ctx_t *ctx = timed ? timeout_of(f->root, 2) : child_of(f->root);
    probe_t probe = {0};
    box_t box;
    box_init(&box, &f->loop, 0, NULL);
    box_start(&box, ctx);
    probe_start(&probe, ctx, 0, NULL);
    assert_int_equal(counts_of(ctx).guards, 1);
    turn(&f->loop);
    if (!timed) {
      assert_false(closing(&box));
      uvf_ctx_cancel(ctx);
      assert_false(closing(&box));
    }
    run_until(&f->loop, &box.closes, 1);
    turn(&f->loop);
    assert_int_equal(box.closes, 1);
    assert_int_equal(box.guard.status, timed ? UV_ETIMEDOUT : UV_ECANCELED);
    assert_int_equal(probe.calls, 1);
    assert_int_equal(counts_of(ctx).guards, 0);
    uvf_ctx_release(ctx);
  }
}

static void bound_to_a_context_that_is_over_the_handle_is_closed_soon_and_not_inside_the_call(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 0);
  box_t box;
  box_init(&box, &f->loop, 0, NULL);
  box_start(&box, ctx);
  assert_false(closing(&box));
  run_until(&f->loop, &box.closes, 1);
  assert_int_equal(box.guard.status, UV_ETIMEDOUT);
  uvf_ctx_release(ctx);
}

typedef struct seen_s {
  probe_t probe;
  box_t *boxes;
  int n, closed; /* how many of the boxes were closing when the probe ran */
} seen_t;

static void count_closing(probe_t *probe) {
  seen_t *seen = (seen_t *)probe;
  for (int i = 0; i < seen->n; i++) seen->closed += closing(&seen->boxes[i]);
}

/* Watchers in between look at which handle is closing: the order of the close callbacks is libuv's own. */
static void handles_are_closed_childrens_before_parents_and_the_last_bound_first(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *up = child_of(f->root), *down = child_of(up);
  box_t boxes[4]; /* in the order in which they must be closed */
  seen_t seen[5] = {{.n = 0}};
  for (int i = 0; i < 4; i++) box_init(&boxes[i], &f->loop, i, NULL);
  for (int i = 0; i < 5; i++) seen[i] = (seen_t){.probe = {.then = count_closing}, .boxes = boxes, .n = 4};
  probe_start(&seen[4].probe, up, 4, NULL); /* parent first, oldest first: the opposite of the order of the ends */
  box_start(&boxes[3], up);
  probe_start(&seen[3].probe, up, 3, NULL);
  box_start(&boxes[2], up);
  probe_start(&seen[2].probe, up, 2, NULL);
  box_start(&boxes[1], down);
  probe_start(&seen[1].probe, down, 1, NULL);
  box_start(&boxes[0], down);
  probe_start(&seen[0].probe, down, 0, NULL);
  uvf_ctx_cancel(up);
  run_until(&f->loop, &seen[4].probe.calls, 1);
  for (int i = 0; i < 5; i++) assert_int_equal(seen[i].closed, i);
  for (int i = 0; i < 4; i++) run_until(&f->loop, &boxes[i].closes, 1);
  uvf_ctx_release(up);
  uvf_ctx_release(down);
}

static void handles_are_closed_behind_the_completions_already_due(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root), *other = child_of(f->root);
  box_t box;
  seen_t due = {.probe = {.then = count_closing}, .boxes = &box, .n = 1};
  seen_t below = {.probe = {.then = count_closing}, .boxes = &box, .n = 1};
  uvf_ctx_t *child = child_of(ctx);
  box_init(&box, &f->loop, 0, NULL);
  box_start(&box, ctx);
  probe_start(&due.probe, other, 0, NULL);
  probe_start(&below.probe, child, 0, NULL); /* a request's operations are answered, then its socket is closed */
  uvf_ctx_cancel(other);
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &box.closes, 1);
  assert_int_equal(due.probe.calls, 1);
  assert_int_equal(due.closed, 0);
  assert_int_equal(below.probe.calls, 1);
  assert_int_equal(below.closed, 0);
  uvf_ctx_release(child);
  uvf_ctx_release(ctx);
  uvf_ctx_release(other);
}

static void every_kind_of_handle_can_be_bound_and_the_close_callback_may_be_null(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  uvf_guard_t guards[6];
  union {
    uv_handle_t handle;
    uv_tcp_t tcp;
    uv_udp_t udp;
    uv_pipe_t pipe;
    uv_async_t async;
    uv_idle_t idle;
    uv_prepare_t prepare;
  } u[6];
  assert_int_equal(uv_tcp_init(&f->loop, &u[0].tcp), 0);
  assert_int_equal(uv_udp_init(&f->loop, &u[1].udp), 0);
  assert_int_equal(uv_pipe_init(&f->loop, &u[2].pipe, 0), 0);
  assert_int_equal(uv_async_init(&f->loop, &u[3].async, NULL), 0);
  assert_int_equal(uv_idle_init(&f->loop, &u[4].idle), 0);
  assert_int_equal(uv_prepare_init(&f->loop, &u[5].prepare), 0);
  for (size_t i = 0; i < 6; i++) assert_int_equal(uvf_guard_start(ctx, &guards[i], &u[i].handle, NULL), 0);
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  for (size_t i = 0; i < 6; i++) assert_true(uv_is_closing(&u[i].handle));
}

/* --- what it holds --- */

static void on_never(uv_timer_t *timer) { uv_stop(timer->loop); }

static void a_guard_does_not_hold_the_loop_but_holds_the_contexts_memory(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  box_t box;
  box_init(&box, &f->loop, 0, NULL);
  box_start(&box, ctx);
  uvf_ctx_release(ctx);
  assert_int_equal(uv_loop_alive(&f->loop), 0);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(stats_of(f->root).contexts, 2);
  assert_int_equal(uv_timer_start(&box.timer, on_never, HOUR_MS, 0), 0);
  assert_int_not_equal(uv_loop_alive(&f->loop), 0); /* an active handle does */
  uvf_ctx_cancel(box.guard.ctx);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(box.closes, 1);
  assert_int_equal(stats_of(f->root).contexts, 1);
}

static box_t *boxes_of_root;

static void check_boxes(uvf_ctx_t *root) {
  fixture_t *f = uvf_ctx_loop(root)->data;
  for (int i = 0; i < 20; i++) f->closed += boxes_of_root[i].closes == 1;
}

static void closing_the_root_closes_every_bound_handle_and_waits_for_that(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *child = child_of(f->root);
  box_t boxes[20];
  boxes_of_root = boxes;
  for (int i = 0; i < 20; i++) {
    box_init(&boxes[i], &f->loop, i, NULL);
    box_start(&boxes[i], i % 2 ? child : f->root);
    if (i % 3 == 0) assert_int_equal(uv_timer_start(&boxes[i].timer, on_never, HOUR_MS, 0), 0);
  }
  uvf_ctx_release(child);
  uvf_ctx_close(f->root, check_boxes);
  f->root = NULL;
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(f->closed, 20); /* every close callback had come when the root's came */
}

/* --- undone --- */

static void a_stopped_guard_leaves_the_handle_to_the_caller(void **state) {
  fixture_t *f = *state;
  for (int due = 0; due < 2; due++) {
    uvf_ctx_t *ctx = child_of(f->root);
    box_t box;
    box_init(&box, &f->loop, 0, NULL);
    box_start(&box, ctx);
    if (due) uvf_ctx_cancel(ctx); /* the close is due but not made yet */
    assert_int_equal(uvf_guard_stop(&box.guard), 0);
    assert_int_equal(counts_of(ctx).guards, 0);
    uvf_ctx_cancel(ctx);
    uvf_ctx_release(ctx);
    turn(&f->loop);
    assert_false(closing(&box));
    assert_int_equal(box.closes, 0);
    memset(&box.guard, 0x5a, sizeof box.guard); /* its memory is the caller's */
    uv_close(handle_of(&box), on_box_closed);
    run_until(&f->loop, &box.closes, 1);
  }
  assert_int_equal(stats_of(f->root).ops, 0);
}

static void a_closed_guard_closes_the_handle_now_with_the_callback_given_at_start(void **state) {
  fixture_t *f = *state;
  for (int due = 0; due < 2; due++) {
    uvf_ctx_t *ctx = child_of(f->root);
    box_t box;
    box_init(&box, &f->loop, 0, NULL);
    box_start(&box, ctx);
    if (due) uvf_ctx_cancel(ctx);
    assert_int_equal(uvf_guard_close(&box.guard), 0);
    assert_true(closing(&box));
    assert_int_equal(box.closes, 0); /* not inside */
    uvf_ctx_cancel(ctx);
    run_until(&f->loop, &box.closes, 1);
    turn(&f->loop);
    assert_int_equal(box.closes, 1);
    uvf_ctx_release(ctx);
  }
}

static void stop_late(probe_t *probe) {
  box_t *box = probe->arg;
  probe->id = uvf_guard_stop(&box->guard) == UV_EBUSY && uvf_guard_close(&box->guard) == UV_EBUSY;
}

static void once_the_library_has_closed_the_handle_stop_and_close_are_too_late(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  box_t box;
  probe_t probe = {.then = stop_late, .arg = &box};
  box_init(&box, &f->loop, 0, NULL);
  probe_start(&probe, ctx, 0, NULL); /* older than the guard: runs when the handle is closing */
  box_start(&box, ctx);
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &probe.calls, 1);
  assert_int_equal(probe.id, 1);
  run_until(&f->loop, &box.closes, 1);
  assert_int_equal(uvf_guard_stop(&box.guard), UV_EBUSY);
  assert_int_equal(uvf_guard_close(&box.guard), UV_EBUSY);
  turn(&f->loop);
  assert_int_equal(box.closes, 1);
  uvf_ctx_release(ctx);
}

/* --- refused --- */

static void null_arguments_other_loops_and_closing_handles_are_refused(void **state) {
  fixture_t *f = *state;
  uv_loop_t other;
  box_t box, foreign;
  box_init(&box, &f->loop, 0, NULL);
  assert_int_equal(uv_loop_init(&other), 0);
  box_init(&foreign, &other, 0, NULL);
  assert_int_equal(uvf_guard_start(NULL, &box.guard, handle_of(&box), NULL), UV_EINVAL);
  assert_int_equal(uvf_guard_start(f->root, NULL, handle_of(&box), NULL), UV_EINVAL);
  assert_int_equal(uvf_guard_start(f->root, &box.guard, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_guard_start(f->root, &foreign.guard, handle_of(&foreign), NULL), UV_EINVAL);
  assert_int_equal(uvf_guard_stop(NULL), UV_EINVAL);
  assert_int_equal(uvf_guard_close(NULL), UV_EINVAL);
  uv_close(handle_of(&box), on_box_closed);
  assert_int_equal(uvf_guard_start(f->root, &box.guard, handle_of(&box), on_box_closed), UV_EINVAL);
  assert_int_equal(counts_of(f->root).guards, 0);
  assert_int_equal(stats_of(f->root).ops, 0);
  run_until(&f->loop, &box.closes, 1);
  assert_int_equal(box.closes, 1);
  uv_close(handle_of(&foreign), on_box_closed);
  uv_run(&other, UV_RUN_DEFAULT);
  assert_int_equal(foreign.closes, 1);
  assert_int_equal(uv_loop_close(&other), 0);
}

static void a_handle_closed_by_hand_while_bound_is_not_closed_again(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  box_t box;
  box_init(&box, &f->loop, 0, NULL);
  box_start(&box, ctx);
  uvf_ctx_cancel(ctx);
  uv_close(handle_of(&box), on_box_closed); /* between the end and the close that is due: it is skipped */
  run_until(&f->loop, &box.closes, 1);
  turn(&f->loop);
  assert_int_equal(box.closes, 1);
  uvf_ctx_release(ctx);
}

static void bind_again(void *arg) {
  box_t *box = arg;
  (void)uvf_guard_start(box->guard.ctx, &box->guard, handle_of(box), on_box_closed);
}

static void binding_a_guard_twice_is_misuse(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  box_t box;
  box_init(&box, &f->loop, 0, NULL);
  box_start(&box, ctx);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(bind_again, &box);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_guard_start: ", strlen("uvf_guard_start: "));
  }
  assert_int_equal(counts_of(ctx).guards, 1);
  assert_int_equal(uvf_guard_stop(&box.guard), 0);
  box_start(&box, ctx); /* unbound, it may be bound again */
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &box.closes, 1);
  uvf_ctx_release(ctx);
}

/* --- many --- */

static void a_thousand_handles_of_a_random_tree_are_each_closed_exactly_once(void **state) {
  enum { NODES = 60, BOXES = 1000 };
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  uvf_ctx_t *nodes[NODES];
  box_t *boxes = calloc(BOXES, sizeof *boxes);
  int stopped = 0;
  assert_non_null(boxes);
  for (size_t i = 0; i < NODES; i++) nodes[i] = child_of(i == 0 ? f->root : nodes[test_rand(&seed) % i]);
  for (int i = 0; i < BOXES; i++) {
    box_init(&boxes[i], &f->loop, i, NULL);
    box_start(&boxes[i], nodes[test_rand(&seed) % NODES]);
  }
  for (int i = 0; i < 20; i++) {
    uvf_ctx_cancel(nodes[1 + test_rand(&seed) % (NODES - 1)]);
    for (int k = 0; k < 10; k++) {
      box_t *box = &boxes[test_rand(&seed) % BOXES];
      if (box->id >= 0 && uvf_guard_close(&box->guard) == 0) stopped++;
      box->id = -1;
    }
    if (i % 2) turn(&f->loop);
  }
  uvf_ctx_cancel(nodes[0]);
  turn(&f->loop);
  for (int i = 0; i < BOXES; i++) assert_int_equal(boxes[i].closes, 1);
  assert_true(stopped > 0);
  for (size_t i = 0; i < NODES; i++) uvf_ctx_release(nodes[i]);
  fixture_close_root(f);
  free(boxes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(the_end_of_the_context_closes_the_handle_once_and_not_inside_the_cancel),
      unit(bound_to_a_context_that_is_over_the_handle_is_closed_soon_and_not_inside_the_call),
      unit(handles_are_closed_childrens_before_parents_and_the_last_bound_first),
      unit(handles_are_closed_behind_the_completions_already_due),
      unit(every_kind_of_handle_can_be_bound_and_the_close_callback_may_be_null),
      unit(a_guard_does_not_hold_the_loop_but_holds_the_contexts_memory),
      unit(closing_the_root_closes_every_bound_handle_and_waits_for_that),
      unit(a_stopped_guard_leaves_the_handle_to_the_caller),
      unit(a_closed_guard_closes_the_handle_now_with_the_callback_given_at_start),
      unit(once_the_library_has_closed_the_handle_stop_and_close_are_too_late),
      unit(null_arguments_other_loops_and_closing_handles_are_refused),
      unit(a_handle_closed_by_hand_while_bound_is_not_closed_again),
      unit(binding_a_guard_twice_is_misuse),
      unit(a_thousand_handles_of_a_random_tree_are_each_closed_exactly_once),
  };
  return test_run(tests);
}
