/* SPDX-License-Identifier: MIT
 *
 * io.h: how a connect ends: every way to end it, in every state that it can be caught in, with and without a release
 * callback; and what becomes of the socket. The states are forced: an address that never answers, a connection that the
 * system has made and the loop has not seen, the check phase between libuv's callback and ours.
 */
#include "unit/net_probe.h"

static const uvf_connect_options_t quick = {.attempt_ms = 5};

static size_t fds_in_done;

static void note_fds(tally_t *t) {
  (void)t;
  fds_in_done = test_fd_count();
}

/* A connect of this list under a context that is to end this way. */
static void run_open(run_t *run, way_t way, int release, const char *list, const uvf_connect_options_t *options) {
  static list_t addresses; /* there is one run at a time */
  memset(run, 0, sizeof *run);
  scene_open(&run->scene, way);
  run->t = conn_new(release);
  run->t->in_done = note_fds;
  conn_start(run->scene.ctx, run->t, list_of(&addresses, list), options);
}

/* --- caught in every state --- */

static void ended_before_anything_happened_the_socket_is_closed_when_done_is_told(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    size_t fds = test_fd_count();
    run_t run;
    run_open(&run, (way_t)(i / 2), i % 2, i % 3 == 0 ? "hg" : "h", NULL);
    assert_int_equal(test_fd_count(), fds + 1);
    run_end(&run);
    assert_int_equal(run.rc, 0);
    assert_int_equal(run.t->done, 0);
    if (run.scene.way == BY_OP) assert_int_equal(uvf_op_cancel(run.t->req), UV_EBUSY);
    run_close(&run, run.scene.err);
    assert_int_equal(fds_in_done, fds);
  }
}

static void ended_while_it_waits_it_is_told_and_tries_no_further_address(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    size_t fds = test_fd_count();
    run_t run;
    run_open(&run, (way_t)(i / 2), i % 2, "rhg", NULL);
    run.t->keep = 1;
    for (int ms = 0; conn_of(run.t)->req.attempts < 2 && ms < PATIENCE_MS; ms++) {
      run_ready(&io.f->loop);
      uv_sleep(1);
    }
    assert_int_equal(conn_of(run.t)->req.attempts, 2);
    run_end(&run);
    run_close(&run, run.scene.err);
    assert_int_equal(fds_in_done, fds);
    assert_int_equal(conn_of(run.t)->req.attempts, 2);
    assert_ptr_equal(conn_of(run.t)->tcp.data, run.t);
  }
}

static void with_a_release_callback_done_comes_before_libuv_has_let_go(void **state) {
  fixture_t *f = *state;
  tally_t *t = conn_new(1);
  list_t list;
  t->keep = 1;
  conn_start(f->root, t, list_of(&list, "h"), NULL);
  assert_int_equal(uvf_op_cancel(t->req), 0);
  assert_true(uv_is_closing(conn_handle(t)));
  uv_run(&f->loop, UV_RUN_NOWAIT); /* the close callbacks are its last phase; done came in its first */
  assert_int_equal(t->done, 1);
  assert_int_equal(t->released, 0);
  run_tally(t);
  assert_tally(t, UV_ECANCELED);
}

static void a_connection_that_the_system_has_made_and_nobody_has_seen_is_closed(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    size_t fds = test_fd_count();
    int accepted = net.accepted, ended = net.ended;
    run_t run;
    run_open(&run, (way_t)(i / 2), i % 2, "gg", NULL);
    assert_true(net_await(&net.accepted, accepted + 1));
    run_end(&run);
    assert_int_equal(run.rc, 0);
    run_close(&run, run.scene.err);
    assert_int_equal(fds_in_done + 1, fds + 2); /* the server's side is one */
    assert_true(net_await(&net.ended, ended + 1));
    assert_int_equal(net.accepted, accepted + 1);
    for (int k = 0; k < 3; k++) uv_run(&net.loop, UV_RUN_NOWAIT);
  }
}

static void a_connection_told_before_the_cancel_of_another_thread_is_heard_is_closed(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    int accepted = net.accepted, ended = net.ended;
    uvf_ctx_t *ctx = child_of(f->root);
    tally_t *t = conn_new(release);
    early_t early;
    list_t list;
    early_open(&early, cancel_elsewhere, ctx);
    conn_start(ctx, t, list_of(&list, "gg"), NULL);
    assert_true(net_await(&net.accepted, accepted + 1));
    run_tally(t);
    assert_int_equal(early.came, 1);
    assert_tally(t, UV_ECANCELED);
    assert_true(net_await(&net.ended, ended + 1));
    early_close(&early);
    uvf_ctx_release(ctx);
  }
}

