/* SPDX-License-Identifier: MIT
 *
 * serve.h: the ledger of a drain: what is in flight, turned away and counted; its defaults, names and refusals.
 */
#include "unit/drain_probe.h"

static void assert_ledger(const server_t *server, uint64_t requests, uint64_t ended, uint64_t connections) {
  const uvf_drain_t *drain = &server->drain;
  assert_int_equal(drain->requests, requests);
  assert_int_equal(drain->ended, ended);
  assert_int_equal(drain->begun, requests + ended);
  assert_int_equal(drain->connections, connections);
}

static void assert_turned_away(const server_t *server, uint64_t shed, uint64_t refused) {
  assert_int_equal(server->drain.shed, shed);
  assert_int_equal(server->drain.refused, refused);
}

/* --- requests --- */

static void requests_are_counted_from_begin_to_end_in_any_order(void **state) {
  fixture_t *f = *state;
  server_t server;
  visit_t visits[3];
  server_init(&server, f, 0);
  assert_int_equal(uvf_drain_is_ready(&server.drain), 1);
  assert_ledger(&server, 0, 0, 0);
  for (uint64_t i = 0; i < 3; i++) {
    visit_begin(&visits[i], &server, NULL);
    assert_ledger(&server, i + 1, 0, 0);
    assert_ptr_equal(visits[i].request.drain, &server.drain);
    assert_ptr_equal(visits[i].request.ctx, visits[i].ctx);
    assert_null(visits[i].request.conn);
  }
  visit_end(&visits[1]);
  assert_null(visits[1].request.drain);
  visit_end(&visits[0]);
  visit_end(&visits[2]);
  assert_ledger(&server, 0, 3, 0);
  assert_turned_away(&server, 0, 0);
  for (int i = 0; i < 3; i++) {
    assert_over(visits[i].ctx, 0, 0); /* an end cancels nothing */
    visit_drop(&visits[i]);
  }
}

static void the_ledger_keeps_the_contexts_and_gives_them_back(void **state) {
  fixture_t *f = *state;
  server_t server;
  uvf_drain_request_t request;
  uvf_drain_conn_t conn;
  uvf_ctx_t *a = child_of(f->root), *b = child_of(f->root);
  uint64_t before = stats_of(f->root).contexts;
  server_init(&server, f, 0);
  assert_int_equal(uvf_drain_conn_open(&server.drain, &conn, a), 0);
  assert_int_equal(uvf_drain_request_begin(&server.drain, &request, &conn, b), 0);
  uvf_ctx_release(a);
  uvf_ctx_release(b);
  assert_int_equal(stats_of(f->root).contexts, before);
  assert_int_equal(uvf_drain_request_end(&request), 0);
  assert_int_equal(stats_of(f->root).contexts, before - 1);
  assert_int_equal(uvf_drain_conn_close(&conn), 0);
  assert_int_equal(stats_of(f->root).contexts, before - 2);
}

static void what_has_not_begun_or_has_ended_is_not_ended_again(void **state) {
  fixture_t *f = *state;
  server_t server;
  visit_t visit;
  uvf_drain_request_t never;
  memset(&never, 0, sizeof never);
  server_init(&server, f, 0);
  assert_int_equal(uvf_drain_request_end(NULL), UV_EINVAL);
  assert_int_equal(uvf_drain_request_end(&never), UV_EBUSY);
  visit_begin(&visit, &server, NULL);
  visit_end(&visit);
  assert_int_equal(uvf_drain_request_end(&visit.request), UV_EBUSY);
  assert_ledger(&server, 0, 1, 0);
  assert_int_equal(uvf_drain_request_begin(&server.drain, &visit.request, NULL, NULL), 0); /* the same memory again */
  visit_end(&visit);
  assert_ledger(&server, 0, 2, 0);
  visit_drop(&visit);
}

