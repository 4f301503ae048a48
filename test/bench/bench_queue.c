/* SPDX-License-Identifier: MIT
 *
 * Queues between threads as they are written by hand on plain libuv.
 */
#include <stdlib.h>
#include <string.h>

#include "bench_flow.h"

/* --- a list and an async handle ----------------------------------------------------------------------------------- */

static void list_take(uv_async_t *async) {
  list_queue_t *q = async->data;
  uv_mutex_lock(&q->mutex);
  flow_node_t *node = q->first;
  size_t waiting = q->waiting;
  q->first = NULL;
  q->end = &q->first;
  q->taken += q->n;
  q->n = 0;
  uv_mutex_unlock(&q->mutex);
  if (waiting) uv_cond_broadcast(&q->room);
  while (node) {
    flow_node_t *next = node->next;
    q->cb(q->arg, node->item);
    node = next;
  }
}

void list_queue_open(list_queue_t *q, uv_loop_t *loop, size_t capacity, list_queue_cb cb, void *arg) {
  memset(q, 0, sizeof(*q));
  bench_must("uv_mutex_init", uv_mutex_init(&q->mutex));
  bench_must("uv_cond_init", uv_cond_init(&q->room));
  bench_must("uv_async_init", uv_async_init(loop, &q->async, list_take));
  q->async.data = q;
  q->end = &q->first;
  q->capacity = capacity;
  q->cb = cb;
  q->arg = arg;
}

void list_queue_close(list_queue_t *q) { uv_close((uv_handle_t *)&q->async, NULL); }

void list_queue_destroy(list_queue_t *q) {
  uv_mutex_destroy(&q->mutex);
  uv_cond_destroy(&q->room);
}

static void list_wait(list_queue_t *q) {
  q->waiting++;
  uv_cond_wait(&q->room, &q->mutex);
  q->waiting--;
}

/* A batch goes in as a whole once there is room for one: it may stick out by what it has more than that. */
void list_queue_send(list_queue_t *q, flow_node_t *first, flow_node_t **end, size_t n) {
  size_t capacity = q->capacity ? q->capacity : 1;
  uv_mutex_lock(&q->mutex);
  while (q->n >= capacity) list_wait(q);
  *q->end = first;
  q->end = end;
  q->n += n;
  q->put += n;
  uint64_t ticket = q->put;
  uv_mutex_unlock(&q->mutex);
  uv_async_send(&q->async);
  if (q->capacity) return;
  uv_mutex_lock(&q->mutex);
  while (q->taken < ticket) list_wait(q);
  uv_mutex_unlock(&q->mutex);
}

typedef struct list_flow_s {
  list_queue_t q;
  flow_node_t *nodes[FLOW_MAX_SENDERS];
} list_flow_t;

static void list_item(void *arg, void *item) {
  flow_got(arg, item);
  flow_loop_got(arg);
}

static void list_open(flow_t *f) {
  list_flow_t *l = f->queue = bench_alloc(1, sizeof(*l));
  list_queue_open(&l->q, &f->b.loop, f->capacity, list_item, f);
  for (size_t i = 0; i < f->senders; i++) l->nodes[i] = bench_alloc(FLOW_NODES, sizeof(flow_node_t));
}

static void list_close(flow_t *f) {
  list_flow_t *l = f->queue;
  list_queue_close(&l->q);
  bench_loop_close(&f->b);
  list_queue_destroy(&l->q);
  for (size_t i = 0; i < f->senders; i++) free(l->nodes[i]);
  free(l);
}

static void list_send(flow_sender_t *s, uint64_t n) {
  list_flow_t *l = s->flow->queue;
  flow_node_t *nodes = l->nodes[s->id];
  while (n > 0) {
    size_t batch = s->flow->batch < n ? s->flow->batch : (size_t)n;
    flow_node_t *first = NULL;
    flow_node_t **end = &first;
    for (size_t i = 0; i < batch; i++) {
      flow_node_t *node = &nodes[s->next % FLOW_NODES];
      node->item = flow_item(s, s->next++);
      node->next = NULL;
      *end = node;
      end = &node->next;
    }
    list_queue_send(&l->q, first, end, batch);
    n -= batch;
  }
}

const flow_type_t flow_list = {0, 0, list_open, list_close, list_send, flow_receive_on_loop};

/* --- the same, without a bound ------------------------------------------------------------------------------------ */

typedef struct free_list_s {
  uv_mutex_t mutex;
  flow_node_t *first;
  flow_node_t **end;
  uv_async_t async;
} free_list_t;

static void unbounded_take(uv_async_t *async) {
  flow_t *f = async->data;
  free_list_t *l = f->queue;
  uv_mutex_lock(&l->mutex);
  flow_node_t *node = l->first;
  l->first = NULL;
  l->end = &l->first;
  uv_mutex_unlock(&l->mutex);
  while (node) {
    flow_node_t *next = node->next;
    flow_got(f, node->item);
    free(node);
    node = next;
  }
  flow_loop_got(f);
}

