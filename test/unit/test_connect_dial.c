/* SPDX-License-Identifier: MIT
 *
 * io.h: dial: a name and a connect in one request, ended in each of its phases. Only names that need no network.
 */
#include "unit/net_probe.h"
#include "unit/resolver.h"

static char good_port[8], full_port[8], refusing_port[8];

static int dial_setup(void **state) { return net_setup(state); }

static int dial_teardown(void **state) {
  int status = net_teardown(state);
  assert_int_equal(resolver_left(), 0); /* every list that the system gave was freed, once */
  return status;
}

#define unit_dial(f) cmocka_unit_test_setup_teardown(f, dial_setup, dial_teardown)

static int dial(uvf_ctx_t *ctx, tally_t *t, const char *node, const char *service,
                const uvf_connect_options_t *options) {
  return uvf_tcp_dial(ctx, &conn_of(t)->req, &conn_of(t)->tcp, node, service, options, conn_done,
                      t->has_release ? conn_release : NULL);
}

static void dial_start(uvf_ctx_t *ctx, tally_t *t, const char *node, const char *service,
                       const uvf_connect_options_t *options) {
  tally_start(t, dial(ctx, t, node, service, options));
}

/* --- names --- */

static void a_name_or_number_is_resolved_and_connected_to(void **state) {
  static const uvf_connect_options_t four = {.family = AF_INET};
  static const struct {
    const char *node;
    const uvf_connect_options_t *options;
  } rows[] = {{"127.0.0.1", NULL}, {"localhost", &four}, {"localhost", NULL}, {NULL, &four}, {"127.0.0.1", &four}};
  fixture_t *f = *state;
  for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
    tally_t *t = conn_new((int)(i % 2));
    char node[32], service[16];
    crowd_t crowd;
    t->keep = 1;
    snprintf(node, sizeof node, "%s", rows[i / 2].node != NULL ? rows[i / 2].node : "");
    snprintf(service, sizeof service, "%s", good_port);
    crowd_open(&crowd, IO_POOL);
    dial_start(f->root, t, rows[i / 2].node != NULL ? node : NULL, service, rows[i / 2].options);
    memset(node, 'x', sizeof node - 1); /* before the pool has looked at them */
    memset(service, 'x', sizeof service - 1);
    crowd_close(&crowd);
    run_tally(t);
    assert_tally(t, 0);
    assert_connected(t);
    if (rows[i / 2].options != NULL) assert_int_equal(conn_of(t)->req.attempts, 1);
    conn_close(t);
  }
}

static void what_does_not_resolve_is_told_and_nothing_is_tried(void **state) {
  static const uvf_connect_options_t six = {.family = AF_INET6}, nobody = {.family = 200};
  static const struct {
    const char *node, *service;
    const uvf_connect_options_t *options;
    int status[3];
  } rows[] = {{NULL, "no-such-service-anywhere", NULL, {UV_EAI_SERVICE, UV_EAI_NONAME, 0}},
              {"127.0.0.1", "80", &six, {UV_EAI_ADDRFAMILY, UV_EAI_NONAME, UV_EAI_FAMILY}},
              {"127.0.0.1", "80", &nobody, {UV_EAI_FAMILY, 0, 0}}};
  fixture_t *f = *state;
  for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
    const int *wanted = rows[i / 2].status;
    tally_t *t = conn_new((int)(i % 2));
    size_t fds = test_fd_count();
    t->keep = 1;
    dial_start(f->root, t, rows[i / 2].node, rows[i / 2].service, rows[i / 2].options);
    run_tally(t);
    assert_tally(t, t->status);
    assert_true(t->status != 0);
    assert_true(t->status == wanted[0] || t->status == wanted[1] || t->status == wanted[2]);
    assert_int_equal(conn_of(t)->req.attempts, 0);
    assert_int_equal(test_fd_count(), fds);
  }
}

static void a_port_that_refuses_is_told_and_one_that_hangs_runs_out_of_time(void **state) {
  static const uvf_connect_options_t quick = {.attempt_ms = 5};
  fixture_t *f = *state;
  for (int i = 0; i < 4; i++) {
    tally_t *t = conn_new(i % 2);
    t->keep = 1;
    dial_start(f->root, t, "127.0.0.1", i < 2 ? refusing_port : full_port, i < 2 ? NULL : &quick);
    run_tally(t);
    assert_tally(t, i < 2 ? UV_ECONNREFUSED : UV_ETIMEDOUT);
    assert_int_equal(conn_of(t)->req.attempts, 1);
  }
}

/* --- how it ends --- */

