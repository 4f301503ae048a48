/* SPDX-License-Identifier: MIT
 *
 * serve.h: how a drain ends: its callback exactly once however and whenever it is given up, its status, the causes it
 * gives, and what remains usable afterwards.
 */
#include "unit/drain_probe.h"

/* --- given up --- */

enum { BY_OP, BY_CTX, BY_THREAD, BY_DEADLINE, BY_ROOT, WAYS };

typedef struct end_s {
  int way, step;
  uvf_ctx_t *root, *ctx; /* of the drain alone; the requests are under the fixture's */
  int closed;
} end_t;

static end_t *ending;

static void on_root_closed(uvf_ctx_t *root) {
  assert_ptr_equal(root, ending->root);
  ending->closed++;
}

static void cancel_on_thread(void *ctx) { uvf_ctx_cancel(ctx); }

/* None of them may call back inside, but the deadline, which needs the loop. */
static void give_up(server_t *server, end_t *end) {
  int outer = server->inside;
  server->inside = end->way != BY_DEADLINE;
  switch (end->way) {
    case BY_OP: assert_int_equal(uvf_op_cancel((uvf_op_t *)&server->drain), 0); break;
    case BY_CTX: uvf_ctx_cancel(end->ctx); break;
    case BY_THREAD: on_thread(cancel_on_thread, end->ctx); break;
    case BY_DEADLINE: pass(server->f, HOUR_MS / 2); break;
    default: uvf_ctx_close(end->root, on_root_closed); break;
  }
  server->inside = outer;
}

static int status_of(int way) { return way == BY_DEADLINE ? UV_ETIMEDOUT : UV_ECANCELED; }

static void end_init(end_t *end, fixture_t *f, int way, int step) {
  memset(end, 0, sizeof *end);
  ending = end;
  end->way = way;
  end->step = step;
  assert_int_equal(uvf_ctx_background(&f->loop, &end->root), 0);
  end->ctx = way != BY_DEADLINE  ? child_of(end->root)
             : step < FIRST_STEP ? timeout_of(end->root, HOUR_MS / 2)
                                 : timeout_of(end->root, (uint64_t)(step - 1) * HOUR_MS + HOUR_MS / 2);
}

static void end_finish(end_t *end, fixture_t *f) {
  uvf_ctx_release(end->ctx);
  if (end->way != BY_ROOT) uvf_ctx_close(end->root, on_root_closed);
  run_until(&f->loop, &end->closed, 1);
}

static void assert_given_up(server_t *server, end_t *end, visit_t *visit) {
  uvf_drain_request_t request;
  int last = end->step < FIRST_STEP ? FIRST_STEP : end->step;
  assert_over_once(server, status_of(end->way));
  assert_told(server, end->step); /* and no step more */
  assert_int_equal(server->drain.step, last);
  assert_int_equal(uvf_drain_is_ready(&server->drain), 0);
  assert_int_equal(uvf_drain_next(&server->drain), UV_EINVAL);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&server->drain), UV_EBUSY);
  /* the ledger goes on, as of the step it was given up in */
  assert_int_equal(uvf_drain_request_begin(&server->drain, &request, NULL, NULL), refuses(last) ? UV_ESHUTDOWN : 0);
  if (!refuses(last)) assert_int_equal(uvf_drain_request_end(&request), 0);
  assert_int_equal(server->drain.requests, 1);
  visit_end(visit);
  assert_over_once(server, status_of(end->way));
  assert_told(server, end->step);
  visit_drop(visit);
}

static void given_up_between_two_steps_it_is_over_once_and_no_further_step_is_told(void **state) {
  fixture_t *f = *state;
  for (int way = 0; way < WAYS; way++) {
    for (int step = 0; step < UVF_DRAIN_OVER; step++) { /* 0: before the first on_step */
      server_t server;
      visit_t visit;
      end_t end;
      end_init(&end, f, way, step);
      server_init(&server, f, HOUR_MS);
      if (way == BY_DEADLINE && step == 0) /* the first step begins before a deadline can come */
        end.step = step = FIRST_STEP;
      visit_begin(&visit, &server, NULL);
      if (step == 0) {
        server_start(&server, end.ctx);
        still_ns -= MS_NS; /* the first step is not due yet, and has its time when the loop has turned */
      } else {
        server_reach_under(&server, end.ctx, step);
      }
      assert_told(&server, step);
      give_up(&server, &end);
      assert_int_equal(server.calls, way == BY_DEADLINE);
      turn(&f->loop); /* another thread's cancel arrives with the loop's next turn */
      assert_int_equal(server.calls, 1);
      assert_given_up(&server, &end, &visit);
      end_finish(&end, f);
    }
  }
}

