/* SPDX-License-Identifier: MIT
 *
 * Pipelines with others: in a group, two on a loop, one on each of several loops. With channels between them:
 * test_flow_chan.c.
 */
#include "unit/flow_nodes.h"

/* --- in a group --- */

static run_t task_run; /* of the pipeline */

static void on_done_task(uvf_pipeline_t *p, int status, void *arg) {
  on_run_done(p, status, &task_run);
  uvf_task_done(arg, status);
}

static void run_as_task(uvf_task_t *task) {
  assert_int_equal(uvf_pipeline_run(task->group->ctx, k.p, on_done_task, task), 0);
}

static void on_group(uvf_wait_t *wait, int status) {
  run_t *run = wait->data;
  run->done++;
  run->status = status;
}

static int fails_when_told(uvf_task_t *task) {
  (void)task;
  gate_pass(&k.gate);
  return -888;
}

/* The status of a group of a run and, if `other`, a task that fails. */
static int run_in_group(fixture_t *f, int other) {
  uvf_group_t group;
  uvf_task_t tasks[2];
  uvf_wait_t wait;
  run_t run = {0, 1};
  memset(&task_run, 0, sizeof task_run);
  assert_int_equal(uvf_group_init(&group, f->root, 0), 0);
  assert_int_equal(uvf_group_go_loop(&group, &tasks[0], run_as_task, NULL), 0);
  if (other) assert_int_equal(uvf_group_go(&group, &tasks[1], fails_when_told, NULL), 0);
  wait.data = &run;
  assert_int_equal(uvf_group_wait(f->root, &wait, &group, on_group), 0);
  if (other) {
    run_for(&f->loop, 5);
    assert_int_equal(task_run.done, 0);
    gate_open(&k.gate, 1);
  }
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(task_run.done, 1);
  assert_int_equal(uvf_group_close(&group), 0);
  return run.status;
}

static void a_run_stands_in_a_groups_task(void **state) {
  for (int fails = 0; fails < 2; fails++) {
    begin();
    node(UVF_STAGE_SOURCE)->make = 100;
    node(UVF_STAGE_WORK)->fail_every = fails ? 50 : 0;
    in_a_row();
    assert_int_equal(run_in_group(*state, 0), fails ? -777 : 0);
    assert_int_equal(task_run.status, fails ? -777 : 0);
    end();
  }
}

static int endless(uvf_flow_t *flow, void *item) {
  (void)item;
  return uvf_emit(flow, 0, NULL);
}

static int swallows(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  return 0;
}

static void a_task_that_fails_ends_the_run_in_the_same_group(void **state) {
  begin();
  node(UVF_STAGE_SOURCE)->o.fn = endless;
  node(UVF_STAGE_WORK)->o.fn = swallows;
  k.n[1].o.drop = NULL;
  in_a_row();
  assert_int_equal(run_in_group(*state, 1), -888);
  assert_int_equal(task_run.status, UV_ECANCELED);
  assert_balanced(k.p);
  assert_int_equal(uvf_pipeline_destroy(k.p), 0);
  gate_destroy(&k.gate);
}

/* --- several at once --- */

/* A pipeline of numbers of its own: source, work, and a sink on the loop. */
typedef struct line_s {
  uvf_pipeline_t *p;
  uvf_stage_t *stages[3];
  uintptr_t last, wanted;
  uintptr_t sum; /* the sink's */
  run_t run;
  int rc;
} line_t;

static int counts_up(uvf_flow_t *flow, void *item) {
  line_t *l = flow->data;
  (void)item;
  if (l->last == l->wanted) return UV_EOF;
  return uvf_emit(flow, 0, (void *)++l->last);
}

static int doubles(uvf_flow_t *flow, void *item) { return uvf_emit(flow, 0, (void *)(2 * id_of(item))); }

static int adds_up(uvf_flow_t *flow, void *item) {
  ((line_t *)flow->data)->sum += id_of(item);
  return 0;
}

