/* SPDX-License-Identifier: MIT
 *
 * serve.h: the handles of signals are the library's own: a walk that closes what is not leaves them. And a stop after a
 * start that was refused.
 */
#include <signal.h>

#include "support/fds.h"
#include "unit/probe.h"

static const int four[] = {SIGHUP, SIGINT, SIGTERM, SIGWINCH};

typedef struct catcher_s {
  uvf_signals_t signals;
  uvf_ctx_t *ctx;
  int calls, closes;
} catcher_t;

static void on_signal(uvf_signals_t *signals, int signum) {
  (void)signum;
  ((catcher_t *)signals->data)->calls++;
}

static void on_closed(uvf_signals_t *signals) { ((catcher_t *)signals->data)->closes++; }

static int catcher_try(catcher_t *c, uvf_ctx_t *parent, const int signums[], size_t n) {
  c->signals.data = c;
  return uvf_signals_start(parent, &c->signals, signums, n, on_signal, &c->ctx);
}

static void catcher_start(catcher_t *c, uvf_ctx_t *parent, size_t n) {
  memset(c, 0, sizeof *c);
  memset(&c->signals, 0xff, sizeof c->signals);
  assert_int_equal(catcher_try(c, parent, four, n), 0);
}

static void catcher_stop(catcher_t *c, uv_loop_t *loop) {
  assert_int_equal(uvf_signals_stop(&c->signals, on_closed), 0);
  run_until(loop, &c->closes, 1);
  uvf_ctx_release(c->ctx);
}

static int owns(const catcher_t *c, size_t n) {
  int all = 0;
  for (size_t i = 0; i < n; i++) all += uvf_owns_handle((const uv_handle_t *)&c->signals.uvf__handles[i]);
  return all;
}

/* --- whose they are --- */

static void they_are_the_librarys_from_the_start_until_they_are_closed(void **state) {
  fixture_t *f = *state;
  uv_signal_t own;
  assert_int_equal(uv_signal_init(&f->loop, &own), 0);
  for (size_t n = 1; n <= ARRAY_SIZE(four); n++) {
    catcher_t one, two;
    catcher_start(&one, f->root, n);
    catcher_start(&two, f->root, n);
    assert_int_equal(owns(&one, n) + owns(&two, n), 2 * (int)n);
    assert_int_equal(uvf_owns_handle((uv_handle_t *)&own), 0);
    assert_int_equal(uvf_signals_stop(&one.signals, on_closed), 0);
    assert_int_equal(owns(&one, n), (int)n); /* being closed */
    run_until(&f->loop, &one.closes, 1);
    assert_int_equal(owns(&one, n), 0);
    assert_int_equal(owns(&two, n), (int)n);
    uvf_ctx_release(one.ctx);
    catcher_start(&one, f->root, n);
    assert_int_equal(owns(&one, n), (int)n);
    catcher_stop(&two, &f->loop);
    catcher_stop(&one, &f->loop);
    assert_int_equal(owns(&one, n) + owns(&two, n), 0);
  }
  uv_close((uv_handle_t *)&own, NULL);
  turn(&f->loop);
}

static void those_of_a_start_that_was_refused_are_being_closed_and_nobodys(void **state) {
  static const int refused[] = {SIGHUP, SIGINT, SIGTERM, SIGKILL};
  fixture_t *f = *state;
  catcher_t c;
  memset(&c, 0, sizeof c);
  assert_int_equal(catcher_try(&c, f->root, refused, 4), UV_EINVAL);
  for (int i = 0; i < 3; i++) assert_true(uv_is_closing((uv_handle_t *)&c.signals.uvf__handles[i]));
  turn(&f->loop);
  assert_int_equal(owns(&c, 3), 0);
}

/* --- the walk --- */

typedef struct strangers_s {
  uv_timer_t timer;
  uv_signal_t signal;
  uv_async_t async;
  int closed;
} strangers_t;

static strangers_t strangers;

static void on_stranger_closed(uv_handle_t *handle) {
  (void)handle;
  strangers.closed++;
}

/* As context.h has it. */
static void close_strangers(uv_handle_t *handle, void *arg) {
  (void)arg;
  if (!uvf_owns_handle(handle) && !uv_is_closing(handle)) uv_close(handle, on_stranger_closed);
}

static void strangers_open(uv_loop_t *loop) {
  strangers.closed = 0;
  assert_int_equal(uv_timer_init(loop, &strangers.timer), 0);
  assert_int_equal(uv_signal_init(loop, &strangers.signal), 0);
  assert_int_equal(uv_async_init(loop, &strangers.async, NULL), 0);
}

static int roots_closed;

static void on_root_closed(uvf_ctx_t *root) {
  (void)root;
  roots_closed++;
}

