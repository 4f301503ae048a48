/* SPDX-License-Identifier: MIT
 *
 * serve.h: what the drain counts: `cancelled`, `closed` and `forced` are what it has ended itself. And what is entered
 * twice stops a debug build before the ledger is damaged.
 */
#include "unit/drain_probe.h"

#define LEFT 499 /* the cause when a client has left */

static void leave(uvf_ctx_t *ctx) { uvf_ctx_cancel_cause(ctx, LEFT, NULL); }

/* --- over before --- */

static void what_was_over_by_itself_is_not_counted_and_keeps_its_cause(void **state) {
  fixture_t *f = *state;
  scene_t scene;
  scene_init(&scene, f);
  leave(scene.idle.ctx);
  leave(scene.busy.ctx);
  for (int i = 0; i < 3; i++) leave(scene.visits[i].ctx);
  server_reach(&scene.server, UVF_DRAIN_JOIN);
  assert_int_equal(scene.server.drain.cancelled, 0);
  assert_int_equal(scene.server.drain.closed, 0);
  assert_int_equal(scene.server.drain.forced, 0);
  assert_over(scene.idle.ctx, UV_ECANCELED, LEFT);
  assert_over(scene.busy.ctx, UV_ECANCELED, LEFT);
  for (int i = 0; i < 3; i++) assert_over(scene.visits[i].ctx, UV_ECANCELED, LEFT);
  scene_drop(&scene);
  assert_over_once(&scene.server, 0); /* everything ended by itself */
}

static void of_some_that_are_over_and_some_that_are_not_the_latter_are_counted(void **state) {
  fixture_t *f = *state;
  for (int over = 0; over < 4; over++) {
    server_t server;
    visit_t visits[3];
    peer_t idle[3], busy[3];
    server_init(&server, f, HOUR_MS);
    for (int i = 0; i < 3; i++) {
      peer_open(&idle[i], &server);
      peer_open(&busy[i], &server);
      visit_begin(&visits[i], &server, &busy[i]);
    }
    for (int i = 0; i < over; i++) {
      leave(idle[i].ctx);
      leave(busy[i].ctx);
      leave(visits[i].ctx);
    }
    server_reach(&server, UVF_DRAIN_JOIN);
    assert_int_equal(server.drain.closed, 3 - over);
    assert_int_equal(server.drain.cancelled, 3 - over);
    assert_int_equal(server.drain.forced, 3 - over);
    for (int i = 0; i < 3; i++) {
      peer_close(&idle[i]);
      peer_close(&busy[i]);
      visit_end(&visits[i]);
      peer_drop(&idle[i]);
      peer_drop(&busy[i]);
      visit_drop(&visits[i]);
    }
    assert_over_once(&server, over < 3 ? UV_ETIMEDOUT : 0);
  }
}

/* From CLOSE_IDLE on, by a request that ends, or as it is opened. */
static void a_connection_that_is_over_when_it_becomes_idle_is_not_counted(void **state) {
  fixture_t *f = *state;
  for (int over = 0; over < 2; over++) {
    server_t server;
    visit_t visit;
    peer_t peer, late = {.ctx = child_of(f->root)};
    server_init(&server, f, HOUR_MS);
    peer_open(&peer, &server);
    visit_begin(&visit, &server, &peer);
    server_reach(&server, UVF_DRAIN_WAIT);
    if (over) {
      leave(peer.ctx);
      leave(late.ctx);
    }
    visit_end(&visit);
    assert_int_equal(uvf_drain_conn_open(&server.drain, &late.conn, late.ctx), 0);
    assert_int_equal(server.drain.closed, over ? 0 : 2);
    assert_over(peer.ctx, UV_ECANCELED, over ? LEFT : UV_ESHUTDOWN);
    assert_over(late.ctx, UV_ECANCELED, over ? LEFT : UV_ESHUTDOWN);
    peer_close(&peer);
    peer_close(&late);
    assert_over_once(&server, 0);
    visit_drop(&visit);
    peer_drop(&peer);
    peer_drop(&late);
  }
}