static void above_the_limit_requests_are_shed_and_counted_until_one_has_ended(void **state) {
  fixture_t *f = *state;
  server_t server;
  visit_t visits[3];
  uvf_drain_request_t late, extra;
  peer_t peer;
  server_init(&server, f, 0);
  server_options(&server)->max_requests = 3;
  peer_open(&peer, &server);
  for (int i = 0; i < 3; i++) visit_begin(&visits[i], &server, i == 0 ? &peer : NULL);
  for (uint64_t i = 1; i <= 4; i++) {
    memset(&extra, 0xff, sizeof extra);
    assert_int_equal(uvf_drain_request_begin(&server.drain, &extra, &peer.conn, peer.ctx), UV_EAGAIN);
    assert_null(extra.drain);
    assert_int_equal(uvf_drain_request_end(&extra), UV_EBUSY);
    assert_turned_away(&server, i, 0);
    assert_ledger(&server, 3, 0, 1);
    assert_int_equal(peer.conn.requests, 1);
  }
  visit_end(&visits[1]);
  assert_int_equal(uvf_drain_request_begin(&server.drain, &extra, NULL, NULL), 0);
  assert_int_equal(uvf_drain_request_begin(&server.drain, &late, NULL, NULL), UV_EAGAIN);
  assert_turned_away(&server, 5, 0);
  assert_int_equal(uvf_drain_request_end(&extra), 0);
  visit_end(&visits[0]);
  visit_end(&visits[2]);
  assert_ledger(&server, 0, 4, 1);
  peer_close(&peer);
  for (int i = 0; i < 3; i++) visit_drop(&visits[i]);
  peer_drop(&peer);
}

static void without_a_limit_none_is_shed(void **state) {
  enum { MANY = 2000 };
  fixture_t *f = *state;
  server_t server;
  uvf_drain_request_t *requests = calloc(MANY, sizeof *requests);
  assert_non_null(requests);
  server_init(&server, f, 0);
  for (int i = 0; i < MANY; i++) assert_int_equal(uvf_drain_request_begin(&server.drain, &requests[i], NULL, NULL), 0);
  assert_ledger(&server, MANY, 0, 0);
  for (int i = 0; i < MANY; i++) assert_int_equal(uvf_drain_request_end(&requests[i]), 0);
  assert_ledger(&server, 0, MANY, 0);
  assert_turned_away(&server, 0, 0);
  free(requests);
}

/* Two before each step, one of them above the limit; which of the counters has it says the step. */
static void requests_are_refused_from_stop_accepting_on_and_full_or_not_counted_once(void **state) {
  fixture_t *f = *state;
  for (int step = UVF_DRAIN_SERVING; step < UVF_DRAIN_OVER; step++) {
    server_t server;
    visit_t visit;
    uvf_drain_request_t extra;
    uvf_drain_conn_t conn;
    int rc;
    server_init(&server, f, HOUR_MS);
    server_options(&server)->max_requests = 2;
    visit_begin(&visit, &server, NULL);
    assert_int_equal(uvf_drain_conn_open(&server.drain, &conn, NULL), 0);
    if (step > UVF_DRAIN_SERVING) server_reach(&server, step);
    assert_int_equal(uvf_drain_is_ready(&server.drain), step == UVF_DRAIN_SERVING);
    memset(&extra, 0xff, sizeof extra);
    rc = uvf_drain_request_begin(&server.drain, &extra, &conn, NULL);
    assert_int_equal(rc, refuses(step) ? UV_ESHUTDOWN : 0);
    assert_int_equal(conn.requests, refuses(step) ? 0 : 1);
    if (refuses(step)) assert_null(extra.drain);
    assert_turned_away(&server, 0, refuses(step) ? 1 : 0);
    if (!refuses(step)) {
      uvf_drain_request_t third;
      assert_int_equal(uvf_drain_request_begin(&server.drain, &third, NULL, NULL), UV_EAGAIN);
      assert_turned_away(&server, 1, 0);
    }
    assert_int_equal(uvf_drain_request_end(&extra), refuses(step) ? UV_EBUSY : 0);
    visit_end(&visit);
    assert_int_equal(uvf_drain_conn_close(&conn), 0);
    assert_ledger(&server, 0, refuses(step) ? 1 : 2, 0);
    if (step == UVF_DRAIN_SERVING) server_start(&server, f->root);
    assert_over_once(&server, step >= UVF_DRAIN_CANCEL ? UV_ETIMEDOUT : 0);
    visit_drop(&visit);
  }
}

