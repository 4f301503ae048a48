/* SPDX-License-Identifier: MIT
 *
 * Runs that end early: by end of input, an error, a cancel, at each step of a run.
 */
#include "unit/flow_nodes.h"

static void end_of_input_at_any_stage_stops_what_is_upstream_only(void **state) {
  fixture_t *f = *state;
  for (int at = 0; at < 4; at++) {
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
      begin();
      node(UVF_STAGE_SOURCE)->make = 50000;
      for (int s = 1; s < 4; s++) node(kinds[(i + (size_t)s) % 3])->o.flush = flush;
      k.n[at].eof_at = 100;
      in_a_row();
      assert_int_equal(run_to_end(f, f->root, k.p), 0);
      assert_int_equal(k.n[at].stage->done, at == 0 ? 99 : 100);
      for (int s = at + 1; s < 4; s++) assert_int_equal(k.n[s].stage->done, 100);
      for (int s = 1; s < 4; s++) assert_int_equal(k.n[s].flushes, 1);
      assert_true(k.n[0].stage->in < 50000);
      end();
    }
  }
}

/* A stage of this kind under this policy, each tenth item of which fails so many times; 0: always. */
static void run_with_errors(fixture_t *f, int kind, int policy, int times) {
  int retries = policy == UVF_ON_ERROR_RETRY || policy == UVF_ON_ERROR_RETRY_SKIP;
  int skips = policy == UVF_ON_ERROR_SKIP || policy == UVF_ON_ERROR_RETRY_SKIP;
  int in_vain = !retries || times == 0;
  begin();
  node(UVF_STAGE_SOURCE)->make = 100;
  node(kind)->fail_every = 10;
  node(UVF_STAGE_WORK);
  k.n[1].o.on_error = policy;
  k.n[1].o.retries = retries ? 2 : 0;
  k.n[1].fail_times = times;
  in_a_row();
  assert_int_equal(run_to_end(f, f->root, k.p), in_vain && !skips ? -777 : 0);
  assert_int_equal(k.n[1].stage->failed, !in_vain ? 0 : skips ? 10 : 1);
  if (!in_vain || skips) {
    assert_int_equal(k.n[1].stage->retried, retries ? 20 : 0);
    assert_int_equal(k.n[2].stage->done, in_vain ? 90 : 100);
  }
  end();
}

static void an_error_ends_skips_or_is_tried_again_by_the_policy(void **state) {
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    for (int policy = UVF_ON_ERROR_FAIL; policy <= UVF_ON_ERROR_RETRY_SKIP; policy++) {
      for (int times = 0; times < 3; times += 2) run_with_errors(*state, kinds[i], policy, times);
    }
  }
}

static void on_cancel(uv_timer_t *timer) { uvf_pipeline_cancel(timer->data); }

static void cancelled_before_during_by_deadline_or_by_its_root_it_ends_once(void **state) {
  fixture_t *f = *state;
  for (int how = 0; how < 4; how++) {
    uvf_ctx_t *ctx;
    uv_timer_t timer;
    run_t run = {0, 1};
    begin();
    node(UVF_STAGE_SOURCE)->make = 100000000;
    node(UVF_STAGE_WORK)->o.workers = 2;
    node(UVF_STAGE_ASYNC)->later = 1;
    node(UVF_STAGE_LOOP);
    in_a_row();
    if (how == 2)
      assert_int_equal(uvf_ctx_with_timeout(f->root, 5, &ctx), 0);
    else
      assert_int_equal(uvf_ctx_with_cancel(f->root, &ctx), 0);
    if (how == 0) uvf_ctx_cancel(ctx);
    assert_int_equal(uvf_pipeline_run(ctx, k.p, on_run_done, &run), 0);
    uvf_ctx_release(ctx);
    assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), UV_EBUSY);
    uv_timer_init(&f->loop, &timer);
    timer.data = k.p;
    if (how == 1) uv_timer_start(&timer, on_cancel, 5, 0);
    if (how == 3)
      fixture_close_root(f);
    else
      run_until(&f->loop, &run.done, 1);
    assert_int_equal(run.done, 1);
    assert_int_equal(run.status, how == 2 ? UV_ETIMEDOUT : UV_ECANCELED);
    if (how == 0) assert_int_equal(k.n[0].calls, 0);
    uv_close((uv_handle_t *)&timer, NULL);
    run_ready(&f->loop);
    end();
  }
}

