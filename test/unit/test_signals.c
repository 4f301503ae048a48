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
  uvf_ctx_t *parent, *ctx;
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
  catcher->parent = parent;
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
static void send_signal(uv_loop_t *loop, int signum) {
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
    send_signal(&f->loop, usual[i]);
    assert_int_equal(catcher.signum, usual[i]);
    catcher_end(&catcher, &f->loop);
  }
}

static void either_the_callback_or_the_context_may_be_left_out(void **state) {
  fixture_t *f = *state;
  catcher_t catcher;
  catcher_init(&catcher);
  assert_int_equal(uvf_signals_start(f->root, &catcher.signals, four, 4, NULL, &catcher.ctx), 0);
  send_signal(&f->loop, SIGHUP);
  assert_over(catcher.ctx, UV_ECANCELED, SIGHUP);
  assert_int_equal(catcher.signals.signum, SIGHUP);
  catcher_end(&catcher, &f->loop);
  catcher_init(&catcher);
  assert_int_equal(uvf_signals_start(f->root, &catcher.signals, four, 4, on_signal, NULL), 0);
  assert_over(catcher.signals.ctx, 0, 0);
  send_signal(&f->loop, SIGINT);
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
  send_signal(&f->loop, SIGTERM);
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
    if (told) send_signal(&f->loop, SIGINT);
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
  if (catcher->closes == 4) return;
  uvf_ctx_release(catcher->ctx);
  assert_int_equal(uvf_signals_start(catcher->parent, &catcher->signals, NULL, 0, on_signal, &catcher->ctx), 0);
}

static void they_may_be_stopped_in_their_callback_and_started_again_in_the_close_callback(void **state) {
  fixture_t *f = *state;
  catcher_t catcher;
  catcher_start(&catcher, f->root, NULL, 0);
  catcher.then = stop_here;
  catcher.closed = restart_here;
  for (int i = 1; i <= 4; i++) {
    send_signal(&f->loop, i % 2 ? SIGTERM : SIGINT);
    assert_int_equal(catcher.calls, i);
    assert_int_equal(catcher.signum, i % 2 ? SIGTERM : SIGINT);
    assert_int_equal(catcher.closes, i);
  }
  assert_false(is_caught(SIGTERM));
  uvf_ctx_release(catcher.ctx);
}

static void started_and_stopped_a_hundred_times_nothing_is_left(void **state) {
  fixture_t *f = *state;
  size_t blocks, descriptors;
  catcher_t catcher;
  catcher_start(&catcher, f->root, four, 4);
  catcher_end(&catcher, &f->loop);
  blocks = test_alloc_live();
  descriptors = test_fd_count();
  for (int i = 0; i < 100; i++) {
    catcher_start(&catcher, f->root, four, 1 + (size_t)i % 4);
    if (i % 3) send_signal(&f->loop, SIGHUP);
    catcher_end(&catcher, &f->loop);
  }
  assert_int_equal(test_alloc_live(), blocks);
  assert_int_equal(test_fd_count(), descriptors);
  assert_int_equal(stats_of(f->root).contexts, 1);
  assert_int_equal(stats_of(f->root).ops, 0);
}

/* --- the parent's end --- */

static void the_end_of_the_parent_gives_the_signals_back(void **state) {
  fixture_t *f = *state;
  for (int timed = 0; timed < 2; timed++) {
    uvf_ctx_t *parent = timed ? timeout_of(f->root, 1) : child_of(f->root);
    catcher_t catcher;
    catcher_start(&catcher, parent, four, 4);
    if (timed) {
      probe_t probe = {0};
      probe_start(&probe, parent, 0, NULL);
      run_until(&f->loop, &probe.calls, 1);
    } else {
      uvf_ctx_cancel_cause(parent, 4711, NULL);
    }
    turn(&f->loop);
    for (int i = 0; i < 4; i++) assert_false(is_caught(four[i]));
    assert_over(catcher.ctx, timed ? UV_ETIMEDOUT : UV_ECANCELED, timed ? UV_ETIMEDOUT : 4711);
    assert_int_equal(uvf_signals_stop(&catcher.signals, on_closed), UV_EBUSY); /* closed already */
    turn(&f->loop);
    assert_int_equal(catcher.closes + catcher.calls, 0);
    uvf_ctx_release(catcher.ctx);
    uvf_ctx_release(parent);
  }
}

