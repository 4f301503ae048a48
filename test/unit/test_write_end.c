/* SPDX-License-Identifier: MIT
 *
 * How a write ends early: each way, caught in each state, with and without a release callback; and that nwritten is
 * what the other end can really read.
 *
 *   OVER     the context is over before the start: nothing is sent
 *   STUCK    part of it has gone, the system takes no more
 *   MET      the system would take the rest, the loop does not know yet
 *   READY    libuv's callback has come, ours has not
 *   AFTER    ours has
 */
#include "unit/stream_probe.h"

typedef enum state_e { OVER, STUCK, MET, READY, AFTER, STATES } state_t;

#define LOCAL_MUCH ((size_t)1 << 20) /* more than a local socket takes at once */

typedef struct row_s {
  state_t state;
  int has_release;
  scene_t scene;
  wr_t *wr;
  wire_t wire;
  int rc;
} row_t;

static void row_end(void *arg) {
  row_t *r = arg;
  r->rc = scene_end(&r->scene, (uvf_op_t *)wr_req(r->wr));
}

static void run_and_drain(wire_t *w, const int *flag) {
  while (*flag == 0) {
    wire_drain(w);
    uv_run(&io.f->loop, UV_RUN_NOWAIT);
  }
}

static void row_bring_about(row_t *r) {
  moment_t moment;
  r->wr = wr_new(&r->wire, r->state == AFTER ? 100 : LOCAL_MUCH, r->has_release);
  if (r->state == OVER) row_end(r);
  tally_start(r->wr->t, wr_call_pieces(r->wr, r->scene.ctx, 3));
  if (r->state == MET) wire_drain(&r->wire);
  if (r->state == READY) {
    moment_start(&moment, r->wr->t, row_end, r);
    run_and_drain(&r->wire, &r->wr->t->done);
    assert_true(moment.came);
    moment_stop(&moment);
    return;
  }
  if (r->state == AFTER) {
    r->wr->t->keep = 1; /* uvf_op_cancel wants memory */
    run_tally(r->wr->t);
  }
  if (r->state != OVER) row_end(r);
}

static void row_check(const row_t *r) {
  int in_time = r->state < READY;
  assert_tally(r->wr->t, in_time ? r->scene.err : 0);
  if (r->scene.way == BY_OP) assert_int_equal(r->rc, in_time ? 0 : UV_EBUSY);
  if (r->state == OVER) assert_int_equal(r->wr->in_release, 0);
  if (!in_time) assert_int_equal(r->wr->in_done, r->wr->len);
  if (r->state == STUCK) assert_in_range(r->wr->in_done, 1, r->wr->len - 1);
  if (r->state == STUCK) assert_int_equal(r->wr->in_done, r->wr->in_release);
}

/* The state is brought about, done has come if it may; then the stream is closed, or what is left of it goes. */
static void row_run(row_t *r, int closes) {
  wire_open(&r->wire, LOCAL);
  scene_open(&r->scene, r->scene.way);
  row_bring_about(r);
  for (int i = 0; i < 3; i++) turn(&io.f->loop);
  if (r->state == STUCK) {
    assert_int_equal(r->wr->t->done, r->has_release);
    assert_int_equal(r->wr->t->released, 0);
  }
  if (closes) {
    wire_close_stream(&r->wire);
  } else {
    run_and_drain(&r->wire, r->has_release ? &r->wr->t->released : &r->wr->t->done);
    wire_close_stream(&r->wire);
  }
  run_tally(r->wr->t);
  wire_drain_all(&r->wire);
  assert_int_equal(r->wire.received, r->wr->in_release);
  if (!closes && r->state != OVER) assert_int_equal(r->wire.received, r->wr->len);
}

static void ended_in_every_way_and_state_it_is_told_once_and_counts_what_has_gone(void **state) {
  (void)state;
  for (int variant = 0; variant < 4; variant++) {
    for (state_t s = OVER; s < STATES; s++) {
      for (way_t way = 0; way < WAYS; way++) {
        row_t r = {.state = s, .has_release = variant & 1, .scene.way = way};
        int closes = variant >> 1;
        if (s == OVER && way == BY_OP) continue; /* no request yet */
        row_run(&r, closes);
        if (closes || s != STUCK) row_check(&r);
        if (!closes && s == STUCK) assert_tally(r.wr->t, r.scene.err);
        scene_close(&r.scene);
        wr_free(r.wr);
        wire_close(&r.wire);
      }
    }
  }
}

