/* SPDX-License-Identifier: MIT
 *
 * 1. A stream is in h2->streams from its asking until it is answered, reset, or the connection ends; on_stream is
 *    called when it leaves by the first two.
 * 2. The server's HPACK table is kept empty by our settings: every header block stands for itself.
 */
#include "h2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  FRAME_HEAD = 9,
  DATA = 0,
  HEADERS = 1,
  RST_STREAM = 3,
  SETTINGS = 4,
  PING = 6,
  GOAWAY = 7,
  WINDOW_UPDATE = 8,
  END_STREAM = 1, /* flags */
  ACK = 1,
  END_HEADERS = 4,
  PADDED = 8,
  PRIORITY = 0x20,
  BLOCK_MOST = 4096
};

typedef struct h2_stream_s {
  int id;
  int status;
  size_t body_len;
} h2_stream_t;

/* The preface; settings: no table, no push, a window of 2^30 for each stream; the same for the connection. */
static const char H2_HELLO[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                               "\0\0\x12\x04\0\0\0\0\0\0\x01\0\0\0\0\0\x02\0\0\0\0\0\x04\x40\0\0\0"
                               "\0\0\x04\x08\0\0\0\0\0\x3f\0\0\0";

/* --- frames ---------------------------------------------------------------------------------------------------- */

static void put_32(char *at, uint32_t n) {
  for (int i = 0; i < 4; i++) at[i] = (char)(n >> (24 - 8 * i));
}

static uint32_t get_32(const char *at) {
  uint32_t n = 0;
  for (int i = 0; i < 4; i++) n = n << 8 | (unsigned char)at[i];
  return n;
}

static void send_frame(h2_t *h2, int type, int flags, int stream, const char *payload, size_t len) {
  char frame[FRAME_HEAD + BLOCK_MOST];
  put_32(frame, (uint32_t)len << 8);
  frame[3] = (char)type;
  frame[4] = (char)flags;
  put_32(frame + 5, (uint32_t)stream);
  if (len) memcpy(frame + FRAME_HEAD, payload, len);
  wire_send(&h2->wire, frame, FRAME_HEAD + len);
}

/* --- asking --------------------------------------------------------------------------------------------------- */

/* A string of HPACK, without Huffman's code. */
static size_t put_string(char *at, const char *text, size_t len) {
  size_t n = 0;
  if (len < 127) {
    at[n++] = (char)len;
  } else {
    at[n++] = 127;
    size_t rest = len - 127;
    for (; rest >= 128; rest >>= 7) at[n++] = (char)(rest | 128);
    at[n++] = (char)rest;
  }
  memcpy(at + n, text, len);
  return n + len;
}

static size_t put_block(char *block, int method, const char *path, const char *headers) {
  size_t n = 0;
  if (strlen(path) + strlen(headers) > BLOCK_MOST - 256) abort();
  block[n++] = (char)method;
  block[n++] = (char)0x86; /* :scheme http */
  block[n++] = 0x04;       /* :path, literal */
  n += put_string(block + n, path, strlen(path));
  block[n++] = 0x01; /* :authority */
  n += put_string(block + n, "gateway", 7);
  for (const char *line = headers; *line;) {
    size_t len = strcspn(line, "\r\n"), name = strcspn(line, ":");
    const char *value = line + name + 1 + strspn(line + name + 1, " ");
    block[n++] = 0;
    n += put_string(block + n, line, name);
    n += put_string(block + n, value, (size_t)(line + len - value));
    line += len + strspn(line + len, "\r\n");
  }
  return n;
}

static int ask(h2_t *h2, int method, int flags, const char *path, const char *headers) {
  char block[BLOCK_MOST];
  if (!h2->wire.is_open || h2->goaway) return 0;
  if (h2->n_streams == h2->room) {
    h2->room = h2->room ? h2->room * 2 : 16;
    h2->streams = realloc(h2->streams, h2->room * sizeof(*h2->streams));
    if (!h2->streams) abort();
  }
  h2_stream_t *stream = &h2->streams[h2->n_streams++];
  memset(stream, 0, sizeof(*stream));
  int id = stream->id = h2->next_stream;
  h2->next_stream += 2;
  h2->asked++;
  send_frame(h2, HEADERS, flags, id, block, put_block(block, method, path, headers));
  return id;
}

int h2_get(h2_t *h2, const char *path, const char *headers) {
  return ask(h2, 0x82, END_HEADERS | END_STREAM, path, headers);
}

int h2_post_without_body(h2_t *h2, const char *path) {
  return ask(h2, 0x83, END_HEADERS, path, "content-length: 1000\r\n");
}

static h2_stream_t *find_stream(h2_t *h2, int id) {
  for (size_t i = 0; i < h2->n_streams; i++)
    if (h2->streams[i].id == id) return &h2->streams[i];
  return NULL;
}

static void drop_stream(h2_t *h2, h2_stream_t *stream) { *stream = h2->streams[--h2->n_streams]; }

void h2_reset_stream(h2_t *h2, int id) {
  char code[4];
  put_32(code, H2_CANCEL);
  h2_stream_t *stream = find_stream(h2, id);
  if (stream) drop_stream(h2, stream);
  send_frame(h2, RST_STREAM, 0, id, code, sizeof(code));
}

/* --- answers -------------------------------------------------------------------------------------------------- */

/* Three digits in Huffman's code of HPACK: 0 to 2 are 00000 to 00010, 3 to 9 are 011001 to 011111. */
static int huffman_status(const unsigned char *at, size_t len) {
  uint32_t bits = 0;
  int status = 0, left = (int)len * 8;
  for (size_t i = 0; i < len; i++) bits |= (uint32_t)at[i] << (24 - 8 * i);
  for (int i = 0; i < 3 && left >= 5; i++) {
    uint32_t five = bits >> 27, six = bits >> 26;
    int is_short = five <= 2;
    if (!is_short && (six < 25 || six > 31)) return -1;
    status = status * 10 + (is_short ? (int)five : (int)six - 22);
    bits <<= is_short ? 5 : 6;
    left -= is_short ? 5 : 6;
  }
  return status;
}

/* The status, which every block of an answer begins with (a change of the table's size may stand before it); -1: it
 * doesn't. */
static int block_status(const char *block, size_t len) {
  static const int INDEXED[] = {200, 204, 206, 304, 400, 404, 500};
  const unsigned char *at = (const unsigned char *)block, *block_end = at + len;
  while (at < block_end && (*at & 0xe0) == 0x20) {
    int more = (*at++ & 0x1f) == 0x1f;
    while (more && at < block_end) more = *at++ & 0x80;
  }
  if (at >= block_end) return -1;
  if (*at >= 0x88 && *at <= 0x8e) return INDEXED[*at - 0x88];
  int name = *at & ((*at & 0x40) ? 0x3f : 0x0f);
  if (name < 8 || name > 14 || block_end - at < 2) return -1;
  size_t text_len = at[1] & 0x7f;
  if ((size_t)(block_end - at) < 2 + text_len || text_len > 4) return -1;
  if (at[1] & 0x80) return huffman_status(at + 2, text_len);
  return text_len == 3 ? (at[2] - '0') * 100 + (at[3] - '0') * 10 + (at[4] - '0') : -1;
}

static void end_stream(h2_t *h2, h2_stream_t *stream, int err) {
  h2_stream_t copy = *stream;
  drop_stream(h2, stream);
  if (err)
    h2->refused++;
  else
    h2->answered++;
  if (h2->on_stream) h2->on_stream(h2, copy.id, err ? 0 : copy.status, copy.body_len, err);
}

static void on_goaway(h2_t *h2, const char *payload, size_t len) {
  if (len < 8) return;
  h2->goaway = 1;
  h2->goaway_last = (int)(get_32(payload) & 0x7fffffff);
  for (size_t i = h2->n_streams; i-- > 0;)
    if (i < h2->n_streams && h2->streams[i].id > h2->goaway_last) end_stream(h2, &h2->streams[i], UV_ECONNREFUSED);
}

static void on_frame(h2_t *h2, int type, int flags, int id, const char *payload, size_t len) {
  h2_stream_t *stream = find_stream(h2, id);
  if (type == SETTINGS && !(flags & ACK)) send_frame(h2, SETTINGS, ACK, 0, NULL, 0);
  if (type == PING && !(flags & ACK)) send_frame(h2, PING, ACK, 0, payload, len);
  if (type == GOAWAY) on_goaway(h2, payload, len);
  if (!stream) return;
  if (type == RST_STREAM) end_stream(h2, stream, UV_ECONNRESET);
  if (type != DATA && type != HEADERS) return;
  size_t skip = type == HEADERS && (flags & PRIORITY) ? 5 : 0;
  if (flags & PADDED) skip++;
  size_t pad = (flags & PADDED) && len ? (unsigned char)payload[0] : 0;
  if (skip + pad > len) return;
  if (type == DATA)
    stream->body_len += len - skip - pad;
  else if (!stream->status) /* later blocks are trailers */
    stream->status = block_status(payload + skip, len - skip - pad);
  if (flags & END_STREAM) end_stream(h2, stream, 0);
}

/* --- the wire ------------------------------------------------------------------------------------------------- */

static void on_data(wire_t *wire, int at_end) {
  h2_t *h2 = container_of(wire, h2_t, wire);
  size_t at = 0;
  (void)at_end;
  while (wire->is_open && wire->in.len - at >= FRAME_HEAD) {
    const char *frame = wire->in.at + at;
    size_t len = get_32(frame) >> 8;
    if (wire->in.len - at < FRAME_HEAD + len) break;
    on_frame(h2, frame[3], frame[4], (int)(get_32(frame + 5) & 0x7fffffff), frame + FRAME_HEAD, len);
    at += FRAME_HEAD + len;
  }
  wire_took(wire, at);
}

static void on_open(wire_t *wire) {
  h2_t *h2 = container_of(wire, h2_t, wire);
  if (!h2->bare) wire_send(wire, H2_HELLO, sizeof(H2_HELLO) - 1);
  if (h2->on_open) h2->on_open(h2);
}

static void on_end(wire_t *wire, int err) {
  h2_t *h2 = container_of(wire, h2_t, wire);
  free(h2->streams);
  h2->streams = NULL;
  if (h2->on_end) h2->on_end(h2, err);
}

void h2_open(h2_t *h2, uv_loop_t *loop, int port) {
  h2->goaway = h2->goaway_last = 0;
  h2->asked = h2->answered = h2->refused = 0;
  h2->next_stream = 1;
  h2->streams = NULL;
  h2->n_streams = h2->room = 0;
  h2->wire.on_open = on_open;
  h2->wire.on_data = on_data;
  h2->wire.on_end = on_end;
  wire_open(&h2->wire, loop, port);
}