static void give_up_here(server_t *server, int step) {
  end_t *end = server->arg;
  if (step == end->step) give_up(server, end);
}

static void given_up_inside_on_step_it_is_over_once_and_no_further_step_is_told(void **state) {
  fixture_t *f = *state;
  for (int way = 0; way < WAYS; way++) {
    for (int step = FIRST_STEP; step <= UVF_DRAIN_OVER; step++) {
      server_t server;
      visit_t visit;
      end_t end;
      end_init(&end, f, way, step);
      server_init(&server, f, HOUR_MS);
      server.then = give_up_here;
      server.arg = &end;
      visit_begin(&visit, &server, NULL);
      server_reach_under(&server, end.ctx, step);
      assert_given_up(&server, &end, &visit);
      end_finish(&end, f);
    }
  }
}

/* The end has been claimed by then: what comes afterwards is too late. */
static void given_up_when_it_has_ended_it_keeps_its_status(void **state) {
  fixture_t *f = *state;
  for (int way = 0; way < WAYS; way++) {
    for (int delivered = 0; delivered < 2; delivered++) {
      server_t server;
      visit_t visit;
      end_t end;
      end_init(&end, f, way, UVF_DRAIN_WAIT);
      server_init(&server, f, HOUR_MS);
      visit_begin(&visit, &server, NULL);
      server_reach_under(&server, end.ctx, UVF_DRAIN_WAIT);
      visit_end(&visit);
      assert_int_equal(server.drain.step, UVF_DRAIN_OVER);
      if (delivered) turn(&f->loop);
      assert_int_equal(server.calls, delivered);
      if (way == BY_OP) {
        assert_int_equal(uvf_op_cancel((uvf_op_t *)&server.drain), UV_EBUSY);
      } else {
        give_up(&server, &end);
      }
      assert_over_once(&server, 0);
      assert_told(&server, UVF_DRAIN_OVER);
      visit_drop(&visit);
      end_finish(&end, f);
    }
  }
}

/* Another thread has ended the context, and the loop does not know of it yet. */
static void an_end_that_finds_its_context_over_says_so(void **state) {
  fixture_t *f = *state;
  server_t server;
  visit_t visit;
  uvf_ctx_t *ctx = child_of(f->root);
  server_init(&server, f, HOUR_MS);
  visit_begin(&visit, &server, NULL);
  server_reach_under(&server, ctx, UVF_DRAIN_WAIT);
  on_thread(cancel_on_thread, ctx);
  visit_end(&visit);
  assert_over_once(&server, UV_ECANCELED);
  visit_drop(&visit);
  uvf_ctx_release(ctx);
}

static void under_a_context_that_is_over_no_step_is_told_and_the_callback_comes(void **state) {
  fixture_t *f = *state;
  for (int timed = 0; timed < 2; timed++) {
    server_t server;
    visit_t visit;
    uvf_ctx_t *ctx = timed ? timeout_of(f->root, 0) : child_of(f->root);
    uvf_ctx_cancel(ctx);
    server_init(&server, f, 0);
    visit_begin(&visit, &server, NULL);
    server_start(&server, ctx);
    assert_int_equal(server.calls, 0);
    assert_int_equal(uvf_drain_next(&server.drain), UV_EINVAL);
    assert_over_once(&server, timed ? UV_ETIMEDOUT : UV_ECANCELED);
    assert_told(&server, 0);
    assert_int_equal(uvf_drain_is_ready(&server.drain), 0);
    assert_over(visit.ctx, 0, 0);
    visit_end(&visit);
    visit_drop(&visit);
    uvf_ctx_release(ctx);
  }
}