/* --- several --- */

/* Of three writes the middle one ends when `drains` pieces have been read by the other end. */
static void end_the_middle_one(int drains) {
  uvf_ctx_t *ctx = timeout_of(io.f->root, HOUR_MS);
  size_t third = TOO_MUCH / 2, told, rest;
  wire_t w;
  wr_t *wr[3];
  wire_open(&w, TCP);
  for (size_t i = 0; i < 3; i++) wr[i] = wr_begin(&w, i == 1 ? ctx : io.f->root, third + i, 1, 1);
  while (drains-- > 0 && wr[2]->t->done == 0) {
    wire_drain(&w);
    uv_run(&io.f->loop, UV_RUN_NOWAIT);
  }
  an_hour_passes(ctx);
  turn(&io.f->loop);
  assert_int_equal(wr[1]->t->done, 1);
  told = wr[1]->in_done;
  if (wr[0]->t->done == 0) assert_int_equal(told, 0);
  if (wr[2]->t->done) assert_int_equal(told, third + 1);
  wire_close_stream(&w); /* at once: what was told is what has gone, but for what a turn may have added */
  for (int i = 0; i < 3; i++) run_tally(wr[i]->t);
  wire_drain_all(&w);
  rest = wr[0]->in_release + wr[1]->in_release + wr[2]->in_release;
  assert_int_equal(w.received, rest);
  if (wr[1]->in_release < third + 1) assert_int_equal(wr[2]->in_release, 0);
  if (wr[0]->in_release < third) assert_int_equal(wr[1]->in_release, 0);
  for (int i = 0; i < 3; i++) wr_free(wr[i]);
  uvf_ctx_release(ctx);
  wire_close(&w);
  clock_of_old();
}

static void the_deadline_of_the_middle_one_counts_its_bytes_alone(void **state) {
  (void)state;
  for (int drains = 0; drains <= 24; drains += 3) {
    fixture_t *f = io.f;
    end_the_middle_one(drains);
    fixture_close_root(f); /* the clock goes back: a new wheel */
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uvf_ctx_background(&f->loop, &f->root), 0);
  }
}

static void nwritten_in_done_is_exact_to_the_byte(void **state) {
  uint64_t seed = test_seed();
  (void)state;
  for (size_t i = 0; i < test_scaled(60, 6); i++) {
    uvf_ctx_t *ctx = child_of(io.f->root);
    wire_t w;
    wr_t *wr[6];
    size_t n = 1 + test_rand(&seed) % 6, told = 0, final = 0, gone;
    wire_open(&w, LOCAL);
    for (size_t k = 0; k < n; k++)
      wr[k] = wr_begin(&w, ctx, 1 + test_rand(&seed) % 700000, 1 + (unsigned)(test_rand(&seed) % 20), 1);
    for (size_t k = test_rand(&seed) % 6; k > 0; k--) {
      wire_drain(&w);
      uv_run(&io.f->loop, UV_RUN_NOWAIT);
    }
    if (i % 2) wire_drain(&w); /* there is room */
    gone = w.given - uv_stream_get_write_queue_size(w.stream);
    uvf_ctx_cancel(ctx);
    if (i % 4 < 2) turn(&io.f->loop); /* told before the stream is closed, and perhaps more goes meanwhile; or not */
    uvf_stream_close(w.stream, wire_on_closed);
    for (size_t k = 0; k < n; k++) {
      run_tally(wr[k]->t);
      assert_true(wr[k]->t->status == 0 || wr[k]->t->status == UV_ECANCELED);
      if (i % 4 >= 2) assert_int_equal(wr[k]->in_done, wr[k]->in_release);
      told += wr[k]->in_done;
      final += wr[k]->in_release;
    }
    wire_drain_all(&w);
    assert_in_range(told, gone, final); /* libuv may have sent more before done came */
    if (i % 4 >= 2) assert_int_equal(told, final);
    assert_int_equal(w.received, final);
    for (size_t k = 0; k < n; k++) wr_free(wr[k]);
    uvf_ctx_release(ctx);
    wire_close(&w);
  }
}

