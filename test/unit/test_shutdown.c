/* SPDX-License-Identifier: MIT
 *
 * io.h: shutting down the writing side: behind what is pending, ended early in every way and state, refused; and
 * uvf_stream_close with everything pending at once.
 *
 *   OVER     the context is over before the start: the stream is as it was
 *   STUCK    a write is pending before it
 *   READY    libuv's callback has come, ours has not
 *   AFTER    ours has
 */
#include "unit/stream_probe.h"

typedef enum state_e { OVER, STUCK, READY, AFTER, STATES } state_t;

#define LOCAL_MUCH ((size_t)1 << 20) /* more than a local socket takes at once */

static void on_sh(uvf_shutdown_t *req, int status) { tally_done(req->data, status); }
static void on_sh_release(uvf_shutdown_t *req) { tally_release(req->data); }

static tally_t *sh_new(int has_release) {
  tally_t *t = tally_new(sizeof(uvf_shutdown_t));
  t->has_release = has_release;
  return t;
}

static int sh_call(tally_t *t, uvf_ctx_t *ctx, wire_t *w) {
  return uvf_shutdown_start(ctx, t->req, w->stream, on_sh, t->has_release ? on_sh_release : NULL);
}

static tally_t *sh_begin(wire_t *w, uvf_ctx_t *ctx, int has_release) {
  tally_t *t = sh_new(has_release);
  tally_start(t, sh_call(t, ctx, w));
  return t;
}

static void run_and_drain(wire_t *w, const int *flag) {
  while (*flag == 0) {
    wire_drain(w);
    uv_run(&io.f->loop, UV_RUN_NOWAIT);
  }
}

static void the_other_end_sees_the_end_and_ours_reads_on(void **state) {
  (void)state;
  for (medium_t medium = 0; medium < MEDIA; medium++) {
    for (int has_release = 0; has_release < 2; has_release++) {
      wire_t w;
      tally_t *t;
      wire_open(&w, medium);
      t = sh_begin(&w, io.f->root, has_release);
      run_tally(t);
      assert_tally(t, 0);
      wire_drain_all(&w);
      assert_int_equal(w.peer_eof, 1);
      assert_int_equal(wire_send(&w, 10), 10);
      wire_take(&w, 10);
      wire_close(&w);
    }
  }
}

static void it_waits_for_the_writes_before_it(void **state) {
  wire_t w;
  wr_t *wr[2];
  tally_t *t;
  (void)state;
  wire_open(&w, LOCAL);
  for (int i = 0; i < 2; i++) wr[i] = wr_begin(&w, io.f->root, LOCAL_MUCH, 1, 1);
  t = sh_begin(&w, io.f->root, 1);
  turn(&io.f->loop);
  assert_int_equal(t->done, 0);
  run_and_drain(&w, &t->released);
  assert_tally(t, 0);
  for (int i = 0; i < 2; i++) assert_wr(wr[i], 0, LOCAL_MUCH, LOCAL_MUCH);
  assert_true(wr[1]->t->done_at < t->done_at);
  wire_drain_all(&w);
  assert_int_equal(w.received, 2 * LOCAL_MUCH);
  for (int i = 0; i < 2; i++) wr_free(wr[i]);
  wire_close(&w);
}

/* --- ended early --- */

typedef struct row_s {
  state_t state;
  scene_t scene;
  wire_t wire;
  wr_t *wr; /* before it */
  tally_t *t;
  int rc;
} row_t;

static void row_end(void *arg) {
  row_t *r = arg;
  r->rc = scene_end(&r->scene, op_of_tally(r->t));
}

static void row_bring_about(row_t *r) {
  moment_t moment;
  if (r->state == STUCK || r->state == READY) r->wr = wr_begin(&r->wire, io.f->root, LOCAL_MUCH, 1, 1);
  if (r->state == OVER) row_end(r);
  if (r->state == AFTER) r->t->keep = 1; /* uvf_op_cancel wants memory */
  tally_start(r->t, sh_call(r->t, r->scene.ctx, &r->wire));
  if (r->state == READY) {
    moment_start(&moment, r->t, row_end, r);
    run_and_drain(&r->wire, &r->t->done);
    assert_true(moment.came);
    moment_stop(&moment);
    return;
  }
  if (r->state == AFTER) run_tally(r->t);
  if (r->state != OVER) row_end(r);
}

