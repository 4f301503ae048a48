/* SPDX-License-Identifier: MIT
 *
 * Channels: a GAsyncQueue with a bound of 128 (belt.c), and a source of the main context that takes what is in it
 * (wake.c). Items are numbers, which whoever receives them checks: whose it is, and that each sender's come one by one.
 */
#include "glib_peer.h"

#define MAX_SENDERS 8
#define GO_HOME G_MAXSIZE

typedef struct flow_s flow_t;

typedef struct sender_s {
  flow_t *flow;
  GThread *thread;
  GAsyncQueue *go; /* how many to send */
  belt_sender_t to;
  size_t next;
  size_t id;
} sender_t;

struct flow_s {
  belt_t belt;
  GMainLoop *loop;
  wake_t *wake; /* NULL where the flow ends on a thread */
  size_t batch;
  size_t senders;
  sender_t sender[MAX_SENDERS];
  size_t seen[MAX_SENDERS];
  uint64_t wanted;
  /* flows that end on a thread */
  GThread *thread;
  GAsyncQueue *go;
  GAsyncQueue *done;
};

static inline gpointer item_of(const sender_t *s, size_t number) {
  return GSIZE_TO_POINTER((number * MAX_SENDERS + s->id) * 2 + 1); /* never NULL */
}

static inline void got(flow_t *f, gconstpointer item) {
  size_t number = GPOINTER_TO_SIZE(item) / 2;
  if (f->seen[number % MAX_SENDERS]++ != number / MAX_SENDERS) peer_fail("an item is lost or overtaken");
  f->wanted--;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void send_one(sender_t *s, size_t n) {
  flow_t *f = s->flow;
  for (size_t i = 0; i < n; i++) {
    belt_send(&s->to, item_of(s, s->next++));
    if (f->wake) wake_loop(f->wake);
  }
}

static void send_many(sender_t *s, size_t n) {
  flow_t *f = s->flow;
  gpointer items[BELT_BATCH];
  while (n > 0) {
    size_t batch = MIN(n, BELT_BATCH);
    for (size_t i = 0; i < batch; i++) items[i] = item_of(s, s->next++);
    belt_send_many(&s->to, items, batch);
    if (f->wake) wake_loop(f->wake);
    n -= batch;
  }
}

static gpointer sender_main(gpointer arg) {
  sender_t *s = arg;
  for (;;) {
    size_t n = GPOINTER_TO_SIZE(g_async_queue_pop(s->go));
    if (n == GO_HOME) return NULL;
    if (s->flow->batch > 1) {
      send_many(s, n);
    } else {
      send_one(s, n);
    }
  }
}

/* --- receiving ---------------------------------------------------------------------------------------------------- */

/* All that was there when the loop looked: room for as much is given back at once. */
static void on_items(gpointer data, gpointer *items, size_t n) {
  flow_t *f = data;
  belt_free_room(&f->belt, n);
  for (size_t i = 0; i < n; i++) got(f, items[i]);
  if (!f->wanted) g_main_loop_quit(f->loop);
}

static gpointer receiver_main(gpointer arg) {
  flow_t *f = arg;
  belt_receiver_t from = {&f->belt, 0};
  for (;;) {
    size_t n = GPOINTER_TO_SIZE(g_async_queue_pop(f->go));
    if (n == GO_HOME) return NULL;
    f->wanted = n;
    while (f->wanted) got(f, belt_receive(&from));
    g_async_queue_push(f->done, f);
  }
}

/* --- a flow ------------------------------------------------------------------------------------------------------- */

static flow_t *flow_new(size_t senders, size_t batch, int to_thread) {
  flow_t *f = peer_alloc(1, sizeof(*f));
  if (senders < 1 || senders > MAX_SENDERS) peer_fail("that many senders");
  belt_open(&f->belt, senders);
  f->senders = senders;
  f->batch = batch;
  if (to_thread) {
    f->go = g_async_queue_new();
    f->done = g_async_queue_new();
    f->thread = g_thread_new("receiver", receiver_main, f);
  } else {
    f->loop = g_main_loop_new(NULL, FALSE);
    f->wake = wake_new(f->belt.items, on_items, f);
  }
  for (size_t i = 0; i < senders; i++) {
    sender_t *s = &f->sender[i];
    s->flow = f;
    s->id = i;
    s->to.belt = &f->belt;
    s->go = g_async_queue_new();
    s->thread = g_thread_new("sender", sender_main, s);
  }
  return f;
}

static void flow_run(flow_t *f, uint64_t ops, peer_sample_t *s) {
  uint64_t each = (ops + f->senders - 1) / f->senders;
  uint64_t all = each * f->senders;
  uint64_t cpu = peer_cpu_ns();
  uint64_t start = peer_now_ns();
  if (!f->thread) f->wanted = all;
  for (size_t i = 0; i < f->senders; i++) g_async_queue_push(f->sender[i].go, GSIZE_TO_POINTER(each));
  if (f->thread) {
    g_async_queue_push(f->go, GSIZE_TO_POINTER(all));
    g_async_queue_pop(f->done);
  } else {
    g_main_loop_run(f->loop);
  }
  s->amount += peer_now_ns() - start;
  s->cpu_ns += peer_cpu_ns() - cpu;
  s->ops += all;
}

static void send_home(GThread *thread, GAsyncQueue *go) {
  g_async_queue_push(go, GSIZE_TO_POINTER(GO_HOME));
  g_thread_join(thread);
  g_async_queue_unref(go);
}

static void flow_delete(flow_t *f) {
  for (size_t i = 0; i < f->senders; i++) send_home(f->sender[i].thread, f->sender[i].go);
  if (f->thread) {
    send_home(f->thread, f->go);
    g_async_queue_unref(f->done);
  } else {
    wake_delete(f->wake);
    g_main_loop_unref(f->loop);
  }
  belt_close(&f->belt);
  free(f);
}

/* --- implementations ---------------------------------------------------------------------------------------------- */

#define FLOW(id, senders, batch, to_thread)                                                                            \
  void *id##_setup(const peer_size_t *size) {                                                                          \
    (void)size;                                                                                                        \
    return flow_new(senders, batch, to_thread);                                                                        \
  }                                                                                                                    \
  void id##_run(void *state, uint64_t ops, peer_sample_t *s) { flow_run(state, ops, s); }                              \
  void id##_teardown(void *state) { flow_delete(state); }

