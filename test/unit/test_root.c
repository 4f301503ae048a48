/* SPDX-License-Identifier: MIT
 *
 * Closing a root: asynchronous, after everything under it, with the loop's last root the handles; and what outlives it.
 */
#include "unit/probe.h"

static journal_t closed_journal;

static void on_closed(uvf_ctx_t *root) {
  fixture_t *f = uvf_ctx_loop(root)->data;
  f->closed++;
  journal_add(&closed_journal, 1000);
}

static uvf_ctx_t *root_of(uv_loop_t *loop) {
  uvf_ctx_t *root = NULL;
  assert_int_equal(uvf_ctx_background(loop, &root), 0);
  return root;
}

/* --- what close does --- */

static void everything_under_it_is_over_when_close_returns_and_the_callback_comes_later(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *root = uvf_ctx_retain(f->root), *under[ARRAY_SIZE(kinds)], *apart = NULL, *below;
  void *data = f;
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) assert_int_equal(kinds[i].derive(root, &under[i]), 0);
  assert_int_equal(uvf_ctx_without_cancel(under[0], &apart), 0);
  below = child_of(apart);
  f->root = NULL;
  uvf_ctx_close(root, on_closed);
  assert_int_equal(f->closed, 0);
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) assert_over(under[i], UV_ECANCELED, UV_ESHUTDOWN);
  assert_over(apart, UV_ECANCELED, UV_ESHUTDOWN);
  assert_over(below, UV_ECANCELED, UV_ESHUTDOWN);
  assert_int_equal(uvf_ctx_err(root), UV_ECANCELED);
  assert_int_equal(uvf_ctx_cause(root, &data), UV_ESHUTDOWN);
  assert_null(data);
  assert_int_not_equal(uv_loop_alive(&f->loop), 0); /* a closing root holds the loop */
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(f->closed, 1);
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) uvf_ctx_release(under[i]);
  uvf_ctx_release(apart);
  uvf_ctx_release(below);
  uvf_ctx_release(root);
}

typedef struct late_job_s {
  uvf_work_t work;
  gate_t started, go;
  int id;
} late_job_t;

static int late_fn(uvf_work_t *work) {
  late_job_t *job = (late_job_t *)work;
  gate_open(&job->started, 1);
  gate_pass(&job->go);
  return 0;
}
static void late_done(uvf_work_t *work, int status) {
  (void)work;
  journal_add(&closed_journal, status == UV_ECANCELED ? 10 : -10);
}
static void late_release(uvf_work_t *work) {
  (void)work;
  journal_add(&closed_journal, 11);
}
static void value_freed(void *value) {
  (void)value;
  journal_add(&closed_journal, 12);
}
static void handle_closed(uv_handle_t *handle) {
  (void)handle;
  journal_add(&closed_journal, 13);
}

static void the_close_callback_comes_after_every_answer_release_free_and_handle(void **state) {
  fixture_t *f = *state;
  static int key;
  late_job_t job = {.id = 0};
  uvf_ctx_t *ctx = value_of(f->root, &key, &key, value_freed);
  uvf_guard_t guard;
  uv_timer_t timer;
  probe_t probe = {0};
  memset(&closed_journal, 0, sizeof closed_journal);
  gate_init(&job.started);
  gate_init(&job.go);
  assert_int_equal(uv_timer_init(&f->loop, &timer), 0);
  assert_int_equal(uvf_guard_start(ctx, &guard, (uv_handle_t *)&timer, handle_closed), 0);
  assert_int_equal(uvf_work_start(ctx, &job.work, late_fn, late_done, late_release), 0);
  probe_start(&probe, ctx, 14, &closed_journal);
  uvf_ctx_release(ctx);
  gate_pass(&job.started);
  uvf_ctx_close(f->root, on_closed);
  f->root = NULL;
  turn(&f->loop);
  turn(&f->loop);
  assert_int_equal(f->closed, 0); /* it waits for the job that is running */
  assert_true(journal_find(&closed_journal, 10) >= 0);
  assert_true(journal_find(&closed_journal, 13) >= 0);
  assert_true(journal_find(&closed_journal, 14) >= 0);
  assert_true(journal_find(&closed_journal, 11) < 0);
  assert_true(journal_find(&closed_journal, 12) < 0);
  gate_open(&job.go, 1);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(f->closed, 1);
  assert_int_equal(closed_journal.n, 6);
  assert_int_equal(closed_journal.id[3], 11);
  assert_int_equal(closed_journal.id[4], 12);
  assert_int_equal(closed_journal.id[5], 1000);
  gate_destroy(&job.started);
  gate_destroy(&job.go);
}

