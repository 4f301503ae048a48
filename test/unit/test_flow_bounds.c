/* SPDX-License-Identifier: MIT
 *
 * What bounds a run, and what does not: memory, slow items.
 */
#include "unit/flow_nodes.h"

static void a_slow_stage_bounds_what_is_alive(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    begin();
    node(UVF_STAGE_SOURCE)->make = 3000;
    node(UVF_STAGE_WORK)->o.capacity = 8;
    node(kinds[i])->o.capacity = 4;
    k.n[1].o.workers = 3;
    if (kinds[i] != UVF_STAGE_LOOP) k.n[2].o.workers = 2;
    k.n[2].jitter_ns = 30000;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_true(atomic_load(&items.most) <= 8 + 4 + 1 + 3 + 2);
    assert_int_equal(k.n[2].stage->done, 3000);
    end();
  }
}

static int counts_others(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  if (atomic_fetch_add(&n->others_before, 1) + 1 == 1999) gate_open(&k.gate, 1); /* all but the slow one are through */
  return handle(flow, item);
}

static void a_slow_item_holds_up_nobody(void **state) {
  fixture_t *f = *state;
  for (uint64_t slow = 1; slow <= 2000; slow += 333) {
    begin();
    node(UVF_STAGE_SOURCE)->make = 2000;
    node(UVF_STAGE_WORK)->o.workers = 2;
    node(UVF_STAGE_WORK)->o.fn = counts_others;
    k.n[1].slow_id = slow;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[1].slow_over, 1);
    end();
  }
}

static atomic_int seen_through;

static int tells_when_all_are_through(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  if (atomic_fetch_add(&n->others_before, 1) + 1 == 1999) {
    atomic_store(&seen_through, 1);
    gate_open(&k.gate, 1);
  }
  return handle(flow, item);
}

static int busy_meanwhile(uvf_flow_t *flow, void *item) {
  (void)item;
  return atomic_load(&seen_through) ? UV_EOF : uvf_emit(flow, 0, NULL);
}

static int swallows(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  return 0;
}

/* Somebody is always busy: that something moves does not tell that nothing is stuck. */
static void a_slow_item_holds_up_nobody_while_another_branch_is_busy(void **state) {
  fixture_t *f = *state;
  for (uint64_t slow = 1; slow <= 2000; slow += 333) {
    atomic_store(&seen_through, 0);
    begin();
    node(UVF_STAGE_SOURCE)->make = 2000;
    node(UVF_STAGE_WORK)->o.workers = 2;
    node(UVF_STAGE_WORK)->o.fn = tells_when_all_are_through;
    node(UVF_STAGE_SOURCE)->o.fn = busy_meanwhile;
    node(UVF_STAGE_WORK)->o.fn = swallows;
    k.n[1].slow_id = slow;
    k.n[2].sink = 1;
    add_all();
    for (int i = 0; i < 4; i++) {
      if (i != 2) assert_int_equal(uvf_pipeline_chain(k.n[i].stage, k.n[i + 1].stage), 0);
    }
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[2].stage->done, 2000);
    end();
  }
}

/* --- many for one --- */

static void a_stage_that_emits_many_for_one_keeps_what_finds_no_place_and_is_not_called_again(void **state) {
  fixture_t *f = *state;
  enum { BEFORE = 8, AFTER = 4, WORKERS = 3, COPIES = 9 };
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    int most_in_hands = WORKERS * AFTER * COPIES; /* beyond one for one, for which there were places */
    begin();
    node(UVF_STAGE_SOURCE)->make = 400;
    node(UVF_STAGE_WORK)->o.capacity = BEFORE;
    node(kinds[i])->o.capacity = AFTER;
    k.n[1].o.workers = WORKERS;
    k.n[1].copies = COPIES;
    k.n[2].jitter_ns = 5000;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[2].stage->done, 400 * (1 + COPIES));
    assert_true(atomic_load(&items.most) <= BEFORE + AFTER + 1 + WORKERS + 1 + most_in_hands);
    end();
  }
}

static void a_source_that_emits_many_is_not_called_again_before_they_have_found_places(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    begin();
    node(UVF_STAGE_SOURCE)->make = 20000;
    node(kinds[i])->o.capacity = 16;
    k.n[0].per_call = 1000;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[1].stage->done, 20000);
    assert_int_equal(k.n[1].out_of_order, 0);
    assert_true(atomic_load(&items.most) <= 16 + 1 + 1000);
    end();
  }
}

/* --- queues longer than 16 bits --- */

