/* SPDX-License-Identifier: MIT
 *
 * A pool of one thread, all of it ours, under a loop that stands for long: runners ask for relief, are relieved and ask
 * again before the loop has answered the first time. A program of its own: libuv reads UV_THREADPOOL_SIZE once.
 */
#include "test_job.h"

enum { ROUNDS = 8, JOBS = 40 };

static uv_work_t marks[ROUNDS];
static gate_t passed;
static int marks_back;

static void mark_fn(uv_work_t *req) {
  (void)req;
  gate_open(&passed, 1);
}
static void mark_back(uv_work_t *req, int status) {
  (void)req;
  (void)status;
  marks_back++;
}

static void spin_300us(probe_t *p) {
  uint64_t until_ns = uv_hrtime() + 300000;
  (void)p;
  while (uv_hrtime() < until_ns) {}
}

/* Every round is several quanta of work. When others' work has run behind it, no runner is at work: the next start
 * queues one, and a relief. The loop does not turn meanwhile, so what the rounds ask it for comes together. */
static void start_rounds(uv_loop_t *loop, probe_t **p) {
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < JOBS; i++) {
      probe_t *probe = p[round * JOBS + i] = probe_new();
      probe->in_fn = spin_300us;
      probe_start(kit.f->root, probe, i % 2);
    }
    assert_true(reaches(&kit.fns, (round + 1) * JOBS));
    assert_int_equal(uv_queue_work(loop, &marks[round], mark_fn, mark_back), 0);
    assert_true(gate_passed(&passed));
  }
}

static void a_loop_that_stood_while_relief_was_asked_for_again_and_again_goes_on(void **state) {
  probe_t *p[ROUNDS * JOBS];
  (void)state;
  marks_back = 0;
  gate_init(&passed);
  assert_int_equal(uvf_work_limit(), 1);
  start_rounds(&kit.f->loop, p);
  for (size_t i = 0; i < ARRAY_SIZE(p); i++) run_probe(p[i]);
  run_until(&kit.f->loop, &marks_back, ROUNDS);
  for (size_t i = 0; i < ARRAY_SIZE(p); i++) assert_int_equal(p[i]->start_index, (int)i);
  gate_destroy(&passed);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {job_test(a_loop_that_stood_while_relief_was_asked_for_again_and_again_goes_on)};
  uv_setup_args(argc, argv);
  uv_os_setenv("UV_THREADPOOL_SIZE", "1");
  return test_run(tests);
}
