/* SPDX-License-Identifier: MIT
 *
 * serve.h: signals that end a context: the first one, who else hears of it, and how they are given back. What ends the
 * process is tested in another one: test_signals_exit.c.
 */
#include <signal.h>

#include "support/fds.h"
#include "unit/probe.h"

static const int usual[] = {SIGINT, SIGTERM};
static const int four[] = {SIGHUP, SIGINT, SIGTERM, SIGWINCH};

typedef struct catcher_s {
  uvf_signals_t signals;
  uvf_ctx_t *ctx;
  int calls, signum, err, cause; /* what the callback saw */
  int closes;
  void (*then)(struct catcher_s *catcher); /* runs inside the callback; or NULL */
  void (*closed)(struct catcher_s *catcher);
} catcher_t;

static void on_signal(uvf_signals_t *signals, int signum) {
  catcher_t *catcher = signals->data;
  catcher->calls++;
  catcher->signum = signum;
  catcher->err = uvf_ctx_err(signals->ctx);
  catcher->cause = uvf_ctx_cause(signals->ctx, NULL);
  if (catcher->then != NULL) catcher->then(catcher);
}

static void on_closed(uvf_signals_t *signals) {
  catcher_t *catcher = signals->data;
  catcher->closes++;
  if (catcher->closed != NULL) catcher->closed(catcher);
}

static void catcher_init(catcher_t *catcher) {
  memset(catcher, 0, sizeof *catcher);
  memset(&catcher->signals, 0xff, sizeof catcher->signals); /* a start reads none of it */
  catcher->signals.data = catcher;
}

static void catcher_start(catcher_t *catcher, uvf_ctx_t *parent, const int signums[], size_t n) {
  catcher_init(catcher);
  assert_int_equal(uvf_signals_start(parent, &catcher->signals, signums, n, on_signal, &catcher->ctx), 0);
  assert_ptr_equal(catcher->signals.ctx, catcher->ctx);
  assert_int_equal(catcher->signals.signum, 0);
}

/* Gives them back, and the context. */
static void catcher_end(catcher_t *catcher, uv_loop_t *loop) {
  int closes = catcher->closes;
  assert_int_equal(uvf_signals_stop(&catcher->signals, on_closed), 0);
  assert_int_equal(catcher->closes, closes); /* not inside */
  run_until(loop, &catcher->closes, closes + 1);
  turn(loop);
  assert_int_equal(catcher->closes, closes + 1);
  memset(&catcher->signals, 0x5a, sizeof catcher->signals); /* the caller's again */
  uvf_ctx_release(catcher->ctx);
}

/* Delivered to this thread before it returns; the loop hears of it in its next turn. */
static void send(uv_loop_t *loop, int signum) {
  assert_int_equal(raise(signum), 0);
  turn(loop);
}

static int is_caught(int signum) {
  void (*handler)(int) = signal(signum, SIG_DFL);
  assert_true(handler != SIG_ERR);
  if (handler == SIG_DFL) return 0;
  assert_true(signal(signum, handler) == SIG_DFL);
  return 1;
}

/* --- the first signal --- */

static void the_first_signal_cancels_with_its_number_as_cause_and_calls_back_once(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(four); i++) {
    catcher_t catcher;
    uvf_ctx_t *below;
    probe_t probe = {0};
    catcher_start(&catcher, f->root, four, ARRAY_SIZE(four));
    below = child_of(catcher.ctx);
    probe_start(&probe, below, 0, NULL);
    turn(&f->loop);
    assert_over(catcher.ctx, 0, 0);
    assert_int_equal(raise(four[i]), 0);
    assert_over(catcher.ctx, 0, 0); /* from the loop only */
    assert_int_equal(catcher.calls, 0);
    turn(&f->loop);
    assert_int_equal(catcher.calls, 1);
    assert_int_equal(catcher.signum, four[i]);
    assert_int_equal(catcher.signals.signum, four[i]);
    assert_int_equal(catcher.err, UV_ECANCELED); /* it was over before the callback */
    assert_int_equal(catcher.cause, four[i]);
    assert_over(catcher.ctx, UV_ECANCELED, four[i]);
    assert_over(below, UV_ECANCELED, four[i]);
    assert_int_equal(probe.calls, 1);
    assert_over(f->root, 0, 0); /* the parent goes on */
    uvf_ctx_release(below);
    catcher_end(&catcher, &f->loop);
    assert_int_equal(catcher.calls, 1);
  }
}

