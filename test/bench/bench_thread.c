/* SPDX-License-Identifier: MIT
 *
 * From another thread to the loop: a cancel, against a send to an async handle.
 *
 * One other thread acts when it is told to. Two things are timed:
 *  - the way of a message: from just before the call on the other thread to the callback, the loop asleep in its poll;
 *  - the wake-up: what the loop's thread pays for a message that is already there, without the sleep and the
 *    kernel's scheduling.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "bench.h"

enum { TURN_LOOP = 0, TURN_THREAD = 1, TURN_QUIT = 2 };

/* Long enough for the loop to have gone to sleep. */
#define ASLEEP_NS UINT64_C(30000)

typedef struct hand_s {
  bench_loop_t b;
  uv_thread_t thread;
  atomic_int turn;
  uint64_t wait_ns; /* the thread waits so long before it acts */
  uint64_t sent_ns; /* written by the thread before it acts */
  size_t others;    /* contexts or async handles that live meanwhile */
  uvf_ctx_t **ctx;
  uv_async_t *async;
  uvf_ctx_t *target; /* NULL: the thread sends to async[0] */
  uvf_watch_t watch;
  uint64_t told_ns; /* 0: not yet */
} hand_t;

/* Spins first, since the other side is near; lets others run if it is not. */
static int await_turn_change(hand_t *h, int not_this) {
  for (unsigned int spins = 0;; spins++) {
    int turn = atomic_load_explicit(&h->turn, memory_order_acquire);
    if (turn != not_this) return turn;
    if (spins > 100000) uv_sleep(1);
  }
}

static void thread_main(void *arg) {
  hand_t *h = arg;
  while (await_turn_change(h, TURN_LOOP) == TURN_THREAD) {
    uint64_t from = uv_hrtime();
    while (uv_hrtime() - from < h->wait_ns) {}
    h->sent_ns = uv_hrtime();
    if (h->target) {
      uvf_ctx_cancel(h->target);
    } else {
      uv_async_send(&h->async[0]);
    }
    atomic_store_explicit(&h->turn, TURN_LOOP, memory_order_release);
  }
}

static hand_t *hand_new(size_t others, int with_root, uint64_t wait_ns) {
  hand_t *h = bench_alloc(1, sizeof(*h));
  bench_loop_open(&h->b, with_root);
  h->others = others;
  h->wait_ns = wait_ns;
  atomic_init(&h->turn, TURN_LOOP);
  bench_must("uv_thread_create", uv_thread_create(&h->thread, thread_main, h));
  return h;
}

static void hand_delete(hand_t *h) {
  atomic_store(&h->turn, TURN_QUIT);
  bench_must("uv_thread_join", uv_thread_join(&h->thread));
  bench_loop_close(&h->b);
  free(h->ctx);
  free(h->async);
  free(h);
}

/* --- ours --------------------------------------------------------------------------------------------------------- */

static hand_t *ours_new(size_t size, uint64_t wait_ns) {
  hand_t *h = hand_new(size, 1, wait_ns);
  h->ctx = bench_alloc(size, sizeof(*h->ctx));
  for (size_t i = 0; i < size; i++) {
    bench_must("uvf_ctx_with_timeout", uvf_ctx_with_timeout(h->b.root, BENCH_HOUR_MS, &h->ctx[i]));
  }
  return h;
}

static void *ours_setup_asleep(size_t size) { return ours_new(size, ASLEEP_NS); }

static void *ours_setup_awake(size_t size) { return ours_new(size, 0); }

static void ours_teardown(void *state) {
  hand_t *h = state;
  for (size_t i = 0; i < h->others; i++) uvf_ctx_release(h->ctx[i]);
  hand_delete(h);
}

static void on_over(uvf_watch_t *watch, int status) {
  hand_t *h = watch->data;
  if (status != UV_ECANCELED) bench_fail("a watcher's status", status);
  h->told_ns = uv_hrtime();
  uv_stop(&h->b.loop);
}

static void ours_arm(hand_t *h) {
  h->told_ns = 0;
  bench_must("uvf_ctx_with_cancel", uvf_ctx_with_cancel(h->b.root, &h->target));
  h->watch.data = h;
  bench_must("uvf_ctx_on_done", uvf_ctx_on_done(h->target, &h->watch, on_over));
}

