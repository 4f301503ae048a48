/* SPDX-License-Identifier: MIT
 *
 * How a read ends early: each way, caught in each state; and what its callback may do, up to freeing the stream in a
 * loop that it runs. Afterwards every byte that was sent is there, in a buffer that counts it or in the stream.
 *
 *   OVER     the context is over before the start; bytes are there
 *   IDLE     nothing has come
 *   PART     some bytes have, fewer than wanted
 *   MET      enough bytes are in the stream, the loop does not know yet
 *   READY    libuv's callback has come, ours has not
 *   AFTER    ours has
 */
#include "unit/stream_probe.h"

typedef enum state_e { OVER, IDLE, PART, MET, READY, AFTER, STATES } state_t;

typedef struct row_s {
  state_t state;
  scene_t scene;
  rd_t *rd;
  wire_t wire;
  int rc;
} row_t;

static void row_end(void *arg) {
  row_t *r = arg;
  r->rc = scene_end(&r->scene, (uvf_op_t *)rd_req(r->rd));
}

static void row_bring_about(row_t *r) {
  uvf_read_limits_t limits = {.min = 10};
  moment_t moment;
  r->rd = rd_new(&r->wire, 20);
  if (r->state == OVER) {
    assert_int_equal(wire_send(&r->wire, 10), 10);
    if (r->scene.way != BY_OP) row_end(r);
  }
  rd_start(r->rd, r->scene.ctx, &limits);
  if (r->state == PART || r->state == READY) {
    assert_int_equal(wire_send(&r->wire, 4), 4);
    turn(&io.f->loop);
    assert_int_equal(rd_req(r->rd)->nread, 4);
  }
  if (r->state == READY) {
    moment_start(&moment, r->rd->t, row_end, r);
    assert_int_equal(wire_send(&r->wire, 6), 6);
    run_tally(r->rd->t);
    assert_true(moment.came);
    moment_stop(&moment);
    return;
  }
  if (r->state == MET || r->state == AFTER) assert_int_equal(wire_send(&r->wire, 10), 10);
  if (r->state == AFTER) {
    r->rd->t->keep = 1; /* uvf_op_cancel wants memory */
    run_tally(r->rd->t);
  }
  if (r->state != OVER || r->scene.way == BY_OP) row_end(r);
}

static void row_check(const row_t *r) {
  int in_time = r->state < READY;
  size_t wanted = in_time ? (r->state == PART ? 4 : 0) : 10;
  assert_rd(r->rd, in_time ? r->scene.err : 0, wanted);
  assert_int_equal(r->rd->limit, 0);
  if (r->scene.way == BY_OP) assert_int_equal(r->rc, in_time ? 0 : UV_EBUSY);
}

static void ended_in_every_way_and_state_it_is_told_once_and_no_byte_is_lost(void **state) {
  (void)state;
  for (state_t s = OVER; s < STATES; s++) {
    for (way_t way = 0; way < WAYS; way++) {
      row_t r = {.state = s};
      wire_open(&r.wire, LOCAL);
      scene_open(&r.scene, way);
      row_bring_about(&r);
      run_tally(r.rd->t);
      row_check(&r);
      assert_int_equal(uv_is_active(handle_of_wire(&r.wire)), 0);
      if (r.wire.sent > r.wire.taken) wire_take(&r.wire, r.wire.sent - r.wire.taken);
      assert_int_equal(wire_send(&r.wire, 5), 5);
      wire_take(&r.wire, 5);
      scene_close(&r.scene);
      rd_free(r.rd);
      wire_close(&r.wire);
    }
  }
}

/* --- cancelled while the loop looks at its descriptors --- */

typedef struct between_s {
  uvf_ctx_t *ctx;
  rd_t *rd;
  int was_pending;
} between_t;

static between_t between;

static void between_on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf) {
  (void)buf;
  if (nread <= 0) return;
  uv_read_stop(stream);
  between.was_pending = between.rd->t->req != NULL && state_of(between.rd->t) == UVF__OP_PENDING;
  on_thread(scene_cancel, between.ctx); /* the library's loop side does not know before it has looked at all */
}