static void ended_between_the_connection_and_its_callback_it_is_handed_over_all_the_same(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    run_t run;
    run_open(&run, (way_t)(i / 2), i % 2, i % 3 == 0 ? "rg" : "g", NULL);
    run.t->keep = 1;
    moment_start(&run.moment, run.t, run_end, &run);
    run_tally(run.t);
    assert_int_equal(run.moment.came, 1);
    moment_stop(&run.moment);
    assert_int_equal(run.rc, run.scene.way == BY_OP ? UV_EBUSY : 0);
    assert_connected(run.t);
    conn_close(run.t);
    run_close(&run, 0);
  }
}

/* The same when the last address has failed: the failure is told, not the end. */
static void ended_between_the_last_failure_and_its_callback_it_is_the_failure_that_is_told(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    run_t run;
    run_open(&run, (way_t)(i / 2), i % 2, "rr", NULL);
    /* The failure is claimed in libuv's close phase, and delivered in the next prepare or check: look in between. */
    while (run.t->done == 0 && state_of(run.t) != UVF__OP_READY) uv_run(&io.f->loop, UV_RUN_NOWAIT);
    assert_int_equal(run.t->done, 0);
    run_end(&run);
    assert_int_equal(run.rc, run.scene.way == BY_OP ? UV_EBUSY : 0);
    run_close(&run, UV_ECONNREFUSED);
  }
}

static void ended_afterwards_nothing_changes(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    run_t run;
    run_open(&run, (way_t)(i / 2), i % 2, "g", NULL);
    run.t->keep = 1;
    run_tally(run.t);
    run_end(&run);
    assert_int_equal(run.rc, run.scene.way == BY_OP ? UV_EBUSY : 0);
    turn(&io.f->loop);
    assert_connected(run.t);
    conn_close(run.t);
    run_close(&run, 0);
  }
}

/* --- between two attempts --- */

typedef struct between_s {
  uv_check_t check;
  run_t *run;
  int came;
} between_t;

/* The first address has failed, its socket is closing, the next has not been tried. */
static void on_between(uv_check_t *check) {
  between_t *between = (between_t *)check;
  tally_t *t = between->run->t;
  if (between->came || t->done > 0 || conn_of(t)->req.attempts != 1) return;
  if (state_of(t) != UVF__OP_PENDING || !uv_is_closing(conn_handle(t))) return;
  between->came = 1;
  run_end(between->run);
}

static void ended_between_two_addresses_the_next_is_not_tried(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    size_t fds = test_fd_count();
    between_t between = {.came = 0};
    run_t run;
    run_open(&run, (way_t)(i / 2), i % 2, "rg", NULL);
    run.t->keep = 1;
    between.run = &run;
    assert_int_equal(uv_check_init(&io.f->loop, &between.check), 0);
    assert_int_equal(uv_check_start(&between.check, on_between), 0);
    uv_unref((uv_handle_t *)&between.check);
    run_tally(run.t);
    uv_close((uv_handle_t *)&between.check, NULL);
    assert_int_equal(between.came, 1);
    assert_int_equal(run.rc, 0);
    run_close(&run, run.scene.err);
    assert_int_equal(conn_of(run.t)->req.attempts, 1);
    assert_int_equal(fds_in_done, fds);
  }
}

typedef struct slip_s {
  uv_check_t check;
  uv_idle_t slip; /* closed behind the socket: libuv runs its close callback before the socket's */
  tally_t *t;
  int came;
} slip_t;

static void on_slip(uv_handle_t *handle) {
  slip_t *slip = handle->data;
  cancel_elsewhere(op_of_tally(slip->t)->ctx); /* not heard before the next turn */
  slip->came++;
}

static void on_slip_check(uv_check_t *check) {
  slip_t *slip = (slip_t *)check;
  if (uv_is_closing((uv_handle_t *)&slip->slip) || !uv_is_closing(conn_handle(slip->t))) return;
  uv_close((uv_handle_t *)&slip->slip, on_slip);
}

static void cancelled_by_another_thread_as_the_first_socket_is_closed_the_next_address_is_not_tried(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    uvf_ctx_t *ctx = child_of(f->root);
    slip_t slip = {.t = conn_new(release)};
    list_t list;
    slip.t->keep = 1;
    slip.slip.data = &slip;
    assert_int_equal(uv_idle_init(&f->loop, &slip.slip), 0);
    assert_int_equal(uv_check_init(&f->loop, &slip.check), 0);
    conn_start(ctx, slip.t, list_of(&list, "rg"), NULL);
    assert_int_equal(uv_check_start(&slip.check, on_slip_check), 0);
    uv_unref((uv_handle_t *)&slip.check);
    run_tally(slip.t);
    uv_close((uv_handle_t *)&slip.check, NULL);
    turn(&f->loop);
    assert_int_equal(slip.came, 1);
    assert_tally(slip.t, UV_ECANCELED);
    assert_int_equal(conn_of(slip.t)->req.attempts, 1);
    uvf_ctx_release(ctx);
  }
}

