/* SPDX-License-Identifier: MIT
 *
 * A call that takes more than four seconds is a call like any other: nothing is aborted, nothing times out, and
 * everything else goes on meanwhile. The one test that does wait for as long.
 */
#include "unit/flow_nodes.h"

#define SLOW_MS 4200

static struct {
  uv_timer_t timer, ticker;
  uvf_flow_t *async_flow;
  void *async_item;
  atomic_int others;
  int others_before, ticks, names, jobs;
  uint64_t start_ns, over_ns;
} slow;

static int counts_others(uvf_flow_t *flow, void *item) {
  atomic_fetch_add(&slow.others, 1);
  return handle(flow, item);
}

/* The first item's call goes on. */
static int keeps_the_first(uvf_flow_t *flow, void *item) {
  if (slow.async_flow != NULL) return start(flow, item);
  slow.async_flow = flow;
  slow.async_item = item;
  return 0;
}

static void on_time(uv_timer_t *timer) {
  slow.others_before = atomic_load(&slow.others);
  uv_close((uv_handle_t *)timer, NULL);
  uv_close((uv_handle_t *)&slow.ticker, NULL);
  gate_open(&k.gate, 1);
  take_or_pass(&k.n[2], slow.async_flow, slow.async_item);
  uvf_flow_done(slow.async_flow, 0);
}

static void on_name(uv_getaddrinfo_t *req, int status, struct addrinfo *res) {
  slow.names += status == 0;
  uv_freeaddrinfo(res);
  free(req);
}

static int does_nothing(uvf_work_t *job) {
  (void)job;
  return 0;
}

static void on_job(uvf_work_t *job, int status) {
  slow.jobs += status == 0;
  free(job);
}

static void on_tick(uv_timer_t *timer) {
  uv_getaddrinfo_t *name = malloc(sizeof *name);
  uvf_work_t *job = malloc(sizeof *job);
  slow.ticks++;
  if (name == NULL || uv_getaddrinfo(timer->loop, name, on_name, "127.0.0.1", NULL, NULL) != 0) free(name);
  if (job == NULL || uvf_work_start(timer->data, job, does_nothing, on_job, NULL) != 0) free(job);
}

static void a_call_of_more_than_four_seconds_holds_up_nobody_and_ends_well(void **state) {
  fixture_t *f = *state;
  run_t run = {0, 1};
  begin();
  node(UVF_STAGE_SOURCE)->make = 1000;
  node(UVF_STAGE_WORK)->slow_id = 1;
  node(UVF_STAGE_ASYNC)->o.fn = keeps_the_first;
  node(UVF_STAGE_WORK)->o.fn = counts_others;
  for (int i = 1; i < 4; i++) k.n[i].o.workers = 2;
  in_a_row();
  uv_update_time(&f->loop);
  slow.start_ns = uv_hrtime();
  uv_timer_init(&f->loop, &slow.timer);
  uv_timer_start(&slow.timer, on_time, SLOW_MS + 1, 0);
  uv_timer_init(&f->loop, &slow.ticker);
  slow.ticker.data = f->root;
  uv_timer_start(&slow.ticker, on_tick, 50, 100);
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  run_until(&f->loop, &run.done, 1);
  assert_true(uv_hrtime() - slow.start_ns >= SLOW_MS * MS_NS);
  assert_int_equal(run.status, 0);
  assert_int_equal(slow.others_before, 998);
  assert_int_equal(k.n[3].stage->done, 1000);
  assert_true(slow.ticks >= 5);
  run_ready(&f->loop);
  run_until(&f->loop, &slow.names, slow.ticks);
  run_until(&f->loop, &slow.jobs, slow.ticks);
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_call_of_more_than_four_seconds_holds_up_nobody_and_ends_well),
  };
  return test_run(tests);
}
