/* SPDX-License-Identifier: MIT
 *
 * Stages with many workers, on a pool that has a thread for each: forced to be in their calls all at once.
 */
#include "unit/flow_nodes.h"

#define WORKERS 5

/* Calls that are under way, by stage and worker. */
static struct {
  atomic_int inside[2];
  atomic_int by_worker[2][WORKERS];
  atomic_int bad, seen_full;
} wide;

static void enter(int side, unsigned int worker) {
  if (worker >= WORKERS || atomic_fetch_add(&wide.by_worker[side][worker], 1) != 0) atomic_fetch_add(&wide.bad, 1);
  if (atomic_fetch_add(&wide.inside[side], 1) + 1 > WORKERS) atomic_fetch_add(&wide.bad, 1);
}

static void leave(int side, unsigned int worker) {
  atomic_fetch_sub(&wide.inside[side], 1);
  if (worker < WORKERS) atomic_fetch_sub(&wide.by_worker[side][worker], 1);
}

/* Nobody leaves until every worker of both stages is in. */
static int meet(uvf_flow_t *flow, void *item) {
  int side = (int)(flow->stage->index - 1);
  int rc;
  enter(side, flow->worker);
  if (atomic_load(&wide.inside[0]) == WORKERS && atomic_load(&wide.inside[1]) == WORKERS &&
      atomic_exchange(&wide.seen_full, 1) == 0) {
    gate_open(&k.gate, 2 * WORKERS);
  }
  if (!atomic_load(&wide.seen_full)) gate_pass(&k.gate);
  rc = handle(flow, item);
  leave(side, flow->worker);
  return rc;
}

static void two_handlers_fed_by_one_have_all_their_workers_in_calls_at_once(void **state) {
  fixture_t *f = *state;
  memset(&wide, 0, sizeof wide);
  begin();
  node(UVF_STAGE_SOURCE)->make = 5000;
  for (int i = 0; i < 2; i++) {
    node_t *n = node(UVF_STAGE_WORK);
    n->o.fn = meet;
    n->o.workers = WORKERS;
  }
  node(UVF_STAGE_LOOP)->sink = 1;
  k.n[0].route = 1;
  add_all();
  for (unsigned int i = 0; i < 2; i++) {
    assert_int_equal(uvf_pipeline_link(k.n[0].stage, i, k.n[1 + i].stage, 0), 0);
    assert_int_equal(uvf_pipeline_chain(k.n[1 + i].stage, k.n[3].stage), 0);
  }
  assert_int_equal(run_to_end(f, f->root, k.p), 0);
  assert_int_equal(wide.seen_full, 1);
  assert_int_equal(wide.bad, 0);
  for (int i = 1; i < 3; i++) assert_int_equal(k.n[i].stage->done, 2500);
  assert_int_equal(k.n[3].stage->done, 5000);
  end();
}

static void ordered_output_of_eight_workers_keeps_order_with_skips_and_retries(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (int i = 0; i < 12; i++) {
    begin();
    node(UVF_STAGE_SOURCE)->make = 2000;
    node(UVF_STAGE_WORK)->o.workers = 8;
    node(kinds[i % 3])->o.capacity = 1 + test_rand(&seed) % 64;
    k.n[1].o.ordered = 1;
    k.n[1].o.window = i % 2 ? 1 + test_rand(&seed) % 40 : 0;
    k.n[1].jitter_ns = 1 + test_rand(&seed) % 40000;
    k.n[1].fail_every = 2 + (int)(test_rand(&seed) % 9);
    k.n[1].o.on_error = i % 4 < 2 ? UVF_ON_ERROR_SKIP : UVF_ON_ERROR_RETRY;
    k.n[1].o.retries = i % 4 < 2 ? 0 : 3;
    k.n[1].fail_times = i % 4 < 2 ? 0 : 1 + (int)(test_rand(&seed) % 3);
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[2].out_of_order, 0);
    assert_int_equal(k.n[1].stage->done + k.n[1].stage->failed, 2000);
    assert_int_equal(k.n[1].stage->failed, i % 4 < 2 ? 2000 / k.n[1].fail_every : 0);
    assert_int_equal(k.n[1].stage->retried, i % 4 < 2 ? 0 : 2000 / k.n[1].fail_every * k.n[1].fail_times);
    end();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(two_handlers_fed_by_one_have_all_their_workers_in_calls_at_once),
      unit(ordered_output_of_eight_workers_keeps_order_with_skips_and_retries),
  };
  if (uv_os_setenv("UV_THREADPOOL_SIZE", "14") != 0) return 1; /* before anybody reads it */
  return test_run(tests);
}
