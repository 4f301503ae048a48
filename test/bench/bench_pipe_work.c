/* SPDX-License-Identifier: MIT
 *
 * Rows of pipelines whose items cost a microsecond or ten, on several workers: how near they come to what the
 * processors can do at most.
 *
 * The work is a loop of so many turns as took that long when it was calibrated, once for all of them and the peers; it
 * reads no clock.
 *
 * The floor is threads that take the next number from a shared counter and nothing else: what scheduling and whatever
 * else runs on the machine leave of "so many processors, so much work".
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "bench_flow.h"
#include "bench_pipe.h"

#define IN_FLIGHT 64
#define APART_STAGES 3
#define APART_CAPACITY 1024

/* --- ours --------------------------------------------------------------------------------------------------------- */

static int work(uvf_flow_t *flow, void *item) {
  const pipe_ours_t *p = flow->data;
  return uvf_emit(flow, 0, pipe_item(pipe_spin((uintptr_t)item, p->task.spins)));
}

static void *ours_new(size_t ns, int ordered) {
  pipe_ours_t *p = pipe_ours_new((pipe_task_t){.spins = pipe_spins_for(ns)});
  uvf_stage_options_t o;
  uvf_stage_options_init(&o, UVF_STAGE_WORK, "work", work, p);
  o.workers = uvf_work_limit();
  o.ordered = ordered;
  pipe_ours_stage(p, &o);
  pipe_ours_sum(p, UVF_STAGE_WORK);
  return p;
}

/* Three stages with one worker each. */
static void *apart_setup(size_t ns) {
  pipe_ours_t *p = pipe_ours_new((pipe_task_t){.spins = pipe_spins_for(ns)});
  static const char *const names[APART_STAGES] = {"work1", "work2", "work3"};
  uvf_stage_options_t o;
  for (int i = 0; i < APART_STAGES; i++) {
    uvf_stage_options_init(&o, UVF_STAGE_WORK, names[i], work, p);
    o.capacity = APART_CAPACITY;
    pipe_ours_stage(p, &o);
  }
  pipe_ours_sum(p, UVF_STAGE_WORK);
  return p;
}

static void *ours_setup(size_t ns) { return ours_new(ns, 0); }

static void *ours_ordered_setup(size_t ns) { return ours_new(ns, 1); }

/* --- by hand, queues ---------------------------------------------------------------------------------------------- */

static void *raw_setup(size_t ns) {
  return pipe_raw_new((pipe_task_t){.spins = pipe_spins_for(ns)}, 1, uvf_work_limit(), 1);
}

static void *raw_batch_setup(size_t ns) {
  return pipe_raw_new((pipe_task_t){.spins = pipe_spins_for(ns)}, 1, uvf_work_limit(), 16);
}

static void *raw_apart_setup(size_t ns) {
  return pipe_raw_new((pipe_task_t){.spins = pipe_spins_for(ns)}, APART_STAGES, 1, 64);
}

/* --- the floor: a shared counter ---------------------------------------------------------------------------------- */

typedef struct counter_s {
  pipe_task_t task;
  unsigned int threads;
  uint64_t end;
  pipe_line_t gap;
  _Atomic(uint64_t) next;
} counter_t;

typedef struct counter_thread_s {
  uv_thread_t thread;
  counter_t *counter;
  uint64_t sum;
} counter_thread_t;

static void *counter_setup(size_t ns) {
  counter_t *c = bench_alloc(1, sizeof(*c));
  c->task.spins = pipe_spins_for(ns);
  c->threads = uvf_work_limit();
  return c;
}

static void counter_main(void *arg) {
  counter_thread_t *t = arg;
  counter_t *c = t->counter;
  uint64_t sum = 0;
  for (;;) {
    uint64_t i = atomic_fetch_add_explicit(&c->next, 1, memory_order_relaxed);
    if (i >= c->end) break;
    sum += pipe_spin(pipe_number(i), c->task.spins);
  }
  t->sum = sum;
}

