/* SPDX-License-Identifier: MIT
 *
 * What soaks over several loops and threads share: dice, complaints that any thread may make, contexts that all threads
 * use and that end at random, crews (a loop on a thread of its own, whose timer makes and ends those contexts), and a
 * watchdog. A soak says what its crews do by the hooks below.
 */
#ifndef UVFLOW_SOAK_SOAK_H
#define UVFLOW_SOAK_SOAK_H

#include <stdatomic.h>

#include "unit/probe.h"

enum { CREWS = 2, CTXS = 8, COMPLAINTS = 20, WATCHED = 16 };

#define STUCK_NS (UINT64_C(60000) * MS_NS)

/* --- complaints: made on any thread, asserted in the end --- */

static atomic_size_t complaints;

static void complain(const char *what, const char *file, int line, long long got) {
  if (atomic_fetch_add(&complaints, 1) >= COMPLAINTS) return;
  fprintf(stderr, "%s:%d: does not hold: %s (%lld)\n", file, line, what, got);
}

#define HOLDS(cond) ((cond) ? (void)0 : complain(#cond, __FILE__, __LINE__, 0))
#define HOLDS_FOR(cond, got) ((cond) ? (void)0 : complain(#cond, __FILE__, __LINE__, (long long)(got)))

/* --- dice: one thread's each --- */

typedef struct dice_s {
  uint64_t x;
} dice_t;

/* One seed makes many dice that have nothing in common. */
static dice_t dice_from(uint64_t *seed) {
  uint64_t x = (*seed += UINT64_C(0x9e3779b97f4a7c15));
  x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
  return (dice_t){(x ^ x >> 31) | 1};
}

static size_t below(dice_t *dice, size_t n) { return (size_t)((test_rand(&dice->x) >> 33) % n); }
static int one_in(dice_t *dice, size_t n) { return below(dice, n) == 0; }

/* --- contexts --- */

typedef struct pool_s {
  uv_mutex_t mutex; /* guards ctxs; one in there has a reference of its own */
  uvf_ctx_t *ctxs[CTXS];
} pool_t;

static pool_t pools[CREWS];

/* A reference to a context of one crew. */
static uvf_ctx_t *ctx_get(dice_t *dice, size_t crew) {
  pool_t *pool = &pools[crew];
  uvf_ctx_t *ctx;
  uv_mutex_lock(&pool->mutex);
  ctx = uvf_ctx_retain(pool->ctxs[below(dice, CTXS)]);
  uv_mutex_unlock(&pool->mutex);
  return ctx;
}

static uvf_ctx_t *ctx_swap(size_t crew, size_t i, uvf_ctx_t *ctx) {
  pool_t *pool = &pools[crew];
  uvf_ctx_t *old;
  uv_mutex_lock(&pool->mutex);
  old = pool->ctxs[i];
  pool->ctxs[i] = ctx;
  uv_mutex_unlock(&pool->mutex);
  return old;
}

static void ctx_cancel_one(dice_t *dice) {
  uvf_ctx_t *ctx = ctx_get(dice, below(dice, CREWS));
  if (one_in(dice, 2)) {
    uvf_ctx_cancel(ctx);
  } else {
    uvf_ctx_cancel_cause(ctx, -4711, &pools);
  }
  uvf_ctx_release(ctx);
}

/* --- crews; their fields are their loop's --- */

typedef struct crew_s {
  lane_t lane;
  size_t index;
  dice_t dice;
  uvf_ctx_t *root; /* until its close callback */
  uv_timer_t timer;
  int stopping;
  int lazy;       /* what has ended is started by the timer only, so that the loop sleeps in between */
  size_t nbusy;   /* of the last count */
  atomic_int ask; /* the watchdog wants a dump */
} crew_t;

static crew_t crews[CREWS];

/* What the soak adds. */
static void crew_start_some(crew_t *crew); /* starts some of its requests that idle */
static size_t crew_busy(crew_t *crew);     /* how many are on their way */