#define LONG_QUEUE 80000u

static int queue_is_full(void *arg) {
  const node_t *n = arg;
  if (stats_of(n).queued < LONG_QUEUE - 1) return 0;
  gate_open(&k.gate, 1);
  return 1;
}

static void a_queue_holds_more_than_65535_items_and_loses_none(void **state) {
  fixture_t *f = *state;
  for (unsigned int per_call = 1; per_call <= LONG_QUEUE; per_call *= LONG_QUEUE) { /* and all from one call */
    run_t run = {0, 1};
    begin();
    node(UVF_STAGE_SOURCE)->make = LONG_QUEUE;
    node(UVF_STAGE_WORK)->o.capacity = 100000;
    k.n[0].per_call = per_call;
    k.n[1].slow_id = 1;
    in_a_row();
    assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
    run_until_seen(&f->loop, queue_is_full, &k.n[1]);
    run_until(&f->loop, &run.done, 1);
    assert_int_equal(run.status, 0);
    assert_int_equal(k.n[1].stage->in, LONG_QUEUE);
    assert_int_equal(k.n[1].stage->done, LONG_QUEUE);
    assert_int_equal(k.n[1].out_of_order, 0);
    assert_int_equal(atomic_load(&items.most), (int)LONG_QUEUE);
    end();
  }
}

static void a_cancel_drops_a_queue_of_more_than_65535_items_to_the_last(void **state) {
  fixture_t *f = *state;
  run_t run = {0, 1};
  begin();
  node(UVF_STAGE_SOURCE)->make = LONG_QUEUE;
  node(UVF_STAGE_WORK)->o.capacity = 100000;
  k.n[1].slow_id = 1;
  in_a_row();
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  run_until_seen(&f->loop, queue_is_full, &k.n[1]);
  uvf_pipeline_cancel(k.p);
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(k.n[1].stage->in, LONG_QUEUE);
  end();
}

/* --- what an item costs beside its calls, counted --- */

#define CHEAP_ITEMS 60000

static uintptr_t counted, added;

static int counts_up(uvf_flow_t *flow, void *item) {
  (void)item;
  return counted == CHEAP_ITEMS ? UV_EOF : uvf_emit(flow, 0, (void *)++counted);
}

static int passes(uvf_flow_t *flow, void *item) { return uvf_emit(flow, 0, item); }

static int adds(uvf_flow_t *flow, void *item) {
  (void)flow;
  added += id_of(item);
  return 0;
}

static void cheap_items_go_on_in_rows_and_the_loop_sleeps_meanwhile(void **state) {
  fixture_t *f = *state;
  const uint64_t calls = 4 * CHEAP_ITEMS;
  uvf_stats_t before;
  uvf_stats_t after;
  size_t blocks;
  counted = added = 0;
  begin();
  node(UVF_STAGE_SOURCE)->o.fn = counts_up;
  for (int i = 0; i < 3; i++) node(UVF_STAGE_WORK)->o.fn = i < 2 ? passes : adds;
  in_a_row();
  uvf_ctx_stats(f->root, &before);
  blocks = test_alloc_count();
  assert_int_equal(run_to_end(f, f->root, k.p), 0);
  uvf_ctx_stats(f->root, &after);
  assert_int_equal(added, (uintptr_t)CHEAP_ITEMS * (CHEAP_ITEMS + 1) / 2);
  printf("%d calls in %d rows, %d callbacks of the loop, %d allocations\n", (int)calls, (int)k.p->finished_chunks,
         (int)(after.delivered - before.delivered), (int)(test_alloc_count() - blocks));
  assert_true(k.p->finished_chunks < calls / 2); /* some 1 in 128; under valgrind, where all is slow, 1 in 4 */
  assert_true(after.delivered - before.delivered < CHEAP_ITEMS / 4);
  assert_true(test_alloc_count() - blocks < 200);
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_slow_stage_bounds_what_is_alive),
      unit(a_stage_that_emits_many_for_one_keeps_what_finds_no_place_and_is_not_called_again),
      unit(a_source_that_emits_many_is_not_called_again_before_they_have_found_places),
      unit(a_queue_holds_more_than_65535_items_and_loses_none),
      unit(a_cancel_drops_a_queue_of_more_than_65535_items_to_the_last),
      unit(cheap_items_go_on_in_rows_and_the_loop_sleeps_meanwhile),
      unit(a_slow_item_holds_up_nobody),
      unit(a_slow_item_holds_up_nobody_while_another_branch_is_busy),
  };
  return test_run(tests);
}
