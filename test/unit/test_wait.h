/* SPDX-License-Identifier: MIT
 *
 * What the tests of waits share: waits that take notes, threads that block, loops that are stuck in a callback, and a
 * provider of the tests' own.
 */
#ifndef UVFLOW_TEST_WAIT_H
#define UVFLOW_TEST_WAIT_H

#include <stdatomic.h>

#include "kernel/context.h"
#include "kernel/wait.h"
#include "unit/probe.h"

/* --- a wait that takes notes --- */

typedef struct note_s {
  uvf_wait_t wait;
  int id;
  int calls;
  int status; /* NOT_YET before the call */
  void *value;
  uint64_t at; /* uv_hrtime of the last call */
  uv_thread_t thread;
  journal_t *journal;                /* or NULL */
  void (*then)(struct note_s *note); /* or NULL; runs inside the callback */
  void *arg;
} note_t;

enum { NOT_YET = 1000 };

static inline void on_note(uvf_wait_t *wait, int status) {
  note_t *note = (note_t *)wait;
  note->at = uv_hrtime();
  note->calls++;
  note->status = status;
  note->value = wait->value;
  note->thread = uv_thread_self();
  if (note->journal != NULL) journal_add(note->journal, note->id);
  if (note->then != NULL) note->then(note);
}

/* The request itself is left as it is found: a start must not read it. */
static inline void note_init(note_t *note, int id, journal_t *journal) {
  memset(&note->wait, 0xa5, sizeof note->wait);
  note->id = id;
  note->calls = 0;
  note->status = NOT_YET;
  note->value = NULL;
  note->at = 0;
  note->journal = journal;
  note->then = NULL;
  note->arg = NULL;
}

#define assert_noted(note, wanted)                                                                                     \
  do {                                                                                                                 \
    assert_int_equal((note)->calls, 1);                                                                                \
    assert_int_equal((note)->status, (wanted));                                                                        \
    assert_int_equal((note)->wait.status, (wanted));                                                                   \
  } while (0)

/* --- deadlines that come when the test says so --- */

static uint64_t clock_ahead_ns;

static inline uint64_t clock_of_test(void) { return uv_hrtime() + clock_ahead_ns; }

/* An hour is over for ctx's loop: what is due by now is ended, as by its timer. No other thread may look at the clock. */
static inline void an_hour_passes(uvf_ctx_t *ctx) {
  clock_ahead_ns += HOUR_NS;
  uvf__clock_ns = clock_of_test;
  uvf__hub_run_deadlines(uvf__ctx_hub(ctx));
}

/* At the end of the test: its loop's wheel does not go back. */
static inline void clock_of_old(void) {
  clock_ahead_ns = 0;
  uvf__clock_ns = uv_hrtime;
}

/* --- a thread that blocks --- */

typedef struct blocked_s {
  uv_thread_t thread;
  uvf_ctx_t *ctx; /* a reference of its own */
  int (*fn)(uvf_ctx_t *ctx, void *object);
  void *object;
  int result;
  uint64_t began_ns, took_ns;
  atomic_int returned;
} blocked_t;

static inline void blocked_main(void *arg) {
  blocked_t *b = arg;
  b->began_ns = uv_hrtime();
  b->result = b->fn(b->ctx, b->object);
  b->took_ns = uv_hrtime() - b->began_ns;
  uvf_ctx_release(b->ctx);
  atomic_store(&b->returned, 1);
}

static inline void blocked_start(blocked_t *b, uvf_ctx_t *ctx, int (*fn)(uvf_ctx_t *ctx, void *object), void *object) {
  b->ctx = uvf_ctx_retain(ctx);
  b->fn = fn;
  b->object = object;
  b->result = NOT_YET;
  atomic_init(&b->returned, 0);
  assert_int_equal(uv_thread_create(&b->thread, blocked_main, b), 0);
}

static inline int blocked_join(blocked_t *b) {
  assert_int_equal(uv_thread_join(&b->thread), 0);
  return b->result;
}

/* Until n threads sleep under contexts of ctx's loop. */
static inline void await_parked(uvf_ctx_t *ctx, uint32_t n) {
  uint64_t end_ns = uv_hrtime() + 20000 * MS_NS;
  while (atomic_load(&uvf__ctx_hub(ctx)->nsleepers) != n) {
    if (uv_hrtime() > end_ns) fail_msg("%u threads do not sleep after 20 s", n);
    uv_sleep(0);
  }
}

/* --- a loop on another thread that stands still in a callback --- */

typedef struct stuck_s {
  lane_t lane;
  gate_t entered, leave;
  uvf_ctx_t *ctx; /* under its root; a reference */
  uint64_t timeout_ms;
} stuck_t;

static inline void stuck_make(void *arg) {
  stuck_t *stuck = arg;
  if (stuck->timeout_ms != 0) {
    if (uvf_ctx_with_timeout(stuck->lane.root, stuck->timeout_ms, &stuck->ctx) != 0) abort();
  } else {
    if (uvf_ctx_with_cancel(stuck->lane.root, &stuck->ctx) != 0) abort();
  }
}

static inline void stuck_stand(void *arg) {
  stuck_t *stuck = arg;
  gate_open(&stuck->entered, 1);
  gate_pass(&stuck->leave);
}

