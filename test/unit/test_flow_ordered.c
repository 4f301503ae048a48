/* SPDX-License-Identifier: MIT
 *
 * Ordered output.
 */
#include "unit/flow_nodes.h"

static void ordered_output_leaves_in_order_with_workers_windows_and_random_delays(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 12; i++) {
    begin();
    node(UVF_STAGE_SOURCE)->make = 3000;
    node(i % 2 ? UVF_STAGE_ASYNC : UVF_STAGE_WORK)->o.workers = 4;
    node(kinds[i % 3])->o.capacity = i < 6 ? 1 : 64;
    k.n[1].o.ordered = 1;
    k.n[1].o.window = i % 4 == 0 ? 2 : 0;
    if (i % 2) {
      k.n[0].make = 200;
      k.n[1].later = 1;
    } else {
      k.n[1].jitter_ns = 20000;
    }
    if (i % 3 == 2) {
      k.n[1].fail_every = 7; /* those that are tried again keep their place */
      k.n[1].fail_times = 1;
      k.n[1].o.on_error = UVF_ON_ERROR_RETRY;
      k.n[1].o.retries = 2;
    }
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[2].out_of_order, 0);
    assert_int_equal(k.n[2].stage->done, i % 2 ? 200 : 3000);
    end();
  }
}

static void each_branch_of_an_ordered_stage_gets_its_part_in_order(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 4; i++) {
    begin();
    node(UVF_STAGE_SOURCE)->make = 2000;
    node(UVF_STAGE_WORK)->o.workers = 3;
    for (int s = 0; s < 3; s++) {
      node(kinds[s])->sink = 1;
      k.n[2 + s].o.capacity = (size_t)(1 + s * i);
    }
    k.n[1].o.ordered = k.n[1].route = 1;
    k.n[1].jitter_ns = 10000;
    k.n[1].o.window = (size_t)(i * 5);
    add_all();
    assert_int_equal(uvf_pipeline_chain(k.n[0].stage, k.n[1].stage), 0);
    for (int s = 0; s < 3; s++) assert_int_equal(uvf_pipeline_chain(k.n[1].stage, k.n[2 + s].stage), 0);
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    for (int s = 2; s < 5; s++) assert_int_equal(k.n[s].out_of_order, 0);
    assert_int_equal(k.n[2].stage->done + k.n[3].stage->done + k.n[4].stage->done, 2000);
    end();
  }
}

/* --- the window --- */

static uvf_flow_t *first_flow; /* of ASYNC: its call goes on until it is let go */

static int keeps_the_first(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  if (id_of(item) != n->slow_id) return start(flow, item);
  n->slow_id = 0;
  atomic_fetch_add(&n->calls, 1);
  first_flow = flow;
  return 0;
}

static void let_the_first_go(node_t *n) {
  if (n->o.kind == UVF_STAGE_WORK) {
    gate_open(&k.gate, 1);
  } else {
    take_or_pass(n, first_flow, (void *)(uintptr_t)1);
    uvf_flow_done(first_flow, 0);
  }
}

static int window_is_full(void *arg) {
  node_t *n = arg;
  return atomic_load(&n->calls) >= (int)n->o.window;
}

static void one_slow_item_holds_up_no_more_than_the_window(void **state) {
  fixture_t *f = *state;
  for (int kind = 0; kind < 3; kind += 2) {
    for (size_t window = 2; window < 130; window = window * 2 + 1) {
      run_t run = {0, 1};
      begin();
      node(UVF_STAGE_SOURCE)->make = 1000;
      node(kinds[kind])->o.workers = kind == 0 ? 2 : 200;
      node(UVF_STAGE_LOOP)->o.capacity = 500;
      k.n[1].o.capacity = 400;
      k.n[1].o.ordered = 1;
      k.n[1].o.window = window;
      k.n[1].slow_id = 1;
      if (kind > 0) k.n[1].o.fn = keeps_the_first;
      in_a_row();
      assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
      run_until_seen(&f->loop, window_is_full, &k.n[1]);
      run_for(&f->loop, 10);
      assert_true(atomic_load(&k.n[1].calls) <= (int)window + 1);
      assert_int_equal(atomic_load(&k.n[2].calls), 0);
      assert_int_equal(run.done, 0);
      let_the_first_go(&k.n[1]);
      run_until(&f->loop, &run.done, 1);
      assert_int_equal(run.status, 0);
      assert_int_equal(k.n[2].out_of_order, 0);
      assert_int_equal(k.n[2].stage->done, 1000);
      end();
    }
  }
}

static void what_the_first_holds_up_is_dropped_with_it_when_the_run_is_cancelled(void **state) {
  fixture_t *f = *state;
  run_t run = {0, 1};
  begin();
  node(UVF_STAGE_SOURCE)->make = 1000;
  node(UVF_STAGE_WORK)->o.workers = 2;
  node(UVF_STAGE_LOOP);
  k.n[1].o.ordered = 1;
  k.n[1].o.window = 20;
  k.n[1].slow_id = 1;
  in_a_row();
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  run_until_seen(&f->loop, window_is_full, &k.n[1]);
  uvf_pipeline_cancel(k.p);
  run_for(&f->loop, 5);
  assert_int_equal(run.done, 0); /* a call is still under way */
  gate_open(&k.gate, 1);
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(run.status, UV_ECANCELED);
  assert_int_equal(k.n[2].stage->done, 0);
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(ordered_output_leaves_in_order_with_workers_windows_and_random_delays),
      unit(each_branch_of_an_ordered_stage_gets_its_part_in_order),
      unit(one_slow_item_holds_up_no_more_than_the_window),
      unit(what_the_first_holds_up_is_dropped_with_it_when_the_run_is_cancelled),
  };
  return test_run(tests);
}
