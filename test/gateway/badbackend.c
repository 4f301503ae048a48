/* SPDX-License-Identifier: MIT
 *
 * 1. A connection is in the list from its accept until it is closing; its memory goes when its two handles are closed.
 * 2. One write is under way at a time: the next piece of an endless answer is sent when the last one was taken.
 */
#include "badbackend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 65536 };

typedef struct bad_conn_s {
  uv_tcp_t tcp;
  uv_timer_t timer;
  uv_write_t write;
  badbackend_t *backend;
  struct bad_conn_s *next, **link;
  char in[8192];
  size_t len;
  int handles; /* not closed */
  int resets;  /* after the write */
  int endless;
  int deaf; /* and so does not see its end: not counted in backend->open */
} bad_conn_t;

static void on_conn_closed(uv_handle_t *handle) {
  bad_conn_t *conn = handle->data;
  if (--conn->handles) return;
  if (!conn->deaf) conn->backend->open--;
  free(conn);
}

static void close_conn(bad_conn_t *conn, int reset) {
  if (uv_is_closing((uv_handle_t *)&conn->timer)) return;
  *conn->link = conn->next;
  if (conn->next) conn->next->link = conn->link;
  uv_close((uv_handle_t *)&conn->timer, on_conn_closed);
  if (!reset || uv_tcp_close_reset(&conn->tcp, on_conn_closed)) uv_close((uv_handle_t *)&conn->tcp, on_conn_closed);
}

/* --- answers -------------------------------------------------------------------------------------------------- */

static void send_bytes(bad_conn_t *conn, const char *bytes, size_t len);

static void on_sent(uv_write_t *write, int status) {
  static const char zeros[PIECE];
  bad_conn_t *conn = container_of(write, bad_conn_t, write);
  if (status || conn->resets)
    close_conn(conn, conn->resets);
  else if (conn->endless)
    send_bytes(conn, zeros, sizeof(zeros));
}

/* bytes: static. */
static void send_bytes(bad_conn_t *conn, const char *bytes, size_t len) {
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t)bytes, (unsigned int)len);
  if (uv_is_closing((uv_handle_t *)&conn->tcp)) return;
  if (uv_write(&conn->write, (uv_stream_t *)&conn->tcp, &buf, 1, on_sent)) close_conn(conn, 0);
}

static void send_text(bad_conn_t *conn, const char *text) { send_bytes(conn, text, strlen(text)); }

static void on_drip(uv_timer_t *timer) { send_text(timer->data, "."); }

static int asks_for(const bad_conn_t *conn, const char *path) {
  size_t len = strlen(path);
  return strncmp(conn->in, "GET ", 4) == 0 && strncmp(conn->in + 4, path, len) == 0 && strchr(" ?", conn->in[4 + len]);
}

static void respond(bad_conn_t *conn) {
  static const char MUCH[] = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\na part of it\n";
  badbackend_t *backend = conn->backend;
  backend->requests++;
  snprintf(backend->head, sizeof(backend->head), "%s", conn->in);
  if (asks_for(conn, "/reset")) {
    conn->resets = 1;
    send_text(conn, MUCH);
  } else if (asks_for(conn, "/drip")) {
    send_text(conn, MUCH);
    uv_timer_start(&conn->timer, on_drip, backend->drip_ms, backend->drip_ms);
  } else if (asks_for(conn, "/endless")) {
    conn->endless = 1;
    send_text(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
  } else if (asks_for(conn, "/deaf")) {
    uv_read_stop((uv_stream_t *)&conn->tcp);
    conn->deaf = 1;
    backend->open--;
  } else if (asks_for(conn, "/fail")) {
    send_text(conn, "HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nno\n");
  } else {
    send_text(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfast\n");
  }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  bad_conn_t *conn = handle->data;
  (void)suggested;
  *buf = uv_buf_init(conn->in + conn->len, (unsigned int)(sizeof(conn->in) - 1 - conn->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  bad_conn_t *conn = stream->data;
  (void)buf;
  if (n < 0) {
    close_conn(conn, 0);
    return;
  }
  conn->len += (size_t)n;
  conn->in[conn->len] = '\0';
  if (!strstr(conn->in, "\r\n\r\n")) return;
  respond(conn); /* no body and no pipelining: the next request begins anew */
  conn->len = 0;
}

/* --- start, stop ---------------------------------------------------------------------------------------------- */

static void on_conn(uv_stream_t *listener, int status) {
  badbackend_t *backend = container_of(listener, badbackend_t, listener);
  if (status) return;
  bad_conn_t *conn = calloc(1, sizeof(*conn));
  if (!conn || uv_tcp_init(listener->loop, &conn->tcp) || uv_timer_init(listener->loop, &conn->timer)) abort();
  conn->tcp.data = conn->timer.data = conn;
  conn->backend = backend;
  conn->handles = 2;
  conn->next = backend->conns;
  conn->link = &backend->conns;
  if (conn->next) conn->next->link = &conn->next;
  backend->conns = conn;
  backend->open++;
  if (uv_accept(listener, (uv_stream_t *)&conn->tcp) || uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read))
    close_conn(conn, 0);
}

void badbackend_start(badbackend_t *backend, uv_loop_t *loop, int port) {
  struct sockaddr_in address;
  struct sockaddr_storage bound;
  int len = sizeof(bound);
  assert_int_equal(uv_ip4_addr("127.0.0.1", port, &address), 0);
  assert_int_equal(uv_tcp_init(loop, &backend->listener), 0);
  assert_int_equal(uv_tcp_bind(&backend->listener, (const struct sockaddr *)&address, 0), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&backend->listener, 511, on_conn), 0);
  assert_int_equal(uv_tcp_getsockname(&backend->listener, (struct sockaddr *)&bound, &len), 0);
  backend->port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
}

void badbackend_stop(badbackend_t *backend) {
  uv_close((uv_handle_t *)&backend->listener, NULL);
  while (backend->conns) close_conn(backend->conns, 0);
}
