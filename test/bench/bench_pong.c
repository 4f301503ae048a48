/* SPDX-License-Identifier: MIT
 *
 * One item there and one back: the latency of channels, between requests of a loop, a thread and a loop, two threads,
 * and two loops.
 */
#include <stdlib.h>

#include "bench_flow.h"

/* Long enough for a loop to have gone to sleep. */
#define ASLEEP_NS UINT64_C(30000)

#define BALL ((void *)&bench_sink)

static void must_be_ball(const void *item) {
  if (item != (const void *)&bench_sink) bench_fail("an item has changed", 0);
}

/* --- on one loop -------------------------------------------------------------------------------------------------- */

typedef struct court_s court_t;

typedef struct end_s {
  court_t *court;
  uvf_chan_t *in;
  uvf_chan_t *out;
  uvf_chan_each_t each;
  uvf_chan_req_t req; /* when out cannot take the ball at once */
  int sending;
  int due; /* came while the send before was still to be told of */
} end_t;

struct court_s {
  bench_loop_t b;
  end_t end[2];
  uint64_t left; /* times that it comes back */
  int over;
};

static void hit(end_t *e);

static void on_sent(uvf_chan_req_t *req, int status) {
  end_t *e = req->data;
  bench_must("a send's status", status);
  e->sending = 0;
  if (e->due) hit(e);
}

/* As a program does it that must not block: at once if there is room, else with a request. */
static void hit(end_t *e) {
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
  hit(e);
}

static void on_end(uvf_chan_each_t *each, int status) {
  end_t *e = each->data;
  if (status != UV_EOF) bench_fail("the end of a channel", status);
  if (++e->court->over == 2) uv_stop(&e->court->b.loop);
}