static void of_a_context_that_another_thread_has_just_cancelled_nothing_is_read(void **state) {
  int seen = 0;
  (void)state;
  for (int i = 0; i < 10; i++) { /* of two streams that are ready at once, the right one may be looked at first */
    wire_t first, w;
    wire_open(&first, LOCAL);
    wire_open(&w, LOCAL);
    between.ctx = child_of(io.f->root);
    between.rd = rd_begin(&w, between.ctx, 20, NULL);
    assert_int_equal(uv_read_start(first.stream, wire_on_alloc, between_on_read), 0);
    turn(&io.f->loop);
    assert_int_equal(wire_send(i % 2 ? &w : &first, 10), 10);
    assert_int_equal(wire_send(i % 2 ? &first : &w, 10), 10);
    run_tally(between.rd->t);
    turn(&io.f->loop);
    seen += between.was_pending;
    if (between.was_pending) {
      assert_rd(between.rd, UV_ECANCELED, 0);
      wire_take(&w, 10);
    }
    uvf_ctx_release(between.ctx);
    rd_free(between.rd);
    wire_close(&w);
    wire_close(&first);
  }
  assert_true(seen > 0);
}

/* --- the stream is closed --- */

static void closing_the_stream_ends_the_read_under_whichever_context(void **state) {
  (void)state;
  for (int how = 0; how < 4; how++) {
    uvf_ctx_t *ctx = child_of(io.f->root), *other = child_of(io.f->root);
    uvf_guard_t guard;
    wire_t w;
    rd_t *rd;
    wire_open(&w, TCP);
    assert_int_equal(uvf_guard_start(ctx, &guard, handle_of_wire(&w), wire_on_closed), 0);
    rd = rd_begin(&w, how == 3 ? ctx : other, 20, NULL);
    if (how == 0) {
      assert_int_equal(uvf_guard_stop(&guard), 0);
      io_do(uvf_stream_close(w.stream, wire_on_closed));
      io_do(uvf_stream_close(w.stream, wire_on_closed)); /* the second time nothing */
    } else if (how == 1) {
      assert_int_equal(io_call(uvf_guard_close(&guard)), 0);
    } else {
      io_do(uvf_ctx_cancel(ctx));
    }
    assert_int_equal(w.closed, 0);
    run_tally(rd->t);
    assert_rd(rd, UV_ECANCELED, 0);
    run_until(&io.f->loop, &w.closed, 1);
    assert_int_equal(w.closed, 1);
    uvf_ctx_release(ctx);
    uvf_ctx_release(other);
    rd_free(rd);
    wire_close(&w);
  }
  uvf_stream_close(NULL, NULL);
}

static void close_now(void *arg) { uvf_stream_close(((wire_t *)arg)->stream, wire_on_closed); }

static void what_had_been_read_when_the_stream_is_closed_is_told(void **state) {
  uvf_read_limits_t limits = {.min = 10};
  moment_t moment;
  wire_t w;
  rd_t *rd;
  (void)state;
  wire_open(&w, LOCAL); /* some bytes, of more */
  rd = rd_begin(&w, io.f->root, 20, &limits);
  assert_int_equal(wire_send(&w, 4), 4);
  turn(&io.f->loop);
  close_now(&w);
  run_tally(rd->t);
  assert_rd(rd, UV_ECANCELED, 4);
  rd_free(rd);
  wire_close(&w);
  wire_open(&w, LOCAL); /* all, but it is not told yet */
  rd = rd_begin(&w, io.f->root, 20, NULL);
  moment_start(&moment, rd->t, close_now, &w);
  assert_int_equal(wire_send(&w, 4), 4);
  run_tally(rd->t);
  assert_rd(rd, 0, 4);
  run_until(&io.f->loop, &w.closed, 1);
  moment_stop(&moment);
  rd_free(rd);
  wire_close(&w);
}

/* --- inside the callback --- */

static void read_next(rd_t *rd) { rd_start((rd_t *)rd->arg, io.f->root, NULL); }

static void reads_started_in_each_others_callbacks_bring_a_stream_in_order(void **state) {
  enum { READS = 500 };
  rd_t *reads[READS];
  wire_t w;
  (void)state;
  wire_open(&w, LOCAL);
  for (int i = READS - 1; i >= 0; i--) {
    reads[i] = rd_new(&w, 1 + (size_t)i % 7);
    if (i == READS - 1) continue;
    reads[i]->arg = reads[i + 1];
    reads[i]->then = read_next;
  }
  assert_int_equal(wire_send(&w, 4000), 4000);
  rd_start(reads[0], io.f->root, NULL);
  run_until(&io.f->loop, &reads[READS - 1]->t->done, 1);
  for (int i = 0; i < READS; i++) assert_rd(reads[i], 0, 1 + (size_t)i % 7);
  wire_take(&w, w.sent - w.taken);
  for (int i = 0; i < READS; i++) rd_free(reads[i]);
  wire_close(&w);
}

