/* SPDX-License-Identifier: MIT
 *
 * One item there and one back: between a thread and a loop, and between two threads.
 */
#include <stdlib.h>

#include "bench_pong.h"

/* --- a thread with somebody: what the thread does ----------------------------------------------------------------- */

static void player_main(void *arg) {
  player_t *p = arg;
  for (;;) {
    uv_sem_wait(&p->go);
    if (p->todo == 0) return;
    for (uint64_t i = 0; i < p->todo; i++) {
      uint64_t start = uv_hrtime();
      if (p->pause_ns) {
        while (uv_hrtime() - start < p->pause_ns) {}
        start = uv_hrtime();
      }
      p->play(p);
      p->spent_ns += uv_hrtime() - start;
    }
    p->done(p);
  }
}

void player_start(player_t *p, void (*play)(player_t *p), void (*done)(player_t *p), void *data, uint64_t pause_ns) {
  p->play = play;
  p->done = done;
  p->data = data;
  p->pause_ns = pause_ns;
  bench_must("uv_sem_init", uv_sem_init(&p->go, 0));
  bench_must("uv_thread_create", uv_thread_create(&p->thread, player_main, p));
}

void player_go(player_t *p, uint64_t ops) {
  p->spent_ns = 0;
  p->todo = ops;
  uv_sem_post(&p->go);
}

void player_stop(player_t *p) {
  player_go(p, 0);
  bench_must("uv_thread_join", uv_thread_join(&p->thread));
  uv_sem_destroy(&p->go);
}

/* --- a thread and a loop ------------------------------------------------------------------------------------------ */

static void on_all(uv_async_t *async) {
  mixed_t *m = async->data;
  uv_stop(&m->b->loop);
}

static void mixed_done(player_t *p) {
  mixed_t *m = p->data;
  uv_async_send(&m->all);
  uv_sem_post(&m->through);
}

void mixed_start(mixed_t *m, bench_loop_t *b, void (*play)(player_t *p), uint64_t pause_ns) {
  m->b = b;
  bench_must("uv_async_init", uv_async_init(&b->loop, &m->all, on_all));
  m->all.data = m;
  bench_must("uv_sem_init", uv_sem_init(&m->through, 0));
  player_start(&m->player, play, mixed_done, m, pause_ns);
}

void mixed_stop(mixed_t *m) {
  player_stop(&m->player);
  uv_sem_destroy(&m->through);
  uv_close((uv_handle_t *)&m->all, NULL);
}

void mixed_run(void *state, uint64_t ops, bench_sample_t *s) {
  mixed_t *m = state;
  uint64_t cpu = bench_cpu_ns();
  player_go(&m->player, ops);
  uv_run(&m->b->loop, UV_RUN_DEFAULT);
  uv_sem_wait(&m->through);
  s->cpu_ns += bench_cpu_ns() - cpu;
  s->amount += m->player.spent_ns;
  s->ops += ops;
}

static void ours_play(player_t *p) {
  mixed_t *m = p->data;
  court_t *c = m->court;
  void *item;
  bench_must("uvf_chan_send_wait", uvf_chan_send_wait(c->b.root, c->end[0].out, BALL));
  bench_must("uvf_chan_recv_wait", uvf_chan_recv_wait(c->b.root, c->end[0].in, &item));
  must_be_ball(item);
}

mixed_t *ours_mixed_new(size_t capacity, uint64_t pause_ns) {
  mixed_t *m = bench_alloc(1, sizeof(*m));
  m->court = court_new(capacity);
  m->court->over = 1;
  court_each(m->court, 1);
  mixed_start(m, &m->court->b, ours_play, pause_ns);
  return m;
}

void ours_mixed_teardown(void *state) {
  mixed_t *m = state;
  mixed_stop(m);
  uvf_chan_close(m->court->end[1].in);
  uv_run(&m->b->loop, UV_RUN_DEFAULT);
  court_delete(m->court);
  free(m);
}

static void queues_play(player_t *p) {
  mixed_t *m = p->data;
  void *item;
  m->node.item = BALL;
  m->node.next = NULL;
  list_queue_send(&m->there, &m->node, &m->node.next, 1);
  ring_queue_receive(&m->back, &item, 1);
  must_be_ball(item);
}

static void queues_return(void *arg, void *item) {
  mixed_t *m = arg;
  ring_queue_send(&m->back, &item, 1);
}

static void *queues_setup(size_t size) {
  mixed_t *m = bench_alloc(1, sizeof(*m));
  (void)size;
  bench_loop_open(&m->own, 0);
  list_queue_open(&m->there, &m->own.loop, 1, queues_return, m);
  ring_queue_open(&m->back, 1);
  mixed_start(m, &m->own, queues_play, 0);
  return m;
}

static void queues_teardown(void *state) {
  mixed_t *m = state;
  mixed_stop(m);
  list_queue_close(&m->there);
  bench_loop_close(&m->own);
  list_queue_destroy(&m->there);
  ring_queue_destroy(&m->back);
  free(m);
}

