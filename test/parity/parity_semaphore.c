/* SPDX-License-Identifier: MIT
 *
 * Parity rows S-1 to S-10: Go's weighted semaphore. Each acquire is tried as a request on the loop and by a blocked
 * thread.
 */
#include "race.h"

typedef struct acquire_s {
  uvf_wait_t wait;
  uvf_sem_t *sem;
  uvf_ctx_t *ctx;
  uint64_t n;
  int calls;
  int status;
  uv_thread_t thread;
} acquire_t;

static void on_acquire(uvf_wait_t *wait, int status) {
  acquire_t *a = wait->data;
  a->calls++;
  a->status = status;
}

static void acquire_start(acquire_t *a, uvf_ctx_t *ctx, uvf_sem_t *sem, uint64_t n) {
  memset(a, 0xff, sizeof *a);
  a->calls = 0;
  a->wait.data = a;
  assert_int_equal(uvf_sem_acquire(ctx, &a->wait, sem, n, on_acquire), 0);
  assert_int_equal(a->calls, 0);
}

static void acquire_block(void *arg) {
  acquire_t *a = arg;
  a->status = uvf_sem_acquire_wait(a->ctx, a->sem, a->n);
}

static void thread_start(acquire_t *a, uvf_ctx_t *ctx, uvf_sem_t *sem, uint64_t n) {
  memset(a, 0, sizeof *a);
  a->ctx = ctx;
  a->sem = sem;
  a->n = n;
  a->status = 1;
  assert_int_equal(uv_thread_create(&a->thread, acquire_block, a), 0);
}

/* Acquires and waits for the answer, in one of the two ways. */
static int acquire_now(fixture_t *f, uvf_ctx_t *ctx, uvf_sem_t *sem, uint64_t n, int by_thread) {
  acquire_t a;
  if (by_thread) {
    thread_start(&a, ctx, sem, n);
    assert_int_equal(uv_thread_join(&a.thread), 0);
  } else {
    acquire_start(&a, ctx, sem, n);
    run_until(&f->loop, &a.calls, 1);
    settle(&f->loop);
    assert_int_equal(a.calls, 1);
  }
  return a.status;
}

/* While somebody waits nothing can be had, not even nothing; a try that succeeds has taken nothing. */
static void await_waiter(uvf_sem_t *sem) {
  uint64_t limit = uv_hrtime() + UINT64_C(20000) * MS_NS;
  while (uvf_sem_try_acquire(sem, 0) == 0 && uv_hrtime() < limit) uv_sleep(0);
  assert_int_equal(uvf_sem_try_acquire(sem, 0), UV_EAGAIN);
}

static void sem_end(uvf_sem_t *sem, uint64_t size) {
  assert_int_equal(uvf_sem_available(sem), size);
  assert_int_equal(uvf_sem_try_acquire(sem, size), 0);
  assert_int_equal(uvf_sem_release(sem, size), 0);
  assert_int_equal(uvf_sem_destroy(sem), 0);
}

/* --- S-1 ---------------------------------------------------------------------------------------------------------- */

typedef struct hammer_s {
  uvf_sem_t *sem;
  uvf_ctx_t *ctx;
  atomic_uint_fast64_t *out;
  uint64_t size, n, seed;
  size_t rounds;
  int wrong;
} hammer_t;

static void hammer(void *arg) {
  hammer_t *h = arg;
  for (size_t i = 0; i < h->rounds; i++) {
    if (uvf_sem_acquire_wait(h->ctx, h->sem, h->n) != 0) h->wrong++;
    if (atomic_fetch_add(h->out, h->n) + h->n > h->size) h->wrong++;
    if (test_rand(&h->seed) % 4 == 0) uv_sleep(0);
    atomic_fetch_sub(h->out, h->n);
    if (uvf_sem_release(h->sem, h->n) != 0) h->wrong++;
  }
}

static void s01_hammer_with_weights_ends(void **state) {
  enum { N = RACE_MAX };
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  atomic_uint_fast64_t out;
  uvf_sem_t sem;
  race_t race;
  hammer_t hammers[N];
  atomic_init(&out, 0);
  assert_int_equal(uvf_sem_init(&sem, N), 0);
  race_init(&race, N);
  for (int i = 0; i < N; i++) {
    hammers[i] =
        (hammer_t){&sem, f->root, &out, N, (uint64_t)i, test_rand(&seed), test_scaled(10000 / (size_t)N, 10), 0};
    race_add(&race, hammer, &hammers[i], race_delay(&seed));
  }
  race_join(&race);
  for (int i = 0; i < N; i++) assert_int_equal(hammers[i].wrong, 0);
  sem_end(&sem, N);
}

