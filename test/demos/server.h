/* SPDX-License-Identifier: MIT
 *
 * A small HTTP server on the test's own loop, which does what its paths say:
 *
 *   /fast     200 at once                     /fail     500 at once
 *   /hang     never answers                   /half     a head that promises more than comes, then nothing
 *   /flaky    the first request hangs,        /cut      the same, then the connection is closed
 *             later ones are answered         /garbage  what is not HTTP
 */
#ifndef UVFLOW_TEST_SERVER_H
#define UVFLOW_TEST_SERVER_H

#include <uv.h>

typedef struct server_s server_t;

struct server_s {
  uv_tcp_t listener;
  int port;
  /* counted */
  size_t requests;
  size_t hanging;              /* that were left without an answer */
  size_t abandoned;            /* of those, given up by the client */
  uint64_t first_abandoned_ns; /* when the first of them was */
  /* called for each request that is left hanging; may be NULL */
  void (*on_hang)(server_t *server);
  void *data;
  /* private */
  struct server_conn_s *conns;
};

void server_start(server_t *server, uv_loop_t *loop);

/* Closes everything; run the loop afterwards. */
void server_stop(server_t *server);

#endif
