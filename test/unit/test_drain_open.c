/* SPDX-License-Identifier: MIT
 *
 * serve.h: requests and connections that end, or begin, while a drain is under way: in every step, inside on_step and
 * because their context was cancelled.
 */
#include "unit/drain_probe.h"

/* --- the end of what is open --- */

static void the_last_request_or_connection_ends_the_steps_that_wait_and_no_other(void **state) {
  fixture_t *f = *state;
  for (int step = FIRST_STEP; step < UVF_DRAIN_OVER; step++) {
    for (int conn_last = 0; conn_last < 2; conn_last++) {
      server_t server;
      visit_t visit;
      peer_t peer;
      server_init(&server, f, HOUR_MS);
      peer_open(&peer, &server);
      visit_begin(&visit, &server, &peer);
      server_reach(&server, step);
      if (conn_last) {
        visit_end(&visit);
      } else {
        peer_close(&peer);
      }
      assert_told(&server, step);
      server.inside = waits(step) ? 0 : 1; /* the steps that follow are told inside the end, in none but those */
      if (conn_last) {
        peer_close(&peer);
      } else {
        visit_end(&visit);
      }
      server.inside = 0;
      assert_told(&server, waits(step) ? UVF_DRAIN_OVER : step);
      assert_int_equal(server.calls, 0);
      assert_over_once(&server, step >= UVF_DRAIN_CANCEL ? UV_ETIMEDOUT : 0);
      visit_drop(&visit);
      peer_drop(&peer);
    }
  }
}

static void end_here(server_t *server, int step) {
  at_t *at = server->arg;
  if (step == at->step) visit_end(&at->visit);
}

static void close_here(server_t *server, int step) {
  at_t *at = server->arg;
  if (step == at->step) peer_close(&at->peer);
}

/* No on_step inside an on_step: the next one is told when this one has returned. */
static void what_is_open_may_end_inside_on_step(void **state) {
  fixture_t *f = *state;
  for (int conn_last = 0; conn_last < 2; conn_last++) {
    for (int step = FIRST_STEP; step < UVF_DRAIN_OVER; step++) {
      server_t server;
      at_t at = {.step = step};
      server_init(&server, f, HOUR_MS);
      server.arg = &at;
      if (conn_last) {
        peer_open(&at.peer, &server);
        server.then = close_here;
      } else {
        visit_begin(&at.visit, &server, NULL);
        server.then = end_here;
      }
      server_start(&server, f->root);
      for (int s = FIRST_STEP; s <= step; s++) pass(f, s == FIRST_STEP ? 0 : HOUR_MS);
      assert_told(&server, waits(step) ? UVF_DRAIN_OVER : step);
      assert_int_equal(server.calls, waits(step) ? 1 : 0);
      assert_over_once(&server, !conn_last && step >= UVF_DRAIN_CANCEL ? UV_ETIMEDOUT : 0); /* it was cancelled */
      if (conn_last) {
        peer_drop(&at.peer);
      } else {
        visit_drop(&at.visit);
      }
    }
  }
}

/* As a real server: the handler watches its context, ends the request when that is over, and then its connection. */
static void end_with_context(probe_t *probe) {
  visit_t *visit = probe->arg;
  visit_end(visit);
}

static void close_with_context(probe_t *probe) {
  peer_t *peer = probe->arg;
  peer_close(peer);
}

static void what_ends_because_its_context_was_cancelled_ends_the_drain(void **state) {
  fixture_t *f = *state;
  scene_t scene;
  scene_init(&scene, f);
  for (int i = 0; i < 3; i++) {
    scene.visits[i].probe.then = end_with_context;
    scene.visits[i].probe.arg = &scene.visits[i];
    probe_start(&scene.visits[i].probe, scene.visits[i].ctx, i, NULL);
  }
  scene.idle.probe.then = scene.busy.probe.then = close_with_context;
  scene.idle.probe.arg = &scene.idle;
  scene.busy.probe.arg = &scene.busy;
  probe_start(&scene.idle.probe, scene.idle.ctx, 0, NULL);
  probe_start(&scene.busy.probe, scene.busy.ctx, 0, NULL);
  server_reach(&scene.server, UVF_DRAIN_WAIT);
  assert_int_equal(scene.server.drain.connections, 2); /* the idle one has gone */
  assert_int_equal(uvf_drain_conn_close(&scene.bare), 0);
  pass(f, HOUR_MS);
  assert_told(&scene.server, UVF_DRAIN_OVER); /* cancelled, the busy one was idle then, and closed: nothing is open */
  assert_over_once(&scene.server, UV_ETIMEDOUT);
  assert_int_equal(scene.server.drain.cancelled, 3);
  assert_int_equal(scene.server.drain.closed, 2);
  assert_int_equal(scene.server.drain.forced, 0);
  scene_drop(&scene);
}