static void a_server_that_is_full_when_it_drains_refuses_and_does_not_shed(void **state) {
  fixture_t *f = *state;
  server_t server;
  visit_t visit;
  uvf_drain_request_t extra;
  server_init(&server, f, HOUR_MS);
  server_options(&server)->max_requests = 1;
  visit_begin(&visit, &server, NULL);
  assert_int_equal(uvf_drain_request_begin(&server.drain, &extra, NULL, NULL), UV_EAGAIN);
  server_reach(&server, UVF_DRAIN_STOP_ACCEPTING);
  assert_int_equal(uvf_drain_request_begin(&server.drain, &extra, NULL, NULL), UV_ESHUTDOWN);
  assert_turned_away(&server, 1, 1);
  visit_end(&visit);
  assert_over_once(&server, 0);
  assert_int_equal(uvf_drain_request_begin(&server.drain, &extra, NULL, NULL), UV_ESHUTDOWN); /* also when it is over */
  assert_turned_away(&server, 1, 2);
  visit_drop(&visit);
}

/* --- connections --- */

static void a_connection_counts_its_requests_and_is_idle_without(void **state) {
  fixture_t *f = *state;
  server_t server;
  peer_t peers[2];
  visit_t visits[5];
  server_init(&server, f, 0);
  for (int i = 0; i < 2; i++) peer_open(&peers[i], &server);
  assert_ledger(&server, 0, 0, 2);
  for (int i = 0; i < 5; i++) visit_begin(&visits[i], &server, &peers[i % 2]); /* several at once, as HTTP/2 has */
  assert_int_equal(peers[0].conn.requests, 3);
  assert_int_equal(peers[1].conn.requests, 2);
  for (int i = 0; i < 4; i++) visit_end(&visits[i]);
  assert_int_equal(peers[0].conn.requests, 1);
  assert_int_equal(peers[1].conn.requests, 0);
  peer_close(&peers[1]);
  assert_null(peers[1].conn.drain);
  visit_end(&visits[4]);
  peer_close(&peers[0]);
  assert_ledger(&server, 0, 5, 0);
  for (int i = 0; i < 2; i++) {
    assert_over(peers[i].ctx, 0, 0); /* a close cancels nothing */
    peer_drop(&peers[i]);
  }
  for (int i = 0; i < 5; i++) visit_drop(&visits[i]);
}

static void the_requests_of_a_closed_connection_go_on_without_it(void **state) {
  fixture_t *f = *state;
  server_t server;
  peer_t *peer = malloc(sizeof *peer), other;
  visit_t visits[4];
  uvf_ctx_t *ctx;
  assert_non_null(peer);
  server_init(&server, f, 0);
  peer_open(peer, &server);
  peer_open(&other, &server);
  for (int i = 0; i < 4; i++) visit_begin(&visits[i], &server, i % 2 ? peer : &other);
  ctx = peer->ctx;
  peer_close(peer);
  free(peer); /* it is the caller's again */
  assert_ledger(&server, 4, 0, 1);
  for (int i = 0; i < 4; i++) {
    assert_ptr_equal(visits[i].request.conn, i % 2 ? NULL : &other.conn);
    visit_end(&visits[i]);
  }
  assert_int_equal(other.conn.requests, 0);
  assert_ledger(&server, 0, 4, 1);
  peer_close(&other);
  peer_drop(&other);
  uvf_ctx_release(ctx);
  for (int i = 0; i < 4; i++) visit_drop(&visits[i]);
}

static void close_again(void *arg) { (void)uvf_drain_conn_close(arg); }

static void a_connection_is_closed_once(void **state) {
  fixture_t *f = *state;
  server_t server;
  uvf_drain_conn_t conn;
  server_init(&server, f, 0);
  assert_int_equal(uvf_drain_conn_open(&server.drain, &conn, NULL), 0);
  assert_int_equal(uvf_drain_conn_close(&conn), 0);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(close_again, &conn);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_drain_conn_close: ", strlen("uvf_drain_conn_close: "));
  } else {
    assert_int_equal(uvf_drain_conn_close(&conn), UV_EINVAL);
  }
  assert_ledger(&server, 0, 0, 0);
  assert_int_equal(uvf_drain_conn_open(&server.drain, &conn, NULL), 0); /* the same memory again */
  assert_int_equal(uvf_drain_conn_close(&conn), 0);
}

