/* SPDX-License-Identifier: MIT
 *
 * The figures of stages: what they say while it runs and afterwards, to whoever asks.
 */
#include "unit/flow_nodes.h"

static void before_a_run_there_is_nothing_to_tell(void **state) {
  uvf_stage_stats_t s;
  (void)state;
  begin();
  node(UVF_STAGE_SOURCE);
  node(UVF_STAGE_WORK);
  in_a_row();
  memset(&s, 0xa5, sizeof s);
  assert_int_equal(uvf_stage_stats(k.n[1].stage, &s), 0);
  assert_string_equal(s.name, "b");
  assert_true(s.in == 0 && s.out == 0 && s.done == 0 && s.failed == 0 && s.dropped == 0 && s.retried == 0);
  assert_true(s.queued == 0 && s.busy == 0 && s.median_ns == 0 && s.p99_ns == 0 && s.finished == 0);
  assert_true(s.rate_per_s >= 0 && s.rate_per_s <= 0);
  assert_int_equal(uvf_stage_stats(NULL, &s), UV_EINVAL);
  assert_int_equal(uvf_stage_stats(k.n[1].stage, NULL), UV_EINVAL);
  end();
}

static void after_a_run_every_figure_is_what_has_happened(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    uint64_t start_ns = uv_hrtime();
    uvf_stage_stats_t a, b, c;
    double least;
    begin();
    node(UVF_STAGE_SOURCE)->make = 300;
    node(kinds[i])->fail_every = 1;
    node(UVF_STAGE_WORK);
    k.n[1].fail_times = 2; /* each item, that many times */
    k.n[1].copies = 1;
    k.n[1].o.on_error = UVF_ON_ERROR_RETRY;
    k.n[1].o.retries = 2;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    least = 300 * 1e9 / (double)(uv_hrtime() - start_ns);
    a = stats_of(&k.n[0]), b = stats_of(&k.n[1]), c = stats_of(&k.n[2]);
    assert_true(a.in == 300 && a.out == 300 && a.done == 300 && a.failed == 0 && a.dropped == 0);
    assert_true(b.in == 300 && b.out == 600 && b.done == 300 && b.failed == 0 && b.dropped == 0);
    assert_int_equal(b.retried, 600);
    assert_true(c.in == 600 && c.out == 0 && c.done == 600);
    assert_true(b.queued == 0 && b.busy == 0 && b.finished == 1);
    assert_true(b.rate_per_s >= least);
    assert_true(b.median_ns > 0 && b.median_ns <= b.p99_ns);
    end();
  }
}

static int fails_from(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  if (id_of(item) == n->slow_id) return -777;
  return handle(flow, item);
}

static void after_a_failure_what_was_dropped_and_what_failed_is_told(void **state) {
  fixture_t *f = *state;
  uvf_stage_stats_t s;
  begin();
  node(UVF_STAGE_SOURCE)->make = 300;
  node(UVF_STAGE_WORK)->slow_id = 50;
  k.n[1].o.fn = fails_from;
  in_a_row();
  assert_int_equal(run_to_end(f, f->root, k.p), -777);
  s = stats_of(&k.n[1]);
  assert_int_equal(s.done, 49);
  assert_int_equal(s.failed, 1);
  assert_int_equal(s.in, s.done + s.failed + s.dropped);
  assert_int_equal(s.dropped + s.failed, k.n[1].drops);
  assert_int_equal(stats_of(&k.n[0]).out, s.in);
  end();
}

/* --- while it runs --- */

static int both_are_held(void *arg) {
  (void)arg;
  return stats_of(&k.n[1]).busy == 2 && stats_of(&k.n[1]).queued == 40;
}

static int waits(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  if (n->slow_id > 0) gate_pass(&k.gate);
  return handle(flow, item);
}

static void while_it_runs_queued_and_busy_are_told(void **state) {
  fixture_t *f = *state;
  run_t run = {0, 1};
  uvf_stage_stats_t s;
  begin();
  node(UVF_STAGE_SOURCE)->make = 100;
  node(UVF_STAGE_WORK)->o.fn = waits;
  k.n[1].o.capacity = 40;
  k.n[1].o.workers = 2;
  k.n[1].slow_id = ITEMS_MAX; /* all wait */
  in_a_row();
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  run_until_seen(&f->loop, both_are_held, NULL);
  s = stats_of(&k.n[1]);
  assert_true(s.in == 42 && s.done == 0 && s.finished == 0 && s.failed == 0 && s.dropped == 0);
  assert_int_equal(stats_of(&k.n[0]).out, 42);
  assert_int_equal(stats_of(&k.n[0]).finished, 0);
  gate_open(&k.gate, 100);
  run_until(&f->loop, &run.done, 1);
  s = stats_of(&k.n[1]);
  assert_true(s.in == 100 && s.done == 100 && s.finished == 1 && s.busy == 0);
  end();
}

static void the_latency_is_that_of_the_calls(void **state) {
  fixture_t *f = *state;
  uvf_stage_stats_t s;
  begin();
  node(UVF_STAGE_SOURCE)->make = 200;
  node(UVF_STAGE_WORK);
  node(UVF_STAGE_ASYNC)->later = 5; /* 5, 10 or 15 ms */
  k.n[2].o.workers = 50;
  in_a_row();
  assert_int_equal(run_to_end(f, f->root, k.p), 0);
  s = stats_of(&k.n[2]);
  assert_true(s.median_ns >= 5 * MS_NS);
  assert_true(s.p99_ns >= 10 * MS_NS);
  end();
}

