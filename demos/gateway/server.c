/* SPDX-License-Identifier: MIT
 *
 * Invariants
 *  1. The service ends when its two parts have: the listener is closed, and the drain is over, which means that no
 *     request and no connection is left.
 *  2. Everything that ends the server ends it through the drain: a signal (server_drain), and the end of the service's
 *     context, which ends the requests at once, so that the drain has little to wait for.
 */
#include "server.h"

#include <stdlib.h>

#include "conn.h"
#include "listener.h"
#include "request.h"

enum { CUT_MS = 1000, FORCE_MS = 1000 };

/* h2o's handler of all paths. */
typedef struct handler_s {
  h2o_handler_t super;
  server_t *server;
} handler_t;

static int on_req(h2o_handler_t *super, h2o_req_t *req) {
  return request_on_req(container_of(super, handler_t, super)->server, req);
}

void server_part_ended(server_t *server) {
  if (--server->parts == 0) uvf_service_ended(server->service, server->err);
}

/* --- draining ------------------------------------------------------------------------------------------------ */

/* Called by uvflow as each step begins. */
static void on_step(uvf_drain_t *drain, uvf_drain_step_t step) {
  server_t *server = container_of(drain, server_t, drain);
  if (step == UVF_DRAIN_LAME_DUCK) h2o_context_request_shutdown(&server->h2o); /* GOAWAY, Connection: close */
  if (step == UVF_DRAIN_STOP_ACCEPTING) listener_close(server);
  if (step == UVF_DRAIN_FORCE_CLOSE) conn_close_all(server);
  if (server->options.on_step) server->options.on_step(server, step);
  /* With its service everything is over already: nobody is to be given time. */
  if (step < UVF_DRAIN_WAIT && uvf_ctx_err(server->ctx)) uvf_drain_next(drain);
}

/* Called by uvflow when nothing is open any more. */
static void on_drained(uvf_drain_t *drain, int status) {
  server_t *server = container_of(drain, server_t, drain);
  (void)status; /* the drain's counters say what was cut */
  if (server->options.on_drained) server->options.on_drained(server);
  server_part_ended(server);
}

void server_drain(server_t *server) {
  if (server->listener.open && server->drain.step == UVF_DRAIN_SERVING)
    uvf_drain_start(server->root, &server->drain, on_drained);
}

/* Called by uvflow when the service is over: another has failed, or the program ends. */
static void on_service_over(uvf_watch_t *watch, int status) {
  (void)status;
  server_drain(container_of(watch, server_t, watch));
}

/* --- start, stop --------------------------------------------------------------------------------------------- */

int server_start(uvf_service_t *service) {
  server_t *server = service->data;
  server->service = service;
  int err = uvf_ctx_with_cancel(service->ctx, &server->ctx);
  if (err) return err;
  uvf_ctx_set_name(server->ctx, service->name);
  err = listener_open(server); /* server_free releases the context */
  if (err) {
    fprintf(stderr, "gateway: %s server: %s port %d: %s; try another address or port (--help)\n", service->name,
            server->options.host, server->options.port, uv_strerror(err));
    return err;
  }
  server->parts = 2;
  err = conn_sweep_start(server, server->ctx);
  if (!err) err = uvf_ctx_on_done(server->ctx, &server->watch, on_service_over);
  if (err) { /* it is running by now: this is how it ends */
    server->err = err;
    server_drain(server);
  }
  if (server->options.on_listening) server->options.on_listening(server);
  return 0;
}

static void init_drain(server_t *server) {
  uvf_drain_options_t drain;
  uvf_drain_options_init(&drain);
  drain.max_requests = server->options.max_requests;
  drain.on_step = on_step;
  drain.limit_ms[UVF_DRAIN_NOT_READY] = server->options.not_ready_ms;
  drain.limit_ms[UVF_DRAIN_LAME_DUCK] = server->options.lame_duck_ms;
  /* Whoever was accepted last gets the time to say what for. */
  drain.limit_ms[UVF_DRAIN_STOP_ACCEPTING] = server->options.lame_duck_ms;
  drain.limit_ms[UVF_DRAIN_WAIT] = server->options.grace_ms;
  drain.limit_ms[UVF_DRAIN_CANCEL] = CUT_MS;
  drain.limit_ms[UVF_DRAIN_FORCE_CLOSE] = FORCE_MS;
  uvf_drain_init(&server->drain, &drain);
}

/* Called for each handle on the loop. h2o keeps some timers and an async handle, which would hold the loop for ever, or
 * for seconds after its last connection. The connections hold it; the housekeeping need not. */
static void unref_housekeeping(uv_handle_t *handle, void *arg) {
  server_t *server = arg;
  const char *at = (const char *)handle, *h2o = (const char *)&server->h2o;
  int is_timer = at >= h2o && at < h2o + sizeof(server->h2o);
  if (is_timer || (handle->type == UV_ASYNC && !uvf_owns_handle(handle))) uv_unref(handle);
}

void server_init(server_t *server, gateway_t *gateway, uvf_ctx_t *root, const server_options_t *options) {
  server->gateway = gateway;
  server->root = root;
  server->options = *options;
  init_drain(server);
  h2o_linklist_init_anchor(&server->idle);
  h2o_linklist_init_anchor(&server->busy);
  h2o_globalconf_t *config = &server->config;
  h2o_config_init(config);
  config->server_name = h2o_iovec_init(H2O_STRLIT("uvflow-gateway"));
  config->max_request_entity_size = options->max_body;
  /* conn.c is stricter, and tells the two apart; h2o's own are for what it cannot see. */
  config->http1.req_timeout = options->idle_ms + options->request_ms;
  config->http2.idle_timeout = options->idle_ms + options->request_ms;
  h2o_hostconf_t *host = h2o_config_register_host(config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
  h2o_handler_t *super = h2o_create_handler(h2o_config_register_path(host, "/", 0), sizeof(handler_t));
  super->on_req = on_req;
  container_of(super, handler_t, super)->server = server;
  h2o_context_init(&server->h2o, uvf_ctx_loop(root), config);
  server->accept.ctx = &server->h2o;
  server->accept.hosts = config->hosts;
  uv_walk(server->h2o.loop, unref_housekeeping, server);
}

void server_free(server_t *server) {
  h2o_timeout_unlink(&server->h2o.http2._graceful_shutdown_timeout); /* h2o forgets that, and then minds */
  h2o_context_dispose(&server->h2o);                                 /* runs the loop to close its timers */
  h2o_config_dispose(&server->config);
  uvf_ctx_release(server->ctx);
}
