/* SPDX-License-Identifier: MIT
 *
 * io.h: what a read brings, how much, when it is refused, and what its callback may do.
 */
#include "unit/stream_probe.h"

/* --- how much --- */

static void a_read_brings_what_is_there_and_the_rest_stays(void **state) {
  (void)state;
  for (medium_t medium = 0; medium < MEDIA; medium++) {
    wire_t w;
    rd_t *rd;
    wire_open(&w, medium);
    rd = rd_begin(&w, io.f->root, 100, NULL);
    turn(&io.f->loop);
    assert_int_equal(rd->t->done, 0);
    assert_int_not_equal(uv_is_active(handle_of_wire(&w)), 0);
    assert_int_equal(wire_send(&w, 7), 7);
    run_tally(rd->t);
    assert_rd(rd, 0, 7);
    assert_int_equal(rd->limit, 0);
    assert_int_equal(uv_is_active(handle_of_wire(&w)), 0); /* between two reads nothing is read */
    assert_int_equal(wire_send(&w, 250), 250);
    wire_settle(medium);
    turn(&io.f->loop);
    rd_free(rd);
    rd = rd_begin(&w, io.f->root, 100, NULL);
    run_tally(rd->t);
    assert_rd(rd, 0, 100); /* a full buffer */
    rd_free(rd);
    wire_take(&w, 150);
    wire_close(&w);
  }
}

static void it_waits_for_min_bytes_and_takes_more_if_they_are_there(void **state) {
  uvf_read_limits_t limits = {.min = 10};
  wire_t w;
  rd_t *rd;
  (void)state;
  wire_open(&w, LOCAL);
  rd = rd_begin(&w, io.f->root, 64, &limits);
  memset(&limits, 0xff, sizeof limits); /* they are copied */
  for (size_t n = 1; n < 10; n++) {
    assert_int_equal(wire_send(&w, 1), 1);
    turn(&io.f->loop);
    assert_int_equal(rd->t->done, 0);
    assert_int_equal(rd_req(rd)->nread, n);
  }
  assert_int_equal(wire_send(&w, 20), 20);
  run_tally(rd->t);
  assert_rd(rd, 0, 29);
  rd_free(rd);
  wire_close(&w);
}

static void with_min_as_long_as_the_buffer_it_is_filled_to_the_byte(void **state) {
  enum { LEN = 300000 };
  uvf_read_limits_t limits = {.min = LEN};
  wire_t w;
  rd_t *rd;
  (void)state;
  wire_open(&w, TCP);
  rd = rd_begin(&w, io.f->root, LEN, &limits);
  while (w.sent < LEN + 5) {
    wire_send(&w, LEN + 5 - w.sent);
    turn(&io.f->loop);
  }
  run_tally(rd->t);
  assert_rd(rd, 0, LEN);
  wire_take(&w, 5);
  rd_free(rd);
  wire_close(&w);
}

/* --- the end of the stream --- */

static void at_the_end_of_the_stream_it_tells_what_had_come(void **state) {
  uvf_read_limits_t limits = {.min = 10};
  (void)state;
  for (medium_t medium = 0; medium < MEDIA; medium++) {
    wire_t w;
    rd_t *rd;
    wire_open(&w, medium);
    rd = rd_begin(&w, io.f->root, 20, &limits);
    assert_int_equal(wire_send(&w, 6), 6);
    if (medium == OPENED) turn(&io.f->loop); /* in two steps, or at once */
    wire_hang_up(&w);
    run_tally(rd->t);
    assert_rd(rd, UV_EOF, 6);
    rd_free(rd);
    for (int again = 0; again < 2; again++) {
      rd = rd_begin(&w, io.f->root, 20, NULL);
      run_tally(rd->t);
      assert_rd(rd, UV_EOF, 0);
      assert_int_equal(uv_is_active(handle_of_wire(&w)), 0);
      rd_free(rd);
    }
    wire_close(&w);
  }
}

static void with_min_reached_the_end_is_told_to_the_next_read(void **state) {
  wire_t w;
  rd_t *rd;
  (void)state;
  wire_open(&w, LOCAL);
  assert_int_equal(wire_send(&w, 6), 6);
  wire_hang_up(&w);
  rd = rd_begin(&w, io.f->root, 20, NULL);
  run_tally(rd->t);
  assert_rd(rd, 0, 6);
  rd_free(rd);
  rd = rd_begin(&w, io.f->root, 20, NULL);
  run_tally(rd->t);
  assert_rd(rd, UV_EOF, 0);
  rd_free(rd);
  wire_close(&w);
}