static void unbounded_open(flow_t *f) {
  free_list_t *l = f->queue = bench_alloc(1, sizeof(*l));
  bench_must("uv_mutex_init", uv_mutex_init(&l->mutex));
  bench_must("uv_async_init", uv_async_init(&f->b.loop, &l->async, unbounded_take));
  l->async.data = f;
  l->end = &l->first;
}

static void unbounded_close(flow_t *f) {
  free_list_t *l = f->queue;
  uv_close((uv_handle_t *)&l->async, NULL);
  bench_loop_close(&f->b);
  uv_mutex_destroy(&l->mutex);
  free(l);
}

static void unbounded_send(flow_sender_t *s, uint64_t n) {
  free_list_t *l = s->flow->queue;
  for (uint64_t i = 0; i < n; i++) {
    flow_node_t *node = malloc(sizeof(*node));
    if (!node) bench_fail("malloc", UV_ENOMEM);
    node->item = flow_item(s, s->next++);
    node->next = NULL;
    uv_mutex_lock(&l->mutex);
    *l->end = node;
    l->end = &node->next;
    uv_mutex_unlock(&l->mutex);
    uv_async_send(&l->async);
  }
}

const flow_type_t flow_list_unbounded = {0, 0, unbounded_open, unbounded_close, unbounded_send, flow_receive_on_loop};

/* --- two arrays --------------------------------------------------------------------------------------------------- */

typedef struct arrays_s {
  uv_mutex_t mutex;
  uv_cond_t room;
  void **in;
  void **out;
  size_t n;
  size_t waiting;
  uint64_t put;
  uint64_t taken;
  uv_async_t async;
} arrays_t;

static void arrays_take(uv_async_t *async) {
  flow_t *f = async->data;
  arrays_t *a = f->queue;
  uv_mutex_lock(&a->mutex);
  void **items = a->in;
  size_t n = a->n;
  size_t waiting = a->waiting;
  a->in = a->out;
  a->out = items;
  a->n = 0;
  a->taken += n;
  uv_mutex_unlock(&a->mutex);
  if (waiting) uv_cond_broadcast(&a->room);
  for (size_t i = 0; i < n; i++) flow_got(f, items[i]);
  flow_loop_got(f);
}

static void arrays_open(flow_t *f) {
  arrays_t *a = f->queue = bench_alloc(1, sizeof(*a));
  size_t size = f->capacity ? f->capacity : 1;
  bench_must("uv_mutex_init", uv_mutex_init(&a->mutex));
  bench_must("uv_cond_init", uv_cond_init(&a->room));
  bench_must("uv_async_init", uv_async_init(&f->b.loop, &a->async, arrays_take));
  a->async.data = f;
  a->in = bench_alloc(size, sizeof(*a->in));
  a->out = bench_alloc(size, sizeof(*a->out));
}

static void arrays_close(flow_t *f) {
  arrays_t *a = f->queue;
  uv_close((uv_handle_t *)&a->async, NULL);
  bench_loop_close(&f->b);
  uv_mutex_destroy(&a->mutex);
  uv_cond_destroy(&a->room);
  free(a->in);
  free(a->out);
  free(a);
}

static void arrays_wait(arrays_t *a) {
  a->waiting++;
  uv_cond_wait(&a->room, &a->mutex);
  a->waiting--;
}

/* Puts in what there is room for, at least one; returns how many. */
static size_t arrays_put(flow_t *f, arrays_t *a, void *const *items, size_t n) {
  size_t size = f->capacity ? f->capacity : 1;
  uv_mutex_lock(&a->mutex);
  while (a->n == size) arrays_wait(a);
  size_t before = a->n;
  if (n > size - before) n = size - before;
  memcpy(a->in + before, items, n * sizeof(*items));
  a->n += n;
  a->put += n;
  uint64_t ticket = a->put;
  uv_mutex_unlock(&a->mutex);
  if (before == 0) uv_async_send(&a->async);
  if (f->capacity) return n;
  uv_mutex_lock(&a->mutex);
  while (a->taken < ticket) arrays_wait(a);
  uv_mutex_unlock(&a->mutex);
  return n;
}

static void arrays_send(flow_sender_t *s, uint64_t n) {
  void *items[FLOW_BATCH];
  while (n > 0) {
    size_t batch = s->flow->batch < n ? s->flow->batch : (size_t)n;
    for (size_t i = 0; i < batch; i++) items[i] = flow_item(s, s->next++);
    for (size_t sent = 0; sent < batch;) {
      sent += arrays_put(s->flow, s->flow->queue, items + sent, batch - sent);
    }
    n -= batch;
  }
}

