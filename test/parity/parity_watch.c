/* SPDX-License-Identifier: MIT
 *
 * Parity rows C-74 to C-78, C-88, C-89: watchers, which are what AfterFunc is in Go.
 */
#include "parity.h"
#include "race.h"

static void c74_called_after_the_cancel_and_not_before(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = cancel_of(f->root);
  counted_t c;
  watch_start(&c, ctx, NULL);
  settle(&f->loop);
  assert_int_equal(c.calls, 0);
  uvf_ctx_cancel(ctx);
  assert_int_equal(c.calls, 0);
  run_until(&f->loop, &c.calls, 1);
  assert_called_once(&c, UV_ECANCELED);
  assert_int_equal(c.watch.status, UV_ECANCELED);
  assert_int_equal(uvf_watch_stop(&c.watch), UVF_STOP_DONE);
  settle(&f->loop);
  assert_called_once(&c, UV_ECANCELED);
  RELEASE(ctx);
}

static void c75_called_after_a_deadline(void **state) {
  fixture_t *f = *state;
  uint64_t start = uv_hrtime();
  uvf_ctx_t *ctx = timeout_of(f->root, 1);
  counted_t c;
  watch_start(&c, ctx, NULL);
  run_until(&f->loop, &c.calls, 1);
  assert_called_once(&c, UV_ETIMEDOUT);
  assert_true(c.called_ns >= start + MS_NS);
  assert_int_equal(uvf_watch_stop(&c.watch), UVF_STOP_DONE);
  RELEASE(ctx);
}

static void c76_called_for_a_context_that_is_over(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = cancel_of(f->root);
  counted_t c;
  uvf_ctx_cancel(ctx);
  watch_start(&c, ctx, NULL); /* asserts that it was not called inside */
  RELEASE(ctx);               /* the watcher holds it */
  run_until(&f->loop, &c.calls, 1);
  settle(&f->loop);
  assert_called_once(&c, UV_ECANCELED);
  assert_int_equal(stats(f->root).contexts, 1);
}

static void c77_a_stopped_watcher_is_never_called(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = cancel_of(f->root);
  counted_t c;
  watch_start(&c, ctx, NULL);
  assert_int_equal(uvf_watch_stop(&c.watch), UVF_STOP_REMOVED);
  assert_int_equal(uvf_watch_stop(&c.watch), UVF_STOP_DONE);
  uvf_ctx_cancel(ctx);
  settle(&f->loop);
  assert_int_equal(c.calls, 0);
  assert_int_equal(uvf_watch_stop(&c.watch), UVF_STOP_DONE);
  assert_int_equal(uvf_watch_stop(NULL), UV_EINVAL);
  RELEASE(ctx);
}

/* Unlike Go's, a stop also takes back a call that is due. */
static void c77_a_call_that_is_due_can_still_be_stopped(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = cancel_of(f->root);
  counted_t before;
  counted_t after;
  watch_start(&before, ctx, NULL);
  uvf_ctx_cancel(ctx);
  watch_start(&after, ctx, NULL);
  assert_int_equal(uvf_watch_stop(&before.watch), UVF_STOP_REMOVED);
  assert_int_equal(uvf_watch_stop(&after.watch), UVF_STOP_REMOVED);
  settle(&f->loop);
  assert_int_equal(before.calls, 0);
  assert_int_equal(after.calls, 0);
  assert_int_equal(stats(f->root).ops, 0);
  assert_int_equal(stats(f->root).ready, 0);
  RELEASE(ctx);
}

/* --- C-78: a cancel does not wait for a callback ------------------------------------------------------------------ */

typedef struct blocked_s {
  uvf_watch_t watch;
  uvf_ctx_t *ctx;   /* whose callback stands still */
  uvf_ctx_t *other; /* cancelled meanwhile */
  gate_t entered;
  gate_t leave;
  int calls;
  int other_err;
} blocked_t;

static void on_blocked(uvf_watch_t *watch, int status) {
  blocked_t *b = watch->data;
  (void)status;
  gate_open(&b->entered, 1);
  gate_pass(&b->leave);
  b->calls++;
}

static void blocked_open(blocked_t *b, uvf_ctx_t *root) {
  memset(b, 0, sizeof *b);
  gate_init(&b->entered);
  gate_init(&b->leave);
  b->ctx = cancel_of(root);
  b->other = cancel_of(root);
  b->watch.data = b;
  assert_int_equal(uvf_ctx_on_done(b->ctx, &b->watch, on_blocked), 0);
}

