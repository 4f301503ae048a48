/* SPDX-License-Identifier: MIT
 *
 * Semaphore, mutex, snapshot, limiter, wait group.
 */
#include <stdlib.h>
#include <string.h>

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
static const bench_impl_t ours_snapshot = {"uvflow", tools_setup, snapshot_run, tools_teardown};
static const bench_impl_t raw_rwlock = {"libuv: uv_rwlock rdlock + rdunlock", tools_setup, raw_rwlock_run,
                                        tools_teardown};
static const bench_impl_t raw_count = {"libuv: count under a uv_mutex", tools_setup, raw_count_run, tools_teardown};
static const bench_impl_t ours_limiter = {"uvflow", tools_setup, limiter_run, tools_teardown};
static const bench_impl_t raw_bucket = {"libuv: uv_mutex, uv_hrtime", tools_setup, raw_bucket_run, tools_teardown};
static const bench_impl_t ours_waitgroup = {"uvflow", tools_setup, waitgroup_run, tools_teardown};
static const bench_impl_t raw_add_done = {"libuv: uv_mutex, uv_cond", tools_setup, raw_add_done_run, tools_teardown};

/* --- requests on one loop that take turns ------------------------------------------------------------------------- */

typedef struct turns_s turns_t;

typedef struct taker_s {
  turns_t *turns;
  uvf_wait_t wait;
  struct taker_s *next; /* raw */
} taker_t;

struct turns_s {
  bench_loop_t b;
  taker_t *takers;
  size_t n;
  uint64_t to_take;
  size_t running;
  uvf_sem_t sem;
  uvf_mutex_t mutex;
  /* raw */
  uv_idle_t idle;
  size_t free;
  taker_t *due;
  taker_t **due_end;
  taker_t *waits;
  taker_t **waits_end;
};

static turns_t *turns_new(size_t size, int with_root, size_t units) {
  turns_t *t = bench_alloc(1, sizeof(*t));
  bench_loop_open(&t->b, with_root);
  t->takers = bench_alloc(size, sizeof(*t->takers));
  t->n = size;
  for (size_t i = 0; i < size; i++) {
    t->takers[i].turns = t;
    t->takers[i].wait.data = &t->takers[i];
  }
  bench_must("uvf_sem_init", uvf_sem_init(&t->sem, size));
  bench_must("uvf_mutex_init", uvf_mutex_init(&t->mutex));
  bench_must("uv_idle_init", uv_idle_init(&t->b.loop, &t->idle));
  t->idle.data = t;
  t->free = units;
  t->due_end = &t->due;
  t->waits_end = &t->waits;
  return t;
}

static void *turns_ours_setup(size_t size) { return turns_new(size, 1, 0); }
static void *turns_raw_sem_setup(size_t size) { return turns_new(size, 0, size); }
static void *turns_raw_mutex_setup(size_t size) { return turns_new(size, 0, 1); }

static void turns_teardown(void *state) {
  turns_t *t = state;
  bench_must("uvf_sem_destroy", uvf_sem_destroy(&t->sem));
  bench_must("uvf_mutex_destroy", uvf_mutex_destroy(&t->mutex));
  uv_close((uv_handle_t *)&t->idle, NULL);
  bench_loop_close(&t->b);
  free(t->takers);
  free(t);
}

