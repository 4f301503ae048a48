/* SPDX-License-Identifier: MIT
 *
 * kernel/hub.h: which hub a loop has, asked from a callback of libuv's poll, where the answer of the turn before is
 * kept: the root may be gone since, there may be another one, the loop may have been run by another thread, or be
 * another loop at the same address. And a stream that is read in such a turn.
 */
#include "unit/stream_probe.h"

static uvf__hub_t *hub_here(void) { return uvf__hub_here(&io.f->loop); }
static uvf__hub_t *hub_found(void) { return uvf__hub_find(&io.f->loop); }

/* --- a look from the poll --- */

typedef struct look_s {
  uv_async_t async;
  int looks;
  uvf__hub_t *saw;
  void (*then)(void);
} look_t;

static void on_look(uv_async_t *async) {
  look_t *look = async->data;
  look->looks++;
  look->saw = hub_here();
  io_expect(look->saw == hub_found(), "another hub than the loop's");
  if (look->then == NULL) return;
  look->then();
  io_expect(hub_here() == hub_found(), "another hub than the loop's, when that has changed");
}

static void look_open(look_t *look) {
  memset(look, 0, sizeof *look);
  assert_int_equal(uv_async_init(&io.f->loop, &look->async, on_look), 0);
  look->async.data = look;
}

static void look_close(look_t *look) {
  uv_close((uv_handle_t *)&look->async, NULL);
  turn(&io.f->loop);
}

static uvf__hub_t *look_once(look_t *look) {
  int before = look->looks;
  assert_int_equal(uv_async_send(&look->async), 0);
  run_until(&io.f->loop, &look->looks, before + 1);
  return look->saw;
}

static void make_root(void) { io_expect(uvf_ctx_background(&io.f->loop, &io.f->root) == 0, "there is no new root"); }

static void a_loop_has_its_hub_as_long_as_it_has_a_root_and_then_nobodys(void **state) {
  uvf__hub_t *first;
  look_t look;
  (void)state;
  look_open(&look);
  first = look_once(&look);
  assert_non_null(first);
  assert_ptr_equal(look_once(&look), first);
  for (int i = 0; i < 3; i++) {
    fixture_close_root(io.f);
    assert_null(look_once(&look));
    look.then = make_root; /* in the callback: the turn has begun without one */
    assert_null(look_once(&look));
    look.then = NULL;
    assert_non_null(look_once(&look));
  }
  look_close(&look);
}

static int closed;

static void on_closed(uvf_ctx_t *root) {
  (void)root;
  closed++;
}

/* In every turn from the close to its callback, and in those of the next root beside it. */
static void while_a_root_is_closed_its_hub_is_left_at_once_for_the_next_one(void **state) {
  (void)state;
  for (int turns = 0; turns < 6; turns++) {
    look_t look;
    closed = 0;
    look_open(&look);
    (void)look_once(&look);
    uvf_ctx_close(io.f->root, on_closed);
    io.f->root = NULL;
    for (int i = 0; i < 6; i++) {
      if (i == turns) make_root();
      uv_async_send(&look.async);
      uv_run(&io.f->loop, UV_RUN_NOWAIT);
      if (i >= turns) assert_non_null(look_once(&look));
    }
    assert_int_equal(closed, 1);
    look_close(&look);
  }
}

/* --- another loop in between --- */

static void run_another_loop(void) {
  uvf_ctx_t *root = NULL;
  uv_loop_t other;
  int before = closed;
  io_expect(uv_loop_init(&other) == 0, "no loop");
  io_expect(uvf_ctx_background(&other, &root) == 0, "no root");
  for (int i = 0; i < 3; i++) uv_run(&other, UV_RUN_NOWAIT);
  io_expect(uvf__hub_here(&other) == uvf__hub_find(&other), "another hub than that of the inner loop");
  io_expect(hub_here() == hub_found(), "another hub than that of the outer loop");
  uvf_ctx_close(root, on_closed);
  uv_run(&other, UV_RUN_DEFAULT);
  io_expect(closed == before + 1, "the inner root was not closed");
  io_expect(uvf__hub_here(&other) == NULL, "the inner loop has a hub without a root");
  io_expect(uv_loop_close(&other) == 0, "the inner loop was not closed");
}