static void a_write_of_nothing_keeps_its_place(void **state) {
  (void)state;
  for (int has_release = 0; has_release < 2; has_release++) {
    wire_t w;
    wr_t *before, *wr;
    wire_open(&w, LOCAL);
    before = wr_begin(&w, io.f->root, LOCAL_MUCH, 1, 1);
    wr = wr_begin(&w, io.f->root, 0, 3, has_release);
    turn(&io.f->loop);
    assert_int_equal(wr->t->done, 0);
    run_and_drain(&w, &wr->t->done);
    run_tally(wr->t);
    assert_wr(before, 0, LOCAL_MUCH, LOCAL_MUCH);
    assert_wr(wr, 0, 0, 0);
    wr_free(before);
    wr_free(wr);
    wire_close(&w);
  }
}

/* --- what closes the stream --- */

static void the_end_of_a_guard_of_the_same_context_lets_go_what_has_no_release(void **state) {
  (void)state;
  for (int first = 0; first < 2; first++) { /* the guard is older, or the write */
    uvf_ctx_t *ctx = child_of(io.f->root);
    uvf_guard_t guard;
    wire_t w;
    wr_t *wr = NULL;
    wire_open(&w, LOCAL);
    if (first) wr = wr_begin(&w, ctx, LOCAL_MUCH, 1, 0);
    assert_int_equal(uvf_guard_start(ctx, &guard, handle_of_wire(&w), wire_on_closed), 0);
    if (!first) wr = wr_begin(&w, ctx, LOCAL_MUCH, 1, 0);
    uvf_ctx_cancel(ctx);
    run_tally(wr->t);
    assert_tally(wr->t, UV_ECANCELED);
    run_until(&io.f->loop, &w.closed, 1);
    wire_drain_all(&w);
    assert_int_equal(w.received, wr->in_done);
    uvf_ctx_release(ctx);
    wr_free(wr);
    wire_close(&w);
  }
}

static void closing_the_stream_cancels_what_is_pending(void **state) {
  (void)state;
  for (int by_hand = 0; by_hand < 2; by_hand++) {
    wire_t w;
    wr_t *wr[3];
    size_t told = 0;
    wire_open(&w, LOCAL);
    for (int i = 0; i < 3; i++) wr[i] = wr_begin(&w, io.f->root, LOCAL_MUCH, 1, i % 2);
    for (int i = 0; i < 3; i++) {
      wire_drain(&w);
      uv_run(&io.f->loop, UV_RUN_NOWAIT);
    }
    if (by_hand) {
      uv_close(handle_of_wire(&w), wire_on_closed);
    } else {
      uvf_stream_close(w.stream, wire_on_closed);
    }
    for (int i = 0; i < 3; i++) {
      run_tally(wr[i]->t);
      assert_tally(wr[i]->t, UV_ECANCELED);
      told += wr[i]->in_release;
    }
    run_until(&io.f->loop, &w.closed, 1);
    wire_drain_all(&w);
    if (by_hand) assert_true(told <= w.received); /* nobody has told the library in time */
    if (!by_hand) assert_int_equal(told, w.received);
    for (int i = 0; i < 3; i++) wr_free(wr[i]);
    wire_close(&w);
  }
}

static void on_own(uv_write_t *req, int status) { *(int *)req->data = status == 0 ? 1 : -1; }

static void with_own_writes_behind_it_nwritten_is_at_most_too_small(void **state) {
  uvf_ctx_t *ctx = child_of(io.f->root);
  size_t len = TOO_MUCH / 4, sent;
  char *bytes = malloc(len);
  uv_buf_t buf = uv_buf_init(bytes, (unsigned int)len);
  uv_write_t own;
  int over = 0;
  wire_t w;
  wr_t *wr;
  (void)state;
  assert_non_null(bytes);
  wire_open(&w, LOCAL);
  wr = wr_begin(&w, ctx, len, 1, 1);
  bytes_make(bytes, len, len);
  own.data = &over;
  assert_int_equal(uv_write(&own, w.stream, &buf, 1, on_own), 0);
  wire_drain(&w);
  uv_run(&io.f->loop, UV_RUN_NOWAIT);
  sent = 2 * len - uv_stream_get_write_queue_size(w.stream);
  uvf_ctx_cancel(ctx);
  turn(&io.f->loop);
  assert_int_equal(wr->t->done, 1);
  assert_true(wr->in_done <= sent);
  while (over == 0) {
    wire_drain(&w);
    uv_run(&io.f->loop, UV_RUN_NOWAIT);
  }
  run_tally(wr->t);
  assert_int_equal(over, 1);
  assert_int_equal(wr->in_release, len); /* libuv was done with it */
  wire_close_stream(&w);
  wire_drain_all(&w);
  assert_int_equal(w.received, 2 * len);
  free(bytes);
  uvf_ctx_release(ctx);
  wr_free(wr);
  wire_close(&w);
}

