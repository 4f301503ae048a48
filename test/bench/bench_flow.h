/* SPDX-License-Identifier: MIT
 *
 * Items from threads to a loop or to another thread: what the rows of channels between threads share.
 *
 * An item is a number that is passed as a pointer: whose it is, and which of its sender's. The receiving side checks
 * that each sender's items come one by one and in order; nobody follows the pointer, so that what is timed is the hop.
 */
#ifndef UVFLOW_BENCH_FLOW_H
#define UVFLOW_BENCH_FLOW_H

#include "bench.h"

#define FLOW_MAX_SENDERS 8
#define FLOW_BATCH 64
/* Links of queues whose nodes are part of the item: more than can be outstanding, used again in turn. Two of the
 * largest capacity, since a receiver that has taken the whole list makes room at once. */
#define FLOW_NODES 4096

typedef struct flow_s flow_t;

typedef struct flow_sender_s {
  flow_t *flow;
  uv_thread_t thread;
  uv_sem_t go;
  uint64_t todo; /* 0: go home */
  uint64_t next; /* the number of its next item */
  unsigned int id;
} flow_sender_t;

/* A queue. All but send run on the loop's thread, and receive on a thread of its own where the flow ends there. */
typedef struct flow_type_s {
  int with_root;
  int to_thread;
  void (*open)(flow_t *f);
  void (*close)(flow_t *f); /* all senders are gone */
  /* Sends the sender's next n items; on its thread. */
  void (*send)(flow_sender_t *s, uint64_t n);
  /* Returns when n more items have come. */
  void (*receive)(flow_t *f, uint64_t n);
} flow_type_t;

struct flow_s {
  bench_loop_t b;
  const flow_type_t *type;
  void *queue; /* the type's */
  size_t capacity;
  size_t senders;
  size_t batch; /* 1: item by item */
  flow_sender_t sender[FLOW_MAX_SENDERS];
  /* the receiving side's */
  uint64_t seen[FLOW_MAX_SENDERS];
  uint64_t received;
  uint64_t wanted;
  /* flows that end on a thread */
  uv_thread_t thread;
  uv_sem_t go;
  uv_sem_t done;
  int quit;
};

flow_t *flow_new(const flow_type_t *type, size_t capacity, size_t senders, size_t batch);

/* The bench's run and teardown. */
void flow_run(void *state, uint64_t ops, bench_sample_t *s);
void flow_delete(void *state);

/* For types whose items arrive in callbacks: runs the loop until the callback that got the last one has called
 * flow_loop_got. (Asking after each turn of UV_RUN_ONCE would not do: a turn may call back, and go to sleep.) */
void flow_receive_on_loop(flow_t *f, uint64_t n);

static inline void flow_loop_got(flow_t *f) {
  if (f->received == f->wanted) uv_stop(&f->b.loop);
}

static inline void *flow_item(const flow_sender_t *s, uint64_t number) {
  return (void *)(uintptr_t)(number * FLOW_MAX_SENDERS + s->id); /* NOLINT(performance-no-int-to-ptr) */
}

static inline void flow_got(flow_t *f, const void *item) {
  uintptr_t number = (uintptr_t)item;
  if (f->seen[number % FLOW_MAX_SENDERS]++ != number / FLOW_MAX_SENDERS) bench_fail("an item is lost or overtaken", 0);
  f->received++;
}

/* --- hand-written queues (bench_queue.c) -------------------------------------------------------------------------- */

/* To a loop. The nodes are part of the items, the list is swapped as a whole, uv_async_send for each item; bounded. */
extern const flow_type_t flow_list;
/* The same, unbounded: a node is malloc'ed for each item, and a sender never waits. */
extern const flow_type_t flow_list_unbounded;
/* Two arrays that are swapped, uv_async_send for the first item only; bounded. */
extern const flow_type_t flow_arrays;
/* To a thread: a ring, two conditions that are signalled when somebody waits; bounded. */
extern const flow_type_t flow_ring;

/* The two that latency rows need too. capacity 0: the sender waits until its item has been taken. */
typedef struct flow_node_s {
  struct flow_node_s *next;
  void *item;
} flow_node_t;

typedef void (*list_queue_cb)(void *arg, void *item);

typedef struct list_queue_s {
  uv_mutex_t mutex;
  uv_cond_t room;
  flow_node_t *first;
  flow_node_t **end;
  size_t n;
  size_t capacity;
  size_t waiting;
  uint64_t put;
  uint64_t taken;
  uv_async_t async;
  list_queue_cb cb;
  void *arg;
} list_queue_t;

void list_queue_open(list_queue_t *q, uv_loop_t *loop, size_t capacity, list_queue_cb cb, void *arg);
void list_queue_close(list_queue_t *q); /* the mutex and the condition stay until list_queue_destroy */
void list_queue_destroy(list_queue_t *q);
/* A chain of at most FLOW_BATCH nodes. */
void list_queue_send(list_queue_t *q, flow_node_t *first, flow_node_t **end, size_t n);

typedef struct ring_queue_s {
  uv_mutex_t mutex;
  uv_cond_t room;
  uv_cond_t items;
  size_t senders_wait;
  size_t receivers_wait;
  size_t capacity;
  size_t size; /* of the ring: capacity, or 1 */
  size_t n;
  size_t head;
  uint64_t put;
  uint64_t taken;
  void **ring;
} ring_queue_t;

void ring_queue_open(ring_queue_t *q, size_t capacity);
void ring_queue_destroy(ring_queue_t *q);
void ring_queue_send(ring_queue_t *q, void *const *items, size_t n);
/* At least one, max at most; returns how many. */
size_t ring_queue_receive(ring_queue_t *q, void **items, size_t max);
/* 1 if there was one. */
int ring_queue_try_receive(ring_queue_t *q, void **item);

#endif
