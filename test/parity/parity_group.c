/* SPDX-License-Identifier: MIT
 *
 * Parity rows E-1 to E-12: Go's errgroup. A group that keeps going is its zero Group, any other the one WithContext
 * makes; Wait is a wait under the root.
 */
#include <stdatomic.h>

#include "parity.h"

enum { E1 = -70011, E2 = -70012 };

/* --- tasks -------------------------------------------------------------------------------------------------------- */

static int give(uvf_task_t *task) { return *(const int *)task->data; }
static void on_loop(uvf_task_t *task) { uvf_task_done(task, give(task)); }

static int no_error = 0;

/* Runs one more task with this result, on the pool or the loop. */
static void go(uvf_group_t *group, uvf_task_t *task, int *result, int pool) {
  memset(task, 0xff, sizeof *task); /* a start must not read what it finds */
  task->data = result;
  assert_int_equal(pool ? uvf_group_go(group, task, give, NULL) : uvf_group_go_loop(group, task, on_loop, NULL), 0);
}

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

static int wait_for(fixture_t *f, uvf_group_t *group) {
  static waiting_t w;
  memset(&w, 0xff, sizeof w);
  w.wait.data = &w;
  w.calls = 0;
  assert_int_equal(uvf_group_wait(f->root, &w.wait, group, on_waited), 0);
  run_until(&f->loop, &w.calls, 1);
  assert_int_equal(w.calls, 1);
  return w.status;
}

static uvf_group_t *group_of(uvf_ctx_t *parent, unsigned int flags) {
  static uvf_group_t group; /* static: a test that fails leaves it behind */
  memset(&group, 0xff, sizeof group);
  assert_int_equal(uvf_group_init(&group, parent, flags), 0);
  return &group;
}

#define CLOSE(group) assert_int_equal(uvf_group_close(group), 0)

static int lists[][4] = {{0}, {E1}, {E1, 0}, {E1, 0, E2}, {0, E1, E2}, {0, 0, 0}};
static const size_t lengths[] = {1, 1, 2, 3, 3, 3};
static const int firsts[] = {0, E1, E1, E1, E1, 0};

/* --- rows --------------------------------------------------------------------------------------------------------- */

static void e01_wait_returns_the_first_error(void **state) {
  fixture_t *f = *state;
  static uvf_task_t tasks[4];
  for (size_t row = 0; row < ARRAY_SIZE(lists); row++) {
    uvf_group_t *group = group_of(f->root, UVF_GROUP_KEEP_GOING);
    for (size_t i = 0; i < lengths[row]; i++) go(group, &tasks[i], &lists[row][i], 0);
    assert_int_equal(wait_for(f, group), firsts[row]);
    assert_live(group->ctx);
    CLOSE(group);
  }
}

static void e02_later_results_never_replace_the_first(void **state) {
  fixture_t *f = *state;
  static uvf_task_t task;
  uvf_group_t *group = group_of(f->root, UVF_GROUP_KEEP_GOING);
  int results[] = {0, E1, 0, E2, E1, 0};
  for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
    go(group, &task, &results[i], i % 2);
    assert_int_equal(wait_for(f, group), i == 0 ? 0 : E1);
    assert_int_equal(group->err, i == 0 ? 0 : E1);
  }
  CLOSE(group);
}

static void e03_wait_after_every_go_and_go_after_every_wait(void **state) {
  fixture_t *f = *state;
  static uvf_task_t task;
  for (size_t row = 0; row < ARRAY_SIZE(lists); row++) {
    uvf_group_t *group = group_of(f->root, UVF_GROUP_KEEP_GOING);
    int first = 0;
    for (size_t i = 0; i < lengths[row]; i++) {
      go(group, &task, &lists[row][i], 1);
      if (first == 0) first = lists[row][i];
      assert_int_equal(wait_for(f, group), first);
      assert_int_equal(wait_for(f, group), first); /* and twice */
    }
    CLOSE(group);
  }
}

