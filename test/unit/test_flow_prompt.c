/* SPDX-License-Identifier: MIT
 *
 * What lasts holds up nobody else: each wait here ends only if what is behind it goes on meanwhile.
 */
#include "unit/flow_nodes.h"

#define SLOW 5

static struct {
  atomic_int inside; /* who waits for a gate */
  atomic_int seen;   /* items that the sink was given */
  gate_t other;
} held;

static void begin_held(void) {
  memset(&held, 0, sizeof held);
  gate_init(&held.other);
  begin();
}

static void end_held(void) {
  end();
  gate_destroy(&held.other);
}

static int somebody_is_inside(void *arg) {
  (void)arg;
  return atomic_load(&held.inside) > 0;
}

/* --- a row of calls, one of which lasts --- */

static int lasts_at_the_slow_one(uvf_flow_t *flow, void *item) {
  if (id_of(item) == SLOW) gate_pass(&k.gate);
  return item_pass(flow, 0, item);
}

static int makes_and_lasts_at_the_slow_one(uvf_flow_t *flow, void *item) {
  item = item_born();
  lasts_at_the_slow_one(flow, item);
  return id_of(item) == 2 * SLOW ? UV_EOF : 0;
}

/* The slow call goes on when all that came before it is here. */
static int lets_the_slow_one_go(uvf_flow_t *flow, void *item) {
  int before = id_of(item) < SLOW;
  (void)flow;
  item_end(item);
  if (before && atomic_fetch_add(&held.seen, 1) + 1 == SLOW - 1) gate_open(&k.gate, 1);
  return 0;
}

static int busy_meanwhile(uvf_flow_t *flow, void *item) {
  (void)item;
  return atomic_load(&held.seen) == SLOW - 1 ? UV_EOF : uvf_emit(flow, 0, NULL);
}

static int swallows(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  return 0;
}

/* Beside the others, and always finishing something. */
static void add_busy_branch(void) {
  node_t *from = node(UVF_STAGE_SOURCE);
  node_t *to = node(UVF_STAGE_WORK);
  from->o.fn = busy_meanwhile;
  to->o.fn = swallows;
  assert_int_equal(uvf_pipeline_add(k.p, &from->o, &from->stage), 0);
  assert_int_equal(uvf_pipeline_add(k.p, &to->o, &to->stage), 0);
  assert_int_equal(uvf_pipeline_chain(from->stage, to->stage), 0);
}

static void run_in_rows(fixture_t *f, node_t *slow) {
  run_t run = {0, 1};
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  in_rows_of(slow, 2 * SLOW);
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(run.status, 0);
}

static void what_a_row_has_done_reaches_the_loop_while_its_next_call_lasts(void **state) {
  for (int i = 0; i < 8; i++) {
    begin_held();
    node(UVF_STAGE_SOURCE)->make = 2 * SLOW;
    k.n[0].per_call = 2 * SLOW;
    k.n[0].eof_at = 1; /* so that nothing is left to do on the pool, whose threads might see to the loop */
    node(UVF_STAGE_WORK)->o.fn = lasts_at_the_slow_one;
    node(UVF_STAGE_LOOP)->o.fn = lets_the_slow_one_go;
    k.n[1].o.workers = i & 1 ? 3 : 1;
    k.n[1].o.ordered = i & 2;
    in_a_row();
    if (i & 4) add_busy_branch();
    run_in_rows(*state, &k.n[1]);
    assert_int_equal(k.n[2].stage->done, 2 * SLOW);
    end_held();
  }
}

static void what_a_source_has_made_reaches_the_loop_while_its_next_call_lasts(void **state) {
  for (int busy = 0; busy < 2; busy++) {
    begin_held();
    node(UVF_STAGE_SOURCE)->o.fn = makes_and_lasts_at_the_slow_one;
    node(UVF_STAGE_LOOP)->o.fn = lets_the_slow_one_go;
    in_a_row();
    if (busy) add_busy_branch();
    run_in_rows(*state, &k.n[0]);
    assert_int_equal(k.n[1].stage->done, 2 * SLOW);
    end_held();
  }
}

/* --- somebody's long jobs --- */

static int long_job(uvf_work_t *job) {
  (void)job;
  atomic_fetch_add(&held.inside, 1);
  gate_pass(&held.other);
  return 0;
}

static void on_job(uvf_work_t *job, int status) {
  if (status == 0) ++*(int *)job->data;
}

static void start_long(fixture_t *f, uvf_work_t *job, int *done) {
  job->data = done;
  assert_int_equal(uvf_work_start(f->root, job, long_job, on_job, NULL), 0);
}

/* Its thread is wanted by others when the call is over. */
static int makes_after_a_while(uvf_flow_t *flow, void *item) {
  (void)item;
  atomic_fetch_add(&held.inside, 1);
  gate_pass(&k.gate);
  burn(3 * MS_NS);
  item_pass(flow, 0, item_born());
  return UV_EOF;
}

static int ends_the_job(uvf_flow_t *flow, void *item) {
  (void)flow;
  item_end(item);
  gate_open(&held.other, 1);
  return 0;
}

static void what_is_for_the_loop_is_there_before_the_thread_is_given_to_a_long_job(void **state) {
  fixture_t *f = *state;
  run_t run = {0, 1};
  uvf_work_t job;
  int jobs = 0;
  assert_int_equal(uvf_work_set_limit(1), 0);
  begin_held();
  node(UVF_STAGE_SOURCE)->o.fn = makes_after_a_while;
  node(UVF_STAGE_LOOP)->o.fn = ends_the_job;
  in_a_row();
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  run_until_seen(&f->loop, somebody_is_inside, NULL);
  start_long(f, &job, &jobs);
  run_ready(&f->loop);
  gate_open(&k.gate, 1);
  run_until(&f->loop, &run.done, 1);
  run_until(&f->loop, &jobs, 1);
  assert_int_equal(k.n[1].stage->done, 1);
  end_held();
  assert_int_equal(uvf_work_set_limit(0), 0);
}