static int line_make(line_t *l, uintptr_t wanted) {
  static const uvf_stage_fn fns[] = {counts_up, doubles, adds_up};
  static const int kind_of[] = {UVF_STAGE_SOURCE, UVF_STAGE_WORK, UVF_STAGE_LOOP};
  static const char *const names[] = {"count", "double", "add"};
  int rc;
  memset(l, 0, sizeof *l);
  l->wanted = wanted;
  rc = uvf_pipeline_create("line", &l->p);
  for (int i = 0; i < 3 && rc == 0; i++) {
    uvf_stage_options_t o;
    uvf_stage_options_init(&o, kind_of[i], names[i], fns[i], l);
    o.workers = i == 1 ? 3 : 1;
    rc = uvf_pipeline_add(l->p, &o, &l->stages[i]);
    if (rc == 0 && i > 0) rc = uvf_pipeline_chain(l->stages[i - 1], l->stages[i]);
  }
  return rc;
}

static void assert_line_done(line_t *l) {
  assert_int_equal(l->rc, 0);
  assert_int_equal(l->run.done, 1);
  assert_int_equal(l->run.status, 0);
  assert_int_equal(l->sum, l->wanted * (l->wanted + 1));
  assert_balanced(l->p);
  assert_int_equal(uvf_pipeline_destroy(l->p), 0);
}

static void several_pipelines_run_on_one_loop_at_once(void **state) {
  fixture_t *f = *state;
  line_t lines[4];
  for (uintptr_t i = 0; i < ARRAY_SIZE(lines); i++) {
    assert_int_equal(line_make(&lines[i], 2000 * (i + 1)), 0);
    assert_int_equal(uvf_pipeline_run(f->root, lines[i].p, on_run_done, &lines[i].run), 0);
  }
  for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
    run_until(&f->loop, &lines[i].run.done, 1);
    assert_line_done(&lines[i]);
  }
}

static void the_end_of_one_leaves_the_other_alone(void **state) {
  fixture_t *f = *state;
  for (int by_error = 0; by_error < 2; by_error++) {
    line_t line;
    run_t run = {0, 1};
    assert_int_equal(line_make(&line, 20000), 0);
    begin();
    node(UVF_STAGE_SOURCE)->make = 1000;
    node(UVF_STAGE_WORK)->fail_every = by_error ? 5 : 0;
    in_a_row();
    assert_int_equal(uvf_pipeline_run(f->root, line.p, on_run_done, &line.run), 0);
    assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
    if (!by_error) uvf_pipeline_cancel(k.p);
    run_until(&f->loop, &run.done, 1);
    assert_int_equal(run.status, by_error ? -777 : UV_ECANCELED);
    run_until(&f->loop, &line.run.done, 1);
    assert_line_done(&line);
    end();
  }
}

/* A loop with a pipeline, on a thread. Nothing is asserted there. */
static void run_loop(void *arg) {
  line_t *l = arg;
  uv_loop_t loop;
  uvf_ctx_t *root;
  l->rc = uv_loop_init(&loop);
  if (l->rc != 0) return;
  l->rc = uvf_ctx_background(&loop, &root);
  if (l->rc == 0) {
    l->rc = uvf_pipeline_run(root, l->p, on_run_done, &l->run);
    while (l->rc == 0 && l->run.done == 0 && uv_run(&loop, UV_RUN_ONCE) != 0) {}
    uvf_ctx_close(root, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
  }
  if (uv_loop_close(&loop) != 0) l->rc = UV_EBUSY;
}

static void pipelines_run_on_several_loops_at_once(void **state) {
  fixture_t *f = *state;
  line_t lines[4];
  uv_thread_t threads[3];
  for (uintptr_t i = 0; i < ARRAY_SIZE(lines); i++) assert_int_equal(line_make(&lines[i], 10000 + i), 0);
  for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
    assert_int_equal(uv_thread_create(&threads[i], run_loop, &lines[i]), 0);
  assert_int_equal(uvf_pipeline_run(f->root, lines[3].p, on_run_done, &lines[3].run), 0);
  run_until(&f->loop, &lines[3].run.done, 1);
  for (size_t i = 0; i < ARRAY_SIZE(threads); i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
  for (size_t i = 0; i < ARRAY_SIZE(lines); i++) assert_line_done(&lines[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_run_stands_in_a_groups_task),
      unit(a_task_that_fails_ends_the_run_in_the_same_group),
      unit(several_pipelines_run_on_one_loop_at_once),
      unit(the_end_of_one_leaves_the_other_alone),
      unit(pipelines_run_on_several_loops_at_once),
  };
  return test_run(tests);
}
