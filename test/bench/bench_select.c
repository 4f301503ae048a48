/* SPDX-License-Identifier: MIT
 *
 * Select: of two channels that both have an item.
 */
#include <stdlib.h>

#include "bench_flow.h"

typedef struct choice_s {
  bench_loop_t b;
  uvf_chan_t *chan[2];
  uvf_select_case_t cases[2];
  uvf_select_t select;
  uint64_t left;
  ring_queue_t ring[2]; /* raw */
  uint64_t seed;
  uv_idle_t idle;
} choice_t;

static void fill_up(choice_t *c, size_t i) {
  if (c->b.root) {
    bench_must("uvf_chan_try_send", uvf_chan_try_send(c->chan[i], c));
  } else {
    void *item = c;
    ring_queue_send(&c->ring[i], &item, 1);
  }
}

static choice_t *choice_new(size_t size, int with_root) {
  choice_t *c = bench_alloc(1, sizeof(*c));
  bench_loop_open(&c->b, with_root);
  for (size_t i = 0; i < 2; i++) {
    bench_must("uvf_chan_create", uvf_chan_create(size, &c->chan[i]));
    ring_queue_open(&c->ring[i], size);
    c->cases[i].chan = c->chan[i];
    c->cases[i].kind = UVF_SELECT_RECV;
    fill_up(c, i);
  }
  c->select.data = c;
  c->seed = 88172645463325252u;
  bench_must("uv_idle_init", uv_idle_init(&c->b.loop, &c->idle));
  c->idle.data = c;
  return c;
}

static void *ours_setup(size_t size) { return choice_new(size, 1); }
static void *raw_setup(size_t size) { return choice_new(size, 0); }

static void choice_teardown(void *state) {
  choice_t *c = state;
  for (size_t i = 0; i < 2; i++) {
    uvf_chan_release(c->chan[i]);
    ring_queue_destroy(&c->ring[i]);
  }
  uv_close((uv_handle_t *)&c->idle, NULL);
  bench_loop_close(&c->b);
  free(c);
}

static void ours_try_run(void *state, uint64_t ops, bench_sample_t *s) {
  choice_t *c = state;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    size_t index;
    bench_must("uvf_select_try", uvf_select_try(c->cases, 2, &index));
    fill_up(c, index);
  }
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static void on_chosen(uvf_select_t *select, int status);

static void ours_start(choice_t *c) {
  bench_must("uvf_select_start", uvf_select_start(c->b.root, &c->select, c->cases, 2, on_chosen));
}

static void on_chosen(uvf_select_t *select, int status) {
  choice_t *c = select->data;
  bench_must("a select's status", status);
  fill_up(c, select->index);
  if (--c->left == 0) {
    uv_stop(&c->b.loop);
  } else {
    ours_start(c);
  }
}

static void ours_start_run(void *state, uint64_t ops, bench_sample_t *s) {
  choice_t *c = state;
  uint64_t start = uv_hrtime();
  c->left = ops;
  ours_start(c);
  uv_run(&c->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

/* Raw: two rings under mutexes, the first to be asked drawn by lot. It cannot wait for both. */
static size_t raw_choose(choice_t *c) {
  void *item;
  c->seed ^= c->seed << 13;
  c->seed ^= c->seed >> 7;
  c->seed ^= c->seed << 17;
  size_t i = c->seed & 1;
  if (ring_queue_try_receive(&c->ring[i], &item)) return i;
  if (!ring_queue_try_receive(&c->ring[1 - i], &item)) bench_fail("both rings are empty", 0);
  return 1 - i;
}

static void raw_try_run(void *state, uint64_t ops, bench_sample_t *s) {
  choice_t *c = state;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) fill_up(c, raw_choose(c));
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static void on_idle(uv_idle_t *idle) {
  choice_t *c = idle->data;
  for (int i = 0; i < 1024 && c->left > 0; i++) {
    fill_up(c, raw_choose(c));
    c->left--;
  }
  if (c->left > 0) return;
  uv_idle_stop(idle);
  uv_stop(&c->b.loop);
}

static void raw_start_run(void *state, uint64_t ops, bench_sample_t *s) {
  choice_t *c = state;
  uint64_t start = uv_hrtime();
  c->left = ops;
  uv_idle_start(&c->idle, on_idle);
  uv_run(&c->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static const bench_impl_t ours_try = {"uvflow", ours_setup, ours_try_run, choice_teardown};
static const bench_impl_t raw_try = {"libuv: two rings, mutexes", raw_setup, raw_try_run, choice_teardown};
static const bench_impl_t ours_started = {"uvflow", ours_setup, ours_start_run, choice_teardown};
static const bench_impl_t raw_started = {"libuv: two rings, mutexes, idle handle", raw_setup, raw_start_run,
                                         choice_teardown};

const bench_row_t bench_select_rows[] = {
    {.name = "select-try",
     .title = "select with a default, 2 cases ready",
     .what =
         "Timed: uvf_select_try of two receives, both of which are ready, and the uvf_chan_try_send that puts the item "
         "back. Raw: two rings under mutexes, of which one is drawn by lot to be asked first.",
     .impls = {&ours_try, &raw_try},
     .size = 8},
    {.name = "select-op",
     .title = "select with a callback, 2 cases ready",
     .what =
         "As select-try, but with uvf_select_start; its callback puts the item back and starts the next. Raw: the same "
         "as there, 1,024 of them from an idle handle's callback.",
     .impls = {&ours_started, &raw_started},
     .size = 8},
    {.name = NULL},
};
