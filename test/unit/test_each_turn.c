/* SPDX-License-Identifier: MIT
 *
 * For-each in the turns of its loop: the cap per turn, and what may be done from inside.
 */
#include "unit/each_probe.h"

/* --- turns --- */

typedef struct watch_turns_s {
  uv_check_t check;
  range_t *range;
  int last;                  /* items given when the check last ran */
  int turns, most, shortest; /* with items; the most in one; all but the last one at least */
} watch_turns_t;

/* Runs in every iteration, before the hub's own check (the later started comes first): between two of its calls lies
 * one turn of the hub, and the prepare that follows. */
static void on_check(uv_check_t *check) {
  watch_turns_t *w = check->data;
  int n = w->range->n - w->last;
  w->last = w->range->n;
  if (n == 0) return;
  w->turns++;
  if (n > w->most) w->most = n;
}

static void a_turn_of_the_loop_gives_at_most_turn_max_items(void **state) {
  fixture_t *f = *state;
  static const size_t rows[] = {1, 2, 63, 64, 65, 100, 1023, 1024, 1025, 5000, SIZE_MAX, 0};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    enum { N = 3000 };
    uvf_chan_t *chan = chan_of(N);
    range_t *r = range_new(chan);
    watch_turns_t *w = calloc(1, sizeof *w);
    int cap = rows[i] == 0 ? 1024 : rows[i] > N ? N : (int)rows[i];
    assert_non_null(w);
    turn(&f->loop);
    w->range = r;
    assert_int_equal(uv_check_init(&f->loop, &w->check), 0);
    w->check.data = w;
    assert_int_equal(uv_check_start(&w->check, on_check), 0);
    uv_unref((uv_handle_t *)&w->check);
    put(chan, 1, N);
    uvf_chan_close(chan);
    range_start(r, f->root, rows[i]);
    run_until(&f->loop, &r->ends, 1);
    turn(&f->loop);
    assert_gave(r, 1, N);
    assert_int_equal(r->largest, cap < 64 ? cap : 64);
    assert_int_equal(w->most, cap);
    assert_int_equal(w->turns, (N + cap - 1) / cap);
    uv_close((uv_handle_t *)&w->check, NULL);
    run_ready(&f->loop);
    free(w);
    free(r);
    uvf_chan_release(chan);
  }
}

/* Sends as many as it was given: there is always something to receive. */
static void feed(range_t *r, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (uvf_chan_try_send(r->chan, ITEM(r->n)) != 0) r->rc = -5;
  }
}

typedef struct beat_s {
  uv_idle_t idle;
  range_t *range;
  int beats, last, most;
} beat_t;

static void on_beat(uv_idle_t *idle) {
  beat_t *b = idle->data;
  if (b->range->n - b->last > b->most) b->most = b->range->n - b->last;
  b->last = b->range->n;
  b->beats++;
  if (b->beats == 50) range_stop(b->range);
}

static void a_for_each_that_never_runs_dry_lets_the_loop_go_on(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(200);
  range_t *r = range_new(chan);
  beat_t *b = calloc(1, sizeof *b);
  assert_non_null(b);
  r->then = feed;
  b->range = r;
  assert_int_equal(uv_idle_init(&f->loop, &b->idle), 0);
  b->idle.data = b;
  assert_int_equal(uv_idle_start(&b->idle, on_beat), 0);
  put(chan, 1, 150);
  range_start(r, f->root, 100);
  run_until(&f->loop, &r->ends, 1);
  assert_int_equal(r->status, UV_ECANCELED);
  assert_true(b->beats >= 50);
  assert_true(r->n >= 40 * 100);
  assert_true(b->most <= 200); /* between two beats lies the end of one turn and the begin of the next */
  assert_int_equal(r->rc, 0);
  assert_waiting(chan, 150, 0, 0);
  uv_close((uv_handle_t *)&b->idle, NULL);
  run_ready(&f->loop);
  free(b);
  free(r);
  uvf_chan_release(chan);
}

