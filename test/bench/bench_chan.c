/* SPDX-License-Identifier: MIT
 *
 * Channels between the requests of one loop.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* What passes is a number; the receiver checks that they come one by one. */
static void *item_of(uint64_t number) { return (void *)(uintptr_t)number; /* NOLINT(performance-no-int-to-ptr) */ }

typedef struct hop_s {
  bench_loop_t b;
  uint64_t wanted;
  uint64_t sent;
  uint64_t received;
  /* ours */
  uvf_chan_t *chan;
  uvf_chan_each_t each;
  uvf_chan_req_t send;
  uvf_chan_req_t recv;
  int sending;
  /* raw */
  uv_idle_t idle;
  void **ring;
  size_t capacity;
  size_t head;
  size_t n;
  int full;
} hop_t;

/* A turn may call back and go to sleep: the loop is told to stop, and not asked after each turn. */
static void look(hop_t *h) {
  if (h->received == h->wanted && !h->sending) uv_stop(&h->b.loop);
}

static void got(hop_t *h, const void *item) {
  if ((uintptr_t)item != h->received++) bench_fail("an item is lost or overtaken", 0);
}

/* --- ours --------------------------------------------------------------------------------------------------------- */

static void on_items(uvf_chan_each_t *each, void *const *items, size_t n) {
  hop_t *h = each->data;
  for (size_t i = 0; i < n; i++) got(h, items[i]);
  look(h);
}

static void on_end(uvf_chan_each_t *each, int status) {
  hop_t *h = each->data;
  if (status != UV_EOF) bench_fail("the end of a channel", status);
  uv_stop(&h->b.loop);
}

static void on_sent(uvf_chan_req_t *req, int status);

static void produce(hop_t *h) {
  while (h->sent < h->wanted) {
    void *item = item_of(h->sent);
    int rc = uvf_chan_try_send(h->chan, item);
    h->sent++;
    if (rc == UV_EAGAIN) {
      h->sending = 1;
      bench_must("uvf_chan_send", uvf_chan_send(h->b.root, &h->send, h->chan, item, on_sent));
      return;
    }
    bench_must("uvf_chan_try_send", rc);
  }
}

static void on_sent(uvf_chan_req_t *req, int status) {
  hop_t *h = req->data;
  bench_must("a send's status", status);
  h->sending = 0;
  produce(h);
  look(h);
}

static void *ours_setup(size_t size) {
  hop_t *h = bench_alloc(1, sizeof(*h));
  bench_loop_open(&h->b, 1);
  bench_must("uvf_chan_create", uvf_chan_create(size, &h->chan));
  h->each.data = h;
  h->send.data = h;
  h->recv.data = h;
  return h;
}

static void *each_setup(size_t size) {
  hop_t *h = ours_setup(size);
  bench_must("uvf_chan_each", uvf_chan_each(h->b.root, &h->each, h->chan, 0, on_items, on_end));
  return h;
}

static void ours_teardown(void *state) {
  hop_t *h = state;
  uvf_chan_release(h->chan);
  bench_loop_close(&h->b);
  free(h);
}

static void each_teardown(void *state) {
  hop_t *h = state;
  uvf_chan_close(h->chan);
  uv_run(&h->b.loop, UV_RUN_DEFAULT); /* until its end */
  ours_teardown(h);
}

