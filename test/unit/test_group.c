/* SPDX-License-Identifier: MIT
 *
 * Groups: what a task's end does to the group, waits, limits, the list of errors, reuse. What becomes of a task that
 * something else ends is in test_group_end.c; how a group is closed, misused and drawn in test_group_life.c.
 */
#include "unit/test_group.h"

/* --- ends and waits --- */

static void every_task_runs_and_ends_once_and_then_the_wait_is_told(void **state) {
  fixture_t *f = *state;
  for (int kind = 0; kind < KINDS; kind++) {
    kit_reset();
    group_open(f->root, 0);
    for (int i = 0; i < 20; i++) note_go(&k.notes[i], kind);
    assert_int_equal(k.group.active, 20);
    assert_int_equal(k.group.waiting, 0);
    assert_int_equal(wait_for_all(f, f->root), 0);
    for (int i = 0; i < 20; i++) assert_ended(&k.notes[i], 1, 0);
    assert_int_equal(journal_find(&k.journal, 1007), 20); /* behind them all */
    assert_int_equal(k.waits[7].err_in_cb, UV_ECANCELED);
    assert_int_equal(k.group.err, 0);
    assert_int_equal(uvf_group_errors(&k.group), 0);
    group_close();
  }
}

static void tasks_of_the_loop_are_started_and_ended_in_the_order_of_their_go(void **state) {
  fixture_t *f = *state;
  group_open(f->root, 0);
  k.note_starts = 1;
  k.notes[1].later = 1;
  for (int i = 0; i < 3; i++) note_go(&k.notes[i], LOOP);
  turn(&f->loop);
  assert_journal(&k.journal, 2000, 2001, 2002, 0, 2);
  assert_int_equal(k.group.active, 1);
  assert_int_equal(k.notes[1].ends, 0);
  assert_int_equal(note_done(&k.notes[1], 0), 0);
  assert_int_equal(k.notes[1].ends, 0); /* not inside */
  assert_int_equal(wait_for_all(f, f->root), 0);
  assert_ended(&k.notes[1], 1, 0);
  group_close();
}

/* One task commits before an effect that must not be half seen, and another one does not; the group is given up then. */
static gate_t committed, given_up;
static int commit_result[3];

static int commits(uvf_task_t *task) {
  int i = *(int *)task->data;
  if (i == 0) commit_result[0] = uvf_task_commit(task);
  gate_open(&committed, 1);
  gate_pass(&given_up);
  if (i == 1) commit_result[1] = uvf_task_commit(task);
  return i == 0 ? 7 : 0;
}

static void asks_to_commit(uvf_task_t *task) {
  commit_result[2] = uvf_task_commit(task);
  uvf_task_done(task, 0);
}

static void a_task_that_has_committed_keeps_its_status_and_the_first_error_has_a_name(void **state) {
  fixture_t *f = *state;
  int ids[3] = {0, 1, 2};
  uvf_task_t tasks[3];
  gate_init(&committed);
  gate_init(&given_up);
  group_open(f->root, 0);
  for (int i = 0; i < 3; i++) tasks[i].data = &ids[i];
  assert_null(k.group.first);
  assert_int_equal(uvf_group_go_loop(&k.group, &tasks[2], asks_to_commit, NULL), 0);
  turn(&f->loop);
  for (int i = 0; i < 2; i++) assert_int_equal(uvf_group_go(&k.group, &tasks[i], commits, NULL), 0);
  for (int i = 0; i < 2; i++) gate_pass(&committed);
  uvf_ctx_cancel(k.group.ctx);
  gate_open(&given_up, 2);
  wait_for_all(f, f->root);
  assert_int_equal(commit_result[0], 0);
  assert_int_equal(tasks[0].status, 7);
  assert_int_equal(commit_result[1], UV_ECANCELED);
  assert_int_equal(tasks[1].status, UV_ECANCELED);
  assert_int_equal(commit_result[2], UV_EINVAL);
  assert_true(k.group.err == 7 ? k.group.first == &tasks[0] : k.group.first == &tasks[1]);
  assert_int_equal(uvf_task_commit(NULL), UV_EINVAL);
  group_close();
  gate_destroy(&committed);
  gate_destroy(&given_up);
}

