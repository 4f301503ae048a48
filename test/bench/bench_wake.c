/* SPDX-License-Identifier: MIT
 *
 * What it takes to wake a loop that sleeps: from a thread and from another loop, and the way back.
 */
#include <stdlib.h>

#include "bench_pong.h"

/* Long enough for a loop to have gone to sleep. */
#define ASLEEP_NS UINT64_C(30000)

/* --- a thread and a loop ------------------------------------------------------------------------------------------ */

static void *wake_setup(size_t size) {
  (void)size;
  return ours_mixed_new(1, ASLEEP_NS);
}

/* Raw: an async handle there, a semaphore back. */
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

/* --- two loops ---------------------------------------------------------------------------------------------------- */

/* The bench's thread runs the first, another thread the second. Neither of them spins or blocks on anything else: what
 * is timed is two wake-ups, of loops that sleep unless the item is back before they got that far. */
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

static const bench_impl_t ours_wake = {"uvflow: two channels", wake_setup, mixed_run, ours_mixed_teardown};
static const bench_impl_t raw_wake = {"libuv: uv_async_send, uv_sem_post", bare_setup, mixed_run, bare_teardown};
static const bench_impl_t ours_loops = {"uvflow: two channels", ours_loops_setup, loops_run, loops_teardown};
static const bench_impl_t raw_loops = {"libuv: two async handles", raw_loops_setup, loops_run, loops_teardown};

const bench_row_t bench_wake_rows[] = {
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
     .what = "Two loops on two threads, each with nothing to do but to poll while the other has the item: "
             "uvf_chan_try_send and uvf_chan_each on "
             "both. Timed: there and back. Raw: an async handle on each. The goal is 1.1 times raw in the same run.",
     .goal_ratio = 1.1,
     .impls = {&ours_loops, &raw_loops}},
    {.name = NULL},
};
