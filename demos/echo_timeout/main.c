/* SPDX-License-Identifier: MIT
 * echo_timeout: an echo server whose contexts limit how long clients are silent and stay, and end all at a signal. */
#include <stdio.h>
#include <stdlib.h>
#include <uvflow.h>

typedef struct client_s {
  uv_tcp_t tcp;      /* comes first: a client is a stream */
  uvf_guard_t guard; /* the end of ctx closes tcp */
  uvf_ctx_t *ctx;    /* has the deadline, and the client as its value: it is freed when nothing uses ctx any more */
  uvf_read_t read;
  uvf_write_t write;
  char bytes[4096];
} client_t;

static uvf_ctx_t *root;
static uvf_read_limits_t limits; /* of each read; total_ms is that of a client's whole stay as well */
static void on_read(uvf_read_t *read, int status);
static void on_closed(uv_handle_t *tcp) { uvf_ctx_release(((client_t *)tcp)->ctx); }
static void on_signal(uvf_signals_t *signals, int signum) { (void)signals, (void)signum, uvf_ctx_close(root, NULL); }

static void on_written(uvf_write_t *write, int status) {
  client_t *c = write->data;
  if (!status) status = uvf_read_start(c->ctx, &c->read, (uv_stream_t *)c, c->bytes, 4096, &limits, on_read);
  if (status) uvf_ctx_cancel(c->ctx);
}

static void on_read(uvf_read_t *read, int status) { /* UV_ETIMEDOUT: one of the limits; UV_EOF: the client has left */
  client_t *c = read->data;
  uv_buf_t buf = uv_buf_init(c->bytes, (unsigned int)read->nread);
  if (!status) status = uvf_write_start(c->ctx, &c->write, (uv_stream_t *)c, &buf, 1, on_written, NULL);
  if (status) uvf_ctx_cancel(c->ctx);
}

static void on_client(uv_stream_t *listener, int status) {
  uvf_ctx_t *up = NULL;
  client_t *c = calloc(1, sizeof(*c));
  if (!c || uvf_ctx_with_timeout(root, limits.total_ms, &up) || uvf_ctx_with_value(up, c, c, free, &c->ctx)) abort();
  uvf_ctx_release(up);
  c->read.data = c->write.data = c;
  uv_tcp_init(listener->loop, &c->tcp);
  uvf_guard_start(c->ctx, &c->guard, (uv_handle_t *)c, on_closed);
  on_written(&c->write, status ? status : uv_accept(listener, (uv_stream_t *)c)); /* reads, as after a write */
}

int main(int argc, char **argv) {
  uv_tcp_t listener;
  uvf_guard_t guard;
  uvf_signals_t signals;
  struct sockaddr_in at;
  if (argc != 4 || !(limits.idle_ms = strtoul(argv[2], NULL, 10)) || !(limits.total_ms = strtoul(argv[3], NULL, 10)))
    return puts("Usage: echo_timeout PORT IDLE_MS TOTAL_MS"), argc == 2 && *argv[1] == '-' ? 0 : 2;
  signal(SIGPIPE, SIG_IGN); /* a client that is gone is an error of one write */
  int err = uv_ip4_addr("127.0.0.1", atoi(argv[1]), &at) || uvf_ctx_background(uv_default_loop(), &root) ||
            uvf_signals_start(root, &signals, NULL, 0, on_signal, NULL) || uv_tcp_init(uv_default_loop(), &listener) ||
            uvf_guard_start(root, &guard, (uv_handle_t *)&listener, NULL) ||
            uv_tcp_bind(&listener, (struct sockaddr *)&at, 0) || uv_listen((uv_stream_t *)&listener, 128, on_client);
  if (err) fprintf(stderr, "echo_timeout: cannot listen on port %s, try another\n", argv[1]), uvf_ctx_close(root, NULL);
  return uv_run(uv_default_loop(), UV_RUN_DEFAULT) || uv_loop_close(uv_default_loop()) || err; /* after a signal */
}
