/* SPDX-License-Identifier: MIT
 *
 * What the unit tests of the kernel and of io share: watchers that note when they ran and in which order, the ways to
 * derive a child as a table, and functions run on another thread, with or without a loop of its own.
 */
#ifndef UVFLOW_TEST_PROBE_H
#define UVFLOW_TEST_PROBE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#define HOUR_MS UINT64_C(3600000)
#define HOUR_NS (HOUR_MS * MS_NS)
#define GENEROUS_NS (UINT64_C(5000) * MS_NS) /* what a busy machine under a sanitizer may be late */

/* --- order --- */

#define JOURNAL_MAX 4096

typedef struct journal_s {
  int n;
  int id[JOURNAL_MAX];
} journal_t;

static inline void journal_add(journal_t *journal, int id) {
  if (journal->n < JOURNAL_MAX) journal->id[journal->n] = id;
  journal->n++;
}

/* Where id stands in the journal, -1 if it does not. */
static inline int journal_find(const journal_t *journal, int id) {
  for (int i = 0; i < journal->n && i < JOURNAL_MAX; i++) {
    if (journal->id[i] == id) return i;
  }
  return -1;
}

#define assert_journal(journal, ...)                                                                                   \
  do {                                                                                                                 \
    const int wanted_ids[] = {__VA_ARGS__};                                                                            \
    assert_int_equal((journal)->n, (int)ARRAY_SIZE(wanted_ids));                                                       \
    assert_memory_equal((journal)->id, wanted_ids, sizeof wanted_ids);                                                 \
  } while (0)

/* --- a watcher that takes notes --- */

typedef struct probe_s {
  uvf_watch_t watch;
  int id;
  int calls;
  int status;
  uint64_t at;                         /* uv_hrtime of the last call */
  journal_t *journal;                  /* or NULL */
  void (*then)(struct probe_s *probe); /* or NULL; runs inside the callback */
  void *arg;
} probe_t;

static inline void on_probe(uvf_watch_t *watch, int status) {
  probe_t *probe = (probe_t *)watch;
  probe->at = uv_hrtime();
  probe->calls++;
  probe->status = status;
  if (probe->journal != NULL) journal_add(probe->journal, probe->id);
  if (probe->then != NULL) probe->then(probe);
}

/* Resets the notes and starts the watcher. */
static inline void probe_start(probe_t *probe, uvf_ctx_t *ctx, int id, journal_t *journal) {
  probe->id = id;
  probe->journal = journal;
  probe->calls = 0;
  probe->status = 1;
  probe->at = 0;
  assert_int_equal(uvf_ctx_on_done(ctx, &probe->watch, on_probe), 0);
}

/* --- deriving --- */