static void e04_with_a_context_wait_returns_the_first_error_or_none(void **state) {
  fixture_t *f = *state;
  static uvf_task_t tasks[4];
  for (size_t row = 0; row < ARRAY_SIZE(lists); row++) {
    uvf_group_t *group = group_of(f->root, 0);
    for (size_t i = 0; i < lengths[row]; i++) go(group, &tasks[i], &lists[row][i], 0);
    assert_int_equal(wait_for(f, group), firsts[row]);
    CLOSE(group);
  }
}

static void e05_the_context_is_done_after_wait_in_every_case(void **state) {
  fixture_t *f = *state;
  static uvf_task_t tasks[4];
  uvf_group_t *group = group_of(f->root, 0);
  assert_live(group->ctx);
  assert_int_equal(wait_for(f, group), 0); /* no tasks */
  assert_over(group->ctx, UV_ECANCELED, UV_ECANCELED);
  CLOSE(group);
  for (size_t row = 0; row < ARRAY_SIZE(lists); row++) {
    group = group_of(f->root, 0);
    for (size_t i = 0; i < lengths[row]; i++) go(group, &tasks[i], &lists[row][i], 1);
    (void)wait_for(f, group);
    assert_int_equal(uvf_ctx_err(group->ctx), UV_ECANCELED);
    assert_live(f->root);
    CLOSE(group);
  }
}

/* Tasks that stay until they are let go. */
static gate_t stay;
static int stays(uvf_task_t *task) {
  (void)task;
  gate_pass(&stay);
  return 0;
}
static void stays_on_loop(uvf_task_t *task) { (void)task; }

static void e06_try_go_under_a_limit_of_42(void **state) {
  fixture_t *f = *state;
  static uvf_task_t tasks[43];
  for (int pool = 0; pool < 2; pool++) {
    uvf_group_t *group = group_of(f->root, UVF_GROUP_KEEP_GOING);
    gate_init(&stay);
    assert_int_equal(uvf_group_set_limit(group, 42), 0);
    for (int i = 0; i < 43; i++) {
      int rc = pool ? uvf_group_try_go(group, &tasks[i], stays, NULL)
                    : uvf_group_try_go_loop(group, &tasks[i], stays_on_loop, NULL);
      assert_int_equal(rc, i < 42 ? 0 : UV_EAGAIN);
    }
    settle(&f->loop);
    gate_open(&stay, 42);
    for (int i = 0; i < 42 && !pool; i++) assert_int_equal(uvf_task_done(&tasks[i], 0), 0);
    assert_int_equal(wait_for(f, group), 0);
    tasks[42].data = &no_error;
    assert_int_equal(uvf_group_try_go(group, &tasks[42], give, NULL), 0);
    assert_int_equal(wait_for(f, group), 0);
    CLOSE(group);
    gate_destroy(&stay);
  }
}

static void e07_the_limit_may_change_while_idle(void **state) {
  fixture_t *f = *state;
  static uvf_task_t tasks[2];
  uvf_group_t *group = group_of(f->root, UVF_GROUP_KEEP_GOING);
  tasks[0].data = tasks[1].data = &no_error;
  assert_int_equal(uvf_group_set_limit(group, 42), 0);
  for (int i = 0; i < 2; i++) assert_int_equal(uvf_group_try_go(group, &tasks[i], give, NULL), 0);
  assert_int_equal(wait_for(f, group), 0);
  assert_int_equal(uvf_group_set_limit(group, 1), 0);
  assert_int_equal(uvf_group_try_go(group, &tasks[0], give, NULL), 0);
  assert_int_equal(uvf_group_try_go(group, &tasks[1], give, NULL), UV_EAGAIN);
  assert_int_equal(wait_for(f, group), 0);
  CLOSE(group);
}