static void blocked_close(blocked_t *b) {
  RELEASE(b->ctx, b->other);
  gate_destroy(&b->entered);
  gate_destroy(&b->leave);
}

/* The callback can only leave when the cancels, made while it stood in itself, have returned. */
static void cancel_meanwhile(void *arg) {
  blocked_t *b = arg;
  gate_pass(&b->entered);
  uvf_ctx_cancel(b->ctx);
  uvf_ctx_cancel(b->other);
  b->other_err = uvf_ctx_err(b->other);
  gate_open(&b->leave, 1);
}

static void c78_cancel_does_not_wait_for_a_callback(void **state) {
  fixture_t *f = *state;
  blocked_t b;
  uv_thread_t thread;
  blocked_open(&b, f->root);
  assert_int_equal(uv_thread_create(&thread, cancel_meanwhile, &b), 0);
  uvf_ctx_cancel(b.ctx);
  assert_int_equal(b.calls, 0); /* it has not even begun */
  run_until(&f->loop, &b.calls, 1);
  uv_thread_join(&thread);
  settle(&f->loop);
  assert_int_equal(b.calls, 1);
  assert_int_equal(b.other_err, UV_ECANCELED);
  blocked_close(&b);
}

/* --- C-88: independent -------------------------------------------------------------------------------------------- */

typedef struct ordered_s {
  counted_t base;
  int *sequence;
  int place;
} ordered_t;

static void on_ordered(uvf_watch_t *watch, int status) {
  ordered_t *o = (ordered_t *)watch;
  on_counted(watch, status);
  o->place = (*o->sequence)++;
}

static void c88_watchers_of_one_context_are_independent(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = cancel_of(f->root);
  ordered_t o[5];
  int sequence = 0;
  for (size_t i = 0; i < ARRAY_SIZE(o); i++) {
    memset(&o[i], 0, sizeof o[i]);
    o[i].base.watch.data = &o[i].base;
    o[i].sequence = &sequence;
    assert_int_equal(uvf_ctx_on_done(ctx, &o[i].base.watch, on_ordered), 0);
  }
  assert_int_equal(watchers(ctx), ARRAY_SIZE(o));
  assert_int_equal(uvf_watch_stop(&o[1].base.watch), UVF_STOP_REMOVED);
  assert_int_equal(uvf_watch_stop(&o[3].base.watch), UVF_STOP_REMOVED);
  assert_int_equal(watchers(ctx), 3);
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &sequence, 3);
  settle(&f->loop);
  for (size_t i = 0; i < ARRAY_SIZE(o); i++) {
    if (i % 2 == 0)
      assert_called_once(&o[i].base, UV_ECANCELED);
    else
      assert_int_equal(o[i].base.calls, 0);
  }
  /* within one context the newest comes first */
  assert_int_equal(o[4].place, 0);
  assert_int_equal(o[2].place, 1);
  assert_int_equal(o[0].place, 2);
  RELEASE(ctx);
}

/* A callback that stops its neighbour, which is due: the neighbour is not called. */
static void on_stops_neighbour(uvf_watch_t *watch, int status) {
  counted_t *neighbour = watch->data;
  neighbour->status = status;
  neighbour->err_then = uvf_watch_stop(&neighbour->watch);
}

static void c88_one_callback_may_stop_another(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = cancel_of(f->root);
  counted_t older;
  uvf_watch_t newer;
  watch_start(&older, ctx, NULL);
  newer.data = &older;
  assert_int_equal(uvf_ctx_on_done(ctx, &newer, on_stops_neighbour), 0);
  uvf_ctx_cancel(ctx);
  settle(&f->loop);
  assert_int_equal(older.status, UV_ECANCELED); /* the newer one was called ... */
  assert_int_equal(older.err_then, UVF_STOP_REMOVED);
  assert_int_equal(older.calls, 0); /* ... and the older one was not */
  RELEASE(ctx);
}

/* --- C-89: stop does not wait ------------------------------------------------------------------------------------- */

static void on_stops_itself(uvf_watch_t *watch, int status) {
  counted_t *c = watch->data;
  c->calls++;
  c->status = status;
  c->err_then = uvf_watch_stop(watch);
}