static void a_request_comes_on_a_connection_of_its_own_drain(void **state) {
  fixture_t *f = *state;
  server_t servers[2];
  peer_t peer;
  uvf_drain_request_t request;
  for (int i = 0; i < 2; i++) server_init(&servers[i], f, 0);
  peer_open(&peer, &servers[0]);
  memset(&request, 0xff, sizeof request);
  assert_int_equal(uvf_drain_request_begin(&servers[1].drain, &request, &peer.conn, NULL), UV_EINVAL);
  assert_null(request.drain);
  assert_int_equal(uvf_drain_request_end(&request), UV_EBUSY);
  peer_close(&peer);
  assert_int_equal(uvf_drain_request_begin(&servers[0].drain, &request, &peer.conn, NULL), UV_EINVAL); /* closed */
  for (int i = 0; i < 2; i++) {
    assert_ledger(&servers[i], 0, 0, 0);
    assert_turned_away(&servers[i], 0, 0);
  }
  peer_drop(&peer);
}

/* --- the rest of the contract --- */

static void without_options_the_limits_are_those_that_the_header_names(void **state) {
  static const struct {
    int step;
    uint64_t limit_ms;
  } rows[] = {{UVF_DRAIN_WAIT, 10000}, {UVF_DRAIN_CANCEL, 1000}, {UVF_DRAIN_FORCE_CLOSE, 1000}};
  fixture_t *f = *state;
  server_t server;
  visit_t visit;
  server_init(&server, f, 0);
  assert_int_equal(uvf_drain_init(&server.drain, NULL), 0);
  visit_begin(&visit, &server, NULL);
  server_start(&server, f->root);
  pass_ns(f, 0);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    assert_int_equal(server.drain.step, rows[i].step);
    pass_ns(f, rows[i].limit_ms * MS_NS - 1);
    assert_int_equal(server.drain.step, rows[i].step);
    pass_ns(f, 1);
  }
  for (int year = 0; year < 10; year++) pass(f, 365 * 24 * HOUR_MS);
  assert_int_equal(server.drain.step, UVF_DRAIN_JOIN);
  assert_int_equal(server.calls, 0);
  assert_over(visit.ctx, UV_ECANCELED, UV_ESHUTDOWN);
  visit_end(&visit);
  assert_over_once(&server, UV_ETIMEDOUT);
  assert_int_equal(server.n, 0); /* there is no on_step */
  visit_drop(&visit);
}

static void the_default_options_are_written_whole(void **state) {
  uvf_drain_options_t options;
  (void)state;
  memset(&options, 0xff, sizeof options);
  uvf_drain_options_init(&options);
  for (int s = UVF_DRAIN_SERVING; s < UVF_DRAIN_WAIT; s++) assert_int_equal(options.limit_ms[s], 0);
  assert_int_equal(options.limit_ms[UVF_DRAIN_WAIT], 10000);
  assert_int_equal(options.limit_ms[UVF_DRAIN_CANCEL], 1000);
  assert_int_equal(options.limit_ms[UVF_DRAIN_FORCE_CLOSE], 1000);
  assert_true(options.limit_ms[UVF_DRAIN_JOIN] == UVF_NO_LIMIT);
  assert_int_equal(options.max_requests, 0);
  assert_int_equal(options.cause, 0);
  assert_true(options.on_step == NULL);
}

