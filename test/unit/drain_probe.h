/* SPDX-License-Identifier: MIT
 *
 * What the tests of the drain share: a server that notes what its on_step saw, a clock that stands still until it is
 * told to go on, and requests and connections with a context each.
 */
#ifndef UVFLOW_TEST_DRAIN_PROBE_H
#define UVFLOW_TEST_DRAIN_PROBE_H

#include "kernel/context.h"
#include "unit/probe.h"

#define FIRST_STEP UVF_DRAIN_NOT_READY
#define STEPS ((int)UVF_DRAIN_OVER + 1) /* SERVING and OVER included; those between have a limit */

/* for (step ...) over all that have a limit */
#define each_step(s)                                                                                                   \
  int s = FIRST_STEP;                                                                                                  \
  s < UVF_DRAIN_OVER;                                                                                                  \
  s++

/* From here on the drain is over as soon as nothing is open. */
static inline int waits(int step) { return step >= UVF_DRAIN_CLOSE_IDLE; }

static inline int refuses(int step) { return step >= UVF_DRAIN_STOP_ACCEPTING; }

/* --- a clock that stands still --- */

static uint64_t still_ns;

static inline uint64_t still_clock(void) { return still_ns; }

static inline int still_setup(void **state) {
  still_ns = uv_hrtime();
  uvf__clock_ns = still_clock;
  return fixture_setup(state);
}

static inline int still_teardown(void **state) {
  uvf__clock_ns = uv_hrtime;
  return fixture_teardown(state);
}

#define unit_still(f) cmocka_unit_test_setup_teardown(f, still_setup, still_teardown)

/* The clock goes on by ns, and what is due by then happens. */
static inline void pass_ns(fixture_t *f, uint64_t ns) {
  still_ns += ns;
  uvf__hub_run_deadlines(uvf__ctx_hub(f->root));
  turn(&f->loop);
}

static inline void pass(fixture_t *f, uint64_t ms) { pass_ns(f, ms * MS_NS); }

/* --- the server --- */

typedef struct note_s {
  uvf_drain_step_t step;
  int ready;
  uint64_t requests, connections, cancelled, closed, forced;
  uint64_t began_ns, left_ns; /* by the library's clock: entry and exit of on_step */
} note_t;

typedef struct server_s {
  uvf_drain_t drain;
  fixture_t *f;
  int n;
  note_t notes[2 * STEPS];
  void (*then)(struct server_s *server, int step); /* runs inside on_step; or NULL */
  void *arg;
  int inside, called_inside; /* a call is on the stack in which nothing may be called back */
  int calls, status;
  uint64_t open; /* as it was called */
} server_t;

static inline void server_on_step(uvf_drain_t *drain, uvf_drain_step_t step) {
  server_t *server = drain->data;
  note_t note = {.step = step,
                 .ready = uvf_drain_is_ready(drain),
                 .requests = drain->requests,
                 .connections = drain->connections,
                 .cancelled = drain->cancelled,
                 .closed = drain->closed,
                 .forced = drain->forced,
                 .began_ns = uvf__clock_ns()};
  int at = server->n < (int)ARRAY_SIZE(server->notes) ? server->n : (int)ARRAY_SIZE(server->notes) - 1;
  server->notes[at] = note;
  server->n++;
  server->called_inside |= server->inside;
  if (server->then != NULL) server->then(server, (int)step);
  server->notes[at].left_ns = uvf__clock_ns();
}

static inline void server_on_over(uvf_drain_t *drain, int status) {
  server_t *server = drain->data;
  server->calls++;
  server->status = status;
  server->open = drain->requests + drain->connections;
  server->called_inside |= server->inside;
}

/* All limits are the same; change them in server_options() before server_start(). */
static inline void server_init(server_t *server, fixture_t *f, uint64_t limit_ms) {
  uvf_drain_options_t options;
  memset(server, 0, sizeof *server);
  memset(&server->drain, 0xff, sizeof server->drain);
  uvf_drain_options_init(&options);
  for (int s = FIRST_STEP; s < UVF_DRAIN_OVER; s++) options.limit_ms[s] = limit_ms;
  options.on_step = server_on_step;
  assert_int_equal(uvf_drain_init(&server->drain, &options), 0);
  server->drain.data = server;
  server->f = f;
  server->status = 1;
}

static inline uvf_drain_options_t *server_options(server_t *server) { return &server->drain.uvf__options; }

static inline void server_start(server_t *server, uvf_ctx_t *ctx) {
  server->inside = 1;
  assert_int_equal(uvf_drain_start(ctx, &server->drain, server_on_over), 0);
  server->inside = 0;
  assert_false(server->called_inside);
}

