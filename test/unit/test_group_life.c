/* SPDX-License-Identifier: MIT
 *
 * Groups: closed and freed in callbacks, misuse, no memory, and what a dump says of them.
 */
#include "unit/test_group.h"

/* --- closing in callbacks --- */

typedef struct own_s {
  uvf_group_t group;
  uvf_task_t tasks[2];
  uvf_wait_t wait;
  int *done;
} own_t;

static void own_drop(own_t *own) {
  ++*own->done;
  expect(uvf_group_close(&own->group) == 0);
  memset(own, 0xdb, sizeof *own);
  free(own);
}

static void own_start(uvf_task_t *task) { uvf_task_done(task, 0); }
static int own_fn(uvf_task_t *task) { return task != NULL ? 0 : -1; }
static void own_end_of_last(uvf_task_t *task, int status) {
  (void)status;
  if (task->group->active == 0 && task->group->waiting == 0) own_drop(task->data);
}
static void own_waited(uvf_wait_t *wait, int status) {
  (void)status;
  own_drop(wait->data);
}
static void own_nothing(uvf_wait_t *wait, int status) {
  *(int *)wait->data = status;
  free(wait);
}
static void own_cancels_wait(uvf_task_t *task, int status) {
  (void)status;
  if (task->group->active + task->group->waiting > 0) return;
  expect(uvf_op_cancel((uvf_op_t *)((own_t *)task->data)->wait.data) == 0);
  own_drop(task->data);
}

static own_t *own_new(uvf_ctx_t *ctx, int kind, size_t limit, uvf_task_end_cb end, int *done) {
  own_t *own = calloc(1, sizeof *own);
  assert_non_null(own);
  own->done = done;
  assert_int_equal(uvf_group_init(&own->group, ctx, 0), 0);
  assert_int_equal(uvf_group_set_limit(&own->group, limit), 0);
  for (int i = 0; i < 2; i++) {
    own->tasks[i].data = own;
    if (kind == POOL)
      assert_int_equal(uvf_group_go(&own->group, &own->tasks[i], own_fn, end), 0);
    else
      assert_int_equal(uvf_group_go_loop(&own->group, &own->tasks[i], own_start, end), 0);
  }
  return own;
}

static void a_group_may_be_closed_and_freed_in_its_last_callback(void **state) {
  fixture_t *f = *state;
  for (int kind = 0; kind < KINDS; kind++) {
    for (size_t limit = 1; limit <= 2; limit++) {
      int done = 0;
      int status = 0;
      own_t *own;
      uvf_wait_t *wait;
      own_new(f->root, kind, limit, own_end_of_last, &done);
      run_until(&f->loop, &done, 1);
      own = own_new(f->root, kind, limit, NULL, &done);
      own->wait.data = own;
      assert_int_equal(uvf_group_wait(f->root, &own->wait, &own->group, own_waited), 0);
      run_until(&f->loop, &done, 2);
      /* Somebody waits, but the end callback of the last one calls that off first. */
      own = own_new(f->root, kind, limit, own_cancels_wait, &done);
      wait = malloc(sizeof *wait);
      assert_non_null(wait);
      wait->data = &status;
      own->wait.data = wait;
      assert_int_equal(uvf_group_wait(f->root, wait, &own->group, own_nothing), 0);
      run_until(&f->loop, &done, 3);
      turn(&f->loop);
      assert_int_equal(status, UV_ECANCELED);
    }
  }
}

/* An end callback runs the loop, and in there the last task's end callback frees the group. */
static uv_loop_t *nested_loop;
static int nested_done;
static void nested_end(uvf_task_t *task, int status) {
  own_t *own = task->data;
  int done = *own->done;
  (void)status;
  if (task == &own->tasks[1]) {
    own_drop(own);
    nested_done = 1;
    return;
  }
  while (!nested_done) uv_run(nested_loop, UV_RUN_NOWAIT);
  expect(done == 0);
}