static void a_loop_that_ran_inside_is_not_taken_for_the_outer_one(void **state) {
  look_t look;
  (void)state;
  look_open(&look);
  look.then = run_another_loop;
  for (int i = 0; i < 3; i++) assert_non_null(look_once(&look));
  look_close(&look);
}

/* --- a read in a turn that began without a root --- */

static wire_t wires[2]; /* both have bytes in the same turn */
static rd_t *begun;

/* In the one of the two that comes first: the other one's event is in libuv's hands already. */
static void read_the_other(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf) {
  wire_t *other = stream->data == &wires[0] ? &wires[1] : &wires[0];
  (void)buf;
  if (nread <= 0) return;
  uv_read_stop(stream);
  uv_read_stop(other->stream);
  io_expect(hub_here() == NULL, "a hub was found, and there is no root");
  make_root();
  io_expect(hub_here() == hub_found(), "not the new root's hub");
  begun = rd_begin(other, io.f->root, 10, NULL);
}

static void wires_open(void) {
  for (int i = 0; i < 2; i++) wire_open(&wires[i], LOCAL);
  turn(&io.f->loop);
}

static void wires_read(void) {
  begun = NULL;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(uv_read_start(wires[i].stream, wire_on_alloc, read_the_other), 0);
    assert_int_equal(wire_send(&wires[i], 7), 7);
  }
  while (begun == NULL) uv_run(&io.f->loop, UV_RUN_ONCE);
  run_tally(begun->t);
  assert_rd(begun, 0, 7);
  rd_free(begun);
  for (int i = 0; i < 2; i++) wire_close(&wires[i]);
}

static void a_root_closed_by_this_thread_is_not_found(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) {
    wires_open();
    fixture_close_root(io.f);
    wires_read();
  }
}

/* Each runs the loop in its turn. */
static void close_there(void *arg) {
  fixture_t *f = arg;
  uvf_ctx_t *root = f->root;
  f->root = NULL;
  closed = 0;
  uvf_ctx_run_here(root);
  for (int i = 0; i < 3; i++) uv_run(&f->loop, UV_RUN_NOWAIT);
  uvf_ctx_close(root, on_closed);
  while (!closed) uv_run(&f->loop, UV_RUN_NOWAIT);
}

static void a_root_closed_by_another_thread_that_ran_the_loop_is_not_found(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) {
    wires_open(); /* this thread has polled with the hub */
    on_thread(close_there, io.f);
    assert_int_equal(closed, 1);
    wires_read();
  }
}

static void replace_there(void *arg) {
  close_there(arg);
  make_root();
  for (int i = 0; i < 3; i++) uv_run(&io.f->loop, UV_RUN_NOWAIT);
}

static void a_root_that_another_thread_has_replaced_is_found(void **state) {
  look_t look;
  (void)state;
  look_open(&look);
  for (int i = 0; i < 3; i++) {
    assert_non_null(look_once(&look));
    on_thread(replace_there, io.f);
    uvf_ctx_run_here(io.f->root);
    assert_ptr_equal(hub_here(), hub_found());
    assert_non_null(look_once(&look));
  }
  look_close(&look);
}

static void a_second_loop_at_the_same_address_has_nothing_of_the_first(void **state) {
  uv_loop_t *loop = &io.f->loop;
  (void)state;
  for (int i = 0; i < 3; i++) {
    look_t look;
    turn(loop);
    fixture_close_root(io.f);
    assert_int_equal(uv_loop_close(loop), 0);
    memset(loop, 0xff, sizeof *loop);
    assert_int_equal(uv_loop_init(loop), 0);
    loop->data = io.f;
    assert_null(hub_here());
    look_open(&look);
    assert_null(look_once(&look));
    wires_open();
    wires_read();
    look_close(&look);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(a_loop_has_its_hub_as_long_as_it_has_a_root_and_then_nobodys),
      unit_io(while_a_root_is_closed_its_hub_is_left_at_once_for_the_next_one),
      unit_io(a_loop_that_ran_inside_is_not_taken_for_the_outer_one),
      unit_io(a_root_closed_by_this_thread_is_not_found),
      unit_io(a_root_closed_by_another_thread_that_ran_the_loop_is_not_found),
      unit_io(a_root_that_another_thread_has_replaced_is_found),
      unit_io(a_second_loop_at_the_same_address_has_nothing_of_the_first),
  };
  stream_main();
  return test_run(tests);
}
