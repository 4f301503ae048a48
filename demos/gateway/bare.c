/* SPDX-License-Identifier: MIT
 *
 * gateway_bare: GET /healthz of the gateway without uvflow: the same libh2o with the same configuration on the same
 * kind of loop, and an answer of the same bytes. What a request's context costs is the difference between the two.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef H2O_USE_LIBUV
#define H2O_USE_LIBUV 1
#endif
#include <h2o.h>

#include "heap.h"

enum { BACKLOG = 1024, TIMEOUT_MS = 15000, MAX_BODY = 65536, MOST_PORT = 65535 };

static const char HELP[] = "Usage: gateway_bare [--port N] [--host ADDRESS] [--help]\n"
                           "GET /healthz of the gateway, without uvflow. SIGTERM or SIGINT ends it.\n";

typedef struct server_s {
  uv_loop_t loop;
  uv_tcp_t listener;
  uv_signal_t signals[2];
  h2o_globalconf_t config;
  h2o_context_t h2o;
  h2o_accept_ctx_t accept;
} server_t;

static int fail(const char *what, int err) {
  fprintf(stderr, "gateway_bare: %s: %s\n", what, uv_strerror(err));
  return 1;
}

static int on_req(h2o_handler_t *handler, h2o_req_t *req) {
  int is_get = h2o_memis(req->method.base, req->method.len, H2O_STRLIT("GET"));
  int is_healthz = h2o_memis(req->path_normalized.base, req->path_normalized.len, H2O_STRLIT("/healthz"));
  (void)handler;
  if (!is_get || !is_healthz) return -1; /* h2o answers 404 */
  req->res.status = 200;
  req->res.reason = "OK";
  req->res.content_length = 3;
  h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, H2O_STRLIT("text/plain; charset=utf-8"));
  h2o_send_inline(req, H2O_STRLIT("ok\n"));
  return 0;
}

static void on_conn_closed(uv_handle_t *handle) { free(handle); /* it was allocated alone */ }

static void on_connection(uv_stream_t *listener, int status) {
  server_t *server = listener->data;
  uv_tcp_t *conn = status ? NULL : malloc(sizeof(*conn));
  if (!conn) return;
  if (uv_tcp_init(listener->loop, conn)) {
    free(conn);
    return;
  }
  if (uv_accept(listener, (uv_stream_t *)conn)) {
    uv_close((uv_handle_t *)conn, on_conn_closed);
    return;
  }
  uv_tcp_nodelay(conn, 1);
  h2o_accept(&server->accept, h2o_uv_socket_create((uv_stream_t *)conn, on_conn_closed));
}

static void on_signal(uv_signal_t *handle, int signum) {
  (void)signum;
  uv_stop(handle->loop);
}

static void init_h2o(server_t *server) {
  h2o_globalconf_t *config = &server->config;
  h2o_config_init(config);
  config->server_name = h2o_iovec_init(H2O_STRLIT("uvflow-gateway"));
  config->max_request_entity_size = MAX_BODY;
  config->http1.req_timeout = TIMEOUT_MS;
  config->http2.idle_timeout = TIMEOUT_MS;
  h2o_hostconf_t *host = h2o_config_register_host(config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
  h2o_create_handler(h2o_config_register_path(host, "/", 0), sizeof(h2o_handler_t))->on_req = on_req;
  h2o_context_init(&server->h2o, &server->loop, config);
  server->accept.ctx = &server->h2o;
  server->accept.hosts = config->hosts;
}

static int listen_on(server_t *server, const char *host, int port) {
  struct sockaddr_in address;
  int len = sizeof(address);
  int err = uv_ip4_addr(host, port, &address);
  if (!err) err = uv_tcp_init(&server->loop, &server->listener);
  server->listener.data = server;
  if (!err) err = uv_tcp_bind(&server->listener, (const struct sockaddr *)&address, 0);
  if (!err) err = uv_listen((uv_stream_t *)&server->listener, BACKLOG, on_connection);
  if (!err) err = uv_tcp_getsockname(&server->listener, (struct sockaddr *)&address, &len);
  if (err) return err;
  printf("gateway_bare: listening on http://%s:%d\n", host, ntohs(address.sin_port));
  fflush(stdout);
  return 0;
}

/* Ends without ceremony: connections that are open are the system's to close. */
static int run(const char *host, int port) {
  static server_t server;
  const int signums[2] = {SIGINT, SIGTERM};
  int err = uv_loop_init(&server.loop);
  if (err) return fail("loop", err);
  init_h2o(&server);
  for (int i = 0; !err && i < 2; i++) {
    err = uv_signal_init(&server.loop, &server.signals[i]);
    if (!err) err = uv_signal_start(&server.signals[i], on_signal, signums[i]);
  }
  if (err) return fail("signals", err);
  err = listen_on(&server, host, port);
  if (err) return fail(host, err);
  uv_run(&server.loop, UV_RUN_DEFAULT);
  return 0;
}

int main(int argc, char **argv) {
  const char *host = "127.0.0.1";
  long port = 0;
  for (int i = 1; i < argc; i += 2) {
    char *end = NULL;
    if (strcmp(argv[i], "--host") == 0 && argv[i + 1]) {
      host = argv[i + 1];
      continue;
    }
    if (strcmp(argv[i], "--port") == 0 && argv[i + 1] && *argv[i + 1]) {
      port = strtol(argv[i + 1], &end, 10);
      if (!*end && port >= 0 && port <= MOST_PORT) continue;
    }
    int help = strcmp(argv[i], "--help") == 0;
    fputs(HELP, help ? stdout : stderr);
    return help ? 0 : 2;
  }
  signal(SIGPIPE, SIG_IGN);
  keep_heap();
  return run(host, (int)port);
}