static void a_group_may_be_freed_by_a_callback_within_a_callback(void **state) {
  fixture_t *f = *state;
  for (int kind = 0; kind < KINDS; kind++) {
    int done = 0;
    nested_loop = &f->loop;
    nested_done = 0;
    own_new(f->root, kind, 1, nested_end, &done);
    run_until(&f->loop, &done, 1);
    turn(&f->loop);
    assert_int_equal(done, 1);
  }
}

/* --- misuse --- */

static void bad_arguments_are_refused_and_nothing_happens(void **state) {
  fixture_t *f = *state;
  lane_t *lane = calloc(1, sizeof *lane);
  uvf_task_t task;
  uvf_wait_t wait;
  int one;
  assert_int_equal(uvf_group_init(NULL, f->root, 0), UV_EINVAL);
  assert_int_equal(uvf_group_init(&k.group, NULL, 0), UV_EINVAL);
  assert_int_equal(uvf_group_init(&k.group, f->root, 2), UV_EINVAL);
  group_open(f->root, 0);
  assert_int_equal(uvf_group_go(NULL, &task, note_fn, note_end), UV_EINVAL);
  assert_int_equal(uvf_group_go(&k.group, NULL, note_fn, note_end), UV_EINVAL);
  assert_int_equal(uvf_group_go(&k.group, &task, NULL, note_end), UV_EINVAL);
  assert_int_equal(uvf_group_go_loop(NULL, &task, note_start, note_end), UV_EINVAL);
  assert_int_equal(uvf_group_go_loop(&k.group, &task, NULL, note_end), UV_EINVAL);
  assert_int_equal(uvf_group_try_go(&k.group, &task, NULL, note_end), UV_EINVAL);
  assert_int_equal(uvf_group_try_go_loop(&k.group, NULL, note_start, note_end), UV_EINVAL);
  assert_int_equal(uvf_group_wait(NULL, &wait, &k.group, waited_cb), UV_EINVAL);
  assert_int_equal(uvf_group_wait(f->root, NULL, &k.group, waited_cb), UV_EINVAL);
  assert_int_equal(uvf_group_wait(f->root, &wait, NULL, waited_cb), UV_EINVAL);
  assert_int_equal(uvf_group_wait(f->root, &wait, &k.group, NULL), UV_EINVAL);
  assert_int_equal(uvf_group_set_limit(NULL, 1), UV_EINVAL);
  assert_int_equal(uvf_group_keep_errors(NULL, &one, 1), UV_EINVAL);
  assert_int_equal(uvf_group_keep_errors(&k.group, NULL, 1), UV_EINVAL);
  assert_int_equal(uvf_group_errors(NULL), 0);
  assert_int_equal(uvf_task_done(NULL, 0), UV_EINVAL);
  assert_int_equal(uvf_task_err(NULL), UV_EINVAL);
  assert_int_equal(uvf_group_close(NULL), UV_EINVAL);
  assert_non_null(lane);
  lane_start(lane);
  assert_int_equal(uvf_group_wait(lane->root, &wait, &k.group, waited_cb), UV_EINVAL); /* another loop */
  lane_stop(lane);
  free(lane);
  assert_int_equal(k.group.active + k.group.waiting, 0);
  assert_int_equal(stats_of(f->root).ops, 0);
  group_close();
}

static int misuse_result;
static void close_it(void *arg) { misuse_result = uvf_group_close(arg); }
static void done_again(void *arg) { misuse_result = uvf_task_done(arg, 0); }
static void go_again(void *arg) { misuse_result = uvf_group_go_loop(&k.group, arg, note_start, note_end); }
static void go_again_on_pool(void *arg) { misuse_result = uvf_group_go(&k.group, arg, note_fn, note_end); }
static void limit_closed(void *arg) { misuse_result = uvf_group_set_limit(arg, 1); }

