/* SPDX-License-Identifier: MIT
 *
 * What a program without the library writes: timers of its own, a block of its own, a chain of its own. libuv's timers
 * count from the loop's cached clock and read no clock themselves; a context with a deadline reads it once. That
 * difference is left in: it is what each of them does.
 */
#include <stdlib.h>

#include "bench.h"

typedef struct timers_s {
  bench_loop_t b;
  uv_timer_t *pool;
  uv_timer_t **each; /* each a block of its own */
  size_t n;
  size_t at;
  uint64_t seed;
  size_t closed;
  size_t length; /* of a list */
} timers_t;

/* The hour never comes. */
static void on_timer(uv_timer_t *timer) {
  (void)timer;
  bench_fail("a timer of one hour has fired", 0);
}

static timers_t *timers_new(size_t n) {
  timers_t *t = bench_alloc(1, sizeof(*t));
  bench_loop_open(&t->b, 0);
  t->n = n;
  t->seed = UINT64_C(0x9e3779b97f4a7c15);
  return t;
}

static void *pool_setup(size_t size) {
  timers_t *t = timers_new(size);
  t->pool = bench_alloc(size, sizeof(*t->pool));
  for (size_t i = 0; i < size; i++) {
    bench_must("uv_timer_init", uv_timer_init(&t->b.loop, &t->pool[i]));
  }
  return t;
}

/* A pool whose timers are all running. */
static void *running_setup(size_t size) {
  timers_t *t = pool_setup(size);
  for (size_t i = 0; i < size; i++) uv_timer_start(&t->pool[i], on_timer, BENCH_HOUR_MS, 0);
  return t;
}

static void pool_teardown(void *state) {
  timers_t *t = state;
  for (size_t i = 0; i < t->n; i++) uv_close((uv_handle_t *)&t->pool[i], NULL);
  bench_loop_close(&t->b);
  free(t->pool);
  free(t);
}

/* --- one timer at a time ------------------------------------------------------------------------------------------ */

static void *naive_setup(size_t size) { return timers_new(size); }

static void naive_closed(uv_handle_t *handle) { free(handle); }

/* What a first version does: a timer of its own for each request. */
static void naive_run(void *state, uint64_t ops, bench_sample_t *s) {
  timers_t *t = state;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    uv_timer_t *timer = malloc(sizeof(*timer));
    if (!timer) bench_fail("malloc", UV_ENOMEM);
    uv_timer_init(&t->b.loop, timer);
    uv_timer_start(timer, on_timer, BENCH_HOUR_MS, 0);
    uv_timer_stop(timer);
    uv_close((uv_handle_t *)timer, naive_closed);
    if (bench_turn_due(i)) bench_turn(&t->b);
  }
  bench_turn(&t->b);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static void naive_teardown(void *state) {
  timers_t *t = state;
  bench_loop_close(&t->b);
  free(t);
}

/* What a careful one does: the timer is part of a request that comes from a pool. */
static void pooled_run(void *state, uint64_t ops, bench_sample_t *s) {
  timers_t *t = state;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    uv_timer_start(t->pool, on_timer, BENCH_HOUR_MS, 0);
    uv_timer_stop(t->pool);
    if (bench_turn_due(i)) bench_turn(&t->b);
  }
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

const bench_impl_t bench_raw_timer_naive = {"libuv: malloc, timer, close, free", naive_setup, naive_run,
                                            naive_teardown};
const bench_impl_t bench_raw_timer_pooled = {"libuv: pooled timer start + stop", pool_setup, pooled_run, pool_teardown};

/* --- many timers at a time ---------------------------------------------------------------------------------------- */

static void rotate_run(void *state, uint64_t ops, bench_sample_t *s) {
  timers_t *t = state;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    uv_timer_t *oldest = &t->pool[t->at];
    uv_timer_stop(oldest);
    uv_timer_start(oldest, on_timer, BENCH_HOUR_MS, 0);
    if (++t->at == t->n) t->at = 0;
    if (bench_turn_due(i)) bench_turn(&t->b);
  }
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static void random_run(void *state, uint64_t ops, bench_sample_t *s) {
  timers_t *t = state;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    t->seed ^= t->seed << 13;
    t->seed ^= t->seed >> 7;
    t->seed ^= t->seed << 17;
    uv_timer_t *some = &t->pool[t->seed % t->n];
    uv_timer_stop(some);
    uv_timer_start(some, on_timer, BENCH_HOUR_MS, 0);
    if (bench_turn_due(i)) bench_turn(&t->b);
  }
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

/* Rounds: all are started (not timed), then all are stopped (timed). */
static void stop_all_run(void *state, uint64_t ops, bench_sample_t *s) {
  timers_t *t = state;
  for (uint64_t done = 0; done < ops; done += t->n) {
    for (size_t i = 0; i < t->n; i++) uv_timer_start(&t->pool[i], on_timer, BENCH_HOUR_MS, 0);
    uint64_t start = uv_hrtime();
    for (size_t i = 0; i < t->n; i++) uv_timer_stop(&t->pool[i]);
    bench_turn(&t->b);
    s->amount += uv_hrtime() - start;
    s->ops += t->n;
  }
}

const bench_impl_t bench_raw_timer_rotate = {"libuv: pooled timer stop + start", running_setup, rotate_run,
                                             pool_teardown};
const bench_impl_t bench_raw_timer_random = {"libuv: pooled timer stop + start", running_setup, random_run,
                                             pool_teardown};
const bench_impl_t bench_raw_timer_stop_all = {"libuv: stop each timer of an array", pool_setup, stop_all_run,
                                               pool_teardown};

static void *close_all_setup(size_t size) {
  timers_t *t = timers_new(size);
  t->each = bench_alloc(size, sizeof(*t->each));
  return t;
}

