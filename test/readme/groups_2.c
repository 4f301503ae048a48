/* SPDX-License-Identifier: MIT
 *
 * Makes the second fragment of README.md, Groups, a program: a server that drains in time, and then one with a request
 * that only its cancel ends.
 */
#include <stdio.h>
#include <uvflow.h>
#include "groups_2.inc"

typedef struct request_s {
  uvf_waitgroup_entry_t entry;
  uv_timer_t timer;
  uvf_watch_t watch;
} request_t;

static void on_closed(uv_handle_t *timer) { uvf_waitgroup_leave(&((request_t *)timer->data)->entry); }

static void on_answered(uv_timer_t *timer) { uv_close((uv_handle_t *)timer, on_closed); }

static void on_cancelled(uvf_watch_t *watch, int status) {
  (void)status;
  uvf_waitgroup_leave(&((request_t *)watch->data)->entry);
}

static int quick(server_t *server, request_t *request) {
  request->timer.data = request;
  return uv_timer_init(uvf_ctx_loop(server->root), &request->timer) ||
         uvf_waitgroup_enter(&server->requests, &request->entry, "GET /quick") ||
         uv_timer_start(&request->timer, on_answered, 20, 0);
}

static int slow(server_t *server, request_t *request) {
  request->watch.data = request;
  return uvf_waitgroup_enter(&server->requests, &request->entry, "GET /slow") ||
         uvf_ctx_on_done(server->root, &request->watch, on_cancelled);
}

/* A server with two requests, to its end: how its shutdown ended, and after how long. */
static int serve(uv_loop_t *loop, int is_slow, uint64_t *took_ns) {
  server_t server;
  request_t requests[2];
  uint64_t begin = uv_hrtime();
  uvf_waitgroup_init(&server.requests);
  if (uvf_ctx_background(loop, &server.root) || quick(&server, &requests[0])) return 1;
  if (is_slow ? slow(&server, &requests[1]) : quick(&server, &requests[1])) return 1;
  if (uvf_waitgroup_count(&server.requests) != 2 || shut_down(&server)) return 1;
  uv_run(loop, UV_RUN_DEFAULT);
  *took_ns = uv_hrtime() - begin;
  return uvf_waitgroup_count(&server.requests) == 0 ? server.drained.status : 1;
}

int main(void) {
  const uint64_t limit_ns = UINT64_C(2000000000);
  uv_loop_t *loop = uv_default_loop();
  uint64_t took_ns;
  if (serve(loop, 0, &took_ns) != 0) return 1;
  if (serve(loop, 1, &took_ns) != UV_ETIMEDOUT || took_ns < limit_ns) return 2;
  return uv_loop_close(loop) ? 3 : 0;
}