static void a_connection_that_ended_after_it_was_closed_is_not_forced_too(void **state) {
  fixture_t *f = *state;
  scene_t scene;
  scene_init(&scene, f);
  server_reach(&scene.server, UVF_DRAIN_JOIN);
  assert_int_equal(scene.server.drain.closed, 1);
  assert_int_equal(scene.server.drain.forced, 1);
  assert_int_equal(scene.server.drain.cancelled, 3);
  scene_drop(&scene);
  assert_over_once(&scene.server, UV_ETIMEDOUT);
}

/* --- one context for several --- */

static void requests_that_share_a_context_are_counted_each(void **state) {
  fixture_t *f = *state;
  for (int over = 0; over < 2; over++) {
    uvf_ctx_t *shared = child_of(f->root), *below = child_of(shared);
    uvf_drain_request_t requests[5];
    server_t server;
    visit_t alone;
    server_init(&server, f, HOUR_MS);
    for (int i = 0; i < 5; i++) /* the last two's is a child of the others' */
      assert_int_equal(uvf_drain_request_begin(&server.drain, &requests[i], NULL, i < 3 ? shared : below), 0);
    visit_begin(&alone, &server, NULL);
    if (over) leave(shared);
    server_reach(&server, UVF_DRAIN_CANCEL);
    assert_int_equal(server.drain.cancelled, over ? 1 : 6);
    assert_over(below, UV_ECANCELED, over ? LEFT : UV_ESHUTDOWN);
    assert_over(alone.ctx, UV_ECANCELED, UV_ESHUTDOWN);
    for (int i = 0; i < 5; i++) assert_int_equal(uvf_drain_request_end(&requests[i]), 0);
    visit_end(&alone);
    assert_over_once(&server, UV_ETIMEDOUT);
    visit_drop(&alone);
    uvf_ctx_release(below);
    uvf_ctx_release(shared);
  }
}

/* --- entered twice --- */

typedef struct twice_s {
  uvf_drain_t *drain;
  uvf_drain_conn_t *conn;
  uvf_drain_request_t *request;
} twice_t;

static void open_again(void *arg) {
  twice_t *t = arg;
  (void)uvf_drain_conn_open(t->drain, t->conn, NULL);
}

static void begin_again(void *arg) {
  twice_t *t = arg;
  (void)uvf_drain_request_begin(t->drain, t->request, t->conn, NULL);
}

static void expect_rule(void (*fn)(void *), twice_t *t, const char *function) {
  const char *rule = test_expect_rule(fn, t);
  assert_non_null(rule);
  assert_memory_equal(rule, function, strlen(function));
}

static void entering_what_is_there_already_is_misuse(void **state) {
  enum { N = 5 };
  fixture_t *f = *state;
  uvf_drain_conn_t conns[N];
  uvf_drain_request_t requests[N];
  server_t server;
  server_init(&server, f, HOUR_MS);
  memset(conns, 0, sizeof conns);
  memset(requests, 0, sizeof requests);
  for (int i = 0; i < N; i++) {
    assert_int_equal(uvf_drain_conn_open(&server.drain, &conns[i], NULL), 0);
    assert_int_equal(uvf_drain_request_begin(&server.drain, &requests[i], &conns[i], NULL), 0);
  }
  for (int i = 0; i < N && test_rules_on(); i++) { /* the newest, those between, and the oldest */
    twice_t t = {&server.drain, &conns[i], &requests[i]};
    expect_rule(open_again, &t, "uvf_drain_conn_open: ");
    expect_rule(begin_again, &t, "uvf_drain_request_begin: ");
  }
  assert_int_equal(server.drain.connections, N); /* nothing was changed */
  assert_int_equal(server.drain.requests, N);
  for (int i = 0; i < N; i++) {
    assert_int_equal(uvf_drain_request_end(&requests[i]), 0);
    assert_int_equal(uvf_drain_request_begin(&server.drain, &requests[i], NULL, NULL), 0); /* it had ended */
    assert_int_equal(uvf_drain_conn_close(&conns[i]), 0);
    assert_int_equal(uvf_drain_conn_open(&server.drain, &conns[i], NULL), 0);
  }
  server_reach(&server, UVF_DRAIN_WAIT);
  for (int i = 0; i < N; i++) {
    assert_int_equal(uvf_drain_request_end(&requests[i]), 0);
    assert_int_equal(uvf_drain_conn_close(&conns[i]), 0);
  }
  assert_over_once(&server, 0);
}

