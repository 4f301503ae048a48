/* SPDX-License-Identifier: MIT
 *
 * io.h: what a write sends and tells, when it is refused, and what its callbacks may do.
 */
#include "unit/stream_probe.h"

/* --- all of it --- */

static void what_the_system_takes_at_once_is_done_at_once_but_not_inside(void **state) {
  (void)state;
  for (medium_t medium = 0; medium < MEDIA; medium++) {
    for (int has_release = 0; has_release < 2; has_release++) {
      wire_t w;
      wr_t *wr;
      wire_open(&w, medium);
      wr = wr_begin(&w, io.f->root, 1000, 1, has_release);
      assert_int_equal(wr->t->done, 0);
      run_tally(wr->t);
      assert_wr(wr, 0, 1000, 1000);
      wire_close_stream(&w);
      wire_drain_all(&w);
      assert_int_equal(w.received, 1000);
      wr_free(wr);
      wire_close(&w);
    }
  }
}

static void more_than_the_system_takes_is_done_when_all_has_gone(void **state) {
  (void)state;
  for (medium_t medium = 0; medium < MEDIA; medium++) {
    wire_t w;
    wr_t *wr;
    wire_open(&w, medium);
    wr = wr_begin(&w, io.f->root, TOO_MUCH, 3, medium == TCP);
    turn(&io.f->loop);
    assert_int_equal(wr->t->done, 0);
    while (wr->t->done == 0) {
      wire_drain(&w);
      uv_run(&io.f->loop, UV_RUN_NOWAIT);
    }
    assert_wr(wr, 0, TOO_MUCH, TOO_MUCH);
    wire_close_stream(&w);
    wire_drain_all(&w);
    assert_int_equal(w.received, TOO_MUCH);
    wr_free(wr);
    wire_close(&w);
  }
}

static void any_number_of_buffers_is_sent_in_their_order(void **state) {
  static const unsigned int pieces[] = {1, 2, 3, 4, 5, 15, 16, 17, 18, 40, 1500};
  (void)state;
  for (size_t i = 0; i < 2 * ARRAY_SIZE(pieces); i++) {
    size_t len = i % 2 ? 3000000 + i : 3001 + i; /* at once, or not; the last piece is longer */
    wire_t w;
    wr_t *wr;
    wire_open(&w, LOCAL);
    wr = wr_begin(&w, io.f->root, len, pieces[i / 2], i % 3 == 0);
    while (wr->t->done == 0) {
      uv_run(&io.f->loop, UV_RUN_NOWAIT);
      wire_drain(&w);
    }
    assert_wr(wr, 0, len, len);
    wire_close_stream(&w);
    wire_drain_all(&w);
    assert_int_equal(w.received, len);
    wr_free(wr);
    wire_close(&w);
  }
}

/* One byte or none per buffer, none where the bit of `empty` is set. */
static void write_with_empty(wire_t *w, unsigned int n, unsigned int empty) {
  uv_buf_t bufs[20];
  size_t len = 0;
  wr_t *wr;
  for (unsigned int i = 0; i < n; i++) len += !(empty >> i & 1);
  wr = wr_new(w, len, (int)(empty & 1));
  len = 0;
  for (unsigned int i = 0; i < n; i++) {
    bufs[i] = uv_buf_init(wr->bytes + len, !(empty >> i & 1));
    len += bufs[i].len;
  }
  tally_start(wr->t, wr_call(wr, io.f->root, bufs, n));
  run_tally(wr->t);
  assert_wr(wr, 0, len, len);
  wr_free(wr);
}

static void empty_buffers_send_nothing_and_hold_up_nothing(void **state) {
  wire_t w;
  (void)state;
  wire_open(&w, LOCAL);
  for (unsigned int n = 1; n <= 4; n++) {
    for (unsigned int empty = 0; empty < 1u << n; empty++) write_with_empty(&w, n, empty);
  }
  write_with_empty(&w, 18, 0x3ffff);
  write_with_empty(&w, 18, 0x2aaaa);
  write_with_empty(&w, 18, 0x15555);
  wire_close_stream(&w);
  wire_drain_all(&w);
  assert_int_equal(w.received, w.given);
  wire_close(&w);
}