static void start_more(probe_t *probe) {
  probe_t *more = probe->arg;
  uvf_ctx_t *born = NULL;
  if (more == NULL) return;
  if (uvf_ctx_with_timeout(probe->watch.ctx, HOUR_MS, &born) != 0) abort();
  if (uvf_ctx_err(born) != UV_ECANCELED || uvf_ctx_cause(born, NULL) != UV_ESHUTDOWN) more->id = -1;
  if (uvf_ctx_on_done(born, &more->watch, on_probe) != 0) abort();
  uvf_ctx_release(born);
}

static void what_callbacks_start_while_it_closes_is_still_answered_before_the_close_callback(void **state) {
  enum { ROW = 100 };
  fixture_t *f = *state;
  probe_t probes[ROW] = {0};
  memset(&closed_journal, 0, sizeof closed_journal);
  for (int i = 0; i < ROW; i++) {
    probes[i].id = i;
    probes[i].journal = &closed_journal;
    probes[i].then = start_more;
    probes[i].arg = i + 1 < ROW ? &probes[i + 1] : NULL;
  }
  assert_int_equal(uvf_ctx_on_done(f->root, &probes[0].watch, on_probe), 0);
  uvf_ctx_close(f->root, on_closed);
  f->root = NULL;
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(closed_journal.n, ROW + 1);
  for (int i = 0; i < ROW; i++) assert_int_equal(closed_journal.id[i], i);
  assert_int_equal(closed_journal.id[ROW], 1000);
}

static void look_inside(uvf_ctx_t *root) {
  fixture_t *f = uvf_ctx_loop(root)->data;
  if (strcmp(uvf_ctx_name(root), "my root") == 0) f->closed++;
}

static void inside_the_close_callback_the_root_is_still_valid(void **state) {
  fixture_t *f = *state;
  uvf_ctx_set_name(f->root, "my root");
  uvf_ctx_close(f->root, look_inside);
  f->root = NULL;
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(f->closed, 1);
}

static void a_root_may_be_closed_without_a_callback_and_null_does_nothing(void **state) {
  fixture_t *f = *state;
  uvf_ctx_close(NULL, on_closed);
  uvf_ctx_close(f->root, NULL);
  f->root = NULL;
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(f->closed, 0);
  assert_int_equal(uv_loop_close(&f->loop), 0);
  assert_int_equal(uv_loop_init(&f->loop), 0);
}

static void close_without_callback(void *ctx) { uvf_ctx_close(ctx, NULL); }

static void closing_twice_or_what_is_no_root_is_misuse(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *child = child_of(f->root), *root = uvf_ctx_retain(f->root);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(close_without_callback, child);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_ctx_close: ", strlen("uvf_ctx_close: "));
  }
  assert_int_equal(uvf_ctx_err(child), 0);
  f->root = NULL;
  uvf_ctx_close(root, on_closed);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(close_without_callback, root);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_ctx_close: ", strlen("uvf_ctx_close: "));
  }
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(f->closed, 1);
  uvf_ctx_release(child);
  uvf_ctx_release(root);
}

/* --- several roots --- */

typedef struct walk_s {
  int ours, theirs;
} walk_t;

static void tell_apart(uv_handle_t *handle, void *arg) {
  walk_t *walk = arg;
  if (uvf_owns_handle(handle)) {
    walk->ours++;
  } else {
    walk->theirs++;
  }
}

static void the_handles_go_with_the_last_root_of_the_loop_and_not_before(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *roots[3] = {root_of(&f->loop), root_of(&f->loop), f->root}, *child;
  walk_t walk = {0}, first = {0};
  probe_t probe = {0};
  uv_walk(&f->loop, tell_apart, &first);
  f->root = NULL;
  for (int i = 0; i < 2; i++) {
    uvf_ctx_close(roots[i], on_closed);
    assert_int_equal(uvf_ctx_err(roots[2]), 0);
    run_until(&f->loop, &f->closed, i + 1);
    memset(&walk, 0, sizeof walk);
    uv_walk(&f->loop, tell_apart, &walk);
    assert_int_equal(walk.ours, first.ours);
    child = timeout_of(roots[2], 2); /* the others go on working */
    probe_start(&probe, child, 0, NULL);
    run_until(&f->loop, &probe.calls, 1);
    uvf_ctx_release(child);
  }
  uvf_ctx_close(roots[2], on_closed);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(f->closed, 3);
  memset(&walk, 0, sizeof walk);
  uv_walk(&f->loop, tell_apart, &walk);
  assert_int_equal(walk.ours + walk.theirs, 0);
}

