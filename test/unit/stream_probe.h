/* SPDX-License-Identifier: MIT
 *
 * What the tests of streams share: a wire, which is a stream of the fixture's loop whose other end has a loop of its
 * own and so moves only when the test says so; and reads and writes that keep account.
 *
 * Every byte has its place: what goes over a wire in either direction is the same endless sequence, so that a byte that
 * was lost, doubled or moved is seen at once by whoever counts.
 */
#ifndef UVFLOW_TEST_STREAM_PROBE_H
#define UVFLOW_TEST_STREAM_PROBE_H

#include <signal.h>

#include "unit/io_probe.h"

typedef enum medium_e { LOCAL, OPENED, TCP, MEDIA } medium_t; /* uv_pipe_open, uv_tcp_open, over 127.0.0.1 */

typedef union any_stream_s {
  uv_stream_t stream;
  uv_tcp_t tcp;
  uv_pipe_t pipe;
} any_stream_t;

typedef struct wire_s {
  uv_stream_t *stream; /* ours; a heap block, freed in its close callback, then NULL */
  int closed;
  size_t given; /* bytes that were given to writes so far */
  size_t taken; /* bytes that reads have brought */
  /* the other end */
  uv_loop_t loop;
  any_stream_t peer;
  int peer_open, peer_eof, peer_err;
  size_t sent, received; /* by it */
} wire_t;

static inline char byte_at(size_t place) { return (char)(place * UINT64_C(0x9e3779b97f4a7c15) >> 29 & 0xff); }

static inline void bytes_make(char *bytes, size_t n, size_t place) {
  for (size_t i = 0; i < n; i++) bytes[i] = byte_at(place + i);
}

static inline int bytes_are(const char *bytes, size_t n, size_t place) {
  for (size_t i = 0; i < n; i++) {
    if (bytes[i] != byte_at(place + i)) return 0;
  }
  return 1;
}

/* --- the wire --- */

static inline uv_handle_t *handle_of_wire(wire_t *w) { return (uv_handle_t *)w->stream; }

static inline void wire_on_closed(uv_handle_t *handle) {
  wire_t *w = handle->data;
  w->closed++;
  w->stream = NULL;
  free(handle);
}

static inline void wire_on_connect(uv_connect_t *req, int status) {
  io_expect(status == 0, "the wire did not connect");
  *(int *)req->data = 1;
}

static inline void wire_on_connection(uv_stream_t *server, int status) {
  wire_t *w = server->data;
  io_expect(status == 0 && uv_accept(server, &w->peer.stream) == 0, "the wire was not accepted");
  w->peer_open = 1;
}

/* What to do with a TCP wire that has begun to connect; NULL: nothing. */
static void (*wire_connecting)(wire_t *w);

static inline void wire_connect(wire_t *w) {
  uv_tcp_t server;
  uv_connect_t connect;
  struct sockaddr_storage addr;
  int len = (int)sizeof addr, connected = 0;
  assert_int_equal(uv_ip4_addr("127.0.0.1", 0, (struct sockaddr_in *)&addr), 0);
  assert_int_equal(uv_tcp_init(&w->loop, &server), 0);
  server.data = w;
  assert_int_equal(uv_tcp_init(&w->loop, &w->peer.tcp), 0);
  assert_int_equal(uv_tcp_bind(&server, (const struct sockaddr *)&addr, 0), 0);
  assert_int_equal(uv_listen((uv_stream_t *)&server, 1, wire_on_connection), 0);
  assert_int_equal(uv_tcp_getsockname(&server, (struct sockaddr *)&addr, &len), 0);
  connect.data = &connected;
  assert_int_equal(uv_tcp_connect(&connect, (uv_tcp_t *)w->stream, (const struct sockaddr *)&addr, wire_on_connect), 0);
  if (wire_connecting != NULL) wire_connecting(w);
  run_until(&io.f->loop, &connected, 1);
  run_until(&w->loop, &w->peer_open, 1);
  uv_close((uv_handle_t *)&server, NULL);
  uv_run(&w->loop, UV_RUN_NOWAIT);
}

