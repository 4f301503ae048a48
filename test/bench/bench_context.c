/* SPDX-License-Identifier: MIT
 *
 * Making and ending one context at a time: alone, and among many that are outstanding.
 */
#include <stdlib.h>

#include "bench.h"

static void *one_setup(size_t size) {
  (void)size;
  bench_loop_t *b = bench_alloc(1, sizeof(*b));
  bench_loop_open(b, 1);
  return b;
}

static void one_teardown(void *state) {
  bench_loop_close(state);
  free(state);
}

static void timeout_run(void *state, uint64_t ops, bench_sample_t *s) {
  bench_loop_t *b = state;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    uvf_ctx_t *ctx;
    bench_must("uvf_ctx_with_timeout", uvf_ctx_with_timeout(b->root, BENCH_HOUR_MS, &ctx));
    uvf_ctx_cancel(ctx);
    uvf_ctx_release(ctx);
    if (bench_turn_due(i)) bench_turn(b);
  }
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static void cancel_run(void *state, uint64_t ops, bench_sample_t *s) {
  bench_loop_t *b = state;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    uvf_ctx_t *ctx;
    bench_must("uvf_ctx_with_cancel", uvf_ctx_with_cancel(b->root, &ctx));
    uvf_ctx_cancel(ctx);
    uvf_ctx_release(ctx);
    if (bench_turn_due(i)) bench_turn(b);
  }
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static void turn_run(void *state, uint64_t ops, bench_sample_t *s) {
  bench_loop_t *b = state;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) bench_turn(b);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static void *plain_setup(size_t size) {
  (void)size;
  bench_loop_t *b = bench_alloc(1, sizeof(*b));
  bench_loop_open(b, 0);
  return b;
}

/* --- among many --------------------------------------------------------------------------------------------------- */

typedef struct ring_s {
  bench_loop_t b;
  uvf_ctx_t **ctx;
  size_t n;
  size_t at;
  uint64_t seed;
} ring_t;

static void *ring_setup(size_t size) {
  ring_t *r = bench_alloc(1, sizeof(*r));
  bench_loop_open(&r->b, 1);
  r->ctx = bench_alloc(size, sizeof(*r->ctx));
  r->n = size;
  r->seed = UINT64_C(0x9e3779b97f4a7c15);
  for (size_t i = 0; i < size; i++) {
    bench_must("uvf_ctx_with_timeout", uvf_ctx_with_timeout(r->b.root, BENCH_HOUR_MS, &r->ctx[i]));
  }
  return r;
}

static void ring_teardown(void *state) {
  ring_t *r = state;
  for (size_t i = 0; i < r->n; i++) uvf_ctx_release(r->ctx[i]);
  bench_loop_close(&r->b);
  free(r->ctx);
  free(r);
}

static inline void ring_replace(ring_t *r, size_t i) {
  uvf_ctx_cancel(r->ctx[i]);
  uvf_ctx_release(r->ctx[i]);
  bench_must("uvf_ctx_with_timeout", uvf_ctx_with_timeout(r->b.root, BENCH_HOUR_MS, &r->ctx[i]));
}

static void rotate_run(void *state, uint64_t ops, bench_sample_t *s) {
  ring_t *r = state;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    ring_replace(r, r->at);
    if (++r->at == r->n) r->at = 0;
    if (bench_turn_due(i)) bench_turn(&r->b);
  }
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static void random_run(void *state, uint64_t ops, bench_sample_t *s) {
  ring_t *r = state;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    r->seed ^= r->seed << 13;
    r->seed ^= r->seed >> 7;
    r->seed ^= r->seed << 17;
    ring_replace(r, (size_t)(r->seed % r->n));
    if (bench_turn_due(i)) bench_turn(&r->b);
  }
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static const bench_impl_t ours_timeout = {"uvflow", one_setup, timeout_run, one_teardown};
static const bench_impl_t ours_cancel = {"uvflow", one_setup, cancel_run, one_teardown};
static const bench_impl_t ours_turn = {"uvflow: a loop with a root", one_setup, turn_run, one_teardown};
static const bench_impl_t raw_turn = {"libuv: a loop without", plain_setup, turn_run, one_teardown};
static const bench_impl_t ours_rotate = {"uvflow", ring_setup, rotate_run, ring_teardown};
static const bench_impl_t ours_random = {"uvflow", ring_setup, random_run, ring_teardown};

#define ROTATE_WHAT                                                                                                    \
  "Contexts with timeouts of 1 h stand under a root. Timed: the oldest is cancelled, released and replaced by a new "  \
  "one; one loop turn every 256 of them. Both sides walk their memory in order; see random-1m for one that does "      \
  "not. Raw: timers in one array, the oldest stopped and started again; it allocates nothing and reads no clock."

/* Of rows that grow with the timeouts outstanding. */
#define ROTATE_GROWS(n)                                                                                                \
  .what = ROTATE_WHAT, .impls = {&ours_rotate, &bench_raw_timer_rotate}, .size = (n), .flags = BENCH_SIDE,             \
  .series = "with_timeout, oldest replaced, by timeouts outstanding", .x = (n)

const bench_row_t bench_context_rows[] = {
    {.name = "timeout",
     .title = "with_timeout(1 h) + cancel + release",
     .what = "Timed: the three calls on one root, nothing else outstanding; one loop turn every 256 of them. The "
             "context's memory comes from the library's free list after the first. Ours reads the clock once for each, "
             "libuv's timers do not.",
     .peer = "Go 760",
     .goal = 90,
     .impls = {&ours_timeout, &bench_raw_timer_naive, &bench_raw_timer_pooled},
     .size = 1,
     .flags = BENCH_SIDE},
    {.name = "rotate-1", .title = "oldest of 1 timeout replaced", ROTATE_GROWS(1)},
    {.name = "rotate-1k", .title = "oldest of 1,000 timeouts replaced", ROTATE_GROWS(1000)},
    {.name = "rotate-100k", .title = "oldest of 100,000 timeouts replaced", ROTATE_GROWS(100000)},
    {.name = "rotate-1m",
     .title = "oldest of 1,000,000 timeouts replaced",
     .peer = "Go 1,690",
     .goal = 120,
     ROTATE_GROWS(1000000)},
    {.name = "random-1m",
     .title = "some of 1,000,000 timeouts replaced",
     .what = "As rotate-1m, but a random one is replaced, so that nearly every access misses the caches on both sides.",
     .impls = {&ours_random, &bench_raw_timer_random},
     .size = 1000000,
     .flags = BENCH_SIDE},
    {.name = "cancel",
     .title = "with_cancel + cancel + release",
     .what = "Timed: the three calls on one root, nothing else outstanding; one loop turn every 256 of them. libuv has "
             "nothing like it; the floor is a malloc and free of 160 bytes.",
     .peer = "tokio 331",
     .goal = 40,
     .impls = {&ours_cancel, &bench_raw_malloc},
     .size = 160,
     .flags = BENCH_SIDE},
    {.name = "turn",
     .title = "loop turn with nothing to do",
     .what = "Timed: uv_run(UV_RUN_NOWAIT) on a loop with one idle handle. What a root adds to every turn of a loop "
             "that does not use it.",
     .impls = {&ours_turn, &raw_turn},
     .size = 1},
    {.name = NULL},
};