static void row_run(row_t *r, way_t way, int has_release, int closes) {
  int in_time = r->state < READY;
  wire_open(&r->wire, LOCAL);
  scene_open(&r->scene, way);
  r->t = sh_new(has_release);
  row_bring_about(r);
  for (int i = 0; i < 3; i++) turn(&io.f->loop);
  if (r->state == STUCK) {
    assert_int_equal(r->t->done, has_release);
    assert_int_equal(r->t->released, 0);
    if (!closes) run_and_drain(&r->wire, has_release ? &r->t->released : &r->t->done);
  }
  if (r->state == OVER) { /* nothing was begun */
    r->wr = wr_begin(&r->wire, io.f->root, 10, 1, 1);
    run_tally(r->wr->t);
    assert_wr(r->wr, 0, 10, 10);
  }
  if (closes) wire_close_stream(&r->wire);
  run_tally(r->t);
  assert_tally(r->t, in_time ? r->scene.err : 0);
  if (way == BY_OP) assert_int_equal(r->rc, in_time ? 0 : UV_EBUSY);
  if (!closes && r->state != OVER) { /* it is shut down, whatever was told */
    wire_drain_all(&r->wire);
    assert_int_equal(r->wire.received, r->wire.given);
  }
  scene_close(&r->scene);
  wire_close(&r->wire);
  if (r->wr != NULL) wr_free(r->wr);
}

static void ended_in_every_way_and_state_it_is_told_once(void **state) {
  (void)state;
  for (int variant = 0; variant < 4; variant++) {
    for (state_t s = OVER; s < STATES; s++) {
      for (way_t way = 0; way < WAYS; way++) {
        row_t r = {.state = s};
        if (s == OVER && way == BY_OP) continue; /* no request yet */
        row_run(&r, way, variant & 1, variant >> 1);
      }
    }
  }
}

/* --- refused --- */