/* --- destroying --- */

static void destroys(void *p) { uvf_pipeline_destroy(p); }

static void on_done_destroy(uvf_pipeline_t *p, int status, void *arg) {
  *(int *)arg += 1 + status + uvf_pipeline_destroy(p);
}

static void it_is_destroyed_in_its_done_callback_but_not_while_it_runs(void **state) {
  fixture_t *f = *state;
  int done = 0;
  begin();
  node(UVF_STAGE_SOURCE)->make = 10;
  node(UVF_STAGE_WORK);
  in_a_row();
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_done_destroy, &done), 0);
  if (test_rules_on())
    assert_non_null(test_expect_rule(destroys, k.p));
  else
    assert_int_equal(uvf_pipeline_destroy(k.p), UV_EBUSY);
  run_until(&f->loop, &done, 1);
  assert_items_ended();
  gate_destroy(&k.gate);
}

/* --- at each step of a run --- */

enum { BY_PIPELINE, BY_CONTEXT, BY_DEADLINE, BY_ERROR, BY_END_OF_INPUT, WAYS };

static struct {
  int way;
  uvf_ctx_t *ctx;
  uv_thread_t loop_thread;
  atomic_int fatal; /* the step was in a function whose error ends the run */
} sweep;

static int on_step(uvf_flow_t *flow) {
  uv_thread_t self = uv_thread_self();
  int on_loop = uv_thread_equal(&self, &sweep.loop_thread);
  const node_t *n = flow == NULL ? NULL : flow->data;
  switch (sweep.way) {
    case BY_PIPELINE:
      if (on_loop)
        uvf_pipeline_cancel(k.p);
      else
        uvf_ctx_cancel(sweep.ctx);
      return 0;
    case BY_CONTEXT: uvf_ctx_cancel(sweep.ctx); return 0;
    case BY_DEADLINE: /* it comes while this call lasts; on the loop it cannot be told before */
      while (uvf_ctx_remaining_ns(sweep.ctx) > 0) {}
      while (!on_loop && uvf_ctx_err(sweep.ctx) == 0) {}
      return 0;
    case BY_ERROR: atomic_store(&sweep.fatal, n != NULL && n->o.on_error == UVF_ON_ERROR_FAIL); return -999;
    default: return UV_EOF;
  }
}

static void assert_swept(const run_t *run, int stepped) {
  int status = run->status;
  assert_int_equal(run->done, 1);
  assert_accounted();
  if (stepped && sweep.way <= BY_DEADLINE) {
    if (status == 0) assert_int_equal(k.n[k.used - 1].stage->finished, 1); /* it was the last thing to do */
    if (status != 0) assert_int_equal(status, sweep.way == BY_DEADLINE ? UV_ETIMEDOUT : UV_ECANCELED);
  } else if (sweep.way == BY_DEADLINE) {
    assert_true(status == 0 || status == UV_ETIMEDOUT); /* on a slow machine it may come at any step */
  } else {
    assert_int_equal(status, stepped && atomic_load(&sweep.fatal) ? -999 : 0);
  }
}