/* As soon as the parent is over, and before the loop has closed them. */
static void stopped_between_the_parents_end_and_the_close_the_close_is_told(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = child_of(f->root);
  catcher_t catcher;
  catcher_start(&catcher, parent, NULL, 0);
  uvf_ctx_cancel(parent);
  catcher_end(&catcher, &f->loop);
  uvf_ctx_release(parent);
}

static void stop_with_probe(probe_t *probe) {
  catcher_t *catcher = probe->arg;
  assert_false(is_caught(SIGINT)); /* the handles are closing */
  assert_int_equal(uvf_signals_stop(&catcher->signals, on_closed), 0);
}

static void stopped_while_the_parents_end_is_closing_them_the_close_is_told(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = child_of(f->root);
  catcher_t catcher;
  probe_t probe = {.then = stop_with_probe, .arg = &catcher};
  probe_start(&probe, parent, 0, NULL); /* older than the guards: it runs behind them */
  catcher_start(&catcher, parent, NULL, 0);
  uvf_ctx_cancel(parent);
  run_until(&f->loop, &catcher.closes, 1);
  assert_int_equal(probe.calls, 1);
  assert_int_equal(uvf_signals_stop(&catcher.signals, NULL), UV_EBUSY);
  uvf_ctx_release(catcher.ctx);
  uvf_ctx_release(parent);
}

static void under_a_parent_that_is_over_the_context_is_too_and_nothing_is_caught_for_long(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = child_of(f->root);
  catcher_t catcher;
  uvf_ctx_cancel_cause(parent, 4711, NULL);
  catcher_start(&catcher, parent, four, 4);
  assert_over(catcher.ctx, UV_ECANCELED, 4711);
  turn(&f->loop);
  for (int i = 0; i < 4; i++) assert_false(is_caught(four[i]));
  assert_int_equal(catcher.calls, 0);
  uvf_ctx_release(catcher.ctx);
  uvf_ctx_release(parent);
}

static void closing_the_root_gives_them_back_before_its_callback(void **state) {
  fixture_t *f = *state;
  for (int raised = 0; raised < 2; raised++) {
    uvf_ctx_t *root = f->root;
    catcher_t *catcher = malloc(sizeof *catcher);
    assert_non_null(catcher);
    if (raised) assert_int_equal(uvf_ctx_background(&f->loop, &root), 0);
    catcher_start(catcher, root, four, 4);
    turn(&f->loop);
    if (raised) assert_int_equal(raise(SIGINT), 0); /* caught, and not yet told */
    uvf_ctx_release(catcher->ctx);
    f->root = root;
    fixture_close_root(f);
    for (int i = 0; i < 4; i++) assert_false(is_caught(four[i]));
    memset(catcher, 0x5a, sizeof *catcher);
    free(catcher);
    turn(&f->loop);
  }
}

/* --- refused --- */

static void nothing_changed(fixture_t *f, catcher_t *catcher, uvf_ctx_t *untouched) {
  assert_ptr_equal(catcher->ctx, untouched);
  for (int i = 0; i < 4; i++) assert_false(is_caught(four[i]));
  assert_int_equal(counts_of(f->root).guards, 0);
  assert_int_equal(counts_of(f->root).children, 0);
  assert_int_equal(stats_of(f->root).contexts, 1);
  turn(&f->loop); /* from here on the memory is the caller's */
  memset(&catcher->signals, 0xff, sizeof catcher->signals);
}

static void bad_arguments_are_refused_and_nothing_is_caught(void **state) {
  static const int kill_last[] = {SIGHUP, SIGINT, SIGTERM, SIGKILL}, kill_first[] = {SIGKILL, SIGHUP};
  static const int none[] = {SIGINT, 0}, negative[] = {-1}, far[] = {SIGINT, SIGTERM, 100000};
  static const int twice[] = {SIGINT, SIGTERM, SIGINT}, pair[] = {SIGTERM, SIGTERM};
  static const int five[] = {SIGHUP, SIGINT, SIGTERM, SIGWINCH, SIGABRT};
  static const struct {
    const int *signums;
    size_t n;
  } rows[] = {{kill_last, 4}, {kill_first, 2}, {none, 2}, {negative, 1}, {far, 3},
              {twice, 3},     {pair, 2},       {five, 5}, {four, 0},     {four, SIZE_MAX}};
  fixture_t *f = *state;
  uvf_ctx_t *untouched = (uvf_ctx_t *)(void *)f;
  catcher_t catcher;
  catcher_init(&catcher);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    catcher.ctx = untouched;
    assert_int_equal(uvf_signals_start(f->root, &catcher.signals, rows[i].signums, rows[i].n, on_signal, &catcher.ctx),
                     UV_EINVAL);
    nothing_changed(f, &catcher, untouched);
  }
  assert_int_equal(uvf_signals_start(NULL, &catcher.signals, four, 4, on_signal, &catcher.ctx), UV_EINVAL);
  assert_int_equal(uvf_signals_start(f->root, NULL, four, 4, on_signal, &catcher.ctx), UV_EINVAL);
  assert_int_equal(uvf_signals_start(f->root, &catcher.signals, four, 4, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_signals_stop(NULL, on_closed), UV_EINVAL);
  nothing_changed(f, &catcher, untouched);
  catcher_start(&catcher, f->root, four, 4); /* refused ones do not stand in the way */
  send_signal(&f->loop, SIGWINCH);
  assert_int_equal(catcher.calls, 1);
  catcher_end(&catcher, &f->loop);
}

