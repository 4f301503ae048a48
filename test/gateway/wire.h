/* SPDX-License-Identifier: MIT
 *
 * A connection of a client: bytes out, bytes in, and one end. What they mean is client.h's and h2.h's, or nobody's.
 */
#ifndef UVFLOW_TEST_GATEWAY_WIRE_H
#define UVFLOW_TEST_GATEWAY_WIRE_H

#include "demos/child.h"

typedef struct wire_s wire_t;

struct wire_s {
  /* in, before wire_open; each may be NULL */
  void (*on_open)(wire_t *wire); /* connected */
  void (*on_data)(wire_t *wire,
                  int at_end);           /* more is in wire->in, from which wire_took takes; at_end: no more comes */
  void (*on_end)(wire_t *wire, int err); /* the last call, always: memory is the caller's again */
  void *data;
  /* read-only */
  int is_open;
  int was_open; /* once connected, also after its end */
  int err;      /* why it ended: UV_EOF, an error, UV_ECANCELED: closed here */
  text_t in;    /* what came and was not taken */
  /* private */
  uv_tcp_t tcp;
  uv_connect_t connect;
};

/* Connects to the loopback interface. What fails is told by on_end. */
void wire_open(wire_t *wire, uv_loop_t *loop, int port);

/* Copies the bytes and sends them; nothing happens if the connection has ended. */
void wire_send(wire_t *wire, const char *data, size_t len);
void wire_print(wire_t *wire, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Takes bytes from the beginning of wire->in. */
void wire_took(wire_t *wire, size_t len);

/* Twice does no harm. reset: throws away what is under way and sends RST. */
void wire_close(wire_t *wire);
void wire_reset(wire_t *wire);

/* Reads no more: a client that does not listen. */
void wire_pause(wire_t *wire);

#endif
