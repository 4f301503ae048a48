/* SPDX-License-Identifier: MIT
 *
 * Invariants
 *  1. h2o closes the socket, nobody else: its on_close hook is the end of the connection, and the close callback of
 *     the handle the end of the memory. To make h2o close it, we hang up: shutdown(2) of the reading side is seen by
 *     h2o as the end of the stream, after what has already arrived; of both sides it also ends a write that is stuck.
 *  2. A connection is in one list of the server: busy while h2o has a request of it, else idle, in the order in which
 *     they became so. Only idle ones are hung up on by surprise: of HTTP/2 an answer that still waits in h2o would be
 *     lost. (Of HTTP/1 it would not, so there h2o need not be asked whether it has been sent.)
 *  3. While `watched` is set h2o does not read from the connection, and we do. What comes then is kept in `early`, and
 *     goes to h2o when it disposes of the request: not earlier, since the headers of that request may point into the
 *     buffer that would grow.
 */
#include "conn.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "listener.h"
#include "request.h"

enum {
  SWEEP_MS = 100,
  EARLY_MAX = 65536 /* then no more is read before the answer, and the client is held up */
};

/* A receive buffer for all: libuv's two callbacks follow each other directly. */
static char early_buffer[16384];

conn_t *conn_of(h2o_req_t *req) { return req->conn->callbacks->get_socket(req->conn)->on_close.data; }

/* how: SHUT_RD or SHUT_RDWR. */
static void hang_up(conn_t *conn, int how) {
  uv_os_fd_t fd;
  if (uv_fileno(HANDLE(&conn->tcp), &fd) == 0) shutdown(fd, how);
  conn->hung_up = 1;
}

static void into_list(conn_t *conn, h2o_linklist_t *list) {
  if (h2o_linklist_is_linked(&conn->link)) h2o_linklist_unlink(&conn->link);
  h2o_linklist_insert(list, &conn->link); /* at its end */
}

/* Of the reading side, unless there is an answer that the client does not read. */
static void hang_up_idle(conn_t *conn) { hang_up(conn, h2o_socket_is_writing(conn->sock) ? SHUT_RDWR : SHUT_RD); }

static void becomes_idle(conn_t *conn) {
  conn->idle_since_ms = uv_now(conn->tcp.loop);
  conn->partly_since_ms = 0;
  into_list(conn, &conn->server->idle);
}

/* --- the end ------------------------------------------------------------------------------------------------- */

/* Called by uvflow when the connection's context is over: the server drains and it is idle, or its service has ended.
 * One that is busy is hung up on when the last answer has been sent. */
static void on_ctx_over(uvf_guard_t *guard) {
  conn_t *conn = container_of(guard, conn_t, guard);
  if (!conn->requests) hang_up(conn, SHUT_RD);
}

/* Called by h2o as it closes the socket. No request is left: they were disposed of before. */
static void on_close(void *data) {
  conn_t *conn = data;
  server_t *server = conn->server;
  uvf_guard_stop(&conn->guard);
  uvf_drain_conn_close(&conn->entry);
  h2o_linklist_unlink(&conn->link);
  uvf_ctx_cancel_cause(conn->ctx, UVF_CAUSE_CLIENT_LEFT, NULL);
  uvf_ctx_release(conn->ctx);
  conn->ctx = NULL;
  listener_has_place(server);
}

/* Called by libuv when the handle is closed. */
static void on_closed(uv_handle_t *handle) {
  conn_t *conn = container_of(handle, conn_t, tcp);
  free(conn->early);
  free(conn);
}

/* --- the beginning ------------------------------------------------------------------------------------------- */

/* Gives the connection its context, and itself to h2o. */
static int begin(conn_t *conn) {
  server_t *server = conn->server;
  int err = uvf_ctx_with_cancel(server->ctx, &conn->ctx);
  if (err) return err;
  err = uvf_guard_start_call(conn->ctx, &conn->guard, on_ctx_over);
  if (err) {
    uvf_ctx_release(conn->ctx);
    return err;
  }
  uvf_ctx_set_name(conn->ctx, "connection");
  uv_tcp_nodelay(&conn->tcp, 1);
  becomes_idle(conn);
  server->counters.accepted++;
  uvf_drain_conn_open(&server->drain, &conn->entry, conn->ctx);
  conn->sock = h2o_uv_socket_create((uv_stream_t *)&conn->tcp, on_closed);
  conn->sock->on_close.cb = on_close;
  conn->sock->on_close.data = conn;
  h2o_accept(&server->accept, conn->sock);
  return 0;
}