static void counter_run(void *state, uint64_t ops, bench_sample_t *s) {
  counter_t *c = state;
  counter_thread_t threads[PIPE_MAX_THREADS];
  uint64_t sum = 0;
  atomic_store(&c->next, 0);
  c->end = ops;
  uint64_t cpu = bench_cpu_ns();
  uint64_t start = uv_hrtime();
  for (unsigned int i = 0; i < c->threads; i++) {
    threads[i].counter = c;
    bench_must("uv_thread_create", uv_thread_create(&threads[i].thread, counter_main, &threads[i]));
  }
  for (unsigned int i = 0; i < c->threads; i++) {
    bench_must("uv_thread_join", uv_thread_join(&threads[i].thread));
    sum += threads[i].sum;
  }
  s->amount += uv_hrtime() - start;
  s->cpu_ns += bench_cpu_ns() - cpu;
  s->ops += ops;
  if (sum != pipe_expected(&c->task, ops)) bench_fail("the counter's sum is wrong", 0);
}

/* --- uv_queue_work ------------------------------------------------------------------------------------------------ */

typedef struct queued_s queued_t;

typedef union queued_req_u {
  struct {
    uv_work_t work;
    queued_t *queued;
    uint64_t number;
  } one;
  char line[256];
} queued_req_t;

struct queued_s {
  bench_loop_t b;
  pipe_task_t task;
  uint64_t next;
  uint64_t end;
  uint64_t sum;
  uint64_t got;
  queued_req_t reqs[IN_FLIGHT];
};

static void *queued_setup(size_t ns) {
  queued_t *q = bench_alloc(1, sizeof(*q));
  bench_loop_open(&q->b, 0);
  q->task.spins = pipe_spins_for(ns);
  return q;
}

static void queued_work(uv_work_t *work) {
  queued_req_t *r = work->data;
  r->one.number = pipe_spin(r->one.number, r->one.queued->task.spins);
}

static void queued_start(queued_t *q, queued_req_t *r);

static void queued_done(uv_work_t *work, int status) {
  queued_req_t *r = work->data;
  queued_t *q = r->one.queued;
  bench_must("a request's status", status);
  q->sum += r->one.number;
  if (++q->got == q->end) uv_stop(&q->b.loop);
  if (q->next < q->end) queued_start(q, r);
}

static void queued_start(queued_t *q, queued_req_t *r) {
  r->one.queued = q;
  r->one.number = pipe_number(q->next++);
  r->one.work.data = r;
  bench_must("uv_queue_work", uv_queue_work(&q->b.loop, &r->one.work, queued_work, queued_done));
}

