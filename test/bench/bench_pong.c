/* SPDX-License-Identifier: MIT
 *
 * One item there and one back on one loop.
 */
#include <stdlib.h>

#include "bench_pong.h"

/* --- a court: two channels, and each end sends back what it gets -------------------------------------------------- */

static void on_sent(uvf_chan_req_t *req, int status) {
  end_t *e = req->data;
  bench_must("a send's status", status);
  e->sending = 0;
  if (e->due) court_hit(e);
}

void court_hit(end_t *e) {
  e->due = e->sending;
  if (e->due) return;
  int rc = uvf_chan_try_send(e->out, BALL);
  if (rc != UV_EAGAIN) {
    bench_must("uvf_chan_try_send", rc);
    return;
  }
  e->sending = 1;
  bench_must("uvf_chan_send", uvf_chan_send(e->court->b.root, &e->req, e->out, BALL, on_sent));
}

static void on_ball(uvf_chan_each_t *each, void *const *items, size_t n) {
  end_t *e = each->data;
  court_t *c = e->court;
  must_be_ball(items[0]);
  if (n != 1) bench_fail("there is one ball only", 0);
  if (e == &c->end[0] && --c->left == 0) {
    uv_stop(&c->b.loop);
    return;
  }
  court_hit(e);
}

static void on_end(uvf_chan_each_t *each, int status) {
  end_t *e = each->data;
  if (status != UV_EOF) bench_fail("the end of a channel", status);
  if (++e->court->over == 2) uv_stop(&e->court->b.loop);
}

court_t *court_new(size_t capacity) {
  court_t *c = bench_alloc(1, sizeof(*c));
  uvf_chan_t *chan[2];
  bench_loop_open(&c->b, 1);
  for (int i = 0; i < 2; i++) bench_must("uvf_chan_create", uvf_chan_create(capacity, &chan[i]));
  for (int i = 0; i < 2; i++) {
    end_t *e = &c->end[i];
    e->court = c;
    e->in = chan[i];
    e->out = chan[1 - i];
    e->each.data = e;
    e->req.data = e;
  }
  return c;
}

void court_each(court_t *c, int i) {
  end_t *e = &c->end[i];
  bench_must("uvf_chan_each", uvf_chan_each(c->b.root, &e->each, e->in, 0, on_ball, on_end));
}

void court_delete(court_t *c) {
  for (int i = 0; i < 2; i++) uvf_chan_release(c->end[i].in);
  bench_loop_close(&c->b);
  free(c);
}

/* --- on one loop -------------------------------------------------------------------------------------------------- */

static court_t *loop_new(size_t capacity) {
  court_t *c = court_new(capacity);
  court_each(c, 0);
  court_each(c, 1);
  return c;
}

static void loop_run(void *state, uint64_t ops, bench_sample_t *s) {
  court_t *c = state;
  uint64_t start = uv_hrtime();
  c->left = ops;
  court_hit(&c->end[0]);
  uv_run(&c->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static void loop_delete(void *state) {
  court_t *c = state;
  for (int i = 0; i < 2; i++) uvf_chan_close(c->end[i].in);
  uv_run(&c->b.loop, UV_RUN_DEFAULT);
  court_delete(c);
}

/* Raw: two slots and the idle handles that call back for them. */
typedef struct slots_s {
  bench_loop_t b;
  uv_idle_t idle[2];
  void *slot[2];
  uint64_t left;
} slots_t;

static void on_slot(uv_idle_t *idle);

static void slots_put(slots_t *c, int i) {
  c->slot[i] = BALL;
  uv_idle_start(&c->idle[i], on_slot);
}

static void on_slot(uv_idle_t *idle) {
  slots_t *c = idle->data;
  int i = idle == &c->idle[1];
  uv_idle_stop(idle);
  must_be_ball(c->slot[i]);
  if (i == 0 && --c->left == 0) {
    uv_stop(&c->b.loop);
    return;
  }
  slots_put(c, 1 - i);
}

static void *slots_setup(size_t size) {
  slots_t *c = bench_alloc(1, sizeof(*c));
  (void)size;
  bench_loop_open(&c->b, 0);
  for (int i = 0; i < 2; i++) {
    bench_must("uv_idle_init", uv_idle_init(&c->b.loop, &c->idle[i]));
    c->idle[i].data = c;
  }
  return c;
}

static void slots_run(void *state, uint64_t ops, bench_sample_t *s) {
  slots_t *c = state;
  uint64_t start = uv_hrtime();
  c->left = ops;
  slots_put(c, 1);
  uv_run(&c->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static void slots_teardown(void *state) {
  slots_t *c = state;
  for (int i = 0; i < 2; i++) uv_close((uv_handle_t *)&c->idle[i], NULL);
  bench_loop_close(&c->b);
  free(c);
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

#define CAPACITY(n, text)                                                                                              \
  static void *loop_##n##_setup(size_t size) {                                                                         \
    (void)size;                                                                                                        \
    return loop_new(n);                                                                                                \
  }                                                                                                                    \
  static const bench_impl_t loop_##n = {"uvflow: capacity " text, loop_##n##_setup, loop_run, loop_delete};

CAPACITY(0, "0")
CAPACITY(1, "1")
CAPACITY(2, "2")
CAPACITY(8, "8")
CAPACITY(128, "128")
CAPACITY(1024, "1,024")

static const bench_impl_t raw_loop = {"libuv: two idle handles", slots_setup, slots_run, slots_teardown};

const bench_row_t bench_pong_rows[] = {
    {.name = "chan-loop-pong",
     .title = "one item there and back, on one loop",
     .what =
         PONG_WHAT "Both ends are uvf_chan_each on one loop. Raw: two idle handles that start each other: one turn of "
                   "the loop for each way, where ours calls back without waiting for the next one.",
     .impls = {&loop_0, &loop_1, &loop_2, &loop_8, &loop_128, &loop_1024, &raw_loop}},
    {.name = NULL},
};