static int one_is_in_and_one_in_line(void *arg) {
  int so;
  (void)arg;
  uvf__lock(&k.p->lock);
  so = k.p->running_chunks == 1 && k.p->waiting == 1;
  uvf__unlock(&k.p->lock);
  return so;
}

/* Two threads, one with a long job. The pipeline's first runner goes to the end of the line, behind more of these; the
 * second does what there is to do. */
static void done_does_not_wait_for_a_runner_that_is_in_line_behind_long_jobs(void **state) {
  fixture_t *f = *state;
  run_t run = {0, 1};
  uvf_work_t job[3];
  int jobs = 0;
  assert_int_equal(uvf_work_set_limit(2), 0);
  begin_held();
  node(UVF_STAGE_SOURCE)->o.fn = makes_after_a_while;
  node(UVF_STAGE_WORK)->o.workers = 4;
  in_a_row();
  start_long(f, &job[0], &jobs);
  run_until_seen(&f->loop, somebody_is_inside, NULL);
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  run_until_seen(&f->loop, one_is_in_and_one_in_line, NULL);
  for (int i = 1; i < 3; i++) start_long(f, &job[i], &jobs);
  run_ready(&f->loop);
  gate_open(&k.gate, 1);
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(run.status, 0);
  assert_int_equal(jobs, 0);
  gate_open(&held.other, 3);
  run_until(&f->loop, &jobs, 3);
  end_held();
  assert_int_equal(uvf_work_set_limit(0), 0);
}

/* --- a loop that has to wait, and one that is not there --- */

static void drop_waits(void *item, void *data) {
  if (atomic_fetch_add(&held.inside, 1) == 0) gate_pass(&k.gate);
  drop(item, data);
}

static int has_had_enough(uvf_flow_t *flow, void *item) {
  (void)flow;
  item_end(item);
  return UV_EOF;
}

static uvf_flow_t *kept;

static int keeps(uvf_flow_t *flow, void *item) {
  (void)item;
  kept = flow;
  return 0;
}

static uint64_t delivered(const fixture_t *f) {
  uvf_stats_t stats;
  uvf_ctx_stats(f->root, &stats);
  return stats.delivered;
}

/* All stages are finished, but a drop function on the pool goes on. */
static void the_loop_sleeps_while_the_last_thing_under_way_is_on_the_pool(void **state) {
  fixture_t *f = *state;
  run_t run = {0, 1};
  uint64_t before;
  begin_held();
  node(UVF_STAGE_SOURCE)->make = 3;
  k.n[0].per_call = 3;
  node(UVF_STAGE_WORK)->o.fn = has_had_enough;
  k.n[1].o.drop = drop_waits;
  source(UVF_STAGE_ASYNC, 0)->o.fn = keeps;
  node(UVF_STAGE_LOOP)->sink = 1;
  add_all();
  for (int i = 0; i < 4; i += 2) assert_int_equal(uvf_pipeline_chain(k.n[i].stage, k.n[i + 1].stage), 0);
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  run_until_seen(&f->loop, somebody_is_inside, NULL);
  assert_int_equal(uvf_flow_done(kept, UV_EOF), 0);
  run_ready(&f->loop);
  before = delivered(f);
  run_for(&f->loop, 20);
  assert_int_equal(run.done, 0);
  assert_true(delivered(f) - before < 100);
  gate_open(&k.gate, 1);
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(run.status, 0);
  end_held();
}

static int ends_the_context(uvf_flow_t *flow, void *item) {
  (void)item;
  atomic_fetch_add(&held.inside, 1);
  gate_pass(&k.gate); /* until the loop is not there */
  uvf_ctx_cancel(flow->ctx);
  return 0;
}

/* The loop does not come by, and does not know. */
static void runners_go_when_the_context_is_over_also_where_the_loop_does_not_come_by(void **state) {
  fixture_t *f = *state;
  run_t run = {0, 1};
  uint64_t until_ns;
  unsigned int running = 1;
  begin_held();
  node(UVF_STAGE_SOURCE)->o.fn = ends_the_context;
  node(UVF_STAGE_WORK);
  in_a_row();
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  run_until_seen(&f->loop, somebody_is_inside, NULL);
  gate_open(&k.gate, 20);
  until_ns = uv_hrtime() + 20000 * MS_NS;
  while (running > 0 && uv_hrtime() < until_ns) {
    uv_sleep(1);
    uvf__lock(&k.p->lock);
    running = k.p->running_chunks;
    uvf__unlock(&k.p->lock);
  }
  assert_int_equal(running, 0);
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(run.status, UV_ECANCELED);
  assert_int_equal(atomic_load(&held.inside), 1);
  end_held();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(what_a_row_has_done_reaches_the_loop_while_its_next_call_lasts),
      unit(what_a_source_has_made_reaches_the_loop_while_its_next_call_lasts),
      unit(what_is_for_the_loop_is_there_before_the_thread_is_given_to_a_long_job),
      unit(done_does_not_wait_for_a_runner_that_is_in_line_behind_long_jobs),
      unit(the_loop_sleeps_while_the_last_thing_under_way_is_on_the_pool),
      unit(runners_go_when_the_context_is_over_also_where_the_loop_does_not_come_by),
  };
  return test_run(tests);
}