/* Threads send item by item, a source of the main loop receives all that is there. */
FLOW(chan_thread_loop, 1, 1, 0)
FLOW(chan_3_loop, 3, 1, 0)
FLOW(chan_producers, size->size, 1, 0)
/* 64 items under one lock of the queue. */
FLOW(chan_thread_loop_batch, 1, BELT_BATCH, 0)
/* One thread pushes, another pops, item by item. */
FLOW(chan_threads, 1, 1, 1)

/* --- both ends on one loop ---------------------------------------------------------------------------------------- */

/* The producer pushes until 128 items are there; the source's callback takes them and lets it go on. The queue could be
 * shared with other threads, as our channel can. The loop need not be woken: the flag says that there is something. */
typedef struct hop_s {
  GMainLoop *loop;
  GAsyncQueue *queue;
  wake_t *wake;
  size_t sent;
  size_t received;
  size_t wanted;
} hop_t;

static void hop_produce(hop_t *h) {
  while (h->sent < h->wanted && h->sent - h->received < BELT_CAPACITY)
    g_async_queue_push(h->queue, GSIZE_TO_POINTER(++h->sent));
  g_atomic_int_set(&h->wake->signalled, 1);
}

static void hop_items(gpointer data, gpointer *items, size_t n) {
  hop_t *h = data;
  for (size_t i = 0; i < n; i++) {
    if (GPOINTER_TO_SIZE(items[i]) != ++h->received) peer_fail("an item is lost or overtaken");
  }
  if (h->received == h->wanted) {
    g_main_loop_quit(h->loop);
  } else {
    hop_produce(h);
  }
}

void *chan_loop_setup(const peer_size_t *size) {
  hop_t *h = peer_alloc(1, sizeof(*h));
  (void)size;
  h->loop = g_main_loop_new(NULL, FALSE);
  h->queue = g_async_queue_new();
  h->wake = wake_new(h->queue, hop_items, h);
  return h;
}

void chan_loop_run(void *state, uint64_t ops, peer_sample_t *s) {
  hop_t *h = state;
  uint64_t start = peer_now_ns();
  h->wanted += ops;
  hop_produce(h);
  g_main_loop_run(h->loop);
  s->amount += peer_now_ns() - start;
  s->ops += ops;
}

void chan_loop_teardown(void *state) {
  hop_t *h = state;
  wake_delete(h->wake);
  g_async_queue_unref(h->queue);
  g_main_loop_unref(h->loop);
  free(h);
}