static void ended_as_the_attempt_runs_out_of_time_the_end_is_told(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    run_t run;
    run_open(&run, (way_t)(i / 2), i % 2, "hg", &quick);
    run.t->keep = 1;
    clock_ahead_ns += 6 * MS_NS;
    uvf__clock_ns = clock_of_test;
    uvf__hub_run_deadlines(uvf__ctx_hub(run.scene.ctx)); /* the socket is closing now */
    assert_true(uv_is_closing(conn_handle(run.t)));
    assert_int_equal(state_of(run.t), UVF__OP_PENDING);
    run_end(&run);
    assert_int_equal(run.rc, 0);
    run_close(&run, run.scene.err);
    assert_int_equal(conn_of(run.t)->req.attempts, 1);
  }
}

static void its_deadline_and_its_attempts_time_at_once_are_one_end(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    uvf_connect_options_t options = {.attempt_ms = 100};
    tally_t *t = conn_new(release);
    uvf_ctx_t *ctx;
    list_t list;
    clock_freeze();
    ctx = timeout_of(f->root, 100);
    conn_start(ctx, t, list_of(&list, "hg"), &options);
    clock_to(ctx, frozen_ns + 100 * MS_NS);
    run_tally(t);
    assert_tally(t, UV_ETIMEDOUT);
    uvf_ctx_release(ctx);
  }
}

/* --- closed by hand --- */

static int closes;

static void on_hand_closed(uv_handle_t *handle) {
  (void)handle;
  closes++;
}

static void closed_by_hand_it_is_not_closed_again_and_the_request_ends(void **state) {
  (void)state;
  for (int i = 0; i < 4 * WAYS; i++) {
    int also = i % 4 >= 2; /* ended by its context, too */
    run_t run;
    closes = 0;
    run_open(&run, (way_t)(i / 4), i % 2, "hg", NULL);
    run.t->keep = 1;
    uv_close(conn_handle(run.t), on_hand_closed);
    if (also) run_end(&run);
    run_tally(run.t);
    if (!also) run_end(&run);
    run_until(&io.f->loop, &closes, 1);
    turn(&io.f->loop);
    run_close(&run, also ? run.scene.err : UV_ECANCELED);
    assert_int_equal(closes, 1);
    assert_int_equal(conn_of(run.t)->req.attempts, 1);
  }
}

/* In the same turn the attempt's own time is up, too, in the timers' phase: it must not be tried again in a handle that
 * libuv is closing. */
static void closed_by_hand_in_the_turn_in_which_its_time_is_up_it_ends_once(void **state) {
  static const char *const lists[] = {"h", "hg", "hhg"};
  fixture_t *f = *state;
  for (size_t i = 0; i < 2 * ARRAY_SIZE(lists); i++) {
    size_t fds = test_fd_count();
    tally_t *t = conn_new(i % 2);
    list_t list;
    closes = 0;
    t->keep = 1;
    conn_start(f->root, t, list_of(&list, lists[i / 2]), &quick);
    uv_sleep(2 * (unsigned int)quick.attempt_ms);
    uv_close(conn_handle(t), on_hand_closed);
    run_tally(t);
    assert_tally(t, UV_ECANCELED);
    assert_int_equal(conn_of(t)->req.attempts, 1);
    run_until(&f->loop, &closes, 1);
    turn(&f->loop);
    assert_int_equal(closes, 1);
    assert_int_equal(test_fd_count(), fds);
    assert_int_equal(stats_of(f->root).ops, 0);
  }
}

/* --- inside the callbacks --- */

static void run_until_released(tally_t *t) {
  io.nested = 1;
  run_until(&io.f->loop, &t->released, 1);
  io.nested = 0;
}

static void release_may_come_in_a_loop_that_done_runs(void **state) {
  fixture_t *f = *state;
  tally_t *t = conn_new(1);
  list_t list;
  t->in_done = run_until_released; /* the request is freed in there */
  conn_start(f->root, t, list_of(&list, "h"), NULL);
  assert_int_equal(uvf_op_cancel(t->req), 0);
  run_tally(t);
  assert_tally(t, UV_ECANCELED);
}

static void close_the_root(tally_t *t) {
  (void)t;
  uvf_ctx_close(io.f->root, NULL);
  io.f->root = NULL;
}