/* Contexts of the same loop are taken until one has to be allocated. */
static void without_memory_nothing_is_caught(void **state) {
  enum { MANY = 256 };
  fixture_t *f = *state;
  uvf_ctx_t *untouched = (uvf_ctx_t *)(void *)f, *taken[MANY];
  catcher_t catcher;
  int n = 0, failed = 0;
  catcher_init(&catcher);
  while (!failed) {
    int rc;
    catcher.ctx = untouched;
    test_alloc_fail_at(1);
    rc = uvf_signals_start(f->root, &catcher.signals, four, 4, on_signal, &catcher.ctx);
    failed = test_alloc_failed();
    test_alloc_fail_at(0);
    assert_int_equal(rc, failed ? UV_ENOMEM : 0);
    if (!failed) catcher_end(&catcher, &f->loop);
    catcher_init(&catcher);
    catcher.ctx = untouched;
    if (failed) break;
    assert_true(n < MANY);
    taken[n++] = child_of(f->root);
  }
  while (n > 0) uvf_ctx_release(taken[--n]);
  nothing_changed(f, &catcher, untouched);
}

static void start_again(void *arg) {
  catcher_t *catcher = arg;
  (void)uvf_signals_start(catcher->parent, &catcher->signals, NULL, 0, on_signal, NULL);
}

static void starting_what_is_started_is_misuse(void **state) {
  fixture_t *f = *state;
  catcher_t catcher;
  catcher_start(&catcher, f->root, four, 4);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(start_again, &catcher);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_signals_start: ", strlen("uvf_signals_start: "));
  }
  send_signal(&f->loop, SIGTERM); /* it goes on as it was */
  assert_int_equal(catcher.calls, 1);
  catcher_end(&catcher, &f->loop);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_fds(the_first_signal_cancels_with_its_number_as_cause_and_calls_back_once),
      unit_fds(without_a_list_it_is_the_two_that_ask_a_program_to_end),
      unit_fds(either_the_callback_or_the_context_may_be_left_out),
      unit_fds(a_signal_that_another_thread_gets_is_told_on_the_loop),
      unit_fds(what_is_over_before_the_signal_keeps_its_cause),
      unit_fds(one_signal_reaches_every_catcher_also_of_other_loops),
      unit_fds(they_do_not_hold_the_loop),
      unit_fds(a_stop_gives_the_signals_back_at_once_and_leaves_the_context),
      unit_fds(nobody_needs_to_be_told_of_the_close),
      unit_fds(a_signal_on_its_way_when_they_are_stopped_is_nobodys),
      unit_fds(they_may_be_stopped_in_their_callback_and_started_again_in_the_close_callback),
      unit_fds(started_and_stopped_a_hundred_times_nothing_is_left),
      unit_fds(the_end_of_the_parent_gives_the_signals_back),
      unit_fds(stopped_between_the_parents_end_and_the_close_the_close_is_told),
      unit_fds(stopped_while_the_parents_end_is_closing_them_the_close_is_told),
      unit_fds(under_a_parent_that_is_over_the_context_is_too_and_nothing_is_caught_for_long),
      unit_fds(closing_the_root_gives_them_back_before_its_callback),
      unit_fds(bad_arguments_are_refused_and_nothing_is_caught),
      unit_fds(without_memory_nothing_is_caught),
      unit_fds(starting_what_is_started_is_misuse),
  };
  return test_run(tests);
}