const flow_type_t flow_arrays = {0, 0, arrays_open, arrays_close, arrays_send, flow_receive_on_loop};

/* --- a ring and two conditions ------------------------------------------------------------------------------------ */

void ring_queue_open(ring_queue_t *q, size_t capacity) {
  memset(q, 0, sizeof(*q));
  bench_must("uv_mutex_init", uv_mutex_init(&q->mutex));
  bench_must("uv_cond_init", uv_cond_init(&q->room));
  bench_must("uv_cond_init", uv_cond_init(&q->items));
  q->capacity = capacity;
  q->size = capacity ? capacity : 1;
  q->ring = bench_alloc(q->size, sizeof(*q->ring));
}

void ring_queue_destroy(ring_queue_t *q) {
  uv_mutex_destroy(&q->mutex);
  uv_cond_destroy(&q->room);
  uv_cond_destroy(&q->items);
  free(q->ring);
}

static void ring_wait_room(ring_queue_t *q) {
  q->senders_wait++;
  uv_cond_wait(&q->room, &q->mutex);
  q->senders_wait--;
}

/* Under the mutex. */
static size_t ring_put(ring_queue_t *q, void *const *items, size_t n) {
  size_t room = q->size - q->n;
  size_t tail = q->head + q->n;
  if (tail >= q->size) tail -= q->size;
  if (n > room) n = room;
  for (size_t i = 0; i < n; i++) {
    q->ring[tail] = items[i];
    if (++tail == q->size) tail = 0;
  }
  q->n += n;
  q->put += n;
  return n;
}

/* Whoever waits is signalled when the mutex is free again, or else it would wake only to wait for that. */
void ring_queue_send(ring_queue_t *q, void *const *items, size_t n) {
  uv_mutex_lock(&q->mutex);
  for (size_t sent = 0; sent < n;) {
    if (sent && q->receivers_wait) uv_cond_signal(&q->items);
    while (q->n == q->size) ring_wait_room(q);
    sent += ring_put(q, items + sent, n - sent);
  }
  size_t waiting = q->receivers_wait;
  uint64_t ticket = q->put;
  uv_mutex_unlock(&q->mutex);
  if (waiting) uv_cond_signal(&q->items);
  if (q->capacity) return;
  uv_mutex_lock(&q->mutex);
  while (q->taken < ticket) ring_wait_room(q);
  uv_mutex_unlock(&q->mutex);
}

/* Under the mutex. */
static size_t ring_take(ring_queue_t *q, void **items, size_t max) {
  size_t n = q->n < max ? q->n : max;
  for (size_t i = 0; i < n; i++) {
    items[i] = q->ring[q->head];
    if (++q->head == q->size) q->head = 0;
  }
  q->n -= n;
  q->taken += n;
  return n;
}

size_t ring_queue_receive(ring_queue_t *q, void **items, size_t max) {
  uv_mutex_lock(&q->mutex);
  while (q->n == 0) {
    q->receivers_wait++;
    uv_cond_wait(&q->items, &q->mutex);
    q->receivers_wait--;
  }
  size_t n = ring_take(q, items, max);
  size_t waiting = q->senders_wait;
  uv_mutex_unlock(&q->mutex);
  if (waiting) uv_cond_broadcast(&q->room);
  return n;
}

int ring_queue_try_receive(ring_queue_t *q, void **item) {
  uv_mutex_lock(&q->mutex);
  size_t n = q->n ? ring_take(q, item, 1) : 0;
  size_t waiting = q->senders_wait;
  uv_mutex_unlock(&q->mutex);
  if (n && waiting) uv_cond_broadcast(&q->room);
  return n != 0;
}

static void ring_open(flow_t *f) {
  ring_queue_t *q = f->queue = bench_alloc(1, sizeof(*q));
  ring_queue_open(q, f->capacity);
}

static void ring_close(flow_t *f) {
  ring_queue_destroy(f->queue);
  free(f->queue);
  bench_loop_close(&f->b);
}

static void ring_send(flow_sender_t *s, uint64_t n) {
  void *items[FLOW_BATCH];
  while (n > 0) {
    size_t batch = s->flow->batch < n ? s->flow->batch : (size_t)n;
    for (size_t i = 0; i < batch; i++) items[i] = flow_item(s, s->next++);
    ring_queue_send(s->flow->queue, items, batch);
    n -= batch;
  }
}

static void ring_receive(flow_t *f, uint64_t n) {
  void *items[FLOW_BATCH];
  while (n > 0) {
    size_t got = ring_queue_receive(f->queue, items, f->batch);
    for (size_t i = 0; i < got; i++) flow_got(f, items[i]);
    n -= got;
  }
}

const flow_type_t flow_ring = {0, 1, ring_open, ring_close, ring_send, ring_receive};