static void e08_a_limit_of_0_refuses_every_try(void **state) {
  fixture_t *f = *state;
  static uvf_task_t task;
  uvf_group_t *group = group_of(f->root, UVF_GROUP_KEEP_GOING);
  task.data = &no_error;
  assert_int_equal(uvf_group_set_limit(group, 0), 0);
  for (int i = 0; i < 1024; i++) {
    assert_int_equal(i % 2 ? uvf_group_try_go(group, &task, give, NULL)
                           : uvf_group_try_go_loop(group, &task, on_loop, NULL),
                     UV_EAGAIN);
  }
  assert_int_equal(stats(f->root).ops, 0);
  assert_int_equal(wait_for(f, group), 0);
  CLOSE(group);
}

static atomic_int active, most, ran;

static int crowded(uvf_task_t *task) {
  int now = atomic_fetch_add(&active, 1) + 1;
  int seen = atomic_load(&most);
  (void)task;
  while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now)) {}
  for (int i = 0; i < 200; i++) atomic_load(&active);
  atomic_fetch_sub(&active, 1);
  atomic_fetch_add(&ran, 1);
  return 0;
}

static void done_soon(uv_timer_t *timer) {
  uvf_task_t *task = timer->data;
  atomic_fetch_sub(&active, 1);
  atomic_fetch_add(&ran, 1);
  uv_close((uv_handle_t *)timer, (uv_close_cb)free);
  uvf_task_done(task, 0);
}

static void crowded_on_loop(uvf_task_t *task) {
  int now = atomic_fetch_add(&active, 1) + 1;
  uv_timer_t *timer = malloc(sizeof *timer);
  if (now > atomic_load(&most)) atomic_store(&most, now);
  if (timer == NULL || uv_timer_init(uvf_ctx_loop(task->ctx), timer) != 0) abort();
  timer->data = task;
  uv_timer_start(timer, done_soon, 0, 0);
}

static void e09_go_under_a_limit_of_10_waits_its_turn(void **state) {
  fixture_t *f = *state;
  static uvf_task_t tasks[1025];
  for (int pool = 0; pool < 2; pool++) {
    uvf_group_t *group = group_of(f->root, 0);
    atomic_store(&active, 0);
    atomic_store(&most, 0);
    atomic_store(&ran, 0);
    assert_int_equal(uvf_group_set_limit(group, 10), 0);
    for (size_t i = 0; i < ARRAY_SIZE(tasks); i++) {
      assert_int_equal(pool ? uvf_group_go(group, &tasks[i], crowded, NULL)
                            : uvf_group_go_loop(group, &tasks[i], crowded_on_loop, NULL),
                       0);
      assert_int_equal(group->active, i < 10 ? i + 1 : 10);
    }
    assert_int_equal(wait_for(f, group), 0);
    assert_int_equal(atomic_load(&ran), ARRAY_SIZE(tasks));
    assert_true(atomic_load(&most) <= 10);
    if (!pool) assert_int_equal(atomic_load(&most), 10);
    CLOSE(group);
    settle(&f->loop);
  }
}

static void e10_try_go_reports_errors_and_the_cause_is_the_first(void **state) {
  fixture_t *f = *state;
  static uvf_task_t tasks[4];
  for (int pool = 0; pool < 2; pool++) {
    for (size_t row = 0; row < ARRAY_SIZE(lists); row++) {
      uvf_group_t *group = group_of(f->root, 0);
      for (size_t i = 0; i < lengths[row]; i++) {
        tasks[i].data = &lists[row][i];
        assert_int_equal(pool ? uvf_group_try_go(group, &tasks[i], give, NULL)
                              : uvf_group_try_go_loop(group, &tasks[i], on_loop, NULL),
                         0);
        if (lists[row][i] != 0) settle(&f->loop); /* so that which is the first is no matter of chance */
        if (pool && lists[row][i] != 0) run_until_over(&f->loop, group->ctx, UV_ECANCELED);
      }
      assert_int_equal(wait_for(f, group), firsts[row]);
      assert_over(group->ctx, UV_ECANCELED, firsts[row] != 0 ? firsts[row] : UV_ECANCELED);
      CLOSE(group);
    }
  }
}