static void c89_stop_does_not_wait_for_a_running_callback(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = cancel_of(f->root);
  counted_t c;
  memset(&c, 0, sizeof c);
  c.watch.data = &c;
  assert_int_equal(uvf_ctx_on_done(ctx, &c.watch, on_stops_itself), 0);
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &c.calls, 1);
  assert_int_equal(c.err_then, UVF_STOP_RUNNING);
  assert_int_equal(uvf_watch_stop(&c.watch), UVF_STOP_DONE);
  RELEASE(ctx);
}

typedef struct waiting_s {
  blocked_t *b;
  uv_async_t hold; /* keeps the loop running until the thread is through */
  int impatient;
  int patient;
  int calls_then;
  uint64_t waited_ns;
  int closed;
} waiting_t;

static void on_hold(uv_async_t *hold) { uv_close((uv_handle_t *)hold, NULL); }

/* Gives up after 10 ms while the callback stands still, then lets it go and waits for its end. */
static void stop_meanwhile(void *arg) {
  waiting_t *w = arg;
  uint64_t start;
  gate_pass(&w->b->entered);
  start = uv_hrtime();
  w->impatient = uvf_watch_stop_wait(w->b->ctx, &w->b->watch, 10);
  w->waited_ns = uv_hrtime() - start;
  gate_open(&w->b->leave, 1);
  w->patient = uvf_watch_stop_wait(w->b->ctx, &w->b->watch, UVF_WAIT_FOREVER);
  w->calls_then = w->b->calls;
  uv_async_send(&w->hold);
}

static void c89_a_waiting_stop_waits_as_long_as_it_was_told(void **state) {
  fixture_t *f = *state;
  blocked_t b;
  waiting_t w;
  uv_thread_t thread;
  memset(&w, 0, sizeof w);
  blocked_open(&b, f->root);
  w.b = &b;
  assert_int_equal(uv_async_init(&f->loop, &w.hold, on_hold), 0);
  assert_int_equal(uv_thread_create(&thread, stop_meanwhile, &w), 0);
  uvf_ctx_cancel(b.ctx);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  uv_thread_join(&thread);
  assert_int_equal(w.impatient, UV_ETIMEDOUT);
  assert_true(w.waited_ns >= 10 * MS_NS);
  assert_int_equal(w.patient, UVF_STOP_DONE);
  assert_int_equal(w.calls_then, 1); /* it neither runs nor will */
  assert_int_equal(b.calls, 1);
  blocked_close(&b);
}

/* Before the end the waiting stop is the plain one, from another thread. */
static void stop_in_time(void *arg) {
  waiting_t *w = arg;
  w->patient = uvf_watch_stop_wait(w->b->ctx, &w->b->watch, UVF_WAIT_FOREVER);
  uv_async_send(&w->hold);
}

static void c89_a_waiting_stop_in_time_removes(void **state) {
  fixture_t *f = *state;
  blocked_t b;
  waiting_t w;
  uv_thread_t thread;
  memset(&w, 0, sizeof w);
  blocked_open(&b, f->root);
  w.b = &b;
  assert_int_equal(uv_async_init(&f->loop, &w.hold, on_hold), 0);
  assert_int_equal(uv_thread_create(&thread, stop_in_time, &w), 0);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  uv_thread_join(&thread);
  assert_int_equal(w.patient, UVF_STOP_REMOVED);
  uvf_ctx_cancel(b.ctx);
  settle(&f->loop);
  assert_int_equal(b.calls, 0);
  /* on a thread that runs a loop it would wait for itself */
  assert_int_equal(uvf_watch_stop_wait(b.ctx, &b.watch, UVF_WAIT_FOREVER), UV_EPERM);
  blocked_close(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(c74_called_after_the_cancel_and_not_before),
      unit(c75_called_after_a_deadline),
      unit(c76_called_for_a_context_that_is_over),
      unit(c77_a_stopped_watcher_is_never_called),
      unit(c77_a_call_that_is_due_can_still_be_stopped),
      unit(c78_cancel_does_not_wait_for_a_callback),
      unit(c88_watchers_of_one_context_are_independent),
      unit(c88_one_callback_may_stop_another),
      unit(c89_stop_does_not_wait_for_a_running_callback),
      unit(c89_a_waiting_stop_waits_as_long_as_it_was_told),
      unit(c89_a_waiting_stop_in_time_removes),
  };
  return test_run(tests);
}
