/* SPDX-License-Identifier: MIT
 *
 * One connection of a client of HTTP/2 without TLS (prior knowledge): enough of RFC 9113 and of HPACK to ask, to be
 * answered, to reset, and to misbehave.
 */
#ifndef UVFLOW_TEST_GATEWAY_H2_H
#define UVFLOW_TEST_GATEWAY_H2_H

#include "wire.h"

enum { H2_CANCEL = 8 }; /* the code of RST_STREAM */

typedef struct h2_s h2_t;

struct h2_s {
  /* in, before h2_open; each may be NULL */
  void (*on_open)(h2_t *h2); /* connected, and preface and settings sent */
  /* The stream is over: status and the bytes of its body, or status 0 and why: UV_ECONNRESET (RST_STREAM),
   * UV_ECONNREFUSED (GOAWAY says that it was not looked at), or what ended the connection is on_end's to say. */
  void (*on_stream)(h2_t *h2, int stream, int status, size_t body_len, int err);
  void (*on_end)(h2_t *h2, int err); /* the last call, always */
  void *data;
  int bare; /* send neither preface nor settings: that is up to wire_send */
  /* read-only; on wire_send and wire_close may be called */
  wire_t wire;
  int goaway;      /* seen; streams above goaway_last were not looked at */
  int goaway_last; /* the last stream that the server took */
  int next_stream;
  size_t asked, answered, refused; /* streams; refused: reset or not looked at */
  /* private */
  struct h2_stream_s *streams;
  size_t n_streams, room;
};

void h2_open(h2_t *h2, uv_loop_t *loop, int port);

/* GET path, with headers: "name: value\r\n" lines, lower case, "" for none. Returns the stream, or 0. */
int h2_get(h2_t *h2, const char *path, const char *headers);

/* The same with a body announced that is never sent. */
int h2_post_without_body(h2_t *h2, const char *path);

/* RST_STREAM of CANCEL; on_stream is not called for it any more. */
void h2_reset_stream(h2_t *h2, int stream);

#endif