static void without_a_list_it_is_the_two_that_ask_a_program_to_end(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
    catcher_t catcher;
    catcher_start(&catcher, f->root, NULL, 77); /* n is not looked at */
    for (size_t k = 0; k < ARRAY_SIZE(four); k++)
      assert_int_equal(is_caught(four[k]), four[k] == SIGINT || four[k] == SIGTERM);
    send(&f->loop, usual[i]);
    assert_int_equal(catcher.signum, usual[i]);
    catcher_end(&catcher, &f->loop);
  }
}

static void either_the_callback_or_the_context_may_be_left_out(void **state) {
  fixture_t *f = *state;
  catcher_t catcher;
  catcher_init(&catcher);
  assert_int_equal(uvf_signals_start(f->root, &catcher.signals, four, 4, NULL, &catcher.ctx), 0);
  send(&f->loop, SIGHUP);
  assert_over(catcher.ctx, UV_ECANCELED, SIGHUP);
  assert_int_equal(catcher.signals.signum, SIGHUP);
  catcher_end(&catcher, &f->loop);
  catcher_init(&catcher);
  assert_int_equal(uvf_signals_start(f->root, &catcher.signals, four, 4, on_signal, NULL), 0);
  assert_over(catcher.signals.ctx, 0, 0);
  send(&f->loop, SIGINT);
  assert_int_equal(catcher.calls, 1);
  assert_int_equal(catcher.cause, SIGINT);
  catcher_end(&catcher, &f->loop);
}

static void raise_on_thread(void *signum) { (void)raise(*(int *)signum); }

static void a_signal_that_another_thread_gets_is_told_on_the_loop(void **state) {
  fixture_t *f = *state;
  catcher_t catcher;
  int signum = SIGTERM;
  catcher_start(&catcher, f->root, NULL, 0);
  run_beside(&f->loop, raise_on_thread, &signum);
  turn(&f->loop);
  assert_int_equal(catcher.calls, 1);
  assert_over(catcher.ctx, UV_ECANCELED, SIGTERM);
  catcher_end(&catcher, &f->loop);
}

static void what_is_over_before_the_signal_keeps_its_cause(void **state) {
  fixture_t *f = *state;
  catcher_t catcher;
  catcher_start(&catcher, f->root, NULL, 0);
  uvf_ctx_cancel_cause(catcher.ctx, 4711, NULL);
  send(&f->loop, SIGTERM);
  assert_int_equal(catcher.calls, 1); /* it has come all the same */
  assert_int_equal(catcher.signals.signum, SIGTERM);
  assert_over(catcher.ctx, UV_ECANCELED, 4711);
  catcher_end(&catcher, &f->loop);
}

static void one_signal_reaches_every_catcher_also_of_other_loops(void **state) {
  fixture_t *f = *state;
  uv_loop_t loop;
  uvf_ctx_t *root = NULL;
  catcher_t catchers[3];
  assert_int_equal(uv_loop_init(&loop), 0);
  assert_int_equal(uvf_ctx_background(&loop, &root), 0);
  for (int i = 0; i < 3; i++) catcher_start(&catchers[i], i < 2 ? f->root : root, four + i, 2);
  assert_int_equal(raise(SIGINT), 0); /* the first's second and the second's first */
  assert_int_equal(raise(SIGWINCH), 0);
  turn(&loop);
  for (int i = 0; i < 3; i++) assert_int_equal(catchers[i].calls, i == 2);
  turn(&f->loop);
  assert_int_equal(catchers[0].signum, SIGINT);
  assert_int_equal(catchers[1].signum, SIGINT);
  assert_int_equal(catchers[2].signum, SIGWINCH);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(catchers[i].calls, 1);
    assert_int_equal(catchers[i].cause, catchers[i].signum);
    catcher_end(&catchers[i], i < 2 ? &f->loop : &loop);
  }
  uvf_ctx_close(root, NULL);
  assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(uv_loop_close(&loop), 0);
}