/* Runs it with the end at step `at`, and then once more without; 0: it was over before. */
static int run_with_end_at(fixture_t *f, int at, unsigned int items_to_make) {
  run_t run = {0, 1};
  int stepped;
  if (sweep.way == BY_DEADLINE)
    assert_int_equal(uvf_ctx_with_timeout(f->root, 10, &sweep.ctx), 0);
  else
    assert_int_equal(uvf_ctx_with_cancel(f->root, &sweep.ctx), 0);
  again(items_to_make);
  atomic_store(&sweep.fatal, 0);
  k.hook = on_step;
  k.at = at;
  assert_int_equal(uvf_pipeline_run(sweep.ctx, k.p, on_run_done, &run), 0);
  run_until(&f->loop, &run.done, 1);
  run_ready(&f->loop);
  stepped = atomic_load(&k.steps) >= at;
  assert_swept(&run, stepped);
  uvf_ctx_release(sweep.ctx);
  k.at = 0;
  again(items_to_make);
  assert_int_equal(run_to_end(f, f->root, k.p), 0);
  assert_accounted();
  assert_int_equal(k.n[k.used - 1].stage->done, items_to_make);
  return stepped;
}

static void sweep_all(fixture_t *f, unsigned int items_to_make, int least) {
  sweep.loop_thread = uv_thread_self();
  for (sweep.way = 0; sweep.way < WAYS; sweep.way++) {
    int at = 1;
    while (run_with_end_at(f, at, items_to_make)) at++;
    if (sweep.way != BY_DEADLINE) assert_true(at > least);
  }
}

static void at_whatever_step_a_chain_is_ended_it_ends_once_and_nothing_is_lost(void **state) {
  begin();
  node(UVF_STAGE_SOURCE)->o.flush = flush;
  node(UVF_STAGE_WORK)->o.workers = 2;
  node(UVF_STAGE_ASYNC)->later = 1;
  node(UVF_STAGE_LOOP)->o.flush = flush;
  k.n[1].o.flush = k.n[2].o.flush = flush;
  k.n[2].o.workers = 4;
  k.n[2].o.capacity = 2;
  in_a_row();
  sweep_all(*state, 7, 8 + 3 * 7 + 4);
  end();
}

static void at_whatever_step_a_graph_with_retries_order_and_branches_is_ended_nothing_is_lost(void **state) {
  begin();
  source(UVF_STAGE_LOOP, 0);
  node(UVF_STAGE_WORK)->o.workers = 3;
  node(UVF_STAGE_ASYNC)->o.workers = 2;
  node(UVF_STAGE_LOOP)->o.capacity = 1;
  node(UVF_STAGE_WORK)->sink = 1;
  k.n[1].o.ordered = k.n[1].route = 1;
  k.n[1].fail_every = 2;
  k.n[1].fail_times = 1;
  for (int i = 1; i < 3; i++) {
    k.n[i].o.on_error = UVF_ON_ERROR_RETRY;
    k.n[i].o.retries = 3;
  }
  k.n[4].o.flush = flush;
  add_all();
  assert_int_equal(uvf_pipeline_chain(k.n[0].stage, k.n[1].stage), 0);
  for (unsigned int i = 0; i < 2; i++) {
    assert_int_equal(uvf_pipeline_link(k.n[1].stage, i, k.n[2 + i].stage, 0), 0);
    assert_int_equal(uvf_pipeline_chain(k.n[2 + i].stage, k.n[4].stage), 0);
  }
  sweep_all(*state, 8, 9 + 12 + 8 + 8 + 1);
  end();
}

/* --- what nobody takes --- */

static int emits_what_it_is_given(uvf_flow_t *flow, void *item) { return uvf_emit(flow, 0, item); }

static int does_so_later(uvf_flow_t *flow, void *item) {
  uvf_flow_done(flow, emits_what_it_is_given(flow, item));
  return 0;
}

static void an_item_that_nobody_takes_is_dropped_and_is_no_error(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 6; i++) {
    begin();
    node(UVF_STAGE_SOURCE)->make = 5000;
    node(kinds[i % 3])->o.workers = i < 3 ? 1 : 3;
    node(UVF_STAGE_WORK)->eof_at = 40;
    k.n[1].o.fn = i % 3 == 2 ? does_so_later : emits_what_it_is_given;
    k.n[2].o.capacity = 8;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[1].stage->failed, 0);
    assert_int_equal(k.n[2].stage->done, 40);
    end();
  }
}

static struct { int calls, refused, own; } pipe_calls;

