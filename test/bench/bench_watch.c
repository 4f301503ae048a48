/* SPDX-License-Identifier: MIT
 *
 * Being told: on_done, a cancel on the loop's own thread, and the delivery by the loop.
 */
#include <stdlib.h>

#include "bench.h"

typedef struct crowd_s crowd_t;

typedef struct watched_s {
  uvf_watch_t watch;
  uv_timer_t timer; /* raw */
  crowd_t *crowd;
} watched_t;

struct crowd_s {
  bench_loop_t b;
  watched_t *each;
  size_t n; /* watchers a turn */
  size_t told;
};

static crowd_t *crowd_new(size_t size, int with_root) {
  crowd_t *c = bench_alloc(1, sizeof(*c));
  bench_loop_open(&c->b, with_root);
  c->each = bench_alloc(size, sizeof(*c->each));
  c->n = size;
  for (size_t i = 0; i < size; i++) {
    c->each[i].crowd = c;
    c->each[i].watch.data = c;
  }
  return c;
}

static void *ours_setup(size_t size) { return crowd_new(size, 1); }

static void *raw_setup(size_t size) { return crowd_new(size, 0); }

static void crowd_teardown(void *state) {
  crowd_t *c = state;
  bench_loop_close(&c->b);
  free(c->each);
  free(c);
}

static void on_over(uvf_watch_t *watch, int status) {
  crowd_t *c = watch->data;
  if (status != UV_ECANCELED) bench_fail("a watcher's status", status);
  c->told++;
}

static void ours_run(void *state, uint64_t ops, bench_sample_t *s) {
  crowd_t *c = state;
  uint64_t start = uv_hrtime();
  for (uint64_t done = 0; done < ops; done += c->n) {
    c->told = 0;
    for (size_t i = 0; i < c->n; i++) {
      uvf_ctx_t *ctx;
      bench_must("uvf_ctx_with_cancel", uvf_ctx_with_cancel(c->b.root, &ctx));
      bench_must("uvf_ctx_on_done", uvf_ctx_on_done(ctx, &c->each[i].watch, on_over));
      uvf_ctx_cancel(ctx);
      uvf_ctx_release(ctx);
    }
    while (c->told < c->n) bench_turn(&c->b);
    s->ops += c->n;
  }
  s->amount += uv_hrtime() - start;
}

static void on_closed(uv_handle_t *handle) {
  crowd_t *c = handle->data;
  c->told++;
}

/* libuv has no deferred call; what it calls back "soon" without a list by hand is the close of a handle. */
static void raw_run(void *state, uint64_t ops, bench_sample_t *s) {
  crowd_t *c = state;
  uint64_t start = uv_hrtime();
  for (uint64_t done = 0; done < ops; done += c->n) {
    c->told = 0;
    for (size_t i = 0; i < c->n; i++) {
      uv_timer_init(&c->b.loop, &c->each[i].timer);
      c->each[i].timer.data = c;
      uv_close((uv_handle_t *)&c->each[i].timer, on_closed);
    }
    while (c->told < c->n) bench_turn(&c->b);
    s->ops += c->n;
  }
  s->amount += uv_hrtime() - start;
}

static const bench_impl_t ours = {"uvflow", ours_setup, ours_run, crowd_teardown};
static const bench_impl_t raw = {"libuv: handle init + close + callback", raw_setup, raw_run, crowd_teardown};

const bench_row_t bench_watch_rows[] = {
    {.name = "watch-64",
     .title = "on_done + cancel + callback, 64 a turn",
     .what = "Timed: with_cancel, on_done, cancel and release 64 times, then loop turns until all 64 callbacks have "
             "come; per callback. Raw: a pooled handle is initialised and closed, and its close callback awaited: a "
             "call back soon by what libuv has, without a list by hand.",
     .impls = {&ours, &raw},
     .size = 64},
    {.name = "watch-1",
     .title = "on_done + cancel + callback, 1 a turn",
     .what = "The same with one a turn: what a turn of the loop costs is in it.",
     .impls = {&ours, &raw},
     .size = 1},
    {.name = NULL},
};