static void close_by_hand(rd_t *rd) {
  uv_close(handle_of_wire(rd->wire), wire_on_closed);
  io_expect(rd_call((rd_t *)rd->arg, io.f->root, NULL) == UV_EINVAL, "a read on a closing stream was taken");
}

static void close_by_library(rd_t *rd) { uvf_stream_close(rd->wire->stream, wire_on_closed); }

static void close_and_run(rd_t *rd) {
  uvf_stream_close(rd->wire->stream, wire_on_closed);
  while (rd->wire->closed == 0) uv_run(&io.f->loop, UV_RUN_NOWAIT); /* the stream is freed in there */
}

static void start_and_close_and_run(rd_t *rd) {
  rd_start((rd_t *)rd->arg, io.f->root, NULL);
  close_and_run(rd);
}

static void the_callback_may_close_the_stream_and_see_it_gone(void **state) {
  static void (*const acts[])(rd_t * rd) = {close_by_hand, close_by_library, close_and_run, start_and_close_and_run};
  (void)state;
  io.nested = 1;
  for (size_t i = 0; i < ARRAY_SIZE(acts); i++) {
    wire_t w;
    rd_t *rd, *other;
    wire_open(&w, LOCAL);
    other = rd_new(&w, 5);
    rd = rd_new(&w, 5);
    rd->then = acts[i];
    rd->arg = other;
    rd_start(rd, io.f->root, NULL);
    assert_int_equal(wire_send(&w, 20), 20);
    run_tally(rd->t);
    assert_rd(rd, 0, 5);
    run_until(&io.f->loop, &w.closed, 1);
    assert_int_equal(other->t->done, acts[i] == start_and_close_and_run);
    if (other->t->done) assert_int_equal(other->t->status, UV_ECANCELED);
    rd_free(other);
    rd_free(rd);
    wire_close(&w);
  }
}

static size_t own_bytes;

static void own_on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf) {
  wire_t *w = stream->data;
  if (nread <= 0) return;
  io_expect(bytes_are(buf->base, (size_t)nread, w->taken), "a byte was lost, doubled or moved");
  w->taken += (size_t)nread;
  own_bytes += (size_t)nread;
}

static void read_myself(rd_t *rd) {
  io_expect(uv_read_start(rd->wire->stream, wire_on_alloc, own_on_read) == 0, "the stream is not free");
}

static void in_the_callback_the_stream_is_free_for_ones_own_reading(void **state) {
  wire_t w;
  rd_t *rd;
  (void)state;
  own_bytes = 0;
  wire_open(&w, LOCAL);
  rd = rd_new(&w, 5);
  rd->then = read_myself;
  rd_start(rd, io.f->root, NULL);
  assert_int_equal(wire_send(&w, 20), 20);
  run_tally(rd->t);
  turn(&io.f->loop);
  assert_int_equal(own_bytes, 15);
  assert_int_not_equal(uv_is_active(handle_of_wire(&w)), 0); /* the library leaves it alone */
  assert_int_equal(uv_read_stop(w.stream), 0);
  rd_free(rd);
  wire_close(&w);
}

static void the_callback_may_read_next_stream(void **state) {
  wire_t w[2];
  rd_t *rd[2];
  (void)state;
  for (int i = 0; i < 2; i++) {
    wire_open(&w[i], LOCAL);
    rd[i] = rd_new(&w[i], 5);
    assert_int_equal(wire_send(&w[i], 9), 9);
  }
  rd[0]->then = read_next;
  rd[0]->arg = rd[1];
  rd_start(rd[0], io.f->root, NULL);
  for (int i = 0; i < 2; i++) {
    run_until(&io.f->loop, &rd[i]->t->done, 1);
    assert_rd(rd[i], 0, 5);
    assert_int_equal(uv_is_active(handle_of_wire(&w[i])), 0);
  }
  for (int i = 0; i < 2; i++) {
    wire_take(&w[i], 4);
    rd_free(rd[i]);
    wire_close(&w[i]);
  }
}