static void init_writes_all_but_data_and_copies_the_options(void **state) {
  uvf_drain_options_t options;
  uvf_drain_t drain;
  uvf_drain_request_t request, other;
  (void)state;
  uvf_drain_options_init(&options);
  options.max_requests = 1;
  memset(&drain, 0xff, sizeof drain);
  drain.data = &options;
  assert_int_equal(uvf_drain_init(&drain, &options), 0);
  options.max_requests = 0;
  assert_ptr_equal(drain.data, &options);
  assert_int_equal(drain.step, UVF_DRAIN_SERVING);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&drain), UV_EBUSY); /* never started */
  assert_int_equal(drain.begun + drain.ended + drain.requests + drain.connections, 0);
  assert_int_equal(drain.shed + drain.refused + drain.cancelled + drain.closed + drain.forced, 0);
  assert_int_equal(uvf_drain_request_begin(&drain, &request, NULL, NULL), 0);
  assert_int_equal(uvf_drain_request_begin(&drain, &other, NULL, NULL), UV_EAGAIN);
  assert_int_equal(uvf_drain_init(&drain, NULL), 0);
  assert_int_equal(drain.begun + drain.shed, 0);
}

static void the_names_of_the_steps(void **state) {
  static const char *const names[] = {"serving", "not ready", "lame duck",   "stop accepting", "close idle",
                                      "wait",    "cancel",    "force close", "join",           "over"};
  (void)state;
  for (int s = UVF_DRAIN_SERVING; s < STEPS; s++)
    assert_string_equal(uvf_drain_step_name((uvf_drain_step_t)s), names[s]);
  assert_string_equal(uvf_drain_step_name((uvf_drain_step_t)STEPS), "?");
}

