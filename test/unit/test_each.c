/* SPDX-License-Identifier: MIT
 *
 * For-each: batches, the cap per turn, what may be done from inside, sharing a channel, and each kind of end.
 */
#include "unit/chan_probe.h"

#define GOT_MAX 10000

typedef struct range_s {
  uvf_chan_each_t each;
  int id;
  int n, calls, ends, status;
  size_t largest;
  int got[GOT_MAX];
  uvf_chan_t *chan;
  journal_t *journal; /* gets the id for each item */
  void (*then)(struct range_s *range, size_t n);
  void (*finally)(struct range_s *range);
  void *arg;
  int rc;
} range_t;

static void on_items(uvf_chan_each_t *each, void *const *items, size_t n) {
  range_t *r = (range_t *)each;
  r->calls++;
  if (n > r->largest) r->largest = n;
  if (n == 0) r->rc = -1000;
  for (size_t i = 0; i < n; i++) {
    if (r->n < GOT_MAX) r->got[r->n] = NUMBER(items[i]);
    r->n++;
    if (r->journal != NULL) journal_add(r->journal, r->id);
  }
  if (each->count != (uint64_t)r->n) r->rc = -1001;
  if (r->ends != 0) r->rc = -1002;
  if (r->then != NULL) r->then(r, n);
}

static void on_end(uvf_chan_each_t *each, int status) {
  range_t *r = (range_t *)each;
  r->ends++;
  r->status = status == each->status ? status : -1;
  if (r->finally != NULL) r->finally(r);
}

static range_t *range_new(uvf_chan_t *chan) {
  range_t *r = calloc(1, sizeof *r);
  assert_non_null(r);
  memset(&r->each, 0xa5, sizeof r->each);
  r->chan = chan;
  r->status = 1;
  return r;
}

static void range_start(range_t *r, uvf_ctx_t *ctx, size_t turn_max) {
  memset(&r->each, 0xa5, sizeof r->each); /* a start reads nothing of it */
  r->each.data = r;
  r->n = r->calls = r->ends = 0;
  r->status = 1;
  assert_int_equal(uvf_chan_each(ctx, &r->each, r->chan, turn_max, on_items, on_end), 0);
  assert_int_equal(r->calls + r->ends, 0); /* neither runs inside */
  assert_ptr_equal(r->each.data, r);
  assert_ptr_equal(r->each.ctx, ctx);
  assert_int_equal(r->each.count, 0);
}

static int range_stop(range_t *r) { return uvf_op_cancel((uvf_op_t *)&r->each); }

/* It has given from .. to in order and nothing else. */
static void assert_gave(const range_t *r, int from, int to) {
  assert_int_equal(r->n, to - from + 1);
  for (int i = 0; i < r->n; i++) assert_int_equal(r->got[i], from + i);
  assert_true(r->rc >= 0);
}

/* --- all of it --- */

static void it_receives_every_item_in_order_until_the_channel_is_closed_and_drained(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(capacities); i++) {
    uvf_chan_t *chan = chan_of(capacities[i]);
    range_t *r = range_new(chan);
    int capacity = (int)capacities[i];
    put(chan, 1, capacity);
    range_start(r, f->root, 0);
    run_ready(&f->loop);
    assert_gave(r, 1, capacity);
    assert_waiting(chan, 0, 0, 1);
    for (int k = 1; k <= 100; k++) {
      put(chan, capacity + k, capacity + k);
      assert_int_equal(r->n, capacity + k - 1);
      run_ready(&f->loop);
    }
    assert_gave(r, 1, capacity + 100);
    put(chan, capacity + 101, capacity + 101);
    if (capacity > 1) put(chan, capacity + 102, capacity + 102);
    uvf_chan_close(chan);
    assert_int_equal(r->ends, 0);
    run_until(&f->loop, &r->ends, 1);
    run_ready(&f->loop);
    assert_int_equal(r->ends, 1);
    assert_int_equal(r->status, UV_EOF);
    assert_gave(r, 1, capacity + (capacity > 1 ? 102 : 101));
    assert_int_equal(chan_stats_of(chan).received, (uint64_t)r->n);
    free(r);
    uvf_chan_release(chan);
  }
}