static void callbacks_that_nobody_wants_are_left_out(void **state) {
  char bytes[4];
  uv_buf_t buf = uv_buf_init(bytes, sizeof bytes);
  uvf_write_t req;
  wire_t w;
  wr_t *wr;
  (void)state;
  bytes_make(bytes, 4, 0);
  wire_open(&w, LOCAL);
  memset(&req, 0xff, sizeof req);
  assert_int_equal(uvf_write_start(io.f->root, &req, w.stream, &buf, 1, NULL, NULL), 0);
  w.given = 4;
  turn(&io.f->loop);
  assert_int_equal(req.nwritten, 4);
  assert_int_equal(stats_of(io.f->root).ops, 0);
  wr = wr_begin(&w, io.f->root, TOO_MUCH, 1, 1); /* queued behind */
  bytes_make(bytes, 4, w.given);
  assert_int_equal(uvf_write_start(io.f->root, &req, w.stream, &buf, 1, NULL, NULL), 0);
  w.given += 4;
  while (stats_of(io.f->root).ops > 0) {
    wire_drain(&w);
    uv_run(&io.f->loop, UV_RUN_NOWAIT);
  }
  assert_wr(wr, 0, TOO_MUCH, TOO_MUCH);
  assert_int_equal(req.nwritten, 4);
  wr_free(wr);
  wire_close(&w);
}

/* --- a stream that breaks --- */

static int status_of_break(int status) { return status == UV_EPIPE || status == UV_ECONNRESET; }

static void without_a_reader_the_error_is_the_status(void **state) {
  wire_t w;
  wr_t *wr;
  (void)state;
  for (medium_t medium = LOCAL; medium <= OPENED; medium++) {
    wire_open(&w, medium);
    wire_hang_up(&w);
    wr = wr_begin(&w, io.f->root, 10, 1, 1);
    run_tally(wr->t);
    assert_wr(wr, UV_EPIPE, 0, 0);
    wr_free(wr);
    wire_close(&w);
  }
}

static void a_reset_ends_what_is_pending(void **state) {
  (void)state;
  for (int has_release = 0; has_release < 2; has_release++) {
    wire_t w;
    wr_t *wr;
    wire_open(&w, TCP);
    wr = wr_begin(&w, io.f->root, TOO_MUCH, 2, has_release);
    turn(&io.f->loop);
    wire_reset(&w);
    run_tally(wr->t);
    assert_true(status_of_break(wr->t->status));
    assert_true(wr->in_done < TOO_MUCH);
    wr_free(wr);
    wire_close(&w);
  }
}

static void a_reset_ends_also_what_is_queued_behind(void **state) {
  wire_t w;
  wr_t *wr[4];
  (void)state;
  wire_open(&w, TCP);
  for (size_t i = 0; i < 4; i++) wr[i] = wr_begin(&w, io.f->root, i == 0 ? TOO_MUCH : 100, 1, i % 2);
  turn(&io.f->loop);
  wire_reset(&w);
  for (size_t i = 0; i < 4; i++) {
    run_until(&io.f->loop, &wr[i]->t->done, 1);
    assert_true(status_of_break(wr[i]->t->status));
  }
  wire_close_stream(&w);
  for (size_t i = 0; i < 4; i++) {
    run_tally(wr[i]->t);
    wr_free(wr[i]);
  }
  wire_close(&w);
}

/* --- refused --- */