static void the_first_error_cancels_the_context_before_its_end_callback_and_stays(void **state) {
  fixture_t *f = *state;
  int errors[2] = {1, 1};
  group_open(f->root, 0);
  assert_int_equal(uvf_group_keep_errors(&k.group, errors, 2), 0);
  for (int i = 0; i < 4; i++) {
    k.notes[i].later = 1;
    note_go(&k.notes[i], LOOP);
  }
  turn(&f->loop);
  note_done(&k.notes[2], 0);
  note_done(&k.notes[1], -71);
  note_done(&k.notes[3], -72); /* said before the first one's end was carried out: its own status */
  assert_int_equal(uvf_ctx_err(k.group.ctx), 0);
  turn(&f->loop);
  assert_journal(&k.journal, 2, 1, 3);
  assert_int_equal(k.notes[2].err_in_end, 0);
  assert_int_equal(k.notes[1].err_in_end, UV_ECANCELED);
  assert_int_equal(k.notes[1].cause_in_end, -71);
  assert_int_equal(k.group.err, -71);
  assert_ended(&k.notes[3], 1, -72);
  note_done(&k.notes[0], 0); /* too late for success: its context is over */
  assert_int_equal(wait_for_all(f, f->root), -71);
  assert_ended(&k.notes[0], 1, UV_ECANCELED);
  assert_over(k.group.ctx, UV_ECANCELED, -71);
  assert_int_equal(uvf_group_errors(&k.group), 3);
  assert_int_equal(errors[0], -71);
  assert_int_equal(errors[1], -72); /* and the third found no room */
  group_close();
}

static void a_group_that_keeps_going_is_not_cancelled_and_can_be_used_again(void **state) {
  fixture_t *f = *state;
  int errors[10];
  group_open(f->root, UVF_GROUP_KEEP_GOING);
  assert_int_equal(uvf_group_keep_errors(&k.group, errors, ARRAY_SIZE(errors)), 0);
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 6; i++) {
      note_t *note = &k.notes[6 * round + i];
      note->result = i % 3 == 2 ? -80 - i - 10 * round : 0;
      note_go(note, i < 3 ? LOOP : POOL);
      if (i == 2) turn(&f->loop);
    }
    assert_int_equal(wait_for_all(f, f->root), -82);
    assert_int_equal(uvf_ctx_err(k.group.ctx), 0);
    for (int i = 0; i < 6; i++) assert_ended(&k.notes[6 * round + i], 1, k.notes[6 * round + i].result);
    assert_int_equal(uvf_group_errors(&k.group), 2 * (size_t)round + 2);
    assert_int_equal(errors[2 * round], -82 - 10 * round);
    assert_int_equal(errors[2 * round + 1], -85 - 10 * round);
  }
  group_close();
}

static void a_wait_may_have_a_deadline_of_its_own_while_tasks_go_on(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *soon;
  uint64_t since = uv_hrtime();
  group_open(f->root, 0);
  k.notes[0].later = 1;
  note_go(&k.notes[0], LOOP);
  k.notes[1].gated = 1;
  note_go(&k.notes[1], POOL);
  soon = timeout_of(f->root, 5);
  waited_start(&k.waits[0], soon);
  waited_start(&k.waits[1], f->root);
  run_until(&f->loop, &k.waits[0].calls, 1);
  assert_true(uv_hrtime() - since >= 5 * MS_NS);
  assert_int_equal(k.waits[0].status, UV_ETIMEDOUT);
  assert_int_equal(k.waits[0].err_in_cb, 0);
  assert_int_equal(k.waits[1].calls, 0);
  assert_int_equal(k.group.active, 2);
  gate_open(&k.notes[1].go, 1);
  note_done(&k.notes[0], -9);
  run_until(&f->loop, &k.waits[1].calls, 1);
  assert_int_equal(k.waits[1].status, -9);
  assert_int_equal(k.waits[0].calls, 1);
  uvf_ctx_release(soon);
  group_close();
}