static void items_come_in_batches_of_64_at_most(void **state) {
  fixture_t *f = *state;
  static const int rows[] = {1, 2, 63, 64, 65, 127, 128, 129, 1000};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_chan_t *chan = chan_of(1000);
    range_t *r = range_new(chan);
    put(chan, 1, rows[i]);
    range_start(r, f->root, 0);
    run_ready(&f->loop);
    assert_gave(r, 1, rows[i]);
    assert_int_equal(r->largest, rows[i] < 64 ? rows[i] : 64);
    assert_int_equal(r->calls, (rows[i] + 63) / 64);
    uvf_chan_close(chan);
    run_until(&f->loop, &r->ends, 1);
    assert_int_equal(r->status, UV_EOF);
    free(r);
    uvf_chan_release(chan);
  }
}

static void it_takes_the_items_of_waiting_senders_too(void **state) {
  fixture_t *f = *state;
  for (size_t capacity = 0; capacity < 3; capacity++) {
    uvf_chan_t *chan = chan_of(capacity);
    range_t *r = range_new(chan);
    call_t sends[150] = {0};
    for (int i = 0; i < 150; i++) send_start(&sends[i], f->root, chan, ITEM(i));
    range_start(r, f->root, 0);
    run_until(&f->loop, &sends[149].calls, 1);
    for (int i = 0; i < 150; i++) assert_ended(&sends[i], 0);
    assert_gave(r, 0, 149);
    uvf_chan_close(chan);
    run_until(&f->loop, &r->ends, 1);
    free(r);
    uvf_chan_release(chan);
  }
}

static void a_channel_that_is_closed_already_is_drained_and_an_empty_one_ends_it_soon(void **state) {
  fixture_t *f = *state;
  for (int n = 0; n <= 2; n++) {
    uvf_chan_t *chan = chan_of(2);
    range_t *r = range_new(chan);
    put(chan, 1, n);
    uvf_chan_close(chan);
    range_start(r, f->root, 0);
    run_until(&f->loop, &r->ends, 1);
    assert_gave(r, 1, n);
    assert_int_equal(r->status, UV_EOF);
    free(r);
    uvf_chan_release(chan);
  }
}

static void null_arguments_are_refused(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(1);
  range_t *r = range_new(chan);
  assert_int_equal(uvf_chan_each(NULL, &r->each, chan, 0, on_items, on_end), UV_EINVAL);
  assert_int_equal(uvf_chan_each(f->root, NULL, chan, 0, on_items, on_end), UV_EINVAL);
  assert_int_equal(uvf_chan_each(f->root, &r->each, NULL, 0, on_items, on_end), UV_EINVAL);
  assert_int_equal(uvf_chan_each(f->root, &r->each, chan, 0, NULL, on_end), UV_EINVAL);
  assert_int_equal(uvf_chan_each(f->root, &r->each, chan, 0, on_items, NULL), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
  assert_waiting(chan, 0, 0, 0);
  free(r);
  uvf_chan_release(chan);
}

static void it_holds_the_loop_the_context_and_the_channel_until_its_end_and_allocates_nothing(void **state) {
  fixture_t *f = *state;
  drops_t drops = {0};
  uvf_chan_t *chan = chan_dropping(4, UVF_CHAN_WAIT, &drops);
  range_t *r = range_new(chan);
  uvf_ctx_t *ctx = child_of(f->root);
  size_t count = test_alloc_count(), live = test_alloc_live();
  assert_int_equal(uv_loop_alive(&f->loop), 0);
  range_start(r, ctx, 0);
  uvf_chan_retain(chan);
  uvf_chan_release(chan);
  uvf_chan_release(chan); /* ours: it has its own */
  uvf_ctx_retain(ctx);
  uvf_ctx_release(ctx);
  run_ready(&f->loop);
  assert_int_not_equal(uv_loop_alive(&f->loop), 0);
  put(chan, 1, 3);
  run_ready(&f->loop);
  assert_gave(r, 1, 3);
  assert_int_not_equal(uv_loop_alive(&f->loop), 0);
  assert_int_equal(stats_of(f->root).contexts, 2);
  put(chan, 4, 5); /* handed over one, one in the room */
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  assert_int_equal(drops.n, 0);
  run_until(&f->loop, &r->ends, 1);
  run_ready(&f->loop);
  assert_int_equal(r->status, UV_ECANCELED);
  assert_gave(r, 1, 4);
  assert_int_equal(drops.n, 1); /* with the channel itself */
  assert_int_equal(drops.item[0], 5);
  assert_int_equal(uv_loop_alive(&f->loop), 0);
  assert_int_equal(stats_of(f->root).contexts, 1);
  assert_int_equal(test_alloc_count(), count);
  assert_int_equal(test_alloc_live(), live - 1);
  free(r);
}

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

/* --- sharing --- */

static void for_eaches_that_share_a_channel_are_woken_in_turn(void **state) {
  fixture_t *f = *state;
  for (size_t capacity = 0; capacity < 3; capacity++) {
    uvf_chan_t *chan = chan_of(capacity);
    journal_t journal = {0};
    range_t *r[3];
    for (int i = 0; i < 3; i++) {
      r[i] = range_new(chan);
      r[i]->id = i;
      r[i]->journal = &journal;
      range_start(r[i], f->root, 0);
    }
    run_ready(&f->loop);
    assert_waiting(chan, 0, 0, 3);
    put(chan, 1, 3); /* one for each of them */
    assert_waiting(chan, 0, 0, 0);
    run_ready(&f->loop);
    for (int k = 4; k <= 9; k++) {
      put(chan, k, k);
      run_ready(&f->loop);
    }
    assert_journal(&journal, 0, 1, 2, 0, 1, 2, 0, 1, 2);
    for (int i = 0; i < 3; i++) {
      assert_int_equal(r[i]->n, 3);
      for (int k = 0; k < 3; k++) assert_int_equal(r[i]->got[k], i + 1 + 3 * k);
    }
    uvf_chan_close(chan);
    for (int i = 0; i < 3; i++) run_until(&f->loop, &r[i]->ends, 1);
    for (int i = 0; i < 3; i++) assert_int_equal(r[i]->status, UV_EOF);
    for (int i = 0; i < 3; i++) free(r[i]);
    uvf_chan_release(chan);
  }
}

static void for_eaches_that_share_a_backlog_take_their_share_of_each_turn(void **state) {
  fixture_t *f = *state;
  enum { N = 4000 };
  uvf_chan_t *chan = chan_of(N);
  range_t *r[2];
  char *seen = calloc(N + 1, 1);
  assert_non_null(seen);
  for (int i = 0; i < 2; i++) r[i] = range_new(chan);
  put(chan, 1, N);
  uvf_chan_close(chan);
  for (int i = 0; i < 2; i++) range_start(r[i], f->root, 100);
  for (int i = 0; i < 2; i++) run_until(&f->loop, &r[i]->ends, 1);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(r[i]->n, N / 2);
    for (int k = 0; k < r[i]->n; k++) {
      assert_int_equal(seen[r[i]->got[k]], 0);
      seen[r[i]->got[k]] = 1;
      if (k > 0) assert_true(r[i]->got[k] > r[i]->got[k - 1]);
    }
    free(r[i]);
  }
  free(seen);
  uvf_chan_release(chan);
}

