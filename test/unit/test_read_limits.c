/* SPDX-License-Identifier: MIT
 *
 * io.h: the limits of a read: to the nanosecond, which of them is told, and that nothing of them is left. Most tests
 * hold the clock.
 */
#include "unit/stream_probe.h"

static size_t timeouts_armed(void) { return uvf__ctx_hub(io.f->root)->timeouts.armed; }

/* The clock is put there, and what is due is told. */
static void pass_to(uint64_t ns) {
  clock_to(io.f->root, ns);
  turn(&io.f->loop);
}

static void the_idle_limit_comes_to_the_nanosecond(void **state) {
  uvf_read_limits_t limits = {.idle_ms = 50};
  uint64_t from;
  wire_t w;
  rd_t *rd;
  (void)state;
  wire_open(&w, LOCAL);
  clock_freeze();
  from = frozen_ns;
  rd = rd_begin(&w, io.f->root, 10, &limits);
  pass_to(from + 50 * MS_NS - 1);
  assert_int_equal(rd->t->done, 0);
  pass_to(from + 50 * MS_NS);
  assert_rd(rd, UV_ETIMEDOUT, 0);
  assert_int_equal(rd->limit, UVF_READ_IDLE);
  assert_int_equal(timeouts_armed(), 0);
  assert_int_equal(uv_is_active(handle_of_wire(&w)), 0);
  rd_free(rd);
  wire_close(&w);
}

static void every_byte_begins_it_anew(void **state) {
  uvf_read_limits_t limits = {.min = 10, .idle_ms = 50};
  uint64_t last;
  wire_t w;
  rd_t *rd;
  (void)state;
  wire_open(&w, LOCAL);
  clock_freeze();
  rd = rd_begin(&w, io.f->root, 10, &limits);
  for (int i = 0; i < 5; i++) {
    pass_to(frozen_ns + 49 * MS_NS);
    assert_int_equal(wire_send(&w, 1), 1);
    turn(&io.f->loop);
    assert_int_equal(rd_req(rd)->nread, i + 1);
  }
  last = frozen_ns;
  pass_to(last + 50 * MS_NS - 1);
  assert_int_equal(rd->t->done, 0);
  pass_to(last + 50 * MS_NS);
  assert_rd(rd, UV_ETIMEDOUT, 5);
  assert_int_equal(rd->limit, UVF_READ_IDLE);
  rd_free(rd);
  wire_close(&w);
}

static void no_byte_extends_the_total_limit(void **state) {
  uvf_read_limits_t limits = {.min = 100, .idle_ms = 20, .total_ms = 50};
  uint64_t from;
  wire_t w;
  rd_t *rd;
  (void)state;
  wire_open(&w, LOCAL);
  clock_freeze();
  from = frozen_ns;
  rd = rd_begin(&w, io.f->root, 100, &limits);
  for (uint64_t ms = 10; ms < 50; ms += 10) {
    pass_to(from + ms * MS_NS);
    assert_int_equal(wire_send(&w, 1), 1);
    turn(&io.f->loop);
  }
  pass_to(from + 50 * MS_NS - 1);
  assert_int_equal(rd->t->done, 0);
  pass_to(from + 50 * MS_NS);
  assert_rd(rd, UV_ETIMEDOUT, 4);
  assert_int_equal(rd->limit, UVF_READ_TOTAL);
  assert_int_equal(timeouts_armed(), 0);
  rd_free(rd);
  wire_close(&w);
}

static void the_one_that_comes_first_is_told_and_the_deadline_as_none(void **state) {
  static const struct {
    uint64_t deadline_ms, idle_ms, total_ms;
    int limit;
  } rows[] = {
      {30, 0, 0, 0},
      {30, 40, 50, 0},
      {40, 30, 50, UVF_READ_IDLE},
      {50, 40, 30, UVF_READ_TOTAL},
      {90, 0, 30, UVF_READ_TOTAL},
      {90, 30, 0, UVF_READ_IDLE},
  };
  (void)state;
  clock_freeze();
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_read_limits_t limits = {.min = 10, .idle_ms = rows[i].idle_ms, .total_ms = rows[i].total_ms};
    uint64_t from = frozen_ns;
    uvf_ctx_t *ctx = timeout_of(io.f->root, rows[i].deadline_ms);
    wire_t w;
    rd_t *rd;
    wire_open(&w, LOCAL);
    rd = rd_begin(&w, ctx, 10, &limits);
    assert_int_equal(wire_send(&w, 3), 3);
    turn(&io.f->loop);
    pass_to(from + 30 * MS_NS - 1);
    assert_int_equal(rd->t->done, 0);
    pass_to(from + 30 * MS_NS);
    assert_rd(rd, UV_ETIMEDOUT, 3);
    assert_int_equal(rd->limit, rows[i].limit);
    assert_int_equal(uvf_ctx_err(ctx), rows[i].limit == 0 ? UV_ETIMEDOUT : 0); /* a limit ends the read only */
    assert_int_equal(timeouts_armed(), 0);
    uvf_ctx_release(ctx);
    rd_free(rd);
    wire_close(&w);
  }
}

static void with_the_context_cancelled_elsewhere_a_limit_tells_that(void **state) {
  (void)state;
  for (int total = 0; total < 2; total++) {
    uvf_read_limits_t limits = {.idle_ms = total ? 0 : 20, .total_ms = total ? 20 : 0};
    uvf_ctx_t *ctx = child_of(io.f->root);
    wire_t w;
    rd_t *rd;
    wire_open(&w, LOCAL);
    clock_freeze();
    rd = rd_begin(&w, ctx, 10, &limits);
    on_thread(scene_cancel, ctx); /* the loop does not know yet */
    clock_to(ctx, frozen_ns + 20 * MS_NS);
    run_tally(rd->t);
    assert_rd(rd, UV_ECANCELED, 0);
    assert_int_equal(rd->limit, 0);
    uvf_ctx_release(ctx);
    rd_free(rd);
    wire_close(&w);
  }
}