/* Starts under ctx, and passes as many limits as it takes to be in `step`, all of which must be 1 hour. */
static inline void server_reach_under(server_t *server, uvf_ctx_t *ctx, int step) {
  server_start(server, ctx);
  pass_ns(server->f, 0);
  for (int s = FIRST_STEP; s < step; s++) pass(server->f, HOUR_MS);
}

static inline void server_reach(server_t *server, int step) {
  server_reach_under(server, server->f->root, step);
  assert_int_equal(server->drain.step, step);
  assert_int_equal(server->n, step);
}

/* All is over, and was once. */
static inline void assert_over_once(server_t *server, int status) {
  for (int i = 0; i < STEPS; i++) pass(server->f, HOUR_MS);
  assert_int_equal(server->calls, 1);
  assert_int_equal(server->status, status);
  assert_int_equal(server->drain.status, status);
  assert_false(server->called_inside);
  assert_true(server->drain.begun == server->drain.requests + server->drain.ended);
}

/* The steps were told one after the other, from the first to `last`, each once. */
static inline void assert_told(const server_t *server, int last) {
  assert_int_equal(server->n, last);
  for (int i = 0; i < last; i++) assert_int_equal(server->notes[i].step, i + 1);
}

/* --- requests and connections with a context of their own --- */

typedef struct visit_s {
  uvf_drain_request_t request;
  uvf_ctx_t *ctx; /* kept, so that it can be looked at afterwards */
  probe_t probe;
} visit_t;

typedef struct peer_s {
  uvf_drain_conn_t conn;
  uvf_ctx_t *ctx;
  probe_t probe;
} peer_t;

static inline void visit_begin(visit_t *visit, server_t *server, peer_t *peer) {
  memset(visit, 0, sizeof *visit);
  visit->ctx = child_of(server->f->root);
  assert_int_equal(
      uvf_drain_request_begin(&server->drain, &visit->request, peer != NULL ? &peer->conn : NULL, visit->ctx), 0);
}

static inline void visit_end(visit_t *visit) { assert_int_equal(uvf_drain_request_end(&visit->request), 0); }

static inline void peer_open(peer_t *peer, server_t *server) {
  memset(peer, 0, sizeof *peer);
  peer->ctx = child_of(server->f->root);
  assert_int_equal(uvf_drain_conn_open(&server->drain, &peer->conn, peer->ctx), 0);
}

static inline void peer_close(peer_t *peer) { assert_int_equal(uvf_drain_conn_close(&peer->conn), 0); }

/* The test looks at it no more. */
static inline void visit_drop(visit_t *visit) { uvf_ctx_release(visit->ctx); }
static inline void peer_drop(peer_t *peer) { uvf_ctx_release(peer->ctx); }

/* --- a scene: one idle connection, one with two requests, one without a context, and a request on none --- */

typedef struct scene_s {
  server_t server;
  peer_t idle, busy;
  uvf_drain_conn_t bare;
  visit_t visits[3]; /* two on `busy`, one on none */
} scene_t;

static inline void scene_init(scene_t *scene, fixture_t *f) {
  memset(scene, 0, sizeof *scene);
  server_init(&scene->server, f, HOUR_MS);
  scene->server.arg = scene;
  peer_open(&scene->idle, &scene->server);
  peer_open(&scene->busy, &scene->server);
  assert_int_equal(uvf_drain_conn_open(&scene->server.drain, &scene->bare, NULL), 0);
  for (int i = 0; i < 3; i++) visit_begin(&scene->visits[i], &scene->server, i < 2 ? &scene->busy : NULL);
}

/* Ends what is open, and looks at nothing any more. */
static inline void scene_drop(scene_t *scene) {
  for (int i = 0; i < 3; i++) {
    if (scene->visits[i].request.drain != NULL) visit_end(&scene->visits[i]);
    visit_drop(&scene->visits[i]);
  }
  if (scene->idle.conn.drain != NULL) peer_close(&scene->idle);
  if (scene->busy.conn.drain != NULL) peer_close(&scene->busy);
  if (scene->bare.drain != NULL) assert_int_equal(uvf_drain_conn_close(&scene->bare), 0);
  peer_drop(&scene->idle);
  peer_drop(&scene->busy);
  assert_int_equal(scene->server.drain.requests + scene->server.drain.connections, 0);
}

/* --- something to be done in one step's on_step --- */

typedef struct at_s {
  int step;
  visit_t visit;
  peer_t peer;
  int done;
} at_t;

#endif