enum { STOPPED, PARENT_ENDS, ROOT_CLOSES, WAYS };

static void a_walk_that_closes_all_others_leaves_them_and_everything_ends(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 2 * WAYS; i++) {
    uvf_ctx_t *root = NULL, *parent;
    catcher_t c;
    assert_int_equal(uvf_ctx_background(&f->loop, &root), 0);
    parent = child_of(root);
    strangers_open(&f->loop);
    catcher_start(&c, parent, 4);
    if (i % 2) turn(&f->loop);
    uv_walk(&f->loop, close_strangers, NULL);
    turn(&f->loop);
    assert_int_equal(strangers.closed, 3);
    assert_int_equal(owns(&c, 4), 4);
    assert_int_equal(raise(SIGTERM), 0); /* they still catch */
    turn(&f->loop);
    assert_int_equal(c.calls, 1);
    assert_over(c.ctx, UV_ECANCELED, SIGTERM);
    if (i / 2 == STOPPED) {
      assert_int_equal(uvf_signals_stop(&c.signals, on_closed), 0);
      uv_walk(&f->loop, close_strangers, NULL); /* while they are closing */
    } else {
      if (i / 2 == PARENT_ENDS) uvf_ctx_cancel(parent);
    }
    uvf_ctx_release(parent);
    uvf_ctx_release(c.ctx);
    if (i / 2 != ROOT_CLOSES) turn(&f->loop);
    roots_closed = 0;
    uvf_ctx_close(root, on_root_closed);
    if (i / 2 == ROOT_CLOSES) uv_walk(&f->loop, close_strangers, NULL);
    run_until(&f->loop, &roots_closed, 1);
    assert_int_equal(c.closes, i / 2 == STOPPED);
    assert_int_equal(strangers.closed, 3);
    assert_int_equal(owns(&c, 4), 0); /* closed, by whom they belong to */
    memset(&c, 0x5a, sizeof c);
  }
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).contexts, 1); /* the reference to the context is gone, too */
}

/* --- stopped, though never started --- */

static void a_stop_after_a_start_that_was_refused_finds_nothing(void **state) {
  static const int last[] = {SIGTERM, SIGKILL}, first[] = {SIGKILL, SIGTERM}, far[] = {SIGHUP, SIGINT, 100000};
  static const struct {
    const int *signums;
    size_t n;
  } rows[] = {{last, 2}, {first, 2}, {far, 3}};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    for (int junk = 0; junk < 2; junk++) {
      catcher_t c;
      memset(&c, 0, sizeof c);
      memset(&c.signals, junk ? 0x5a : 0, sizeof c.signals);
      assert_int_equal(catcher_try(&c, f->root, rows[i].signums, rows[i].n), UV_EINVAL);
      assert_int_equal(uvf_signals_stop(&c.signals, on_closed), UV_EBUSY);
      turn(&f->loop);
      assert_int_equal(uvf_signals_stop(&c.signals, on_closed), UV_EBUSY);
      turn(&f->loop);
      assert_int_equal(c.closes, 0);
      assert_int_equal(catcher_try(&c, f->root, four, 4), 0); /* nor does it stand in the way */
      catcher_stop(&c, &f->loop);
      assert_int_equal(uvf_signals_stop(&c.signals, on_closed), UV_EBUSY);
      turn(&f->loop);
      assert_int_equal(c.closes, 1);
    }
  }
}

static void zeroed_ones_may_be_stopped_and_nothing_happens(void **state) {
  fixture_t *f = *state;
  catcher_t c;
  memset(&c, 0, sizeof c);
  assert_int_equal(uvf_signals_stop(&c.signals, on_closed), UV_EBUSY);
  assert_int_equal(catcher_try(&c, f->root, four, 0), UV_EINVAL); /* refused before anything */
  assert_int_equal(uvf_signals_stop(&c.signals, on_closed), UV_EBUSY);
  test_alloc_fail_at(1);
  assert_int_equal(catcher_try(&c, f->root, four, 4), UV_ENOMEM); /* main: every context a block */
  test_alloc_fail_at(0);
  assert_int_equal(uvf_signals_stop(&c.signals, on_closed), UV_EBUSY);
  turn(&f->loop);
  assert_int_equal(c.closes, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_fds(they_are_the_librarys_from_the_start_until_they_are_closed),
      unit_fds(those_of_a_start_that_was_refused_are_being_closed_and_nobodys),
      unit_fds(a_walk_that_closes_all_others_leaves_them_and_everything_ends),
      unit_fds(a_stop_after_a_start_that_was_refused_finds_nothing),
      unit_fds(zeroed_ones_may_be_stopped_and_nothing_happens),
  };
  uvf_use_free_lists(0);
  return test_run(tests);
}
