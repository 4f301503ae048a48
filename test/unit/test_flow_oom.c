/* SPDX-License-Identifier: MIT
 *
 * Without memory: every allocation of a run, and in a run. What a graph needs before is in test_graph.c,
 * test_validate.c and test_draw_lines.c.
 */
#include "unit/flow_nodes.h"

static void varied_graph(void) {
  begin();
  node(UVF_STAGE_SOURCE)->make = 10;
  node(UVF_STAGE_WORK)->o.workers = 3;
  node(UVF_STAGE_ASYNC)->o.workers = 2;
  node(UVF_STAGE_LOOP);
  k.n[1].o.ordered = 1;
  k.n[1].o.item_timeout_ms = k.n[2].o.item_timeout_ms = 60000;
  k.n[1].o.on_error = UVF_ON_ERROR_RETRY;
  k.n[1].o.retries = 2;
  in_a_row();
}

static void a_run_that_finds_no_memory_changes_nothing_and_may_be_tried_again(void **state) {
  fixture_t *f = *state;
  int failures = 0;
  varied_graph();
  for (size_t at = 1;; at++) {
    run_t run = {0, 1};
    uvf_stats_t before;
    uvf_stats_t after;
    size_t blocks = test_alloc_live();
    int rc;
    uvf_ctx_stats(f->root, &before);
    test_alloc_fail_at(at);
    rc = uvf_pipeline_run(f->root, k.p, on_run_done, &run);
    if (!test_alloc_failed()) {
      test_alloc_fail_at(0);
      assert_int_equal(rc, 0);
      run_until(&f->loop, &run.done, 1);
      assert_int_equal(run.status, 0);
      break;
    }
    assert_int_equal(rc, UV_ENOMEM);
    uvf_ctx_stats(f->root, &after);
    assert_int_equal(test_alloc_live(), blocks);
    assert_true(after.contexts == before.contexts && after.live == before.live && after.ops == before.ops);
    run_ready(&f->loop);
    assert_int_equal(run.done, 0);
    uvf_pipeline_cancel(k.p); /* it does not run */
    if (at % 7 == 1) {        /* now and then all the way */
      again(10);
      assert_int_equal(run_to_end(f, f->root, k.p), 0);
      assert_accounted();
      again(10);
    }
    failures++;
  }
  assert_true(failures >= 8);
  assert_int_equal(k.n[3].stage->done, 10);
  end();
}

/* --- in a run --- */

/* 0: no allocation has failed. */
static int run_with_failure(fixture_t *f, size_t at, int ends[2]) {
  run_t run = {0, 1};
  int failed;
  again(10);
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  test_alloc_fail_at(at);
  run_until(&f->loop, &run.done, 1);
  failed = test_alloc_failed();
  test_alloc_fail_at(0);
  assert_true(run.status == 0 || (run.status == UV_ENOMEM && failed));
  ends[run.status != 0]++;
  assert_accounted();
  return failed;
}

static void whatever_allocation_of_a_run_fails_it_ends_once_and_nothing_is_lost(void **state) {
  int ends[2] = {0, 0};
  varied_graph();
  for (size_t at = 1; run_with_failure(*state, at, ends); at++) {}
  assert_true(ends[0] > 1 && ends[1] > 0); /* a runner that did not start; a call of ASYNC without its context */
  end();
}

static void whatever_allocation_for_what_many_emit_fails_it_ends_once_and_nothing_is_lost(void **state) {
  int ends[2] = {0, 0};
  varied_graph();
  k.n[2].stage->o.item_timeout_ms = 0;
  k.n[1].copies = 200;
  for (size_t at = 1; run_with_failure(*state, at, ends); at++) {}
  assert_true(ends[0] > 1 && ends[1] == 0);
  end();
}

/* Emits so many, the nth allocation of which fails, once; what is refused is its own. */
static struct {
  size_t fail_at;
  int refused, refused_wrong, emitted;
} emits;

#define EMITS 2000

static void emit_many(uvf_flow_t *flow) {
  test_alloc_fail_at(emits.fail_at);
  for (int i = 0; i < EMITS; i++) {
    void *made = item_born();
    int rc = uvf_emit(flow, 0, made);
    if (rc == 0) {
      emits.emitted++;
      continue;
    }
    if (rc != UV_ENOMEM || !test_alloc_failed()) emits.refused_wrong++;
    emits.refused++;
    item_end(made);
  }
  test_alloc_fail_at(0);
}

static int source_emits(uvf_flow_t *flow, void *item) {
  (void)item;
  emit_many(flow);
  return UV_EOF;
}

static int handler_emits(uvf_flow_t *flow, void *item) {
  item_end(item);
  emit_many(flow);
  return 0;
}

static int async_emits(uvf_flow_t *flow, void *item) {
  uvf_flow_done(flow, handler_emits(flow, item));
  return 0;
}

static int flush_emits(uvf_flow_t *flow) {
  emit_many(flow);
  return 0;
}

static void an_item_that_finds_no_memory_stays_the_callers_and_later_ones_go_on(void **state) {
  static const uvf_stage_fn fns[] = {handler_emits, handler_emits, async_emits};
  fixture_t *f = *state;
  for (size_t i = 0; i < 2 + ARRAY_SIZE(kinds); i++) {
    for (size_t at = 1; at < 4; at++) {
      memset(&emits, 0, sizeof emits);
      emits.fail_at = at;
      begin();
      node(UVF_STAGE_SOURCE)->make = 1;
      node(i < 3 ? kinds[i] : UVF_STAGE_WORK);
      node(UVF_STAGE_WORK)->o.capacity = 10;
      if (i < 3) k.n[1].o.fn = fns[i];
      if (i == 3) k.n[0].o.fn = source_emits;
      if (i == 4) k.n[1].o.flush = flush_emits;
      in_a_row();
      assert_int_equal(run_to_end(f, f->root, k.p), 0);
      assert_int_equal(emits.refused_wrong, 0);
      assert_int_equal(emits.refused, 1);
      assert_int_equal(emits.emitted, EMITS - 1);
      assert_int_equal(k.n[2].stage->done, EMITS - 1 + (i == 4));
      end();
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_run_that_finds_no_memory_changes_nothing_and_may_be_tried_again),
      unit(whatever_allocation_of_a_run_fails_it_ends_once_and_nothing_is_lost),
      unit(whatever_allocation_for_what_many_emit_fails_it_ends_once_and_nothing_is_lost),
      unit(an_item_that_finds_no_memory_stays_the_callers_and_later_ones_go_on),
  };
  test_alloc_install();
  if (uvf_use_free_lists(0) != 0) return 1; /* each context is an allocation of its own */
  return test_run(tests);
}