/* What is told once stays told, whatever others queue behind it and wherever it is counted again. */
static void with_own_writes_behind_it_nwritten_does_not_go_down(void **state) {
  uvf_ctx_t *ctx = child_of(io.f->root);
  size_t len = LOCAL_MUCH;
  char *bytes = malloc(len);
  uv_buf_t buf = uv_buf_init(bytes, (unsigned int)len);
  uv_write_t own;
  int over = 0;
  wire_t w;
  wr_t *wr;
  (void)state;
  assert_non_null(bytes);
  wire_open(&w, LOCAL);
  wr = wr_begin(&w, ctx, len, 40, 1); /* so many are not tried first: libuv has queued all of it */
  uvf_ctx_cancel(ctx);
  turn(&io.f->loop);
  assert_int_equal(wr->t->done, 1);
  assert_in_range(wr->in_done, 1, len - 1);
  bytes_make(bytes, len, len);
  own.data = &over;
  assert_int_equal(uv_write(&own, w.stream, &buf, 1, on_own), 0);
  uvf_stream_close(w.stream, wire_on_closed);
  run_tally(wr->t);
  run_until(&io.f->loop, &w.closed, 1);
  assert_wr(wr, UV_ECANCELED, wr->in_done, wr->in_done);
  assert_int_equal(over, -1);
  wire_drain_all(&w);
  assert_int_equal(w.received, wr->in_done);
  free(bytes);
  uvf_ctx_release(ctx);
  wr_free(wr);
  wire_close(&w);
}

/* Libuv has sent part of it when it is asked, then the stream breaks. */
static void what_went_at_once_of_a_write_that_fails_is_counted(void **state) {
  static const unsigned int pieces[] = {1, 16, 17, 40};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
    size_t gone;
    wire_t w;
    wr_t *wr;
    wire_open(&w, LOCAL);
    wr = wr_begin(&w, io.f->root, LOCAL_MUCH, pieces[i], 1);
    gone = LOCAL_MUCH - uv_stream_get_write_queue_size(w.stream);
    assert_in_range(gone, 1, LOCAL_MUCH - 1);
    wire_hang_up(&w);
    run_tally(wr->t);
    assert_true(wr->t->status < 0);
    assert_wr(wr, wr->t->status, gone, gone);
    wr_free(wr);
    wire_close(&w);
  }
}

/* --- not connected yet --- */

static wr_t *early[3];
static uvf_ctx_t *early_ctx;

static void write_early(wire_t *w) {
  for (int i = 0; i < 3; i++) early[i] = wr_begin(w, i == 1 ? early_ctx : io.f->root, 1000, 2, 1);
  uvf_ctx_cancel(early_ctx);
}

static void while_the_stream_connects_writes_wait_and_then_go(void **state) {
  wire_t w;
  (void)state;
  early_ctx = child_of(io.f->root);
  wire_connecting = write_early;
  wire_open(&w, TCP);
  wire_connecting = NULL;
  for (int i = 0; i < 3; i++) {
    run_tally(early[i]->t);
    assert_wr(early[i], i == 1 ? UV_ECANCELED : 0, i == 1 ? 0 : 1000, 1000);
  }
  wire_close_stream(&w);
  wire_drain_all(&w);
  assert_int_equal(w.received, 3000);
  for (int i = 0; i < 3; i++) wr_free(early[i]);
  uvf_ctx_release(early_ctx);
  wire_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(ended_in_every_way_and_state_it_is_told_once_and_counts_what_has_gone),
      unit_io(the_deadline_of_the_middle_one_counts_its_bytes_alone),
      unit_io(nwritten_in_done_is_exact_to_the_byte),
      unit_io(a_write_of_nothing_keeps_its_place),
      unit_io(the_end_of_a_guard_of_the_same_context_lets_go_what_has_no_release),
      unit_io(closing_the_stream_cancels_what_is_pending),
      unit_io(with_own_writes_behind_it_nwritten_is_at_most_too_small),
      unit_io(with_own_writes_behind_it_nwritten_does_not_go_down),
      unit_io(what_went_at_once_of_a_write_that_fails_is_counted),
      unit_io(while_the_stream_connects_writes_wait_and_then_go),
  };
  stream_main();
  return test_run(tests);
}