static void run_open(run_t *run, way_t way, int release, const char *port) {
  memset(run, 0, sizeof *run);
  run->calls = resolver_called();
  run->fds = test_fd_count();
  scene_open(&run->scene, way);
  run->t = conn_new(release);
  run->t->keep = 1;
  dial_start(run->scene.ctx, run->t, "127.0.0.1", port, NULL);
}

static void dial_close(run_t *run, int status) {
  run_tally(run->t);
  turn(&io.f->loop);
  assert_int_equal(uvf_op_cancel(run->t->req), UV_EBUSY);
  run_close(run, status);
}

static void ended_while_its_name_is_queued_it_is_never_resolved(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    crowd_t crowd;
    run_t run;
    crowd_open(&crowd, IO_POOL);
    run_open(&run, (way_t)(i / 2), i % 2, good_port);
    turn(&io.f->loop);
    run_end(&run);
    assert_int_equal(run.rc, 0);
    dial_close(&run, run.scene.err); /* though every thread is parked */
    crowd_close(&crowd);
    turn(&io.f->loop);
    assert_int_equal(resolver_called(), run.calls);
    assert_int_equal(conn_of(run.t)->req.attempts, 0);
  }
}

static void ended_when_the_name_is_resolved_and_its_loop_has_not_heard_nothing_is_tried(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    crowd_t crowd;
    run_t run;
    crowd_open(&crowd, IO_POOL - 1);
    run_open(&run, (way_t)(i / 2), i % 2, good_port);
    crowd_overtaken(&crowd);
    run_end(&run);
    assert_int_equal(run.rc, 0);
    dial_close(&run, run.scene.err);
    assert_int_equal(conn_of(run.t)->req.attempts, 0);
    assert_int_equal(test_fd_count(), run.fds);
    crowd_close(&crowd);
  }
}

static void a_name_that_is_told_before_the_cancel_of_another_thread_is_heard_is_not_tried(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    uvf_ctx_t *ctx = child_of(f->root);
    tally_t *t = conn_new(release);
    crowd_t crowd;
    early_t early;
    t->keep = 1;
    crowd_open(&crowd, IO_POOL - 1);
    early_open(&early, cancel_elsewhere, ctx);
    dial_start(ctx, t, "127.0.0.1", good_port, NULL);
    crowd_overtaken(&crowd);
    run_tally(t);
    assert_int_equal(early.came, 1);
    assert_tally(t, UV_ECANCELED);
    assert_int_equal(conn_of(t)->req.attempts, 0);
    early_close(&early);
    crowd_close(&crowd);
    uvf_ctx_release(ctx);
  }
}

/* Until the first address is being tried. */
static void run_to_attempt(run_t *run) {
  for (int ms = 0; conn_of(run->t)->req.attempts == 0 && ms < PATIENCE_MS; ms++) {
    uv_run(&io.f->loop, UV_RUN_NOWAIT);
    uv_sleep(1);
  }
  assert_int_equal(conn_of(run->t)->req.attempts, 1);
}

static void ended_while_it_connects_the_socket_is_closed(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    run_t run;
    run_open(&run, (way_t)(i / 2), i % 2, full_port);
    run_to_attempt(&run);
    assert_int_equal(test_fd_count(), run.fds + 1);
    run_end(&run);
    assert_int_equal(run.rc, 0);
    dial_close(&run, run.scene.err);
    assert_int_equal(test_fd_count(), run.fds);
    assert_int_equal(conn_of(run.t)->req.attempts, 1);
  }
}

static void ended_between_the_connection_and_its_callback_it_is_handed_over_all_the_same(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    run_t run;
    run_open(&run, (way_t)(i / 2), i % 2, good_port);
    moment_start(&run.moment, run.t, run_end, &run);
    run_tally(run.t);
    assert_int_equal(run.moment.came, 1);
    moment_stop(&run.moment);
    assert_int_equal(run.rc, run.scene.way == BY_OP ? UV_EBUSY : 0);
    assert_connected(run.t);
    conn_close(run.t);
    dial_close(&run, 0);
  }
}

#ifdef RESOLVER_GATE
static void while_the_resolver_hangs_done_comes_at_once_and_release_when_it_gives_up(void **state) {
  (void)state;
  for (int i = 0; i < 2 * WAYS; i++) {
    run_t run;
    resolver_hang();
    run_open(&run, (way_t)(i / 2), i % 2, good_port);
    resolver_hangs();
    turn(&io.f->loop);
    run_end(&run);
    assert_int_equal(run.rc, 0);
    turn(&io.f->loop);
    assert_int_equal(run.t->done, run.t->has_release);
    assert_int_equal(run.t->released, 0);
    assert_int_equal(io.roots_closed, 0); /* a root that is closed waits for it */
    resolver_let_go(1);
    dial_close(&run, run.scene.err);
    assert_int_equal(conn_of(run.t)->req.attempts, 0);
    assert_int_equal(test_fd_count(), run.fds);
  }
}