static void what_is_over_between_two_turns_ends_it_there(void **state) {
  fixture_t *f = *state;
  for (int how = 0; how < 3; how++) {
    uvf_chan_t *chan = chan_of(100);
    range_t *r = range_new(chan);
    uvf_ctx_t *ctx = child_of(f->root);
    int given;
    put(chan, 1, 100);
    range_start(r, ctx, 10);
    while (r->n == 0) uv_run(&f->loop, UV_RUN_NOWAIT);
    given = r->n;
    assert_true(given <= 20); /* the prepare of one turn and the check of the next */
    if (how == 0) assert_int_equal(range_stop(r), 0);
    if (how == 1) uvf_ctx_cancel(ctx);
    if (how == 2) on_thread(cancel_ctx, ctx);
    assert_int_equal(r->ends, 0);
    run_until(&f->loop, &r->ends, 1);
    assert_int_equal(r->status, UV_ECANCELED);
    assert_gave(r, 1, given);
    take(chan, given + 1, 100);
    uvf_ctx_release(ctx);
    free(r);
    uvf_chan_release(chan);
  }
}

/* --- from inside --- */

static void stop_inside(range_t *r, size_t n) {
  (void)n;
  r->rc = range_stop(r) == 0 && range_stop(r) == UV_EBUSY ? 5 : -5;
}

static void cancel_inside(range_t *r, size_t n) {
  (void)n;
  uvf_ctx_cancel(r->each.ctx);
  r->rc = 5;
}

static void cancel_on_thread_inside(range_t *r, size_t n) {
  uv_thread_t thread;
  (void)n;
  r->rc = uv_thread_create(&thread, cancel_ctx, r->each.ctx) == 0 && uv_thread_join(&thread) == 0 ? 5 : -5;
}

static void close_root_inside(range_t *r, size_t n) {
  fixture_t *f = r->arg;
  uvf_ctx_t *root = f->root;
  (void)n;
  if (root == NULL) return;
  f->root = NULL;
  uvf_ctx_close(root, NULL);
  r->rc = 5;
}

static void it_may_be_stopped_from_inside_in_every_way_and_the_rest_stays_in_the_channel(void **state) {
  fixture_t *f = *state;
  static void (*const rows[])(range_t *, size_t) = {stop_inside, cancel_inside, cancel_on_thread_inside,
                                                    close_root_inside};
  for (int waiting = 0; waiting < 2; waiting++) {
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
      uvf_chan_t *chan = chan_of(200);
      range_t *r = range_new(chan);
      uvf_ctx_t *ctx;
      if (f->root == NULL) assert_int_equal(uvf_ctx_background(&f->loop, &f->root), 0);
      ctx = child_of(f->root);
      r->then = rows[i];
      r->arg = f;
      range_start(r, ctx, 0);
      if (waiting) run_ready(&f->loop);
      put(chan, 1, 200);
      run_until(&f->loop, &r->ends, 1);
      turn(&f->loop);
      assert_int_equal(r->ends, 1);
      assert_int_equal(r->status, UV_ECANCELED);
      assert_int_equal(r->calls, 1);
      assert_int_equal(r->rc, 5);
      assert_gave(r, 1, r->n);
      take(chan, r->n + 1, 200);
      assert_waiting(chan, 0, 0, 0);
      uvf_ctx_release(ctx);
      free(r);
      uvf_chan_release(chan);
    }
  }
}

static void close_inside(range_t *r, size_t n) {
  (void)n;
  uvf_chan_close(r->chan);
}

