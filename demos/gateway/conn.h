/* SPDX-License-Identifier: MIT
 *
 * A connection of a client. libh2o owns the socket and closes it; this is what goes along with it.
 */
#ifndef GATEWAY_CONN_H
#define GATEWAY_CONN_H

#include "server.h"

struct conn_s {
  server_t *server;
  uvf_ctx_t *ctx;
  uvf_drain_conn_t entry; /* entry.requests: how many are being worked on */
  /* of conn.c */
  uv_tcp_t tcp;
  uvf_guard_t guard;
  h2o_socket_t *sock;
  h2o_linklist_t link;      /* in server->idle or server->busy */
  size_t requests;          /* that h2o has, answers that are not sent included */
  uint64_t idle_since_ms;   /* on uv_now's clock; busy: since when nobody works, but an answer is not sent */
  uint64_t partly_since_ms; /* since when a part of a request is here; 0: there is none */
  int hung_up;              /* we read no more from it */
  int is_http2;
  request_t *watched; /* the request of HTTP/1 whose client is watched */
  char *early;        /* bytes that came meanwhile: of the next requests */
  size_t early_len;
};

/* Takes the connection that libuv has for the listener. 0, or UV_E*: it was closed. */
int conn_accept(server_t *server);

/* Takes those that the system has for the listener, which is about to be closed: their clients know them as open and
 * may have sent a request, and closing a listener resets what nobody has accepted. */
void conn_accept_rest(server_t *server);

/* The connection that a request came on. */
conn_t *conn_of(h2o_req_t *req);

/* A request begins, is answered, and its answer has been sent. */
void conn_request_begun(conn_t *conn, const h2o_req_t *req);
void conn_request_answered(conn_t *conn);
void conn_request_over(conn_t *conn);

/* h2o does not read from an HTTP/1 connection while one of its requests is in flight, so it would not notice that the
 * client leaves. From watch to unwatch we do, and cancel the request's context then. Of HTTP/2: nothing to do. */
void conn_watch(conn_t *conn, request_t *request);
void conn_unwatch(conn_t *conn);

/* After an answer was given to h2o: it may close the connection and dispose of the request inside. */
void conn_settle_write(conn_t *conn);

/* Hangs up on the connection that has been idle longest. 0: there is none. */
int conn_evict(server_t *server);

/* Hangs up on all, also on those that are in the middle of an answer. */
void conn_close_all(server_t *server);

/* Looks again and again, until the context ends, for connections that are idle beyond their time, or slow to ask or to
 * listen. */
int conn_sweep_start(server_t *server, uvf_ctx_t *ctx);

#endif