static void many_roots_of_one_loop_may_close_at_once(void **state) {
  enum { ROOTS = 50 };
  fixture_t *f = *state;
  uvf_ctx_t *roots[ROOTS], *children[ROOTS];
  probe_t probes[ROOTS] = {0};
  for (int i = 0; i < ROOTS; i++) {
    roots[i] = i == 0 ? f->root : root_of(&f->loop);
    children[i] = timeout_of(roots[i], HOUR_MS);
    probe_start(&probes[i], children[i], i, NULL);
  }
  f->root = NULL;
  for (int i = 0; i < ROOTS; i++) uvf_ctx_close(roots[i], on_closed);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(f->closed, ROOTS);
  for (int i = 0; i < ROOTS; i++) {
    assert_int_equal(probes[i].calls, 1);
    uvf_ctx_release(children[i]);
  }
}

static void two_loops_close_independently(void **state) {
  fixture_t *f = *state;
  lane_t lane;
  uvf_ctx_t *child = child_of(f->root);
  for (int i = 0; i < 20; i++) {
    lane_start(&lane);
    lane_turn(&lane);
    lane_stop(&lane);
    assert_int_equal(uvf_ctx_err(child), 0);
  }
  uvf_ctx_release(child);
}

static void a_loop_may_get_a_new_root_after_its_last_one_was_closed(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 100; i++) {
    uvf_ctx_t *child = timeout_of(f->root, 0);
    probe_t probe = {0};
    probe_start(&probe, child, 0, NULL);
    uvf_ctx_release(child);
    fixture_close_root(f);
    assert_int_equal(probe.calls, 1);
    assert_int_equal(test_alloc_live(), f->blocks_before);
    f->root = root_of(&f->loop);
  }
}

/* --- inside callbacks --- */

static uvf_ctx_t *to_close;

static void close_target(void) { uvf_ctx_close(to_close, on_closed); }

static void close_in_watch(probe_t *probe) {
  (void)probe;
  close_target();
}
static void close_in_free(void *value) {
  (void)value;
  close_target();
}
static void close_in_handle(uv_handle_t *handle) {
  (void)handle;
  close_target();
}
static void close_in_root(uvf_ctx_t *root) {
  (void)root;
  close_target();
}
static int fn_zero(uvf_work_t *work) {
  (void)work;
  return 0;
}
static void close_in_done(uvf_work_t *work, int status) {
  (void)work;
  (void)status;
  close_target();
}
static void close_in_release(uvf_work_t *work) {
  (void)work;
  close_target();
}

static void a_root_may_be_closed_inside_any_callback_its_own_ones_included(void **state) {
  fixture_t *f = *state;
  for (int own = 0; own < 2; own++) {
    for (int how = 0; how < 6; how++) {
      static int key;
      uvf_ctx_t *over, *host = own ? root_of(&f->loop) : f->root;
      uv_timer_t timer;
      uvf_guard_t guard;
      uvf_work_t work;
      probe_t probe = {.then = close_in_watch};
      if (own && how == 3) { /* a root's own close callback comes after its close */
        uvf_ctx_close(host, NULL);
        turn(&f->loop);
        continue;
      }
      f->closed = 0;
      to_close = own ? host : root_of(&f->loop);
      over = timeout_of(host, 0);
      if (how == 0) probe_start(&probe, over, 0, NULL);
      if (how == 1) uvf_ctx_release(value_of(host, &key, &key, close_in_free));
      if (how == 2) {
        assert_int_equal(uv_timer_init(&f->loop, &timer), 0);
        assert_int_equal(uvf_guard_start(over, &guard, (uv_handle_t *)&timer, close_in_handle), 0);
      }
      if (how == 3) uvf_ctx_close(root_of(&f->loop), close_in_root);
      if (how == 4) assert_int_equal(uvf_work_start(host, &work, fn_zero, close_in_done, NULL), 0);
      if (how == 5) assert_int_equal(uvf_work_start(host, &work, fn_zero, NULL, close_in_release), 0);
      uvf_ctx_release(over);
      run_until(&f->loop, &f->closed, 1);
      turn(&f->loop);
      assert_int_equal(f->closed, 1);
      assert_int_equal(uvf_ctx_err(f->root), 0);
      assert_int_equal(stats_of(f->root).roots, 1);
    }
  }
}

static void make_another(uvf_ctx_t *root) {
  fixture_t *f = uvf_ctx_loop(root)->data;
  f->closed++;
  if (f->closed < 10 && uvf_ctx_background(&f->loop, &f->root) != 0) abort();
  if (f->closed < 10) uvf_ctx_close(f->root, make_another);
  f->root = NULL;
}

static void a_close_callback_may_make_and_close_the_next_root(void **state) {
  fixture_t *f = *state;
  uvf_ctx_close(f->root, make_another);
  f->root = NULL;
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(f->closed, 10);
}

/* --- references and threads --- */