/* --- two threads -------------------------------------------------------------------------------------------------- */

typedef struct pair_s {
  player_t player;
  player_t other;
  uv_sem_t done;
  bench_loop_t b; /* ours: the root's */
  uvf_chan_t *chan[2];
  ring_queue_t ring[2]; /* raw */
} pair_t;

static void pair_done(player_t *p) {
  pair_t *t = p->data;
  uv_sem_post(&t->done);
}

static void pair_send(pair_t *t, int i) {
  void *item = BALL;
  if (t->b.root) {
    bench_must("uvf_chan_send_wait", uvf_chan_send_wait(t->b.root, t->chan[i], item));
  } else {
    ring_queue_send(&t->ring[i], &item, 1);
  }
}

static void pair_receive(pair_t *t, int i) {
  void *item;
  if (t->b.root) {
    bench_must("uvf_chan_recv_wait", uvf_chan_recv_wait(t->b.root, t->chan[i], &item));
  } else {
    ring_queue_receive(&t->ring[i], &item, 1);
  }
  must_be_ball(item);
}

static void pair_play(player_t *p) {
  pair_send(p->data, 0);
  pair_receive(p->data, 1);
}

static void pair_return(player_t *p) {
  pair_receive(p->data, 0);
  pair_send(p->data, 1);
}

static pair_t *pair_new(size_t capacity, int with_root) {
  pair_t *t = bench_alloc(1, sizeof(*t));
  bench_loop_open(&t->b, with_root);
  for (int i = 0; i < 2; i++) {
    ring_queue_open(&t->ring[i], capacity);
    bench_must("uvf_chan_create", uvf_chan_create(capacity, &t->chan[i]));
  }
  bench_must("uv_sem_init", uv_sem_init(&t->done, 0));
  player_start(&t->player, pair_play, pair_done, t, 0);
  player_start(&t->other, pair_return, pair_done, t, 0);
  return t;
}

static void pair_run(void *state, uint64_t ops, bench_sample_t *s) {
  pair_t *t = state;
  uint64_t cpu = bench_cpu_ns();
  player_go(&t->other, ops);
  player_go(&t->player, ops);
  uv_sem_wait(&t->done);
  uv_sem_wait(&t->done);
  s->cpu_ns += bench_cpu_ns() - cpu;
  s->amount += t->player.spent_ns;
  s->ops += ops;
}

static void pair_delete(void *state) {
  pair_t *t = state;
  player_stop(&t->player);
  player_stop(&t->other);
  for (int i = 0; i < 2; i++) {
    ring_queue_destroy(&t->ring[i]);
    uvf_chan_release(t->chan[i]);
  }
  uv_sem_destroy(&t->done);
  bench_loop_close(&t->b);
  free(t);
}

static void *pair_raw_setup(size_t size) {
  (void)size;
  return pair_new(1, 0);
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

#define CAPACITY(n, text)                                                                                              \
  static void *mixed_##n##_setup(size_t size) {                                                                        \
    (void)size;                                                                                                        \
    return ours_mixed_new(n, 0);                                                                                       \
  }                                                                                                                    \
  static const bench_impl_t mixed_##n = {"uvflow: capacity " text, mixed_##n##_setup, mixed_run, ours_mixed_teardown}; \
  static void *pair_##n##_setup(size_t size) {                                                                         \
    (void)size;                                                                                                        \
    return pair_new(n, 1);                                                                                             \
  }                                                                                                                    \
  static const bench_impl_t pair_##n = {"uvflow: capacity " text, pair_##n##_setup, pair_run, pair_delete};

CAPACITY(0, "0")
CAPACITY(1, "1")
CAPACITY(2, "2")
CAPACITY(8, "8")
CAPACITY(128, "128")
CAPACITY(1024, "1,024")

static const bench_impl_t raw_mixed = {"libuv: mutex, list, async; ring, cond", queues_setup, mixed_run,
                                       queues_teardown};
static const bench_impl_t raw_pair = {"libuv: mutex, ring, conditions", pair_raw_setup, pair_run, pair_delete};

const bench_row_t bench_pong_thread_rows[] = {
    {.name = "chan-thread-loop-pong",
     .title = "the same, a thread and a loop",
     .what = PONG_WHAT "The thread sends and receives by blocking, the loop has uvf_chan_each. Raw: the list with an "
                       "async handle there, the ring with conditions back, each with room for one.",
     .impls = {&mixed_0, &mixed_1, &mixed_2, &mixed_8, &mixed_128, &mixed_1024, &raw_mixed}},
    {.name = "chan-threads-pong",
     .title = "the same, two threads",
     .what = PONG_WHAT "Both block. Raw: two rings under mutexes with conditions, each with room for one.",
     .impls = {&pair_0, &pair_1, &pair_2, &pair_8, &pair_128, &pair_1024, &raw_pair}},
    {.name = NULL},
};
