/* SPDX-License-Identifier: MIT
 *
 * Stages with a limiter.
 */
#include "unit/flow_nodes.h"

static void a_limiter_paces_the_calls_of_every_kind(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    uvf_limiter_t limiter;
    uint64_t start_ns;
    assert_int_equal(uvf_limiter_init(&limiter, 500, 5), 0);
    begin();
    node(UVF_STAGE_SOURCE)->make = 30;
    node(kinds[i])->o.limiter = &limiter;
    in_a_row();
    start_ns = uv_hrtime();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_true(uv_hrtime() - start_ns >= 50 * MS_NS); /* (30 - 5) / 500 s */
    end();
    assert_int_equal(uvf_limiter_destroy(&limiter), 0);
  }
}

static void the_end_of_a_limited_stage_does_not_wait_for_a_token(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t limiter;
  uint64_t start_ns = uv_hrtime();
  assert_int_equal(uvf_limiter_init(&limiter, 0.01, 1), 0);
  begin();
  node(UVF_STAGE_SOURCE)->make = 30;
  node(UVF_STAGE_WORK)->o.limiter = &limiter;
  node(UVF_STAGE_ASYNC)->later = 10;
  k.n[2].eof_at = 1;
  in_a_row();
  assert_int_equal(run_to_end(f, f->root, k.p), 0);
  assert_true(uv_hrtime() - start_ns < 10000 * MS_NS);
  end();
  assert_int_equal(uvf_limiter_destroy(&limiter), 0);
}

/* --- counted: a limiter into which nothing flows --- */

static int calls_have_come(void *arg) {
  const node_t *n = arg;
  return atomic_load(&n->calls) >= (int)n->o.limiter->uvf__burst;
}

/* Starts what `node` is limited in, waits until the tokens are used up, and sees that no more calls come; then lets
 * tokens flow until it is over. */
static void assert_one_token_each(fixture_t *f, node_t *n, int tokens) {
  run_t run = {0, 1};
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  run_until_seen(&f->loop, calls_have_come, n);
  run_for(&f->loop, 10);
  assert_int_equal(atomic_load(&n->calls), tokens);
  assert_int_equal(run.done, 0);
  assert_int_equal(uvf_limiter_set(n->o.limiter, 1e6, tokens), 0);
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(run.status, 0);
}

static void every_try_takes_a_token_of_its_own(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 6; i++) {
    for (int tokens = 1; tokens < 10; tokens += 2) {
      uvf_limiter_t limiter;
      assert_int_equal(uvf_limiter_init(&limiter, 0, tokens), 0);
      begin();
      node(UVF_STAGE_SOURCE)->make = 5;
      node(kinds[i % 3])->o.limiter = &limiter;
      node(UVF_STAGE_LOOP);
      k.n[1].fail_every = k.n[1].fail_times = 1;
      k.n[1].o.on_error = UVF_ON_ERROR_RETRY;
      k.n[1].o.retries = 2;
      k.n[1].o.ordered = i >= 3;
      in_a_row();
      assert_one_token_each(f, &k.n[1], tokens);
      assert_int_equal(k.n[1].calls, 10);
      assert_int_equal(k.n[1].stage->retried, 5);
      assert_int_equal(k.n[2].stage->done, 5);
      assert_int_equal(k.n[2].out_of_order, 0);
      end();
      assert_int_equal(uvf_limiter_destroy(&limiter), 0);
    }
  }
}

static void ordered_workers_wait_for_tokens_and_keep_the_order(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 4; i++) {
    uvf_limiter_t limiter;
    assert_int_equal(uvf_limiter_init(&limiter, 20000, 3), 0);
    begin();
    node(UVF_STAGE_SOURCE)->make = 200;
    node(i % 2 ? UVF_STAGE_ASYNC : UVF_STAGE_WORK)->o.limiter = &limiter;
    node(UVF_STAGE_LOOP)->o.capacity = i < 2 ? 1 : 50;
    k.n[1].o.workers = 3;
    k.n[1].o.ordered = 1;
    k.n[1].fail_every = 3;
    k.n[1].fail_times = 2;
    k.n[1].o.on_error = UVF_ON_ERROR_RETRY;
    k.n[1].o.retries = 2;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[1].stage->retried, 2 * 66);
    assert_int_equal(k.n[2].stage->done, 200);
    assert_int_equal(k.n[2].out_of_order, 0);
    end();
    assert_int_equal(uvf_limiter_destroy(&limiter), 0);
  }
}

