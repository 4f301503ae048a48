/* SPDX-License-Identifier: MIT
 *
 * Those that want a lock take turns: requests on one loop, and threads.
 */
#include <stdlib.h>

#include "bench.h"

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
  /* raw hand-off, ring */
  uv_sem_t turn;
  struct fighter_s *next;
} fighter_t;

struct fight_s {
  bench_loop_t b;
  void (*turn)(fighter_t *me); /* lock, the critical section, unlock */
  size_t n;
  fighter_t fighter[MAX_FIGHTERS];
  uv_sem_t done;
  uvf_mutex_t mutex;
  uv_mutex_t raw;
  int held; /* raw hand-off: these three under raw */
  fighter_t *waits;
  fighter_t **waits_end;
  uint64_t count; /* under the mutex */
};

static void fighter_main(void *arg) {
  fighter_t *me = arg;
  for (;;) {
    uv_sem_wait(&me->go);
    if (me->todo == 0) return;
    for (uint64_t i = 0; i < me->todo; i++) me->fight->turn(me);
    uv_sem_post(&me->fight->done);
  }
}

static void handoff_turn(fighter_t *me) {
  fight_t *f = me->fight;
  bench_must("uvf_mutex_lock_wait", uvf_mutex_lock_wait(f->b.root, &f->mutex));
  f->count++;
  bench_must("uvf_mutex_unlock", uvf_mutex_unlock(&f->mutex));
}

static void spin_turn(fighter_t *me) {
  fight_t *f = me->fight;
  for (unsigned int i = 0; uvf_mutex_try_lock(&f->mutex) == UV_EAGAIN; i++) {
    if (i % 1024 == 1023) uv_sleep(0);
  }
  f->count++;
  bench_must("uvf_mutex_unlock", uvf_mutex_unlock(&f->mutex));
}

/* Raw: a flag and a list under a mutex, a semaphore for each that waits. Nobody looks on before it sleeps. */
static void raw_lock(fighter_t *me) {
  fight_t *f = me->fight;
  uv_mutex_lock(&f->raw);
  int wait = f->held;
  f->held = 1;
  if (wait) {
    me->next = NULL;
    *f->waits_end = me;
    f->waits_end = &me->next;
  }
  uv_mutex_unlock(&f->raw);
  if (wait) uv_sem_wait(&me->turn);
}

static void raw_unlock(fight_t *f) {
  uv_mutex_lock(&f->raw);
  fighter_t *next = f->waits;
  if (next) {
    f->waits = next->next;
    if (!f->waits) f->waits_end = &f->waits;
  } else {
    f->held = 0;
  }
  uv_mutex_unlock(&f->raw);
  if (next) uv_sem_post(&next->turn);
}

static void raw_handoff_turn(fighter_t *me) {
  raw_lock(me);
  me->fight->count++;
  raw_unlock(me->fight);
}

/* Strict turns by sleeping alone: each waits for the one before it, and wakes the next. */
static void ring_turn(fighter_t *me) {
  fight_t *f = me->fight;
  uv_sem_wait(&me->turn);
  f->count++;
  uv_sem_post(&f->fighter[((size_t)(me - f->fighter) + 1) % f->n].turn);
}

static void barging_turn(fighter_t *me) {
  fight_t *f = me->fight;
  uv_mutex_lock(&f->raw);
  f->count++;
  uv_mutex_unlock(&f->raw);
}

static fight_t *fight_new(size_t n, void (*turn)(fighter_t *me)) {
  fight_t *f = bench_alloc(1, sizeof(*f));
  bench_loop_open(&f->b, 1);
  f->turn = turn;
  f->n = n;
  f->waits_end = &f->waits;
  bench_must("uvf_mutex_init", uvf_mutex_init(&f->mutex));
  bench_must("uv_mutex_init", uv_mutex_init(&f->raw));
  bench_must("uv_sem_init", uv_sem_init(&f->done, 0));
  for (size_t i = 0; i < n; i++) {
    fighter_t *one = &f->fighter[i];
    one->fight = f;
    bench_must("uv_sem_init", uv_sem_init(&one->go, 0));
    bench_must("uv_sem_init", uv_sem_init(&one->turn, 0));
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
    uv_sem_destroy(&f->fighter[i].turn);
  }
  bench_must("uvf_mutex_destroy", uvf_mutex_destroy(&f->mutex));
  uv_mutex_destroy(&f->raw);
  uv_sem_destroy(&f->done);
  bench_loop_close(&f->b);
  free(f);
}

