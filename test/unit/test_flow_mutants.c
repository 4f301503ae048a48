/* SPDX-License-Identifier: MIT
 *
 * Promises that the other tests of runs would not miss if they were broken: bounds where work is ordered, ends that
 * come from two sides, tokens without a call.
 */
#include "unit/flow_await.h"

/* --- order --- */

#define PLACES 20

static void an_ordered_stage_keeps_its_window_and_the_places_of_what_is_not_sent_on(void **state) {
  fixture_t *f = *state;
  for (int window = 5; window <= PLACES; window += PLACES - 5) {
    count_t all = {&k.n[1].calls, window};
    run_t run;
    int came;
    int calls;
    int most;
    begin();
    node(UVF_STAGE_SOURCE)->make = 500;
    node(UVF_STAGE_WORK)->o.workers = 3;
    node(UVF_STAGE_LOOP)->o.capacity = 500;
    k.n[1].o.capacity = PLACES;
    k.n[1].o.window = (size_t)window;
    k.n[1].o.ordered = 1;
    k.n[1].slow_id = 1;
    in_a_row();
    start_run(f, &run);
    came = comes_in_time(&f->loop, has_come_to, &all);
    run_for(&f->loop, 10); /* what is too many would be made now */
    calls = atomic_load(&k.n[1].calls);
    most = atomic_load(&items.most);
    gate_open(&k.gate, 1);
    finish_run(f, &run, 0);
    assert_true(came);
    assert_int_equal(calls, window);
    assert_true(most <= PLACES + 3 + 1);
    assert_int_equal(k.n[2].out_of_order, 0);
    end();
  }
}

/* The first row waits at its first call; the others are done by then, and what was stolen of it comes before them. */
static void what_is_stolen_or_tried_again_of_an_ordered_row_keeps_its_place(void **state) {
  fixture_t *f = *state;
  count_t all = {&k.n[1].calls, 10 + 2};
  run_t run;
  int came;
  begin();
  node(UVF_STAGE_SOURCE)->make = k.n[0].per_call = 10;
  k.n[0].eof_at = 1;
  node(UVF_STAGE_WORK)->slow_id = 1;
  node(UVF_STAGE_LOOP);
  k.n[1].o.workers = 3;
  k.n[1].o.ordered = 1;
  k.n[1].fail_every = 4;
  k.n[1].fail_times = 1;
  k.n[1].o.on_error = UVF_ON_ERROR_RETRY;
  k.n[1].o.retries = 1;
  in_a_row();
  start_run(f, &run);
  in_rows_of(&k.n[1], 10); /* 1 to 4, and others that are smaller */
  came = comes_in_time(&f->loop, has_come_to, &all);
  gate_open(&k.gate, 1);
  finish_run(f, &run, 0);
  assert_true(came);
  assert_int_equal(k.n[2].out_of_order, 0);
  assert_int_equal(k.n[2].stage->done, 10);
  end();
}

static int first_emits_many_and_second_lasts(uvf_flow_t *flow, void *item) {
  for (int i = 0; i < 3 && id_of(item) == 1; i++) item_pass(flow, 0, item_born());
  if (id_of(item) == 2) gate_pass(&k.gate);
  return handle(flow, item);
}

/* The row that comes first has used the places it had, and needs more: those that wait for it must not have them. */
static void what_waits_for_its_turn_holds_no_places_that_the_first_may_need(void **state) {
  fixture_t *f = *state;
  count_t others = {&k.n[1].calls, PLACES - 1};
  run_t run;
  int came;
  begin();
  node(UVF_STAGE_SOURCE)->make = k.n[0].per_call = PLACES;
  k.n[0].eof_at = 1;
  node(UVF_STAGE_WORK)->o.fn = first_emits_many_and_second_lasts;
  node(UVF_STAGE_LOOP)->o.capacity = 4;
  k.n[1].o.workers = 2;
  k.n[1].o.ordered = 1;
  in_a_row();
  start_run(f, &run);
  in_rows_of(&k.n[1], 4);
  came = comes_in_time(&f->loop, has_come_to, &others);
  gate_open(&k.gate, 1);
  if (!came) uvf_pipeline_cancel(k.p);
  run_until(&f->loop, &run.done, 1);
  assert_true(came);
  assert_int_equal(run.status, 0);
  assert_int_equal(k.n[2].stage->done, PLACES + 3);
  end();
}

