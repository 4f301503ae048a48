/* SPDX-License-Identifier: MIT
 *
 * Without memory: each creating call, with its first, second, third ... allocation failing until none does. Every
 * failure is UV_ENOMEM and leaves everything as it was.
 */
#include "unit/probe.h"

static uvf_ctx_t *const sentinel = (uvf_ctx_t *)(uintptr_t)16;

/* --- roots --- */

typedef int (*root_fn)(uv_loop_t *loop, uvf_ctx_t **root);

static void count_handle(uv_handle_t *handle, void *arg) {
  (void)handle;
  ++*(int *)arg;
}

static void a_root_that_finds_no_memory_leaves_the_loop_as_it_was(void **state) {
  static const root_fn rows[] = {uvf_ctx_background, uvf_ctx_todo};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uv_loop_t loop;
    int failures = 0, err;
    size_t blocks = test_alloc_live();
    assert_int_equal(uv_loop_init(&loop), 0);
    for (size_t n = 1;; n++) {
      uvf_ctx_t *root = sentinel;
      int handles = 0;
      test_alloc_fail_at(n);
      err = rows[i](&loop, &root);
      if (!test_alloc_failed()) {
        test_alloc_fail_at(0);
        assert_int_equal(err, 0);
        uvf_ctx_close(root, NULL);
        break;
      }
      assert_int_equal(err, UV_ENOMEM);
      assert_ptr_equal(root, sentinel);
      assert_int_equal(test_alloc_live(), blocks);
      uv_run(&loop, UV_RUN_DEFAULT); /* handles that were made and closed again may need a turn */
      uv_walk(&loop, count_handle, &handles);
      assert_int_equal(handles, 0);
      failures++;
    }
    assert_true(failures > 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    assert_int_equal(test_alloc_live(), blocks);
  }
}

static void a_second_root_that_finds_no_memory_leaves_the_first_as_it_was(void **state) {
  fixture_t *f = *state;
  size_t blocks = test_alloc_live();
  int failures = 0, err;
  for (size_t n = 1;; n++) {
    uvf_ctx_t *root = sentinel;
    test_alloc_fail_at(n);
    err = uvf_ctx_background(&f->loop, &root);
    if (!test_alloc_failed()) {
      test_alloc_fail_at(0);
      assert_int_equal(err, 0);
      uvf_ctx_close(root, NULL);
      break;
    }
    assert_int_equal(err, UV_ENOMEM);
    assert_ptr_equal(root, sentinel);
    assert_int_equal(test_alloc_live(), blocks);
    assert_int_equal(stats_of(f->root).roots, 1);
    assert_int_equal(stats_of(f->root).contexts, 1);
    failures++;
  }
  assert_true(failures > 0);
  turn(&f->loop);
}

/* --- deriving --- */

static uvf_ctx_t *second_parent; /* for the calls that take two */

static void never_freed(void *value) { ++*(int *)value; }
static int frees;

static int owned_value(uvf_ctx_t *parent, uvf_ctx_t **ctx) {
  static int key;
  return uvf_ctx_with_value(parent, &key, &frees, never_freed, ctx);
}

static int any_of_two(uvf_ctx_t *parent, uvf_ctx_t **ctx) {
  uvf_ctx_t *const parents[3] = {parent, second_parent, parent};
  return uvf_ctx_with_any(parents, 3, ctx);
}

static int remote_of_other(uvf_ctx_t *parent, uvf_ctx_t **ctx) {
  return uvf_ctx_with_remote(second_parent, parent, ctx);
}

static int local_remote(uvf_ctx_t *parent, uvf_ctx_t **ctx) { return uvf_ctx_with_remote(parent, second_parent, ctx); }

static const kind_t rows[] = {
    {"with_cancel", derive_cancel},
    {"with_timeout", derive_timeout},
    {"with_deadline", derive_deadline},
    {"with_timeout_cause", derive_timeout_cause},
    {"with_deadline_cause", derive_deadline_cause},
    {"with_value", owned_value},
    {"without_cancel", uvf_ctx_without_cancel},
    {"with_any", any_of_two},
    {"with_remote of another loop", remote_of_other},
    {"with_remote of the same loop", local_remote},
};

enum { MOST = 20000, DEEPEST = 8 };

/* Makes children with the n-th allocation of each call failing, until one failed; returns how many were made before,
 * negative if no call came to an n-th. The call that met the failure must have failed with UV_ENOMEM. */
static int sweep(const kind_t *row, uvf_ctx_t *root, uvf_ctx_t *parent, size_t n, uvf_ctx_t **held) {
  uvf_stats_t before, after;
  size_t blocks, children;
  uvf_ctx_t *ctx;
  int made = 0, err;
  for (;;) {
    before = stats_of(root);
    blocks = test_alloc_live();
    children = counts_of(parent).children;
    ctx = sentinel;
    test_alloc_fail_at(n);
    err = row->derive(parent, &ctx);
    if (test_alloc_failed()) break;
    test_alloc_fail_at(0);
    if (err != 0) fail_msg("%s: %d although nothing failed", row->name, err);
    held[made++] = ctx;
    if (made == MOST) return -made;
  }
  test_alloc_fail_at(0);
  if (err != UV_ENOMEM) fail_msg("%s, allocation %zu: %d is not UV_ENOMEM", row->name, n, err);
  after = stats_of(root);
  assert_ptr_equal(ctx, sentinel);
  assert_int_equal(test_alloc_live(), blocks);
  assert_int_equal(counts_of(parent).children, children);
  assert_int_equal(after.contexts, before.contexts);
  assert_int_equal(after.live, before.live);
  assert_int_equal(after.deadlines, before.deadlines);
  assert_int_equal(after.ops, before.ops);
  return made;
}

