/* SPDX-License-Identifier: MIT
 *
 * Pipelines: a thread for each stage (several for the stage with work), bounded GAsyncQueues between them (belt.c). The
 * source is the calling thread. Item by item, and with up to 64 items (16 where an item is worth a microsecond and
 * others wait for it) under one lock of a queue.
 *
 * Items are odd numbers, so an even pointer says that no more follow: one of them for each worker of the next stage.
 */
#include "glib_peer.h"

#define MAX_STAGES 16
#define MAX_THREADS 64

typedef struct pipe_s {
  size_t squares;
  uint64_t turns; /* of the spin; 0: items are squared */
  size_t stages;  /* between source and sink */
  size_t workers;
  size_t batch;
  belt_t belts[MAX_STAGES + 1];
  uint64_t sum;
} pipe_t;

typedef struct worker_s {
  pipe_t *pipe;
  size_t stage;
} worker_t;

static int end_mark;
#define END ((gpointer)&end_mark)

static inline gpointer handled(const pipe_t *p, gpointer item) {
  uint64_t number = GPOINTER_TO_SIZE(item);
  return GSIZE_TO_POINTER(p->turns ? peer_spin(number, p->turns) : number * number);
}

static void work_one(const pipe_t *p, belt_receiver_t *from, belt_sender_t *to) {
  for (;;) {
    gpointer item = belt_receive(from);
    if (item == END) return;
    belt_send(to, handled(p, item));
  }
}

static void work_many(const pipe_t *p, belt_receiver_t *from, belt_sender_t *to) {
  gpointer items[BELT_BATCH];
  for (;;) {
    size_t n = belt_receive_many(from, items, p->batch, END);
    int last = items[n - 1] == END;
    if (last) n--;
    for (size_t i = 0; i < n; i++) items[i] = handled(p, items[i]);
    belt_send_many(to, items, n);
    if (last) return;
  }
}

static gpointer worker_main(gpointer arg) {
  worker_t *w = arg;
  pipe_t *p = w->pipe;
  belt_receiver_t from = {&p->belts[w->stage], 0};
  belt_sender_t to = {&p->belts[w->stage + 1], 0};
  if (p->batch > 1) {
    work_many(p, &from, &to);
  } else {
    work_one(p, &from, &to);
  }
  belt_send(&to, END);
  belt_free_room(to.belt, to.credit);
  return NULL;
}

static gpointer sink_main(gpointer arg) {
  pipe_t *p = arg;
  belt_receiver_t from = {&p->belts[p->stages], 0};
  gpointer items[BELT_BATCH];
  size_t open = p->workers;
  uint64_t sum = 0;
  while (open) {
    size_t n = 1;
    if (p->batch > 1) {
      n = belt_receive_many(&from, items, p->batch, END);
    } else {
      items[0] = belt_receive(&from);
    }
    for (size_t i = 0; i < n; i++) {
      if (items[i] == END) {
        open--;
      } else {
        sum += GPOINTER_TO_SIZE(items[i]);
      }
    }
  }
  p->sum = sum;
  return NULL;
}

static void source(pipe_t *p, uint64_t ops) {
  belt_sender_t to = {&p->belts[0], 0};
  gpointer items[BELT_BATCH];
  size_t n = 0;
  for (uint64_t i = 0; i < ops; i++) {
    if (p->batch > 1) {
      items[n++] = GSIZE_TO_POINTER(2 * i + 1);
      if (n < p->batch && i + 1 < ops) continue;
      belt_send_many(&to, items, n);
      n = 0;
    } else {
      belt_send(&to, GSIZE_TO_POINTER(2 * i + 1));
    }
  }
  for (size_t i = 0; i < p->workers; i++) belt_send(&to, END);
}

/* Queues and threads are made and ended in it, as starting a run is in ours. */
static void pipe_run(pipe_t *p, uint64_t ops, peer_sample_t *s) {
  GThread *threads[MAX_THREADS];
  worker_t workers[MAX_THREADS];
  size_t n = 0;
  uint64_t cpu = peer_cpu_ns();
  uint64_t start = peer_now_ns();
  for (size_t i = 0; i <= p->stages; i++) belt_open(&p->belts[i], i ? p->workers : 1);
  for (size_t i = 0; i < p->stages * p->workers; i++) {
    workers[n] = (worker_t){p, i / p->workers};
    threads[n] = g_thread_new("worker", worker_main, &workers[n]);
    n++;
  }
  threads[n++] = g_thread_new("sink", sink_main, p);
  source(p, ops);
  for (size_t i = 0; i < n; i++) g_thread_join(threads[i]);
  for (size_t i = 0; i <= p->stages; i++) belt_close(&p->belts[i]);
  s->amount += peer_now_ns() - start;
  s->cpu_ns += peer_cpu_ns() - cpu;
  s->ops += ops;
  if (p->sum != peer_sum_of(ops, p->squares)) peer_fail("the pipeline's sum is wrong");
}

static pipe_t *pipe_new(size_t squares, uint64_t ns, size_t workers, size_t batch) {
  pipe_t *p = peer_alloc(1, sizeof(*p));
  p->squares = squares;
  p->stages = squares ? squares : 1;
  p->turns = ns ? peer_turns_for(ns) : 0;
  p->workers = workers;
  p->batch = batch;
  if (p->stages > MAX_STAGES || p->stages * workers >= MAX_THREADS) peer_fail("that many stages and workers");
  return p;
}

#define PIPE(id, squares, ns, workers, batch)                                                                          \
  void *id##_setup(const peer_size_t *size) { return pipe_new(squares, ns, workers, batch); }                          \
  void id##_run(void *state, uint64_t ops, peer_sample_t *s) { pipe_run(state, ops, s); }                              \
  void id##_teardown(void *state) { free(state); }

PIPE(pipe_one, size->size, 0, 1, 1)
PIPE(pipe_many, size->size, 0, 1, BELT_BATCH)
PIPE(pipe_work, 0, size->size, size->workers, 16)