/* --- S-2 ---------------------------------------------------------------------------------------------------------- */

static void release_one(void *arg) {
  if (uvf_sem_release(arg, 1) != UV_EINVAL) abort();
}

static void s02_release_of_what_is_not_held_is_misuse(void **state) {
  uvf_sem_t sem;
  (void)state;
  assert_int_equal(uvf_sem_init(&sem, 1), 0);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(release_one, &sem);
    assert_non_null(rule);
    assert_string_equal(rule, "uvf_sem_release: releases more than is held");
  } else {
    release_one(&sem);
  }
  sem_end(&sem, 1);
}

/* --- S-3, S-4: acquire 1 of 2, then four tries -------------------------------------------------------------------- */

static void s03_try_acquire(void **state) {
  fixture_t *f = *state;
  uvf_sem_t sem;
  for (int by_thread = 0; by_thread < 2; by_thread++) {
    assert_int_equal(uvf_sem_init(&sem, 2), 0);
    assert_int_equal(acquire_now(f, f->root, &sem, 1, by_thread), 0);
    assert_int_equal(uvf_sem_try_acquire(&sem, 1), 0);
    assert_int_equal(uvf_sem_try_acquire(&sem, 1), UV_EAGAIN);
    assert_int_equal(uvf_sem_release(&sem, 2), 0);
    assert_int_equal(uvf_sem_try_acquire(&sem, 1), 0);
    assert_int_equal(acquire_now(f, f->root, &sem, 1, by_thread), 0);
    assert_int_equal(uvf_sem_try_acquire(&sem, 1), UV_EAGAIN);
    assert_int_equal(uvf_sem_release(&sem, 2), 0);
    sem_end(&sem, 2);
  }
}

static int acquire_in_10_ms(fixture_t *f, uvf_sem_t *sem, int by_thread) {
  uvf_ctx_t *ctx = timeout_of(f->root, 10);
  uint64_t deadline_ns = uvf_ctx_deadline_ns(ctx);
  int rc = acquire_now(f, ctx, sem, 1, by_thread);
  if (rc == UV_ETIMEDOUT) assert_true(uv_hrtime() >= deadline_ns);
  RELEASE(ctx);
  return rc;
}

/* What can be had at once must not depend on 10 ms: that is asked under the root. */
static void s04_acquire_fails_by_timeout(void **state) {
  fixture_t *f = *state;
  uvf_sem_t sem;
  for (int by_thread = 0; by_thread < 2; by_thread++) {
    assert_int_equal(uvf_sem_init(&sem, 2), 0);
    assert_int_equal(acquire_now(f, f->root, &sem, 1, by_thread), 0);
    assert_int_equal(acquire_now(f, f->root, &sem, 1, by_thread), 0);
    assert_int_equal(acquire_in_10_ms(f, &sem, by_thread), UV_ETIMEDOUT);
    assert_int_equal(uvf_sem_release(&sem, 2), 0);
    assert_int_equal(acquire_now(f, f->root, &sem, 1, by_thread), 0);
    assert_int_equal(acquire_now(f, f->root, &sem, 1, by_thread), 0);
    assert_int_equal(acquire_in_10_ms(f, &sem, by_thread), UV_ETIMEDOUT);
    assert_int_equal(uvf_sem_release(&sem, 2), 0);
    sem_end(&sem, 2);
  }
}

/* --- S-5 to S-7: large requests ----------------------------------------------------------------------------------- */

