/* SPDX-License-Identifier: MIT
 *
 * One connection of a client of HTTP/1.1, as plain as can be: its wire sends the bytes it is given, and what comes back
 * is taken apart into answers. What the requests were it does not know: hostile ones are sent with it too.
 */
#ifndef UVFLOW_TEST_GATEWAY_CLIENT_H
#define UVFLOW_TEST_GATEWAY_CLIENT_H

#include "wire.h"

typedef struct client_s client_t;

/* Valid inside on_answer. */
typedef struct answer_s {
  int status;       /* -1: that was not HTTP */
  const char *head; /* terminated */
  const char *body; /* terminated; chunks already joined */
  size_t len;
  int last; /* the server says that it closes the connection after it */
} answer_t;

struct client_s {
  /* in, before client_open; each may be NULL */
  void (*on_open)(client_t *client); /* connected */
  void (*on_answer)(client_t *client, const answer_t *answer);
  void (*on_end)(client_t *client, int err); /* the last call, always: memory is the caller's again */
  void *data;
  /* read-only; on wire_send, wire_print, wire_close and wire_reset may be called */
  wire_t wire;
  size_t answers;      /* whole ones */
  size_t answer_bytes; /* of one that is not whole yet */
};

/* Connects to the loopback interface. What fails is told by on_end. */
void client_open(client_t *client, uv_loop_t *loop, int port);

/* The value of a header of an answer, copied and cut to size; NULL if it is not there. */
const char *head_value(const char *head, const char *name, char *value, size_t size);

/* --- one exchange --------------------------------------------------------------------------------------------- */

typedef struct exchange_s {
  int status; /* of HTTP; 0: no answer */
  int err;    /* why there was none: UV_ETIMEDOUT, UV_EOF ...; 0 with an answer */
  uint64_t took_ns;
  char head[1024]; /* cut to that */
  text_t body;
} exchange_t;

/* Opens a connection, sends one request, runs the loop (all of it) until the answer has come, and closes. */
void exchange(exchange_t *x, uv_loop_t *loop, int port, const char *request, uint64_t limit_ms);

/* The same with "GET path", and headers that are whole lines ("" for none). Returns the status or 0. */
int get(exchange_t *x, uv_loop_t *loop, int port, const char *path, const char *headers);

void exchange_free(exchange_t *x);

#endif