static void the_time_that_the_resolver_took_is_not_shared_out_again(void **state) {
  fixture_t *f = *state;
  tally_t *t = conn_new(0);
  uvf_ctx_t *ctx;
  t->keep = 1;
  clock_freeze();
  ctx = timeout_of(f->root, 30000);
  resolver_hang();
  dial_start(ctx, t, "127.0.0.1", full_port, NULL);
  resolver_hangs();
  clock_to(ctx, frozen_ns + 20000 * MS_NS);
  resolver_let_go(1);
  for (int ms = 0; conn_of(t)->req.attempts == 0 && ms < PATIENCE_MS; ms++) {
    uv_run(&f->loop, UV_RUN_NOWAIT);
    uv_sleep(1);
  }
  clock_to(ctx, frozen_ns + 10000 * MS_NS - 1);
  turn(&f->loop);
  assert_int_equal(t->done, 0);
  clock_to(ctx, frozen_ns + 1);
  run_tally(t);
  assert_tally(t, UV_ETIMEDOUT);
  uvf_ctx_release(ctx);
}
#endif

static void under_a_context_that_is_over_nothing_is_resolved_or_tried(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over[2] = {child_of(f->root), timeout_of(f->root, 0)};
  int calls = resolver_called();
  uvf_ctx_cancel(over[0]);
  for (int i = 0; i < 4; i++) {
    tally_t *t = conn_new(i % 2);
    t->keep = 1;
    dial_start(over[i / 2], t, "127.0.0.1", good_port, NULL);
    assert_int_equal(t->done, 0);
    run_tally(t);
    assert_tally(t, i < 2 ? UV_ECANCELED : UV_ETIMEDOUT);
    assert_int_equal(conn_of(t)->req.attempts, 0);
  }
  turn(&f->loop);
  assert_int_equal(resolver_called(), calls);
  uvf_ctx_release(over[0]);
  uvf_ctx_release(over[1]);
}

/* --- starts --- */

static void bad_arguments_and_libuvs_own_refusals_leave_the_request_usable(void **state) {
  fixture_t *f = *state;
  tally_t *t = conn_new(1);
  conn_t *c = conn_of(t);
  static char longest[4000];
  memset(longest, 'a', sizeof longest - 1);
  assert_int_equal(uvf_tcp_dial(NULL, &c->req, &c->tcp, "::1", "1", NULL, conn_done, NULL), UV_EINVAL);
  assert_int_equal(uvf_tcp_dial(f->root, NULL, &c->tcp, "::1", "1", NULL, conn_done, NULL), UV_EINVAL);
  assert_int_equal(uvf_tcp_dial(f->root, &c->req, NULL, "::1", "1", NULL, conn_done, NULL), UV_EINVAL);
  assert_int_equal(uvf_tcp_dial(f->root, &c->req, &c->tcp, NULL, NULL, NULL, conn_done, NULL), UV_EINVAL);
  assert_true(io_call(dial(f->root, t, longest, "1", NULL)) < 0);
  assert_int_equal(stats_of(f->root).ops, 0);
  assert_false(uv_loop_alive(&f->loop));
  turn(&f->loop);
  assert_int_equal(t->done + t->released, 0);
  t->keep = 1;
  dial_start(f->root, t, "127.0.0.1", good_port, NULL);
  run_tally(t);
  assert_connected(t);
  conn_close(t);
}

static void without_memory_nothing_happens(void **state) {
  fixture_t *f = *state;
  for (int ours = 0; ours < 2; ours++) {
    tally_t *t = conn_new(1);
    size_t n = 0;
    int err;
    t->keep = 1;
    do {
      size_t live = atomic_load(&libuv_live);
      n++;
      if (ours) {
        test_alloc_fail_at(n);
      } else {
        libuv_fail_at(n);
      }
      err = io_call(dial(f->root, t, "127.0.0.1", good_port, NULL));
      if (err == 0) break;
      assert_int_equal(err, UV_ENOMEM);
      assert_int_equal(atomic_load(&libuv_live), live);
      assert_int_equal(stats_of(f->root).ops, 0);
      assert_false(uv_loop_alive(&f->loop));
    } while (n < 10);
    libuv_fail_at(0);
    test_alloc_fail_at(0);
    assert_true(n < 10 && (ours || n > 1)); /* ours: once a loop, the first time round */
    t->starts = 1;
    run_tally(t);
    assert_connected(t);
    conn_close(t);
  }
}