static inline void wire_open(wire_t *w, medium_t medium) {
  any_stream_t *ours = malloc(sizeof *ours);
  uv_os_sock_t socks[2];
  assert_non_null(ours);
  memset(w, 0, sizeof *w);
  w->stream = &ours->stream;
  assert_int_equal(uv_loop_init(&w->loop), 0);
  if (medium == LOCAL) {
    assert_int_equal(uv_pipe_init(&io.f->loop, &ours->pipe, 0), 0);
    assert_int_equal(uv_pipe_init(&w->loop, &w->peer.pipe, 0), 0);
  } else {
    assert_int_equal(uv_tcp_init(&io.f->loop, &ours->tcp), 0);
    if (medium == OPENED) assert_int_equal(uv_tcp_init(&w->loop, &w->peer.tcp), 0);
  }
  if (medium != TCP) assert_int_equal(uv_socketpair(SOCK_STREAM, 0, socks, UV_NONBLOCK_PIPE, UV_NONBLOCK_PIPE), 0);
  if (medium == LOCAL) {
    assert_int_equal(uv_pipe_open(&ours->pipe, (uv_file)socks[0]), 0);
    assert_int_equal(uv_pipe_open(&w->peer.pipe, (uv_file)socks[1]), 0);
  } else if (medium == OPENED) {
    assert_int_equal(uv_tcp_open(&ours->tcp, socks[0]), 0);
    assert_int_equal(uv_tcp_open(&w->peer.tcp, socks[1]), 0);
  } else {
    wire_connect(w);
  }
  w->stream->data = w;
  w->peer_open = 1;
}

/* The other end sends its next n bytes, as many as the system takes at once; returns how many that were. */
static inline size_t wire_send(wire_t *w, size_t n) {
  char *bytes = malloc(n);
  uv_buf_t buf = uv_buf_init(bytes, (unsigned int)n);
  int rc;
  assert_non_null(bytes);
  bytes_make(bytes, n, w->sent);
  rc = uv_try_write(&w->peer.stream, &buf, 1);
  free(bytes);
  if (rc < 0) return 0;
  w->sent += (size_t)rc;
  return (size_t)rc;
}

static inline void wire_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  static char room[65536];
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(room, sizeof room);
}

static inline void wire_on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf) {
  wire_t *w = UVF__CONTAINER(stream, wire_t, peer);
  if (nread == UV_EOF) {
    w->peer_eof = 1;
    uv_read_stop(stream);
  } else if (nread < 0) {
    w->peer_err = (int)nread;
    uv_read_stop(stream);
  } else {
    io_expect(bytes_are(buf->base, (size_t)nread, w->received), "bytes that were written came in another order");
    w->received += (size_t)nread;
  }
}

/* The other end reads what is there. */
static inline void wire_drain(wire_t *w) {
  size_t before;
  (void)uv_read_start(&w->peer.stream, wire_on_alloc, wire_on_read);
  do {
    before = w->received;
    uv_run(&w->loop, UV_RUN_NOWAIT);
  } while (w->received > before);
  uv_read_stop(&w->peer.stream);
}

/* The other end reads until the end of the stream, or until it breaks. */
static inline void wire_drain_all(wire_t *w) {
  uint64_t end_ns = uv_hrtime() + PATIENCE_MS * MS_NS;
  while (!w->peer_eof && w->peer_err == 0 && uv_hrtime() < end_ns) {
    wire_drain(w);
    uv_run(&io.f->loop, UV_RUN_NOWAIT);
  }
  assert_true(w->peer_eof || w->peer_err != 0);
}

static inline void wire_hang_up(wire_t *w) {
  if (!w->peer_open) return;
  w->peer_open = 0;
  uv_close((uv_handle_t *)&w->peer, NULL);
  uv_run(&w->loop, UV_RUN_DEFAULT);
}