/* --- what it could not cancel --- */

static void open_under_a_root(void *arg) {
  twice_t *t = arg;
  (void)uvf_drain_conn_open(t->drain, t->conn, ((server_t *)t->drain->data)->f->root);
}

static void begin_under_a_root(void *arg) {
  twice_t *t = arg;
  (void)uvf_drain_request_begin(t->drain, t->request, NULL, ((server_t *)t->drain->data)->f->root);
}

static void a_context_that_cannot_be_cancelled_is_refused_at_once(void **state) {
  fixture_t *f = *state;
  server_t server;
  uvf_drain_conn_t conn;
  uvf_drain_request_t request;
  uvf_ctx_t *detached;
  twice_t t = {&server.drain, &conn, &request};
  server_init(&server, f, HOUR_MS);
  assert_int_equal(uvf_ctx_without_cancel(f->root, &detached), 0);
  if (test_rules_on()) {
    expect_rule(open_under_a_root, &t, "uvf_drain_conn_open: ");
    expect_rule(begin_under_a_root, &t, "uvf_drain_request_begin: ");
  } else {
    assert_int_equal(uvf_drain_conn_open(&server.drain, &conn, f->root), UV_EINVAL);
    assert_int_equal(uvf_drain_conn_open(&server.drain, &conn, detached), UV_EINVAL);
    assert_int_equal(uvf_drain_request_begin(&server.drain, &request, NULL, detached), UV_EINVAL);
    assert_int_equal(uvf_drain_request_end(&request), UV_EBUSY);
  }
  assert_int_equal(server.drain.connections + server.drain.requests + server.drain.begun, 0);
  uvf_ctx_release(detached);
}

/* --- between the last step and the callback --- */

static void who_comes_when_its_end_is_due_is_told_as_left(void **state) {
  fixture_t *f = *state;
  server_t server;
  uvf_drain_conn_t conn;
  server_init(&server, f, 0);
  server_start(&server, f->root);
  uvf__hub_run_deadlines(uvf__ctx_hub(f->root)); /* all steps: the callback is due */
  assert_int_equal(server.drain.step, UVF_DRAIN_OVER);
  assert_int_equal(server.calls, 0);
  assert_int_equal(uvf_drain_conn_open(&server.drain, &conn, NULL), 0);
  turn(&f->loop);
  assert_over_once(&server, UV_ETIMEDOUT);
  assert_int_equal(server.drain.connections, 1);
  assert_int_equal(uvf_drain_conn_close(&conn), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_still(what_was_over_by_itself_is_not_counted_and_keeps_its_cause),
      unit_still(of_some_that_are_over_and_some_that_are_not_the_latter_are_counted),
      unit_still(a_connection_that_is_over_when_it_becomes_idle_is_not_counted),
      unit_still(a_connection_that_ended_after_it_was_closed_is_not_forced_too),
      unit_still(requests_that_share_a_context_are_counted_each),
      unit_still(entering_what_is_there_already_is_misuse),
      unit_still(a_context_that_cannot_be_cancelled_is_refused_at_once),
      unit_still(who_comes_when_its_end_is_due_is_told_as_left),
  };
  return test_run(tests);
}
