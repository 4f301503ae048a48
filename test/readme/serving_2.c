/* SPDX-License-Identifier: MIT
 *
 * Makes the second fragment of README.md, Serving, a program: the backend is there only when the first attempt has failed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <uvflow.h>

static uvf_retry_budget_t budget;
static char service[8];

#include "serving_2.inc"

static uvf_ctx_t *root;
static uv_tcp_t listener;
static uvf_retry_t retry;
static uvf_attempt_t attempts[3];
static call_t calls[3];

static void on_dialled(uvf_retry_t *r, int status) {
  printf("%s, attempt %u of %u\n", status ? uv_strerror(status) : "connected", r->winner ? r->winner->number + 1 : 0,
         r->started);
  if (r->winner) uv_close((uv_handle_t *)&((call_t *)r->winner->data)->tcp, NULL);
  uv_close((uv_handle_t *)&listener, NULL);
  uvf_ctx_close(root, NULL);
}

static void on_connection(uv_stream_t *stream, int status) {
  (void)stream, (void)status;
} /* the system's queue will do */

/* Called by libuv while the pause after the first attempt goes on: it was refused, as nobody listened. */
static void on_time(uv_timer_t *timer) {
  if (uv_listen((uv_stream_t *)&listener, 8, on_connection)) exit(2);
  uv_close((uv_handle_t *)timer, NULL);
}

int main(void) {
  static uv_timer_t timer;
  struct sockaddr_in address;
  int len = sizeof address;
  uv_loop_t *loop = uv_default_loop();
  if (uvf_ctx_background(loop, &root) || uv_tcp_init(loop, &listener) || uv_timer_init(loop, &timer)) return 1;
  uv_ip4_addr("127.0.0.1", 0, &address);
  if (uv_tcp_bind(&listener, (struct sockaddr *)&address, 0)) return 1;
  uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &len);
  snprintf(service, sizeof service, "%d", (address.sin_port & 0xff) << 8 | address.sin_port >> 8);
  if (uvf_retry_budget_init(&budget, 10, 0.1) || dial(root, &retry, attempts, calls, on_dialled)) return 1;
  while (retry.failed == 0) uv_run(loop, UV_RUN_ONCE);
  uv_timer_start(&timer, on_time, 0, 0);
  uv_run(loop, UV_RUN_DEFAULT);
  return uv_loop_close(loop) ? 1 : 0;
}
