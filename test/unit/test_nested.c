/* SPDX-License-Identifier: MIT
 *
 * Callbacks that run the loop, in which what they belong to comes to its end: a service's start, a task's start, a
 * job's done. What holds outside holds in there: the end of all does not come while one of its functions stands, nor
 * does a root close.
 */
#include "kernel/list.h"
#include "unit/probe.h"

static struct {
  fixture_t *f;
  int inside;       /* callbacks that stand */
  int closed;       /* the root's close callback */
  int closed_early; /* ... inside one */
  int ends, ended_early;
  int status;
} t;

static void start_over(fixture_t *f) {
  memset(&t, 0, sizeof t);
  t.f = f;
  t.status = 1;
}

static void run_inside(int turns) {
  t.inside++;
  for (int i = 0; i < turns; i++) uv_run(&t.f->loop, UV_RUN_NOWAIT);
  t.inside--;
}

static void on_closed(uvf_ctx_t *root) {
  (void)root;
  t.closed++;
  if (t.inside > 0) t.closed_early++;
}

static void close_the_root(void) {
  uvf_ctx_t *root = t.f->root;
  t.f->root = NULL;
  uvf_ctx_close(root, on_closed);
}

static void await_closed(void) {
  if (t.closed == 0) run_until(&t.f->loop, &t.closed, 1);
  assert_int_equal(t.closed, 1);
  assert_int_equal(t.closed_early, 0);
}

/* --- services --- */

enum { ENDS_ITSELF, FAILS, IS_STOPPED, IS_CANCELLED, LOSES_ITS_ROOT, WAYS };

typedef struct all_s {
  uvf_services_t services;
  uvf_service_t list[2];
  uvf_watch_t watches[2];
  int way, which, n;
  uvf_ctx_t *ctx;
} all_t;

static void on_stop(uvf_watch_t *watch, int status) {
  (void)status;
  if (uvf_service_ended(watch->data, 0) != 0) abort();
}

static int on_start(uvf_service_t *service) {
  all_t *all = service->data;
  int i = (int)(service - all->list);
  if (i != all->which) {
    all->watches[i].data = service;
    return uvf_ctx_on_done(service->ctx, &all->watches[i], on_stop);
  }
  if (all->way == ENDS_ITSELF || all->way == FAILS) {
    if (uvf_service_ended(service, all->way == FAILS ? -5 : 0) != 0) abort();
  } else {
    all->watches[i].data = service;
    if (uvf_ctx_on_done(service->ctx, &all->watches[i], on_stop) != 0) abort();
    if (all->way == IS_STOPPED) uvf_services_stop(&all->services);
    if (all->way == IS_CANCELLED) uvf_ctx_cancel(all->ctx);
    if (all->way == LOSES_ITS_ROOT) close_the_root();
  }
  run_inside(20);
  return 0;
}

static void on_all_ended(uvf_services_t *services, int status) {
  all_t *all = (all_t *)services;
  t.ends++;
  t.status = status;
  if (t.inside > 0) t.ended_early++;
  for (int i = 0; i < all->n; i++) {
    if (all->list[i].running) t.ended_early++;
  }
  uvf_ctx_release(all->ctx);
  memset(all, 0xdb, sizeof *all);
  free(all);
}

static void services_do_not_end_while_a_start_of_theirs_stands(void **state) {
  static const int wanted[WAYS] = {0, -5, 0, UV_ECANCELED, UV_ECANCELED};
  fixture_t *f = *state;
  turn(&f->loop);
  for (int way = 0; way < WAYS; way++) {
    for (int row = 0; row < 3; row++) { /* the only one, the first, the last of two */
      all_t *all = malloc(sizeof *all);
      if (way == LOSES_ITS_ROOT && row != 2) {
        free(all);
        continue; /* there is but one root to lose */
      }
      assert_non_null(all);
      memset(all, 0xff, sizeof *all);
      start_over(f);
      all->way = way;
      all->n = row == 0 ? 1 : 2;
      all->which = row == 2;
      all->ctx = child_of(f->root);
      for (int i = 0; i < all->n; i++) {
        all->list[i].data = all;
        all->list[i].name = NULL;
        all->list[i].start = on_start;
      }
      assert_int_equal(uvf_services_run(all->ctx, &all->services, all->list, (size_t)all->n, on_all_ended), 0);
      run_until(&f->loop, &t.ends, 1);
      if (way == LOSES_ITS_ROOT) {
        await_closed();
      } else {
        turn(&f->loop);
      }
      assert_int_equal(t.ends, 1);
      assert_int_equal(t.ended_early, 0);
      assert_int_equal(t.status, wanted[way]);
    }
  }
}