static void null_arguments_are_refused_and_change_nothing(void **state) {
  fixture_t *f = *state;
  server_t server;
  uvf_drain_request_t request;
  uvf_drain_conn_t conn;
  server_init(&server, f, HOUR_MS);
  memset(&request, 0xff, sizeof request);
  assert_int_equal(uvf_drain_init(NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_drain_conn_open(NULL, &conn, f->root), UV_EINVAL);
  assert_int_equal(uvf_drain_conn_open(&server.drain, NULL, f->root), UV_EINVAL);
  assert_int_equal(uvf_drain_conn_close(NULL), UV_EINVAL);
  assert_int_equal(uvf_drain_request_begin(NULL, &request, NULL, f->root), UV_EINVAL);
  assert_int_equal(uvf_drain_request_begin(&server.drain, NULL, NULL, f->root), UV_EINVAL);
  assert_int_equal(uvf_drain_start(NULL, &server.drain, server_on_over), UV_EINVAL);
  assert_int_equal(uvf_drain_start(f->root, NULL, server_on_over), UV_EINVAL);
  assert_int_equal(uvf_drain_start(f->root, &server.drain, NULL), UV_EINVAL);
  assert_int_equal(uvf_drain_next(NULL), UV_EINVAL);
  assert_int_equal(uvf_drain_is_ready(NULL), 0);
  assert_int_equal(server.drain.step, UVF_DRAIN_SERVING);
  assert_int_equal(uvf_drain_is_ready(&server.drain), 1);
  assert_ledger(&server, 0, 0, 0);
  assert_int_equal(stats_of(f->root).ops, 0);
}

static void a_drain_is_started_once_and_hurried_while_it_drains(void **state) {
  fixture_t *f = *state;
  server_t server;
  server_init(&server, f, HOUR_MS);
  assert_int_equal(uvf_drain_next(&server.drain), UV_EINVAL); /* it serves */
  server_start(&server, f->root);
  assert_int_equal(uvf_drain_start(f->root, &server.drain, server_on_over), UV_EINVAL);
  pass_ns(f, 0);
  assert_int_equal(uvf_drain_start(f->root, &server.drain, server_on_over), UV_EINVAL);
  assert_int_equal(server.drain.step, UVF_DRAIN_NOT_READY);
  assert_over_once(&server, 0);
  assert_int_equal(uvf_drain_start(f->root, &server.drain, server_on_over), UV_EINVAL);
  assert_int_equal(uvf_drain_next(&server.drain), UV_EINVAL); /* over */
  assert_int_equal(server.calls, 1);
}

static void hurry(void *arg) { (void)uvf_drain_next(arg); }

typedef struct elsewhere_s {
  uvf_drain_t *drain;
  const char *rule;
  int rc;
} elsewhere_t;

static void hurry_elsewhere(void *arg) {
  elsewhere_t *e = arg;
  if (test_rules_on()) {
    e->rule = test_expect_rule(hurry, e->drain);
  } else {
    e->rc = uvf_drain_next(e->drain);
  }
}

static void hurrying_on_another_thread_is_misuse(void **state) {
  fixture_t *f = *state;
  server_t server;
  elsewhere_t e = {.drain = &server.drain, .rc = UV_EINVAL};
  server_init(&server, f, HOUR_MS);
  server_reach(&server, UVF_DRAIN_LAME_DUCK);
  on_thread(hurry_elsewhere, &e);
  if (test_rules_on()) {
    assert_non_null(e.rule);
    assert_memory_equal(e.rule, "uvf_drain_next: ", strlen("uvf_drain_next: "));
  }
  assert_int_equal(e.rc, UV_EINVAL);
  assert_int_equal(server.drain.step, UVF_DRAIN_LAME_DUCK);
  assert_over_once(&server, 0);
}

static void nothing_is_allocated_from_the_first_request_to_the_end(void **state) {
  fixture_t *f = *state;
  server_t server;
  uvf_drain_request_t requests[4];
  uvf_drain_conn_t conns[3];
  uvf_ctx_t *ctx[7];
  for (int i = 0; i < 7; i++) ctx[i] = child_of(f->root);
  server_init(&server, f, HOUR_MS);
  test_alloc_fail_at(1);
  for (int i = 0; i < 3; i++) assert_int_equal(uvf_drain_conn_open(&server.drain, &conns[i], ctx[i]), 0);
  for (int i = 0; i < 4; i++)
    assert_int_equal(uvf_drain_request_begin(&server.drain, &requests[i], i < 2 ? &conns[i] : NULL, ctx[3 + i]), 0);
  server_reach(&server, UVF_DRAIN_CLOSE_IDLE);
  assert_int_equal(uvf_drain_conn_close(&conns[2]), 0);
  for (int i = 0; i < 2; i++) assert_int_equal(uvf_drain_request_end(&requests[2 * i]), 0);
  for (int i = 0; i < 4; i++) assert_int_equal(uvf_drain_next(&server.drain), 0);
  assert_int_equal(server.drain.step, UVF_DRAIN_JOIN);
  for (int i = 0; i < 2; i++) assert_int_equal(uvf_drain_request_end(&requests[2 * i + 1]), 0);
  for (int i = 0; i < 2; i++) assert_int_equal(uvf_drain_conn_close(&conns[i]), 0);
  assert_over_once(&server, UV_ETIMEDOUT);
  assert_int_equal(test_alloc_failed(), 0);
  for (int i = 0; i < 7; i++) uvf_ctx_release(ctx[i]);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_still(requests_are_counted_from_begin_to_end_in_any_order),
      unit_still(the_ledger_keeps_the_contexts_and_gives_them_back),
      unit_still(what_has_not_begun_or_has_ended_is_not_ended_again),
      unit_still(above_the_limit_requests_are_shed_and_counted_until_one_has_ended),
      unit_still(without_a_limit_none_is_shed),
      unit_still(requests_are_refused_from_stop_accepting_on_and_full_or_not_counted_once),
      unit_still(a_server_that_is_full_when_it_drains_refuses_and_does_not_shed),
      unit_still(a_connection_counts_its_requests_and_is_idle_without),
      unit_still(the_requests_of_a_closed_connection_go_on_without_it),
      unit_still(a_connection_is_closed_once),
      unit_still(a_request_comes_on_a_connection_of_its_own_drain),
      unit_still(without_options_the_limits_are_those_that_the_header_names),
      unit_still(the_default_options_are_written_whole),
      unit_still(init_writes_all_but_data_and_copies_the_options),
      unit_still(the_names_of_the_steps),
      unit_still(null_arguments_are_refused_and_change_nothing),
      unit_still(a_drain_is_started_once_and_hurried_while_it_drains),
      unit_still(hurrying_on_another_thread_is_misuse),
      unit_still(nothing_is_allocated_from_the_first_request_to_the_end),
  };
  return test_run(tests);
}