static inline uvf_ctx_t *child_of(uvf_ctx_t *parent) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_cancel(parent, &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

static inline uvf_ctx_t *timeout_of(uvf_ctx_t *parent, uint64_t ms) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_timeout(parent, ms, &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

static inline uvf_ctx_t *value_of(uvf_ctx_t *parent, const void *key, void *value, uvf_value_free_cb free_cb) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_value(parent, key, value, free_cb, &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

static inline int derive_cancel(uvf_ctx_t *parent, uvf_ctx_t **ctx) { return uvf_ctx_with_cancel(parent, ctx); }
static inline int derive_timeout(uvf_ctx_t *parent, uvf_ctx_t **ctx) {
  return uvf_ctx_with_timeout(parent, HOUR_MS, ctx);
}
static inline int derive_deadline(uvf_ctx_t *parent, uvf_ctx_t **ctx) {
  return uvf_ctx_with_deadline(parent, uv_hrtime() + HOUR_NS, ctx);
}
static inline int derive_timeout_cause(uvf_ctx_t *parent, uvf_ctx_t **ctx) {
  return uvf_ctx_with_timeout_cause(parent, HOUR_MS, -1000, NULL, ctx);
}
static inline int derive_deadline_cause(uvf_ctx_t *parent, uvf_ctx_t **ctx) {
  return uvf_ctx_with_deadline_cause(parent, uv_hrtime() + HOUR_NS, -1000, NULL, ctx);
}
static inline int derive_value(uvf_ctx_t *parent, uvf_ctx_t **ctx) {
  static int key;
  return uvf_ctx_with_value(parent, &key, &key, NULL, ctx);
}
static inline int derive_any(uvf_ctx_t *parent, uvf_ctx_t **ctx) { return uvf_ctx_with_any(&parent, 1, ctx); }
static inline int derive_remote(uvf_ctx_t *parent, uvf_ctx_t **ctx) { return uvf_ctx_with_remote(parent, parent, ctx); }

typedef struct kind_s {
  const char *name;
  int (*derive)(uvf_ctx_t *parent, uvf_ctx_t **ctx);
} kind_t;

/* Every way to make a child that ends with its parent. */
static const kind_t kinds[] = {
    {"with_cancel", derive_cancel},
    {"with_timeout", derive_timeout},
    {"with_deadline", derive_deadline},
    {"with_timeout_cause", derive_timeout_cause},
    {"with_deadline_cause", derive_deadline_cause},
    {"with_value", derive_value},
    {"with_any", derive_any},
    {"with_remote", derive_remote},
};

static inline uvf_ctx_counts_t counts_of(uvf_ctx_t *ctx) {
  uvf_ctx_counts_t counts;
  memset(&counts, 0xff, sizeof counts);
  uvf_ctx_counts(ctx, &counts);
  return counts;
}

static inline uvf_stats_t stats_of(uvf_ctx_t *ctx) {
  uvf_stats_t stats;
  memset(&stats, 0xff, sizeof stats);
  uvf_ctx_stats(ctx, &stats);
  return stats;
}

#define assert_over(ctx, wanted_err, wanted_cause)                                                                     \
  do {                                                                                                                 \
    assert_int_equal(uvf_ctx_err(ctx), (wanted_err));                                                                  \
    assert_int_equal(uvf_ctx_cause((ctx), NULL), (wanted_cause));                                                      \
  } while (0)

/* Burns time without running any loop. */
static inline void spin_ns(uint64_t ns) {
  uint64_t end = uv_hrtime() + ns;
  while (uv_hrtime() < end) {}
}

/* --- turns --- */

static inline void turn_idle(uv_idle_t *idle) { (void)idle; }

/* A few turns without blocking, also when nothing holds the loop (uv_run would not go round at all then): what was due
 * is delivered, what other threads have posted is applied, and the loop's thread is known. */
static inline void turn(uv_loop_t *loop) {
  uv_idle_t *idle = malloc(sizeof *idle);
  assert_non_null(idle);
  assert_int_equal(uv_idle_init(loop, idle), 0);
  assert_int_equal(uv_idle_start(idle, turn_idle), 0);
  run_ready(loop);
  uv_close((uv_handle_t *)idle, NULL);
  run_ready(loop);
  free(idle);
}

/* --- another thread --- */

/* Runs fn(arg) on a thread of its own and waits for it; no loop runs meanwhile. */
static inline void on_thread(void (*fn)(void *), void *arg) {
  uv_thread_t thread;
  assert_int_equal(uv_thread_create(&thread, fn, arg), 0);
  assert_int_equal(uv_thread_join(&thread), 0);
}

typedef struct beside_s {
  uv_async_t async;
  void (*fn)(void *);
  void *arg;
  int done;
} beside_t;

static inline void beside_main(void *arg) {
  beside_t *beside = arg;
  beside->fn(beside->arg);
  uv_async_send(&beside->async);
}

static inline void beside_done(uv_async_t *async) { ((beside_t *)async->data)->done = 1; }

/* Runs fn(arg) on a thread of its own, and the loop on this one until fn has returned. */
static inline void run_beside(uv_loop_t *loop, void (*fn)(void *), void *arg) {
  uv_thread_t thread;
  beside_t *beside = calloc(1, sizeof *beside);
  assert_non_null(beside);
  beside->fn = fn;
  beside->arg = arg;
  assert_int_equal(uv_async_init(loop, &beside->async, beside_done), 0);
  beside->async.data = beside;
  assert_int_equal(uv_thread_create(&thread, beside_main, beside), 0);
  run_until(loop, &beside->done, 1);
  assert_int_equal(uv_thread_join(&thread), 0);
  uv_close((uv_handle_t *)&beside->async, NULL);
  run_ready(loop);
  free(beside);
}

/* --- a lane: a thread that runs a loop with a root --- */

typedef struct lane_s {
  uv_loop_t loop;
  uvf_ctx_t *root; /* NULL once closed */
  int roots_closed;
  int close_result; /* uv_loop_close of its loop, once lane_stop has returned */
  uv_thread_t thread;
  uv_async_t async;
  uv_mutex_t mutex; /* guards fn and arg: a sanitizer does not see the order that uv_async_send makes */
  void (*fn)(void *);
  void *arg;
  gate_t answered;
} lane_t;

static inline void lane_on_closed(uvf_ctx_t *root) {
  lane_t *lane = uvf_ctx_loop(root)->data;
  lane->roots_closed++;
}

static inline void lane_on_async(uv_async_t *async) {
  lane_t *lane = async->data;
  void (*fn)(void *);
  void *arg;
  uv_mutex_lock(&lane->mutex);
  fn = lane->fn;
  arg = lane->arg;
  uv_mutex_unlock(&lane->mutex);
  fn(arg);
  gate_open(&lane->answered, 1);
}

static inline void lane_main(void *arg) {
  lane_t *lane = arg;
  if (uv_loop_init(&lane->loop) != 0) abort();
  lane->loop.data = lane;
  if (uvf_ctx_background(&lane->loop, &lane->root) != 0) abort();
  if (uv_async_init(&lane->loop, &lane->async, lane_on_async) != 0) abort();
  lane->async.data = lane;
  gate_open(&lane->answered, 1);
  uv_run(&lane->loop, UV_RUN_DEFAULT);
  lane->close_result = uv_loop_close(&lane->loop);
}

static inline void lane_start(lane_t *lane) {
  memset(lane, 0, sizeof *lane);
  gate_init(&lane->answered);
  assert_int_equal(uv_mutex_init(&lane->mutex), 0);
  assert_int_equal(uv_thread_create(&lane->thread, lane_main, lane), 0);
  gate_pass(&lane->answered);
}

/* Asks the lane to run fn(arg) from its loop, one request at a time; lane_wait waits until fn has returned. No assert
 * in fn. */
static inline void lane_post(lane_t *lane, void (*fn)(void *), void *arg) {
  uv_mutex_lock(&lane->mutex);
  lane->fn = fn;
  lane->arg = arg;
  uv_mutex_unlock(&lane->mutex);
  uv_async_send(&lane->async);
}

static inline void lane_wait(lane_t *lane) { gate_pass(&lane->answered); }

static inline void lane_call(lane_t *lane, void (*fn)(void *), void *arg) {
  lane_post(lane, fn, arg);
  lane_wait(lane);
}

static inline void lane_nothing(void *arg) { (void)arg; }

/* Lets the lane's loop go round a few times, so that what was posted to it is applied and delivered. */
static inline void lane_turn(lane_t *lane) {
  for (int i = 0; i < 4; i++) lane_call(lane, lane_nothing, NULL);
}

static inline void lane_close_root(void *arg) {
  lane_t *lane = arg;
  uvf_ctx_t *root = lane->root;
  lane->root = NULL;
  uvf_ctx_close(root, lane_on_closed);
}

static inline void lane_end(void *arg) {
  lane_t *lane = arg;
  if (lane->root != NULL) lane_close_root(lane);
  uv_close((uv_handle_t *)&lane->async, NULL);
}

/* Closes what is open and joins the thread. */
static inline void lane_stop(lane_t *lane) {
  lane_call(lane, lane_end, lane);
  assert_int_equal(uv_thread_join(&lane->thread), 0);
  gate_destroy(&lane->answered);
  uv_mutex_destroy(&lane->mutex);
  assert_int_equal(lane->close_result, 0);
  assert_int_equal(lane->roots_closed, 1);
}

#endif
