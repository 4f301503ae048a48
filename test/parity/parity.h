/* SPDX-License-Identifier: MIT
 *
 * What the parity programs share: short forms of deriving that cannot fail unnoticed, watchers that count, a second
 * loop, and the turns of a loop after which everything posted to it has been applied.
 */
#ifndef UVFLOW_TEST_PARITY_H
#define UVFLOW_TEST_PARITY_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

/* Causes of the tests' own: codes that the library never makes up. */
enum { CAUSE_X = -70001, CAUSE_Y = -70002, CAUSE_SLOW = -70003 };

#define HOUR_MS UINT64_C(3600000)
/* Further away than nanoseconds can count: no deadline of its own. */
#define FOREVER_MS UINT64_MAX

/* --- deriving ----------------------------------------------------------------------------------------------------- */

static inline uvf_ctx_t *cancel_of(uvf_ctx_t *parent) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_cancel(parent, &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

static inline uvf_ctx_t *timeout_of(uvf_ctx_t *parent, uint64_t timeout_ms) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_timeout(parent, timeout_ms, &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

static inline uvf_ctx_t *timeout_cause_of(uvf_ctx_t *parent, uint64_t timeout_ms, int cause, void *data) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_timeout_cause(parent, timeout_ms, cause, data, &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

static inline uvf_ctx_t *deadline_of(uvf_ctx_t *parent, uint64_t deadline_ns) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_deadline(parent, deadline_ns, &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

static inline uvf_ctx_t *value_of(uvf_ctx_t *parent, const void *key, void *value) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_value(parent, key, value, NULL, &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

static inline uvf_ctx_t *without_of(uvf_ctx_t *parent) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_without_cancel(parent, &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

/* A context that is not the parent but ends with it: what a wrapper is to Go. */
static inline uvf_ctx_t *wrapper_of(uvf_ctx_t *parent) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_any(&parent, 1, &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

static inline uvf_ctx_t *any_of(uvf_ctx_t *first, uvf_ctx_t *second) {
  uvf_ctx_t *parents[2] = {first, second};
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_any(parents, 2, &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

static inline uvf_ctx_t *remote_of(uvf_ctx_t *local, uvf_ctx_t *parent) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_remote(parent, local, &ctx), 0);
  assert_non_null(ctx);
  return ctx;
}

static inline void release_each(uvf_ctx_t *const list[], size_t n) {
  for (size_t i = 0; i < n; i++) uvf_ctx_release(list[i]);
}
#define RELEASE(...)                                                                                                   \
  release_each((uvf_ctx_t *const[]){__VA_ARGS__}, sizeof((uvf_ctx_t *const[]){__VA_ARGS__}) / sizeof(uvf_ctx_t *))

/* --- asking ------------------------------------------------------------------------------------------------------- */

#define assert_live(ctx)                                                                                               \
  do {                                                                                                                 \
    assert_int_equal(uvf_ctx_err(ctx), 0);                                                                             \
    assert_int_equal(uvf_ctx_cause(ctx, NULL), 0);                                                                     \
  } while (0)

#define assert_over(ctx, err, cause)                                                                                   \
  do {                                                                                                                 \
    assert_int_equal(uvf_ctx_err(ctx), err);                                                                           \
    assert_int_equal(uvf_ctx_cause(ctx, NULL), cause);                                                                 \
  } while (0)

#define assert_over_with(ctx, err, cause, pointer)                                                                     \
  do {                                                                                                                 \
    void *found_ = &found_;                                                                                            \
    assert_int_equal(uvf_ctx_err(ctx), err);                                                                           \
    assert_int_equal(uvf_ctx_cause(ctx, &found_), cause);                                                              \
    assert_ptr_equal(found_, pointer);                                                                                 \
  } while (0)

#define assert_described(ctx, text)                                                                                    \
  do {                                                                                                                 \
    char line_[512];                                                                                                   \
    assert_int_equal(uvf_ctx_describe(ctx, line_, sizeof line_), strlen(text));                                        \
    assert_string_equal(line_, text);                                                                                  \
  } while (0)

static inline size_t children(const uvf_ctx_t *ctx) {
  uvf_ctx_counts_t counts;
  uvf_ctx_counts(ctx, &counts);
  return counts.children;
}

static inline size_t watchers(const uvf_ctx_t *ctx) {
  uvf_ctx_counts_t counts;
  uvf_ctx_counts(ctx, &counts);
  return counts.watchers;
}

static inline uvf_stats_t stats(const uvf_ctx_t *ctx) {
  uvf_stats_t figures;
  uvf_ctx_stats(ctx, &figures);
  return figures;
}

/* --- watchers that count ------------------------------------------------------------------------------------------ */

typedef struct counted_s {
  uvf_watch_t watch;
  int calls;
  int status;         /* of the last call */
  int err_then;       /* the context's err inside the callback */
  uint64_t called_ns; /* when */
  int *total;         /* counts the calls of several; may be NULL */
} counted_t;

static inline void on_counted(uvf_watch_t *watch, int status) {
  counted_t *c = watch->data;
  c->called_ns = uv_hrtime();
  c->calls++;
  c->status = status;
  c->err_then = uvf_ctx_err(watch->ctx);
  if (c->total != NULL) (*c->total)++;
}

static inline void watch_start(counted_t *c, uvf_ctx_t *ctx, int *total) {
  memset(c, 0xff, sizeof *c); /* a start must not read what it finds */
  c->watch.data = c;
  c->calls = 0;
  c->total = total;
  assert_int_equal(uvf_ctx_on_done(ctx, &c->watch, on_counted), 0);
  assert_int_equal(c->calls, 0);
}

#define assert_called_once(c, expected)                                                                                \
  do {                                                                                                                 \
    assert_int_equal((c)->calls, 1);                                                                                   \
    assert_int_equal((c)->status, expected);                                                                           \
    assert_int_equal((c)->err_then, expected);                                                                         \
  } while (0)

/* --- turns of a loop ---------------------------------------------------------------------------------------------- */

static inline void on_turn(uv_idle_t *idle) { (*(int *)idle->data)++; }

/* Turns the loop, which a handle of our own keeps alive meanwhile, until all that other threads had posted to it has
 * been applied and delivered. */
static inline void settle(uv_loop_t *loop) {
  uv_idle_t idle;
  int turns = 0;
  assert_int_equal(uv_idle_init(loop, &idle), 0);
  idle.data = &turns;
  assert_int_equal(uv_idle_start(&idle, on_turn), 0);
  while (turns < 8) uv_run(loop, UV_RUN_NOWAIT);
  uv_close((uv_handle_t *)&idle, NULL);
  uv_run(loop, UV_RUN_NOWAIT);
}

/* Runs the loop until ctx is over: something has to hold the loop, as contexts do not. */
static inline void run_until_over(uv_loop_t *loop, uvf_ctx_t *ctx, int err) {
  counted_t c;
  watch_start(&c, ctx, NULL);
  run_until(loop, &c.calls, 1);
  assert_called_once(&c, err);
}

/* --- a second loop ------------------------------------------------------------------------------------------------ */

/* Run by the test's own thread as well, in turn with the fixture's, so that nothing happens on it unseen. */
typedef struct other_s {
  uv_loop_t loop;
  uvf_ctx_t *root;
  int closed;
} other_t;

static inline void on_other_closed(uvf_ctx_t *root) {
  other_t *o = uvf_ctx_loop(root)->data;
  o->closed++;
}

/* On the heap, so that a test that fails with it open does not leave a loop of the library's in a dead frame. */
static inline other_t *other_open(void) {
  other_t *o = calloc(1, sizeof *o);
  assert_non_null(o);
  assert_int_equal(uv_loop_init(&o->loop), 0);
  o->loop.data = o;
  assert_int_equal(uvf_ctx_background(&o->loop, &o->root), 0);
  return o;
}

static inline void other_close(other_t *o) {
  uvf_ctx_close(o->root, on_other_closed);
  run_until(&o->loop, &o->closed, 1);
  uv_run(&o->loop, UV_RUN_DEFAULT);
  assert_int_equal(o->closed, 1);
  assert_int_equal(uv_loop_close(&o->loop), 0);
  free(o);
}

/* What one loop says to the other and back has arrived. */
static inline void settle_both(fixture_t *f, other_t *o) {
  for (int i = 0; i < 2; i++) {
    settle(&f->loop);
    settle(&o->loop);
  }
}

#endif