static void a_wait_is_ended_by_its_canceller_and_the_others_go_on(void **state) {
  fixture_t *f = *state;
  uvf_wait_t *wait;
  group_open(f->root, 0);
  k.notes[0].later = 1;
  note_go(&k.notes[0], LOOP);
  for (int i = 0; i < 3; i++) waited_start(&k.waits[i], f->root);
  wait = k.waits[1].wait;
  assert_int_equal(uvf_op_cancel((uvf_op_t *)wait), 0);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)wait), UV_EBUSY);
  turn(&f->loop);
  assert_int_equal(k.waits[1].status, UV_ECANCELED);
  assert_int_equal(k.waits[0].calls + k.waits[2].calls, 0);
  note_done(&k.notes[0], 0);
  run_until(&f->loop, &k.waits[2].calls, 1);
  assert_journal(&k.journal, 1001, 0, 1000, 1002);
  assert_int_equal(k.waits[0].status, 0);
  group_close();
}

static void a_wait_with_nothing_to_wait_for_calls_back_from_the_loop(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over = child_of(f->root);
  group_open(f->root, 0);
  uvf_ctx_cancel(over);
  waited_start(&k.waits[0], over); /* its own context is over: nothing is learnt of the group */
  turn(&f->loop);
  assert_int_equal(k.waits[0].status, UV_ECANCELED);
  assert_int_equal(k.waits[0].err_in_cb, 0);
  waited_start(&k.waits[1], f->root);
  assert_int_equal(k.waits[1].calls, 0);
  turn(&f->loop);
  assert_int_equal(k.waits[1].calls, 1);
  assert_int_equal(k.waits[1].status, 0);
  assert_int_equal(k.waits[1].err_in_cb, UV_ECANCELED);
  uvf_ctx_release(over);
  group_close();
}

static void a_wait_under_the_groups_own_context_is_told_when_it_is_drained(void **state) {
  fixture_t *f = *state;
  group_open(f->root, 0);
  note_go(&k.notes[0], LOOP);
  waited_start(&k.waits[0], k.group.ctx);
  run_until(&f->loop, &k.waits[0].calls, 1);
  assert_int_equal(k.waits[0].status, 0); /* not by the cancel that follows from it */
  group_close();
  group_open(f->root, 0);
  k.notes[1].later = 1;
  note_go(&k.notes[1], LOOP);
  waited_start(&k.waits[0], k.group.ctx);
  turn(&f->loop);
  uvf_ctx_cancel(k.group.ctx);
  run_until(&f->loop, &k.waits[0].calls, 1);
  assert_int_equal(k.waits[0].status, UV_ECANCELED);
  assert_int_equal(k.group.active, 1);
  note_done(&k.notes[1], 0);
  assert_int_equal(wait_for_all(f, f->root), UV_ECANCELED);
  group_close();
}

static void start_one_more(note_t *note) { expect(note_try(&k.notes[note->id + 1], note->arg != NULL, 0) == 0); }

static void what_an_end_callback_starts_is_waited_for(void **state) {
  fixture_t *f = *state;
  group_open(f->root, UVF_GROUP_KEEP_GOING);
  for (int i = 0; i < 30; i++) {
    k.notes[i].in_end = start_one_more;
    k.notes[i].arg = i % 2 ? f : NULL; /* by turns on the pool and on the loop */
  }
  note_go(&k.notes[0], LOOP);
  assert_int_equal(wait_for_all(f, f->root), 0);
  for (int i = 0; i <= 30; i++) assert_ended(&k.notes[i], 1, 0);
  assert_int_equal(journal_find(&k.journal, 1007), 31);
  group_close();
}

static void start_one_later(waited_t *waited) {
  (void)waited;
  k.notes[2].later = 1;
  expect(note_try(&k.notes[2], LOOP, 0) == 0);
}