static conn_t *make(server_t *server) {
  conn_t *conn = calloc(1, sizeof(*conn));
  if (!conn) return NULL;
  conn->server = server;
  if (uv_tcp_init(server->h2o.loop, &conn->tcp) == 0) return conn;
  free(conn);
  return NULL;
}

int conn_accept(server_t *server) {
  conn_t *conn = make(server);
  if (!conn) return UV_ENOMEM;
  int err = uv_accept((uv_stream_t *)&server->listener.tcp, (uv_stream_t *)&conn->tcp);
  if (!err) err = begin(conn);
  if (err) uv_close(HANDLE(&conn->tcp), on_closed);
  return err;
}

void conn_accept_rest(server_t *server) {
  uv_os_fd_t listener;
  int fd;
  if (uv_fileno(HANDLE(&server->listener.tcp), &listener)) return;
  while (server->drain.connections < server->options.max_conns && (fd = accept(listener, NULL, NULL)) >= 0) {
    conn_t *conn = make(server);
    int err = conn ? uv_tcp_open(&conn->tcp, fd) : UV_ENOMEM;
    if (err) close(fd);
    if (!err) err = begin(conn);
    if (err && conn) uv_close(HANDLE(&conn->tcp), on_closed);
    if (err) server->counters.accept_errors++;
  }
}

/* --- requests ------------------------------------------------------------------------------------------------ */

void conn_request_begun(conn_t *conn, const h2o_req_t *req) {
  conn->is_http2 = req->version >= 0x200;
  conn->requests++;
  into_list(conn, &conn->server->busy);
}

void conn_request_answered(conn_t *conn) {
  conn_unwatch(conn);
  conn->idle_since_ms = uv_now(conn->tcp.loop);
}

/* Gives h2o what came while it was not reading. */
static void return_early(conn_t *conn) {
  h2o_iovec_t room = h2o_buffer_reserve(&conn->sock->input, conn->early_len);
  memcpy(room.base, conn->early, conn->early_len);
  conn->sock->input->size += conn->early_len;
  free(conn->early);
  conn->early = NULL;
  conn->early_len = 0;
}

void conn_request_over(conn_t *conn) {
  if (conn->early_len) return_early(conn);
  if (--conn->requests) return;
  becomes_idle(conn);
  if (uvf_ctx_err(conn->ctx) && !conn->hung_up) hang_up(conn, SHUT_RD);
}

/* --- clients that leave -------------------------------------------------------------------------------------- */

static void on_early_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(early_buffer, sizeof(early_buffer));
}

static void client_left(conn_t *conn) {
  request_t *request = conn->watched;
  conn_unwatch(conn);
  uvf_ctx_cancel_cause(request->ctx, UVF_CAUSE_CLIENT_LEFT, NULL); /* whose tasks end, and answer */
}

/* Called by libuv while a request of HTTP/1 is in flight. */
static void on_early_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf) {
  conn_t *conn = container_of(stream, conn_t, tcp);
  if (nread == 0) return;
  if (nread < 0) {
    client_left(conn);
    return;
  }
  char *more = realloc(conn->early, conn->early_len + (size_t)nread);
  if (!more) { /* bytes are lost: the requests that follow cannot be read any more */
    client_left(conn);
    hang_up(conn, SHUT_RDWR);
    return;
  }
  memcpy(more + conn->early_len, buf->base, (size_t)nread);
  conn->early = more;
  conn->early_len += (size_t)nread;
  if (conn->early_len >= EARLY_MAX) uv_read_stop(stream);
}

void conn_watch(conn_t *conn, request_t *request) {
  if (conn->is_http2 || conn->hung_up) return;
  if (uv_read_start((uv_stream_t *)&conn->tcp, on_early_alloc, on_early_read) == 0) conn->watched = request;
}

void conn_unwatch(conn_t *conn) {
  if (!conn->watched) return;
  uv_read_stop((uv_stream_t *)&conn->tcp);
  conn->watched = NULL;
}

/* A read that fails, on a connection that its client has reset, makes libuv refuse writes from then on: h2o does not
 * look at what uv_write returns, and would wait for its callback for ever. It is given here. */