/* --- told late --- */

static void send_more(void *arg) {
  wire_t *w = arg;
  io_expect(wire_send(w, 8) == 8, "the wire is full");
  io_expect(!uv_is_active(handle_of_wire(w)), "it is read although nobody wants more");
}

static void on_slept(uvf_sleep_t *req, int status) {
  (void)status;
  (*(int *)req->data)++;
}

static void told_turns_later_it_has_only_what_it_was_done_with(void **state) {
  enum { MANY = 5000 };
  uvf_ctx_t *ctx = child_of(io.f->root);
  uvf_sleep_t *sleeps = calloc(MANY, sizeof *sleeps);
  int slept = 0;
  moment_t moment;
  wire_t w;
  rd_t *rd;
  (void)state;
  assert_non_null(sleeps);
  wire_open(&w, LOCAL);
  rd = rd_begin(&w, io.f->root, 100, NULL);
  for (int i = 0; i < MANY; i++) {
    sleeps[i].data = &slept;
    assert_int_equal(uvf_sleep_start(ctx, &sleeps[i], HOUR_MS, on_slept), 0);
  }
  assert_int_equal(wire_send(&w, 8), 8);
  moment_start(&moment, rd->t, send_more, &w);
  uvf_ctx_cancel(ctx); /* more callbacks than one turn makes */
  run_tally(rd->t);
  assert_true(moment.came);
  assert_int_equal(slept, MANY);
  assert_rd(rd, 0, 8);
  wire_take(&w, 8);
  moment_stop(&moment);
  free(sleeps);
  uvf_ctx_release(ctx);
  rd_free(rd);
  wire_close(&w);
}

/* --- a loop that has had a root before --- */

static wire_t renewed[2]; /* both have bytes in the same turn */
static rd_t *renewed_rd;

/* The first of the two in the poll: a root is made here, and the other stream, whose turn is next, read under it. */
static void read_the_other_under_a_new_root(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf) {
  wire_t *other = stream->data == &renewed[0] ? &renewed[1] : &renewed[0];
  (void)buf;
  if (nread <= 0) return;
  io_expect(io.f->root == NULL, "a second one came, though it is not read any more");
  uv_read_stop(stream);
  uv_read_stop(other->stream);
  io_expect(uvf_ctx_background(&io.f->loop, &io.f->root) == 0, "there is no new root");
  renewed_rd = rd_begin(other, io.f->root, 10, NULL);
}

static void in_a_turn_that_began_without_a_root_a_stream_is_read_under_a_new_one(void **state) {
  (void)state;
  for (int medium = 0; medium < MEDIA; medium++) {
    for (int i = 0; i < 2; i++) wire_open(&renewed[i], (medium_t)medium);
    turn(&io.f->loop);
    fixture_close_root(io.f);
    turn(&io.f->loop);
    renewed_rd = NULL;
    for (int i = 0; i < 2; i++) {
      assert_int_equal(uv_read_start(renewed[i].stream, wire_on_alloc, read_the_other_under_a_new_root), 0);
      assert_int_equal(wire_send(&renewed[i], 7), 7);
    }
    wire_settle((medium_t)medium);
    while (renewed_rd == NULL) uv_run(&io.f->loop, UV_RUN_ONCE);
    run_tally(renewed_rd->t);
    assert_rd(renewed_rd, 0, 7);
    rd_free(renewed_rd);
    for (int i = 0; i < 2; i++) wire_close(&renewed[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(ended_in_every_way_and_state_it_is_told_once_and_no_byte_is_lost),
      unit_io(of_a_context_that_another_thread_has_just_cancelled_nothing_is_read),
      unit_io(closing_the_stream_ends_the_read_under_whichever_context),
      unit_io(what_had_been_read_when_the_stream_is_closed_is_told),
      unit_io(reads_started_in_each_others_callbacks_bring_a_stream_in_order),
      unit_io(the_callback_may_close_the_stream_and_see_it_gone),
      unit_io(in_the_callback_the_stream_is_free_for_ones_own_reading),
      unit_io(the_callback_may_read_next_stream),
      unit_io(told_turns_later_it_has_only_what_it_was_done_with),
      unit_io(in_a_turn_that_began_without_a_root_a_stream_is_read_under_a_new_one),
  };
  stream_main();
  return test_run(tests);
}