static void a_broken_stream_is_told_as_the_streams_error(void **state) {
  wire_t w;
  rd_t *rd;
  (void)state;
  wire_open(&w, TCP);
  rd = rd_begin(&w, io.f->root, 20, NULL);
  wire_reset(&w);
  run_tally(rd->t);
  assert_rd(rd, UV_ECONNRESET, 0);
  rd_free(rd);
  wire_close(&w);
}

/* --- refused --- */

static void one_read_at_a_time_also_beside_ones_own(void **state) {
  wire_t w;
  rd_t *rd, *other;
  (void)state;
  wire_open(&w, LOCAL);
  rd = rd_begin(&w, io.f->root, 20, NULL);
  other = rd_new(&w, 20);
  assert_int_equal(rd_call(other, io.f->root, NULL), UV_EALREADY);
  assert_int_equal(uv_read_start(w.stream, wire_on_alloc, wire_on_read), UV_EALREADY);
  assert_int_equal(wire_send(&w, 3), 3);
  run_tally(rd->t);
  assert_rd(rd, 0, 3);
  assert_int_equal(uv_read_start(w.stream, wire_on_alloc, wire_on_read), 0);
  assert_int_equal(rd_call(other, io.f->root, NULL), UV_EALREADY);
  assert_int_equal(stats_of(io.f->root).ops, 0);
  assert_int_equal(uv_read_stop(w.stream), 0);
  rd_start(other, io.f->root, NULL); /* refused, it may be used at once */
  assert_int_equal(wire_send(&w, 3), 3);
  run_tally(other->t);
  assert_rd(other, 0, 3);
  rd_free(rd);
  rd_free(other);
  wire_close(&w);
}

static void as_soon_as_one_was_cancelled_the_next_may_start(void **state) {
  wire_t w;
  rd_t *rd[3];
  (void)state;
  wire_open(&w, LOCAL);
  for (int i = 0; i < 3; i++) {
    rd[i] = rd_begin(&w, io.f->root, 20, NULL);
    if (i < 2) assert_int_equal(io_call(uvf_op_cancel((uvf_op_t *)rd_req(rd[i]))), 0);
  }
  assert_int_equal(wire_send(&w, 3), 3);
  for (int i = 0; i < 3; i++) run_tally(rd[i]->t);
  assert_rd(rd[0], UV_ECANCELED, 0);
  assert_rd(rd[1], UV_ECANCELED, 0);
  assert_rd(rd[2], 0, 3);
  for (int i = 0; i < 3; i++) rd_free(rd[i]);
  wire_close(&w);
}

