/* SPDX-License-Identifier: MIT
 *
 * 1. on_end is called once, from the close callback: nothing of libuv's holds the wire after it.
 * 2. Every callback may send and close.
 */
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IN_MOST = 64 * 1024 * 1024, PRINT_MOST = 4096 };

typedef struct send_s {
  uv_write_t write;
  char data[];
} send_t;

/* --- closing -------------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle) {
  wire_t *wire = container_of(handle, wire_t, tcp);
  text_free(&wire->in);
  if (wire->on_end) wire->on_end(wire, wire->err);
}

/* Returns 1 if it was the first to end it. */
static int ends(wire_t *wire, int err) {
  if (uv_is_closing((uv_handle_t *)&wire->tcp)) return 0;
  wire->err = err;
  wire->is_open = 0;
  return 1;
}

static void end(wire_t *wire, int err) {
  if (ends(wire, err)) uv_close((uv_handle_t *)&wire->tcp, on_closed);
}

void wire_close(wire_t *wire) { end(wire, UV_ECANCELED); }

void wire_reset(wire_t *wire) {
  if (ends(wire, UV_ECANCELED) && uv_tcp_close_reset(&wire->tcp, on_closed))
    uv_close((uv_handle_t *)&wire->tcp, on_closed); /* not connected yet: there is nothing to reset */
}

/* --- reading -------------------------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  static char memory[65536]; /* copied from in on_read, before the next one is asked for */
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(memory, sizeof(memory));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  wire_t *wire = container_of(stream, wire_t, tcp);
  if (n == 0) return;
  if (n > 0) text_add(&wire->in, buf->base, (size_t)n);
  if (wire->on_data) wire->on_data(wire, n < 0);
  if (n < 0)
    end(wire, (int)n);
  else if (wire->in.len > IN_MOST)
    end(wire, UV_EMSGSIZE);
}

void wire_took(wire_t *wire, size_t len) {
  if (!len) return;
  memmove(wire->in.at, wire->in.at + len, wire->in.len - len + 1); /* and the NUL */
  wire->in.len -= len;
}

void wire_pause(wire_t *wire) {
  if (wire->is_open) uv_read_stop((uv_stream_t *)&wire->tcp);
}

/* --- opening and writing -------------------------------------------------------------------------------------- */

static void on_connected(uv_connect_t *connect, int status) {
  wire_t *wire = container_of(connect, wire_t, connect);
  if (uv_is_closing((uv_handle_t *)&wire->tcp)) return;
  if (!status) status = uv_read_start((uv_stream_t *)&wire->tcp, on_alloc, on_read);
  if (status) {
    end(wire, status);
    return;
  }
  uv_tcp_nodelay(&wire->tcp, 1); /* a request in two writes is not to wait for the other kernel's patience */
  wire->is_open = wire->was_open = 1;
  if (wire->on_open) wire->on_open(wire);
}

void wire_open(wire_t *wire, uv_loop_t *loop, int port) {
  struct sockaddr_in address;
  wire->is_open = wire->was_open = 0;
  wire->err = 0;
  memset(&wire->in, 0, sizeof(wire->in));
  if (uv_ip4_addr("127.0.0.1", port, &address) || uv_tcp_init(loop, &wire->tcp)) abort();
  int err = uv_tcp_connect(&wire->connect, &wire->tcp, (const struct sockaddr *)&address, on_connected);
  if (err) end(wire, err);
}

static void on_sent(uv_write_t *write, int status) {
  (void)status; /* the read that fails with it tells */
  free(container_of(write, send_t, write));
}

void wire_send(wire_t *wire, const char *data, size_t len) {
  if (!wire->is_open) return;
  send_t *send = malloc(sizeof(*send) + len);
  if (!send) abort();
  memcpy(send->data, data, len);
  uv_buf_t buf = uv_buf_init(send->data, (unsigned int)len);
  int err = uv_write(&send->write, (uv_stream_t *)&wire->tcp, &buf, 1, on_sent);
  if (!err) return;
  free(send);
  end(wire, err);
}

void wire_print(wire_t *wire, const char *format, ...) {
  char text[PRINT_MOST];
  va_list args;
  va_start(args, format);
  int len = vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  if (len < 0 || (size_t)len >= sizeof(text)) abort();
  wire_send(wire, text, (size_t)len);
}