/* --- ends --- */

static void who_feeds_two_that_have_had_enough_is_stopped_and_not_before(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    begin();
    node(UVF_STAGE_SOURCE)->make = ITEMS_MAX / 2;
    k.n[0].route = 1;
    node(kinds[i])->eof_at = 5;
    node(kinds[i])->eof_at = 500;
    add_all();
    for (int s = 1; s < 3; s++) {
      k.n[s].sink = 1;
      assert_int_equal(uvf_pipeline_chain(k.n[0].stage, k.n[s].stage), 0);
    }
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_true(k.n[1].stage->done >= 5);
    assert_true(k.n[2].stage->done >= 500);
    assert_true(k.n[0].make > 0);
    end();
  }
}

static gate_t late_gate;

/* One for each port, and then all the others at once. */
static int makes_few_and_then_many(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  if (n->make == 0) return UV_EOF;
  n->per_call = atomic_load(&n->calls) == 0 ? n->stage->nouts : n->make;
  make(flow, item);
  if (n->make == 0) gate_pass(&late_gate);
  return 0;
}

static int has_closed(void *arg) {
  const node_t *n = arg;
  return uvf__u32_load(&n->stage->closed) != 0;
}

static int many_are_made(void *arg) {
  (void)arg;
  return atomic_load(&items.next) == 2000;
}

/* The call that emits them goes on until the queue, which has places for 16, takes no more. */
static void what_a_call_has_emitted_before_its_target_had_enough_is_dropped_to_the_last(void **state) {
  fixture_t *f = *state;
  for (int branches = 1; branches <= 2; branches++) { /* with one, nobody wants the source any more either */
    run_t run;
    begin();
    gate_init(&late_gate);
    node(UVF_STAGE_SOURCE)->make = 2000;
    k.n[0].o.fn = makes_few_and_then_many;
    for (int s = 1; s <= branches; s++) {
      node(UVF_STAGE_WORK)->sink = 1;
      k.n[s].o.capacity = 16;
    }
    k.n[0].route = 1;
    k.n[1].eof_at = 1;
    k.n[1].slow_id = (uint64_t)branches;
    add_all();
    for (int s = 1; s <= branches; s++) assert_int_equal(uvf_pipeline_chain(k.n[0].stage, k.n[s].stage), 0);
    start_run(f, &run);
    run_until_seen(&f->loop, many_are_made, NULL);
    gate_open(&k.gate, 1);
    run_until_seen(&f->loop, has_closed, &k.n[1]);
    gate_open(&late_gate, 1);
    finish_run(f, &run, 0);
    assert_int_equal(k.n[1].stage->in, 2000 / branches);
    assert_int_equal(k.n[1].stage->dropped, 2000 / branches - 1);
    gate_destroy(&late_gate);
    end();
  }
}

static int fails_early(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  gate_pass(&k.gate);
  return -111;
}

static int fails_late(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  gate_pass(&late_gate);
  return -222;
}

static int both_are_inside(void *arg) {
  (void)arg;
  return stats_of(&k.n[1]).busy == 1 && stats_of(&k.n[2]).busy == 1;
}

static int has_stopped(void *arg) {
  (void)arg;
  return uvf__u32_load(&k.p->stop) != 0;
}