/* --- raw ---------------------------------------------------------------------------------------------------------- */

static void on_async(uv_async_t *async) {
  hand_t *h = async->data;
  h->told_ns = uv_hrtime();
  uv_stop(&h->b.loop);
}

static hand_t *raw_new(size_t size, uint64_t wait_ns) {
  hand_t *h = hand_new(size, 0, wait_ns);
  h->async = bench_alloc(size, sizeof(*h->async));
  for (size_t i = 0; i < size; i++) {
    bench_must("uv_async_init", uv_async_init(&h->b.loop, &h->async[i], on_async));
    h->async[i].data = h;
  }
  return h;
}

static void *raw_setup_asleep(size_t size) { return raw_new(size, ASLEEP_NS); }

static void *raw_setup_awake(size_t size) { return raw_new(size, 0); }

static void *raw_setup_shared(size_t size) {
  (void)size;
  return raw_new(1, 0);
}

static void raw_teardown(void *state) {
  hand_t *h = state;
  for (size_t i = 0; i < h->others; i++) uv_close((uv_handle_t *)&h->async[i], NULL);
  hand_delete(h);
}

/* --- both --------------------------------------------------------------------------------------------------------- */

static void asleep_run(void *state, uint64_t ops, bench_sample_t *s) {
  hand_t *h = state;
  for (uint64_t i = 0; i < ops; i++) {
    if (h->b.root) ours_arm(h);
    h->told_ns = 0;
    atomic_store_explicit(&h->turn, TURN_THREAD, memory_order_release);
    uv_run(&h->b.loop, UV_RUN_DEFAULT);
    uint64_t told = h->told_ns;
    await_turn_change(h, TURN_THREAD); /* the thread may still be inside its call */
    s->amount += told - h->sent_ns;
    s->ops++;
    uvf_ctx_release(h->target); /* NULL does nothing */
    h->target = NULL;
  }
}

static void awake_run(void *state, uint64_t ops, bench_sample_t *s) {
  hand_t *h = state;
  for (uint64_t i = 0; i < ops; i++) {
    if (h->b.root) ours_arm(h);
    h->told_ns = 0;
    atomic_store_explicit(&h->turn, TURN_THREAD, memory_order_release);
    await_turn_change(h, TURN_THREAD);
    uint64_t start = uv_hrtime();
    while (!h->told_ns) bench_turn(&h->b);
    s->amount += uv_hrtime() - start;
    s->ops++;
    uvf_ctx_release(h->target);
    h->target = NULL;
  }
}

static const bench_impl_t ours_asleep = {"uvflow: cancel", ours_setup_asleep, asleep_run, ours_teardown};
static const bench_impl_t raw_asleep = {"libuv: uv_async_send", raw_setup_asleep, asleep_run, raw_teardown};
static const bench_impl_t ours_awake = {"uvflow: 1,000 contexts", ours_setup_awake, awake_run, ours_teardown};
static const bench_impl_t raw_awake = {"libuv: 1,000 async handles", raw_setup_awake, awake_run, raw_teardown};
static const bench_impl_t raw_shared = {"libuv: 1 async handle", raw_setup_shared, awake_run, raw_teardown};

const bench_row_t bench_thread_rows[] = {
    {.name = "cancel-thread",
     .title = "cancel on another thread to callback",
     .what = "The loop sleeps in its poll. Timed: from the clock read just before uvf_ctx_cancel on another thread to "
             "the clock read in the on_done callback; not the making of the context. Raw: the same with uv_async_send. "
             "Most of it is the kernel waking a thread. The samples' length is counted with what is not timed.",
     .impls = {&ours_asleep, &raw_asleep},
     .size = 1,
     .flags = BENCH_ELAPSED},
    {.name = "wakeup-1k",
     .title = "loop's cost of one such wake-up",
     .what = "Another thread has just cancelled a context and the loop is not asleep. Timed: loop turns until the "
             "on_done callback has come, two clock reads included. 1,000 other contexts live meanwhile. Raw: the same "
             "with an async handle for each of 1,000 things, and with a single one. The samples' length is counted "
             "with what is not timed.",
     .impls = {&ours_awake, &raw_awake, &raw_shared},
     .size = 1000,
     .flags = BENCH_ELAPSED},
    {.name = NULL},
};