static void s05_a_request_larger_than_the_size_blocks_nobody(void **state) {
  fixture_t *f = *state;
  uvf_sem_t sem;
  uvf_ctx_t *ctx = cancel_of(f->root);
  acquire_t request;
  acquire_t thread;
  assert_int_equal(uvf_sem_init(&sem, 2), 0);
  acquire_start(&request, ctx, &sem, 3);
  thread_start(&thread, ctx, &sem, 3);
  for (int i = 0; i < 100; i++) {
    assert_int_equal(acquire_now(f, f->root, &sem, 2, i % 2), 0);
    assert_int_equal(uvf_sem_release(&sem, 2), 0);
  }
  assert_int_equal(request.calls, 0);
  uvf_ctx_cancel(ctx);
  assert_int_equal(uv_thread_join(&thread.thread), 0);
  settle(&f->loop);
  assert_int_equal(request.calls, 1);
  assert_int_equal(request.status, UV_ECANCELED);
  assert_int_equal(thread.status, UV_ECANCELED);
  RELEASE(ctx);
  sem_end(&sem, 2);
}

/* Small ones come and go without end, several at once, so that the whole is never free by itself. */
typedef struct stream_s {
  uvf_sem_t *sem;
  uvf_ctx_t *ctx;
  atomic_int *stop;
  size_t n;
  int wrong;
} stream_t;

static void stream(void *arg) {
  stream_t *s = arg;
  while (!atomic_load(s->stop)) {
    if (uvf_sem_acquire_wait(s->ctx, s->sem, 1) != 0) s->wrong++;
    s->n++;
    uv_sleep(0);
    if (uvf_sem_release(s->sem, 1) != 0) s->wrong++;
  }
}

static void s06_a_large_request_is_not_starved(void **state) {
  enum { N = RACE_MAX };
  fixture_t *f = *state;
  for (int by_thread = 0; by_thread < 2; by_thread++) {
    atomic_int stop;
    uvf_sem_t sem;
    race_t race;
    stream_t streams[N];
    atomic_init(&stop, 0);
    assert_int_equal(uvf_sem_init(&sem, N), 0);
    race_init(&race, N);
    for (int i = 0; i < N; i++) {
      streams[i] = (stream_t){&sem, f->root, &stop, 0, 0};
      race_add(&race, stream, &streams[i], 0);
    }
    for (int i = 0; i < 20; i++) {
      assert_int_equal(acquire_now(f, f->root, &sem, N, by_thread), 0);
      assert_int_equal(uvf_sem_available(&sem), 0);
      assert_int_equal(uvf_sem_release(&sem, N), 0);
    }
    atomic_store(&stop, 1);
    race_join(&race);
    for (int i = 0; i < N; i++) assert_int_equal(streams[i].wrong, 0);
    sem_end(&sem, N);
  }
}

static void s07_a_cancelled_head_lets_the_small_ones_proceed(void **state) {
  fixture_t *f = *state;
  for (int by_thread = 0; by_thread < 2; by_thread++) {
    uvf_sem_t sem;
    uvf_ctx_t *ctx = cancel_of(f->root);
    acquire_t large;
    acquire_t small[2];
    assert_int_equal(uvf_sem_init(&sem, 3), 0);
    assert_int_equal(uvf_sem_try_acquire(&sem, 1), 0);
    if (by_thread) {
      thread_start(&large, ctx, &sem, 3);
      await_waiter(&sem);
    } else {
      acquire_start(&large, ctx, &sem, 3);
    }
    for (int i = 0; i < 2; i++) acquire_start(&small[i], f->root, &sem, 1);
    settle(&f->loop);
    for (int i = 0; i < 2; i++) assert_int_equal(small[i].calls, 0); /* enough is free, but it is not their turn */
    uvf_ctx_cancel(ctx);
    if (by_thread) assert_int_equal(uv_thread_join(&large.thread), 0);
    settle(&f->loop);
    assert_int_equal(large.status, UV_ECANCELED);
    for (int i = 0; i < 2; i++) {
      assert_int_equal(small[i].calls, 1);
      assert_int_equal(small[i].status, 0);
    }
    assert_int_equal(uvf_sem_release(&sem, 3), 0);
    RELEASE(ctx);
    sem_end(&sem, 3);
  }
}

/* --- S-8 to S-10: failed acquires --------------------------------------------------------------------------------- */

typedef struct late_s {
  uvf_sem_t *sem;
  uvf_ctx_t *ctx;
} late_t;

static void cancel_then_release(void *arg) {
  late_t *late = arg;
  uvf_ctx_cancel(late->ctx);
  if (uvf_sem_release(late->sem, 1) != 0) abort();
}