void conn_settle_write(conn_t *conn) {
  h2o_socket_cb cb = conn->sock->_cb.write;
  if (uv_is_writable((uv_stream_t *)&conn->tcp) || !cb) return;
  conn->sock->_cb.write = NULL;
  cb(conn->sock, h2o_socket_error_io);
}

/* --- too many, too slow -------------------------------------------------------------------------------------- */

static conn_t *next_of(const h2o_linklist_t *at, const h2o_linklist_t *list) {
  return at->next == list ? NULL : container_of(at->next, conn_t, link);
}

static conn_t *find_idle(server_t *server, int with_bytes) {
  for (conn_t *conn = next_of(&server->idle, &server->idle); conn; conn = next_of(&conn->link, &server->idle))
    if (!conn->hung_up && (conn->sock->input->size > 0) == with_bytes) return conn;
  return NULL;
}

/* One that has sent a part of a request is the second choice. */
int conn_evict(server_t *server) {
  conn_t *conn = find_idle(server, 0);
  if (!conn) conn = find_idle(server, 1);
  if (!conn) return 0;
  hang_up_idle(conn);
  server->counters.evicted++;
  return 1;
}

void conn_close_all(server_t *server) {
  for (conn_t *conn = next_of(&server->idle, &server->idle); conn; conn = next_of(&conn->link, &server->idle))
    hang_up(conn, SHUT_RDWR);
  for (conn_t *conn = next_of(&server->busy, &server->busy); conn; conn = next_of(&conn->link, &server->busy))
    hang_up(conn, SHUT_RDWR);
}

/* The client has begun a request and does not come to its end. h2o writes nothing now: it waits for the rest. A frame
 * of HTTP/2 begins with its length, which is no letter: there is no answer to half of one. */
static void refuse_slow(conn_t *conn) {
  static const char ANSWER[] = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: text/plain\r\n"
                               "Content-Length: 40\r\n\r\nthe request was not complete in its time";
  uv_buf_t buf = uv_buf_init((char *)ANSWER, sizeof(ANSWER) - 1);
  char first = conn->sock->input->bytes[0];
  if (first >= 'A' && first <= 'Z') uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
  hang_up(conn, SHUT_RD);
  conn->server->counters.timed_out_request++;
}

static void look_at_idle(conn_t *conn, uint64_t now_ms) {
  const server_options_t *options = &conn->server->options;
  int is_asking = conn->sock->input->size != 0 && !h2o_socket_is_writing(conn->sock);
  if (!is_asking) conn->partly_since_ms = 0;
  if (is_asking && !conn->partly_since_ms) conn->partly_since_ms = now_ms;
  if (is_asking) {
    if (now_ms - conn->partly_since_ms >= options->request_ms) refuse_slow(conn);
  } else if (now_ms - conn->idle_since_ms >= options->idle_ms) {
    hang_up_idle(conn);
    conn->server->counters.timed_out_idle++;
  }
}

/* All is answered, but the client does not read. */
static void look_at_busy(conn_t *conn, uint64_t now_ms) {
  if (conn->entry.requests || now_ms - conn->idle_since_ms < conn->server->options.idle_ms) return;
  hang_up(conn, SHUT_RDWR);
  conn->server->counters.timed_out_answer++;
}

/* Called by uvflow every SWEEP_MS, and when the server's context ends. */
static void on_sweep(uvf_sleep_t *sleep, int status) {
  server_t *server = container_of(sleep, server_t, sweep);
  if (status) return;
  uint64_t now_ms = uv_now(server->h2o.loop);
  for (conn_t *conn = next_of(&server->idle, &server->idle); conn; conn = next_of(&conn->link, &server->idle))
    if (!conn->hung_up) look_at_idle(conn, now_ms);
  for (conn_t *conn = next_of(&server->busy, &server->busy); conn; conn = next_of(&conn->link, &server->busy))
    if (!conn->hung_up) look_at_busy(conn, now_ms);
  uvf_ctx_t *ctx = sleep->ctx;
  uvf_sleep_start(ctx, sleep, SWEEP_MS, on_sweep);
}

int conn_sweep_start(server_t *server, uvf_ctx_t *ctx) {
  return uvf_sleep_start(ctx, &server->sweep, SWEEP_MS, on_sweep);
}
