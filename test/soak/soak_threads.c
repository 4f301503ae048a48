/* SPDX-License-Identifier: MIT
 *
 * 100 threads cancel, ask, retain, release and stop watchers at random over one tree, whose loop grows it on a thread
 * of its own. In the end every watcher was either called once or removed, never both, and all memory is back.
 */
#include <stdatomic.h>

#include "unit/probe.h"

enum { THREADS = 100, SLOTS = 64, GROWTH = 64, WATCHERS = 20000, STEPS = 400 };

#define LIMIT_NS (UINT64_C(20000) * MS_NS) /* a slow machine makes fewer watchers, not a longer test */

/* A watcher is used once: a stop that timed out may still be carried out later. */
typedef struct spy_s {
  uvf_watch_t watch;
  atomic_int calls, removed, unanswered, bad;
} spy_t;

/* What the threads may take. Guarded by the mutex; a context in it is held by a reference of its own. */
typedef struct slot_s {
  uvf_ctx_t *ctx;
  spy_t *spy;
} slot_t;

static lane_t lane;
static uv_mutex_t mutex;
static slot_t slots[SLOTS];
static spy_t *spies;
static size_t nspies, most_spies; /* the lane's */
static uint64_t lane_seed;
static uvf_ctx_t *branches[8]; /* the lane's: long-lived contexts between root and leaves */
static atomic_int grown;       /* the lane has used up its watchers */
static atomic_size_t steps;    /* of all threads */
static uv_idle_t grower;

static void on_spy(uvf_watch_t *watch, int status) {
  spy_t *spy = (spy_t *)watch;
  atomic_fetch_add(&spy->calls, 1);
  if (status != UV_ECANCELED && status != UV_ETIMEDOUT) atomic_store(&spy->bad, 1);
  if (uvf_ctx_err(watch->ctx) != status) atomic_store(&spy->bad, 2);
}

static slot_t swap_slot(size_t i, slot_t next) {
  slot_t old;
  uv_mutex_lock(&mutex);
  old = slots[i];
  slots[i] = next;
  uv_mutex_unlock(&mutex);
  return old;
}

/* --- the loop's side --- */

/* Makes a few leaves with a watcher each, now and then a new branch, and offers them. */
static void grow(uv_idle_t *idle) {
  static size_t grown_at;
  if (nspies > 0 && atomic_load(&steps) - grown_at < STEPS) return; /* the threads must keep up */
  grown_at = atomic_load(&steps);
  for (int i = 0; i < GROWTH && nspies < most_spies; i++) {
    uint64_t dice = test_rand(&lane_seed) >> 8;
    uvf_ctx_t **branch = &branches[dice % ARRAY_SIZE(branches)], *leaf = NULL;
    slot_t fresh, old;
    if (*branch == NULL || uvf_ctx_err(*branch) != 0) {
      uvf_ctx_release(*branch);
      if (uvf_ctx_with_cancel(lane.root, branch) != 0) abort();
    }
    if ((dice >> 8) % 2) {
      if (uvf_ctx_with_timeout(*branch, (dice >> 16) % 20, &leaf) != 0) abort();
    } else {
      if (uvf_ctx_with_cancel(*branch, &leaf) != 0) abort();
    }
    fresh.spy = &spies[nspies++];
    fresh.ctx = (dice >> 24) % 16 == 0 ? uvf_ctx_retain(*branch) : uvf_ctx_retain(leaf); /* some get hold of a branch */
    if (uvf_ctx_on_done(fresh.ctx, &fresh.spy->watch, on_spy) != 0) abort();
    uvf_ctx_release(leaf);
    old = swap_slot((size_t)(dice >> 32) % SLOTS, fresh);
    uvf_ctx_release(old.ctx);
  }
  if (nspies < most_spies) return;
  uv_idle_stop(idle); /* from now on the loop sleeps unless it is woken */
  atomic_store(&grown, 1);
}

static void grow_on_and_on(void *arg) {
  (void)arg;
  if (uv_idle_init(&lane.loop, &grower) != 0 || uv_idle_start(&grower, grow) != 0) abort();
}

static void prune(void *arg) {
  (void)arg;
  uv_close((uv_handle_t *)&grower, NULL);
  for (size_t i = 0; i < ARRAY_SIZE(branches); i++) uvf_ctx_release(branches[i]);
  memset(branches, 0, sizeof branches);
}

/* --- the threads' side --- */

