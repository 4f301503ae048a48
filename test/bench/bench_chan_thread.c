/* SPDX-License-Identifier: MIT
 *
 * Channels from threads to a loop, and from thread to thread.
 */
#include <stdlib.h>

#include "bench_flow.h"

#define PRODUCERS_CAPACITY 128

/* --- ours --------------------------------------------------------------------------------------------------------- */

typedef struct ours_s {
  uvf_chan_t *chan;
  uvf_chan_each_t each;
} ours_t;

static void ours_open(flow_t *f) {
  ours_t *o = f->queue = bench_alloc(1, sizeof(*o));
  bench_must("uvf_chan_create", uvf_chan_create(f->capacity, &o->chan));
}

static void ours_close(flow_t *f) {
  ours_t *o = f->queue;
  uvf_chan_release(o->chan);
  bench_loop_close(&f->b);
  free(o);
}

static void on_items(uvf_chan_each_t *each, void *const *items, size_t n) {
  flow_t *f = each->data;
  for (size_t i = 0; i < n; i++) flow_got(f, items[i]);
  flow_loop_got(f);
}

static void on_end(uvf_chan_each_t *each, int status) {
  flow_t *f = each->data;
  if (status != UV_EOF) bench_fail("the end of a channel", status);
  uv_stop(&f->b.loop);
}

static void ours_loop_open(flow_t *f) {
  ours_open(f);
  ours_t *o = f->queue;
  o->each.data = f;
  bench_must("uvf_chan_each", uvf_chan_each(f->b.root, &o->each, o->chan, 0, on_items, on_end));
}

static void ours_loop_close(flow_t *f) {
  ours_t *o = f->queue;
  uvf_chan_close(o->chan);
  uv_run(&f->b.loop, UV_RUN_DEFAULT); /* until its end */
  ours_close(f);
}

static void ours_send_one(flow_sender_t *s, uint64_t n) {
  ours_t *o = s->flow->queue;
  for (uint64_t i = 0; i < n; i++) {
    bench_must("uvf_chan_send_wait", uvf_chan_send_wait(s->flow->b.root, o->chan, flow_item(s, s->next++)));
  }
}

static void ours_send_many(flow_sender_t *s, uint64_t n) {
  ours_t *o = s->flow->queue;
  void *items[FLOW_BATCH];
  while (n > 0) {
    size_t batch = n < FLOW_BATCH ? (size_t)n : FLOW_BATCH;
    size_t sent;
    for (size_t i = 0; i < batch; i++) items[i] = flow_item(s, s->next++);
    bench_must("uvf_chan_send_many_wait", uvf_chan_send_many_wait(s->flow->b.root, o->chan, items, batch, &sent));
    n -= batch;
  }
}

static void ours_receive_one(flow_t *f, uint64_t n) {
  ours_t *o = f->queue;
  for (uint64_t i = 0; i < n; i++) {
    void *item;
    bench_must("uvf_chan_recv_wait", uvf_chan_recv_wait(f->b.root, o->chan, &item));
    flow_got(f, item);
  }
}

static void ours_receive_many(flow_t *f, uint64_t n) {
  ours_t *o = f->queue;
  void *items[FLOW_BATCH];
  while (n > 0) {
    size_t got;
    bench_must("uvf_chan_recv_many_wait", uvf_chan_recv_many_wait(f->b.root, o->chan, items, FLOW_BATCH, &got));
    for (size_t i = 0; i < got; i++) flow_got(f, items[i]);
    n -= got;
  }
}

static const flow_type_t loop_one = {1, 0, ours_loop_open, ours_loop_close, ours_send_one, flow_receive_on_loop};
static const flow_type_t loop_many = {1, 0, ours_loop_open, ours_loop_close, ours_send_many, flow_receive_on_loop};
static const flow_type_t thread_one = {1, 1, ours_open, ours_close, ours_send_one, ours_receive_one};
static const flow_type_t thread_many = {1, 1, ours_open, ours_close, ours_send_many, ours_receive_many};

/* --- implementations ---------------------------------------------------------------------------------------------- */