static void done_may_close_the_root_which_waits_for_the_release(void **state) {
  fixture_t *f = *state;
  tally_t *t = conn_new(1), *other = conn_new(1), *third = conn_new(0);
  list_t list;
  t->in_done = close_the_root;
  list_of(&list, "h");
  conn_start(f->root, t, list.info, NULL);
  conn_start(f->root, other, list.info, NULL);
  conn_start(f->root, third, list.info, NULL);
  assert_int_equal(uvf_op_cancel(t->req), 0);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_tally(t, UV_ECANCELED);
  assert_tally(other, UV_ECANCELED);
  assert_tally(third, UV_ECANCELED);
}

static void cancel_the_other(tally_t *t) {
  tally_t *other = t->arg;
  io_expect(uvf_op_cancel(other->req) == 0, "the other could not be cancelled");
}

static void done_may_cancel_another_connect(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 4; i++) {
    tally_t *t = conn_new(i % 2), *other = conn_new(i / 2);
    list_t list, hang;
    t->keep = 1;
    t->in_done = cancel_the_other;
    t->arg = other;
    conn_start(f->root, other, list_of(&hang, "h"), NULL);
    conn_start(f->root, t, list_of(&list, "g"), NULL);
    run_tally(t);
    run_tally(other);
    assert_tally(other, UV_ECANCELED);
    assert_connected(t);
    conn_close(t);
  }
}

/* --- many --- */

static void of_two_hundred_at_random_each_ends_once_and_no_socket_is_left(void **state) {
  enum { N = 200 };
  static const char *const lists[] = {"g", "rg", "h", "hg", "rr", "urg", "hrh", "gg"};
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  static tally_t *t[N];
  static list_t list[N];
  uvf_ctx_t *ctx[10];
  for (int i = 0; i < 10; i++) ctx[i] = child_of(f->root);
  for (int i = 0; i < N; i++) {
    t[i] = conn_new((int)(test_rand(&seed) % 2));
    t[i]->keep = 1;
    conn_start(ctx[i % 10], t[i], list_of(&list[i], lists[test_rand(&seed) % ARRAY_SIZE(lists)]), &quick);
    if (test_rand(&seed) % 3 == 0) {
      tally_t *other = t[test_rand(&seed) % ((uint64_t)i + 1)];
      (void)uvf_op_cancel(other->req);
    }
    if (test_rand(&seed) % 4 == 0) uv_run(&f->loop, UV_RUN_NOWAIT);
    if (i % 16 == 0) uv_run(&net.loop, UV_RUN_NOWAIT);
  }
  for (int i = 0; i < 5; i++) uvf_ctx_cancel(ctx[i]);
  for (int i = 0; i < N; i++) run_tally(t[i]);
  turn(&f->loop);
  for (int i = 0; i < N; i++) {
    assert_int_equal(t[i]->done, 1);
    if (t[i]->status == 0) {
      assert_connected(t[i]);
      uv_close(conn_handle(t[i]), NULL);
    }
  }
  for (int i = 0; i < 10; i++) uvf_ctx_release(ctx[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_net(ended_before_anything_happened_the_socket_is_closed_when_done_is_told),
      unit_net(ended_while_it_waits_it_is_told_and_tries_no_further_address),
      unit_net(with_a_release_callback_done_comes_before_libuv_has_let_go),
      unit_net(a_connection_that_the_system_has_made_and_nobody_has_seen_is_closed),
      unit_net(a_connection_told_before_the_cancel_of_another_thread_is_heard_is_closed),
      unit_net(ended_between_the_connection_and_its_callback_it_is_handed_over_all_the_same),
      unit_net(ended_between_the_last_failure_and_its_callback_it_is_the_failure_that_is_told),
      unit_net(ended_afterwards_nothing_changes),
      unit_net(ended_between_two_addresses_the_next_is_not_tried),
      unit_net(cancelled_by_another_thread_as_the_first_socket_is_closed_the_next_address_is_not_tried),
      unit_net(ended_as_the_attempt_runs_out_of_time_the_end_is_told),
      unit_net(its_deadline_and_its_attempts_time_at_once_are_one_end),
      unit_net(closed_by_hand_it_is_not_closed_again_and_the_request_ends),
      unit_net(closed_by_hand_in_the_turn_in_which_its_time_is_up_it_ends_once),
      unit_net(release_may_come_in_a_loop_that_done_runs),
      unit_net(done_may_close_the_root_which_waits_for_the_release),
      unit_net(done_may_cancel_another_connect),
      unit_net(of_two_hundred_at_random_each_ends_once_and_no_socket_is_left),
  };
  int failed;
  io_main();
  net_open();
  failed = test_run(tests);
  net_close();
  return failed;
}