static void stop(slot_t *taken, uint64_t timeout_ms) {
  int answer = uvf_watch_stop_wait(taken->ctx, &taken->spy->watch, timeout_ms);
  switch (answer) {
    case UVF_STOP_REMOVED: atomic_fetch_add(&taken->spy->removed, 1); break;
    case UVF_STOP_DONE: break; /* called, or removed by another thread, which may not have noted it yet */
    case UV_ETIMEDOUT: atomic_fetch_add(&taken->spy->unanswered, 1); break;
    default: atomic_store(&taken->spy->bad, 3);
  }
}

static void one_thread(void *arg) {
  uint64_t seed = (uint64_t)(uintptr_t)arg;
  uvf_ctx_t *kept[4] = {NULL};
  uint64_t end = uv_hrtime() + LIMIT_NS;
  for (int after = 0; after < 200; after += atomic_load(&grown)) { /* as long as it grows, and a while longer */
    if (uv_hrtime() >= end) break;
    atomic_fetch_add(&steps, 1);
    uint64_t dice = test_rand(&seed) >> 8;
    size_t at = (size_t)(dice >> 8) % ARRAY_SIZE(kept);
    slot_t taken;
    uv_mutex_lock(&mutex);
    taken = slots[(dice >> 16) % SLOTS];
    uvf_ctx_retain(taken.ctx);
    uv_mutex_unlock(&mutex);
    if (taken.ctx == NULL) continue;
    switch (dice % 16) {
      case 0: uvf_ctx_cancel(taken.ctx); break;
      case 1: uvf_ctx_cancel_cause(taken.ctx, -(int)at - 1, &lane); break;
      case 2: stop(&taken, (dice >> 32) % 3); break;
      case 3:
      case 4: stop(&taken, UVF_WAIT_FOREVER); break;
      case 5:
      case 6: /* whoever sees err sees the cause */
        if (uvf_ctx_err(taken.ctx) != 0 && uvf_ctx_cause(taken.ctx, NULL) == 0) atomic_store(&taken.spy->bad, 4);
        break;
      default: uvf_ctx_release(kept[at]); kept[at] = uvf_ctx_retain(taken.ctx);
    }
    uvf_ctx_release(taken.ctx);
  }
  for (size_t i = 0; i < ARRAY_SIZE(kept); i++) uvf_ctx_release(kept[i]);
}

static void a_hundred_threads_over_one_tree_end_everything_once_and_leak_nothing(void **state) {
  uint64_t seed = test_seed();
  size_t blocks = test_alloc_live(), called = 0, removed = 0;
  uv_thread_t threads[THREADS];
  (void)state;
  most_spies = test_scaled(WATCHERS, 10);
  lane_seed = test_rand(&seed);
  spies = calloc(WATCHERS, sizeof *spies);
  assert_non_null(spies);
  assert_int_equal(uv_mutex_init(&mutex), 0);
  lane_start(&lane);
  for (size_t i = 0; i < THREADS; i++) {
    void *own_seed = (void *)(uintptr_t)(test_rand(&seed) | 1);
    assert_int_equal(uv_thread_create(&threads[i], one_thread, own_seed), 0);
  }
  lane_call(&lane, grow_on_and_on, NULL);
  for (size_t i = 0; i < THREADS; i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
  for (size_t i = 0; i < SLOTS; i++) uvf_ctx_release(swap_slot(i, (slot_t){NULL, NULL}).ctx);
  lane_call(&lane, prune, NULL);
  lane_stop(&lane); /* joined: what the threads and the loop noted is all here */
  for (size_t i = 0; i < nspies; i++) {
    int ends = atomic_load(&spies[i].calls) + atomic_load(&spies[i].removed);
    assert_int_equal(atomic_load(&spies[i].bad), 0);
    if (atomic_load(&spies[i].unanswered) > 0) {
      assert_in_range(ends, 0, 1); /* a stop nobody waited for may have removed it */
    } else {
      assert_int_equal(ends, 1);
    }
    called += (size_t)atomic_load(&spies[i].calls);
    removed += (size_t)atomic_load(&spies[i].removed);
  }
  printf("%zu watchers: %zu called, %zu removed; %zu steps\n", nspies, called, removed, atomic_load(&steps));
  assert_true(atomic_load(&steps) >= nspies / GROWTH * STEPS || !atomic_load(&grown));
  assert_true(called > 0);
  assert_true(removed > 0);
  uv_mutex_destroy(&mutex);
  free(spies);
  assert_int_equal(test_alloc_live(), blocks);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_hundred_threads_over_one_tree_end_everything_once_and_leak_nothing),
  };
  return test_run(tests);
}
