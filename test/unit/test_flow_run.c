/* SPDX-License-Identifier: MIT
 *
 * Runs that go well: what goes where. Ends that come early: test_flow_end.c; bounds: test_flow_bounds.c; random graphs:
 * test_flow_graphs.c.
 */
#include "unit/flow_nodes.h"

static void a_chain_hands_every_item_to_its_end_in_order_whatever_the_kinds(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < 9; i++) {
    begin();
    node(UVF_STAGE_SOURCE)->make = 500;
    node(kinds[i % 3]);
    node(kinds[i / 3]);
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[2].stage->done, 500);
    assert_int_equal(k.n[2].out_of_order, 0);
    assert_int_equal(k.n[0].stage->out, 500);
    end();
  }
}

static void it_may_be_run_again_and_counts_from_zero(void **state) {
  fixture_t *f = *state;
  begin();
  node(UVF_STAGE_SOURCE);
  node(UVF_STAGE_WORK);
  in_a_row();
  for (unsigned int i = 1; i < 4; i++) {
    k.n[0].make = 10 * i;
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[1].stage->done, 10 * i);
    k.n[1].last = 0;
  }
  end();
}

typedef struct rounds_s {
  uvf_ctx_t *ctx;
  int left, wrong;
  int over;
} rounds_t;

static void on_round_done(uvf_pipeline_t *p, int status, void *arg) {
  rounds_t *r = arg;
  if (status != (r->left % 2 ? -777 : 0)) r->wrong++;
  if (r->left-- == 0) {
    r->over = 1;
    return;
  }
  k.n[0].make = 50;
  k.n[1].fail_every = r->left % 2 ? 3 : 0;
  k.n[2].last = 0;
  if (uvf_pipeline_run(r->ctx, p, on_round_done, r) != 0) r->over = r->wrong = 1;
}

static void it_may_be_run_again_in_its_own_done_callback(void **state) {
  fixture_t *f = *state;
  rounds_t rounds = {f->root, 6, 0, 0};
  begin();
  node(UVF_STAGE_SOURCE)->make = 50;
  node(UVF_STAGE_WORK);
  node(UVF_STAGE_ASYNC)->later = 1;
  k.n[2].o.workers = 50;
  in_a_row();
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_round_done, &rounds), 0);
  run_until(&f->loop, &rounds.over, 1);
  assert_int_equal(rounds.wrong, 0);
  assert_int_equal(k.n[2].stage->done, 50);
  assert_items_ended();
  assert_balanced(k.p);
  assert_int_equal(uvf_pipeline_destroy(k.p), 0);
  gate_destroy(&k.gate);
}

static void ports_fan_out_and_in(void **state) {
  fixture_t *f = *state;
  begin();
  node(UVF_STAGE_SOURCE)->make = 999;
  for (int i = 0; i < 3; i++) node(kinds[i]);
  node(UVF_STAGE_LOOP)->sink = 1;
  k.n[0].route = 1;
  for (int i = 0; i < 5; i++) assert_int_equal(uvf_pipeline_add(k.p, &k.n[i].o, &k.n[i].stage), 0);
  for (unsigned int i = 0; i < 3; i++) {
    assert_int_equal(uvf_pipeline_link(k.n[0].stage, i, k.n[i + 1].stage, 0), 0);
    assert_int_equal(uvf_pipeline_chain(k.n[i + 1].stage, k.n[4].stage), 0);
  }
  assert_int_equal(run_to_end(f, f->root, k.p), 0);
  for (int i = 1; i < 4; i++) assert_int_equal(k.n[i].stage->in, 333);
  assert_int_equal(k.n[4].stage->done, 999);
  end();
}

static void flush_comes_once_after_the_last_item_and_may_emit(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    begin();
    node(UVF_STAGE_SOURCE)->make = 20;
    node(kinds[i])->o.flush = flush;
    node(UVF_STAGE_WORK)->o.flush = flush;
    k.n[1].flush_emits = 300; /* beyond the capacity of the next */
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[1].flushes, 1);
    assert_int_equal(k.n[2].flushes, 1);
    assert_int_equal(k.n[2].stage->done, 320);
    end();
    begin();
    node(UVF_STAGE_SOURCE)->make = 20;
    node(kinds[i])->o.flush = flush;
    k.n[1].flush_rc = -55;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), -55);
    end();
  }
}

static void capacity_one_and_more_workers_than_places_still_run_to_the_end(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 12; i++) {
    begin();
    node(UVF_STAGE_SOURCE)->make = 300;
    for (int s = 1; s < 4; s++) {
      node(kinds[(i + s) % 3])->o.capacity = 1;
      if (k.n[s].o.kind != UVF_STAGE_LOOP) k.n[s].o.workers = 4;
      k.n[s].o.ordered = k.n[s].o.kind != UVF_STAGE_LOOP && i % 2;
    }
    k.n[1].copies = k.n[2].copies = (unsigned int)i / 6;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[3].stage->done, i < 6 ? 300 : 1200);
    end();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_chain_hands_every_item_to_its_end_in_order_whatever_the_kinds),
      unit(it_may_be_run_again_and_counts_from_zero),
      unit(it_may_be_run_again_in_its_own_done_callback),
      unit(ports_fan_out_and_in),
      unit(flush_comes_once_after_the_last_item_and_may_emit),
      unit(capacity_one_and_more_workers_than_places_still_run_to_the_end),
  };
  return test_run(tests);
}
