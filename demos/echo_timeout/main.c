/* SPDX-License-Identifier: MIT
 *
 * echo_timeout: a TCP echo server of plain libuv. Contexts alone see to it that a client is silent for IDLE_MS at most,
 * stays for TOTAL_MS at most, and goes at SIGINT and SIGTERM: there is no timer and no list of clients. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvflow.h>

typedef struct client_s {
  uv_tcp_t tcp;
  uvf_ctx_t *ctx;    /* has the deadline, and the client as its value: the two are freed together */
  uvf_guard_t guard; /* the end of ctx closes tcp */
  uvf_read_t read;
  uvf_write_t write;
  char bytes[4096];
} client_t;

static uvf_ctx_t *serving;                               /* over when a signal has come */
static unsigned long numbers[] = {7007, 10000, 3600000}; /* PORT, IDLE_MS, TOTAL_MS */

static void on_read(uvf_read_t *read, int status);

static void on_written(uvf_write_t *write, int status) {
  client_t *c = write->data;
  uvf_read_limits_t limits = {.idle_ms = numbers[1]};
  if (!status) status = uvf_read_start(c->ctx, &c->read, (uv_stream_t *)&c->tcp, c->bytes, 4096, &limits, on_read);
  if (status) uvf_ctx_cancel(c->ctx);
}

static void on_read(uvf_read_t *read, int status) { /* UV_ETIMEDOUT if it was too slow, UV_EOF if it left */
  client_t *c = read->data;
  uv_buf_t buf = uv_buf_init(c->bytes, (unsigned int)read->nread);
  if (!status) status = uvf_write_start(c->ctx, &c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written, NULL);
  if (status) uvf_ctx_cancel(c->ctx);
}

static void on_closed(uv_handle_t *tcp) { uvf_ctx_release(((client_t *)tcp->data)->ctx); }

static void on_client(uv_stream_t *listener, int status) {
  client_t *c = calloc(1, sizeof(*c));
  uvf_ctx_t *timed = NULL;
  if (status || !c || uvf_ctx_with_timeout(serving, numbers[2], &timed) ||
      uvf_ctx_with_value(timed, numbers, c, free, &c->ctx)) {
    free(c);
  } else {
    c->tcp.data = c->read.data = c->write.data = c;
    uv_tcp_init(listener->loop, &c->tcp);
    uvf_guard_start(c->ctx, &c->guard, (uv_handle_t *)&c->tcp, on_closed);
    on_written(&c->write, uv_accept(listener, (uv_stream_t *)&c->tcp)); /* reads, as after each write */
  }
  uvf_ctx_release(timed);
}

static int serve(uv_loop_t *loop) {
  static uv_tcp_t listener;
  static uvf_guard_t guard;
  struct sockaddr_in address;
  int size = sizeof(address), err = uv_tcp_init(loop, &listener);
  if (!err) err = uvf_guard_start(serving, &guard, (uv_handle_t *)&listener, NULL);
  if (!err) err = uv_ip4_addr("127.0.0.1", (int)numbers[0], &address);
  if (!err) err = uv_tcp_bind(&listener, (struct sockaddr *)&address, 0);
  if (!err) err = uv_listen((uv_stream_t *)&listener, 128, on_client);
  if (!err) err = uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &size);
  if (!err) printf("echo_timeout: serving 127.0.0.1 port %d\n", ntohs(address.sin_port));
  return err;
}

int main(int argc, char **argv) {
  uv_loop_t *loop = uv_default_loop();
  uvf_ctx_t *root;
  uvf_signals_t signals;
  for (int i = 1; i < argc; i++) {
  }
}