#define IMPL(id, label, type, senders, batch)                                                                          \
  static void *id##_setup(size_t size) { return flow_new(&(type), size, senders, batch); }                             \
  static const bench_impl_t id = {label, id##_setup, flow_run, flow_delete};

#define LIST "libuv: mutex, list, async handle"
#define ARRAYS "libuv: mutex, two arrays, async handle"
#define UNBOUNDED "libuv: the list without a bound"
#define RING "libuv: mutex, ring, conditions"

IMPL(ours_loop, "uvflow", loop_one, 1, 1)
IMPL(list_loop, LIST, flow_list, 1, 1)
IMPL(arrays_loop, ARRAYS, flow_arrays, 1, 1)
IMPL(unbounded_loop, UNBOUNDED, flow_list_unbounded, 1, 1)

IMPL(ours_loop_batch, "uvflow", loop_many, 1, FLOW_BATCH)
IMPL(list_loop_batch, LIST, flow_list, 1, FLOW_BATCH)
IMPL(arrays_loop_batch, ARRAYS, flow_arrays, 1, FLOW_BATCH)

/* The row's size is how many threads send. */
#define PRODUCERS_IMPL(id, label, type)                                                                                \
  static void *id##_setup(size_t size) { return flow_new(&(type), PRODUCERS_CAPACITY, size, 1); }                      \
  static const bench_impl_t id = {label, id##_setup, flow_run, flow_delete};

PRODUCERS_IMPL(ours_producers, "uvflow", loop_one)
PRODUCERS_IMPL(list_producers, LIST, flow_list)
PRODUCERS_IMPL(arrays_producers, ARRAYS, flow_arrays)
PRODUCERS_IMPL(unbounded_producers, UNBOUNDED, flow_list_unbounded)

IMPL(ours_threads, "uvflow", thread_one, 1, 1)
IMPL(ring_threads, RING, flow_ring, 1, 1)
IMPL(ours_threads_batch, "uvflow", thread_many, 1, FLOW_BATCH)
IMPL(ring_threads_batch, RING, flow_ring, 1, FLOW_BATCH)

/* --- rows --------------------------------------------------------------------------------------------------------- */

#define LOOP_WHAT                                                                                                      \
  "Threads that send, a loop that receives. Timed: from telling the threads to begin until the loop has the last "     \
  "item, per item, many thousands of items at a time. Ours: uvf_chan_send_wait and uvf_chan_each. Items are numbers "  \
  "that the loop checks and does not follow. "

#define LOOP_RAW                                                                                                       \
  "Raw: nodes that are part of the items in a list under a mutex, swapped as a whole by the loop, a uv_async_send "    \
  "for each item, a condition for senders that find it full; and what wakes the loop less often: an array that is "    \
  "swapped with another, uv_async_send for its first item only. Both take all there is and make room for as much at "  \
  "once. "

#define CAPACITY_WHAT "The same with another capacity (0: a sender waits until its item has been taken)."

#define THREADS_WHAT                                                                                                   \
  "One thread sends, another receives. Timed: from telling both to begin until the last item is there, per item, "     \
  "many thousands of items at a time. Raw: a ring under a mutex, with two conditions that are signalled only when "    \
  "somebody waits. "

#define LOOP_ROW(n, capacity)                                                                                          \
  {                                                                                                                    \
    .name = "chan-thread-loop-" n, .title = "thread to loop, capacity " n, .what = LOOP_WHAT LOOP_RAW CAPACITY_WHAT,   \
    .impls = {&ours_loop, &list_loop, &arrays_loop}, .size = (capacity)                                                \
  }

#define THREADS_ROW(n, capacity)                                                                                       \
  {                                                                                                                    \
    .name = "chan-threads-" n, .title = "thread to thread, capacity " n, .what = THREADS_WHAT CAPACITY_WHAT,           \
    .impls = {&ours_threads, &ring_threads}, .size = (capacity)                                                        \
  }

#define PRODUCERS_ROW(n, threads)                                                                                      \
  {                                                                                                                    \
    .name = "chan-producers-" #n, .title = threads " to loop, capacity 128",                                           \
    .what = LOOP_WHAT LOOP_RAW "How the cost of an item grows with the threads that send.",                            \
    .impls = {&ours_producers, &list_producers, &arrays_producers}, .size = (n), .flags = BENCH_SIDE,                  \
    .series = "channel to a loop, an item, by threads that send", .x = (n)                                             \
  }

const bench_row_t bench_chan_thread_rows[] = {
    {.name = "chan-thread-loop",
     .title = "thread to loop, capacity 128",
     .what = LOOP_WHAT LOOP_RAW "Without a bound: a malloc'ed node for each item, and the sender never waits.",
     .peer = "Go 73",
     .goal = 70,
     .impls = {&ours_loop, &list_loop, &arrays_loop, &unbounded_loop},
     .size = 128,
     .flags = BENCH_SIDE},
    {.name = "chan-thread-loop-batch",
     .title = "thread to loop, 64 at a time",
     .what = LOOP_WHAT LOOP_RAW "Here 64 items are sent in one call, ours with uvf_chan_send_many_wait; the list takes "
                                "a batch as a whole as long as it is not full. Capacity 128.",
     .goal = 30,
     .impls = {&ours_loop_batch, &list_loop_batch, &arrays_loop_batch},
     .size = 128,
     .flags = BENCH_SIDE},
    {.name = "chan-3-loop",
     .title = "3 threads to loop, capacity 128",
     .what = LOOP_WHAT LOOP_RAW "Without a bound: a malloc'ed node for each item, and senders never wait.",
     .goal = 200,
     .impls = {&ours_producers, &list_producers, &arrays_producers, &unbounded_producers},
     .size = 3,
     .flags = BENCH_SIDE},
    {.name = "chan-threads",
     .title = "thread to thread, capacity 128",
     .what = THREADS_WHAT "Ours: uvf_chan_send_wait and uvf_chan_recv_wait, one item a call, as the ring.",
     .goal = 70,
     .impls = {&ours_threads, &ring_threads},
     .size = 128},
    {.name = "chan-threads-batch",
     .title = "thread to thread, 64 at a time",
     .what = THREADS_WHAT "64 items a call at most, on both sides: uvf_chan_send_many_wait, uvf_chan_recv_many_wait. "
                          "Capacity 128.",
     .impls = {&ours_threads_batch, &ring_threads_batch},
     .size = 128},
    PRODUCERS_ROW(1, "1 thread"),
    PRODUCERS_ROW(2, "2 threads"),
    PRODUCERS_ROW(4, "4 threads"),
    PRODUCERS_ROW(8, "8 threads"),
    LOOP_ROW("0", 0),
    LOOP_ROW("1", 1),
    LOOP_ROW("2", 2),
    LOOP_ROW("8", 8),
    LOOP_ROW("1024", 1024),
    THREADS_ROW("0", 0),
    THREADS_ROW("1", 1),
    THREADS_ROW("2", 2),
    THREADS_ROW("8", 8),
    THREADS_ROW("1024", 1024),
    {.name = NULL},
};