static void expect_misuse(void (*fn)(void *), void *arg, const char *function, int result) {
  if (test_rules_on()) {
    const char *rule = test_expect_rule(fn, arg);
    assert_non_null(rule);
    assert_memory_equal(rule, function, strlen(function));
  } else {
    misuse_result = 1;
    fn(arg);
    assert_int_equal(misuse_result, result);
  }
}

static void misuse_is_named_in_debug_builds_and_refused_in_others(void **state) {
  fixture_t *f = *state;
  group_open(f->root, 0);
  assert_int_equal(uvf_group_set_limit(&k.group, 2), 0);
  for (int i = 0; i < 3; i++) {
    k.notes[i].later = k.notes[i].gated = 1;
    note_go(&k.notes[i], i == 1 ? POOL : LOOP);
  }
  expect_misuse(close_it, &k.group, "uvf_group_close: ", UV_EBUSY);
  expect_misuse(done_again, k.notes[0].task, "uvf_task_done: ", UV_EINVAL); /* not started yet */
  turn(&f->loop);
  expect_misuse(done_again, k.notes[1].task, "uvf_task_done: ", UV_EINVAL); /* on the pool */
  expect_misuse(done_again, k.notes[2].task, "uvf_task_done: ", UV_EINVAL); /* waits for its turn */
  if (test_rules_on()) {                                                    /* a release build cannot tell */
    for (int i = 0; i < 3; i++) {
      expect_misuse(go_again, k.notes[i].task, "uvf_group_go_loop: ", 0);
      expect_misuse(go_again_on_pool, k.notes[i].task, "uvf_group_go: ", 0);
    }
  }
  note_done(&k.notes[0], 0);
  expect_misuse(done_again, k.notes[0].task, "uvf_task_done: ", UV_EINVAL); /* done already */
  gate_open(&k.notes[1].go, 1);
  waited_start(&k.waits[0], f->root);
  turn(&f->loop);
  note_done(&k.notes[2], 0);
  run_until(&f->loop, &k.waits[0].calls, 1);
  assert_int_equal(k.waits[0].status, 0);
  group_close();
  expect_misuse(close_it, &k.group, "uvf_group_close: ", UV_EINVAL);
  expect_misuse(limit_closed, &k.group, "uvf_group_set_limit: ", UV_EINVAL);
}

static int foreign_rc;
static void go_elsewhere(void *arg) {
  foreign_rc = uvf_group_go_loop(&k.group, ((note_t *)arg)->task, note_start, note_end);
}
static void go_elsewhere_rule(void *arg) {
  const char *rule = test_expect_rule(go_elsewhere, arg);
  foreign_rc = rule != NULL && strncmp(rule, "uvf_group_go_loop: ", 19) == 0 ? UV_EINVAL : 0;
}

static void a_go_from_another_thread_is_misuse(void **state) {
  fixture_t *f = *state;
  group_open(f->root, 0);
  turn(&f->loop); /* so that the loop's thread is known */
  note_task(&k.notes[0]);
  on_thread(test_rules_on() ? go_elsewhere_rule : go_elsewhere, &k.notes[0]);
  assert_int_equal(foreign_rc, UV_EINVAL);
  assert_int_equal(k.group.active, 0);
  free(k.notes[0].task);
  k.notes[0].task = NULL;
  group_close();
}

/* --- memory, and the drawing --- */