static void bad_arguments_are_refused_and_nothing_has_happened(void **state) {
  uvf_ctx_t *root = io.f->root;
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  uvf_write_t req;
  uv_loop_t loop;
  uv_tcp_t foreign, bare;
  wire_t w;
  int rc;
  (void)state;
  wire_open(&w, LOCAL);
  assert_int_equal(uv_loop_init(&loop), 0);
  assert_int_equal(uv_tcp_init(&loop, &foreign), 0);
  assert_int_equal(uv_tcp_init(&io.f->loop, &bare), 0);
  memset(&req, 0xff, sizeof req);
  assert_int_equal(uvf_write_start(NULL, &req, w.stream, &buf, 1, on_wr, NULL), UV_EINVAL);
  assert_int_equal(uvf_write_start(root, NULL, w.stream, &buf, 1, on_wr, NULL), UV_EINVAL);
  assert_int_equal(uvf_write_start(root, &req, NULL, &buf, 1, on_wr, NULL), UV_EINVAL);
  assert_int_equal(uvf_write_start(root, &req, w.stream, NULL, 1, on_wr, NULL), UV_EINVAL);
  assert_int_equal(uvf_write_start(root, &req, w.stream, &buf, 0, on_wr, NULL), UV_EINVAL);
  assert_int_equal(uvf_write_start(root, &req, (uv_stream_t *)&foreign, &buf, 1, on_wr, NULL), UV_EINVAL);
  rc = uvf_write_start(root, &req, (uv_stream_t *)&bare, &buf, 1, on_wr, NULL);
  assert_true(rc == UV_EBADF || rc == UV_EPIPE);
  uv_close((uv_handle_t *)&bare, NULL);
  assert_int_equal(uvf_write_start(root, &req, (uv_stream_t *)&bare, &buf, 1, on_wr, NULL), UV_EINVAL);
  assert_int_equal(stats_of(root).ops, 0);
  uv_close((uv_handle_t *)&foreign, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
  turn(&io.f->loop);
  wire_drain(&w);
  assert_int_equal(w.received, 0);
  wire_close(&w);
}

static void start_again(void *arg) {
  wr_t *wr = arg;
  uv_buf_t buf = uv_buf_init(wr->bytes, 1);
  (void)wr_call(wr, io.f->root, &buf, 1);
}

static void starting_one_that_is_started_is_misuse(void **state) {
  (void)state;
  for (int told = 0; told < 2; told++) { /* also one that was told, and which libuv still has */
    uvf_ctx_t *ctx = child_of(io.f->root);
    wire_t w;
    wr_t *wr;
    wire_open(&w, LOCAL);
    wr = wr_begin(&w, ctx, TOO_MUCH, 1, 1);
    if (told) {
      uvf_ctx_cancel(ctx);
      run_until(&io.f->loop, &wr->t->done, 1);
    }
    if (test_rules_on()) {
      const char *rule = test_expect_rule(start_again, wr);
      assert_non_null(rule);
      assert_memory_equal(rule, "uvf_write_start: ", strlen("uvf_write_start: "));
    }
    wire_close_stream(&w);
    run_tally(wr->t);
    uvf_ctx_release(ctx);
    wr_free(wr);
    wire_close(&w);
  }
}

static void without_memory_of_ours_it_is_refused(void **state) {
  wire_t w;
  wr_t *wr;
  (void)state;
  wire_open(&w, LOCAL);
  wr = wr_new(&w, 20, 1);
  for (size_t n = 1; n <= 2; n++) {
    test_alloc_fail_at(n);
    assert_int_equal(wr_call_pieces(wr, io.f->root, 1), UV_ENOMEM);
    test_alloc_fail_at(0);
  }
  assert_int_equal(stats_of(io.f->root).ops, 0);
  tally_start(wr->t, wr_call_pieces(wr, io.f->root, 1)); /* refused, it may be used at once */
  run_tally(wr->t);
  assert_wr(wr, 0, 20, 20);
  wr_free(wr);
  wire_drain(&w);
  assert_int_equal(w.received, 20); /* once */
  wire_close(&w);
}

static void without_memory_of_libuvs_it_is_refused_or_told(void **state) {
  (void)state;
  for (int stuck = 0; stuck < 3; stuck++) {
    unsigned int pieces = stuck == 1 ? 16 : 17; /* tried before it is queued, or not */
    wire_t w;
    wr_t *wr, *before = NULL;
    int rc;
    wire_open(&w, LOCAL);
    if (stuck == 2) before = wr_begin(&w, io.f->root, TOO_MUCH, 1, 1);
    wr = wr_new(&w, TOO_MUCH, 1);
    libuv_fail_at(1);
    wr->t->starts++;
    rc = io_call(wr_call_pieces(wr, io.f->root, pieces));
    libuv_fail_at(0);
    if (stuck == 1) { /* part of it has gone */
      assert_int_equal(rc, 0);
      run_tally(wr->t);
      assert_int_equal(wr->t->status, UV_ENOMEM);
      assert_in_range(wr->in_done, 1, TOO_MUCH - 1);
    } else {
      assert_int_equal(rc, UV_ENOMEM);
      wr->t->starts--;
      turn(&io.f->loop);
      assert_int_equal(wr->t->done, 0);
    }
    wire_close_stream(&w);
    wire_drain_all(&w);
    if (stuck == 1) assert_int_equal(w.received, wr->in_release);
    wr_free(wr);
    if (before != NULL) wr_free(before);
    wire_close(&w);
  }
}

/* --- inside the callbacks --- */

static void write_next(wr_t *wr) {
  wr_t *next = wr->arg;
  tally_start(next->t, wr_call_pieces(next, io.f->root, 2));
}

static void writes_started_in_each_others_callbacks_are_sent_in_order(void **state) {
  enum { WRITES = 300 };
  wr_t *writes[WRITES];
  wire_t w;
  (void)state;
  wire_open(&w, LOCAL);
  for (size_t i = 0; i < WRITES; i++) writes[i] = wr_new(&w, 1 + i * 37 % 4000, i % 2);
  for (size_t i = 0; i + 1 < WRITES; i++) {
    writes[i]->then = write_next;
    writes[i]->arg = writes[i + 1];
  }
  tally_start(writes[0]->t, wr_call_pieces(writes[0], io.f->root, 1));
  while (w.received < w.given) {
    uv_run(&io.f->loop, UV_RUN_NOWAIT);
    wire_drain(&w);
  }
  for (size_t i = 0; i < WRITES; i++) {
    run_tally(writes[i]->t);
    assert_wr(writes[i], 0, writes[i]->len, writes[i]->len);
    wr_free(writes[i]);
  }
  wire_close(&w);
}

static void close_stream(wr_t *wr) { uvf_stream_close(wr->wire->stream, wire_on_closed); }

static void close_and_run(wr_t *wr) {
  close_stream(wr);
  while (wr->wire->closed == 0) uv_run(&io.f->loop, UV_RUN_NOWAIT); /* frees the stream, and calls release */
}

static void the_callback_may_close_the_stream_and_see_it_gone(void **state) {
  (void)state;
  io.nested = 1;
  for (int how = 0; how < 8; how++) {
    uvf_ctx_t *ctx = child_of(io.f->root);
    wire_t w;
    wr_t *wr;
    int has_release = how >> 1 & 1, stuck = how >> 2 & 1;
    wire_open(&w, LOCAL);
    wr = wr_new(&w, stuck ? TOO_MUCH : 10, has_release || stuck);
    wr->then = how & 1 ? close_and_run : close_stream;
    tally_start(wr->t, wr_call_pieces(wr, ctx, 1));
    if (stuck) uvf_ctx_cancel(ctx);
    run_tally(wr->t);
    run_until(&io.f->loop, &w.closed, 1);
    assert_tally(wr->t, stuck ? UV_ECANCELED : 0);
    wire_drain_all(&w);
    assert_int_equal(w.received, wr->in_release);
    uvf_ctx_release(ctx);
    wr_free(wr);
    wire_close(&w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(what_the_system_takes_at_once_is_done_at_once_but_not_inside),
      unit_io(more_than_the_system_takes_is_done_when_all_has_gone),
      unit_io(any_number_of_buffers_is_sent_in_their_order),
      unit_io(empty_buffers_send_nothing_and_hold_up_nothing),
      unit_io(callbacks_that_nobody_wants_are_left_out),
      unit_io(without_a_reader_the_error_is_the_status),
      unit_io(a_reset_ends_what_is_pending),
      unit_io(a_reset_ends_also_what_is_queued_behind),
      unit_io(bad_arguments_are_refused_and_nothing_has_happened),
      unit_io(starting_one_that_is_started_is_misuse),
      unit_io(without_memory_of_ours_it_is_refused),
      unit_io(without_memory_of_libuvs_it_is_refused_or_told),
      unit_io(writes_started_in_each_others_callbacks_are_sent_in_order),
      unit_io(the_callback_may_close_the_stream_and_see_it_gone),
  };
  stream_main();
  return test_run(tests);
}