static court_t *court_new(size_t capacity) {
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

static void court_each(court_t *c, int i) {
  end_t *e = &c->end[i];
  bench_must("uvf_chan_each", uvf_chan_each(c->b.root, &e->each, e->in, 0, on_ball, on_end));
}

static void court_delete(court_t *c) {
  for (int i = 0; i < 2; i++) uvf_chan_release(c->end[i].in);
  bench_loop_close(&c->b);
  free(c);
}

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
  hit(&c->end[0]);
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

/* --- a thread with somebody: what the thread does ----------------------------------------------------------------- */

typedef struct player_s player_t;

struct player_s {
  uv_thread_t thread;
  uv_sem_t go;
  void (*play)(player_t *p); /* once there and back, on the thread */
  void *data;
  uint64_t pause_ns; /* before each */
  uint64_t todo;     /* 0: go home */
  uint64_t spent_ns;
  void (*done)(player_t *p);
};

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

static void player_start(player_t *p, void (*play)(player_t *p), void (*done)(player_t *p), void *data,
                         uint64_t pause_ns) {
  p->play = play;
  p->done = done;
  p->data = data;
  p->pause_ns = pause_ns;
  bench_must("uv_sem_init", uv_sem_init(&p->go, 0));
  bench_must("uv_thread_create", uv_thread_create(&p->thread, player_main, p));
}

static void player_go(player_t *p, uint64_t ops) {
  p->spent_ns = 0;
  p->todo = ops;
  uv_sem_post(&p->go);
}

static void player_stop(player_t *p) {
  player_go(p, 0);
  bench_must("uv_thread_join", uv_thread_join(&p->thread));
  uv_sem_destroy(&p->go);
}

/* --- a thread and a loop ------------------------------------------------------------------------------------------ */

/* That the thread is through comes by an async handle of its own, which stops the loop, and by a semaphore, after which
 * what it has counted may be read. Neither is timed. */
typedef struct mixed_s {
  player_t player;
  uv_async_t all;
  uv_sem_t through;
  bench_loop_t *b;
  court_t *court;     /* ours; the loop plays end 1 */
  bench_loop_t own;   /* raw */
  list_queue_t there; /* raw queues */
  ring_queue_t back;
  flow_node_t node;
  uv_async_t async; /* raw, bare */
  uv_sem_t sem;
} mixed_t;

static void on_all(uv_async_t *async) {
  mixed_t *m = async->data;
  uv_stop(&m->b->loop);
}

static void mixed_done(player_t *p) {
  mixed_t *m = p->data;
  uv_async_send(&m->all);
  uv_sem_post(&m->through);
}

static void mixed_start(mixed_t *m, bench_loop_t *b, void (*play)(player_t *p), uint64_t pause_ns) {
  m->b = b;
  bench_must("uv_async_init", uv_async_init(&b->loop, &m->all, on_all));
  m->all.data = m;
  bench_must("uv_sem_init", uv_sem_init(&m->through, 0));
  player_start(&m->player, play, mixed_done, m, pause_ns);
}

static void mixed_stop(mixed_t *m) {
  player_stop(&m->player);
  uv_sem_destroy(&m->through);
  uv_close((uv_handle_t *)&m->all, NULL);
}

static void mixed_run(void *state, uint64_t ops, bench_sample_t *s) {
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

static mixed_t *ours_mixed_new(size_t capacity, uint64_t pause_ns) {
  mixed_t *m = bench_alloc(1, sizeof(*m));
  m->court = court_new(capacity);
  m->court->over = 1;
  court_each(m->court, 1);
  mixed_start(m, &m->court->b, ours_play, pause_ns);
  return m;
}

static void ours_mixed_teardown(void *state) {
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

static void on_bare(uv_async_t *async) {
  mixed_t *m = async->data;
  uv_sem_post(&m->sem);
}

static void bare_play(player_t *p) {
  mixed_t *m = p->data;
  uv_async_send(&m->async);
  uv_sem_wait(&m->sem);
}

static void *bare_setup(size_t size) {
  mixed_t *m = bench_alloc(1, sizeof(*m));
  (void)size;
  bench_loop_open(&m->own, 0);
  bench_must("uv_async_init", uv_async_init(&m->own.loop, &m->async, on_bare));
  m->async.data = m;
  bench_must("uv_sem_init", uv_sem_init(&m->sem, 0));
  mixed_start(m, &m->own, bare_play, ASLEEP_NS);
  return m;
}

static void bare_teardown(void *state) {
  mixed_t *m = state;
  mixed_stop(m);
  uv_close((uv_handle_t *)&m->async, NULL);
  bench_loop_close(&m->own);
  uv_sem_destroy(&m->sem);
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

/* --- two loops ---------------------------------------------------------------------------------------------------- */

/* The bench's thread runs the first, another thread the second. Neither of them spins or blocks on anything else: what
 * is timed is two wake-ups of loops that sleep. */
typedef struct loops_s loops_t;

typedef struct side_s {
  loops_t *all;
  bench_loop_t b;
  uvf_chan_t *in; /* ours */
  uvf_chan_each_t each;
  uv_async_t async; /* raw */
} side_t;

struct loops_s {
  side_t side[2];
  uv_thread_t thread;
  uv_sem_t ready;
  uint64_t left;
};

static void loops_hit(side_t *from) {
  side_t *to = from == &from->all->side[0] ? &from->all->side[1] : &from->all->side[0];
  if (to->in) {
    bench_must("uvf_chan_try_send", uvf_chan_try_send(to->in, BALL));
  } else {
    uv_async_send(&to->async);
  }
}

static void loops_came(side_t *side) {
  loops_t *l = side->all;
  if (side == &l->side[0] && --l->left == 0) {
    uv_stop(&side->b.loop);
    return;
  }
  loops_hit(side);
}

static void on_loops_item(uvf_chan_each_t *each, void *const *items, size_t n) {
  if (n != 1) bench_fail("there is one ball only", 0);
  must_be_ball(items[0]);
  loops_came(each->data);
}

static void on_loops_end(uvf_chan_each_t *each, int status) {
  side_t *side = each->data;
  if (status != UV_EOF) bench_fail("the end of a channel", status);
  uv_stop(&side->b.loop);
}

static int quitting(const loops_t *l) { return l->left == UINT64_MAX; }

static void on_loops_async(uv_async_t *async) {
  side_t *side = async->data;
  if (quitting(side->all)) {
    uv_stop(&side->b.loop);
  } else {
    loops_came(side);
  }
}

static void side_open(loops_t *l, int i, int with_root) {
  side_t *side = &l->side[i];
  side->all = l;
  bench_loop_open(&side->b, with_root);
  side->each.data = side;
  if (with_root) {
    bench_must("uvf_chan_create", uvf_chan_create(1, &side->in));
    bench_must("uvf_chan_each", uvf_chan_each(side->b.root, &side->each, side->in, 0, on_loops_item, on_loops_end));
  } else {
    bench_must("uv_async_init", uv_async_init(&side->b.loop, &side->async, on_loops_async));
    side->async.data = side;
  }
}

/* After its last run. */
static void side_close(side_t *side) {
  if (!side->in) uv_close((uv_handle_t *)&side->async, NULL);
  uvf_chan_release(side->in);
  bench_loop_close(&side->b);
}

static void loops_main(void *arg, int with_root) {
  loops_t *l = arg;
  side_open(l, 1, with_root);
  uv_sem_post(&l->ready);
  uv_run(&l->side[1].b.loop, UV_RUN_DEFAULT); /* until its channel is closed, or it is told to quit */
  side_close(&l->side[1]);
}

static void ours_loops_main(void *arg) { loops_main(arg, 1); }
static void raw_loops_main(void *arg) { loops_main(arg, 0); }

static loops_t *loops_new(int with_root) {
  loops_t *l = bench_alloc(1, sizeof(*l));
  side_open(l, 0, with_root);
  bench_must("uv_sem_init", uv_sem_init(&l->ready, 0));
  bench_must("uv_thread_create", uv_thread_create(&l->thread, with_root ? ours_loops_main : raw_loops_main, l));
  uv_sem_wait(&l->ready);
  return l;
}

static void *ours_loops_setup(size_t size) {
  (void)size;
  return loops_new(1);
}

static void *raw_loops_setup(size_t size) {
  (void)size;
  return loops_new(0);
}

static void loops_run(void *state, uint64_t ops, bench_sample_t *s) {
  loops_t *l = state;
  uint64_t cpu = bench_cpu_ns();
  uint64_t start = uv_hrtime();
  l->left = ops;
  loops_hit(&l->side[0]);
  uv_run(&l->side[0].b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->cpu_ns += bench_cpu_ns() - cpu;
  s->ops += ops;
}

static void loops_teardown(void *state) {
  loops_t *l = state;
  if (l->side[0].in) {
    uvf_chan_close(l->side[0].in);
    uvf_chan_close(l->side[1].in);
    uv_run(&l->side[0].b.loop, UV_RUN_DEFAULT);
  } else {
    l->left = UINT64_MAX;
    uv_async_send(&l->side[1].async);
  }
  bench_must("uv_thread_join", uv_thread_join(&l->thread));
  side_close(&l->side[0]);
  uv_sem_destroy(&l->ready);
  free(l);
}

/* --- rows --------------------------------------------------------------------------------------------------------- */

#define CAPACITY(n, text)                                                                                              \
  static void *loop_##n##_setup(size_t size) {                                                                         \
    (void)size;                                                                                                        \
    return loop_new(n);                                                                                                \
  }                                                                                                                    \
  static void *mixed_##n##_setup(size_t size) {                                                                        \
    (void)size;                                                                                                        \
    return ours_mixed_new(n, 0);                                                                                       \
  }                                                                                                                    \
  static void *pair_##n##_setup(size_t size) {                                                                         \
    (void)size;                                                                                                        \
    return pair_new(n, 1);                                                                                             \
  }                                                                                                                    \
  static const bench_impl_t loop_##n = {"uvflow: capacity " text, loop_##n##_setup, loop_run, loop_delete};            \
  static const bench_impl_t mixed_##n = {"uvflow: capacity " text, mixed_##n##_setup, mixed_run, ours_mixed_teardown}; \
  static const bench_impl_t pair_##n = {"uvflow: capacity " text, pair_##n##_setup, pair_run, pair_delete};

CAPACITY(0, "0")
CAPACITY(1, "1")
CAPACITY(2, "2")
CAPACITY(8, "8")
CAPACITY(128, "128")
CAPACITY(1024, "1,024")

static void *wake_setup(size_t size) {
  (void)size;
  return ours_mixed_new(1, ASLEEP_NS);
}

static const bench_impl_t raw_loop = {"libuv: two idle handles", slots_setup, slots_run, slots_teardown};
static const bench_impl_t raw_mixed = {"libuv: mutex, list, async; ring, cond", queues_setup, mixed_run,
                                       queues_teardown};
static const bench_impl_t raw_pair = {"libuv: mutex, ring, conditions", pair_raw_setup, pair_run, pair_delete};
static const bench_impl_t ours_wake = {"uvflow: two channels", wake_setup, mixed_run, ours_mixed_teardown};
static const bench_impl_t raw_wake = {"libuv: uv_async_send, uv_sem_post", bare_setup, mixed_run, bare_teardown};
static const bench_impl_t ours_loops = {"uvflow: two channels", ours_loops_setup, loops_run, loops_teardown};
static const bench_impl_t raw_loops = {"libuv: two async handles", raw_loops_setup, loops_run, loops_teardown};

#define PONG_WHAT                                                                                                      \
  "One item through one channel and back through another, again and again; nothing else is in either. Timed: there "   \
  "and back. "

const bench_row_t bench_pong_rows[] = {
    {.name = "chan-loop-pong",
     .title = "one item there and back, on one loop",
     .what =
         PONG_WHAT "Both ends are uvf_chan_each on one loop. Raw: two idle handles that start each other: one turn of "
                   "the loop for each way, where ours needs none.",
     .impls = {&loop_0, &loop_1, &loop_2, &loop_8, &loop_128, &loop_1024, &raw_loop}},
    {.name = "chan-thread-loop-pong",
     .title = "the same, a thread and a loop",
     .what = PONG_WHAT "The thread sends and receives by blocking, the loop has uvf_chan_each. Raw: the list with an "
                       "async handle there, the ring with conditions back, each with room for one.",
     .impls = {&mixed_0, &mixed_1, &mixed_2, &mixed_8, &mixed_128, &mixed_1024, &raw_mixed}},
    {.name = "chan-threads-pong",
     .title = "the same, two threads",
     .what = PONG_WHAT "Both block. Raw: two rings under mutexes with conditions, each with room for one.",
     .impls = {&pair_0, &pair_1, &pair_2, &pair_8, &pair_128, &pair_1024, &raw_pair}},
    {.name = "wake-latency",
     .title = "thread to sleeping loop and back",
     .what =
         "The thread waits 30 us, so that the loop sleeps in its poll, then sends it an item (uvf_chan_send_wait) and "
         "waits for one to come back through another channel (uvf_chan_recv_wait); the loop has uvf_chan_each. Timed: "
         "on the thread, from before the send until it has the item. Raw: uv_async_send there, uv_sem_post back. The "
         "goal is 1.1 times raw in the same run. CPU: with the pause, in which the thread spins.",
     .goal_ratio = 1.1,
     .impls = {&ours_wake, &raw_wake},
     .flags = BENCH_ELAPSED},
    {.name = "wake-loops",
     .title = "loop to sleeping loop and back",
     .what =
         "Two loops on two threads, each asleep while the other has the item: uvf_chan_try_send and uvf_chan_each on "
         "both. Timed: there and back. Raw: an async handle on each. The goal is 1.1 times raw in the same run.",
     .goal_ratio = 1.1,
     .impls = {&ours_loops, &raw_loops}},
    {.name = NULL},
};