/* --- connections --- */

static void a_busy_connection_that_becomes_idle_is_closed_then_from_close_idle_on(void **state) {
  fixture_t *f = *state;
  for (int step = FIRST_STEP; step < UVF_DRAIN_OVER; step++) {
    server_t server;
    peer_t peer;
    visit_t visits[2];
    int forced = step >= UVF_DRAIN_FORCE_CLOSE; /* it was told before it became idle */
    server_init(&server, f, HOUR_MS);
    peer_open(&peer, &server);
    for (int i = 0; i < 2; i++) visit_begin(&visits[i], &server, &peer); /* as HTTP/2 has */
    probe_start(&peer.probe, peer.ctx, 0, NULL);
    server_reach(&server, step);
    assert_over(peer.ctx, forced ? UV_ECANCELED : 0, forced ? UV_ESHUTDOWN : 0);
    visit_end(&visits[0]);
    assert_int_equal(server.drain.closed, 0); /* one is still in flight on it */
    assert_over(peer.ctx, forced ? UV_ECANCELED : 0, forced ? UV_ESHUTDOWN : 0);
    visit_end(&visits[1]);
    assert_over(peer.ctx, waits(step) ? UV_ECANCELED : 0, waits(step) ? UV_ESHUTDOWN : 0);
    assert_int_equal(server.drain.closed, waits(step) && !forced ? 1 : 0);
    assert_told(&server, step); /* it is open yet */
    for (int s = step; s < UVF_DRAIN_JOIN; s++) pass(f, HOUR_MS);
    assert_int_equal(server.drain.closed, forced ? 0 : 1); /* at the latest in close idle */
    assert_int_equal(server.drain.forced, forced ? 1 : 0);
    assert_int_equal(peer.probe.calls, 1);
    peer_close(&peer);
    assert_over_once(&server, step >= UVF_DRAIN_CANCEL ? UV_ETIMEDOUT : 0);
    assert_int_equal(server.drain.closed, forced ? 0 : 1);
    for (int i = 0; i < 2; i++) visit_drop(&visits[i]);
    peer_drop(&peer);
  }
}

static void a_connection_opened_late_is_counted_and_told_at_once_from_close_idle_on(void **state) {
  fixture_t *f = *state;
  for (int step = FIRST_STEP; step < UVF_DRAIN_OVER; step++) {
    server_t server;
    peer_t early, late;
    server_init(&server, f, HOUR_MS);
    peer_open(&early, &server);
    server_reach(&server, step);
    peer_open(&late, &server);
    assert_int_equal(server.drain.connections, 2);
    assert_over(late.ctx, waits(step) ? UV_ECANCELED : 0, waits(step) ? UV_ESHUTDOWN : 0);
    assert_int_equal(server.drain.closed, waits(step) ? 2 : 0);
    peer_close(&early);
    assert_told(&server, step); /* it is waited for as any other */
    for (int s = step; s < UVF_DRAIN_JOIN; s++) pass(f, HOUR_MS);
    assert_told(&server, UVF_DRAIN_JOIN);
    assert_over(late.ctx, UV_ECANCELED, UV_ESHUTDOWN);
    assert_int_equal(server.drain.closed, waits(step) ? 2 : 1); /* the early one was closed before its time had come */
    assert_int_equal(server.drain.forced, 0);
    peer_close(&late);
    assert_told(&server, UVF_DRAIN_OVER);
    assert_over_once(&server, 0);
    peer_drop(&early);
    peer_drop(&late);
  }
}

static void open_here(server_t *server, int step) {
  at_t *at = server->arg;
  if (step == at->step) peer_open(&at->peer, server);
}