/* The requests' contexts, under the drain's own, end the drain as they end. */
static void a_drain_whose_context_it_cancels_itself_is_over_once(void **state) {
  fixture_t *f = *state;
  server_t server;
  uvf_drain_request_t requests[3];
  uvf_drain_conn_t conn;
  uvf_ctx_t *ctx = child_of(f->root);
  server_init(&server, f, HOUR_MS);
  for (int i = 0; i < 3; i++) assert_int_equal(uvf_drain_request_begin(&server.drain, &requests[i], NULL, ctx), 0);
  assert_int_equal(uvf_drain_conn_open(&server.drain, &conn, NULL), 0);
  server_reach_under(&server, ctx, UVF_DRAIN_CANCEL);
  assert_over_once(&server, UV_ECANCELED);
  assert_over(ctx, UV_ECANCELED, UV_ESHUTDOWN);
  assert_told(&server, UVF_DRAIN_CANCEL);
  assert_int_equal(server.drain.cancelled, 3);
  for (int i = 0; i < 3; i++) assert_int_equal(uvf_drain_request_end(&requests[i]), 0);
  assert_int_equal(uvf_drain_conn_close(&conn), 0);
  uvf_ctx_release(ctx);
}

/* --- status and causes --- */

enum { NOTHING, REQUEST = 1, BARE_REQUEST = 2, IDLE = 4, BUSY = 8, BARE_CONN = 16 };

/* What is open ends, or is closed, in the step `until`. */
static void the_status_says_whether_something_was_cut(void **state) {
  static const struct {
    int open, until, status;
    uint64_t cancelled, closed, forced;
  } rows[] = {
      {NOTHING, UVF_DRAIN_NOT_READY, 0, 0, 0, 0},
      {REQUEST, UVF_DRAIN_WAIT, 0, 0, 0, 0},
      {REQUEST, UVF_DRAIN_CANCEL, UV_ETIMEDOUT, 1, 0, 0},
      {REQUEST, UVF_DRAIN_OVER, UV_ETIMEDOUT, 1, 0, 0},
      {BARE_REQUEST, UVF_DRAIN_JOIN, 0, 0, 0, 0},
      {BARE_REQUEST, UVF_DRAIN_OVER, UV_ETIMEDOUT, 0, 0, 0},
      {IDLE, UVF_DRAIN_CLOSE_IDLE, 0, 0, 1, 0},
      {IDLE, UVF_DRAIN_JOIN, 0, 0, 1, 0},
      {IDLE, UVF_DRAIN_OVER, UV_ETIMEDOUT, 0, 1, 0},
      {BUSY, UVF_DRAIN_WAIT, 0, 0, 1, 0},
      {BUSY, UVF_DRAIN_CANCEL, 0, 0, 1, 0},
      {BUSY, UVF_DRAIN_FORCE_CLOSE, UV_ETIMEDOUT, 0, 0, 1},
      {BARE_CONN, UVF_DRAIN_JOIN, 0, 0, 0, 0},
      {BARE_CONN, UVF_DRAIN_OVER, UV_ETIMEDOUT, 0, 0, 0},
      {REQUEST | IDLE | BUSY | BARE_CONN, UVF_DRAIN_CANCEL, UV_ETIMEDOUT, 1, 2, 0},
      {REQUEST | IDLE | BUSY | BARE_CONN, UVF_DRAIN_JOIN, UV_ETIMEDOUT, 1, 1, 1},
  };
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    server_t server;
    visit_t visit;
    peer_t idle, busy;
    uvf_drain_request_t bare, on_busy;
    uvf_drain_conn_t conn;
    int open = rows[i].open;
    server_init(&server, f, HOUR_MS);
    if (open & REQUEST) visit_begin(&visit, &server, NULL);
    if (open & BARE_REQUEST) assert_int_equal(uvf_drain_request_begin(&server.drain, &bare, NULL, NULL), 0);
    if (open & IDLE) peer_open(&idle, &server);
    if (open & BUSY) peer_open(&busy, &server);
    if (open & BUSY) assert_int_equal(uvf_drain_request_begin(&server.drain, &on_busy, &busy.conn, NULL), 0);
    if (open & BARE_CONN) assert_int_equal(uvf_drain_conn_open(&server.drain, &conn, NULL), 0);
    server_reach(&server, rows[i].until);
    if (open & REQUEST) visit_end(&visit);
    if (open & BARE_REQUEST) assert_int_equal(uvf_drain_request_end(&bare), 0);
    if (open & IDLE) peer_close(&idle);
    if (open & BUSY) assert_int_equal(uvf_drain_request_end(&on_busy), 0);
    if (open & BUSY) peer_close(&busy);
    if (open & BARE_CONN) assert_int_equal(uvf_drain_conn_close(&conn), 0);
    assert_over_once(&server, rows[i].status);
    assert_told(&server, UVF_DRAIN_OVER);
    assert_int_equal(server.drain.cancelled, rows[i].cancelled);
    assert_int_equal(server.drain.closed, rows[i].closed);
    assert_int_equal(server.drain.forced, rows[i].forced);
    if (open & REQUEST) visit_drop(&visit);
    if (open & IDLE) peer_drop(&idle);
    if (open & BUSY) peer_drop(&busy);
  }
}

