/* SPDX-License-Identifier: MIT
 *
 * Load that numbers its requests: many connections that are kept alive, one request at a time on each, and an account
 * of every one of them.
 *
 * A request that was sent ends in one of these ways:
 *
 *   answered  a whole answer came
 *   cut       the connection ended in the middle of its answer: lost
 *   crossed   the connection ended before a byte of its answer. Either the server closed the idle connection while the
 *             request was under way to it, which HTTP/1.1 cannot tell apart, and never saw it; or it took the request
 *             and lost it. Which one the server's own count says: a request that it began is seen answered by this
 *             client, if this is the only one, or was lost.
 *
 * So: sent = answered + cut + crossed, and lost = cut + (begun at the server - answered - cut).
 */
#ifndef UVFLOW_TEST_GATEWAY_LOAD_H
#define UVFLOW_TEST_GATEWAY_LOAD_H

#include "client.h"
#include "table.h"

/* What is asked, in turn: one of the mix after the other. The number is in every request, as id=N and X-Request-Id; and
 * where the gateway's answer shows what it was asked, in the answer: '#' in the path stands for from + N % span, or a
 * body of so many bytes is sent, and an answer of 200 must show that. */
typedef struct ask_s {
  const char *name;
  const char *path;
  const char *headers; /* whole lines; "" for none */
  int status;          /* that the answer should have */
  size_t from, span;   /* span 0: the answer doesn't show it */
  int sends_body;
} ask_t;

enum { LOAD_MIX_MOST = 16 };

typedef struct load_s {
  /* in */
  int port;
  size_t connections;
  size_t most;     /* requests; 0: until load_stop */
  const char *mix; /* names, by comma: those of ASKS in load.c */
  int may_refuse;  /* 503 is an answer as good as others: the server drains, or sheds */
  /* counted */
  size_t sent, answered, cut, crossed;
  size_t refused; /* connections, before anything was sent */
  size_t by_status[STATUSES_MOST];
  size_t wrong_status; /* another one than it should be; the first is in `wrong` */
  size_t wrong_number; /* answers that are another request's, or come when nothing was asked */
  char wrong[256];
  uint64_t slowest_ns;
  int open; /* connections and the timer; 0: it is over */
  /* private */
  uv_loop_t *loop;
  uv_timer_t timer;
  struct load_conn_s *conns;
  const ask_t *asks[LOAD_MIX_MOST];
  size_t n_asks;
  int stopping;
} load_t;

/* Runs by the loop; connections that end are opened anew until it stops. Returns 0 if a name of the mix is none. */
int load_start(load_t *load, uv_loop_t *loop);

/* Asks no more, and waits for what is under way: until load->open is 0. It stops by itself after `most` requests. */
void load_stop(load_t *load);

/* Those the server has lost, if it began that many and had no other client. */
size_t load_lost(const load_t *load, size_t begun);

void load_free(load_t *load);

#endif