static void without_memory_nothing_happens(void **state) {
  fixture_t *f = *state;
  int failures = 0;
  int rc;
  size_t n;
  for (n = 1;; n++) {
    memset(&k.group, 0xff, sizeof k.group);
    test_alloc_fail_at(n);
    rc = uvf_group_init(&k.group, f->root, 0);
    if (!test_alloc_failed()) break;
    assert_int_equal(rc, UV_ENOMEM);
    assert_int_equal(stats_of(f->root).contexts, 1);
    failures++;
  }
  test_alloc_fail_at(0);
  assert_int_equal(rc, 0);
  assert_true(failures > 0);
  /* The hub's workers are made by the first go, whether it is let through or not. */
  assert_int_equal(uvf_group_set_limit(&k.group, 1), 0);
  k.notes[0].later = 1;
  note_go(&k.notes[0], LOOP);
  for (int i = 1; i <= 2; i++) {
    failures = 0;
    for (n = 1;; n++) {
      test_alloc_fail_at(n);
      rc = note_try(&k.notes[i], POOL, 0);
      if (!test_alloc_failed()) break;
      assert_int_equal(rc, UV_ENOMEM);
      assert_int_equal(k.group.waiting, i - 1);
      assert_int_equal(k.group.active, 1);
      failures++;
    }
    test_alloc_fail_at(0);
    assert_int_equal(rc, 0);
    assert_int_equal(failures > 0, i == 1);
  }
  turn(&f->loop);
  test_alloc_fail_at(1); /* from here on none is made: not by turns that come, nor by ends */
  note_done(&k.notes[0], -5);
  waited_start(&k.waits[0], f->root);
  run_until(&f->loop, &k.waits[0].calls, 1);
  assert_int_equal(k.waits[0].status, -5);
  assert_int_equal(test_alloc_failed(), 0);
  test_alloc_fail_at(0);
  assert_int_equal(k.notes[1].ends + k.notes[2].ends, 2);
  group_close();
}

static void the_first_go_of_the_pool_without_memory_leaves_the_group_as_it_was(void **state) {
  fixture_t *f = *state;
  int failures = 0;
  int rc;
  group_open(f->root, 0);
  for (size_t n = 1;; n++) {
    test_alloc_fail_at(n);
    rc = note_try(&k.notes[0], POOL, 0);
    if (!test_alloc_failed()) break;
    assert_int_equal(rc, UV_ENOMEM);
    assert_int_equal(k.group.active + k.group.waiting, 0);
    failures++;
  }
  test_alloc_fail_at(0);
  assert_int_equal(rc, 0);
  assert_true(failures > 0);
  assert_int_equal(wait_for_all(f, f->root), 0);
  assert_ended(&k.notes[0], 1, 0);
  group_close();
}

static void a_dump_names_tasks_that_run_and_where_they_were_started(void **state) {
  fixture_t *f = *state;
  char text[4096] = {0};
  FILE *out = tmpfile();
  group_open(f->root, 0);
  assert_int_equal(uvf_group_set_limit(&k.group, 1), 0);
  for (int i = 0; i < 2; i++) {
    k.notes[i].later = 1;
    note_go(&k.notes[i], LOOP);
  }
  turn(&f->loop);
  assert_non_null(out);
  for (int over = 0; over < 2; over++) {
    rewind(out);
    assert_int_equal(uvf_ctx_dump(f->root, out), 0);
    rewind(out);
    memset(text, 0, sizeof text);
    assert_true(fread(text, 1, sizeof text - 1, out) > 0);
    assert_non_null(strstr(text, "[task]  committed"));
    if (!over) assert_non_null(strstr(text, "[task]  pending"));
    if (test_rules_on()) assert_non_null(strstr(text, "test_group.h:"));
    uvf_ctx_cancel(k.group.ctx); /* out of the tree, but the root still waits for the one that runs */
    turn(&f->loop);
  }
  fclose(out);
  note_done(&k.notes[0], 0);
  assert_int_equal(wait_for_all(f, f->root), UV_ECANCELED);
  group_close();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      group_unit(a_group_may_be_closed_and_freed_in_its_last_callback),
      group_unit(a_group_may_be_freed_by_a_callback_within_a_callback),
      group_unit(bad_arguments_are_refused_and_nothing_happens),
      group_unit(misuse_is_named_in_debug_builds_and_refused_in_others),
      group_unit(a_go_from_another_thread_is_misuse),
      group_unit(without_memory_nothing_happens),
      group_unit(the_first_go_of_the_pool_without_memory_leaves_the_group_as_it_was),
      group_unit(a_dump_names_tasks_that_run_and_where_they_were_started),
  };
  return test_run(tests);
}