static void all_cancels_have_the_cause_that_was_chosen_or_that_the_server_shuts_down(void **state) {
  static const int rows[] = {0, UV_ESHUTDOWN, UV_EPIPE, 503, 15};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    int cause = rows[i] != 0 ? rows[i] : UV_ESHUTDOWN;
    scene_t scene;
    uvf_ctx_t *below, *before;
    visit_t gone;
    scene_init(&scene, f);
    server_options(&scene.server)->cause = rows[i];
    below = child_of(scene.visits[0].ctx);
    visit_begin(&gone, &scene.server, NULL);
    before = gone.ctx;
    uvf_ctx_cancel_cause(before, 7777, NULL); /* its client has gone, but it is not answered yet */
    server_reach(&scene.server, UVF_DRAIN_JOIN);
    assert_over(scene.idle.ctx, UV_ECANCELED, cause);
    assert_over(scene.busy.ctx, UV_ECANCELED, cause);
    for (int k = 0; k < 3; k++) assert_over(scene.visits[k].ctx, UV_ECANCELED, cause);
    assert_over(below, UV_ECANCELED, cause);
    assert_over(before, UV_ECANCELED, 7777);
    if (rows[i] == 0) assert_int_equal(uvf_http_status(UV_ECANCELED, uvf_ctx_cause(below, NULL)), 503);
    visit_end(&gone);
    visit_drop(&gone);
    uvf_ctx_release(below);
    scene_drop(&scene);
    assert_over_once(&scene.server, UV_ETIMEDOUT);
  }
}

/* --- afterwards --- */

static void it_holds_the_loop_until_it_is_over(void **state) {
  fixture_t *f = *state;
  server_t server;
  visit_t visit;
  server_init(&server, f, UVF_NO_LIMIT);
  visit_begin(&visit, &server, NULL);
  assert_int_equal(uv_loop_alive(&f->loop), 0); /* the ledger alone does not */
  server_start(&server, f->root);
  assert_int_not_equal(uv_loop_alive(&f->loop), 0);
  for (int i = 0; i < 3; i++) assert_int_equal(uvf_drain_next(&server.drain), 0);
  assert_int_not_equal(uv_loop_alive(&f->loop), 0);
  visit_end(&visit);
  assert_int_not_equal(uv_loop_alive(&f->loop), 0); /* the callback is to come */
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(server.calls, server.n > 0 ? 1 : 0);
  assert_int_equal(uvf_drain_next(&server.drain), UV_EINVAL);
  visit_drop(&visit);
}

static int freed;

static void free_it(uvf_drain_t *drain, int status) {
  server_t *server = drain->data;
  (void)status;
  memset(server, 0x5a, sizeof *server);
  free(server);
  freed++;
}

/* Cancelled inside on_step, and the loop run there: wherever the callback comes, it may free the drain. */
static void end_and_nest(server_t *server, int step) {
  end_t *end = server->arg;
  fixture_t *f = server->f;
  if (step != end->step) return;
  if (end->way == BY_OP) {
    assert_int_equal(uvf_op_cancel((uvf_op_t *)&server->drain), 0);
  } else {
    uvf_ctx_cancel(end->ctx);
  }
  turn(&f->loop);
}