static void turns_run(turns_t *t, uint64_t ops, void (*take)(taker_t *taker), bench_sample_t *s) {
  uint64_t start = uv_hrtime();
  t->to_take = ops;
  for (size_t i = 0; i < t->n && t->to_take; i++) {
    t->to_take--;
    t->running++;
    take(&t->takers[i]);
  }
  uv_run(&t->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

/* The taker has had its turn; the next one of its own, if there is one. */
static void turns_next(taker_t *taker, void (*take)(taker_t *taker)) {
  turns_t *t = taker->turns;
  if (t->to_take) {
    t->to_take--;
    take(taker);
  } else if (--t->running == 0) {
    uv_stop(&t->b.loop);
  }
}

static void sem_take(taker_t *taker);

static void on_acquired(uvf_wait_t *wait, int status) {
  taker_t *taker = wait->data;
  bench_must("an acquire's status", status);
  bench_must("uvf_sem_release", uvf_sem_release(&taker->turns->sem, 1));
  turns_next(taker, sem_take);
}

static void sem_take(taker_t *taker) {
  turns_t *t = taker->turns;
  bench_must("uvf_sem_acquire", uvf_sem_acquire(t->b.root, &taker->wait, &t->sem, 1, on_acquired));
}

static void mutex_take(taker_t *taker);

static void on_locked(uvf_wait_t *wait, int status) {
  taker_t *taker = wait->data;
  bench_must("a lock's status", status);
  bench_must("uvf_mutex_unlock", uvf_mutex_unlock(&taker->turns->mutex));
  turns_next(taker, mutex_take);
}

static void mutex_take(taker_t *taker) {
  turns_t *t = taker->turns;
  bench_must("uvf_mutex_lock", uvf_mutex_lock(t->b.root, &taker->wait, &t->mutex, on_locked));
}

/* Raw: units, a list of those that wait, a list of callbacks that are due, run by an idle handle, 1,024 in a turn. */
static void raw_take(taker_t *taker);

static void raw_due(turns_t *t, taker_t *taker);

static void raw_release(turns_t *t) {
  taker_t *taker = t->waits;
  if (!taker) {
    t->free++;
    return;
  }
  t->waits = taker->next;
  if (!t->waits) t->waits_end = &t->waits;
  raw_due(t, taker);
}

static void raw_idle(uv_idle_t *idle) {
  turns_t *t = idle->data;
  for (int i = 0; i < 1024 && t->due; i++) {
    taker_t *taker = t->due;
    t->due = taker->next;
    if (!t->due) t->due_end = &t->due;
    raw_release(t);
    turns_next(taker, raw_take);
  }
  if (!t->due) uv_idle_stop(idle);
}

static void raw_due(turns_t *t, taker_t *taker) {
  taker->next = NULL;
  if (!t->due) uv_idle_start(&t->idle, raw_idle);
  *t->due_end = taker;
  t->due_end = &taker->next;
}

static void raw_take(taker_t *taker) {
  turns_t *t = taker->turns;
  if (t->free) {
    t->free--;
    raw_due(t, taker);
    return;
  }
  taker->next = NULL;
  *t->waits_end = taker;
  t->waits_end = &taker->next;
}

static void sem_op_run(void *state, uint64_t ops, bench_sample_t *s) { turns_run(state, ops, sem_take, s); }
static void mutex_op_run(void *state, uint64_t ops, bench_sample_t *s) { turns_run(state, ops, mutex_take, s); }
static void raw_op_run(void *state, uint64_t ops, bench_sample_t *s) { turns_run(state, ops, raw_take, s); }

static const bench_impl_t ours_sem_op = {"uvflow", turns_ours_setup, sem_op_run, turns_teardown};
static const bench_impl_t raw_sem_op = {"libuv: units, lists, idle handle", turns_raw_sem_setup, raw_op_run,
                                        turns_teardown};
static const bench_impl_t ours_mutex_op = {"uvflow", turns_ours_setup, mutex_op_run, turns_teardown};
static const bench_impl_t raw_mutex_op = {"libuv: flag, lists, idle handle", turns_raw_mutex_setup, raw_op_run,
                                          turns_teardown};

/* --- threads that fight for one mutex ----------------------------------------------------------------------------- */

#define MAX_FIGHTERS 4

typedef struct fight_s fight_t;

typedef struct fighter_s {
  fight_t *fight;
  uv_thread_t thread;
  uv_sem_t go;
  uint64_t todo; /* 0: go home */
} fighter_t;

struct fight_s {
  bench_loop_t b;
  void (*turn)(fight_t *f); /* lock, the critical section, unlock */
  size_t n;
  fighter_t fighter[MAX_FIGHTERS];
  uv_sem_t done;
  uvf_mutex_t mutex;
  uv_mutex_t raw;
  uint64_t count; /* under the mutex */
};

static void fighter_main(void *arg) {
  fighter_t *me = arg;
  for (;;) {
    uv_sem_wait(&me->go);
    if (me->todo == 0) return;
    for (uint64_t i = 0; i < me->todo; i++) me->fight->turn(me->fight);
    uv_sem_post(&me->fight->done);
  }
}

static void handoff_turn(fight_t *f) {
  bench_must("uvf_mutex_lock_wait", uvf_mutex_lock_wait(f->b.root, &f->mutex));
  f->count++;
  bench_must("uvf_mutex_unlock", uvf_mutex_unlock(&f->mutex));
}

static void spin_turn(fight_t *f) {
  for (unsigned int i = 0; uvf_mutex_try_lock(&f->mutex) == UV_EAGAIN; i++) {
    if (i % 1024 == 1023) uv_sleep(0);
  }
  f->count++;
  bench_must("uvf_mutex_unlock", uvf_mutex_unlock(&f->mutex));
}

static void barging_turn(fight_t *f) {
  uv_mutex_lock(&f->raw);
  f->count++;
  uv_mutex_unlock(&f->raw);
}

static fight_t *fight_new(size_t n, void (*turn)(fight_t *f)) {
  fight_t *f = bench_alloc(1, sizeof(*f));
  bench_loop_open(&f->b, 1);
  f->turn = turn;
  f->n = n;
  bench_must("uvf_mutex_init", uvf_mutex_init(&f->mutex));
  bench_must("uv_mutex_init", uv_mutex_init(&f->raw));
  bench_must("uv_sem_init", uv_sem_init(&f->done, 0));
  for (size_t i = 0; i < n; i++) {
    fighter_t *one = &f->fighter[i];
    one->fight = f;
    bench_must("uv_sem_init", uv_sem_init(&one->go, 0));
    bench_must("uv_thread_create", uv_thread_create(&one->thread, fighter_main, one));
  }
  return f;
}

static void fight_run(void *state, uint64_t ops, bench_sample_t *s) {
  fight_t *f = state;
  uint64_t each = (ops + f->n - 1) / f->n;
  uint64_t before = f->count;
  uint64_t cpu = bench_cpu_ns();
  uint64_t start = uv_hrtime();
  for (size_t i = 0; i < f->n; i++) {
    f->fighter[i].todo = each;
    uv_sem_post(&f->fighter[i].go);
  }
  for (size_t i = 0; i < f->n; i++) uv_sem_wait(&f->done);
  s->amount += uv_hrtime() - start;
  s->cpu_ns += bench_cpu_ns() - cpu;
  s->ops += each * f->n;
  if (f->count - before != each * f->n) bench_fail("two were in the critical section", 0);
}

static void fight_delete(void *state) {
  fight_t *f = state;
  for (size_t i = 0; i < f->n; i++) {
    f->fighter[i].todo = 0;
    uv_sem_post(&f->fighter[i].go);
    bench_must("uv_thread_join", uv_thread_join(&f->fighter[i].thread));
    uv_sem_destroy(&f->fighter[i].go);
  }
  bench_must("uvf_mutex_destroy", uvf_mutex_destroy(&f->mutex));
  uv_mutex_destroy(&f->raw);
  uv_sem_destroy(&f->done);
  bench_loop_close(&f->b);
  free(f);
}

static void *handoff_setup(size_t size) { return fight_new(size, handoff_turn); }
static void *spin_setup(size_t size) { return fight_new(size, spin_turn); }
static void *barging_setup(size_t size) { return fight_new(size, barging_turn); }

static const bench_impl_t handoff = {"uvflow: lock_wait (hand-off)", handoff_setup, fight_run, fight_delete};
static const bench_impl_t spinning = {"uvflow: try_lock, spinning (barging)", spin_setup, fight_run, fight_delete};
static const bench_impl_t barging = {"libuv: uv_mutex (barging)", barging_setup, fight_run, fight_delete};

/* --- rows --------------------------------------------------------------------------------------------------------- */

#define TURNS_WHAT                                                                                                     \
  "the callback of each gives back what it got and starts its request again. Timed: from the first start to the last " \
  "callback, per request. Raw: the same by hand for one loop, without contexts: a list of those that wait, and a "     \
  "list of callbacks that are due, run by an idle handle, 1,024 of them in a turn. "

#define FIGHT_WHAT                                                                                                     \
  "All lock, count up and unlock as fast as they can. Timed: until all are done, per lock. A mutex that is handed on " \
  "in order makes each wait for the others every time, and pays for it with a change of threads; one that may be "     \
  "barged into lets the one that runs go on, for as long as it likes. The difference is the price of fairness when "   \
  "nobody does anything between two locks; the CPU time shows what waiting costs. "

const bench_row_t bench_sync_rows[] = {
    {.name = "sem-try",
     .title = "semaphore: try_acquire + release",
     .what = "Timed: uvf_sem_try_acquire of 1 and uvf_sem_release, on one thread, free every time. Raw: uv_sem_trywait "
             "and uv_sem_post; uv_mutex_lock and uv_mutex_unlock.",
     .goal = 5,
     .impls = {&ours_sem_try, &raw_sem_try, &raw_mutex, &ours_mutex_try}},
    {.name = "sem-op",
     .title = "semaphore: acquire op that need not wait",
     .what = "64 requests on one loop, 64 units; " TURNS_WHAT,
     .goal = 30,
     .impls = {&ours_sem_op, &raw_sem_op},
     .size = 64},
    {.name = "mutex-loop-2",
     .title = "mutex: 2 requests on a loop take turns",
     .what = "2 requests on one loop, one mutex; " TURNS_WHAT,
     .impls = {&ours_mutex_op, &raw_mutex_op},
     .size = 2},
    {.name = "mutex-loop-4",
     .title = "mutex: 4 requests on a loop take turns",
     .what = "4 requests on one loop, one mutex; " TURNS_WHAT,
     .impls = {&ours_mutex_op, &raw_mutex_op},
     .size = 4},
    {.name = "mutex-threads-2",
     .title = "mutex: 2 threads, hand-off against barging",
     .what = "2 threads. " FIGHT_WHAT,
     .impls = {&handoff, &barging, &spinning},
     .size = 2},
    {.name = "mutex-threads-4",
     .title = "mutex: 4 threads, hand-off against barging",
     .what = "4 threads. " FIGHT_WHAT,
     .impls = {&handoff, &barging, &spinning},
     .size = 4},
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
             "mutex, a condition that is signalled at zero.",
     .impls = {&ours_waitgroup, &raw_add_done}},
    {.name = NULL},
};