static void queued_run(void *state, uint64_t ops, bench_sample_t *s) {
  queued_t *q = state;
  q->next = q->got = q->sum = 0;
  q->end = ops;
  uint64_t cpu = bench_cpu_ns();
  uint64_t start = uv_hrtime();
  for (size_t i = 0; i < IN_FLIGHT && q->next < q->end; i++) queued_start(q, &q->reqs[i]);
  uv_run(&q->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->cpu_ns += bench_cpu_ns() - cpu;
  s->ops += ops;
  if (q->sum != pipe_expected(&q->task, ops)) bench_fail("the requests' sum is wrong", 0);
}

static void queued_teardown(void *state) {
  queued_t *q = state;
  bench_loop_close(&q->b);
  free(q);
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

static const bench_impl_t ours = {"uvflow", ours_setup, pipe_ours_run, pipe_ours_delete};
static const bench_impl_t ours_ordered = {"uvflow, ordered", ours_ordered_setup, pipe_ours_run, pipe_ours_delete};
static const bench_impl_t ours_unordered = {"uvflow, not ordered", ours_setup, pipe_ours_run, pipe_ours_delete};
static const bench_impl_t counter = {"floor: threads, a shared counter", counter_setup, counter_run, free};
static const bench_impl_t raw = {"threads: a mutex, two conditions", raw_setup, pipe_raw_run, pipe_raw_delete};
static const bench_impl_t raw_batch = {"threads: the same, 16 at once", raw_batch_setup, pipe_raw_run, pipe_raw_delete};
static const bench_impl_t queued = {"libuv: uv_queue_work, 64 in flight", queued_setup, queued_run, queued_teardown};

static const bench_impl_t apart = {"uvflow", apart_setup, pipe_ours_run, pipe_ours_delete};
static const bench_impl_t raw_apart = {"threads: one a stage, 64 at once", raw_apart_setup, pipe_raw_run,
                                       pipe_raw_delete};

#define WORK_WHAT                                                                                                      \
  "A source emits numbers, a stage spins for each of them on as many workers as the row says, a third adds them up; "  \
  "the sum is checked. The spin is a loop that was calibrated once for all and reads no clock. Source and sink "       \
  "share the same workers (the pool has one thread more, which the library leaves to others; uv_queue_work uses that " \
  "one too). The floor: as many threads, which take numbers from a shared counter. By hand: a thread that makes the "  \
  "numbers, the workers, a thread that adds up, bounded queues of 128 between them. Timed: from the start to the end " \
  "of a run, per item. "

#define WORK_IMPLS                                                                                                     \
  { &ours, &counter, &raw, &raw_batch, &queued }

/* More workers than processors would measure the system's scheduler. */
static const char *too_many(const bench_row_t *row) {
  return row->workers > uv_available_parallelism() ? "more workers than there are processors" : NULL;
}

/* Of rows that grow with the workers, up to the processors there are. */
#define WORKERS_GROW(n)                                                                                                \
  .what = WORK_WHAT, .impls = {&ours, &counter}, .size = 1000, .workers = (n), .flags = BENCH_SIDE,                    \
  .series = "gen -> 1 us of work -> sum, an item, by workers", .x = (n), .missing = too_many

#define WORKERS_ROW(n)                                                                                                 \
  { .name = "pipe-workers-" #n, .title = "gen -> 1 us of work -> sum, " #n " workers", WORKERS_GROW(n) }

const bench_row_t bench_pipe_work_rows[] = {
    {.name = "pipe-work-1us",
     .title = "gen -> 1 us of work -> sum, 4 workers",
     .what = WORK_WHAT "Perfect on 4 processors is 250.",
     .peer = "TBB 680, Go 761",
     .goal = 300,
     .impls = WORK_IMPLS,
     .size = 1000,
     .workers = 4,
     .samples = 11,
     .flags = BENCH_SIDE},
    {.name = "pipe-work-10us",
     .title = "gen -> 10 us of work -> sum, 4 workers",
     .what = WORK_WHAT "Perfect on 4 processors is 2,500.",
     .peer = "GThreadPool 2,759, Go 2,972",
     .goal = 2650,
     .impls = WORK_IMPLS,
     .size = 10000,
     .workers = 4,
     .samples = 11,
     .flags = BENCH_SIDE},
    {.name = "pipe-ordered-1us",
     .title = "the same as pipe-work-1us, the work's stage ordered",
     .what =
         WORK_WHAT "What the work's stage emits leaves it in the order in which it came in. The goal is that of the "
                   "same pipeline without order, and 20 ns.",
     .goal_more = 20,
     .impls = {&ours_ordered, &ours_unordered, &counter},
     .size = 1000,
     .workers = 4,
     .samples = 11},
    {.name = "pipe-work-apart",
     .title = "gen -> 200 ns of work, three times, one worker each -> sum",
     .what =
         "Three stages of one worker each, which spin 200 ns for each item; queues of 1024 (by hand: 128), 4 workers. "
         "On one thread it would take 600, with each stage on its own worker 200; the goal adds 60 to that, for "
         "being handed over. By hand: a thread for each stage. Timed: from the start to the end of a run, per item.",
     .goal = 260,
     .impls = {&apart, &raw_apart},
     .size = 200,
     .workers = 4},
    {.name = "pipe-workers-1", .title = "gen -> 1 us of work -> sum, 1 worker", WORKERS_GROW(1)},
    WORKERS_ROW(2),
    WORKERS_ROW(3),
    WORKERS_ROW(4),
    WORKERS_ROW(8),
    WORKERS_ROW(16),
    {.name = NULL},
};