static void the_callback_may_free_the_drain_also_when_on_step_runs_the_loop(void **state) {
  fixture_t *f = *state;
  freed = 0;
  for (int way = BY_OP; way <= BY_CTX; way++) {
    for (int step = 0; step <= UVF_DRAIN_OVER; step++) { /* 0: nobody ends it */
      server_t *server = malloc(sizeof *server);
      visit_t visit;
      end_t end;
      int before = freed;
      assert_non_null(server);
      end_init(&end, f, way, step);
      server_init(server, f, 1);
      server->then = end_and_nest;
      server->arg = &end;
      visit_begin(&visit, server, NULL);
      assert_int_equal(uvf_drain_start(end.ctx, &server->drain, free_it), 0);
      for (int s = FIRST_STEP; s < step; s++) pass(f, s == FIRST_STEP ? 0 : 1);
      visit_end(&visit); /* from close idle on this is the last one: inside it the rest of the steps */
      for (int s = 0; s < STEPS; s++) pass(f, 1);
      assert_int_equal(freed, before + 1);
      visit_drop(&visit);
      end_finish(&end, f);
    }
  }
}

static void start_again(uvf_drain_t *drain, int status) {
  server_t *server = drain->data;
  uvf_ctx_t *ctx = drain->ctx;
  server_t *next = server->arg;
  server->calls++;
  server->status = status;
  if (next != NULL) {
    assert_int_equal(uvf_drain_start(ctx, &next->drain, start_again), 0);
  } else { /* its own memory, made new */
    memset(drain, 0xff, sizeof *drain);
    assert_int_equal(uvf_drain_init(drain, NULL), 0);
    drain->data = server;
    if (server->calls < 5) assert_int_equal(uvf_drain_start(ctx, drain, start_again), 0);
  }
}

static void the_callback_may_start_the_next_one(void **state) {
  fixture_t *f = *state;
  server_t servers[2];
  for (int i = 0; i < 2; i++) server_init(&servers[i], f, 0);
  servers[0].arg = &servers[1];
  assert_int_equal(uvf_drain_start(f->root, &servers[0].drain, start_again), 0);
  for (int i = 0; i < 20; i++) pass(f, 1);
  assert_int_equal(servers[0].calls, 1);
  assert_int_equal(servers[1].calls, 5);
  assert_int_equal(servers[0].status, 0);
  assert_int_equal(servers[1].status, 0);
}

static void what_is_open_when_the_root_is_closed_ends_in_the_ledger_as_ever(void **state) {
  fixture_t *f = *state;
  scene_t scene;
  scene_init(&scene, f);
  server_reach(&scene.server, UVF_DRAIN_WAIT);
  fixture_close_root(f);
  assert_int_equal(scene.server.calls, 1);
  assert_int_equal(scene.server.status, UV_ECANCELED);
  assert_int_equal(scene.server.drain.requests, 3);
  scene_drop(&scene); /* requests and connections end after all */
  assert_int_equal(scene.server.drain.ended, 3);
  assert_told(&scene.server, UVF_DRAIN_WAIT);
  assert_int_equal(scene.server.calls, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_still(given_up_between_two_steps_it_is_over_once_and_no_further_step_is_told),
      unit_still(given_up_inside_on_step_it_is_over_once_and_no_further_step_is_told),
      unit_still(given_up_when_it_has_ended_it_keeps_its_status),
      unit_still(an_end_that_finds_its_context_over_says_so),
      unit_still(under_a_context_that_is_over_no_step_is_told_and_the_callback_comes),
      unit_still(a_drain_whose_context_it_cancels_itself_is_over_once),
      unit_still(the_status_says_whether_something_was_cut),
      unit_still(all_cancels_have_the_cause_that_was_chosen_or_that_the_server_shuts_down),
      unit(it_holds_the_loop_until_it_is_over),
      unit_still(the_callback_may_free_the_drain_also_when_on_step_runs_the_loop),
      unit_still(the_callback_may_start_the_next_one),
      unit_still(what_is_open_when_the_root_is_closed_ends_in_the_ledger_as_ever),
  };
  return test_run(tests);
}
