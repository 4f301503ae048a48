/* SPDX-License-Identifier: MIT
 *
 * Promises that the other tests of runs would not miss if they were broken: what goes on while a call lasts, or while
 * the only thread is busy.
 */
#include "unit/flow_await.h"

/* --- while a call lasts --- */

static int third_and_eighth_last(uvf_flow_t *flow, void *item) {
  if (id_of(item) % 5 == 3) gate_pass(&k.gate);
  return handle(flow, item);
}

/* Two workers, one with 1 to 5, the other with 6 to 8. */
static void what_every_row_has_done_is_sent_on_while_a_call_of_each_lasts(void **state) {
  fixture_t *f = *state;
  count_t before = {&k.n[2].calls, 4};
  run_t run;
  int came;
  begin();
  node(UVF_STAGE_SOURCE)->make = k.n[0].per_call = 10;
  k.n[0].eof_at = 1;
  node(UVF_STAGE_WORK)->o.fn = third_and_eighth_last;
  node(UVF_STAGE_LOOP);
  k.n[1].o.workers = 2;
  in_a_row();
  start_run(f, &run);
  in_rows_of(&k.n[1], 5);
  came = comes_in_time(&f->loop, has_come_to, &before);
  gate_open(&k.gate, 2);
  finish_run(f, &run, 0);
  assert_true(came);
  assert_int_equal(k.n[2].stage->done, 10);
  end();
}

static atomic_int busy_is_over;

/* It sleeps so that a processor that is shared by all threads, as under valgrind, is not all its own. */
static int endless(uvf_flow_t *flow, void *item) {
  (void)item;
  uv_sleep(1);
  return atomic_load(&busy_is_over) ? UV_EOF : uvf_emit(flow, 0, NULL);
}

static int swallows(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  return 0;
}

/* Two nodes, not linked to others; not added. */
static void busy_branch(void) {
  atomic_store(&busy_is_over, 0);
  node(UVF_STAGE_SOURCE)->o.fn = endless;
  node(UVF_STAGE_WORK)->o.fn = swallows;
  k.n[k.used - 1].o.drop = NULL;
}

/* Two threads: one is in the call that lasts, the other always finds something else to take. */
static void what_is_not_begun_of_its_row_is_done_by_a_thread_that_has_other_work_as_well(void **state) {
  fixture_t *f = *state;
  count_t others = {&k.n[2].calls, 9};
  run_t run;
  int came;
  assert_int_equal(uvf_work_set_limit(2), 0);
  begin();
  node(UVF_STAGE_SOURCE)->make = k.n[0].per_call = 10;
  k.n[0].eof_at = 1;
  node(UVF_STAGE_WORK)->slow_id = 1;
  node(UVF_STAGE_LOOP)->sink = 1;
  busy_branch();
  k.n[1].o.workers = 2;
  add_all();
  for (int i = 0; i < 4; i++) {
    if (i != 2) assert_int_equal(uvf_pipeline_chain(k.n[i].stage, k.n[i + 1].stage), 0);
  }
  start_run(f, &run);
  in_rows_of(&k.n[1], 10);
  came = comes_in_time(&f->loop, has_come_to, &others);
  gate_open(&k.gate, 1);
  atomic_store(&busy_is_over, 1);
  finish_run(f, &run, 0);
  assert_int_equal(uvf_work_set_limit(0), 0);
  assert_true(came);
  assert_int_equal(k.n[2].stage->done, 10);
  end();
}

static int emits_one_and_keeps_the_next(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  if (atomic_fetch_add(&n->calls, 1) > 0) return keeps(flow, item);
  item_pass(flow, 0, item_born());
  return uvf_flow_done(flow, 0);
}

static int has_had_enough_at_last(uvf_flow_t *flow, void *item) {
  (void)flow;
  gate_pass(&k.gate);
  item_end(item);
  return UV_EOF;
}

static int kept_is_over(void *arg) {
  (void)arg;
  return kept != NULL && uvf_ctx_err(kept->ctx) != 0;
}

