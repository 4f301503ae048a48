/* SPDX-License-Identifier: MIT
 *
 * Calls that have a time limit: what they are told when it is over, and that each has a limit of its own.
 */
#include "unit/flow_nodes.h"

/* What the calls of a stage have seen. Its one worker's, then the test's. */
static struct {
  uvf_sem_t none; /* nobody ever gets one */
  uint64_t limit_ns;
  uint64_t last_end_ns;
  uvf_ctx_t *run_ctx;
  int early, stale, wrong;
  int wanted; /* what a wait should end with */
  int value;
} seen;

static void begin_timed(uint64_t limit_ms) {
  memset(&seen, 0, sizeof seen);
  assert_int_equal(uvf_sem_init(&seen.none, 0), 0);
  seen.limit_ns = limit_ms * MS_NS;
  seen.wanted = UV_ETIMEDOUT;
  begin();
}

static void end_timed(void) {
  end();
  assert_int_equal(seen.early, 0);
  assert_int_equal(seen.stale, 0);
  assert_int_equal(seen.wrong, 0);
  assert_int_equal(uvf_sem_destroy(&seen.none), 0);
}

/* A call's time begins behind the end of the one before. */
static uint64_t fresh_deadline(uvf_flow_t *flow) {
  uint64_t at_ns = uvf_ctx_deadline_ns(flow->ctx);
  if (at_ns < seen.last_end_ns + seen.limit_ns) seen.stale++;
  if (uvf_ctx_err(flow->ctx) != 0) seen.stale++;
  return at_ns;
}

static int over(uint64_t at_ns, int rc) {
  seen.last_end_ns = uv_hrtime();
  if (seen.last_end_ns < at_ns) seen.early++;
  if (rc != seen.wanted) seen.wrong++;
  return rc;
}

/* --- WORK --- */

static int looks(uvf_flow_t *flow, void *item) {
  uint64_t at_ns = fresh_deadline(flow);
  int rc;
  (void)item;
  while ((rc = uvf_flow_err(flow)) == 0) {}
  return over(at_ns, rc);
}

static int blocks(uvf_flow_t *flow, void *item) {
  uint64_t at_ns = fresh_deadline(flow);
  (void)item;
  return over(at_ns, uvf_sem_acquire_wait(flow->ctx, &seen.none, 1));
}

/* Every other item is done in time. */
static int blocks_or_passes(uvf_flow_t *flow, void *item) {
  if (id_of(item) % 2 == 0) return blocks(flow, item);
  fresh_deadline(flow);
  handle(flow, item);
  seen.last_end_ns = uv_hrtime();
  return 0;
}

static void a_call_on_the_pool_is_told_when_its_time_is_over_and_what_it_waits_for_ends(void **state) {
  static const uvf_stage_fn fns[] = {looks, blocks};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(fns); i++) {
    begin_timed(5);
    node(UVF_STAGE_SOURCE)->make = 6;
    node(UVF_STAGE_WORK)->o.item_timeout_ms = 5;
    k.n[1].o.on_error = UVF_ON_ERROR_SKIP;
    k.n[1].o.fn = fns[i];
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[1].stage->failed, 6);
    end_timed();
  }
}

static void calls_in_time_are_not_told_of_it(void **state) {
  fixture_t *f = *state;
  begin_timed(30);
  node(UVF_STAGE_SOURCE)->make = 8;
  node(UVF_STAGE_WORK)->o.item_timeout_ms = 30;
  node(UVF_STAGE_WORK);
  k.n[1].o.on_error = UVF_ON_ERROR_SKIP;
  k.n[1].o.fn = blocks_or_passes;
  in_a_row();
  assert_int_equal(run_to_end(f, f->root, k.p), 0);
  assert_int_equal(k.n[1].stage->failed, 4);
  assert_int_equal(k.n[2].stage->done, 4);
  end_timed();
}

static void every_try_has_the_whole_time(void **state) {
  fixture_t *f = *state;
  for (int ordered = 0; ordered < 2; ordered++) {
    begin_timed(5);
    node(UVF_STAGE_SOURCE)->make = 1;
    node(UVF_STAGE_WORK)->o.item_timeout_ms = 5;
    k.n[1].o.on_error = UVF_ON_ERROR_RETRY;
    k.n[1].o.retries = 3;
    k.n[1].o.ordered = ordered;
    k.n[1].o.fn = blocks;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), UV_ETIMEDOUT);
    assert_int_equal(k.n[1].stage->retried, 3);
    end_timed();
  }
}

static void on_cancel(uv_timer_t *timer) { uvf_pipeline_cancel(timer->data); }

static void the_end_of_the_run_ends_what_a_call_waits_for(void **state) {
  fixture_t *f = *state;
  uv_timer_t timer;
  run_t run = {0, 1};
  begin_timed(60000);
  node(UVF_STAGE_SOURCE)->make = 1;
  node(UVF_STAGE_WORK)->o.item_timeout_ms = 60000;
  k.n[1].o.fn = blocks;
  in_a_row();
  seen.wanted = UV_ECANCELED;
  uv_timer_init(&f->loop, &timer);
  timer.data = k.p;
  uv_timer_start(&timer, on_cancel, 5, 0);
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(run.status, UV_ECANCELED);
  seen.early = 0; /* it was meant to be */
  uv_close((uv_handle_t *)&timer, NULL);
  run_ready(&f->loop);
  end_timed();
}