/* A walker gives out numbers, 20 workers take their squares, and what is left over is seen only after the wait. */
enum { WORKERS = 20, NUMBERS = 2000 };
static atomic_int next_number;
static int results[NUMBERS];

static int square(uvf_task_t *task) {
  for (;;) {
    int i = atomic_fetch_add(&next_number, 1);
    if (uvf_task_err(task) != 0) return uvf_task_err(task);
    if (i >= NUMBERS) return 0;
    if (task->data != NULL && i == *(int *)task->data) return E1;
    results[i] = i * i;
  }
}

static int hang_on(uvf_task_t *task) { /* as a worker that is only stopped by its context */
  while (uvf_task_err(task) == 0) uv_sleep(0);
  return uvf_task_err(task);
}

static void e11_results_by_index_and_a_pipeline_that_stops_at_the_first_error(void **state) {
  fixture_t *f = *state;
  static uvf_task_t workers[WORKERS];
  static uvf_task_t stuck;
  int bad = 700;
  for (int fails = 0; fails < 2; fails++) {
    uvf_group_t *group = group_of(f->root, 0);
    atomic_store(&next_number, 0);
    memset(results, 0xff, sizeof results);
    if (fails) assert_int_equal(uvf_group_go(group, &stuck, hang_on, NULL), 0);
    for (int i = 0; i < WORKERS; i++) {
      workers[i].data = fails ? &bad : NULL;
      assert_int_equal(uvf_group_go(group, &workers[i], square, NULL), 0);
    }
    assert_int_equal(wait_for(f, group), fails ? E1 : 0);
    for (int i = 0; i < NUMBERS && !fails; i++) assert_int_equal(results[i], i * i);
    if (fails) assert_int_equal(results[bad], -1);
    CLOSE(group);
  }
}

static int saw_end;
static void sees_the_end(uvf_task_t *task, int status) {
  saw_end = status == E1 && uvf_ctx_err(task->ctx) == UV_ECANCELED && uvf_ctx_cause(task->ctx, NULL) == E1;
}

static void e12_the_first_error_cancels_at_once_and_the_limit_has_rules(void **state) {
  fixture_t *f = *state;
  static uvf_task_t failing, other;
  int error = E1;
  uvf_group_t *group = group_of(f->root, 0);
  saw_end = 0;
  failing.data = &error;
  assert_int_equal(uvf_group_set_limit(group, UVF_GROUP_NO_LIMIT), 0); /* Go's negative one */
  assert_int_equal(uvf_group_go_loop(group, &other, stays_on_loop, NULL), 0);
  assert_int_equal(uvf_group_go_loop(group, &failing, on_loop, sees_the_end), 0);
  settle(&f->loop);
  assert_int_equal(saw_end, 1); /* before any wait, and before the task's own end is told */
  assert_over(group->ctx, UV_ECANCELED, E1);
  assert_int_equal(uvf_group_set_limit(group, 1), UV_EBUSY); /* one is active */
  assert_int_equal(uvf_task_done(&other, 0), 0);
  assert_int_equal(wait_for(f, group), E1);
  assert_int_equal(other.status, UV_ECANCELED); /* a later error */
  assert_int_equal(uvf_group_set_limit(group, 1), 0);
  CLOSE(group);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(e01_wait_returns_the_first_error),
      unit(e02_later_results_never_replace_the_first),
      unit(e03_wait_after_every_go_and_go_after_every_wait),
      unit(e04_with_a_context_wait_returns_the_first_error_or_none),
      unit(e05_the_context_is_done_after_wait_in_every_case),
      unit(e06_try_go_under_a_limit_of_42),
      unit(e07_the_limit_may_change_while_idle),
      unit(e08_a_limit_of_0_refuses_every_try),
      unit(e09_go_under_a_limit_of_10_waits_its_turn),
      unit(e10_try_go_reports_errors_and_the_cause_is_the_first),
      unit(e11_results_by_index_and_a_pipeline_that_stops_at_the_first_error),
      unit(e12_the_first_error_cancels_at_once_and_the_limit_has_rules),
  };
  return test_run(tests);
}