static void *handoff_setup(size_t size) { return fight_new(size, handoff_turn); }
static void *raw_handoff_setup(size_t size) { return fight_new(size, raw_handoff_turn); }

static void *ring_setup(size_t size) {
  fight_t *f = fight_new(size, ring_turn);
  uv_sem_post(&f->fighter[0].turn);
  return f;
}

static void *spin_setup(size_t size) { return fight_new(size, spin_turn); }
static void *barging_setup(size_t size) { return fight_new(size, barging_turn); }

static const bench_impl_t handoff = {"uvflow: lock_wait (hand-off)", handoff_setup, fight_run, fight_delete};
static const bench_impl_t raw_handoff = {"libuv: list, uv_sem each (hand-off)", raw_handoff_setup, fight_run,
                                         fight_delete};
static const bench_impl_t ring = {"libuv: uv_sem ring (sleeps each time)", ring_setup, fight_run, fight_delete};
static const bench_impl_t spinning = {"uvflow: try_lock, spinning (barging)", spin_setup, fight_run, fight_delete};
static const bench_impl_t barging = {"libuv: uv_mutex (barging)", barging_setup, fight_run, fight_delete};

/* --- rows --------------------------------------------------------------------------------------------------------- */

#define TURNS_WHAT                                                                                                     \
  "the callback of each gives back what it got and starts its request again. Timed: from the first start to the last " \
  "callback, per request. Raw: the same by hand for one loop, without contexts: a list of those that wait, and a "     \
  "list of callbacks that are due, run by an idle handle, 1,024 of them in a turn."

/* With four threads the hand-off has two speeds, and its median is a mixture of both: that is the convoy that locks
 * have which are handed on in order. As long as all who wait look on, a turn takes a quarter of a microsecond. Once one
 * of them sleeps when its turn comes, everybody behind it waits for its wake-up, which is longer than they look on, so
 * they sleep too, and so on: a turn is then a wake-up, which is what the ring of semaphores shows. Counted: no sleeps
 * while it is fast, up to 1.1 a lock while it is slow, and then two thirds of the CPU time in the kernel's change of
 * threads. What is ours of it: a thread sleeps on a mutex and a condition, since a deadline must be able to wake it.
 * That makes a good three calls of the kernel a sleep (the wait, the signal, the unlock after the wake-up) where a
 * semaphore makes two; and after 10 to 18 of 100 wake-ups the thread sleeps once more, for the mutex that its waker
 * still holds. Two threads look on and hardly ever sleep. */
#define FIGHT_WHAT                                                                                                     \
  "All lock, count up and unlock as fast as they can. Timed: until all are done, per lock. A mutex that is handed on " \
  "in order makes who comes again wait behind those that wait already, mostly with a change of threads; one that may " \
  "be barged into lets the one that runs go on, for as long as it likes. The list by hand is handed on in order too, " \
  "but the mutex around it is barged into: it is fair to those who got as far as the list only. The ring is what "     \
  "strict turns cost by sleeping alone. Nobody does anything between two locks, which is the worst case of a "         \
  "hand-off; the CPU time shows what waiting costs."

const bench_row_t bench_turn_rows[] = {
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
     .impls = {&handoff, &raw_handoff, &ring, &barging, &spinning},
     .size = 2},
    {.name = "mutex-threads-4",
     .title = "mutex: 4 threads, hand-off against barging",
     .what = "4 threads. " FIGHT_WHAT,
     .impls = {&handoff, &raw_handoff, &ring, &barging, &spinning},
     .size = 4},
    {.name = NULL},
};