static void a_wait_that_was_told_stays_told(void **state) {
  fixture_t *f = *state;
  group_open(f->root, UVF_GROUP_KEEP_GOING);
  note_go(&k.notes[0], LOOP);
  k.waits[0].in_cb = start_one_later;
  waited_start(&k.waits[0], f->root);
  waited_start(&k.waits[1], f->root);
  run_until(&f->loop, &k.waits[1].calls, 1);
  assert_int_equal(k.waits[1].status, 0);
  assert_int_equal(k.group.active, 1); /* there is a task again, and it is not waited for */
  note_done(&k.notes[2], 0);
  assert_int_equal(wait_for_all(f, f->root), 0);
  group_close();
}

/* --- a group in the task of a group --- */

typedef struct inner_s {
  uvf_group_t group;
  uvf_task_t tasks[4];
  uvf_wait_t wait;
  note_t *note;
  int ends;
} inner_t;

static inner_t inners[3];

static int inner_fn(uvf_task_t *task) { return task == &inners[1].tasks[2] ? -33 : 0; }

static void inner_end(uvf_task_t *task, int status) {
  inner_t *inner = task->data;
  (void)status;
  inner->ends++;
}

static void inner_over(uvf_wait_t *wait, int status) {
  inner_t *inner = wait->data;
  expect(uvf_group_close(&inner->group) == 0);
  expect(uvf_task_done(inner->note->task, status) == 0);
}

static void start_inner(note_t *note) {
  inner_t *inner = note->arg;
  memset(inner, 0, sizeof *inner);
  inner->note = note;
  inner->wait.data = inner;
  expect(uvf_group_init(&inner->group, note->task->ctx, 0) == 0);
  for (size_t i = 0; i < ARRAY_SIZE(inner->tasks); i++) {
    inner->tasks[i].data = inner;
    expect(uvf_group_go(&inner->group, &inner->tasks[i], inner_fn, inner_end) == 0);
  }
  expect(uvf_group_wait(note->task->ctx, &inner->wait, &inner->group, inner_over) == 0);
}

static void a_task_may_be_a_group_whose_error_is_the_tasks(void **state) {
  fixture_t *f = *state;
  group_open(f->root, UVF_GROUP_KEEP_GOING);
  for (int i = 0; i < 3; i++) {
    k.notes[i].arg = &inners[i];
    k.notes[i].in_start = start_inner;
    k.notes[i].later = 1;
    note_go(&k.notes[i], LOOP);
  }
  assert_int_equal(wait_for_all(f, f->root), -33);
  for (int i = 0; i < 3; i++) {
    assert_ended(&k.notes[i], 1, i == 1 ? -33 : 0);
    assert_int_equal(inners[i].ends, 4);
  }
  group_close();
}

/* --- limits --- */

typedef struct crowd_s {
  uvf_task_t *tasks;
  int n, next, ended, pool;
  int limit;
  atomic_int active, most;
  int over; /* more active than the limit, as the group says */
  int out_of_order;
} crowd_t;

static crowd_t crowd;

static void crowd_in(void) {
  int now = atomic_fetch_add(&crowd.active, 1) + 1;
  int most = atomic_load(&crowd.most);
  while (now > most && !atomic_compare_exchange_weak(&crowd.most, &most, now)) {}
}

static int crowd_fn(uvf_task_t *task) {
  (void)task;
  crowd_in();
  atomic_fetch_sub(&crowd.active, 1);
  return 0;
}

static void crowd_start(uvf_task_t *task) {
  crowd_in();
  if (task - crowd.tasks != crowd.next++) crowd.out_of_order = 1;
  if (task->group->active > (size_t)crowd.limit) crowd.over = 1;
  /* Some hold their place over others' ends: they are done by a later one. */
  if ((task - crowd.tasks) % 3 == 0 && crowd.limit > 1 && crowd.next < crowd.n) return;
  atomic_fetch_sub(&crowd.active, 1);
  uvf_task_done(task, 0);
  if ((task - crowd.tasks) % 3 == 1 && crowd.limit > 1) {
    atomic_fetch_sub(&crowd.active, 1);
    uvf_task_done(task - 1, 0);
  }
}

static void crowd_end(uvf_task_t *task, int status) {
  if (status != 0 || task->group->active > (size_t)crowd.limit) crowd.over = 1;
  crowd.ended++;
}

