/* SPDX-License-Identifier: MIT
 *
 * Sources of every kind: on the pool, on the loop, and such as start something there.
 */
#include "unit/flow_nodes.h"

static const int of_sources[] = {UVF_STAGE_SOURCE, UVF_STAGE_LOOP, UVF_STAGE_ASYNC};

static void a_source_of_any_kind_feeds_a_stage_of_any_kind_in_order(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 9; i++) {
    begin();
    source(of_sources[i % 3], 500)->o.flush = flush;
    node(kinds[i / 3])->o.capacity = 7;
    k.n[0].flush_emits = 3;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[0].stage->out, 503);
    assert_int_equal(k.n[0].stage->in, 500); /* the call that says UV_EOF counts for nothing */
    assert_int_equal(k.n[0].flushes, 1);
    assert_int_equal(k.n[1].stage->done, 503);
    assert_int_equal(k.n[1].out_of_order, 0);
    end();
  }
}

static void a_source_is_not_called_where_there_is_no_room_for_what_it_emits(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(of_sources); i++) {
    begin();
    source(of_sources[i], 2000);
    node(UVF_STAGE_WORK)->o.capacity = 5;
    k.n[1].jitter_ns = 3000;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_true(atomic_load(&items.most) <= 5 + 1 + 1);
    assert_int_equal(k.n[1].stage->done, 2000);
    end();
  }
}

/* --- ASYNC: calls at once --- */

static struct {
  uvf_flow_t *flows[8];
  int n, most;
} pending;

/* Answered together, the latest first, when there are as many as there are workers. */
static int answers_in_heaps(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  (void)item;
  pending.flows[pending.n++] = flow;
  if (pending.n > pending.most) pending.most = pending.n;
  if (pending.n < (int)n->o.workers) return 0;
  while (pending.n > 0) {
    uvf_flow_t *next = pending.flows[--pending.n];
    uvf_flow_done(next, make(next, NULL));
  }
  return 0;
}

static void an_async_source_has_as_many_calls_at_once_as_workers_and_ends_with_all_of_them(void **state) {
  fixture_t *f = *state;
  for (unsigned int workers = 1; workers <= 8; workers++) {
    memset(&pending, 0, sizeof pending);
    begin();
    source(UVF_STAGE_ASYNC, 100)->o.fn = answers_in_heaps;
    k.n[0].o.workers = workers;
    node(UVF_STAGE_WORK);
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(pending.n, 0);
    assert_int_equal(pending.most, workers);
    assert_int_equal(k.n[1].stage->done, 100);
    end();
  }
}

/* --- errors --- */

/* Before each call that does well `fails` do not. */
static struct { int fails, row, wrong; } bad;

#define RETRIES 3

static int fails_in_rows(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  (void)item;
  if (n->o.retries > 0 && flow->retry != (unsigned int)bad.row % (RETRIES + 1)) bad.wrong++;
  if (bad.row++ < bad.fails) return -777;
  bad.row = 0;
  return make(flow, NULL);
}

static int fails_later(uvf_flow_t *flow, void *item) {
  uvf_flow_done(flow, fails_in_rows(flow, item));
  return 0;
}

static void run_source_with_errors(fixture_t *f, int kind, int policy) {
  int retries = policy == UVF_ON_ERROR_RETRY || policy == UVF_ON_ERROR_RETRY_SKIP;
  int skips = policy == UVF_ON_ERROR_SKIP || policy == UVF_ON_ERROR_RETRY_SKIP;
  int failed = retries ? bad.fails / (RETRIES + 1) : bad.fails; /* of each row */
  bad.row = bad.wrong = 0;
  begin();
  source(kind, 20)->o.fn = kind == UVF_STAGE_ASYNC ? fails_later : fails_in_rows;
  k.n[0].o.on_error = policy;
  k.n[0].o.retries = retries ? RETRIES : 0;
  node(UVF_STAGE_WORK);
  in_a_row();
  assert_int_equal(run_to_end(f, f->root, k.p), failed > 0 && !skips ? -777 : 0);
  assert_int_equal(bad.wrong, 0);
  if (failed > 0 && !skips) {
    assert_int_equal(k.n[0].stage->failed, 1);
    assert_int_equal(k.n[0].stage->retried, retries ? RETRIES : 0);
  } else {
    assert_int_equal(k.n[0].stage->failed, 21 * failed); /* the call that says UV_EOF has such a row before it, too */
    assert_int_equal(k.n[0].stage->retried, 21 * (bad.fails - failed));
    assert_int_equal(k.n[1].stage->done, 20);
  }
  end();
}

static void errors_of_a_source_end_the_run_are_skipped_or_are_tried_again_in_a_row(void **state) {
  for (size_t i = 0; i < ARRAY_SIZE(of_sources); i++) {
    for (int policy = UVF_ON_ERROR_FAIL; policy <= UVF_ON_ERROR_RETRY_SKIP; policy++) {
      for (bad.fails = 0; bad.fails < 5; bad.fails++) run_source_with_errors(*state, of_sources[i], policy);
    }
  }
}

/* --- several, and early ends --- */

static void several_sources_feed_one_stage_and_each_ends_for_itself(void **state) {
  fixture_t *f = *state;
  begin();
  for (unsigned int i = 0; i < 3; i++) source(of_sources[i], 10 + 500 * i);
  node(UVF_STAGE_WORK)->o.inputs = 3;
  k.n[3].o.capacity = 3;
  k.n[3].sink = 1;
  add_all();
  for (unsigned int i = 0; i < 3; i++) assert_int_equal(uvf_pipeline_link(k.n[i].stage, 0, k.n[3].stage, i), 0);
  assert_int_equal(run_to_end(f, f->root, k.p), 0);
  assert_int_equal(k.n[3].stage->done, 3 * 10 + 1500);
  end();
}

static void end_of_input_downstream_ends_a_source_of_any_kind(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 9; i++) {
    begin();
    source(of_sources[i % 3], 100000)->o.flush = flush;
    node(kinds[i / 3])->eof_at = 25;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[1].stage->done, 25);
    assert_true(k.n[0].make > 0);
    assert_int_equal(k.n[0].flushes, 1);
    end();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_source_of_any_kind_feeds_a_stage_of_any_kind_in_order),
      unit(a_source_is_not_called_where_there_is_no_room_for_what_it_emits),
      unit(an_async_source_has_as_many_calls_at_once_as_workers_and_ends_with_all_of_them),
      unit(errors_of_a_source_end_the_run_are_skipped_or_are_tried_again_in_a_row),
      unit(several_sources_feed_one_stage_and_each_ends_for_itself),
      unit(end_of_input_downstream_ends_a_source_of_any_kind),
  };
  return test_run(tests);
}
