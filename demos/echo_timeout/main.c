/* SPDX-License-Identifier: MIT
 *
 * echo_timeout: a TCP echo server of plain libuv. Contexts alone see to it that a client is silent for IDLE_MS at most
 * and stays for TOTAL_MS at most, and that a signal ends it all: no timers, no list of clients. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvflow.h>

typedef struct client_s {
  uv_tcp_t tcp;
  uvf_ctx_t *ctx; /* has the total deadline; its end closes tcp */
  uvf_guard_t guard;
  uvf_read_t read;
  uvf_write_t write;
  char bytes[4096];
} client_t;

static uvf_ctx_t *serving;                                /* until a signal comes */
static unsigned long numbers[3] = {7007, 10000, 3600000}; /* PORT, IDLE_MS, TOTAL_MS */

static void on_read(uvf_read_t *read, int status);

static void on_written(uvf_write_t *write, int status) {
  client_t *client = write->data;
  uvf_read_limits_t limits = {.idle_ms = numbers[1]};
  if (!status)
    status = uvf_read_start(client->ctx, &client->read, (uv_stream_t *)&client->tcp, client->bytes,
                            sizeof(client->bytes), &limits, on_read);
  if (status) uvf_ctx_cancel(client->ctx);
}