static void it_may_close_its_channel_from_inside_and_drains_it(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(200);
  range_t *r = range_new(chan);
  call_t send = {0};
  r->then = close_inside;
  put(chan, 1, 200);
  send_start(&send, f->root, chan, ITEM(300));
  range_start(r, f->root, 0);
  run_until(&f->loop, &r->ends, 1);
  run_until(&f->loop, &send.calls, 1);
  assert_int_equal(r->status, UV_EOF);
  /* The waiting sender's item moved up as the first batch was taken, before the close. */
  assert_ended(&send, 0);
  assert_int_equal(r->n, 201);
  assert_int_equal(r->got[200], 300);
  free(r);
  uvf_chan_release(chan);
}

static void echo(range_t *r, size_t n) {
  if (r->n < 500) {
    for (size_t i = 0; i < n; i++) {
      if (uvf_chan_try_send(r->chan, ITEM(++*(int *)r->arg)) != 0) r->rc = -5;
    }
  } else {
    uvf_chan_close(r->chan);
  }
}

static void it_may_send_to_its_own_channel_from_inside(void **state) {
  fixture_t *f = *state;
  static const size_t rows[] = {1, 10, 200};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_chan_t *chan = chan_of(rows[i]);
    range_t *r = range_new(chan);
    int last = (int)rows[i];
    r->then = echo;
    r->arg = &last;
    range_start(r, f->root, 0);
    put(chan, 1, last);
    run_until(&f->loop, &r->ends, 1);
    assert_int_equal(r->status, UV_EOF);
    assert_gave(r, 1, last);
    assert_true(r->n >= 500);
    free(r);
    uvf_chan_release(chan);
  }
}

static void range_free(range_t *r) {
  int *freed = r->arg;
  *freed += r->status == UV_EOF || r->status == UV_ECANCELED;
  memset(r, 0xdb, sizeof *r);
  free(r);
}

static void its_memory_may_be_freed_at_its_end(void **state) {
  fixture_t *f = *state;
  int freed = 0;
  for (int how = 0; how < 4; how++) {
    uvf_chan_t *chan = chan_of(10);
    range_t *r = range_new(chan);
    uvf_ctx_t *ctx = child_of(f->root);
    r->finally = range_free;
    r->arg = &freed;
    if (how == 3) r->then = stop_inside;
    range_start(r, ctx, 0);
    put(chan, 1, 10);
    if (how == 0) uvf_chan_close(chan);
    if (how == 1) assert_int_equal(range_stop(r), 0);
    if (how == 2) uvf_ctx_cancel(ctx);
    uvf_ctx_release(ctx);
    run_until(&f->loop, &freed, how + 1);
    uvf_chan_release(chan);
  }
}

static void start_again(range_t *r) {
  r->finally = NULL;
  if (uvf_chan_each(r->each.ctx, &r->each, r->arg, 0, on_items, on_end) != 0) r->rc = -5;
  r->n = r->ends = 0;
}

static void it_may_be_started_again_at_its_end(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *first = chan_of(5), *second = chan_of(5);
  range_t *r = range_new(first);
  r->finally = start_again;
  r->arg = second;
  put(first, 1, 5);
  put(second, 7, 9);
  uvf_chan_close(first);
  uvf_chan_close(second);
  range_start(r, f->root, 0);
  run_until(&f->loop, &r->n, 3);
  run_until(&f->loop, &r->ends, 1);
  assert_gave(r, 7, 9);
  assert_int_equal(r->status, UV_EOF);
  free(r);
  uvf_chan_release(first);
  uvf_chan_release(second);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_turn_of_the_loop_gives_at_most_turn_max_items),
      unit(a_for_each_that_never_runs_dry_lets_the_loop_go_on),
      unit(what_is_over_between_two_turns_ends_it_there),
      unit(it_may_be_stopped_from_inside_in_every_way_and_the_rest_stays_in_the_channel),
      unit(it_may_close_its_channel_from_inside_and_drains_it),
      unit(it_may_send_to_its_own_channel_from_inside),
      unit(its_memory_may_be_freed_at_its_end),
      unit(it_may_be_started_again_at_its_end),
  };
  return test_run(tests);
}