static void a_connection_opened_inside_on_step_is_waited_for(void **state) {
  fixture_t *f = *state;
  for (int step = FIRST_STEP; step < UVF_DRAIN_OVER; step++) {
    server_t server;
    at_t at = {.step = step};
    server_init(&server, f, HOUR_MS);
    server.then = open_here;
    server.arg = &at;
    server_start(&server, f->root);
    pass_ns(f, 0);
    while (server.drain.step < UVF_DRAIN_JOIN) {
      assert_int_equal(uvf_drain_next(&server.drain), 0);
      if (server.drain.step == UVF_DRAIN_OVER) break;
    }
    assert_told(&server, UVF_DRAIN_JOIN);
    assert_int_equal(server.drain.closed, 1);
    assert_int_equal(server.drain.forced, 0);
    assert_over(at.peer.ctx, UV_ECANCELED, UV_ESHUTDOWN);
    peer_close(&at.peer);
    assert_over_once(&server, 0);
    peer_drop(&at.peer);
  }
}

static void the_requests_of_a_connection_closed_in_any_step_are_waited_for_and_cancelled(void **state) {
  fixture_t *f = *state;
  for (int step = FIRST_STEP; step < UVF_DRAIN_OVER; step++) {
    server_t server;
    peer_t peer;
    visit_t visits[2];
    server_init(&server, f, HOUR_MS);
    peer_open(&peer, &server);
    for (int i = 0; i < 2; i++) visit_begin(&visits[i], &server, &peer);
    server_reach(&server, step);
    peer_close(&peer);
    memset(&peer.conn, 0x5a, sizeof peer.conn); /* it is the caller's again */
    visit_end(&visits[0]);
    assert_told(&server, step);
    for (int s = step; s < UVF_DRAIN_JOIN; s++) pass(f, HOUR_MS);
    assert_told(&server, UVF_DRAIN_JOIN);
    assert_over(visits[1].ctx, UV_ECANCELED, UV_ESHUTDOWN);
    assert_over(visits[0].ctx, step >= UVF_DRAIN_CANCEL ? UV_ECANCELED : 0,
                step >= UVF_DRAIN_CANCEL ? UV_ESHUTDOWN : 0);
    assert_int_equal(server.drain.cancelled, step >= UVF_DRAIN_CANCEL ? 2 : 1);
    visit_end(&visits[1]);
    assert_told(&server, UVF_DRAIN_OVER);
    assert_over_once(&server, UV_ETIMEDOUT);
    for (int i = 0; i < 2; i++) visit_drop(&visits[i]);
    peer_drop(&peer);
  }
}

static void what_has_no_context_is_waited_for_and_not_counted_as_cancelled(void **state) {
  fixture_t *f = *state;
  server_t server;
  uvf_drain_conn_t conn;
  uvf_drain_request_t requests[2];
  server_init(&server, f, HOUR_MS);
  assert_int_equal(uvf_drain_conn_open(&server.drain, &conn, NULL), 0);
  for (int i = 0; i < 2; i++)
    assert_int_equal(uvf_drain_request_begin(&server.drain, &requests[i], i ? &conn : NULL, NULL), 0);
  server_reach(&server, UVF_DRAIN_JOIN);
  assert_int_equal(server.drain.cancelled + server.drain.closed + server.drain.forced, 0);
  for (int i = 0; i < 2; i++) assert_int_equal(uvf_drain_request_end(&requests[i]), 0);
  assert_told(&server, UVF_DRAIN_JOIN);
  assert_int_equal(uvf_drain_conn_close(&conn), 0);
  assert_told(&server, UVF_DRAIN_OVER);
  assert_over_once(&server, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_still(the_last_request_or_connection_ends_the_steps_that_wait_and_no_other),
      unit_still(what_is_open_may_end_inside_on_step),
      unit_still(what_ends_because_its_context_was_cancelled_ends_the_drain),
      unit_still(a_busy_connection_that_becomes_idle_is_closed_then_from_close_idle_on),
      unit_still(a_connection_opened_late_is_counted_and_told_at_once_from_close_idle_on),
      unit_still(a_connection_opened_inside_on_step_is_waited_for),
      unit_still(the_requests_of_a_connection_closed_in_any_step_are_waited_for_and_cancelled),
      unit_still(what_has_no_context_is_waited_for_and_not_counted_as_cancelled),
  };
  return test_run(tests);
}
