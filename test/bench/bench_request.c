/* SPDX-License-Identifier: MIT
 *
 * What a request costs a server: its tree of contexts, and reading and writing under one.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define MESSAGE 64

/* --- the tree ----------------------------------------------------------------------------------------------------- */

static void *tree_setup(size_t size) {
  (void)size;
  bench_loop_t *b = bench_alloc(1, sizeof(*b));
  bench_loop_open(b, 1);
  return b;
}

static void tree_teardown(void *state) {
  bench_loop_close(state);
  free(state);
}

static void tree_run(void *state, uint64_t ops, bench_sample_t *s) {
  bench_loop_t *b = state;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    uvf_ctx_t *request;
    uvf_ctx_t *child[3];
    bench_must("uvf_ctx_with_deadline",
               uvf_ctx_with_deadline(b->root, uv_hrtime() + BENCH_HOUR_MS * 1000000, &request));
    for (int c = 0; c < 3; c++) bench_must("uvf_ctx_with_cancel", uvf_ctx_with_cancel(request, &child[c]));
    uvf_ctx_cancel(request);
    for (int c = 0; c < 3; c++) uvf_ctx_release(child[c]);
    uvf_ctx_release(request);
    if (bench_turn_due(i)) bench_turn(b);
  }
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

/* --- messages to and fro -------------------------------------------------------------------------------------------- */

typedef struct side_s {
  struct echo_s *echo;
  uv_tcp_t tcp;
  uvf_ctx_t *ctx;
  uvf_read_t read;
  uvf_write_t write;
  uv_write_t raw;
  char buf[MESSAGE];
} side_t;

typedef struct echo_s {
  bench_loop_t b;
  side_t sides[2]; /* the first one counts */
  uint64_t left;
} echo_t;

static const uvf_read_limits_t limits = {MESSAGE, 10000, 0};

static void ours_send(side_t *side);

static void ours_read(uvf_read_t *read, int status) {
  side_t *side = read->data;
  echo_t *e = side->echo;
  if (status == UV_ECANCELED) return; /* closed, at the end */
  bench_must("uvf_read_start", status);
  if (side == &e->sides[0] && --e->left == 0) {
    uv_stop(&e->b.loop);
    return;
  }
  ours_send(side);
}

static void ours_written(uvf_write_t *write, int status) {
  (void)write;
  bench_must("uvf_write_start", status);
}

static void ours_receive(side_t *side) {
  bench_must("uvf_read_start",
             uvf_read_start(side->ctx, &side->read, (uv_stream_t *)&side->tcp, side->buf, MESSAGE, &limits, ours_read));
}

static void ours_send(side_t *side) {
  uv_buf_t buf = uv_buf_init(side->buf, MESSAGE);
  bench_must("uvf_write_start",
             uvf_write_start(side->ctx, &side->write, (uv_stream_t *)&side->tcp, &buf, 1, ours_written, NULL));
  ours_receive(side);
}

static void open_sides(echo_t *e) {
  uv_os_sock_t fds[2];
  bench_must("uv_socketpair", uv_socketpair(SOCK_STREAM, 0, fds, UV_NONBLOCK_PIPE, UV_NONBLOCK_PIPE));
  for (int i = 0; i < 2; i++) {
    side_t *side = &e->sides[i];
    side->echo = e;
    bench_must("uv_tcp_init", uv_tcp_init(&e->b.loop, &side->tcp));
    bench_must("uv_tcp_open", uv_tcp_open(&side->tcp, fds[i]));
    side->tcp.data = side;
    side->read.data = side;
  }
}

static void *ours_setup(size_t size) {
  echo_t *e = bench_alloc(1, sizeof(*e));
  (void)size;
  bench_loop_open(&e->b, 1);
  open_sides(e);
  for (int i = 0; i < 2; i++) bench_must("uvf_ctx_with_cancel", uvf_ctx_with_cancel(e->b.root, &e->sides[i].ctx));
  ours_receive(&e->sides[1]);
  return e;
}

static void ours_teardown(void *state) {
  echo_t *e = state;
  for (int i = 0; i < 2; i++) {
    uvf_ctx_release(e->sides[i].ctx);
    uvf_stream_close((uv_stream_t *)&e->sides[i].tcp, NULL);
  }
  bench_loop_close(&e->b);
  free(e);
}

static void ours_run(void *state, uint64_t ops, bench_sample_t *s) {
  echo_t *e = state;
  uint64_t start = uv_hrtime();
  e->left = ops;
  ours_send(&e->sides[0]);
  uv_run(&e->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static void raw_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  side_t *side = handle->data;
  (void)suggested;
  *buf = uv_buf_init(side->buf, MESSAGE);
}

static void raw_written(uv_write_t *write, int status) {
  (void)write;
  bench_must("uv_write", status);
}

static void raw_send(side_t *side) {
  uv_buf_t buf = uv_buf_init(side->buf, MESSAGE);
  bench_must("uv_write", uv_write(&side->raw, (uv_stream_t *)&side->tcp, &buf, 1, raw_written));
}

static void raw_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf) {
  side_t *side = stream->data;
  echo_t *e = side->echo;
  (void)buf;
  if (nread == 0) return;
  if (nread != MESSAGE) bench_fail("a message came in pieces", UV_EIO);
  if (side == &e->sides[0] && --e->left == 0) {
    uv_stop(&e->b.loop);
    return;
  }
  raw_send(side);
}

static void *raw_setup(size_t size) {
  echo_t *e = bench_alloc(1, sizeof(*e));
  (void)size;
  bench_loop_open(&e->b, 0);
  open_sides(e);
  for (int i = 0; i < 2; i++)
    bench_must("uv_read_start", uv_read_start((uv_stream_t *)&e->sides[i].tcp, raw_alloc, raw_read));
  return e;
}

static void raw_teardown(void *state) {
  echo_t *e = state;
  for (int i = 0; i < 2; i++) uv_close((uv_handle_t *)&e->sides[i].tcp, NULL);
  bench_loop_close(&e->b);
  free(e);
}

static void raw_run(void *state, uint64_t ops, bench_sample_t *s) {
  echo_t *e = state;
  uint64_t start = uv_hrtime();
  e->left = ops;
  raw_send(&e->sides[0]);
  uv_run(&e->b.loop, UV_RUN_DEFAULT);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

static const bench_impl_t ours_tree = {"uvflow", tree_setup, tree_run, tree_teardown};
static const bench_impl_t ours_echo = {"uvflow: read and write under a context", ours_setup, ours_run, ours_teardown};
static const bench_impl_t raw_echo = {"libuv: no limit of any kind", raw_setup, raw_run, raw_teardown};

const bench_row_t bench_request_rows[] = {
    {.name = "request-tree",
     .title = "a request's contexts: a deadline, 3 children",
     .what = "A with_deadline in 1 h, whose moment is computed from a reading of the clock, with three with_cancel "
             "children; it is cancelled, then all four are released; one loop turn every 256 of them. Raw: one timer "
             "of 1 h, made, started and closed, without a tree.",
     .goal = 400,
     .impls = {&ours_tree, &bench_raw_timer_naive}},
    {.name = "echo",
     .title = "a message of 64 bytes there and back",
     .what =
         "Two ends of a socketpair on one loop: one writes 64 bytes, the other reads them and writes them back, the "
         "first reads them. Ours: every read is a request of its own with an idle limit of 10 s, every write too. "
         "Raw: both ends are read all the time, without any limit.",
     .impls = {&ours_echo, &raw_echo}},
    {.name = NULL},
};
