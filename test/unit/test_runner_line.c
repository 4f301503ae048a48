/* SPDX-License-Identifier: MIT
 *
 * A slow job is in nobody's way: jobs parked at every place of a line, with the loop running, in a long callback, and
 * in one of many quanta.
 */
#include "test_job.h"

static void sleep_1ms(probe_t *p) {
  (void)p;
  uv_sleep(1);
}

enum { OTHERS = 100 };

typedef struct line_s {
  unsigned int limit;
  int parked[2]; /* places in the line; -1: none */
  void (*work)(probe_t *p);
  probe_t *p[OTHERS];
  atomic_int others_ran;
  int over;
} line_t;

static line_t line;

static void line_work(probe_t *p) {
  if (line.work != NULL) line.work(p);
  atomic_fetch_add(&line.others_ran, 1);
}

static int line_is_parked(int i) { return i == line.parked[0] || i == line.parked[1]; }
static int line_others(void) { return OTHERS - (line.parked[0] >= 0) - (line.parked[1] >= 0); }

static void line_start(void) {
  atomic_store(&line.others_ran, 0);
  for (int i = 0; i < OTHERS; i++) {
    line.p[i] = probe_new();
    if (line_is_parked(i)) {
      line.p[i]->gated = 1;
    } else {
      line.p[i]->in_fn = line_work;
    }
    probe_start(kit.f->root, line.p[i], i % 2);
  }
}

static void line_finish(void) {
  for (int i = 0; i < 2; i++) {
    if (line.parked[i] >= 0) gate_open(&line.p[line.parked[i]]->go, 1);
  }
  for (int i = 0; i < OTHERS; i++) run_probe(line.p[i]);
}

static void on_long_callback(uv_timer_t *timer) {
  line_start();
  line.over = reaches(&line.others_ran, line_others()) ? 1 : -1;
  uv_close((uv_handle_t *)timer, NULL);
}

static void check_line(unsigned int limit, int first, int second, int loop_is_busy, void (*work)(probe_t *)) {
  memset(&line, 0, sizeof line);
  line.limit = limit;
  line.parked[0] = first;
  line.parked[1] = second;
  line.work = work;
  assert_int_equal(uvf_work_set_limit(limit), 0);
  if (loop_is_busy) {
    static uv_timer_t timer;
    assert_int_equal(uv_timer_init(&kit.f->loop, &timer), 0);
    assert_int_equal(uv_timer_start(&timer, on_long_callback, 1, 0), 0);
    run_until(&kit.f->loop, &line.over, 1);
    assert_int_equal(line.over, 1);
  } else {
    line_start();
  }
  for (int i = 0; i < OTHERS; i++) {
    if (!line_is_parked(i)) run_probe(line.p[i]);
  }
  for (int i = 0; i < 2; i++) {
    if (line.parked[i] >= 0) assert_int_equal(line.p[line.parked[i]]->done, 0);
  }
  line_finish();
}

static void check_all_places(int loop_is_busy, void (*work)(probe_t *)) {
  static const int places[] = {0, 1, OTHERS / 2, OTHERS - 1};
  for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
    check_line(2, places[i], -1, loop_is_busy, work);
    check_line(3, places[i], -1, loop_is_busy, work);
    check_line(3, places[i], 2, loop_is_busy, work);
  }
}

static void a_parked_job_holds_up_no_other_wherever_it_stands_in_the_line(void **state) {
  (void)state;
  check_all_places(0, NULL);
  check_all_places(0, sleep_1ms);
}

static void a_parked_job_holds_up_no_other_while_the_loop_is_in_a_long_callback(void **state) {
  (void)state;
  check_all_places(1, NULL);
}

static void a_parked_job_holds_up_no_other_for_many_quanta_of_a_busy_loop(void **state) {
  (void)state;
  check_all_places(1, sleep_1ms);
}

static void jobs_started_after_one_parked_run_at_once_though_all_were_idle_before(void **state) {
  (void)state;
  assert_int_equal(uvf_work_set_limit(2), 0);
  for (int i = 0; i < 20; i++) {
    probe_t *parked = probe_new(), *p = probe_new();
    parked->gated = 1;
    probe_start(kit.f->root, parked, 0);
    assert_true(gate_passed(&parked->started));
    probe_start(kit.f->root, p, 1);
    assert_true(reaches(&p->returned, 1)); /* the loop has not run since */
    run_probe(p);
    gate_open(&parked->go, 1);
    run_probe(parked);
    uv_run(&kit.f->loop, UV_RUN_DEFAULT); /* every runner has gone home */
  }
}

/* The thread that ran the last job is about to look away: just before, at, or just after that moment comes the next one,
 * and then the loop is busy. Unforced: the moment is some microseconds after the job, so many are tried. */
static void a_job_that_comes_as_the_last_thread_goes_home_is_not_forgotten(void **state) {
  uint64_t seed = test_seed();
  size_t rounds = test_scaled(6000, 3);
  (void)state;
  assert_int_equal(uvf_work_set_limit(1), 0);
  for (size_t i = 0; i < rounds; i++) {
    uint64_t until_ns, limit_ns;
    probe_t *first = probe_new(), *next = probe_new();
    probe_start(kit.f->root, first, 0);
    limit_ns = uv_hrtime() + PATIENCE_MS * MS_NS;
    while (first->done == 0 && uv_hrtime() < limit_ns) uv_run(&kit.f->loop, UV_RUN_NOWAIT);
    until_ns = uv_hrtime() + test_rand(&seed) % 15000;
    while (uv_hrtime() < until_ns) {}
    probe_start(kit.f->root, next, 0);
    limit_ns = uv_hrtime() + PATIENCE_MS * MS_NS;
    while (atomic_load(&next->returned) == 0 && uv_hrtime() < limit_ns) {} /* the loop stands here */
    assert_int_equal(atomic_load(&next->returned), 1);
    run_probe(next);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      job_test(a_parked_job_holds_up_no_other_wherever_it_stands_in_the_line),
      job_test(a_parked_job_holds_up_no_other_while_the_loop_is_in_a_long_callback),
      job_test(a_parked_job_holds_up_no_other_for_many_quanta_of_a_busy_loop),
      job_test(jobs_started_after_one_parked_run_at_once_though_all_were_idle_before),
      job_test(a_job_that_comes_as_the_last_thread_goes_home_is_not_forgotten),
  };
  uv_os_setenv("UV_THREADPOOL_SIZE", "4");
  return test_run(tests);
}