static uvf_ctx_t *crew_derive(crew_t *crew) {
  static const uint64_t timeouts_ms[] = {0, 1, 1, 2, 5, 20};
  dice_t *dice = &crew->dice;
  uvf_ctx_t *ctx = NULL, *parents[2];
  uint64_t ms = timeouts_ms[below(dice, ARRAY_SIZE(timeouts_ms))];
  int err;
  parents[0] = one_in(dice, 4) ? ctx_get(dice, crew->index) : NULL; /* NULL also in the beginning */
  if (parents[0] == NULL) parents[0] = uvf_ctx_retain(crew->root);
  parents[1] = NULL;
  switch (below(dice, 6)) {
    case 0: err = uvf_ctx_with_timeout(parents[0], ms, &ctx); break;
    case 1: err = uvf_ctx_with_deadline(parents[0], uv_hrtime() + ms * MS_NS, &ctx); break;
    case 2:
      parents[1] = ctx_get(dice, crew->index);
      err = uvf_ctx_with_any(parents, parents[1] != NULL ? 2 : 1, &ctx);
      break;
    case 3:
      parents[1] = ctx_get(dice, 1 - crew->index);
      err = uvf_ctx_with_remote(parents[1] != NULL ? parents[1] : parents[0], crew->root, &ctx);
      break;
    default: err = uvf_ctx_with_cancel(parents[0], &ctx);
  }
  HOLDS_FOR(err == 0, err);
  uvf_ctx_release(parents[0]);
  uvf_ctx_release(parents[1]);
  return ctx;
}

/* What has a deadline may end by that; everything else must be cancelled by somebody. */
static void crew_replace_ctx(crew_t *crew, size_t i, int cancel) {
  uvf_ctx_t *old = ctx_swap(crew->index, i, crew->stopping ? NULL : crew_derive(crew));
  if (cancel || (old != NULL && uvf_ctx_deadline_ns(old) == UVF_NO_DEADLINE)) uvf_ctx_cancel(old);
  uvf_ctx_release(old);
}

static void crew_dump(crew_t *crew) {
  fprintf(stderr, "loop %zu: %zu requests are on their way\n", crew->index, crew_busy(crew));
  if (crew->root != NULL) uvf_ctx_dump(crew->root, stderr);
  atomic_store(&crew->ask, 0);
}

static void on_tick(uv_timer_t *timer) {
  crew_t *crew = timer->data;
  dice_t *dice = &crew->dice;
  if (atomic_load(&crew->ask)) crew_dump(crew);
  if (crew->stopping) return;
  if (one_in(dice, 64)) crew->lazy = !crew->lazy;
  for (int i = 0; i < 2; i++) crew_replace_ctx(crew, below(dice, CTXS), one_in(dice, 2));
  if (one_in(dice, 8)) ctx_cancel_one(dice);
  crew_start_some(crew);
}

/* These run on the crew's thread. */

static void crew_begin(void *arg) {
  crew_t *crew = arg;
  crew->root = crew->lane.root;
  for (size_t i = 0; i < CTXS; i++) crew_replace_ctx(crew, i, 0);
  if (uv_timer_init(&crew->lane.loop, &crew->timer) != 0) abort();
  crew->timer.data = crew;
  if (uv_timer_start(&crew->timer, on_tick, 1, 1) != 0) abort();
}

/* Starts nothing any more, and ends what is there. */
static void crew_rest(void *arg) {
  crew_t *crew = arg;
  crew->stopping = 1;
  for (size_t i = 0; i < CTXS; i++) crew_replace_ctx(crew, i, 1);
}

static void crew_count(void *arg) { ((crew_t *)arg)->nbusy = crew_busy(arg); }

static void crew_on_closed(uvf_ctx_t *root) {
  crew_t *crew = (crew_t *)uvf_ctx_loop(root)->data; /* the lane is its first field */
  crew->lane.roots_closed++;
  crew->root = NULL;
  uv_close((uv_handle_t *)&crew->timer, NULL);
}

static void crew_close(void *arg) {
  crew_t *crew = arg;
  crew->stopping = 1;
  crew->lane.root = NULL; /* lane_stop need not close it */
  uvf_ctx_close(crew->root, crew_on_closed);
}

/* And these on the test's. */

static void crews_call(void (*fn)(void *)) {
  for (size_t i = 0; i < CREWS; i++) lane_call(&crews[i].lane, fn, &crews[i]);
}

