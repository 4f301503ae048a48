/* SPDX-License-Identifier: MIT
 *
 * Jobs on the pool, against uv_queue_work. Each row has a process of its own, since the pool's size is fixed with its
 * first use. The pool has workers + 1 threads: the library leaves one of them to others, libuv uses them all.
 */
#include <stdlib.h>

#include "bench.h"

typedef struct crew_s crew_t;

/* Each request on lines of its own: no worker's writes shall slow another down. */
typedef union slot_u {
  uvf_work_t ours;
  uv_work_t raw;
  char line[256];
} slot_t;

struct crew_s {
  bench_loop_t b;
  slot_t *slots;
  size_t n; /* in flight */
  uint64_t to_start;
  uint64_t running;
};

static crew_t *crew_new(size_t size, int with_root) {
  crew_t *c = bench_alloc(1, sizeof(*c));
  bench_loop_open(&c->b, with_root);
  c->slots = bench_alloc(size, sizeof(*c->slots));
  c->n = size;
  return c;
}

static void *ours_setup(size_t size) { return crew_new(size, 1); }

static void *raw_setup(size_t size) { return crew_new(size, 0); }

static void crew_teardown(void *state) {
  crew_t *c = state;
  bench_loop_close(&c->b);
  free(c->slots);
  free(c);
}

static void spin_1us(void) {
  uint64_t from = uv_hrtime();
  while (uv_hrtime() - from < 1000) {}
}

/* --- ours --------------------------------------------------------------------------------------------------------- */

static int ours_nothing(uvf_work_t *job) {
  (void)job;
  return 0;
}

static int ours_spin(uvf_work_t *job) {
  (void)job;
  spin_1us();
  return 0;
}

static void ours_start(crew_t *c, uvf_work_t *job, uvf_work_fn fn);

static void ours_done(uvf_work_t *job, uvf_work_fn fn, int status) {
  crew_t *c = job->data;
  bench_must("a job's status", status);
  c->running--;
  if (c->to_start) ours_start(c, job, fn);
  if (!c->running) uv_stop(&c->b.loop); /* asking after each turn would not do: a turn may call back and go to sleep */
}

static void ours_nothing_done(uvf_work_t *job, int status) { ours_done(job, ours_nothing, status); }

static void ours_spin_done(uvf_work_t *job, int status) { ours_done(job, ours_spin, status); }

static void ours_start(crew_t *c, uvf_work_t *job, uvf_work_fn fn) {
  c->to_start--;
  c->running++;
  uvf_work_done_cb done = fn == ours_spin ? ours_spin_done : ours_nothing_done;
  bench_must("uvf_work_start", uvf_work_start(c->b.root, job, fn, done, NULL));
}

