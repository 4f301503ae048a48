/* SPDX-License-Identifier: MIT
 *
 * 1. An answer is taken from the wire when it is whole; at the end of the connection also one that has no other end.
 * 2. on_answer may close the wire, and send on it.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifndef _WIN32
#include <strings.h>
#endif

enum { REQUEST_MOST = 2048 };

/* --- answers -------------------------------------------------------------------------------------------------- */

/* Finds a header's value in a head; NULL if it is not there. */
static const char *find_header(const char *head, const char *name) {
  size_t len = strlen(name);
  for (const char *line = strstr(head, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n")) {
    if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':')
      return line + 3 + len + strspn(line + 3 + len, " ");
  }
  return NULL;
}

const char *head_value(const char *head, const char *name, char *value, size_t size) {
  const char *at = find_header(head, name);
  if (!at) return NULL;
  snprintf(value, size, "%.*s", (int)strcspn(at, "\r\n"), at);
  return value;
}

/* Joins chunks in place. Returns the bytes of the body as sent, 0 if there is more to come; *len: those joined. */
static size_t join_chunks(char *body, size_t have, size_t *len) {
  size_t at = 0;
  *len = 0;
  /* Two passes: bytes must stay as they were until all have come. */
  for (int pass = 0; pass < 2; pass++) {
    at = 0;
    for (;;) {
      char *line_end = memchr(body + at, '\n', have - at);
      if (!line_end) return 0;
      size_t size = strtoul(body + at, NULL, 16);
      size_t data = (size_t)(line_end + 1 - body);
      if (have - data < size + 2) return 0;
      if (pass && size) {
        memmove(body + *len, body + data, size);
        *len += size;
      }
      at = data + size + 2;
      if (!size) break;
    }
  }
  return at;
}

/* One answer at the beginning of what has come in. Returns its bytes, 0 if it is not whole; at_end: no more comes. */
static size_t take_answer(const text_t *text, int at_end, answer_t *answer) {
  char *in = text->at;
  char *head_end = strstr(in, "\r\n\r\n");
  if (!head_end) return 0;
  head_end[2] = '\0'; /* the head ends with its last line's end */
  size_t head_len = (size_t)(head_end + 4 - in), have = text->len - head_len, took = 0;
  const char *length = find_header(in, "content-length"), *coding = find_header(in, "transfer-encoding");
  const char *connection = find_header(in, "connection");
  answer->status = strncmp(in, "HTTP/1.", 7) == 0 ? atoi(in + 9) : -1;
  answer->head = in;
  answer->body = in + head_len;
  answer->last = connection && strncasecmp(connection, "close", 5) == 0;
  answer->len = 0;
  if (answer->status / 100 == 1 || answer->status == 204 || answer->status == 304) return head_len;
  if (coding && strncasecmp(coding, "chunked", 7) == 0) {
    took = join_chunks(in + head_len, have, &answer->len);
  } else if (length) {
    answer->len = strtoul(length, NULL, 10);
    took = have >= answer->len ? answer->len : 0;
    if (took == 0 && answer->len == 0) return head_len;
  } else if (at_end) { /* its length is the connection's */
    answer->len = have;
    return text->len;
  }
  if (took == 0) {
    head_end[2] = '\r';
    return 0;
  }
  return head_len + took;
}

/* --- the wire ------------------------------------------------------------------------------------------------- */

static void on_data(wire_t *wire, int at_end) {
  client_t *client = container_of(wire, client_t, wire);
  answer_t answer;
  size_t len;
  while (wire->in.len && (len = take_answer(&wire->in, at_end, &answer)) > 0) {
    char *after = wire->in.at + (answer.body - wire->in.at) + answer.len, kept = *after;
    *after = '\0';
    client->answers++;
    client->answer_bytes = 0;
    if (client->on_answer && answer.status / 100 != 1) client->on_answer(client, &answer);
    *after = kept;
    if (!wire->is_open) return;
    wire_took(wire, len);
  }
  client->answer_bytes = wire->in.len;
}

static void on_wire_open(wire_t *wire) {
  client_t *client = container_of(wire, client_t, wire);
  if (client->on_open) client->on_open(client);
}

static void on_wire_end(wire_t *wire, int err) {
  client_t *client = container_of(wire, client_t, wire);
  if (client->on_end) client->on_end(client, err);
}

void client_open(client_t *client, uv_loop_t *loop, int port) {
  client->answers = 0;
  client->answer_bytes = 0;
  client->wire.on_open = on_wire_open;
  client->wire.on_data = on_data;
  client->wire.on_end = on_wire_end;
  wire_open(&client->wire, loop, port);
}

/* --- one exchange --------------------------------------------------------------------------------------------- */

typedef struct asking_s {
  client_t client;
  uv_timer_t timer;
  exchange_t *x;
  const char *request;
  int open; /* handles */
} asking_t;

static void on_asking_open(client_t *client) {
  asking_t *asking = client->data;
  wire_send(&client->wire, asking->request, strlen(asking->request));
}

static void on_asking_answer(client_t *client, const answer_t *answer) {
  asking_t *asking = client->data;
  exchange_t *x = asking->x;
  x->status = answer->status;
  snprintf(x->head, sizeof(x->head), "%s", answer->head);
  text_add(&x->body, answer->body, answer->len);
  wire_close(&client->wire);
}

static void on_asking_timer_closed(uv_handle_t *handle) {
  asking_t *asking = handle->data;
  asking->open--;
}

static void on_asking_end(client_t *client, int err) {
  asking_t *asking = client->data;
  if (!asking->x->status && !asking->x->err) asking->x->err = err;
  asking->open--;
  uv_close((uv_handle_t *)&asking->timer, on_asking_timer_closed);
}

static void on_asking_late(uv_timer_t *timer) {
  asking_t *asking = timer->data;
  asking->x->err = UV_ETIMEDOUT;
  wire_close(&asking->client.wire);
}

void exchange(exchange_t *x, uv_loop_t *loop, int port, const char *request, uint64_t limit_ms) {
  asking_t asking;
  memset(&asking, 0, sizeof(asking));
  memset(x, 0, sizeof(*x));
  asking.x = x;
  asking.request = request;
  asking.open = 2;
  asking.timer.data = &asking;
  asking.client.data = &asking;
  asking.client.on_open = on_asking_open;
  asking.client.on_answer = on_asking_answer;
  asking.client.on_end = on_asking_end;
  uint64_t from = uv_hrtime();
  if (uv_timer_init(loop, &asking.timer)) abort();
  uv_update_time(loop);
  uv_timer_start(&asking.timer, on_asking_late, limit_ms, 0);
  client_open(&asking.client, loop, port);
  while (asking.open) uv_run(loop, UV_RUN_ONCE);
  x->took_ns = uv_hrtime() - from;
}

int get(exchange_t *x, uv_loop_t *loop, int port, const char *path, const char *headers) {
  char request[REQUEST_MOST];
  snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: gateway\r\n%s\r\n", path, headers);
  exchange(x, loop, port, request, 20000);
  return x->status;
}

void exchange_free(exchange_t *x) { text_free(&x->body); }