/* Its context is made, and its loop stands. timeout_ms 0: without a deadline. */
static inline void stuck_start(stuck_t *stuck, uint64_t timeout_ms) {
  stuck->timeout_ms = timeout_ms;
  gate_init(&stuck->entered);
  gate_init(&stuck->leave);
  lane_start(&stuck->lane);
  lane_turn(&stuck->lane);
  lane_call(&stuck->lane, stuck_make, stuck);
  lane_post(&stuck->lane, stuck_stand, stuck);
  gate_pass(&stuck->entered);
}

static inline void stuck_go_on(stuck_t *stuck) {
  gate_open(&stuck->leave, 1);
  lane_wait(&stuck->lane);
}

static inline void stuck_stop(stuck_t *stuck) {
  uvf_ctx_release(stuck->ctx);
  lane_stop(&stuck->lane);
  gate_destroy(&stuck->entered);
  gate_destroy(&stuck->leave);
}

/* --- the turnstile: a small provider, which lets one through per token --- */

typedef struct turnstile_s {
  uint32_t lock;
  uint64_t tokens;
  uvf__queue_t queue;
} turnstile_t;

/* Under the lock. */
static inline void serve(turnstile_t *t, uvf__told_t *told) {
  while (t->tokens > 0 && uvf__queue_take(&t->queue, told) != NULL) t->tokens--;
}

static inline void give(turnstile_t *t, uint64_t n) {
  uvf__told_t told;
  uvf__told_init(&told);
  uvf__lock(&t->lock);
  t->tokens += n;
  serve(t, &told);
  uvf__unlock(&t->lock);
  uvf__tell(&told);
}

static inline void give_one(void *arg) { give(arg, 1); }

static inline int withdraw(uvf_op_t *op) {
  uvf_wait_t *wait = (uvf_wait_t *)(void *)op;
  turnstile_t *t = wait->uvf__object;
  uvf__told_t told;
  uvf__told_init(&told);
  uvf__lock(&t->lock);
  uvf__queue_remove(&t->queue, &wait->uvf__waiter);
  serve(t, &told);
  uvf__unlock(&t->lock);
  uvf__tell(&told);
  return 1;
}

static const uvf__op_type_t turnstile_type = {
    .name = "turnstile", .withdraw = withdraw, .deliver = uvf__wait_deliver, .posted = uvf__wait_posted};

static inline void start(turnstile_t *t, uvf_wait_t *wait) {
  int now;
  uvf__lock(&t->lock);
  now = t->tokens > 0 && t->queue.first == NULL;
  if (now) {
    t->tokens--;
  } else {
    uvf__queue_push(&t->queue, &wait->uvf__waiter);
  }
  uvf__unlock(&t->lock);
  if (now) uvf__wait_now(uvf__wait_op(wait), 0);
}

static inline void pass(note_t *note, uvf_ctx_t *ctx, turnstile_t *t, int id, journal_t *journal) {
  int rc;
  note_init(note, id, journal);
  rc = uvf__wait_begin(ctx, &note->wait, &turnstile_type, t, 0, on_note, "pass");
  assert_true(rc >= 0);
  if (rc > 0) start(t, &note->wait);
}

static inline int pass_blocking(uvf_ctx_t *ctx, void *object) {
  uvf__parker_t parker;
  uvf_wait_t wait;
  int err = uvf__wait_block_begin(ctx, &wait, &turnstile_type, object, 0, &parker);
  if (err != 0) return err;
  start(object, &wait);
  return uvf__block_end(uvf__wait_op(&wait), "pass_blocking");
}

/* Until n wait there; any thread. */
static inline void await_queued(turnstile_t *t, int n) {
  uint64_t end_ns = uv_hrtime() + 20000 * MS_NS;
  for (;;) {
    int found = 0;
    uvf__lock(&t->lock);
    for (uvf__waiter_t *w = t->queue.first; w != NULL; w = w->next) found++;
    uvf__unlock(&t->lock);
    if (found == n) return;
    if (uv_hrtime() > end_ns) fail_msg("%d wait after 20 s, not %d", found, n);
    uv_sleep(0);
  }
}

static inline int queue_length(const uvf__queue_t *queue) {
  int n = 0;
  for (const uvf__waiter_t *w = queue->first; w != NULL; w = w->next) n++;
  return n;
}

static inline void cancel_it(void *arg) { uvf_ctx_cancel(arg); }

/* --- races between a token and an end --- */

typedef struct duel_s {
  turnstile_t t;
  uvf_ctx_t *ctx;
  atomic_int here;
  uint64_t delay_ns[3];
} duel_t;

/* The line from which they start. */
static inline void meet(atomic_int *here, int parties) {
  atomic_fetch_add(here, 1);
  for (int i = 1; atomic_load(here) < parties; i++) {
    if (i % 1024 == 0) uv_sleep(0);
  }
}

static inline void duel_meet(duel_t *duel, int parties, int who) {
  meet(&duel->here, parties);
  spin_ns(duel->delay_ns[who]);
}

static inline void duel_begin(duel_t *duel, fixture_t *f, uint64_t *seed) {
  memset(duel, 0, sizeof *duel);
  duel->ctx = child_of(f->root);
  for (int i = 0; i < 3; i++)
    duel->delay_ns[i] = test_rand(seed) % 4 == 0 ? test_rand(seed) % 120000 : test_rand(seed) % 8000;
}

/* To the head of a queue: no provider does that; it makes a queue whose order is not that of the starts. */
static inline void queue_unshift(uvf__queue_t *queue, uvf__waiter_t *w) {
  if (queue->first == NULL) {
    uvf__queue_push(queue, w);
    return;
  }
  w->next = queue->first;
  w->prev = &queue->first;
  w->next->prev = &w->next;
  queue->first = w;
}

#endif