/* --- a group's task --- */

typedef struct own_s {
  uvf_group_t group;
  uvf_task_t task;
} own_t;

static void on_task_end(uvf_task_t *task, int status) {
  own_t *own = UVF__CONTAINER(task, own_t, task);
  t.ends++;
  t.status = status;
  if (t.inside > 0) t.ended_early++;
  if (uvf_group_close(&own->group) != 0) abort();
  memset(own, 0xdb, sizeof *own);
  free(own);
}

static void done_while_it_closes(uvf_task_t *task) {
  close_the_root();
  if (uvf_task_done(task, 0) != 0) abort();
  run_inside(50);
}

static void done_and_closed_later(uvf_task_t *task) {
  if (uvf_task_done(task, 0) != 0) abort();
  run_inside(20);
  close_the_root();
  run_inside(50);
}

static void a_root_does_not_close_while_a_start_stands_whose_task_has_ended(void **state) {
  static const uvf_task_start_cb starts[] = {done_while_it_closes, done_and_closed_later};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
    void *fixture;
    own_t *own = malloc(sizeof *own);
    assert_non_null(own);
    memset(own, 0xff, sizeof *own);
    assert_int_equal(fixture_setup(&fixture), 0);
    start_over(fixture);
    turn(&t.f->loop);
    assert_int_equal(uvf_group_init(&own->group, t.f->root, 0), 0);
    assert_int_equal(uvf_group_go_loop(&own->group, &own->task, starts[i], on_task_end), 0);
    run_until(&t.f->loop, &t.ends, 1);
    await_closed();
    assert_int_equal(t.ends, 1);
    assert_int_equal(t.ended_early, 1); /* that is what is looked at here */
    assert_int_equal(t.status, i == 0 ? UV_ECANCELED : 0);
    assert_int_equal(fixture_teardown(&fixture), 0);
  }
}

/* --- a job --- */

static gate_t started, go;
static int released, released_early;

static int job_fn(uvf_work_t *job) {
  (void)job;
  gate_open(&started, 1);
  gate_pass(&go);
  return 0;
}

static void on_released(uvf_work_t *job) {
  released++;
  if (t.inside > 0) released_early++;
  memset(job, 0xdb, sizeof *job);
  free(job);
}

/* fn runs still; it returns, and release comes, in the loop that is run here. */
static void on_done(uvf_work_t *job, int status) {
  uint64_t end_ns = uv_hrtime() + 20000 * MS_NS;
  (void)job;
  t.ends++;
  t.status = status;
  close_the_root();
  gate_open(&go, 1);
  while (released == 0 && uv_hrtime() < end_ns) run_inside(1);
  run_inside(50);
}

static void a_root_does_not_close_while_a_done_stands_whose_job_was_released(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  uvf_work_t *job = malloc(sizeof *job);
  assert_non_null(job);
  memset(job, 0xff, sizeof *job);
  start_over(f);
  released = released_early = 0;
  gate_init(&started);
  gate_init(&go);
  turn(&f->loop);
  assert_int_equal(uvf_work_start(ctx, job, job_fn, on_done, on_released), 0);
  turn(&f->loop);
  gate_pass(&started);
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  run_until(&f->loop, &t.ends, 1);
  await_closed();
  assert_int_equal(t.ends, 1);
  assert_int_equal(t.status, UV_ECANCELED);
  assert_int_equal(released, 1);
  assert_int_equal(released_early, 1);
  gate_destroy(&started);
  gate_destroy(&go);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(services_do_not_end_while_a_start_of_theirs_stands),
      cmocka_unit_test(a_root_does_not_close_while_a_start_stands_whose_task_has_ended),
      unit(a_root_does_not_close_while_a_done_stands_whose_job_was_released),
  };
  return test_run(tests);
}
