/* SPDX-License-Identifier: MIT
 *
 * An HTTP server: libh2o on a libuv loop, as a service of uvflow.
 *
 *   service          the context of all servers (group.h): over when one of them fails, or the program is told to end
 *     connection     one for each; its end hangs up (conn.c)
 *       request      one for each, with a deadline (request.c)
 *
 * The ledger of connections and requests, the limit of requests and the steps of the end are a uvf_drain_t.
 */
#ifndef GATEWAY_SERVER_H
#define GATEWAY_SERVER_H

#include "common.h"
#include "counters.h"

enum { METHOD_GET = 1, METHOD_POST = 2 };

/* What is done for a path. start answers (request_answer, request_fail), or begins something under request->ctx whose
 * end does. */
typedef struct route_s {
  const char *path; /* NULL ends the table */
  int methods;
  void (*start)(request_t *request);
} route_t;

typedef struct server_options_s {
  const char *name; /* of its context, in dumps */
  const char *host;
  int port; /* 0: any */
  const route_t *routes;
  size_t max_conns;
  size_t max_requests; /* in flight; 0: no limit */
  size_t max_body;
  uint64_t max_ms;     /* of a request, whatever its client would grant */
  uint64_t margin_ms;  /* taken off every deadline */
  uint64_t request_ms; /* from the first byte of a request to its last */
  uint64_t idle_ms;    /* of a connection without a request */
  uint64_t not_ready_ms, lame_duck_ms, grace_ms;
  void (*on_listening)(server_t *server);                   /* may be NULL */
  void (*on_step)(server_t *server, uvf_drain_step_t step); /* may be NULL */
  void (*on_drained)(server_t *server);                     /* may be NULL */
  void (*on_answer)(server_t *server, uint64_t began_ns);   /* may be NULL */
} server_options_t;

/* Of listener.c. */
typedef struct listener_s {
  int open;    /* until listener_close */
  int pending; /* a connection waits for a place */
  uv_tcp_t tcp;
  uvf_guard_t guard;
  uvf_sleep_t pause;
} listener_t;

struct server_s {
  gateway_t *gateway;
  server_options_t options;
  counters_t counters;
  uvf_drain_t drain;
  int port;       /* that is bound */
  uvf_ctx_t *ctx; /* under the service's */
  /* of server.c */
  uvf_service_t *service;
  uvf_ctx_t *root;
  uvf_watch_t watch;
  listener_t listener;
  int parts; /* that have not ended: the listener, the drain */
  int err;
  h2o_globalconf_t config;
  h2o_context_t h2o;
  h2o_accept_ctx_t accept;
  /* of conn.c */
  h2o_linklist_t idle; /* the one that has been so longest is first */
  h2o_linklist_t busy;
  uvf_sleep_t sweep;
};

/* Sets h2o up. In every case server_free follows, when the loop has run to its end. */
void server_init(server_t *server, gateway_t *gateway, uvf_ctx_t *root, const server_options_t *options);
void server_free(server_t *server);

/* The start function of its service, whose data is the server. It runs until it has been drained: by server_drain, or
 * because the service's context is over. */
int server_start(uvf_service_t *service);

/* Begins to drain; once it does, nothing. */
void server_drain(server_t *server);

/* One of the two parts of it has ended: the listener, the drain. */
void server_part_ended(server_t *server);

#endif