static void what_cannot_be_shut_down_is_refused(void **state) {
  uvf_ctx_t *root = io.f->root;
  uvf_shutdown_t req;
  uv_loop_t loop;
  uv_tcp_t foreign, bare;
  tally_t *t;
  char byte = 'x';
  uv_buf_t buf = uv_buf_init(&byte, 1);
  uvf_write_t write;
  wire_t w;
  (void)state;
  wire_open(&w, LOCAL);
  assert_int_equal(uv_loop_init(&loop), 0);
  assert_int_equal(uv_tcp_init(&loop, &foreign), 0);
  assert_int_equal(uv_tcp_init(&io.f->loop, &bare), 0);
  memset(&req, 0xff, sizeof req);
  assert_int_equal(uvf_shutdown_start(NULL, &req, w.stream, on_sh, NULL), UV_EINVAL);
  assert_int_equal(uvf_shutdown_start(root, NULL, w.stream, on_sh, NULL), UV_EINVAL);
  assert_int_equal(uvf_shutdown_start(root, &req, NULL, on_sh, NULL), UV_EINVAL);
  assert_int_equal(uvf_shutdown_start(root, &req, (uv_stream_t *)&foreign, on_sh, NULL), UV_EINVAL);
  assert_int_equal(uvf_shutdown_start(root, &req, (uv_stream_t *)&bare, on_sh, NULL), UV_ENOTCONN);
  uv_close((uv_handle_t *)&bare, NULL);
  assert_int_equal(uvf_shutdown_start(root, &req, (uv_stream_t *)&bare, on_sh, NULL), UV_EINVAL);
  assert_int_equal(stats_of(root).ops, 0);
  t = sh_begin(&w, root, 1);
  assert_int_equal(uvf_shutdown_start(root, &req, w.stream, on_sh, NULL), UV_ENOTCONN); /* is being shut down */
  assert_int_equal(uvf_write_start(root, &write, w.stream, &buf, 1, on_wr, NULL), UV_EPIPE);
  run_tally(t);
  assert_int_equal(uvf_shutdown_start(root, &req, w.stream, on_sh, NULL), UV_ENOTCONN); /* is */
  assert_int_equal(uvf_write_start(root, &write, w.stream, &buf, 1, on_wr, NULL), UV_EPIPE);
  assert_int_equal(stats_of(root).ops, 0);
  uv_close((uv_handle_t *)&foreign, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
  turn(&io.f->loop);
  wire_close(&w);
}

typedef struct again_s {
  tally_t *t;
  wire_t *wire;
} again_t;

static void start_again(void *arg) { (void)sh_call(((again_t *)arg)->t, io.f->root, ((again_t *)arg)->wire); }

static void starting_one_that_is_started_is_misuse(void **state) {
  wire_t w, other;
  wr_t *wr;
  again_t again;
  (void)state;
  wire_open(&w, LOCAL);
  wire_open(&other, LOCAL);
  wr = wr_begin(&w, io.f->root, LOCAL_MUCH, 1, 1);
  again.t = sh_begin(&w, io.f->root, 1);
  again.wire = &other;
  if (test_rules_on()) {
    const char *rule = test_expect_rule(start_again, &again);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_shutdown_start: ", strlen("uvf_shutdown_start: "));
  }
  wire_close_stream(&w);
  run_tally(again.t);
  assert_tally(again.t, UV_ECANCELED);
  wr_free(wr);
  wire_close(&other);
  wire_close(&w);
}

static void callbacks_that_nobody_wants_are_left_out(void **state) {
  uvf_shutdown_t req;
  wire_t w;
  (void)state;
  wire_open(&w, LOCAL);
  memset(&req, 0xff, sizeof req);
  assert_int_equal(uvf_shutdown_start(io.f->root, &req, w.stream, NULL, NULL), 0);
  wire_drain_all(&w);
  turn(&io.f->loop);
  assert_int_equal(req.status, 0);
  assert_int_equal(stats_of(io.f->root).ops, 0);
  wire_close(&w);
}

/* --- a stream is closed --- */

static void a_stream_is_closed_in_every_state(void **state) {
  (void)state;
  for (unsigned int what = 0; what < 16; what++) { /* a read, a write, a shutdown are pending; they are told before */
    uvf_ctx_t *ctx = child_of(io.f->root);
    wire_t w;
    rd_t *rd = NULL;
    wr_t *wr = NULL;
    tally_t *t = NULL;
    int err = what & 8 ? UV_ECANCELED : 0;
    wire_open(&w, what & 2 ? LOCAL : TCP);
    if (what & 1) rd = rd_begin(&w, ctx, 10, NULL);
    if (what & 2) wr = wr_begin(&w, ctx, LOCAL_MUCH, 1, 1);
    if (what & 4) t = sh_begin(&w, ctx, what & 8 ? 1 : 0);
    if (what & 8) {
      uvf_ctx_cancel(ctx);
      turn(&io.f->loop);
    }
    if (rd != NULL) assert_int_equal(rd->t->done, err != 0);
    if (wr != NULL) assert_int_equal(wr->t->done, err != 0);
    io_do(uvf_stream_close(w.stream, wire_on_closed));
    io_do(uvf_stream_close(w.stream, NULL)); /* closing: nothing */
    run_until(&io.f->loop, &w.closed, 1);
    turn(&io.f->loop);
    if (rd != NULL) assert_rd(rd, UV_ECANCELED, 0);
    if (wr != NULL) assert_tally(wr->t, UV_ECANCELED);
    if (t != NULL && wr != NULL) assert_tally(t, UV_ECANCELED);
    if (t != NULL) assert_int_equal(t->done, 1);
    assert_int_equal(stats_of(io.f->root).ops, 0);
    wire_drain_all(&w);
    if (wr != NULL) assert_int_equal(w.received, wr->in_release);
    if (rd != NULL) rd_free(rd);
    if (wr != NULL) wr_free(wr);
    uvf_ctx_release(ctx);
    wire_close(&w);
  }
}

static void a_stream_of_a_loop_without_a_root_is_closed_too(void **state) {
  uv_loop_t loop;
  uv_tcp_t bare;
  (void)state;
  assert_int_equal(uv_loop_init(&loop), 0);
  assert_int_equal(uv_tcp_init(&loop, &bare), 0);
  uvf_stream_close((uv_stream_t *)&bare, NULL);
  assert_int_not_equal(uv_is_closing((uv_handle_t *)&bare), 0);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(the_other_end_sees_the_end_and_ours_reads_on),
      unit_io(it_waits_for_the_writes_before_it),
      unit_io(ended_in_every_way_and_state_it_is_told_once),
      unit_io(what_cannot_be_shut_down_is_refused),
      unit_io(starting_one_that_is_started_is_misuse),
      unit_io(callbacks_that_nobody_wants_are_left_out),
      unit_io(a_stream_is_closed_in_every_state),
      unit_io(a_stream_of_a_loop_without_a_root_is_closed_too),
  };
  stream_main();
  return test_run(tests);
}