static void each_deriving_call_that_finds_no_memory_changes_nothing(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t **held = calloc(MOST, sizeof(uvf_ctx_t *));
  uv_loop_t other;
  uvf_ctx_t *other_root = NULL, *near, *far;
  assert_non_null(held);
  assert_int_equal(uv_loop_init(&other), 0);
  assert_int_equal(uvf_ctx_background(&other, &other_root), 0);
  near = child_of(f->root);
  far = child_of(other_root);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_ctx_t *parent = child_of(f->root);
    size_t n = 1;
    second_parent = rows[i].derive == remote_of_other ? far : near;
    for (; n <= DEEPEST; n++) {
      int made = sweep(&rows[i], f->root, parent, n, held);
      for (int k = 0; k < (made < 0 ? -made : made); k++) uvf_ctx_release(held[k]);
      turn(&f->loop);
      uv_run(&other, UV_RUN_NOWAIT);
      if (made < 0) break; /* no call makes as many as n allocations */
    }
    if (n == 1) fail_msg("%s: no allocation of it could be made to fail", rows[i].name);
    assert_true(n <= DEEPEST);
    uvf_ctx_release(parent);
  }
  assert_true(frees > 0);
  uvf_ctx_release(near);
  uvf_ctx_release(far);
  uvf_ctx_close(other_root, NULL);
  turn(&f->loop);
  uv_run(&other, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&other), 0);
  free(held);
}

static void a_value_that_was_refused_stays_the_callers(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t **held = calloc(MOST, sizeof(uvf_ctx_t *));
  int made;
  assert_non_null(held);
  frees = 0;
  made = sweep(&rows[5], f->root, f->root, 1, held);
  assert_true(made >= 0);
  turn(&f->loop);
  assert_int_equal(frees, 0);
  for (int k = 0; k < made; k++) uvf_ctx_release(held[k]);
  fixture_close_root(f);
  assert_int_equal(frees, made);
  free(held);
}

/* --- what needs no memory --- */

static void watching_guarding_cancelling_and_completing_need_no_memory(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root), *timed = timeout_of(ctx, 2), *below = child_of(timed);
  probe_t probes[3] = {0};
  uvf_guard_t guard;
  uv_timer_t timer;
  assert_int_equal(uv_timer_init(&f->loop, &timer), 0);
  test_alloc_fail_at(1);
  probe_start(&probes[0], ctx, 0, NULL);
  probe_start(&probes[1], below, 0, NULL);
  probe_start(&probes[2], below, 0, NULL);
  assert_int_equal(uvf_guard_start(ctx, &guard, (uv_handle_t *)&timer, NULL), 0);
  assert_int_equal(uvf_watch_stop(&probes[2].watch), UVF_STOP_REMOVED);
  run_until(&f->loop, &probes[1].calls, 1);
  assert_int_equal(probes[1].status, UV_ETIMEDOUT);
  uvf_ctx_cancel_cause(ctx, -1, NULL);
  uvf_ctx_release(below);
  uvf_ctx_release(timed);
  run_until(&f->loop, &probes[0].calls, 1);
  uvf_ctx_release(ctx);
  fixture_close_root(f);
  assert_int_equal(test_alloc_failed(), 0); /* nobody asked for any */
}

typedef struct asker_s {
  uvf_ctx_t *ctx;
  uvf_watch_t *watch;
  int err;
} asker_t;

static void ask_stop(void *arg) {
  asker_t *asker = arg;
  asker->err = uvf_watch_stop_wait(asker->ctx, asker->watch, UVF_WAIT_FOREVER);
}

static void a_waiting_stop_that_finds_no_memory_stops_nothing(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  probe_t probe = {0};
  asker_t asker = {ctx, &probe.watch, 1};
  size_t blocks = test_alloc_live();
  int failures = 0;
  probe_start(&probe, ctx, 0, NULL);
  for (size_t n = 1;; n++) {
    test_alloc_fail_at(n);
    run_beside(&f->loop, ask_stop, &asker);
    if (!test_alloc_failed()) break;
    assert_int_equal(asker.err, UV_ENOMEM);
    assert_int_equal(test_alloc_live(), blocks);
    assert_int_equal(counts_of(ctx).watchers, 1);
    failures++;
  }
  test_alloc_fail_at(0);
  assert_true(failures > 0);
  assert_int_equal(asker.err, UVF_STOP_REMOVED);
  assert_int_equal(test_alloc_live(), blocks);
  uvf_ctx_cancel(ctx);
  turn(&f->loop);
  assert_int_equal(probe.calls, 0);
  uvf_ctx_release(ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_root_that_finds_no_memory_leaves_the_loop_as_it_was),
      unit(a_second_root_that_finds_no_memory_leaves_the_first_as_it_was),
      unit(each_deriving_call_that_finds_no_memory_changes_nothing),
      unit(a_value_that_was_refused_stays_the_callers),
      unit(watching_guarding_cancelling_and_completing_need_no_memory),
      unit(a_waiting_stop_that_finds_no_memory_stops_nothing),
  };
  return test_run(tests);
}