/* The only thread has other work, and does not come back to the loop. */
static void a_call_on_the_loop_that_nobody_wants_any_more_is_told_though_the_pool_is_busy(void **state) {
  fixture_t *f = *state;
  count_t second = {&k.n[0].calls, 2};
  run_t run;
  int came;
  kept = NULL;
  assert_int_equal(uvf_work_set_limit(1), 0);
  begin();
  source(UVF_STAGE_ASYNC, 0)->o.fn = emits_one_and_keeps_the_next;
  node(UVF_STAGE_WORK)->o.fn = has_had_enough_at_last;
  busy_branch();
  add_all();
  for (int i = 0; i < 4; i += 2) assert_int_equal(uvf_pipeline_chain(k.n[i].stage, k.n[i + 1].stage), 0);
  start_run(f, &run);
  run_until_seen(&f->loop, has_come_to, &second);
  gate_open(&k.gate, 1);
  came = comes_in_time(&f->loop, kept_is_over, NULL);
  assert_int_equal(uvf_flow_done(kept, UV_ECANCELED), 0);
  atomic_store(&busy_is_over, 1);
  finish_run(f, &run, 0);
  assert_int_equal(uvf_work_set_limit(0), 0);
  assert_true(came);
  end();
}

static int counts_up(uvf_work_t *job) {
  atomic_fetch_add((atomic_int *)job->data, 1);
  return 0;
}

static void jobs_have_their_turns_beside_a_pipeline_that_has_the_only_thread(void **state) {
  fixture_t *f = *state;
  uvf_work_t jobs[10];
  atomic_int done = 0;
  count_t all = {&done, (int)ARRAY_SIZE(jobs)};
  run_t run;
  int came;
  assert_int_equal(uvf_work_set_limit(1), 0);
  begin();
  busy_branch();
  add_all();
  assert_int_equal(uvf_pipeline_chain(k.n[0].stage, k.n[1].stage), 0);
  start_run(f, &run);
  run_for(&f->loop, 5);
  for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
    jobs[i].data = &done;
    assert_int_equal(uvf_work_start(f->root, &jobs[i], counts_up, NULL, NULL), 0);
  }
  came = comes_in_time(&f->loop, has_come_to, &all);
  assert_int_equal(run.done, 0);
  atomic_store(&busy_is_over, 1);
  finish_run(f, &run, 0);
  run_until_seen(&f->loop, has_come_to, &all);
  assert_int_equal(uvf_work_set_limit(0), 0);
  assert_true(came);
  end();
}

/* --- the time of a call --- */

#define LIMIT_MS 60000u

static struct {
  uint64_t last_end_ns;
  int stale, in_a_row;
} timed;

static int looks_at_its_time(uvf_flow_t *flow, void *item) {
  if (uvf_ctx_deadline_ns(flow->ctx) < timed.last_end_ns + LIMIT_MS * MS_NS) timed.stale++;
  timed.in_a_row += ((uvf__chunk_t *)(void *)flow)->nout > 0;
  handle(flow, item);
  timed.last_end_ns = uv_hrtime();
  return 0;
}

static void every_call_of_a_row_has_the_whole_time(void **state) {
  fixture_t *f = *state;
  run_t run;
  memset(&timed, 0, sizeof timed);
  begin();
  node(UVF_STAGE_SOURCE)->make = k.n[0].per_call = 100;
  node(UVF_STAGE_WORK)->o.fn = looks_at_its_time;
  node(UVF_STAGE_WORK);
  k.n[1].o.item_timeout_ms = LIMIT_MS;
  in_a_row();
  start_run(f, &run);
  in_rows_of(&k.n[1], 50);
  finish_run(f, &run, 0);
  assert_true(timed.in_a_row >= 49);
  assert_int_equal(timed.stale, 0);
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(what_every_row_has_done_is_sent_on_while_a_call_of_each_lasts),
      unit(what_is_not_begun_of_its_row_is_done_by_a_thread_that_has_other_work_as_well),
      unit(a_call_on_the_loop_that_nobody_wants_any_more_is_told_though_the_pool_is_busy),
      unit(jobs_have_their_turns_beside_a_pipeline_that_has_the_only_thread),
      unit(every_call_of_a_row_has_the_whole_time),
  };
  return test_run(tests);
}