/* To output 0, whose reader has gone; every other call has an UV_EPIPE of its own. */
static int fails_by_itself_every_other_time(uvf_flow_t *flow, void *item) {
  int rc;
  if (pipe_calls.refused > 0 && pipe_calls.calls++ % 2 == 0) {
    pipe_calls.own++;
    return UV_EPIPE;
  }
  rc = item_pass(flow, 0, item);
  if (rc == UV_EPIPE) pipe_calls.refused++;
  return 0;
}

static void a_broken_pipe_of_its_own_is_an_error_also_after_an_item_was_refused(void **state) {
  fixture_t *f = *state;
  memset(&pipe_calls, 0, sizeof pipe_calls);
  begin();
  node(UVF_STAGE_SOURCE)->make = 20000;
  node(UVF_STAGE_WORK)->o.fn = fails_by_itself_every_other_time;
  node(UVF_STAGE_LOOP)->eof_at = 1;
  node(UVF_STAGE_LOOP); /* which gets nothing, and so has not had enough */
  k.n[1].o.on_error = UVF_ON_ERROR_SKIP;
  k.n[2].sink = k.n[3].sink = 1;
  add_all();
  assert_int_equal(uvf_pipeline_chain(k.n[0].stage, k.n[1].stage), 0);
  for (int i = 2; i < 4; i++) assert_int_equal(uvf_pipeline_chain(k.n[1].stage, k.n[i].stage), 0);
  assert_int_equal(run_to_end(f, f->root, k.p), 0);
  assert_true(pipe_calls.own > 0);
  assert_int_equal(k.n[1].stage->failed, pipe_calls.own);
  end();
}

/* --- why --- */

static int fails_and_keeps_its_context(uvf_flow_t *flow, void *item) {
  (void)item;
  sweep.ctx = uvf_ctx_retain(flow->ctx);
  return -777;
}

static void the_first_error_is_the_cause_of_its_context(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < 2; i++) {
    begin();
    node(UVF_STAGE_SOURCE)->make = 1;
    node(kinds[i])->o.fn = fails_and_keeps_its_context;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), -777);
    assert_int_equal(uvf_ctx_err(sweep.ctx), UV_ECANCELED);
    assert_int_equal(uvf_ctx_cause(sweep.ctx, NULL), -777);
    uvf_ctx_release(sweep.ctx);
    end();
  }
}

static int of_two_errors(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  (void)item;
  if (atomic_fetch_add(&n->calls, 1) == 0)
    gate_pass(&k.gate); /* the second fails first */
  else
    gate_open(&k.gate, 1);
  return flow->worker == 0 ? -100 : -101;
}

static void of_two_errors_at_once_one_is_told(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 20; i++) {
    int status;
    begin();
    node(UVF_STAGE_SOURCE)->make = 2;
    node(UVF_STAGE_WORK)->o.fn = of_two_errors;
    k.n[1].o.workers = 2;
    in_a_row();
    status = run_to_end(f, f->root, k.p);
    assert_true(status == -100 || status == -101);
    assert_int_equal(k.n[1].stage->failed, 2);
    end();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(end_of_input_at_any_stage_stops_what_is_upstream_only),
      unit(an_error_ends_skips_or_is_tried_again_by_the_policy),
      unit(cancelled_before_during_by_deadline_or_by_its_root_it_ends_once),
      unit(at_whatever_step_a_chain_is_ended_it_ends_once_and_nothing_is_lost),
      unit(at_whatever_step_a_graph_with_retries_order_and_branches_is_ended_nothing_is_lost),
      unit(an_item_that_nobody_takes_is_dropped_and_is_no_error),
      unit(a_broken_pipe_of_its_own_is_an_error_also_after_an_item_was_refused),
      unit(the_first_error_is_the_cause_of_its_context),
      unit(of_two_errors_at_once_one_is_told),
      unit(it_is_destroyed_in_its_done_callback_but_not_while_it_runs),
  };
  return test_run(tests);
}
