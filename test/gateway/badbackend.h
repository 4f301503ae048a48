/* SPDX-License-Identifier: MIT
 *
 * A backend that is worse than test/demos/server.h, which hangs, cuts and talks garbage already. By its paths:
 *
 *   /reset    a head that promises more than comes, then RST
 *   /drip     the same, then one byte every drip_ms
 *   /endless  an answer without a length that never ends, as fast as it is taken
 *   /deaf     takes the connection, reads nothing, answers nothing
 *   /fail     500, at once
 *   others    200, at once
 */
#ifndef UVFLOW_TEST_GATEWAY_BADBACKEND_H
#define UVFLOW_TEST_GATEWAY_BADBACKEND_H

#include "demos/child.h"

typedef struct badbackend_s {
  uint64_t drip_ms; /* in: 1000 is a byte a second */
  /* read-only */
  int port;
  size_t requests;
  size_t open;     /* connections now, but for deaf ones, which do not see their end */
  char head[8192]; /* of the last request */
  /* private */
  uv_tcp_t listener;
  struct bad_conn_s *conns;
} badbackend_t;

/* Listens on 127.0.0.1; port 0: any. */
void badbackend_start(badbackend_t *backend, uv_loop_t *loop, int port);

/* Closes everything; run the loop afterwards. */
void badbackend_stop(badbackend_t *backend);

#endif