static void never_more_tasks_are_active_than_the_limit_and_they_start_in_order(void **state) {
  static const int limits[] = {1, 10, 100};
  fixture_t *f = *state;
  const int n = (int)test_scaled(10000, 10);
  for (int kind = 0; kind < KINDS; kind++) {
    for (size_t row = 0; row < ARRAY_SIZE(limits); row++) {
      memset(&crowd, 0, sizeof crowd);
      crowd.n = n;
      crowd.limit = limits[row];
      crowd.tasks = calloc((size_t)n, sizeof *crowd.tasks);
      assert_non_null(crowd.tasks);
      group_open(f->root, 0);
      assert_int_equal(uvf_group_set_limit(&k.group, (size_t)limits[row]), 0);
      for (int i = 0; i < n; i++) {
        int rc = kind == POOL ? uvf_group_go(&k.group, &crowd.tasks[i], crowd_fn, crowd_end)
                              : uvf_group_go_loop(&k.group, &crowd.tasks[i], crowd_start, crowd_end);
        assert_int_equal(rc, 0);
      }
      assert_int_equal(k.group.active, limits[row]);
      assert_int_equal(k.group.waiting, n - limits[row]);
      assert_int_equal(wait_for_all(f, f->root), 0);
      assert_int_equal(crowd.ended, n);
      assert_int_equal(crowd.over + crowd.out_of_order, 0);
      assert_true(atomic_load(&crowd.most) <= limits[row]);
      assert_int_equal(atomic_load(&crowd.active), 0);
      if (kind == LOOP) assert_int_equal(crowd.next, n);
      if (limits[row] > 1 && kind == LOOP) assert_true(atomic_load(&crowd.most) > 1);
      group_close();
      free(crowd.tasks);
    }
  }
}

static void a_slot_is_given_to_the_first_that_waits_before_the_end_callback(void **state) {
  fixture_t *f = *state;
  group_open(f->root, 0);
  assert_int_equal(uvf_group_set_limit(&k.group, 1), 0);
  k.note_starts = 1;
  for (int i = 0; i < 3; i++) {
    k.notes[i].later = 1;
    note_go(&k.notes[i], LOOP);
  }
  turn(&f->loop);
  assert_journal(&k.journal, 2000);
  note_done(&k.notes[0], 0);
  assert_int_equal(note_try(&k.notes[3], LOOP, 1), UV_EAGAIN); /* it does not jump the queue */
  turn(&f->loop);
  assert_int_equal(k.notes[0].active_in_end, 1);
  assert_int_equal(k.notes[0].waiting_in_end, 1);
  assert_journal(&k.journal, 2000, 0, 2001);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)k.notes[2].task), 0); /* one that waits gives up */
  turn(&f->loop);
  assert_ended(&k.notes[2], 0, UV_ECANCELED);
  assert_int_equal(k.group.waiting, 0);
  assert_int_equal(k.group.err, UV_ECANCELED); /* that is an error as any */
  note_done(&k.notes[1], 0);
  assert_int_equal(wait_for_all(f, f->root), UV_ECANCELED);
  group_close();
}

static void try_go_is_refused_while_the_limit_is_reached_and_nothing_happened(void **state) {
  fixture_t *f = *state;
  for (int kind = 0; kind < KINDS; kind++) {
    kit_reset();
    group_open(f->root, UVF_GROUP_KEEP_GOING);
    assert_int_equal(uvf_group_set_limit(&k.group, 2), 0);
    for (int i = 0; i < 2; i++) {
      k.notes[i].later = k.notes[i].gated = 1;
      assert_int_equal(note_try(&k.notes[i], kind, 1), 0);
    }
    assert_int_equal(note_try(&k.notes[2], kind, 1), UV_EAGAIN);
    assert_int_equal(k.group.active, 2);
    assert_int_equal(k.group.waiting, 0);
    turn(&f->loop);
    if (kind == POOL) {
      for (int i = 0; i < 2; i++) gate_open(&k.notes[i].go, 1);
    } else {
      for (int i = 0; i < 2; i++) note_done(&k.notes[i], 0);
    }
    assert_int_equal(wait_for_all(f, f->root), 0);
    assert_int_equal(note_try(&k.notes[2], kind, 1), 0);
    assert_int_equal(wait_for_all(f, f->root), 0);
    assert_ended(&k.notes[2], 1, 0);
    group_close();
  }
}