static void start_again(void *arg) { (void)dial(io.f->root, arg, "127.0.0.1", good_port, NULL); }

static void starting_one_twice_is_misuse(void **state) {
  fixture_t *f = *state;
  tally_t *t = conn_new(0);
  t->keep = 1;
  dial_start(f->root, t, "127.0.0.1", refusing_port, NULL);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(start_again, t);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_tcp_dial: ", strlen("uvf_tcp_dial: "));
  }
  run_tally(t);
  assert_tally(t, UV_ECONNREFUSED);
}

static void dial_more(tally_t *t) {
  if (t->starts < 3) dial_start(io.f->root, t, "127.0.0.1", refusing_port, NULL);
}

static void the_last_callback_may_dial_again_with_the_same_request(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    tally_t *t = conn_new(release);
    if (release) {
      t->in_release = dial_more;
    } else {
      t->in_done = dial_more;
    }
    dial_start(f->root, t, "127.0.0.1", refusing_port, NULL);
    run_until(&f->loop, release ? &t->released : &t->done, 3);
    assert_int_equal(t->done, 3);
    assert_int_equal(t->status, UV_ECONNREFUSED);
  }
}

static void of_a_hundred_at_random_each_ends_once_and_nothing_is_left(void **state) {
  enum { N = 100 };
  static const uvf_connect_options_t quick = {.attempt_ms = 5};
  const char *const ports[] = {good_port, full_port, refusing_port};
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  tally_t *t[N];
  uvf_ctx_t *ctx[5];
  for (int i = 0; i < 5; i++) ctx[i] = child_of(f->root);
  for (int i = 0; i < N; i++) {
    t[i] = conn_new((int)(test_rand(&seed) % 2));
    t[i]->keep = 1;
    dial_start(ctx[i % 5], t[i], "127.0.0.1", ports[test_rand(&seed) % 3], &quick);
    if (test_rand(&seed) % 2 == 0) (void)uvf_op_cancel(t[test_rand(&seed) % ((uint64_t)i + 1)]->req);
    if (test_rand(&seed) % 4 == 0) uv_run(&f->loop, UV_RUN_NOWAIT);
    if (i % 16 == 0) uv_run(&net.loop, UV_RUN_NOWAIT);
  }
  uvf_ctx_cancel(ctx[0]);
  uvf_ctx_cancel(ctx[1]);
  for (int i = 0; i < N; i++) run_tally(t[i]);
  turn(&f->loop);
  for (int i = 0; i < N; i++) {
    assert_tally(t[i], t[i]->status);
    if (t[i]->status == 0) {
      assert_connected(t[i]);
      uv_close(conn_handle(t[i]), NULL);
    }
  }
  for (int i = 0; i < 5; i++) uvf_ctx_release(ctx[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_dial(a_name_or_number_is_resolved_and_connected_to),
      unit_dial(what_does_not_resolve_is_told_and_nothing_is_tried),
      unit_dial(a_port_that_refuses_is_told_and_one_that_hangs_runs_out_of_time),
      unit_dial(ended_while_its_name_is_queued_it_is_never_resolved),
      unit_dial(ended_when_the_name_is_resolved_and_its_loop_has_not_heard_nothing_is_tried),
      unit_dial(a_name_that_is_told_before_the_cancel_of_another_thread_is_heard_is_not_tried),
      unit_dial(ended_while_it_connects_the_socket_is_closed),
      unit_dial(ended_between_the_connection_and_its_callback_it_is_handed_over_all_the_same),
#ifdef RESOLVER_GATE
      unit_dial(while_the_resolver_hangs_done_comes_at_once_and_release_when_it_gives_up),
      unit_dial(the_time_that_the_resolver_took_is_not_shared_out_again),
#endif
      unit_dial(under_a_context_that_is_over_nothing_is_resolved_or_tried),
      unit_dial(bad_arguments_and_libuvs_own_refusals_leave_the_request_usable),
      unit_dial(without_memory_nothing_happens),
      unit_dial(starting_one_twice_is_misuse),
      unit_dial(the_last_callback_may_dial_again_with_the_same_request),
      unit_dial(of_a_hundred_at_random_each_ends_once_and_nothing_is_left),
  };
  int failed;
  io_main();
  net_open();
  resolver_open();
  snprintf(good_port, sizeof good_port, "%d", ntohs(net.good_addr.sin_port));
  snprintf(full_port, sizeof full_port, "%d", ntohs(net.full_addr.sin_port));
  snprintf(refusing_port, sizeof refusing_port, "%d", ntohs(net.refusing_addr.sin_port));
  failed = test_run(tests);
  resolver_close();
  net_close();
  return failed;
}