static void a_for_each_and_a_plain_receiver_take_turns(void **state) {
  fixture_t *f = *state;
  for (size_t capacity = 0; capacity < 2; capacity++) {
    uvf_chan_t *chan = chan_of(capacity);
    range_t *r = range_new(chan);
    call_t recv = {0};
    range_start(r, f->root, 0);
    run_ready(&f->loop);
    for (int i = 0; i < 10; i++) {
      recv_start(&recv, f->root, chan); /* behind the for-each, which waits since before */
      put(chan, 2 * i, 2 * i);
      run_ready(&f->loop);
      assert_int_equal(recv.calls, 0);
      assert_waiting(chan, 0, 0, 2);
      put(chan, 2 * i + 1, 2 * i + 1); /* the for-each stands behind it now */
      run_ready(&f->loop);
      assert_got(&recv, 2 * i + 1);
      assert_int_equal(r->n, i + 1);
      assert_int_equal(r->got[i], 2 * i);
    }
    assert_int_equal(range_stop(r), 0);
    run_until(&f->loop, &r->ends, 1);
    put(chan, 1, (int)capacity);
    assert_int_equal(uvf_chan_try_send(chan, ITEM(9)), UV_EAGAIN); /* nobody waits any more */
    free(r);
    uvf_chan_release(chan);
  }
}

/* --- ends --- */