static void sources_of_every_kind_are_limited(void **state) {
  static const int of_sources[] = {UVF_STAGE_SOURCE, UVF_STAGE_LOOP, UVF_STAGE_ASYNC};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(of_sources); i++) {
    uvf_limiter_t limiter;
    assert_int_equal(uvf_limiter_init(&limiter, 0, 7), 0);
    begin();
    source(of_sources[i], 20)->o.limiter = &limiter;
    node(UVF_STAGE_WORK);
    in_a_row();
    assert_one_token_each(f, &k.n[0], 7);
    assert_int_equal(k.n[1].stage->done, 20);
    end();
    assert_int_equal(uvf_limiter_destroy(&limiter), 0);
  }
}

static int both_have_stopped(void *arg) {
  (void)arg;
  return atomic_load(&k.n[1].calls) + atomic_load(&k.n[2].calls) >= 9;
}

static void two_stages_share_a_limiter(void **state) {
  fixture_t *f = *state;
  run_t run = {0, 1};
  uvf_limiter_t limiter;
  assert_int_equal(uvf_limiter_init(&limiter, 0, 9), 0);
  begin();
  node(UVF_STAGE_SOURCE)->make = 50;
  node(UVF_STAGE_WORK)->o.limiter = &limiter;
  node(UVF_STAGE_ASYNC)->o.limiter = &limiter;
  in_a_row();
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  run_until_seen(&f->loop, both_have_stopped, NULL);
  run_for(&f->loop, 10);
  assert_int_equal(atomic_load(&k.n[1].calls) + atomic_load(&k.n[2].calls), 9);
  assert_int_equal(uvf_limiter_set(&limiter, 1e5, 9), 0);
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(run.status, 0);
  assert_int_equal(k.n[2].stage->done, 50);
  end();
  assert_int_equal(uvf_limiter_destroy(&limiter), 0);
}

static void tokens_that_no_call_has_used_are_there_for_others(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    uvf_limiter_t limiter;
    assert_int_equal(uvf_limiter_init(&limiter, 0, 1000), 0);
    begin();
    node(UVF_STAGE_SOURCE)->make = 40;
    node(kinds[i])->o.limiter = &limiter;
    k.n[0].o.limiter = &limiter;
    k.n[1].eof_at = 10;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal((int)uvf_limiter_tokens(&limiter), 1000 - k.n[0].calls - k.n[1].calls);
    end();
    assert_int_equal(uvf_limiter_destroy(&limiter), 0);
  }
}

/* --- ends --- */

static void a_limiter_that_can_never_serve_ends_the_run_with_its_code(void **state) {
  fixture_t *f = *state;
  for (int at = 0; at < 2; at++) {
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
      uvf_limiter_t limiter;
      assert_int_equal(uvf_limiter_init(&limiter, 1000, 0.5), 0);
      begin();
      source(at == 1 || kinds[i] == UVF_STAGE_WORK ? UVF_STAGE_SOURCE : kinds[i], 30);
      node(kinds[i]);
      k.n[at].o.limiter = &limiter;
      in_a_row();
      assert_int_equal(run_to_end(f, f->root, k.p), UV_EINVAL);
      assert_int_equal(k.n[at].calls, 0);
      end();
      assert_int_equal(uvf_limiter_destroy(&limiter), 0);
    }
  }
}

static int second_is_limited(void *arg) {
  (void)arg;
  return atomic_load(&k.n[1].calls) == 2 && stats_of(&k.n[1]).queued > 0;
}

static void a_cancel_does_not_wait_for_a_token(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 6; i++) {
    uvf_limiter_t limiter;
    run_t run = {0, 1};
    assert_int_equal(uvf_limiter_init(&limiter, 0, 2), 0);
    begin();
    node(UVF_STAGE_SOURCE)->make = 30;
    node(kinds[i % 3])->o.limiter = &limiter;
    if (i >= 3) { /* what has begun and must be tried again keeps its place */
      k.n[1].o.ordered = 1;
      k.n[1].o.on_error = UVF_ON_ERROR_RETRY;
      k.n[1].o.retries = 5;
      k.n[1].fail_every = 1;
    }
    in_a_row();
    assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
    run_until_seen(&f->loop, second_is_limited, NULL);
    run_for(&f->loop, 2);
    uvf_pipeline_cancel(k.p);
    run_until(&f->loop, &run.done, 1);
    assert_int_equal(run.status, UV_ECANCELED);
    assert_int_equal(k.n[1].calls, 2);
    end();
    assert_int_equal(uvf_limiter_destroy(&limiter), 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_limiter_paces_the_calls_of_every_kind),
      unit(the_end_of_a_limited_stage_does_not_wait_for_a_token),
      unit(every_try_takes_a_token_of_its_own),
      unit(ordered_workers_wait_for_tokens_and_keep_the_order),
      unit(sources_of_every_kind_are_limited),
      unit(two_stages_share_a_limiter),
      unit(tokens_that_no_call_has_used_are_there_for_others),
      unit(a_limiter_that_can_never_serve_ends_the_run_with_its_code),
      unit(a_cancel_does_not_wait_for_a_token),
  };
  return test_run(tests);
}
