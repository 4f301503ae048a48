/* SPDX-License-Identifier: MIT
 *
 * Pipelines as they are written by hand: a thread for each stage, or several for one, and bounded queues of a mutex and
 * two conditions between them; and the floor, a loop that calls the stages one after the other.
 *
 * An item of 0 says that no more follow. With several workers in a stage the feeding side sends one 0 for each of them,
 * and the next stage waits for as many.
 */
#include <stdlib.h>

#include "bench_flow.h"
#include "bench_pipe.h"

#define RAW_MAX_STAGES 16
#define RAW_MAX_BATCH 64

struct pipe_raw_s {
  pipe_task_t task;
  unsigned int stages; /* between source and sink */
  unsigned int workers;
  size_t batch;
  ring_queue_t queues[RAW_MAX_STAGES + 1];
  uint64_t sum;
};

typedef struct raw_thread_s {
  uv_thread_t thread;
  pipe_raw_t *pipe;
  unsigned int stage;
} raw_thread_t;

static void handle(const pipe_task_t *task, void **item) {
  uint64_t number = (uintptr_t)*item;
  *item = pipe_item(task->spins ? pipe_spin(number, task->spins) : number * number);
}

static void raw_worker(void *arg) {
  raw_thread_t *t = arg;
  pipe_raw_t *p = t->pipe;
  ring_queue_t *from = &p->queues[t->stage], *to = from + 1;
  void *items[RAW_MAX_BATCH];
  for (;;) {
    size_t n = ring_queue_receive(from, items, p->batch);
    for (size_t i = 0; i < n; i++) {
      if (!items[i]) { /* what came behind it is for the other workers: as many ends as there are left */
        ring_queue_send(to, items, i + 1);
        if (i + 1 < n) ring_queue_send(from, items + i + 1, n - i - 1);
        return;
      }
      handle(&p->task, &items[i]);
    }
    ring_queue_send(to, items, n);
  }
}

static void raw_sink(void *arg) {
  raw_thread_t *t = arg;
  pipe_raw_t *p = t->pipe;
  unsigned int open = p->workers;
  void *items[RAW_MAX_BATCH];
  while (open) {
    size_t n = ring_queue_receive(&p->queues[p->stages], items, p->batch);
    for (size_t i = 0; i < n; i++) {
      if (items[i]) {
        p->sum += (uintptr_t)items[i];
      } else {
        open--;
      }
    }
  }
}

static void raw_source(pipe_raw_t *p, uint64_t ops) {
  void *items[RAW_MAX_BATCH];
  size_t n = 0;
  for (uint64_t i = 0; i < ops; i++) {
    items[n++] = pipe_item(pipe_number(i));
    if (n < p->batch && i + 1 < ops) continue;
    ring_queue_send(&p->queues[0], items, n);
    n = 0;
  }
  items[0] = NULL;
  for (unsigned int i = 0; i < p->workers; i++) ring_queue_send(&p->queues[0], items, 1);
}

pipe_raw_t *pipe_raw_new(pipe_task_t task, unsigned int stages, unsigned int workers, size_t batch) {
  pipe_raw_t *p = bench_alloc(1, sizeof(*p));
  p->task = task;
  p->stages = stages;
  p->workers = workers;
  p->batch = batch;
  for (unsigned int i = 0; i <= stages; i++) ring_queue_open(&p->queues[i], PIPE_CAPACITY);
  return p;
}

/* The source is this thread. Starting and joining the threads is in it, as starting a run is in ours. */
void pipe_raw_run(void *state, uint64_t ops, bench_sample_t *s) {
  pipe_raw_t *p = state;
  raw_thread_t threads[PIPE_MAX_THREADS];
  unsigned int n = 0;
  p->sum = 0;
  uint64_t cpu = bench_cpu_ns();
  uint64_t start = uv_hrtime();
  for (unsigned int stage = 0; stage <= p->stages; stage++) {
    for (unsigned int i = 0; i < (stage == p->stages ? 1 : p->workers); i++) {
      raw_thread_t *t = &threads[n++];
      t->pipe = p;
      t->stage = stage;
      bench_must("uv_thread_create", uv_thread_create(&t->thread, stage == p->stages ? raw_sink : raw_worker, t));
    }
  }
  raw_source(p, ops);
  for (unsigned int i = 0; i < n; i++) bench_must("uv_thread_join", uv_thread_join(&threads[i].thread));
  s->amount += uv_hrtime() - start;
  s->cpu_ns += bench_cpu_ns() - cpu;
  s->ops += ops;
  if (p->sum != pipe_expected(&p->task, ops)) bench_fail("the threads' sum is wrong", 0);
}

void pipe_raw_delete(void *state) {
  pipe_raw_t *p = state;
  for (unsigned int i = 0; i <= p->stages; i++) ring_queue_destroy(&p->queues[i]);
  free(p);
}

/* --- the floor ---------------------------------------------------------------------------------------------------- */

typedef void *(*plain_fn)(pipe_task_t *task, void *item, uint64_t *sum);

static void *plain_square(pipe_task_t *task, void *item, uint64_t *sum) {
  uint64_t number = (uintptr_t)item;
  (void)task;
  (void)sum;
  return pipe_item(number * number);
}

static void *plain_sum(pipe_task_t *task, void *item, uint64_t *sum) {
  (void)task;
  *sum += (uintptr_t)item;
  return NULL;
}

typedef struct plain_s {
  pipe_task_t task;
  plain_fn volatile fns[RAW_MAX_STAGES + 1]; /* read again for each item: the compiler must not know them */
} plain_t;

void *pipe_plain_new(pipe_task_t task) {
  plain_t *p = bench_alloc(1, sizeof(*p));
  p->task = task;
  for (unsigned int i = 0; i < task.squares; i++) p->fns[i] = plain_square;
  p->fns[task.squares] = plain_sum;
  return p;
}

void pipe_plain_run(void *state, uint64_t ops, bench_sample_t *s) {
  plain_t *p = state;
  uint64_t sum = 0;
  uint64_t cpu = bench_cpu_ns();
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    void *item = pipe_item(pipe_number(i));
    for (unsigned int k = 0; k <= p->task.squares; k++) item = p->fns[k](&p->task, item, &sum);
  }
  s->amount += uv_hrtime() - start;
  s->cpu_ns += bench_cpu_ns() - cpu;
  s->ops += ops;
  if (sum != pipe_expected(&p->task, ops)) bench_fail("the loop's sum is wrong", 0);
}