static void under_a_limit_of_0_tasks_wait_for_the_end_of_the_context(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = timeout_of(f->root, 250);
  group_open(parent, 0);
  assert_int_equal(uvf_group_set_limit(&k.group, 0), 0);
  for (int i = 0; i < 6; i++) note_go(&k.notes[i], i % 2);
  assert_int_equal(note_try(&k.notes[6], LOOP, 1), UV_EAGAIN);
  turn(&f->loop);
  assert_int_equal(k.group.waiting, 6);
  assert_int_equal(k.group.active, 0);
  assert_int_equal(wait_for_all(f, f->root), UV_ETIMEDOUT);
  for (int i = 0; i < 6; i++) assert_ended(&k.notes[i], 0, UV_ETIMEDOUT);
  note_go(&k.notes[6], POOL); /* and under one that is over they end at once */
  assert_int_equal(wait_for_all(f, f->root), UV_ETIMEDOUT);
  assert_ended(&k.notes[6], 0, UV_ETIMEDOUT);
  uvf_ctx_release(parent);
  group_close();
}

static void limit_and_list_are_changed_only_while_no_task_is_there(void **state) {
  fixture_t *f = *state;
  int errors[1];
  group_open(f->root, UVF_GROUP_KEEP_GOING);
  assert_int_equal(uvf_group_set_limit(&k.group, 1), 0);
  for (int i = 0; i < 2; i++) {
    k.notes[i].later = 1;
    note_go(&k.notes[i], LOOP);
  }
  for (int i = 0; i < 2; i++) {
    turn(&f->loop);
    assert_int_equal(uvf_group_set_limit(&k.group, 5), UV_EBUSY);
    assert_int_equal(uvf_group_keep_errors(&k.group, errors, 1), UV_EBUSY);
    note_done(&k.notes[i], -1 - i);
  }
  assert_int_equal(wait_for_all(f, f->root), -1);
  assert_int_equal(uvf_group_errors(&k.group), 2); /* counted without a list too */
  assert_int_equal(uvf_group_set_limit(&k.group, UVF_GROUP_NO_LIMIT), 0);
  assert_int_equal(uvf_group_keep_errors(&k.group, errors, 1), 0);
  assert_int_equal(uvf_group_keep_errors(&k.group, NULL, 0), 0);
  group_close();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      group_unit(every_task_runs_and_ends_once_and_then_the_wait_is_told),
      group_unit(tasks_of_the_loop_are_started_and_ended_in_the_order_of_their_go),
      group_unit(a_task_that_has_committed_keeps_its_status_and_the_first_error_has_a_name),
      group_unit(the_first_error_cancels_the_context_before_its_end_callback_and_stays),
      group_unit(a_group_that_keeps_going_is_not_cancelled_and_can_be_used_again),
      group_unit(a_wait_may_have_a_deadline_of_its_own_while_tasks_go_on),
      group_unit(a_wait_is_ended_by_its_canceller_and_the_others_go_on),
      group_unit(a_wait_with_nothing_to_wait_for_calls_back_from_the_loop),
      group_unit(a_wait_under_the_groups_own_context_is_told_when_it_is_drained),
      group_unit(what_an_end_callback_starts_is_waited_for),
      group_unit(a_wait_that_was_told_stays_told),
      group_unit(a_task_may_be_a_group_whose_error_is_the_tasks),
      group_unit(never_more_tasks_are_active_than_the_limit_and_they_start_in_order),
      group_unit(a_slot_is_given_to_the_first_that_waits_before_the_end_callback),
      group_unit(try_go_is_refused_while_the_limit_is_reached_and_nothing_happened),
      group_unit(under_a_limit_of_0_tasks_wait_for_the_end_of_the_context),
      group_unit(limit_and_list_are_changed_only_while_no_task_is_there),
  };
  return test_run(tests);
}