static void ours_run(crew_t *c, uint64_t ops, uvf_work_fn fn, bench_sample_t *s) {
  uint64_t cpu = bench_cpu_ns();
  uint64_t start = uv_hrtime();
  c->to_start = ops;
  for (size_t i = 0; i < c->n && c->to_start; i++) {
    c->slots[i].ours.data = c;
    ours_start(c, &c->slots[i].ours, fn);
  }
  uv_run(&c->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->cpu_ns += bench_cpu_ns() - cpu;
  s->ops += ops;
}

/* One job after each pause: what a worker that waits for the next job does meanwhile shows up as CPU time. */
static void ours_paced_run(void *state, uint64_t ops, bench_sample_t *s) {
  for (uint64_t i = 0; i < ops; i++) {
    uint64_t cpu = bench_cpu_ns();
    uv_sleep(1);
    uint64_t slept = bench_cpu_ns() - cpu;
    ours_run(state, 1, ours_nothing, s);
    s->cpu_ns += slept;
  }
}

static void ours_nothing_run(void *state, uint64_t ops, bench_sample_t *s) { ours_run(state, ops, ours_nothing, s); }

static void ours_spin_run(void *state, uint64_t ops, bench_sample_t *s) { ours_run(state, ops, ours_spin, s); }

/* --- raw ---------------------------------------------------------------------------------------------------------- */

static void raw_nothing(uv_work_t *req) { (void)req; }

static void raw_spin(uv_work_t *req) {
  (void)req;
  spin_1us();
}

static void raw_start(crew_t *c, uv_work_t *req, uv_work_cb fn);

static void raw_done(uv_work_t *req, uv_work_cb fn, int status) {
  crew_t *c = req->data;
  bench_must("a request's status", status);
  c->running--;
  if (c->to_start) raw_start(c, req, fn);
  if (!c->running) uv_stop(&c->b.loop);
}

static void raw_nothing_done(uv_work_t *req, int status) { raw_done(req, raw_nothing, status); }

static void raw_spin_done(uv_work_t *req, int status) { raw_done(req, raw_spin, status); }

static void raw_start(crew_t *c, uv_work_t *req, uv_work_cb fn) {
  c->to_start--;
  c->running++;
  uv_after_work_cb done = fn == raw_spin ? raw_spin_done : raw_nothing_done;
  bench_must("uv_queue_work", uv_queue_work(&c->b.loop, req, fn, done));
}

static void raw_run(crew_t *c, uint64_t ops, uv_work_cb fn, bench_sample_t *s) {
  uint64_t cpu = bench_cpu_ns();
  uint64_t start = uv_hrtime();
  c->to_start = ops;
  for (size_t i = 0; i < c->n && c->to_start; i++) {
    c->slots[i].raw.data = c;
    raw_start(c, &c->slots[i].raw, fn);
  }
  uv_run(&c->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->cpu_ns += bench_cpu_ns() - cpu;
  s->ops += ops;
}

static void raw_paced_run(void *state, uint64_t ops, bench_sample_t *s) {
  for (uint64_t i = 0; i < ops; i++) {
    uint64_t cpu = bench_cpu_ns();
    uv_sleep(1);
    uint64_t slept = bench_cpu_ns() - cpu;
    raw_run(state, 1, raw_nothing, s);
    s->cpu_ns += slept;
  }
}

static void raw_nothing_run(void *state, uint64_t ops, bench_sample_t *s) { raw_run(state, ops, raw_nothing, s); }

static void raw_spin_run(void *state, uint64_t ops, bench_sample_t *s) { raw_run(state, ops, raw_spin, s); }

static const bench_impl_t ours = {"uvflow", ours_setup, ours_nothing_run, crew_teardown};
static const bench_impl_t raw = {"libuv: uv_queue_work", raw_setup, raw_nothing_run, crew_teardown};
static const bench_impl_t ours_1us = {"uvflow", ours_setup, ours_spin_run, crew_teardown};
static const bench_impl_t raw_1us = {"libuv: uv_queue_work", raw_setup, raw_spin_run, crew_teardown};

static const bench_impl_t ours_paced = {"uvflow", ours_setup, ours_paced_run, crew_teardown};
static const bench_impl_t raw_paced = {"libuv: uv_queue_work", raw_setup, raw_paced_run, crew_teardown};

#define JOB_WHAT                                                                                                       \
  "64 jobs are in flight, empty unless it says otherwise below: the done callback of each starts the next with the "   \
  "same request. Timed: from the "                                                                                     \
  "first start to the last done, per job, so it is the rate of loop and workers together and not how long one job "    \
  "takes. The pool has one thread more than there are workers; uv_queue_work uses that one too."

const bench_row_t bench_job_rows[] = {
    {.name = "job-64-w1",
     .title = "empty job, 64 in flight, 1 worker",
     .what = JOB_WHAT,
     .peer = "uv_queue_work 1,466",
     .goal = 300,
     .impls = {&ours, &raw},
     .size = 64,
     .workers = 1,
     .flags = BENCH_SIDE},
    {.name = "job-64-w4",
     .title = "empty job, 64 in flight, 4 workers",
     .what = JOB_WHAT,
     .impls = {&ours, &raw},
     .size = 64,
     .workers = 4},
    {.name = "job-1us-w4",
     .title = "1 us of work, 64 in flight, 4 workers",
     .what = JOB_WHAT
     " Each job spins on the clock until 1 us is over; four threads can do one each 250 ns, five one each 200.",
     .impls = {&ours_1us, &raw_1us},
     .size = 64,
     .workers = 4},
    {.name = "job-1-w1",
     .title = "empty job, 1 in flight, 1 worker",
     .what =
         "As job-64-w1 with a single job: from start to done through two sleeping threads, the worker and the loop.",
     .impls = {&ours, &raw},
     .size = 1,
     .workers = 1},
    {.name = "job-paced-w4",
     .title = "empty job after a pause of 1 ms, 4 workers",
     .what =
         "The loop's thread sleeps 1 ms, then starts one job and waits for it; and again. Timed: from start to done. "
         "The "
         "CPU time is that of the whole millisecond: workers that spin while they wait for a job are seen in it. The "
         "samples' length is counted with the sleep.",
     .impls = {&ours_paced, &raw_paced},
     .size = 1,
     .workers = 4,
     .flags = BENCH_ELAPSED},
    {.name = NULL},
};