/* TCP only. */
static inline void wire_reset(wire_t *w) {
  w->peer_open = 0;
  assert_int_equal(uv_tcp_close_reset(&w->peer.tcp, NULL), 0);
  uv_run(&w->loop, UV_RUN_DEFAULT);
}

static inline void wire_close_stream(wire_t *w) {
  if (w->stream == NULL) return;
  uvf_stream_close(w->stream, wire_on_closed);
  run_until(&io.f->loop, &w->closed, 1);
}

static inline void wire_close(wire_t *w) {
  wire_close_stream(w);
  wire_hang_up(w);
  assert_int_equal(uv_loop_close(&w->loop), 0);
}

/* What our end has to read is given to it by the system soon, over TCP perhaps not at once: until n bytes are there. */
static inline void wire_settle(medium_t medium) {
  if (medium == TCP) uv_sleep(1);
}

/* --- reads --- */

typedef struct rd_s rd_t;
struct rd_s {
  tally_t *t;
  wire_t *wire;
  char *buf; /* of exactly len bytes */
  size_t len, nread;
  int limit;
  void (*then)(rd_t *rd);
  void *arg;
};

static inline void rd_in_done(tally_t *t) {
  rd_t *rd = t->arg;
  uvf_read_t *req = t->req;
  rd->nread = req->nread;
  rd->limit = req->limit;
  io_expect(rd->nread <= rd->len, "more was read than the buffer takes");
  io_expect(bytes_are(rd->buf, rd->nread, rd->wire->taken), "a byte was lost, doubled or moved");
  rd->wire->taken += rd->nread;
  if (rd->then != NULL) rd->then(rd);
}

static inline void on_rd(uvf_read_t *req, int status) { tally_done(req->data, status); }

static inline rd_t *rd_new(wire_t *w, size_t len) {
  rd_t *rd = calloc(1, sizeof *rd);
  if (rd == NULL) abort();
  rd->wire = w;
  rd->len = len;
  rd->buf = malloc(len);
  if (rd->buf == NULL) abort();
  rd->t = tally_new(sizeof(uvf_read_t));
  rd->t->arg = rd;
  rd->t->in_done = rd_in_done;
  return rd;
}

#define rd_req(rd) ((uvf_read_t *)(rd)->t->req)
#define rd_call(rd, ctx, limits)                                                                                       \
  uvf_read_start((ctx), rd_req(rd), (rd)->wire->stream, (rd)->buf, (rd)->len, (limits), on_rd)
#define rd_start(rd, ctx, limits) tally_start((rd)->t, rd_call(rd, ctx, limits))

static inline rd_t *rd_begin(wire_t *w, uvf_ctx_t *ctx, size_t len, const uvf_read_limits_t *limits) {
  rd_t *rd = rd_new(w, len);
  rd_start(rd, ctx, limits);
  return rd;
}

static inline void rd_free(rd_t *rd) {
  free(rd->buf);
  free(rd);
}

#define assert_rd(rd, status, n)                                                                                       \
  do {                                                                                                                 \
    assert_tally((rd)->t, (status));                                                                                   \
    assert_int_equal((rd)->nread, (n));                                                                                \
  } while (0)

/* Reads under the root until n bytes have come, and frees it. */
static inline void wire_take(wire_t *w, size_t n) {
  uvf_read_limits_t limits = {.min = n};
  rd_t *rd = rd_begin(w, io.f->root, n, &limits);
  run_tally(rd->t);
  assert_rd(rd, 0, n);
  rd_free(rd);
}

/* --- writes --- */

typedef struct wr_s wr_t;
struct wr_s {
  tally_t *t;
  wire_t *wire;
  char *bytes; /* freed in the last callback */
  size_t len, place;
  size_t in_done, in_release; /* nwritten there */
  void (*then)(wr_t *wr);     /* in done */
  void *arg;
};