/* --- how long calls take --- */

static int lasts(uvf_flow_t *flow, void *item) {
  burn(((node_t *)flow->data)->jitter_ns);
  return handle(flow, item);
}

/* Of one call: it lasts as long as it burns at least, and the whole run at most. */
static void a_time_is_told_as_never_shorter_and_at_most_a_sixteenth_longer_than_it_was(void **state) {
  static const uint64_t of_ns[] = {1100000, 2200000, 4300000, 7000000, 9000000, 13000000, 17500000, 23000000, 35000000};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(of_ns); i++) {
    uint64_t start_ns = uv_hrtime();
    uint64_t most_ns;
    uvf_stage_stats_t s;
    begin();
    node(UVF_STAGE_SOURCE)->make = 1;
    node(kinds[i % 2])->o.fn = lasts;
    k.n[1].jitter_ns = of_ns[i];
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    most_ns = uv_hrtime() - start_ns;
    s = stats_of(&k.n[1]);
    assert_true(s.median_ns >= of_ns[i]);
    assert_true(s.median_ns <= most_ns + most_ns / 16 + 1);
    assert_int_equal(s.p99_ns, s.median_ns);
    end();
  }
}

static uint64_t only(uvf_stage_t *s, size_t bucket) {
  uvf_stage_stats_t stats;
  memset(s->latency, 0, sizeof s->latency);
  s->latency[bucket] = 1;
  assert_int_equal(uvf_stage_stats(s, &stats), 0);
  return stats.median_ns;
}

/* What would take too long to wait for. */
static void times_of_a_nanosecond_to_an_hour_are_told_apart_by_a_sixteenth(void **state) {
  const uint64_t hour_ns = UINT64_C(3600) * 1000 * MS_NS;
  uvf_stage_stats_t stats;
  uint64_t last_ns = 0;
  uvf_stage_t *s;
  (void)state;
  begin();
  node(UVF_STAGE_SOURCE);
  node(UVF_STAGE_WORK);
  in_a_row();
  s = k.n[1].stage;
  for (size_t i = 1; i < ARRAY_SIZE(s->latency); i++) {
    uint64_t ns = only(s, i);
    assert_true(ns > last_ns);
    assert_true(ns - last_ns <= last_ns / 16 + 1);
    last_ns = ns;
  }
  assert_true(last_ns >= hour_ns);
  memset(s->latency, 0, sizeof s->latency);
  s->latency[100] = 98;
  s->latency[200] = 2; /* the 99th of a hundred */
  assert_int_equal(uvf_stage_stats(s, &stats), 0);
  assert_true(stats.p99_ns > stats.median_ns);
  s->latency[100] = 99;
  s->latency[200] = 1;
  assert_int_equal(uvf_stage_stats(s, &stats), 0);
  assert_int_equal(stats.p99_ns, stats.median_ns);
  memset(s->latency, 0, sizeof s->latency);
  end();
}

/* --- from another thread --- */

typedef struct reader_s {
  atomic_int stop;
  uint64_t reads;
  int wrong;
} reader_t;

/* Within a run figures only grow, and what is done, failed or dropped has come in. */
static void read_figures(void *arg) {
  reader_t *r = arg;
  while (!atomic_load(&r->stop)) {
    for (int i = 0; i < 3; i++) {
      uvf_stage_stats_t s;
      if (uvf_stage_stats(k.n[i].stage, &s) != 0 || s.name[0] != 'a' + i) r->wrong++;
      if (s.in < s.done + s.failed + s.dropped + s.queued || s.busy > 2) r->wrong++;
      if (s.median_ns > s.p99_ns || s.rate_per_s < 0) r->wrong++;
      r->reads++;
    }
    uv_sleep(0); /* where threads take turns, it is another's */
  }
}

static void another_thread_may_look_before_during_and_after_runs(void **state) {
  fixture_t *f = *state;
  reader_t reader = {.reads = 0};
  uv_thread_t thread;
  begin();
  node(UVF_STAGE_SOURCE);
  node(UVF_STAGE_WORK)->o.workers = 2;
  node(UVF_STAGE_LOOP);
  k.n[1].fail_every = 7;
  k.n[1].o.on_error = UVF_ON_ERROR_SKIP;
  in_a_row();
  assert_int_equal(uv_thread_create(&thread, read_figures, &reader), 0);
  for (int i = 0; i < 20; i++) {
    again(1000);
    k.n[1].eof_at = i % 2 ? 500 : 0;
    if (run_to_end(f, f->root, k.p) != 0) reader.wrong++;
  }
  atomic_store(&reader.stop, 1);
  assert_int_equal(uv_thread_join(&thread), 0);
  assert_int_equal(reader.wrong, 0);
  assert_true(reader.reads > 0);
  end();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(before_a_run_there_is_nothing_to_tell),
      unit(after_a_run_every_figure_is_what_has_happened),
      unit(after_a_failure_what_was_dropped_and_what_failed_is_told),
      unit(while_it_runs_queued_and_busy_are_told),
      unit(the_latency_is_that_of_the_calls),
      unit(a_time_is_told_as_never_shorter_and_at_most_a_sixteenth_longer_than_it_was),
      unit(times_of_a_nanosecond_to_an_hour_are_told_apart_by_a_sixteenth),
      unit(another_thread_may_look_before_during_and_after_runs),
  };
  return test_run(tests);
}
