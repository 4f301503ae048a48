/* SPDX-License-Identifier: MIT
 *
 * Semaphore, snapshot, limiter, wait group: calls that never wait, on one thread.
 *
 * Where the time of sem-try goes (release build, ns for an acquire and a release): 9.5 are the two locked instructions
 * alone, whichever they are (compare and swap, add, exchange), and that is the floor of a word that threads share;
 * 0.1 are the loads, the units and WAITERS checked; 0.5 that both are calls; 0.4 is the rest, such as NULL that is
 * refused, and n, which is a variable. The shared library costs the same as the static one, to 0.1. So the goal of 5 ns
 * lies below the row's floor wherever a locked instruction takes more than 2.5 ns; what the library adds is the
 * difference between the two lines.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "bench.h"

/* --- calls that never wait: one state for all of them ------------------------------------------------------------- */

typedef struct tools_s {
  bench_loop_t b;
  uvf_sem_t sem;
  uvf_mutex_t mutex;
  uvf_snapshot_t snapshot;
  uvf_limiter_t limiter;
  uvf_waitgroup_t group;
  uv_sem_t raw_sem;
  uv_mutex_t raw_mutex;
  uv_cond_t raw_cond;
  uv_rwlock_t raw_rwlock;
  void *value;
  uint64_t count;
  double tokens;
  uint64_t at_ns;
  _Atomic(uint64_t) word;
} tools_t;

#define PLENTY 1e12

static void thread_main(void *arg) { (void)arg; }

/* A process that never had a second thread may get its mutexes without locked instructions, which nobody here is out to
 * measure. */
static void have_had_a_thread(void) {
  uv_thread_t thread;
  bench_must("uv_thread_create", uv_thread_create(&thread, thread_main, NULL));
  bench_must("uv_thread_join", uv_thread_join(&thread));
}

static void *tools_setup(size_t size) {
  tools_t *t = bench_alloc(1, sizeof(*t));
  (void)size;
  have_had_a_thread();
  bench_loop_open(&t->b, 1);
  bench_must("uvf_sem_init", uvf_sem_init(&t->sem, 1));
  bench_must("uvf_mutex_init", uvf_mutex_init(&t->mutex));
  bench_must("uvf_snapshot_init", uvf_snapshot_init(&t->snapshot, t, NULL));
  bench_must("uvf_limiter_init", uvf_limiter_init(&t->limiter, PLENTY, PLENTY));
  uvf_waitgroup_init(&t->group);
  bench_must("uv_sem_init", uv_sem_init(&t->raw_sem, 1));
  bench_must("uv_mutex_init", uv_mutex_init(&t->raw_mutex));
  bench_must("uv_cond_init", uv_cond_init(&t->raw_cond));
  bench_must("uv_rwlock_init", uv_rwlock_init(&t->raw_rwlock));
  t->value = t;
  t->tokens = PLENTY;
  t->at_ns = uv_hrtime();
  return t;
}

static void tools_teardown(void *state) {
  tools_t *t = state;
  bench_must("uvf_sem_destroy", uvf_sem_destroy(&t->sem));
  bench_must("uvf_mutex_destroy", uvf_mutex_destroy(&t->mutex));
  bench_must("uvf_snapshot_destroy", uvf_snapshot_destroy(&t->snapshot));
  bench_must("uvf_limiter_destroy", uvf_limiter_destroy(&t->limiter));
  uv_sem_destroy(&t->raw_sem);
  uv_mutex_destroy(&t->raw_mutex);
  uv_cond_destroy(&t->raw_cond);
  uv_rwlock_destroy(&t->raw_rwlock);
  bench_loop_close(&t->b);
  free(t);
}