static void each_run(void *state, uint64_t ops, bench_sample_t *s) {
  hop_t *h = state;
  uint64_t start = uv_hrtime();
  h->wanted += ops;
  produce(h);
  uv_run(&h->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

/* --- ours, a request for each end of each item -------------------------------------------------------------------- */

static void on_op_sent(uvf_chan_req_t *req, int status);

static void op_send(hop_t *h) {
  if (h->sent == h->wanted) return;
  h->sending = 1;
  bench_must("uvf_chan_send", uvf_chan_send(h->b.root, &h->send, h->chan, item_of(h->sent++), on_op_sent));
}

static void on_op_sent(uvf_chan_req_t *req, int status) {
  hop_t *h = req->data;
  bench_must("a send's status", status);
  h->sending = 0;
  op_send(h);
  look(h);
}

static void on_op_received(uvf_chan_req_t *req, int status);

static void op_recv(hop_t *h) {
  if (h->received == h->wanted) return;
  bench_must("uvf_chan_recv", uvf_chan_recv(h->b.root, &h->recv, h->chan, on_op_received));
}

static void on_op_received(uvf_chan_req_t *req, int status) {
  hop_t *h = req->data;
  bench_must("a receive's status", status);
  got(h, req->item);
  op_recv(h);
  look(h);
}

static void op_run(void *state, uint64_t ops, bench_sample_t *s) {
  hop_t *h = state;
  uint64_t start = uv_hrtime();
  h->wanted += ops;
  op_send(h);
  op_recv(h);
  uv_run(&h->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

/* --- raw: a ring and an idle handle ------------------------------------------------------------------------------- */

/* As one writes it for one producer and one consumer: no lock, no request, no context; the idle handle is the promise
 * that no callback runs inside a call, and its turn of the loop is shared by all that is in the ring. */

static void raw_produce(hop_t *h);

static void on_idle(uv_idle_t *idle) {
  hop_t *h = idle->data;
  size_t n = h->n;
  for (size_t i = 0; i < n; i++) {
    void *item = h->ring[h->head];
    if (++h->head == h->capacity) h->head = 0;
    h->n--;
    got(h, item);
  }
  look(h);
  if (h->full) {
    h->full = 0;
    raw_produce(h);
  }
  if (h->n == 0) uv_idle_stop(idle);
}

static void raw_produce(hop_t *h) {
  while (h->sent < h->wanted) {
    size_t tail = h->head + h->n;
    if (h->n == h->capacity) {
      h->full = 1;
      return;
    }
    if (tail >= h->capacity) tail -= h->capacity;
    if (h->n++ == 0) uv_idle_start(&h->idle, on_idle);
    h->ring[tail] = item_of(h->sent++);
  }
}

static void *raw_setup(size_t size) {
  hop_t *h = bench_alloc(1, sizeof(*h));
  bench_loop_open(&h->b, 0);
  h->capacity = size ? size : 1;
  h->ring = bench_alloc(h->capacity, sizeof(*h->ring));
  bench_must("uv_idle_init", uv_idle_init(&h->b.loop, &h->idle));
  h->idle.data = h;
  return h;
}

static void raw_teardown(void *state) {
  hop_t *h = state;
  uv_close((uv_handle_t *)&h->idle, NULL);
  bench_loop_close(&h->b);
  free(h->ring);
  free(h);
}

static void raw_run(void *state, uint64_t ops, bench_sample_t *s) {
  hop_t *h = state;
  uint64_t start = uv_hrtime();
  h->wanted += ops;
  raw_produce(h);
  uv_run(&h->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

/* --- raw: requests with callbacks --------------------------------------------------------------------------------- */

/* The least that has a callback for each send and each receive, not inside the call: a ring, one sender and one
 * receiver that may wait, and a list of callbacks that are due, run by an idle handle, which goes on with what becomes
 * due meanwhile, 1,024 of them in a turn. */

typedef struct call_s call_t;

struct call_s {
  call_t *next;
  void (*cb)(call_t *call);
  void *item;
  void *data;
};

typedef struct calls_s {
  bench_loop_t b;
  uv_idle_t idle;
  call_t *due;
  call_t **end;
  call_t *sender; /* that wait */
  call_t *receiver;
  void **ring;
  size_t capacity;
  size_t head;
  size_t n;
  call_t send;
  call_t recv;
  uint64_t wanted;
  uint64_t sent;
  uint64_t received;
  int sending;
} calls_t;

static void calls_idle(uv_idle_t *idle) {
  calls_t *c = idle->data;
  for (int i = 0; i < 1024 && c->due; i++) {
    call_t *call = c->due;
    c->due = call->next;
    if (!c->due) c->end = &c->due;
    call->cb(call);
  }
  if (!c->due) uv_idle_stop(idle);
}

static void calls_due(calls_t *c, call_t *call) {
  call->next = NULL;
  if (!c->due) uv_idle_start(&c->idle, calls_idle);
  *c->end = call;
  c->end = &call->next;
}

static void calls_put(calls_t *c, void *item) {
  size_t tail = c->head + c->n++;
  if (tail >= c->capacity) tail -= c->capacity;
  c->ring[tail] = item;
}

static void calls_send(calls_t *c, call_t *call) {
  if (c->receiver) {
    c->receiver->item = call->item;
    calls_due(c, c->receiver);
    c->receiver = NULL;
  } else if (c->n < c->capacity) {
    calls_put(c, call->item);
  } else {
    c->sender = call;
    return;
  }
  calls_due(c, call);
}

static void calls_recv(calls_t *c, call_t *call) {
  if (c->n == 0) {
    c->receiver = call;
    return;
  }
  call->item = c->ring[c->head];
  if (++c->head == c->capacity) c->head = 0;
  c->n--;
  calls_due(c, call);
  if (c->sender) {
    calls_put(c, c->sender->item);
    calls_due(c, c->sender);
    c->sender = NULL;
  }
}

static void calls_next_send(calls_t *c) {
  if (c->sent == c->wanted) return;
  c->sending = 1;
  c->send.item = item_of(c->sent++);
  calls_send(c, &c->send);
}

static void calls_look(calls_t *c) {
  if (c->received == c->wanted && !c->sending) uv_stop(&c->b.loop);
}

static void calls_sent(call_t *call) {
  calls_t *c = call->data;
  c->sending = 0;
  calls_next_send(c);
  calls_look(c);
}

static void calls_next_recv(calls_t *c) {
  if (c->received < c->wanted) calls_recv(c, &c->recv);
}

static void calls_received(call_t *call) {
  calls_t *c = call->data;
  if ((uintptr_t)call->item != c->received++) bench_fail("an item is lost or overtaken", 0);
  calls_next_recv(c);
  calls_look(c);
}

static void *calls_setup(size_t size) {
  calls_t *c = bench_alloc(1, sizeof(*c));
  bench_loop_open(&c->b, 0);
  c->capacity = size;
  c->ring = bench_alloc(size, sizeof(*c->ring));
  c->end = &c->due;
  bench_must("uv_idle_init", uv_idle_init(&c->b.loop, &c->idle));
  c->idle.data = c;
  c->send = (call_t){.cb = calls_sent, .data = c};
  c->recv = (call_t){.cb = calls_received, .data = c};
  return c;
}

static void calls_teardown(void *state) {
  calls_t *c = state;
  uv_close((uv_handle_t *)&c->idle, NULL);
  bench_loop_close(&c->b);
  free(c->ring);
  free(c);
}

static void calls_run(void *state, uint64_t ops, bench_sample_t *s) {
  calls_t *c = state;
  uint64_t start = uv_hrtime();
  c->wanted += ops;
  calls_next_send(c);
  calls_next_recv(c);
  uv_run(&c->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static const bench_impl_t ours = {"uvflow", each_setup, each_run, each_teardown};
static const bench_impl_t raw = {"libuv: ring, idle handle", raw_setup, raw_run, raw_teardown};
static const bench_impl_t ours_op = {"uvflow", ours_setup, op_run, ours_teardown};
static const bench_impl_t raw_op = {"libuv: ring, due callbacks, idle handle", calls_setup, calls_run, calls_teardown};

#define HOP_WHAT                                                                                                       \
  "On one loop. The producer puts items in until the channel is full (uvf_chan_try_send), then sends one with a "      \
  "callback and goes on in that; the consumer is uvf_chan_each. Items are numbers, which it checks. Timed: from the "  \
  "first item's send to the last one's arrival, per item. Raw: a ring without any lock, for exactly these two, whose " \
  "consumer is an idle handle's callback, and which lets the producer go on from there. It can be shared with nobody " \
  "and waits under nothing: the floor rather than a rival. "

#define LOOP_ROW(n, capacity)                                                                                          \
  {                                                                                                                    \
    .name = "chan-loop-" n, .title = "hop on one loop, capacity " n,                                                   \
    .what = HOP_WHAT "The same with another capacity; the raw ring has room for one where ours has for none.",         \
    .impls = {&ours, &raw}, .size = (capacity)                                                                         \
  }

const bench_row_t bench_chan_rows[] = {
    {.name = "chan-loop",
     .title = "hop on one loop, capacity 128",
     .what = HOP_WHAT,
     .peer = "Go 67",
     .goal = 20,
     .impls = {&ours, &raw},
     .size = 128,
     .flags = BENCH_SIDE},
    {.name = "chan-loop-op",
     .title = "the same, a request for each send and recv",
     .what =
         "Each item is sent by a uvf_chan_send and received by a uvf_chan_recv, and the callback of each starts the "
         "next. Raw: a ring, and a list of callbacks that are due, run by an idle handle.",
     .impls = {&ours_op, &raw_op},
     .size = 128},
    LOOP_ROW("0", 0),
    LOOP_ROW("1", 1),
    LOOP_ROW("2", 2),
    LOOP_ROW("8", 8),
    LOOP_ROW("1024", 1024),
    {.name = NULL},
};