static void release_all(void *arg) {
  uvf_ctx_t **held = arg;
  while (*held != NULL) {
    uvf_ctx_cancel(*held);
    (void)uvf_ctx_err(*held);
    uvf_ctx_release(*held++);
  }
}

static void references_may_be_released_on_another_thread_after_the_loop_is_gone(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *held[3 * ARRAY_SIZE(kinds) + 1] = {NULL};
  for (size_t i = 0; i + 1 < ARRAY_SIZE(held); i++) {
    uvf_ctx_t *parent = i < ARRAY_SIZE(kinds) ? f->root : held[i - ARRAY_SIZE(kinds)];
    assert_int_equal(kinds[i % ARRAY_SIZE(kinds)].derive(parent, &held[i]), 0);
  }
  fixture_close_root(f);
  assert_int_equal(uv_loop_close(&f->loop), 0);
  memset(&f->loop, -1, sizeof f->loop);
  on_thread(release_all, held);
  assert_int_equal(test_alloc_live(), f->blocks_before);
  assert_int_equal(uv_loop_init(&f->loop), 0);
}

static void run_it(void *arg) {
  fixture_t *f = arg;
  uvf_ctx_t *child = NULL;
  uv_run(&f->loop, UV_RUN_DEFAULT);
  if (uvf_ctx_with_cancel(f->root, &child) != 0) return; /* this is its loop thread now */
  uvf_ctx_release(child);
  uvf_ctx_close(f->root, on_closed);
  f->root = NULL;
  uv_run(&f->loop, UV_RUN_DEFAULT);
}

static void a_loop_may_be_set_up_on_one_thread_and_run_on_another(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 5);
  probe_t probe = {0};
  probe_start(&probe, ctx, 0, NULL);
  uvf_ctx_release(ctx);
  on_thread(run_it, f);
  assert_int_equal(probe.calls, 1);
  assert_int_equal(probe.status, UV_ETIMEDOUT);
  assert_null(f->root);
  assert_int_equal(f->closed, 1);
}

/* --- handles --- */

static void close_theirs(uv_handle_t *handle, void *arg) {
  (void)arg;
  if (!uvf_owns_handle(handle) && !uv_is_closing(handle)) uv_close(handle, NULL);
}

static void a_walk_that_closes_everything_can_tell_the_librarys_handles(void **state) {
  fixture_t *f = *state;
  uv_timer_t timer;
  uv_async_t async;
  walk_t walk = {0};
  uvf_ctx_t *ctx;
  probe_t probe = {0};
  assert_int_equal(uv_timer_init(&f->loop, &timer), 0);
  assert_int_equal(uv_async_init(&f->loop, &async, NULL), 0);
  uv_walk(&f->loop, tell_apart, &walk);
  assert_int_equal(walk.theirs, 2);
  assert_true(walk.ours > 0);
  assert_int_equal(uvf_owns_handle((uv_handle_t *)&timer), 0);
  uv_walk(&f->loop, close_theirs, NULL);
  turn(&f->loop);
  ctx = timeout_of(f->root, 2); /* everything under the root still works */
  probe_start(&probe, ctx, 0, NULL);
  run_until(&f->loop, &probe.calls, 1);
  uvf_ctx_release(ctx);
  uvf_ctx_close(f->root, on_closed);
  f->root = NULL;
  walk = (walk_t){0};
  uv_walk(&f->loop, tell_apart, &walk);
  assert_int_equal(walk.theirs, 0); /* those that are closing are told apart too */
  uv_walk(&f->loop, close_theirs, NULL);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(f->closed, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(everything_under_it_is_over_when_close_returns_and_the_callback_comes_later),
      unit(the_close_callback_comes_after_every_answer_release_free_and_handle),
      unit(what_callbacks_start_while_it_closes_is_still_answered_before_the_close_callback),
      unit(inside_the_close_callback_the_root_is_still_valid),
      unit(a_root_may_be_closed_without_a_callback_and_null_does_nothing),
      unit(closing_twice_or_what_is_no_root_is_misuse),
      unit(the_handles_go_with_the_last_root_of_the_loop_and_not_before),
      unit(many_roots_of_one_loop_may_close_at_once),
      unit(two_loops_close_independently),
      unit(a_loop_may_get_a_new_root_after_its_last_one_was_closed),
      unit(a_root_may_be_closed_inside_any_callback_its_own_ones_included),
      unit(a_close_callback_may_make_and_close_the_next_root),
      unit(references_may_be_released_on_another_thread_after_the_loop_is_gone),
      unit(a_loop_may_be_set_up_on_one_thread_and_run_on_another),
      unit(a_walk_that_closes_everything_can_tell_the_librarys_handles),
  };
  return test_run(tests);
}