static inline void wr_over(wr_t *wr) {
  free(wr->bytes);
  wr->bytes = NULL;
}

static inline void wr_in_done(tally_t *t) {
  wr_t *wr = t->arg;
  wr->in_done = wr->in_release = ((uvf_write_t *)t->req)->nwritten;
  io_expect(wr->in_done <= wr->len, "more was written than there is");
  if (t->status == 0) io_expect(wr->in_done == wr->len, "a write has succeeded with less than all");
  if (!t->has_release) wr_over(wr);
  if (wr->then != NULL) wr->then(wr);
}

static inline void wr_in_release(tally_t *t) {
  wr_t *wr = t->arg;
  wr->in_release = ((uvf_write_t *)t->req)->nwritten;
  io_expect(wr->in_release >= wr->in_done && wr->in_release <= wr->len, "nwritten went down, or over");
  wr_over(wr);
}

static inline void on_wr(uvf_write_t *req, int status) { tally_done(req->data, status); }
static inline void on_wr_release(uvf_write_t *req) { tally_release(req->data); }

static inline wr_t *wr_new(wire_t *w, size_t len, int has_release) {
  wr_t *wr = calloc(1, sizeof *wr);
  if (wr == NULL) abort();
  wr->wire = w;
  wr->len = len;
  wr->place = w->given;
  w->given += len;
  wr->bytes = malloc(len + 1);
  if (wr->bytes == NULL) abort();
  bytes_make(wr->bytes, len, wr->place);
  wr->t = tally_new(sizeof(uvf_write_t));
  wr->t->arg = wr;
  wr->t->has_release = has_release;
  wr->t->in_done = wr_in_done;
  wr->t->in_release = wr_in_release;
  return wr;
}

#define wr_req(wr) ((uvf_write_t *)(wr)->t->req)
#define wr_call(wr, ctx, bufs, n)                                                                                      \
  uvf_write_start((ctx), wr_req(wr), (wr)->wire->stream, (bufs), (n), on_wr,                                           \
                  (wr)->t->has_release ? on_wr_release : NULL)

/* In `pieces` buffers. The array is gone when this returns. */
static inline int wr_call_pieces(wr_t *wr, uvf_ctx_t *ctx, unsigned int pieces) {
  uv_buf_t *bufs = malloc(pieces * sizeof *bufs);
  size_t part = wr->len / pieces;
  int rc;
  if (bufs == NULL) abort();
  for (unsigned int i = 0; i < pieces; i++) {
    size_t n = i + 1 < pieces ? part : wr->len - part * (pieces - 1);
    bufs[i] = uv_buf_init(wr->bytes + part * i, (unsigned int)n);
  }
  rc = wr_call(wr, ctx, bufs, pieces);
  memset(bufs, 0xdb, pieces * sizeof *bufs);
  free(bufs);
  return rc;
}

static inline wr_t *wr_begin(wire_t *w, uvf_ctx_t *ctx, size_t len, unsigned int pieces, int has_release) {
  wr_t *wr = wr_new(w, len, has_release);
  tally_start(wr->t, wr_call_pieces(wr, ctx, pieces));
  return wr;
}

static inline void wr_free(wr_t *wr) {
  free(wr->bytes);
  free(wr);
}

#define assert_wr(wr, status, n_done, n_release)                                                                       \
  do {                                                                                                                 \
    assert_tally((wr)->t, (status));                                                                                   \
    assert_int_equal((wr)->in_done, (n_done));                                                                         \
    assert_int_equal((wr)->in_release, (n_release));                                                                   \
  } while (0)

/* The first thing in main. libuv writes with what raises SIGPIPE where nobody reads, as every program of it knows. */
static inline void stream_main(void) {
#ifdef SIGPIPE
  signal(SIGPIPE, SIG_IGN);
#endif
  io_main();
}

#define TOO_MUCH ((size_t)8 << 20) /* more than any socket here takes at once */

#endif
