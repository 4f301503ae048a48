/* SPDX-License-Identifier: MIT
 *
 * Makes the first fragment of README.md, Serving, a program: a server without a protocol, whose one request is answered
 * after the signal that ends it.
 */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <uvflow.h>
#include "serving.inc"

static server_t server;
static uvf_drain_request_t first;
static uvf_sleep_t answer;
static uvf_ctx_t *ctx;

static void on_answered(uvf_sleep_t *sleep, int status) {
  uvf_drain_request_t late;
  (void)sleep;
  printf("answered: %d\n", uvf_http_status(status, 0));
  printf("a late one: %d\n", admit(&server, &late, ctx));
  uvf_drain_request_end(&first);
  uvf_ctx_release(ctx);
}

static void on_connection(uv_stream_t *stream, int status) { (void)stream, (void)status; }

int main(void) {
  static uv_tcp_t listener;
  struct sockaddr_in address;
  uv_loop_t *loop = uv_default_loop();
  if (uvf_ctx_background(loop, &server.root) || uv_tcp_init(loop, &listener)) return 1;
  uv_ip4_addr("127.0.0.1", 0, &address);
  if (uv_tcp_bind(&listener, (struct sockaddr *)&address, 0)) return 1;
  if (uv_listen((uv_stream_t *)&listener, 8, on_connection)) return 1;
  if (uvf_guard_start(server.root, &server.listener, (uv_handle_t *)&listener, NULL)) return 1;
  if (uvf_ctx_with_cancel(server.root, &ctx) || serve(&server) || admit(&server, &first, ctx)) return 1;
  if (uvf_sleep_start(ctx, &answer, 300, on_answered)) return 1;
  raise(SIGTERM);
  uv_run(loop, UV_RUN_DEFAULT);
  return uv_loop_close(loop) ? 1 : 0;
}