/* A run of a body that is done for each operation. */
#define RUN(name, body)                                                                                                \
  static void name(void *state, uint64_t ops, bench_sample_t *s) {                                                     \
    tools_t *t = state;                                                                                                \
    int rc = 0;                                                                                                        \
    uint64_t start = uv_hrtime();                                                                                      \
    for (uint64_t i = 0; i < ops; i++) {                                                                               \
      body                                                                                                             \
    }                                                                                                                  \
    s->amount += uv_hrtime() - start;                                                                                  \
    s->ops += ops;                                                                                                     \
    bench_must(#name, rc);                                                                                             \
  }

RUN(sem_try_run, rc |= uvf_sem_try_acquire(&t->sem, 1); rc |= uvf_sem_release(&t->sem, 1);)
RUN(mutex_try_run, rc |= uvf_mutex_try_lock(&t->mutex); rc |= uvf_mutex_unlock(&t->mutex);)
RUN(raw_sem_run, rc |= uv_sem_trywait(&t->raw_sem); uv_sem_post(&t->raw_sem);)
RUN(raw_mutex_run, uv_mutex_lock(&t->raw_mutex); uv_mutex_unlock(&t->raw_mutex);)

static int swap(tools_t *t, uint64_t from, uint64_t to) {
  return atomic_compare_exchange_strong_explicit(&t->word, &from, to, memory_order_acq_rel, memory_order_relaxed);
}

RUN(floor_run, rc |= !swap(t, 0, 1); rc |= !swap(t, 1, 0);)

RUN(snapshot_run, uvf_snapshot_ref_t ref; rc |= uvf_snapshot_get(&t->snapshot, &ref) != t;
    uvf_snapshot_put(&t->snapshot, &ref);)
RUN(raw_rwlock_run, uv_rwlock_rdlock(&t->raw_rwlock); rc |= t->value != t; uv_rwlock_rdunlock(&t->raw_rwlock);)
RUN(raw_count_run, uv_mutex_lock(&t->raw_mutex); rc |= t->value != t; t->count++; uv_mutex_unlock(&t->raw_mutex);
    uv_mutex_lock(&t->raw_mutex); t->count--; uv_mutex_unlock(&t->raw_mutex);)

RUN(limiter_run, rc |= uvf_limiter_try(&t->limiter, 1);)

/* Tokens by the clock, under a mutex. */
static int bucket_try(tools_t *t, double n) {
  uint64_t now = uv_hrtime();
  uv_mutex_lock(&t->raw_mutex);
  t->tokens += (double)(now - t->at_ns) * 1e-9 * PLENTY;
  if (t->tokens > PLENTY) t->tokens = PLENTY;
  t->at_ns = now;
  int there = t->tokens >= n;
  if (there) t->tokens -= n;
  uv_mutex_unlock(&t->raw_mutex);
  return there ? 0 : UV_EAGAIN;
}

RUN(raw_bucket_run, rc |= bucket_try(t, 1);)

RUN(waitgroup_run, rc |= uvf_waitgroup_add(&t->group, 1); rc |= uvf_waitgroup_done(&t->group);)

static void count_add(tools_t *t) {
  uv_mutex_lock(&t->raw_mutex);
  t->count++;
  uv_mutex_unlock(&t->raw_mutex);
}

static void count_done(tools_t *t) {
  uv_mutex_lock(&t->raw_mutex);
  if (--t->count == 0) uv_cond_broadcast(&t->raw_cond);
  uv_mutex_unlock(&t->raw_mutex);
}

RUN(raw_add_done_run, count_add(t); count_done(t);)

static const bench_impl_t ours_sem_try = {"uvflow", tools_setup, sem_try_run, tools_teardown};
static const bench_impl_t ours_mutex_try = {"uvflow: uvf_mutex", tools_setup, mutex_try_run, tools_teardown};
static const bench_impl_t raw_sem_try = {"libuv: uv_sem trywait + post", tools_setup, raw_sem_run, tools_teardown};
static const bench_impl_t raw_mutex = {"libuv: uv_mutex lock + unlock", tools_setup, raw_mutex_run, tools_teardown};
static const bench_impl_t floor_cas = {"floor: two locked instructions", tools_setup, floor_run, tools_teardown};
static const bench_impl_t ours_snapshot = {"uvflow", tools_setup, snapshot_run, tools_teardown};
static const bench_impl_t raw_rwlock = {"libuv: uv_rwlock rdlock + rdunlock", tools_setup, raw_rwlock_run,
                                        tools_teardown};
static const bench_impl_t raw_count = {"libuv: count under a uv_mutex", tools_setup, raw_count_run, tools_teardown};
static const bench_impl_t ours_limiter = {"uvflow", tools_setup, limiter_run, tools_teardown};
static const bench_impl_t raw_bucket = {"libuv: uv_mutex, uv_hrtime", tools_setup, raw_bucket_run, tools_teardown};
static const bench_impl_t ours_waitgroup = {"uvflow", tools_setup, waitgroup_run, tools_teardown};
static const bench_impl_t raw_add_done = {"libuv: uv_mutex, uv_cond", tools_setup, raw_add_done_run, tools_teardown};

/* --- rows --------------------------------------------------------------------------------------------------------- */

const bench_row_t bench_sync_rows[] = {
    {.name = "sem-try",
     .title = "semaphore: try_acquire + release",
     .what = "Timed: uvf_sem_try_acquire of 1 and uvf_sem_release, on one thread, free every time. Raw: uv_sem_trywait "
             "and uv_sem_post; uv_mutex_lock and uv_mutex_unlock. Floor: a compare-and-swap down and one up on one "
             "word, inlined.",
     .goal = 5,
     .impls = {&ours_sem_try, &raw_sem_try, &raw_mutex, &floor_cas, &ours_mutex_try}},
    {.name = "snapshot-get",
     .title = "snapshot: get + put",
     .what =
         "Timed: uvf_snapshot_get and uvf_snapshot_put, on one thread. Raw: a read lock taken and given back; and a "
         "count of readers, up and down, under a mutex.",
     .impls = {&ours_snapshot, &raw_rwlock, &raw_count}},
    {.name = "limiter-try",
     .title = "limiter: try, tokens there",
     .what =
         "Timed: uvf_limiter_try of 1 token, there every time, on one thread. Raw: a bucket under a mutex, which reads "
         "the clock too.",
     .impls = {&ours_limiter, &raw_bucket}},
    {.name = "waitgroup",
     .title = "wait group: add + done",
     .what = "Timed: uvf_waitgroup_add of 1 and uvf_waitgroup_done, on one thread, nobody waits. Raw: a count under a "
             "mutex, a condition that is broadcast at zero: here each time.",
     .impls = {&ours_waitgroup, &raw_add_done}},
    {.name = NULL},
};