static int notes_the_deadline(uvf_flow_t *flow, void *item) {
  if (uvf_ctx_deadline_ns(flow->ctx) > uvf_ctx_deadline_ns(seen.run_ctx)) seen.wrong++;
  return blocks(flow, item);
}

static void the_deadline_of_the_run_is_that_of_its_calls_if_it_comes_first(void **state) {
  fixture_t *f = *state;
  begin_timed(0);
  assert_int_equal(uvf_ctx_with_timeout(f->root, 20, &seen.run_ctx), 0);
  node(UVF_STAGE_SOURCE)->make = 5;
  node(UVF_STAGE_WORK)->o.item_timeout_ms = 60000;
  k.n[1].o.fn = notes_the_deadline;
  in_a_row();
  assert_int_equal(run_to_end(f, seen.run_ctx, k.p), UV_ETIMEDOUT);
  assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(seen.run_ctx));
  uvf_ctx_release(seen.run_ctx);
  end_timed();
}

static int looks_up(uvf_flow_t *flow, void *item) {
  if (uvf_ctx_value(flow->ctx, &seen) != &seen.value) seen.wrong++;
  return handle_or_make(flow, item);
}

static void values_are_found_from_every_call(void **state) {
  fixture_t *f = *state;
  for (uint64_t timeout_ms = 0; timeout_ms <= 60000; timeout_ms += 60000) {
    uvf_ctx_t *ctx;
    begin_timed(0);
    assert_int_equal(uvf_ctx_with_value(f->root, &seen, &seen.value, NULL, &ctx), 0);
    node(UVF_STAGE_SOURCE)->make = 50;
    for (int i = 0; i < 2; i++) node(kinds[i]);
    for (int i = 0; i < 3; i++) {
      k.n[i].o.fn = looks_up;
      k.n[i].o.item_timeout_ms = timeout_ms;
    }
    in_a_row();
    assert_int_equal(run_to_end(f, ctx, k.p), 0);
    uvf_ctx_release(ctx);
    end_timed();
  }
}

/* --- ASYNC --- */

static void an_async_call_past_its_time_has_a_context_that_is_over(void **state) {
  fixture_t *f = *state;
  begin();
  node(UVF_STAGE_SOURCE)->make = 12;
  node(UVF_STAGE_ASYNC)->o.item_timeout_ms = 30;
  node(UVF_STAGE_LOOP);
  k.n[1].o.on_error = UVF_ON_ERROR_SKIP;
  k.n[1].o.workers = 4;
  k.n[1].later = 40; /* 40, 80, 120 ms */
  in_a_row();
  assert_int_equal(run_to_end(f, f->root, k.p), 0);
  assert_int_equal(k.n[1].timeouts, 12);
  assert_int_equal(k.n[1].stage->failed, 12);
  end();
}

static void on_acquired(uvf_wait_t *wait, int status) {
  uvf_flow_t *flow = wait->data;
  uint64_t at_ns = uvf_ctx_deadline_ns(flow->ctx);
  free(wait);
  uvf_flow_done(flow, over(at_ns, status));
}

static int waits_on_the_loop(uvf_flow_t *flow, void *item) {
  uvf_wait_t *wait = malloc(sizeof *wait);
  (void)item;
  if (wait == NULL) return UV_ENOMEM;
  fresh_deadline(flow);
  wait->data = flow;
  return uvf_sem_acquire(flow->ctx, wait, &seen.none, 1, on_acquired);
}

static void what_an_async_call_has_started_ends_with_its_time_and_the_next_has_time_of_its_own(void **state) {
  fixture_t *f = *state;
  for (int policy = UVF_ON_ERROR_SKIP; policy <= UVF_ON_ERROR_RETRY; policy++) {
    int retry = policy == UVF_ON_ERROR_RETRY;
    begin_timed(5);
    node(UVF_STAGE_SOURCE)->make = 6;
    node(UVF_STAGE_ASYNC)->o.item_timeout_ms = 5;
    k.n[1].o.fn = waits_on_the_loop;
    k.n[1].o.on_error = policy;
    k.n[1].o.retries = retry ? 4 : 0;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), retry ? UV_ETIMEDOUT : 0);
    if (!retry) assert_int_equal(k.n[1].stage->failed, 6);
    end_timed();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_call_on_the_pool_is_told_when_its_time_is_over_and_what_it_waits_for_ends),
      unit(calls_in_time_are_not_told_of_it),
      unit(every_try_has_the_whole_time),
      unit(the_end_of_the_run_ends_what_a_call_waits_for),
      unit(the_deadline_of_the_run_is_that_of_its_calls_if_it_comes_first),
      unit(values_are_found_from_every_call),
      unit(an_async_call_past_its_time_has_a_context_that_is_over),
      unit(what_an_async_call_has_started_ends_with_its_time_and_the_next_has_time_of_its_own),
  };
  return test_run(tests);
}