/* From another thread: the waiter's loop learns of the cancel after the units have come. */
static void s08_cancelled_before_the_units_come_is_cancelled_and_nothing_is_lost(void **state) {
  fixture_t *f = *state;
  for (int way = 0; way < 3; way++) {
    uvf_sem_t sem;
    uvf_ctx_t *ctx = cancel_of(f->root);
    acquire_t a;
    late_t late = {&sem, ctx};
    assert_int_equal(uvf_sem_init(&sem, 2), 0);
    assert_int_equal(uvf_sem_try_acquire(&sem, 1), 0);
    settle(&f->loop);
    if (way == 2) {
      thread_start(&a, ctx, &sem, 2);
      await_waiter(&sem);
    } else {
      acquire_start(&a, ctx, &sem, 2);
    }
    if (way == 0) {
      cancel_then_release(&late);
    } else {
      run_on_thread(cancel_then_release, &late);
    }
    if (way == 2) assert_int_equal(uv_thread_join(&a.thread), 0);
    settle(&f->loop);
    assert_int_equal(a.status, UV_ECANCELED);
    assert_int_equal(uvf_sem_try_acquire(&sem, 2), 0);
    assert_int_equal(uvf_sem_release(&sem, 2), 0);
    RELEASE(ctx);
    sem_end(&sem, 2);
  }
}

static void s09_acquire_fails_under_a_context_that_is_over_though_it_need_not_wait(void **state) {
  fixture_t *f = *state;
  uvf_sem_t sem;
  uvf_ctx_t *ctx = cancel_of(f->root);
  uvf_ctx_t *late = timeout_of(f->root, 0);
  assert_int_equal(uvf_sem_init(&sem, 1), 0);
  uvf_ctx_cancel(ctx);
  for (int by_thread = 0; by_thread < 2; by_thread++) {
    assert_int_equal(acquire_now(f, ctx, &sem, 1, by_thread), UV_ECANCELED);
    assert_int_equal(acquire_now(f, ctx, &sem, 0, by_thread), UV_ECANCELED);
    assert_int_equal(acquire_now(f, late, &sem, 1, by_thread), UV_ETIMEDOUT);
  }
  RELEASE(ctx, late);
  sem_end(&sem, 1);
}

static void s10_a_failed_acquire_changes_nothing_and_a_try_overtakes_nobody(void **state) {
  fixture_t *f = *state;
  for (int by_thread = 0; by_thread < 2; by_thread++) {
    uvf_sem_t sem;
    uvf_ctx_t *ctx = cancel_of(f->root);
    acquire_t a;
    assert_int_equal(uvf_sem_init(&sem, 3), 0);
    assert_int_equal(uvf_sem_try_acquire(&sem, 2), 0);
    if (by_thread) {
      thread_start(&a, ctx, &sem, 3);
      await_waiter(&sem);
    } else {
      acquire_start(&a, ctx, &sem, 3);
    }
    assert_int_equal(uvf_sem_available(&sem), 1);
    assert_int_equal(uvf_sem_try_acquire(&sem, 1), UV_EAGAIN);
    uvf_ctx_cancel(ctx);
    if (by_thread) assert_int_equal(uv_thread_join(&a.thread), 0);
    settle(&f->loop);
    assert_int_equal(a.status, UV_ECANCELED);
    assert_int_equal(uvf_sem_available(&sem), 1);
    assert_int_equal(uvf_sem_try_acquire(&sem, 1), 0);
    assert_int_equal(uvf_sem_release(&sem, 3), 0);
    RELEASE(ctx);
    sem_end(&sem, 3);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(s01_hammer_with_weights_ends),
      unit(s02_release_of_what_is_not_held_is_misuse),
      unit(s03_try_acquire),
      unit(s04_acquire_fails_by_timeout),
      unit(s05_a_request_larger_than_the_size_blocks_nobody),
      unit(s06_a_large_request_is_not_starved),
      unit(s07_a_cancelled_head_lets_the_small_ones_proceed),
      unit(s08_cancelled_before_the_units_come_is_cancelled_and_nothing_is_lost),
      unit(s09_acquire_fails_under_a_context_that_is_over_though_it_need_not_wait),
      unit(s10_a_failed_acquire_changes_nothing_and_a_try_overtakes_nobody),
  };
  return test_run(tests);
}
