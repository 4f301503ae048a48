/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "child.h"

enum { REQUEST_MOST = 8192 };

typedef struct server_conn_s {
  uv_tcp_t tcp;
  server_t *server;
  struct server_conn_s *next, **link;
  char in[REQUEST_MOST];
  size_t len;
  int hanging;
  int close_after;
} conn_t;

typedef struct answer_s {
  uv_write_t write;
  conn_t *conn;
} answer_t;

static void on_conn_closed(uv_handle_t *handle) { free(container_of(handle, conn_t, tcp)); }

static void close_conn(conn_t *conn) {
  if (uv_is_closing((uv_handle_t *)&conn->tcp)) return;
  *conn->link = conn->next;
  if (conn->next) conn->next->link = conn->link;
  uv_close((uv_handle_t *)&conn->tcp, on_conn_closed);
}

static void on_sent(uv_write_t *write, int status) {
  answer_t *answer = container_of(write, answer_t, write);
  if (status || answer->conn->close_after) close_conn(answer->conn);
  free(answer);
}

/* text: static. */
static void send_text(conn_t *conn, const char *text) {
  answer_t *answer = malloc(sizeof(*answer));
  if (!answer) abort();
  answer->conn = conn;
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t)text, (unsigned int)strlen(text));
  if (uv_write(&answer->write, (uv_stream_t *)&conn->tcp, &buf, 1, on_sent)) {
    free(answer);
    close_conn(conn);
  }
}

static void leave_hanging(conn_t *conn) {
  server_t *server = conn->server;
  conn->hanging = 1;
  server->hanging++;
  if (server->on_hang) server->on_hang(server);
}

static int asks_for(const conn_t *conn, const char *path) {
  char line[64];
  snprintf(line, sizeof(line), "GET %s ", path);
  return strncmp(conn->in, line, strlen(line)) == 0;
}

static void respond(conn_t *conn) {
  server_t *server = conn->server;
  server->requests++;
  if (asks_for(conn, "/hang") || (asks_for(conn, "/flaky") && server->hanging == 0)) {
    leave_hanging(conn);
  } else if (asks_for(conn, "/fail")) {
    send_text(conn, "HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nno\n");
  } else if (asks_for(conn, "/half")) {
    send_text(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf\n");
    leave_hanging(conn);
  } else if (asks_for(conn, "/cut")) {
    conn->close_after = 1;
    send_text(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf\n");
  } else if (asks_for(conn, "/garbage")) {
    conn->close_after = 1;
    send_text(conn, "\x01\x02 this is no HTTP\r\n\r\n");
  } else {
    send_text(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfast\n");
  }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  conn_t *conn = container_of(handle, conn_t, tcp);
  (void)suggested;
  *buf = uv_buf_init(conn->in + conn->len, (unsigned int)(REQUEST_MOST - 1 - conn->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  conn_t *conn = container_of(stream, conn_t, tcp);
  (void)buf;
  if (n < 0) {
    if (conn->hanging && conn->server->abandoned++ == 0) conn->server->first_abandoned_ns = uv_hrtime();
    close_conn(conn);
    return;
  }
  conn->len += (size_t)n;
  conn->in[conn->len] = '\0';
  if (!strstr(conn->in, "\r\n\r\n")) return;
  respond(conn); /* a client that sends no body and does not pipeline: the next request begins anew */
  conn->len = 0;
}

static void on_conn(uv_stream_t *listener, int status) {
  server_t *server = container_of(listener, server_t, listener);
  if (status) return;
  conn_t *conn = calloc(1, sizeof(*conn));
  if (!conn || uv_tcp_init(listener->loop, &conn->tcp)) abort();
  conn->server = server;
  conn->next = server->conns;
  conn->link = &server->conns;
  if (conn->next) conn->next->link = &conn->next;
  server->conns = conn;
  if (uv_accept(listener, (uv_stream_t *)&conn->tcp) || uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read))
    close_conn(conn);
}

void server_start(server_t *server, uv_loop_t *loop) {
  struct sockaddr_in address;
  struct sockaddr_storage bound;
  int len = sizeof(bound);
  memset(server, 0, sizeof(*server));
  assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &address), 0);
  assert_int_equal(uv_tcp_init(loop, &server->listener), 0);
  assert_int_equal(uv_tcp_bind(&server->listener, (const struct sockaddr *)&address, 0), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&server->listener, 511, on_conn), 0);
  assert_int_equal(uv_tcp_getsockname(&server->listener, (struct sockaddr *)&bound, &len), 0);
  server->port = ntohs(((struct sockaddr_in *)&bound)->sin_port);
}

void server_stop(server_t *server) {
  uv_close((uv_handle_t *)&server->listener, NULL);
  while (server->conns) close_conn(server->conns);
}