static void they_do_not_hold_the_loop(void **state) {
  fixture_t *f = *state;
  catcher_t catcher;
  catcher_start(&catcher, f->root, four, 4);
  assert_int_equal(uv_loop_alive(&f->loop), 0);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_true(is_caught(SIGTERM));
  catcher_end(&catcher, &f->loop);
}

/* --- given back --- */

static void a_stop_gives_the_signals_back_at_once_and_leaves_the_context(void **state) {
  fixture_t *f = *state;
  for (int told = 0; told < 2; told++) {
    catcher_t catcher;
    catcher_start(&catcher, f->root, four, 4);
    if (told) send(&f->loop, SIGINT);
    assert_int_equal(uvf_signals_stop(&catcher.signals, on_closed), 0);
    for (int i = 0; i < 4; i++) assert_false(is_caught(four[i]));
    assert_int_equal(uvf_signals_stop(&catcher.signals, on_closed), UV_EBUSY);
    assert_int_equal(catcher.closes, 0);
    turn(&f->loop);
    assert_int_equal(catcher.closes, 1);
    assert_int_equal(uvf_signals_stop(&catcher.signals, on_closed), UV_EBUSY);
    assert_over(catcher.ctx, told ? UV_ECANCELED : 0, told ? SIGINT : 0);
    uvf_ctx_cancel(catcher.ctx); /* it can still be ended by hand */
    assert_over(catcher.ctx, UV_ECANCELED, told ? SIGINT : UV_ECANCELED);
    assert_int_equal(catcher.calls, told);
    assert_int_equal(counts_of(f->root).guards, 0);
    uvf_ctx_release(catcher.ctx);
    turn(&f->loop);
    assert_int_equal(catcher.closes, 1);
  }
}

static void nobody_needs_to_be_told_of_the_close(void **state) {
  fixture_t *f = *state;
  catcher_t catcher;
  catcher_start(&catcher, f->root, NULL, 0);
  assert_int_equal(uvf_signals_stop(&catcher.signals, NULL), 0);
  turn(&f->loop);
  assert_int_equal(uvf_signals_stop(&catcher.signals, on_closed), UV_EBUSY);
  uvf_ctx_release(catcher.ctx);
  assert_int_equal(stats_of(f->root).contexts, 1);
}

static void a_signal_on_its_way_when_they_are_stopped_is_nobodys(void **state) {
  fixture_t *f = *state;
  catcher_t catcher;
  catcher_start(&catcher, f->root, four, 4);
  turn(&f->loop);
  assert_int_equal(raise(SIGHUP), 0);
  catcher_end(&catcher, &f->loop);
  assert_int_equal(catcher.calls, 0);
}

static void stop_here(catcher_t *catcher) { assert_int_equal(uvf_signals_stop(&catcher->signals, on_closed), 0); }

static void restart_here(catcher_t *catcher) {
  uvf_ctx_t *parent = catcher->signals.uvf__guards[0].ctx;
  (void)parent;
  uvf_ctx_release(catcher->ctx);
  if (catcher->closes < 4)
    assert_int_equal(uvf_signals_start(uvf_ctx_loop(catcher->signals.ctx) != NULL ? catcher->signals.ctx : NULL,
                                       &catcher->signals, NULL, 0, on_signal, &catcher->ctx),
                     0);
}