static void bad_arguments_are_refused_and_nothing_has_happened(void **state) {
  uvf_read_limits_t limits = {.min = 21};
  uvf_ctx_t *root = io.f->root;
  uv_loop_t loop;
  uv_tcp_t foreign, bare;
  uvf_read_t req;
  char buf[20];
  wire_t w;
  (void)state;
  wire_open(&w, LOCAL);
  assert_int_equal(uv_loop_init(&loop), 0);
  assert_int_equal(uv_tcp_init(&loop, &foreign), 0);
  assert_int_equal(uv_tcp_init(&io.f->loop, &bare), 0);
  memset(&req, 0xff, sizeof req);
  assert_int_equal(uvf_read_start(NULL, &req, w.stream, buf, 20, NULL, on_rd), UV_EINVAL);
  assert_int_equal(uvf_read_start(root, NULL, w.stream, buf, 20, NULL, on_rd), UV_EINVAL);
  assert_int_equal(uvf_read_start(root, &req, NULL, buf, 20, NULL, on_rd), UV_EINVAL);
  assert_int_equal(uvf_read_start(root, &req, w.stream, NULL, 20, NULL, on_rd), UV_EINVAL);
  assert_int_equal(uvf_read_start(root, &req, w.stream, buf, 0, NULL, on_rd), UV_EINVAL);
  assert_int_equal(uvf_read_start(root, &req, w.stream, buf, 20, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_read_start(root, &req, w.stream, buf, 20, &limits, on_rd), UV_EINVAL);
  assert_int_equal(uvf_read_start(root, &req, (uv_stream_t *)&foreign, buf, 20, NULL, on_rd), UV_EINVAL);
  assert_int_equal(uvf_read_start(root, &req, (uv_stream_t *)&bare, buf, 20, NULL, on_rd), UV_ENOTCONN);
  uv_close((uv_handle_t *)&bare, NULL);
  assert_int_equal(uvf_read_start(root, &req, (uv_stream_t *)&bare, buf, 20, NULL, on_rd), UV_EINVAL);
  assert_int_equal(stats_of(root).ops, 0);
  assert_int_equal(uv_is_active(handle_of_wire(&w)), 0);
  uv_close((uv_handle_t *)&foreign, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
  turn(&io.f->loop);
  wire_close(&w);
}

static void start_again(void *arg) {
  rd_t *rd = arg;
  wire_t *other = rd->arg;
  (void)uvf_read_start(io.f->root, rd_req(rd), other->stream, rd->buf, rd->len, NULL, on_rd);
}

static void starting_one_that_is_started_is_misuse(void **state) {
  wire_t w, other;
  rd_t *rd;
  (void)state;
  wire_open(&w, LOCAL);
  wire_open(&other, LOCAL);
  rd = rd_begin(&w, io.f->root, 20, NULL);
  rd->arg = &other;
  if (test_rules_on()) {
    const char *rule = test_expect_rule(start_again, rd);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_read_start: ", strlen("uvf_read_start: "));
  }
  assert_int_equal(wire_send(&w, 3), 3);
  run_tally(rd->t);
  assert_rd(rd, 0, 3);
  rd_free(rd);
  wire_close(&other);
  wire_close(&w);
}

static void without_memory_it_is_refused(void **state) {
  wire_t w;
  rd_t *rd;
  (void)state;
  wire_open(&w, LOCAL);
  rd = rd_new(&w, 20);
  for (size_t n = 1; n <= 2; n++) { /* the first request of the loop makes the table */
    test_alloc_fail_at(n);
    assert_int_equal(rd_call(rd, io.f->root, NULL), UV_ENOMEM);
    test_alloc_fail_at(0);
  }
  assert_int_equal(stats_of(io.f->root).ops, 0);
  test_alloc_fail_at(3);
  rd_start(rd, io.f->root, NULL);
  assert_int_equal(wire_send(&w, 3), 3);
  run_tally(rd->t);
  assert_false(test_alloc_failed());
  assert_rd(rd, 0, 3);
  rd_free(rd);
  wire_close(&w);
}

/* --- many --- */

static void many_read_at_once_each_its_own(void **state) {
  enum { MANY = 200 };
  wire_t *wires = calloc(MANY, sizeof *wires);
  rd_t *reads[MANY];
  uint64_t seed = test_seed();
  size_t sent[MANY];
  (void)state;
  assert_non_null(wires);
  for (size_t i = 0; i < MANY; i++) {
    wire_open(&wires[i], LOCAL);
    wires[i].taken = wires[i].sent = i; /* each stream has bytes of its own */
    reads[i] = rd_begin(&wires[i], io.f->root, 64, NULL);
  }
  for (size_t i = 0; i < MANY; i++) {
    sent[i] = 1 + test_rand(&seed) % 64;
    assert_int_equal(wire_send(&wires[i], sent[i]), sent[i]);
  }
  for (size_t i = 0; i < MANY; i++) {
    run_tally(reads[i]->t);
    assert_rd(reads[i], 0, sent[i]);
    rd_free(reads[i]);
    wire_close(&wires[i]);
  }
  free(wires);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(a_read_brings_what_is_there_and_the_rest_stays),
      unit_io(it_waits_for_min_bytes_and_takes_more_if_they_are_there),
      unit_io(with_min_as_long_as_the_buffer_it_is_filled_to_the_byte),
      unit_io(at_the_end_of_the_stream_it_tells_what_had_come),
      unit_io(with_min_reached_the_end_is_told_to_the_next_read),
      unit_io(a_broken_stream_is_told_as_the_streams_error),
      unit_io(one_read_at_a_time_also_beside_ones_own),
      unit_io(as_soon_as_one_was_cancelled_the_next_may_start),
      unit_io(bad_arguments_are_refused_and_nothing_has_happened),
      unit_io(starting_one_that_is_started_is_misuse),
      unit_io(without_memory_it_is_refused),
      unit_io(many_read_at_once_each_its_own),
  };
  stream_main();
  return test_run(tests);
}