static void after_a_limit_the_bytes_are_there_for_the_next_read(void **state) {
  uvf_read_limits_t limits = {.min = 10, .total_ms = 20};
  wire_t w;
  rd_t *rd;
  (void)state;
  wire_open(&w, LOCAL);
  clock_freeze();
  rd = rd_begin(&w, io.f->root, 10, &limits);
  assert_int_equal(wire_send(&w, 4), 4);
  turn(&io.f->loop);
  assert_int_equal(wire_send(&w, 20), 20);      /* these are there, */
  clock_to(io.f->root, frozen_ns + 20 * MS_NS); /* and the limit rings before the loop looks */
  run_tally(rd->t);
  assert_rd(rd, UV_ETIMEDOUT, 4);
  wire_take(&w, 20);
  rd_free(rd);
  wire_close(&w);
}

static void however_it_ends_no_timeout_is_left(void **state) {
  uvf_read_limits_t limits = {.idle_ms = HOUR_MS, .total_ms = HOUR_MS};
  (void)state;
  for (int how = 0; how < 6; how++) {
    uvf_ctx_t *ctx = child_of(io.f->root);
    wire_t w;
    rd_t *rd;
    wire_open(&w, LOCAL);
    if (how == 4) uvf_ctx_cancel(ctx);
    rd = rd_begin(&w, ctx, 10, &limits);
    assert_int_equal(timeouts_armed(), how == 4 ? 0 : 2);
    switch (how) {
      case 0: assert_int_equal(wire_send(&w, 4), 4); break;
      case 1: assert_int_equal(uvf_op_cancel((uvf_op_t *)rd_req(rd)), 0); break;
      case 2: uvf_ctx_cancel(ctx); break;
      case 3: uvf_stream_close(w.stream, wire_on_closed); break;
      case 5: wire_hang_up(&w); break;
      default: break;
    }
    run_tally(rd->t);
    assert_int_equal(timeouts_armed(), 0);
    uvf_ctx_release(ctx);
    rd_free(rd);
    wire_close(&w);
  }
}

static void a_refused_start_leaves_no_timeout(void **state) {
  uvf_read_limits_t limits = {.idle_ms = 1, .total_ms = 1};
  uv_tcp_t bare;
  uvf_read_t req;
  char buf[10];
  (void)state;
  assert_int_equal(uv_tcp_init(&io.f->loop, &bare), 0);
  assert_int_equal(uvf_read_start(io.f->root, &req, (uv_stream_t *)&bare, buf, 10, &limits, on_rd), UV_ENOTCONN);
  assert_int_equal(timeouts_armed(), 0);
  uv_close((uv_handle_t *)&bare, NULL);
  turn(&io.f->loop);
}

static void limits_too_far_to_be_counted_never_come(void **state) {
  static const uint64_t far[] = {UINT64_MAX, UINT64_MAX / MS_NS, UINT64_MAX / MS_NS + 1, UINT64_MAX / 2};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(far); i++) {
    uvf_read_limits_t limits = {.min = 2, .idle_ms = far[i], .total_ms = far[i]};
    wire_t w;
    rd_t *rd;
    wire_open(&w, LOCAL);
    rd = rd_begin(&w, io.f->root, 10, &limits);
    assert_int_equal(wire_send(&w, 1), 1);
    an_hour_passes(io.f->root);
    turn(&io.f->loop);
    assert_int_equal(rd->t->done, 0);
    assert_int_equal(wire_send(&w, 1), 1);
    run_tally(rd->t);
    assert_rd(rd, 0, 2);
    rd_free(rd);
    wire_close(&w);
  }
}

static void by_the_systems_clock_no_limit_is_early(void **state) {
  static const uint64_t rows_ms[] = {1, 2, 3, 7, 20};
  (void)state;
  for (size_t i = 0; i < 2 * ARRAY_SIZE(rows_ms); i++) {
    uint64_t ms = rows_ms[i / 2], before, after;
    uvf_read_limits_t limits = {.idle_ms = i % 2 ? ms : 0, .total_ms = i % 2 ? 0 : ms};
    wire_t w;
    rd_t *rd;
    wire_open(&w, LOCAL);
    spin_ns(MS_NS / 3 * i); /* the loop's clock is stale */
    before = uv_hrtime();
    rd = rd_begin(&w, io.f->root, 10, &limits);
    after = uv_hrtime();
    run_tally(rd->t);
    assert_rd(rd, UV_ETIMEDOUT, 0);
    assert_int_equal(rd->limit, i % 2 ? UVF_READ_IDLE : UVF_READ_TOTAL);
    assert_true(rd->t->done_ns >= before + ms * MS_NS);
    assert_true(rd->t->done_ns <= after + ms * MS_NS + GENEROUS_NS);
    rd_free(rd);
    wire_close(&w);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(the_idle_limit_comes_to_the_nanosecond),
      unit_io(every_byte_begins_it_anew),
      unit_io(no_byte_extends_the_total_limit),
      unit_io(the_one_that_comes_first_is_told_and_the_deadline_as_none),
      unit_io(with_the_context_cancelled_elsewhere_a_limit_tells_that),
      unit_io(after_a_limit_the_bytes_are_there_for_the_next_read),
      unit_io(however_it_ends_no_timeout_is_left),
      unit_io(a_refused_start_leaves_no_timeout),
      unit_io(limits_too_far_to_be_counted_never_come),
      unit_io(by_the_systems_clock_no_limit_is_early),
  };
  stream_main();
  return test_run(tests);
}