static void crews_start(uint64_t *seed) {
  memset(crews, 0, sizeof crews);
  for (size_t i = 0; i < CREWS; i++) {
    assert_int_equal(uv_mutex_init(&pools[i].mutex), 0);
    crews[i].index = i;
    crews[i].dice = dice_from(seed);
    lane_start(&crews[i].lane);
  }
  crews_call(crew_begin);
}

/* Until every request has ended, without closing anything. */
static void crews_rest(void) {
  size_t busy = 1;
  crews_call(crew_rest);
  while (busy > 0) {
    uv_sleep(1);
    crews_call(crew_count);
    busy = 0;
    for (size_t i = 0; i < CREWS; i++) busy += crews[i].nbusy;
  }
}

static void crews_stop(void) {
  crews_call(crew_close);
  for (size_t i = 0; i < CREWS; i++) {
    lane_stop(&crews[i].lane);
    HOLDS_FOR(crew_busy(&crews[i]) == 0, crew_busy(&crews[i]));
  }
}

/* The contexts that are left: after their loop is gone, when no thread uses them any more. */
static void crews_release(void) {
  for (size_t i = 0; i < CREWS; i++) {
    for (size_t k = 0; k < CTXS; k++) uvf_ctx_release(ctx_swap(i, k, NULL));
    uv_mutex_destroy(&pools[i].mutex);
  }
}

/* --- the watchdog: shows how far it is, and what is stuck --- */

typedef struct watchdog_s {
  size_t n;                    /* of those it watches, WATCHED at most */
  uint64_t (*moves)(size_t i); /* grows whenever the i-th of them has done something; any thread */
  double (*part)(void);        /* done, of 1 */
  void (*stuck)(void);         /* says more; may be NULL */
  uv_thread_t thread;
  uv_mutex_t mutex; /* guards end */
  uv_cond_t cond;
  int end;
} watchdog_t;

static void watchdog_bite(watchdog_t *dog, size_t who) {
  fprintf(stderr, "\nnumber %zu of %zu has not moved for a minute; %.1f %% are done\n", who, dog->n, dog->part() * 100);
  for (size_t i = 0; i < CREWS; i++) atomic_store(&crews[i].ask, 1);
  uv_sleep(2000);
  for (size_t i = 0; i < CREWS; i++) {
    if (atomic_load(&crews[i].ask)) fprintf(stderr, "loop %zu does not answer\n", i);
  }
  if (dog->stuck != NULL) dog->stuck();
  fflush(NULL);
  _Exit(1);
}

static void watchdog_main(void *arg) {
  watchdog_t *dog = arg;
  uint64_t moves[WATCHED] = {0}, since[WATCHED] = {0};
  int shows = uv_guess_handle(2) == UV_TTY;
  uv_mutex_lock(&dog->mutex);
  while (!dog->end) {
    uint64_t now = uv_hrtime();
    for (size_t i = 0; i < dog->n; i++) {
      if (since[i] == 0 || dog->moves(i) != moves[i]) since[i] = now;
      if (now - since[i] > STUCK_NS) watchdog_bite(dog, i);
      moves[i] = dog->moves(i);
    }
    if (shows) fprintf(stderr, "\r%3.0f %% ", dog->part() * 100);
    uv_cond_timedwait(&dog->cond, &dog->mutex, 500 * MS_NS);
  }
  if (shows) fprintf(stderr, "\r%6s\r", "");
  uv_mutex_unlock(&dog->mutex);
}

static void watchdog_start(watchdog_t *dog) {
  dog->end = 0;
  assert_int_equal(uv_mutex_init(&dog->mutex), 0);
  assert_int_equal(uv_cond_init(&dog->cond), 0);
  assert_int_equal(uv_thread_create(&dog->thread, watchdog_main, dog), 0);
}

static void watchdog_stop(watchdog_t *dog) {
  uv_mutex_lock(&dog->mutex);
  dog->end = 1;
  uv_cond_signal(&dog->cond);
  uv_mutex_unlock(&dog->mutex);
  assert_int_equal(uv_thread_join(&dog->thread), 0);
  uv_cond_destroy(&dog->cond);
  uv_mutex_destroy(&dog->mutex);
}

#endif