static void close_all_closed(uv_handle_t *handle) {
  timers_t *t = handle->data;
  t->closed++;
  free(handle);
}

/* Rounds: all are made and started (not timed), then each is closed, and freed in its close callback (timed). */
static void close_all_run(void *state, uint64_t ops, bench_sample_t *s) {
  timers_t *t = state;
  for (uint64_t done = 0; done < ops; done += t->n) {
    for (size_t i = 0; i < t->n; i++) {
      t->each[i] = malloc(sizeof(uv_timer_t));
      if (!t->each[i]) bench_fail("malloc", UV_ENOMEM);
      uv_timer_init(&t->b.loop, t->each[i]);
      t->each[i]->data = t;
      uv_timer_start(t->each[i], on_timer, BENCH_HOUR_MS, 0);
    }
    t->closed = 0;
    uint64_t start = uv_hrtime();
    for (size_t i = 0; i < t->n; i++) uv_close((uv_handle_t *)t->each[i], close_all_closed);
    bench_turn(&t->b);
    s->amount += uv_hrtime() - start;
    s->ops += t->n;
    if (t->closed != t->n) bench_fail("one turn did not close every timer", 0);
  }
}

static void close_all_teardown(void *state) {
  timers_t *t = state;
  bench_loop_close(&t->b);
  free(t->each);
  free(t);
}

const bench_impl_t bench_raw_timer_close_all = {"libuv: close + free each malloc'ed timer", close_all_setup,
                                                close_all_run, close_all_teardown};

/* Lists of so many timers, each a block of its own: its data is the next one of its list. */
static void *lists_setup(size_t size) {
  size_t lists = BENCH_CHAINED / size ? BENCH_CHAINED / size : 1;
  timers_t *t = close_all_setup(lists * size);
  t->length = size;
  for (size_t i = t->n; i > 0; i--) {
    uv_timer_t *timer = t->each[i - 1] = bench_alloc(1, sizeof(*timer));
    bench_must("uv_timer_init", uv_timer_init(&t->b.loop, timer));
    timer->data = i % size ? t->each[i] : NULL;
  }
  return t;
}

/* Rounds: all are started (not timed), then each list is stopped from its first timer on (timed). */
static void stop_lists_run(void *state, uint64_t ops, bench_sample_t *s) {
  timers_t *t = state;
  for (uint64_t done = 0; done < ops; done += t->n) {
    for (size_t i = 0; i < t->n; i++) uv_timer_start(t->each[i], on_timer, BENCH_HOUR_MS, 0);
    uint64_t start = uv_hrtime();
    for (size_t i = 0; i < t->n; i += t->length) {
      for (uv_timer_t *timer = t->each[i]; timer; timer = timer->data) uv_timer_stop(timer);
    }
    bench_turn(&t->b);
    s->amount += uv_hrtime() - start;
    s->ops += t->n;
    if (uv_is_active((uv_handle_t *)t->each[t->n - 1])) bench_fail("a timer was not stopped", 0);
  }
}

static void lists_teardown(void *state) {
  timers_t *t = state;
  for (size_t i = 0; i < t->n; i++) uv_close((uv_handle_t *)t->each[i], naive_closed);
  close_all_teardown(t);
}

const bench_impl_t bench_raw_timer_stop_lists = {"libuv: stop each timer of linked lists", lists_setup, stop_lists_run,
                                                 lists_teardown};

/* --- floors that have no libuv call in them ----------------------------------------------------------------------- */

static void *malloc_setup(size_t size) {
  size_t *bytes = bench_alloc(1, sizeof(*bytes));
  *bytes = size;
  return bytes;
}

static void malloc_run(void *state, uint64_t ops, bench_sample_t *s) {
  size_t bytes = *(size_t *)state;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    void *p = malloc(bytes);
    if (!p) bench_fail("malloc", UV_ENOMEM);
    bench_sink = (uintptr_t)p;
    free(p);
  }
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

const bench_impl_t bench_raw_malloc = {"floor: malloc + free of such a block", malloc_setup, malloc_run, free};

/* A chain as a program would write it itself: the key is compared at each node. Node sizes as contexts have them. */
typedef struct node_s {
  struct node_s *next;
  const void *key;
  void *value;
  char more[136];
} node_t;

typedef struct chase_s {
  node_t *leaf;
  char keys[2];
} chase_t;

static void *chase_setup(size_t size) {
  chase_t *c = bench_alloc(1, sizeof(*c));
  node_t *up = NULL;
  for (size_t i = 0; i < size; i++) {
    node_t *node = bench_alloc(1, sizeof(*node));
    node->next = up;
    node->key = &c->keys[i > 0]; /* the one that is looked for is the farthest */
    node->value = &c->leaf;
    up = node;
  }
  c->leaf = up;
  return c;
}

/* Each lookup begins where the one before said: they cannot overlap. */
static void chase_run(void *state, uint64_t ops, bench_sample_t *s) {
  chase_t *c = state;
  const void *key = &c->keys[0];
  node_t *leaf = c->leaf;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    node_t *node = leaf;
    while (node && node->key != key) node = node->next;
    if (!node) bench_fail("the value is gone", 0);
    leaf = *(node_t *volatile *)node->value;
  }
  s->amount += uv_hrtime() - start;
  s->ops += ops;
  bench_sink = (uintptr_t)leaf;
}

static void chase_teardown(void *state) {
  chase_t *c = state;
  for (node_t *node = c->leaf; node;) {
    node_t *next = node->next;
    free(node);
    node = next;
  }
  free(c);
}

const bench_impl_t bench_raw_chase = {"floor: chase through malloc'ed nodes", chase_setup, chase_run, chase_teardown};