static void it_ends_with_what_ended_its_context(void **state) {
  fixture_t *f = *state;
  for (int how = 0; how < 5; how++) {
    uvf_chan_t *chan = chan_of(4);
    range_t *r = range_new(chan);
    uvf_ctx_t *ctx = how == 1 ? timeout_of(f->root, 5) : child_of(f->root);
    range_start(r, ctx, 0);
    run_ready(&f->loop);
    if (how != 1) assert_int_equal(counts_of(ctx).ops, 1);
    if (how == 0) uvf_ctx_cancel(ctx);
    if (how == 2) on_thread(cancel_ctx, ctx);
    if (how == 3) assert_int_equal(range_stop(r), 0);
    if (how == 4) uvf_chan_close(chan);
    assert_int_equal(r->ends, 0);
    run_until(&f->loop, &r->ends, 1);
    turn(&f->loop);
    assert_int_equal(r->ends, 1);
    assert_int_equal(r->status, how == 1 ? UV_ETIMEDOUT : how == 4 ? UV_EOF : UV_ECANCELED);
    if (how == 1) assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(ctx));
    assert_int_equal(r->calls, 0);
    assert_int_equal(range_stop(r), UV_EBUSY);
    assert_waiting(chan, 0, 0, 0);
    uvf_ctx_release(ctx);
    free(r);
    uvf_chan_release(chan);
  }
}

static void under_a_context_that_is_over_it_receives_nothing(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 0);
  uvf_chan_t *chan = chan_of(4);
  range_t *r = range_new(chan);
  put(chan, 1, 4);
  range_start(r, ctx, 0);
  run_until(&f->loop, &r->ends, 1);
  assert_int_equal(r->status, UV_ETIMEDOUT);
  assert_int_equal(r->calls, 0);
  take(chan, 1, 4);
  uvf_ctx_release(ctx);
  free(r);
  uvf_chan_release(chan);
}

static void a_stop_right_after_the_start_takes_nothing(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(4);
  range_t *r = range_new(chan);
  put(chan, 1, 4);
  range_start(r, f->root, 0);
  assert_int_equal(range_stop(r), 0);
  assert_int_equal(range_stop(r), UV_EBUSY);
  run_until(&f->loop, &r->ends, 1);
  assert_int_equal(r->status, UV_ECANCELED);
  assert_int_equal(r->calls, 0);
  take(chan, 1, 4);
  free(r);
  uvf_chan_release(chan);
}

/* --- misuse --- */

static void start_once_more(void *arg) {
  range_t *r = arg;
  r->rc = uvf_chan_each(r->each.ctx, &r->each, r->chan, 0, on_items, on_end);
}

static void starting_it_twice_or_elsewhere_is_misuse(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(4);
  range_t *r = range_new(chan), *other = range_new(chan);
  lane_t lane;
  range_start(r, f->root, 0);
  run_ready(&f->loop);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(start_once_more, r);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_chan_each: ", 15);
  }
  lane_start(&lane);
  lane_turn(&lane);
  other->each.ctx = lane.root;
  if (test_rules_on()) {
    assert_non_null(test_expect_rule(start_once_more, other));
  } else {
    start_once_more(other);
    assert_int_equal(other->rc, UV_EINVAL);
  }
  assert_waiting(chan, 0, 0, 1);
  lane_stop(&lane);
  uvf_chan_close(chan);
  run_until(&f->loop, &r->ends, 1);
  assert_int_equal(r->ends, 1);
  free(r);
  free(other);
  uvf_chan_release(chan);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(it_receives_every_item_in_order_until_the_channel_is_closed_and_drained),
      unit(items_come_in_batches_of_64_at_most),
      unit(it_takes_the_items_of_waiting_senders_too),
      unit(a_channel_that_is_closed_already_is_drained_and_an_empty_one_ends_it_soon),
      unit(null_arguments_are_refused),
      unit(it_holds_the_loop_the_context_and_the_channel_until_its_end_and_allocates_nothing),
      unit(a_turn_of_the_loop_gives_at_most_turn_max_items),
      unit(a_for_each_that_never_runs_dry_lets_the_loop_go_on),
      unit(what_is_over_between_two_turns_ends_it_there),
      unit(it_may_be_stopped_from_inside_in_every_way_and_the_rest_stays_in_the_channel),
      unit(it_may_close_its_channel_from_inside_and_drains_it),
      unit(it_may_send_to_its_own_channel_from_inside),
      unit(its_memory_may_be_freed_at_its_end),
      unit(it_may_be_started_again_at_its_end),
      unit(for_eaches_that_share_a_channel_are_woken_in_turn),
      unit(for_eaches_that_share_a_backlog_take_their_share_of_each_turn),
      unit(a_for_each_and_a_plain_receiver_take_turns),
      unit(it_ends_with_what_ended_its_context),
      unit(under_a_context_that_is_over_it_receives_nothing),
      unit(a_stop_right_after_the_start_takes_nothing),
      unit(starting_it_twice_or_elsewhere_is_misuse),
  };
  return test_run(tests);
}