static void of_two_stages_that_fail_the_first_is_told_with_its_error(void **state) {
  fixture_t *f = *state;
  run_t run;
  begin();
  gate_init(&late_gate);
  node(UVF_STAGE_SOURCE)->make = k.n[0].per_call = 2;
  k.n[0].route = 1;
  node(UVF_STAGE_WORK)->o.fn = fails_early;
  node(UVF_STAGE_WORK)->o.fn = fails_late;
  add_all();
  for (int s = 1; s < 3; s++) assert_int_equal(uvf_pipeline_chain(k.n[0].stage, k.n[s].stage), 0);
  start_run(f, &run);
  run_until_seen(&f->loop, both_are_inside, NULL);
  gate_open(&k.gate, 1);
  run_until_seen(&f->loop, has_stopped, NULL);
  gate_open(&late_gate, 1);
  finish_run(f, &run, -111);
  assert_ptr_equal(uvf_pipeline_failed(k.p), k.n[1].stage);
  assert_int_equal(k.n[2].stage->failed, 1);
  gate_destroy(&late_gate);
  end();
}

/* --- tokens --- */

static int second_has_had_enough(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  int call = atomic_fetch_add(&n->calls, 1) + 1;
  (void)flow;
  if (call == 2) gate_pass(&k.gate);
  item_end(item);
  return call == 2 ? UV_EOF : 0;
}

static int waits_for_a_token(void *arg) {
  (void)arg;
  return kept != NULL && k.n[0].stage->limit_waits;
}

static int has_a_token(void *arg) {
  int so;
  (void)arg;
  uvf__lock(&k.p->lock);
  so = k.n[0].stage->tokens == 1;
  uvf__unlock(&k.p->lock);
  return so;
}

/* The only thread is in a call when the token comes, and after that nobody wants another item of the source. */
static void a_token_that_came_for_a_call_that_is_not_made_is_there_for_others(void **state) {
  fixture_t *f = *state;
  count_t second = {&k.n[2].calls, 2};
  uvf_limiter_t limiter;
  run_t run;
  kept = NULL;
  assert_int_equal(uvf_work_set_limit(1), 0);
  assert_int_equal(uvf_limiter_init(&limiter, 0, 2), 0);
  assert_int_equal(uvf_limiter_try(&limiter, 1), 0);
  begin();
  node(UVF_STAGE_SOURCE)->make = 100;
  k.n[0].o.limiter = &limiter;
  source(UVF_STAGE_ASYNC, 0)->o.fn = keeps;
  node(UVF_STAGE_WORK)->o.fn = second_has_had_enough;
  add_all();
  for (int s = 0; s < 2; s++) assert_int_equal(uvf_pipeline_chain(k.n[s].stage, k.n[2].stage), 0);
  start_run(f, &run);
  run_until_seen(&f->loop, waits_for_a_token, NULL);
  assert_int_equal(item_pass(kept, 0, item_born()), 0);
  assert_int_equal(uvf_flow_done(kept, UV_EOF), 0);
  run_until_seen(&f->loop, has_come_to, &second);
  uvf_limiter_unreserve(&limiter, 1);
  run_until_seen(&f->loop, has_a_token, NULL);
  gate_open(&k.gate, 1);
  finish_run(f, &run, 0);
  assert_int_equal(uvf_work_set_limit(0), 0);
  assert_int_equal((int)uvf_limiter_tokens(&limiter), 1);
  assert_int_equal(k.n[0].calls, 1);
  end();
  assert_int_equal(uvf_limiter_destroy(&limiter), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(an_ordered_stage_keeps_its_window_and_the_places_of_what_is_not_sent_on),
      unit(what_is_stolen_or_tried_again_of_an_ordered_row_keeps_its_place),
      unit(what_waits_for_its_turn_holds_no_places_that_the_first_may_need),
      unit(who_feeds_two_that_have_had_enough_is_stopped_and_not_before),
      unit(what_a_call_has_emitted_before_its_target_had_enough_is_dropped_to_the_last),
      unit(of_two_stages_that_fail_the_first_is_told_with_its_error),
      unit(a_token_that_came_for_a_call_that_is_not_made_is_there_for_others),
  };
  return test_run(tests);
}
